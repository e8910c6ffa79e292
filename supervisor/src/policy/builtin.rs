//! Packs and profiles that come with the program.

/// Packs by id.
pub(crate) const PACKS: &[(&str, &str)] = &[
    (
        "cavra-ai-agent-baseline",
        include_str!("../../../policies/cavra-ai-agent-baseline/policy.yaml"),
    ),
    (
        "cavra-workstation",
        include_str!("../../../policies/cavra-workstation/policy.yaml"),
    ),
];

/// Profiles by name.
pub(crate) const PROFILES: &[(&str, &str)] = &[
    ("default", include_str!("../../../profiles/default.yaml")),
    ("claude", include_str!("../../../profiles/claude.yaml")),
    ("ci", include_str!("../../../profiles/ci.yaml")),
];
