/*
 * Classes 3 to 8: everything about an open but its string changes while it runs. open_how, components of the path, the last one, the
 * working folder, the folder descriptor, the file under the name, the caller's memory through signal handlers; and memory that lies.
 */
#include "attack.h"
#include <linux/openat2.h>

static int openat2_(int dirfd, const char *path, struct open_how *how, size_t size) { return syscall(SYS_openat2, dirfd, path, how, size); }

/* ---- 3: open_how ---- */
static struct open_how *how;
static uint64_t good_flags, evil_flags, good_resolve, evil_resolve;
static void good_how(void *unused) { (void)unused; *(volatile __u64 *)&how->flags = good_flags; *(volatile __u64 *)&how->resolve = good_resolve; }
static void evil_how(void *unused) { (void)unused; *(volatile __u64 *)&how->flags = evil_flags; *(volatile __u64 *)&how->resolve = evil_resolve; }

static void race_how(const char *name, const char *path, uint64_t good, uint64_t evil, uint64_t resolve_good, uint64_t resolve_evil, int what) {
    struct tally tally;
    if (!begin(&tally, 3, "open-how/%s", name))
        return;
    how = calloc(1, sizeof *how);
    good_flags = good, evil_flags = evil, good_resolve = resolve_good, evil_resolve = resolve_evil;
    struct flipper flipper = {.harmless = good_how, .forbidden = evil_how};
    start_flipper(&flipper);
    while (more(&tally)) {
        aim(&flipper, tally.attempts);
        int fd = openat2_(AT_FDCWD, path, how, sizeof *how), error = fd < 0 ? errno : 0;
        bool win = false;
        if (fd >= 0) {
            if (what == 'r') {
                win = gives(fd, FORBIDDEN);
            } else if (what == 'm') {
                /* Wins where O_TMPFILE or the mode of a creation slipped in. */
                struct stat st;
                win = !fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_nlink == 0;
            } else if (pwrite(fd, "x", 1, 0) == 1 || what == 't') {
                win = !file_gives(at("ro/file"), PRISTINE);
                if (win)
                    put(at("ro/file"), PRISTINE "\n");
            }
            close(fd);
        }
        count(&tally, win, error);
    }
    stop_flipper(&flipper);
    report(&tally);
}

/* ---- 4 and 6: names exchanged ---- */
static const char *left, *right;
static void exchange(void *unused) { (void)unused; renameat2(AT_FDCWD, left, AT_FDCWD, right, RENAME_EXCHANGE); }
static void place(const char *text_or_link, const char *path, bool is_link) {
    unlink(path);
    if (is_link)
        symlink(text_or_link, path);
    else
        put(path, text_or_link);
}
static void cover_with_file(void *unused) {
    (void)unused;
    put(at("ok/cover-tmp"), ALLOWED "\n");
    rename(at("ok/cover-tmp"), left);
}
static const char *cover_target;
static void cover_with_link(void *unused) {
    (void)unused;
    unlink(at("ok/cover-link"));
    symlink(cover_target, at("ok/cover-link"));
    rename(at("ok/cover-link"), left);
}

struct race {
    int class;
    const char *name;
    void (*good)(void *), (*evil)(void *);
    int (*call)(void);
    bool (*effect)(int);
};

static void run(const struct race *race) {
    struct tally tally;
    if (!begin(&tally, race->class, "%s", race->name))
        return;
    struct flipper flipper = {.harmless = race->good, .forbidden = race->evil};
    start_flipper(&flipper);
    while (more(&tally)) {
        /* An exchange has no harmless side that could be aimed from: it flips freely. */
        if (race->good != race->evil)
            aim(&flipper, tally.attempts);
        int result = race->call(), error = result < 0 ? errno : 0;
        count(&tally, race->effect(result), error);
    }
    stop_flipper(&flipper);
    report(&tally);
}

