"""How far pooled rates may be off on other classes: the delete-one-class jackknife.

The class is the unit: pairs that share one are not independent. What is left when class ``i`` goes
is known from the counts by class, as it takes its own pairs along: of ``A`` accepted impostor pairs
of ``M`` remain ``A - a_i`` of ``M - m_i``. (An impostor pair lies in two classes, so the ratio of
the classes' own counts, weighted, has half the true standard error.) Singletons are units too.

Intervals lie on the logit scale, which respects 0 and 1, with t quantiles: where few classes carry
a rate the standard error is itself uncertain. Its degrees of freedom are Satterthwaite's,
``(sum d^2)^2 / sum d^4`` over the deviations ``d`` that leaving out each class makes (halved for
impostors, whose deviations come in pairs), and never below 3. Where no error was seen the rule of
three holds, with the pairs divided by the design effect (how much more the rate varies than with
independent pairs) that the nearest threshold with some errors shows. An end that is less than one
pair away from 0 or 1 is 0 or 1: so many pairs cannot tell.

Figures that are means over classes, such as OPIS, are skewed where a few classes make up most of
them; their limits are those of ``mean_limits``.

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
_CHUNK_VALUES = 1_000_000


@dataclass(frozen=True, slots=True)
class Spread:
    """A pooled rate at some thresholds, and how it varies with the classes.

    Attributes
    ----------
    thresholds, rate : ndarray of shape (C,)
    error : ndarray of shape (C,)
        Standard error of the rate.
    logit_error : ndarray of shape (C,)
        That of its logit; NaN where the rate is 0 or 1.
    freedom : ndarray of shape (C,)
        Degrees of freedom of the standard errors.
    pairs : int
        Pairs of the kind, each once.
    effect : ndarray of shape (C,)
        Design effect at the nearest threshold that has errors enough, both ways.
    """

    thresholds: Curve
    rate: Curve
    error: Curve
    logit_error: Curve
    freedom: Curve
    pairs: int
    effect: Curve

    def limits(self, level: float = LEVEL) -> tuple[Curve, Curve]:
        """Ends of the two-sided interval at each threshold, each of shape (C,)."""
        low = self._limit(-1, (1 + level) / 2, level)
        return low, self._limit(+1, (1 + level) / 2, level)

    def upper(self, confidence: float) -> Curve:
        """Upper confidence limit at each threshold, one-sided, shape (C,)."""
        return self._limit(+1, confidence, confidence)

    def _limit(self, sign: int, tail: float, level: float) -> Curve:
        from scipy.special import expit, logit, stdtrit

        with np.errstate(divide="ignore", invalid="ignore"):
            reach = sign * stdtrit(self.freedom, tail) * self.logit_error
            found = expit(logit(self.rate) + reach)
        # Rule of three: none of n independent trials bounds the rate by 1 - (1 - level)^(1 / n).
        three = -np.expm1(np.log1p(-level) * self.effect / self.pairs)
        none, all_ = (three, 1.0) if sign > 0 else (0.0, 1 - three)
        found = np.where(self.rate <= 0, none, np.where(self.rate >= 1, all_, found))
        if sign < 0:
            return np.where(found * self.pairs < 1, 0.0, found)
        return np.where((1 - found) * self.pairs < 1, 1.0, found)


def band_columns(counts: PairCounts, also: float | None = None) -> Ints:
    """Columns with counts by class at which bands are worked out: some hundred, and a threshold."""
    thresholds = counts.grid.class_thresholds
    columns = np.linspace(0, len(thresholds) - 1, min(BAND_POINTS, len(thresholds))).astype(int)
    extra = np.flatnonzero(thresholds == (np.nan if also is None else also))
    return np.unique(np.concatenate([columns, extra]))


def spread(counts: PairCounts, rate: Rate, columns: Ints) -> Spread | None:
    """The jackknife of a pooled rate at some columns with counts by class.

    None where no class can be left out without taking all pairs along, or where that would take
    along other pairs than those that the class was credited.
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
    """Accepted impostor or rejected genuine pairs, each once, shape (columns,)."""
    at = counts.grid.by_class[columns]
    if rate == "far":
        return counts.pooled_impostor[at].astype(np.float64)
    return (counts.genuine_total - counts.pooled_genuine[at]).astype(np.float64)


def _class_errors(counts: PairCounts, rate: Rate, columns: Ints) -> Curve:
    """Errors of each class at some columns, shape (K, columns)."""
    if rate == "far":
        return counts.impostor[:, columns].astype(np.float64)
    return np.asarray(counts.genuine_pairs[:, None] - counts.genuine[:, columns].astype(np.float64))


