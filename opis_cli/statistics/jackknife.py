"""The uncertainty of pooled rates on other classes, by the delete-one-class jackknife.

The class is the unit, as pairs that share a class are not independent. The counts by class show
what remains without class ``i``: of ``A`` accepted impostor pairs among ``M``, there remain
``A - a_i`` among ``M - m_i``. A class with a single row is a unit too. (A weighted ratio of the
classes' own counts would not do: an impostor pair belongs to two classes, so that ratio has half
the true standard error.)

Intervals are computed on the logit scale, which keeps them between 0 and 1. They use t quantiles,
as the standard error is itself uncertain if few classes carry a rate. The degrees of freedom are
Satterthwaite's: ``(sum d^2)^2 / sum d^4``, where ``d`` are the deviations without each class. They
are halved for impostor pairs, whose deviations come in pairs, and are never below 3.

If there is no error, the rule of three gives the limit. The number of pairs in it is divided by
the design effect, which is how much more the rate varies than with independent pairs. The design
effect comes from the nearest threshold with some errors. An end that is less than one pair away
from 0 or 1 becomes 0 or 1, as the pairs cannot resolve the difference.

Figures that are means over classes, such as OPIS, are skewed if a few classes make up most of
them. ``mean_limits`` computes their limits.

Sources: Efron & Stein, *The Jackknife Estimate of Variance*, Annals of Statistics 9 (1981);
Satterthwaite, *An Approximate Distribution of Estimates of Variance Components*, Biometrics
Bulletin 2 (1946); Kish, *Survey Sampling* (1965), for the design effect; Hall, *On the Removal of
Skewness by Transformation*, Journal of the Royal Statistical Society B 54 (1992).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from opis_cli.records import Curve, Ints, PairCounts

Rate = Literal["far", "frr"]

LEVEL = 0.95
BAND_POINTS = 256
LEAST_FREEDOM = 3.0
_ERRORS_FOR_EFFECT = 20
_CHUNK_VALUES = 1 << 18
"""Rates that are computed at a time, so few that they stay in the cache."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A pooled rate at some thresholds, with its standard errors.

    Attributes
    ----------
    thresholds, rate : ndarray of shape (C,)
    error : ndarray of shape (C,)
        Standard error of the rate.
    logit_error : ndarray of shape (C,)
        Standard error of the rate's logit. NaN if the rate is 0 or 1.
    freedom : ndarray of shape (C,)
        Degrees of freedom of the standard errors.
    pairs : int
        Number of pairs of the kind. Each pair counts once.
    effect : ndarray of shape (C,)
        Design effect at the nearest threshold that has enough accepted and enough rejected pairs.
    """

    thresholds: Curve
    rate: Curve
    error: Curve
    logit_error: Curve
    freedom: Curve
    pairs: int
    effect: Curve

    def limits(self, level: float = LEVEL) -> tuple[Curve, Curve]:
        """Return the ends of the two-sided interval at each threshold, each of shape (C,)."""
        low = self._limit(-1, (1 + level) / 2, level)
        return low, self._limit(+1, (1 + level) / 2, level)

    def upper(self, confidence: float) -> Curve:
        """Return the one-sided upper confidence limit at each threshold, shape (C,)."""
        return self._limit(+1, confidence, confidence)

    def _limit(self, sign: int, tail: float, level: float) -> Curve:
        from scipy.special import expit, logit, stdtrit

        with np.errstate(divide="ignore", invalid="ignore"):
            reach = sign * stdtrit(self.freedom, tail) * self.logit_error
            found = expit(logit(self.rate) + reach)
        # Rule of three: without an error in n independent trials, the upper limit of the rate is
        # 1 - (1 - level)^(1 / n).
        three = -np.expm1(np.log1p(-level) * self.effect / self.pairs)
        none, all_ = (three, 1.0) if sign > 0 else (0.0, 1 - three)
        found = np.where(self.rate <= 0, none, np.where(self.rate >= 1, all_, found))
        if sign < 0:
            return np.where(found * self.pairs < 1, 0.0, found)
        return np.where((1 - found) * self.pairs < 1, 1.0, found)


def band_columns(counts: PairCounts, also: float | None = None) -> Ints:
    """Return at most 256 columns for a band, and the column of the threshold ``also``."""
    thresholds = counts.grid.class_thresholds
    columns = np.linspace(0, len(thresholds) - 1, min(BAND_POINTS, len(thresholds))).astype(int)
    extra = np.flatnonzero(thresholds == (np.nan if also is None else also))
    return np.unique(np.concatenate([columns, extra]))


def spread(counts: PairCounts, rate: Rate, columns: Ints) -> Spread | None:
    """Compute the jackknife of a pooled rate at some columns with counts by class.

    The result is None if some class has all pairs of the kind, so that none remain without it. It
    is also None if the counts of a class do not contain all pairs of its rows
    (``classes_are_units``).
    """
    if not counts.classes_are_units:
        return None
    if rate == "far":
        pairs, total, shared = counts.impostor_pairs, counts.impostor_total, 2
    else:
        pairs, total, shared = counts.genuine_pairs, counts.genuine_total, 1
    left = (total - pairs).astype(np.float64)
    if not left.min() > 0:
        return None
    pooled = _pooled_errors(counts, rate, columns)
    parts = []
    step = max(1, _CHUNK_VALUES // len(pairs))
    for start in range(0, len(columns), step):
        part = slice(start, start + step)
        own = _class_errors(counts, rate, columns[part])
        parts.append(_jackknife(pooled[part] / total, (pooled[part] - own) / left[:, None]))
    error, logit_error, freedom = np.concatenate(parts, axis=1)
    return Spread(
        thresholds=counts.grid.class_thresholds[columns],
        rate=pooled / total,
        error=error,
        logit_error=logit_error,
        freedom=np.maximum(freedom / shared, LEAST_FREEDOM),
        pairs=total,
        effect=_design_effect(pooled, total, error),
    )


def _pooled_errors(counts: PairCounts, rate: Rate, columns: Ints) -> Curve:
    """Return the number of accepted impostor or rejected genuine pairs, shape (columns,)."""
    at = counts.grid.by_class[columns]
    if rate == "far":
        return counts.pooled_impostor[at].astype(np.float64)
    return (counts.genuine_total - counts.pooled_genuine[at]).astype(np.float64)


def _class_errors(counts: PairCounts, rate: Rate, columns: Ints) -> Curve:
    """Return the number of errors of each class, shape (K, columns)."""
    if rate == "far":
        return counts.impostor[:, columns].astype(np.float64)
    return np.asarray(counts.genuine_pairs[:, None] - counts.genuine[:, columns].astype(np.float64))


def _jackknife(whole: Curve, without: Curve) -> Curve:
    """Return the standard error, the logit's standard error, and the degrees of freedom.

    Parameters
    ----------
    whole : ndarray of shape (columns,)
        The rate with all classes.
    without : ndarray of shape (K, columns)
        The rate without each class.

    Returns
    -------
    ndarray of shape (3, columns)
    """
    from scipy.special import logit

    count = len(without)
    share = (count - 1) / count
    deviations = without - without.mean(axis=0)
    error = np.sqrt(share * (deviations**2).sum(axis=0))
    freedom = freedom_of(deviations)
    with np.errstate(divide="ignore", invalid="ignore"):
        first_order = error / (whole * (1 - whole))
        logits = logit(without)
        exact = np.sqrt(share * ((logits - logits.mean(axis=0)) ** 2).sum(axis=0))
    # Without the only class that has errors, the rate is 0 and its logit is infinite. The
    # first-order error is finite then.
    scaled = np.where(np.isfinite(exact), np.maximum(exact, first_order), first_order)
    scaled[(whole <= 0) | (whole >= 1)] = np.nan
    return np.stack([error, scaled, freedom])


def freedom_of(deviations: Curve) -> Curve:
    """Return Satterthwaite's degrees of freedom of a sum of squares over the first axis."""
    squares = deviations**2
    with np.errstate(divide="ignore", invalid="ignore"):
        found = squares.sum(axis=0) ** 2 / (squares**2).sum(axis=0)
    return np.where(np.isnan(found), np.inf, found)


