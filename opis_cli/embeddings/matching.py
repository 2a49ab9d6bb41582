"""Match the rows of two sources that are the same things, embedded by two models."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opis_cli.errors import InputError
from opis_cli.records import Column, Embeddings, Ints
from opis_cli.text import plain

_ADVICE = (
    "give the same rows of both in the same order (`opis migrate` matches rows by their ids where "
    "you name a column of ids: --id-column=COLUMN)"
)


def matched(
    old: Embeddings,
    new: Embeddings,
    id_column: str | None = None,
    alike: Sequence[tuple[str, str]] = (),
) -> Embeddings:
    """Return the rows of a new model in the order of the rows of an old model.

    Labels and classes are then numbered as in ``old``, and the columns are those of ``old``.

    Parameters
    ----------
    old, new : Embeddings
        With a gallery, queries match queries and rows of the gallery match rows of the gallery.
    id_column : str, optional
        A column of both that tells which rows match. By default rows match by their order.
    alike : sequence of (str, str)
        Names of columns of ``old`` and of ``new`` whose values must be equal.

    Raises
    ------
    InputError
        Some row of the one has no row of the other, or their labels or columns differ.
    """
    if (old.gallery_rows is None) != (new.gallery_rows is None):
        raise InputError(f"{_both(old, new)}: only one of the two runs has a gallery")
    if id_column is None:
        _check_order(old, new)
        place = None
    else:
        place = _places(old, new, id_column)
        new = replace(
            new,
            vectors=new.vectors[place],
            partners=None if new.partners is None else new.partners[place],
            labels=new.labels[place],
            rows=new.rows[place],
        )
    labels = Column(old.labels, old.class_names), Column(new.labels, new.class_names)
    _check_equal(old, new, *labels, "label")
    for name, other in alike:
        column = new.columns[other]
        if place is not None:
            column = replace(column, codes=column.codes[place])
        _check_equal(old, new, old.columns[name], column, f"{plain(name)!r}")
    return replace(new, labels=old.labels, class_names=old.class_names, columns=old.columns)


def _check_order(old: Embeddings, new: Embeddings) -> None:
    """Refuse rows that do not match by their order: the same rows of both sources must be used."""
    if (len(old.rows), old.gallery_rows) != (len(new.rows), new.gallery_rows):
        raise InputError(
            f"{_both(old, new)}: {_size(old)} and {_size(new)}, so they do not match by their "
            f"order; {_ADVICE}"
        )
    odd = np.flatnonzero(old.rows != new.rows)
    if len(odd):
        raise InputError(
            f"{_both(old, new)}: row {int(min(old.rows[odd[0]], new.rows[odd[0]]))} was used for "
            f"only one of the two (the other left it out); {_ADVICE}"
        )


def _places(old: Embeddings, new: Embeddings, name: str) -> Ints:
    """Return, for each row of ``old``, the row of ``new`` that has its id, shape (N,)."""
    places = []
    for gallery in (False, True):
        (ids, _), (others, behind) = (_ids(side, name, gallery=gallery) for side in (old, new))
        for one, two, where in ((ids, others, old), (others, ids, new)):
            lone = np.setdiff1d(one, two)
            if len(lone):
                raise InputError(
                    f"{where.source.path}: {len(lone):,} ids of column {plain(name)!r}, such as "
                    f"{plain(lone[0])}, are in no row of the other model; give the same rows of "
                    "both"
                )
        order = np.argsort(others)
        places.append(behind + order[np.searchsorted(others[order], ids)])
    return np.concatenate(places)


def _ids(side: Embeddings, name: str, *, gallery: bool) -> tuple[NDArray[Any], int]:
    """Return the ids of the queries or of the gallery as text, and the number of rows before them.

    Without a gallery, all rows are queries.
    """
    first = len(side.rows) - (side.gallery_rows or 0)
    part = slice(first, None) if gallery else slice(first)
    column = side.columns[name]
    codes = column.codes[part]
    where = f"{side.source.path}: column {plain(name)!r}"
    missing = np.flatnonzero(codes < 0)
    if len(missing):
        raise InputError(f"{where} has no id in row {side.rows[part][missing[0]]}; give each one")
    texts = np.array([str(value) for value in column.names.tolist()], object)
    numbers = np.bincount(codes, minlength=len(texts))
    if len(codes) and numbers.max() > 1:
        twice = plain(texts[int(np.argmax(numbers))])
        raise InputError(f"{where} has the id {twice} in several rows; name a column of unique ids")
    return texts[codes] if len(codes) else np.zeros(0, object), first if gallery else 0


def _check_equal(old: Embeddings, new: Embeddings, one: Column, two: Column, what: str) -> None:
    """Refuse rows of which two columns differ. A missing value equals a missing value."""
    texts: dict[str, int] = {}
    for column in (one, two):
        for value in column.names.tolist():
            texts.setdefault(str(value), len(texts))
    codes = [
        np.append([texts[str(value)] for value in column.names.tolist()], -1)[column.codes]
        for column in (one, two)
    ]
    odd = np.flatnonzero(codes[0] != codes[1])
    if len(odd):
        row = odd[0]
        shown = [
            plain(column.names[column.codes[row]]) if column.codes[row] >= 0 else "none"
            for column in (one, two)
        ]
        raise InputError(
            f"{_both(old, new)}: row {old.rows[row]} has the {what} {shown[0]} in the one and "
            f"{shown[1]} (row {new.rows[row]}) in the other ({len(odd):,} such rows); {_ADVICE}"
        )


def _both(old: Embeddings, new: Embeddings) -> str:
    return f"{old.source.path} and {new.source.path}"


def _size(side: Embeddings) -> str:
    """Return the number of rows in words."""
    count = len(side.rows)
    if side.gallery_rows is None:
        return f"{count:,} rows"
    return f"{count - side.gallery_rows:,} queries in a gallery of {side.gallery_rows:,}"
