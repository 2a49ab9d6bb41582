"""From a distance to a likelihood ratio: how many times likelier it is of a genuine pair.

The shares of genuine and of impostor pairs at each distance come from the counts, as means over the
evaluable classes, so that each class has the same weight. Two maps lead from distances to natural
logarithms of likelihood ratios (LLR):

- *logistic*: a straight line, by logistic regression with genuine and impostor pairs of equal
  weight in all.
- *pav*: any falling curve, by isotonic regression (pool adjacent violators).

``Cllr`` judges a map, in bits for each pair: 0 is perfect, and 1 is what a map reaches that gives
every pair an LLR of 0. ``min Cllr`` is the least that any falling map reaches on the same pairs.

No LLR is infinite. Platt's rule serves the line: as much weight as one genuine pair has is spread
over the impostor pairs, and that of one impostor pair over the genuine pairs. For the curve, one
impostor pair is added to the closest distance, and one genuine pair to the farthest.

Sources: Brümmer & du Preez, *Application-Independent Evaluation of Speaker Detection*, Computer
Speech and Language 20 (2006); Platt, *Probabilistic Outputs for Support Vector Machines* (1999);
Kish, *Survey Sampling* (1965), for the number of pairs that weights leave.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from opis_cli.records import Curve, Floats, Ints, PairCounts
from opis_cli.scoring.curves import evaluable_classes
from opis_cli.text import SCORED

_CHUNK_VALUES = 2_000_000


@dataclass(frozen=True, slots=True)
class LlrMap:
    """A map from distances or scores to natural logarithms of likelihood ratios.

    Attributes
    ----------
    method : {"logistic", "pav"}
        "logistic" is a straight line, "pav" the points of isotonic regression.
    slope : float | None
        Change of the log-likelihood ratio with each unit of distance or score. Null for "pav".
    intercept : float | None
        Log-likelihood ratio at distance or score 0. Null for "pav".
    values : tuple[float, ...] | None
        Ascending distances or scores. Null for "logistic".
    llrs : tuple[float, ...] | None
        Log-likelihood ratios at these values. Between two values they are linear, and beyond the
        ends they stay as they are. Null for "logistic".
    """

    method: Literal["logistic", "pav"]
    slope: float | None = None
    intercept: float | None = None
    values: tuple[float, ...] | None = None
    llrs: tuple[float, ...] | None = None

    def at(self, values: Any) -> Curve:
        """Return the log-likelihood ratios of distances or scores, in an array of their shape."""
        if self.method == "logistic":
            assert self.slope is not None and self.intercept is not None
            return np.asarray(self.intercept + self.slope * np.asarray(values, np.float64))
        assert self.values is not None and self.llrs is not None
        return np.asarray(np.interp(values, self.values, self.llrs))

    def of_negatives(self) -> "LlrMap":
        """Return the same map for the negatives of the values: from distances to scores."""
        if self.method == "logistic":
            assert self.slope is not None
            return LlrMap("logistic", -self.slope, self.intercept)
        assert self.values is not None and self.llrs is not None
        values = tuple(-one + 0.0 for one in reversed(self.values))
        return LlrMap("pav", values=values, llrs=self.llrs[::-1])


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """The shares of genuine and of impostor pairs in cells of distances.

    Attributes
    ----------
    distances : ndarray of shape (M,), float64
        Distance that stands for the pairs of each cell, strictly increasing.
    genuine, impostor : ndarray of shape (M,), float64
        Share of the pairs of each kind in each cell. The sum is 1, and no cell is empty.
    pairs : (float, float)
        Effective numbers of genuine and of impostor pairs: how many pairs of equal weight say as
        much.
    """

    distances: Curve
    genuine: Curve
    impostor: Curve
    pairs: tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class ClassShares:
    """Sums over some classes of the share of each class's pairs between each two thresholds.

    Attributes
    ----------
    sums : ndarray of shape (2, C), float64
        Sums of the shares of genuine and of impostor pairs, at ``grid.class_thresholds``.
    inverses : ndarray of shape (2,), float64
        Sums over the classes of 1 / (number of pairs).
    number : int
        Number of classes.
    """

    sums: Curve
    inverses: Curve
    number: int

    def __add__(self, other: "ClassShares") -> "ClassShares":
        return ClassShares(
            self.sums + other.sums, self.inverses + other.inverses, self.number + other.number
        )


def comparable_classes(counts: PairCounts) -> Ints:
    """Return the indices of the evaluable classes that have scored pairs of both kinds."""
    classes = evaluable_classes(counts)
    scored = (counts.genuine[classes, -1] > 0) & (counts.impostor[classes, -1] > 0)
    return np.asarray(classes[scored])


def shares_of(counts: PairCounts, folds: Sequence[Ints]) -> list[ClassShares]:
    """Sum the shares of the pairs of the classes of each fold, in one pass over the counts.

    The folds have no class twice, and all their classes have scored pairs of both kinds.
    """
    number, columns = counts.genuine.shape
    sums, inverses = np.zeros((len(folds), 2, columns)), np.zeros((len(folds), 2))
    step = max(1, _CHUNK_VALUES // columns)
    for kind, accepted in enumerate((counts.genuine, counts.impostor)):
        weights = np.zeros((len(folds), number))
        for fold, classes in enumerate(folds):
            weights[fold, classes] = 1 / accepted[classes, -1].astype(np.float64)
        inverses[:, kind] = weights.sum(axis=1)
        for start in range(0, number, step):
            # The difference of whole numbers is exact, so that cells without pairs stay empty.
            inside = np.diff(accepted[start : start + step], axis=1, prepend=accepted.dtype.type(0))
            sums[:, kind] += weights[:, start : start + step] @ inside.astype(np.float64)
    return [
        ClassShares(sums[fold], inverses[fold], len(classes)) for fold, classes in enumerate(folds)
    ]


def cells_of(counts: PairCounts, shares: ClassShares) -> Cells:
    """Return the shares of pairs between each two thresholds, with each class of equal weight.

    A cell lies between two neighbouring thresholds. Where counts by class are farther apart than
    the thresholds, the pairs between are spread as those of all classes are. If there are no
    classes, as for scored pairs without groups, every pair has the same weight. Pairs without a
    score do not take part.
    """
    (genuine, genuine_pairs), (impostor, impostor_pairs) = (
        _spread(counts, kind, shares) for kind in (0, 1)
    )
    kept = np.flatnonzero(genuine + impostor > 0)
    return Cells(
        _distances(counts, kept), genuine[kept], impostor[kept], (genuine_pairs, impostor_pairs)
    )


def _spread(counts: PairCounts, kind: int, shares: ClassShares) -> tuple[Curve, float]:
    """Return the share of pairs of a kind in each cell, (T,), and their effective number."""
    pooled = (counts.pooled_genuine, counts.pooled_impostor)[kind]
    inside = np.diff(pooled, prepend=0).astype(np.float64)
    if shares.number == 0:
        return inside / inside.sum(), float(inside.sum())
    cell, own = counts.grid.class_cell, shares.sums[kind] / shares.number
    among = np.bincount(cell, inside, len(own))[cell]
    spread = np.divide(inside, among, out=np.zeros_like(inside), where=among > 0)
    # A pair may count for one class or for two.
    accepted = (counts.genuine, counts.impostor)[kind][:, -1]
    credits = float(accepted.sum(dtype=np.float64)) / float(pooled[-1])
    return own[cell] * spread, shares.number**2 / float(shares.inverses[kind]) / credits


def _distances(counts: PairCounts, kept: Ints) -> Curve:
    """Return the distance that stands for each of the cells that have pairs.

    It is the middle of the cell. The last cell of embeddings reaches far beyond its pairs, so its
    lower end stands for it. The thresholds of scored pairs lie in the middle of the gaps between
    scores, but the last one is the extreme score. The other extreme score lies as far from the
    first threshold as the next cell does.
    """
    thresholds = counts.grid.thresholds
    lower = np.append(thresholds[0], thresholds[:-1])
    middle = ((lower + thresholds) / 2)[kept]
    if counts.metric in SCORED:
        middle[-1] = thresholds[kept[-1]]
        if len(kept) > 1:
            middle[0] = max(2 * thresholds[kept[0]] - middle[1], lower[kept[0]])
    elif kept[-1] == len(thresholds) - 1:
        middle[-1] = lower[-1]
    return middle


def logistic(cells: Cells) -> LlrMap:
    """Fit the straight line by logistic regression, with Platt's rule for the targets."""
    from scipy.optimize import root
    from scipy.special import expit

    genuine = _with_one(cells.genuine, cells.impostor, cells.pairs[0])
    impostor = _with_one(cells.impostor, cells.genuine, cells.pairs[1])
    weights = genuine + impostor
    centre = float(weights @ cells.distances) / 2
    spread = float(np.sqrt(weights @ (cells.distances - centre) ** 2 / 2))
    if not spread > 0:
        return LlrMap("logistic", 0.0, 0.0)
    x = np.column_stack([np.ones(len(weights)), (cells.distances - centre) / spread])

    def gradient(line: Floats) -> tuple[Curve, Curve]:
        """Return the gradient of the convex loss, and its derivative."""
        likely = expit(x @ line)
        return (weights * likely - genuine) @ x, (x.T * (weights * likely * (1 - likely))) @ x

    found = root(gradient, np.zeros(2), jac=True, tol=1e-13).x
    slope = float(found[1]) / spread
    return LlrMap("logistic", slope, float(found[0]) - slope * centre)


