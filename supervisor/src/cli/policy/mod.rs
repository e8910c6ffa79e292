//! `cavractl policy`: packs checked, explained, compared, tried and signed.

mod compare;
mod explain;
mod packs;
mod signing;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{FAILED, Said, Style};
use crate::policy::{self, Colour, Diagnostics, Place, Policy, Profile};

/// Check, explain, compare, try and sign policies.
#[derive(Debug, Subcommand)]
pub(super) enum PolicyCommand {
    /// Check packs: all mistakes at once, then what loads and probably is not meant; 0 when they load
    #[command(
        after_help = "Examples:\n  cavractl policy check team.yaml\n  cavractl policy check            what a session here would have in force"
    )]
    Check {
        /// Packs by id or file [default: those in force here]
        #[arg(value_name = "ID|FILE")]
        packs: Vec<String>,
        /// Warnings fail too
        #[arg(long)]
        strict: bool,
        #[command(flatten)]
        session: Session,
    },
    /// Say what decides a path, command or address, from which pack and line
    #[command(after_help = explain::EXAMPLES)]
    Explain(explain::Explain),
    #[command(flatten)]
    Packs(packs::Packs),
    /// Compare two policies by what they answer: 0 the same, 3 only tightened, 4 something loosened
    Diff(compare::Diff),
    /// Ask a policy what a recorded session asked: 0 the same answers, 3 only tightened, 4 something loosened
    Simulate(compare::Simulate),
    /// Print a pack with its parents as canonical JSON
    Compile(signing::Compile),
    /// Sign a pack with an Ed25519 key
    Sign(signing::Sign),
    /// Verify packs' signatures against trusted keys
    Verify(signing::Verify),
    /// Print the JSON Schema of packs, for editors
    Schema {
        /// Of profiles instead
        #[arg(long)]
        profile: bool,
    },
}

/// Which session is meant.
#[derive(Debug, Args)]
pub(super) struct Session {
    /// A pack by id or file, as for cavra-run; several are all in force
    #[arg(long, value_name = "ID|FILE")]
    policy: Vec<String>,
    /// The profile, as for cavra-run
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// The agent's folder [default: the current one]
    #[arg(long, value_name = "DIR")]
    workspace: Option<PathBuf>,
    /// The agent's name, for rules that ask
    #[arg(long, value_name = "ID", default_value = "")]
    agent_id: String,
}

impl Session {
    /// The place that is meant.
    fn place(&self) -> Result<Place, Said> {
        let folder = self.workspace.clone().unwrap_or_else(|| PathBuf::from("."));
        match folder.canonicalize() {
            Ok(workspace) => Ok(Place::of(&workspace)),
            Err(error) => {
                let text = format!(
                    "workspace {}: {error}; name an existing folder with --workspace",
                    folder.display()
                );
                Err(Said::failed(FAILED, &text))
            }
        }
    }

    fn profile(&self, place: &Place, command: &str) -> Result<Profile, Said> {
        Profile::load(self.profile.as_deref(), command, &place.profiles).map_err(|wrong| shown(&wrong, Style::Plain))
    }

    /// The policy that cavra-run would have in force for a command.
    fn policy(&self, place: &Place, command: &str) -> Result<Policy, Said> {
        let profile = self.profile(place, command)?;
        place
            .load(&self.policy, &profile, &self.agent_id, None)
            .map_err(|wrong| shown(&wrong, Style::Plain))
    }
}

/// What is wrong with packs, drawn.
fn shown(wrong: &Diagnostics, style: Style) -> Said {
    let colour = match style {
        Style::Coloured => Colour::Ansi,
        Style::Plain => Colour::Plain,
    };
    Said {
        out: wrong.render(colour),
        status: 1,
        ..Said::default()
    }
}

impl PolicyCommand {
    /// Runs it.
    pub(super) fn run(self, style: Style) -> Said {
        let said = match self {
            Self::Check { packs, strict, session } => check(&packs, strict, &session, style),
            Self::Explain(explain) => explain.run(style),
            Self::Packs(command) => Ok(command.run()),
            Self::Diff(command) => command.run(style),
            Self::Simulate(command) => command.run(style),
            Self::Compile(command) => command.run(style),
            Self::Sign(command) => command.run(),
            Self::Verify(command) => command.run(),
            Self::Schema { profile } => {
                let schema = if profile {
                    policy::profile_schema()
                } else {
                    policy::pack_schema()
                };
                Ok(Said::fine(format!("{schema:#}\n")))
            }
        };
        said.unwrap_or_else(|said| said)
    }
}

fn check(packs: &[String], strict: bool, session: &Session, style: Style) -> Result<Said, Said> {
    let place = session.place()?;
    let profile = session.profile(&place, "")?;
    let loaded = if packs.is_empty() {
        place.load(&session.policy, &profile, &session.agent_id, None)
    } else {
        place.load_alone(packs, &profile, &session.agent_id)
    };
    let policy = loaded.map_err(|wrong| shown(&wrong, style))?;
    let warnings = policy.warnings();
    let mut out = String::new();
    for warning in &warnings {
        let text = warning.to_string();
        out += &format!("{}{}\n", style.yellow("warning"), crate::text::harmless(&text));
    }
    if policy.mode() == policy::Mode::Audit {
        let text = "all of these packs only watch (`mode: audit`), so a session with them refuses nothing";
        out += &format!("{} {text}\n", style.yellow("note:"));
    }
    for pack in policy.watching() {
        let text = "only watches (`mode: audit`): what it refuses is done, and recorded as what would have been";
        out += &format!("{} {} {text}\n", style.yellow("note:"), crate::text::harmless(&pack));
    }
    for pack in policy.packs() {
        out += &format!("{} {}\n", style.green("ok"), crate::text::harmless(pack));
    }
    Ok(Said {
        out,
        status: u8::from(strict && !warnings.is_empty()),
        ..Said::default()
    })
}
