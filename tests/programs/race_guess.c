// What a supervisor guesses of a path may be old by the time it acts. `race_guess FOLDER ATTEMPTS TECHNIQUE` prints attempts, opened and wins;
// a win is a file that the path led to at no moment.
//   cwd, dirfd      the folder that a relative path starts at changes its name with another one, in which a file of the same name lies
//   composed        the same by a name that was asked for before: the control
//   turned          a link is turned to another file after each open; FIFOs take the place of where it led
//   chdir           another thread changes the working folder between an allowed and a forbidden one
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
static volatile int go = 1;
static int folder, home, other;
static void must(int ok, const char *what) {
    if (!ok) perror(what), exit(2);
}
static void put(int at, const char *name, const char *text) {
    int fd = openat(at, name, O_CREAT | O_TRUNC | O_WRONLY, 0644);
    must(fd >= 0 && write(fd, text, strlen(text)) > 0 && !close(fd), name);
}
static void *exchange(void *arg) {
    while (go) renameat2(folder, "home", folder, "other", RENAME_EXCHANGE);
    return arg;
}
static void *wander(void *arg) {
    while (go) fchdir(home), fchdir(other);
    return arg;
}
static int composed(void) {
    char name[4096];
    ssize_t len = readlink("/proc/self/cwd", name, sizeof name - 8);
    must(len > 0, "readlink");
    strcpy(name + len, "/file");
    return open(name, O_RDONLY);
}
static int holds(int fd, const char *text) {
    char found[16] = {0};
    return read(fd, found, sizeof found - 1) >= 0 && !strncmp(found, text, strlen(text));
}
static int turned(int attempts) {
    int wins = 0;
    put(home, "file", "TRUE"), put(other, "file", "FALSE");
    for (int i = 0; i < attempts; i++) {
        const char *to = i & 1 ? "home/file" : "other/file", *from = i & 1 ? "other/file" : "home/file";
        unlinkat(folder, "link", 0), unlinkat(folder, to, 0), unlinkat(folder, from, 0);
        must(!symlinkat(to, folder, "link"), "link");
        put(folder, to, i & 1 ? "TRUE" : "FALSE");
        must(!mkfifoat(folder, from, 0600), "fifo");
        for (int again = 0; again < 2; again++) {
            int fd = openat(folder, "link", O_RDONLY);
            must(fd >= 0, "open");
            wins += !holds(fd, i & 1 ? "TRUE" : "FALSE") || fcntl(fd, F_GETFL) & O_NONBLOCK;
            close(fd);
        }
    }
    return wins;
}
int main(int argc, char **argv) {
    if (argc != 4) return 2;
    int attempts = atoi(argv[2]), wins = 0, opened = 0;
    mkdir(argv[1], 0755);
    folder = open(argv[1], O_PATH | O_DIRECTORY);
    mkdirat(folder, "home", 0755), mkdirat(folder, "other", 0755);
    home = openat(folder, "home", O_PATH | O_DIRECTORY), other = openat(folder, "other", O_PATH | O_DIRECTORY);
    must(folder >= 0 && home >= 0 && other >= 0 && !fchdir(home), "folders");
    if (!strcmp(argv[3], "turned")) {
        wins = turned(attempts), opened = 2 * attempts;
    } else {
        int chdir = !strcmp(argv[3], "chdir");
        // In the forbidden folder the file was made before the session.
        put(home, "file", "TRUE");
        if (!chdir) put(other, "file", "FALSE");
        pthread_t thread;
        pthread_create(&thread, 0, chdir ? wander : exchange, 0);
        for (int i = 0; i < attempts; i++) {
            int fd = !strcmp(argv[3], "dirfd") ? openat(home, "file", O_RDONLY) : !strcmp(argv[3], "composed") ? composed() : open("file", O_RDONLY);
            if (fd < 0) continue;
            opened++;
            wins += !holds(fd, "TRUE");
            close(fd);
        }
        go = 0;
        pthread_join(thread, 0);
    }
    printf("attempts %d opened %d wins %d\n", attempts, opened, wins);
    return 0;
}