def _with_one(shares: Curve, others: Curve, pairs: float) -> Curve:
    """Add the weight of one pair to shares, spread as the pairs of the other kind are."""
    return np.asarray((pairs * shares + others) / (pairs + 1))


def pav(cells: Cells) -> LlrMap:
    """Fit the falling curve by isotonic regression, with one more pair at each end."""
    genuine, impostor = cells.genuine.copy(), cells.impostor.copy()
    genuine[-1] += 1 / cells.pairs[0]
    impostor[0] += 1 / cells.pairs[1]
    share = _genuine_share(genuine / genuine.sum(), impostor / impostor.sum())
    llrs = np.log(share) - np.log1p(-share)
    # A run of equal LLRs needs its two ends only.
    same = np.append(np.diff(llrs) == 0, False)
    kept = ~(same & np.append(False, same[:-1]))
    return LlrMap(
        "pav", values=tuple(cells.distances[kept].tolist()), llrs=tuple(llrs[kept].tolist())
    )


def _genuine_share(genuine: Curve, impostor: Curve) -> Curve:
    """Return the genuine share of the pairs in each cell, made to fall with the distance."""
    from scipy.optimize import isotonic_regression

    both = genuine + impostor
    return np.asarray(isotonic_regression(genuine / both, weights=both, increasing=False).x)


def cllr(cells: Cells, llrs: Curve) -> float:
    """Return Cllr in bits, ``(mean of log2(1 + 1/LR) + mean of log2(1 + LR)) / 2``.

    The first mean is over the genuine pairs, and the second over the impostor pairs.

    Parameters
    ----------
    cells : Cells
        The pairs that judge.
    llrs : ndarray of shape (M,)
        Natural log-likelihood ratio of each cell.
    """
    nats = cells.genuine @ np.logaddexp(0, -llrs) + cells.impostor @ np.logaddexp(0, llrs)
    return float(nats / 2 / np.log(2))


def min_cllr(cells: Cells) -> float:
    """Return the least Cllr of any map that does not rise with the distance, in bits."""
    from scipy.special import xlogy

    share = _genuine_share(cells.genuine, cells.impostor)
    nats = xlogy(cells.genuine, share) + xlogy(cells.impostor, 1 - share)
    return min(max(float(-nats.sum() / 2 / np.log(2)), 0.0), 1.0)
