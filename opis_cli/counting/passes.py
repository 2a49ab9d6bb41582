"""Passes: calls of an engine, each with rows in the form that it needs and blocks of pairs."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from opis_cli.counting.rows import Rows
from opis_cli.counting.tally import Tile, cut
from opis_cli.records import Ints


@dataclass(frozen=True, slots=True)
class Pass:
    """One call of an engine: the rows as it sees them, and the blocks of pairs to count.

    Attributes
    ----------
    rows : Rows
    blocks : tuple of Tile
    fold : int, optional
        Number of the fold that contains both rows of every pair, if there is such a fold.
    group : int, optional
        Number of the group that contains the first row of every pair, if pairs are counted by pair
        of groups.
    inside : bool
        Whether that group contains the second row of every pair too.
    order : ndarray of shape (N,), int64, optional
        Place of each row in the rows of the plan, if these are in another order.
    """

    rows: Rows
    blocks: tuple[Tile, ...]
    fold: int | None = None
    group: int | None = None
    inside: bool = False
    order: Ints | None = None

    def tiles(self, side: int) -> Iterator[Tile]:
        """Cut the blocks into tiles of at most ``side`` rows a side."""
        return (tile for block in self.blocks for tile in cut(block, side))

    @property
    def pairs(self) -> int:
        """Number of pairs in all blocks, with vetoed pairs."""
        return sum(block.pairs for block in self.blocks)


@dataclass(frozen=True, slots=True)
class Spans:
    """For each of Q rows, a range of rows ``first:last``; both arrays have shape (Q,)."""

    first: Ints
    last: Ints

    @property
    def sizes(self) -> Ints:
        """Number of rows in each range, shape (Q,)."""
        return self.last - self.first


def spans_of(codes: Ints, queries: int) -> Spans:
    """For each searching row, return the rows of equal code among those it is compared with."""
    start = queries if queries < len(codes) else 0
    first, last = (
        start + np.searchsorted(codes[start:], codes[:queries], side) for side in ("left", "right")
    )
    return Spans(first, last)


def blocks_of(spans: Spans, queries: int) -> tuple[Tile, ...]:
    """Group adjacent searching rows with equal spans into blocks, and drop empty blocks."""
    changes = np.diff(spans.first, prepend=-1) | np.diff(spans.last, prepend=-1)
    starts = np.flatnonzero(changes)
    found = zip(
        starts.tolist(),
        [*starts[1:].tolist(), queries],
        spans.first[starts].tolist(),
        spans.last[starts].tolist(),
        strict=True,
    )
    return tuple(tile for tile in (Tile(*ends) for ends in found) if tile.pairs)


def passes_of(
    rows: Rows, queries: int, truth: Ints, others: Spans, alike: Spans
) -> tuple[Pass, ...]:
    """Return one pass over all pairs, or with a gallery one for impostors and one for genuine."""
    if queries == len(truth):
        return (Pass(rows, blocks_of(others, queries)),)
    codes = truth.astype(np.int32)
    # The labels of the gallery lie above those of all queries, so the engine takes every pair as an
    # impostor. The veto takes the genuine pairs out.
    impostors = replace(rows, vetoes=(codes, *rows.vetoes))
    genuine = replace(rows, labels=np.zeros_like(rows.labels))
    return (
        Pass(impostors, blocks_of(others, queries)),
        Pass(genuine, blocks_of(alike, queries)),
    )


def passes_of_folds(rows: Rows, folds: Ints) -> tuple[Pass, ...]:
    """Return a pass for the pairs inside each fold, and then one for the pairs between folds."""
    ends = np.searchsorted(folds[rows.keys], np.arange(folds.max() + 1), side="right").tolist()
    blocks = [Tile(a, b, a, b) for a, b in pairwise([0, *ends])]
    inside = [Pass(rows, (block,), fold) for fold, block in enumerate(blocks)]
    between = tuple(Tile(block.a, block.b, block.b, ends[-1]) for block in blocks[:-1])
    return *inside, Pass(rows, between)
