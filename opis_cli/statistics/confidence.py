"""Recommend thresholds whose upper confidence limits meet the bounds."""

import math
from dataclasses import replace

import numpy as np

from opis_cli.records import Curve, PairCounts
from opis_cli.scoring.opis import Consistency
from opis_cli.scoring.recommend import Recommendation, UpperLimits, recommend
from opis_cli.settings import Settings
from opis_cli.statistics.jackknife import Rate, Spread, spread

Bounds = dict[Rate, float]
"""Upper bounds of the pooled rates, by kind of rate."""
Bands = dict[Rate, Spread | None]
"""Results of the jackknife by kind of rate. None if no class can be left out."""


def recommended(counts: PairCounts, consistency: Consistency, settings: Settings) -> Recommendation:
    """Recommend a threshold by the settings.

    If the settings have a confidence, the bounds must hold on other classes with this confidence.
    """
    (max_far, max_frr), confidence = settings.bounds, settings.confidence
    limits = None if confidence is None else upper_limits(counts, confidence)
    chosen = recommend(
        counts,
        consistency,
        max_far=max_far,
        max_frr=max_frr,
        prefer=settings.prefer,
        beta=settings.beta,
        costs=settings.costs,
        searching=settings.search_bounds,
        limits=limits,
    )
    if confidence is None or chosen.threshold is not None:
        return chosen
    bounds = bounds_of(max_far, max_frr)
    needed = classes_needed(counts, spreads(counts), bounds, confidence)
    return replace(chosen, classes_needed=needed)


def upper_limits(counts: PairCounts, confidence: float) -> UpperLimits:
    """Return what the pooled rates are at most on other classes, with a confidence."""
    bands = spreads(counts)
    return UpperLimits(
        confidence, _rising(bands["far"], confidence), _falling(bands["frr"], confidence)
    )


def _rising(band: Spread | None, confidence: float) -> Curve | None:
    """Return upper limits of FAR. FAR never falls with the threshold, so its limits must not."""
    return None if band is None else np.maximum.accumulate(band.upper(confidence))


def _falling(band: Spread | None, confidence: float) -> Curve | None:
    """Return upper limits of FRR. FRR never rises with the threshold, so its limits must not."""
    return None if band is None else np.maximum.accumulate(band.upper(confidence)[::-1])[::-1]


def bounds_of(max_far: float | None, max_frr: float | None) -> Bounds:
    """Return the bounds that are given, by kind of rate."""
    given: dict[Rate, float | None] = {"far": max_far, "frr": max_frr}
    return {rate: bound for rate, bound in given.items() if bound is not None}


def spreads(counts: PairCounts) -> Bands:
    """Compute the jackknife of both pooled rates at all thresholds with counts by class."""
    columns = np.arange(len(counts.grid.by_class))
    return {"far": spread(counts, "far", columns), "frr": spread(counts, "frr", columns)}


def classes_needed(
    counts: PairCounts, bands: Bands, bounds: Bounds, confidence: float
) -> int | None:
    """Estimate how many classes like these would show that some threshold meets the bounds.

    A standard error is proportional to one over the square root of the number of classes. The
    upper limit of a rate without errors is proportional to one over the number of classes.

    The result is None if no threshold meets the bounds even on these classes, as no number of
    classes would then show it. It is also None if no class can be left out.
    """
    times = np.zeros(len(counts.grid.by_class))
    for rate, bound in bounds.items():
        band = bands[rate]
        if band is None:
            return None
        np.maximum(times, _times(band, bound, confidence), out=times)
    least = float(times.min())
    if not math.isfinite(least):
        return None
    return max(math.ceil(least * len(counts.sizes)), len(counts.sizes) + 1)


def _times(band: Spread, bound: float, confidence: float) -> Curve:
    """Return how many times as many classes each threshold would need, shape (C,)."""
    from scipy.special import logit, ndtri

    with np.errstate(divide="ignore", invalid="ignore"):
        room = logit(bound) - logit(band.rate)
        times = (ndtri(confidence) * band.logit_error / room) ** 2
    times = np.where(band.rate > 0, times, band.upper(confidence) / bound)
    return np.where(band.rate < bound, times, np.inf)
