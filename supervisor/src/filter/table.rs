//! The table: call, answer, reason. A new call is a decision, and a line here.

use nix::errno::Errno;

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The kernel performs it.
    Native,
    /// The supervisor decides.
    Notify,
    /// It fails with this errno.
    Refuse(Errno),
    /// Answered 0 and not done.
    Pretend,
}

/// How many bits of a register the kernel reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// The lower half; the upper is not looked at (it may hold anything).
    Low32,
    /// All.
    All64,
}

/// A test of one argument register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cond {
    /// Argument equals.
    Is(u8, Width, u64),
    /// Argument differs.
    IsNot(u8, Width, u64),
    /// Argument under a mask equals.
    Masked(u8, Width, u64, u64),
}

/// One call.
#[derive(Clone, Debug)]
pub struct Row {
    /// The kernel's name.
    pub name: &'static str,
    /// Its number on this architecture.
    pub nr: i64,
    /// Tests of arguments; a refusal outranks a notification outranks native.
    pub cases: Vec<(Answer, Vec<Cond>)>,
    /// Without a matching test.
    pub otherwise: Answer,
    /// Why.
    pub reason: &'static str,
}

use Answer::{Native, Notify, Pretend, Refuse};
use Cond::{Is, IsNot, Masked};
use Width::{All64, Low32};

const fn low(value: i32) -> u64 {
    value.cast_unsigned() as u64
}

macro_rules! calls {
    ($rows:ident, $answer:expr, $reason:literal, $($name:ident)*) => {
        $($rows.push(Row { name: stringify!($name), nr: paste_nr!($name), cases: Vec::new(), otherwise: $answer, reason: $reason });)*
    };
}

macro_rules! paste_nr {
    ($name:ident) => {
        nr::$name
    };
}

/// Numbers by the kernel's names.
#[allow(non_upper_case_globals)]
mod nr {
    macro_rules! numbers {
        ($($name:ident = $sys:ident;)*) => { $(pub(super) const $name: i64 = libc::$sys;)* };
    }
    include!("numbers.rs");
}

/// The rows. With `debug` the tree may trace itself (gdb, strace).
#[must_use]
pub fn rows(debug: bool) -> Vec<Row> {
    let mut rows = Vec::with_capacity(400);
    descriptors_and_memory(&mut rows);
    paths(&mut rows);
    processes(&mut rows, debug);
    network(&mut rows);
    refused(&mut rows);
    rows
}

fn descriptors_and_memory(rows: &mut Vec<Row>) {
    calls!(rows, Native, "on descriptors that were decided when they were opened",
        read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 close fstat lseek poll ppoll select pselect6 dup dup2 dup3
        fcntl flock fsync fdatasync ftruncate fallocate getdents getdents64 fchdir sendfile splice tee vmsplice copy_file_range
        sync_file_range fadvise64 readahead close_range fstatfs syncfs sync fgetxattr flistxattr pipe pipe2 eventfd eventfd2 signalfd signalfd4
        timerfd_create timerfd_settime timerfd_gettime epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2
        inotify_init inotify_init1 inotify_add_watch inotify_rm_watch memfd_create io_setup io_destroy io_getevents io_submit io_cancel io_pgetevents);
    calls!(rows, Native, "names and metadata are visible natively",
        stat lstat newfstatat statx access faccessat faccessat2 readlink readlinkat chdir getcwd statfs ustat getxattr lgetxattr listxattr
        llistxattr name_to_handle_at sysfs);
    calls!(rows, Native, "the caller's own memory",
        mmap mprotect munmap brk mremap msync mincore madvise mlock mlock2 munlock mlockall munlockall remap_file_pages pkey_mprotect pkey_alloc
        pkey_free membarrier mbind set_mempolicy get_mempolicy migrate_pages move_pages set_mempolicy_home_node process_madvise
        process_mrelease memfd_secret);
    rows.push(Row {
        name: "ioctl",
        nr: nr::ioctl,
        cases: [libc::TIOCSTI, 0x541C /* TIOCLINUX */]
            .iter()
            .chain(REFUSED_IOCTLS)
            .copied()
            .map(|request| (Refuse(Errno::EPERM), vec![Is(1, Low32, request)]))
            .chain(INODE_IOCTLS.iter().map(|request| (Notify, vec![Is(1, Low32, *request)])))
            .collect(),
        otherwise: Native,
        reason: "types into terminals are refused; changes of an inode's flags through a readable descriptor are decided",
    });
}

