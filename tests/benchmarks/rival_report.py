"""What came out of ``rivals.py``: the table of the README, and the figure."""

import re
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator
from rival_scripts import RIVALS, Rival

from opis_cli.files import write_text
from opis_cli.render.colors import DASHES, NOTE, SERIES
from opis_cli.render.pictures import save_figure
from opis_cli.render.sheet import Look, Sheet, fonts

_ROOT = Path(__file__).parents[2]
FIGURE = _ROOT / "sample_data/figures/rivals.png"
_BLOCK = re.compile(r"(<!-- rivals.*?-->\n).*?(<!-- /rivals -->)", re.DOTALL)
_MARKERS = "osD^vPX"
_ROOM = 1.6
"""Ratio of two values from which on their labels stand clear of each other."""


def show(found: dict[str, Any]) -> None:
    """Write the documents and the figure."""
    for document, text in documents(found).items():
        write_text(document, text)
        print(f"written to {document}")
    save_figure(figure(found), FIGURE)
    print(f"written to {FIGURE}")


def documents(found: dict[str, Any]) -> dict[Path, str]:
    """Return the documents that tell what was found, as they should be."""
    told = {_ROOT / "tests/benchmarks/README.md": table(found), _ROOT / "README.md": summary(found)}
    return {
        document: _BLOCK.sub(
            lambda block, text=text: block[1] + text + block[2],
            document.read_text(encoding="utf-8"),
        )
        for document, text in told.items()
    }


def measured(found: dict[str, Any]) -> list[tuple[Rival, dict[int, dict[str, Any]]]]:
    """Return each approach that took part, with what it took by the number of rows."""
    return [
        (rival, {int(rows): every[rival.package] for rows, every in found["rows"].items()})
        for rival in RIVALS
        if rival.package in found["versions"]
    ]


def table(found: dict[str, Any]) -> str:
    """A line an approach in Markdown: time, how many times that of opis, and memory."""
    approaches = measured(found)
    ours = approaches[0][1]
    titles = [f"{rows:,} rows: time, ratio to opis, memory" for rows in ours]
    lines = [["approach", *titles, "what it yields"], ["---"] * (len(titles) + 2)]
    for rival, taken in approaches:
        cells = [_cell(one, ours[rows]) for rows, one in taken.items()]
        lines.append([f"{rival.name}, `{rival.call}`", *cells, rival.yields])
    versions = ", ".join(f"{one.name} {found['versions'][one.package]}" for one, _ in approaches)
    rows = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return f"{rows}\nMeasured on {found['machine']}, with {versions}.\n"


def summary(found: dict[str, Any]) -> str:
    """Return a line about the scripts that yield curves, for the most rows."""
    approaches = [(rival, list(taken.items())[-1]) for rival, taken in measured(found)]
    (_, (rows, ours)), *others = approaches
    told = ", ".join(
        f"with {rival.name} took {one['failed']}"
        if "failed" in one
        else f"with {rival.name} took {_short(one['seconds'] / ours['seconds'])} times as long"
        for rival, (_, one) in others
        if rival.curves
    )
    # Markdown takes a comment at the start of a line for a paragraph of its own.
    return f"For such curves of {rows:,} rows, a script {told} "


def _cell(one: dict[str, Any], ours: dict[str, Any]) -> str:
    if "failed" in one:
        return str(one["failed"])
    ratio = one["seconds"] / ours["seconds"]
    return f"{_short(one['seconds'])} s, {_short(ratio)}, {one['bytes'] / 1e6:,.0f} MB"


def _short(value: float) -> str:
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"


def figure(found: dict[str, Any]) -> Figure:
    """Time and memory against the number of rows, with a line for each approach."""
    with fonts(Look()):
        sheet = Sheet()
        panels = sheet.panels(7.2, (1, 1))
        _panel(panels[0], found, "seconds", 1.0)
        _panel(panels[1], found, "bytes", 1e6)
        panels[0].set(ylabel="time, s")
        panels[0].set_title(
            "filled marks: curves by class; hollow marks: less, as the table says", loc="left"
        )
        panels[1].set(ylabel="peak memory over the rows, MB", xlabel="rows")
    return sheet.figure


def _panel(axes: Axes, found: dict[str, Any], what: str, unit: float) -> None:
    """Draw a line for each approach, with its name at the right."""
    approaches = measured(found)
    every = list(approaches[0][1])
    limit = found["limits"][what] / unit
    axes.axhline(limit, color=NOTE, linewidth=0.8, linestyle=":")
    axes.annotate("limit", (every[0], limit), (0, 3), textcoords="offset points", color=NOTE)
    axes.set(xscale="log", yscale="log")
    ends = []
    for (rival, taken), color, dash, marker in zip(
        approaches, SERIES, DASHES, _MARKERS, strict=False
    ):
        done = {rows: one[what] / unit for rows, one in taken.items() if what in one}
        axes.plot(
            list(done),
            list(done.values()),
            marker=marker,
            color=color,
            linestyle=dash,
            markerfacecolor=color if rival.curves else "white",
            zorder=4 if rival is RIVALS[0] else 3,
        )
        failed = next((one["failed"] for one in taken.values() if "failed" in one), "")
        name = f"{rival.name}: {failed}" if failed else rival.name
        ends.append((name, color, *list(done.items())[-1]))
    heights = _apart(np.array([value for *_, value in ends]))
    for (name, color, rows, value), height in zip(ends, heights, strict=True):
        axes.annotate(
            name,
            (rows, value),
            (every[-1] * 1.25, height),
            color=color,
            va="center",
            arrowprops={"arrowstyle": "-", "color": color, "lw": 0.6, "shrinkA": 1, "shrinkB": 4},
        )
    axes.set_xticks(every, [f"{rows:,}" for rows in every])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))


def _apart(values: np.ndarray) -> np.ndarray:
    """Return heights near the values, in their order and far enough apart for their labels."""
    order = np.argsort(values)
    step = np.log(_ROOM) * np.arange(len(values))
    # The nearest rising sequence with that least step: means of neighbours that are too close.
    groups: list[list[float]] = []
    for wish in np.log(values[order]) - step:
        groups.append([float(wish)])
        while len(groups) > 1 and np.mean(groups[-2]) > np.mean(groups[-1]):
            last = groups.pop()
            groups[-1] += last
    heights = np.empty(len(values))
    heights[order] = np.exp(np.concatenate([[np.mean(own)] * len(own) for own in groups]) + step)
    return heights
