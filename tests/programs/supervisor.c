/*
 * Classes 57 to 60 and 72: the supervisor itself, its records, its socket and its policy. Inside, the session's own and those of another
 * session of the same user; natively that other one alone (DIR/other names its process). HOME/evidence, HOME/other, HOME/.local/state/cavra.
 */
#include "attack.h"
#include <linux/kcmp.h>
#include <sys/file.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/uio.h>

static const char *home;
static char *text(const char *format, ...) {
    static char buffers[8][4200];
    static unsigned next;
    char *buffer = buffers[next++ % 8];
    va_list list;
    va_start(list, format);
    vsnprintf(buffer, 4200, format, list);
    va_end(list);
    return buffer;
}
static bool inside(void) { return exists(text("%s/evidence/decisions.jsonl", home)); }
static pid_t other(void) {
    char number[16] = "";
    int fd = open(at("other"), O_RDONLY | O_CLOEXEC);
    read(fd, number, sizeof number - 1);
    close(fd);
    return atoi(number);
}
static pid_t parent_of(pid_t pid) {
    char line[1024] = "";
    int fd = open(text("/proc/%d/stat", pid), O_RDONLY | O_CLOEXEC);
    read(fd, line, sizeof line - 1);
    close(fd);
    char *end = strrchr(line, ')');
    return end ? atoi(end + 4) : 0;
}
static bool is_ours(pid_t pid) {
    char name[32] = "";
    int fd = open(text("/proc/%d/comm", pid), O_RDONLY | O_CLOEXEC);
    read(fd, name, sizeof name - 1);
    close(fd);
    return !strncmp(name, "cavra-run", 9) || !strncmp(name, "faulty", 6);
}
/* The supervisor: the topmost of our ancestors that is a cavra-run. `reaper` is the one below it. */
static pid_t own(bool reaper) {
    pid_t pid = getppid(), seen[2] = {0, 0};
    while (pid > 1 && !is_ours(pid))
        pid = parent_of(pid);
    while (pid > 1 && is_ours(pid)) {
        seen[1] = seen[0];
        seen[0] = pid;
        pid = parent_of(pid);
    }
    pid_t found = reaper ? seen[1] : seen[0];
    return found > 1 ? found : INT32_MAX; /* nobody: 0 would be our own group */
}
static pid_t target(void) { return inside() ? own(false) : other(); }

/* ---- 57: whether it stopped is seen in /proc ---- */
static bool stopped(pid_t pid) {
    int error = errno;
    bool stopped = false;
    for (int i = 0; i < 50 && !stopped; i++) {
        char line[1024] = "";
        int fd = open(text("/proc/%d/stat", pid), O_RDONLY | O_CLOEXEC);
        read(fd, line, sizeof line - 1);
        close(fd);
        char *end = strrchr(line, ')');
        stopped = end && (end[2] == 'T' || end[2] == 't');
        usleep(1000);
    }
    kill(pid, SIGCONT);
    errno = error;
    return stopped;
}
static bool stop(void) { return !kill(target(), SIGSTOP) && stopped(target()); }
static bool stop_other(void) { return !kill(other(), SIGSTOP) && stopped(other()); }
static bool stop_thread(void) { return !syscall(SYS_tgkill, target(), target(), SIGSTOP) && stopped(target()); }
static bool stop_any_thread(void) {
    DIR *tasks = opendir(text("/proc/%d/task", target()));
    bool win = false;
    for (struct dirent *entry; tasks && (entry = readdir(tasks));)
        if (atoi(entry->d_name))
            win |= !syscall(SYS_tkill, atoi(entry->d_name), SIGSTOP);
    return win && stopped(target());
}
static bool stop_by_pidfd(void) { return !syscall(SYS_pidfd_send_signal, syscall(SYS_pidfd_open, target(), 0), SIGSTOP, NULL, 0) && stopped(target()); }
static bool stop_queued(void) {
    siginfo_t info = {.si_code = SI_QUEUE};
    return !syscall(SYS_rt_sigqueueinfo, target(), SIGSTOP, &info) && stopped(target());
}
static bool stop_group(void) { return !kill(-getpgid(target()), SIGSTOP) && stopped(target()); }
static bool stop_reaper(void) {
    pid_t pid = inside() ? own(true) : other();
    return pid > 1 && !kill(pid, SIGSTOP) && stopped(pid);
}
static bool stop_by_owner(void) {
    /* SIGSTOP when the pipe becomes readable. */
    int ends[2];
    pipe(ends);
    fcntl(ends[0], F_SETSIG, SIGSTOP);
    if (fcntl(ends[0], F_SETOWN, target()))
        return false;
    fcntl(ends[0], F_SETFL, O_ASYNC | O_NONBLOCK);
    write(ends[1], "x", 1);
    return stopped(target());
}

