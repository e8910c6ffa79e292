//! Each kind of error that a policy can have: one input, its own code and message, shown by the program; and none without a row here.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use cavra::policy::{Code, sign, signature_path};
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{EncodePrivateKey, EncodePublicKey};

/// What a row asks the program.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asks {
    /// `policy check` of the pack, alone.
    Check,
    /// The same, which loads and is warned about: the status is 0, and 1 with `--strict`.
    Warned,
    /// `policy check` of what a session would have in force, the workspace's own pack included: a warning.
    InForce,
    /// `policy verify`.
    Verify,
}

struct Row {
    code: Code,
    asks: Asks,
    pack: Vec<u8>,
    /// What the message says of this input.
    says: &'static str,
    /// Done beside the pack before the program is asked.
    first: fn(&Path),
}

fn row(code: Code, asks: Asks, pack: impl AsRef<[u8]>, says: &'static str) -> Row {
    let pack = pack.as_ref().to_vec();
    let first = |_: &Path| ();
    Row {
        code,
        asks,
        pack,
        says,
        first,
    }
}

/// A key pair: the private one beside the pack, the public one in the trust folder, `before` in front of it.
fn keys(dir: &Path, seed: u8, before: Option<&str>) -> std::path::PathBuf {
    let key = SigningKey::from_bytes(&[seed; 32]);
    let private = dir.join(format!("{seed}.key"));
    std::fs::write(&private, key.to_pkcs8_pem(LineEnding::LF).unwrap().as_bytes()).unwrap();
    std::fs::create_dir_all(dir.join("trust")).unwrap();
    if let Some(before) = before {
        let public = key.verifying_key().to_public_key_pem(LineEnding::LF).unwrap();
        std::fs::write(dir.join(format!("trust/{seed}.pem")), format!("{before}{public}")).unwrap();
    }
    private
}

fn signed(dir: &Path, before: Option<&str>) {
    sign(&dir.join("pack.yaml"), &keys(dir, 1, before), "team", None).unwrap();
}

/// One member of the signature is another.
fn forged(dir: &Path, member: &str, value: &str) {
    let path = signature_path(&dir.join("pack.yaml"));
    let mut json: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    json[member] = value.into();
    std::fs::write(&path, json.to_string()).unwrap();
}

fn rows() -> Vec<Row> {
    use Asks::{Check, InForce, Verify, Warned};
    let bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned()
        + &(1..10)
            .map(|level| {
                format!(
                    "a{level}: &a{level} [{}]\n",
                    vec![format!("*a{}", level - 1); 10].join(", ")
                )
            })
            .collect::<String>();
    let list = |entry: &str| format!("metadata: {{id: x}}\nfilesystem: {{block_read: ['{entry}']}}\n");
    let rules = |rules: &str| format!("metadata: {{id: x}}\nrules:\n{rules}\n");
    let signature = |code, says, first: fn(&Path)| Row {
        first,
        ..row(code, Verify, "metadata: {id: x}\n", says)
    };
    vec![
        row(Code::Syntax, Check, "metadata: {id: [\n", "is not YAML"),
        row(
            Code::TooLarge,
            Check,
            format!("a: {}\n", "x".repeat(11_000_000)),
            "a pack has at most",
        ),
        row(
            Code::DuplicateKey,
            Check,
            "metadata: {id: x}\nmode: audit\nmode: enforce\n",
            "join the two",
        ),
        row(Code::WrongType, Check, "metadata: {id: x}\nfilesystem: [x]\n", "a list"),
        row(
            Code::MissingKey,
            Check,
            rules("- {action: read_file, match: x}"),
            "`decision`",
        ),
        row(
            Code::UnknownDecision,
            Check,
            rules("- {action: read_file, match: x, decision: blok}"),
            "did you mean `block`?",
        ),
        row(
            Code::BadPattern,
            Check,
            list("${nope}/x"),
            "other variables have no value here",
        ),
        row(
            Code::BadNetwork,
            Check,
            "metadata: {id: x}\nnetwork: {block: ['http://x']}\n",
            "write `x:80`",
        ),
        row(Code::Nul, Check, "metadata: {id: \"x\0\"}\n", "has a NUL byte"),
        row(Code::Nul, Check, list("x").replace("'x'", "\"a\\0\""), "a NUL byte in"),
        row(
            Code::Cycle,
            Check,
            "metadata: {id: x, inherits: ./pack.yaml}\n",
            "inherits itself: x -> x",
        ),
        row(
            Code::NotFound,
            Check,
            "metadata: {id: x, inherits: nobody}\n",
            "no policy `nobody`",
        ),
        row(
            Code::NotFound,
            Check,
            "metadata: {id: x, inherits: ./gone.yaml}\n",
            "no such policy file",
        ),
        row(
            Code::UnknownKey,
            Check,
            "metadata: {id: x}\nfilesystem: {blok_read: [x]}\n",
            "did you mean `block_read`?",
        ),
        row(
            Code::Unreadable,
            Check,
            "metadata: {id: x, inherits: ./trust.yaml}\n",
            "is no file",
        ),
        row(
            Code::BadValue,
            Check,
            "metadata: {id: x}\nmode: audt\n",
            "did you mean `audit`?",
        ),
        row(
            Code::DuplicateId,
            Check,
            rules(
                "- {id: a, action: read_file, match: x, decision: block}\n- {id: a, action: read_file, match: y, decision: warn}",
            ),
            "rule id `a` answers twice",
        ),
        row(
            Code::DuplicateId,
            Check,
            "metadata: {id: x, inherits: ./twin.yaml}\n",
            "two packs are called `x`",
        ),
        row(Code::NotText, Check, b"metadata: {id: x}\n# \xff\n", "not UTF-8"),
        row(
            Code::Aliases,
            Check,
            format!("metadata: {{id: x}}\n{bomb}"),
            "with the aliases expanded",
        ),
        row(
            Code::Aliases,
            Check,
            format!("a: &a x\nl: [{}]\n", vec!["*a"; 65].join(", ")),
            "anchors and aliases",
        ),
        row(Code::Stars, Check, list(&"*a".repeat(40)), "more than 32 stars"),
        row(
            Code::Stars,
            Check,
            format!("metadata: {{id: x}}\ncommands: {{block: ['{}']}}\n", "*a".repeat(40)),
            "more than 32 stars",
        ),
        row(
            Code::Void,
            Warned,
            "metadata: {id: x}\nfilesystem: {allow_write: [a], block_write: ['**/a']}\n",
            "never answers: `**/a`",
        ),
        row(
            Code::Void,
            InForce,
            "metadata: {id: x}\nfilesystem: {allow_write: [kept]}\n",
            "(the workspace's own pack)",
        ),
        row(
            Code::Never,
            Warned,
            rules("- {action: read_file, match: 'a/x', except: 'a/*', decision: block}"),
            "`except` names all that `match` does",
        ),
        signature(Code::Unsigned, "there is no ", |_| ()),
        signature(Code::SignatureFile, "expected `cavra.policy-signature.v1`", |dir| {
            signed(dir, Some(""));
            forged(dir, "schema_version", "v9");
        }),
        signature(Code::SignatureFile, "no Ed25519 public key", |dir| {
            signed(dir, None);
            std::fs::write(dir.join("trust/0.pem"), "x").unwrap();
        }),
        signature(Code::OtherFile, "it names other.yaml, this is pack.yaml", |dir| {
            signed(dir, Some(""));
            forged(dir, "policy_file", "other.yaml");
        }),
        signature(Code::Changed, "changed since it was signed", |dir| {
            signed(dir, Some(""));
            std::fs::write(dir.join("pack.yaml"), "metadata: {id: y}\n").unwrap();
        }),
        signature(Code::UntrustedKey, "signed by a key that is not trusted here", |dir| {
            signed(dir, None)
        }),
        signature(Code::ExpiredKey, "expired at 2020-01-01T00:00:00Z", |dir| {
            signed(dir, Some("not_after: 2020-01-01T00:00:00Z\n"));
        }),
        signature(Code::WrongSignature, "does not fit the file and the key", |dir| {
            signed(dir, Some(""));
            forged(dir, "signature", &("A".repeat(86) + "=="));
        }),
    ]
}

