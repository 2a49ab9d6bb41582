"""Compute the figures of a run for every draw of its classes, for the bootstrap."""

import math

import numpy as np

from opis_cli.records import Curve, Ints
from opis_cli.report.evaluation import Evaluation
from opis_cli.scoring.curves import expected_cost
from opis_cli.scoring.operating import Operating
from opis_cli.scoring.opis import SCALES, Consistency
from opis_cli.statistics import bootstrap
from opis_cli.statistics.bootstrap import Weights

_CHOICE_VALUES = 3_000_000
_NEAR = 75


def figures(run: Evaluation, weights: Weights, at: Operating | None = None) -> dict[str, Curve]:
    """Return the figures of every draw, by name, each of shape (replicates,).

    The function recommends a threshold for every draw, by the run's own rule. The variation of the
    figures therefore includes the variation of the threshold. A deployed threshold does not vary.

    Parameters
    ----------
    run : Evaluation
    weights : ndarray of shape (replicates, K)
        How often each class was drawn. Weights of 1 give the figures of the report.
    at : Operating, optional
        Operating point of a deployed threshold, for its pooled FRR.

    Returns
    -------
    dict
        ``opis`` and ``eps_opis``, both also on other scales (``opis_log_far``, ...).
        ``recall_at_1``, ``threshold`` and ``frr_at_max_far``. ``frr`` at the deployed threshold
        or, without one, at the recommended threshold. A value is NaN if it is undefined.
    """
    wanted, within = _choice_columns(run), run.consistency.columns
    if run.settings.prefer == "utility":
        means, preferred = _mean_utilities(run, weights, within, wanted)
        chosen, at_max_far = _choices(run, weights, wanted, preferred)
    else:
        (means,) = _mean_utilities(run, weights, within)
        chosen, at_max_far = _choices(run, weights, wanted, _preferred(run, weights, wanted))
    thresholds = run.counts.grid.class_thresholds
    return {
        **_range_figures(run, weights, means),
        "threshold": np.where(chosen >= 0, thresholds[chosen], np.nan),
        "frr_at_max_far": bootstrap.pooled_frr_of_draws(weights, run.counts, at_max_far),
        "frr": bootstrap.pooled_frr_of_draws(weights, run.counts, chosen)
        if at is None or at.kind == "recommended"
        else _frr_at(run, weights, at),
    }


def range_figures(run: Evaluation, weights: Weights) -> dict[str, Curve]:
    """Return the figures of every draw that depend on no threshold but the calibration range.

    These are OPIS, eps-OPIS, both also on other scales, and recall@1.
    """
    (means,) = _mean_utilities(run, weights, run.consistency.columns)
    return _range_figures(run, weights, means)


def _range_figures(run: Evaluation, weights: Weights, means: Curve) -> dict[str, Curve]:
    """Return ``range_figures``, given the mean utility curves of the draws over the range."""
    found, inner = run.consistency, weights[:, run.consistency.classes]
    return {
        **_opis("", found, inner, means, _worst(run, found, inner, found.columns)),
        **_opis_by(run, inner, means),
        "recall_at_1": bootstrap.recall_at_1(weights, run.counts),
    }


def _mean_utilities(run: Evaluation, weights: Weights, *columns: Ints) -> list[Curve]:
    """Return the mean utility curves of every draw at several sets of columns, in one pass.

    Each has the shape (replicates, columns of the set).
    """
    counts, classes, every = run.counts, run.consistency.classes, np.unique(np.concatenate(columns))
    inner, beta = weights[:, classes], run.settings.beta
    means = bootstrap.mean_utility(inner, counts, beta, classes, every)
    return [means[:, np.searchsorted(every, one)] for one in columns]


def _preferred(run: Evaluation, weights: Weights, columns: Ints) -> Curve | None:
    """Return what the recommended threshold maximizes by a rule other than the mean utility.

    It is the utility of the worst classes or the negative cost, with the shape (replicates,
    columns). The result is None for a rule that takes the smallest or largest threshold.
    """
    found, inner = run.consistency, weights[:, run.consistency.classes]
    if run.settings.prefer == "worst-classes":
        return _worst(run, found, inner, columns)[1]
    if run.settings.prefer == "cost" and run.settings.costs is not None:
        rates = (bootstrap.pooled_far, bootstrap.pooled_frr)
        far, frr = (of(weights, run.counts, columns) for of in rates)
        return -expected_cost(far, frr, run.settings.costs)
    return None


def _opis_by(run: Evaluation, inner: Weights, means: Curve) -> dict[str, Curve]:
    """Return OPIS and eps-OPIS of every draw on the other scales, by name.

    All values of a scale are NaN if the scale does not exist.
    """
    drawn: dict[str, Curve] = {}
    for scale in SCALES:
        one = run.consistency.by_scale.get(scale)
        if one is None:
            undefined = np.full(len(inner), np.nan)
            drawn |= {f"opis_{scale}": undefined, f"eps_opis_{scale}": undefined}
        else:
            drawn |= _opis(f"_{scale}", one, inner, means, _worst(run, one, inner, one.columns))
    return drawn


