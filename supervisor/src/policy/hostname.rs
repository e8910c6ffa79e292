//! Hosts' names: one spelling for all, and patterns over them.

/// Bytes of a name without its trailing dot; RFC 1035, 2.3.4.
const NAME_MAX: usize = 253;
/// Bytes of one label; RFC 1035, 2.3.4.
const LABEL_MAX: usize = 63;

/// One name (`a.example`), or all names below one (`*.example`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    /// With the dot in front where `below`.
    name: String,
    below: bool,
}

impl Pattern {
    /// Reads a pattern in any spelling. The error is a sentence with the way out.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix('.') {
            return Err(format!(
                "a name does not begin with a dot; for all names below write `*.{name}`"
            ));
        }
        let (below, rest) = match text.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        if rest.contains('*') {
            let bare = rest.trim_start_matches(['*', '.']);
            return Err(format!(
                "`*` stands for whole labels and only as the first label, as in `*.{bare}`"
            ));
        }
        let name = canonical(rest)?;
        Ok(Self {
            name: if below { format!(".{name}") } else { name },
            below,
        })
    }

    /// Whether a name, in its one spelling, is meant.
    pub(crate) fn matches(&self, name: &str) -> bool {
        if self.below {
            name.len() > self.name.len() && name.ends_with(&self.name)
        } else {
            name == self.name
        }
    }

    /// The one name that is meant.
    pub(crate) fn literal(&self) -> Option<&str> {
        (!self.below).then_some(self.name.as_str())
    }
}

/// The one spelling of a host's name: lower case, IDNA in ASCII form (UTS 46), no trailing dot.
pub fn canonical(text: &str) -> Result<String, String> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let name = if text.is_ascii() {
        text.to_ascii_lowercase()
    } else {
        idna::domain_to_ascii(text).map_err(|_| format!("`{text}` is no host's name that IDNA can spell"))?
    };
    if name.is_empty() || name.len() > NAME_MAX {
        return Err(format!(
            "a host's name has 1 to {NAME_MAX} characters, this one {}",
            name.len()
        ));
    }
    for label in name.split('.') {
        if label.is_empty() {
            return Err(format!("`{text}` has an empty label (two dots in a row)"));
        }
        if label.len() > LABEL_MAX {
            return Err(format!(
                "`{label}` is longer than the {LABEL_MAX} characters of a label"
            ));
        }
        if !label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        {
            return Err(format!(
                "`{text}` is neither an address, a CIDR block nor a host's name (letters, digits, `-` and `_`, labels between dots)"
            ));
        }
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn names_have_one_spelling() {
        for (text, wanted) in [
            ("A.Example.", Some("a.example")),
            ("_srv._tcp.example", Some("_srv._tcp.example")),
            ("faß.example", Some("xn--fa-hia.example")),
            ("ａ.example", Some("a.example")),
            ("a。example", Some("a.example")),
            ("a..", None),
            ("", None),
            ("a b", None),
            ("a\0b", None),
            ("é\u{200d}x!.example", None),
        ] {
            assert_eq!(canonical(text).ok().as_deref(), wanted, "{text}");
        }
        assert!(canonical(&"a".repeat(64)).is_err());
        assert!(canonical(&["a"; 200].join(".")).is_err());
    }
}
