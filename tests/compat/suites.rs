//! Suites that others wrote, test by test: CPython's, Go's, stress-ng's stressors, fio's engines, crates' and npm packages' own tests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use cavra_tests::*;

use crate::{DEADLINE, OPEN, number, scale, whole};

/// Each result under its name.
type Results = BTreeMap<String, String>;

/// As root some stressors change the machine itself.
pub fn ordinary() -> Vec<Case> {
    cases![stress_ng_ends_as_natively]
}

pub fn both() -> Vec<Case> {
    let mut cases = cases![cpython_ends_as_natively, fio_verifies_what_it_wrote];
    if whole() {
        cases.extend(cases![go_ends_as_natively]);
        cases.extend(CRATES.iter().map(|&row| {
            Case::new(format!("crate::{}", row.0), move |user| {
                crate_ends_as_natively(user, row)
            })
        }));
        cases.extend(NPM.iter().map(|&row| {
            Case::new(format!("npm::{}", row.0), move |user| {
                npm_package_ends_as_natively(user, row)
            })
        }));
    }
    cases
}

/// Runs `script` natively and in a session, and reads both; `setup` makes either stage ready.
fn run_both(
    user: User,
    setup: &dyn Fn(&Stage),
    script: &str,
    read: &dyn Fn(&Stage, &str) -> Results,
) -> Result<(Results, Results), Unmet> {
    let (outside, inside) = (Stage::new(user)?, Stage::new(user)?);
    setup(&outside);
    setup(&inside);
    let (tmp, tmp_inside) = (outside.short_tmp(), inside.short_tmp());
    let mut command = outside.command("sh")?;
    command.args(["-c", script]).env("TMPDIR", tmp.path());
    let native = Running::start(command, None).finish(DEADLINE);
    let session = inside
        .session()
        .pack(OPEN)
        .env("TMPDIR", tmp_inside.path())
        .deadline(DEADLINE);
    let outcome = session.sh(script)?;
    outcome.verifies();
    let results = (read(&outside, &native.stdout), read(&inside, outcome.stdout()));
    assert!(
        !results.0.is_empty() && !results.1.is_empty(),
        "nothing to compare; natively {native:?}, inside {} {}",
        outcome.stdout(),
        outcome.stderr()
    );
    Ok(results)
}

/// A copy made by a process of its own: a child that is forked here meanwhile would hold the program open for writing (ETXTBSY).
fn copied(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-r").arg(from).arg(to).status();
    assert!(status.unwrap().success(), "{} to {}", from.display(), to.display());
}

/// `name status` a line.
fn pairs(text: &str) -> Results {
    let pair = |line: &str| {
        line.split_once(' ')
            .map(|(name, status)| (name.to_owned(), status.to_owned()))
    };
    text.lines().filter_map(pair).collect()
}

/// Modules beside those of tests/tools/python.rs; the second list takes minutes. `CAVRA_MODULES` names others.
const MODULES: &str = "test_pathlib test_mmap test_pty test_select test_poll test_epoll test_selectors test_fileio test_file_eintr test_glob test_ioctl \
    test_wait4 test_fork1 test_threadsignals test_sqlite3 test_multiprocessing_main_handling";
const MORE_MODULES: &str = "test_tarfile test_multiprocessing_fork test_multiprocessing_forkserver test_multiprocessing_spawn test_ssl test_socketserver test_httpservers \
    test_concurrent_futures test_ftplib test_io test_threading test_mailbox test_zipfile test_dbm test_shelve test_logging test_eintr test_import test_popen \
    test_resource test_fileinput test_filecmp test_urllib2_localnet test_threadedtempfile test_venv test_getpass test_pwd test_posixpath test_site \
    test_asyncore test_asynchat test_atexit test_audit test_bufio test_bz2 test_cgi test_cmd_line test_cmd_line_script test_compileall \
    test_crypt test_ctypes test_curses test_docxmlrpc test_ensurepip test_faulthandler test_file test_fileutils test_genericpath test_gettext \
    test_grp test_gzip test_httplib test_imaplib test_importlib test_largefile test_linecache test_locale test_lzma test_mailcap test_mimetypes \
    test_modulefinder test_netrc test_nntplib test_openpty test_pipes test_pkg test_pkgutil test_platform test_plistlib test_poplib \
    test_py_compile test_pydoc test_readline test_robotparser test_runpy test_sax test_script_helper test_smtpd test_smtplib test_spwd test_stat \
    test_support test_sys test_sysconfig test_syslog test_telnetlib test_thread test_time test_timeout test_trace test_tracemalloc \
    test_unicode_file test_unicode_file_functions test_univnewlines test_urllib test_urllib2 test_uuid test_wait3 test_webbrowser test_wsgiref \
    test_xmlrpc test_zipapp test_zipimport test_zipimport_support";

