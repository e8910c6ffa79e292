//! execve and execveat: judged on what is held, performed by the kernel, verified before the first instruction.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;

use super::interpreter::{self, Interpreter};
use super::judge::Matter;
use super::paths::fast;
use super::{Boundary, Call, Reply, Stop, digest, identity};
use crate::caller::memory::{CallerPath, strings};
use crate::caller::resolve::{Last, Name, Object, name};
use crate::policy::{Command, FileOp};
use crate::sys::fs::{self, At, Kind, ObjectId};
use crate::sys::notify::{Answer, Notification, Tgid};
use crate::sys::process::{Waited, cont, detach, interrupt, is_stopped, kill, seize, wait_own};

/// Interpreters of interpreters; exec_binprm, fs/exec.c.
const DEPTH_MAX: usize = 5;
/// Bytes that the kernel looks at; BINPRM_BUF_SIZE, include/uapi/linux/binfmts.h.
const HEAD: usize = 256;

pub(super) fn execve(call: &Call<'_>) -> Result<Reply, Stop> {
    let path = call.path_at(0)?;
    perform(call, libc::AT_FDCWD, &path, (1, 2), 0)
}

pub(super) fn execveat(call: &Call<'_>) -> Result<Reply, Stop> {
    let (flags, path) = (call.int(4), call.path_at(1)?);
    if path.bytes().is_empty() && flags & libc::AT_EMPTY_PATH == 0 {
        return Err(Errno::ENOENT.into());
    }
    if flags & !(libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL.into());
    }
    perform(call, call.int(0), &path, (2, 3), flags)
}

/// What will run.
pub(super) struct Plan<'a> {
    /// Files from the one asked for to the ELF program, with their canonical paths; never empty.
    pub(super) chain: Vec<(Vec<u8>, Object)>,
    /// The file that the kernel maps.
    pub(super) image: ObjectId,
    /// The arguments as the new program will have them.
    pub(super) argv: Vec<CString>,
    /// Names that rules have for one of the files.
    copies: Vec<&'a str>,
    /// The image is a dynamic loader: its arguments name a program.
    loads: bool,
    /// What the kernel maps beside the image, and begins with.
    pub(super) interpreter: Option<Interpreter>,
}

fn perform(call: &Call<'_>, dirfd: i32, path: &CallerPath, lists: (usize, usize), flags: i32) -> Result<Reply, Stop> {
    let tid = call.notification.tid;
    let (object, canonical) = if path.bytes().is_empty() && flags & libc::AT_EMPTY_PATH != 0 {
        let fd = call.task.descriptor(dirfd)?;
        let stat = fs::fstat(fd.as_fd())?;
        named(Object { fd, stat, via: None })?
    } else if flags & libc::AT_SYMLINK_NOFOLLOW != 0 {
        named(call.view().resolve(dirfd, path, Last::Keep)?.existing()?)?
    } else {
        find(call, dirfd, path)?
    };
    // Natively the file is opened before the arguments are read.
    executable(&object)?;
    let mut total = 0;
    let mut argv = strings(tid, call.pointer(lists.0), &mut total)?;
    let env = strings(tid, call.pointer(lists.1), &mut total)?;
    if argv.is_empty() {
        // The kernel makes it one empty argument; fs/exec.c, do_execveat_common.
        argv.push(CString::default());
    }
    // How the kernel names the file to an interpreter; fs/exec.c, alloc_bprm.
    let spelled = match (path.bytes(), dirfd) {
        (bytes, fd) if bytes.starts_with(b"/") || fd == libc::AT_FDCWD => bytes.to_vec(),
        ([], fd) => format!("/dev/fd/{fd}").into_bytes(),
        (bytes, fd) => [format!("/dev/fd/{fd}/").as_bytes(), bytes].concat(),
    };
    let plan = plan(call, (object, canonical), spelled, argv.clone())?;
    let attested = judge(call, &plan, &argv, &env)?;
    run(call, &plan, &env, attested.as_deref())
}

fn named(object: Object) -> Result<(Object, Vec<u8>), Stop> {
    let canonical = match name(object.fd.as_fd(), &object.stat)? {
        Name::Path(path) | Name::Unnamed(path) => path,
    };
    Ok((object, canonical))
}

/// What a path leads to, links followed, and its canonical name.
fn find(call: &Call<'_>, dirfd: i32, path: &CallerPath) -> Result<(Object, Vec<u8>), Stop> {
    if let Some(found) = fast::hold(call, dirfd, path) {
        return Ok(found);
    }
    let found = named(call.view().resolve(dirfd, path, Last::Follow)?.existing()?)?;
    call.boundary.shortcuts.learn(path.as_c_str(), &found.1);
    Ok(found)
}