/// What a merely readable folder or file is enough for, and no name or inode is left to decide on: btrfs makes, removes and marks subvolumes and
/// snapshots (a snapshot of a protected folder is the same files under other names), fs-verity makes a file unchangeable for good, fscrypt
/// takes and gives keys of folders that others use; include/uapi/linux/{btrfs,fsverity,fscrypt,msdos_fs}.h.
pub(crate) const REFUSED_IOCTLS: &[u64] = &[
    0x5000_9401, // BTRFS_IOC_SNAP_CREATE
    0x5000_940e, // BTRFS_IOC_SUBVOL_CREATE
    0x5000_940f, // BTRFS_IOC_SNAP_DESTROY
    0x4008_9413, // BTRFS_IOC_DEFAULT_SUBVOL
    0x5000_9417, // BTRFS_IOC_SNAP_CREATE_V2
    0x5000_9418, // BTRFS_IOC_SUBVOL_CREATE_V2
    0x4008_941a, // BTRFS_IOC_SUBVOL_SETFLAGS
    0x5000_943f, // BTRFS_IOC_SNAP_DESTROY_V2
    0x4080_6685, // FS_IOC_ENABLE_VERITY
    0x800c_6613, // FS_IOC_SET_ENCRYPTION_POLICY
    0xc050_6617, // FS_IOC_ADD_ENCRYPTION_KEY
    0xc040_6618, // FS_IOC_REMOVE_ENCRYPTION_KEY
    0x4004_7211, // FAT_IOCTL_SET_ATTRIBUTES
];

/// FS_IOC_SETFLAGS, FS_IOC32_SETFLAGS, FS_IOC_FSSETXATTR, FS_IOC_SETVERSION, EXT4_IOC_SETVERSION; include/uapi/linux/fs.h, fs/ext4/ext4.h.
pub(crate) const INODE_IOCTLS: &[u64] = &[0x4008_6602, 0x4004_6602, 0x401c_5820, 0x4008_7602, 0x4008_6604];

fn paths(rows: &mut Vec<Row>) {
    for (name, nr, arg) in [("open", nr::open, 1), ("openat", nr::openat, 2)] {
        rows.push(Row {
            name,
            nr,
            cases: vec![(Notify, vec![Masked(arg, Low32, low(libc::O_PATH), 0)])],
            otherwise: Native,
            reason: "a descriptor of O_PATH gives nothing without a further decided call (K19, K39)",
        });
    }
    calls!(rows, Notify, "opens",
        openat2 creat);
    calls!(rows, Notify, "changes a name or an inode",
        truncate mkdir mkdirat rmdir unlink unlinkat rename renameat renameat2 link linkat symlink symlinkat mknod mknodat chmod fchmodat fchmodat2
        chown lchown fchownat utime utimes utimensat futimesat setxattr lsetxattr removexattr lremovexattr fchmod fchown fsetxattr fremovexattr);
    calls!(rows, Notify, "runs a program", execve execveat);
    calls!(rows, Refuse(Errno::ENOSYS), "newer forms of decided calls; C libraries have the older", setxattrat removexattrat file_setattr);
    calls!(rows, Native, "names and metadata are visible natively", getxattrat listxattrat file_getattr statmount listmount cachestat);
}