fn cpython_ends_as_natively(user: User) -> Verdict {
    if user == User::Root && !whole() {
        return skip("as root it is a part of scripts/compat.sh");
    }
    let probe = Stage::new(user)?.native(["/usr/bin/python3", "-c", "import test.test_os"]);
    if !probe.status.success() {
        return skip("CPython's tests are not installed: run scripts/setup.sh");
    }
    let listed = || {
        if whole() {
            format!("{MODULES} {MORE_MODULES}")
        } else {
            MODULES.to_owned()
        }
    };
    let modules = std::env::var("CAVRA_MODULES").unwrap_or_else(|_| listed());
    // A session has no capabilities, root's neither: what they make of a test is no difference of the boundary's.
    let script = format!(
        "drop='setpriv --bounding-set=-all --inh-caps=-all --'; $drop true 2>/dev/null || drop=; \
         $drop /usr/bin/python3 -m test -j2 --timeout 300 --junit-xml results.xml {modules} 2>&1"
    );
    let read = |stage: &Stage, _: &str| {
        let report = stage.read("ws/results.xml").unwrap_or_default();
        let case = |case: &str| {
            let id = case.split("name=\"").nth(1)?.split('"').next()?.to_owned();
            let body = case.split("</testcase>").next()?;
            let how = ["failure", "error", "skipped"]
                .into_iter()
                .find(|kind| body.contains(&format!("<{kind}")));
            Some((id, how.unwrap_or("ok").to_owned()))
        };
        report.split("<testcase ").skip(1).filter_map(case).collect()
    };
    let (native, inside) = run_both(user, &|_| (), &script, &read)?;
    let mut comparison = Comparison::default();
    comparison.add_all(&Known::read(include_str!("differences/cpython.txt")), &native, &inside);
    comparison.ends(&format!("CPython as {}", user.name()), 500);
    Ok(())
}

/// Stressors of the classes filesystem, network, scheduler (processes), signals and pipes that an ordinary user can run beside others; the
/// first list is the test command's.
const STRESSORS: &str = "access chdir chmod dentry dir dup fcntl flock getdent link lockf mknod open rename symlink touch utime xattr \
    epoll sock sockfd sockpair fork vfork exec kill sigq signal";
const MORE_STRESSORS: &str = "chattr chown copy-file dirdeep dirmany dnotify eventfd fallocate fiemap file-ioctl filename fpunch fsize fstat hdd inode-flags \
    inotify io iomix lease locka lockofd procfs sync-file verity sockabuse sockdiag sockmany udp udp-flood netdev affinity clone close daemon exit-group \
    fifo futex mmapfork mutex nanosleep nice poll pthread session spawn switch vforkmany wait yield zombie sigabrt sigchld sigfd sigfpe sigio signest sigpending \
    sigpipe sigrt sigsegv sigsuspend sigtrap pipe pipeherd splice tee sendfile mmap memfd shm shm-sysv sem sem-sysv mq msg pidfd pty prctl rlimit timer itimer \
    env dynlib enosys sysbadaddr sysinval get set fault madvise mprotect readahead aio seek revio rawsock icmp-flood ping-sock sctp dccp tun";

