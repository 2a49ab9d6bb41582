"""One look at all scored pairs: the hardest pairs, and the groups and rows behind the errors.

The pairs are read batch by batch and never held all at once. What is kept of each batch is bounded
by the length of the lists, and by the numbers of pairs of groups and of ids.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from opis_cli.counting.scored_table import Table
from opis_cli.errors import SettingsError
from opis_cli.evidence.hardest import rank_within
from opis_cli.evidence.scored_rows import ScoredRows
from opis_cli.machine import resident_memory
from opis_cli.records import Ints

Doubles = NDArray[np.float64]
Flags = NDArray[np.bool_]
_HELD = 1 << 20
"""Pairs of groups of several batches that are held before they are added up."""


class Pairs(NamedTuple):
    """Scored pairs. All arrays have n rows.

    Attributes
    ----------
    rows : ndarray of shape (n,), int64
        Row numbers.
    distances : ndarray of shape (n,), float64
    groups : ndarray of shape (n, 2), int64
        Group of each side; -1 if the pairs have no groups.
    ids : ndarray of shape (n, 2), int64
        Id of each side; -1 where it has none.
    """

    rows: Ints
    distances: Doubles
    groups: Ints
    ids: Ints

    def some(self, which: Flags | Ints) -> "Pairs":
        """Return some of the pairs."""
        return Pairs(self.rows[which], self.distances[which], self.groups[which], self.ids[which])

    @classmethod
    def joined(cls, parts: Sequence["Pairs"]) -> "Pairs":
        """Join several lists of pairs."""
        return cls(*(np.concatenate(some) for some in zip(*parts, strict=True)))

    @classmethod
    def empty(cls) -> "Pairs":
        """Make a list without pairs."""
        sides = np.zeros((0, 2), np.int64)
        return cls(np.zeros(0, np.int64), np.zeros(0), sides, sides)


class GroupPairs(NamedTuple):
    """Pairs of groups, with their impostor pairs. All arrays have m rows.

    Attributes
    ----------
    groups : ndarray of shape (m, 2), int64
        The lower and the higher code of each two groups, in ascending order.
    pairs, accepted : ndarray of shape (m,), int64
        Number of impostor pairs, and of those that the threshold accepts.
    least : ndarray of shape (m,), float64
        Least distance of an impostor pair.
    """

    groups: Ints
    pairs: Ints
    accepted: Ints
    least: Doubles

    def some(self, which: Flags | Ints) -> "GroupPairs":
        """Return some of the pairs of groups."""
        return GroupPairs(
            self.groups[which], self.pairs[which], self.accepted[which], self.least[which]
        )

    @classmethod
    def joined(cls, parts: Sequence["GroupPairs"]) -> "GroupPairs":
        """Add up the numbers of the same two groups, and take the least of their distances."""
        groups, pairs, accepted, least = (np.concatenate(some) for some in zip(*parts, strict=True))
        order = np.lexsort(groups.T[::-1])
        groups = groups[order]
        starts = np.flatnonzero(np.append(True, (groups[1:] != groups[:-1]).any(axis=1)))
        if not len(groups):
            return cls(groups, pairs, accepted, least)
        return cls(
            groups[starts],
            np.add.reduceat(pairs[order], starts),
            np.add.reduceat(accepted[order], starts),
            np.minimum.reduceat(least[order], starts),
        )

    @classmethod
    def empty(cls) -> "GroupPairs":
        """Make a list without groups."""
        none = np.zeros(0, np.int64)
        return cls(np.zeros((0, 2), np.int64), none, none, np.zeros(0))


@dataclass(frozen=True, slots=True)
class SeenPairs:
    """What a look at all scored pairs kept.

    Attributes
    ----------
    accepts, rejects : Pairs
        The closest accepted impostor pairs, and the farthest rejected genuine pairs.
    false_accepts, false_rejects : int
        Number of all accepted impostor pairs, and of all rejected genuine pairs.
    confused : GroupPairs
        All pairs of groups that have an impostor pair. There are none if the pairs have no groups.
    rows : ScoredRows
        What the pairs say of each row. There are none if the pairs have no ids.
    """

    accepts: Pairs
    rejects: Pairs
    false_accepts: int
    false_rejects: int
    confused: GroupPairs
    rows: ScoredRows


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which pairs to list.

    Attributes
    ----------
    top, per_group_pair : int
        Most pairs of a kind, and most of one pair of groups. Without groups only ``top`` limits.
    of_group : int, optional
        Code of a group that one side of each listed pair must be of.
    """

    top: int
    per_group_pair: int
    of_group: int | None = None


