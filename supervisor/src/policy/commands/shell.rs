//! Simple commands in a shell's line that runs where no exec is seen (`ssh host 'cd x && terraform apply'`).
//!
//! Not a shell: quotes and operators are read, nothing is expanded. A word made by an expansion is not known here; neither is it where a
//! program of the other machine decides what to run.

/// Commands of one line that are read.
const COMMANDS_MAX: usize = 64;

/// Words before a command that belong to the shell.
const KEYWORDS: &[&[u8]] = &[
    b"!", b"{", b"if", b"then", b"elif", b"else", b"while", b"until", b"do", b"time", b"exec", b"command", b"builtin",
    b"eval",
];

/// The words of each simple command, and whether there would have been more.
pub(super) fn commands(line: &[u8]) -> (Vec<Vec<Vec<u8>>>, bool) {
    let mut reader = Reader::default();
    let mut bytes = line.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => match bytes.next() {
                Some(b'\n') | None => {}
                Some(escaped) => reader.push(escaped),
            },
            b'\'' => {
                reader.open();
                bytes
                    .by_ref()
                    .take_while(|byte| *byte != b'\'')
                    .for_each(|byte| reader.push(byte));
            }
            b'"' => {
                reader.open();
                while let Some(byte) = bytes.next().filter(|byte| *byte != b'"') {
                    match byte {
                        b'\\' => bytes.next().into_iter().for_each(|byte| reader.push(byte)),
                        byte => reader.push(byte),
                    }
                }
            }
            b' ' | b'\t' => reader.end_word(),
            b'\n' | b';' | b'|' | b'&' | b'(' | b')' | b'`' => reader.end_command(),
            b'$' if bytes.peek() == Some(&b'(') => reader.end_word(),
            b'<' | b'>' => reader.end_word(),
            byte => reader.push(byte),
        }
        if reader.commands.len() > COMMANDS_MAX {
            return (reader.commands, true);
        }
    }
    reader.end_command();
    (reader.commands, false)
}

#[derive(Default)]
struct Reader {
    commands: Vec<Vec<Vec<u8>>>,
    words: Vec<Vec<u8>>,
    word: Option<Vec<u8>>,
}

impl Reader {
    fn open(&mut self) {
        self.word.get_or_insert_default();
    }

    fn push(&mut self, byte: u8) {
        self.word.get_or_insert_default().push(byte);
    }

    fn end_word(&mut self) {
        let Some(word) = self.word.take() else { return };
        let before = self.words.is_empty() && (KEYWORDS.contains(&word.as_slice()) || is_assignment(&word));
        if !before {
            self.words.push(word);
        }
    }

    fn end_command(&mut self) {
        self.end_word();
        if !self.words.is_empty() {
            self.commands.push(std::mem::take(&mut self.words));
        }
    }
}

fn is_assignment(word: &[u8]) -> bool {
    let name = word.split(|byte| *byte == b'=').next().unwrap_or_default();
    name.len() < word.len() && !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

#[cfg(test)]
mod tests {
    #[test]
    fn simple_commands_are_read_from_a_line() {
        for (line, wanted) in [
            ("terraform apply", "terraform apply"),
            (
                "cd x && terraform apply -auto-approve",
                "cd x|terraform apply -auto-approve",
            ),
            ("A=1 B=2 terraform 'apply'", "terraform apply"),
            ("ter\\raform ap\"pl\"y", "terraform apply"),
            ("if true; then terraform apply; fi", "true|terraform apply|fi"),
            ("echo $(terraform apply)", "echo|terraform apply"),
            ("echo `terraform apply`", "echo|terraform apply"),
            ("(terraform apply)", "terraform apply"),
            ("yes|terraform apply>x", "yes|terraform apply x"),
            ("terraform apply\nls", "terraform apply|ls"),
            ("! terraform apply &", "terraform apply"),
            ("echo 'a; terraform apply'", "echo a; terraform apply"),
            ("echo \"a; terraform apply\"", "echo a; terraform apply"),
            ("echo 'open", "echo open"),
            ("", ""),
        ] {
            let (commands, cut) = super::commands(line.as_bytes());
            let found: Vec<String> = commands
                .iter()
                .map(|words| String::from_utf8_lossy(&words.join(&b' ')).into_owned())
                .collect();
            assert_eq!(found.join("|"), wanted, "{line}");
            assert!(!cut);
        }
        assert!(super::commands(&b"a;".repeat(1000)).1);
    }
}
