"""Show on the terminal what a change of the model costs."""

import shlex
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from opis_cli import decimals
from opis_cli.judging.migration import Migration, NewModel, OldModel
from opis_cli.render.terminal.blocks import Commands, hanging, marked, titled
from opis_cli.render.terminal.evidence import fitted_table
from opis_cli.render.words import bounds
from opis_cli.scoring.recommend import Recommendation
from opis_cli.text import SIMILARITIES, number, plain, rate, scale

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 5
"""Most classes, and most pairs of a kind."""
_OWN = 7
"""Columns of the table of pairs in front of the shown ones."""


def migration_summary(
    found: Migration,
    flips: "pd.DataFrame",
    classes: "pd.DataFrame",
    chosen: Recommendation,
    typed: tuple[str, str],
    out: str | None = None,
) -> RenderableType:
    """Return the new threshold, the decisions that change, and what to do next.

    Parameters
    ----------
    found : Migration
    flips, classes : DataFrame
        The tables of ``opis_cli.migration.Migration``.
    chosen : Recommendation
        That of the new run, for its bounds.
    typed : (str, str)
        The old and the new model as a person types them.
    out : str, optional
        Folder that they were written into.
    """
    parts: list[RenderableType] = [
        *_deploy(found, chosen),
        Text(),
        *_changes(found),
        Text(),
        *_classes(classes),
    ]
    for kind, title in (
        ("impostors_let_in", "Closest impostors let in"),
        ("genuine_lost", "Farthest genuine pairs lost"),
    ):
        parts += _pairs(flips[flips["kind"] == kind], title)
    if out is not None:
        parts += [Text.assemble(("Written to ", "bold"), plain(out, 400)), Text()]
    parts.append(_next(typed, found.old.kind, out))
    return Group(*parts)


def _deploy(found: Migration, chosen: Recommendation) -> list[RenderableType]:
    """Return the new threshold, and both models side by side."""
    new = found.new
    sign = ">=" if new.metric in SIMILARITIES else "<="
    rule = Text.assemble(
        (f"{scale(new.metric)} {sign} {decimals.text(new.threshold)}", "bold"),
        f"   keeps the {found.by.upper()} of the old model",
    )
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for place, head in enumerate(("  ", f"old, {found.old.kind}", "new")):
        table.add_column(head, justify="right" if place else "left", no_wrap=True)
    both = found.old, found.new
    table.add_row("  threshold", *(Text(decimals.text(one.threshold)) for one in both))
    table.add_row("  wrong matches accepted (FAR)", *(_rate(one, "far", found) for one in both))
    table.add_row("  right matches rejected (FRR)", *(_rate(one, "frr", found) for one in both))
    parts: list[RenderableType] = [titled("DEPLOY", rule), table]
    if new.interval is not None:
        low, high = (number(end, 4) for end in new.interval)
        parts.append(
            Text(
                f"  On other classes the threshold could lie from {low} to {high} "
                f"({100 * found.confidence:g} %)."
            )
        )
    of_new = bounds(chosen)
    if of_new and found.bounds_met:
        parts.append(hanging("  ", f"It meets the bounds of the new run: {of_new}."))
    elif of_new:
        none = "; no threshold does" if chosen.threshold is None else ""
        parts += marked([f"It does not meet the bounds of the new run: {of_new}{none}."])
    return parts


def _rate(model: OldModel | NewModel, name: str, found: Migration) -> Text:
    return Text(rate(getattr(model, name)), style="bold" if name == found.by else "")


def _changes(found: Migration) -> list[RenderableType]:
    """Return how many decisions change, which way."""
    flips, genuine, impostors = found.flips, found.genuine_pairs, found.impostor_pairs
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for place, head in enumerate(("  ", "pairs", "share")):
        table.add_column(head, justify="right" if place else "left", no_wrap=True)
    for name, number_of, pairs, style in (
        ("genuine, now refused", flips.genuine_lost, genuine, "red"),
        ("genuine, now accepted", flips.genuine_won, genuine, "green"),
        ("impostors, now accepted", flips.impostors_let_in, impostors, "red"),
        ("impostors, now refused", flips.impostors_kept_out, impostors, "green"),
    ):
        count = Text(f"{number_of:,} of {pairs:,}", style=style if number_of else "")
        table.add_row(f"  {name}", count, rate(number_of / pairs))
    parts: list[RenderableType] = [
        titled("DECISIONS THAT CHANGE", f"{flips.total:,} of {genuine + impostors:,} pairs"),
        table,
    ]
    if found.borderline:
        text = (
            f"Rounding may decide {found.borderline:,} of {genuine + impostors:,} pairs, "
            "which lie at a threshold."
        )
        parts.append(hanging("  ", Text(text, style="dim")))
    return parts


def _classes(classes: "pd.DataFrame") -> list[RenderableType]:
    """Return the classes with most losses."""
    losing = classes[(classes["genuine_lost"] > 0) | (classes["impostors_let_in"] > 0)]
    if not len(losing):
        return []
    rows = [
        (
            "  " + plain(row["class"], 24),
            f"{row['genuine_lost']:,}/{row['genuine_pairs']:,}",
            f"{_known(row['old_frr'])} to {_known(row['new_frr'])}",
            f"{row['impostors_let_in']:,}/{row['impostor_pairs']:,}",
            f"{_known(row['old_far'])} to {_known(row['new_far'])}",
        )
        for row in losing.head(_SHOWN).to_dict("records")
    ]
    heads = ("  class", "lost", "FRR", "let in", "FAR")
    what = "genuine pairs lost, and impostors let in"
    return [fitted_table("CLASSES THAT LOSE MOST", heads, rows, 1, rest=what), Text()]


def _known(value: float) -> str:
    """Return a rate of a table, in which NaN stands for none."""
    return rate(None if value != value else value)


def _pairs(table: "pd.DataFrame", title: str) -> list[RenderableType]:
    """Return the hardest pairs of a kind."""
    if not len(table):
        return []
    shown = list(table.columns[_OWN:])
    rows = [
        (
            f"  {row['row_a']}, {row['row_b']}",
            plain(row["class_a"], 24),
            "" if row["class_a"] == row["class_b"] else plain(row["class_b"], 24),
            number(row["old_distance"], 3),
            number(row["new_distance"], 3),
            *(_shown(row[name]) for name in shown),
        )
        for row in table.head(_SHOWN).to_dict("records")
    ]
    heads = ("  rows", "class", "", "old", "new", *shown)
    return [fitted_table(title, heads, rows, 3, len(shown)), Text()]


def _shown(value: Any) -> str:
    return "" if value is None else plain(value, 28)


def _next(typed: tuple[str, str], kind: str, out: str | None) -> Commands:
    """Return the commands that go on from here."""
    old, new = (plain(shlex.quote(one), 400) for one in typed)
    if out is None:
        return Commands([(f"opis migrate {old} {new} --out migration", "keeps the tables")])
    file = plain(shlex.quote(f"{out}/threshold.json"), 400)
    gate = f"opis gate {new} --threshold {file}"
    if kind == "given":
        # The gate takes the threshold of the baseline from its run.
        return Commands([(f"{gate} --max-far 1%", "judges the new model there")])
    return Commands([(f"{gate} --baseline {old} --max-flips 10%", "limits the change")])
