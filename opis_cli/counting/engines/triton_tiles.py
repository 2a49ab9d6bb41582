"""A kernel in Triton that counts a tile on a CUDA device, and writes no score to memory.

Each program takes a block of 128 rows and 128 columns. It keeps the scores of the block in
registers, and does there what ``numpy.py`` does.

*Products.* Matrix units multiply 16-bit numbers some ten times as fast as ordinary units multiply
float32. So each vector is split into two float16 numbers, ``x = high + low``, which together have 22
of the 24 bits of a float32. Three products, ``low * high + high * low + high * high``, give the
score, as the missing one is below float32 rounding. All vectors are first multiplied by one power
of two, so that none of these numbers is too small for float16. Matrix units add without rounding to
nearest, and the error of many such sums is larger than that of float32. So only 64 values at a time
are added there. These sums are added in float32.

*Window.* A tenth of the impostor pairs lies in the window. A table leads from the code of a score
to its cell, and two additions in memory credit the cell to the keys of both rows. The programs that
run at the same time share their rows, so these places are in the cache.

*Beyond the window.* The pooled counts are a histogram of zones, which are even in score. The counts
by class at a few thresholds are sums along rows and columns. A byte is enough for each of them, so
four are packed into one number.

*Genuine pairs.* Rows are sorted by label, so few blocks have any. These look for the cell of each
genuine pair among all cuts, and credit them one by one.

The kernel needs even cuts beyond the window, as all larger data have (``usable``).
"""

import os
from typing import Any

import numpy as np
import torch
import triton
import triton.language as tl
from numpy.typing import NDArray
from triton.tools.tensor_descriptor import TensorDescriptor

from opis_cli.counting.rows import CODES, Codes, Rows
from opis_cli.counting.tally import Tile
from opis_cli.records import Grid

TILE_SIDE = 8_448
"""Rows on a side of the tiles. Their 66 x 66 programs keep 132 multiprocessors equally busy."""

_SIDE, _DEPTH = 128, 64
"""Rows on a side of a block, and values of the vectors that are multiplied at a time."""
_GROUP = 8
"""Blocks of rows that adjacent programs share, so that vectors and counts stay in the cache."""
_ZONES = 128
"""Zones, with zone 0 for all scores that are in none."""
_FEW = 6
"""Most thresholds with counts by class beyond the window, three in each of two numbers."""
_LARGEST = 2.0**15
"""Value below which vectors are scaled, half the largest power of two in float16."""
_AT_ONCE = 1_024
"""Listed pairs that a program credits at a time."""
_ROWS_AT_ONCE = 1 << 17
"""Rows that are split at a time."""
_INTERPRETED = tl.constexpr(os.environ.get("TRITON_INTERPRET") == "1")
"""Whether tests run the kernel without a device, where there is no assembly."""


_PACK = tl.constexpr(16)
"""Scores of a thread that are listed at a time."""


def _list_assembly() -> tuple[str, str]:
    """Return assembly that lists the scores of a warp that reach a cut, and its operands.

    A vote tells each thread which threads of its warp have a score to list, and so where its own
    goes. One addition to the counter of the block reserves the places of the whole warp.
    """
    pack = _PACK.value
    score, cut, place, counter, listed = (
        [f"${n}" for n in range(pack * first, pack * (first + 1))] for first in range(1, 6)
    )
    lines = [
        ".reg .pred wanted, leader;",
        f".reg .b32 votes<{pack}>, lane, own, before, number, next;",
        ".reg .b64 entry;",
        "mov.b32 next, 0;",
    ]
    for n in range(pack):
        lines += [
            f"setp.ge.f32 wanted, {score[n]}, {cut[n]};",
            f"vote.sync.ballot.b32 votes{n}, wanted, 0xffffffff;",
            f"popc.b32 number, votes{n};",
            "add.u32 next, next, number;",
        ]
    lines += [
        "mov.u32 lane, %laneid;",
        "mov.u32 own, %lanemask_eq;",
        "mov.u32 before, %lanemask_lt;",
        "setp.eq.u32 leader, lane, 0;",
        f"@leader atom.shared.add.u32 next, [{counter[0]}], next;",
        "shfl.sync.idx.b32 next, next, 0, 31, 0xffffffff;",
    ]
    for n in range(pack):
        lines += [
            f"and.b32 number, votes{n}, before;",
            "popc.b32 number, number;",
            "add.u32 number, number, next;",
            f"mad.wide.u32 entry, number, 8, {listed[n]};",
            f"and.b32 number, votes{n}, own;",
            "setp.ne.b32 wanted, number, 0;",
            f"@wanted st.global.v2.b32 [entry], {{{place[n]}, {score[n]}}};",
            f"popc.b32 number, votes{n};",
            "add.u32 next, next, number;",
            f"mov.b32 ${n}, 0;",
        ]
    operands = ["=&r"] * pack + [kind for kind in "ffrrl" for _ in range(pack)]
    return "{\n" + "\n".join(lines) + "\n}", ",".join(operands)


