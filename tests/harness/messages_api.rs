//! A Messages API on loopback that plays a script: it answers an agent's `POST /v1/messages` with the next tool calls and
//! keeps what it was sent.
//!
//! Which step is next is read from the conversation itself (how many of the script's calls it already holds), so that
//! retries and requests of side conversations (titles, summaries, counting tokens) do not disturb it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

/// Bytes of a request that are read at most; Claude Code's are some 100 KiB.
const MAX_BODY: usize = 64 << 20;

/// One tool call of the script.
#[derive(Clone, Debug)]
pub struct Call {
    /// A name for assertions; unique in the script.
    pub label: String,
    /// The tool, as Claude Code names it.
    pub tool: &'static str,
    /// Its input.
    pub input: Value,
}

/// What the agent sent back for a call.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its text.
    pub text: String,
    /// Whether the agent called it an error.
    pub is_error: bool,
}

/// What the API says: the calls in order, each in a turn of its own, then a closing text.
#[derive(Clone, Debug, Default)]
pub struct Script {
    calls: Vec<Call>,
    closing: String,
}

/// The server; it ends with its value.
pub struct MessagesApi {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    script: Script,
    ends: AtomicBool,
    requests: Mutex<Vec<(String, Value)>>,
    answers: Mutex<BTreeMap<String, Answer>>,
}

/// The environment that points Claude Code to `api`.
#[must_use]
pub fn variables(api: &MessagesApi) -> Vec<(&'static str, String)> {
    let mut variables = vec![("ANTHROPIC_BASE_URL", api.url()), ("ANTHROPIC_API_KEY", "test".into())];
    let switches = [
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
        "DISABLE_TELEMETRY",
        "DISABLE_ERROR_REPORTING",
        "DISABLE_AUTOUPDATER",
        "IS_SANDBOX", // without it the agent, as root, refuses its own --dangerously-skip-permissions
    ];
    variables.extend(switches.map(|name| (name, "1".to_owned())));
    variables
}

impl Script {
    /// Ends with `closing` once all calls are answered.
    #[must_use]
    pub fn new(closing: &str) -> Self {
        Self {
            calls: Vec::new(),
            closing: closing.to_owned(),
        }
    }

    /// A shell command.
    #[must_use]
    pub fn bash(self, label: &str, command: &str) -> Self {
        self.call(
            label,
            "Bash",
            json!({"command": command, "description": label, "timeout": 60_000}),
        )
    }

    /// Reading a file with the agent's own tool.
    #[must_use]
    pub fn read(self, label: &str, file: &std::path::Path) -> Self {
        self.call(label, "Read", json!({"file_path": file}))
    }

    /// Writing a file with the agent's own tool.
    #[must_use]
    pub fn write(self, label: &str, file: &std::path::Path, content: &str) -> Self {
        self.call(label, "Write", json!({"file_path": file, "content": content}))
    }

    /// Any other call.
    #[must_use]
    pub fn call(mut self, label: &str, tool: &'static str, input: Value) -> Self {
        assert!(
            self.calls.iter().all(|call| call.label != label),
            "two calls are labelled {label:?}"
        );
        self.calls.push(Call {
            label: label.to_owned(),
            tool,
            input,
        });
        self
    }
}

impl MessagesApi {
    /// Serves `script` on a free port of 127.0.0.1.
    #[must_use]
    pub fn serve(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            script,
            ends: AtomicBool::new(false),
            requests: Mutex::default(),
            answers: Mutex::default(),
        });
        let served = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if served.ends.load(Ordering::SeqCst) {
                    break;
                }
                let shared = served.clone();
                // An agent that hangs up in mid-answer is none of the test's business.
                std::thread::spawn(move || drop(converse(&stream, &shared)));
            }
        });
        Self { port, shared }
    }

    /// What `ANTHROPIC_BASE_URL` is set to.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// All requests so far: method and path, body.
    #[must_use]
    pub fn requests(&self) -> Vec<(String, Value)> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// What the agent answered to the call labelled so.
    #[must_use]
    pub fn answer(&self, label: &str) -> Option<Answer> {
        self.shared.answers.lock().unwrap().get(label).cloned()
    }

    /// All answers, one line each, for messages.
    #[must_use]
    pub fn told(&self) -> String {
        let answers = self.shared.answers.lock().unwrap();
        answers
            .iter()
            .map(|(label, answer)| format!("  {label}: {:?} {:?}\n", answer.is_error, answer.text))
            .collect()
    }
}

