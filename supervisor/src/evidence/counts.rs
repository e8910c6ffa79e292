//! What is counted instead of recorded: allowed reads after the first of a kind, identical refusals after the 1 000th.
//!
//! Memory is bounded whatever the tree does (I8): beyond the limits, reads are told apart by executable and rule only, and
//! then not at all; refusals beyond theirs are recorded each.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};
use std::sync::{Mutex, PoisonError};

use crate::mixer::Mixer;

/// Shards, so that threads seldom meet.
const SHARDS: usize = 16;
/// (executable, object, rule)s of one shard: 100 000 in all.
const SHARD_KEYS: usize = 100_000 / SHARDS;
/// (executable, rule)s of one shard, once it is full.
const SHARD_COARSE_KEYS: usize = 4_096 / SHARDS;
/// Identical refusals that are recorded each.
const REFUSALS_EACH: u64 = 1_000;
/// Kinds of refusals that are told apart.
const REFUSAL_KINDS: usize = 65_536;
/// Rules whose names are kept for the end.
const RULE_NAMES: usize = 4_096;

/// A file by device and inode.
pub(crate) type FileId = (u64, u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ReadKey {
    /// Of what follows; computed once for the shard and its map.
    hash: u64,
    exe: FileId,
    /// None when the shard was full: any object.
    object: Option<FileId>,
    rule: u64,
}

impl Hash for ReadKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// Hands on the hash that a [`ReadKey`] brings.
#[derive(Default)]
struct Given(u64);

impl Hasher for Given {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

type Counts = HashMap<ReadKey, u64, BuildHasherDefault<Given>>;

#[derive(Default)]
struct Shard {
    exact: Counts,
    coarse: Counts,
    elsewhere: u64,
}

/// Allowed reads.
pub(crate) struct Reads {
    shards: [Mutex<Shard>; SHARDS],
    rules: Mutex<BTreeMap<u64, String>>,
    mixer: Mixer,
}

impl Reads {
    pub(crate) fn new() -> Self {
        Self {
            shards: Default::default(),
            rules: Mutex::default(),
            mixer: Mixer::default(),
        }
    }

    fn place(&self, exe: FileId, object: FileId, rule: &str) -> Option<(ReadKey, &Mutex<Shard>)> {
        let rule = self.mixer.bytes(rule.as_bytes());
        let hash = self
            .mixer
            .words([exe.0.rotate_left(32) ^ object.0, exe.1, object.1, rule]);
        // Neither the low bits, from which the map takes its index, nor the high ones, its tags.
        let shard = self
            .shards
            .get(usize::try_from((hash >> 40) % SHARDS as u64).unwrap_or(0))?;
        let object = Some(object);
        Some((
            ReadKey {
                hash,
                exe,
                object,
                rule,
            },
            shard,
        ))
    }

    /// The same for any object.
    fn coarse(&self, key: &ReadKey) -> ReadKey {
        let hash = self.mixer.words([key.exe.0, key.exe.1, 0, key.rule]);
        let object = None;
        ReadKey { hash, object, ..*key }
    }

    /// Counts one read; true when it is the first of its kind.
    pub(crate) fn first(&self, exe: FileId, object: FileId, rule: &str) -> bool {
        let Some((key, shard)) = self.place(exe, object, rule) else {
            return true;
        };
        // A panic can not happen between two states of a shard: its maps are whole.
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = shard.exact.get_mut(&key) {
            *count = count.saturating_add(1);
            return false;
        }
        if shard.exact.len() < SHARD_KEYS {
            shard.exact.insert(key, 1);
        } else {
            let key = self.coarse(&key);
            if let Some(count) = shard.coarse.get_mut(&key) {
                *count = count.saturating_add(1);
                return false;
            }
            if shard.coarse.len() >= SHARD_COARSE_KEYS {
                shard.elsewhere = shard.elsewhere.saturating_add(1);
                return false;
            }
            shard.coarse.insert(key, 1);
        }
        drop(shard);
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        if rules.len() < RULE_NAMES {
            rules.entry(key.rule).or_insert_with(|| rule.to_owned());
        }
        true
    }

    /// Takes one read back; the next one of its kind is the first when there was no other.
    pub(crate) fn forget(&self, exe: FileId, object: FileId, rule: &str) {
        let Some((key, shard)) = self.place(exe, object, rule) else {
            return;
        };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let coarse = self.coarse(&key);
        let Shard { exact, coarse: any, .. } = &mut *shard;
        for (counts, key) in [(exact, key), (any, coarse)] {
            if let Entry::Occupied(mut entry) = counts.entry(key) {
                match entry.get().checked_sub(1) {
                    None | Some(0) => drop(entry.remove()),
                    Some(less) => *entry.get_mut() = less,
                }
                return;
            }
        }
    }

    /// All reads so far.
    pub(crate) fn total(&self) -> u64 {
        self.shards
            .iter()
            .map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).total())
            .sum()
    }

    /// By rule: `executable object` as `dev:inode dev:inode` (`*` for any object) to the reads after the first; `elsewhere`
    /// for those that were not told apart.
    pub(crate) fn repeats(&self) -> BTreeMap<String, BTreeMap<String, u64>> {
        let rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let mut repeats: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            for (key, count) in shard.exact.iter().chain(&shard.coarse).filter(|(_, count)| **count > 1) {
                let rule = rules.get(&key.rule).cloned().unwrap_or_default();
                let object = key
                    .object
                    .map_or_else(|| "*".to_owned(), |(dev, ino)| format!("{dev}:{ino}"));
                let name = format!("{}:{} {object}", key.exe.0, key.exe.1);
                repeats.entry(rule).or_default().insert(name, count.saturating_sub(1));
            }
            if shard.elsewhere > 0 {
                let sum = repeats
                    .entry(String::new())
                    .or_default()
                    .entry("elsewhere".to_owned())
                    .or_default();
                *sum = sum.saturating_add(shard.elsewhere);
            }
        }
        repeats
    }
}

