//! Sockets of services outside that would act with the user's rights: known by their path and by the name to which they were bound.
//!
//! *Invariant:* renaming, linking or moving such a socket does not make it another one: the kernel keeps the name that bind(2) was given.

use nix::errno::Errno;

use crate::policy::tables;
use crate::sys::diag::{Bound, Diag};
use crate::sys::fs::ObjectId;

/// The errno with which a connect to the socket at `path` is refused; none when it is no such service.
pub(super) fn refused(path: &[u8], id: ObjectId) -> Option<Errno> {
    if let Some(errno) = tables::refused_socket(path) {
        return Some(errno);
    }
    // Without an answer nobody knows what it is.
    let Ok(all) = Diag::open().and_then(|diag| diag.bound()) else {
        return Some(Errno::EACCES);
    };
    named(&all, id).find_map(|name| tables::refused_socket(&name))
}

/// The names to which what stands at this inode was bound. Some file systems give stat(2) another device than their own: then the inode's
/// number alone must do.
fn named(all: &[Bound], id: ObjectId) -> impl Iterator<Item = Vec<u8>> {
    let same = move |bound: &&Bound| u64::from(bound.ino) == id.ino & 0xffff_ffff;
    let exact = all.iter().filter(same).any(|bound| bound.dev == id.dev);
    all.iter()
        .filter(same)
        .filter(move |bound| !exact || bound.dev == id.dev)
        // A relative name lay in a folder that is not known: it is matched by its end.
        .map(|bound| {
            if bound.name.starts_with(b"/") {
                bound.name.clone()
            } else {
                [b"/", bound.name.as_slice()].concat()
            }
        })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_one_of_this_inode() {
        let bound = |ino, dev, name: &str| Bound {
            ino,
            dev,
            name: name.into(),
        };
        let all = [
            bound(7, 1, "/run/docker.sock"),
            bound(7, 2, "/tmp/plain"),
            bound(8, 1, "S.gpg-agent"),
        ];
        let of = |ino, dev| named(&all, ObjectId { ino, dev }).collect::<Vec<_>>();
        assert_eq!(of(7, 2), [b"/tmp/plain"]);
        assert_eq!(of(7, 3), [&b"/run/docker.sock"[..], b"/tmp/plain"]);
        assert_eq!(of(8 | 1 << 40, 1), [b"/S.gpg-agent"]);
        assert!(of(9, 1).is_empty());
    }
}
