// Random calls, but of the right shape, against whatever decides them: pointers into pages that end, are not there, or change under way;
// flags out of the real ones and beyond; descriptors that are open, closed or of another kind. Several processes and threads, signals among them.
// argv: SEED CALLS SECONDS SECRET; it goes on until both are over. Prints the calls made, the fewest and the errnos met; LEAK when bytes of SECRET were read.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#define PAGE 4096
static struct { long calls, refused, allowed; } *count;
static char *pages; // two pages that are there, then one that is not
static const char *secret;
static __thread uint64_t state;
static uint32_t roll(uint32_t below) {
    uint64_t z = (state += 0x9e3779b97f4a7c15ul);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ul, z = (z ^ (z >> 27)) * 0x94d049bb133111ebul;
    return (uint32_t)((z ^ (z >> 31)) % below);
}
#define ONE_OF(list) list[roll(sizeof list / sizeof *list)]
static const char *const names[] = {"a", "b", "d", "d/a", "d/../a", "./a", "l", "ll", "loop", "secret", "locked/x", "d/d/d", "", ".", "..", "/", "//",
    "/proc/self/fd/0", "/proc/self/exe", "/proc/thread-self/cwd/secret", "/proc/1/root", "/dev/null", "/dev/fd/1", "/nonexistent/x", "a/b", "fifo"};
static const long numbers[] = {SYS_open, SYS_openat, SYS_openat2, SYS_creat, SYS_truncate, SYS_mkdir, SYS_mkdirat, SYS_rmdir, SYS_unlink, SYS_unlinkat,
    SYS_rename, SYS_renameat, SYS_renameat2, SYS_link, SYS_linkat, SYS_symlink, SYS_symlinkat, SYS_mknod, SYS_mknodat, SYS_chmod, SYS_fchmodat, 452,
    SYS_chown, SYS_lchown, SYS_fchownat, SYS_utime, SYS_utimes, SYS_utimensat, SYS_setxattr, SYS_lsetxattr, SYS_removexattr, SYS_fchmod, SYS_fchown,
    SYS_fsetxattr, SYS_fremovexattr, SYS_connect, SYS_bind, SYS_sendto, SYS_socket, SYS_socketpair, SYS_ioctl, SYS_prlimit64, SYS_setpriority,
    SYS_sendmsg, SYS_execve, SYS_execveat, SYS_stat, SYS_readlink, SYS_getdents64, SYS_io_uring_setup, SYS_clone3, SYS_mount, SYS_bpf, 1023, 460};
