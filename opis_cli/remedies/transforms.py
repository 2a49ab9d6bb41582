"""Transforms of vectors, each fitted on training rows: centre, abtt, whiten, wccn.

Each is one affine map, ``(x - mean) @ matrix``, and the score of a pair is the cosine similarity
behind it. Rows are taken as given: their lengths are not changed before the mean is taken.

Sources: Mu and Viswanath, *All-but-the-Top*, ICLR 2018 (``abtt``); Hatch, Kajarekar and Stolcke,
*Within-class covariance normalization*, Interspeech 2006 (``wccn``).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from opis_cli.errors import InputError
from opis_cli.records import Floats, Ints, Numbers
from opis_cli.remedies.recipes import Step

Doubles = NDArray[np.float64]

_CHUNK_VALUES = 4_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Transform:
    """An affine map of vectors.

    Attributes
    ----------
    mean : ndarray of shape (D,), float64
    matrix : ndarray of shape (D, D), float64, optional
        None stands for the identity.
    """

    mean: Doubles
    matrix: Doubles | None = None

    def __call__(self, vectors: Numbers) -> Doubles:
        """Return vectors of shape (N, D) behind the map, float64."""
        centred = np.asarray(vectors, np.float64) - self.mean
        return centred if self.matrix is None else centred @ self.matrix


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """How training rows spread about their mean, or about the means of their classes.

    Attributes
    ----------
    mean : ndarray of shape (D,), float64
        Mean of all rows.
    variances : ndarray of shape (D,)
        Variance along each direction, ascending, in units of the mean of all of them.
    directions : ndarray of shape (D, D)
        A direction a column.
    """

    mean: Doubles
    variances: Floats
    directions: Floats

    def without_top(self, count: int) -> Transform:
        """Return the transform that takes off the directions of the largest variance."""
        dim = len(self.mean)
        if count >= dim:
            raise InputError(f"abtt:{count} takes off {count} of {dim} dimensions; none is left")
        top = self.directions[:, -count:]
        return Transform(self.mean, np.eye(dim) - top @ top.T)

    def whitening(self, shrinkage: float) -> Transform:
        """Return the transform ``C ** -0.5`` of ``(1 - s) C + s trace(C) / D I``."""
        scales = np.sqrt(shrunk(self.variances, shrinkage))
        root = (self.directions / scales) @ self.directions.T
        return Transform(self.mean, root)


def shrunk(variances: Floats, shrinkage: float) -> Floats:
    """Return variances, in units of their mean, drawn towards this mean by a share of 0 to 1."""
    return (1 - shrinkage) * np.maximum(variances, 0) + shrinkage


def fit_transform(step: Step, vectors: Numbers, classes: Ints) -> Transform:
    """Fit a transform on training rows.

    Parameters
    ----------
    step : Step
        A transform whose number is known.
    vectors : ndarray of shape (N, D)
    classes : ndarray of shape (N,), int64
        Class of each row.

    Raises
    ------
    InputError
        There are too few dimensions, all rows are equal, or no class has two rows.
    """
    if step.kind == "centre":
        return Transform(_sum(vectors) / len(vectors))
    spread = spread_of(step.kind, vectors, classes)
    if step.kind == "abtt":
        return spread.without_top(step.whole_number)
    return spread.whitening(float(step.number or 0))


def spread_of(
    kind: str, vectors: Numbers, classes: Ints, dtype: type[np.floating[Any]] = np.float64
) -> Spread:
    """Return the spread that ``abtt`` and ``whiten``, or ``wccn``, are made of.

    In float32, directions and variances take half the time.

    Raises
    ------
    InputError
        All rows are equal; or for ``wccn``, each class has one row.
    """
    mean = _sum(vectors) / len(vectors)
    if kind == "wccn":
        covariance = _within(vectors, classes)
    else:
        covariance = _scatter(vectors, mean) / len(vectors)
    level = np.trace(covariance) / len(mean)
    if not level > 0:
        raise InputError(f"{kind} needs rows that differ, and all of these are equal")
    # Threads do not help so small a matrix, and harm where other work fills the processors.
    with threadpool_limits(1, "blas"):
        return Spread(mean, *np.linalg.eigh((covariance / level).astype(dtype)))


def _within(vectors: Numbers, classes: Ints) -> Doubles:
    """Return the covariance of rows about the mean of their class, pooled over classes, (D, D).

    Classes of one row say nothing of it and are left out.
    """
    _, codes, sizes = np.unique(classes, return_inverse=True, return_counts=True)
    kept = np.flatnonzero(sizes[codes] > 1)
    if not len(kept):
        raise InputError("wccn needs classes of two rows or more, and each class has one row")
    order = kept[np.argsort(codes[kept], kind="stable")]
    begins = np.flatnonzero(np.diff(codes[order], prepend=-1))
    dim = vectors.shape[1]
    scatter = np.zeros((dim, dim))
    step = max(1, _CHUNK_VALUES // dim)
    at = 0
    while at < len(order):
        # Whole classes, so that each mean is that of all rows of its class.
        later = begins[begins >= min(at + step, len(order))]
        end = int(later[0]) if len(later) else len(order)
        rows = np.asarray(vectors[order[at:end]], np.float64)
        starts = begins[(begins >= at) & (begins < end)] - at
        counts = np.diff(starts, append=end - at)
        rows -= np.repeat(np.add.reduceat(rows, starts) / counts[:, None], counts, axis=0)
        scatter += rows.T @ rows
        at = end
    return scatter / len(order)


def _sum(vectors: Numbers) -> Doubles:
    total = np.zeros(vectors.shape[1])
    for part in _parts(vectors):
        total += np.asarray(vectors[part], np.float64).sum(axis=0)
    return total


def _scatter(vectors: Numbers, mean: Doubles) -> Doubles:
    """Return the sum of the outer products of centred rows, shape (D, D)."""
    scatter = np.zeros((len(mean), len(mean)))
    for part in _parts(vectors):
        rows = np.asarray(vectors[part], np.float64) - mean
        scatter += rows.T @ rows
    return scatter


def _parts(vectors: Numbers) -> list[slice]:
    """Cut rows into parts, so that no float64 copy of all rows is made."""
    step = max(1, _CHUNK_VALUES // vectors.shape[1])
    return [slice(start, start + step) for start in range(0, len(vectors), step)]
