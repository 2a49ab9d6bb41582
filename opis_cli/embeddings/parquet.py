"""Read Parquet files and folders, a few rows at a time."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from opis_cli.embeddings import arrow
from opis_cli.embeddings.columns import (
    EMBEDDING_NAMES,
    LABEL_NAMES,
    check_file,
    choose,
    reading,
    show,
)
from opis_cli.embeddings.sources import natural
from opis_cli.errors import InputError
from opis_cli.records import InputWarning, Ints, Numbers

# Batches are small, because each is held in memory beside the matrix that it is copied into.
BATCH_ROWS = 4096
"""Rows that are read at a time."""
COLUMNS_AT_ONCE = 16
"""Columns that are read at a time, if each holds one number of the vectors."""
BUFFER_BYTES = 256 << 10
"""Bytes of a file that Arrow buffers."""


def parquet_files(path: Path) -> list[Path]:
    """Return the file itself, or the Parquet parts of a folder in the order of their names."""
    with reading(path, "folder"):
        if not path.is_dir():
            return [path]
        parts = [part for part in path.iterdir() if part.suffix.lower() == ".parquet"]
    parts = sorted(part for part in parts if not part.name.startswith(("_", ".")))
    if not parts:
        raise InputError(f"{path}: a folder without .parquet files; name a folder that has some")
    return parts


def digest_of(paths: Sequence[Path]) -> str:
    """Return the SHA-256 of files in the given order. A folder counts as its parts by name."""
    digest = hashlib.sha256()
    for part in [part for path in paths for part in parquet_files(path)]:
        with reading(part, "file"), part.open("rb") as file:
            hashlib.file_digest(file, lambda: digest)
    return digest.hexdigest()


class ParquetFiles:
    """Parquet files, and folders of Parquet parts, that are read as one table.

    Parameters
    ----------
    paths : sequence of Path
        Files and folders in the order of their rows. The parts of a folder are read in the order of
        their names.

    Raises
    ------
    InputError
        Every method raises it if a file is unreadable, or a column is missing or of another type.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths

    @property
    def _files(self) -> list[Path]:
        return [file for path in self.paths for file in parquet_files(path)]

    def rows(self, embedding_column: str | None) -> int:
        """Return the number of rows, which the metadata tell."""
        total = 0
        for part in self._files:
            with _open(part, ()) as file:
                total += file.metadata.num_rows
        return total

    def embedding_name(self, column: str | None, but: str | None) -> str | None:
        """Return the column of vectors, or the pattern of columns, that is read."""
        first = self._files[0]
        columns = _vector_columns(_names(first), column, but, first)
        return columns[0] if len(columns) == 1 else column

    def doubts(self, column: str | None, but: str | None) -> tuple[InputWarning, ...]:
        """Return a warning if a pattern matches columns that may be no numbers of the vector."""
        first = self._files[0]
        columns = _vector_columns(_names(first), column, but, first)
        gap = _gap(columns)
        if gap is None:
            return ()
        text = (
            f"The columns of {column!r} are not numbered one by one: {gap[1]!r} follows "
            f"{gap[0]!r}, and all {len(columns):,} count as the vector. If some do not belong to "
            "it, give a pattern that leaves them out."
        )
        return (InputWarning("column_pattern", text),)

    def width(self, column: str | None, but: str | None) -> tuple[int, int]:
        """Return the dimensions of a vector, and the bytes of a number of it in memory."""
        first = self._files[0]
        columns = _vector_columns(_names(first), column, but, first)
        size = _survey(first, columns)[1].itemsize
        if len(columns) > 1:
            return len(columns), size
        for _, batch in _batches([first], columns):
            lists = batch.column(columns[0]).drop_null()
            if len(lists):
                return len(lists[0]), size
        return 0, size

    def label_name(self, column: str | None) -> str:
        """Return the name of the label column: the wanted one, or one with a usual name."""
        first = self._files[0]
        return choose(_names(first), column, LABEL_NAMES, "label", first)

    def labels(self, column: str | None, expected: int | None) -> list[arrow.Array]:
        """Read the labels, in chunks."""
        return self.column(self.label_name(column), expected)

    def column(self, name: str, expected: int | None) -> list[arrow.Array]:
        """Read the values of any column, in chunks."""
        return [batch.column(name) for _, batch in _batches(self._files, [name])]

    def vectors(
        self, column: str | None, rows: Ints | None, but: str | None
    ) -> tuple[Numbers, arrow.Bools]:
        """Read the vectors into one matrix, which is allocated once, and tell which are null.

        Parameters
        ----------
        column : str, optional
            Name of the embedding column, or a pattern of columns.
        rows : ndarray of shape (n,), optional
            Row numbers in ascending order. Only these rows are returned, and row groups without any
            of them are not read.
        but : str, optional
            Name of a column that a pattern must not match.
        """
        files = self._files
        columns = _vector_columns(_names(files[0]), column, but, files[0])
        surveys = [_survey(file, columns) for file in files]
        count = sum(count for count, _ in surveys) if rows is None else len(rows)
        dtype = np.result_type(*(dtype for _, dtype in surveys))
        if len(columns) > 1:
            return _stack_columns(files, columns, count, dtype, rows)
        blocks = (
            arrow.list_block(batch.column(columns[0]), str(file))
            for file, batch in _batches(files, columns, rows)
        )
        return arrow.stack(blocks, count, dtype)


