"""Whole programs: what people wait for."""
import os, shutil, subprocess, time
from dataclasses import dataclass, field
from pathlib import Path

from .registry import Registry
from .report import Result, rotated
from .sides import PACK, ROOT, Failed, run, skipped

CLAUDE = ROOT / "target/claude/node_modules/@anthropic-ai/claude-code/bin/claude.exe"


@dataclass
class Program:
    """A command in its folder."""
    folder: Path
    command: list
    before: list | None = None  # run natively before each start
    env: dict = field(default_factory=dict)
    profile: str = "default"
    pack: Path = PACK
    warm: bool = True  # whether a start that is not counted goes before
    rounds: int = 99  # no more than so many
    turns: int = 1  # starts a round, whose mean counts
    ends_with: tuple = (0,)


class Missing(Exception):
    """A tool is not installed."""


def need(name, way="scripts/setup.sh --benches installs it"):
    found = shutil.which(name)
    if not found:
        raise Missing(f"{name} is not installed ({way})")
    return found


def claude():
    path = Path(os.environ.get("CAVRA_CLAUDE", CLAUDE))
    if not path.exists():
        raise Missing("Claude Code is not installed (scripts/claude.sh installs it)")
    return path


class Folders:
    """What the programs work on, each made when it is first wanted."""

    def __init__(self, work, sizes):
        self.work, self.sizes, self.made = work, sizes, {}

    def of(self, name):
        if name not in self.made:
            folder = self.work / name
            self.made[name] = folder
            getattr(self, name)(folder)
        return self.made[name]

    def empty(self, folder):
        folder.mkdir()

    def repository(self, tree):
        for n in range(self.sizes.files):
            path = tree / f"d{n % 100}" / f"e{n // 100 % 50}" / f"f{n}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"line {n}\n" * 8)
        git = ["git", "-c", "user.name=bench", "-c", "user.email=bench@localhost"]
        # Packed in the foreground: git would do it behind the first measurements.
        for words in (["init", "-q"], ["config", "gc.auto", "0"], ["add", "-A"], ["commit", "-qm", "all"], ["gc", "-q"]):
            run(git + words, cwd=tree)
        (tree / ".git/info/exclude").write_text("/all.tar\n")

    def units(self, folder):
        folder.mkdir()
        for n in range(self.sizes.units):
            text = f"#include <stdio.h>\n#include <string.h>\nint u{n}(const char *s) {{ return (int)strlen(s) + {n}; }}\n"
            (folder / f"u{n}.c").write_text(text)
        (folder / "Makefile").write_text("all: $(patsubst %.c,%.o,$(wildcard *.c))\nclean:\n\trm -f *.o\n")

    def tests(self, folder):
        folder.mkdir()
        for n in range(self.sizes.tests // 100):
            (folder / f"test_{n}.py").write_text("".join(f"def test_{m}():\n    assert {m} == {m}\n\n\n" for m in range(100)))

    def npm(self, folder):
        self.registry = Registry(self.sizes.packages)
        self.registry.project(folder)

    def agent(self, folder):
        """What the script of tests/examples/scripted-agent.rs works on."""
        for name, text in {"README.md": "# Harbour\n", "src/__init__.py": "", "tests/__init__.py": "", "tests/test_a.py":
                           "import unittest\nfrom src.a import twice\n\n\nclass Twice(unittest.TestCase):\n"
                           "    def test_twice(self):\n        self.assertEqual(twice(21), 42)\n"}.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        git = ["git", "-c", "user.name=bench", "-c", "user.email=bench@localhost"]
        for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
            run(git + words, cwd=folder)


def true(folders):
    return Program(folders.of("empty"), ["true"], turns=10)


def python(folders):
    return Program(folders.of("empty"), [need("python3"), "-c", "pass"], turns=5)


def node(folders):
    return Program(folders.of("empty"), [need("node"), "-e", "0"], turns=3)


def claude_version(folders):
    return Program(folders.of("empty"), [claude(), "--version"], profile="claude")


def git_status(folders):
    return Program(folders.of("repository"), ["git", "status", "--short"])


def git_grep(folders):
    return Program(folders.of("repository"), ["git", "grep", "-c", "no such line"], ends_with=(1,))


def ripgrep(folders):
    return Program(folders.of("repository"), [need("rg"), "no such line"], ends_with=(1,))


def tar(folders):
    # Not to /dev/null, for which tar reads nothing.
    return Program(folders.of("repository"), ["tar", "cf", "all.tar", "--exclude=./all.tar", "."], before=["rm", "-f", "all.tar"])


def npm_ci(folders):
    need("npm")
    folder = folders.of("npm")
    pack = folders.work / "npm.yaml"
    pack.write_text(PACK.read_text() + f"network:\n  allow: ['127.0.0.1:{folders.registry.port}']\n")
    command = ["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error", "--cache", "cache"]
    return Program(folder, command, before=["rm", "-rf", "node_modules", "cache"], pack=pack)


def cargo_build(folders):
    need("cargo", "https://rustup.rs")
    target = folders.of("empty") / "cargo"
    command = ["cargo", "build", "--offline", "--quiet", *folders.sizes.cargo.split(), "--target-dir", target]
    return Program(ROOT, command, before=["rm", "-rf", target], warm=False, rounds=3)


def make(folders):
    return Program(folders.of("units"), [need("make"), "-j2", "-s"], before=["make", "-s", "clean"], rounds=5)


def pytest(folders):
    # No plugins from elsewhere: they differ from machine to machine.
    command = [need("pytest"), "-q", "-p", "no:cacheprovider"]
    return Program(folders.of("tests"), command, env={"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"})


def agent(folders):
    """The scripted session: Claude Code against a Messages API on loopback."""
    program, folder = claude(), folders.of("agent")
    home = folders.work / "home"
    home.mkdir(exist_ok=True)
    run(["cargo", "build", "--quiet", "-p", "cavra-tests", "--example", "scripted-agent"], cwd=ROOT)
    server = subprocess.Popen(["cargo", "run", "--quiet", "-p", "cavra-tests", "--example", "scripted-agent", "--", str(folder)],
                              cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    folders.server = server  # its standard input closes with this program, and it ends
    env = dict(line.split("=", 1) for line in iter(lambda: server.stdout.readline().strip(), ""))
    command = [program, "-p", "Follow the steps.", "--output-format", "json", "--dangerously-skip-permissions"]
    return Program(folder, command, env={**env, "HOME": str(home)}, profile="claude", rounds=5)


# name: title, how it is made, how it is judged, budget, stretch
TABLE = {
    "true": ("start-up of true", true, "over", 8, 4), "python": ("python start-up", python, "ratio", None, None),
    "node": ("node start-up", node, "ratio", None, None), "claude-version": ("claude --version", claude_version, "ratio", None, None),
    "git-status": ("git status, {files} files", git_status, "ratio", 1.08, 1.03),
    "git-grep": ("git grep, {files} files", git_grep, "ratio", 1.5, 1.2), "ripgrep": ("ripgrep, {files} files", ripgrep, "ratio", 1.5, 1.2),
    "tar": ("tar, {files} files", tar, "ratio", 1.5, 1.2), "npm-ci": ("npm ci, {packages} packages", npm_ci, "ratio", 1.08, 1.03),
    "make": ("make -j2, {units} C units", make, "ratio", 1.08, 1.03), "pytest": ("pytest, {tests} tests", pytest, "ratio", 1.08, 1.03),
    "agent": ("Claude Code, scripted session", agent, "ratio", None, None),
    "cargo-build": ("cargo build {cargo}", cargo_build, "ratio", 1.08, 1.03),
}
NAMES = list(TABLE)


def start(sides, side, program):
    if program.before:
        run(program.before, cwd=program.folder, stdout=subprocess.DEVNULL)
    words = sides.words(side, program.folder, program.profile, program.pack) + [str(word) for word in program.command]
    begun = time.perf_counter()
    done = subprocess.run(words, cwd=program.folder, env={**os.environ, **program.env}, stdin=subprocess.DEVNULL, capture_output=True)
    took = (time.perf_counter() - begun) * 1e3
    if done.returncode not in program.ends_with:
        raise Failed(f"{side}: status {done.returncode}\n{(done.stdout + done.stderr).decode(errors='replace')[-4000:]}")
    return took


def measure(sides, names, rounds, sizes):
    folders = Folders(sides.work, sizes)
    for name in names:
        title, make_it, how, budget, stretch = TABLE[name]
        try:
            program = make_it(folders)
        except Missing as missing:
            skipped(name, missing)
            continue
        who = ["native", "cavra-run"] + sides.others
        if name == "true" and "bubblewrap" not in sides.others:
            if shutil.which("bwrap"):
                sides.commands["bubblewrap"] = ["bwrap", "--dev-bind", "/", "/"]
                who.append("bubblewrap")
            else:
                skipped("bubblewrap beside start-up", "bwrap is not installed (scripts/setup.sh --benches installs it)")
        seen = {side: [] for side in who}
        try:
            for side in who if program.warm else []:
                start(sides, side, program)
            for number in range(min(rounds, program.rounds)):
                for side in rotated(who, number):
                    seen[side].append(sum(start(sides, side, program) for _ in range(program.turns)) / program.turns)
        except Failed as failed:
            sides.fail(name, failed)
            continue
        yield getattr(Result, how)("macro", name, title.format_map({k: f"{v:,}".replace(",", " ") if isinstance(v, int) else v for k, v in vars(sizes).items()}),
                                   "ms", "native", budget, stretch, seen)
