"""Draw the class pairs with most false accepts, as a matrix that puts confused classes together."""

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from opis_cli.errors import SettingsError
from opis_cli.records import Ints
from opis_cli.render.colors import WORST
from opis_cli.render.fonts import cover, width_of
from opis_cli.render.sheet import Look, Sheet, new_figure
from opis_cli.report.evidence import Evidence
from opis_cli.text import human_count, number, plain, rate, scale

if TYPE_CHECKING:
    import pandas as pd

_MOST = 24
"""Most classes of the picture, if it has room for them."""
_NAME = 20
"""Most characters of a name."""
_FONT = 0.9
"""Size of the names over that of other text."""
_GAP, _MARGIN = 0.06, 0.2
"""Distance of the names from the cells, and space at the sides, in inches."""
_CELL, _LARGEST_CELL = 0.025, 0.06
"""Sides of the least and of the largest cell in inches, for each point of the text."""
_COLORS = "Blues"

Matrix = NDArray[np.float64]


def confusion(evidence: Evidence, name: str = "", look: Look | None = None) -> Figure:
    """Draw the false accepts between the classes of the most confused class pairs.

    Parameters
    ----------
    evidence : Evidence
    name : str
        What the data are called.
    look : Look, optional
        The size of the picture, and its title.

    Raises
    ------
    SettingsError
        There is no false accept.
    """
    look = look or Look()
    facts, table = evidence.facts, evidence.class_pairs
    # Scored pairs have false accepts within a group too, which are no confusion of two.
    ends = zip(table["class_a"].tolist(), table["class_b"].tolist(), strict=True)
    table = table[(table["accepted"] > 0) & np.array([one != two for one, two in ends], bool)]
    if not len(table):
        raise SettingsError(
            f"there is no false accept at {scale(facts.metric)} {number(facts.threshold, 8)}, so "
            "no classes are confused; explain a larger threshold: `opis explain RUN --threshold T`"
        )
    font = _FONT * look.points
    names, side = _fitting(table, look.width - 2 * _MARGIN, font)
    inside = table[table["class_a"].isin(names) & table["class_b"].isin(names)]
    one, two = (inside[end].map(names.index).to_numpy() for end in ("class_a", "class_b"))
    accepted = _symmetric(len(names), one, two, inside["accepted"].to_numpy())
    pairs = _symmetric(len(names), one, two, inside["pairs"].to_numpy())
    merge = _symmetric(len(names), one, two, (inside["suggestion"] == "merge").to_numpy())
    rates = np.divide(accepted, pairs, out=np.zeros_like(pairs), where=pairs > 0)
    order = _seriated(rates)
    grid = np.ix_(order, order)

    figure, axes, below = _panels(side, len(names), look)
    cells = _cells(axes, rates[grid], accepted[grid], merge[grid] > 0, font)
    for place, row in enumerate(order):
        axes.text(
            place + _GAP / side,
            place + 0.5,
            plain(names[row], _NAME),
            va="center_baseline",
            fontsize=font,
            parse_math=False,
        )
    bar = figure.colorbar(cells, cax=below, orientation="horizontal")
    bar.locator = MaxNLocator(3)
    bar.formatter = FuncFormatter(lambda value, _: rate(value))
    bar.outline.set_visible(False)
    bar.set_label("accepted share of the pairs of two classes", loc="left", fontsize=font)
    bar.ax.tick_params(labelsize=font)
    share = float(inside["accepted"].sum()) / facts.false_accepts
    sheet = Sheet(look, axes=[axes])
    sheet.add_title(look.title or name or "confused classes", _facts(evidence, len(names), share))
    cover([figure])
    return figure


