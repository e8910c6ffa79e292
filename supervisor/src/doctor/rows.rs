//! One function a check: what was found, what follows, what helps.

use nix::errno::Errno;

use super::State::{Missing, Weaker};
use super::{Check, Findings};
use crate::sys::probe::{Died, Tried};
use crate::text::printable;

/// Consequence of what no session can do without.
const NO_SESSION: &str = "no session can start";
/// Of a process that can have no listener of its own.
const INSIDE: &str = "already inside";
/// What the tree could do, by the Landlock ABI that would stop it at the floor. Mediation decides all of it; the floor is
/// what remains should mediation have a hole. Kernel versions: Documentation/userspace-api/landlock.rst.
const FLOOR: [(u32, &str, &str); 4] = [
    (3, "truncation", "Linux 6.2"),
    (4, "TCP ports", "Linux 6.7"),
    (5, "device ioctls", "Linux 6.10"),
    (6, "signals and abstract sockets to outside the session", "Linux 6.12"),
];
/// What a container's profile has to allow.
const ALLOWED: &str = "the container's seccomp profile must allow seccomp, landlock_*, ptrace, pidfd_open, pidfd_getfd and \
                       process_vm_readv (with docker: --security-opt seccomp=PROFILE.json)";

/// All checks, in the order in which one would repair them.
pub(super) fn all(found: &Findings) -> Vec<Check> {
    vec![
        kernel(found),
        machine(found),
        proc(found),
        listener(found),
        wait_killable(found),
        addfd_send(found),
        sync_wake_up(found),
        landlock(found),
        domain(found),
        yama(found),
        callers(found),
        openat2(found),
        state(found),
        container(found),
        user(found),
    ]
}

fn kernel(found: &Findings) -> Check {
    let release = format!("Linux {}", found.around.release);
    if found.around.version() < (6, 1) {
        return Check::lacking(Missing, "kernel", release, NO_SESSION, "boot Linux 6.1 or later");
    }
    Check::full("kernel", release)
}

fn machine(found: &Findings) -> Check {
    let machine = found.around.machine.as_str();
    match machine {
        "x86_64" | "aarch64" => Check::full("machine", machine),
        _ => Check::lacking(
            Missing,
            "machine",
            machine,
            NO_SESSION,
            "use an x86_64 or aarch64 machine",
        ),
    }
}

fn proc(found: &Findings) -> Check {
    if found.around.proc {
        return Check::full("proc", "/proc shows this process");
    }
    Check::lacking(
        Missing,
        "proc",
        "/proc is not readable",
        NO_SESSION,
        "mount proc on /proc",
    )
}

/// The check on which the others build.
pub(super) const LISTENER: &str = "seccomp.listener";

fn listener(found: &Findings) -> Check {
    const ID: &str = LISTENER;
    let missing = |what: String, remedy: &str| Check::lacking(Missing, ID, what, NO_SESSION, remedy);
    let sizes = match found.notif_sizes {
        Ok(sizes) => sizes,
        Err(errno) => return missing(format!("SECCOMP_GET_NOTIF_SIZES: {errno}"), denied(found)),
    };
    match found.confinement.map(|found| found.listener) {
        Ok(Ok(())) => Check::full(ID, format!("available ({} and {} bytes)", sizes.0, sizes.1)),
        Ok(Err(Errno::EBUSY)) => missing(
            format!("EBUSY: {INSIDE} a user-notify sandbox"),
            "start cavra-run outside of it (another cavra-run, a browser's or a container's sandbox)",
        ),
        Ok(Err(Errno::EPERM)) if is_own_session(found) => missing(
            format!("EPERM, and Landlock is hidden: {INSIDE} a cavra-run session, as it looks"),
            "start it in a terminal outside of it",
        ),
        Ok(Err(errno)) => missing(format!("SECCOMP_FILTER_FLAG_NEW_LISTENER: {errno}"), denied(found)),
        Err(Died::Signal(signal)) => missing(
            format!("a filter around this process answers seccomp with {signal}"),
            ALLOWED,
        ),
        Err(Died::Call(errno)) => missing(format!("fork: {errno}"), "raise the limit on processes (ulimit -u)"),
    }
}

/// What our own filter answers (design section 6): nobody else's refuses Landlock in this way as well.
fn is_own_session(found: &Findings) -> bool {
    let listener = found.confinement.map(|found| found.listener);
    listener == Ok(Err(Errno::EPERM)) && found.around.filters > 0 && found.landlock_abi == Err(Errno::ENOSYS)
}

