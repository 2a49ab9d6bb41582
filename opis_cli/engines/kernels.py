"""What the Numba engine compiles: one look at a block of scores, and the credits that follow."""

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

# No NaN reaches the scan, and products may be fused: both let LLVM vectorise it.
_compiled = njit(nogil=True, cache=True, fastmath={"nnan", "nsz", "contract"})
# Sums in any order too.
_summing = njit(nogil=True, cache=True, fastmath={"nnan", "nsz", "contract", "reassoc"})

_u64 = np.uint64  # Numba looks for negative places where an index is signed.

ZONES = 128
"""Zones beyond the window; a byte holds a zone, and its highest bit says "in the window"."""

# Whether the processor can pick 16-bit integers out of a vector: the quickest way to a list.
_COMPRESSES = "+avx512vbmi2" in cpu_target.target_context.codegen().magic_tuple()[2]

CROWDED = np.uint32(1 << 15)
"""Bit of a table's cells that says to search on."""
PADDING = 16
"""Floats that rows of scores lie further apart than they are long: rows a power of two apart share
few lines of the cache, and the product writes them at half the speed."""

# Eight bytes at a time: the set bits of a byte of flags, and how many there are.
_HIGH_BITS = np.uint64(0x8080808080808080)
_GATHER = np.uint64(0x0102040810204080)
_PAIR = np.uint64(0xFFFF)
_SET_BITS = np.array(
    [
        [bit for bit in range(8) if byte >> bit & 1] + [0] * (8 - byte.bit_count())
        for byte in range(256)
    ],
    np.uint16,
)
_BIT_COUNTS = np.array([byte.bit_count() for byte in range(256)], np.uint64)


class Table(NamedTuple):
    """A table from scores to cells among ``cuts``, which fall to -inf.

    ``first[code]`` is the cell of a score with this code (``distance.Codes``); where its highest
    bit is set, cuts lie inside the code, and the cell is this one or one of the next.
    """

    cuts: Any
    first: Any
    top: Any
    scale: Any


class Cells(NamedTuple):
    """The grid as the scan wants it.

    Of ``number`` cells the first ``window`` are kept by class; ``inside`` finds those of impostors
    in the window, ``anywhere`` all cells, of genuine pairs. Beyond the window the cuts are even,
    and the scan knows their cells as zones, from 0 for the last cell up to ``ZONES - 1``: a
    score's is ``score * scale + shift``, cut off. ``few`` are the zones from which on pairs are
    counted for the thresholds beyond the window that are kept by class, but for the last one.
    ``everywhere`` says that all cells are the window's, and there are no zones.
    """

    number: int
    window: int
    class_cell: Any
    inside: Table
    anywhere: Table
    everywhere: bool
    scale: Any
    shift: Any
    few: Any


class Buffers(NamedTuple):
    """A worker's own arrays.

    ``zone_pairs`` counts the zones of a block two at a time, as neighbours in a row, in integers so
    short that the table stays in the first cache; ``zone_counts`` has the zones of all blocks.

    ``credits`` has the credits of the window to the keys of one tile, flat, in bytes, so that they
    stay in the second cache: those of a row begin at its ``row_places`` or ``column_places``. Each
    256 credits of a place make a *carry*, of which ``carried[0]`` is the number, and the rest says
    where.
    """

    nearest: Any
    zone_pairs: Any
    zone_counts: Any
    zones: Any
    columns: Any
    credits: Any
    carried: Any
    row_places: Any
    column_places: Any
    few_by_row: Any
    few_by_column: Any
    few_columns: Any


@_compiled
def subtract_halves(scores: Any, left: Any, right: Any) -> None:
    for i in range(left.size):
        for j in range(right.size):
            scores[i, j] -= left[i] + right[j]


@_compiled
def veto(scores: Any, left: Any, right: Any, score: Any) -> None:
    """Give the pairs whose codes are equal a score that is no pair's."""
    for i in range(left.size):
        code = left[i]
        for j in range(right.size):
            scores[i, j] = score if right[j] == code else scores[i, j]