_LIST, _LIST_OPERANDS = map(tl.constexpr, _list_assembly())


def usable(rows: Rows, grid: Grid) -> bool:
    """Return whether the kernel can count on this grid."""
    even = rows.cuts_of(grid)[grid.window - 1 : -1]
    steps = np.linspace(even[0], even[-1], len(even)) if len(even) else even
    return (
        1 < len(even) <= _ZONES
        and len(grid.by_class) - grid.window <= _FEW
        and len(rows.vetoes) <= 2
        and bool(np.all(np.abs(even - steps) <= 1e-6 * np.maximum(1.0, np.abs(steps))))
    )


@triton.jit
def _shared_memory(program):
    """Return the address of some shared memory: a counter, and behind it the zones."""
    if _INTERPRETED:
        return program
    return tl.inline_asm_elementwise(
        """
        .shared .align 8 .b8 opis_counts[1024];
        mov.u32 $0, opis_counts;
        """,
        "=r,r", [program], tl.int32, is_pure=False, pack=1,
    )  # fmt: skip


@triton.jit
def _set_zero(shared, number):
    """Set the first numbers in shared memory to zero."""
    if not _INTERPRETED:
        places = shared + 4 * number
        tl.inline_asm_elementwise(
            "st.shared.b32 [$1], 0; mov.b32 $0, 0;",
            "=r,r", [places], tl.int32, is_pure=False, pack=1,
        )  # fmt: skip
        tl.debug_barrier()


@triton.jit
def _count_zones(zone, shared, zones, ZONES: tl.constexpr):
    """Add the zones of scores to their histogram in shared memory."""
    if _INTERPRETED:
        tl.atomic_add(zones + tl.arange(0, ZONES), tl.histogram(tl.ravel(zone), ZONES).to(tl.int64))
    else:
        tl.inline_asm_elementwise(
            "red.shared.add.u32 [$1], 1; mov.b32 $0, 0;",
            "=r,r", [shared + 8 + 4 * zone], tl.int32, is_pure=False, pack=1,
        )  # fmt: skip


@triton.jit
def _deliver_zones(shared, zones, ZONES: tl.constexpr):
    """Add the histogram in shared memory to the one in global memory."""
    if not _INTERPRETED:
        tl.debug_barrier()
        number = tl.arange(0, ZONES)
        counted = tl.inline_asm_elementwise(
            "ld.shared.b32 $0, [$1];",
            "=r,r", [shared + 8 + 4 * number], tl.int32, is_pure=False, pack=1,
        )  # fmt: skip
        tl.atomic_add(zones + number, counted.to(tl.int64), sem="relaxed")


@triton.jit
def _list_pairs(scores, cut, listed, shared, SIDE: tl.constexpr):
    """List the pairs whose score is at least ``cut``, and return their number.

    An entry has the score in its upper 32 bits, and the place in the block in the lower ones.
    """
    number = tl.arange(0, SIDE)
    places = number[:, None] * SIDE + number[None, :]
    if _INTERPRETED:
        wanted = tl.ravel(scores >= cut).to(tl.int32)
        entries = (scores.to(tl.int32, bitcast=True).to(tl.int64) << 32) | places
        tl.store(listed + tl.cumsum(wanted) - 1, tl.ravel(entries), wanted != 0)
        return tl.sum(wanted)
    tl.inline_asm_elementwise(
        _LIST, _LIST_OPERANDS, [scores, cut, places, shared, listed.to(tl.int64)], tl.int32,
        is_pure=False, pack=_PACK,
    )  # fmt: skip
    tl.debug_barrier()
    return tl.inline_asm_elementwise(
        "ld.shared.b32 $0, [$1];", "=r,r", [shared], tl.int32, is_pure=False, pack=1
    )


