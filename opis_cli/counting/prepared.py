"""Prepare a count, and turn the tally of all its pairs into counts.

Between these two, the pairs are counted: by one process or a cluster (``count.py``), or by jobs
whose parts are merged (``merge.py``).
"""

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from opis_cli.counting import engines, halves, nearest, pilot, split
from opis_cli.counting.calibration import range_ends, unresolved
from opis_cli.counting.fitting import grid_serves, range_is_resolved
from opis_cli.counting.grid import Needs, Pilot, needs_of, place_grid
from opis_cli.counting.memory import Announce, announce_work, refuse_memory
from opis_cli.counting.plan import Plan, plan_pairs
from opis_cli.counting.rows import Rows
from opis_cli.counting.sizes import Sizes
from opis_cli.counting.tally import Tally
from opis_cli.errors import InputError
from opis_cli.machine import processors
from opis_cli.records import Embeddings, Floats, Grid, Ints, PairCounts
from opis_cli.settings import Settings

_NUMBA_PAYS_AT = 10_000_000
"""Number of pairs from which the numba engine saves more time than its import takes."""
_DEVICE_PAYS_AT = 1_000_000_000
"""The same for the torch engine on a device, for each processor that the numba engine would use.
Its import and its first kernel take about six seconds."""
_AT_ONCE = 1 << 17
"""Cells that are summed at a time, so few that they stay in the cache."""
_LEAST_WIDTH = 50
"""Least width of a calibration range in score, in units of ``Rows.rounding``."""