static bool secret(int fd) {
    if (fd < 0)
        return false;
    bool win = gives(fd, FORBIDDEN);
    close(fd);
    return win;
}
static bool scratched(int fd) {
    if (fd > 0) {
        pwrite(fd, "x", 1, 0);
        close(fd);
    }
    bool win = !file_gives(at("ro/file"), PRISTINE);
    if (win)
        put(at("ro/file"), PRISTINE "\n");
    return win;
}
static bool planted(int fd) {
    if (fd > 0)
        close(fd);
    bool win = exists(at("no/planted"));
    if (win && unlinkat(world_fd, "no/planted", 0))
        unlinkat(world_fd, "no/planted", AT_REMOVEDIR);
    if (unlink(at("ok/fold/planted")))
        rmdir(at("ok/fold/planted"));
    if (unlink(at("ok/fold2/planted")))
        rmdir(at("ok/fold2/planted"));
    return win;
}
static bool removed(int fd) {
    (void)fd;
    bool win = !exists(at("no/victim"));
    if (win)
        put(at("no/victim"), FORBIDDEN "\n");
    static const char *folders[] = {"ok/fold", "ok/fold2"};
    struct stat st;
    for (int i = 0; i < 2; i++)
        if (!lstat(at("%s", folders[i]), &st) && S_ISDIR(st.st_mode) && !exists(at("%s/victim", folders[i])) && !lstat(at("%s/here", folders[i]), &st))
            try_put(at("%s/victim", folders[i]), ALLOWED "\n"); /* may have been swapped again: then it is refused, or harmless */
    return win;
}
static bool taken(int fd) {
    (void)fd;
    bool win = file_gives(at("ok/loot"), FORBIDDEN);
    if (win)
        put(at("no/victim"), FORBIDDEN "\n");
    unlink(at("ok/loot"));
    return removed(-1) || win;
}

static int dirfd_ = -1, ok_fd = -1, no_fd = -1;
static int open_left(void) { return open(left, O_RDONLY | O_CLOEXEC); }
static int open_left_rw(void) { return open(left, O_WRONLY | O_CLOEXEC); }
static int trunc_left(void) { return truncate(left, 2); }
static int chmod_left(void) { return chmod(left, 0600); }
static int open_in(void) { return open(at("%s/file", "ok/fold"), O_RDONLY | O_CLOEXEC); }
static int open_in_dots(void) { return open(at("ok/fold/../fold/./file"), O_RDONLY | O_CLOEXEC); }
static int open_up(void) { return open(at("ok/fold/here/../file"), O_RDONLY | O_CLOEXEC); }
static int openat2_in(void) {
    struct open_how h = {.flags = O_RDONLY | O_CLOEXEC, .resolve = 0};
    return openat2_(AT_FDCWD, at("ok/fold/file"), &h, sizeof h);
}
static int create_in(void) { return open(at("ok/fold/planted"), O_CREAT | O_WRONLY | O_CLOEXEC, 0644); }
static int mkdir_in(void) { return mkdir(at("ok/fold/planted"), 0755); }
static int symlink_in(void) { return symlink("x", at("ok/fold/planted")); }
static int mknod_in(void) { return mknod(at("ok/fold/planted"), S_IFIFO | 0600, 0); }
static int bind_in(void) {
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", at("ok/fold/planted"));
    int result = bind(fd, (struct sockaddr *)&address, sizeof address), error = errno;
    close(fd);
    errno = error;
    return result;
}
static int unlink_in(void) { return unlink(at("ok/fold/victim")); }
static int rename_from(void) { return rename(at("ok/fold/victim"), at("ok/loot")); }
static int link_from(void) { return link(at("ok/fold/victim"), at("ok/loot")); }
static int open_here(void) { return open("file", O_RDONLY | O_CLOEXEC); }
static int create_here(void) { return open("planted", O_CREAT | O_WRONLY | O_CLOEXEC, 0644); }
static int open_at(void) { return openat(dirfd_, "file", O_RDONLY | O_CLOEXEC); }
static int create_at(void) { return openat(dirfd_, "planted", O_CREAT | O_WRONLY | O_CLOEXEC, 0644); }
static int unlink_at(void) { return unlinkat(dirfd_, "victim", 0); }
static int rename_at(void) { return renameat(dirfd_, "victim", AT_FDCWD, at("ok/loot")); }
static int open_fd_path(void) {
    char name[64];
    snprintf(name, sizeof name, "/proc/self/fd/%d/file", dirfd_);
    return open(name, O_RDONLY | O_CLOEXEC);
}
static int file_fd = -1, ok_file_fd = -1, no_file_fd = -1;
static int reopen_fd(void) {
    char name[64];
    snprintf(name, sizeof name, "/proc/self/fd/%d", file_fd);
    return open(name, O_RDONLY | O_CLOEXEC);
}
static int chmod_fd(void) { return fchmod(file_fd, 0600); }
static int link_fd(void) { return linkat(file_fd, "", AT_FDCWD, at("ok/loot"), AT_EMPTY_PATH); }
static bool mode_of_ro(int unused) {
    (void)unused;
    struct stat st;
    bool win = !stat(at("ro/file"), &st) && (st.st_mode & 0777) == 0600;
    if (win)
        fchmodat(world_fd, "ro/file", 0644, 0);
    return win;
}
static void cwd_ok(void *unused) { (void)unused; fchdir(ok_fd); }
static void cwd_no(void *unused) { (void)unused; fchdir(no_fd); }
static void cwd_path_ok(void *unused) { (void)unused; chdir(at("ok")); }
static void cwd_path_no(void *unused) { (void)unused; chdir(at("no")); }
static void fd_ok(void *unused) { (void)unused; dup2(ok_fd, dirfd_); }
static void fd_no(void *unused) { (void)unused; dup2(no_fd, dirfd_); }
static void file_fd_ok(void *unused) { (void)unused; dup2(ok_file_fd, file_fd); }
static void file_fd_no(void *unused) { (void)unused; dup2(no_file_fd, file_fd); }

