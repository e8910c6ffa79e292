//! The supervisor's own envelope, the tree's floor, and root's capabilities.

use std::os::fd::OwnedFd;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, Scope,
};

/// The newest ABI whose rights are handled; older kernels handle what they know.
const NEWEST: ABI = ABI::V6;

/// The floor: of all rights that the kernel knows, only executing and reading are granted, because a CONTINUEd exec is checked for both
/// (`hook_file_open`, security/landlock/fs.c: an exec opens for reading). So no open is ever CONTINUEd: the floor does not bound reads.
pub(super) fn floor() -> Result<Option<OwnedFd>, RulesetError> {
    let created = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?;
    let Ok(root) = PathFd::new("/") else { return Ok(None) };
    Ok(created
        .add_rule(PathBeneath::new(root, AccessFs::Execute | AccessFs::ReadFile))?
        .into())
}

/// Keeps the reaper's signals inside the tree, so that it can end all of it at once; none before Linux 6.12.
pub(super) fn signal_scope() -> Result<Option<OwnedFd>, RulesetError> {
    Ok(Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .scope(Scope::Signal)?
        .create()?
        .into())
}

/// The envelope: what acts for the tree reaches no process and no abstract socket outside it, and changes no mount.
pub(super) fn enter_envelope() -> Result<(), RulesetError> {
    let created = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?;
    let Ok(root) = PathFd::new("/") else { return Ok(()) };
    created
        .add_rule(PathBeneath::new(root, AccessFs::from_all(NEWEST)))?
        .restrict_self()?;
    Ok(())
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
