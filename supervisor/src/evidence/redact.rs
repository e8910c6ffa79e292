//! Secrets in arguments and targets, known by their form: records keep what was done, not with which password.
//!
//! Only the record is shorter: decisions are made on the whole, and an approver sees the whole. Environment values are in no
//! record. What is redacted is one value, up to the next blank, quote or separator, so that a command can not hide behind it.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

use crate::policy::tables::looks_secret;

/// In a secret's place.
const GONE: &str = "[redacted]";

/// Tokens that tell what they are: prefix, and how many token characters must follow it.
const TOKENS: &[(&str, usize)] = &[
    ("github_pat_", 20),
    ("ghp_", 20),
    ("gho_", 20),
    ("ghu_", 20),
    ("ghs_", 20),
    ("ghr_", 20),
    ("glpat-", 16),
    ("glrt-", 16),
    ("sk-", 20),
    ("sk_live_", 16),
    ("sk_test_", 16),
    ("rk_live_", 16),
    ("whsec_", 16),
    ("xoxa-", 10),
    ("xoxb-", 10),
    ("xoxe-", 10),
    ("xoxp-", 10),
    ("xoxs-", 10),
    ("xapp-", 10),
    ("AKIA", 16),
    ("ASIA", 16),
    ("AIza", 30),
    ("ya29.", 20),
    ("npm_", 30),
    ("pypi-", 20),
    ("hf_", 20),
    ("dop_v1_", 20),
    ("shpat_", 20),
    ("SG.", 20),
    ("hvs.", 20),
    ("dckr_pat_", 16),
    ("eyJ", 40),
];

/// Last words of options whose value is a secret: `--token`, `--db-password`.
const OPTIONS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "pass",
    "pwd",
    "token",
    "secret",
    "apikey",
    "api-key",
    "access-key",
    "secret-key",
    "private-key",
    "client-secret",
    "oauth2-bearer",
    "bearer",
    "authorization",
    "auth-token",
    "credential",
    "credentials",
    "cookie",
];

/// Headers whose value is a secret and whose name does not say so.
const HEADERS: &[&str] = &[
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "x-auth",
    "x-api-key",
];

/// Names of variables and parameters with a secret that [`looks_secret`] does not know.
const NAMES: &[&str] = &[
    "PASS",
    "PASSPHRASE",
    "SIG",
    "SIGNATURE",
    "X_AMZ_SIGNATURE",
    "AUTHORIZATION",
];

/// Words before the secret in an `Authorization` header.
const SCHEMES: &[&str] = &["Bearer", "Basic", "Digest", "Token", "Negotiate", "AWS4-HMAC-SHA256"];

/// Where programs take a secret in an option that does not say so.
#[derive(Clone, Copy)]
enum Place {
    /// The next argument, or what is attached to the option.
    Value,
    /// What is attached to the option, never the next argument.
    Attached,
    /// After the colon of the next argument, or of what is attached.
    AfterColon,
    /// What is attached is a text of its own.
    Text,
}

/// Program (base name), a subcommand that must be among the arguments (or none), option, and where the secret is.
const PROGRAMS: &[(&str, &str, &str, Place)] = &[
    ("curl", "", "-u", Place::AfterColon),
    ("curl", "", "--user", Place::AfterColon),
    ("curl", "", "-U", Place::AfterColon),
    ("curl", "", "--proxy-user", Place::AfterColon),
    ("curl", "", "-b", Place::Value),
    ("curl", "", "-H", Place::Text),
    ("curl", "", "-d", Place::Text),
    ("http", "", "-a", Place::AfterColon),
    ("http", "", "--auth", Place::AfterColon),
    ("https", "", "-a", Place::AfterColon),
    ("https", "", "--auth", Place::AfterColon),
    ("mysql", "", "-p", Place::Attached),
    ("mysqldump", "", "-p", Place::Attached),
    ("mysqladmin", "", "-p", Place::Attached),
    ("mariadb", "", "-p", Place::Attached),
    ("mariadb-dump", "", "-p", Place::Attached),
    ("sshpass", "", "-p", Place::Value),
    ("redis-cli", "", "-a", Place::Value),
    ("docker", "login", "-p", Place::Value),
    ("podman", "login", "-p", Place::Value),
    ("buildah", "login", "-p", Place::Value),
    ("helm", "login", "-p", Place::Value),
    ("az", "login", "-p", Place::Value),
    ("oc", "login", "-p", Place::Value),
    ("twine", "upload", "-p", Place::Value),
    ("ldapsearch", "", "-w", Place::Value),
    ("ldapmodify", "", "-w", Place::Value),
    ("smbclient", "", "-U", Place::AfterColon),
    ("zip", "", "-P", Place::Value),
    ("unzip", "", "-P", Place::Value),
    ("7z", "", "-p", Place::Attached),
];

