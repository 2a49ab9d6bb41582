"""A threshold already in use, and the classes that are worst off at one."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from opis_cli.records import PairCounts
from opis_cli.scoring.borderline import Borderline, borderline_at
from opis_cli.scoring.curves import ClassRates, class_figures, class_rates
from opis_cli.scoring.opis import Consistency
from opis_cli.scoring.pooled import fpir, pooled_rates

WORST_CLASSES = 10


@dataclass(frozen=True, slots=True)
class WorstClass:
    """One of the classes worst off at a threshold, or over the calibration range."""

    class_name: int | str = dataclasses.field(metadata={"key": "class"})
    size: int
    utility: float | None
    mean_utility: float
    opis_contribution: float
    far: float | None
    frr: float | None


@dataclass(frozen=True, slots=True)
class Deployed:
    """A threshold already in use, judged on these embeddings."""

    threshold: float
    far: float | None
    frr: float | None
    class_mean_far: float | None
    class_mean_frr: float | None
    mean_utility: float | None
    classes_meeting_bounds: float | None
    fpir: float | None = None
    worst_classes: "tuple[WorstClass, ...]" = ()
    borderline: Borderline | None = None


def worst_classes(
    counts: PairCounts, found: Consistency, rates: ClassRates | None
) -> tuple[WorstClass, ...]:
    """The classes of least utility at a threshold, or over the range where there is none."""
    ranking = found.mean_utilities if rates is None else rates.utility
    order = np.lexsort((found.mean_utilities, ranking))[:WORST_CLASSES]
    names = counts.class_names[found.classes].tolist()
    return tuple(
        WorstClass(
            class_name=names[i],
            size=int(counts.sizes[found.classes[i]]),
            utility=None if rates is None else float(rates.utility[i]),
            mean_utility=float(found.mean_utilities[i]),
            opis_contribution=float(found.contributions[i]),
            far=None if rates is None else float(rates.far[i]),
            frr=None if rates is None else float(rates.frr[i]),
        )
        for i in order
    )


def judge_deployed(
    counts: PairCounts,
    found: Consistency,
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
        worst_classes=worst_classes(counts, found, rates),
        borderline=borderline_at(counts, index),
    )
