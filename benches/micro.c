// The work that is timed: `micro OP BATCHES TURNS [FILE]` prints one line a batch, microseconds a turn. Run in an own folder.
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
    {"tcp", tcp}, {"unix", local_stream}, {"stat", status}, {"read", reads}, {"write", writes}, {"mmap", maps}, {"fork", forks},
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

static int side(void (*turn)(void), int batches, int turns) {
    for (int batch = 0; batch < batches; batch++) {
        double start = now();
        for (int i = 0; i < turns; i++) turn();
        printf("%.3f\n", (now() - start) / turns);
        fflush(stdout);
    }
    return 0;
}

int main(int argc, char **argv) {
    // `callers` many processes do the same side by side; each prints its own lines.
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
    int callers = argc > 5 ? atoi(argv[5]) : 1;
    for (int i = 1; i < callers; i++)
        if (!fork()) return side(turn, atoi(argv[2]), atoi(argv[3]));
    side(turn, atoi(argv[2]), atoi(argv[3]));
    while (wait(0) > 0) {}
    return 0;
}
