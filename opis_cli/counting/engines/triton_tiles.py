"""Count tiles on a CUDA device by a kernel in Triton, which writes no score to memory.

A program of the device takes a block of 128 rows and 128 columns. It keeps the scores of the block
in registers, and does there what ``numpy.py`` does.

*Products.* Matrix units multiply 16-bit numbers more than ten times as fast as ordinary units
multiply float32. So each value is split into two float16 numbers, ``x = high + low``. Together they
have 22 of the 24 bits of a float32. Three products, ``low * high + high * low + high * high``, give
the score, as the missing one is less than a float32 rounding. All vectors are first multiplied by
one power of two, so that none of these numbers is too small for float16. Matrix units do not round
sums to nearest, and the errors of hundreds of such sums add up to more than a float32 rounding. So
only 64 values at a time are added there, and these sums are added in float32. The largest error
that was seen is 4e-7, where that of a float32 product is 1e-6.

*Window.* A table leads from the code of a score to its cell, as in the default engine. Two
additions in memory credit the cell to the keys of both rows. Programs that run at the same time
share their rows, so these places are in the cache.

*Beyond the window.* The cuts are even there, so a product gives the zone of a score, and the pooled
counts are a histogram of zones. The counts by class at a few thresholds are sums along rows and
columns. Each sum of a block fits a byte, so that matrix units make three sums at once.

*Genuine pairs.* Rows are sorted by label, so few blocks have any. These blocks are computed a
second time, for their genuine pairs alone.

The kernel is in ``triton_kernel.py``. Here its arguments are made ready, and its counts are put
into their cells.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from triton.tools.tensor_descriptor import TensorDescriptor

from opis_cli.counting.engines.triton_kernel import count_tile
from opis_cli.counting.rows import CODES, Codes, Rows, fall_evenly
from opis_cli.counting.tally import Tile
from opis_cli.records import Grid, Ints

_SIDE, _DEPTH = 128, 64
"""Rows on a side of a block, and values of the vectors that are multiplied at a time."""
_GROUP = 8
"""Blocks of rows that adjacent programs share, so that vectors and counts stay in the cache."""
_ZONES = 128
"""Zones, with zone 0 for all scores that are in none."""
_FEW = 6
"""Most thresholds with counts by class beyond the window: three in each of two numbers."""
_CELLS = 1 << 15
"""Most cells of the window, so that two of them fit 32 bits."""
_LARGEST = 2.0**15
"""Length to which vectors are scaled, half the largest power of two in float16."""
_LEAST_SCALE = 1e-24
"""Least ``Rows.scale`` for which float32 holds the square of such a factor."""
_AT_ONCE = 1_024
"""Listed pairs that a program credits at a time."""
_ROWS_AT_ONCE = 1 << 17
"""Rows that are split at a time."""


def usable(rows: Rows, grid: Grid) -> bool:
    """Return whether the kernel can count on this grid, as it can for all but small data."""
    even = rows.cuts_of(grid)[grid.window - 1 : -1]
    return (
        1 < len(even) <= _ZONES
        and fall_evenly(even)
        and len(grid.by_class) - grid.window <= _FEW
        and grid.window <= _CELLS
        and rows.partners is rows.vectors
        and (rows.whole or rows.scale > _LEAST_SCALE)
    )


class Counter:
    """The arrays on the device while the kernel counts tiles.

    Parameters
    ----------
    rows : Rows
    grid : Grid
        A grid on which the kernel is usable.
    counts : Counts
        What to add to.
    accurate : bool
        Whether all three products are made. One product has about the rounding of TF32.
    """

    def __init__(self, rows: Rows, grid: Grid, counts: Any, *, accurate: bool = True) -> None:
        self.counts, self.accurate = counts, accurate
        self.device = counts.impostor.device
        self.window, self.columns = grid.window, len(grid.by_class)
        self.centred, self.labels_here = rows.centred, rows.labels
        self.veto_score = float(rows.veto_score)
        self.half_squares, self.labels, self.keys = (
            self._there(array) for array in (rows.half_squares, rows.labels, rows.keys)
        )
        self.vetoes = [self._there(codes) for codes in rows.vetoes]
        cuts = rows.cuts_of(grid)
        codes = rows.codes(float(grid.thresholds[grid.window - 1]))
        self.code_top, self.code_scale = float(codes.top), float(codes.scale)
        places, self.steps = _places_of(codes, cuts[: grid.window])
        # The window ends where the first zone begins.
        top, self.number_of_zones = cuts[grid.window - 1], len(cuts) - 1 - grid.window
        zones = Codes(top, np.float32(self.number_of_zones / (float(top) - float(cuts[-2]))))
        self.window_cut, self.zone_scale = float(top), float(zones.scale)
        # The arithmetic of zones decides which scores a threshold accepts, here too. The last
        # threshold accepts all.
        few_cuts = zones.lowest(grid.by_class[grid.window :] - grid.window)
        few_cuts[-1] = np.finfo(np.float32).min
        cuts[-1] = -np.inf
        self.places, self.few_cuts, self.cuts = map(self._there, (places, few_cuts, cuts))
        self.near_cuts = self.cuts + 2 * rows.rounding
        self.vectors, self.unscale = self._split(rows)
        self.zones, self.few = (
            torch.zeros(shape, dtype=dtype, device=self.device)
            for shape, dtype in (
                (_ZONES, torch.int64),
                ((len(few_cuts), len(rows.labels)), torch.int32),
            )
        )
        programs = 1
        if self.device.type == "cuda":
            programs = torch.cuda.get_device_properties(self.device).multi_processor_count
        self.lists = torch.empty((programs, _SIDE**2), dtype=torch.int64, device=self.device)

    def _there(self, array: NDArray[Any]) -> Any:
        """Return an array on the device."""
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

    def _split(self, rows: Rows) -> tuple[list[Any], float]:
        """Split vectors into two float16 tensors, and return the inverse of their scale squared."""
        count, dim = rows.vectors.shape
        longest = float(np.sqrt(rows.scale)) or 1.0
        scale = float(2.0 ** np.floor(np.log2(_LARGEST / longest)))
        shape = (count, -(-dim // _DEPTH) * _DEPTH)
        high, low = (torch.zeros(shape, dtype=torch.float16, device=self.device) for _ in range(2))
        for start in range(0, count, _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            scaled = self._there(rows.vectors[part]) * scale
            high[part, :dim] = scaled.half()
            low[part, :dim] = (scaled - high[part, :dim]).half()
        block = [_SIDE, _DEPTH]
        return [TensorDescriptor.from_tensor(part, block) for part in (high, low)], scale**-2

    def count(self, tile: Tile) -> None:
        """Count one tile."""
        self._launch(tile, genuine=False)
        # Rows are sorted by label, so only tiles near the diagonal can have genuine pairs.
        if self.labels_here[tile.b - 1] >= self.labels_here[tile.c]:
            self._launch(tile, genuine=True)

    def _launch(self, tile: Tile, *, genuine: bool) -> None:
        """Count the genuine or the impostor pairs of one tile."""
        counts, no_veto = self.counts, self.labels
        steps = len(self.cuts).bit_length() if genuine else self.steps
        credits, nearest, columns = counts.impostor, counts.nearest_impostor, self.columns
        if genuine:
            credits, nearest, columns = counts.genuine, counts.nearest_genuine, len(self.cuts)
        count_tile[(len(self.lists),)](
            *self.vectors, self.half_squares, self.labels, self.keys,
            *(*self.vetoes, no_veto, no_veto)[:2],
            self.cuts, self.near_cuts, self.places, self.few_cuts, self.lists,
            credits, counts.pooled_genuine, counts.borderline_genuine, nearest, self.zones,
            self.few, tile.a, tile.b, tile.c, tile.d, len(self.labels), columns, steps,
            self.unscale, self.veto_score, self.window_cut, self.code_top, self.code_scale,
            self.zone_scale, GENUINE=genuine, DIM=self.vectors[0].shape[1], CENTRED=self.centred,
            VETOES=len(self.vetoes), ACCURATE=self.accurate, FEW=len(self.few_cuts), CODES=CODES,
            ZONES=_ZONES, SIDE=_SIDE, DEPTH=_DEPTH, GROUP=_GROUP, AT_ONCE=_AT_ONCE, num_warps=8,
            num_stages=3, enable_fp_fusion=False,
        )  # fmt: skip

    def finish(self) -> None:
        """Put the counts beyond the window, and the pooled ones, into their cells."""
        pooled, window, number = self.counts.pooled_impostor, self.window, self.number_of_zones
        impostor = self.counts.impostor.view(-1, self.columns)
        inside, beyond = impostor[:, :window], impostor[:, window:]
        beyond.T.index_add_(1, self.keys.long(), self.few.to(impostor.dtype))
        # A pair was credited to both its rows. Signed integers stand for unsigned ones.
        below_zero = (inside < 0).sum(0) if inside.itemsize == 4 else 0
        pooled[:window] = (inside.sum(0) + (below_zero << 32)) // 2
        pooled[window : window + number] = self.zones[1 : number + 1]
        pooled[-1] = self.few.sum() // 2 - self.zones[1 : number + 1].sum()


def _places_of(codes: Codes, cuts: NDArray[np.float32]) -> tuple[Ints, int]:
    """Return the first and the last cell of each code, and the steps of the search between them.

    A score is in the first cell whose cut has the code of the score, or a later code. If that cut
    lies inside the code, the score may be in a later cell.
    """
    every, below = np.arange(CODES), np.nextafter(cuts, np.float32(-np.inf))
    first = np.searchsorted(codes.of(cuts), every)
    last = np.searchsorted(codes.of(below), every, side="right")
    last = np.minimum(last, len(cuts) - 1)
    first = np.minimum(first, last)
    return (first | last << 16).astype(np.int32), int((last - first).max()).bit_length()
