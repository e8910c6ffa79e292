//! YAML to a tree in which each key and value knows its place, within limits that a hostile file can not stretch.

use std::collections::HashSet;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::DuplicateKeyPolicy;
use serde_saphyr::{Error, Location, Spanned};

use super::diagnostics::{Code, Diagnostics, Span};

/// Bytes of one file.
pub(crate) const MAX_BYTES: usize = 10 * 1024 * 1024;
/// Nodes (keys, values and containers) of one file, aliases expanded.
const MAX_NODES: usize = 100_000;
/// Uses of anchors in one file.
const MAX_ALIASES: usize = 64;
/// Nesting.
const MAX_DEPTH: usize = 64;

/// One value with its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) span: Span,
}

impl Node {
    /// A mapping's value for `key`.
    #[must_use]
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|(k, _)| k.text == key).map(|(_, node)| node)
    }

    /// The value below `keys`, one mapping in the other.
    #[must_use]
    pub(crate) fn at(&self, keys: &[&str]) -> Option<&Self> {
        keys.iter().try_fold(self, |node, key| node.get(key))
    }

    /// A mapping's entries; none for anything else.
    #[must_use]
    pub(crate) fn entries(&self) -> &[(Text, Self)] {
        match &self.value {
            Value::Map(entries) => entries,
            Value::Null | Value::Bool(..) | Value::Number(_) | Value::Text(_) | Value::List(_) => &[],
        }
    }

    /// A list's items; the node itself where one value stands for a list of one; none for nothing.
    #[must_use]
    pub(crate) fn items(&self) -> &[Self] {
        match &self.value {
            Value::List(items) => items,
            Value::Null => &[],
            Value::Bool(..) | Value::Number(_) | Value::Text(_) | Value::Map(_) => std::slice::from_ref(self),
        }
    }

    /// A scalar as it was written.
    #[must_use]
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Bool(_, text) | Value::Number(text) | Value::Text(text) => Some(text),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// A yes or no.
    #[must_use]
    pub(crate) fn flag(&self) -> Option<bool> {
        match self.value {
            Value::Bool(value, _) => Some(value),
            Value::Null | Value::Number(_) | Value::Text(_) | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// As JSON, places left out.
    #[must_use]
    pub(crate) fn json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value, _) => (*value).into(),
            Value::Number(text) => serde_json::from_str(text).unwrap_or_else(|_| text.clone().into()),
            Value::Text(text) => text.clone().into(),
            Value::List(items) => items.iter().map(Self::json).collect(),
            Value::Map(entries) => {
                let entries = entries.iter().map(|(key, node)| (key.text.clone(), node.json()));
                serde_json::Value::Object(entries.collect())
            }
        }
    }

    /// CAVRA's merge of a pack into its parent: lists are joined without duplicates, mappings merged, scalars overridden. A key
    /// without a value says nothing: it takes away nothing that the parent forbids.
    #[must_use]
    pub(crate) fn merge(self, child: Self) -> Self {
        let value = match (self.value, child.value) {
            (Value::List(mut all), Value::List(more)) => {
                let mut texts: HashSet<String> = all.iter().filter_map(|n| n.text().map(str::to_owned)).collect();
                for node in more {
                    let known = match node.text() {
                        Some(text) => !texts.insert(text.to_owned()),
                        None => all.iter().any(|known| known.json() == node.json()),
                    };
                    if !known {
                        all.push(node);
                    }
                }
                Value::List(all)
            }
            (Value::Map(mut all), Value::Map(more)) => {
                for (key, node) in more {
                    match all.iter_mut().find(|(k, _)| k.text == key.text) {
                        Some((place, known)) => {
                            let nothing = Self {
                                value: Value::Null,
                                span: node.span,
                            };
                            *known = std::mem::replace(known, nothing).merge(node);
                            *place = key;
                        }
                        None => all.push((key, node)),
                    }
                }
                Value::Map(all)
            }
            (value, Value::Null) => {
                return Self { value, span: self.span };
            }
            (_, value) => value,
        };
        Self {
            value,
            span: child.span,
        }
    }
}

/// What a node is. Scalars keep their spelling, so that `1.10` and `no` are what was written where text is asked for.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Bool(bool, String),
    Number(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Text, Node)>),
}

/// A string with its place.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    pub(crate) text: String,
    pub(crate) span: Span,
}

