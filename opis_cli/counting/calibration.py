"""Find the ends of the calibration range, and tell which FARs the pairs can resolve."""

import math

import numpy as np

from opis_cli.errors import InputError
from opis_cli.records import Curve, PairCounts
from opis_cli.text import SIMILARITIES
from opis_cli.values import Calibration

OPERATING_FARS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
"""Pooled FARs for which every grid has a threshold of its own."""


MIN_PAIRS_PER_ERROR = 3
"""Pairs needed for each expected error: to resolve a FAR of x takes 3 / x impostor pairs.

This is the rule of three.
"""


def is_supported(far: float, impostors: int) -> bool:
    """Return whether this number of impostor pairs can resolve a FAR."""
    return impostors * far >= MIN_PAIRS_PER_ERROR


def range_ends(counts: PairCounts, calibration: Calibration) -> tuple[float, float]:
    """Return the ends of the calibration range, as distances.

    The threshold at a FAR bound x is the largest grid threshold with FAR <= x. The threshold at a
    FRR bound y is the smallest grid threshold with FRR <= y.

    Raises
    ------
    InputError
        The pairs cannot resolve the two ends, or cannot tell them apart.
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
        why = "even the smallest threshold accepts a larger share of impostors"
        if calibration.by == "frr":
            why = "more genuine pairs have no score, so every threshold rejects a larger share"
        raise unresolved(calibration, counts, why)
    if not thresholds[high] > thresholds[low]:
        raise unresolved(
            calibration,
            counts,
            "both ends fall on the same threshold, as the pairs are too few or their distances tie",
        )
    return float(thresholds[low]), float(thresholds[high])


def ends_if_needed(counts: PairCounts, calibration: Calibration) -> tuple[float, float]:
    """Return the ends of the calibration range, or two NaNs if the counts have no classes.

    Without classes nothing needs the range, so a range that cannot be resolved is no error then.
    """
    try:
        return range_ends(counts, calibration)
    except InputError:
        if len(counts.class_names):
            raise
        return math.nan, math.nan


def last_within(far: Curve, bound: float) -> int | None:
    """Return the index of the largest threshold with FAR <= bound, or None if there is none."""
    index = int(np.searchsorted(far, bound, side="right")) - 1
    return index if index >= 0 else None


def first_within(frr: Curve, bound: float) -> int | None:
    """Return the index of the smallest threshold with FRR <= bound, or None if there is none.

    There is one if all pairs have a distance, because the last threshold rejects none of these.
    """
    index = int(np.argmax(frr <= bound))
    return index if frr[index] <= bound else None


def unresolved(calibration: Calibration, counts: PairCounts, why: str) -> InputError:
    """Make the error that refuses a calibration range and tells the reason."""
    finest = counts.rounding
    if counts.metric not in ("cosine", "dot"):
        finest = math.sqrt(2 * finest)
    advice = "; --calibration=distance:LOW..HIGH takes any distances"
    advice = "" if counts.metric in SIMILARITIES else advice
    return InputError(
        f"the calibration range {calibration} cannot be resolved: {why} "
        f"({counts.impostor_total:,} impostor and {counts.genuine_total:,} genuine pairs; "
        f"distances are told apart down to {finest:.2g}). "
        f"Give more {'pairs' if counts.metric == 'score' else 'rows'} or a wider range{advice}"
    )
