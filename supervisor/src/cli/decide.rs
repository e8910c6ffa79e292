//! `cavractl decide`: enforcement-v1 requests answered as CAVRA answers them.
//!
//! | status | |
//! |---|---|
//! | 0 | allow, and what is performed with a record: audit_only, warn, allow_with_attestation |
//! | 1 | block |
//! | 2 | not a request, or typed wrongly |
//! | 4 | require_approval |
//! | 125 | a pack or registry can not be used |
//!
//! With `--jsonl` each line has its answer, and the status is 0 unless one of them was no request (2).

use std::collections::HashMap;
use std::io::{self, BufRead, Read, Write};
use std::path::PathBuf;

use clap::Args;

use super::{FAILED, Said};
use crate::cavra::{DEFAULT_PACK, REQUEST_MAX, Registry, Request, Response, Rules, evaluate, refusal, search_path};
use crate::decision::Decision;

/// Packs that are kept, once read, by one process.
const PACKS_MAX: usize = 64;
/// Not a request.
const NO_REQUEST: u8 = 2;
/// A person must say yes first.
const NEEDS_APPROVAL: u8 = 4;

/// Which pack and registry decide; shared with `serve`.
#[derive(Debug, Args)]
pub(super) struct Basis {
    /// Pack that decides, by id or file; else the request's `policy_pack`, else cavra-ai-agent-baseline
    #[arg(long, value_name = "ID|FILE")]
    policy: Option<String>,
    /// Trust registry (JSON) for calls of MCP tools
    #[arg(long, value_name = "FILE")]
    registry: Option<PathBuf>,
}

/// `cavractl decide`.
#[derive(Debug, Args)]
pub(super) struct Decide {
    #[command(flatten)]
    basis: Basis,
    /// Answer each line of stdin with a line
    #[arg(long, conflicts_with_all = ["action", "target", "operation", "server", "tool", "capability"])]
    jsonl: bool,
    /// read_file, write_file, execute_command, git_operation, mcp_tool_call; a JSON request on stdin when missing
    action: Option<String>,
    /// Path, command line or branch
    #[arg(requires = "action")]
    target: Option<String>,
    /// What is done, such as push
    #[arg(long, requires = "action")]
    operation: Option<String>,
    /// The MCP server's id or name
    #[arg(long, requires = "action")]
    server: Option<String>,
    /// Its tool
    #[arg(long, requires = "action")]
    tool: Option<String>,
    /// What the tool needs
    #[arg(long, requires = "action")]
    capability: Option<String>,
}

/// Packs and registry, read once.
pub(super) struct Decider {
    search: Vec<PathBuf>,
    fixed: Option<Rules>,
    registry: Option<Registry>,
    packs: HashMap<String, Rules>,
}

impl Decider {
    /// Reads what `basis` names.
    pub(super) fn new(basis: &Basis) -> Result<Self, String> {
        let search = search_path(&|name| std::env::var_os(name));
        let load = |name: &String| Rules::load(name, &search).map_err(|error| error.to_string());
        let fixed = basis.policy.as_ref().map(load).transpose()?;
        let registry = basis.registry.as_deref().map(Registry::read).transpose();
        Ok(Self {
            fixed,
            registry: registry.map_err(|error| error.to_string())?,
            search,
            packs: HashMap::new(),
        })
    }

    /// Answers a request. A pack that the request names and that can not be used is an error, never another pack.
    pub(super) fn answer(&mut self, request: &Request) -> Result<Response, String> {
        let rules = if let Some(rules) = &self.fixed {
            rules
        } else {
            let id = if request.policy_pack.is_empty() {
                DEFAULT_PACK
            } else {
                &request.policy_pack
            };
            if !self.packs.contains_key(id) {
                if self.packs.len() >= PACKS_MAX {
                    self.packs.clear();
                }
                // A request names ids only: a name that ends so would be read as a file.
                if id.ends_with(".yaml") {
                    return Err(format!(
                        "policy_pack `{id}` is a file; a request names a pack by its id"
                    ));
                }
                let rules = Rules::load(id, &self.search).map_err(|error| error.to_string())?;
                self.packs.insert(id.to_owned(), rules);
            }
            self.packs.get(id).ok_or_else(|| format!("pack `{id}` was not kept"))?
        };
        let answer = evaluate(request, rules, self.registry.as_ref());
        Response::new(request, answer, rules).map_err(|error| error.to_string())
    }
}

