"""Rank the rows by how likely their labels are wrong, and find outliers.

A row whose label is right lies near its own class: near the nearest rows of the class, and near its
centre. How much each of the two says differs from model to model, so two weights are fitted to the
data at hand. This is a conditional logistic regression: each row chooses between its own class and
the classes of its nearest strangers. Rows whose labels are not believed count less in the fit.

This module sees no vector. It works from what one pass over all pairs keeps of each row
(``Neighbours``). Read ``find_suspects`` first, then ``label_score``.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opis_cli.records import Floats, Ints
from opis_cli.settings import Metric

OWN, OTHERS = 3, 20
"""How many nearest rows of the row's own class and of other classes a pass keeps."""

PRIOR_ODDS = 0.02
"""The odds, before a row is looked at, that its label is wrong and a given other label is right."""

_LIKELY = 0.5
"""A label is suspect if its score is higher."""

_PRIOR_PAIRS = 3
"""The spread of a class counts as if it had this many more pairs, of the usual spread."""

_BEYOND, _AT_LEAST = 3.0, 1.5
_FEWEST_ROWS = 20
"""Fewer rows than this do not show what distance to the nearest row is usual."""

_CHUNK = 8_192
"""Rows that are worked on at once. It bounds the memory of intermediate results."""

_ROUNDS = 10
"""How often at most the scores follow the fit, and the fit follows the scores. Where classes
overlap, many more rounds would make the scores too sure of themselves."""

_STEPS, _SMALL = 30, 1e-6


@dataclass(frozen=True, slots=True)
class Neighbours:
    """What a pass over all pairs keeps of N rows.

    A *mean square* is the mean of a row's squared Euclidean distances to the rows of a class, or
    the mean of its cosine distances to them. Both follow from one sum of vectors for each class:
    ``|x|^2 - 2 x.mean(y) + mean|y|^2``, and ``1 - x.mean(y)`` with unit vectors.

    Attributes
    ----------
    metric : {"cosine", "euclidean", "hamming"}
        Metric of the distances. Hamming distances are squares too, as those of cosine are.
    classes : ndarray of shape (N,), int64
        The number of each row's class, from 0 up.
    nearest_own : ndarray of shape (N, 3), float64
        Distances to the nearest other rows of the same class, ascending. inf where there are fewer.
    own_mean : ndarray of shape (N,), float64
        Mean square to the other rows of the same class. NaN if there are none.
    nearest_others : ndarray of shape (N, K), float64
        Distances to the K nearest rows of other classes, ascending. inf where there are fewer.
    other_classes : ndarray of shape (N, K), int64
        The classes of these rows. -1 where there are fewer.
    other_means : ndarray of shape (N, K), float64
        Mean square to all rows of the class in ``other_classes``. NaN where there is none.
    """

    metric: Metric
    classes: Ints
    nearest_own: Floats
    own_mean: Floats
    nearest_others: Floats
    other_classes: Ints
    other_means: Floats


@dataclass(frozen=True, slots=True)
class Suspects:
    """How suspect each of N rows is.

    Attributes
    ----------
    score : ndarray of shape (N,), float64
        How likely the label is wrong, 0 to 1 (``label_score``). Never NaN.
    label : ndarray of shape (N,), bool
        Whether the label is suspect: its score is above 0.5, and the row is no outlier.
    outlier : ndarray of shape (N,), bool
        Whether the row is far from all rows (``outliers``).
    """

    score: Floats
    label: NDArray[np.bool_]
    outlier: NDArray[np.bool_]


def find_suspects(kept: Neighbours) -> Suspects:
    """Score all labels, and find the labels and the rows that a person should look at."""
    score, outlier = label_score(kept), outliers(kept)
    return Suspects(score, (score > _LIKELY) & ~outlier, outlier)


