/*
 * The guard that these attacks are meant for: looks at the argument in the caller's memory, refuses what names "/no/", "/ro/" or
 * "forbidden", and lets the kernel go on (CONTINUE) with whatever stands there then. A race that wins under it and not under
 * cavra-run has shown that it hits the window between the look and the use.
 *
 *     naive COMMAND [ARG...]
 */
#include "attack.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/uio.h>

static bool peek(pid_t pid, uint64_t address, void *to, size_t size) {
    struct iovec local = {to, size}, remote = {(void *)(uintptr_t)address, size};
    return process_vm_readv(pid, &local, 1, &remote, 1, 0) == (ssize_t)size;
}

static bool text_is_forbidden(pid_t pid, uint64_t address) {
    char text[4096] = {0};
    size_t have = 0;
    while (have < sizeof text - 1) {
        size_t step = 4096 - (address + have) % 4096;
        if (step > sizeof text - 1 - have)
            step = sizeof text - 1 - have;
        if (!peek(pid, address + have, text + have, step) || memchr(text + have, 0, step))
            break;
        have += step;
    }
    return strstr(text, "/no/") || strstr(text, "/ro/") || strstr(text, "forbidden") || strstr(text, "evil");
}

/* connect to NAIVE_PORT, bind to an address that is not loopback, and a unix path in "/no/" are forbidden. */
static bool address_is_forbidden(pid_t pid, int call, uint64_t address, uint64_t size) {
    union {
        struct sockaddr any;
        struct sockaddr_in four;
        struct sockaddr_in6 six;
        struct sockaddr_un local;
    } name = {0};
    const char *port = getenv("NAIVE_PORT");
    if (size > sizeof name || !peek(pid, address, &name, size))
        return false;
    switch (name.any.sa_family) {
    case AF_INET:
        return call == SYS_bind ? name.four.sin_addr.s_addr != htonl(INADDR_LOOPBACK) : port && ntohs(name.four.sin_port) == atoi(port);
    case AF_INET6:
        return call == SYS_bind ? !IN6_IS_ADDR_LOOPBACK(&name.six.sin6_addr) : port && ntohs(name.six.sin6_port) == atoi(port);
    case AF_UNIX:
        return memmem(name.local.sun_path, sizeof name.local.sun_path, "/no/", 4) != NULL;
    default:
        return false;
    }
}

static bool is_forbidden(const struct seccomp_notif *request) {
    pid_t pid = request->pid;
    const __u64 *args = request->data.args;
    switch (request->data.nr) {
    case SYS_open:
    case SYS_truncate:
    case SYS_unlink:
    case SYS_mkdir:
    case SYS_rmdir:
    case SYS_mknod:
    case SYS_chmod:
    case SYS_setxattr:
        return text_is_forbidden(pid, args[0]);
    case SYS_openat:
    case SYS_openat2:
    case SYS_symlink:
    case SYS_fchmodat:
    case SYS_utimensat:
    case SYS_mknodat:
    case SYS_unlinkat:
        return text_is_forbidden(pid, args[1]);
    case SYS_rename:
    case SYS_link:
        return text_is_forbidden(pid, args[0]) || text_is_forbidden(pid, args[1]);
    case SYS_execve: {
        uint64_t argv[4] = {0};
        for (int i = 0; i < 4; i++)
            if (!peek(pid, args[1] + 8 * i, &argv[i], 8) || !argv[i])
                break;
        return text_is_forbidden(pid, args[0]) || (argv[0] && argv[1] && text_is_forbidden(pid, argv[1]));
    }
    case SYS_connect:
    case SYS_bind:
        return address_is_forbidden(pid, request->data.nr, args[1], args[2]);
    case SYS_sendto:
        return args[4] && address_is_forbidden(pid, request->data.nr, args[4], args[5]);
    default:
        return false;
    }
}

int main(int argc, char **argv) {
    if (argc < 2)
        return 2;
    static const int calls[] = {SYS_open, SYS_openat, SYS_openat2, SYS_truncate, SYS_unlink, SYS_mkdir, SYS_rmdir, SYS_mknod, SYS_mknodat, SYS_chmod, SYS_setxattr,
                                SYS_symlink, SYS_fchmodat, SYS_utimensat, SYS_unlinkat, SYS_rename, SYS_link, SYS_execve, SYS_connect, SYS_bind, SYS_sendto};
    enum { CALLS = sizeof calls / sizeof *calls };
    struct sock_filter filter[CALLS + 3] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))};
    for (int i = 0; i < CALLS; i++)
        filter[1 + i] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[i], CALLS - i, 0);
    filter[CALLS + 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    filter[CALLS + 2] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
    struct sock_fprog program = {CALLS + 3, filter};

    /* The descriptors' table is shared, so the listener that the child gets is ours too. */
    volatile int *listener = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    *listener = -1;
    pid_t child = syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
    if (child == 0) {
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        int fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, &program);
        if (fd < 0)
            die("seccomp");
        *listener = fd;
        while (*listener == fd)
            usleep(100);
        /* exec unshares the table; it is our own copy from here on. */
        execvp(argv[1], argv + 1);
        die(argv[1]);
    }
    while (*listener < 0)
        usleep(100);
    int fd = *listener;
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    *listener = -2;
    int status = 0;
    for (;;) {
        struct seccomp_notif request = {0};
        if (ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &request)) {
            /* ENOENT: that caller was interrupted or died, or the last one is gone. */
            if (errno == EINTR || (errno == ENOENT && waitpid(child, &status, WNOHANG) == 0))
                continue;
            break;
        }
        struct seccomp_notif_resp answer = {.id = request.id};
        if (is_forbidden(&request))
            answer.error = -EACCES;
        else
            answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
        ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &answer);
    }
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
