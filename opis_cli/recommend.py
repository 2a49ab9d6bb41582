"""Thresholds under bounds: which one to deploy, or that there is none, and what each costs."""

import math
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from opis_cli import curves
from opis_cli.borderline import borderline_at
from opis_cli.confidence import bounds_of, classes_needed, confident_ends, spreads, upper_limits
from opis_cli.curves import Curve
from opis_cli.decimals import significant
from opis_cli.grid import OPERATING_FARS, is_supported
from opis_cli.records import Ints, PairCounts
from opis_cli.report import (
    Deployed,
    Equivalents,
    OperatingPoint,
    RatesAt,
    Recommendation,
    WorstClass,
)
from opis_cli.scores import (
    Consistency,
    first_within,
    last_within,
    open_set,
)
from opis_cli.settings import Metric, Prefer

WORST_CLASSES = 10


@dataclass(frozen=True, slots=True)
class ClassRates:
    """Rates and utility of the evaluable classes at one threshold, each of shape (E,)."""

    far: Curve
    frr: Curve
    utility: Curve


def class_rates(counts: PairCounts, beta: float, threshold: float) -> ClassRates | None:
    """Rates of the evaluable classes at a grid threshold; None where they were not counted, or
    no class has any. Beyond the last threshold, as at it, every pair is accepted."""
    thresholds = counts.grid.class_thresholds
    column = np.flatnonzero(thresholds == min(threshold, float(thresholds[-1])))
    classes = curves.evaluable_classes(counts)
    if len(column) == 0 or len(classes) == 0:
        return None
    far = curves.class_far(counts, classes, column)[:, 0]
    frr = curves.class_frr(counts, classes, column)[:, 0]
    return ClassRates(far, frr, curves.utility(far, frr, beta))


def recommend(
    counts: PairCounts,
    consistency: Consistency,
    *,
    max_far: float | None,
    max_frr: float | None,
    prefer: Prefer,
    beta: float,
    confidence: float | None = None,
) -> Recommendation:
    """The global threshold to deploy under bounds on the pooled rates, or that there is none.

    FAR never falls and FRR never rises with the threshold, so the thresholds that meet the bounds
    form one interval ``[t_frr, t_far]``, or none.

    Parameters
    ----------
    counts : PairCounts
    consistency : Consistency
        For the calibration range, and the worst classes where those are preferred.
    max_far, max_frr : float or None
        Bounds, at least one given.
    prefer : {"utility", "low-far", "low-frr", "worst-classes"}
        How to choose inside the interval; the smaller threshold wins a tie.
    beta : float
        Weight of sensitivity in the utility.
    confidence : float, optional
        Let the upper confidence limits of the rates meet the bounds, not the rates alone.
    """
    thresholds = counts.grid.thresholds
    far, frr = curves.pooled_far(counts), curves.pooled_frr(counts)
    bounds = bounds_of(max_far, max_frr)
    bands = None if confidence is None else spreads(counts)
    low: int | None
    if bands is None or confidence is None:
        low, high = _ends(counts, max_far, max_frr)
    else:
        low, high = confident_ends(counts, bands, bounds, confidence)
    index, interval = None, None
    if low is not None and high is not None and low <= high:
        index = _choose(counts, consistency, low, high, prefer, beta)
        interval = float(thresholds[low]), float(thresholds[high])
    at = None if index is None else float(thresholds[index])
    far_upper, frr_upper, needed = None, None, None
    if bands is not None and confidence is not None:
        if at is None:
            needed = classes_needed(counts, bands, bounds, confidence)
        else:
            far_upper, frr_upper = upper_limits(counts, bands, at, confidence)
    rates = None if at is None else class_rates(counts, beta, at)
    accepted = None if index is None else int(counts.pooled_impostor[index])
    genuine = None if index is None else int(counts.pooled_genuine[index])
    return Recommendation(
        status="infeasible" if at is None else "feasible",
        threshold=at,
        interval=interval,
        prefer=prefer,
        max_far=max_far,
        max_frr=max_frr,
        supported=None if max_far is None else is_supported(max_far, counts.impostor_total),
        far=None if index is None else float(far[index]),
        frr=None if index is None else float(frr[index]),
        accepted_impostors=accepted,
        rejected_genuine=None if genuine is None else counts.genuine_total - genuine,
        **class_figures(rates, max_far, max_frr),
        false_accepts_per_query=_per_query(counts, accepted),
        precision=_precision(genuine, accepted),
        equivalents=equivalents(at, counts.metric, counts.unit),
        at_max_far=None if max_far is None else _rates_at(counts, high),
        at_max_frr=None if max_frr is None else _rates_at(counts, low),
        confidence=confidence,
        far_upper=far_upper,
        frr_upper=frr_upper,
        classes_needed=needed,
        borderline=None if index is None else borderline_at(counts, index),
    )


def _ends(
    counts: PairCounts, max_far: float | None, max_frr: float | None
) -> tuple[int, int | None]:
    """Indices of the smallest and the largest threshold that meet the bounds, each by itself."""
    low = 0 if max_frr is None else first_within(curves.pooled_frr_at_most(counts), max_frr)
    if max_far is None:
        return low, len(counts.grid.thresholds) - 1
    return low, last_within(curves.pooled_far(counts), max_far)