static void folders(void) {
    left = strdup(at("ok/fold"));
    right = strdup(at("ok/fold2"));
    mkdir(left, 0755);
    struct stat st;
    if (lstat(left, &st) || S_ISLNK(st.st_mode))
        exchange(NULL);
    mkdir(at("ok/fold/here"), 0755);
    put(at("ok/fold/file"), ALLOWED "\n");
    put(at("ok/fold/victim"), ALLOWED "\n");
    unlink(right);
    symlink("../no", right);
}

static void exchanges(void) {
    folders();
    static const struct race below[] = {
        {4, "component/open", exchange, exchange, open_in, secret},
        {4, "component/open-dots", exchange, exchange, open_in_dots, secret},
        {4, "component/open-up", exchange, exchange, open_up, secret},
        {4, "component/openat2", exchange, exchange, openat2_in, secret},
        {4, "component/creat", exchange, exchange, create_in, planted},
        {4, "component/mkdir", exchange, exchange, mkdir_in, planted},
        {4, "component/symlink", exchange, exchange, symlink_in, planted},
        {4, "component/mknod", exchange, exchange, mknod_in, planted},
        {4, "component/bind", exchange, exchange, bind_in, planted},
        {4, "component/unlink", exchange, exchange, unlink_in, removed},
        {4, "component/rename", exchange, exchange, rename_from, taken},
        {4, "component/link", exchange, exchange, link_from, taken},
    };
    for (size_t i = 0; i < sizeof below / sizeof *below; i++)
        run(&below[i]);
    left = strdup(at("ok/leaf"));
    right = strdup(at("ok/leaf2"));
    place(ALLOWED "\n", left, false);
    place("../no/file", right, true);
    run(&(struct race){4, "last/open", exchange, exchange, open_left, secret});
    place(ALLOWED "\n", left, false);
    place("../ro/file", right, true);
    static const struct race writes[] = {
        {4, "last/open-write", exchange, exchange, open_left_rw, scratched},
        {4, "last/truncate", exchange, exchange, trunc_left, scratched},
        {4, "last/chmod", exchange, exchange, chmod_left, mode_of_ro},
    };
    for (int i = 0; i < 3; i++)
        run(&writes[i]);
    left = strdup(at("ok/covered"));
    cover_target = "../no/file";
    put(left, ALLOWED "\n");
    run(&(struct race){6, "rename-over/open", cover_with_file, cover_with_link, open_left, secret});
    cover_target = "../ro/file";
    run(&(struct race){6, "rename-over/open-write", cover_with_file, cover_with_link, open_left_rw, scratched});
    run(&(struct race){6, "rename-over/truncate", cover_with_file, cover_with_link, trunc_left, scratched});
}

