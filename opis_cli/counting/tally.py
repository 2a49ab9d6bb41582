"""What engines add up, and the tiles that they are handed."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from opis_cli.counting.rows import Rows
from opis_cli.records import Grid, Ints

COUNTS = ("genuine", "impostor", "pooled_genuine", "pooled_impostor", "borderline_genuine")
"""Fields of a tally that add up."""


Advance = Callable[[int], None]
"""Told, now and then, how many more pairs are counted."""


@dataclass(frozen=True, slots=True)
class Tile:
    """Pairs of a block of rows with another block: rows ``a:b`` with rows ``c:d``, ``a <= c``.

    Where the blocks are one (``a == c``) only the pairs ``i < j`` are meant.
    """

    a: int
    b: int
    c: int
    d: int

    @property
    def pairs(self) -> int:
        """Pairs in the tile."""
        count = self.b - self.a
        return count * (count - 1) // 2 if self.a == self.c else count * (self.d - self.c)


@dataclass(slots=True)
class Tally:
    """What engines add up: histograms of pairs over the cells of the grid, and nearest scores.

    A pair falls into the cell of the first threshold that accepts it, a vetoed one into the last.
    It is credited to the keys
    of both its rows, so a genuine pair of a class counts twice for that class. Tallies of
    different tiles add; nearest scores merge by maximum.

    Attributes
    ----------
    genuine : ndarray of shape (keys, T), unsigned integers
        Credits by cell of all thresholds: genuine pairs are few.
    impostor : ndarray of shape (keys, C), unsigned integers
        Credits by cell of the thresholds that are kept by class.
    pooled_genuine, pooled_impostor : ndarray of shape (T,), int64
        Pairs, each once, by cell of all thresholds.
    borderline_genuine : ndarray of shape (T,), int64
        Of the pooled genuine pairs, those of a score less than two roundings above the cut.
    nearest_genuine, nearest_impostor : ndarray of shape (N,), float32
        Highest score of each row with a row of its own class, and of another; -inf if none. An
        engine may leave out impostors beyond the grid's window.
    inside : ndarray of shape (folds, T), int64
        What of ``pooled_impostor`` lies inside each fold; whoever calls an engine fills it in.
    """

    genuine: Ints
    impostor: Ints
    pooled_genuine: NDArray[np.int64]
    pooled_impostor: NDArray[np.int64]
    borderline_genuine: NDArray[np.int64]
    nearest_genuine: NDArray[np.float32]
    nearest_impostor: NDArray[np.float32]
    inside: NDArray[np.int64]

    @classmethod
    def empty(cls, rows: Rows, grid: Grid, folds: int = 0) -> "Tally":
        """A tally of no pairs, in the smallest integers that can hold all of them."""
        keys, count = int(rows.keys.max()) + 1, len(grid.thresholds)
        sizes = np.bincount(rows.labels).astype(np.int64)
        per_key = np.bincount(rows.keys).astype(np.int64)
        nearest = np.full(len(rows.labels), -np.inf, np.float32)
        return cls(
            np.zeros((keys, count), _smallest(int(per_key.max() * sizes.max()))),
            np.zeros((keys, len(grid.by_class)), _smallest(int(per_key.max() * len(rows.labels)))),
            np.zeros(count, np.int64),
            np.zeros(count, np.int64),
            np.zeros(count, np.int64),
            nearest,
            nearest.copy(),
            np.zeros((folds, count), np.int64),
        )

    def add(self, other: "Tally") -> None:
        """Add another tally of the same rows and grid, of other tiles."""
        for name in COUNTS:
            total = getattr(self, name)
            np.add(total, getattr(other, name), out=total)
        for name in ("nearest_genuine", "nearest_impostor"):
            nearest = getattr(self, name)
            np.maximum(nearest, getattr(other, name), out=nearest)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that its arrays take."""
        return sum(getattr(self, name).nbytes for name in Tally.__dataclass_fields__)

    def copy(self) -> "Tally":
        """A tally of its own."""
        return Tally(*(getattr(self, name).copy() for name in Tally.__dataclass_fields__))


def _smallest(largest: int) -> type[np.unsignedinteger]:
    for kind in (np.uint16, np.uint32):
        if largest <= np.iinfo(kind).max:
            return kind
    return np.uint64


class CountPairs(Protocol):
    """An engine: counts the pairs of tiles into a tally."""

    def __call__(
        self,
        rows: Rows,
        grid: Grid,
        tiles: Iterable[Tile],
        tally: Tally,
        threads: int,
        advance: Advance,
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Opened:
    """An engine that is ready to count.

    Attributes
    ----------
    side : int
        Rows of a side of the tiles that it likes.
    of_pass : callable
        What counts the tiles of a pass, by its number in the plan.
    """

    side: int
    of_pass: Callable[[int], CountPairs]


def tiles_of(stop: int, side: int, start: int = 0) -> Iterator[Tile]:
    """Every unordered pair of the rows ``start:stop`` once, in square tiles."""
    return cut(Tile(start, stop, start, stop), side)


def cut(block: Tile, side: int) -> Iterator[Tile]:
    """The pairs of a large tile, each once, in tiles of at most ``side`` rows a side."""
    for a in range(block.a, block.b, side):
        for c in range(a if block.a == block.c else block.c, block.d, side):
            yield Tile(a, min(a + side, block.b), c, min(c + side, block.d))


def tiles_along(ends: Ints, side: int) -> Iterator[Tile]:
    """Every pair of rows of one class once, with some others; few rows beyond ``side`` a tile.

    ``ends`` (N,) is one past the last row of each row's class.
    """
    start = 0
    while start < len(ends):
        # The class of the last row that fits may not fit: then those before it, if any.
        last = min(start + side, len(ends)) - 1
        stop = int(ends[last])
        if stop - start > side and ends[start] < stop:
            stop = int(np.searchsorted(ends, stop))
        yield from tiles_of(stop, side, start)
        start = stop
