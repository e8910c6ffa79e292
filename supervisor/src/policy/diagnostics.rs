//! What is wrong with a pack or profile, and where: all of it in one pass, drawn with the place and a way out.

use std::fmt;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

macro_rules! codes {
    ($($(#[$about:meta])+ $kind:ident = $name:literal,)+) => {
        /// The kinds of errors; the numbers are stable, documentation and tests name them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $($(#[$about])+ $kind,)+
        }

        impl Code {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)+];

            /// The code as printed, `P001` and so on.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)+
                }
            }
        }
    };
}

codes! {
    /// P001: not YAML.
    Syntax = "P001",
    /// P002: more than the limits on size, nodes, aliases or depth.
    TooLarge = "P002",
    /// P003: a key that stands twice in one mapping.
    DuplicateKey = "P003",
    /// P004: a value of another type than the key takes.
    WrongType = "P004",
    /// P005: a key that must be there.
    MissingKey = "P005",
    /// P006: not one of the six decisions.
    UnknownDecision = "P006",
    /// P007: a pattern that can not match, or names an unknown variable.
    BadPattern = "P007",
    /// P008: an address, network or port that is none.
    BadNetwork = "P008",
    /// P009: a NUL byte.
    Nul = "P009",
    /// P010: a pack that inherits itself, directly or not.
    Cycle = "P010",
    /// P011: a pack or profile that is nowhere.
    NotFound = "P011",
    /// P012: a key that this section does not have.
    UnknownKey = "P012",
    /// P013: a file that can not be read.
    Unreadable = "P013",
    /// P014: a word that is none of those that the key takes.
    BadValue = "P014",
    /// P015: one id for two things.
    DuplicateId = "P015",
    /// P016: a file without the signature that it must have.
    Unsigned = "P016",
    /// P017: not UTF-8.
    NotText = "P017",
    /// P018: a signature, or a trusted key, that can not be read or is none.
    SignatureFile = "P018",
    /// P019: a signature of another file.
    OtherFile = "P019",
    /// P020: a file that changed since it was signed.
    Changed = "P020",
    /// P021: a signature by a key that nobody here trusts.
    UntrustedKey = "P021",
    /// P022: a signature by a key whose trust has ended.
    ExpiredKey = "P022",
    /// P023: a signature that the key did not make over this file.
    WrongSignature = "P023",
    /// P024: aliases and anchors without end.
    Aliases = "P024",
    /// P025: a pattern of more stars than any path asks for.
    Stars = "P025",
    /// P026: a rule that another one, of its pack or of another layer, makes void: a warning.
    Void = "P026",
    /// P027: a rule whose exceptions take all of it away: a warning.
    Never = "P027",
}

/// A place in a source: byte offsets, and line and column from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    pub(crate) file: u32,
    pub(crate) start: u32,
    pub(crate) end: u32,
    /// Line, from 1; 0 for a file as a whole.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

/// One error, with its place where it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Its kind.
    pub code: Code,
    /// What is wrong, naming the thing.
    pub title: String,
    /// Where.
    pub span: Option<Span>,
    /// What stands beside the caret.
    pub label: String,
    /// The way out.
    pub help: Option<String>,
}

#[derive(Clone, Debug)]
struct SourceFile {
    name: String,
    text: Arc<str>,
}

/// Everything that was found wrong in one pass over all packs, with the sources that it points into.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    files: Vec<SourceFile>,
    items: Vec<Diagnostic>,
    notes: Vec<String>,
    /// Errors beyond [`MAX_ERRORS`].
    more: usize,
}

/// Errors that are kept; a pack of ten megabytes may be wrong in every line.
const MAX_ERRORS: usize = 200;

impl Diagnostics {
    /// The errors, in the order found.
    #[must_use]
    pub fn errors(&self) -> &[Diagnostic] {
        &self.items
    }

    /// Things that load but that a person should know, one line each.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// One error of its own.
    #[must_use]
    pub(crate) fn one(code: Code, title: impl Into<String>, help: impl Into<String>) -> Self {
        let mut all = Self::default();
        all.error_with_help(code, None, title, "", help);
        all
    }

