//! Requests as people and tables write them, put to the engine as the boundary would.

use std::fmt;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::engine::Policy;
use super::explain::{Explanation, Question, explain};
use super::hostname::canonical as canonical_name;
use super::types::{Command, Endpoint, FileOp, NetOp, Subject, Verdict};
use crate::text::printable;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Probe {
    /// A canonical path.
    File(FileOp, Vec<u8>),
    /// A canonical folder that is listed.
    Names(Vec<u8>),
    /// A command: the file that runs, its arguments, the working folder.
    Command(Vec<u8>, Vec<Vec<u8>>, Vec<u8>),
    /// An address.
    Network(NetOp, Address),
}

/// An address as it is typed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// Datagrams or not, address, port.
    Ip(bool, IpAddr, u16),
    /// Datagrams or not, name in its one spelling, port.
    Name(bool, String, u16),
    /// A unix socket's path.
    Unix(String),
}

/// A subject that is the one program that was named, started by those that were.
#[derive(Clone, Copy, Default)]
pub struct Named<'a> {
    /// Itself.
    pub program: Option<&'a str>,
    /// Its ancestors.
    pub below: &'a [String],
}

impl Subject for Named<'_> {
    fn is_program(&self, program: &str, digest: Option<&str>, tree: bool) -> bool {
        digest.is_none() && (self.program.is_some_and(|name| is_named(name, program)) || tree && self.is_below(program))
    }

    fn is_below(&self, program: &str) -> bool {
        self.below.iter().any(|name| is_named(name, program))
    }
}

/// Whether the program that a person named is the one that a rule has.
fn is_named(name: &str, program: &str) -> bool {
    name == program || (!program.contains('/') && name.rsplit('/').next() == Some(program))
}

impl Address {
    /// `host:port`, `[v6]:port`, `udp:host:port`, `unix:/path`; without a port 443.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Some(Self::Unix(path.to_owned()));
        }
        let (udp, rest) = match text.strip_prefix("udp:") {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix("tcp:").unwrap_or(text)),
        };
        if let Ok(ip) = rest.parse::<IpAddr>() {
            return Some(Self::Ip(udp, ip.to_canonical(), 443));
        }
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok()?),
            None => (rest, 443),
        };
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Some(Self::Ip(udp, ip.to_canonical(), port));
        }
        // In its one spelling: `127.0.0.1.` and full-width digits are the address that they look like.
        let name = canonical_name(host).ok()?;
        Some(match name.parse::<IpAddr>() {
            Ok(ip) => Self::Ip(udp, ip, port),
            Err(_) if name == "localhost" => Self::Ip(udp, IpAddr::from([127, 0, 0, 1]), port),
            Err(_) => Self::Name(udp, name, port),
        })
    }

    fn endpoint(&self) -> Endpoint<'_> {
        match self {
            Self::Ip(false, ip, port) => Endpoint::Tcp(*ip, *port),
            Self::Ip(true, ip, port) => Endpoint::Udp(*ip, *port),
            Self::Name(udp, name, port) => Endpoint::Host {
                udp: *udp,
                name,
                ip: None,
                port: *port,
            },
            Self::Unix(path) => Endpoint::Unix(path.as_bytes()),
        }
    }
}

impl Probe {
    /// A path as it is typed: `~` is the home folder, what is relative is below `base`, links are followed as far as it exists.
    #[must_use]
    pub fn file(op: FileOp, text: &str, base: &Path, home: &Path) -> Self {
        let path = match text.strip_prefix("~/") {
            Some(rest) => home.join(rest),
            None => base.join(text),
        };
        let path = canonical(&path);
        let bytes = path.as_os_str().as_bytes().to_vec();
        match op {
            FileOp::Read if path.is_dir() => Self::Names(bytes),
            FileOp::Read | FileOp::Write | FileOp::Delete => Self::File(op, bytes),
        }
    }

    /// A command as it is typed, found in PATH.
    #[must_use]
    pub fn command(words: &[String], cwd: &Path) -> Self {
        let file = program(words.first().map_or("", String::as_str));
        let argv = words.iter().map(|word| word.clone().into_bytes()).collect();
        Self::Command(
            file.as_os_str().as_bytes().to_vec(),
            argv,
            cwd.as_os_str().as_bytes().to_vec(),
        )
    }

