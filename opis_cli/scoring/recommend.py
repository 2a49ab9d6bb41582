"""Choose the global threshold to deploy under bounds on the pooled FAR and FRR."""

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from opis_cli.counting.calibration import first_within, is_supported, last_within
from opis_cli.decimals import significant
from opis_cli.quantities import Amount, Count, OpenShare, Share, Signed, Some
from opis_cli.records import Curve, Ints, PairCounts
from opis_cli.scoring import curves
from opis_cli.scoring.borderline import Borderline, borderline_at
from opis_cli.scoring.curves import class_figures, class_rates
from opis_cli.scoring.opis import Consistency
from opis_cli.scoring.pooled import RatesAt, pooled_rates
from opis_cli.scoring.price import PriceOfOneThreshold, price_of_one_threshold
from opis_cli.scoring.search import (
    HeldBound,
    held_bounds,
    search_figures,
    thresholds_meeting,
)
from opis_cli.settings import Metric, Prefer
from opis_cli.text import SIMILARITIES
from opis_cli.values import NO_SEARCH_BOUNDS, Costs, SearchBounds


@dataclass(frozen=True, slots=True)
class Equivalents:
    """The threshold on other scales: for unit vectors, or as a score of scored pairs.

    Attributes
    ----------
    cosine_similarity : float | None
        Accept at this similarity or above.
    euclidean_unit : float | None
        Accept at this Euclidean distance of unit vectors or below.
    squared_euclidean_unit : float | None
        Accept at this squared Euclidean distance of unit vectors or below.
    score : float | None
        Accept at this score or above. Only for scored pairs, whose distance is the negative score.
    """

    cosine_similarity: Signed | None
    euclidean_unit: Amount | None
    squared_euclidean_unit: Amount | None
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The recommended global threshold, if one meets the bounds, and its rates.

    Attributes
    ----------
    status : {"feasible", "infeasible"}
        Whether a threshold meets the bounds.
    threshold : float | None
        A pair is accepted if its distance is at most this. Null if infeasible. For scores it is
        the negative score, and equivalents.score is the score.
    interval : tuple[float, float] | None
        Smallest and largest threshold that meet the bounds. Null if infeasible. With a bound on the
        precision, which may fall and rise, others beyond may meet the bounds too.
    prefer : Prefer
        Rule that chooses one of the thresholds that meet the bounds. The smaller one wins a tie.
    max_far : float | None
        Bound on the pooled FAR. Null if it is not given.
    max_frr : float | None
        Bound on the pooled FRR. Null if it is not given.
    supported : bool | None
        Whether there are at least 3 / max_far impostor pairs, which are needed to resolve max_far.
        Null if max_far is not given.
    far : float | None
        Pooled FAR: accepted share of all impostor pairs.
    frr : float | None
        Pooled FRR: rejected share of all genuine pairs. The weight of a class grows with about the
        square of its size.
    class_mean_far : float | None
        Mean of the FARs of the evaluable classes at the threshold. Null if there is no such class,
        or no counts by class at the threshold.
    class_mean_frr : float | None
        Mean of the FRRs of the evaluable classes at the threshold. Null if there is no such class,
        or no counts by class at the threshold.
    accepted_impostors : int | None
        Number of accepted impostor pairs.
    rejected_genuine : int | None
        Number of rejected genuine pairs.
    mean_utility : float | None
        Mean utility of the evaluable classes at the threshold. Null if there is no such class, or
        no counts by class at the threshold.
    classes_meeting_bounds : float | None
        Share of the evaluable classes whose own rates meet the given bounds. Null if there is no
        such class, no bound, or no counts by class at the threshold.
    false_accepts_per_query : float | None
        Mean number of accepted impostor rows if one row searches all others or, with a gallery, if
        one query searches the gallery. Null for scored pairs.
    precision : float | None
        Share of the accepted pairs that are genuine. Null if no pair is accepted.
    equivalents : Equivalents
        The threshold on other scales.
    at_max_far : RatesAt | None
        Rates at the largest threshold that meets max_far alone. Null if max_far is not given.
    at_max_frr : RatesAt | None
        Rates at the smallest threshold that meets max_frr alone. Null if max_frr is not given.
    confidence : float | None
        Confidence with which the bounds must hold on other classes. Null if it is not given.
    far_upper : float | None
        Upper confidence limit of the FAR at the threshold.
    frr_upper : float | None
        Upper confidence limit of the FRR at the threshold.
    classes_needed : int | None
        Rough number of classes that would show the bounds with this confidence, if no threshold
        shows them here. Null if no number of classes would.
    borderline : Borderline | None
        Number of pairs so close to the threshold that rounding decides whether they are accepted.
        Null if there is no threshold, or if an older opis wrote the report.
    fpir : float | None
        Share of the queries without a genuine gallery row that accept a gallery row. Null if there
        is no such query, no gallery or no threshold.
    identification : float | None
        Share of the rows (or queries) with a genuine pair whose nearest other row has the same
        label and is accepted: the detection and identification rate (DIR). Null for scored pairs,
        if there is no threshold, and in reports of an older opis.
    precision_at_prior : float | None
        Share of the accepted pairs that would be genuine at the prior of the settings. Null without
        a prior, and if no pair is accepted.
    search_bounds : tuple[HeldBound, ...]
        Bounds on figures of searches: false accepts per query, FPIR, precision at a prior, and
        identification.
    price_of_one_threshold : PriceOfOneThreshold | None
        What thresholds of the classes' own would save, at the mean FAR of the threshold. If no
        threshold meets the bounds, it is at the mean FAR of at_max_far. Null for scored pairs, with
        a gallery, --within-column or --exclude-same; if fewer than two classes could be split into
        halves; if they have too few impostor pairs for this FAR; or if there are no counts by class
        at the threshold.
    """

    status: Literal["feasible", "infeasible"]
    threshold: float | None
    interval: tuple[float, float] | None
    prefer: Prefer
    max_far: Share | None
    max_frr: Share | None
    supported: bool | None
    far: Share | None
    frr: Share | None
    class_mean_far: Share | None
    class_mean_frr: Share | None
    accepted_impostors: Count | None
    rejected_genuine: Count | None
    mean_utility: Share | None
    classes_meeting_bounds: Share | None
    false_accepts_per_query: Amount | None
    precision: Share | None
    equivalents: Equivalents
    at_max_far: RatesAt | None
    at_max_frr: RatesAt | None
    confidence: OpenShare | None = None
    far_upper: Share | None = None
    frr_upper: Share | None = None
    classes_needed: Some | None = None
    borderline: Borderline | None = None
    price_of_one_threshold: PriceOfOneThreshold | None = None
    fpir: Share | None = None
    identification: Share | None = None
    precision_at_prior: Share | None = None
    search_bounds: tuple[HeldBound, ...] = ()


@dataclass(frozen=True, slots=True)
class UpperLimits:
    """Upper confidence limits of the pooled rates on other classes.

    Attributes
    ----------
    confidence : float
    far, frr : ndarray of shape (C,), or None
        Upper limit at each threshold with counts by class. None if there can be no limit.
    """

    confidence: float
    far: Curve | None
    frr: Curve | None

    def ends(
        self, counts: PairCounts, max_far: float | None, max_frr: float | None
    ) -> tuple[int | None, int | None]:
        """Return the indices of the smallest and largest threshold whose limits meet the bounds.

        The smallest depends on ``max_frr`` and the largest on ``max_far``. An index is None if no
        limit meets its bound. Without the bound it is the index of the first or last threshold.
        """
        low: int | None = 0
        high: int | None = len(counts.grid.thresholds) - 1
        if max_frr is not None:
            low = self._met(counts, self.frr, max_frr, 0)
        if max_far is not None:
            high = self._met(counts, self.far, max_far, -1)
        return low, high

    def at(self, counts: PairCounts, threshold: float) -> tuple[float | None, float | None]:
        """Return the limits of FAR and FRR at a threshold that has counts by class."""
        column = counts.grid.column_of(threshold)
        far, frr = (None if one is None else float(one[column]) for one in (self.far, self.frr))
        return far, frr

    @staticmethod
    def _met(counts: PairCounts, limit: Curve | None, bound: float, place: int) -> int | None:
        met = np.flatnonzero(np.zeros(0) if limit is None else limit <= bound)
        return int(counts.grid.by_class[met[place]]) if len(met) else None


def recommend(
    counts: PairCounts,
    consistency: Consistency,
    *,
    max_far: float | None,
    max_frr: float | None,
    prefer: Prefer,
    beta: float,
    costs: Costs | None = None,
    searching: SearchBounds = NO_SEARCH_BOUNDS,
    limits: UpperLimits | None = None,
) -> Recommendation:
    """Recommend the global threshold to deploy under bounds on the pooled rates.

    If the threshold rises, the FAR never falls and the FRR never rises. The thresholds that meet
    the bounds on these therefore form one interval ``[t_frr, t_far]``, or there is none. Bounds on
    searches leave some of these thresholds.

    Parameters
    ----------
    counts : PairCounts
    consistency : Consistency
        It provides the evaluable classes, and the worst classes for ``prefer="worst-classes"``.
    max_far, max_frr : float or None
        Bounds. At least one is given, unless ``prefer`` is "cost".
    prefer : {"utility", "low-far", "low-frr", "worst-classes", "cost"}
        Rule that chooses a threshold in the interval. The smaller threshold wins a tie.
    beta : float
        Weight of sensitivity in the utility.
    costs : Costs, optional
        Costs of the errors. They are there if ``prefer`` is "cost".
    searching : SearchBounds
        Bounds on figures of searches, and the prior of the precision.
    limits : UpperLimits, optional
        If given, the upper limits must meet the bounds instead of the rates.

    Returns
    -------
    Recommendation
        Its status is "infeasible" if no threshold meets the bounds.

    Raises
    ------
    InputError
        A bound on searches refers to a figure that is undefined here.
    """
    thresholds = counts.grid.thresholds
    far, frr = counts.pooled_far, counts.pooled_frr
    ends = _ends if limits is None else limits.ends
    low, high = ends(counts, max_far, max_frr)
    allowed = np.zeros(len(thresholds), bool)
    if low is not None and high is not None:
        allowed[low : high + 1] = True
    met = thresholds_meeting(counts, searching)
    for one in met.values():
        allowed &= one
    index, interval = None, None
    if allowed.any():
        index = _choose(counts, consistency, np.flatnonzero(allowed), prefer, beta, costs)
        first, last = _run_around(allowed, index)
        interval = float(thresholds[first]), float(thresholds[last])
    at = None if index is None else float(thresholds[index])
    far_upper, frr_upper = (None, None) if limits is None or at is None else limits.at(counts, at)
    rates = None if at is None else class_rates(counts, beta, at)
    figures = class_figures(rates, max_far, max_frr)
    at_max_far = None if max_far is None else pooled_rates(counts, high)
    accepted = None if index is None else int(counts.pooled_impostor[index])
    searches = None if index is None else search_figures(counts, searching.prior, index)
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
        **figures,
        false_accepts_per_query=None if searches is None else searches.false_accepts_per_query,
        precision=_precision(genuine, accepted),
        equivalents=equivalents(at, counts.metric, counts.unit),
        at_max_far=at_max_far,
        at_max_frr=None if max_frr is None else pooled_rates(counts, low),
        confidence=None if limits is None else limits.confidence,
        far_upper=far_upper,
        frr_upper=frr_upper,
        classes_needed=None,
        borderline=None if index is None else borderline_at(counts, index),
        price_of_one_threshold=price_of_one_threshold(
            counts,
            figures["class_mean_far"] if at is not None else _mean_far(counts, at_max_far, beta),
        ),
        fpir=None if searches is None else searches.fpir,
        identification=None if searches is None else searches.identification,
        precision_at_prior=None if searches is None else searches.precision,
        search_bounds=held_bounds(counts, searching, met, index),
    )


def _mean_far(counts: PairCounts, at: RatesAt | None, beta: float) -> float | None:
    """Return the mean FAR of the classes at the threshold that one bound leads to."""
    if at is None or at.threshold is None:
        return None
    rates = class_rates(counts, beta, at.threshold)
    return None if rates is None else float(rates.far.mean())


def _ends(
    counts: PairCounts, max_far: float | None, max_frr: float | None
) -> tuple[int | None, int | None]:
    """Return the indices of the smallest threshold that meets ``max_frr`` and the largest that
    meets ``max_far``."""
    low: int | None = 0
    if max_frr is not None:
        low = first_within(curves.pooled_frr_at_most(counts), max_frr)
    if max_far is None:
        return low, len(counts.grid.thresholds) - 1
    return low, last_within(counts.pooled_far, max_far)


def _choose(
    counts: PairCounts,
    consistency: Consistency,
    allowed: Ints,
    prefer: Prefer,
    beta: float,
    costs: Costs | None,
) -> int:
    """Return the index of the preferred threshold among the allowed ones, by their indices."""
    low, high = int(allowed[0]), int(allowed[-1])
    if prefer == "low-frr":
        return high
    if prefer == "low-far":
        return low
    if prefer == "cost" and costs is not None:
        cost = curves.expected_cost(counts.pooled_far, counts.pooled_frr, costs)
        return int(allowed[np.argmin(cost[allowed])])
    if len(consistency.classes) == 0:
        return int(allowed[np.argmax(curves.pooled_utility(counts, beta)[allowed])])
    by_class = counts.grid.by_class
    columns = np.flatnonzero(np.isin(by_class, allowed))
    if len(columns) == 0:
        # There are only pooled counts here. Take the end that the only bound determines.
        return high if high + 1 < len(counts.grid.thresholds) else low
    utility = consistency.curve[columns]
    if prefer == "worst-classes":
        utility = curves.mean_utility(counts, beta, consistency.worst, columns)
    return int(by_class[columns[np.argmax(utility)]])


def _run_around(allowed: NDArray[np.bool_], index: int) -> tuple[int, int]:
    """Return the first and the last index of the run of allowed thresholds around one of them."""
    out = np.flatnonzero(~allowed)
    place = int(np.searchsorted(out, index))
    first = int(out[place - 1]) + 1 if place else 0
    return first, int(out[place]) - 1 if place < len(out) else len(allowed) - 1


def _precision(genuine: int | None, impostors: int | None) -> float | None:
    """Return the genuine share of the accepted pairs, or None if no pair is accepted."""
    if genuine is None or impostors is None or genuine + impostors == 0:
        return None
    return genuine / (genuine + impostors)


def equivalents(threshold: float | None, metric: Metric, unit: bool) -> Equivalents:
    """Return the same threshold on other scales, for unit vectors or as a score."""
    if threshold is not None and metric in SIMILARITIES:
        return Equivalents(None, None, None, -threshold)
    if threshold is None or not unit:
        return Equivalents(None, None, None)
    exact = Decimal(repr(threshold))
    squared = 2 * exact if metric == "cosine" else exact**2
    unit_distance = significant(math.sqrt(squared)) if metric == "cosine" else threshold
    return Equivalents(float(1 - squared / 2), unit_distance, float(squared))
