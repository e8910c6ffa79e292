/*
 * The program of the exec attacks: says on descriptor 9 which of its two builds it is, as whom, with what argument and with which
 * ATTACK variable it runs. No lie in argv hides which build it is.
 */
#define _GNU_SOURCE
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
    return write(9, line, (size_t)n) == n ? 0 : 1;
}
