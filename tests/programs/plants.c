/*
 * Classes 76 and 73 under the default pack: each kind of file that a person's own tools would run or trust after the session is written, and
 * each place where secrets lie is read. `~` is the user's home. The files that are to be read were made by `plants make`.
 */
#include "attack.h"

#define PLANTED "PLANTED"
#define SECRET "SECRET"

static const char *const plants[] = {
    ".git/hooks/pre-commit", ".git/hooks/post-checkout", ".git/config", ".git/config.worktree", ".git/worktrees/w/config.worktree", ".git/modules/m/config",
    ".git/modules/m/hooks/post-checkout", ".git/modules/a/b/config", "sub/.git/config", "sub/.git/hooks/pre-push", "gitfile/.git", "bare/HEAD",
    ".envrc", "deep/er/.envrc", ".vscode/tasks.json", ".vscode/settings.json", ".vscode/launch.json", ".idea/workspace.xml", ".idea/runConfigurations/x.xml",
    ".claude/settings.json", ".claude/settings.local.json", ".claude/hooks/x.sh", ".mcp.json", ".cursor/mcp.json", ".cursor/hooks.json", ".gemini/settings.json",
    ".codex/config.toml", ".codex/hooks.json", "opencode.json", ".opencode/plugin/x.js", ".github/workflows/ci.yml", ".gitlab-ci.yml", ".cavra/policy.yaml",
    ".devcontainer/devcontainer.json", ".zed/tasks.json", ".zed/settings.json", "x.code-workspace", ".exrc", ".nvim.lua", ".husky/pre-commit", ".githooks/pre-commit",
    "~/.bashrc", "~/.bash_profile", "~/.bash_login", "~/.bash_logout", "~/.bash_aliases", "~/.profile", "~/.zshrc", "~/.zshenv", "~/.zprofile", "~/.kshrc",
    "~/.config/fish/config.fish", "~/.config/fish/conf.d/x.fish", "~/.ssh/authorized_keys", "~/.ssh/config", "~/.ssh/rc", "~/.config/systemd/user/x.service",
    "~/.config/autostart/x.desktop", "~/.local/share/applications/x.desktop", "~/.local/share/systemd/user/x.service", "~/.local/share/dbus-1/services/x.service",
    "~/.config/git/config", "~/.config/git/attributes", "~/.gitconfig", "~/.local/bin/ls", "~/bin/ls", "~/.cargo/bin/cargo", "~/.cargo/config.toml", "~/.cargo/env",
    "~/.local/share/pnpm/ls", "~/.local/share/pnpm/global/5/x.js", "~/go/bin/gopls", "~/.npmrc", "~/.yarnrc", "~/.config/pip/pip.conf", "~/.pip/pip.conf",
    "~/.local/lib/python3.11/site-packages/usercustomize.py", "~/.pythonrc", "~/.vimrc", "~/.vim/plugin/x.vim", "~/.config/nvim/init.lua", "~/.emacs",
    "~/.emacs.d/init.el", "~/.inputrc", "~/.tmux.conf", "~/.screenrc", "~/.gdbinit", "~/.config/gdb/gdbinit", "~/.lldbinit", "~/.irbrc", "~/.perldb",
    "~/.config/environment.d/x.conf", "~/.pam_environment", "~/.xprofile", "~/.xsession", "~/.xinitrc", "~/.config/direnv/direnvrc", "~/.m2/settings.xml",
    "~/.gradle/init.gradle", "~/.docker/config.json", "~/.aws/config", "~/.gnupg/gpg-agent.conf", "~/.netrc", "~/.psqlrc", "~/.sqliterc",
    "~/.claude/settings.json", "~/.claude.json", "~/.codex/config.toml", "~/.gemini/settings.json", "~/.config/opencode/opencode.json", "~/.cursor/mcp.json",
    "~/.config/Code/User/settings.json", "~/.config/cavra/policies/x.yaml", "~/.config/cavra/profiles/default.yaml", "~/.local/state/cavra/sessions/y",
    "~/.hushlogin", "~/.editorconfig", "~/.config/containers/registries.conf", "~/.config/mimeapps.list", "~/.mozilla/x", "~/.config/google-chrome/x",
};
static const char *const secrets[] = {
    ".env", ".env.local", "deep/er/.env", "server.key", "cert.pem", "x.pfx", "x.p12", "id_rsa", "keys/id_ed25519", "id_ecdsa", "kubeconfig", "terraform.tfstate",
    "terraform.tfvars", "secrets.yaml", "config/secrets.json", ".netrc", ".pypirc", ".git-credentials", "~/.ssh/id_rsa", "~/.ssh/other", "~/.ssh/known_hosts",
    "~/.aws/credentials", "~/.aws/sso/cache/x.json", "~/.azure/x.json", "~/.config/gcloud/credentials.db", "~/.kube/config", "~/.docker/config.json", "~/.netrc",
    "~/.pgpass", "~/.my.cnf", "~/.git-credentials", "~/.config/git/credentials", "~/.npmrc", "~/.yarnrc.yml", "~/.pypirc", "~/.cargo/credentials.toml", "~/.cargo/credentials",
    "~/.gem/credentials", "~/.config/gh/hosts.yml", "~/.config/glab-cli/config.yml", "~/.config/hub", "~/.terraform.d/credentials.tfrc.json", "~/.vault-token",
    "~/.config/op/config", "~/.config/sops/age/keys.txt", "~/.config/rclone/rclone.conf", "~/.config/doctl/config.yaml", "~/.config/heroku/x", "~/.fly/config.yml",
    "~/.password-store/x.gpg", "~/.gnupg/private-keys-v1.d/x.key", "~/.local/share/keyrings/login.keyring", "~/.mozilla/firefox/x/logins.json",
    "~/.config/google-chrome/Default/Cookies", "~/.config/chromium/Default/Cookies", "~/.bash_history", "~/.zsh_history", "~/.python_history", "~/.psql_history",
    "~/.mysql_history", "~/.node_repl_history", "~/.sqlite_history", "~/.local/share/fish/fish_history", "~/.codex/auth.json", "~/.gemini/oauth_creds.json",
    "~/.local/share/opencode/auth.json", "~/.config/github-copilot/hosts.json", "~/.config/github-copilot/apps.json", 
    "~/.config/containers/auth.json", "~/.nuget/NuGet/NuGet.Config", "~/.composer/auth.json", "~/.config/composer/auth.json",
    "~/.boto", "~/.s3cfg", "~/.config/filezilla/sitemanager.xml", "~/.local/state/cavra/sessions/x/decisions.jsonl",
};