def carriers(parts: Curve | Ints) -> float | None:
    """Return Kish's effective number of classes that carry a sum: ``(sum |p|)^2 / sum p^2``.

    This many classes with equal parts would carry the sum as evenly. The result is None if all
    parts are 0.
    """
    sizes = np.abs(parts / (np.abs(parts).max(initial=0) or 1))
    return max(float(sizes.sum() ** 2 / (sizes**2).sum()), 1.0) if sizes.any() else None


def mean_limits(
    parts: Curve, level: float, *, value: float | None = None, error: float = 0.0
) -> tuple[Curve, Curve]:
    """Return the interval of a mean over classes. Hall's transformation corrects for skewness.

    The t quantiles use half of Satterthwaite's degrees of freedom: if few classes carry a mean, the
    data show neither its variance nor its skewness well. Negative skewness counts as none, as the
    parts are rates, squares, or products that estimate squares.

    Parameters
    ----------
    parts : ndarray of shape (E,) or (E, P)
        Part of each class in one mean or in P means.
    level : float
    value : float, optional
        Centre of the interval, if it is not the mean. For example, the mean without a known bias.
    error : float
        Lower limit of the standard error.

    Returns
    -------
    pair of ndarrays of shape () or (P,)
    """
    from scipy.special import stdtrit

    count, mean = len(parts), parts.mean(axis=0)
    deviations = parts - mean
    deviation = np.sqrt((deviations**2).mean(axis=0))
    scaled = deviations / np.where(deviation > 0, deviation, 1)
    # A power with an exponent of 3 takes ten times as long as two products.
    skewness = np.maximum((scaled * scaled * scaled).mean(axis=0), 0) / count**0.5
    reach = stdtrit(np.maximum(freedom_of(scaled) / 2, 2), (1 + level) / 2)
    error = np.maximum(deviation / (count - 1) ** 0.5, error)
    centre = mean if value is None else value
    return (
        centre - error * _unskewed(reach, skewness),
        centre - error * _unskewed(-reach, skewness),
    )


