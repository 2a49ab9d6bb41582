"""Decide a table of pairs by a threshold: the table again, with a column of decisions.

The pairs have scores, distances or two vectors. They are read, decided and written a batch at a
time, so that memory does not grow with their number.
"""

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from opis_cli.counting.scored_files import raw_batches, rows_of, schema_of
from opis_cli.counting.scored_values import numbers
from opis_cli.counting.single_pairs import usable
from opis_cli.deciding.columns import Columns, find_columns
from opis_cli.embeddings import arrow
from opis_cli.embeddings.columns import check_file
from opis_cli.embeddings.folders import part_files
from opis_cli.embeddings.sources import Given, all_fetched
from opis_cli.embeddings.texts import as_texts
from opis_cli.errors import InputError, SettingsError
from opis_cli.files import replacing
from opis_cli.report.curves_table import check_table
from opis_cli.settings import MissingScore
from opis_cli.threshold import Threshold

Doubles = NDArray[np.float64]
Progress = Callable[[int, int], None]
"""A function that is called with ``(pairs decided, pairs in all)``."""

_SCORE_ROWS, _VECTOR_ROWS = 1 << 17, 1 << 13
"""Pairs that are read at a time, with scores and with vectors."""


@dataclass(frozen=True, slots=True)
class Decided:
    """What was decided.

    Attributes
    ----------
    pairs : int
        Number of pairs in the table.
    accept, review, refuse : int
        Number of pairs with each decision.
    without_score : int
        Number of pairs without a score or a usable vector. They are refused or left out.
    columns : tuple[str, ...]
        Columns of scores or vectors.
    scale : str
        Scale of the scores.
    limit : float
        The one threshold on this scale.
    group_columns : tuple[str, ...]
        Columns of groups, whose thresholds decided in place of the one. Empty without groups.
    """

    pairs: int
    accept: int
    review: int
    refuse: int
    without_score: int
    columns: tuple[str, ...]
    scale: str
    limit: float
    group_columns: tuple[str, ...]


def decide_table(
    rule: Threshold,
    source: Given,
    target: Path,
    *,
    score_column: str | None = None,
    embedding_column: str | None = None,
    scale: str | None = None,
    group_column: str | None = None,
    missing_score: MissingScore = "error",
    progress: Progress = lambda done, total: None,
) -> Decided:
    """Decide the pairs of a table, and write the table with the decisions.

    Parameters
    ----------
    rule : Threshold
    source : path, or sequence of paths
        Parquet, CSV or TSV, a folder of Parquet parts, a pattern of such files, or an address.
    target : Path
        The table to write: the columns of the source, ``decision``, and ``llr`` if the threshold
        has a map to log-likelihood ratios. Its suffix is ``.parquet`` or ``.csv``.
    score_column : str, optional
        Column of scores or distances.
    embedding_column : str, optional
        Two columns of vectors, with a comma between. Without either, columns of the usual names
        are used.
    scale : str, optional
        Scale of the scores. By default the name of the column or the kind of the threshold tells.
    group_column : str, optional
        Column of the groups of pairs, or two with a comma between, one for each side. Then the
        thresholds by group decide.
    missing_score : {"error", "reject", "drop"}
        What to do with pairs without a score or a usable vector: refuse them, or leave them out.
    progress : callable

    Raises
    ------
    InputError
        A file is unreadable, a column is missing or of another type, or a pair has no score.
    RunError
        The table cannot be written.
    SettingsError
        The scale is unknown or not told.
    """
    if missing_score not in get_args(MissingScore):
        words = " or ".join(get_args(MissingScore))
        raise SettingsError(f"--missing-score {missing_score!r}: it must be {words}")
    check_table(target, "--output")
    counts = dict.fromkeys(("accept", "review", "refuse"), 0)
    pairs = without_score = 0
    with all_fetched(source) as paths:
        files = [part.path for path in paths for part in part_files(path)]
        for file in files:
            check_file(file)
        schema = schema_of(files[0])
        columns = find_columns(
            schema.names, rule, files[0], score_column, embedding_column, scale, group_column
        )
        total = sum(map(rows_of, files))
        with _table(target, schema, rule.rule.llr is not None) as write:
            for raw, file, row in _batches(files, schema, columns):
                scores = _scores(rule, raw, columns, file, row)
                missing = np.isnan(scores)
                if missing.any() and missing_score == "error":
                    raise _no_score(file, row + int(np.argmax(missing)), columns)
                found = np.full(len(scores), "refuse")
                found[~missing] = rule.decide_scores(
                    scores[~missing], columns.scale, groups=_groups(raw, columns, file, ~missing)
                )
                kept = ~missing if missing_score == "drop" else np.ones(len(scores), np.bool_)
                write(raw, found, _llrs(rule, scores, columns.scale), kept)
                for word in counts:
                    counts[word] += int(np.count_nonzero(found[kept] == word))
                pairs, without_score = pairs + len(raw), without_score + int(missing.sum())
                progress(pairs, max(pairs, total))
    return Decided(
        pairs=pairs,
        **counts,
        without_score=without_score,
        columns=columns.names,
        scale=columns.scale,
        limit=rule.limits[columns.scale],
        group_columns=columns.groups,
    )


