"""How consistent the classes are: OPIS and eps-OPIS over the calibration range.

OPIS is a mean over the thresholds of the range. It depends on the scale of the thresholds; no
decision does. ``consistency_of`` takes the thresholds as they are counted. ``consistency_by`` takes
other scales: these are other weights of the mean over the same counts.

Source: *Threshold-Consistent Margin Loss for Open-World Deep Metric Learning* (Zhang et al., ICLR
2024, arXiv 2307.04047) and its authors' article about it.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from opis_cli.counting.calibration import ends_if_needed
from opis_cli.quantities import Count, OpenShare, Share, Signed
from opis_cli.records import Curve, Ints, PairCounts
from opis_cli.scoring import curves
from opis_cli.values import Calibration

Scale = Literal["euclidean_unit", "log_far"]
SCALES: tuple[Scale, ...] = get_args(Scale)


@dataclass(frozen=True, slots=True)
class EpsOpis:
    """The worst classes against the rest.

    Attributes
    ----------
    eps : float
        Share of the evaluable classes that count as worst.
    value : float | None
        eps-OPIS: mean squared difference over the range between the mean utility of the worst
        classes and of the rest.
    worst_classes : int
        How many classes count as worst.
    opis_worst : float | None
        Mean contribution to OPIS of the worst classes.
    opis_rest : float | None
        Mean contribution to OPIS of the other classes.
    opis_gap : float | None
        opis_worst - opis_rest.
    """

    eps: OpenShare
    value: Share | None
    worst_classes: Count
    opis_worst: Share | None
    opis_rest: Share | None
    opis_gap: Signed | None


@dataclass(frozen=True, slots=True)
class OpisOn:
    """OPIS and eps-OPIS with thresholds on another scale.

    Attributes
    ----------
    opis : float | None
        OPIS; null with one evaluable class.
    eps_opis : float | None
        eps-OPIS; null where no class is left to be the rest.
    """

    opis: Share | None
    eps_opis: Share | None


@dataclass(frozen=True, slots=True)
class OpisBy:
    """OPIS by other scales: L2 distance of unit vectors, log10 of the pooled FAR.

    Null where there is no such scale.

    Attributes
    ----------
    euclidean_unit : OpisOn | None
        Thresholds as L2 distance of unit vectors, to compare with code that uses L2; null for
        Euclidean distances of vectors that are not unit, and for scored pairs.
    log_far : OpisOn | None
        Thresholds as log10 of the pooled FAR, which no monotone transform of the distances
        changes; null where FAR is 0 at the low end of the range, or the same at both.
    """

    euclidean_unit: OpisOn | None
    log_far: OpisOn | None


@dataclass(frozen=True, slots=True)
class Consistency:
    """OPIS and what it is made of.

    Attributes
    ----------
    low, high : float
        Ends of the calibration range, as distances. NaN where scored pairs without groups resolve
        none: nothing is asked of it then.
    columns : ndarray of shape (P,)
        Thresholds with counts by class inside it, the ends included.
    weights : ndarray of shape (P,)
        Weights of the mean over the range, which are a scale; they add up to 1.
    mean : ndarray of shape (P,)
        Mean utility curve of the evaluable classes.
    classes : ndarray of shape (E,)
        Evaluable classes, the rows of the next two.
    contributions : ndarray of shape (E,)
        Mean squared deviation of each class's utility from the mean curve, over the range.
    mean_utilities : ndarray of shape (E,)
        Mean utility of each class over the range.
    worst : ndarray of shape (ceil(eps E),)
        The classes of least mean utility, worst first.
    opis : float or None
        None with one evaluable class, which has nothing to differ from.
    eps_opis, opis_worst, opis_rest, opis_gap : float or None
        None where no class is left to be the rest.
    """

    low: float
    high: float
    columns: Ints
    weights: Curve
    mean: Curve
    classes: NDArray[np.int64]
    contributions: Curve
    mean_utilities: Curve
    worst: Ints
    opis: float | None
    eps_opis: float | None
    opis_worst: float | None
    opis_rest: float | None
    opis_gap: float | None

    @property
    def ends(self) -> tuple[float, ...]:
        """Both ends of the calibration range; nothing where there is none."""
        return () if math.isnan(self.low) else (self.low, self.high)

    def holds(self, threshold: float) -> bool:
        """Whether a threshold lies in the calibration range."""
        return self.low <= threshold <= self.high

    @property
    def points(self) -> int:
        """Number of thresholds inside the range."""
        return len(self.columns)


def consistency_of(
    counts: PairCounts, calibration: Calibration, beta: float, eps: float
) -> Consistency:
    """OPIS and eps-OPIS over the calibration range.

    ``contribution_i = 1 / (t_hi - t_lo) * integral of (U_i - Ubar)^2 dt``, and OPIS is their mean
    over the evaluable classes. With ``K = max(1, ceil(eps E))`` classes of least mean utility,
    ``eps-OPIS = 1 / (t_hi - t_lo) * integral of (mean U of the K - mean U of the rest)^2 dt``.
    The authors' article words the latter as a difference of OPIS: that is ``opis_gap``.
    Integrals are by the trapezoidal rule over the grid's thresholds.
    """
    low, high = ends_if_needed(counts, calibration)
    thresholds, classes = counts.grid.class_thresholds, curves.evaluable_classes(counts)
    columns = counts.grid.columns_between(low, high)
    return _weighted(
        counts,
        beta,
        eps,
        low=low,
        high=high,
        columns=columns,
        classes=classes,
        mean=curves.mean_utility(counts, beta, classes, columns),
        weights=trapezoid_weights(thresholds[columns]),
    )


def consistency_by(
    counts: PairCounts, consistency: Consistency, beta: float, eps: float
) -> dict[Scale, Consistency]:
    """``consistency_of`` of the same range and counts on other scales, those that there are.

    ``dt`` is a step of the scale, by which the worst classes are ranked too:

    - ``euclidean_unit``: the L2 distance of unit vectors, as code that uses L2 has it: the root of
      twice the cosine distance. There is none for Euclidean distances of other vectors, nor for
      scored pairs.
    - ``log_far``: log10 of the pooled FAR, which no monotone transform of the distances changes.
      Where it ties, steps are 0. There is none where FAR is 0 at the low end, or never rises.
    """
    return {
        scale: _weighted(
            counts,
            beta,
            eps,
            low=consistency.low,
            high=consistency.high,
            columns=consistency.columns,
            classes=consistency.classes,
            mean=consistency.mean,
            weights=trapezoid_weights(places),
        )
        for scale, places in _other_scales(counts, consistency.columns).items()
    }


def _other_scales(counts: PairCounts, columns: Ints) -> dict[Scale, Curve]:
    """Where thresholds lie on each other scale, (columns,); without those that do not exist."""
    places: dict[Scale, Curve] = {}
    cosine = counts.metric == "cosine"
    if counts.unit:
        thresholds = counts.grid.class_thresholds[columns]
        places["euclidean_unit"] = np.sqrt(2 * thresholds) if cosine else thresholds
    far = counts.pooled_far[counts.grid.by_class[columns]]
    if len(far) and 0 < far[0] < far[-1]:
        places["log_far"] = np.log10(far)
    return places


def opis_by(found: dict[Scale, Consistency]) -> OpisBy:
    """OPIS and eps-OPIS on the other scales, as reports have them."""
    values = {scale: OpisOn(one.opis, one.eps_opis) for scale, one in found.items()}
    return OpisBy(values.get("euclidean_unit"), values.get("log_far"))


def _weighted(
    counts: PairCounts,
    beta: float,
    eps: float,
    *,
    low: float,
    high: float,
    columns: Ints,
    classes: NDArray[np.int64],
    mean: Curve,
    weights: Curve,
) -> Consistency:
    """OPIS and eps-OPIS, with means over the range by some weights."""
    contributions, mean_utilities = np.empty(len(classes)), np.empty(len(classes))
    done = 0
    for part, values in curves.utility_in_parts(counts, beta, classes, columns):
        rows = slice(done, done + len(part))
        mean_utilities[rows] = _over_range(values, weights)
        contributions[rows] = _over_range((values - mean) ** 2, weights)
        done += len(part)
    size = max(1, math.ceil(round(eps * len(classes), 9)))
    ranked = np.argsort(mean_utilities, kind="stable")
    worst = classes[ranked[:size]]
    eps_opis, opis_worst, opis_rest = None, None, None
    if size < len(classes):
        # mean = (size worst + (all - size) rest) / all, hence worst - rest:
        share = len(classes) / (len(classes) - size)
        gap = (curves.mean_utility(counts, beta, worst, columns) - mean) * share
        eps_opis = float(_over_range(gap**2, weights))
        opis_worst = float(contributions[ranked[:size]].mean())
        opis_rest = float(contributions[ranked[size:]].mean())
    return Consistency(
        low=low,
        high=high,
        columns=columns,
        weights=weights,
        mean=mean,
        classes=classes,
        contributions=contributions,
        mean_utilities=mean_utilities,
        worst=worst,
        opis=float(contributions.mean()) if len(classes) > 1 else None,
        eps_opis=eps_opis,
        opis_worst=opis_worst,
        opis_rest=opis_rest,
        opis_gap=None if opis_worst is None or opis_rest is None else opis_worst - opis_rest,
    )


def _over_range(values: Curve, weights: Curve) -> Curve:
    """Mean over the range of values in [0, 1], which rounding must not carry beyond 1."""
    return np.minimum(values @ weights, 1.0)


def trapezoid_weights(thresholds: Curve) -> Curve:
    """Weights of the trapezoidal mean over the span of some thresholds, which never fall; they add
    up to 1."""
    steps = np.diff(thresholds)
    weights = np.zeros(len(thresholds))
    if len(thresholds) == 0:
        return weights
    weights[:-1] += steps / 2
    weights[1:] += steps / 2
    return np.asarray(weights / (thresholds[-1] - thresholds[0]))
