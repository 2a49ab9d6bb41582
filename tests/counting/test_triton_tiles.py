"""The kernel for a GPU, run by Triton's interpreter on the CPU, against the reference engine.

Where there is a GPU that it was made for, ``test_engines.py`` runs it there.
"""

import os
import subprocess
import sys
from dataclasses import replace
from importlib import import_module, metadata
from types import SimpleNamespace

import data
import numpy as np
import pytest

from opis_cli.counting import count, engines, prepared
from opis_cli.counting.grid import needs_of, place_grid
from opis_cli.counting.pilot import run_pilot
from opis_cli.counting.plan import plan_pairs
from opis_cli.counting.rows import ROUNDING
from opis_cli.counting.sizes import Sizes
from opis_cli.counting.tally import COUNTS, Tally
from opis_cli.embeddings.clean import Reading, from_arrays
from opis_cli.embeddings.gallery import with_gallery
from opis_cli.errors import SettingsError
from opis_cli.settings import Settings
from opis_cli.values import Calibration

pytestmark = pytest.mark.optional


@pytest.fixture(scope="module")
def tiles():
    """The module that runs the kernel, interpreted, on smaller blocks."""
    pytest.importorskip("torch", reason="needs opis-cli[torch]")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        pytest.importorskip("triton", reason="needs triton")
        found = import_module("opis_cli.counting.engines.triton_tiles")
        for name, size in (("_SIDE", 64), ("_DEPTH", 16), ("_AT_ONCE", 512), ("_ROWS_AT_ONCE", 50)):
            patch.setattr(found, name, size)
        yield found


def planned(embeddings, high=0.3, **chosen):
    """Plan the pairs, and place a grid as for large data."""
    plan = plan_pairs(embeddings, Settings(**chosen))
    needs = needs_of(Calibration("distance", 0.05, high), 0.01, None, None)
    return plan, place_grid(run_pilot(plan, needs, 0), needs, plan.rows, Sizes(small_pairs=0))


def tallies(tiles, embeddings, high, side=90, **chosen):
    """Count with the kernel and with the reference engine; return rows, grid and both tallies."""
    from opis_cli.counting.engines import torch as engine

    plan, grid = planned(embeddings, high, **chosen)
    one, other = Tally.empty(plan.rows, grid), Tally.empty(plan.rows, grid)
    for part in plan.passes:
        assert tiles.usable(part.rows, grid)
        some = list(part.tiles(side))
        engines.load("numpy").count_pairs(part.rows, grid, some, one, 1, lambda pairs: None)
        counts = engine.Counts(part.rows, grid, other, "cpu")
        counter = tiles.Counter(part.rows, grid, counts)
        for tile in some:
            counter.count(tile)
        counter.finish()
        counts.deliver(other)
    return plan.rows, grid, one, other


def assert_same(rows, grid, one, other):
    for name in COUNTS:
        expected, found = (getattr(tally, name).astype(np.int64) for tally in (one, other))
        assert found.sum() == expected.sum()
        # Two products may round a pair on an edge differently.
        assert np.abs(found - expected).sum() <= 8, name
    assert one.impostor[:, : grid.window].sum() > 500 < one.genuine.sum()
    slack = 2 * rows.rounding
    assert np.allclose(one.nearest_genuine, other.nearest_genuine, rtol=0, atol=slack)
    # Impostor pairs beyond the window may be left out.
    inside = one.nearest_impostor >= rows.cuts_of(grid)[grid.window - 1] + slack
    nearest = one.nearest_impostor[inside], other.nearest_impostor[inside]
    assert inside.sum() > 20 and np.allclose(*nearest, rtol=0, atol=slack)


@pytest.mark.parametrize(("metric", "high"), [("cosine", 0.5), ("euclidean", 4.0)])
def test_the_kernel_counts_what_the_reference_does(tiles, metric, high):
    # 24 values are no whole number of steps along the vectors, and 120 rows none of blocks.
    embeddings = from_arrays(*data.blobs(120, 9, 24, seed=7), Reading(metric=metric))
    rows, grid, one, other = tallies(tiles, embeddings, high, metric=metric)
    assert rows.centred == (metric == "euclidean")
    assert len(grid.by_class) - grid.window > 3
    assert_same(rows, grid, one, other)


def test_the_kernel_keeps_pairs_out_and_credits_groups(tiles):
    chosen = {"group_column": "group", "exclude_same": "photo"}
    vectors, labels = data.blobs(120, 9, 16, seed=3)
    number = np.arange(120)
    columns = {"group": number * 7 % 3, "photo": number * 5 % 31}
    asked = Reading(columns={"group": True, "photo": True})
    queries, gallery = (
        from_arrays(
            vectors[part], labels[part], asked, columns={k: v[part] for k, v in columns.items()}
        )
        for part in (slice(70), slice(70, 120))
    )
    embeddings = with_gallery(queries, gallery)
    rows, grid, one, other = tallies(tiles, embeddings, 0.6, **chosen)
    assert_same(rows, grid, one, other)


def test_scores_of_equal_rows_are_as_near_as_float32_tells(tiles):
    """At distance 0 a pair is accepted, however its many products are rounded."""
    vectors, labels = data.blobs(60, 6, 128, seed=1)
    vectors[30:], labels[30:50] = vectors[:30], labels[:20]
    *_, one, other = tallies(tiles, from_arrays(vectors, labels), 0.5)
    nearest = np.maximum(other.nearest_genuine, other.nearest_impostor)
    assert np.abs(nearest - 1).max() < ROUNDING
    for name in ("pooled_genuine", "pooled_impostor", "borderline_genuine"):
        expected, found = getattr(one, name)[0], getattr(other, name)[0]
        assert expected == found and (found >= 20 or name == "pooled_impostor")