@triton.jit
def _bytes_of(scores, upper, few_cuts, FIRST: tl.constexpr, FEW: tl.constexpr):
    """Return 1 in the byte of the first of up to three thresholds that accepts each score.

    The numbers are divided by 256, so that float16 holds them, and 0 from the score ``upper`` on.
    """
    LAST: tl.constexpr = min(FIRST + 3, FEW)
    found = tl.zeros(scores.shape, tl.float32)
    for back in tl.static_range(LAST - FIRST):
        accepted = scores >= tl.load(few_cuts + LAST - 1 - back)
        found = tl.where(accepted, (1 << 8 * (LAST - FIRST - 1 - back)) / 256.0, found)
    return tl.where(scores >= upper, 0.0, found).to(tl.float16)


@triton.jit
def _count_few(found, i, j, few, rows, FIRST: tl.constexpr, FEW: tl.constexpr):
    """Sum the numbers of ``_bytes_of`` along rows and columns, and add them to the counts.

    The sums are products with ones, by the matrix units.
    """
    ones = tl.full((found.shape[0], 16), 1.0, tl.float16)
    f = tl.arange(0, 4)
    for axis in tl.static_range(2):
        sums = tl.dot(found if axis == 0 else found.T, ones)
        numbers = (tl.max(sums, 1) * 256.0).to(tl.int32)
        numbers = (numbers[:, None] >> (8 * f)[None, :]) & 0xFF
        places = few + ((FIRST + f) * rows)[None, :] + (i if axis == 0 else j)[:, None]
        tl.atomic_add(places, numbers, ((f < 3) & (FIRST + f < FEW))[None, :], sem="relaxed")


@triton.jit
def _credit(
    listed, count, i0, j0, keys, cuts, near_cuts, places, code_top, code_scale,
    credits, pooled, borderline, nearest, columns, steps,
    GENUINE: tl.constexpr, CODES: tl.constexpr, SIDE: tl.constexpr, AT_ONCE: tl.constexpr,
):  # fmt: skip
    """Credit the listed pairs of a block to the keys of both rows, and raise the nearest scores."""
    one = tl.full((AT_ONCE,), 1, credits.dtype.element_ty)
    for start in range(0, count, AT_ONCE):
        number = start + tl.arange(0, AT_ONCE)
        wanted = number < count
        entry = tl.load(listed + number, wanted, 0)
        score = (entry >> 32).to(tl.int32).to(tl.float32, bitcast=True)
        place = entry.to(tl.int32)
        i, j = i0 + place // SIDE, j0 + place % SIDE
        # All that is read is asked for before anything is added, so that the waits are one.
        i_key, j_key = tl.load(keys + i, wanted, 0), tl.load(keys + j, wanted, 0)
        i_best, j_best = tl.load(nearest + i, wanted, 0.0), tl.load(nearest + j, wanted, 0.0)
        if GENUINE:
            first, last = tl.zeros_like(place), tl.zeros_like(place) + (columns - 1)
        else:
            code = tl.minimum(tl.maximum((code_top - score) * code_scale, 0.0), CODES - 1.0)
            ends = tl.load(places + code.to(tl.int32), wanted, 0)
            first, last = ends & 0xFFFF, ends >> 16
        for _ in range(steps):
            middle = (first + last) // 2
            beyond = (score < tl.load(cuts + middle, wanted, 0.0)) & (first < last)
            last = tl.where(beyond, last, middle)
            first = tl.where(beyond, middle + 1, first)
        tl.atomic_add(credits + i_key.to(tl.int64) * columns + first, one, wanted, sem="relaxed")
        tl.atomic_add(credits + j_key.to(tl.int64) * columns + first, one, wanted, sem="relaxed")
        tl.atomic_max(nearest + i, score, wanted & (score > i_best), sem="relaxed")
        tl.atomic_max(nearest + j, score, wanted & (score > j_best), sem="relaxed")
        if GENUINE:
            near = wanted & (score < tl.load(near_cuts + first, wanted, 0.0))
            one_pair = tl.full((AT_ONCE,), 1, tl.int64)
            tl.atomic_add(pooled + first, one_pair, wanted, sem="relaxed")
            tl.atomic_add(borderline + first, one_pair, near, sem="relaxed")


