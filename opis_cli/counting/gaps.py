"""Thresholds that lie clear of the pairs: in gaps between their distances.

A threshold in the middle of a gap gives the same counts on every machine, and in every precision in
which somebody compares with it.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opis_cli import decimals
from opis_cli.counting.rows import ROUNDING, Rows
from opis_cli.records import Floats

Doubles = NDArray[np.float64]

CLEAR = 4
"""Roundings from a pair at which its side of a threshold is beyond doubt."""


def middle_of(low: float, high: float) -> float:
    """The decimal of fewest digits in the middle half of a gap, nearest to its middle."""
    quarter = (high - low) / 4
    return decimals.shortest(low + quarter, high - quarter)


def shifted(rows: Rows, distances: Floats | float, steps: int) -> Doubles:
    """Distances moved so many safe steps up (+) or down (-), whatever the rounding."""
    scores = rows.score(np.asarray(distances)) - steps * CLEAR * ROUNDING * rows.scale
    return np.asarray(np.minimum(rows.distance(scores), rows.largest_distance))


def between(low: float, high: float) -> float:
    """The decimal to call a threshold by that accepts one distance and rejects the next.

    In the middle half of the gap, if float32 has some values there; else from the lower one up to
    where float32 would round to another. Beyond all distances, where ``high`` is infinite, it is
    the last one itself.
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
        Distances of pairs, each array sorted.
    """

    rows: Rows
    distances: tuple[Doubles, ...]

    def around(self, thresholds: Doubles) -> tuple[Doubles, Doubles]:
        """The nearest pairs at or below and above thresholds; 0 and inf where there are none."""
        below, above = np.zeros(len(thresholds)), np.full(len(thresholds), np.inf)
        for known in self.distances:
            index = np.searchsorted(known, thresholds, side="right")
            padded = np.concatenate([[0.0], known, [np.inf]])
            np.maximum(below, padded[index], out=below)
            np.minimum(above, padded[index + 1], out=above)
        return below, above

    def beside(self, pairs: Doubles, way: int) -> Doubles:
        """Thresholds that surely accept (+1) or surely reject (-1) pairs at some distances.

        In the middle of the next gap, if one is there to be seen, else a few roundings away.
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
        """Thresholds, those that lie within a few roundings of a pair moved to a gap beside it.

        Where pairs are so many that there is no gap, a threshold stays.
        """
        moved = thresholds.copy()
        least = CLEAR * ROUNDING * self.rows.scale
        for steps in (0, 1):
            places = shifted(self.rows, thresholds, steps)
            low, high = self.around(places)
            at = self.rows.score(thresholds)
            close = (self.rows.score(low) - at < least) | (at - self.rows.score(high) < least)
            for k in np.flatnonzero(close & self._wide(low, high) & (moved == thresholds)):
                moved[k] = middle_of(low[k], high[k])
        return moved

    def _wide(self, low: Doubles, high: Doubles) -> NDArray[np.bool_]:
        """Which gaps have a middle that is clear of both ends."""
        width = self.rows.score(low) - self.rows.score(high)
        return np.isfinite(high) & (width > 4 * CLEAR * ROUNDING * self.rows.scale)
