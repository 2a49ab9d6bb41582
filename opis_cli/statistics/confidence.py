"""Bounds that hold with confidence: thresholds whose upper confidence limits meet them."""

import math

import numpy as np

from opis_cli.records import Curve, PairCounts
from opis_cli.statistics.jackknife import Rate, Spread, spread

Bounds = dict[Rate, float]
"""Largest rates that are allowed, by kind."""
Bands = dict[Rate, Spread | None]
"""Jackknives by kind of rate; None where no class can be left out."""


def bounds_of(max_far: float | None, max_frr: float | None) -> Bounds:
    """The bounds that are given."""
    given: dict[Rate, float | None] = {"far": max_far, "frr": max_frr}
    return {rate: bound for rate, bound in given.items() if bound is not None}


def spreads(counts: PairCounts) -> Bands:
    """The jackknife of both rates at all thresholds with counts by class."""
    columns = np.arange(len(counts.grid.by_class))
    return {"far": spread(counts, "far", columns), "frr": spread(counts, "frr", columns)}


def confident_ends(
    counts: PairCounts, bands: Bands, bounds: Bounds, confidence: float
) -> tuple[int | None, int | None]:
    """Indices of the thresholds between which the bounds hold with confidence.

    The smallest whose upper limit of FRR meets its bound, and the largest whose upper limit of FAR
    does; None where there is none. Without a bound it is the first or the last threshold.
    """
    ends: dict[Rate, int | None] = {"frr": 0, "far": len(counts.grid.thresholds) - 1}
    for rate, bound in bounds.items():
        band = bands[rate]
        met = np.zeros(0, int) if band is None else np.flatnonzero(band.upper(confidence) <= bound)
        place = 0 if rate == "frr" else -1
        ends[rate] = int(counts.grid.by_class[met[place]]) if len(met) else None
    return ends["frr"], ends["far"]


def classes_needed(
    counts: PairCounts, bands: Bands, bounds: Bounds, confidence: float
) -> int | None:
    """Roughly how many classes like these would show that some threshold meets the bounds.

    Standard errors fall with the square root of the number of classes, the bound that zero errors
    give with the number itself. None where no threshold meets the bounds even here, so that no
    number would show it, or where no class can be left out.
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
    """How many times as many classes each threshold would take."""
    from scipy.special import logit, ndtri

    with np.errstate(divide="ignore", invalid="ignore"):
        room = logit(bound) - logit(band.rate)
        times = (ndtri(confidence) * band.logit_error / room) ** 2
    times = np.where(band.rate > 0, times, band.upper(confidence) / bound)
    return np.where(band.rate < bound, times, np.inf)


def upper_limits(
    counts: PairCounts, bands: Bands, threshold: float, confidence: float
) -> tuple[float | None, float | None]:
    """Upper confidence limits of the pooled FAR and FRR at a threshold with counts by class."""
    column = int(np.searchsorted(counts.grid.class_thresholds, threshold))
    far, frr = (
        None if band is None else float(band.upper(confidence)[column])
        for band in (bands["far"], bands["frr"])
    )
    return far, frr