/// Whether what is missing is missing because another session is around this process: then nothing else helps.
pub(super) fn is_nested(found: &Findings) -> bool {
    is_own_session(found) || found.confinement.map(|found| found.listener) == Ok(Err(Errno::EBUSY))
}

/// What helps when a call is not there or not allowed.
fn denied(found: &Findings) -> &'static str {
    if found.around.container.is_some() || found.around.filters > 0 {
        ALLOWED
    } else {
        "boot a kernel with CONFIG_SECCOMP_FILTER"
    }
}

fn wait_killable(found: &Findings) -> Check {
    let consequence = "a signal would make a call's effect happen twice, and execs could not be verified";
    flag(
        found,
        "seccomp.wait_killable",
        |found| found.wait_killable,
        Missing,
        consequence,
        "boot Linux 6.1 or later",
    )
}

fn addfd_send(found: &Findings) -> Check {
    let consequence = "a descriptor could be installed and its call answered only in two steps";
    flag(
        found,
        "seccomp.addfd_send",
        |found| found.addfd_send,
        Missing,
        consequence,
        "boot Linux 6.1 or later",
    )
}

fn sync_wake_up(found: &Findings) -> Check {
    let consequence =
        "nothing is less protected, but each connect, exec and refusal waits for another processor to wake up";
    flag(
        found,
        "seccomp.sync_wake_up",
        |found| found.sync_wake_up,
        Weaker,
        consequence,
        "boot Linux 6.6 or later",
    )
}

fn flag(
    found: &Findings,
    id: &'static str,
    of: fn(crate::sys::probe::Confinement) -> Tried,
    state: super::State,
    consequence: &str,
    remedy: &str,
) -> Check {
    match found.confinement {
        Ok(tried) if tried.listener.is_err() => Check::lacking(
            state,
            id,
            "not known without a listener",
            consequence,
            "see seccomp.listener",
        ),
        Ok(tried) => match of(tried) {
            Ok(()) => Check::full(id, "available"),
            Err(errno) => Check::lacking(state, id, errno.to_string(), consequence, remedy),
        },
        Err(_) => Check::lacking(
            state,
            id,
            "not known without a listener",
            consequence,
            "see seccomp.listener",
        ),
    }
}

fn landlock(found: &Findings) -> Check {
    const ID: &str = "landlock.abi";
    let abi = match found.landlock_abi {
        Ok(abi) => abi,
        Err(Errno::EOPNOTSUPP) => {
            let remedy = "add landlock to the kernel's lsm= parameter and boot again";
            return Check::lacking(Missing, ID, "off since boot (EOPNOTSUPP)", NO_SESSION, remedy);
        }
        Err(errno) => {
            let remedy = if found.around.container.is_some() {
                ALLOWED
            } else {
                "boot a kernel with CONFIG_SECURITY_LANDLOCK"
            };
            return Check::lacking(Missing, ID, errno.to_string(), NO_SESSION, remedy);
        }
    };
    let errata = found
        .landlock_errata
        .map_or_else(|_| String::new(), |errata| format!(", errata {errata:#x}"));
    let text = format!("ABI {abi}{errata}");
    if abi < 2 {
        return Check::lacking(Missing, ID, text, NO_SESSION, "boot Linux 6.1 or later");
    }
    let open: Vec<&(u32, &str, &str)> = FLOOR.iter().filter(|(needed, ..)| abi < *needed).collect();
    let Some((_, _, newest)) = open.last() else {
        return Check::full(ID, text);
    };
    let names: Vec<&str> = open.iter().map(|(_, name, _)| *name).collect();
    let consequence = format!("there is no floor under the decisions on {}", names.join(", "));
    Check::lacking(Weaker, ID, text, &consequence, &format!("boot {newest} or later"))
}

fn domain(found: &Findings) -> Check {
    const ID: &str = "landlock.domain";
    match found.confinement.map(|found| found.landlock) {
        Ok(Ok(())) => Check::full(ID, "a process can confine itself"),
        Ok(Err(Errno::E2BIG)) => {
            let remedy = "start cavra-run outside of the sandboxes around it";
            Check::lacking(
                Missing,
                ID,
                "16 domains are already on this process",
                NO_SESSION,
                remedy,
            )
        }
        Ok(Err(errno)) => Check::lacking(Missing, ID, errno.to_string(), NO_SESSION, "see landlock.abi"),
        Err(died) => Check::lacking(Missing, ID, died.to_string(), NO_SESSION, "see seccomp.listener"),
    }
}

