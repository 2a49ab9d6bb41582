"""Every engine against brute force in float64, and against each other."""

import threading

import data
import numpy as np
import oracle
import pytest
from conftest import optional
from hypothesis import given, settings
from hypothesis import strategies as st

import opis_cli.counting.grid
from opis_cli.counting import engines
from opis_cli.counting.count import count_pairs
from opis_cli.counting.grid import needs_of as grid_needs
from opis_cli.counting.grid import place_grid
from opis_cli.counting.pilot import run_pilot
from opis_cli.counting.plan import plan_pairs
from opis_cli.counting.rows import CODES, Codes, code_step, prepare
from opis_cli.counting.sizes import SIZES, Sizes
from opis_cli.counting.tally import Tally, Tile, tiles_along, tiles_of
from opis_cli.embeddings.clean import Reading, from_arrays
from opis_cli.records import PairCounts
from opis_cli.settings import Settings
from opis_cli.values import Calibration

ROUNDING = 1e-6
KERNELS = ["numpy", "numba", optional("torch")]
WHOLE, COARSE = "distance:0.05..1.5", "distance:0.05..0.3"
LARGE = Sizes(small_pairs=0)
"""Any data is counted as large data are."""


@pytest.fixture(params=["dense", "coarse"])
def calibration(request):
    """Counts by class everywhere, as for small data; or at a few thresholds beyond a window."""
    return WHOLE if request.param == "dense" else COARSE


def count(vectors, labels, engine, metric="cosine", **settings) -> PairCounts:
    embeddings = from_arrays(vectors, labels, Reading(metric=metric))
    chosen = Settings(engine=engine, metric=metric, **{"calibration": WHOLE} | settings)
    sizes = LARGE if chosen.calibration == COARSE else SIZES
    return count_pairs(embeddings, chosen, sizes=sizes)


def assert_counts_match(counts: PairCounts, vectors, labels, metric="cosine") -> None:
    """Counts lie between the oracle's a float32 rounding below and above each threshold."""
    thresholds = counts.grid.thresholds
    distance = oracle.distances(vectors, metric)
    if metric == "cosine":
        around = thresholds - ROUNDING, thresholds + ROUNDING
    else:
        centred = vectors - vectors.mean(axis=0, dtype=np.float64)
        width = 2 * ROUNDING * np.square(centred).sum(axis=1).max()
        around = (
            np.sqrt(np.maximum(thresholds**2 - width, -1e-300).clip(0)),
            np.sqrt(thresholds**2 + width),
        )
        around[0][thresholds**2 < width] = -1
    low, high = (
        oracle.accepted_counts(vectors, labels, t, metric, distance=distance) for t in around
    )
    kept = counts.grid.by_class
    for name in ("genuine", "impostor"):
        ours, pooled = getattr(counts, name), getattr(counts, f"pooled_{name}")
        assert np.all(getattr(low, name)[:, kept] <= ours)
        assert np.all(ours <= getattr(high, name)[:, kept])
        assert np.all(getattr(low, f"pooled_{name}") <= pooled)
        assert np.all(pooled <= getattr(high, f"pooled_{name}"))
    if counts.genuine_beyond is not None:
        window = counts.grid.window
        assert np.all(low.genuine[:, window:] <= counts.genuine_beyond)
        assert np.all(counts.genuine_beyond <= high.genuine[:, window:])
    assert np.array_equal(counts.sizes, low.sizes)
    assert np.array_equal(counts.genuine_pairs, low.genuine_total)
    assert np.array_equal(counts.impostor_pairs, low.impostor_total)


@pytest.mark.parametrize("engine", KERNELS)
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("name", data.MADE)
def test_counts_equal_brute_force(name, metric, engine, calibration):
    vectors, labels = data.MADE[name]
    counts = count(vectors, labels, engine, metric, calibration=calibration)
    assert (len(counts.grid.by_class) < len(counts.grid.thresholds)) == (calibration != WHOLE)
    assert (counts.genuine_beyond is None) == (calibration == WHOLE)
    assert_counts_match(counts, vectors, labels, metric)


