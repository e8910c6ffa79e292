/*
 * What the attack programs share. Each program is one family of techniques:
 *
 *     PROGRAM DIR ATTEMPTS [TECHNIQUE]
 *
 * DIR was made by `world` outside the session. Without a TECHNIQUE all of the family run. For each one the program prints one JSON
 * line {"class":1,"technique":"open/thread","asked":N,"attempts":N,"wins":N,"errors":{"EACCES":N},"note":"…"} and ends with status 0.
 *
 * A win is an effect: forbidden bytes were read, a protected object changed, a forbidden program ran, a listener outside was reached.
 * What a call returned never counts. The same program run without a guard must win: that is its control.
 */
#ifndef ATTACK_H
#define ATTACK_H
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

/* First bytes of every file in DIR/no (neither readable nor writable), DIR/ro (readable only) and DIR/ok (free). */
#define FORBIDDEN "FORBIDDEN"
#define PRISTINE "PRISTINE"
#define ALLOWED "ALLOWED"

static const char *world;    /* DIR */
static int world_fd = -1;    /* DIR, for looks at effects: a naive guard knows absolute paths only */
static long wanted_attempts; /* ATTEMPTS */
static const char *only;     /* TECHNIQUE, or NULL for all */
static time_t deadline;      /* a technique that waits for a slow guard ends here and says how far it came */
static long enough;          /* ATTACK_WINS: a control has shown its point after so many wins; 0 for no such end */

struct tally {
    int class;
    char technique[96];
    long asked, attempts, wins; /* asked: how many attempts it is to make */
    long errors[256];
    char note[256];
};

static inline void die(const char *what) {
    fprintf(stderr, "attack program: %s: %s\n", what, strerror(errno));
    exit(2);
}

static inline void arguments(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: %s DIR ATTEMPTS [TECHNIQUE]\n", argv[0]);
        exit(2);
    }
    world = argv[1];
    world_fd = open(world, O_PATH | O_DIRECTORY | O_CLOEXEC);
    wanted_attempts = atol(argv[2]);
    only = argc > 3 ? argv[3] : NULL;
    setvbuf(stdout, NULL, _IOLBF, 0);
}

/* Whether the technique was asked for; starts its tally and its clock when so. A prefix selects: "open" selects "open/thread". */
static inline bool begin(struct tally *tally, int class, const char *format, ...) {
    memset(tally, 0, sizeof *tally);
    tally->class = class;
    tally->asked = wanted_attempts;
    va_list list;
    va_start(list, format);
    vsnprintf(tally->technique, sizeof tally->technique, format, list);
    va_end(list);
    if (only && strncmp(tally->technique, only, strlen(only)) != 0)
        return false;
    const char *seconds = getenv("ATTACK_SECONDS");
    deadline = time(NULL) + (seconds ? atol(seconds) : 120);
    const char *wins = getenv("ATTACK_WINS");
    enough = wins ? atol(wins) : 0;
    return true;
}

static inline bool more(const struct tally *tally) {
    return tally->attempts < tally->asked && time(NULL) < deadline && !(enough && tally->wins >= enough);
}

/* One attempt that ended: with an effect, or with `error` (0: it went through without a forbidden effect). */
static inline void count(struct tally *tally, bool win, int error) {
    tally->attempts++;
    if (win)
        tally->wins++;
    tally->errors[error >= 0 && error < 256 ? error : 255]++;
}

static inline void note(struct tally *tally, const char *format, ...) {
    va_list list;
    va_start(list, format);
    vsnprintf(tally->note, sizeof tally->note, format, list);
    va_end(list);
}

