"""The price of one threshold: what thresholds of the classes' own would save.

One threshold for all classes gives some of them a high FAR and others a high FRR. With a threshold
of its own, each class could have the same FAR. But such a threshold is chosen on the few pairs of
the class, so on other pairs it errs. It must therefore be judged on pairs on which it was not
chosen.

Let ``F_i`` and ``R_i`` be the FAR and FRR of class ``i`` in one half of the rows, and ``F'_i`` and
``R'_i`` those in the other half. For a level ``a``, thresholds are chosen in the first half::

    t(a)    the largest threshold with  mean over i of F_i(t) <= a      (one for all)
    t_i(a)  the largest threshold with  F_i(t) <= a                     (of each class)

They are judged in the other half. The level is one number for all classes. It is such that the mean
FAR there is the FAR that was asked for, for both kinds of thresholds::

    mean over i of F'_i(t(a))  =  FAR asked for  =  mean over i of F'_i(t_i(a'))

``global_frr`` is the mean of ``R'_i(t(a))``, and ``own_frr`` the mean of ``R'_i(t_i(a'))``. Then
the halves change their parts, and the two results are averaged. Without equal FARs the comparison
would not be fair: a threshold that just meets a level on few pairs exceeds it on others.

A level between the FARs of two neighbouring thresholds stands for a mixture of both. So rates
between thresholds are linear.
"""

from dataclasses import dataclass

import numpy as np

from opis_cli.quantities import Amount, Several, Share
from opis_cli.records import Curve, PairCounts, Split

_BISECTIONS = 32


@dataclass(frozen=True, slots=True)
class PriceOfOneThreshold:
    """Mean FRR of classes at one threshold and at their own, at the same mean FAR.

    Attributes
    ----------
    global_frr : float
        Mean FRR of the classes (or groups) at one threshold.
    own_frr : float
        Mean FRR of the classes if each has a threshold of its own. It may exceed global_frr, since
        an own threshold is chosen on few pairs.
    global_far : float
        Mean FAR of the classes at the one threshold.
    own_far : float
        Mean FAR of the classes at their own thresholds. It equals global_far but for rounding.
    held_out : bool
        Whether the thresholds were chosen on one random half of the data and judged on the other.
        It is always true.
    classes : int
        Number of classes that took part: those with pairs of both kinds in both halves.
    standard_error : float
        Standard error over classes of the saving, global_frr less own_frr. A saving of less than
        two standard errors may be chance.
    """

    global_frr: Share
    own_frr: Share
    global_far: Share
    own_far: Share
    held_out: bool
    classes: Several
    standard_error: Amount

    @property
    def saves(self) -> bool:
        """Whether own thresholds lower the mean FRR by more than two standard errors."""
        return self.global_frr - self.own_frr > 2 * self.standard_error


def price_of_one_threshold(counts: PairCounts, far: float | None) -> PriceOfOneThreshold | None:
    """Compare one threshold with thresholds of the classes' own, at the same mean FAR.

    Parameters
    ----------
    counts : PairCounts
    far : float or None
        Mean FAR of the classes at which to compare.

    Returns
    -------
    PriceOfOneThreshold or None
        None if ``far`` is None. None if the classes have so few impostor pairs that thresholds of
        their own exceed ``far`` even if they accept no impostor pair of the half on which they are
        chosen. None also without halves: for scored pairs, whose rows are unknown; and with a
        gallery, tenants or excluded pairs, which are not all pairs of a half of the rows.
    """
    if counts.split is None or far is None:
        return None
    fars, frrs = _curves(counts.split)
    one, own = [], []
    for chosen, judged in ((0, 1), (1, 0)):
        mean = fars[chosen].mean(axis=0, keepdims=True)
        one.append(_at_far(mean, fars[judged], frrs[judged], far))
        own.append(_at_far(fars[chosen], fars[judged], frrs[judged], far))
    (global_far, global_frr), (own_far, own_frr) = (np.mean(both, axis=0) for both in (one, own))
    if np.isnan([global_far, own_far]).any():
        return None
    number = len(global_frr)
    return PriceOfOneThreshold(
        global_frr=float(global_frr.mean()),
        own_frr=float(own_frr.mean()),
        global_far=float(global_far.mean()),
        own_far=float(own_far.mean()),
        held_out=True,
        classes=number,
        standard_error=float((global_frr - own_frr).std(ddof=1) / number**0.5),
    )


def _curves(split: Split) -> tuple[Curve, Curve]:
    """Return the FARs and FRRs of both halves, each of shape (2, S, 1 + C).

    The first column stands for a threshold that accepts no pair.
    """
    before = ((0, 0), (0, 0), (1, 0))
    impostor, genuine = (np.pad(one, before) for one in (split.impostor, split.genuine))
    return impostor / impostor[:, :, -1:], 1 - genuine / genuine[:, :, -1:]


def _at_far(chosen: Curve, fars: Curve, frrs: Curve, far: float) -> Curve:
    """Return FAR and FRR of each class at the level whose mean FAR is the one asked for.

    The mean FAR never falls with the level. Where it leaps, the result is a mixture of the levels
    before and after.

    Parameters
    ----------
    chosen : ndarray of shape (S, P) or (1, P)
        FARs on which thresholds are chosen: for each class its own, or one for all.
    fars, frrs : ndarray of shape (S, P)
        Rates at the same thresholds, by which these are judged.
    far : float

    Returns
    -------
    ndarray of shape (2, S)
        FAR and FRR. All are NaN if the mean FAR is higher even at level 0.
    """
    low, high = 0.0, 1.0
    at_low, at_high = (_at_level(chosen, fars, frrs, level) for level in (low, high))
    if at_low[0].mean() > far:
        return np.full_like(at_low, np.nan)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        at = _at_level(chosen, fars, frrs, middle)
        if at[0].mean() <= far:
            low, at_low = middle, at
        else:
            high, at_high = middle, at
    leap = at_high[0].mean() - at_low[0].mean()
    share = min((far - at_low[0].mean()) / leap, 1.0) if leap > 0 else 0.0
    return np.asarray((1 - share) * at_low + share * at_high)


def _at_level(chosen: Curve, fars: Curve, frrs: Curve, level: float) -> Curve:
    """Return FAR and FRR of each class, shape (2, S), at the thresholds of a level.

    These are the largest thresholds whose FAR in ``chosen`` is at most the level.
    """
    below = np.count_nonzero(chosen <= level, axis=1) - 1
    above = np.minimum(below + 1, chosen.shape[1] - 1)
    rows, own = np.arange(len(fars)), np.arange(len(chosen))
    step = chosen[own, above] - chosen[own, below]
    share = np.divide(level - chosen[own, below], step, out=np.zeros(len(own)), where=step > 0)
    return np.stack(
        [(1 - share) * rates[rows, below] + share * rates[rows, above] for rates in (fars, frrs)]
    )
