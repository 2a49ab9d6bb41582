"""Columns found by name, and errors over files in words."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from opis_cli.errors import InputError

EMBEDDING_NAMES = ("embedding", "embeddings", "emb", "vector")


LABEL_NAMES = ("label", "labels", "class", "identity", "subject_id")


NAMES_SHOWN = 20


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Turn what a library raises over a file into an ``InputError`` that names the file.

    What a damaged file makes NumPy, zipfile and Arrow raise is of any kind, so all is caught. To
    be put around their calls only, that faults of ours stay what they are.
    """
    try:
        yield
    except InputError:
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
    """Refuse a file that is missing or empty before anything else is read."""
    with reading(path, "file"):
        empty = path.stat().st_size == 0 and path.is_file()
    if empty:
        raise InputError(f"{path}: empty, 0 bytes; write it anew")


def show(names: Sequence[str]) -> str:
    """Names for an error; they are untrusted and may be many."""
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
    """The column that is wanted, else the only one with a usual name.

    ``what`` names the option, and ``sought`` what an error calls the column, if not the same.

    Raises
    ------
    InputError
        There is none, or more than one.
    """
    found = [name for name in names if (name in guesses if wanted is None else name == wanted)]
    if len(found) == 1:
        return found[0]
    if not found:
        usual = sought or f"{what} column"
        problem = f"no {usual}" if wanted is None else f"no column {wanted!r}"
    else:
        problem = f"{len(found)} columns may be the {what} column, {show(found)}"
    raise InputError(f"{where}: {problem}; give --{what}-column. The columns are {show(names)}")


def check_lengths(labels: int, vectors: int, where: str, what: str = "labels") -> None:
    """Refuse another number of labels, or of another column's values, than of vectors."""
    if labels != vectors:
        raise InputError(
            f"{where}: {labels} {what} for {vectors} vectors; there must be one {what[:-1]} for "
            "each vector, in the same order"
        )
