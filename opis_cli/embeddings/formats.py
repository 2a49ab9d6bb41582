"""Read rows from files of each format: ``.parquet``, ``.npy``, ``.npz``, CSV, TSV and text.

Each format has a class here, which has the methods of ``Shard``. Nothing is ever unpickled. A
``.npy`` is mapped into memory and not read.
"""

import csv
import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from opis_cli.embeddings import arrow
from opis_cli.embeddings.clean import as_matrix
from opis_cli.embeddings.columns import LABEL_NAMES, choose, reading, show
from opis_cli.embeddings.parquet import ParquetFiles
from opis_cli.errors import InputError
from opis_cli.records import InputWarning, Ints, Numbers


class Shard(Protocol):
    """A file with a row for each embedding.

    ``labels`` and ``column`` raise an ``InputError`` if the format cannot hold what they read.
    """

    def rows(self, embedding_column: str | None) -> int:
        """Return the number of rows, without reading the vectors."""

    def embedding_name(self, column: str | None, but: str | None) -> str | None:
        """Return what the vectors are called in the file, where they have a name."""

    def doubts(self, column: str | None, but: str | None) -> tuple[InputWarning, ...]:
        """Return warnings about the choice of the columns."""

    def width(self, column: str | None, but: str | None) -> tuple[int, int]:
        """Return the dimensions of a vector, and the bytes of a number of it in memory."""

    def label_name(self, column: str | None) -> str | None:
        """Return the name of the label column, or None if the format has no columns."""

    def labels(self, column: str | None, expected: int | None) -> list[arrow.Array]:
        """Read the labels, in chunks.

        ``expected`` is the number of vectors that need one, if that is known.
        """

    def column(self, name: str, expected: int | None) -> list[arrow.Array]:
        """Read the values of a further column, in chunks."""

    def vectors(
        self, column: str | None, rows: Ints | None, but: str | None
    ) -> tuple[Numbers, arrow.Bools]:
        """Read the vectors, shape (N, D), and tell which of them are null, shape (N,).

        If ``rows`` (in ascending order) is given, only these rows are read. A pattern of columns
        does not match ``but``.
        """


def is_parquet(path: Path) -> bool:
    """Return whether a path is a Parquet file, or a folder, which must hold Parquet parts."""
    return path.is_dir() or path.suffix.lower() == ".parquet"


def shard_of_vectors(path: Path) -> Shard:
    """Return the reader for a file of embeddings, by the suffix of its name.

    Raises
    ------
    InputError
        The suffix is not known.
    """
    suffix = path.suffix.lower()
    if is_parquet(path):
        return ParquetFiles([path])
    if suffix == ".npy":
        return _Npy(path)
    if suffix == ".npz":
        return _Npz(path)
    raise InputError(
        f"{path}: the suffix {suffix!r} is not known; embeddings are read from .parquet, .npy "
        "or .npz, or from a folder of .parquet files"
    )


def shard_of_labels(path: Path) -> Shard:
    """Return the reader for a file of labels, by the suffix of its name.

    A file with an unknown suffix is read as text, with one label in each line.
    """
    suffix = path.suffix.lower()
    if is_parquet(path):
        return ParquetFiles([path])
    if suffix == ".npy":
        return _NpyLabels(path)
    if suffix == ".json":
        return _Json(path)
    return _Delimited(path) if suffix in (".csv", ".tsv") else _Lines(path)


