/*
 * Classes 36 to 43: other ways to run a forbidden program (evil-tool) or a forbidden command (good-tool forbidden). Each technique is
 * one attempt. A win is that it ran, as told on descriptor 9.
 */
#include "marks.h"
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>

static char *evil, *good;

static void copy(const char *from, int out) {
    char bytes[65536];
    int in = open(from, O_RDONLY | O_CLOEXEC);
    ssize_t n;
    while (in >= 0 && (n = read(in, bytes, sizeof bytes)) > 0)
        write(out, bytes, n);
    close(in);
}
static char *copied(const char *from, const char *to) {
    unlink(at("%s", to));
    int out = open(at("%s", to), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
    copy(from, out);
    close(out);
    return strdup(at("%s", to));
}
static bool ended(pid_t child) {
    int status;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    bool win = forbidden_ran(NULL);
    errno = WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
    return win;
}
static bool runs_env(const char *path, char **argv, char **envp) {
    pid_t child = fork();
    if (!child) {
        execve(path, argv, envp);
        _exit(errno);
    }
    return ended(child);
}
static char *no_environment[] = {NULL};
static char *usual_environment[] = {"PATH=/usr/bin:/bin", NULL};
#define RUN(path, ...) runs_env(path, (char *[]){__VA_ARGS__, NULL}, usual_environment)
static bool shell(const char *format, ...) {
    char command[4096];
    va_list list;
    va_start(list, format);
    vsnprintf(command, sizeof command, format, list);
    va_end(list);
    return RUN("/bin/sh", "sh", "-c", command);
}

static bool plain(void) { return RUN(evil, "evil-tool"); }
static bool argument(void) { return RUN(good, "good-tool", "forbidden"); }
static bool argv0_lie(void) { return RUN(evil, "good-tool", "permitted"); }
static bool argv0_lie_argument(void) { return RUN(good, "ls", "forbidden"); }
static bool argv0_path(void) { return RUN(good, "/bin/echo", "forbidden"); }
static bool empty_argv(void) { return runs_env(evil, (char *[]){NULL}, no_environment); }
static bool null_argv(void) { return runs_env(evil, NULL, NULL); }
static bool argv0_empty(void) { return RUN(good, "", "forbidden"); }
static bool argv0_with_argument(void) { return RUN(good, "good-tool permitted", "forbidden"); }
static bool argument_newline(void) { return RUN(good, "good\ntool", "forbidden"); }
static bool many_arguments(void) {
    static char *argv[20003];
    argv[0] = "good-tool";
    argv[1] = "forbidden";
    for (int i = 2; i < 20000; i++)
        argv[i] = "filler-filler-filler-filler";
    return runs_env(good, argv, usual_environment);
}
static bool big_argument(void) {
    char *big = malloc(120000);
    memset(big, 'a', 120000);
    big[119999] = 0;
    return RUN(good, "good-tool", "forbidden", big);
}
static bool relative(void) {
    chdir(at("bin"));
    bool win = RUN("./evil-tool", "evil-tool");
    chdir("/");
    return win;
}
static bool relative_bare(void) {
    chdir(at("bin"));
    bool win = RUN("evil-tool", "x");
    chdir("/");
    return win;
}
static bool dots(void) { return RUN(at("ok/sub/../../bin/./evil-tool"), "x"); }
static bool symlink_(void) {
    unlink(at("ok/e"));
    symlink("../bin/evil-tool", at("ok/e"));
    return RUN(at("ok/e"), "e");
}
static bool symlink_folder(void) {
    unlink(at("ok/b"));
    symlink("../bin", at("ok/b"));
    return RUN(at("ok/b/evil-tool"), "e");
}
static bool hard_link(void) {
    unlink(at("ok/e"));
    return link(evil, at("ok/e")) == 0 && RUN(at("ok/e"), "e");
}
static bool renamed(void) {
    if (rename(evil, at("bin/kind-tool")))
        return false;
    bool win = RUN(at("bin/kind-tool"), "kind-tool");
    rename(at("bin/kind-tool"), evil);
    return win;
}
static bool copy_(void) { return RUN(copied(evil, "ok/e-copy"), "e-copy"); }
static bool copy_argument(void) { return RUN(copied(good, "ok/innocent"), "innocent", "forbidden"); }
static bool memory_file(void) {
    int fd = memfd_create("x", 0);
    copy(evil, fd);
    pid_t child = fork();
    if (!child) {
        fexecve(fd, (char *[]){"x", NULL}, usual_environment);
        _exit(errno);
    }
    close(fd);
    return ended(child);
}
static bool memory_file_proc(void) {
    int fd = memfd_create("x", 0);
    copy(evil, fd);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    bool win = RUN(path, "x");
    close(fd);
    return win;
}
static bool memory_file_argument(void) {
    int fd = memfd_create("good-tool", 0);
    copy(good, fd);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    bool win = RUN(path, "good-tool", "forbidden");
    close(fd);
    return win;
}
static bool descriptor(int flags) {
    int fd = open(evil, flags);
    pid_t child = fork();
    if (!child) {
        syscall(SYS_execveat, fd, "", (char *[]){"x", NULL}, usual_environment, AT_EMPTY_PATH);
        _exit(errno);
    }
    close(fd);
    return ended(child);
}
static bool descriptor_path(void) { return descriptor(O_PATH); }
static bool descriptor_read(void) { return descriptor(O_RDONLY); }
static bool descriptor_folder(void) {
    int fd = open(at("bin"), O_PATH | O_DIRECTORY);
    pid_t child = fork();
    if (!child) {
        syscall(SYS_execveat, fd, "evil-tool", (char *[]){"x", NULL}, usual_environment, 0);
        _exit(errno);
    }
    close(fd);
    return ended(child);
}
static bool descriptor_proc(void) {
    int fd = open(evil, O_PATH);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    bool win = RUN(path, "x");
    close(fd);
    return win;
}
static bool descriptor_dev(void) {
    int fd = open(evil, O_PATH);
    char path[64];
    snprintf(path, sizeof path, "/dev/fd/%d", fd);
    bool win = RUN(path, "x");
    close(fd);
    return win;
}
static bool deleted(void) {
    copied(evil, "ok/going");
    int fd = open(at("ok/going"), O_PATH);
    unlink(at("ok/going"));
    pid_t child = fork();
    if (!child) {
        syscall(SYS_execveat, fd, "", (char *[]){"x", NULL}, usual_environment, AT_EMPTY_PATH);
        _exit(errno);
    }
    close(fd);
    return ended(child);
}
static bool deleted_argument(void) {
    copied(good, "ok/going");
    int fd = open(at("ok/going"), O_PATH);
    unlink(at("ok/going"));
    pid_t child = fork();
    if (!child) {
        syscall(SYS_execveat, fd, "", (char *[]){"good-tool", "forbidden", NULL}, usual_environment, AT_EMPTY_PATH);
        _exit(errno);
    }
    close(fd);
    return ended(child);
}
static bool execveat_flags_high(void) {
    int fd = open(evil, O_PATH);
    pid_t child = fork();
    if (!child) {
        syscall(SYS_execveat, 0xdead00000000ull | (unsigned)fd, "", (char *[]){"x", NULL}, usual_environment, 0xbeef00000000ull | AT_EMPTY_PATH);
        _exit(errno);
    }
    close(fd);
    return ended(child);
}

static const char *loader(void) {
    static const char *names[] = {"/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"};
    return access(names[0], F_OK) ? names[1] : names[0];
}
static bool loader_plain(void) { return RUN(loader(), "ld.so", at("bin/evil-dynamic")); }
static bool loader_argument(void) { return RUN(loader(), "ld.so", at("bin/good-dynamic"), "forbidden"); }
static bool loader_argv0(void) { return RUN(loader(), "ld.so", "--argv0", "kind", at("bin/evil-dynamic")); }
static bool loader_options(void) { return RUN(loader(), "ld.so", "--inhibit-cache", "--library-path", "/lib:/usr/lib", at("bin/good-dynamic"), "forbidden"); }
static bool loader_copied(void) { return RUN(copied(loader(), "ok/my-loader"), "my-loader", at("bin/evil-dynamic")); }
static bool loader_copied_argument(void) { return RUN(copied(loader(), "ok/my-loader"), "my-loader", at("bin/good-dynamic"), "forbidden"); }
static bool loader_linked(void) {
    unlink(at("ok/ll"));
    symlink(loader(), at("ok/ll"));
    return RUN(at("ok/ll"), "ll", at("bin/evil-dynamic"));
}

static char *script(const char *name, const char *line) {
    put(at("ok/%s", name), line);
    chmod(at("ok/%s", name), 0755);
    return strdup(at("ok/%s", name));
}
static char *formatted(const char *format, const char *a, const char *b) {
    static char text[2][4096];
    static int next;
    char *out = text[next++ % 2];
    snprintf(out, 4096, format, a, b);
    return out;
}
static bool script_interpreter(void) { return RUN(script("s1", formatted("#!%s\n", evil, "")), "s1"); }
static bool script_argument(void) {
    /* The kernel passes the rest of the line as one argument before the script's own name. */
    return RUN(script("s2", formatted("#!%s forbidden\n", good, "")), "s2");
}
static bool script_chain(void) {
    script("c1", formatted("#!%s\n", evil, ""));
    script("c2", formatted("#!%s\n", at("ok/c1"), ""));
    script("c3", formatted("#!%s\n", at("ok/c2"), ""));
    return RUN(script("c4", formatted("#!%s\n", at("ok/c3"), "")), "c4");
}
static bool script_chain_argument(void) {
    script("c1", formatted("#!%s forbidden\n", good, ""));
    return RUN(script("c2", formatted("#!%s\n", at("ok/c1"), "")), "c2");
}
static bool script_env(void) { return RUN(script("s3", formatted("#!/usr/bin/env %s\n", evil, "")), "s3"); }
static bool script_env_s(void) { return RUN(script("s4", formatted("#!/usr/bin/env -S %s forbidden\n", good, "")), "s4"); }
static bool script_blanks(void) { return RUN(script("s5", formatted("#! \t %s \t forbidden  \n", good, "")), "s5"); }
static bool script_no_newline(void) { return RUN(script("s6", formatted("#!%s", evil, "")), "s6"); }
static bool script_nul(void) {
    char *name = script("s7", "");
    int fd = open(name, O_WRONLY);
    char *line = formatted("#!%s", evil, "");
    write(fd, line, strlen(line) + 1);
    write(fd, "\nrest\n", 6);
    close(fd);
    return RUN(name, "s7");
}
static bool script_relative(void) {
    script("s8", "#!bin/evil-tool\n");
    chdir(world);
    bool win = RUN("ok/s8", "s8");
    chdir("/");
    return win;
}
static bool script_symlink(void) {
    unlink(at("ok/si"));
    symlink("../bin/evil-tool", at("ok/si"));
    return RUN(script("s9", formatted("#!%s\n", at("ok/si"), "")), "s9");
}
static bool script_loader(void) { return RUN(script("s10", formatted("#!%s %s\n", loader(), at("bin/evil-dynamic"))), "s10"); }
static bool script_descriptor(void) {
    char *name = script("s11", formatted("#!%s\n", evil, ""));
    int fd = open(name, O_RDONLY);
    pid_t child = fork();
    if (!child) {
        syscall(SYS_execveat, fd, "", (char *[]){"x", NULL}, usual_environment, AT_EMPTY_PATH);
        _exit(errno);
    }
    close(fd);
    return ended(child);
}

static bool by_sh(void) { return shell("exec %s", evil); }
static bool by_sh_argument(void) { return shell("%s forbidden", good); }
static bool by_sh_quotes(void) { return shell("%s for'bid'\"den\"", good); }
static bool by_sh_variable(void) { return shell("a=for; b=bidden; %s $a$b", good); }
static bool by_sh_path(void) { return shell("PATH=%s/bin:$PATH; evil-tool", world); }
static bool by_sh_eval(void) { return shell("eval \"%s for\"bidden", good); }
static bool by_env(void) { return RUN("/usr/bin/env", "env", evil); }
static bool by_env_argument(void) { return RUN("/usr/bin/env", "env", "-i", "A=b", good, "forbidden"); }
static bool by_nice(void) { return RUN("/usr/bin/nice", "nice", "-n", "1", good, "forbidden"); }
static bool by_timeout(void) { return RUN("/usr/bin/timeout", "timeout", "-k", "1", "5", good, "forbidden"); }
static bool by_xargs(void) { return shell("echo forbidden | xargs %s", good); }
static bool by_find(void) { return shell("find %s/ok/file -exec %s forbidden ';'", world, good); }
static bool by_setsid(void) { return shell("setsid -w %s forbidden", good); }
static bool by_nohup(void) { return shell("nohup %s forbidden", good); }
static bool by_awk(void) { return shell("awk 'BEGIN{system(\"%s forbidden\")}'", good); }
static bool by_perl(void) { return shell("perl -e 'exec {\"%s\"} \"ls\", \"forbidden\"'", good); }
static bool by_make(void) {
    put(at("ok/makefile"), formatted("all:\n\t@%s forbidden\n", good, ""));
    return shell("make -s -f %s/ok/makefile", world);
}
static bool by_background(void) { return shell("(%s forbidden &) ; sleep 0.3", good); }
static bool by_trap(void) { return shell("trap '%s forbidden' EXIT", good); }
static bool by_source(void) {
    put(at("ok/sourced"), formatted("exec %s forbidden\n", good, ""));
    return shell(". %s/ok/sourced", world);
}

/* 40: a tracer changes what was decided. */
static bool traced(void) {
    pid_t child = fork();
    if (!child) {
        if (ptrace(PTRACE_TRACEME, 0, 0, 0))
            _exit(errno);
        char *argv[] = {"good-tool", strdup("permitted"), NULL};
        execve(good, argv, usual_environment);
        _exit(errno);
    }
    int status;
    waitpid(child, &status, 0);
#ifdef __x86_64__
    if (WIFSTOPPED(status)) {
        struct user_regs_struct registers;
        ptrace(PTRACE_GETREGS, child, 0, &registers);
        long text = ptrace(PTRACE_PEEKDATA, child, (void *)(registers.rsp + 16), 0), word;
        memcpy(&word, "forbidde", 8);
        ptrace(PTRACE_POKEDATA, child, (void *)text, word);
        memcpy(&word, "n\0\0\0\0\0\0\0", 8);
        ptrace(PTRACE_POKEDATA, child, (void *)(text + 8), word);
        ptrace(PTRACE_DETACH, child, 0, 0);
    }
#endif
    return ended(child);
}
/* A parent that traces its child's entry into openat and gives it another path there. */
static bool traced_open(void) {
#ifdef __x86_64__
    int answer[2];
    pipe(answer);
    char *path = strdup(at("ok/file"));
    pid_t child = fork();
    if (!child) {
        if (ptrace(PTRACE_TRACEME, 0, 0, 0))
            _exit(errno);
        raise(SIGSTOP);
        int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY, 0);
        write(answer[1], fd >= 0 && gives(fd, FORBIDDEN) ? "y" : "n", 1);
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    for (int i = 0; i < 50 && WIFSTOPPED(status); i++) {
        struct user_regs_struct registers;
        ptrace(PTRACE_GETREGS, child, 0, &registers);
        if (registers.orig_rax == SYS_openat) {
            long word = ptrace(PTRACE_PEEKDATA, child, (void *)(path + strlen(world) + 1), 0);
            memcpy(&word, "no", 2);
            ptrace(PTRACE_POKEDATA, child, (void *)(path + strlen(world) + 1), word);
        }
        ptrace(PTRACE_SYSCALL, child, 0, 0);
        waitpid(child, &status, 0);
    }
    char byte = 'n';
    fcntl(answer[0], F_SETFL, O_NONBLOCK);
    read(answer[0], &byte, 1);
    return byte == 'y';
#else
    return false;
#endif
}
/* The registers of a stopped call are changed so that a harmless native call becomes another one: getpid into openat. */
static bool traced_number(void) {
#ifdef __x86_64__
    int answer[2];
    pipe(answer);
    char *path = strdup(at("no/file"));
    pid_t child = fork();
    if (!child) {
        if (ptrace(PTRACE_TRACEME, 0, 0, 0))
            _exit(errno);
        raise(SIGSTOP);
        long fd = syscall(SYS_getpid, AT_FDCWD, path, O_RDONLY, 0);
        write(answer[1], fd >= 0 && gives(fd, FORBIDDEN) ? "y" : "n", 1);
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    for (int i = 0; i < 50 && WIFSTOPPED(status); i++) {
        struct user_regs_struct registers;
        ptrace(PTRACE_GETREGS, child, 0, &registers);
        if (registers.orig_rax == SYS_getpid && registers.rsi == (unsigned long)path) {
            registers.orig_rax = SYS_openat;
            ptrace(PTRACE_SETREGS, child, 0, &registers);
        }
        ptrace(PTRACE_SYSCALL, child, 0, 0);
        waitpid(child, &status, 0);
    }
    char byte = 'n';
    fcntl(answer[0], F_SETFL, O_NONBLOCK);
    read(answer[0], &byte, 1);
    return byte == 'y';
#else
    return false;
#endif
}
static bool seized(void) {
    pid_t child = fork();
    if (!child)
        for (;;)
            pause();
    bool win = ptrace(PTRACE_SEIZE, child, 0, 0) == 0;
    int error = errno;
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    errno = error;
    return win;
}
static bool written_by_vm(void) {
    volatile char *secret = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pid_t child = fork();
    if (!child)
        for (;;) {
            if (*secret == 'x')
                _exit(0);
            usleep(1000);
        }
    struct iovec local = {"x", 1}, remote = {(void *)secret, 1};
    bool win = process_vm_writev(child, &local, 1, &remote, 1, 0) == 1;
    int error = errno;
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    errno = error;
    return win;
}
static bool written_by_proc(void) {
    volatile char *secret = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int fd = open("/proc/self/mem", O_RDWR);
    return fd >= 0 && pwrite(fd, "x", 1, (off_t)(uintptr_t)secret) == 1 && *secret == 'x';
}
static bool written_by_proc_fd(void) {
    /* Opened for reading, then reopened with more. */
    volatile char *secret = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int fd = open("/proc/self/mem", O_PATH);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    fd = open(path, O_WRONLY);
    return fd >= 0 && pwrite(fd, "x", 1, (off_t)(uintptr_t)secret) == 1 && *secret == 'x';
}
static bool written_by_task_mem(void) {
    volatile char *secret = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task/%d/mem", getpid(), gettid());
    int fd = open(path, O_WRONLY);
    return fd >= 0 && pwrite(fd, "x", 1, (off_t)(uintptr_t)secret) == 1 && *secret == 'x';
}

/* 43: what might lose a supervisor on the way. The command must be refused there too. */
static bool after(void (*change)(void)) {
    pid_t child = fork();
    if (!child) {
        change();
        execve(good, (char *[]){"good-tool", "forbidden", NULL}, usual_environment);
        _exit(errno);
    }
    return ended(child);
}
static void change_session(void) { setsid(); }
static void change_death(void) { prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0); }
static void change_dump(void) { prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); }
static void change_user(void) { setresuid(getuid(), getuid(), getuid()), setresgid(getgid(), getgid(), getgid()); }
static void change_orphan(void) {
    if (fork())
        _exit(0);
    usleep(20000);
}
static bool after_setsid(void) { return after(change_session); }
static bool after_pdeathsig(void) { return after(change_death); }
static bool after_no_dump(void) { return after(change_dump); }
static bool after_setuid(void) { return after(change_user); }
static bool after_orphaned(void) {
    bool win = after(change_orphan);
    usleep(300000);
    return forbidden_ran(NULL) || win;
}
static bool unreadable(void) {
    char *name = copied(evil, "ok/unreadable");
    chmod(name, 0111);
    return RUN(name, "x");
}
static bool while_written(void) {
    /* The file becomes another one after it was looked at: its writer waits for the moment. */
    char *name = copied(good, "ok/changing");
    pid_t child = fork();
    if (!child) {
        for (int i = 0; i < 300; i++) {
            int out = open(name, O_WRONLY | O_TRUNC);
            if (out >= 0) {
                copy(i & 1 ? good : evil, out);
                close(out);
            }
            usleep(dice() % 300);
        }
        _exit(0);
    }
    bool win = false;
    for (int i = 0; i < 150; i++)
        win |= RUN(name, "changing");
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    return win;
}

