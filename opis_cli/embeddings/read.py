"""Read files into ``Embeddings``. Labels are in the files of the vectors, or in separate files."""

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from opis_cli.embeddings import arrow
from opis_cli.embeddings.clean import Reading, clean, sha256_of_rows
from opis_cli.embeddings.columns import between, check_file, check_lengths
from opis_cli.embeddings.folders import digest_of, digesting
from opis_cli.embeddings.formats import shard_of_labels, shard_of_vectors
from opis_cli.embeddings.gallery import with_gallery
from opis_cli.embeddings.sampling import Allowance, Sample
from opis_cli.embeddings.shard import Shard
from opis_cli.embeddings.sources import Given, all_fetched, fetched, parts_of
from opis_cli.embeddings.tables import Tables, is_table
from opis_cli.embeddings.texts import join_texts
from opis_cli.errors import InputError, SettingsError
from opis_cli.machine import resident_memory
from opis_cli.records import Embeddings, Numbers, Source
from opis_cli.settings import Settings

_PREPARED_BYTES = 4
"""Bytes of a number of a vector, as engines multiply it: float32. Packed bits take eight times as
many, but before they are read nothing tells that they are packed."""


def read_as(
    path: Given,
    settings: Settings,
    show_columns: Sequence[str] = (),
    allowance: Allowance | None = None,
) -> Embeddings:
    """Read embeddings as the settings say, with the gallery if there is one.

    Parameters
    ----------
    path : path, or sequence of paths
    settings : Settings
    show_columns : sequence of str
        Further columns to read, as text. A row may lack a value in them.
    allowance : Allowance, optional
        The time that there is.

    Raises
    ------
    InputError
        See ``read``; or queries and gallery do not fit together.
    """
    asked = replace(Reading.of(settings), show_columns=show_columns, allowance=allowance)
    if settings.gallery is None:
        return read(path, asked, labels=settings.labels)
    of_gallery = replace(Reading.of(settings, gallery=True), show_columns=show_columns)
    # The gallery first: a sample of queries depends on its size.
    gallery = read(settings.gallery, of_gallery, labels=settings.gallery_labels)
    queries = read(path, replace(asked, gallery=gallery), labels=settings.labels)
    return with_gallery(queries, gallery)


def read(
    path: Given, asked: Reading = Reading(), *, labels: str | Path | None = None
) -> Embeddings:
    """Read embeddings and labels, and check them.

    Parameters
    ----------
    path : path, or sequence of paths
        A file with columns (``.parquet``, ``.arrow``, ``.feather``, ``.csv``, ``.tsv``), a folder
        of such parts, a ``.npy`` of shape (rows, dims), or a ``.npz``, ``.safetensors`` or ``.h5``
        with the arrays ``embeddings`` and ``labels``. It may also be at an address, such as
        ``s3://``. Or a pattern of such shards (``part-*.npy``), which are read in the order of the
        numbers in their names.
    asked : Reading
        What to read from the files.
    labels : path, optional
        A file of labels, one for each row: ``.npy``, ``.parquet``, ``.csv``, ``.tsv`` or text; or
        a pattern of such files. It has precedence over labels in ``path``.

    Returns
    -------
    Embeddings
        Rows in the order of the source.

    Raises
    ------
    InputError
        A file is unreadable, a column is not found or not of a usable type, lengths differ,
        there are bad rows that are not to be dropped, or the rows make no pairs.
    """
    with all_fetched(path) as files, ExitStack() as stack:
        labels_files = [] if labels is None else stack.enter_context(fetched(labels))
        for file in [*files, *labels_files]:  # first, because reading vectors may take minutes
            check_file(file)
        shards = [shard_of_vectors(file) for file in files]
        # Labels and further columns are read from the same files.
        holders = [shard_of_labels(file) for file in labels_files] or shards
        where = _named(labels_files or files)
        sizes = [shard.rows(asked.embedding_column) for shard in shards]
        expected = _expected(sizes, len(holders))

        def chunks_of(column: str | None) -> list[arrow.Array]:
            """Read the labels, or a further column, of all rows."""
            return [
                chunk
                for holder, size in zip(holders, expected, strict=True)
                for chunk in (
                    holder.labels(asked.label_column, size)
                    if column is None
                    else holder.column(column, size)
                )
            ]

        try:
            plain, labelled = arrow.join_labels(chunks_of(None), where), True
        except InputError:
            if asked.labelled or labels is not None or asked.label_column is not None:
                raise
            plain, labelled = arrow.numbered(sum(sizes)), False
        others = {
            name: arrow.join_labels(chunks_of(name), _of(where, name)) for name in asked.columns
        }
        for name in asked.optional_columns:
            with suppress(InputError):
                others[name] = arrow.join_labels(chunks_of(name), _of(where, name))
        shown = {name: join_texts(chunks_of(name)) for name in asked.show_columns}
        own = labelled and not labels_files
        but = shards[0].label_name(asked.label_column) if own else None
        if asked.drawing.wanted:
            check_lengths(len(plain), sum(sizes), where)

        def drawn() -> Sample | None:
            """Draw a sample of the rows, if one is needed now."""
            return Sample.of(
                plain,
                where,
                asked.drawing,
                others,
                lambda: shards[0].width(asked.embedding_column, but),
            )

        sample = drawn()
        if asked.memory_limit is not None:
            rows = sum(sizes) if sample is None else len(sample.rows)
            _refuse_memory(rows, *shards[0].width(asked.embedding_column, but), asked.memory_limit)
        # The digest of whole files takes as long as to check the vectors, so it runs beside that.
        whole = stack.enter_context(digesting(files)) if sample is None else None
        vectors, nulls = _read_vectors(files, shards, sizes, asked.embedding_column, sample, but)
        fewer = None if asked.allowance is None else drawn()
        if fewer is not None and (sample is None or len(fewer.rows) < len(sample.rows)):
            # Reading took a part of the time. What there is still time for is a part of these rows.
            kept = fewer.rows if sample is None else np.searchsorted(sample.rows, fewer.rows)
            vectors, nulls, sample = vectors[kept], nulls[kept], fewer
        if sample is not None:
            plain = sample.labels
            others, shown = (
                {name: sample.take(values, _of(where, name)) for name, values in some.items()}
                for some in (others, shown)
            )
        doubts = shards[0].doubts(asked.embedding_column, but)
        whole = whole if sample is None else None
        digest = "" if whole else sha256_of_rows(vectors, plain, *others.values())
        parts = parts_of(path)
        found = clean(
            vectors,
            nulls,
            plain,
            Source(
                _named(files),
                digest,
                digest_of(labels_files) if labels_files else None,
                embedding_column=shards[0].embedding_name(asked.embedding_column, but),
                label_column=holders[0].label_name(asked.label_column) if labelled else None,
            ),
            asked,
            labels_path=where,
            columns=shown | others,
            sample=sample,
        )
        source = replace(
            found.source,
            path=" ".join(parts),
            parts=parts if len(parts) > 1 else (),
            sha256=whole() if whole else digest,
        )
    return replace(found, source=source, warnings=(*doubts, *found.warnings), labelled=labelled)


