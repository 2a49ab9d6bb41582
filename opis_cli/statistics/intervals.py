"""Confidence intervals and standard errors of the figures of a report.

- The intervals of pooled rates and of the threshold use the jackknife of ``jackknife.py``.
- The intervals of class means use ``jackknife.mean_limits``, which allows for skewness.
- The intervals of OPIS and eps-OPIS use the bootstrap over classes. The calibration range does not
  vary with the draws. OPIS is skewed, so its interval is computed on the logarithmic scale. The
  bias that the bootstrap shows is subtracted, and t quantiles allow for the number of classes that
  carry OPIS. The upper end is at least that of ``jackknife.mean_limits``.

If a few unusual classes make up most of OPIS, the data may lack other classes of this sort. No
interval is wide enough then, and a low number in ``effective_classes`` is the warning.
"""

from dataclasses import dataclass

import numpy as np

from opis_cli import decimals
from opis_cli.quantities import Amount, OpenShare
from opis_cli.records import Curve, Ends, PairCounts
from opis_cli.scoring import curves
from opis_cli.scoring.curves import class_rates
from opis_cli.scoring.opis import Consistency
from opis_cli.scoring.recommend import Recommendation
from opis_cli.statistics import bootstrap
from opis_cli.statistics.bootstrap import REPLICATES
from opis_cli.statistics.carriers import EffectiveClasses, effective_classes, points_of_range
from opis_cli.statistics.jackknife import (
    LEAST_FREEDOM,
    LEVEL,
    Rate,
    Spread,
    band_columns,
    freedom_of,
    mean_limits,
    spread,
    threshold_interval,
)

METHOD = (
    "rates: delete-one-class jackknife, logit scale, t quantiles with Satterthwaite's degrees of "
    "freedom, rule of three over the design effect where no error was seen; threshold: where those "
    f"bands cross; OPIS, eps-OPIS: bootstrap over classes, {REPLICATES:,} replicates, logarithmic "
    "scale, t quantiles; class means, and upper end of OPIS: Hall's transformation, t quantiles"
)
_WEIGHT_VALUES = 3_000_000
"""Weights that are drawn at a time, so few that their memory is used again."""
_BAND_VALUES = 1 << 18
"""Utilities of which limits are computed at a time, so that memory stays bounded."""
_MOST_OPIS, _MOST_EPS_OPIS = 0.25, 1.0


@dataclass(frozen=True, slots=True)
class StandardErrors:
    """Standard errors, with the class as the unit.

    Attributes
    ----------
    opis : float | None
        Standard error of OPIS.
    eps_opis : float | None
        Standard error of eps-OPIS.
    far : float | None
        Standard error of the pooled FAR at the recommended threshold.
    frr : float | None
        Standard error of the pooled FRR at the recommended threshold.
    """

    opis: Amount | None
    eps_opis: Amount | None
    far: Amount | None
    frr: Amount | None


@dataclass(frozen=True, slots=True)
class Intervals:
    """Confidence intervals, with the class as the unit. Rates are at the recommended threshold.

    Attributes
    ----------
    opis : Ends | None
        Interval of OPIS.
    eps_opis : Ends | None
        Interval of eps-OPIS.
    far : Ends | None
        Interval of the pooled FAR.
    frr : Ends | None
        Interval of the pooled FRR.
    threshold : Ends | None
        Interval of the threshold at which a pooled rate reaches a given value on other classes.
        The value is max_far or max_frr if the recommended threshold is the end of
        recommendation.interval that this bound determines. Otherwise, and with a confidence, it is
        the FAR at the recommended threshold.
    level : float
        Share of such intervals that contain the true value.
    method : str
        Methods by which the intervals were computed.
    class_mean_far : Ends | None
        Interval of the class-mean FAR.
    class_mean_frr : Ends | None
        Interval of the class-mean FRR.
    mean_utility : Ends | None
        Interval of the mean utility of the classes.
    standard_errors : StandardErrors
        Standard errors.
    effective_classes : EffectiveClasses
        Effective numbers of classes: how many classes with equal parts would carry a figure as
        evenly.
    """

    opis: Ends | None
    eps_opis: Ends | None
    far: Ends | None
    frr: Ends | None
    threshold: Ends | None
    level: OpenShare
    method: str
    class_mean_far: Ends | None
    class_mean_frr: Ends | None
    mean_utility: Ends | None
    standard_errors: StandardErrors
    effective_classes: EffectiveClasses


