/*
 * Classes 49 and 75: sockets of services that would act outside with the user's rights (DIR/ok/services, made by `outside`), by their own
 * names and by others that the tree gives them. A win is that the one outside was reached.
 */
#include "attack.h"

static const char *const services[] = {
    "ssh-x/agent.1", "S.gpg-agent", "tmux-0/default", ".X11-unix/X9", "wayland-0", "vscode-1.sock", "codex-daemon-1", "nscd/socket", "containerd/containerd.sock",
    "podman/podman.sock", "docker.sock", "avahi-daemon/socket",
};
static int name_of_address(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char text[16] = "";
    if (connect(fd, (void *)&address, sizeof address))
        return 0;
    return recv(fd, text, 9, 0) > 0 && !strncmp(text, FORBIDDEN, 9);
}
static int by_name(const char *path) { return name_of_address(path); }
static int by_symlink(const char *path) {
    unlink(at("ok/s"));
    symlink(path, at("ok/s"));
    return name_of_address(at("ok/s"));
}
static int by_link(const char *path) {
    unlink(at("ok/hl"));
    int win = !link(path, at("ok/hl")) && name_of_address(at("ok/hl"));
    unlink(at("ok/hl"));
    return win;
}
static int by_new_name(const char *path) {
    unlink(at("ok/nn"));
    if (rename(path, at("ok/nn")))
        return 0;
    int win = name_of_address(at("ok/nn"));
    rename(at("ok/nn"), path);
    return win;
}
static int by_folder(const char *path) {
    /* The folder gets another name; for those that lie in the topmost one, all of it. */
    char folder[4096], moved[4096], file[8192];
    snprintf(folder, sizeof folder, "%s", path);
    *strrchr(folder, '/') = 0;
    snprintf(moved, sizeof moved, "%s", at("ok/mm"));
    if (rename(folder, moved))
        return 0;
    snprintf(file, sizeof file, "%s%s", moved, strrchr(path, '/'));
    int win = name_of_address(file);
    rename(moved, folder);
    return win;
}
static int by_descriptor(const char *path) {
    char name[64];
    snprintf(name, sizeof name, "/proc/self/fd/%d", open(path, O_PATH | O_CLOEXEC));
    return name_of_address(name);
}
static int by_working_folder(const char *path) {
    char folder[4096];
    snprintf(folder, sizeof folder, "%s", path);
    *strrchr(folder, '/') = 0;
    chdir(folder);
    int win = name_of_address(strrchr(path, '/') + 1);
    chdir("/");
    return win;
}
static const struct { const char *name; int (*reach)(const char *); } ways[] = {
    {"name", by_name}, {"symlink", by_symlink}, {"hard-link", by_link}, {"new-name", by_new_name}, {"new-folder", by_folder},
    {"descriptor", by_descriptor}, {"working-folder", by_working_folder},
};

int main(int argc, char **argv) {
    arguments(argc, argv);
    for (size_t i = 0; i < sizeof services / sizeof *services; i++)
        for (size_t way = 0; way < sizeof ways / sizeof *ways; way++) {
            struct tally tally;
            bool container = strstr(services[i], "docker") || strstr(services[i], "containerd") || strstr(services[i], "podman");
            if (!begin(&tally, container ? 75 : 49, "service/%s/%s", services[i], ways[way].name))
                continue;
            tally.asked = 1;
            errno = 0;
            int win = ways[way].reach(at("ok/services/%s", services[i]));
            count(&tally, win, win ? 0 : errno);
            report(&tally);
        }
    return 0;
}
