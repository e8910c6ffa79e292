//! git, make and cargo.

use std::path::{Path, PathBuf};
use std::process::Command;

use cavra_tests::{Running, Stage, Unmet, User, Verdict, places, skip, wait};

use crate::{Job, same};

/// The variable that asks for the long build of this workspace.
const WORKSPACE_BUILD: &str = "CAVRA_TEST_WORKSPACE_BUILD";

pub fn git_from_clone_to_worktree(user: User) -> Verdict {
    let setup = |world: &Stage| {
        let script = "git init -q --bare ../origin.git; git clone -q ../origin.git ../seed 2>/dev/null; cd ../seed; \
                      for i in 1 2 3; do echo $i > f$i; git add .; git commit -q -m c$i; done; git push -q origin main";
        let dated = format!(
            "export GIT_AUTHOR_DATE='2026-01-01T00:00:00Z' GIT_COMMITTER_DATE='2026-01-01T00:00:00Z'; {script}"
        );
        world.native(["sh", "-e", "-c", &dated]).success();
    };
    let script = "
        export GIT_AUTHOR_DATE='2026-01-02T00:00:00Z' GIT_COMMITTER_DATE='2026-01-02T00:00:00Z'
        git clone -q ../origin.git r
        cd r
        git checkout -q -b topic HEAD~1
        echo topic > topic; git add topic; git commit -q -m topic
        git mv f1 renamed; git commit -q -m rename
        git rebase -q main
        echo dirty >> f2; git stash -q; git stash pop -q; git checkout -q f2
        git checkout -q main; git merge -q --no-ff -m merge topic
        git branch -m topic done; git tag -a -m tag v1
        git worktree add -q ../wt done
        (cd ../wt && echo w > w && git add w && git commit -q -m 'from the worktree')
        git worktree remove ../wt
        git config --get remote.origin.url
        git fetch -q origin
        git gc -q
        git fsck --no-progress
    ";
    let result = "cd r; git log --all --format='%H %s' | sort; git status --porcelain; ls; git worktree list --porcelain | wc -l";
    same(
        user,
        &Job {
            setup: &setup,
            script,
            result,
            path: None,
        },
    )
}

pub fn make_in_parallel(user: User) -> Verdict {
    places::tool("make")?;
    places::tool("gcc")?;
    let setup = |world: &Stage| {
        let mut main = String::from("#include <stdio.h>\n");
        let names: Vec<String> = (0..12).map(|n| format!("part{n}")).collect();
        for (number, name) in names.iter().enumerate() {
            world.write(
                format!("ws/{name}.c"),
                format!("int {name}(void) {{ return {number}; }}\n"),
            );
            main.push_str(&format!("int {name}(void);\n"));
        }
        let sum: Vec<String> = names.iter().map(|name| format!("{name}()")).collect();
        main.push_str(&format!(
            "int main(void) {{ printf(\"%d\\n\", {}); return 0; }}\n",
            sum.join(" + ")
        ));
        world.write("ws/main.c", main);
        world.write(
            "ws/Makefile",
            "parts := $(patsubst %.c,%.o,$(wildcard *.c))\nprogram: $(parts)\n\t$(CC) -o $@ $^\n%.o: %.c\n\t$(CC) -O1 -c -o $@ $<\nclean:\n\trm -f *.o program\n",
        );
    };
    same(
        user,
        &Job {
            setup: &setup,
            script: "make -j2; make clean; make -j2; make -q",
            result: "./program; ls",
            path: None,
        },
    )
}

/// The folder of the real cargo and rustc (no rustup shims: those look for their home), if `user` reaches them.
fn toolchain(user: User) -> Result<PathBuf, Unmet> {
    let output = Command::new("rustc").args(["--print", "sysroot"]).output();
    let Some(sysroot) = output.ok().filter(|output| output.status.success()) else {
        return skip("rustc is not in PATH");
    };
    let bin = Path::new(String::from_utf8_lossy(&sysroot.stdout).trim()).join("bin");
    if user.reaches(&bin.join("cargo")) {
        Ok(bin)
    } else {
        skip("this user cannot reach the Rust toolchain")
    }
}

pub fn cargo_builds_and_tests_a_crate(user: User) -> Verdict {
    let bin = toolchain(user)?;
    let setup = |world: &Stage| {
        world.write(
            "ws/Cargo.toml",
            "[package]\nname = \"harbour\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[workspace]\n\n[profile.dev]\ndebug = 0\n",
        );
        world.write(
            "ws/build.rs",
            "fn main() { println!(\"cargo:rustc-env=TIDE=high\"); }\n",
        );
        world.write(
            "ws/src/main.rs",
            "fn main() { println!(\"{} {}\", harbour::twice(21), env!(\"TIDE\")); }\n",
        );
        world.write(
            "ws/src/lib.rs",
            "//! Twice.\n\n/// ```\n/// assert_eq!(harbour::twice(2), 4);\n/// ```\npub fn twice(n: u32) -> u32 {\n    2 * n\n}\n\n#[test]\nfn twice_is_twice() {\n    assert_eq!(twice(3), 6);\n    std::fs::write(\"tested\", \"yes\").unwrap();\n}\n",
        );
    };
    let script = "cargo build --offline; cargo test --offline; cargo run --offline -q > out; cargo clean";
    same(
        user,
        &Job {
            setup: &setup,
            script,
            result: "cat out tested; ls",
            path: Some(bin.into()),
        },
    )
}

pub fn cargo_builds_and_tests_this_workspace(user: User) -> Verdict {
    let script = if std::env::var_os(WORKSPACE_BUILD).is_some() {
        "cargo build --offline --workspace; cargo test --offline -p cavra-shim -p cavra --lib policy::; target/debug/cavra-run --version > out"
    } else {
        println!("    only the member cavra-shim; {WORKSPACE_BUILD}=1 asks for all, which takes minutes");
        "cargo build --offline -p cavra-shim; cargo test --offline -p cavra-shim; ls target/debug/*.rlib > out"
    };
    let bin = toolchain(user)?;
    let cargo_home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo_home = cargo_home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let Some(registry) = cargo_home.map(|home| home.join("registry")).filter(|it| it.exists()) else {
        return skip("there are no downloaded crates to copy");
    };
    let setup = |world: &Stage| {
        let shell = |line: String| {
            let mut command = Command::new("sh");
            command.args(["-e", "-c", &line]);
            Running::start(command, None).finish(wait::DEADLINE * 3).success();
        };
        let registry_here = world.at("home/.cargo/registry");
        shell(format!(
            "git -C '{}' -c safe.directory='*' archive HEAD | tar -x -C '{}'; mkdir -p '{}'; cp -r '{}/index' '{}/cache' '{}'",
            places::repository().display(),
            world.workspace().display(),
            registry_here.display(),
            registry.display(),
            registry.display(),
            registry_here.display(),
        ));
        let (uid, gid) = (world.account().uid, world.account().gid);
        let (work, home) = (world.workspace(), world.at("home"));
        shell(format!(
            "chown -R {uid}:{gid} '{}' '{}'",
            work.display(),
            home.display()
        ));
    };
    same(
        user,
        &Job {
            setup: &setup,
            script,
            result: "cat out",
            path: Some(bin.into()),
        },
    )
}
