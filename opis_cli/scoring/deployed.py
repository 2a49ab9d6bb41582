"""A threshold already in use, and the classes that are worst off at one."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from opis_cli.quantities import Share, Some
from opis_cli.records import PairCounts
from opis_cli.scoring.borderline import Borderline, borderline_at
from opis_cli.scoring.curves import ClassRates, class_figures, class_rates
from opis_cli.scoring.opis import Consistency
from opis_cli.scoring.pooled import fpir, pooled_rates

WORST_CLASSES = 10


@dataclass(frozen=True, slots=True)
class WorstClass:
    """One of the classes worst off at a threshold, or over the calibration range.

    Attributes
    ----------
    class_name : int | str
        The label as it is in the data.
    size : int
        Rows of the class or group; pairs of scored pairs.
    utility : float | None
        Utility at the threshold; null where there is none.
    mean_utility : float
        Mean utility over the calibration range.
    opis_contribution : float
        Mean squared deviation of its utility from the mean curve, over the range.
    far : float | None
        Its own FAR at the threshold; null where there is none.
    frr : float | None
        Its own FRR at the threshold; null where there is none.
    """

    class_name: int | str = dataclasses.field(metadata={"key": "class"})
    size: Some
    utility: Share | None
    mean_utility: Share
    opis_contribution: Share
    far: Share | None
    frr: Share | None


@dataclass(frozen=True, slots=True)
class Deployed:
    """A threshold already in use, judged on these embeddings.

    Attributes
    ----------
    threshold : float
        Distance of settings.metric.
    far : float | None
        Accepted share of all impostor pairs.
    frr : float | None
        Rejected share of all genuine pairs.
    class_mean_far : float | None
        Mean over the evaluable classes of their own FAR.
    class_mean_frr : float | None
        Mean over the evaluable classes of their own FRR.
    mean_utility : float | None
        Mean utility of the evaluable classes.
    classes_meeting_bounds : float | None
        Share of the evaluable classes whose own rates meet the bounds given.
    fpir : float | None
        Share of the queries without a genuine gallery row that find a row at this threshold;
        null where there are none, or no gallery.
    worst_classes : tuple[WorstClass, ...]
        Up to ten classes of least utility at this threshold, worst first.
    borderline : Borderline | None
        Pairs so near the threshold that rounding decides; null where no threshold is given or
        an older opis wrote the report.
    """

    threshold: float
    far: Share | None
    frr: Share | None
    class_mean_far: Share | None
    class_mean_frr: Share | None
    mean_utility: Share | None
    classes_meeting_bounds: Share | None
    fpir: Share | None = None
    worst_classes: "tuple[WorstClass, ...]" = ()
    borderline: Borderline | None = None


def worst_classes(
    counts: PairCounts, consistency: Consistency, rates: ClassRates | None
) -> tuple[WorstClass, ...]:
    """The classes of least utility at a threshold, or over the range where there is none."""
    ranking = consistency.mean_utilities if rates is None else rates.utility
    order = np.lexsort((consistency.mean_utilities, ranking))[:WORST_CLASSES]
    names = counts.class_names[consistency.classes].tolist()
    return tuple(
        WorstClass(
            class_name=names[i],
            size=int(counts.sizes[consistency.classes[i]]),
            utility=None if rates is None else float(rates.utility[i]),
            mean_utility=float(consistency.mean_utilities[i]),
            opis_contribution=float(consistency.contributions[i]),
            far=None if rates is None else float(rates.far[i]),
            frr=None if rates is None else float(rates.frr[i]),
        )
        for i in order
    )


def judge_deployed(
    counts: PairCounts,
    consistency: Consistency,
    threshold: float,
    max_far: float | None,
    max_frr: float | None,
    beta: float,
) -> Deployed:
    """Rates of a deployed threshold, which is on the grid."""
    index = counts.grid.index_at(threshold)
    at = pooled_rates(counts, index)
    rates = class_rates(counts, beta, threshold)
    return Deployed(
        threshold=threshold,
        far=at.far,
        frr=at.frr,
        **class_figures(rates, max_far, max_frr),
        fpir=fpir(counts, threshold),
        worst_classes=worst_classes(counts, consistency, rates),
        borderline=borderline_at(counts, index),
    )
