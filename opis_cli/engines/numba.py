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

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from opis_cli.distance import Rows
from opis_cli.engines import Advance, Tally, Tile
from opis_cli.engines.kernels import (
    Buffers,
    Cells,
    Codes,
    credit_few,
    credit_genuine,
    credit_listed,
    ordered,
    scan,
    subtract_halves,
)
from opis_cli.records import Grid, Ints

TILE_SIDE = 1_024
_STRIP = 256
_CODES = 1 << 15
_FEW = 16


def count_pairs(
    rows: Rows,
    grid: Grid,
    tiles: Iterable[Tile],
    tally: Tally,
    threads: int,
    advance: Advance,
) -> None:
    """Count the pairs of tiles into the tally, on so many threads."""
    cells = _cells_of(rows, grid)
    queue = _Queue(iter(tiles), advance, threading.Lock(), threading.Event())
    tally_lock = threading.Lock()
    ends = rows.class_ends
    workers = [_Worker(rows, ends, cells, tally, tally_lock) for _ in range(threads)]
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
    advance: Advance
    lock: threading.Lock
    stop: threading.Event

    def take(self) -> Tile | None:
        with self.lock:
            return None if self.stop.is_set() else next(self.tiles, None)

    def done(self, tile: Tile) -> None:
        with self.lock:
            self.advance(tile.pairs)


def _cells_of(rows: Rows, grid: Grid) -> Cells:
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
    return Cells(cuts, class_cell, inside, anywhere, window, window_cut, bottom, scale, few)


def _is_even(cuts: NDArray[np.float32]) -> bool:
    """Whether cuts are evenly spaced, as far as float32 can tell."""
    even = np.linspace(cuts[0], cuts[-1], len(cuts)) if len(cuts) else cuts
    return bool(np.all(np.abs(cuts - even) <= 1e-6 * np.maximum(1.0, np.abs(even))))


def _codes_of(cuts: NDArray[np.float32]) -> Codes:
    """The table for scores among some cuts; lower ones are in the cell after the last."""
    if len(cuts) == 0:
        return Codes(np.zeros(_CODES, np.int32), np.float32(0), np.float32(0), 1)
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
    return Codes(first.astype(np.int32), np.float32(top), np.float32(1 / width), steps)


class _Worker:
    """One thread's buffers, and the parts of a tally that it keeps to itself until the end."""

    def __init__(
        self, rows: Rows, ends: Ints, cells: Cells, tally: Tally, lock: threading.Lock
    ) -> None:
        self.rows, self.ends, self.cells, self.tally, self.lock = rows, ends, cells, tally, lock
        self.scores = np.empty(_STRIP * TILE_SIDE, np.float32)
        count, few = len(rows.labels), len(cells.few)
        self.buffers = Buffers(
            nearest=np.full(count, ordered(np.float32(-np.inf)), np.int32),
            zone_counts=np.zeros(len(cells.cuts) - cells.window + 1, np.uint64),
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
            subtract_halves(scores, rows.half_squares[i0:i1], rows.half_squares[j0 : tile.d])
        scan(scores, scores.view(np.int32), i0, j0, self.ends, cells, buffers)
        with self.lock:
            credit_listed(
                i0,
                j0,
                scores.shape[0],
                rows.keys,
                cells,
                buffers,
                tally.impostor,
                tally.pooled_impostor,
            )
            credit_few(i0, j0, *scores.shape, rows.keys, buffers, tally.impostor)
            if self.ends[i1 - 1] > j0:
                credit_genuine(
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
        nearest = ordered(self.buffers.nearest).view(np.float32)
        np.maximum(tally.nearest_impostor, nearest, out=tally.nearest_impostor)
        tally.pooled_impostor[window:] += zone_counts[:-1][::-1].astype(np.int64)
