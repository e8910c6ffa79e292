/*
 * Class 69, as a library that is loaded into a program which rules trust when it is started without one: takes up children until one has the
 * number REUSE, which a trusted run of the same program had before, and writes TEXT into FILE from there. CHILDREN tells how many it took.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *file, *text;
static int wanted;

static int child(void *unused) {
    (void)unused;
    if (getpid() == wanted) {
        int fd = open(file, O_WRONLY | O_APPEND);
        if (fd >= 0)
            write(fd, text, strlen(text));
    }
    _exit(0);
}

__attribute__((constructor)) static void reuse(void) {
    static char stack[65536];
    const char *number = getenv("REUSE");
    file = getenv("FILE"), text = getenv("TEXT");
    if (!number || !file || !text)
        return;
    wanted = atoi(number);
    long children = 0;
    for (pid_t pid = 0; pid != wanted && children < 200000; children++) {
        pid = clone(child, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, NULL);
        waitpid(pid, NULL, 0);
    }
    printf("%s after %ld\n", children < 200000 ? "reused" : "never", children);
    fflush(stdout);
}
