//! The names under which one program is known.

/// Files that are known under another name.
static ALIASES: &[(&str, &str)] = &[
    ("npm-cli.js", "npm"),
    ("npx-cli.js", "npx"),
    ("pnpm.cjs", "pnpm"),
    ("pnpm.mjs", "pnpm"),
    ("yarn.js", "yarn"),
    ("yarnpkg", "yarn"),
    ("awscli", "aws"),
    ("awscli.__main__", "aws"),
    ("azure.cli", "az"),
    ("gcloud.py", "gcloud"),
    ("twine.__main__", "twine"),
    ("opentofu", "tofu"),
    ("docker.io", "docker"),
    ("podman-remote", "podman"),
    ("k", "kubectl"),
];

/// The last component of a path.
pub(super) fn base(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

/// The word as it is, its last component, without `.exe`, its alias, and without a version at its end (`terraform-1.5.7`, `kubectl1.28`).
pub(super) fn names(word: &[u8]) -> Vec<&[u8]> {
    let mut all = vec![word];
    let mut add = |name| {
        if !all.contains(&name) {
            all.push(name);
        }
    };
    let base = base(word);
    add(base);
    let plain = base.strip_suffix(b".exe").unwrap_or(base);
    add(plain);
    if let Some((_, known)) = ALIASES.iter().find(|(file, _)| file.as_bytes() == plain) {
        add(known.as_bytes());
    }
    add(unversioned(plain));
    all
}

fn unversioned(name: &[u8]) -> &[u8] {
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
    use super::names;

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
            ("git", "git"),
            ("", ""),
            ("1.5", "1.5"),
        ] {
            assert!(names(word.as_bytes()).contains(&wanted.as_bytes()), "{word}");
        }
    }
}
