"""Parquet files and folders: columns found by name and read a few rows at a time."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from opis_cli.embeddings import arrow
from opis_cli.embeddings.sources import natural
from opis_cli.errors import InputError
from opis_cli.records import Floats, Ints

EMBEDDING_NAMES = ("embedding", "embeddings", "emb", "vector")
LABEL_NAMES = ("label", "labels", "class", "identity", "subject_id")
NAMES_SHOWN = 20
# Small, as each batch is held beside the matrix that it is copied into.
BATCH_ROWS = 4096
COLUMNS_AT_ONCE = 16
BUFFER_BYTES = 256 << 10


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Turn what a library raises over a file into an ``InputError`` that names the file.

    What a damaged file makes NumPy, zipfile and Arrow raise is of any kind, so all is caught. To
    be put around their calls only, that faults of ours stay what they are.
    """
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: no such file or folder; check the path") from None
    except PermissionError:
        raise InputError(f"{path}: permission denied; make it readable for this user") from None
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"{path}: not a readable {kind} ({reason}); check that it is whole and of the type "
            "that its name says"
        ) from None


def check_file(path: Path) -> None:
    """Refuse a file that is missing or empty before anything else is read."""
    with reading(path, "file"):
        empty = path.stat().st_size == 0 and path.is_file()
    if empty:
        raise InputError(f"{path}: empty, 0 bytes; write it anew")


def show(names: Sequence[str]) -> str:
    """Names for an error; they are untrusted and may be many."""
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(map(repr, names[:NAMES_SHOWN])) + more


def choose(
    names: Sequence[str],
    wanted: str | None,
    guesses: Sequence[str],
    what: str,
    where: Path,
    sought: str | None = None,
) -> str:
    """The column that is wanted, else the only one with a usual name.

    ``what`` names the option, and ``sought`` what an error calls the column, if not the same.

    Raises
    ------
    InputError
        There is none, or more than one.
    """
    found = [name for name in names if (name in guesses if wanted is None else name == wanted)]
    if len(found) == 1:
        return found[0]
    if not found:
        usual = sought or f"{what} column"
        problem = f"no {usual}" if wanted is None else f"no column {wanted!r}"
    else:
        problem = f"{len(found)} columns may be the {what} column, {show(found)}"
    raise InputError(f"{where}: {problem}; give --{what}-column. The columns are {show(names)}")


def parquet_files(path: Path) -> list[Path]:
    """The file, or the Parquet parts of the folder in the order of their names."""
    with reading(path, "folder"):
        if not path.is_dir():
            return [path]
        parts = [part for part in path.iterdir() if part.suffix.lower() == ".parquet"]
    parts = sorted(part for part in parts if not part.name.startswith(("_", ".")))
    if not parts:
        raise InputError(f"{path}: a folder without .parquet files; name a folder that has some")
    return parts


def digest_of(paths: Sequence[Path]) -> str:
    """Digest of files in this order; of a folder, its parts in the order of their names."""
    digest = hashlib.sha256()
    for part in [part for path in paths for part in parquet_files(path)]:
        with reading(part, "file"), part.open("rb") as file:
            hashlib.file_digest(file, lambda: digest)
    return digest.hexdigest()


def read_parquet(
    paths: Sequence[Path],
    embedding_column: str | None,
    label_column: str | None,
    *,
    with_labels: bool,
    rows: Ints | None = None,
) -> tuple[Floats, arrow.Bools, list[arrow.Array]]:
    """Vectors, which of them are null, and labels (none unless wanted) of files or folders.

    Of some rows alone, if their rising numbers are given, row groups without any are not read.

    Raises
    ------
    InputError
        Unreadable; a column is missing, not to be guessed, or of another type; lengths differ.
    """
    files = [file for path in paths for file in parquet_files(path)]
    names = _names(files[0])
    label = choose(names, label_column, LABEL_NAMES, "label", files[0]) if with_labels else None
    columns = _vector_columns(names, embedding_column, label, files[0])
    surveys = [_survey(file, columns) for file in files]
    count = sum(count for count, _ in surveys) if rows is None else len(rows)
    dtype = np.result_type(*(dtype for _, dtype in surveys))
    if len(columns) == 1:
        blocks = (
            arrow.list_block(batch.column(columns[0]), str(file))
            for file, batch in _batches(files, columns, rows)
        )
        vectors, nulls = arrow.stack(blocks, count, dtype)
    else:
        vectors, nulls = _stack_columns(files, columns, count, dtype, rows)
    return vectors, nulls, [] if label is None else _label_column(files, label)


def read_parquet_labels(path: Path, label_column: str | None) -> list[arrow.Array]:
    """Labels alone of a file or folder."""
    files = parquet_files(path)
    return _label_column(
        files, choose(_names(files[0]), label_column, LABEL_NAMES, "label", files[0])
    )


def read_parquet_column(path: Path, column: str) -> list[arrow.Array]:
    """Any other column of a file or folder."""
    return _label_column(parquet_files(path), column)


def _vector_columns(
    names: Sequence[str], wanted: str | None, label: str | None, where: Path
) -> list[str]:
    """The embedding column, or those that a pattern matches, ``emb_2`` before ``emb_10``."""
    if wanted is not None and wanted not in names:
        matches = [name for name in names if fnmatchcase(name, wanted) and name != label]
        if matches:
            return sorted(matches, key=natural)
    return [choose(names, wanted, EMBEDDING_NAMES, "embedding", where)]


@contextmanager
def _open(path: Path, columns: Sequence[str]) -> Iterator[Any]:
    """A Parquet file that has each of the columns once."""
    import pyarrow.parquet as pq

    check_file(path)
    # By default row groups are read ahead whole and kept, once more the size of the file.
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
    """How many rows a file has, and the float type to keep its vectors in."""
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


def count_rows(path: Path) -> int:
    """Rows of a file or folder."""
    total = 0
    for part in parquet_files(path):
        with _open(part, ()) as file:
            total += file.metadata.num_rows
    return total


def _batches(
    files: Sequence[Path], columns: Sequence[str], rows: Ints | None = None
) -> Iterator[tuple[Path, Any]]:
    """Some rows of the columns at a time; if row numbers are given, those rows alone."""
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
    """Those rows of a batch that are wanted; its first is row ``start`` of all."""
    first, last = np.searchsorted(rows, [start, start + len(batch)])
    return batch.take(rows[first:last] - start)


def _stack_columns(
    files: Sequence[Path],
    columns: Sequence[str],
    count: int,
    dtype: np.dtype[Any],
    rows: Ints | None,
) -> tuple[Floats, arrow.Bools]:
    """Vectors whose k-th number is in the k-th column, and which of them have a null."""
    vectors: Floats = np.empty((count, len(columns)), dtype)
    nulls = np.zeros(count, np.bool_)
    # Arrow holds a dictionary and buffers, megabytes, for each column that it reads at a time.
    for first in range(0, len(columns), COLUMNS_AT_ONCE):
        group = columns[first : first + COLUMNS_AT_ONCE]
        start = 0
        for _, batch in _batches(files, group, rows):
            stop = start + len(batch)
            for k, name in enumerate(group, first):
                vectors[start:stop, k] = arrow.to_numpy(batch.column(name))
                nulls[start:stop] |= arrow.to_numpy(batch.column(name).is_null())
            start = stop
    return vectors, nulls


def _label_column(files: Sequence[Path], column: str) -> list[arrow.Array]:
    return [batch.column(column) for _, batch in _batches(files, [column])]
