"""Evaluate a deployed threshold, and find the classes with the lowest utility at a threshold."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from opis_cli.quantities import Amount, Share, Some
from opis_cli.records import PairCounts
from opis_cli.scoring.borderline import Borderline, borderline_at
from opis_cli.scoring.curves import ClassRates, class_figures, class_rates
from opis_cli.scoring.opis import Consistency
from opis_cli.scoring.pooled import pooled_rates
from opis_cli.scoring.search import search_figures

WORST_CLASSES = 10


@dataclass(frozen=True, slots=True)
class WorstClass:
    """A class with one of the lowest utilities at a threshold, or over the calibration range.

    Attributes
    ----------
    class_name : int | str
        The label as it is in the data.
    size : int
        Number of rows of the class or group. For scored pairs, number of pairs.
    utility : float | None
        Utility at the threshold. Null if there are no counts by class at a threshold.
    mean_utility : float
        Mean utility over the calibration range.
    opis_contribution : float
        Mean squared deviation of the class's utility from the mean curve, over the calibration
        range.
    far : float | None
        FAR of the class at the threshold. Null if there are no counts by class at a threshold.
    frr : float | None
        FRR of the class at the threshold. Null if there are no counts by class at a threshold.
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
    """The rates of a deployed threshold on these embeddings.

    Attributes
    ----------
    threshold : float
        Distance of settings.metric.
    far : float | None
        Pooled FAR: accepted share of all impostor pairs.
    frr : float | None
        Pooled FRR: rejected share of all genuine pairs.
    class_mean_far : float | None
        Mean of the FARs of the evaluable classes.
    class_mean_frr : float | None
        Mean of the FRRs of the evaluable classes.
    mean_utility : float | None
        Mean utility of the evaluable classes.
    classes_meeting_bounds : float | None
        Share of the evaluable classes whose own rates meet the given bounds.
    fpir : float | None
        False positive identification rate: share of the queries without a genuine gallery row
        that accept a gallery row at this threshold. Null if there are no such queries, or no
        gallery.
    false_accepts_per_query : float | None
        Mean number of accepted impostor rows of one search. Null for scored pairs, and in reports
        of an older opis.
    identification : float | None
        Share of the rows (or queries) with a genuine pair whose nearest other row has the same
        label and is accepted (DIR). Null for scored pairs, and in reports of an older opis.
    precision_at_prior : float | None
        Share of the accepted pairs that would be genuine at the prior of the settings. Null without
        a prior, and if no pair is accepted.
    worst_classes : tuple[WorstClass, ...]
        Up to ten classes with the lowest utility at this threshold, the lowest first.
    borderline : Borderline | None
        Number of pairs so close to the threshold that rounding decides whether they are accepted.
        Null if an older opis wrote the report.
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
    false_accepts_per_query: Amount | None = None
    identification: Share | None = None
    precision_at_prior: Share | None = None


def worst_classes(
    counts: PairCounts, consistency: Consistency, rates: ClassRates | None
) -> tuple[WorstClass, ...]:
    """Return the classes with the lowest utility, the lowest first.

    Parameters
    ----------
    counts : PairCounts
    consistency : Consistency
    rates : ClassRates or None
        Rates at a threshold. If it is None, the mean utility over the calibration range decides.
    """
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
    prior: float | None = None,
) -> Deployed:
    """Compute the rates of a deployed threshold. It must be a grid threshold."""
    index = counts.grid.index_at(threshold)
    at = pooled_rates(counts, index)
    rates = class_rates(counts, beta, threshold)
    searches = search_figures(counts, prior, index)
    return Deployed(
        threshold=threshold,
        far=at.far,
        frr=at.frr,
        **class_figures(rates, max_far, max_frr),
        fpir=searches.fpir,
        worst_classes=worst_classes(counts, consistency, rates),
        borderline=borderline_at(counts, index),
        false_accepts_per_query=searches.false_accepts_per_query,
        identification=searches.identification,
        precision_at_prior=searches.precision,
    )
