/*
 * Classes 20, 25, 65, 74 and 75: what root or a container's user could do natively, calls that are newer than the filter's table, clocks.
 * Files of the kernel are opened for writing and not written.
 */
#include "attack.h"
#include <sys/fsuid.h>
#include <sys/io.h>
#include <sys/resource.h>
#include <sys/sysmacros.h>
#include <sys/timex.h>
#include <linux/capability.h>

/* ---- 74 ---- */
static bool set_uid(void) { return geteuid() == 0 && !syscall(SYS_setresuid, 1, 1, 1) && getuid() == 1; }
static bool set_gid(void) { return getegid() == 0 && !syscall(SYS_setresgid, 1, 1, 1) && getgid() == 1; }
static bool set_groups(void) {
    gid_t one = 1;
    return !syscall(SYS_setgroups, 1, &one);
}
static bool set_uid_program(void) {
    /* A set-user-id copy of id, made outside where that could be done. */
    int ends[2], status;
    char out[512] = "";
    pipe(ends);
    pid_t child = fork();
    if (!child) {
        dup2(ends[1], 1);
        execl(at("bin/set-uid-id"), "id", "-u", NULL);
        _exit(errno);
    }
    close(ends[1]);
    read(ends[0], out, sizeof out - 1);
    waitpid(child, &status, 0);
    return getuid() != 0 && atoi(out) == 0 && out[0] == '0';
}
static bool owner_changed(void) {
    put(at("ok/owned"), "x");
    struct stat st;
    return !chown(at("ok/owned"), 1, 1) && !stat(at("ok/owned"), &st) && st.st_uid == 1;
}
static bool set_uid_file(void) {
    /* A file that would be root's program for everybody. */
    put(at("ok/suid"), "x");
    struct stat st;
    return geteuid() == 0 && !chmod(at("ok/suid"), 04755) && !stat(at("ok/suid"), &st) && st.st_uid == 0 && st.st_mode & S_ISUID && access(world, X_OK) == 0 &&
           !syscall(SYS_setresuid, 1, 1, 1);
}
static bool file_capability(void) {
    put(at("ok/capable"), "x");
    struct { uint32_t magic, permitted, inheritable, more[2]; } value = {0x02000000, 1 << 21, 0, {0, 0}};
    return !setxattr(at("ok/capable"), "security.capability", &value, sizeof value, 0);
}
static bool capability(void) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {{0}};
    return !syscall(SYS_capget, &header, data) && data[0].effective & 1 << CAP_SYS_ADMIN;
}
static bool capability_inherited(void) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {{0}};
    syscall(SYS_capget, &header, data);
    data[0].inheritable |= 1 << CAP_NET_ADMIN;
    return !syscall(SYS_capset, &header, data);
}
static bool bounding(void) { return prctl(PR_CAPBSET_READ, CAP_SYS_ADMIN) == 1 && geteuid() == 0 && prctl(PR_GET_NO_NEW_PRIVS) == 0; }
static bool opens(const char *path) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    close(fd);
    return fd >= 0;
}
#define KERNEL(id, path) static bool id(void) { return opens(path); }
KERNEL(core_pattern, "/proc/sys/kernel/core_pattern")
KERNEL(modprobe, "/proc/sys/kernel/modprobe")
KERNEL(host_name_file, "/proc/sys/kernel/hostname")
KERNEL(randomize, "/proc/sys/kernel/randomize_va_space")
KERNEL(yama, "/proc/sys/kernel/yama/ptrace_scope")
KERNEL(overcommit, "/proc/sys/vm/overcommit_memory")
KERNEL(forwarding, "/proc/sys/net/ipv4/ip_forward")
KERNEL(binfmt, "/proc/sys/fs/binfmt_misc/register")
KERNEL(protected, "/proc/sys/fs/protected_symlinks")
KERNEL(sysrq, "/proc/sysrq-trigger")
KERNEL(power, "/sys/power/state")
KERNEL(module_parameter, "/sys/module/printk/parameters/time")
KERNEL(cgroup, "/sys/fs/cgroup/cgroup.procs")
KERNEL(cgroup_control, "/sys/fs/cgroup/cgroup.subtree_control")
KERNEL(uevent, "/sys/kernel/uevent_helper")
KERNEL(caches, "/proc/sys/vm/drop_caches")
static bool cgroup_made(void) {
    bool win = !mkdir("/sys/fs/cgroup/attack", 0755);
    rmdir("/sys/fs/cgroup/attack");
    return win;
}
static bool host_name(void) {
    char name[256];
    gethostname(name, sizeof name);
    return !sethostname(name, strlen(name));
}
static bool port_access(void) {
#ifdef __x86_64__
    return !ioperm(0x80, 1, 1);
#else
    return false;
#endif
}
static bool port_level(void) {
#ifdef __x86_64__
    return !iopl(3);
#else
    return false;
#endif
}
static bool nice_(void) { return !setpriority(PRIO_PROCESS, 0, -5); }
static bool limit_raised(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_max += 1;
    return !setrlimit(RLIMIT_NOFILE, &limit);
}
static bool system_log(void) { return syscall(SYS_syslog, 4 /* READ_ALL, cleared */ - 1, (char[64]){0}, 64) >= 0; }
static bool trusted_attribute(void) { return !setxattr(at("ok/file"), "trusted.attack", "x", 1, 0); }
static bool immutable(void) {
    int flags = 0x10 /* FS_IMMUTABLE_FL */, none = 0, fd = open(at("ok/file"), O_RDONLY | O_CLOEXEC);
    bool win = !ioctl(fd, 0x40086602, &flags);
    ioctl(fd, 0x40086602, &none);
    return win;
}

