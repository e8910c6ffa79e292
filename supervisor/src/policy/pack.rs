//! Packs as they are written: YAML, checked, with the place of each entry.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_saphyr::Spanned;
use sha2::{Digest, Sha256};

use super::builtin;
use crate::decision::{Decision, Severity};

/// Bytes of one file.
const SIZE_MAX: u64 = 10 * 1024 * 1024;
/// Parents above one pack.
const INHERIT_MAX: usize = 32;

/// Why a policy or profile can not be used; the text names file, line, value and remedy.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Diagnostics(pub String);

type List = Option<Vec<Spanned<String>>>;

/// `metadata`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Metadata {
    /// The pack's id.
    pub(crate) id: String,
    /// Parents.
    #[serde(default)]
    pub(crate) inherits: Option<OneOrMany>,
    /// Version; for people.
    #[allow(dead_code, reason = "kept for those who read the pack")]
    #[serde(default)]
    pub(crate) version: Option<serde_json::Value>,
}

/// A string or a list of them.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum OneOrMany {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl OneOrMany {
    /// As a list.
    pub(crate) fn list(&self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one.clone()],
            Self::Many(many) => many.clone(),
        }
    }
}

macro_rules! lists {
    ($(#[$doc:meta])* $name:ident { $($decision:ident: $($field:ident)+;)* } $($default:ident)*) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[allow(missing_docs)]
        pub(crate) struct $name {
            $($(#[serde(default)] pub(crate) $field: List,)+)*
            $(#[serde(default)] pub(crate) $default: Option<Decision>,)*
        }
    };
}

lists! {
    /// `filesystem`.
    Filesystem {
        Block: block_read block_write;
        RequireApproval: require_approval_read require_approval_write;
        AllowWithAttestation: allow_with_attestation_read allow_with_attestation_write;
        Warn: warn_read warn_write;
        AuditOnly: audit_only_read audit_only_write;
        Allow: allow_read allow_write;
    } default_read default_write
}

lists! {
    /// `commands`.
    Commands {
        Block: block;
        RequireApproval: require_approval;
        AllowWithAttestation: allow_with_attestation;
        Warn: warn;
        AuditOnly: audit_only;
        Allow: allow;
    } default
}

impl Filesystem {
    /// Each list with its decision.
    pub(crate) fn reads(&self) -> [(Decision, &List); 6] {
        [
            (Decision::Block, &self.block_read),
            (Decision::RequireApproval, &self.require_approval_read),
            (Decision::AllowWithAttestation, &self.allow_with_attestation_read),
            (Decision::Warn, &self.warn_read),
            (Decision::AuditOnly, &self.audit_only_read),
            (Decision::Allow, &self.allow_read),
        ]
    }

    /// Each list with its decision.
    pub(crate) fn writes(&self) -> [(Decision, &List); 6] {
        [
            (Decision::Block, &self.block_write),
            (Decision::RequireApproval, &self.require_approval_write),
            (Decision::AllowWithAttestation, &self.allow_with_attestation_write),
            (Decision::Warn, &self.warn_write),
            (Decision::AuditOnly, &self.audit_only_write),
            (Decision::Allow, &self.allow_write),
        ]
    }
}

impl Commands {
    /// Each list with its decision.
    pub(crate) fn lists(&self) -> [(Decision, &List); 6] {
        [
            (Decision::Block, &self.block),
            (Decision::RequireApproval, &self.require_approval),
            (Decision::AllowWithAttestation, &self.allow_with_attestation),
            (Decision::Warn, &self.warn),
            (Decision::AuditOnly, &self.audit_only),
            (Decision::Allow, &self.allow),
        ]
    }
}

/// `network`: lists, or the word `none`.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Network {
    /// Six lists and a default.
    Lists(Box<Commands>),
    /// `none`: nothing can connect.
    Word(String),
}

/// One of `rules`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RuleEntry {
    /// Its id.
    pub(crate) id: Option<String>,
    /// What it is about.
    pub(crate) action: OneOrMany,
    /// Patterns.
    #[serde(rename = "match")]
    pub(crate) matches: Spanned<OneOrMany>,
    /// Patterns that it is not about.
    pub(crate) except: Option<OneOrMany>,
    /// Who must ask for it to hold.
    pub(crate) by: Option<OneOrMany>,
    /// What it answers.
    pub(crate) decision: Decision,
    /// How much it matters.
    pub(crate) severity: Option<Severity>,
    /// Why.
    pub(crate) reason: Option<String>,
    /// Who may approve.
    pub(crate) approver_group: Option<String>,
    /// Controls that it serves.
    #[allow(dead_code, reason = "kept for those who read the pack")]
    #[serde(default)]
    pub(crate) maps_to: Option<serde_json::Value>,
}

/// One pack.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pack {
    /// Who it is.
    pub(crate) metadata: Metadata,
    /// Paths.
    #[serde(default)]
    pub(crate) filesystem: Filesystem,
    /// Commands.
    #[serde(default)]
    pub(crate) commands: Commands,
    /// git: protected branches and free flags.
    #[serde(default)]
    pub(crate) git: Option<BTreeMap<String, serde_json::Value>>,
    /// Addresses.
    #[serde(default)]
    pub(crate) network: Option<Network>,
    /// Rules of our own.
    #[serde(default)]
    pub(crate) rules: Vec<RuleEntry>,
    /// Rows for programs that the shipped table of command lines does not know.
    #[serde(default)]
    pub(crate) command_grammar: Vec<serde_json::Value>,
    /// enforce or audit.
    #[serde(default)]
    pub(crate) mode: Option<String>,
    /// Controls that rules serve: `section.list`, or `section.list: pattern`, to their names.
    #[allow(dead_code, reason = "for those who read the pack")]
    #[serde(default)]
    pub(crate) maps_to: BTreeMap<String, Vec<String>>,
    /// CAVRA's, for its adapters.
    #[allow(dead_code, reason = "accepted, and of no meaning at the kernel boundary")]
    #[serde(default)]
    pub(crate) mcp: Option<serde_json::Value>,
    /// CAVRA's, kept.
    #[allow(dead_code, reason = "accepted, and of no meaning at the kernel boundary")]
    #[serde(default)]
    pub(crate) approvals: Option<serde_json::Value>,
    /// CAVRA's, kept.
    #[allow(dead_code, reason = "accepted, and of no meaning at the kernel boundary")]
    #[serde(default)]
    pub(crate) evidence: Option<serde_json::Value>,
    /// CAVRA's, kept.
    #[allow(dead_code, reason = "accepted, and of no meaning at the kernel boundary")]
    #[serde(default)]
    pub(crate) compliance: Option<serde_json::Value>,
}

/// A pack with where it came from.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    /// The pack.
    pub(crate) pack: Pack,
    /// Its file, or `builtin:<id>`.
    pub(crate) file: String,
    /// SHA-256 of its bytes, lower-case hex.
    pub(crate) sha256: String,
}

