//! Where the policy could ever let something be written: what the supervisor's envelope has to leave open.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use super::compile::Compiled;
use super::engine::Policy;
use super::pattern::Glob;
use super::types::Layer;
use crate::decision::Decision;

impl Policy {
    /// Folders and files outside of which every write is blocked; none when the policy does not bound them. Each layer answers for itself, so
    /// the bounds of any one of them hold: the shortest list is taken.
    #[must_use]
    pub fn write_roots(&self) -> Option<Vec<PathBuf>> {
        self.counting()
            .filter_map(|(layer, pack)| self.roots_of(*layer, pack))
            .min_by_key(Vec::len)
    }

    fn roots_of(&self, layer: Layer, pack: &Compiled) -> Option<Vec<PathBuf>> {
        if pack.default_write.as_ref()?.decision != Decision::Block {
            return None;
        }
        let needs = self.needs.write.iter().filter(|_| layer == Layer::Launch);
        let rules = pack
            .write
            .iter()
            .chain(pack.delete.iter())
            .filter(|rule| rule.rule.decision != Decision::Block);
        let mut roots: Vec<PathBuf> = rules
            .flat_map(|rule| &rule.globs)
            .chain(needs)
            .map(root)
            .collect::<Option<_>>()?;
        roots.sort();
        // What lies below another root adds nothing; sorted, each stands right behind what it lies below.
        roots.dedup_by(|later, earlier| later.starts_with(earlier));
        Some(roots)
    }
}

/// The folder below which all matches of a pattern lie, or the one file; none when that is everything.
fn root(glob: &Glob) -> Option<PathBuf> {
    let path = |bytes: &[u8]| PathBuf::from(OsString::from_vec(bytes.to_vec()));
    if let Some(whole) = glob.literal() {
        return Some(path(whole));
    }
    let head = glob.parts().first()?;
    let folder = head.get(..memchr::memrchr(b'/', head)?)?;
    (!folder.is_empty()).then(|| path(folder))
}
