//! Which programs run against which controls, and what can have none.

use crate::arena::Guard;
use crate::launch::Launch;

/// How a technique shows that it works where it is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Twin {
    /// In a session without the rule it wins.
    Open,
    /// Harmless attempts of the same loop go through.
    Mixed,
    /// The boundary refuses it whatever a pack says: natively only.
    None,
}

/// What a session is told to refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// The arena's `no`, `ro` and `guard`, `evil-tool` and `good-tool forbidden`, the network.
    Arena,
    /// Writing below `by`, but for `/usr/bin/true`.
    By,
    /// What the default profile refuses, with the arena as workspace.
    Default,
}

/// One run of an attack program.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Source in `tests/programs`, without `.c`.
    pub program: &'static str,
    /// A prefix of its techniques; empty for all.
    pub technique: &'static str,
    /// Attempts of each technique; programs of tricks make one.
    pub attempts: u64,
    /// Tried in this order until each technique has won.
    pub controls: &'static [Guard],
    pub twin: Twin,
    pub rules: Rules,
    pub launch: Launch,
    /// The session that it must not win in; the shipped one, or for what one layer keeps out alone a test build without those before it.
    pub inside: Guard,
}

impl Row {
    /// Whether its attempts are against time.
    pub fn is_race(&self) -> bool {
        self.twin == Twin::Mixed && self.rules == Rules::Arena
    }

    const fn under(self, rules: Rules) -> Self {
        Self { rules, ..self }
    }

    const fn from(self, launch: Launch) -> Self {
        Self { launch, ..self }
    }

    const fn without(self, controls: &'static [Guard]) -> Self {
        Self { controls, ..self }
    }

    const fn inside(self, inside: Guard) -> Self {
        Self { inside, ..self }
    }

    const fn only(self, technique: &'static str) -> Self {
        Self { technique, ..self }
    }
}

const fn race(program: &'static str, technique: &'static str, attempts: u64) -> Row {
    Row {
        program,
        technique,
        attempts,
        controls: &[Guard::Naive, Guard::Native],
        twin: Twin::Mixed,
        rules: Rules::Arena,
        launch: Launch::Plain,
        inside: Guard::Session,
    }
}

const fn tricks(program: &'static str, twin: Twin) -> Row {
    Row {
        program,
        technique: "",
        attempts: 1,
        controls: &[Guard::Native],
        twin,
        rules: Rules::Arena,
        launch: Launch::Plain,
        inside: Guard::Session,
    }
}

/// Attempts of a race in the full run; a row that asks for fewer gets as many.
pub const FULL: u64 = 20_000;
/// The classes of attacks; those above are about compatibility.
pub const CLASSES: std::ops::RangeInclusive<u64> = 1..=76;

/// Without the look at what an exec has become.
const UNVERIFIED: &[Guard] = &[Guard::Off("exec"), Guard::Native];

pub const ROWS: &[Row] = &[
    race("race_path", "open/thread/short", 20_000),
    race("race_path", "openat/thread/long", 20_000),
    race("race_path", "", 400),
    race("race_swap", "component/open", 20_000),
    race("race_swap", "", 400),
    race("race_exec", "argv/clone-vm", 20_000).without(UNVERIFIED),
    race("race_exec", "path/thread", 20_000).without(UNVERIFIED),
    race("race_exec", "", 200).without(UNVERIFIED),
    race("race_sockaddr", "connect/thread/port", 20_000),
    race("race_sockaddr", "", 1_000),
    tricks("aliases", Twin::Open),
    tricks("aliases", Twin::Open)
        .only("read/old_hard")
        .without(&[Guard::Off("links")]),
    tricks("aliases", Twin::Open)
        .only("read/folder")
        .without(&[Guard::Off("border")]),
    tricks("mounts", Twin::Open).from(Launch::Mounted),
    tricks("exec_alias", Twin::Open),
    tricks("verbs", Twin::Open).under(Rules::Default).from(Launch::Tools),
    tricks("interpreters", Twin::Open),
    tricks("machine_code", Twin::Open),
    tricks("escapes", Twin::Open),
    tricks("side_doors", Twin::None),
    tricks("side_doors", Twin::None)
        .only("landlock/")
        .without(&[Guard::Off("filter")]),
    tricks("privileges", Twin::None).from(Launch::Roots),
    tricks("privileges", Twin::None),
    tricks("inherited", Twin::None).from(Launch::Dirty),
    tricks("network", Twin::Open),
    tricks("network", Twin::Open)
        .only("port/")
        .without(&[Guard::Off("listeners")]),
    tricks("services", Twin::None),
    tricks("reach", Twin::None),
    tricks("supervisor", Twin::None).from(Launch::Beside),
    race("reuse", "reuse/", 10)
        .under(Rules::By)
        .from(Launch::FewNumbers)
        .without(&[Guard::Off("reuse")]),
    race("reuse", "freed/", 100)
        .under(Rules::By)
        .from(Launch::FewNumbers)
        .without(&[Guard::Off("belief")]),
    race("reuse", "trust/", 10)
        .under(Rules::By)
        .without(&[Guard::Off("policy")]),
    tricks("plants", Twin::Open).under(Rules::Default),
    tricks("layers", Twin::None)
        .only("floor/")
        .inside(Guard::Off("filter"))
        .without(&[Guard::Off("filter,floor")]),
    tricks("layers", Twin::None)
        .only("envelope/")
        .under(Rules::By)
        .inside(Guard::Off("policy"))
        .without(&[Guard::Off("policy,envelope")]),
];