def _jackknife(whole: Curve, without: Curve) -> Curve:
    """Standard error, that of the logit, and degrees of freedom: shape (3, columns).

    ``whole`` (columns,) is the rate, ``without`` (K, columns) what it is without each class.
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
    # Without the only class that errs the logit has no bounds; the first order has.
    scaled = np.where(np.isfinite(exact), np.maximum(exact, first_order), first_order)
    scaled[(whole <= 0) | (whole >= 1)] = np.nan
    return np.stack([error, scaled, freedom])


def freedom_of(deviations: Curve) -> Curve:
    """Satterthwaite's degrees of freedom of a sum of squares over classes, the first axis."""
    squares = deviations**2
    with np.errstate(divide="ignore", invalid="ignore"):
        found = squares.sum(axis=0) ** 2 / (squares**2).sum(axis=0)
    return np.where(np.isnan(found), np.inf, found)


def carriers(parts: Curve | Ints) -> float | None:
    """Kish's effective number of classes that carry a sum: ``(sum |p|)^2 / sum p^2``.

    So many classes of equal parts would carry it as evenly. None where all parts are 0.
    """
    sizes = np.abs(parts / (np.abs(parts).max(initial=0) or 1))
    return max(float(sizes.sum() ** 2 / (sizes**2).sum()), 1.0) if sizes.any() else None


def mean_limits(
    parts: Curve, level: float, *, value: float | None = None, error: float = 0.0
) -> tuple[Curve, Curve]:
    """Interval of a mean over classes, freed of their skewness by Hall's transformation.

    The t quantiles are those of half of Satterthwaite's degrees of freedom: what few classes carry
    shows neither its variance nor its skewness. Skewness to the left is not believed: parts are
    rates, or squares, or products that stand for squares.

    Parameters
    ----------
    parts : ndarray of shape (E,) or (E, P)
        Of each class, perhaps of several figures.
    level : float
    value : float, optional
        What the interval lies about, if not the mean: that less what it is known to be off by.
    error : float
        The standard error is at least that.

    Returns
    -------
    pair of ndarrays of shape () or (P,)
    """
    from scipy.special import stdtrit

    count, mean = len(parts), parts.mean(axis=0)
    deviations = parts - mean
    deviation = np.sqrt((deviations**2).mean(axis=0))
    scaled = deviations / np.where(deviation > 0, deviation, 1)
    skewness = np.maximum((scaled**3).mean(axis=0), 0) / count**0.5
    reach = stdtrit(np.maximum(freedom_of(scaled) / 2, 2), (1 + level) / 2)
    error = np.maximum(deviation / (count - 1) ** 0.5, error)
    centre = mean if value is None else value
    return (
        centre - error * _unskewed(reach, skewness),
        centre - error * _unskewed(-reach, skewness),
    )


def _unskewed(t: Curve, skewness: Curve) -> Curve:
    """The studentised mean whose transform is t; ``skewness`` is over the root of the number.

    Hall's transform of T is ``((1 + k T / 3)^3 - 1) / k + k / 6``, and T itself without skewness.
    """
    some = np.where(skewness > 1e-6, skewness, 1)
    found = 3 / some * (np.cbrt(1 + some * (t - some / 6)) - 1)
    return np.where(skewness > 1e-6, found, t)


def _design_effect(errors: Curve, pairs: int, error: Curve) -> Curve:
    """Variance over that of independent pairs, where errors are few that of the nearest column."""
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
    """Thresholds at which the pooled rate may be ``value`` on other classes, from its bands.

    Where a band never reaches the value, the end is that of the thresholds.
    """
    low, high = band.limits(level)
    if rate == "frr":
        low, high = 1 - high, 1 - low
        value = 1 - value
    # The true rate rises with the threshold: what bounds it at one bounds it on that side of it.
    high, low = np.minimum.accumulate(high[::-1])[::-1], np.maximum.accumulate(low)
    return _crossing(band.thresholds, high, value), _crossing(band.thresholds, low, value)


def _crossing(thresholds: Curve, rising: Curve, value: float) -> float:
    """Where a rising curve reaches a value, between two points on a straight line."""
    after = int(np.searchsorted(rising, value))
    if after == 0:
        return float(thresholds[0])
    if after == len(rising):
        return float(thresholds[-1])
    start, stop = rising[after - 1], rising[after]
    share = (value - start) / (stop - start)
    return float(thresholds[after - 1] + share * (thresholds[after] - thresholds[after - 1]))
