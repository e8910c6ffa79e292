//! What the default pack refuses and lets through, one shell command a row.

use cavra_tests::{Row, Stage, Suite, Unmet, User, allowed, refused, row_cases, skip};

/// Each succeeds natively, fails inside, owes its record, and its twin succeeds inside.
const REFUSED: &[Row] = refused! {
    a_secret_by_cat: sh "cat .env", action "read_file", about "/.env", rule "filesystem.read.block", twin "cat README.md";
    a_secret_by_redirection: sh "read line < .env", action "read_file", about "/.env", rule "filesystem.read.block", twin "read line < README.md";
    a_secret_by_symlink: sh "ln -s .env x && cat x", action "read_file", about "/.env", rule "filesystem.read.block", twin "ln -s README.md y && cat y";
    a_secret_by_a_chain_of_symlinks: sh "ln -s .env x && ln -s x y && ln -s $PWD/y z && cat z", action "read_file", about "/.env", rule "filesystem.read.block", twin "ln -s README.md a && ln -s a b && cat b";
    a_secret_by_hard_link: sh "ln .env x && cat x", action "read_file", about "/.env", rule "filesystem.read.block", twin "ln README.md y && cat y";
    a_new_name_by_a_descriptor_that_was_not_decided: sh "echo 1 > x && ln -f x y && python3 -c 'import ctypes,os,sys; f=os.open(sys.argv[1],os.O_PATH); os.unlink(sys.argv[1]); sys.exit(ctypes.CDLL(None).linkat(f,b\"\",-100,b\"z\",0x1000)!=0)' x", action "read_file", about "/x (deleted)", rule "boundary.unnamed.block", twin "echo 1 > x && ln -f x y && python3 -c 'import ctypes,os,sys; f=os.open(sys.argv[1],os.O_RDONLY); os.unlink(sys.argv[1]); sys.exit(ctypes.CDLL(None).linkat(f,b\"\",-100,b\"z\",0x1000)!=0)' x";
    a_secret_by_another_name: sh "mv .env x && cat x", action "read_file", about "/.env", rule "filesystem.read.block", twin "mv README.md y && cat y";
    a_secret_by_dots: sh "cat src/../././.env", action "read_file", about "/.env", rule "filesystem.read.block", twin "cat src/../././README.md";
    a_secret_by_slashes: sh "cat $PWD///.env", action "read_file", about "/.env", rule "filesystem.read.block", twin "cat $PWD///README.md";
    a_secret_by_proc_cwd: sh "cat /proc/self/cwd/.env", action "read_file", about "/.env", rule "filesystem.read.block", twin "cat /proc/self/cwd/README.md";
    a_secret_by_proc_root: sh "cat /proc/self/root$PWD/.env", action "read_file", about "/.env", rule "filesystem.read.block", twin "cat /proc/self/root$PWD/README.md";
    a_secret_by_copy: sh "cp .env x && cat x", action "read_file", about "/.env", rule "filesystem.read.block", twin "cp README.md y && cat y";
    a_secret_by_archive: sh "tar cf x.tar .env", action "read_file", about "/.env", rule "filesystem.read.block", twin "tar cf y.tar README.md";
    a_secret_by_python: sh "python3 -c 'print(open(\".env\").read())'", action "read_file", about "/.env", rule "filesystem.read.block", twin "python3 -c 'print(open(\"README.md\").read())'";
    a_secret_below_a_folder: sh "cat deep/er/.env", action "read_file", about "/.env", rule "filesystem.read.block", twin "cat deep/er/plain";
    a_key_at_home: sh "cat ~/.ssh/id_rsa", action "read_file", about "/.ssh/id_rsa", rule "filesystem.read.block", twin "cat ~/plain";
    a_hook_by_redirection: sh "echo x > .git/hooks/post-commit", action "write_file", about "/.git/hooks/post-commit", rule "filesystem.write.block", twin "echo x > post-commit";
    a_hook_by_rename: sh "echo x > y && mv y .git/hooks/pre-push", action "write_file", about "/.git/hooks/pre-push", rule "filesystem.write.block", twin "echo x > z && mv z pre-push";
    a_hook_by_link: sh "echo x > y && ln y .git/hooks/pre-push", action "write_file", about "/.git/hooks/pre-push", rule "filesystem.write.block", twin "echo x > z && ln z pre-push";
    a_workflow_by_copy: sh "cp README.md .github/workflows/x.yml", action "write_file", about "/.github/workflows/x.yml", rule "filesystem.write.block", twin "cp README.md x.yml";
    a_folder_of_gits_named_in_a_file: sh "mkdir sub && echo 'gitdir: ../elsewhere' > sub/.git", action "write_file", about "/sub/.git", rule "filesystem.default.write.block", twin "git init -q sub && git -C sub status --short";
    another_configuration_for_git: sh "git init -q c && echo ../evil > c/.git/commondir", action "write_file", about "/.git/commondir", rule "filesystem.default.write.block", twin "git init -q d && echo x > d/.git/description";
    a_template_for_git: sh "mkdir t && printf '[core]\n' > t/config && git init -q --templ=t c", action "execute_command", about "git", rule "commands.git_config", twin "git init -q -b trunk d";
    a_configuration_with_a_clone: sh "git init -q o && git clone -q -cuser.name=x o c", action "execute_command", about "git", rule "commands.git_config", twin "git init -q p && git clone -q --no-checkout p d";
    a_removal_that_makes_room: sh "git init -q c && rm c/.git/config && printf '[core]\n' > x && mv x c/.git/config", action "write_file", about "/c/.git/config", rule "filesystem.default.write.block", twin "git init -q d && rm d/.git/config && git init -q d";
    a_folder_renamed_into_git: sh "mkdir r e && git init -q --bare e/b && mv e/b r/.git", action "write_file", about "/r/.git", rule "filesystem.default.write.block", twin "mkdir r2 e2 && git init -q --bare e2/b && mv e2/b r2/git";
    a_task_of_an_editor: sh "mkdir -p .zed && echo x > .zed/tasks.json", action "write_file", about "/.zed/tasks.json", rule "filesystem.write.block", twin "mkdir -p zed && echo x > zed/tasks.json";
    tools_of_another_agent: sh "mkdir -p .cursor && echo x > .cursor/mcp.json", action "write_file", about "/.cursor/mcp.json", rule "filesystem.write.block", twin "mkdir -p cursor && echo x > cursor/mcp.json";
    a_name_with_a_line_end: sh "echo x > \"$(printf 'a\\nb')\"", action "write_file", about "a", rule "filesystem.default.write.block", twin "echo x > 'a b'";
    a_command_by_name: sh "terraform apply", action "execute_command", about "terraform", rule "commands.block", twin "terraform plan";
    a_command_by_shell: sh "sh -c 'terraform apply -auto-approve'", action "execute_command", about "terraform", rule "commands.block", twin "sh -c 'terraform plan -no-color'";
    a_command_by_env: sh "env A=1 terraform apply", action "execute_command", about "terraform", rule "commands.block", twin "env A=1 terraform plan";
    a_command_by_nice: sh "nice -n 5 terraform apply", action "execute_command", about "terraform", rule "commands.block", twin "nice -n 5 terraform plan";
    a_command_by_xargs: sh "echo apply | xargs terraform", action "execute_command", about "terraform", rule "commands.block", twin "echo plan | xargs terraform";
    a_command_by_find: sh "find README.md -exec terraform apply ';' && test -e ran", action "execute_command", about "terraform", rule "commands.block", twin "find README.md -exec terraform plan ';'";
    a_command_by_make: sh "make -s deploy", action "execute_command", about "terraform", rule "commands.block", twin "make -s plan";
    a_command_with_an_option_before: sh "terraform -chdir=. apply", action "execute_command", about "terraform", rule "commands.block", twin "terraform -chdir=. plan";
    a_command_by_path: sh "$(command -v terraform) apply", action "execute_command", about "terraform", rule "commands.block", twin "$(command -v terraform) plan";
    a_command_by_symlink: sh "ln -s $(command -v terraform) t && ./t apply", action "execute_command", about "apply", rule "commands.block", twin "ln -s $(command -v terraform) u && ./u plan";
};

