//! Signatures of packs: Ed25519 over a file's bytes, in `<pack>.sig.json` beside it, by keys of a trust folder.

use std::path::{Path, PathBuf};

use base64ct::{Base64, Encoding};
use ed25519_dalek::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePublicKey};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::diagnostics::Code;

/// The format's name.
const SCHEMA: &str = "cavra.policy-signature.v1";
const ALGORITHM: &str = "ed25519";
/// Bytes of a signature file or key.
const FILE_MAX: u64 = 64 * 1024;

/// Why a pack does not count as signed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum SignatureError {
    #[error("not signed: there is no {}", .0.display())]
    Unsigned(PathBuf),
    #[error("{}: {error}", path.display())]
    Unreadable { path: PathBuf, error: String },
    #[error("{}: {wrong}", path.display())]
    Format { path: PathBuf, wrong: String },
    #[error("the signature is of another file: it names {signed}, this is {found}")]
    OtherFile { signed: String, found: String },
    #[error("changed since it was signed: signed sha256:{signed}, found sha256:{found}")]
    Changed { signed: String, found: String },
    #[error("signed by a key that is not trusted here (public key sha256:{key}, signer {signer}); trusted keys lie in {}", folders(.trust))]
    UnknownKey {
        key: String,
        signer: String,
        trust: Vec<PathBuf>,
    },
    #[error("signed by a key that expired at {expired} ({})", key.display())]
    Expired { key: PathBuf, expired: Timestamp },
    #[error("the signature does not fit the file and the key {}", .0.display())]
    Wrong(PathBuf),
}

impl SignatureError {
    /// Its kind, beside those of packs.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Unsigned(_) => Code::Unsigned,
            Self::Unreadable { .. } | Self::Format { .. } => Code::SignatureFile,
            Self::OtherFile { .. } => Code::OtherFile,
            Self::Changed { .. } => Code::Changed,
            Self::UnknownKey { .. } => Code::UntrustedKey,
            Self::Expired { .. } => Code::ExpiredKey,
            Self::Wrong(_) => Code::WrongSignature,
        }
    }
}

fn folders(list: &[PathBuf]) -> String {
    let names: Vec<String> = list.iter().map(|folder| folder.display().to_string()).collect();
    names.join(", ")
}

/// `<pack>.sig.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignatureFile {
    schema_version: String,
    algorithm: String,
    /// `sha256:` and lower-case hex of the file's bytes.
    digest: String,
    /// Base64 of the 64 bytes over the file's bytes.
    signature: String,
    signed_at: String,
    /// Who signed, for people.
    pub signer: String,
    key_id: String,
    /// Lower-case hex over the key's SubjectPublicKeyInfo in DER.
    pub public_key_sha256: String,
    policy_file: String,
}

/// Where a pack's signature lies.
#[must_use]
pub fn signature_path(pack: &Path) -> PathBuf {
    let mut name = pack.as_os_str().to_owned();
    name.push(".sig.json");
    PathBuf::from(name)
}

/// Folders of trusted public keys: the user's, the machine's.
#[must_use]
pub fn trust_folders() -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config/cavra/trust"));
    home.into_iter().chain([PathBuf::from("/etc/cavra/trust")]).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read(path: &Path) -> Result<String, SignatureError> {
    let unreadable = |error: String| SignatureError::Unreadable {
        path: path.to_path_buf(),
        error,
    };
    let meta = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?;
    if !meta.is_file() || meta.len() > FILE_MAX {
        return Err(unreadable(format!("no file, or more than {FILE_MAX} bytes")));
    }
    std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))
}

