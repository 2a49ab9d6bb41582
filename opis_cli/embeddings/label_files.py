"""Read labels from text files: CSV and TSV, a label in each line, or a JSON list."""

import csv
import json
from pathlib import Path

import numpy as np

from opis_cli.embeddings import arrow
from opis_cli.embeddings.columns import LABEL_NAMES, choose, reading, show
from opis_cli.embeddings.delimited import delimiter_of, opened_text
from opis_cli.embeddings.shard import Shard
from opis_cli.errors import InputError


class Delimited(Shard):
    """A table of text. Its delimiter is what splits all first lines alike."""

    def labels(self, column: str | None, expected: int | None) -> list[arrow.Array]:
        return _texts(self._cells(column, expected))

    def column(self, name: str, expected: int | None) -> list[arrow.Array]:
        return _texts(self._cells(name, expected))

    def label_name(self, column: str | None) -> str | None:
        delimiter = delimiter_of(self.path, column)
        with opened_text(self.path) as file:
            first = next(csv.reader(file, delimiter=delimiter, strict=True), [""])
        if column is None and len(first) == 1 and first[0] not in LABEL_NAMES:
            return None
        return choose(first, column, LABEL_NAMES, "label", self.path)

    def _cells(self, column: str | None, expected: int | None) -> list[str]:
        """Return the cells of a column as raw text."""
        delimiter = delimiter_of(self.path, column)
        with opened_text(self.path) as file:
            lines = csv.reader(file, delimiter=delimiter, strict=True)
            first = next(lines, []) or [""]
            lone = column is None and len(first) == 1 and first[0] not in LABEL_NAMES
            index = (
                0 if lone else first.index(choose(first, column, LABEL_NAMES, "label", self.path))
            )
            texts = [first[index]]
            for cells in lines:
                if cells and len(cells) != len(first):
                    raise InputError(
                        f"{self.path}: line {lines.line_num} has {len(cells)} fields, the first "
                        f"line {len(first)}; quote fields that contain {delimiter!r}"
                    )
                texts.append(cells[index] if cells else "")
        return _without_header(texts, expected, self.path) if lone else texts[1:]


class Lines(Shard):
    """A text file with one label in each line."""

    def labels(self, column: str | None, expected: int | None) -> list[arrow.Array]:
        with reading(self.path, "UTF-8 text file"):
            texts = self.path.read_text(encoding="utf-8-sig").split("\n")
        if texts[-1] == "":  # the newline at the end of the last line begins no other line
            texts.pop()
        return _texts(_without_header(texts, expected, self.path))


class Json(Shard):
    """A JSON list of labels."""

    def labels(self, column: str | None, expected: int | None) -> list[arrow.Array]:
        with reading(self.path, "JSON list of labels"):
            values = json.loads(self.path.read_text(encoding="utf-8-sig"))
        if not isinstance(values, list):
            raise InputError(f"{self.path}: not a JSON list; write one label for each vector")
        kinds = {type(value) for value in values} - {type(None)}
        if not (kinds <= {int} or kinds <= {str}):
            raise InputError(
                f"{self.path}: the list holds {show(sorted(kind.__name__ for kind in kinds))}; "
                "wanted integers, or texts"
            )
        return arrow.label_chunks(np.array(values, object), str(self.path))


_HEADERS = (
    *LABEL_NAMES,
    *("id", "ids", "name", "names", "person", "pid", "speaker", "subject", "category", "target"),
    *("class_id", "label_id", "identity_id", "person_id", "subject_name", "y", "who"),
)
"""Names, in lower case, that head a column of labels."""


def _without_header(texts: list[str], expected: int | None, path: Path) -> list[str]:
    """Return labels without a header, which makes one line more than there are vectors.

    Raises
    ------
    InputError
        The number of lines is right, but the first one looks like a header.
    """
    if expected is not None and len(texts) == expected + 1:
        return texts[1:]
    first, rest = texts[0], texts[1:]
    others_are_numbers = len(rest) > 1 and all(_is_integer(text) for text in rest if text)
    named = first.strip().lower() in _HEADERS and first not in rest
    if expected == len(texts) and (named or (others_are_numbers and not _is_integer(first))):
        raise InputError(
            f"{path}: line 1, {first!r}, looks like a header, but there are as many lines as "
            "vectors, so that a label would be missing; add the label, or take off the header. If "
            f"{first!r} is a label, write the labels as .npy or Parquet"
        )
    return texts


def _is_integer(text: str) -> bool:
    return text.strip().lstrip("+-").isdigit()


def _texts(texts: list[str]) -> list[arrow.Array]:
    """Return texts as one chunk of labels. An empty text is a missing label."""
    import pyarrow as pa

    return [pa.array([text or None for text in texts], pa.large_string())]
