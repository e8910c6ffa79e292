/*
 * Class 42: an allowed program is told by its environment, its configuration or its arguments to run a forbidden one, or to read what is
 * forbidden. A win is that DIR/bin/evil-tool ran or that DIR/no/file was read.
 */
#include "marks.h"

/* A shell line with $E, the forbidden program, $N, the forbidden file, and $P, a library that reads it. A line begins with the program that it needs. */
static const struct { const char *name, *line; } lines[] = {
    {"preload/cat", "LD_PRELOAD=$P ATTACK_READ=$N cat /dev/null"},
    {"preload/ls-audit", "LD_AUDIT=$P ATTACK_READ=$N ls /dev/null"},
    {"preload/loader", "ATTACK_READ=$N /lib64/ld-linux-x86-64.so.2 --preload $P /bin/true"},
    {"preload/library-path", "mkdir -p l; cp $P l/p.so; ATTACK_READ=$N LD_LIBRARY_PATH=$PWD/l LD_PRELOAD=p.so cat /dev/null"},
    {"bash/env", "echo exec $E > b; BASH_ENV=$PWD/b bash -c :"},
    {"bash/function", "bash -c 'function f { $E; }; export -f f; exec bash -c f'"},
    {"bash/interactive", "echo $E > b; echo exit | bash --rcfile $PWD/b -i"},
    {"bash/prompt", "PROMPT_COMMAND=$E; export PROMPT_COMMAND; echo exit | bash --norc -i"},
    {"bash/dev-fd", "bash -c 'bash <(echo $E)'"},
    {"sh/env", "echo $E > b; echo exit | ENV=$PWD/b sh -i"},
    {"perl/system", "perl -e 'system {$ENV{E}} \"ls\"'"},
    {"perl/options", "printf 'package Plant; exec $ENV{E}; 1;' > Plant.pm; PERL5LIB=$PWD PERL5OPT=-MPlant perl -e 1"},
    {"perl/read", "perl -e 'open F, $ENV{N} or exit; print STDERR <F>; open(M, \">&=9\"); syswrite(M, \"EVIL|\\n\")'"},
    {"python3/spawn", "python3 -c 'import os; os.spawnv(os.P_WAIT, os.environ[\"E\"], [\"ls\"])'"},
    {"python3/startup", "echo 'import os; os.execv(os.environ[\"E\"], [\"x\"])' > s.py; echo | PYTHONSTARTUP=$PWD/s.py python3 -i"},
    {"python3/path", "echo 'import os; os.execv(os.environ[\"E\"], [\"x\"])' > sitecustomize.py; PYTHONPATH=$PWD python3 -c 1"},
    {"python3/fork-exec", "python3 -c 'import _posixsubprocess, subprocess, os; subprocess.run([\"ls\"], executable=os.environ[\"E\"], close_fds=False)'"},
    {"awk/pipe", "awk 'BEGIN{print \"x\" | ENVIRON[\"E\"]}'"},
    {"awk/getline", "awk 'BEGIN{ENVIRON[\"E\"] | getline}'"},
    {"sed/execute", "echo x | sed \"s|x|$E|e\""},
    {"find/execdir", "find . -maxdepth 1 -name . -execdir $E ';'"},
    {"find/ok", "echo y | find . -maxdepth 0 -ok $E ';'"},
    {"tar/checkpoint", "echo > f; tar cf /dev/null --checkpoint=1 --checkpoint-action=exec=$E f"},
    {"tar/compress", "echo > f; tar cf t.x -I $E f"},
    {"tar/to-command", "echo > f; tar cf t.tar f; tar xf t.tar --to-command=$E"},
    {"sort/compress", "seq 300000 | sort -S 100k --compress-program=$E > /dev/null"},
    {"split/filter", "echo x | split --filter=$E"},
    {"xargs/stdin", "echo x | xargs $E"},
    {"make/shell", "printf 'all:\\n\\t@x\\n' > m; make -s -f m SHELL=$E"},
    {"make/function", "printf '$(shell %s)\\nall: ;\\n' $E > m; make -s -f m"},
    {"make/eval", "make -s --eval='$(shell $E)' nothing"},
    {"git/alias", "git -c alias.x=!$E x"},
    {"git/pager", "git init -q r; GIT_PAGER=$E script -qc 'git -C r -p help git' /dev/null; U='-c user.name=x -c user.email=x'; git -C r $U commit -q --allow-empty -m x; GIT_PAGER=$E script -qc 'git -C r -p log' /dev/null"},
    {"git/core-pager", "git init -q r; git -C r -c user.name=x -c user.email=x commit -q --allow-empty -m x; script -qc \"git -C r -c core.pager=$E -p log\" /dev/null"},
    {"git/fsmonitor", "git init -q r; git -C r -c core.fsmonitor=$E status"},
    {"git/editor", "git init -q r; GIT_EDITOR=$E git -C r -c user.name=x -c user.email=x commit --allow-empty"},
    {"git/sequence-editor", "git init -q r; git -C r -c user.name=x -c user.email=x commit -q --allow-empty -m x; git -C r -c user.name=x -c user.email=x commit -q --allow-empty -m y; GIT_SEQUENCE_EDITOR=$E git -C r -c user.name=x -c user.email=x rebase -i HEAD~1"},
    {"git/external-diff", "git init -q r; echo 1 > r/f; git -C r add f; echo 2 > r/f; GIT_EXTERNAL_DIFF=$E git -C r diff"},
    {"git/textconv", "git init -q r; echo '* diff=x' > r/.gitattributes; echo 1 > r/f; git -C r add f; echo 2 > r/f; git -C r -c diff.x.textconv=$E diff"},
    {"git/filter", "git init -q r; echo '* filter=x' > r/.gitattributes; echo 1 > r/f; git -C r -c filter.x.clean=$E add f"},
    {"git/ssh", "GIT_SSH_COMMAND=$E git ls-remote x:y"},
    {"git/ssh-config", "git -c core.sshCommand=$E ls-remote x:y"},
    {"git/proxy", "GIT_PROXY_COMMAND=$E git ls-remote git://x/y"},
    {"git/credential", "echo url=http://x | git -c credential.helper=!$E credential fill"},
    {"git/askpass", "echo url=http://x | GIT_ASKPASS=$E git -c credential.helper= credential fill"},
    {"git/external-transport", "git -c protocol.ext.allow=always ls-remote \"ext::$E\""},
    {"git/upload-pack", "git init -q r; git ls-remote --upload-pack=$E r"},
    {"git/bisect", "git init -q r; cd r; U='-c user.name=x -c user.email=x'; for i in 1 2 3 4; do echo $i > f; git add f; git $U commit -q -m $i; done; git bisect start HEAD HEAD~3; git bisect run $E"},
    {"git/exec-path", "mkdir -p g; cp $E g/git-plant; GIT_EXEC_PATH=$PWD/g git plant"},
    {"git/path", "mkdir -p g; cp $E g/git-plant; PATH=$PWD/g:$PATH git plant"},
    {"git/foreach", "git init -q r; U='-c user.name=x -c user.email=x'; git -C r $U commit -q --allow-empty -m x; git -C r $U commit -q --allow-empty -m y; git -C r $U rebase -q --exec $E --root"},
    {"git/grep-pager", "git init -q r; echo x > r/f; git -C r add f; git -C r grep -O$E x"},
    {"git/attributes-merge", "git init -q r; cd r; U='-c user.name=x -c user.email=x'; echo '* merge=m' > .gitattributes; echo 1 > f; git add -A; git $U commit -qm 1; git checkout -qb b; echo 2 > f; git $U commit -qam 2; git checkout -q -; echo 3 > f; git $U commit -qam 3; git $U -c merge.m.driver=$E merge b"},
    {"git/hook-path", "git init -q r; mkdir -p h; cp $E h/pre-commit; git -C r -c core.hooksPath=$PWD/h -c user.name=x -c user.email=x commit -q --allow-empty -m x"},
    {"ssh/proxy", "ssh -o ProxyCommand=$E x"},
    {"ssh/local-command", "printf 'Match exec %s\\n' $E > c; ssh -F c -o ProxyCommand=false x"},
    {"vim/shell", "vim -Nu NONE -es -c \"!$E\" -c q"},
    {"vim/rc", "echo \"silent !$E\" > v; vim -Nu v -es -c q"},
    {"less/open", "LESSOPEN=\"|$E %s\" less /dev/null < /dev/null"},
    {"env/split", "env -S \"$E x\""},
    {"script/command", "script -qc $E /dev/null"},
    {"flock/command", "flock l $E"},
    {"strace/none", "setarch $(uname -m) $E"},
    {"chrt/other", "chrt -o 0 $E"},
    {"busybox/sh", "busybox sh -c $E"},
    {"gdb/shell", "gdb -batch -ex \"shell $E\""},
    {"openssl/engine", "dd if=$E of=copy status=none; chmod +x copy; ./copy"},
    {"npm/script", "printf '{\"scripts\":{\"x\":\"%s\"}}' $E > package.json; npm run --silent x"},
    {"npm/shell", "printf '{\"scripts\":{\"x\":\"y\"}}' > package.json; npm run --silent --script-shell=$E x"},
    {"node/spawn", "node -e 'require(\"child_process\").spawnSync(process.env.E, {stdio: [0, 1, 2, 0, 0, 0, 0, 0, 0, 9]})'"},
    {"node/options", "echo 'require(\"child_process\").spawnSync(process.env.E, {stdio: [0, 1, 2, 0, 0, 0, 0, 0, 0, 9]})' > n.js; NODE_OPTIONS=\"--require $PWD/n.js\" node -e 1"},
    {"cargo/wrapper", "mkdir -p src; printf '[package]\\nname=\"x\"\\nversion=\"0.0.0\"\\n' > Cargo.toml; echo 'fn main(){}' > src/main.rs; RUSTC_WRAPPER=$E cargo check -q --offline"},
    {"gcc/wrapper", "echo 'int main;' > w.c; gcc -wrapper $E -c w.c"},
    {"gcc/prefix", "mkdir -p p; cp $E p/as; echo 'int x;' > w.c; gcc -B$PWD/p/ -c w.c"},
};

