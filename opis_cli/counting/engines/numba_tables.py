"""The grid as compiled code wants it, a worker's arrays, and how all of it is compiled."""

from typing import Any, NamedTuple

import numpy as np

from opis_cli.counting.engines.numba_cache import compiler

# No NaN reaches the scan, and products may be fused: both let LLVM vectorise it.
compiled = compiler(nogil=True, fastmath={"nnan", "nsz", "contract"})
# Sums in any order too.
summing = compiler(nogil=True, fastmath={"nnan", "nsz", "contract", "reassoc"})

u64 = np.uint64  # Numba looks for negative places where an index is signed.

CROWDED = np.uint32(1 << 15)
"""Bit of a table's cells that says to search on."""


class Table(NamedTuple):
    """A table from scores to cells among ``cuts``, which fall to -inf.

    ``first[code]`` is the cell of a score with this code (``rows.Codes``); where its highest
    bit is set, cuts lie inside the code, and the cell is this one or one of the next. Where
    ``compares`` is not None, a code may have one cut inside without that bit. (It is None, not
    False, as Numba compiles code for each type.)
    """

    cuts: Any
    first: Any
    top: Any
    scale: Any
    compares: Any


class Cells(NamedTuple):
    """The grid as the scan wants it.

    Of ``number`` cells the first ``window`` are kept by class; ``inside`` finds those of impostors
    in the window, ``anywhere`` all cells, of genuine pairs. Beyond the window the cuts are even,
    and the scan knows their cells as zones, from 0 for the last cell up to ``ZONES - 1``: a
    score's is ``score * scale + shift``, cut off. ``few`` are the zones from which on pairs are
    counted for the thresholds beyond the window that are kept by class, but for the last one.
    ``everywhere`` says that all cells are the window's, and there are no zones.
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
    """A block of scores, and where it lies.

    The block begins at row ``i0`` and column ``j0``, of a tile that begins at row ``a`` and column
    ``c``. Of each row of ``scores``, the first ``width`` are its columns.
    """

    scores: Any
    width: int
    a: int
    i0: int
    c: int
    j0: int


class Genuine(NamedTuple):
    """Where genuine pairs are counted: by key and cell, by cell, and the nearest of each row."""

    credits: Any
    pooled: Any
    borderline: Any
    nearest: Any


class Listed(NamedTuple):
    """Where the listed pairs of a block are credited, arrays of ``Buffers`` that a row needs.

    ``column_places`` begins at the block's first column.
    """

    columns: Any
    nearest: Any
    credits: Any
    carried: Any
    row_places: Any
    column_places: Any


class Buffers(NamedTuple):
    """A worker's own arrays.

    ``zone_pairs`` counts the zones of a block two at a time, as neighbours in a row, in integers so
    short that the table stays in the first cache; ``zone_counts`` has the zones of all blocks.

    ``credits`` has the credits of the window to the keys of one tile, flat, in bytes, so that they
    stay in the second cache: those of a row begin at its ``row_places`` or ``column_places``. Each
    256 credits of a place make a *carry*, of which ``carried[0]`` is the number, and the rest says
    where.
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
    few_columns: Any


@compiled
def cell_of(score: Any, first: Any, cuts: Any, top: Any, scale: Any, compares: Any) -> Any:
    """The cell of a score, that of the first threshold which accepts it, by a table of codes."""
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