def _vector_columns(
    names: Sequence[str], wanted: str | None, label: str | None, where: Path
) -> list[str]:
    """Return the embedding column, or the columns that a pattern matches, in natural order.

    Raises
    ------
    InputError
        There is no such column, or a pattern also matches a column that is not numbered like the
        others.
    """
    if wanted is not None and wanted not in names:
        matches = [name for name in names if fnmatchcase(name, wanted) and name != label]
        _refuse_strays(matches, wanted, where)
        if matches:
            return sorted(matches, key=natural)
    try:
        return [choose(names, wanted, EMBEDDING_NAMES, "embedding", where)]
    except InputError as error:
        family = _numbered(names)
        if wanted is not None or len(family) < _LEAST_FAMILY:
            raise
        stem = _NUMBERED.fullmatch(family[0])
        assert stem is not None
        raise InputError(
            f"{error}. {family[0]!r} to {family[-1]!r} look like one vector; if they are, give "
            f"--embedding-column '{stem[1]}[0-9]*'"
        ) from None


_NUMBERED = re.compile(r"(.*?)([0-9]+)")
_LEAST_FAMILY = 4
"""Columns that differ in their number alone, from which on they look like a vector."""


def _numbered(names: Sequence[str]) -> list[str]:
    """Return the largest family of names that differ only in the number at the end."""
    families: dict[str, list[str]] = {}
    for name in names:
        found = _NUMBERED.fullmatch(name)
        if found is not None:
            families.setdefault(found[1], []).append(name)
    largest: list[str] = []
    for family in families.values():
        largest = family if len(family) > len(largest) else largest
    return sorted(largest, key=natural)


def _gap(columns: Sequence[str]) -> tuple[str, str] | None:
    """Return the first two neighbouring columns whose numbers do not follow, or None."""
    for one, two in pairwise(columns):
        ends = _NUMBERED.fullmatch(one), _NUMBERED.fullmatch(two)
        if ends[0] is None or ends[1] is None or int(ends[1][2]) != int(ends[0][2]) + 1:
            return one, two
    return None


def _refuse_strays(matches: Sequence[str], pattern: str, where: Path) -> None:
    """Refuse columns that a pattern matches beside numbered ones, such as an ID."""
    family = _numbered(matches)
    strays = [name for name in matches if name not in family]
    if len(family) > 1 and strays:
        raise InputError(
            f"{where}: {pattern!r} also matches {show(strays)}, which is not numbered like "
            f"{family[0]!r} to {family[-1]!r}; give a pattern that matches only these, such as "
            f"'{family[0].rstrip('0123456789')}[0-9]*'"
        )