def _batches(
    files: Sequence[Path], schema: Any, columns: Columns
) -> Iterator[tuple[Any, Path, int]]:
    """Yield record batches of all columns, each with its file and the number of its first row."""
    rows = _SCORE_ROWS if len(columns.names) == 1 else _VECTOR_ROWS
    for file in files:
        row = 0
        for raw in raw_batches(file, schema.names, rows):
            if raw.schema != schema:
                raw = _as_first(raw, schema, file, files[0])
            yield raw, file, row
            row += len(raw)


def _as_first(raw: Any, schema: Any, file: Path, first: Path) -> Any:
    """Return a batch with the types of the columns of the first file."""
    import pyarrow as pa

    try:
        return raw.cast(schema)
    except (pa.ArrowException, ValueError) as error:
        raise InputError(
            f"{file}: its columns are not of the types of those of {first} "
            f"({str(error).partition(chr(10))[0]}); decide each by itself"
        ) from None


def _scores(rule: Threshold, raw: Any, columns: Columns, file: Path, row: int) -> Doubles:
    """Return the number of each pair of a batch, NaN where it has none, shape (n,)."""
    arrays = [_column(raw, name) for name in columns.names]
    if len(arrays) == 1:
        return numbers(arrays[0], file, columns.names[0], row)
    found = np.full(len(raw), np.nan)
    left, right = (
        _vectors(array, f"{file}, column {name!r}", row)
        for array, name in zip(arrays, columns.names, strict=True)
    )
    good = np.logical_and(
        *(usable(vectors, rule.rule.metric) & ~nulls for vectors, nulls in (left, right))
    )
    if good.any():
        found[good] = rule.compare(left[0][good], right[0][good])
    return found


def _groups(
    raw: Any, columns: Columns, file: Path, kept: NDArray[np.bool_]
) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Return the group of each side of some pairs of a batch; None without groups."""
    labels = (
        arrow.join_labels([_column(raw, name)], f"{file}, column {name!r}")
        for name in columns.groups
    )
    names = [np.array(one.to_pylist(), object)[kept] for one in labels]
    return (names[0], names[-1]) if names else None


def _column(raw: Any, name: str) -> Any:
    return raw.column(raw.schema.get_field_index(name))


def _vectors(array: Any, where: str, row: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return a column of vectors as a matrix, and which of its rows are null."""
    dtype = arrow.vector_dtype(array.type)
    if arrow.is_text(array.type):
        dtype, block = (
            arrow.TEXT_DTYPE,
            arrow.text_block(array, range(row, row + len(array)), where),
        )
    elif dtype is None:
        raise InputError(f"{where}: of type {str(array.type)!r}; wanted lists of numbers")
    else:
        block = arrow.list_block(array, where)
    return arrow.stack([block], len(array), dtype)


def _no_score(file: Path, row: int, columns: Columns) -> InputError:
    """Return the error about the first pair without a score."""
    vectors = len(columns.names) == 2
    what = "no usable vector in columns" if vectors else "no score in column"
    return InputError(
        f"{file}: row {row} (counted from 0) has {what} {' and '.join(map(repr, columns.names))}; "
        "mend it, refuse such pairs with --missing-score=reject, or leave them out with "
        "--missing-score=drop"
    )


def _llrs(rule: Threshold, scores: Doubles, scale: str) -> Doubles | None:
    """Return the log-likelihood ratios, NaN for pairs without a score, if there is a map."""
    if rule.rule.llr is None:
        return None
    found = np.full(len(scores), np.nan)
    known = ~np.isnan(scores)
    found[known] = rule.llr(scores[known], scale)
    return found


@contextmanager
def _table(target: Path, schema: Any, with_llr: bool) -> Iterator[Callable[..., None]]:
    """Yield a function that writes a batch with its decisions. The table appears at the end."""
    import pyarrow as pa

    added = [pa.field("decision", pa.string()), *[pa.field("llr", pa.float64())] * with_llr]
    for one in added:
        if one.name in schema.names:
            raise InputError(
                f"the table has a column {one.name!r} already, and the decisions are written under "
                "that name; rename it"
            )
        schema = schema.append(one)
    opened = _opened_csv if target.suffix.lower() == ".csv" else _opened_parquet
    with replacing(target) as scratch, opened(scratch, schema) as write_batch:

        def write(
            raw: Any, decisions: NDArray[np.str_], llrs: Doubles | None, kept: NDArray[np.bool_]
        ) -> None:
            more = [pa.array(decisions.tolist(), pa.string())]
            if llrs is not None:
                more.append(pa.array(llrs, from_pandas=True))
            batch = pa.record_batch([*raw.columns, *more], schema=schema)
            write_batch(batch.filter(pa.array(kept)))

        yield write


@contextmanager
def _opened_parquet(scratch: Path, schema: Any) -> Iterator[Callable[[Any], None]]:
    """Yield a function that writes a record batch."""
    import pyarrow.parquet as pq

    with pq.ParquetWriter(scratch, schema) as writer:
        yield writer.write_batch


@contextmanager
def _opened_csv(scratch: Path, schema: Any) -> Iterator[Callable[[Any], None]]:
    """Yield a function that writes a record batch, with quotes only where text needs them."""
    with scratch.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(schema.names)

        def write(batch: Any) -> None:
            columns = [as_texts(column).to_pylist() for column in batch.columns]
            writer.writerows(zip(*columns, strict=True))

        yield write
