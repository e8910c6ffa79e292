// Class 34: another process that shares the memory rewrites argv during execve. argv: PROGRAM ATTEMPTS; PROGRAM appends its argument to ./ran.
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int argc, char **argv) {
    if (argc != 3) return 2;
    char *word = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    strcpy(word, "plan_");
    pid_t swapper = fork();
    if (!swapper) for (unsigned i = 0;; i++) memcpy(word, i & 1 ? "apply" : "plan_", 5);
    int attempts = atoi(argv[2]);
    for (int i = 0; i < attempts; i++) {
        pid_t child = vfork();
        if (!child) {
            execl(argv[1], argv[1], word, (char *)0);
            _exit(1);
        }
        waitpid(child, 0, 0);
    }
    kill(swapper, 9);
    waitpid(swapper, 0, 0);
    printf("attempts %d\n", attempts);
    return 0;
}
