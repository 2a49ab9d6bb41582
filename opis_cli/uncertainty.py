"""What a report says of its own uncertainty: intervals and standard errors of its figures.

Pooled rates and the threshold have the jackknife of ``intervals.py``. Figures of the classes, OPIS,
eps-OPIS and class means, have the bootstrap over classes, with calibration range and threshold held
as they are. OPIS is skewed, so its interval lies on the logarithmic scale, freed of the bias that
the bootstrap shows, and with t quantiles for the classes that carry it.
"""

from collections.abc import Iterator

import numpy as np

from opis_cli import bootstrap, curves
from opis_cli.bootstrap import REPLICATES
from opis_cli.curves import Curve
from opis_cli.intervals import (
    LEAST_FREEDOM,
    LEVEL,
    Rate,
    Spread,
    band_columns,
    freedom_of,
    spread,
    threshold_interval,
)
from opis_cli.recommend import class_rates
from opis_cli.records import Ints, PairCounts
from opis_cli.report import EffectiveClasses, Ends, Intervals, Recommendation, StandardErrors
from opis_cli.scores import Consistency, trapezoid_weights

METHOD = (
    "rates: delete-one-class jackknife, logit scale, t quantiles with Satterthwaite's degrees of "
    "freedom, rule of three over the design effect where no error was seen; threshold: where those "
    f"bands cross; others: bootstrap over classes, {REPLICATES:,} replicates"
)
_WEIGHT_VALUES = 2_000_000
_CURVE_POINTS = 128
_MOST_OPIS, _MOST_EPS_OPIS = 0.25, 1.0


def intervals(
    counts: PairCounts,
    found: Consistency,
    chosen: Recommendation,
    *,
    beta: float,
    eps: float,
    seed: int,
    level: float = LEVEL,
) -> Intervals | None:
    """Intervals of all figures of an evaluation that have one.

    None where pairs join groups, a gallery, or nobody knows what, so that classes are no units.

    Parameters
    ----------
    counts : PairCounts
    found : Consistency
    chosen : Recommendation
        Its threshold is where rates are judged; without one they are null.
    beta, eps, seed
        As in the settings.
    level : float
        Share of the intervals that shall hold the truth.
    """
    if not counts.classes_are_units:
        return None
    columns = band_columns(counts, chosen.threshold)
    far, frr = spread(counts, "far", columns), spread(counts, "frr", columns)
    (far_ends, far_error), (frr_ends, frr_error) = (
        _at(band, chosen.threshold, level) for band in (far, frr)
    )
    opis, eps_opis = replicates_of_consistency(counts, found, beta, eps, seed)
    means = _class_means(counts, found, chosen.threshold, beta, seed, level)
    return Intervals(
        opis=log_interval(found.opis, opis, found, level, _MOST_OPIS),
        eps_opis=log_interval(found.eps_opis, eps_opis, found, level, _MOST_EPS_OPIS),
        far=far_ends,
        frr=frr_ends,
        threshold=_threshold(chosen, far, frr, level),
        level=level,
        method=METHOD,
        class_mean_far=means[0],
        class_mean_frr=means[1],
        mean_utility=means[2],
        standard_errors=StandardErrors(
            opis=None if found.opis is None else float(np.nanstd(opis)),
            eps_opis=None if found.eps_opis is None else float(np.nanstd(eps_opis)),
            far=far_error,
            frr=frr_error,
        ),
        effective_classes=EffectiveClasses(
            _effective(counts.impostor_pairs), _effective(counts.genuine_pairs)
        ),
    )


def _effective(pairs: Ints) -> float:
    """Kish's effective number of classes, ``(sum w)^2 / sum w^2``."""
    shares = pairs / pairs.sum()
    return float(1 / (shares**2).sum())


def _at(
    band: Spread | None, threshold: float | None, level: float
) -> tuple[Ends | None, float | None]:
    """Interval and standard error of a pooled rate at one threshold of the band."""
    if band is None or threshold not in band.thresholds:
        return None, None
    place = np.flatnonzero(band.thresholds == threshold)
    low, high = (float(end[place[0]]) for end in band.limits(level))
    return (low, high), float(band.error[place[0]])


