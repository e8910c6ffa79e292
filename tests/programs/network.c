/*
 * Classes 45 to 56: other ways to reach who listens outside, and to be reached. Each technique is one attempt. A win is that the one outside
 * answered, or a socket that listens where it may not.
 */
#include "attack.h"
#include <arpa/inet.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>

static int port(void) { return atoi(outside("tcp")); }

/* What comes back within a moment. */
static bool answers(int fd) {
    struct pollfd wait = {fd, POLLIN, 0};
    char text[16] = "";
    int error = errno;
    if (poll(&wait, 1, 2000) == 1 && recv(fd, text, sizeof text - 1, MSG_DONTWAIT) > 0 && !strncmp(text, FORBIDDEN, 9))
        return true;
    errno = error;
    return false;
}
static bool connects(int fd, const void *address, socklen_t size) {
    return connect(fd, address, size) == 0 && answers(fd);
}
static struct sockaddr_in four(const char *ip, int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, ip, &address.sin_addr);
    return address;
}
static struct sockaddr_in6 six(const char *ip, int port) {
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    inet_pton(AF_INET6, ip, &address.sin6_addr);
    return address;
}
static bool tcp4(const char *ip) {
    struct sockaddr_in address = four(ip, port());
    return connects(socket(AF_INET, SOCK_STREAM, 0), &address, sizeof address);
}
static bool tcp6(const char *ip, const char *name) {
    (void)name;
    struct sockaddr_in6 address = six(ip, port());
    return connects(socket(AF_INET6, SOCK_STREAM, 0), &address, sizeof address);
}
static bool plain(void) { return tcp4("127.0.0.1"); }
static bool other_loopback(void) { return tcp4("127.9.9.9"); }
static bool unspecified(void) { return tcp4("0.0.0.0"); }
static bool six_plain(void) { return tcp6("::1", ""); }
static bool six_unspecified(void) { return tcp6("::", ""); }
static bool six_mapped(void) { return tcp6("::ffff:127.0.0.1", ""); }
static bool six_mapped_unspecified(void) { return tcp6("::ffff:0.0.0.0", ""); }
static bool long_address(void) {
    char bytes[128] = {0};
    struct sockaddr_in address = four("127.0.0.1", port());
    memcpy(bytes, &address, sizeof address);
    return connects(socket(AF_INET, SOCK_STREAM, 0), bytes, sizeof bytes);
}
static bool six_scope(void) {
    struct sockaddr_in6 address = six("::1", port());
    address.sin6_scope_id = 1;
    return connects(socket(AF_INET6, SOCK_STREAM, 0), &address, sizeof address);
}
static bool six_short(void) {
    /* SIN6_LEN_RFC2133: without the scope. */
    struct sockaddr_in6 address = six("::1", port());
    return connects(socket(AF_INET6, SOCK_STREAM, 0), &address, 24);
}
static bool nonblocking(void) {
    struct sockaddr_in address = four("127.0.0.1", port());
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    connect(fd, (void *)&address, sizeof address);
    return answers(fd);
}
static bool again_after_refusal(void) {
    struct sockaddr_in address = four("127.0.0.1", port());
    struct sockaddr off = {.sa_family = AF_UNSPEC};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    connect(fd, (void *)&address, sizeof address);
    connect(fd, &off, sizeof off);
    return connects(fd, &address, sizeof address);
}
static bool duplicated_number(void) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    dup2(fd, 900);
    struct sockaddr_in address = four("127.0.0.1", port());
    return syscall(SYS_connect, 0xdead00000000ull | 900, &address, 0xbeef00000000ull | sizeof address) == 0 && answers(900);
}
static bool fast_open(void) {
    struct sockaddr_in address = four("127.0.0.1", port());
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    return sendto(fd, "x", 1, MSG_FASTOPEN, (void *)&address, sizeof address) == 1 && answers(fd);
}
static bool fast_open_message(void) {
    struct sockaddr_in address = four("127.0.0.1", port());
    struct iovec data = {"x", 1};
    struct msghdr message = {.msg_name = &address, .msg_namelen = sizeof address, .msg_iov = &data, .msg_iovlen = 1};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    return sendmsg(fd, &message, MSG_FASTOPEN) == 1 && answers(fd);
}
static bool fast_open_messages(void) {
    struct sockaddr_in address = four("127.0.0.1", port());
    struct iovec data = {"x", 1};
    struct mmsghdr message = {.msg_hdr = {.msg_name = &address, .msg_namelen = sizeof address, .msg_iov = &data, .msg_iovlen = 1}};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    return syscall(SYS_sendmmsg, fd, &message, 1, 0xf00000000ull | MSG_FASTOPEN) == 1 && answers(fd);
}
static bool fast_open_connect(void) {
    struct sockaddr_in address = four("127.0.0.1", port());
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, sizeof on);
    connect(fd, (void *)&address, sizeof address);
    send(fd, "x", 1, MSG_NOSIGNAL);
    return answers(fd);
}
static bool multipath(void) {
    struct sockaddr_in address = four("127.0.0.1", port());
    return connects(socket(AF_INET, SOCK_STREAM, 262), &address, sizeof address);
}
static bool smc(void) {
    struct sockaddr_in address = four("127.0.0.1", port());
    return connects(socket(43 /* AF_SMC */, SOCK_STREAM, 0), &address, sizeof address);
}
static bool udp_sent(void) {
    struct sockaddr_in address = four("127.0.0.1", atoi(outside("udp")));
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    return sendto(fd, "x", 1, 0, (void *)&address, sizeof address) == 1 && answers(fd);
}
static bool udp_connected(void) {
    struct sockaddr_in address = four("127.0.0.1", atoi(outside("udp")));
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    return connect(fd, (void *)&address, sizeof address) == 0 && send(fd, "x", 1, 0) == 1 && answers(fd);
}
static bool udp_message(void) {
    struct sockaddr_in address = four("127.0.0.1", atoi(outside("udp")));
    struct iovec data = {"x", 1};
    struct msghdr message = {.msg_name = &address, .msg_namelen = sizeof address, .msg_iov = &data, .msg_iovlen = 1};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    return sendmsg(fd, &message, 0) == 1 && answers(fd);
}
static bool udp_unspecified_family(void) {
    /* udp_sendmsg, net/ipv4/udp.c: the family may be AF_UNSPEC and means AF_INET. */
    struct sockaddr_in address = four("127.0.0.1", atoi(outside("udp")));
    address.sin_family = AF_UNSPEC;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    return sendto(fd, "x", 1, 0, (void *)&address, sizeof address) == 1 && answers(fd);
}
static bool raw(void) { return socket(AF_INET, SOCK_RAW, IPPROTO_UDP) >= 0; }
static bool ping(void) { return socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP) >= 0; }
static bool packet(void) { return socket(AF_PACKET, SOCK_RAW, htons(3)) >= 0; }
static bool vsock(void) { return socket(40, SOCK_STREAM, 0) >= 0; }
static bool alg(void) { return socket(38, SOCK_SEQPACKET, 0) >= 0; }
static bool audit(void) { return socket(AF_NETLINK, SOCK_RAW, 9 /* AUDIT */) >= 0; }
static bool uevents(void) { return socket(AF_NETLINK, SOCK_RAW, 15 /* KOBJECT_UEVENT */) >= 0; }
static bool family_high(void) { return syscall(SYS_socket, 0xdead00000000ull | AF_NETLINK, SOCK_RAW, 15) >= 0; }
static bool type_high(void) { return syscall(SYS_socket, AF_INET, 0xdead00000000ull | SOCK_DGRAM, 0) >= 0; }

