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
static bool itself(void) { return planted(0); }

int main(int argc, char **argv) {
    arguments(argc, argv);
    static const struct row rows[] = {{69, "reuse/number-of-a-trusted-program", reused}, {69, "trust/library-in-a-trusted-program", itself}};
    for (int i = 0; i < 2; i++) {
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
