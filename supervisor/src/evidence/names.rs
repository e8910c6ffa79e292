//! Names of sessions, decisions and approvals: a prefix and 12 hexadecimal digits from the kernel's random numbers.

use std::cell::RefCell;

use super::EvidenceError;

/// A new name for a session: `ses_` and 12 hexadecimal digits.
pub fn session_id() -> Result<String, EvidenceError> {
    random("ses_")
}

/// A new name for a record: `dec_` and 12 hexadecimal digits.
pub fn decision_id() -> Result<String, EvidenceError> {
    random("dec_")
}

/// A new name for a held request: `apr_` and 12 hexadecimal digits.
pub fn approval_id() -> Result<String, EvidenceError> {
    random("apr_")
}

/// A new name for what belongs together across systems: `corr_` and 12 hexadecimal digits.
pub fn correlation_id() -> Result<String, EvidenceError> {
    random("corr_")
}

/// Whether a session's name can be part of a file name.
pub(crate) fn is_session_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// Random bytes that a thread asks the kernel for at once: names are many, and each would be a call.
const AT_ONCE: usize = 40 * DIGITS;
/// Bytes of one name.
const DIGITS: usize = 6;

thread_local! {
    static LEFT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

fn random(prefix: &str) -> Result<String, EvidenceError> {
    let bytes = LEFT.with_borrow_mut(|left| {
        if left.len() < DIGITS {
            left.resize(AT_ONCE, 0);
            if let Err(error) = getrandom::fill(left) {
                left.clear();
                return Err(EvidenceError::Random(error.to_string()));
            }
        }
        Ok(left.split_off(left.len().saturating_sub(DIGITS)))
    })?;
    Ok(format!("{prefix}{}", hex(&bytes)))
}

/// Lower-case hexadecimal digits of `bytes`.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits
        .filter_map(|digit| char::from_digit(u32::from(digit), 16))
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]
mod tests {
    use super::{decision_id, hex, is_session_name};

    #[test]
    fn names_have_one_form() {
        let id = decision_id().unwrap();
        assert!(id.len() == 16 && id.starts_with("dec_"), "{id}");
        assert_eq!(hex(&[0, 255, 16]), "00ff10");
        assert!(is_session_name("ses_00ff10"));
        for wrong in ["", "..", "a/b", "a b", "a\n"] {
            assert!(!is_session_name(wrong), "{wrong:?}");
        }
    }
}
