//! Other paths of the same files: folders that were mounted at several places when the session began, and layers of overlays.
//!
//! *Invariant:* what a rule restricts under one of its paths is restricted under each. Defaults speak of one path only: a workspace that is
//! mounted elsewhere too stays writable. The tree mounts nothing itself.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::text::unescaped;

/// Other paths of one file that are looked at.
const PATHS_MAX: usize = 16;

/// A folder, or a file, that is another one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Same {
    one: Vec<u8>,
    other: Vec<u8>,
}

/// The mounts as they were at the beginning.
#[derive(Debug, Default)]
pub(crate) struct Mounts {
    same: Vec<Same>,
    points: Vec<Vec<u8>>,
}

/// One line of mountinfo. proc_pid_mountinfo(5).
struct Mount {
    device: Vec<u8>,
    root: Vec<u8>,
    point: Vec<u8>,
    layers: Vec<Vec<u8>>,
}

impl Mounts {
    /// Reads them.
    pub(crate) fn read() -> Self {
        let text = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
        // Layers that lie outside of this mount namespace are nobody's paths here.
        Self::of(&text, |layer| Path::new(std::ffi::OsStr::from_bytes(layer)).is_dir())
    }

    fn of(text: &[u8], is_here: impl Fn(&[u8]) -> bool) -> Self {
        let mounts: Vec<Mount> = text.split(|byte| *byte == b'\n').filter_map(mount).collect();
        let mut same = Vec::new();
        for (index, a) in mounts.iter().enumerate() {
            for b in mounts
                .iter()
                .skip(index + 1)
                .filter(|b| b.device == a.device && b.point != a.point)
            {
                // The one whose root is deeper is a folder of the other.
                let (deep, high) = if a.root.len() >= b.root.len() { (a, b) } else { (b, a) };
                if let Some(rest) = below(&deep.root, &high.root) {
                    same.push(Same {
                        one: deep.point.clone(),
                        other: joined(&high.point, rest),
                    });
                }
            }
            same.extend(a.layers.iter().filter(|layer| is_here(layer)).map(|layer| Same {
                one: a.point.clone(),
                other: layer.clone(),
            }));
        }
        same.retain(|same| same.one != same.other);
        let points = mounts.into_iter().map(|mount| mount.point).collect();
        Self { same, points }
    }

    /// Each of these paths with its others.
    pub(super) fn with_others(&self, paths: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        let all = |path: Vec<u8>| {
            let others = self.others(&path);
            std::iter::once(path).chain(others)
        };
        paths.into_iter().flat_map(all).collect()
    }

    /// Whether something is mounted in a folder, or the folder has another path.
    pub(crate) fn is_around(&self, folder: &[u8]) -> bool {
        let inside = |point: &Vec<u8>| below(point, folder).is_some_and(|rest| !rest.is_empty());
        self.points.iter().any(inside) || !self.others(folder).is_empty()
    }

    /// The other paths of what has this one.
    pub(crate) fn others(&self, path: &[u8]) -> Vec<Vec<u8>> {
        if self.same.is_empty() {
            return Vec::new();
        }
        let mut found = vec![path.to_vec()];
        let mut next = 0;
        while let Some(path) = found.get(next).cloned().filter(|_| found.len() < PATHS_MAX) {
            next += 1;
            for Same { one, other } in &self.same {
                for (from, to) in [(one, other), (other, one)] {
                    let Some(rest) = below(&path, from) else { continue };
                    let moved = joined(to, rest);
                    if !found.contains(&moved) {
                        found.push(moved);
                    }
                }
            }
        }
        found.remove(0);
        found
    }
}

/// What of `path` lies below `folder`: nothing, or something that begins with a slash.
fn below<'a>(path: &'a [u8], folder: &[u8]) -> Option<&'a [u8]> {
    let folder = folder.strip_suffix(b"/").unwrap_or(folder);
    let rest = path.strip_prefix(folder)?;
    (rest.is_empty() || rest.starts_with(b"/")).then_some(rest.strip_suffix(b"/").unwrap_or(rest))
}

fn joined(folder: &[u8], rest: &[u8]) -> Vec<u8> {
    let path = [folder.strip_suffix(b"/").unwrap_or(folder), rest].concat();
    if path.is_empty() { b"/".to_vec() } else { path }
}

fn mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ').skip(2);
    let (device, root, point) = (fields.next()?, fields.next()?, fields.next()?);
    let mut rest = fields.skip_while(|field| *field != b"-").skip(1);
    let kind = rest.next()?;
    let options = rest.nth(1).unwrap_or_default();
    Some(Mount {
        device: device.to_vec(),
        root: unescaped(root),
        point: unescaped(point),
        layers: if kind == b"overlay" {
            layers(options)
        } else {
            Vec::new()
        },
    })
}

/// The folders of an overlay: `lowerdir=A:B,upperdir=C`, or `lowerdir+=A` for each. Documentation/filesystems/overlayfs.rst.
fn layers(options: &[u8]) -> Vec<Vec<u8>> {
    let of = |option: &[u8]| -> Option<Vec<u8>> {
        ["lowerdir=", "lowerdir+=", "datadir+=", "upperdir="]
            .iter()
            .find_map(|name| Some(option.strip_prefix(name.as_bytes())?.to_vec()))
    };
    let lists = options.split(|byte| *byte == b',').filter_map(of);
    lists
        .flat_map(|list| list.split(|byte| *byte == b':').map(unescaped).collect::<Vec<_>>())
        .filter(|layer| layer.starts_with(b"/"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] =
        b"1 0 254:0 / / rw - ext4 /dev/vda rw\n2 1 254:0 /home/u/no /mnt/a\\040b rw - ext4 /dev/vda rw\n\
        3 1 254:0 /etc/hosts /srv/hosts rw shared:1 - ext4 /dev/vda rw\n4 1 0:40 / /tmp rw - tmpfs none rw\n\
        5 1 0:50 / /over rw - overlay overlay rw,lowerdir=/low:/gone,upperdir=/up,workdir=/work\n";

    fn others(path: &str) -> Vec<String> {
        let mounts = Mounts::of(TABLE, |layer| layer != b"/gone");
        let found = mounts.others(path.as_bytes());
        found
            .iter()
            .map(|path| String::from_utf8_lossy(path).into_owned())
            .collect()
    }

    #[test]
    fn a_file_has_all_its_paths() {
        assert_eq!(others("/mnt/a b/x"), ["/home/u/no/x"]);
        assert_eq!(others("/home/u/no/x"), ["/mnt/a b/x"]);
        assert_eq!(others("/home/u/no"), ["/mnt/a b"]);
        assert_eq!(others("/srv/hosts"), ["/etc/hosts"]);
        assert_eq!(others("/over/x"), ["/low/x", "/up/x"]);
        assert_eq!(others("/up/x"), ["/over/x", "/low/x"]);
        for alone in ["/home/u/nothing", "/home/u", "/tmp/x", "/etc/passwd", "/gone/x"] {
            assert!(others(alone).is_empty(), "{alone}: {:?}", others(alone));
        }
    }
}
