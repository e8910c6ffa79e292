//! Real tools against servers of the test's own: each reaches the name that a rule allows, and the same server not under another. No proxy
//! variable is set.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cavra_tests::messages_api::{MessagesApi, Script};
use cavra_tests::{Case, Stage, Unmet, User, Verdict, places, skip, until};

use crate::dns::Data::A;
use crate::dns::{Data, Dns};

const ZONE: &[(&str, Data)] = &[("files.test", A("127.0.0.1")), ("other.test", A("127.0.0.1"))];

/// Files over TLS; says which were asked for under which name. Prints its port.
const FILES: &str = r#"
import http.server, ssl, sys, threading
class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def __init__(self, *a): super().__init__(*a, directory="www")
    def log_message(self, *a): open("asked", "a").write("%s %s\n" % (self.headers.get("Host", "?").split(":")[0], self.path))
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); c.load_cert_chain("cert.pem", "cert.key")
server.socket = c.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print(server.server_port, flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
"#;

const JAVA: &str = r#"import java.net.http.*; import java.net.URI;
public class Get { public static void main(String[] a) throws Exception {
    System.out.println(HttpClient.newHttpClient().send(HttpRequest.newBuilder(URI.create(a[0])).build(), HttpResponse.BodyHandlers.ofString()).body().trim()); } }
"#;

struct Tool {
    name: &'static str,
    needs: &'static [&'static str],
    /// Run before, outside.
    prepare: &'static str,
    /// Run inside. `HOST` and `PORT` are the server's.
    line: &'static str,
    wanted: &'static str,
}

