"""Show the evidence on the terminal: what to look at first, in at most 40 lines."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, Group, JustifyMethod, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from opis_cli import decimals
from opis_cli.report.evidence import Conflicts, Evidence, Facts, Outcome
from opis_cli.text import number, plain, rate, scale

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 5
"""Most lines of a kind."""
_NAME, _VALUE = 24, 28
"""Most characters of a name, and of a shown value."""
_GAP, _NARROWEST = 2, 6
"""Characters between columns, and the narrowest that a text becomes."""


def evidence_summary(evidence: Evidence, out: Path | None = None) -> RenderableType:
    """Return the evidence at a glance: a sentence, the five worst of each kind, and "what if"."""
    facts = evidence.facts
    shown = evidence.shown
    parts: list[RenderableType] = [*_sentences(facts)]
    parts += _class_pairs(evidence.class_pairs, facts.of_class)
    for kind, title in (
        ("false_accept", "Closest false accepts"),
        ("false_reject", "Farthest false rejects"),
    ):
        parts += _pairs(evidence.pairs[evidence.pairs["kind"] == kind], title, shown)
    parts += _suspects(evidence.rows, facts, shown)
    parts += _groups(facts)
    parts += _what_if(facts)
    if out is not None:
        parts.append(Text.assemble(("Tables written to ", "bold"), plain(out, 400)))
    return Group(*parts)


def _sentences(facts: Facts) -> list[Text]:
    """Say how many errors there are, and how few class pairs make them."""
    found = facts.concentration
    at = f"{scale(facts.metric)} {number(facts.threshold, 8)}"
    lines = [
        Text(
            f"{facts.false_accepts:,} false accepts and {facts.false_rejects:,} false rejects at "
            f"{at}",
            style="bold",
        )
    ]
    if facts.leading_share is not None:
        pairs = "pair makes" if facts.leading == 1 else "pairs make"
        lines.append(
            Text(
                f"  {facts.leading} of {found.class_pairs:,} class {pairs} "
                f"{rate(facts.leading_share)} of the false accepts; {found.half:,} make half."
            )
        )
    return lines


@dataclass(frozen=True)
class _Fitted:
    """A table that shortens its texts, and never its figures, to fit the terminal.

    Attributes
    ----------
    heads : sequence of str
    rows : list of sequences of str
    left : int
        Number of columns of text in front of the figures. Columns without a head are text too.
    """

    heads: Sequence[str]
    rows: list[Sequence[str]]
    left: int

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        texts = [place for place, head in enumerate(self.heads) if place < self.left or head == ""]
        widths = [max(map(len, column)) for column in zip(self.heads, *self.rows, strict=True)]
        table = Table(box=None, padding=(0, _GAP, 0, 0), header_style="dim", pad_edge=False)
        while sum(widths) + _GAP * len(widths) > options.max_width:
            widest = max(texts, key=widths.__getitem__)
            if widths[widest] <= _NARROWEST:
                break
            widths[widest] -= 1
        for place, (head, width) in enumerate(zip(self.heads, widths, strict=True)):
            justify: JustifyMethod = "left" if place in texts else "right"
            table.add_column(head, justify=justify, no_wrap=True, overflow="ellipsis", width=width)
        for row in self.rows:
            table.add_row(*(Text(cell) for cell in row))
        yield table


def fitted_table(
    title: str, heads: Sequence[str], rows: Iterable[Sequence[str]], left: int
) -> Group:
    """Return a titled table, with ``left`` columns of text in front of the figures."""
    return Group(Text(title, style="bold cyan"), _Fitted(heads, list(rows), left))


def _class_pairs(table: "pd.DataFrame", of_class: str | None) -> list[RenderableType]:
    if of_class is not None:
        mine = (table["class_a"].astype(str) == of_class) | (
            table["class_b"].astype(str) == of_class
        )
        table = table[mine]
    rows = [
        (
            "  " + plain(row["class_a"], _NAME),
            plain(row["class_b"], _NAME),
            f"{row['accepted']:,}",
            f"{row['pairs']:,}",
            number(row["least_distance"], 3),
            "one class? merge them" if row["suggestion"] == "merge" else "",
        )
        for row in _first(table[table["accepted"] > 0])
    ]
    if not rows:
        return []
    heads = ("  class", "and class", "accepted", "of pairs", "closest", "")
    return [fitted_table("Confused classes", heads, rows, 2)]


def _pairs(table: "pd.DataFrame", title: str, shown: Sequence[str]) -> list[RenderableType]:
    rows = [
        (
            f"  {row['row_a']}, {row['row_b']}",
            plain(row["class_a"], _NAME),
            plain(row["class_b"], _NAME) if row["class_a"] != row["class_b"] else "same",
            number(row["distance"], 3),
            *(_cell(row[f"{name}_{side}"]) for name in shown for side in "ab"),
        )
        for row in _first(table)
    ]
    if not rows:
        return []
    heads = ("  rows", "class", "and class", "distance", *("" for _ in shown for _ in "ab"))
    return [fitted_table(title, heads, rows, 3)]


def _suspects(table: "pd.DataFrame", facts: Facts, shown: Sequence[str]) -> list[RenderableType]:
    table = table[table["suspect"].notna()]
    if facts.of_class is not None:
        table = table[table["class"].astype(str) == facts.of_class]
    rows = [
        (
            f"  {row['row']}",
            plain(row["class"], _NAME),
            "far from all rows"
            if row["suspect"] == "outlier"
            else f"of {plain(row['other_class'], _NAME)}?",
            number(_known(row["own_distance"]), 3),
            number(_known(row["other_distance"]), 3),
            *(_cell(row[name]) for name in shown if name in row),
        )
        for row in _first(table.sort_values("score", ascending=False, kind="stable"))
    ]
    if not rows:
        return []
    labels = _several(facts.suspect_labels, "label", "labels")
    title = f"Suspect rows: {labels}, {_several(facts.outliers, 'outlier', 'outliers')}"
    heads = ("  row", "class", "", "nearest own", "nearest other", *("" for _ in shown))
    return [fitted_table(title, heads, rows, 3)]


def _groups(facts: Facts) -> list[RenderableType]:
    """Say in a line each: conflicts, classes to merge or to split, and chains."""
    chains, lines = facts.chains, list[str]()
    if facts.conflicts.conflicts:
        lines.append(_conflicts(facts.conflicts))
    if facts.merges or facts.splits:
        lines.append(
            f"pairs of classes that may be one: {facts.merges:,}; classes that may be two: "
            f"{facts.splits:,}"
        )
    if chains.groups:
        lines.append(
            f"chains up to {number(chains.threshold, 4)}: {chains.mixed:,} mix classes; the "
            f"largest has {chains.largest_rows:,} rows of "
            f"{_several(chains.largest_classes, 'class', 'classes')}"
        )
    return [Text(line[0].upper() + line[1:], no_wrap=True, overflow="ellipsis") for line in lines]


def _conflicts(found: Conflicts) -> str:
    named = found.first[0]
    rows = ", ".join(
        f"{row} ({plain(name, _NAME)})" for row, name in zip(named.rows, named.classes, strict=True)
    )
    return (
        f"equal rows with different labels: {found.rows:,} rows in {found.conflicts:,} groups, "
        f"such as {plain(rows, 80)}"
    )


def _what_if(facts: Facts) -> list[RenderableType]:
    found, rows = facts.what_if, []
    for name, outcome in (
        ("now", found.now),
        (
            f"without {_several(facts.suspect_labels, 'suspect', 'suspects')}",
            found.without_suspects,
        ),
        (f"{_several(facts.merges, 'class pair', 'class pairs')} merged", found.merged),
        ("both", found.both),
    ):
        if outcome is not None:
            rows.append((f"  {name}", *_figures(outcome, facts.metric)))
    if len(rows) == 1:
        return []
    heads = ("", "FAR", "FRR", "OPIS", "recommended", "FAR", "FRR")
    return [fitted_table("What if", heads, rows, 1)]


def _figures(found: Outcome, metric: str) -> tuple[str, ...]:
    return (
        rate(found.far),
        rate(found.frr),
        number(found.opis, 3),
        "none" if found.recommended is None else decimals.text(found.recommended),
        rate(found.recommended_far),
        rate(found.recommended_frr),
    )


def _several(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"


def _first(table: "pd.DataFrame") -> list[dict[Any, Any]]:
    return table.head(_SHOWN).to_dict("records")


def _known(value: float) -> float | None:
    return None if value != value else value


def _cell(value: object) -> str:
    return "–" if value is None else plain(value, _VALUE)
