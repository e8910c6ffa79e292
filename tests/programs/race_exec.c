/*
 * Classes 33 to 35: path, argument, pointer to it, file, symlink or script change while an exec runs. The policy forbids the command
 * `good-tool forbidden` and the program evil-tool; `good-tool permitted` is allowed. A win is a forbidden one that ran.
 */
#include "marks.h"

static char *argument; /* "permitted" or "forbidden", in memory that the flipper reaches */
static char *program;
static size_t program_differs;
static char **arguments_;
static char *environment[] = {"ATTACK=x", NULL};
static const char *permitted_text = "permitted", *forbidden_text = "forbidden";
static char *permitted_path, *forbidden_path;
static const char *left, *right;

static void argument_good(void *unused) { (void)unused; memcpy(argument, permitted_text, 9); }
static void argument_evil(void *unused) { (void)unused; memcpy(argument, forbidden_text, 9); }
static void pointer_good(void *unused) { (void)unused; *(char *volatile *)&arguments_[1] = (char *)permitted_text; }
static void pointer_evil(void *unused) { (void)unused; *(char *volatile *)&arguments_[1] = (char *)forbidden_text; }
static void path_good(void *unused) { (void)unused; memcpy(program + program_differs, "good", 4); }
static void path_evil(void *unused) { (void)unused; memcpy(program + program_differs, "evil", 4); }
static void exchange(void *unused) { (void)unused; renameat2(AT_FDCWD, left, AT_FDCWD, right, RENAME_EXCHANGE); }
static int tool_fd = -1, good_fd = -1, evil_fd = -1;
static void fd_good(void *unused) { (void)unused; dup3(good_fd, tool_fd, O_CLOEXEC); }
static void fd_evil(void *unused) { (void)unused; dup3(evil_fd, tool_fd, O_CLOEXEC); }

static int spawn_vfork(void) {
    volatile int error = 0;
    pid_t child = vfork();
    if (child == 0) {
        execve(program, arguments_, environment);
        error = errno;
        _exit(127);
    }
    if (child < 0)
        return errno;
    waitpid(child, NULL, 0);
    return error;
}
static int spawn_fork(void) {
    pid_t child = fork();
    if (child == 0) {
        execve(program, arguments_, environment);
        _exit(errno);
    }
    if (child < 0)
        return errno;
    int status;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
}
static int spawn_execveat(void) {
    volatile int error = 0;
    pid_t child = vfork();
    if (child == 0) {
        syscall(SYS_execveat, tool_fd, "", arguments_, environment, AT_EMPTY_PATH);
        error = errno;
        _exit(127);
    }
    if (child < 0)
        return errno;
    waitpid(child, NULL, 0);
    return error;
}
static int spawn_proc_fd(void) {
    snprintf(program, 64, "/proc/self/fd/%d", tool_fd);
    return spawn_vfork();
}
/* The thread that is not the leader executes, while the leader rewrites: exec ends the leader and takes its number. */
static void *exec_thread(void *unused) {
    (void)unused;
    execve(program, arguments_, environment);
    /* Refused: nothing is left to rewrite. */
    _exit(126);
}
static int spawn_other_thread(void) {
    pid_t child = fork();
    if (child == 0) {
        pthread_t thread;
        argument_good(NULL);
        pthread_create(&thread, NULL, exec_thread, NULL);
        for (int round = 0; round < 1000000; round++) {
            spin(dice() % 6000);
            argument_evil(NULL);
            spin(dice() % 6000);
            argument_good(NULL);
        }
        _exit(126);
    }
    if (child < 0)
        return errno;
    int status;
    waitpid(child, &status, 0);
    return 0;
}
static char *other_arguments[3];
static char other_text[16];
static void *exec_other(void *unused) {
    (void)unused;
    execve(program, other_arguments, environment);
    return NULL;
}
/* Two execs of one process at once, one permitted, one forbidden: only one can become the program. */
static int spawn_two(void) {
    pid_t child = fork();
    if (child == 0) {
        pthread_t thread;
        strcpy(other_text, forbidden_text);
        other_arguments[0] = arguments_[0];
        other_arguments[1] = other_text;
        argument_good(NULL);
        pthread_create(&thread, NULL, exec_other, NULL);
        spin(dice() % 60000);
        execve(program, arguments_, environment);
        _exit(errno);
    }
    if (child < 0)
        return errno;
    int status;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
}
static int rewriting_child(void *flipper) {
    take_side(1);
    flip_until_stopped(flipper);
    return 0;
}

struct race {
    int class;
    const char *name;
    void (*good)(void *), (*evil)(void *);
    int (*spawn)(void);
    enum { THREAD, PROCESS, NONE } writer;
    long divide;
};

static void run(const struct race *race) {
    struct tally tally;
    if (!begin(&tally, race->class, "%s", race->name))
        return;
    struct flipper *flipper = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    flipper->harmless = race->good;
    flipper->forbidden = race->evil;
    pid_t child = 0;
    char *stack = NULL;
    if (race->writer == THREAD) {
        start_flipper(flipper);
    } else if (race->writer == PROCESS) {
        stack = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        take_side(0);
        child = clone(rewriting_child, stack + 65536, CLONE_VM | SIGCHLD, flipper);
        await_flips(flipper);
    }
    long runs = 0;
    tally.asked = wanted_attempts / race->divide;
    while (more(&tally)) {
        if (race->writer != NONE && race->good != race->evil)
            aim(flipper, tally.attempts);
        int error = race->spawn();
        count(&tally, forbidden_ran(&runs), error == 127 || error == 126 ? 0 : error);
    }
    flipper->stop = 1;
    if (race->writer == THREAD)
        stop_flipper(flipper);
    if (child)
        waitpid(child, NULL, 0);
    take_side(-1);
    note(&tally, "%ld programs ran", runs);
    report(&tally);
}