// Anywhere: good, at the end of what is there, beyond it, nowhere, in the kernel.
static uintptr_t pointer(void) {
    static const uintptr_t odd[] = {0, 1, 8, 0xfff, ~0ul, ~0ul - 7, 0xffff800000000000, 0x7fffffffffff, 0x800000000000};
    switch (roll(8)) {
    case 0: return ONE_OF(odd);
    case 1: return (uintptr_t)pages + 2 * PAGE - roll(64);
    case 2: return (uintptr_t)pages + 2 * PAGE + roll(64);
    default: return (uintptr_t)pages + roll(2 * PAGE - 512);
    }
}
static uintptr_t path(void) {
    if (!roll(6)) return pointer();
    const char *name = ONE_OF(names);
    size_t len = strlen(name) + 1;
    // Now and then so that the NUL is the last byte that is there, or the first that is not.
    char *at = pages + 2 * PAGE - len + (roll(12) ? 0 : 1);
    if (roll(3)) at = pages + roll(PAGE);
    else if (roll(20) == 0) return memset(pages, '/', 2 * PAGE), (uintptr_t)pages;
    memcpy(at, name, at + len > pages + 2 * PAGE ? len - 1 : len);
    return (uintptr_t)at;
}
static uint64_t flags(void) {
    static const uint64_t real[] = {0, O_WRONLY, O_RDWR, O_CREAT | O_WRONLY, O_CREAT | O_EXCL | O_RDWR, O_TRUNC | O_RDWR, O_DIRECTORY, O_NOFOLLOW, O_PATH,
        O_TMPFILE | O_RDWR, O_APPEND | O_WRONLY, O_NONBLOCK, O_CLOEXEC, 3, AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH, AT_REMOVEDIR, 1, 2, 4};
    uint64_t value = ONE_OF(real);
    if (!roll(6)) value |= 1ul << roll(64);
    return value;
}
static uint64_t descriptor(void) {
    static const uint64_t odd[] = {AT_FDCWD, (uint64_t)-1, 1000, 0x100000003, 0x7fffffff};
    return roll(3) ? 3 + roll(24) : ONE_OF(odd);
}
static uint64_t address(uint64_t *len) {
    static const int families[] = {AF_INET, AF_INET6, AF_UNIX, AF_UNSPEC, AF_NETLINK, 77};
    char at[128] = {0};
    for (size_t i = 0; i < sizeof at; i++) at[i] = (char)roll(256);
    ((struct sockaddr *)at)->sa_family = (sa_family_t)ONE_OF(families);
    if (((struct sockaddr *)at)->sa_family == AF_UNIX) strcpy(at + 2 + !roll(3), ONE_OF(names));
    if (roll(2)) ((struct sockaddr_in *)at)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *len = roll(4) ? roll(130) : flags();
    if (!roll(8)) return pointer();
    size_t size = roll(128);
    char *to = roll(2) ? pages + roll(PAGE) : pages + 2 * PAGE - size;
    return memcpy(to, at, size), (uintptr_t)to;
}
static void look(int fd) {
    char bytes[64] = {0};
    int flags = fcntl(fd, F_GETFL);
    struct stat st;
    if (flags < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode)) return;
    if (pread(fd, bytes, 63, 0) > 0 && !strncmp(bytes, "SECRET", 6)) puts("LEAK"), fflush(stdout);
}
static void one(void) {
    long nr = ONE_OF(numbers);
    uint64_t a[6] = {path(), flags(), roll(01000), pointer(), flags(), pointer()};
    switch (nr) {
    case SYS_openat: case SYS_openat2: case SYS_mkdirat: case SYS_unlinkat: case SYS_mknodat: case SYS_fchmodat: case 452: case SYS_fchownat: case SYS_utimensat:
        a[0] = descriptor(), a[1] = path(), a[2] = nr == SYS_openat2 ? pointer() : flags(), a[3] = nr == SYS_openat2 && roll(4) ? 24 : roll(4096);
        if (nr == SYS_openat2 && roll(4)) {
            uint64_t how[4] = {flags(), roll(4) ? 0 : roll(010000), roll(3) ? 0 : 1ul << roll(8), roll(8) ? 0 : 1};
            memcpy(pages + 512, how, sizeof how), a[2] = (uintptr_t)pages + 512, a[3] = roll(6) ? 24 : roll(64);
        }
        break;
    case SYS_rename: case SYS_link: case SYS_symlink: a[1] = path(); break;
    case SYS_renameat: case SYS_renameat2: case SYS_linkat: a[0] = descriptor(), a[1] = path(), a[2] = descriptor(), a[3] = path(); break;
    case SYS_symlinkat: a[1] = descriptor(), a[2] = path(); break;
    case SYS_mknod: a[1] = (roll(2) ? S_IFIFO : S_IFREG) | 0600; break;
    case SYS_fchmod: case SYS_fchown: case SYS_fsetxattr: case SYS_fremovexattr: case SYS_getdents64: a[0] = descriptor(), a[1] = pointer(); break;
    case SYS_ioctl: a[0] = descriptor(), a[1] = roll(2) ? 0x40086602 : 0x401c5820, a[2] = pointer(); break;
    case SYS_connect: case SYS_bind: a[0] = descriptor(), a[1] = address(&a[2]); break;
    case SYS_sendto: a[0] = descriptor(), a[1] = pointer(), a[2] = roll(64), a[3] = MSG_NOSIGNAL | MSG_DONTWAIT | (roll(4) ? 0 : flags()), a[4] = address(&a[5]); break;
    case SYS_sendmsg: a[0] = descriptor(), a[1] = pointer(), a[2] = MSG_NOSIGNAL | MSG_DONTWAIT; break;
    case SYS_socket: a[0] = roll(46), a[1] = roll(16) | (roll(2) ? SOCK_NONBLOCK : 0), a[2] = roll(3) ? 0 : roll(300); break;
    case SYS_socketpair: a[0] = 1, a[1] = roll(6), a[2] = 0; break;
    case SYS_prlimit64: a[0] = getpid(), a[1] = roll(20), a[2] = 0; break;
    case SYS_setpriority: a[0] = roll(3), a[1] = getpid(), a[2] = 19; break;
    case SYS_execve: case SYS_execveat: { // in a child: a success would end this program
        pid_t child = vfork();
        if (!child) {
            uintptr_t argv = roll(3) ? pointer() & ~7ul : 0, env = roll(3) ? pointer() & ~7ul : 0;
            if (nr == SYS_execve) syscall(nr, path(), argv, env);
            else syscall(nr, descriptor(), path(), argv, env, roll(2) ? AT_EMPTY_PATH : flags());
            _exit(0);
        }
        if (child > 0) waitpid(child, 0, 0);
        __atomic_add_fetch(&count->calls, 1, 5);
        return;
    }
    case SYS_clone3: a[1] = 0; break; // natively it could make a process of this one
    default: break;
    }
    long result = syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
    __atomic_add_fetch(&count->calls, 1, 5);
    __atomic_add_fetch(result < 0 ? &count->refused : &count->allowed, 1, 5);
    if (result > 2 && (nr == SYS_open || nr == SYS_openat || nr == SYS_openat2)) look((int)result);
    if (result > 2 && result < 4096 && (nr <= SYS_openat2)) // what may be a descriptor
        if (result > 24 && fcntl((int)result, F_GETFD) >= 0) close((int)result);
}
static volatile int go = 1;
static long share;
static struct timespec until;
static int time_is_left(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec < until.tv_sec;
}
static void *calls(void *seed) {
    state = (uint64_t)seed;
    // A timer for each thread: what waits, a FIFO's other end, is interrupted.
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGALRM};
    event._sigev_un._tid = gettid();
    struct itimerspec often = {{0, 7000000}, {0, 7000000}};
    timer_t timer;
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) || timer_settime(timer, 0, &often, 0)) return 0;
    for (long i = 0; i < share || time_is_left(); i++) one();
    timer_delete(timer);
    return 0;
}
// Another thread writes into the pages all the while: what is read twice shows.
static void *change(void *seed) {
    state = (uint64_t)seed;
    while (go) {
        const char *name = ONE_OF(names);
        memcpy(pages + roll(2 * PAGE - 64), name, strlen(name) + 1);
    }
    return 0;
}
static void handler(int signal) { (void)signal; }
int main(int argc, char **argv) {
    if (argc != 5) return 2;
    uint64_t seed = strtoull(argv[1], 0, 10);
    share = atol(argv[2]) / 8, secret = argv[4];
    clock_gettime(CLOCK_MONOTONIC, &until), until.tv_sec += atol(argv[3]);
    count = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    mkdir("d", 0700), close(creat("a", 0600)), close(creat("b", 0600)), close(creat("d/a", 0600)), symlink("a", "l"), symlink("secret", "ll"), symlink("loop", "loop"), mkfifo("fifo", 0600);
    for (int p = 0; p < 4; p++)
        if (!fork()) {
            pages = mmap(0, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            munmap(pages + 2 * PAGE, PAGE);
            // Output of the calls themselves goes nowhere: descriptors 3 to 26 are the playground.
            for (int fd = 3; fd < 27; fd++) open("/dev/null", O_RDWR);
            // Without SA_RESTART.
            struct sigaction interrupt = {.sa_handler = handler};
            sigaction(SIGALRM, &interrupt, 0), signal(SIGPIPE, SIG_IGN), signal(SIGIO, SIG_IGN), signal(SIGXFSZ, SIG_IGN);
            pthread_t changer, two;
            pthread_create(&changer, 0, change, (void *)(seed * 31 + p));
            pthread_create(&two, 0, calls, (void *)(seed * 37 + p));
            calls((void *)(seed * 41 + p));
            pthread_join(two, 0);
            go = 0, pthread_join(changer, 0);
            _exit(0);
        }
    int status, bad = 0;
    while (wait(&status) > 0) bad += status != 0;
    printf("calls %ld refused %ld allowed %ld broken %d\n", count->calls, count->refused, count->allowed, bad);
    return bad != 0;
}