/* ---- 65 ---- */
static bool clock_set(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return !clock_settime(CLOCK_REALTIME, &now);
}
static bool time_zone(void) {
    struct timezone zone = {0, 0};
    return !syscall(SYS_settimeofday, NULL, &zone);
}
static bool clock_tick(void) {
    struct timex adjustment = {0};
    if (adjtimex(&adjustment) < 0)
        return false;
    /* As it is. */
    adjustment.modes = ADJ_TICK;
    return adjtimex(&adjustment) >= 0;
}
static bool time_namespace(void) { return !syscall(SYS_unshare, 0x80 /* CLONE_NEWTIME */); }
static bool time_offsets(void) { return opens("/proc/self/timens_offsets"); }

/* ---- 25: calls that came after the table, and those that no kernel has; a win is that the kernel answers them ---- */
static bool known(long number) {
    long result = syscall(number, -1, 0, 0, 0, 0, 0);
    return result >= 0 || (errno != ENOSYS && errno != EPERM);
}
#define NEWER(id, number) static bool id(void) { return known(number); }
NEWER(file_setattr, 469)
NEWER(open_tree_attr, 467)
NEWER(lsm_set_self_attr, 460)
NEWER(mount_setattr, 442)
NEWER(fsmount, 432)
NEWER(fspick, 433)
NEWER(quotactl_fd, 443)
NEWER(landlock_add_rule, 445)
NEWER(io_uring_register, 427)
NEWER(uretprobe, 335)
static bool negative(void) { return known(-1); }
static bool all_numbers(void) {
    /* Every number up to 1023 that the table leaves open would show here natively too: none may be answered that is not in it. */
    static const long unknown[] = {480, 500, 511, 512, 513, 547, 548, 600, 700, 800, 900, 1000, 1023};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        if (known(unknown[i]))
            return true;
    return false;
}

/* ---- 75 ---- */
static bool host_disk(void) {
    dev_t device = 0;
    struct stat st;
    if (stat("/", &st) || !(device = st.st_dev))
        return false;
    unlink(at("ok/disk"));
    if (mknod(at("ok/disk"), S_IFBLK | 0600, device))
        return false;
    int fd = open(at("ok/disk"), O_RDONLY | O_CLOEXEC);
    bool made = exists(at("ok/disk"));
    unlink(at("ok/disk"));
    close(fd);
    return made;
}
static bool host_memory(void) {
    unlink(at("ok/mem"));
    bool win = !mknod(at("ok/mem"), S_IFCHR | 0600, makedev(1, 1));
    unlink(at("ok/mem"));
    return win;
}
static bool host_root(void) { return open("/proc/1/root/etc/hostname", O_RDONLY | O_CLOEXEC) >= 0; }
static bool host_environment(void) {
    char byte;
    return read(open("/proc/1/environ", O_RDONLY | O_CLOEXEC), &byte, 1) == 1;
}
static bool host_namespace(void) {
    int fd = open("/proc/1/ns/mnt", O_RDONLY | O_CLOEXEC);
    return fd >= 0 && !syscall(SYS_setns, fd, CLONE_NEWNS);
}
static bool release_agent(void) { return opens("/sys/fs/cgroup/release_agent") || opens("/sys/fs/cgroup/memory/release_agent") || opens("/sys/fs/cgroup/cgroup.kill") || opens("/sys/fs/cgroup/cgroup.procs"); }
static bool host_mounts(void) { return open("/proc/1/mountinfo", O_RDONLY | O_CLOEXEC) >= 0 && open("/proc/1/cwd", O_RDONLY | O_CLOEXEC) >= 0; }

