"""The default engine: one BLAS thread and one compiled scan in each of several workers.

A worker takes a tile, multiplies a strip of its rows with all of its columns, and scans the scores
while they are in cache: best scores by row and column, the pooled histogram beyond the window, and
a list of the impostor pairs inside it. Those, and the genuine pairs, are then credited to both keys
in the one tally that all workers share, under a lock that is held briefly.
"""

import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from opis_cli.distance import Rows
from opis_cli.engines import Progress, Tally, Tile
from opis_cli.records import Grid

TILE_SIDE = 1_024
_STRIP = 256
_CODES = 1 << 16
_FEW_BEYOND = 16

# No NaN reaches the scan, and sums may be taken in any order: both let LLVM vectorise it.
_compiled = njit(nogil=True, cache=True, fastmath={"nnan", "nsz", "reassoc", "contract"})


def count_pairs(
    rows: Rows,
    grid: Grid,
    tiles: Iterable[Tile],
    tally: Tally,
    threads: int,
    progress: Progress,
) -> None:
    """Count the pairs of tiles into the tally, on so many threads."""
    cells = _Cells.of(rows, grid)
    shared = _Shared(iter(tiles), threading.Lock(), threading.Lock(), threading.Event())
    workers = [_Worker(rows, cells, tally) for _ in range(threads)]
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(threads) as pool:
        jobs = [pool.submit(worker.run, shared, progress) for worker in workers]
        try:
            for job in jobs:
                job.result()
        finally:
            # Set after a fault or Ctrl-C too: the others stop at their next tile.
            shared.stop.set()
    for worker in workers:
        worker.deliver()


@dataclass(frozen=True, slots=True)
class _Shared:
    """What the workers of one call share."""

    tiles: Any
    next_tile: threading.Lock
    tally: threading.Lock
    stop: threading.Event


@dataclass(frozen=True, slots=True)
class _Cells:
    """The grid as the scan wants it.

    ``cuts`` (T,) fall; ``codes`` maps a score, scaled to ``_CODES`` steps, to a cell at or before
    its own. Beyond the window the cuts are evenly spaced, so that a product finds the cell, and
    counts by class are taken at a few of them by comparing whole vectors.
    """

    cuts: NDArray[np.float32]
    class_cell: NDArray[np.int32]
    codes: NDArray[np.int32]
    top: np.float32
    per_score: np.float32
    window: int
    window_cut: np.float32
    bottom: np.float32
    per_cell: np.float32
    few: NDArray[np.float32]

    @classmethod
    def of(cls, rows: Rows, grid: Grid) -> "_Cells":
        cuts = rows.cuts(grid.thresholds)
        window = grid.window if _is_even(cuts[grid.window - 1 : -1]) else len(cuts)
        beyond = grid.by_class[grid.by_class >= window]
        if len(beyond) > _FEW_BEYOND:
            window, beyond = len(cuts), beyond[:0]
        # Without a zone beyond the window, every score lies inside it.
        outside = window < len(cuts)
        window_cut = cuts[window - 1] if outside else np.float32(-np.inf)
        bottom = cuts[-2] if outside else np.float32(0)
        steps = len(cuts) - 1 - window
        per_cell = np.float32(steps / (window_cut - bottom)) if steps > 0 else np.float32(0)
        top, low = float(cuts[0]), float(cuts[-2]) if len(cuts) > 1 else float(cuts[0]) - 1
        width = (top - low) / (_CODES - 2)
        # A cell is looked up from one code higher than its score, which allows for rounding.
        highest = top - (np.arange(_CODES) - 1) * width
        codes = np.searchsorted(-cuts[:-1], -highest.astype(np.float32)).astype(np.int32)
        codes[:2] = 0
        cuts[-1] = -np.inf
        class_cell = np.searchsorted(grid.by_class, np.arange(len(cuts))).astype(np.int32)
        # What lies beyond is counted as differences: from the window's edge, to everything.
        few = np.array([window_cut, *cuts[beyond]] if outside else [], np.float32)
        return cls(
            cuts,
            class_cell,
            codes,
            np.float32(top),
            np.float32(1 / width),
            window,
            window_cut,
            bottom,
            per_cell,
            few,
        )


