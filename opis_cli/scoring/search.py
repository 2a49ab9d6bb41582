"""Figures of searches at a threshold, and the thresholds that meet bounds on them.

A search compares one row (with a gallery, one query) with all others. At a threshold::

    false accepts per query   mean number of accepted impostor rows of a search
    FPIR                      share of the queries without a genuine gallery row that accept one
    identification            share of the rows with a genuine pair whose nearest row has the same
                              label and is accepted (DIR, 1 - FNIR at rank 1)
    precision                 share of the accepted pairs that are genuine, at a prior ``p``:
                              p (1 - FRR) / (p (1 - FRR) + (1 - p) FAR)

The first three never fall with the threshold. The precision may rise and fall again, so the
thresholds that meet a bound on it need not be one interval.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opis_cli.counting.calibration import is_supported, last_within
from opis_cli.errors import InputError
from opis_cli.quantities import Amount, Share
from opis_cli.records import Curve, PairCounts
from opis_cli.scoring.curves import pooled_frr_at_most
from opis_cli.scoring.pooled import (
    IdentificationPoint,
    OpenSet,
    RatesAt,
    fpir_curve,
    pooled_rates,
    strangers,
)
from opis_cli.text import SCORED
from opis_cli.values import SearchBound, SearchBounds, option

_FPIRS = (0.1, 0.01, 0.001)
"""Values of FPIR at which the identification is reported."""
_LACKING = {
    "max_false_accepts_per_query": "scored pairs have no searches",
    "max_fpir": "every query has a genuine gallery row",
    "min_precision": "there is no prior",
    "min_identification": (
        "no row has a genuine pair, or an older opis counted this run; evaluate the source again"
    ),
}
"""Why a figure is undefined, by its bound."""


@dataclass(frozen=True, slots=True)
class HeldBound:
    """A bound on searches, and what it alone would need.

    Attributes
    ----------
    name : SearchBound
        The setting.
    limit : float
        The value of the setting.
    value : float | None
        The figure at the recommended threshold. Null if there is none.
    alone : RatesAt
        Rates at the threshold to which this bound alone leads: the smallest that meets
        min_identification, or the largest that meets another bound.
    """

    name: SearchBound
    limit: Amount
    value: Amount | None
    alone: RatesAt


@dataclass(frozen=True, slots=True)
class SearchFigures:
    """Figures of searches at a threshold.

    Attributes
    ----------
    false_accepts_per_query : float | None
        Mean number of accepted impostor rows if one row searches all others or, with a gallery, if
        one query searches the gallery. Null for scored pairs.
    fpir : float | None
        Share of the queries without a genuine gallery row that accept a gallery row. Null if there
        is no such query, or no gallery.
    precision : float | None
        Share of the accepted pairs that would be genuine at the prior of the settings. Null without
        a prior, or if no pair is accepted.
    identification : float | None
        Share of the rows (or queries) with a genuine pair whose nearest other row has the same
        label and is accepted. Null for scored pairs, and in runs of an older opis.
    """

    false_accepts_per_query: Amount | None
    fpir: Share | None
    precision: Share | None
    identification: Share | None


def search_figures(
    counts: PairCounts, prior: float | None, loose: int, strict: int | None = None
) -> SearchFigures:
    """Compute the figures of searches at a threshold that lies between two of the grid.

    Parameters
    ----------
    counts : PairCounts
    prior : float or None
        Share of genuine pairs, for the precision.
    loose, strict : int
        Indices of the next grid threshold above and below. No false accept is missed, and no
        right answer is counted that is not certain. By default both are the same.
    """
    strict = loose if strict is None else strict

    def at(curve: Curve | None, index: int) -> float | None:
        if curve is None or index < 0:
            return None if curve is None else 0.0
        return float(curve[index])

    frr = float(pooled_frr_at_most(counts)[strict]) if strict >= 0 else 1.0
    precision = None
    if prior is not None:
        value = float(_precision(counts.pooled_far[loose], np.asarray(frr), prior))
        precision = None if np.isnan(value) else value
    return SearchFigures(
        false_accepts_per_query=at(_per_query(counts), loose),
        fpir=at(fpir_curve(counts), loose),
        precision=precision,
        identification=at(_identification(counts), strict),
    )


def thresholds_meeting(
    counts: PairCounts, bounds: SearchBounds
) -> dict[SearchBound, NDArray[np.bool_]]:
    """Return which thresholds meet each bound that is given, each of shape (T,).

    Raises
    ------
    InputError
        The figure that a bound refers to is undefined.
    """
    return {name: _met(counts, name, limit, bounds.prior) for name, limit in bounds.given.items()}


def _met(
    counts: PairCounts, name: SearchBound, limit: float, prior: float | None
) -> NDArray[np.bool_]:
    curve = _curve(counts, name, prior)
    if curve is None:
        raise InputError(f"{option(name)} bounds what is undefined: {_LACKING[name]}")
    return np.asarray(curve >= limit if name.startswith("min") else curve <= limit)


def _curve(counts: PairCounts, name: SearchBound, prior: float | None) -> Curve | None:
    if name == "max_false_accepts_per_query":
        return _per_query(counts)
    if name == "max_fpir":
        return fpir_curve(counts)
    if name == "min_precision":
        if prior is None:
            return None
        return _precision(counts.pooled_far, pooled_frr_at_most(counts), prior)
    return _identification(counts)


def _per_query(counts: PairCounts) -> Curve | None:
    if counts.metric in SCORED:
        return None
    # With a gallery, only one row of each pair is a query. Otherwise both rows are.
    return np.asarray(
        counts.pooled_impostor * (1 if counts.open_set is not None else 2) / counts.rows
    )


def _identification(counts: PairCounts) -> Curve | None:
    searchers = int(counts.searchers.sum())
    if counts.right_answers is None or not searchers:
        return None
    return np.asarray(counts.right_answers / searchers)


def _precision(far: Curve, frr: Curve, prior: float) -> Curve:
    """Return the precision, with NaN where no pair is accepted."""
    right, wrong = prior * (1 - frr), (1 - prior) * far
    with np.errstate(invalid="ignore"):
        return np.asarray(right / (right + wrong))


def held_bounds(
    counts: PairCounts,
    bounds: SearchBounds,
    met: dict[SearchBound, NDArray[np.bool_]],
    index: int | None,
) -> tuple[HeldBound, ...]:
    """Return each given bound with the figure at a threshold, and with what it alone needs.

    ``met`` is the result of ``thresholds_meeting``, and ``index`` that of the threshold, if there
    is one.
    """
    found = []
    for name, limit in bounds.given.items():
        curve, places = _curve(counts, name, bounds.prior), np.flatnonzero(met[name])
        end = 0 if name == "min_identification" else -1
        alone = pooled_rates(counts, int(places[end]) if len(places) else None)
        value = None if index is None or curve is None else float(curve[index])
        found.append(HeldBound(name, limit, value, alone))
    return tuple(found)


def open_set(counts: PairCounts, threshold: float | None) -> OpenSet | None:
    """Return the queries without a genuine gallery row, or None if there is no gallery."""
    if counts.open_set is None:
        return None
    fpir, points = fpir_curve(counts), tuple(_identification_point(counts, at) for at in _FPIRS)
    at = None if threshold is None or fpir is None else fpir[counts.grid.index_at(threshold)]
    return OpenSet(
        strangers(counts),
        None if at is None else float(at),
        tuple(point for point in points if point is not None),
    )


def _identification_point(counts: PairCounts, target: float) -> IdentificationPoint | None:
    """Return the identification at a FPIR, or None if either is undefined."""
    fpir, identified = fpir_curve(counts), _identification(counts)
    if fpir is None or identified is None:
        return None
    supported, last = is_supported(target, strangers(counts)), last_within(fpir, target)
    if last is None:
        return IdentificationPoint(target, None, None, None, supported)
    return IdentificationPoint(
        target,
        float(counts.grid.thresholds[last]),
        float(fpir[last]),
        float(identified[last]),
        supported,
    )
