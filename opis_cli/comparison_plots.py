"""Pictures of several models: utility curves on the same axes, and the Pareto front."""

import math
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from opis_cli import curves
from opis_cli.drawing import (
    CHOSEN,
    FAR,
    GREY,
    RANGE,
    WORST,
    class_curves,
    columns_in_view,
    line,
    new_figure,
    view,
)
from opis_cli.models import Comparison, Model
from opis_cli.text import number, plain, printable, rate

if TYPE_CHECKING:
    from opis_cli.runs import Run

_LEAST_AREA, _MOST_AREA = 50, 420


def side_by_side(runs: "list[Run]", found: Comparison) -> Figure:
    """Utility of every class of every model, in panels that share both axes.

    Each panel shows the mean curve of the first model too, so that two can be told apart.
    """
    columns = min(len(runs), 2)
    rows = math.ceil(len(runs) / columns)
    figure = new_figure(10.0, 0.9 + 3.5 * rows)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    panels = list(grid.ravel())
    for panel in panels[len(runs) :]:
        panel.set_visible(False)
    for i, (run, model, panel) in enumerate(zip(runs, found.models, panels, strict=False)):
        _curves(panel, run, model)
        if i:
            x, mean = _mean(runs[0])
            panel.plot(x, mean, color=FAR, lw=1.3, ls=":", zorder=6, label="mean of the first")
    spans = [view(run) for run in runs]
    panels[0].set(
        xlim=(min(low for low, _ in spans), max(high for _, high in spans)), ylim=(-0.02, 1.02)
    )
    metric = "cosine distance" if found.metric == "cosine" else "Euclidean distance"
    figure.supxlabel(f"{metric} threshold", fontsize=10)
    figure.supylabel("utility", fontsize=10)
    named = {}
    for panel in panels[: len(runs)]:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            named.setdefault(label, handle)
    figure.legend(
        list(named.values()),
        list(named),
        loc="outside lower center",
        ncols=3,
        frameon=False,
        fontsize=8,
    )
    return figure


def _curves(panel: Axes, run: "Run", model: Model) -> None:
    counts, found, beta = run.counts, run.consistency, run.settings.beta
    columns = columns_in_view(run)
    x = counts.grid.class_thresholds[columns]
    values = curves.class_utility(counts, beta, found.classes, columns)
    worst = np.isin(found.classes, found.worst) & (len(found.worst) < len(found.classes))
    share = f"worst {100 * run.settings.eps:g} %"
    class_curves(panel, x, values[~worst], GREY, 2, "a class", len(values))
    if worst.any():
        class_curves(panel, x, values[worst], WORST, 3, f"a class of the {share}", len(values))
        line(panel, x, values[worst].mean(axis=0), WORST, "--", f"mean of the {share}")
    line(panel, x, values.mean(axis=0), "black", "-", "mean of the classes")
    panel.axvspan(found.low, found.high, color=RANGE, zorder=0, label="calibration range")
    if model.threshold is not None:
        panel.axvline(model.threshold, color=CHOSEN, lw=1.5, zorder=6, label="recommended")
    panel.spines[["top", "right"]].set_visible(False)
    title = f"{_name(model.name)}\nOPIS {number(model.opis, 3)}   R@1 {rate(model.recall_at_1)}"
    panel.set_title(title, loc="left", fontsize=10)


def _mean(run: "Run") -> tuple[curves.Curve, curves.Curve]:
    columns = columns_in_view(run)
    classes = run.consistency.classes
    mean = curves.mean_utility(run.counts, run.settings.beta, classes, columns)
    return run.counts.grid.class_thresholds[columns], mean


def pareto(found: Comparison) -> Figure:
    """Inconsistency against recognition error, with the Pareto front, sizes and twins."""
    figure = new_figure(8.0, 5.2)
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    shown = [model for model in found.models if model.opis is not None]
    places = {model.name: (1 - model.recall_at_1, model.opis or 0.0) for model in shown}
    _front(axes, [places[model.name] for model in shown if model.on_front])
    for base, twin in found.twins:
        if base in places and twin in places:
            (x, y), (to_x, to_y) = places[base], places[twin]
            label = "" if axes.get_label() else "to the remedied twin"
            axes.plot([x, to_x], [y, to_y], ":", color=GREY, lw=1.4, zorder=2, label=label)
            axes.set_label("twins")
    areas = _areas([model.size for model in shown])
    for i, (model, area) in enumerate(zip(shown, areas, strict=True), start=1):
        x, y = places[model.name]
        color = CHOSEN if model.on_front else GREY
        size = "" if model.size is None else f" ({number(model.size)})"
        label = f"{i}  {_name(model.name)}{size}"
        axes.scatter([x], [y], area, color=color, edgecolors="white", zorder=4, label=label)
        axes.annotate(
            str(i),
            (x, y),
            (0, math.sqrt(area) / 2 + 4),
            textcoords="offset points",
            ha="center",
            fontsize=9,
            zorder=5,
        )
    axes.set(xlabel="recognition error, 1 - recall@1", ylabel="inconsistency, OPIS")
    _scales(axes, list(places.values()))
    axes.grid(color="0.93", lw=0.7, zorder=0)
    axes.legend(
        loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0, fontsize=8, frameon=False
    )
    axes.set_title("Lower and further left is better", loc="left", fontsize=10)
    return figure


def _front(axes: Axes, front: list[tuple[float, float]]) -> None:
    """The Pareto front as the steps between what is reached and what is not."""
    x, y = np.array(sorted(front)).T if front else (np.array([]), np.array([]))
    axes.step(x, y, where="post", color=CHOSEN, lw=1.3, zorder=3, label="Pareto front")


def _scales(axes: Axes, places: list[tuple[float, float]]) -> None:
    """Logarithmic axes where the figures span more than a decade, with room at the edges."""
    for which, values in zip("xy", np.array(places).T if places else (), strict=False):
        log = bool(values.min() > 0 and values.max() > 10 * values.min())
        pad = 0.25 * np.log(values.max() / values.min()) if log else 0.15 * np.ptp(values)
        pad = pad or 0.1 * abs(values.max()) or 0.01
        low = values.min() * np.exp(-pad) if log else values.min() - pad
        high = values.max() * np.exp(pad) if log else values.max() + pad
        axes.set(**{f"{which}scale": "log" if log else "linear", f"{which}lim": (low, high)})


def _areas(sizes: list[float | None]) -> list[float]:
    """Areas of the markers, proportional to the numbers given, from least to most that shows."""
    known = [size for size in sizes if size is not None]
    most = max(known, default=1.0)
    return [90.0 if size is None else max(_MOST_AREA * size / most, _LEAST_AREA) for size in sizes]


def _name(name: str) -> str:
    return printable(plain(name, 32)).replace("$", r"\$")
