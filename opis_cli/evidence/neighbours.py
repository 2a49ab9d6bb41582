"""Collect what the score of suspects needs of each row, from what the look at all pairs kept."""

import numpy as np

from opis_cli.counting.rows import Rows
from opis_cli.evidence.seen import Seen
from opis_cli.evidence.suspects import Neighbours
from opis_cli.records import Floats

_VALUES = 1 << 22
"""Values of vectors that are held at a time."""


def neighbours(seen: Seen) -> Neighbours:
    """Return the nearest rows of each row, and its means to classes, as in ``Plan.rows``."""
    rows = seen.plan.rows
    known = seen.others.rows >= 0
    own_mean, other_means = _means(seen)
    return Neighbours(
        metric=rows.metric,
        classes=seen.codes,
        nearest_own=rows.distance(seen.own.scores),
        own_mean=own_mean,
        nearest_others=rows.distance(seen.others.scores),
        other_classes=np.where(known, seen.codes[seen.others.rows], -1),
        other_means=other_means,
    )


def _square(rows: Rows, scores: Floats) -> Floats:
    """Return the distances of scores, squared under the Euclidean metric."""
    distances = rows.distance(scores)
    return distances**2 if rows.metric == "euclidean" else distances


def _means(seen: Seen) -> tuple[Floats, Floats]:
    """Return the mean squares of each row to its class, (N,), and to classes of others, (N, K).

    The rows of a run of ``rows.labels`` are those of one class that a row may be paired with. The
    mean score with them follows from their sum of vectors.
    """
    rows = seen.plan.rows
    runs = np.cumsum(np.diff(rows.labels, prepend=rows.labels[0]) != 0)
    starts = np.flatnonzero(np.diff(runs, prepend=-1))
    sizes = np.bincount(runs)
    sums = np.add.reduceat(rows.vectors, starts, axis=0, dtype=np.float64)
    halves = np.bincount(runs, rows.half_squares)
    own_mean, other_means = np.full(len(runs), np.nan), np.full(seen.others.rows.shape, np.nan)
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
        means = _square(rows, total / np.maximum(number, 1) - half)
        own_mean[part] = np.where((own_row >= 0) & (number > 0), means, np.nan)
        run = runs[np.maximum(other, 0)]
        scores = np.einsum("nd,nkd->nk", vectors, sums[run]) - halves[run]
        means = _square(rows, scores / sizes[run] - half[:, None])
        other_means[part] = np.where(other >= 0, means, np.nan)
    return own_mean, other_means