@_compiled
def scan(
    scores: Any,
    width: int,
    a: int,
    i0: int,
    c: int,
    j0: int,
    ends: Any,
    keys: Any,
    cells: Cells,
    buffers: Buffers,
) -> None:
    """Look at the impostor pairs of a block once; credit those inside the window.

    The block begins at row ``i0`` and column ``j0`` of a tile that begins at ``a`` and ``c``; of
    each row of ``scores``, the first ``width`` are its columns.
    """
    # Taken out of the tuples here, once: each time costs atomic reference counts.
    nearest, zone_pairs, zone_counts = buffers.nearest, buffers.zone_pairs, buffers.zone_counts
    zones, words, columns = buffers.zones, buffers.zones.view(np.uint64), buffers.columns
    credits, carried, few_columns = buffers.credits, buffers.carried, buffers.few_columns
    few, everywhere, scale, shift = cells.few, cells.everywhere, cells.scale, cells.shift
    inside, firsts, cuts = cells.inside, cells.inside.first, cells.inside.cuts
    top, code_scale = inside.top, inside.scale
    few_by_row, few_by_column = buffers.few_by_row, buffers.few_by_column
    row_places, column_places = buffers.row_places, buffers.column_places[j0 - c :]
    flat, height, doubles = scores.ravel(), scores.shape[0], np.uint64(0)
    for i in range(_u64(height)):
        row = _u64(i0) + i
        first = _u64(min(max(ends[row] - j0, 0), width))
        size = _u64(width) - first
        if everywhere:
            found = _list_all(size, columns)
        else:
            _find_zones(scores, i, first, size, scale, shift, zones)
            below = (i + _u64(1)) * _u64(scores.shape[1]) + first
            found = _split(words, zones, size, zone_pairs, zone_counts, columns, flat, below)
            doubles += size // _u64(8) * _u64(4)
            in_tile = _u64(j0 - c) + first
            _count_few(zones, in_tile, size, few, few_columns)
            last = i + _u64(1) == height or keys[row + _u64(1)] != keys[row]
            if last or i % _u64(128) == _u64(127):
                _gather_few(
                    few_columns,
                    few_by_row,
                    few_by_column,
                    _u64(i0 - a) + i,
                    _u64(j0 - c),
                    _u64(width),
                )
        _credit(
            scores,
            i,
            first,
            row,
            _u64(j0),
            firsts,
            cuts,
            top,
            code_scale,
            nearest,
            columns,
            found,
            credits,
            carried,
            row_places[row - _u64(a)],
            column_places,
        )
    if not everywhere and not _gather_zones(zone_pairs, zone_counts, doubles):
        for i in range(_u64(height)):
            first = _u64(min(max(ends[_u64(i0) + i] - j0, 0), width))
            size = (_u64(width) - first) // _u64(8) * _u64(8)
            _find_zones(scores, i, first, size, scale, shift, zones)
            for j in range(size):
                zone_counts[zones[j]] += 1


@_compiled
def _gather_zones(zone_pairs: Any, zone_counts: Any, doubles: Any) -> Any:
    """Move a block's zones to their counts, and empty the table.

    A count that went over its 16 bits shows, as each time the total is less by 2^16; then nothing
    is counted, and False returned.
    """
    by_first = np.zeros(zone_counts.size, np.uint64)
    by_second = np.zeros(zone_counts.size, np.uint64)
    total = np.uint64(0)
    for one in range(_u64(zone_counts.size)):
        row, own = one << _u64(8), np.uint64(0)
        for other in range(_u64(zone_counts.size)):
            pairs = _u64(zone_pairs[row + other])
            own += pairs
            by_second[other] += pairs
            zone_pairs[row + other] = np.uint16(0)
        by_first[one] = own
        total += own
    if total != doubles:
        return False
    for one in range(_u64(zone_counts.size)):
        zone_counts[one] += np.int64(by_first[one] + by_second[one])
    return True


@_compiled
def _list_all(size: Any, columns: Any) -> Any:
    for j in range(size):
        columns[j] = np.uint16(j)
    return size


