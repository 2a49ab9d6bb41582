"""Pictures of a run: matplotlib figures, made without pyplot so that none is ever left open.

``draw`` makes any of ``KINDS``. Impostors and FAR are blue and solid throughout, genuine pairs and
FRR orange and dashed, the worst classes red; the colours are told apart by colour-blind readers.
"""

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from scipy.special import ndtr, ndtri

from opis_cli import curves
from opis_cli.curves import Curve
from opis_cli.errors import SettingsError
from opis_cli.recommend import class_rates
from opis_cli.records import Ints
from opis_cli.scores import trapezoid_weights
from opis_cli.text import number, rate

if TYPE_CHECKING:
    from opis_cli.runs import Run

KINDS = ("utility", "rates", "det", "histogram", "classes")

_FAR, _FRR, _WORST, _CHOSEN, _DEPLOYED = "#0072B2", "#E69F00", "#C1272D", "#009E73", "#9A5AA8"
_GREY, _RANGE = "#66707A", "#DCE6EE"
_BINS = 120
_NAMED = 5
_LEAST_RATE = 1e-6
_PROBIT_TICKS = np.array(
    [1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99, 0.999, 0.9999]
)


class _Figure(Figure):
    """A figure that notebooks show even where pyplot was never imported."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


def draw(run: "Run", kind: str = "utility") -> Figure:
    """Draw a picture of a run.

    Parameters
    ----------
    run : Run
    kind : {"utility", "rates", "det", "histogram", "classes"}
        - ``utility``: utility of every class and pooled rates against the threshold.
        - ``rates``: FAR and FRR of every class against the threshold.
        - ``det``: pooled FRR against FAR on normal-deviate axes.
        - ``histogram``: distances of genuine and of impostor pairs.
        - ``classes``: FAR and FRR of every class at the recommended threshold.

    Returns
    -------
    matplotlib.figure.Figure
        With no window and no global state; ``savefig`` writes it.

    Raises
    ------
    SettingsError
        There is no such kind.
    """
    drawers: dict[str, Callable[[Run], Figure]] = {
        "utility": _utility,
        "rates": _rates,
        "det": _det,
        "histogram": _histogram,
        "classes": _classes,
    }
    if kind not in drawers:
        raise SettingsError(f"there is no plot {kind!r}; the kinds are {', '.join(KINDS)}")
    return drawers[kind](run)


def _utility(run: "Run") -> Figure:
    figure, (upper, lower) = _panels(6.4, (3, 2))
    counts, found, beta = run.counts, run.consistency, run.settings.beta
    columns = _columns(run)
    x = counts.grid.class_thresholds[columns]
    values = curves.class_utility(counts, beta, found.classes, columns)
    worst = np.isin(found.classes, found.worst) & (len(found.worst) < len(found.classes))
    _class_curves(upper, x, values[~worst], _GREY, 2, "a class", len(values))
    if worst.any():
        share = f"{100 * run.settings.eps:g} %"
        _class_curves(upper, x, values[worst], _WORST, 3, f"a class of the worst {share}")
        mean = values[worst].mean(axis=0)
        _line(upper, x, mean, _WORST, "--", f"mean of the worst {share}")
    _line(upper, x, values.mean(axis=0), "black", "-", "mean of the classes")
    upper.set(ylabel="utility" if beta == 1 else f"utility (β = {beta:g})", ylim=(-0.02, 1.02))
    thresholds = counts.grid.thresholds
    _line(lower, thresholds, curves.pooled_far(counts), _FAR, "-", "FAR, pooled")
    _line(lower, thresholds, curves.pooled_frr(counts), _FRR, "--", "FRR, pooled")
    bounds = run.settings.bounds
    for bound, color, label in zip(bounds, (_FAR, _FRR), ("max FAR", "max FRR"), strict=True):
        _bound(lower, bound, color, label)
    lower.set(yscale="log", ylim=(_least_rate(run), 1.4), ylabel="error rate")
    return _along_thresholds(figure, run)


def _rates(run: "Run") -> Figure:
    figure, panels = _panels(6.8, (1, 1))
    counts, classes, columns = run.counts, run.consistency.classes, _columns(run)
    x, least = counts.grid.class_thresholds[columns], _least_rate(run)
    far = curves.class_far(counts, classes, columns), curves.pooled_far(counts)
    frr = curves.class_frr(counts, classes, columns), curves.pooled_frr(counts)
    both = (("FAR", far, _FAR), ("FRR", frr, _FRR))
    for axes, (name, (values, pooled), color), bound in zip(
        panels, both, run.settings.bounds, strict=True
    ):
        _class_curves(axes, x, np.maximum(values, least / 10), _GREY, 2, "a class")
        _line(axes, counts.grid.thresholds, pooled, color, "-", f"{name}, pooled")
        _line(axes, x, values.mean(axis=0), "black", "--", "mean of the classes")
        _bound(axes, bound, color, f"max {name}")
        axes.set(yscale="log", ylim=(least, 1.4), ylabel=name)
    return _along_thresholds(figure, run)


def _histogram(run: "Run") -> Figure:
    figure, (axes,) = _panels(4.4, (1,))
    counts = run.counts
    low, high = _view(run, 1.0)
    edges = np.linspace(low, high, _BINS + 1)
    for accepted, color, style, label in (
        (counts.pooled_impostor, _FAR, "-", "impostor pairs"),
        (counts.pooled_genuine, _FRR, "--", "genuine pairs"),
    ):
        density = _density(counts.grid.thresholds, accepted, edges)
        axes.stairs(density, edges, fill=True, color=color, alpha=0.25, linewidth=0, zorder=2)
        axes.stairs(
            density, edges, color=color, linestyle=style, linewidth=1.5, label=label, zorder=3
        )
    axes.set(ylabel="density", ylim=(0, None))
    return _along_thresholds(figure, run, "distance", (low, high))


def _density(thresholds: Curve, accepted: Ints, edges: Curve) -> Curve:
    """Density of pairs in uniform bins, from counts at uneven thresholds."""
    below = np.interp(edges, thresholds, accepted)
    below[0], below[-1] = 0, accepted[-1]
    return np.diff(below) / np.diff(edges) / max(int(accepted[-1]), 1)


def _det(run: "Run") -> Figure:
    figure, (axes,) = _panels(6.4, (1,))
    counts, report = run.counts, run.report
    half_far, half_frr = 0.5 / counts.impostor_total, 0.5 / counts.genuine_total
    far = np.clip(curves.pooled_far(counts), half_far, 1 - half_far)
    frr = np.clip(curves.pooled_frr(counts), half_frr, 1 - half_frr)
    shown = [p for p in report.operating_points if p.supported and p.frr is not None]
    chosen = report.recommendation
    highest = max([0.5, 1.5 * report.eer.rate, chosen.frr or 0, *(p.frr or 0 for p in shown)])
    _probit(axes, "x", half_far, max(0.5, 1.5 * report.eer.rate), half_far)
    _probit(axes, "y", half_frr, highest, half_frr)
    axes.plot([half_far, 1 - half_far], [half_far, 1 - half_far], color="0.8", lw=0.8, zorder=1)
    clipped = "DET curve, pooled (a rate of zero is drawn as half a pair)"
    _line(axes, far, frr, "black", "-", clipped)
    eer = f"EER {rate(report.eer.rate)}"
    _point(axes, report.eer.rate, report.eer.rate, "D", _WORST, eer)
    for i, point in enumerate(shown):
        place = max(point.achieved_far or 0, half_far), max(point.frr or 0, half_frr)
        _point(axes, *place, "o", "white", "" if i else "FRR at FAR 10 %, 1 %, 0.1 %, …")
        axes.annotate(
            rate(point.frr), place, (6, 5), textcoords="offset points", fontsize=8, zorder=6
        )
    if chosen.far is not None and chosen.frr is not None:
        label = f"recommended: FAR {rate(chosen.far)}, FRR {rate(chosen.frr)}"
        place = max(chosen.far, half_far), max(chosen.frr, half_frr)
        _point(axes, *place, "*", _CHOSEN, label, 13)
    _bound(axes, run.settings.bounds[0], _FAR, "max FAR", vertical=True)
    _bound(axes, run.settings.bounds[1], _FRR, "max FRR")
    axes.set(xlabel="FAR, pooled (%)", ylabel="FRR, pooled (%)")
    axes.grid(color="0.92", linewidth=0.7)
    return _finish(figure, run)


def _probit(axes: Axes, which: str, least: float, highest: float, half: float) -> None:
    """Make an axis of rates a normal-deviate one, with ticks in percent."""
    low, high = max(least * 0.7, _LEAST_RATE * 0.7), min(highest, 1 - half)
    ticks = _PROBIT_TICKS[(low <= _PROBIT_TICKS) & (high >= _PROBIT_TICKS)]
    # Limits first: the scale has no place for the default ones, 0 and 1.
    axes.set(**{f"{which}lim": (low, high)})
    axes.set(**{f"{which}scale": ("function")}) if False else None
    set_scale = axes.set_xscale if which == "x" else axes.set_yscale
    set_scale("function", functions=(ndtri, ndtr))
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_ticks(ticks, [f"{100 * tick:g}" for tick in ticks])
    axis.set_minor_locator(NullLocator())


def _classes(run: "Run") -> Figure:
    figure, (axes,) = _panels(5.6, (1,))
    counts, found = run.counts, run.consistency
    far, frr, ranking, where = _rates_of_classes(run)
    sizes = counts.sizes[found.classes]
    area = np.clip(24 * sizes / np.median(sizes), 6, 200) * np.clip(30 / len(sizes), 0.3, 1) ** 0.5
    worst = np.lexsort((found.mean_utilities, ranking))[: min(_NAMED, len(sizes))]
    x, y = _log_with_zero(axes, "x", far, run), _log_with_zero(axes, "y", frr, run)
    rest = np.setdiff1d(np.arange(len(sizes)), worst)
    alpha = _alpha(len(sizes))
    axes.scatter(
        x[rest], y[rest], area[rest], _GREY, alpha=alpha, linewidths=0, rasterized=True, zorder=3,
        label="a class, the larger the more rows",
    )  # fmt: skip
    axes.scatter(
        x[worst], y[worst], np.maximum(area[worst], 24), _WORST, edgecolors="white",
        linewidths=0.6, zorder=4, label="of least utility",
    )  # fmt: skip
    _name_points(axes, x[worst], y[worst], counts.class_names[found.classes[worst]])
    _bound(axes, run.settings.bounds[0], _FAR, "max FAR", vertical=True)
    _bound(axes, run.settings.bounds[1], _FRR, "max FRR")
    axes.set(xlabel=f"FAR of the class {where}", ylabel=f"FRR of the class {where}")
    return _finish(figure, run)


def _rates_of_classes(run: "Run") -> tuple[Curve, Curve, Curve, str]:
    """FAR, FRR and utility of the classes at the recommended threshold, else over the range."""
    counts, found = run.counts, run.consistency
    at = run.report.recommendation.threshold
    rates = None if at is None else class_rates(counts, run.settings.beta, at)
    if rates is not None:
        return rates.far, rates.frr, rates.utility, f"at the recommended {number(at)}"
    columns = _columns(run, (found.low, found.high))
    weights = trapezoid_weights(counts.grid.class_thresholds[columns])
    far = curves.class_far(counts, found.classes, columns) @ weights
    frr = curves.class_frr(counts, found.classes, columns) @ weights
    return far, frr, found.mean_utilities, "(mean over the calibration range)"
