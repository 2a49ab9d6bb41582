"""Draw the pictures of a run, as matplotlib figures without pyplot, so that none is left open.

``draw`` makes any of ``KINDS``. In all pictures, impostor pairs and the FAR are blue and solid,
genuine pairs and the FRR are orange and dashed, and the worst classes are red. Colour-blind readers
can tell these colours apart.
"""

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from scipy.special import ndtr, ndtri

from opis_cli.errors import SettingsError
from opis_cli.records import Curve, Ints
from opis_cli.render.axes import (
    CHOSEN,
    FAR,
    FRR,
    GREY,
    WORST,
    along_thresholds,
    band,
    bound,
    class_curves,
    columns_in_view,
    columns_of_bands,
    finish,
    least_rate,
    line,
    log_with_zero,
    number_points,
    opacity,
    panels,
    point,
    utility_curves,
    veil_estimates,
    view,
)
from opis_cli.render.confusion import confusion
from opis_cli.report.evaluation import Evaluation
from opis_cli.report.evidence import Evidence, no_evidence
from opis_cli.scoring import curves
from opis_cli.scoring.curves import class_rates
from opis_cli.scoring.opis import trapezoid_weights
from opis_cli.statistics.intervals import mean_band
from opis_cli.statistics.jackknife import LEVEL, spread
from opis_cli.text import rate, shown

KINDS = ("utility", "rates", "det", "roc", "histogram", "classes", "confusion")
FROM_EVIDENCE = ("confusion",)
"""Kinds that need the evidence of a run."""

_BINS = 120
"""Bins of the histogram."""
_NAMED = 5
"""Most classes that the picture of classes names."""
_LEAST_RATE = 1e-6
"""Lowest rate on a normal-deviate axis."""
_PROBIT_TICKS = np.array(
    [1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99, 0.999, 0.9999]
)


def draw(run: Evaluation, kind: str = "utility", evidence: Evidence | None = None) -> Figure:
    """Draw a picture of a run.

    Parameters
    ----------
    run : Evaluation
    kind : {"utility", "rates", "det", "roc", "histogram", "classes", "confusion"}
        - ``utility``: utility of every class and pooled rates against the threshold.
        - ``rates``: FAR and FRR of every class against the threshold.
        - ``det``: pooled FRR against FAR on normal-deviate axes, with intervals.
        - ``roc``: pooled share of accepted genuine pairs against FAR, with intervals.
        - ``histogram``: distances of genuine and of impostor pairs.
        - ``classes``: FAR and FRR of every class at the deployed threshold, if one was given,
          else at the recommended one.
        - ``confusion``: false accepts between the classes of the most confused class pairs.
    evidence : Evidence, optional
        For ``confusion``. By default it is the evidence in the folder of the run.

    Returns
    -------
    matplotlib.figure.Figure
        It has no window and no global state. Its ``savefig`` writes a file.

    Raises
    ------
    SettingsError
        There is no such kind.
    RunError
        The run has no evidence, and the kind needs it.
    """
    if check_kind(kind) in FROM_EVIDENCE:
        return _confusion(run, evidence)
    drawers: dict[str, Callable[[Evaluation], Figure]] = {
        "utility": _utility,
        "rates": _rates,
        "det": _det,
        "roc": _roc,
        "histogram": _histogram,
        "classes": _classes,
    }
    return drawers[kind](run)


def check_kind(kind: str) -> str:
    """Return the kind of a plot, if there is such a plot.

    Raises
    ------
    SettingsError
        There is no such plot.
    """
    if kind not in KINDS:
        raise SettingsError(f"there is no plot {kind!r}; the kinds are {', '.join(KINDS)}")
    return kind


def _confusion(run: Evaluation, evidence: Evidence | None) -> Figure:
    found = run.evidence(evidence)
    if found is None:
        raise no_evidence(run.folder, "the plot of confusion")
    return confusion(found)


