//! Packs as they are found and read: by id or file, with their parents merged in, each value with the place where it was written.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::builtin;
use super::diagnostics::{Code, Diagnostics, Span, nearest};
use super::node::{MAX_BYTES, Node, Value, parse};
use super::shape::{PACK_SHAPE, Shape};
use super::sign::SignatureError;

/// Parents above one pack.
const INHERIT_MAX: usize = 32;

/// One file that a pack is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// The pack's id, as this file states it.
    pub(crate) id: String,
    /// Its file, or `builtin:<id>`.
    pub(crate) file: String,
    /// SHA-256 of its bytes, lower-case hex.
    pub(crate) sha256: String,
}

/// A pack with its parents merged in.
#[derive(Clone, Debug)]
pub(crate) struct Merged {
    /// `metadata.id` of the pack itself.
    pub(crate) id: String,
    /// The whole as one tree; each node has the place where it was written.
    pub(crate) node: Node,
    /// The files that it is made of, parents first, the pack itself last.
    pub(crate) parts: Vec<Part>,
}

/// Why a file does not count as signed, if it does not: its path and text.
pub type Admits<'a> = dyn Fn(&Path, &str) -> Result<(), SignatureError> + 'a;

/// Reads packs; what is wrong with any of them gathers in `diagnostics`.
pub(crate) struct Library<'a> {
    search: &'a [PathBuf],
    done: HashMap<String, Option<Merged>>,
    /// Everything that was found wrong.
    pub(crate) diagnostics: Diagnostics,
    /// Judges each file before it counts; for signatures.
    pub(crate) admits: Option<&'a Admits<'a>>,
}

/// Where a name of a pack was written, for messages.
#[derive(Clone, Copy)]
struct Asked<'a> {
    span: Option<Span>,
    folder: Option<&'a Path>,
}

impl<'a> Library<'a> {
    /// A library over folders of packs (`<folder>/<id>/policy.yaml`, `<folder>/<id>.yaml`), then those that are built in.
    #[must_use]
    pub(crate) fn new(search: &'a [PathBuf]) -> Self {
        Self {
            search,
            done: HashMap::new(),
            diagnostics: Diagnostics::default(),
            admits: None,
        }
    }

    /// The pack that a user names: an id, or a file where the name has a slash or ends in `.yaml`.
    pub(crate) fn named(&mut self, name: &str) -> Option<Merged> {
        let asked = Asked {
            span: None,
            folder: None,
        };
        self.find(name, asked, &mut Vec::new())
    }

    fn find(&mut self, name: &str, asked: Asked<'_>, chain: &mut Vec<(String, String)>) -> Option<Merged> {
        let (file, text) = self.locate(name, asked)?;
        if let Some(at) = chain.iter().position(|(known, _)| *known == file) {
            let ids: Vec<&str> = chain.iter().skip(at).map(|(_, id)| id.as_str()).collect();
            let circle = format!("{} -> {}", ids.join(" -> "), ids.first().unwrap_or(&name));
            let help = "take one of these `inherits` out";
            self.diagnostics.error_with_help(
                Code::Cycle,
                asked.span,
                format!("pack `{name}` inherits itself: {circle}"),
                "the circle closes here",
                help,
            );
            return None;
        }
        if chain.len() > INHERIT_MAX {
            self.diagnostics.error_with_help(
                Code::Cycle,
                asked.span,
                format!("more than {INHERIT_MAX} packs inherit one another"),
                "",
                "put some of them together",
            );
            return None;
        }
        if let Some(known) = self.done.get(&file) {
            return known.clone();
        }
        let merged = self.read(&file, &text, chain);
        self.done.insert(file, merged.clone());
        merged
    }

    fn read(&mut self, file: &str, text: &str, chain: &mut Vec<(String, String)>) -> Option<Merged> {
        if let Some(admits) = self.admits
            && !file.starts_with(BUILTIN)
            && let Err(reason) = admits(Path::new(file), text)
        {
            let help = "sign it with `cavractl policy sign` and a trusted key, or start without --require-signed";
            self.diagnostics
                .error_with_help(reason.code(), None, format!("{file}: {reason}"), "", help);
            return None;
        }
        let node = self.checked(file, text, "pack", &PACK_SHAPE)?;
        let id = node
            .at(&["metadata", "id"])
            .and_then(Node::text)
            .unwrap_or_default()
            .to_owned();
        let folder = (!file.starts_with(BUILTIN)).then(|| Path::new(file).parent()).flatten();
        let parents = node
            .at(&["metadata", "inherits"])
            .map(Node::items)
            .unwrap_or_default()
            .to_vec();
        chain.push((file.to_owned(), id.clone()));
        let mut whole: Option<Node> = None;
        let mut parts: Vec<Part> = Vec::new();
        for parent in &parents {
            let asked = Asked {
                span: Some(parent.span),
                folder,
            };
            let Some(name) = parent.text() else { continue };
            let Some(merged) = self.find(name, asked, chain) else {
                continue;
            };
            whole = Some(match whole {
                Some(node) => node.merge(merged.node),
                None => merged.node,
            });
            for part in merged.parts {
                if !parts.contains(&part) {
                    parts.push(part);
                }
            }
        }
        chain.pop();
        parts.push(Part {
            id: id.clone(),
            file: file.to_owned(),
            sha256: sha256(text),
        });
        let node = match whole {
            Some(parent) => parent.merge(node),
            None => node,
        };
        Some(Merged { id, node, parts })
    }