def intervals(
    counts: PairCounts,
    consistency: Consistency,
    chosen: Recommendation,
    *,
    beta: float,
    eps: float,
    seed: int,
    level: float = LEVEL,
) -> Intervals | None:
    """Compute the intervals of all figures of an evaluation that have one.

    Parameters
    ----------
    counts : PairCounts
    consistency : Consistency
    chosen : Recommendation
        Rates are judged at its threshold. Without a threshold their intervals are None.
    beta, eps, seed
        As in the settings.
    level : float
        Share of the intervals that must contain the true value.

    Returns
    -------
    Intervals or None
        None if the class is not the unit: with groups, with a gallery, and for scored pairs.
    """
    if not counts.classes_are_units:
        return None
    columns = band_columns(counts, chosen.threshold)
    far, frr = spread(counts, "far", columns), spread(counts, "frr", columns)
    (far_ends, far_error), (frr_ends, frr_error) = (
        _at(band, chosen.threshold, level) for band in (far, frr)
    )
    opis, eps_opis = replicates_of_consistency(counts, consistency, beta, eps, seed)
    means = _class_means(counts, consistency, chosen.threshold, beta, level)
    return Intervals(
        opis=_opis_interval(consistency, opis, level),
        eps_opis=_eps_opis_interval(consistency, eps_opis, level),
        far=far_ends,
        frr=frr_ends,
        threshold=_threshold(chosen, far, frr, level),
        level=level,
        method=METHOD,
        class_mean_far=means[0],
        class_mean_frr=means[1],
        mean_utility=means[2],
        standard_errors=StandardErrors(
            opis=None if consistency.opis is None else float(np.nanstd(opis)),
            eps_opis=None if consistency.eps_opis is None else float(np.nanstd(eps_opis)),
            far=far_error,
            frr=frr_error,
        ),
        effective_classes=effective_classes(counts, consistency, chosen.threshold, beta),
    )


def rate_interval(
    counts: PairCounts, rate: Rate, threshold: float | None, level: float = LEVEL
) -> Ends | None:
    """Return the interval of a pooled rate at a threshold.

    The result is None if there are no counts by class at the threshold, or no class can be left
    out.
    """
    return _at(spread(counts, rate, band_columns(counts, threshold)), threshold, level)[0]


def _at(
    band: Spread | None, threshold: float | None, level: float
) -> tuple[Ends | None, float | None]:
    """Return the interval and standard error of a pooled rate at one threshold of the band."""
    if band is None or threshold not in band.thresholds:
        return None, None
    place = np.flatnonzero(band.thresholds == threshold)
    low, high = (float(end[place[0]]) for end in band.limits(level))
    return (low, high), float(band.error[place[0]])


def _threshold(
    chosen: Recommendation, far: Spread | None, frr: Spread | None, level: float
) -> Ends | None:
    """Return the interval of the threshold at which a rate reaches a given value on other classes.

    The value is ``max_far`` or ``max_frr`` if the threshold is the end of ``chosen.interval`` that
    this bound determines. Otherwise, and with a confidence, it is the FAR at the threshold. The
    result is None if there is no such interval, for example if that FAR is 0.
    """
    if chosen.threshold is None or chosen.interval is None or chosen.far is None:
        return None
    band, value = far, chosen.far
    rate: Rate = "far"
    if chosen.confidence is None and not chosen.search_bounds:
        if chosen.max_far is not None and chosen.threshold == chosen.interval[1]:
            value = chosen.max_far
        elif chosen.max_frr is not None and chosen.threshold == chosen.interval[0]:
            band, rate, value = frr, "frr", chosen.max_frr
    if band is None or not 0 < value < 1:
        return None
    low, high = threshold_interval(band, rate, value, level)
    # With few pairs the bound lies between two grid thresholds, and the whole interval may too.
    # Extend the interval so that it contains the recommended threshold.
    low, high = min(low, chosen.threshold), max(high, chosen.threshold)
    if not low < high:
        return None
    hair = (high - low) / 100
    # Inner products have negative distances; other distances have none.
    least = max(low - hair, 0.0) if low >= 0 else low - hair
    return decimals.shortest(least, low), decimals.shortest(high, high + hair)


