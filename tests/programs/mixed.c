// Mixed load: opens, refused opens, new names, renames, threads, execs and refused connects, over and over.
// argv: SECONDS ALLOWED SECRET BEATS. BEATS is a shared file: when the last trapped call that succeeded had begun (CLOCK_MONOTONIC, ns), and turns so far.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
static volatile unsigned long *beats;
static const char *allowed, *secret;
static unsigned long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ul + t.tv_nsec;
}
static int refused;
// The clock is read before the call: whatever delays the caller afterwards, a success later than the supervisor's end shows.
#define TRY(call) ({ unsigned long begun = now(); long result = (call); if (result >= 0) beats[0] = begun; result; })
static void *turn(void *arg) {
    char one[64], two[64], word[8] = {0};
    snprintf(one, sizeof one, "m%d-%ld", getpid(), (long)pthread_self() % 100000);
    snprintf(two, sizeof two, "%s.two", one);
    int fd = TRY(open(allowed, O_RDONLY));
    if (fd >= 0) close(fd);
    fd = open(secret, O_RDONLY);
    if (fd < 0) refused++;
    else if (read(fd, word, 6) == 6) puts("LEAK"), fflush(stdout);
    fd = TRY(open(one, O_RDWR | O_CREAT, 0600));
    if (fd >= 0) close(fd);
    TRY(rename(one, two));
    TRY(chmod(two, 0644));
    TRY(unlink(two));
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int s = socket(AF_INET, SOCK_STREAM, 0);
    if (!TRY(connect(s, (struct sockaddr *)&at, sizeof at))) puts("LEAK"), fflush(stdout);
    if (s >= 0) close(s);
    return arg;
}
int main(int argc, char **argv) {
    if (argc != 5) return 2;
    allowed = argv[2], secret = argv[3];
    int fd = open(argv[4], O_RDWR | O_CREAT, 0644);
    if (fd < 0 || ftruncate(fd, 4096)) return 1;
    beats = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    puts("started"), fflush(stdout);
    int turns = 0;
    for (unsigned long end = now() + strtoul(argv[1], 0, 10) * 1000000000ul; now() < end; beats[1] = ++turns) {
        turn(0);
        pthread_t thread;
        if (!pthread_create(&thread, 0, turn, 0)) pthread_join(thread, 0);
        pid_t child = fork();
        if (!child) execl("/bin/true", "true", (char *)0), _exit(1);
        int status = 0;
        if (child > 0) waitpid(child, &status, 0);
    }
    printf("turns %d refused %d\n", turns, refused);
    return 0;
}
