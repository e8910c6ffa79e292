/*
 * What one layer keeps out when the others do not: the rows of tests/attacks run these in sessions without the guard that refuses them first.
 * `floor/`: calls that no filter sees, made by a ring of io_uring; the floor of the tree refuses them. `envelope/`: writes that the policy would
 * not allow, performed by a supervisor that was told to; its own envelope refuses them. A win is the effect.
 */
#include "attack.h"
#include <arpa/inet.h>
#include <linux/io_uring.h>

/* Links and renames stay in their folder: out of it they would need a right that every domain withholds, whatever else it grants. */

/* One entry through a ring of its own; what came of it. */
static int ring(struct io_uring_sqe entry) {
    struct io_uring_params parameters = {0};
    int fd = syscall(SYS_io_uring_setup, 4, &parameters);
    if (fd < 0)
        return -errno;
    char *queue = mmap(NULL, parameters.sq_off.array + 4 * 4, PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQ_RING);
    char *done = mmap(NULL, parameters.cq_off.cqes + 8 * sizeof(struct io_uring_cqe), PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_CQ_RING);
    struct io_uring_sqe *entries = mmap(NULL, 4 * sizeof *entries, PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQES);
    if (queue == MAP_FAILED || done == MAP_FAILED || entries == MAP_FAILED)
        return -errno;
    entries[0] = entry;
    ((unsigned *)(queue + parameters.sq_off.array))[0] = 0;
    __atomic_store_n((unsigned *)(queue + parameters.sq_off.tail), 1, __ATOMIC_RELEASE);
    if (syscall(SYS_io_uring_enter, fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
        return -errno;
    int result = ((struct io_uring_cqe *)(done + parameters.cq_off.cqes))->res;
    errno = result < 0 ? -result : 0;
    return result;
}
static int ring_open(const char *path, int flags) {
    return ring((struct io_uring_sqe){.opcode = IORING_OP_OPENAT, .fd = AT_FDCWD, .addr = (uintptr_t)path, .len = 0644, .open_flags = flags});
}
static bool floor_write(void) {
    int fd = ring_open(at("ro/file"), O_WRONLY);
    return fd >= 0 && write(fd, "x", 1) == 1 && !file_gives(at("ro/file"), PRISTINE);
}
static bool floor_truncate(void) {
    ring_open(at("ro/victim"), O_WRONLY | O_TRUNC);
    struct stat st;
    return !stat(at("ro/victim"), &st) && st.st_size == 0;
}
static bool floor_create(void) { return ring_open(at("no/planted"), O_WRONLY | O_CREAT) >= 0 && exists(at("no/planted")); }
static bool floor_mkdir(void) {
    return ring((struct io_uring_sqe){.opcode = IORING_OP_MKDIRAT, .fd = AT_FDCWD, .addr = (uintptr_t)at("no/made"), .len = 0755}) == 0 && exists(at("no/made"));
}
static bool floor_symlink(void) {
    return ring((struct io_uring_sqe){.opcode = IORING_OP_SYMLINKAT, .fd = AT_FDCWD, .addr = (uintptr_t)"x", .addr2 = (uintptr_t)at("no/linked")}) == 0 && exists(at("no/linked"));
}
static bool floor_link(void) {
    return ring((struct io_uring_sqe){.opcode = IORING_OP_LINKAT, .fd = AT_FDCWD, .len = (unsigned)AT_FDCWD, .addr = (uintptr_t)at("no/file"), .addr2 = (uintptr_t)at("no/hard")}) == 0 && exists(at("no/hard"));
}
static bool floor_rename(void) {
    return ring((struct io_uring_sqe){.opcode = IORING_OP_RENAMEAT, .fd = AT_FDCWD, .len = (unsigned)AT_FDCWD, .addr = (uintptr_t)at("no/sub/file"), .addr2 = (uintptr_t)at("no/sub/taken")}) == 0 && exists(at("no/sub/taken"));
}
static bool floor_unlink(void) {
    return ring((struct io_uring_sqe){.opcode = IORING_OP_UNLINKAT, .fd = AT_FDCWD, .addr = (uintptr_t)at("no/victim")}) == 0 && !exists(at("no/victim"));
}
static bool floor_connect(void) {
    const char *port = getenv("NAIVE_PORT");
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port ? atoi(port) : 0), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return ring((struct io_uring_sqe){.opcode = IORING_OP_CONNECT, .fd = fd, .addr = (uintptr_t)&to, .off = sizeof to}) == 0;
}

static bool envelope_write(void) {
    int fd = open(at("ro/file"), O_WRONLY);
    return fd >= 0 && write(fd, "x", 1) == 1 && !file_gives(at("ro/file"), PRISTINE);
}
static bool envelope_truncate(void) { return truncate(at("ro/victim"), 0) == 0; }
static bool envelope_create(void) { return open(at("no/planted"), O_WRONLY | O_CREAT, 0644) >= 0 && exists(at("no/planted")); }
static bool envelope_mkdir(void) { return mkdir(at("no/made"), 0755) == 0 && exists(at("no/made")); }
static bool envelope_symlink(void) { return symlink("x", at("no/linked")) == 0 && exists(at("no/linked")); }
static bool envelope_mknod(void) { return mkfifo(at("no/pipe"), 0600) == 0 && exists(at("no/pipe")); }
static bool envelope_link(void) { return link(at("ok/file"), at("no/hard")) == 0 && exists(at("no/hard")); }
static bool envelope_rename(void) { return rename(at("no/sub/file"), at("ok/taken")) == 0 && exists(at("ok/taken")); }
static bool envelope_unlink(void) { return unlink(at("no/victim")) == 0 && !exists(at("no/victim")); }
static bool envelope_rmdir(void) { return rmdir(at("ro/emptyd")) == 0 && !exists(at("ro/emptyd")); }
static bool envelope_bind(void) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    snprintf(to.sun_path, sizeof to.sun_path, "%s", at("no/bound"));
    return bind(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), (struct sockaddr *)&to, sizeof to) == 0 && exists(at("no/bound"));
}

#define F(class, name) {class, "floor/" #name, floor_##name}
#define E(class, name) {class, "envelope/" #name, envelope_##name}
static const struct row rows[] = {
    F(22, write), F(22, truncate), F(22, create), F(22, mkdir), F(22, symlink), F(22, link), F(22, rename), F(22, unlink), F(22, connect),
    E(17, write), E(17, truncate), E(19, create), E(19, mkdir), E(19, symlink), E(19, mknod), E(19, link), E(17, rename), E(17, unlink),
    E(17, rmdir), E(19, bind),
};

int main(int argc, char **argv) {
    arguments(argc, argv);
    run_rows(rows, sizeof rows / sizeof *rows);
    return 0;
}