static inline void report(const struct tally *tally) {
    printf("{\"class\":%d,\"technique\":\"%s\",\"asked\":%ld,\"attempts\":%ld,\"wins\":%ld,\"errors\":{", tally->class, tally->technique,
           tally->asked, tally->attempts, tally->wins);
    const char *comma = "";
    for (int i = 0; i < 256; i++)
        if (tally->errors[i]) {
            const char *name = i ? strerrorname_np(i) : "none";
            printf("%s\"%s\":%ld", comma, name ? name : "other", tally->errors[i]);
            comma = ",";
        }
    printf("},\"note\":\"");
    for (const char *at = tally->note; *at; at++)
        putchar(*at == '"' || *at == '\\' || (unsigned char)*at < ' ' ? '\'' : *at);
    printf("\"}\n");
    fflush(stdout);
}

/* A path below the world, in one of 16 rotating buffers. */
static inline char *at(const char *format, ...) {
    static __thread char buffers[16][4096];
    static __thread unsigned next;
    char *buffer = buffers[next++ % 16];
    int used = snprintf(buffer, 4096, "%s/", world);
    va_list list;
    va_start(list, format);
    vsnprintf(buffer + used, 4096 - used, format, list);
    va_end(list);
    return buffer;
}

/* Whether what the descriptor gives begins with `text`. */
static inline bool gives(int fd, const char *text) {
    char bytes[16] = {0};
    ssize_t n = pread(fd, bytes, sizeof bytes - 1, 0);
    if (n < 0 && errno == ESPIPE)
        n = read(fd, bytes, sizeof bytes - 1);
    return n >= (ssize_t)strlen(text) && memcmp(bytes, text, strlen(text)) == 0;
}

/* The part of a path that is below the world, or the path itself: to be used with world_fd. */
static inline const char *below(const char *path) {
    size_t length = strlen(world);
    return world_fd >= 0 && !strncmp(path, world, length) && path[length] == '/' ? path + length + 1 : path;
}

