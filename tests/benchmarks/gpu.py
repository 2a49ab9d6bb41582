"""How near the GPU comes to its bare float32 product: ``python tests/benchmarks/gpu.py``.

The script counts all pairs of made rows with ``--engine torch`` on a CUDA device, and multiplies
the same pairs in float32 beside it, each pair once. Then it prints where the time went, and how far
the counts are from those of the CPU. ``--rows``, ``--dim`` and ``--classes`` give another size.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from opis_cli.counting import count, halves, nearest, pilot, prepared, split
from opis_cli.counting.engines import torch as engine
from opis_cli.counting.engines import triton_tiles
from opis_cli.embeddings.clean import from_arrays
from opis_cli.machine import processors
from opis_cli.records import Embeddings, PairCounts
from opis_cli.settings import Settings

_SIDE = 8_192
_STAGES = (
    (prepared, "plan_pairs", "prepare the rows"),
    (pilot, "run_pilot", "pilot"),
    (prepared, "place_grid", "place the grid"),
    (engine, "count_pairs", "engine, without the next three"),
    (triton_tiles.Counter, "__init__", "- rows to the device"),
    (triton_tiles.Counter, "finish", "- counts beyond the window"),
    (engine.Counts, "deliver", "- counts to the host"),
    (prepared, "_counts", "sums, without the searches"),
    (nearest, "searches_of", "searches for the nearest rows"),
    (halves, "count", "halves of classes"),
    (split, "count", "halves of rows"),
)


def made(rows: int, classes: int, dim: int) -> tuple[Any, Any]:
    """Normal clouds around random centres, as ``data.blobs`` makes, but on the device."""
    random = torch.Generator("cuda").manual_seed(0)
    own = {"generator": random, "device": "cuda"}
    labels = torch.randint(classes, (rows,), **own)
    spread = 0.6 + 0.8 * torch.rand(classes, **own)
    vectors = torch.randn((rows, dim), **own)
    vectors *= spread[labels, None]
    vectors += torch.randn((classes, dim), **own)[labels]
    return vectors.cpu().numpy(), labels.cpu().numpy()


def seconds(work: Callable[[], object]) -> float:
    torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def bare_product(vectors: Any) -> float:
    """Multiply every tile of the upper triangle in float32, look at nothing, and return seconds."""
    vectors, out = torch.from_numpy(vectors).to("cuda"), torch.empty((_SIDE, _SIDE), device="cuda")

    def multiply() -> None:
        for a in range(0, len(vectors), _SIDE):
            for c in range(a, len(vectors), _SIDE):
                left, right = vectors[a : a + _SIDE], vectors[c : c + _SIDE]
                torch.mm(left, right.T, out=out[: len(left), : len(right)])

    return min(seconds(multiply) for _ in range(2))


@contextmanager
def timed() -> Iterator[dict[str, float]]:
    """Measure the seconds of each stage, without those of the stages inside it."""
    taken: dict[str, float] = {}
    inside = [0.0]

    def watched(function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def run(*given: Any, **named: Any) -> Any:
            found = None

            def work() -> None:
                nonlocal found
                found = function(*given, **named)

            inside.append(0.0)
            whole = seconds(work)
            taken[name] = taken.get(name, 0.0) + whole - inside.pop()
            inside[-1] += whole
            return found

        return run

    with ExitStack() as stack:
        for owner, function, name in _STAGES:
            stack.enter_context(
                patch.object(owner, function, watched(getattr(owner, function), name))
            )
        yield taken


def measure(rows: int, classes: int, dim: int) -> None:
    """Print the line of one size, and the split of its time."""
    vectors, labels = made(rows, classes, dim)
    bare = bare_product(vectors)
    torch.cuda.empty_cache()
    embeddings = from_arrays(vectors, labels)
    torch.cuda.reset_peak_memory_stats()
    with timed() as taken:
        whole = seconds(lambda: counted(embeddings, "torch"))
    kernel, peak = taken["engine, without the next three"], torch.cuda.max_memory_allocated()
    print(
        f"| {rows:,} | {dim} | {classes:,} | {bare:.2f} s | {kernel:.2f} s | {kernel / bare:.2f} "
        f"| {rows * (rows - 1) / 2 / kernel / 1e9:.0f} billion | {whole:.2f} s "
        f"| {peak / 1e9:.1f} GB |\n"
    )
    for name, took in taken.items():
        print(f"    {took:8.3f} s  {name}")
    print(f"    {whole - sum(taken.values()):8.3f} s  the rest\n", flush=True)


def counted(embeddings: Embeddings, name: str) -> PairCounts:
    return count.count_pairs(embeddings, Settings(engine=name))


def deviation(rows: int, classes: int, dim: int) -> None:
    """Print how far the counts of the device are from those of the CPU."""
    embeddings = from_arrays(*made(rows, classes, dim))
    here, there = (counted(embeddings, name) for name in ("numba", "torch"))
    for kind in ("pooled_genuine", "pooled_impostor", "genuine", "impostor"):
        one, other = (getattr(counts, kind).astype(np.int64) for counts in (here, there))
        off = np.abs(one - other)
        print(f"{kind}: at most {off.max():,} accepted pairs off, of up to {one.max():,}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--classes", type=int, help="a tenth of the rows, if not given")
    given = parser.parse_args()
    print(
        f"{torch.cuda.get_device_name()}, {processors()} processors; torch {torch.__version__}, "
        f"NumPy {np.__version__}\n"
    )
    # What is compiled or set up once is not measured.
    counted(from_arrays(*made(20_000, 2_000, given.dim)), "torch")
    print("| rows | dim | classes | bare product | counting | ratio | a second | whole | memory |")
    print("|---|---|---|---|---|---|---|---|---|")
    measure(given.rows, given.classes or given.rows // 10, given.dim)
    deviation(min(given.rows, 50_000), 5_000, given.dim)


if __name__ == "__main__":
    main()
