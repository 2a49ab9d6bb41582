"""The rows behind scored pairs that have ids: the errors of each, and its nearest rows.

A row is an id here. What is kept is bounded by the number of ids.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opis_cli.records import Ints

Doubles = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Nearest:
    """The nearest row of each row. All arrays have the shape (I,).

    Attributes
    ----------
    distances : ndarray, float64
        inf where there is none.
    ids : ndarray, int64
        -1 where there is none.
    groups : ndarray, int64
        Group of the nearest row; -1 without groups.
    """

    distances: Doubles
    ids: Ints
    groups: Ints

    @classmethod
    def empty(cls, count: int) -> "Nearest":
        """Make arrays for rows that have no pair yet."""
        return cls(np.full(count, np.inf), np.full(count, -1), np.full(count, -1))

    def add(self, own: Ints, other: Ints, groups: Ints, distances: Doubles) -> None:
        """Take in later pairs of ``own`` with ``other``; the earliest pair wins a tie."""
        order = np.lexsort((distances, own))
        first = order[np.flatnonzero(np.diff(own[order], prepend=-1))]
        first = first[distances[first] < self.distances[own[first]]]
        at = own[first]
        self.distances[at], self.ids[at] = distances[first], other[first]
        self.groups[at] = groups[first]


@dataclass(frozen=True, slots=True)
class ScoredRows:
    """What the pairs say of each row. All arrays have the shape (I,).

    Attributes
    ----------
    pairs, false_accepts, false_rejects : ndarray, int64
        Number of its pairs, of its accepted impostor pairs, and of its rejected genuine pairs.
    groups : ndarray, int64
        Its group in its first pair; -1 without groups.
    own, others : Nearest
        By its genuine pairs, and by its impostor pairs.
    """

    pairs: Ints
    false_accepts: Ints
    false_rejects: Ints
    groups: Ints
    own: Nearest
    others: Nearest

    @classmethod
    def empty(cls, count: int) -> "ScoredRows":
        """Make arrays for rows that have no pair yet."""
        pairs, accepts, rejects = np.zeros((3, count), np.int64)
        groups = np.full(count, -1)
        return cls(pairs, accepts, rejects, groups, Nearest.empty(count), Nearest.empty(count))

    def add(
        self, ids: Ints, groups: Ints, distances: Doubles, genuine: Flags, accepted: Flags
    ) -> None:
        """Take in a batch of pairs.

        Parameters
        ----------
        ids, groups : ndarray of shape (n, 2), int64
            Of both sides. A pair without two ids is left out.
        distances : ndarray of shape (n,), float64
            inf where a pair has no score.
        genuine, accepted : ndarray of shape (n,), bool
        """
        known = (ids >= 0).all(axis=1)
        ids, groups = ids[known], groups[known]
        distances, genuine, accepted = distances[known], genuine[known], accepted[known]
        # Both sides of a pair, one behind the other, so that earlier pairs stay in front.
        own, other = ids.ravel(), ids[:, ::-1].ravel()
        own_groups, other_groups = groups.ravel(), groups[:, ::-1].ravel()
        distances, genuine, accepted = distances.repeat(2), genuine.repeat(2), accepted.repeat(2)
        for counts, which in (
            (self.pairs, slice(None)),
            (self.false_accepts, accepted & ~genuine),
            (self.false_rejects, ~accepted & genuine),
        ):
            counts += np.bincount(own[which], minlength=len(counts))
        new, first = np.unique(own, return_index=True)
        unknown = self.groups[new] < 0
        self.groups[new[unknown]] = own_groups[first[unknown]]
        for nearest, which in ((self.own, genuine), (self.others, ~genuine)):
            nearest.add(own[which], other[which], other_groups[which], distances[which])