    /// Draws all errors, with colours where `colour` is given.
    #[must_use]
    pub fn render(&self, colour: Colour) -> String {
        let renderer = match colour {
            Colour::Plain => Renderer::plain(),
            Colour::Ansi => Renderer::styled(),
        };
        let mut out = String::new();
        for item in &self.items {
            if !out.is_empty() {
                out.push('\n');
            }
            out.push_str(&self.render_one(item, &renderer));
            out.push('\n');
        }
        if self.more > 0 {
            out.push_str(&format!("\nand {} more errors\n", self.more));
        }
        out
    }

    fn render_one(&self, item: &Diagnostic, renderer: &Renderer) -> String {
        // A pack may hold escape sequences; a person reads this on a terminal.
        let title = printable(&item.title);
        let label = printable(&item.label);
        let title = Level::ERROR.primary_title(title).id(item.code.name());
        let mut group = match item.span.and_then(|span| Some((span, self.file(span)?))) {
            Some((span, file)) => {
                let (start, end) = (span.start as usize, span.end as usize);
                let (from, excerpt) = excerpt(&file.text, start, end);
                // A parser's offsets are not always at a character's beginning, and the renderer insists on it.
                let shift = |at: usize| floor_boundary(excerpt, at.saturating_sub(from).min(excerpt.len()));
                let snippet = Snippet::source(excerpt)
                    .line_start(span.line.max(1) as usize)
                    .path(file.name.as_str())
                    .annotation(AnnotationKind::Primary.span(shift(start)..shift(end)).label(label));
                title.element(snippet)
            }
            None => Group::with_title(title),
        };
        if let Some(help) = &item.help {
            group = group.element(Level::HELP.message(printable(help)));
        }
        renderer.render(&[group])
    }

    pub(crate) fn add_file(&mut self, name: &str, text: &str) -> u32 {
        let id = u32::try_from(self.files.len()).unwrap_or(u32::MAX);
        self.files.push(SourceFile {
            name: name.to_owned(),
            text: text.into(),
        });
        id
    }

    fn file(&self, span: Span) -> Option<&SourceFile> {
        self.files.get(span.file as usize)
    }

    pub(crate) fn file_name(&self, span: Span) -> &str {
        self.file(span).map_or("", |file| &file.name)
    }

    /// Adds an error at a place.
    pub(crate) fn error(&mut self, code: Code, span: Span, title: impl Into<String>, label: impl Into<String>) {
        self.push(Diagnostic {
            code,
            title: title.into(),
            span: Some(span),
            label: label.into(),
            help: None,
        });
    }

    /// Adds an error with the way out on a line of its own, at a place or at none.
    pub(crate) fn error_with_help(
        &mut self,
        code: Code,
        span: Option<Span>,
        title: impl Into<String>,
        label: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.push(Diagnostic {
            code,
            title: title.into(),
            span,
            label: label.into(),
            help: Some(help.into()),
        });
    }

    /// What is inherited twice is wrong once.
    fn push(&mut self, item: Diagnostic) {
        if self.items.contains(&item) {
            return;
        }
        if self.items.len() < MAX_ERRORS {
            self.items.push(item);
        } else {
            self.more += 1;
        }
    }

    /// Says something that a person should know although it loads.
    pub(crate) fn note(&mut self, span: Span, text: &str) {
        let note = printable(&format!(
            "{}:{}:{}: {text}",
            self.file_name(span),
            span.line,
            span.column
        ));
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.items.is_empty()
    }

    pub(crate) fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.render(Colour::Plain).trim_end())
    }
}

impl std::error::Error for Diagnostics {}

/// Whether what is drawn has terminal colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// None.
    Plain,
    /// ANSI sequences.
    Ansi,
}

/// Bytes of one excerpt; a pack may be one line of ten megabytes.
const MAX_EXCERPT_BYTES: usize = 240;