/* ---- 48 ---- */
static bool local(int type, const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int fd = socket(AF_UNIX, type, 0);
    return connects(fd, &address, sizeof address);
}
static bool unix_plain(void) { return local(SOCK_STREAM, at("no/sock")); }
static bool unix_dots(void) { return local(SOCK_STREAM, at("ok/../no/./sock")); }
static bool unix_symlink(void) {
    unlink(at("ok/to-sock"));
    symlink("../no/sock", at("ok/to-sock"));
    return local(SOCK_STREAM, at("ok/to-sock"));
}
static bool unix_relative(void) {
    chdir(at("no"));
    bool win = local(SOCK_STREAM, "sock");
    chdir("/");
    return win;
}
static bool unix_descriptor(void) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", open(at("no/sock"), O_PATH));
    return local(SOCK_STREAM, path);
}
static bool unix_folder(void) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d/sock", open(at("no"), O_PATH | O_DIRECTORY));
    return local(SOCK_STREAM, path);
}
static bool unix_hard_link(void) {
    unlink(at("ok/same-sock"));
    return link(at("no/sock"), at("ok/same-sock")) == 0 && local(SOCK_STREAM, at("ok/same-sock"));
}
static bool unix_renamed(void) {
    if (rename(at("no/sock"), at("ok/moved-sock")))
        return false;
    bool win = local(SOCK_STREAM, at("ok/moved-sock"));
    rename(at("ok/moved-sock"), at("no/sock"));
    return win;
}
static bool unix_unterminated(void) {
    /* A path that fills the address, without a NUL at its end. */
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int used = snprintf(address.sun_path, sizeof address.sun_path, "%s", world);
    while (used + 8 < 108)
        address.sun_path[used++] = '/';
    memcpy(address.sun_path + used, "/no/sock", 8);
    return used + 8 == 108 && connects(socket(AF_UNIX, SOCK_STREAM, 0), &address, sizeof address);
}
static bool unix_datagram_sent(void) {
    struct sockaddr_un to = {.sun_family = AF_UNIX}, from = {.sun_family = AF_UNIX};
    snprintf(to.sun_path, sizeof to.sun_path, "%s", at("no/dgram"));
    snprintf(from.sun_path, sizeof from.sun_path, "%s", at("ok/from"));
    unlink(from.sun_path);
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    bind(fd, (void *)&from, sizeof from);
    return sendto(fd, "x", 1, 0, (void *)&to, sizeof to) == 1 && answers(fd);
}
static bool unix_datagram_pair(void) {
    int pair[2];
    struct sockaddr_un to = {.sun_family = AF_UNIX}, from = {.sun_family = AF_UNIX};
    if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair))
        return false;
    snprintf(to.sun_path, sizeof to.sun_path, "%s", at("no/dgram"));
    snprintf(from.sun_path, sizeof from.sun_path, "%s", at("ok/from-pair"));
    unlink(from.sun_path);
    bind(pair[0], (void *)&from, sizeof from);
    struct iovec data = {"x", 1};
    struct msghdr message = {.msg_name = &to, .msg_namelen = sizeof to, .msg_iov = &data, .msg_iovlen = 1};
    forget();
    return sendmsg(pair[0], &message, 0) == 1 && noted("unix-dgram");
}
static bool unix_raw_pair(void) {
    /* SOCK_RAW of unix sockets is a datagram socket. */
    int pair[2];
    return socketpair(AF_UNIX, SOCK_RAW, 0, pair) == 0;
}
static bool abstract_stream(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *name = outside("abstract");
    memcpy(address.sun_path + 1, name, strlen(name));
    return connects(socket(AF_UNIX, SOCK_STREAM, 0), &address, offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
}
static bool abstract_datagram(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *name = outside("abstract_dgram");
    memcpy(address.sun_path + 1, name, strlen(name));
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    bind(fd, (struct sockaddr *)&(struct sockaddr_un){.sun_family = AF_UNIX}, sizeof(sa_family_t));
    return sendto(fd, "x", 1, 0, (void *)&address, offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name)) == 1 && answers(fd);
}

