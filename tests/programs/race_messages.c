// Classes 45 and 46 for messages: what a datagram's call points at is rewritten while it runs. ARGV: the port that may be reached, the one that may
// not, attempts. Prints `technique attempts wins` for each. A win is a datagram at the forbidden port (the caller of this counts those, told
// apart by their first byte), one with IP options, or a length other than the call told.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct sockaddr_in good = {AF_INET}, evil = {AF_INET}, name = {AF_INET};
static char letter[32] = "?";
static struct iovec part = {letter, 1};
static union { char raw[CMSG_SPACE(8)]; struct cmsghdr head; } control;
static struct msghdr message;
static struct mmsghdr many[2];
static int sender, receiver, fds[2], target, unread;
static volatile int stop, side;

static void rewrite_address(int to) { *(volatile unsigned short *)&name.sin_port = to ? evil.sin_port : good.sin_port; }
static void rewrite_pointer(int to) { *(void *volatile *)&message.msg_name = to ? &evil : &good; }
static void rewrite_pointers(int to) {
    *(void *volatile *)&many[1].msg_hdr.msg_name = to ? &evil : &good;
}
// A time to live, or IP options.
static void rewrite_control(int to) { *(volatile int *)&control.head.cmsg_type = to ? IP_RETOPTS : IP_TTL; }
static void rewrite_parts(int to) { *(volatile size_t *)&part.iov_len = to ? 32 : 1; }
// The message's address is forbidden; a packet socket ignores it, and a datagram socket does not.
static void rewrite_number(int to) { dup2(fds[to], target); }

static void *writer(void *what) {
    while (!stop) {
        side = !side;
        ((void (*)(int))what)(side);
        for (volatile int n = rand() % 400; n > 0; n--) ;
    }
    return NULL;
}

static int by_sendto(void) { return sendto(sender, letter, 1, MSG_DONTWAIT, (void *)&name, sizeof name); }
static int by_sendmsg(void) { return sendmsg(sender, &message, MSG_DONTWAIT); }
static int by_sendmmsg(void) { return sendmmsg(sender, many, 2, MSG_DONTWAIT) > 0 ? 1 : -1; }
static int by_number(void) {
    char bytes[64];
    while (recv(unread, bytes, sizeof bytes, MSG_DONTWAIT) > 0) ;
    return sendmsg(target, &message, MSG_DONTWAIT);
}

static void race(char mark, const char *technique, int (*call)(void), void (*rewrite)(int), long attempts, int lengths) {
    long wins = 0, through = 0;
    memset(letter, mark, sizeof letter);
    pthread_t thread;
    stop = 0;
    pthread_create(&thread, NULL, writer, (void *)rewrite);
    for (long n = 0; n < attempts; n++) {
        int told = call();
        through += told > 0;
        char bytes[64], space[256];
        struct iovec into = {bytes, sizeof bytes};
        struct msghdr got = {.msg_iov = &into, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
        for (int len; (len = recvmsg(receiver, &got, MSG_DONTWAIT)) > 0; got.msg_controllen = sizeof space) {
            for (struct cmsghdr *c = CMSG_FIRSTHDR(&got); c; c = CMSG_NXTHDR(&got, c)) wins += c->cmsg_type == IP_RECVOPTS;
            wins += lengths && told > 0 && len != told;
        }
    }
    stop = 1;
    pthread_join(thread, NULL);
    printf("%c %s %ld %ld %ld\n", mark, technique, attempts, wins, through);
    fflush(stdout);
}

int main(int argc, char **argv) {
    long attempts = atol(argv[3]);
    good.sin_addr.s_addr = evil.sin_addr.s_addr = name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    good.sin_port = name.sin_port = htons(atoi(argv[1]));
    evil.sin_port = htons(atoi(argv[2]));
    receiver = socket(AF_INET, SOCK_DGRAM, 0);
    int on = 1;
    setsockopt(receiver, IPPROTO_IP, IP_RECVOPTS, &on, sizeof on);
    if (bind(receiver, (void *)&good, sizeof good)) return perror("bind"), 1;
    sender = socket(AF_INET, SOCK_DGRAM, 0);
    message = (struct msghdr){.msg_name = &name, .msg_namelen = sizeof name, .msg_iov = &part, .msg_iovlen = 1};
    many[0].msg_hdr = many[1].msg_hdr = message;
    race('a', "sendto/address", by_sendto, rewrite_address, attempts, 0);
    race('b', "sendmsg/address", by_sendmsg, rewrite_address, attempts, 0);
    name.sin_port = good.sin_port;
    race('c', "sendmsg/header", by_sendmsg, rewrite_pointer, attempts, 0);
    race('d', "sendmmsg/header", by_sendmmsg, rewrite_pointers, attempts, 0);
    message.msg_name = &good;
    control.head = (struct cmsghdr){CMSG_LEN(4), IPPROTO_IP, IP_TTL};
    memcpy(CMSG_DATA(&control.head), "\1\0\0\0", 4); // a time to live of one, or a no-operation and the options' end
    message.msg_control = control.raw, message.msg_controllen = CMSG_SPACE(4);
    race('e', "sendmsg/control", by_sendmsg, rewrite_control, attempts, 0);
    message.msg_control = NULL, message.msg_controllen = 0;
    race('f', "sendmsg/parts", by_sendmsg, rewrite_parts, attempts, 1);
    part.iov_len = 1;
    int pair[2];
    socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair); // it ignores a message's address
    fds[0] = pair[0], fds[1] = sender, target = dup(pair[0]), unread = pair[1];
    message.msg_name = &evil;
    race('g', "sendmsg/number", by_number, rewrite_number, attempts, 0);
    return 0;
}
