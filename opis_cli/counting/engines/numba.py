"""The default engine. Several workers each run one BLAS thread and one compiled scan.

The matrix product of a block of rows is fast. The slow part is to put each of its scores into a
cell and to credit two keys for it: a search and two additions at random places in memory. This
engine avoids most of that work, by four tricks.

*Blocks.* A worker takes a tile, multiplies it in blocks, and scans the scores of a block while they
are in the cache. Up to the lists below, the scan has no branch that depends on a score.

*Zones.* Nine tenths of the scores lie beyond the window, where cuts are even. There a product and
an addition give the cell of a score, as one byte, its *zone*; one more value of the byte stands for
the window. A histogram of zones, two at a time, gives the pooled counts beyond the window.
Comparisons of bytes give the few counts by class there.

*Lists.* The pairs inside the window, a tenth of all, are listed. Only for these does the engine
look up the cell, and raise the nearest impostor score of both rows.

*Credits in bytes.* A tile has the rows of few keys. The credits of its listed pairs are kept in
bytes, in a table so small that it stays in the second-level cache. When the tile is done, they are
added to the one tally that all workers share. Genuine pairs are few, and are credited to the tally
at once.

If the cuts beyond the window are not even, or too many, every cell is treated as a cell of the
window (``Cells.everywhere``). That is slower, but always right.

Read ``numpy.py`` first, which does the same plainly. Then read ``count_pairs`` and ``_Worker``
here, ``numba_tables.py`` for the arrays, ``numba_scan.py`` for the scan of a block, and
``numba_credits.py`` for the credits.
"""

import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from opis_cli.counting.engines.numba_credits import (
    credit_beyond,
    credit_genuine,
    deliver_credits,
    find_places,
    inside,
)
from opis_cli.counting.engines.numba_scan import (
    BLOCK,
    PADDING,
    TOGETHER,
    ZONE_PITCH,
    ZONES,
    scan,
    subtract_halves,
    veto,
)
from opis_cli.counting.engines.numba_tables import (
    CROWDED,
    Block,
    Bounds,
    Buffers,
    Cells,
    Genuine,
    Table,
)
from opis_cli.counting.parts import Opened, counting_with
from opis_cli.counting.rows import CODES, Codes, Rows, fall_evenly
from opis_cli.counting.tally import Advance, Tally, Tile
from opis_cli.machine import on_threads
from opis_cli.records import Embeddings, Grid, Ints
from opis_cli.settings import Settings

TILE_SIDE = 2 * BLOCK
# The counts of larger tiles are delivered more rarely. But few tiles cannot be shared out evenly.
_LARGE_SIDE, _MANY_ROWS = 3 * BLOCK, 45_000
# Tiles on the diagonal are cut into lower blocks, because half of the pairs in a square block there
# are not asked for.
_DIAGONAL_PARTS = 6
_LINE = 64
"""Bytes of a line of the cache."""
_FEW = 16
"""Most thresholds with counts by class beyond the window, if zones are to be used."""
# While few codes have a cut inside, a branch for these costs less than a comparison of every score.
_FEW_CROWDED = CODES // 100
"""Most codes with a cut inside that are handled by a branch."""
_ROWS_FOR_OFTEN = 20_000
"""Rows from which other code for these pays, which takes a second to compile."""


@contextmanager
def opened(embeddings: Embeddings, settings: Settings, threads: int) -> Iterator[Opened]:
    """Open this engine."""
    yield Opened(side_for(len(embeddings.labels)), counting_with(count_pairs, threads))


def side_for(rows: int) -> int:
    """Return the rows on a side of tiles that suit a count of many or of few rows best."""
    return _LARGE_SIDE if rows >= _MANY_ROWS else TILE_SIDE


