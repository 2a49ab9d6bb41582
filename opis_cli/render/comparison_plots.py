"""Draw pictures of several models: utility curves side by side, and the Pareto front."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from opis_cli.errors import SettingsError
from opis_cli.judging.models import Comparison, Model
from opis_cli.records import Curve
from opis_cli.render.axes import name_of_data, name_thresholds, shade_range, veil_estimates, view
from opis_cli.render.class_curves import columns_in_view, utility_curves
from opis_cli.render.colors import CHOSEN, FAR, NOTE
from opis_cli.render.error_curves import overlaid
from opis_cli.render.fonts import cover
from opis_cli.render.labels import name_points
from opis_cli.render.sheet import WIDTH, Look, Sheet, add_legend_below, fonts, look_of, new_figure
from opis_cli.report.evaluation import Evaluation
from opis_cli.scoring import curves
from opis_cli.text import number, plain, rate

KINDS = ("utility", "det", "roc", "pareto")
_WIDTH = 10.0
"""Width of panels side by side in inches, by default."""
_LEAST_AREA, _AREA, _MOST_AREA = 30.0, 90.0, 420.0
"""Area of a marker in square points: the least, that of a model of unknown size, and the most."""


def draw(
    runs: Sequence[Evaluation],
    comparison: Comparison,
    kind: str = "utility",
    *,
    look: Look | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw a picture of several runs.

    Parameters
    ----------
    runs : sequence of Evaluation
    comparison : Comparison
    kind : {"utility", "det", "roc", "pareto"}
        - ``utility``: utility of every class of every run, side by side.
        - ``det``, ``roc``: the pooled error curves of all runs in one panel.
        - ``pareto``: OPIS against recognition error, with the Pareto front, sizes and twins.
    look : Look, optional
        The size of the picture, and its title.
    ax : Axes, optional
        The user's own panel to draw into, except for ``utility``.

    Raises
    ------
    SettingsError
        There is no such kind, it cannot be drawn into ``ax``, or there are too many runs for it.
    """
    check_kind(kind)
    look = look or look_for(kind)
    sheet = Sheet(look, () if ax is None else (ax,))
    with fonts(look):
        if kind == "utility":
            if ax is not None:
                raise SettingsError("side by side, the runs make their own figure; leave out ax")
            return _side_by_side(runs, comparison, look)
        if kind == "pareto":
            return _pareto(runs, comparison, sheet)
        names = [model.name for model in comparison.models]
        return overlaid(runs, names, kind, sheet)


def check_kind(kind: str) -> str:
    """Return the kind of a plot of several runs, if there is such a plot.

    Raises
    ------
    SettingsError
        There is no such plot.
    """
    if kind not in KINDS:
        raise SettingsError(
            f"there is no plot {kind!r} of several runs; the kinds are {', '.join(KINDS)}"
        )
    return kind


def look_for(
    kind: str,
    width: float | str | None = None,
    title: str | None = None,
    font_size: float | None = None,
) -> Look:
    """Return the look of a picture of several runs, as ``look_of`` does."""
    return look_of(width, title, font_size, _WIDTH if kind == "utility" else WIDTH)


def _side_by_side(runs: Sequence[Evaluation], comparison: Comparison, look: Look) -> Figure:
    """Draw the utility of every class of every model, in panels that share both axes.

    Each further panel also shows the mean curve of the first model, for comparison.
    """
    columns = 1 if look.narrow else min(len(runs), 2)
    rows = math.ceil(len(runs) / columns)
    panel_width = look.width / columns
    figure = new_figure(look.width, 0.08 * look.points + 0.66 * panel_width * rows)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    panels = list(grid.ravel())
    for panel in panels[len(runs) :]:
        panel.set_visible(False)
    spans = [view(run) for run in runs]
    span = min(low for low, _ in spans), max(high for _, high in spans)
    for i, (run, model, panel) in enumerate(zip(runs, comparison.models, panels, strict=False)):
        _curves(panel, run, model, span, look)
        if i:
            x, mean = _mean(runs[0], span)
            panel.plot(x, mean, color=FAR, ls=":", zorder=6, label="mean of the first")
    panels[0].set(xlim=span, ylim=(-0.02, 1.02))
    for panel in panels[max(len(runs) - columns, 0) : len(runs)]:
        name_thresholds(panel, comparison.metric)
        panel.xaxis.set_tick_params(labelbottom=True)
    for panel in grid[:, 0]:
        panel.set_ylabel("utility")
    if look.title:
        figure.suptitle(plain(look.title, 120), weight="bold", parse_math=False)
    add_legend_below(figure, panels[: len(runs)], 2 if look.narrow else 4)
    cover([figure])
    return figure


