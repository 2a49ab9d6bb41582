"""Borderline pairs: so near a threshold that rounding decides on which side they fall.

Counts accept them all. A FAR is then never too low; a FRR that surely holds rejects them all.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opis_cli.quantities import Count
from opis_cli.records import PairCounts


@dataclass(frozen=True, slots=True)
class Borderline:
    """Pairs within a rounding of a threshold: all are counted as accepted.

    ``exact`` tells whether ``impostor`` was counted; else it is taken from the density of the pairs
    around.

    Attributes
    ----------
    genuine : int
        Genuine pairs.
    impostor : int
        Impostor pairs.
    exact : bool
        Whether the impostor pairs were counted; otherwise their number is taken from the
        density of the pairs around.
    """

    genuine: Count
    impostor: Count
    exact: bool


def surely_accepted(counts: PairCounts) -> NDArray[np.int64]:
    """Genuine pairs that each threshold accepts whatever the rounding, shape (T,)."""
    if counts.rounding == 0:
        if counts.borderline_genuine is None:
            return np.asarray(counts.pooled_genuine, np.int64)
        return np.asarray(counts.pooled_genuine - counts.borderline_genuine)
    below = np.searchsorted(counts.grid.thresholds, _below(counts), side="right") - 1
    sure = np.where(below >= 0, counts.pooled_genuine[below], 0)
    if counts.borderline_genuine is not None:
        # Where the next threshold lies within the rounding too, only the one before it is sure.
        alone = below == np.arange(len(below)) - 1
        sure = np.where(alone, counts.pooled_genuine - counts.borderline_genuine, sure)
    # The last threshold accepts every pair there can be.
    sure[-1] = counts.genuine_total
    return np.asarray(sure)


def borderline_at(counts: PairCounts, index: int) -> Borderline:
    """The borderline pairs of a threshold of the grid."""
    genuine = int(counts.pooled_genuine[index] - surely_accepted(counts)[index])
    if counts.borderline_impostor is not None:
        return Borderline(genuine, int(counts.borderline_impostor[index]), True)
    thresholds, last = counts.grid.thresholds, len(counts.grid.thresholds) - 1
    around = [max(index - 1, 0), min(index + 1, last)]
    accepted, width = np.diff(counts.pooled_impostor[around])[0], np.diff(thresholds[around])[0]
    reach = thresholds[index] - _below(counts)[index]
    return Borderline(genuine, round(float(accepted * min(reach / width, 1.0))), False)


def _below(counts: PairCounts) -> NDArray[np.float64]:
    """Two roundings below each threshold, shape (T,); -1 below distance 0."""
    thresholds, slack = counts.grid.thresholds, 2 * counts.rounding
    if counts.metric == "cosine":
        return np.asarray(thresholds - slack)
    below = np.sqrt(np.maximum(thresholds**2 - 2 * slack, 0.0))
    below[thresholds**2 < 2 * slack] = -1.0
    return np.asarray(below)
