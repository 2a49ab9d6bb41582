"""Distances of single pairs in float64, as products in float32 cannot tell near ones apart."""

import numpy as np
from numpy.typing import NDArray

from opis_cli.counting.plan import Plan
from opis_cli.counting.rows import Rows
from opis_cli.counting.single_pairs import comparable, distances_of_pairs
from opis_cli.evidence.seen import Lists
from opis_cli.records import Embeddings, Floats, Ints

Doubles = NDArray[np.float64]
_VALUES = 1 << 21
"""Values of vectors, or scores, that are compared at a time."""
_MOST_SEARCHED = 50_000_000
"""Pairs that are compared again for rows with more ties than their list holds. With more pairs, the
nearest of the list stands."""


def distances_of(embeddings: Embeddings, rows: Rows, one: Ints, two: Ints) -> Doubles:
    """Return the distances of pairs of rows, shape (P,).

    The distance of an inner product is its negative.

    Parameters
    ----------
    embeddings : Embeddings
    rows : Rows
    one, two : ndarrays of shape (P,)
        Rows, numbered as in ``rows``.
    """
    found = np.empty(len(one))
    # Prepared rows of bits are exact, and the embeddings may be packed.
    vectors = rows.vectors if rows.whole else embeddings.vectors
    partners = vectors if embeddings.partners is None else embeddings.partners
    places = (one, two) if rows.whole else (rows.order[one], rows.order[two])
    step = max(1, _VALUES // vectors.shape[1])
    for start in range(0, len(one), step):
        left, right = (
            comparable(side[some[start : start + step]], rows.metric)
            for side, some in zip((vectors, partners), places, strict=True)
        )
        found[start : start + step] = distances_of_pairs(left, right, rows.metric)
    return found


def rounded(distances: Doubles, rows: Rows) -> Doubles:
    """Return numbers in the order of distances that are equal where only rounding differs."""
    return np.round(distances / (1e-12 * rows.largest_distance))


def first_of_lists(
    embeddings: Embeddings, plan: Plan, lists: Lists, *, genuine: bool
) -> tuple[Doubles, NDArray[np.int64]]:
    """Return the distance of each row to the nearest row of its list, and that row.

    Rows that float32 cannot tell apart are compared in float64. In a tie the row with the lower
    number in the embeddings is the nearer one.

    Parameters
    ----------
    embeddings : Embeddings
    plan : Plan
    lists : Lists
        Nearest rows of the same class if ``genuine``, else of other classes.
    genuine : bool

    Returns
    -------
    distances : ndarray of shape (N,), float64
        inf where the list is empty.
    nearest : ndarray of shape (N,), int64
        Numbered as in ``plan.rows``; -1 where the list is empty.
    """
    rows = plan.rows
    order, count = rows.order, len(lists.rows)
    close = lists.scores >= lists.scores[:, :1] - 4 * rows.rounding
    close &= lists.rows >= 0
    row, place = np.nonzero(close)
    other = lists.rows[row, place].astype(np.int64)
    full = np.flatnonzero(close.all(axis=1))
    if len(full) * count <= max(_MOST_SEARCHED, plan.pairs // 20):
        more = _candidates(plan, full, lists.scores[:, 0], genuine=genuine)
        row, other = np.append(row, more[0]), np.append(other, more[1])
    distances = distances_of(embeddings, rows, row, other)
    best = np.lexsort((order[other], rounded(distances, rows), row))
    lead = best[np.flatnonzero(np.diff(row[best], prepend=-1))]
    least, nearest = np.full(count, np.inf), np.full(count, -1, np.int64)
    least[row[lead]], nearest[row[lead]] = distances[lead], other[lead]
    return least, nearest


def _candidates(plan: Plan, wanted: Ints, best: Floats, *, genuine: bool) -> Ints:
    """Return the pairs of some rows with all rows within a rounding of their best, (2, P).

    A list may lack such rows if there are more than it holds.
    """
    found: list[Ints] = [np.zeros((2, 0), np.int64)]
    slack, everyone = 4 * plan.rows.rounding, np.arange(len(best))
    for start in range(0, len(wanted), max(1, _VALUES // len(best))):
        some = wanted[start : start + max(1, _VALUES // len(best))]
        close = plan.rows.scores_of(some, everyone) >= best[some, None] - slack
        close &= (plan.truth[some, None] == plan.truth) == genuine
        i, j = np.nonzero(close)
        left, right = np.minimum(some[i], j), np.maximum(some[i], j)
        if plan.searching:
            searches = (left < plan.queries) & (right >= plan.queries)
            i, j, left, right = i[searches], j[searches], left[searches], right[searches]
        paired = plan.are_pairs(left, right)
        found.append(np.stack([some[i[paired]], j[paired]]))
    return np.concatenate(found, axis=1)
