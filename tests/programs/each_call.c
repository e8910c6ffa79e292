// Makes each decided call once, on files and folders of its own (f.NAME, d.NAME), and prints NAME and errno, 0 for success.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#define SHOW(name, call) errno = 0, printf("%s %d\n", #name, (long)(call) < 0 ? errno : 0)
#define CALL(name, ...) SHOW(name, syscall(SYS_##name, __VA_ARGS__))
static int executed(long number) {
    pid_t child = fork();
    if (!child) {
        char *argv[] = {"true", 0}, *env[] = {0};
        if (number == SYS_execve) syscall(number, "/bin/true", argv, env);
        else syscall(number, AT_FDCWD, "/bin/true", argv, env, 0);
        _exit(errno);
    }
    int status = 0;
    waitpid(child, &status, 0);
    errno = WEXITSTATUS(status);
    return errno ? -1 : 0;
}
int main(void) {
    setvbuf(stdout, 0, _IOLBF, 0);
    long how[3] = {O_RDONLY, 0, 0}, times[4] = {1, 0, 1, 0}, cpus[16] = {0};
    int one = 1, flags = 0, pid = getpid();
    struct rlimit limit;
    struct { unsigned size, policy; unsigned long more[6]; } attributes = {sizeof attributes, 0, {0}};
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int s = socket(AF_INET, SOCK_STREAM, 0), t = socket(AF_INET, SOCK_STREAM, 0);
    CALL(open, "f.open", O_RDONLY);
    CALL(openat, AT_FDCWD, "f.openat", O_RDWR);
    CALL(openat2, AT_FDCWD, "f.openat2", how, sizeof how);
    CALL(creat, "f.creat", 0600);
    SHOW(execve, executed(SYS_execve));
    SHOW(execveat, executed(SYS_execveat));
    CALL(connect, s, &at, sizeof at);
    CALL(bind, t, &any, sizeof any);
    CALL(sendto, s, "x", 1, MSG_NOSIGNAL, &at, sizeof at);
    CALL(socket, AF_VSOCK, SOCK_STREAM, 0);
    CALL(unlink, "f.unlink");
    CALL(rmdir, "d.rmdir");
    CALL(unlinkat, AT_FDCWD, "f.unlinkat", 0);
    CALL(mkdir, "n.mkdir", 0700);
    CALL(mkdirat, AT_FDCWD, "n.mkdirat", 0700);
    CALL(mknod, "n.mknod", S_IFIFO | 0600, 0);
    CALL(mknodat, AT_FDCWD, "n.mknodat", S_IFIFO | 0600, 0);
    CALL(symlink, "x", "n.symlink");
    CALL(symlinkat, "x", AT_FDCWD, "n.symlinkat");
    CALL(link, "f.link", "n.link");
    CALL(linkat, AT_FDCWD, "f.linkat", AT_FDCWD, "n.linkat", 0);
    CALL(rename, "f.rename", "n.rename");
    CALL(renameat, AT_FDCWD, "f.renameat", AT_FDCWD, "n.renameat");
    CALL(renameat2, AT_FDCWD, "f.renameat2", AT_FDCWD, "n.renameat2", 0);
    CALL(truncate, "f.truncate", 3);
    CALL(chmod, "f.chmod", 0600);
    CALL(fchmodat, AT_FDCWD, "f.fchmodat", 0600);
    CALL(chown, "f.chown", -1, -1);
    CALL(lchown, "f.lchown", -1, -1);
    CALL(fchownat, AT_FDCWD, "f.fchownat", -1, -1, 0);
    CALL(utime, "f.utime", 0);
    CALL(utimes, "f.utimes", 0);
    CALL(futimesat, AT_FDCWD, "f.futimesat", 0);
    CALL(utimensat, AT_FDCWD, "f.utimensat", times, 0);
    CALL(setxattr, "f.setxattr", "user.a", "1", 1, 0);
    CALL(lsetxattr, "f.lsetxattr", "user.a", "1", 1, 0);
    CALL(removexattr, "f.removexattr", "user.b");
    CALL(lremovexattr, "f.lremovexattr", "user.b");
    // What goes through a descriptor; one of a name of its own, so that its open is not the call that fails.
    int fd = open("f.descriptor", O_RDWR);
    CALL(fchmod, fd, 0600);
    CALL(fchown, fd, -1, -1);
    CALL(fsetxattr, fd, "user.a", "1", 1, 0);
    CALL(fremovexattr, fd, "user.b");
    ioctl(fd, FS_IOC_GETFLAGS, &flags);
    SHOW(ioctl, ioctl(fd, FS_IOC_SETFLAGS, &flags));
    CALL(prlimit64, pid, RLIMIT_CORE, 0, &limit);
    memset(cpus, 0xff, sizeof cpus);
    CALL(sched_setaffinity, pid, sizeof cpus, cpus);
    CALL(sched_setscheduler, pid, 0, &flags);
    flags = 0;
    CALL(sched_setparam, pid, &flags);
    CALL(sched_setattr, pid, &attributes, 0);
    CALL(setpriority, PRIO_PROCESS, pid, 1);
    CALL(ioprio_set, 1, pid, 2 << 13 | 4);
    close(fd), close(s), close(t);
    return !one;
}
