"""Count pairs by pair of groups: how many pairs of a row of one group and a row of another.

An engine credits a pair to the groups of both its rows, but not to the two together. So the pairs
are counted group by group. A pass takes the rows of one group with rows of other groups. What such
a pass credits to another group is then the count of the two groups together. No pair is counted
twice, and no engine needs code for it::

    group     a   b   c
      a       1   2   2        1: the pass inside group a
      b           3   4        2: the pass of a with all later groups
      c               5

Rows are sorted by group for that, and by class within a group. If a class lies in several groups,
its genuine pairs across groups are not side by side. As with a gallery, they are first vetoed as
impostors, and then counted in a pass of their own.

Of many groups, only the largest have counts of their own. The others together make one more.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opis_cli.counting.passes import Pass, Spans
from opis_cli.counting.rows import Rows
from opis_cli.counting.tally import Tally, Tile
from opis_cli.records import Embeddings, Grid, GroupPairs, Ints

MOST_GROUPS = 50
"""Most groups with counts by pair of groups, the one that takes all others together included."""


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """The groups of rows.

    Attributes
    ----------
    codes : ndarray of shape (N,), int64
        Group of each row. The last group takes all others together, if ``others`` is not 0.
    names : ndarray of shape (n,)
        Names of the groups that have counts of their own.
    others : int
        Number of groups that are taken together as one more.
    """

    codes: Ints
    names: NDArray[Any]
    others: int

    @property
    def number(self) -> int:
        """Number of groups, G, with the one that takes others together."""
        return len(self.names) + (self.others > 0)


def groups_of(embeddings: Embeddings, column: str | None) -> Groups | None:
    """Return the groups of embeddings, or None if there is no column, or a row without a group."""
    if column is None or (embeddings.columns[column].codes < 0).any():
        return None
    codes, names = embeddings.columns[column].codes, embeddings.columns[column].names
    place, kept, others = largest(np.bincount(codes, minlength=len(names)))
    return Groups(place[codes], names[kept], others)


def largest(sizes: Ints) -> tuple[Ints, Ints, int]:
    """Choose the groups that get counts of their own.

    Parameters
    ----------
    sizes : ndarray of shape (K,), int64
        Rows (or pairs) of each group. A group of size 0 does not count.

    Returns
    -------
    place : ndarray of shape (K,), int64
        Number of each group among those with counts of their own; that of the last for others.
    kept : ndarray of shape (n,), int64
        The groups that have counts of their own, in their order.
    others : int
        Number of groups taken together.
    """
    kept = np.flatnonzero(sizes)
    others = 0
    if len(kept) > MOST_GROUPS:
        others = len(kept) - MOST_GROUPS + 1
        kept = np.sort(np.argsort(-sizes, kind="stable")[: MOST_GROUPS - 1])
    place = np.full(len(sizes), len(kept))
    place[kept] = np.arange(len(kept))
    return place, kept, others


@dataclass(frozen=True, slots=True, eq=False)
class Planned:
    """What counting by pair of groups needs to know of a plan.

    Attributes
    ----------
    names : ndarray of shape (n,)
    others : int
        As in ``Groups``.
    keys, of_keys : ndarray of shape (M,), int64
        Keys of the rows that are the second ones of pairs, and the group of each. Those of the last
        group are left out if it takes others together.
    searching : bool
        Whether there is a gallery.
    genuine, impostor : ndarray of shape (G, G), int64
        Numbers of all pairs of a row of one group with a row of another: of a query with a gallery
        row if there is a gallery, else each pair once, in the upper half.
    """

    names: NDArray[Any]
    others: int
    keys: Ints
    of_keys: Ints
    searching: bool
    genuine: Ints
    impostor: Ints

    @property
    def number(self) -> int:
        """Number of groups, G."""
        return len(self.genuine)

    def seen(self, tally: Tally, grid: Grid) -> Ints:
        """Return the pairs that a tally holds, by cell of ``grid.by_class``: (2, 1 + n, C).

        They are the genuine and the impostor pairs: all of them, and those credited to each group.
        """
        found = np.zeros((2, 1 + len(self.names), len(grid.by_class)), np.int64)
        starts = np.append(0, grid.by_class[:-1] + 1)
        found[0, 0] = np.add.reduceat(tally.pooled_genuine, starts)
        found[1, 0] = np.add.reduceat(tally.pooled_impostor, starts)
        genuine = np.add.reduceat(tally.genuine[self.keys].astype(np.int64), starts, axis=1)
        for kind, credits in enumerate((genuine, tally.impostor[self.keys].astype(np.int64))):
            np.add.at(found[kind], 1 + self.of_keys, credits)
        return found

    def add(self, tally: Tally, part: Pass, grid: Grid, before: Ints) -> None:
        """Add to a tally, by pair of groups, what a pass counted since ``seen`` gave ``before``."""
        assert part.group is not None
        new = self.seen(tally, grid) - before
        pairs, credits = new[:, 0], new[:, 1:]
        if part.inside:
            tally.by_groups[:, part.group, part.group] += pairs
            return
        if not self.searching:
            # The first row of each pair was credited too.
            credits[:, part.group] = 0
        tally.by_groups[:, part.group, : len(self.names)] += credits
        if self.others:
            tally.by_groups[:, part.group, -1] += pairs - credits.sum(axis=1)

    def group_pairs(self, tally: Tally, grid: Grid) -> GroupPairs:
        """Turn the counts of a tally into accepted pairs by pair of groups."""
        one, two = np.nonzero(self.genuine + self.impostor)
        genuine, impostor = (
            np.cumsum(cells[one, two], axis=1) for cells in (tally.by_groups[0], tally.by_groups[1])
        )
        # Vetoed pairs are in the last cell. How many pairs there are is known without counting.
        genuine[:, -1], impostor[:, -1] = self.genuine[one, two], self.impostor[one, two]
        return GroupPairs(
            names=self.names,
            others=self.others,
            thresholds=grid.class_thresholds,
            one=one,
            two=two,
            genuine=genuine,
            impostor=impostor,
            genuine_pairs=self.genuine[one, two],
            impostor_pairs=self.impostor[one, two],
        )


class ScoredGroups:
    """Counts of scored pairs by pair of groups, while the pairs are read batch by batch.

    Parameters
    ----------
    names : ndarray of shape (K,)
    sizes : ndarray of shape (K,), int64
        Name and number of pairs of each group.
    columns : int
        Number of cells that pairs are counted in, C.
    """

    def __init__(self, names: NDArray[Any], sizes: Ints, columns: int) -> None:
        self.place, kept, self.others = largest(sizes)
        self.names = names[kept]
        self.number = len(kept) + (self.others > 0)
        self.cells = np.zeros((2, self.number, self.number, columns), np.int64)
        self.unscored = np.zeros((2, self.number, self.number), np.int64)

    def add(self, groups: Sequence[Ints], genuine: NDArray[np.bool_], cells: Ints) -> None:
        """Add pairs of a batch, whose sides have these groups. One array stands for both sides."""
        np.add.at(self.cells, (*self._places(groups, genuine), cells), 1)

    def add_unscored(self, groups: Sequence[Ints], genuine: NDArray[np.bool_]) -> None:
        """Add pairs of a batch that no threshold accepts."""
        np.add.at(self.unscored, self._places(groups, genuine), 1)

    def _places(self, groups: Sequence[Ints], genuine: NDArray[np.bool_]) -> tuple[Ints, ...]:
        one, two = self.place[groups[0]], self.place[groups[-1]]
        return (~genuine).astype(np.int64), np.minimum(one, two), np.maximum(one, two)

    def group_pairs(self, thresholds: NDArray[np.float64], kept: Ints) -> GroupPairs:
        """Return the accepted pairs at the thresholds of the cells ``kept``."""
        accepted = np.cumsum(self.cells, axis=-1)
        totals = accepted[..., -1] + self.unscored
        one, two = np.nonzero(totals.sum(axis=0))
        genuine, impostor = accepted[:, one, two][..., kept]
        return GroupPairs(
            names=self.names,
            others=self.others,
            thresholds=thresholds,
            one=one,
            two=two,
            genuine=genuine,
            impostor=impostor,
            genuine_pairs=totals[0, one, two],
            impostor_pairs=totals[1, one, two],
        )


def passes_by_group(
    rows: Rows,
    queries: int,
    truth: Ints,
    tenants: Ints,
    codes: Ints,
    others: Spans,
    alike: Spans,
) -> tuple[tuple[Pass, ...], Ints]:
    """Return passes that each hold pairs whose first row is of one group.

    Parameters
    ----------
    rows : Rows
        Rows sorted by ``truth``, and by group within. ``truth`` is in the order of tenants and, as
        far as classes lie in one group, of groups.
    queries, truth, others, alike
        As in ``Plan``.
    tenants, codes : ndarray of shape (N,), int64
        Tenant and group of each row.

    Returns
    -------
    passes : tuple of Pass
    vetoed : ndarray of shape (Q,), int64
        For each searching row, the number of pairs that are vetoed as impostors at first.
    """
    searching = queries < len(truth)
    starts, ends = _runs(truth[:queries], codes[:queries])
    first = alike.first[starts] if searching else ends
    genuine = _blocks_of_groups(starts, ends, first, alike.last[starts], codes)
    vetoed = alike.sizes - (0 if searching else np.repeat(ends - starts, ends - starts))

    order, sorted_rows = None, rows
    if (alike.sizes > np.repeat(ends - starts, ends - starts)).any() or searching:
        sorted_rows, order = _by_group(rows, queries, truth, tenants, codes)
        apart = truth.astype(np.int32) if order is None else truth[order].astype(np.int32)
        outer_rows = replace(sorted_rows, vetoes=(apart, *sorted_rows.vetoes))
    else:
        outer_rows = rows
    place = np.arange(len(truth)) if order is None else order
    own = codes[place]
    starts, ends = _runs(tenants[place][:queries], own[:queries])
    first, last = others.first[place[:queries]][starts], others.last[place[:queries]][starts]
    inner = [] if searching else _blocks_of_groups(starts, ends, starts, ends, own)
    outer = _blocks_of_groups(starts, ends, first if searching else ends, last, own)

    zeros = replace(rows, labels=np.zeros_like(rows.labels))
    passes = [
        *(Pass(sorted_rows, blocks, None, group, True, order) for group, blocks in inner),
        *(Pass(outer_rows, blocks, None, group, False, order) for group, blocks in outer),
        *(Pass(zeros, blocks, None, group) for group, blocks in genuine),
    ]
    return tuple(passes), vetoed


def _by_group(
    rows: Rows, queries: int, truth: Ints, tenants: Ints, codes: Ints
) -> tuple[Rows, Ints | None]:
    """Sort rows by tenant and group, and return them with their places before.

    The order within a gallery stays. The second result is None if the order of all rows stays.
    """
    behind = np.arange(len(truth)) >= queries
    within = np.where(behind, 0, codes)
    order = np.lexsort((truth, within, tenants, behind))
    parts = (behind[order], tenants[order], within[order], truth[order])
    labels = np.cumsum(np.any([np.diff(part, prepend=part[0]) != 0 for part in parts], axis=0))
    if np.array_equal(order, np.arange(len(order))):
        return replace(rows, labels=labels.astype(np.int32)), None
    return rows.some(order, labels, rows.keys[order]), order


def _runs(one: Ints, two: Ints) -> tuple[Ints, Ints]:
    """Return the first row, and one past the last, of each run of rows with two equal codes."""
    changes = (np.diff(one, prepend=-1) != 0) | (np.diff(two, prepend=-1) != 0)
    starts = np.flatnonzero(changes)
    return starts, np.append(starts[1:], len(one))


def _blocks_of_groups(
    starts: Ints, ends: Ints, first: Ints, last: Ints, codes: Ints
) -> list[tuple[int, tuple[Tile, ...]]]:
    """Return, for each group, the blocks of its runs of rows that are not empty."""
    found: dict[int, list[Tile]] = {}
    ends_of_blocks = (array.tolist() for array in (starts, ends, first, last, codes[starts]))
    for a, b, c, d, group in zip(*ends_of_blocks, strict=True):
        tile = Tile(a, b, c, d)
        if c < d and tile.pairs:
            found.setdefault(group, []).append(tile)
    return [(group, tuple(found[group])) for group in sorted(found)]


def pairs_between(codes: Ints, groups: Ints, number: int, queries: int) -> Ints:
    """Count the pairs of rows of equal code by pair of groups, shape (G, G).

    Parameters
    ----------
    codes, groups : ndarray of shape (N,), int64
        Code and group of each row. No code is negative.
    number : int
        Number of groups, G.
    queries : int
        Number of searching rows. If it is N, each pair counts once, in the upper half. Else a pair
        is a query, whose group is the first one, with a row behind the queries.
    """
    from scipy.sparse import csr_array

    def table(part: slice) -> Any:
        ones = np.ones(len(codes[part]), np.int64)
        return csr_array((ones, (codes[part], groups[part])), shape=(int(codes.max()) + 1, number))

    if queries < len(codes):
        found: Ints = (table(slice(queries)).T @ table(slice(queries, None))).toarray()
        return found
    ends = table(slice(None))
    both = (ends.T @ ends).toarray()
    alone = np.diag(np.bincount(groups, minlength=number))
    return np.asarray(np.triu(both, 1) + np.diag(np.diag(both - alone) // 2))
