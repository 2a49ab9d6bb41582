"""What the Numba engine compiles: one look at a strip of scores, and the credits that follow."""

from typing import Any, NamedTuple

import numpy as np
from numba import njit

# No NaN reaches the scan, and products may be fused: both let LLVM vectorise it.
_compiled = njit(nogil=True, cache=True, fastmath={"nnan", "nsz", "contract"})


class Codes(NamedTuple):
    """A table from scores to cells: a code is a score scaled to so many steps from the top.

    ``first[code]`` is the first cell that a score of this code can be in, and its own at most
    ``steps`` further.
    """

    first: Any
    top: Any
    scale: Any
    steps: int


class Cells(NamedTuple):
    """The grid as the scan wants it.

    ``cuts`` (T,) fall. ``inside`` finds the cells of impostors below ``window``, ``anywhere`` those
    of genuine pairs. Beyond the window the cuts are even, and the scan knows their cells as zones:
    zone 0 is the last cell, the last zone the whole window. ``few`` are the zones from which on
    pairs are counted for the thresholds beyond the window that are kept by class.
    """

    cuts: Any
    class_cell: Any
    inside: Codes
    anywhere: Codes
    window: int
    window_cut: Any
    bottom: Any
    scale: Any
    few: Any


class Buffers(NamedTuple):
    """A worker's own arrays; ``nearest`` holds floats as integers of the same order."""

    nearest: Any
    zone_counts: Any
    zones: Any
    listed: Any
    starts: Any
    few_by_row: Any
    few_by_column: Any


def ordered(floats: Any) -> Any:
    """Bits of float32 values as integers of the same order; its own inverse on integers."""
    bits = np.asarray(floats).view(np.int32)
    return bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))


@_compiled
def subtract_halves(scores: Any, left: Any, right: Any) -> None:
    for i in range(scores.shape[0]):
        row = scores[i]
        for j in range(row.size):
            row[j] -= left[i] + right[j]


@_compiled
def scan(
    scores: Any, bits: Any, i0: int, j0: int, ends: Any, cells: Cells, buffers: Buffers
) -> None:
    """Look at the impostor pairs of a strip once; list those inside the window with their cells.

    A listed pair is ``cell << 16 | column``; those of row ``i`` lie at ``starts[i]:starts[i + 1]``.
    """
    last_zone = np.uint16(buffers.zone_counts.size - 1)
    listed, count = buffers.listed, np.uint64(0)
    buffers.few_by_column[:] = 0
    for i in range(scores.shape[0]):
        buffers.starts[i] = count
        first = min(max(ends[i0 + i] - j0, 0), scores.shape[1])
        row = scores[i, first:]
        nearest = buffers.nearest[j0 + first : j0 + scores.shape[1]]
        buffers.nearest[i0 + i] = _best(bits[i, first:], nearest, buffers.nearest[i0 + i])
        begin = count
        if last_zone == 0:
            for j in range(row.size):
                listed[count] = j
                count += np.uint64(1)
        else:
            zones = buffers.zones[: row.size]
            _find_zones(row, cells.bottom, cells.scale, cells.window_cut, last_zone, zones)
            count = _list_last(zones, last_zone, buffers.zone_counts, listed, count)
            _count_few(zones, cells.few, buffers.few_by_row[i], buffers.few_by_column, first)
        for k in range(begin, count):
            j = listed[k]
            cell = np.uint32(_cell(row[j], cells.cuts, cells.inside))
            listed[k] = (cell << np.uint32(16)) | np.uint32(j + first)
    buffers.starts[scores.shape[0]] = count


@_compiled
def _best(bits: Any, nearest: Any, best: Any) -> Any:
    """Raise the columns' best scores, as ordered integers; returns the row's."""
    for j in range(bits.size):
        value = bits[j] ^ ((bits[j] >> np.int32(31)) & np.int32(0x7FFFFFFF))
        best = max(best, value)
        nearest[j] = max(nearest[j], value)
    return best


