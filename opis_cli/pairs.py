"""Count all pairs: pilot, grid, tiles, engine, and the check that the grid was a good one."""

import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from itertools import groupby, islice
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from opis_cli import engines, grid, halves, scores
from opis_cli.checkpoint import Checkpoint
from opis_cli.distance import ROUNDING, Rows, prepare
from opis_cli.embeddings import ARRAYS
from opis_cli.engines import CountPairs, Tally, Tile
from opis_cli.errors import InputError, SettingsError
from opis_cli.keys import LEAST_TO_SPLIT, MOST_SPLIT, Arrangement, arrange
from opis_cli.machine import processors, resident_memory
from opis_cli.records import Embeddings, Floats, Grid, Ints, PairCounts
from opis_cli.settings import Settings

Progress = Callable[[int, int], None]
"""Told ``(pairs counted, pairs in all)``."""
Announce = Callable[[str], None]
"""Told, before long work starts, what it will take."""

_NUMBA_PAYS_AT = 10_000_000
"""Pairs from which the numba engine repays its import."""
_ATTEMPTS = 4
_LEAST_WIDTH = 50
"""Roundings that a calibration range must be wide."""
_LONG_WORK = 2_000_000_000
# Writing partial counts should cost little beside counting: so many pairs at least, and so many for
# each byte to write.
_CHECKPOINT_PAIRS, _PAIRS_PER_BYTE = 4_000_000_000, 20
_SIDE = 2_048
_SCORING_BYTES = 150_000_000


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
    announce: Announce = lambda text: None,
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
    announce : callable
        Called with a line on pairs and memory, before work that takes long.

    Raises
    ------
    InputError
        The pairs cannot resolve the calibration range.
    SettingsError
        The work needs more memory than the limit.
    RunError
        The checkpoint is damaged, or of other work.
    """
    total = len(embeddings.labels) * (len(embeddings.labels) - 1) // 2
    _plan_memory(embeddings, settings, total, announce)
    threads = settings.threads or processors()
    arranged = arrange(embeddings, settings)
    rows = prepare(arranged.embeddings, settings.metric, arranged.keys, threads=threads)
    engine = choose_engine(settings.engine, total)
    needs = grid.needs_of(settings.calibration_range, *settings.bounds, deployed)
    checkpoint, begun = None, None
    if settings.checkpoint is not None:
        checkpoint = Checkpoint.of(settings.checkpoint, embeddings, settings, engine)
        begun = checkpoint.load()
    placed = (
        begun[0]
        if begun
        else grid.place_grid(grid.run_pilot(rows, needs, settings.seed), needs, rows)
    )
    for _ in range(_ATTEMPTS):
        tally = _tally(arranged, rows, placed, engine, settings, progress, checkpoint, begun)
        hits = nearest_hits(arranged.embeddings, rows, placed, tally)
        counts = _counts(arranged, rows, placed, tally, hits)
        low, high = scores.range_ends(counts, settings.calibration_range)
        _check_width(rows, low, high)
        if grid.grid_serves(counts, needs, low, high):
            break
        placed, begun = grid.place_grid(grid.pilot_of_counts(counts), needs, rows), None
    if not grid.range_is_resolved(counts, low, high):
        raise AssertionError(f"no grid resolves the range {low} to {high}")
    if checkpoint is not None:
        checkpoint.clear()
    split = halves.count(rows, arranged, counts, tally, (low, high), engine, threads)
    counts = dataclasses.replace(counts, halves=split)
    return in_order_of_names(counts, arranged)


def memory_needed(embeddings: Embeddings, *, folds: bool = False) -> int:
    """Bytes that the whole process will hold, about, when it counts and scores these pairs."""
    count, dim = embeddings.vectors.shape
    columns = 4_000 if len(embeddings.class_names) < 5_000 else 2_200
    rows = count * (4 * dim + 40)
    split = int(np.count_nonzero(np.bincount(embeddings.labels) >= LEAST_TO_SPLIT))
    tally = 2 * 4 * (len(embeddings.class_names) + min(split, MOST_SPLIT)) * columns
    # Counts in the order of folds are put back into that of names.
    return int(resident_memory() + rows + (2 if folds else 1) * tally + _SCORING_BYTES)


def _check_width(rows: Rows, low: float, high: float) -> None:
    """Refuse a calibration range in which rounding would decide."""
    width = float(rows.score(np.array(low)) - rows.score(np.array(high)))
    if width < _LEAST_WIDTH * ROUNDING * rows.scale:
        raise InputError(
            f"the calibration range, {low:.6g} to {high:.6g}, is too narrow for float32 distances "
            "of these rows: a few rows far from all others, or nearly equal ones, leave the rest "
            "no digits. Leave out the outliers, or take off the mean vector"
        )


def _plan_memory(
    embeddings: Embeddings, settings: Settings, total: int, announce: Announce
) -> None:
    """Say what the work takes, and refuse it where that is more than the limit."""
    needed = memory_needed(embeddings, folds=settings.folds is not None)
    limit = settings.memory_limit_bytes
    if limit is not None and needed > limit:
        raise SettingsError(
            f"--memory-limit {settings.memory_limit}: {len(embeddings.labels):,} rows of "
            f"{len(embeddings.class_names):,} classes need about {needed / 1e9:.2g} GB; "
            "raise the limit, or evaluate fewer classes at a time"
        )
    if limit is not None or total >= _LONG_WORK:
        announce(f"{total:,} pairs to count, in about {needed / 1e9:.2g} GB of memory")


def _engine(name: str, embeddings: Embeddings, settings: Settings) -> tuple[CountPairs, int]:
    """An engine with the settings that are its own, and the side of the tiles that it likes."""
    module = engines.load(name)
    if name == "torch":
        tf32 = settings.dtype == "tf32"
        count_tiles = partial(module.count_pairs, device=settings.device, tf32=tf32)
        return count_tiles, module.tile_side(settings.device)
    if name == "dask":
        in_memory = embeddings.source.path == ARRAYS
        recipe = None if in_memory else module.Recipe.of(embeddings, settings)
        return partial(
            module.count_pairs, scheduler=settings.scheduler, recipe=recipe
        ), module.TILE_SIDE
    return module.count_pairs, module.TILE_SIDE


def _tally(
    arranged: Arrangement,
    rows: Rows,
    placed: Grid,
    engine: str,
    settings: Settings,
    progress: Progress,
    checkpoint: Checkpoint | None,
    begun: tuple[Grid, Tally, int] | None,
) -> Tally:
    """Run the engine over all tiles, or over those that a checkpoint has not."""
    count = len(rows.labels)
    total = count * (count - 1) // 2
    folds = settings.folds or 0
    count_tiles, side = _engine(engine, arranged.embeddings, settings)
    tally, tiles_done = (begun[1], begun[2]) if begun else (Tally.empty(rows, placed, folds), 0)
    tiles = _tiles(arranged, rows, side, folds)
    done = sum(tile.pairs for _, tile in islice(tiles, tiles_done))

    def advance(pairs: int) -> None:
        nonlocal done
        done += pairs
        progress(done, total)

    threads = settings.threads or processors()
    at_once = None
    if checkpoint is not None:
        between = max(_CHECKPOINT_PAIRS, _PAIRS_PER_BYTE * tally.nbytes)
        at_once = max(1, between // side**2)
    for fold, group in groupby(tiles, key=itemgetter(0)):
        block = (tile for _, tile in group)
        while part := list(islice(block, at_once)):
            before = tally.pooled_impostor.copy()
            count_tiles(rows, placed, part, tally, threads, advance)
            if fold is not None:
                tally.inside[fold] += tally.pooled_impostor - before
            tiles_done += len(part)
            if checkpoint is not None:
                checkpoint.save(placed, tally, tiles_done)
    found = int(tally.pooled_genuine.sum() + tally.pooled_impostor.sum())
    if found != total:
        raise AssertionError(f"counted {found} pairs of {total}")
    return tally


def _tiles(
    arranged: Arrangement, rows: Rows, side: int, folds: int
) -> Iterator[tuple[int | None, Tile]]:
    """All tiles: those inside each fold, with its number, and then those between folds."""
    if not folds:
        yield from ((None, tile) for tile in engines.tiles_of(len(rows.labels), side))
        return
    starts = np.searchsorted(arranged.folds[rows.labels], np.arange(folds + 1))
    for fold in range(folds):
        inner = engines.tiles_of(int(starts[fold + 1]), side, int(starts[fold]))
        yield from ((fold, tile) for tile in inner)
    yield from ((None, tile) for tile in engines.tiles_between(starts, side))


def _counts(
    arranged: Arrangement, rows: Rows, placed: Grid, tally: Tally, hits: Ints
) -> PairCounts:
    """Accepted counts from histograms, in place: they are the largest arrays there are."""
    count = len(arranged.classes)
    for cells in (tally.genuine, tally.impostor):
        np.cumsum(cells, axis=1, out=cells)
        cells[arranged.split] += cells[count:]
    # Both ends of a genuine pair lie in the class, so the class was credited twice.
    np.floor_divide(tally.genuine, 2, out=tally.genuine)
    return PairCounts(
        grid=placed,
        metric=rows.metric,
        unit=rows.unit,
        rounding=ROUNDING * rows.scale,
        class_names=arranged.embeddings.class_names,
        sizes=np.bincount(rows.labels, minlength=count).astype(np.int64),
        genuine=tally.genuine[:count],
        impostor=tally.impostor[:count],
        pooled_genuine=np.cumsum(tally.pooled_genuine),
        pooled_impostor=np.cumsum(tally.pooled_impostor),
        nearest_hits=hits,
        folds=arranged.folds if len(tally.inside) else None,
        inside=np.cumsum(tally.inside, axis=1) if len(tally.inside) else None,
    )


def in_order_of_names(counts: PairCounts, arranged: Arrangement) -> PairCounts:
    """Counts whose classes are in the order of their names, as they were before counting."""
    if counts.folds is None:
        return counts
    place = np.argsort(arranged.classes)
    by_class = ("class_names", "sizes", "genuine", "impostor", "nearest_hits", "folds")
    split = counts.halves
    if split is not None:
        split = dataclasses.replace(split, classes=arranged.classes[split.classes])
    return dataclasses.replace(
        counts, halves=split, **{name: getattr(counts, name)[place] for name in by_class}
    )


def nearest_hits(embeddings: Embeddings, rows: Rows, placed: Grid, tally: Tally) -> Ints:
    """Rows of each class whose nearest other row has the same label, shape (K,).

    Where float32 cannot tell the nearest genuine row from the nearest impostor, float64 does, and
    the lowest row number wins a tie.
    """
    slack = 4 * ROUNDING * rows.scale
    genuine, impostor = tally.nearest_genuine, tally.nearest_impostor
    lonely = np.isneginf(genuine)
    window_cut = rows.cuts(placed.thresholds[placed.window - 1])
    far = np.flatnonzero(np.isneginf(impostor) & ~lonely & (genuine <= window_cut + slack))
    impostor[far] = _nearest_impostors(rows, far)
    hit = genuine > impostor
    unsure = ~lonely & (genuine - slack <= impostor) & (impostor <= genuine + slack)
    for row in np.flatnonzero(unsure):
        hit[row] = _nearest_is_genuine(embeddings, rows, int(row))
    classes = len(embeddings.class_names)
    return np.bincount(rows.labels[hit & ~lonely], minlength=classes).astype(np.int64)


def _nearest_impostors(rows: Rows, wanted: Ints) -> NDArray[np.float32]:
    """Highest impostor scores of rows that have none in the window, and may need it."""
    best = np.full(len(wanted), -np.inf, np.float32)
    for start in range(0, len(wanted), _SIDE):
        some = wanted[start : start + _SIDE]
        for low in range(0, len(rows.labels), _SIDE):
            others = slice(low, low + _SIDE)
            scores = rows.vectors[some] @ rows.vectors[others].T
            scores -= rows.half_squares[some, None] + rows.half_squares[None, others]
            scores[rows.labels[some, None] == rows.labels[None, others]] = -np.inf
            part = best[start : start + _SIDE]
            np.maximum(part, scores.max(axis=1), out=part)
    return best


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
