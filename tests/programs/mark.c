/*
 * The program of the exec attacks: says on descriptor 9 (or in the file ATTACK_MARKS) which of its two builds it is, as whom, with what argument and with which
 * ATTACK variable it runs. No lie in argv hides which build it is.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef EVIL
#define BUILD "EVIL"
#else
#define BUILD "good"
#endif

int main(int argc, char **argv) {
    const char *value = getenv("ATTACK");
    char line[256];
    const char *name = argc > 0 ? argv[0] : "";
    const char *slash = strrchr(name, '/');
    int n = snprintf(line, sizeof line, BUILD "|%.60s|%.60s|%.60s\n", slash ? slash + 1 : name, argc > 1 ? argv[1] : "", value ? value : "");
    /* Some programs close what they do not know before they start another. */
    const char *marks = getenv("ATTACK_MARKS");
    int fd = marks ? open(marks, O_WRONLY | O_APPEND | O_CREAT, 0644) : 9;
    return write(fd, line, (size_t)n) == n ? 0 : 1;
}
