"""Rates and utility as functions of the threshold, from counts.

Definitions follow *Threshold-Consistent Margin Loss for Open-World Deep Metric Learning* (Zhang et
al., ICLR 2024, arXiv 2307.04047). All rates and utilities lie in [0, 1].

``columns`` selects among the C thresholds that have counts by class (``grid.class_thresholds``);
``classes`` among the K classes. Rows of the results follow ``classes``.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from opis_cli.borderline import surely_accepted
from opis_cli.records import Floats, Ints, PairCounts

Curve = NDArray[np.float64]
_CHUNK_VALUES = 2_000_000


def pooled_far(counts: PairCounts) -> Curve:
    """Accepted share of all impostor pairs, each once, at every threshold, shape (T,)."""
    return np.asarray(counts.pooled_impostor / counts.impostor_total)


def pooled_frr(counts: PairCounts) -> Curve:
    """Rejected share of all genuine pairs at every threshold, shape (T,)."""
    return np.asarray((counts.genuine_total - counts.pooled_genuine) / counts.genuine_total)


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
    return utility(pooled_far(counts), pooled_frr(counts), beta)


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