class _File:
    """A file that holds nothing. The classes of the formats override what they can read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self, embedding_column: str | None) -> int:
        raise NotImplementedError

    def embedding_name(self, column: str | None, but: str | None) -> str | None:
        return None

    def doubts(self, column: str | None, but: str | None) -> tuple[InputWarning, ...]:
        return ()

    def width(self, column: str | None, but: str | None) -> tuple[int, int]:
        raise NotImplementedError

    def label_name(self, column: str | None) -> str | None:
        return None

    def labels(self, column: str | None, expected: int | None) -> list[arrow.Array]:
        raise NotImplementedError

    def column(self, name: str, expected: int | None) -> list[arrow.Array]:
        raise InputError(
            f"{self.path}: a {self.path.suffix.lower()} file has no column {name!r}; columns are "
            "read from where the labels are: Parquet, CSV, TSV or .npz"
        )

    def vectors(
        self, column: str | None, rows: Ints | None, but: str | None
    ) -> tuple[Numbers, arrow.Bools]:
        raise NotImplementedError

    def _matrix(self, array: NDArray[Any], rows: Ints | None) -> tuple[Numbers, arrow.Bools]:
        vectors = as_matrix(array, str(self.path))
        if rows is not None:
            vectors = vectors[rows]
        return vectors, np.zeros(len(vectors), np.bool_)


class _Npy(_File):
    """A ``.npy`` file of vectors."""

    def rows(self, embedding_column: str | None) -> int:
        return len(np.atleast_1d(_map_npy(self.path)))

    def labels(self, column: str | None, expected: int | None) -> list[arrow.Array]:
        raise InputError(
            f"{self.path}: a .npy file has no labels; give --labels FILE, or --gallery-labels FILE "
            "for a gallery"
        )

    def vectors(
        self, column: str | None, rows: Ints | None, but: str | None
    ) -> tuple[Numbers, arrow.Bools]:
        return self._matrix(_map_npy(self.path), rows)

    def width(self, column: str | None, but: str | None) -> tuple[int, int]:
        array = _map_npy(self.path)
        # Numbers that keep their type stay in the file, which is mapped into memory.
        kept = arrow.kept_dtype(array.dtype) == array.dtype
        return (array.shape[1] if array.ndim == 2 else 0), 0 if kept else array.dtype.itemsize


class _NpyLabels(_File):
    """A ``.npy`` file of labels."""

    def labels(self, column: str | None, expected: int | None) -> list[arrow.Array]:
        return arrow.label_chunks(_map_npy(self.path), str(self.path))


class _Npz(_File):
    """A ``.npz`` file of arrays by name. Only the arrays that are asked for are read."""

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

    def _header(self, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Return the shape and the type of an array, without reading it."""
        with self._member(name) as file:
            if np.lib.format.read_magic(file) == (1, 0):
                shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            else:
                shape, _, dtype = np.lib.format.read_array_header_2_0(file)
        return shape, dtype

    def labels(self, column: str | None, expected: int | None) -> list[arrow.Array]:
        return self.column(column or "labels", expected)

    def column(self, name: str, expected: int | None) -> list[arrow.Array]:
        return arrow.label_chunks(self._array(name), str(self.path))

    def vectors(
        self, column: str | None, rows: Ints | None, but: str | None
    ) -> tuple[Numbers, arrow.Bools]:
        return self._matrix(self._array(column or "embeddings"), rows)

    def _array(self, name: str) -> NDArray[Any]:
        with self._member(name) as file:
            return np.asarray(np.lib.format.read_array(file, allow_pickle=False))

    @contextmanager
    def _member(self, name: str) -> Iterator[IO[bytes]]:
        """Open the file of an array in the archive."""
        with (
            reading(self.path, ".npz file of numbers or text"),
            zipfile.ZipFile(self.path) as archive,
        ):
            there = [member.removesuffix(".npy") for member in archive.namelist()]
            if name not in there:
                raise InputError(
                    f"{self.path}: no array {name!r}; the arrays are {show(there)}. Save "
                    "embeddings and labels under these names, or give labels by --labels"
                )
            with archive.open(f"{name}.npy") as file:
                yield file


class _Delimited(_File):
    """A table of text. Its delimiter is what splits all first lines alike."""

    def labels(self, column: str | None, expected: int | None) -> list[arrow.Array]:
        return _texts(self._cells(column, expected))

    def column(self, name: str, expected: int | None) -> list[arrow.Array]:
        return _texts(self._cells(name, expected))

    def label_name(self, column: str | None) -> str | None:
        delimiter = self._delimiter(column)
        with self._open() as file:
            first = next(csv.reader(file, delimiter=delimiter, strict=True), [""])
        if column is None and len(first) == 1 and first[0] not in LABEL_NAMES:
            return None
        return choose(first, column, LABEL_NAMES, "label", self.path)

    def _cells(self, column: str | None, expected: int | None) -> list[str]:
        """Return the cells of a column as raw text."""
        delimiter = self._delimiter(column)
        with self._open() as file:
            lines = csv.reader(file, delimiter=delimiter, strict=True)
            first = next(lines, []) or [""]
            lone = column is None and len(first) == 1 and first[0] not in LABEL_NAMES
            index = (
                0 if lone else first.index(choose(first, column, LABEL_NAMES, "label", self.path))
            )
            texts = [first[index]]
            for cells in lines:
                if cells and len(cells) != len(first):
                    raise InputError(
                        f"{self.path}: line {lines.line_num} has {len(cells)} fields, the first "
                        f"line {len(first)}; quote fields that contain {delimiter!r}"
                    )
                texts.append(cells[index] if cells else "")
        return _without_header(texts, expected, self.path) if lone else texts[1:]

    def _delimiter(self, column: str | None) -> str:
        """Return the delimiter that the suffix tells, or another one if only that splits lines.

        Raises
        ------
        InputError
            Several others do.
        """
        usual = "," if self.path.suffix.lower() == ".csv" else "\t"
        with self._open() as file:
            sample = list(islice(file, _SAMPLE_LINES))
        splitting = [
            delimiter for delimiter in (usual, *_DELIMITERS) if _splits_alike(sample, delimiter)
        ]
        header = sample[0].rstrip("\r\n") if sample else ""
        if usual in splitting or not splitting or header == column:
            return usual
        if len(set(splitting)) > 1:
            raise InputError(
                f"{self.path}: line 1 is {header!r}, and it cannot be told which of "
                f"{show(sorted(set(splitting)))} is the delimiter; write a CSV file with commas"
            )
        return splitting[0]

    @contextmanager
    def _open(self) -> Iterator[IO[str]]:
        with (
            reading(self.path, "UTF-8 CSV file"),
            self.path.open(encoding="utf-8-sig", newline="") as file,
        ):
            yield file


