"""The kernel of ``triton_tiles.py``: it counts the pairs of a tile, block by block.

Read ``count_tile`` first. It takes a block of scores from ``_scores_of``. The pairs beyond the
window are counted by ``_count_zones`` and ``_count_few``. Those in the window, a tenth of all, are
put on a list by ``_list_pairs``, and ``_credit`` goes through the list. So the search for a cell
and the additions, which take a thread many steps, are done for no other pairs. Genuine pairs are
all listed.

Parts that Triton has no words for are in PTX, the assembly of NVIDIA devices: a counter and a
histogram in the shared memory of a program, and the list. ``tl.load``, ``tl.store`` and
``tl.atomic_add`` of a whole block would do, but first move all its pointers between threads. Tests
without a device run the kernel under ``TRITON_INTERPRET=1``, and plain words of Triton take the
place of PTX.

Sizes of the arguments: N rows of D values, T thresholds, C thresholds with counts by class and F of
these beyond the window.

==================== =============== ==============================================================
high, low            (N, D) float16  the two parts of the vectors
half_squares         (N,) float32    as in ``Rows``
labels, keys, vetoes (N,) int32      as in ``Rows``
cuts, near_cuts      (T,) float32    least score of each cell, and the same two roundings higher
places               (CODES,) int32  first and last cell of each code, in 16 bits each
few_cuts             (F,) float32    least score that each threshold beyond the window accepts
lists                (P, SIDE ** 2)  int64, a list for each of the P programs
credits              (keys, T or C)  counts by key and cell
pooled, borderline   (T,) int64      as in ``Tally``, of genuine pairs
nearest              (N,) float32    as in ``Tally``
zones                (ZONES,) int64  pairs by zone
few                  (F, N) int32    pairs of each row by the first threshold beyond the window that
                                     accepts them
==================== =============== ==============================================================
"""

import os

import triton
import triton.language as tl

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
def count_tile(
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
