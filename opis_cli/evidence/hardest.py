"""The hardest pairs: the closest accepted impostors, and the farthest rejected genuine pairs.

The look at all pairs kept the best score of each class pair, and the least genuine score of each
class. They tell which few class pairs can have a pair in the list. Only the pairs of these are
compared again: in float32 to find candidates, and the candidates in float64.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opis_cli.evidence.exact import distances_of, rounded
from opis_cli.evidence.seen import Seen
from opis_cli.records import Embeddings, Floats, Ints

_VALUES = 1 << 22
"""Scores that are held at a time."""


@dataclass(frozen=True, slots=True)
class Hardest:
    """Pairs of rows, the hardest first. All arrays have the shape (P,).

    Attributes
    ----------
    one, two : ndarray, int64
        Numbers of the rows in the embeddings, ``one < two``.
    distances : ndarray, float64
    """

    one: Ints
    two: Ints
    distances: NDArray[np.float64]


def false_accepts(
    embeddings: Embeddings, seen: Seen, top: int, per_class_pair: int, of_class: int | None = None
) -> Hardest:
    """Return the closest accepted impostor pairs, with few of each pair of classes.

    Parameters
    ----------
    embeddings : Embeddings
    seen : Seen
    top : int
        Most pairs to return.
    per_class_pair : int
        Most pairs of one pair of classes.
    of_class : int, optional
        Code of a class that a row of each pair must be of.
    """
    pairs, best = np.stack(seen.confused_codes, axis=1), -seen.confused.best
    if of_class is not None:
        mine = (pairs == of_class).any(axis=1)
        pairs, best = pairs[mine], best[mine]
    leading = pairs[_leading(best, top, seen)]
    return _listed(embeddings, seen, leading, top, per_class_pair, closest=True)


def false_rejects(
    embeddings: Embeddings, seen: Seen, top: int, per_class: int, of_class: int | None = None
) -> Hardest:
    """Return the farthest rejected genuine pairs, with few of each class; see ``false_accepts``."""
    classes = np.flatnonzero(seen.inside.rejected > 0)
    if of_class is not None:
        classes = classes[classes == of_class]
    classes = classes[_leading(seen.inside.least[classes], top, seen)]
    pairs = np.stack([classes, classes], axis=1)
    return _listed(embeddings, seen, pairs, top, per_class, closest=False)


def _leading(values: Floats, top: int, seen: Seen) -> NDArray[np.bool_]:
    """Return which values are among the ``top`` lowest, or within a rounding of these."""
    if len(values) <= top:
        return np.ones(len(values), np.bool_)
    last = np.partition(values, top - 1)[top - 1]
    return np.asarray(values <= last + _slack(seen))


def _slack(seen: Seen) -> float:
    return 4 * seen.plan.rows.rounding


def _listed(
    embeddings: Embeddings, seen: Seen, class_pairs: Ints, top: int, limit: int, *, closest: bool
) -> Hardest:
    """Compare the rows of class pairs, of shape (M, 2), and list their hardest pairs."""
    of_class = seen.rows_by_class
    found: list[Ints] = [np.zeros((2, 0), np.int64)]
    for one, two in class_pairs.tolist():
        for left, right in seen.plan.sides(of_class[one], of_class[two], apart=one != two):
            found += _candidates(seen, left, right, limit, closest=closest)
    return _first(embeddings, seen, np.concatenate(found, axis=1), top, limit, closest=closest)


def _first(
    embeddings: Embeddings, seen: Seen, places: Ints, top: int, limit: int, *, closest: bool
) -> Hardest:
    """Return the hardest of some pairs of rows, of shape (2, P), by distances in float64."""
    rows, order = seen.plan.rows, seen.plan.rows.order
    distances = distances_of(embeddings, rows, *places)
    pairs = np.sort(order[places], axis=0)
    # A pair at the threshold is accepted however its score was rounded, as in the count.
    accepted = distances <= rows.distance(np.array(seen.cut))
    pairs, distances = pairs[:, accepted == closest], distances[accepted == closest]
    key = rounded(distances, rows) if closest else -rounded(distances, rows)
    place = np.lexsort((pairs[1], pairs[0], key))
    pairs, distances = pairs[:, place], distances[place]
    kept = rank_within(np.sort(embeddings.labels[pairs], axis=0)) < limit
    return Hardest(pairs[0, kept][:top], pairs[1, kept][:top], distances[kept][:top])


def _candidates(
    seen: Seen, left: Ints, right: Ints, limit: int, *, closest: bool
) -> Iterator[Ints]:
    """Yield pairs of rows, of shape (2, P): the ``limit`` hardest, and those within a rounding."""
    if not len(left) or not len(right):
        return
    step = max(1, _VALUES // len(right))
    for start in range(0, len(left), step):
        part = left[start : start + step]
        scores = seen.plan.rows.scores_of(part, right)
        paired = seen.plan.are_pairs(part[:, None], right)
        if not closest and not seen.plan.searching:
            paired &= part[:, None] < right
        values = np.where(paired, scores if closest else -scores, -np.inf)
        wanted = min(limit, values.size)
        last = np.partition(values, values.size - wanted, axis=None)[values.size - wanted]
        i, j = np.nonzero((values >= last - _slack(seen)) & (values > -np.inf))
        yield np.stack([part[i], right[j]])


def errors_of_rows(
    embeddings: Embeddings, seen: Seen, mine: Ints, top: int, limit: int, *, closest: bool
) -> Hardest:
    """Return the hardest pairs in error that have one of some searching rows.

    Parameters
    ----------
    embeddings : Embeddings
    seen : Seen
    mine : ndarray of shape (R,), int64
        The rows, as in ``Plan.rows``.
    top, limit : int
        Most pairs to return, and most of one pair of classes.
    closest : bool
        Whether to list accepted impostor pairs, not rejected genuine ones.
    """
    plan, slack = seen.plan, _slack(seen)
    ((left, right),) = plan.sides(mine, np.arange(len(seen.codes)), apart=False)
    among = np.isin(right, left)
    pairs, values = np.zeros((2, 0), np.int64), np.zeros(0, np.float32)
    step = max(1, _VALUES // len(right))
    for start in range(0, len(left), step):
        part = left[start : start + step]
        scores = plan.rows.scores_of(part, right)
        wanted = plan.are_pairs(part[:, None], right)
        wanted &= (seen.codes[part, None] != seen.codes[right]) == closest
        wanted &= scores >= seen.cut - slack if closest else scores < seen.cut + slack
        # A pair of two of the rows stands once.
        wanted &= ~among | (part[:, None] < right)
        i, j = np.nonzero(wanted)
        more = scores[i, j] if closest else -scores[i, j]
        pairs = np.concatenate([pairs, np.stack([part[i], right[j]])], axis=1)
        values = np.append(values, more)
        kept = _hardest(np.sort(seen.codes[pairs], axis=0), values, top, limit, slack)
        pairs, values = pairs[:, kept], values[kept]
    return _first(embeddings, seen, pairs, top, limit, closest=closest)


def _hardest(codes: Ints, values: Floats, top: int, limit: int, slack: float) -> Ints:
    """Return which pairs may be listed: the highest values, and those within a rounding of them.

    ``codes`` has the shape (2, P). Of equal codes, the ``limit`` highest values may be listed.
    """
    if not len(values):
        return np.zeros(0, np.int64)
    order = np.lexsort((-values, codes[1], codes[0]))
    starts = np.flatnonzero(np.append(True, np.diff(codes[:, order]).any(axis=0)))
    sizes = np.diff(starts, append=len(order))
    falling = values[order]
    last = falling[starts + np.minimum(sizes, limit) - 1]
    kept = falling >= np.repeat(last, sizes) - slack
    within = np.arange(len(order)) - np.repeat(starts, sizes) < limit
    if np.count_nonzero(within) > top:
        kept &= falling >= np.partition(falling[within], -top)[-top] - slack
    return order[kept]


def rank_within(groups: Ints) -> Ints:
    """Return the rank of each column among the equal columns before it, shape (P,)."""
    if not groups.shape[1]:
        return np.zeros(0, np.int64)
    number = np.unique(groups, axis=1, return_inverse=True)[1].ravel()
    order = np.argsort(number, kind="stable")
    rank = np.empty(len(number), np.int64)
    rank[order] = np.arange(len(number)) - np.searchsorted(number[order], number[order])
    return rank
