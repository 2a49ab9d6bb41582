"""What single rows look like among their neighbours: the input of the suspects' score."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opis_cli.evidence.seen import Seen
from opis_cli.records import Ints

Doubles = NDArray[np.float64]
_VALUES = 1 << 22
"""Values of vectors that are held at a time."""


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The nearest rows of each row, and its mean distance to classes. N rows, as in ``Plan.rows``.

    Attributes
    ----------
    own : ndarray of shape (N, 3), float64
        Distances to the nearest rows of the same class, rising; inf where there are fewer.
    others : ndarray of shape (N, 20), float64
        Distances to the nearest rows of other classes, rising; inf where there are fewer.
    other_classes : ndarray of shape (N, 20), int64
        Classes of these rows; -1 where there are fewer.
    own_mean, best_other_mean : ndarray of shape (N,), float64
        Mean distance to the other rows of the same class, and the least mean distance to one of
        ``other_classes``. Under the Euclidean metric they are root mean squares. inf without such
        rows.
    """

    own: Doubles
    others: Doubles
    other_classes: Ints
    own_mean: Doubles
    best_other_mean: Doubles


def neighbours(seen: Seen) -> Neighbours:
    """Collect what is known of the neighbours of each row."""
    rows = seen.plan.rows
    known = seen.others.rows >= 0
    own_mean, best = _means(seen)
    return Neighbours(
        own=rows.distance(seen.own.scores),
        others=rows.distance(seen.others.scores),
        other_classes=np.where(known, seen.codes[seen.others.rows], -1),
        own_mean=own_mean,
        best_other_mean=best,
    )


def _means(seen: Seen) -> tuple[Doubles, Doubles]:
    """Return the mean distances of each row to its class and to the best other class, (N,).

    The rows of a run of ``rows.labels`` are those of one class that a row may be paired with. The
    mean score with them follows from their sum of vectors.
    """
    rows = seen.plan.rows
    runs = np.cumsum(np.diff(rows.labels, prepend=rows.labels[0]) != 0)
    starts = np.flatnonzero(np.diff(runs, prepend=-1))
    sizes = np.bincount(runs)
    sums = np.add.reduceat(rows.vectors, starts, axis=0, dtype=np.float64)
    halves = np.bincount(runs, rows.half_squares)
    own_mean = np.full(len(runs), np.inf)
    best = np.full(len(runs), np.inf)
    step = max(1, _VALUES // (rows.vectors.shape[1] * (1 + seen.others.rows.shape[1])))
    for start in range(0, len(runs), step):
        part = slice(start, start + step)
        vectors = rows.vectors[part].astype(np.float64)
        half = rows.half_squares[part].astype(np.float64)
        own_row, other = seen.own.rows[part, 0], seen.others.rows[part]
        run = runs[np.maximum(own_row, 0)]
        itself = runs[part] == run
        number = sizes[run] - itself
        total = np.einsum("nd,nd->n", vectors, sums[run]) - halves[run]
        total -= itself * (np.einsum("nd,nd->n", vectors, vectors) - half)
        has = (own_row >= 0) & (number > 0)
        mean = rows.distance(total / np.maximum(number, 1) - half)
        own_mean[part] = np.where(has, mean, np.inf)
        run = runs[np.maximum(other, 0)]
        scores = np.einsum("nd,nkd->nk", vectors, sums[run]) - halves[run]
        means = rows.distance(scores / sizes[run] - half[:, None])
        best[part] = np.where(other >= 0, means, np.inf).min(axis=1, initial=np.inf)
    return own_mean, best