def _unskewed(t: Curve, skewness: Curve) -> Curve:
    """Return the studentised mean whose Hall transform is ``t``.

    Hall's transform of T is ``((1 + k T / 3)^3 - 1) / k + k / 6``, where ``k`` is the skewness
    divided by the square root of the number of classes. Without skewness it is T itself.
    """
    some = np.where(skewness > 1e-6, skewness, 1)
    found = 3 / some * (np.cbrt(1 + some * (t - some / 6)) - 1)
    return np.where(skewness > 1e-6, found, t)


def _design_effect(errors: Curve, pairs: int, error: Curve) -> Curve:
    """Return the design effect: the variance divided by that of independent pairs.

    A column with too few errors gets the design effect of the nearest column with enough.
    """
    rate = errors / pairs
    enough = np.minimum(errors, pairs - errors) >= _ERRORS_FOR_EFFECT
    if not enough.any():
        enough = (errors > 0) & (errors < pairs)
    places = np.flatnonzero(enough)
    if len(places) == 0:
        return np.ones(len(errors))
    effect = np.maximum(error[places] ** 2 * pairs / (rate * (1 - rate))[places], 1.0)
    after = np.minimum(np.searchsorted(places, np.arange(len(errors))), len(places) - 1)
    before = np.maximum(after - 1, 0)
    columns = np.arange(len(errors))
    nearer = np.abs(places[before] - columns) < np.abs(places[after] - columns)
    return np.asarray(effect[np.where(nearer, before, after)])


def threshold_interval(
    band: Spread, rate: Rate, value: float, level: float = LEVEL
) -> tuple[float, float]:
    """Return the interval of the threshold at which the pooled rate is ``value`` on other classes.

    If a limit of the band never reaches the value, the end is the first or last threshold.
    """
    low, high = band.limits(level)
    if rate == "frr":
        low, high = 1 - high, 1 - low
        value = 1 - value
    # The true rate rises with the threshold. An upper limit at one threshold is therefore an upper
    # limit at every smaller threshold, and a lower limit is one at every larger threshold.
    high, low = np.minimum.accumulate(high[::-1])[::-1], np.maximum.accumulate(low)
    return _crossing(band.thresholds, high, value), _crossing(band.thresholds, low, value)


def _crossing(thresholds: Curve, rising: Curve, value: float) -> float:
    """Return the threshold at which a rising curve reaches a value, by linear interpolation."""
    after = int(np.searchsorted(rising, value))
    if after == 0:
        return float(thresholds[0])
    if after == len(rising):
        return float(thresholds[-1])
    start, stop = rising[after - 1], rising[after]
    share = (value - start) / (stop - start)
    return float(thresholds[after - 1] + share * (thresholds[after] - thresholds[after - 1]))
