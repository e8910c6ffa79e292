// The work that is timed: `micro OP BATCHES TURNS STATIC-PROGRAM [CALLERS]` prints one line a batch: microseconds a turn, then microseconds
// of processor time that the callers themselves took. Run in an own folder. CALLERS is 8p for as many processes at once, 8t for as many
// threads; microseconds are then those from the common start to the last one's end, by all turns of all callers.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;
static char file[4096], through[4096], script[4096];
static const char *program;
static int listener = -1, local = -1;
static struct sockaddr_in inet = {.sin_family = AF_INET};
static struct sockaddr_un unix_address = {.sun_family = AF_UNIX};

static void must(int ok, const char *what) {
    if (!ok) { perror(what); exit(2); }
}
static void spawn(const char *path) {
    pid_t pid;
    char *args[] = {(char *)path, 0};
    must(posix_spawn(&pid, path, 0, 0, args, environ) == 0, path);
    int status;
    must(waitpid(pid, &status, 0) == pid && status == 0, "waitpid");
}
static void opened(int fd) {
    must(fd >= 0, "open");
    close(fd);
}
static void absolute(void) { opened(open(file, O_RDONLY)); }
static void relative(void) { opened(open("file", O_RDONLY)); }
static void deep(void) { opened(open("a/b/c/d/file", O_RDONLY)); }
static void symlinked(void) { opened(open(through, O_RDONLY)); }
static void missing(void) { must(open("/usr/lib/no/such/thing", O_RDONLY) < 0 && errno == ENOENT, "missing"); }
static void create(void) {
    opened(open("made", O_CREAT | O_EXCL | O_WRONLY, 0600));
    must(!unlink("made"), "unlink");
}
static void openat_two(void) {
    struct open_how how = {.flags = O_RDONLY};
    opened((int)syscall(SYS_openat2, AT_FDCWD, file, &how, sizeof how));
}
static void renames(void) { must(!rename("from", "to") && !rename("to", "from"), "rename"); }
static void folders(void) { must(!mkdir("folder", 0700) && !rmdir("folder"), "mkdir"); }
static void dynamic(void) { spawn("/bin/true"); }
static void fixed(void) { spawn(program); }
static void scripted(void) { spawn(script); }
static void tcp(void) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    must(!connect(fd, (void *)&inet, sizeof inet), "connect");
    close(fd);
    close(accept(listener, 0, 0));
}
static void local_stream(void) {
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    must(!connect(fd, (void *)&unix_address, sizeof unix_address), "connect");
    close(fd);
    close(accept(local, 0, 0));
}
static void status(void) {
    struct stat found;
    must(!stat(file, &found), "stat");
}
static void reads(void) {
    static int fd = -1;
    static char buf[4096];
    if (fd < 0) fd = open(file, O_RDONLY);
    must(pread(fd, buf, sizeof buf, 0) >= 0, "pread");
}
static void writes(void) {
    static int fd = -1;
    if (fd < 0) fd = open("/dev/null", O_WRONLY);
    must(write(fd, "x", 1) == 1, "write");
}
static void maps(void) {
    char *page = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *page = 1;
    munmap(page, 4096);
}
static void forks(void) {
    pid_t pid = fork();
    if (!pid) _exit(0);
    waitpid(pid, 0, 0);
}
static void datagram(void) {
    // Datagrams are off in a session: what the refusal costs. Port 9 discards.
    static struct sockaddr_in discard = {.sin_family = AF_INET};
    discard.sin_port = htons(9), discard.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0) return;
    sendto(fd, "x", 1, MSG_DONTWAIT, (void *)&discard, sizeof discard);
    close(fd);
}
static void *nothing(void *arg) { return arg; }
static void threads(void) {
    pthread_t thread;
    must(!pthread_create(&thread, 0, nothing, 0), "pthread_create");
    pthread_join(thread, 0);
}
static void on_signal(int number) { (void)number; }
static void signals(void) { raise(SIGUSR1); }
static void futexes(void) {
    static int word = 1;
    syscall(SYS_futex, &word, 1 /* FUTEX_WAKE */, 1, 0, 0, 0);
}

