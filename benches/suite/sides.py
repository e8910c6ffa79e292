"""The sides of a comparison: how the same work is started natively, under the bare mechanism, in a session, under another tool."""
import json, shlex, shutil, subprocess, sys, time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACK = ROOT / "benches" / "pack.yaml"
# What `--side NAME` alone means; `--side NAME=COMMAND` is any other.
KNOWN = {"bubblewrap": "bwrap --dev-bind / /", "strace": "strace -f -qq -o /dev/null"}


def run(command, **how):
    return subprocess.run([str(word) for word in command], check=True, **how)


def skipped(what, why):
    print(f"SKIPPED {what}: {why}", file=sys.stderr, flush=True)


def watched(words, folder):
    """Runs to the end: the lines of its output, and the processor microseconds of all threads of that process alone, not of its tree."""
    with (folder / "output").open("w+") as output, (folder / "errors").open("w+") as errors:
        started = subprocess.Popen([str(word) for word in words], cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=errors)
        seen = {}
        while started.poll() is None:
            for thread in Path(f"/proc/{started.pid}/task").glob("*/schedstat"):
                try:
                    seen[thread.parent.name] = int(thread.read_text().split()[0]) / 1e3
                except (OSError, IndexError):
                    pass  # it has just ended
            time.sleep(0.002)
        if started.returncode:
            errors.seek(0)
            sys.exit(f"{' '.join(map(str, words))}: status {started.returncode}\n{errors.read()[-4000:]}")
        output.seek(0)
        return output.read().splitlines(), sum(seen.values())


class Failed(Exception):
    """One benchmark did not do its work; the others go on, and the suite's status says so."""


class Sides:
    """Builds what is compared; `words` gives the words that go before a command."""

    def __init__(self, work, cavra_run, others):
        self.work, self.count = work, 0
        for name in ("micro", "floor"):
            run(["cc", "-O2", "-Wall", "-pthread", "-o", work / name, ROOT / "benches" / f"{name}.c"])
        (work / "static.c").write_text("int main(void) { return 0; }\n")
        self.static = work / "static"
        run(["cc", "-O2", "-static", "-o", self.static, work / "static.c"])
        self.cavra_run = cavra_run.resolve() if cavra_run else built()
        self.commands = {"native": [], "filter": [work / "floor", "--allow"], "floor": [work / "floor"],
                         "floor, one": [work / "floor", "--one"], "cavra-run": []}
        self.others, self.failed = [], []
        for given in others:
            name, _, command = given.partition("=")
            words = shlex.split(command or KNOWN.get(name, ""))
            if not words:
                sys.exit(f"--side {name}: say NAME=COMMAND; known by name alone are: {' '.join(KNOWN)}")
            if not shutil.which(words[0]):
                skipped(f"side {name}", f"{words[0]} is not installed")
                continue
            self.commands[name] = words
            self.others.append(name)

    def fail(self, name, why):
        self.failed.append(name)
        print(f"FAILED {name}: {why}", file=sys.stderr, flush=True)

    def words(self, side, workspace, profile="default", pack=PACK, approvals="deny", by_kernel=False):
        """A session has an evidence folder of its own, the profile, the team's pack of 200 rules. Nobody is there to approve."""
        if by_kernel and side == "filter":
            return [str(self.work / "floor"), "--domain"]
        if side != "cavra-run":
            return [str(word) for word in self.commands[side]]
        self.count += 1
        evidence = self.work / "evidence" / str(self.count)
        evidence.parent.mkdir(exist_ok=True)
        session = [self.cavra_run, "--quiet", "--profile", profile, "--policy", pack, "--approvals", approvals, "--evidence", evidence]
        if by_kernel:
            session += ["--reads", "kernel"]
        if approvals == "ask":
            session += ["--approval-timeout", "1h"]
        return [str(word) for word in session + ["--workspace", workspace, "--"]]


def built():
    run(["cargo", "build", "--release", "--quiet", "-p", "cavra", "--bins"], cwd=ROOT)
    told = run(["cargo", "metadata", "--format-version", "1", "--no-deps"], cwd=ROOT, capture_output=True).stdout
    return Path(json.loads(told)["target_directory"]) / "release" / "cavra-run"