    /// Parses and checks one file of ours against its shape; nothing when it is no mapping at all.
    pub(crate) fn checked(&mut self, file: &str, text: &str, what: &str, shape: &Shape) -> Option<Node> {
        let node = parse(file, text, &mut self.diagnostics)?;
        if !matches!(node.value, Value::Map(_)) {
            let kind = node.value.kind();
            self.diagnostics.error(
                Code::WrongType,
                node.span,
                format!("{file} holds {kind}"),
                format!("a {what} is a mapping; see `cavractl policy schema`"),
            );
            return None;
        }
        shape.check(&node, what, &mut self.diagnostics);
        Some(node)
    }

    /// Finds a pack's file and reads it.
    fn locate(&mut self, name: &str, asked: Asked<'_>) -> Option<(String, String)> {
        if name.contains('/') || name.ends_with(".yaml") {
            let path = match asked.folder {
                Some(folder) => folder.join(name),
                None => PathBuf::from(name),
            };
            let found = self.text(&path, asked.span)?;
            if found.is_none() {
                self.missing(asked.span, format!("{}: no such policy file", path.display()), None);
            }
            return Some((path.display().to_string(), found?));
        }
        for root in self.search {
            for path in [root.join(name).join("policy.yaml"), root.join(format!("{name}.yaml"))] {
                if let Some(text) = self.text(&path, asked.span)? {
                    return Some((path.display().to_string(), text));
                }
            }
        }
        let built_in = builtin::PACKS.iter().find(|(id, _)| *id == name);
        if built_in.is_none() {
            let near = nearest(name, builtin::PACKS.iter().map(|(id, _)| *id)).map(str::to_owned);
            self.missing(asked.span, format!("no policy `{name}`"), near);
        }
        built_in.map(|(id, text)| (format!("{BUILTIN}{id}"), (*text).to_owned()))
    }

    fn missing(&mut self, span: Option<Span>, title: String, near: Option<String>) {
        let known: Vec<&str> = builtin::PACKS.iter().map(|(id, _)| *id).collect();
        let help = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!(
                "built in are {}; a file is named with a slash or .yaml",
                known.join(", ")
            ),
        };
        self.diagnostics
            .error_with_help(Code::NotFound, span, title, "named here", help);
    }

    /// A file's text; `Some(None)` when there is none, nothing when it can not be used.
    #[allow(clippy::option_option, reason = "absent and unusable are different answers")]
    fn text(&mut self, path: &Path, span: Option<Span>) -> Option<Option<String>> {
        match read(path) {
            Ok(text) => Some(text),
            Err((code, title, help)) => {
                self.diagnostics.error_with_help(code, span, title, "named here", help);
                None
            }
        }
    }
}

/// In front of the ids of packs that come with the program.
pub(crate) const BUILTIN: &str = "builtin:";