def _choose(
    counts: PairCounts,
    consistency: Consistency,
    low: int,
    high: int,
    prefer: Prefer,
    beta: float,
) -> int:
    """Index of the preferred threshold among those from ``low`` to ``high``."""
    if prefer == "low-frr":
        return high
    if prefer == "low-far":
        return low
    if len(consistency.classes) == 0:
        pooled = curves.pooled_utility(counts, beta)[low : high + 1]
        return low + int(np.argmax(pooled))
    by_class = counts.grid.by_class
    columns = np.flatnonzero((by_class >= low) & (by_class <= high))
    if len(columns) == 0:
        # Only pooled counts here: the end that a lone bound is about.
        return high if high + 1 < len(counts.grid.thresholds) else low
    classes: Ints = consistency.worst if prefer == "worst-classes" else consistency.classes
    utility = curves.mean_utility(counts, beta, classes, columns)
    return int(by_class[columns[np.argmax(utility)]])


def class_figures(
    rates: ClassRates | None, max_far: float | None, max_frr: float | None
) -> dict[str, float | None]:
    """What a report says of the classes at a threshold; nulls where they were not counted.

    ``classes_meeting_bounds`` is the share of the evaluable classes whose own rates meet the bounds
    that are given.
    """
    if rates is None:
        names = ("class_mean_far", "class_mean_frr", "mean_utility", "classes_meeting_bounds")
        return dict.fromkeys(names)
    met = np.ones(len(rates.far), bool)
    if max_far is not None:
        met &= rates.far <= max_far
    if max_frr is not None:
        met &= rates.frr <= max_frr
    return {
        "class_mean_far": float(rates.far.mean()),
        "class_mean_frr": float(rates.frr.mean()),
        "mean_utility": float(rates.utility.mean()),
        "classes_meeting_bounds": float(met.mean()),
    }


def _precision(genuine: int | None, impostors: int | None) -> float | None:
    """Share of the accepted pairs that are genuine; None where nothing is accepted."""
    if genuine is None or impostors is None or genuine + impostors == 0:
        return None
    return genuine / (genuine + impostors)


def _per_query(counts: PairCounts, accepted: int | None) -> float | None:
    """Accepted impostors of a row; None for scored pairs, which know no rows."""
    if accepted is None or counts.metric in ("distance", "score"):
        return None
    # Only a query searches a gallery; without one, both rows of a pair do.
    return accepted * (1 if counts.open_set is not None else 2) / counts.rows


def _rates_at(counts: PairCounts, index: int | None) -> RatesAt:
    """Pooled rates at a threshold, or nulls where no threshold meets the bound."""
    if index is None:
        return RatesAt(None, None, None)
    return RatesAt(
        float(counts.grid.thresholds[index]),
        float(curves.pooled_far(counts)[index]),
        float(curves.pooled_frr(counts)[index]),
    )


def equivalents(threshold: float | None, metric: Metric, unit: bool) -> Equivalents:
    """The same threshold on the other scales in use, for unit vectors, and as a score."""
    if threshold is not None and metric == "score":
        return Equivalents(None, None, None, -threshold)
    if threshold is None or not unit:
        return Equivalents(None, None, None)
    exact = Decimal(repr(threshold))
    squared = 2 * exact if metric == "cosine" else exact**2
    unit_distance = significant(math.sqrt(squared)) if metric == "cosine" else threshold
    return Equivalents(float(1 - squared / 2), unit_distance, float(squared))


def worst_classes(
    counts: PairCounts, found: Consistency, rates: ClassRates | None
) -> tuple[WorstClass, ...]:
    """The classes of least utility at a threshold, or over the range where there is none."""
    ranking = found.mean_utilities if rates is None else rates.utility
    order = np.lexsort((found.mean_utilities, ranking))[:WORST_CLASSES]
    names = counts.class_names[found.classes].tolist()
    return tuple(
        WorstClass(
            class_name=names[i],
            size=int(counts.sizes[found.classes[i]]),
            utility=None if rates is None else float(rates.utility[i]),
            mean_utility=float(found.mean_utilities[i]),
            opis_contribution=float(found.contributions[i]),
            far=None if rates is None else float(rates.far[i]),
            frr=None if rates is None else float(rates.frr[i]),
        )
        for i in order
    )


def judge_deployed(
    counts: PairCounts,
    found: Consistency,
    threshold: float,
    max_far: float | None,
    max_frr: float | None,
    beta: float,
) -> Deployed:
    """Rates of a deployed threshold, which is on the grid."""
    thresholds = counts.grid.thresholds
    # Beyond the last threshold, as at it, every pair is accepted.
    index = min(int(np.searchsorted(thresholds, threshold)), len(thresholds) - 1)
    at = _rates_at(counts, index)
    rates = class_rates(counts, beta, threshold)
    return Deployed(
        threshold=threshold,
        far=at.far,
        frr=at.frr,
        **class_figures(rates, max_far, max_frr),
        fpir=open_set(counts, threshold)[1],
        worst_classes=worst_classes(counts, found, rates),
        borderline=borderline_at(counts, index),
    )


def operating_points(counts: PairCounts) -> tuple[OperatingPoint, ...]:
    """Threshold and FRR at each FAR in use, with whether the pairs can resolve it."""
    far = curves.pooled_far(counts)
    points = []
    for bound in OPERATING_FARS:
        at = _rates_at(counts, last_within(far, bound))
        supported = is_supported(bound, counts.impostor_total)
        points.append(OperatingPoint(bound, at.threshold, at.far, at.frr, supported))
    return tuple(points)
