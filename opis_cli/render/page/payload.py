"""What the page's script knows of a run: plain numbers and names, and the counts as packed text.

Thresholds go by their place in the grid. The script shows them on a scale that the reader chooses.
"""

from typing import Any

import numpy as np

from opis_cli.judging.changes import class_changes
from opis_cli.records import Curve, Ints, PairCounts
from opis_cli.render.axes import view
from opis_cli.render.page.packing import packed
from opis_cli.render.page.thresholds import Offered, offered
from opis_cli.report.evaluation import Evaluation
from opis_cli.scoring import curves
from opis_cli.scoring.borderline import surely_accepted
from opis_cli.scoring.recommend import equivalents
from opis_cli.scoring.who_pays import FEW_PAIRS
from opis_cli.statistics.jackknife import Rate, spread
from opis_cli.text import SCORED, SIMILARITIES, as_known, plain, scale

NAME_WIDTH = 200
"""Most characters of the name of a class."""
MOST_CLASSES, _WORST_OF_MORE = 5_000, 2_000
"""Most classes on a page, and how many of the worst ones are there if a run has more."""
_LEVELS = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
"""Quantiles of the classes' utility that the page draws."""
_OVERLAY_POINTS = 400
"""Most points of the curves of a baseline."""
_AROUND = 0.25
"""Share of the width of the calibration range that the closer view shows on both sides of it."""


def payload(
    run: Evaluation,
    start: float,
    base: Evaluation | None = None,
    in_use: float | None = None,
) -> dict[str, Any]:
    """Return what the script needs, as values that JSON can hold.

    Parameters
    ----------
    run : Evaluation
    start : float
        The threshold to begin with, a distance.
    base : Evaluation, optional
        A run to draw beside this one.
    in_use : float, optional
        The deployed threshold, a distance. By default it is that of the run, if there is one.
    """
    counts, report = run.counts, run.report
    shown, seen = classes_on_page(run), view(run, 0.9999)
    presets = _presets(run, in_use)
    marked = tuple(sorted({start, *presets.values(), *run.consistency.ends, *_bound_ends(run)}))
    found = offered(run, seen, marked, shown)
    pooled = np.stack([surely_accepted(counts), counts.pooled_impostor])
    max_far, max_frr = run.settings.bounds
    return {
        "one": report.source.one,
        "many": report.source.many,
        "counted": report.counted,
        "beta": run.settings.beta,
        "review": _review(run),
        "answered": None if counts.answered is None else counts.answered.tolist(),
        "totals": [counts.genuine_total, counts.impostor_total],
        "rows": None if run.settings.metric in SCORED else counts.rows,
        "rowsOfPair": 1 if counts.open_set is not None else 2,
        "fewPairs": FEW_PAIRS,
        "scales": _scales(counts),
        "at": found.places.tolist(),
        "estimated": found.estimated.astype(int).tolist(),
        "start": _place(counts, start),
        "presets": [[name, _place(counts, at)] for name, at in presets.items()],
        "range": [_place(counts, end) for end in run.consistency.ends],
        "views": {
            "whole": [_place(counts, end) for end in seen],
            "near": [_place(counts, end) for end in _near(run, seen, start)],
        },
        "bounds": [max_far, max_frr],
        "intervals": {"far": _band(run, found, "far"), "frr": _band(run, found, "frr")},
        "utility": _utilities(run, found),
        "classes": _classes(run, shown, base),
        "classesInAll": len(counts.sizes),
        "base": None if base is None else _overlay(base),
        "counts": packed(pooled, found.genuine, found.impostor),
    }


def _review(run: Evaluation) -> list[int] | None:
    """Return the places of the two thresholds with which the page begins, if it does with two."""
    review = run.report.review
    if review is None or None in (review.accept_threshold, review.refuse_threshold):
        return None
    ends = review.accept_threshold, review.refuse_threshold
    return None if review.one_threshold else [_place(run.counts, end or 0.0) for end in ends]


def classes_on_page(run: Evaluation) -> Ints:
    """Return the indices of the classes on the page: all or, of very many, the worst ones."""
    every = np.arange(len(run.counts.sizes))
    if len(every) <= MOST_CLASSES:
        return every
    order = np.argsort(run.consistency.mean_utilities, kind="stable")
    return np.sort(run.consistency.classes[order[:_WORST_OF_MORE]])


def _presets(run: Evaluation, in_use: float | None) -> dict[str, float]:
    """Return the thresholds that the page names, in the order of their buttons."""
    report = run.report
    if in_use is None and report.deployed is not None:
        in_use = report.deployed.threshold
    found = {
        "Recommended": report.recommendation.threshold,
        "Deployed": in_use,
        "EER": report.eer.threshold,
    }
    for point in report.operating_points:
        if point.far == 1e-3 and point.supported:
            found["FAR 0.1 %"] = point.threshold
    return {name: at for name, at in found.items() if at is not None}


def _bound_ends(run: Evaluation) -> list[float]:
    """Return the thresholds to which each bound alone leads."""
    chosen = run.report.recommendation
    ends = [one.threshold for one in (chosen.at_max_far, chosen.at_max_frr) if one is not None]
    return [end for end in [*ends, *(chosen.interval or ())] if end is not None]


def _place(counts: PairCounts, threshold: float) -> int:
    return counts.grid.index_at(threshold)


