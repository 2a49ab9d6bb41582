"""The engine for a device such as a GPU. It multiplies tiles and counts their pairs there.

Only the counts come back from the device. There are two ways to make them:

- ``triton_tiles.py``, on a Hopper GPU where Triton is installed, as it is with torch on Linux: one
  kernel that keeps scores in registers. It takes half the time of a bare float32 product;
- ``_PlainCounter`` here, anywhere: a few operations of torch for each tile, which keep its scores
  in memory. Cells are found by the same cuts as in the reference engine, as ``bucketize`` does the
  same as ``searchsorted``. A tenth of all pairs lies in the window. These are picked out and
  credited to their keys one by one. Beyond the window, the counts by class are sums of comparisons,
  and the pooled counts are a histogram.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import metadata
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from opis_cli.counting.parts import Opened, counting_with
from opis_cli.counting.rows import Rows
from opis_cli.counting.tally import COUNTS, Advance, Tally, Tile
from opis_cli.errors import SettingsError
from opis_cli.records import Embeddings, Grid
from opis_cli.settings import Settings

_SIDES = {"cpu": 1_024, "cuda": 8_448}
"""Rows on a side of the tiles that suit each device best.

A tile of 66 x 66 blocks of ``triton_tiles.py`` keeps 132 multiprocessors equally busy.
"""
_SIGNED = {2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Types that stand for unsigned integers of so many bytes, which torch cannot add.

Signed ones serve, because their bits wrap as those of NumPy's unsigned integers do.
"""
_HOPPER, _LEAST_TRITON = 9, (3, 6)
"""Major number of the compute capability, and version of Triton, that the kernel needs."""
_THRESHOLDS, _MEMORY_FACTOR = 3_300, 1.5
"""Assumed number of thresholds with counts by class, and memory in units of rows and counts."""


