/*
 * What lives outside the session with the user's rights: listeners of every kind, shared memory, a process with a secret in memory.
 *
 *     outside DIR     writes DIR/outside (NAME=VALUE lines), then serves until its standard input ends
 *
 * Who reaches one of the listeners is told FORBIDDEN; each effect is a line in DIR/hits.
 */
#include "attack.h"
#include <mqueue.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

static char memory_secret[64] = "FORBIDDEN memory";
static volatile sig_atomic_t signals_seen;
static void on_signal(int number) {
    (void)number;
    signals_seen++;
}

static void hit(const char *what) {
    int fd = open(at("hits"), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    dprintf(fd, "%s\n", what);
    close(fd);
}

static int inet(int family, int type, int port, bool loopback, int *got) {
    int fd = socket(family, type | SOCK_CLOEXEC, 0), one = 1;
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(loopback ? INADDR_LOOPBACK : INADDR_ANY)};
    socklen_t size = family == AF_INET6 ? sizeof six : sizeof four;
    struct sockaddr *address = family == AF_INET6 ? (void *)&six : (void *)&four;
    if (family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    if (bind(fd, address, size) || getsockname(fd, address, &size)) {
        close(fd);
        return -1;
    }
    *got = ntohs(family == AF_INET6 ? six.sin6_port : four.sin_port);
    if ((type & 15) == SOCK_STREAM)
        listen(fd, 4096);
    return fd;
}

static int unix_(int type, const char *path, bool abstract) {
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(path);
    memcpy(address.sun_path + abstract, path, length);
    if (!abstract)
        unlink(path);
    if (bind(fd, (struct sockaddr *)&address, offsetof(struct sockaddr_un, sun_path) + length + (abstract ? 1 : 0)))
        die(path);
    if (type != SOCK_DGRAM)
        listen(fd, 4096);
    return fd;
}

int main(int argc, char **argv) {
    if (argc != 2)
        return 2;
    world = argv[1];
    signal(SIGPIPE, SIG_IGN);
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(SIGURG, &action, NULL);
    /* Class 49: sockets with the names of services that act for the user. */
    static const char *const services[] = {"ssh-x/agent.1", "S.gpg-agent", "tmux-0/default", ".X11-unix/X9", "wayland-0", "vscode-1.sock",
                                           "codex-daemon-1", "nscd/socket", "containerd/containerd.sock", "podman/podman.sock", "docker.sock",
                                           "avahi-daemon/socket"};
    static const char *const service_folders[] = {"", "/ssh-x", "/tmux-0", "/.X11-unix", "/nscd", "/containerd", "/podman", "/avahi-daemon"};
    enum { TCP, LOOP, TCP6, UDP, STREAM, DGRAM, ABSTRACT, ABSTRACT_DGRAM, SERVICE, COUNT = SERVICE + sizeof services / sizeof *services };
    static const char *names[SERVICE] = {"tcp", "loop", "tcp6", "udp", "unix", "unix-dgram", "abstract", "abstract-dgram"};
    int port = 0, loop = 0, port6 = 0, udp = 0, same;
    char abstract[64], abstract_dgram[64];
    snprintf(abstract, sizeof abstract, "attack-%d", getpid());
    snprintf(abstract_dgram, sizeof abstract_dgram, "attack-dgram-%d", getpid());
    struct pollfd polls[COUNT + 2] = {
        [TCP] = {inet(AF_INET, SOCK_STREAM, 0, false, &port), POLLIN, 0},
        [LOOP] = {inet(AF_INET, SOCK_STREAM, 0, true, &loop), POLLIN, 0},
        [TCP6] = {inet(AF_INET6, SOCK_STREAM, port, false, &port6), POLLIN, 0},
        [UDP] = {inet(AF_INET, SOCK_DGRAM, 0, false, &udp), POLLIN, 0},
        [STREAM] = {unix_(SOCK_STREAM, at("no/sock"), false), POLLIN, 0},
        [DGRAM] = {unix_(SOCK_DGRAM, at("no/dgram"), false), POLLIN, 0},
        [ABSTRACT] = {unix_(SOCK_STREAM, abstract, true), POLLIN, 0},
        [ABSTRACT_DGRAM] = {unix_(SOCK_DGRAM, abstract_dgram, true), POLLIN, 0},
        [COUNT] = {0, POLLIN, 0},
        [COUNT + 1] = {-1, POLLIN, 0},
    };
    for (size_t i = 0; i < sizeof service_folders / sizeof *service_folders; i++)
        mkdir(at("ok/services%s", service_folders[i]), 0755);
    for (size_t i = 0; i < sizeof services / sizeof *services; i++)
        polls[SERVICE + i] = (struct pollfd){unix_(SOCK_STREAM, at("ok/services/%s", services[i]), false), POLLIN, 0};
    int key = 0x0a770000 | (getpid() & 0xffff);
    int shm = shmget(key, 4096, IPC_CREAT | 0600), queue = msgget(key, IPC_CREAT | 0600), semaphore = semget(key, 1, IPC_CREAT | 0600);
    char *segment = shmat(shm, NULL, 0);
    if (segment != (void *)-1)
        strcpy(segment, FORBIDDEN);
    struct { long type; char text[16]; } message = {1, FORBIDDEN};
    if (queue >= 0)
        msgsnd(queue, &message, sizeof message.text, IPC_NOWAIT);
    char mq_name[64];
    snprintf(mq_name, sizeof mq_name, "/attack-%d", getpid());
    struct mq_attr attributes = {.mq_maxmsg = 4, .mq_msgsize = 64};
    mqd_t mq = mq_open(mq_name, O_CREAT | O_RDWR, 0600, &attributes);
    if (mq != (mqd_t)-1)
        mq_send(mq, FORBIDDEN, sizeof FORBIDDEN, 0);
    int file = open(at("no/file"), O_RDONLY | O_CLOEXEC);
    put(at("hits"), "");
    FILE *out = fopen(at("outside.tmp"), "w");
    fprintf(out, "pid=%d\ntcp=%d\nloop=%d\nudp=%d\nabstract=%s\nabstract_dgram=%s\nkey=%d\nmq=%s\nsecret=%lu\nfile=%d\nshm=%d\nqueue=%d\nsemaphore=%d\n", getpid(), port, loop, udp, abstract,
            abstract_dgram, key, mq_name, (unsigned long)(uintptr_t)memory_secret, file, shm, queue, semaphore);
    fclose(out);
    rename(at("outside.tmp"), at("outside"));

    for (;;) {
        poll(polls, COUNT + 2, 200);
        if (polls[COUNT].revents) {
            char byte;
            if (read(0, &byte, 1) <= 0)
                break;
        }
        for (; signals_seen; signals_seen = 0)
            hit("signal");
        if (strncmp(memory_secret, "FORBIDDEN", 9)) {
            hit("memory");
            strcpy(memory_secret, "FORBIDDEN memory");
        }
        for (int i = 0; i < COUNT + 2; i++) {
            if (i == COUNT || polls[i].fd < 0 || !(polls[i].revents & POLLIN))
                continue;
            if (i == UDP || i == DGRAM || i == ABSTRACT_DGRAM) {
                char bytes[64];
                struct sockaddr_storage from;
                socklen_t size = sizeof from;
                recvfrom(polls[i].fd, bytes, sizeof bytes, 0, (void *)&from, &size);
                sendto(polls[i].fd, FORBIDDEN, sizeof FORBIDDEN, MSG_DONTWAIT, (void *)&from, size);
                hit(names[i]);
                continue;
            }
            int fd = accept4(polls[i].fd, NULL, NULL, SOCK_CLOEXEC);
            if (fd < 0)
                continue;
            send(fd, FORBIDDEN "\n", sizeof FORBIDDEN, MSG_NOSIGNAL | MSG_DONTWAIT);
            hit(i < SERVICE ? names[i] : i < COUNT ? "service" : "reused-port");
            close(fd);
        }
        /* Class 50: a port that the session gave up is taken by someone outside. */
        FILE *wish = fopen(at("ok/please-listen"), "r");
        if (wish) {
            int wanted = 0;
            if (fscanf(wish, "%d", &wanted) == 1 && wanted > 1024) {
                if (polls[COUNT + 1].fd >= 0)
                    close(polls[COUNT + 1].fd);
                polls[COUNT + 1].fd = inet(AF_INET, SOCK_STREAM, wanted, false, &same);
                unlink(at("ok/please-listen"));
                put(at("ok/listening"), "");
            }
            fclose(wish);
        }
    }
    shmctl(shm, IPC_RMID, NULL);
    msgctl(queue, IPC_RMID, NULL);
    semctl(semaphore, 0, IPC_RMID);
    mq_unlink(mq_name);
    return 0;
}
