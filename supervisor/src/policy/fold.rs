//! Names on file systems that do not tell letters' case apart: `.ENV` opens `.env` there.
//!
//! Kernels fold by tables of their own (vfat, ntfs3 and CIFS by the volume's, ext4 and f2fs by Unicode's, with ignorable characters dropped).
//! What matters here is that no spelling that one of them takes for a pattern's text is missed; that two different names are taken for one
//! only refuses more. Patterns are bounded to what they can say in such folders, so letters beyond ASCII fold as Unicode does.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::text::unescaped;

/// Kinds of file systems that fold, as mountinfo names them. WSL mounts Windows' volumes by 9p.
const FOLDING: &[&str] = &[
    "vfat", "msdos", "exfat", "ntfs", "ntfs3", "cifs", "smb3", "9p", "hfs", "hfsplus", "vboxsf",
];
/// Trees of the firmware, where no session has business and on which most machines have a vfat.
const FIRMWARE: &[&str] = &["/boot", "/efi"];
/// Names of a folder that are looked at for one that tells.
const NAMES_MAX: usize = 256;

/// Whether one of these folders, a file system below one, or any that is known for it, takes several spellings for one name.
pub(super) fn is_around(own: &[&Path]) -> bool {
    let mounts = fs::read("/proc/self/mountinfo").unwrap_or_default();
    let mut points = mounts.split(|byte| *byte == b'\n').filter_map(kind_and_point);
    own.iter().any(|folder| folds(folder))
        || points.any(|(kind, point)| {
            let known = FOLDING.contains(&kind) && !FIRMWARE.iter().any(|tree| point.starts_with(tree));
            known || kind.starts_with("fuse") && own.iter().any(|folder| point.starts_with(folder)) && folds(&point)
        })
}

/// Kind and place of a line of mountinfo. proc_pid_mountinfo(5).
fn kind_and_point(line: &[u8]) -> Option<(&str, PathBuf)> {
    let point = line.split(|byte| *byte == b' ').nth(4)?;
    let after = line.windows(3).position(|three| three == b" - ")?;
    let kind = line.get(after..)?.get(3..)?.split(|byte| *byte == b' ').next()?;
    let point = OsStr::from_bytes(&unescaped(point)).into();
    Some((std::str::from_utf8(kind).ok()?, point))
}

/// Whether a name of this folder, with its letters' case turned, is the same file; a folder without such a name, and one that cannot be
/// listed, do not.
fn folds(folder: &Path) -> bool {
    let Ok(names) = fs::read_dir(folder) else { return false };
    let names: Vec<Vec<u8>> = names
        .take(NAMES_MAX)
        .flatten()
        .map(|entry| entry.file_name().as_bytes().to_vec())
        .collect();
    let object = |name: &[u8]| {
        let stat = fs::symlink_metadata(folder.join(OsStr::from_bytes(name))).ok()?;
        Some((stat.dev(), stat.ino()))
    };
    let turned = |name: &[u8]| -> Vec<u8> {
        let turn = |byte: &u8| match byte.is_ascii_lowercase() {
            true => byte.to_ascii_uppercase(),
            false => byte.to_ascii_lowercase(),
        };
        name.iter().map(turn).collect()
    };
    let telling = names.iter().find_map(|name| {
        let other = turned(name);
        (other != *name && !names.contains(&other)).then_some((name, other))
    });
    telling.is_some_and(|(name, other)| object(name).is_some_and(|found| object(&other) == Some(found)))
}

/// The one spelling of all that such a file system takes for the same.
#[must_use]
pub(crate) fn folded(name: &[u8]) -> Vec<u8> {
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    let mut all = Vec::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars().filter(|c| !is_ignorable(*c)) {
            match expansion(c) {
                Some(text) => all.extend_from_slice(text.as_bytes()),
                None => c
                    .to_lowercase()
                    .for_each(|c| all.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes())),
            }
        }
        all.extend_from_slice(chunk.invalid());
    }
    all
}

/// As [`folded`], where it is asked for.
pub(super) fn folded_if(fold: bool, name: &[u8]) -> Cow<'_, [u8]> {
    match fold {
        true => folded(name).into(),
        false => name.into(),
    }
}

/// Characters whose full case folding is, or decomposes to, letters of ASCII that lower case alone does not show.
/// Unicode, CaseFolding.txt (status C and F).
const fn expansion(c: char) -> Option<&'static str> {
    Some(match c {
        '\u{17f}' => "s",
        '\u{df}' | '\u{1e9e}' => "ss",
        '\u{fb00}' => "ff",
        '\u{fb01}' => "fi",
        '\u{fb02}' => "fl",
        '\u{fb03}' => "ffi",
        '\u{fb04}' => "ffl",
        '\u{fb05}' | '\u{fb06}' => "st",
        _ => return None,
    })
}

/// Unicode's Default_Ignorable_Code_Point, which fs/unicode drops. DerivedCoreProperties.txt.
const fn is_ignorable(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::folded;

    #[test]
    fn spellings_of_one_name_fold_to_one() {
        for (name, wanted) in [
            ("/ws/.ENV", "/ws/.env"),
            (".\u{17f}\u{17f}h", ".ssh"),
            (".\u{df}h", ".ssh"),
            (".\u{1e9e}H", ".ssh"),
            (".\u{212a}ube", ".kube"),
            (".g\u{200d}it", ".git"),
            (".gi\u{fe0f}T", ".git"),
            ("pro\u{fb01}le", "profile"),
            ("Ä", "ä"),
        ] {
            assert_eq!(folded(name.as_bytes()), wanted.as_bytes(), "{name}");
        }
        assert_eq!(folded(b"A\xffB"), b"a\xffb");
        assert_eq!(folded("Ä\u{200b}".as_bytes()), "ä".as_bytes());
    }
}
