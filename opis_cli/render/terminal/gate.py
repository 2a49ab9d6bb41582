"""Show a verdict, and a comparison of models, on the terminal."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from opis_cli import decimals
from opis_cli.judging.changes import Change, ClassChange
from opis_cli.judging.gate import Verdict
from opis_cli.judging.limits import Unit
from opis_cli.judging.models import Comparison, Difference
from opis_cli.render.terminal.blocks import class_table, hanging, marked
from opis_cli.render.terminal.evidence import fitted_table
from opis_cli.render.verdicts.words import (
    figure,
    headline,
    pair_cells,
    pair_heads,
    pairs_title,
    signed,
    subject,
    told,
)
from opis_cli.report.records import Report
from opis_cli.scoring.opis import SCALES
from opis_cli.text import number, plain, rate, written_out

_SHOWN_CLASSES = 5
"""Most classes in the tables of those that gained or lost most."""


def verdict(found: Verdict, report: Report) -> RenderableType:
    """Return the verdict at a glance: every check with its value, limit and margin, and notes.

    ``report`` is the report of the run. It says whether figures are by class or by group.
    """
    color = "red" if not found.passed else "green" if found.checks else "default"
    parts: list[RenderableType] = [
        Text(headline(found), style=f"bold {color}"),
        Text(subject(found)),
    ]
    parts += [Text(), _checks(found)] if found.checks else []
    for check in found.checks:
        if check.pairs:
            rows = [("  " + first, *rest) for first, *rest in map(pair_cells, check.pairs)]
            first_head, *heads = pair_heads(check)
            title = f"{check.name}: {pairs_title(check)}"
            behind = len(heads) - 3
            table = fitted_table(title, ("  " + first_head, *heads), rows, 3, behind)
            parts += [Text(), table]
    if found.baseline is not None and found.baseline.most_worse:
        parts += [Text(), _classes("lost", found.baseline.most_worse, report)]
    parts += [hanging("! ", note, "yellow") for note in found.notes]
    return Group(*parts)


def _checks(found: Verdict) -> RenderableType:
    grid = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(2):
        grid.add_column(no_wrap=True)
    grid.add_column()
    for check in found.checks:
        status = Text("ok", "green") if check.passed else Text("FAIL", "bold red")
        grid.add_row(status, Text(check.name), Text(told(check)))
    return grid


def _classes(how: str, classes: tuple[ClassChange, ...], report: Report) -> RenderableType:
    rows = [
        (
            one.class_name,
            f"{one.size:,}",
            number(one.base, 3),
            number(one.mean_utility, 3),
            f"{one.change:+.2g}",
        )
        for one in classes[:_SHOWN_CLASSES]
    ]
    title = f"{report.source.many.capitalize()} that {how} most"
    where = f"{title} (mean utility over the calibration range)"
    return class_table(where, (report.source.one, report.counted, "before", "now", "change"), rows)


def comparison(found: Comparison, report: Report) -> RenderableType:
    """Return a table of the models, as papers print it, and what changed from the first model.

    ``report`` is the report of the first model.
    """
    parts: list[RenderableType] = [_models(found)]
    for one in found.differences:
        parts += [Text(), _difference(one, found, report)]
    return Group(*parts)


def _models(found: Comparison) -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    # On a narrow terminal the names are folded, so that the figures stay whole.
    table.add_column("model", overflow="fold", max_width=28)
    far = "FRR" if found.max_far is None else f"FRR@FAR {rate(found.max_far)}"
    for name in ("R@1", "OPIS", f"{100 * found.eps:g}%-OPIS", "threshold", far, "Pareto"):
        table.add_column(name, justify="right", no_wrap=True)
    for model in found.models:
        table.add_row(
            Text(plain(model.name)),
            rate(model.recall_at_1),
            number(model.opis),
            number(model.eps_opis),
            "–" if model.threshold is None else decimals.text(model.threshold),
            rate(model.frr_at_max_far),
            "front" if model.on_front else "",
        )
    return table


def _difference(one: Difference, found: Comparison, report: Report) -> RenderableType:
    grid = Table(box=None, padding=(0, 1, 0, 0), header_style="dim", pad_edge=False)
    grid.add_column("", no_wrap=True)
    names = ["before", "now", "", "change", "in %"]
    intervals = any(change.interval is not None for change in one.changes)
    if intervals:
        names.append(f"{100 * found.confidence:g} % interval")
    for name in names:
        grid.add_column(name, justify="left" if name == "" else "right", no_wrap=True)
    for change in one.changes:
        if change.name.endswith(SCALES) and (change.name not in _LABELS or change.value is None):
            continue
        grid.add_row(*_change(change, found, intervals=intervals))
    title = f"{plain(one.name)} against {plain(one.base)}"
    parts: list[RenderableType] = [Text(title, style="bold cyan"), grid]
    if not one.same_classes:
        text = f"The {report.source.many} are not the same, so there are no paired intervals."
        parts += marked([text])
    for how, classes in (("gained", one.gained), ("lost", one.lost)):
        parts += [Text(), _classes(how, classes, report)] if classes else []
    return Group(*parts)


# Whether a higher figure is better. A threshold is not here, as neither direction is better.
_MORE_IS_BETTER = {"recall_at_1": True, "opis": False, "eps_opis": False, "frr_at_max_far": False}
_MORE_IS_BETTER |= {"opis_euclidean_unit": False, "opis_log_far": False}
_LABELS = {"recall_at_1": "R@1", "opis": "OPIS", "threshold": "threshold"}
_LABELS |= {"opis_euclidean_unit": "OPIS, L2", "opis_log_far": "OPIS, log FAR"}


def _change(change: Change, found: Comparison, *, intervals: bool) -> list[Text]:
    unit: Unit = "rate" if change.name in ("recall_at_1", "frr_at_max_far") else "number"
    label = _LABELS.get(change.name)
    if label is None:
        label = f"{100 * found.eps:g}%-OPIS" if change.name == "eps_opis" else "FRR"
    if change.name == "frr_at_max_far" and found.max_far is not None:
        label = f"FRR@FAR {rate(found.max_far)}"
    arrow, style = _arrow(change)
    relative = "–" if change.relative is None else f"{100 * change.relative:+.1f} %"
    row = [label, *(figure(value, unit) for value in (change.base, change.value)), arrow]
    row += [signed(change.change, unit), relative]
    if intervals:
        row.append("–" if change.interval is None else _interval(change.interval, unit))
    return [Text(text, style=style if i == 3 else "") for i, text in enumerate(row)]


def _interval(ends: tuple[float, float], unit: Unit) -> str:
    factor, mark = (100, " pp") if unit == "rate" else (1, "")
    signs = ("-" if end < 0 else "+" for end in ends)
    values = (written_out(abs(factor * end), 2) for end in ends)
    return " to ".join(map("".join, zip(signs, values, strict=True))) + mark


def _arrow(change: Change) -> tuple[str, str]:
    """Return an arrow that says which way the figure went and if that is better, and its style."""
    if change.change is None:
        return "", ""
    if change.change == 0:
        return "= same", ""
    arrow = "↑" if change.change > 0 else "↓"
    if change.name not in _MORE_IS_BETTER:
        return arrow, ""
    better = (change.change > 0) == _MORE_IS_BETTER[change.name]
    return f"{arrow} {'better' if better else 'worse'}", "green" if better else "red"
