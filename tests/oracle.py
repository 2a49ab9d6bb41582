"""Brute-force float64 reference for the definitions in the design's metrics.md.

It imports NumPy only and shares no code with the package it checks: every pair's distance is
computed, kept and sorted, so a count is exact at any threshold. Meant for up to about 3,000 rows.
Section names in the docstrings (*Pairs*, *Rates, utility*, ...) are those of metrics.md; the source
is Zhang et al., ICLR 2024, arXiv 2307.04047.

Classes are in the order of `numpy.unique(labels)` wherever an array has one entry per class. Every
function that takes `vectors` also takes `distance`, a matrix from `distances`, to save the work of
computing it again; `vectors` and `metric` are then not looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Labels = Sequence[Any] | NDArray[Any]


@dataclass(frozen=True)
class Pairs:
    """All unordered pairs i < j, row by row."""

    distance: Floats
    genuine: Bools
    i: Ints
    j: Ints


@dataclass(frozen=True)
class Counts:
    """Accepted pairs (d <= t) at each threshold, by class (C x T arrays) and pooled (T)."""

    thresholds: Floats
    classes: NDArray[Any]
    sizes: Ints
    evaluable: Bools
    genuine_total: Ints
    impostor_total: Ints
    genuine: Ints
    impostor: Ints
    pooled_genuine_total: int
    pooled_impostor_total: int
    pooled_genuine: Ints
    pooled_impostor: Ints


@dataclass(frozen=True)
class Rates:
    """Rates at each threshold; class rows (C x T) are NaN for classes not evaluable."""

    counts: Counts
    far: Floats
    frr: Floats
    utility: Floats
    pooled_far: Floats
    pooled_frr: Floats
    mean_far: Floats
    mean_frr: Floats
    mean_utility: Floats
    false_accepts_per_query: Floats
    precision: Floats


@dataclass(frozen=True)
class Opis:
    """OPIS and its relatives over [t_lo, t_hi]; arrays are over the T evaluable classes.

    `eps_opis`, `opis_rest` and `opis_gap` are None where the worst K leave no rest.
    """

    t_lo: float
    t_hi: float
    classes: NDArray[Any]
    contributions: Floats
    mean_utility: Floats
    opis: float
    worst: Ints
    worst_classes: NDArray[Any]
    eps_opis: float | None
    opis_worst: float
    opis_rest: float | None
    opis_gap: float | None


@dataclass(frozen=True)
class Recall:
    """Recall@1; arrays are over rows, or over classes in `by_class` (NaN if not evaluable)."""

    recall: float
    hits: Bools
    counted: Bools
    near_tie: Bools
    by_class: Floats


@dataclass(frozen=True)
class Point:
    """A threshold and its pooled rates."""

    threshold: float
    far: float
    frr: float


def distances(vectors: ArrayLike, metric: str = "cosine") -> Floats:
    """Distance of every two rows (*Pairs*): cosine = 1 - cos, euclidean = L2 on rows as given.

    Both go by explicit differences: for unit u and v, 1 - cos = |u - v|^2 / 2, which is accurate
    for near duplicates, and equal pairs of rows get equal distances to the last bit.
    """
    rows = np.array(vectors, dtype=np.float64)
    if rows.ndim != 2 or not np.isfinite(rows).all():
        raise ValueError("vectors must be a finite N x D array")
    if metric == "cosine":
        norms = np.sqrt((rows * rows).sum(axis=1, keepdims=True))
        if (norms == 0).any():
            raise ValueError("a zero vector has no cosine distance")
        rows = rows / norms
    elif metric != "euclidean":
        raise ValueError(f"unknown metric {metric!r}")
    n = len(rows)
    squared = np.zeros((n, n))
    for i in range(n):
        difference = rows[i + 1 :] - rows[i]
        squared[i, i + 1 :] = squared[i + 1 :, i] = (difference * difference).sum(axis=1)
    return np.sqrt(squared) if metric == "euclidean" else np.minimum(squared / 2, 2.0)


def pair_table(
    vectors: ArrayLike, labels: Labels, metric: str = "cosine", *, distance: Floats | None = None
) -> Pairs:
    """Every unordered pair once, genuine when the two labels are equal (*Pairs*)."""
    matrix = distances(vectors, metric) if distance is None else distance
    codes = _codes(labels)[1]
    i, j = np.triu_indices(len(codes), k=1)
    return Pairs(matrix[i, j], codes[i] == codes[j], i, j)


def accepted_counts(
    vectors: ArrayLike,
    labels: Labels,
    thresholds: ArrayLike,
    metric: str = "cosine",
    *,
    distance: Floats | None = None,
) -> Counts:
    """Pairs accepted, d <= t, of each class and pooled, at any thresholds (*Pairs*).

    A class has n_i (n_i - 1) / 2 genuine and n_i (N - n_i) impostor pairs; an impostor pair counts
    for two classes but once in the pooled count.
    """
    matrix = distances(vectors, metric) if distance is None else distance
    t = np.atleast_1d(np.asarray(thresholds, dtype=np.float64))
    classes, codes = _codes(labels)
    n = len(codes)
    sizes = np.bincount(codes, minlength=len(classes)).astype(np.int64)
    genuine = np.zeros((len(classes), len(t)), dtype=np.int64)
    impostor = np.zeros_like(genuine)
    for c in range(len(classes)):
        inside = np.flatnonzero(codes == c)
        outside = np.flatnonzero(codes != c)
        within = matrix[np.ix_(inside, inside)][np.triu_indices(len(inside), k=1)]
        genuine[c] = _accepted(within, t)
        impostor[c] = _accepted(matrix[np.ix_(inside, outside)].ravel(), t)
    pairs = pair_table(vectors, labels, metric, distance=matrix)
    return Counts(
        thresholds=t,
        classes=classes,
        sizes=sizes,
        evaluable=sizes >= 2,
        genuine_total=sizes * (sizes - 1) // 2,
        impostor_total=sizes * (n - sizes),
        genuine=genuine,
        impostor=impostor,
        pooled_genuine_total=int(pairs.genuine.sum()),
        pooled_impostor_total=int((~pairs.genuine).sum()),
        pooled_genuine=_accepted(pairs.distance[pairs.genuine], t),
        pooled_impostor=_accepted(pairs.distance[~pairs.genuine], t),
    )


def utility(far: ArrayLike, frr: ArrayLike, beta: float = 1.0) -> Floats:
    """U = (1 + b^2) spec sens / (b^2 spec + sens), 0 where both are 0 (*Rates, utility*)."""
    specificity = 1 - np.asarray(far, dtype=np.float64)
    sensitivity = 1 - np.asarray(frr, dtype=np.float64)
    below = beta**2 * specificity + sensitivity
    above = (1 + beta**2) * specificity * sensitivity
    return np.where(below == 0, 0.0, above / np.where(below == 0, 1.0, below))


def rates_and_utility(
    vectors: ArrayLike,
    labels: Labels,
    thresholds: ArrayLike,
    beta: float = 1.0,
    metric: str = "cosine",
    *,
    distance: Floats | None = None,
) -> Rates:
    """FAR, FRR and utility by class, pooled, and as class means (*Rates, utility*).

    Class means are over the evaluable classes. `false_accepts_per_query` is the pooled FAR times
    the mean number of impostors of a row; `precision` is NaN where no pair is accepted.
    """
    counts = accepted_counts(vectors, labels, thresholds, metric, distance=distance)
    ok = counts.evaluable
    if not ok.any():
        raise ValueError("no evaluable class: every class is a singleton")
    if counts.pooled_impostor_total == 0:
        raise ValueError("one class in all: no impostor pair")
    far = np.full(counts.impostor.shape, np.nan)
    frr = np.full(counts.genuine.shape, np.nan)
    far[ok] = counts.impostor[ok] / counts.impostor_total[ok, None]
    frr[ok] = (counts.genuine_total[:, None] - counts.genuine)[ok] / counts.genuine_total[ok, None]
    curves = utility(far, frr, beta)
    pooled_far = counts.pooled_impostor / counts.pooled_impostor_total
    rejected = counts.pooled_genuine_total - counts.pooled_genuine
    accepted = counts.pooled_genuine + counts.pooled_impostor
    precision = np.full(len(accepted), np.nan)
    np.divide(counts.pooled_genuine, accepted, out=precision, where=accepted > 0)
    return Rates(
        counts=counts,
        far=far,
        frr=frr,
        utility=curves,
        pooled_far=pooled_far,
        pooled_frr=rejected / counts.pooled_genuine_total,
        mean_far=far[ok].mean(axis=0),
        mean_frr=frr[ok].mean(axis=0),
        mean_utility=curves[ok].mean(axis=0),
        false_accepts_per_query=pooled_far
        * (2 * counts.pooled_impostor_total / int(counts.sizes.sum())),
        precision=precision,
    )


def threshold_at_far(impostor: ArrayLike, bound: float) -> float:
    """The largest threshold (as a float64) with FAR <= bound (*Calibration range and OPIS*).

    That is the float just below the first distance whose acceptance would break the bound, itself
    the supremum; infinite if none would, and negative if no threshold >= 0 meets the bound.
    """
    ordered = np.sort(np.asarray(impostor, dtype=np.float64))
    total = len(ordered)
    if total == 0:
        raise ValueError("no impostor pair")
    # The largest count whose share, as a float, meets the bound: 29 of 100 meets 0.29, although
    # 0.29 * 100 < 29 in float64.
    allowed = min(total, floor(bound * total) + 1)
    while allowed >= 0 and allowed / total > bound:
        allowed -= 1
    if allowed < 0:
        raise ValueError("a FAR bound below 0")
    return float("inf") if allowed == total else float(np.nextafter(ordered[allowed], -np.inf))


def threshold_at_frr(genuine: ArrayLike, bound: float) -> float:
    """The smallest threshold with FRR <= bound, a genuine distance (*Calibration range and OPIS*).

    0 if the bound allows every genuine pair to be rejected.
    """
    ordered = np.sort(np.asarray(genuine, dtype=np.float64))
    total = len(ordered)
    if total == 0:
        raise ValueError("no evaluable class: no genuine pair")
    allowed = min(total, floor(bound * total) + 1)
    while allowed >= 0 and allowed / total > bound:
        allowed -= 1
    if allowed < 0:
        raise ValueError("a FRR bound below 0")
    return 0.0 if allowed == total else float(ordered[total - allowed - 1])


def calibration_range(
    vectors: ArrayLike,
    labels: Labels,
    by: str = "far",
    low: float = 0.01,
    high: float = 0.10,
    metric: str = "cosine",
    *,
    distance: Floats | None = None,
) -> tuple[float, float]:
    """[t_lo, t_hi] by pooled FAR or FRR bounds or two distances (*Calibration range and OPIS*).

    FRR falls with t, so there `high` gives t_lo. Raises ValueError for a range that is empty, has
    no upper end, or lies below every distance.
    """
    if not low <= high:
        raise ValueError("low must not exceed high")
    if by == "distance":
        t_lo, t_hi = float(low), float(high)
    elif by in ("far", "frr"):
        pairs = pair_table(vectors, labels, metric, distance=distance)
        if by == "far":
            impostor = pairs.distance[~pairs.genuine]
            t_lo, t_hi = threshold_at_far(impostor, low), threshold_at_far(impostor, high)
        else:
            genuine = pairs.distance[pairs.genuine]
            t_lo, t_hi = threshold_at_frr(genuine, high), threshold_at_frr(genuine, low)
    else:
        raise ValueError(f"unknown calibration {by!r}")
    if t_lo < 0:
        raise ValueError("no threshold >= 0 meets the lower bound: impostors at distance 0")
    if not np.isfinite(t_hi):
        raise ValueError("every threshold meets the upper bound: the range has no upper end")
    if t_lo == t_hi:
        raise ValueError("t_lo = t_hi: too few pairs between the bounds, or ties")
    return t_lo, t_hi


def worst_count(evaluable: int, eps: float = 0.1) -> int:
    """K = max(1, ceil(eps T)), eps taken as the decimal it is written as.

    In float64 0.1 * 70 is above 7, and its ceiling 8 (*Calibration range and OPIS*).
    """
    return max(1, ceil(Fraction(str(eps)) * evaluable))


def opis(
    vectors: ArrayLike,
    labels: Labels,
    by: str = "far",
    low: float = 0.01,
    high: float = 0.10,
    *,
    beta: float = 1.0,
    eps: float = 0.1,
    metric: str = "cosine",
    points: int | None = 20001,
    scale: str = "threshold",
    distance: Floats | None = None,
) -> Opis:
    """OPIS, eps-OPIS, their parts and the worst classes (*Calibration range and OPIS*).

    contribution_i = 1 / (t_hi - t_lo) * integral of (U_i - Ubar)^2 dt, OPIS their mean over the T
    evaluable classes; the worst are the K with the lowest mean utility (class order on a tie), and
    eps-OPIS = 1 / (t_hi - t_lo) * integral of (mean U of the worst - mean U of the rest)^2 dt.
    The integral is the midpoint rule on `points` equal steps, or, with `points=None`, exact: the
    curves are step functions, constant from one pair distance up to the next (small data only).

    `scale` substitutes what the steps are equal in (*OPIS depends on the scale*): `euclidean_unit`,
    the L2 distance sqrt(2 t) of a cosine distance, or `log_far`, log10 of the pooled FAR, with the
    smallest threshold that reaches it.
    """
    matrix = distances(vectors, metric) if distance is None else distance
    t_lo, t_hi = calibration_range(vectors, labels, by, low, high, metric, distance=matrix)
    if scale == "euclidean_unit":
        t = _midpoints(np.sqrt(2 * t_lo), np.sqrt(2 * t_hi), points) ** 2 / 2
        weights = np.full(len(t), 1 / len(t))
    elif scale == "log_far":
        pairs = pair_table(vectors, labels, metric, distance=matrix)
        impostor = np.sort(pairs.distance[~pairs.genuine])
        ends = np.log10(_accepted(impostor, np.array([t_lo, t_hi])) / len(impostor))
        far = 10 ** _midpoints(ends[0], ends[1], points)
        t = impostor[np.ceil(far * len(impostor)).astype(int) - 1]
        weights = np.full(len(t), 1 / len(t))
    elif points is None:
        every = matrix[np.triu_indices(len(matrix), k=1)]
        inner = np.unique(every[(every > t_lo) & (every < t_hi)])
        edges = np.concatenate([[t_lo], inner, [t_hi]])
        t, weights = edges[:-1], np.diff(edges) / (t_hi - t_lo)
    else:
        t = _midpoints(t_lo, t_hi, points)
        weights = np.full(points, 1 / points)

    rates = rates_and_utility(vectors, labels, t, beta, metric, distance=matrix)
    ok = rates.counts.evaluable
    curves = rates.utility[ok]
    contributions = ((curves - curves.mean(axis=0)) ** 2) @ weights
    mean_utility = curves @ weights
    classes = rates.counts.classes[ok]
    k = worst_count(len(classes), eps)
    ranked = np.argsort(mean_utility, kind="stable")
    worst, rest = ranked[:k], ranked[k:]
    opis_worst = float(contributions[worst].mean())
    eps_opis = opis_rest = None
    if len(rest):
        gap = curves[worst].mean(axis=0) - curves[rest].mean(axis=0)
        eps_opis = float(gap**2 @ weights)
        opis_rest = float(contributions[rest].mean())
    return Opis(
        t_lo=t_lo,
        t_hi=t_hi,
        classes=classes,
        contributions=contributions,
        mean_utility=mean_utility,
        opis=float(contributions.mean()),
        worst=worst,
        worst_classes=classes[worst],
        eps_opis=eps_opis,
        opis_worst=opis_worst,
        opis_rest=opis_rest,
        opis_gap=None if opis_rest is None else opis_worst - opis_rest,
    )


def _midpoints(low: float, high: float, points: int | None) -> Floats:
    """The middles of so many equal steps."""
    assert points is not None
    return low + (high - low) * (np.arange(points) + 0.5) / points


def recall_at_1(
    vectors: ArrayLike,
    labels: Labels,
    metric: str = "cosine",
    *,
    tolerance: float = 1e-6,
    distance: Floats | None = None,
) -> Recall:
    """Leave-one-out recall@1 over the rows of evaluable classes (*Recall@1, EER*).

    The lowest row number wins an exact tie. `near_tie` marks the counted rows whose nearest genuine
    and nearest impostor distances differ by `tolerance` or less: rounding may decide those.
    """
    matrix = (distances(vectors, metric) if distance is None else distance).copy()
    np.fill_diagonal(matrix, np.inf)
    classes, codes = _codes(labels)
    n = len(codes)
    sizes = np.bincount(codes, minlength=len(classes))
    counted = sizes[codes] >= 2
    if not counted.any():
        raise ValueError("no evaluable class: every class is a singleton")
    hits = np.zeros(n, dtype=np.bool_)
    near_tie = np.zeros(n, dtype=np.bool_)
    for i in np.flatnonzero(counted):
        row = matrix[i]
        same = codes == codes[i]
        hits[i] = same[np.argmin(row)]  # argmin gives the first of equal minima
        near_tie[i] = abs(row[same].min() - row[~same].min(initial=np.inf)) <= tolerance
    by_class = np.full(len(classes), np.nan)
    for c in np.flatnonzero(sizes >= 2):
        by_class[c] = hits[codes == c].mean()
    return Recall(float(hits[counted].mean()), hits, counted, near_tie, by_class)


def best_frr_at_far(
    vectors: ArrayLike,
    labels: Labels,
    max_far: float = 0.01,
    metric: str = "cosine",
    *,
    distance: Floats | None = None,
) -> Point:
    """The least pooled FRR of any threshold with pooled FAR <= max_far, exact.

    FRR never rises with t, so it is the FRR at the upper end of the allowed thresholds
    (*Recommended global threshold*); the threshold is that of `threshold_at_far`.
    """
    pairs = pair_table(vectors, labels, metric, distance=distance)
    genuine, impostor = pairs.distance[pairs.genuine], pairs.distance[~pairs.genuine]
    if len(genuine) == 0:
        raise ValueError("no evaluable class: no genuine pair")
    t = threshold_at_far(impostor, max_far)
    return Point(t, float((impostor <= t).mean()), float((genuine > t).mean()))


def eer(
    vectors: ArrayLike,
    labels: Labels,
    metric: str = "cosine",
    *,
    thresholds: ArrayLike | None = None,
    distance: Floats | None = None,
) -> tuple[float, Point]:
    """The EER and its point: where pooled |FAR - FRR| is least, the mean of the two.

    The smaller threshold wins a tie (*Recall@1, EER*). The grid is every pair distance, that is
    every step of both curves, unless `thresholds` are given.
    """
    pairs = pair_table(vectors, labels, metric, distance=distance)
    genuine, impostor = pairs.distance[pairs.genuine], pairs.distance[~pairs.genuine]
    if len(genuine) == 0 or len(impostor) == 0:
        raise ValueError("the EER needs a genuine and an impostor pair")
    t = np.unique(np.asarray(pairs.distance if thresholds is None else thresholds, np.float64))
    accepted_impostor = _accepted(impostor, t)
    rejected_genuine = len(genuine) - _accepted(genuine, t)
    # |FAR - FRR| times both totals, in whole numbers, so that a tie is a tie.
    gap = np.abs(accepted_impostor * len(genuine) - rejected_genuine * len(impostor))
    best = int(np.argmin(gap))
    far = float(accepted_impostor[best] / len(impostor))
    frr = float(rejected_genuine[best] / len(genuine))
    return (far + frr) / 2, Point(float(t[best]), far, frr)


def _codes(labels: Labels) -> tuple[NDArray[Any], Ints]:
    """The classes, sorted, and each row's class number."""
    classes, codes = np.unique(np.asarray(labels), return_inverse=True)
    return classes, codes.astype(np.int64)


def _accepted(values: Floats, thresholds: Floats) -> Ints:
    """How many values are accepted, d <= t, at each threshold: the rule of *Pairs*."""
    return np.searchsorted(np.sort(values), thresholds, side="right").astype(np.int64)
