/*
 * A library that is loaded into a program which a rule trusts. Run with LD_PRELOAD and:
 *     ATTACK_FILE   written by the first child whose number is ATTACK_PID, or at once and by the program itself where that is 0
 *     ATTACK_READ   a forbidden file, read by the program itself; told on descriptor 9
 */
#include "attack.h"

static void plant(const char *path) {
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (fd >= 0)
        write(fd, FORBIDDEN "\n", sizeof FORBIDDEN);
}

/* Children until each number must have come; those below 300 do not come again once the numbers have begun anew. */
static long children(void) {
    char text[32] = "";
    int fd = open("/proc/sys/kernel/pid_max", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        if (read(fd, text, sizeof text - 1) < 0)
            text[0] = 0;
        close(fd);
    }
    long numbers = atol(text);
    return numbers > 0 ? 2 * numbers : 200000;
}

__attribute__((constructor)) static void loaded(void) {
    const char *file = getenv("ATTACK_FILE"), *number = getenv("ATTACK_PID"), *secret = getenv("ATTACK_READ");
    if (secret) {
        int fd = open(secret, O_RDONLY | O_CLOEXEC);
        if (fd >= 0 && gives(fd, FORBIDDEN))
            write(9, "EVIL|read\n", 10);
    }
    if (!file)
        return;
    pid_t wanted = number ? atoi(number) : 0;
    if (!wanted)
        plant(file);
    long most = wanted ? children() : 0;
    for (long i = 0; i < most; i++) {
        pid_t child = vfork();
        if (child == 0) {
            if (syscall(SYS_getpid) == wanted)
                plant(file);
            _exit(0);
        }
        waitpid(child, NULL, 0);
        if (child == wanted)
            break;
    }
}
