//! Where a refspec of a push goes; git-push(1), `<refspec>...`.

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
    if source.is_empty() || source.contains(&b'*') {
        return Destination::Unresolved;
    }
    // `topic:` and `topic` alike: the configuration may say where it goes.
    Destination::Source(source.to_vec())
}

/// The ends that `specs` of a remote give to a source without a destination; refspec.c, `query_refspecs`.
pub(super) fn mapped<'s>(specs: impl Iterator<Item = &'s [u8]>, source: &[u8]) -> Vec<Destination> {
    let names: Vec<Vec<u8>> = match source {
        [b'r', b'e', b'f', b's', b'/', ..] => vec![source.to_vec()],
        _ => [&b""[..], b"refs/", b"refs/tags/", b"refs/heads/", b"refs/remotes/"]
            .iter()
            .map(|start| [start, source].concat())
            .collect(),
    };
    let mut ends = Vec::new();
    for spec in specs {
        let spec = spec.strip_prefix(b"+").unwrap_or(spec);
        let Some(at) = spec.iter().rposition(|byte| *byte == b':') else {
            continue;
        };
        let (from, to) = (
            spec.get(..at).unwrap_or_default(),
            spec.get(at + 1..).unwrap_or_default(),
        );
        if from.is_empty() {
            // `:` is every branch that both sides have.
            ends.push(Destination::Unresolved);
        }
        for name in &names {
            match from.iter().position(|byte| *byte == b'*') {
                None if from == name.as_slice() => ends.push(destination(&[b":", to].concat())),
                Some(star) => {
                    let (start, end) = (
                        from.get(..star).unwrap_or_default(),
                        from.get(star + 1..).unwrap_or_default(),
                    );
                    let middle = name.strip_prefix(start).and_then(|name| name.strip_suffix(end));
                    if let Some(middle) = middle {
                        let to = to.splitn(2, |byte| *byte == b'*').collect::<Vec<_>>().join(middle);
                        ends.push(destination(&[b":", &to[..]].concat()));
                    }
                }
                None => {}
            }
        }
    }
    ends
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
