//! Where a selftest takes place: its scratch folder, and those who answer outside the session.

use std::ffi::OsString;
use std::fs;
use std::io::{Error, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use serde::{Deserialize, Serialize};

use super::{FORBIDDEN, FORBIDDEN_LINE, Options, PERMITTED};

/// What a probe has to know. The scratch folder goes with the one that made it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Scene {
    /// The scratch folder.
    pub root: PathBuf,
    /// The session's evidence folder.
    pub evidence: PathBuf,
    /// Where the session's supervisor tells its number.
    pub number: PathBuf,
    /// A blocked TCP port and a blocked UDP port of this machine.
    pub port: u16,
    /// The latter.
    pub udp_port: u16,
    /// A descriptor of a blocked file that the launcher left open.
    pub descriptor: i32,
    /// This program.
    pub program: PathBuf,
    /// The one beside it.
    pub cavra_run: PathBuf,
    #[serde(skip)]
    made: bool,
}

impl Scene {
    pub(super) fn make(name: &str) -> Result<Self, Error> {
        let mut random = [0; 6];
        getrandom::fill(&mut random).map_err(|error| Error::other(error.to_string()))?;
        let random: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let root = std::env::temp_dir()
            .canonicalize()?
            .join(format!("cavra-selftest-{name}-{random}"));
        fs::DirBuilder::new().mode(0o700).create(&root)?;
        let program = std::env::current_exe()?;
        let mut scene = Self {
            evidence: root.join("evidence"),
            number: root.join("supervisor"),
            port: 0,
            udp_port: 0,
            descriptor: -1,
            cavra_run: program.with_file_name("cavra-run"),
            program,
            root,
            made: true,
        };
        scene.furnish()?;
        Ok(scene)
    }

    fn furnish(&mut self) -> Result<(), Error> {
        for folder in ["ok", "no", "ro", "bin", "above", "above/no"] {
            fs::create_dir(self.path(folder))?;
        }
        for (file, text) in [
            ("ok", PERMITTED),
            ("ro", PERMITTED),
            ("no", FORBIDDEN),
            ("above/no", FORBIDDEN),
        ] {
            fs::write(self.path(file).join("file"), text)?;
        }
        let harmless = ["/usr/bin/true", "/bin/true"]
            .map(Path::new)
            .into_iter()
            .find(|path| path.exists());
        for name in ["forbidden", "permitted"] {
            fs::copy(
                harmless.unwrap_or(Path::new("/bin/true")),
                self.path(&format!("bin/cavra-selftest-{name}")),
            )?;
        }
        let tcp = TcpListener::bind("127.0.0.1:0")?;
        let udp = UdpSocket::bind("127.0.0.1:0")?;
        let unix = UnixListener::bind(self.path("no/sock"))?;
        self.port = tcp.local_addr()?.port();
        self.udp_port = udp.local_addr()?.port();
        // They serve as long as the program runs.
        std::thread::spawn(move || {
            tcp.incoming()
                .flatten()
                .for_each(|mut stream| drop(stream.write_all(FORBIDDEN.as_bytes())))
        });
        std::thread::spawn(move || {
            unix.incoming()
                .flatten()
                .for_each(|mut stream| drop(stream.write_all(FORBIDDEN.as_bytes())))
        });
        std::thread::spawn(move || {
            let mut byte = [0];
            while let Ok((_, from)) = udp.recv_from(&mut byte) {
                drop(udp.send_to(FORBIDDEN.as_bytes(), from));
            }
        });
        let file = fs::File::open(self.path("no/file"))?;
        fcntl(&file, FcntlArg::F_SETFD(FdFlag::empty()))?;
        self.descriptor = file.as_raw_fd();
        // Left open on purpose.
        let _left = std::os::fd::IntoRawFd::into_raw_fd(file);
        let root = self.root.display();
        fs::write(
            self.path("pack.yaml"),
            format!(
                "metadata: {{id: cavra-selftest, title: what cavractl selftest tries}}\n\
                 filesystem:\n  block_read: ['{root}/no/**', '{root}/above/no/**']\n  block_write: ['{root}/no/**', '{root}/ro/**', '{root}/ro']\n\
                 commands:\n  block: ['cavra-selftest-forbidden*', 'sh -c {FORBIDDEN_LINE}*']\n\
                 network:\n  block: ['127.0.0.1:{}', 'udp:127.0.0.1:{}']\n",
                self.port, self.udp_port
            ),
        )?;
        fs::write(
            self.path("open.yaml"),
            "metadata: {id: cavra-selftest-open}\nfilesystem: {default_read: allow, default_write: allow}\ncommands: {default: allow}\n",
        )?;
        self.save()
    }