def _fitting(table: "pd.DataFrame", width: float, font: float) -> tuple[list[Any], float]:
    """Return as many of the most confused classes as have room, and the side of a cell in inches.

    Parameters
    ----------
    table : DataFrame
        Class pairs, those with most false accepts first.
    width : float
        Room for the cells and for the names beside them, in inches.
    font : float
        Size of the names in points.
    """
    for most in range(_MOST, 1, -1):
        names = _most_confused(table["class_a"].tolist(), table["class_b"].tolist(), most)
        # The order of the classes is not known yet, so the longest name may be the lowest.
        longest = max(width_of(plain(name, _NAME), font) for name in names)
        side = (width - longest - _GAP) / (len(names) + 1)
        if side >= _CELL * font or most == 2:
            break
    return names, float(np.clip(side, _CELL * font, _LARGEST_CELL * font))


def _panels(side: float, count: int, look: Look) -> tuple[Figure, Axes, Axes]:
    """Make a figure with a panel for the cells and their names, and one for the colour bar.

    A unit of the panel is a cell, which is a square of ``side`` inches.
    """
    height, line = side * count, look.points / 72
    title, bar = 5.5 * line, 5.0 * line
    whole = look.width, title + height + bar
    figure = new_figure(*whole)
    figure.set_layout_engine("none")

    def panel(left: float, bottom: float, across: float, up: float) -> Axes:
        inches = left / whole[0], bottom / whole[1], across / whole[0], up / whole[1]
        return figure.add_axes(inches)

    width = look.width - 2 * _MARGIN
    axes = panel(_MARGIN, bar, width, height)
    axes.set(xlim=(0, width / side), ylim=(count, 0))
    axes.axis("off")
    return figure, axes, panel(_MARGIN, bar - 1.6 * line, width / 2, 0.8 * line)


def _facts(evidence: Evidence, shown: int, share: float) -> list[str]:
    facts = evidence.facts
    kind, classes = "classes", evidence.rows["class"].nunique()
    if facts.of_scores:
        ends = evidence.class_pairs["class_a"], evidence.class_pairs["class_b"]
        kind, classes = "groups", len(set().union(*ends))
    return [
        f"{shown:,} of {classes:,} {kind}" if shown < classes else f"all {shown:,} {kind}",
        f"{rate(share)} of all {facts.false_accepts:,} false accepts",
        f"{scale(facts.metric)} {number(facts.threshold, 8)}",
        "numbers: false accepts",
    ]


def _most_confused(left: list[Any], right: list[Any], most: int) -> list[Any]:
    """Return the classes of the first class pairs, at most so many."""
    names: dict[Any, None] = {}
    for pair in zip(left, right, strict=True):
        new = [name for name in pair if name not in names]
        if len(names) + len(new) > most:
            break
        names |= dict.fromkeys(new)
    return list(names)


def _symmetric(count: int, one: Ints, two: Ints, values: NDArray[Any]) -> Matrix:
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
    axes: Axes, rates: Matrix, accepted: Matrix, merge: NDArray[np.bool_], font: float
) -> PatchCollection:
    """Draw the cells below the diagonal, with their numbers; return them for the colour bar."""
    rows, columns = np.tril_indices(len(rates), -1)
    scaled = Normalize(0, float(rates.max()))
    cells = PatchCollection(
        [Rectangle(place, 1, 1) for place in zip(columns.tolist(), rows.tolist(), strict=True)],
        cmap=_COLORS,
        norm=scaled,
        edgecolor="white",
        linewidth=1,
    )
    cells.set_array(rates[rows, columns])
    axes.add_collection(cells, autolim=False)
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        count = accepted[row, column]
        if not count:
            continue
        text = f"{count:.0f}" if count < 1_000 else human_count(count).replace(" ", "")
        color = "white" if scaled(rates[row, column]) > 0.55 else "black"
        place = column + 0.5, row + 0.5
        axes.text(
            *place, text, ha="center", va="center_baseline", fontsize=0.85 * font, color=color
        )
    suggested = np.argwhere(np.tril(merge, -1)).tolist()
    for row, column in suggested:
        frame = Rectangle((column, row), 1, 1, fill=False, edgecolor=WORST, linewidth=1.5, zorder=3)
        axes.add_patch(frame)
    if suggested:
        frame.set_label("may be one class")
        axes.legend(loc="upper right")
    return cells
