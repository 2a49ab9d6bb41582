"""A bootstrap over classes: which figures could as many classes have shown?

The unit that is drawn is the class, not the pair or the row: pairs that share a class are not
independent. A draw of classes with replacement is a row of *weights*, how often each class was
drawn, so a figure of a draw is a weighted sum over the classes' own counts, and all draws are one
matrix product. Weights of 1 give the figure itself.

Functions here know weights of shape (replicates, K), one column for each class of the counts, and
return one value for each replicate; NaN where a draw leaves the figure undefined. Calibration
ranges and grids stay as they are: only classes are drawn.

Two runs over the same classes are compared by the same weights, so that what they share cancels.
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
    """Figures of many draws of classes.

    Parameters
    ----------
    statistic : callable
        From weights of shape (some, classes) to figures by name, each of shape (some,).
    classes : int
    replicates : int
    seed : int
        The same seed gives the same draws, whatever the statistic.

    Returns
    -------
    dict
        The figures, each of shape (replicates,).
    """
    parts = [statistic(weights) for weights in draws(classes, replicates, seed)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def draws(classes: int, replicates: int, seed: int) -> Iterator[Weights]:
    """Weights of many draws, some draws at a time, so that memory stays bounded.

    Yields
    ------
    ndarray of shape (some, classes), float64
        Rows of multinomial counts: how often each class is drawn. Each adds up to ``classes``.
    """
    rng = np.random.default_rng(seed)
    step = max(1, _BLOCK_VALUES // classes)
    for start in range(0, replicates, step):
        weights = np.empty((min(step, replicates - start), classes))
        for row in weights:
            row[:] = np.bincount(rng.integers(0, classes, classes), minlength=classes)
        yield weights


def one_sided_limits(values: Curve, confidence: float) -> tuple[float, float] | None:
    """Lower and upper limit, each of which holds by itself with a confidence.

    None where more than a tenth of the replicates are undefined.
    """
    known = values[np.isfinite(values)]
    if len(known) < 0.9 * len(values) or len(known) == 0:
        return None
    low, high = np.quantile(known, [1 - confidence, confidence])
    return float(low), float(high)


def ratio(weights: Weights, part: Curve | Ints, whole: Curve | Ints) -> Curve:
    """``sum w part / sum w whole``, for what each class has to itself, such as genuine pairs."""
    return _divide(weights @ part, weights @ whole)


def pooled_far(weights: Weights, counts: PairCounts, columns: Ints) -> Curve:
    """Pooled FAR at some thresholds with counts by class, (replicates, columns).

    An impostor pair lies in two classes, so with ``a_i`` accepted of ``m_i`` impostor pairs of a
    class, and ``A`` of ``M`` pooled, ``FAR = (sum w_i a_i - A) / (sum w_i m_i - M)``: the change by
    both of its classes. ``sum w_i a_i / sum w_i m_i`` would halve every deviation.
    """
    whole = weights @ counts.impostor_pairs - counts.impostor_total
    accepted = np.empty((len(weights), len(columns)))
    for part in _column_parts(columns, counts):
        accepted[:, part] = weights @ counts.impostor[:, columns[part]].astype(float)
    accepted -= counts.pooled_impostor[counts.grid.by_class[columns]]
    return _divide(np.maximum(accepted, 0), np.broadcast_to(whole[:, None], accepted.shape))


def pooled_frr(weights: Weights, counts: PairCounts, columns: Ints) -> Curve:
    """Pooled FRR at some thresholds with counts by class, (replicates, columns)."""
    whole = weights @ counts.genuine_pairs
    accepted = np.empty((len(weights), len(columns)))
    for part in _column_parts(columns, counts):
        accepted[:, part] = weights @ counts.genuine[:, columns[part]].astype(float)
    return 1 - _divide(accepted, np.broadcast_to(whole[:, None], accepted.shape))


def recall_at_1(weights: Weights, counts: PairCounts) -> Curve:
    """Recall@1, over the rows of the evaluable classes."""
    evaluable = counts.evaluable
    return ratio(weights[:, evaluable], counts.nearest_hits[evaluable], counts.sizes[evaluable])


def mean_utility(
    weights: Weights, counts: PairCounts, beta: float, classes: Ints, columns: Ints
) -> Curve:
    """Mean utility curve of some evaluable classes, (replicates, columns).

    ``weights`` has a column for each of ``classes``.
    """
    total = weights.sum(axis=1, keepdims=True)
    curve = np.empty((len(weights), len(columns)))
    for part in _column_parts(columns, counts):
        curve[:, part] = weights @ curves.class_utility(counts, beta, classes, columns[part])
    return _divide(curve, np.broadcast_to(total, curve.shape))


def opis(inner: Weights, contributions: Curve, means: Curve, mean: Curve, span: Curve) -> Curve:
    """OPIS: the mean square about each draw's own mean curve, over the calibration range.

    Parameters
    ----------
    inner : ndarray of shape (replicates, E)
        Weights of the evaluable classes.
    contributions : ndarray of shape (E,)
        Mean squares about ``mean``, so that nothing is lost in a difference of large numbers.
    means : ndarray of shape (replicates, columns)
        Mean utility curve of each draw at the thresholds of the range.
    mean : ndarray of shape (columns,)
        That of all classes.
    span : ndarray of shape (columns,)
        Weights of the integral; they add up to 1.
    """
    return ratio(inner, contributions, np.ones(len(contributions))) - (means - mean) ** 2 @ span


def eps_opis(
    inner: Weights, worst: Weights, means: Curve, worst_means: Curve, span: Curve
) -> Curve:
    """eps-OPIS: the mean square of the worst classes' mean curve less that of the rest.

    ``worst`` are the ``worst_weights``, ``worst_means`` the mean utility curves by them; the rest
    as for ``opis``.
    """
    total, size = inner.sum(axis=1), worst.sum(axis=1)
    # means - rest = (worst - rest) size / total, hence worst - rest:
    gap = _divide(
        (worst_means - means) * total[:, None],
        np.broadcast_to((total - size)[:, None], means.shape),
    )
    return np.asarray(gap**2 @ span)


def worst_weights(inner: Weights, consistency: Consistency, eps: float) -> Weights:
    """How much of each evaluable class's weight belongs to the worst ``eps`` of a draw.

    The ranking of the classes is theirs, whatever is drawn. ``inner`` are the weights of the
    evaluable classes; of the same shape is what is returned.
    """
    order = np.argsort(consistency.mean_utilities, kind="stable")
    total = inner.sum(axis=1, keepdims=True)
    wanted = np.maximum(1, np.ceil(np.round(eps * total, 9)))
    ranked = inner[:, order]
    before = np.cumsum(ranked, axis=1) - ranked
    worst = np.zeros_like(inner)
    worst[:, order] = np.clip(wanted - before, 0, ranked)
    return worst


def _column_parts(columns: Ints, counts: PairCounts) -> list[slice]:
    """Some columns at a time, so that memory stays bounded."""
    step = max(1, _CHUNK_VALUES // max(len(counts.sizes), 1))
    return [slice(start, start + step) for start in range(0, len(columns), step)]


def _divide(part: Curve, whole: Curve) -> Curve:
    """Quotient; NaN where the whole is not positive."""
    return np.asarray(np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0))
