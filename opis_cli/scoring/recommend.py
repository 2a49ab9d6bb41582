"""Thresholds under bounds: which one to deploy, or that there is none, and what each costs."""

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

import numpy as np

from opis_cli.counting.calibration import first_within, is_supported, last_within
from opis_cli.decimals import significant
from opis_cli.quantities import Amount, Count, OpenShare, Share, Signed, Some
from opis_cli.records import Curve, Ints, PairCounts
from opis_cli.scoring import curves
from opis_cli.scoring.borderline import Borderline, borderline_at
from opis_cli.scoring.curves import class_figures, class_rates
from opis_cli.scoring.opis import Consistency
from opis_cli.scoring.pooled import RatesAt, pooled_rates
from opis_cli.settings import Metric, Prefer


@dataclass(frozen=True, slots=True)
class Equivalents:
    """A threshold on other scales, for unit vectors, or as the score that it stands for; accepted
    from there on up (similarity, score) or down.

    Attributes
    ----------
    cosine_similarity : float | None
        Accept at this similarity or above.
    euclidean_unit : float | None
        Accept at this Euclidean distance of unit vectors or below.
    squared_euclidean_unit : float | None
        Accept at this squared Euclidean distance of unit vectors or below.
    score : float | None
        Accept at this score or above: of scored pairs, whose distance is the negative score.
    """

    cosine_similarity: Signed | None
    euclidean_unit: Amount | None
    squared_euclidean_unit: Amount | None
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The global threshold to deploy, or that there is none, and what each bound costs.

    Attributes
    ----------
    status : {"feasible", "infeasible"}
        Whether a threshold meets the bounds.
    threshold : float | None
        Accept a pair whose distance is at most this; null when infeasible. Of scores it is the
        negative: equivalents.score is the score.
    interval : tuple[float, float] | None
        Smallest and largest threshold that meet the bounds; null when infeasible.
    prefer : Prefer
        Which of the thresholds that meet the bounds is taken; the smaller one wins a tie.
    max_far : float | None
        Bound on the pooled FAR; null where not given.
    max_frr : float | None
        Bound on the pooled FRR; null where not given.
    supported : bool | None
        Whether the impostor pairs are at least 3 / max_far, enough to resolve it; null without
        max_far.
    far : float | None
        Accepted share of all impostor pairs.
    frr : float | None
        Rejected share of all genuine pairs; a class weighs about its size squared.
    class_mean_far : float | None
        Mean over the evaluable classes of their own FAR at the threshold; null where there is
        none, or where it was not counted by class.
    class_mean_frr : float | None
        Mean over the evaluable classes of their own FRR at the threshold; null where there is
        none, or where it was not counted by class.
    accepted_impostors : int | None
        Impostor pairs accepted.
    rejected_genuine : int | None
        Genuine pairs rejected.
    mean_utility : float | None
        Mean utility of the evaluable classes at the threshold; null where there is none, or
        where it was not counted by class.
    classes_meeting_bounds : float | None
        Share of the evaluable classes whose own rates meet the bounds given.
    false_accepts_per_query : float | None
        Impostors accepted when one row searches all others, on average.
    precision : float | None
        Genuine share of the accepted pairs; null where none is accepted.
    equivalents : Equivalents
        The threshold on other scales.
    at_max_far : RatesAt | None
        The largest threshold that meets max_far alone; null where that is not given.
    at_max_frr : RatesAt | None
        The smallest threshold that meets max_frr alone; null where that is not given.
    confidence : float | None
        Confidence with which the bounds hold on other classes; null where it was not asked for.
    far_upper : float | None
        Upper confidence limit of the FAR at the threshold.
    frr_upper : float | None
        Upper confidence limit of the FRR at the threshold.
    classes_needed : int | None
        Where no threshold shows the bounds with that confidence: roughly how many classes
        would; null if no number would.
    borderline : Borderline | None
        Pairs so near the threshold that rounding decides; null where no threshold is given or
        an older opis wrote the report.
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


@dataclass(frozen=True, slots=True)
class UpperLimits:
    """What the pooled rates are at most on other classes, with some confidence.

    Attributes
    ----------
    confidence : float
    far, frr : ndarray of shape (C,), or None
        At the thresholds with counts by class; None where nothing can be said.
    """

    confidence: float
    far: Curve | None
    frr: Curve | None

    def ends(
        self, counts: PairCounts, max_far: float | None, max_frr: float | None
    ) -> tuple[int | None, int | None]:
        """Indices of the smallest and the largest threshold whose limits meet the bounds.

        None where there is none; without a bound it is the first or the last threshold.
        """
        low: int | None = 0
        high: int | None = len(counts.grid.thresholds) - 1
        if max_frr is not None:
            low = self._met(counts, self.frr, max_frr, 0)
        if max_far is not None:
            high = self._met(counts, self.far, max_far, -1)
        return low, high

    def at(self, counts: PairCounts, threshold: float) -> tuple[float | None, float | None]:
        """Limits of FAR and FRR at a threshold with counts by class."""
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
    limits: UpperLimits | None = None,
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
    limits : UpperLimits, optional
        Let these meet the bounds, not the rates alone.
    """
    thresholds = counts.grid.thresholds
    far, frr = counts.pooled_far, counts.pooled_frr
    ends = _ends if limits is None else limits.ends
    low, high = ends(counts, max_far, max_frr)
    index, interval = None, None
    if low is not None and high is not None and low <= high:
        index = _choose(counts, consistency, low, high, prefer, beta)
        interval = float(thresholds[low]), float(thresholds[high])
    at = None if index is None else float(thresholds[index])
    far_upper, frr_upper = (None, None) if limits is None or at is None else limits.at(counts, at)
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
        at_max_far=None if max_far is None else pooled_rates(counts, high),
        at_max_frr=None if max_frr is None else pooled_rates(counts, low),
        confidence=None if limits is None else limits.confidence,
        far_upper=far_upper,
        frr_upper=frr_upper,
        classes_needed=None,
        borderline=None if index is None else borderline_at(counts, index),
    )


def _ends(
    counts: PairCounts, max_far: float | None, max_frr: float | None
) -> tuple[int | None, int | None]:
    """Indices of the smallest and the largest threshold that meet the bounds, each by itself."""
    low = 0 if max_frr is None else first_within(curves.pooled_frr_at_most(counts), max_frr)
    if max_far is None:
        return low, len(counts.grid.thresholds) - 1
    return low, last_within(counts.pooled_far, max_far)


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
