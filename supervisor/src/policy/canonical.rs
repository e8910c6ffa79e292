//! One pack as canonical JSON: parents merged in, keys sorted, so that the same policy has the same bytes and digest.

use std::path::PathBuf;

use serde_json::{Map, Value};

use super::diagnostics::Diagnostics;
use super::pack::{Library, Merged, sha256};

/// Keys of a pack that CAVRA's own schema has.
const CAVRAS: &[(&str, &[&str])] = &[
    ("filesystem", &["block_read", "block_write", "require_approval_write"]),
    ("commands", &["block", "allow"]),
];
/// Sections of ours that CAVRA's runtime does not know.
const OURS: &[&str] = &["network", "rules", "mode", "command_grammar", "maps_to"];

/// For whom a pack is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// cavra-run: everything.
    Here,
    /// CAVRA's runtime: what its schema accepts.
    Cavra,
}

/// A pack as canonical JSON.
#[derive(Clone, Debug)]
pub struct CompiledPack {
    /// The JSON, which is YAML too: it loads as the pack does.
    pub text: String,
    /// SHA-256 of the text, lower-case hex.
    pub sha256: String,
    /// Keys that the target does not know.
    pub left_out: Vec<String>,
}

/// Reads a pack by id or file, and compiles it.
pub fn compiled(name: &str, search: &[PathBuf], target: Target) -> Result<CompiledPack, Diagnostics> {
    let mut library = Library::new(search);
    match library.named(name) {
        Some(merged) if library.diagnostics.is_clean() => {
            let (value, left_out) = compile(&merged, target);
            let text = format!("{value:#}\n");
            Ok(CompiledPack {
                sha256: sha256(&text),
                text,
                left_out,
            })
        }
        _ => Err(library.diagnostics),
    }
}

/// The merged pack, and what was left out for the target.
fn compile(merged: &Merged, target: Target) -> (Value, Vec<String>) {
    let mut left: Vec<String> = Vec::new();
    let mut top = Map::new();
    for (key, node) in merged.node.entries() {
        let name = key.text.as_str();
        if target == Target::Cavra && OURS.contains(&name) {
            left.push(name.to_owned());
            continue;
        }
        let mut value = node.json();
        if let (Target::Cavra, Some((_, known))) = (target, CAVRAS.iter().find(|(section, _)| *section == name))
            && let Some(map) = value.as_object_mut()
        {
            left.extend(
                map.keys()
                    .filter(|key| !known.contains(&key.as_str()))
                    .map(|key| format!("{name}.{key}")),
            );
            map.retain(|key, _| known.contains(&key.as_str()));
        }
        if name == "metadata"
            && let Some(map) = value.as_object_mut()
        {
            // They are part of it now.
            map.retain(|key, _| key != "inherits");
        }
        top.insert(
            name.to_owned(),
            sorted(value, name != "rules" && name != "command_grammar"),
        );
    }
    left.sort();
    (sorted(Value::Object(top), false), left)
}

/// Keys in order; lists of texts by code point, as CAVRA has them, where their order means nothing.
fn sorted(value: Value, lists: bool) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(String, Value)> = map.into_iter().collect();
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            let entries = entries.into_iter().map(|(key, value)| (key, sorted(value, lists)));
            Value::Object(entries.collect())
        }
        Value::Array(items) => {
            let mut items: Vec<Value> = items.into_iter().map(|item| sorted(item, lists)).collect();
            if lists && items.iter().all(Value::is_string) {
                items.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
            }
            Value::Array(items)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::builtin::PACKS;
    use super::{Target, compiled};

    #[test]
    fn a_compiled_pack_is_the_pack() {
        let dir = tempfile::tempdir().unwrap();
        for (id, _) in PACKS {
            for target in [Target::Here, Target::Cavra] {
                let once = compiled(id, &[], target).unwrap();
                let file = dir.path().join("compiled.yaml");
                std::fs::write(&file, &once.text).unwrap();
                let twice = compiled(file.to_str().unwrap(), &[], target).unwrap();
                assert_eq!(once.text, twice.text, "{id}");
                assert_eq!(once.sha256, twice.sha256, "{id}");
                assert_eq!(twice.left_out, Vec::<String>::new(), "{id}");
                assert!(!once.text.contains("inherits"), "{id}");
            }
        }
    }

    #[test]
    fn order_and_comments_do_not_change_the_digest_and_rules_do() {
        let dir = tempfile::tempdir().unwrap();
        let digest = |text: &str| {
            let file = dir.path().join("p.yaml");
            std::fs::write(&file, text).unwrap();
            compiled(file.to_str().unwrap(), &[], Target::Here).unwrap().sha256
        };
        let first = digest("metadata: {id: x}\ncommands: {block: [b, a]}\n");
        assert_eq!(
            first,
            digest("# why\ncommands:\n  block:\n  - a\n  - b\nmetadata:\n  id: x\n")
        );
        assert_ne!(first, digest("metadata: {id: x}\ncommands: {block: [b]}\n"));
    }

    #[test]
    fn what_cavra_does_not_know_is_left_out_and_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("p.yaml");
        std::fs::write(
            &file,
            "metadata: {id: x}\ncommands: {block: [a], warn: [b]}\nnetwork: none\n",
        )
        .unwrap();
        let found = compiled(file.to_str().unwrap(), &[], Target::Cavra).unwrap();
        assert_eq!(found.left_out, ["commands.warn", "network"]);
        assert!(!found.text.contains("network") && !found.text.contains("warn"));
    }
}