@_compiled
def _find_zones(
    scores: Any, i: Any, first: Any, size: Any, scale: Any, shift: Any, zones: Any
) -> None:
    """Zone of each score, or ``ZONES`` for the window."""
    for j in range(size):
        zone = np.int32(scores[i, first + j] * scale + shift)
        zones[j] = np.uint8(min(max(zone, np.int32(0)), np.int32(ZONES)))


def _appending(
    context: Any, columns: Any, count: Any, table: Any, index: Any, base: Any
) -> tuple[Any, Any]:
    """``columns[count : count + 8] = table[index] + base``, in one vector of 16-bit integers.

    Numba leaves such short loops to LLVM's SLP pass, which it turns off.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = ir.VectorType(ir.IntType(16), 8)
        columns, count, table, index, base = arguments
        column_data = context.make_array(signature.args[0])(context, builder, columns).data
        table_data = context.make_array(signature.args[2])(context, builder, table).data
        row = builder.gep(table_data, [builder.mul(index, ir.Constant(index.type, 8))])
        offsets = builder.load(builder.bitcast(row, vector.as_pointer()), align=2)
        place = builder.bitcast(builder.gep(column_data, [count]), vector.as_pointer())
        builder.store(builder.add(offsets, _spread(builder, base, vector)), place, align=2)
        return context.get_dummy_value()

    return types.void(columns, count, table, index, base), generate


def _spread(builder: Any, value: Any, vector: Any) -> Any:
    """A vector of one value."""
    single = builder.insert_element(
        ir.Constant(vector, ir.Undefined), value, ir.Constant(ir.IntType(32), 0)
    )
    first = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)
    return builder.shuffle_vector(single, single, first)


def _compressing(context: Any, columns: Any, count: Any, zones: Any, start: Any) -> tuple[Any, Any]:
    """Append ``start + k`` for those of 32 zones, ``zones[start + k]``, that have the highest bit.

    Returns how many they are; what is written beyond them is to be overwritten.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector, mask = ir.VectorType(ir.IntType(16), 32), ir.VectorType(ir.IntType(1), 32)
        zone = ir.VectorType(ir.IntType(8), 32)
        columns, count, zones, start = arguments
        column_data = context.make_array(signature.args[0])(context, builder, columns).data
        zone_data = context.make_array(signature.args[2])(context, builder, zones).data
        seen = builder.bitcast(builder.gep(zone_data, [start]), zone.as_pointer())
        none = ir.Constant(zone, [0] * 32)
        flags = builder.icmp_signed("<", builder.load(seen, align=1), none)
        steps = ir.Constant(vector, list(range(32)))
        base = builder.trunc(start, ir.IntType(16))
        found = builder.add(steps, _spread(builder, base, vector))
        compress = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
            builder.module,
            ir.FunctionType(vector, [vector, vector, mask]),
            "llvm.x86.avx512.mask.compress.v32i16",
        )
        packed = builder.call(compress, [found, ir.Constant(vector, [0] * 32), flags])
        place = builder.bitcast(builder.gep(column_data, [count]), vector.as_pointer())
        builder.store(packed, place, align=2)
        number = builder.ctpop(builder.bitcast(flags, ir.IntType(32)))
        return builder.zext(number, ir.IntType(64))

    return types.uint64(columns, count, zones, start), generate


