"""The columns of files of scored pairs, Parquet, CSV and TSV, as batches of Arrow arrays."""

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from opis_cli.counting.scored_values import MISSING, NO, YES
from opis_cli.counting.trial_lists import conversion
from opis_cli.embeddings.columns import reading, show
from opis_cli.errors import InputError
from opis_cli.values import is_number

_CSV_BLOCK = 8 << 20
"""Bytes of a CSV file that are read at a time."""


def rows_of(file: Path) -> int:
    """Return the number of rows of a Parquet file, or an estimate of it for a text file.

    The estimate extends the number of lines in the first megabyte to the size of the file.
    """
    import pyarrow.parquet as pq

    if _is_parquet(file):
        with reading(file, "Parquet file"):
            return int(pq.read_metadata(file).num_rows)
    with reading(file, "text file"), file.open("rb") as stream:
        head = stream.read(1 << 20)
        return round(file.stat().st_size * head.count(b"\n") / max(len(head), 1))


def column_names(path: Path) -> list[str]:
    """Return the names of the columns of a file. The errors are those of ``schema_of``."""
    return list(schema_of(path).names)


def schema_of(path: Path) -> Any:
    """Return the Arrow schema of a file. The columns of a text file are text.

    Raises
    ------
    InputError
        The file is unreadable, is of another format, or has no header line.
    """
    if _is_parquet(path):
        import pyarrow.parquet as pq

        with reading(path, "Parquet file"), pq.ParquetFile(path) as file:
            return file.schema_arrow
    import pyarrow as pa

    with reading(path, "CSV file"), _open_csv(path) as reader:
        names = list(reader.schema.names)
    _refuse_data(names, path)
    return pa.schema([(name, pa.large_string()) for name in names])


def _refuse_data(names: Sequence[str], path: Path) -> None:
    """Refuse a first line that holds values, not names of columns."""
    if not all(_is_value(name.strip().lower()) for name in names):
        return
    quoted, separator = shlex.quote(str(path)), "\t" if path.suffix.lower() == ".tsv" else ","
    columns = [f"column{k}" for k in range(1, len(names) + 1)]
    columns[:2] = ["score", "genuine"][: len(names)]
    header = separator.join(columns)
    raise InputError(
        f"{path}: line 1 looks like data ({show(names)}), and columns are found by name; write a "
        f"file with a header line, in the order of its columns, such as: "
        f"(printf '{header}\\n'; cat {quoted}) > with_header{path.suffix}"
    )


def _is_value(text: str) -> bool:
    return is_number(text) or text in (*YES, *NO, *MISSING)


def _is_parquet(path: Path) -> bool:
    suffix = path.suffix.lower()
    if suffix not in (".parquet", ".csv", ".tsv"):
        with reading(path, "text file"):
            advice = conversion(path)
        raise InputError(
            f"{path}: the suffix {suffix!r} is not known; scored pairs are read from .parquet, "
            f".csv or .tsv, or from a folder of .parquet files{advice}"
        )
    return suffix == ".parquet"


def _open_csv(path: Path, columns: Sequence[str] = ()) -> Any:
    """Open a CSV file to read some columns as raw text, in which only an empty cell is null."""
    import pyarrow as pa
    from pyarrow import csv

    types = dict.fromkeys(columns, pa.large_string())
    return csv.open_csv(
        path,
        # With threads, Arrow does not name the line that has too few or too many cells.
        read_options=csv.ReadOptions(block_size=_CSV_BLOCK, use_threads=False),
        parse_options=csv.ParseOptions(delimiter="\t" if path.suffix.lower() == ".tsv" else ","),
        convert_options=csv.ConvertOptions(
            include_columns=columns or None,
            column_types=types,
            null_values=[""],
            strings_can_be_null=True,
        ),
    )


def raw_batches(path: Path, columns: Sequence[str], batch_rows: int) -> Iterator[Any]:
    """Yield record batches of some columns of a file."""
    columns = list(dict.fromkeys(columns))
    if _is_parquet(path):
        import pyarrow.parquet as pq

        with reading(path, "Parquet file"), pq.ParquetFile(path, pre_buffer=False) as file:
            check_columns(path, file.schema_arrow.names, columns)
            yield from file.iter_batches(batch_rows, columns=columns)
    else:
        with reading(path, "CSV file"), _open_csv(path, columns) as reader:
            yield from reader


def check_columns(path: Path, names: Sequence[str], wanted: Sequence[str]) -> None:
    """Refuse columns that are not among the names of a file, or are there twice."""
    for name in wanted:
        if names.count(name) != 1:
            problem = f"{names.count(name)} columns" if name in names else "no column"
            raise InputError(
                f"{path}: {problem} named {name!r}, where one is needed; the columns are "
                f"{show(names)}"
            )
