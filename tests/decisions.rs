//! The six decisions at each kind of act: what is done, what is held or refused, and what is on record.

use cavra_tests::{Case, Listener, Session, Stage, Suite, Unmet, User, Verdict};

/// What a decision does to an act.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Done,
    /// With the SHA-256 of what was read or run in its record.
    Attested,
    Held,
    Refused,
}

const DECISIONS: &[(&str, Fate)] = &[
    ("allow", Fate::Done),
    ("audit_only", Fate::Done),
    ("warn", Fate::Done),
    ("allow_with_attestation", Fate::Attested),
    ("require_approval", Fate::Held),
    ("block", Fate::Refused),
];

/// One kind of act: `DECISION` and `PORT` in its pack and `PORT` in its line are filled in.
struct Act {
    name: &'static str,
    pack: &'static str,
    line: &'static str,
    action: &'static str,
    about: &'static str,
    /// What there is once it was done: a file of the workspace, or nothing for a visit to the listener.
    effect: Option<&'static str>,
    /// Whether its record can have a digest: a file is read or run.
    digest: bool,
}

const ACTS: &[Act] = &[
    Act {
        name: "reading",
        pack: "filesystem: {default_read: allow, default_write: allow, DECISION_read: [secret]}\ncommands: {default: allow}\nnetwork: {default: block}\n",
        line: "cat secret > got && [ -s got ] && mv got done",
        action: "read_file",
        about: "/secret",
        effect: Some("done"),
        digest: true,
    },
    Act {
        name: "writing",
        pack: "filesystem: {default_read: allow, default_write: allow, DECISION_write: [out]}\ncommands: {default: allow}\nnetwork: {default: block}\n",
        line: "echo x > out",
        action: "write_file",
        about: "/out",
        effect: Some("out"),
        digest: false,
    },
    Act {
        name: "renaming",
        pack: "filesystem: {default_read: allow, default_write: allow, DECISION_write: [out]}\ncommands: {default: allow}\nnetwork: {default: block}\n",
        line: "echo x > y; mv y out",
        action: "write_file",
        about: "/out",
        effect: Some("out"),
        digest: false,
    },
    Act {
        name: "running",
        pack: "filesystem: {default_read: allow, default_write: allow}\ncommands: {default: allow, DECISION: ['tool *']}\nnetwork: {default: block}\n",
        line: "sh -c 'tool now'",
        action: "execute_command",
        about: "/tool",
        effect: Some("ran"),
        digest: true,
    },
    Act {
        name: "connecting",
        pack: "filesystem: {default_read: allow, default_write: allow}\ncommands: {default: allow}\nnetwork: {default: allow, DECISION: ['127.0.0.1:PORT']}\n",
        line: "python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", PORT)).recv(9)'",
        action: "network_connect",
        about: "127.0.0.1:PORT",
        effect: None,
        digest: false,
    },
    Act {
        name: "binding",
        pack: "filesystem: {default_read: allow, default_write: allow}\ncommands: {default: allow}\nnetwork: {default: allow}\n\
               rules: [{id: network.bind.test, action: network_bind, match: ['0.0.0.0:*'], decision: DECISION}]\n",
        line: "python3 -c 'import socket; socket.create_server((\"0.0.0.0\", 0)); open(\"done\", \"w\")'",
        action: "network_bind",
        about: "0.0.0.0:0",
        effect: Some("done"),
        digest: false,
    },
];

/// An act in a stage of its own.
struct Trial<'a> {
    act: &'a Act,
    decision: &'static str,
    stage: Stage,
    listener: Listener,
}

impl<'a> Trial<'a> {
    fn new(user: User, act: &'a Act, decision: &'static str) -> Result<Self, Unmet> {
        let stage = Stage::new(user)?;
        stage.write("ws/secret", "s3cret\n");
        stage.script("bin/tool", "#!/bin/sh\necho $1 > ran\n");
        Ok(Self {
            act,
            decision,
            stage,
            listener: Listener::new(),
        })
    }

    fn filled(&self, text: &str) -> String {
        let text = text.replace("DECISION", self.decision);
        text.replace("PORT", &self.listener.port().to_string())
    }

    fn session(&self) -> Session<'_> {
        let pack = format!("metadata: {{id: t}}\n{}", self.filled(self.act.pack));
        self.stage.session().pack(&pack)
    }

    fn was_done(&self) -> bool {
        match self.act.effect {
            Some(file) => self.stage.has(format!("ws/{file}")),
            None => self.listener.came() > 0,
        }
    }
}

/// Done, held or refused as the decision says, and recorded with it.
fn enforced(user: User, act: &Act, decision: &'static str, fate: Fate) -> Verdict {
    let trial = Trial::new(user, act, decision)?;
    let (line, about) = (trial.filled(act.line), trial.filled(act.about));
    let answers: &[&str] = if fate == Fate::Held {
        &["approve", "deny"]
    } else {
        &[""]
    };
    for answer in answers {
        let trial = Trial::new(user, act, decision)?;
        let (line, about) = (trial.filled(act.line), trial.filled(act.about));
        let mut live = trial.session().start(["sh", "-c", &line])?;
        if fate == Fate::Held {
            let id = live.wait_for_approval(&about)?;
            assert!(!trial.was_done(), "done while it was held");
            let words = ["approvals", answer, &id, "--reason", "a test"];
            trial.stage.cavractl(words)?.success();
        }
        let outcome = live.finish();
        let done = match fate {
            Fate::Done | Fate::Attested => true,
            Fate::Held => *answer == "approve",
            Fate::Refused => false,
        };
        assert_eq!(trial.was_done(), done, "{} {:?}", outcome.stderr(), outcome.code());
        assert_eq!(outcome.code() == Some(0), done, "{}", outcome.stderr());
        let record = outcome.record(act.action).about(&about).decision(decision);
        if fate == Fate::Attested && act.digest {
            let digest = record.first().map(|record| record["digest"].clone());
            assert!(
                digest.is_some_and(|it| it.is_string()),
                "no digest: {:?}",
                record.first()
            );
        }
        if decision == "warn" {
            assert!(outcome.stderr().contains(&about), "no warning: {:?}", outcome.stderr());
        }
        outcome.verifies();
    }
    if fate == Fate::Held {
        let outcome = trial.session().approvals("deny").sh(&line)?;
        assert!(!trial.was_done(), "done with approvals off");
        outcome.record(act.action).about(&about).decision(decision);
    }
    Ok(())
}

/// With `--mode audit` everything is done, and the record says what would have been.
fn audited(user: User, act: &Act, decision: &'static str) -> Verdict {
    let trial = Trial::new(user, act, decision)?;
    let outcome = trial.session().mode("audit").sh(&trial.filled(act.line))?;
    outcome.exits(0);
    assert!(trial.was_done(), "audit mode refused it");
    let about = trial.filled(act.about);
    let record = outcome.record(act.action).about(&about).decision(decision);
    record.field("mode", "audit");
    outcome.verifies();
    Ok(())
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for act in ACTS {
        for &(decision, fate) in DECISIONS {
            let name = format!("{}_{decision}", act.name);
            cases.push(Case::new(&name, move |user| enforced(user, act, decision, fate)));
            cases.push(Case::new(format!("{name}_in_audit_mode"), move |user| {
                audited(user, act, decision)
            }));
        }
    }
    cases
}

fn main() -> std::process::ExitCode {
    Suite::new("decisions").both(cases()).main()
}
