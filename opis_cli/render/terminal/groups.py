"""Show groups on the terminal: own thresholds at equal FAR, and the matrix of FARs of groups."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from opis_cli.render.terminal.blocks import hanging, section
from opis_cli.render.terminal.evidence import fitted_table
from opis_cli.report.evaluation import Evaluation
from opis_cli.report.groups_table import group_pairs_table
from opis_cli.scoring.by_group import ByGroup, GroupRates
from opis_cli.text import plain, rate, shown

_MOST_GROUPS = 12
"""Most groups that are listed, those with the highest FAR."""
_MOST_ACROSS = 6
"""Most groups whose matrix fits on the terminal. Of more, single pairs of groups are listed."""
_MOST_PAIRS = 10
"""Most pairs of groups that are listed."""
_NAME = 24
"""Most characters of the name of a group."""


def groups(run: Evaluation) -> list[RenderableType]:
    """Return blocks on thresholds by group and on pairs of groups, if the run has both."""
    found = run.report.groups
    if run.counts.group_pairs is None and run.settings.group_column is not None:
        why = "an older opis wrote this run"
        if run.settings.gallery is not None:
            why = "rows of the gallery have no group"
        return [section("THRESHOLDS BY GROUP", [], f"none: {why}")]
    if run.counts.group_pairs is None or found is None:
        return []
    return [_by_group(run, found), _totals(found), _pairs(run, found)]


def _by_group(run: Evaluation, found: ByGroup) -> RenderableType:
    """Return a table of the groups: rates within at the global threshold and at their own."""
    order = sorted(found.groups, key=lambda one: -(one.far or 0.0))
    rows = [_row(one, found, run.settings.metric) for one in order[:_MOST_GROUPS]]
    told = f"each at FAR <= {rate(found.max_far)} of the pairs within it"
    heads = ("  group", "impostors", "FAR", "FRR", "own threshold", "own FAR", "own FRR")
    table = fitted_table("THRESHOLDS BY GROUP", heads, rows, 1, rest=told)
    notes = []
    if len(order) > _MOST_GROUPS:
        notes.append(f"The {_MOST_GROUPS} of {len(order):,} with the highest FAR.")
    if fallen := [one for one in found.groups if one.fallback is not None]:
        notes.append(_why(fallen, found))
    return Group(table, *(hanging("  ", Text(note, style="dim")) for note in notes))


def _row(one: GroupRates, found: ByGroup, metric: str) -> tuple[str | Text, ...]:
    above = one.supported and one.far is not None and one.far > found.max_far
    own = ("global", "", "")
    if one.threshold is not None:
        own = (shown(one.threshold, metric), rate(one.own_far), rate(one.own_frr))
    return (
        f"  {_named(one.name, found)}",
        f"{one.impostor:,}",
        Text(rate(one.far), style="bold" if above else ""),
        rate(one.frr),
        *own,
    )


def _named(name: Any, found: ByGroup) -> str:
    return f"{found.others:,} other groups" if name is None else plain(name, _NAME)


def _why(fallen: Sequence[GroupRates], found: ByGroup) -> str:
    """Say why some groups have no threshold of their own."""
    reasons = {
        "few_impostors": f"fewer than {_needed(found):,} impostor pairs",
        "no_genuine": "no genuine pair",
        "no_threshold": "a higher FAR at every threshold",
        "other_groups": "small groups, counted together",
    }
    told = []
    for reason, text in reasons.items():
        if number := sum(one.fallback == reason for one in fallen):
            told.append(f"{number:,} with {text}" if reason != "other_groups" else text)
    return f"At the global threshold: {', '.join(told)}."


def _needed(found: ByGroup) -> int:
    return int(np.ceil(round(3 / found.max_far, 6)))


def _totals(found: ByGroup) -> RenderableType:
    """Return a table of the pooled rates, with one threshold and with thresholds by group."""
    columns = found.at_global, found.at_own

    def row(name: str, of: str) -> tuple[str | Text, ...]:
        return (f"  {name}", *(rate(getattr(part, of)) for part in columns))

    rows = [
        row("FAR within groups", "within_far"),
        row("FAR across groups", "across_far"),
        row("FAR, all pairs", "far"),
        row("FRR within groups", "within_frr"),
        row("FRR across groups", "across_frr"),
        row("FRR, all pairs", "frr"),
        row("groups within the bounds", "groups_meeting_bounds"),
    ]
    known = [one for one in rows if one[1:] != ("–", "–")]
    heads = ("  pairs across at the stricter of two", "one threshold", "by group")
    return fitted_table("ONE THRESHOLD OR ONE A GROUP", heads, known, 1)


def _pairs(run: Evaluation, found: ByGroup) -> RenderableType:
    """Return the FARs of pairs of groups: as a matrix if they are few, else the highest ones."""
    table = group_pairs_table(run)
    table = table[table["impostor_pairs"] > 0]
    known = table[table["supported"]]
    above = int((known["far"] > found.max_far).sum())
    told = f"{above:,} of {len(known):,} pairs of groups above {rate(found.max_far)}"
    if len(found.groups) <= _MOST_ACROSS:
        block = _matrix(run, found, table, told)
    else:
        highest = known.sort_values("far", ascending=False, kind="stable")[:_MOST_PAIRS]
        cells = [
            (
                f"  within {_named(one, found)}"
                if one == two
                else f"  {_named(one, found)} and {_named(two, found)}",
                f"{pairs:,}",
                Text(rate(far), style="bold" if far > found.max_far else ""),
            )
            for one, two, pairs, far in highest[
                ["group_a", "group_b", "impostor_pairs", "far"]
            ].itertuples(index=False)
        ]
        heads = ("  highest", "impostors", "FAR")
        block = fitted_table("FAR BY PAIR OF GROUPS", heads, cells, 1, rest=told)
    notes = []
    if len(known) < len(table):
        mark = "; ~ marks them" if len(found.groups) <= _MOST_ACROSS else ""
        few = len(table) - len(known)
        notes.append(f"{few:,} pairs of groups have under {_needed(found):,} impostor pairs{mark}.")
    notes.append("`opis plot RUN --kind group-matrix` draws all.")
    return Group(block, *(hanging("  ", Text(note, style="dim")) for note in notes))


def _matrix(run: Evaluation, found: ByGroup, table: Any, told: str) -> RenderableType:
    """Return the matrix. Without a gallery it is symmetric, so only the lower half is shown."""
    searching = run.settings.gallery is not None
    names = [one.name for one in found.groups]
    cells = {
        (one, two): (far, supported)
        for one, two, far, supported in table[
            ["group_a", "group_b", "far", "supported"]
        ].itertuples(index=False)
    }

    def cell(row: Any, column: Any) -> Text:
        far, supported = cells.get((row, column) if searching else (column, row), (None, True))
        if far is None:
            return Text("")
        bold = supported and far > found.max_far
        return Text(f"{'' if supported else '~'}{rate(far)}", style="bold" if bold else "")

    rows: list[tuple[str | Text, ...]] = [
        (f"  {_named(name, found)}", *(cell(name, column) for column in names)) for name in names
    ]
    first = "  query, and gallery row" if searching else "  "
    heads = (first, *(plain(_named(name, found), 10) for name in names))
    return fitted_table("FAR BY PAIR OF GROUPS", heads, rows, 1, rest=told)
