/* Classes 22 to 32: doors beside the filter. Each technique is one attempt in a child of its own. */
#include "attack.h"
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/landlock.h>
#include <linux/perf_event.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <mqueue.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/personality.h>
#include <sys/shm.h>
#include <termios.h>

static bool secret(long fd) {
    if (fd < 0)
        return false;
    return gives(fd, FORBIDDEN);
}

/* ---- 22 ---- */
static bool ring(unsigned flags) {
    struct io_uring_params parameters = {.flags = flags};
    int fd = syscall(SYS_io_uring_setup, 4, &parameters);
    if (fd < 0)
        return false;
    char *queue = mmap(NULL, parameters.sq_off.array + 4 * 4, PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQ_RING);
    char *done = mmap(NULL, parameters.cq_off.cqes + 8 * sizeof(struct io_uring_cqe), PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_CQ_RING);
    struct io_uring_sqe *entries = mmap(NULL, 4 * sizeof *entries, PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQES);
    if (queue == MAP_FAILED || done == MAP_FAILED || entries == MAP_FAILED)
        return false;
    memset(entries, 0, sizeof *entries);
    entries[0].opcode = IORING_OP_OPENAT;
    entries[0].fd = AT_FDCWD;
    entries[0].addr = (uintptr_t)at("no/file");
    ((unsigned *)(queue + parameters.sq_off.array))[0] = 0;
    __atomic_store_n((unsigned *)(queue + parameters.sq_off.tail), 1, __ATOMIC_RELEASE);
    syscall(SYS_io_uring_enter, fd, 1, 1, IORING_ENTER_GETEVENTS | (flags & IORING_SETUP_SQPOLL ? IORING_ENTER_SQ_WAKEUP : 0), NULL, 0);
    struct io_uring_cqe *answer = (void *)(done + parameters.cq_off.cqes);
    return secret(answer->res > 0 ? answer->res : -1);
}
static bool ring_plain(void) { return ring(0); }
static bool ring_sqpoll(void) { return ring(IORING_SETUP_SQPOLL); }

/* ---- 23 ---- */
#ifdef __x86_64__
static long int80(long number, long a, long b, long c) {
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c) : "memory", "r8", "r9", "r10", "r11");
    return result;
}
static char *low_copy(const char *text) {
    char *low = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    return low == MAP_FAILED ? NULL : strcpy(low, text);
}
static bool int80_open(void) {
    long fd = int80(5, (long)low_copy(at("no/file")), O_RDONLY, 0);
    errno = fd < 0 ? -fd : 0;
    return secret(fd);
}
static bool int80_openat(void) {
    long fd = int80(295, AT_FDCWD, (long)low_copy(at("no/file")), O_RDONLY);
    errno = fd < 0 ? -fd : 0;
    return secret(fd);
}
/* getpid under its i386 number: an effect is that it is answered at all. */
static bool int80_getpid(void) { return int80(20, 0, 0, 0) == getpid(); }
static bool x32(long number) { return secret(syscall(0x40000000 | number, AT_FDCWD, at("no/file"), O_RDONLY, 0)); }
static bool x32_openat(void) { return x32(SYS_openat); }
static bool x32_getpid(void) { return syscall(0x40000000 | SYS_getpid) == getpid(); }
#endif

