"""Count scored pairs, at thresholds that lie in the gaps between their distances.

Distances are rounded to float32 first. Those that are equal then are a tie, which no threshold
splits. Once all pairs are counted, each threshold is moved to the middle of the gap that it lies
in. No count changes by that. But there the threshold means the same in float32 and in float64, and
it needs few digits.
"""

import numpy as np
from numpy.typing import NDArray

from opis_cli.counting import grid
from opis_cli.counting.calibration import ends_if_needed
from opis_cli.counting.fitting import count_on_fitting_grid, grid_serves
from opis_cli.counting.gaps import between
from opis_cli.counting.grid import Distribution, Needs, Pilot
from opis_cli.counting.groups import MOST_GROUPS, ScoredGroups
from opis_cli.counting.scored_pairs import Doubles, Progress, Scored
from opis_cli.counting.sizes import SIZES, Sizes
from opis_cli.errors import InputError, SettingsError
from opis_cli.machine import resident_memory
from opis_cli.records import Grid, PairCounts
from opis_cli.settings import Settings

_FEW_DISTANCES = 2_048
"""Most distinct distances for which each one becomes a threshold."""
_SLACK, _TOP_SLACK = 1.2, 1.1
"""Factors for the error of a sample at the lower and the upper end of the calibration range."""
_READING_BYTES = 250_000_000
"""Bytes that reading the pairs takes beside the counts."""


def count(
    scored: Scored,
    settings: Settings,
    deployed: float | None = None,
    progress: Progress = lambda done, total: None,
    sizes: Sizes = SIZES,
) -> PairCounts:
    """Count scored pairs at the thresholds that the settings need.

    Parameters
    ----------
    scored : Scored
    settings : Settings
        Settings with the metric of the pairs.
    deployed : float, optional
        A distance that must be among the thresholds.
    progress : callable
        Called with (pairs read, pairs to read).
    sizes : Sizes
        Numbers of groups and thresholds at which counting changes its method.

    Raises
    ------
    InputError
        The pairs cannot resolve the calibration range, or the files changed since the first
        reading.
    SettingsError
        The calibration range is given in distances, but the pairs have scores; or counting needs
        more memory than the limit.
    """
    calibration = settings.calibration_range
    if calibration.by == "distance" and scored.metric == "score":
        raise SettingsError(
            f"--calibration {calibration}: these are scores, no distances; give far: or frr:"
        )
    needs = grid.needs_of(calibration, *settings.bounds, deployed)
    genuine = _distribution(scored.genuine, scored.scored_shares[0])
    impostor = _distribution(scored.impostor, scored.scored_shares[1])
    pilot = Pilot(genuine, impostor, scored.whole)
    few = _all_of_few(scored)
    extra = np.concatenate([_near_equal_error(genuine, impostor), few])

    def count_on(placed: Grid) -> PairCounts:
        refuse_memory(scored, placed, settings)
        return _count_at(scored, placed, needs.distances, settings, progress)

    def serves(counts: PairCounts) -> bool:
        low, high = ends_if_needed(counts, calibration)
        # If the thresholds were placed by all pairs, or stand at every one of few distances, no
        # other thresholds would show more.
        shown = scored.whole or len(few) > 0 or bool(np.isnan(low))
        return shown or grid_serves(counts, needs, low, high)

    def place(known: Pilot) -> Grid:
        return _place(scored, known, needs, extra, sizes.dense_cells)

    return count_on_fitting_grid(place(pilot), count_on, serves, place)


def _distribution(distances: Doubles, share: float) -> Distribution:
    """Return the distribution of sorted distances, if only a share of the pairs has a distance."""
    return Distribution(distances, share * np.arange(1, len(distances) + 1) / len(distances))


def _near_equal_error(genuine: Distribution, impostor: Distribution) -> Doubles:
    """Return up to 401 distances around the one at which FAR and FRR are nearest to equal."""
    both = np.unique(np.concatenate([genuine.distances, impostor.distances]))
    accepted = [
        np.append(0.0, kind.accepted)[np.searchsorted(kind.distances, both, side="right")]
        for kind in (genuine, impostor)
    ]
    middle = int(np.argmin(np.abs(accepted[1] - (1 - accepted[0]))))
    return np.asarray(both[max(middle - 200, 0) : middle + 201])


