// The guest's small tools, static: what the claims need and busybox does not have.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static struct sockaddr_in at(const char *port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(atoi(port)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return a;
}
static int dial(const char *port) {
    struct sockaddr_in a = at(port);
    int s = socket(AF_INET, SOCK_STREAM, 0);
    return s >= 0 && !connect(s, (struct sockaddr *)&a, sizeof a) ? s : -1;
}
// as UID COMMAND…: becomes that user, with no further group.
static int as(char **argv) {
    int id = atoi(argv[0]);
    if (setgroups(0, 0) || setgid(id) || setuid(id)) return 1;
    execvp(argv[1], argv + 1);
    return 127;
}
// listen PORT…: answers each connection with one word, until it is killed.
static int serve(char **ports) {
    struct pollfd polled[8];
    int n = 0;
    for (; ports[n] && n < 8; n++) {
        struct sockaddr_in a = at(ports[n]);
        int one = 1, s = socket(AF_INET, SOCK_STREAM, 0);
        setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (bind(s, (struct sockaddr *)&a, sizeof a) || listen(s, 8)) return 1;
        polled[n] = (struct pollfd){.fd = s, .events = POLLIN};
    }
    while (poll(polled, n, -1) > 0)
        for (int i = 0; i < n; i++)
            if (polled[i].revents) {
                int c = accept(polled[i].fd, 0, 0);
                if (c >= 0 && write(c, "reached\n", 8) == 8) close(c);
            }
    return 1;
}
// Waits until CONDITION holds, at most a minute.
#define UNTIL(condition)                                     \
    for (time_t end = time(0) + 60; !(condition); usleep(20000)) \
        if (time(0) > end) return 1;
int main(int argc, char **argv) {
    if (argc < 3) return 2;
    const char *what = argv[1];
    struct stat st;
    if (!strcmp(what, "as")) return as(argv + 2);
    if (!strcmp(what, "listen")) return serve(argv + 2);
    if (!strcmp(what, "await")) { // PORT: until somebody listens there
        UNTIL(dial(argv[2]) >= 0);
        return 0;
    }
    if (!strcmp(what, "file")) { // FILE: until it has a line
        UNTIL(!stat(argv[2], &st) && st.st_size > 0);
        return 0;
    }
    if (!strcmp(what, "gone")) { // PID: until no such process is left
        UNTIL(kill(atoi(argv[2]), 0) && errno == ESRCH);
        return 0;
    }
    if (!strcmp(what, "dial")) { // PORT: connects and shows what comes
        char word[16] = {0};
        int s = dial(argv[2]);
        if (s < 0 || read(s, word, 15) < 1) return perror("dial"), 1;
        return fputs(word, stdout), 0;
    }
    if (!strcmp(what, "signal")) { // PID: asks whether it may be signalled
        int allowed = !kill(atoi(argv[2]), 0);
        return puts(allowed ? "reached" : errno == EPERM ? "refused" : "unclear"), 0;
    }
    return 2;
}
