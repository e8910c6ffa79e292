// Leaves a mark for each run: appends its first argument to ./ran.
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
int main(int argc, char **argv) {
    int fd = open("ran", O_WRONLY | O_CREAT | O_APPEND, 0600);
    char line[64] = {0};
    strncpy(line, argc > 1 ? argv[1] : "", 60);
    strcat(line, "\n");
    return write(fd, line, strlen(line)) < 0;
}