def _prefetching(context: Any, values: Any, place: Any) -> tuple[Any, Any]:
    """Ask for ``values[place]`` to be in the cache soon; there need not be such a place."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, place = arguments
        data = context.make_array(signature.args[0])(context, builder, values).data
        address = builder.bitcast(builder.gep(data, [place]), ir.IntType(8).as_pointer())
        number, none = ir.IntType(32), ir.VoidType()
        ask = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
            builder.module,
            ir.FunctionType(none, [address.type, number, number, number]),
            "llvm.prefetch.p0",
        )
        # To read, kept in all caches, data.
        builder.call(ask, [address, *(ir.Constant(number, flag) for flag in (0, 3, 1))])
        return context.get_dummy_value()

    return types.void(values, place), generate


_append: Any = intrinsic(_appending)
_compress: Any = intrinsic(_compressing)
_prefetch: Any = intrinsic(_prefetching)


@_compiled
def _split(
    words: Any,
    zones: Any,
    size: Any,
    zone_pairs: Any,
    zone_counts: Any,
    columns: Any,
    scores: Any,
    below: Any,
) -> Any:
    """Count zones, eight in a word; list the columns in the window, and return how many.

    Meanwhile the scores of the row below come into the cache.
    """
    count, whole = _u64(0), size // _u64(8)
    for w in range(whole):
        word = words[w]
        _prefetch(scores, below + w * _u64(8))
        zone_pairs[word & _PAIR] += np.uint16(1)
        zone_pairs[(word >> _u64(16)) & _PAIR] += np.uint16(1)
        zone_pairs[(word >> _u64(32)) & _PAIR] += np.uint16(1)
        zone_pairs[word >> _u64(48)] += np.uint16(1)
        if not _COMPRESSES:
            # The highest bits of eight bytes, side by side in one.
            flags = (((word & _HIGH_BITS) >> _u64(7)) * _GATHER) >> _u64(56)
            _append(columns, count, _SET_BITS, flags, np.uint16(w << _u64(3)))
            count += _BIT_COUNTS[flags]
    for j in range(whole * _u64(8), size):
        zone_counts[zones[j]] += 1
        if not _COMPRESSES:
            columns[count] = np.uint16(j)
            count += _u64(zones[j] == ZONES)
    if _COMPRESSES:
        zones[size : size + _u64(32)] = np.uint8(0)
        for start in range(_u64(0), size, _u64(32)):
            count += _compress(columns, count, zones, start)
    return count


@_compiled
def _count_few(zones: Any, first: Any, size: Any, few: Any, by_column: Any) -> None:
    """Count the zones from each of a few on, for every column."""
    for q in range(_u64(few.size)):
        least = few[q]
        for j in range(size):
            by_column[q, first + j] += np.uint8(zones[j] >= least)


@_compiled
def _gather_few(counted: Any, by_row: Any, by_column: Any, row: Any, start: Any, size: Any) -> None:
    """Move what some rows of one key counted to the last of them and to the columns."""
    for q in range(_u64(counted.shape[0])):
        total = np.uint32(0)
        for j in range(size):
            seen = counted[q, start + j]
            total += np.uint32(seen)
            by_column[q, start + j] += np.uint16(seen)
            counted[q, start + j] = np.uint8(0)
        by_row[row, q] += total


@_compiled
def _credit(
    scores: Any,
    i: Any,
    first: Any,
    row: Any,
    j0: Any,
    firsts: Any,
    cuts: Any,
    top: Any,
    scale: Any,
    nearest: Any,
    columns: Any,
    found: Any,
    credits: Any,
    carried: Any,
    own: Any,
    others: Any,
) -> None:
    """Credit a row's listed pairs to the keys of both rows, and raise the nearest scores."""
    best = nearest[row]
    for k in range(found):
        j = first + _u64(columns[k])
        score = scores[i, j]
        if score > nearest[j0 + j]:
            nearest[j0 + j] = score
        if score > best:
            best = score
        cell = _cell(score, firsts, cuts, top, scale)
        _increment(credits, _u64(own + cell), carried)
        _increment(credits, _u64(others[j] + cell), carried)
    nearest[row] = best


@_compiled
def _increment(credits: Any, place: Any, carried: Any) -> None:
    more = np.uint8(credits[place] + np.uint8(1))
    credits[place] = more
    if more == 0:
        carried[0] += np.uint32(1)
        carried[carried[0]] = place


@_compiled
def _cell(score: Any, first: Any, cuts: Any, top: Any, scale: Any) -> Any:
    """The cell of a score, that of the first threshold which accepts it, by a table of codes."""
    place = min(max((top - score) * scale, np.float32(0)), np.float32(first.size - 1))
    cell = np.uint32(first[np.uint32(place)])
    if cell >= CROWDED:
        cell -= CROWDED
        while score < cuts[cell]:
            cell += np.uint32(1)
    return cell


@_compiled
def find_places(
    keys: Any, start: int, stop: int, window: int, numbers: Any, found: Any, count: int, places: Any
) -> int:
    """Give each key of some rows a place among a tile's credits, where it has none yet.

    ``found`` lists the keys, ``count`` of them so far, and ``numbers`` has one more than the place
    of each in the list, or 0. Returns the new count.
    """
    for i in range(start, stop):
        key = keys[i]
        if numbers[key] == 0:
            found[count] = key
            count += 1
            numbers[key] = count
        places[i - start] = (numbers[key] - 1) * window
    return count


