"""Read tables of scored pairs from Parquet, CSV and TSV, a batch of rows at a time."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opis_cli.counting.scored_values import MISSING, NO, YES, booleans, numbers
from opis_cli.counting.trial_lists import conversion
from opis_cli.embeddings import arrow
from opis_cli.embeddings.columns import check_file, choose, reading, show
from opis_cli.embeddings.folders import part_files
from opis_cli.embeddings.texts import as_texts
from opis_cli.errors import InputError
from opis_cli.records import Ints
from opis_cli.values import is_number

SCORE_NAMES = ("score", "distance")
GENUINE_NAMES = ("genuine",)
_CSV_BLOCK = 8 << 20
"""Bytes of a CSV file that are read at a time."""
_CHUNKS_AT_ONCE = 64
"""Lists of group names that are held before they are merged into one."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch of scored pairs.

    Attributes
    ----------
    scores : ndarray of shape (n,), float64
    genuine : ndarray of shape (n,), bool
    rows : ndarray of shape (n,), int64
        Row number of each pair, from 0, in all files together.
    groups : list of ndarrays of shape (n,), int64
        Group of the pairs, or of each side of the pairs, as indices into the names of the table.
    unscored_genuine : ndarray of shape (m,), bool
        Whether each pair that has no score is genuine. These pairs are not among the n others.
    unscored_rows : ndarray of shape (m,), int64
        Row number of each of these pairs.
    unscored_groups : list of ndarrays of shape (m,), int64
        Groups of these pairs.
    dropped : int
        Number of other bad rows, which were left out.
    """

    scores: NDArray[np.float64]
    genuine: NDArray[np.bool_]
    rows: Ints
    groups: list[Ints]
    unscored_genuine: NDArray[np.bool_]
    unscored_rows: Ints
    unscored_groups: list[Ints]
    dropped: int

    @property
    def unscored(self) -> Ints:
        """Numbers of genuine and of impostor pairs that have no score."""
        genuine = np.count_nonzero(self.unscored_genuine)
        return np.array([genuine, len(self.unscored_genuine) - genuine])


@dataclass(frozen=True, slots=True)
class Table:
    """Files of scored pairs with the same columns.

    Attributes
    ----------
    files : list of Path
    score, genuine : str
        Names of columns.
    groups : list of str
        Names of the columns that hold groups: none, one, or one for each side of a pair.
    names : ndarray of shape (K,)
        Names of the groups, sorted.
    where : str
        Name of the files in error messages.
    rows : int
        Number of pairs, with bad ones. It is an estimate if the files do not tell the number.
    batch_rows : int
        Number of pairs that are read at a time, about.
    """

    files: list[Path]
    score: str
    genuine: str
    groups: list[str]
    names: NDArray[Any]
    where: str
    rows: int
    batch_rows: int

    def batches(self, *, drop: bool) -> Iterator[Batch]:
        """Read the pairs batch by batch.

        Pairs without a score come apart from the others. If ``drop``, other bad rows are left out.

        Raises
        ------
        InputError
            A file is damaged, a column is of another type, or there is a bad row.
        """
        start = 0
        for path in self.files:
            row = 0
            for raw in _raw(path, [self.score, self.genuine, *self.groups], self.batch_rows):
                yield self._batch(raw, path, row, start, drop)
                row += len(raw)
            start += row

    def check(self, names: Sequence[str]) -> None:
        """Refuse columns that are not in the files.

        Raises
        ------
        InputError
            The message names the columns that there are.
        """
        for path in self.files:
            _check_columns(path, _column_names(path), names)

    def texts(self, names: Sequence[str], rows: Ints) -> list[list[str | None]]:
        """Read some columns of some pairs as text: for each column a list, null where it is null.

        Parameters
        ----------
        names : sequence of str
        rows : ndarray of shape (n,), int64
            Row numbers in ascending order, each once.

        Raises
        ------
        InputError
            A file is damaged, or has no such column.
        """
        found: list[list[str | None]] = [[] for _ in names]
        start = 0
        for path in self.files:
            for raw in _raw(path, names, self.batch_rows):
                first, last = np.searchsorted(rows, [start, start + len(raw)])
                some = raw.take(rows[first:last] - start)
                for values, name in zip(found, names, strict=True):
                    values += as_texts(some.column(some.schema.get_field_index(name))).to_pylist()
                start += len(raw)
        return found

    def _batch(self, raw: Any, path: Path, row: int, start: int, drop: bool) -> Batch:
        """Turn the columns of a raw batch into arrays without bad rows.

        ``row`` is the number of its first row in its file, and ``start`` that of the first row of
        the file.
        """

        def column(name: str) -> Any:
            return raw.column(raw.schema.get_field_index(name))

        scores = numbers(column(self.score), path, self.score, row)
        genuine, known = booleans(column(self.genuine), path, self.genuine, row)
        groups = [self._codes(column(name), path, name) for name in self.groups]
        faults = [
            (self.score, "an infinite score", np.isinf(scores)),
            (self.genuine, "no value", ~known),
            *(
                (name, "no value", codes < 0)
                for name, codes in zip(self.groups, groups, strict=True)
            ),
        ]
        bad = np.logical_or.reduce([rows for *_, rows in faults])
        unscored, good = ~bad & np.isnan(scores), ~bad & np.isfinite(scores)
        wrong = np.flatnonzero(bad)
        if wrong.size and not drop:
            first = int(wrong[0])
            name, what = next((name, what) for name, what, rows in faults if rows[first])
            raise InputError(
                f"{path}: row {row + first} (counted from 0) has {what} in column {name!r}; mend "
                "it, or leave such rows out with --on-bad-rows=drop"
            )
        return Batch(
            scores=scores[good],
            genuine=genuine[good],
            rows=start + row + np.flatnonzero(good),
            groups=[codes[good] for codes in groups],
            unscored_genuine=genuine[unscored],
            unscored_rows=start + row + np.flatnonzero(unscored),
            unscored_groups=[codes[unscored] for codes in groups],
            dropped=len(wrong),
        )

    def _codes(self, values: Any, path: Path, name: str) -> Ints:
        """Return a column of groups as indices into the names; -1 stands for null."""
        import pyarrow as pa
        from pyarrow import compute

        plain = arrow.join_labels([values], f"{path}, column {name!r}")
        kind = pa.int64() if self.names.dtype.kind == "i" else pa.large_string()
        if len(self.names) == 0 or plain.type != kind:
            return np.full(len(plain), -1)
        places = compute.index_in(plain, value_set=pa.array(self.names, kind), skip_nulls=True)
        return np.asarray(places.fill_null(-1).to_numpy(zero_copy_only=False), np.int64)


def open_table(
    paths: Sequence[Path],
    score: str | None,
    genuine: str | None,
    group: str | None,
    batch_rows: int,
    names: NDArray[Any] | None = None,
) -> Table:
    """Find the columns of scored pairs.

    Parameters
    ----------
    paths : sequence of Path
    score, genuine : str, optional
        Names of columns. Without them, columns of the usual names are used.
    group : str, optional
        Name of a column, or two names with a comma between, one for each side of a pair.
    batch_rows : int
        Number of pairs to read at a time.
    names : ndarray of shape (K,), optional
        Names of the groups, sorted. Without them, the columns of groups are read to find them.

    Raises
    ------
    InputError
        A file is unreadable, or a column is missing.
    """
    files = [part.path for path in paths for part in part_files(path)]
    for file in files:
        check_file(file)
    columns = _column_names(files[0])
    scores = choose(columns, score, SCORE_NAMES, "score", files[0])
    where = str(files[0]) if len(files) == 1 else f"{files[0]} to {files[-1]}"
    groups = _group_columns(columns, group, files[0])
    if names is None:
        names = _group_names(files, scores, groups, where, batch_rows)
    return Table(
        files=files,
        score=scores,
        genuine=choose(columns, genuine, GENUINE_NAMES, "label", files[0], "column 'genuine'"),
        groups=groups,
        names=names,
        where=where,
        rows=sum(map(_rows, files)),
        batch_rows=batch_rows,
    )


def _rows(file: Path) -> int:
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


def _group_names(
    files: Sequence[Path], score: str, groups: Sequence[str], where: str, batch_rows: int
) -> NDArray[Any]:
    """Read the columns of groups, and return the names of all groups, sorted."""
    seen: list[arrow.Array] = []
    for raw in (
        raw for file in files if groups for raw in _raw(file, [score, *groups], batch_rows)
    ):
        for name in groups:
            column = raw.column(raw.schema.get_field_index(name))
            seen.append(arrow.join_labels([column], f"{where}, column {name!r}").unique())
        if len(seen) > _CHUNKS_AT_ONCE:
            seen = [arrow.join_labels(seen, where).unique()]
    return arrow.column_of(arrow.join_labels(seen, where), where).names


def _group_columns(names: Sequence[str], group: str | None, where: Path) -> list[str]:
    if group is None or group in names:
        return [] if group is None else [group]
    sides = [name.strip() for name in group.split(",")]
    missing = [name for name in sides if name not in names]
    if missing or len(sides) > 2 or len(set(sides)) < len(sides):
        problem = "the same column twice" if len(sides) <= 2 else "more than two columns"
        problem = f"no column {missing[0]!r}" if missing else problem
        raise InputError(
            f"{where}: --group-column {group}: {problem}; name one, or one for each side with a "
            f"comma between. The columns are {show(names)}"
        )
    return sides


def _column_names(path: Path) -> list[str]:
    if _is_parquet(path):
        import pyarrow.parquet as pq

        with reading(path, "Parquet file"), pq.ParquetFile(path) as file:
            return list(file.schema_arrow.names)
    with reading(path, "CSV file"), _open_csv(path) as reader:
        names = list(reader.schema.names)
    _refuse_data(names, path)
    return names


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


def _raw(path: Path, columns: Sequence[str], batch_rows: int) -> Iterator[Any]:
    """Yield record batches of some columns of a file."""
    columns = list(dict.fromkeys(columns))
    if _is_parquet(path):
        import pyarrow.parquet as pq

        with reading(path, "Parquet file"), pq.ParquetFile(path, pre_buffer=False) as file:
            _check_columns(path, file.schema_arrow.names, columns)
            yield from file.iter_batches(batch_rows, columns=columns)
    else:
        with reading(path, "CSV file"), _open_csv(path, columns) as reader:
            yield from reader


def _check_columns(path: Path, names: Sequence[str], wanted: Sequence[str]) -> None:
    for name in wanted:
        if names.count(name) != 1:
            problem = f"{names.count(name)} columns" if name in names else "no column"
            raise InputError(
                f"{path}: {problem} named {name!r}, where one is needed; the columns are "
                f"{show(names)}"
            )
