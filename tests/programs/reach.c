/*
 * Classes 13, 57, 58 and 73: the user's processes outside the session. Each technique is one attempt on `outside`, and each looks for an
 * effect there: a signal that it saw, a byte that changed, its secret.
 */
#include "attack.h"
#include <sys/ptrace.h>
#include <sys/uio.h>

static pid_t target(void) { return atoi(outside("pid")); }
static unsigned long secret(void) { return strtoul(outside("secret"), NULL, 10); }

static bool is_secret(const char *text) { return !memcmp(text, FORBIDDEN, 9); }

static bool signal_kill(void) { return forget(), kill(target(), SIGURG), noted("signal"); }
static bool signal_tgkill(void) { return forget(), syscall(SYS_tgkill, target(), target(), SIGURG), noted("signal"); }
static bool signal_tkill(void) { return forget(), syscall(SYS_tkill, target(), SIGURG), noted("signal"); }
static bool signal_queue(void) { return forget(), sigqueue(target(), SIGURG, (union sigval){0}), noted("signal"); }
static bool signal_pidfd(void) {
    forget();
    int fd = syscall(SYS_pidfd_open, target(), 0);
    syscall(SYS_pidfd_send_signal, fd, SIGURG, NULL, 0);
    return noted("signal");
}
static bool signal_owner(int command, long value) {
    forget();
    int ends[2];
    pipe(ends);
    if (command == F_SETOWN)
        fcntl(ends[0], F_SETOWN, value);
    else {
        struct f_owner_ex owner = {F_OWNER_PID, value};
        fcntl(ends[0], F_SETOWN_EX, &owner);
    }
    fcntl(ends[0], F_SETSIG, SIGURG);
    fcntl(ends[0], F_SETFL, O_ASYNC);
    write(ends[1], "x", 1);
    return noted("signal");
}
static bool signal_setown(void) { return signal_owner(F_SETOWN, target()); }
static bool signal_setown_ex(void) { return signal_owner(F_SETOWN_EX, target()); }
static bool signal_socket_owner(void) {
    forget();
    int pair[2], pid = target();
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    ioctl(pair[0], 0x8901 /* FIOSETOWN */, &pid);
    fcntl(pair[0], F_SETSIG, SIGURG);
    fcntl(pair[0], F_SETFL, O_ASYNC);
    write(pair[1], "x", 1);
    return noted("signal");
}
static bool signal_exit(void) {
    /* A child of our parent's that dies tells the parent with the signal it asked for: never somebody outside. */
    forget();
    pid_t child = syscall(SYS_clone, SIGURG, 0, 0, 0, 0);
    if (!child)
        _exit(0);
    return kill(target(), SIGURG) == 0 && noted("signal");
}

