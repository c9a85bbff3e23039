"""How much time does `fit` save? Writes the tables of docs/benchmarks.md.

    python benchmarks/speed.py [TABLE ...] [--repeats 5] [--peer-python PATH]

Tables: frozen, large, warm, partial, nothing, head, scaling, bound, engines, prepared, peers. Each
measurement is a process of its own; the variants of a row take turns. Tables that are not asked for
stay as they are in the page. A full run takes about three hours on two cores.
"""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "benchmarks.md"
HEAD = """# Benchmarks

Each table is written by the command above it. Each figure is the median of several runs, each in
its own process; the processes take turns. The range in brackets is that of the ratios within one
turn. The whole call of `fit` is timed, with checks, tracing, conversion and features. *Control*
compares plain Keras with itself, so its distance from 1 is the noise of this machine. Weights and
data are random, the head is 128 -> 1, the batch size 32, with 10 epochs. The workloads are defined
in `benchmarks/workloads.py`:

| work | model | data |
|---|---|---|
| mobilenet | MobileNetV2, frozen | 512 images of 160 px |
| mobilenet_block_13 | the same, trained from `block_13` up, BatchNormalization frozen | the same |
| resnet | ResNet50, frozen | 256 images of 160 px |
| bert_512, bert_4096 | BERT 6x384 with dropout 0.1, frozen | 512 and 4,096 sequences of 64 tokens |
"""
Runs = dict[str, list[dict[str, float]]]


