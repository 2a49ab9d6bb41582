"""Marks on the panels of the pictures: ranges, thresholds, bounds, points, and scales of axes."""

from collections.abc import Sequence
from typing import Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from opis_cli.records import Curve, Ints, PairCounts
from opis_cli.render.colors import CHOSEN, DEPLOYED, MEAN, NOTE, RANGE
from opis_cli.render.sheet import Sheet
from opis_cli.report.evaluation import Evaluation
from opis_cli.scoring.axis import exact_to
from opis_cli.scoring.opis import Consistency
from opis_cli.statistics.jackknife import BAND_POINTS, band_columns
from opis_cli.text import SIMILARITIES, number, plain, rate, scale, shown

BAND_OPACITY = 0.15
"""How opaque the interval of a curve is."""
_LINEAR = 8.0
"""Ratio of the highest rate to the median one up to which an axis of rates is linear."""


def shade_range(panel: Axes, consistency: Consistency) -> None:
    """Shade the calibration range, if there is one."""
    if consistency.ends:
        panel.axvspan(*consistency.ends, color=RANGE, zorder=0, label="calibration range")


def view(run: Evaluation, most_far: float = 0.999) -> tuple[float, float]:
    """Return the range of thresholds to show.

    It reaches from the first accepted pair to a pooled FAR of ``most_far``, and contains all marks.
    """
    thresholds, counts = run.counts.grid.thresholds, run.counts
    first = int(np.argmax(counts.pooled_genuine + counts.pooled_impostor > 0))
    # Pairs without a score may keep the FAR below that at every threshold.
    last = min(int(np.searchsorted(counts.pooled_far, most_far)), len(thresholds) - 1)
    if last == len(thresholds) - 1 and counts.grid.window < last:
        # The last threshold lies far beyond all pairs.
        last -= 1
    low, high = float(thresholds[max(first - 1, 0)]), float(thresholds[last])
    chosen = run.report.recommendation.threshold
    marked = [*run.consistency.ends, *([] if chosen is None else [chosen])]
    if run.report.deployed is not None:
        marked.append(run.report.deployed.threshold)
    return min(low, *marked), max(high, *marked)


def columns_of_bands(counts: PairCounts) -> Ints:
    """Return the columns of the counts by class at which bands are drawn.

    These are some columns of the window, and some beyond it.
    """
    count, window = len(counts.grid.by_class), counts.grid.window
    beyond = np.linspace(window, count - 1, min(BAND_POINTS, max(count - window, 0))).astype(int)
    return np.union1d(band_columns(counts), beyond)


def line(axes: Axes, x: Curve, y: Curve, color: str, style: str, label: str) -> None:
    """Draw a bold curve."""
    axes.plot(x, y, color=color, linestyle=style, label=label, zorder=5)


def veil_estimates(axes: Axes, run: Evaluation) -> None:
    """Veil the part of the panel in which curves of classes are estimated, and name it."""
    counts, one = run.whole, run.report.source.one
    start = exact_to(counts)
    if start is None or counts.estimated is None:
        return
    exact = np.count_nonzero(~counts.estimated[counts.grid.window :])
    axes.axvspan(
        start,
        float(counts.grid.thresholds[-1]),
        facecolor="white",
        edgecolor=NOTE,
        linestyle=":",
        alpha=0.5,
        zorder=4.6,
        label=f"FAR of a {one} estimated,\nbut for {exact} thresholds",
    )


def band(axes: Axes, x: Curve, low: Curve, high: Curve, color: str, label: str) -> None:
    """Draw the interval of a curve as a band."""
    axes.fill_between(
        x,
        low,
        high,
        color=color,
        alpha=BAND_OPACITY,
        linewidth=0,
        zorder=4,
        label=label or "_nolegend_",
    )


def bound(
    axes: Axes, value: float | None, color: str, label: str, *, vertical: bool = False
) -> None:
    """Draw a bound on a rate as a thin dotted line, if there is one."""
    if value is not None:
        draw = axes.axvline if vertical else axes.axhline
        text = f"{label} {rate(value)}"
        draw(value, color=color, linestyle=":", linewidth=1.1, label=text, zorder=4)


def point(
    axes: Axes, x: float, y: float, marker: str, color: str, label: str, size: float = 1.0
) -> None:
    """Draw a marked point. ``size`` is how many times as large as others it is."""
    axes.plot(
        [x],
        [y],
        marker,
        color=color,
        markeredgecolor=MEAN if color == "white" else "white",
        markersize=size * matplotlib.rcParams["lines.markersize"],
        label=label or "_nolegend_",
        zorder=7,
    )


def least_rate(run: Evaluation) -> float:
    """Return the lowest rate on a log axis: about a third of the least that the pairs can show."""
    return float(max(0.3 / run.counts.impostor_total, 1e-8, 1e-4 * _lowest_shown(run)))


