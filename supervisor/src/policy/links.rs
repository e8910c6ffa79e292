//! Folders of patterns that go through symbolic links: paths are judged as they are after all links are followed.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use super::pattern::{Role, is_below};
use super::types::Scope;

/// Links in one path; MAXSYMLINKS, include/linux/namei.h.
const LINKS_MAX: usize = 40;

/// The absolute pattern with the links of its literal folders followed, where there are any.
///
/// What restricts follows every link, up to the last component. What grants follows only links that nothing in the tree can have
/// made: root's own, in a folder that only root changes, outside workspace, home and temporary folders.
#[must_use]
pub(crate) fn resolved(pattern: &[u8], scope: &Scope, role: Role) -> Option<Vec<u8>> {
    let (literal, rest) = match pattern.iter().position(|byte| *byte == b'*') {
        Some(star) => {
            let (head, _) = pattern.split_at(star);
            pattern.split_at(head.iter().rposition(|byte| *byte == b'/')?)
        }
        None => (pattern, &b""[..]),
    };
    let own = [&scope.workspace, &scope.home].into_iter().chain(&scope.tmp);
    let own: Vec<&[u8]> = own.map(|path| path.as_os_str().as_bytes()).collect();
    let follows = |link: &Path| match role {
        Role::Restrict => true,
        Role::Grant | Role::Note => {
            let root_only = |path: &Path| {
                path.symlink_metadata()
                    .is_ok_and(|meta| meta.uid() == 0 && (meta.is_symlink() || meta.mode() & 0o022 == 0))
            };
            root_only(link)
                && link.parent().is_some_and(root_only)
                && !own.iter().any(|tree| is_below(link.as_os_str().as_bytes(), tree))
        }
    };
    let path = follow(Path::new(OsStr::from_bytes(literal)), follows)?;
    let found = [path.as_os_str().as_bytes(), rest].concat();
    (found != pattern).then_some(found)
}

/// The path without links, as far as it exists; nothing when a link is not to be followed or leads in circles.
fn follow(path: &Path, follows: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    let mut links = 0;
    let mut done = PathBuf::from("/");
    let mut rest: Vec<std::ffi::OsString> = parts(path);
    while let Some(part) = rest.pop() {
        if part == ".." {
            done.pop();
            continue;
        }
        done.push(part);
        if let Ok(target) = done.read_link() {
            links += 1;
            if links > LINKS_MAX || !follows(&done) {
                return None;
            }
            done.pop();
            if target.is_absolute() {
                done = PathBuf::from("/");
            }
            rest.extend(parts(&target));
        }
    }
    Some(done)
}

/// The components, last first.
fn parts(path: &Path) -> Vec<std::ffi::OsString> {
    path.components()
        .rev()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use super::{Role, Scope, resolved};

    #[test]
    fn what_restricts_goes_through_links_and_what_grants_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("real")).unwrap();
        std::fs::write(root.join("real/file"), "").unwrap();
        symlink("real", root.join("link")).unwrap();
        symlink(root.join("link"), root.join("second")).unwrap();
        symlink("link/file", root.join("name")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        let scope = Scope {
            workspace: root.clone(),
            home: "/nonexistent".into(),
            tmp: vec![],
            fold: false,
        };
        for (pattern, wanted) in [
            ("link/**", Some("real/**")),
            ("second/new/x", Some("real/new/x")),
            ("name", Some("real/file")),
            ("link/f*", Some("real/f*")),
            ("li*/x", None),
            ("real/**", None),
            ("loop/x", None),
        ] {
            let absolute = |text: &str| [root.as_os_str().as_bytes(), b"/", text.as_bytes()].concat();
            let found = resolved(&absolute(pattern), &scope, Role::Restrict);
            assert_eq!(found, wanted.map(absolute), "{pattern}");
            assert_eq!(resolved(&absolute(pattern), &scope, Role::Grant), None, "{pattern}");
        }
    }
}
