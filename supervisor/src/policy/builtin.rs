//! Packs and profiles that come with the program.

macro_rules! packs {
    ($($id:literal)*) => {
        &[$(($id, include_str!(concat!("../../../policies/", $id, "/policy.yaml"))),)*]
    };
}

/// Packs by id.
pub(crate) const PACKS: &[(&str, &str)] = packs! {
    "cavra-agentic-delivery"
    "cavra-ai-agent-baseline"
    "cavra-banking-baseline"
    "cavra-cloud-iam"
    "cavra-eu-ai-act"
    "cavra-github-enterprise"
    "cavra-gitlab-enterprise"
    "cavra-hipaa"
    "cavra-iso27001"
    "cavra-kubernetes-prod"
    "cavra-mcp-enterprise"
    "cavra-nist-ssdf"
    "cavra-owasp-llm-agentic"
    "cavra-pci-dss"
    "cavra-sox-change-control"
    "cavra-terraform-prod"
    "cavra-workstation"
};

/// Profiles by name.
pub(crate) const PROFILES: &[(&str, &str)] = &[
    ("default", include_str!("../../../profiles/default.yaml")),
    ("claude", include_str!("../../../profiles/claude.yaml")),
    ("ci", include_str!("../../../profiles/ci.yaml")),
];