fn stress_ng_ends_as_natively(user: User) -> Verdict {
    places::tool("stress-ng")?;
    let seconds = number("CAVRA_STRESS_SECONDS", scale(1, 30));
    let listed = || {
        if whole() {
            format!("{STRESSORS} {MORE_STRESSORS}")
        } else {
            STRESSORS.to_owned()
        }
    };
    let named = std::env::var("CAVRA_STRESSORS");
    let least = named.as_ref().map_or(20, |_| 1);
    let names = named.unwrap_or_else(|_| listed());
    // Statuses: 0 it ended well, 2 a stressor failed or found what is wrong, 3 it could not run here, 4 it is not for this machine. Behind it, what
    // failed first. Three at a time: what is compared is how each ended, and many of them sleep most of their time.
    let one = format!(
        "timeout -k 5 {} stress-ng --verify --oomable --temp-path . --timeout {seconds}s --$0 1 > log.$0 2>&1; \
         echo $0 $? $(sed -n \"/failed/{{s/^stress-ng: *[a-z]*: *[[0-9]*] *//p;q}}\" log.$0)",
        seconds * 4 + 60
    );
    let script = format!("printf '%s\\n' {names} | xargs -P 3 -n 1 sh -c '{one}'");
    let (mut native, mut inside) = run_both(user, &|_| (), &script, &|_, text| pairs(text))?;
    // Where both end alike, what failed is told of another folder and process.
    let status = |how: &String| how.split(' ').next().unwrap_or_default().to_owned();
    for (name, how) in &mut native {
        if let Some(other) = inside.get_mut(name).filter(|other| status(other) == status(how)) {
            (*how, *other) = (status(how), status(other));
        }
    }
    let mut comparison = Comparison::default();
    comparison.add_all(
        &Known::read(include_str!("differences/stress-ng.txt")),
        &native,
        &inside,
    );
    comparison.ends("stress-ng", least);
    Ok(())
}

fn fio_verifies_what_it_wrote(user: User) -> Verdict {
    places::tool("fio")?;
    let size = scale(1, 64);
    let engines = if whole() {
        "sync psync vsync pvsync pvsync2 mmap posixaio libaio splice"
    } else {
        "psync mmap libaio"
    };
    let script = format!(
        "for e in {engines}; do for rw in randwrite rw; do \
         fio --name=$e-$rw --ioengine=$e --rw=$rw --bs=4k --size={size}m --verify=crc32c --verify_fatal=1 --fallocate=none --fsync=64 --minimal > log.$e.$rw 2>&1; echo $e-$rw $?; done; done"
    );
    let (native, inside) = run_both(user, &|_| (), &script, &|_, text| pairs(text))?;
    let mut comparison = Comparison::default();
    comparison.add_all(
        &Known::read(include_str!("differences/stress-ng.txt")),
        &native,
        &inside,
    );
    comparison.ends(&format!("fio as {}", user.name()), 6);
    Ok(())
}

