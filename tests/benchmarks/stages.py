"""Where the time of a count goes: ``python tests/benchmarks/stages.py``.

The stages of a whole count are timed from outside, by functions put in the place of those of opis.
The steps of the compiled scan are told by what it takes without them, on one block of scores. The
times of all counting threads are added up and divided by their number.
"""

import argparse
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).parents[1]))
import data

from opis_cli.counting import count, halves, nearest, pilot, prepared, split
from opis_cli.counting.engines import numba
from opis_cli.counting.engines.numba_tables import Block
from opis_cli.counting.prepared import Prepared
from opis_cli.counting.sizes import SIZES
from opis_cli.embeddings.clean import from_arrays
from opis_cli.machine import processors
from opis_cli.settings import Settings

ROUNDS = 5
OUTSIDE = (
    ("rows made ready", prepared, "plan_pairs"),
    ("pilot", pilot, "run_pilot"),
    ("grid", prepared, "place_grid"),
    ("nearest rows", nearest, "searches_of"),
    ("sums by class", prepared, "_over_classes"),
    ("halves of classes", halves, "count"),
    ("halves of rows", split, "count"),
)
"""Stages before and after all pairs are counted."""
INSIDE = (
    ("product", np, "matmul"),
    ("scan", numba, "scan"),
    ("genuine pairs", numba, "credit_genuine"),
    ("credits of a tile delivered", numba, "deliver_credits"),
    ("few thresholds of a tile delivered", numba, "credit_beyond"),
)
"""Stages of the workers while all pairs are counted."""


class Clock:
    """Adds up the seconds of stages, on all threads."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.lock = threading.Lock()
        self.counting = False

    def timed(self, stage: str, work: Callable[..., Any], *, inside: bool) -> Callable[..., Any]:
        """Return a function that does the work, and adds its time to a stage."""

        def done(*args: Any, **kwargs: Any) -> Any:
            if inside and not self.counting:
                return work(*args, **kwargs)
            start = time.perf_counter()
            result = work(*args, **kwargs)
            with self.lock:
                self.seconds[stage] += time.perf_counter() - start
            return result

        return done

    @contextmanager
    def running(self) -> Iterator[None]:
        """Put timed functions in the place of those of opis."""

        def counted(*args: Any, **kwargs: Any) -> Any:
            self.counting = True
            try:
                return whole(*args, **kwargs)
            finally:
                self.counting = False

        whole = count._count_parts
        with ExitStack() as stack:
            for stages, inside in ((OUTSIDE, False), (INSIDE, True)):
                for stage, module, name in stages:
                    work = self.timed(stage, getattr(module, name), inside=inside)
                    stack.enter_context(patch.object(module, name, work))
            stack.enter_context(patch.object(count, "_count_parts", counted))
            yield


def stages(rows: int, classes: int, dim: int) -> None:
    """Print the time of each stage of a count."""
    embeddings = from_arrays(*data.blobs(rows, classes, dim, spread=1.0))
    settings, threads = Settings(engine="numba"), processors()
    count.count_pairs(embeddings, settings)
    found = []
    for _ in range(ROUNDS):
        clock, start = Clock(), time.perf_counter()
        with clock.running():
            count.count_pairs(embeddings, settings)
        found.append((time.perf_counter() - start, clock.seconds))
    total, seconds = sorted(found, key=lambda one: one[0])[ROUNDS // 2]
    print(f"\n{rows:,} x {dim}, {classes:,} classes, {total:.3f} s on {threads} threads:\n")
    print("| stage | seconds | share |\n|---|---|---|")
    per_thread = {stage for stage, _, _ in INSIDE}
    rest = total
    for stage, spent in seconds.most_common():
        own = spent / (threads if stage in per_thread else 1)
        rest -= own
        print(f"| {stage} | {own:.3f} | {own / total:.1%} |")
    print(
        f"| the rest, and waiting for the last tile | {rest:.3f} | {rest / total:.1%} |", flush=True
    )


def steps(rows: int, classes: int, dim: int) -> None:
    """Print what the steps of the scan take, in nanoseconds a pair on one thread."""
    embeddings = from_arrays(*data.blobs(rows, classes, dim, spread=1.0))
    work = Prepared.of(embeddings, Settings(engine="numba"), None, lambda text: None, SIZES)
    grid, ready = work.place(work.seen), work.plan.rows
    cells, side = numba._cells_of(ready, grid), numba.BLOCK
    spans = ready.class_begins, ready.class_ends
    worker = numba._Worker(ready, spans, cells, work.plan.empty_tally(grid), threading.Lock())
    first = rows - side
    begin = numba.find_places(ready.keys, 0, side, cells.window, worker.numbers, worker.found, 0,
                              worker.buffers.row_places)  # fmt: skip
    numba.find_places(ready.keys, first, rows, cells.window, worker.numbers, worker.found, begin,
                      worker.buffers.column_places)  # fmt: skip
    block = Block(worker.scores, side, 0, 0, first, first)
    product = (ready.vectors[:side], ready.partners[first:].T)
    # With wider zones the highest score lies beyond the window too, so no pair is listed.
    highest, lowest = np.matmul(*product).max(), -cells.shift / cells.scale
    scale = np.float32((numba.ZONES - 0.1) / (highest - lowest))
    wider = {"scale": scale, "shift": np.float32(-lowest * scale)}
    variants = {
        "all": cells,
        "without few thresholds": cells._replace(few=cells.few[:0]),
        "without listed pairs": cells._replace(**wider),
        "without both": cells._replace(**wider, few=cells.few[:0]),
    }
    times: dict[str, list[float]] = {name: [] for name in ("product", *variants)}
    with threadpool_limits(1, "blas"):
        for _ in range(4 * ROUNDS):
            for name, some in variants.items():
                start = time.perf_counter()
                np.matmul(*product, out=worker.scores[:, :side])
                middle = time.perf_counter()
                numba.scan(block, worker.ends, ready.keys, some, worker.buffers)
                times["product"].append(middle - start)
                times[name].append(time.perf_counter() - middle)
                worker.buffers.carried[0] = 0
    best = {name: min(spent) / side**2 * 1e9 for name, spent in times.items()}
    print(f"\nA block of {side:,} x {side:,} scores, {dim} dimensions, {classes:,} classes:\n")
    print("| step | ns a pair |\n|---|---|")
    print(f"| product | {best['product']:.2f} |")
    print(f"| zones: find, count, list | {best['without both']:.2f} |")
    print(f"| few thresholds | {best['all'] - best['without few thresholds']:.2f} |")
    print(f"| credits of listed pairs | {best['all'] - best['without listed pairs']:.2f} |")
    print(f"| the whole scan | {best['all']:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a fifth of the rows")
    rows = 10_000 if parser.parse_args().quick else 50_000
    for classes, dim in ((1_000, 64), (1_000, 128), (10_000, 128), (1_000, 512)):
        stages(rows, classes, dim)
    for classes, dim in ((1_000, 64), (10_000, 128)):
        steps(rows, classes, dim)


if __name__ == "__main__":
    main()
