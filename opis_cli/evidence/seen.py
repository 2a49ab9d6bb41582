"""What a look at all pairs keeps. It is bounded by the rows, and by the class pairs in error.

The pairs are those of a ``Plan``. A row is numbered as in ``Plan.rows``, where rows of the same
class are adjacent, and ``Lists`` and ``Seen`` hold such numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from opis_cli.counting.plan import Plan
from opis_cli.records import Ints


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


class ClassPairs(NamedTuple):
    """Pairs of classes with accepted impostor pairs. All arrays have the shape (M,).

    Attributes
    ----------
    keys : ndarray, int64
        The codes of the two classes as one number, ``one * classes + two``, where ``one < two``.
    accepted : ndarray, int64
        Number of accepted pairs of a row of each.
    best : ndarray, float32
        Highest score.
    left, right : ndarray, int32
        A pair of rows that has it.
    """

    keys: Ints
    accepted: Ints
    best: NDArray[np.float32]
    left: Ints
    right: Ints

    @classmethod
    def joined(cls, parts: Sequence["ClassPairs"]) -> "ClassPairs":
        """Add up the numbers of equal keys, and take the best of their scores. Keys are sorted."""
        if not sum(len(part.keys) for part in parts):
            nothing = np.zeros(0, np.int64)
            return cls(nothing, nothing, np.zeros(0, np.float32), nothing, nothing)
        keys, accepted, best, left, right = (
            np.concatenate(some) for some in zip(*parts, strict=True)
        )
        order = np.argsort(keys)
        keys, best = keys[order], best[order]
        starts = np.flatnonzero(np.diff(keys, prepend=-1))
        if len(starts) == len(keys):
            whole = cls(keys, accepted[order], best, left[order], right[order])
            return whole._replace(accepted=whole.accepted.astype(np.int64))
        highest = np.maximum.reduceat(best, starts)
        # Of equal scores, the pair of the lowest rows stands.
        rows = left[order].astype(np.int64) << 32 | right[order].astype(np.int64)
        sizes = np.diff(starts, append=len(keys))
        rows[best < np.repeat(highest, sizes)] = np.iinfo(np.int64).max
        rows = np.minimum.reduceat(rows, starts)
        return cls(
            keys[starts],
            np.add.reduceat(accepted[order].astype(np.int64), starts),
            highest,
            (rows >> 32).astype(np.int32),
            (rows & 0xFFFFFFFF).astype(np.int32),
        )


class Edges(NamedTuple):
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
    confused : ClassPairs
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
    confused: ClassPairs
    parts: Ints
    edges: Edges
    all_edges: bool

    @property
    def rows_by_class(self) -> list[Ints]:
        """The rows of each class, in their order."""
        order = np.argsort(self.codes, kind="stable")
        return np.split(order, np.cumsum(np.bincount(self.codes, minlength=self.classes))[:-1])

    @property
    def confused_codes(self) -> tuple[Ints, Ints]:
        """Codes of the two classes of each of the ``confused`` pairs."""
        return self.confused.keys // self.classes, self.confused.keys % self.classes
