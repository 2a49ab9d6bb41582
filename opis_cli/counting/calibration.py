"""The calibration range, and which FARs the pairs can resolve."""

import math

import numpy as np

from opis_cli.errors import InputError
from opis_cli.records import Curve, PairCounts
from opis_cli.values import Calibration

OPERATING_FARS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)


MIN_PAIRS_PER_ERROR = 3
"""A FAR of x needs 3 / x impostor pairs to be resolved at all (the rule of three)."""


def is_supported(far: float, impostors: int) -> bool:
    """Whether so many impostor pairs can resolve a FAR."""
    return impostors * far >= MIN_PAIRS_PER_ERROR


def range_ends(counts: PairCounts, calibration: Calibration) -> tuple[float, float]:
    """Ends of the calibration range, as distances.

    The threshold at a FAR bound x is the largest grid threshold with FAR <= x; at a FRR bound y,
    the smallest grid threshold with FRR <= y.

    Raises
    ------
    InputError
        The pairs cannot tell the two ends apart.
    """
    thresholds = counts.grid.thresholds
    if calibration.by == "distance":
        if calibration.high > thresholds[-1]:
            why = f"no distance here exceeds {thresholds[-1]:.6g}"
            raise unresolved(calibration, counts, why)
        return calibration.low, calibration.high
    if calibration.by == "far":
        low = last_within(counts.pooled_far, calibration.low)
        high = last_within(counts.pooled_far, calibration.high)
    else:
        low = first_within(counts.pooled_frr, calibration.high)
        high = first_within(counts.pooled_frr, calibration.low)
    if low is None or high is None:
        raise unresolved(
            calibration, counts, "even the smallest threshold accepts a larger share of impostors"
        )
    if not thresholds[high] > thresholds[low]:
        raise unresolved(
            calibration,
            counts,
            "both ends fall on the same threshold, as the pairs are too few or their distances tie",
        )
    return float(thresholds[low]), float(thresholds[high])


def ends_if_needed(counts: PairCounts, calibration: Calibration) -> tuple[float, float]:
    """Ends of the calibration range; NaN where there is none and no class that would need it."""
    try:
        return range_ends(counts, calibration)
    except InputError:
        if len(counts.class_names):
            raise
        return math.nan, math.nan


def last_within(far: Curve, bound: float) -> int | None:
    """Index of the largest threshold with FAR at most a bound."""
    index = int(np.searchsorted(far, bound, side="right")) - 1
    return index if index >= 0 else None


def first_within(frr: Curve, bound: float) -> int:
    """Index of the smallest threshold with FRR at most a bound; the last one rejects nothing."""
    return int(np.argmax(frr <= bound))


def unresolved(calibration: Calibration, counts: PairCounts, why: str) -> InputError:
    """The refusal of a calibration range, with the reason."""
    finest = counts.rounding if counts.metric == "cosine" else math.sqrt(2 * counts.rounding)
    advice = "; --calibration distance:LOW..HIGH takes any distances"
    advice = "" if counts.metric == "score" else advice
    return InputError(
        f"the calibration range {calibration} cannot be resolved: {why} "
        f"({counts.impostor_total:,} impostor and {counts.genuine_total:,} genuine pairs; "
        f"distances are told apart down to {finest:.2g}). "
        f"Give more {'pairs' if counts.metric == 'score' else 'rows'} or a wider range{advice}"
    )
