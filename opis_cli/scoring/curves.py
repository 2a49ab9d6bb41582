"""Rates and utility as functions of the threshold, from counts.

Definitions follow *Threshold-Consistent Margin Loss for Open-World Deep Metric Learning* (Zhang et
al., ICLR 2024, arXiv 2307.04047). All rates and utilities lie in [0, 1].

``columns`` selects among the C thresholds that have counts by class (``grid.class_thresholds``);
``classes`` among the K classes. Rows of the results follow ``classes``.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opis_cli.records import Curve, Floats, Ints, PairCounts
from opis_cli.scoring.borderline import surely_accepted

_CHUNK_VALUES = 2_000_000


@dataclass(frozen=True, slots=True)
class ClassRates:
    """Rates and utility of the evaluable classes at one threshold, each of shape (E,)."""

    far: Curve
    frr: Curve
    utility: Curve


def pooled_frr_at_most(counts: PairCounts) -> Curve:
    """What the pooled FRR at every threshold cannot exceed, whatever the rounding, shape (T,)."""
    return np.asarray((counts.genuine_total - surely_accepted(counts)) / counts.genuine_total)


def class_far(counts: PairCounts, classes: Ints, columns: Ints) -> Curve:
    """Accepted share of the impostor pairs with an end in each class, (classes, columns)."""
    accepted = counts.impostor[np.ix_(classes, columns)]
    return np.asarray(accepted / counts.impostor_pairs[classes, None])


def class_frr(counts: PairCounts, classes: Ints, columns: Ints) -> Curve:
    """Rejected share of the genuine pairs of each evaluable class, (classes, columns)."""
    total = counts.genuine_pairs[classes, None]
    rejected = total - counts.genuine[np.ix_(classes, columns)].astype(np.int64)
    return np.asarray(rejected / total)


def utility(far: Floats, frr: Floats, beta: float) -> Curve:
    """F-score of specificity ``1 - FAR`` and sensitivity ``1 - FRR``; 0 where both are 0.

    ``U = (1 + b^2) spec sens / (b^2 spec + sens)``: ``beta > 1`` lets sensitivity weigh more.
    """
    specificity, sensitivity = 1.0 - np.asarray(far), 1.0 - np.asarray(frr)
    weighted = beta**2 * specificity + sensitivity
    product = (1 + beta**2) * specificity * sensitivity
    return np.asarray(np.divide(product, weighted, out=np.zeros_like(product), where=weighted > 0))


def pooled_utility(counts: PairCounts, beta: float) -> Curve:
    """Utility of the pooled rates at every threshold, shape (T,)."""
    return utility(counts.pooled_far, counts.pooled_frr, beta)


def class_utility(counts: PairCounts, beta: float, classes: Ints, columns: Ints) -> Curve:
    """Utility of each evaluable class, (classes, columns)."""
    return utility(class_far(counts, classes, columns), class_frr(counts, classes, columns), beta)


def evaluable_classes(counts: PairCounts) -> NDArray[np.int64]:
    """Indices of the classes that have a curve, shape (E,)."""
    return np.flatnonzero(counts.evaluable)


def all_columns(counts: PairCounts) -> NDArray[np.int64]:
    """Every column with counts by class, shape (C,)."""
    return np.arange(len(counts.grid.by_class))


def utility_in_parts(
    counts: PairCounts, beta: float, classes: Ints, columns: Ints
) -> Iterator[tuple[Ints, Curve]]:
    """``class_utility`` of some classes at a time, so that memory stays bounded."""
    step = max(1, _CHUNK_VALUES // max(len(columns), 1))
    for start in range(0, len(classes), step):
        part = classes[start : start + step]
        yield part, class_utility(counts, beta, part, columns)


def mean_utility(counts: PairCounts, beta: float, classes: Ints, columns: Ints) -> Curve:
    """Mean over classes of their utility at each column, shape (columns,)."""
    total = np.zeros(len(columns))
    for _, part in utility_in_parts(counts, beta, classes, columns):
        total += part.sum(axis=0)
    return total / max(len(classes), 1)


def best_columns(counts: PairCounts, beta: float, classes: Ints) -> NDArray[np.int64]:
    """Column of each class's own highest utility over the whole grid, shape (classes,)."""
    columns = all_columns(counts)
    parts = utility_in_parts(counts, beta, classes, columns)
    return np.concatenate([columns[:0], *(part.argmax(axis=1) for _, part in parts)])


def class_rates(counts: PairCounts, beta: float, threshold: float) -> ClassRates | None:
    """Rates of the evaluable classes at a grid threshold; None where they were not counted, or
    no class has any. Beyond the last threshold, as at it, every pair is accepted."""
    column, classes = counts.grid.column_of(threshold), evaluable_classes(counts)
    if column is None or len(classes) == 0:
        return None
    far = class_far(counts, classes, np.array([column]))[:, 0]
    frr = class_frr(counts, classes, np.array([column]))[:, 0]
    return ClassRates(far, frr, utility(far, frr, beta))


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
