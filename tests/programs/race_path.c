/*
 * Classes 1 and 2: the path is rewritten while the call runs. Technique: CALL/WRITER[/FORM].
 * Writers: a thread, a process that shares the memory (CLONE_VM), a process with a shared mapping, process_vm_writev, /proc/PID/mem.
 * Forms: short, long (close to 4096 bytes), page (the differing bytes lie on both sides of a page's end).
 */
#include "attack.h"
#include <linux/openat2.h>
#include <sys/uio.h>

static char *path; /* in memory that the writer reaches */
static char *mate; /* a second path that nobody rewrites */
static size_t differs; /* where "ok" stands in it */
static char good[2], evil[2];

static int call_open(void) { return open(path, O_RDONLY | O_CLOEXEC); }
static int call_openat(void) { return syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC); }
static int call_openat2(void) {
    struct open_how how = {.flags = O_RDONLY | O_CLOEXEC};
    return syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
}
static bool read_secret(int result) {
    bool win = gives(result, FORBIDDEN);
    close(result);
    return win;
}

static int call_write(void) { return open(path, O_WRONLY | O_CLOEXEC); }
static bool wrote(int result) {
    pwrite(result, "x", 1, 0);
    close(result);
    bool win = !file_gives(at("ro/file"), PRISTINE);
    if (win)
        put(at("ro/file"), PRISTINE "\n");
    return win;
}
static int call_trunc(void) { return open(path, O_WRONLY | O_TRUNC | O_CLOEXEC); }
static int call_truncate(void) { return truncate(path, 3); }
static bool shorter(int result) {
    if (result > 0)
        close(result);
    bool win = !file_gives(at("ro/file"), PRISTINE);
    if (win)
        put(at("ro/file"), PRISTINE "\n");
    return win;
}

