//! Which TCP sockets listen, with their cookies. sock_diag(7).

use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;

use super::check;
use super::socket::{send_to, socket};

/// `SOCK_DIAG_BY_FAMILY`, include/uapi/linux/sock_diag.h.
const BY_FAMILY: u16 = 20;
/// `TCP_LISTEN` as a bit of the states asked for; include/net/tcp_states.h.
const LISTEN: u32 = 1 << 10;
/// Bytes of struct inet_diag_req_v2 and of inet_diag_msg up to the cookie's end.
const REQUEST: usize = 56;

/// The cookies of all sockets that listen on `port`, whatever their address.
pub fn listener_cookies(port: u16) -> Result<Vec<u64>, Errno> {
    let netlink = socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_SOCK_DIAG)?;
    let mut cookies = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        let mut request = Vec::with_capacity(16 + REQUEST);
        request.extend_from_slice(&u32::try_from(16 + REQUEST).map_err(|_| Errno::EINVAL)?.to_ne_bytes());
        request.extend_from_slice(&BY_FAMILY.to_ne_bytes());
        let flags = u16::try_from(libc::NLM_F_REQUEST | libc::NLM_F_DUMP).map_err(|_| Errno::EINVAL)?;
        request.extend_from_slice(&flags.to_ne_bytes());
        request.extend_from_slice(&[0; 8]);
        request.extend_from_slice(&[u8::try_from(family).map_err(|_| Errno::EINVAL)?, 6, 0, 0]);
        request.extend_from_slice(&LISTEN.to_ne_bytes());
        request.resize(16 + REQUEST, 0);
        let kernel = [
            u8::try_from(libc::AF_NETLINK).map_err(|_| Errno::EINVAL)?,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
        ];
        send_to(netlink.as_fd(), &request, 0, &kernel)?;
        let mut buf = vec![0u8; 32768];
        'answer: loop {
            // SAFETY: the kernel writes at most `buf.len()` bytes into `buf`, which outlives the call.
            let got = unsafe { libc::recv(netlink.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len(), 0) };
            let got = usize::try_from(check(got as libc::c_long)?).map_err(|_| Errno::EIO)?;
            let mut rest = buf.get(..got).unwrap_or_default();
            while rest.len() >= 16 {
                let len = rest
                    .get(..4)
                    .and_then(|b| b.try_into().ok())
                    .map_or(0, u32::from_ne_bytes) as usize;
                let kind = rest
                    .get(4..6)
                    .and_then(|b| b.try_into().ok())
                    .map_or(0, u16::from_ne_bytes);
                if kind == 3 || kind == 2 || len < 16 {
                    break 'answer;
                }
                // inet_diag_msg: four bytes, then sport in network order; the cookie stands at 44 of it.
                let message = rest.get(16..len).unwrap_or_default();
                let source = message
                    .get(4..6)
                    .and_then(|b| b.try_into().ok())
                    .map(u16::from_be_bytes);
                if source == Some(port)
                    && let Some(cookie) = message
                        .get(44..52)
                        .and_then(|b| b.try_into().ok())
                        .map(u64::from_ne_bytes)
                {
                    cookies.push(cookie);
                }
                rest = rest.get((len + 3) & !3..).unwrap_or_default();
            }
        }
    }
    Ok(cookies)
}
