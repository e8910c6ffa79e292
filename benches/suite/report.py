"""What was measured, as a table and as JSON; the machine that it was measured on."""
import json, os, platform, re, resource, statistics, time
from dataclasses import asdict, dataclass
from pathlib import Path


def rotated(items, by):
    """Interleaved rounds start with another side each, so that none is always the one after an idle time."""
    by %= len(items)
    return items[by:] + items[:by]


def quartiles(values):
    values = sorted(values)
    return [values[len(values) // 4], statistics.median(values), values[(3 * len(values)) // 4]]


@dataclass
class Result:
    part: str
    name: str
    title: str
    unit: str
    base: str
    how: str  # ratio: times the base; over: milliseconds over the base; level: itself
    value: list  # quartiles
    budget: float | None
    stretch: float | None
    sides: dict  # quartiles of each

    @classmethod
    def ratio(cls, part, name, title, unit, base, budget, stretch, seen):
        value = quartiles([inside / outside for inside, outside in zip(seen["cavra-run"], seen[base])])
        return cls(part, name, title, unit, base, "ratio", value, budget, stretch, {side: quartiles(all) for side, all in seen.items()})

    @classmethod
    def over(cls, part, name, title, unit, base, budget, stretch, seen):
        value = quartiles([inside - outside for inside, outside in zip(seen["cavra-run"], seen[base])])
        return cls(part, name, title, unit, base, "over", value, budget, stretch, {side: quartiles(all) for side, all in seen.items()})

    @classmethod
    def level(cls, part, name, title, unit, budget, stretch, values):
        value = quartiles(values)
        return cls(part, name, title, unit, "", "level", value, budget, stretch, {"cavra-run": value})

    @property
    def verdict(self):
        if self.budget is None:
            return ""
        return "met, stretch too" if self.value[1] <= self.stretch else "met" if self.value[1] <= self.budget else "**missed**"

    def limit(self):
        if self.budget is None:
            return ""
        unit = {"ratio": " x", "over": f" {self.unit}", "level": f" {self.unit}"}[self.how]
        return f"≤ {self.budget:g}{unit}"

    def told(self):
        low, middle, high = self.value
        if self.how == "ratio":
            return f"{middle:.2f} x {self.base} ({low:.2f}–{high:.2f})"
        if self.how == "over":
            return f"{middle:.1f} {self.unit} over {self.base} ({low:.1f}–{high:.1f})"
        return f"{middle:.1f} {self.unit} ({low:.1f}–{high:.1f})"


class Table:
    """Rows are printed as they come."""

    def __init__(self, columns):
        self.columns, self.lines = columns, []
        self.add("| | " + " | ".join(columns) + " | inside | budget | |")
        self.add("|---|" + "---|" * (len(columns) + 3))

    def add(self, line):
        self.lines.append(line)
        print(line, flush=True)

    def row(self, result):
        figure = lambda value: f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"
        cells = [f"{figure(result.sides[c][1])} {result.unit}" if c in result.sides else "" for c in self.columns]
        self.add(f"| {result.title} | {' | '.join(cells)} | {result.told()} | {result.limit()} | {result.verdict} |")


class Machine:
    """Names it, and notices what others do on it meanwhile."""

    def __init__(self):
        self.cores, self.load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
        self.started, self.busy, self.own = time.monotonic(), busy(), own()

    def told(self):
        text = Path("/proc/cpuinfo").read_text()
        model = re.search(r"^model name\s*: (.*)", text, re.M)
        virtual = ", virtual" if re.search(r"^flags.*\bhypervisor\b", text, re.M) else ""
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
        return f"{model[1] if model else platform.machine()}{virtual}, {self.cores} CPUs, {memory:.0f} GB, Linux {platform.release()}"

    def others(self):
        """The share of the processors that went to work that is not the suite's."""
        passed = max(time.monotonic() - self.started, 0.01) * self.cores
        return max(busy() - self.busy - (own() - self.own), 0) / passed

    def warning(self):
        """Load from before the start, others' share since."""
        if self.load > self.cores / 4 or self.others() > 0.1:
            return f"**The machine was loaded (load {self.load:.1f} at the start, others used {self.others():.0%} of the processors): figures are noisy.**"
        return ""


def busy():
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def own():
    total = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        use = resource.getrusage(who)
        total += use.ru_utime + use.ru_stime
    return total


def as_json(machine, options, results, further):
    rows = [{**asdict(result), "verdict": result.verdict} for result in results]
    about = {"machine": machine.told(), "load": machine.load, "others": machine.others(), "options": options}
    return json.dumps({**about, "results": rows, **further}, indent=1, ensure_ascii=False) + "\n"


def put(path, mark, lines):
    """Replaces what stands between the marks of that name."""
    text = path.read_text()
    begin, end = f"<!-- {mark}: written by benches/run -->", f"<!-- /{mark} -->"
    if begin not in text or end not in text:
        raise SystemExit(f"{path}: no marks {begin} … {end}")
    before, rest = text.split(begin, 1)
    path.write_text(before + begin + "\n" + "\n".join(lines).strip() + "\n" + end + rest.split(end, 1)[1])
