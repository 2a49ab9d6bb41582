"""Pairs of classes that may be one: their rows are as near to each other as the rows of one.

The mean distance between the two classes is no larger than the larger mean distance within. Means
of scores follow from the sums of vectors, which add. A mean distance follows from the mean score,
but not under the Euclidean metric, nor where some pairs are not compared. There all pairs are
compared if they are few. If they are many, the sums find candidates, whose pairs are then compared.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from opis_cli.counting.rows import Rows
from opis_cli.evidence.seen import Seen
from opis_cli.records import Ints

Doubles = NDArray[np.float64]

_NEAR = 1.5
"""Mean over all rows of two classes, in units of the larger mean within, up to which the pairs are
compared. Under the Euclidean metric the root mean square stands for the mean."""
_VALUES = 1 << 22
"""Scores, or values of means, that are held at a time."""
_FEW = 1 << 24
"""Pairs of rows that are all compared."""


def mean_within(seen: Seen) -> Doubles:
    """Return the mean distance of the genuine pairs of each class, -inf without any, shape (K,)."""
    found = np.full(seen.classes, -np.inf)
    np.divide(seen.inside.distances, seen.inside.pairs, out=found, where=seen.inside.pairs > 0)
    return found


def to_merge(seen: Seen) -> Ints:
    """Return the pairs of classes that may be one, of shape (M, 2), in the order of their codes."""
    rows, plan = seen.plan.rows, seen.plan
    within = mean_within(seen)
    exact = plan.is_plain and rows.metric != "euclidean"
    limits = _rounded_up(rows, within)
    if not exact and plan.pairs <= _FEW and seen.classes**2 <= _VALUES:
        return np.argwhere(np.triu(_all_means(seen) <= np.maximum(limits[:, None], limits), 1))
    reach = limits if exact else _rounded_up(rows, _NEAR * within)
    found = [np.zeros((0, 2), np.int64)]
    for first, means in _means_between(seen):
        near = means <= np.maximum(reach[first : first + len(means), None], reach[first:])
        found.append(first + np.argwhere(np.triu(near, 1)))
    pairs = np.concatenate(found)
    if exact or not len(pairs):
        return pairs
    of_class = seen.rows_by_class
    kept = np.zeros(len(pairs), np.bool_)
    for at, (one, two) in enumerate(pairs.tolist()):
        mean = _mean_of(seen, of_class[one], of_class[two])
        kept[at] = mean <= max(limits[one], limits[two])
    return pairs[kept]


def _rounded_up(rows: Rows, distances: Doubles) -> Doubles:
    """Return distances whose scores are lower by two roundings; -inf stays."""
    higher = rows.distance(rows.score(np.maximum(distances, 0)) - 2 * rows.rounding)
    return np.where(distances < 0, -np.inf, higher)


def _means_between(seen: Seen) -> Iterator[tuple[int, Doubles]]:
    """Yield the mean distances between some classes, from a first one on, and all from it on.

    The mean is over all rows of two classes. It is a root mean square under the Euclidean metric.
    """
    rows, classes = seen.plan.rows, seen.classes
    sizes = np.maximum(np.bincount(seen.codes, minlength=classes), 1)
    halves = np.bincount(seen.codes, rows.half_squares, minlength=classes) / sizes
    means = np.zeros((classes, rows.vectors.shape[1]))
    by_class = np.argsort(seen.codes, kind="stable")
    present, starts = np.unique(seen.codes[by_class], return_index=True)
    step = max(1, _VALUES // max(rows.vectors.shape[1] * int(sizes.max()), 1))
    for at in range(0, len(present), step):
        ends = np.append(starts, len(by_class))[at : at + step + 1]
        block = rows.vectors[by_class[ends[0] : ends[-1]]].astype(np.float64)
        means[present[at : at + step]] = np.add.reduceat(block, ends[:-1] - ends[0])
    means /= sizes[:, None]
    step = max(1, _VALUES // classes)
    for first in range(0, classes, step):
        part = slice(first, first + step)
        scores = means[part] @ means[first:].T
        scores -= halves[part, None] + halves[first:]
        yield first, rows.distance(scores)


def _all_means(seen: Seen) -> Doubles:
    """Return the mean distance between each two classes, shape (K, K); inf without pairs."""
    plan, codes = seen.plan, seen.codes
    by_class = np.argsort(codes, kind="stable")
    ((left, right),) = plan.sides(by_class, by_class, apart=False)
    total, number = np.zeros((2, seen.classes, seen.classes))
    others, ends = np.unique(codes[right], return_index=True)
    step = max(1, _VALUES // len(right))
    for start in range(0, len(left), step):
        part = left[start : start + step]
        paired = plan.are_pairs(part[:, None], right).astype(np.float64)
        distances = plan.rows.distance(plan.rows.scores_of(part, right)) * paired
        mine, starts = np.unique(codes[part], return_index=True)
        for into, values in ((total, distances), (number, paired)):
            by_columns = np.add.reduceat(values, ends, axis=1)
            into[np.ix_(mine, others)] += np.add.reduceat(by_columns, starts, axis=0)
    if plan.searching:
        total, number = total + total.T, number + number.T
    return np.divide(total, number, out=np.full_like(total, np.inf), where=number > 0)


def _mean_of(seen: Seen, one: Ints, two: Ints) -> float:
    """Return the mean distance of the pairs of rows ``one`` and ``two``; inf without pairs."""
    plan, total, number = seen.plan, 0.0, 0
    for left, right in plan.sides(one, two, apart=True):
        step = max(1, _VALUES // max(len(right), 1))
        for start in range(0, len(left), step):
            part = left[start : start + step]
            paired = plan.are_pairs(part[:, None], right)
            distances = plan.rows.distance(plan.rows.scores_of(part, right))
            total += float(distances[paired].sum())
            number += int(np.count_nonzero(paired))
    return total / number if number else np.inf
