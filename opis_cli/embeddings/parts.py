"""Read the columns of one file of a table, a few rows at a time: Parquet, Arrow, CSV or TSV.

Each format has a class here. A file is read only as far as the wanted columns and rows need it.
"""

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from opis_cli.embeddings import arrow
from opis_cli.embeddings.class_names import class_names, features_of, named
from opis_cli.embeddings.columns import between, check_file, reading, show
from opis_cli.embeddings.delimited import delimiter_of, opened_text
from opis_cli.embeddings.folders import PartFile
from opis_cli.errors import InputError
from opis_cli.records import Ints

# Batches are small, because each is held in memory beside the matrix that it is copied into.
BATCH_ROWS = 4096
"""Rows that are read at a time."""
BUFFER_BYTES = 256 << 10
"""Bytes of a Parquet file that Arrow buffers."""
CSV_BLOCK_BYTES = 8 << 20
"""Bytes of a CSV file that Arrow reads at a time. A line must fit in."""

Names = tuple[str, ...]
"""The name of a column, and below it the names of the fields of structs that lead to a value."""
Batch = Any  # pyarrow.RecordBatch; pyarrow ships no types


def part_of(file: PartFile) -> "Part":
    """Return the reader for a file of a table, by the suffix of its name."""
    suffix = file.path.suffix.lower()
    if suffix in (".arrow", ".feather"):
        return _Arrow(file)
    return _Csv(file) if suffix in (".csv", ".tsv") else _Parquet(file)


class Part:
    """A file of a table. The classes of the formats say how to read it.

    Every method raises an ``InputError`` if the file is unreadable or a column is missing.

    Attributes
    ----------
    columns_at_once : int or None
        How many columns are read at a time, if each holds one number of the vectors; None for all.
    """

    columns_at_once: int | None = None

    def __init__(self, file: PartFile) -> None:
        self.path, self.keys, self.features = file.path, file.keys, file.features

    def rows(self) -> int:
        """Return the number of rows."""
        raise NotImplementedError

    def schema(self) -> Any:
        """Return the Arrow schema of the file, without the keys of its folders."""
        raise NotImplementedError

    def _batches(
        self, columns: Sequence[Names], wanted: Ints | None
    ) -> Iterator[tuple[int, Batch]]:
        """Yield batches that have the columns, each with the number of its first row.

        Batches that have none of the ``wanted`` rows may be left out.
        """
        raise NotImplementedError

    def names(self) -> list[str]:
        """Return the names of the columns, and of the fields of structs as ``meta.label``."""
        schema = self.schema()
        top = [*schema.names, *(name for name in self.keys if name not in schema.names)]
        inner = [".".join(path) for path in _paths(schema) if len(path) > 1]
        return [*top, *(name for name in inner if name not in top)]

    def kinds(self, columns: Sequence[str]) -> list[Any]:
        """Return the Arrow types of columns."""
        import pyarrow as pa

        schema = self.schema()
        paths = [self._find(schema, column) for column in columns]
        return [pa.large_string() if path is None else _kind(schema, path) for path in paths]

    def batches(
        self, columns: Sequence[str], wanted: Ints | None = None
    ) -> Iterator[tuple[Sequence[int] | Ints, list[arrow.Array]]]:
        """Yield the values of columns, a few rows at a time, with the numbers of the rows.

        Parameters
        ----------
        columns : sequence of str
            Names as of ``names``.
        wanted : ndarray of shape (n,), optional
            Row numbers in ascending order. Only these rows are returned.
        """
        import pyarrow as pa

        schema = self.schema()
        paths = [self._find(schema, column) for column in columns]
        for start, batch in self._batches([path for path in paths if path], wanted):
            numbers: Sequence[int] | Ints = range(start, start + len(batch))
            if wanted is not None:
                numbers = between(wanted, start, start + len(batch)) + start
                batch = batch.take(pa.array(numbers - start))
            yield (
                numbers,
                [
                    pa.array([self.keys[column]] * len(batch), pa.large_string())
                    if path is None
                    else _value(batch, path)
                    for column, path in zip(columns, paths, strict=True)
                ],
            )

    def values(self, column: str) -> Iterator[arrow.Array]:
        """Yield the values of a column of labels or the like, with the names of their classes."""
        schema = self.schema()
        path = self._find(schema, column)
        names = None
        if path is not None:
            names = class_names(features_of(schema), path) or class_names(self.features, path)
        for _, (values,) in self.batches([column]):
            yield values if names is None else named(values, names, f"{self.path}, {column!r}")

    def _find(self, schema: Any, column: str) -> Names | None:
        """Return where the values of a column are: None if they are a key of the folders.

        A column whose name has dots in it comes before a field of a struct.
        """
        found: list[Names] = [(name,) for name in schema.names if name == column]
        if not found and column in self.keys:
            return None
        found = found or [path for path in _paths(schema) if ".".join(path) == column]
        if len(found) != 1:
            raise InputError(
                f"{self.path}: {len(found)} columns named {column!r} where one is needed; the "
                f"columns are {show(self.names())}"
            )
        return found[0]


