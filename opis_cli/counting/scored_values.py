"""Scores and truths of pairs, from the types and words that people and databases write."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opis_cli.embeddings import arrow
from opis_cli.errors import InputError

Flags = NDArray[np.bool_]

YES = ("true", "t", "yes", "y", "1", "1.0", "target", "genuine", "match")
NO = ("false", "f", "no", "n", "0", "0.0", "nontarget", "non-target", "impostor", "nonmatch")
"""Words, in lower case, that say that a pair is genuine, or that it is not."""
MISSING = ("", "na", "n/a", "nan", "null", "none")
"""Words, in lower case, that stand for no value. They do not in a column of groups."""
_WORDS = "true or false, t or f, yes or no, y or n, 1 or 0, or target or nontarget"


def numbers(values: Any, path: Path, name: str, row: int) -> NDArray[np.float64]:
    """Return a column of numbers as an array, in which a missing value is NaN.

    Parameters
    ----------
    values : Arrow array
        Numbers, decimals, or numbers as text.
    path, name, row
        The file, the column and the number of the first row, for errors.

    Raises
    ------
    InputError
        The column is of another type, or a value is no number.
    """
    import pyarrow as pa
    from pyarrow import compute, types

    kind = values.type
    if types.is_null(kind):
        return np.full(len(values), np.nan)
    if types.is_decimal(kind):
        values = values.cast(pa.float64())
    elif _is_text(kind):
        values = _without_missing(values)
        try:
            values = values.cast(pa.float64())
        except pa.ArrowInvalid:
            raise _first_wrong(values, path, name, row) from None
    elif not (types.is_floating(kind) or types.is_integer(kind)):
        raise InputError(f"{path}: column {name!r} is of type {str(kind)!r}; wanted numbers")
    return arrow.to_numpy(compute.cast(values, pa.float64(), safe=False))


def booleans(values: Any, path: Path, name: str, row: int) -> tuple[Flags, Flags]:
    """Return a column of truths, and which of its rows have a value.

    Parameters
    ----------
    values : Arrow array
        Booleans, 0 and 1, or words.
    path, name, row
        The file, the column and the number of the first row, for errors.

    Raises
    ------
    InputError
        The column is of another type, or a value is no truth.
    """
    import pyarrow as pa
    from pyarrow import compute, types

    if types.is_boolean(values.type):
        return arrow.to_numpy(values.fill_null(False)), arrow.to_numpy(values.is_valid())
    if types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if types.is_nested(values.type):
        raise InputError(
            f"{path}: column {name!r} is of type {str(values.type)!r}; wanted true or false"
        )
    if types.is_decimal(values.type):
        values = values.cast(pa.float64())
    texts = _without_missing(values.cast(pa.large_string()))
    known = arrow.to_numpy(texts.is_valid())
    texts = compute.utf8_lower(texts).fill_null(NO[0])
    yes = arrow.to_numpy(compute.is_in(texts, pa.array(YES, pa.large_string())))
    no = arrow.to_numpy(compute.is_in(texts, pa.array(NO, pa.large_string())))
    wrong = np.flatnonzero(~(yes | no))
    if wrong.size:
        at = int(wrong[0])
        raise InputError(
            f"{path}: row {row + at} (counted from 0) has {texts[at].as_py()!r} in column "
            f"{name!r}; wanted {_WORDS}"
        )
    return yes, known


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_dictionary(kind))


def _without_missing(values: Any) -> Any:
    """Return texts without blanks at the ends, in which words for no value are null."""
    import pyarrow as pa
    from pyarrow import compute, types

    if types.is_dictionary(values.type):
        values = values.dictionary_decode()
    texts = compute.utf8_trim_whitespace(values.cast(pa.large_string()))
    missing = compute.is_in(compute.utf8_lower(texts), pa.array(MISSING, pa.large_string()))
    return compute.if_else(missing, pa.scalar(None, pa.large_string()), texts)


def _first_wrong(texts: Any, path: Path, name: str, row: int) -> InputError:
    """Return the error that names the first text that is no number, in some of which one is."""
    import pyarrow as pa

    at, stop = 0, len(texts)
    while stop - at > 1:
        middle = (at + stop) // 2
        try:
            texts[at:middle].cast(pa.float64())
            at = middle
        except pa.ArrowInvalid:
            stop = middle
    return InputError(
        f"{path}: row {row + at} (counted from 0) has {texts[at].as_py()!r} in column {name!r}; "
        "wanted a number"
    )
