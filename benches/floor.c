// The bare mechanism: seccomp user notification with the least that any supervisor must do, and no policy, records or care. `floor CMD…`;
// `floor --allow CMD…` only loads a filter that allows everything: what being under any filter costs. `floor --domain CMD…` does that
// below two Landlock domains, as the tree of a session is (floor and envelope): they handle all rights and grant reading in the working folder and
// the system's. `floor --empty CMD…` answers opens of what
// lies under /usr/lib/no with ENOENT as soon as it has read the path: the round trip. `floor --one CMD…` has one thread that receives, not two.
//   open     receive, read the path once, openat2, ADDFD_SEND
//   exec     receive, read the path once, open it, continue, stop at the exec, compare the file, let go
//   connect  receive, read the address once, duplicate the socket, connect, reply
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define TRAP(nr) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF)
#ifndef SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP 1
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#endif
#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL
#endif

static int channel[2], empty, receivers = 2;

static void pass(int fd) {
    char byte = 0, space[CMSG_SPACE(sizeof fd)];
    struct iovec io = {&byte, 1};
    struct msghdr message = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET, head->cmsg_type = SCM_RIGHTS, head->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(head), &fd, sizeof fd);
    if (sendmsg(channel[1], &message, 0) != 1) exit(3);
}
static int taken(void) {
    char byte, space[CMSG_SPACE(sizeof(int))];
    struct iovec io = {&byte, 1};
    struct msghdr message = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    int fd;
    if (recvmsg(channel[0], &message, 0) != 1) exit(3);
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
    return fd;
}
static void copy(pid_t pid, unsigned long long from, void *to, size_t len) {
    struct iovec mine = {to, len}, its[2] = {{(void *)from, len}, {0, 0}};
    size_t first = 4096 - from % 4096;
    if (first < len) its[0].iov_len = first, its[1] = (struct iovec){(void *)(from + first), len - first};
    process_vm_readv(pid, &mine, 1, its, 2, 0);
}
static void answer(int listener, unsigned long long id, long value, int error, unsigned flags) {
    struct seccomp_notif_resp reply = {.id = id, .val = value, .error = error, .flags = flags};
    ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &reply);
}
// Where the path lay that is answered at once from then on.
static _Atomic unsigned long long empty_at;
static void on_open(int listener, struct seccomp_notif *call) {
    char path[4096];
    int at = call->data.nr == SYS_open ? -1 : 0;
    if (empty && call->data.args[at + 1] == empty_at) return answer(listener, call->id, 0, -ENOENT, 0);
    copy(call->pid, call->data.args[at + 1], path, sizeof path);
    if (empty && !strncmp(path, "/usr/lib/no/", 12)) empty_at = call->data.args[at + 1];
    unsigned flags = (unsigned)call->data.args[at + 2];
    struct open_how how = {.flags = (flags & 0x7fffff) | O_CLOEXEC, .mode = flags & O_CREAT ? call->data.args[at + 3] & 07777 : 0};
    int from = AT_FDCWD;
    if (path[0] != '/') {
        char name[64];
        snprintf(name, sizeof name, "/proc/%d/cwd", call->pid);
        from = open(name, O_PATH | O_CLOEXEC);
    }
    int fd = (int)syscall(SYS_openat2, from, path, &how, sizeof how);
    if (from >= 0) close(from);
    if (fd < 0) return answer(listener, call->id, 0, -errno, 0);
    struct seccomp_notif_addfd add = {.id = call->id, .flags = SECCOMP_ADDFD_FLAG_SEND, .srcfd = fd, .newfd_flags = call->data.args[at + 2] & O_CLOEXEC};
    ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add);
    close(fd);
}
static void on_exec(int listener, struct seccomp_notif *call) {
    char path[4096], name[64];
    copy(call->pid, call->data.args[0], path, sizeof path);
    struct stat wanted = {0}, found = {0};
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0) return answer(listener, call->id, 0, -errno, 0);
    fstat(fd, &wanted);
    if (ptrace(PTRACE_SEIZE, call->pid, 0, PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL)) perror("seize");
    ptrace(PTRACE_INTERRUPT, call->pid, 0, 0);
    answer(listener, call->id, 0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE);
    int status;
    if (waitpid(call->pid, &status, __WALL) != (pid_t)call->pid) perror("wait");
    snprintf(name, sizeof name, "/proc/%d/exe", call->pid);
    stat(name, &found);
    // A script's interpreter differs from the file; the floor does not mind.
    (void)(wanted.st_ino == found.st_ino);
    ptrace(PTRACE_DETACH, call->pid, 0, 0);
    close(fd);
}
static void on_connect(int listener, struct seccomp_notif *call) {
    struct sockaddr_storage address;
    copy(call->pid, call->data.args[1], &address, call->data.args[2]);
    int pidfd = (int)syscall(SYS_pidfd_open, call->pid, PIDFD_THREAD);
    int fd = (int)syscall(SYS_pidfd_getfd, pidfd, (int)call->data.args[0], 0);
    close(pidfd);
    int failed = connect(fd, (void *)&address, call->data.args[2]) ? errno : 0;
    close(fd);
    answer(listener, call->id, 0, -failed, 0);
}

