/*
 * Class 69: a process gets the number of one that was trusted. A rule lets /usr/bin/true write below DIR/by; true with a library in it is
 * another program under the same file's name, and forks until a child has the number that an honest true had.
 */
#include "attack.h"

static pid_t runs(char **environment) {
    pid_t child = fork();
    if (!child) {
        execve("/usr/bin/true", (char *[]){"true", NULL}, environment);
        _exit(127);
    }
    waitpid(child, NULL, 0);
    return child;
}
static bool planted(pid_t number) {
    char preload[4200], file[4200], wanted[64];
    snprintf(preload, sizeof preload, "LD_PRELOAD=%s", at("bin/preload.so"));
    snprintf(file, sizeof file, "ATTACK_FILE=%s", at("by/planted"));
    snprintf(wanted, sizeof wanted, "ATTACK_PID=%d", number);
    runs((char *[]){preload, file, wanted, NULL});
    bool win = exists(at("by/planted"));
    unlink(at("by/planted"));
    return win;
}
static bool reused(void) { return planted(runs((char *[]){NULL})); }
/* The number is given anew in the moment in which it is free: as long as nobody has waited for the trusted one, the numbers go round to it. */
static bool freed(void) {
    pid_t honest = fork();
    if (!honest) {
        execve("/usr/bin/true", (char *[]){"true", NULL}, (char *[]){NULL});
        _exit(127);
    }
    siginfo_t ended;
    waitid(P_PID, honest, &ended, WEXITED | WNOWAIT);
    close(open(at("ok/new"), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    for (int i = 0; i < 2000; i++) {
        pid_t child = vfork();
        if (!child)
            _exit(0);
        waitpid(child, NULL, 0);
        if (child == honest - 1)
            break;
    }
    waitpid(honest, NULL, 0);
    pid_t child = vfork();
    if (!child) {
        if (syscall(SYS_getpid) == honest)
            rename(at("ok/new"), at("by/planted"));
        _exit(0);
    }
    waitpid(child, NULL, 0);
    bool win = exists(at("by/planted"));
    unlink(at("by/planted"));
    return win;
}
static bool itself(void) { return planted(0); }

int main(int argc, char **argv) {
    arguments(argc, argv);
    static const struct row rows[] = {{69, "reuse/number-of-a-trusted-program", reused}, {69, "freed/number-of-a-trusted-program", freed}, {69, "trust/library-in-a-trusted-program", itself}};
    for (int i = 0; i < 3; i++) {
        struct tally tally;
        if (!begin(&tally, rows[i].class, "%s", rows[i].name))
            continue;
        while (more(&tally)) {
            errno = 0;
            bool win = rows[i].attack();
            count(&tally, win, win ? 0 : errno);
        }
        report(&tally);
    }
    return 0;
}
