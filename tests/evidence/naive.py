"""What a pass over all pairs keeps of each row, by brute force in float64. It imports NumPy only.

Meant for up to about 3,000 rows: all distances are computed and kept. Classes are numbered in the
order of ``numpy.unique(labels)``. Where two rows are equally near, the lower row number is first.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Nearest(NamedTuple):
    """Distances to the nearest rows, ascending, and their row numbers (inf and -1: none)."""

    distances: Floats
    rows: Ints


def class_numbers(labels: Any) -> Ints:
    """Return the number of each row's class, from 0 up."""
    return np.unique(np.asarray(labels), return_inverse=True)[1]


def distances(vectors: Any, metric: str) -> Floats:
    """Return all distances, shape (N, N): ``cosine`` or ``euclidean``."""
    x = np.asarray(vectors, dtype=np.float64)
    if metric == "cosine":
        unit = x / np.sqrt((x * x).sum(axis=1, keepdims=True))
        return np.maximum(1 - unit @ unit.T, 0)
    # Row by row: the difference itself, so that copies are at distance 0.
    return np.array([np.sqrt(((x - one) ** 2).sum(axis=1)) for one in x])


def nearest(distance: Floats, allowed: NDArray[np.bool_], k: int) -> Nearest:
    """Return the k nearest of the rows that are allowed for each row, shapes (N, k)."""
    n = len(distance)
    found = Nearest(np.full((n, k), np.inf), np.full((n, k), -1))
    for row in range(n):
        candidates = np.flatnonzero(allowed[row])
        order = candidates[np.argsort(distance[row, candidates], kind="stable")[:k]]
        found.distances[row, : len(order)] = distance[row, order]
        found.rows[row, : len(order)] = order
    return found


def class_means(distance: Floats, classes: Ints, metric: str) -> tuple[Floats, Floats]:
    """Return mean squares of each row to its own class, (N,), and to every class, (N, C).

    A mean square is a mean of cosine distances or of squared Euclidean distances. The row itself is
    left out of its own class. NaN if it is alone.
    """
    square = distance if metric == "cosine" else distance**2
    of_class = np.array([square[:, classes == c].mean(axis=1) for c in range(classes.max() + 1)]).T
    own = np.full(len(classes), np.nan)
    for row in range(len(classes)):
        mates = np.flatnonzero(classes == classes[row])
        mates = mates[mates != row]
        if len(mates):
            own[row] = square[row, mates].mean()
    return own, of_class


def neighbours(
    vectors: Any,
    labels: Any,
    metric: str,
    own: int = 3,
    others: int = 20,
    distance: Floats | None = None,
) -> dict[str, Any]:
    """Return the fields of ``opis_cli.evidence.suspects.Neighbours``.

    ``distance`` is what ``distances`` returned, to save work; ``vectors`` are then not looked at.
    """
    classes = class_numbers(labels)
    distance = distances(vectors, metric) if distance is None else distance
    same = classes[:, None] == classes[None, :]
    near_own = nearest(distance, same & ~np.eye(len(classes), dtype=bool), own)
    near_others = nearest(distance, ~same, others)
    there = near_others.rows >= 0
    other_classes = np.where(there, classes[near_others.rows], -1)
    own_mean, of_class = class_means(distance, classes, metric)
    means = np.take_along_axis(of_class, np.maximum(other_classes, 0), axis=1)
    return {
        "metric": metric,
        "classes": classes,
        "nearest_own": near_own.distances,
        "own_mean": own_mean,
        "nearest_others": near_others.distances,
        "other_classes": other_classes,
        "other_means": np.where(there, means, np.nan),
    }
