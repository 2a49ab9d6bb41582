"""How near opis comes to the bare matrix product: ``python tests/benchmarks/run.py``.

Ratios are taken within this run, the two sides in turn; absolute times are this machine's alone.
``--quick`` takes fewer rows, ``--engines`` adds the other engines that are installed.
"""

import argparse
import os
import platform
import re
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).parents[1]))
import data

from opis_cli.counting.count import count_pairs
from opis_cli.counting.engines import ENGINES, is_installed
from opis_cli.embeddings.clean import from_arrays
from opis_cli.embeddings.read import read
from opis_cli.machine import processors, resident_memory
from opis_cli.records import Embeddings
from opis_cli.settings import Settings

ROUNDS = 5
_STATUS = Path("/proc/self/status")
# Side of the tiles of the bare product, and floats between the ends of their rows: those that were
# ever seen to win. Rows a power of two apart are slow to write.
TILINGS = ((512, 0), (768, 0), (1_024, 0), (1_024, 16), (1_536, 16), (2_048, 16))


def bare_product(vectors: np.ndarray, tiling: tuple[int, int], threads: int) -> None:
    """Multiply every tile of the upper triangle, and look at nothing."""
    count, (side, padding) = len(vectors), tiling
    tiles = iter([(a, c) for a in range(0, count, side) for c in range(a, count, side)])
    lock = threading.Lock()

    def work() -> None:
        out = np.empty((side, side + padding), np.float32)
        while True:
            with lock:
                tile = next(tiles, None)
            if tile is None:
                return
            left, right = (vectors[start : start + side] for start in tile)
            np.matmul(left, right.T, out=out[: len(left), : len(right)])

    with threadpool_limits(1, "blas"), ThreadPoolExecutor(threads) as pool:
        for job in [pool.submit(work) for _ in range(threads)]:
            job.result()


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def count(embeddings: Embeddings, engine: str = "numba") -> None:
    count_pairs(embeddings, Settings(engine=engine))


def in_turn(one: Callable[[], object], other: Callable[[], object]) -> tuple[float, float, str]:
    """Median seconds of two pieces of work, alternated, and the median of their ratios."""
    times = np.array([[seconds(one), seconds(other)] for _ in range(ROUNDS)])
    ratios = times[:, 1] / times[:, 0]
    shown = f"{np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})"
    return float(np.median(times[:, 0])), float(np.median(times[:, 1])), shown


def compare(rows: int, classes: int, dim: int) -> None:
    """Print one line: the bare product with its best tiling against a whole count."""
    vectors, labels = data.blobs(rows, classes, dim, spread=1.0)
    embeddings, threads = from_arrays(vectors, labels), processors()
    best = min(
        TILINGS,
        key=lambda tiling: min(
            seconds(lambda: bare_product(vectors, tiling, threads)) for _ in range(2)
        ),
    )
    count(embeddings)
    bare, ours, ratio = in_turn(
        lambda: bare_product(vectors, best, threads), lambda: count(embeddings)
    )
    rate = rows * (rows - 1) / 2 / ours
    print(
        f"| {rows:,} | {dim} | {classes:,} | {bare:.2f} s | {ours:.2f} s | {ratio} "
        f"| {rate / 1e6:.0f} M | {peak(rows, classes, dim):.0f} MB |",
        flush=True,
    )


def peak(rows: int, classes: int, dim: int) -> float:
    """Peak memory of a count over input and imports, in a process of its own."""
    return printed(f"import run; run.print_peak({rows}, {classes}, {dim})")


def printed(code: str) -> float:
    """Run code in a process of its own, in this folder, and return the number that it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def print_peak(rows: int, classes: int, dim: int) -> None:
    """Used by ``peak``: what a count adds to a process that has seen a small one."""
    count(from_arrays(*data.blobs(2_000, 10, 8)))
    embeddings = from_arrays(*data.blobs(rows, classes, dim, spread=1.0))
    print(added_peak(lambda: count(embeddings)) / 1e6)


def added_peak(work: Callable[[], object]) -> int:
    """Peak memory of a piece of work over what this process holds before it, in bytes."""
    if not _STATUS.exists():
        before = resident_memory()
        work()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    # Making the input had a peak of its own, which Linux forgets when told so.
    Path("/proc/self/clear_refs").write_text("5")
    before = resident_memory()
    work()
    found = re.search(r"VmHWM:\s+(\d+)", _STATUS.read_text())
    return int(found[1]) * 1024 - before


def engines(rows: int, classes: int, dim: int) -> None:
    """Every installed engine against numba, and Dask on two workers against one."""
    embeddings = from_arrays(*data.blobs(rows, classes, dim, spread=1.0))
    print(f"\n{rows:,} x {dim}, {classes:,} classes, in turn with numba:\n")
    print("| engine | numba | engine | ratio |\n|---|---|---|---|")
    for engine in ENGINES:
        if engine not in ("numba", "dask") and is_installed(engine):
            ours, theirs, ratio = in_turn(
                lambda: count(embeddings), lambda engine=engine: count(embeddings, engine)
            )
            print(f"| {engine} | {ours:.2f} s | {theirs:.2f} s | {ratio} |", flush=True)
    if is_installed("dask"):
        two, one, ratio = _clusters(rows, classes, dim)
        print(f"\nDask: two workers {two:.2f} s, one {one:.2f} s, {ratio} times as long.")


def _clusters(rows: int, classes: int, dim: int) -> tuple[float, float, str]:
    """Two workers against one; each reads the file itself, when it counts for the first time."""
    from distributed import LocalCluster

    def cluster(workers: int) -> LocalCluster:
        return LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            memory_limit=0,
            dashboard_address="127.0.0.1:0",
        )

    vectors, labels = data.blobs(rows, classes, dim, spread=1.0)
    with TemporaryDirectory() as folder, cluster(1) as one, cluster(2) as two:
        file = Path(folder) / "embeddings.npz"
        np.savez(file, embeddings=vectors, labels=labels)
        embeddings = read(file)
        chosen = [
            Settings(engine="dask", scheduler=started.scheduler_address) for started in (two, one)
        ]
        for settings in chosen:
            count_pairs(embeddings, settings)
        return in_turn(*(lambda s=settings: count_pairs(embeddings, s) for settings in chosen))


def machine() -> str:
    """The processor by name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    flags = next((line for line in lines if line.startswith("flags")), "")
    vectors = next((name for name in ("avx512f", "avx2") if name in flags.split()), "no AVX2")
    name = names[0] if names else platform.processor()
    return f"{name}, {processors()} of {os.cpu_count()} processors, {vectors}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a fifth of the rows")
    parser.add_argument("--engines", action="store_true", help="the other engines too")
    given = parser.parse_args()
    rows = 10_000 if given.quick else 50_000
    print(f"{machine()}; NumPy {np.__version__}\n")
    print("| rows | dim | classes | bare product | opis | ratio | pairs a second | peak |")
    print("|---|---|---|---|---|---|---|---|")
    for dim in (512, 128, 64):
        compare(rows, 1_000, dim)
    for growing, classes in ((rows // 2, 1_000), (rows * 2, 1_000), (rows, 100), (rows, 10_000)):
        compare(growing, classes, 128)
    if given.engines:
        engines(rows // 2, 1_000, 128)


if __name__ == "__main__":
    main()
