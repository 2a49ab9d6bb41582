"""Draw the class pairs with most false accepts, as a matrix that puts confused classes together."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from opis_cli.errors import SettingsError
from opis_cli.records import Ints
from opis_cli.render.axes import WORST, new_figure
from opis_cli.report.evidence import Evidence
from opis_cli.text import human_count, number, plain, printable, rate, scale

_MOST = 24
"""Most classes of the picture."""
_NAME = 20
"""Most characters of a name."""
_CELL, _LARGEST_CELL, _LETTER = 0.27, 0.6, 0.078
"""Sides of the least and of the largest cell, and width of a letter of a name, in inches."""
_WIDTH = 6.4
"""Least width of the picture in inches, for its title."""
_COLORS = "Blues"

Matrix = NDArray[np.float64]


def confusion(evidence: Evidence) -> Figure:
    """Draw the false accepts between the classes of the most confused class pairs.

    Raises
    ------
    SettingsError
        There is no false accept.
    """
    facts, table = evidence.facts, evidence.class_pairs
    table = table[table["accepted"] > 0]
    if not len(table):
        raise SettingsError(
            f"there is no false accept at {scale(facts.metric)} {number(facts.threshold, 8)}, so "
            "no classes are confused; explain a larger threshold: opis explain RUN --threshold T"
        )
    names = _most_confused(table["class_a"].tolist(), table["class_b"].tolist())
    inside = table[table["class_a"].isin(names) & table["class_b"].isin(names)]
    one, two = (inside[end].map(names.index).to_numpy() for end in ("class_a", "class_b"))
    accepted = _symmetric(len(names), one, two, inside["accepted"].to_numpy(np.float64))
    pairs = _symmetric(len(names), one, two, inside["pairs"].to_numpy(np.float64))
    merge = _symmetric(len(names), one, two, (inside["suggestion"] == "merge").to_numpy(np.float64))
    rates = np.divide(accepted, pairs, out=np.zeros_like(pairs), where=pairs > 0)
    order = _seriated(rates)
    grid = np.ix_(order, order)

    side = float(np.clip(4.2 / len(names), _CELL, _LARGEST_CELL))
    texts = [printable(plain(names[place], _NAME)) for place in order]
    across = side * len(names) + _LETTER * max(map(len, texts)) + 0.3
    figure = new_figure(max(across, _WIDTH), side * len(names) + 1.5)
    axes = figure.subplots()
    axes.set(aspect="equal", anchor="W")
    axes.axis("off")
    axes.set(xlim=(0, max(across, _WIDTH - 0.2) / side), ylim=(len(names) + 0.1, -0.1))
    colors = _cells(axes, rates[grid], accepted[grid], merge[grid] > 0, side)
    for place, text in enumerate(texts):
        axes.text(
            place + 0.2, place + 0.5, text, va="center_baseline", fontsize=9, parse_math=False
        )
    bar = figure.colorbar(
        colors, ax=axes, location="bottom", shrink=0.5, anchor=(0.0, 0.0), aspect=28, pad=0.02
    )
    bar.ax.xaxis.set_major_formatter(lambda value, _: rate(value))
    bar.outline.set_visible(False)
    bar.set_label("share of the pairs of two classes that is accepted", fontsize=8, loc="left")
    bar.ax.tick_params(labelsize=8)
    share = float(inside["accepted"].sum()) / facts.false_accepts
    axes.set_title(_title(evidence, len(names), share), loc="left", fontsize=10)
    return figure


def _title(evidence: Evidence, shown: int, share: float) -> str:
    facts = evidence.facts
    classes = evidence.rows["class"].nunique()
    of = f"these {shown:,} of {classes:,} classes" if shown < classes else f"all {shown:,} classes"
    return (
        f"{rate(share)} of all {facts.false_accepts:,} false accepts are between {of}\n"
        f"at {scale(facts.metric)} {number(facts.threshold, 8)}; a cell has their number"
    )


def _most_confused(left: list[Any], right: list[Any]) -> list[Any]:
    """Return the classes of the first class pairs, as many as the picture has room for."""
    names: dict[Any, None] = {}
    for pair in zip(left, right, strict=True):
        new = [name for name in pair if name not in names]
        if len(names) + len(new) > _MOST:
            break
        names |= dict.fromkeys(new)
    return list(names)


def _symmetric(count: int, one: Ints, two: Ints, values: Matrix) -> Matrix:
    matrix = np.zeros((count, count))
    matrix[one, two] = matrix[two, one] = values
    return matrix


def _seriated(rates: Matrix) -> Ints:
    """Return an order of the classes in which those that are confused stand together."""
    near = np.sqrt(rates)
    apart = 1 - near / near.max()
    np.fill_diagonal(apart, 0.0)
    tree = linkage(squareform(apart, checks=False), "average", optimal_ordering=True)
    return np.asarray(leaves_list(tree), np.int64)


def _cells(
    axes: Axes, rates: Matrix, accepted: Matrix, merge: NDArray[np.bool_], side: float
) -> PatchCollection:
    """Draw the cells below the diagonal, with their numbers; return them for the colour bar."""
    rows, columns = np.tril_indices(len(rates), -1)
    scaled = Normalize(0, float(rates.max()))
    cells = PatchCollection(
        [Rectangle((column, row), 1, 1) for row, column in zip(rows, columns, strict=True)],
        cmap=_COLORS,
        norm=scaled,
        edgecolor="white",
        linewidth=1,
    )
    cells.set_array(rates[rows, columns])
    axes.add_collection(cells, autolim=False)
    size = float(np.clip(26 * side, 6, 10))
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        count = accepted[row, column]
        if not count:
            continue
        text = f"{count:.0f}" if count < 1_000 else human_count(count).replace(" ", "")
        color = "white" if scaled(rates[row, column]) > 0.55 else "black"
        place = column + 0.5, row + 0.5
        axes.text(*place, text, ha="center", va="center_baseline", fontsize=size, color=color)
    suggested = list(zip(*np.nonzero(np.tril(merge, -1)), strict=True))
    for row, column in suggested:
        frame = Rectangle((column, row), 1, 1, fill=False, edgecolor=WORST, linewidth=1.5, zorder=3)
        axes.add_patch(frame)
    if suggested:
        frame.set_label("may be one class")
        axes.legend(loc="upper right", fontsize=8, frameon=False)
    return cells
