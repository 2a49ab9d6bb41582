"""Vector instructions that Numba cannot express, written in the terms of LLVM.

Each function here returns the types of a call, and a function that generates its code. ``append``,
``compress`` and ``prefetch`` are what compiled code calls.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

_FEATURES = cpu_target.target_context.codegen().magic_tuple()[2]
# Whether the processor can pack chosen 16-bit integers of a vector together (AVX-512 VBMI2). That
# is the fastest way to make a list.
COMPRESSES = "+avx512vbmi2" in _FEATURES
LANES = 64 if "+avx512bw" in _FEATURES else 32
"""Columns that one call of ``count_columns`` handles: the bytes of one or two vector registers."""


def _appending(
    context: Any, columns: Any, count: Any, table: Any, index: Any, base: Any
) -> tuple[Any, Any]:
    """Set ``columns[count : count + 8] = table[index] + base``, as a vector of 16-bit integers.

    For so short a loop LLVM would make vectors only in its SLP pass, which Numba turns off.
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
    """Return a vector in which every element is ``value``."""
    single = builder.insert_element(
        ir.Constant(vector, ir.Undefined), value, ir.Constant(ir.IntType(32), 0)
    )
    first = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)
    return builder.shuffle_vector(single, single, first)


def _compressing(
    context: Any, columns: Any, count: Any, zones: Any, at: Any, start: Any
) -> tuple[Any, Any]:
    """Append ``start + k`` for each of 32 zones that has the highest bit set.

    The zones are ``zones[at + start + k]``. The call returns how many were appended. It writes 32
    numbers in any case; those beyond are to be overwritten.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector, mask = ir.VectorType(ir.IntType(16), 32), ir.VectorType(ir.IntType(1), 32)
        zone = ir.VectorType(ir.IntType(8), 32)
        columns, count, zones, at, start = arguments
        column_data = context.make_array(signature.args[0])(context, builder, columns).data
        zone_data = context.make_array(signature.args[2])(context, builder, zones).data
        seen = builder.bitcast(builder.gep(zone_data, [builder.add(at, start)]), zone.as_pointer())
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

    return types.uint64(columns, count, zones, at, start), generate


def _counting(
    context: Any,
    zones: Any,
    place: Any,
    pitch: Any,
    rows: Any,
    least: Any,
    counts: Any,
    column: Any,
) -> tuple[Any, Any]:
    """Count the zones not below ``least`` in each of ``LANES`` columns of a few rows.

    The zones of row ``r`` begin at ``zones[place + r * pitch]``. The numbers are added to
    ``counts[column : column + LANES]``, and the call returns their sum. At most 255 rows are
    counted, because the counters are bytes. They stay in registers, which LLVM would not see from
    a loop over rows.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        zones, place, pitch, rows, least, counts, column = arguments
        byte, short, long = (ir.VectorType(ir.IntType(bits), LANES) for bits in (8, 16, 32))
        zone_data = context.make_array(signature.args[0])(context, builder, zones).data
        count_data = context.make_array(signature.args[5])(context, builder, counts).data
        limits, one = _spread(builder, least, byte), ir.Constant(byte, [1] * LANES)
        counted = cgutils.alloca_once_value(  # type: ignore[no-untyped-call]
            builder, ir.Constant(byte, [0] * LANES)
        )
        with cgutils.for_range(builder, rows, intp=place.type) as loop:
            start = builder.add(place, builder.mul(loop.index, pitch))
            seen = builder.load(
                builder.bitcast(builder.gep(zone_data, [start]), byte.as_pointer()), align=1
            )
            before = builder.load(counted)
            accepted = builder.icmp_unsigned(">=", seen, limits)
            builder.store(builder.select(accepted, builder.add(before, one), before), counted)
        found = builder.load(counted)
        own = builder.bitcast(builder.gep(count_data, [column]), short.as_pointer())
        total = builder.add(builder.load(own, align=2), builder.zext(found, short))
        builder.store(total, own, align=2)
        add_up = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
            builder.module,
            ir.FunctionType(ir.IntType(32), [long]),
            f"llvm.vector.reduce.add.v{LANES}i32",
        )
        return builder.call(add_up, [builder.zext(found, long)])

    return types.uint32(zones, place, pitch, rows, least, counts, column), generate


def _prefetching(context: Any, values: Any, place: Any) -> tuple[Any, Any]:
    """Ask the processor to fetch ``values[place]`` into the cache; the place need not exist."""

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
        # The flags mean: for reading, to be kept in all caches, and data.
        builder.call(ask, [address, *(ir.Constant(number, flag) for flag in (0, 3, 1))])
        return context.get_dummy_value()

    return types.void(values, place), generate


append: Any = intrinsic(_appending)
compress: Any = intrinsic(_compressing)
count_columns: Any = intrinsic(_counting)
prefetch: Any = intrinsic(_prefetching)