@_compiled
def _find_zones(
    row: Any, bottom: Any, scale: Any, window_cut: Any, last_zone: Any, zones: Any
) -> None:
    """Zone of each score: 0 below the lowest even cut, then a step up at each, then the window."""
    for j in range(row.size):
        place = (row[j] - bottom) * scale + np.float32(1)
        place = place if place > np.float32(0) else np.float32(0)
        zone = min(np.int32(place), np.int32(last_zone) - np.int32(1))
        zones[j] = np.uint16(np.int32(last_zone) if row[j] >= window_cut else zone)


@_compiled
def _list_last(zones: Any, last_zone: Any, zone_counts: Any, listed: Any, count: Any) -> Any:
    """Count the zones, and list the columns in the last one; returns how many are listed."""
    for j in range(zones.size):
        zone = zones[j]
        zone_counts[zone] += np.uint64(1)
        listed[count] = np.uint32(j)
        count += np.uint64(zone == last_zone)
    return count


@_compiled
def _count_few(zones: Any, few: Any, by_row: Any, by_column: Any, first: int) -> None:
    """Count the zones from each of a few on, for the row and for every column."""
    for q in range(few.size):
        total, column = np.uint16(0), by_column[q, first:]
        for j in range(zones.size):
            accepted = np.uint16(zones[j] >= few[q])
            total += accepted
            column[j] += accepted
        by_row[q] = total


@_compiled
def _cell(score: Any, cuts: Any, codes: Codes) -> Any:
    """The cell of a score: that of the first threshold which accepts it."""
    place = (codes.top - score) * codes.scale
    place = min(max(place, np.float32(0)), np.float32(codes.first.size - 1))
    cell = codes.first[np.uint32(place)]
    for _ in range(codes.steps):
        cell += np.int32(score < cuts[np.uint32(cell)])
    return cell


@_compiled
def credit_listed(
    i0: int,
    j0: int,
    height: int,
    keys: Any,
    cells: Cells,
    buffers: Buffers,
    credits: Any,
    pooled: Any,
) -> None:
    """Credit the listed impostor pairs to the keys of both rows."""
    for i in range(height):
        own = credits[keys[i0 + i]]
        for k in range(buffers.starts[i], buffers.starts[i + 1]):
            pair = buffers.listed[k]
            cell = pair >> np.uint32(16)
            pooled[cell] += 1
            by_class = np.uint32(cells.class_cell[cell])
            own[by_class] += 1
            credits[np.uint32(keys[j0 + (pair & np.uint32(0xFFFF))]), by_class] += 1


@_compiled
def credit_few(
    i0: int, j0: int, height: int, width: int, keys: Any, buffers: Buffers, credits: Any
) -> None:
    """Credit what lies beyond the window: differences of what successive zones hold."""
    by_row, by_column = buffers.few_by_row, buffers.few_by_column
    steps = by_row.shape[1] - 1
    first = credits.shape[1] - steps
    for q in range(steps):
        for i in range(height):
            credits[keys[i0 + i], first + q] += by_row[i, q + 1] - by_row[i, q]
        for j in range(width):
            credits[keys[j0 + j], first + q] += by_column[q + 1, j] - by_column[q, j]


@_compiled
def credit_genuine(
    scores: Any,
    i0: int,
    j0: int,
    ends: Any,
    keys: Any,
    cells: Cells,
    credits: Any,
    pooled: Any,
    nearest: Any,
) -> None:
    """Credit the genuine pairs ``i < j`` of a strip to the keys of both rows."""
    for i in range(scores.shape[0]):
        for j in range(max(i0 + i + 1 - j0, 0), min(ends[i0 + i] - j0, scores.shape[1])):
            score = scores[i, j]
            nearest[i0 + i] = max(nearest[i0 + i], score)
            nearest[j0 + j] = max(nearest[j0 + j], score)
            cell = _cell(score, cells.cuts, cells.anywhere)
            pooled[cell] += 1
            by_class = cells.class_cell[cell]
            credits[keys[i0 + i], by_class] += 1
            credits[keys[j0 + j], by_class] += 1