def test_counts_of_more_than_31_bits_are_pooled(tiles):
    from opis_cli.counting.engines import torch as engine

    plan, grid = planned(from_arrays(*data.blobs(80, 6, 16)))
    tally = Tally.empty(plan.rows, grid)
    counts = engine.Counts(plan.rows, grid, tally, "cpu")
    counter = tiles.Counter(plan.rows, grid, counts)
    by_key = counts.impostor.view(-1, len(grid.by_class))
    by_key[:2, 0] = 2**31 - 1
    by_key[:2, 0] += 5
    counter.finish()
    assert counts.pooled_impostor[0] == 2**31 + 4


def test_grids_that_the_kernel_cannot_count_on_are_left_to_plain_torch(tiles):
    plan, grid = planned(from_arrays(*data.blobs(80, 6, 16)))
    rows = plan.rows
    assert tiles.usable(rows, grid)
    dense = replace(grid, by_class=np.arange(len(grid.thresholds)))
    thresholds = grid.thresholds.copy()
    thresholds[grid.window + 2] += 1e-3
    for other in (dense, replace(grid, thresholds=thresholds)):
        assert not tiles.usable(rows, other)
    assert not tiles.usable(replace(rows, scale=1e-30), grid)
    assert not tiles.usable(replace(rows, partners=2 * rows.vectors), grid)


def test_the_kernel_compiles_for_the_gpu_that_it_was_made_for():
    """The assembly is seen by no interpreter, but the compiler needs no GPU."""
    pytest.importorskip("triton", reason="needs triton")
    words, own = [sys.executable, "-c", COMPILE], {**os.environ, "TRITON_INTERPRET": "0"}
    done = subprocess.run(words, env=own, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["ballot", "red.shared", "wgmma"], done.stderr


COMPILE = """
import inspect
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from opis_cli.counting.engines.triton_kernel import count_tile

block = "tensordesc<fp16[128,64]>"
types = {"high": block, "low": block, "lists": "*i64", "pooled": "*i64", "borderline": "*i64"}
types |= {"zones": "*i64"} | dict.fromkeys(["labels", "keys", "places", "credits", "few"], "*i32")
types |= dict.fromkeys(["first_veto", "second_veto"], "*i32")
types |= dict.fromkeys(["half_squares", "cuts", "near_cuts", "few_cuts", "nearest"], "*fp32")
types |= dict.fromkeys(["a", "b", "c", "d", "rows", "columns", "steps"], "i32")
constants = {
    "GENUINE": False, "DIM": 64, "CENTRED": False, "VETOES": 0, "ACCURATE": True, "FEW": 3,
    "CODES": 1 << 15, "ZONES": 128, "SIDE": 128, "DEPTH": 64, "GROUP": 8, "AT_ONCE": 256,
}
names = list(inspect.signature(count_tile.fn).parameters)
types = {
    name: "constexpr" if name in constants else types.get(name, "fp32") for name in names
}
source = ASTSource(count_tile, signature=types, constexprs=constants)
options = {"num_warps": 8, "num_stages": 2, "enable_fp_fusion": False}
made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options).asm["ptx"]
print(*(word for word in ("ballot", "red.shared", "wgmma") if word in made))
"""


@pytest.fixture
def hopper(monkeypatch):
    """A torch that sees a GPU with a memory of 80 GB; the parts of it can be changed."""
    torch = pytest.importorskip("torch", reason="needs opis-cli[torch]")
    card = SimpleNamespace(total_memory=80e9)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: card)
    monkeypatch.setattr(metadata, "version", lambda name: "3.6.0")
    return torch, card


def test_auto_takes_a_gpu_for_long_work(hopper, monkeypatch):
    torch, card = hopper
    embeddings = from_arrays(*data.blobs(60, 6))

    def chosen(pairs=10**10, name="auto"):
        return prepared.choose_engine(name, pairs, embeddings)

    # With 16 processors an H100 was slower at 6.0 billion pairs: 7.1 s instead of 3.0 s.
    monkeypatch.setattr(prepared, "processors", lambda: 16)
    assert chosen() == "numba"
    monkeypatch.setattr(prepared, "processors", lambda: 4)
    assert chosen() == "torch"
    assert chosen(10**8) == "numba" and chosen(10**6) == "numpy"
    assert chosen(name="numba") == "numba"
    for owner, name, other in (
        (torch.cuda, "is_available", lambda: False),
        (torch.cuda, "get_device_capability", lambda: (8, 0)),
        (torch.version, "cuda", None),
        (metadata, "version", lambda name: "3.5.1"),
        (card, "total_memory", 1e5),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, other)
            assert chosen() == "numba", name
    monkeypatch.setattr(engines, "is_installed", lambda name: name != "torch")
    assert chosen() == "numba"


def test_rows_that_the_gpu_cannot_hold_are_a_message(hopper, monkeypatch):
    torch, _ = hopper
    engine = engines.load("torch")

    def full(*given):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(engine, "Counts", full)
    embeddings = from_arrays(*data.blobs(60, 6))
    with pytest.raises(SettingsError, match=r"60 rows of 6 classes .* engine='numba'"):
        count.count_pairs(embeddings, Settings(engine="torch", device="cpu"))
