"""Building blocks of the pictures: panels, curves of classes, marks, axes."""

import io
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from opis_cli.records import Curve, Ints, PairCounts
from opis_cli.report.evaluation import Evaluation
from opis_cli.scoring import curves
from opis_cli.scoring.axis import exact_to
from opis_cli.scoring.opis import Consistency
from opis_cli.statistics.jackknife import BAND_POINTS, band_columns
from opis_cli.text import number, plain, printable, rate, scale, shown

FAR, FRR, WORST, CHOSEN, DEPLOYED = "#0072B2", "#E69F00", "#C1272D", "#009E73", "#9A5AA8"
GREY, RANGE = "#66707A", "#DCE6EE"
_WIDTH, _DPI = 7.2, 160
"""Width of a figure in inches, and its dots per inch."""
_POINTS = 400
"""Most points of the curve of a class."""


class _Figure(Figure):
    """A figure that notebooks show even if pyplot was never imported."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


def new_figure(width: float, height: float) -> Figure:
    """Make an empty figure of a size in inches."""
    return _Figure(figsize=(width, height), dpi=_DPI, layout="constrained")


def panels(height: float, ratios: tuple[int, ...]) -> tuple[Figure, list[Axes]]:
    """Make a figure with panels one above the other, on a shared x axis."""
    figure = new_figure(_WIDTH, height)
    grid = figure.subplots(len(ratios), sharex=True, squeeze=False, height_ratios=ratios)
    axes = list(grid[:, 0])
    for panel in axes:
        panel.spines[["top", "right"]].set_visible(False)
    return figure, axes


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


def columns_in_view(run: Evaluation, span: tuple[float, float] | None = None) -> Ints:
    """Return the columns of the counts by class to draw: some hundred, even over the view."""
    thresholds = run.whole.grid.class_thresholds
    low, high = span or view(run)
    # Many curves get fewer points each: they overlap anyway.
    points = int(np.clip(1_500_000 / max(len(run.consistency.classes), 1), 200, _POINTS))
    chosen = run.report.recommendation.threshold
    marks = [*run.consistency.ends, *([] if chosen is None else [chosen])]
    # Beyond the end of the window, thresholds lie further apart, so the curves need this point.
    marks.append(float(run.counts.grid.thresholds[run.counts.grid.window - 1]))
    wanted = np.searchsorted(thresholds, [*np.linspace(low, high, points), *marks])
    kept = np.intersect1d(wanted, run.whole.grid.columns_between(low, high))
    # One more column on the right makes the curves run to the edge.
    after = min(int(np.searchsorted(thresholds, high)), len(thresholds) - 1)
    return np.unique(np.append(kept, after))


def columns_of_bands(counts: PairCounts) -> Ints:
    """Return the columns of the counts by class at which bands are drawn.

    These are some columns of the window, and some beyond it.
    """
    count, window = len(counts.grid.by_class), counts.grid.window
    beyond = np.linspace(window, count - 1, min(BAND_POINTS, max(count - window, 0))).astype(int)
    return np.union1d(band_columns(counts), beyond)


def opacity(count: int) -> float:
    """Return how opaque each of ``count`` curves or points is drawn."""
    return float(np.clip(12 / count**0.8, 0.03, 0.75))


def utility_curves(
    panel: Axes, run: Evaluation, span: tuple[float, float] | None = None
) -> tuple[Curve, Curve]:
    """Draw the utility of every class against the threshold, with the worst classes and the means.

    If there are no classes, the utility of the pooled rates is drawn.

    Returns
    -------
    thresholds : ndarray of shape (P,)
    utilities : ndarray of shape (E, P)
        Utility of each of the E evaluable classes.
    """
    counts, consistency, beta = run.whole, run.consistency, run.settings.beta
    columns = columns_in_view(run, span)
    x, classes = counts.grid.class_thresholds[columns], consistency.classes
    values = curves.class_utility(counts, beta, classes, columns)
    worst = np.isin(classes, consistency.worst) & (len(consistency.worst) < len(classes))
    share = f"worst {100 * run.settings.eps:g} %"
    one, many = run.report.source.one, run.report.source.many
    if len(values):
        class_curves(panel, x, values[~worst], GREY, 2, f"a {one}", len(values))
    if worst.any():
        class_curves(panel, x, values[worst], WORST, 3, f"a {one} of the {share}")
        line(panel, x, values[worst].mean(axis=0), WORST, "--", f"mean of the {share}")
    if len(values):
        line(panel, x, values.mean(axis=0), "black", "-", f"mean of the {many}")
    else:
        pooled = curves.pooled_utility(counts, beta)
        line(panel, counts.grid.thresholds, pooled, "black", "-", "utility, pooled")
    return x, values


def class_curves(
    axes: Axes, x: Curve, values: Curve, color: str, order: int, label: str, of: int | None = None
) -> None:
    """Draw a thin curve for each class.

    ``of`` is the number of all classes on the panel, if more than these are drawn. It sets the
    opacity.
    """
    segments = np.empty((*values.shape, 2))
    segments[:, :, 0], segments[:, :, 1] = x, values
    count = max(of or len(values), 1)
    axes.add_collection(
        LineCollection(
            list(segments),
            colors=color,
            linewidths=0.9 if count <= 50 else 0.6,
            alpha=opacity(count),
            rasterized=True,
            zorder=order,
        ),
        autolim=False,
    )
    axes.plot([], [], color=color, linewidth=0.9, alpha=0.7, label=label)


def line(axes: Axes, x: Curve, y: Curve, color: str, style: str, label: str) -> None:
    """Draw a bold curve."""
    axes.plot(x, y, color=color, linestyle=style, linewidth=1.8, label=label, zorder=5)


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
        edgecolor=GREY,
        linestyle=":",
        alpha=0.5,
        zorder=4.6,
        label=f"FAR of a {one} estimated,\nbut for {exact} thresholds",
    )


def band(axes: Axes, x: Curve, low: Curve, high: Curve, color: str, label: str) -> None:
    """Draw the interval of a curve as a band."""
    axes.fill_between(
        x, low, high, color=color, alpha=0.2, linewidth=0, zorder=4, label=label or "_nolegend_"
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
    axes: Axes, x: float, y: float, marker: str, color: str, label: str, size: float = 7
) -> None:
    """Draw a marked point."""
    edge = "black" if color == "white" else "white"
    axes.plot(
        [x],
        [y],
        marker,
        color=color,
        markeredgecolor=edge,
        markersize=size,
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
    figure: Figure,
    run: Evaluation,
    what: str = "threshold",
    span: tuple[float, float] | None = None,
) -> Figure:
    """Finish a figure along thresholds.

    Mark the calibration range and the thresholds on every panel, name the shared axis, and add the
    title and the legends.
    """
    metric = run.counts.metric
    found, chosen = run.consistency, run.report.recommendation.threshold
    for panel in figure.axes:
        shade_range(panel, found)
        if chosen is not None:
            text = f"recommended {shown(chosen, metric)}"
            panel.axvline(chosen, color=CHOSEN, linewidth=1.5, zorder=6, label=text)
        if run.report.deployed is not None:
            at = run.report.deployed.threshold
            text = f"deployed {shown(at, metric)}"
            panel.axvline(at, color=DEPLOYED, linestyle="-.", linewidth=1.4, zorder=6, label=text)
    figure.axes[0].set_xlim(span or view(run))
    name_thresholds(figure.axes[-1], metric, what)
    return finish(figure, run)


def name_thresholds(axes: Axes, metric: str, what: str = "threshold") -> None:
    """Name the axis of thresholds.

    Scores fall from left to right, so that more pairs are accepted towards the right, as with
    distances.
    """
    axes.set_xlabel(f"{scale(metric)} {what}".strip().replace("euclidean", "Euclidean"))
    if metric == "score":
        axes.xaxis.set_major_formatter(lambda x, _: f"{-x + 0.0:g}")


def finish(figure: Figure, run: Evaluation) -> Figure:
    """Add the title, and a legend beside each panel, so that no legend hides a curve."""
    report = run.report
    eps = f"{100 * report.eps_opis.eps:g}%-OPIS"
    of = "rows" if report.source.gallery_rows is None else "queries"
    rows = f"{report.source.rows:,} {'pairs' if report.settings.get('pairs') else of}"
    title = (
        f"OPIS {number(report.opis, 3)}   {eps} {number(report.eps_opis.value, 3)}   "
        f"{report.source.evaluable_classes:,} {report.source.many} with a curve, {rows}"
    )
    if not report.source.evaluable_classes:
        title = f"EER {rate(report.eer.rate)}   {rows}"
    if report.recommendation.threshold is None:
        title += "\nno threshold meets the bounds"
    figure.axes[0].set_title(title, loc="left", fontsize=10)
    for i, panel in enumerate(figure.axes):
        # Marks that several panels share are named only in the first legend.
        handles, labels = panel.get_legend_handles_labels()
        known = figure.axes[0].get_legend_handles_labels()[1] if i else []
        named = [pair for pair in zip(handles, labels, strict=True) if pair[1] not in known]
        panel.legend(
            [handle for handle, _ in named],
            [label for _, label in named],
            loc="upper left",
            bbox_to_anchor=(1.01, 1.0),
            borderaxespad=0.0,
            fontsize=8,
            frameon=False,
        )
    return figure


def log_with_zero(
    axes: Axes, which: Literal["x", "y"], values: Curve, run: Evaluation
) -> NDArray[np.float64]:
    """Make an axis logarithmic, with a separate place for zero.

    Return the values to draw, in which zeros are moved to that place.
    """
    seen = values[values > 0]
    bounds = [value for value in run.settings.bounds if value is not None]
    least = float(min([*bounds, seen.min() if len(seen) else 1e-3]))
    decade = 10.0 ** np.floor(np.log10(least))
    gutter = decade / 10**0.6
    settings: dict[str, Any] = {
        f"{which}scale": "log",
        f"{which}lim": (gutter / 1.5, min(3 * max(values.max(), least), 1.6)),
    }
    axes.set(**settings)
    decades = decade * 10.0 ** np.arange(0, 1 - round(np.log10(decade)))
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_ticks([gutter, *decades], ["0", *(rate(float(value)) for value in decades)])
    axis.set_ticks([], minor=True)
    return np.where(values > 0, values, gutter)


def number_points(axes: Axes, x: Curve, y: Curve, names: NDArray[Any]) -> None:
    """Draw numbered points, and put their names into the legend, where names cannot overlap."""
    for i, (px, py, name) in enumerate(zip(x, y, names, strict=True), start=1):
        # In a legend, matplotlib would take a dollar sign as the start of a formula.
        text = printable(plain(name, 24)).replace("$", r"\$")
        point(axes, px, py, "o", WORST, f"{i}  {text}", 12)
        axes.text(
            px, py, str(i), color="white", fontsize=8, zorder=8, ha="center", va="center_baseline"
        )
