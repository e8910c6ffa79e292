//! What is tried: each technique with its class, its harmless form, and what follows when it is not refused.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{FORBIDDEN, Scene};
use crate::approvals::client::sessions;
use crate::approvals::run_root;
use crate::sys::notify::Tid;
use crate::sys::{attempt, probe, process};

/// How long somebody outside may take to answer.
const PATIENCE: Duration = Duration::from_millis(500);

/// One way past a guard.
pub struct Technique {
    /// The class of attacks that it stands for.
    pub class: u32,
    /// What is done.
    pub name: &'static str,
    /// What somebody in a session can do when it is not refused.
    pub consequence: &'static str,
    /// Whether it won: an effect, never what a call returned alone.
    pub attempt: fn(&Scene) -> bool,
    /// The same where nothing forbids it.
    pub harmless: Option<fn(&Scene) -> bool>,
}

macro_rules! techniques {
    ($($class:literal $name:literal, $attempt:expr, $harmless:expr, else $consequence:literal;)*) => {
        &[$(Technique { class: $class, name: $name, consequence: $consequence, attempt: $attempt, harmless: $harmless },)*]
    };
}

const BLOCKED: &str = "no/file";

/// All of them, by class.
pub const TECHNIQUES: &[Technique] = techniques! {
    1 "a path that another thread rewrites during open", rewritten_path, None, else "any blocked file can be read by racing the decision";
    9 "a symlink to a blocked file", |s| through_link(s, BLOCKED), Some(|s| through_link(s, "ok/file")), else "a link is enough to read what is blocked";
    10 "a hard link to a blocked file", hard_link, None, else "a second name is enough to read what is blocked";
    12 "the folder above a blocked file renamed", renamed_folder, None, else "moving a folder takes its files out of the rules";
    13 "a blocked file through /proc/self/root", |s| reads(&s.root_path(BLOCKED)), Some(|s| reads_ok(&s.root_path("ok/file"))), else "/proc gives what is blocked";
    14 "a blocked file opened by O_PATH and again through /proc/self/fd", |s| reopened(&s.path(BLOCKED)), None, else "a descriptor without rights becomes one with rights";
    15 "a blocked file by way of `..`", |s| reads(&s.path("ok/../no/./file")), Some(|s| reads_ok(&s.path("no/../ok/./file"))), else "another spelling of a path is not recognised";
    17 "truncating a file that is read-only by rule", truncated, Some(|s| resized(s, "ok/file")), else "files can be changed without being opened";
    19 "a file made through a dangling symlink", made_through_link, None, else "files appear where none may be made";
    21 "a user namespace with its own mounts", |_| runs("unshare", &["-Ur", "true"]), None, else "the tree can mount other paths over those that rules name";
    22 "an io_uring", |_| attempt::io_uring().is_ok(), None, else "files are opened and hosts reached beside the filter";
    23 "a call by another architecture's table", |s| foreign(s), None, else "calls bypass the filter under other numbers";
    24 "an open with garbage in the registers' upper halves", high_halves, None, else "a comparison of the wrong width lets a blocked file be opened";
    25 "a call that is newer than the filter", |_| attempt::is_answered(469) || attempt::is_answered(467), None, else "what newer kernels bring is open to the tree";
    27 "a second listener for system calls", |_| probe::confinement().is_ok_and(|found| found.listener.is_ok()), None, else "the tree answers its own calls";
    28 "a Landlock domain of the tree's own", |_| probe::landlock_abi().is_ok(), None, else "a domain that the tree set would be lifted by what is done for it";
    30 "a descriptor that the launcher left open", inherited, None, else "whatever the launcher has open is open to the tree";
    31 "a device", device, None, else "devices reach below every file";
    34 "a command line that another thread rewrites during exec", rewritten_command, None, else "a blocked command runs under an allowed one's decision";
    38 "a blocked command", |s| blocked_command(s, "bin/cavra-selftest-forbidden"), Some(|s| blocked_command(s, "bin/cavra-selftest-permitted")), else "blocked commands run";
    38 "a blocked command in a shell, by a symlink", command_by_link, None, else "blocked commands run under another name";
    40 "a child traced", |_| probe::access().is_ok_and(|found| found.seize.is_ok()), None, else "a tracer changes calls after they were decided";
    45 "a blocked address", |s| answers(s, &format!("127.0.0.1:{}", s.port)), None, else "blocked hosts are reached";
    47 "a blocked address in another form", |s| answers(s, &format!("[::ffff:127.0.0.1]:{}", s.port)), None, else "blocked hosts are reached by other spellings";
    47 "a datagram", datagram, None, else "data leaves in datagrams that no rule allows";
    48 "a unix socket below a blocked folder, by a symlink", unix_socket, None, else "services that act with your rights are reached";
    57 "a signal to the supervisor", |s| process::kill(s.supervisor(), 0).is_ok(), None, else "the tree stops or ends what guards it";
    58 "the supervisor's memory", |s| memory(s), None, else "the tree reads and changes what guards it";
    59 "the session's records, to read", |s| File::open(s.records()).is_ok(), None, else "the tree knows what is recorded";
    59 "the session's records, to write", |s| OpenOptions::new().append(true).open(s.records()).is_ok(), None, else "evidence can be forged";
    60 "the session's control socket", control, None, else "the tree approves its own requests";
    67 "a session in the session", nested, None, else "a second supervisor runs under none";
    72 "the policy in force, to write", |s| OpenOptions::new().append(true).open(s.path("pack.yaml")).is_ok(), None, else "the tree changes its own rules";
    73 "a secret in the environment", |_| std::env::var_os("CAVRA_SELFTEST_TOKEN").is_some(), None, else "tokens in your environment are open to every program";
    74 "a capability", |_| capable(), None, else "root's powers are open to the tree";
};