def _utility(run: Evaluation) -> Figure:
    figure, (upper, lower) = panels(6.4, (3, 2))
    counts, beta = run.whole, run.settings.beta
    x, values = utility_curves(upper, run)
    if len(values) > 1 and counts.classes_are_units:
        low, high = mean_band(values)
        band(upper, x, low, high, "black", f"{100 * LEVEL:g} % interval of the mean")
    veil_estimates(upper, run)
    upper.set(ylabel="utility" if beta == 1 else f"utility (β = {beta:g})", ylim=(-0.02, 1.02))
    thresholds = counts.grid.thresholds
    line(lower, thresholds, counts.pooled_far, FAR, "-", "FAR, pooled")
    line(lower, thresholds, counts.pooled_frr, FRR, "--", "FRR, pooled")
    along = columns_of_bands(counts)
    for spread_of, color, label in (
        (spread(counts, "far", along), FAR, f"{100 * LEVEL:g} % intervals"),
        (spread(counts, "frr", along), FRR, ""),
    ):
        if spread_of is not None:
            band(lower, spread_of.thresholds, *spread_of.limits(), color, label)
    bounds = run.settings.bounds
    for value, color, label in zip(bounds, (FAR, FRR), ("max FAR", "max FRR"), strict=True):
        bound(lower, value, color, label)
    lower.set(yscale="log", ylim=(least_rate(run), 1.4), ylabel="error rate")
    return along_thresholds(figure, run)


def _rates(run: Evaluation) -> Figure:
    figure, both_panels = panels(6.8, (1, 1))
    counts, classes, columns = run.whole, run.consistency.classes, columns_in_view(run)
    x, least = counts.grid.class_thresholds[columns], least_rate(run)
    far = curves.class_far(counts, classes, columns), counts.pooled_far
    frr = curves.class_frr(counts, classes, columns), counts.pooled_frr
    both = (("FAR", far, FAR), ("FRR", frr, FRR))
    for axes, (name, (values, pooled), color), limit in zip(
        both_panels, both, run.settings.bounds, strict=True
    ):
        if len(values):
            one = f"a {run.report.source.one}"
            class_curves(axes, x, np.maximum(values, least / 10), GREY, 2, one)
        line(axes, counts.grid.thresholds, pooled, color, "-", f"{name}, pooled")
        if len(values):
            many = run.report.source.many
            line(axes, x, values.mean(axis=0), "black", "--", f"mean of the {many}")
        bound(axes, limit, color, f"max {name}")
        axes.set(yscale="log", ylim=(least, 1.4), ylabel=name)
    veil_estimates(both_panels[0], run)
    return along_thresholds(figure, run)


def _histogram(run: Evaluation) -> Figure:
    figure, (axes,) = panels(4.4, (1,))
    counts = run.counts
    low, high = view(run, 0.9999)
    edges = np.linspace(low, high, _BINS + 1)
    for accepted, color, style, label in (
        (counts.pooled_impostor, FAR, "-", "impostor pairs"),
        (counts.pooled_genuine, FRR, "--", "genuine pairs"),
    ):
        density = _density(counts.grid.thresholds, accepted, edges)
        axes.stairs(density, edges, fill=True, color=color, alpha=0.25, linewidth=0, zorder=2)
        axes.stairs(
            density, edges, color=color, linestyle=style, linewidth=1.5, label=label, zorder=3
        )
    axes.set(ylabel="density", ylim=(0, None))
    return along_thresholds(figure, run, "", (low, high))


def _density(thresholds: Curve, accepted: Ints, edges: Curve) -> Curve:
    """Return the density of pairs in uniform bins, from counts at uneven thresholds."""
    below = np.interp(edges, thresholds, accepted)
    below[0], below[-1] = 0, accepted[-1]
    return np.diff(below) / np.diff(edges) / max(int(accepted[-1]), 1)