def _lowest_shown(run: Evaluation) -> float:
    bounds = [value for value in run.settings.bounds if value is not None]
    return min([*bounds, 0.01])


def along_thresholds(
    sheet: Sheet,
    run: Evaluation,
    what: str = "threshold",
    span: tuple[float, float] | None = None,
) -> Figure:
    """Finish a figure along thresholds.

    Mark the calibration range and the thresholds on every panel, name the shared axis, and add the
    title and the legends.
    """
    metric = run.counts.metric
    for panel in sheet.axes:
        shade_range(panel, run.consistency)
        mark_thresholds(panel, run)
        panel.set_xlim(span or view(run))
    name_thresholds(sheet.axes[-1], metric, what)
    return finish(sheet, run)


def mark_thresholds(panel: Axes, run: Evaluation) -> None:
    """Draw the recommended and the deployed threshold as upright lines, if there are any."""
    chosen, deployed, metric = run.report.recommendation, run.report.deployed, run.counts.metric
    if chosen.threshold is not None:
        label = f"recommended {shown(chosen.threshold, metric)}"
        panel.axvline(chosen.threshold, color=CHOSEN, linewidth=1.3, zorder=6, label=label)
    if deployed is not None:
        label = f"deployed {shown(deployed.threshold, metric)}"
        panel.axvline(
            deployed.threshold, color=DEPLOYED, linestyle="-.", linewidth=1.3, zorder=6, label=label
        )


def name_thresholds(axes: Axes, metric: str, what: str = "threshold") -> None:
    """Name the axis of thresholds.

    Scores fall from left to right, so that more pairs are accepted towards the right, as with
    distances.
    """
    axes.set_xlabel(f"{scale(metric)} {what}".strip().replace("euclidean", "Euclidean"))
    if metric in SIMILARITIES:
        axes.xaxis.set_major_formatter(lambda x, _: f"{-x + 0.0:g}")


def finish(sheet: Sheet, run: Evaluation) -> Figure:
    """Finish a figure of one run: its title says which data it is of, and its main figures."""
    report = run.report
    facts = []
    if report.source.evaluable_classes:
        eps = f"{100 * report.eps_opis.eps:g}%-OPIS"
        facts += [
            f"OPIS {number(report.opis, 3)}",
            f"{eps} {number(report.eps_opis.value, 3)}",
            f"{report.source.evaluable_classes:,} {report.source.many} with pairs of both kinds",
        ]
    else:
        facts.append(f"EER {rate(report.eer.rate)}")
    facts.append(f"{report.source.rows:,} {report.counted}")
    if report.recommendation.threshold is None:
        facts.append("no threshold meets the bounds")
    return sheet.finish(report.source.name, facts)


def name_of_data(runs: Sequence[Evaluation]) -> str:
    """Return the names of the data of several runs: all, as far as a title has room."""
    names = list(dict.fromkeys(plain(run.report.source.name, 30) for run in runs))
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def fit_rates(axes: Axes, which: Literal["x", "y"], values: Curve, limit: float | None) -> Curve:
    """Fit an axis to rates and to a bound on them; return where to draw the rates.

    The axis is linear if the rates are of one size. Else it is logarithmic, and rates of zero get
    a place of their own at its low end.
    """
    axis = axes.xaxis if which == "x" else axes.yaxis
    seen = values[values > 0]
    shown_too = [] if limit is None else [limit]
    high = max([*seen, *shown_too, 1e-9])
    low = min([*seen, *shown_too, high])
    if not len(seen) or high / np.median(seen) < _LINEAR:
        # The axis begins at 0, unless all rates lie close together far from it.
        start = 0.0 if (values <= 0).any() or low < high / 3 else low
        pad = 0.06 * (high - start) or 0.06 * high
        axes.set(**{f"{which}lim": (start - pad, high + pad)})
        axis.set_major_formatter(lambda value, _: rate(round(value, 12)))
        return values
    decades = np.log10(high / low)
    zero = low / 10 ** (0.12 * decades + 0.1)
    has_zeros = bool((values <= 0).any())
    ends = (zero / 10 ** (0.05 * decades) if has_zeros else low / 1.2, high * 1.2)
    axes.set(**{f"{which}scale": "log", f"{which}lim": ends})
    steps = (1, 2, 5) if decades < 1.7 else (1,)
    ticks = [
        step * 10.0**power
        for power in range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
        for step in steps
        if low / 1.2 <= step * 10.0**power <= high * 1.2
    ]
    zeros = [zero] if has_zeros else []
    axis.set_ticks([*zeros, *ticks], [*("0" for _ in zeros), *map(rate, ticks)])
    axis.set_ticks([], minor=True)
    return np.where(values > 0, values, zero)
