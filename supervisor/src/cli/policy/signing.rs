//! `cavractl policy compile`, `sign` and `verify`: a policy as bytes that one can trust.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::super::{FAILED, Said, Style};
use super::{Session, shown};
use crate::policy::{Target, compiled, sign, trust_folders, verify};
use crate::text::harmless;

/// A pack, compiled.
#[derive(Debug, Args)]
pub(in crate::cli) struct Compile {
    /// A pack by id or file
    #[arg(value_name = "ID|FILE")]
    pack: String,
    /// Who reads it; for cavra what its schema does not have is left out, and told on stderr
    #[arg(long = "for", value_name = "WHO", default_value = "cavra-run")]
    target: Who,
    /// Only the digest of what would be printed
    #[arg(long)]
    digest: bool,
    #[command(flatten)]
    session: Session,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Who {
    CavraRun,
    Cavra,
}

impl Compile {
    pub(super) fn run(self, style: Style) -> Result<Said, Said> {
        let place = self.session.place()?;
        let target = match self.target {
            Who::CavraRun => Target::Here,
            Who::Cavra => Target::Cavra,
        };
        let compiled = compiled(&self.pack, &place.search, target).map_err(|wrong| shown(&wrong, style))?;
        let err = match compiled.left_out.as_slice() {
            [] => String::new(),
            list => format!("left out for CAVRA: {}", list.join(", ")),
        };
        Ok(Said {
            out: if self.digest {
                format!("sha256:{}\n", compiled.sha256)
            } else {
                compiled.text
            },
            err,
            status: 0,
        })
    }
}

/// A pack and a key.
#[derive(Debug, Args)]
pub(in crate::cli) struct Sign {
    /// The pack's file; the signature is written beside it
    #[arg(value_name = "FILE")]
    pack: PathBuf,
    /// An Ed25519 private key, PKCS#8 in PEM (`openssl genpkey -algorithm ed25519`)
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Who signs, for people [default: the user's name]
    #[arg(long, value_name = "NAME")]
    signer: Option<String>,
    /// The key's name [default: the beginning of its digest]
    #[arg(long, value_name = "ID")]
    key_id: Option<String>,
}

impl Sign {
    pub(super) fn run(self) -> Result<Said, Said> {
        let user = || nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten();
        let signer = self.signer.or_else(|| user().map(|user| user.name)).unwrap_or_default();
        match sign(&self.pack, &self.key, &signer, self.key_id.as_deref()) {
            Ok(path) => Ok(Said::fine(format!("{}\n", path.display()))),
            Err(error) => Err(Said::failed(1, &format!("error[{}]: {error}", error.code().name()))),
        }
    }
}

/// A signed pack.
#[derive(Debug, Args)]
pub(in crate::cli) struct Verify {
    /// The packs' files
    #[arg(value_name = "FILE", required = true)]
    packs: Vec<PathBuf>,
    /// A folder of trusted public keys (*.pem) [default: ~/.config/cavra/trust and /etc/cavra/trust]
    #[arg(long, value_name = "DIR")]
    trust: Vec<PathBuf>,
}

impl Verify {
    pub(super) fn run(self) -> Result<Said, Said> {
        let trust = if self.trust.is_empty() {
            trust_folders()
        } else {
            self.trust
        };
        let mut said = Said::default();
        let mut wrong: Vec<String> = Vec::new();
        for pack in &self.packs {
            let text = match std::fs::read_to_string(pack) {
                Ok(text) => text,
                Err(error) => return Err(Said::failed(FAILED, &format!("{}: {error}", pack.display()))),
            };
            match verify(pack, &text, &trust, jiff::Timestamp::now()) {
                Ok(signature) => {
                    let signer = harmless(&signature.signer);
                    said.out += &format!(
                        "ok {} signed by {signer}, key sha256:{}\n",
                        pack.display(),
                        signature.public_key_sha256
                    );
                }
                Err(error) => wrong.push(format!("error[{}]: {}: {error}", error.code().name(), pack.display())),
            }
        }
        said.status = u8::from(!wrong.is_empty());
        said.err = wrong.join("; ");
        Ok(said)
    }
}
