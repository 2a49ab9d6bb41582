"""Draw the likelihood ratios of distances, and how well they hold for held-out classes."""

from collections.abc import Sequence
from typing import Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from opis_cli.records import Curve
from opis_cli.render.axes import line, mark_thresholds, name_thresholds, shade_range, view
from opis_cli.render.colors import GREY, MEAN, NOTE
from opis_cli.render.sheet import Sheet
from opis_cli.report.evaluation import Evaluation
from opis_cli.scoring.llr import Cells, logistic, pav
from opis_cli.statistics.llr_held_out import (
    Llr,
    held_out_cells,
    llr_of,
    shares_by_fold,
    whole_cells,
)
from opis_cli.text import number

_TAIL = 0.001
"""Share of the pairs of each kind that lies beyond each end of the axis of held-out ratios."""
_TICKS = {"x": 6, "y": 9}
"""Most ticks on an axis of ratios."""
_THIN = 0.55
"""Width of the lines of lesser weight, as a part of the others'."""
_ROOM = 1.0
"""Room beside the ends of an axis of ratios, in nats."""

Folds = Sequence[tuple[Cells, Cells, int]]


def calibration(run: Evaluation, sheet: Sheet) -> Figure:
    """Draw both maps from distances to likelihood ratios.

    A second panel judges the map of ``threshold.json`` on held-out classes, if there are any: the
    ratio that the map of the other classes gives to their pairs, against the ratio that these have.
    """
    counts, seed = run.counts, run.settings.seed
    shares, found = shares_by_fold(counts, seed), run.report.llr or llr_of(counts, seed)
    cells, folds = whole_cells(counts, shares), held_out_cells(counts, shares)
    heights = (5, 4) if folds and len(sheet.given) != 1 else (1,)
    upper, *lower = sheet.panels(7.6 if len(heights) > 1 else 4.4, heights, shared=False)
    _draw_maps(upper, run, cells, found)
    for panel in lower:
        _draw_held_out(panel, folds, cells, found)
    return sheet.finish(run.report.source.name, _facts(run, found))


def _facts(run: Evaluation, found: Llr) -> list[str]:
    held_out = "" if found.folds is None else ", held out"
    facts = [
        f"Cllr {number(found.cllr, 3)} bits{held_out}",
        f"min Cllr {number(found.min_cllr, 3)} bits",
    ]
    if found.classes:
        facts.append(f"{found.classes:,} {run.report.source.many} of equal weight")
    return [*facts, f"{run.report.source.rows:,} {run.report.counted}"]


def _draw_maps(panel: Axes, run: Evaluation, cells: Cells, found: Llr) -> None:
    """Draw the line and the curve over the distance."""
    made, curve = logistic(cells), pav(cells)
    assert curve.llrs is not None and curve.values is not None
    low, high = view(run)
    x = np.unique(np.clip([low, *curve.values, high], low, high))
    widths = {True: matplotlib.rcParams["lines.linewidth"]}
    widths[False] = _THIN * widths[True]
    for one, color, label in (
        (made, MEAN, "logistic regression"),
        (curve, NOTE, "isotonic (PAV)"),
    ):
        chosen = one.method == found.map.method
        label += ",\nin threshold.json" if chosen else ""
        panel.plot(x, one.at(x), color=color, linewidth=widths[chosen], label=label, zorder=5)
    shade_range(panel, run.consistency)
    mark_thresholds(panel, run)
    panel.set(xlim=(low, high), ylabel="likelihood ratio")
    name_thresholds(panel, run.counts.metric, "")
    _axis_of_ratios(panel, "y", min(curve.llrs), max(curve.llrs))
    panel.axhline(0, color=GREY, linewidth=0.8, zorder=1)


def _draw_held_out(panel: Axes, folds: Folds, cells: Cells, found: Llr) -> None:
    """Draw the ratios of held-out pairs against those that the map of the other classes gives."""
    fit = pav if found.map.method == "pav" else logistic
    given = [(fit(others).at(own.distances), own, number) for others, own, number in folds]
    every = _by_ratio(given)
    low, high = _ends(every)
    panel.plot([low, high], [low, high], color=NOTE, linestyle=":", label="as the map says")
    width = _THIN * matplotlib.rcParams["lines.linewidth"]
    for k, one in enumerate(given):
        x, llrs = _reliability(_by_ratio([one]))
        label = "_nolegend_" if k else "one fold"
        panel.plot(x, llrs, color=GREY, linewidth=width, label=label, zorder=3)
    line(panel, *_reliability(every), MEAN, "-", f"{len(folds)} folds of\nheld-out classes")
    panel.set(
        xlabel="likelihood ratio by the map of the other classes", ylabel="ratio of the pairs"
    )
    _axis_of_ratios(panel, "x", low, high)
    _axis_of_ratios(panel, "y", low, high)


def _by_ratio(given: Sequence[tuple[Curve, Cells, int]]) -> Cells:
    """Return cells of pairs of several folds, along the negative of the ratio that they got."""
    llrs, place = np.unique(-np.concatenate([llrs for llrs, _, _ in given]), return_inverse=True)
    classes = sum(number for _, _, number in given)
    genuine, impostor = (
        np.bincount(
            place, np.concatenate([number * getattr(own, kind) for _, own, number in given])
        )
        / classes
        for kind in ("genuine", "impostor")
    )
    pairs = np.array([own.pairs for _, own, _ in given]).sum(axis=0)
    return Cells(llrs, genuine, impostor, (float(pairs[0]), float(pairs[1])))


def _reliability(cells: Cells) -> tuple[Curve, Curve]:
    """Return the ratios that pairs got, ascending, and those that they have."""
    curve = pav(cells)
    return -np.array(curve.values)[::-1], np.array(curve.llrs)[::-1]


def _ends(cells: Cells) -> tuple[float, float]:
    """Return the ratios between which nearly all pairs of either kind lie."""
    ends = [
        -float(np.interp(share, np.cumsum(shares), cells.distances))
        for shares in (cells.genuine, cells.impostor)
        for share in (_TAIL, 1 - _TAIL)
    ]
    return min(ends), max(ends)


def _axis_of_ratios(panel: Axes, which: Literal["x", "y"], low: float, high: float) -> None:
    """Give an axis of natural log-likelihood ratios ticks at powers of ten of the ratio."""
    least, most = low - _ROOM, high + _ROOM
    powers = np.arange(np.ceil(least / np.log(10)), np.floor(most / np.log(10)) + 1)
    powers = powers[powers % max(1, int(np.ceil(len(powers) / _TICKS[which]))) == 0]
    axis = panel.xaxis if which == "x" else panel.yaxis
    axis.set_ticks(powers * np.log(10), [_ratio(int(power)) for power in powers])
    panel.set(**{f"{which}lim": (least, most)})


def _ratio(power: int) -> str:
    """Return a power of ten as a ratio: ``100``, ``1/100``."""
    if abs(power) <= 4:
        return f"{10**power:,}" if power >= 0 else f"1/{10**-power:,}"
    return f"$10^{{{power}}}$"
