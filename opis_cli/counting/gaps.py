"""Place thresholds in gaps between the distances of pairs.

A threshold in the middle of a gap gives the same counts on every machine, and in whichever
precision the user compares distances with it.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opis_cli import decimals
from opis_cli.counting.rows import Rows
from opis_cli.records import Floats

Doubles = NDArray[np.float64]

CLEAR = 4
"""Roundings between a pair and a threshold at which its acceptance is beyond doubt."""


def middle_of(low: float, high: float) -> float:
    """Return the decimal of fewest digits in the middle half of a gap, nearest to its middle."""
    quarter = (high - low) / 4
    return decimals.shortest(low + quarter, high - quarter)


def shifted(rows: Rows, distances: Floats | float, steps: int) -> Doubles:
    """Move distances up (+) or down (-) by some steps of ``CLEAR`` roundings in score each."""
    scores = rows.score(np.asarray(distances)) - steps * CLEAR * rows.rounding
    return np.asarray(np.minimum(rows.distance(scores), rows.largest_distance))


def between(low: float, high: float) -> float:
    """Return a short decimal for the threshold that accepts ``low`` and rejects ``high``.

    If float32 has several values in the gap, the decimal lies in the middle half of the gap.
    Otherwise it lies at ``low`` or above it, where it still rounds to the same float32 as ``low``.
    The same holds if ``low`` is the largest distance and ``high`` is infinite.
    """
    last_bit = float(np.spacing(np.float32(abs(low))))
    if math.isfinite(high) and high - low >= 8 * last_bit:
        return middle_of(low, high)
    return decimals.shortest(low, max(low, float(np.float32(low)) + 0.49 * last_bit))


@dataclass(frozen=True, slots=True)
class Gaps:
    """The gaps between the distances of pairs.

    Attributes
    ----------
    rows : Rows
    distances : sequence of ndarrays, float64
        Distances of pairs. Each array is sorted.
    """

    rows: Rows
    distances: tuple[Doubles, ...]

    def around(self, thresholds: Doubles) -> tuple[Doubles, Doubles]:
        """Return the nearest distances at or below thresholds, and those above them.

        If there is no such pair, they are 0 and inf.
        """
        below, above = np.zeros(len(thresholds)), np.full(len(thresholds), np.inf)
        for known in self.distances:
            index = np.searchsorted(known, thresholds, side="right")
            padded = np.concatenate([[0.0], known, [np.inf]])
            np.maximum(below, padded[index], out=below)
            np.minimum(above, padded[index + 1], out=above)
        return below, above

    def beside(self, pairs: Doubles, way: int) -> Doubles:
        """Return thresholds that surely accept (+1) or surely reject (-1) pairs at some distances.

        A threshold lies in the middle of the next gap if the gap is wide enough, else a few
        roundings away from the pair.
        """
        near, far = (shifted(self.rows, pairs, way * steps) for steps in (1, 2))
        low, high = self.around(near)
        wide = self._wide(low, high)
        return np.array(
            [
                middle_of(low[k], high[k]) if wide[k] else decimals.shortest(*sorted(ends))
                for k, ends in enumerate(zip(near.tolist(), far.tolist(), strict=True))
            ]
        )

    def clear(self, thresholds: Doubles) -> Doubles:
        """Move thresholds that lie within a few roundings of a pair into a gap beside it.

        A threshold stays where it is if the pairs are so dense that there is no gap.
        """
        moved = thresholds.copy()
        least = CLEAR * self.rows.rounding
        for steps in (0, 1):
            places = shifted(self.rows, thresholds, steps)
            low, high = self.around(places)
            at = self.rows.score(thresholds)
            close = (self.rows.score(low) - at < least) | (at - self.rows.score(high) < least)
            for k in np.flatnonzero(close & self._wide(low, high) & (moved == thresholds)):
                moved[k] = middle_of(low[k], high[k])
        return moved

    def _wide(self, low: Doubles, high: Doubles) -> NDArray[np.bool_]:
        """Return which gaps are wide enough for a middle that is clear of both ends."""
        width = self.rows.score(low) - self.rows.score(high)
        return np.isfinite(high) & (width > 4 * CLEAR * self.rows.rounding)
