// Doors beside the filter: each line is a call and what it answered; 0 means it worked.
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <signal.h>
#include <unistd.h>
#include <linux/seccomp.h>
#include <linux/filter.h>
#define SHOW(name, call) errno = 0, printf("%s %d\n", name, (call) < 0 ? errno : 0)
int main(void) {
    char buf[256] = {0};
    SHOW("io_uring_setup", syscall(425, 8, buf));
    SHOW("clone3", syscall(435, buf, 88));
    SHOW("open_by_handle_at", syscall(304, -100, buf, 0));
    SHOW("mount", mount("x", "/tmp", "tmpfs", 0, 0));
    SHOW("unshare", unshare(CLONE_NEWUSER));
    SHOW("ptrace", ptrace(PTRACE_TRACEME, 0, 0, 0));
    SHOW("x32_open", syscall(0x40000000 | 2, "/etc/passwd", 0));
    SHOW("unknown", syscall(1023));
    SHOW("udp", socket(AF_INET, SOCK_DGRAM, 0));
    SHOW("raw", socket(AF_INET, SOCK_RAW, 1));
    SHOW("mptcp", socket(AF_INET, SOCK_STREAM, 262));
    SHOW("vsock", socket(40, SOCK_STREAM, 0));
    SHOW("alg", socket(38, SOCK_SEQPACKET, 0));
    int pair[2];
    SHOW("dgram_pair", socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
    SHOW("bpf", syscall(321, 0, buf, 8));
    SHOW("process_vm_writev", syscall(311, getpid(), 0, 0, 0, 0, 0));
    struct sock_filter allow = {6, 0, 0, 0x7fff0000};
    struct sock_fprog program = {1, &allow};
    SHOW("second_listener", syscall(317, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program));
    SHOW("kill_supervisor", kill(getppid(), 0));
    SHOW("own_filter", syscall(317, SECCOMP_SET_MODE_FILTER, 0, &program));
    SHOW("own_filter_by_prctl", prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0));
    SHOW("stream", socket(AF_INET, SOCK_STREAM, 0));
    return 0;
}