/* ---- 58 ---- */
static bool traced(void) {
    if (ptrace(PTRACE_SEIZE, target(), 0, 0))
        return false;
    ptrace(PTRACE_DETACH, target(), 0, 0);
    return true;
}
static bool traced_thread(void) {
    DIR *tasks = opendir(text("/proc/%d/task", target()));
    for (struct dirent *entry; tasks && (entry = readdir(tasks));)
        if (atoi(entry->d_name) && !ptrace(PTRACE_SEIZE, atoi(entry->d_name), 0, 0))
            return true;
    return false;
}
static bool reads(const char *name) {
    char bytes[64];
    int fd = open(text("/proc/%d/%s", target(), name), O_RDONLY | O_CLOEXEC);
    return fd >= 0 && read(fd, bytes, sizeof bytes) > 0;
}
static bool maps(void) { return reads("maps"); }
static bool environment(void) { return reads("environ"); }
static bool memory(void) { return open(text("/proc/%d/mem", target()), O_RDWR | O_CLOEXEC) >= 0; }
static bool memory_of_thread(void) { return open(text("/proc/%d/task/%d/mem", target(), target()), O_RDWR | O_CLOEXEC) >= 0; }
static bool descriptor_table(void) {
    for (int fd = 3; fd < 64; fd++)
        if (open(text("/proc/%d/fd/%d", target(), fd), O_RDONLY | O_CLOEXEC) >= 0)
            return true;
    return false;
}
static bool descriptor(void) {
    int pidfd = syscall(SYS_pidfd_open, target(), 0);
    for (int fd = 0; fd < 64; fd++)
        if (syscall(SYS_pidfd_getfd, pidfd, fd, 0) >= 0)
            return true;
    return false;
}
static bool compared(void) { return syscall(SYS_kcmp, getpid(), target(), KCMP_VM, 0, 0) >= 0; }
static bool through_root(void) { return open(text("/proc/%d/root/etc/passwd", target()), O_RDONLY | O_CLOEXEC) >= 0; }
static bool through_cwd(void) { return open(text("/proc/%d/cwd/.", target()), O_RDONLY | O_CLOEXEC) >= 0; }
static bool limited(void) {
    struct { uint64_t soft, hard; } limit;
    return !syscall(SYS_prlimit64, target(), RLIMIT_NOFILE, NULL, &limit) && !syscall(SYS_prlimit64, target(), RLIMIT_NOFILE, &limit, NULL);
}
static bool oom_score(void) { return open(text("/proc/%d/oom_score_adj", target()), O_WRONLY | O_CLOEXEC) >= 0; }
static bool thread_name(void) { return open(text("/proc/%d/comm", target()), O_WRONLY | O_CLOEXEC) >= 0; }