/// The same of a home that lies in no temporary folder: there everything may be written.
const REFUSED_AT_HOME: &[Row] = refused! {
    a_folder_that_no_rule_names: sh "mkdir ~/other", action "write_file", about "/other", rule "filesystem.default.write.block", twin "mkdir ~/.cache";
    a_cache_folder_as_a_link: sh "ln -s .. ~/.cache", action "write_file", about "/.cache", rule "filesystem.default.write.block", twin "mkdir ~/.cache && ln -s .. ~/.cache/up";
};

/// Each gives inside the status and the output that it gives natively.
const ALLOWED: &[Row] = allowed! {
    pipes: sh "printf 'b\\na\\n' | sort | tr a-z A-Z";
    here_documents: sh "cat <<X\nhere\nX";
    folders_and_files: sh "mkdir -p d/e && touch d/e/f && find d | sort";
    the_umask: sh "umask 027; : > x; mkdir y; stat -c '%a %n' x y";
    modes_and_times: sh "touch -d 2026-01-02T03:04:05Z x; chmod 0640 x; stat -c '%a %Y' x";
    appending: sh "echo 1 > x; echo 2 >> x; cat x";
    truncating: sh "echo 12345 > x; truncate -s 2 x; wc -c < x";
    symlinks: sh "ln -s README.md l; readlink l; cat l; rm l; ls";
    dangling_symlinks: sh "ln -s nowhere l; cat l; echo $?; echo made > l; cat nowhere";
    symlink_loops: sh "ln -s a b; ln -s b a; cat a 2>&1; echo $?";
    hard_links: sh "echo x > a; ln a b; stat -c %h a; rm a; cat b";
    renames: sh "echo x > a; mv a b; mv b src/; mv src moved; find moved | sort";
    a_cache_folder_on_a_new_machine: sh "mkdir ~/.cache && echo x > ~/.cache/y && rm -r ~/.cache/y; ls -d ~/.cache | wc -l";
    trees: sh "mkdir -p t/u; echo 1 > t/u/f; cp -a t v; diff -r t v; rm -r t; find v | sort";
    fifos: sh "mkfifo p; echo through > p & cat p; wait; stat -c %F p";
    descriptors: sh "exec 3< README.md 4> out; cat <&3 >&4; cat out; ls /proc/self/fd | grep -c '^[0-5]$'";
    dev_fd: sh "exec 5< README.md; cat /dev/fd/5; echo x | cat /dev/stdin; cat /proc/self/fd/5";
    temporary_files: sh "f=$(mktemp); echo t > $f; cat $f; rm $f; d=$(mktemp -d); rmdir $d";
    missing_files: sh "cat missing 2>&1; echo $?; cat README.md/x 2>&1; cat src 2>&1";
    no_permission: sh "echo x > x; chmod 0 x; id -u | grep -qx 0 || cat x 2>&1";
    exclusive_creation: sh "set -C; echo 1 > x; (echo 2 > x) 2>/dev/null; echo $?; cat x";
    deleted_files: sh "exec 3<> x; rm x; echo gone >&3; cat /proc/self/fd/3";
    deleted_folders: sh "mkdir d; cd d; rmdir ../d; ls; cat x 2>&1; echo $?";
    long_names: sh "n=$(printf '%0255d' 7); echo x > $n; cat $n; echo x > ${n}0 2>&1; echo $?";
    odd_names: sh "n=$(printf 'a b \\377c\\t*?[x]'); echo x > \"$n\"; cat \"$n\"; ls -b";
    processes: sh "for i in 1 2 3 4; do (exit $i) & done; wait; echo $?; sh -c 'kill -USR1 $$'; echo $?";
    parallel_processes: sh "seq 1 40 | xargs -P 4 -n 1 sh -c 'echo $0 > f$0'; cat f* | sort -n | tail -n 1";
    children_killed_as_they_start: sh "python3 -c 'import subprocess\nfor i in range(200):\n p=subprocess.Popen([\"sleep\",\"100\"]); p.kill(); assert p.wait(20) == -9\nprint(i)'";
    scripts: sh "printf '#!/bin/sh\\necho $0 $1\\n' > s; chmod +x s; ./s a; printf '#!./s x\\n' > t; chmod +x t; ./t b";
    bad_programs: sh "echo x > p; ./p 2>/dev/null; echo $?; chmod +x p; : > e; chmod +x e; ./e; echo $?; no-such-program 2>/dev/null; echo $?";
    environments: sh "env -i A=1 /usr/bin/env; env -u HOME sh -c 'echo ${HOME-none}'";
    locks: sh "flock x sh -c 'flock -n x true; echo $?'; flock -n x true; echo $?";
    servers_on_loopback: sh "python3 -c 'import socket,threading\ns=socket.create_server((\"127.0.0.1\",0))\nt=threading.Thread(target=lambda: s.accept()[0].sendall(b\"hi\"))\nt.start()\nprint(socket.create_connection(s.getsockname()).recv(2))'";
    unix_sockets: sh "python3 -c 'import socket\ns=socket.socket(socket.AF_UNIX); s.bind(\"u\"); s.listen()\nc=socket.socket(socket.AF_UNIX); c.connect(\"u\"); print(s.accept()[0].send(b\"x\"))'; stat -c %F u";
    names_of_unix_sockets: sh "mkdir in; ln -s in ln; python3 -c 'import socket,os\nfor p in [os.getcwd()+\"/a\", \"b\", \"in/c\", \"./e\", \"in/../f\", \"ln/g\", \"in//./i\", \"x\"*100]:\n s=socket.socket(socket.AF_UNIX); s.bind(p); s.listen(); c=socket.socket(socket.AF_UNIX); c.connect(s.getsockname()); print(os.path.basename(c.getpeername()), c.getpeername() == p)'; umask 077; ls in";
    refused_connections: sh "python3 -c 'import socket\ns=socket.socket(); s.bind((\"127.0.0.1\",0)); a=s.getsockname(); s.listen(); s.close()\nfor f,h in ((2,\"127.0.0.1\"),(10,\"::1\")): print(socket.socket(f).connect_ex((h, a[1])))'";
    databases: sh "python3 -c 'import sqlite3\nd=sqlite3.connect(\"d.db\"); d.execute(\"pragma journal_mode=wal\"); d.execute(\"create table t(x)\"); d.executemany(\"insert into t values(?)\", [(i,) for i in range(99)]); d.commit(); print(d.execute(\"select sum(x) from t\").fetchall())'";
    threads_and_subprocesses: sh "python3 -c 'import concurrent.futures as f, subprocess\nwith f.ThreadPoolExecutor(4) as p: print(sorted(p.map(lambda i: subprocess.check_output([\"expr\", str(i), \"+\", \"1\"]), range(8))))'";
    multiprocessing: sh "python3 -c 'import multiprocessing as m\nwith m.Pool(2) as p: print(p.map(abs, range(-5, 0)))'";
    clones_come_and_go: sh "git init -q o && git -C o commit -q --allow-empty -m one && git clone -q o c && rm -rf c && t=$(mktemp -d) && git clone -q o $t/c && rm -rf $t && git -C o worktree add -q ../w && git -C o worktree remove ../w && rm -r o && ls";
    a_writer_that_comes_and_goes: sh "mkfifo p; for i in 1 2 3 4 5 6; do cat p & sleep 0.1; : > p; wait; done; echo all";
    own_entries_by_openat2: sh "python3 -c 'import ctypes,os\nl=ctypes.CDLL(None)\nfor flags in (2, 1, 3):\n f=l.syscall(437, -100, b\"/proc/self/stat\", (ctypes.c_ulong*3)(0,0,flags), 24)\n print(int(os.read(f,99).split()[0]) == os.getpid() if f >= 0 else f)'";
    stops_while_a_call_waits: sh "python3 stops.py";
    signals_to_threads_that_wait: sh "python3 signals.py";
    connects_that_wait: sh "python3 connects.py";
    worker_programs: sh "git init -q r && cd r && echo x > a && git add a && git commit -q -m one && git log --format=%s && git status --short";
};

