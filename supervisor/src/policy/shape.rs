//! What packs and profiles may say, as data: the checker, the JSON Schema and the nearest words all come from these tables.

use serde_json::{Map, Value as Json, json};

use super::diagnostics::{Code, Diagnostics, nearest};
use super::node::{Node, Value};

/// What a value has to be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    /// One text; numbers are taken as they are written.
    Text,
    /// `true` or `false`.
    Flag,
    /// A whole number, not negative.
    Count,
    /// One of the six decisions.
    Decision,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A list of texts.
    Texts,
    /// A text or a list of texts.
    TextOrTexts,
    /// A list of these.
    List(&'static Shape),
    /// A mapping with these keys.
    Map(&'static [Key], Others),
    /// A mapping from any name to a text.
    Texted,
    /// Whichever of these fits the value's kind.
    Either(&'static [Shape]),
    /// Anything: CAVRA's own, kept as it is.
    Free,
}

/// What becomes of keys that a mapping does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Others {
    /// They are errors.
    Refused,
    /// They are CAVRA's and kept, unless they look like a known one spelled wrongly.
    Kept,
}

/// One key of a mapping.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    name: &'static str,
    shape: Shape,
    required: bool,
    doc: &'static str,
}

const fn key(name: &'static str, shape: Shape, doc: &'static str) -> Key {
    Key {
        name,
        shape,
        required: false,
        doc,
    }
}

const fn needed(name: &'static str, shape: Shape, doc: &'static str) -> Key {
    Key {
        name,
        shape,
        required: true,
        doc,
    }
}

const DECISIONS: &[&str] = &[
    "allow",
    "audit_only",
    "warn",
    "allow_with_attestation",
    "require_approval",
    "block",
];
const SEVERITIES: &[&str] = &["low", "medium", "high", "critical"];
/// What `rules` may be about.
pub(crate) const ACTIONS: &[&str] = &[
    "read_file",
    "write_file",
    "delete_file",
    "execute_command",
    "network_connect",
    "network_bind",
];

const METADATA: &[Key] = &[
    needed("id", Shape::Text, "the pack's name in records and in `inherits`"),
    key("title", Shape::Text, "a few words"),
    key("description", Shape::Text, "a sentence"),
    key("version", Shape::Text, "the pack's version"),
    key(
        "inherits",
        Shape::TextOrTexts,
        "packs by id or file that this one adds to",
    ),
    key(
        "mode",
        Shape::Word(&["enforce", "audit", "audit_only", "strict_regulated", "break_glass"]),
        "CAVRA's mode; audit_only records only",
    ),
];

macro_rules! six {
    ($shape:expr, $about:literal, $($more:expr),*) => {
        &[
            key("block", $shape, concat!($about, " that are refused")),
            key("require_approval", $shape, concat!($about, " that wait for a person")),
            key("allow_with_attestation", $shape, concat!($about, " that are performed once a digest is on record")),
            key("warn", $shape, concat!($about, " that are performed, recorded and told")),
            key("audit_only", $shape, concat!($about, " that are performed and recorded")),
            key("allow", $shape, concat!($about, " that are performed")),
            $($more),*
        ]
    };
}

const FILESYSTEM: &[Key] = &[
    key("block_read", Shape::Texts, "paths that are not read"),
    key("block_write", Shape::Texts, "paths that are not changed"),
    key(
        "require_approval_read",
        Shape::Texts,
        "paths that are read once a person agrees",
    ),
    key(
        "require_approval_write",
        Shape::Texts,
        "paths that are changed once a person agrees",
    ),
    key(
        "allow_with_attestation_read",
        Shape::Texts,
        "paths that are read once their digest is on record",
    ),
    key(
        "allow_with_attestation_write",
        Shape::Texts,
        "paths that are changed once their digest is on record",
    ),
    key("warn_read", Shape::Texts, "paths whose reading is told"),
    key("warn_write", Shape::Texts, "paths whose changing is told"),
    key("audit_only_read", Shape::Texts, "paths whose reading is recorded"),
    key("audit_only_write", Shape::Texts, "paths whose changing is recorded"),
    key("allow_read", Shape::Texts, "paths that are read"),
    key("allow_write", Shape::Texts, "paths that are changed"),
    key("default_read", Shape::Decision, "for paths that no rule names"),
    key("default_write", Shape::Decision, "for paths that no rule names"),
];

const COMMANDS: &[Key] = six!(
    Shape::Texts,
    "commands",
    key("default", Shape::Decision, "for commands that no rule names")
);

