//! The Messages API of a scripted agent session, for benches/run: prints the environment that points Claude Code to it, then an empty line, and
//! serves until its standard input ends. The script is work that the default policy allows, in the folder named as argument.

use std::io::Read;
use std::path::PathBuf;

use cavra_tests::messages_api::{MessagesApi, Script, variables};

fn main() -> std::io::Result<()> {
    let work = PathBuf::from(std::env::args_os().nth(1).ok_or(std::io::ErrorKind::InvalidInput)?);
    let script = Script::new("All steps are done.")
        .bash("list", "ls -a && git log --oneline && git status --short")
        .read("read_readme", &work.join("README.md"))
        .write(
            "write_code",
            &work.join("src/a.py"),
            "def twice(n):\n    return 2 * n\n",
        )
        .bash("run_tests", "python3 -m unittest tests.test_a 2>&1")
        .bash("search", "grep -rn twice . | sort | head")
        .bash("difference", "git add -A && git diff --cached --stat; git reset -q")
        .bash("clean", "rm -rf src/a.py src/__pycache__ tests/__pycache__");
    let api = MessagesApi::serve(script);
    for (name, value) in variables(&api) {
        println!("{name}={value}");
    }
    println!();
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