def _curves(
    panel: Axes, run: Evaluation, model: Model, span: tuple[float, float], look: Look
) -> None:
    utility_curves(panel, run, span)
    veil_estimates(panel, run)
    shade_range(panel, run.consistency)
    threshold = run.report.recommendation.threshold
    if threshold is not None:
        panel.axvline(threshold, color=CHOSEN, zorder=6, label="recommended")
    panel.tick_params(labelsize=0.9 * look.points)
    facts = [] if model.name in run.report.source.name else [plain(run.report.source.name, 40)]
    facts += [f"OPIS {number(model.opis, 3)}", f"recall@1 {rate(model.recall_at_1)}"]
    sheet = Sheet(dataclasses.replace(look, title=None), axes=[panel])
    sheet.add_title(plain(model.name, 32), facts)


def _mean(run: Evaluation, span: tuple[float, float]) -> tuple[Curve, Curve]:
    columns = columns_in_view(run, span)
    classes, counts = run.consistency.classes, run.whole
    if len(classes):
        mean = curves.mean_utility(counts, run.settings.beta, classes, columns)
    else:
        pooled = curves.pooled_utility(counts, run.settings.beta)
        mean = pooled[counts.grid.by_class[columns]]
    return counts.grid.class_thresholds[columns], mean


def _pareto(runs: Sequence[Evaluation], comparison: Comparison, sheet: Sheet) -> Figure:
    """Draw inconsistency against recognition error, with the Pareto front, sizes and twins."""
    (axes,) = sheet.panels(4.7, (1,))
    places = {
        model.name: (1 - model.recall_at_1, model.opis)
        for model in comparison.models
        if model.opis is not None and model.recall_at_1 is not None
    }
    shown = [model for model in comparison.models if model.name in places]
    if not shown:
        raise SettingsError("--pareto draws OPIS against recall@1, and no model here has both")
    _scales(axes, list(places.values()))
    _front(axes, [places[model.name] for model in shown if model.on_front])
    for i, (base, twin) in enumerate(comparison.twins):
        if base in places and twin in places:
            x, y = zip(places[base], places[twin], strict=True)
            label = "_" if i else "base to its remedied twin"
            axes.plot(x, y, ":", color=FAR, zorder=2, label=label)
    colors = [CHOSEN if model.on_front else NOTE for model in shown]
    for model, area, color in zip(shown, _areas(shown), colors, strict=True):
        axes.scatter(*places[model.name], area, color=color, edgecolors="white", zorder=4)
    for color, label in ((CHOSEN, "a model on the front"), (NOTE, "another model")):
        if color in colors:
            axes.plot([], [], "o", color=color, label=label)
    axes.set(xlabel="recognition error, 1 - recall@1", ylabel="inconsistency, OPIS")
    axes.xaxis.set_major_formatter(lambda value, _: rate(round(value, 12)))
    axes.grid(color="0.93", lw=0.7, zorder=0)
    figure = sheet.finish(name_of_data(runs), ["lower and further left is better"])
    x, y = np.array([places[model.name] for model in shown]).T
    names = [
        model.name + ("" if model.size is None else f" ({number(model.size)})") for model in shown
    ]
    anchors = [(x[[i]], y[[i]]) for i in range(len(x))]
    name_points(axes, anchors, names, (x, y), colors=colors, size=0.8 * sheet.look.points)
    return figure


def _front(axes: Axes, front: list[tuple[float, float]]) -> None:
    """Draw the Pareto front to the edges of the axes.

    Some model is at least as good as every point above the front or right of it.
    """
    if front:
        x, y = np.array(sorted(front)).T
        x = np.concatenate([x[:1], x, [axes.get_xlim()[1]]])
        y = np.concatenate([[axes.get_ylim()[1]], y, y[-1:]])
        axes.step(x, y, where="post", color=CHOSEN, lw=1.2, zorder=3, label="Pareto front")


def _scales(axes: Axes, places: list[tuple[float, float]]) -> None:
    """Set the limits of both axes with room at the edges, and the scales.

    An axis is logarithmic if its values span more than a decade.
    """
    for which, values in zip("xy", np.array(places).T if places else (), strict=False):
        log = bool(values.min() > 0 and values.max() > 10 * values.min())
        pad = 0.25 * np.log(values.max() / values.min()) if log else 0.15 * np.ptp(values)
        pad = pad or 0.1 * abs(values.max()) or 0.01
        low = values.min() * np.exp(-pad) if log else values.min() - pad
        high = values.max() * np.exp(pad) if log else values.max() + pad
        axes.set(**{f"{which}scale": "log" if log else "linear", f"{which}lim": (low, high)})


def _areas(models: list[Model]) -> list[float]:
    """Return the areas of the markers, proportional to the sizes of the models, with a minimum."""
    most = max((model.size for model in models if model.size is not None), default=1.0)
    return [
        _AREA if model.size is None else max(_MOST_AREA * model.size / most, _LEAST_AREA)
        for model in models
    ]