const GIT: &[Key] = &[
    key(
        "protected_branches",
        Shape::Texts,
        "branches that are not pushed to; without it main and master",
    ),
    key(
        "push_protected",
        Shape::Decision,
        "the answer to such a push; without it block",
    ),
];

const ADDRESS: Shape = Shape::Either(&[
    Shape::Text,
    Shape::Map(
        &[
            needed(
                "to",
                Shape::Text,
                "host-or-address[:port], a CIDR block, udp:… or unix:/path",
            ),
            key(
                "verify",
                Shape::Word(&["tls", "http", "none"]),
                "what of the connection is checked against the name",
            ),
            key(
                "addresses",
                Shape::TextOrTexts,
                "special ranges that the host may be in",
            ),
            key("by", BY, "who must ask for it to hold"),
        ],
        Others::Refused,
    ),
]);
const ADDRESSES: Shape = Shape::List(&ADDRESS);

const NETWORK: &[Key] = six!(
    ADDRESSES,
    "addresses",
    key("default", Shape::Decision, "for addresses that no rule names"),
    key(
        "resolver",
        Shape::TextOrTexts,
        "servers that names are asked of, instead of the machine's"
    )
);

const SUBJECT: Shape = Shape::Either(&[
    Shape::Text,
    Shape::Map(
        &[
            key(
                "program",
                Shape::Text,
                "an executable by path, or by name in the system's folders",
            ),
            key("digest", Shape::Text, "its SHA-256 in hex"),
            key("tree", Shape::Flag, "what it starts counts as it too"),
            key(
                "ancestor",
                Shape::TextOrTexts,
                "executables one of which started it, directly or through others",
            ),
            key("agent", Shape::Text, "the session's --agent-id"),
            key("profile", Shape::Text, "the session's profile"),
        ],
        Others::Refused,
    ),
]);
const BY: Shape = Shape::Either(&[Shape::List(&SUBJECT), SUBJECT]);

const RULE: &[Key] = &[
    key("id", Shape::Text, "the rule's name in records"),
    needed(
        "action",
        Shape::Either(&[Shape::List(&Shape::Word(ACTIONS)), Shape::Word(ACTIONS)]),
        "what it is about",
    ),
    needed("match", Shape::TextOrTexts, "patterns"),
    key("except", Shape::TextOrTexts, "patterns that it is not about"),
    key("by", BY, "who must ask for it to hold"),
    needed("decision", Shape::Decision, "the answer"),
    key("severity", Shape::Word(SEVERITIES), "how much it matters"),
    key("reason", Shape::Text, "a sentence for people"),
    key("approver_group", Shape::Text, "who may approve"),
    key("maps_to", Shape::Free, "controls that it serves"),
];

const MCP: &[Key] = &[
    key("allowed_servers", Shape::Texts, "servers by id"),
    key("blocked_servers", Shape::Texts, "servers by id"),
    key(
        "block_unknown_servers",
        Shape::Flag,
        "whether servers that are not allowed are blocked; they are, without it",
    ),
];

const PACK: &[Key] = &[
    needed("metadata", Shape::Map(METADATA, Others::Kept), "who the pack is"),
    key("filesystem", Shape::Map(FILESYSTEM, Others::Refused), "paths"),
    key("commands", Shape::Map(COMMANDS, Others::Refused), "commands"),
    key(
        "git",
        Shape::Map(GIT, Others::Kept),
        "protected branches; other flags are CAVRA's",
    ),
    key(
        "network",
        Shape::Either(&[Shape::Word(&["none"]), Shape::Map(NETWORK, Others::Refused)]),
        "addresses, or `none`",
    ),
    key(
        "rules",
        Shape::List(&Shape::Map(RULE, Others::Refused)),
        "rules with more to say",
    ),
    key(
        "mode",
        Shape::Word(&["enforce", "audit"]),
        "whether the pack's decisions take effect, or are recorded as what would have been",
    ),
    key("command_grammar", Shape::Free, "how further tools spell their commands"),
    key("maps_to", Shape::Free, "controls that the lists' entries serve"),
    key(
        "mcp",
        Shape::Map(MCP, Others::Kept),
        "servers that CAVRA's adapters may call; other keys are CAVRA's",
    ),
    key("approvals", Shape::Free, "CAVRA's"),
    key("evidence", Shape::Free, "CAVRA's"),
    key("compliance", Shape::Free, "CAVRA's"),
];

/// A pack.
pub(crate) const PACK_SHAPE: Shape = Shape::Map(PACK, Others::Refused);

