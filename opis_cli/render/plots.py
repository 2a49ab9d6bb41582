"""Draw the pictures of a run, as matplotlib figures without pyplot, so that none is left open.

``draw`` makes any of ``KINDS``. In all pictures, impostor pairs and the FAR are blue and solid,
genuine pairs and the FRR are orange and dashed, and the worst classes are dark red.
"""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from opis_cli.errors import SettingsError
from opis_cli.records import Curve, Ints
from opis_cli.render.axes import (
    along_thresholds,
    band,
    bound,
    columns_of_bands,
    least_rate,
    line,
    veil_estimates,
    view,
)
from opis_cli.render.calibration import calibration
from opis_cli.render.class_curves import (
    class_curves,
    columns_in_view,
    name_curves,
    to_name,
    utility_curves,
)
from opis_cli.render.class_points import classes
from opis_cli.render.colors import FAR, FRR, MEAN, NOTE, WORST
from opis_cli.render.confusion import confusion
from opis_cli.render.error_curves import det, roc
from opis_cli.render.group_matrix import group_matrix
from opis_cli.render.sheet import Look, Sheet, fonts
from opis_cli.report.evaluation import Evaluation
from opis_cli.report.evidence import Evidence, no_evidence
from opis_cli.scoring import curves
from opis_cli.statistics.intervals import mean_band
from opis_cli.statistics.jackknife import LEVEL, spread

KINDS = (
    *("utility", "rates", "det", "roc", "histogram", "classes", "calibration"),
    *("confusion", "group-matrix"),
)
FROM_EVIDENCE = ("confusion",)
"""Kinds that need the evidence of a run."""
FROM_GROUPS = ("group-matrix",)
"""Kinds that need groups."""

_BINS = 120
"""Bins of the histogram."""


def draw(
    run: Evaluation,
    kind: str = "utility",
    evidence: Evidence | None = None,
    *,
    look: Look | None = None,
    ax: Axes | Sequence[Axes] = (),
) -> Figure:
    """Draw a picture of a run.

    Parameters
    ----------
    run : Evaluation
    kind : str
        One of ``KINDS``:

        - ``utility``: utility of every class and pooled rates against the threshold.
        - ``rates``: FAR and FRR of every class against the threshold.
        - ``det``: pooled FRR against FAR on normal-deviate axes, with intervals.
        - ``roc``: pooled share of accepted genuine pairs against FAR, with intervals.
        - ``histogram``: distances of genuine and of impostor pairs.
        - ``classes``: FAR and FRR of every class at the deployed threshold, if one was given,
          else at the recommended one.
        - ``calibration``: likelihood ratio at each distance, and how it holds for held-out classes.
        - ``confusion``: false accepts between the classes of the most confused class pairs.
        - ``group-matrix``: FAR of the impostor pairs of each two groups at the threshold.
    evidence : Evidence, optional
        For ``confusion``. By default it is the evidence in the folder of the run.
    look : Look, optional
        The size of the picture, and its title.
    ax : Axes, or sequence of Axes
        The user's own panels to draw into: two for ``rates``, one or two for ``utility`` and
        ``calibration``, one for others. ``confusion`` and ``group-matrix`` take none. By default
        a new figure.

    Returns
    -------
    matplotlib.figure.Figure
        It has no window and no global state. Its ``savefig`` writes a file.

    Raises
    ------
    SettingsError
        There is no such kind, or it cannot be drawn into ``ax``.
    RunError
        The run has no evidence, or no groups, and the kind needs them.
    """
    look = look or Look()
    given = (ax,) if isinstance(ax, Axes) else tuple(ax)
    drawers: dict[str, Callable[[Evaluation, Sheet], Figure]] = {
        "utility": _utility,
        "rates": _rates,
        "det": det,
        "roc": roc,
        "histogram": _histogram,
        "classes": classes,
        "calibration": calibration,
    }
    with fonts(look):
        if check_kind(kind) in (*FROM_EVIDENCE, *FROM_GROUPS):
            if given:
                raise SettingsError(f"the plot of {kind} makes its own figure; leave out ax")
            if kind in FROM_GROUPS:
                return group_matrix(run, look)
            return _confusion(run, evidence, look)
        return drawers[kind](run, Sheet(look, given))


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


def _confusion(run: Evaluation, evidence: Evidence | None, look: Look) -> Figure:
    found = run.evidence(evidence)
    if found is None:
        raise no_evidence(run.folder, "the plot of confusion")
    return confusion(found, run.report.source.name, look)


