"""Held-out classes: choose a threshold on all folds but one, and test it on the pairs in that one.

One pass of counting is enough for all folds. The classes of a fold have counts of their accepted
impostor pairs. The sum of these counts contains each pair inside the fold twice, as both rows lie
in the fold. Without the second copy, the sum is the number of pairs with at least one row in the
fold. All other pairs are those on which the threshold is chosen.
"""

from dataclasses import dataclass

import numpy as np

from opis_cli.counting.calibration import first_within, last_within
from opis_cli.quantities import Amount, Several, Share
from opis_cli.records import Curve, Ends, PairCounts


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Rates on classes on which the threshold was not chosen. Each fold is held out once.

    Attributes
    ----------
    folds : int
        Number of folds.
    far_mean : float | None
        Mean of the FAR over folds. Null if no fold has a FAR.
    far_max : float | None
        Largest FAR of a fold. Null if no fold has a FAR.
    far_sd : float | None
        Standard deviation of the FAR over folds. Null if fewer than two folds have a FAR.
    frr_mean : float | None
        Mean of the FRR over folds. Null if no fold has an FRR.
    frr_max : float | None
        Largest FRR of a fold. Null if no fold has an FRR.
    frr_sd : float | None
        Standard deviation of the FRR over folds. Null if fewer than two folds have an FRR.
    bounds_held : float
        Share of the folds in which the bounds held.
    thresholds : Ends | None
        Smallest and largest of the chosen thresholds. Null if there was none for any fold.
    """

    folds: Several
    far_mean: Share | None
    far_max: Share | None
    far_sd: Amount | None
    frr_mean: Share | None
    frr_max: Share | None
    frr_sd: Amount | None
    bounds_held: Share
    thresholds: Ends | None


def held_out(counts: PairCounts, max_far: float | None, max_frr: float | None) -> HeldOut | None:
    """Compute the rates inside each fold at the threshold that the other folds choose.

    The threshold is the largest that meets ``max_far``. If only ``max_frr`` is given, it is the
    smallest that meets ``max_frr``. A fold has no rates if the other folds have no such threshold,
    no FAR if it has no impostor pairs, and no FRR if it has no genuine pairs.

    The result is None if the classes were not split into folds, or if there is no bound.
    """
    bounded = max_far is not None or max_frr is not None
    if counts.folds is None or counts.inside is None or not bounded:
        return None
    count = len(counts.inside)
    tries = [_try(counts, fold, max_far, max_frr) for fold in range(count)]
    held = [
        threshold is not None
        and (max_far is None or (far is not None and far <= max_far))
        and (max_frr is None or (frr is not None and frr <= max_frr))
        for threshold, far, frr in tries
    ]
    thresholds = [threshold for threshold, _, _ in tries if threshold is not None]
    far_mean, far_max, far_sd = _over_folds([far for _, far, _ in tries])
    frr_mean, frr_max, frr_sd = _over_folds([frr for _, _, frr in tries])
    return HeldOut(
        folds=count,
        far_mean=far_mean,
        far_max=far_max,
        far_sd=far_sd,
        frr_mean=frr_mean,
        frr_max=frr_max,
        frr_sd=frr_sd,
        bounds_held=sum(held) / count,
        thresholds=(min(thresholds), max(thresholds)) if thresholds else None,
    )


def _try(
    counts: PairCounts, fold: int, max_far: float | None, max_frr: float | None
) -> tuple[float | None, float | None, float | None]:
    """Hold one fold out, and return the threshold, and the FAR and FRR inside the fold."""
    assert counts.folds is not None and counts.inside is not None
    own = counts.folds == fold
    at = counts.grid.by_class
    size = int(counts.sizes[own].sum())
    inside = counts.inside[fold][at]
    pairs_inside = (size**2 - int((counts.sizes[own] ** 2).sum())) // 2
    genuine = counts.genuine[own].sum(axis=0, dtype=np.int64)
    genuine_pairs = int(counts.genuine_pairs[own].sum())
    others = counts.pooled_impostor[at] - counts.impostor[own].sum(axis=0, dtype=np.int64) + inside
    pairs_of_others = counts.impostor_total - int(counts.impostor_pairs[own].sum()) + pairs_inside
    if max_far is not None:
        column = last_within(others / max(pairs_of_others, 1), max_far)
    else:
        others_total = counts.genuine_total - genuine_pairs
        rejected = others_total - (counts.pooled_genuine[at] - genuine)
        column = first_within(rejected / max(others_total, 1), max_frr or 0.0)
    if column is None:
        return None, None, None
    return (
        float(counts.grid.class_thresholds[column]),
        float(inside[column] / pairs_inside) if pairs_inside else None,
        float(1 - genuine[column] / genuine_pairs) if genuine_pairs else None,
    )


def _over_folds(rates: list[float | None]) -> tuple[float | None, float | None, float | None]:
    """Return the mean, maximum and standard deviation over the folds that have a rate."""
    known: Curve = np.array([rate for rate in rates if rate is not None])
    if len(known) == 0:
        return None, None, None
    spread = float(known.std(ddof=1)) if len(known) > 1 else None
    return float(known.mean()), float(known.max()), spread
