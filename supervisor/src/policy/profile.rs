//! Profiles: what a program needs of the machine, chosen by its name.

use std::path::PathBuf;

use super::builtin;
use super::diagnostics::{Code, Diagnostics, nearest};
use super::node::Node;
use super::pack::{Library, read};
use super::shape::PROFILE_SHAPE;

/// One profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// Base names of commands that it is chosen for.
    pub commands: Vec<String>,
    /// Packs, where no `--policy` is given.
    pub packs: Vec<String>,
    /// Environment.
    pub env: Env,
    /// What turns a stated default into allow.
    pub needs: Needs,
    /// Whether the tree may trace itself.
    pub debug: bool,
    /// Resources of the tree.
    pub limits: Limits,
}

/// Environment of the tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Env {
    /// Names that pass although they look like secrets; `*` at the end matches any rest.
    pub pass: Vec<String>,
    /// Variables that are set, whatever the launcher's environment says.
    pub set: Vec<(String, String)>,
}

/// What the program needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Path patterns.
    pub read: Vec<String>,
    /// Path patterns.
    pub write: Vec<String>,
    /// Network entries.
    pub network: Vec<String>,
    /// Variables whose URL names a host and port that is needed.
    pub network_env: Vec<String>,
}

/// Limits of resources; none means the launcher's own. getrlimit(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// `RLIMIT_NOFILE`, descriptors of one process.
    pub open_files: Option<u64>,
    /// `RLIMIT_NPROC`, processes of the user.
    pub processes: Option<u64>,
    /// `RLIMIT_FSIZE`, bytes of one file.
    pub file_bytes: Option<u64>,
    /// `RLIMIT_AS`, bytes of one address space.
    pub memory_bytes: Option<u64>,
    /// `RLIMIT_CPU`, seconds of one process.
    pub cpu_seconds: Option<u64>,
}

impl Profile {
    /// The profile `name`, or the one chosen by the command's base name, else `default`. Folders (`<folder>/<name>.yaml`) come before
    /// the built-in ones; a profile in a folder takes the place of a built-in one of its name.
    pub fn load(name: Option<&str>, command: &str, folders: &[PathBuf]) -> Result<Self, Diagnostics> {
        let mut library = Library::new(&[]);
        let mut all: Vec<Self> = Vec::new();
        for (file, text) in files(folders)? {
            if let Some(node) = library.checked(&file, &text, "profile", &PROFILE_SHAPE) {
                let profile = Self::of(&node);
                if !all.iter().any(|known| known.name == profile.name) {
                    all.push(profile);
                }
            }
        }
        if !library.diagnostics.is_clean() {
            return Err(library.diagnostics);
        }
        let base = command.rsplit('/').next().unwrap_or(command);
        let position = match name {
            Some(name) => all.iter().position(|profile| profile.name == name),
            None => all
                .iter()
                .position(|profile| profile.commands.iter().any(|command| command == base))
                .or_else(|| all.iter().position(|profile| profile.name == "default")),
        };
        let names = || all.iter().map(|profile| profile.name.as_str());
        match position {
            Some(position) => Ok(all.swap_remove(position)),
            None => {
                let name = name.unwrap_or("default");
                let help = match nearest(name, names()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("there are {}", names().collect::<Vec<_>>().join(", ")),
                };
                Err(Diagnostics::one(Code::NotFound, format!("no profile `{name}`"), help))
            }
        }
    }

    fn of(node: &Node) -> Self {
        let text = |keys: &[&str]| node.at(keys).and_then(Node::text).unwrap_or_default().to_owned();
        let texts = |keys: &[&str]| -> Vec<String> {
            let items = node.at(keys).map(Node::items).unwrap_or_default();
            items.iter().filter_map(|item| item.text().map(str::to_owned)).collect()
        };
        let count = |name: &str| node.at(&["limits", name]).and_then(Node::text)?.parse().ok();
        let set = node.at(&["env", "set"]).map(Node::entries).unwrap_or_default();
        Self {
            name: text(&["name"]),
            commands: texts(&["commands"]),
            packs: texts(&["packs"]),
            env: Env {
                pass: texts(&["env", "pass"]),
                set: set
                    .iter()
                    .map(|(name, value)| (name.text.clone(), value.text().unwrap_or_default().to_owned()))
                    .collect(),
            },
            needs: Needs {
                read: texts(&["needs", "read"]),
                write: texts(&["needs", "write"]),
                network: texts(&["needs", "network"]),
                network_env: texts(&["needs", "network_env"]),
            },
            debug: node.get("debug").and_then(Node::flag).unwrap_or_default(),
            limits: Limits {
                open_files: count("open_files"),
                processes: count("processes"),
                file_bytes: count("file_bytes"),
                memory_bytes: count("memory_bytes"),
                cpu_seconds: count("cpu_seconds"),
            },
        }
    }
}

/// Name and text of each profile, folders first.
fn files(folders: &[PathBuf]) -> Result<Vec<(String, String)>, Diagnostics> {
    let mut all = Vec::new();
    for folder in folders {
        let mut paths: Vec<PathBuf> = match std::fs::read_dir(folder) {
            Ok(entries) => entries.filter_map(Result::ok).map(|entry| entry.path()).collect(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => {
                let title = format!("{}: {error}", folder.display());
                return Err(Diagnostics::one(
                    Code::Unreadable,
                    title,
                    "make it a readable folder, or remove it",
                ));
            }
        };
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
        paths.sort();
        for path in paths {
            match read(&path) {
                Ok(text) => all.extend(text.map(|text| (path.display().to_string(), text))),
                Err((code, title, help)) => return Err(Diagnostics::one(code, title, help)),
            }
        }
    }
    let built_in = builtin::PROFILES.iter();
    all.extend(built_in.map(|(name, text)| (format!("builtin:{name}"), (*text).to_owned())));
    Ok(all)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::Profile;

    #[test]
    fn a_profile_is_chosen_by_name_or_command_and_folders_come_first() {
        let dir = tempfile::tempdir().unwrap();
        let folders = [dir.path().to_path_buf(), dir.path().join("none")];
        let load = |name: Option<&str>, command: &str| Profile::load(name, command, &folders);
        assert_eq!(load(None, "/usr/bin/claude").unwrap().name, "claude");
        assert_eq!(load(None, "make").unwrap().name, "default");
        let text = "name: mine\ncommands: [make]\npacks: [x]\nenv: {set: {A: b}}\nlimits: {open_files: 64}\nneeds: {read: [~/x]}\n";
        std::fs::write(dir.path().join("m.yaml"), text).unwrap();
        std::fs::write(dir.path().join("n.yaml"), "name: claude\npacks: [y]\n").unwrap();
        let mine = load(None, "make").unwrap();
        assert_eq!((mine.name.as_str(), mine.limits.open_files), ("mine", Some(64)));
        assert_eq!(mine.env.set, [("A".to_owned(), "b".to_owned())]);
        assert_eq!(load(Some("claude"), "x").unwrap().packs, ["y"]);
        for (name, text, says) in [
            ("claud", "", "did you mean `claude`?"),
            ("x", "name: x\npacks: [y]\nneed: {}\n", "did you mean `needs`?"),
            ("x", "name: x\n", "has no `packs`"),
            ("x", "name: x\npacks: [y]\nlimits: {open_files: -1}\n", "whole number"),
        ] {
            std::fs::write(dir.path().join("x.yaml"), text).unwrap();
            if text.is_empty() {
                std::fs::remove_file(dir.path().join("x.yaml")).unwrap();
            }
            let error = load(Some(name), "x").unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