static void *receive(void *at) {
    int listener = *(int *)at;
    for (;;) {
        struct seccomp_notif call = {0};
        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call)) {
            struct pollfd ends = {listener, 0, 0};
            if (poll(&ends, 1, 0) == 1 && ends.revents & POLLHUP) return NULL;
            continue;
        }
        if (call.data.nr == SYS_execve) on_exec(listener, &call);
        else if (call.data.nr == SYS_connect) on_connect(listener, &call);
        else on_open(listener, &call);
    }
}

static int only_filtered(char **command) {
    struct sock_filter code[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog program = {1, code};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program)) return perror("seccomp"), 3;
    execvp(command[0], command);
    return perror(command[0]), 127;
}

static int in_domain(char **command) {
    // All rights that this kernel knows, 13 of them in the first ABI. An open asks for truncating and ioctls besides what it needs: where these are
    // not granted, as on the floor, Landlock goes up to the root.
    static const int known[] = {0, 13, 14, 15, 15, 16};
    int abi = (int)syscall(SYS_landlock_create_ruleset, 0, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi < 1) return perror("landlock"), 3;
    struct landlock_ruleset_attr handled = {.handled_access_fs = (1ULL << known[abi < 5 ? abi : 5]) - 1};
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &handled, sizeof handled, 0);
    const char *trees[] = {".", "..", "/usr", "/etc", "/proc", "/sys", "/dev/null", "/opt", "/run", "/tmp"};
    for (size_t i = 0; i < sizeof trees / sizeof *trees; i++) {
        struct stat found;
        struct landlock_path_beneath_attr rule = {.parent_fd = open(trees[i], O_PATH | O_CLOEXEC)};
        if (rule.parent_fd < 0) continue;
        fstat(rule.parent_fd, &found);
        rule.allowed_access = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE;
        if (S_ISDIR(found.st_mode)) rule.allowed_access |= LANDLOCK_ACCESS_FS_READ_DIR;
        // What the work makes before it is timed.
        if (!i) rule.allowed_access = handled.handled_access_fs & ((1 << known[2]) - 1);
        if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0)) return perror(trees[i]), 3;
        close(rule.parent_fd);
    }
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (syscall(SYS_landlock_restrict_self, ruleset, 0) || syscall(SYS_landlock_restrict_self, ruleset, 0)) return perror("landlock"), 3;
    close(ruleset);
    return only_filtered(command);
}

int main(int argc, char **argv) {
    if (argc > 2 && !strcmp(argv[1], "--domain")) return in_domain(argv + 2);
    if (argc > 2 && !strcmp(argv[1], "--allow")) return only_filtered(argv + 2);
    if (argc > 2 && !strcmp(argv[1], "--empty")) empty = 1, argv++, argc--;
    else if (argc > 2 && !strcmp(argv[1], "--one")) receivers = 1, argv++, argc--;
    if (argc < 2 || socketpair(AF_UNIX, SOCK_STREAM, 0, channel)) return 2;
    pid_t child = fork();
    if (!child) {
        struct sock_filter code[] = {
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
            TRAP(SYS_open), TRAP(SYS_openat), TRAP(SYS_execve), TRAP(SYS_connect),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        struct sock_fprog program = {sizeof code / sizeof *code, code};
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        int listener = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
        if (listener < 0) return perror("seccomp"), 3;
        pass(listener);
        close(listener), close(channel[0]), close(channel[1]);
        execvp(argv[1], argv + 1);
        return perror(argv[1]), 127;
    }
    int listener = taken();
    // Since Linux 6.6: the answered caller runs on this processor at once.
    ioctl(listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
    for (pthread_t other; receivers > 1; receivers--)
        if (pthread_create(&other, NULL, receive, &listener)) return perror("thread"), 3;
    receive(&listener);
    int status;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