fn gives(mut file: impl Read, text: &str) -> bool {
    let mut bytes = vec![0; text.len()];
    file.read_exact(&mut bytes).is_ok() && bytes == text.as_bytes()
}

fn reads(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| gives(file, FORBIDDEN))
}

fn reads_ok(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| gives(file, super::PERMITTED))
}

fn fresh_link(scene: &Scene, target: &str) -> Option<std::path::PathBuf> {
    let link = scene.path("ok/link");
    drop(fs::remove_file(&link));
    symlink(scene.path(target), &link).ok().map(|()| link)
}

fn through_link(scene: &Scene, target: &str) -> bool {
    fresh_link(scene, target).is_some_and(|link| reads(&link) || reads_ok(&link))
}

fn hard_link(scene: &Scene) -> bool {
    let name = scene.path("ok/hard");
    drop(fs::remove_file(&name));
    fs::hard_link(scene.path(BLOCKED), &name).is_ok() && reads(&name)
}

fn renamed_folder(scene: &Scene) -> bool {
    let (from, to) = (scene.path("above"), scene.path("moved"));
    let won = fs::rename(&from, &to).is_ok() && reads(&to.join("no/file"));
    drop(fs::rename(to, from));
    won
}

fn reopened(path: &Path) -> bool {
    let held = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path);
    held.is_ok_and(|held| reads(Path::new(&format!("/proc/self/fd/{}", held.as_raw_fd()))))
}

fn resized(scene: &Scene, name: &str) -> bool {
    // To the length that it has.
    let path = scene.path(name);
    let Ok(length) = fs::metadata(&path).map(|meta| meta.len()) else {
        return false;
    };
    nix::unistd::truncate(&path, i64::try_from(length).unwrap_or(0)).is_ok()
}

fn truncated(scene: &Scene) -> bool {
    resized(scene, "ro/file") || fs::set_permissions(scene.path("ro/file"), fs::Permissions::from_mode(0o600)).is_ok()
}

fn made_through_link(scene: &Scene) -> bool {
    let made = scene.path("no/planted");
    drop(fresh_link(scene, "no/planted").map(File::create));
    let won = made.symlink_metadata().is_ok();
    drop(fs::remove_file(made));
    won
}

fn rewritten_path(scene: &Scene) -> bool {
    let (ok, no) = (scene.path("ok/file"), scene.path("no/file"));
    attempt::open_while_changing(
        ok.as_os_str().as_bytes(),
        no.as_os_str().as_bytes(),
        scene.race(),
        |fd: OwnedFd| gives(File::from(fd), FORBIDDEN),
    )
}

fn rewritten_command(scene: &Scene) -> bool {
    attempt::spawn_while_changing(
        super::PERMITTED_LINE.as_bytes(),
        super::FORBIDDEN_LINE.as_bytes(),
        scene.race() * 2,
        super::FORBIDDEN_STATUS,
    )
}