def label_score(kept: Neighbours) -> Floats:
    """Return how likely each row's label is wrong, shape (N,), from 0 to 1.

    For a row x and a class c, x itself left out:

    - ``near(x, c)`` is the mean distance from x to the three nearest rows of c, or to all rows if
      c has fewer;
    - ``centre(x, c)`` is the distance from x to the centre of c:
      ``centre^2 = mean over y in c of |x - y|^2 - mean over pairs y, z in c of |y - z|^2 / 2``.

    Both are Euclidean distances, under the metric cosine those of unit vectors (to a factor). Then

        ``p(c | x) ~ exp(-a near(x, c) - b centre(x, c))``

    over the class of x and the classes of its nearest strangers. With ``p`` for the class of x and
    the prior odds ``q = 0.02``,

        ``score = q (1 - p) / (p + q (1 - p))``.

    The weights a and b maximise the likelihood of the labels, where each label counts
    ``1 - score`` of the round before (10 rounds at most). The score is above 0.5 if p is below
    0.0196: all other classes together must be some 50 times as likely as the label.

    A row that is alone in its class has no distance to it. It gets the one halfway between the
    median distance to the own class and that to the nearest other class. All scores are 0 if every
    row is alone in its class, or if there is one class.
    """
    paired = np.isfinite(kept.nearest_own[:, 0])
    if not paired.any() or not (kept.other_classes >= 0).any():
        return np.zeros(len(paired))
    gaps, rivals = _gaps(kept, paired)
    weights: Floats = np.zeros(len(gaps))
    score: Floats = np.zeros(len(paired))
    for _ in range(_ROUNDS):
        before, weights = weights, _fitted(gaps, rivals, np.where(paired, 1 - score, 0.0), weights)
        log_p = _log_p(gaps, rivals, weights)
        wrong = PRIOR_ODDS * -np.expm1(log_p)
        score = wrong / (np.exp(log_p) + wrong)
        if np.abs(weights - before).max() < _SMALL:
            break
    return score


def outliers(kept: Neighbours) -> NDArray[np.bool_]:
    """Return which rows are far from all rows, shape (N,).

    The distance of a row to its nearest other row is far if it is above the median by more than 3
    times as much as the 95th percentile is, and above 1.5 times the median. Under the metric cosine
    this is judged by the Euclidean distance of unit vectors. Copies, at distance 0, do not count
    towards the median and the percentile. Fewer than 20 other rows show no usual distance, and then
    no row is an outlier.
    """
    nearest = _lengths(kept, np.minimum(kept.nearest_own[:, 0], kept.nearest_others[:, 0]))
    usual = nearest[np.isfinite(nearest) & (nearest > 0)]
    if len(usual) < _FEWEST_ROWS:
        return np.zeros(len(nearest), bool)
    # Without interpolation, so that the farthest row itself has no part in it.
    middle, high = np.quantile(usual, (0.5, 0.95), method="lower")
    found: NDArray[np.bool_] = nearest > max(middle + _BEYOND * (high - middle), _AT_LEAST * middle)
    return found


def _lengths(kept: Neighbours, distances: Floats) -> Floats:
    """Return Euclidean distances, under the metric cosine those of unit vectors (to a factor)."""
    return np.sqrt(np.maximum(distances, 0)) if kept.metric != "euclidean" else distances


def _gaps(kept: Neighbours, paired: NDArray[np.bool_]) -> tuple[Floats, NDArray[np.bool_]]:
    """Return how much farther the classes of strangers are than the row's own class.

    Returns
    -------
    gaps : ndarray of shape (2, N, K), float64
        By ``near`` and by ``centre``, each on the scale of its root mean square.
    rivals : ndarray of shape (N, K), bool
        Which columns count: the first of each class of a row.
    """
    sizes = np.bincount(kept.classes)
    spread, spread_without = _spreads(kept, paired)
    gaps, rivals = (
        np.zeros((2, *kept.other_classes.shape)),
        np.zeros(kept.other_classes.shape, bool),
    )
    own_centre = np.sqrt(np.maximum(kept.own_mean - spread_without / 2, 0))
    for start in range(0, len(paired), _CHUNK):
        part = slice(start, start + _CHUNK)
        others = kept.other_classes[part]
        lengths = _lengths(kept, kept.nearest_others[part])
        gaps[0, part], rivals[part] = _other_near(lengths, others, sizes)
        gaps[1, part] = np.sqrt(np.maximum(kept.other_means[part] - spread[others] / 2, 0))
    for gap, own in zip(gaps, (_own_near(kept), own_centre), strict=True):
        strangers = np.where(rivals, gap, np.inf).min(axis=1)
        known = strangers[np.isfinite(strangers)]
        own[~paired] = (np.median(own[paired]) + np.median(known)) / 2
        gap -= own[:, None]
    gaps[:, ~rivals] = 0.0
    for gap in gaps:
        scale = np.sqrt((gap * gap).sum() / rivals.sum())
        gap /= scale if scale > 0 else 1.0
    return gaps, rivals


