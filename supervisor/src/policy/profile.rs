//! Profiles: what a program needs of the machine, chosen by its name.

use serde::Deserialize;

use super::builtin;
use super::pack::{Diagnostics, parse};

/// One profile.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// Base names of commands that it is chosen for.
    #[serde(default)]
    pub commands: Vec<String>,
    /// Packs, where no `--policy` is given.
    pub packs: Vec<String>,
    /// Environment.
    #[serde(default)]
    pub env: Env,
    /// What turns a stated default into allow.
    #[serde(default)]
    pub needs: Needs,
    /// Whether the tree may trace itself.
    #[serde(default)]
    pub debug: bool,
}

/// Environment that passes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Env {
    /// Names that pass although they look like secrets; `*` at the end matches any rest.
    #[serde(default)]
    pub pass: Vec<String>,
}

/// What the program needs.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Needs {
    /// Path patterns.
    #[serde(default)]
    pub read: Vec<String>,
    /// Path patterns.
    #[serde(default)]
    pub write: Vec<String>,
    /// Network entries.
    #[serde(default)]
    pub network: Vec<String>,
    /// Variables whose URL names a host and port that is needed.
    #[serde(default)]
    pub network_env: Vec<String>,
}

impl Profile {
    /// The profile `name`, or the one chosen by the command's base name, else `default`.
    pub fn load(name: Option<&str>, command: &str) -> Result<Self, Diagnostics> {
        let all = builtin::PROFILES
            .iter()
            .map(|(id, text)| parse::<Self>(&format!("builtin:{id}"), text))
            .collect::<Result<Vec<_>, _>>()?;
        let base = command.rsplit('/').next().unwrap_or(command);
        let found = match name {
            Some(name) => all.iter().find(|profile| profile.name == name).ok_or_else(|| {
                let known: Vec<&str> = all.iter().map(|profile| profile.name.as_str()).collect();
                Diagnostics(format!("no profile `{name}`; there are {}", known.join(", ")))
            })?,
            None => all
                .iter()
                .find(|profile| profile.commands.iter().any(|command| command == base))
                .or_else(|| all.iter().find(|profile| profile.name == "default"))
                .ok_or_else(|| Diagnostics("no default profile".to_owned()))?,
        };
        Ok(found.clone())
    }
}
