"""OPIS less the noise of small classes.

OPIS is a variance, so a class's curve being estimated from few rows adds to it even where all
classes are alike. The curves of two random halves of a class have independent noise: of the product
of their deviations from the mean curve only the signal is left, on average. With utilities ``A_i``
and ``B_i`` of the halves, ``value = mean over classes of 1 / (t_hi - t_lo) * integral of
(A_i - Abar)(B_i - Bbar) dt``. Nothing is clipped: by chance the value may be negative.

The mean of a utility depends a little on how many rows it is estimated from, so classes of mixed
sizes differ by more than noise, and some bias is left.
"""

from dataclasses import dataclass

import numpy as np

from opis_cli.quantities import Amount, AtLeastOne, Several
from opis_cli.records import Curve, Ends, Halves, PairCounts
from opis_cli.scoring import curves
from opis_cli.scoring.opis import trapezoid_weights
from opis_cli.statistics import bootstrap
from opis_cli.statistics.bootstrap import REPLICATES
from opis_cli.statistics.jackknife import LEVEL, carriers, mean_limits


@dataclass(frozen=True, slots=True)
class OpisCorrected:
    """OPIS less the noise of small classes, from two halves of each class of four rows or more.

    ``plain`` is OPIS of the same classes, ``noise_share`` what of it is noise: it can be negative,
    or exceed 1, by chance. ``sizes`` are those of the smallest and the largest of them,
    ``effective_classes`` how many of equal parts would carry it as evenly.

    Attributes
    ----------
    value : float
        OPIS less noise; by chance it may be negative.
    interval : Ends
        Confidence interval of the value.
    noise_share : float | None
        What of the plain value is noise; null where that is 0.
    classes : int
        Classes of four rows or more that served.
    plain : float
        Plain OPIS of the same classes.
    sizes : tuple[int, int]
        Rows of the smallest and of the largest of them.
    effective_classes : float | None
        How many classes of equal parts would carry the value as evenly; null where it is 0.
    """

    value: float
    interval: Ends
    noise_share: float | None
    classes: Several
    plain: Amount
    sizes: tuple[int, int]
    effective_classes: AtLeastOne | None = None


def corrected(
    counts: PairCounts, beta: float, seed: int, level: float = LEVEL
) -> OpisCorrected | None:
    """Noise-corrected OPIS over the halves that were counted; None with fewer than two classes."""
    halves = counts.halves
    if halves is None or len(halves.classes) < 2:
        return None
    integral = trapezoid_weights(halves.thresholds)
    first, second = (_deviations(half) for half in _utilities(halves, beta))
    products = (first * second) @ integral
    value, count = float(products.mean()), len(products)
    drawn = np.concatenate(list(bootstrap.draws(count, REPLICATES, seed))) / count
    drawn_values = drawn @ products - ((drawn @ first) * (drawn @ second)) @ integral
    unbiased = 2 * value - float(drawn_values.mean())
    error = _error_if_alike(first, second, integral)
    low, high = mean_limits(products, level, value=unbiased, error=error)
    columns = np.searchsorted(counts.grid.class_thresholds, halves.thresholds)
    whole = curves.class_utility(counts, beta, halves.classes, columns)
    plain = float((_deviations(whole) ** 2 @ integral).mean())
    sizes = counts.sizes[halves.classes]
    return OpisCorrected(
        value=value,
        interval=(min(float(low), value), max(float(high), value)),
        noise_share=1 - value / plain if plain > 0 else None,
        classes=count,
        plain=plain,
        sizes=(int(sizes.min()), int(sizes.max())),
        effective_classes=carriers(products),
    )


def _utilities(halves: Halves, beta: float) -> Curve:
    """Utility of both halves of each class, shape (2, S, P)."""
    sizes = halves.sizes[:, :, None]
    far = halves.impostor / halves.impostor_pairs[:, :, None]
    frr = 1 - halves.genuine / (sizes * (sizes - 1) // 2)
    return curves.utility(far, frr, beta)


def _error_if_alike(first: Curve, second: Curve, integral: Curve) -> float:
    """Standard error if the halves of a class had nothing in common.

    It is that over all ways to pair first with second halves. The bootstrap's falls below it where
    errors are so rare that no class has them in both halves.
    """
    count = len(first)
    both = (first.T @ first / count) * (second.T @ second / count)
    return float(np.sqrt(integral @ both @ integral / count))


def _deviations(utilities: Curve) -> Curve:
    return np.asarray(utilities - utilities.mean(axis=0))
