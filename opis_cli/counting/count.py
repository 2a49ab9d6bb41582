"""Count all pairs of embeddings.

The steps are: plan the pairs, look at some of them (the pilot), place the grid, let an engine count
the tiles, and check that the grid served. If it did not, another grid is placed and all pairs are
counted again.
"""

import dataclasses
from collections.abc import Callable
from itertools import islice

import numpy as np

from opis_cli.counting import engines, halves, nearest, pilot, split
from opis_cli.counting.calibration import range_ends, unresolved
from opis_cli.counting.checkpoint import Begun, Checkpoint
from opis_cli.counting.fitting import count_on_fitting_grid, grid_serves, range_is_resolved
from opis_cli.counting.grid import Pilot, needs_of, place_grid
from opis_cli.counting.memory import Announce, announce_work, refuse_memory
from opis_cli.counting.plan import Plan, plan_pairs
from opis_cli.counting.rows import Rows
from opis_cli.counting.sizes import SIZES, Sizes
from opis_cli.counting.tally import Opened, Tally
from opis_cli.errors import InputError
from opis_cli.machine import processors
from opis_cli.records import Embeddings, Floats, Grid, Ints, PairCounts
from opis_cli.settings import Settings

Progress = Callable[[int, int], None]
"""A function that is called with ``(pairs counted, pairs in all)``."""

_NUMBA_PAYS_AT = 10_000_000
"""Number of pairs from which the numba engine saves more time than its import takes."""
_DEVICE_PAYS_AT = 5_000_000_000
"""The same for the torch engine on a device. Its import and its first kernel take ten seconds."""
_LEAST_WIDTH = 50
"""Least width of a calibration range in score, in units of ``Rows.rounding``."""


def choose_engine(name: str, pairs: int, embeddings: Embeddings) -> str:
    """Return the name of the engine to use: the given one, or the choice that ``auto`` makes."""
    if name != "auto":
        return name
    if pairs >= _DEVICE_PAYS_AT and engines.has_device(embeddings):
        return "torch"
    return "numba" if pairs >= _NUMBA_PAYS_AT else "numpy"


def count_pairs(
    embeddings: Embeddings,
    settings: Settings,
    deployed: float | None = None,
    progress: Progress = lambda done, total: None,
    announce: Announce = lambda text: None,
    sizes: Sizes = SIZES,
) -> PairCounts:
    """Count the pairs of embeddings at the thresholds that the settings need.

    Parameters
    ----------
    embeddings : Embeddings
    settings : Settings
    deployed : float, optional
        A threshold that must be on the grid.
    progress : callable
        Called with (pairs counted, pairs in all). It starts again if the grid did not serve.
    announce : callable
        Called with a line on pairs and memory, before work that takes long.
    sizes : Sizes
        Numbers of pairs and rows at which counting changes its method.

    Raises
    ------
    InputError
        The pairs cannot resolve the calibration range.
    SettingsError
        The work needs more memory than the limit.
    RunError
        The checkpoint is damaged, or belongs to other work.
    """
    refuse_memory(embeddings, settings)
    threads = settings.threads or processors()
    plan = plan_pairs(embeddings, settings, threads)
    rows, engine = plan.rows, choose_engine(settings.engine, plan.pairs, embeddings)
    announce_work(embeddings, settings, plan.pairs, announce)
    needs = needs_of(
        settings.calibration_range, *settings.bounds, deployed, _far_per_query(settings, plan)
    )
    seen = pilot.run_pilot(plan, needs, settings.seed, sizes)
    in_gaps = rows.whole or seen.gaps(rows) is not None
    with engines.opened(engine, embeddings, settings, threads) as ready:
        ready = dataclasses.replace(ready, side=sizes.tile_side or ready.side)
        checkpoint, begun = None, None
        if settings.checkpoint is not None:
            checkpoint = Checkpoint.of(
                settings.checkpoint, embeddings, settings, engine, ready.side
            )
            begun = checkpoint.load()

        def count_on(placed: Grid) -> PairCounts:
            nonlocal begun
            groups = 0 if plan.groups is None else plan.groups.number
            tally = Tally.empty(rows, placed, settings.folds or 0, groups)
            first, begun = begun or Begun(placed, tally, 0), None
            with engines.announced(engine, announce):
                tally = _count_tiles(plan, first, ready, threads, progress, checkpoint, sizes)
            return _counts(embeddings, plan, placed, plan.settle(tally))

        def serves(counts: PairCounts) -> bool:
            low, high = range_ends(counts, settings.calibration_range)
            _check_width(rows, low, high)
            return grid_serves(counts, needs, low, high, in_gaps=in_gaps)

        def place(known: Pilot) -> Grid:
            return place_grid(known, needs, rows, sizes)

        placed = begun.grid if begun else place(seen)
        counts = count_on_fitting_grid(placed, count_on, serves, place)
    low, high = range_ends(counts, settings.calibration_range)
    _check_width(rows, low, high)
    if not range_is_resolved(counts, low, high):
        raise unresolved(
            settings.calibration_range,
            counts,
            "so many pairs share a distance at its ends that no threshold can be told from them",
        )
    if checkpoint is not None:
        checkpoint.clear()
    if seen.exact:
        close = _borderline(rows, counts.grid, seen.impostor.distances)
        counts = dataclasses.replace(counts, borderline_impostor=close)
    if not plan.is_plain:
        return counts
    own, seed = plan.halved, settings.seed
    with engines.announced(halves.engine_for(engine), announce):
        return dataclasses.replace(
            counts,
            halves=halves.count(rows, counts, (low, high), engine, threads, seed, sizes)
            if plan.has_halves
            else None,
            split=split.count(rows, counts, engine, threads, seed, by_class=own, sizes=sizes),
        )


