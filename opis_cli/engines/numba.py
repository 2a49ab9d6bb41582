"""The default engine: one BLAS thread and one compiled scan in each of several workers.

A worker takes a tile, multiplies a strip of its rows with all of its columns, and scans the scores
while they are in cache, without a branch that depends on them:

- each score's *zone*, a byte: one of the even cells beyond the window, or the window itself. A
  histogram of zones, two at a time, is the pooled count beyond the window, and comparing bytes
  gives the few counts by class there;
- a list of the pairs inside the window, a tenth of all, taken from eight zones at a time; their
  cells, and the nearest impostor of every row that has one in the window.

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
    CROWDED,
    ZONES,
    Buffers,
    Cells,
    Codes,
    credit_few,
    credit_genuine,
    credit_listed,
    scan,
    subtract_halves,
    veto,
)
from opis_cli.records import Grid, Ints

TILE_SIDE = 2_048
_STRIP = 256
_TALL_STRIP, _TALL_FROM = 1_024, 256
_CODES = 1 << 15
_FEW = 16
_TILES_TO_EMPTY = 1_000


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
    before = _credited(tally, cells)
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
    if not cells.everywhere:
        # An impostor pair of the window was credited to two keys.
        tally.pooled_impostor[: cells.window] += (_credited(tally, cells) - before) // 2


def _credited(tally: Tally, cells: Cells) -> NDArray[np.int64]:
    """Impostor credits of all keys, by cell of the window."""
    return np.asarray(tally.impostor[:, : cells.window].sum(axis=0, dtype=np.int64))


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
    scale, shift, few = np.float32(0), np.float32(0), np.zeros(0, np.uint8)
    even = cuts[window - 1 : -1]
    # Where every cell is treated as the window's, counting is slower, and always right.
    everywhere = not (1 < len(even) <= ZONES and _is_even(even) and len(beyond) <= _FEW)
    if everywhere:
        window = count
    else:
        scale = np.float32((len(even) - 1) / (float(even[0]) - float(even[-1])))
        shift = np.float32(ZONES - float(even[0]) * float(scale))
        few = np.append(ZONES, ZONES - 1 - (beyond - window)).astype(np.uint8)
        few[-1] = 0
    class_cell = np.searchsorted(grid.by_class, np.arange(count)).astype(np.int32)
    return Cells(
        number=count,
        window=window,
        class_cell=class_cell,
        inside=_codes_of(cuts[:window]),
        anywhere=_codes_of(cuts),
        everywhere=everywhere,
        scale=scale,
        shift=shift,
        few=few,
    )


def _is_even(cuts: NDArray[np.float32]) -> bool:
    """Whether cuts fall evenly, as far as float32 can tell."""
    even = np.linspace(cuts[0], cuts[-1], len(cuts))
    return bool(cuts[0] > cuts[-1]) and bool(
        np.all(np.abs(cuts - even) <= 1e-6 * np.maximum(1.0, np.abs(even)))
    )


def _codes_of(cuts: NDArray[np.float32]) -> Codes:
    """The table for scores among some cuts; those below them all are in the last cell."""
    top = float(cuts[0])
    width = max(top - float(cuts[-2:][0]), 1e-30) / (_CODES - 1)
    edges = top - np.arange(_CODES + 1) * width
    # The code is a float32 product, off by up to a few thousandths of a step.
    first = np.searchsorted(-cuts[:-1], -(edges[:-1] + 0.05 * width))
    last = np.searchsorted(-cuts[:-1], -(edges[1:] - 0.05 * width))
    first[0] = 0
    # The last code stands for all lower scores too, which may be in the very last cell.
    last[-1] = len(cuts) - 1
    steps = int((last - first).max())
    first[last - first > 1] |= CROWDED
    return Codes(
        np.append(cuts[:-1], np.float32(-np.inf)),
        first.astype(np.uint16),
        np.float32(top),
        np.float32(1 / width),
        steps,
    )


class _Worker:
    """One thread's buffers, and the parts of a tally that it keeps to itself until the end."""

    def __init__(
        self, rows: Rows, ends: Ints, cells: Cells, tally: Tally, lock: threading.Lock
    ) -> None:
        self.rows, self.ends, self.cells, self.tally, self.lock = rows, ends, cells, tally, lock
        # The product packs a tile's columns anew for each strip: with long rows that costs more
        # than scores that stay in the second-level cache save.
        self.height = _STRIP if rows.vectors.shape[1] < _TALL_FROM else _TALL_STRIP
        self.scores = np.empty(self.height * TILE_SIDE, np.float32)
        count, few = len(rows.labels), len(cells.few)
        self.tiles = 0
        self.zone_counts = np.zeros(ZONES + 1, np.int64)
        self.buffers = Buffers(
            nearest=np.full(count, -np.inf, np.float32),
            zone_pairs=np.zeros((ZONES + 1) * 256, np.uint32),
            zones_left=np.zeros(ZONES + 1, np.uint32),
            zones=np.empty(TILE_SIDE, np.uint8),
            # Columns are written eight at a time, kept or not.
            columns=np.empty(TILE_SIDE + 8, np.uint16),
            listed=np.empty(self.height * TILE_SIDE, np.uint32),
            starts=np.zeros(self.height + 1, np.int64),
            few_by_row=np.zeros((TILE_SIDE, few), np.uint32),
            few_by_column=np.zeros((few, TILE_SIDE), np.uint16),
            few_columns=np.zeros((few, TILE_SIDE), np.uint8),
        )

    def run(self, queue: _Queue) -> None:
        """Take tiles until there are no more."""
        while (tile := queue.take()) is not None:
            self.tile(tile)
            queue.done(tile)

    def tile(self, tile: Tile) -> None:
        """Count the pairs of a tile."""
        for start in range(tile.a, tile.b, self.height):
            self.strip(tile, start, min(start + self.height, tile.b))
        height, width = tile.b - tile.a, tile.d - tile.c
        with self.lock:
            credit_few(
                tile.a, tile.c, height, width, self.rows.keys, self.buffers, self.tally.impostor
            )
        self.tiles += 1
        if self.tiles % _TILES_TO_EMPTY == 0:
            self.empty_zones()

    def strip(self, tile: Tile, i0: int, i1: int) -> None:
        """Count the rows ``i0:i1`` with the tile's columns at or after them."""
        rows, cells, tally, buffers = self.rows, self.cells, self.tally, self.buffers
        j0 = max(tile.c, i0)
        scores = self.scores[: (i1 - i0) * (tile.d - j0)].reshape(i1 - i0, tile.d - j0)
        np.matmul(rows.vectors[i0:i1], rows.vectors[j0 : tile.d].T, out=scores)
        if rows.centred:
            subtract_halves(scores, rows.half_squares[i0:i1], rows.half_squares[j0 : tile.d])
        for codes in rows.vetoes:
            veto(scores, codes[i0:i1], codes[j0 : tile.d], rows.veto_score)
        scan(scores, tile.a, i0, tile.c, j0, self.ends, rows.keys, cells, buffers)
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

    def empty_zones(self) -> None:
        """Take the zones out of their 32-bit counts before these can overflow."""
        pairs = self.buffers.zone_pairs.reshape(ZONES + 1, 256)
        self.zone_counts += pairs.sum(axis=1, dtype=np.int64)
        self.zone_counts += pairs.sum(axis=0, dtype=np.int64)[: ZONES + 1]
        self.zone_counts += self.buffers.zones_left
        pairs[:] = 0
        self.buffers.zones_left[:] = 0

    def deliver(self) -> None:
        """Add what this worker kept to itself."""
        self.empty_zones()
        tally, window = self.tally, self.cells.window
        np.maximum(tally.nearest_impostor, self.buffers.nearest, out=tally.nearest_impostor)
        beyond = self.cells.number - window
        if beyond:
            tally.pooled_impostor[window:] += self.zone_counts[:ZONES][::-1][:beyond]
            tally.pooled_impostor[-1] += self.zone_counts[: ZONES - beyond].sum()