def _det(run: Evaluation) -> Figure:
    figure, (axes,) = panels(6.4, (1,))
    counts, report = run.counts, run.report
    half_far, half_frr = 0.5 / counts.impostor_total, 0.5 / counts.genuine_total
    far = np.clip(counts.pooled_far, half_far, 1 - half_far)
    frr = np.clip(counts.pooled_frr, half_frr, 1 - half_frr)
    shown = [p for p in report.operating_points if p.supported and p.frr is not None]
    chosen = report.recommendation
    highest = max([0.5, 1.5 * report.eer.rate, chosen.frr or 0, *(p.frr or 0 for p in shown)])
    _probit(axes, "x", half_far, max(0.5, 1.5 * report.eer.rate), half_far)
    _probit(axes, "y", half_frr, highest, half_frr)
    axes.plot([half_far, 1 - half_far], [half_far, 1 - half_far], color="0.8", lw=0.8, zorder=1)
    _rate_bands(axes, run, lambda frr: frr)
    # A rate of zero has no place on these axes, so it is drawn as the rate of half a pair.
    line(axes, far, frr, "black", "-", "DET curve, pooled")
    eer = f"EER {rate(report.eer.rate)}"
    point(axes, report.eer.rate, report.eer.rate, "D", WORST, eer)
    for i, reached in enumerate(shown):
        place = max(reached.achieved_far or 0, half_far), max(reached.frr or 0, half_frr)
        point(axes, *place, "o", "white", "" if i else "FRR at FAR 10 %, 1 %, …")
        axes.annotate(
            rate(reached.frr), place, (6, 5), textcoords="offset points", fontsize=8, zorder=6
        )
    if chosen.far is not None and chosen.frr is not None:
        label = "recommended"
        place = max(chosen.far, half_far), max(chosen.frr, half_frr)
        point(axes, *place, "*", CHOSEN, label, 13)
    bound(axes, run.settings.bounds[0], FAR, "max FAR", vertical=True)
    bound(axes, run.settings.bounds[1], FRR, "max FRR")
    axes.set(xlabel="FAR, pooled (%)", ylabel="FRR, pooled (%)")
    axes.grid(color="0.92", linewidth=0.7)
    return finish(figure, run)


def _roc(run: Evaluation) -> Figure:
    figure, (axes,) = panels(5.6, (1,))
    counts, report = run.counts, run.report
    half_far = 0.5 / counts.impostor_total
    far = np.maximum(counts.pooled_far, half_far)
    _rate_bands(axes, run, lambda frr: 1 - frr)
    line(axes, far, 1 - counts.pooled_frr, "black", "-", "ROC curve, pooled")
    point(axes, report.eer.rate, 1 - report.eer.rate, "D", WORST, f"EER {rate(report.eer.rate)}")
    shown = [p for p in report.operating_points if p.supported and p.frr is not None]
    for i, reached in enumerate(shown):
        place = max(reached.achieved_far or 0, half_far), 1 - (reached.frr or 0)
        point(axes, *place, "o", "white", "" if i else "at FAR 10 %, 1 %, …")
    chosen = report.recommendation
    if chosen.far is not None and chosen.frr is not None:
        place = max(chosen.far, half_far), 1 - chosen.frr
        point(axes, *place, "*", CHOSEN, "recommended", 13)
    bound(axes, run.settings.bounds[0], FAR, "max FAR", vertical=True)
    limit = run.settings.bounds[1]
    if limit is not None:
        text = f"max FRR {rate(limit)}"
        axes.axhline(1 - limit, color=FRR, linestyle=":", linewidth=1.1, label=text, zorder=4)
    axes.set(
        xscale="log",
        xlim=(half_far * 0.7, 1.0),
        ylim=(-0.02, 1.02),
        xlabel="FAR, pooled",
        ylabel="genuine pairs accepted, 1 - FRR, pooled",
    )
    axes.grid(color="0.92", linewidth=0.7)
    return finish(figure, run)