/// Follows `#!` lines as the kernel will. What must fail is answered from here, with the kernel's errno.
fn plan<'a>(
    call: &Call<'a>,
    (file, canonical): (Object, Vec<u8>),
    spelled: Vec<u8>,
    argv: Vec<CString>,
) -> Result<Plan<'a>, Stop> {
    let mut chain = Vec::new();
    let mut copies = Vec::new();
    let mut argv = argv;
    let mut spelled = spelled;
    let (mut object, mut canonical) = (file, canonical);
    for _ in 0..=DEPTH_MAX {
        // The first was looked at before its arguments.
        if !chain.is_empty() {
            executable(&object)?;
        }
        // What the caller may not read can not be verified (K30).
        let readable = fs::reopen(object.fd.as_fd(), libc::O_RDONLY | libc::O_NOCTTY).map_err(|_| Errno::EACCES)?;
        copies.extend(call.boundary.copies.names(readable.as_fd(), &object.stat));
        let mut head = [0u8; interpreter::HEAD];
        let len = fs::pread(readable.as_fd(), &mut head, 0)?;
        let head = head.get(..len).unwrap_or_default();
        if head.starts_with(b"\x7fELF") {
            // Another class or machine would come with another system call table (I1).
            if head.get(4) != Some(&2) || head.get(18..20) != Some(&MACHINE) {
                return Err(Errno::ENOEXEC.into());
            }
            let image = object.stat.id;
            let loads = call.boundary.copies.is_loader(readable.as_fd(), &object.stat);
            let named = interpreter::named(readable.as_fd(), head)?;
            let interpreter = named.map(|spelled| interpreted_by(call, spelled)).transpose()?;
            chain.push((canonical, object));
            return Ok(Plan {
                chain,
                image,
                argv,
                copies,
                loads,
                interpreter,
            });
        }
        let Some(line) = head.strip_prefix(b"#!") else {
            return Err(Errno::ENOEXEC.into());
        };
        let line = line.get(..line.len().min(HEAD - 2)).unwrap_or_default();
        let (interpreter, argument) = shebang(line, len >= HEAD)?;
        let interpreter = CString::new(interpreter).map_err(|_| Errno::ENOEXEC)?;
        let mut next = vec![interpreter.clone()];
        if let Some(argument) = argument {
            next.push(CString::new(argument).map_err(|_| Errno::ENOEXEC)?);
        }
        next.push(CString::new(spelled).map_err(|_| Errno::ENOEXEC)?);
        next.extend(argv.into_iter().skip(1));
        argv = next;
        spelled = interpreter.as_bytes().to_vec();
        chain.push((canonical, object));
        (object, canonical) = find(call, libc::AT_FDCWD, &CallerPath::of(interpreter))?;
    }
    Err(Errno::ELOOP.into())
}

/// What the kernel maps beside an image that names this interpreter.
fn interpreted_by(call: &Call<'_>, spelled: CString) -> Result<Interpreter, Stop> {
    if call
        .boundary
        .loaders
        .iter()
        .any(|known| known.as_bytes() == spelled.as_bytes())
    {
        return Ok(Interpreter::Fixed(spelled));
    }
    let path = CallerPath::of(spelled.clone());
    let object = call.view().resolve(libc::AT_FDCWD, &path, Last::Follow)?.existing()?;
    executable(&object)?;
    let canonical = name(object.fd.as_fd(), &object.stat)?.bytes().to_vec();
    let (policy, mode) = (&call.boundary.policy, call.boundary.mode);
    let fixed = interpreter::is_fixed(policy, mode, Path::new(OsStr::from_bytes(spelled.as_bytes())));
    Ok(Interpreter::Held {
        spelled,
        object,
        canonical,
        fixed,
    })
}

#[cfg(target_arch = "x86_64")]
const MACHINE: [u8; 2] = 62u16.to_le_bytes();
#[cfg(target_arch = "aarch64")]
const MACHINE: [u8; 2] = 183u16.to_le_bytes();

fn executable(object: &Object) -> Result<(), Stop> {
    match object.stat.kind() {
        Kind::File => {}
        Kind::Symlink => return Err(Errno::ELOOP.into()),
        _ => return Err(Errno::EACCES.into()),
    }
    fs::may(object.fd.as_fd(), libc::X_OK)?;
    if fs::is_noexec(object.fd.as_fd())? {
        return Err(Errno::EACCES.into());
    }
    Ok(())
}