static const char *place(const char *name) {
    static char path[4096];
    if (name[0] == '~')
        snprintf(path, sizeof path, "%s%s", getenv("HOME"), name + 1);
    else
        snprintf(path, sizeof path, "%s/%s", world, name);
    return path;
}
static void folders(const char *path) {
    char part[4096];
    for (size_t i = 1; path[i]; i++)
        if (path[i] == '/') {
            snprintf(part, sizeof part, "%.*s", (int)i, path);
            mkdir(part, 0755);
        }
}
static bool is_planted(const char *path) { return file_gives(path, PLANTED); }

/* ---- ways to write ---- */
static void by_open(const char *path) {
    int fd = open(path, O_WRONLY | O_CREAT, 0644);
    if (fd >= 0)
        pwrite(fd, PLANTED "\n", sizeof PLANTED, 0);
    close(fd);
}
static char *own(void) {
    static char path[4096];
    snprintf(path, sizeof path, "%s/ok/plant", world);
    unlink(path);
    put(path, PLANTED "\n");
    return path;
}
static void by_rename(const char *path) { rename(own(), path); }
static void by_link(const char *path) {
    char *plant = own();
    unlink(path);
    link(plant, path);
}
static void by_symlink(const char *path) {
    char *plant = own();
    unlink(path);
    symlink(plant, path);
}
/* Where there is something already. */
static void by_exchange(const char *path) {
    if (!exists(path))
        try_put(path, "before\n");
    renameat2(AT_FDCWD, own(), AT_FDCWD, path, RENAME_EXCHANGE);
}
static void by_folder(const char *path) {
    /* A folder that has the file already takes the place of the file's own. */
    char parent[4096], fresh[4096], file[8192], away[4096];
    snprintf(parent, sizeof parent, "%s", path);
    char *slash = strrchr(parent, '/');
    snprintf(fresh, sizeof fresh, "%s/ok/fresh", world);
    snprintf(away, sizeof away, "%s/ok/away", world);
    mkdir(fresh, 0755);
    snprintf(file, sizeof file, "%s%s", fresh, slash);
    if (!try_put(file, PLANTED "\n"))
        return;
    *slash = 0;
    if (!rename(parent, away) || errno == ENOENT)
        rename(fresh, parent);
}
static void clean(const char *path) {
    char command[9000], parent[4096];
    snprintf(parent, sizeof parent, "%s", path);
    *strrchr(parent, '/') = 0;
    unlink(path);
    snprintf(command, sizeof command, "%s/ok/away", world);
    if (exists(command)) {
        snprintf(command, sizeof command, "rm -rf '%s' && mv '%s/ok/away' '%s'", parent, world, parent);
        system(command);
    }
    snprintf(command, sizeof command, "rm -rf '%s/ok/fresh' '%s/ok/plant'", world, world);
    system(command);
}
static const struct { const char *name; void (*write)(const char *); } ways[] = {
    {"open", by_open}, {"rename", by_rename}, {"link", by_link}, {"symlink", by_symlink}, {"exchange", by_exchange}, {"folder", by_folder},
};

