"""Tell the layout of trial lists, which have no header, and how to make a CSV file of them.

opis finds columns by name, and such lists have none. Speaker and face recognition have several
layouts, and some keep the scores in a second file. So opis does not guess while it reads: it names
the layout that it sees, and the one line of shell that turns it into a table.
"""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from opis_cli.counting.scored_values import NO, YES
from opis_cli.values import is_number

_HEAD_BYTES = 1 << 16
"""Bytes at the beginning of a file by which its layout is told."""
_SAME = '($%d "" == $%d "")'
"""Whether two fields are the same text, in awk. Numbers would be compared as numbers."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """The layout of a list.

    Attributes
    ----------
    fields : str
        Pattern of the kinds of all fields of a line: ``b`` for 0 and 1, ``t`` for other words of
        truths, ``n`` for other numbers, ``w`` for other words.
    what : str
        The fields in words.
    truth, score : str
        Expressions of awk. No score means that another file has the scores.
    first : int
        The first of the two fields that name a pair, if another file has the scores.
    """

    fields: str
    what: str
    truth: str
    score: str = ""
    first: int = 0


_LAYOUTS = (
    _Layout("n[bt]|bt", "a score and a truth", "$2", "$1"),
    _Layout("[bt]n|tb", "a truth and a score", "$1", "$2"),
    _Layout("[bt]ww", "a truth and two names", "$1", first=2),
    _Layout("..[bt]", "two names and a truth", "$3", first=1),
    _Layout("[bt]ww[bn]", "a truth, two names and a score", "$1", "$4"),
    _Layout("..[bn]t", "two names, a score and a truth", "$4", "$3"),
    _Layout("..t[bn]", "two names, a truth and a score", "$3", "$4"),
    _Layout("...[bn]", "claimed identity, real identity, probe, score", _SAME % (1, 2), "$4"),
    _Layout(
        "....[bn]", "claimed identity, model, real identity, probe, score", _SAME % (1, 3), "$5"
    ),
)
_SCORES_ALONE = "n|..n"


def conversion(path: Path) -> str:
    """Return what a file looks like, and the line that converts it, as the end of a message.

    It is empty if the file is no such list.

    Raises
    ------
    OSError
        The file cannot be read.
    """
    with path.open("rb") as stream:
        head = stream.read(_HEAD_BYTES + 1)
    lines = head.decode(errors="replace").splitlines()
    rows = [line.split() for line in lines[: len(lines) - (len(head) > _HEAD_BYTES)]]
    rows = [row for row in rows if row]
    if not rows or len({len(row) for row in rows}) > 1:
        return ""
    kinds = "".join(map(_kind, zip(*rows, strict=True)))
    for layout in _LAYOUTS:
        if re.fullmatch(layout.fields, kinds):
            return _advice(layout, path)
    if re.fullmatch(_SCORES_ALONE, kinds):
        return (
            ". This looks like scores without truths; give the list of trials that says which "
            "pairs are genuine, and opis says how to join the two"
        )
    return ""


def _kind(fields: tuple[str, ...]) -> str:
    """Return the kind of a column: ``b``, ``t``, ``n`` or ``w``."""
    seen = {field.lower() for field in fields}
    if seen <= {"0", "1"}:
        return "b"
    if seen <= {*YES, *NO}:
        return "t"
    return "n" if all(map(is_number, seen)) else "w"


def _advice(layout: _Layout, path: Path) -> str:
    score, files, note = f"NF {{print {layout.score}", "", ""
    if not layout.score:
        # Scores are found by the two names or, if a line has nothing but the score, by its number.
        key = f'${layout.first} " " ${layout.first + 1}'
        score = 'NR == FNR {s[NF > 1 ? $1 " " $2 : FNR] = $NF; next} '
        score += f"NF {{k = {key}; if (!(k in s)) k = FNR; print s[k]"
        files = " SCORES -"
        note = ", where SCORES is the file of scores (in the same order, or behind the two names)"
    program = f'BEGIN {{print "score,genuine"}} {{sub(/\\r$/, "")}} {score} "," {layout.truth}}}'
    line = f"awk '{program}'{files} < {shlex.quote(str(path))} > pairs.csv"
    what = f"a list with {layout.what} in each line"
    return f". This looks like {what}; make a table of it with this line{note}: {line}"
