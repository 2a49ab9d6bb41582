"""Rates at any threshold, whether it is a grid threshold or lies between two of them."""

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
    """The largest threshold at which the pooled FAR is at most a target.

    Attributes
    ----------
    far : float
        Target of the pooled FAR.
    threshold : float | None
        Distance of settings.metric. Null if no threshold meets the target.
    achieved_far : float | None
        Pooled FAR at the threshold. It is at most the target.
    frr : float | None
        Pooled FRR at the threshold.
    supported : bool
        Whether there are at least 3 / far impostor pairs, which are needed to resolve the target.
    """

    far: Share
    threshold: float | None
    achieved_far: Share | None
    frr: Share | None
    supported: bool


@dataclass(frozen=True, slots=True)
class Operating:
    """Rates at a threshold. They are never lower than the true rates.

    If the threshold lies between two grid thresholds, the FAR is that of the next grid threshold
    above, and the FRR that of the next one below. Counts by class exist at fewer thresholds, so the
    rates of the classes may come from other neighbours. Pairs within a rounding error of the
    threshold count as accepted in the FAR and as rejected in the FRR. If there are such genuine
    pairs, the FRRs of the classes come from the next threshold below.

    Attributes
    ----------
    threshold : float
    kind : {"deployed", "recommended"}
    far, frr : float
        Pooled rates.
    far_at, frr_at : float or None
        Grid thresholds at which the pooled rates were counted. ``frr_at`` is None if the threshold
        lies below the whole grid, where no pair is certainly accepted.
    classes : ClassRates
        Rates and utility of the evaluable classes.
    class_far_at, class_frr_at : float or None
        Grid thresholds at which the rates of the classes were counted.
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
        """Whether the pooled rates were counted at exactly this threshold."""
        return self.far_at == self.frr_at

    @property
    def classes_exact(self) -> bool:
        """Whether the rates of the classes were counted at exactly this threshold."""
        return self.class_far_at == self.class_frr_at


@dataclass(frozen=True, slots=True)
class Rates:
    """Rates at any threshold. They are never lower than the true rates.

    Thresholds are on the user's scale: scores if the pairs have scores, and distances otherwise. If
    the threshold lies between two counted thresholds, the FAR is that of the next looser one, and
    the FRR that of the next stricter one. ``exact`` is False then. Pairs within a rounding error
    of the threshold count as accepted in the FAR and as rejected in the FRR.

    Attributes
    ----------
    threshold : float
    far, frr : float
        Pooled rates.
    far_at, frr_at : float or None
        Thresholds at which the pooled rates were counted. ``frr_at`` is None if no pair is
        certainly accepted.
    class_mean_far, class_mean_frr, mean_utility : float or None
        Means over the evaluable classes. None if there is no such class.
    class_far_at, class_frr_at : float or None
        Thresholds at which the rates of the classes were counted. There are fewer of these than
        for pooled rates.
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
        """Whether all rates were counted at exactly this threshold."""
        return self.far_at == self.frr_at == self.class_far_at == self.class_frr_at


def rates_of(at: Operating, metric: Metric) -> Rates:
    """Summarize an operating point, with thresholds on the user's scale."""

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
    """Compute the pooled rates and the rates of the classes at any threshold.

    Parameters
    ----------
    counts : PairCounts
    threshold : float
        A distance.
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
    """Return the indices of the thresholds next to ``at``: the last ``<= at``, the first ``>= at``.

    The first of the two is -1 if every threshold is larger than ``at``. If ``at`` lies beyond the
    last threshold, both are the index of the last, as every pair is accepted at both.
    """
    last = len(thresholds) - 1
    below = int(np.searchsorted(thresholds, at, side="right")) - 1
    above = min(int(np.searchsorted(thresholds, at)), last)
    return (last, last) if at >= thresholds[last] else (below, above)


def operating_points(counts: PairCounts) -> tuple[OperatingPoint, ...]:
    """Return the threshold and FRR at each FAR target in ``OPERATING_FARS``."""
    far = counts.pooled_far
    points = []
    for bound in OPERATING_FARS:
        at = pooled_rates(counts, last_within(far, bound))
        supported = is_supported(bound, counts.impostor_total)
        points.append(OperatingPoint(bound, at.threshold, at.far, at.frr, supported))
    return tuple(points)
