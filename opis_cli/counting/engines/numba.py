"""The default engine: one BLAS thread and one compiled scan in each of several workers.

A worker takes a tile, multiplies it in blocks, and scans a block's scores while they are in cache,
without a branch that depends on them:

- each score's *zone*, a byte: one of the even cells beyond the window, or the window itself. A
  histogram of zones, two at a time, is the pooled count beyond the window, and comparing bytes
  gives the few counts by class there;
- a list of the pairs inside the window, a tenth of all; their cells, and the nearest impostor of
  every row that has one in the window.

A tile has the rows of few keys. What the listed pairs credit to these is kept in bytes, a table so
small that it stays in the second cache, and added to the one tally that all workers share once the
tile is done. Genuine pairs, which are few, are credited there at once.
"""

import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from opis_cli.counting.engines.numba_credits import (
    credit_beyond,
    credit_genuine,
    deliver_credits,
    find_places,
    inside,
)
from opis_cli.counting.engines.numba_scan import PADDING, ZONES, scan, subtract_halves, veto
from opis_cli.counting.engines.numba_tables import (
    CROWDED,
    Block,
    Bounds,
    Buffers,
    Cells,
    Genuine,
    Table,
)
from opis_cli.counting.rows import CODES, ROUNDING, Codes, Rows
from opis_cli.counting.tally import Advance, Opened, Tally, Tile
from opis_cli.records import Embeddings, Grid, Ints
from opis_cli.settings import Settings

TILE_SIDE = 3_072
# The best side of blocks that was found. Those on the diagonal are cut finer, since half of what
# they hold is not asked for.
_BLOCK, _DIAGONAL_PARTS = 1_536, 6
_FEW = 16
# A branch for every cut inside a code costs less than a comparison of every score while so few are.
_FEW_CROWDED = CODES // 100


@contextmanager
def opened(embeddings: Embeddings, settings: Settings, threads: int) -> Iterator[Opened]:
    """This engine, ready to count."""
    yield Opened(TILE_SIDE, lambda number: count_pairs)


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
    spans = rows.class_begins, rows.class_ends
    workers = [_Worker(rows, spans, cells, tally, tally_lock) for _ in range(threads)]
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
        in_window = np.sum([worker.in_window for worker in workers], axis=0)
        beyond = np.sum([worker.beyond for worker in workers], axis=0)
        cells_beyond = np.diff(beyond, axis=1, prepend=in_window[:, None])
        tally.impostor[:, cells.window :] += cells_beyond.astype(tally.impostor.dtype)


