"""Read the source of a run again, and make sure that it is the same."""

from pathlib import Path

from opis_cli.embeddings.clean import ARRAYS
from opis_cli.embeddings.read import read_as
from opis_cli.embeddings.sources import Given, is_address
from opis_cli.errors import InputError
from opis_cli.records import Embeddings
from opis_cli.report.records import Report
from opis_cli.settings import Settings


def rows_of(
    report: Report, settings: Settings, source: Given | None, show_columns: tuple[str, ...] = ()
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
    if source is None:
        source = facts.path if Path(facts.path).exists() else facts.path.split(" ")
        missing = [part for part in _parts(source) if not _is_there(part)]
        if facts.path == ARRAYS or missing:
            what = "is in no file" if facts.path == ARRAYS else f"is not at {missing[0]}"
            raise InputError(
                f"the source of the run {what}, and its vectors are needed again; give it: "
                "--source FILE"
            )
    embeddings = read_as(source, settings, show_columns)
    found = embeddings.source
    gallery = None if found.gallery is None else found.gallery.sha256
    digests = (found.sha256, found.labels_sha256, gallery)
    if digests != (facts.sha256, facts.labels_sha256, facts.gallery_sha256):
        raise InputError(
            f"{found.path}: not the rows that the run was counted from (the checksum differs); "
            "give the same files with --source, or evaluate these"
        )
    return embeddings


def _parts(source: Given) -> list[str]:
    return [str(source)] if isinstance(source, str | Path) else [str(part) for part in source]


def _is_there(part: str) -> bool:
    """Return whether a path is there, or may be: a pattern or an address is tried when read."""
    return is_address(part) or any(sign in part for sign in "*?[") or Path(part).exists()
