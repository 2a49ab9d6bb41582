"""How unequally a global threshold treats the classes: Max / GeoMean and the Gini form.

- ``max_over_geomean``: the largest rate over the geometric mean of the rates; 1 is equal. From NIST
  IR 8429, *Face Recognition Vendor Test, Part 8: Summarizing Demographic Differentials* (Grother,
  2022). A rate of zero has no logarithm, so rates are raised to a floor first.
- ``gini``: ``n / (n - 1) * sum over i, j of |x_i - x_j| / (2 n^2 mean)``, from 0 (equal) to 1 (one
  class has all errors); no floor. It is the term of GARBE, *Evaluating Proposed Fairness Models for
  Face Recognition Algorithms* (Howard, Laird, Rubin, Sirotin, Tipton & Vemury, 2022).

A class takes part if it has pairs enough to show the pooled rate, 3 / rate of them (the rule of
three): of fewer, most would have no error or far too high a rate, by chance. The floor is half an
error in so many pairs, a sixth of the pooled rate.
"""

import math
from dataclasses import dataclass

import numpy as np

from opis_cli.counting.calibration import MIN_PAIRS_PER_ERROR
from opis_cli.quantities import AtLeastOne, Positive, Several, Some
from opis_cli.records import Curve, Floats, Ints, PairCounts
from opis_cli.scoring import curves


@dataclass(frozen=True, slots=True)
class Differential:
    """How unequal the classes' rates are; ``classes`` of at least ``least_pairs`` took part.

    Attributes
    ----------
    max_over_geomean : float
        Largest rate over the geometric mean of the rates, each raised to the floor; 1 is equal.
    gini : float
        Gini coefficient of the rates, n/(n-1) corrected (the term of GARBE); 0 is equal.
    floor : float
        What lower rates count as in the geometric mean.
    classes : int
        Classes that took part.
    least_pairs : int
        Pairs that a class needed to take part.
    """

    max_over_geomean: AtLeastOne
    gini: float
    floor: Positive
    classes: Several
    least_pairs: Some


@dataclass(frozen=True, slots=True)
class Differentials:
    """Inequity of FAR and of FRR; null where fewer than two classes can take part.

    Attributes
    ----------
    far : Differential | None
        Of FAR; null where fewer than two classes can take part.
    frr : Differential | None
        Of FRR; null where fewer than two classes can take part.
    """

    far: Differential | None
    frr: Differential | None


def differentials(counts: PairCounts, threshold: float | None) -> Differentials | None:
    """Inequity over the evaluable classes at a grid threshold; None without counts by class."""
    column = None if threshold is None else counts.grid.column_of(threshold)
    if column is None:
        return None
    at, columns = int(counts.grid.by_class[column]), np.array([column])
    classes = curves.evaluable_classes(counts)
    far = curves.class_far(counts, classes, columns)[:, 0]
    frr = curves.class_frr(counts, classes, columns)[:, 0]
    pooled = float(counts.pooled_far[at]), float(counts.pooled_frr[at])
    # In groups a pair may be counted from both its ends, and is one all the same.
    ends = 2 if int(counts.genuine_pairs.sum()) > counts.genuine_total else 1
    return Differentials(
        far=differential(far, counts.impostor_pairs[classes] // ends, pooled[0]),
        frr=differential(frr, counts.genuine_pairs[classes] // ends, pooled[1]),
    )


def differential(rates: Floats, pairs: Ints, pooled: float) -> Differential | None:
    """Inequity of the rates of classes or groups.

    Parameters
    ----------
    rates : ndarray of shape (n,)
    pairs : ndarray of shape (n,)
        How many pairs each rate is a share of.
    pooled : float
        The rate over all pairs; it sets the floor, and the least number of pairs.
    """
    if not pooled > 0:
        return None
    least = math.ceil(round(MIN_PAIRS_PER_ERROR / pooled, 9))
    taking_part = np.asarray(rates, np.float64)[pairs >= least]
    if len(taking_part) < 2 or not taking_part.max() > 0:
        return None
    floor = 0.5 * pooled / MIN_PAIRS_PER_ERROR
    raised = np.maximum(taking_part, floor)
    return Differential(
        max_over_geomean=float(raised.max() / np.exp(np.log(raised).mean())),
        gini=gini(taking_part),
        floor=floor,
        classes=len(taking_part),
        least_pairs=least,
    )


def gini(values: Curve) -> float:
    """The Gini coefficient of positive values, corrected for their number."""
    count = len(values)
    # Of sorted values, the k-th (from 0) is the larger of k pairs and the smaller of the others.
    gaps = 2 * np.sum(np.sort(values) * (2 * np.arange(count) - count + 1))
    return float(count / (count - 1) * gaps / (2 * count**2 * values.mean()))
