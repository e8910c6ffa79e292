//! Jobs of single programs, one row each: what they print and how they end, natively and inside.

use cavra_tests::*;

use crate::{DEADLINE, OPEN, whole};

const KNOWN: &str = include_str!("differences/programs.txt");

/// Which runs a row is part of.
#[derive(PartialEq)]
enum Share {
    /// The test command's too.
    Each,
    /// `scripts/compat.sh` alone: it takes tens of seconds.
    Whole,
}
use Share::{Each, Whole};

/// Name, share, programs without which it is skipped, and the job for `sh`; what it prints is its result.
const ROWS: &[(&str, Share, &[&str], &str)] = &[
    (
        "a_tree_like_a_system's_unpacked_by_tar",
        Each,
        &["tar", "python3"],
        r#"python3 -c '
import os, tarfile, io
t = tarfile.open("t.tar", "w", format=tarfile.PAX_FORMAT)
def put(name, kind, mode, size=0, link=""):
    i = tarfile.TarInfo(name); i.type = kind; i.mode = mode; i.size = size; i.linkname = link; i.mtime = 1000000000 + len(name)
    i.uid, i.gid = os.getuid(), os.getgid(); t.addfile(i, io.BytesIO(os.urandom(0) + b"x" * size))
for d, m in ("r",0o755),("r/usr",0o755),("r/usr/bin",0o755),("r/tmp",0o1777),("r/root",0o700),("r/var",0o2775): put(d, tarfile.DIRTYPE, m)
for i in range(300): put(f"r/usr/bin/p{i}", tarfile.REGTYPE, (0o755,0o4755,0o2755,0o644,0o444,0o600)[i % 6], i * 37)
for i in range(40): put(f"r/usr/bin/l{i}", tarfile.SYMTYPE, 0o777, 0, ("p1","../bin/p2","/nowhere","l1",".")[i % 5])
for i in range(40): put(f"r/usr/bin/h{i}", tarfile.LNKTYPE, 0o755, 0, f"r/usr/bin/p{i}")
put("r/ro/f", tarfile.REGTYPE, 0o400, 5); put("r/ro", tarfile.DIRTYPE, 0o555); put("r/var/fifo", tarfile.FIFOTYPE, 0o640); put("r/var/" + "long" * 60, tarfile.REGTYPE, 0o644, 9)
put("r/var/na\u00efve \u2603", tarfile.REGTYPE, 0o644, 3); t.close()'
           tar -xpf t.tar; echo $?; find r -type d -printf '%M %p\n' -o -printf '%M %n %s %l %p %T@\n' | sort; tar -cf - r | tar -df -; echo $?; chmod -R u+w r; rm -r r; ls"#,
    ),
    (
        "busybox",
        Each,
        &["busybox"],
        r#"b() { busybox "$@"; }; b mkdir -p d/e; b seq 200 > d/f; b cp -a d c; b ln -s f d/l; b ln d/f d/h; b mv d/h d/e/h; b tar -czf d.tgz d; b rm -r d; b tar -xzf d.tgz
           b find d | b sort; b stat -c '%a %h %s %n' d/f d/e/h; b sed -i s/7/seven/ d/f; b grep -c seven d/f; b awk '{s+=$1} END {print s}' c/f; b sha1sum c/f; b dd if=c/f of=g bs=7 count=3 2>&1 | b head -1
           b truncate -s 9 g; b wc -c g; b chmod 640 g; b touch -d '2001-02-03 04:05:06' g; b stat -c '%a %Y' g; b mkfifo p; (b cat p &) ; b echo through > p; b sleep 0.2; b diff c/f d/f | b wc -l; b xargs -n1 -P2 b echo < /dev/null
           b sh -c 'trap "echo trapped" TERM; kill $$; echo $?'; b gzip -c c/f | b zcat | b tail -1; b install -m 711 g i; b stat -c %a i; b realpath d/l | b sed 's,.*/,,'; b timeout 1 b sleep 5; echo $?"#,
    ),
    (
        "sqlite_from_four_processes",
        Each,
        &["python3"],
        r#"python3 -c '
import sqlite3, os, sys
for mode in "wal", "delete", "truncate":
    c = sqlite3.connect(mode + ".db"); print(c.execute("pragma journal_mode=" + mode).fetchone()); c.execute("create table t(x)"); c.commit(); c.close()
    kids = []
    for k in range(4):
        pid = os.fork()
        if pid == 0:
            c = sqlite3.connect(mode + ".db", timeout=60)
            for i in range(25):
                c.execute("begin immediate"); n = c.execute("select count(*) from t").fetchone()[0]; c.execute("insert into t values(?)", (n,)); c.commit()
            os._exit(0)
        kids.append(pid)
    print([os.waitstatus_to_exitcode(os.waitpid(p, 0)[1]) for p in kids])
    c = sqlite3.connect(mode + ".db"); print(c.execute("select count(*), count(distinct x), max(x) from t").fetchall(), c.execute("pragma integrity_check").fetchall())
    c.execute("begin exclusive")
    try: sqlite3.connect(mode + ".db", timeout=0).execute("insert into t values(1)")
    except sqlite3.OperationalError as e: print(e)
    c.close()'; ls"#,
    ),
    (
        "a_store_with_a_lock_file_and_a_manifest",
        Each,
        &["python3"],
        r#"python3 -c '
import fcntl, os
os.mkdir("db"); lock = os.open("db/LOCK", os.O_RDWR | os.O_CREAT, 0o644); fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
if os.fork() == 0:
    try: fcntl.lockf(os.open("db/LOCK", os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as e: print("second", e.errno, flush=True)
    os._exit(0)
os.wait(); d = os.open("db", os.O_RDONLY | os.O_DIRECTORY)
for n in range(50):
    with open(f"db/MANIFEST-{n:06}", "w") as f: f.write("x" * n); f.flush(); os.fsync(f.fileno())
    with open("db/dbtmp", "w") as f: f.write(f"MANIFEST-{n:06}\n"); f.flush(); os.fdatasync(f.fileno())
    os.rename("db/dbtmp", "db/CURRENT"); os.fsync(d)
    if n: os.unlink(f"db/MANIFEST-{n-1:06}")
    log = os.open("db/log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644); os.write(log, b"entry\n"); os.posix_fallocate(log, 0, 4096); os.close(log)
print(open("db/CURRENT").read(), sorted(os.listdir("db")), os.stat("db/log").st_size)'"#,
    ),
    (
        "tmux_with_a_server_of_its_own",
        Each,
        &["tmux"],
        r#"export TMUX_TMPDIR=$PWD; tmux -f /dev/null new-session -d -x 80 -y 24 sh; tmux send-keys 'echo $((6*7)); tmux wait-for -S done' Enter; tmux wait-for done; tmux capture-pane -p | grep -c '^42$'
           tmux split-window -d 'tty > t; tmux wait-for -S split'; tmux wait-for split; grep -c ^/dev/pts/ t; tmux list-panes | wc -l; tmux kill-server; echo $?"#,
    ),
    (
        "less_on_a_terminal",
        Each,
        &["less", "script"],
        r#"seq 500 > f; { sleep 1; printf 'G'; sleep 1; printf 'q'; } | TERM=xterm script -qec 'less f' /dev/null | tr '\r' '\n' | grep -c '^500' | sed 's/^/lines that end the file: /'"#,
    ),
    (
        "vim_on_a_terminal",
        Each,
        &["vim", "script"],
        r#"printf 'one\ntwo\n' > f; { sleep 1; printf ':%%s/two/2/\r'; printf ':wq\r'; sleep 1; } | TERM=xterm script -qec 'vim -u NONE -i NONE f' /dev/null > /dev/null; cat f; ls -A"#,
    ),
    (
        "top",
        Each,
        &["top"],
        "top -b -n 1 > t; echo $?; head -1 t | cut -c1-3; grep -c '^ *PID USER' t; top -b -n 1 -p $$ | grep -c ' sh$'",
    ),
    (
        "ssh_to_a_server_on_loopback",
        Each,
        &["sshd", "ssh", "ssh-keygen"],
        r#"ssh-keygen -q -t ed25519 -N '' -f hk; ssh-keygen -q -t ed25519 -N '' -f uk; cp uk.pub ak
           port=$(python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])')
           printf 'Port %s\nListenAddress 127.0.0.1\nHostKey %s/hk\nAuthorizedKeysFile %s/ak\nPidFile %s/pid\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nSubsystem sftp internal-sftp\n' $port $PWD $PWD $PWD > conf
           mkdir -p /run/sshd 2> /dev/null; /usr/sbin/sshd -D -e -f conf 2> log & s=$!
           o="-F /dev/null -i uk -o UserKnownHostsFile=kh -o StrictHostKeyChecking=no -o BatchMode=yes -o ConnectionAttempts=20 -p $port"
           ssh $o 127.0.0.1 'echo over ssh; echo $((6*7)); exit 3' 2> err; echo $?; echo data > f; ssh $o 127.0.0.1 "cat > $PWD/g" < f 2>> err; cmp f g; echo $?; kill $s; wait $s"#,
    ),
    (
        "docker_says_why_it_can_not",
        Each,
        &["docker"],
        "timeout 60 docker ps > out 2>&1; echo $?; grep -qiE 'cannot connect|permission denied|failed to connect|dial unix' out; echo $?",
    ),
    (
        "a_node_addon_built_by_npm",
        Whole,
        &["npm", "gcc", "make"],
        r#"[ -d /usr/include/node ] || exit 0; mkdir a; cd a; export npm_config_nodedir=/usr npm_config_cache=$PWD/../cache
           echo '{"name":"a","version":"1.0.0","gypfile":true,"main":"i.js"}' > package.json; echo 'module.exports=require("./build/Release/a.node")' > i.js
           echo '{"targets":[{"target_name":"a","sources":["a.c"]}]}' > binding.gyp
           printf '#include <node_api.h>\nstatic napi_value f(napi_env e, napi_callback_info i) { napi_value v; napi_create_int32(e, 42, &v); return v; }\nNAPI_MODULE_INIT() { napi_value v; napi_create_function(env, 0, 0, f, 0, &v); return v; }\n' > a.c
           npm install --offline --no-audit --no-fund --loglevel=error > log 2>&1; echo $?; node -e 'console.log(require("./i.js")())'; ls build/Release/*.node"#,
    ),
    (
        "jshell",
        Whole,
        &["jshell"],
        r#"printf 'System.out.println(6*7)\nvar p = new ProcessBuilder("echo", "child").inheritIO().start(); p.waitFor()\njava.nio.file.Files.writeString(java.nio.file.Path.of("j"), "from jshell")\n/exit\n' | jshell -R-Djava.util.prefs.userRoot=$PWD -J-Djava.util.prefs.userRoot=$PWD -s - 2> err; grep -v -i prefer err | grep -v '[AP]M java'; cat j"#,
    ),
    (
        "java_http_client",
        Whole,
        &["java"],
        r#"printf '%s\n' 'import com.sun.net.httpserver.*; import java.net.*; import java.net.http.*; import java.util.concurrent.*;' 'class H { public static void main(String[] a) throws Exception {' 'var s = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0); s.setExecutor(Executors.newFixedThreadPool(4));' \
           's.createContext("/", x -> { byte[] b = ("got " + x.getRequestURI()).getBytes(); x.sendResponseHeaders(200, b.length); x.getResponseBody().write(b); x.close(); }); s.start();' 'var c = HttpClient.newHttpClient(); var all = new java.util.ArrayList<CompletableFuture<String>>();' \
           'for (int i = 0; i < 50; i++) all.add(c.sendAsync(HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + s.getAddress().getPort() + "/" + i)).build(), HttpResponse.BodyHandlers.ofString()).thenApply(HttpResponse::body));' \
           'for (var f : all) System.out.println(f.get()); s.stop(0); System.exit(0); } }' > H.java; java H.java 2>&1"#,
    ),
];

/// One case for each row of this run.
pub fn cases() -> Vec<Case> {
    let rows = ROWS.iter().filter(|row| row.1 == Each || whole());
    rows.map(|&(name, _, needs, job)| {
        Case::new(format!("program::{name}"), move |user| {
            needs.iter().try_for_each(|program| places::tool(program).map(drop))?;
            let (outside, inside) = (Stage::new(user)?, Stage::new(user)?);
            let mut command = outside.command("sh")?;
            command.args(["-c", job]);
            let native = Running::start(command, None).finish(DEADLINE);
            let outcome = inside.session().pack(OPEN).deadline(DEADLINE).sh(job)?;
            let told = |code: Option<i32>, out: &str, stage: &Stage| {
                format!("{code:?} {}", out.replace(&*stage.root().to_string_lossy(), "<stage>"))
            };
            let native = told(native.code(), &native.stdout, &outside);
            let within = told(outcome.code(), outcome.stdout(), &inside);
            assert!(native.len() > 10, "the row shows nothing: {native}");
            outcome.verifies();
            let mut comparison = Comparison::default();
            let what = format!("{name} as {}", user.name());
            if !comparison.add(&Known::read(KNOWN), &what, &native, &within) {
                let only = |of: &str, other: &str| {
                    let lines = of.lines().filter(|line| !other.lines().any(|found| found == *line));
                    lines.take(10).map(str::to_owned).collect::<Vec<_>>()
                };
                println!("{name}: only natively {:?}", only(&native, &within));
                println!("{name}: only inside {:?}", only(&within, &native));
                println!("{name}: stderr inside: {}", outcome.stderr());
            }
            comparison.ends(&what, 1);
            Ok(())
        })
    })
    .collect()
}
