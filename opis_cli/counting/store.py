"""Write and read arrays by name in one file that is small and quick. Counts are kept in it.

The file is a zip that itself compresses nothing. An array is stored as ``NAME.npy``, as NumPy does
it. A table of integers, such as accepted pairs by class and threshold, is stored as ``NAME.steps``
instead: the header of ``.npy``, and then the compressed differences between neighbours along the
last axis. These differences (steps) are small, so their high bytes are mostly zeros. The lowest
bytes of all steps are written first, then the next higher bytes, and so on. So the zeros stand
together and compress to almost nothing.

The reader does not trust the file. It makes no array before it knows that the file can hold it.
"""

import io
import zipfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

_PLAIN, _STEPS = ".npy", ".steps"
_CODEC = "zstd"
_BLOCK_BYTES = 1 << 20
"""Bytes of a table that are written or read at a time, so that they stay in the cache."""
# Even rows of zeros shrink no more than that, given what else the file holds for each class.
_MOST_SHRUNK = 1 << 14
"""Most that an array may be larger than the file. A larger one is refused as damage."""


def write(stream: BinaryIO, arrays: Mapping[str, Any]) -> None:
    """Write arrays to a stream. ``read`` returns the same shapes, types and values."""
    with zipfile.ZipFile(stream, "w") as archive:
        for name, values in arrays.items():
            array = np.asanyarray(values)
            stepped = array.dtype.kind in "iu" and array.ndim > 1 and array.size > 0
            suffix = _STEPS if stepped else _PLAIN
            with archive.open(name + suffix, "w", force_zip64=True) as member:
                if stepped:
                    _write_steps(member, array)
                else:
                    npy.write_array(member, array, allow_pickle=False)


def read(file: Path, names: Collection[str] | None = None) -> dict[str, NDArray[Any]]:
    """Read the arrays of a file. The file may also be one that ``numpy.savez`` wrote.

    Parameters
    ----------
    file : Path
    names : collection of str, optional
        The arrays to read, as far as they are there. By default all.

    Raises
    ------
    OSError
        The file cannot be opened.
    ValueError
        The file is damaged.
    """
    with file.open("rb") as stream:
        try:
            return _read(stream, names)
        except MemoryError:
            raise
        except Exception as error:
            # On a damaged file, zipfile, NumPy and Arrow raise almost any exception.
            raise ValueError(str(error) or type(error).__name__) from None


def _read(stream: BinaryIO, names: Collection[str] | None) -> dict[str, NDArray[Any]]:
    size = stream.seek(0, io.SEEK_END)
    arrays = {}
    with zipfile.ZipFile(stream) as archive:
        members = archive.infolist()
        if sum(member.file_size for member in members) > size:
            raise ValueError("its parts are larger than the file")
        for member in members:
            name, dot, kind = member.filename.rpartition(".")
            if names is not None and name not in names:
                continue
            raw = bytearray(archive.read(member))
            shape, dtype, start = _header(raw)
            if dot + kind == _PLAIN:
                arrays[name] = np.frombuffer(raw, dtype, offset=start).reshape(shape)
            elif dot + kind == _STEPS:
                if int(np.prod(shape, dtype=object)) * dtype.itemsize > _MOST_SHRUNK * size:
                    raise ValueError(f"{name} is larger than the file can hold")
                arrays[name] = _read_steps(memoryview(raw)[start:], shape, dtype)
            else:
                raise ValueError(f"a part named {member.filename!r}")
    return arrays


def _header(raw: bytearray) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Return the shape and type of an array in ``.npy`` form, and the byte where values begin."""
    stream = io.BytesIO(raw)
    if npy.read_magic(stream) != (1, 0):
        raise ValueError("an array in a newer format")
    shape, by_column, dtype = npy.read_array_header_1_0(stream)
    if dtype.hasobject or (by_column and len(shape) > 1) or min(shape, default=0) < 0:
        raise ValueError("an array that no opis wrote")
    return shape, dtype, stream.tell()


def _blocks(rows: int, row_bytes: int) -> Iterator[slice]:
    """Return slices of rows of about a megabyte, so that the work on them stays in the cache."""
    step = max(1, _BLOCK_BYTES // row_bytes)
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def _write_steps(member: Any, array: NDArray[Any]) -> None:
    import pyarrow as pa

    header = {"descr": npy.dtype_to_descr(array.dtype), "fortran_order": False}
    npy.write_array_header_1_0(member, header | {"shape": array.shape})
    table = array.reshape(-1, array.shape[-1])
    with pa.CompressedOutputStream(pa.PythonFile(member, "w"), _CODEC) as stream:
        for rows in _blocks(len(table), table[0].nbytes):
            steps = np.array(table[rows], order="C")
            steps[:, 1:] -= table[rows, :-1]
            for place in range(array.itemsize):
                stream.write(steps.view(np.uint8).ravel()[place :: array.itemsize].copy())


def _read_steps(
    compressed: memoryview, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> NDArray[Any]:
    import pyarrow as pa

    array = np.empty(shape, dtype)
    if dtype.kind not in "iu" or array.ndim < 2 or array.size == 0:
        raise ValueError("steps of what is no table of integers")
    table = array.reshape(-1, shape[-1])
    with pa.CompressedInputStream(pa.BufferReader(compressed), _CODEC) as stream:
        for rows in _blocks(len(table), table[0].nbytes):
            steps = np.empty(table[rows].shape, dtype)
            for place in range(dtype.itemsize):
                plane = np.frombuffer(stream.read(steps.size), np.uint8, steps.size)
                steps.view(np.uint8).ravel()[place :: dtype.itemsize] = plane
            np.cumsum(steps, axis=1, dtype=dtype, out=table[rows])
        if stream.read(1):
            raise ValueError("more steps than the array has")
    return array