fn processes(rows: &mut Vec<Row>, debug: bool) {
    calls!(rows, Native, "processes, threads, signals and time of the tree itself",
        rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait rt_sigqueueinfo rt_tgsigqueueinfo rt_sigsuspend sigaltstack
        sched_yield pause nanosleep getitimer alarm setitimer getpid fork vfork exit exit_group wait4 waitid kill tkill tgkill uname umask
        gettimeofday getrlimit setrlimit getrusage sysinfo times getuid getgid geteuid getegid setuid setgid setpgid getppid getpgrp setsid setreuid
        setregid getgroups setgroups setresuid getresuid setresgid getresgid getpgid setfsuid setfsgid getsid capget capset getpriority
          sched_getparam  sched_getscheduler sched_get_priority_max sched_get_priority_min
        sched_rr_get_interval  sched_getattr  sched_getaffinity arch_prctl gettid time futex futex_waitv futex_wake futex_wait
        futex_requeue set_tid_address restart_syscall timer_create timer_settime timer_gettime timer_getoverrun timer_delete clock_gettime
        clock_getres clock_nanosleep set_robust_list get_robust_list getcpu getrandom rseq  ioprio_get 
        pidfd_open pidfd_send_signal process_vm_readv kcmp modify_ldt set_thread_area get_thread_area map_shadow_stack pidfd_getfd);
    calls!(rows, Notify, "memory, semaphores and queues that the session itself made",
        shmget shmat shmctl semget semop semctl semtimedop msgget msgsnd msgrcv msgctl);
    calls!(rows, Native, "the caller's own memory, and descriptors of queues", shmdt mq_timedsend mq_timedreceive mq_notify mq_getsetattr);
    calls!(rows, Refuse(Errno::ENOSYS), "queues by name reach processes outside, and are no paths", mq_open mq_unlink);
    let new_namespaces = [
        libc::CLONE_NEWNS,
        libc::CLONE_NEWCGROUP,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWNET,
    ];
    let refuse_each = |flags: &[i32]| -> Vec<(Answer, Vec<Cond>)> {
        flags
            .iter()
            .map(|flag| (Refuse(Errno::EPERM), vec![Masked(0, Low32, low(*flag), low(*flag))]))
            .collect()
    };
    for (name, nr) in [
        ("prlimit64", nr::prlimit64),
        ("sched_setaffinity", nr::sched_setaffinity),
        ("sched_setscheduler", nr::sched_setscheduler),
        ("sched_setparam", nr::sched_setparam),
        ("sched_setattr", nr::sched_setattr),
    ] {
        let cases = vec![(Notify, vec![IsNot(0, Low32, 0)])];
        rows.push(Row {
            name,
            nr,
            cases,
            otherwise: Native,
            reason: "of itself; of others only inside the tree",
        });
    }
    for (name, nr, process) in [("setpriority", nr::setpriority, 0), ("ioprio_set", nr::ioprio_set, 1)] {
        let groups = (Refuse(Errno::EPERM), vec![IsNot(0, Low32, process)]);
        let cases = vec![groups, (Notify, vec![IsNot(1, Low32, 0)])];
        rows.push(Row {
            name,
            nr,
            cases,
            otherwise: Native,
            reason: "of itself; of others only inside the tree; groups reach beyond it",
        });
    }
    rows.push(Row {
        name: "clone",
        nr: nr::clone,
        cases: refuse_each(&new_namespaces),
        otherwise: Native,
        reason: "no new namespaces",
    });
    rows.push(Row {
        name: "unshare",
        nr: nr::unshare,
        cases: refuse_each(&[&new_namespaces[..], &[0x80 /* CLONE_NEWTIME */]].concat()),
        otherwise: Native,
        reason: "no new namespaces",
    });
    rows.push(Row {
        name: "prctl",
        nr: nr::prctl,
        cases: vec![
            (Refuse(Errno::EPERM), vec![Is(0, Low32, low(libc::PR_SET_MM))]),
            (Refuse(Errno::EPERM), vec![Is(0, Low32, low(libc::PR_SET_PTRACER))]),
            // The supervisor must be able to read its memory (K29): told so, and not done.
            (Pretend, vec![Is(0, Low32, low(libc::PR_SET_DUMPABLE)), Is(1, All64, 0)]),
        ],
        otherwise: Native,
        reason: "nothing that hides a process from the supervisor or gives it to others",
    });
    rows.push(Row {
        name: "personality",
        nr: nr::personality,
        cases: vec![(
            Refuse(Errno::EPERM),
            vec![
                IsNot(0, Low32, 0xffff_ffff),
                IsNot(0, Low32, 0),
                IsNot(0, Low32, low(libc::ADDR_NO_RANDOMIZE)),
            ],
        )],
        otherwise: Native,
        reason: "no foreign system call tables; reading it and switching off randomisation are allowed",
    });
    rows.push(Row {
        name: "seccomp",
        nr: nr::seccomp,
        cases: vec![(
            Refuse(Errno::EPERM),
            vec![
                Is(0, Low32, 1),
                Masked(
                    1,
                    All64,
                    libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
                    libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
                ),
            ],
        )],
        otherwise: Native,
        reason: "the tree's own filters only tighten; a listener of its own could hold calls",
    });
    let tracing = if debug { Native } else { Refuse(Errno::EPERM) };
    calls!(rows, tracing, "a tracer changes what was decided (K38)", ptrace process_vm_writev);
}

