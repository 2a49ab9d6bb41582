"""Error curves: DET and ROC, of one run with intervals, or of several runs together."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from scipy.special import ndtr, ndtri

from opis_cli.errors import SettingsError
from opis_cli.records import Curve
from opis_cli.render.axes import band, bound, columns_of_bands, finish, line, name_of_data, point
from opis_cli.render.colors import CHOSEN, DASHES, FAR, FRR, MEAN, NOTE, SERIES
from opis_cli.render.sheet import Sheet
from opis_cli.report.evaluation import Evaluation
from opis_cli.statistics.jackknife import LEVEL, spread
from opis_cli.text import plain, rate

_LEAST_RATE = 1e-6
"""Lowest rate on a normal-deviate axis."""
_PROBIT_TICKS = np.array(
    [1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99, 0.999, 0.9999]
)


def det(run: Evaluation, sheet: Sheet) -> Figure:
    """Draw pooled FRR against FAR on normal-deviate axes."""
    (axes,) = sheet.panels(6.4, (1,))
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
    line(axes, far, frr, MEAN, "-", "DET curve, pooled")
    eer = f"EER {rate(report.eer.rate)}"
    point(axes, report.eer.rate, report.eer.rate, "D", NOTE, eer)
    for i, reached in enumerate(shown):
        place = max(reached.achieved_far or 0, half_far), max(reached.frr or 0, half_frr)
        point(axes, *place, "o", "white", "" if i else "FRR at FAR 10 %, 1 %, …")
        axes.annotate(
            rate(reached.frr),
            place,
            (6, 5),
            textcoords="offset points",
            fontsize=0.8 * sheet.look.points,
            zorder=6,
        )
    if chosen.far is not None and chosen.frr is not None:
        label = "recommended"
        place = max(chosen.far, half_far), max(chosen.frr, half_frr)
        point(axes, *place, "*", CHOSEN, label, 1.9)
    bound(axes, run.settings.bounds[0], FAR, "max FAR", vertical=True)
    bound(axes, run.settings.bounds[1], FRR, "max FRR")
    axes.set(xlabel="FAR, pooled (%)", ylabel="FRR, pooled (%)")
    axes.grid(color="0.92", linewidth=0.7)
    return finish(sheet, run)


def roc(run: Evaluation, sheet: Sheet) -> Figure:
    """Draw the pooled share of accepted genuine pairs against the FAR."""
    (axes,) = sheet.panels(5.6, (1,))
    counts, report = run.counts, run.report
    half_far = 0.5 / counts.impostor_total
    far = np.maximum(counts.pooled_far, half_far)
    _rate_bands(axes, run, lambda frr: 1 - frr)
    line(axes, far, 1 - counts.pooled_frr, MEAN, "-", "ROC curve, pooled")
    point(axes, report.eer.rate, 1 - report.eer.rate, "D", NOTE, f"EER {rate(report.eer.rate)}")
    shown = [p for p in report.operating_points if p.supported and p.frr is not None]
    for i, reached in enumerate(shown):
        place = max(reached.achieved_far or 0, half_far), 1 - (reached.frr or 0)
        point(axes, *place, "o", "white", "" if i else "at FAR 10 %, 1 %, …")
    chosen = report.recommendation
    if chosen.far is not None and chosen.frr is not None:
        place = max(chosen.far, half_far), 1 - chosen.frr
        point(axes, *place, "*", CHOSEN, "recommended", 1.9)
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
    return finish(sheet, run)


def overlaid(runs: Sequence[Evaluation], names: Sequence[str], kind: str, sheet: Sheet) -> Figure:
    """Draw the pooled DET or ROC curves of several runs in one panel.

    Raises
    ------
    SettingsError
        There are more runs than curves can be told apart.
    """
    if len(runs) > len(SERIES):
        raise SettingsError(
            f"the plot of {kind} tells at most {len(SERIES)} runs apart; give fewer than "
            f"{len(runs)}"
        )
    (axes,) = sheet.panels(6.0 if kind == "det" else 5.2, (1,))
    half_far = min(0.5 / run.counts.impostor_total for run in runs)
    half_frr = min(0.5 / run.counts.genuine_total for run in runs)
    if kind == "det":
        highest = max(0.5, *(1.5 * run.report.eer.rate for run in runs))
        chosen = [run.report.recommendation.frr or 0.0 for run in runs]
        _probit(axes, "x", half_far, highest, half_far)
        _probit(axes, "y", half_frr, max(highest, *chosen), half_frr)
        axes.plot([half_far, 1 - half_far], [half_far, 1 - half_far], color="0.8", lw=0.8)
        axes.set(xlabel="FAR, pooled (%)", ylabel="FRR, pooled (%)")
    else:
        axes.set(xscale="log", xlim=(half_far * 0.7, 1.0), ylim=(-0.02, 1.02))
        axes.set(xlabel="FAR, pooled", ylabel="genuine pairs accepted, 1 - FRR, pooled")
    for run, name, color, dashes in zip(runs, names, SERIES, DASHES, strict=False):
        counts, chosen_here = run.counts, run.report.recommendation
        half = 0.5 / counts.impostor_total, 0.5 / counts.genuine_total
        x = np.clip(counts.pooled_far, half[0], 1 - half[0])
        y = np.clip(counts.pooled_frr, half[1], 1 - half[1])
        place = chosen_here.far, chosen_here.frr
        if kind == "roc":
            y = 1 - y
        label = f"{plain(name, 32)}, EER {rate(run.report.eer.rate)}"
        axes.plot(x, y, color=color, ls=dashes, label=label, zorder=5)
        if place[0] is not None and place[1] is not None:
            at = max(place[0], half[0]), max(place[1], half[1])
            at = (at[0], 1 - at[1]) if kind == "roc" else at
            axes.plot(*at, "*", color=color, mec="white", ms=1.3 * sheet.look.points, zorder=7)
    axes.plot([], [], "*", color=NOTE, label="recommended threshold")
    axes.grid(color="0.92", linewidth=0.7)
    facts = [f"{run.report.source.rows:,} {run.report.counted}" for run in runs]
    return sheet.finish(name_of_data(runs), list(dict.fromkeys(facts)))


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
