"""The reference engine. It counts one tile at a time with plain NumPy. Read this one first."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np

from opis_cli.counting.parts import Opened, counting_with
from opis_cli.counting.rows import Rows
from opis_cli.counting.tally import Advance, Tally, Tile, tiles_along
from opis_cli.records import Embeddings, Grid, Ints
from opis_cli.settings import Settings

TILE_SIDE = 512
_INSIDE_SIDE = 64
"""Rows on a side of the tiles for pairs inside small classes."""


@contextmanager
def opened(embeddings: Embeddings, settings: Settings, threads: int) -> Iterator[Opened]:
    """Open this engine."""
    yield Opened(TILE_SIDE, counting_with(count_pairs, threads))


def count_pairs(
    rows: Rows,
    grid: Grid,
    tiles: Iterable[Tile],
    tally: Tally,
    threads: int,
    advance: Advance,
) -> None:
    """Count the pairs of tiles into the tally, on one thread and the threads of the BLAS.

    ``threads`` is not used.
    """
    # searchsorted needs rising values, but cuts fall. So cells are found among negated scores.
    negated_cuts = -rows.cuts_of(grid)
    negated_cuts[-1] = np.inf
    borderline = negated_cuts - np.float32(2 * rows.rounding)
    class_cell, every_cell = grid.class_cell, np.arange(len(grid.thresholds))
    for tile in tiles:
        left, right = slice(tile.a, tile.b), slice(tile.c, tile.d)
        scores = rows.scores_of(left, right)
        i, j = np.arange(tile.a, tile.b)[:, None], np.arange(tile.c, tile.d)[None, :]
        if rows.vetoes:
            scores[rows.vetoed(i, j)] = rows.veto_score
        alike = rows.labels[left, None] == rows.labels[None, right]
        for wanted, kept, credits, pooled, nearest in (
            (alike, every_cell, tally.genuine, tally.pooled_genuine, tally.nearest_genuine),
            (~alike, class_cell, tally.impostor, tally.pooled_impostor, tally.nearest_impostor),
        ):
            pairs = wanted & (i < j)
            cells = np.searchsorted(negated_cuts, -scores[pairs])
            pooled += np.bincount(cells, minlength=len(pooled))
            at = np.nonzero(pairs)
            if wanted is alike:
                close = -scores[pairs] > borderline[cells]
                tally.borderline_genuine += np.bincount(cells[close], minlength=len(pooled))
            for row, first in zip(at, (tile.a, tile.c), strict=True):
                _credit(credits, rows.keys[row + first], kept[cells])
            best = np.where(pairs, scores, -np.inf)
            np.maximum(nearest[left], best.max(axis=1), out=nearest[left])
            np.maximum(nearest[right], best.max(axis=0), out=nearest[right])
        advance(tile.pairs)


def count_inside(rows: Rows, count: int, grid: Grid, threads: int) -> Ints:
    """Count the pairs inside each class of the first ``count`` rows, shape (keys - 1, W).

    W is the number of cells in the window. The rows of a class must be adjacent. The class of the
    last key is left out.
    """
    tally = Tally.empty(rows, grid)
    tiles = tiles_along(rows.class_ends[:count], _INSIDE_SIDE)
    count_pairs(rows, grid, tiles, tally, threads, lambda pairs: None)
    return tally.genuine[:-1, : grid.window] // 2


def _credit(credits: Ints, keys: Ints, cells: Ints) -> None:
    """Add 1 to ``credits`` for each pair (key, cell)."""
    if len(keys) == 0:
        return
    width = credits.shape[1]
    low, high = int(keys.min()), int(keys.max()) + 1
    found = np.bincount((keys - low) * width + cells, minlength=(high - low) * width)
    credits[low:high] += found.reshape(-1, width).astype(credits.dtype)
