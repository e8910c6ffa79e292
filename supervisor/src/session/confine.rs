//! The supervisor's own envelope, the tree's floor, and root's capabilities.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, Scope,
};

/// The newest ABI whose rights are handled; older kernels handle what they know.
const NEWEST: ABI = ABI::V6;

/// The floor: of all rights that the kernel knows, only executing and reading are granted, because a CONTINUEd exec is checked for both
/// (`hook_file_open`, security/landlock/fs.c: an exec opens for reading). They are granted everywhere, so this floor does not bound reads and each
/// open is decided by the supervisor; where the kernel decides reads, the floor is [`bare_floor`] and what [`super::reads`] grants.
pub(super) fn floor() -> Result<Option<OwnedFd>, RulesetError> {
    if crate::faults::off("floor") {
        // One right, granted everywhere.
        let created = Ruleset::default().handle_access(AccessFs::Execute)?.create()?;
        let Ok(root) = PathFd::new("/") else { return Ok(None) };
        return Ok(created.add_rule(PathBeneath::new(root, AccessFs::Execute))?.into());
    }
    let Ok(root) = PathFd::new("/") else { return Ok(None) };
    Ok(bare_floor()?
        .add_rule(PathBeneath::new(root, AccessFs::Execute | AccessFs::ReadFile))?
        .into())
}

/// All rights that the kernel knows, and none of them granted.
pub(super) fn bare_floor() -> Result<RulesetCreated, RulesetError> {
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()
}

/// Keeps the reaper's signals inside the tree, so that it can end all of it at once; none before Linux 6.12.
pub(super) fn signal_scope() -> Result<Option<OwnedFd>, RulesetError> {
    Ok(Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .scope(Scope::Signal)?
        .create()?
        .into())
}

/// The envelope: what acts for the tree reaches no process and no abstract socket outside it, changes no mount, and writes only where some
/// decision could let it (`roots`; none where the policy has no bounds) and into the supervisor's own folders.
pub(super) fn enter_envelope(roots: Option<&[PathBuf]>, own: &[&Path]) -> Result<(), RulesetError> {
    if crate::faults::off("envelope") {
        return Ok(());
    }
    let all = AccessFs::from_all(NEWEST);
    let mut created = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)?
        .scope(Scope::from_all(NEWEST))?
        .create()?;
    let Ok(root) = PathFd::new("/") else { return Ok(()) };
    let Some(roots) = roots else {
        created.add_rule(PathBeneath::new(root, all))?.restrict_self()?;
        return Ok(());
    };
    created = created.add_rule(PathBeneath::new(root, AccessFs::from_read(NEWEST)))?;
    // Terminals, pipes and the like are decided by kind, and a process's own entries in /proc by name.
    let kinds = [Path::new("/dev"), Path::new("/proc")];
    for path in roots
        .iter()
        .map(PathBuf::as_path)
        .chain(own.iter().copied())
        .chain(kinds)
    {
        let (open, there) = existing(path);
        if let Some(fd) = open {
            let rights = if there && !path.is_dir() {
                all & AccessFs::from_file(NEWEST)
            } else {
                all
            };
            created = created.add_rule(PathBeneath::new(fd, rights))?;
        }
    }
    created.restrict_self()?;
    Ok(())
}

/// The path or, while it does not exist, the nearest folder above it in which it could be made; whether it was there itself.
fn existing(path: &Path) -> (Option<PathFd>, bool) {
    let found = path.ancestors().find_map(|path| Some((path, PathFd::new(path).ok()?)));
    let there = found.as_ref().is_some_and(|(found, _)| *found == path);
    (found.map(|(_, fd)| fd), there)
}

/// As root: no capability, now or through any exec to come.
pub(super) fn drop_capabilities() -> Result<(), caps::errors::CapsError> {
    use caps::{CapSet, clear, has_cap};
    clear(None, CapSet::Ambient)?;
    if has_cap(None, CapSet::Effective, caps::Capability::CAP_SETPCAP)? {
        clear(None, CapSet::Bounding)?;
    }
    for set in [CapSet::Effective, CapSet::Inheritable, CapSet::Permitted] {
        clear(None, set)?;
    }
    Ok(())
}
