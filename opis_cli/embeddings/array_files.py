"""Read arrays: ``.npy`` has one, and ``.npz``, ``.safetensors`` and HDF5 have several by name.

A ``.npy`` is mapped into memory and not read. Nothing is ever unpickled, and no file leads to
another one.
"""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from opis_cli.embeddings import arrow
from opis_cli.embeddings.clean import as_matrix
from opis_cli.embeddings.columns import between, reading, show
from opis_cli.embeddings.shard import Shard
from opis_cli.errors import InputError, MissingExtra
from opis_cli.records import Ints, Numbers

_ROWS_AT_ONCE = 4096
"""Rows that are read at a time, if only some are wanted."""


class Npy(Shard):
    """A ``.npy`` file of vectors."""

    def rows(self, embedding_column: str | None) -> int:
        return len(np.atleast_1d(_map_npy(self.path)))

    def labels(self, column: str | None, expected: int | None) -> list[arrow.Array]:
        raise InputError(
            f"{self.path}: a .npy file has no labels; give --labels=FILE, or --gallery-labels=FILE "
            "for a gallery"
        )

    def vectors(
        self, column: str | None, rows: Ints | None, but: str | None
    ) -> tuple[Numbers, arrow.Bools]:
        return _matrix(_map_npy(self.path), rows, self.path)

    def width(self, column: str | None, but: str | None) -> tuple[int, int]:
        array = _map_npy(self.path)
        # Numbers that keep their type stay in the file, which is mapped into memory.
        kept = arrow.kept_dtype(array.dtype) == array.dtype
        return (array.shape[1] if array.ndim == 2 else 0), 0 if kept else array.dtype.itemsize


class NpyLabels(Shard):
    """A ``.npy`` file of labels."""

    def labels(self, column: str | None, expected: int | None) -> list[arrow.Array]:
        return arrow.label_chunks(_map_npy(self.path), str(self.path))