def measured(task: dict[str, Any], python: str = sys.executable) -> dict[str, float]:
    """The figures of one process."""
    script = "peer_torch.py" if task["way"] == "torch" else "measure.py"
    command = [python, str(HERE / script), json.dumps(task)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{task} failed:\n{done.stderr[-3000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(task, found, file=sys.stderr, flush=True)
    return found


def in_turn(work: str, ways: list[str], repeats: int, **more: Any) -> Runs:
    """Each variant once, then each again."""
    runs: Runs = {way: [] for way in ways}
    for _ in range(repeats):
        for way in ways:
            python = more.get("python", sys.executable) if way == "torch" else sys.executable
            runs[way].append(measured({"work": work, "way": way} | more, python))
    return runs


def seconds(runs: Runs, way: str, figure: str = "seconds") -> float:
    """The median of a variant."""
    return statistics.median(run[figure] for run in runs[way])


def ratio(runs: Runs, one: str, other: str, figure: str = "seconds") -> str:
    """The ratio of two variants' times: median, smallest and largest of a turn."""
    pairs = zip(runs[one], runs[other], strict=True)
    ratios = sorted(a[figure] / b[figure] for a, b in pairs)
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


def frozen(repeats: int, works: tuple[str, ...] = ("mobilenet", "resnet", "bert_512")) -> list[str]:
    """Frozen backbones, 10 epochs."""
    rows = ["| work | plain, s | ours, s | with [fast], s | plain / ours | with [fast] | control |"]
    rows.append("|---|---|---|---|---|---|---|")
    for work in works:
        ways = ["plain", "core", "fast", "control"]
        runs = in_turn(work, ways, repeats)
        times = " | ".join(f"{seconds(runs, way):.2f}" for way in ways[:3])
        rows.append(
            f"| {work} | {times} | {ratio(runs, 'plain', 'core')} | "
            f"{ratio(runs, 'plain', 'fast')} | {ratio(runs, 'control', 'plain')} |"
        )
    return rows


def large(repeats: int) -> list[str]:
    """The same with more data."""
    return frozen(repeats, ("bert_4096",))


def _pair(work: str, way: str, repeats: int, **more: Any) -> list[str]:
    runs = in_turn(work, ["plain", way, "control"], repeats, **more)
    return [
        "| work | plain, s | ours, s | plain / ours | control |",
        "|---|---|---|---|---|",
        f"| {work} | {seconds(runs, 'plain'):.2f} | {seconds(runs, way):.2f} | "
        f"{ratio(runs, 'plain', way)} | {ratio(runs, 'control', 'plain')} |",
    ]


def warm(repeats: int) -> list[str]:
    """The second run, with the features in a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "features.h5")
        measured({"work": "mobilenet", "way": "warm", "path": path})
        return _pair("mobilenet", "warm", repeats, path=path)


def partial(repeats: int) -> list[str]:
    """The upper part trains."""
    return _pair("mobilenet_block_13", "core", repeats)


def nothing(repeats: int) -> list[str]:
    """Nothing is frozen: the cost of the checks."""
    runs = in_turn("nothing_frozen", ["plain", "core", "control"], repeats)
    return [
        "| figure | ours / plain | control |",
        "|---|---|---|",
        *(
            f"| {name} | {ratio(runs, 'core', 'plain', figure)} | "
            f"{ratio(runs, 'control', 'plain', figure)} |"
            for name, figure in (("wall time", "seconds"), ("processor time", "cpu"))
        ),
    ]


def head(repeats: int) -> list[str]:
    """A head 128 -> 1 on cached features of 1280 numbers, batch 32."""
    runs = in_turn("head", ["plain", "core", "control"], repeats)
    return [
        "| plain, steps/s | ours, steps/s | ours / plain | control |",
        "|---|---|---|---|",
        f"| {1 / seconds(runs, 'plain'):.0f} | {1 / seconds(runs, 'core'):.0f} | "
        f"{ratio(runs, 'plain', 'core')} | {ratio(runs, 'control', 'plain')} |",
    ]


def scaling(repeats: int) -> list[str]:
    """Growing data, with features far beyond a memory limit of 20 MB; two epochs."""
    sizes = ["1", "2", "4", "8", "16"]
    runs = in_turn("scaling", sizes, repeats)
    rows = ["| samples | features, MB | seconds | peak memory, MB |", "|---|---|---|---|"]
    return rows + [
        f"| {512 * int(n):,} | {512 * int(n) * 0.1024:,.0f} | {seconds(runs, n):.1f} | "
        f"{seconds(runs, n, 'peak'):.0f} |"
        for n in sizes
    ]


def bound(repeats: int) -> list[str]:
    """The whole fit, compared with the parts that cannot be avoided."""
    runs = in_turn("mobilenet", ["core", "bound"], repeats)
    return [
        "| work | fit, s | extraction and a bare loop, s | ratio |",
        "|---|---|---|---|",
        f"| mobilenet | {seconds(runs, 'core'):.2f} | {seconds(runs, 'bound'):.2f} | "
        f"{ratio(runs, 'core', 'bound')} |",
    ]


def engines(repeats: int) -> list[str]:
    """A frozen MobileNetV2 by engines; the bound is one pass of LiteRT and a bare loop."""
    rows = ["| images | auto, s | best engine, s | auto / best | bound, s | auto / bound |"]
    rows.append("|---|---|---|---|---|---|")
    for count in (128, 512, 2048, 8192):
        by_hand = ["keras", "graph", "litert"]
        runs = in_turn("engines", ["auto", *by_hand, "bound"], repeats, rows=count)
        best = min(by_hand, key=lambda way: seconds(runs, way))
        rows.append(
            f"| {count:,} | {seconds(runs, 'auto'):.2f} | {seconds(runs, best):.2f} ({best}) | "
            f"{ratio(runs, 'auto', best)} | {seconds(runs, 'bound'):.2f} | "
            f"{ratio(runs, 'auto', 'bound')} |"
        )
    return rows


def prepared(repeats: int) -> list[str]:
    """MobileNetV2 where an earlier process has kept its engine beside its features."""
    with tempfile.TemporaryDirectory() as folder:
        measured({"work": "engines", "way": "prepare", "rows": 64, "path": f"{folder}/first.h5"})
        runs: Runs = {"prepared": [], "bound": []}
        for number in range(repeats):
            for way in runs:
                task = {"work": "engines", "way": way, "rows": 512}
                runs[way].append(measured(task | {"path": f"{folder}/run_{number}.h5"}))
    return [
        "| images | auto, s | bound, s | auto / bound |",
        "|---|---|---|---|",
        f"| 512 | {seconds(runs, 'prepared'):.2f} | {seconds(runs, 'bound'):.2f} | "
        f"{ratio(runs, 'prepared', 'bound')} |",
    ]


def peers(repeats: int, python: str = "") -> list[str]:
    """The same frozen MobileNetV2 in torch, with the backbone run in each epoch."""
    if not python:
        return ["Not run: no `--peer-python` with torch and torchvision was given."]
    runs = in_turn("mobilenet", ["torch", "core", "fast"], repeats, python=python)
    return [
        "| torchvision, s | ours, s | with [fast], s | torch / ours | torch / with [fast] |",
        "|---|---|---|---|---|",
        f"| {seconds(runs, 'torch'):.2f} | {seconds(runs, 'core'):.2f} | "
        f"{seconds(runs, 'fast'):.2f} | {ratio(runs, 'torch', 'core')} | "
        f"{ratio(runs, 'torch', 'fast')} |",
    ]


TABLES: dict[str, Callable[..., list[str]]] = {
    table.__name__: table
    for table in (
        frozen,
        large,
        warm,
        partial,
        nothing,
        head,
        scaling,
        bound,
        engines,
        prepared,
        peers,
    )
}

LEAST_REPEATS = {"nothing": 9}  # Its ratio is near 1, so it must be told from noise.


def machine() -> str:
    """Processor, cores, memory and versions, in a line."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", info.read_text()) if info.exists() else None
    name = found[1] if found else platform.processor()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    packages = ", ".join(f"{p} {version(p)}" for p in ("keras", "tensorflow", "numpy"))
    return (
        f"{name}, {os.cpu_count()} cores, {memory:.0f} GiB; Python {platform.python_version()}, "
        f"{packages}; {date.today()}"
    )


def write(name: str, rows: list[str], repeats: int) -> None:
    """Writes a table into the page, in place of the old one."""
    text = PAGE.read_text() if PAGE.exists() else HEAD
    summary = (TABLES[name].__doc__ or "").strip()
    section = (
        f"\n## {name.capitalize()}\n\n{summary} `python benchmarks/speed.py {name}`, "
        f"{repeats} runs each. {machine()}\n\n" + "\n".join(rows) + "\n"
    )
    old = re.compile(rf"\n## {name.capitalize()}\n.*?(?=\n## |\Z)", re.DOTALL)
    text = old.sub(lambda _: section, text) if old.search(text) else text + section
    PAGE.write_text(text)


def main() -> None:
    """Runs the tables that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="*", choices=[[], *TABLES], metavar="TABLE")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peer-python", default="")
    given = parser.parse_args()
    for name in given.tables or TABLES:
        more = {"python": given.peer_python} if name == "peers" else {}
        repeats = max(given.repeats, LEAST_REPEATS.get(name, 1))
        write(name, TABLES[name](repeats, **more), repeats)


if __name__ == "__main__":
    main()
