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
        ("by_a_folders_rename", "/usr/bin/python3 -c 'import os; os.rename(\"deep\", \"clean/deep\")'; cat clean/deep/er/.env"),
        (
            "by_an_exchange_of_folders",
            "/usr/bin/python3 -c 'import ctypes; ctypes.CDLL(None).renameat2(-100, b\"deep/er\", -100, b\"clean/sub\", 2)'; cat clean/sub/.env",
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
        ("by_a_folders_descriptor", "d=os.open(\"deep/er\",os.O_PATH); os.write(1,os.read(os.open(\".env\",os.O_RDONLY,dir_fd=d),99))"),
        (
            "with_other_flags",
            "for f in (os.O_NOFOLLOW,os.O_NONBLOCK,os.O_APPEND,os.O_EXCL,os.O_SYNC,os.O_NOCTTY,0x8000,0o40000):\n try: os.write(1,os.read(os.open(\".env\",f),99))\n except OSError: pass",
        ),
        (
            "with_the_upper_half_set",
            "c=ctypes.CDLL(None); f=c.syscall(257,ctypes.c_long(-100),b\".env\",ctypes.c_ulong(0xdeadbeef<<32),0); os.write(1,os.read(f,99))",
        ),
        ("by_a_mapping", "f=os.open(\".env\",os.O_RDONLY); os.write(1,mmap.mmap(f,6,prot=mmap.PROT_READ)[:])"),
        ("by_o_path", "f=os.open(\".env\",os.O_PATH); os.write(1,os.read(os.open(\"/proc/self/fd/%d\"%f,os.O_RDONLY),99))"),
        (
            "by_a_descriptor_for_writing",
            "f=os.open(\"clean/../.env\",os.O_WRONLY); os.unlink(\".env\"); os.write(1,os.read(os.open(\"/proc/self/fd/%d\"%f,os.O_RDONLY),99))",
        ),
        ("for_reading_and_writing", "os.write(1,os.read(os.open(\".env\",os.O_RDWR),99))"),
        ("with_creation", "os.write(1,os.read(os.open(\".env\",os.O_RDONLY|os.O_CREAT),99))"),
        ("with_access_mode_3", "f=os.open(\".env\",3); os.write(1,os.read(os.open(\"/proc/self/fd/%d\"%f,os.O_RDONLY),99))"),
    ];
    let shell = shell.map(|(name, line)| (name, line.to_owned()));
    let in_python = in_python.map(|(name, code)| (name, python(code)));
    shell.into_iter().chain(in_python).collect()
}

/// Lines that give inside what they give natively.
const ALLOWED: &[(&str, &str)] = &[
    ("a_file", "cat README.md clean/file deep/er/plain ~/plain"),
    ("a_new_file_in_a_granted_folder", "echo new > clean/new && cat clean/new"),
    ("a_new_folder_in_one", "mkdir clean/sub && echo new > clean/sub/x && cat clean/sub/x && mv clean/sub clean/other && cat clean/other/x"),
    ("a_file_that_moves", "mv README.md clean/ && cat clean/README.md && mv clean/file . && cat file"),
    ("a_program", "clean/tool x; cp /bin/echo clean/echo && clean/echo y"),
    ("listing", "ls; ls clean; find . -name plain"),
    ("temporary_files", "f=$(mktemp) && echo t > $f && cat $f && rm $f"),
    ("devices", "cat /dev/null; head -c 4 /dev/zero | wc -c; head -c 4 /dev/urandom | wc -c"),
    ("proc", "cat /proc/self/comm; wc -l < /proc/sys/kernel/ostype; grep -c MemTotal /proc/meminfo"),
    ("descriptors", "exec 5< README.md; cat /dev/fd/5; echo in | cat /dev/stdin; cat <<X\nhere\nX"),
    ("memory_files", "/usr/bin/python3 -c 'import os; f=os.memfd_create(\"m\"); os.write(f,b\"m\\n\"); print(open(\"/proc/self/fd/%d\"%f).read())'"),
    ("fifos", "mkfifo clean/p; (echo through > clean/p &); cat clean/p"),
    ("what_is_not_there", "cat missing 2>&1; cat clean/missing 2>&1; cat README.md/x 2>&1; cat clean 2>&1"),
    ("a_folder_opened_plainly", "/usr/bin/python3 -c 'import os; print(sorted(os.listdir(os.open(\"clean\",os.O_RDONLY))))'"),
    ("names_of_the_machine", "getent passwd 0; getent hosts localhost | wc -l; id -un"),
    ("locale_and_time", "LC_ALL=C.UTF-8 TZ=Europe/Berlin date -d @0 +%H:%M"),
];

/// Lines whose writes the policy decides as ever: what is refused, and a twin.
const WRITES: &[(&str, &str)] = &[
    ("echo x > .git/hooks/pre-commit", "echo x > clean/x"),
    ("mkdir -p .github/workflows && echo x > .github/workflows/x.yml", "mkdir -p clean/a/b && echo x > clean/a/b/x.yml"),
    ("echo x > ../elsewhere/new", "echo x > new"),
    ("echo x > /etc/cavra-test", "echo x > $TMPDIR/x"),
    ("/usr/bin/python3 -c 'import os; os.open(\"clean/.envrc\", os.O_RDONLY|os.O_CREAT)'", "/usr/bin/python3 -c 'import os; os.open(\"clean/y\", os.O_RDONLY|os.O_CREAT)'"),
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
            assert_eq!((code, out), (native.code(), native.stdout.as_str()), "{line}: {}", outcome.stderr());
            outcome.verifies();
            Ok(())
        })
    };
    refused().into_iter().map(refusal).chain(ALLOWED.iter().map(allowed)).collect()
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
        assert_eq!(by_kernel.find().action("read_file").filter(|r| r["target"].as_str().is_some_and(|t| t.ends_with(name))).len(), 0, "{name}");
    }
    let opening = &by_kernel.records[0]["opening"]["reads"];
    assert_eq!(opening["by"], "kernel");
    assert!(opening["trees"].as_u64() > Some(5) && opening["named"].to_string().contains("/usr"), "{opening}");
    let by_supervisor = world.session().sh(line)?;
    by_supervisor.record("read_file").about("README.md");
    by_supervisor.record("read_file").about("/.env").decision("block");
    assert!(by_supervisor.records[0]["opening"]["reads"].is_null());
    Ok(())
}
