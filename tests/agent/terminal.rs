//! The agent in a terminal, with a person at the keys.

use cavra_tests::messages_api::{MessagesApi, Script, variables};
use cavra_tests::{Stage, Terminal, User, Verdict, places};

/// What the API answers to the person.
const ANSWER: &str = "Harbours are calm today.";

/// Natively: the control, and what the screen must look like.
pub fn natively_a_person_can_talk_to_it(user: User) -> Verdict {
    let world = Stage::new(user)?;
    let claude = places::claude(user)?;
    conversation(&world, &format!("'{}'", claude.display()))
}

/// Through cavra-run: the same screen, the same keys, the terminal as it was.
pub fn inside_a_person_can_talk_to_it(user: User) -> Verdict {
    let world = Stage::new(user)?;
    let session = world.session().profile("claude").option("--quiet");
    let mut line: Vec<String> = session
        .words()?
        .iter()
        .map(|word| format!("'{}'", word.to_string_lossy()))
        .collect();
    line.push(format!("'{}'", places::claude(user)?.display()));
    conversation(&world, &line.join(" "))
}

fn conversation(world: &Stage, line: &str) -> Verdict {
    let api = MessagesApi::serve(Script::new(ANSWER));
    let variables = variables(&api);
    // What a first start asks (theme, key, trust) is answered beforehand; a person does it once.
    let state = serde_json::json!({
        "hasCompletedOnboarding": true, "theme": "dark", "autoUpdates": false,
        "customApiKeyResponses": {"approved": ["test"], "rejected": []},
        "projects": {world.workspace().to_string_lossy(): {"hasTrustDialogAccepted": true, "hasCompletedProjectOnboarding": true}},
    });
    world.write("home/.claude.json", state.to_string());
    let terminal = Terminal::new(world)?;
    let modes = terminal.modes();
    let assignments: Vec<String> = variables
        .iter()
        .map(|(name, value)| format!("{name}='{value}'"))
        .collect();
    world.write("ws/talk", format!("{} {line}\n", assignments.join(" ")));

    terminal.line(". ./talk; echo \"ended with $?\"");
    terminal.wait_until("the agent's prompt", |screen| {
        screen.contains("Claude Code v") && screen.contains('❯')
    });
    // Enter within the same burst of bytes would be taken as part of a paste.
    terminal.text("How are the harbours?");
    terminal.wait_for("How are the harbours?");
    terminal.key("Enter");
    terminal.wait_for(ANSWER);
    terminal.key("C-c");
    terminal.wait_until("the hint that a second Ctrl-C leaves", |screen| {
        screen.contains("again to exit")
    });
    terminal.key("C-c");
    terminal.wait_for("ended with 0");
    assert_eq!(terminal.modes(), modes, "the terminal's modes are restored");
    terminal.line("echo still $((40 + 2))");
    terminal.wait_for("still 42");
    Ok(())
}