/// A process stops in a call that waits, goes on with it when it is told to, and has missed nothing.
const STOPS: &str = r#"
import os, signal, threading, time
def child(threads):
    pid = os.fork()
    if pid: return pid
    os.setpgid(0, 0)
    if threads: threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    print(os.read(os.open("p", os.O_RDONLY), 9), flush=True)
    os._exit(0)
os.mkfifo("p")
for threads in (0, 1):
    for stop in (signal.SIGSTOP, signal.SIGTSTP):
        pid = child(threads)
        while os.getpgid(pid) != pid: pass
        time.sleep(0.1)
        os.kill(pid, stop)
        print(os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1]))
        os.kill(pid, signal.SIGCONT)
        with open("p", "w") as writer: writer.write("x")
        print(os.waitpid(pid, 0)[1])
"#;
/// A signal that any of several waiting threads may take leaves the others waiting.
const SIGNALS: &str = r#"
import ctypes, os, signal, threading, time
libc = ctypes.CDLL(None, use_errno=True)
signal.signal(signal.SIGUSR1, lambda *_: None)
signal.siginterrupt(signal.SIGUSR1, False)
got = []
def wait(name):
    fd = libc.open(name.encode(), os.O_RDONLY)
    got.append((name, fd >= 0, 0 if fd >= 0 else ctypes.get_errno()))
