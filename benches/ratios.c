// Costs inside and outside, in one run each: microseconds a turn, the best batch of many. Usage: ratios FILE; run natively and under cavra-run, on one CPU.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
extern char **environ;
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}
#define BEST(name, rounds, turns, ...)                          \
    do {                                                        \
        double best = 1e18;                                     \
        for (int r = 0; r < rounds; r++) {                      \
            double start = now();                               \
            for (int i = 0; i < turns; i++) { __VA_ARGS__; }           \
            double cost = (now() - start) / turns;              \
            if (cost < best) best = cost;                       \
        }                                                       \
        printf("%-10s %8.2f us\n", name, best);                 \
    } while (0)
int main(int argc, char **argv) {
    if (argc != 2) return 2;
    BEST("open", 30, 1000, close(open(argv[1], O_RDONLY)));
    BEST("relative", 30, 1000, close(open("README.md", O_RDONLY)));
    BEST("missing", 30, 1000, open("/tmp/none/such", O_RDONLY));
    BEST("stat", 30, 1000, access(argv[1], R_OK));
    BEST("spawn", 20, 20, {
        pid_t pid;
        char *args[] = {"/bin/true", 0};
        posix_spawn(&pid, "/bin/true", 0, 0, args, environ);
        waitpid(pid, 0, 0);
    });
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    bind(listener, (void *)&address, len);
    listen(listener, 1000);
    getsockname(listener, (void *)&address, &len);
    BEST("connect", 20, 50, {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(fd, (void *)&address, len)) perror("connect");
        close(fd);
        close(accept(listener, 0, 0));
    });
    return 0;
}