/// Lower-case hex.
pub(crate) fn sha256(text: &str) -> String {
    Sha256::digest(text.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Reads a file within its bounds; nothing when there is none.
pub(crate) fn read(path: &Path) -> Result<Option<String>, (Code, String, String)> {
    let name = path.display();
    let unreadable = |error: &std::io::Error| {
        let help = "a policy that can not be read is never left out silently; mend its permissions or remove it";
        (Code::Unreadable, format!("{name}: {error}"), help.to_owned())
    };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(&error)),
        Ok(_) => {}
    }
    let meta = std::fs::metadata(path).map_err(|error| unreadable(&error))?;
    if !meta.is_file() {
        let title = format!("{name} is no file");
        return Err((Code::Unreadable, title, "name a YAML file".to_owned()));
    }
    let large = |size: u64| {
        let title = format!("{name} has {size} bytes, and a pack has at most {MAX_BYTES}");
        let help = "split it into packs that inherit one another";
        (Code::TooLarge, title, help.to_owned())
    };
    if meta.len() > MAX_BYTES as u64 {
        return Err(large(meta.len()));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| unreadable(&error))?;
    if bytes.len() > MAX_BYTES {
        return Err(large(bytes.len() as u64));
    }
    String::from_utf8(bytes).map(Some).map_err(|error| {
        let good = error
            .as_bytes()
            .get(..error.utf8_error().valid_up_to())
            .unwrap_or_default();
        let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
        let title = format!("{name}:{line}: not UTF-8");
        (Code::NotText, title, "packs are UTF-8 text".to_owned())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use std::path::Path;

    use super::{Code, Library, Merged};

    fn load(dir: &Path, name: &str) -> (Option<Merged>, Vec<Code>, String) {
        let search = [dir.to_path_buf()];
        let mut library = Library::new(&search);
        let merged = library.named(name);
        let codes = library.diagnostics.errors().iter().map(|error| error.code).collect();
        (merged, codes, library.diagnostics.to_string())
    }

    #[test]
    fn each_way_of_being_wrong_has_its_own_error() {
        let dir = tempfile::tempdir().unwrap();
        let pack = |id: &str, rest: &str| format!("metadata: {{id: {id}{rest}}}\n");
        for (name, text, code, says) in [
            ("self", pack("self", ", inherits: self"), Code::Cycle, "self -> self"),
            ("a", pack("a", ", inherits: [b]"), Code::Cycle, "a -> b -> a"),
            ("b", pack("b", ", inherits: [a]"), Code::Cycle, "b -> a -> b"),
            (
                "orphan",
                pack("orphan", ", inherits: nobody"),
                Code::NotFound,
                "orphan.yaml:1:34",
            ),
            (
                "near",
                pack("near", ", inherits: cavra-workstaton"),
                Code::NotFound,
                "did you mean `cavra-workstation`?",
            ),
            (
                "file",
                pack("file", ", inherits: ./nowhere.yaml"),
                Code::NotFound,
                "no such policy file",
            ),
            ("list", "- x\n".to_owned(), Code::WrongType, "a pack is a mapping"),
            ("empty", String::new(), Code::WrongType, "a pack is a mapping"),
            ("tab", "a: [x".to_owned(), Code::Syntax, "tab.yaml:1"),
        ] {
            std::fs::write(dir.path().join(format!("{name}.yaml")), text).unwrap();
            if name == "a" {
                std::fs::write(dir.path().join("b.yaml"), pack("b", ", inherits: a")).unwrap();
            }
            let (_, codes, text) = load(dir.path(), name);
            assert_eq!(codes, [code], "{name}: {text}");
            assert!(text.contains(says), "{name}: {text}");
        }
        std::fs::write(dir.path().join("latin.yaml"), b"metadata:\n  id: \xe9\n").unwrap();
        std::fs::create_dir(dir.path().join("folder.yaml")).unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join("dangling.yaml")).unwrap();
        std::fs::write(dir.path().join("large.yaml"), vec![b' '; 10 * 1024 * 1024 + 1]).unwrap();
        for (name, code, says) in [
            ("latin", Code::NotText, "latin.yaml:2: not UTF-8"),
            ("folder", Code::Unreadable, "is no file"),
            ("dangling", Code::Unreadable, "dangling.yaml"),
            ("large", Code::TooLarge, "split it"),
            ("missing", Code::NotFound, "built in are"),
        ] {
            let (merged, codes, text) = load(dir.path(), name);
            assert!(merged.is_none(), "{name}");
            assert_eq!(codes, [code], "{name}: {text}");
            assert!(text.contains(says), "{name}: {text}");
        }
    }

    #[test]
    fn parents_come_first_and_a_diamond_is_read_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut below = "p0".to_owned();
        std::fs::write(
            dir.path().join("p0.yaml"),
            "metadata: {id: p0}\nmode: audit\ncommands: {block: [zero]}\n",
        )
        .unwrap();
        for level in 1..20 {
            for side in ["l", "r"] {
                let id = format!("{side}{level}");
                let text = format!("metadata: {{id: {id}, inherits: {below}}}\ncommands: {{block: [{id}]}}\n");
                std::fs::write(dir.path().join(format!("{id}.yaml")), text).unwrap();
            }
            below = format!("[l{level}, r{level}]");
        }
        std::fs::write(
            dir.path().join("top.yaml"),
            format!("metadata: {{id: top, inherits: {below}}}\nmode: enforce\n"),
        )
        .unwrap();
        let (merged, codes, text) = load(dir.path(), "top");
        assert_eq!(codes, [], "{text}");
        let merged = merged.unwrap();
        let blocked = merged.node.at(&["commands", "block"]).unwrap().items();
        assert_eq!(blocked.len(), 39);
        assert_eq!(blocked[0].text(), Some("zero"));
        assert_eq!(merged.parts.len(), 40);
        assert_eq!(
            (merged.id.as_str(), merged.node.get("mode").and_then(super::Node::text)),
            ("top", Some("enforce"))
        );
    }

    #[test]
    fn a_parent_by_file_lies_beside_its_child() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(
            dir.path().join("parent.yaml"),
            "metadata: {id: parent}\ncommands: {block: [x]}\n",
        )
        .unwrap();
        std::fs::write(
            dir.path().join("child.yaml"),
            "metadata: {id: child, inherits: ./parent.yaml}\n",
        )
        .unwrap();
        let (merged, codes, text) = load(
            Path::new("/nonexistent"),
            dir.path().join("child.yaml").to_str().unwrap(),
        );
        assert_eq!(codes, [], "{text}");
        assert!(merged.unwrap().node.at(&["commands", "block"]).is_some());
    }
}
