//! Everything that is read and checked before anything starts.

use std::ffi::{CString, OsStr, OsString};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use cavra_shim::{Instruction, Plan};

use super::{Options, ReadsBy, confine, reads};
use crate::approvals::{ControlError, ControlServer};
use crate::boundary::{Granted, Mounts, own_folders};
use crate::doctor::Features;
use crate::evidence::{EvidenceError, Journal, Level, Opening, session_id, sessions};
use crate::filter;
use crate::policy::{
    Admits, Diagnostics, Limits, Mode, Place, Policy, Profile, canonical_path, tables, trust_folders, verify,
};
use crate::resolver;
use crate::text::printable;

/// The Landlock ABI from which on a domain keeps signals inside.
const SIGNAL_SCOPE_ABI: u32 = 6;

/// What the C library reads besides resolv.conf. resolv.conf(5).
const RESOLVER_OPTIONS: &str = "RES_OPTIONS";

/// Why nothing was started.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum LaunchError {
    #[error("workspace {}: {}; name an existing folder with --workspace", .0.display(), .1)]
    Workspace(PathBuf, std::io::Error),
    #[error("{0}")]
    Policy(#[from] Diagnostics),
    #[error("{0}: command not found; PATH was searched")]
    NotFound(String),
    #[error("{0}: {1}")]
    NotExecutable(String, String),
    #[error("{0}")]
    Evidence(#[from] EvidenceError),
    #[error("{0}")]
    Control(#[from] ControlError),
    #[error("{0}")]
    Unfit(#[from] crate::doctor::Refusal),
    #[error("--reads kernel: {0}")]
    Reads(String),
    #[error("this kernel has no usable Landlock ({0}); Linux 6.1 with `landlock` in lsm= is needed")]
    Landlock(String),
    #[error(
        "already inside a user-notify sandbox (the kernel gives one listener to a tree): start cavra-run outside it"
    )]
    Nested,
    #[error("{step}: {error}")]
    Step { step: &'static str, error: String },
}

impl LaunchError {
    /// 127 and 126 as a shell's, else 125.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NotFound(_) => 127,
            Self::NotExecutable(..) => 126,
            _ => 125,
        }
    }

    pub(super) fn step(step: &'static str) -> impl FnOnce(&dyn std::fmt::Display) -> Self {
        move |error| Self::Step {
            step,
            error: error.to_string(),
        }
    }
}

/// A session that is ready to start.
pub struct Prepared {
    pub(super) plan: Plan,
    pub(super) policy: Policy,
    pub(super) journal: Journal,
    pub(super) control: ControlServer,
    pub(super) mode: Mode,
    pub(super) options: Options,
    pub(super) workspace: PathBuf,
    pub(super) resolver: Option<resolver::Prepared>,
    pub(super) granted: Granted,
}

