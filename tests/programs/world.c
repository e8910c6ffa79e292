/*
 * Makes the folder that the attacks work in, outside any session:
 *
 *     world make DIR    no/ (neither readable nor writable by policy), ro/ (readable), ok/ (free), bin/ (programs)
 *     world seal DIR    remembers them as they are (after `outside` has made its sockets)
 *     world check DIR   prints what became of no/ and ro/: one JSON line {"changed":N,"what":"…"}; status 1 when something did
 *
 * `check` sees what an attack program inside cannot: writes into what it may not read.
 */
#include "attack.h"

static const char *manifest(char *line, size_t size, const char *path) {
    struct stat st;
    if (lstat(path, &st))
        return "gone";
    char value[64] = "";
    getxattr(path, "user.attack", value, sizeof value - 1);
    char head[32] = "";
    if (S_ISREG(st.st_mode)) {
        int fd = open(path, O_RDONLY);
        if (fd >= 0) {
            if (read(fd, head, sizeof head - 1) < 0)
                head[0] = 0;
            close(fd);
        }
        head[strcspn(head, "\n")] = 0;
    }
    snprintf(line, size, "%o %u %ld %ld.%ld [%s] [%s]", st.st_mode, (unsigned)(S_ISDIR(st.st_mode) ? 0 : st.st_nlink),
             (long)(S_ISDIR(st.st_mode) ? 0 : st.st_size), (long)(S_ISDIR(st.st_mode) ? 0 : st.st_mtim.tv_sec),
             (long)(S_ISDIR(st.st_mode) ? 0 : st.st_mtim.tv_nsec), value, head);
    return line;
}

static void list(FILE *out, const char *folder) {
    struct dirent **names;
    int n = scandir(folder, &names, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        if (strcmp(names[i]->d_name, ".") && strcmp(names[i]->d_name, "..")) {
            char path[8192], line[512];
            snprintf(path, sizeof path, "%s/%s", folder, names[i]->d_name);
            fprintf(out, "%s %s\n", path + strlen(world), manifest(line, sizeof line, path));
            struct stat st;
            if (!lstat(path, &st) && S_ISDIR(st.st_mode))
                list(out, path);
        }
        free(names[i]);
    }
    if (n >= 0)
        free(names);
}

static void save(const char *path) {
    FILE *out = fopen(path, "w");
    if (!out)
        die(path);
    list(out, at("no"));
    list(out, at("ro"));
    list(out, at("guard"));
    fclose(out);
}

/* DIR/AREA/aaa…/…/file, as long as the kernel takes it. */
static void deep(const char *area, const char *text) {
    char path[4096];
    int used = snprintf(path, sizeof path, "%s/%s", world, area);
    while (used + 210 < 4080) {
        used += snprintf(path + used, sizeof path - used, "/%0200d", 7);
        mkdir(path, 0755);
    }
    strcat(path, "/file");
    put(path, text);
}

/* The programs of the exec attacks lie beside this one. */
static void copy_program(const char *from, const char *to) {
    char source[4096];
    ssize_t n = readlink("/proc/self/exe", source, sizeof source - 1);
    if (n < 0)
        die("/proc/self/exe");
    source[n] = 0;
    strcpy(strrchr(source, '/') + 1, from);
    int in = open(source, O_RDONLY), out = open(at("%s", to), O_WRONLY | O_CREAT | O_TRUNC, 0755);
    if (in < 0 || out < 0)
        die(from);
    char bytes[65536];
    while ((n = read(in, bytes, sizeof bytes)) > 0)
        write(out, bytes, n);
    close(in);
    close(out);
}

static void make(void) {
    static const char *folders[] = {"ok", "no", "ro", "bin", "guard", "guard/iam", "guard/free", "ok/sub", "no/sub", "ro/sub", "ro/emptyd", "no/here", "by", "ws"};
    umask(022);
    mkdir(world, 0755);
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        if (mkdir(at("%s", folders[i]), 0755) && errno != EEXIST)
            die(folders[i]);
    static const struct { const char *area, *text; } areas[] = {{"ok", ALLOWED "\n"}, {"no", FORBIDDEN "\n"}, {"ro", PRISTINE "\n"}};
    for (int i = 0; i < 3; i++) {
        static const char *names[] = {"file", "victim", "sub/file"};
        for (int j = 0; j < 3; j++)
            put(at("%s/%s", areas[i].area, names[j]), areas[i].text);
        deep(areas[i].area, areas[i].text);
    }
    static const char *odd[] = {"gone (deleted)", "new\nline", " spaces ", "\xff\xfe", "memfd:x", "a:b"};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        put(at("no/%s", odd[i]), FORBIDDEN "\n");
    put(at("no/literal"), FORBIDDEN "\n");
    copy_program("mark-static", "bin/good-tool");
    copy_program("evil-static", "bin/evil-tool");
    copy_program("mark", "bin/good-dynamic");
    copy_program("evil", "bin/evil-dynamic");
    copy_program("preload.so", "bin/preload.so");
    /* Programs that packs name; class 39. */
    static const char *tools[] = {"terraform", "kubectl", "helm", "aws", "az", "gcloud", "docker", "podman", "npm", "pnpm", "cargo", "gh"};
    mkdir(at("tools"), 0755);
    for (size_t i = 0; i < sizeof tools / sizeof *tools; i++) {
        char to[32];
        snprintf(to, sizeof to, "tools/%s", tools[i]);
        copy_program("mark-static", to);
    }
    put(at("guard/iam/file"), FORBIDDEN "\n");
    put(at("guard/free/file"), ALLOWED "\n");
    /* Made before any session: class 11. */
    if (link(at("no/literal"), at("ok/old-link")) && errno != EEXIST)
        die("link");
    save(at("manifest"));
}

static int check(void) {
    save(at("manifest.now"));
    FILE *before = fopen(at("manifest"), "r"), *now = fopen(at("manifest.now"), "r");
    if (!before || !now)
        die("manifest");
    static char a[16384], b[16384], first[200];
    int changed = 0;
    for (;;) {
        char *have = fgets(a, sizeof a, before), *got = fgets(b, sizeof b, now);
        if (!have && !got)
            break;
        if (!have || !got || strcmp(a, b)) {
            if (!changed++)
                snprintf(first, sizeof first, "%.90s -> %.90s", have ? a : "nothing", got ? b : "nothing");
            if (!have || !got)
                break;
        }
    }
    for (char *c = first; *c; c++)
        if (*c == '"' || *c == '\\' || (unsigned char)*c < ' ')
            *c = ' ';
    printf("{\"changed\":%d,\"what\":\"%s\"}\n", changed, first);
    return changed ? 1 : 0;
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: world make|seal|check DIR\n");
        return 2;
    }
    world = argv[2];
    if (!strcmp(argv[1], "make")) {
        make();
        return 0;
    }
    if (!strcmp(argv[1], "seal")) {
        save(at("manifest"));
        return 0;
    }
    return check();
}