static const struct { const char *name; void (*turn)(void); } ops[] = {
    {"absolute", absolute}, {"relative", relative}, {"deep", deep}, {"symlink", symlinked}, {"missing", missing}, {"create", create},
    {"openat2", openat_two}, {"rename", renames}, {"mkdir", folders}, {"dynamic", dynamic}, {"static", fixed}, {"script", scripted},
    {"tcp", tcp}, {"unix", local_stream}, {"udp", datagram}, {"held", absolute}, {"stat", status}, {"read", reads}, {"write", writes}, {"mmap", maps}, {"fork", forks},
    {"thread", threads}, {"signal", signals}, {"futex", futexes},
};

static void put(const char *path, const char *text, int mode) {
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, mode);
    must(fd >= 0 && write(fd, text, strlen(text)) >= 0 && !close(fd), path);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static double spent(int who) {
    struct rusage use;
    getrusage(who, &use);
    return (use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1e6 + use.ru_utime.tv_usec + use.ru_stime.tv_usec;
}

static struct { void (*turn)(void); int batches, turns; } plan;
// Of several callers, in memory that processes share.
static struct shared { pthread_barrier_t together; struct { double start, end; } times[]; } *shared;

// One of several callers: all, and who started them, meet before and after each batch.
static void *caller(void *number) {
    for (int batch = 0; batch < plan.batches; batch++) {
        pthread_barrier_wait(&shared->together);
        shared->times[(long)number].start = now();
        for (int i = 0; i < plan.turns; i++) plan.turn();
        shared->times[(long)number].end = now();
        pthread_barrier_wait(&shared->together);
        pthread_barrier_wait(&shared->together);
    }
    return 0;
}

static void alone(void) {
    for (int batch = 0; batch < plan.batches; batch++) {
        double start = now(), before = spent(RUSAGE_SELF);
        for (int i = 0; i < plan.turns; i++) plan.turn();
        printf("%.3f %.3f\n", (now() - start) / plan.turns, (spent(RUSAGE_SELF) - before) / plan.turns);
        fflush(stdout);
    }
}

static void together(long callers, int as_threads) {
    shared = mmap(0, sizeof *shared + callers * sizeof *shared->times, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    must(shared != MAP_FAILED, "mmap");
    pthread_barrierattr_t kind;
    pthread_barrierattr_init(&kind);
    pthread_barrierattr_setpshared(&kind, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(&shared->together, &kind, callers + 1);
    pthread_t threads[callers];
    for (long i = 0; i < callers; i++) {
        if (as_threads) must(!pthread_create(&threads[i], 0, caller, (void *)i), "pthread_create");
        else if (!fork()) _exit(caller((void *)i) != 0);
    }
    for (int batch = 0; batch < plan.batches; batch++) {
        pthread_barrier_wait(&shared->together);
        pthread_barrier_wait(&shared->together);
        double start = shared->times[0].start, end = shared->times[0].end;
        for (long i = 1; i < callers; i++) {
            if (shared->times[i].start < start) start = shared->times[i].start;
            if (shared->times[i].end > end) end = shared->times[i].end;
        }
        printf("%.3f 0\n", (end - start) / plan.turns / callers);
        // The next batch overwrites the times.
        pthread_barrier_wait(&shared->together);
    }
    for (long i = 0; i < callers; i++) {
        if (as_threads) pthread_join(threads[i], 0);
        else wait(0);
    }
}

// So many opens for writing that a policy holds until somebody approves; natively their processes just wait. The open is timed beside them.
static pid_t waiters[100];
static void hold(void) {
    mkdir("bench-1", 0755), mkdir("bench-1/a", 0755);
    int done[2];
    must(!pipe(done), "pipe");
    for (size_t i = 0; i < sizeof waiters / sizeof *waiters; i++) {
        waiters[i] = fork();
        if (waiters[i]) continue;
        char name[64];
        snprintf(name, sizeof name, "bench-1/a/held-%zu", i);
        int fd = open(name, O_CREAT | O_WRONLY, 0600);
        must(write(done[1], fd < 0 ? "n" : "y", 1) == 1, "write");
        for (;;) pause();
    }
    // Each is held (its open does not come back: state D), or through.
    for (size_t i = 0; i < sizeof waiters / sizeof *waiters; i++) {
        for (;;) {
            char name[64], text[512] = "";
            snprintf(name, sizeof name, "/proc/%d/stat", waiters[i]);
            int fd = open(name, O_RDONLY);
            must(fd >= 0 && read(fd, text, sizeof text - 1) > 0 && !close(fd), name);
            char *state = strrchr(text, ')');
            if (state && (state[2] == 'D' || state[2] == 'S')) break;
            usleep(1000);
        }
    }
    must(!fcntl(done[0], F_SETFL, O_NONBLOCK), "fcntl");
    char answers[100];
    ssize_t through = read(done[0], answers, sizeof answers);
    fprintf(stderr, "%zd held\n", (ssize_t)100 - (through > 0 ? through : 0));
}
static void let_go(void) {
    for (size_t i = 0; i < sizeof waiters / sizeof *waiters; i++) kill(waiters[i], SIGKILL);
    for (size_t i = 0; i < sizeof waiters / sizeof *waiters; i++) waitpid(waiters[i], 0, 0);
}

int main(int argc, char **argv) {
    if (argc < 5) return fprintf(stderr, "micro OP BATCHES TURNS STATIC-PROGRAM [CALLERS]\n"), 2;
    void (*turn)(void) = 0;
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (!strcmp(ops[i].name, argv[1])) turn = ops[i].turn;
    if (!turn) {
        fprintf(stderr, "no such benchmark: %s; there are:", argv[1]);
        for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) fprintf(stderr, " %s", ops[i].name);
        return fprintf(stderr, "\n"), 2;
    }
    program = argv[4];
    char here[2048];
    must(getcwd(here, sizeof here) != 0, "getcwd");
    snprintf(file, sizeof file, "%s/file", here);
    snprintf(through, sizeof through, "%s/link/file", here);
    snprintf(script, sizeof script, "%s/script", here);
    put("file", "some text\n", 0644);
    put("from", "", 0644);
    put("script", "#!/bin/sh\n:\n", 0755);
    mkdir("a", 0755), mkdir("a/b", 0755), mkdir("a/b/c", 0755), mkdir("a/b/c/d", 0755);
    put("a/b/c/d/file", "some text\n", 0644);
    if (symlink("a/b/c/d", "link") && errno != EEXIST) must(0, "symlink");
    signal(SIGUSR1, on_signal);
    if (turn == tcp) {
        listener = socket(AF_INET, SOCK_STREAM, 0);
        inet.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t len = sizeof inet;
        must(!bind(listener, (void *)&inet, len) && !listen(listener, 1000), "listen");
        getsockname(listener, (void *)&inet, &len);
    }
    if (turn == local_stream) {
        local = socket(AF_UNIX, SOCK_STREAM, 0);
        snprintf(unix_address.sun_path, sizeof unix_address.sun_path, "socket");
        unlink("socket");
        must(!bind(local, (void *)&unix_address, sizeof unix_address) && !listen(local, 1000), "listen");
    }
    char kind = 'p';
    int callers = 1;
    if (argc > 5 && (sscanf(argv[5], "%d%c", &callers, &kind) < 1 || callers < 1 || callers > 4096))
        return fprintf(stderr, "callers: a number, then p or t\n"), 2;
    plan.turn = turn, plan.batches = atoi(argv[2]), plan.turns = atoi(argv[3]);
    if (!strcmp(argv[1], "held")) hold();
    if (callers == 1) alone();
    else together(callers, kind == 't');
    if (!strcmp(argv[1], "held")) let_go();
    return 0;
}