fn high_halves(scene: &Scene) -> bool {
    CString::new(scene.path(BLOCKED).into_os_string().as_bytes())
        .ok()
        .and_then(|path| attempt::open_with_high_halves(&path).ok())
        .is_some_and(|fd| gives(File::from(fd), FORBIDDEN))
}

fn runs(program: impl AsRef<std::ffi::OsStr>, words: &[&str]) -> bool {
    let mut command = Command::new(program);
    command
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn blocked_command(scene: &Scene, name: &str) -> bool {
    runs(scene.path(name), &[])
}

fn command_by_link(scene: &Scene) -> bool {
    fresh_link(scene, "bin/cavra-selftest-forbidden")
        .is_some_and(|link| runs("/bin/sh", &["-c", "exec \"$0\"", &link.to_string_lossy()]))
}

/// In a process of its own: it is killed for asking.
fn foreign(scene: &Scene) -> bool {
    runs(&scene.program, &["selftest-probe", "--foreign"])
}

fn inherited(scene: &Scene) -> bool {
    reads(Path::new(&format!("/proc/self/fd/{}", scene.descriptor)))
}

fn device(_: &Scene) -> bool {
    ["/dev/kmsg", "/dev/fuse", "/dev/net/tun", "/dev/kvm"]
        .iter()
        .any(|path| {
            let mut options = OpenOptions::new();
            options.read(true).custom_flags(libc::O_NONBLOCK).open(path).is_ok()
        })
}

fn answers(_: &Scene, address: &str) -> bool {
    let Ok(address) = address.parse() else { return false };
    TcpStream::connect_timeout(&address, PATIENCE).is_ok_and(|stream| {
        drop(stream.set_read_timeout(Some(PATIENCE)));
        gives(stream, FORBIDDEN)
    })
}

fn datagram(scene: &Scene) -> bool {
    let mut answer = [0; FORBIDDEN.len()];
    UdpSocket::bind("127.0.0.1:0").is_ok_and(|socket| {
        socket.set_read_timeout(Some(PATIENCE)).is_ok()
            && socket.send_to(b"x", ("127.0.0.1", scene.udp_port)).is_ok()
            && socket.recv(&mut answer).is_ok()
            && answer == FORBIDDEN.as_bytes()
    })
}

fn unix_socket(scene: &Scene) -> bool {
    fresh_link(scene, "no/sock")
        .is_some_and(|link| UnixStream::connect(link).is_ok_and(|stream| gives(stream, FORBIDDEN)))
}

fn memory(scene: &Scene) -> bool {
    let pid = scene.supervisor();
    let seized = process::seize(Tid(pid)).is_ok();
    if seized {
        let _gone = process::interrupt(Tid(pid));
        let _stopped = process::wait_own(0);
        let _gone = process::detach(pid, 0);
    }
    seized || OpenOptions::new().write(true).open(format!("/proc/{pid}/mem")).is_ok()
}

fn control(scene: &Scene) -> bool {
    drop(scene.records());
    let Ok(root) = run_root() else { return false };
    // Outside, the socket comes a moment after the records.
    for _ in 0..100 {
        match sessions(&root) {
            Ok(live) if !live.is_empty() => return live.iter().any(|session| session.list().is_ok()),
            Ok(_) => std::thread::sleep(Duration::from_millis(10)),
            Err(_) => return false,
        }
    }
    false
}

fn nested(scene: &Scene) -> bool {
    let folder = scene.path("ok/nested");
    drop(fs::remove_dir_all(&folder));
    runs(
        &scene.cavra_run,
        &[
            "--quiet",
            "--approvals",
            "deny",
            "--evidence",
            &folder.to_string_lossy(),
            "--policy",
            &scene.path("open.yaml").to_string_lossy(),
            "--",
            "true",
        ],
    )
}

fn capable() -> bool {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .is_some_and(|set| set.trim().chars().any(|digit| digit != '0'))
}

/// Something that would live on.
pub(super) fn leave_behind() -> Option<u32> {
    let child = Command::new("setsid")
        .args(["sleep", "60"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    drop(std::io::stdout().flush());
    child.ok().map(|child| child.id())
}