const TOOLS: &[Tool] = &[
    Tool {
        name: "git over https",
        needs: &["git"],
        prepare: "git init -q -b main g; cd g; echo tide > tide; git add .; git -c user.name=t -c user.email=t@t commit -qm x; cd ..; \
                  git clone -q --bare g www/g.git; git -C www/g.git update-server-info",
        line: "git -c http.sslCAInfo=cert.pem clone -q https://HOST:PORT/g.git out && cat out/tide",
        wanted: "tide\n",
    },
    Tool {
        name: "pip",
        needs: &["python3"],
        prepare: "mkdir -p www/simple/tide; python3 -c \"
import zipfile
with zipfile.ZipFile('www/simple/tide/tide-1.0-py3-none-any.whl', 'w') as wheel:
    wheel.writestr('tide/__init__.py', '')
    wheel.writestr('tide-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: tide\\nVersion: 1.0\\n')
    wheel.writestr('tide-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    wheel.writestr('tide-1.0.dist-info/RECORD', '')
\"; echo '<a href=\"tide-1.0-py3-none-any.whl\">tide-1.0-py3-none-any.whl</a>' > www/simple/tide/index.html",
        line: "/usr/bin/python3 -m pip download -q --no-deps --retries 0 --disable-pip-version-check --cert cert.pem -d out \
               -i https://HOST:PORT/simple/ tide && ls out",
        wanted: "tide-1.0-py3-none-any.whl\n",
    },
    Tool {
        name: "npm",
        needs: &["npm"],
        prepare: "mkdir -p www/npm package; echo '{\"name\":\"tide\",\"version\":\"1.0.0\"}' > package/package.json; tar czf www/tide.tgz package; \
                  echo '{\"name\":\"tide\",\"dist-tags\":{\"latest\":\"1.0.0\"},\"versions\":{\"1.0.0\":{\"name\":\"tide\",\"version\":\"1.0.0\",\
                  \"dist\":{\"tarball\":\"https://HOST:PORT/tide.tgz\"}}}}' > www/npm/tide; echo '{}' > package.json",
        line: "npm install --no-audit --no-fund --silent --fetch-retries 0 --cafile cert.pem --registry https://HOST:PORT/npm/ tide && \
               ls node_modules",
        wanted: "tide\n",
    },
    Tool {
        name: "cargo",
        // The toolchain is looked for below.
        needs: &[],
        prepare: "mkdir -p www/index/ti/de tide/src app/src app/.cargo; touch tide/src/lib.rs app/src/lib.rs; \
                  printf '[package]\\nname = \"tide\"\\nversion = \"1.0.0\"\\n' > tide/Cargo.toml; mv tide tide-1.0.0; mkdir -p www/dl/tide/1.0.0; tar czf www/dl/tide/1.0.0/download tide-1.0.0; \
                  sum=$(sha256sum www/dl/tide/1.0.0/download | cut -d' ' -f1); \
                  echo '{\"name\":\"tide\",\"vers\":\"1.0.0\",\"deps\":[],\"cksum\":\"'$sum'\",\"features\":{},\"yanked\":false}' > www/index/ti/de/tide; \
                  echo '{\"dl\":\"https://HOST:PORT/dl\"}' > www/index/config.json; \
                  printf '[package]\\nname = \"app\"\\nversion = \"1.0.0\"\\nedition = \"2021\"\\n[dependencies]\\ntide = \"1\"\\n[workspace]\\n' > app/Cargo.toml; \
                  printf '[source.crates-io]\\nreplace-with = \"own\"\\n[source.own]\\nregistry = \"sparse+https://HOST:PORT/index/\"\\n[http]\\ncainfo = \"../cert.pem\"\\n[net]\\nretry = 0\\n' > app/.cargo/config.toml",
        line: "cd app && CARGO_HOME=$PWD/../ch cargo fetch -q && ls ../ch/registry/src/*",
        wanted: "tide-1.0.0\n",
    },
    Tool {
        name: "Java's HttpClient",
        needs: &["java", "keytool"],
        prepare: "keytool -importcert -noprompt -file cert.pem -keystore trust.jks -storepass changeit 2>/dev/null; echo tide > www/tide",
        line: "java -XX:TieredStopAtLevel=1 -Djavax.net.ssl.trustStore=trust.jks -Djavax.net.ssl.trustStorePassword=changeit Get.java https://HOST:PORT/tide",
        wanted: "tide\n",
    },
    Tool {
        name: "curl",
        needs: &["curl"],
        prepare: "echo tide > www/tide",
        line: "curl -sS --cacert cert.pem https://HOST:PORT/tide",
        wanted: "tide\n",
    },
];

/// A process that ends with its standard input.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

fn files(stage: &Stage) -> Result<(Server, u16), Unmet> {
    use std::io::BufRead;
    places::tool("python3")?;
    let made = Command::new(places::tool("openssl")?)
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "cert.key", "-out", "cert.pem", "-days", "2",
        ])
        .args([
            "-subj",
            "/CN=files.test",
            "-addext",
            "subjectAltName=DNS:files.test,DNS:other.test",
        ])
        .current_dir(stage.workspace())
        .output()
        .unwrap();
    assert!(made.status.success());
    stage.own(&stage.at("ws/cert.pem"));
    stage.folder("ws/www");
    let mut child = Command::new("python3")
        .args(["-c", FILES])
        .current_dir(stage.workspace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // Clients that are cut off make it complain.
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufReader::new(child.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    Ok((Server(child), line.trim().parse().unwrap()))
}

fn pack(dns: &Dns, port: u16, verify: &str) -> String {
    format!(
        "metadata: {{id: tools}}
filesystem: {{default_read: allow, default_write: allow}}
commands: {{default: allow}}
network:
  default: block
  resolver: {}
  allow: [{{to: \"files.test:{port}\", verify: {verify}, addresses: 127.0.0.0/8}}]
",
        dns.address
    )
}

/// PATH with the real cargo in front: rustup's stand-ins look for their home.
fn path(user: User) -> Result<String, Unmet> {
    let output = Command::new("rustc").args(["--print", "sysroot"]).output();
    let Some(output) = output.ok().filter(|output| output.status.success()) else {
        return skip("rustc is not in PATH");
    };
    let bin = Path::new(String::from_utf8_lossy(&output.stdout).trim()).join("bin");
    if !user.reaches(&bin.join("cargo")) {
        return skip("this user cannot reach the Rust toolchain");
    }
    Ok(format!("{}:/usr/local/bin:/usr/bin:/bin", bin.display()))
}

/// One case a tool.
pub fn tools() -> Vec<Case> {
    let case = |tool: &'static Tool| {
        Case::new(format!("by name over TLS: {}", tool.name), move |user| {
            reaches(user, tool)
        })
    };
    TOOLS.iter().map(case).collect()
}

fn reaches(user: User, tool: &Tool) -> Verdict {
    for needed in tool.needs {
        places::tool(needed)?;
    }
    for (host, allowed) in [("files.test", true), ("other.test", false)] {
        let stage = Stage::new(user)?;
        let dns = Dns::serve(ZONE);
        let (_server, port) = files(&stage)?;
        let text = |line: &str| line.replace("HOST", host).replace("PORT", &port.to_string());
        stage.write("ws/Get.java", JAVA);
        stage.native(["sh", "-e", "-c", &text(tool.prepare)]).success();
        let mut session = stage
            .session()
            .pack(&pack(&dns, port, "tls"))
            .deadline(Duration::from_secs(240));
        if tool.name == "cargo" {
            session = session.env("PATH", path(user)?);
        }
        let outcome = session.sh(&text(tool.line))?;
        let asked = stage.read("ws/asked").unwrap_or_default();
        if allowed {
            assert_eq!(
                outcome.finished.stdout, tool.wanted,
                "{}\n{asked}",
                outcome.finished.stderr
            );
            assert!(asked.contains("files.test /"), "{asked}");
            let ended = outcome
                .record("network_connect")
                .about(&format!("files.test:{port}"))
                .rule("boundary.connection.end");
            assert!(ended.count() >= 1);
        } else {
            assert_ne!(outcome.code(), Some(0), "{}", outcome.finished.stdout);
            assert_eq!((asked.as_str(), dns.count("other.test")), ("", 0));
        }
    }
    Ok(())
}

/// git over ssh, to a server on a port of its own: the name can not be proved on the wire, and the connection goes there directly.
pub fn git_over_ssh_reaches_what_is_allowed_by_name(user: User) -> Verdict {
    places::tool("git")?;
    places::tool("ssh-keygen")?;
    let sshd = PathBuf::from("/usr/sbin/sshd");
    if !sshd.exists() {
        return skip("sshd is not installed (Debian: openssh-server): run scripts/setup.sh");
    }
    let (stage, dns) = (Stage::new(user)?, Dns::serve(ZONE));
    let prepare = "ssh-keygen -q -t ed25519 -N '' -f host; ssh-keygen -q -t ed25519 -N '' -f user; cp user.pub keys; chmod 600 keys; \
                   git init -q -b main g; cd g; echo tide > tide; git add .; git -c user.name=t -c user.email=t@t commit -qm x";
    stage.native(["sh", "-e", "-c", prepare]).success();
    let port = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().port()
    };
    let ws = stage.workspace().display().to_string();
    stage.write(
        "ws/sshd.conf",
        format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {ws}/host\nAuthorizedKeysFile {ws}/keys\nStrictModes no\nUsePAM no\nPidFile none\n\
             PasswordAuthentication no\nPermitRootLogin yes\n"
        ),
    );
    // The folder that it wants as root.
    drop(std::fs::create_dir_all("/run/sshd"));
    let mut command = stage.command(&sshd)?;
    command.args(["-D", "-e", "-f"]).arg(stage.at("ws/sshd.conf"));
    command.stdin(Stdio::null()).stderr(Stdio::null()).stdout(Stdio::null());
    let mut server = command.spawn().unwrap();
    until("sshd", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    let account = &stage.account().name;
    let line = |host: &str| {
        format!(
            "export GIT_SSH_COMMAND=\"ssh -F none -p {port} -i {ws}/user -o IdentitiesOnly=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR\"; \
             git clone -q ssh://{account}@{host}{ws}/g out-{host} && cat out-{host}/tide"
        )
    };
    let native = stage.native(["sh", "-c", &line("127.0.0.1")]);
    let result = (|| {
        if native.stdout != "tide\n" {
            return skip(format!(
                "this user can not log in over ssh here: {}",
                native.stderr.trim()
            ));
        }
        let outcome = stage
            .session()
            .pack(&pack(&dns, port, "none"))
            .sh(&line("files.test"))?;
        assert_eq!(outcome.finished.stdout, "tide\n", "{}", outcome.finished.stderr);
        // What went over it is known all the same.
        let ended = outcome
            .record("network_connect")
            .target(&format!("files.test:{port}"))
            .rule("boundary.direct.end");
        let reason = ended.first().unwrap()["reason"].as_str().unwrap().to_owned();
        let sent: u64 = reason.split(' ').next().unwrap().parse().unwrap();
        assert!(sent > 1000 && reason.contains(" received"), "{reason}");
        let outcome = stage
            .session()
            .pack(&pack(&dns, port, "none"))
            .sh(&line("other.test"))?;
        assert_ne!(outcome.code(), Some(0));
        assert!(!stage.has("ws/out-other.test/tide") && dns.count("other.test") == 0);
        Ok(())
    })();
    server.kill().unwrap();
    server.wait().unwrap();
    result
}

/// Claude Code's program is Bun: it finds its API by name.
pub fn claude_code_reaches_its_api_by_name(user: User) -> Verdict {
    let claude = places::claude(user)?;
    for (host, allowed) in [("files.test", true), ("other.test", false)] {
        let (stage, dns) = (Stage::new(user)?, Dns::serve(ZONE));
        let api = MessagesApi::serve(Script::new("the tide is high"));
        let port: u16 = api.url().rsplit(':').next().unwrap().parse().unwrap();
        let mut session = stage
            .session()
            .pack(&pack(&dns, port, "http"))
            .deadline(Duration::from_secs(240));
        for name in [
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
            "DISABLE_TELEMETRY",
            "DISABLE_ERROR_REPORTING",
            "DISABLE_AUTOUPDATER",
            "IS_SANDBOX",
        ] {
            session = session.env(name, "1");
        }
        session = session
            .env("ANTHROPIC_BASE_URL", format!("http://{host}:{port}"))
            .env("ANTHROPIC_API_KEY", "test")
            .env("CLAUDE_CODE_MAX_RETRIES", "0")
            .option("--env")
            .option("ANTHROPIC_API_KEY");
        let outcome = session.run([claude.as_os_str(), "-p".as_ref(), "hello".as_ref()])?;
        if allowed {
            assert!(
                outcome.stdout().contains("the tide is high"),
                "{} {}",
                outcome.stdout(),
                outcome.stderr()
            );
            outcome
                .record("network_connect")
                .about(&format!("files.test:{port}"))
                .rule("boundary.connection.end");
        } else {
            assert!(!outcome.stdout().contains("the tide is high"));
            assert_eq!((api.requests().len(), dns.count("other.test")), (0, 0));
        }
    }
    Ok(())
}
