"""Which map to likelihood ratios to deploy, by its Cllr on classes that it was not fitted on."""

import functools
import operator
from dataclasses import dataclass

import numpy as np

from opis_cli.quantities import Amount, Count, Several, Share
from opis_cli.records import PairCounts
from opis_cli.scoring.llr import (
    Cells,
    ClassShares,
    LlrMap,
    cells_of,
    cllr,
    comparable_classes,
    logistic,
    min_cllr,
    pav,
    shares_of,
)

_FOLDS = 5
"""Folds of classes if the settings ask for none."""


@dataclass(frozen=True, slots=True)
class Llr:
    """Likelihood ratios of distances: a map, and how well it fits pairs of other classes.

    Cllr is the mean cost of the ratios of a map, in bits for each pair. 0 is perfect, and 1 is the
    cost of a map that tells nothing. Each class has the same weight.

    Attributes
    ----------
    map : LlrMap
        Map from distances to natural log-likelihood ratios, fitted on all classes. It is "pav" if
        that has the lower Cllr on held-out classes, else "logistic".
    cllr_logistic : float
        Cllr of the straight line of logistic regression.
    cllr_pav : float | None
        Cllr of the curve of isotonic regression. Null if no classes are held out: on its own pairs
        it would always seem the better one.
    min_cllr : float
        The least Cllr that a falling map can have on these pairs.
    folds : int | None
        Number of folds of classes. Each class is judged by a map that the others gave. Null if no
        classes are held out: with groups, with a gallery, for scored pairs, and if there are fewer
        than two classes. The map is then judged on the pairs that it was fitted on.
    classes : int
        Number of classes or groups that have the same weight. 0 for scored pairs without groups:
        there all genuine pairs have the same weight, and all impostor pairs.
    """

    map: LlrMap
    cllr_logistic: Amount
    cllr_pav: Amount | None
    min_cllr: Share
    folds: Several | None
    classes: Count

    @property
    def cllr(self) -> float:
        """Cllr of the map."""
        chosen = self.cllr_pav if self.map.method == "pav" else self.cllr_logistic
        assert chosen is not None
        return chosen


def llr_of(counts: PairCounts, seed: int) -> Llr:
    """Fit both maps, and choose by held-out classes.

    ``seed`` is that of the folds, if the counts have none.
    """
    shares = shares_by_fold(counts, seed)
    cells, folds = whole_cells(counts, shares), held_out_cells(counts, shares)
    line, curve = logistic(cells), None
    cllr_logistic, cllr_pav = cllr(cells, line.at(cells.distances)), None
    if folds:
        cllr_logistic = _mean(folds, [logistic(others) for others, _, _ in folds])
        cllr_pav = _mean(folds, [pav(others) for others, _, _ in folds])
        curve = pav(cells) if cllr_pav < cllr_logistic else None
    return Llr(
        map=curve or line,
        cllr_logistic=cllr_logistic,
        cllr_pav=cllr_pav,
        min_cllr=min_cllr(cells),
        folds=len(folds) or None,
        classes=sum(fold.number for fold in shares),
    )


def shares_by_fold(counts: PairCounts, seed: int) -> list[ClassShares]:
    """Return the shares of pairs of the classes of each fold.

    The folds are those of the counts, or drawn at random. If classes do not have all pairs of
    their rows, or if there are fewer than two, there is one fold with all of them.
    """
    classes = comparable_classes(counts)
    folds = [classes]
    if counts.classes_are_units and len(classes) > 1:
        if counts.folds is not None:
            own = counts.folds[classes]
            folds = [classes[own == fold] for fold in np.unique(own)]
        else:
            drawn = np.random.default_rng(seed).permutation(classes)
            folds = np.array_split(drawn, min(_FOLDS, len(classes)))
    return shares_of(counts, folds)


def whole_cells(counts: PairCounts, shares: list[ClassShares]) -> Cells:
    """Return the pairs of all folds together."""
    return cells_of(counts, functools.reduce(operator.add, shares))


def held_out_cells(counts: PairCounts, shares: list[ClassShares]) -> list[tuple[Cells, Cells, int]]:
    """Return the pairs of each fold, and those of the others.

    A class has all its impostor pairs, also those with a class of another fold.

    Returns
    -------
    list of (Cells, Cells, int)
        For each fold, the pairs of the other folds, those of its own classes, and how many classes
        it has. The list is empty if there is only one fold.
    """
    if len(shares) < 2:
        return []
    return [
        (whole_cells(counts, shares[:k] + shares[k + 1 :]), cells_of(counts, own), own.number)
        for k, own in enumerate(shares)
    ]


def _mean(folds: list[tuple[Cells, Cells, int]], maps: list[LlrMap]) -> float:
    """Return the mean over classes of the Cllr under the map of the other classes."""
    judged = [
        count * cllr(own, made.at(own.distances))
        for (_, own, count), made in zip(folds, maps, strict=True)
    ]
    return sum(judged) / sum(count for _, _, count in folds)
