//! The same folder under several mounts (class 16): each of its paths.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// One line of /proc/self/mountinfo. proc_pid_mountinfo(5).
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mount {
    /// Which file system, as `major:minor`.
    device: Vec<u8>,
    /// The folder of that file system which is mounted.
    root: Vec<u8>,
    /// Where.
    point: Vec<u8>,
}

/// The paths, and what else leads to them by the mounts that there are now: nothing of the tree makes new ones.
pub(super) fn with_aliases(paths: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mounts = parse(&std::fs::read("/proc/self/mountinfo").unwrap_or_default());
    let exists = |path: &[u8]| Path::new(std::ffi::OsStr::from_bytes(path)).symlink_metadata().is_ok();
    let mut all = paths.clone();
    for path in &paths {
        for alias in aliases(&mounts, path) {
            // What is mounted above it hides a path; and what does not exist yet would lie below its parent.
            let parent = alias
                .iter()
                .rposition(|byte| *byte == b'/')
                .and_then(|at| alias.get(..at));
            if !all.contains(&alias) && (exists(&alias) || parent.is_some_and(exists)) {
                all.push(alias);
            }
        }
    }
    all
}

fn parse(text: &[u8]) -> Vec<Mount> {
    let line = |line: &[u8]| {
        let mut fields = line.split(|byte| *byte == b' ').skip(2);
        Some(Mount {
            device: fields.next()?.to_vec(),
            root: plain(fields.next()?),
            point: plain(fields.next()?),
        })
    };
    text.split(|byte| *byte == b'\n').filter_map(line).collect()
}

/// Blanks, tabs, line ends and backslashes are written as three octal digits.
fn plain(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let octal = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if *first == b'\\' => {
                bytes.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

/// What of `path` lies below `folder`: nothing, or what begins with a slash.
fn below<'a>(path: &'a [u8], folder: &[u8]) -> Option<&'a [u8]> {
    let folder = folder.strip_suffix(b"/").unwrap_or(folder);
    path.strip_prefix(folder)
        .filter(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

fn aliases(mounts: &[Mount], path: &[u8]) -> Vec<Vec<u8>> {
    let joined = |folder: &[u8], rest: &[u8]| [folder.strip_suffix(b"/").unwrap_or(folder), rest].concat();
    // The innermost mount holds it; of those at one point the last.
    let around = mounts.iter().filter(|mount| below(path, &mount.point).is_some());
    let Some(own) = around.max_by_key(|mount| mount.point.len()) else {
        return Vec::new();
    };
    let inside = joined(&own.root, below(path, &own.point).unwrap_or_default());
    let same = mounts.iter().filter(|mount| mount.device == own.device);
    let paths = same.filter_map(|mount| Some(joined(&mount.point, below(&inside, &mount.root)?)));
    paths.filter(|alias| alias != path).collect()
}

#[cfg(test)]
mod tests {
    use super::{aliases, parse};

    #[test]
    fn a_folder_is_found_under_each_mount_of_its_file_system() {
        let mounts = parse(
            b"20 1 8:1 / / rw - ext4 /dev/sda1 rw\n21 20 8:2 / /home rw - ext4 /dev/sdb rw\n22 20 8:2 /u /mnt/a\\040b rw - ext4 /dev/sdb rw\n\
              23 20 8:2 /other /mnt/other rw - ext4 /dev/sdb rw\n24 20 8:1 /var /srv/var rw - ext4 /dev/sda1 rw\n",
        );
        let found = |path: &str| -> Vec<String> {
            let found = aliases(&mounts, path.as_bytes());
            found
                .iter()
                .map(|path| String::from_utf8_lossy(path).into_owned())
                .collect()
        };
        assert_eq!(found("/home/u/.local/state"), ["/mnt/a b/.local/state"]);
        assert_eq!(found("/mnt/a b/x"), ["/home/u/x"]);
        assert_eq!(found("/home/v"), Vec::<String>::new());
        assert_eq!(found("/var/lib/x"), ["/srv/var/lib/x"]);
        assert_eq!(found("/srv/var/lib"), ["/var/lib"]);
        assert_eq!(found("/home/ux"), Vec::<String>::new());
    }
}
