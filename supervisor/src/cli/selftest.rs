//! `cavractl selftest`: what was tried on a session, a line a class.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::{FAILED, Said, Style};
use crate::selftest::{Class, Grade, Options, probe, run};
use crate::text::harmless;

#[derive(Debug, Args)]
pub(super) struct Selftest {
    /// The agent's folder [default: the current one]
    #[arg(long, value_name = "DIR")]
    workspace: Option<PathBuf>,
    /// The profile whose session is tried
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// Packs by id or file instead of the profile's
    #[arg(long, value_name = "ID|FILE")]
    policy: Vec<String>,
    /// As a JSON array
    #[arg(long)]
    json: bool,
}

/// What runs in the session, or outside it as the control.
#[derive(Debug, Args)]
pub(super) struct Probe {
    /// Asks by another architecture's table of calls
    #[arg(long)]
    foreign: bool,
    /// Tells its number and stays
    #[arg(long)]
    wait: bool,
    #[arg(value_name = "DIR")]
    scene: Option<PathBuf>,
}

impl Selftest {
    /// 0 when every guard held, 1 when one did not, 125 when no session could be tried.
    pub(super) fn run(self, style: Style) -> Said {
        let options = Options {
            workspace: self.workspace,
            profile: self.profile,
            policy: self.policy,
        };
        let classes = match run(&options) {
            Ok(classes) => classes,
            Err(error) => return Said::failed(FAILED, &error),
        };
        let failed = classes.iter().filter(|class| class.grade == Grade::Failed).count();
        let status = u8::from(failed > 0);
        if self.json {
            return match serde_json::to_string_pretty(&classes) {
                Ok(text) => Said {
                    out: text + "\n",
                    status,
                    ..Said::default()
                },
                Err(error) => Said::failed(FAILED, &error),
            };
        }
        let mut out: String = classes.iter().map(|class| row(class, style)).collect();
        let held = classes.iter().filter(|class| class.grade == Grade::Held).count();
        out.push_str(&match failed {
            0 => format!("Every guard held: {held} classes of attacks were refused.\n"),
            1 => "One guard does not hold: no agent should run here until it does.\n".to_owned(),
            more => format!("{more} guards do not hold: no agent should run here until they do.\n"),
        });
        Said {
            out,
            status,
            ..Said::default()
        }
    }
}

fn row(class: &Class, style: Style) -> String {
    let grade = match class.grade {
        Grade::Held => style.green("held     "),
        Grade::NotShown => style.yellow("not shown"),
        Grade::Failed => style.red("FAILED   "),
    };
    let mut text = format!("{grade} {:>2}  {}", class.class, class.tried.join("; "));
    if class.grade == Grade::NotShown && class.note.is_empty() {
        text.push_str(" (does not work outside a session either)");
    } else if !class.note.is_empty() {
        text.push_str(&format!(" ({})", class.note));
    }
    for consequence in &class.consequences {
        text.push_str(&format!(": {consequence}"));
    }
    harmless(&text).to_string() + "\n"
}

impl Probe {
    pub(super) fn run(self) -> Said {
        #[cfg(target_arch = "x86_64")]
        if self.foreign {
            let right = crate::sys::attempt::foreign_getpid() == std::process::id().cast_signed();
            return Said {
                status: u8::from(!right),
                ..Said::default()
            };
        }
        #[cfg(not(target_arch = "x86_64"))]
        if self.foreign {
            return Said {
                status: 1,
                ..Said::default()
            };
        }
        let mut out = std::io::stdout().lock();
        let mut tell = |line: String| drop(writeln!(out, "{line}").and_then(|()| out.flush()));
        if self.wait {
            tell(std::process::id().to_string());
            std::thread::sleep(std::time::Duration::from_secs(60));
            return Said::default();
        }
        match self.scene.map(|scene| probe(&scene, &mut tell)) {
            Some(Ok(())) => Said::default(),
            Some(Err(error)) => Said::failed(FAILED, &error),
            None => Said::failed(2, &"no scene"),
        }
    }
}