impl Value {
    /// The type's name as a person says it.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(..) => "a yes or no",
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

/// Reads `text`, named `name` in what people see; nothing when it is no YAML or beyond the limits, with the error added.
pub(crate) fn parse(name: &str, text: &str, diagnostics: &mut Diagnostics) -> Option<Node> {
    let file = diagnostics.add_file(name, text);
    let whole = Span {
        file,
        start: 0,
        end: 0,
        line: 1,
        column: 1,
    };
    if text.len() > MAX_BYTES {
        diagnostics.error_with_help(
            Code::TooLarge,
            Some(whole),
            format!("{name} has {} bytes, and a pack has at most {MAX_BYTES}", text.len()),
            "",
            "split it into packs that inherit one another",
        );
        return None;
    }
    if let Some(at) = text.find('\0') {
        diagnostics.error(
            Code::Nul,
            place(text, at, file),
            format!("{name} has a NUL byte"),
            "here",
        );
        return None;
    }
    if text.trim().is_empty() {
        return Some(Node {
            value: Value::Null,
            span: whole,
        });
    }
    match serde_saphyr::from_str_with_options::<Spanned<Raw>>(text, options()) {
        Ok(raw) => Some(Reader { text, file }.node(raw)),
        Err(error) => {
            report(&error, name, file, text, diagnostics);
            None
        }
    }
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_reader_input_bytes: Some(MAX_BYTES),
            max_nodes: MAX_NODES,
            max_events: 4 * MAX_NODES,
            max_aliases: MAX_ALIASES,
            max_anchors: MAX_ALIASES,
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_documents: 1,
            max_total_scalar_bytes: MAX_BYTES,
            max_merge_keys: MAX_ALIASES,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MAX_NODES,
        },
        // Reported by our own pass, so that one file shows all of them.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        strict_booleans: true,
    }
}

fn report(error: &Error, name: &str, file: u32, text: &str, diagnostics: &mut Diagnostics) {
    let error = error.without_snippet();
    let span = match error.location() {
        Some(location) => span_of(location, file),
        None => Span {
            file,
            start: 0,
            end: 0,
            line: 1,
            column: 1,
        },
    };
    let span = Span {
        end: span.end.max(span.start.saturating_add(1)).min(length(text)),
        ..span
    };
    let message = error.render_with_formatter(&serde_saphyr::UserMessageFormatter);
    // The place is drawn with the excerpt.
    let message = message.split(" at line ").next().unwrap_or_default().trim().to_owned();
    let is_limit = matches!(
        error,
        Error::Budget { .. } | Error::AliasReplayLimitExceeded { .. } | Error::AliasReplayStackDepthExceeded { .. }
    ) || message.contains("limit exceeded")
        || message.contains("budget")
        || message.contains("too large");
    // The parser wraps its errors in several ways; its words name the limit.
    let endless = is_limit
        && ["replay", "alias", "anchor", "merge"]
            .iter()
            .any(|word| message.contains(word));
    if endless {
        diagnostics.error_with_help(
            Code::Aliases,
            Some(span),
            format!("{name} is beyond the limits of a pack"),
            message,
            format!(
                "a pack has at most {MAX_ALIASES} anchors and aliases, and {MAX_NODES} nodes with the aliases expanded"
            ),
        );
    } else if is_limit {
        diagnostics.error_with_help(
            Code::TooLarge,
            Some(span),
            format!("{name} is beyond the limits of a pack"),
            message,
            format!("a pack has at most {MAX_NODES} nodes with aliases expanded, {MAX_ALIASES} aliases and depth {MAX_DEPTH}"),
        );
    } else {
        diagnostics.error(Code::Syntax, span, format!("{name} is not YAML"), message);
    }
}

fn length(text: &str) -> u32 {
    u32::try_from(text.len()).unwrap_or(u32::MAX)
}

fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn span_of(location: Location, file: u32) -> Span {
    let span = location.span();
    let start = span.byte_offset().unwrap_or(0);
    let end = start.saturating_add(span.byte_len().unwrap_or(0));
    Span {
        file,
        start: narrow(start),
        end: narrow(end),
        line: narrow(location.line()),
        column: narrow(location.column()),
    }
}

fn place(text: &str, at: usize, file: u32) -> Span {
    let head = text.get(..at).unwrap_or_default();
    let line = head.matches('\n').count() + 1;
    let column = head.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let at = narrow(at as u64);
    Span {
        file,
        start: at,
        end: at.saturating_add(1),
        line: narrow(line as u64),
        column: narrow(column as u64),
    }
}

struct Reader<'t> {
    text: &'t str,
    file: u32,
}

impl Reader<'_> {
    fn node(&self, raw: Spanned<Raw>) -> Node {
        let mut span = span_of(raw.defined, self.file);
        let spelled = || {
            let written = self
                .text
                .get(span.start as usize..span.end as usize)
                .unwrap_or_default();
            written.trim().to_owned()
        };
        let value = match raw.value {
            Raw::Null => Value::Null,
            Raw::Bool(value) => Value::Bool(value, spelled()),
            Raw::Number => Value::Number(spelled()),
            Raw::Text(text) => Value::Text(text),
            Raw::List(items) => {
                span.end = span.end.max(span.start + 1);
                Value::List(items.into_iter().map(|item| self.node(item)).collect())
            }
            Raw::Map(entries) => Value::Map(
                entries
                    .into_iter()
                    .map(|(key, value)| {
                        let span = span_of(key.defined, self.file);
                        (Text { text: key.value, span }, self.node(value))
                    })
                    .collect(),
            ),
        };
        Node { value, span }
    }
}

