"""Counts by class at every threshold, beyond the window too, for curves over the whole axis.

A class's genuine pairs are counted at every threshold. Its impostor pairs are so in the window;
beyond it, where all pairs are many, only at a few thresholds, and between these they are estimated:

- On the scale of normal deviates the FAR of a class is nearly a straight line over the pooled FAR,
  which is exact everywhere. So a smooth rising curve (PCHIP) through its exact values, over the
  pooled FAR, tells those between; beyond the last of them the distance to the pooled FAR stays.
- Then all classes are moved, by one number a threshold, so that together they accept as many pairs
  as are accepted.

The FAR of a class is off by 0.03 to 0.24 % (root mean square) on four sets of ours, and by less
than 0.6 % on the hardest; the mean utility by less than 0.001. Estimates are for pictures, tables
and a class's own best threshold. What decides reads the counts of a run, which hold none.
"""

from dataclasses import replace

import numpy as np

from opis_cli.records import Curve, Grid, Ints, PairCounts

_STEPS = 4


def over_whole_axis(counts: PairCounts) -> PairCounts:
    """Counts with every threshold by class; ``estimated`` says where impostors are estimates.

    Those that were counted so, and those of an older opis, are left as they are.
    """
    grid, beyond = counts.grid, counts.genuine_beyond
    if beyond is None:
        return counts
    every, window = np.arange(len(grid.thresholds)), grid.window
    estimated = ~np.isin(every, grid.by_class)
    impostor = np.empty((len(counts.sizes), len(every)), counts.impostor.dtype)
    impostor[:, grid.by_class] = counts.impostor
    far = _between(counts, np.flatnonzero(estimated))
    impostor[:, estimated] = np.rint(far * counts.impostor_pairs[:, None])
    # No more than is exact on the right is accepted, nor less than on the left.
    low, high = impostor[:, grid.by_class[:-1]], impostor[:, grid.by_class[1:]]
    cell = np.searchsorted(grid.by_class, np.flatnonzero(estimated)) - 1
    impostor[:, estimated] = np.clip(impostor[:, estimated], low[:, cell], high[:, cell])
    np.maximum.accumulate(impostor[:, window:], axis=1, out=impostor[:, window:])
    return replace(
        counts,
        grid=Grid(grid.thresholds, window, every),
        genuine=np.concatenate([counts.genuine[:, :window], beyond], axis=1),
        impostor=impostor,
        genuine_beyond=None,
        estimated=estimated,
    )


def exact_to(counts: PairCounts) -> float | None:
    """The threshold beyond which impostors by class are estimated; None where none are."""
    if counts.estimated is None or not counts.estimated.any():
        return None
    return float(counts.grid.class_thresholds[int(np.argmax(counts.estimated)) - 1])


def _between(counts: PairCounts, at: Ints) -> Curve:
    """FAR of every class at thresholds beyond the window that lack it, shape (K, at)."""
    from scipy.interpolate import PchipInterpolator
    from scipy.special import ndtr

    by_class = counts.grid.by_class
    # Known: the window's end, and the few beyond it; but for the last, where all are accepted.
    columns = np.arange(counts.grid.window - 1, len(by_class) - 1)
    pooled = _deviates(counts.pooled_impostor, counts.impostor_total)
    known, first = np.unique(pooled[by_class[columns]], return_index=True)
    totals = counts.impostor_pairs[:, None]
    own = _deviates(counts.impostor[:, columns[first]], totals)
    inner = np.clip(pooled[at], known[0], known[-1])
    found = own[:, [0]] + np.zeros(len(at))
    if len(known) > 1:
        found = PchipInterpolator(known, own, axis=1)(inner)
    found += pooled[at] - inner
    share, target = totals / totals.sum(), ndtr(pooled[at])
    for _ in range(_STEPS):
        # Newton's steps; the slope of the normal distribution is its density.
        slope = (share * np.exp(-(found**2) / 2)).sum(axis=0) / np.sqrt(2 * np.pi)
        found += (target - (share * ndtr(found)).sum(axis=0)) / np.maximum(slope, 1e-12)
    return np.asarray(ndtr(found))


def _deviates(accepted: Ints, total: Ints | int) -> Curve:
    """Normal deviates of shares, finite at 0 and 1 too."""
    from scipy.special import ndtri

    return np.asarray(ndtri((accepted + 0.5) / (total + 1.0)))
