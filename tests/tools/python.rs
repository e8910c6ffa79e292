//! CPython's own tests of what touches the system, natively and inside, test by test.

use std::collections::BTreeMap;

use cavra_tests::known::matches;
use cavra_tests::{Finished, Running, Stage, Unmet, User, Verdict, skip};
use std::time::Duration;

/// The modules.
const MODULES: &[&str] = &[
    "test_os",
    "test_posix",
    "test_subprocess",
    "test_socket",
    "test_tempfile",
    "test_shutil",
    "test_fcntl",
    "test_signal",
    "test_asyncio",
];

/// How long all of them may take, once.
const DEADLINE: Duration = Duration::from_secs(900);

/// The default pack, but for the network: what differs is then the boundary's doing, not a rule's. (It closes every port that
/// is not the session's own, and these tests bind 0.0.0.0 and connect to where nobody listens.) Datagrams are off until a rule says `udp:`.
const OPEN_NETWORK: &str =
    "metadata: {id: open-network, inherits: [cavra-workstation]}\nnetwork: {default: allow, allow: [\"udp:*\"]}\n";

/// Differences that are known, each with its reason; the file begins with its own description.
const KNOWN: &str = include_str!("python-differences.txt");

pub fn its_own_test_suite_ends_as_natively(user: User) -> Verdict {
    let world = Stage::new(user)?;
    let probe = world.native(["/usr/bin/python3", "-c", "import test.test_os"]);
    if !probe.status.success() {
        return skip("CPython's tests are not installed (Debian: libpython3.11-testsuite): run scripts/setup.sh");
    }
    let listed: Vec<(&str, &str)> = KNOWN
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('\t'))
        .collect();
    let (left_out, known): (Vec<_>, Vec<_>) = listed.into_iter().partition(|(pattern, _)| pattern.starts_with('!'));
    let mut arguments = vec!["-m", "test", "-j2", "--timeout", "600", "--junit-xml", "results.xml"];
    for (pattern, reason) in &left_out {
        println!("    left out of both runs: {}: {reason}", &pattern[1..]);
        arguments.extend(["-i", &pattern[1..]]);
    }
    arguments.extend(MODULES);

    // A session has no capabilities, root's neither: what they make of a test is no difference of the boundary's.
    let mut command = match user {
        User::Root => {
            let mut command = world.command("setpriv")?;
            command.args(["--bounding-set=-all", "--inh-caps=-all", "--", "/usr/bin/python3"]);
            command
        }
        User::Ordinary | User::Own => world.command("/usr/bin/python3")?,
    };
    // Below a longer name, whether a socket's name fits is a matter of the digits of a process number.
    let tmp = world.short_tmp();
    command.args(&arguments).env("TMPDIR", tmp.path());
    let native = results(&world, &Running::start(command, None).finish(DEADLINE))?;

    let world = Stage::new(user)?;
    let tmp = world.short_tmp();
    let session = world
        .session()
        .pack(OPEN_NETWORK)
        .env("TMPDIR", tmp.path())
        .deadline(DEADLINE);
    let outcome = session.run(["/usr/bin/python3"].into_iter().chain(arguments.iter().copied()))?;
    let inside = results(&world, &outcome.finished)?;
    outcome.verifies();

    let listed = |id: &str| known.iter().find(|(pattern, _)| matches(pattern, id));
    let mut unexpected = Vec::new();
    let mut met = std::collections::BTreeSet::new();
    for (id, was) in &native {
        let is = inside.get(id).map_or("missing", String::as_str);
        match listed(id) {
            _ if is == was => {}
            Some((pattern, _)) => drop(met.insert(*pattern)),
            None => unexpected.push(format!("{id}: {was} natively, {is} inside")),
        }
    }
    println!("    {} tests of CPython compared as {}", native.len(), user.name());
    for (pattern, reason) in &known {
        println!("    known difference: {pattern}: {reason}");
        if !met.contains(pattern) {
            unexpected.push(format!(
                "{pattern} is listed as different, and is not: take it off the list"
            ));
        }
    }
    assert!(native.len() > 1000, "only {} tests ran natively", native.len());
    let tail: String = outcome
        .stdout()
        .lines()
        .rev()
        .take(60)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .collect::<Vec<_>>()
        .join("\n");
    assert!(
        unexpected.is_empty(),
        "{} differences:\n{}\n\nend of the output inside:\n{tail}",
        unexpected.len(),
        unexpected.join("\n")
    );
    Ok(())
}

/// Each test's id and how it ended, from the report that CPython's runner writes.
fn results(world: &Stage, end: &Finished) -> Result<BTreeMap<String, String>, Unmet> {
    let Some(report) = world.read("ws/results.xml") else {
        panic!("no report was written: {:?} {} {}", end.status, end.stdout, end.stderr);
    };
    let mut results = BTreeMap::new();
    for case in report.split("<testcase ").skip(1) {
        let id = case
            .split("name=\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next())
            .unwrap_or_default();
        let body = case.split("</testcase>").next().unwrap_or_default();
        let how = ["failure", "error", "skipped"]
            .into_iter()
            .find(|kind| body.contains(&format!("<{kind}")));
        results.insert(id.to_owned(), how.unwrap_or("ok").to_owned());
    }
    Ok(results)
}
