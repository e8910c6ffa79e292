//! Many patterns against one text: an automaton over one literal of each pattern finds the few that can match, and only those are tried.
//!
//! A decision allocates nothing, and its cost grows with the text, hardly with the rules.

use std::collections::HashMap;

use aho_corasick::AhoCorasick;

use super::compile::{PatternRule, holds};
use super::pattern::Glob;
use super::types::Subject;
use crate::mixer::Mixer;

/// Bytes of a literal that the automaton looks for; the end of a long folder tells patterns apart, its beginning does not.
const NEEDLE_MAX: usize = 32;
/// Recently tried patterns that are remembered within one text, so that a literal that stands in it often costs once.
const TRIED: usize = 64;

/// Rules over paths or command lines.
#[derive(Default)]
pub(super) struct Rules {
    rules: Vec<PatternRule>,
    /// Patterns without a star, by their text.
    exact: HashMap<Box<[u8]>, Vec<u32>, Mixer>,
    needles: Option<AhoCorasick>,
    /// For each needle the patterns that it stands for.
    candidates: Vec<Vec<Candidate>>,
    /// Patterns of stars alone.
    always: Vec<Candidate>,
}

/// A pattern that may match where its literal was found.
#[derive(Clone, Copy)]
struct Candidate {
    rule: u32,
    glob: u32,
    place: Place,
}

/// Where a pattern's literal has to end.
#[derive(Clone, Copy)]
enum Place {
    At(usize),
    End,
    Anywhere,
}

impl Rules {
    /// Compiles the rules.
    pub(super) fn new(rules: Vec<PatternRule>) -> Self {
        let mut uses: HashMap<&[u8], u32> = HashMap::new();
        let globs = || rules.iter().flat_map(|rule| &rule.globs);
        for glob in globs() {
            for (needle, _) in needles(glob) {
                *uses.entry(needle).or_default() += 1;
            }
        }
        let mut exact: HashMap<Box<[u8]>, Vec<u32>, Mixer> = HashMap::default();
        let mut always = Vec::new();
        let mut numbers: HashMap<&[u8], usize> = HashMap::new();
        let mut candidates: Vec<Vec<Candidate>> = Vec::new();
        for (rule, of) in (0_u32..).zip(&rules) {
            for (glob, pattern) in (0_u32..).zip(&of.globs) {
                if let Some(text) = pattern.literal() {
                    exact.entry(text.into()).or_default().push(rule);
                    continue;
                }
                // The rarest literal, then the longest, leaves the fewest to try.
                let rarest = needles(pattern).min_by_key(|(needle, _)| {
                    let uses = uses.get(needle).copied().unwrap_or_default();
                    (uses, usize::MAX - needle.len())
                });
                let (needle, place) = rarest.unwrap_or((b"", Place::Anywhere));
                let candidate = Candidate { rule, glob, place };
                if needle.is_empty() {
                    always.push(candidate);
                    continue;
                }
                let number = *numbers.entry(needle).or_insert_with(|| {
                    candidates.push(Vec::new());
                    candidates.len() - 1
                });
                if let Some(list) = candidates.get_mut(number) {
                    list.push(candidate);
                }
            }
        }
        let mut texts: Vec<(&[u8], usize)> = numbers.into_iter().collect();
        texts.sort_unstable_by_key(|(_, number)| *number);
        // An automaton that can not be built is no reason to match less: then each pattern is tried.
        let automaton = match texts.is_empty() {
            true => None,
            false => AhoCorasick::new(texts.iter().map(|(text, _)| *text)).ok(),
        };
        if automaton.is_none() {
            always.extend(candidates.drain(..).flatten());
        }
        Self {
            needles: automaton,
            exact,
            candidates,
            always,
            rules,
        }
    }

    /// The rules as they were given.
    pub(super) fn iter(&self) -> impl Iterator<Item = &PatternRule> {
        self.rules.iter()
    }

    /// The most restrictive rule that matches, of several the first. `system` says whether patterns by name do not reach the text; few texts
    /// make it be asked.
    pub(super) fn strictest(&self, text: &[u8], system: &dyn Fn() -> bool, by: &dyn Subject) -> Option<&PatternRule> {
        self.strictest_but(text, None, system, by)
    }

    /// The same for a text that rules' exceptions see in a second form.
    pub(super) fn strictest_but(
        &self,
        text: &[u8],
        also: Option<&[u8]>,
        system: &dyn Fn() -> bool,
        by: &dyn Subject,
    ) -> Option<&PatternRule> {
        let mut best: Option<(u32, &PatternRule)> = None;
        let mut consider = |number: u32, glob: Option<u32>| {
            let Some(rule) = self.rules.get(number as usize) else {
                return;
            };
            let better = best.is_none_or(|(first, old)| {
                rule.rule.decision > old.rule.decision || (rule.rule.decision == old.rule.decision && number < first)
            });
            let matches = |glob: &Glob| glob.matches(text) && (glob.reaches_system() || !system());
            let found = match glob {
                Some(glob) => rule.globs.get(glob as usize).is_some_and(matches),
                None => rule.globs.iter().any(matches),
            };
            let excepted = |glob: &Glob| glob.matches(text) || also.is_some_and(|also| glob.matches(also));
            if better && found && !rule.except.iter().any(excepted) && holds(&rule.by, by) {
                best = Some((number, rule));
            }
        };
        for number in self.exact.get(text).into_iter().flatten() {
            consider(*number, None);
        }
        for candidate in &self.always {
            consider(candidate.rule, Some(candidate.glob));
        }
        let mut tried: Option<[(u32, u32); TRIED]> = None;
        let hits = self
            .needles
            .as_ref()
            .and_then(|needles| needles.try_find_overlapping_iter(text).ok());
        for hit in hits.into_iter().flatten() {
            let list = self.candidates.get(hit.pattern().as_usize()).into_iter().flatten();
            for candidate in list {
                let fits = match candidate.place {
                    Place::At(end) => hit.end() == end,
                    Place::End => hit.end() == text.len(),
                    Place::Anywhere => {
                        let this = (candidate.rule, candidate.glob);
                        let tried = tried.get_or_insert([(u32::MAX, u32::MAX); TRIED]);
                        let slot = tried.get_mut(candidate.rule as usize % TRIED);
                        slot.is_some_and(|slot| std::mem::replace(slot, this) != this)
                    }
                };
                if fits {
                    consider(candidate.rule, Some(candidate.glob));
                }
            }
        }
        best.map(|(_, rule)| rule)
    }
}

/// The literals of a pattern with stars, with where they stand in what it matches.
fn needles(glob: &Glob) -> impl Iterator<Item = (&[u8], Place)> {
    let parts = glob.parts();
    let last = parts.len().saturating_sub(1);
    parts
        .iter()
        .enumerate()
        .filter(|(_, part)| !part.is_empty())
        .map(move |(index, part)| {
            if index == 0 {
                let tail = part.len().saturating_sub(NEEDLE_MAX);
                (part.get(tail..).unwrap_or(part), Place::At(part.len()))
            } else if index == last {
                let tail = part.len().saturating_sub(NEEDLE_MAX);
                (part.get(tail..).unwrap_or(part), Place::End)
            } else {
                (part.get(..NEEDLE_MAX).unwrap_or(part), Place::Anywhere)
            }
        })
}
