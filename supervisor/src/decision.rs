//! The six decisions and how several of them join.

use serde::{Deserialize, Serialize};

/// What CAVRA answers to one request, least restrictive first, so that the most restrictive of several is their maximum.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Performed.
    Allow,
    /// Performed and recorded.
    AuditOnly,
    /// Performed and recorded; a person is told.
    Warn,
    /// Performed once a record with the object's SHA-256 is on disk.
    AllowWithAttestation,
    /// Held until a person says yes or no; no answer in time is a no.
    RequireApproval,
    /// Refused.
    Block,
}

impl Decision {
    /// All six, least restrictive first.
    pub const ALL: [Self; 6] = [
        Self::Allow,
        Self::AuditOnly,
        Self::Warn,
        Self::AllowWithAttestation,
        Self::RequireApproval,
        Self::Block,
    ];

    /// The name in packs and records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::AuditOnly => "audit_only",
            Self::Warn => "warn",
            Self::AllowWithAttestation => "allow_with_attestation",
            Self::RequireApproval => "require_approval",
            Self::Block => "block",
        }
    }
}

impl std::fmt::Display for Decision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// How much a decision matters to those who read records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Ordinary work.
    Low,
    /// Worth a look.
    Medium,
    /// A rule that protects something was met.
    High,
    /// Damage that can not be undone was asked for.
    Critical,
}

impl Severity {
    /// The name in packs and records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// The most restrictive answer of those layers that do not abstain (I10).
#[must_use]
pub fn strictest(layers: &[Option<Decision>]) -> Option<Decision> {
    layers.iter().copied().flatten().max()
}

#[cfg(test)]
mod tests {
    use super::Decision::{Allow, Block, Warn};
    use super::strictest;

    #[test]
    fn the_most_restrictive_layer_answers() {
        for (layers, answer) in [
            (vec![Some(Allow), Some(Block)], Some(Block)),
            (vec![None, Some(Warn)], Some(Warn)),
            (vec![Some(Allow), Some(Warn), None], Some(Warn)),
            (vec![None, None], None),
        ] {
            assert_eq!(strictest(&layers), answer, "{layers:?}");
        }
    }
}
