// Many tasks at once: COUNT processes or threads open FILE, wait until all have, and open it again. argv: processes|threads COUNT FILE
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
static struct { int opened, failed, error, again; } *seen;
static pthread_barrier_t *all;
static const char *file;
static void once(int *count) {
    int fd = open(file, O_RDONLY);
    if (fd < 0) __atomic_add_fetch(&seen->failed, 1, 5), seen->error = errno;
    else __atomic_add_fetch(count, 1, 5), close(fd);
}
static void *task(void *arg) {
    once(&seen->opened);
    pthread_barrier_wait(all);
    once(&seen->again);
    return arg;
}
int main(int argc, char **argv) {
    if (argc != 4) return 2;
    int count = atoi(argv[2]), made = 0;
    file = argv[3];
    seen = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    all = (void *)((char *)seen + 4096);
    pthread_barrierattr_t attr;
    pthread_barrierattr_init(&attr), pthread_barrierattr_setpshared(&attr, 1);
    pthread_barrier_init(all, &attr, count);
    if (!strcmp(argv[1], "threads")) {
        pthread_t *threads = calloc(count, sizeof *threads);
        pthread_attr_t small;
        pthread_attr_init(&small), pthread_attr_setstacksize(&small, 65536);
        for (; made < count; made++)
            if (pthread_create(&threads[made], &small, task, 0)) return perror("thread"), 1;
        for (int i = 0; i < made; i++) pthread_join(threads[i], 0);
    } else {
        for (; made < count; made++) {
            pid_t pid = fork();
            if (pid < 0) return perror("fork"), 1;
            if (!pid) task(0), _exit(0);
        }
        while (wait(0) > 0);
    }
    printf("tasks %d opened %d again %d failed %d errno %d\n", made, seen->opened, seen->again, seen->failed, seen->error);
    return 0;
}