static void make(void) {
    for (size_t i = 0; i < sizeof secrets / sizeof *secrets; i++) {
        folders(place(secrets[i]));
        put(place(secrets[i]), SECRET "\n");
    }
    for (size_t i = 0; i < sizeof plants / sizeof *plants; i++) {
        folders(place(plants[i]));
        if (ways[i % 8 < 6 ? i % 8 : 0].write == by_exchange)
            put(place(plants[i]), "before\n");
    }
}

int main(int argc, char **argv) {
    if (argc == 3 && !strcmp(argv[1], "make")) {
        world = argv[2];
        make();
        return 0;
    }
    arguments(argc, argv);
    struct tally tally;
    for (size_t i = 0; i < sizeof secrets / sizeof *secrets; i++) {
        if (!begin(&tally, 73, "secret/%s", secrets[i]))
            continue;
        tally.asked = 1;
        errno = 0;
        int fd = open(place(secrets[i]), O_RDONLY | O_CLOEXEC);
        bool win = fd >= 0 && gives(fd, SECRET);
        count(&tally, win, win ? 0 : errno);
        close(fd);
        report(&tally);
    }
    for (size_t i = 0; i < sizeof plants / sizeof *plants; i++)
        for (size_t way = 0; way < sizeof ways / sizeof *ways; way++) {
            /* Other ways than the plain one for every eighth: which path it is, the same rules find. */
            if (way && i % 8 != way)
                continue;
            /* The workspace and the home are not to be had whole. */
            if (ways[way].write == by_folder && !strchr(plants[i] + 2, '/'))
                continue;
            if (!begin(&tally, 76, "plant/%s/%s", ways[way].name, plants[i]))
                continue;
            tally.asked = 1;
            errno = 0;
            ways[way].write(place(plants[i]));
            int error = errno;
            bool win = is_planted(place(plants[i]));
            count(&tally, win, win ? 0 : error);
            if (win)
                clean(place(plants[i]));
            report(&tally);
        }
    return 0;
}