static void copy(const char *from, const char *to) {
    char bytes[65536];
    int in = open(from, O_RDONLY | O_CLOEXEC), out;
    unlink(to);
    out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
    if (in < 0 || out < 0)
        return;
    ssize_t n;
    while ((n = read(in, bytes, sizeof bytes)) > 0)
        write(out, bytes, n);
    close(in);
    close(out);
}

int main(int argc, char **argv) {
    arguments(argc, argv);
    open_marks();
    char *shared = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    argument = shared;
    program = shared + 64;
    arguments_ = (char **)(shared + 4096);
    permitted_path = strdup(at("bin/good-tool"));
    forbidden_path = strdup(at("bin/evil-tool"));
    strcpy(argument, permitted_text);
    strcpy(program, permitted_path);
    program_differs = strlen(world) + strlen("/bin/");
    arguments_[0] = "good-tool";
    arguments_[1] = argument;

    run(&(struct race){34, "argv/thread/vfork", argument_good, argument_evil, spawn_vfork, THREAD, 1});
    run(&(struct race){34, "argv/clone-vm/vfork", argument_good, argument_evil, spawn_vfork, PROCESS, 1});
    run(&(struct race){34, "argv/shared/fork", argument_good, argument_evil, spawn_fork, PROCESS, 2});
    run(&(struct race){34, "argv-pointer/thread/vfork", pointer_good, pointer_evil, spawn_vfork, THREAD, 1});
    arguments_[1] = argument;
    argument_good(NULL);
    run(&(struct race){35, "argv/other-thread", NULL, NULL, spawn_other_thread, NONE, 4});
    run(&(struct race){35, "argv/two-at-once", NULL, NULL, spawn_two, NONE, 4});
    argument_good(NULL);
    run(&(struct race){33, "path/thread/vfork", path_good, path_evil, spawn_vfork, THREAD, 1});
    run(&(struct race){33, "path/clone-vm/vfork", path_good, path_evil, spawn_vfork, PROCESS, 1});

    /* A symlink to the permitted program and one to the forbidden one change places. */
    left = strdup(at("ok/tool"));
    right = strdup(at("ok/tool2"));
    unlink(left);
    unlink(right);
    symlink("../bin/good-tool", left);
    symlink("../bin/evil-tool", right);
    strcpy(program, left);
    run(&(struct race){33, "symlink/exchange", exchange, exchange, spawn_vfork, THREAD, 1});
    /* The folder: bin with good-tool as `tool`, and a symlink that leads elsewhere. */
    unlink(left);
    unlink(right);
    mkdir(at("ok/tools"), 0755);
    copy(permitted_path, at("ok/tools/evil-tool"));
    left = strdup(at("ok/tools"));
    right = strdup(at("ok/tools2"));
    unlink(right);
    symlink("../bin", right);
    strcpy(program, at("ok/tools/evil-tool"));
    /* Natively the harmless copy and the forbidden program have one name here, so a rule by name refuses both. */
    run(&(struct race){33, "folder/exchange", exchange, exchange, spawn_vfork, THREAD, 1});
    struct stat st;
    if (!lstat(left, &st) && S_ISLNK(st.st_mode))
        exchange(NULL);
    /* A script whose interpreter changes with it. */
    left = strdup(at("ok/script"));
    right = strdup(at("ok/script2"));
    char line[4200];
    snprintf(line, sizeof line, "#!%s\n", permitted_path);
    put(left, line);
    snprintf(line, sizeof line, "#!%s\n", forbidden_path);
    put(right, line);
    chmod(left, 0755);
    chmod(right, 0755);
    strcpy(program, left);
    run(&(struct race){36, "script/exchange", exchange, exchange, spawn_vfork, THREAD, 1});
    /* An interpreter behind a symlink that changes. */
    unlink(at("ok/interpreter"));
    unlink(at("ok/interpreter2"));
    symlink("../bin/good-tool", at("ok/interpreter"));
    symlink("../bin/evil-tool", at("ok/interpreter2"));
    snprintf(line, sizeof line, "#!%s\n", at("ok/interpreter"));
    put(at("ok/script3"), line);
    chmod(at("ok/script3"), 0755);
    left = strdup(at("ok/interpreter"));
    right = strdup(at("ok/interpreter2"));
    strcpy(program, at("ok/script3"));
    run(&(struct race){36, "interpreter/exchange", exchange, exchange, spawn_vfork, THREAD, 1});
    /* The descriptor that is executed. */
    good_fd = open(permitted_path, O_PATH | O_CLOEXEC);
    evil_fd = open(forbidden_path, O_PATH | O_CLOEXEC);
    tool_fd = fcntl(good_fd, F_DUPFD_CLOEXEC, 30);
    run(&(struct race){33, "descriptor/execveat", fd_good, fd_evil, spawn_execveat, THREAD, 1});
    run(&(struct race){33, "descriptor/proc-fd", fd_good, fd_evil, spawn_proc_fd, THREAD, 1});
    return 0;
}
