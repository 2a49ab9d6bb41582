"""How near opis comes to the bare matrix product: ``python tests/benchmarks/run.py``.

Ratios are taken within this run, the two sides in turn; absolute times are this machine's alone.
``--quick`` takes fewer rows. The naive script is timed where scikit-learn is installed.
"""

import argparse
import os
import platform
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).parents[1]))
import data

from opis_cli.embeddings import from_arrays
from opis_cli.machine import processors
from opis_cli.pairs import count_pairs
from opis_cli.settings import Settings

ROUNDS = 5


def bare_product(vectors: np.ndarray, side: int, threads: int) -> None:
    """Multiply every tile of the upper triangle, and look at nothing."""
    count = len(vectors)
    tiles = iter([(a, c) for a in range(0, count, side) for c in range(a, count, side)])
    lock = threading.Lock()

    def work() -> None:
        out = np.empty(side * side, np.float32)
        while True:
            with lock:
                tile = next(tiles, None)
            if tile is None:
                return
            left, right = (vectors[start : start + side] for start in tile)
            shape = len(left), len(right)
            np.matmul(left, right.T, out=out[: shape[0] * shape[1]].reshape(shape))

    with threadpool_limits(1, "blas"), ThreadPoolExecutor(threads) as pool:
        for job in [pool.submit(work) for _ in range(threads)]:
            job.result()


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare(rows: int, classes: int, dim: int) -> None:
    """Print one line: the bare product with its best tiling against a whole count."""
    vectors, labels = data.blobs(rows, classes, dim, spread=1.0)
    embeddings, threads = from_arrays(vectors, labels), processors()
    times = {
        side: seconds(lambda side=side: bare_product(vectors, side, threads))
        for side in (256, 512, 1_024, 2_048)
    }
    side = min(times, key=lambda side: times[side])
    count_pairs(embeddings, Settings(engine="numba"))
    bare, ours = [], []
    for _ in range(ROUNDS):
        bare.append(seconds(lambda: bare_product(vectors, side, threads)))
        ours.append(seconds(lambda: count_pairs(embeddings, Settings(engine="numba"))))
    ratios = np.array(ours) / np.array(bare)
    rate = rows * (rows - 1) / 2 / np.median(ours)
    print(
        f"| {rows:,} | {dim} | {classes:,} | {np.median(bare):.2f} s | {np.median(ours):.2f} s "
        f"| {np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f}) "
        f"| {rate / 1e6:.0f} M | {peak(rows, classes, dim):.0f} MB |",
        flush=True,
    )


def peak(rows: int, classes: int, dim: int) -> float:
    """Peak memory of a count over input and imports, in a process of its own."""
    code = f"import run; run.print_peak({rows}, {classes}, {dim})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def print_peak(rows: int, classes: int, dim: int) -> None:
    """Used by ``peak``: what a count adds to the peak of a process that has seen a small one."""
    count_pairs(from_arrays(*data.blobs(2_000, 10, 8)), Settings(engine="numba"))
    embeddings = from_arrays(*data.blobs(rows, classes, dim, spread=1.0))
    before = resident()
    count_pairs(embeddings, Settings(engine="numba"))
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before) / 1e6)


def resident() -> int:
    from opis_cli.machine import resident_memory

    return resident_memory()


def naive(rows: int, classes: int, dim: int) -> None:
    """The script that a person writes today, beside opis on the same rows."""
    try:
        from sklearn.metrics import pairwise_distances
    except ImportError:
        print("\nThe naive script is left out: scikit-learn is not installed.")
        return
    vectors, labels = data.blobs(rows, classes, dim)

    def script() -> None:
        distances = pairwise_distances(vectors, metric="cosine")
        thresholds = np.linspace(0, 2, 100)
        np.fill_diagonal(distances, np.inf)
        for label in range(classes):
            own = distances[labels == label]
            for accepted in (own[:, labels == label], own[:, labels != label]):
                np.searchsorted(np.sort(accepted, axis=None), thresholds)

    embeddings = from_arrays(vectors, labels)
    theirs = seconds(script)
    ours = seconds(lambda: count_pairs(embeddings, Settings(engine="numba")))
    print(
        f"\nThe naive script, {rows:,} x {dim}: {theirs:.1f} s, {theirs / ours:.0f} times opis's."
    )


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
    rows = 10_000 if parser.parse_args().quick else 50_000
    print(f"{machine()}; NumPy {np.__version__}\n")
    print("| rows | dim | classes | bare product | opis | ratio | pairs a second | peak |")
    print("|---|---|---|---|---|---|---|---|")
    for dim in (512, 128, 64):
        compare(rows, 1_000, dim)
    for growing, classes in ((rows // 2, 1_000), (rows, 10_000)):
        compare(growing, classes, 128)
    naive(rows // 5, 1_000, 128)


if __name__ == "__main__":
    main()