/// A profile.
pub(crate) const PROFILE_SHAPE: Shape = Shape::Map(
    &[
        needed("name", Shape::Text, "the profile's name"),
        key("commands", Shape::Texts, "base names of commands that it is chosen for"),
        needed("packs", Shape::Texts, "packs in force where no --policy is given"),
        key(
            "env",
            Shape::Map(
                &[
                    key(
                        "pass",
                        Shape::Texts,
                        "names that pass although they look like secrets; * matches any rest",
                    ),
                    key("set", Shape::Texted, "variables that are set"),
                ],
                Others::Refused,
            ),
            "environment",
        ),
        key(
            "needs",
            Shape::Map(
                &[
                    key("read", Shape::Texts, "paths"),
                    key("write", Shape::Texts, "paths"),
                    key("network", Shape::Texts, "addresses"),
                    key(
                        "network_env",
                        Shape::Texts,
                        "variables whose URL names a host that is needed",
                    ),
                ],
                Others::Refused,
            ),
            "what turns a launch pack's default into allow",
        ),
        key("debug", Shape::Flag, "the tree may trace itself"),
        key(
            "limits",
            Shape::Map(
                &[
                    key("open_files", Shape::Count, "descriptors of one process"),
                    key("processes", Shape::Count, "processes of the user"),
                    key("file_bytes", Shape::Count, "bytes of one file"),
                    key("memory_bytes", Shape::Count, "bytes of one address space"),
                    key("cpu_seconds", Shape::Count, "processor time of one process"),
                ],
                Others::Refused,
            ),
            "resources of the tree",
        ),
    ],
    Others::Refused,
);

impl Shape {
    /// In words, for messages.
    fn words(&self) -> String {
        match self {
            Self::Text => "a text".to_owned(),
            Self::Flag => "true or false".to_owned(),
            Self::Count => "a whole number".to_owned(),
            Self::Decision => format!("one of {}", DECISIONS.join(", ")),
            Self::Word(words) => format!("one of {}", words.join(", ")),
            Self::Texts => "a list of texts".to_owned(),
            Self::TextOrTexts => "a text or a list of texts".to_owned(),
            Self::List(shape) => format!("a list, each {}", shape.words()),
            Self::Map(keys, _) => {
                let names: Vec<&str> = keys.iter().take(4).map(|key| key.name).collect();
                let more = if keys.len() > 4 { ", …" } else { "" };
                format!("a mapping with {}{more}", names.join(", "))
            }
            Self::Texted => "a mapping from names to texts".to_owned(),
            Self::Either(shapes) => shapes.iter().map(Self::words).collect::<Vec<_>>().join(", or "),
            Self::Free => "anything".to_owned(),
        }
    }

    /// Whether a value is of the kind that this shape has.
    fn fits(&self, value: &Value) -> bool {
        match self {
            Self::Text | Self::Decision | Self::Word(_) => {
                matches!(value, Value::Text(_) | Value::Number(_) | Value::Bool(..))
            }
            Self::Flag => matches!(value, Value::Bool(..)),
            Self::Count => matches!(value, Value::Number(_)),
            Self::Texts | Self::List(_) => matches!(value, Value::List(_)),
            Self::TextOrTexts => Self::Texts.fits(value) || Self::Text.fits(value),
            Self::Map(..) | Self::Texted => matches!(value, Value::Map(_)),
            Self::Either(shapes) => shapes.iter().any(|shape| shape.fits(value)),
            Self::Free => true,
        }
    }

    /// Checks a value and all that is in it; `what` is its name for people.
    pub(crate) fn check(&self, node: &Node, what: &str, diagnostics: &mut Diagnostics) {
        if matches!(node.value, Value::Null) && !matches!(self, Self::Free) {
            // `key:` without a value says nothing.
            return;
        }
        if !self.fits(&node.value) {
            diagnostics.error(
                Code::WrongType,
                node.span,
                format!("`{what}` is {}", node.value.kind()),
                format!("expected {}", self.words()),
            );
            return;
        }
        match self {
            Self::Text => text(node, what, diagnostics),
            Self::Count => {
                if node.text().is_none_or(|text| text.parse::<u64>().is_err()) {
                    diagnostics.error(
                        Code::BadValue,
                        node.span,
                        format!("`{what}` is no count"),
                        "expected a whole number, not negative",
                    );
                }
            }
            Self::Decision => word(node, what, DECISIONS, Code::UnknownDecision, diagnostics),
            Self::Word(words) => word(node, what, words, Code::BadValue, diagnostics),
            Self::Texts | Self::TextOrTexts => {
                for item in node.items() {
                    Self::Text.check(item, &format!("{what}[]"), diagnostics);
                    if matches!(item.value, Value::Null) {
                        diagnostics.error(
                            Code::BadPattern,
                            item.span,
                            format!("an empty entry in `{what}`"),
                            "it names nothing; remove it",
                        );
                    }
                }
            }
            Self::List(shape) => {
                for item in node.items() {
                    shape.check(item, &format!("{what}[]"), diagnostics);
                }
            }
            Self::Map(keys, others) => mapping(node, what, keys, *others, diagnostics),
            Self::Texted => {
                for (_, value) in node.entries() {
                    Self::Text.check(value, what, diagnostics);
                }
            }
            Self::Either(shapes) => {
                if let Some(shape) = shapes.iter().find(|shape| shape.fits(&node.value)) {
                    shape.check(node, what, diagnostics);
                }
            }
            Self::Flag | Self::Free => {}
        }
    }

