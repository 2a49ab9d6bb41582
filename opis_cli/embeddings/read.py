"""Files to ``Embeddings``: Parquet files and folders, ``.npy`` with a labels file, ``.npz``.

Nothing is ever unpickled, and a ``.npy`` is mapped into memory rather than read.
"""

import csv
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opis_cli.embeddings import arrow, parquet
from opis_cli.embeddings.clean import Sample, as_matrix, check_lengths, clean, sha256_of_rows
from opis_cli.embeddings.gallery import with_gallery
from opis_cli.embeddings.parquet import LABEL_NAMES, check_file, choose, digest_of, reading, show
from opis_cli.embeddings.sources import Given, all_fetched, fetched, parts_of
from opis_cli.errors import InputError
from opis_cli.records import Embeddings, Floats, Ints, Source
from opis_cli.settings import Settings

Raw = tuple[Floats, arrow.Bools, list[arrow.Array]]  # vectors, null rows, labels if there are any


def read_as(path: Given, settings: Settings) -> Embeddings:
    """Read embeddings as settings say, with the gallery that they are searched in, if any.

    Raises
    ------
    InputError
        As ``read`` does, and where queries and gallery do not fit together.
    """

    def part(source: Given, labels: str | None, columns: Mapping[str, bool]) -> Embeddings:
        return read(
            source,
            embedding_column=settings.embedding_column,
            label_column=settings.label_column,
            labels=labels,
            columns=columns,
            metric=settings.metric,
            on_bad_rows=settings.on_bad_rows,
            paired=settings.gallery is None,
            max_pairs=settings.max_pairs,
            seed=settings.seed,
        )

    queries = part(path, settings.labels, settings.columns)
    if settings.gallery is None:
        return queries
    gallery = part(settings.gallery, settings.gallery_labels, settings.gallery_columns)
    return with_gallery(queries, gallery)


def read(
    path: Given,
    *,
    embedding_column: str | None = None,
    label_column: str | None = None,
    labels: str | Path | None = None,
    columns: Mapping[str, bool] | None = None,
    metric: str = "cosine",
    on_bad_rows: str = "error",
    paired: bool = True,
    max_pairs: int | None = None,
    seed: int = 0,
) -> Embeddings:
    """Read embeddings and labels, and check them.

    Parameters
    ----------
    path : path, or sequence of paths
        A ``.parquet`` file, a folder of such parts, a ``.npy`` of shape (rows, dims), or a
        ``.npz`` with the arrays ``embeddings`` and ``labels``; also at an ``s3://`` or ``gs://``
        address; or a pattern of such shards (``part-*.npy``), taken in the order of the numbers in
        their names.
    embedding_column : str, optional
        Column of lists, or a pattern such as ``emb_*`` of columns of numbers; in a ``.npz`` the
        name of an array. A usual name is found by itself.
    label_column : str, optional
        Likewise; with ``labels``, a column of that file.
    labels : path, optional
        A file of labels, one for each row: ``.npy``, ``.parquet``, ``.csv``, ``.tsv`` or text; or
        a pattern of such files. It has precedence over labels in ``path``.
    columns : mapping of names to bool, optional
        Further columns to read, from where the labels are, and whether a row that has no value
        there is bad.
    metric : {"cosine", "euclidean"}
    on_bad_rows : {"error", "drop"}
        What to do about rows that are null, not finite, or zero under cosine.
    paired : bool
        Whether the rows must make pairs among themselves.
    max_pairs, seed : int, optional
        Read only classes drawn at random that make at most so many pairs.

    Returns
    -------
    Embeddings
        In the order of the source.

    Raises
    ------
    InputError
        A file is unreadable, a column is not found or not of a usable type, lengths differ,
        there are bad rows that are not to be dropped, or the rows make no pairs.
    """
    with all_fetched(path) as files, ExitStack() as stack:
        labels_files = [] if labels is None else stack.enter_context(fetched(labels))
        for file in [*files, *labels_files]:  # before the vectors, which may take minutes
            check_file(file)
        # Labels and columns come from one place.
        places = labels_files or files
        where, sample, sizes = _named(places), None, None
        if max_pairs is not None:
            # Labels first, so that only some vectors need be read.
            sizes = _sizes(files, embedding_column)
            alone = _labels_alone(files, labels_files, sizes, embedding_column, label_column)
            sample = Sample.of(arrow.join_labels(alone, where), where, max_pairs, seed)
        vectors, nulls, chunks, sizes = _read_sources(
            files,
            embedding_column,
            label_column,
            with_labels=not labels_files and sample is None,
            sizes=sizes,
            sample=sample,
        )
        total = len(vectors) if sample is None else sample.source_rows
        sizes = _sizes_in(places, sizes, total)
        others = _columns(places, sizes, columns or {}, where)
        if sample is None:
            for file, size in zip(labels_files, sizes, strict=False):
                chunks += _read_labels(file, label_column, size)
            plain, digest = arrow.join_labels(chunks, where), digest_of(files)
        else:
            others = {
                name: _some(values, sample, f"{where}, column {name!r}")
                for name, values in others.items()
            }
            plain = sample.labels
            digest = sha256_of_rows(vectors, plain, *others.values())
        found = clean(
            vectors,
            nulls,
            plain,
            Source(_named(files), digest, digest_of(labels_files) if labels_files else None),
            labels_path=where,
            columns=others,
            needed=columns,
            metric=metric,
            on_bad_rows=on_bad_rows,
            paired=paired,
            sample=sample,
        )
    parts = parts_of(path)
    source = replace(found.source, path=" ".join(parts), parts=parts if len(parts) > 1 else ())
    return replace(found, source=source)