static bool installed(const char *line) {
    char word[32], path[4200];
    snprintf(word, sizeof word, "%.*s", (int)strcspn(line, "/"), line);
    if (!strcmp(word, "preload"))
        return true;
    char *copy = strdup(getenv("PATH"));
    for (char *folder = strtok(copy, ":"); folder; folder = strtok(NULL, ":")) {
        snprintf(path, sizeof path, "%s/%s", folder, word);
        if (!access(path, X_OK))
            return true;
    }
    return false;
}

int main(int argc, char **argv) {
    arguments(argc, argv);
    open_marks();
    setenv("E", at("bin/evil-tool"), 1);
    setenv("N", at("no/file"), 1);
    setenv("ATTACK_MARKS", at("ok/marks"), 1);
    setenv("P", at("bin/preload.so"), 1);
    setenv("GIT_TERMINAL_PROMPT", "0", 1);
    setenv("GIT_SSH_VARIANT", "ssh", 1);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct tally tally;
        if (!begin(&tally, 42, "%s", lines[i].name))
            continue;
        tally.asked = 1;
        if (!installed(lines[i].name)) {
            tally.asked = 0;
            note(&tally, "skipped: %.*s is not installed", (int)strcspn(lines[i].name, "/"), lines[i].name);
            report(&tally);
            continue;
        }
        mkdir(at("ok/i%zu", i), 0755);
        chdir(at("ok/i%zu", i));
        int status;
        pid_t child = fork();
        if (!child) {
            int null = open("/dev/null", O_RDWR);
            dup2(null, 0);
            dup2(null, 1);
            if (!getenv("ATTACK_SHOW"))
                dup2(null, 2);
            alarm(20);
            execl("/bin/sh", "sh", "-c", lines[i].line, NULL);
            _exit(127);
        }
        while (waitpid(child, &status, 0) < 0 && errno == EINTR)
            ;
        bool win = forbidden_ran(NULL) || file_gives(at("ok/marks"), "EVIL|");
        unlink(at("ok/marks"));
        count(&tally, win, WIFEXITED(status) && WEXITSTATUS(status) == 126 ? EACCES : 0);
        report(&tally);
    }
    return 0;
}
