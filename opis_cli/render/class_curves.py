"""Curves of the classes: each as a line or, if they are many, the bands that hold most of them.

The worst classes have lines and names of their own in any case.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from numpy.typing import NDArray

from opis_cli.records import Curve, Ints
from opis_cli.render.axes import line, view
from opis_cli.render.colors import GREY, MEAN, WORST
from opis_cli.render.labels import name_points
from opis_cli.render.sheet import Look
from opis_cli.report.evaluation import Evaluation
from opis_cli.scoring import curves

MOST_LINES = 300
"""Most classes that are drawn as lines. Of more, nobody can tell one from another."""
_ALL_NAMED = 12
"""Most classes that are all named."""
_POINTS = 400
"""Points of the curve of a class."""
_BANDS = ((1, 99, 0.25), (10, 90, 0.45), (25, 75, 0.7))
"""Percentiles of the classes at the ends of each band, and how opaque it is."""
_ANCHORS = 24
"""Places on a curve that its name may point to."""


def columns_in_view(run: Evaluation, span: tuple[float, float] | None = None) -> Ints:
    """Return the columns of the counts by class to draw: some hundred, even over the view."""
    thresholds = run.whole.grid.class_thresholds
    low, high = span or view(run)
    # Very many curves get fewer points each, so that their bands are made in little memory.
    points = int(np.clip(4_000_000 / max(len(run.consistency.classes), 1), 200, _POINTS))
    chosen = run.report.recommendation.threshold
    marks = [*run.consistency.ends, *([] if chosen is None else [chosen])]
    # Beyond the end of the window, thresholds lie further apart, so the curves need this point.
    marks.append(float(run.counts.grid.thresholds[run.counts.grid.window - 1]))
    wanted = np.searchsorted(thresholds, [*np.linspace(low, high, points), *marks])
    kept = np.intersect1d(wanted, run.whole.grid.columns_between(low, high))
    # One more column on the right makes the curves run to the edge.
    after = min(int(np.searchsorted(thresholds, high)), len(thresholds) - 1)
    return np.unique(np.append(kept, after))


def to_name(badness: Curve, look: Look) -> Ints:
    """Return which classes to name, the worst first: all of a dozen, else the worst few."""
    count = len(badness)
    most = (3 if look.narrow else 5) if count > _ALL_NAMED else count
    return np.argsort(-badness, kind="stable")[:most]


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
    if not len(values):
        pooled = curves.pooled_utility(counts, beta)
        line(panel, counts.grid.thresholds, pooled, MEAN, "-", "utility, pooled")
        return x, values
    worst = np.isin(classes, consistency.worst) & (len(consistency.worst) < len(classes))
    class_curves(panel, x, values, worst, run.report.source.one, run.report.source.many)
    if worst.any():
        share = f"worst {100 * run.settings.eps:g} %"
        line(panel, x, values[worst].mean(axis=0), WORST, "--", f"mean of the {share}")
    line(panel, x, values.mean(axis=0), MEAN, "-", f"mean of the {run.report.source.many}")
    return x, values


def class_curves(
    axes: Axes,
    x: Curve,
    values: Curve,
    worst: NDArray[np.bool_],
    one: str,
    many: str,
) -> None:
    """Draw a thin line for each class, or bands if the classes are many.

    ``worst`` says which of the classes are drawn in the colour of the worst.
    """
    if len(values) > MOST_LINES:
        levels = [level for low, high, _ in _BANDS for level in (low, high)]
        ends = np.percentile(values, levels, axis=0).reshape(len(_BANDS), 2, -1)
        for (low, high, opacity), band in zip(_BANDS, ends, strict=True):
            label = f"{high - low} % of the {many}"
            axes.fill_between(x, *band, color=GREY, alpha=opacity, lw=0, zorder=2, label=label)
        return
    lines(axes, x, values[~worst], GREY, 2, f"a {one}")
    if worst.any():
        lines(axes, x, values[worst], WORST, 3, f"a {one} of the worst")


def lines(axes: Axes, x: Curve, values: Curve, color: str, order: int, label: str) -> None:
    """Draw a thin line for each row of ``values``."""
    segments = np.empty((*values.shape, 2))
    segments[:, :, 0], segments[:, :, 1] = x, values
    few = len(values) <= 50
    opacity = float(np.clip(30 / max(len(values), 1), 0.35, 0.9))
    width = (0.1 if few else 0.06) * matplotlib.rcParams["font.size"]
    collection = LineCollection(
        list(segments), colors=color, linewidths=width, alpha=opacity, zorder=order
    )
    axes.add_collection(collection, autolim=False)
    axes.plot([], [], color=color, linewidth=1.0, label=label)


def name_curves(
    axes: Axes,
    x: Curve,
    values: Curve,
    named: Ints,
    names: Iterable[Any],
    span: tuple[float, float],
    colors: Sequence[str],
    look: Look,
    *,
    highlight: bool,
) -> None:
    """Write the names of some curves beside them. Call this when all else is drawn.

    Parameters
    ----------
    axes : Axes
    x : ndarray of shape (P,)
    values : ndarray of shape (E, P)
    named : ndarray of indices into ``values``
    names, colors : sequences
        Name and colour of each of ``named``.
    span : (float, float)
        Range of x in which a name may point to its curve.
    look : Look
    highlight : bool
        Whether to draw these curves in the colour of the worst. Among bands, this is always done.
    """
    if highlight or len(values) > MOST_LINES:
        lines(axes, x, values[named], WORST, 3, "_named")
    # Names may cover thin lines of other classes, but not the curves that are named, nor the mean.
    near = np.concatenate([values[named], values.mean(axis=0, keepdims=True)])
    low, high = axes.get_ylim()
    anchors = []
    for i, curve in enumerate(near[:-1]):
        seen = np.flatnonzero((x >= span[0]) & (x <= span[1]) & (curve > low) & (curve < high))
        seen = seen if len(seen) else np.arange(1)
        # A name means most where its curve stands apart from the others.
        others = np.abs(_heights(axes, np.delete(near, i, axis=0)) - _heights(axes, curve))
        apart = others.min(axis=0)[seen]
        seen = seen[apart >= np.median(apart)]
        kept = seen[np.linspace(0, len(seen) - 1, min(_ANCHORS, len(seen))).astype(int)]
        anchors.append((x[kept], curve[kept]))
    obstacles = np.tile(x, len(near)), near.ravel()
    name_points(axes, anchors, names, obstacles, colors=colors, size=0.75 * look.points)


def _heights(axes: Axes, values: Curve) -> Curve:
    """Return where values lie on the y axis, as shares of its length: from 0 to 1 if in view."""
    scale = axes.yaxis.get_transform()
    low, high = scale.transform(np.array(axes.get_ylim()))
    return np.asarray((scale.transform(values) - low) / (high - low))