/// Options that join a multicast or anycast group: the kernel then sends reports that name it, from a socket that may send nothing.
/// IP_ADD_MEMBERSHIP, IP_ADD_SOURCE_MEMBERSHIP, MCAST_JOIN_GROUP, MCAST_JOIN_SOURCE_GROUP; include/uapi/linux/in.h and in6.h.
const MULTICAST: &[(i32, i32)] = &[
    (libc::IPPROTO_IP, libc::IP_ADD_MEMBERSHIP),
    (libc::IPPROTO_IP, libc::IP_ADD_SOURCE_MEMBERSHIP),
    (libc::IPPROTO_IP, 42),
    (libc::IPPROTO_IP, 46),
    (libc::IPPROTO_IPV6, libc::IPV6_ADD_MEMBERSHIP),
    (libc::IPPROTO_IPV6, 27),
    (libc::IPPROTO_IPV6, 42),
    (libc::IPPROTO_IPV6, 46),
];

/// Options that send packets by way of another host than the one that was decided: IP_OPTIONS holds source routes, IPV6_RTHDR is one,
/// IPV6_2292PKTOPTIONS, IPV6_2292RTHDR and a flow label's lease (IPV6_FLOWLABEL_MGR) can carry one; include/uapi/linux/in.h, in6.h.
const BY_ANOTHER_WAY: &[(i32, i32)] = &[
    (libc::IPPROTO_IP, libc::IP_OPTIONS),
    (libc::IPPROTO_IPV6, 57),
    (libc::IPPROTO_IPV6, 6),
    (libc::IPPROTO_IPV6, 5),
    (libc::IPPROTO_IPV6, 32),
];

fn network(rows: &mut Vec<Row>) {
    calls!(rows, Native, "on sockets whose other end was decided",
        accept accept4 recvfrom recvmsg recvmmsg shutdown getsockname getpeername getsockopt);
    rows.push(Row {
        name: "setsockopt",
        nr: nr::setsockopt,
        cases: [(
            Notify,
            vec![
                Is(1, Low32, low(libc::SOL_SOCKET)),
                Is(2, Low32, low(libc::SO_REUSEPORT)),
            ],
        )]
        .into_iter()
        .chain(MULTICAST.iter().chain(BY_ANOTHER_WAY).map(|(level, option)| {
            let test = vec![Is(1, Low32, low(*level)), Is(2, Low32, low(*option))];
            (Refuse(Errno::EPERM), test)
        }))
        .chain([(
            Refuse(Errno::EOPNOTSUPP),
            vec![
                Is(1, Low32, low(libc::IPPROTO_TCP)),
                Is(2, Low32, low(libc::TCP_FASTOPEN_CONNECT)),
            ],
        )])
        .collect(),
        otherwise: Native,
        reason: "a shared port may have listeners of others, so the session must know that it shares; joining a group sends reports of it; routes of the caller's own and late connecting pass by what was decided",
    });
    calls!(rows, Notify, "names an address, or takes one by listening without", connect bind listen);
    let fastopen = |arg| {
        (
            Refuse(Errno::EOPNOTSUPP),
            vec![Masked(arg, Low32, low(libc::MSG_FASTOPEN), low(libc::MSG_FASTOPEN))],
        )
    };
    rows.push(Row {
        name: "sendto",
        nr: nr::sendto,
        cases: vec![fastopen(3), (Notify, vec![IsNot(4, All64, 0)])],
        otherwise: Native,
        reason: "an address is decided; fast open would connect without being asked",
    });
    for (name, nr, arg) in [("sendmsg", nr::sendmsg, 2), ("sendmmsg", nr::sendmmsg, 3)] {
        rows.push(Row {
            name,
            nr,
            cases: vec![fastopen(arg)],
            otherwise: Native,
            reason: "sockets that could name an address here are never handed out",
        });
    }
    rows.push(Row {
        name: "socket",
        nr: nr::socket,
        cases: sockets_to_decide(),
        otherwise: Native,
        reason: "stream sockets of unix and internet, and netlink route, are native; others are decided",
    });
    rows.push(Row {
        name: "socketpair",
        nr: nr::socketpair,
        cases: [libc::SOCK_DGRAM, libc::SOCK_RAW, libc::SOCK_RDM]
            .into_iter()
            .map(|kind| (Refuse(Errno::EPROTONOSUPPORT), vec![Masked(1, Low32, 0xf, low(kind))]))
            .chain([(Refuse(Errno::EAFNOSUPPORT), vec![IsNot(0, Low32, low(libc::AF_UNIX))])])
            .collect(),
        otherwise: Native,
        reason: "a datagram pair can send to any name",
    });
}