/// What is built once for a suite, below the target folder.
fn built(name: &str) -> PathBuf {
    let folder = places::target().join("compat").join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn command_in(folder: &Path, words: &[&str]) -> Result<String, Unmet> {
    let output = Command::new(words[0]).args(&words[1..]).current_dir(folder).output();
    match output {
        Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(output) => skip(format!("{words:?}: {}", String::from_utf8_lossy(&output.stderr))),
        Err(error) => skip(format!("{}: {error}", words[0])),
    }
}

/// `--- PASS: name (0.1s)`.
fn go_results(text: &str) -> Results {
    let line = |line: &str| {
        let (how, rest) = line.trim_start().strip_prefix("--- ")?.split_once(": ")?;
        Some((rest.split(' ').next()?.to_owned(), how.to_owned()))
    };
    text.lines().filter_map(line).collect()
}

fn go_ends_as_natively(user: User) -> Verdict {
    places::tool("go")?;
    let folder = built("go");
    let root = command_in(&folder, &["go", "env", "GOROOT"])?.trim().to_owned();
    let (known, mut comparison) = (Known::read(include_str!("differences/go.txt")), Comparison::default());
    for package in [
        "os",
        "os/exec",
        "os/signal",
        "syscall",
        "net",
        "path/filepath",
        "io/ioutil",
    ] {
        let name = format!("{}.test", package.replace('/', "-"));
        // Both users' rows build it, side by side.
        let program = folder.join(format!("{}-{name}", user.name()));
        command_in(
            &folder,
            &["go", "test", "-vet=off", "-c", "-o", program.to_str().unwrap(), package],
        )?;
        let setup = |stage: &Stage| {
            let copy = stage.at("bin").join(&name);
            copied(&program, &copy);
            stage.own(&copy);
        };
        let script = format!(
            "p=$PWD/../bin/{name}; export GOCACHE=$PWD/cache; cd {root}/src/{package} && $p -test.v -test.short -test.timeout 300s 2>&1"
        );
        let (native, inside) = run_both(user, &setup, &script, &|_, text| go_results(text))?;
        let named = |results: Results| {
            results
                .into_iter()
                .map(|(test, how)| (format!("{package} {test}"), how))
                .collect::<Results>()
        };
        comparison.add_all(&known, &named(native), &named(inside));
    }
    comparison.ends(&format!("Go as {}", user.name()), 300);
    Ok(())
}

/// Crates, and what cargo is told beside `test --no-run`.
const CRATES: &[(&str, &str, &[&str])] = &[
    ("walkdir", "2.5.0", &[]),
    ("tempfile", "3.20.0", &[]),
    ("ignore", "0.4.23", &[]),
    ("rustix", "1.0.7", &["--features", "all-apis"]),
    (
        "tokio",
        "1.45.1",
        &[
            "--features",
            "full,test-util",
            "--test",
            "fs*",
            "--test",
            "process_*",
            "--test",
            "tcp_*",
            "--test",
            "udp",
            "--test",
            "uds_*",
            "--test",
            "net_*",
            "--test",
            "signal_*",
            "--test",
            "io_async_fd",
            "--test",
            "io_driver*",
        ],
    ),
    (
        "hyper",
        "1.6.0",
        // Its larger tests are not part of what it publishes.
        &["--features", "full", "--lib"],
    ),
];

/// `test name ... ok`.
fn rust_results(text: &str) -> Results {
    let line = |line: &str| {
        let (name, how) = line.strip_prefix("test ")?.split_once(" ... ")?;
        Some((name.to_owned(), how.split([',', ' ']).next()?.to_owned()))
    };
    text.lines().filter_map(line).collect()
}

/// The test programs of a crate, built once; its sources come from the registry through `cargo vendor`.
fn test_programs(name: &str, version: &str, options: &[&str]) -> Result<(PathBuf, Vec<PathBuf>), Unmet> {
    // Both users' rows want it, side by side.
    static BUILDS: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _one = BUILDS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let folder = built("crates").join(name);
    let source = folder.join("vendor").join(name);
    std::fs::create_dir_all(folder.join("src")).unwrap();
    if !source.exists() {
        let manifest = format!(
            "[package]\nname = \"fetch\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[workspace]\n[dependencies]\n{name} = \"={version}\"\n"
        );
        std::fs::write(folder.join("Cargo.toml"), manifest).unwrap();
        std::fs::write(folder.join("src/lib.rs"), "").unwrap();
        command_in(&folder, &["cargo", "vendor", "--quiet", "vendor"])?;
        // What a workspace around it would say of it does not matter.
        let manifest = source.join("Cargo.toml");
        let text = std::fs::read_to_string(&manifest).unwrap();
        std::fs::write(&manifest, format!("{text}\n[workspace]\n")).unwrap();
    }
    let target = folder.join("target").display().to_string();
    let mut words = vec![
        "cargo",
        "test",
        "--no-run",
        "--message-format=json",
        "--quiet",
        "--target-dir",
        &target,
    ];
    words.extend(options);
    let text = command_in(&source, &words)?;
    let program = |line: &str| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let test = message["profile"]["test"].as_bool() == Some(true);
        test.then(|| message["executable"].as_str().map(PathBuf::from))
            .flatten()
    };
    Ok((source, text.lines().filter_map(program).collect()))
}