static bool vm_read(void) {
    char text[16] = "";
    struct iovec local = {text, 9}, remote = {(void *)secret(), 9};
    return process_vm_readv(target(), &local, 1, &remote, 1, 0) == 9 && is_secret(text);
}
static bool vm_write(void) {
    forget();
    struct iovec local = {"X", 1}, remote = {(void *)secret(), 1};
    process_vm_writev(target(), &local, 1, &remote, 1, 0);
    return noted("memory");
}
static bool by_proc(const char *format, int flags) {
    char path[128], text[16] = "";
    snprintf(path, sizeof path, format, target(), target());
    int fd = open(path, flags | O_CLOEXEC);
    return fd >= 0 && pread(fd, text, 9, (off_t)secret()) == 9 && is_secret(text);
}
static bool proc_mem(void) { return by_proc("/proc/%d/mem", O_RDONLY); }
static bool proc_task_mem(void) { return by_proc("/proc/%d/task/%d/mem", O_RDONLY); }
static bool proc_mem_write(void) {
    forget();
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/mem", target());
    int fd = open(path, O_RDWR);
    if (fd >= 0)
        pwrite(fd, "X", 1, (off_t)secret());
    return noted("memory");
}
static bool traced(void) {
    if (ptrace(PTRACE_ATTACH, target(), 0, 0))
        return false;
    waitpid(target(), NULL, __WALL);
    errno = 0;
    long word = ptrace(PTRACE_PEEKDATA, target(), secret(), 0);
    ptrace(PTRACE_DETACH, target(), 0, 0);
    return !memcmp(&word, FORBIDDEN, sizeof word);
}
static bool seized(void) {
    if (ptrace(PTRACE_SEIZE, target(), 0, 0))
        return false;
    ptrace(PTRACE_INTERRUPT, target(), 0, 0);
    waitpid(target(), NULL, __WALL);
    long word = ptrace(PTRACE_PEEKDATA, target(), secret(), 0);
    ptrace(PTRACE_DETACH, target(), 0, 0);
    return !memcmp(&word, FORBIDDEN, sizeof word);
}
static bool descriptor(void) {
    int pidfd = syscall(SYS_pidfd_open, target(), 0), fd = syscall(SYS_pidfd_getfd, pidfd, atoi(outside("file")), 0);
    return fd >= 0 && gives(fd, FORBIDDEN);
}
static bool opened(const char *format) {
    char path[256];
    snprintf(path, sizeof path, format, target(), atoi(outside("file")));
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd >= 0 && gives(fd, FORBIDDEN);
}
static bool proc_fd(void) { return opened("/proc/%d/fd/%d"); }
static bool proc_root(void) {
    char path[4200];
    snprintf(path, sizeof path, "/proc/%d/root%s", target(), at("no/file"));
    return file_gives(path, FORBIDDEN);
}
static bool proc_cwd(void) {
    char path[128];
    snprintf(path, sizeof path, "/proc/%d/cwd", target());
    int fd = open(path, O_PATH | O_DIRECTORY), file = openat(fd, strrchr(world, '/') + 1, O_RDONLY | O_DIRECTORY);
    return file >= 0;
}
static bool readable(const char *name) {
    char path[128], text[64] = "";
    snprintf(path, sizeof path, "/proc/%d/%s", target(), name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd >= 0 && read(fd, text, sizeof text) > 0;
}
static bool environ_(void) { return readable("environ"); }
static bool maps(void) { return readable("maps"); }
static bool auxv(void) { return readable("auxv"); }
static bool pagemap(void) { return readable("pagemap"); }
static bool io(void) { return readable("io"); }
static bool compared(void) { return syscall(SYS_kcmp, getpid(), target(), 2 /* KCMP_FILES */, 0, 0) >= 0; }
static bool robust(void) {
    void *head;
    size_t size;
    return syscall(SYS_get_robust_list, target(), &head, &size) == 0;
}
static bool limits(void) {
    struct { uint64_t soft, hard; } new = {64, 64}, old = {0};
    return syscall(SYS_prlimit64, target(), 7 /* NOFILE */, NULL, &old) == 0 && old.soft > 64 && syscall(SYS_prlimit64, target(), 7, &new, NULL) == 0;
}
static bool affinity(void) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(0, &one);
    return sched_setaffinity(target(), sizeof one, &one) == 0;
}
static bool priority(void) { return syscall(SYS_setpriority, 0, target(), 19) == 0; }
static bool priority_of_user(void) { return syscall(SYS_setpriority, 2 /* PRIO_USER */, getuid(), 5) == 0; }
static bool io_priority(void) { return syscall(SYS_ioprio_set, 1, target(), 3 << 13) == 0; }
static bool oom(void) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/oom_score_adj", target());
    int fd = open(path, O_WRONLY);
    return fd >= 0 && write(fd, "1000", 4) == 4;
}
static bool reclaimed(void) {
    /* MADV_PAGEOUT of another's memory. */
    int fd = syscall(SYS_pidfd_open, target(), 0);
    struct iovec remote = {(void *)(secret() & ~4095ul), 4096};
    return syscall(440, fd, &remote, 1, 21, 0) == 4096;
}
static bool moved_pages(void) { return syscall(SYS_move_pages, target(), 0, NULL, NULL, NULL, 0) == 0; }
static bool namespaces(void) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/ns/net", target());
    int fd = open(path, O_RDONLY);
    return fd >= 0;
}

#define R(class, name) {class, "outside/" #name, name}
static const struct row rows[] = {
    R(57, signal_kill), R(57, signal_tgkill), R(57, signal_tkill), R(57, signal_queue), R(57, signal_pidfd), R(57, signal_setown),
    R(57, signal_setown_ex), R(57, signal_socket_owner), R(57, signal_exit), R(58, vm_read), R(58, vm_write), R(58, proc_mem),
    R(58, proc_task_mem), R(58, proc_mem_write), R(58, traced), R(58, seized), R(58, descriptor), R(13, proc_fd), R(13, proc_root),
    R(13, proc_cwd), R(73, environ_), R(58, maps), R(58, auxv), R(58, pagemap), R(58, io), R(58, compared), R(58, robust), R(58, limits),
    R(58, affinity), R(58, priority), R(58, priority_of_user), R(58, io_priority), R(58, oom), R(58, reclaimed),
    R(58, moved_pages), R(58, namespaces),
};

int main(int argc, char **argv) {
    arguments(argc, argv);
    run_rows(rows, sizeof rows / sizeof *rows);
    return 0;
}