/* ---- 20: sticky/theirs is root's in a folder that everybody writes; sticky/trap is a link of root's to what is the user's own ---- */
static bool sticky_removed(void) { return getuid() != 0 && !unlink(at("ok/sticky/theirs")); }
static bool sticky_renamed(void) { return getuid() != 0 && !rename(at("ok/sticky/theirs"), at("ok/sticky/mine")); }
static bool sticky_replaced(void) {
    put(at("ok/other"), "x");
    return getuid() != 0 && !rename(at("ok/other"), at("ok/sticky/theirs"));
}
static bool sticky_linked(void) { return getuid() != 0 && !link(at("ok/sticky/theirs"), at("ok/theirs")) ; }
static bool sticky_written(void) { return getuid() != 0 && opens(at("ok/sticky/theirs")); }
static bool sticky_planted_link(void) {
    /* The tree's own link, where the supervisor makes a file for somebody: O_CREAT goes through it natively, and to what is protected. */
    unlink(at("ok/free/trap"));
    mkdir(at("ok/free"), 01777);
    chmod(at("ok/free"), 01777);
    symlink(at("no/planted"), at("ok/free/trap"));
    int fd = open(at("ok/free/trap"), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    close(fd);
    bool win = exists(at("no/planted"));
    unlink(at("no/planted"));
    return win;
}

#define R(class, kind, name) {class, kind "/" #name, name}
static const struct row rows[] = {
    R(74, "root", set_uid), R(74, "root", set_gid), R(74, "root", set_groups), R(74, "root", set_uid_program), R(74, "root", owner_changed),
    R(74, "root", set_uid_file), R(74, "root", file_capability), R(74, "root", capability), R(74, "root", capability_inherited), R(74, "root", bounding),
    R(74, "kernel", core_pattern), R(74, "kernel", modprobe), R(74, "kernel", host_name_file), R(74, "kernel", randomize), R(74, "kernel", yama),
    R(74, "kernel", overcommit), R(74, "kernel", forwarding), R(74, "kernel", binfmt), R(74, "kernel", protected), R(74, "kernel", sysrq),
    R(74, "kernel", power), R(74, "kernel", module_parameter), R(74, "kernel", cgroup), R(74, "kernel", cgroup_control), R(74, "kernel", uevent),
    R(74, "kernel", caches), R(74, "kernel", cgroup_made), R(74, "root", host_name), R(74, "root", port_access), R(74, "root", port_level),
    R(74, "root", nice_), R(74, "root", limit_raised), R(74, "root", system_log), R(74, "root", trusted_attribute),
    R(74, "root", immutable),
    R(65, "clock", clock_set), R(65, "clock", time_zone), R(65, "clock", clock_tick), R(65, "clock", time_namespace), R(65, "clock", time_offsets),
    R(25, "newer", file_setattr), R(25, "newer", open_tree_attr), R(25, "newer", lsm_set_self_attr),
    R(25, "newer", mount_setattr), R(25, "newer", fsmount),
    R(25, "newer", fspick), R(25, "newer", quotactl_fd), R(25, "newer", landlock_add_rule), R(25, "newer", io_uring_register), R(25, "newer", uretprobe),
    R(25, "unknown", negative), R(25, "unknown", all_numbers),
    R(75, "container", host_disk), R(75, "container", host_memory), R(75, "container", host_root), R(75, "container", host_environment),
    R(75, "container", host_namespace), R(75, "container", release_agent), R(75, "container", host_mounts),
    R(20, "sticky", sticky_removed), R(20, "sticky", sticky_renamed), R(20, "sticky", sticky_replaced), R(20, "sticky", sticky_linked),
    R(20, "sticky", sticky_written), R(20, "sticky", sticky_planted_link),
};

int main(int argc, char **argv) {
    arguments(argc, argv);
    run_rows(rows, sizeof rows / sizeof *rows);
    return 0;
}