/// The complement of the plainly native sockets, as the conjunctions that a filter can test.
fn sockets_to_decide() -> Vec<(Answer, Vec<Cond>)> {
    let family = |family: i32| Is(0, Low32, low(family));
    let mut cases = vec![(
        Notify,
        [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK]
            .map(|f| IsNot(0, Low32, low(f)))
            .to_vec(),
    )];
    // Of the four bits of a kind, stream is 0001 and seqpacket 0101: one bit tells each other kind, and a native one runs through few tests.
    let bit = |family: Cond, bit: u64, value: u64| (Notify, vec![family, Masked(1, Low32, bit, value)]);
    cases.extend(
        [(0b1000, 0b1000), (0b0010, 0b0010), (0b0001, 0)].map(|(at, value)| bit(family(libc::AF_UNIX), at, value)),
    );
    for inet in [libc::AF_INET, libc::AF_INET6] {
        let kinds = [(0b1000, 0b1000), (0b0100, 0b0100), (0b0010, 0b0010), (0b0001, 0)];
        cases.extend(kinds.map(|(at, value)| bit(family(inet), at, value)));
        cases.push((
            Notify,
            vec![
                family(inet),
                IsNot(2, Low32, 0),
                IsNot(2, Low32, low(libc::IPPROTO_TCP)),
            ],
        ));
    }
    cases.push((
        Notify,
        vec![family(libc::AF_NETLINK), IsNot(2, Low32, low(libc::NETLINK_ROUTE))],
    ));
    cases
}

fn refused(rows: &mut Vec<Row>) {
    calls!(rows, Refuse(Errno::EPERM), "mounts, roots and namespaces give paths other meanings",
        mount umount2 pivot_root chroot setns open_tree move_mount fsopen fsconfig fsmount fspick mount_setattr open_tree_attr);
    calls!(rows, Refuse(Errno::EPERM), "the machine's own state",
        swapon swapoff reboot kexec_load kexec_file_load init_module finit_module delete_module acct quotactl quotactl_fd sethostname setdomainname
        settimeofday clock_settime clock_adjtime adjtimex iopl ioperm syslog vhangup lookup_dcookie nfsservctl lsm_set_self_attr);
    calls!(rows, Refuse(Errno::EPERM), "doors beside the filter",
        bpf perf_event_open userfaultfd keyctl add_key request_key open_by_handle_at fanotify_init fanotify_mark);
    calls!(rows, Refuse(Errno::ENOSYS), "flags or operations lie in memory; libraries fall back",
        clone3 io_uring_setup io_uring_enter io_uring_register landlock_create_ruleset landlock_add_rule landlock_restrict_self uselib);
    calls!(rows, Native, "tells which modules of security there are", lsm_get_self_attr lsm_list_modules mseal);
    calls!(rows, Refuse(Errno::ENOSYS), "numbers that Linux keeps and no longer answers",
        _sysctl getpmsg putpmsg afs_syscall tuxcall security epoll_ctl_old epoll_wait_old vserver);
}