#[test]
fn each_kind_of_error_has_its_own_code_and_message() {
    let rows = rows();
    for row in &rows {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        for name in ["ws/.cavra", "trust.yaml", "trust"] {
            std::fs::create_dir_all(dir.join(name)).unwrap();
        }
        std::fs::write(dir.join("twin.yaml"), "metadata: {id: x}\nmode: enforce\n").unwrap();
        let own = "metadata: {id: own}\nfilesystem: {block_write: [kept]}\n";
        std::fs::write(dir.join("ws/.cavra/policy.yaml"), own).unwrap();
        let pack = dir.join("pack.yaml");
        std::fs::write(&pack, &row.pack).unwrap();
        (row.first)(dir);
        let pack = pack.to_str().unwrap();
        let words: &[&str] = match row.asks {
            Asks::Check | Asks::Warned => &["policy", "check", pack],
            Asks::InForce => &["policy", "check", "--policy", pack],
            Asks::Verify => &["policy", "verify", "--trust", "../trust", pack],
        };
        let ask = |more: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_cavractl"));
            command
                .args(words)
                .args(more)
                .current_dir(dir.join("ws"))
                .env("HOME", dir);
            command.env_remove("CAVRA_POLICY_DIR");
            let output = command.output().unwrap();
            let said = [output.stdout, output.stderr].concat();
            (output.status.code(), String::from_utf8(said).unwrap())
        };
        let (status, said) = ask(&[]);
        let warned = matches!(row.asks, Asks::Warned | Asks::InForce);
        let name = row.code.name();
        assert_eq!(status, Some(i32::from(!warned)), "{name}: {said}");
        if warned {
            assert_eq!(ask(&["--strict"]).0, Some(1), "{name} with --strict: {said}");
        }
        let kind = if warned { "warning" } else { "error" };
        assert!(said.contains(&format!("{kind}[{name}]: ")), "{name}: {said}");
        assert!(said.contains(row.says), "{name} says `{}`: {said}", row.says);
        for other in Code::ALL.iter().filter(|code| **code != row.code) {
            assert!(!said.contains(other.name()), "{name} and {}: {said}", other.name());
        }
        assert!(!said.contains("panicked"), "{name}: {said}");
    }
    let shown: BTreeSet<Code> = rows.iter().map(|row| row.code).collect();
    let all: BTreeSet<Code> = Code::ALL.iter().copied().collect();
    assert_eq!(
        all.difference(&shown).collect::<Vec<_>>(),
        Vec::<&Code>::new(),
        "codes without a row"
    );
    let names: BTreeSet<&str> = Code::ALL.iter().map(|code| code.name()).collect();
    assert_eq!(names.len(), Code::ALL.len(), "one number, one kind");
}