impl Shard {
    fn total(&self) -> u64 {
        self.exact
            .values()
            .chain(self.coarse.values())
            .sum::<u64>()
            .saturating_add(self.elsewhere)
    }
}

/// Refusals.
pub(crate) struct Refusals {
    kinds: HashMap<u64, Kind>,
    hasher: RandomState,
}

struct Kind {
    count: u64,
    /// The first record of its kind.
    first: String,
}

impl Refusals {
    pub(crate) fn new() -> Self {
        Self {
            kinds: HashMap::new(),
            hasher: RandomState::new(),
        }
    }

    /// Counts a refusal that would be recorded as `id`; when there were so many like it that it is not recorded, the name
    /// of their first record.
    pub(crate) fn counted(&mut self, identity: &impl Hash, id: &str) -> Option<String> {
        let room = self.kinds.len() < REFUSAL_KINDS;
        match self.kinds.entry(self.hasher.hash_one(identity)) {
            Entry::Occupied(mut entry) => {
                let kind = entry.get_mut();
                kind.count = kind.count.saturating_add(1);
                (kind.count > REFUSALS_EACH).then(|| kind.first.clone())
            }
            Entry::Vacant(entry) => {
                if room {
                    entry.insert(Kind {
                        count: 1,
                        first: id.to_owned(),
                    });
                }
                None
            }
        }
    }

    /// First records and the refusals like them that were only counted.
    pub(crate) fn repeats(&self) -> BTreeMap<String, u64> {
        let more = |kind: &Kind| kind.count.checked_sub(REFUSALS_EACH).filter(|more| *more > 0);
        self.kinds
            .values()
            .filter_map(|kind| Some((kind.first.clone(), more(kind)?)))
            .collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]
mod tests {
    use super::{Reads, Refusals, SHARD_COARSE_KEYS, SHARD_KEYS, SHARDS};

    #[test]
    fn the_first_of_each_kind_is_recorded_and_the_rest_counted() {
        let reads = Reads::new();
        assert!(reads.first((1, 2), (1, 3), "a"));
        assert!(!reads.first((1, 2), (1, 3), "a"));
        assert!(reads.first((1, 2), (1, 3), "b"));
        assert!(reads.first((1, 4), (1, 3), "a"));
        reads.forget((1, 4), (1, 3), "a");
        assert!(
            reads.first((1, 4), (1, 3), "a"),
            "what was not recorded is the first again"
        );
        assert_eq!(reads.total(), 4);
        assert_eq!(reads.repeats()["a"]["1:2 1:3"], 1);
    }

    #[test]
    fn a_million_objects_stay_within_the_bound() {
        let reads = Reads::new();
        let recorded = (0..300_000).filter(|ino| reads.first((1, 2), (1, *ino), "a")).count();
        assert!(recorded <= SHARDS * (SHARD_KEYS + SHARD_COARSE_KEYS), "{recorded}");
        assert!(recorded >= SHARDS * SHARD_KEYS, "{recorded}");
        assert_eq!(reads.total(), 300_000);
    }

    #[test]
    fn the_thousand_and_first_identical_refusal_is_counted() {
        let mut refusals = Refusals::new();
        assert!((0..1_000).all(|_| refusals.counted(&"x", "dec_1").is_none()));
        assert_eq!(refusals.counted(&"x", "dec_2"), Some("dec_1".to_owned()));
        assert_eq!(refusals.counted(&"y", "dec_3"), None);
        assert_eq!(
            refusals.repeats().into_iter().collect::<Vec<_>>(),
            [("dec_1".to_owned(), 1)]
        );
    }
}