impl Drop for MessagesApi {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn converse(stream: &TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(120)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    while let Some((line, body)) = request(&mut reader)? {
        shared.requests.lock().unwrap().push((line.clone(), body.clone()));
        let path = line.split([' ', '?']).nth(1).unwrap_or_default();
        let mut out = stream;
        match (line.split(' ').next().unwrap_or_default(), path) {
            ("POST", "/v1/messages") => message(&mut out, shared, &body)?,
            ("POST", "/v1/messages/count_tokens") => reply(&mut out, "200 OK", &json!({"input_tokens": 100}))?,
            ("GET", "/v1/models") => reply(&mut out, "200 OK", &json!({"data": [], "has_more": false}))?,
            ("HEAD" | "GET", "/") => reply(&mut out, "200 OK", &Value::Null)?,
            _ => {
                let error = json!({"type": "error", "error": {"type": "not_found_error", "message": path}});
                reply(&mut out, "404 Not Found", &error)?;
            }
        }
    }
    Ok(())
}

fn request(reader: &mut impl BufRead) -> std::io::Result<Option<(String, Value)>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let (mut length, mut chunked) = (0, false);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let header = header.trim().to_ascii_lowercase();
        match header.split_once(':') {
            Some(("content-length", value)) => length = value.trim().parse().unwrap_or(0),
            Some(("transfer-encoding", value)) => chunked = value.contains("chunked"),
            Some(_) => {}
            None => break,
        }
    }
    let mut body = Vec::new();
    if chunked {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size)?;
            let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
            reader.take(size as u64 + 2).read_to_end(&mut body)?;
            body.truncate(body.len() - 2);
            if size == 0 || body.len() > MAX_BODY {
                break;
            }
        }
    } else {
        body.resize(std::cmp::min(length, MAX_BODY), 0);
        reader.read_exact(&mut body)?;
    }
    Ok(Some((
        line.trim().to_owned(),
        serde_json::from_slice(&body).unwrap_or(Value::Null),
    )))
}

/// The blocks of the next assistant turn.
fn message(out: &mut impl Write, shared: &Shared, body: &Value) -> std::io::Result<()> {
    let blocks = turn(shared, body);
    let calls = blocks.iter().any(|block| block["type"] == "tool_use");
    let stop = if calls { "tool_use" } else { "end_turn" };
    let head = |content: Value, stop: Value| {
        json!({"id": "msg_scripted", "type": "message", "role": "assistant", "model": body["model"], "content": content,
               "stop_reason": stop, "stop_sequence": null, "usage": {"input_tokens": 100, "output_tokens": 10}})
    };
    if body["stream"] != true {
        return reply(out, "200 OK", &head(json!(blocks), json!(stop)));
    }
    out.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")?;
    event(
        out,
        &json!({"type": "message_start", "message": head(json!([]), Value::Null)}),
    )?;
    for (index, block) in blocks.iter().enumerate() {
        let (start, delta) = if block["type"] == "tool_use" {
            let mut start = block.clone();
            start["input"] = json!({});
            (
                start,
                json!({"type": "input_json_delta", "partial_json": block["input"].to_string()}),
            )
        } else {
            (
                json!({"type": "text", "text": ""}),
                json!({"type": "text_delta", "text": block["text"]}),
            )
        };
        event(
            out,
            &json!({"type": "content_block_start", "index": index, "content_block": start}),
        )?;
        event(
            out,
            &json!({"type": "content_block_delta", "index": index, "delta": delta}),
        )?;
        event(out, &json!({"type": "content_block_stop", "index": index}))?;
    }
    let delta = json!({"stop_reason": stop, "stop_sequence": null});
    event(
        out,
        &json!({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 10}}),
    )?;
    event(out, &json!({"type": "message_stop"}))?;
    out.write_all(b"0\r\n\r\n")
}

