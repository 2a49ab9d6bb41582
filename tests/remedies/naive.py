"""Remedies by their definitions in the design's metrics.md, in float64, one pair at a time.

It imports NumPy only and shares no code with the package that it checks. A cohort is all training
rows, or those that are given. Meant for a few hundred rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Steps = Sequence[tuple[str, float | None]]


@dataclass(frozen=True)
class Rows:
    """Vectors (N, D), the class of each row, and its group where rows have groups."""

    vectors: NDArray[Any]
    classes: NDArray[Any]
    groups: NDArray[Any] | None = None

    def some(self, rows: NDArray[Any]) -> Rows:
        groups = None if self.groups is None else self.groups[rows]
        return Rows(self.vectors[rows], self.classes[rows], groups)


def steps_of(name: str) -> list[tuple[str, float | None]]:
    """The steps of a name such as ``centre+asnorm:9``."""
    parts = [part.partition(":") for part in name.split("+")]
    return [(kind, float(number) if number else None) for kind, _, number in parts]


def transformed(steps: Steps, training: Rows, vectors: NDArray[Any]) -> Floats:
    """Unit vectors behind the transforms among some steps."""
    seen, found = np.float64(training.vectors), np.float64(vectors)
    for kind, number in steps:
        if kind in ("centre", "abtt", "whiten", "wccn"):
            mean = seen.mean(axis=0)
            matrix = _matrix(kind, number, seen, training.classes)
            seen, found = (seen - mean) @ matrix, (found - mean) @ matrix
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def _matrix(kind: str, number: float | None, rows: Floats, classes: NDArray[Any]) -> Floats:
    centred, dim = rows - rows.mean(axis=0), rows.shape[1]
    if kind == "centre":
        return np.eye(dim)
    if kind == "abtt":
        principal = np.linalg.svd(centred, full_matrices=False)[2][: int(number or 0)]
        return np.eye(dim) - sum(np.outer(one, one) for one in principal)
    if kind == "wccn":
        members = [rows[classes == name] for name in np.unique(classes)]
        centred = np.vstack([own - own.mean(axis=0) for own in members if len(own) > 1])
    covariance = sum(np.outer(row, row) for row in centred) / len(centred)
    assert number is not None
    level = np.trace(covariance) / dim
    # The inverse root by Newton's iteration (Denman and Beavers), not by eigenvectors.
    root, inverse = (1 - number) * covariance / level + number * np.eye(dim), np.eye(dim)
    for _ in range(60):
        root, inverse = (
            (root + np.linalg.inv(inverse)) / 2,
            (inverse + np.linalg.inv(root)) / 2,
        )
    return inverse


def scores(
    steps: Steps,
    training: Rows,
    rows: Rows,
    *,
    cohort: Rows | None = None,
    max_far: float = 0.01,
    centroids: Floats | None = None,
) -> Floats:
    """Score of every two rows, (N, N), under a remedy that was fitted on training rows.

    The class of a row may be one of the cohort's, whose rows then do not count for the row.
    ``centroids`` are the clusters' of ``fsn``.
    """
    units = transformed(steps, training, rows.vectors)
    similar = units @ units.T
    kind, number = steps[-1]
    if kind in ("centre", "abtt", "whiten", "wccn"):
        return similar
    others = training if cohort is None else cohort
    against = transformed(steps, training, others.vectors)
    if kind == "fsn":
        assert centroids is not None
        own = cluster_offsets(against, others.classes, centroids, max_far)[
            nearest(units, centroids)
        ]
        return similar - (own[:, None] + own) / 2
    if kind == "group":
        assert others.groups is not None and rows.groups is not None
        by_group = group_offsets(against, others, max_far)
        own = np.array([by_group.get(group, 0.0) for group in rows.groups])
        return similar - np.maximum(own[:, None], own)
    statistics = [
        _cohort_statistics(unit @ against[others.classes != name].T, kind, number)
        for unit, name in zip(units, rows.classes, strict=True)
    ]
    mean, deviation = np.transpose(statistics)
    if kind == "csls":
        return 2 * similar - mean[:, None] - mean
    return ((similar - mean[:, None]) / deviation[:, None] + (similar - mean) / deviation) / 2


def _cohort_statistics(similar: Floats, kind: str, number: float | None) -> tuple[float, float]:
    """Mean and standard deviation of a row's similarity to the cohort, or to its closest rows."""
    closest = similar if kind == "snorm" else np.sort(similar)[::-1][: int(number or 0)]
    return closest.mean(), closest.std()