class _Lines(_File):
    """A text file with one label in each line."""

    def labels(self, column: str | None, expected: int | None) -> list[arrow.Array]:
        with reading(self.path, "UTF-8 text file"):
            texts = self.path.read_text(encoding="utf-8-sig").split("\n")
        if texts[-1] == "":  # the newline at the end of the last line begins no other line
            texts.pop()
        return _texts(_without_header(texts, expected, self.path))


class _Json(_File):
    """A JSON list of labels."""

    def labels(self, column: str | None, expected: int | None) -> list[arrow.Array]:
        with reading(self.path, "JSON list of labels"):
            values = json.loads(self.path.read_text(encoding="utf-8-sig"))
        if not isinstance(values, list):
            raise InputError(f"{self.path}: not a JSON list; write one label for each vector")
        kinds = {type(value) for value in values} - {type(None)}
        if not (kinds <= {int} or kinds <= {str}):
            raise InputError(
                f"{self.path}: the list holds {show(sorted(kind.__name__ for kind in kinds))}; "
                "wanted integers, or texts"
            )
        return arrow.label_chunks(np.array(values, object), str(self.path))


_SAMPLE_LINES = 50
"""Lines that the delimiter of a file is told from."""
_DELIMITERS = (",", "\t", ";", "|")
_HEADERS = (
    *LABEL_NAMES,
    *("id", "ids", "name", "names", "person", "pid", "speaker", "subject", "category", "target"),
    *("class_id", "label_id", "identity_id", "person_id", "subject_name", "y", "who"),
)
"""Names, in lower case, that head a column of labels."""


def _splits_alike(lines: list[str], delimiter: str) -> bool:
    """Return whether a delimiter splits lines in several fields, and all in equally many."""
    try:
        sizes = {len(cells) for cells in csv.reader(lines, delimiter=delimiter) if cells}
    except csv.Error:
        return False
    return len(sizes) == 1 and min(sizes) > 1


def _without_header(texts: list[str], expected: int | None, path: Path) -> list[str]:
    """Return labels without a header, which makes one line more than there are vectors.

    Raises
    ------
    InputError
        The number of lines is right, but the first one looks like a header.
    """
    if expected is not None and len(texts) == expected + 1:
        return texts[1:]
    first, rest = texts[0], texts[1:]
    others_are_numbers = len(rest) > 1 and all(_is_integer(text) for text in rest if text)
    named = first.strip().lower() in _HEADERS and first not in rest
    if expected == len(texts) and (named or (others_are_numbers and not _is_integer(first))):
        raise InputError(
            f"{path}: line 1, {first!r}, looks like a header, but there are as many lines as "
            "vectors, so that a label would be missing; add the label, or take off the header. If "
            f"{first!r} is a label, write the labels as .npy or Parquet"
        )
    return texts


def _is_integer(text: str) -> bool:
    return text.strip().lstrip("+-").isdigit()


def _texts(texts: list[str]) -> list[arrow.Array]:
    """Return texts as one chunk of labels. An empty text is a missing label."""
    import pyarrow as pa

    return [pa.array([text or None for text in texts], pa.large_string())]


def _map_npy(path: Path) -> NDArray[Any]:
    # Unlike numpy.load, this function accepts no other format than .npy, and cannot unpickle.
    with reading(path, ".npy file of numbers or text"):
        return np.lib.format.open_memmap(path, mode="r")