/// Reads and checks everything. Nothing has started when this fails.
pub fn prepare(options: Options) -> Result<Prepared, LaunchError> {
    let features = crate::doctor::require()?;
    let here = std::env::current_dir().map_err(|error| LaunchError::Workspace(".".into(), error))?;
    let asked = options.workspace.clone().unwrap_or_else(|| here.clone());
    let workspace = asked
        .canonicalize()
        .map_err(|error| LaunchError::Workspace(asked.clone(), error))?;
    if !workspace.is_dir() {
        return Err(LaunchError::Workspace(
            asked,
            std::io::Error::from_raw_os_error(libc::ENOTDIR),
        ));
    }
    let cwd = if here.starts_with(&workspace) {
        here
    } else {
        workspace.clone()
    };
    let name = options
        .command
        .first()
        .map(|word| word.to_string_lossy().into_owned())
        .unwrap_or_default();
    let place = Place::of(&workspace);
    // A profile grants what its program needs: where only signed packs count, an unsigned file has no say.
    let profiles: &[PathBuf] = if options.require_signed { &[] } else { &place.profiles };
    let trust = trust_folders();
    let now = jiff::Timestamp::now();
    let signed = |file: &Path, text: &str| verify(file, text, &trust, now).map(drop);
    let admits: Option<&Admits<'_>> = if options.require_signed { Some(&signed) } else { None };
    let profile = Profile::load(options.profile.as_deref(), &name, profiles)?;
    let agent = options
        .agent_id
        .clone()
        .unwrap_or_else(|| name.rsplit('/').next().unwrap_or(&name).to_owned());
    let policy = place.load(&options.policy, &profile, &agent, admits)?;
    let program = find_program(&name, &cwd)?;
    // What a person says of the whole session holds for each pack.
    let policy = match options.mode {
        Some(_) => policy.in_one_mode(),
        None => policy,
    };
    let mode = options.mode.unwrap_or(policy.mode());
    let session_id = session_id()?;
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid())
        .ok()
        .flatten()
        .map_or_else(|| nix::unistd::geteuid().to_string(), |u| u.name);
    let looks_up = policy.looks_up() || mode == Mode::Audit;
    let (floor, granted) = floor(&options, &policy, &place, mode, &program)?;
    let opening = Opening {
        session_id: session_id.clone(),
        agent_id: agent,
        actor: options.actor.clone().unwrap_or(user),
        command: options.command.iter().map(|word| printable(word.as_bytes())).collect(),
        workspace: printable(workspace.as_os_str().as_bytes()),
        policy_digest: format!("sha256:{}", policy.digest()),
        packs: policy.packs().to_vec(),
        mode: mode.name().to_owned(),
        watching: policy.watching(),
        reads: granted.as_ref().map(|granted| granted.reads.clone()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let plan = plan(&options, &features, &profile, &policy, &program, &cwd, floor, looks_up)?;
    // Port 53 needs rights that are given up soon.
    let resolver = looks_up
        .then(|| {
            let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
            let own = policy.resolvers();
            let files = ["/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf"].map(text);
            let [resolv_conf, hosts, nsswitch] = &files;
            resolver::Prepared::open(resolv_conf, hosts, nsswitch, own)
        })
        .transpose()
        .map_err(|error| LaunchError::step("the session's resolver")(&error))?;
    let journal = Journal::create(options.evidence.as_deref(), &opening, options.evidence_level)?;
    if options.evidence.is_some()
        && let Err(error) = sessions::register(&session_id, journal.dir())
    {
        tracing::debug!(%error, "the session is not found by its name");
    }
    let control = ControlServer::bind(&session_id)?;
    Ok(Prepared {
        plan,
        policy,
        journal,
        control,
        mode,
        options,
        workspace,
        resolver,
        granted: Granted::new(granted.map(|granted| granted.folders).unwrap_or_default()),
    })
}

/// The floor, and what it lets the tree read where the kernel decides that.
fn floor(
    options: &Options,
    policy: &Policy,
    place: &Place,
    mode: Mode,
    program: &Path,
) -> Result<(OwnedFd, Option<reads::Granted>), LaunchError> {
    let landlock = |error: landlock::RulesetError| LaunchError::Landlock(error.to_string());
    let none = || LaunchError::Landlock("no ruleset".to_owned());
    if options.reads == ReadsBy::Supervisor {
        return Ok((confine::floor().map_err(landlock)?.ok_or_else(none)?, None));
    }
    if mode == Mode::Audit {
        let text = "a session that only watches refuses nothing, and the kernel only refuses: leave one of both out";
        return Err(LaunchError::Reads(text.to_owned()));
    }
    if options.evidence_level == Level::All {
        let text = "--evidence-level all records each read, and no record is made of what the kernel decides: leave one of both out";
        return Err(LaunchError::Reads(text.to_owned()));
    }
    let mut created = confine::bare_floor().map_err(landlock)?;
    let evidence = options.evidence.as_deref().map(canonical_path);
    let mounts = Mounts::read();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let scope = &place.scope;
    let wanted = reads::Wanted {
        whole: [&scope.workspace]
            .into_iter()
            .chain(&options.reads_in)
            .map(PathBuf::as_path)
            .collect(),
        besides: std::env::split_paths(&path)
            .filter(|folder| folder.is_absolute())
            .chain([program.to_path_buf()])
            .chain(reads::BESIDES.map(PathBuf::from))
            .chain(scope.tmp.iter().cloned())
            .chain([scope.home.clone()])
            .collect(),
        own: own_folders(evidence.as_deref(), &mounts, policy),
    };
    let granted = reads::grant(&mut created, policy, &wanted)?;
    if let Some(obstacle) = granted.obstacle.as_deref().filter(|_| !options.quiet) {
        let (workspace, obstacle) = (printable(scope.workspace.as_os_str().as_bytes()), printable(obstacle));
        let text = format!(
            "cavra-run: --reads kernel: {obstacle} is not granted, so what is made beside it, or in a folder above it up to {workspace}, \
             can be written and not be read in this session\n"
        );
        drop(std::io::stderr().write_all(text.as_bytes()));
    }
    Ok((Option::<OwnedFd>::from(created).ok_or_else(none)?, Some(granted)))
}

fn find_program(name: &str, cwd: &Path) -> Result<PathBuf, LaunchError> {
    let usable =
        |path: &Path| path.is_file() && path.metadata().is_ok_and(|meta| meta.permissions().mode() & 0o111 != 0);
    if name.contains('/') {
        let path = if Path::new(name).is_absolute() {
            PathBuf::from(name)
        } else {
            std::env::current_dir().unwrap_or_else(|_| cwd.to_path_buf()).join(name)
        };
        return match path.metadata() {
            Ok(_) if usable(&path) => Ok(path),
            Ok(_) => Err(LaunchError::NotExecutable(
                name.to_owned(),
                "not an executable file".to_owned(),
            )),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(LaunchError::NotFound(name.to_owned())),
            Err(error) => Err(LaunchError::NotExecutable(name.to_owned(), error.to_string())),
        };
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|path| usable(path))
        .ok_or_else(|| LaunchError::NotFound(name.to_owned()))
}

fn c_string(text: &OsStr) -> Result<CString, LaunchError> {
    CString::new(text.as_bytes()).map_err(|error| LaunchError::step("a NUL byte in the command")(&error))
}

#[allow(clippy::too_many_arguments, reason = "each is another part of the session")]
fn plan(
    options: &Options,
    features: &Features,
    profile: &Profile,
    policy: &Policy,
    program: &Path,
    cwd: &Path,
    floor: OwnedFd,
    looks_up: bool,
) -> Result<Plan, LaunchError> {
    let mut rows = filter::rows(profile.debug);
    if options.reads == ReadsBy::Kernel {
        filter::leave_reads(&mut rows);
    }
    if features.landlock_abi < SIGNAL_SCOPE_ABI {
        filter::mediate_signals(&mut rows);
    }
    if policy.admits_datagrams() {
        filter::mediate_messages(&mut rows);
    }
    if crate::faults::off("filter") {
        filter::refuse_nothing(&mut rows);
    }
    let programs = filter::compile(&rows).map_err(|error| LaunchError::step("filter")(&error))?;
    let convert = |program: &seccompiler::BpfProgram| -> Vec<Instruction> {
        program
            .iter()
            .map(|i| Instruction {
                code: i.code,
                jt: i.jt,
                jf: i.jf,
                k: i.k,
            })
            .collect()
    };
    let passes =
        |name: &str| tables::passes(&profile.env.pass, name) || options.env.iter().any(|wanted| wanted == name);
    let env = std::env::vars_os().filter(|(name, _)| {
        let name = name.to_string_lossy();
        let set = profile.env.set.iter().any(|(own, _)| *own == name);
        !set && (passes(&name) || !(tables::loads_code(&name) || tables::looks_secret(&name)))
    });
    let own = profile.env.set.iter();
    let env = env.chain(own.map(|(name, value)| (name.into(), value.into())));
    // The kernel hands out the machine's resolv.conf, whose servers the session's resolver answers over TCP.
    let over_tcp = looks_up && options.reads == ReadsBy::Kernel;
    let resolver = std::env::var_os(RESOLVER_OPTIONS)
        .filter(|_| over_tcp)
        .unwrap_or_default();
    let env = env
        .filter(|(name, _)| !over_tcp || name != RESOLVER_OPTIONS)
        .chain(over_tcp.then(|| {
            let mut options = resolver;
            options.push(" use-vc");
            (OsString::from(RESOLVER_OPTIONS), options)
        }));
    let env = env
        .map(|(name, value)| c_string(OsStr::from_bytes(&[name.as_bytes(), b"=", value.as_bytes()].concat())))
        .collect::<Result<Vec<_>, _>>()?;
    let landlock = |error: landlock::RulesetError| LaunchError::Landlock(error.to_string());
    Ok(Plan {
        program: c_string(program.as_os_str())?,
        argv: options
            .command
            .iter()
            .map(|word| c_string(word))
            .collect::<Result<Vec<_>, _>>()?,
        env,
        cwd: c_string(cwd.as_os_str())?,
        limits: limits(profile.limits),
        floor,
        signal_scope: confine::signal_scope().map_err(landlock)?,
        notify: convert(&programs.notify),
        plain: programs.plain.iter().map(convert).collect(),
        leftovers: options.leftovers,
    })
}

/// The limits that a profile sets, as the child sets them.
fn limits(limits: Limits) -> Vec<(u32, u64)> {
    let all = [
        (libc::RLIMIT_NOFILE, limits.open_files),
        (libc::RLIMIT_NPROC, limits.processes),
        (libc::RLIMIT_FSIZE, limits.file_bytes),
        (libc::RLIMIT_AS, limits.memory_bytes),
        (libc::RLIMIT_CPU, limits.cpu_seconds),
    ];
    let stated = all.into_iter().filter_map(|(resource, limit)| Some((resource, limit?)));
    stated.collect()
}