@triton.jit
def _scores_of(
    high, low, half_squares, i0, j0, i, j, unscale,
    DIM: tl.constexpr, CENTRED: tl.constexpr, ACCURATE: tl.constexpr, SIDE: tl.constexpr,
    DEPTH: tl.constexpr,
):  # fmt: skip
    """Compute the scores of a block."""
    scores = tl.zeros((SIDE, SIDE), tl.float32)
    for k in range(0, DIM, DEPTH):
        i_high, j_high = high.load([i0, k]), high.load([j0, k]).T
        part = tl.zeros((SIDE, SIDE), tl.float32)
        if ACCURATE:
            part = tl.dot(low.load([i0, k]), j_high, part)
            part = tl.dot(i_high, low.load([j0, k]).T, part)
        part = tl.dot(i_high, j_high, part)
        scores += part
    scores *= unscale
    if CENTRED:
        scores -= tl.load(half_squares + i)[:, None]
        scores -= tl.load(half_squares + j)[None, :]
    return scores


@triton.jit(do_not_specialize=["a", "b", "c", "d", "rows", "columns", "steps"])
def _count_tile(
    high, low, half_squares, labels, keys, first_veto, second_veto,
    cuts, near_cuts, places, few_cuts, lists,
    credits, pooled, borderline, nearest, zones, few,
    a, b, c, d, rows, columns, steps,
    unscale, veto_score, window_cut, code_top, code_scale, zone_scale,
    GENUINE: tl.constexpr, DIM: tl.constexpr, CENTRED: tl.constexpr, VETOES: tl.constexpr,
    ACCURATE: tl.constexpr, FEW: tl.constexpr, CODES: tl.constexpr, ZONES: tl.constexpr,
    SIDE: tl.constexpr, DEPTH: tl.constexpr, GROUP: tl.constexpr, AT_ONCE: tl.constexpr,
):  # fmt: skip
    """Count the pairs of a tile, either the genuine ones or the impostor ones, block by block."""
    program = tl.program_id(0)
    listed = lists + program.to(tl.int64) * SIDE * SIDE
    shared = _shared_memory(program)
    _set_zero(shared, tl.arange(0, 256))
    height, width = tl.cdiv(b - a, SIDE), tl.cdiv(d - c, SIDE)
    for block in range(program, height * width, tl.num_programs(0)):
        group = block // (GROUP * width) * GROUP
        in_group = tl.minimum(height - group, GROUP)
        i0 = a + (group + block % (GROUP * width) % in_group) * SIDE
        j0 = c + block % (GROUP * width) // in_group * SIDE
        mixed = tl.load(labels + tl.minimum(i0 + SIDE, b) - 1) >= tl.load(labels + j0)
        wanted = j0 + SIDE > i0 + 1  # not below the diagonal
        if GENUINE:
            wanted &= mixed
        if wanted:
            i, j = i0 + tl.arange(0, SIDE), j0 + tl.arange(0, SIDE)
            i_in, j_in = i < b, j < d
            i, j = tl.minimum(i, b - 1), tl.minimum(j, d - 1)
            scores = _scores_of(
                high, low, half_squares, i0, j0, i, j, unscale,
                DIM, CENTRED, ACCURATE, SIDE, DEPTH,
            )  # fmt: skip
            if VETOES > 0:
                same = tl.load(first_veto + i)[:, None] == tl.load(first_veto + j)[None, :]
                scores = tl.where(same, veto_score, scores)
            if VETOES > 1:
                same = tl.load(second_veto + i)[:, None] == tl.load(second_veto + j)[None, :]
                scores = tl.where(same, veto_score, scores)
            # What is not to be counted gets a score that no threshold accepts.
            if mixed | (i0 + SIDE > b) | (j0 + SIDE > d):
                alike = tl.load(labels + i)[:, None] == tl.load(labels + j)[None, :]
                pairs = i_in[:, None] & j_in[None, :] & (i[:, None] < j[None, :])
                scores = tl.where(pairs & (alike == GENUINE), scores, float("-inf"))
            lowest = window_cut
            if GENUINE:
                lowest = veto_score
            else:
                zone = tl.minimum((window_cut - scores) * zone_scale, ZONES - 1.0).to(tl.int32) + 1
                # Zone 0 has the scores in the window, and those beyond the last zone.
                zone = tl.where(scores >= window_cut, 0, zone & (ZONES - 1))
                near = _bytes_of(scores, window_cut, few_cuts, 0, FEW)
                if FEW > 3:
                    far = _bytes_of(scores, tl.load(few_cuts + 2), few_cuts, 3, FEW)
                _count_zones(zone, shared, zones, ZONES)
                _count_few(near, i, j, few, rows, 0, FEW)
                if FEW > 3:
                    _count_few(far, i, j, few, rows, 3, FEW)
            count = _list_pairs(scores, lowest, listed, shared, SIDE)
            _credit(
                listed, count, i0, j0, keys, cuts, near_cuts, places, code_top, code_scale,
                credits, pooled, borderline, nearest, columns, steps, GENUINE, CODES, SIDE, AT_ONCE,
            )  # fmt: skip
            tl.debug_barrier()
            _set_zero(shared, 0)
    if not GENUINE:
        _deliver_zones(shared, zones, ZONES)