@pytest.mark.parametrize("engine", KERNELS)
@pytest.mark.parametrize("name", data.MADE)
def test_recall_equals_brute_force_with_ties_to_the_lowest_row(name, engine, calibration):
    vectors, labels = data.MADE[name]
    counts = count(vectors, labels, engine, calibration=calibration)
    found = oracle.recall_at_1(vectors, labels)
    # Exact but for ties that only the last bits of a float64 product tell apart.
    unsure = np.bincount(
        np.unique(labels, return_inverse=True)[1], weights=found.near_tie & found.counted
    )
    expected = np.bincount(
        np.unique(labels, return_inverse=True)[1], weights=found.hits & found.counted
    )
    off = np.abs(counts.nearest_hits - expected)
    assert np.all(off <= (unsure if name in ("duplicated", "lattice") else 0))


@pytest.mark.parametrize("engine", ["numba", optional("torch"), optional("dask")])
def test_engines_count_the_same(engine, calibration, request):
    # Rows enough for several tiles of every engine.
    vectors, labels = data.blobs(3_600, 40, 24, seed=7)
    own = {}
    if engine == "dask":
        own["scheduler"] = request.getfixturevalue("cluster").scheduler_address
    one = count(vectors, labels, "numpy", calibration=calibration)
    other = count(vectors, labels, engine, calibration=calibration, **own)
    names = ["genuine", "impostor", "pooled_genuine", "pooled_impostor", "nearest_hits"]
    for name in names + ["genuine_beyond"] * (calibration != WHOLE):
        expected, found = getattr(one, name).astype(int), getattr(other, name).astype(int)
        # Two products may round a pair on an edge differently: of a million, one or two.
        off = np.abs(expected - found)
        assert off.max() <= 4 + 1e-6 * expected.max()
        assert off.mean() < (0.003 if expected.ndim == 2 else 0.02) + 1e-8 * expected.max()


def prepared(vectors, labels, metric="cosine", high=1.5, sizes=SIZES):
    planned = plan_pairs(
        from_arrays(vectors, labels, Reading(metric=metric)), Settings(metric=metric)
    )
    needs = grid_needs(Calibration("distance", 0.05, high), 0.01, None, None)
    return planned.rows, place_grid(run_pilot(planned, needs, 0), needs, planned.rows, sizes)


def tally_of(engine, rows, grid, tiles, threads=1) -> Tally:
    tally = Tally.empty(rows, grid)
    seen = []
    engines.load(engine).count_pairs(rows, grid, tiles, tally, threads, seen.append)
    assert sum(seen) == sum(tile.pairs for tile in tiles)
    return tally


@pytest.mark.parametrize("engine", KERNELS)
@settings(max_examples=15, deadline=None)
@given(side=st.integers(1, 90), threads=st.integers(1, 3))
def test_any_tiling_and_any_threads_count_the_same(engine, side, threads):
    rows, grid = prepared(*data.blobs(80, 7, seed=2))
    whole = tally_of(engine, rows, grid, list(tiles_of(80, 80)))
    tiled = tally_of(engine, rows, grid, list(tiles_of(80, side)), threads)
    assert np.abs(whole.impostor.astype(int) - tiled.impostor.astype(int)).sum() <= 4
    assert np.abs(whole.genuine.astype(int) - tiled.genuine.astype(int)).sum() <= 4
    assert np.allclose(whole.nearest_genuine, tiled.nearest_genuine, atol=1e-6)
    assert np.allclose(whole.nearest_impostor, tiled.nearest_impostor, atol=1e-6)


@pytest.mark.parametrize("engine", KERNELS)
def test_tallies_add(engine):
    rows, grid = prepared(*data.blobs(200, 7, seed=2))
    tiles = list(tiles_of(200, 64))
    together = tally_of(engine, rows, grid, tiles)
    apart = Tally.empty(rows, grid)
    for part in (tiles[:3], tiles[3:]):
        engines.load(engine).count_pairs(rows, grid, part, apart, 1, lambda pairs: None)
    assert np.array_equal(together.impostor, apart.impostor)
    assert np.array_equal(together.pooled_impostor, apart.pooled_impostor)
    assert np.array_equal(together.genuine, apart.genuine)
    assert np.array_equal(together.nearest_impostor, apart.nearest_impostor)


