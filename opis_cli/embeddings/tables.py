"""Read tables of one or more files into vectors and labels, a few rows at a time."""

import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from opis_cli.embeddings import arrow
from opis_cli.embeddings.columns import EMBEDDING_NAMES, LABEL_NAMES, between, choose, show
from opis_cli.embeddings.folders import part_files
from opis_cli.embeddings.parts import Part, part_of
from opis_cli.embeddings.shard import Shard
from opis_cli.embeddings.sources import PART_SUFFIXES, natural
from opis_cli.errors import InputError
from opis_cli.records import InputWarning, Ints, Numbers

Batch = tuple[Part, Sequence[int] | Ints, list[arrow.Array]]
"""A file, the numbers of some of its rows, and the values of columns in these rows."""


def is_table(path: Path) -> bool:
    """Return whether a path is a file with columns, or a folder, which must hold such files."""
    return path.is_dir() or path.suffix.lower() in (*PART_SUFFIXES, ".csv", ".tsv")


class Tables(Shard):
    """Files with columns, and folders of such files, that are read as one table.

    Parameters
    ----------
    paths : sequence of Path
        Files and folders in the order of their rows.

    Raises
    ------
    InputError
        Every method raises it if a file is unreadable, or a column is missing or of another type.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        super().__init__(paths[0])
        self.paths = paths

    @cached_property
    def _parts(self) -> list[Part]:
        return [part_of(file) for path in self.paths for file in part_files(path)]

    def names(self) -> list[str]:
        """Return the names of the columns of the first file, without fields of structs."""
        first = self._parts[0]
        return [*first.schema().names, *(k for k in first.keys if k not in first.schema().names)]

    def vector_columns(self, column: str | None, but: str | None) -> list[str]:
        """Return the embedding column, or the columns that a pattern matches."""
        return _vector_columns(self._parts[0], column, but)

    def rows(self, embedding_column: str | None) -> int:
        return sum(part.rows() for part in self._parts)

    def embedding_name(self, column: str | None, but: str | None) -> str | None:
        columns = _vector_columns(self._parts[0], column, but)
        return columns[0] if len(columns) == 1 else column

    def doubts(self, column: str | None, but: str | None) -> tuple[InputWarning, ...]:
        columns = _vector_columns(self._parts[0], column, but)
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
        first = self._parts[0]
        columns = _vector_columns(first, column, but)
        size = _vector_dtype(first, columns).itemsize
        if len(columns) > 1:
            return len(columns), size
        for batch in _batches([first], columns):
            lengths = _block(batch, columns[0]).lengths.tolist()
            present = [length for length in lengths if length >= 0]
            if present:
                return present[0], size
        return 0, size

    def label_name(self, column: str | None) -> str:
        return choose(self._parts[0].names(), column, LABEL_NAMES, "label", self._parts[0].path)

    def labels(self, column: str | None, expected: int | None) -> list[arrow.Array]:
        return self.column(self.label_name(column), expected)

    def column(self, name: str, expected: int | None) -> list[arrow.Array]:
        return [values for part in self._parts for values in part.values(name)]

    def vectors(
        self, column: str | None, rows: Ints | None, but: str | None
    ) -> tuple[Numbers, arrow.Bools]:
        columns = _vector_columns(self._parts[0], column, but)
        dtype = np.result_type(*(_vector_dtype(part, columns) for part in self._parts))
        count = self.rows(column) if rows is None else len(rows)
        if len(columns) > 1:
            return _stack_columns(self._parts, columns, count, dtype, rows)
        batches = _batches(self._parts, columns, rows)
        return arrow.stack((_block(batch, columns[0]) for batch in batches), count, dtype)


def _vector_columns(part: Part, wanted: str | None, label: str | None) -> list[str]:
    """Return the embedding column, or the columns that a pattern matches, in natural order.

    Raises
    ------
    InputError
        There is no such column, or a pattern also matches a column that is not numbered like the
        others.
    """
    names, where = part.names(), part.path
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


def _vector_dtype(part: Part, columns: Sequence[str]) -> np.dtype[Any]:
    """Return the type to keep the vectors of a file in.

    Raises
    ------
    InputError
        A column can have no vectors, or no numbers of vectors.
    """
    accepts = arrow.vector_dtype if len(columns) == 1 else arrow.number_dtype
    dtypes = []
    for column, kind in zip(columns, part.kinds(columns), strict=True):
        dtype = arrow.TEXT_DTYPE if arrow.is_text(kind) else accepts(kind)
        if dtype is None:
            raise InputError(
                f"{part.path}: embedding column {column!r} is of type {str(kind)!r}; wanted lists "
                "of numbers, or several columns of numbers matched by a pattern"
            )
        dtypes.append(dtype)
    return np.result_type(*dtypes)


def _batches(
    parts: Sequence[Part], columns: Sequence[str], rows: Ints | None = None
) -> Iterator[Batch]:
    """Yield the columns of files, a few rows at a time; only the given rows, if there are any."""
    start = 0
    for part in parts:
        wanted = None
        if rows is not None:
            count = part.rows()
            wanted = between(rows, start, start + count)
            start += count
        for numbers, values in part.batches(columns, wanted):
            yield part, numbers, values


def _block(batch: Batch, column: str) -> arrow.Block:
    """Return the vectors of a column of lists, or of texts that hold lists."""
    part, numbers, (values,) = batch
    if arrow.is_text(values.type):
        return arrow.text_block(values, numbers, f"{part.path}, column {column!r}")
    return arrow.list_block(values, str(part.path))


def _stack_columns(
    parts: Sequence[Part],
    columns: Sequence[str],
    count: int,
    dtype: np.dtype[Any],
    rows: Ints | None,
) -> tuple[Numbers, arrow.Bools]:
    """Read vectors whose k-th number is in the k-th column, and tell which have a null."""
    vectors: Numbers = np.empty((count, len(columns)), dtype)
    nulls = np.zeros(count, np.bool_)
    step = min(part.columns_at_once or len(columns) for part in parts)
    for first in range(0, len(columns), step):
        group = columns[first : first + step]
        start = 0
        for part, numbers, values in _batches(parts, group, rows):
            stop = start + len(numbers)
            for k, (name, column) in enumerate(zip(group, values, strict=True), first):
                if arrow.is_text(column.type):
                    column = arrow.text_numbers(column, numbers, f"{part.path}, column {name!r}")
                vectors[start:stop, k] = arrow.numbers_of(column)
                nulls[start:stop] |= arrow.to_numpy(column.is_null())
            start = stop
    return vectors, nulls
