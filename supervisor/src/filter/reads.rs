//! Opens that only read, left to the kernel: the floor decides them, so nobody is asked.

use super::table::{Answer, Cond, Row, Width};

/// Flags of an open that does more than read a file that is there. Of O_TMPFILE the bit that is not O_DIRECTORY.
const DECIDED: [i32; 6] = [
    libc::O_WRONLY,
    libc::O_RDWR,
    libc::O_CREAT,
    libc::O_TRUNC,
    libc::O_DIRECTORY,
    libc::O_TMPFILE & !libc::O_DIRECTORY,
];

/// Changes the rows so that an open with none of these flags is native. openat2 has its flags in memory and is decided as ever. The
/// kernel takes an int: what the register holds above it changes nothing in either place.
pub fn leave_reads(rows: &mut [Row]) {
    for row in rows {
        let arg = match row.name {
            "open" => 1,
            "openat" => 2,
            _ => continue,
        };
        let flag = |flag: i32| u64::from(flag.cast_unsigned());
        let described = Cond::Masked(arg, Width::Low32, flag(libc::O_PATH), 0);
        let decided = DECIDED.map(flag).map(|bit| {
            let test = Cond::Masked(arg, Width::Low32, bit, bit);
            (Answer::Notify, vec![described, test])
        });
        row.cases = decided.into();
        row.reason = "reading what is there is the floor's to refuse";
    }
}