class _Arrays(Shard):
    """A file of arrays by name. Only the arrays that are asked for are read."""

    def rows(self, embedding_column: str | None) -> int:
        shape, _ = self._header(embedding_column or "embeddings")
        return int(shape[0]) if shape else 1

    def width(self, column: str | None, but: str | None) -> tuple[int, int]:
        shape, dtype = self._header(column or "embeddings")
        return (shape[1] if len(shape) == 2 else 0), dtype.itemsize

    def embedding_name(self, column: str | None, but: str | None) -> str | None:
        return column or "embeddings"

    def label_name(self, column: str | None) -> str | None:
        return column or "labels"

    def labels(self, column: str | None, expected: int | None) -> list[arrow.Array]:
        return self.column(column or "labels", expected)

    def column(self, name: str, expected: int | None) -> list[arrow.Array]:
        return arrow.label_chunks(self._read(name, None), str(self.path))

    def vectors(
        self, column: str | None, rows: Ints | None, but: str | None
    ) -> tuple[Numbers, arrow.Bools]:
        return _matrix(self._read(column or "embeddings", rows), None, self.path)

    def _header(self, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Return the shape and the type of an array, without reading it."""
        raise NotImplementedError

    def _read(self, name: str, rows: Ints | None) -> NDArray[Any]:
        """Read an array, or some rows of it, in ascending order."""
        raise NotImplementedError

    def _check_name(self, name: str, there: list[str]) -> None:
        if name not in there:
            raise InputError(
                f"{self.path}: no array {name!r}; the arrays are {show(there)}. Save embeddings "
                "and labels as 'embeddings' and 'labels', name them by --embedding-column and "
                "--label-column, or give labels by --labels"
            )


class Npz(_Arrays):
    """A ``.npz`` file."""

    def _header(self, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        with self._member(name) as file:
            if np.lib.format.read_magic(file) == (1, 0):
                shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            else:
                shape, _, dtype = np.lib.format.read_array_header_2_0(file)
        return shape, dtype

    def _read(self, name: str, rows: Ints | None) -> NDArray[Any]:
        with self._member(name) as file:
            array = np.asarray(np.lib.format.read_array(file, allow_pickle=False))
        return array if rows is None else array[rows]

    @contextmanager
    def _member(self, name: str) -> Iterator[IO[bytes]]:
        """Open the file of an array in the archive."""
        with (
            reading(self.path, ".npz file of numbers or text"),
            zipfile.ZipFile(self.path) as archive,
        ):
            self._check_name(name, [member.removesuffix(".npy") for member in archive.namelist()])
            with archive.open(f"{name}.npy") as file:
                yield file


class Safetensors(_Arrays):
    """A ``.safetensors`` file."""

    def _header(self, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        with self._open(name) as file:
            part = file.get_slice(name)
            return tuple(part.get_shape()), _as_float(part[0:0]).dtype

    def _read(self, name: str, rows: Ints | None) -> NDArray[Any]:
        with self._open(name) as file:
            if rows is None:
                return _as_float(file.get_tensor(name))
            part = file.get_slice(name)
            return _as_float(_some(part, part.get_shape()[0], rows))

    @contextmanager
    def _open(self, name: str) -> Iterator[Any]:
        needed(self.path, "ml_dtypes")  # NumPy then knows the type bfloat16
        safetensors = needed(self.path, "safetensors")
        with (
            reading(self.path, ".safetensors file"),
            safetensors.safe_open(self.path, framework="np") as file,
        ):
            self._check_name(name, list(file.keys()))
            yield file


class Hdf5(_Arrays):
    """An HDF5 file. A dataset in a group has the name ``group/dataset``."""

    def _header(self, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        with self._dataset(name) as dataset:
            return dataset.shape, dataset.dtype

    def _read(self, name: str, rows: Ints | None) -> NDArray[Any]:
        h5py = needed(self.path, "h5py")
        with self._dataset(name) as dataset:
            if h5py.check_string_dtype(dataset.dtype) is not None:
                dataset = dataset.asstr()
            elif dataset.dtype.hasobject:
                raise InputError(
                    f"{self.path}: the dataset {name!r} holds objects, which are not read; write "
                    "numbers or text"
                )
            elif rows is not None:
                return _some(dataset, len(dataset), rows)
            return np.asarray(dataset[()])

    @contextmanager
    def _dataset(self, name: str) -> Iterator[Any]:
        """Open a dataset whose data are in this file.

        Raises
        ------
        InputError
            There is none of this name, or a link or the dataset leads elsewhere.
        """
        h5py = needed(self.path, "h5py")
        with reading(self.path, "HDF5 file"), h5py.File(self.path, "r") as file:
            found = file
            for part in name.split("/"):
                named = isinstance(found, h5py.Group) and part.strip(".")
                link = found.get(part, getlink=True) if named else None
                if link is None:
                    self._check_name(name, _datasets(file, h5py))
                if not isinstance(link, h5py.HardLink):
                    raise InputError(f"{self.path}: {name!r} is a link, {_NOT_FOLLOWED}")
                found = found[part]
            if not isinstance(found, h5py.Dataset):
                self._check_name(name, _datasets(file, h5py))
            if found.is_virtual or found.external:
                raise InputError(
                    f"{self.path}: the data of {name!r} are in other files, {_NOT_FOLLOWED}"
                )
            yield found


_NOT_FOLLOWED = "which is not followed; write a file that has the data itself"


def needed(path: Path, module: str) -> ModuleType:
    """Import a module that a file needs.

    Raises
    ------
    MissingExtra
        It is not installed.
    """
    try:
        return import_module(module)
    except ImportError:
        raise MissingExtra(f"{path}: a {path.suffix.lower()} file", "formats") from None


def _datasets(file: Any, h5py: ModuleType) -> list[str]:
    """Return the names of the datasets in an HDF5 file, without following links."""
    names: list[str] = []
    file.visititems(
        lambda name, found: names.append(name) if isinstance(found, h5py.Dataset) else None
    )
    return names


def _as_float(array: NDArray[Any]) -> NDArray[Any]:
    """Return the array, and one of bfloat16 as float32, which holds its numbers exactly."""
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


def _some(array: Any, count: int, rows: Ints) -> NDArray[Any]:
    """Read some rows of an array in a file. Blocks of rows without any of them are not read."""
    blocks = [array[0:0]]
    for start in range(0, count, _ROWS_AT_ONCE):
        wanted = between(rows, start, start + _ROWS_AT_ONCE)
        if len(wanted):
            blocks.append(array[start : start + _ROWS_AT_ONCE][wanted])
    return np.concatenate(blocks)


def _matrix(array: NDArray[Any], rows: Ints | None, path: Path) -> tuple[Numbers, arrow.Bools]:
    vectors = as_matrix(array, str(path))
    if rows is not None:
        vectors = vectors[rows]
    return vectors, np.zeros(len(vectors), np.bool_)


def _map_npy(path: Path) -> NDArray[Any]:
    # Unlike numpy.load, this function accepts no other format than .npy, and cannot unpickle.
    with reading(path, ".npy file of numbers or text"):
        return np.lib.format.open_memmap(path, mode="r")
