/*
 * Class 16: the same files under another mount that was there before the session: DIR/no at DIR/ok/bound, DIR at DIR/ok/all, DIR/no/file on
 * DIR/ok/one, and an overlay over DIR/no at DIR/ok/over (made by the harness in a mount namespace of its own).
 */
#include "attack.h"

static bool reads(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd >= 0 && gives(fd, FORBIDDEN);
}
static bool writes(const char *path) {
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    bool win = fd >= 0;
    close(fd);
    return win;
}
static bool folder(void) { return reads(at("ok/bound/file")); }
static bool folder_below(void) { return reads(at("ok/bound/sub/file")); }
static bool above(void) { return reads(at("ok/all/no/file")); }
static bool file(void) { return reads(at("ok/one")); }
static bool symlink_into(void) {
    unlink(at("ok/l"));
    symlink("bound/file", at("ok/l"));
    return reads(at("ok/l"));
}
static bool hard_link_into(void) {
    unlink(at("ok/all/ok/h"));
    return !link(at("ok/all/no/file"), at("ok/all/ok/h")) && reads(at("ok/h"));
}
static bool written(void) { return writes(at("ok/all/ro/file")); }
static bool made(void) {
    int fd = open(at("ok/all/ro/planted"), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    bool win = exists(at("ro/planted"));
    unlink(at("ok/all/ro/planted"));
    close(fd);
    return win;
}
static bool removed(void) {
    bool win = !unlink(at("ok/all/ro/victim"));
    if (win)
        put(at("ok/all/ro/victim"), PRISTINE "\n");
    return win;
}
static bool renamed(void) {
    bool win = !rename(at("ok/all/ro/file"), at("ok/all/ok/taken"));
    rename(at("ok/all/ok/taken"), at("ok/all/ro/file"));
    return win;
}
static bool executed(void) {
    int status;
    pid_t child = fork();
    if (!child) {
        dup2(open("/dev/null", O_WRONLY), 9);
        execl(at("ok/all/bin/evil-tool"), "x", NULL);
        _exit(errno);
    }
    waitpid(child, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
static bool connected(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", at("ok/all/no/sock"));
    return !connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&address, sizeof address);
}
static bool overlay(void) { return reads(at("ok/over/file")); }

#define R(name) {16, "mount/" #name, name}
static const struct row rows[] = {R(folder), R(folder_below), R(above), R(file), R(symlink_into), R(hard_link_into), R(written), R(made),
                                  R(removed), R(renamed), R(executed), R(connected), R(overlay)};

int main(int argc, char **argv) {
    arguments(argc, argv);
    run_rows(rows, sizeof rows / sizeof *rows);
    return 0;
}