    /// As JSON Schema.
    pub(crate) fn schema(&self) -> Json {
        match self {
            // Versions and ids are often written as numbers.
            Self::Text => json!({"type": ["string", "number"]}),
            Self::Flag => json!({"type": "boolean"}),
            Self::Count => json!({"type": "integer", "minimum": 0}),
            Self::Decision => json!({"enum": DECISIONS}),
            Self::Word(words) => json!({"enum": words}),
            Self::Texts => json!({"type": ["array", "null"], "items": {"type": "string", "minLength": 1}}),
            Self::TextOrTexts => json!({"anyOf": [{"type": "string", "minLength": 1}, Self::Texts.schema()]}),
            Self::List(shape) => json!({"type": ["array", "null"], "items": shape.schema()}),
            Self::Map(keys, others) => {
                let mut properties = Map::new();
                for key in *keys {
                    let mut schema = key.shape.schema();
                    if let Some(schema) = schema.as_object_mut() {
                        schema.insert("description".to_owned(), key.doc.into());
                    }
                    properties.insert(key.name.to_owned(), schema);
                }
                let required: Vec<&str> = keys.iter().filter(|key| key.required).map(|key| key.name).collect();
                json!({
                    "type": ["object", "null"],
                    "properties": properties,
                    "required": required,
                    "additionalProperties": *others == Others::Kept,
                })
            }
            Self::Texted => json!({"type": "object", "additionalProperties": {"type": "string"}}),
            Self::Either(shapes) => json!({"anyOf": shapes.iter().map(Self::schema).collect::<Vec<_>>()}),
            Self::Free => json!({}),
        }
    }
}

/// The JSON Schema (2020-12) of packs, or of profiles.
pub(crate) fn document(title: &str, shape: &Shape) -> Json {
    let mut schema = shape.schema();
    if let Some(map) = schema.as_object_mut() {
        map.insert("type".to_owned(), "object".into());
        map.insert("title".to_owned(), title.into());
        map.insert(
            "$schema".to_owned(),
            "https://json-schema.org/draft/2020-12/schema".into(),
        );
    }
    schema
}

fn text(node: &Node, what: &str, diagnostics: &mut Diagnostics) {
    if node.text().is_some_and(|text| text.contains('\0')) {
        diagnostics.error(
            Code::Nul,
            node.span,
            format!("a NUL byte in `{what}`"),
            "no path, command or name has one",
        );
    }
}

fn word(node: &Node, what: &str, words: &[&str], code: Code, diagnostics: &mut Diagnostics) {
    let found = node.text().unwrap_or_default();
    if words.contains(&found) {
        return;
    }
    let kind = if code == Code::UnknownDecision {
        "decision"
    } else {
        "word"
    };
    let label = match nearest(found, words.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("expected one of {}", words.join(", ")),
    };
    diagnostics.error(code, node.span, format!("unknown {kind} `{found}` in `{what}`"), label);
}

