"""Scan a block of scores. This is the compiled part of the Numba engine where time is spent.

``scan`` looks at each row of the block in four steps. The first three have no branch that depends
on a score:

1. ``_find_zones`` makes a byte of each score: its zone beyond the window, or ``ZONES`` for a score
   in the window, which is the only value with the highest bit set;
2. ``_split`` takes eight bytes at a time. It counts the zones, two bytes as one index into a table,
   and lists the columns whose highest bit is set;
3. ``_count_few`` compares the bytes with a few zones, for the counts by class beyond the window. It
   takes some rows of one class together, so that its counters can stay in registers;
4. ``credit`` (``numba_credits.py``) looks up the cells of the listed pairs.

The counters of step 2 are short integers, which stay in the caches. They can overflow within a
block. ``_gather_zones`` notices that, and then the zones of the block are counted again one by one.
"""

from typing import Any

import numpy as np

from opis_cli.counting.engines.numba_credits import credit
from opis_cli.counting.engines.numba_simd import (
    COMPRESSES,
    LANES,
    append,
    compress,
    count_columns,
    prefetch,
)
from opis_cli.counting.engines.numba_tables import Block, Buffers, Cells, Listed, compiled, u64

ZONES = 128
"""Number of zones beyond the window. A byte holds a zone; its highest bit means "in the window"."""

BLOCK = 1_536
"""Most rows, and most columns, of a block. This side was the fastest that was found."""

PADDING = 16
"""Unused floats behind each row of scores.

Without them, rows could lie a power of two apart in memory. Such rows compete for few lines of the
cache, and the matrix product writes them at half the speed.
"""

TOGETHER = 32
"""Most rows whose zones are kept until they are compared with the few zones."""

ZONE_PITCH = BLOCK + 64
"""Bytes from the zones of a row to those of the next one. Zones are read up to 64 at a time, also
beyond the last one."""

# These serve to look at eight bytes at a time: they gather the highest bits into a byte of flags,
# and list and count the bits that are set in it.
_HIGH_BITS = np.uint64(0x8080808080808080)
_GATHER = np.uint64(0x0102040810204080)
_SET_BITS = np.array(
    [
        [bit for bit in range(8) if byte >> bit & 1] + [0] * (8 - byte.bit_count())
        for byte in range(256)
    ],
    np.uint16,
)
_BIT_COUNTS = np.array([byte.bit_count() for byte in range(256)], np.uint64)


@compiled
def subtract_halves(scores: Any, left: Any, right: Any) -> None:
    for i in range(left.size):
        for j in range(right.size):
            scores[i, j] -= left[i] + right[j]


@compiled
def veto(scores: Any, left: Any, right: Any, score: Any) -> None:
    """Give the pairs whose codes are equal a score that no pair has."""
    for i in range(left.size):
        code = left[i]
        for j in range(right.size):
            scores[i, j] = score if right[j] == code else scores[i, j]


@compiled
def scan(block: Block, ends: Any, keys: Any, cells: Cells, buffers: Buffers) -> None:
    """Count the impostor pairs of a block, in a single pass over its scores.

    Parameters
    ----------
    block : Block
    ends : ndarray of shape (N,)
        For each row, one past the last row of its class. Impostor pairs begin there.
    keys : ndarray of shape (N,)
    cells : Cells
    buffers : Buffers
        The worker's arrays, to which counts are added.
    """
    # The arrays are taken out of the tuples once, because each access costs atomic operations on
    # reference counts.
    scores, width, a, i0, c, j0 = block
    zone_pairs, zone_counts = buffers.zone_pairs, buffers.zone_counts
    zones, columns = buffers.zones, buffers.columns
    words, quads = zones.view(np.uint64), zones.view(np.uint32)
    few, everywhere, scale, shift = cells.few, cells.everywhere, cells.scale, cells.shift
    few_by_row, few_by_column = buffers.few_by_row, buffers.few_by_column
    listed = Listed(
        columns,
        buffers.nearest,
        buffers.credits,
        buffers.carried,
        buffers.row_places,
        buffers.column_places[j0 - c :],
    )
    flat, height, doubles = scores.ravel(), scores.shape[0], np.uint64(0)
    kept = u64(0)
    for i in range(u64(height)):
        row = u64(i0) + i
        first = u64(min(max(ends[row] - j0, 0), width))
        size = u64(width) - first
        if everywhere:
            found = _list_all(size, columns)
        else:
            at = kept * u64(ZONE_PITCH)
            _find_zones(scores, i, first, size, scale, shift, zones, at)
            below = (i + u64(1)) * u64(scores.shape[1]) + first
            found = _split(
                words, quads, zones, at, size, zone_pairs, zone_counts, columns, flat, below
            )
            doubles += size // u64(8) * u64(4)
            kept += u64(1)
            last = i + u64(1) == height or kept == u64(TOGETHER)
            if last or keys[row + u64(1)] != keys[row] or ends[row + u64(1)] != ends[row]:
                in_tile = u64(j0 - c) + first
                for q in range(u64(few.size)):
                    few_by_row[u64(i0 - a) + i, q] += _count_few(
                        zones, kept, size, few[q], few_by_column[q], in_tile
                    )
                kept = u64(0)
        credit(block, i, first, found, cells.inside, listed)
    if not everywhere and not _gather_zones(zone_pairs, zone_counts, doubles):
        for i in range(u64(height)):
            first = u64(min(max(ends[u64(i0) + i] - j0, 0), width))
            size = (u64(width) - first) // u64(8) * u64(8)
            _find_zones(scores, i, first, size, scale, shift, zones, u64(0))
            for j in range(size):
                zone_counts[zones[j]] += 1


