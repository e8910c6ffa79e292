// What benches/network measures with: connecting, looking names up, and a plain relay to compare with.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}
static int order(const void *a, const void *b) { return (*(double *)a > *(double *)b) - (*(double *)a < *(double *)b); }
static void median(double *all, int n) {
    qsort(all, n, sizeof *all, order);
    printf("%.2f\n", all[n / 2]);
}
static struct sockaddr_in at(const char *ip, const char *port) {
    struct sockaddr_in to = {AF_INET, htons(atoi(port))};
    inet_pton(AF_INET, ip, &to.sin_addr);
    return to;
}
// connect IP PORT N: microseconds of a connect and its close, the median; without TIME_WAIT.
static void connects(char **v) {
    struct sockaddr_in to = at(v[0], v[1]);
    int n = atoi(v[2]);
    double *all = calloc(n, sizeof *all);
    for (int i = 0; i < n; i++) {
        int s = socket(AF_INET, SOCK_STREAM, 0);
        struct linger gone = {1, 0};
        double began = now();
        if (connect(s, (void *)&to, sizeof to)) exit((perror("connect"), 1));
        setsockopt(s, SOL_SOCKET, SO_LINGER, &gone, sizeof gone);
        close(s);
        all[i] = now() - began;
    }
    median(all, n);
}
// lookup NAME N: microseconds of getaddrinfo for an address of IPv4, the median.
static void lookups(char **v) {
    int n = atoi(v[1]);
    double *all = calloc(n, sizeof *all);
    for (int i = 0; i < n; i++) {
        struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found;
        double began = now();
        if (getaddrinfo(v[0], NULL, &hints, &found)) exit(2);
        all[i] = now() - began;
        freeaddrinfo(found);
    }
    median(all, n);
}
static void opens(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) exit((perror(path), 1));
    close(fd);
}
// floor IP PORT N: microseconds of the calls in a lookup that are decided, without any question: two opens, and a connect with its close.
static void floors(char **v) {
    struct sockaddr_in to = at(v[0], v[1]);
    int n = atoi(v[2]);
    double *all = calloc(n, sizeof *all);
    for (int i = 0; i < n; i++) {
        struct linger gone = {1, 0};
        double began = now();
        opens("/etc/hosts");
        opens("/etc/resolv.conf");
        int s = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(s, (void *)&to, sizeof to)) exit((perror("connect"), 1));
        setsockopt(s, SOL_SOCKET, SO_LINGER, &gone, sizeof gone);
        close(s);
        all[i] = now() - began;
    }
    median(all, n);
}
struct way { int from, to; };
static void *pump(void *what) {
    struct way *way = what;
    static __thread char bytes[128 * 1024];
    for (ssize_t n; (n = read(way->from, bytes, sizeof bytes)) > 0;)
        for (ssize_t done = 0, m; done < n; done += m)
            if ((m = write(way->to, bytes + done, n - done)) <= 0) return NULL;
    shutdown(way->to, SHUT_WR);
    return NULL;
}
// relay IP PORT: prints its port; carries connections there with a read and a write a piece.
static void relay(char **v) {
    struct sockaddr_in to = at(v[0], v[1]), own = at("127.0.0.1", "0");
    socklen_t len = sizeof own;
    int l = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(l, (void *)&own, sizeof own) || listen(l, 1024) || getsockname(l, (void *)&own, &len)) exit(1);
    printf("%d\n", ntohs(own.sin_port));
    fflush(stdout);
    for (;;) {
        int near = accept(l, NULL, NULL), far = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(far, (void *)&to, sizeof to)) exit(1);
        struct way *ways = malloc(2 * sizeof *ways);
        ways[0] = (struct way){near, far}, ways[1] = (struct way){far, near};
        pthread_t thread;
        for (int i = 0; i < 2; i++) pthread_create(&thread, NULL, pump, &ways[i]), pthread_detach(thread);
    }
}
int main(int n, char **v) {
    signal(SIGPIPE, SIG_IGN); // Whoever reads a stream ends it in the middle of a write.
    if (n > 4 && !strcmp(v[1], "connect")) connects(v + 2);
    else if (n > 4 && !strcmp(v[1], "floor")) floors(v + 2);
    else if (n > 3 && !strcmp(v[1], "lookup")) lookups(v + 2);
    else if (n > 3 && !strcmp(v[1], "relay")) relay(v + 2);
    else return 2;
    return 0;
}