fn crate_ends_as_natively(user: User, (name, version, options): (&str, &str, &[&str])) -> Verdict {
    let known = Known::read(include_str!("differences/crates.txt"));
    let mut comparison = Comparison::default();
    let (source, programs) = test_programs(name, version, options)?;
    for program in programs {
        let file = program.file_name().unwrap().to_string_lossy().into_owned();
        let setup = |stage: &Stage| {
            copied(&source, &stage.at("ws/crate"));
            copied(&program, &stage.at("bin").join(&file));
            let account = stage.account();
            let owner = format!("{}:{}", account.uid, account.gid);
            let owned = Command::new("chown").args(["-R", &owner]).arg(stage.at("ws")).status();
            assert!(owned.unwrap().success());
        };
        let script = format!(
            "p=$PWD/../bin/{file}; cd crate && export CARGO_MANIFEST_DIR=$PWD && $p --test-threads=2 2>&1; echo test the-program ... $?"
        );
        let (native, inside) = run_both(user, &setup, &script, &|_, text| rust_results(text))?;
        let stem = file.rsplit_once('-').map_or(file.as_str(), |(stem, _)| stem);
        let named = |results: Results| {
            results
                .into_iter()
                .map(|(test, how)| (format!("{name} {stem} {test}"), how))
                .collect::<Results>()
        };
        comparison.add_all(&known, &named(native), &named(inside));
    }
    comparison.ends(&format!("{name} as {}", user.name()), 10);
    Ok(())
}

/// npm packages with native code and tests in them: name, version, how they are built, and their tests, which leave `results.json`.
const NPM: &[(&str, &str, &str, &str)] = &[(
    "bcrypt",
    "5.1.1",
    "node node_modules/.bin/node-pre-gyp rebuild --build-from-source --nodedir=/usr",
    "node node_modules/.bin/jest --ci --runInBand --testTimeout=120000 --json --outputFile=results.json",
)];

/// Jest's report.
fn jest_results(text: &str) -> Results {
    let report: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let list = |value: &serde_json::Value| value.as_array().cloned().unwrap_or_default();
    let files = list(&report["testResults"]);
    let tests = files.iter().flat_map(|file| list(&file["assertionResults"]));
    let text = |value: &serde_json::Value| value.as_str().unwrap_or("?").to_owned();
    tests
        .map(|test| (text(&test["fullName"]), text(&test["status"])))
        .collect()
}

fn npm_package_ends_as_natively(user: User, (name, version, build, tests): (&str, &str, &str, &str)) -> Verdict {
    ["npm", "gcc", "make"]
        .into_iter()
        .try_for_each(|program| places::tool(program).map(drop))?;
    if !Path::new("/usr/include/node/node_api.h").exists() {
        return skip("node's headers are not installed");
    }
    let source = built("npm").join(name);
    if !source.join("node_modules").exists() {
        drop(std::fs::remove_dir_all(&source));
        std::fs::create_dir_all(&source).unwrap();
        let package = format!("{name}@{version}");
        let packed = command_in(&source, &["npm", "pack", "--silent", &package])?;
        command_in(&source, &["tar", "-xzf", packed.trim(), "--strip-components=1"])?;
        let quiet = [
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            "--no-save",
            "--loglevel=error",
        ];
        command_in(&source, &[&["npm", "install"], &quiet[..]].concat())?;
    }
    let setup = |stage: &Stage| {
        let copied = Command::new("cp")
            .arg("-r")
            .arg(&source)
            .arg(stage.at("ws/package"))
            .status();
        assert!(copied.unwrap().success());
        let account = stage.account();
        let owner = format!("{}:{}", account.uid, account.gid);
        let owned = Command::new("chown").args(["-R", &owner]).arg(stage.at("ws")).status();
        assert!(owned.unwrap().success());
    };
    let script = format!(
        "cd package; ({build}) > build.log 2>&1; echo the-build $?; ({tests}) > tests.log 2>&1; echo the-tests $?"
    );
    let read = |stage: &Stage, said: &str| {
        let report = stage.read("ws/package/results.json").unwrap_or_default();
        pairs(said).into_iter().chain(jest_results(&report)).collect()
    };
    let (native, inside) = run_both(user, &setup, &script, &read)?;
    let mut comparison = Comparison::default();
    comparison.add_all(&Known::read(include_str!("differences/npm.txt")), &native, &inside);
    comparison.ends(&format!("{name} as {}", user.name()), 15);
    Ok(())
}
