"""The evidence of a run as tables of the page: class pairs, hardest pairs, suspects, what if."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opis_cli import decimals
from opis_cli.render.words import outcome_cells
from opis_cli.report.evidence import TABLES, Evidence, Facts
from opis_cli.text import number, plain, rate

if TYPE_CHECKING:
    import pandas as pd

_ROWS = 20
"""Most rows of a table."""
_VALUE = 200
"""Most characters of a shown value."""


@dataclass(frozen=True, slots=True)
class Head:
    """A column: its title, and its kind.

    The kinds are ``name`` (of a class), ``text``, ``row`` (a number of a row, or a few words) and
    ``figure``.
    """

    title: str
    kind: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the page.

    Attributes
    ----------
    title, about : str
        The heading, and a sentence below it.
    heads : tuple of Head
    rows : tuple of tuples of str
    """

    title: str
    about: str
    heads: tuple[Head, ...]
    rows: tuple[tuple[str, ...], ...]


def evidence_tables(evidence: Evidence) -> list[Table]:
    """Return the evidence as tables, without those that have no row."""
    facts, pairs = evidence.facts, evidence.pairs
    tables = [_class_pairs(evidence.class_pairs, facts)]
    for kind, title, about in (
        ("false_accept", "Closest false accepts", "Accepted, though their labels differ."),
        ("false_reject", "Farthest false rejects", "Rejected, though their labels are equal."),
    ):
        tables.append(_pairs(pairs[pairs["kind"] == kind], title, about, evidence))
    tables += [_suspects(evidence.rows, facts), _what_if(facts)]
    return [table for table in tables if table.rows]


def evidence_sentences(facts: Facts) -> list[str]:
    """Say what the evidence shows in a few sentences."""
    kind, found = _one(facts), facts.concentration
    lines = []
    if facts.leading_share is not None:
        lines.append(
            f"{facts.leading} of {found.class_pairs:,} {kind} pairs make "
            f"{rate(facts.leading_share)} of the false accepts; {found.half:,} "
            f"{'makes' if found.half == 1 else 'make'} half."
        )
    if facts.conflicts is not None and facts.conflicts.conflicts:
        lines.append(
            f"{facts.conflicts.rows:,} rows in {facts.conflicts.conflicts:,} groups of equal rows "
            "have different labels. No threshold can tell them apart."
        )
    if facts.merges or facts.splits:
        lines.append(
            f"Pairs of classes that may be one: {facts.merges or 0:,}. Classes that may be two: "
            f"{facts.splits or 0:,}."
        )
    if facts.chains is not None and facts.chains.groups:
        chains = facts.chains
        lines.append(
            f"Up to distance {number(chains.threshold, 4)}, chains of accepted pairs join "
            f"{chains.groups:,} groups of rows; {chains.mixed:,} of them mix classes."
        )
    return lines


def _one(facts: Facts) -> str:
    return "group" if facts.of_scores else "class"


def _class_pairs(table: "pd.DataFrame", facts: Facts) -> Table:
    kind = _one(facts)
    rows = tuple(
        (
            _name(row["class_a"]),
            _name(row["class_b"]),
            f"{row['accepted']:,}",
            f"{row['pairs']:,}",
            rate(row["accepted"] / row["pairs"]),
            _distance(row["least_distance"]),
            "one class? merge them" if row["suggestion"] == "merge" else "",
        )
        for row in _first(table[table["accepted"] > 0])
    )
    heads = (
        Head(kind, "name"),
        Head(f"and {kind}", "name"),
        *(Head(title, "figure") for title in ("false accepts", "of pairs", "share", "closest")),
        Head("suggestion", "row"),
    )
    title = "Confused groups" if facts.of_scores else "Confused classes"
    return Table(title, "The pairs with most false accepts first.", heads, rows)


def _pairs(table: "pd.DataFrame", title: str, about: str, evidence: Evidence) -> Table:
    facts = evidence.facts
    shown = [name for name in table.columns if name not in TABLES["pairs"]]
    named = bool(table["class_a"].notna().all())
    rows = tuple(
        (
            f"{row['row_a']}" if facts.of_scores else f"{row['row_a']}, {row['row_b']}",
            *((_name(row["class_a"]), _name(row["class_b"])) if named else ()),
            _distance(row["distance"]),
            *(_cell(row[name]) for name in shown),
        )
        for row in _first(table)
    )
    kind = _one(facts)
    heads = (
        Head("row" if facts.of_scores else "rows", "row"),
        *((Head(kind, "name"), Head(f"and {kind}", "name")) if named else ()),
        Head(facts.metric if facts.of_scores else "distance", "figure"),
        *(_shown_head(name, facts) for name in shown),
    )
    return Table(title, about, heads, rows)


def _shown_head(column: str, facts: Facts) -> Head:
    """Return the column of a shown value: of the first row of a pair (``_a``) or the second."""
    name, side = column[:-2], column[-2:]
    title = plain(name, 60, joiners=True)
    return Head(title if side == "_a" or facts.of_scores else f"{title} (second)", "text")


def _suspects(table: "pd.DataFrame", facts: Facts) -> Table:
    own = (*TABLES["rows"], "gallery")
    shown = [name for name in table.columns if name not in own]
    table = table[table["suspect"].notna()].sort_values("score", ascending=False, kind="stable")
    rows = tuple(
        (
            f"{row['row']}",
            _name(row["class"]),
            "–" if row["suspect"] == "outlier" else _name(row["other_class"]),
            _distance(row["own_distance"]),
            _distance(row["other_distance"]),
            *(_cell(row[name]) for name in shown),
        )
        for row in _first(table)
    )
    heads = (
        Head("row", "row"),
        Head("label", "name"),
        Head("nearer to", "name"),
        Head("nearest own", "figure"),
        Head("nearest other", "figure"),
        *(Head(plain(name, 60, joiners=True), "text") for name in shown),
    )
    about = (
        f"{facts.suspect_labels or 0:,} labels that may be wrong, and {facts.outliers or 0:,} rows "
        "far from all others."
    )
    return Table("Suspect rows", about, heads, rows)


def _what_if(facts: Facts) -> Table:
    found = facts.what_if
    outcomes = (
        []
        if found is None
        else [
            ("as it is", found.now),
            ("without the suspect rows", found.without_suspects),
            ("with the suggested classes merged", found.merged),
            ("both", found.both),
        ]
    )
    rows = tuple((name, *outcome_cells(one)) for name, one in outcomes if one is not None)
    heads = (
        Head("labels", "row"),
        *(Head(title, "figure") for title in ("FAR", "FRR", "OPIS", "recommended")),
        Head("FAR there", "figure"),
        Head("FRR there", "figure"),
    )
    about = "Counted again, as if the labels were mended."
    if found is not None and found.threshold not in (None, facts.threshold):
        about += f" The rates are at {decimals.text(found.threshold)}, the next counted threshold."
    return Table("What if", about, heads, rows if len(rows) > 1 else ())


def _first(table: "pd.DataFrame") -> list[dict[Any, Any]]:
    return table.head(_ROWS).to_dict("records")


def _name(value: Any) -> str:
    return "–" if value is None or value != value else plain(value, _VALUE, joiners=True)


def _distance(value: float) -> str:
    return number(None if value != value else value, 3)


def _cell(value: object) -> str:
    return "–" if value is None or value != value else plain(value, _VALUE, joiners=True)
