//! Foreign bytes made fit for records and terminals.
//!
//! Names, arguments and reasons come from the tree and end on an approver's screen (attack class 66): what a terminal
//! obeys, hides or reorders is written out.

use std::borrow::Cow;

/// Whether a terminal obeys, hides or reorders `c`: control characters (C0, DEL, C1), line and paragraph separators,
/// direction marks and overrides, zero-width and filler characters, tags.
#[must_use]
pub fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Bytes as text without deceptive characters: they and what is no UTF-8 are written `\xNN` byte by byte, a backslash
/// `\\`. So two different byte strings never look the same, and the bytes can be read back.
#[must_use]
pub fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => text.push_str("\\\\"),
                c if is_deceptive(c) => push_bytes(&mut text, c.encode_utf8(&mut [0; 4]).as_bytes()),
                c => text.push(c),
            }
        }
        push_bytes(&mut text, chunk.invalid());
    }
    text
}

/// Text for a terminal: deceptive characters are written `\xNN`, all others (backslashes too) stay.
#[must_use]
pub fn harmless(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_deceptive) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len().saturating_add(16));
    for c in text.chars() {
        if is_deceptive(c) {
            push_bytes(&mut out, c.encode_utf8(&mut [0; 4]).as_bytes());
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Arguments as one harmless line in which the border between two of them can be seen: quoted as a shell would.
#[must_use]
pub fn command_line<T: AsRef<str>>(argv: &[T]) -> String {
    let mut line = String::new();
    for argument in argv {
        if !line.is_empty() {
            line.push(' ');
        }
        let argument = harmless(argument.as_ref());
        if !argument.is_empty()
            && argument
                .chars()
                .all(|c| c.is_alphanumeric() || "/._-+=:,@%".contains(c))
        {
            line.push_str(&argument);
        } else {
            line.push('\'');
            line.push_str(&argument.replace('\'', "'\\''"));
            line.push('\'');
        }
    }
    line
}

/// The first `columns` characters of `text`, the last of them `…` when there was more.
#[must_use]
pub fn clipped(text: &str, columns: usize) -> Cow<'_, str> {
    if text.chars().count() <= columns {
        return Cow::Borrowed(text);
    }
    let mut out: String = text.chars().take(columns.saturating_sub(1)).collect();
    out.push('…');
    Cow::Owned(out)
}

fn push_bytes(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        out.push_str(&format!("\\x{byte:02x}"));
    }
}

/// A name of mountinfo as it is: `\ooo` of three octal digits is a byte. proc_pid_mountinfo(5).
pub(crate) fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        let octal = tail.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if *first == b'\\' => {
                out.push(byte);
                rest = tail.get(3..).unwrap_or_default();
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]
mod tests {
    use super::{clipped, command_line, harmless, printable};

    #[test]
    fn nothing_steers_a_terminal() {
        for (bytes, text) in [
            (&b"/a b"[..], "/a b"),
            (b"\x1b[2J", "\\x1b[2J"),
            (b"a\nb", "a\\x0ab"),
            (b"\xff", "\\xff"),
            (b"\\", "\\\\"),
            ("ä".as_bytes(), "ä"),
            ("\u{202e}x".as_bytes(), "\\xe2\\x80\\xaex"),
            ("\u{9b}31m".as_bytes(), "\\xc2\\x9b31m"),
            ("a\u{200b}b".as_bytes(), "a\\xe2\\x80\\x8bb"),
            ("\u{e0041}".as_bytes(), "\\xf3\\xa0\\x81\\x81"),
        ] {
            assert_eq!(printable(bytes), text);
        }
    }

    #[test]
    fn lines_for_people() {
        assert_eq!(harmless("it's \u{1b}[1m\\bold\r\n"), "it's \\x1b[1m\\bold\\x0d\\x0a");
        assert_eq!(
            command_line(&["sh", "-c", "a b; c", "", "it's"]),
            "sh -c 'a b; c' '' 'it'\\''s'"
        );
        assert_eq!(clipped("abcdef", 4), "abc…");
        assert_eq!(clipped("abcd", 4), "abcd");
    }
}