/* ---- 24: values that a comparison of the wrong width lets through ---- */
#define HIGH 0xdead000000000000ull
static bool openat_dirfd_high(void) { return secret(syscall(SYS_openat, HIGH | (unsigned)AT_FDCWD, at("no/file"), O_RDONLY, 0)); }
static bool openat_flags_high(void) { return secret(syscall(SYS_openat, AT_FDCWD, at("no/file"), HIGH | O_RDONLY, 0)); }
static bool openat_path_flag_high(void) { return secret(syscall(SYS_openat, AT_FDCWD, at("no/file"), (unsigned long)O_PATH << 32, 0)); }
static bool open_flags_high(void) { return secret(syscall(SYS_open, at("no/file"), HIGH | (unsigned long)O_PATH << 32 | O_RDONLY, 0)); }
static bool number_high(void) { return secret(syscall(1L << 32 | SYS_openat, AT_FDCWD, at("no/file"), O_RDONLY, 0)); }
static bool namespace_differs(const char *name, const char *was) {
    char link[64], now[64] = "";
    snprintf(link, sizeof link, "/proc/self/ns/%s", name);
    return readlink(link, now, sizeof now - 1) > 0 && strcmp(was, now) != 0;
}
static bool new_namespace(const char *name, unsigned long flags, int how) {
    char was[64] = "", link[64];
    snprintf(link, sizeof link, "/proc/self/ns/%s", name);
    if (readlink(link, was, sizeof was - 1) <= 0)
        return false;
    if (how == 0)
        return syscall(SYS_unshare, flags) == 0 && (!strcmp(name, "pid") || namespace_differs(name, was));
    pid_t child;
    if (how == 1) {
        child = syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
    } else {
        struct clone_args args = {.flags = flags, .exit_signal = SIGCHLD};
        child = syscall(SYS_clone3, &args, sizeof args);
    }
    if (child < 0)
        return false;
    if (child == 0)
        _exit(namespace_differs(name, was) ? 0 : 1);
    int status;
    waitpid(child, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
/* clone reads its flags' low half only: garbage above must not hide a namespace. */
static bool clone_high(void) { return new_namespace("user", HIGH | CLONE_NEWUSER, 1); }

/* ---- 26 ---- */
#define NAMESPACE(id, flag)                                                                        \
    static bool unshare_##id(void) { return new_namespace(#id, flag, 0); }                          \
    static bool clone_##id(void) { return new_namespace(#id, flag, 1); }                            \
    static bool clone3_##id(void) { return new_namespace(#id, flag, 2); }
NAMESPACE(user, CLONE_NEWUSER)
NAMESPACE(mnt, CLONE_NEWUSER | CLONE_NEWNS)
NAMESPACE(net, CLONE_NEWUSER | CLONE_NEWNET)
NAMESPACE(pid, CLONE_NEWUSER | CLONE_NEWPID)
NAMESPACE(uts, CLONE_NEWUSER | CLONE_NEWUTS)
NAMESPACE(ipc, CLONE_NEWUSER | CLONE_NEWIPC)
NAMESPACE(cgroup, CLONE_NEWUSER | 0x02000000)
static bool unshare_time(void) { return syscall(SYS_unshare, CLONE_NEWUSER | 0x80) == 0; }
static bool setns_self(void) {
    int fd = open("/proc/self/ns/net", O_RDONLY);
    return syscall(SYS_setns, fd, CLONE_NEWNET) == 0;
}
static bool setns_pidfd(void) {
    int fd = syscall(SYS_pidfd_open, getpid(), 0);
    return syscall(SYS_setns, fd, CLONE_NEWNET) == 0;
}
/* A child of our parent: nobody of ours waits for it. An effect is that it reads the secret. */
static bool reads_it(void) {
    int fd = open(at("no/file"), O_RDONLY);
    return secret(fd);
}
static bool by_relative(unsigned long flags) {
    volatile int *answer = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t child = syscall(SYS_clone, flags, 0, 0, 0, 0);
    if (child < 0)
        return false;
    if (child == 0) {
        *answer = reads_it() ? 1 : 2;
        _exit(0);
    }
    for (int i = 0; i < 5000 && !*answer; i++)
        usleep(1000);
    return *answer == 1;
}
static bool clone_parent(void) { return by_relative(CLONE_PARENT | SIGCHLD); }
static bool clone_untraced(void) { return by_relative(CLONE_UNTRACED | SIGCHLD); }
static bool clone_files(void) { return by_relative(CLONE_FILES | CLONE_FS | SIGCHLD); }
static bool clone_no_signal(void) { return by_relative(0); }
static bool daemon_(void) {
    volatile int *answer = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (fork() == 0) {
        setsid();
        if (fork() == 0) {
            usleep(50000); /* reparented by then */
            *answer = reads_it() ? 1 : 2;
            _exit(0);
        }
        _exit(0);
    }
    for (int i = 0; i < 5000 && !*answer; i++)
        usleep(1000);
    return *answer == 1;
}

/* ---- 27 ---- */
static int own_filter(unsigned action, unsigned flags) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, action),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {4, filter};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}
static int own_listener = -1;
static void *continue_all(void *unused) {
    (void)unused;
    for (;;) {
        struct seccomp_notif request = {0};
        if (ioctl(own_listener, SECCOMP_IOCTL_NOTIF_RECV, &request))
            return NULL;
        struct seccomp_notif_resp answer = {.id = request.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
        ioctl(own_listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
    }
}
static bool listener(void) {
    own_listener = own_filter(SECCOMP_RET_USER_NOTIF, SECCOMP_FILTER_FLAG_NEW_LISTENER);
    if (own_listener < 0)
        return false;
    pthread_t thread;
    pthread_create(&thread, NULL, continue_all, NULL);
    return reads_it();
}
static bool listener_flags_high(void) {
    struct sock_filter filter[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog program = {1, filter};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    /* The flags are 32 bits wide for the kernel. */
    return syscall(SYS_seccomp, HIGH | SECCOMP_SET_MODE_FILTER, HIGH | SECCOMP_FILTER_FLAG_NEW_LISTENER, &program) >= 0;
}
static bool filter_allow(void) { return own_filter(SECCOMP_RET_ALLOW, 0) == 0 && reads_it(); }
static bool filter_log(void) { return own_filter(SECCOMP_RET_LOG, 0) == 0 && reads_it(); }
static bool filter_tsync(void) { return own_filter(SECCOMP_RET_ALLOW, SECCOMP_FILTER_FLAG_TSYNC) == 0 && reads_it(); }

/* ---- 28: a domain of our own must not be lifted by who opens for us; natively this cannot win ---- */
static bool own_landlock(void) {
    struct landlock_ruleset_attr attributes = {.handled_access_fs = LANDLOCK_ACCESS_FS_READ_FILE};
    int ruleset = syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0);
    if (ruleset < 0)
        return false;
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (syscall(SYS_landlock_restrict_self, ruleset, 0))
        return false;
    return open(at("ok/file"), O_RDONLY) >= 0;
}

/* ---- 29 ---- */
static bool set_dumpable(void) { return prctl(PR_SET_DUMPABLE, 0) == 0 && prctl(PR_GET_DUMPABLE) == 0; }
static bool set_dumpable_high(void) { return syscall(SYS_prctl, HIGH | PR_SET_DUMPABLE, 0, 0, 0, 0) == 0 && prctl(PR_GET_DUMPABLE) == 0; }
static bool set_mm(void) {
    /* The argument area as /proc/PID/cmdline shows it moves: records and verification would read elsewhere. */
    static char fake[64] = "harmless";
    return prctl(PR_SET_MM, PR_SET_MM_ARG_START, fake, 0, 0) == 0;
}
static bool set_mm_map(void) {
    unsigned size = 0;
    return prctl(PR_SET_MM, PR_SET_MM_MAP_SIZE, &size, 0, 0) == 0 && size > 0;
}
static bool ambient(void) { return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 12 /* NET_ADMIN */, 0, 0) == 0; }
static bool keyring(void) { return syscall(SYS_add_key, "user", "attack", "x", 1, -4) >= 0; }
static bool keyctl_(void) { return syscall(SYS_keyctl, 0 /* GET_KEYRING_ID */, -4, 1) >= 0; }
static bool request_key_(void) { return syscall(SYS_request_key, "user", "attack", NULL, -4) >= 0 || errno == ENOKEY; }
static bool bpf_(void) {
    union bpf_attr attributes = {.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1};
    return syscall(SYS_bpf, BPF_MAP_CREATE, &attributes, sizeof attributes) >= 0;
}
static bool perf(void) {
    struct perf_event_attr attributes = {.type = PERF_TYPE_SOFTWARE, .size = sizeof attributes, .config = PERF_COUNT_SW_CPU_CLOCK, .exclude_kernel = 1};
    return syscall(SYS_perf_event_open, &attributes, 0, -1, -1, 0) >= 0;
}
static bool userfault(void) { return syscall(SYS_userfaultfd, O_CLOEXEC) >= 0; }
static bool userfault_user_only(void) { return syscall(SYS_userfaultfd, O_CLOEXEC | 1) >= 0; }
static bool personality_(void) { return personality(PER_LINUX32) >= 0 && personality(0xffffffff) == PER_LINUX32; }
static bool personality_read_implies_exec(void) { return personality(READ_IMPLIES_EXEC) >= 0 && (personality(0xffffffff) & READ_IMPLIES_EXEC); }
static bool fanotify(void) { return syscall(SYS_fanotify_init, 0x200 /* FID */, O_RDONLY) >= 0; }
static bool subreaper(void) { return prctl(PR_SET_CHILD_SUBREAPER, 1) == 0 && reads_it(); }

/* ---- 31 ---- */
static bool opens(const char *path) {
    int fd = open(path, O_RDWR | O_NONBLOCK);
    if (fd < 0 && (errno == ENOENT || errno == ENXIO || errno == ENODEV))
        return false;
    if (fd < 0)
        fd = open(path, O_RDONLY | O_NONBLOCK);
    return fd >= 0;
}
static bool dev_mem(void) { return opens("/dev/mem"); }
static bool dev_kmsg(void) { return opens("/dev/kmsg"); }
static bool dev_kvm(void) { return opens("/dev/kvm"); }
static bool dev_fuse(void) { return opens("/dev/fuse"); }
static bool dev_tun(void) { return opens("/dev/net/tun"); }
static bool dev_loop(void) { return opens("/dev/loop-control"); }
static bool dev_disk(void) { return opens("/dev/vda") || opens("/dev/sda") || opens("/dev/nvme0n1"); }
static bool dev_vhost(void) { return opens("/dev/vhost-net") || opens("/dev/vhost-vsock"); }
static bool dev_port(void) { return opens("/dev/port"); }
static bool pushes(unsigned long request) {
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    grantpt(master);
    unlockpt(master);
    int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    setsid();
    ioctl(slave, TIOCSCTTY, 0);
    struct termios raw;
    tcgetattr(slave, &raw);
    cfmakeraw(&raw);
    tcsetattr(slave, TCSANOW, &raw);
    char byte = 'x', got = 0;
    if (syscall(SYS_ioctl, slave, request, &byte))
        return false;
    fcntl(slave, F_SETFL, O_NONBLOCK);
    return read(slave, &got, 1) == 1 && got == 'x';
}
static bool tiocsti(void) { return pushes(TIOCSTI); }
static bool tiocsti_high(void) { return pushes(HIGH | TIOCSTI); }
static bool tiocsti_stdin(void) {
    char byte = ' ';
    return ioctl(0, TIOCSTI, &byte) == 0;
}
/* ---- 32 ---- */
/* Each also makes an object of its own and uses it: who can not do that has shown nothing. */
static bool attached(int id) {
    char *segment = id < 0 ? (void *)-1 : shmat(id, NULL, 0);
    return segment != (void *)-1 && !strncmp(segment, FORBIDDEN, 9);
}
static bool own_memory(int key) {
    int id = shmget(key, 4096, IPC_CREAT | IPC_EXCL | 0600), again = key == IPC_PRIVATE ? id : shmget(key, 4096, 0);
    char *segment = id < 0 || again != id ? (void *)-1 : shmat(id, NULL, 0);
    bool works = segment != (void *)-1 && strcpy(segment, "own") && shmctl(id, IPC_RMID, NULL) == 0;
    if (!works)
        die("memory of the session's own");
    return works;
}
static bool sysv_memory(void) { return own_memory(getpid()) && attached(shmget(atoi(outside("key")), 0, 0)); }
static bool sysv_memory_create(void) { return own_memory(IPC_PRIVATE) && attached(shmget(atoi(outside("key")), 4096, IPC_CREAT | 0600)); }
static bool sysv_memory_id(void) { return attached(atoi(outside("shm"))); }
static bool sysv_memory_listed(void) {
    bool win = false;
    for (int i = 0; i < 64; i++) {
        struct shmid_ds found;
        win |= attached(shmctl(i, SHM_STAT, &found));
    }
    return win;
}
struct text { long type; char text[16]; };
static bool received(int id) {
    struct text message = {0};
    bool win = id >= 0 && msgrcv(id, &message, sizeof message.text, 0, IPC_NOWAIT) > 0 && !strncmp(message.text, FORBIDDEN, 9);
    if (win)
        msgsnd(id, &message, sizeof message.text, IPC_NOWAIT);
    return win;
}
static bool sysv_queue(void) {
    struct text message = {1, "own"};
    int id = msgget(getpid(), IPC_CREAT | 0600);
    if (msgsnd(id, &message, sizeof message.text, 0) || msgrcv(id, &message, sizeof message.text, 0, 0) < 0 || msgctl(id, IPC_RMID, NULL))
        die("a queue of the session's own");
    return received(msgget(atoi(outside("key")), 0));
}
static bool sysv_queue_id(void) { return received(atoi(outside("queue"))); }
static bool sysv_queue_sent(void) {
    struct text message = {7, "planted"};
    return msgsnd(atoi(outside("queue")), &message, sizeof message.text, IPC_NOWAIT) == 0;
}
static bool sysv_semaphore(void) {
    struct sembuf up = {0, 1, 0}, down = {0, -1, 0};
    int id = semget(IPC_PRIVATE, 1, 0600);
    if (semop(id, &up, 1) || semtimedop(id, &down, 1, NULL) || semctl(id, 0, IPC_RMID))
        die("a semaphore of the session's own");
    return semop(semget(atoi(outside("key")), 0, 0), &up, 1) == 0;
}
static bool sysv_semaphore_id(void) { return semctl(atoi(outside("semaphore")), 0, SETVAL, 5) == 0; }
static bool sysv_queue_removed(void) { return msgctl(atoi(outside("queue")), IPC_RMID, NULL) == 0; }
static bool sysv_memory_removed(void) { return shmctl(atoi(outside("shm")), IPC_RMID, NULL) == 0; }
static bool posix_unlink(void) { return mq_unlink(outside("mq")) == 0; }
static bool posix_queue(void) {
    char text[64] = "";
    mqd_t queue = mq_open(outside("mq"), O_RDWR | O_NONBLOCK);
    bool win = queue != (mqd_t)-1 && mq_receive(queue, text, sizeof text, NULL) > 0 && !strncmp(text, FORBIDDEN, 9);
    if (win)
        mq_send(queue, text, sizeof FORBIDDEN, 0);
    return win;
}

#define R(class, kind, name) {class, kind "/" #name, name}
static const struct row rows[] = {
    R(22, "uring", ring_plain), R(22, "uring", ring_sqpoll),
#ifdef __x86_64__
    R(23, "abi", int80_open), R(23, "abi", int80_openat), R(23, "abi", int80_getpid), R(23, "abi", x32_openat), R(23, "abi", x32_getpid),
#endif
    R(24, "high", openat_dirfd_high), R(24, "high", openat_flags_high), R(24, "high", openat_path_flag_high), R(24, "high", open_flags_high),
    R(24, "high", number_high), R(24, "high", clone_high),
    R(26, "ns", unshare_user), R(26, "ns", unshare_mnt), R(26, "ns", unshare_net), R(26, "ns", unshare_pid), R(26, "ns", unshare_uts),
    R(26, "ns", unshare_ipc), R(26, "ns", unshare_cgroup), R(26, "ns", unshare_time), R(26, "ns", clone_user), R(26, "ns", clone_mnt),
    R(26, "ns", clone_net), R(26, "ns", clone_pid), R(26, "ns", clone_uts), R(26, "ns", clone_ipc), R(26, "ns", clone_cgroup),
    R(26, "ns", clone3_user), R(26, "ns", clone3_mnt), R(26, "ns", clone3_net), R(26, "ns", clone3_pid), R(26, "ns", clone3_uts),
    R(26, "ns", clone3_ipc), R(26, "ns", clone3_cgroup), R(26, "ns", setns_self), R(26, "ns", setns_pidfd),
    R(26, "task", clone_parent), R(26, "task", clone_untraced), R(26, "task", clone_files), R(26, "task", clone_no_signal), R(26, "task", daemon_),
    R(27, "filter", listener), R(27, "filter", listener_flags_high), R(27, "filter", filter_allow), R(27, "filter", filter_log), R(27, "filter", filter_tsync),
    R(28, "landlock", own_landlock),
    R(29, "prctl", set_dumpable), R(29, "prctl", set_dumpable_high), R(29, "prctl", set_mm), R(29, "prctl", set_mm_map), R(29, "prctl", ambient),
    R(29, "prctl", subreaper), R(29, "call", keyring), R(29, "call", keyctl_), R(29, "call", request_key_), R(29, "call", bpf_), R(29, "call", perf),
    R(29, "call", userfault), R(29, "call", userfault_user_only), R(29, "call", personality_), R(29, "call", personality_read_implies_exec),
    R(29, "call", fanotify),
    R(31, "device", dev_mem), R(31, "device", dev_kmsg), R(31, "device", dev_kvm), R(31, "device", dev_fuse), R(31, "device", dev_tun),
    R(31, "device", dev_loop), R(31, "device", dev_disk), R(31, "device", dev_vhost), R(31, "device", dev_port),
    R(31, "tty", tiocsti), R(31, "tty", tiocsti_high), R(31, "tty", tiocsti_stdin),
    R(32, "ipc", sysv_memory), R(32, "ipc", sysv_memory_create), R(32, "ipc", sysv_memory_id), R(32, "ipc", sysv_memory_listed),
    R(32, "ipc", sysv_queue), R(32, "ipc", sysv_queue_id), R(32, "ipc", sysv_queue_sent), R(32, "ipc", sysv_semaphore),
    R(32, "ipc", sysv_semaphore_id), R(32, "ipc", sysv_queue_removed), R(32, "ipc", sysv_memory_removed), R(32, "ipc", posix_queue),
    R(32, "ipc", posix_unlink),
};

int main(int argc, char **argv) {
    arguments(argc, argv);
    run_rows(rows, sizeof rows / sizeof *rows);
    return 0;
}
