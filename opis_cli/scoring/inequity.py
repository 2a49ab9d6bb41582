"""Measures of how unequally a global threshold treats the classes: Max / GeoMean and Gini.

- ``max_over_geomean``: the largest rate divided by the geometric mean of the rates. It is 1 if all
  rates are equal. A rate of zero has no logarithm, so lower rates are first raised to a floor.
  Source: NIST IR 8429, *Face Recognition Vendor Test, Part 8: Summarizing Demographic
  Differentials* (Grother, 2022).
- ``gini``: ``n / (n - 1) * sum over i, j of |x_i - x_j| / (2 n^2 mean)``. It is 0 if all rates are
  equal and 1 if one class has all errors. It needs no floor. It is the term of GARBE. Source:
  *Evaluating Proposed Fairness Models for Face Recognition Algorithms* (Howard, Laird, Rubin,
  Sirotin, Tipton & Vemury, 2022).

A class takes part only if it has at least 3 / rate pairs, where rate is the pooled rate (the rule
of three). Most classes with fewer pairs would by chance have no error, or a rate that is far too
high. The floor is half an error in 3 / rate pairs, which is a sixth of the pooled rate.
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
    """How unequal the rates of the classes are. Only classes with enough pairs take part.

    Attributes
    ----------
    max_over_geomean : float
        Largest rate divided by the geometric mean of the rates, each raised to the floor. It is 1
        if all rates are equal.
    gini : float
        Gini coefficient of the rates with the correction n/(n-1) (the term of GARBE). It is 0 if
        all rates are equal.
    floor : float
        Lowest rate in max_over_geomean. A lower rate is raised to it.
    classes : int
        Number of classes that took part.
    least_pairs : int
        Number of pairs that a class needs to take part.
    """

    max_over_geomean: AtLeastOne
    gini: float
    floor: Positive
    classes: Several
    least_pairs: Some


@dataclass(frozen=True, slots=True)
class Differentials:
    """Inequity of the FAR and of the FRR.

    Attributes
    ----------
    far : Differential | None
        Inequity of the FAR. Null if fewer than two classes can take part or there is no error.
    frr : Differential | None
        Inequity of the FRR. Null if fewer than two classes can take part or there is no error.
    """

    far: Differential | None
    frr: Differential | None


def differentials(counts: PairCounts, threshold: float | None) -> Differentials | None:
    """Compute the inequity of the evaluable classes at a grid threshold.

    The result is None if there is no threshold, or no counts by class at it.
    """
    column = None if threshold is None else counts.grid.column_of(threshold)
    if column is None:
        return None
    at, columns = int(counts.grid.by_class[column]), np.array([column])
    classes = curves.evaluable_classes(counts)
    far = curves.class_far(counts, classes, columns)[:, 0]
    frr = curves.class_frr(counts, classes, columns)[:, 0]
    pooled = float(counts.pooled_far[at]), float(counts.pooled_frr[at])
    # With groups, a pair of two rows of the same group counts twice for the group, so the number
    # of different pairs may be only half the count.
    ends = 2 if int(counts.genuine_pairs.sum()) > counts.genuine_total else 1
    return Differentials(
        far=differential(far, counts.impostor_pairs[classes] // ends, pooled[0]),
        frr=differential(frr, counts.genuine_pairs[classes] // ends, pooled[1]),
    )


def differential(rates: Floats, pairs: Ints, pooled: float) -> Differential | None:
    """Compute the inequity of the rates of classes or groups.

    Parameters
    ----------
    rates : ndarray of shape (n,)
    pairs : ndarray of shape (n,)
        Number of pairs of each class, which is the denominator of its rate.
    pooled : float
        Rate over all pairs. The floor and the least number of pairs depend on it.

    Returns
    -------
    Differential or None
        None if fewer than two classes can take part or there is no error.
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
    """Return the Gini coefficient of values that are not negative, times ``n / (n - 1)``."""
    count = len(values)
    # The k-th sorted value (from 0) is the larger one in k pairs, and the smaller one in the
    # other count - 1 - k pairs.
    gaps = 2 * np.sum(np.sort(values) * (2 * np.arange(count) - count + 1))
    return float(count / (count - 1) * gaps / (2 * count**2 * values.mean()))
