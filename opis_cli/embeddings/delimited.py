"""Open tables of text, and tell their delimiter."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO

from opis_cli.embeddings.columns import check_file, reading, show
from opis_cli.errors import InputError

_SAMPLE_LINES = 50
"""Lines that the delimiter of a file is told from."""
_DELIMITERS = (",", "\t", ";", "|")


@contextmanager
def opened_text(path: Path) -> Iterator[IO[str]]:
    """Open a table of text. Its encoding is UTF-8, with or without a byte order mark."""
    check_file(path)
    with reading(path, "UTF-8 CSV file"), path.open(encoding="utf-8-sig", newline="") as file:
        yield file


def delimiter_of(path: Path, column: str | None) -> str:
    """Return the delimiter that the suffix tells, or another one if only that splits all lines.

    If the first line is just the wanted ``column``, the file has no other.

    Raises
    ------
    InputError
        Several others do.
    """
    usual = "," if path.suffix.lower() == ".csv" else "\t"
    with opened_text(path) as file:
        sample = list(islice(file, _SAMPLE_LINES))
    splitting = [
        delimiter for delimiter in (usual, *_DELIMITERS) if _splits_alike(sample, delimiter)
    ]
    header = sample[0].rstrip("\r\n") if sample else ""
    if usual in splitting or not splitting or header == column:
        return usual
    if len(set(splitting)) > 1:
        raise InputError(
            f"{path}: line 1 is {header!r}, and it cannot be told which of "
            f"{show(sorted(set(splitting)))} is the delimiter; write a CSV file with commas"
        )
    return splitting[0]


def _splits_alike(lines: list[str], delimiter: str) -> bool:
    """Return whether a delimiter splits lines in several fields, and all in equally many."""
    try:
        sizes = {len(cells) for cells in csv.reader(lines, delimiter=delimiter) if cells}
    except csv.Error:
        return False
    return len(sizes) == 1 and min(sizes) > 1