def count_pairs(
    rows: Rows,
    grid: Grid,
    tiles: Iterable[Tile],
    tally: Tally,
    threads: int,
    advance: Advance,
) -> None:
    """Count the pairs of tiles into the tally, on some threads."""
    cells = _cells_of(rows, grid)
    queue = _Queue(iter(tiles), advance, threading.Lock(), threading.Event())
    tally_lock = threading.Lock()
    spans = rows.class_begins, rows.class_ends
    workers = [_Worker(rows, spans, cells, tally, tally_lock) for _ in range(threads)]
    on_threads([partial(worker.run, queue) for worker in workers], queue.stop)
    for worker in workers:
        worker.deliver()
    if not cells.everywhere:
        in_window = np.sum([worker.in_window for worker in workers], axis=0)
        beyond = np.sum([worker.beyond for worker in workers], axis=0)
        cells_beyond = np.diff(beyond, axis=1, prepend=in_window[:, None])
        tally.impostor[:, cells.window :] += cells_beyond.astype(tally.impostor.dtype)


def count_inside(rows: Rows, count: int, grid: Grid, threads: int) -> NDArray[np.uint32]:
    """Count the pairs inside each class of the first ``count`` rows, shape (classes, W).

    W is the number of cells in the window. Classes should be small. Pairs between classes are not
    even computed.
    """
    changes = np.flatnonzero(np.diff(rows.labels[:count])) + 1
    starts = np.concatenate([[0], changes, [count]])
    cuts = rows.cuts_of(grid)[: grid.window]
    found = np.zeros((len(starts) - 1, grid.window), np.uint32)

    def work(classes: Ints) -> None:
        for k in classes:
            start, stop = starts[k], starts[k + 1]
            inside(rows.vectors, rows.partners, rows.half_squares, start, stop, cuts, found[k])

    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, np.array_split(np.arange(len(found)), threads)):
            pass
    return found


@dataclass(frozen=True, slots=True)
class _Queue:
    """The tiles that workers take, and the function that they call when one is done."""

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
    # To treat every cell as a cell of the window is slower, but always right.
    everywhere = not (1 < len(even) <= ZONES and fall_evenly(even) and len(beyond) <= _FEW)
    if everywhere:
        window = count
    else:
        scale = np.float32((len(even) - 1) / (float(even[0]) - float(even[-1])))
        shift = np.float32(ZONES - float(even[0]) * float(scale))
        # The last threshold accepts every pair, so its counts need no scores.
        few = (ZONES - 1 - (beyond[:-1] - window)).astype(np.uint8)
    return Cells(
        number=count,
        window=window,
        class_cell=grid.class_cell.astype(np.int32),
        inside=_table(cuts[:window], codes, often=len(rows.labels) >= _ROWS_FOR_OFTEN),
        # Genuine pairs are few.
        anywhere=_table(cuts, Codes.between(cuts[0], cuts[-2]), often=False),
        everywhere=everywhere,
        scale=scale,
        shift=shift,
        few=few,
    )


def _table(cuts: NDArray[np.float32], codes: Codes, *, often: bool) -> Table:
    """Make the table that leads from codes of scores to cells among cuts.

    Scores below all cuts are in the last cell. ``often`` says whether so many scores are looked up
    that it pays to compile other code for tables with many cuts inside codes.
    """
    reached = codes.of(cuts[:-1])
    first = np.searchsorted(reached, np.arange(CODES))
    # If the score just below a cut has the same code as the cut, the cut lies inside that code.
    inside = reached == codes.of(np.nextafter(cuts[:-1], np.float32(-np.inf)))
    number = np.bincount(reached[inside], minlength=CODES)
    compares = often and np.count_nonzero(number) > _FEW_CROWDED
    first[number > compares] |= CROWDED
    last = np.append(cuts[:-1], np.float32(-np.inf))
    return Table(last, first.astype(np.uint16), codes.top, codes.scale, compares or None)


