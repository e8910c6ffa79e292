//! A hash that multiplies by secrets and folds: cheaper than SipHash on the way of every open.
//!
//! It is no match for who sets out to find collisions. So it stands only where these cost time and nothing else: in tables of bounded size, or of keys
//! that the tree does not choose.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

/// The secrets of one table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mixer([u64; 3]);

impl Default for Mixer {
    fn default() -> Self {
        let random = RandomState::new();
        // Odd, so that no secret is zero.
        Self([1_u64, 2, 3].map(|n| random.hash_one(n) | 1))
    }
}

impl Mixer {
    /// The hash of four words.
    pub(crate) fn words(&self, [a, b, c, d]: [u64; 4]) -> u64 {
        let [one, two, three] = self.0;
        fold(fold(a ^ one, b ^ two) ^ three, fold(c ^ two, d ^ three) ^ one)
    }

    /// The hash of a text.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> u64 {
        let [.., three] = self.0;
        self.absorb(three, bytes)
    }

    fn absorb(&self, state: u64, bytes: &[u8]) -> u64 {
        let [one, two, _] = self.0;
        let (words, rest) = bytes.as_chunks::<8>();
        let mut last = [0; 8];
        last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        let words = words.iter().chain(std::iter::once(&last));
        words.fold(state ^ bytes.len() as u64, |hash, word| {
            fold(hash ^ one, u64::from_ne_bytes(*word) ^ two)
        })
    }
}

impl BuildHasher for Mixer {
    type Hasher = Mixing;

    fn build_hasher(&self) -> Mixing {
        let [.., three] = self.0;
        Mixing {
            by: *self,
            state: three,
        }
    }
}

/// A hash under way.
pub(crate) struct Mixing {
    by: Mixer,
    state: u64,
}

impl Hasher for Mixing {
    fn write(&mut self, bytes: &[u8]) {
        self.state = self.by.absorb(self.state, bytes);
    }

    // The length of a text goes with its bytes.
    fn write_usize(&mut self, word: usize) {
        self.state ^= word as u64;
    }

    fn finish(&self) -> u64 {
        self.state
    }
}

#[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a).wrapping_mul(u128::from(b));
    (product as u64) ^ ((product >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::BuildHasher;

    use super::Mixer;

    #[test]
    fn texts_that_differ_anywhere_differ() {
        let mixer = Mixer::default();
        let lengths = (0..40).map(|length| vec![b'a'; length]);
        let bits = (0..40 * 8).map(|bit| {
            let mut text = vec![b'a'; 40];
            if let Some(byte) = text.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
            text
        });
        let texts: Vec<Vec<u8>> = lengths.chain(bits).collect();
        let hashes: HashSet<u64> = texts.iter().map(|text| mixer.bytes(text)).collect();
        assert_eq!(hashes.len(), texts.len());
        let hashes: HashSet<u64> = texts.iter().map(|text| mixer.hash_one(&text[..])).collect();
        assert_eq!(hashes.len(), texts.len());
    }
}