def _spreads(kept: Neighbours, paired: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return the mean square between two rows of each class, and of each row's class without it.

    The spread of a class of few pairs is drawn towards the median class. Shapes (C,) and (N,). A
    row that is paired with no row of its class, such as one alone in its tenant, does not count.
    """
    sizes = np.bincount(kept.classes[paired], minlength=int(kept.classes.max()) + 1)
    mates = np.where(paired, sizes[kept.classes] - 1, 0)
    sums = np.where(mates > 0, kept.own_mean, 0.0) * mates
    twice = np.bincount(kept.classes, sums, minlength=len(sizes))
    pairs = sizes * (sizes - 1) / 2
    usual = np.median(twice[pairs > 0] / 2 / pairs[pairs > 0])

    def drawn(total: Floats, count: Floats) -> Floats:
        return (np.maximum(total, 0) + _PRIOR_PAIRS * usual) / (count + _PRIOR_PAIRS)

    without = np.where(mates > 1, twice[kept.classes] / 2 - sums, 0.0)
    return drawn(twice / 2, pairs), drawn(without, np.maximum(mates * (mates - 1) / 2, 0))


def _own_near(kept: Neighbours) -> Floats:
    """Return ``near`` of each row to its own class, shape (N,). 0 if the row is alone."""
    there = np.isfinite(kept.nearest_own)
    lengths = _lengths(kept, np.where(there, kept.nearest_own, 0.0))
    near: Floats = lengths.sum(axis=1) / np.maximum(there.sum(axis=1), 1)
    return near


def _other_near(lengths: Floats, classes: Ints, sizes: Ints) -> tuple[Floats, NDArray[np.bool_]]:
    """Return ``near`` of each row to the class of each column, and which columns are the first.

    Rows of a class that are not among those kept are at least as far as the farthest kept. They
    count as if they were that far.
    """
    there = classes >= 0
    farthest = np.where(there, lengths, 0.0).max(axis=1)
    near, first = np.zeros(lengths.shape), np.zeros(lengths.shape, bool)
    for column in range(lengths.shape[1]):
        same = there & (classes == classes[:, column, None])
        first[:, column] = there[:, column] & ~same[:, :column].any(axis=1)
        taken = same & (same.cumsum(axis=1) <= OWN)
        wanted = np.minimum(sizes[classes[:, column]], OWN)
        missing = wanted - taken.sum(axis=1)
        near[:, column] = np.where(taken, lengths, 0.0).sum(axis=1) + missing * farthest
        near[:, column] /= wanted
    return near, first


def _log_p(gaps: Floats, rivals: NDArray[np.bool_], weights: Floats) -> Floats:
    """Return the log probability of each row's own class, shape (N,)."""
    found = np.empty(len(rivals))
    for start in range(0, len(rivals), _CHUNK):
        part = slice(start, start + _CHUNK)
        found[part] = _choices(gaps[:, part], rivals[part], weights)[0]
    return found


def _choices(gaps: Floats, rivals: NDArray[np.bool_], weights: Floats) -> tuple[Floats, Floats]:
    """Return the log probability of the own class, (N,), and probabilities of others, (N, K)."""
    logits = np.where(rivals, -np.tensordot(weights, gaps, axes=1), -np.inf)
    top = np.maximum(logits.max(axis=1), 0)
    odds = np.exp(logits - top[:, None])
    total = np.exp(-top) + odds.sum(axis=1)
    return -top - np.log(total), odds / total[:, None]


def _fitted(gaps: Floats, rivals: NDArray[np.bool_], counts: Floats, weights: Floats) -> Floats:
    """Return the weights of the highest likelihood, by Newton's method, shape (2,).

    Half the squared weights are taken off the likelihood. Without this, weights of classes that
    never touch would grow without end.
    """

    def fit(weights: Floats) -> float:
        return float(counts @ _log_p(gaps, rivals, weights) - weights @ weights / 2)

    reached = fit(weights)
    for _ in range(_STEPS):
        slope, curve = -weights, np.eye(len(weights))
        for start in range(0, len(rivals), _CHUNK):
            part = slice(start, start + _CHUNK)
            odds = _choices(gaps[:, part], rivals[part], weights)[1]
            means = (odds * gaps[:, part]).sum(axis=2)
            slope = slope + means @ counts[part]
            weighted = odds * counts[part, None]
            curve = curve + np.einsum("nk,ink,jnk->ij", weighted, gaps[:, part], gaps[:, part])
            curve = curve - (means * counts[part]) @ means.T
        step = np.linalg.solve(curve, slope)
        while (new := fit(weights + step)) < reached and np.abs(step).max() > _SMALL:
            step = step / 2
        if new <= reached or np.abs(step).max() <= _SMALL:
            break
        weights, reached = weights + step, new
    return weights