fn mapping(node: &Node, what: &str, keys: &[Key], others: Others, diagnostics: &mut Diagnostics) {
    for (index, (name, value)) in node.entries().iter().enumerate() {
        if node
            .entries()
            .iter()
            .take(index)
            .any(|(earlier, _)| earlier.text == name.text)
        {
            diagnostics.error(
                Code::DuplicateKey,
                name.span,
                format!("`{}` stands twice in `{what}`", name.text),
                "join the two",
            );
        }
        if let Some(key) = keys.iter().find(|key| key.name == name.text) {
            key.shape.check(value, key.name, diagnostics);
            continue;
        }
        match (nearest(&name.text, keys.iter().map(|key| key.name)), others) {
            (Some(near), _) => {
                diagnostics.error(
                    Code::UnknownKey,
                    name.span,
                    format!("unknown key `{}`", name.text),
                    format!("did you mean `{near}`?"),
                );
            }
            (None, Others::Kept) => diagnostics.note(
                name.span,
                &format!(
                    "`{what}.{}` is kept and decides nothing at the kernel boundary",
                    name.text
                ),
            ),
            (None, Others::Refused) => {
                let known: Vec<&str> = keys.iter().map(|key| key.name).collect();
                diagnostics.error(
                    Code::UnknownKey,
                    name.span,
                    format!("unknown key `{}`", name.text),
                    format!("`{what}` takes {}", known.join(", ")),
                );
            }
        }
    }
    for key in keys.iter().filter(|key| key.required) {
        let stated = node
            .get(key.name)
            .is_some_and(|node| !matches!(node.value, Value::Null));
        if !stated {
            diagnostics.error(
                Code::MissingKey,
                node.span,
                format!("`{what}` has no `{}`", key.name),
                format!("add `{}`: {}", key.name, key.doc),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{PACK_SHAPE, document};
    use crate::policy::diagnostics::{Code, Diagnostics};
    use crate::policy::node::parse;

    #[test]
    fn each_mistake_has_its_code_and_its_nearest_word() {
        for (text, code, says) in [
            (
                "filesystem: {blok_read: [a]}",
                Code::UnknownKey,
                "did you mean `block_read`?",
            ),
            ("filesytem: {}", Code::UnknownKey, "did you mean `filesystem`?"),
            ("zzz: 1", Code::UnknownKey, "takes metadata, filesystem"),
            (
                "filesystem: {block_read: x}",
                Code::WrongType,
                "expected a list of texts",
            ),
            ("filesystem: {block_read: [[x]]}", Code::WrongType, "expected a text"),
            ("filesystem: [x]", Code::WrongType, "expected a mapping with block_read"),
            (
                "commands: {default: alow}",
                Code::UnknownDecision,
                "did you mean `allow`?",
            ),
            ("network: {alow: [x]}", Code::UnknownKey, "did you mean `allow`?"),
            ("network: non", Code::BadValue, "did you mean `none`?"),
            ("mode: audt", Code::BadValue, "did you mean `audit`?"),
            ("rules: [{match: x, decision: block}]", Code::MissingKey, "add `action`"),
            (
                "rules: [{action: read, match: x, decision: block}]",
                Code::BadValue,
                "expected one of read_file",
            ),
            (
                "rules: [{action: read_file, match: x, decision: block, by: {programm: git}}]",
                Code::UnknownKey,
                "did you mean `program`?",
            ),
            ("mode: audit\nmode: audit", Code::DuplicateKey, "join the two"),
            (
                "git: {protected_branchs: [x]}",
                Code::UnknownKey,
                "did you mean `protected_branches`?",
            ),
            ("commands: {block: [\"a\\0b\"]}", Code::Nul, "no path"),
            ("commands: {block: [a, ~]}", Code::BadPattern, "remove it"),
        ] {
            let mut diagnostics = Diagnostics::default();
            let text = format!("metadata: {{id: x}}\n{text}\n");
            if let Some(node) = parse("t.yaml", &text, &mut diagnostics) {
                PACK_SHAPE.check(&node, "pack", &mut diagnostics);
            }
            let codes: Vec<Code> = diagnostics.errors().iter().map(|error| error.code).collect();
            assert_eq!(codes, [code], "{text}{diagnostics}");
            assert!(diagnostics.to_string().contains(says), "{text}{diagnostics}");
        }
    }

    #[test]
    fn one_pass_shows_all_mistakes() {
        let mut diagnostics = Diagnostics::default();
        let text = "metadata: {}\nfilesystem: {a: [x], block_read: 1}\ncommands: {default: no}\nmode: x\n";
        if let Some(node) = parse("t.yaml", text, &mut diagnostics) {
            PACK_SHAPE.check(&node, "pack", &mut diagnostics);
        }
        let codes: Vec<&str> = diagnostics.errors().iter().map(|error| error.code.name()).collect();
        assert_eq!(codes, ["P005", "P012", "P004", "P006", "P014"], "{diagnostics}");
    }

    #[test]
    fn the_schema_names_each_key() {
        let schema = document("pack", &PACK_SHAPE);
        for pointer in [
            "/properties/filesystem/properties/block_read/items",
            "/properties/rules/items/properties/by/anyOf/0/items",
            "/properties/network/anyOf/1/properties/default/enum/5",
        ] {
            assert!(schema.pointer(pointer).is_some(), "{pointer}: {schema:#}");
        }
        assert_eq!(schema.pointer("/additionalProperties"), Some(&false.into()));
    }
}