@_compiled
def deliver_credits(
    keys: Any, window: int, class_cell: Any, buffers: Buffers, by_cell: Any, by_key: Any, total: Any
) -> None:
    """Move a tile's credits to the tally of all, ``total``, and to the sums by cell and by key."""
    credits, carried = buffers.credits, buffers.carried
    kept_apart = class_cell[window - 1] == window - 1
    for n in range(1, _u64(carried[0]) + _u64(1)):
        key, cell = keys[carried[n] // window], carried[n] % window
        total[key, class_cell[cell]] += 256
        by_cell[cell] += 256
        by_key[key] += 256
    carried[0] = 0
    for n in range(_u64(keys.size)):
        key, first = _u64(keys[n]), n * _u64(window)
        own = np.uint64(0)
        for cell in range(_u64(window)):
            seen = credits[first + cell]
            by_cell[cell] += seen
            own += _u64(seen)
        by_key[key] += own
        if kept_apart:
            for cell in range(_u64(window)):
                total[key, cell] += credits[first + cell]
        else:
            for cell in range(_u64(window)):
                total[key, class_cell[cell]] += credits[first + cell]
        credits[first : first + _u64(window)] = np.uint8(0)


@_compiled
def credit_beyond(
    a: int,
    b: int,
    c: int,
    d: int,
    begins: Any,
    ends: Any,
    keys: Any,
    buffers: Buffers,
    accepted: Any,
) -> None:
    """Credit a tile's impostor pairs that are accepted at each of the few, and all of them."""
    by_row, by_column = buffers.few_by_row, buffers.few_by_column
    few = by_row.shape[1]
    for i in range(a, b):
        accepted[keys[i], few] += max(d - max(ends[i], c), 0)
        for q in range(few):
            accepted[keys[i], q] += by_row[i - a, q]
    for j in range(c, d):
        accepted[keys[j], few] += max(min(begins[j], b) - a, 0)
        for q in range(few):
            accepted[keys[j], q] += by_column[q, j - c]
    by_row[:] = 0
    by_column[:] = 0


@_compiled
def credit_genuine(
    scores: Any,
    width: int,
    i0: int,
    j0: int,
    ends: Any,
    keys: Any,
    cells: Cells,
    credits: Any,
    pooled: Any,
    nearest: Any,
) -> None:
    """Credit the genuine pairs ``i < j`` of a block to the keys of both rows."""
    table, class_cell = cells.anywhere, cells.class_cell
    first, cuts = table.first, table.cuts
    for i in range(scores.shape[0]):
        for j in range(max(i0 + i + 1 - j0, 0), min(ends[i0 + i] - j0, width)):
            score = scores[i, j]
            nearest[i0 + i] = max(nearest[i0 + i], score)
            nearest[j0 + j] = max(nearest[j0 + j], score)
            cell = _cell(score, first, cuts, table.top, table.scale)
            pooled[cell] += 1
            by_class = class_cell[cell]
            credits[keys[i0 + i], by_class] += 1
            credits[keys[j0 + j], by_class] += 1


@_summing
def inside(vectors: Any, half_squares: Any, start: int, stop: int, cuts: Any, credits: Any) -> None:
    """Count the pairs of rows ``start:stop`` by the first of ``cuts``, which fall, that they reach.

    No cut is reached by most pairs; the others are found by bisection.
    """
    last = cuts.size - 1
    for i in range(_u64(start), _u64(stop)):
        for j in range(i + _u64(1), _u64(stop)):
            score = np.float32(0)
            for d in range(vectors.shape[1]):
                score += vectors[i, d] * vectors[j, d]
            score -= half_squares[i] + half_squares[j]
            if score >= cuts[last]:
                low, high = 0, last
                while low < high:
                    middle = (low + high) // 2
                    if score >= cuts[middle]:
                        high = middle
                    else:
                        low = middle + 1
                credits[low] += 1
