//! Reads that the kernel decides (`--reads kernel`): what it lets through, what it refuses, and that nobody is asked.

use std::os::unix::fs::{PermissionsExt, symlink};

use cavra_tests::{Case, Session, Stage, Unmet, User, Verdict, places, skip};

/// A workspace with secrets on top and deep, and folders without any.
fn world(user: User) -> Result<Stage, Unmet> {
    let world = Stage::new(user)?;
    for (path, text) in [
        ("ws/.env", "SECRET top\n"),
        ("ws/README.md", "read me\n"),
        ("ws/deep/er/.env", "SECRET deep\n"),
        ("ws/deep/er/plain", "plain\n"),
        ("ws/clean/file", "clean\n"),
        ("home/.ssh/id_rsa", "SECRET key\n"),
        ("home/plain", "at home\n"),
        ("elsewhere/file", "SECRET elsewhere\n"),
    ] {
        world.write(path, text);
    }
    world.script("ws/deep/er/secrets.sh", "#!/bin/sh\necho SECRET script\n");
    world.script("ws/clean/tool", "#!/bin/sh\necho tool \"$1\"\n");
    world.folder("ws/.git/hooks");
    let link = world.at("ws/clean/old-link");
    symlink(world.at("ws/.env"), &link).unwrap();
    world.own(&link);
    std::fs::hard_link(world.at("ws/.env"), world.at("ws/hard")).unwrap();
    Ok(world)
}

