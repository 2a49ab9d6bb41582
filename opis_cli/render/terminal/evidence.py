"""Show the evidence on the terminal: what to look at first, in at most 40 lines."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from opis_cli import decimals
from opis_cli.render.terminal.blocks import titled
from opis_cli.render.words import outcome_cells
from opis_cli.report.evidence import Conflicts, Evidence, Facts
from opis_cli.text import first_of, number, plain, rate, scale

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 5
"""Most lines of a kind."""
_NAME, _VALUE = 24, 28
"""Most characters of a name, and of a shown value."""
_OWN, _ROW_OWN = 6, 10
"""Columns of the tables of pairs and of rows in front of the shown ones."""
_GAP, _NARROWEST = 2, 6
"""Characters between columns, and the narrowest that a text becomes."""


def evidence_summary(evidence: Evidence, out: Path | None = None) -> RenderableType:
    """Return the evidence at a glance: a sentence, the five worst of each kind, and "what if"."""
    facts = evidence.facts
    shown = list(evidence.pairs.columns[_OWN:])
    parts: list[RenderableType] = [*_sentences(facts)]
    parts += _class_pairs(evidence.class_pairs, facts)
    for kind, title in (
        ("false_accept", "Closest false accepts"),
        ("false_reject", "Farthest false rejects"),
    ):
        parts += _pairs(evidence.pairs[evidence.pairs["kind"] == kind], title, facts, shown)
    parts += _ids(evidence.rows, facts) if facts.of_scores else _suspects(evidence.rows, facts)
    parts += _groups(facts, evidence.components)
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
                f"  {facts.leading} of {found.class_pairs:,} {_kind(facts)} {pairs} "
                f"{rate(facts.leading_share)} of the false accepts; {found.half:,} "
                f"{'makes' if found.half == 1 else 'make'} half."
            )
        )
    return lines


def _kind(facts: Facts) -> str:
    """Return what the classes of the evidence are."""
    return "group" if facts.of_scores else "class"


@dataclass(frozen=True)
class _Fitted:
    """A table that shortens its texts, and never its figures, to fit the terminal.

    If that is not enough, it leaves out the last columns of text.

    Attributes
    ----------
    heads : sequence of str
    rows : list of sequences of str or Text
    left, behind : int
        Number of columns of text in front of the figures, and behind them.
    """

    heads: Sequence[str]
    rows: list[Sequence[str | Text]]
    left: int
    behind: int

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        columns = [
            [str(cell) for cell in column] for column in zip(self.heads, *self.rows, strict=True)
        ]
        widths = [max(map(len, column)) for column in columns]
        texts = set(range(self.left)) | set(range(len(widths) - self.behind, len(widths)))

        def excess(of: Sequence[int]) -> int:
            return sum(of) + _GAP * len(of) - options.max_width

        # Row numbers stand among the texts, and they are figures.
        short = {k for k in texts if any(cell.strip(" ,0123456789") for cell in columns[k][1:])}
        least = [min(w, _NARROWEST) if k in short else w for k, w in enumerate(widths)]
        shown = len(widths)
        while shown > len(widths) - self.behind and excess(least[:shown]) > 0:
            shown -= 1
        widths = widths[:shown]
        short = {k for k in short if k < shown and widths[k] > _NARROWEST}
        while excess(widths) > 0 and short:
            widest = max(short, key=widths.__getitem__)
            widths[widest] -= 1
            if widths[widest] <= _NARROWEST:
                short.remove(widest)
        table = Table(box=None, padding=(0, _GAP, 0, 0), header_style="dim", pad_edge=False)
        for place, width in enumerate(widths):
            table.add_column(
                Text(self.heads[place]),
                justify="left" if place in texts else "right",
                no_wrap=True,
                overflow="ellipsis",
                width=width,
            )
        for row in self.rows:
            table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row[:shown]))
        yield table


def fitted_table(
    title: str,
    heads: Sequence[str],
    rows: Iterable[Sequence[str | Text]],
    left: int,
    behind: int = 0,
    rest: str = "",
) -> Group:
    """Return a titled table, with some columns of text in front of the figures and behind them.

    ``rest`` stands behind the title on its line.
    """
    return Group(titled(title, rest), _Fitted(heads, list(rows), left, behind))


def _class_pairs(table: "pd.DataFrame", facts: Facts) -> list[RenderableType]:
    if facts.group_column is not None:
        # Pairs of classes are not known by group.
        return []
    if facts.of_class is not None:
        mine = (table["class_a"].astype(str) == facts.of_class) | (
            table["class_b"].astype(str) == facts.of_class
        )
        table = table[mine]
    rows = [
        (
            "  " + plain(row["class_a"], _NAME),
            _other(row),
            f"{row['accepted']:,}",
            f"{row['pairs']:,}",
            number(row["least_distance"], 3),
            "one class? merge them" if row["suggestion"] == "merge" else "",
        )
        for row in _first(table[table["accepted"] > 0])
    ]
    if not rows:
        return []
    kind = _kind(facts)
    heads = (f"  {kind}", f"and {kind}", "accepted", "of pairs", "closest", "")
    title = "Confused groups" if facts.of_scores else "Confused classes"
    return [fitted_table(title, heads, rows, 2, 1)]


def _pairs(
    table: "pd.DataFrame", title: str, facts: Facts, shown: Sequence[str]
) -> list[RenderableType]:
    named = bool(table["class_a"].notna().all())
    rows = [
        (
            f"  {row['row_a']}" if facts.of_scores else f"  {row['row_a']}, {row['row_b']}",
            *((plain(row["class_a"], _NAME), _other(row)) if named else ()),
            number(_known(row["distance"]), 3),
            *(_cell(row[name]) for name in shown),
        )
        for row in _first(table)
    ]
    if not rows:
        return []
    kind, unit = _kind(facts), facts.metric if facts.of_scores else "distance"
    classes = (kind, f"and {kind}") if named else ()
    heads = ("  row" if facts.of_scores else "  rows", *classes, unit)
    heads += tuple(plain(name, _VALUE) for name in shown)
    return [fitted_table(title, heads, rows, 1 + len(classes), len(shown))]


def _other(row: dict[Any, Any]) -> str:
    """Return the second class of a pair, in few words if it is the first one."""
    return "same" if row["class_a"] == row["class_b"] else plain(row["class_b"], _NAME)


def _suspects(table: "pd.DataFrame", facts: Facts) -> list[RenderableType]:
    shown = [name for name in table.columns[_ROW_OWN:] if name != "gallery"]
    table = table[table["suspect"].notna()]
    if facts.of_class is not None:
        mine = table[facts.group_column or "class"].astype(str)
        table = table[mine == facts.of_class]
    rows = [
        (
            f"  {row['row']}",
            plain(row["class"], _NAME),
            "far from all rows"
            if row["suspect"] == "outlier"
            else f"of {plain(row['other_class'], _NAME)}?",
            number(_known(row["own_distance"]), 3),
            number(_known(row["other_distance"]), 3),
            *(_cell(row[name]) for name in shown),
        )
        for row in _first(table.sort_values("score", ascending=False, kind="stable"))
    ]
    if not rows:
        return []
    labels, outliers = (int((table["suspect"] == kind).sum()) for kind in ("label", "outlier"))
    title = (
        f"Suspect rows: {_several(labels, 'label', 'labels')}, "
        f"{_several(outliers, 'outlier', 'outliers')}"
    )
    named = [plain(name, _VALUE) for name in shown]
    heads = ("  row", "class", "", "nearest own", "nearest other", *named)
    return [fitted_table(title, heads, rows, 3, len(shown))]


def _ids(table: "pd.DataFrame", facts: Facts) -> list[RenderableType]:
    """Return the rows of scored pairs that have most errors."""
    table = table[table["pairs"] > 0] if "pairs" in table else table
    if facts.of_class is not None:
        table = table[table["class"].astype(str) == facts.of_class]
    named = bool(table["class"].notna().any())
    rows = [
        (
            f"  {plain(row['row'], _NAME)}",
            *((plain(row["class"], _NAME),) if named else ()),
            *(f"{row[name]:,}" for name in ("false_accepts", "false_rejects", "pairs")),
            number(_known(row["own_distance"]), 3),
            number(_known(row["other_distance"]), 3),
            _cell(row["other_row"]),
        )
        for row in _first(table)
        if row["false_accepts"] + row["false_rejects"]
    ]
    if not rows:
        return []
    heads = ("  id", *(("group",) if named else ()), "accepted", "rejected", "of pairs")
    heads += ("nearest own", "other", "")
    title = "Rows with most false accepts and false rejects"
    return [fitted_table(title, heads, rows, 1 + named, 1)]


def _groups(facts: Facts, components: "pd.DataFrame") -> list[RenderableType]:
    """Say in a line each: conflicts, classes to merge or to split, and chains."""
    chains, lines = facts.chains, list[str]()
    if facts.conflicts is not None and facts.conflicts.conflicts:
        lines.append(_conflicts(facts.conflicts))
    if facts.merges or facts.splits:
        merge = f"Merge {_several(facts.merges, 'class pair', 'class pairs')}?"
        split = f"Split {_several(facts.splits, 'class', 'classes')}{_split(facts, components)}?"
        lines.append(" ".join([merge] * bool(facts.merges) + [split] * bool(facts.splits)))
    if chains is not None and chains.groups:
        lines.append(
            f"chains up to {number(chains.threshold, 4)}: {chains.mixed:,} "
            f"{'mixes' if chains.mixed == 1 else 'mix'} classes; the largest has "
            f"{chains.largest_rows:,} rows of "
            f"{_several(chains.largest_classes, 'class', 'classes')}"
        )
    return [Text(line[0].upper() + line[1:], no_wrap=True, overflow="ellipsis") for line in lines]


def _conflicts(found: Conflicts) -> str:
    named = found.first[0].rows
    return (
        f"equal rows with different labels: {found.rows:,} rows in "
        f"{_several(found.conflicts, 'group', 'groups')}, such as {first_of(named, len(named))}"
    )


def _split(facts: Facts, components: "pd.DataFrame") -> str:
    """Name the class that may be two that was asked for, or whose second part is largest."""
    parts = components[components["suggestion"] == "split"]
    if facts.of_class is not None:
        parts = parts[parts["class"].astype(str) == facts.of_class]
    second = parts[parts["component"] == 1].sort_values("rows", ascending=False, kind="stable")
    for name in second["class"].head(1):
        one, two = parts[parts["class"] == name]["rows"].tolist()[:2]
        return f", such as {plain(name, _NAME)} ({one:,} + {two:,} rows)"
    return ""


def _what_if(facts: Facts) -> list[RenderableType]:
    found, rows = facts.what_if, []
    if found is None:
        return []
    for name, outcome in (
        ("now", found.now),
        (
            f"without {_several(facts.suspect_labels, 'suspect', 'suspects')}",
            found.without_suspects,
        ),
        (f"{_several(facts.merges, 'pair', 'pairs')} merged", found.merged),
        ("both", found.both),
    ):
        if outcome is not None:
            rows.append((f"  {name}", *outcome_cells(outcome)))
    if len(rows) == 1:
        return []
    heads = ("", "FAR", "FRR", "OPIS", "recommended", "FAR", "FRR")
    rest = ""
    if found.threshold not in (None, facts.threshold):
        rest = f" at {decimals.text(found.threshold)}, the next counted threshold"
    return [fitted_table("What if", heads, rows, 1, rest=rest)]


def _several(count: int | None, one: str, many: str) -> str:
    return f"{count or 0:,} {one if count == 1 else many}"


def _first(table: "pd.DataFrame") -> list[dict[Any, Any]]:
    return table.head(_SHOWN).to_dict("records")


def _known(value: float) -> float | None:
    return None if value != value else value


def _cell(value: object) -> str:
    return "–" if value is None or value != value else plain(value, _VALUE)
