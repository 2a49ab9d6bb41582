"""Read the source of a run again, and make sure that it is the same."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from opis_cli.counting.scored_table import Table, open_table
from opis_cli.counting.sizes import SIZES
from opis_cli.embeddings.clean import ARRAYS
from opis_cli.embeddings.columns import show
from opis_cli.embeddings.folders import digest_of
from opis_cli.embeddings.read import read_as
from opis_cli.embeddings.sources import Given, all_fetched, is_address
from opis_cli.errors import InputError
from opis_cli.records import Embeddings
from opis_cli.report.records import Report, SourceFacts
from opis_cli.settings import Settings


def rows_of(
    report: Report, settings: Settings, source: Given | None, show_columns: Sequence[str] = ()
) -> Embeddings:
    """Read the rows that a run was counted from.

    Parameters
    ----------
    report : Report
    settings : Settings
        Settings of the run.
    source : path, or list of paths, optional
        Where the source is now. By default where it was.
    show_columns : tuple of str
        Further columns to read.

    Raises
    ------
    InputError
        The source is not there, or has another checksum.
    """
    facts = report.source
    if settings.remedy is not None:
        # The metric of a run with a remedy is that of the changed vectors.
        settings = replace(settings, metric="cosine")
    embeddings = read_as(_given(facts, source), settings, show_columns)
    found = embeddings.source
    gallery = None if found.gallery is None else found.gallery.sha256
    digests = (found.sha256, found.labels_sha256, gallery)
    if digests != (facts.sha256, facts.labels_sha256, facts.gallery_sha256):
        raise _changed(found.path, "rows")
    return embeddings


def check_columns(option: str, wanted: Sequence[str], there: Iterable[str]) -> None:
    """Refuse a column that was not read. Of arrays, only columns of settings are kept.

    Parameters
    ----------
    option : str
        The option that names the columns.
    wanted, there : names of columns

    Raises
    ------
    InputError
        The message names the columns that are there.
    """
    names = list(there)
    missing = [name for name in wanted if name not in names]
    if missing:
        columns = f"the columns are {show(names)}" if names else "there are none"
        raise InputError(
            f"{option}: no column {missing[0]!r}; {columns}. "
            "Of arrays, opis keeps only the columns that a setting names; write the rows to a file"
        )


@contextmanager
def table_of(
    report: Report, settings: Settings, names: NDArray[Any], source: Given | None
) -> Iterator[Table]:
    """Open the scored pairs that a run was counted from. They can be read in the context.

    Parameters
    ----------
    report : Report
    settings : Settings
    names : ndarray of shape (K,)
        Names of the groups.
    source : path, or list of paths, optional
        As for ``rows_of``.

    Raises
    ------
    InputError
        The source is not there, or has another checksum.
    """
    with all_fetched(_given(report.source, source)) as files:
        table = open_table(
            files,
            settings.score_column,
            settings.label_column,
            settings.group_column,
            SIZES.batch_rows,
            names,
        )
        if digest_of(table.files) != report.source.sha256:
            raise _changed(table.where, "pairs")
        yield table


def _given(facts: SourceFacts, source: Given | None) -> Given:
    """Return where the source is: where the user says, or else where it was.

    Raises
    ------
    InputError
        It is no longer there.
    """
    if source is not None:
        return source
    source = facts.path if Path(facts.path).exists() else facts.path.split(" ")
    missing = [part for part in _parts(source) if not _is_there(part)]
    if facts.path == ARRAYS or missing:
        what = "is in no file" if facts.path == ARRAYS else f"is not at {missing[0]}"
        raise InputError(
            f"the source of the run {what}, and it is needed again; give it: --source=FILE"
        )
    return source


def _changed(path: str, what: str) -> InputError:
    return InputError(
        f"{path}: not the {what} that the run was counted from (the checksum differs); give the "
        "same files with --source, or evaluate these"
    )


def _parts(source: Given) -> list[str]:
    return [str(source)] if isinstance(source, str | Path) else [str(part) for part in source]


def _is_there(part: str) -> bool:
    """Return whether a path is there, or may be: a pattern or an address is tried when read."""
    return is_address(part) or any(sign in part for sign in "*?[") or Path(part).exists()
