"""Where the supervisor's microseconds go: its processor time sampled by perf, by system call and by the program's own parts."""
import collections, shutil, subprocess, tempfile
from pathlib import Path

from .sides import run, skipped, watched

# operation: title, turns in 20 batches
CALLS = {"absolute": ("open", 10_000), "tcp": ("connect", 2_000), "static": ("exec", 100)}
SHOWN = 12
# The first that a function's name holds.
PARTS = [
    ("program: policy", ("cavra::policy", "aho_corasick", "memchr")), ("program: records", ("cavra::evidence", "sha2", "serde_json", "jiff", "hex")),
    ("program: callers and paths", ("cavra::caller",)), ("program: allocation", ("malloc", "free", "realloc", "calloc", "alloc::")),
    ("program: boundary", ("cavra::",)),
]


def measure(sides):
    """For each call: samples by what was done, and the supervisor's processor microseconds a call."""
    if not shutil.which("perf"):
        skipped("profiles", "perf is not installed (Debian: linux-perf)")
        return None
    found = {}
    for op, (title, turns) in CALLS.items():
        idle, spent = processor_time(sides, op, 1), processor_time(sides, op, turns)
        found[title] = {"microseconds": (spent - idle) / (20 * turns), "samples": dict(sampled(sides, op, turns).most_common())}
    return found


def command(sides, op, turns, folder):
    return sides.words("cavra-run", folder) + [str(sides.work / "micro"), op, "20", str(turns), str(sides.static)]


def processor_time(sides, op, turns):
    """Microseconds of all the supervisor's threads."""
    folder = Path(tempfile.mkdtemp(dir=sides.work))
    _, spent = watched(command(sides, op, turns, folder), folder)
    shutil.rmtree(folder)
    return spent


def sampled(sides, op, turns):
    """Where perf saw the supervisor, from its start on; the tree is sampled too, and left out."""
    folder = Path(tempfile.mkdtemp(dir=sides.work))
    data = folder / "perf.data"
    record = ["perf", "record", "-q", "-e", "cpu-clock", "-F", "4999", "-g", "--no-buildid-cache", "-o", str(data), "--"]
    run(record + command(sides, op, turns, folder), cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    told = run(["perf", "script", "-i", data, "-F", "pid,ip,sym"], capture_output=True, text=True).stdout
    shutil.rmtree(folder)
    blocks = [block.strip("\n").split("\n") for block in told.split("\n\n") if block.strip()]
    # The first process is the supervisor; all others descend from it.
    supervisor = blocks[0][0].split()[0] if blocks else ""
    return collections.Counter(part(block[1:]) for block in blocks if block[0].split()[0] == supervisor)


def part(lines):
    """What a stack was doing; its innermost function comes first."""
    names = [line.split(None, 1)[1] for line in lines if len(line.split(None, 1)) == 2]
    call = next((name.removeprefix("__x64_sys_") for name in names if name.startswith("__x64_sys_")), None)
    if call == "ioctl" and any(name.startswith("seccomp_notify") for name in names):
        if any("wait_for_completion" in name or name == "__wait_for_common" for name in names):
            return "ADDFD: until the caller has the descriptor"
        return "RECV: until a call comes" if any(name.endswith("schedule") for name in names) else "RECV, SEND, ADDFD: the rest"
    if call:
        return call
    if any("exc_page_fault" in name for name in names):
        return "page faults"
    if names and any(name.startswith(("entry_SYSCALL", "do_syscall", "asm_", "syscall_")) for name in names):
        return "entering and leaving the kernel, interrupts"
    leaf = names[0] if names else ""
    return next((title for title, marks in PARTS if any(mark in leaf for mark in marks)), "program: rest, C library")


def told(found):
    lines = []
    for title, at in found.items():
        total = sum(at["samples"].values()) or 1
        rows = sorted(at["samples"].items(), key=lambda item: -item[1])
        rest = sum(count for _, count in rows[SHOWN:])
        lines += [f"*{title}*: {at['microseconds']:.1f} us of the supervisor's processor time a call, from {total} samples.", "", "| | us | share |", "|---|---|---|"]
        for name, count in rows[:SHOWN] + [("all else", rest)] * bool(rest):
            lines.append(f"| {name} | {at['microseconds'] * count / total:.2f} | {count / total:.0%} |")
        lines.append("")
    return lines