@pytest.mark.parametrize("engine", KERNELS)
def test_pairs_are_credited_to_keys_and_judged_by_labels(engine):
    vectors, labels = data.blobs(300, 10, seed=9)
    keys = np.random.default_rng(0).integers(0, 4, 300)
    embeddings = from_arrays(vectors, labels)
    _, grid = prepared(vectors, labels)
    rows = prepare(embeddings, "cosine", keys)
    tally = tally_of(engine, rows, grid, list(tiles_of(300, 128)))
    distance = oracle.distances(vectors, "cosine")
    alike = labels[:, None] == labels[None, :]
    np.fill_diagonal(distance, np.inf)
    column = len(grid.by_class) // 3
    threshold = grid.class_thresholds[column] + ROUNDING / 2
    for key in range(4):
        accepted = distance[keys == key] <= threshold
        genuine = (accepted & alike[keys == key]).sum()
        impostor = (accepted & ~alike[keys == key]).sum()
        assert tally.genuine[key, : column + 1].sum() == genuine
        assert tally.impostor[key, : column + 1].sum() == impostor


@settings(max_examples=200)
@given(rows=st.integers(1, 60), side=st.integers(1, 20))
def test_tiles_hold_every_pair_once(rows, side):
    seen = np.zeros((rows, rows), int)
    for tile in tiles_of(rows, side):
        block = np.ones((tile.b - tile.a, tile.d - tile.c), int)
        if tile.a == tile.c:
            block = np.triu(block, 1)
        assert tile.pairs == block.sum()
        seen[tile.a : tile.b, tile.c : tile.d] += block
    assert np.array_equal(seen, np.triu(np.ones((rows, rows), int), 1))


def pairs_in(tiles, rows):
    """How often each pair of rows is in the tiles."""
    seen = np.zeros((rows, rows), int)
    for tile in tiles:
        block = np.ones((tile.b - tile.a, tile.d - tile.c), int)
        seen[tile.a : tile.b, tile.c : tile.d] += np.triu(block, 1) if tile.a == tile.c else block
    return seen


@settings(max_examples=100)
@given(sizes=st.lists(st.integers(1, 12), min_size=1, max_size=8), side=st.integers(1, 20))
def test_tiles_along_classes_hold_their_pairs_once_and_few_others(sizes, side):
    label = np.repeat(np.arange(len(sizes)), sizes)
    seen = pairs_in(tiles_along(np.repeat(np.cumsum(sizes), sizes), side), len(label))
    own = np.triu(label[:, None] == label[None, :], 1)
    assert np.all(seen[own] == 1) and np.all(seen <= 1)
    assert np.all(seen.sum(axis=1) <= np.maximum(side, np.repeat(sizes, sizes)))


def test_tile_of_one_block_has_the_pairs_above_its_diagonal():
    assert Tile(4, 9, 4, 9).pairs == 10
    assert Tile(4, 9, 9, 11).pairs == 10


def test_a_worker_counts_beyond_32_bits():
    """A million rows put more than 2^32 pairs into one zone."""
    from opis_cli.counting.engines import numba

    rows, grid = prepared(*data.blobs(400, 10, seed=9), high=0.3, sizes=LARGE)
    tally, cells = Tally.empty(rows, grid), numba._cells_of(rows, grid)
    assert not cells.everywhere
    worker = numba._Worker(
        rows, (rows.class_begins, rows.class_ends), cells, tally, threading.Lock()
    )
    before = 2**32 - 1
    worker.buffers.zone_counts[:] = before
    worker.tile(Tile(0, 400, 0, 400))
    worker.deliver()
    expected = tally_of("numpy", rows, grid, [Tile(0, 400, 0, 400)]).pooled_impostor
    beyond = tally.pooled_impostor[grid.window :] - before
    assert np.abs(beyond - expected[grid.window :]).sum() <= 4
    assert beyond.sum() > 0


