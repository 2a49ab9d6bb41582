"""OPIS and eps-OPIS over the calibration range.

OPIS is a mean over the thresholds of the calibration range, so it depends on the scale of the
thresholds. Accept and reject decisions do not. ``consistency_of`` uses the scale on which pairs
were counted, and then other scales, which are other weights of the mean over the same counts.

Source: *Threshold-Consistent Margin Loss for Open-World Deep Metric Learning* (Zhang et al., ICLR
2024, arXiv 2307.04047) and its authors' article about it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
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
    """Comparison of the worst classes with the other evaluable classes.

    Attributes
    ----------
    eps : float
        Share of the evaluable classes that count as worst.
    value : float | None
        eps-OPIS: mean squared difference, over the calibration range, between the mean utility of
        the worst classes and the mean utility of the other classes. Null if all classes count as
        worst.
    worst_classes : int
        Number of classes that count as worst.
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
        OPIS. Null if fewer than two classes are evaluable.
    eps_opis : float | None
        eps-OPIS. Null if all evaluable classes count as worst.
    """

    opis: Share | None
    eps_opis: Share | None


@dataclass(frozen=True, slots=True)
class OpisBy:
    """OPIS on two other scales: L2 distance of unit vectors, and log10 of the pooled FAR.

    Attributes
    ----------
    euclidean_unit : OpisOn | None
        OPIS with thresholds as L2 distances of unit vectors, for comparison with code that uses
        L2. For Hamming distances the unit vectors are the bits as -1 and 1. Null for Euclidean
        distances of vectors that do not have unit length, and for scored pairs.
    log_far : OpisOn | None
        OPIS with thresholds as log10 of the pooled FAR. A monotone transform of the distances does
        not change it. Null if the FAR is 0 at the low end of the calibration range, or is the same
        at both ends.
    """

    euclidean_unit: OpisOn | None
    log_far: OpisOn | None


@dataclass(frozen=True, slots=True)
class Consistency:
    """OPIS, eps-OPIS, and the values from which they are computed.

    Attributes
    ----------
    low, high : float
        Ends of the calibration range, as distances. NaN for scored pairs without groups that
        cannot resolve the range. No figure needs the range then.
    columns : ndarray of shape (P,)
        Indices into ``grid.class_thresholds`` of the thresholds in the range, with the ends.
    weights : ndarray of shape (P,)
        Weights of the mean over the range. They depend on the scale and add up to 1.
    curve : ndarray of shape (C,)
        Mean utility of the evaluable classes at each of ``grid.class_thresholds``.
    classes : ndarray of shape (E,)
        Indices of the evaluable classes. ``contributions`` and ``mean_utilities`` use this order.
    contributions : ndarray of shape (E,)
        Mean squared deviation of each class's utility from the mean curve, over the range.
    mean_utilities : ndarray of shape (E,)
        Mean utility of each class over the range.
    ranking : ndarray of shape (E,)
        Indices into ``classes``, by mean utility, the lowest first.
    worst : ndarray of shape (max(1, ceil(eps E)),)
        Indices of the classes with the lowest mean utility, the lowest first.
    opis : float or None
        None if fewer than two classes are evaluable.
    eps_opis, opis_worst, opis_rest, opis_gap : float or None
        None if all evaluable classes count as worst.
    by_scale : mapping
        The same over the same calibration range on other scales, as far as these exist. It is
        empty for those themselves.
    """

    low: float
    high: float
    columns: Ints
    weights: Curve
    curve: Curve
    classes: NDArray[np.int64]
    contributions: Curve
    mean_utilities: Curve
    ranking: Ints
    worst: Ints
    opis: float | None
    eps_opis: float | None
    opis_worst: float | None
    opis_rest: float | None
    opis_gap: float | None
    by_scale: "Mapping[Scale, Consistency]" = field(default_factory=dict)

    @property
    def mean(self) -> Curve:
        """Mean utility curve of the evaluable classes over the range, shape (P,)."""
        return np.asarray(self.curve[self.columns])

    @property
    def ends(self) -> tuple[float, ...]:
        """Both ends of the calibration range, or an empty tuple if there is no range."""
        return () if math.isnan(self.low) else (self.low, self.high)

    def holds(self, threshold: float) -> bool:
        """Return whether a threshold lies in the calibration range."""
        return self.low <= threshold <= self.high

    @property
    def points(self) -> int:
        """Number of thresholds in the calibration range that have counts by class."""
        return len(self.columns)


def consistency_of(
    counts: PairCounts, calibration: Calibration, beta: float, eps: float
) -> Consistency:
    """Compute OPIS and eps-OPIS over the calibration range.

    The contribution of class ``i`` is ``1 / (t_hi - t_lo) * integral of (U_i - Ubar)^2 dt``. OPIS
    is the mean of the contributions over the ``E`` evaluable classes. The worst classes are the
    ``K = max(1, ceil(eps E))`` classes with the lowest mean utility. With them,
    ``eps-OPIS = 1 / (t_hi - t_lo) * integral of (mean U of the K - mean U of the rest)^2 dt``.
    The authors' article describes eps-OPIS as a difference of two OPIS values. That difference is
    ``opis_gap``. All integrals use the trapezoidal rule over the grid's thresholds.

    On another scale, ``dt`` is a step of the scale. The ranking of the worst classes depends on the
    scale too. ``by_scale`` of the result has these scales, if they exist:

    - ``euclidean_unit``: the L2 distance of unit vectors, which is the square root of twice the
      cosine distance, or of four times the share of bits that differ. This scale does not exist for
      Euclidean distances of vectors that do not have unit length, nor for scored pairs.
    - ``log_far``: log10 of the pooled FAR. A monotone transform of the distances does not change
      it. A step between two thresholds with the same FAR is 0. This scale does not exist if the FAR
      is 0 at the low end of the range, or is the same at both ends.
    """
    low, high = ends_if_needed(counts, calibration)
    classes, columns = curves.evaluable_classes(counts), counts.grid.columns_between(low, high)
    scales = _other_scales(counts, columns)
    places = counts.grid.class_thresholds[columns], *scales.values()
    weights = np.stack([trapezoid_weights(one) for one in places])
    curve, contributions, mean_utilities = _of_classes(counts, beta, classes, columns, weights)
    own, *others = (
        _on_scale(
            counts,
            beta,
            eps,
            ends=(low, high),
            columns=columns,
            weights=weights[k],
            curve=curve,
            classes=classes,
            contributions=contributions[:, k],
            mean_utilities=mean_utilities[:, k],
        )
        for k in range(len(places))
    )
    return replace(own, by_scale=dict(zip(scales, others, strict=True)))


def _other_scales(counts: PairCounts, columns: Ints) -> dict[Scale, Curve]:
    """Return the thresholds' values on each other scale that exists, each of shape (columns,)."""
    places: dict[Scale, Curve] = {}
    thresholds = counts.grid.class_thresholds[columns]
    if counts.metric == "hamming":
        # The weights of a mean do not change with the unit of the scale.
        places["euclidean_unit"] = np.sqrt(thresholds)
    elif counts.unit:
        cosine = counts.metric == "cosine"
        places["euclidean_unit"] = np.sqrt(2 * thresholds) if cosine else thresholds
    far = counts.pooled_far[counts.grid.by_class[columns]]
    if len(far) and 0 < far[0] < far[-1]:
        places["log_far"] = np.log10(far)
    return places