/// Interpreter and its one argument; load_script, fs/binfmt_script.c.
fn shebang(line: &[u8], cut: bool) -> Result<(&[u8], Option<&[u8]>), Errno> {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let end = line.iter().position(|byte| *byte == b'\n');
    let line = line.get(..end.unwrap_or(line.len())).unwrap_or_default();
    let line = line
        .get(..line.iter().position(|byte| *byte == 0).unwrap_or(line.len()))
        .unwrap_or_default();
    let start = line.iter().position(|byte| !blank(byte)).ok_or(Errno::ENOEXEC)?;
    let line = line.get(start..).unwrap_or_default();
    let stop = line.iter().position(blank);
    if end.is_none() && cut && stop.is_none() {
        return Err(Errno::ENOEXEC);
    }
    let (path, rest) = line.split_at(stop.unwrap_or(line.len()));
    let rest = rest.trim_ascii();
    Ok((path, (!rest.is_empty()).then_some(rest)))
}

/// Decides, and sees the decision through; the digest of the file asked for where one is attested.
fn judge(call: &Call<'_>, plan: &Plan<'_>, argv: &[CString], env: &[CString]) -> Result<Option<String>, Stop> {
    let (Some((file, first)), Some((image, _))) = (plan.chain.first(), plan.chain.last()) else {
        return Err(Errno::ENOEXEC.into());
    };
    let interpreter = match &plan.interpreter {
        Some(Interpreter::Held { object, canonical, .. }) => Some((canonical, object)),
        Some(Interpreter::Fixed(_)) | None => None,
    };
    let cwd = call.task.base_name(libc::AT_FDCWD)?;
    let command = Command {
        file,
        chain: plan.chain.iter().map(|(path, _)| path.as_slice()).collect(),
        argv: argv.iter().map(|arg| arg.as_bytes()).collect(),
        env: env.iter().map(|entry| entry.as_bytes()).collect(),
        cwd: &cwd,
        copies_of: plan.copies.clone(),
    };
    let files = plan.chain.iter().map(|(path, object)| (path, object));
    for (path, object) in files.chain(interpreter) {
        // A file that may not be read may not be run: a copy of it would be readable in memory.
        let verdict = call.verdict(FileOp::Read, path, Some(&object.stat));
        if !verdict.is_plain() {
            call.settle(
                &Matter {
                    action: "read_file",
                    operation: "execute",
                    target: path,
                    object: Some(object.fd.as_fd()),
                    argv: Some(argv),
                },
                &verdict,
            )?;
        }
    }
    let by = &*call.task.program;
    let mut verdict = call.boundary.policy.command(&command, by);
    let mut also = |other: &Command<'_>| {
        verdict = verdict.stricter(call.boundary.policy.command(other, by));
    };
    if plan.chain.len() > 1 {
        // What the script's first line makes of it is a command too.
        also(&Command {
            file: image,
            argv: plan.argv.iter().map(|arg| arg.as_bytes()).collect(),
            ..command.clone()
        });
    }
    let begins = match interpreter {
        Some((canonical, object)) => {
            let readable = fs::reopen(object.fd.as_fd(), libc::O_RDONLY | libc::O_NOCTTY).map_err(|_| Errno::EACCES)?;
            let copies = &call.boundary.copies;
            // A loader that the kernel begins with runs the image, and takes none of its arguments for a program.
            (!copies.is_loader(readable.as_fd(), &object.stat))
                .then(|| (0, canonical.clone(), copies.names(readable.as_fd(), &object.stat)))
        }
        None => None,
    };
    for (at, canonical, copies) in loaded(call, plan).into_iter().chain(begins) {
        also(&Command {
            file: &canonical,
            chain: vec![&canonical],
            argv: plan.argv.iter().skip(at).map(|arg| arg.as_bytes()).collect(),
            copies_of: copies,
            ..command.clone()
        });
    }
    let matter = Matter {
        // A rule of the pack's `git` section judged what git is asked to do, not that it runs.
        action: if verdict.rule.id.starts_with("git.") {
            "git_operation"
        } else {
            "execute_command"
        },
        operation: "execute",
        target: file,
        object: Some(first.fd.as_fd()),
        argv: Some(argv),
    };
    call.settle_attested(&matter, &verdict)
}