@compiled
def _gather_zones(zone_pairs: Any, zone_counts: Any, doubles: Any) -> Any:
    """Add the counts of zone pairs of a block to the counts of zones, and empty the table.

    If a counter of 16 bits overflowed, the total is less than ``doubles``, the number of pairs of
    zones that were counted, by a multiple of 2^16. Then nothing is added, and the function returns
    False.
    """
    by_first = np.zeros(zone_counts.size, np.uint64)
    by_second = np.zeros(zone_counts.size, np.uint64)
    total = np.uint64(0)
    for one in range(u64(zone_counts.size)):
        row, own = one << u64(8), np.uint64(0)
        for other in range(u64(zone_counts.size)):
            pairs = u64(zone_pairs[row + other])
            own += pairs
            by_second[other] += pairs
            zone_pairs[row + other] = np.uint16(0)
        by_first[one] = own
        total += own
    if total != doubles:
        return False
    for one in range(u64(zone_counts.size)):
        zone_counts[one] += np.int64(by_first[one] + by_second[one])
    return True


@compiled
def _list_all(size: Any, columns: Any) -> Any:
    for j in range(size):
        columns[j] = np.uint16(j)
    return size


@compiled
def _find_zones(
    scores: Any, i: Any, first: Any, size: Any, scale: Any, shift: Any, zones: Any, at: Any
) -> None:
    """Write the zone of each score to ``zones[at:]``, or ``ZONES`` if it is in the window."""
    for j in range(size):
        zone = np.int32(scores[i, first + j] * scale + shift)
        zones[at + j] = np.uint8(min(max(zone, np.int32(0)), np.int32(ZONES)))


@compiled
def _split(
    words: Any,
    quads: Any,
    zones: Any,
    at: Any,
    size: Any,
    zone_pairs: Any,
    zone_counts: Any,
    columns: Any,
    scores: Any,
    below: Any,
) -> Any:
    """Count the zones of a row, list its columns in the window, and return the number of these.

    The zones begin at ``zones[at]``. ``words`` and ``quads`` are the same memory, with eight and
    with four zones in each number. Meanwhile the scores of the next row, which begin at ``below``,
    are fetched into the cache.
    """
    count, whole = u64(0), size // u64(8)
    for w in range(whole):
        if w % u64(2) == u64(0):
            prefetch(scores, below + w * u64(8))
        quad = at // u64(4) + u64(2) * w
        left, right = quads[quad], quads[quad + u64(1)]
        zone_pairs[u64(np.uint16(left))] += np.uint16(1)
        zone_pairs[u64(left >> np.uint32(16))] += np.uint16(1)
        zone_pairs[u64(np.uint16(right))] += np.uint16(1)
        zone_pairs[u64(right >> np.uint32(16))] += np.uint16(1)
        if not COMPRESSES:
            # The product moves the highest bits of the eight bytes side by side into one byte.
            word = words[at // u64(8) + w]
            flags = (((word & _HIGH_BITS) >> u64(7)) * _GATHER) >> u64(56)
            append(columns, count, _SET_BITS, flags, np.uint16(w << u64(3)))
            count += _BIT_COUNTS[flags]
    for j in range(whole * u64(8), size):
        zone_counts[zones[at + j]] += 1
        if not COMPRESSES:
            columns[count] = np.uint16(j)
            count += u64(zones[at + j] == ZONES)
    if COMPRESSES:
        zones[at + size : at + size + u64(32)] = np.uint8(0)
        for start in range(u64(0), size, u64(32)):
            count += compress(columns, count, zones, at, start)
    return count


@compiled
def _count_few(zones: Any, rows: Any, size: Any, least: Any, by_column: Any, first: Any) -> Any:
    """Count the zones of some rows that are not below ``least``: for each column, and in all.

    The counts by column are added to ``by_column[first:]``. The sum of all is returned.
    """
    total, whole = np.uint32(0), size // u64(LANES) * u64(LANES)
    for j in range(u64(0), whole, u64(LANES)):
        total += count_columns(zones, j, u64(ZONE_PITCH), rows, least, by_column, first + j)
    for r in range(rows):
        for j in range(whole, size):
            accepted = zones[r * u64(ZONE_PITCH) + j] >= least
            by_column[first + j] += np.uint16(accepted)
            total += np.uint32(accepted)
    return total