def _empty_block() -> NDArray[np.float32]:
    """Return memory for a block of scores whose rows begin with a line of the cache."""
    pitch = BLOCK + PADDING
    room = np.empty(BLOCK * pitch + _LINE // 4, np.float32)
    start = -room.ctypes.data % _LINE // 4
    return room[start : start + BLOCK * pitch].reshape(BLOCK, pitch)


class _Worker:
    """The buffers of one thread, and the counts that it keeps to itself until the end."""

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
        self.scores = _empty_block()
        count, few = len(rows.labels), len(cells.few)
        keys = len(tally.impostor)
        # Impostor pairs of each key: in_window has those in the window. beyond has those accepted
        # at each of the few thresholds beyond the window, and in its last column all of them.
        self.in_window = np.zeros(keys, np.int64)
        self.beyond = np.zeros((keys, few + 1), np.int64)
        self.by_cell = np.zeros(cells.window, np.int64)
        self.numbers = np.zeros(keys, np.int32)
        self.found = np.zeros(min(keys, 2 * _LARGE_SIDE), np.int32)
        self.buffers = Buffers(
            nearest=np.full(count, -np.inf, np.float32),
            zone_pairs=np.zeros((ZONES + 1) * 256, np.uint16),
            zone_counts=np.zeros(ZONES + 1, np.int64),
            zones=np.empty(TOGETHER * ZONE_PITCH, np.uint8),
            # Columns are written up to 32 at a time, also beyond the last one.
            columns=np.empty(BLOCK + 32, np.uint16),
            credits=np.zeros(len(self.found) * cells.window, np.uint8),
            carried=np.zeros(1 + 2 * _LARGE_SIDE**2 // 256, np.uint32),
            row_places=np.zeros(_LARGE_SIDE, np.uint32),
            column_places=np.zeros(_LARGE_SIDE, np.uint32),
            few_by_row=np.zeros((_LARGE_SIDE, few), np.uint32),
            few_by_column=np.zeros((few, _LARGE_SIDE), np.uint16),
        )

    def run(self, queue: _Queue) -> None:
        """Count tiles of the queue until there are no more."""
        while (tile := queue.take()) is not None:
            self.tile(tile)
            queue.done(tile)

    def tile(self, tile: Tile) -> None:
        """Count the pairs of a tile, block by block."""
        cells, buffers, keys = self.cells, self.buffers, self.rows.keys
        on_diagonal = tile.a == tile.c
        height = BLOCK // _DIAGONAL_PARTS if on_diagonal else BLOCK
        known = cells.window, self.numbers, self.found
        count = find_places(keys, tile.a, tile.b, *known, 0, buffers.row_places)
        count = find_places(keys, tile.c, tile.d, *known, count, buffers.column_places)
        for i0 in range(tile.a, tile.b, height):
            for j0 in range(i0 if on_diagonal else tile.c, tile.d, BLOCK):
                ends = min(i0 + height, tile.b), min(j0 + BLOCK, tile.d)
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
        """Count the pairs of the rows ``i0:i1`` with the columns ``j0:j1`` of a tile."""
        rows, cells, tally, buffers = self.rows, self.cells, self.tally, self.buffers
        scores, width = self.scores[: i1 - i0], j1 - j0
        np.matmul(rows.vectors[i0:i1], rows.partners[j0:j1].T, out=scores[:, :width])
        if rows.centred:
            subtract_halves(scores, rows.half_squares[i0:i1], rows.half_squares[j0:j1])
        for codes in rows.vetoes:
            veto(scores, codes[i0:i1], codes[j0:j1], rows.veto_score)
        block = Block(scores, width, tile.a, i0, tile.c, j0)
        scan(block, self.ends, rows.keys, cells, buffers)
        if self.ends[i1 - 1] > j0:
            rounding = np.float32(rows.rounding)
            counted = Genuine(
                tally.genuine,
                tally.pooled_genuine,
                tally.borderline_genuine,
                tally.nearest_genuine,
            )
            with self.lock:
                credit_genuine(block, self.ends, rows.keys, cells.anywhere, rounding, counted)

    def deliver(self) -> None:
        """Add the counts that this worker kept to itself to the tally."""
        tally, window, zones = self.tally, self.cells.window, self.buffers.zone_counts
        np.maximum(tally.nearest_impostor, self.buffers.nearest, out=tally.nearest_impostor)
        # A pair was credited to two keys, so it is in by_cell twice.
        tally.pooled_impostor[:window] += self.by_cell // 2
        beyond = self.cells.number - window
        if beyond:
            tally.pooled_impostor[window:] += zones[:ZONES][::-1][:beyond]
            tally.pooled_impostor[-1] += zones[: ZONES - beyond].sum()