/// What a dynamic loader called by hand could take for its program: each argument that leads to a file which rules name.
fn loaded<'a>(call: &Call<'a>, plan: &Plan<'_>) -> Vec<(usize, Vec<u8>, Vec<&'a str>)> {
    /// A loader's own options and their values; elf/rtld.c knows a dozen.
    const WORDS_MAX: usize = 32;
    if !plan.loads {
        return Vec::new();
    }
    let looked = |(at, word): (usize, &CString)| {
        let path = CallerPath::of(word.clone());
        let held = call.view().resolve(libc::AT_FDCWD, &path, Last::Follow).ok()?;
        let object = held.existing().ok().filter(|object| object.stat.kind() == Kind::File)?;
        let readable = fs::reopen(object.fd.as_fd(), libc::O_RDONLY).ok()?;
        let names = call.boundary.copies.names(readable.as_fd(), &object.stat);
        let canonical = name(object.fd.as_fd(), &object.stat).ok()?.bytes().to_vec();
        (!names.is_empty()).then_some((at, canonical, names))
    };
    let words = plan.argv.iter().enumerate().skip(1).take(WORDS_MAX);
    words.filter_map(looked).collect()
}

/// Lets the kernel execute, and looks at the result before it runs (K31–K37).
fn run(call: &Call<'_>, plan: &Plan<'_>, env: &[CString], attested: Option<&str>) -> Result<Reply, Stop> {
    let tid = call.notification.tid;
    // EPERM: already traced, which only a session with `debug` lets the tree do.
    seize(tid).map_err(|_| Errno::EACCES)?;
    // From here the tracee dies with this thread; each way out detaches or kills.
    if interrupt(tid).is_err()
        || call
            .boundary
            .listener
            .send(call.notification.id, Answer::Continue)
            .is_err()
    {
        // The caller is dead or dying: reap it as its tracer, so that its thread group can end.
        while let Ok(waited) = wait_own(0) {
            match waited {
                Waited::Stopped { pid, signal, .. } => {
                    let _gone = cont(pid, signal);
                }
                Waited::Ended { .. } => break,
                Waited::Continued | Waited::Nothing => {}
            }
        }
        return Ok(Reply::Answered);
    }
    loop {
        match wait_own(0) {
            Ok(Waited::Stopped {
                pid,
                event: libc::PTRACE_EVENT_EXEC,
                ..
            }) => {
                if crate::faults::off("exec") || verified(call, pid, plan, env) && is_attested(pid, plan, attested) {
                    call.boundary
                        .tasks
                        .executed(Tgid(pid), identity::program(call, plan, env));
                    if released(pid) {
                        break;
                    }
                } else {
                    // Killed by somebody meanwhile, it has no memory to look at: its end comes next, and nothing was swapped.
                    let was_killed = !is_stopped(pid);
                    let _gone = kill(pid, libc::SIGKILL);
                    if was_killed {
                        continue;
                    }
                    tracing::warn!(
                        pid,
                        "a program was swapped between decision and exec: killed before it ran"
                    );
                    let matter = Matter {
                        action: "execute_command",
                        operation: "execute",
                        target: plan.chain.first().map(|(path, _)| path.as_slice()).unwrap_or_default(),
                        object: None,
                        argv: None,
                    };
                    let _refused = call.refuse_fixed(&matter, &super::fixed::SWAPPED, Errno::EACCES);
                }
            }
            // The end of a call that failed natively, or a signal that came first.
            Ok(Waited::Stopped {
                pid,
                event: libc::PTRACE_EVENT_STOP,
                ..
            }) => {
                if released(pid) {
                    break;
                }
            }
            Ok(Waited::Stopped { pid, signal, .. }) => {
                let _gone = cont(pid, signal);
            }
            Ok(Waited::Ended { pid, .. }) if pid == tid.0 || Tgid(pid) == call.task.tgid => break,
            Ok(Waited::Ended { .. } | Waited::Continued | Waited::Nothing) => {}
            Err(_) => break,
        }
    }
    Ok(Reply::Answered)
}

/// Answers a call with ERESTARTSYS. The number is only for the kernel (K22), which looks at it when the caller has a reason to stop on its way out:
/// the signal that was seen may be another thread's by then, so the caller is given a stop of its own.
pub(super) fn restart(boundary: &Boundary, notification: Notification) -> Result<(), Errno> {
    let tid = notification.tid;
    let held = seize(tid).and_then(|()| interrupt(tid));
    let sent = boundary.listener.send(notification.id, Answer::Restart);
    while held.is_ok() {
        match wait_own(0) {
            Ok(Waited::Stopped {
                pid,
                event: libc::PTRACE_EVENT_STOP,
                ..
            }) => {
                if released(pid) {
                    break;
                }
            }
            Ok(Waited::Stopped { pid, signal, .. }) => {
                let _gone = cont(pid, signal);
            }
            Ok(Waited::Ended { .. }) | Err(_) => break,
            Ok(Waited::Continued | Waited::Nothing) => {}
        }
    }
    sent
}