def device_of(name: str | None) -> str:
    """Return the device of this name. Without a name, return CUDA if torch sees it, else the CPU.

    Raises
    ------
    SettingsError
        torch does not see the device that was asked for.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise SettingsError(
            "--device=cuda: torch sees no CUDA device here; `opis doctor` says what it sees. Use "
            "--device=cpu, or install the torch build that fits the driver"
        )
    return name or ("cuda" if torch.cuda.is_available() else "cpu")


def has_kernel(device: str) -> bool:
    """Return whether the kernel of ``triton_tiles.py`` runs on a device.

    It was made for the Hopper generation (H100, H200), and tried on an H100 alone.
    """
    # ROCm calls its devices "cuda" too.
    return (
        device == "cuda"
        and torch.version.cuda is not None
        and torch.cuda.get_device_capability()[0] == _HOPPER
        and _triton() >= _LEAST_TRITON
    )


def _triton() -> tuple[int, ...]:
    """Return the version of Triton that is installed, or nothing."""
    try:
        return tuple(int(part) for part in metadata.version("triton").split(".")[:2])
    except metadata.PackageNotFoundError:
        return ()


def has_device(embeddings: Embeddings) -> bool:
    """Return whether there is a device that runs the kernel and can hold these embeddings."""
    if not (torch.cuda.is_available() and has_kernel("cuda")):
        return False
    # The same numbers as in ``counting/memory.py``, of which a device needs a little more.
    rows = len(embeddings.labels) * 4 * embeddings.dim
    tally = 2 * 4 * len(embeddings.class_names) * _THRESHOLDS
    memory: int = torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
    return _MEMORY_FACTOR * (rows + tally) <= memory


def tile_side(device: str | None) -> int:
    """Return the rows on a side of the tiles that suit a device best."""
    return _SIDES[device_of(device)]


@contextmanager
def opened(embeddings: Embeddings, settings: Settings, threads: int) -> Iterator[Opened]:
    """Open this engine on the device that the settings name."""
    on_device = partial(count_pairs, device=settings.device, tf32=settings.dtype == "tf32")
    yield Opened(tile_side(settings.device), counting_with(on_device, threads))


def count_pairs(
    rows: Rows,
    grid: Grid,
    tiles: Iterable[Tile],
    tally: Tally,
    threads: int,
    advance: Advance,
    *,
    device: str | None = None,
    tf32: bool = False,
) -> None:
    """Count the pairs of tiles into the tally, on a device.

    Parameters
    ----------
    device : {"cpu", "cuda"}, optional
        By default CUDA if torch sees it, else the CPU.
    tf32 : bool
        Whether products may be in TF32, whose rounding is a thousand times that of float32.
    """
    device = device_of(device)
    try:
        counts = Counts(rows, grid, tally, device)
        with _settings(threads, device, tf32), torch.inference_mode():
            counter = _counter(rows, grid, counts, device, tf32)
            for tile in tiles:
                counter.count(tile)
                advance(tile.pairs)
            counter.finish()
    except torch.cuda.OutOfMemoryError:
        raise SettingsError(
            f"--engine=torch: {len(rows.labels):,} rows of {int(rows.keys.max()) + 1:,} classes do "
            "not fit into the free memory of the device; use --engine=numba"
        ) from None
    counts.deliver(tally)


def _counter(rows: Rows, grid: Grid, counts: "Counts", device: str, tf32: bool) -> Any:
    """Return what counts tiles: the kernel if it can count this, else plain torch."""
    if has_kernel(device):
        from opis_cli.counting.engines import triton_tiles

        if triton_tiles.usable(rows, grid):
            return triton_tiles.Counter(rows, grid, counts, accurate=not tf32)
    return _PlainCounter(rows, grid, counts)


@contextmanager
def _settings(threads: int, device: str, tf32: bool) -> Iterator[None]:
    """Set the global settings of torch as this work needs them, and restore them afterwards."""
    precision, before = torch.get_float32_matmul_precision(), torch.get_num_threads()
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    if device == "cpu":
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(precision)
        torch.set_num_threads(before)


class Counts:
    """The counts on the device, as in a ``Tally``; those by key are flat."""

    def __init__(self, rows: Rows, grid: Grid, tally: Tally, device: str) -> None:
        self.genuine, self.impostor = (
            torch.zeros(array.size, dtype=_SIGNED[max(array.itemsize, 4)], device=device)
            for array in (tally.genuine, tally.impostor)
        )
        self.pooled_genuine, self.pooled_impostor, self.borderline_genuine = (
            torch.zeros(len(grid.thresholds), dtype=torch.int64, device=device) for _ in range(3)
        )
        self.nearest_genuine, self.nearest_impostor = (
            torch.full((len(rows.labels),), -torch.inf, device=device) for _ in range(2)
        )

    def deliver(self, tally: Tally) -> None:
        """Add what was counted to the tally."""
        for name in COUNTS:
            total = getattr(tally, name)
            # Counts of 16 bits are 32 bits wide on the device.
            counted = getattr(self, name).to(_SIGNED[total.itemsize]).cpu().numpy()
            total += counted.view(total.dtype).reshape(total.shape)
        for name in ("nearest_genuine", "nearest_impostor"):
            nearest = getattr(tally, name)
            np.maximum(nearest, getattr(self, name).cpu().numpy(), out=nearest)


class _PlainCounter:
    """The arrays on the device while tiles are counted by operations of torch."""

    def __init__(self, rows: Rows, grid: Grid, counts: Counts) -> None:
        device = counts.impostor.device

        def there(array: NDArray[Any]) -> Any:
            return torch.from_numpy(np.ascontiguousarray(array)).to(device)

        negated_cuts = -rows.cuts_of(grid)
        negated_cuts[-1] = np.inf
        self.counts, self.centred = counts, rows.centred
        self.vectors, self.half_squares = there(rows.vectors), there(rows.half_squares)
        self.partners = self.vectors if rows.partners is rows.vectors else there(rows.partners)
        self.labels, self.keys = there(rows.labels), there(rows.keys.astype(np.int64))
        self.labels_here = rows.labels
        self.vetoes, self.veto_score = [there(codes) for codes in rows.vetoes], rows.veto_score
        self.cuts, self.window = there(negated_cuts), grid.window
        self.borderline = self.cuts - 2 * rows.rounding
        # If every threshold keeps counts by class, all cells are treated as cells of the window.
        dense = len(grid.by_class) == len(grid.thresholds)
        self.listed = len(grid.thresholds) if dense else grid.window
        self.beyond = [int(index) for index in grid.by_class[self.listed :]]
        self.columns = len(grid.by_class)

    def count(self, tile: Tile) -> None:
        """Count one tile."""
        left, right = slice(tile.a, tile.b), slice(tile.c, tile.d)
        scores = self.vectors[left] @ self.partners[right].T
        if self.centred:
            scores -= self.half_squares[left, None] + self.half_squares[None, right]
        for codes in self.vetoes:
            scores.masked_fill_(codes[left, None] == codes[None, right], self.veto_score)
        cells = torch.bucketize(scores.neg(), self.cuts, out_int32=True)
        here = self.labels_here
        on_diagonal = tile.a == tile.c
        # Rows are sorted by label, so only tiles near the diagonal can have genuine pairs. The
        # others are spared the masks.
        mixed = on_diagonal or here[tile.b - 1] >= here[tile.c]
        impostor = None
        if mixed:
            alike = self.labels[left, None] == self.labels[None, right]
            upper = alike.new_ones(alike.shape)
            if on_diagonal:
                upper = upper.triu(1)
            self.genuine_pairs(tile, scores, cells, alike & upper)
            impostor = upper & ~alike
        self.impostor_pairs(tile, scores, cells, impostor)

    def genuine_pairs(self, tile: Tile, scores: Any, cells: Any, pairs: Any) -> None:
        """Count the genuine pairs of a tile, which the mask ``pairs`` picks, one by one."""
        _raise_nearest(self.counts.nearest_genuine, tile, scores.where(pairs, -torch.inf))
        i, j = pairs.nonzero(as_tuple=True)
        found = cells[i, j].long()
        self.counts.pooled_genuine += torch.bincount(found, minlength=len(self.cuts))
        close = scores[i, j].neg() > self.borderline[found]
        self.counts.borderline_genuine += torch.bincount(found[close], minlength=len(self.cuts))
        self.credit(self.counts.genuine, tile, i, j, found, len(self.cuts))

    def impostor_pairs(self, tile: Tile, scores: Any, cells: Any, pairs: Any) -> None:
        """Count the impostor pairs of a tile: those that ``pairs`` picks, or all if it is None."""
        if pairs is not None:
            scores = scores.where(pairs, -torch.inf)
        _raise_nearest(self.counts.nearest_impostor, tile, scores)
        chosen = cells if pairs is None else cells[pairs]
        self.counts.pooled_impostor += torch.bincount(chosen.flatten(), minlength=len(self.cuts))
        inside = cells < self.listed
        if pairs is not None:
            inside &= pairs
        i, j = inside.nonzero(as_tuple=True)
        # In the window every cell is kept by class, so a cell is its own column.
        self.credit(self.counts.impostor, tile, i, j, cells[i, j].long(), self.columns)
        before = inside
        for column, last in enumerate(self.beyond, self.listed):
            accepted = cells <= last
            if pairs is not None:
                accepted &= pairs
            for axis, start, stop in ((1, tile.a, tile.b), (0, tile.c, tile.d)):
                more = accepted.sum(axis) - before.sum(axis)
                places = self.keys[start:stop] * self.columns + column
                self.counts.impostor.index_add_(0, places, more.to(self.counts.impostor.dtype))
            before = accepted

    def credit(self, credits: Any, tile: Tile, i: Any, j: Any, cells: Any, columns: int) -> None:
        """Credit each pair to the keys of both its rows."""
        one = torch.ones((), dtype=credits.dtype, device=credits.device).expand(len(cells))
        for rows in (i + tile.a, j + tile.c):
            credits.index_add_(0, self.keys[rows] * columns + cells, one)

    def finish(self) -> None:
        """Do nothing, as all is counted."""


def _raise_nearest(nearest: Any, tile: Tile, scores: Any) -> None:
    """Raise the nearest scores of the rows and the columns of a tile, if it has higher ones."""
    for axis, start, stop in ((1, tile.a, tile.b), (0, tile.c, tile.d)):
        part = nearest[start:stop]
        torch.maximum(part, scores.amax(axis), out=part)