names = ["p1", "p2", "p3", "p4"]
for name in names: os.mkfifo(name)
threads = [threading.Thread(target=wait, args=(name,)) for name in names]
for thread in threads: thread.start()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
for _ in range(20):
    os.kill(os.getpid(), signal.SIGUSR1)
    time.sleep(0.05)
for name in names: os.close(os.open(name, os.O_WRONLY))
for thread in threads: thread.join()
print(sorted(got))
"#;
/// A connect that nobody answers ends with a signal's handler.
const CONNECTS: &str = r#"
import signal, socket
def late(*_): raise TimeoutError
signal.signal(signal.SIGALRM, late)
for family, address in ((socket.AF_INET, ("127.0.0.1", 0)), (socket.AF_UNIX, "u")):
    server = socket.socket(family)
    server.bind(address)
    server.listen(0)
    waiting = []
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        while True:
            client = socket.socket(family)
            client.connect(server.getsockname())
            waiting.append(client)
    except TimeoutError: print("interrupted")
"#;

fn world(user: User) -> Result<Stage, Unmet> {
    let world = Stage::new(user)?;
    world.write("ws/README.md", "# Harbour\n");
    world.write("ws/.env", "TOKEN=1\n");
    world.write("ws/src/a.txt", "a\n");
    world.write("ws/stops.py", STOPS);
    world.write("ws/signals.py", SIGNALS);
    world.write("ws/connects.py", CONNECTS);
    world.write("ws/deep/er/.env", "TOKEN=2\n");
    world.write("ws/deep/er/plain", "plain\n");
    world.write("ws/Makefile", "deploy:\n\tterraform apply\nplan:\n\tterraform plan\n");
    world.write("home/.ssh/id_rsa", "key\n");
    world.write("home/plain", "plain\n");
    world.folder("ws/.github/workflows");
    world.folder("ws/.git/hooks");
    world.script("bin/terraform", "#!/bin/sh\necho \"$@\"; touch ran\n");
    Ok(world)
}

fn home(user: User) -> Result<Stage, Unmet> {
    let world = world(user)?;
    if world.is_outside_tmp() {
        Ok(world)
    } else {
        skip("this checkout lies in a temporary folder, and so does the test's home")
    }
}

fn main() -> std::process::ExitCode {
    Suite::new("rows")
        .both(row_cases(REFUSED, world, |session| session.approvals("deny")))
        .both(row_cases(REFUSED_AT_HOME, home, |session| session))
        .both(row_cases(ALLOWED, world, |session| session))
        .main()
}
