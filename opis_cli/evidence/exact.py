"""Distances of single pairs in float64, as products in float32 cannot tell near ones apart."""

import numpy as np
from numpy.typing import NDArray

from opis_cli.counting.rows import ROUNDING, Rows
from opis_cli.evidence.seen import Lists
from opis_cli.records import Embeddings, Ints

Doubles = NDArray[np.float64]
_VALUES = 1 << 21
"""Values of vectors that are compared at a time."""


def distances_of(embeddings: Embeddings, metric: str, one: Ints, two: Ints) -> Doubles:
    """Return the distances of pairs of rows of the embeddings, shape (P,).

    Sums of squared differences are used, so that equal rows are at distance 0.
    """
    found = np.empty(len(one))
    step = max(1, _VALUES // embeddings.vectors.shape[1])
    for start in range(0, len(one), step):
        part = slice(start, start + step)
        left, right = (
            np.asarray(embeddings.vectors[rows[part]], np.float64) for rows in (one, two)
        )
        if metric == "cosine":
            for block in (left, right):
                block /= np.abs(block).max(axis=1, keepdims=True)
                block /= np.sqrt(np.einsum("nd,nd->n", block, block))[:, None]
        left -= right
        squares = np.einsum("nd,nd->n", left, left)
        found[part] = squares / 2 if metric == "cosine" else np.sqrt(squares)
    return found


def rounded(distances: Doubles, rows: Rows) -> Doubles:
    """Return numbers in the order of distances that are equal where only rounding differs."""
    return np.round(distances / (1e-12 * rows.largest_distance))


def first_of_lists(
    embeddings: Embeddings, rows: Rows, lists: Lists
) -> tuple[Doubles, NDArray[np.int64]]:
    """Return the distance of each row to the nearest row of its list, and that row.

    Rows of the list that float32 cannot tell apart are compared in float64. In a tie the row with
    the lower number in the embeddings is the nearer one.

    Returns
    -------
    distances : ndarray of shape (N,), float64
        inf where the list is empty.
    nearest : ndarray of shape (N,), int64
        Numbered as in ``rows``; -1 where the list is empty.
    """
    order, count = rows.order, len(lists.rows)
    close = lists.scores >= lists.scores[:, :1] - 4 * ROUNDING * rows.scale
    row, place = np.nonzero(close & (lists.rows >= 0))
    other = lists.rows[row, place].astype(np.int64)
    distances = distances_of(embeddings, rows.metric, order[row], order[other])
    best = np.lexsort((order[other], rounded(distances, rows), row))
    lead = best[np.flatnonzero(np.diff(row[best], prepend=-1))]
    least, nearest = np.full(count, np.inf), np.full(count, -1, np.int64)
    least[row[lead]], nearest[row[lead]] = distances[lead], other[lead]
    return least, nearest
