"""Tables of scored pairs, which are read a batch of rows at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opis_cli.counting.scored_files import check_columns, column_names, raw_batches, rows_of
from opis_cli.counting.scored_values import booleans, numbers
from opis_cli.embeddings import arrow
from opis_cli.embeddings.columns import check_file, choose, show
from opis_cli.embeddings.folders import part_files
from opis_cli.embeddings.texts import as_texts
from opis_cli.errors import InputError
from opis_cli.records import Ints

SCORE_NAMES = ("score", "distance")
GENUINE_NAMES = ("genuine",)
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
    ids, unscored_ids : list of ndarrays of shape (n,) or (m,), int64
        Id of each side of the pairs, as indices into the ids of the table; -1 where there is none.
    """

    scores: NDArray[np.float64]
    genuine: NDArray[np.bool_]
    rows: Ints
    groups: list[Ints]
    unscored_genuine: NDArray[np.bool_]
    unscored_rows: Ints
    unscored_groups: list[Ints]
    dropped: int
    ids: list[Ints]
    unscored_ids: list[Ints]

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
    id_columns : list of str
        Names of the columns that hold the ids of the two sides: none, or two.
    ids : ndarray of shape (I,)
        All ids, sorted.
    """

    files: list[Path]
    score: str
    genuine: str
    groups: list[str]
    names: NDArray[Any]
    where: str
    rows: int
    batch_rows: int
    id_columns: list[str] = field(default_factory=list)
    ids: NDArray[Any] = field(default_factory=lambda: np.zeros(0, np.int64))

    def with_ids(self, columns: str) -> "Table":
        """Return the table with the ids of the two sides, which are read to find them.

        Parameters
        ----------
        columns : str
            Names of two columns with a comma between.

        Raises
        ------
        InputError
            There are no such two columns, or they cannot be read.
        """
        names = side_columns(column_names(self.files[0]), columns, self.files[0], "--id-column")
        if len(names) != 2:
            raise InputError(
                f"--id-column {columns}: name two columns of {self.where}, one for each side of a "
                "pair, with a comma between"
            )
        ids = _names_in(self.files, self.score, names, self.where, self.batch_rows)
        return replace(self, id_columns=names, ids=ids)

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
            columns = [self.score, self.genuine, *self.groups, *self.id_columns]
            for raw in raw_batches(path, columns, self.batch_rows):
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
            check_columns(path, column_names(path), names)

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
            for raw in raw_batches(path, names, self.batch_rows):
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
        groups = [_codes(column(name), self.names, path, name) for name in self.groups]
        ids = [_codes(column(name), self.ids, path, name) for name in self.id_columns]
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
            ids=[codes[good] for codes in ids],
            unscored_ids=[codes[unscored] for codes in ids],
        )


def _codes(values: Any, names: NDArray[Any], path: Path, column: str) -> Ints:
    """Return a column of groups or ids as indices into their names; -1 stands for null."""
    import pyarrow as pa
    from pyarrow import compute

    plain = arrow.join_labels([values], f"{path}, column {column!r}")
    kind = pa.int64() if names.dtype.kind == "i" else pa.large_string()
    if len(names) == 0 or plain.type != kind:
        return np.full(len(plain), -1)
    places = compute.index_in(plain, value_set=pa.array(names, kind), skip_nulls=True)
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
    columns = column_names(files[0])
    scores = choose(columns, score, SCORE_NAMES, "score", files[0])
    where = str(files[0]) if len(files) == 1 else f"{files[0]} to {files[-1]}"
    groups = [] if group is None else side_columns(columns, group, files[0], "--group-column")
    if names is None:
        names = _names_in(files, scores, groups, where, batch_rows)
    return Table(
        files=files,
        score=scores,
        genuine=choose(columns, genuine, GENUINE_NAMES, "label", files[0], "column 'genuine'"),
        groups=groups,
        names=names,
        where=where,
        rows=sum(map(rows_of, files)),
        batch_rows=batch_rows,
    )


def _names_in(
    files: Sequence[Path], score: str, columns: Sequence[str], where: str, batch_rows: int
) -> NDArray[Any]:
    """Read columns of groups or ids, and return all names in them, sorted."""
    seen: list[arrow.Array] = []
    for raw in (
        raw for file in files if columns for raw in raw_batches(file, [score, *columns], batch_rows)
    ):
        for name in columns:
            column = raw.column(raw.schema.get_field_index(name))
            seen.append(arrow.join_labels([column], f"{where}, column {name!r}").unique())
        if len(seen) > _CHUNKS_AT_ONCE:
            seen = [arrow.join_labels(seen, where).unique()]
    return arrow.column_of(arrow.join_labels(seen, where), where).names


def side_columns(names: Sequence[str], given: str, where: Path, option: str) -> list[str]:
    """Return the column, or the two columns for the two sides, that an option names.

    Raises
    ------
    InputError
        There is no such column, or the names are more than two or equal.
    """
    if given in names:
        return [given]
    sides = [name.strip() for name in given.split(",")]
    missing = [name for name in sides if name not in names]
    if missing or len(sides) > 2 or len(set(sides)) < len(sides):
        problem = "the same column twice" if len(sides) <= 2 else "more than two columns"
        problem = f"no column {missing[0]!r}" if missing else problem
        raise InputError(
            f"{where}: {option} {given}: {problem}; name one, or one for each side with a "
            f"comma between. The columns are {show(names)}"
        )
    return sides
