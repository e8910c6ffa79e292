// Tries every way to send a datagram to 127.0.0.1 port ARGV[1], from sockets of both families, before and after each change of the socket's state.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

static void said(const char *what, long result) {
    printf("%-12s %ld %s\n", what, result, result < 0 ? strerror(errno) : "");
}

static void every_way(int s, const void *to, socklen_t len) {
    struct iovec part = {"x", 1};
    struct msghdr named = {.msg_name = (void *)to, .msg_namelen = len, .msg_iov = &part, .msg_iovlen = 1};
    struct msghdr bare = {.msg_iov = &part, .msg_iovlen = 1};
    struct mmsghdr many[2] = {{named}, {bare}};
    union { char raw[CMSG_SPACE(sizeof(struct in_pktinfo))]; struct cmsghdr head; } control = {0};
    struct msghdr routed = named;
    routed.msg_control = control.raw;
    routed.msg_controllen = sizeof control.raw;
    control.head = (struct cmsghdr){CMSG_LEN(sizeof(struct in_pktinfo)), IPPROTO_IP, IP_PKTINFO};
    said("sendto", sendto(s, "x", 1, 0, to, len));
    said("sendmsg", sendmsg(s, &named, 0));
    said("pktinfo", sendmsg(s, &routed, 0));
    said("bare", sendmsg(s, &bare, 0));
    said("sendmmsg", sendmmsg(s, many, 2, 0));
    said("more", sendto(s, "x", 1, MSG_MORE, to, len));
    said("send", send(s, "x", 1, 0));
    said("write", write(s, "x", 1));
    said("writev", writev(s, &part, 1));
    int pipes[2], file = open("/etc/passwd", O_RDONLY);
    if (pipe(pipes) == 0 && write(pipes[1], "abc", 3) == 3) said("splice", splice(pipes[0], 0, s, 0, 3, 0));
    said("sendfile", sendfile(s, file, 0, 3));
    said("zerocopy", send(s, "x", 1, 0x4000000));
    close(pipes[0]), close(pipes[1]), close(file);
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    unsigned short port = htons(atoi(argv[argc - 1]));
    struct sockaddr_in v4 = {AF_INET, port, {htonl(INADDR_LOOPBACK)}, {0}};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = port};
    inet_pton(AF_INET6, "::ffff:127.0.0.1", &v6.sin6_addr);
    struct sockaddr none = {AF_UNSPEC, {0}};
    for (int six = 0; six < 2; six++) {
        int s = socket(six ? AF_INET6 : AF_INET, SOCK_DGRAM, 0), off = 0, on = 1, four = AF_INET;
        const void *to = six ? (void *)&v6 : (void *)&v4;
        socklen_t len = six ? sizeof v6 : sizeof v4;
        said("socket", s);
        every_way(s, to, len);
        said("connect", connect(s, to, len));
        every_way(s, to, len);
        setsockopt(s, 17, 1, &on, sizeof on); // UDP_CORK
        every_way(s, to, len);
        setsockopt(s, 17, 1, &off, sizeof off);
        setsockopt(s, 17, 103, &on, sizeof on); // UDP_SEGMENT
        every_way(s, to, len);
        setsockopt(s, SOL_SOCKET, 60, &on, sizeof on); // SO_ZEROCOPY
        every_way(s, to, len);
        said("disconnect", connect(s, &none, sizeof none));
        every_way(s, to, len);
        if (six) said("addrform", connect(s, to, len)), setsockopt(s, 41, 1, &four, sizeof four), every_way(s, &v4, sizeof v4);
        shutdown(s, SHUT_RDWR);
        every_way(s, to, len);
        int copy = dup(s), other = fcntl(s, F_DUPFD, 100);
        every_way(copy, to, len);
        every_way(other, to, len);
    }
    return 0;
}
