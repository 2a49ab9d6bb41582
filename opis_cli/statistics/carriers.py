"""How many classes of equal parts would carry a figure as evenly."""

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
    """How many classes of equal parts would carry a figure as evenly: pairs of ``far`` and
    ``frr``, accepted impostor pairs at the recommended threshold, contributions to OPIS.

    Attributes
    ----------
    far : float
        By impostor pairs.
    frr : float
        By genuine pairs.
    far_accepted : float | None
        By accepted impostor pairs at the recommended threshold; null where there is none, or
        nothing is accepted.
    opis : float | None
        By contributions to OPIS; null where there is no OPIS, or it is 0.
    eps_opis : float | None
        Of the worst classes, by what each adds to eps-OPIS; null where there is none, or it is
        0.
    """

    far: Amount
    frr: Amount
    far_accepted: AtLeastOne | None = None
    opis: AtLeastOne | None = None
    eps_opis: AtLeastOne | None = None


def effective_classes(
    counts: PairCounts, consistency: Consistency, threshold: float | None, beta: float
) -> EffectiveClasses:
    """How many classes carry each figure, FAR at a threshold."""
    return EffectiveClasses(
        far=carriers(counts.impostor_pairs) or 0.0,
        frr=carriers(counts.genuine_pairs) or 0.0,
        far_accepted=carriers_of_far(counts, threshold),
        opis=None if consistency.opis is None else carriers(consistency.contributions),
        eps_opis=_carriers_of_eps_opis(counts, consistency, beta),
    )


def carriers_of_far(counts: PairCounts, threshold: float | None) -> float | None:
    """The effective number of classes by their accepted impostor pairs at a threshold.

    None where nothing is accepted, or classes are not credited with all pairs of their rows.
    """
    column = None if threshold is None else counts.grid.column_of(threshold)
    if not counts.classes_are_units or column is None:
        return None
    return carriers(counts.impostor[:, column])


def _carriers_of_eps_opis(
    counts: PairCounts, consistency: Consistency, beta: float
) -> float | None:
    """The effective number of the worst classes, by how much each adds to eps-OPIS.

    What a class adds is its own gap to the rest times that of all, over the calibration range.
    """
    if consistency.eps_opis is None:
        return None
    columns, span = points_of_range(counts, consistency)
    rest = np.setdiff1d(consistency.classes, consistency.worst)
    gaps = curves.mean_utility(counts, beta, rest, columns) - curves.class_utility(
        counts, beta, consistency.worst, columns
    )
    return carriers(gaps @ (span * gaps.mean(axis=0)))


def points_of_range(counts: PairCounts, consistency: Consistency) -> tuple[Ints, Curve]:
    """Some hundred columns of the calibration range, and the weights of the integral over it."""
    places = np.linspace(0, consistency.points - 1, min(_CURVE_POINTS, consistency.points)).astype(
        int
    )
    columns = consistency.columns[np.unique(places)]
    return columns, trapezoid_weights(counts.grid.class_thresholds[columns])