def choose_engine(name: str, pairs: int, embeddings: Embeddings) -> str:
    """Return the name of the engine to use: the given one, or the choice that ``auto`` makes."""
    if name != "auto":
        return name
    if pairs >= _DEVICE_PAYS_AT * processors() and engines.has_device(embeddings):
        return "torch"
    return "numba" if pairs >= _NUMBA_PAYS_AT else "numpy"


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """All that is known before pairs are counted.

    Attributes
    ----------
    embeddings : Embeddings
    settings : Settings
    sizes : Sizes
    threads : int
    engine : str
        Name of the engine.
    plan : Plan
    needs : Needs
    seen : Pilot
    """

    embeddings: Embeddings
    settings: Settings
    sizes: Sizes
    threads: int
    engine: str
    plan: Plan
    needs: Needs
    seen: Pilot

    @classmethod
    def of(
        cls,
        embeddings: Embeddings,
        settings: Settings,
        deployed: float | None,
        announce: Announce,
        sizes: Sizes,
    ) -> "Prepared":
        """Plan the pairs, and look at some of them.

        Raises
        ------
        InputError
            There are no genuine or no impostor pairs.
        SettingsError
            The work needs more memory than the limit.
        """
        refuse_memory(embeddings, settings)
        threads = settings.threads or processors()
        plan = plan_pairs(embeddings, settings, threads)
        engine = choose_engine(settings.engine, plan.pairs, embeddings)
        announce_work(embeddings, settings, plan.pairs, announce)
        needs = needs_of(
            settings.calibration_range, *settings.bounds, deployed, _far_per_query(settings, plan)
        )
        seen = pilot.run_pilot(plan, needs, settings.seed, sizes)
        return cls(embeddings, settings, sizes, threads, engine, plan, needs, seen)

    def place(self, known: Pilot) -> Grid:
        """Place a grid by what is known: ``seen``, or counts on a grid that does not serve."""
        return place_grid(known, self.needs, self.plan.rows, self.sizes)

    def counts(self, grid: Grid, tally: Tally) -> PairCounts:
        """Turn the tally of all pairs into counts. The tally is used up."""
        total = sum(one.pairs for one in self.plan.passes)
        counted = int(tally.pooled_genuine.sum() + tally.pooled_impostor.sum())
        if counted != total:
            raise AssertionError(f"counted {counted} pairs of {total}")
        return _counts(self.embeddings, self.plan, grid, self.plan.settle(tally), self.threads)

    def serves(self, counts: PairCounts) -> bool:
        """Return whether the grid of some counts serves.

        Raises
        ------
        InputError
            The calibration range is too narrow for the pairs.
        """
        rows = self.plan.rows
        in_gaps = rows.whole or self.seen.gaps(rows) is not None
        return grid_serves(counts, self.needs, *self._range(counts), in_gaps=in_gaps)

    def _range(self, counts: PairCounts) -> tuple[float, float]:
        """Return the ends of the calibration range, as distances."""
        low, high = range_ends(counts, self.settings.calibration_range)
        _check_width(self.plan.rows, low, high)
        return low, high

    def resolved(self, counts: PairCounts) -> tuple[float, float]:
        """Return the ends of the calibration range, if the final counts resolve it.

        Raises
        ------
        InputError
            They do not.
        """
        low, high = self._range(counts)
        if not range_is_resolved(counts, low, high):
            raise unresolved(
                self.settings.calibration_range,
                counts,
                "so many pairs share a distance at its ends that no threshold can be told from "
                "them",
            )
        return low, high

    def completed(
        self, counts: PairCounts, span: tuple[float, float], announce: Announce
    ) -> PairCounts:
        """Add what few further pairs tell: those within rounding, and those of halves.

        Parameters
        ----------
        counts : PairCounts
            The final counts.
        span : (float, float)
            Ends of the calibration range, as distances.
        announce : callable
        """
        rows, plan, sizes = self.plan.rows, self.plan, self.sizes
        if self.seen.exact:
            close = _borderline(rows, counts.grid, self.seen.impostor.distances)
            counts = dataclasses.replace(counts, borderline_impostor=close)
        if not plan.is_plain:
            return counts
        engine, threads, seed = self.engine, self.threads, self.settings.seed
        own = plan.halved
        with engines.announced(halves.engine_for(engine), announce):
            return dataclasses.replace(
                counts,
                halves=halves.count(rows, counts, span, engine, threads, seed, sizes)
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


def _counts(
    embeddings: Embeddings, plan: Plan, placed: Grid, tally: Tally, threads: int
) -> PairCounts:
    """Turn the histograms of a tally into accepted counts.

    The sums are made in place, because these are the largest arrays of the whole run.
    """
    drawn = embeddings.sampled_from
    rows, searches = plan.rows, nearest.searches_of(embeddings, plan, placed, tally)
    genuine, beyond = _genuine(tally.genuine, placed, threads, halved=plan.halved)

    def add_up(part: slice) -> None:
        np.cumsum(tally.impostor[part], axis=1, out=tally.impostor[part])

    _over_classes(add_up, tally.impostor, threads)
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
        tenants_drawn=drawn is not None and drawn.tenants is not None,
    )


def _genuine(cells: Ints, placed: Grid, threads: int, *, halved: bool) -> tuple[Ints, Ints | None]:
    """Turn genuine pairs by class and cell into accepted pairs, in place.

    Both rows of a genuine pair are of the same class. So a pair may have been credited to it twice,
    and is then halved. The result is the accepted pairs at the thresholds that keep counts by
    class, and at all those beyond the window, or None if the former have these too.
    """
    window, kept = placed.window, placed.by_class[placed.window :]
    few = len(placed.by_class) < len(placed.thresholds)
    beyond = np.empty((len(cells), len(placed.thresholds) - window), cells.dtype) if few else None

    def work(part: slice) -> None:
        own = cells[part]
        np.cumsum(own, axis=1, out=own)
        if halved:
            own >>= 1
        if beyond is not None:
            beyond[part] = own[:, window:]
            own[:, window : window + len(kept)] = own[:, kept]

    _over_classes(work, cells, threads)
    return cells[:, : len(placed.by_class)], beyond


def _over_classes(work: Callable[[slice], None], cells: Ints, threads: int) -> None:
    """Call a function, on some threads, with the classes of one part of the cells after another."""
    step = max(1, _AT_ONCE // max(cells.shape[1], 1))
    parts = [slice(start, start + step) for start in range(0, len(cells), step)]
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, parts):
            pass