def test_a_block_off_the_diagonal_that_holds_more_pairs_than_16_bits():
    """Two clouds so tight that neighbours of a row fall into the same two zones.

    A block off the diagonal is whole, so these have more neighbours than 16 bits can count.
    """
    from opis_cli.counting.engines import numba
    from opis_cli.counting.engines.numba_scan import ZONES

    labels = np.repeat([0, 1, 2], [1_000, 1_000, 400])
    centres = np.random.default_rng(0).standard_normal((3, 8))
    vectors = centres[labels] + 1e-3 * np.random.default_rng(1).standard_normal((2_400, 8))
    # Rows that are near to others of another class, so that the window has impostors.
    vectors[2_000:] = np.random.default_rng(2).standard_normal((400, 8))
    rows, grid = prepared(vectors, labels, high=0.1, sizes=LARGE)
    cells = numba._cells_of(rows, grid)
    assert not cells.everywhere
    tile = Tile(0, 1_000, 1_000, 2_000)
    scores = rows.scores_of(slice(0, 1_000), slice(1_000, 2_000))
    zones = np.clip(scores * cells.scale + cells.shift, 0, ZONES).astype(np.int64)
    # Two zones at a time, as neighbours in a row.
    neighbours = np.bincount((zones[:, ::2] * 256 + zones[:, 1::2]).ravel())
    assert neighbours.max() > 2**16
    one, other = (tally_of(engine, rows, grid, [tile]) for engine in ("numpy", "numba"))
    assert one.pooled_impostor.sum() == other.pooled_impostor.sum() == 1_000_000
    moved = np.abs(one.pooled_impostor - other.pooled_impostor).sum()
    assert moved <= 2 * within_a_rounding(rows, grid)


def within_a_rounding(rows, grid):
    """How many pairs another product may put into the next cell."""
    every = slice(0, len(rows.labels))
    lost = -rows.scores_of(every, every)[np.triu_indices(len(rows.labels), 1)].astype(np.float64)
    cuts, rounding = -rows.cuts_of(grid).astype(np.float64), ROUNDING * rows.scale
    places = (np.searchsorted(cuts, lost + end) for end in (-rounding, rounding))
    return np.count_nonzero(np.not_equal(*places))


@pytest.mark.parametrize("sizes", [LARGE, SIZES], ids=["coarse", "dense"])
def test_cells_that_hold_more_pairs_than_8_bits(sizes):
    """Rows at the corners of a simplex: every impostor pair is at one of two distances."""
    labels = np.arange(2_000) % 5
    vectors = np.eye(5)[labels] + np.array([0.3, 0.3, 0, 0, 0])
    rows, grid = prepared(vectors, labels, high=0.9, sizes=sizes)
    tiles = list(tiles_of(2_000, 700))
    one, other = (tally_of(engine, rows, grid, tiles) for engine in ("numpy", "numba"))
    assert other.impostor[:, : grid.window].max() > 700 * 256
    assert np.array_equal(one.impostor, other.impostor)
    assert np.array_equal(one.pooled_impostor, other.pooled_impostor)


def test_the_far_part_of_a_pilot_is_looked_at_less_closely():
    scores = np.random.default_rng(0).standard_normal(200_000).astype(np.float32) / 10
    rows = prepared(*data.blobs(60, 5))[0]
    whole = opis_cli.counting.grid.Distribution.of_scores(scores, rows)
    some = opis_cli.counting.grid.Distribution.of_scores(scores, rows, closely=0.1)
    near, far = np.array([1e-5, 1e-3, 0.01, 0.05, 0.09]), np.array([0.2, 0.5, 0.9])
    assert np.array_equal(some.first_above(near), whole.first_above(near))
    assert np.allclose(some.first_above(far), whole.first_above(far), atol=5e-3)
    assert some.first_at(1.0) == whole.first_at(1.0)
    assert np.all(np.diff(some.distances) >= 0) and np.all(np.diff(some.accepted) > 0)
    assert len(some.distances) < len(whole.distances) / 8