def _threshold(
    chosen: Recommendation, far: Spread | None, frr: Spread | None, level: float
) -> Ends | None:
    """Where the bound that the threshold was chosen by lies on other classes; else its FAR."""
    if chosen.threshold is None or chosen.interval is None or chosen.far is None:
        return None
    band, value = far, chosen.far
    rate: Rate = "far"
    if chosen.confidence is None:
        if chosen.max_far is not None and chosen.threshold == chosen.interval[1]:
            value = chosen.max_far
        elif chosen.max_frr is not None and chosen.threshold == chosen.interval[0]:
            band, rate, value = frr, "frr", chosen.max_frr
    return None if band is None else threshold_interval(band, rate, value, level)


def _weights(counts: PairCounts, seed: int) -> Iterator[bootstrap.Weights]:
    """Weights of all replicates, so many at a time that what is made of them stays small."""
    step = max(1, _WEIGHT_VALUES // len(counts.sizes))
    for block in bootstrap.draws(len(counts.sizes), REPLICATES, seed):
        yield from (block[start : start + step] for start in range(0, len(block), step))


def replicates_of_consistency(
    counts: PairCounts, found: Consistency, beta: float, eps: float, seed: int
) -> tuple[Curve, Curve]:
    """OPIS and eps-OPIS of every replicate, each of shape (REPLICATES,); NaN where undefined.

    At some hundred thresholds of the calibration range.
    """
    thresholds, classes = counts.grid.class_thresholds, found.classes
    inside = np.flatnonzero((thresholds >= found.low) & (thresholds <= found.high))
    places = np.linspace(0, len(inside) - 1, min(_CURVE_POINTS, len(inside))).astype(int)
    columns = inside[np.unique(places)]
    span = trapezoid_weights(thresholds[columns])
    mean = curves.mean_utility(counts, beta, classes, columns)
    values: tuple[list[Curve], list[Curve]] = ([], [])
    for drawn in _weights(counts, seed):
        inner = drawn[:, classes]
        worst = bootstrap.worst_weights(inner, found, eps)
        means, worst_means = (
            bootstrap.mean_utility(weights, counts, beta, classes, columns)
            for weights in (inner, worst)
        )
        values[0].append(bootstrap.opis(inner, found.contributions, means, mean, span))
        values[1].append(bootstrap.eps_opis(inner, worst, means, worst_means, span))
    return np.concatenate(values[0]), np.concatenate(values[1])


def log_interval(
    value: float | None, replicates: Curve, found: Consistency, level: float, most: float
) -> Ends | None:
    """Interval of a positive, skewed figure from its replicates."""
    known = replicates[np.isfinite(replicates)]
    if value is None or len(known) < 0.9 * len(replicates):
        return None
    tails = (1 - level) / 2, (1 + level) / 2
    if not (value > 0 and known.min() > 0):
        low, high = np.quantile(known, tails)
        return max(float(low), 0.0), float(high)
    from scipy.special import stdtrit

    logs = np.log(known)
    deviations = found.contributions - found.contributions.mean()
    freedom = max(float(freedom_of(deviations)), LEAST_FREEDOM)
    unbiased = 2 * np.log(value) - logs.mean()
    low, high = np.exp(unbiased + stdtrit(freedom, np.array(tails)) * logs.std())
    return float(low), min(float(high), most)


def _class_means(
    counts: PairCounts,
    found: Consistency,
    threshold: float | None,
    beta: float,
    seed: int,
    level: float,
) -> list[Ends | None]:
    """Intervals of the class means of FAR, FRR and utility at a threshold."""
    rates = None if threshold is None else class_rates(counts, beta, threshold)
    if rates is None or len(found.classes) < 2:
        return [None, None, None]
    values = np.column_stack([rates.far, rates.frr, rates.utility])
    low, high = mean_band(counts, found, values, seed, level)
    return [(float(low[k]), float(high[k])) for k in range(3)]


def mean_band(
    counts: PairCounts, found: Consistency, values: Curve, seed: int, level: float = LEVEL
) -> tuple[Curve, Curve]:
    """Interval of the mean over evaluable classes of each column of values (E, P): twice (P,)."""
    means = np.concatenate(
        [
            bootstrap.ratio(drawn[:, found.classes], values, np.ones_like(values))
            for drawn in _weights(counts, seed)
        ]
    )
    low, high = np.nanquantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high