def _all_of_few(scored: Scored) -> Doubles:
    """Return every distance that was seen if they are few, else none."""
    distances = np.unique(np.concatenate([scored.genuine, scored.impostor]))
    return distances if len(distances) <= _FEW_DISTANCES else distances[:0]


def _place(scored: Scored, pilot: Pilot, needs: Needs, extra: Doubles, dense_cells: int) -> Grid:
    """Place thresholds for the calibration range, for every bound, and for the curves between.

    A FAR that must not be exceeded gets a threshold just below the pair that would exceed it.
    """
    slack, top_slack = (1.0, 1.0) if pilot.exact else (_SLACK, _TOP_SLACK)
    calibration, genuine, impostor = needs.calibration, pilot.genuine, pilot.impostor
    ends = np.array([calibration.low / slack, min(calibration.high * top_slack, 1.0)])
    if calibration.by == "far":
        low, high = impostor.first_above(ends)
    elif calibration.by == "frr":
        high, low = genuine.first_at(1 - ends)
    else:
        low, high = calibration.low, calibration.high
    last = max(scored.most, scored.nothing, *needs.distances)
    decisive = np.concatenate(
        [
            np.linspace(low, high, int(grid.RANGE_POINTS * (1.1 if pilot.exact else 1.6))),
            np.nextafter(impostor.first_above(np.array(needs.fars)), -np.inf),
            genuine.first_at(1 - np.array(needs.frrs)),
            np.array(needs.distances),
            [last],
        ]
    )
    others = np.concatenate(
        [
            np.linspace(scored.nothing, last, 512),
            np.nextafter(impostor.first_above(np.logspace(-8, 0, 400)[:-1]), -np.inf),
            genuine.first_at(np.arange(1, 0, -grid.FRR_RESOLUTION / 2)),
            extra,
        ]
    )
    thresholds = np.unique(np.concatenate([decisive, others]))
    thresholds = thresholds[(thresholds >= scored.nothing) & (thresholds <= last)]
    kept = np.arange(len(thresholds))
    if len(scored.names) * len(thresholds) > dense_cells:
        kept = kept[np.isin(thresholds, decisive) | (kept % 16 == 0)]
    return Grid(thresholds, len(thresholds), kept)


def refuse_memory(scored: Scored, placed: Grid, settings: Settings) -> None:
    """Raise a ``SettingsError`` if counting needs more memory than the limit."""
    limit = settings.memory_limit_bytes
    columns, pairs = len(placed.by_class), min(len(scored.names), MOST_GROUPS) ** 2
    needed = resident_memory() + 8 * (len(scored.names) + 4 * pairs) * columns + _READING_BYTES
    if limit is not None and needed > limit:
        raise SettingsError(
            f"--memory-limit {settings.memory_limit}: pairs of {len(scored.names):,} groups need "
            f"about {needed / 1e9:.2g} GB; raise the limit, or take coarser groups"
        )


