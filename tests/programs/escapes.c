/*
 * Ways past the boundary by what the kernel itself reads or keeps: the interpreter that an ELF file names, a dumped core. Each technique is one attempt; a win is an effect, as told on descriptor 9 or seen by `world check`.
 */
#include "marks.h"
#include <elf.h>
#include <sys/resource.h>

static char *usual_environment[] = {"PATH=/usr/bin:/bin", NULL};

static bool ended(pid_t child) {
    int status;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    bool win = forbidden_ran(NULL);
    errno = WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
    return win;
}
static bool runs(const char *path, char **argv) {
    pid_t child = fork();
    if (!child) {
        execve(path, argv, usual_environment);
        _exit(errno);
    }
    return ended(child);
}
#define RUN(path, ...) runs(path, (char *[]){__VA_ARGS__, NULL})

/*
 * An ELF file that is nothing but the name of its interpreter: the kernel maps that file and begins there. What the interpreter, a static
 * program, looks for in its program headers (its thread-local storage) is copied from it. `far`: the name lies behind the first page.
 */
static char *elf_that_names(const char *interpreter, const char *likes, const char *name, bool far) {
    static char bytes[16384];
    memset(bytes, 0, sizeof bytes);
    Elf64_Ehdr theirs;
    Elf64_Phdr headers[64];
    int in = open(likes, O_RDONLY | O_CLOEXEC);
    if (in < 0 || pread(in, &theirs, sizeof theirs, 0) != sizeof theirs || theirs.e_phnum > 64)
        return NULL;
    pread(in, headers, sizeof *headers * theirs.e_phnum, theirs.e_phoff);
    close(in);
    Elf64_Ehdr *elf = (Elf64_Ehdr *)bytes;
    *elf = theirs;
    elf->e_type = ET_DYN;
    elf->e_entry = 0;
    elf->e_shnum = elf->e_shstrndx = 0;
    elf->e_shoff = 0;
    elf->e_phoff = far ? 8192 : sizeof *elf;
    Elf64_Phdr *ours = (Elf64_Phdr *)(bytes + elf->e_phoff);
    size_t text = far ? 12288 : 2048;
    strcpy(bytes + text, interpreter);
    int n = 0;
    ours[n++] = (Elf64_Phdr){.p_type = PT_INTERP, .p_flags = PF_R, .p_offset = text, .p_vaddr = text, .p_paddr = text,
                             .p_filesz = strlen(interpreter) + 1, .p_memsz = strlen(interpreter) + 1, .p_align = 1};
    ours[n++] = (Elf64_Phdr){.p_type = PT_LOAD, .p_flags = PF_R, .p_filesz = sizeof bytes, .p_memsz = sizeof bytes, .p_align = 4096};
    for (int i = 0; i < theirs.e_phnum; i++)
        if (headers[i].p_type == PT_TLS)
            ours[n++] = headers[i];
    elf->e_phnum = n;
    unlink(at("%s", name));
    int out = open(at("%s", name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
    write(out, bytes, sizeof bytes);
    close(out);
    return strdup(at("%s", name));
}

static bool elf_interpreter(void) {
    char *evil = at("bin/evil-tool");
    return RUN(elf_that_names(evil, evil, "ok/innocent", false), "innocent", "x");
}
static bool elf_interpreter_far(void) {
    char *evil = at("bin/evil-tool");
    return RUN(elf_that_names(evil, evil, "ok/innocent", true), "innocent", "x");
}
static bool elf_interpreter_argument(void) {
    char *good = at("bin/good-tool");
    return RUN(elf_that_names(good, good, "ok/innocent", false), "innocent", "forbidden");
}
static bool elf_interpreter_relative(void) {
    char *file = elf_that_names("./evil-tool", at("bin/evil-tool"), "ok/innocent", false);
    chdir(at("bin"));
    bool win = RUN(file, "innocent");
    chdir("/");
    return win;
}
static bool elf_interpreter_symlink(void) {
    unlink(at("ok/interpreter"));
    symlink("../bin/evil-tool", at("ok/interpreter"));
    return RUN(elf_that_names(at("ok/interpreter"), at("bin/evil-tool"), "ok/innocent", false), "innocent");
}
static bool elf_interpreter_script(void) {
    char *file = elf_that_names(at("bin/evil-tool"), at("bin/evil-tool"), "ok/innocent", false);
    char line[4200];
    snprintf(line, sizeof line, "#!%s\n", file);
    put(at("ok/script"), line);
    chmod(at("ok/script"), 0755);
    return RUN(at("ok/script"), "script");
}
/* The interpreter's name leads elsewhere by the time the kernel follows it. */
static bool elf_interpreter_exchange(void) {
    unlink(at("ok/i1"));
    unlink(at("ok/i2"));
    symlink("../bin/good-tool", at("ok/i1"));
    symlink("../bin/evil-tool", at("ok/i2"));
    char *file = elf_that_names(at("ok/i1"), at("bin/evil-tool"), "ok/innocent", false);
    char *left = strdup(at("ok/i1")), *right = strdup(at("ok/i2"));
    pid_t other = fork();
    if (!other) {
        prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
        for (;;) {
            renameat2(AT_FDCWD, left, AT_FDCWD, right, RENAME_EXCHANGE);
            usleep(dice() % 200);
        }
    }
    bool win = false;
    for (int i = 0; i < 300 && !win; i++)
        win = RUN(file, "innocent");
    kill(other, SIGKILL);
    waitpid(other, NULL, 0);
    return win;
}
/* The file names another interpreter by the time the kernel reads it. */
static bool elf_interpreter_rewritten(void) {
    char *good = strdup(elf_that_names(at("bin/good-tool"), at("bin/evil-tool"), "ok/i-good", false));
    char *evil = strdup(elf_that_names(at("bin/evil-tool"), at("bin/evil-tool"), "ok/i-evil", false));
    static char bytes[2][16384];
    int fd = open(good, O_RDONLY);
    read(fd, bytes[0], 16384);
    close(fd);
    fd = open(evil, O_RDONLY);
    read(fd, bytes[1], 16384);
    close(fd);
    char *file = strdup(good);
    pid_t other = fork();
    if (!other) {
        prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
        for (int i = 0;; i++) {
            int out = open(file, O_WRONLY);
            if (out >= 0) {
                pwrite(out, bytes[i & 1], 16384, 0);
                close(out);
            }
            usleep(dice() % 300);
        }
    }
    bool win = false;
    for (int i = 0; i < 300 && !win; i++)
        win = RUN(file, "innocent");
    kill(other, SIGKILL);
    waitpid(other, NULL, 0);
    return win;
}

/* The kernel writes a core into the working folder. */
static bool core_dump(void) {
    struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
    pid_t child = fork();
    if (!child) {
        setrlimit(RLIMIT_CORE, &all);
        chdir(at("no/here"));
        abort();
    }
    waitpid(child, NULL, 0);
    DIR *folder = opendir(at("no/here"));
    bool win = false;
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        win |= !strncmp(entry->d_name, "core", 4);
    return win;
}

#define R(class, name) {class, "escape/" #name, name}
static const struct row rows[] = {
    R(37, elf_interpreter), R(37, elf_interpreter_far), R(37, elf_interpreter_argument), R(37, elf_interpreter_relative),
    R(37, elf_interpreter_symlink), R(37, elf_interpreter_script), R(37, elf_interpreter_exchange), R(37, elf_interpreter_rewritten),
    R(73, core_dump),
};

int main(int argc, char **argv) {
    arguments(argc, argv);
    open_marks();
    run_rows(rows, sizeof rows / sizeof *rows);
    return 0;
}