fn turn(shared: &Shared, body: &Value) -> Vec<Value> {
    let text = |text: &str| vec![json!({"type": "text", "text": text})];
    let tools: Vec<&str> = body["tools"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|tool| tool["name"].as_str())
        .collect();
    if !tools.contains(&"Bash") {
        return text("fine"); // a side conversation: a title, a summary
    }
    let blocks = || {
        let messages = body["messages"].as_array().into_iter().flatten();
        messages.flat_map(|message| message["content"].as_array().into_iter().flatten())
    };
    let label = |id: &str| {
        id.strip_prefix("toolu_")
            .and_then(|number| shared.script.calls.get(number.parse::<usize>().ok()?))
    };
    for result in blocks().filter(|block| block["type"] == "tool_result") {
        if let Some(call) = result["tool_use_id"].as_str().and_then(label) {
            let answer = Answer {
                text: plain(&result["content"]),
                is_error: result["is_error"] == true,
            };
            shared.answers.lock().unwrap().insert(call.label.clone(), answer);
        }
    }
    let next = blocks().filter(|block| block["type"] == "tool_use").count();
    match shared.script.calls.get(next) {
        Some(call) => {
            vec![json!({"type": "tool_use", "id": format!("toolu_{next}"), "name": call.tool, "input": call.input})]
        }
        None => text(&shared.script.closing),
    }
}

fn plain(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => blocks.iter().filter_map(|block| block["text"].as_str()).collect(),
        _ => String::new(),
    }
}

fn event(out: &mut impl Write, data: &Value) -> std::io::Result<()> {
    let text = format!("event: {}\ndata: {data}\n\n", data["type"].as_str().unwrap_or_default());
    write!(out, "{:x}\r\n{text}\r\n", text.len())
}

fn reply(out: &mut impl Write, status: &str, body: &Value) -> std::io::Result<()> {
    let text = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        text.len()
    );
    out.write_all(head.as_bytes())?;
    out.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Posts a conversation in which `done` calls are answered; gives the reply.
    fn post(api: &MessagesApi, done: usize, stream: bool) -> String {
        let mut messages = vec![json!({"role": "user", "content": [{"type": "text", "text": "go"}]})];
        for index in 0..done {
            let id = format!("toolu_{index}");
            messages.push(
                json!({"role": "assistant", "content": [{"type": "tool_use", "id": id, "name": "Bash", "input": {}}]}),
            );
            messages.push(
                json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": id, "content": "seen"}]}),
            );
        }
        let body =
            json!({"model": "m", "stream": stream, "tools": [{"name": "Bash"}], "messages": messages}).to_string();
        let mut connection = TcpStream::connect(("127.0.0.1", api.port)).unwrap();
        write!(
            connection,
            "POST /v1/messages?beta=true HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        connection.shutdown(std::net::Shutdown::Write).unwrap();
        let mut reply = String::new();
        connection.read_to_string(&mut reply).unwrap();
        reply
    }

    #[test]
    fn the_conversation_decides_which_step_is_next() {
        let api = MessagesApi::serve(Script::new("closing words").bash("one", "echo 1").bash("two", "echo 2"));
        assert!(post(&api, 0, false).contains("echo 1"));
        assert!(post(&api, 0, false).contains("echo 1"), "a retry gets the same answer");
        assert!(post(&api, 1, true).contains("echo 2"));
        assert!(post(&api, 2, true).contains("closing words"));
        assert_eq!(api.answer("two").unwrap().text, "seen");
        assert_eq!(api.requests().len(), 4);
    }

    #[test]
    fn a_stream_has_the_events_of_the_real_one() {
        let api = MessagesApi::serve(Script::new("fine").bash("one", "echo 1"));
        let reply = post(&api, 0, true);
        let events: Vec<&str> = reply.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
        let block = ["content_block_start", "content_block_delta", "content_block_stop"];
        assert_eq!(
            events,
            [&["message_start"], &block[..], &["message_delta", "message_stop"]].concat()
        );
    }
}
