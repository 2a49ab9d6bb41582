"""Draw pictures of several models: utility curves side by side, and the Pareto front."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from opis_cli.errors import SettingsError
from opis_cli.judging.models import Comparison, Model
from opis_cli.records import Curve
from opis_cli.render.axes import (
    CHOSEN,
    FAR,
    GREY,
    columns_in_view,
    name_thresholds,
    new_figure,
    shade_range,
    utility_curves,
    veil_estimates,
    view,
)
from opis_cli.report.evaluation import Evaluation
from opis_cli.scoring import curves
from opis_cli.text import number, plain, printable, rate

_LEAST_AREA, _AREA, _MOST_AREA = 30.0, 90.0, 420.0
"""Area of a marker in square points: the least, that of a model of unknown size, and the most."""


def side_by_side(runs: Sequence[Evaluation], comparison: Comparison) -> Figure:
    """Draw the utility of every class of every model, in panels that share both axes.

    Each further panel also shows the mean curve of the first model, for comparison.
    """
    columns = min(len(runs), 2)
    rows = math.ceil(len(runs) / columns)
    figure = new_figure(10.0, 0.9 + 3.5 * rows)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    panels = list(grid.ravel())
    for panel in panels[len(runs) :]:
        panel.set_visible(False)
    spans = [view(run) for run in runs]
    span = min(low for low, _ in spans), max(high for _, high in spans)
    for i, (run, model, panel) in enumerate(zip(runs, comparison.models, panels, strict=False)):
        _curves(panel, run, model, span)
        if i:
            x, mean = _mean(runs[0], span)
            panel.plot(x, mean, color=FAR, lw=1.4, ls=":", zorder=6, label="mean of the first")
    panels[0].set(xlim=span, ylim=(-0.02, 1.02))
    for panel in panels[max(len(runs) - columns, 0) : len(runs)]:
        name_thresholds(panel, comparison.metric)
        panel.xaxis.set_tick_params(labelbottom=True)
    for panel in grid[:, 0]:
        panel.set_ylabel("utility")
    named: dict[str, Any] = {}
    for panel in panels[: len(runs)]:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            named.setdefault(label, handle)
    figure.legend(
        list(named.values()),
        list(named),
        loc="outside lower center",
        ncols=4,
        frameon=False,
        fontsize=8,
    )
    return figure


def _curves(panel: Axes, run: Evaluation, model: Model, span: tuple[float, float]) -> None:
    utility_curves(panel, run, span)
    veil_estimates(panel, run)
    shade_range(panel, run.consistency)
    threshold = run.report.recommendation.threshold
    if threshold is not None:
        panel.axvline(threshold, color=CHOSEN, lw=1.5, zorder=6, label="recommended")
    panel.spines[["top", "right"]].set_visible(False)
    title = f"{_name(model.name)}\nOPIS {number(model.opis, 3)}   R@1 {rate(model.recall_at_1)}"
    panel.set_title(title, loc="left", fontsize=10)


def _mean(run: Evaluation, span: tuple[float, float]) -> tuple[Curve, Curve]:
    columns = columns_in_view(run, span)
    classes, counts = run.consistency.classes, run.whole
    if len(classes):
        mean = curves.mean_utility(counts, run.settings.beta, classes, columns)
    else:
        pooled = curves.pooled_utility(counts, run.settings.beta)
        mean = pooled[counts.grid.by_class[columns]]
    return counts.grid.class_thresholds[columns], mean


def pareto(comparison: Comparison) -> Figure:
    """Draw inconsistency against recognition error, with the Pareto front, sizes and twins.

    Raises
    ------
    SettingsError
        No model has both an OPIS and a recall@1.
    """
    figure = new_figure(8.0, 5.2)
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
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
            axes.plot(x, y, ":", color=FAR, lw=1.6, zorder=2, label=label)
    for i, (model, area) in enumerate(zip(shown, _areas(shown), strict=True), start=1):
        color = CHOSEN if model.on_front else GREY
        axes.scatter(*places[model.name], area, color=color, edgecolors="white", zorder=4)
        size = "" if model.size is None else f" ({number(model.size)})"
        axes.plot([], [], "o", color=color, label=f"{i}  {_name(model.name)}{size}")
        axes.annotate(
            str(i),
            places[model.name],
            (0.36 * math.sqrt(area) + 3, 0.36 * math.sqrt(area) + 2),
            textcoords="offset points",
            fontsize=9,
            zorder=5,
        )
    axes.set(xlabel="recognition error, 1 - recall@1", ylabel="inconsistency, OPIS")
    axes.grid(color="0.93", lw=0.7, zorder=0)
    axes.legend(
        loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0, fontsize=8, frameon=False
    )
    axes.set_title("Lower and further left is better", loc="left", fontsize=10)
    return figure


def _front(axes: Axes, front: list[tuple[float, float]]) -> None:
    """Draw the Pareto front to the edges of the axes.

    Some model is at least as good as every point above the front or right of it.
    """
    if front:
        x, y = np.array(sorted(front)).T
        x = np.concatenate([x[:1], x, [axes.get_xlim()[1]]])
        y = np.concatenate([[axes.get_ylim()[1]], y, y[-1:]])
        axes.step(x, y, where="post", color=CHOSEN, lw=1.3, zorder=3, label="Pareto front")


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


def _name(name: str) -> str:
    return printable(plain(name, 32)).replace("$", r"\$")
