"""Convert Arrow arrays to NumPy: lists of numbers to one matrix, and labels to class indices.

Values from Parquet, lists, pandas and text all pass through here. So nulls, slices, chunks and
dictionaries are handled in one place.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from opis_cli.errors import InputError
from opis_cli.records import Column, Ints, Numbers
from opis_cli.text import plain

Array = Any  # pyarrow.Array; pyarrow ships no types
Bools = NDArray[np.bool_]
TEXT_DTYPE = np.dtype(np.float64)
"""Type of numbers that are read from text."""


@dataclass(frozen=True, slots=True)
class Block:
    """The vectors of consecutive rows, laid end to end.

    Attributes
    ----------
    values : ndarray of shape (sum of lengths,)
        Numbers of all rows that are not null.
    nulls : ndarray like ``values``, or None
        Which of the numbers are null. None if no number is.
    lengths : ndarray of shape (n,)
        Number of numbers in each row; -1 for a null row.
    where : str
        Name of the source in error messages.
    """

    values: NDArray[Any]
    nulls: Bools | None
    lengths: Ints
    where: str


def kept_dtype(dtype: np.dtype[Any]) -> np.dtype[Any] | None:
    """Return the type in which numbers of a type are kept, or None if they are no numbers.

    Floats of up to 64 bits and integers of 8 bits keep their type. Other integers become floats of
    64 bits, and booleans become integers of 8 bits.
    """
    if dtype.kind == "f" and dtype.itemsize <= 8:
        return dtype.newbyteorder("=")
    if dtype.kind == "b":
        return np.dtype(np.uint8)
    if dtype.kind in "iu":
        return dtype if dtype.itemsize == 1 else np.dtype(np.float64)
    return None


def number_dtype(kind: Any) -> np.dtype[Any] | None:
    """Return ``kept_dtype`` of an Arrow type."""
    from pyarrow import types

    if types.is_floating(kind) or types.is_integer(kind) or types.is_boolean(kind):
        return kept_dtype(np.dtype(kind.to_pandas_dtype()))
    return None


def vector_dtype(kind: Any) -> np.dtype[Any] | None:
    """Return ``kept_dtype`` of the numbers in an Arrow list type, or None for other types."""
    import pyarrow as pa
    from pyarrow import types

    if isinstance(kind, pa.FixedShapeTensorType):
        return number_dtype(kind.value_type) if len(kind.shape) == 1 else None
    lists = (
        types.is_list,
        types.is_large_list,
        types.is_fixed_size_list,
        types.is_list_view,
        types.is_large_list_view,
    )
    return number_dtype(kind.value_type) if any(is_a(kind) for is_a in lists) else None


def list_block(array: Array, where: str) -> Block:
    """Return the vectors of an Arrow array as a block. ``vector_dtype`` must accept its type."""
    import pyarrow as pa
    from pyarrow import compute

    if isinstance(array.type, pa.BaseExtensionType):
        array = array.storage
    # flatten() respects slices and leaves null rows out, which matches the lengths. The attribute
    # .values does neither.
    flat = array.flatten()
    lengths = compute.fill_null(compute.list_value_length(array), -1).to_numpy()
    nulls = to_numpy(flat.is_null()) if flat.null_count else None
    return Block(numbers_of(flat), nulls, lengths, where)


def numbers_of(array: Array) -> NDArray[Any]:
    """Convert an Arrow array of numbers or booleans to NumPy. Nulls become 0, or NaN in floats."""
    from pyarrow import types

    if array.null_count and not types.is_floating(array.type):
        # Integers and booleans have no NaN.
        array = array.fill_null(False if types.is_boolean(array.type) else 0)
    return to_numpy(array)


def is_text(kind: Any) -> bool:
    """Return whether an Arrow type is text."""
    from pyarrow import types

    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def text_block(texts: Array, numbers: Sequence[int] | Ints, where: str) -> Block:
    """Return the vectors that are written as JSON texts such as ``[0.1, 0.2]``.

    Parameters
    ----------
    texts : Arrow array of text, length n
        An empty text and ``null`` are a null row.
    numbers : sequence of int, length n
        Row numbers, for error messages.
    where : str

    Raises
    ------
    InputError
        A text is not a list of numbers.
    """
    import pyarrow as pa
    from pyarrow import compute

    try:
        bare = _bare(texts, ("", "null"))
        listed = compute.and_(compute.starts_with(bare, "["), compute.ends_with(bare, "]"))
        if not compute.all(listed, min_count=0).as_py():
            raise pa.ArrowInvalid("a text without brackets")
        lists = compute.split_pattern(compute.utf8_slice_codeunits(bare, 1, -1), ",")
        flat = _bare(lists.flatten(), ("null",))
        lengths = compute.fill_null(compute.list_value_length(lists), -1).to_numpy()
        nulls = to_numpy(flat.is_null()) if flat.null_count else None
        return Block(to_numpy(flat.cast(pa.float64())), nulls, lengths, where)
    except pa.ArrowInvalid:
        if len(texts) > 1:
            _one_by_one(text_block, texts, numbers, where)
        raise InputError(
            f"{where}: row {numbers[0]} (counted from 0) is {_shown(texts[0])}, which is no list "
            "of numbers; write each vector as JSON text, such as json.dumps(vector.tolist())"
        ) from None


def text_numbers(texts: Array, numbers: Sequence[int] | Ints, where: str) -> Array:
    """Return texts as float64. The parameters are those of ``text_block``.

    Raises
    ------
    InputError
        A text is not a number.
    """
    import pyarrow as pa

    try:
        return _bare(texts, ("", "null")).cast(pa.float64())
    except pa.ArrowInvalid:
        if len(texts) > 1:
            _one_by_one(text_numbers, texts, numbers, where)
        raise InputError(
            f"{where}: row {numbers[0]} (counted from 0) is {_shown(texts[0])}, which is no "
            "number; mend it, or give a pattern that matches columns of numbers only"
        ) from None


def _bare(texts: Array, nulls: Sequence[str]) -> Array:
    """Return texts without white space around them, and some of them as nulls."""
    import pyarrow as pa
    from pyarrow import compute

    bare = compute.utf8_trim_whitespace(texts.cast(pa.large_string()))
    missing = compute.is_in(bare, pa.array(nulls, pa.large_string()))
    return compute.if_else(missing, pa.scalar(None, pa.large_string()), bare)


def _one_by_one(
    parse: Callable[[Array, Sequence[int] | Ints, str], object],
    texts: Array,
    numbers: Sequence[int] | Ints,
    where: str,
) -> None:
    """Parse texts by themselves, so that the first bad one raises the error."""
    for k in range(len(texts)):
        parse(texts.slice(k, 1), numbers[k : k + 1], where)


def _shown(text: Any) -> str:
    """Return a value of an Arrow array of text, which may not be UTF-8, for an error message."""
    import pyarrow as pa

    return repr(plain(text.cast(pa.large_binary()).as_py().decode(errors="replace")))


def to_numpy(array: Array) -> NDArray[Any]:
    """Convert an Arrow array to NumPy. Null numbers become NaN."""
    values: NDArray[Any] = array.to_numpy(zero_copy_only=False)
    return values


def stack(blocks: Iterable[Block], rows: int, dtype: np.dtype[Any]) -> tuple[Numbers, Bools]:
    """Put blocks into one matrix, which is allocated once.

    Parameters
    ----------
    blocks : iterable of Block
    rows : int
        Number of rows in all blocks, N.
    dtype : dtype
        Type of the matrix.

    Returns
    -------
    vectors : ndarray of shape (N, D)
        D is 0 if every row is null. The numbers in null rows have no meaning.
    nulls : ndarray of shape (N,), bool
        Rows that are null, or have a null among their numbers.

    Raises
    ------
    InputError
        A row has another length than the first one.
    """
    vectors: Numbers = np.zeros((rows, 0), dtype)
    nulls = np.ones(rows, np.bool_)
    allocated = False
    start = 0
    for block in blocks:
        stop = start + len(block.lengths)
        present = block.lengths >= 0
        if present.any():
            if not allocated:
                vectors = np.zeros((rows, block.lengths[present][0]), dtype)
                allocated = True
            _check_lengths(block, vectors.shape[1], start)
            shape = (np.count_nonzero(present), vectors.shape[1])
            # To copy all rows of a block is faster than to pick them.
            rows_there = slice(None) if present.all() else present
            vectors[start:stop][rows_there] = block.values.reshape(shape)
            null = False if block.nulls is None else block.nulls.reshape(shape).any(axis=1)
            nulls[start:stop][rows_there] = null
        start = stop
    return vectors, nulls


def _check_lengths(block: Block, dim: int, start: int) -> None:
    wrong = np.flatnonzero((block.lengths >= 0) & (block.lengths != dim))
    if wrong.size:
        raise InputError(
            f"{block.where}: the vector in row {start + wrong[0]} (counted from 0) has "
            f"{block.lengths[wrong[0]]} numbers, those before it {dim}; all must have the same "
            "number of dimensions"
        )


def label_chunks(values: Any, where: str) -> list[Array]:
    """Convert an array-like of labels to Arrow arrays. NaN and None become nulls.

    Raises
    ------
    InputError
        The labels are not one-dimensional, or mix types.
    """
    import pyarrow as pa

    if isinstance(values, np.ndarray):
        if values.ndim != 1:
            raise InputError(f"{where}: labels have the shape {values.shape}; wanted (rows,)")
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
    try:
        array = pa.array(values, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"{where}: labels are neither all integers nor all text ({error}); make them one type"
        ) from None
    return list(array.chunks) if isinstance(array, pa.ChunkedArray) else [array]


def numbered(count: int) -> Array:
    """Return the numbers of rows as labels, for rows that have none."""
    import pyarrow as pa

    return pa.array(np.arange(count))


def join_labels(chunks: Iterable[Array], where: str) -> Array:
    """Join the labels of all chunks into one Arrow array of int64 or large_string, with nulls.

    Raises
    ------
    InputError
        Labels are neither integers nor text, or the chunks mix the two.
    """
    import pyarrow as pa

    plain = [_plain(chunk, where) for chunk in chunks]
    kinds = {chunk.type for chunk in plain} - {pa.null()}
    if len(kinds) > 1:
        raise InputError(
            f"{where}: labels are integers in one part and text in another; write one type"
        )
    kind = kinds.pop() if kinds else pa.large_string()
    return pa.concat_arrays([chunk.cast(kind) for chunk in plain] or [pa.array([], kind)])


def _plain(chunk: Array, where: str) -> Array:
    """Convert a chunk of labels to int64, large_string or the null type."""
    import pyarrow as pa
    from pyarrow import compute, types

    kind = chunk.type
    if isinstance(kind, pa.BaseExtensionType):
        return _plain(chunk.storage, where)
    if types.is_dictionary(kind):
        return _plain(chunk.dictionary_decode(), where)
    if is_text(kind):
        texts = chunk.cast(pa.large_string())
        # An empty text is no label.
        return compute.if_else(compute.equal(texts, ""), pa.scalar(None, pa.large_string()), texts)
    if types.is_boolean(kind):
        return compute.if_else(chunk, "True", "False").cast(pa.large_string())
    if types.is_floating(kind):
        return _whole(chunk, where)
    if types.is_null(kind):
        return chunk
    write = _writer(kind)
    if write is not None:
        encoded = chunk.dictionary_encode()
        texts = pa.array(write(encoded.dictionary), pa.large_string())
        return texts.take(encoded.indices)
    if not types.is_integer(kind):
        raise InputError(
            f"{where}: labels are of type {str(kind)!r}; wanted integers or text (UTF-8)"
        )
    try:
        return chunk.cast(pa.int64())
    except pa.ArrowInvalid:
        raise InputError(
            f"{where}: a label is too large for a signed 64-bit integer; write labels as text"
        ) from None


def _writer(kind: Any) -> Callable[[Array], list[str | None]] | None:
    """Return a function that writes values of an Arrow type as text, if they are labels as text."""
    from pyarrow import types

    if types.is_date(kind) or types.is_time(kind) or types.is_timestamp(kind):
        return _moments
    if types.is_decimal(kind):
        return lambda values: [None if v is None else f"{v:f}" for v in values.to_pylist()]
    if types.is_fixed_size_binary(kind) and kind.byte_width == 16:
        return lambda values: [v and str(UUID(bytes=v)) for v in values.to_pylist()]
    return None


def _moments(values: Array) -> list[str | None]:
    """Return dates, times and timestamps as ISO 8601 writes them. Time zones become UTC.

    A fraction of a second has no zeros at its end, so the unit of the column changes no label.
    """
    import pyarrow as pa
    from pyarrow import types

    kind = values.type
    if types.is_date(kind):
        values = values.cast(pa.date32())
    elif types.is_timestamp(kind):
        values = values.cast(pa.timestamp(kind.unit, kind.tz and "UTC"))
    texts: list[str | None] = values.cast(pa.string()).to_pylist()
    return [
        text and re.sub(r"(\.[0-9]*?)0+(?=Z?$)", r"\1", text).replace(".Z", "Z").rstrip(".")
        for text in (text and text.replace(" ", "T") for text in texts)
    ]


def _whole(chunk: Array, where: str) -> Array:
    """Convert labels that are floats to integers.

    pandas writes integers with missing values as floats.
    """
    import pyarrow as pa

    values = to_numpy(chunk)
    missing = np.isnan(values)
    # Beyond this limit a float type cannot hold every integer, so two labels may have become one.
    limit = 2.0 ** (np.finfo(values.dtype).nmant + 1)
    wrong = np.flatnonzero(~missing & ((np.abs(values) > limit) | (values != np.trunc(values))))
    if wrong.size:
        raise InputError(
            f"{where}: labels are floats, such as {values[wrong[0]]:g}, that no integer is sure "
            "to stand for; wanted integers or text"
        )
    return pa.array(np.where(missing, 0, values).astype(np.int64), mask=missing)


def column_of(values: Array, where: str) -> Column:
    """Make a column of the values that ``join_labels`` returned."""
    return Column(*encode_labels(values, where))


def encode_labels(labels: Array, where: str) -> tuple[Ints, NDArray[Any]]:
    """Return the class indices and the sorted class names of labels from ``join_labels``.

    Returns
    -------
    codes : ndarray of shape (N,), int64
        Index into ``names``; -1 for a null label.
    names : ndarray of shape (K,), int64 or str objects
    """
    import pyarrow as pa

    encoded = labels.dictionary_encode()
    try:
        encoded.dictionary.validate(full=True)
    except pa.ArrowInvalid:
        raise InputError(f"{where}: a label is not UTF-8 text; write labels as UTF-8") from None
    names = to_numpy(encoded.dictionary)
    order = np.argsort(names)
    rank = np.full(len(names) + 1, -1)  # a null label has index -1, so it finds the last entry
    rank[order] = np.arange(len(names))
    return rank[encoded.indices.fill_null(-1).to_numpy()], names[order]