/// Reads a YAML file of ours within its bounds.
pub(crate) fn parse<T: for<'de> Deserialize<'de>>(file: &str, text: &str) -> Result<T, Diagnostics> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_nodes: 100_000, max_aliases: 64, max_depth: 64 },
    };
    if text.contains('\0') {
        return Err(Diagnostics(format!("{file}: a NUL byte; packs are plain text")));
    }
    serde_saphyr::from_str_with_options(text, options).map_err(|error| Diagnostics(format!("{file}: {error}")))
}

fn read(path: &Path) -> Result<Option<String>, Diagnostics> {
    match std::fs::metadata(path) {
        Ok(meta) if meta.len() > SIZE_MAX => Err(Diagnostics(format!(
            "{}: {} bytes; a pack may have 10 MiB at most: split it with `inherits`",
            path.display(),
            meta.len()
        ))),
        Ok(_) => std::fs::read_to_string(path)
            .map(Some)
            .map_err(|error| Diagnostics(format!("{}: {error}", path.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Diagnostics(format!("{}: {error}", path.display()))),
    }
}

/// Finds a pack by id or file, with its parents in front of it.
pub(crate) fn find(name: &str, search: &[PathBuf], chain: &mut Vec<String>) -> Result<Vec<Loaded>, Diagnostics> {
    let (file, text) = locate(name, search)?;
    let pack: Pack = parse(&file, &text)?;
    let id = pack.metadata.id.clone();
    if chain.contains(&id) || chain.len() > INHERIT_MAX {
        return Err(Diagnostics(format!(
            "{file}: pack `{id}` inherits itself: {} -> {id}",
            chain.join(" -> ")
        )));
    }
    chain.push(id);
    let mut all = Vec::new();
    for parent in pack.metadata.inherits.as_ref().map(OneOrMany::list).unwrap_or_default() {
        all.extend(
            find(&parent, search, chain).map_err(|error| Diagnostics(format!("{error}\n  inherited by {file}")))?,
        );
    }
    chain.pop();
    let sha256 = Sha256::digest(text.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    all.push(Loaded { pack, file, sha256 });
    Ok(all)
}

fn locate(name: &str, search: &[PathBuf]) -> Result<(String, String), Diagnostics> {
    if name.contains('/') || name.ends_with(".yaml") {
        let text = read(Path::new(name))?.ok_or_else(|| Diagnostics(format!("{name}: no such policy file")))?;
        return Ok((name.to_owned(), text));
    }
    for root in search {
        for path in [root.join(name).join("policy.yaml"), root.join(format!("{name}.yaml"))] {
            if let Some(text) = read(&path)? {
                return Ok((path.display().to_string(), text));
            }
        }
    }
    builtin::PACKS
        .iter()
        .find(|(id, _)| *id == name)
        .map(|(id, text)| (format!("builtin:{id}"), (*text).to_owned()))
        .ok_or_else(|| {
            let known: Vec<&str> = builtin::PACKS.iter().map(|(id, _)| *id).collect();
            Diagnostics(format!(
                "no policy `{name}`; built in are {}; a file is named with a slash or .yaml",
                known.join(", ")
            ))
        })
}