def test_a_pilot_knows_how_far_off_it_may_be():
    """The error that one sample claims is that which many samples make."""
    vectors, labels = data.blobs(6_000, 30, 16, seed=4)
    planned = plan_pairs(from_arrays(vectors, labels), Settings())
    rows = planned.rows
    needs = grid_needs(Calibration("far", 0.01, 0.1), 0.01, None, None)
    pilots = [run_pilot(planned, needs, seed) for seed in range(16)]
    exact = rows.score(np.float64(pilots[0].impostor.first_above(0.1)))
    shares = [
        np.interp(rows.distance(exact), pilot.impostor.distances, pilot.impostor.accepted)
        for pilot in pilots
    ]
    claimed = np.mean([pilot.far_error for pilot in pilots])
    assert 0.5 < np.std(shares) / np.mean(shares) / claimed < 1.5


@pytest.mark.parametrize("end", [0.4, 1.0, 1.7])
def test_the_ends_of_codes_are_found_where_scores_pass_zero(end):
    """About a cosine distance of 1, scores lie closer than any step of the distance."""
    codes = Codes(np.float32(1.000002), np.float32(1 / code_step(end)))
    every = np.arange(CODES - 1)
    ends = codes.lowest(every)
    assert np.array_equal(codes.of(ends), every)
    below = codes.of(np.nextafter(ends, np.float32(-np.inf)))
    assert np.all(below > every)


@pytest.mark.parametrize("engine", KERNELS)
def test_the_nearest_row_is_told_where_float32_cannot(engine):
    """Triples of a row, one of its class, and a stranger that is nearer by the tenth digit."""
    rng = np.random.default_rng(0)
    count_of, dim, nearer = 80, 16, 1e-7
    base, *others = np.linalg.qr(rng.standard_normal((count_of, dim, 3)))[0].transpose(2, 0, 1)
    own, stranger = base + 0.1 * others[0], base + (0.1 - nearer) * others[1]
    vectors = np.stack([base, own, stranger], axis=1).reshape(-1, dim)
    labels = np.column_stack([np.arange(count_of)] * 2 + [count_of + np.arange(count_of)]).ravel()
    counts = count(vectors, labels, engine, calibration="distance:0.2..0.9")
    distance = oracle.distances(vectors)
    rows = 3 * np.arange(count_of)
    gap = distance[rows, rows + 1] - distance[rows, rows + 2]
    assert np.all((gap > 1e-9) & (gap < 3e-8))
    # The row itself finds the stranger first, its fellow finds the row.
    assert counts.nearest_hits[:count_of].tolist() == [1] * count_of


def test_pairs_inside_classes_are_those_found_one_by_one():
    """The compiled bisection against its plain twin, on products that are exact."""
    from opis_cli.counting.engines.numba import count_inside

    rows, grid = prepared(*data.signs(240, 12), high=0.4)
    cuts = rows.cuts_of(grid)[: grid.window]
    expected = np.zeros((12, grid.window), int)
    for i in range(240):
        for j in range(i + 1, 240):
            reached = np.flatnonzero(rows.vectors[i] @ rows.vectors[j] >= cuts)
            if rows.labels[i] == rows.labels[j] and len(reached):
                expected[rows.labels[i], reached[0]] += 1
    assert np.count_nonzero(expected.sum(axis=0)) > 5 and expected.sum() > 500
    assert np.array_equal(count_inside(rows, 240, grid, 2), expected)


@pytest.mark.parametrize("scale", [1.0, 1e-7, 1e6])
def test_the_nearest_row_does_not_depend_on_the_scale(scale):
    """Under the Euclidean metric a stranger is nearer by a little, at any length of the rows."""
    rng = np.random.default_rng(2)
    vectors = rng.standard_normal((90, 4)) * scale
    labels = np.arange(90) % 30
    # Each row of the last thirty has a stranger in the first thirty, and one of its class farther.
    away = rng.standard_normal((30, 4))
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    vectors[:30] = vectors[60:][rng.permutation(30)] + 1e-3 * scale * away
    counts = count(vectors, labels, "numpy", "euclidean", calibration="frr:0.2..0.6")
    distance = oracle.distances(vectors / scale, "euclidean")
    np.fill_diagonal(distance, np.inf)
    hits = labels[distance.argmin(axis=1)] == labels
    assert np.array_equal(counts.nearest_hits, np.bincount(labels, weights=hits))
