"""Show remedies that were tried on the terminal."""

import shlex

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from opis_cli.remedies.trial import JUDGED, Trial, Tried
from opis_cli.render.terminal.blocks import Commands, hanging, marked, titled
from opis_cli.text import plain, rate

_STYLES = {"helps": "green", "harms": "red", "not shown": "dim"}


def remedies_summary(
    trial: Trial, source: str, out: str | None, written: str | None
) -> RenderableType:
    """Return a table of the remedies, the answer in words, and what to do next.

    Parameters
    ----------
    trial : Trial
    source : str
        The source as a person types it.
    out, written : str, optional
        Folder that a remedy was written into, and the name of the remedy.
    """
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    groups = trial.tried[0].figures["groups_meeting_bounds"] is not None
    heads = ["  \n  remedy", f"FRR at\nFAR {rate(trial.max_far)}", "change in points\n(95 %)"]
    heads += ["change\nof OPIS", "\nrecall@1", *["groups\nin bound"] * groups, ""]
    for place, head in enumerate(heads):
        right = 0 < place < len(heads) - 1
        table.add_column(head, justify="right" if right else "left", no_wrap=True)
    for one in trial.tried:
        table.add_row(*_row(one, trial, groups=groups))
    held = f"on {trial.classes:,} classes, each held out once, in {trial.folds} folds"
    return Group(
        titled("REMEDIES", f"tried {held}"),
        table,
        Text(),
        *_answer(trial),
        *marked(_remarks(trial)),
        Text(),
        *_written(out, written),
        _next(trial, source, out, written),
    )


def _written(out: str | None, written: str | None) -> list[RenderableType]:
    if out is None or written is None:
        return []
    text = f"  {written}, fitted on all classes, is in {plain(out, 400)} with its threshold."
    return [Text(text), Text()]


def _row(one: Tried, trial: Trial, *, groups: bool) -> list[Text]:
    base = one is trial.tried[0]
    cells = [
        Text(f"  {one.name}", style="" if one.name != trial.chosen else "bold"),
        Text(rate(one.figures[JUDGED]), style="bold"),
        Text("" if base else _change(one)),
        Text("" if base else _share(one, trial.tried[0], "opis_log_far")),
        Text(rate(one.figures["recall_at_1"])),
    ]
    if groups:
        cells.append(Text(rate(one.figures["groups_meeting_bounds"])))
    cells.append(Text("") if base else Text(one.verdict, style=_STYLES[one.verdict]))
    return cells


def _change(one: Tried) -> str:
    """Return the change of the FRR in points, with its interval."""
    change, interval = one.changes[JUDGED], one.intervals[JUDGED]
    if change is None:
        return "–"
    if interval is None:
        return _points(change)
    return f"{_points(change)} ({_points(interval[0])} to {_points(interval[1])})"


def _points(value: float) -> str:
    return f"{100 * value:+.2g}" if abs(value) < 0.1 else f"{100 * value:+.0f}"


def _share(one: Tried, base: Tried, figure: str) -> str:
    """Return the change of a figure as a share of that of the rows as they are."""
    change, before = one.changes[figure], base.figures[figure]
    return "–" if change is None or not before else f"{100 * change / before:+.0f} %"


def _answer(trial: Trial) -> list[RenderableType]:
    """Return what the trial says, in words."""
    base, others = trial.tried[0], trial.tried[1:]
    for one in others:
        if one.name == trial.chosen:
            before, after = rate(base.figures[JUDGED]), rate(one.figures[JUDGED])
            text = f"{one.name} helps: at FAR {rate(trial.max_far)}, FRR {before} becomes {after}."
            return [hanging("  ", Text(text, style="bold"))]
    text = "No remedy is shown to help here. Deploy the embeddings as they are."
    if any(one.verdict == "not shown" and (one.changes[JUDGED] or 0) < 0 for one in others):
        text += " Some may help, but these classes cannot show it: chance could do the same."
    return [hanging("  ", Text(text, style="bold"))]


def _remarks(trial: Trial) -> list[str]:
    found = []
    others = trial.tried[1:]
    if any(one.verdict == "not shown" and _beyond_zero(one) for one in others):
        found.append(
            f"An interval beyond 0 alone shows nothing: of {len(others)} remedies tried, chance "
            "makes some look good. The verdicts allow for that (Holm)."
        )
    if not trial.supported:
        found.append(
            f"The held-out impostor pairs are too few to resolve FAR {rate(trial.max_far)}; the "
            "verdicts rest on a handful of pairs."
        )
    for name, why in trial.not_tried.items():
        found.append(f"{name} was not tried: {plain(why, 200)}.")
    return found


def _beyond_zero(one: Tried) -> bool:
    """Return whether the interval of the change of the FRR does not hold 0."""
    interval = one.intervals[JUDGED]
    return interval is not None and (interval[0] > 0 or interval[1] < 0)


def _next(trial: Trial, source: str, out: str | None, written: str | None) -> Commands:
    """Return the commands that go on from here."""
    if out is not None and written is not None:
        folder = plain(shlex.quote(out), 400)
        return Commands(
            [
                (f"opis evaluate {source} --remedy {folder}", "the rows with the remedy"),
                (f"opis apply {folder} {source} -o changed.parquet", "vectors to deploy"),
            ]
        )
    if trial.chosen is not None:
        command = f"opis remedy {source} --try {trial.chosen} --out remedy"
        return Commands([(command, "fits it on all classes, and keeps it")])
    return Commands([(f"opis explain {source}", "which pairs, classes and rows are wrong")])
