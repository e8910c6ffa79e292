//! Where a refspec of a push goes; git-push(1), "<refspec>...".

/// The end of one refspec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Destination {
    /// `src:dst`, `:dst`, or a full name: this branch.
    Branch(Vec<u8>),
    /// This tag.
    Tag(Vec<u8>),
    /// No destination is written: it follows from the source's name and the configuration.
    Source(Vec<u8>),
    /// Another namespace, such as `refs/for/main` or `refs/notes/x`: neither branch nor tag.
    Elsewhere,
    /// Nothing is pushed by it (`^x`).
    Nothing,
    /// Several, or not known: patterns, `:`, the other side's `HEAD`.
    Unresolved,
}

/// Reads one refspec of a push.
pub(super) fn destination(spec: &[u8]) -> Destination {
    let spec = spec.strip_prefix(b"+").unwrap_or(spec);
    if spec.starts_with(b"^") {
        return Destination::Nothing;
    }
    let (source, target) = match spec.iter().rposition(|byte| *byte == b':') {
        Some(at) => (
            spec.get(..at).unwrap_or_default(),
            spec.get(at + 1..).unwrap_or_default(),
        ),
        None => (spec, &b""[..]),
    };
    if !target.is_empty() {
        return match named(target) {
            // The other side's HEAD is whatever branch it has chosen.
            Destination::Source(name) if matches!(name.as_slice(), b"HEAD" | b"@") => Destination::Unresolved,
            Destination::Source(name) => Destination::Branch(name),
            other => other,
        };
    }
    if source.is_empty() {
        return Destination::Unresolved;
    }
    named(source)
}

/// A name, by its namespace.
pub(super) fn named(name: &[u8]) -> Destination {
    if name.contains(&b'*') {
        return Destination::Unresolved;
    }
    let mut parts: Vec<&[u8]> = name
        .split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty())
        .collect();
    let full = parts.first() == Some(&&b"refs"[..]) && parts.len() > 1;
    if full {
        parts.remove(0);
    }
    match (parts.first().copied(), parts.get(1..).unwrap_or_default()) {
        (Some(b"heads"), rest) if !rest.is_empty() => Destination::Branch(rest.join(&b'/')),
        (Some(b"tags"), rest) if !rest.is_empty() => Destination::Tag(rest.join(&b'/')),
        _ if full => Destination::Elsewhere,
        _ => Destination::Source(parts.join(&b'/')),
    }
}
