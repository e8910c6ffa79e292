//! Files of the tree's that say what its commands mean, read so that they can neither hold the reader up nor be other files for it.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

/// Bytes of one file that are read.
const SIZE_MAX: u64 = 1024 * 1024;
/// Folders from the working folder up to the root.
const PARENTS_MAX: usize = 256;
/// Symlinks on one path; MAXSYMLINKS, include/linux/namei.h.
const LINKS_MAX: usize = 40;

/// What a file holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// All of it.
    Bytes(Vec<u8>),
    /// There is none of this name.
    Missing,
    /// It is no regular file, too long, not to be read, or not the same file for another process.
    Hidden,
}

/// Reads a file.
pub(super) fn read(file: &Path) -> Content {
    match whole(file) {
        Ok(bytes) => Content::Bytes(bytes),
        Err(kind) if matches!(kind, ErrorKind::NotFound | ErrorKind::NotADirectory) && !by_process(file) => {
            Content::Missing
        }
        Err(_) => Content::Hidden,
    }
}

/// Whether a path leads to a folder.
pub(super) fn is_folder(path: &Path) -> bool {
    path.is_dir()
}

/// It is not the same folder for another process.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hidden;

/// The folder's path without symlinks; none when there is none.
pub(super) fn true_folder(path: &Path) -> Result<Option<PathBuf>, Hidden> {
    if by_process(path) {
        return Err(Hidden);
    }
    Ok(std::fs::canonicalize(path).ok())
}

/// A folder and those above it.
pub(super) fn upwards(folder: &Path) -> impl Iterator<Item = &Path> {
    folder.ancestors().take(PARENTS_MAX)
}

fn whole(file: &Path) -> Result<Vec<u8>, ErrorKind> {
    // A FIFO or device in its place can not hold the caller up.
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let open: File = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(file)
        .map_err(|error| error.kind())?;
    let meta = open.metadata().map_err(|error| error.kind())?;
    if !meta.is_file() || meta.len() > SIZE_MAX || by_process(file) {
        return Err(ErrorKind::InvalidData);
    }
    let mut bytes = Vec::new();
    open.take(SIZE_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| error.kind())?;
    match u64::try_from(bytes.len()) {
        Ok(length) if length <= SIZE_MAX => Ok(bytes),
        _ => Err(ErrorKind::InvalidData),
    }
}

/// Whether a path goes through /proc or /dev, where each process finds its own files (`/proc/self/fd/3`, `/dev/stdin`).
fn by_process(file: &Path) -> bool {
    let mut links = 0;
    let mut rest: Vec<PathBuf> = vec![file.to_owned()];
    let mut at = PathBuf::from("/");
    while let Some(next) = rest.pop() {
        let mut components = next.components();
        let Some(component) = components.next() else { continue };
        rest.push(components.as_path().to_owned());
        match component {
            Component::RootDir | Component::Prefix(_) => at = PathBuf::from("/"),
            Component::CurDir => {}
            Component::ParentDir => drop(at.pop()),
            Component::Normal(name) => {
                at.push(name);
                if at == Path::new("/proc") || at == Path::new("/dev") {
                    return true;
                }
                if let Ok(target) = std::fs::read_link(&at) {
                    links += 1;
                    if links > LINKS_MAX {
                        return true;
                    }
                    at.pop();
                    rest.push(target);
                }
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::{Content, read};

    #[test]
    fn only_files_that_are_the_same_for_everybody_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("plain"), "x").unwrap();
        fs::File::create(at("giant")).unwrap().set_len(2 << 20).unwrap();
        nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        fs::create_dir(at("folder")).unwrap();
        for (link, target) in [
            ("to-plain", "plain"),
            ("up", "folder/../plain"),
            ("own", "/proc/self/environ"),
            ("descriptor", "/proc/self/fd/99"),
            ("input", "/dev/stdin"),
            ("loop", "loop"),
            ("proc", "/proc"),
        ] {
            symlink(target, at(link)).unwrap();
        }
        for (name, wanted) in [
            ("plain", Content::Bytes(b"x".to_vec())),
            ("to-plain", Content::Bytes(b"x".to_vec())),
            ("up", Content::Bytes(b"x".to_vec())),
            ("none", Content::Missing),
            ("plain/none", Content::Missing),
            ("giant", Content::Hidden),
            ("fifo", Content::Hidden),
            ("folder", Content::Hidden),
            ("own", Content::Hidden),
            ("descriptor", Content::Hidden),
            ("input", Content::Hidden),
            ("loop", Content::Hidden),
            ("proc/self/environ", Content::Hidden),
            ("proc/self/fd/99", Content::Hidden),
        ] {
            assert_eq!(read(&at(name)), wanted, "{name}");
        }
    }
}