def _is_even(cuts: NDArray[np.float32]) -> bool:
    """Whether cuts are evenly spaced, as far as float32 can tell."""
    even = np.linspace(cuts[0], cuts[-1], len(cuts))
    return bool(np.all(np.abs(cuts - even) <= 1e-6 * max(1.0, float(np.abs(even).max()))))


class _Worker:
    """One thread's buffers, and the parts of a tally that it keeps to itself until the end."""

    def __init__(self, rows: Rows, cells: _Cells, tally: Tally) -> None:
        self.rows, self.cells, self.tally = rows, cells, tally
        self.ends = rows.class_ends
        count = len(rows.labels)
        self.scores = np.empty((_STRIP, TILE_SIDE), np.float32)
        self.listed = np.empty(_STRIP * TILE_SIDE, np.uint16)
        self.starts = np.empty(_STRIP + 1, np.int64)
        self.nearest_genuine = np.full(count, -np.inf, np.float32)
        self.nearest_impostor = np.full(count, -np.inf, np.float32)
        self.beyond = np.zeros(len(cells.cuts) - cells.window + 1, np.int64)
        self.few_by_row = np.zeros((_STRIP, len(cells.few)), np.int32)
        self.few_by_column = np.zeros((len(cells.few), TILE_SIDE), np.int32)
        self.index = np.empty(TILE_SIDE, np.int32)

    def run(self, shared: _Shared, progress: Progress) -> None:
        """Take tiles until there are no more."""
        while not shared.stop.is_set():
            with shared.next_tile:
                tile = next(shared.tiles, None)
            if tile is None:
                return
            for start in range(tile.a, tile.b, _STRIP):
                self.strip(tile, start, min(start + _STRIP, tile.b), shared.tally)
            with shared.next_tile:
                progress(tile.pairs)

    def strip(self, tile: Tile, i0: int, i1: int, lock: threading.Lock) -> None:
        """Count a strip of rows ``i0:i1`` with the tile's columns at or after them."""
        rows, cells, tally = self.rows, self.cells, self.tally
        j0 = max(tile.c, i0)
        scores = self.scores.reshape(-1)[: (i1 - i0) * (tile.d - j0)].reshape(i1 - i0, -1)
        np.matmul(rows.vectors[i0:i1], rows.vectors[j0 : tile.d].T, out=scores)
        if rows.metric == "euclidean":
            _subtract_halves(scores, rows.half_squares[i0:i1], rows.half_squares[j0 : tile.d])
        _scan(
            scores,
            i0,
            j0,
            self.ends,
            cells.window_cut,
            cells.bottom,
            cells.per_cell,
            self.beyond,
            self.nearest_impostor,
            self.index,
            self.listed,
            self.starts,
            cells.few,
            self.few_by_row,
            self.few_by_column,
        )
        with lock:
            _credit_listed(
                scores,
                i0,
                j0,
                rows.keys,
                self.listed,
                self.starts,
                cells.cuts,
                cells.codes,
                cells.top,
                cells.per_score,
                cells.class_cell,
                tally.impostor,
                tally.pooled_impostor,
            )
            _credit_few(
                i0,
                j0,
                scores.shape[0],
                scores.shape[1],
                rows.keys,
                self.few_by_row,
                self.few_by_column,
                tally.impostor,
            )
            _credit_genuine(
                scores,
                i0,
                j0,
                self.ends,
                rows.keys,
                cells.cuts,
                cells.codes,
                cells.top,
                cells.per_score,
                cells.class_cell,
                tally.genuine,
                tally.pooled_genuine,
                self.nearest_genuine,
            )

    def deliver(self) -> None:
        """Add what this worker kept to itself."""
        tally, window = self.tally, self.cells.window
        np.maximum(tally.nearest_genuine, self.nearest_genuine, out=tally.nearest_genuine)
        np.maximum(tally.nearest_impostor, self.nearest_impostor, out=tally.nearest_impostor)
        # The last place holds the pairs inside the window, which were credited one by one.
        tally.pooled_impostor[window:] += self.beyond[:-1][::-1]


@_compiled
def _subtract_halves(scores: Any, left: Any, right: Any) -> None:
    for i in range(scores.shape[0]):
        row = scores[i]
        for j in range(row.size):
            row[j] -= left[i] + right[j]


