"""OPIS without the noise of small classes.

OPIS is a variance. The curve of a class with few rows is noisy, and this noise increases OPIS even
if all classes are alike. The curves of two random halves of a class have independent noise. The
product of their deviations from the mean curve therefore contains only the signal on average. With
the utilities ``A_i`` and ``B_i`` of the halves, ``value = mean over classes of 1 / (t_hi - t_lo) *
integral of (A_i - Abar)(B_i - Bbar) dt``. The value is not clipped: it may be negative by chance.

The expected utility depends slightly on the number of rows from which it is estimated. Classes of
different sizes therefore differ by more than noise, and a small bias remains.
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
    """OPIS without the noise of small classes, from two halves of each class of four rows or more.

    Attributes
    ----------
    value : float
        OPIS without noise. It may be negative by chance.
    interval : Ends
        Confidence interval of the value.
    noise_share : float | None
        Share of the plain value that is noise. It may be negative or exceed 1 by chance. Null if
        the plain value is 0.
    classes : int
        Number of classes that were split. Each has four rows or more.
    plain : float
        Plain OPIS of the same classes.
    sizes : tuple[int, int]
        Number of rows of the smallest and of the largest of these classes.
    effective_classes : float | None
        Effective number of classes: how many classes with equal parts would carry the value as
        evenly. Null if every part is 0.
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
    """Compute OPIS without noise from the counted halves.

    The result is None if fewer than two classes were split.
    """
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
    """Return the utility of both halves of each class, shape (2, S, P)."""
    sizes = halves.sizes[:, :, None]
    far = halves.impostor / halves.impostor_pairs[:, :, None]
    frr = 1 - halves.genuine / (sizes * (sizes - 1) // 2)
    return curves.utility(far, frr, beta)


def _error_if_alike(first: Curve, second: Curve, integral: Curve) -> float:
    """Return the standard error for halves of a class that have nothing in common.

    It is the standard error over all ways to pair first halves with second halves. The standard
    error over classes would be too small if errors are so rare that no class has errors in both
    halves.
    """
    count = len(first)
    both = (first.T @ first / count) * (second.T @ second / count)
    return float(np.sqrt(integral @ both @ integral / count))


def _deviations(utilities: Curve) -> Curve:
    return np.asarray(utilities - utilities.mean(axis=0))
