/* The pipe on which `mark` and its forbidden build tell that they ran. */
#ifndef MARKS_H
#define MARKS_H
#include "attack.h"

enum { MARK_FD = 9 };
static int marks_in = -1;

static inline void open_marks(void) {
    int ends[2];
    if (pipe(ends))
        die("pipe");
    marks_in = fcntl(ends[0], F_DUPFD_CLOEXEC, 20);
    fcntl(marks_in, F_SETFL, O_NONBLOCK);
    dup2(ends[1], MARK_FD);
    close(ends[0]);
    if (ends[1] != MARK_FD)
        close(ends[1]);
}

/* Reads what was said since the last time; whether a forbidden build or a forbidden argument ran. `runs` counts all. */
static inline bool forbidden_ran(long *runs) {
    char bytes[65536];
    ssize_t n = read(marks_in, bytes, sizeof bytes - 1);
    if (n <= 0)
        return false;
    bytes[n] = 0;
    for (char *c = bytes; *c && runs; c++)
        *runs += *c == '\n';
    return strstr(bytes, "EVIL|") || strstr(bytes, "|forbidden|");
}
#endif
