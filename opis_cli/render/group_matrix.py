"""Draw the FAR of each pair of groups at one threshold, as a matrix of cells (the form of NIST).

A cell is blue if the FAR is at most the bound, and orange to red if it is above. The scale is
logarithmic, and a number says the FAR where it fits.
"""

from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from numpy.typing import NDArray

from opis_cli.render.colors import NOTE
from opis_cli.render.fonts import cover, width_of
from opis_cli.render.sheet import Look, Sheet, new_figure
from opis_cli.report.evaluation import Evaluation
from opis_cli.report.groups_table import groups_of, pairs_of
from opis_cli.scoring.by_group import ByGroup, accepted_at, names_of
from opis_cli.text import plain, rate, scale, shown

_BELOW, _ABOVE = ("Blues", 0.1, 0.6), ("OrRd", 0.4, 0.95)
"""Colours up to the bound, and above it: a map of colours, and the part of it that is used."""
_NAME = 16
"""Most characters of the name of a group."""
_LEAST, _MOST = 0.6, 2.0
"""Powers of ten below and above the bound that the colours reach: at least, and at most."""
_DARK = 0.45
"""Share of this reach above the bound from which numbers are white."""
_LARGEST_CELL = 0.075
"""Side of the largest cell in inches, for each point of the text."""
_GAP, _MARGIN = 0.06, 0.15
"""Distance of the names from the cells, and space at the sides, in inches."""
_FEW, _HATCH = "#EEF0F2", "#B8BEC5"
"""Cells with too few pairs, and the lines in them."""

Matrix = NDArray[np.float64]


def group_matrix(run: Evaluation, look: Look) -> Figure:
    """Draw the FAR of the impostor pairs of each two groups at the global threshold.

    Raises
    ------
    RunError
        The run has no counts by pair of groups, or no threshold.
    """
    pairs, found = pairs_of(run), groups_of(run)
    searching = run.settings.gallery is not None
    far, total = np.full((pairs.number, pairs.number), np.nan), np.zeros((pairs.number,) * 2)
    accepted = accepted_at(pairs, np.full(len(pairs.one), found.threshold))[1]
    some = pairs.impostor_pairs > 0
    one, two = pairs.one[some], pairs.two[some]
    for ends in ((one, two),) if searching else ((one, two), (two, one)):
        far[ends] = accepted[some] / pairs.impostor_pairs[some]
        total[ends] = pairs.impostor_pairs[some]
    names = [_named(name, pairs.others) for name in names_of(pairs)]
    return _drawn(run, look, names, far, total, found)


def _named(name: Any, others: int) -> str:
    return f"{others:,} other groups" if name is None else plain(name, _NAME)