def _count_at(
    scored: Scored, placed: Grid, given: tuple[float, ...], settings: Settings, progress: Progress
) -> PairCounts:
    """Read all pairs, and count them at the thresholds of a grid.

    The thresholds in ``given`` are not moved to the middle of a gap.
    """
    number, columns, size = len(scored.names), len(placed.by_class), len(placed.thresholds)
    pooled, borderline = np.zeros((2, size), np.int64), np.zeros((2, size), np.int64)
    credits = np.zeros((2, number, columns), np.uint32 if scored.rows < 2**31 else np.uint64)
    sizes, done = np.zeros(number, np.int64), 0
    unscored, unscored_by_class = np.zeros(2, np.int64), np.zeros((2, number), np.int64)
    by_groups = ScoredGroups(scored.names, scored.group_sizes, columns) if number else None
    # The smallest and the largest distance in each cell show where the gaps are.
    nearest, farthest = np.full(size, np.inf), np.full(size, -np.inf)
    thresholds, class_cell = placed.thresholds, placed.class_cell
    exact = [(int(np.searchsorted(thresholds, one)), one) for one in given]
    for batch in scored.table.batches(drop=settings.on_bad_rows == "drop"):
        distances = scored.sign * batch.scores
        rounded = _float32(distances)
        cells = np.minimum(np.searchsorted(thresholds, rounded), size - 1)
        for index, one in exact:
            # These distances equal the given threshold in float32. A user who compares in float32
            # accepts them; in float64 some may be rejected, so those are counted as borderline.
            tied: NDArray[np.bool_] = rounded == np.float32(one)
            cells[tied] = np.minimum(cells[tied], index)
            tied &= distances > one
            for k, kind in enumerate((batch.genuine, ~batch.genuine)):
                borderline[k, index] += np.count_nonzero(tied & kind)
        np.minimum.at(nearest, cells, distances)
        np.maximum.at(farthest, cells, distances)
        for k, kept in enumerate((batch.genuine, ~batch.genuine)):
            pooled[k] += np.bincount(cells[kept], minlength=size)
            for groups in batch.groups:
                np.add.at(credits[k], (groups[kept], class_cell[cells[kept]]), 1)
        for groups in batch.groups:
            sizes += np.bincount(groups, minlength=number)
        if by_groups is not None:
            by_groups.add(batch.groups, batch.genuine, class_cell[cells])
        if settings.without_score == "reject":
            unscored += batch.unscored
            for groups in batch.unscored_groups:
                np.add.at(unscored_by_class, ((~batch.unscored_genuine).astype(int), groups), 1)
            if by_groups is not None:
                by_groups.add_unscored(batch.unscored_groups, batch.unscored_genuine)
            done += len(batch.unscored_genuine)
        done += len(cells)
        progress(scored.rows + done, 2 * scored.rows)
    if done != scored.rows or pooled.sum() + unscored.sum() != done:
        raise InputError(f"{scored.table.where}: changed while it was read; evaluate it again")
    for cells in (*credits, *pooled):
        np.cumsum(cells, axis=-1, out=cells)
    named, places = _named(scored, placed, given, nearest, farthest)
    columns_kept = np.flatnonzero(np.isin(placed.by_class, places))
    named_grid = Grid(named, len(named), np.searchsorted(places, placed.by_class[columns_kept]))
    return PairCounts(
        grid=named_grid,
        metric=scored.metric,
        unit=False,
        class_names=scored.names,
        sizes=sizes + unscored_by_class.sum(axis=0),
        genuine=credits[0][:, columns_kept],
        impostor=credits[1][:, columns_kept],
        pooled_genuine=pooled[0][places],
        pooled_impostor=pooled[1][places],
        nearest_hits=np.zeros(number, np.int64),
        searches=np.zeros(number, np.int64),
        borderline_genuine=borderline[0][places],
        borderline_impostor=borderline[1][places],
        unscored=unscored if unscored.any() else None,
        unscored_by_class=unscored_by_class if unscored.any() else None,
        group_pairs=None
        if by_groups is None
        else by_groups.group_pairs(named_grid.class_thresholds, columns_kept),
    )


def _named(
    scored: Scored, placed: Grid, given: tuple[float, ...], nearest: Doubles, farthest: Doubles
) -> tuple[Doubles, NDArray[np.int64]]:
    """Choose one threshold for each gap between distances, as a short decimal.

    Thresholds in ``given`` are all kept as they are.

    Parameters
    ----------
    scored : Scored
    placed : Grid
    given : tuple of float
    nearest, farthest : ndarray of shape (T,)
        Smallest and largest distance in the cell of each threshold of ``placed``.

    Returns
    -------
    thresholds : ndarray of shape (kept,), float64
    kept : ndarray of shape (kept,), int64
        Indices of these thresholds in ``placed``.
    """
    lower = np.maximum.accumulate(farthest)
    higher = np.append(np.minimum.accumulate(nearest[::-1])[-2::-1], np.inf)
    ends_gap = np.append(lower[1:] > lower[:-1], True)
    by_class = np.isin(np.arange(len(lower)), placed.by_class)
    named = {}
    for k in np.flatnonzero(np.isin(placed.thresholds, given)):
        named[float(placed.thresholds[k])] = int(k)
    start = 0
    for stop in (np.flatnonzero(ends_gap) + 1).tolist():
        # All thresholds in a gap have the same counts. One that has counts by class stands for
        # them, if there is one.
        inside = np.arange(start, stop)
        chosen = inside[np.argmax(by_class[inside])]
        low, high = float(lower[chosen]), float(higher[chosen])
        name = scored.nothing if low == -np.inf else between(low, high)
        named.setdefault(name, int(chosen))
        start = stop
    # The two lists are sorted separately. Only thresholds of the same gap can change places by
    # that, and these have the same counts.
    return np.array(sorted(named)), np.array(sorted(named.values()))


def _float32(distances: Doubles) -> Doubles:
    """Round distances to float32; the result is float64 again."""
    return distances.astype(np.float32).astype(np.float64)
