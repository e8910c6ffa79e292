/* Class 41: code that the program writes itself. It may run, and nothing becomes reachable by it: each reads DIR/no/file by its own instructions. */
#include "attack.h"

#ifdef __x86_64__
/* open(rdi, rsi) by the instruction itself: mov eax, 2; syscall; ret. */
static const unsigned char code[] = {0xb8, 2, 0, 0, 0, 0x0f, 0x05, 0xc3};
#else
/* openat(x0, x1, x2): mov x8, 56; svc 0; ret. */
static const unsigned char code[] = {0x08, 0x07, 0x80, 0xd2, 0x01, 0, 0, 0xd4, 0xc0, 0x03, 0x5f, 0xd6};
#endif

static bool runs(void *page) {
    if (page == MAP_FAILED)
        return false;
    __builtin___clear_cache(page, (char *)page + sizeof code);
#ifdef __x86_64__
    long fd = ((long (*)(const char *, int))page)(at("no/file"), O_RDONLY);
#else
    long fd = ((long (*)(int, const char *, int))page)(AT_FDCWD, at("no/file"), O_RDONLY);
#endif
    errno = fd < 0 ? -fd : 0;
    return fd >= 0 && gives(fd, FORBIDDEN);
}
static bool anonymous(void) {
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(page, code, sizeof code);
    return runs(page);
}
static bool protected_later(void) {
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(page, code, sizeof code);
    return mprotect(page, 4096, PROT_READ | PROT_EXEC) == 0 && runs(page);
}
static bool of_memory_file(void) {
    int fd = memfd_create("code", 0);
    write(fd, code, sizeof code);
    return runs(mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0));
}
static bool of_file(void) {
    int fd = open(at("ok/code"), O_RDWR | O_CREAT | O_TRUNC, 0644);
    write(fd, code, sizeof code);
    return runs(mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0));
}
static bool twice_mapped(void) {
    /* As a JIT does: one view to write, one to run. */
    int fd = memfd_create("code", 0);
    ftruncate(fd, 4096);
    void *writable = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), *runnable = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    memcpy(writable, code, sizeof code);
    return runs(runnable);
}
static bool borrowed(void) {
    /* The number in a register, the instruction borrowed from the C library. */
    long fd = syscall(SYS_openat, AT_FDCWD, at("no/file"), O_RDONLY);
    return fd >= 0 && gives(fd, FORBIDDEN);
}

#define R(name) {41, "code/" #name, name}
static const struct row rows[] = {R(anonymous), R(protected_later), R(of_memory_file), R(of_file), R(twice_mapped), R(borrowed)};

int main(int argc, char **argv) {
    arguments(argc, argv);
    run_rows(rows, sizeof rows / sizeof *rows);
    return 0;
}