def _drawn(
    run: Evaluation, look: Look, names: list[str], far: Matrix, total: Matrix, found: ByGroup
) -> Figure:
    count, searching = len(names), run.settings.gallery is not None
    line = look.points / 72
    title, bar, label = 6.0 * line, 4.6 * line, 1.5 * line * searching
    # Small cells need small names. The widest name is as wide as the size of the names.
    longest = max(width_of(name, 1.0) for name in names)
    font = 0.9 * look.points
    for _ in range(2):
        side = (look.width - 2 * _MARGIN - longest * font - _GAP - label) / count
        side = min(side, _LARGEST_CELL * look.points)
        font = min(0.9 * look.points, 0.92 * 72 * side)
    left = _MARGIN + label + longest * font + _GAP
    upright = any(width_of(name, font) > 0.9 * side for name in names)
    below = (longest * font if upright else 1.2 * font / 72) + 2 * _GAP + label
    height = title + count * side + below + bar
    figure = new_figure(look.width, height)
    figure.set_layout_engine("none")

    def panel(x: float, y: float, width: float, up: float) -> Axes:
        return figure.add_axes((x / look.width, y / height, width / look.width, up / height))

    axes = panel(left, bar + below, count * side, count * side)
    axes.set(xlim=(0, count), ylim=(count, 0))
    reach = _reach(far, total, found)
    cells = _cells(axes, far, total, found, reach, side, look)
    middles = np.arange(count) + 0.5
    axes.set_xticks(middles, names, rotation=90 if upright else 0, fontsize=font)
    axes.set_yticks(middles, names, fontsize=font)
    axes.tick_params(length=0, pad=72 * _GAP)
    for text in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        text.set_parse_math(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if searching:
        axes.set(xlabel="group of the gallery row", ylabel="group of the query")
    room = 2.5 * line
    width = min(look.width - 2 * (_MARGIN + room), 3.6 * look.points / 10)
    _colour_bar(panel(_MARGIN + room, 3.2 * line, width, 0.8 * line), cells, found, reach, look)
    # The title begins at the left side of the picture, and not of the cells.
    head = panel(_MARGIN, height - title, look.width - 2 * _MARGIN, 0.2 * line)
    head.axis("off")
    sheet = Sheet(look, axes=[head])
    sheet.add_title(
        look.title or run.report.source.name, _facts(run, found, far, total, bool(axes.texts))
    )
    cover([figure])
    return figure


def _reach(far: Matrix, total: Matrix, found: ByGroup) -> float:
    """Return how many powers of ten below and above the bound the colours reach."""
    seen = far[_resolved(total, found) & (far > 0)]
    most = np.abs(np.log10(seen / found.max_far)).max(initial=_LEAST)
    return float(np.clip(most, _LEAST, _MOST))


def _cells(
    axes: Axes,
    far: Matrix,
    total: Matrix,
    found: ByGroup,
    reach: float,
    side: float,
    look: Look,
) -> PatchCollection:
    """Draw the cells with their numbers, and return those that have colours."""
    known = _resolved(total, found)
    level = np.log10(np.maximum(far, 1e-12) / found.max_far)
    rows, columns = np.nonzero(known)
    cells = PatchCollection(
        [Rectangle(place, 1, 1) for place in zip(columns.tolist(), rows.tolist(), strict=True)],
        cmap=_colors(),
        norm=Normalize(-reach, reach, clip=True),
        edgecolor="white",
        linewidth=min(1.0, 4 * side),
    )
    cells.set_array(level[rows, columns])
    axes.add_collection(cells, autolim=False)
    for row, column in np.argwhere(~known).tolist():
        cell = Rectangle((column, row), 1, 1, facecolor=_FEW, edgecolor=_HATCH, linewidth=0)
        cell.set_hatch("////")
        axes.add_patch(cell)
    size = min(0.85 * look.points, 0.36 * 72 * side)
    if size < 0.45 * look.points:
        return cells
    for row, column in np.argwhere(~np.isnan(far)).tolist():
        value = far[row, column]
        dark = bool(known[row, column]) and level[row, column] > _DARK * reach
        axes.text(
            column + 0.5,
            row + 0.5,
            _percent(value),
            ha="center",
            va="center_baseline",
            fontsize=size,
            weight="bold" if known[row, column] and value > found.max_far else "normal",
            color="white" if dark else "black" if known[row, column] else NOTE,
        )
    return cells


def _colors() -> ListedColormap:
    """Return the colours from far below the bound to far above it. They leap at the bound."""
    parts = (colormaps[name](np.linspace(low, high, 128)) for name, low, high in (_BELOW, _ABOVE))
    return ListedColormap(np.concatenate(list(parts)))


def _resolved(total: Matrix, found: ByGroup) -> NDArray[np.bool_]:
    """Return which cells have enough pairs to resolve the bound."""
    return np.asarray(total * found.max_far >= 3)


def _percent(value: float) -> str:
    """Return a share in percent with at most four characters."""
    percent = 100 * value
    if percent == 0:
        return "0"
    if percent < 0.01:
        return "<.01"
    return (
        f"{percent:.2f}" if percent < 1 else f"{percent:.1f}" if percent < 10 else f"{percent:.0f}"
    )


def _two(value: float) -> float:
    return float(f"{value:.2g}")


def _colour_bar(
    panel: Axes, cells: PatchCollection, found: ByGroup, reach: float, look: Look
) -> None:
    """Draw the colours, with the bound in their middle."""
    figure = panel.get_figure(root=True)
    assert figure is not None
    bar = figure.colorbar(cells, cax=panel, orientation="horizontal")
    places = [share * reach for share in (-1, -0.5, 0, 0.5, 1)]
    bar.locator, bar.minorlocator = FixedLocator(places), NullLocator()
    bar.formatter = FuncFormatter(lambda value, _: rate(_two(found.max_far * 10**value)))
    bar.outline.set_visible(False)
    bar.ax.axvline(0, color="black", linewidth=0.12 * look.points)
    bar.ax.tick_params(labelsize=0.85 * look.points)
    bar.set_label("FAR, with the bound in the middle", fontsize=0.85 * look.points)


def _facts(
    run: Evaluation, found: ByGroup, far: Matrix, total: Matrix, numbered: bool
) -> list[str]:
    metric, known = run.settings.metric, _resolved(total, found)
    above = known & (far > found.max_far)
    facts = ["FAR by pair of groups", f"{scale(metric)} {shown(found.threshold, metric)}"]
    if run.settings.gallery is None:
        known, above = np.tril(known), np.tril(above)
    facts.append(f"{above.sum():,} of {known.sum():,} above {rate(found.max_far)}")
    if numbered:
        facts.append("numbers: FAR in %")
    if not _resolved(total, found).all():
        facts.append(f"hatched: under {int(np.ceil(round(3 / found.max_far, 6))):,} impostor pairs")
    return facts