impl Decide {
    /// Answers what was typed, or what stdin holds.
    pub(super) fn run(self) -> Said {
        let mut decider = match Decider::new(&self.basis) {
            Ok(decider) => decider,
            Err(error) => return Said::failed(FAILED, &error),
        };
        if self.jsonl {
            return lines(&mut decider, &mut io::stdin().lock(), &mut io::stdout().lock());
        }
        let request = match self.action {
            Some(action_type) => Request {
                action_type,
                target: self.target.unwrap_or_default(),
                operation: self.operation.unwrap_or_default(),
                server: self.server.unwrap_or_default(),
                tool: self.tool.unwrap_or_default(),
                capability: self.capability.unwrap_or_default(),
                ..Request::default()
            },
            None => match read_request(&mut io::stdin().lock()) {
                Ok(request) => request,
                Err(error) => return Said::failed(NO_REQUEST, &error),
            },
        };
        match decider.answer(&request) {
            Ok(response) => match serde_json::to_string_pretty(&response) {
                Ok(text) => Said {
                    out: text + "\n",
                    status: status(response.decision),
                    ..Said::default()
                },
                Err(error) => Said::failed(FAILED, &error),
            },
            Err(error) => Said::failed(FAILED, &error),
        }
    }
}

const fn status(decision: Decision) -> u8 {
    match decision {
        Decision::Allow | Decision::AuditOnly | Decision::Warn | Decision::AllowWithAttestation => 0,
        Decision::RequireApproval => NEEDS_APPROVAL,
        Decision::Block => 1,
    }
}

fn read_request(input: &mut dyn Read) -> Result<Request, String> {
    let mut text = Vec::new();
    // One byte more than fits tells that there is more.
    let bound = u64::try_from(REQUEST_MAX).unwrap_or(u64::MAX).saturating_add(1);
    input
        .take(bound)
        .read_to_end(&mut text)
        .map_err(|error| format!("stdin: {error}"))?;
    Request::from_json(&text).map_err(|error| format!("stdin: {error}"))
}

/// One answer a line, each written before the next line is read, so that an adapter can keep the process.
fn lines(decider: &mut Decider, input: &mut dyn BufRead, output: &mut dyn Write) -> Said {
    let mut status = 0;
    let bound = u64::try_from(REQUEST_MAX).unwrap_or(u64::MAX).saturating_add(1);
    loop {
        let mut line = Vec::new();
        match input.take(bound).read_until(b'\n', &mut line) {
            Ok(0) => {
                return Said {
                    status,
                    ..Said::default()
                };
            }
            Ok(_) => {}
            Err(error) => return Said::failed(FAILED, &format!("stdin: {error}")),
        }
        let whole = line.last() == Some(&b'\n');
        if line.trim_ascii().is_empty() && whole {
            continue;
        }
        let answered = Request::from_json(line.trim_ascii_end())
            .map_err(|error| error.to_string())
            .and_then(|request| decider.answer(&request))
            .and_then(|response| serde_json::to_string(&response).map_err(|error| error.to_string()));
        let text = answered.unwrap_or_else(|error| {
            status = NO_REQUEST;
            refusal(&error).to_string()
        });
        let written = writeln!(output, "{text}").and_then(|()| output.flush());
        if let Err(error) = written {
            return if error.kind() == io::ErrorKind::BrokenPipe {
                Said {
                    status,
                    ..Said::default()
                }
            } else {
                Said::failed(FAILED, &format!("stdout: {error}"))
            };
        }
        if !whole && line.len() > REQUEST_MAX {
            // The rest of this line would be read as requests of its own.
            return Said::failed(
                NO_REQUEST,
                &format!("stdin: a line of more than {REQUEST_MAX} bytes; stopped there"),
            );
        }
    }
}
