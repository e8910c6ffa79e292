/* Class 30: what the launcher leaves open, sets or ignores. A win is that the tree has it. */
#include "attack.h"

static bool descriptor(void) {
    for (int fd = 3; fd < 1024; fd++)
        if (fd != world_fd && gives(fd, FORBIDDEN))
            return true;
    return false;
}
static bool descriptor_write(void) {
    for (int fd = 3; fd < 1024; fd++)
        if ((fcntl(fd, F_GETFL) & O_ACCMODE) == O_WRONLY)
            return true;
    return false;
}
static bool folder(void) {
    for (int fd = 3; fd < 1024; fd++) {
        int file = fd == world_fd ? -1 : openat(fd, "file", O_RDONLY | O_CLOEXEC);
        if (file >= 0 && gives(file, FORBIDDEN))
            return true;
    }
    return false;
}
static bool has(const char *name) { return getenv(name) != NULL; }
#define VARIABLE(id, name) static bool id(void) { return has(name); }
VARIABLE(preload, "LD_PRELOAD")
VARIABLE(audit, "LD_AUDIT")
VARIABLE(gconv, "GCONV_PATH")
VARIABLE(bash_env, "BASH_ENV")
VARIABLE(secret_key, "AWS_SECRET_ACCESS_KEY")
VARIABLE(token, "GITHUB_TOKEN")
VARIABLE(agent, "SSH_AUTH_SOCK")
VARIABLE(database, "DATABASE_URL")
static bool cwd(void) {
    char *slash, here[4096];
    getcwd(here, sizeof here);
    /* The launcher stood in "/", outside the workspace. */
    return (slash = strrchr(here, '/')) && slash[1] == 0;
}
static bool keyring(void) { return syscall(SYS_keyctl, 0 /* GET_KEYRING_ID */, -3 /* session */, 0) > 0; }

#define R(name) {30, "inherited/" #name, name}
static const struct row rows[] = {R(descriptor), R(descriptor_write), R(folder), R(preload), R(audit), R(gconv), R(bash_env), R(secret_key),
                                  R(token), R(agent), R(database), R(cwd), R(keyring)};

int main(int argc, char **argv) {
    arguments(argc, argv);
    run_rows(rows, sizeof rows / sizeof *rows);
    return 0;
}