@_compiled
def _scan(
    scores: Any,
    i0: int,
    j0: int,
    ends: Any,
    window_cut: Any,
    bottom: Any,
    per_cell: Any,
    beyond: Any,
    nearest: Any,
    index: Any,
    listed: Any,
    starts: Any,
    few: Any,
    few_by_row: Any,
    few_by_column: Any,
) -> None:
    """Scan the impostor pairs of a strip; list those inside the window by row.

    Beyond the window the scores fall into ``len(beyond) - 1`` even cells, counted upwards from the
    lowest; the last place of ``beyond`` takes the pairs inside.
    """
    inside = np.int32(beyond.size - 1)
    count = 0
    few_by_column[:] = 0
    for i in range(scores.shape[0]):
        starts[i] = count
        first = min(max(ends[i0 + i] - j0, 0), scores.shape[1])
        row = scores[i, first:]
        column_best = nearest[j0 + first : j0 + scores.shape[1]]
        best = np.float32(-np.inf)
        for j in range(row.size):
            s = row[j]
            best = max(best, s)
            column_best[j] = max(column_best[j], s)
        nearest[i0 + i] = max(nearest[i0 + i], best)
        if inside > 0:
            for j in range(row.size):
                s = row[j]
                x = max((s - bottom) * per_cell + np.float32(1), np.float32(0))
                cell = min(np.int32(x), inside - np.int32(1))
                index[j] = inside if s >= window_cut else cell
            for j in range(row.size):
                beyond[index[j]] += 1
        for j in range(row.size):
            listed[count] = first + j
            count += row[j] >= window_cut
        for q in range(few.size):
            cut, total = few[q], np.int32(0)
            column = few_by_column[q, first:]
            for j in range(row.size):
                accepted = np.int32(row[j] >= cut)
                total += accepted
                column[j] += accepted
            few_by_row[i, q] = total
    starts[scores.shape[0]] = count


@_compiled
def _credit_listed(
    scores: Any,
    i0: int,
    j0: int,
    keys: Any,
    listed: Any,
    starts: Any,
    cuts: Any,
    codes: Any,
    top: Any,
    per_score: Any,
    class_cell: Any,
    credits: Any,
    pooled: Any,
) -> None:
    """Credit the listed impostor pairs to the keys of both rows."""
    for i in range(scores.shape[0]):
        own = credits[keys[i0 + i]]
        for k in range(starts[i], starts[i + 1]):
            j = listed[k]
            s = scores[i, j]
            code = min(max(np.int32((top - s) * per_score), np.int32(0)), np.int32(codes.size - 1))
            cell = codes[code]
            while s < cuts[cell]:
                cell += 1
            pooled[cell] += 1
            by_class = class_cell[cell]
            own[by_class] += 1
            credits[keys[j0 + j], by_class] += 1


@_compiled
def _credit_few(
    i0: int,
    j0: int,
    height: int,
    width: int,
    keys: Any,
    few_by_row: Any,
    few_by_column: Any,
    credits: Any,
) -> None:
    """Credit what lies beyond the window: differences of what successive cuts accept."""
    steps = few_by_row.shape[1] - 1
    first = credits.shape[1] - steps
    for q in range(steps):
        for i in range(height):
            credits[keys[i0 + i], first + q] += few_by_row[i, q + 1] - few_by_row[i, q]
        for j in range(width):
            credits[keys[j0 + j], first + q] += few_by_column[q + 1, j] - few_by_column[q, j]


@_compiled
def _credit_genuine(
    scores: Any,
    i0: int,
    j0: int,
    ends: Any,
    keys: Any,
    cuts: Any,
    codes: Any,
    top: Any,
    per_score: Any,
    class_cell: Any,
    credits: Any,
    pooled: Any,
    nearest: Any,
) -> None:
    """Credit the genuine pairs ``i < j`` of a strip to the keys of both rows."""
    for i in range(scores.shape[0]):
        for j in range(max(i0 + i + 1 - j0, 0), min(ends[i0 + i] - j0, scores.shape[1])):
            s = scores[i, j]
            nearest[i0 + i] = max(nearest[i0 + i], s)
            nearest[j0 + j] = max(nearest[j0 + j], s)
            code = min(max(np.int32((top - s) * per_score), np.int32(0)), np.int32(codes.size - 1))
            cell = codes[code]
            while s < cuts[cell]:
                cell += 1
            pooled[cell] += 1
            by_class = class_cell[cell]
            credits[keys[i0 + i], by_class] += 1
            credits[keys[j0 + j], by_class] += 1
