"""Files to ``Embeddings``: Parquet files and folders, ``.npy`` with a labels file, ``.npz``.

Nothing is ever unpickled, and a ``.npy`` is mapped into memory rather than read.
"""

import csv
import hashlib
import zipfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opis_cli import arrow, embeddings, parquet, remote
from opis_cli.embeddings import Sample
from opis_cli.errors import InputError
from opis_cli.parquet import LABEL_NAMES, check_file, choose, reading, show
from opis_cli.records import Embeddings, Floats, Ints, Source

Raw = tuple[Floats, arrow.Bools, list[arrow.Array]]  # vectors, null rows, labels if there are any


def read(
    path: str | Path,
    *,
    embedding_column: str | None = None,
    label_column: str | None = None,
    labels: str | Path | None = None,
    metric: str = "cosine",
    on_bad_rows: str = "error",
    max_pairs: int | None = None,
    seed: int = 0,
) -> Embeddings:
    """Read embeddings and labels, and check them.

    Parameters
    ----------
    path : path
        A ``.parquet`` file, a folder of such parts, a ``.npy`` of shape (rows, dims), or a
        ``.npz`` with the arrays ``embeddings`` and ``labels``; also at an ``s3://`` or ``gs://``
        address.
    embedding_column : str, optional
        Column of lists, or a pattern such as ``emb_*`` of columns of numbers; in a ``.npz`` the
        name of an array. A usual name is found by itself.
    label_column : str, optional
        Likewise; with ``labels``, a column of that file.
    labels : path, optional
        A file of labels, one for each row: ``.npy``, ``.parquet``, ``.csv``, ``.tsv`` or text.
        It has precedence over labels in ``path``.
    metric : {"cosine", "euclidean"}
    on_bad_rows : {"error", "drop"}
        What to do about rows that are null, not finite, or zero under cosine.
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
    with remote.fetched(path) as file, ExitStack() as stack:
        labels_file = None if labels is None else stack.enter_context(remote.fetched(labels))
        found = _read(
            file,
            labels_file,
            embedding_column=embedding_column,
            label_column=label_column,
            metric=metric,
            on_bad_rows=on_bad_rows,
            max_pairs=max_pairs,
            seed=seed,
        )
    return replace(found, source=replace(found.source, path=str(path)))


def _read(
    path: Path,
    labels_path: Path | None,
    *,
    embedding_column: str | None,
    label_column: str | None,
    metric: str,
    on_bad_rows: str,
    max_pairs: int | None,
    seed: int,
) -> Embeddings:
    """``read`` for files on disk."""
    check_file(path)
    if labels_path is not None:  # before the vectors, which may take minutes
        check_file(labels_path)
    where = str(path if labels_path is None else labels_path)
    sample = None
    if max_pairs is not None:
        # Labels first, so that only some vectors need be read.
        sample = Sample.of(
            _labels_alone(path, labels_path, embedding_column, label_column, where),
            where,
            max_pairs,
            seed,
        )
    vectors, nulls, chunks = _read_source(
        path,
        embedding_column,
        label_column,
        with_labels=labels_path is None and sample is None,
        rows=None if sample is None else sample.rows,
    )
    if sample is not None:
        labels, digest = sample.labels, embeddings.sha256_of_rows(vectors, sample.labels)
    else:
        if labels_path is not None:
            chunks = _read_labels(labels_path, label_column, len(vectors))
        labels, digest = arrow.join_labels(chunks, where), sha256_of(path)
    labels_sha256 = None if labels_path is None else sha256_of(labels_path)
    return embeddings.clean(
        vectors,
        nulls,
        labels,
        Source(str(path), digest, labels_sha256),
        labels_path=where,
        metric=metric,
        on_bad_rows=on_bad_rows,
        sample=sample,
    )


def _labels_alone(
    path: Path,
    labels_path: Path | None,
    embedding_column: str | None,
    label_column: str | None,
    where: str,
) -> arrow.Array:
    """All labels, without the vectors."""
    if _is_parquet(path):
        count = parquet.count_rows(path)
    else:
        # A .npy is only mapped; a .npz has to be read.
        count = len(_read_source(path, embedding_column, None, with_labels=False)[0])
    if labels_path is not None:
        chunks = _read_labels(labels_path, label_column, count)
    elif _is_parquet(path):
        chunks = parquet.read_parquet_labels(path, label_column)
    else:
        chunks = _read_source(path, embedding_column, label_column, with_labels=True)[2]
    labels = arrow.join_labels(chunks, where)
    embeddings.check_lengths(len(labels), count, where)
    return labels


def _is_parquet(path: Path) -> bool:
    return path.is_dir() or path.suffix.lower() == ".parquet"


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
            path, embedding_column, label_column, with_labels=with_labels, rows=rows
        )
    labels: list[arrow.Array] = []
    if suffix == ".npy":
        if with_labels:
            raise InputError(f"{path}: a .npy file has no labels; give --labels FILE")
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
    vectors = embeddings.as_matrix(array, str(path))
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


def sha256_of(path: Path) -> str:
    """Digest of a file, or of a folder's Parquet parts in the order of their names."""
    digest = hashlib.sha256()
    for part in parquet.parquet_files(path):
        with reading(part, "file"), part.open("rb") as file:
            hashlib.file_digest(file, lambda: digest)
    return digest.hexdigest()
