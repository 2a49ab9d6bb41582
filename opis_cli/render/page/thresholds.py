"""Choose the thresholds that the page offers, and the counts by class at them.

The page must stay small, so it offers some of the thresholds at which pairs were counted: those
with a meaning (recommended, deployed, ends of the calibration range) and others between them, more
densely inside the range. The fewer classes there are, the more thresholds it offers.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opis_cli.records import Ints
from opis_cli.report.evaluation import Evaluation
from opis_cli.scoring.borderline import surely_accepted

_MOST_COUNTS = 640_000
"""Most counts of one kind on a page: classes times thresholds."""
_FEWEST, _MOST = 128, 1_500
"""Fewest and most thresholds that a page offers, if there are so many."""
_INSIDE = 0.6
"""Share of the offered thresholds that lie inside the calibration range."""


@dataclass(frozen=True, slots=True)
class Offered:
    """The thresholds of a page, with the counts by class there.

    Attributes
    ----------
    places : ndarray of shape (P,), int64
        Indices of the thresholds in the grid, rising.
    estimated : ndarray of shape (P,), bool
        Whether the impostor counts by class are estimates there.
    genuine : ndarray of shape (K, P), int64
        Accepted genuine pairs of each class, without those that rounding may reject. The rates of
        ``Evaluation.rates`` and ``classes`` follow from them.
    impostor : ndarray of shape (K, P), int64
        Accepted impostor pairs of each class.
    """

    places: Ints
    estimated: NDArray[np.bool_]
    genuine: Ints
    impostor: Ints


def offered(
    run: Evaluation, view: tuple[float, float], marked: tuple[float, ...], classes: Ints
) -> Offered:
    """Choose the thresholds of a page, and take the counts there.

    Parameters
    ----------
    run : Evaluation
    view : (float, float)
        The distances between which thresholds are of interest.
    marked : tuple of float
        Grid thresholds that the page must offer.
    classes : ndarray of shape (K,), int64
        Indices of the classes on the page.
    """
    counts, whole = run.counts, run.whole
    columns = _columns(run, view, marked, len(classes))
    places = whole.grid.by_class[columns]
    estimated = np.zeros(len(columns), bool)
    if whole.estimated is not None:
        estimated = whole.estimated[columns]
    genuine = whole.genuine[np.ix_(classes, columns)].astype(np.int64)
    for place in np.flatnonzero(~estimated & _unsure(run)[places]):
        # As in `rates_at`: the next stricter threshold accepts none of the pairs in doubt.
        column = counts.grid.column_of(float(counts.grid.thresholds[places[place]]))
        genuine[:, place] = counts.genuine[classes, column - 1] if column else 0
    return Offered(
        places=places,
        estimated=estimated,
        genuine=genuine,
        impostor=whole.impostor[np.ix_(classes, columns)].astype(np.int64),
    )


def _unsure(run: Evaluation) -> NDArray[np.bool_]:
    """Return whether rounding may reject an accepted genuine pair at each grid threshold."""
    return np.asarray(surely_accepted(run.counts) < run.counts.pooled_genuine)


def _columns(
    run: Evaluation, view: tuple[float, float], marked: tuple[float, ...], classes: int
) -> Ints:
    """Return the columns of ``run.whole`` that the page offers, rising."""
    thresholds = run.whole.grid.class_thresholds
    most = int(np.clip(_MOST_COUNTS // max(classes, 1), _FEWEST, _MOST))
    if len(thresholds) <= most:
        return np.arange(len(thresholds))
    marks = np.searchsorted(thresholds, marked)
    within = run.whole.grid.columns_between(*(run.consistency.ends or view))
    inside = within[np.linspace(0, len(within) - 1, int(_INSIDE * most)).astype(int)]
    across = np.searchsorted(thresholds, np.linspace(*view, most - len(inside) - len(marks)))
    chosen = np.concatenate([marks, inside, across, [0]])
    return np.unique(np.minimum(chosen, len(thresholds) - 1))
