"""Whether a grid served, judged by what was counted on it; if not, another is placed."""

from collections.abc import Callable

import numpy as np

from opis_cli.counting.grid import FRR_RESOLUTION, RANGE_POINTS, Distribution, Needs, Pilot
from opis_cli.records import Grid, PairCounts

_FINEST_STEP = 1e-4
"""Width of a cell, as a share of the calibration range, that needs no finer one."""
_ATTEMPTS = 4


def count_on_fitting_grid(
    placed: Grid,
    count: Callable[[Grid], PairCounts],
    serves: Callable[[PairCounts], bool],
    place: Callable[[Pilot], Grid],
) -> PairCounts:
    """Count on a grid; where it does not serve, place another by what was counted, and count anew.

    Parameters
    ----------
    placed : Grid
        The first one to try.
    count : callable
        Counts all pairs on a grid.
    serves : callable
        Whether the grid of counts resolves what it must.
    place : callable
        Places a grid by what is known of the distances.

    Returns
    -------
    PairCounts
        Those of the last attempt, whether its grid serves or not.
    """
    for _ in range(_ATTEMPTS - 1):
        counts = count(placed)
        if serves(counts):
            return counts
        placed = place(pilot_of_counts(counts))
    return count(placed)


def pilot_of_counts(counts: PairCounts) -> Pilot:
    """The distributions that counting found, for a better grid."""
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
    """Whether the grid resolves what it must, judged by what was counted on it.

    ``low`` and ``high`` are the ends of the calibration range found on this grid. Where thresholds
    lie in the gaps between pairs (``in_gaps``), no other ones would hold a bound at less cost.
    """
    grid = counts.grid
    if not range_is_resolved(counts, low, high):
        return False
    if in_gaps:
        return True
    far = counts.pooled_impostor / max(counts.impostor_total, 1)
    frr = 1 - counts.pooled_genuine / max(counts.genuine_total, 1)
    # The best threshold for a bound lies in the cell that begins at the last one which meets it.
    cells = np.searchsorted(far, needs.fars, side="right") - 1
    cells = cells[(cells >= 0) & (cells + 1 < len(far))]
    lost = frr[cells] - frr[cells + 1]
    wide = np.diff(grid.thresholds)[cells] > _FINEST_STEP * (high - low)
    return not np.any(wide & (lost > max(FRR_RESOLUTION, 1.5 / max(counts.genuine_total, 1))))


def range_is_resolved(counts: PairCounts, low: float, high: float) -> bool:
    """Whether the grid has points enough in the calibration range, and the range in its window."""
    grid = counts.grid
    points, top = len(grid.columns_between(low, high)), grid.thresholds[grid.window - 1]
    return bool(points >= RANGE_POINTS and (high < top or grid.window == len(grid.thresholds)))
