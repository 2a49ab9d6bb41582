"""opis beside what people would use instead: ``python tests/benchmarks/rivals.py``.

All approaches judge the same made rows, in turn within this run, each in a process of its own. Time
leaves out imports and the making of rows; memory is the peak over the rows. What they find must
agree. The run writes ``rivals.json``, the table of the README and the figure; ``--redraw`` writes
the last two from the first. ``--quick`` takes few rows and writes nothing.
"""

import argparse
import json
import math
import re
import resource
import signal
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

import rival_report
import run
from rival_scripts import RIVALS, Answers, Rival

sys.path.insert(0, str(Path(__file__).parents[1]))
import data

RESULTS = Path(__file__).parent / "rivals.json"
ROWS = (5_000, 20_000, 50_000)
CLASSES, DIM = 1_000, 128
ROUNDS, REPEATED = 3, 20.0
"""How often each approach is timed, if it takes at most so many seconds; the others once."""
MINUTES, GIGABYTES = 3, 16
"""What a process may take before it is stopped."""
ROUNDING = {"FRR at FAR 1 %": 2e-2}
"""How far answers may be apart, over their size, other than a thousandth: opis reads this one on
its grid of thresholds."""
_NO_MEMORY = re.compile(
    "unable to allocate|can't allocate|bad_alloc|out of memory|memoryerror", re.IGNORECASE
)


def made(rows: int, classes: int = CLASSES) -> data.Data:
    """The rows that all approaches judge."""
    return data.blobs(rows, classes, DIM, spread=1.0)


def measure(rows: int, rivals: tuple[Rival, ...]) -> dict[str, Any]:
    """Time all approaches in turn, and check that they agree with the first, which is opis."""
    found: dict[str, list[dict[str, Any]]] = {rival.package: [] for rival in rivals}
    for _ in range(ROUNDS):
        for rival in rivals:
            before = found[rival.package]
            if before and before[0].get("seconds", math.inf) > REPEATED:
                continue
            before.append(_in_a_process(rival, rows))
            shown = before[-1].get("failed") or f"{before[-1]['seconds']:.2f} s"
            print(f"{rows:,} rows, {rival.name}: {shown}", flush=True)
            ours = found[rivals[0].package][0]["answers"]
            check(rival.name, before[-1].get("answers", {}), ours)
    return {package: _together(several) for package, several in found.items()}


def _together(several: list[dict[str, Any]]) -> dict[str, Any]:
    """The median time and the highest peak of all rounds, or how the first one failed."""
    if "failed" in several[0]:
        return several[0]
    return {
        "seconds": median(one["seconds"] for one in several),
        "bytes": max(one["bytes"] for one in several),
    }


def check(tool: str, answers: Answers, ours: Answers) -> None:
    """Stop if an approach found something else than opis, beyond rounding."""
    for name, value in answers.items():
        if not math.isclose(value, ours[name], rel_tol=ROUNDING.get(name, 1e-3)):
            raise SystemExit(f"{name} is {value:.6g} by {tool} and {ours[name]:.6g} by opis.")


def _in_a_process(rival: Rival, rows: int) -> dict[str, Any]:
    """What one approach took and found, or how it failed."""
    code = f"import rivals; rivals.print_one({RIVALS.index(rival)}, {rows})"
    words = [sys.executable, "-c", code]
    folder = Path(__file__).parent
    try:
        done = subprocess.run(
            words, cwd=folder, capture_output=True, text=True, timeout=60 * MINUTES
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"over {MINUTES} min"}
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    # OpenBLAS ends with a segmentation fault where it gets no memory.
    ended = done.returncode in (-signal.SIGKILL, -signal.SIGSEGV)
    if ended or _NO_MEMORY.search(done.stderr[-2_000:]):
        return {"failed": f"over {GIGABYTES} GB"}
    raise SystemExit(f"{rival.name} failed on {rows:,} rows:\n{done.stderr}")


def print_one(index: int, rows: int) -> None:
    """Used by ``measure``: run one approach in this process, and print what came out as JSON."""
    limit = GIGABYTES * 10**9
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    script = RIVALS[index].script
    # Imports, compiled code and threads are there afterwards.
    script(*made(600, 10))
    vectors, labels = made(rows)
    answers: Answers = {}
    taken: list[float] = []

    def work() -> None:
        taken.append(run.seconds(lambda: answers.update(script(vectors, labels))))

    peak = run.added_peak(work)
    found = {name: float(value) for name, value in answers.items()}
    # On a line of its own: a tool may have drawn a progress bar.
    print("\n" + json.dumps({"seconds": taken[0], "bytes": peak, "answers": found}))


def installed() -> dict[str, str]:
    """The version of each tool that is installed, by its package."""
    versions = {}
    for rival in RIVALS:
        try:
            versions[rival.package] = metadata.version(rival.package)
        except metadata.PackageNotFoundError:
            print(f"{rival.name} is left out: it is not installed.")
    return versions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2,000 rows; write nothing")
    parser.add_argument("--redraw", action="store_true", help="table and figure from rivals.json")
    given = parser.parse_args()
    if not given.redraw:
        versions = installed()
        rivals = tuple(rival for rival in RIVALS if rival.package in versions)
        sizes = (2_000,) if given.quick else ROWS
        found = {
            "machine": run.machine(),
            "versions": versions,
            "limits": {"seconds": 60 * MINUTES, "bytes": GIGABYTES * 10**9},
            "rows": {str(rows): measure(rows, rivals) for rows in sizes},
        }
        print(f"\n{rival_report.table(found)}")
        if given.quick:
            return
        RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    rival_report.show(json.loads(RESULTS.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
