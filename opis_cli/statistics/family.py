"""Judge several checks as a family, so that chance alone seldom fails any of them.

With Holm's procedure, the probability that chance alone fails at least one check is at most
``alpha``, for any dependence between the checks. Source: Holm, *A Simple Sequentially Rejective
Multiple Test Procedure*, Scandinavian Journal of Statistics 6 (1979).
"""

from collections.abc import Sequence

import numpy as np

from opis_cli.records import Curve


def share_within(worsening: Curve, allowed: float, *, either_way: bool) -> float | None:
    """Return the p-value of a check: the share of draws in which a figure worsens within its limit.

    Parameters
    ----------
    worsening : ndarray of shape (replicates,)
        Worsening of the figure in each draw.
    allowed : float
        The limit.
    either_way : bool
        Whether a change in the other direction counts as a worsening too. The p-value is then the
        smaller of the shares of both directions.

    Returns
    -------
    float or None
        None if the figure is undefined in more than a tenth of the draws. Limits of an interval
        have the same rule.
    """
    known = worsening[np.isfinite(worsening)]
    if len(known) < 0.9 * len(worsening) or len(known) == 0:
        return None
    sides = (known, -known) if either_way else (known,)
    return min(float(np.mean(side <= allowed)) for side in sides)


def holm(shares: Sequence[float], alpha: float) -> list[float]:
    """Return the level of each p-value, in the order of ``shares``.

    A check fails if its p-value is at most its level. The level of the smallest p-value is
    ``alpha / n`` for ``n`` checks, the level of the next one is ``alpha / (n - 1)``, and so on. The
    first p-value that is larger than its level ends this: all later ones have the same level.
    """
    levels = [0.0] * len(shares)
    left = len(shares)
    for place in sorted(range(len(shares)), key=shares.__getitem__):
        levels[place] = alpha / left
        if shares[place] <= alpha / left:
            left -= 1
    return levels
