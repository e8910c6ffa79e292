//! Differences between native and inside: which are known, with their reasons, and how a comparison ends.

use std::collections::BTreeMap;

/// A list of known differences: `what<TAB>natively<TAB>inside<TAB>reason`, where `*` stands for anything; `#` begins a comment.
pub struct Known(Vec<[&'static str; 4]>);

impl Known {
    /// # Panics
    /// On a line that is no row.
    #[must_use]
    pub fn read(text: &'static str) -> Self {
        let row = |line: &'static str| {
            let mut parts = line.split('\t');
            let mut next = || parts.next().filter(|part| !part.is_empty());
            let row = [next()?, next()?, next()?, next()?];
            parts.next().is_none().then_some(row)
        };
        let lines = text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.trim().is_empty());
        Self(
            lines
                .map(|line| row(line).unwrap_or_else(|| panic!("no known difference: {line:?}")))
                .collect(),
        )
    }

    /// And those of `text` that hold on kernels before the one in the column in front; `release` as in uname(2).
    ///
    /// # Panics
    /// On a line that is no row.
    #[must_use]
    pub fn before(mut self, text: &'static str, release: &str) -> Self {
        let number = |version: &str| -> (u32, u32) {
            let mut parts = version.split('.').map_while(|part| part.parse().ok());
            (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
        };
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (kernel, row) = line
                .split_once('\t')
                .unwrap_or_else(|| panic!("no known difference: {line:?}"));
            if number(release) < number(kernel) {
                self.0.extend(Self::read(row).0);
            }
        }
        self
    }

    fn reason(&self, what: &str, native: &str, inside: &str) -> Option<&'static str> {
        let fits = |row: &&[&str; 4]| matches(row[0], what) && matches(row[1], native) && matches(row[2], inside);
        self.0.iter().find(fits).map(|row| row[3])
    }
}

/// What two runs of the same things came to, thing by thing.
#[derive(Default)]
pub struct Comparison {
    pub compared: usize,
    explained: BTreeMap<&'static str, usize>,
    pub unexplained: Vec<String>,
}

impl Comparison {
    /// One thing; whether it is the same or its difference is known.
    pub fn add(&mut self, known: &Known, what: &str, native: &str, inside: &str) -> bool {
        self.compared += 1;
        if native == inside {
            return true;
        }
        if let Some(reason) = known.reason(what, native, inside) {
            *self.explained.entry(reason).or_default() += 1;
            return true;
        }
        self.unexplained
            .push(format!("{what}: natively {native}, inside {inside}"));
        false
    }

    /// How many differences were known.
    #[must_use]
    pub fn explained(&self) -> usize {
        self.explained.values().sum()
    }

    /// Each thing of `native`, and those that only `inside` has.
    pub fn add_all(&mut self, known: &Known, native: &BTreeMap<String, String>, inside: &BTreeMap<String, String>) {
        for (what, native) in native {
            self.add(known, what, native, inside.get(what).map_or("missing", String::as_str));
        }
        for (what, inside) in inside.iter().filter(|(what, _)| !native.contains_key(*what)) {
            self.add(known, what, "missing", inside);
        }
    }

    /// Says what came of it (scripts/test.sh adds these lines up).
    ///
    /// # Panics
    /// When something differs that is not known, or too little was compared.
    #[track_caller]
    pub fn ends(self, of: &str, at_least: usize) {
        for (reason, count) in &self.explained {
            println!("    known difference, {count}x: {reason}");
        }
        println!(
            "compared {of}: {} results, {} explained differences, {} unexplained",
            self.compared,
            self.explained(),
            self.unexplained.len()
        );
        let shown = self.unexplained.iter().take(60).cloned().collect::<Vec<_>>().join("\n");
        assert!(self.unexplained.is_empty(), "{of}:\n{shown}");
        assert!(self.compared >= at_least, "{of}: only {} results", self.compared);
    }
}

/// Whether `text` is as `pattern` says, whose `*` stand for anything.
#[must_use]
pub fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut left) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(at) = left.find(part) else {
            return false;
        };
        left = &left[at + part.len()..];
    }
    left.ends_with(last)
}
