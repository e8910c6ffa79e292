/*
 * Classes 9 to 19: other names for what is protected, and effects without an open. Each technique is one attempt.
 * Those that natively cannot win are not here.
 */
#include "attack.h"
#include <linux/fs.h>
#include <linux/openat2.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/sendfile.h>

/* Whether what `path` opens to is secret; errno says why not. */
static bool reads(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool win = gives(fd, FORBIDDEN);
    close(fd);
    if (!win)
        errno = 0;
    return win;
}
static bool reads_at(int dirfd, const char *path) {
    int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool win = gives(fd, FORBIDDEN);
    close(fd);
    return win;
}
static bool reads_fd(int fd) {
    if (fd < 0)
        return false;
    bool win = gives(fd, FORBIDDEN);
    int error = errno;
    close(fd);
    errno = error;
    return win;
}
static char *text(const char *format, ...) {
    static char buffer[4096];
    va_list list;
    va_start(list, format);
    vsnprintf(buffer, sizeof buffer, format, list);
    va_end(list);
    return buffer;
}
static const char *linked(const char *target, const char *name) {
    unlink(at("%s", name));
    symlink(target, at("%s", name));
    return at("%s", name);
}

/* ---- reading no/file ---- */
static bool plain(void) { return reads(at("no/file")); }
static bool symlink_(void) { return reads(linked("../no/file", "ok/l")); }
static bool symlink_absolute(void) { return reads(linked(at("no/file"), "ok/l")); }
static bool symlink_folder(void) { return reads(text("%s/file", linked("../no", "ok/l"))); }
static bool symlink_folder_dots(void) { return reads(text("%s/./sub/../file", linked("../no/", "ok/l"))); }
static bool symlink_chain(void) {
    linked("../no/file", "ok/c0");
    for (int i = 1; i < 39; i++) {
        char target[16], name[16];
        snprintf(target, sizeof target, "c%d", i - 1);
        snprintf(name, sizeof name, "ok/c%d", i);
        linked(target, name);
    }
    return reads(at("ok/c38"));
}
static bool symlink_proc(void) { return reads(text("%s%s", linked("/proc/self/root", "ok/l"), at("no/file"))); }
static bool dots(void) { return reads(at("ok/../no/file")); }
static bool dots_beyond_root(void) { return reads(text("/../../..%s", at("no/file"))); }
static bool slashes(void) { return reads(text("//%s///no////file", world + 1)); }
static bool dot_parts(void) { return reads(at("./no/././file")); }
static bool relative(void) {
    chdir(at("no"));
    bool win = reads("file");
    chdir("/");
    return win;
}
static bool relative_dots(void) {
    chdir(at("no/sub"));
    bool win = reads("../file");
    chdir("/");
    return win;
}
static bool odd_name(const char *name) { return reads(at("no/%s", name)); }
static bool odd_deleted(void) { return odd_name("gone (deleted)"); }
static bool odd_deleted_symlink(void) { return reads(linked("../no/gone (deleted)", "ok/l")); }
static bool odd_newline(void) { return odd_name("new\nline"); }
static bool odd_spaces(void) { return odd_name(" spaces "); }
static bool odd_bytes(void) { return odd_name("\xff\xfe"); }
static bool odd_memfd(void) { return odd_name("memfd:x"); }
static bool long_name(void) {
    char path[4096];
    int used = snprintf(path, sizeof path, "%s/no", world);
    while (used + 210 < 4080)
        used += snprintf(path + used, sizeof path - used, "/%0200d", 7);
    strcat(path, "/file");
    return reads(path);
}
static bool beyond_path_max(void) {
    /* A folder that is deeper than any path the kernel takes or readlink gives, then a way back up. */
    int top = open(at("ok"), O_PATH | O_DIRECTORY), fd = dup(top);
    char part[241];
    memset(part, 'p', 240);
    part[240] = 0;
    for (int i = 0; i < 20; i++) {
        mkdirat(fd, part, 0755);
        int next = openat(fd, part, O_PATH | O_DIRECTORY);
        if (next < 0)
            return false;
        close(fd);
        fd = next;
    }
    unlinkat(fd, "far", 0);
    symlinkat(at("no/file"), fd, "far");
    bool win = reads_at(fd, "far");
    char up[128] = "";
    for (int i = 0; i < 21; i++)
        strcat(up, "../");
    strcat(up, "no/file");
    win |= reads_at(fd, up);
    close(fd);
    close(top);
    return win;
}
static bool hard_link(void) {
    unlink(at("ok/h"));
    return link(at("no/file"), at("ok/h")) == 0 && reads(at("ok/h"));
}
static bool hard_link_by_fd(void) {
    unlink(at("ok/h"));
    int fd = open(at("no/file"), O_PATH | O_CLOEXEC);
    int result = linkat(AT_FDCWD, text("/proc/self/fd/%d", fd), AT_FDCWD, at("ok/h"), AT_SYMLINK_FOLLOW);
    close(fd);
    return result == 0 && reads(at("ok/h"));
}
static bool hard_link_empty_path(void) {
    unlink(at("ok/h"));
    int fd = open(at("no/file"), O_PATH | O_CLOEXEC);
    int result = linkat(fd, "", AT_FDCWD, at("ok/h"), AT_EMPTY_PATH);
    int error = errno;
    close(fd);
    errno = error;
    return result == 0 && reads(at("ok/h"));
}
static bool old_hard_link(void) { return reads(at("ok/old-link")); }
static bool rename_out(void) {
    if (rename(at("no/file"), at("ok/out")))
        return false;
    bool win = reads(at("ok/out"));
    rename(at("ok/out"), at("no/file"));
    return win;
}
static bool exchange_out(void) {
    put(at("ok/out"), ALLOWED "\n");
    if (renameat2(AT_FDCWD, at("no/file"), AT_FDCWD, at("ok/out"), RENAME_EXCHANGE))
        return false;
    bool win = reads(at("ok/out"));
    renameat2(AT_FDCWD, at("no/file"), AT_FDCWD, at("ok/out"), RENAME_EXCHANGE);
    return win;
}
static bool exchange_other_way(void) {
    put(at("ok/out"), ALLOWED "\n");
    if (renameat2(AT_FDCWD, at("ok/out"), AT_FDCWD, at("no/file"), RENAME_EXCHANGE))
        return false;
    bool win = reads(at("ok/out"));
    renameat2(AT_FDCWD, at("no/file"), AT_FDCWD, at("ok/out"), RENAME_EXCHANGE);
    return win;
}
static bool folder_out(void) {
    if (rename(at("no/sub"), at("ok/sub-out")))
        return false;
    bool win = reads(at("ok/sub-out/file"));
    rename(at("ok/sub-out"), at("no/sub"));
    return win;
}
static bool folder_renamed(void) {
    if (rename(at("no"), at("yes")))
        return false;
    bool win = reads(at("yes/file"));
    rename(at("yes"), at("no"));
    return win;
}
static bool folder_above_renamed(void) {
    if (rename(at("guard"), at("gaurd")))
        return false;
    bool win = reads(at("gaurd/iam/file"));
    rename(at("gaurd"), at("guard"));
    return win;
}
static bool folder_above_exchanged(void) {
    mkdir(at("other"), 0755);
    if (renameat2(AT_FDCWD, at("other"), AT_FDCWD, at("guard"), RENAME_EXCHANGE))
        return false;
    bool win = reads(at("other/iam/file"));
    renameat2(AT_FDCWD, at("other"), AT_FDCWD, at("guard"), RENAME_EXCHANGE);
    return win;
}
static bool folder_above_by_dirfd(void) {
    int fd = open(world, O_PATH | O_DIRECTORY);
    bool win = false;
    if (renameat(fd, "guard", fd, "gaurd") == 0) {
        win = reads(at("gaurd/iam/file"));
        renameat(fd, "gaurd", fd, "guard");
    }
    close(fd);
    return win;
}
static bool world_renamed(void) {
    char *other = strdup(text("%s-moved", world));
    if (rename(world, other))
        return false;
    bool win = reads(text("%s/no/file", other));
    rename(other, world);
    return win;
}
static bool held_folder_renamed(void) {
    /* A folder that was opened before it moved: the descriptor's path is another one now. */
    int fd = open(at("no"), O_PATH | O_DIRECTORY);
    bool win = false;
    if (rename(at("no"), at("yes")) == 0) {
        win = reads_at(fd, "file");
        rename(at("yes"), at("no"));
    }
    close(fd);
    return win;
}
static bool proc_self_root(void) { return reads(text("/proc/self/root%s", at("no/file"))); }
static bool proc_pid_root(void) { return reads(text("/proc/%d/root%s", getpid(), at("no/file"))); }
static bool proc_task_root(void) { return reads(text("/proc/%d/task/%d/root%s", getpid(), gettid(), at("no/file"))); }
static bool proc_thread_self_root(void) { return reads(text("/proc/thread-self/root%s", at("no/file"))); }
static bool proc_parent_root(void) { return reads(text("/proc/%d/root%s", getppid(), at("no/file"))); }
static bool proc_1_root(void) { return reads(text("/proc/1/root%s", at("no/file"))); }
static bool proc_cwd(const char *where) {
    chdir(at("no"));
    bool win = reads(text("/proc/%s/cwd/file", where));
    chdir("/");
    return win;
}
static bool proc_self_cwd(void) { return proc_cwd("self"); }
static bool proc_thread_self_cwd(void) { return proc_cwd("thread-self"); }
static pid_t waiting_child(const char *folder, int fd_wanted) {
    int ready[2];
    pipe(ready);
    pid_t child = fork();
    if (!child) {
        prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
        if (folder)
            chdir(folder);
        if (fd_wanted >= 0)
            dup2(open(at("no/file"), O_PATH), fd_wanted);
        write(ready[1], "", 1);
        for (;;)
            pause();
    }
    char byte;
    read(ready[0], &byte, 1);
    close(ready[0]);
    close(ready[1]);
    return child;
}
static bool child_cwd(void) {
    pid_t child = waiting_child(at("no"), -1);
    bool win = reads(text("/proc/%d/cwd/file", child));
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    return win;
}
static bool child_fd(void) {
    pid_t child = waiting_child(NULL, 77);
    bool win = reads(text("/proc/%d/fd/77", child));
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    return win;
}
static bool child_task_fd(void) {
    pid_t child = waiting_child(NULL, 77);
    bool win = reads(text("/proc/%d/task/%d/fd/77", child, child));
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    return win;
}
static bool pidfd_getfd_child(void) {
    pid_t child = waiting_child(NULL, 77);
    int pidfd = syscall(SYS_pidfd_open, child, 0), fd = syscall(SYS_pidfd_getfd, pidfd, 77, 0);
    bool win = fd >= 0 && reads(text("/proc/self/fd/%d", fd));
    close(fd);
    close(pidfd);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    return win;
}
static bool by_path_fd(const char *format) {
    int fd = open(at("no/file"), O_PATH | O_CLOEXEC);
    bool win = reads(text(format, fd));
    close(fd);
    return win;
}
static bool proc_self_fd(void) { return by_path_fd("/proc/self/fd/%d"); }
static bool proc_self_fd_dots(void) { return by_path_fd("/proc/self/task/../fd/%d"); }
static bool proc_thread_self_fd(void) { return by_path_fd("/proc/thread-self/fd/%d"); }
static bool dev_fd(void) { return by_path_fd("/dev/fd/%d"); }
static bool dev_stdin(void) {
    int saved = dup(0), fd = open(at("no/file"), O_PATH);
    dup2(fd, 0);
    bool win = reads("/dev/stdin");
    dup2(saved, 0);
    close(saved);
    close(fd);
    return win;
}
static bool proc_fd_by_dirfd(void) {
    int fd = open(at("no/file"), O_PATH | O_CLOEXEC), table = open("/proc/self/fd", O_PATH | O_DIRECTORY);
    char name[16];
    snprintf(name, sizeof name, "%d", fd);
    bool win = reads_at(table, name);
    close(table);
    close(fd);
    return win;
}
static bool proc_fd_cwd(void) {
    int fd = open(at("no/file"), O_PATH | O_CLOEXEC);
    char name[16];
    snprintf(name, sizeof name, "%d", fd);
    chdir("/proc/self/fd");
    bool win = reads(name);
    chdir("/");
    close(fd);
    return win;
}
static bool path_folder(void) {
    int fd = open(at("no"), O_PATH | O_DIRECTORY);
    bool win = reads_at(fd, "file");
    close(fd);
    return win;
}
static bool path_folder_proc(void) {
    int fd = open(at("no"), O_PATH | O_DIRECTORY);
    bool win = reads(text("/proc/self/fd/%d/file", fd));
    close(fd);
    return win;
}
static bool read_folder(void) {
    int fd = open(at("no/sub"), O_RDONLY | O_DIRECTORY);
    bool win = fd >= 0 && reads_at(fd, "../file");
    close(fd);
    return win;
}
static bool how_opens(const char *base, const char *path, uint64_t flags, uint64_t resolve) {
    int dirfd = open(base, O_PATH | O_DIRECTORY);
    struct open_how how = {.flags = flags, .resolve = resolve};
    bool win = reads_fd(syscall(SYS_openat2, dirfd, path, &how, sizeof how));
    close(dirfd);
    return win;
}
static bool openat2_in_root(void) { return how_opens(at("no"), "/file", O_RDONLY, RESOLVE_IN_ROOT); }
static bool openat2_in_root_dots(void) { return how_opens(at("no"), "../../../file", O_RDONLY, RESOLVE_IN_ROOT); }
static bool openat2_in_root_link(void) {
    linked("/no/file", "ok/rooted");
    return how_opens(world, "ok/rooted", O_RDONLY, RESOLVE_IN_ROOT);
}
static bool openat2_beneath(void) { return how_opens(at("no"), "file", O_RDONLY, RESOLVE_BENEATH); }
static bool openat2_cached(void) {
    reads(at("no/file"));
    return how_opens(world, "no/file", O_RDONLY, RESOLVE_CACHED);
}
static bool openat2_long_how(void) {
    struct { struct open_how how; char more[64]; } big = {.how = {.flags = O_RDONLY}};
    return reads_fd(syscall(SYS_openat2, AT_FDCWD, at("no/file"), &big, sizeof big));
}
static bool sent_by_child(void) {
    int pair[2];
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    pid_t child = fork();
    char space[CMSG_SPACE(sizeof(int))] = {0}, byte = 0;
    struct iovec iov = {&byte, 1};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    if (!child) {
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        int fd = open(at("no/file"), O_PATH);
        memcpy(CMSG_DATA(header), &fd, sizeof fd);
        sendmsg(pair[0], &message, 0);
        _exit(0);
    }
    int fd = -1;
    if (recvmsg(pair[1], &message, 0) > 0 && CMSG_FIRSTHDR(&message))
        memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
    waitpid(child, NULL, 0);
    bool win = fd >= 0 && reads(text("/proc/self/fd/%d", fd));
    close(fd);
    close(pair[0]);
    close(pair[1]);
    return win;
}
static bool file_handle(void) {
    struct { struct file_handle handle; unsigned char bytes[128]; } h = {.handle = {.handle_bytes = 128}};
    int mount_id;
    if (name_to_handle_at(AT_FDCWD, at("no/file"), &h.handle, &mount_id, 0))
        return false;
    int mount = open(world, O_RDONLY | O_DIRECTORY);
    bool win = reads_fd(open_by_handle_at(mount, &h.handle, O_RDONLY));
    close(mount);
    return win;
}
static bool chroot_to(void) {
    pid_t child = fork();
    if (!child)
        _exit(chroot(at("no")) == 0 && reads("/file") ? 0 : 1);
    int status;
    waitpid(child, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
static bool bind_mount(void) {
    pid_t child = fork();
    if (!child) {
        mkdir(at("ok/m"), 0755);
        if (unshare(CLONE_NEWNS) && unshare(CLONE_NEWUSER | CLONE_NEWNS))
            _exit(1);
        mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL);
        _exit(mount(at("no"), at("ok/m"), NULL, MS_BIND, NULL) == 0 && reads(at("ok/m/file")) ? 0 : 1);
    }
    int status;
    waitpid(child, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
static bool open_tree_(void) {
    int fd = syscall(SYS_open_tree, AT_FDCWD, at("no"), 1 /* OPEN_TREE_CLONE */);
    bool win = fd >= 0 && reads_at(fd, "file");
    close(fd);
    return win;
}
static bool in_granted_disguise(void) { return reads(text("/usr/../%s", at("no/file") + 1)); }
static bool granted_link(void) { return reads(text("/usr/bin/..//../%s", at("no/file") + 1)); }

/* ---- changing ro/file, or making something in no/ ---- */
static bool ro_changed(void) { return !file_gives(at("ro/file"), PRISTINE); }
static bool scribbled(int fd) {
    int error = errno;
    if (fd >= 0) {
        pwrite(fd, "x", 1, 0);
        close(fd);
    }
    bool win = ro_changed();
    errno = fd < 0 ? error : 0;
    return win;
}
static bool write_plain(void) { return scribbled(open(at("ro/file"), O_WRONLY)); }
static bool write_both(void) { return scribbled(open(at("ro/file"), O_RDWR)); }
static bool write_append(void) {
    int fd = open(at("ro/file"), O_WRONLY | O_APPEND);
    struct stat st = {0};
    if (fd >= 0)
        write(fd, "x", 1);
    close(fd);
    stat(at("ro/file"), &st);
    return st.st_size > 9;
}
static bool write_access_3(void) {
    /* Access mode 3 is "for ioctl only": it needs read and write permission and gives neither. Truncation comes with it. */
    int fd = open(at("ro/file"), 3 | O_TRUNC);
    close(fd);
    return ro_changed();
}
static bool write_trunc(void) { return scribbled(open(at("ro/file"), O_RDONLY | O_TRUNC)); }
static bool write_creat(void) { return scribbled(creat(at("ro/file"), 0644)); }
static bool write_creat_readonly(void) { return scribbled(open(at("ro/file"), O_RDONLY | O_CREAT | O_TRUNC, 0644)); }
static bool write_symlink(void) { return scribbled(open(linked("../ro/file", "ok/l"), O_WRONLY)); }
static int ro_fd(void) { return open(at("ro/file"), O_RDONLY | O_CLOEXEC); }
static bool write_reopen(void) {
    int fd = ro_fd();
    bool win = scribbled(open(text("/proc/self/fd/%d", fd), O_RDWR));
    close(fd);
    return win;
}
static bool write_reopen_dev(void) {
    int fd = ro_fd();
    bool win = scribbled(open(text("/dev/fd/%d", fd), O_WRONLY));
    close(fd);
    return win;
}
static bool write_reopen_path(void) {
    int fd = open(at("ro/file"), O_PATH);
    bool win = scribbled(open(text("/proc/self/fd/%d", fd), O_WRONLY));
    close(fd);
    return win;
}
static bool write_hard_link(void) {
    unlink(at("ok/h"));
    if (link(at("ro/file"), at("ok/h")))
        return false;
    bool win = scribbled(open(at("ok/h"), O_WRONLY));
    unlink(at("ok/h"));
    return win;
}
static bool write_mapped(void) {
    int fd = open(at("ro/file"), O_RDWR);
    char *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return false;
    map[0] = 'x';
    munmap(map, 4096);
    close(fd);
    return ro_changed();
}
static bool truncate_path(void) { return truncate(at("ro/file"), 1), ro_changed(); }
static bool truncate_link(void) { return truncate(linked("../ro/file", "ok/l"), 1), ro_changed(); }
static bool truncate_proc_fd(void) {
    int fd = ro_fd();
    truncate(text("/proc/self/fd/%d", fd), 1);
    close(fd);
    return ro_changed();
}
static bool rename_over(void) { return put(at("ok/n"), "x\n"), rename(at("ok/n"), at("ro/file")), ro_changed(); }
static bool exchange_in(void) {
    put(at("ok/n"), "x\n");
    renameat2(AT_FDCWD, at("ok/n"), AT_FDCWD, at("ro/file"), RENAME_EXCHANGE);
    return ro_changed();
}
static bool unlink_(void) { return unlink(at("ro/file")), !exists(at("ro/file")); }
static bool unlink_dots(void) { return unlink(at("ok/../ro/file")), !exists(at("ro/file")); }
static bool unlink_dirfd(void) {
    int fd = open(at("ro"), O_PATH | O_DIRECTORY);
    unlinkat(fd, "file", 0);
    close(fd);
    return !exists(at("ro/file"));
}
static bool unlink_proc_cwd(void) {
    chdir(at("ro"));
    unlink("/proc/self/cwd/file");
    chdir("/");
    return !exists(at("ro/file"));
}
static bool rmdir_(void) { return rmdir(at("ro/emptyd")), !exists(at("ro/emptyd")); }
static bool rename_ro_out(void) { return rename(at("ro/file"), at("ok/out")), !exists(at("ro/file")); }
static bool rename_folder_ro(void) { return rename(at("ro/sub"), at("ok/ro-sub")), !exists(at("ro/sub")); }
static struct stat before;
static bool metadata_changed(void) {
    struct stat st;
    char value[8];
    if (stat(at("ro/file"), &st))
        return true;
    return st.st_mode != before.st_mode || st.st_mtim.tv_sec != before.st_mtim.tv_sec || st.st_uid != before.st_uid || st.st_gid != before.st_gid ||
           getxattr(at("ro/file"), "user.attack", value, sizeof value) >= 0;
}
static const struct timespec long_ago[2] = {{.tv_sec = 5}, {.tv_sec = 5}};
static bool chmod_(void) { return chmod(at("ro/file"), 0600), metadata_changed(); }
static bool chmod_link(void) { return chmod(linked("../ro/file", "ok/l"), 0600), metadata_changed(); }
static bool fchmod_(void) {
    int fd = ro_fd();
    fchmod(fd, 0600);
    close(fd);
    return metadata_changed();
}
static bool fchmod_proc(void) {
    int fd = open(at("ro/file"), O_PATH);
    chmod(text("/proc/self/fd/%d", fd), 0600);
    close(fd);
    return metadata_changed();
}
static bool fchmodat2_(int flags, bool empty) {
    int fd = open(at("ro/file"), O_PATH);
    long result = empty ? syscall(452, fd, "", 0600, AT_EMPTY_PATH | flags) : syscall(452, AT_FDCWD, at("ro/file"), 0600, flags);
    int error = errno;
    close(fd);
    errno = result ? error : 0;
    return metadata_changed();
}
static bool fchmodat2_empty(void) { return fchmodat2_(0, true); }
static bool fchmodat2_path(void) { return fchmodat2_(AT_SYMLINK_NOFOLLOW, false); }
static bool utimensat_(void) { return utimensat(AT_FDCWD, at("ro/file"), long_ago, 0), metadata_changed(); }
static bool futimens_(void) {
    int fd = ro_fd();
    futimens(fd, long_ago);
    close(fd);
    return metadata_changed();
}
static bool utimensat_empty(void) {
    int fd = open(at("ro/file"), O_PATH);
    syscall(SYS_utimensat, fd, "", long_ago, AT_EMPTY_PATH);
    close(fd);
    return metadata_changed();
}
static bool utime_(void) {
    long times[2] = {5, 5};
    return syscall(SYS_utime, at("ro/file"), times), metadata_changed();
}
static bool utimes_(void) {
    struct timeval times[2] = {{.tv_sec = 5}, {.tv_sec = 5}};
    return syscall(SYS_utimes, at("ro/file"), times), metadata_changed();
}
static bool futimesat_(void) {
    struct timeval times[2] = {{.tv_sec = 5}, {.tv_sec = 5}};
    return syscall(SYS_futimesat, AT_FDCWD, at("ro/file"), times), metadata_changed();
}
static bool futimesat_fd(void) {
    struct timeval times[2] = {{.tv_sec = 5}, {.tv_sec = 5}};
    int fd = ro_fd();
    syscall(SYS_futimesat, fd, NULL, times);
    close(fd);
    return metadata_changed();
}
static bool setxattr_(void) { return setxattr(at("ro/file"), "user.attack", "x", 1, 0), metadata_changed(); }
static bool lsetxattr_(void) { return lsetxattr(at("ro/file"), "user.attack", "x", 1, 0), metadata_changed(); }
static bool fsetxattr_(void) {
    int fd = ro_fd();
    fsetxattr(fd, "user.attack", "x", 1, 0);
    close(fd);
    return metadata_changed();
}
static bool setxattr_proc(void) {
    int fd = open(at("ro/file"), O_PATH);
    setxattr(text("/proc/self/fd/%d", fd), "user.attack", "x", 1, 0);
    close(fd);
    return metadata_changed();
}
static bool setxattrat_(void) {
    struct { uint64_t value; uint32_t size, flags; } args = {(uintptr_t) "x", 1, 0};
    return syscall(463, AT_FDCWD, at("ro/file"), 0, "user.attack", &args, sizeof args), metadata_changed();
}
static bool setxattrat_fd(void) {
    struct { uint64_t value; uint32_t size, flags; } args = {(uintptr_t) "x", 1, 0};
    int fd = ro_fd();
    syscall(463, fd, "", AT_EMPTY_PATH, "user.attack", &args, sizeof args);
    close(fd);
    return metadata_changed();
}
static bool inode_flags(void) {
    int fd = ro_fd(), flags = 0, now = 0;
    if (ioctl(fd, FS_IOC_GETFLAGS, &flags))
        return false;
    int wanted = flags ^ FS_NODUMP_FL;
    ioctl(fd, FS_IOC_SETFLAGS, &wanted);
    int error = errno;
    ioctl(fd, FS_IOC_GETFLAGS, &now);
    close(fd);
    errno = error;
    return now != flags;
}
static bool inode_flags_high_half(void) {
    int fd = ro_fd(), flags = 0, now = 0;
    if (ioctl(fd, FS_IOC_GETFLAGS, &flags))
        return false;
    int wanted = flags ^ FS_NODUMP_FL;
    syscall(SYS_ioctl, 0xdead00000000ull | (unsigned)fd, 0xbeef00000000ull | FS_IOC_SETFLAGS, &wanted);
    ioctl(fd, FS_IOC_GETFLAGS, &now);
    close(fd);
    return now != flags;
}
static bool inode_xflags(void) {
    int fd = ro_fd();
    struct fsxattr attributes = {0}, now = {0};
    if (ioctl(fd, FS_IOC_FSGETXATTR, &attributes))
        return false;
    uint32_t was = attributes.fsx_xflags;
    attributes.fsx_xflags ^= FS_XFLAG_NODUMP;
    ioctl(fd, FS_IOC_FSSETXATTR, &attributes);
    ioctl(fd, FS_IOC_FSGETXATTR, &now);
    close(fd);
    return now.fsx_xflags != was;
}
static bool inode_xflags_call(void) {
    int fd = ro_fd();
    struct { uint64_t xflags; uint32_t extsize, nextents, projid, cowextsize; } attributes = {0}, now = {0};
    if (syscall(468, AT_FDCWD, at("ro/file"), &attributes, sizeof attributes, 0)) {
        close(fd);
        return false;
    }
    uint64_t was = attributes.xflags;
    attributes.xflags ^= FS_XFLAG_NODUMP;
    syscall(469, AT_FDCWD, at("ro/file"), &attributes, sizeof attributes, 0);
    syscall(468, AT_FDCWD, at("ro/file"), &now, sizeof now, 0);
    close(fd);
    return now.xflags != was;
}
static bool generation(unsigned long request) {
    int fd = ro_fd();
    long was = 0, now = 0, wanted;
    if (ioctl(fd, FS_IOC_GETVERSION, &was))
        return false;
    wanted = (was & 0xffffffff) ^ 1;
    ioctl(fd, request, &wanted);
    ioctl(fd, FS_IOC_GETVERSION, &now);
    close(fd);
    return (int)now != (int)was;
}
static bool inode_generation(void) { return generation(FS_IOC_SETVERSION); }
static bool inode_generation_ext4(void) { return generation(_IOW('f', 4, long)); }
static bool chown_(void) { return chown(at("ro/file"), getuid(), getgid() == 0 ? 12345 : getgid()), metadata_changed(); }
static bool fchown_(void) {
    int fd = ro_fd();
    fchown(fd, getuid(), getgid() == 0 ? 12345 : getgid());
    close(fd);
    return metadata_changed();
}
static bool fchownat_empty(void) {
    int fd = open(at("ro/file"), O_PATH);
    fchownat(fd, "", getuid(), getgid() == 0 ? 12345 : getgid(), AT_EMPTY_PATH);
    close(fd);
    return metadata_changed();
}
static bool folder_fd_chmod(void) {
    int fd = open(at("ro"), O_RDONLY | O_DIRECTORY);
    fchmod(fd, 0700);
    close(fd);
    struct stat st;
    stat(at("ro"), &st);
    bool win = (st.st_mode & 0777) == 0700;
    if (win)
        chmod(at("ro"), 0755);
    return win;
}

static bool made(void) { return exists(at("no/planted")); }
static bool create_plain(void) {
    int fd = open(at("no/planted"), O_CREAT | O_WRONLY, 0644);
    if (fd >= 0)
        close(fd);
    return made();
}
static bool create_dangling(void) {
    int fd = open(linked("../no/planted", "ok/dangling"), O_CREAT | O_WRONLY, 0644);
    if (fd >= 0)
        close(fd);
    return made();
}
static bool create_dangling_chain(void) {
    linked("../no/planted", "ok/d1");
    int fd = open(linked("d1", "ok/d2"), O_CREAT | O_RDONLY, 0644);
    if (fd >= 0)
        close(fd);
    return made();
}
static bool create_dangling_creat(void) {
    int fd = creat(linked(at("no/planted"), "ok/dangling"), 0644);
    if (fd >= 0)
        close(fd);
    return made();
}
static bool create_through_link_folder(void) {
    int fd = open(text("%s/planted", linked("../no", "ok/l")), O_CREAT | O_WRONLY, 0644);
    if (fd >= 0)
        close(fd);
    return made();
}
static bool mkdir_(void) { return mkdir(at("no/planted"), 0755), made(); }
static bool mkdir_slash(void) { return mkdir(at("no/planted/"), 0755), made(); }
static bool mkdir_dots(void) { return mkdir(at("ok/sub/../../no/planted"), 0755), made(); }
static bool symlink_new(void) { return symlink("x", at("no/planted")), made(); }
static bool symlinkat_new(void) {
    int fd = open(at("no"), O_PATH | O_DIRECTORY);
    symlinkat("x", fd, "planted");
    close(fd);
    return made();
}
static bool mkfifo_(void) { return mkfifo(at("no/planted"), 0644), made(); }
static bool mknod_file(void) { return mknod(at("no/planted"), 0644, 0), made(); }
static bool mknod_socket(void) { return mknod(at("no/planted"), S_IFSOCK | 0644, 0), made(); }
static bool mknod_device(void) {
    unlink(at("ok/zero"));
    mknod(at("ok/zero"), S_IFCHR | 0644, 5 | 1 << 8);
    struct stat st;
    bool win = !lstat(at("ok/zero"), &st) && S_ISCHR(st.st_mode);
    unlink(at("ok/zero"));
    return win;
}
static bool mknod_block_device(void) {
    unlink(at("ok/disk"));
    mknod(at("ok/disk"), S_IFBLK | 0644, 7 << 8);
    struct stat st;
    bool win = !lstat(at("ok/disk"), &st) && S_ISBLK(st.st_mode);
    unlink(at("ok/disk"));
    return win;
}
static bool bound_socket(const char *name) {
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", name);
    bind(fd, (struct sockaddr *)&address, sizeof address);
    int error = errno;
    close(fd);
    errno = error;
    return made();
}
static bool bind_(void) { return bound_socket(at("no/planted")); }
static bool bind_relative(void) {
    chdir(at("no"));
    bool win = bound_socket("planted");
    chdir("/");
    return win;
}
static bool rename_into(void) { return put(at("ok/n"), "x"), rename(at("ok/n"), at("no/planted")), made(); }
static bool rename_folder_into(void) { return mkdir(at("ok/nd"), 0755), rename(at("ok/nd"), at("no/planted")), made(); }
static bool rename_noreplace(void) {
    put(at("ok/n"), "x");
    renameat2(AT_FDCWD, at("ok/n"), AT_FDCWD, at("no/planted"), RENAME_NOREPLACE);
    return made();
}
static bool rename_whiteout(void) {
    put(at("ok/n"), "x");
    syscall(SYS_renameat2, AT_FDCWD, at("ok/n"), AT_FDCWD, at("ok/n2"), RENAME_WHITEOUT);
    struct stat st;
    bool win = !lstat(at("ok/n"), &st) && S_ISCHR(st.st_mode);
    unlink(at("ok/n"));
    unlink(at("ok/n2"));
    return win;
}
static bool link_into(void) { return put(at("ok/n"), "x"), link(at("ok/n"), at("no/planted")), made(); }
static bool tmpfile_linked(void) {
    int fd = open(at("ok"), O_TMPFILE | O_WRONLY, 0644);
    if (fd < 0)
        return false;
    write(fd, "x", 1);
    linkat(AT_FDCWD, text("/proc/self/fd/%d", fd), AT_FDCWD, at("no/planted"), AT_SYMLINK_FOLLOW);
    linkat(fd, "", AT_FDCWD, at("no/planted"), AT_EMPTY_PATH);
    close(fd);
    return made();
}
static bool deleted_cwd_create(void) {
    /* The folder that the caller stands in comes back under a protected name. */
    mkdir(at("ok/standing"), 0755);
    chdir(at("ok/standing"));
    rename(at("ok/standing"), at("no/standing"));
    int fd = open("planted", O_CREAT | O_WRONLY, 0644);
    if (fd >= 0)
        close(fd);
    chdir("/");
    bool win = exists(at("no/standing"));
    unlink(at("no/standing/planted"));
    rmdir(at("no/standing"));
    unlink(at("ok/standing/planted"));
    rmdir(at("ok/standing"));
    return win;
}

/* Natively each win changes the world: put it back. */
static void restore(void) {
    if (unlink(at("no/planted")))
        rmdir(at("no/planted"));
    chmod(at("ro/file"), 0644);
    put(at("ro/file"), PRISTINE "\n");
    removexattr(at("ro/file"), "user.attack");
    chown(at("ro/file"), before.st_uid, before.st_gid);
    rename(at("ok/ro-sub"), at("ro/sub"));
    mkdir(at("ro/emptyd"), 0755);
    utimensat(AT_FDCWD, at("ro/file"), (struct timespec[2]){before.st_atim, before.st_mtim}, 0);
}

#define ROW(class, kind, name) {class, kind "/" #name, name}
static const struct { int class; const char *name; bool (*attack)(void); } rows[] = {
    ROW(9, "read", plain), ROW(9, "read", symlink_), ROW(9, "read", symlink_absolute), ROW(9, "read", symlink_folder),
    ROW(9, "read", symlink_folder_dots), ROW(9, "read", symlink_chain), ROW(9, "read", symlink_proc),
    ROW(10, "read", hard_link), ROW(10, "read", hard_link_by_fd), ROW(10, "read", hard_link_empty_path), ROW(10, "read", rename_out),
    ROW(10, "read", exchange_out), ROW(10, "read", exchange_other_way), ROW(11, "read", old_hard_link), ROW(12, "read", folder_out),
    ROW(12, "read", folder_renamed), ROW(12, "read", folder_above_renamed), ROW(12, "read", folder_above_exchanged),
    ROW(12, "read", folder_above_by_dirfd), ROW(12, "read", world_renamed), ROW(12, "read", held_folder_renamed),
    ROW(13, "read", proc_self_root), ROW(13, "read", proc_pid_root), ROW(13, "read", proc_task_root), ROW(13, "read", proc_thread_self_root),
    ROW(13, "read", proc_parent_root), ROW(13, "read", proc_1_root), ROW(13, "read", proc_self_cwd), ROW(13, "read", proc_thread_self_cwd),
    ROW(13, "read", child_cwd), ROW(13, "read", child_fd), ROW(13, "read", child_task_fd), ROW(13, "read", pidfd_getfd_child),
    ROW(13, "read", proc_self_fd), ROW(13, "read", proc_self_fd_dots), ROW(13, "read", proc_thread_self_fd), ROW(13, "read", dev_fd),
    ROW(13, "read", dev_stdin), ROW(13, "read", proc_fd_by_dirfd), ROW(13, "read", proc_fd_cwd), ROW(14, "read", path_folder),
    ROW(14, "read", path_folder_proc), ROW(14, "read", read_folder), ROW(14, "read", sent_by_child), ROW(14, "read", openat2_in_root),
    ROW(14, "read", openat2_in_root_dots), ROW(14, "read", openat2_in_root_link), ROW(14, "read", openat2_beneath),
    ROW(14, "read", openat2_cached), ROW(14, "read", openat2_long_how), ROW(15, "read", dots), ROW(15, "read", dots_beyond_root),
    ROW(15, "read", slashes), ROW(15, "read", dot_parts), ROW(15, "read", relative), ROW(15, "read", relative_dots),
    ROW(15, "read", odd_deleted), ROW(15, "read", odd_deleted_symlink), ROW(15, "read", odd_newline), ROW(15, "read", odd_spaces),
    ROW(15, "read", odd_bytes), ROW(15, "read", odd_memfd), ROW(15, "read", long_name), ROW(15, "read", beyond_path_max),
    ROW(15, "read", in_granted_disguise), ROW(15, "read", granted_link), ROW(18, "read", file_handle), ROW(21, "read", chroot_to),
    ROW(21, "read", bind_mount), ROW(21, "read", open_tree_),
    ROW(17, "write", write_plain), ROW(17, "write", write_both), ROW(17, "write", write_append), ROW(17, "write", write_access_3),
    ROW(17, "write", write_trunc), ROW(17, "write", write_creat), ROW(17, "write", write_creat_readonly), ROW(9, "write", write_symlink),
    ROW(14, "write", write_reopen), ROW(14, "write", write_reopen_dev), ROW(14, "write", write_reopen_path), ROW(10, "write", write_hard_link),
    ROW(17, "write", write_mapped), ROW(17, "write", truncate_path), ROW(17, "write", truncate_link), ROW(17, "write", truncate_proc_fd),
    ROW(17, "write", rename_over), ROW(17, "write", exchange_in), ROW(17, "write", unlink_), ROW(17, "write", unlink_dots),
    ROW(17, "write", unlink_dirfd), ROW(17, "write", unlink_proc_cwd), ROW(17, "write", rmdir_), ROW(17, "write", rename_ro_out),
    ROW(12, "write", rename_folder_ro), ROW(17, "write", chmod_), ROW(17, "write", chmod_link), ROW(17, "write", fchmod_),
    ROW(17, "write", fchmod_proc), ROW(17, "write", fchmodat2_empty), ROW(17, "write", fchmodat2_path), ROW(17, "write", utimensat_),
    ROW(17, "write", futimens_), ROW(17, "write", utimensat_empty), ROW(17, "write", utime_), ROW(17, "write", utimes_),
    ROW(17, "write", futimesat_), ROW(17, "write", futimesat_fd), ROW(17, "write", setxattr_), ROW(17, "write", lsetxattr_),
    ROW(17, "write", fsetxattr_), ROW(17, "write", setxattr_proc), ROW(17, "write", setxattrat_), ROW(17, "write", setxattrat_fd),
    ROW(17, "write", inode_flags), ROW(24, "write", inode_flags_high_half), ROW(17, "write", inode_xflags), ROW(17, "write", inode_xflags_call),
    ROW(17, "write", inode_generation), ROW(17, "write", inode_generation_ext4), ROW(17, "write", chown_), ROW(17, "write", fchown_), ROW(17, "write", fchownat_empty),
    ROW(17, "write", folder_fd_chmod),
    ROW(19, "make", create_plain), ROW(19, "make", create_dangling), ROW(19, "make", create_dangling_chain),
    ROW(19, "make", create_dangling_creat), ROW(19, "make", create_through_link_folder), ROW(19, "make", mkdir_), ROW(19, "make", mkdir_slash),
    ROW(19, "make", mkdir_dots), ROW(19, "make", symlink_new), ROW(19, "make", symlinkat_new), ROW(19, "make", mkfifo_),
    ROW(19, "make", mknod_file), ROW(19, "make", mknod_socket), ROW(19, "make", mknod_device), ROW(19, "make", mknod_block_device),
    ROW(19, "make", bind_), ROW(19, "make", bind_relative), ROW(19, "make", rename_into), ROW(12, "make", rename_folder_into),
    ROW(19, "make", rename_noreplace), ROW(19, "make", rename_whiteout), ROW(19, "make", link_into), ROW(19, "make", tmpfile_linked),
    ROW(12, "make", deleted_cwd_create),
};

int main(int argc, char **argv) {
    arguments(argc, argv);
    chdir("/");
    if (stat(at("ro/file"), &before))
        die("ro/file");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tally tally;
        if (!begin(&tally, rows[i].class, "%s", rows[i].name))
            continue;
        errno = 0;
        tally.asked = 1;
        bool win = rows[i].attack();
        count(&tally, win, win ? 0 : errno);
        if (win && strncmp(rows[i].name, "read", 4))
            restore();
        report(&tally);
    }
    return 0;
}