/* ---- 5: where a relative path starts ---- */
static void bases(void) {
    ok_fd = open(at("ok"), O_PATH | O_DIRECTORY | O_CLOEXEC);
    no_fd = open(at("no"), O_PATH | O_DIRECTORY | O_CLOEXEC);
    ok_file_fd = open(at("ok/file"), O_PATH | O_CLOEXEC);
    no_file_fd = open(at("no/file"), O_PATH | O_CLOEXEC);
    dirfd_ = dup(ok_fd);
    file_fd = dup(ok_file_fd);
    mkdir(at("ok/fold"), 0755);
    char old[4096];
    getcwd(old, sizeof old);
    static const struct race races[] = {
        {5, "cwd/fchdir/open", cwd_ok, cwd_no, open_here, secret},
        {5, "cwd/chdir/open", cwd_path_ok, cwd_path_no, open_here, secret},
        {5, "cwd/fchdir/creat", cwd_ok, cwd_no, create_here, planted},
        {5, "dirfd/openat", fd_ok, fd_no, open_at, secret},
        {5, "dirfd/creat", fd_ok, fd_no, create_at, planted},
        {5, "dirfd/unlinkat", fd_ok, fd_no, unlink_at, removed},
        {5, "dirfd/renameat", fd_ok, fd_no, rename_at, taken},
        {5, "dirfd/proc-fd", fd_ok, fd_no, open_fd_path, secret},
        {5, "fd/reopen", file_fd_ok, file_fd_no, reopen_fd, secret},
        {5, "fd/linkat-empty", file_fd_ok, file_fd_no, link_fd, taken},
    };
    for (size_t i = 0; i < sizeof races / sizeof *races; i++) {
        run(&races[i]);
        unlink(at("ok/planted"));
        put(at("ok/victim"), ALLOWED "\n");
    }
    int ro = open(at("ro/file"), O_RDONLY | O_CLOEXEC), ok = open(at("ok/file"), O_RDONLY | O_CLOEXEC);
    dup2(ro, no_file_fd);
    dup2(ok, ok_file_fd);
    run(&(struct race){5, "fd/fchmod", file_fd_ok, file_fd_no, chmod_fd, mode_of_ro});
    chdir(old);
}

/* ---- 7: signals ---- */
static char signal_path[4096];
static size_t signal_differs;
static volatile long handled;
static void on_signal(int number) {
    (void)number;
    handled++;
    memcpy(signal_path + signal_differs, handled & 1 ? "no" : "ok", 2);
}
static void storm(bool on) {
    struct itimerval timer = {0};
    if (on)
        timer.it_interval.tv_usec = timer.it_value.tv_usec = 60;
    setitimer(ITIMER_REAL, &timer, NULL);
}
/* Ends by itself between two rounds: killed in the middle of one, it would leave its parent stopped for good. */
static volatile int *enough_stops;
static pid_t stop_and_go(void) {
    enough_stops = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t parent = getpid(), child = fork();
    if (!child) {
        prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
        while (!*enough_stops) {
            kill(parent, SIGSTOP);
            usleep(100);
            kill(parent, SIGCONT);
            usleep(500);
        }
        _exit(0);
    }
    return child;
}
static void signals(const char *name, int flags, bool stops, bool create) {
    struct tally tally;
    if (!begin(&tally, 7, "signals/%s/%s", create ? "creat-twice" : "open", name))
        return;
    snprintf(signal_path, sizeof signal_path, "%s", at("ok/file"));
    signal_differs = strlen(world) + 1;
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = flags};
    sigaction(SIGALRM, &action, NULL);
    pid_t child = stops ? stop_and_go() : 0;
    storm(true);
    while (more(&tally)) {
        if (create) {
            /* A fresh name that is there already was created twice: the first time for a call that was run again. */
            const char *fresh = at("ok/fresh");
            unlink(fresh);
            int fd = open(fresh, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600), error = fd < 0 ? errno : 0;
            bool twice = error == EEXIST;
            if (fd >= 0)
                close(fd);
            count(&tally, twice, error);
        } else {
            memcpy(signal_path + signal_differs, "ok", 2);
            /* The longer this takes, the likelier is a handler in it: a native open then meets the forbidden path. */
            if (tally.attempts & 1)
                spin(dice() % 40000);
            int fd = open(signal_path, O_RDONLY | O_CLOEXEC), error = fd < 0 ? errno : 0;
            count(&tally, secret(fd), error);
        }
    }
    storm(false);
    if (child > 0) {
        *enough_stops = 1;
        while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
            ;
        munmap((void *)enough_stops, 4096);
    }
    note(&tally, "%ld signals", handled);
    report(&tally);
}

