"""Define the tiles that engines are given, and the tally that they add to."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from opis_cli.counting.rows import Rows
from opis_cli.records import Grid, Ints

COUNTS = ("genuine", "impostor", "pooled_genuine", "pooled_impostor", "borderline_genuine")
"""Fields of a tally that engines add to, besides the nearest scores."""
_ADDED = (*COUNTS, "inside", "by_groups")
"""Fields that are added; the nearest scores are merged by maximum instead."""


Advance = Callable[[int], None]
"""A function that an engine calls now and then, with the number of pairs counted since."""


@dataclass(frozen=True, slots=True)
class Tile:
    """The pairs of rows ``a:b`` with rows ``c:d``, where ``a <= c``.

    If both are the same rows (``a == c``), the tile has only the pairs ``i < j``.
    """

    a: int
    b: int
    c: int
    d: int

    @property
    def pairs(self) -> int:
        """Number of pairs in the tile."""
        count = self.b - self.a
        return count * (count - 1) // 2 if self.a == self.c else count * (self.d - self.c)


@dataclass(slots=True)
class Tally:
    """Histograms of pairs over the cells of the grid, and the nearest score of each row.

    The cell of a pair is that of the first threshold which accepts it. A vetoed pair falls into the
    last cell. A pair is credited to the keys of both its rows, so a genuine pair of a class counts
    twice for that class. The tallies of different tiles can be added; their nearest scores are
    merged by maximum.

    Attributes
    ----------
    genuine : ndarray of shape (keys, T), unsigned integers
        Credits of genuine pairs, by key and cell. As genuine pairs are few, all thresholds are
        kept.
    impostor : ndarray of shape (keys, C), unsigned integers
        Credits of impostor pairs, by key and cell. Only the thresholds of ``Grid.by_class`` are
        kept.
    pooled_genuine, pooled_impostor : ndarray of shape (T,), int64
        Number of pairs by cell, each pair counted once.
    borderline_genuine : ndarray of shape (T,), int64
        Number of the pooled genuine pairs whose score is less than two roundings above the cut.
    nearest_genuine, nearest_impostor : ndarray of shape (N,), float32
        Highest score of each row with a row of its own class, and with a row of another class; -inf
        if there is none. An engine may leave out impostor pairs beyond the window of the grid.
    inside : ndarray of shape (folds, T), int64
        The part of ``pooled_impostor`` that lies inside each fold. The caller of the engine fills
        it in.
    by_groups : ndarray of shape (2, G, G, C), int64
        The genuine and the impostor pairs by pair of groups and cell of ``Grid.by_class``. The
        caller of the engine fills it in. G is 0 without groups.
    """

    genuine: Ints
    impostor: Ints
    pooled_genuine: NDArray[np.int64]
    pooled_impostor: NDArray[np.int64]
    borderline_genuine: NDArray[np.int64]
    nearest_genuine: NDArray[np.float32]
    nearest_impostor: NDArray[np.float32]
    inside: NDArray[np.int64]
    by_groups: NDArray[np.int64]

    @classmethod
    def empty(cls, rows: Rows, grid: Grid, folds: int = 0, groups: int = 0) -> "Tally":
        """Make a tally of no pairs, in the smallest integers that can hold the counts of all."""
        keys, count = int(rows.keys.max()) + 1, len(grid.thresholds)
        genuine, impostor = integers_for(rows.keys, rows.labels)
        nearest = np.full(len(rows.labels), -np.inf, np.float32)
        return cls(
            np.zeros((keys, count), genuine),
            np.zeros((keys, len(grid.by_class)), impostor),
            np.zeros(count, np.int64),
            np.zeros(count, np.int64),
            np.zeros(count, np.int64),
            nearest,
            nearest.copy(),
            np.zeros((folds, count), np.int64),
            np.zeros((2, groups, groups, len(grid.by_class)), np.int64),
        )

    def add(self, other: "Tally") -> None:
        """Add the tally of other tiles, with the same plan and grid."""
        for name in _ADDED:
            total = getattr(self, name)
            np.add(total, getattr(other, name), out=total)
        for name in ("nearest_genuine", "nearest_impostor"):
            nearest = getattr(self, name)
            np.maximum(nearest, getattr(other, name), out=nearest)

    @property
    def nbytes(self) -> int:
        """Memory that the arrays take, in bytes."""
        return sum(getattr(self, name).nbytes for name in Tally.__dataclass_fields__)

    def copy(self) -> "Tally":
        """Return a copy that shares no array."""
        return Tally(*(getattr(self, name).copy() for name in Tally.__dataclass_fields__))

    def in_order(self, order: Ints | None) -> "Tally":
        """Return a tally that shares the counts, for rows in another order.

        ``take_nearest`` takes over what the result learns of nearest rows. Without an order, the
        result is this tally itself.
        """
        if order is None:
            return self
        return replace(
            self,
            nearest_genuine=self.nearest_genuine[order],
            nearest_impostor=self.nearest_impostor[order],
        )

    def take_nearest(self, other: "Tally", order: Ints | None) -> None:
        """Take over the nearest scores of a tally that ``in_order`` made."""
        if order is not None:
            self.nearest_genuine[order] = other.nearest_genuine
            self.nearest_impostor[order] = other.nearest_impostor


def integers_for(keys: Ints, labels: Ints) -> tuple[np.dtype[Any], np.dtype[Any]]:
    """Return the smallest integers for the credits of genuine and of impostor pairs by key.

    ``keys`` and ``labels`` are those of all rows, each of shape (N,).
    """
    rows_of_key, rows_of_class = int(np.bincount(keys).max()), int(np.bincount(labels).max())
    return _smallest(rows_of_key * rows_of_class), _smallest(rows_of_key * len(labels))


def _smallest(largest: int) -> np.dtype[Any]:
    for kind in (np.uint16, np.uint32):
        if largest <= np.iinfo(kind).max:
            return np.dtype(kind)
    return np.dtype(np.uint64)


class CountPairs(Protocol):
    """The type of an engine's function that counts the pairs of tiles into a tally."""

    def __call__(
        self,
        rows: Rows,
        grid: Grid,
        tiles: Iterable[Tile],
        tally: Tally,
        threads: int,
        advance: Advance,
    ) -> None: ...