static void victim_back(void) {
    if (!exists(at("ok/victim")))
        put(at("ok/victim"), ALLOWED "\n");
}
static int call_unlink(void) { return unlink(path); }
static bool unlinked(int result) {
    (void)result;
    bool win = !exists(at("no/victim"));
    if (win)
        put(at("no/victim"), FORBIDDEN "\n");
    victim_back();
    return win;
}
static int call_rename_old(void) { return rename(path, mate); }
static int call_link_old(void) { return link(path, mate); }
static bool moved_secret(int result) {
    (void)result;
    bool win = file_gives(mate, FORBIDDEN);
    if (win)
        renameat(AT_FDCWD, mate, world_fd, "no/victim");
    unlink(mate);
    victim_back();
    return win;
}
static int call_rename_new(void) { return rename(mate, path); }
static int call_link_new(void) { return link(mate, path); }
static int call_mkdir(void) { return mkdir(path, 0755); }
static int call_symlink(void) { return symlink("file", path); }
static int call_mknod(void) { return mknod(path, S_IFIFO | 0644, 0); }
static int call_creat(void) { return open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644); }
static bool appeared(int result) {
    if (result > 0)
        close(result);
    bool win = exists(at("no/newone"));
    if (win && unlinkat(world_fd, "no/newone", 0))
        unlinkat(world_fd, "no/newone", AT_REMOVEDIR);
    if (unlink(at("ok/newone")))
        rmdir(at("ok/newone"));
    if (*mate && !exists(mate))
        put(mate, ALLOWED "\n");
    return win;
}
static int call_rmdir(void) { return rmdir(path); }
static bool folder_gone(int result) {
    (void)result;
    mkdir(at("ok/emptyd"), 0755);
    bool win = !exists(at("ro/emptyd"));
    if (win)
        mkdirat(world_fd, "ro/emptyd", 0755);
    return win;
}
static int call_chmod(void) { return chmod(path, 0600); }
static int call_fchmodat(void) { return fchmodat(AT_FDCWD, path, 0600, 0); }
static bool mode_changed(int result) {
    (void)result;
    struct stat st;
    bool win = !stat(at("ro/file"), &st) && (st.st_mode & 07777) == 0600;
    if (win)
        fchmodat(world_fd, "ro/file", 0644, 0);
    return win;
}
static int call_utimensat(void) {
    struct timespec times[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
    return utimensat(AT_FDCWD, path, times, 0);
}
static bool time_changed(int result) {
    (void)result;
    struct stat st;
    bool win = !stat(at("ro/file"), &st) && st.st_mtim.tv_sec == 1;
    if (win)
        utimensat(world_fd, "ro/file", NULL, 0);
    return win;
}
static int call_setxattr(void) { return setxattr(path, "user.attack", "x", 1, 0); }
static bool attribute_set(int result) {
    (void)result;
    char value[4];
    bool win = getxattr(at("ro/file"), "user.attack", value, sizeof value) >= 0;
    if (win)
        removexattr(at("ro/file"), "user.attack");
    return win;
}

static const struct attack {
    const char *name;
    int (*call)(void);
    bool (*effect)(int result);
    const char *evil_area, *leaf, *mate;
} attacks[] = {
    {"open", call_open, read_secret, "no", "file", NULL},
    {"openat", call_openat, read_secret, "no", "file", NULL},
    {"openat2", call_openat2, read_secret, "no", "file", NULL},
    {"open-write", call_write, wrote, "ro", "file", NULL},
    {"open-trunc", call_trunc, shorter, "ro", "file", NULL},
    {"open-creat", call_creat, appeared, "no", "newone", NULL},
    {"truncate", call_truncate, shorter, "ro", "file", NULL},
    {"unlink", call_unlink, unlinked, "no", "victim", NULL},
    {"rmdir", call_rmdir, folder_gone, "ro", "emptyd", NULL},
    {"rename-old", call_rename_old, moved_secret, "no", "victim", "ok/moved"},
    {"rename-new", call_rename_new, appeared, "no", "newone", "ok/mate"},
    {"link-old", call_link_old, moved_secret, "no", "victim", "ok/moved"},
    {"link-new", call_link_new, appeared, "no", "newone", "ok/mate"},
    {"mkdir", call_mkdir, appeared, "no", "newone", NULL},
    {"symlink", call_symlink, appeared, "no", "newone", NULL},
    {"mknod", call_mknod, appeared, "no", "newone", NULL},
    {"chmod", call_chmod, mode_changed, "ro", "file", NULL},
    {"fchmodat", call_fchmodat, mode_changed, "ro", "file", NULL},
    {"utimensat", call_utimensat, time_changed, "ro", "file", NULL},
    {"setxattr", call_setxattr, attribute_set, "ro", "file", NULL},
};

static void write_good(void *unused) {
    (void)unused;
    ((volatile char *)path)[differs] = good[0];
    ((volatile char *)path)[differs + 1] = good[1];
}
static void write_evil(void *unused) {
    (void)unused;
    ((volatile char *)path)[differs] = evil[0];
    ((volatile char *)path)[differs + 1] = evil[1];
}

static pid_t victim;
static int memory_fd = -1;
static void vm_write(const char *text) {
    struct iovec local = {(void *)text, 2}, remote = {path + differs, 2};
    process_vm_writev(victim, &local, 1, &remote, 1, 0);
}
static void vm_good(void *unused) { (void)unused; vm_write(good); }
static void vm_evil(void *unused) { (void)unused; vm_write(evil); }
static void mem_good(void *unused) { (void)unused; pwrite(memory_fd, good, 2, (off_t)(uintptr_t)(path + differs)); }
static void mem_evil(void *unused) { (void)unused; pwrite(memory_fd, evil, 2, (off_t)(uintptr_t)(path + differs)); }

static int flipping_child(void *flipper) {
    take_side(1);
    flip_until_stopped(flipper);
    return 0;
}

/* Lays the path out in memory: `page` puts the first differing byte at the end of a page and the second at the next page's start. */
static void lay_out(const struct attack *attack, const char *form) {
    char *memory = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        die("mmap");
    char text[4096];
    int used = snprintf(text, sizeof text, "%s/ok", world);
    differs = used - 2;
    if (!strcmp(form, "long"))
        while (used + 210 < 4080)
            used += snprintf(text + used, sizeof text - used, "/%0200d", 7);
    snprintf(text + used, sizeof text - used, "/%s", attack->leaf);
    path = !strcmp(form, "page") ? memory + 2 * 4096 - differs - 1 : memory;
    strcpy(path, text);
    memcpy(good, "ok", 2);
    memcpy(evil, attack->evil_area, 2);
    mate = attack->mate ? strdup(at("%s", attack->mate)) : "";
}

static void race(const struct attack *attack, const char *writer, const char *form) {
    struct tally tally;
    bool writes = strcmp(writer, "vm-writev") == 0 || strcmp(writer, "proc-mem") == 0;
    if (!begin(&tally, strcmp(writer, "thread") ? 2 : 1, "%s/%s/%s", attack->name, writer, form))
        return;
    lay_out(attack, form);
    if (attack->mate && strcmp(attack->mate, "ok/mate") == 0)
        put(mate, ALLOWED "\n");
    mkdir(at("ok/emptyd"), 0755);
    struct flipper *flipper = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    flipper->harmless = write_good;
    flipper->forbidden = write_evil;
    pid_t child = 0;
    char *stack = NULL;
    victim = getpid();
    take_side(0);
    if (!strcmp(writer, "thread")) {
        start_flipper(flipper);
    } else if (!strcmp(writer, "clone-vm")) {
        stack = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        child = clone(flipping_child, stack + 65536, CLONE_VM | SIGCHLD, flipper);
    } else {
        child = fork();
        if (!child) {
            if (!strcmp(writer, "vm-writev")) {
                flipper->harmless = vm_good;
                flipper->forbidden = vm_evil;
            } else if (!strcmp(writer, "proc-mem")) {
                char name[64];
                snprintf(name, sizeof name, "/proc/%d/mem", victim);
                memory_fd = open(name, O_RDWR);
                flipper->harmless = mem_good;
                flipper->forbidden = mem_evil;
            }
            flipping_child(flipper);
            _exit(0);
        }
    }
    if (child < 0)
        die("child");
    await_flips(flipper);
    while (more(&tally)) {
        /* Memory that only the child writes cannot be reset by us without helping it. */
        if (!writes)
            aim(flipper, tally.attempts);
        int result = attack->call();
        int error = result < 0 ? errno : 0;
        /* Effects are looked at after failures too: an effect is what counts, whatever was answered. */
        bool win = result >= 0 || attack->effect != read_secret ? attack->effect(result) : false;
        count(&tally, win, error);
    }
    flipper->stop = 1;
    if (child)
        waitpid(child, NULL, 0);
    else
        pthread_join(flipper->thread, NULL);
    take_side(-1);
    report(&tally);
}

int main(int argc, char **argv) {
    arguments(argc, argv);
    static const char *writers[] = {"thread", "clone-vm", "shared", "vm-writev", "proc-mem"};
    for (size_t i = 0; i < sizeof attacks / sizeof *attacks; i++) {
        race(&attacks[i], "thread", "short");
        if (i >= 3)
            continue;
        race(&attacks[i], "thread", "long");
        race(&attacks[i], "thread", "page");
        for (int w = 1; w < 5; w++)
            race(&attacks[i], writers[w], "short");
    }
    return 0;
}
