"""What a look at all pairs keeps. It is bounded by the rows, and by the class pairs in error.

The pairs are those of a ``Plan``. A row is numbered as in ``Plan.rows``, where rows of the same
class are adjacent, and ``Lists`` and ``Seen`` hold such numbers.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from opis_cli.counting.plan import Plan
from opis_cli.records import Floats, Ints

OWN, OTHERS = 3, 20
"""Nearest rows of the same class, and of other classes, that are kept for each row."""


class Lists(NamedTuple):
    """The nearest rows of each row, by falling score; in a tie the lower source row is nearer.

    Attributes
    ----------
    scores : ndarray of shape (N, k), float32
        -inf where there are fewer rows.
    rows : ndarray of shape (N, k), int32
    """

    scores: NDArray[np.float32]
    rows: NDArray[np.int32]

    @classmethod
    def empty(cls, count: int, size: int) -> "Lists":
        """Make lists without rows."""
        return cls(
            np.full((count, size), -np.inf, np.float32), np.full((count, size), -1, np.int32)
        )


class Inside(NamedTuple):
    """The genuine pairs of each class, all arrays of shape (K,).

    Attributes
    ----------
    pairs, rejected : ndarray, int64
        Number of pairs, and of those that the threshold rejects.
    distances : ndarray, float64
        Sum of the distances.
    least : ndarray, float32
        Lowest score.
    """

    pairs: NDArray[np.int64]
    rejected: NDArray[np.int64]
    distances: NDArray[np.float64]
    least: NDArray[np.float32]

    @classmethod
    def empty(cls, classes: int) -> "Inside":
        """Make sums of no pairs."""
        return cls(
            np.zeros(classes, np.int64),
            np.zeros(classes, np.int64),
            np.zeros(classes),
            np.full(classes, np.inf, np.float32),
        )

    def add(self, other: "Inside") -> None:
        """Add the sums of other pairs."""
        for name in ("pairs", "rejected", "distances"):
            total = getattr(self, name)
            np.add(total, getattr(other, name), out=total)
        np.minimum(self.least, other.least, out=self.least)


@dataclass(frozen=True, slots=True)
class Confused:
    """Pairs of classes with accepted impostor pairs, M in number, in the order of their codes.

    Attributes
    ----------
    one, two : ndarray of shape (M,), int64
        Codes of the two classes, ``one < two``.
    accepted : ndarray of shape (M,), int64
        Number of accepted pairs of a row of each.
    best : ndarray of shape (M,), float32
        Highest score.
    """

    one: Ints
    two: Ints
    accepted: Ints
    best: NDArray[np.float32]

    @classmethod
    def merged(cls, parts: "Iterable[tuple[Ints, Ints, Floats]]", classes: int) -> "Confused":
        """Add up parts, each the keys ``one * classes + two``, the numbers and the best scores."""
        listed = list(parts)
        if not listed:
            nothing = np.zeros(0, np.int64)
            return cls(nothing, nothing, nothing, np.zeros(0, np.float32))
        keys, accepted, best = summed(*map(np.concatenate, zip(*listed, strict=True)))
        return cls(keys // classes, keys % classes, accepted, best)


def summed(keys: Ints, accepted: Ints, best: Floats) -> tuple[Ints, Ints, NDArray[np.float32]]:
    """Add up the numbers of equal keys, and take the best of their scores. Keys come out sorted."""
    if not len(keys):
        return keys, accepted.astype(np.int64), best.astype(np.float32)
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    starts = np.flatnonzero(np.diff(keys, prepend=keys[0] - 1))
    return (
        keys[starts],
        np.add.reduceat(accepted[order].astype(np.int64), starts),
        np.maximum.reduceat(best[order], starts).astype(np.float32),
    )


@dataclass(frozen=True, slots=True)
class Edges:
    """Pairs of rows, with their scores: three arrays of shape (E,)."""

    one: NDArray[np.int32]
    two: NDArray[np.int32]
    scores: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look at all pairs kept.

    Attributes
    ----------
    plan : Plan
    codes : ndarray of shape (N,), int64
        Class of each row.
    classes : int
        Number of classes, K.
    cut, chain_cut : float32
        Least score that is accepted at the threshold, and at the threshold of the chains.
    own, others : Lists
        Nearest rows of the same class and of other classes.
    inside : Inside
    confused : Confused
    parts : ndarray of shape (N,), int32
        For each row, the first row of its part of the class. Two rows are of the same part if
        accepted pairs of the class lead from one to the other.
    edges : Edges
        The pairs that the threshold of the chains accepts, or of too many a forest that joins the
        same rows at every threshold up to that one.
    all_edges : bool
        Whether ``edges`` holds all these pairs.
    """

    plan: Plan
    codes: Ints
    classes: int
    cut: np.float32
    chain_cut: np.float32
    own: Lists
    others: Lists
    inside: Inside
    confused: Confused
    parts: Ints
    edges: Edges
    all_edges: bool
