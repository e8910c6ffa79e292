"""Single calls: benches/micro.c under each side."""
import shutil, statistics, subprocess, tempfile, time
from pathlib import Path

from .report import Result, rotated
from .sides import Failed

# name: operation, callers, turns a batch, compared with, budget, stretch. Opens come to their steady state after some thousands: where the scheduler
# lets caller and receivers run changes until then.
TABLE = {
    "absolute": ("absolute", "1", 2000, "floor", 1.25, 1.10), "relative": ("relative", "1", 2000, "floor", 1.6, 1.35),
    "deep": ("deep", "1", 2000, "floor", 1.6, 1.35), "symlink": ("symlink", "1", 2000, "floor", 1.6, 1.35),
    "missing": ("missing", "1", 2000, "floor", None, None), "openat2": ("openat2", "1", 300, "native", None, None),
    "create": ("create", "1", 100, "native", None, None), "rename": ("rename", "1", 100, "native", None, None),
    "mkdir": ("mkdir", "1", 100, "native", None, None), "static": ("static", "1", 20, "native", None, None),
    "dynamic": ("dynamic", "1", 20, "native", 1.25, 1.15), "script": ("script", "1", 20, "native", None, None),
    "tcp": ("tcp", "1", 100, "native", 2.0, 1.6), "unix": ("unix", "1", 100, "native", None, None),
    "udp": ("udp", "1", 100, "native", None, None),
    **{name: (name, "1", turns, "filter", 1.03, 1.01) for name, turns in (
        ("stat", 3000), ("read", 5000), ("write", 5000), ("futex", 10000), ("mmap", 2000), ("fork", 60), ("thread", 200), ("signal", 3000))},
    **{f"absolute-{n}{kind}": ("absolute", f"{n}{kind}", turns, "floor", 1.11 if n > 2 else None, 1.0)
       for kind in "pt" for n, turns in ((2, 1000), (8, 300), (64, 60))},
    "held": ("held", "1", 2000, "floor", None, None),
    "kernel": ("absolute", "1", 3000, "filter", 1.05, 1.02),
}
TITLES = {
    "absolute": "open + close, absolute", "relative": "open + close, relative", "deep": "open + close, relative, 5 deep",
    "symlink": "open + close through a symlink", "missing": "open of what is not there", "openat2": "openat2 + close",
    "create": "create + unlink", "rename": "rename, there and back", "mkdir": "mkdir + rmdir", "static": "posix_spawn + wait, static",
    "dynamic": "posix_spawn + wait, dynamic", "script": "posix_spawn + wait, script", "tcp": "TCP connect + accept", "unix": "unix connect + accept",
    "udp": "datagram (refused inside)", "held": "open, beside 100 held approvals",
    "kernel": "open + close, `--reads kernel`",
    **{f"absolute-{n}{kind}": f"open, {n} {word} at once" for kind, word in (("p", "processes"), ("t", "threads")) for n in (2, 8, 64)},
}
ON_FLOOR = {*(name for name in TABLE if name.startswith("absolute-")), "absolute", "relative", "deep", "symlink", "missing", "static", "dynamic", "script", "tcp", "held"}
# Of these the filter's side has the session's two Landlock domains too: what remains is what cavra-run adds to it.
IN_DOMAIN = {"kernel"}
UNTRAPPED = IN_DOMAIN | {"stat", "read", "write", "futex", "mmap", "fork", "thread", "signal"}
NAMES = [*TABLE, "memory"]


def once(sides, side, op, callers, turns, batches=10, by_kernel=False):
    """One start: microseconds a turn, the median of its batches but the first, which meets cold caches."""
    folder = Path(tempfile.mkdtemp(dir=sides.work))
    words = sides.words(side, folder, approvals="ask" if op == "held" else "deny", by_kernel=by_kernel)
    command = words + [str(sides.work / "micro"), op, str(batches), str(turns), str(sides.static), callers]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    shutil.rmtree(folder)
    if done.returncode:
        raise Failed(f"{side}: status {done.returncode}\n{done.stderr}")
    if op == "held" and side == "cavra-run" and "100 held" not in done.stderr:
        raise Failed(f"the policy did not hold the opens: {done.stderr}")
    walls = [float(line.split()[0]) for line in done.stdout.splitlines()]
    return statistics.median(walls[1:] or walls)


def measure(sides, names, rounds, soak):
    for name in names:
        try:
            yield memory(sides, soak) if name == "memory" else compared(sides, name, rounds)
        except Failed as failed:
            sides.fail(name, failed)


def compared(sides, name, rounds):
    op, callers, turns, base, budget, stretch = TABLE[name]
    who = ["native"] + ["filter"] * (name in UNTRAPPED) + ["floor", "floor, one"] * (name in ON_FLOOR) + ["cavra-run"] + sides.others
    seen = {side: [] for side in who}
    for number in range(rounds):
        for side in rotated(who, number):
            seen[side].append(once(sides, side, op, callers, turns, by_kernel=name in IN_DOMAIN))
    return Result.ratio("micro", name, TITLES.get(name, f"{name} (not trapped)"), "us", base, budget, stretch, seen)


def memory(sides, opens):
    """The supervisor's resident memory while it answers so many opens."""
    folder = Path(tempfile.mkdtemp(dir=sides.work))
    command = sides.words("cavra-run", folder) + [str(sides.work / "micro"), "absolute", "10", str(max(opens // 10, 1)), str(sides.static)]
    started = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    samples = []
    while started.poll() is None:
        for line in Path(f"/proc/{started.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                samples.append(int(line.split()[1]) / 1024)
        time.sleep(0.05)
    if started.returncode:
        raise Failed(f"status {started.returncode}")
    later = samples[len(samples) // 3:]
    return Result.level("micro", "memory", f"supervisor's memory, {opens:.0e} opens".replace("e+0", "e"), "MB", 20, 10, later)