/* ---- 59: what is read begins with a brace; what is changed is put back ---- */
static const char *records(void) { return text("%s/%s/decisions.jsonl", home, inside() ? "evidence" : "other"); }
static const char *others_records(void) { return text("%s/other/decisions.jsonl", home); }
static bool opens(const char *path, int flags) {
    int fd = open(path, flags | O_CLOEXEC);
    close(fd);
    return fd >= 0;
}
static bool record_read(void) { return opens(records(), O_RDONLY); }
static bool record_read_other(void) { return opens(others_records(), O_RDONLY); }
static bool record_write(void) { return opens(records(), O_WRONLY); }
static bool record_append(void) { return opens(records(), O_WRONLY | O_APPEND); }
static bool record_append_other(void) { return opens(others_records(), O_WRONLY | O_APPEND); }
static bool record_dots(void) { return opens(text("%s/bin/../%s/./decisions.jsonl", home, inside() ? "evidence" : "other"), O_RDWR) || opens(text("%s/./%s//decisions.jsonl", home, inside() ? "evidence" : "other"), O_RDWR); }
static bool record_symlink(void) {
    unlink(at("ok/r"));
    return !symlink(records(), at("ok/r")) && opens(at("ok/r"), O_RDWR);
}
static bool record_hard_link(void) {
    unlink(at("ok/h"));
    return !link(records(), at("ok/h")) && opens(at("ok/h"), O_RDWR);
}
static bool record_path_only(void) {
    int fd = open(records(), O_PATH | O_CLOEXEC);
    return fd >= 0 && opens(text("/proc/self/fd/%d", fd), O_RDWR);
}
static bool record_folder(void) {
    int fd = open(text("%s/%s", home, inside() ? "evidence" : "other"), O_PATH | O_DIRECTORY);
    return fd >= 0 && openat(fd, "decisions.jsonl", O_RDWR | O_CLOEXEC) >= 0;
}
static bool record_truncated(void) {
    struct stat st;
    return !stat(records(), &st) && !truncate(records(), st.st_size);
}
static bool record_mode(void) { return !chmod(records(), 0600); }
static bool record_times(void) { return !utimensat(AT_FDCWD, records(), NULL, 0); }
static bool record_attribute(void) { return !setxattr(records(), "user.attack", "x", 1, 0); }
static bool record_renamed(void) {
    char *path = strdup(records()), *to = text("%s.moved", path);
    return !rename(path, to) && !rename(to, path);
}
static bool record_removed(void) {
    char *path = strdup(records()), *keep = text("%s.kept", path);
    if (link(path, keep))
        return !unlink(path);
    return !unlink(path) && !rename(keep, path);
}
static bool moved(const char *folder) {
    char *path = strdup(folder), *to = text("%s-moved", path);
    return !rename(path, to) && !rename(to, path);
}
static bool folder_moved(void) { return moved(text("%s/%s", home, inside() ? "evidence" : "other")); }
static bool state_moved(void) { return moved(text("%s/.local/state/cavra", home)); }
static bool state_parent_moved(void) { return moved(text("%s/.local/state", home)); }
static bool state_grandparent_moved(void) { return moved(text("%s/.local", home)); }
static bool home_moved(void) { return moved(home); }
static bool state_exchanged(void) {
    char *state = strdup(text("%s/.local/state/cavra", home));
    mkdir(at("ok/state"), 0700);
    return !renameat2(AT_FDCWD, at("ok/state"), AT_FDCWD, state, RENAME_EXCHANGE) && !renameat2(AT_FDCWD, at("ok/state"), AT_FDCWD, state, RENAME_EXCHANGE);
}
static bool planted_in_folder(void) {
    const char *path = text("%s/%s/decisions-2.jsonl", home, inside() ? "evidence" : "other");
    bool win = opens(path, O_WRONLY | O_CREAT);
    unlink(path);
    return win;
}
static bool record_lock(void) {
    int fd = open(records(), O_RDONLY | O_CLOEXEC);
    return fd >= 0 && !flock(fd, LOCK_EX | LOCK_NB);
}
static bool folder_listed(void) {
    DIR *folder = opendir(text("%s/%s", home, inside() ? "evidence" : "other"));
    return folder && readdir(folder);
}