def look(
    table: Table,
    sign: int,
    threshold: float,
    wanted: Wanted,
    *,
    drop: bool,
    reject: bool = False,
    memory_limit: int | None = None,
    advance: Callable[[int], None] = lambda pairs: None,
) -> SeenPairs:
    """Read all scored pairs once, and keep those in error that are the hardest.

    Parameters
    ----------
    table : Table
    sign : {1, -1}
        Factor that turns a score into a distance.
    threshold : float
        A distance. Pairs that equal it in float32 are accepted, as in the count.
    wanted : Wanted
    drop : bool
        Whether bad rows are left out.
    reject : bool
        Whether pairs without a score count, as pairs that are infinitely far from each other.
    memory_limit : int, optional
        Bytes that the process may hold.
    advance : callable
        Called with the number of pairs of each batch.

    Raises
    ------
    InputError
        See ``Table.batches``.
    SettingsError
        The pairs of groups need more memory than the limit.
    """
    accepts, rejects = Pairs.empty(), Pairs.empty()
    false_accepts = false_rejects = held = 0
    parts, by_row = [GroupPairs.empty()], ScoredRows.empty(len(table.ids))
    for batch in table.batches(drop=drop):
        rows, genuine = batch.rows, batch.genuine
        sides = _sides(batch.groups, rows), _sides(batch.ids, rows)
        pairs = Pairs(rows, sign * batch.scores, *sides)
        if reject:
            rows = batch.unscored_rows
            sides = _sides(batch.unscored_groups, rows), _sides(batch.unscored_ids, rows)
            pairs = Pairs.joined([pairs, Pairs(rows, np.full(len(rows), np.inf), *sides)])
            order = np.argsort(pairs.rows)
            pairs = pairs.some(order)
            genuine = np.concatenate([genuine, batch.unscored_genuine])[order]
        accepted = pairs.distances.astype(np.float32) <= np.float32(threshold)
        wrong = accepted & ~genuine, ~accepted & genuine
        false_accepts += int(np.count_nonzero(wrong[0]))
        false_rejects += int(np.count_nonzero(wrong[1]))
        accepts = _hardest(accepts, pairs.some(wrong[0]), wanted, closest=True)
        rejects = _hardest(rejects, pairs.some(wrong[1]), wanted, closest=False)
        if table.id_columns:
            by_row.add(pairs.ids, pairs.groups, pairs.distances, genuine, accepted)
        if batch.groups:
            parts.append(_by_groups(pairs.some(~genuine), accepted[~genuine]))
            held += len(parts[-1].pairs)
        if held > max(_HELD, len(parts[0].pairs)):
            _refuse_memory(held + len(parts[0].pairs), memory_limit)
            parts, held = [GroupPairs.joined(parts)], 0
        advance(len(pairs.rows))
    confused = GroupPairs.joined(parts)
    return SeenPairs(accepts, rejects, false_accepts, false_rejects, confused, by_row)


def _sides(codes: Sequence[Ints], rows: Ints) -> Ints:
    """Return the codes of the two sides of the pairs, shape (n, 2), or -1 if there are none."""
    if not codes:
        return np.full((len(rows), 2), -1)
    return np.stack([codes[0], codes[-1]], axis=1)


def _by_groups(impostor: Pairs, accepted: Flags) -> GroupPairs:
    """Add up impostor pairs by their two groups."""
    groups = np.sort(impostor.groups, axis=1)
    ones = np.ones(len(groups), np.int64)
    return GroupPairs.joined(
        [GroupPairs(groups, ones, accepted.astype(np.int64), impostor.distances)]
    )


def _hardest(listed: Pairs, more: Pairs, wanted: Wanted, *, closest: bool) -> Pairs:
    """Return the hardest pairs of a list and of more pairs, in order, as far as they are wanted.

    A pair that drops out has so many harder ones that no later pair can bring it back.
    """
    if wanted.of_group is not None:
        more = more.some((more.groups == wanted.of_group).any(axis=1))
    if not len(more.rows):
        return listed
    both = Pairs.joined([listed, more])
    both = both.some(np.lexsort((both.rows, both.distances if closest else -both.distances)))
    if both.groups[0, 0] >= 0:
        groups = np.sort(both.groups, axis=1)
        both = both.some(rank_within(groups.T) < wanted.per_group_pair)
    return both.some(np.arange(len(both.rows)) < wanted.top)


def _refuse_memory(pairs: int, limit: int | None) -> None:
    """Raise a ``SettingsError`` if adding up so many pairs of groups needs too much memory."""
    # Each has four numbers of 8 bytes and one more, which are held once more while they are sorted.
    needed = resident_memory() + 2 * 40 * pairs
    if limit is not None and needed > limit:
        raise SettingsError(
            f"--memory-limit: {pairs:,} pairs of groups need about {needed / 1e9:.2g} GB, and the "
            f"limit is {limit / 1e9:.2g} GB; raise the limit, or take coarser groups"
        )
