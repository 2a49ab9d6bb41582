"""Several checks judged as a family, so that all of them together seldom fail by chance.

Holm, *A Simple Sequentially Rejective Multiple Test Procedure*, Scandinavian Journal of Statistics
6 (1979): whatever ties the checks together, the chance that any fails by chance alone is at most
``alpha``.
"""

from collections.abc import Sequence

import numpy as np

from opis_cli.records import Curve


def share_within(worsening: Curve, allowed: float, *, either_way: bool) -> float | None:
    """Share of the draws in which a worsening stays within its limit: the p-value of a check.

    Of a shift ``either_way`` it is the share on that side of the limit where it is less. None where
    more than a tenth of the draws leave the figure undefined, as for limits of an interval.
    """
    known = worsening[np.isfinite(worsening)]
    if len(known) < 0.9 * len(worsening) or len(known) == 0:
        return None
    sides = (known, -known) if either_way else (known,)
    return min(float(np.mean(side <= allowed)) for side in sides)


def holm(shares: Sequence[float], alpha: float) -> list[float]:
    """What each p-value is held against, in their order; one that is no larger fails its check.

    The least is held against ``alpha`` over their number, the next against ``alpha`` over one less,
    and so on up to the first that is larger, and its share holds for all that follow.
    """
    levels = [0.0] * len(shares)
    left = len(shares)
    for place in sorted(range(len(shares)), key=shares.__getitem__):
        levels[place] = alpha / left
        if shares[place] <= alpha / left:
            left -= 1
    return levels