@contextmanager
def _open(path: Path, columns: Sequence[str]) -> Iterator[Any]:
    """Open a Parquet file, and check that it has each of the columns once."""
    import pyarrow.parquet as pq

    check_file(path)
    # By default Arrow reads whole row groups ahead and keeps them, which takes the size of the file
    # once more in memory.
    with (
        reading(path, "Parquet file"),
        pq.ParquetFile(path, pre_buffer=False, buffer_size=BUFFER_BYTES) as file,
    ):
        names = file.schema_arrow.names
        for column in columns:
            if names.count(column) != 1:
                raise InputError(
                    f"{path}: {names.count(column)} columns named {column!r} where one is "
                    f"needed; the columns are {show(names)}"
                )
        yield file


def _names(path: Path) -> list[str]:
    with _open(path, ()) as file:
        return list(file.schema_arrow.names)


def _survey(path: Path, columns: Sequence[str]) -> tuple[int, np.dtype[Any]]:
    """Return the number of rows in a file, and the type to keep its vectors in."""
    accepts = arrow.vector_dtype if len(columns) == 1 else arrow.number_dtype
    dtypes = []
    with _open(path, columns) as file:
        for column in columns:
            kind = file.schema_arrow.field(column).type
            dtype = accepts(kind)
            if dtype is None:
                raise InputError(
                    f"{path}: embedding column {column!r} is of type {str(kind)!r}; wanted lists "
                    "of numbers, or several columns of numbers matched by a pattern"
                )
            dtypes.append(dtype)
        metadata = file.metadata
        groups = range(metadata.num_row_groups)
        if metadata.num_rows != sum(metadata.row_group(k).num_rows for k in groups):
            raise InputError(f"{path}: damaged, its row groups do not add up; write it anew")
        return metadata.num_rows, np.result_type(*dtypes)


def _batches(
    files: Sequence[Path], columns: Sequence[str], rows: Ints | None = None
) -> Iterator[tuple[Path, Any]]:
    """Yield batches of the columns of files, only with the given rows if there are any."""
    start = 0
    for path in files:
        with _open(path, columns) as file:
            for group in range(file.metadata.num_row_groups):
                count = file.metadata.row_group(group).num_rows
                if rows is None or np.any(rows[np.searchsorted(rows, start) :][:1] < start + count):
                    for batch in file.iter_batches(BATCH_ROWS, row_groups=[group], columns=columns):
                        yield path, batch if rows is None else _some(batch, rows, start)
                        start += len(batch)
                else:
                    start += count


def _some(batch: Any, rows: Ints, start: int) -> Any:
    """Return the wanted rows of a batch whose first row is row ``start`` of all files."""
    first, last = np.searchsorted(rows, [start, start + len(batch)])
    return batch.take(rows[first:last] - start)


def _stack_columns(
    files: Sequence[Path],
    columns: Sequence[str],
    count: int,
    dtype: np.dtype[Any],
    rows: Ints | None,
) -> tuple[Numbers, arrow.Bools]:
    """Read vectors whose k-th number is in the k-th column, and tell which have a null."""
    vectors: Numbers = np.empty((count, len(columns)), dtype)
    nulls = np.zeros(count, np.bool_)
    # For each column that Arrow reads at a time, it holds megabytes of dictionary and buffers.
    for first in range(0, len(columns), COLUMNS_AT_ONCE):
        group = columns[first : first + COLUMNS_AT_ONCE]
        start = 0
        for _, batch in _batches(files, group, rows):
            stop = start + len(batch)
            for k, name in enumerate(group, first):
                vectors[start:stop, k] = arrow.numbers_of(batch.column(name))
                nulls[start:stop] |= arrow.to_numpy(batch.column(name).is_null())
            start = stop
    return vectors, nulls