enum Raw {
    Null,
    Bool(bool),
    Number,
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Raw, E> {
        Ok(Raw::Number)
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Raw, E> {
        Ok(Raw::Number)
    }

    fn visit_i128<E: de::Error>(self, _: i128) -> Result<Raw, E> {
        Ok(Raw::Number)
    }

    fn visit_u128<E: de::Error>(self, _: u128) -> Result<Raw, E> {
        Ok(Raw::Number)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Raw, E> {
        Ok(Raw::Number)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Raw, E> {
        Ok(Raw::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    fn read(text: &str) -> (Option<Node>, Diagnostics) {
        let mut diagnostics = Diagnostics::default();
        let node = parse("t.yaml", text, &mut diagnostics);
        (node, diagnostics)
    }

    fn map(node: Node) -> Vec<(Text, Node)> {
        match node.value {
            Value::Map(entries) => entries,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn keys_and_values_know_their_place_and_spelling() {
        let (node, _) = read("metadata:\n  version: 1.10\n  id: no\nports: [8080, 'x']\n");
        let root = map(node.unwrap());
        let metadata = map(root[0].1.clone());
        assert_eq!((metadata[0].0.span.line, metadata[0].0.span.column), (2, 3));
        assert!(matches!(&metadata[0].1.value, Value::Number(text) if text == "1.10"));
        assert_eq!((metadata[0].1.span.line, metadata[0].1.span.column), (2, 12));
        assert!(matches!(&metadata[1].1.value, Value::Text(text) if text == "no"));
        let Value::List(ports) = &root[1].1.value else { panic!() };
        assert!(matches!(&ports[0].value, Value::Number(text) if text == "8080"));
        assert_eq!((ports[1].span.line, ports[1].span.column), (4, 15));
    }

    #[test]
    fn a_key_that_stands_twice_is_kept_twice() {
        let (node, _) = read("a: 1\na: 2\n");
        assert_eq!(map(node.unwrap()).len(), 2);
    }

    #[test]
    fn a_pack_is_merged_into_its_parent_as_cavra_does() {
        for (parent, child, wanted) in [
            ("a: [x, y]", "a: [y, z]", "a: [x, y, z]"),
            ("a: {c: 1, d: 2}", "a: {d: 3, e: 4}", "a: {c: 1, d: 3, e: 4}"),
            ("a: x", "a: y", "a: y"),
            ("a: [x]", "a:", "a: [x]"),
            ("a: [{id: 1}]", "a: [{id: 1}, {id: 2}]", "a: [{id: 1}, {id: 2}]"),
            ("a: [x]", "b: [y]", "{a: [x], b: [y]}"),
        ] {
            let node = |text| read(text).0.unwrap();
            let merged = node(parent).merge(node(child));
            assert_eq!(merged.json(), node(wanted).json(), "{parent} <- {child}");
        }
        let merged = read("a:\n- x\n")
            .0
            .unwrap()
            .merge(read("b: 1\na:\n- x\n- y\n").0.unwrap());
        let lines: Vec<u32> = merged
            .get("a")
            .unwrap()
            .items()
            .iter()
            .map(|node| node.span.line)
            .collect();
        assert_eq!(lines, [2, 4], "each entry keeps the place where it was written");
    }

    #[test]
    fn files_beyond_the_limits_are_refused() {
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..10 {
            let of = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{of}]\n"));
        }
        let aliases = format!("a: &a x\nl: [{}]\n", vec!["*a"; 65].join(", "));
        let rows = [
            ("bomb", bomb, Code::Aliases),
            ("aliases", aliases, Code::Aliases),
            (
                "depth",
                format!("{}{}", "[".repeat(5_000), "]".repeat(5_000)),
                Code::TooLarge,
            ),
            ("size", format!("a: {}\n", "x".repeat(MAX_BYTES)), Code::TooLarge),
            ("nodes", format!("l:\n{}", "- x\n".repeat(2_600_000)), Code::TooLarge),
            (
                "fewer nodes",
                format!("l:\n{}", "- x\n".repeat(100_001)),
                Code::TooLarge,
            ),
        ];
        for (name, text, code) in rows {
            let (node, diagnostics) = read(&text);
            assert!(node.is_none(), "{name}");
            assert_eq!(diagnostics.errors()[0].code, code, "{name}: {diagnostics}");
        }
    }

    #[test]
    fn what_is_no_yaml_is_shown_where_it_breaks() {
        for (text, code) in [
            ("a: [1, 2\nb: 3\n", Code::Syntax),
            ("a: *nowhere\n", Code::Syntax),
            ("a: x\0y\n", Code::Nul),
            ("a: {b: 1\n", Code::Syntax),
        ] {
            let (_, diagnostics) = read(text);
            let found = diagnostics.errors().first().map(|error| error.code);
            assert_eq!(found, Some(code), "{text:?}: {diagnostics}");
        }
    }
}