    fn put<T>(&self, question: impl FnOnce(&Question<'_>) -> T) -> T {
        match self {
            Self::File(op, path) => question(&Question::File(*op, path)),
            Self::Names(path) => question(&Question::Names(path)),
            Self::Command(file, argv, cwd) => {
                let command = Command {
                    file,
                    chain: vec![file],
                    argv: argv.iter().map(Vec::as_slice).collect(),
                    cwd,
                    ..Command::default()
                };
                question(&Question::Command(&command))
            }
            Self::Network(op, address) => question(&Question::Network(*op, &address.endpoint())),
        }
    }

    /// The engine's answer.
    pub fn ask<'p>(&self, policy: &'p Policy, by: &dyn Subject) -> Verdict<'p> {
        self.put(|question| match question {
            Question::File(op, path) => policy.file(*op, path, by),
            Question::Names(dir) => policy.names(dir, by),
            Question::Command(command) => policy.command(command, by),
            Question::Network(op, endpoint) => policy.network(*op, endpoint, by),
        })
    }

    /// The engine's answer, and why.
    #[must_use]
    pub fn explain(&self, policy: &Policy, by: &dyn Subject) -> Explanation {
        self.put(|question| explain(policy, question, by))
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(FileOp::Read, path) | Self::Names(path) => write!(f, "read {}", printable(path)),
            Self::File(FileOp::Write, path) => write!(f, "write {}", printable(path)),
            Self::File(FileOp::Delete, path) => write!(f, "delete {}", printable(path)),
            Self::Command(_, argv, _) => write!(f, "execute {}", printable(&argv.join(&b' '))),
            Self::Network(op, address) => {
                let op = match op {
                    NetOp::Connect => "connect",
                    NetOp::Bind => "bind",
                };
                write!(f, "{op} {address}")
            }
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = |udp: &bool| if *udp { "udp:" } else { "" };
        match self {
            Self::Ip(udp, ip @ IpAddr::V6(_), port) => write!(f, "{}[{ip}]:{port}", protocol(udp)),
            Self::Ip(udp, ip, port) => write!(f, "{}{ip}:{port}", protocol(udp)),
            // A host may be called `udp`.
            Self::Name(false, name, port) if matches!(&**name, "udp" | "tcp" | "unix") => {
                write!(f, "tcp:{name}:{port}")
            }
            Self::Name(udp, name, port) => write!(f, "{}{name}:{port}", protocol(udp)),
            Self::Unix(path) => write!(f, "unix:{}", printable(path.as_bytes())),
        }
    }
}

/// The bytes of a text that [`printable`] made.
#[must_use]
pub fn unprintable(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        let escaped = match (byte, tail) {
            (b'\\', [b'\\', ..]) => Some((b'\\', 1)),
            (b'\\', [b'x', high, low, ..]) => {
                let hex = [*high, *low];
                let hex = std::str::from_utf8(&hex)
                    .ok()
                    .and_then(|hex| u8::from_str_radix(hex, 16).ok());
                hex.map(|byte| (byte, 3))
            }
            _ => None,
        };
        match escaped {
            Some((byte, used)) => {
                bytes.push(byte);
                rest = rest.get(used..).unwrap_or_default();
            }
            None => bytes.push(*byte),
        }
    }
    bytes
}

/// The path with links followed as far as it exists.
pub(crate) fn canonical(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let mut missing = Vec::new();
    let mut existing = path.as_path();
    loop {
        if let Ok(real) = existing.canonicalize() {
            return missing.iter().rev().fold(real, |path: PathBuf, name| path.join(name));
        }
        let (Some(parent), Some(name)) = (existing.parent(), existing.file_name()) else {
            return path;
        };
        missing.push(name);
        existing = parent;
    }
}

/// The file that a command's first word runs.
fn program(word: &str) -> PathBuf {
    let found = if word.contains('/') {
        Some(PathBuf::from(word))
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut places = std::env::split_paths(&path).map(|folder| folder.join(word));
        places.find(|path| path.is_file())
    };
    let found = found.unwrap_or_else(|| PathBuf::from(word));
    found.canonicalize().unwrap_or(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Address, unprintable};
    use crate::text::printable;

    #[test]
    fn what_records_show_is_read_back() {
        for bytes in [
            &b"plain"[..],
            b"a\\x41",
            b"\xff\n\x1b[2J",
            "\u{202e}\u{e9}".as_bytes(),
            b"\\",
        ] {
            assert_eq!(unprintable(&printable(bytes)), bytes, "{}", printable(bytes));
        }
    }

    #[test]
    fn addresses_are_shown_as_they_are_read() {
        for (text, shown) in [
            ("192.0.2.1", "192.0.2.1:443"),
            ("192.0.2.1:80", "192.0.2.1:80"),
            ("[::1]:80", "[::1]:80"),
            ("::ffff:192.0.2.1", "192.0.2.1:443"),
            ("udp:Host.Example.:53", "udp:host.example:53"),
            ("localhost:1", "127.0.0.1:1"),
            ("LocalHost.:1", "127.0.0.1:1"),
            ("unix:/run/x", "unix:/run/x"),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!(address.to_string(), shown);
            assert_eq!(Address::parse(shown), Some(address));
        }
        for bad in ["host:port", "", "a b:1"] {
            assert_eq!(Address::parse(bad), None, "{bad}");
        }
    }
}
