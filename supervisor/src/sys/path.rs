//! Path bytes with their terminator.

use std::ffi::{CStr, CString};

use nix::errno::Errno;

/// Bytes as a C string; EINVAL for an inner NUL (paths copied from a caller end at their first).
pub fn c_string(bytes: &[u8]) -> Result<CString, Errno> {
    CString::new(bytes).map_err(|_| Errno::EINVAL)
}

/// `/proc/self/fd/N`, the name under which the kernel opens a held object again.
#[derive(Clone, Copy)]
pub struct FdPath {
    bytes: [u8; 32],
}

impl FdPath {
    /// For the descriptor number `fd` of this process.
    #[must_use]
    pub fn new(fd: std::os::fd::RawFd) -> Self {
        const HEAD: &[u8] = b"/proc/self/fd/";
        let mut bytes = [0u8; 32];
        let mut digits = [0u8; 12];
        let mut n = fd.unsigned_abs();
        let mut count = 0;
        for slot in digits.iter_mut().rev() {
            *slot = b'0' + u8::try_from(n % 10).unwrap_or(0);
            n /= 10;
            count += 1;
            if n == 0 {
                break;
            }
        }
        let tail = HEAD.iter().chain(digits.iter().skip(digits.len() - count));
        for (slot, byte) in bytes.iter_mut().zip(tail) {
            *slot = *byte;
        }
        Self { bytes }
    }

    /// As the C string that calls take.
    #[must_use]
    pub fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or(c"")
    }
}

#[cfg(test)]
mod tests {
    use super::FdPath;

    #[test]
    fn a_descriptor_number_becomes_its_proc_name() {
        for (fd, name) in [
            (0, c"/proc/self/fd/0"),
            (7, c"/proc/self/fd/7"),
            (1_048_576, c"/proc/self/fd/1048576"),
        ] {
            assert_eq!(FdPath::new(fd).as_c_str(), name);
        }
    }
}
