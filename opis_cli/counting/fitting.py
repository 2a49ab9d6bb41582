"""Check from the counts whether the grid served, and place another one if it did not."""

from collections.abc import Callable

import numpy as np

from opis_cli.counting.grid import FRR_RESOLUTION, RANGE_POINTS, Distribution, Needs, Pilot
from opis_cli.records import Grid, PairCounts

_FINEST_STEP = 1e-4
"""Width of a cell, as a share of the calibration range, below which no finer one is needed."""
ATTEMPTS = 4
"""Most grids that are tried. The counts on the last one are kept, whether it serves or not."""


def count_on_fitting_grid(
    placed: Grid,
    count: Callable[[Grid], PairCounts],
    serves: Callable[[PairCounts], bool],
    place: Callable[[Pilot], Grid],
) -> PairCounts:
    """Count on a grid. If it does not serve, place another by these counts, and count again.

    Parameters
    ----------
    placed : Grid
        The first grid to try.
    count : callable
        Counts all pairs on a grid.
    serves : callable
        Takes counts, and returns whether their grid resolves what it must.
    place : callable
        Places a grid by a pilot.

    Returns
    -------
    PairCounts
        Counts on the first grid that serves, else on the last grid that was tried.
    """
    for _ in range(ATTEMPTS - 1):
        counts = count(placed)
        if serves(counts):
            return counts
        placed = place(pilot_of_counts(counts))
    return count(placed)


def pilot_of_counts(counts: PairCounts) -> Pilot:
    """Make a pilot of the distributions in the counts, to place a better grid by."""
    thresholds = counts.grid.thresholds
    genuine = counts.pooled_genuine / max(counts.genuine_total, 1)
    impostor = counts.pooled_impostor / max(counts.impostor_total, 1)
    return Pilot(
        Distribution(thresholds, genuine, linear=True),
        Distribution(thresholds, impostor, linear=True),
        exact=False,
    )


def grid_serves(
    counts: PairCounts, needs: Needs, low: float, high: float, *, in_gaps: bool = False
) -> bool:
    """Return whether the grid resolves what it must, judged by the counts on it.

    Parameters
    ----------
    counts : PairCounts
    needs : Needs
    low, high : float
        Ends of the calibration range that were found on this grid, as distances.
    in_gaps : bool
        Whether thresholds lie in the gaps between pairs. If so, no other threshold could meet a
        bound at less cost, and only the calibration range is checked.
    """
    grid = counts.grid
    if not range_is_resolved(counts, low, high):
        return False
    if in_gaps:
        return True
    far = counts.pooled_impostor / max(counts.impostor_total, 1)
    frr = 1 - counts.pooled_genuine / max(counts.genuine_total, 1)
    # The best threshold for a bound on the FAR lies between the last grid threshold that meets the
    # bound and the next one. What the grid loses is at most the FRR between these two.
    cells = np.searchsorted(far, needs.fars, side="right") - 1
    cells = cells[(cells >= 0) & (cells + 1 < len(far))]
    lost = frr[cells] - frr[cells + 1]
    wide = np.diff(grid.thresholds)[cells] > _FINEST_STEP * (high - low)
    return not np.any(wide & (lost > max(FRR_RESOLUTION, 1.5 / max(counts.genuine_total, 1))))


def range_is_resolved(counts: PairCounts, low: float, high: float) -> bool:
    """Return whether the calibration range has enough thresholds, and lies inside the window."""
    grid, wanted = counts.grid, RANGE_POINTS
    if counts.metric == "hamming":
        # There is one threshold for each whole number, and no other would show more.
        wanted = min(wanted, int(high - low))
    points, top = len(grid.columns_between(low, high)), grid.thresholds[grid.window - 1]
    return bool(points >= wanted and (high < top or grid.window == len(grid.thresholds)))
