"""The default engine: one BLAS thread and one compiled scan in each of several workers.

A worker takes a tile, multiplies a strip of its rows with all of its columns, and scans the scores
while they are in cache, without a branch that depends on them:

- the best impostor of every row and column, as integers in the order of floats, which vectorise;
- each score's *zone*: one of the even cells beyond the window, or the window itself. A histogram of
  zones is the pooled count beyond the window, and comparing zones as 16-bit integers gives the few
  counts by class there;
- a list of the pairs inside the window, a tenth of all, and their cells.

The listed pairs, and the genuine ones, are credited to both keys in the one tally that all workers
share, under a lock that is held briefly: so memory does not grow with the workers.
"""

import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from opis_cli.distance import Rows
from opis_cli.engines import Progress, Tally, Tile
from opis_cli.records import Grid

TILE_SIDE = 1_024
_STRIP = 256
_CODES = 1 << 15
_FEW = 16

# No NaN reaches the scan, and products may be fused: both let LLVM vectorise it.
_compiled = njit(nogil=True, cache=True, fastmath={"nnan", "nsz", "contract"})


def count_pairs(
    rows: Rows,
    grid: Grid,
    tiles: Iterable[Tile],
    tally: Tally,
    threads: int,
    progress: Progress,
) -> None:
    """Count the pairs of tiles into the tally, on so many threads."""
    cells = _cells_of(rows, grid)
    queue = _Queue(iter(tiles), progress, threading.Lock(), threading.Event())
    tally_lock = threading.Lock()
    workers = [_Worker(rows, cells, tally, tally_lock) for _ in range(threads)]
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(threads) as pool:
        jobs = [pool.submit(worker.run, queue) for worker in workers]
        try:
            for job in jobs:
                job.result()
        finally:
            # Set after a fault or Ctrl-C too: the others stop at their next tile.
            queue.stop.set()
    for worker in workers:
        worker.deliver()


@dataclass(frozen=True, slots=True)
class _Queue:
    """The tiles that workers take, and whom they tell when one is done."""

    tiles: Iterator[Tile]
    progress: Progress
    lock: threading.Lock
    stop: threading.Event

    def take(self) -> Tile | None:
        with self.lock:
            return None if self.stop.is_set() else next(self.tiles, None)

    def done(self, tile: Tile) -> None:
        with self.lock:
            self.progress(tile.pairs)


class _Codes(NamedTuple):
    """A table from scores to cells: a code is a score scaled to ``_CODES`` steps from the top.

    ``first[code]`` is the first cell that a score of this code can be in, and its own at most
    ``steps`` further.
    """

    first: Any
    top: Any
    scale: Any
    steps: int


class _Cells(NamedTuple):
    """The grid as the scan wants it.

    ``cuts`` (T,) fall. ``inside`` finds the cells of impostors below ``window``, ``anywhere`` those
    of genuine pairs. Beyond the window the cuts are even, and the scan knows their cells as zones:
    zone 0 is the last cell, the last zone the whole window. ``few`` are the zones from which on
    pairs are counted for the thresholds beyond the window that are kept by class.
    """

    cuts: Any
    class_cell: Any
    inside: _Codes
    anywhere: _Codes
    window: int
    window_cut: Any
    bottom: Any
    scale: Any
    few: Any


class _Buffers(NamedTuple):
    """A worker's own arrays; ``nearest`` holds floats as integers of the same order."""

    nearest: Any
    zone_counts: Any
    zones: Any
    listed: Any
    starts: Any
    few_by_row: Any
    few_by_column: Any


def _cells_of(rows: Rows, grid: Grid) -> _Cells:
    cuts = rows.cuts(grid.thresholds)
    count, window = len(cuts), grid.window
    beyond = grid.by_class[grid.by_class >= window]
    if len(beyond) > _FEW or not _is_even(cuts[window - 1 : -1]):
        # Every cell is treated as the window's, which is slower and always right.
        window, beyond = count, beyond[:0]
    window_cut, bottom, scale = np.float32(-np.inf), np.float32(0), np.float32(0)
    if window < count:
        window_cut, bottom = cuts[window - 1], cuts[-2]
        scale = np.float32((count - 1 - window) / max(window_cut - bottom, np.float32(1e-30)))
    inside, anywhere = _codes_of(cuts[: min(window, count - 1)]), _codes_of(cuts[:-1])
    cuts[-1] = -np.inf
    class_cell = np.searchsorted(grid.by_class, np.arange(count)).astype(np.int32)
    # Cell c beyond the window is zone count - 1 - c; accepted are the zones from there on up.
    few = np.array([count - window, *(count - 1 - beyond)], np.uint16)[: 1 + len(beyond)]
    few = few if window < count else few[:0]
    return _Cells(cuts, class_cell, inside, anywhere, window, window_cut, bottom, scale, few)


def _is_even(cuts: NDArray[np.float32]) -> bool:
    """Whether cuts are evenly spaced, as far as float32 can tell."""
    even = np.linspace(cuts[0], cuts[-1], len(cuts)) if len(cuts) else cuts
    return bool(np.all(np.abs(cuts - even) <= 1e-6 * np.maximum(1.0, np.abs(even))))


