"""Join queries and the gallery that they are searched in, into one record."""

from dataclasses import replace

import numpy as np

from opis_cli.errors import InputError
from opis_cli.records import Column, Embeddings


def with_gallery(queries: Embeddings, gallery: Embeddings) -> Embeddings:
    """Join queries and their gallery into one record, with the gallery behind the queries.

    Raises
    ------
    InputError
        One of them has no rows, their dimensions differ, or a column has integers in one of them
        and text in the other.
    """
    where = f"{gallery.source.path}: the gallery"
    if not len(gallery.vectors):
        raise InputError(f"{where} has no rows")
    if not len(queries.vectors):
        raise InputError(f"{queries.source.path}: no rows")
    if queries.dim != gallery.dim:
        raise InputError(
            f"{where} has vectors of {gallery.dim} dimensions, the queries of "
            f"{queries.dim}; embed both with one model"
        )
    labels = _joined(
        Column(queries.labels, queries.class_names),
        Column(gallery.labels, gallery.class_names),
        f"{where} has labels",
    )
    nothing = Column(np.full(len(gallery.labels), -1), np.zeros(0, np.int64))
    return replace(
        queries,
        vectors=np.concatenate([queries.vectors, gallery.vectors]),
        labels=labels.codes,
        class_names=labels.names,
        rows=np.concatenate([queries.rows, gallery.rows]),
        dropped_rows=queries.dropped_rows + gallery.dropped_rows,
        ignored_rows=queries.ignored_rows + gallery.ignored_rows,
        source=replace(queries.source, gallery=gallery.source),
        columns={
            name: _joined(column, gallery.columns.get(name, nothing), f"{where} has {name!r}")
            for name, column in queries.columns.items()
        },
        gallery_rows=len(gallery.labels),
        # One doubt may hold for both.
        warnings=tuple(dict.fromkeys((*queries.warnings, *gallery.warnings))),
    )


def _joined(one: Column, two: Column, where: str) -> Column:
    """Concatenate two columns, and merge their names."""
    if len(one.names) and len(two.names) and one.names.dtype.kind != two.names.dtype.kind:
        kinds = ["integers" if c.names.dtype.kind == "i" else "text" for c in (two, one)]
        raise InputError(f"{where} of {kinds[0]}, the queries of {kinds[1]}; write one type")
    names, places = np.unique(
        np.concatenate([c.names for c in (one, two) if len(c.names)] or [one.names]),
        return_inverse=True,
    )
    # A missing value has code -1, and so takes the appended last place, which is -1.
    first = np.append(places[: len(one.names)], -1)[one.codes]
    second = np.append(places[len(one.names) :], -1)[two.codes]
    return Column(np.concatenate([first, second]), names)