#define R(class, name) {class, "exec/" #name, name}
static const struct row rows[] = {
    R(38, plain), R(38, argument), R(38, argv0_lie), R(38, argv0_lie_argument), R(38, argv0_path), R(38, empty_argv), R(38, null_argv),
    R(38, argv0_empty), R(38, argv0_with_argument), R(38, argument_newline), R(38, many_arguments), R(38, big_argument), R(38, relative),
    R(38, relative_bare), R(38, dots), R(38, symlink_), R(38, symlink_folder), R(38, hard_link), R(38, renamed), R(38, copy_),
    R(38, copy_argument), R(37, memory_file), R(37, memory_file_proc), R(37, memory_file_argument), R(37, descriptor_path),
    R(37, descriptor_read), R(37, descriptor_folder), R(37, descriptor_proc), R(37, descriptor_dev), R(37, deleted), R(37, deleted_argument),
    R(24, execveat_flags_high), R(37, loader_plain), R(37, loader_argument), R(37, loader_argv0), R(37, loader_options), R(37, loader_copied),
    R(37, loader_copied_argument), R(37, loader_linked), R(36, script_interpreter), R(36, script_argument), R(36, script_chain),
    R(36, script_chain_argument), R(36, script_env), R(36, script_env_s), R(36, script_blanks), R(36, script_no_newline), R(36, script_nul),
    R(36, script_relative), R(36, script_symlink), R(36, script_loader), R(36, script_descriptor), R(38, by_sh), R(38, by_sh_argument),
    R(38, by_sh_quotes), R(38, by_sh_variable), R(38, by_sh_path), R(38, by_sh_eval), R(38, by_env), R(38, by_env_argument), R(38, by_nice),
    R(38, by_timeout), R(38, by_xargs), R(38, by_find), R(38, by_setsid), R(38, by_nohup), R(38, by_awk), R(38, by_perl), R(38, by_make),
    R(38, by_background), R(38, by_trap), R(38, by_source), R(40, traced), R(40, traced_open), R(40, traced_number), R(40, seized),
    R(40, written_by_vm), R(40, written_by_proc), R(40, written_by_proc_fd), R(40, written_by_task_mem), R(43, after_setsid),
    R(43, after_pdeathsig), R(43, after_no_dump), R(43, after_setuid), R(43, after_orphaned), R(43, unreadable), R(33, while_written),
};

int main(int argc, char **argv) {
    arguments(argc, argv);
    open_marks();
    evil = strdup(at("bin/evil-tool"));
    good = strdup(at("bin/good-tool"));
    run_rows(rows, sizeof rows / sizeof *rows);
    return 0;
}