def _far_per_query(settings: Settings, plan: Plan) -> float | None:
    """Return the pooled FAR at which a search has as many false accepts as the settings allow."""
    most = settings.max_false_accepts_per_query
    impostors = int(plan.impostor[: plan.queries].sum())
    if most is None or most * plan.queries >= impostors:
        return None
    return most * plan.queries / impostors


def _borderline(rows: Rows, placed: Grid, distances: Floats) -> Ints:
    """Count the distances whose acceptance at each threshold hangs on rounding, shape (T,).

    These are the distances whose score lies above the cut by less than two roundings.
    """
    lost, cuts = -rows.score(distances), -rows.cuts_of(placed).astype(np.float64)
    return np.searchsorted(lost, cuts, side="right") - np.searchsorted(
        lost, cuts - 2 * rows.rounding, side="right"
    )


def _check_width(rows: Rows, low: float, high: float) -> None:
    """Refuse a calibration range so narrow that rounding decides which pairs it accepts."""
    width = float(rows.score(np.array(low)) - rows.score(np.array(high)))
    if width < _LEAST_WIDTH * rows.rounding:
        raise InputError(
            f"the calibration range, {low:.6g} to {high:.6g}, is too narrow for float32 distances "
            "of these rows: a few rows far from all others, or nearly equal ones, leave the rest "
            "no digits. Leave out the outliers, or take off the mean vector"
        )


def _count_tiles(
    plan: Plan,
    begun: Begun,
    engine: Opened,
    threads: int,
    progress: Progress,
    checkpoint: Checkpoint | None,
    sizes: Sizes,
) -> Tally:
    """Run the engine over all tiles that ``begun`` has not counted yet, and return the tally."""
    total = sum(part.pairs for part in plan.passes)
    placed, tally = begun.grid, begun.tally
    done, seen = 0, 0

    def advance(pairs: int) -> None:
        nonlocal done
        done += pairs
        progress(done, total)

    at_once = None
    if checkpoint is not None:
        between = max(sizes.checkpoint_pairs, sizes.pairs_per_byte * tally.nbytes)
        at_once = max(1, between // engine.side**2)
    for number, part in enumerate(plan.passes):
        tiles, count_tiles = part.tiles(engine.side), engine.of_pass(number)
        for tile in islice(tiles, max(begun.tiles - seen, 0)):
            done, seen = done + tile.pairs, seen + 1
        while some := list(islice(tiles, at_once)):
            before = tally.pooled_impostor.copy()
            seen_before = None if plan.groups is None else plan.groups.seen(tally, placed)
            own = tally.in_order(part.order)
            count_tiles(part.rows, placed, some, own, threads, advance)
            tally.take_nearest(own, part.order)
            if part.fold is not None:
                tally.inside[part.fold] += tally.pooled_impostor - before
            if plan.groups is not None and seen_before is not None:
                plan.groups.add(tally, part, placed, seen_before)
            seen += len(some)
            if checkpoint is not None:
                checkpoint.save(Begun(placed, tally, seen))
    counted = int(tally.pooled_genuine.sum() + tally.pooled_impostor.sum())
    if counted != total:
        raise AssertionError(f"counted {counted} pairs of {total}")
    return tally


def _counts(embeddings: Embeddings, plan: Plan, placed: Grid, tally: Tally) -> PairCounts:
    """Turn the histograms of a tally into accepted counts.

    The sums are made in place, because these are the largest arrays of the whole run.
    """
    rows, searches = plan.rows, nearest.searches_of(embeddings, plan, placed, tally)
    for cells in (tally.genuine, tally.impostor):
        np.cumsum(cells, axis=1, out=cells)
    if plan.halved:
        # Both rows of a genuine pair are of the same class, so each pair was credited to it twice.
        np.floor_divide(tally.genuine, 2, out=tally.genuine)
    genuine, beyond = tally.genuine, None
    if len(placed.by_class) < len(placed.thresholds):
        genuine, beyond = genuine[:, placed.by_class], genuine[:, placed.window :].copy()
    return PairCounts(
        grid=placed,
        metric=rows.metric,
        unit=rows.unit,
        rounding=rows.rounding,
        class_names=plan.names,
        sizes=plan.by_key(np.ones(plan.queries, np.int64)),
        genuine=genuine,
        genuine_beyond=beyond,
        impostor=tally.impostor,
        pooled_genuine=np.cumsum(tally.pooled_genuine),
        pooled_impostor=np.cumsum(tally.pooled_impostor),
        borderline_genuine=tally.borderline_genuine,
        nearest_hits=searches.hits,
        searches=plan.by_key(plan.genuine > 0),
        excluded=plan.excluded,
        open_set=searches.open_set,
        answered=searches.answered,
        right_answers=searches.right_answers,
        duplicates=searches.duplicates,
        conflicts=searches.conflicts,
        folds=plan.folds,
        inside=None if plan.folds is None else np.cumsum(tally.inside, axis=1),
        group_pairs=None if plan.groups is None else plan.groups.group_pairs(tally, placed),
    )
