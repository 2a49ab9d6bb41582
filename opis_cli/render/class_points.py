"""The picture of classes: FAR and FRR of each at one threshold, as points or as their density."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure

from opis_cli.errors import SettingsError
from opis_cli.records import Curve, Ints
from opis_cli.render.axes import bound, finish, fit_rates
from opis_cli.render.class_curves import columns_in_view, to_name
from opis_cli.render.colors import FAR, FRR, GREY, NOTE, WORST
from opis_cli.render.labels import name_points
from opis_cli.render.sheet import Sheet
from opis_cli.report.evaluation import Evaluation
from opis_cli.scoring import curves
from opis_cli.scoring.curves import class_rates
from opis_cli.scoring.opis import trapezoid_weights
from opis_cli.text import shown

_MOST_POINTS = 1_000
"""Most classes that are drawn as points."""
_TIED = 0.5
"""Share of classes with a place of their own below which cells are drawn: points would hide."""
_CELLS = 48
"""Cells across the panel, and along it."""
_NAMED = 0.3
"""Area of the marker of a class that is named, as a share of a square of text."""
_SHADES = LinearSegmentedColormap.from_list("shades", ["#D5DAE0", "#3E4853"])


def classes(run: Evaluation, sheet: Sheet) -> Figure:
    """Draw FAR and FRR of every class, with the worst few named.

    Raises
    ------
    SettingsError
        There is no class.
    """
    (axes,) = sheet.panels(5.6, (1,))
    counts, found = run.counts, run.consistency
    if not len(found.classes):
        raise SettingsError("there is no class to draw; --group-column names groups of pairs")
    far, frr, utility, where = _rates_of_classes(run)
    max_far, max_frr = run.settings.bounds
    x = fit_rates(axes, "x", far, max_far)
    y = fit_rates(axes, "y", frr, max_frr)
    named = to_name(-utility, sheet.look)
    rest = np.setdiff1d(np.arange(len(x)), named)
    areas = _areas(counts.sizes[found.classes], sheet.look.points)
    one, many = run.report.source.one, run.report.source.many
    point_label = f"a {one}, the larger the more {run.report.counted}"
    places = len(np.unique(np.column_stack([x, y]).round(9), axis=0))
    if len(x) > _MOST_POINTS or places < _TIED * len(x):
        _density(axes, x, y, many)
    else:
        axes.scatter(
            x[rest],
            y[rest],
            areas[rest],
            GREY,
            alpha=0.7,
            lw=0,
            zorder=3,
            label=point_label if len(rest) else None,
        )
    all_named = len(named) == len(x)
    color, least = NOTE if all_named else WORST, _NAMED * sheet.look.points**2
    axes.scatter(
        x[named],
        y[named],
        np.maximum(areas[named], least) if all_named else least,
        color,
        edgecolors="white",
        lw=0.6,
        zorder=5,
        label=point_label if all_named else f"a {one} with least utility",
    )
    bound(axes, max_far, FAR, "max FAR", vertical=True)
    bound(axes, max_frr, FRR, "max FRR")
    axes.set(xlabel=f"FAR of the {one} {where}", ylabel=f"FRR of the {one} {where}")
    figure = finish(sheet, run)
    names = counts.class_names[found.classes[named]]
    anchors = [(x[[i]], y[[i]]) for i in named]
    colors = [color] * len(named)
    name_points(axes, anchors, names, (x, y), colors=colors, size=0.8 * sheet.look.points)
    return figure


def _areas(sizes: Ints, points: float) -> Curve:
    """Return the areas of the markers in square points, proportional to the sizes.

    They grow with the size of the text, so that a slide shows them as a page does.
    """
    few = float(np.clip(30 / len(sizes), 0.3, 1)) ** 0.5
    return np.asarray(np.clip(0.24 * sizes / np.median(sizes), 0.06, 2) * few * points**2)


def _density(axes: Axes, x: Curve, y: Curve, many: str) -> None:
    """Draw how many classes lie in each cell of the panel."""
    to_panel = (axes.transData + axes.transAxes.inverted()).transform
    inside = to_panel(np.column_stack([x, y]))
    edges = np.linspace(0, 1, _CELLS + 1)
    number, _, _ = np.histogram2d(inside[:, 0], inside[:, 1], bins=(edges, edges))
    corners = np.column_stack([edges, edges])
    x_edges, y_edges = (axes.transAxes + axes.transData.inverted()).transform(corners).T
    shown_cells = np.ma.masked_equal(number.T, 0)
    most = float(max(number.max(), 2))
    mesh = axes.pcolormesh(
        x_edges, y_edges, shown_cells, cmap=_SHADES, norm=LogNorm(1, most), zorder=2, lw=0
    )
    bar = axes.figure.colorbar(mesh, ax=axes, location="bottom", shrink=0.5, aspect=30, pad=0.02)
    bar.outline.set_visible(False)
    ticks = [step for step in (1, 10, 100, 1_000, 10_000, 100_000) if step <= most]
    bar.set_ticks(ticks, labels=[f"{tick:,}" for tick in ticks])
    bar.ax.minorticks_off()
    bar.set_label(f"{many} in a cell", loc="left")


def _rates_of_classes(run: Evaluation) -> tuple[Curve, Curve, Curve, str]:
    """Return FAR, FRR and utility of the classes, and the words for where they hold.

    They hold at the deployed threshold if there is one, else at the recommended threshold. If
    neither is there, or the counts have no rates by class at it, they are means over the
    calibration range.
    """
    counts, found = run.whole, run.consistency
    for name, judged in (
        ("deployed", run.report.deployed),
        ("recommended", run.report.recommendation),
    ):
        at = None if judged is None else judged.threshold
        rates = None if at is None else class_rates(run.counts, run.settings.beta, at)
        if at is not None and rates is not None:
            where = f"at the {name} {shown(at, counts.metric)}"
            return rates.far, rates.frr, rates.utility, where
    columns = columns_in_view(run, (found.low, found.high))
    weights = trapezoid_weights(counts.grid.class_thresholds[columns])
    far = curves.class_far(counts, found.classes, columns) @ weights
    frr = curves.class_frr(counts, found.classes, columns) @ weights
    return far, frr, found.mean_utilities, "(mean over the calibration range)"