/// What a text with a secret in it has: a token's prefix, a name's end, or an option. Most paths have none of it.
static SIGNS: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    let others = [
        "=",
        ":",
        "-----BEGIN ",
        " -",
        "\t-",
        "\n-",
        "\"-",
        "'-",
        "`-",
        ";-",
        "&-",
        "|-",
        "(-",
    ];
    let patterns = TOKENS.iter().map(|(prefix, _)| *prefix).chain(others);
    // Without it each text is looked at whole.
    AhoCorasick::new(patterns).ok()
});

/// Arguments without the secrets in them.
pub(crate) fn arguments(argv: Vec<String>) -> Vec<String> {
    let program = argv
        .first()
        .map(|name| name.rsplit('/').next().unwrap_or(name).to_owned());
    let program = program.unwrap_or_default();
    let rows: Vec<_> = PROGRAMS
        .iter()
        .filter(|(name, with, ..)| *name == program && (with.is_empty() || argv.iter().any(|word| word == with)))
        .collect();
    let mut next: Option<Place> = None;
    argv.into_iter()
        .map(|argument| {
            if let Some(place) = next.take()
                && !(argument.starts_with('-') && argument.len() > 1)
            {
                return at(place, &argument);
            }
            for (_, _, option, place) in &rows {
                match argument.strip_prefix(option) {
                    Some("") if !matches!(place, Place::Attached) => next = Some(*place),
                    Some(rest) if !rest.is_empty() && (!option.starts_with("--") || rest.starts_with('=')) => {
                        let (equals, value) = rest.strip_prefix('=').map_or(("", rest), |value| ("=", value));
                        return format!("{option}{equals}{}", at(*place, value));
                    }
                    _ => {}
                }
            }
            if let Some((name, value)) = argument.split_once('=')
                && is_secret_option(name)
                && !value.is_empty()
            {
                return format!("{name}={GONE}");
            }
            if is_secret_option(&argument) {
                next = Some(Place::Value);
                return argument;
            }
            text(argument)
        })
        .collect()
}

fn at(place: Place, value: &str) -> String {
    match place {
        Place::Value | Place::Attached => GONE.to_owned(),
        Place::AfterColon => match value.split_once(':') {
            Some((user, secret)) if !secret.is_empty() => format!("{user}:{GONE}"),
            _ => value.to_owned(),
        },
        Place::Text => text(value.to_owned()),
    }
}

/// `--github-token`, `-password`; not `--password-stdin` or `--token-file`, whose values are none.
fn is_secret_option(argument: &str) -> bool {
    let Some(name) = argument.strip_prefix('-') else {
        return false;
    };
    let name = name.trim_start_matches('-').replace('_', "-").to_ascii_lowercase();
    OPTIONS.iter().any(|word| {
        name.strip_suffix(word)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with(['-', '.']))
    })
}

/// Whether the value of a variable, member or query parameter of this name is a secret.
fn is_secret_name(name: &str) -> bool {
    let name = name.replace('-', "_").to_ascii_uppercase();
    // Counts and switches of language models and their tokenizers.
    let harmless = name.ends_with("TOKENS") || name.starts_with("TOKENIZER");
    let elsewhere = name.ends_with("_FILE") || name.ends_with("_PATH");
    !harmless && !elsewhere && (looks_secret(&name) || NAMES.contains(&name.as_str()))
}