/// Lets a stopped tracee go its way. False when it was killed in its stop (ESRCH): then it is still ours to wait for,
/// and its parent learns of its end only after that (kernel/exit.c, `wait_task_zombie` of a traced leader).
fn released(pid: i32) -> bool {
    detach(pid, 0).is_ok()
}

/// Whether the stopped process is what was decided: image, arguments and environment. From here on the kernel lets nobody write the image
/// (ETXTBSY), so a program that was put into the file after the decision shows too.
fn verified(call: &Call<'_>, pid: i32, plan: &Plan<'_>, env: &[CString]) -> bool {
    let open = |what: &str| -> Option<OwnedFd> {
        let path = CString::new(format!("/proc/{pid}/{what}")).ok()?;
        fs::open(At::Root, &path, libc::O_RDONLY, 0, 0).ok()
    };
    let Some(exe) = open("exe") else { return false };
    let Ok(stat) = fs::fstat(exe.as_fd()) else { return false };
    let named = call.boundary.copies.names(exe.as_fd(), &stat);
    if stat.id != plan.image || !named.iter().all(|name| plan.copies.contains(name)) {
        return false;
    }
    let wanted = plan.interpreter.as_ref().map(Interpreter::spelled);
    if interpreter::named_in(exe.as_fd()).ok().as_ref().map(Option::as_ref) != Some(wanted)
        || !plan.interpreter.as_ref().is_none_or(|it| it.is_mapped(pid, plan.image))
    {
        return false;
    }
    let joined = |list: &[CString]| -> Vec<u8> {
        list.iter()
            .flat_map(|entry| entry.as_bytes_with_nul())
            .copied()
            .collect()
    };
    // One byte more than is wanted: what is longer differs.
    let same = |what: &str, wanted: Vec<u8>| {
        let mut found = vec![0; wanted.len() + 1];
        open(what)
            .and_then(|fd| fs::pread(fd.as_fd(), &mut found, 0).ok())
            .is_some_and(|len| found.get(..len) == Some(wanted.as_slice()))
    };
    same("cmdline", joined(&plan.argv)) && same("environ", joined(env))
}

/// Whether what was attested is what runs: the kernel lets nobody write the image any more. A script is read by its interpreter later, as a
/// file of its own.
fn is_attested(pid: i32, plan: &Plan<'_>, attested: Option<&str>) -> bool {
    let Some(wanted) = attested else { return true };
    let digest = match plan.chain.as_slice() {
        [_] => CString::new(format!("/proc/{pid}/exe"))
            .map_err(|_| Errno::EINVAL)
            .and_then(|path| fs::open(At::Root, &path, libc::O_RDONLY, 0, 0))
            .and_then(|exe| digest(exe.as_fd())),
        [(_, script), ..] => {
            fs::reopen(script.fd.as_fd(), libc::O_RDONLY | libc::O_NOCTTY).and_then(|fd| digest(fd.as_fd()))
        }
        [] => return false,
    };
    digest.is_ok_and(|digest| digest == wanted)
}

impl Call<'_> {
    fn path_at(&self, arg: usize) -> Result<CallerPath, Stop> {
        Ok(CallerPath::read(self.notification.tid, self.pointer(arg))?)
    }
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::shebang;

    #[test]
    fn a_script_names_its_interpreter_as_the_kernel_reads_it() {
        type Row = (
            &'static [u8],
            bool,
            Result<(&'static [u8], Option<&'static [u8]>), Errno>,
        );
        let rows: [Row; 6] = [
            (b"/bin/sh\n", false, Ok((b"/bin/sh", None))),
            (b" /bin/sh -e x \necho", false, Ok((b"/bin/sh", Some(b"-e x")))),
            (
                b"\t/usr/bin/env\tpython3",
                false,
                Ok((b"/usr/bin/env", Some(b"python3"))),
            ),
            (b"\n", false, Err(Errno::ENOEXEC)),
            (b"/bin/longer-than-the-buffer", true, Err(Errno::ENOEXEC)),
            (b"/bin/sh", false, Ok((b"/bin/sh", None))),
        ];
        for (line, cut, wanted) in rows {
            assert_eq!(shebang(line, cut), wanted, "{}", String::from_utf8_lossy(line));
        }
    }
}
