"""What the evidence of a run tells a gate: suspect rows, and the pairs behind a failed limit."""

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from opis_cli import decimals
from opis_cli.judging.limits import Limit
from opis_cli.report.evaluation import Evaluation
from opis_cli.report.evidence import Evidence
from opis_cli.report.input_warnings import ROWS_NAMED
from opis_cli.scoring.operating import Operating
from opis_cli.text import SIMILARITIES, as_known, first_of, plain, shown

if TYPE_CHECKING:
    import pandas as pd

KINDS = {
    "max-far": "false_accept",
    "max-class-frr": "false_reject",
    "max-label-conflicts": "false_accept",
}
"""The kind of the pairs that explain a failed limit, by the limit's name."""
MOST_PAIRS = 10
"""Most pairs that are named for a limit."""
_EQUAL = 1e-12
"""Largest distance of equal rows, which rounding in float64 leaves."""


@dataclass(frozen=True, slots=True)
class ErrorPair:
    """Two rows that the threshold judges wrongly.

    Attributes
    ----------
    row_a : int
        Number of the first row in the source, from 0, or of a scored pair.
    row_b : int or None
        Number of the second row. None for a scored pair.
    in_gallery : bool
        Whether ``row_b`` is the number of a gallery row.
    class_a, class_b : int, str or None
        Their labels as in the data, or the groups of a scored pair, if it has groups.
    distance : float
        The score or distance of a scored pair.
    columns : dict
        The two values of each column that ``opis explain --show-columns`` named, as text or None.
        A scored pair has one value, but two ids.
    """

    row_a: int
    row_b: int | None
    in_gallery: bool
    class_a: int | str | None
    class_b: int | str | None
    distance: float
    columns: dict[str, tuple[str | None, ...]]


def suspect_rows(limit: Limit, evidence: Evidence) -> tuple[int, int, str]:
    """Return the number of suspect rows, the most that the limit allows, and a remark."""
    kinds = evidence.rows["suspect"]
    labels, outliers = (int((kinds == kind).sum()) for kind in ("label", "outlier"))
    found, rows = int(kinds.notna().sum()), len(kinds)
    # Rounded first, as binary fractions are not exact: 29 % of 100 rows would be 28.
    allowed = math.floor(round(limit.amount * (rows if limit.relative else 1), 9))
    remark = f"{labels:,} suspect labels and {outliers:,} outliers of {rows:,} rows"
    if found and "gallery" not in evidence.rows:
        worst = evidence.rows[kinds.notna()].sort_values("score", ascending=False, kind="stable")
        remark += f": rows {first_of(worst['row'].head(ROWS_NAMED).tolist(), found)}"
    return found, allowed, remark


def error_pairs(
    limit: Limit, run: Evaluation, at: Operating | None, evidence: Evidence
) -> tuple[ErrorPair, ...]:
    """Return the pairs of the evidence that explain best why a limit does not hold.

    They are the closest false accepts, or the farthest false rejects of the classes beyond the
    limit, the worst class first. All are errors at the judged threshold.
    """
    kind = KINDS[limit.rule.name]
    table = evidence.pairs[evidence.pairs["kind"] == kind]
    if limit.rule.name == "max-label-conflicts":
        table = table[table["distance"] <= _EQUAL]
    elif at is not None and not _is_at(evidence, at):
        sign = -1 if evidence.facts.metric in SIMILARITIES else 1
        accepted = sign * table["distance"] <= at.threshold
        table = table[accepted == (kind == "false_accept")]
    if limit.rule.name == "max-class-frr" and at is not None:
        table = _worst_first(table, limit, run, at)
    in_gallery = run.settings.gallery is not None
    rows = table.head(MOST_PAIRS).to_dict("records")
    return tuple(_pair(row, evidence.shown, in_gallery, run.settings.pairs) for row in rows)


def _worst_first(
    table: "pd.DataFrame", limit: Limit, run: Evaluation, at: Operating
) -> "pd.DataFrame":
    """Return the pairs of classes whose FRR exceeds the limit, those of the worst class first.

    With groups, a pair counts for the groups of both its rows, but not for that of a gallery row.
    """
    names = run.counts.class_names[run.consistency.classes].tolist()
    order = np.argsort(-at.classes.frr, kind="stable")
    failing = [str(names[place]) for place in order if at.classes.frr[place] > limit.amount]
    rank = {name: place for place, name in enumerate(failing)}
    group = run.settings.group_column
    column = "class" if group is None or run.settings.pairs else group
    sides = [f"{column}_{side}" for side in ("a" if run.settings.gallery is not None else "ab")]
    if not set(sides) <= set(table.columns):
        # Evidence of an older opis does not tell the groups.
        return table.head(0)
    ranks = table[sides].astype(str).apply(lambda values: values.map(rank)).min(axis=1)
    ranked: pd.DataFrame = table.loc[ranks.dropna().sort_values(kind="stable").index]
    return ranked


def _pair(
    row: dict[Any, Any], columns: tuple[str, ...], in_gallery: bool, scored: bool
) -> ErrorPair:
    def text(value: Any) -> str | None:
        return None if _known(value) is None else str(value)

    return ErrorPair(
        row_a=int(row["row_a"]),
        row_b=None if scored else int(row["row_b"]),
        in_gallery=in_gallery,
        class_a=_known(row["class_a"]),
        class_b=_known(row["class_b"]),
        distance=float(row["distance"]),
        columns={
            name: tuple(text(row[column]) for column in (f"{name}_a", f"{name}_b") if column in row)
            for name in columns
        },
    )


def _known(value: Any) -> int | str | None:
    """Return a name, or None for a null of a table."""
    import pandas as pd

    return None if pd.isna(value) else value


def _is_at(evidence: Evidence, at: Operating) -> bool:
    """Return whether evidence is of the threshold at which rates are judged."""
    return as_known(at.threshold, evidence.facts.metric) == evidence.facts.threshold


def evidence_note(
    evidence: Evidence, at: Operating | None, lacking: Sequence[int | str | None]
) -> str:
    """Return what a reader must know about the named pairs; empty if there is nothing.

    Parameters
    ----------
    evidence : Evidence
    at : Operating or None
        Where the rates are judged.
    lacking : sequence
        The worst class of each limit that does not hold and for which the evidence has no pair, or
        None if the limit is not about classes.
    """
    facts, parts = evidence.facts, []
    if at is not None and not _is_at(evidence, at):
        parts.append(
            f"The evidence is of another threshold, {decimals.text(facts.threshold)}; the pairs "
            f"that it names are errors at {shown(at.threshold, facts.metric)} too"
        )
    if facts.of_class is not None:
        parts.append("The evidence lists pairs of one class only")
    if lacking:
        parts.append("The evidence lists no pair for a limit that does not hold")
    if not parts:
        return ""
    again = "" if at is None else f" --threshold {shown(at.threshold, facts.metric)}"
    for name in [name for name in lacking if name is not None][:1]:
        again += f" --class {shlex.quote(plain(name))}"
    return ". ".join(parts) + f". `opis explain RUN{again}` lists them anew."