def _opis(
    suffix: str,
    consistency: Consistency,
    inner: Weights,
    means: Curve,
    worst: tuple[Weights, Curve],
) -> dict[str, Curve]:
    """Return OPIS and eps-OPIS of every draw on one scale. ``suffix`` ends their names."""
    return {
        f"opis{suffix}": bootstrap.opis(
            inner, consistency.contributions, means, consistency.mean, consistency.weights
        ),
        f"eps_opis{suffix}": bootstrap.eps_opis(
            inner, worst[0], means, worst[1], consistency.weights
        ),
    }


def _worst(
    run: Evaluation, consistency: Consistency, inner: Weights, columns: Ints
) -> tuple[Weights, Curve]:
    """Return the weights of the worst classes of every draw, and their mean utility curves."""
    places, worst = bootstrap.worst_weights(inner, consistency, run.settings.eps)
    return worst, bootstrap.mean_utility(
        worst, run.counts, run.settings.beta, consistency.classes[places], columns
    )


def _choice_columns(run: Evaluation) -> Ints:
    """Return the columns from which draws choose a threshold, shape (W,).

    They are all columns with counts by class. If there are many classes, they are the columns near
    the thresholds of the report, and evenly spaced ones of the others.
    """
    counts, chosen = run.counts, run.report.recommendation
    thresholds = counts.grid.class_thresholds
    step = math.ceil(len(thresholds) * len(counts.sizes) / _CHOICE_VALUES)
    marks = [chosen.threshold, *(chosen.interval or ())]
    marks += [at.threshold for at in (chosen.at_max_far, chosen.at_max_frr) if at is not None]
    near = [
        np.searchsorted(thresholds, mark) + np.arange(-_NEAR, _NEAR + 1)
        for mark in marks
        if mark is not None
    ]
    kept = np.concatenate([np.arange(0, len(thresholds), step), *near])
    return np.unique(kept[(kept >= 0) & (kept < len(thresholds))])


def _choices(
    run: Evaluation, weights: Weights, columns: Ints, utility: Curve | None
) -> tuple[Ints, Ints]:
    """Return the columns of two thresholds for every draw, each of shape (replicates,).

    The first is the recommended threshold, and the second the largest that meets ``max_far``. A
    column is -1 if there is no such threshold.

    Parameters
    ----------
    run : Evaluation
    weights : ndarray of shape (replicates, K)
    columns : ndarray of shape (W,)
        Columns from which to choose.
    utility : ndarray of shape (replicates, W) or None
        Utility, or negative cost, that the recommended threshold maximizes. None for a rule that
        takes the smallest or largest threshold.
    """
    counts, chosen, (max_far, max_frr) = run.counts, run.report.recommendation, run.settings.bounds
    if run.settings.confidence is not None or run.settings.search_bounds.given:
        # A draw would choose by its own upper limits, which take a jackknife each, or by searches
        # of the drawn rows, which counts do not tell.
        none = np.full(len(weights), -1)
        return none, none
    shape = len(weights), len(columns)
    allowed = np.ones(shape, bool)
    at_max_far = np.full(len(weights), -1)
    if max_far is not None:
        # Allow the columns before the first that breaks the bound. The FAR of a run never falls as
        # the threshold rises.
        broken = bootstrap.pooled_far(weights, counts, columns) > max_far
        allowed &= np.cumsum(broken, axis=1) == 0
        if chosen.at_max_far is not None and _by_class(run, chosen.at_max_far.threshold):
            last = allowed.sum(axis=1) - 1
            at_max_far = np.where(last >= 0, columns[last], -1)
    if max_frr is not None:
        allowed &= bootstrap.pooled_frr(weights, counts, columns) <= max_frr
    if not _by_class(run, chosen.threshold):
        return np.full(len(weights), -1), at_max_far
    rank = np.broadcast_to(_ranking(run, len(columns)), shape) if utility is None else utility
    best = columns[np.argmax(np.where(allowed, rank, -np.inf), axis=1)]
    return np.where(allowed.any(axis=1), best, -1), at_max_far


def _ranking(run: Evaluation, size: int) -> Curve:
    """Return a rank that prefers large or small thresholds, as the run's rule does, (size,)."""
    return np.arange(float(size)) * (1 if run.settings.prefer == "low-frr" else -1)


def _by_class(run: Evaluation, threshold: float | None) -> bool:
    """Return whether there are counts by class at a threshold."""
    return threshold is not None and threshold in run.counts.grid.class_thresholds


def _frr_at(run: Evaluation, weights: Weights, at: Operating) -> Curve:
    """Return the pooled FRR of each draw at ``at.frr_at``, shape (replicates,)."""
    if at.frr_at is None:
        return np.ones(len(weights))
    if not _by_class(run, at.frr_at):
        return np.full(len(weights), np.nan)
    column = int(np.searchsorted(run.counts.grid.class_thresholds, at.frr_at))
    return bootstrap.pooled_frr(weights, run.counts, np.array([column]))[:, 0]