/// The lines that hold `start..end` of `text`, cut to a readable length, and where they begin.
fn excerpt(text: &str, start: usize, end: usize) -> (usize, &str) {
    let start = floor_boundary(text, start.min(text.len()));
    let mut from = text
        .get(..start)
        .and_then(|head| head.rfind('\n'))
        .map_or(0, |at| at + 1);
    if start - from > MAX_EXCERPT_BYTES / 2 {
        from = floor_boundary(text, start - MAX_EXCERPT_BYTES / 2);
    }
    let end = end.clamp(start, text.len()).min(from + MAX_EXCERPT_BYTES);
    let end = floor_boundary(text, end).max(start);
    let line_end = text
        .get(end..)
        .and_then(|tail| tail.find('\n'))
        .map_or(text.len(), |at| end + at);
    let to = floor_boundary(text, line_end.min(from + MAX_EXCERPT_BYTES)).max(end);
    (from, text.get(from..to).unwrap_or_default())
}

fn floor_boundary(text: &str, mut at: usize) -> usize {
    while at > 0 && !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// `text` without what a terminal would act on.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() && c != '\n' || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

/// The word of `words` that `typed` was probably meant to be.
pub(crate) fn nearest<'w>(typed: &str, words: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    let typed: Vec<char> = typed.chars().take(80).collect();
    let limit = (typed.len() / 3).clamp(1, 4);
    words
        .into_iter()
        .map(|word| (distance(&typed, word), word))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// Edits (insert, delete, replace) between the two.
fn distance(left: &[char], right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut before = i;
        let mut last = i + 1;
        for (b, cell) in right.iter().zip(row.iter_mut().skip(1)) {
            let here = (before + usize::from(!a.eq_ignore_ascii_case(b)))
                .min(last + 1)
                .min(*cell + 1);
            before = *cell;
            *cell = here;
            last = here;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(left.len())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_nearest_word_is_offered_only_when_it_is_near() {
        let words = ["block_read", "block_write", "require_approval_write"];
        for (typed, word) in [
            ("require_aproval_write", Some("require_approval_write")),
            ("blockread", Some("block_read")),
            ("Block_Read", Some("block_read")),
            ("permissions", None),
        ] {
            assert_eq!(nearest(typed, words), word, "{typed}");
        }
    }

    #[test]
    fn an_error_is_drawn_with_place_caret_and_way_out() {
        let mut diagnostics = Diagnostics::default();
        let text = "a: 1\nfilesystem:\n  blok_read: []\n";
        let file = diagnostics.add_file("team.yaml", text);
        let start = u32::try_from(text.find("blok").unwrap()).unwrap();
        let span = Span {
            file,
            start,
            end: start + 9,
            line: 3,
            column: 3,
        };
        diagnostics.error(
            Code::UnknownKey,
            span,
            "unknown key `blok_read`",
            "did you mean `block_read`?",
        );
        let drawn = diagnostics.render(Colour::Plain);
        assert_eq!(
            drawn,
            "error[P012]: unknown key `blok_read`\n \
             --> team.yaml:3:3\n  \
               |\n\
             3 |   blok_read: []\n  \
               |   ^^^^^^^^^ did you mean `block_read`?\n"
        );
        assert!(diagnostics.render(Colour::Ansi).contains("\u{1b}["));
    }

    #[test]
    fn escape_sequences_and_giant_lines_do_not_reach_the_terminal() {
        let mut diagnostics = Diagnostics::default();
        let text = format!("x: \"{}\"", "é".repeat(1_000_000));
        let file = diagnostics.add_file("big.yaml", &text);
        let span = Span {
            file,
            start: 1_000_001,
            end: 2_000_001,
            line: 1,
            column: 1,
        };
        diagnostics.error(Code::BadValue, span, "bad \u{1b}[2J", "here");
        let drawn = diagnostics.render(Colour::Plain);
        assert!(!drawn.contains('\u{1b}'));
        assert!(drawn.len() < 4_000, "{}", drawn.len());
    }
}
