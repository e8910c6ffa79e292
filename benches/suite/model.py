"""How mediated opens scale with callers and cores: a closed queueing model, its parameters as measured here, its predictions checked here.

One notification visits two stations. The *receiver* serves one call at a time and thread: its demand s is the supervisor's processor time a call.
The *caller* is a delay z: everything of a lone caller's latency L that is not s (its own work, the switches, idle processors' wake-ups). With N callers
and k receivers, mean value analysis gives the throughput; C processors that owe D = s + c a call bound it by C / D, and what only one processor can
do at a time (the kernel's lock on the listener's queue: sigma) by 1 / sigma."""
import os, shutil, statistics, tempfile
from pathlib import Path

from .report import quartiles, rotated
from .sides import watched

RECEIVERS = 2
CALLERS = {"1": 1, "2p": 2, "64p": 64}
TURNS = {"1": 3000, "2p": 3000, "64p": 150}


def throughput_time(callers, service, delay, processors, demand, receivers=1, sequential=0.0):
    """Microseconds a call, in all: 1 / throughput."""
    waiting, seen = 0.0, 0.0
    for n in range(1, callers + 1):
        # k servers as one that is k times as fast, and a delay for the rest (Seidmann's approximation).
        response = service / receivers * (1 + waiting)
        rate = n / (delay + service * (receivers - 1) / receivers + response)
        waiting, seen = rate * response, rate
    return max(1 / seen, demand / processors, sequential)


def sample(sides, side, callers, turns, pinned=False, op="absolute"):
    """Microseconds a call: from start to end, of the supervisor's processor time, of the callers' own."""
    def start(turns, batches):
        folder = Path(tempfile.mkdtemp(dir=sides.work))
        words = (["taskset", "-c", str(min(os.sched_getaffinity(0)))] if pinned else []) + prefix(sides, side, folder, op)
        words += [str(sides.work / "micro"), "missing" if side == "empty" else op, str(batches), str(turns), str(sides.static), callers]
        lines, supervisor = watched(words, folder)
        shutil.rmtree(folder)
        return [[float(word) for word in line.split()] for line in lines], supervisor

    batches = 5
    (_, begin), (lines, total) = start(1, 1), start(turns, batches)
    wall, own = (statistics.median(line[column] for line in lines) for column in (0, 1))
    return wall, (total - begin) / (turns * batches * CALLERS[callers]), own


def prefix(sides, side, folder, op):
    if side == "empty":
        return [str(sides.work / "floor"), "--empty"]
    return sides.words(side, folder, approvals="ask" if op == "held" else "deny")


def measure(sides, rounds):
    """For the floor and for cavra-run: L, s, c, and microseconds a call for each number of callers."""
    seen = {}
    order = [(side, callers, pinned) for side in ("floor", "cavra-run") for callers, pinned in [("1", True), *((n, False) for n in CALLERS)]]
    order += [("empty", "1", True), ("cavra-run", "1", "held")]
    for number in range(rounds):
        for side, callers, pinned in rotated(order, number):
            op = "held" if pinned == "held" else "absolute"
            seen.setdefault((side, callers, pinned), []).append(sample(sides, side, callers, TURNS[callers], bool(pinned), op))
    middle = lambda key, column: quartiles([figures[column] for figures in seen[key]])
    found = {"processors": len(os.sched_getaffinity(0)), "sides": {}}
    # Receiving and answering, and nothing else: the lock is held for less than that.
    found["sequential"] = max(middle(("empty", "1", True), 1)[1], 0.1)
    beside = middle(("cavra-run", "1", "held"), 1)[1] - middle(("cavra-run", "1", True), 1)[1]
    found["held"] = max(beside, 0.0) / 100
    for side in ("floor", "cavra-run"):
        one = (side, "1", True)
        service, own = middle(one, 1)[1], middle(one, 2)[1]
        found["sides"][side] = {
            "latency": middle((side, "1", False), 0), "latency on one processor": middle(one, 0), "service": service, "own": own,
            "measured": {callers: middle((side, callers, False), 0) for callers in CALLERS},
        }
    return found


def told(found):
    """Two tables: the model against this machine, and what it says of others."""
    processors, sequential = found["processors"], found["sequential"]
    lines = [f"Microseconds a call; {processors} processors, σ ≤ {sequential:.1f}, h = {found['held']:.3f}.", "",
             "| | L, free | L, one CPU | s | c | 1 caller | 2 callers: model | measured | 64 callers: model | measured |", "|---|" + "---|" * 9]
    for side, at in found["sides"].items():
        service, own, latency = at["service"], at["own"], at["latency"][1]
        predicted = {n: predict(at, n, processors) for n in CALLERS.values()}
        spread = lambda value: f"{value[1]:.1f} ({value[0]:.1f}–{value[2]:.1f})"
        lines.append(f"| {side} | {latency:.1f} | {at['latency on one processor'][1]:.1f} | {service:.1f} | {own:.1f} | {spread(at['measured']['1'])} | "
                     f"{predicted[2]:.1f} | {spread(at['measured']['2p'])} | {predicted[64]:.1f} | {spread(at['measured']['64p'])} |")
    lines += ["", "Thousands of calls a second, 64 callers that do nothing else:", "",
              "| | 2 CPUs | 8 CPUs | 64 CPUs | 64 CPUs, 1 receiver | 4 receivers | 8 receivers | ceiling 1/σ |", "|---|" + "---|" * 7]
    for side, at in found["sides"].items():
        cells = [1e3 / predict(at, 64, cores, receivers, sequential) for cores, receivers in ((2, 2), (8, 2), (64, 2), (64, 1), (64, 4), (64, 8))]
        lines.append(f"| {side} | " + " | ".join(f"{cell:.0f}" for cell in cells) + f" | ≥ {1e3 / sequential:.0f} |")
    return lines


def predict(at, callers, processors, receivers=RECEIVERS, sequential=0.0):
    service, own = at["service"], at["own"]
    delay = max(at["latency"][1] - service, own)
    return throughput_time(callers, service, delay, processors, service + own, receivers, sequential)
