"""Distances of single pairs of vectors in float64.

Counting compares in float32, and cannot tell distances apart that lie within its rounding. Here
sums of squared differences are used, so that equal vectors are at distance 0.
"""

import numpy as np

from opis_cli.counting.rows import Doubles, unit_rows
from opis_cli.records import Numbers


def comparable(vectors: Numbers, metric: str) -> Doubles:
    """Return vectors in the form in which their distances are computed.

    Parameters
    ----------
    vectors : ndarray of shape (n, D)
        Under the metric ``hamming`` bits as -1 and 1.
    metric : {"cosine", "euclidean", "hamming", "dot"}
    """
    block = np.asarray(vectors, np.float64)
    return unit_rows(block) if metric == "cosine" else block


def distances_of_pairs(left: Doubles, right: Doubles, metric: str) -> Doubles:
    """Return the distance of each row of ``left`` to the same row of ``right``, shape (n,).

    Both have the shape (n, D), as ``comparable`` returns them. The distance of the metric ``dot``
    is the negative of the inner product.
    """
    if metric == "dot":
        return np.asarray(-np.einsum("nd,nd->n", left, right))
    difference = left - right
    return _from_squares(np.einsum("nd,nd->n", difference, difference), metric)


def distances_of_all(left: Doubles, right: Doubles, metric: str) -> Doubles:
    """Return the distances of all rows of ``left`` to all rows of ``right``, shape (n, m).

    The vectors have the shapes (n, D) and (m, D), as ``comparable`` returns them. The distance of
    the metric ``dot`` is the negative of the inner product.
    """
    if metric == "dot":
        return np.asarray(-(left @ right.T))
    # Without their mean, the rounding is relative to the spread of the vectors.
    middle = right.mean(axis=0)
    left, right = left - middle, right - middle
    lengths = np.add.outer(np.einsum("nd,nd->n", left, left), np.einsum("nd,nd->n", right, right))
    squares = lengths - 2 * (left @ right.T)
    # Equal vectors are at distance 0 here too.
    squares[squares < _ROUNDING * lengths] = 0.0
    return _from_squares(squares, metric)


_ROUNDING = 1e-14
"""Squared difference of equal vectors, at most about, over the sum of their squared lengths."""


def _from_squares(squares: Doubles, metric: str) -> Doubles:
    """Return the distances of vectors from their squared differences."""
    if metric == "euclidean":
        return np.sqrt(squares)
    # Unit vectors at distance d have the square 2 d. Bits of -1 and 1 have 4 for each difference.
    return np.asarray(squares / (4 if metric == "hamming" else 2))