def count_inside(rows: Rows, count: int, grid: Grid, threads: int) -> NDArray[np.uint32]:
    """Genuine pairs of small classes, without the pairs between them.

    Returns those of the first ``count`` rows, by class and cell of the window, (classes, window).
    """
    changes = np.flatnonzero(np.diff(rows.labels[:count])) + 1
    starts = np.concatenate([[0], changes, [count]])
    cuts = rows.cuts_of(grid)[: grid.window]
    found = np.zeros((len(starts) - 1, grid.window), np.uint32)

    def work(classes: Ints) -> None:
        for k in classes:
            inside(rows.vectors, rows.half_squares, starts[k], starts[k + 1], cuts, found[k])

    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, np.array_split(np.arange(len(found)), threads)):
            pass
    return found


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
    cuts = rows.cuts_of(grid)
    codes = rows.codes(float(grid.thresholds[min(grid.window, len(cuts) - 1) - 1]))
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
        # The last threshold accepts every pair; that takes no looking at scores.
        few = (ZONES - 1 - (beyond[:-1] - window)).astype(np.uint8)
    return Cells(
        number=count,
        window=window,
        class_cell=grid.class_cell.astype(np.int32),
        inside=_table(cuts[:window], codes),
        anywhere=_table(cuts, Codes.between(cuts[0], cuts[-2])),
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


def _table(cuts: NDArray[np.float32], codes: Codes) -> Table:
    """The table of codes for scores among some cuts; scores below all are in the last cell."""
    reached = codes.of(cuts[:-1])
    first = np.searchsorted(reached, np.arange(CODES))
    # A cut with the code of the next lower score lies inside that code.
    inside = reached == codes.of(np.nextafter(cuts[:-1], np.float32(-np.inf)))
    number = np.bincount(reached[inside], minlength=CODES)
    compares = np.count_nonzero(number) > _FEW_CROWDED
    first[number > compares] |= CROWDED
    last = np.append(cuts[:-1], np.float32(-np.inf))
    return Table(last, first.astype(np.uint16), codes.top, codes.scale, compares or None)


class _Worker:
    """One thread's buffers, and the parts of a tally that it keeps to itself until the end."""

    def __init__(
        self,
        rows: Rows,
        spans: tuple[Ints, Ints],
        cells: Cells,
        tally: Tally,
        lock: threading.Lock,
    ) -> None:
        self.rows, self.cells, self.tally, self.lock = rows, cells, tally, lock
        self.begins, self.ends = spans
        self.scores = np.empty((_BLOCK, _BLOCK + PADDING), np.float32)
        count, few = len(rows.labels), len(cells.few)
        keys = len(tally.impostor)
        # Impostor pairs of each key: those in the window, those accepted at each of the few
        # thresholds beyond it, and in the last column all.
        self.in_window = np.zeros(keys, np.int64)
        self.beyond = np.zeros((keys, few + 1), np.int64)
        self.by_cell = np.zeros(cells.window, np.int64)
        self.numbers = np.zeros(keys, np.int32)
        self.found = np.zeros(min(keys, 2 * TILE_SIDE), np.int32)
        self.buffers = Buffers(
            nearest=np.full(count, -np.inf, np.float32),
            zone_pairs=np.zeros((ZONES + 1) * 256, np.uint16),
            zone_counts=np.zeros(ZONES + 1, np.int64),
            # Zones are read and columns written up to 32 at a time, kept or not.
            zones=np.empty(_BLOCK + 32, np.uint8),
            columns=np.empty(_BLOCK + 32, np.uint16),
            credits=np.zeros(len(self.found) * cells.window, np.uint8),
            carried=np.zeros(1 + 2 * TILE_SIDE**2 // 256, np.uint32),
            row_places=np.zeros(TILE_SIDE, np.uint32),
            column_places=np.zeros(TILE_SIDE, np.uint32),
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
        cells, buffers, keys = self.cells, self.buffers, self.rows.keys
        on_diagonal = tile.a == tile.c
        height = _BLOCK // _DIAGONAL_PARTS if on_diagonal else _BLOCK
        known = cells.window, self.numbers, self.found
        count = find_places(keys, tile.a, tile.b, *known, 0, buffers.row_places)
        count = find_places(keys, tile.c, tile.d, *known, count, buffers.column_places)
        for i0 in range(tile.a, tile.b, height):
            for j0 in range(i0 if on_diagonal else tile.c, tile.d, _BLOCK):
                ends = min(i0 + height, tile.b), min(j0 + _BLOCK, tile.d)
                self.count_block(tile, i0, ends[0], j0, ends[1])
        found = self.found[:count]
        self.numbers[found] = 0
        with self.lock:
            deliver_credits(
                found,
                cells.window,
                cells.class_cell,
                buffers,
                self.by_cell,
                self.in_window,
                self.tally.impostor,
            )
        if not cells.everywhere:
            bounds = Bounds(tile.a, tile.b, tile.c, tile.d)
            credit_beyond(bounds, self.begins, self.ends, keys, buffers, self.beyond)

    def count_block(self, tile: Tile, i0: int, i1: int, j0: int, j1: int) -> None:
        """Count the rows ``i0:i1`` with the columns ``j0:j1`` of a tile."""
        rows, cells, tally, buffers = self.rows, self.cells, self.tally, self.buffers
        scores, width = self.scores[: i1 - i0], j1 - j0
        np.matmul(rows.vectors[i0:i1], rows.vectors[j0:j1].T, out=scores[:, :width])
        if rows.centred:
            subtract_halves(scores, rows.half_squares[i0:i1], rows.half_squares[j0:j1])
        for codes in rows.vetoes:
            veto(scores, codes[i0:i1], codes[j0:j1], rows.veto_score)
        block = Block(scores, width, tile.a, i0, tile.c, j0)
        scan(block, self.ends, rows.keys, cells, buffers)
        if self.ends[i1 - 1] > j0:
            rounding = np.float32(ROUNDING * rows.scale)
            counted = Genuine(
                tally.genuine,
                tally.pooled_genuine,
                tally.borderline_genuine,
                tally.nearest_genuine,
            )
            with self.lock:
                credit_genuine(block, self.ends, rows.keys, cells.anywhere, rounding, counted)

    def deliver(self) -> None:
        """Add what this worker kept to itself."""
        tally, window, zones = self.tally, self.cells.window, self.buffers.zone_counts
        np.maximum(tally.nearest_impostor, self.buffers.nearest, out=tally.nearest_impostor)
        # A pair was credited to two keys.
        tally.pooled_impostor[:window] += self.by_cell // 2
        beyond = self.cells.number - window
        if beyond:
            tally.pooled_impostor[window:] += zones[:ZONES][::-1][:beyond]
            tally.pooled_impostor[-1] += zones[: ZONES - beyond].sum()
