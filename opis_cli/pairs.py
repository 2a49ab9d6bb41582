"""Count all pairs: pilot, grid, tiles, engine, and the check that the grid was a good one."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from opis_cli import engines, grid, scores
from opis_cli.distance import ROUNDING, Rows, prepare
from opis_cli.engines import Tally
from opis_cli.machine import processors
from opis_cli.records import Embeddings, Floats, Grid, Ints, PairCounts
from opis_cli.settings import Settings

Progress = Callable[[int, int], None]
"""Told ``(pairs counted, pairs in all)``."""

_NUMBA_PAYS_AT = 10_000_000
"""Pairs from which the numba engine repays its import."""
_ATTEMPTS = 4


def choose_engine(name: str, pairs: int) -> str:
    """The engine that ``auto`` stands for."""
    if name != "auto":
        return name
    return "numba" if pairs >= _NUMBA_PAYS_AT else "numpy"


def count_pairs(
    embeddings: Embeddings,
    settings: Settings,
    deployed: float | None = None,
    progress: Progress = lambda done, total: None,
) -> PairCounts:
    """Count the pairs of embeddings at the thresholds that the settings need.

    Parameters
    ----------
    embeddings : Embeddings
    settings : Settings
    deployed : float, optional
        A threshold that must be on the grid.
    progress : callable
        Called with (pairs counted, pairs in all); starts again where a grid was misplaced.

    Raises
    ------
    InputError
        The pairs cannot resolve the calibration range.
    """
    rows = prepare(embeddings, settings.metric)
    sizes = np.bincount(embeddings.labels, minlength=len(embeddings.class_names)).astype(np.int64)
    impostors = int((sizes * (sizes.sum() - sizes)).sum()) // 2
    needs = grid.needs_of(settings.calibration_range, *settings.bounds, deployed, impostors)
    placed = grid.place_grid(grid.run_pilot(rows, settings.seed), needs, rows)
    for attempt in range(_ATTEMPTS):
        tally = _tally(rows, placed, settings, progress)
        hits = nearest_hits(embeddings, rows, tally)
        counts = _counts(embeddings, rows, placed, tally, sizes, hits)
        low, high = scores.range_ends(counts, settings.calibration_range)
        if attempt + 1 == _ATTEMPTS or grid.grid_serves(counts, needs, low, high):
            break
        placed = grid.place_grid(grid.pilot_of_counts(counts), needs, rows)
    return counts


def _tally(rows: Rows, placed: Grid, settings: Settings, progress: Progress) -> Tally:
    """Run the engine over all tiles."""
    count = len(rows.labels)
    total = count * (count - 1) // 2
    done = 0

    def advance(pairs: int) -> None:
        nonlocal done
        done += pairs
        progress(done, total)

    engine, side = engines.load(choose_engine(settings.engine, total))
    tally = Tally.empty(rows, placed)
    threads = settings.threads or processors()
    engine(rows, placed, engines.tiles_of(count, side), tally, threads, advance)
    found = int(tally.pooled_genuine.sum() + tally.pooled_impostor.sum())
    if found != total:
        raise AssertionError(f"counted {found} pairs of {total}")
    return tally


def _counts(
    embeddings: Embeddings, rows: Rows, placed: Grid, tally: Tally, sizes: Ints, hits: Ints
) -> PairCounts:
    """Accepted counts from histograms, in place: they are the largest arrays there are."""
    for cells in (tally.genuine, tally.impostor):
        np.cumsum(cells, axis=1, out=cells)
    # Both ends of a genuine pair lie in the class, so the class was credited twice.
    np.floor_divide(tally.genuine, 2, out=tally.genuine)
    return PairCounts(
        grid=placed,
        metric=rows.metric,
        unit=rows.unit,
        class_names=embeddings.class_names,
        sizes=sizes,
        genuine=tally.genuine,
        impostor=tally.impostor,
        pooled_genuine=np.cumsum(tally.pooled_genuine),
        pooled_impostor=np.cumsum(tally.pooled_impostor),
        nearest_hits=hits,
    )


def nearest_hits(embeddings: Embeddings, rows: Rows, tally: Tally) -> Ints:
    """Rows of each class whose nearest other row has the same label, shape (K,).

    Where float32 cannot tell the nearest genuine row from the nearest impostor, float64 does, and
    the lowest row number wins a tie.
    """
    lead = tally.nearest_genuine - tally.nearest_impostor
    hit = lead > 0
    lonely = np.isinf(tally.nearest_genuine)
    for row in np.flatnonzero((np.abs(lead) <= 4 * ROUNDING * rows.scale) & ~lonely):
        hit[row] = _nearest_is_genuine(embeddings, rows, int(row))
    classes = len(embeddings.class_names)
    return np.bincount(rows.labels[hit & ~lonely], minlength=classes).astype(np.int64)


def _nearest_is_genuine(embeddings: Embeddings, rows: Rows, row: int) -> bool:
    """Settle one row in float64, among the rows that float32 finds nearest."""
    scores = rows.vectors @ rows.vectors[row]
    scores -= rows.half_squares
    scores[row] = -np.inf
    near = np.flatnonzero(scores >= scores.max() - 4 * ROUNDING * rows.scale)
    source = rows.order[near]
    distances = _exact_distances(
        embeddings.vectors[rows.order[row]], embeddings.vectors[source], rows.metric
    )
    # Equal rows can differ in the last bits of a float64 sum; they are ties all the same.
    ties = distances <= distances.min() + 1e-14
    first = source[ties].min()
    return bool(embeddings.labels[first] == rows.labels[row])


def _exact_distances(one: Floats, others: Floats, metric: str) -> NDArray[np.float64]:
    """Distances of one vector to others in float64, by differences."""
    one, others = np.asarray(one, np.float64), np.asarray(others, np.float64)
    if metric == "cosine":
        one = one / np.sqrt(np.sum(one**2))
        others = others / np.sqrt(np.sum(others**2, axis=1, keepdims=True))
        return np.asarray(np.sum((others - one) ** 2, axis=1) / 2)
    return np.asarray(np.sum((others - one) ** 2, axis=1))