    /// The same place for attacks on another one's session.
    pub(super) fn beside(mut self, session: &Self) -> Self {
        self.evidence.clone_from(&session.evidence);
        self.number.clone_from(&session.number);
        self
    }

    pub(super) fn save(&self) -> Result<(), Error> {
        fs::write(self.path("scene.json"), serde_json::to_vec(self)?)
    }

    pub(super) fn load(root: &Path) -> Result<Self, Error> {
        Ok(serde_json::from_slice(&fs::read(root.join("scene.json"))?)?)
    }

    /// A path below the scratch folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The same by way of the own root folder in /proc.
    pub(super) fn root_path(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        Path::new("/proc/self/root").join(path.strip_prefix("/").unwrap_or(&path))
    }

    /// The session's records, as soon as there are any.
    pub(super) fn records(&self) -> PathBuf {
        let path = self.evidence.join("decisions.jsonl");
        soon(|| path.symlink_metadata().ok());
        path
    }

    /// The session's own name, once it has begun.
    pub(super) fn session_id(&self) -> Option<String> {
        let text = fs::read_to_string(self.evidence.join("decisions.jsonl")).ok()?;
        let opening: serde_json::Value = serde_json::from_str(text.lines().next()?).ok()?;
        Some(opening.get("session_id")?.as_str()?.to_owned())
    }

    /// How long a race runs: outside, where it has only to win once, a busy machine may take its time.
    pub(super) fn race(&self) -> Duration {
        let inside = self.evidence.starts_with(&self.root);
        Duration::from_millis(if inside { 400 } else { 3000 })
    }

    /// The number of the session's supervisor, as soon as it is told.
    pub(super) fn supervisor(&self) -> i32 {
        soon(|| fs::read_to_string(&self.number).ok()?.parse().ok()).unwrap_or(-1)
    }

    pub(super) fn started(&self, session: &Child) -> Result<(), Error> {
        let told = self.path("supervisor.new");
        fs::write(&told, session.id().to_string())?;
        fs::rename(told, &self.number)
    }

    /// `cavra-run … -- cavractl WORDS`, not yet started.
    pub(super) fn session(&self, options: &Options, packs: &[String], words: &[OsString]) -> Command {
        let mut command = Command::new(&self.cavra_run);
        command
            .args([
                "--quiet",
                "--approvals",
                "ask",
                "--approval-timeout",
                "5s",
                "--evidence",
            ])
            .arg(&self.evidence);
        if let Some(workspace) = &options.workspace {
            command.arg("--workspace").arg(workspace);
        }
        if let Some(profile) = &options.profile {
            command.args(["--profile", profile]);
        }
        for pack in packs {
            command.args(["--policy", pack]);
        }
        command
            .arg("--policy")
            .arg(self.path("pack.yaml"))
            .arg("--")
            .arg(&self.program)
            .args(words);
        command
            .env("CAVRA_SELFTEST_TOKEN", FORBIDDEN)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        command.stderr(fs::File::create(self.path("said")).map_or_else(|_| Stdio::null(), Stdio::from));
        command
    }

    /// What the session said on stderr.
    pub(super) fn said(&self) -> String {
        fs::read_to_string(self.path("said")).unwrap_or_default()
    }
}

fn soon<T>(look: impl Fn() -> Option<T>) -> Option<T> {
    (0..200).find_map(|_| {
        look().or_else(|| {
            std::thread::sleep(Duration::from_millis(10));
            None
        })
    })
}

impl Drop for Scene {
    fn drop(&mut self) {
        if self.made {
            drop(fs::remove_dir_all(&self.root));
        }
    }
}