class _Parquet(Part):
    """A Parquet file, of which only the row groups with wanted rows are read."""

    # For each column that Arrow reads at a time, it holds megabytes of dictionary and buffers.
    columns_at_once = 16

    def rows(self) -> int:
        with self._open() as file:
            metadata = file.metadata
            groups = range(metadata.num_row_groups)
            if metadata.num_rows != sum(metadata.row_group(k).num_rows for k in groups):
                raise InputError(
                    f"{self.path}: damaged, its row groups do not add up; write it anew"
                )
            return int(metadata.num_rows)

    def schema(self) -> Any:
        with self._open() as file:
            return file.schema_arrow

    def _batches(
        self, columns: Sequence[Names], wanted: Ints | None
    ) -> Iterator[tuple[int, Batch]]:
        names = [".".join(path) for path in columns]
        start = 0
        with self._open() as file:
            for group in range(file.metadata.num_row_groups):
                count = file.metadata.row_group(group).num_rows
                if wanted is None or len(between(wanted, start, start + count)):
                    row = start
                    for batch in file.iter_batches(BATCH_ROWS, row_groups=[group], columns=names):
                        yield row, batch
                        row += len(batch)
                start += count

    @contextmanager
    def _open(self) -> Iterator[Any]:
        import pyarrow.parquet as pq

        check_file(self.path)
        # By default Arrow reads whole row groups ahead and keeps them, which takes the size of the
        # file once more in memory.
        with (
            reading(self.path, "Parquet file"),
            pq.ParquetFile(self.path, pre_buffer=False, buffer_size=BUFFER_BYTES) as file,
        ):
            yield file


class _Arrow(Part):
    """An Arrow file, which is mapped into memory. It may have the form of a stream or of a file."""

    def rows(self) -> int:
        return sum(len(batch) for batch in self._read([0]))

    def schema(self) -> Any:
        with self._open(None) as reader:
            return reader.schema

    def _batches(
        self, columns: Sequence[Names], wanted: Ints | None
    ) -> Iterator[tuple[int, Batch]]:
        top = self.schema().names
        start = 0
        for batch in self._read([top.index(path[0]) for path in columns] or [0]):
            with reading(self.path, "Arrow file"):
                batch.validate(full=True)  # else damaged offsets lead to memory of others
            for first in range(0, len(batch), BATCH_ROWS):
                yield start + first, batch.slice(first, BATCH_ROWS)
            start += len(batch)

    def _read(self, columns: Sequence[int]) -> Iterator[Batch]:
        """Yield the batches of the file with some columns, by their numbers."""
        with self._open(columns) as reader:
            if hasattr(reader, "num_record_batches"):
                for k in range(reader.num_record_batches):
                    yield reader.get_batch(k)
            else:
                yield from reader

    @contextmanager
    def _open(self, columns: Sequence[int] | None) -> Iterator[Any]:
        import pyarrow as pa
        from pyarrow import ipc

        check_file(self.path)
        with reading(self.path, "Arrow file"), pa.memory_map(str(self.path)) as file:
            options = ipc.IpcReadOptions(included_fields=sorted(set(columns or ())))
            is_file = file.read(6) == b"ARROW1"
            file.seek(0)
            opened = (ipc.open_file if is_file else ipc.open_stream)(file, options=options)
            with opened as reader:
                yield reader


class _Csv(Part):
    """A CSV or TSV file with a header line. Every cell is text, and an empty one is null."""

    def rows(self) -> int:
        return sum(len(batch) for _, batch in self._batches([(self.schema().names[0],)], None))

    def schema(self) -> Any:
        import pyarrow as pa

        with opened_text(self.path) as file:
            lines = csv.reader(file, delimiter=self._delimiter, strict=True)
            header = next(filter(None, lines), [])
        if not header:
            raise InputError(
                f"{self.path}: no header line; write the names of the columns in line 1"
            )
        if any(name.lstrip().startswith("[") for name in header):
            raise InputError(
                f"{self.path}: line 1 holds a vector, and columns are found by name; write a "
                "header line above it, such as: embedding,label"
            )
        return pa.schema([(name, pa.large_string()) for name in header])

    @property
    def _delimiter(self) -> str:
        return delimiter_of(self.path, None)

    def _batches(
        self, columns: Sequence[Names], wanted: Ints | None
    ) -> Iterator[tuple[int, Batch]]:
        import pyarrow as pa
        from pyarrow import csv as arrow_csv

        names = list(dict.fromkeys(path[0] for path in columns)) or self.schema().names[:1]
        start = 0
        with (
            reading(self.path, "UTF-8 CSV file"),
            arrow_csv.open_csv(
                self.path,
                read_options=arrow_csv.ReadOptions(block_size=CSV_BLOCK_BYTES),
                parse_options=arrow_csv.ParseOptions(
                    delimiter=self._delimiter, newlines_in_values=True
                ),
                convert_options=arrow_csv.ConvertOptions(
                    include_columns=names,
                    column_types=dict.fromkeys(names, pa.large_string()),
                    null_values=[""],
                    strings_can_be_null=True,
                ),
            ) as reader,
        ):
            for batch in reader:
                yield start, batch
                start += len(batch)


def _paths(schema: Any) -> list[Names]:
    """Return where values are in a schema: columns, and the fields of structs at any depth."""
    from pyarrow import types

    found: list[Names] = []
    # A field is behind its struct in the list, so that all of them are visited.
    fields: list[tuple[Names, Any]] = [
        ((name,), kind) for name, kind in zip(schema.names, schema.types, strict=True)
    ]
    for path, kind in fields:
        found.append(path)
        if types.is_struct(kind):
            inner = [kind.field(k) for k in range(kind.num_fields)]
            fields += [((*path, field.name), field.type) for field in inner]
    return found


def _kind(schema: Any, path: Names) -> Any:
    kind = schema.field(path[0]).type
    for name in path[1:]:
        kind = kind.field(name).type
    return kind


def _value(batch: Batch, path: Names) -> arrow.Array:
    """Return the values of a column. Where a struct is null, so are its fields."""
    from pyarrow import compute

    values = batch.column(path[0])
    return compute.struct_field(values, list(path[1:])) if path[1:] else values
