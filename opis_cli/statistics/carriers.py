"""Effective number of classes: how many classes with equal parts would carry a figure as evenly.

The part of a class is what it adds to the figure. The number is Kish's (``jackknife.carriers``).
"""

from dataclasses import dataclass

import numpy as np

from opis_cli.quantities import Amount, AtLeastOne
from opis_cli.records import Curve, Ints, PairCounts
from opis_cli.scoring import curves
from opis_cli.scoring.opis import Consistency, trapezoid_weights
from opis_cli.statistics.jackknife import carriers

_CURVE_POINTS = 128


@dataclass(frozen=True, slots=True)
class EffectiveClasses:
    """Effective numbers of classes: how many classes with equal parts carry a figure as evenly.

    Attributes
    ----------
    far : float
        Effective number of classes by their impostor pairs.
    frr : float
        Effective number of classes by their genuine pairs.
    far_accepted : float | None
        Effective number of classes by their accepted impostor pairs at the recommended threshold.
        Null if there is no threshold, or if no impostor pair is accepted.
    opis : float | None
        Effective number of classes by their contributions to OPIS. Null if OPIS is undefined or 0.
    eps_opis : float | None
        Effective number of the worst classes by what each adds to eps-OPIS. Null if eps-OPIS is
        undefined or 0.
    """

    far: Amount
    frr: Amount
    far_accepted: AtLeastOne | None = None
    opis: AtLeastOne | None = None
    eps_opis: AtLeastOne | None = None


def effective_classes(
    counts: PairCounts, consistency: Consistency, threshold: float | None, beta: float
) -> EffectiveClasses:
    """Return the effective numbers of classes. The threshold is for ``far_accepted``."""
    return EffectiveClasses(
        far=carriers(counts.impostor_pairs) or 0.0,
        frr=carriers(counts.genuine_pairs) or 0.0,
        far_accepted=carriers_of_far(counts, threshold),
        opis=None if consistency.opis is None else carriers(consistency.contributions),
        eps_opis=_carriers_of_eps_opis(counts, consistency, beta),
    )


def carriers_of_far(counts: PairCounts, threshold: float | None) -> float | None:
    """Return the effective number of classes by their accepted impostor pairs at a threshold.

    The result is None if no impostor pair is accepted, if there are no counts by class at the
    threshold, or if classes do not have all pairs of their rows (``classes_are_units``).
    """
    column = None if threshold is None else counts.grid.column_of(threshold)
    if not counts.classes_are_units or column is None:
        return None
    return carriers(counts.impostor[:, column])


def _carriers_of_eps_opis(
    counts: PairCounts, consistency: Consistency, beta: float
) -> float | None:
    """Return the effective number of the worst classes by how much each adds to eps-OPIS.

    A class adds the integral, over the calibration range, of its own gap to the rest times the
    mean gap of the worst classes.
    """
    if consistency.eps_opis is None:
        return None
    columns, span = points_of_range(counts, consistency)
    worst = curves.class_utility(counts, beta, consistency.worst, columns)
    total = consistency.curve[columns] * len(consistency.classes)
    rest = (total - worst.sum(axis=0)) / (len(consistency.classes) - len(worst))
    gaps = rest - worst
    return carriers(gaps @ (span * gaps.mean(axis=0)))


def points_of_range(counts: PairCounts, consistency: Consistency) -> tuple[Ints, Curve]:
    """Return at most 128 columns of the calibration range, and their weights in an integral."""
    places = np.linspace(0, consistency.points - 1, min(_CURVE_POINTS, consistency.points)).astype(
        int
    )
    columns = consistency.columns[np.unique(places)]
    return columns, trapezoid_weights(counts.grid.class_thresholds[columns])
