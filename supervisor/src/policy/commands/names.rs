//! The names under which one program is known.

use super::table::Table;

/// The last component of a path.
pub(super) fn base(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

/// Adds to `all` the word as it is, its last component, without `.exe`, the program that a file of this name is, and its name without a version
/// (`terraform-1.5.7`, `kubectl1.28`).
pub(super) fn add_names<'a>(table: &'a Table, word: &'a [u8], all: &mut Vec<&'a [u8]>) {
    each_name(table, word, &mut |name| {
        if !name.is_empty() && !all.contains(&name) {
            all.push(name);
        }
    });
}

/// The names that [`add_names`] adds, some of them twice or empty.
pub(super) fn each_name<'a>(table: &'a Table, word: &'a [u8], add: &mut impl FnMut(&'a [u8])) {
    add(word);
    // `python3 …/awscli/__main__.py`
    let base = base(word.strip_suffix(b"/__main__.py").unwrap_or(word));
    add(base);
    let plain = base.strip_suffix(b".exe").unwrap_or(base);
    add(plain);
    if let Some(known) = table.of_file(plain) {
        add(known);
    }
    if plain.last().is_some_and(u8::is_ascii_digit) {
        add(unversioned(plain));
    }
}

/// The name without a version at its end.
pub(super) fn unversioned(name: &[u8]) -> &[u8] {
    let is_version = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
    let kept = name.iter().rposition(|byte| !is_version(byte)).map_or(0, |at| at + 1);
    let (stem, version) = name.split_at(kept);
    if !version.iter().any(u8::is_ascii_digit) || stem.is_empty() {
        return name;
    }
    // `-1.5`, `_v1.5`; a name such as `x86_64` or `v8` has nothing left that means a program.
    let stem = match stem {
        [rest @ .., b'-' | b'_', b'v'] if !rest.is_empty() => rest,
        stem => stem,
    };
    match stem {
        [rest @ .., b'-' | b'_' | b'@'] if !rest.is_empty() => rest,
        stem => stem,
    }
}

#[cfg(test)]
mod tests {
    use super::{Table, add_names};

    #[test]
    fn programs_are_known_by_each_of_their_names() {
        for (word, wanted) in [
            ("/usr/bin/terraform", "terraform"),
            ("./terraform", "terraform"),
            ("terraform-1.5.7", "terraform"),
            ("terraform_v1.5.7", "terraform"),
            ("terraform_1.5", "terraform"),
            ("kubectl1.28", "kubectl"),
            ("aws2", "aws"),
            ("python3.11", "python"),
            ("terraform.exe", "terraform"),
            ("/usr/lib/node_modules/npm/bin/npm-cli.js", "npm"),
            ("k", "kubectl"),
            ("/usr/lib/python3/dist-packages/awscli/__main__.py", "aws"),
            ("ld-linux-x86-64.so.2", "ld-linux-x86-64.so"),
            ("git", "git"),
            ("1.5", "1.5"),
        ] {
            let mut names = Vec::new();
            add_names(Table::shipped(), word.as_bytes(), &mut names);
            assert!(names.contains(&wanted.as_bytes()), "{word}");
        }
    }
}