def _utility(run: Evaluation, sheet: Sheet) -> Figure:
    # In one panel of the user's own, there is only the upper one.
    upper, *lower = sheet.panels(6.4, (1,) if len(sheet.given) == 1 else (3, 2))
    counts, beta = run.whole, run.settings.beta
    x, values = utility_curves(upper, run)
    if len(values) > 1 and counts.classes_are_units:
        low, high = mean_band(values)
        band(upper, x, low, high, MEAN, f"{100 * LEVEL:g} % interval of the mean")
    veil_estimates(upper, run)
    upper.set(ylabel="utility" if beta == 1 else f"utility (β = {beta:g})", ylim=(-0.02, 1.02))
    for panel in lower:
        _pooled_rates(panel, run)
    figure = along_thresholds(sheet, run)
    if len(values):
        named = to_name(-run.consistency.mean_utilities, sheet.look)
        if len(named) < len(values):
            # As many as are drawn as the worst, but three at least.
            named = named[: max(len(run.consistency.worst), 3)]
        worst = np.isin(run.consistency.classes[named], run.consistency.worst)
        highlight = len(named) < len(values) and not worst.all()
        _name_worst(upper, run, sheet, x, values, named, highlight)
    return figure


def _pooled_rates(panel: Axes, run: Evaluation) -> None:
    """Draw the pooled rates with their intervals and bounds."""
    counts = run.whole
    thresholds = counts.grid.thresholds
    line(panel, thresholds, counts.pooled_far, FAR, "-", "FAR, pooled")
    line(panel, thresholds, counts.pooled_frr, FRR, "--", "FRR, pooled")
    along = columns_of_bands(counts)
    for spread_of, color, label in (
        (spread(counts, "far", along), FAR, f"{100 * LEVEL:g} % intervals"),
        (spread(counts, "frr", along), FRR, ""),
    ):
        if spread_of is not None:
            band(panel, spread_of.thresholds, *spread_of.limits(), color, label)
    bounds = run.settings.bounds
    for value, color, label in zip(bounds, (FAR, FRR), ("max FAR", "max FRR"), strict=True):
        bound(panel, value, color, label)
    panel.set(yscale="log", ylim=(least_rate(run), 1.4), ylabel="error rate")


def _name_worst(
    axes: Axes,
    run: Evaluation,
    sheet: Sheet,
    x: Curve,
    values: Curve,
    named: Ints,
    highlight: bool,
) -> None:
    """Name curves of classes, where they point into the calibration range or near it."""
    found = run.consistency
    low, high = found.ends or view(run)
    room = 0.6 * (high - low)
    worst = np.isin(found.classes, found.worst) & (len(found.worst) < len(found.classes))
    many = len(named) < len(values)
    name_curves(
        axes,
        x,
        values,
        named,
        run.counts.class_names[found.classes[named]],
        (low - room, high + room),
        [WORST if many or worst[row] else NOTE for row in named],
        sheet.look,
        highlight=highlight,
    )


def _rates(run: Evaluation, sheet: Sheet) -> Figure:
    both_panels = sheet.panels(6.8, (1, 1))
    counts, of, columns = run.whole, run.consistency.classes, columns_in_view(run)
    x, least = counts.grid.class_thresholds[columns], least_rate(run)
    far = curves.class_far(counts, of, columns), counts.pooled_far
    frr = curves.class_frr(counts, of, columns), counts.pooled_frr
    both = (("FAR", far, FAR, "-"), ("FRR", frr, FRR, "--"))
    one, many = run.report.source.one, run.report.source.many
    for axes, (name, (values, pooled), color, style), limit in zip(
        both_panels, both, run.settings.bounds, strict=True
    ):
        if len(values):
            nobody = np.zeros(len(values), bool)
            class_curves(axes, x, np.maximum(values, least / 10), nobody, one, many)
            line(axes, x, values.mean(axis=0), MEAN, ":", f"mean of the {many}")
        line(axes, counts.grid.thresholds, pooled, color, style, f"{name}, pooled")
        bound(axes, limit, color, f"max {name}")
        axes.set(yscale="log", ylim=(least, 1.4), ylabel=name)
    veil_estimates(both_panels[0], run)
    figure = along_thresholds(sheet, run)
    for axes, (_, (values, _), _, _) in zip(both_panels, both, strict=True):
        if len(values):
            low, high = run.consistency.ends or view(run)
            inside = (x >= low) & (x <= high)
            rates = values[:, inside].mean(axis=1) if inside.any() else values.mean(axis=1)
            named = to_name(rates, sheet.look)
            _name_worst(axes, run, sheet, x, values, named, len(named) < len(values))
    return figure


def _histogram(run: Evaluation, sheet: Sheet) -> Figure:
    (axes,) = sheet.panels(4.4, (1,))
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
            density, edges, color=color, linestyle=style, linewidth=1.4, label=label, zorder=3
        )
    axes.set(ylabel="density", ylim=(0, None))
    return along_thresholds(sheet, run, "", (low, high))


def _density(thresholds: Curve, accepted: Ints, edges: Curve) -> Curve:
    """Return the density of pairs in uniform bins, from counts at uneven thresholds."""
    below = np.interp(edges, thresholds, accepted)
    below[0], below[-1] = 0, accepted[-1]
    return np.diff(below) / np.diff(edges) / max(int(accepted[-1]), 1)