fn kernel(session: Session<'_>) -> Session<'_> {
    session.option("--reads").option("kernel")
}

/// What a small program does with a path; `how` are flags, and the rest opens it in another way than a shell does.
fn python(code: &str) -> String {
    format!("/usr/bin/python3 -c 'import os,mmap,ctypes,sys\n{code}'")
}

/// Lines that natively print SECRET and inside do not.
fn refused() -> Vec<(&'static str, String)> {
    let shell = [
        ("on_top", "cat .env"),
        ("deep", "cat deep/er/.env"),
        ("from_a_folder_below", "cd deep/er && cat .env"),
        ("from_a_granted_folder", "cd clean && cat ../.env"),
        ("by_a_symlink", "ln -s ../.env clean/l && cat clean/l"),
        ("by_an_old_symlink", "cat clean/old-link"),
        ("by_a_hard_link", "ln deep/er/.env clean/h && cat clean/h"),
        ("by_an_old_hard_link", "cat hard"),
        ("by_a_rename", "mv .env clean/r && cat clean/r"),
        (
            "by_a_folders_rename",
            "/usr/bin/python3 -c 'import os; os.rename(\"deep\", \"clean/deep\")'; cat clean/deep/er/.env",
        ),
        (
            "by_an_exchange_of_folders",
            "mkdir clean/sub; /usr/bin/python3 -c 'import ctypes; ctypes.CDLL(None).renameat2(-100, b\"deep/er\", -100, b\"clean/sub\", 2)'; cat clean/sub/.env",
        ),
        (
            "by_a_granted_folder_that_moved",
            "mv clean moved; /usr/bin/python3 -c 'import os; os.rename(\"deep/er\", \"moved/er\")'; cat moved/er/.env",
        ),
        ("by_proc_cwd", "cat /proc/self/cwd/.env"),
        ("by_proc_root", "cat /proc/self/root$PWD/.env"),
        ("by_a_held_folder", "exec 3< deep/er; cat /proc/self/fd/3/.env"),
        ("by_exec", "deep/er/secrets.sh"),
        ("by_an_interpreter", "sh deep/er/secrets.sh"),
        ("by_a_copy", "cp -r deep clean/copy; cat clean/copy/er/.env"),
        ("a_key_at_home", "cat ~/.ssh/id_rsa"),
    ];
    let in_python = [
        (
            "by_a_folders_descriptor",
            "d=os.open(\"deep/er\",os.O_PATH); os.write(1,os.read(os.open(\".env\",os.O_RDONLY,dir_fd=d),99))",
        ),
        (
            "with_other_flags",
            "for f in (os.O_NOFOLLOW,os.O_NONBLOCK,os.O_APPEND,os.O_EXCL,os.O_SYNC,os.O_NOCTTY,0x8000,0o40000):\n try: os.write(1,os.read(os.open(\".env\",f),99))\n except OSError: pass",
        ),
        (
            "with_the_upper_half_set",
            "c=ctypes.CDLL(None); f=c.syscall(257,ctypes.c_long(-100),b\".env\",ctypes.c_ulong(0xdeadbeef<<32),0); os.write(1,os.read(f,99))",
        ),
        (
            "by_a_mapping",
            "f=os.open(\".env\",os.O_RDONLY); os.write(1,mmap.mmap(f,6,prot=mmap.PROT_READ)[:])",
        ),
        (
            "by_o_path",
            "f=os.open(\".env\",os.O_PATH); os.write(1,os.read(os.open(\"/proc/self/fd/%d\"%f,os.O_RDONLY),99))",
        ),
        (
            "by_a_descriptor_for_writing",
            "f=os.open(\"clean/../.env\",os.O_WRONLY); os.unlink(\".env\"); os.write(1,os.read(os.open(\"/proc/self/fd/%d\"%f,os.O_RDONLY),99))",
        ),
        (
            "for_reading_and_writing",
            "os.write(1,os.read(os.open(\".env\",os.O_RDWR),99))",
        ),
        (
            "with_creation",
            "os.write(1,os.read(os.open(\".env\",os.O_RDONLY|os.O_CREAT),99))",
        ),
        (
            "with_access_mode_3",
            "f=os.open(\".env\",3); os.write(1,os.read(os.open(\"/proc/self/fd/%d\"%f,os.O_RDONLY),99))",
        ),
    ];
    let shell = shell.map(|(name, line)| (name, line.to_owned()));
    let in_python = in_python.map(|(name, code)| (name, python(code)));
    shell.into_iter().chain(in_python).collect()
}

/// Lines that give inside what they give natively.
const ALLOWED: &[(&str, &str)] = &[
    ("a_file", "cat README.md clean/file deep/er/plain ~/plain"),
    (
        "a_new_file_in_a_granted_folder",
        "echo new > clean/new && cat clean/new",
    ),
    (
        "a_new_folder_in_one",
        "mkdir clean/sub && echo new > clean/sub/x && cat clean/sub/x && mv clean/sub clean/other && cat clean/other/x",
    ),
    (
        "a_file_that_moves",
        "mv README.md clean/ && cat clean/README.md && mv clean/README.md clean/x && cat clean/x",
    ),
    ("a_program", "clean/tool x; cp /bin/echo clean/echo && clean/echo y"),
    ("listing", "ls; ls clean; find . -name plain"),
    ("temporary_files", "f=$(mktemp) && echo t > $f && cat $f && rm $f"),
    (
        "devices",
        "cat /dev/null; head -c 4 /dev/zero | wc -c; head -c 4 /dev/urandom | wc -c",
    ),
    (
        "proc",
        "cat /proc/self/comm; wc -l < /proc/sys/kernel/ostype; grep -c MemTotal /proc/meminfo",
    ),
    (
        "descriptors",
        "exec 5< README.md; cat /dev/fd/5; echo in | cat /dev/stdin; cat <<X\nhere\nX",
    ),
    (
        "memory_files",
        "/usr/bin/python3 -c 'import os; f=os.memfd_create(\"m\"); os.write(f,b\"m\\n\"); print(open(\"/proc/self/fd/%d\"%f).read())'",
    ),
    ("fifos", "mkfifo clean/p; (echo through > clean/p &); cat clean/p"),
    (
        "what_is_not_there",
        "cat missing 2>&1; cat clean/missing 2>&1; cat README.md/x 2>&1; cat clean 2>&1",
    ),
    (
        "a_folder_opened_plainly",
        "/usr/bin/python3 -c 'import os; print(sorted(os.listdir(os.open(\"clean\",os.O_RDONLY))))'",
    ),
    (
        "names_of_the_machine",
        "getent passwd 0; getent hosts localhost | wc -l; id -un",
    ),
    ("locale_and_time", "LC_ALL=C.UTF-8 TZ=Europe/Berlin date -d @0 +%H:%M"),
];

/// Lines whose writes the policy decides as ever: what is refused, and a twin.
const WRITES: &[(&str, &str)] = &[
    ("echo x > .git/hooks/pre-commit", "echo x > clean/x"),
    (
        "mkdir -p .github/workflows && echo x > .github/workflows/x.yml",
        "mkdir -p clean/a/b && echo x > clean/a/b/x.yml",
    ),
    ("echo x > ../elsewhere/new", "echo x > new"),
    ("echo x > /etc/cavra-test", "echo x > $TMPDIR/x"),
    (
        "/usr/bin/python3 -c 'import os; os.open(\"clean/.envrc\", os.O_RDONLY|os.O_CREAT)'",
        "/usr/bin/python3 -c 'import os; os.open(\"clean/y\", os.O_RDONLY|os.O_CREAT)'",
    ),
];

pub fn rows() -> Vec<Case> {
    let refusal = |(name, line): (&'static str, String)| {
        Case::new(format!("kernel_reads_refuse_{name}"), move |user| {
            let native = world(user)?.native(["sh", "-c", &line]);
            assert!(native.stdout.contains("SECRET"), "natively it must win: {native:?}");
            let inside = world(user)?;
            let outcome = kernel(inside.session()).sh(&line)?;
            assert!(!outcome.stdout().contains("SECRET"), "{line}: {}", outcome.stdout());
            outcome.verifies();
            Ok(())
        })
    };
    let allowed = |(name, line): &(&'static str, &'static str)| {
        let line = *line;
        Case::new(format!("kernel_reads_allow_{name}"), move |user| {
            let native = world(user)?.native(["sh", "-c", line]);
            let inside = world(user)?;
            let outcome = kernel(inside.session()).sh(line)?;
            let (code, out) = (outcome.code(), outcome.stdout());
            assert_eq!(
                (code, out),
                (native.code(), native.stdout.as_str()),
                "{line}: {}",
                outcome.stderr()
            );
            outcome.verifies();
            Ok(())
        })
    };
    refused()
        .into_iter()
        .map(refusal)
        .chain(ALLOWED.iter().map(allowed))
        .collect()
}

pub fn kernel_reads_leave_writes_to_the_policy(user: User) -> Verdict {
    for (line, twin) in WRITES {
        let world = world(user)?;
        let outcome = kernel(world.session()).sh(line)?;
        assert_ne!(outcome.code(), Some(0), "{line}");
        outcome.record("write_file").decision("block").field("errno", "EACCES");
        kernel(world.session()).sh(twin)?.exits(0);
    }
    Ok(())
}

/// The supervisor has no record of a read that it was not asked about, and `--evidence-level` aside the first of each file would be one.
pub fn kernel_reads_ask_nobody(user: User) -> Verdict {
    let world = world(user)?;
    let line = "cat README.md clean/file > clean/out; cat .env deep/er/.env; cat clean/file";
    let by_kernel = kernel(world.session()).sh(line)?;
    for name in ["README.md", "clean/file", "/.env"] {
        let found = by_kernel.find().only_field("action_type", "read_file").only_about(name);
        assert_eq!(found.count(), 0, "{name}");
    }
    let opening = &by_kernel.records[0]["opening"]["reads"];
    assert_eq!(opening["by"], "kernel");
    assert!(
        opening["trees"].as_u64() > Some(5) && opening["named"].to_string().contains("/usr"),
        "{opening}"
    );
    let by_supervisor = world.session().sh(line)?;
    by_supervisor.record("read_file").about("README.md");
    by_supervisor.record("read_file").about("/.env").decision("block");
    assert!(by_supervisor.records[0]["opening"]["reads"].is_null());
    Ok(())
}

/// What a session may not see of processes and files outside it, as root neither; the kernel's own checks see to that.
pub fn kernel_reads_reach_nothing_of_others(user: User) -> Verdict {
    let world = world(user)?;
    let mut outside = world
        .command("sleep")?
        .arg("600")
        .env("MARK", "SECRET")
        .spawn()
        .expect("sleep");
    let code = format!(
        "parent=os.getppid()\n\
         while parent>1:\n\
         \x20for name in (\"environ\",\"maps\",\"mem\",\"auxv\",\"io\",\"stack\",\"syscall\",\"pagemap\",\"smaps\",\"fd/0\",\"exe\",\"root/etc/passwd\",\"cwd/x\",\"fdinfo/0\",\"personality\"):\n\
         \x20\x20for pid in (parent,{pid},1):\n\
         \x20\x20\x20try: os.write(1,b\"READ %d %s %r\\n\"%(pid,name.encode(),os.read(os.open(\"/proc/%d/%s\"%(pid,name),os.O_RDONLY),64)))\n\
         \x20\x20\x20except OSError: pass\n\
         \x20parent=int(open(\"/proc/%d/stat\"%parent).read().rsplit(\")\",1)[1].split()[1])\n\
         print(\"done\")",
        pid = outside.id()
    );
    let environment = format!("/proc/{}/environ", outside.id());
    let native = world.native(["cat", &environment]);
    let outcome = kernel(world.session()).run(["/usr/bin/python3", "-c", &format!("import os\n{code}")]);
    drop(outside.kill());
    drop(outside.wait());
    assert!(native.stdout.contains("SECRET"), "natively it can be read: {native:?}");
    let outcome = outcome?;
    outcome.exits(0);
    assert_eq!(outcome.stdout(), "done\n", "{}", outcome.stdout());
    Ok(())
}

/// Files that are nobody's business: devices, the session's evidence, its sockets, other users' files.
pub fn kernel_reads_hand_out_no_devices_and_nothing_of_the_session(user: User) -> Verdict {
    let world = world(user)?;
    let session = kernel(world.session().evidence(world.at("ws/evidence")));
    let root = world.account().uid == 0;
    let code = "seen=[]\n\
        def listed(top):\n\
        \x20try: return os.listdir(top)\n\
        \x20except OSError: return []\n\
        for top in (\"/dev\",\"/dev/pts\",\"/dev/mapper\",sys.argv[1],sys.argv[2],sys.argv[2]+\"/sessions\",\"/root\"):\n\
        \x20for name in listed(top):\n\
        \x20\x20try: seen.append(top+\"/\"+name) if os.read(os.open(top+\"/\"+name,os.O_RDONLY|os.O_NONBLOCK),1) is not None else 0\n\
        \x20\x20except OSError: pass\n\
        for name in (\"/proc/kcore\",\"/proc/kmsg\",\"/dev/mem\",\"/etc/shadow\",sys.argv[1]+\"/decisions.jsonl\"):\n\
        \x20try: os.read(os.open(name,os.O_RDONLY|os.O_NONBLOCK),1); seen.append(name)\n\
        \x20except OSError: pass\n\
        print(sorted(seen))";
    let state = world.at("home/.local/state/cavra");
    let outcome = session.run([
        "/usr/bin/python3".as_ref(),
        "-c".as_ref(),
        std::ffi::OsStr::new(&format!("import os,sys\n{code}")),
        world.at("ws/evidence").as_os_str(),
        state.as_os_str(),
    ])?;
    outcome.exits(0).verifies();
    let seen = outcome.stdout();
    let known = [
        "/dev/full",
        "/dev/null",
        "/dev/random",
        "/dev/urandom",
        "/dev/zero",
        "/dev/tty",
        "/dev/stdin",
    ];
    for name in seen.split('\'').filter(|name| name.starts_with('/')) {
        let roots = root && name.starts_with("/root/");
        assert!(known.contains(&name) || roots, "{name} in {seen}");
    }
    assert!(seen.contains("/dev/null"), "{seen}");
    Ok(())
}

/// A new file beside a refused one can be written and not be read: that is what the mode gives up, and it says so at the start.
pub fn kernel_reads_say_what_they_give_up(user: User) -> Verdict {
    let world = world(user)?;
    let outcome = kernel(world.session()).sh("echo 1 > new; cat new; mkdir sub; echo 2 > sub/x; cat sub/x")?;
    assert_eq!(outcome.stdout(), "");
    assert!(
        outcome.stderr().contains("is not granted, so what is made beside it"),
        "{}",
        outcome.stderr()
    );
    assert_eq!(world.read("ws/new").as_deref(), Some("1\n"));
    let quiet = kernel(world.session()).option("--quiet").sh("true")?;
    assert_eq!(quiet.stderr(), "");
    Ok(())
}

/// A link that leads to the secret and to a harmless file in turn, and names that change places: the kernel decides on what it opened.
pub fn kernel_reads_win_no_race(user: User) -> Verdict {
    const RACE: &str = r#"
import os, sys, threading, time
kind, attempts = sys.argv[1], int(sys.argv[2])
os.chdir("clean")
stop = False
def turn():
    n = 0
    while not stop:
        n += 1
        if kind == "symlink":
            os.symlink("../.env" if n % 2 else "file", "next"); os.rename("next", "name")
        else:
            try: os.rename("../deep/er", "sub") if n % 2 else os.rename("sub", "../deep/er")
            except OSError: pass
pid = os.fork()
if pid == 0:
    try: turn()
    finally: os._exit(0)
wins = opened = 0
for _ in range(attempts):
    try:
        fd = os.open("name" if kind == "symlink" else "sub/.env", os.O_RDONLY)
    except OSError: continue
    opened += 1
    wins += os.read(fd, 6) == b"SECRET"
    os.close(fd)
    if wins >= 3 and len(sys.argv) > 3: break
os.kill(pid, 9)
print(wins, opened)
"#;
    for (kind, opens) in [("symlink", true), ("rename", false)] {
        let words = |attempts: &'static str| ["/usr/bin/python3", "-c", RACE, kind, attempts];
        let native = world(user)?.native(words("20000").into_iter().chain(["control"]));
        assert!(!native.stdout.starts_with("0 "), "natively it must win: {native:?}");
        let inside = world(user)?;
        let outcome = kernel(inside.session()).run(words("20000"))?;
        assert!(outcome.stdout().starts_with("0 "), "{kind}: {}", outcome.stdout());
        assert!(
            !opens || outcome.stdout() != "0 0\n",
            "the harmless file was never opened"
        );
    }
    Ok(())
}

/// What the mode can not be had with is said before anything starts.
pub fn kernel_reads_refuse_what_they_can_not_keep(user: User) -> Verdict {
    let world = world(user)?;
    let proc =
        "metadata: {id: p, version: '1'}\nfilesystem: {block_read: ['/proc/cpuinfo']}\ncommands: {default: allow}";
    for (session, says) in [
        (world.session().mode("audit"), "only watches"),
        (
            world.session().option("--evidence-level").option("all"),
            "records each read",
        ),
        (world.session().pack(proc), "about reading in /proc"),
    ] {
        let outcome = kernel(session).sh("echo started")?;
        outcome.exits(125);
        assert!(
            outcome.stderr().contains(says) && outcome.stdout().is_empty(),
            "{}",
            outcome.stderr()
        );
    }
    Ok(())
}

/// Rules that name one program only restrict all of them, and what a rule wants recorded is not read without.
pub fn kernel_reads_grant_nothing_that_owes_a_record(user: User) -> Verdict {
    let world = world(user)?;
    for rule in [
        "decision: warn",
        "decision: block, by: /usr/bin/true",
        "decision: allow_with_attestation",
        "decision: audit_only",
    ] {
        let pack = format!(
            "metadata: {{id: p, version: '1'}}\nfilesystem: {{default_write: allow}}\ncommands: {{default: allow}}\n\
             rules: [{{id: a, action: read_file, match: '${{workspace}}/clean/file', reason: r, {rule}}}]"
        );
        let outcome = kernel(world.session())
            .pack(&pack)
            .sh("cat clean/file; cat README.md .env")?;
        assert_eq!(
            outcome.stdout(),
            "read me\nSECRET top\n",
            "{rule}: {}",
            outcome.stderr()
        );
    }
    Ok(())
}

/// A folder of the workspace that is mounted elsewhere too is not granted: what comes in there by its other path was not looked at.
pub fn kernel_reads_see_through_mounts(user: User) -> Verdict {
    places::tool("unshare")?;
    let world = world(user)?;
    world.folder("ws/clean/bound");
    let session = kernel(world.session());
    let words = session.quoted()?;
    let line = format!("mount --bind deep clean/bound || exit 77; {} sh -c \"$1\"", words);
    let mut command = world.command("unshare")?;
    let script =
        "cat clean/bound/er/.env; cat clean/bound/er/plain; cat clean/file; mv clean/file clean/bound/; exit 5";
    command.args(["-m", "--propagation", "private", "sh", "-c", &line, "sh", script]);
    let outcome = session.launch(command).finish();
    if outcome.code() == Some(77) {
        return skip("no mounts here");
    }
    outcome.exits(5);
    assert!(
        !outcome.stdout().contains("SECRET") && outcome.stdout().contains("clean\n"),
        "{}",
        outcome.stdout()
    );
    Ok(())
}

/// Nodes in a folder of the workspace keep it from being granted.
pub fn kernel_reads_grant_no_folder_of_devices(user: User) -> Verdict {
    let world = world(user)?;
    world.folder("ws/clean/dev");
    let made = std::process::Command::new("mknod")
        .arg(world.at("ws/clean/dev/kmsg"))
        .args(["c", "1", "11"])
        .status();
    if !made.is_ok_and(|status| status.success()) {
        return skip("no devices can be made here");
    }
    std::fs::set_permissions(world.at("ws/clean/dev/kmsg"), std::fs::Permissions::from_mode(0o666)).unwrap();
    let line = "head -c 1 clean/dev/kmsg | wc -c";
    let outcome = kernel(world.session()).sh(line)?;
    assert_eq!(outcome.stdout(), "0\n", "{}", outcome.stderr());
    Ok(())
}