def _rate_bands(axes: Axes, run: Evaluation, up: Callable[[Curve], Curve]) -> None:
    """Draw the interval of the FRR along the curve, and the interval of the FAR at some points.

    ``up`` maps the FRR to what the y axis shows.
    """
    counts = run.whole
    half_far, half_frr = 0.5 / counts.impostor_total, 0.5 / counts.genuine_total
    columns = columns_of_bands(counts)
    frr = spread(counts, "frr", columns)
    if frr is not None:
        x = np.clip(counts.pooled_far[counts.grid.by_class[columns]], half_far, 1 - half_far)
        low, high = (up(np.clip(end, half_frr, 1 - half_frr)) for end in frr.limits())
        band(axes, x, low, high, FRR, f"{100 * LEVEL:g} % interval of the FRR")
    points = [p.threshold or 0.0 for p in run.report.operating_points if p.supported]
    columns = np.flatnonzero(np.isin(counts.grid.class_thresholds, points))
    far = spread(counts, "far", columns) if len(columns) else None
    if far is not None:
        at = counts.grid.by_class[columns]
        y = up(np.clip(counts.pooled_frr[at], half_frr, 1 - half_frr))
        low, high = (np.clip(end, half_far, 1 - half_far) for end in far.limits())
        label = f"{100 * LEVEL:g} % interval of the FAR"
        axes.hlines(y, low, high, color=FAR, linewidth=1.4, zorder=6, label=label)


def _probit(axes: Axes, which: str, least: float, highest: float, half: float) -> None:
    """Give an axis of rates a normal-deviate scale, with ticks in percent."""
    low = max(least * 0.7, _LEAST_RATE * 0.7)
    high = min(float(ndtr(ndtri(min(highest, 1 - half)) + 0.3)), 1 - half)
    ticks = _PROBIT_TICKS[(low <= _PROBIT_TICKS) & (high >= _PROBIT_TICKS)]
    # Labels of rates below one in a thousand would run into each other.
    crowded = (ndtri(high) - ndtri(low) > 5) & (ticks < 1e-3)
    ticks = ticks[~crowded | (np.round(np.log10(ticks)) % 2 == 0)]
    # The limits are set first, because the scale cannot show the default limits 0 and 1.
    axes.set(**{f"{which}lim": (low, high)})
    set_scale = axes.set_xscale if which == "x" else axes.set_yscale
    set_scale("function", functions=(ndtri, ndtr))
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_ticks(ticks, [f"{100 * tick:g}" for tick in ticks])
    axis.set_minor_locator(NullLocator())


def _classes(run: Evaluation) -> Figure:
    figure, (axes,) = panels(5.6, (1,))
    counts, found = run.counts, run.consistency
    if not len(found.classes):
        raise SettingsError("there is no class to draw; --group-column names groups of pairs")
    far, frr, ranking, where = _rates_of_classes(run)
    one = run.report.source.one
    sizes = counts.sizes[found.classes]
    area = np.clip(24 * sizes / np.median(sizes), 6, 200) * np.clip(30 / len(sizes), 0.3, 1) ** 0.5
    worst = np.lexsort((found.mean_utilities, ranking))[: min(_NAMED, len(sizes))]
    x, y = log_with_zero(axes, "x", far, run), log_with_zero(axes, "y", frr, run)
    rest = np.setdiff1d(np.arange(len(sizes)), worst)
    axes.scatter(
        x[rest],
        y[rest],
        area[rest],
        GREY,
        alpha=max(opacity(len(sizes)), 0.15),
        linewidths=0,
        rasterized=True,
        zorder=3,
        label=f"a {one}, the larger the more {'pairs' if run.settings.pairs else 'rows'}",
    )
    number_points(axes, x[worst], y[worst], counts.class_names[found.classes[worst]])
    bound(axes, run.settings.bounds[0], FAR, "max FAR", vertical=True)
    bound(axes, run.settings.bounds[1], FRR, "max FRR")
    axes.set(xlabel=f"FAR of the {one} {where}", ylabel=f"FRR of the {one} {where}")
    return finish(figure, run)


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
