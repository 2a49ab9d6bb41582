"""Borderline pairs: pairs so close to a threshold that rounding decides whether they are accepted.

The counts accept every borderline pair, so the FAR is never too low. An FRR that is certainly not
too low must reject them all (``surely_accepted``).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opis_cli.quantities import Count
from opis_cli.records import PairCounts


@dataclass(frozen=True, slots=True)
class Borderline:
    """Number of pairs within a rounding error of a threshold. All of them count as accepted.

    Attributes
    ----------
    genuine : int
        Number of genuine pairs.
    impostor : int
        Number of impostor pairs.
    exact : bool
        Whether the impostor pairs were counted. Otherwise their number is an estimate from the
        density of the pairs around the threshold.
    """

    genuine: Count
    impostor: Count
    exact: bool


def surely_accepted(counts: PairCounts) -> NDArray[np.int64]:
    """Return the number of genuine pairs that each threshold accepts with certainty, shape (T,).

    A genuine pair within a rounding error of the threshold does not count.
    """
    if counts.rounding == 0:
        if counts.borderline_genuine is None:
            return np.asarray(counts.pooled_genuine, np.int64)
        return np.asarray(counts.pooled_genuine - counts.borderline_genuine)
    below = np.searchsorted(counts.grid.thresholds, _below(counts), side="right") - 1
    sure = np.where(below >= 0, counts.pooled_genuine[below], 0)
    if counts.borderline_genuine is not None:
        # `borderline_genuine` is usable only if no other threshold lies within the rounding error.
        # Otherwise only the pairs of the last threshold below it are certain.
        alone = below == np.arange(len(below)) - 1
        sure = np.where(alone, counts.pooled_genuine - counts.borderline_genuine, sure)
    # The last threshold accepts every possible pair.
    sure[-1] = counts.genuine_total
    return np.asarray(sure)


def borderline_at(counts: PairCounts, index: int) -> Borderline:
    """Return the borderline pairs of the grid threshold with this index."""
    genuine = int(counts.pooled_genuine[index] - surely_accepted(counts)[index])
    if counts.borderline_impostor is not None:
        return Borderline(genuine, int(counts.borderline_impostor[index]), True)
    if counts.rounding == 0:
        return Borderline(genuine, 0, True)
    thresholds, last = counts.grid.thresholds, len(counts.grid.thresholds) - 1
    around = [max(index - 1, 0), min(index + 1, last)]
    accepted, width = np.diff(counts.pooled_impostor[around])[0], np.diff(thresholds[around])[0]
    reach = thresholds[index] - _below(counts)[index]
    return Borderline(genuine, round(float(accepted * min(reach / width, 1.0))), False)


def _below(counts: PairCounts) -> NDArray[np.float64]:
    """Return the distance two rounding errors below each threshold, shape (T,).

    For the Euclidean metric it is -1 if that would lie below distance 0.
    """
    thresholds, slack = counts.grid.thresholds, 2 * counts.rounding
    if counts.metric in ("cosine", "dot"):
        return np.asarray(thresholds - slack)
    below = np.sqrt(np.maximum(thresholds**2 - 2 * slack, 0.0))
    below[thresholds**2 < 2 * slack] = -1.0
    return np.asarray(below)
