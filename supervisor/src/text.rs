//! Foreign bytes made fit for records and terminals.

/// Bytes as text without control characters: what is no UTF-8 or would steer a terminal is written `\xNN`, a backslash `\\`.
#[must_use]
pub fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            // Bidirectional overrides reorder what a person reads.
            let steers = c.is_control()
                || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            match c {
                '\\' => text.push_str("\\\\"),
                c if steers => {
                    for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                        text.push_str(&format!("\\x{byte:02x}"));
                    }
                }
                c => text.push(c),
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::printable;

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
        ] {
            assert_eq!(printable(bytes), text);
        }
    }
}
