"""The data that compiled code works on: the grid as tables, and the arrays of a worker.

They are named tuples, because Numba compiles functions that take these without further ado.
"""

from typing import Any, NamedTuple

import numpy as np

from opis_cli.counting.engines.numba_cache import compiler

# No NaN reaches the scan, and a product may be fused with a sum. To know this lets LLVM use vector
# instructions.
compiled = compiler(nogil=True, fastmath={"nnan", "nsz", "contract"})
# This one also allows sums in any order.
summing = compiler(nogil=True, fastmath={"nnan", "nsz", "contract", "reassoc"})

u64 = np.uint64  # If an index is signed, Numba adds code for negative ones. Unsigned ones are free.

CROWDED = np.uint32(1 << 15)
"""Bit in an entry of a table that says that the search must go on from the entry's cell."""


class Table(NamedTuple):
    """A table that leads from the code of a score (``rows.Codes``) to its cell.

    Attributes
    ----------
    cuts : ndarray of shape (T,), float32
        Least score of each cell. Cuts fall, and the last one is -inf.
    first : ndarray of shape (CODES,), uint16
        First cell of the scores of each code. If the bit ``CROWDED`` is set, cuts lie inside the
        code, and the cell of a score is this one or one of the next.
    top, scale : float32
        The codes, as in ``rows.Codes``.
    compares : True or None
        If not None, a code without that bit may have one cut inside, and every score is compared
        with it. It is None and not False, because Numba compiles separate code for each type.
    """

    cuts: Any
    first: Any
    top: Any
    scale: Any
    compares: Any


class Cells(NamedTuple):
    """The grid in the form that the scan needs.

    Attributes
    ----------
    number : int
        Number of all cells.
    window : int
        Number of cells in the window, which are looked up one by one.
    class_cell : ndarray of shape (T,), int32
        Column of each cell among those that are kept by class.
    inside : Table
        Finds the cells of impostor pairs in the window.
    anywhere : Table
        Finds all cells, for genuine pairs.
    everywhere : bool
        Whether all cells are treated as cells of the window, so that there are no zones.
    scale, shift : float32
        Beyond the window cuts are even. There the zone of a score is ``score * scale + shift``,
        truncated to an integer: 0 for the last cell, up to ``ZONES - 1`` next to the window.
    few : ndarray, uint8
        For each threshold beyond the window that is kept by class, except the last one, the lowest
        zone that it accepts.
    """

    number: int
    window: int
    class_cell: Any
    inside: Table
    anywhere: Table
    everywhere: bool
    scale: Any
    shift: Any
    few: Any


class Bounds(NamedTuple):
    """A tile: rows ``a:b`` with rows ``c:d``."""

    a: int
    b: int
    c: int
    d: int


class Block(NamedTuple):
    """A block of scores, and its place.

    The block begins at row ``i0`` and column ``j0``. Its tile begins at row ``a`` and column ``c``.
    Each row of ``scores`` has ``width`` scores, and padding behind them.
    """

    scores: Any
    width: int
    a: int
    i0: int
    c: int
    j0: int


class Genuine(NamedTuple):
    """Arrays for genuine pairs: counts by key and cell, counts by cell, and nearest scores."""

    credits: Any
    pooled: Any
    borderline: Any
    nearest: Any


class Listed(NamedTuple):
    """The arrays of ``Buffers`` to which the listed pairs of a block are credited.

    ``column_places`` begins at the first column of the block.
    """

    columns: Any
    nearest: Any
    credits: Any
    carried: Any
    row_places: Any
    column_places: Any


class Buffers(NamedTuple):
    """The arrays of one worker.

    Attributes
    ----------
    nearest : ndarray of shape (N,), float32
        Highest impostor score of each row in the window.
    zone_pairs : ndarray of shape ((ZONES + 1) * 256,), uint16
        Counts of the zones of a block, two neighbours in a row at a time: the two zones together
        are the index. The integers are so short that the table stays in the first-level cache.
    zone_counts : ndarray of shape (ZONES + 1,), int64
        How often each zone occurred in all blocks.
    zones : ndarray, uint8
        Zones of some rows of the block.
    columns : ndarray, uint16
        Listed columns of one row of the block.
    credits : ndarray, uint8
        Credits in the window to the keys of one tile, flat, by key and cell. Bytes keep the table
        in the second-level cache.
    carried : ndarray, uint32
        Every 256 credits at one place make a *carry*. ``carried[0]`` is the number of carries, and
        the following entries are their places in ``credits``.
    row_places, column_places : ndarray of shape (S,), uint32, with S the largest side of a tile
        Where the credits to the key of each row or column of the tile begin.
    few_by_row, few_by_column : ndarrays of shape (S, few) and (few, S)
        For each row and each column of the tile, the pairs accepted at each of the few thresholds.
    """

    nearest: Any
    zone_pairs: Any
    zone_counts: Any
    zones: Any
    columns: Any
    credits: Any
    carried: Any
    row_places: Any
    column_places: Any
    few_by_row: Any
    few_by_column: Any


@compiled
def cell_of(score: Any, first: Any, cuts: Any, top: Any, scale: Any, compares: Any) -> Any:
    """Return the cell of a score: that of the first threshold which accepts it.

    The arguments are those of a ``Table``.
    """
    place = min(max((top - score) * scale, np.float32(0)), np.float32(first.size - 1))
    cell = np.uint32(first[np.uint32(place)])
    if cell >= CROWDED:
        cell -= CROWDED
        while score < cuts[cell]:
            cell += np.uint32(1)
        return cell
    if compares is None:
        return cell
    return cell + np.uint32(score < cuts[cell])
