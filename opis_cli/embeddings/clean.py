"""Turn raw vectors and labels into clean ``Embeddings``. All checks of rows are here.

The code behind it can rely on three things: vectors are finite numbers of one length, every row has
a label, and (unless ``Reading.paired`` is False) there are genuine and impostor pairs.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opis_cli.embeddings import arrow, bits
from opis_cli.embeddings.columns import check_lengths
from opis_cli.embeddings.ignored import alone, rows_with
from opis_cli.embeddings.sampling import Allowance, Drawing, Sample
from opis_cli.errors import InputError
from opis_cli.records import Column, Embeddings, InputWarning, Ints, Numbers, Source
from opis_cli.settings import Settings
from opis_cli.text import first_of

ARRAYS = "<arrays>"
"""Path of the source, if embeddings come from arrays in memory."""
CHUNK_BYTES = 16 << 20
"""Bytes of vectors that are checked or hashed at a time."""
ROWS_SHOWN = 5
"""Most row numbers that an error message lists for each kind of bad row."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What to read of rows, and which of them are bad.

    Attributes
    ----------
    embedding_column : str, optional
        Name of a column of lists, or a pattern such as ``emb_*`` for several columns of numbers. In
        a ``.npz`` it is the name of an array. Without it, a column of a usual name is used.
    label_column : str, optional
        Name of the label column. If labels have a file of their own, it is a column of that file.
        Without it, a column of a usual name is used.
    columns : mapping of names to bool
        Further columns to read from the files of the labels. The value says whether a row without a
        value in this column is bad.
    optional_columns : sequence of str
        Further columns, which are read if they are there. A row may lack a value in them.
    show_columns : sequence of str
        Columns to read from these files as text, whatever their type, to show them.
    metric : {"cosine", "euclidean", "hamming"}
        Under cosine a vector of zeros is a bad row. Under Hamming vectors are bits.
    on_bad_rows : {"error", "drop"}
        What to do about rows that are null, not finite, or zero under cosine.
    paired : bool
        Whether the rows must make genuine and impostor pairs among themselves.
    labelled : bool
        Whether there must be labels. Else rows without a label column get a class each.
    ignored_label : str, optional
        Label of rows that belong to no class, as text.
    kept_as_impostors : bool
        Whether these rows stay, each with a label of its own. Else they are left out.
    max_pairs, seed : int, optional
        If ``max_pairs`` is given, keep only classes that are drawn at random and make at most so
        many pairs. With tenants, whole tenants are drawn.
    within : str, optional
        Column of tenants, one of ``columns``.
    gallery : Embeddings, optional
        The gallery that these rows are searched in.
    allowance : Allowance, optional
        The time that there is. Keep only as many classes as there is time for.
    memory_limit : int, optional
        Bytes that the process may hold. Vectors of files that need more are not read.
    """

    embedding_column: str | None = None
    label_column: str | None = None
    columns: Mapping[str, bool] = field(default_factory=dict)
    optional_columns: Sequence[str] = ()
    show_columns: Sequence[str] = ()
    metric: str = "cosine"
    on_bad_rows: str = "error"
    paired: bool = True
    labelled: bool = True
    ignored_label: str | None = None
    kept_as_impostors: bool = False
    max_pairs: int | None = None
    seed: int = 0
    within: str | None = None
    gallery: Embeddings | None = None
    allowance: Allowance | None = None
    memory_limit: int | None = None

    @property
    def drawing(self) -> Drawing:
        """What to draw a sample by."""
        return Drawing(
            self.max_pairs,
            self.seed,
            self.ignored_label,
            self.within,
            self.gallery,
            self.allowance,
        )

    @classmethod
    def of(cls, settings: Settings, *, gallery: bool = False) -> "Reading":
        """Collect what the settings ask for, of the queries or of the gallery."""
        return cls(
            embedding_column=settings.embedding_column,
            label_column=settings.label_column,
            columns=settings.gallery_columns if gallery else settings.columns,
            optional_columns=settings.optional_gallery_columns if gallery else (),
            metric=settings.metric,
            on_bad_rows=settings.on_bad_rows,
            paired=settings.gallery is None,
            ignored_label=settings.ignored_label[0],
            kept_as_impostors=settings.ignored_label[1],
            max_pairs=None if gallery else settings.max_pairs,
            seed=settings.seed,
            within=settings.within_column,
            memory_limit=settings.memory_limit_bytes,
        )


def from_arrays(
    vectors: Any,
    labels: Any,
    asked: Reading = Reading(),
    *,
    columns: Mapping[str, Any] | None = None,
) -> Embeddings:
    """Make clean embeddings from array-likes: NumPy arrays, lists, pandas Series.

    Parameters
    ----------
    vectors : array-like of shape (N, D), or N rows of D numbers each
        Floats of 16, 32 or 64 bits and integers of 8 bits keep their type. Other integers become
        floats.
    labels : array-like of shape (N,)
        Integers or text. None and NaN are missing labels.
    asked : Reading
        What to keep of the rows and columns.
    columns : mapping of names to array-likes of shape (N,), optional
        Further columns, of integers or text. ``asked`` names those to keep.

    Raises
    ------
    InputError
        See ``clean``; or the values are not vectors or not labels.
    """
    matrix, nulls = _matrix(vectors)
    plain = arrow.join_labels(arrow.label_chunks(labels, ARRAYS), ARRAYS)
    check_lengths(len(plain), len(matrix), ARRAYS)
    others, given = {}, columns or {}
    for name in (*asked.columns, *(name for name in asked.optional_columns if name in given)):
        if name not in given:
            raise InputError(f"{ARRAYS}: no column {name!r}; give it: columns={{{name!r}: values}}")
        where = f"{ARRAYS}, column {name!r}"
        others[name] = arrow.join_labels(arrow.label_chunks(given[name], where), where)
        check_lengths(len(others[name]), len(matrix), where, "values")
    wide = matrix.shape[1], matrix.itemsize
    sample = Sample.of(plain, ARRAYS, asked.drawing, others, lambda: wide)
    if sample is not None:
        matrix, nulls, plain = matrix[sample.rows], nulls[sample.rows], sample.labels
        others = {name: values.take(sample.rows) for name, values in others.items()}
    source = Source(ARRAYS, sha256_of_rows(matrix, plain, *others.values()))
    return clean(matrix, nulls, plain, source, asked, columns=others, sample=sample)


def as_matrix(values: NDArray[Any], where: str) -> Numbers:
    """Return a matrix of a type that is kept: the array itself, or a converted copy.

    Raises
    ------
    InputError
        The array is not two-dimensional, or does not hold numbers.
    """
    dtype = arrow.kept_dtype(values.dtype)
    if dtype is None:
        raise InputError(
            f"{where}: the vectors are of type {str(values.dtype)!r}; wanted floats of 16, 32 or "
            "64 bits, integers or booleans"
        )
    if values.ndim != 2:
        raise InputError(
            f"{where}: the vectors have the shape {values.shape}; wanted two dimensions, "
            "(rows, dims)"
        )
    return values.astype(dtype, copy=False)


def clean(
    vectors: Numbers,
    nulls: arrow.Bools,
    labels: arrow.Array,
    source: Source,
    asked: Reading,
    *,
    labels_path: str | None = None,
    columns: Mapping[str, arrow.Array] | None = None,
    sample: Sample | None = None,
) -> Embeddings:
    """Check rows, leave bad ones out if asked to, and index the classes.

    Parameters
    ----------
    vectors : ndarray of shape (N, D), of a type that ``arrow.kept_dtype`` returns
        The array (which may be a memory map) is not copied unless rows are left out.
    nulls : ndarray of shape (N,), bool
        Rows without a vector.
    labels : Arrow array of ``arrow.join_labels``, length N
    source : Source
    asked : Reading
    labels_path : str, optional
        The separate file that the labels come from, for error messages.
    columns : mapping of names to Arrow arrays of ``arrow.join_labels``, length N, optional
    sample : Sample, optional
        The sample that these rows are, if they are not all rows of the source.

    Raises
    ------
    InputError
        Lengths differ, vectors have no dimensions, there are bad rows and they are not to be
        dropped, no genuine or no impostor pair is left, or the metric is Hamming and a number is no
        bit.
    """
    count, dim = vectors.shape
    check_lengths(len(labels), count, labels_path or source.path)
    if dim == 0 and not nulls.all():
        raise InputError(f"{source.path}: the vectors have no dimensions; wanted at least one")
    where = labels_path or source.path
    ignored = rows_with(labels, asked.ignored_label)
    if asked.kept_as_impostors and ignored.any():
        labels = alone(labels, ignored)
    codes, names = arrow.encode_labels(labels, where)
    others = _columns(columns or {}, count, where)
    kinds = _bad_rows(vectors, nulls, codes, asked.metric)
    for name in others:
        if asked.columns.get(name):
            kinds[f"nulls in column {name!r}"] = np.flatnonzero(others[name].codes < 0)
    numbers = np.arange(count) if sample is None else sample.rows
    left_out = ignored & (not asked.kept_as_impostors)
    kinds = {kind: rows[~left_out[rows]] for kind, rows in kinds.items()}
    bad = np.unique(np.concatenate(list(kinds.values())))
    if bad.size and asked.on_bad_rows != "drop":
        named = {kind: numbers[rows] for kind, rows in kinds.items()}
        raise InputError(_describe(named, bad.size, source.path))
    left_out[bad] = True
    if left_out.any():
        rows = np.flatnonzero(~left_out)
        vectors, codes, numbers = vectors[rows], codes[rows], numbers[rows]
        others = {
            name: replace(column, codes=column.codes[rows]) for name, column in others.items()
        }
    sizes = np.bincount(codes, minlength=len(names))
    if asked.paired:
        _check_pairs(sizes, names, bad.size, source.path)
    used = sizes > 0
    # Classes that lost all their rows are removed, so the later classes get lower numbers.
    codes = (np.cumsum(used) - 1)[codes]
    bits_of_vector, bits_of_number = None, None
    doubts: tuple[InputWarning, ...] = ()
    if asked.metric == "hamming":
        vectors, bits_of_vector, bits_of_number = bits.packed(vectors, numbers, source.path)
    elif bits.look_packed(vectors, codes):
        doubts = (_packed_bits(vectors, asked.metric),)
    return Embeddings(
        vectors,
        codes,
        names[used],
        numbers,
        bad.size,
        source,
        columns=others,
        ignored_rows=int(np.count_nonzero(ignored)),
        sampled_from=None if sample is None else sample.source,
        bits=bits_of_vector,
        bits_of_number=bits_of_number,
        warnings=doubts,
    )


def _packed_bits(vectors: Numbers, metric: str) -> InputWarning:
    """Make the warning about vectors of bytes that look like packed bits."""
    dim = vectors.shape[1]
    text = (
        f"The {dim:,} bytes of a vector look like {8 * dim:,} packed bits, and not like numbers: "
        f"all eight bits of a byte say equally much about the class. The {metric} distance of "
        "packed bits has no meaning: give --metric hamming."
    )
    return InputWarning("packed_bits", text)


def _columns(columns: Mapping[str, arrow.Array], count: int, where: str) -> dict[str, Column]:
    for name, values in columns.items():
        check_lengths(len(values), count, f"{where}, column {name!r}", "values")
    return {
        name: arrow.column_of(values, f"{where}, column {name!r}")
        for name, values in columns.items()
    }


def _matrix(values: Any) -> tuple[Numbers, arrow.Bools]:
    """Return the vectors of any array-like, and which rows are null."""
    try:
        array = np.asarray(values)
    except ValueError:  # rows have unequal lengths, or there is a null row among vectors
        return _from_rows(list(values))
    if array.dtype == object and array.ndim:
        return _from_rows(list(array))
    matrix = as_matrix(array, ARRAYS)
    return matrix, np.zeros(len(matrix), np.bool_)


def _from_rows(values: list[Any]) -> tuple[Numbers, arrow.Bools]:
    """Return the vectors of a list of rows, and which rows are null.

    A row is an array-like of numbers, or missing.
    """
    import pyarrow as pa

    try:
        array = pa.array(values, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{ARRAYS}: the vectors are not rows of numbers ({error})") from None
    dtype = arrow.vector_dtype(array.type)
    if dtype is None:
        raise InputError(
            f"{ARRAYS}: the vectors are of type {str(array.type)!r}; wanted rows of numbers"
        )
    return arrow.stack([arrow.list_block(array, ARRAYS)], len(array), dtype)


def _chunks(vectors: Numbers) -> Iterator[Numbers]:
    """Yield consecutive rows, about 16 MB at a time."""
    step = max(1, CHUNK_BYTES // max(1, vectors.shape[1] * vectors.itemsize))
    for start in range(0, len(vectors), step):
        yield vectors[start : start + step]


def sha256_of_rows(vectors: Numbers, *columns: arrow.Array) -> str:
    """Return the SHA-256 of the bytes of the vectors, row by row, and then of the columns.

    A null counts as 0 or ``""``.
    """
    digest = hashlib.sha256()
    for chunk in _chunks(vectors):
        digest.update(np.ascontiguousarray(chunk).tobytes())
    for column in columns:
        if str(column.type) == "int64":
            digest.update(column.fill_null(0).to_numpy().tobytes())
        else:
            digest.update("\n".join(column.fill_null("").to_pylist()).encode())
    return digest.hexdigest()


def _bad_rows(vectors: Numbers, nulls: arrow.Bools, codes: Ints, metric: str) -> dict[str, Ints]:
    """Return the row numbers of each kind of bad row."""
    # The largest magnitude of a row is enough: it is NaN or infinite if any number is, and 0 if
    # all numbers are 0. Unlike a norm it neither overflows nor underflows. In 8 bits -128 has no
    # magnitude, so the least number becomes a float before it changes its sign.
    peaks = [
        np.maximum(chunk.max(axis=1, initial=0), -chunk.min(axis=1, initial=0).astype(np.float64))
        for chunk in _chunks(vectors)
    ]
    peak = np.concatenate(peaks) if peaks else np.zeros(0)
    kinds: dict[str, Ints] = {
        "null vectors": np.flatnonzero(nulls),
        "null labels": np.flatnonzero(codes < 0),
        "vectors with NaN or infinity": np.flatnonzero(~nulls & ~np.isfinite(peak)),
    }
    if metric == "cosine":
        kinds["vectors of norm zero"] = np.flatnonzero(~nulls & (peak == 0))
    return kinds


def _describe(kinds: dict[str, Ints], total: int, where: str) -> str:
    """Return the error message about all bad rows."""
    parts = []
    for kind, rows in kinds.items():
        if rows.size:
            numbers = first_of(rows[:ROWS_SHOWN].tolist(), rows.size)
            parts.append(f"{kind}: {rows.size} ({_plural('row', rows.size)} {numbers})")
    return (
        f"{where}: {total} bad {_plural('row', total)} (numbered from 0). {'; '.join(parts)}. "
        "Mend them, or leave them out with --on-bad-rows=drop"
    )


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"


def _check_pairs(sizes: Ints, names: NDArray[Any], dropped: int, where: str) -> None:
    """Raise an ``InputError`` if the rows make no genuine or no impostor pair."""
    count, classes = int(sizes.sum()), np.count_nonzero(sizes)
    found = ""
    if count < 2:
        found = "one row" if count else "no rows"
    elif classes == 1:
        found = f"one class only, {names[sizes > 0].tolist()[0]!r}, in all {count} rows"
    elif sizes.max() == 1:
        found = f"{classes} classes of a single row each"
    if found:
        after = f", {dropped} bad {_plural('row', dropped)} left out" if dropped else ""
        raise InputError(
            f"{where}: {found}{after}; needed are two classes or more, one of them with at least "
            "two rows. Check the label column"
        )
