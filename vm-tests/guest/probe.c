// The guest's small tools, static: what the claims need and busybox does not have.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
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
// Waits for SIGUSR1 or SIGTERM in a group of its own, says which came; the lower number is taken first when both wait.
static int victim(int out) {
    sigset_t set;
    int signal;
    sigemptyset(&set), sigaddset(&set, SIGUSR1), sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, 0);
    setpgid(0, 0);
    if (write(out, "ready\n", 6) != 6) return 1;
    sigwait(&set, &signal);
    const char *word = signal == SIGUSR1 ? "hit\n" : "spared\n";
    return write(out, word, strlen(word)) < 0;
}
// Makes the kernel send SIGUSR1 to the owner of a socket: data comes, and F_SETSIG says which signal tells so.
static int by_owner(int (*own)(int, int), int pid) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) || fcntl(pair[0], F_SETSIG, SIGUSR1) || own(pair[0], pid)) return -1;
    if (fcntl(pair[0], F_SETFL, O_ASYNC)) return -1;
    return write(pair[1], "x", 1) == 1 ? 0 : -1;
}
static int setown(int fd, int pid) { return fcntl(fd, F_SETOWN, pid); }
static int setown_group(int fd, int pid) { return fcntl(fd, F_SETOWN, -pid); }
static int setown_ex(int fd, int pid) {
    struct f_owner_ex owner = {F_OWNER_PID, pid};
    return fcntl(fd, F_SETOWN_EX, &owner);
}
static int fiosetown(int fd, int pid) { return ioctl(fd, 0x8901, &pid); }
static int siocspgrp(int fd, int pid) { return ioctl(fd, 0x8902, &pid); }
// Sends SIGUSR1 to PID by one of the ways that there are.
static int send_by(const char *way, int pid) {
    siginfo_t info = {.si_code = SI_QUEUE, .si_signo = SIGUSR1};
    if (!strcmp(way, "kill")) return kill(pid, SIGUSR1);
    if (!strcmp(way, "group")) return kill(-pid, SIGUSR1);
    if (!strcmp(way, "everybody")) return kill(-1, SIGUSR1);
    if (!strcmp(way, "tkill")) return syscall(SYS_tkill, pid, SIGUSR1);
    if (!strcmp(way, "tgkill")) return syscall(SYS_tgkill, pid, pid, SIGUSR1);
    if (!strcmp(way, "queue")) return syscall(SYS_rt_sigqueueinfo, pid, SIGUSR1, &info);
    if (!strcmp(way, "tgqueue")) return syscall(SYS_rt_tgsigqueueinfo, pid, pid, SIGUSR1, &info);
    if (!strcmp(way, "pidfd")) return syscall(SYS_pidfd_send_signal, syscall(SYS_pidfd_open, pid, 0), SIGUSR1, 0, 0);
    if (!strcmp(way, "setown")) return by_owner(setown, pid);
    if (!strcmp(way, "setown_group")) return by_owner(setown_group, pid);
    if (!strcmp(way, "setown_ex")) return by_owner(setown_ex, pid);
    if (!strcmp(way, "fiosetown")) return by_owner(fiosetown, pid);
    if (!strcmp(way, "siocspgrp")) return by_owner(siocspgrp, pid);
    return -2;
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
    if (!strcmp(what, "victim")) { // FILE: waits, and writes into it what came
        return victim(open(argv[2], O_WRONLY | O_CREAT | O_TRUNC, 0600));
    }
    if (!strcmp(what, "signal")) { // WAY PID
        if (!strcmp(argv[2], "everybody")) signal(SIGUSR1, SIG_IGN);
        return send_by(argv[2], atoi(argv[3])) ? perror(argv[2]), 1 : 0;
    }
    if (!strcmp(what, "own")) { // WAY…: to a child of its own, each; shows those that did not come
        for (char **way = argv + 2; *way; way++) {
            int out[2];
            char said[16] = {0};
            if (pipe(out)) return 1;
            int child = fork();
            if (!child) prctl(PR_SET_PDEATHSIG, SIGKILL), _exit(victim(out[1]));
            if (read(out[0], said, 6) != 6) return 1;
            int sent = send_by(*way, child);
            kill(child, SIGTERM);
            memset(said, 0, sizeof said);
            if (read(out[0], said, 15) < 1 || sent || strcmp(said, "hit\n")) printf("%s\n", *way);
            waitpid(child, 0, 0), close(out[0]), close(out[1]);
        }
        return 0;
    }
    return 2;
}