fn yama(found: &Findings) -> Check {
    const ID: &str = "yama.ptrace_scope";
    let consequence = "the supervisor can not read its callers' arguments: no session can start";
    match found.around.ptrace_scope {
        None => Check::full(ID, "no Yama"),
        Some(scope @ (0 | 1)) => Check::full(ID, scope.to_string()),
        // As root too: what acts for the tree has dropped CAP_SYS_PTRACE with all the others (I3).
        Some(2) => Check::lacking(
            Missing,
            ID,
            "2",
            consequence,
            "as root: sysctl kernel.yama.ptrace_scope=1",
        ),
        Some(scope) => {
            let remedy = "set kernel.yama.ptrace_scope=1 in /etc/sysctl.d and boot again: it can not be lowered before";
            Check::lacking(Missing, ID, scope.to_string(), consequence, remedy)
        }
    }
}

fn callers(found: &Findings) -> Check {
    const ID: &str = "callers";
    let access = match found.access {
        Ok(access) => access,
        Err(errno) => return Check::lacking(Missing, ID, format!("fork: {errno}"), NO_SESSION, "raise ulimit -u"),
    };
    let calls = [
        ("pidfd_open", access.pidfd_open),
        ("pidfd_getfd", access.pidfd_getfd),
        ("process_vm_readv", access.read_memory),
        ("PTRACE_SEIZE", access.seize),
    ];
    let failed: Vec<String> = calls
        .iter()
        .filter_map(|(call, tried)| Some(format!("{call} {}", tried.err()?)))
        .collect();
    if failed.is_empty() {
        return Check::full(ID, "memory, descriptors and execs of own children can be read");
    }
    let consequence = "callers' arguments can not be read or their execs not verified: no session can start";
    let remedy = if found.around.tracer != 0 && access.seize == Err(Errno::EPERM) {
        "a tracer (strace -f, gdb) follows this process's children, and each can have but one: start without it, and attach it to the \
         supervisor alone"
    } else if found.around.container.is_some() || found.around.filters > 0 {
        ALLOWED
    } else {
        "see yama.ptrace_scope; else a security module forbids it"
    };
    Check::lacking(Missing, ID, failed.join(", "), consequence, remedy)
}

fn openat2(found: &Findings) -> Check {
    match found.openat2 {
        Ok(()) => Check::full("openat2", "available"),
        Err(errno) => Check::lacking(Missing, "openat2", errno.to_string(), NO_SESSION, denied(found)),
    }
}

fn state(found: &Findings) -> Check {
    const ID: &str = "state";
    match &found.around.state {
        Ok(folder) => Check::full(ID, printable(folder.as_os_str().as_encoded_bytes())),
        Err(why) => {
            let consequence = "neither evidence nor approvals have a place: no session can start";
            let remedy = "set XDG_STATE_HOME to a folder of yours that can be written";
            Check::lacking(Missing, ID, why.clone(), consequence, remedy)
        }
    }
}

/// A container is no lack by itself: what it takes away shows in the other checks.
fn container(found: &Findings) -> Check {
    let around = &found.around;
    let inside = around.container.clone().unwrap_or_else(|| "no sign of one".to_owned());
    let filters = if around.filters > 0 {
        format!(", {} seccomp filters around", around.filters)
    } else {
        String::new()
    };
    Check::full("container", inside + &filters)
}