def tiles_of(stop: int, side: int, start: int = 0) -> Iterator[Tile]:
    """Yield square tiles that hold every unordered pair of the rows ``start:stop`` once."""
    return cut(Tile(start, stop, start, stop), side)


def cut(block: Tile, side: int) -> Iterator[Tile]:
    """Cut a large tile into tiles of at most ``side`` rows a side, with every pair once.

    Tiles on the diagonal come last. They have half the pairs, so workers end at nearly one time.
    """
    on_diagonal, starts = block.a == block.c, range(block.a, block.b, side)
    for a in starts:
        for c in range(a + side if on_diagonal else block.c, block.d, side):
            yield Tile(a, min(a + side, block.b), c, min(c + side, block.d))
    if on_diagonal:
        for a in starts:
            yield Tile(a, min(a + side, block.b), a, min(a + side, block.b))


def tiles_along(ends: Ints, side: int) -> Iterator[Tile]:
    """Yield tiles that hold every pair of rows of the same class once, and some other pairs.

    Parameters
    ----------
    ends : ndarray of shape (N,)
        For each row, one past the last row of its class.
    side : int
        Rows on a side of the tiles. Adjacent classes share a tile if they fit into it as a whole. A
        class with more rows than that takes several tiles.
    """
    start = 0
    while start < len(ends):
        # The class of the last row that fits may not fit as a whole. Then stop before this class,
        # unless it is the first one.
        last = min(start + side, len(ends)) - 1
        stop = int(ends[last])
        if stop - start > side and ends[start] < stop:
            stop = int(np.searchsorted(ends, stop))
        yield from tiles_of(stop, side, start)
        start = stop