def replicates_of_consistency(
    counts: PairCounts, consistency: Consistency, beta: float, eps: float, seed: int
) -> tuple[Curve, Curve]:
    """Return OPIS and eps-OPIS of every replicate, each of shape (REPLICATES,).

    A value is NaN if it is undefined. The integrals use at most 128 thresholds of the calibration
    range.
    """
    classes = consistency.classes
    columns, span = points_of_range(counts, consistency)
    mean = consistency.curve[columns]
    utilities = curves.class_utility(counts, beta, classes, columns)
    values: tuple[list[Curve], list[Curve]] = ([], [])
    for drawn in bootstrap.draws(len(counts.sizes), REPLICATES, seed, _WEIGHT_VALUES):
        inner = drawn[:, classes]
        places, worst = bootstrap.worst_weights(inner, consistency, eps)
        means = bootstrap.weighted_mean(inner, utilities)
        worst_means = bootstrap.weighted_mean(worst, utilities[places])
        values[0].append(bootstrap.opis(inner, consistency.contributions, means, mean, span))
        values[1].append(bootstrap.eps_opis(inner, worst, means, worst_means, span))
    return np.concatenate(values[0]), np.concatenate(values[1])


def _opis_interval(consistency: Consistency, replicates: Curve, level: float) -> Ends | None:
    """Return the interval of OPIS on the logarithmic scale.

    The upper end is that of ``mean_limits`` if this is higher.
    """
    ends = _log_interval(consistency.opis, replicates, _freedom(consistency), level)
    if ends is None or consistency.opis is None:
        return None
    unbiased = 2 * consistency.opis - float(np.nanmean(replicates))
    _, high = mean_limits(consistency.contributions, level, value=unbiased)
    return ends[0], min(max(ends[1], float(high)), _MOST_OPIS)


def _eps_opis_interval(consistency: Consistency, replicates: Curve, level: float) -> Ends | None:
    """Return the interval of eps-OPIS.

    It uses half the degrees of freedom of OPIS, as only a few classes are the worst ones.
    """
    ends = _log_interval(
        consistency.eps_opis, replicates, max(_freedom(consistency) / 2, 2.0), level
    )
    return None if ends is None else (ends[0], min(ends[1], _MOST_EPS_OPIS))


def _freedom(consistency: Consistency) -> float:
    deviations = consistency.contributions - consistency.contributions.mean()
    return max(float(freedom_of(deviations)), LEAST_FREEDOM)


def _log_interval(
    value: float | None, replicates: Curve, freedom: float, level: float
) -> Ends | None:
    """Return the interval of a positive, skewed figure from its replicates.

    The interval contains the figure. The result is None if the figure is 0, or if it is nearly 0
    or undefined in more than a tenth of the draws, as with three classes. The data cannot show how
    large the figure may be then.
    """
    # In a draw of a single class OPIS is 0. It is only nearly 0 here, as `points_of_range` leaves
    # thresholds out.
    known = replicates[replicates > 1e-3 * (value or 0.0)]
    if not value or len(known) < 0.9 * len(replicates):
        return None
    from scipy.special import stdtrit

    logs = np.log(known)
    unbiased = 2 * np.log(value) - logs.mean()
    reach = float(stdtrit(freedom, (1 + level) / 2)) * logs.std()
    low, high = float(np.exp(unbiased - reach)), float(np.exp(unbiased + reach))
    # A lower end below a thousandth of the figure has no more information than 0.
    return min(low, value) if low > value / 1000 else 0.0, max(high, value)


def _class_means(
    counts: PairCounts, consistency: Consistency, threshold: float | None, beta: float, level: float
) -> list[Ends | None]:
    """Return the intervals of the class means of FAR, FRR and utility at a threshold.

    An interval is None if all classes have the same value, which shows nothing about other classes.
    """
    rates = None if threshold is None else class_rates(counts, beta, threshold)
    if rates is None or len(consistency.classes) < 2:
        return [None, None, None]
    # The impostor pairs of a class also count in the FARs of the other classes. The mean FAR
    # therefore varies twice as much as the mean of independent values.
    far = 2 * rates.far - rates.far.mean()
    low, high = mean_limits(np.column_stack([far, rates.frr]), level)
    below, above = mean_band(rates.utility[:, None], level)
    low, high = np.maximum(np.append(low, below), 0), np.minimum(np.append(high, above), 1)
    return [
        (float(one), float(two)) if one < two else None for one, two in zip(low, high, strict=True)
    ]


def mean_band(utilities: Curve, level: float = LEVEL) -> tuple[Curve, Curve]:
    """Return the ends of the interval of the mean utility at each threshold, each of shape (P,).

    Parameters
    ----------
    utilities : ndarray of shape (E, P)
        Utility of each class at each threshold.
    level : float
    """
    ends = np.empty((2, utilities.shape[1]))
    step = max(1, _BAND_VALUES // max(len(utilities), 1))
    for start in range(0, utilities.shape[1], step):
        part = slice(start, start + step)
        ends[:, part] = mean_limits(1 - utilities[:, part], level)
    low, high = ends
    return np.maximum(1 - high, 0), np.minimum(1 - low, 1)