def opis_by(consistency: Consistency) -> OpisBy:
    """Return OPIS and eps-OPIS on the other scales as a record of the report."""
    by_scale = consistency.by_scale
    values = {scale: OpisOn(one.opis, one.eps_opis) for scale, one in by_scale.items()}
    return OpisBy(values.get("euclidean_unit"), values.get("log_far"))


def _of_classes(
    counts: PairCounts, beta: float, classes: Ints, columns: Ints, weights: Curve
) -> tuple[Curve, Curve, Curve]:
    """Compute the mean curve, and figures of each class on each scale.

    Parameters
    ----------
    counts : PairCounts
    beta : float
    classes : ndarray of shape (E,)
    columns : ndarray of shape (P,)
        Columns of the calibration range.
    weights : ndarray of shape (scales, P)
        Weights of the mean over the range on each scale.

    Returns
    -------
    curve : ndarray of shape (C,)
        Mean utility at all columns.
    contributions, mean_utilities : ndarrays of shape (E, scales)
        As in ``Consistency``.
    """
    curve = curves.mean_utility(counts, beta, classes, curves.all_columns(counts))
    mean, integral = curve[columns], weights.T
    contributions, mean_utilities = np.empty((2, len(classes), len(weights)))
    for part, values in curves.utility_in_parts(counts, beta, classes, columns):
        mean_utilities[part] = values @ integral
        values -= mean
        contributions[part] = np.square(values, out=values) @ integral
    # Rounding could lift a mean of values in [0, 1] above 1.
    return curve, np.minimum(contributions, 1.0), np.minimum(mean_utilities, 1.0)


def _on_scale(
    counts: PairCounts,
    beta: float,
    eps: float,
    *,
    ends: tuple[float, float],
    columns: Ints,
    weights: Curve,
    curve: Curve,
    classes: NDArray[np.int64],
    contributions: Curve,
    mean_utilities: Curve,
) -> Consistency:
    """Compute OPIS and eps-OPIS on one scale from the figures of the classes on it."""
    size = max(1, math.ceil(round(eps * len(classes), 9)))
    ranking = np.argsort(mean_utilities, kind="stable")
    worst = classes[ranking[:size]]
    eps_opis, opis_worst, opis_rest = None, None, None
    if size < len(classes):
        # Solve mean = (size * worst + (all - size) * rest) / all for worst - rest:
        share = len(classes) / (len(classes) - size)
        gap = (curves.mean_utility(counts, beta, worst, columns) - curve[columns]) * share
        eps_opis = min(float(gap**2 @ weights), 1.0)
        opis_worst = float(contributions[ranking[:size]].mean())
        opis_rest = float(contributions[ranking[size:]].mean())
    return Consistency(
        low=ends[0],
        high=ends[1],
        columns=columns,
        weights=weights,
        curve=curve,
        classes=classes,
        contributions=contributions,
        mean_utilities=mean_utilities,
        ranking=ranking,
        worst=worst,
        opis=float(contributions.mean()) if len(classes) > 1 else None,
        eps_opis=eps_opis,
        opis_worst=opis_worst,
        opis_rest=opis_rest,
        opis_gap=None if opis_worst is None or opis_rest is None else opis_worst - opis_rest,
    )


def trapezoid_weights(thresholds: Curve) -> Curve:
    """Return the weights of the trapezoidal mean over thresholds that never decrease.

    The weights add up to 1.
    """
    steps = np.diff(thresholds)
    weights = np.zeros(len(thresholds))
    if len(thresholds) == 0:
        return weights
    weights[:-1] += steps / 2
    weights[1:] += steps / 2
    return np.asarray(weights / (thresholds[-1] - thresholds[0]))
