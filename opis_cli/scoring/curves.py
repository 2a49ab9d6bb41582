"""Rates and utility as functions of the threshold, from counts.

Definitions follow *Threshold-Consistent Margin Loss for Open-World Deep Metric Learning* (Zhang et
al., ICLR 2024, arXiv 2307.04047). All rates and utilities lie in [0, 1].

The parameter ``columns`` has indices into the C thresholds that have counts by class
(``grid.class_thresholds``). The parameter ``classes`` has indices into the K classes. The rows of a
result are in the order of ``classes``.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opis_cli.records import Curve, Floats, Ints, PairCounts
from opis_cli.scoring.borderline import surely_accepted
from opis_cli.values import Costs

_AT_ONCE = 1 << 16
"""Utilities that are computed at a time, so few that they stay in the cache."""


@dataclass(frozen=True, slots=True)
class ClassRates:
    """Rates and utility of the evaluable classes at one threshold, each of shape (E,)."""

    far: Curve
    frr: Curve
    utility: Curve


def pooled_frr_at_most(counts: PairCounts) -> Curve:
    """Return the upper limit of the pooled FRR at every threshold, shape (T,).

    Rounding errors of the distances cannot lift the FRR above this limit.
    """
    return np.asarray((counts.genuine_total - surely_accepted(counts)) / counts.genuine_total)


def expected_cost(far: Floats | float, frr: Floats | float, costs: Costs) -> Curve:
    """Return the expected cost of a pair at rates of the errors: the detection cost.

    ``C = (1 - p) c_fa FAR + p c_fr FRR``, with the costs of the errors, and the prior ``p``.
    """
    false_accepts = (1 - costs.prior) * costs.false_accept * np.asarray(far)
    return np.asarray(false_accepts + costs.prior * costs.false_reject * np.asarray(frr))


def class_far(counts: PairCounts, classes: Ints, columns: Ints) -> Curve:
    """Return the FAR of each class, shape (classes, columns).

    It is the accepted share of the impostor pairs that have a row in the class.
    """
    pairs = counts.impostor_pairs[classes, None]
    return _far(_taken(counts.impostor, classes, _sliced(columns)), pairs)


def class_frr(counts: PairCounts, classes: Ints, columns: Ints) -> Curve:
    """Return the FRR of each evaluable class, shape (classes, columns)."""
    pairs = counts.genuine_pairs[classes, None]
    return _frr(_taken(counts.genuine, classes, _sliced(columns)), pairs)


def _far(accepted: Ints, pairs: Ints) -> Curve:
    far = accepted.astype(np.float64)
    far /= pairs.astype(np.float64)
    return far


def _frr(accepted: Ints, pairs: Ints) -> Curve:
    total = pairs.astype(np.float64)
    frr = np.subtract(total, accepted, dtype=np.float64)
    frr /= total
    return frr


def _taken(table: Ints, classes: Ints, columns: Ints | slice) -> Ints:
    """Return some rows and columns of a table by class and column, shape (classes, columns)."""
    if isinstance(columns, slice):
        return np.asarray(table[_sliced(classes), columns])
    return np.asarray(table[np.ix_(classes, columns)])


def _sliced(places: Ints) -> Ints | slice:
    """Return a slice in place of indices in unbroken order, as it takes a tenth of their time."""
    if len(places) and np.all(places[1:] - places[:-1] == 1):
        return slice(int(places[0]), int(places[-1]) + 1)
    return places


def utility(far: Floats, frr: Floats, beta: float) -> Curve:
    """Return the utility: the F-score of specificity ``1 - FAR`` and sensitivity ``1 - FRR``.

    ``U = (1 + b^2) spec sens / (b^2 spec + sens)``. With ``beta > 1`` sensitivity weighs more. The
    utility is 0 if both are 0.
    """
    specificity, sensitivity = 1.0 - np.asarray(far), 1.0 - np.asarray(frr)
    weighted = beta**2 * specificity + sensitivity
    product = np.asarray((1 + beta**2) * specificity * sensitivity)
    # Where the divisor is 0, the product is 0 too, and stays so.
    return np.asarray(np.divide(product, weighted, out=product, where=weighted > 0))


def pooled_utility(counts: PairCounts, beta: float) -> Curve:
    """Return the utility of the pooled rates at every threshold, shape (T,)."""
    return utility(counts.pooled_far, counts.pooled_frr, beta)


def class_utility(counts: PairCounts, beta: float, classes: Ints, columns: Ints) -> Curve:
    """Return the utility of each evaluable class, shape (classes, columns)."""
    found = np.empty((len(classes), len(columns)))
    for part, values in utility_in_parts(counts, beta, classes, columns):
        found[part] = values
    return found


def utility_in_parts(
    counts: PairCounts, beta: float, classes: Ints, columns: Ints
) -> Iterator[tuple[slice, Curve]]:
    """Yield places in ``classes`` with the utility of each class there, (places, columns).

    The parts are so small that they stay in the cache, whatever the number of classes.
    """
    impostor, genuine = counts.impostor_pairs[classes, None], counts.genuine_pairs[classes, None]
    step, at = max(1, _AT_ONCE // max(len(columns), 1)), _sliced(columns)
    for start in range(0, len(classes), step):
        part = slice(start, start + step)
        far = _far(_taken(counts.impostor, classes[part], at), impostor[part])
        frr = _frr(_taken(counts.genuine, classes[part], at), genuine[part])
        yield part, utility(far, frr, beta)


def evaluable_classes(counts: PairCounts) -> NDArray[np.int64]:
    """Return the indices of the classes with pairs of both kinds, shape (E,)."""
    return np.flatnonzero(counts.evaluable)


def all_columns(counts: PairCounts) -> NDArray[np.int64]:
    """Return the indices of all thresholds with counts by class, shape (C,)."""
    return np.arange(len(counts.grid.by_class))


def mean_utility(counts: PairCounts, beta: float, classes: Ints, columns: Ints) -> Curve:
    """Return the mean utility of the classes at each column, shape (columns,)."""
    total = np.zeros(len(columns))
    for _, values in utility_in_parts(counts, beta, classes, columns):
        total += values.sum(axis=0)
    return total / max(len(classes), 1)


def best_columns(counts: PairCounts, beta: float, classes: Ints) -> NDArray[np.int64]:
    """Return the column at which each class has its highest utility, shape (classes,)."""
    columns = all_columns(counts)
    best = np.zeros(len(classes), np.int64)
    for part, values in utility_in_parts(counts, beta, classes, columns):
        best[part] = values.argmax(axis=1)
    return best


def class_rates(counts: PairCounts, beta: float, threshold: float) -> ClassRates | None:
    """Return the rates of the evaluable classes at a grid threshold.

    A threshold beyond the last accepts every pair, as the last one does. The result is None if
    there are no counts by class at the threshold, or no evaluable classes.
    """
    column, classes = counts.grid.column_of(threshold), evaluable_classes(counts)
    if column is None or len(classes) == 0:
        return None
    far = class_far(counts, classes, np.array([column]))[:, 0]
    frr = class_frr(counts, classes, np.array([column]))[:, 0]
    return ClassRates(far, frr, utility(far, frr, beta))


def class_figures(
    rates: ClassRates | None, max_far: float | None, max_frr: float | None
) -> dict[str, float | None]:
    """Return the figures of a report about the classes at a threshold.

    ``classes_meeting_bounds`` is the share of the evaluable classes whose own rates meet the given
    bounds. It is None without a bound. All values are None if ``rates`` is None.
    """
    if rates is None:
        names = ("class_mean_far", "class_mean_frr", "mean_utility", "classes_meeting_bounds")
        return dict.fromkeys(names)
    met = np.ones(len(rates.far), bool)
    if max_far is not None:
        met &= rates.far <= max_far
    if max_frr is not None:
        met &= rates.frr <= max_frr
    return {
        "class_mean_far": float(rates.far.mean()),
        "class_mean_frr": float(rates.frr.mean()),
        "mean_utility": float(rates.utility.mean()),
        "classes_meeting_bounds": None
        if max_far is None and max_frr is None
        else float(met.mean()),
    }
