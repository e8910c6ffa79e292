//! Which programs run against which controls, and what can have none.

use crate::arena::Guard;

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
}

const fn race(program: &'static str, technique: &'static str, attempts: u64) -> Row {
    Row {
        program,
        technique,
        attempts,
        controls: &[Guard::Naive, Guard::Native],
        twin: Twin::Mixed,
    }
}

const fn tricks(program: &'static str, twin: Twin) -> Row {
    Row {
        program,
        technique: "",
        attempts: 1,
        controls: &[Guard::Native],
        twin,
    }
}

pub const ROWS: &[Row] = &[
    race("race_path", "open/thread/short", 20_000),
    race("race_path", "openat/thread/long", 20_000),
    race("race_path", "openat2/clone-vm", 20_000),
    race("race_path", "", 1_000),
    race("race_swap", "component/open", 20_000),
    race("race_swap", "", 1_000),
    race("race_exec", "argv/clone-vm", 20_000),
    race("race_exec", "path/thread", 20_000),
    race("race_exec", "", 400),
    race("race_sockaddr", "connect/thread/port", 20_000),
    race("race_sockaddr", "connect-unix/thread", 20_000),
    race("race_sockaddr", "", 2_000),
    tricks("aliases", Twin::Open),
    tricks("exec_alias", Twin::Open),
    tricks("escapes", Twin::Open),
    tricks("side_doors", Twin::None),
    tricks("network", Twin::Open),
    tricks("reach", Twin::None),
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
];

/// Techniques (by prefix) that the boundary refuses whatever a pack says: their twin is the native control.
pub const ALWAYS: &[&str] = &[
    "read/hard_link_empty_path",
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
    "escape/core_dump",
];