def _codes_of(cuts: NDArray[np.float32]) -> _Codes:
    """The table for scores among some cuts; lower ones are in the cell after the last."""
    if len(cuts) == 0:
        return _Codes(np.zeros(_CODES, np.int32), np.float32(0), np.float32(0), 1)
    top = float(cuts[0])
    width = max(top - float(cuts[-1]), 1e-30) / (_CODES - 1)
    edges = top - np.arange(_CODES + 1) * width
    # The code is a float32 product, off by up to a few thousandths of a step.
    first = np.searchsorted(-cuts, -(edges[:-1] + 0.05 * width))
    last = np.searchsorted(-cuts, -(edges[1:] - 0.05 * width))
    first[0] = 0
    # The last code stands for all lower scores too, which may be in the very last cell.
    last[-1] = len(cuts)
    steps = int((last - first).max())
    return _Codes(first.astype(np.int32), np.float32(top), np.float32(1 / width), steps)


class _Worker:
    """One thread's buffers, and the parts of a tally that it keeps to itself until the end."""

    def __init__(self, rows: Rows, cells: _Cells, tally: Tally, lock: threading.Lock) -> None:
        self.rows, self.cells, self.tally, self.lock = rows, cells, tally, lock
        self.ends = rows.class_ends
        self.scores = np.empty(_STRIP * TILE_SIDE, np.float32)
        count, few = len(rows.labels), len(cells.few)
        self.buffers = _Buffers(
            nearest=np.full(count, _ordered(np.float32(-np.inf)), np.int32),
            zone_counts=np.zeros(len(cells.cuts) - cells.window + 1, np.uint32),
            zones=np.empty(TILE_SIDE, np.uint16),
            # One place more: the scan writes each column before it knows whether to keep it.
            listed=np.empty(_STRIP * TILE_SIDE + 1, np.uint32),
            starts=np.zeros(_STRIP + 1, np.int64),
            few_by_row=np.zeros((_STRIP, few), np.uint16),
            few_by_column=np.zeros((few, TILE_SIDE), np.uint16),
        )

    def run(self, queue: _Queue) -> None:
        """Take tiles until there are no more."""
        while (tile := queue.take()) is not None:
            for start in range(tile.a, tile.b, _STRIP):
                self.strip(tile, start, min(start + _STRIP, tile.b))
            queue.done(tile)

    def strip(self, tile: Tile, i0: int, i1: int) -> None:
        """Count the rows ``i0:i1`` with the tile's columns at or after them."""
        rows, cells, tally, buffers = self.rows, self.cells, self.tally, self.buffers
        j0 = max(tile.c, i0)
        scores = self.scores[: (i1 - i0) * (tile.d - j0)].reshape(i1 - i0, tile.d - j0)
        np.matmul(rows.vectors[i0:i1], rows.vectors[j0 : tile.d].T, out=scores)
        if rows.centred:
            _subtract_halves(scores, rows.half_squares[i0:i1], rows.half_squares[j0 : tile.d])
        _scan(scores, scores.view(np.int32), i0, j0, self.ends, cells, buffers)
        with self.lock:
            _credit_listed(
                i0,
                j0,
                scores.shape[0],
                rows.keys,
                cells,
                buffers,
                tally.impostor,
                tally.pooled_impostor,
            )
            _credit_few(i0, j0, *scores.shape, rows.keys, buffers, tally.impostor)
            if self.ends[i1 - 1] > j0:
                _credit_genuine(
                    scores,
                    i0,
                    j0,
                    self.ends,
                    rows.keys,
                    cells,
                    tally.genuine,
                    tally.pooled_genuine,
                    tally.nearest_genuine,
                )

    def deliver(self) -> None:
        """Add what this worker kept to itself."""
        tally, window, zone_counts = self.tally, self.cells.window, self.buffers.zone_counts
        nearest = _ordered(self.buffers.nearest).view(np.float32)
        np.maximum(tally.nearest_impostor, nearest, out=tally.nearest_impostor)
        tally.pooled_impostor[window:] += zone_counts[:-1][::-1]


def _ordered(floats: Any) -> Any:
    """Bits of float32 values as integers of the same order; its own inverse on integers."""
    bits = np.asarray(floats).view(np.int32)
    return bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))


@_compiled
def _subtract_halves(scores: Any, left: Any, right: Any) -> None:
    for i in range(scores.shape[0]):
        row = scores[i]
        for j in range(row.size):
            row[j] -= left[i] + right[j]


@_compiled
def _scan(
    scores: Any, bits: Any, i0: int, j0: int, ends: Any, cells: _Cells, buffers: _Buffers
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
        ordered = bits[j] ^ ((bits[j] >> np.int32(31)) & np.int32(0x7FFFFFFF))
        best = max(best, ordered)
        nearest[j] = max(nearest[j], ordered)
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
        zone_counts[zone] += np.uint32(1)
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
def _cell(score: Any, cuts: Any, codes: _Codes) -> Any:
    """The cell of a score: that of the first threshold which accepts it."""
    place = (codes.top - score) * codes.scale
    place = min(max(place, np.float32(0)), np.float32(codes.first.size - 1))
    cell = codes.first[np.uint32(place)]
    for _ in range(codes.steps):
        cell += np.int32(score < cuts[np.uint32(cell)])
    return cell


@_compiled
def _credit_listed(
    i0: int,
    j0: int,
    height: int,
    keys: Any,
    cells: _Cells,
    buffers: _Buffers,
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
def _credit_few(
    i0: int, j0: int, height: int, width: int, keys: Any, buffers: _Buffers, credits: Any
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
def _credit_genuine(
    scores: Any,
    i0: int,
    j0: int,
    ends: Any,
    keys: Any,
    cells: _Cells,
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
