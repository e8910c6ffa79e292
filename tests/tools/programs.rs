//! Languages, databases and tools, one job a row: status and output inside are the native ones (attack classes 77 to 84).

use cavra_tests::{Case, Stage, places};

/// Name, what must be installed, and the job for `sh -c`.
const ROWS: &[(&str, &[&str], &str)] = &[
    (
        "c_with_musl",
        &["musl-gcc"],
        r#"printf '#include <stdio.h>\n#include <stdlib.h>\nint main(void){FILE*f=fopen("m","w");fputs("x",f);fclose(f);return system("cat m; exit 3")>>8;}' > m.c
           musl-gcc -static m.c -o p && ./p; echo $?"#,
    ),
    (
        "perl",
        &["perl"],
        r#"perl -e 'open F,q(>),q(p); print F 1; close F; print -s q(p); print qx(echo hi); fork||exit 3; wait; print $?>>8,qq(\n)'"#,
    ),
    (
        "go",
        &["go"],
        r#"printf 'package main\nimport ("fmt"; "net"; "os"; "os/exec")\nfunc main() {\n o, e := exec.Command("echo", "hi").Output(); fmt.Print(string(o), e, "\\n")\n l, _ := net.Listen("tcp", "127.0.0.1:0")\n go func() { c, _ := l.Accept(); c.Write([]byte("x")) }()\n c, e := net.Dial("tcp", l.Addr().String()); b := make([]byte, 1); c.Read(b); fmt.Println(string(b), e)\n os.WriteFile("w", b, 0600); d, _ := os.ReadDir("."); fmt.Println(len(d) > 1)\n}\n' > m.go
           GO111MODULE=off GOFLAGS= go run m.go"#,
    ),
    (
        "java",
        &["java"],
        r#"printf 'public class M { public static void main(String[] a) throws Exception {\n System.out.print(new String(new ProcessBuilder("echo", "hi").start().getInputStream().readAllBytes()));\n java.nio.file.Files.writeString(java.nio.file.Path.of("j"), "x");\n var s = new java.net.ServerSocket(0, 1, java.net.InetAddress.getLoopbackAddress());\n System.out.println(new java.net.Socket(s.getInetAddress(), s.getLocalPort()).isConnected()); } }\n' > M.java
           java M.java; cat j"#,
    ),
    (
        "node",
        &["node"],
        r#"node -e 'const c=require("child_process"),f=require("fs"),n=require("net")
           process.stdout.write(c.execSync("echo hi")); f.mkdirSync("d/a",{recursive:true}); f.writeFileSync("d/a/b","x")
           f.cpSync("d","e",{recursive:true}); console.log(f.readdirSync("e",{recursive:true})); f.rmSync("e",{recursive:true})
           const w=f.watch("."); w.close()
           const s=n.createServer(k=>k.end("yo")).listen(0,"127.0.0.1",()=>n.connect(s.address().port,"127.0.0.1").on("data",d=>{console.log(d+"");s.close()}))
           s.on("close",()=>new (require("worker_threads").Worker)("console.log(1)",{eval:true}))'"#,
    ),
    (
        "fetch_from_the_own_server",
        &["node"],
        r#"node -e 'const s=require("http").createServer((q,r)=>r.end("ok")).listen(0,"localhost",()=>fetch("http://localhost:"+s.address().port).then(r=>r.text()).then(t=>{console.log(t);process.exit()}))'"#,
    ),
    ("tcl", &["tclsh"], "echo 'puts [exec echo hi]' | tclsh"),
    (
        "sqlite",
        &["sqlite3"],
        "sqlite3 d 'pragma journal_mode=wal; create table t(x); insert into t values(7);'; sqlite3 d 'select x from t; pragma integrity_check'; ls",
    ),
    (
        "postgresql",
        &["psql", "pg_lsclusters"],
        r#"[ $(id -u) = 0 ] && exit 0 # it refuses to be root's
           b=$(ls -d /usr/lib/postgresql/*/bin | tail -1); LC_ALL=C $b/initdb -D d > /dev/null
           printf "listen_addresses = ''\nunix_socket_directories = '$PWD'\n" >> d/postgresql.conf
           LC_ALL=C $b/pg_ctl -D d -w start > /dev/null && psql -h "$PWD" postgres -Atc 'create table t(x int)' -c 'insert into t select generate_series(1,1000)' -c 'select sum(x) from t'
           $b/pg_ctl -D d -w stop > /dev/null; echo $?"#,
    ),
    (
        "openssl",
        &["openssl"],
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout k -out c -subj /CN=x -days 1 2>/dev/null; openssl verify -CAfile c c; stat -c '%a %n' k c",
    ),
    (
        "curl_and_a_python_server",
        &["curl"],
        r#"python3 -u -c 'import http.server
s=http.server.ThreadingHTTPServer(("127.0.0.1",0),http.server.SimpleHTTPRequestHandler); print(s.server_port); s.serve_forever()' > port 2> log &
           until [ -s port ]; do :; done; echo hello > f
           curl -s http://127.0.0.1:$(cat port)/f; curl -s -o /dev/null -w '%{http_code}\n' http://localhost:$(cat port)/none; kill $!; wait; echo $?"#,
    ),
    (
        "vim",
        &["vim"],
        "printf 'a\\nb\\n' > v; vim -es -u NONE -c '%s/a/c/' -c wq v; cat v; ls -A",
    ),
    (
        "a_terminal_of_its_own",
        &["script"],
        "script -qec 'test -t 0 && stty -a | head -1 | cut -d\";\" -f1; echo to-tty > /dev/tty; exit 5' /dev/null; echo $?",
    ),
    (
        "expect",
        &["expect"],
        r#"expect -c 'log_user 0; spawn sh; send "echo \$((6*7))\r"; expect 42; send "exit 4\r"; expect eof; exit [lindex [wait] 3]'; echo $?"#,
    ),
    (
        "ssh_keys",
        &["ssh-keygen"],
        "ssh-keygen -q -t ed25519 -N '' -C x -f k; ssh-keygen -l -f k.pub | cut -d' ' -f1,3-; stat -c '%a %n' k k.pub",
    ),
    (
        "locks_and_leases",
        &["python3"],
        r#"python3 -c 'import fcntl, os
f=open("l","w"); fcntl.lockf(f,fcntl.LOCK_EX); fcntl.flock(f,fcntl.LOCK_EX|fcntl.LOCK_NB); print(fcntl.fcntl(f,fcntl.F_GETLEASE))
pid=os.fork()
if pid==0:
  try: fcntl.lockf(open("l","w"),fcntl.LOCK_EX|fcntl.LOCK_NB)
  except OSError as e: os._exit(e.errno)
print(os.waitstatus_to_exitcode(os.waitpid(pid,0)[1]))'"#,
    ),
    (
        "extended_attributes",
        &["python3"],
        r#"python3 -c 'import os
open("x","w"); os.setxattr("x","user.a",b"1"); print(os.getxattr("x","user.a"),os.listxattr("x")); os.removexattr("x","user.a"); print(os.listxattr("x"))
try: os.getxattr("x","user.a")
except OSError as e: print(e.errno)'"#,
    ),
    (
        "sparse_and_direct",
        &["dd"],
        "dd if=/dev/zero of=d bs=4096 count=4 oflag=direct,sync 2>/dev/null; stat -c %s d; dd if=/dev/zero of=s bs=1 seek=1M count=1 2>/dev/null; cp --sparse=always s t; cmp s t; du -k t | cut -f1; fallocate -l 1M f; stat -c %s f; fallocate -p -o 0 -l 4096 f; echo $?",
    ),
    (
        "a_tree_of_3000_files",
        &["python3"],
        r#"python3 -c 'import os, shutil
for i in range(60):
  os.makedirs(f"t/{i}/x")
  for j in range(50): open(f"t/{i}/x/{j}","w").close()
os.rename("t","u"); shutil.copytree("u","v"); shutil.rmtree("u"); print(sum(len(f) for _,_,f in os.walk("v"))); shutil.rmtree("v"); print(os.listdir("."))'"#,
    ),
    (
        "watching_files",
        &["python3"],
        r#"python3 -c 'import ctypes, os
l=ctypes.CDLL(None); f=l.inotify_init1(0); print(l.inotify_add_watch(f,b".",0x100)); open("i","w"); print(len(os.read(f,99)))'"#,
    ),
    (
        "limits_groups_and_sessions",
        &["setsid"],
        "ulimit -n 64; ulimit -c 0; ulimit -n; nice -n 3 nice; setsid -w sh -c 'exit 6'; echo $?; timeout 1 sleep 9; echo $?; (ulimit -f 1; dd if=/dev/zero of=big bs=1k count=9 2>/dev/null); echo $?; ulimit -v 100000; python3 -c 'print(len(bytearray(1<<30)))' 2>&1 | tail -1",
    ),
    (
        "shared_memory",
        &["python3"],
        r#"python3 -c 'import mmap, os, multiprocessing.shared_memory as s
m=mmap.mmap(-1,4096); m[0]=7
if os.fork()==0: m[0]=9; os._exit(0)
os.wait(); print(m[0]); a=s.SharedMemory(create=True,size=9); b=s.SharedMemory(name=a.name); a.buf[0]=3; print(b.buf[0]); b.close(); a.close(); a.unlink()
f=os.memfd_create("x"); os.write(f,b"hi"); print(os.pread(f,2,0), open(f"/proc/self/fd/{f}").read())'"#,
    ),
];

/// One case for each row.
pub fn rows() -> Vec<Case> {
    let case = |&(name, needs, job): &(&'static str, &'static [&'static str], &'static str)| {
        Case::new(name, move |user| {
            needs.iter().try_for_each(|program| places::tool(program).map(drop))?;
            let outside = Stage::new(user)?.native(["sh", "-c", job]);
            let inside = Stage::new(user)?;
            let outcome = inside.session().deadline(crate::DEADLINE).sh(job)?;
            assert_eq!(
                (outcome.code(), outcome.stdout()),
                (outside.code(), outside.stdout.as_str()),
                "inside and native differ; stderr inside {:?}, native {:?}",
                outcome.stderr(),
                outside.stderr
            );
            assert!(outside.status.success(), "the row shows nothing: {outside:?}");
            outcome.verifies();
            Ok(())
        })
    };
    ROWS.iter().map(case).collect()
}