def _named(paths: Sequence[Path]) -> str:
    """What to call files in an error."""
    return str(paths[0]) if len(paths) == 1 else f"{paths[0]} to {paths[-1]}"


def _sizes(paths: Sequence[Path], embedding_column: str | None) -> list[int]:
    """Rows of each file. A ``.npy`` is only mapped for that, a ``.npz`` has to be read."""
    return [
        parquet.count_rows(path)
        if _is_parquet(path)
        else len(_read_source(path, embedding_column, None, with_labels=False)[0])
        for path in paths
    ]


def _sizes_in(places: Sequence[Path], sizes: list[int], total: int) -> list[int]:
    """Rows of each file that has labels, where that is known, from those of files of vectors."""
    if len(places) == len(sizes):
        return sizes
    return [total] if len(places) == 1 else [-1] * len(places)


def _labels_alone(
    files: Sequence[Path],
    labels_files: Sequence[Path],
    sizes: list[int],
    embedding_column: str | None,
    label_column: str | None,
) -> list[arrow.Array]:
    """All labels, without the vectors."""
    chunks, total = [], sum(sizes)
    if labels_files:
        for file, size in zip(labels_files, _sizes_in(labels_files, sizes, total), strict=True):
            chunks += _read_labels(file, label_column, size)
        where = _named(labels_files)
    else:
        for file in files:
            if _is_parquet(file):
                chunks += parquet.read_parquet_labels(file, label_column)
            else:
                chunks += _read_source(file, embedding_column, label_column, with_labels=True)[2]
        where = _named(files)
    check_lengths(sum(map(len, chunks)), total, where)
    return chunks


def _is_parquet(path: Path) -> bool:
    return path.is_dir() or path.suffix.lower() == ".parquet"


def _some(values: arrow.Array, sample: Sample, where: str) -> arrow.Array:
    """Values of the rows of a sample."""
    check_lengths(len(values), sample.source_rows, where, "values")
    return values.take(sample.rows)


def _read_sources(
    paths: Sequence[Path],
    embedding_column: str | None,
    label_column: str | None,
    *,
    with_labels: bool,
    sizes: list[int] | None = None,
    sample: Sample | None = None,
) -> tuple[Floats, arrow.Bools, list[arrow.Array], list[int]]:
    """``_read_source`` of several files together, and how many rows each has, if known."""
    rows = None if sample is None else sample.rows
    if len(paths) > 1 and all(path.suffix.lower() == ".parquet" for path in paths):
        found = parquet.read_parquet(
            paths, embedding_column, label_column, with_labels=with_labels, rows=rows
        )
        return *found, sizes or [-1] * len(paths)
    starts = np.cumsum([0, *(sizes or [])])
    parts = [
        _read_source(
            path,
            embedding_column,
            label_column,
            with_labels=with_labels,
            rows=None if rows is None else _between(rows, starts[k], starts[k + 1]),
        )
        for k, path in enumerate(paths)
    ]
    sizes = sizes or [len(vectors) for vectors, _, _ in parts]
    if len(parts) == 1:
        return *parts[0], sizes
    dim = parts[0][0].shape[1]
    for path, (vectors, _, _) in zip(paths, parts, strict=True):
        if vectors.shape[1] != dim:
            raise InputError(
                f"{path}: vectors of {vectors.shape[1]} dimensions, those of {paths[0]} have "
                f"{dim}; shards must be of one model"
            )
    vectors = np.concatenate([vectors for vectors, _, _ in parts])
    nulls = np.concatenate([nulls for _, nulls, _ in parts])
    return vectors, nulls, [chunk for _, _, chunks in parts for chunk in chunks], sizes


def _between(rows: Ints, start: int, stop: int) -> Ints:
    """Those of rising row numbers from ``start`` to before ``stop``, counted from there."""
    first, last = np.searchsorted(rows, [start, stop])
    return rows[first:last] - start


def _columns(
    paths: Sequence[Path], sizes: Sequence[int], names: Iterable[str], where: str
) -> dict[str, arrow.Array]:
    """Further columns of files with that many rows each."""
    found = {}
    for name in names:
        chunks = [
            chunk
            for path, size in zip(paths, sizes, strict=True)
            for chunk in _read_column(path, name, size)
        ]
        found[name] = arrow.join_labels(chunks, f"{where}, column {name!r}")
    return found


