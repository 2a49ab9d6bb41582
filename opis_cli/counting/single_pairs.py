"""Distances of single pairs of vectors in float64.

Counting compares in float32, and cannot tell distances apart that lie within its rounding. Here
sums of squared differences are used, so that equal vectors are at distance 0.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from opis_cli.counting.rows import Doubles, unit_rows
from opis_cli.embeddings.bits import packed
from opis_cli.embeddings.clean import as_matrix
from opis_cli.errors import InputError
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


def sides_of(a: Any, b: Any, metric: str) -> tuple[Numbers, Numbers]:
    """Return the vectors that are given for the two sides of pairs, as matrices.

    Parameters
    ----------
    a, b : array-like of shape (n, D) or (D,)
        Under the metric ``hamming`` bits, packed or as one bit a number. Both sides are read alike.
    metric : {"cosine", "euclidean", "hamming", "dot"}

    Returns
    -------
    left, right : ndarrays of shape (n, D)
        Bits as -1 and 1.

    Raises
    ------
    InputError
        One is no matrix of numbers, or the dimensions differ.
    """
    left, right = (
        as_matrix(np.atleast_2d(np.asarray(side)), name) for side, name in ((a, "a"), (b, "b"))
    )
    if left.shape[1] != right.shape[1]:
        raise InputError(
            f"the vectors of a have {left.shape[1]} dimensions and those of b {right.shape[1]}; "
            "both must be of one model"
        )
    if metric != "hamming":
        return left, right
    both = np.concatenate([left, right])
    codes, bits, _ = packed(both, np.arange(len(both)), "the rows of a, and then of b")
    signs = 2 * np.unpackbits(codes.view(np.uint8), axis=1, count=bits).astype(np.int8) - 1
    return signs[: len(left)], signs[len(left) :]


def usable(vectors: Numbers, metric: str) -> NDArray[np.bool_]:
    """Return which vectors have distances, shape (n,): finite ones, and under cosine no zeros."""
    good = np.isfinite(vectors).all(axis=1)
    return np.asarray(good & np.any(vectors, axis=1) if metric == "cosine" else good)


def checked(vectors: Numbers, metric: str) -> Doubles:
    """Return vectors as ``comparable`` does, and refuse those that have no distances.

    Raises
    ------
    InputError
        A vector is not usable.
    """
    bad = np.count_nonzero(~usable(vectors, metric))
    if bad:
        kinds = "NaN, infinity or norm zero" if metric == "cosine" else "NaN or infinity"
        raise InputError(f"{bad} vectors of {kinds}, which have no distance; leave them out")
    return comparable(vectors, metric)


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