/// The PEM block of a file; text in front of it is for people (RFC 7468, section 2).
fn pem(text: &str) -> &str {
    text.find("-----BEGIN").and_then(|at| text.get(at..)).unwrap_or(text)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Signs a pack with a private key (PKCS#8, PEM) and writes the signature beside it.
pub fn sign(pack: &Path, key: &Path, signer: &str, key_id: Option<&str>) -> Result<PathBuf, SignatureError> {
    let format = |path: &Path, wrong: String| SignatureError::Format {
        path: path.to_path_buf(),
        wrong,
    };
    let secret = read(key)?;
    let secret = SigningKey::from_pkcs8_pem(pem(&secret)).map_err(|error| {
        format(
            key,
            format!(
                "no Ed25519 private key in PKCS#8 PEM ({error}); make one with `openssl genpkey -algorithm ed25519`"
            ),
        )
    })?;
    let bytes = std::fs::read(pack).map_err(|error| SignatureError::Unreadable {
        path: pack.to_path_buf(),
        error: error.to_string(),
    })?;
    let public = fingerprint(&secret.verifying_key()).map_err(|error| format(key, error))?;
    let signature = SignatureFile {
        schema_version: SCHEMA.to_owned(),
        algorithm: ALGORITHM.to_owned(),
        digest: format!("sha256:{}", hex(&Sha256::digest(&bytes))),
        signature: Base64::encode_string(&secret.sign(&bytes).to_bytes()),
        signed_at: Timestamp::now().to_string(),
        signer: signer.to_owned(),
        key_id: key_id.unwrap_or(public.get(..16).unwrap_or(&public)).to_owned(),
        public_key_sha256: public,
        policy_file: file_name(pack),
    };
    let path = signature_path(pack);
    let text = serde_json::to_string_pretty(&signature).map_err(|error| format(&path, error.to_string()))?;
    std::fs::write(&path, text + "\n").map_err(|error| SignatureError::Unreadable {
        path: path.clone(),
        error: error.to_string(),
    })?;
    Ok(path)
}

fn fingerprint(key: &VerifyingKey) -> Result<String, String> {
    let der = key.to_public_key_der().map_err(|error| error.to_string())?;
    Ok(hex(&Sha256::digest(der.as_bytes())))
}

/// Verifies a pack's text against the signature beside it and the keys of the trust folders (`*.pem`, SubjectPublicKeyInfo). A line
/// `not_after: TIME` in front of a key's PEM block ends its trust.
pub fn verify(pack: &Path, text: &str, trust: &[PathBuf], now: Timestamp) -> Result<SignatureFile, SignatureError> {
    let path = signature_path(pack);
    let format = |path: &Path, wrong: String| SignatureError::Format {
        path: path.to_path_buf(),
        wrong,
    };
    if path.symlink_metadata().is_err() {
        return Err(SignatureError::Unsigned(path));
    }
    let file: SignatureFile = serde_json::from_str(&read(&path)?).map_err(|error| format(&path, error.to_string()))?;
    for (name, found, wanted) in [
        ("schema_version", &file.schema_version, SCHEMA),
        ("algorithm", &file.algorithm, ALGORITHM),
    ] {
        if found != wanted {
            return Err(format(&path, format!("{name} `{found}`; expected `{wanted}`")));
        }
    }
    let found = file_name(pack);
    if file.policy_file != found {
        let signed = file.policy_file;
        return Err(SignatureError::OtherFile { signed, found });
    }
    let digest = hex(&Sha256::digest(text.as_bytes()));
    if file.digest != format!("sha256:{digest}") {
        return Err(SignatureError::Changed {
            signed: file.digest.trim_start_matches("sha256:").to_owned(),
            found: digest,
        });
    }
    let bytes = Base64::decode_vec(&file.signature).map_err(|error| format(&path, format!("signature: {error}")))?;
    let signature = Signature::from_slice(&bytes).map_err(|error| format(&path, format!("signature: {error}")))?;
    let (key_path, key, not_after) =
        trusted(&file.public_key_sha256, trust)?.ok_or_else(|| SignatureError::UnknownKey {
            key: file.public_key_sha256.clone(),
            signer: file.signer.clone(),
            trust: trust.to_vec(),
        })?;
    if let Some(expired) = not_after.filter(|end| *end < now) {
        return Err(SignatureError::Expired { key: key_path, expired });
    }
    key.verify_strict(text.as_bytes(), &signature)
        .map_err(|_| SignatureError::Wrong(key_path))?;
    Ok(file)
}

type Trusted = (PathBuf, VerifyingKey, Option<Timestamp>);

/// The trusted key with this fingerprint. A key file that can not be read is an error: nothing is believed for want of it.
fn trusted(wanted: &str, trust: &[PathBuf]) -> Result<Option<Trusted>, SignatureError> {
    for folder in trust {
        let mut paths: Vec<PathBuf> = match std::fs::read_dir(folder) {
            Ok(entries) => entries.filter_map(Result::ok).map(|entry| entry.path()).collect(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => {
                return Err(SignatureError::Unreadable {
                    path: folder.clone(),
                    error: error.to_string(),
                });
            }
        };
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "pem"));
        paths.sort();
        for path in paths {
            let text = read(&path)?;
            let wrong = |wrong: String| SignatureError::Format {
                path: path.clone(),
                wrong,
            };
            let key = VerifyingKey::from_public_key_pem(pem(&text)).map_err(|error| {
                wrong(format!(
                    "no Ed25519 public key in PEM ({error}); make one with `openssl pkey -pubout`"
                ))
            })?;
            if fingerprint(&key).map_err(wrong)? != wanted {
                continue;
            }
            let end = text.lines().find_map(|line| line.strip_prefix("not_after:"));
            let end = end.map(|text| text.trim().parse::<Timestamp>()).transpose();
            let end = end.map_err(|error| wrong(format!("not_after: {error}; write it as 2027-01-31T00:00:00Z")))?;
            return Ok(Some((path, key, end)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::{Path, PathBuf};

    use ed25519_dalek::SigningKey;
    use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
    use ed25519_dalek::pkcs8::{EncodePrivateKey, EncodePublicKey};
    use jiff::Timestamp;

    use super::{sign, signature_path, verify};

    fn keys(dir: &Path, name: &str, seed: u8, before: &str) -> PathBuf {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let private = dir.join(format!("{name}.key"));
        std::fs::write(&private, key.to_pkcs8_pem(LineEnding::LF).unwrap().as_bytes()).unwrap();
        let public = key.verifying_key().to_public_key_pem(LineEnding::LF).unwrap();
        std::fs::create_dir_all(dir.join("trust")).unwrap();
        std::fs::write(dir.join(format!("trust/{name}.pem")), format!("{before}{public}")).unwrap();
        private
    }

    #[test]
    fn a_signature_holds_for_one_file_and_a_trusted_key_in_its_time() {
        let dir = tempfile::tempdir().unwrap();
        let (root, trust) = (dir.path(), vec![dir.path().join("nowhere"), dir.path().join("trust")]);
        let pack = root.join("pack.yaml");
        let text = "metadata: {id: x}\n";
        std::fs::write(&pack, text).unwrap();
        let now: Timestamp = "2026-06-01T00:00:00Z".parse().unwrap();
        let check = |pack: &Path, text: &str| {
            verify(pack, text, &trust, now)
                .map(drop)
                .map_err(|error| error.to_string())
        };
        assert!(check(&pack, text).unwrap_err().contains("not signed"));

        let ours = keys(root, "ours", 1, "The team's key.\nnot_after: 2027-01-01T00:00:00Z\n");
        let old = keys(root, "old", 2, "not_after: 2026-01-01T00:00:00Z\n");
        let strange = keys(root, "strange", 3, "");
        std::fs::remove_file(root.join("trust/strange.pem")).unwrap();
        sign(&pack, &ours, "team", None).unwrap();
        assert_eq!(check(&pack, text), Ok(()));
        // The members are CAVRA's, no more and no fewer.
        let written: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(signature_path(&pack)).unwrap()).unwrap();
        let mut members: Vec<&String> = written.as_object().unwrap().keys().collect();
        members.sort();
        let wanted = [
            "algorithm",
            "digest",
            "key_id",
            "policy_file",
            "public_key_sha256",
            "schema_version",
            "signature",
            "signed_at",
            "signer",
        ];
        assert_eq!(members, wanted);
        assert_eq!(written.get("policy_file").unwrap(), "pack.yaml");
        let digest = written.get("digest").and_then(serde_json::Value::as_str).unwrap();
        assert!(digest.strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64));
        assert!(
            check(&pack, "metadata: {id: y}\n")
                .unwrap_err()
                .contains("changed since it was signed")
        );

        let other = root.join("other.yaml");
        std::fs::write(&other, text).unwrap();
        std::fs::copy(signature_path(&pack), signature_path(&other)).unwrap();
        assert!(check(&other, text).unwrap_err().contains("of another file"));

        let good = std::fs::read_to_string(signature_path(&pack)).unwrap();
        let second = root.join("second.yaml");
        std::fs::write(&second, "metadata: {id: z}\n").unwrap();
        sign(&second, &ours, "team", None).unwrap();
        let field = |text: &str, name: &str| {
            let json: serde_json::Value = serde_json::from_str(text).unwrap();
            json.get(name).and_then(serde_json::Value::as_str).unwrap().to_owned()
        };
        let foreign = field(&std::fs::read_to_string(signature_path(&second)).unwrap(), "signature");
        for (from, to, says) in [
            (field(&good, "signature"), foreign, "does not fit"),
            (field(&good, "signature"), "AAAA".to_owned(), "signature:"),
            ("ed25519".to_owned(), "none".to_owned(), "expected `ed25519`"),
            ("v1".to_owned(), "v9".to_owned(), "expected `cavra.policy-signature.v1`"),
            ("\"signer\"".to_owned(), "\"sinner\"".to_owned(), "unknown field"),
        ] {
            std::fs::write(signature_path(&pack), good.replace(&from, &to)).unwrap();
            let error = check(&pack, text).unwrap_err();
            assert!(error.contains(says), "{says}: {error}");
        }
        for (key, says) in [(&old, "expired at 2026-01-01"), (&strange, "not trusted here")] {
            sign(&pack, key, "x", None).unwrap();
            let error = check(&pack, text).unwrap_err();
            assert!(error.contains(says), "{says}: {error}");
        }
        sign(&pack, &ours, "team", Some("k1")).unwrap();
        std::fs::write(root.join("trust/broken.pem"), "x").unwrap();
        assert!(check(&pack, text).unwrap_err().contains("no Ed25519 public key"));
        assert!(
            sign(&pack, &pack, "x", None)
                .unwrap_err()
                .to_string()
                .contains("openssl genpkey")
        );
    }
}