def nearest(units: Floats, centroids: Floats) -> NDArray[np.int64]:
    return np.array([np.linalg.norm(centroids - unit, axis=1).argmin() for unit in units])


def level(similar: Sequence[float], max_far: float) -> float:
    """The largest similarity that more than the allowed share of impostor pairs reach."""
    found = np.sort(similar)
    reaching = len(found) - np.searchsorted(found, found, side="left")
    return found[reaching > max_far * len(found) + 1e-9].max()


def _offset(own: Sequence[float], whole: float, max_far: float, pairs: float) -> float:
    return level(own, max_far) - whole if pairs * max_far >= 3 else 0.0


def cluster_offsets(
    units: Floats, classes: NDArray[Any], centroids: Floats, max_far: float
) -> Floats:
    """A cluster's own threshold, for its rows against all others, less that of all pairs."""
    similar, clusters = units @ units.T, nearest(units, centroids)
    impostor = classes[:, None] != classes
    whole = level(similar[impostor], max_far)
    pairs = [
        similar[clusters == place][impostor[clusters == place]] for place in range(len(centroids))
    ]
    return np.array([_offset(own, whole, max_far, len(own)) for own in pairs])


def group_offsets(units: Floats, rows: Rows, max_far: float) -> dict[Any, float]:
    """A group's own threshold, for pairs within it, less that of all pairs."""
    similar = units @ units.T
    first, second = np.triu_indices(len(units), k=1)
    impostor = rows.classes[first] != rows.classes[second]
    first, second = first[impostor], second[impostor]
    whole = level(similar[first, second], max_far)
    found = {}
    for group in np.unique(rows.groups):
        own = (rows.groups[first] == group) & (rows.groups[second] == group)
        pairs = similar[first[own], second[own]]
        found[group] = _offset(pairs, whole, max_far, len(pairs))
    return found


@dataclass(frozen=True)
class Pairs:
    """Scored pairs: the score of each, its two classes, and whether they are one class."""

    score: Floats
    first: NDArray[Any]
    second: NDArray[Any]

    @property
    def genuine(self) -> NDArray[np.bool_]:
        return self.first == self.second


def frr_at(pairs: Pairs, max_far: float) -> float:
    """The FRR at the lowest score threshold whose FAR is at most a bound: accepted are more."""
    impostors, genuine = np.sort(pairs.score[~pairs.genuine])[::-1], pairs.score[pairs.genuine]
    allowed = int(np.floor(max_far * len(impostors) * (1 + 1e-12)))
    if allowed >= len(impostors):
        return 0.0
    # Just above the first impostor pair that is one too many.
    return float((genuine <= impostors[allowed]).mean())


def consistency(pairs: Pairs, low: float = 0.01, high: float = 0.1) -> dict[str, float]:
    """OPIS and 10%-OPIS over the scores with a pooled FAR in a range, and over its logarithm."""
    impostors = np.sort(pairs.score[~pairs.genuine])[::-1]
    count = len(impostors)
    ends = [int(np.floor(far * count * (1 + 1e-12))) for far in (low, high)]
    steps = (np.arange(20_000) + 0.5) / 20_000
    fars = 10 ** (np.log10(ends[0]) + steps * np.log10(ends[1] / ends[0])) / count
    scales = {
        "": impostors[ends[0]] + steps * (impostors[ends[1]] - impostors[ends[0]]),
        "_log_far": impostors[np.ceil(fars * count).astype(int) - 1],
    }
    found = {}
    for scale, at in scales.items():
        utility = np.array(
            [_utility(pairs, name, at) for name in np.unique(pairs.first[pairs.genuine])]
        )
        order = np.argsort(utility.mean(axis=1), kind="stable")
        worst, rest = np.split(utility[order], [max(1, -(-len(order) // 10))])
        found[f"opis{scale}"] = ((utility - utility.mean(axis=0)) ** 2).mean()
        found[f"eps_opis{scale}"] = ((worst.mean(axis=0) - rest.mean(axis=0)) ** 2).mean()
    return found


def _utility(pairs: Pairs, name: Any, at: Floats) -> Floats:
    """Utility of a class at score thresholds, which accept the scores from there on up."""
    mine = (pairs.first == name) | (pairs.second == name)
    rejected = [
        np.searchsorted(np.sort(pairs.score[mine & of]), at, side="left") / (mine & of).sum()
        for of in (~pairs.genuine, pairs.genuine)
    ]
    specificity, sensitivity = rejected[0], 1 - rejected[1]
    total = specificity + sensitivity
    return np.where(total == 0, 0.0, 2 * specificity * sensitivity / np.where(total == 0, 1, total))