class Counter:
    """The arrays on the device while the kernel counts tiles."""

    def __init__(self, rows: Rows, grid: Grid, counts: Any, *, accurate: bool = True) -> None:
        self.counts, self.accurate = counts, accurate
        device = self.device = counts.impostor.device

        def there(array: NDArray[Any]) -> Any:
            return torch.from_numpy(np.ascontiguousarray(array)).to(device)

        self.count_of_rows, dim = rows.vectors.shape
        self.dim = -(-dim // _DEPTH) * _DEPTH
        self.high, self.low, self.unscale = self._split(rows)
        cuts = rows.cuts_of(grid)
        self.window, self.columns = grid.window, len(grid.by_class)
        self.window_cut, last_even = cuts[grid.window - 1], cuts[-2]
        number = len(cuts) - 1 - grid.window
        zone_scale = np.float32(number / (float(self.window_cut) - float(last_even)))
        self.zone_scale = float(zone_scale)
        codes = rows.codes(float(grid.thresholds[grid.window - 1]))
        self.code_top, self.code_scale = codes.top, codes.scale
        # A score of a code is in the first cell whose cut has this code or a later one, unless the
        # cut lies inside the code: then it may be in a later cell.
        fine = cuts[: grid.window]
        every = np.arange(CODES)
        first = np.searchsorted(codes.of(fine), every)
        last = np.searchsorted(codes.of(np.nextafter(fine, np.float32(-np.inf))), every, "right")
        last = np.minimum(last, grid.window - 1)
        first = np.minimum(first, last)
        self.steps = int((last - first).max()).bit_length()
        self.places = there((first | last << 16).astype(np.int32))
        cuts[-1] = -np.inf
        self.cuts = there(cuts)
        self.near_cuts = self.cuts + 2 * rows.rounding
        # The zones tell in float32 which scores a threshold accepts. The last one accepts all.
        zones = Codes(self.window_cut, zone_scale)
        few_cuts = zones.lowest(grid.by_class[grid.window :] - grid.window)
        few_cuts[-1] = np.finfo(np.float32).min
        self.few_cuts = there(few_cuts)
        self.labels_here = rows.labels
        self.half_squares, self.labels, self.keys = (
            there(array) for array in (rows.half_squares, rows.labels, rows.keys)
        )
        self.centred = rows.centred
        self.vetoes = [there(codes) for codes in rows.vetoes]
        self.veto_score = float(rows.veto_score)
        self.zones = torch.zeros(_ZONES, dtype=torch.int64, device=device)
        programs = 1
        if device.type == "cuda":
            programs = torch.cuda.get_device_properties(device).multi_processor_count
        self.lists = torch.empty((programs, _SIDE**2), dtype=torch.int64, device=device)
        self.few = torch.zeros(
            (len(few_cuts), self.count_of_rows), dtype=torch.int32, device=device
        )

    def _split(self, rows: Rows) -> tuple[Any, Any, float]:
        """Split vectors into two float16 tensors, and return the inverse of their scale squared."""
        vectors, longest = rows.vectors, float(np.sqrt(rows.scale)) or 1.0
        scale = float(2.0 ** np.floor(np.log2(_LARGEST / longest)))
        shape = (self.count_of_rows, self.dim)
        high, low = (torch.zeros(shape, dtype=torch.float16, device=self.device) for _ in range(2))
        for start in range(0, self.count_of_rows, _ROWS_AT_ONCE):
            part, own = slice(start, start + _ROWS_AT_ONCE), slice(vectors.shape[1])
            scaled = torch.from_numpy(vectors[part]).to(self.device) * scale
            high[part, own] = scaled.half()
            low[part, own] = (scaled - high[part, own]).half()
        return high, low, scale**-2

    def count(self, tile: Tile) -> None:
        """Count one tile."""
        self._launch(tile, genuine=False)
        # Rows are sorted by label, so only tiles near the diagonal can have genuine pairs.
        if self.labels_here[tile.b - 1] >= self.labels_here[tile.c]:
            self._launch(tile, genuine=True)

    def _launch(self, tile: Tile, *, genuine: bool) -> None:
        """Count the genuine or the impostor pairs of one tile."""
        high, low = (
            TensorDescriptor.from_tensor(one, [_SIDE, _DEPTH]) for one in (self.high, self.low)
        )
        none, counts = self.labels, self.counts
        steps = len(self.cuts).bit_length() if genuine else self.steps
        credits, nearest, columns = counts.impostor, counts.nearest_impostor, self.columns
        if genuine:
            credits, nearest, columns = counts.genuine, counts.nearest_genuine, len(self.cuts)
        _count_tile[(len(self.lists),)](
            high, low, self.half_squares, self.labels, self.keys, *(*self.vetoes, none, none)[:2],
            self.cuts, self.near_cuts, self.places, self.few_cuts, self.lists,
            credits, counts.pooled_genuine, counts.borderline_genuine, nearest, self.zones,
            self.few, tile.a, tile.b, tile.c, tile.d, self.count_of_rows, columns, steps,
            self.unscale, self.veto_score, float(self.window_cut), float(self.code_top),
            float(self.code_scale), self.zone_scale,
            GENUINE=genuine, DIM=self.dim, CENTRED=self.centred, VETOES=len(self.vetoes),
            ACCURATE=self.accurate, FEW=len(self.few_cuts), CODES=CODES, ZONES=_ZONES, SIDE=_SIDE,
            DEPTH=_DEPTH, GROUP=_GROUP, AT_ONCE=_AT_ONCE, num_warps=8, num_stages=3,
        )  # fmt: skip

    def finish(self) -> None:
        """Put the counts beyond the window into their cells."""
        counts, window = self.counts, self.window
        impostor = counts.impostor.view(-1, self.columns)
        inside = impostor[:, :window]
        keys = self.keys.long()
        accepted = impostor.new_zeros((len(self.few), len(impostor)))
        accepted.index_add_(1, keys, self.few.to(accepted.dtype))
        impostor[:, window:] = accepted.T
        pooled = counts.pooled_impostor
        # The signed integers stand for unsigned ones.
        wrapped = (inside < 0).sum(0) << 8 * inside.itemsize if inside.itemsize < 8 else 0
        pooled[:window] = (inside.sum(0) + wrapped) // 2
        number = len(self.cuts) - 1 - window
        pooled[window : window + number] = self.zones[1 : number + 1]
        pooled[-1] = (self.few.sum() // 2) - self.zones[1 : number + 1].sum()
