"""Find columns by name, and turn errors about files into clear messages."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from opis_cli.errors import InputError
from opis_cli.records import Ints

EMBEDDING_NAMES = ("embedding", "embeddings", "emb", "vector")
"""Usual names of the embedding column, which is then found without an option."""


LABEL_NAMES = ("label", "labels", "class", "identity", "subject_id")
"""Usual names of the label column."""


NAMES_SHOWN = 20
"""Most names that an error message lists."""


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Turn any exception that a library raises about a file into an ``InputError``.

    On a damaged file NumPy, zipfile and Arrow may raise any exception, so all are caught. Use the
    context only around their calls, so that it does not hide faults of our own code.
    """
    try:
        yield
    except (InputError, MemoryError):
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: no such file or folder; check the path") from None
    except PermissionError:
        raise InputError(f"{path}: permission denied; make it readable for this user") from None
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"{path}: not a readable {kind} ({reason}); check that it is whole and of the type "
            "that its name says"
        ) from None


def check_file(path: Path) -> None:
    """Raise an ``InputError`` if a file is missing or empty."""
    with reading(path, "file"):
        empty = path.stat().st_size == 0 and path.is_file()
    if empty:
        raise InputError(f"{path}: empty, 0 bytes; write it anew")


def show(names: Sequence[str]) -> str:
    """Return names as text for an error message: quoted, as they are untrusted, and not all."""
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(map(repr, names[:NAMES_SHOWN])) + more


def choose(
    names: Sequence[str],
    wanted: str | None,
    guesses: Sequence[str],
    what: str,
    where: Path,
    sought: str | None = None,
) -> str:
    """Return the name of the wanted column, or else of the only column with a usual name.

    Parameters
    ----------
    names : sequence of str
        Columns of the file.
    wanted : str, optional
        Name that the user gave.
    guesses : sequence of str
        Usual names.
    what : str
        Name of the option, ``--WHAT-column``.
    where : Path
        The file, for error messages.
    sought : str, optional
        What an error message calls the column; by default the name of the option.

    Raises
    ------
    InputError
        There is no such column, or more than one.
    """
    usual_names = guesses if wanted is None else (wanted,)
    found = [name for name in names if name in usual_names]
    if not found:
        # A name that differs in case alone is meant, if there is but one.
        lower = [name.lower() for name in usual_names]
        found = [name for name in names if name.lower() in lower]
    if len(found) == 1:
        return found[0]
    if not found:
        usual = sought or f"{what} column"
        problem = f"no {usual}" if wanted is None else f"no column {wanted!r}"
    else:
        problem = f"{len(found)} columns may be the {what} column, {show(found)}"
    raise InputError(f"{where}: {problem}; give --{what}-column. The columns are {show(names)}")


def check_lengths(labels: int, vectors: int, where: str, what: str = "labels") -> None:
    """Raise an ``InputError`` if there is not exactly one label (or value) for each vector."""
    if labels != vectors:
        raise InputError(
            f"{where}: {labels} {what} for {vectors} vectors; there must be one {what[:-1]} for "
            "each vector, in the same order"
        )


def between(rows: Ints, start: int, stop: int) -> Ints:
    """Return the row numbers from ``start`` to before ``stop``, less ``start``.

    ``rows`` must be in ascending order.
    """
    first, last = np.searchsorted(rows, [start, stop])
    return rows[first:last] - start