fn user(found: &Findings) -> Check {
    let privileges = if found.around.no_new_privs {
        ", no new privileges"
    } else {
        ""
    };
    let text = match found.around.uid {
        0 => format!("root{privileges}: capabilities are dropped in the agent and in what acts for it"),
        uid => format!("uid {uid}{privileges}"),
    };
    Check::full("user", text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]
mod tests {
    use nix::errno::Errno;

    use crate::doctor::{Findings, State, Surroundings};
    use crate::sys::probe::{Access, Confinement, Died};

    fn good() -> Findings {
        Findings {
            around: Surroundings {
                release: "6.18.44-x".to_owned(),
                machine: "x86_64".to_owned(),
                proc: true,
                uid: 1000,
                ptrace_scope: None,
                filters: 0,
                tracer: 0,
                no_new_privs: false,
                container: None,
                state: Ok("/home/ann/.local/state/cavra".into()),
            },
            notif_sizes: Ok((80, 24)),
            confinement: Ok(Confinement {
                listener: Ok(()),
                wait_killable: Ok(()),
                addfd_send: Ok(()),
                sync_wake_up: Ok(()),
                landlock: Ok(()),
            }),
            landlock_abi: Ok(7),
            landlock_errata: Ok(7),
            access: Ok(Access {
                pidfd_open: Ok(()),
                pidfd_getfd: Ok(()),
                read_memory: Ok(()),
                seize: Ok(()),
            }),
            openat2: Ok(()),
        }
    }

    #[test]
    fn each_lack_has_its_row_and_its_way_out() {
        type Lack = fn(&mut Findings);
        let rows: [(Lack, &str, State, &str); 17] = [
            (
                |f| {
                    f.around.tracer = 7;
                    f.access.as_mut().unwrap().seize = Err(Errno::EPERM);
                },
                "callers",
                State::Missing,
                "without it",
            ),
            (
                |f| f.around.state = Err("/: Permission denied".to_owned()),
                "state",
                State::Missing,
                "XDG_STATE_HOME",
            ),
            (
                |f| f.around.release = "5.15.0".to_owned(),
                "kernel",
                State::Missing,
                "Linux 6.1",
            ),
            (
                |f| f.around.machine = "riscv64".to_owned(),
                "machine",
                State::Missing,
                "x86_64",
            ),
            (|f| f.around.proc = false, "proc", State::Missing, "mount proc"),
            (
                |f| f.notif_sizes = Err(Errno::ENOSYS),
                "seccomp.listener",
                State::Missing,
                "CONFIG_SECCOMP_FILTER",
            ),
            (
                |f| f.confinement.as_mut().unwrap().listener = Err(Errno::EBUSY),
                "seccomp.listener",
                State::Missing,
                "outside of it",
            ),
            (
                |f| {
                    f.around.filters = 2;
                    f.landlock_abi = Err(Errno::ENOSYS);
                    f.confinement.as_mut().unwrap().listener = Err(Errno::EPERM);
                },
                "seccomp.listener",
                State::Missing,
                "outside of it",
            ),
            (
                |f| f.confinement = Err(Died::Signal(nix::sys::signal::Signal::SIGSYS)),
                "seccomp.listener",
                State::Missing,
                "profile must allow",
            ),
            (
                |f| f.confinement.as_mut().unwrap().sync_wake_up = Err(Errno::EINVAL),
                "seccomp.sync_wake_up",
                State::Weaker,
                "6.6",
            ),
            (
                |f| f.landlock_abi = Err(Errno::EOPNOTSUPP),
                "landlock.abi",
                State::Missing,
                "lsm=",
            ),
            (|f| f.landlock_abi = Ok(1), "landlock.abi", State::Missing, "6.1"),
            (|f| f.landlock_abi = Ok(3), "landlock.abi", State::Weaker, "6.12"),
            (
                |f| f.confinement.as_mut().unwrap().landlock = Err(Errno::E2BIG),
                "landlock.domain",
                State::Missing,
                "outside",
            ),
            (
                |f| f.around.ptrace_scope = Some(2),
                "yama.ptrace_scope",
                State::Missing,
                "sysctl",
            ),
            (
                |f| f.around.ptrace_scope = Some(3),
                "yama.ptrace_scope",
                State::Missing,
                "boot again",
            ),
            (
                |f| f.access.as_mut().unwrap().pidfd_getfd = Err(Errno::EPERM),
                "callers",
                State::Missing,
                "yama",
            ),
        ];
        for (lack, id, state, remedy) in rows {
            let mut findings = good();
            lack(&mut findings);
            let check = findings.checks().into_iter().find(|check| check.id == id).unwrap();
            assert_eq!(check.state, state, "{check:?}");
            assert!(
                check.remedy.contains(remedy) && !check.consequence.is_empty(),
                "{check:?}"
            );
            assert_eq!(findings.require().is_err(), state == State::Missing, "{id}");
        }
    }

    #[test]
    fn a_good_machine_is_at_full_strength() {
        assert!(good().checks().iter().all(|check| check.state == State::Full));
        assert!(good().require().unwrap().weaker.is_empty());
    }
}