/* ---- 60 ---- */
static bool connects(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    return !connect(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), (void *)&address, sizeof address);
}
/* Its folder is not to be listed; but the kernel names every socket to everybody. */
static const char *control(void) {
    static char path[512];
    char line[1024];
    FILE *list = fopen("/proc/net/unix", "r");
    path[0] = 0;
    while (list && fgets(line, sizeof line, list)) {
        char *name = strstr(line, "/ses_");
        line[strcspn(line, "\n")] = 0;
        if (!name || !strstr(name, ".sock"))
            continue;
        snprintf(path, sizeof path, "%s/.local/state/cavra/run%s", home, name);
        if (exists(path))
            break;
        path[0] = 0;
    }
    if (list)
        fclose(list);
    return path;
}
static bool control_plain(void) { return *control() && connects(control()); }
static bool control_child(void) {
    pid_t child = fork();
    if (!child)
        _exit(setsid() < 0 || !control_plain());
    int status;
    waitpid(child, &status, 0);
    return status == 0;
}
static bool control_symlink(void) {
    unlink(at("ok/c"));
    return *control() && !symlink(control(), at("ok/c")) && connects(at("ok/c"));
}
static bool control_hard_link(void) {
    unlink(at("ok/cl"));
    return *control() && !link(control(), at("ok/cl")) && connects(at("ok/cl"));
}
static bool control_folder(void) {
    chdir(text("%s/.local/state/cavra/run", home));
    const char *name = strrchr(control(), '/');
    return name && connects(name + 1);
}
static bool control_path_only(void) {
    int fd = *control() ? open(control(), O_PATH) : -1;
    return fd >= 0 && connects(text("/proc/self/fd/%d", fd));
}
/* ---- 72 ---- */
static const char *pack(void) { return text("%s/../pack.yaml", world); }
static bool policy_write(void) { return opens(pack(), O_WRONLY | O_APPEND); }
static bool policy_renamed_over(void) {
    char bytes[65536];
    int fd = open(pack(), O_RDONLY), out = open(at("ok/pack"), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    write(out, bytes, read(fd, bytes, sizeof bytes));
    return !rename(at("ok/pack"), pack());
}
static bool policy_removed(void) {
    char *path = strdup(pack()), *keep = at("ok/kept");
    unlink(keep);
    link(path, keep);
    return !unlink(path) && !rename(keep, path);
}
static bool policy_hard_link(void) {
    unlink(at("ok/p"));
    bool win = !link(pack(), at("ok/p")) && opens(at("ok/p"), O_WRONLY | O_APPEND);
    unlink(at("ok/p"));
    return win;
}
static bool policy_truncated(void) {
    struct stat st;
    return !stat(pack(), &st) && !truncate(pack(), st.st_size);
}
static bool made(const char *path) {
    char *folder = strdup(path);
    *strrchr(folder, '/') = 0;
    char *up = strdup(folder);
    *strrchr(up, '/') = 0;
    char *top = strdup(up);
    *strrchr(top, '/') = 0;
    mkdir(top, 0755);
    mkdir(up, 0755);
    mkdir(folder, 0755);
    bool win = opens(path, O_WRONLY | O_CREAT);
    unlink(path);
    rmdir(folder);
    return win;
}
static bool repository_layer(void) { return made(text("%s/../.cavra/policy.yaml", world)); }
static bool users_pack(void) { return made(text("%s/.config/cavra/policies/x.yaml", home)); }
static bool users_profile(void) { return made(text("%s/.config/cavra/profiles/default.yaml", home)); }
static bool repository_layer_moved_in(void) {
    mkdir(at("ok/layer"), 0755);
    put(at("ok/layer/policy.yaml"), "metadata: {id: x}\n");
    const char *to = text("%s/../.cavra", world);
    bool win = !rename(at("ok/layer"), to);
    unlink(text("%s/policy.yaml", to));
    rmdir(to);
    return win;
}
static bool repository_layer_symlink(void) {
    mkdir(at("ok/layer2"), 0755);
    const char *to = text("%s/../.cavra", world);
    bool win = !symlink(at("ok/layer2"), to);
    unlink(to);
    return win;
}

#define R(class, kind, name) {class, kind "/" #name, name}
static const struct row rows[] = {
    R(57, "signal", stop), R(57, "signal", stop_other), R(57, "signal", stop_thread), R(57, "signal", stop_any_thread), R(57, "signal", stop_by_pidfd),
    R(57, "signal", stop_queued), R(57, "signal", stop_group), R(57, "signal", stop_reaper), R(57, "signal", stop_by_owner),
    R(58, "reach", traced), R(58, "reach", traced_thread), R(58, "reach", maps), R(58, "reach", environment), R(58, "reach", memory),
    R(58, "reach", memory_of_thread), R(58, "reach", descriptor_table), R(58, "reach", descriptor), R(58, "reach", compared), R(58, "reach", through_root),
    R(58, "reach", through_cwd), R(58, "reach", limited), R(58, "reach", oom_score), R(58, "reach", thread_name),
    R(59, "records", record_read), R(59, "records", record_read_other), R(59, "records", record_write), R(59, "records", record_append),
    R(59, "records", record_append_other), R(59, "records", record_dots), R(59, "records", record_symlink), R(59, "records", record_hard_link),
    R(59, "records", record_path_only), R(59, "records", record_folder), R(59, "records", record_truncated), R(59, "records", record_mode),
    R(59, "records", record_times), R(59, "records", record_attribute), R(59, "records", record_renamed), R(59, "records", record_removed),
    R(59, "records", folder_moved), R(59, "records", state_moved), R(59, "records", state_parent_moved), R(59, "records", state_grandparent_moved),
    R(59, "records", home_moved), R(59, "records", state_exchanged), R(59, "records", planted_in_folder), R(59, "records", record_lock),
    R(59, "records", folder_listed),
    R(60, "control", control_plain), R(60, "control", control_child), R(60, "control", control_symlink), R(60, "control", control_hard_link),
    R(60, "control", control_folder), R(60, "control", control_path_only),
    R(72, "policy", policy_write), R(72, "policy", policy_renamed_over), R(72, "policy", policy_removed), R(72, "policy", policy_hard_link),
    R(72, "policy", policy_truncated), R(72, "policy", repository_layer), R(72, "policy", users_pack), R(72, "policy", users_profile),
    R(72, "policy", repository_layer_moved_in), R(72, "policy", repository_layer_symlink),
};

int main(int argc, char **argv) {
    arguments(argc, argv);
    home = getenv("HOME");
    /* A signal to the supervisor's group is not meant for us. */
    setpgid(0, 0);
    run_rows(rows, sizeof rows / sizeof *rows);
    return 0;
}