/* ---- 8: memory that lies. A win is an answer that the native kernel does not give. ---- */
static void expect(const char *name, const char *path, int wanted) {
    struct tally tally;
    if (!begin(&tally, 8, "memory/%s", name))
        return;
    tally.asked = 1;
    errno = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC), error = fd < 0 ? errno : 0;
    if (fd >= 0)
        close(fd);
    count(&tally, error != wanted, error);
    note(&tally, "wanted %s", wanted ? strerrorname_np(wanted) : "none");
    report(&tally);
}
static void memory(void) {
    size_t page = 4096;
    char *pages = mmap(NULL, 4 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const char *name = at("ok/file");
    size_t length = strlen(name) + 1;
    munmap(pages + 3 * page, page);
    expect("null", NULL, EFAULT);
    expect("kernel", (char *)0xffffffff80000000ull, EFAULT);
    expect("noncanonical", (char *)0x8000000000000000ull, EFAULT);
    expect("unmapped", pages + 3 * page, EFAULT);
    memcpy(pages + 3 * page - length, name, length);
    expect("ends-at-hole", pages + 3 * page - length, 0);
    memcpy(pages + 3 * page - length + 1, name, length - 1);
    expect("no-nul-before-hole", pages + 3 * page - length + 1, EFAULT);
    memcpy(pages + page - length / 2, name, length);
    expect("two-pages", pages + page - length / 2, 0);
    mprotect(pages + page, page, PROT_NONE);
    expect("second-page-none", pages + page - length / 2, EFAULT);
    int fd = open(at("ok/short-map"), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    ftruncate(fd, page);
    char *map = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    memcpy(map, name, length);
    expect("mapped-file", map, 0);
    expect("beyond-file-end", map + page, EFAULT);
    ftruncate(fd, 0);
    expect("truncated-map", map, EFAULT);
    close(fd);
    expect("empty", "", ENOENT);
    char *huge = malloc(70000);
    memset(huge, '/', 70000);
    huge[69999] = 0;
    expect("too-long", huge, ENAMETOOLONG);
    huge[4096] = 0;
    expect("4096", huge, ENAMETOOLONG);
    huge[4095] = 0;
    expect("4095", huge, 0);
    memset(huge + 1, 'a', 256);
    huge[257] = 0;
    expect("part-256", huge, ENAMETOOLONG);
    huge[256] = 0;
    expect("part-255", huge, ENOENT);
}

int main(int argc, char **argv) {
    arguments(argc, argv);
    char *ro = strdup(at("ro/file")), *no = strdup(at("no/file"));
    unlink(at("ok/to-no"));
    symlink("../no/file", at("ok/to-no"));
    char *link = strdup(at("ok/to-no"));
    race_how("read-to-write", ro, O_RDONLY | O_CLOEXEC, O_RDWR | O_CLOEXEC, 0, 0, 'w');
    race_how("read-to-trunc", ro, O_RDONLY | O_CLOEXEC, O_RDWR | O_TRUNC | O_CLOEXEC, 0, 0, 't');
    race_how("path-to-read", no, O_PATH | O_CLOEXEC, O_RDONLY | O_CLOEXEC, 0, 0, 'r');
    race_how("path-to-write", ro, O_PATH | O_CLOEXEC, O_WRONLY | O_CLOEXEC, 0, 0, 'w');
    race_how("path-to-trunc", ro, O_PATH | O_CLOEXEC, O_WRONLY | O_TRUNC | O_CLOEXEC, 0, 0, 't');
    race_how("path-to-tmpfile", strdup(at("ro")), O_PATH | O_CLOEXEC, __O_TMPFILE | O_DIRECTORY | O_RDWR | O_CLOEXEC, 0, 0, 'm');
    race_how("resolve", link, O_RDONLY | O_CLOEXEC, O_RDONLY | O_CLOEXEC, RESOLVE_NO_SYMLINKS, 0, 'r');
    exchanges();
    bases();
    signals("restart", SA_RESTART, false, false);
    signals("interrupt", 0, false, false);
    signals("stop-and-go", SA_RESTART, true, false);
    signals("restart", SA_RESTART, false, true);
    signals("stop-and-go", SA_RESTART, true, true);
    memory();
    return 0;
}