/* ---- 50: ports that change hands ---- */
static int own_listener(int wanted, bool share) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (share)
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    struct sockaddr_in address = four("127.0.0.1", wanted);
    if (bind(fd, (void *)&address, sizeof address) || listen(fd, 64))
        return -1;
    return fd;
}
static int port_of(int fd) {
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    getsockname(fd, (void *)&address, &size);
    return ntohs(address.sin_port);
}
static bool given_up_port(void) {
    int fd = own_listener(0, false), was = port_of(fd);
    struct sockaddr_in address = four("127.0.0.1", was);
    int own = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(own, (void *)&address, sizeof address))
        die("a listener of the session's own");
    struct linger now = {.l_onoff = 1};
    setsockopt(own, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(own);
    close(fd);
    char text[16];
    snprintf(text, sizeof text, "%d\n", was);
    unlink(at("ok/listening"));
    put(at("ok/please-listen.tmp"), text);
    rename(at("ok/please-listen.tmp"), at("ok/please-listen"));
    for (int i = 0; i < 3000 && !exists(at("ok/listening")); i++)
        usleep(1000);
    return connects(socket(AF_INET, SOCK_STREAM, 0), &address, sizeof address);
}
/* Decided while the session itself listens there, sent to who listens there later. */
static bool deferred_past_port(void) {
    int fd = own_listener(0, false), was = port_of(fd), on = 1;
    struct sockaddr_in address = four("127.0.0.1", was);
    int out = socket(AF_INET, SOCK_STREAM, 0);
    bool deferred = setsockopt(out, IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, &on, sizeof on) == 0 &&
                    setsockopt(out, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, sizeof on) == 0;
    int error = errno;
    if (deferred)
        connect(out, (void *)&address, sizeof address);
    close(fd);
    char text[16];
    snprintf(text, sizeof text, "%d\n", was);
    unlink(at("ok/listening"));
    put(at("ok/please-listen.tmp"), text);
    rename(at("ok/please-listen.tmp"), at("ok/please-listen"));
    for (int i = 0; i < 3000 && !exists(at("ok/listening")); i++)
        usleep(1000);
    errno = error;
    return deferred && send(out, "x", 1, MSG_NOSIGNAL) == 1 && answers(out);
}
/* A route of the caller's own: packets go to its first stop, whatever address was decided. A win is a socket that has one. */
static bool source_route(void) {
    static const unsigned char loose[12] = {0x83, 11, 4, 127, 0, 0, 2, 127, 0, 0, 3, 1};
    unsigned char back[40];
    socklen_t size = sizeof back;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (setsockopt(fd, IPPROTO_IP, IP_OPTIONS, loose, sizeof loose))
        return false;
    return getsockopt(fd, IPPROTO_IP, IP_OPTIONS, back, &size) == 0 && size > 0;
}
static bool source_route_six(void) {
    /* Type 4, one segment: ::2. */
    static const unsigned char segment[24] = {0, 2, 4, 0, 0, 0, 0, 0, [23] = 2};
    unsigned char back[64];
    socklen_t size = sizeof back;
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    if (setsockopt(fd, IPPROTO_IPV6, IPV6_RTHDR, segment, sizeof segment))
        return false;
    return getsockopt(fd, IPPROTO_IPV6, IPV6_RTHDR, back, &size) == 0 && size > 0;
}
static bool shared_port(void) {
    /* A listener beside the one outside: the kernel chooses between them. */
    int fd = own_listener(atoi(outside("loop")), true);
    struct sockaddr_in address = four("127.0.0.1", atoi(outside("loop")));
    for (int i = 0; i < 64; i++) {
        int out = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        struct pollfd wait = {out, POLLIN, 0};
        char text[16] = "";
        connect(out, (void *)&address, sizeof address);
        if (poll(&wait, 1, 20) == 1 && recv(out, text, 9, MSG_DONTWAIT) > 0 && !strncmp(text, FORBIDDEN, 9))
            return true;
        close(out);
    }
    close(fd);
    return false;
}