/// Techniques (by prefix) that no control can win, and why they are tried all the same.
pub const NO_CONTROL: &[(&str, &str)] = &[
    ("memory/", "a win is an answer that the native kernel does not give"),
    (
        "signals/creat-twice/",
        "only a supervisor that creates for its caller and is interrupted can create twice",
    ),
    (
        "landlock/",
        "a domain of the tree's own is refused, so that none can be lifted",
    ),
    ("abi/x32", "this kernel has no x32"),
    ("prctl/ambient", "no capability is inheritable here"),
    ("prctl/set_mm", "needs CAP_SYS_RESOURCE"),
    ("tty/tiocsti_stdin", "standard input is no terminal here"),
    ("device/", "no such device here, or not for this user"),
    (
        "read/proc_1_root",
        "the first process is another user's, or this one's parent",
    ),
    ("socket/ping", "the machine gives no such sockets to this group"),
    ("socket/alg", "the kernel has no such sockets"),
    ("connect/smc", "the kernel has no such sockets"),
    ("call/userfault", "not for users here"),
    ("kernel/", "this machine has no such file, or lets nobody write it"),
    ("root/bounding", "the launcher has set no_new_privs already"),
    ("root/port_", "the kernel has no such call"),
    ("root/limit_raised", "needs CAP_SYS_RESOURCE"),
    ("root/set_uid_program", "the file system honours no set-user-id"),
    ("newer/uretprobe", "the kernel kills whoever makes it by hand"),
    ("unknown/", "no kernel has these numbers yet"),
    (
        "container/host_",
        "the first process is another user's, or out of this container's reach",
    ),
    (
        "sticky/sticky_",
        "the kernel's own rule for sticky folders, which nothing here may lift",
    ),
    ("clock/", "needs CAP_SYS_TIME, or a kernel with time namespaces"),
];

/// Techniques (by prefix) that the boundary refuses whatever a pack says: their twin is the native control.
pub const ALWAYS: &[&str] = &[
    "read/proc_parent_root",
    "read/proc_1_root",
    "read/beyond_path_max",
    "read/file_handle",
    "read/chroot_to",
    "read/bind_mount",
    "read/open_tree",
    "write/setxattrat",
    "write/inode_xflags_call",
    "write/chown_",
    "write/fchown_",
    "write/fchownat_empty",
    "make/mknod_device",
    "make/mknod_block_device",
    "make/rename_whiteout",
    "connect/fast_open",
    "connect/deferred_past_port",
    "connect/source_route",
    "connect/multipath",
    "connect/smc",
    "udp/",
    "socket/",
    "unix/unix_datagram",
    "unix/unix_raw_pair",
    "unix/abstract",
    "exec/traced",
    "exec/seized",
    "exec/written_by",
    "exec/unreadable",
    "plant/open/.cavra",
    "plant/open/~/.config/cavra",
    "plant/rename/~/.config/cavra",
    "plant/link/~/.config/cavra",
    "plant/symlink/~/.config/cavra",
    "plant/exchange/~/.config/cavra",
    "plant/folder/~/.config/cavra",
    "plant/open/~/.local/state",
    "plant/rename/~/.local/state",
    "plant/link/~/.local/state",
    "plant/symlink/~/.local/state",
    "plant/exchange/~/.local/state",
    "plant/folder/~/.local/state",
    "secret/~/.local/state",
    "escape/core_dump",
];