static inline bool file_gives(const char *path, const char *text) {
    int fd = openat(world_fd, below(path), O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool same = gives(fd, text);
    close(fd);
    return same;
}

/* Makes a file of our own with this text, in a place that is free. */
static inline bool try_put(const char *path, const char *text) {
    int fd = openat(world_fd, below(path), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return false;
    bool written = write(fd, text, strlen(text)) >= 0;
    close(fd);
    return written;
}
static inline void put(const char *path, const char *text) {
    if (!try_put(path, text))
        die(path);
}

static inline bool exists(const char *path) {
    struct stat st;
    return lstat(path, &st) == 0;
}

static inline uint32_t dice(void) {
    static __thread uint32_t state;
    if (!state)
        state = (uint32_t)(uintptr_t)&state ^ (uint32_t)time(NULL) ^ 0x9e3779b9u;
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

static inline void spin(uint32_t turns) {
    for (volatile uint32_t i = 0; i < turns; i++)
        ;
}

/*
 * The other side of a race: something that is flipped between a harmless and a forbidden value while the attacker's call runs.
 * Half of the time it flips freely; the other half it waits until the attacker is about to call and flips to the forbidden value a
 * random moment later, so that the harmless one is what a guard sees first.
 */
struct flipper {
    void (*harmless)(void *);
    void (*forbidden)(void *);
    void *what;
    volatile int aimed; /* 1: flip once for each value of `go` */
    volatile unsigned go;
    volatile unsigned long turns; /* how often it flipped: the attacker waits for the first */
    volatile int stop;
    pthread_t thread;
};

static inline void flip_until_stopped(struct flipper *flipper) {
    unsigned seen = flipper->go;
    while (!flipper->stop) {
        if (flipper->aimed) {
            for (int turns = 0; flipper->go == seen && flipper->aimed && !flipper->stop; turns++)
                if (turns > 2000)
                    sched_yield();
            seen = flipper->go;
            spin(dice() % (dice() & 1 ? 4000 : 40000));
            flipper->forbidden(flipper->what);
        } else {
            flipper->harmless(flipper->what);
            spin(dice() % 6000);
            flipper->forbidden(flipper->what);
            spin(dice() % 6000);
        }
        flipper->turns++;
    }
}

/* The two sides of a race on CPUs of their own, where there are two: side 0 is the attacker, side 1 the flipper, -1 is free again. */
static inline void take_side(int side) {
    static cpu_set_t all;
    cpu_set_t one;
    if (!CPU_COUNT(&all))
        sched_getaffinity(0, sizeof all, &all);
    if (side < 0 || CPU_COUNT(&all) < 2) {
        sched_setaffinity(0, sizeof all, &all);
        return;
    }
    CPU_ZERO(&one);
    for (int cpu = 0, seen = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &all) && seen++ == side)
            CPU_SET(cpu, &one);
    sched_setaffinity(0, sizeof one, &one);
}

static inline void *flipper_thread(void *argument) {
    take_side(1);
    flip_until_stopped(argument);
    return NULL;
}

/* Short races would be over before the scheduler has given the other side a CPU. */
static inline void await_flips(struct flipper *flipper) {
    for (unsigned long before = flipper->turns, turns = 0; flipper->turns < before + 3 && turns < 10000; turns++)
        usleep(100);
}

/* Called by the attacker just before its racing call. */
static inline void aim(struct flipper *flipper, long attempt) {
    int aimed = (attempt >> 6) & 1;
    if (flipper->aimed != aimed)
        flipper->aimed = aimed;
    if (aimed) {
        flipper->harmless(flipper->what);
        flipper->go++;
    }
}

static inline void start_flipper(struct flipper *flipper) {
    flipper->stop = 0;
    flipper->aimed = 0;
    take_side(0);
    if (pthread_create(&flipper->thread, NULL, flipper_thread, flipper))
        die("pthread_create");
    await_flips(flipper);
}

static inline void stop_flipper(struct flipper *flipper) {
    flipper->stop = 1;
    pthread_join(flipper->thread, NULL);
    take_side(-1);
}

/* A NAME=VALUE line of DIR/outside, where `outside` says what lives there; empty when it does not run. */
static inline const char *outside(const char *name) {
    static char line[256];
    FILE *file = fopen(at("outside"), "r");
    size_t length = strlen(name);
    while (file && fgets(line, sizeof line, file))
        if (!strncmp(line, name, length) && line[length] == '=') {
            line[strcspn(line, "\n")] = 0;
            fclose(file);
            return line + length + 1;
        }
    if (file)
        fclose(file);
    return "";
}

/* Whether the one outside noted an effect within a moment. */
static inline bool noted(const char *what) {
    int error = errno;
    for (int i = 0; i < 60; i++) {
        char text[65536] = "";
        int fd = open(at("hits"), O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
        close(fd);
        if (n > 0 && strstr(text, what))
            return true;
        usleep(10000);
    }
    errno = error;
    return false;
}
static inline void forget(void) { truncate(at("hits"), 0); }
/* Runs an attack in a child, for what may kill or change its process for good: 1 when it won, else minus its errno, -255 when killed. */
static inline int in_child(bool (*attack)(void)) {
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
        alarm(20);
        errno = 0;
        bool win = attack();
        _exit(win ? 0 : errno > 0 && errno < 250 ? errno : 253);
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (!WIFEXITED(status))
        return -255;
    return WEXITSTATUS(status) == 0 ? 1 : WEXITSTATUS(status) == 253 ? 0 : -WEXITSTATUS(status);
}

/* A row of a program whose techniques are one attempt each, made in a child. */
struct row {
    int class;
    const char *name;
    bool (*attack)(void);
};
static inline void run_rows(const struct row *rows, size_t rows_count) {
    for (size_t i = 0; i < rows_count; i++) {
        struct tally tally;
        if (!begin(&tally, rows[i].class, "%s", rows[i].name))
            continue;
        tally.asked = 1;
        int result = in_child(rows[i].attack);
        count(&tally, result == 1, result < 0 ? -result : 0);
        if (result == -255)
            note(&tally, "killed");
        report(&tally);
    }
}
#endif