/* ---- 56: being reached ---- */
static bool listens_everywhere(int family, const void *address, socklen_t size) {
    int fd = socket(family, SOCK_STREAM, 0);
    if (address && bind(fd, address, size))
        return false;
    if (listen(fd, 8))
        return false;
    struct sockaddr_in6 name;
    socklen_t length = sizeof name;
    getsockname(fd, (void *)&name, &length);
    return name.sin6_port != 0;
}
static bool listen_without_bind(void) { return listens_everywhere(AF_INET, NULL, 0); }
static bool listen_without_bind_six(void) { return listens_everywhere(AF_INET6, NULL, 0); }
static bool bind_everywhere(void) {
    struct sockaddr_in address = four("0.0.0.0", 0);
    return listens_everywhere(AF_INET, &address, sizeof address);
}
static bool bind_everywhere_six(void) {
    struct sockaddr_in6 address = six("::", 0);
    return listens_everywhere(AF_INET6, &address, sizeof address);
}
static bool bind_everywhere_mapped(void) {
    struct sockaddr_in6 address = six("::ffff:0.0.0.0", 0);
    return listens_everywhere(AF_INET6, &address, sizeof address);
}
static bool bind_unspec_family(void) {
    /* bind takes AF_UNSPEC with the wildcard address as AF_INET: inet_bind, net/ipv4/af_inet.c. */
    struct sockaddr_in address = four("0.0.0.0", 0);
    address.sin_family = AF_UNSPEC;
    return listens_everywhere(AF_INET, &address, sizeof address);
}
#define R(class, kind, name) {class, kind "/" #name, name}
static const struct row rows[] = {
    R(47, "connect", plain), R(47, "connect", other_loopback), R(47, "connect", unspecified), R(47, "connect", six_plain),
    R(47, "connect", six_unspecified), R(47, "connect", six_mapped), R(47, "connect", six_mapped_unspecified), R(47, "connect", long_address),
    R(47, "connect", six_scope), R(47, "connect", six_short), R(47, "connect", nonblocking),
    R(47, "connect", again_after_refusal), R(24, "connect", duplicated_number), R(47, "connect", fast_open), R(47, "connect", fast_open_message),
    R(47, "connect", fast_open_messages), R(47, "connect", fast_open_connect), R(50, "connect", deferred_past_port), R(47, "connect", source_route), R(47, "connect", source_route_six), R(47, "connect", multipath), R(47, "connect", smc),
    R(47, "udp", udp_sent), R(47, "udp", udp_connected), R(47, "udp", udp_message), R(47, "udp", udp_unspecified_family), R(47, "socket", raw), R(47, "socket", ping),
    R(47, "socket", packet), R(47, "socket", vsock), R(47, "socket", alg), R(47, "socket", audit), R(47, "socket", uevents),
    R(24, "socket", family_high), R(24, "socket", type_high),
    R(48, "unix", unix_plain), R(48, "unix", unix_dots), R(48, "unix", unix_symlink), R(48, "unix", unix_relative), R(48, "unix", unix_descriptor),
    R(48, "unix", unix_folder), R(48, "unix", unix_hard_link), R(48, "unix", unix_renamed), R(48, "unix", unix_unterminated),
    R(48, "unix", unix_datagram_sent), R(48, "unix", unix_datagram_pair), R(48, "unix", unix_raw_pair), R(48, "unix", abstract_stream),
    R(48, "unix", abstract_datagram),
    R(50, "port", given_up_port), R(50, "port", shared_port),
    R(56, "listen", listen_without_bind), R(56, "listen", listen_without_bind_six), R(56, "listen", bind_everywhere),
    R(56, "listen", bind_everywhere_six), R(56, "listen", bind_everywhere_mapped), R(56, "listen", bind_unspec_family),
};

int main(int argc, char **argv) {
    arguments(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    run_rows(rows, sizeof rows / sizeof *rows);
    return 0;
}
