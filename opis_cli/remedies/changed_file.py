"""Write the rows of a source in the form that a remedy gives them, as Parquet."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opis_cli.embeddings.sources import Given, all_fetched
from opis_cli.embeddings.tables import Tables, is_table
from opis_cli.errors import InputError, SettingsError
from opis_cli.files import replacing
from opis_cli.records import Embeddings
from opis_cli.remedies.artefact import Remedy
from opis_cli.remedies.folds import groups_of
from opis_cli.settings import Settings

QUERY, GALLERY = "query", "gallery"
"""Columns of the two forms of a row, of a score normalisation."""
_CHUNK_VALUES = 4_000_000


def check_output(file: Path) -> None:
    """Refuse a file that is not named as what is written.

    Raises
    ------
    SettingsError
        The suffix is not ``.parquet``.
    """
    if file.suffix.lower() != ".parquet":
        raise SettingsError(f"--output={file}: changed vectors are written as .parquet; name it so")


def write_changed(
    remedy: Remedy, embeddings: Embeddings, source: Given, settings: Settings, file: Path
) -> list[str]:
    """Write the rows of a source, changed, with the other columns as they were.

    The vectors are unit vectors behind the transforms. A score normalisation adds the numbers of
    each row, and its two forms: the columns ``query`` and ``gallery``.

    Parameters
    ----------
    remedy : Remedy
    embeddings : Embeddings
        The rows of the source.
    source : path, or list of paths
    settings : Settings
    file : Path
        A ``.parquet``.

    Returns
    -------
    list of str
        Names of the columns that hold vectors or numbers of the remedy.

    Raises
    ------
    InputError
        A column of the source has the name of one that is added, or the rows do not fit the remedy.
    RunError
        The file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    others = _other_columns(embeddings, source, settings)
    name = embeddings.source.embedding_column or "embedding"
    if any(mark in name for mark in "*?["):
        name = "embedding"
    added: list[str] = []
    with replacing(file) as new:
        writer = None
        try:
            for rows, columns in _parts(remedy, embeddings, settings, name):
                added = list(columns)
                if taken := sorted(set(added) & set(others)):
                    raise InputError(
                        f"{embeddings.source.path}: the column {taken[0]!r} has the name of one "
                        "that the remedy adds; rename it"
                    )
                kept = {
                    key: values.slice(rows.start, rows.stop - rows.start)
                    for key, values in others.items()
                }
                table = pa.table({**columns, **kept})
                writer = writer or pq.ParquetWriter(new, table.schema)
                writer.write_table(table)
        finally:
            if writer is not None:
                writer.close()
    return added


def _parts(
    remedy: Remedy, embeddings: Embeddings, settings: Settings, name: str
) -> Iterator[tuple[slice, dict[str, Any]]]:
    """Yield ranges of rows, and the columns of the remedy in these rows."""
    fitted, last = remedy.fitted, remedy.fitted.normalisation
    classes = embeddings.class_names.astype(str) if embeddings.labelled else None
    groups = groups_of(embeddings, settings)
    step = max(1, _CHUNK_VALUES // fitted.width)
    for start in range(0, len(embeddings.labels), step):
        rows = slice(start, min(start + step, len(embeddings.labels)))
        units = fitted.transformed(embeddings.vectors[rows])
        columns = {name: _vectors(units)}
        if last is not None:
            named = None if classes is None else classes[embeddings.labels[rows]]
            numbers = last.numbers(units, named, None if groups is None else groups[rows])
            query, gallery = last.forms(units, numbers)
            columns |= dict(zip(last.number_names, numbers.T, strict=True))
            columns |= {QUERY: _vectors(query), GALLERY: _vectors(gallery)}
        yield rows, columns


def _vectors(values: NDArray[np.float64]) -> Any:
    import pyarrow as pa

    flat = pa.array(np.ascontiguousarray(values, np.float32).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def _other_columns(embeddings: Embeddings, source: Given, settings: Settings) -> dict[str, Any]:
    """Return the other columns of the source's tables, or the labels of a source of arrays."""
    import pyarrow as pa

    found: dict[str, Any] = {}
    with all_fetched(source) as files:
        if all(map(is_table, files)):
            tables = Tables(files)
            label = embeddings.source.label_column
            vectors = tables.vector_columns(settings.embedding_column, label)
            for name in tables.names():
                if name not in vectors:
                    values = pa.chunked_array(tables.column(name, None))
                    found[name] = values.take(pa.array(embeddings.rows))
    if embeddings.labelled and (settings.labels is not None or not found):
        names = embeddings.class_names[embeddings.labels]
        found["label"] = pa.array(names.tolist())
    return found