def _named(paths: Sequence[Path]) -> str:
    """Return the name of some files for error messages."""
    return str(paths[0]) if len(paths) == 1 else f"{paths[0]} to {paths[-1]}"


def _of(where: str, column: str) -> str:
    return f"{where}, column {column!r}"


def _refuse_memory(rows: int, dim: int, size: int, limit: int) -> None:
    """Refuse to read vectors that do not fit in memory beside the rows that are made of them.

    Raises
    ------
    SettingsError
        The process would hold more bytes than the limit.
    """
    needed = resident_memory() + rows * dim * (size + _PREPARED_BYTES)
    if needed > limit:
        raise SettingsError(
            f"--memory-limit: {rows:,} vectors of {dim:,} dimensions need about "
            f"{needed / 1e9:.2g} GB, and the limit is {limit / 1e9:.2g} GB; raise the limit, or "
            "evaluate fewer classes at a time"
        )


def _expected(sizes: list[int], holders: int) -> list[int | None]:
    """Return, for each file of labels, how many vectors need a label from it, if that is known."""
    if holders == len(sizes):
        return list(sizes)
    return [sum(sizes)] if holders == 1 else [None] * holders


def _read_vectors(
    files: Sequence[Path],
    shards: Sequence[Shard],
    sizes: list[int],
    column: str | None,
    sample: Sample | None,
    but: str | None,
) -> tuple[Numbers, arrow.Bools]:
    """Read the vectors of all shards, or of the rows of a sample, into one matrix.

    Returns
    -------
    vectors : ndarray of shape (N, D)
    nulls : ndarray of shape (N,), bool
        Rows without a vector.
    """
    rows = None if sample is None else sample.rows
    if all(map(is_table, files)):
        return Tables(files).vectors(column, rows, but)
    starts = np.cumsum([0, *sizes])
    parts = [
        shard.vectors(
            column, None if rows is None else between(rows, starts[k], starts[k + 1]), but
        )
        for k, shard in enumerate(shards)
    ]
    if len(parts) == 1:
        return parts[0]
    dim = parts[0][0].shape[1]
    for path, (vectors, _) in zip(files, parts, strict=True):
        if vectors.shape[1] != dim:
            raise InputError(
                f"{path}: vectors of {vectors.shape[1]} dimensions, those of {files[0]} have "
                f"{dim}; shards must be of one model"
            )
    return (
        np.concatenate([vectors for vectors, _ in parts]),
        np.concatenate([nulls for _, nulls in parts]),
    )