def _read_column(path: Path, name: str, rows: int) -> list[arrow.Array]:
    """A further column of a file with that many rows."""
    import pyarrow as pa

    suffix = path.suffix.lower()
    if _is_parquet(path):
        return parquet.read_parquet_column(path, name)
    if suffix == ".npz":
        return arrow.label_chunks(_read_npz(path, [name])[0], str(path))
    if suffix in (".csv", ".tsv"):
        texts = _read_csv(path, name, rows, "," if suffix == ".csv" else "\t")
        return [pa.array([text or None for text in texts], pa.large_string())]
    raise InputError(
        f"{path}: a {suffix} file has no column {name!r}; columns are read from where the labels "
        "are: Parquet, CSV, TSV or .npz"
    )


def _read_source(
    path: Path,
    embedding_column: str | None,
    label_column: str | None,
    *,
    with_labels: bool,
    rows: Ints | None = None,
) -> Raw:
    """Vectors, null rows and, if wanted, labels of the embeddings file; or of some rows, rising."""
    suffix = path.suffix.lower()
    if _is_parquet(path):
        return parquet.read_parquet(
            [path], embedding_column, label_column, with_labels=with_labels, rows=rows
        )
    labels: list[arrow.Array] = []
    if suffix == ".npy":
        if with_labels:
            raise InputError(
                f"{path}: a .npy file has no labels; give --labels FILE, or --gallery-labels FILE "
                "for a gallery"
            )
        array = _map_npy(path)
    elif suffix == ".npz":
        names = [embedding_column or "embeddings"]
        names += [label_column or "labels"] if with_labels else []
        array, *others = _read_npz(path, names)
        labels = [chunk for other in others for chunk in arrow.label_chunks(other, str(path))]
    else:
        raise InputError(
            f"{path}: the suffix {suffix!r} is not known; embeddings are read from .parquet, .npy "
            "or .npz, or from a folder of .parquet files"
        )
    vectors = as_matrix(array, str(path))
    if rows is not None:
        vectors = vectors[rows]
    return vectors, np.zeros(len(vectors), np.bool_), labels


def _map_npy(path: Path) -> NDArray[Any]:
    # Unlike numpy.load this takes nothing but .npy for .npy, and has no way to unpickle.
    with reading(path, ".npy file of numbers or text"):
        return np.lib.format.open_memmap(path, mode="r")


def _read_npz(path: Path, names: list[str]) -> list[NDArray[Any]]:
    """Arrays of a ``.npz`` by name, without reading the others."""
    with reading(path, ".npz file of numbers or text"), zipfile.ZipFile(path) as archive:
        there = [name.removesuffix(".npy") for name in archive.namelist()]
        for name in names:
            if name not in there:
                raise InputError(
                    f"{path}: no array {name!r}; the arrays are {show(there)}. Save embeddings "
                    "and labels under these names, or give labels by --labels"
                )
        arrays = []
        for name in names:
            with archive.open(f"{name}.npy") as file:
                arrays.append(np.lib.format.read_array(file, allow_pickle=False))
        return arrays


def _read_labels(path: Path, column: str | None, rows: int) -> list[arrow.Array]:
    """Labels from a file of their own, for that many vectors."""
    import pyarrow as pa

    suffix = path.suffix.lower()
    if _is_parquet(path):
        return parquet.read_parquet_labels(path, column)
    if suffix == ".npy":
        return arrow.label_chunks(_map_npy(path), str(path))
    if suffix in (".csv", ".tsv"):
        texts = _read_csv(path, column, rows, "," if suffix == ".csv" else "\t")
    else:
        with reading(path, "UTF-8 text file"):
            texts = path.read_text(encoding="utf-8-sig").split("\n")
        if texts[-1] == "":  # what the last line's newline ends is no line more
            texts.pop()
    return [pa.array([text or None for text in texts], pa.large_string())]


def _read_csv(path: Path, column: str | None, rows: int, delimiter: str) -> list[str]:
    """Labels from a column of a CSV or TSV file, as they are written."""
    with (
        reading(path, "UTF-8 CSV file"),
        path.open(encoding="utf-8-sig", newline="") as file,
    ):
        lines = csv.reader(file, delimiter=delimiter, strict=True)
        first = next(lines, []) or [""]
        # A lone column without a usual name is all labels, but for a header if a line is left over.
        lone = column is None and len(first) == 1 and first[0] not in LABEL_NAMES
        index = 0 if lone else first.index(choose(first, column, LABEL_NAMES, "label", path))
        texts = [first[index]]
        for cells in lines:
            if cells and len(cells) != len(first):
                raise InputError(
                    f"{path}: line {lines.line_num} has {len(cells)} fields, the first line "
                    f"{len(first)}; quote fields that contain {delimiter!r}"
                )
            texts.append(cells[index] if cells else "")
    return texts[1:] if not lone or len(texts) == rows + 1 else texts
