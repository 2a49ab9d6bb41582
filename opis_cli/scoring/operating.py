"""Rates at a threshold that is in use, whether it is one of the grid's or lies between two."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from opis_cli.counting.calibration import OPERATING_FARS, is_supported, last_within
from opis_cli.quantities import Share
from opis_cli.records import Curve, PairCounts
from opis_cli.scoring import curves
from opis_cli.scoring.curves import ClassRates
from opis_cli.scoring.pooled import pooled_rates
from opis_cli.settings import Metric
from opis_cli.text import as_known


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """The threshold at a FAR target; ``supported`` is False where too few pairs resolve it.

    Attributes
    ----------
    far : float
        Pooled FAR aimed at.
    threshold : float | None
        Distance of settings.metric.
    achieved_far : float | None
        Pooled FAR there, at most the one aimed at.
    frr : float | None
        Pooled FRR there.
    supported : bool
        Whether the impostor pairs are at least 3 / far, enough to resolve it.
    """

    far: Share
    threshold: float | None
    achieved_far: Share | None
    frr: Share | None
    supported: bool


@dataclass(frozen=True, slots=True)
class Operating:
    """Rates at a threshold, which never flatter.

    Between two grid thresholds, FAR is that of the next one above and FRR that of the next one
    below: the true rates are at most these. Counts by class are kept at fewer thresholds, so the
    classes' rates have neighbours of their own. Pairs within a rounding of the threshold are
    accepted for FAR and rejected for FRR; of classes, where genuine ones are so near, FRR is that
    at the next threshold below.

    Attributes
    ----------
    threshold : float
    kind : {"deployed", "recommended"}
    far, frr : float
        Pooled.
    far_at, frr_at : float or None
        The grid thresholds that these are counted at; None below the whole grid, where no pair
        is surely accepted.
    classes : ClassRates
        Rates and utility of the evaluable classes.
    class_far_at, class_frr_at : float or None
    """

    threshold: float
    kind: Literal["deployed", "recommended"]
    far: float
    frr: float
    far_at: float
    frr_at: float | None
    classes: ClassRates
    class_far_at: float
    class_frr_at: float | None

    @property
    def exact(self) -> bool:
        """Whether the pooled rates were counted at this very threshold."""
        return self.far_at == self.frr_at

    @property
    def classes_exact(self) -> bool:
        """Whether the classes' rates were counted at this very threshold."""
        return self.class_far_at == self.class_frr_at


@dataclass(frozen=True, slots=True)
class Rates:
    """Rates at any threshold, which never flatter.

    Thresholds are as people know them: scores where pairs have these, else distances. Between two
    that were counted, FAR is that of the next looser one, and FRR that of the next stricter one, so
    the true rates are at most these; ``exact`` says whether that was needed. Pairs within a
    rounding of the threshold are accepted for FAR and rejected for FRR.

    Attributes
    ----------
    threshold : float
    far, frr : float
        Pooled.
    far_at, frr_at : float or None
        The thresholds that these are counted at; None where no pair is surely accepted.
    class_mean_far, class_mean_frr, mean_utility : float or None
        Means over the evaluable classes; None where there is none.
    class_far_at, class_frr_at : float or None
        The thresholds that rates of classes are counted at, which are kept at fewer.
    """

    threshold: float
    far: float
    frr: float
    far_at: float
    frr_at: float | None
    class_mean_far: float | None
    class_mean_frr: float | None
    mean_utility: float | None
    class_far_at: float
    class_frr_at: float | None

    @property
    def exact(self) -> bool:
        """Whether all rates were counted at this very threshold."""
        return self.far_at == self.frr_at == self.class_far_at == self.class_frr_at


def rates_of(at: Operating, metric: Metric) -> Rates:
    """An operating point in short, its thresholds as people know them."""

    def known(threshold: float | None) -> float | None:
        return None if threshold is None else as_known(threshold, metric)

    def mean(rates: Curve) -> float | None:
        return float(rates.mean()) if len(rates) else None

    return Rates(
        threshold=as_known(at.threshold, metric),
        far=at.far,
        frr=at.frr,
        far_at=as_known(at.far_at, metric),
        frr_at=known(at.frr_at),
        class_mean_far=mean(at.classes.far),
        class_mean_frr=mean(at.classes.frr),
        mean_utility=mean(at.classes.utility),
        class_far_at=as_known(at.class_far_at, metric),
        class_frr_at=known(at.class_frr_at),
    )


def rates_at(
    counts: PairCounts,
    threshold: float,
    beta: float,
    kind: Literal["deployed", "recommended"] = "deployed",
) -> Operating:
    """Pooled and class rates at any threshold.

    Parameters
    ----------
    counts : PairCounts
    threshold : float
        A distance, not negative.
    beta : float
        Weight of sensitivity in the utility.
    kind : {"deployed", "recommended"}
    """
    thresholds, by_class = counts.grid.thresholds, counts.grid.class_thresholds
    below, above = _neighbours(thresholds, threshold)
    class_below, class_above = _neighbours(by_class, threshold)
    frr_at_most = curves.pooled_frr_at_most(counts)
    at = counts.grid.by_class[class_below]
    if class_below >= 0 and frr_at_most[at] > counts.pooled_frr[at]:
        class_below -= 1
    classes = curves.evaluable_classes(counts)
    far = curves.class_far(counts, classes, np.array([class_above]))[:, 0]
    frr = np.ones(len(classes))
    if class_below >= 0:
        frr = curves.class_frr(counts, classes, np.array([class_below]))[:, 0]
    return Operating(
        threshold=threshold,
        kind=kind,
        far=float(counts.pooled_far[above]),
        frr=float(frr_at_most[below]) if below >= 0 else 1.0,
        far_at=float(thresholds[above]),
        frr_at=float(thresholds[below]) if below >= 0 else None,
        classes=ClassRates(far, frr, curves.utility(far, frr, beta)),
        class_far_at=float(by_class[class_above]),
        class_frr_at=float(by_class[class_below]) if class_below >= 0 else None,
    )


def _neighbours(thresholds: Curve, at: float) -> tuple[int, int]:
    """Indices of the last threshold that is at most ``at`` and the first that is at least it.

    The former is -1 where there is none. Beyond the last threshold, as at it, every pair is
    accepted, so it stands for both.
    """
    last = len(thresholds) - 1
    below = int(np.searchsorted(thresholds, at, side="right")) - 1
    above = min(int(np.searchsorted(thresholds, at)), last)
    return (last, last) if at >= thresholds[last] else (below, above)


def operating_points(counts: PairCounts) -> tuple[OperatingPoint, ...]:
    """Threshold and FRR at each FAR in use, with whether the pairs can resolve it."""
    far = counts.pooled_far
    points = []
    for bound in OPERATING_FARS:
        at = pooled_rates(counts, last_within(far, bound))
        supported = is_supported(bound, counts.impostor_total)
        points.append(OperatingPoint(bound, at.threshold, at.far, at.frr, supported))
    return tuple(points)