def _near(run: Evaluation, seen: tuple[float, float], start: float) -> tuple[float, float]:
    """Return the ends of the closer view: around the calibration range, with ``start`` in it.

    If no threshold meets the bounds, those that each bound alone needs are in it too.
    """
    if not run.consistency.ends:
        return seen
    chosen = run.report.recommendation
    prices = [end for end in _bound_ends(run) if chosen.threshold is None]
    low, high = (
        min(start, *run.consistency.ends, *prices),
        max(start, *run.consistency.ends, *prices),
    )
    more = _AROUND * (high - low)
    return max(low - more, seen[0]), min(high + more, seen[1])


def _scales(counts: PairCounts) -> list[dict[str, Any]]:
    """Return the values of all thresholds on each scale, and on which side a pair is accepted."""
    distances, metric = counts.grid.thresholds.tolist(), counts.metric
    falls = metric in SIMILARITIES
    found: list[dict[str, Any]] = [
        {
            "name": scale(metric),
            "accepts": ">=" if falls else "<=",
            "values": [as_known(one, metric) for one in distances],
        }
    ]
    if counts.unit:
        same = [equivalents(one, metric, counts.unit).cosine_similarity for one in distances]
        found.append({"name": "cosine similarity", "accepts": ">=", "values": same})
    return found


def _band(run: Evaluation, found: Offered, rate: Rate) -> list[list[float | None]] | None:
    """Return the 95 % interval of a pooled rate at the offered thresholds."""
    columns = np.flatnonzero(np.isin(run.whole.grid.by_class, found.places))
    band = spread(run.whole, rate, columns)
    return None if band is None else [_rounded(end, 4) for end in band.limits()]


def _utilities(run: Evaluation, found: Offered) -> dict[str, Any]:
    """Return quantiles and mean of the classes' utility at the offered thresholds.

    Without classes they are those of the pooled rates.
    """
    whole, beta, classes = run.whole, run.settings.beta, run.consistency.classes
    if not len(classes):
        pooled = curves.pooled_utility(run.counts, beta)[found.places]
        return {"levels": [], "quantiles": [], "mean": _rounded(pooled, 4)}
    columns = np.flatnonzero(np.isin(whole.grid.by_class, found.places))
    quantiles = np.empty((len(_LEVELS), len(columns)))
    step = max(1, 4_000_000 // len(classes))
    for first in range(0, len(columns), step):
        part = columns[first : first + step]
        values = curves.class_utility(whole, beta, classes, part)
        quantiles[:, first : first + step] = np.quantile(values, _LEVELS, axis=0)
    mean = curves.mean_utility(whole, beta, classes, columns)
    return {
        "levels": list(_LEVELS),
        "quantiles": [_rounded(one, 4) for one in quantiles],
        "mean": _rounded(mean, 4),
    }


def _classes(run: Evaluation, shown: Ints, base: Evaluation | None) -> dict[str, Any]:
    """Return the figures of each class that do not depend on the threshold. Missing ones are None.

    ``worst`` tells the classes that eps-OPIS counts as worst.
    """
    counts, table = run.counts, run.classes()
    names = [plain(name, NAME_WIDTH, joiners=True) for name in counts.class_names[shown].tolist()]
    found: dict[str, Any] = {
        "name": names,
        "size": counts.sizes[shown].tolist(),
        "genuine": counts.genuine_pairs[shown].tolist(),
        "impostor": counts.impostor_pairs[shown].tolist(),
        "mean": _rounded(table["mean_utility"].to_numpy()[shown], 5),
        "part": _rounded(table["opis_contribution"].to_numpy()[shown], 4),
        "recall": _rounded(table["recall_at_1"].to_numpy()[shown], 4),
        "best": _rounded(table["best_threshold"].to_numpy()[shown], 8),
        "guessed": table["best_threshold_estimated"].to_numpy()[shown].astype(int).tolist(),
    }
    if base is not None:
        changes = {str(one.class_name): one.change for one in class_changes(run, base)}
        own = [changes.get(str(name), np.nan) for name in counts.class_names[shown].tolist()]
        found["change"] = _rounded(np.array(own), 4)
    return found


def _overlay(base: Evaluation) -> dict[str, Any]:
    """Return the curves of a baseline: its own thresholds, pooled rates and mean utility."""
    whole, classes = base.whole, base.consistency.classes
    thresholds = whole.grid.class_thresholds
    seen = np.linspace(*view(base, 0.9999), _OVERLAY_POINTS)
    columns = np.unique(np.minimum(np.searchsorted(thresholds, seen), len(thresholds) - 1))
    at = whole.grid.by_class[columns]
    mean = curves.pooled_utility(base.counts, base.settings.beta)[at]
    if len(classes):
        mean = curves.mean_utility(whole, base.settings.beta, classes, columns)
    return {
        "values": [[one["values"][place] for place in at.tolist()] for one in _scales(base.counts)],
        "far": _rounded(base.counts.pooled_far[at], 6),
        "frr": _rounded(curves.pooled_frr_at_most(base.counts)[at], 6),
        "mean": _rounded(mean, 4),
    }


def _rounded(values: Curve, digits: int) -> list[float | None]:
    """Round values to some significant digits, which are enough for a picture; NaN becomes None."""
    return [None if value != value else float(f"{value:.{digits}g}") for value in values.tolist()]
