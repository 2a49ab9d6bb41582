"""A bootstrap over classes. It shows which figures other samples of as many classes could give.

The bootstrap draws classes, not pairs or rows, as pairs that share a class are not independent. A
draw of classes with replacement is a row of *weights*: how often each class was drawn. A figure of
a draw is then a weighted sum over the counts of the classes, and one matrix product computes all
draws. Weights of 1 give the figure itself.

The functions take weights of shape (replicates, K), with one column for each class of the counts.
They return one value for each replicate. It is NaN if the figure is undefined in a draw. The
calibration range and the grid do not vary with the draws.

A comparison of two runs over the same classes uses the same weights for both, so that the
variation that they share cancels.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from opis_cli.records import Curve, Ints, PairCounts
from opis_cli.scoring import curves
from opis_cli.scoring.opis import Consistency

REPLICATES = 1000
_BLOCK_VALUES = 20_000_000
_CHUNK_VALUES = 4_000_000

Weights = NDArray[np.float64]


def replicate(
    statistic: Callable[[Weights], dict[str, Curve]],
    classes: int,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> dict[str, Curve]:
    """Compute figures of many draws of classes.

    Parameters
    ----------
    statistic : callable
        Function from weights of shape (n, classes) to figures by name, each of shape (n,).
    classes : int
        Number of classes.
    replicates : int
        Number of draws.
    seed : int
        The same seed gives the same draws for every statistic.

    Returns
    -------
    dict
        The figures by name, each of shape (replicates,).
    """
    parts = [statistic(weights) for weights in draws(classes, replicates, seed)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def draws(
    classes: int, replicates: int, seed: int, values: int = _BLOCK_VALUES
) -> Iterator[Weights]:
    """Yield the weights of many draws in blocks of some values, so that memory stays bounded.

    Yields
    ------
    ndarray of shape (n, classes), float64
        Rows of multinomial counts: how often each class is drawn. Each row adds up to ``classes``.
    """
    rng = np.random.default_rng(seed)
    step = max(1, values // classes)
    for start in range(0, replicates, step):
        weights = np.empty((min(step, replicates - start), classes))
        for row in weights:
            row[:] = np.bincount(rng.integers(0, classes, classes), minlength=classes)
        yield weights


def one_sided_limits(values: Curve, confidence: float) -> tuple[float, float] | None:
    """Return the one-sided lower limit and the one-sided upper limit at a confidence.

    The result is None if more than a tenth of the replicates are undefined.
    """
    known = values[np.isfinite(values)]
    if len(known) < 0.9 * len(values) or len(known) == 0:
        return None
    low, high = np.quantile(known, [1 - confidence, confidence])
    return float(low), float(high)


def ratio(weights: Weights, part: Curve | Ints, whole: Curve | Ints) -> Curve:
    """Return ``sum w part / sum w whole``. No two classes may share a part: genuine pairs fit."""
    return _divide(weights @ part, weights @ whole)


def pooled_far(weights: Weights, counts: PairCounts, columns: Ints) -> Curve:
    """Return the pooled FAR at thresholds with counts by class, shape (replicates, columns).

    Let a class have ``m_i`` impostor pairs and ``a_i`` accepted ones, and let all classes together
    have ``M`` pairs and ``A`` accepted ones. Then ``FAR = (sum w_i a_i - A) / (sum w_i m_i - M)``.
    An impostor pair belongs to two classes, and this formula contains the changes of both weights.
    The formula ``sum w_i a_i / sum w_i m_i`` would halve every deviation.

    With a gallery, a pair belongs to the class of its query alone. The sums over classes are then
    ``A`` and ``M`` themselves, and nothing is subtracted.
    """
    whole = weights @ counts.impostor_pairs - (counts.impostor_pairs.sum() - counts.impostor_total)
    accepted = np.empty((len(weights), len(columns)))
    for part in _column_parts(columns, counts):
        some = counts.impostor[:, columns[part]]
        twice = some.sum(axis=0, dtype=np.int64)
        twice -= counts.pooled_impostor[counts.grid.by_class[columns[part]]]
        accepted[:, part] = weights @ some.astype(float) - twice
    return _divide(np.maximum(accepted, 0), np.broadcast_to(whole[:, None], accepted.shape))


def pooled_frr(weights: Weights, counts: PairCounts, columns: Ints) -> Curve:
    """Return the pooled FRR at thresholds with counts by class, shape (replicates, columns)."""
    whole = weights @ counts.genuine_pairs
    accepted = np.empty((len(weights), len(columns)))
    for part in _column_parts(columns, counts):
        accepted[:, part] = weights @ counts.genuine[:, columns[part]].astype(float)
    return 1 - _divide(accepted, np.broadcast_to(whole[:, None], accepted.shape))


def pooled_frr_of_draws(weights: Weights, counts: PairCounts, columns: Ints) -> Curve:
    """Return the pooled FRR of each draw at the draw's own column, shape (replicates,).

    It is NaN where the column is -1.
    """
    frr = np.full(len(weights), np.nan)
    for column in np.unique(columns[columns >= 0]):
        rows = columns == column
        frr[rows] = pooled_frr(weights[rows], counts, np.array([column]))[:, 0]
    return frr


def frr_at_far(weights: Weights, counts: PairCounts, max_far: float) -> Curve:
    """Return the pooled FRR of each draw at the threshold where its FAR reaches a bound.

    Each draw chooses its own threshold: the last one before the FAR goes beyond the bound. So the
    figure varies as the threshold does. It is NaN in a draw without such a threshold. A pair of two
    classes that were not drawn weighs -1, so the FAR of a draw may fall a little as the threshold
    rises. If it goes beyond the bound more than once, one of these thresholds is taken. Shape
    (replicates,).
    """
    return pooled_frr_of_draws(weights, counts, last_within_far(weights, counts, max_far))


def last_within_far(weights: Weights, counts: PairCounts, max_far: float | Curve) -> Ints:
    """Return the column of each draw's largest threshold within a bound on the FAR.

    ``max_far`` is one bound, or a bound for each draw. A column is -1 if there is no such
    threshold. Shape (replicates,).
    """
    impostor, at = counts.impostor, counts.grid.by_class
    twice = impostor.sum(axis=0, dtype=np.int64) - counts.pooled_impostor[at]
    whole = weights @ counts.impostor_pairs - (counts.impostor_pairs.sum() - counts.impostor_total)

    def within(columns: Ints) -> NDArray[np.bool_]:
        accepted = np.einsum("rk,kr->r", weights, impostor[:, columns]) - twice[columns]
        return np.asarray(accepted <= max_far * whole)

    return _bisected(within, len(weights), len(at))


def first_within_frr(weights: Weights, counts: PairCounts, max_frr: Curve) -> Ints:
    """Return the column of each draw's smallest threshold within a bound of its own on the FRR.

    A column is -1 if there is no such threshold. Shape (replicates,).
    """
    genuine, whole = counts.genuine, weights @ counts.genuine_pairs

    def beyond(columns: Ints) -> NDArray[np.bool_]:
        accepted = np.einsum("rk,kr->r", weights, genuine[:, columns])
        return np.asarray(whole - accepted > max_frr * whole)

    first = _bisected(beyond, len(weights), genuine.shape[1]) + 1
    return np.where(first < genuine.shape[1], first, -1)


def _bisected(holds: Callable[[Ints], NDArray[np.bool_]], draws: int, columns: int) -> Ints:
    """Return the last column of each draw at which something holds, or -1.

    It must hold up to some column of a draw and not beyond. Each draw looks at a few columns only.
    """
    low, high = np.full(draws, -1), np.full(draws, columns)
    while np.any(high - low > 1):
        middle = np.clip((low + high) // 2, 0, columns - 1)
        found = holds(middle)
        low, high = (
            np.where((high - low > 1) & found, middle, low),
            np.where((high - low > 1) & ~found, middle, high),
        )
    return low


def recall_at_1(weights: Weights, counts: PairCounts) -> Curve:
    """Return recall@1 over the rows that have a genuine pair, shape (replicates,)."""
    return ratio(weights, counts.nearest_hits, counts.searchers)


def mean_utility(
    weights: Weights, counts: PairCounts, beta: float, classes: Ints, columns: Ints
) -> Curve:
    """Return the mean utility curve of evaluable classes, shape (replicates, columns).

    ``weights`` has one column for each of ``classes``.
    """
    curve = np.empty((len(weights), len(columns)))
    for part in _column_parts(columns, counts):
        values = curves.class_utility(counts, beta, classes, columns[part])
        curve[:, part] = weighted_mean(weights, values)
    return curve


def weighted_mean(weights: Weights, values: Curve) -> Curve:
    """Return the mean over classes of their values in each draw, shape (replicates, columns).

    ``values`` has a row for each column of ``weights``.
    """
    part, total = weights @ values, weights.sum(axis=1, keepdims=True)
    return _divide(part, np.broadcast_to(total, part.shape))


def opis(inner: Weights, contributions: Curve, means: Curve, mean: Curve, span: Curve) -> Curve:
    """Return OPIS of each draw: the mean squared deviation from the draw's own mean curve.

    Parameters
    ----------
    inner : ndarray of shape (replicates, E)
        Weights of the evaluable classes.
    contributions : ndarray of shape (E,)
        Mean squared deviation of each class from ``mean``. It is small, so the difference below
        loses no precision.
    means : ndarray of shape (replicates, columns)
        Mean utility curve of each draw at the thresholds of the calibration range.
    mean : ndarray of shape (columns,)
        Mean utility curve of all evaluable classes.
    span : ndarray of shape (columns,)
        Weights of the integral. They add up to 1.
    """
    return ratio(inner, contributions, np.ones(len(contributions))) - (means - mean) ** 2 @ span


def eps_opis(
    inner: Weights, worst: Weights, means: Curve, worst_means: Curve, span: Curve
) -> Curve:
    """Return eps-OPIS of each draw: the mean squared gap between the worst classes and the rest.

    Parameters
    ----------
    inner : ndarray of shape (replicates, E)
        Weights of the evaluable classes.
    worst : ndarray of shape (replicates, W)
        Weights of the worst classes, from ``worst_weights``.
    means, worst_means : ndarray of shape (replicates, columns)
        Mean utility curve of each draw with the weights ``inner`` and ``worst``.
    span : ndarray of shape (columns,)
        Weights of the integral. They add up to 1.
    """
    total, size = inner.sum(axis=1), worst.sum(axis=1)
    # Solve worst - means = (worst - rest) * (total - size) / total for worst - rest:
    gap = _divide(
        (worst_means - means) * total[:, None],
        np.broadcast_to((total - size)[:, None], means.shape),
    )
    return np.asarray(gap**2 @ span)


def worst_weights(inner: Weights, consistency: Consistency, eps: float) -> tuple[Ints, Weights]:
    """Return the worst classes of each draw, and their weights.

    The ranking of the classes is the same in every draw.

    Parameters
    ----------
    inner : ndarray of shape (replicates, E)
        Weights of the evaluable classes.
    consistency : Consistency
    eps : float
        Share of a draw that counts as worst.

    Returns
    -------
    places : ndarray of shape (W,)
        Indices into the evaluable classes. It has all that are among the worst of some draw.
    worst : ndarray of shape (replicates, W)
        The parts of ``inner`` that belong to the worst ``eps`` of each draw.
    """
    order, total = consistency.ranking, inner.sum(axis=1, keepdims=True)
    wanted = np.maximum(1, np.ceil(np.round(eps * total, 9)))
    # Of many classes, only the first in the ranking need a look.
    size = int(wanted.max())
    ranked = inner[:, order[:size]]
    while size < len(order) and np.any(ranked.sum(axis=1, keepdims=True) < wanted):
        size += size // 4 + 1
        ranked = inner[:, order[:size]]
    before = np.cumsum(ranked, axis=1) - ranked
    worst = np.clip(wanted - before, 0, ranked)
    some = np.flatnonzero(worst.any(axis=0))
    return order[some], worst[:, some]


def _column_parts(columns: Ints, counts: PairCounts) -> list[slice]:
    """Split the columns into slices, so that memory stays bounded."""
    step = max(1, _CHUNK_VALUES // max(len(counts.sizes), 1))
    return [slice(start, start + step) for start in range(0, len(columns), step)]


def _divide(part: Curve, whole: Curve) -> Curve:
    """Return ``part / whole``, with NaN where the whole is not positive."""
    return np.asarray(np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0))