/// Any text without the secrets in it: tokens known by their prefix, `NAME=value` and `"name": "value"` with a name that tells,
/// headers, user information in URLs, private keys.
pub(crate) fn text(text: String) -> String {
    // Whatever tells a secret has letters: addresses have none.
    if !text.bytes().any(|byte| byte.is_ascii_alphabetic()) {
        return text;
    }
    if !text.starts_with('-') && SIGNS.as_ref().is_some_and(|signs| !signs.is_match(&text)) {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    let mut changed = false;
    let mut before = None;
    // The word that a shell would run, in a line of commands.
    let (mut program, mut is_first, mut since) = ("", true, 0);
    while let Some(c) = rest.chars().next() {
        let at_word = !before.is_some_and(|c: char| c.is_alphanumeric() || c == '_');
        let at_argument = before.is_none_or(|c: char| c.is_whitespace() || ENDS.contains(c));
        if at_argument && is_first && !c.is_whitespace() && !ENDS.contains(c) {
            let word = rest.get(..argument(rest)).unwrap_or_default();
            // `A=b program`
            if !word.contains('=') {
                program = word.rsplit('/').next().unwrap_or(word);
                (is_first, since) = (false, out.len());
            }
        }
        let option = at_argument
            .then(|| option_at(rest, program, out.get(since..).unwrap_or_default()))
            .flatten();
        if let Some((kept, gone)) = option.or_else(|| at_word.then(|| secret_at(rest)).flatten()) {
            out.push_str(rest.get(..kept).unwrap_or_default());
            out.push_str(GONE);
            rest = rest.get(kept.saturating_add(gone)..).unwrap_or_default();
            before = Some(']');
            changed = true;
            continue;
        }
        if matches!(c, ';' | '|' | '&' | '(' | '\n' | '`') {
            (program, is_first) = ("", true);
        }
        // A name is looked at once, from its first character.
        let len = if at_word {
            word(rest).max(c.len_utf8())
        } else {
            c.len_utf8()
        };
        let (taken, left) = rest.split_at_checked(len).unwrap_or((rest, ""));
        out.push_str(taken);
        before = taken.chars().next_back();
        rest = left;
    }
    if changed { out } else { text }
}

/// Bytes of the run of letters, digits and `_` at the beginning.
fn word(text: &str) -> usize {
    run(text, |c| c.is_ascii_alphanumeric() || c == '_')
}

fn run(text: &str, of: impl Fn(char) -> bool) -> usize {
    text.find(|c| !of(c)).unwrap_or(text.len())
}

/// What ends an argument in a line of commands, besides blanks.
const ENDS: &str = "\"'`;&|<>()";

/// Bytes of the argument at the beginning.
fn argument(text: &str) -> usize {
    run(text, |c| !c.is_whitespace() && !ENDS.contains(c))
}

/// An option with a secret, in a line of commands: `--password value`, `curl -u user:value`. `so_far` is the command before it.
fn option_at(text: &str, program: &str, so_far: &str) -> Option<(usize, usize)> {
    let len = argument(text);
    let option = text.get(..len).filter(|option| option.starts_with('-'))?;
    let row = PROGRAMS
        .iter()
        .filter(|(name, with, ..)| *name == program && so_far.contains(with))
        .find_map(|(.., known, place)| {
            option
                .strip_prefix(known)
                .map(|attached| (known.len(), attached, *place))
        });
    let (start, place) = match (row, option.split_once('=')) {
        (Some((known, attached, place)), _) if !attached.is_empty() => (known, place),
        (Some((.., place)), _) if !matches!(place, Place::Attached) => (next_value(text, len)?, place),
        (_, Some((name, _))) if is_secret_option(name) => (name.len().saturating_add(1), Place::Value),
        (_, None) if is_secret_option(option) => (next_value(text, len)?, Place::Value),
        _ => return None,
    };
    let start = start.saturating_add(usize::from(text.get(start..)?.starts_with(['"', '\''])));
    let value = text.get(start..)?;
    let quote = text
        .get(start.saturating_sub(1)..start)?
        .chars()
        .next()
        .filter(|c| matches!(c, '"' | '\''));
    let end = quote.map_or_else(|| argument(value), |quote| run(value, |c| c != quote));
    let value = value
        .get(..end)
        .filter(|value| !value.is_empty() && !value.starts_with("$(") && !is_variable(value))?;
    match place {
        Place::Value | Place::Attached => Some((start, end)),
        Place::AfterColon => {
            let (user, secret) = value.split_once(':').filter(|(_, secret)| !secret.is_empty())?;
            Some((start.saturating_add(user.len()).saturating_add(1), secret.len()))
        }
        Place::Text => None,
    }
}

/// Where the argument after the one of `len` bytes begins; none when it is another option or the end.
fn next_value(text: &str, len: usize) -> Option<usize> {
    let rest = text.get(len..)?;
    let blanks = run(rest, |c| c == ' ');
    let value = rest
        .get(blanks..)
        .filter(|value| blanks > 0 && !value.is_empty() && !value.starts_with('-'))?;
    Some(text.len().saturating_sub(value.len()))
}

/// Whether a secret begins here: how many bytes of it stay, and how many go.
fn secret_at(text: &str) -> Option<(usize, usize)> {
    private_key(text)
        .or_else(|| token(text))
        .or_else(|| user_information(text))
        .or_else(|| assignment(text))
}

fn token(text: &str) -> Option<(usize, usize)> {
    let (prefix, least) = TOKENS.iter().find(|(prefix, _)| text.starts_with(prefix))?;
    let rest = text.get(prefix.len()..)?;
    let len = run(rest, |c| c.is_ascii_alphanumeric() || "_-.=".contains(c));
    let body = rest.get(..len)?;
    // A word is no token: `sk-learn-contrib-examples`.
    let random = body
        .bytes()
        .any(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase());
    (len >= *least && random).then_some((prefix.len(), len))
}

fn private_key(text: &str) -> Option<(usize, usize)> {
    let rest = text.strip_prefix("-----BEGIN ")?;
    let header = rest.find("-----")?;
    rest.get(..header)?.ends_with("PRIVATE KEY").then_some(())?;
    let kept = "-----BEGIN ".len().saturating_add(header).saturating_add(5);
    let body = text.get(kept..)?;
    Some((kept, body.find("-----END ").unwrap_or(body.len()))).filter(|(_, gone)| *gone > 0)
}

/// `scheme://user:password@`, and for http `scheme://token@`.
fn user_information(text: &str) -> Option<(usize, usize)> {
    let scheme = run(text, |c| c.is_ascii_alphanumeric() || "+.-".contains(c));
    let rest = text.get(scheme..)?.strip_prefix("://").filter(|_| scheme > 0)?;
    let authority = rest.get(..run(rest, |c| !c.is_whitespace() && !"/?#'\"".contains(c)))?;
    let (user, _) = authority.rsplit_once('@')?;
    let start = scheme.saturating_add(3);
    match user.split_once(':') {
        Some((name, secret)) if !secret.is_empty() => {
            Some((start.saturating_add(name.len()).saturating_add(1), secret.len()))
        }
        None if text.starts_with("http") && !user.is_empty() => Some((start, user.len())),
        _ => None,
    }
}

/// `NAME=value`, `name: value`, `"name": "value"`, `Authorization: Bearer value`.
fn assignment(text: &str) -> Option<(usize, usize)> {
    let len = run(text, |c| c.is_ascii_alphanumeric() || "_-".contains(c));
    let name = text.get(..len).filter(|name| !name.is_empty())?;
    let header = HEADERS.contains(&name.to_ascii_lowercase().as_str());
    if !header && !is_secret_name(name) {
        return None;
    }
    let quote = |text: &str| {
        text.chars()
            .next()
            .filter(|c| matches!(c, '"' | '\''))
            .map_or(0, char::len_utf8)
    };
    let mut kept = len;
    let closing = quote(text.get(kept..)?);
    kept = kept.saturating_add(closing);
    let equals = text.get(kept..)?.starts_with('=');
    if !equals && !text.get(kept..)?.starts_with(':') {
        return None;
    }
    kept = kept.saturating_add(1);
    let blanks = if equals {
        0
    } else {
        run(text.get(kept..)?, |c| c == ' ')
    };
    kept = kept.saturating_add(blanks);
    let opening = quote(text.get(kept..)?);
    // `/run/token:/x` names a place, not a value.
    if !equals && blanks == 0 && opening == 0 && !header {
        return None;
    }
    kept = kept.saturating_add(opening);
    if header {
        for scheme in SCHEMES {
            if let Some(rest) = text
                .get(kept..)?
                .strip_prefix(scheme)
                .filter(|rest| rest.starts_with(' '))
            {
                kept = text.len().saturating_sub(rest.trim_start_matches(' ').len());
                break;
            }
        }
    }
    let value = text.get(kept..)?;
    let enclosing = text.get(kept.saturating_sub(opening)..kept)?.chars().next();
    let end = match enclosing {
        Some(quote) => run(value, |c| c != quote),
        None if header => run(value, |c| !"\"'\r\n".contains(c)),
        None => run(value, |c| !c.is_whitespace() && !"\"'`;&|<>()".contains(c)),
    };
    let is_reference = value.starts_with("$(") || value.starts_with("${") || is_variable(value.get(..end)?);
    (end > 0 && !is_reference && !value.starts_with(GONE)).then_some((kept, end))
}

/// `$NAME`: where the secret is, not what it is.
fn is_variable(value: &str) -> bool {
    value
        .strip_prefix('$')
        .is_some_and(|name| !name.is_empty() && word(name) == name.len())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]
mod tests {
    use super::{arguments, text};

    /// A line of words, apart by `|`, and what a record keeps of it.
    const ROWS: &[(&str, &str)] = &[
        ("tool|--password|hunter2|x", "tool|--password|[redacted]|x"),
        ("tool|--password=hunter2", "tool|--password=[redacted]"),
        (
            "tool|--db-password=hunter2|--port=1",
            "tool|--db-password=[redacted]|--port=1",
        ),
        ("tool|--api_key|k|--verbose", "tool|--api_key|[redacted]|--verbose"),
        ("tool|--token|--verbose", "tool|--token|--verbose"),
        (
            "docker|login|--password-stdin|host",
            "docker|login|--password-stdin|host",
        ),
        (
            "tool|--token-file|/run/t|--secret-path=/x",
            "tool|--token-file|/run/t|--secret-path=/x",
        ),
        (
            "java|-Djavax.net.ssl.keyStorePassword=hunter2",
            "java|-Djavax.net.ssl.keyStorePassword=[redacted]",
        ),
        ("curl|-u|ann:hunter2|https://a", "curl|-u|ann:[redacted]|https://a"),
        ("/usr/bin/curl|-uann:hunter2", "/usr/bin/curl|-uann:[redacted]"),
        (
            "curl|-H|Authorization: Bearer abc.def",
            "curl|-H|Authorization: Bearer [redacted]",
        ),
        (
            "curl|-HAuthorization: Basic YTpi",
            "curl|-HAuthorization: Basic [redacted]",
        ),
        ("curl|-H|X-Api-Key: abc", "curl|-H|X-Api-Key: [redacted]"),
        ("curl|-H|PRIVATE-TOKEN: abc", "curl|-H|PRIVATE-TOKEN: [redacted]"),
        ("curl|-H|Cookie: a=b; c=d", "curl|-H|Cookie: [redacted]"),
        ("curl|-H|Accept: text/html", "curl|-H|Accept: text/html"),
        (
            "curl|https://x.example/?token=abc&page=2",
            "curl|https://x.example/?token=[redacted]&page=2",
        ),
        (
            "curl|-d|{\"password\": \"a b\", \"n\": 1}",
            "curl|-d|{\"password\": \"[redacted]\", \"n\": 1}",
        ),
        ("curl|-d|{\"api_key\":\"a\"}", "curl|-d|{\"api_key\":\"[redacted]\"}"),
        ("mysql|-phunter2|-p|db", "mysql|-p[redacted]|-p|db"),
        ("sshpass|-p|hunter2|ssh|h", "sshpass|-p|[redacted]|ssh|h"),
        ("docker|login|-u|ann|-p|hunter2", "docker|login|-u|ann|-p|[redacted]"),
        ("docker|run|-p|80:80", "docker|run|-p|80:80"),
        (
            "docker|run|-v|/run/token:/token:ro|-e|A_TOKEN=abc",
            "docker|run|-v|/run/token:/token:ro|-e|A_TOKEN=[redacted]",
        ),
        ("mkdir|-p|a/b", "mkdir|-p|a/b"),
        (
            "env|AWS_SECRET_ACCESS_KEY=abc|A=1|make",
            "env|AWS_SECRET_ACCESS_KEY=[redacted]|A=1|make",
        ),
        (
            "sh|-c|GITHUB_TOKEN=abc; rm -rf /x",
            "sh|-c|GITHUB_TOKEN=[redacted]; rm -rf /x",
        ),
        (
            "sh|-c|API_KEY='a b' && terraform apply",
            "sh|-c|API_KEY='[redacted]' && terraform apply",
        ),
        (
            "sh|-c|echo $GITHUB_TOKEN; TOKEN=$X TOKEN=$(cat t) a",
            "sh|-c|echo $GITHUB_TOKEN; TOKEN=$X TOKEN=$(cat t) a",
        ),
        (
            "git|clone|https://ann:hunter2@x.example/r",
            "git|clone|https://ann:[redacted]@x.example/r",
        ),
        (
            "git|clone|https://abcdef@x.example/r",
            "git|clone|https://[redacted]@x.example/r",
        ),
        (
            "git|clone|ssh://git@x.example/r|git@x.example:r",
            "git|clone|ssh://git@x.example/r|git@x.example:r",
        ),
        ("psql|postgres://ann:p@ss@h/db", "psql|postgres://ann:[redacted]@h/db"),
        ("x|ghp_0123456789abcdefABCDEF0123456789abcd", "x|ghp_[redacted]"),
        (
            "x|echo sk-ant-api03-0123456789abcdefABCDEF >f",
            "x|echo sk-[redacted] >f",
        ),
        ("x|AKIA0123456789ABCDEF", "x|AKIA[redacted]"),
        (
            "x|eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
            "x|eyJ[redacted]",
        ),
        (
            "x|-----BEGIN RSA PRIVATE KEY-----\nab\n-----END RSA PRIVATE KEY-----",
            "x|-----BEGIN RSA PRIVATE KEY-----[redacted]-----END RSA PRIVATE KEY-----",
        ),
        (
            "pip|install|sk-learn-contrib-examples-and-more",
            "pip|install|sk-learn-contrib-examples-and-more",
        ),
        (
            "x|--max-tokens=4096|MAX_TOKENS=1|TOKENIZERS_PARALLELISM=false",
            "x|--max-tokens=4096|MAX_TOKENS=1|TOKENIZERS_PARALLELISM=false",
        ),
        ("pwd|PWD=/x|TOKEN=", "pwd|PWD=/x|TOKEN="),
    ];

    #[test]
    fn what_is_done_stays_and_with_which_secret_goes() {
        for (line, kept) in ROWS {
            let words = line.split('|').map(str::to_owned).collect();
            assert_eq!(arguments(words).join("|"), *kept, "{line}");
        }
    }

    #[test]
    fn what_was_redacted_stays_as_it_is_and_nothing_panics_on_any_cut() {
        for (line, kept) in ROWS {
            let once = text((*kept).to_owned());
            assert_eq!(text(once.clone()), once, "{line}");
            for end in (0..=line.len()).filter(|end| line.is_char_boundary(*end)) {
                drop(text(format!("{}ä", &line[..end])));
            }
        }
    }
}
