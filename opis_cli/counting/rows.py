"""Distance, score, and the one rule of acceptance.

Counting works on *scores*, which grow as rows get closer and come straight out of a matrix product:

======== ========================== =================
metric   distance ``d``             score ``s``
======== ========================== =================
cosine   ``1 - cos``, 0 to 2        ``1 - d``
euclid   ``|a - b|``                ``-d ** 2 / 2``
======== ========================== =================

Euclidean rows are centred first, so that the rounding is relative to their spread. Unit vectors
that all point the same way are centred too, as ``1 - cos`` is half their squared distance; their
score is then ``-d``.

A pair is accepted at threshold ``t`` if and only if ``d <= t``, that is, if its score reaches
``cuts(t)``. The cut lies a float32 rounding below the exact score, so that distances that *are* the
threshold (ties, duplicate rows at 0) are accepted however the product was rounded. Pairs up to two
roundings above the cut are *borderline*: exact arithmetic may reject them.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opis_cli import decimals
from opis_cli.errors import InputError
from opis_cli.records import Embeddings, Floats, Grid, Ints
from opis_cli.settings import Metric

Doubles = NDArray[np.float64]

# Largest error, about, of a float32 dot product of unit vectors. It is relative to the largest
# squared length of a (centred) row under the Euclidean metric.
ROUNDING = 5e-7
CODES = 1 << 15
"""Even steps in score over a grid's window, from which a table leads to cells."""
# Two steps of float32 at 1, relative.
_LAST_BITS = np.float32(2.4e-7)
_UNIT_TOLERANCE = 1e-3
_LARGEST_SQUARE = 1e36
# Mean cosine distance of unit vectors below which taking off their mean is worth its cost.
_TIGHT = 0.05
_CHUNK_VALUES = 500_000


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows made ready for the matrix product, sorted by label.

    Attributes
    ----------
    vectors : ndarray of shape (N, D), float32, C-contiguous
        Rows of unit length (cosine), less their mean where ``centred``.
    half_squares : ndarray of shape (N,), float32
        Half the squared length of each row where ``centred``, else 0. The score of rows ``i`` and
        ``j`` is ``vectors[i] @ vectors[j] - half_squares[i] - half_squares[j]``.
    labels : ndarray of shape (N,), int32
        Class of each row, not decreasing: it makes a pair genuine or impostor.
    vetoes : tuple of ndarrays of shape (N,), int32
        Rows that are equal in one of these make a *vetoed* pair: whatever its vectors, it gets
        ``veto_score``, which only the last threshold accepts and which is nobody's nearest.
    keys : ndarray of shape (N,), int32
        What a pair of this row is credited to; the class itself, unless somebody asks otherwise.
    order : ndarray of shape (N,), int64
        Index of each row in the embeddings.
    metric : {"cosine", "euclidean"}
    centred : bool
        Whether the mean was taken off: always under the Euclidean metric.
    scale : float
        1, or the largest squared length of a centred row: the unit of ``ROUNDING``.
    unit : bool
        Whether the vectors are of unit length, as they always are under cosine.
    """

    vectors: NDArray[np.float32]
    half_squares: NDArray[np.float32]
    labels: NDArray[np.int32]
    keys: NDArray[np.int32]
    order: Ints
    metric: Metric
    centred: bool
    scale: float
    unit: bool
    vetoes: tuple[NDArray[np.int32], ...] = ()

    @property
    def veto_score(self) -> np.float32:
        """A score lower than any pair has."""
        return np.float32(self.score(np.array(2 * self.largest_distance)))

    def scores_of(self, one: Any, two: Any) -> NDArray[np.float32]:
        """Scores of every one of some rows with every one of others; slices or index arrays."""
        scores: NDArray[np.float32] = self.vectors[one] @ self.vectors[two].T
        scores -= self.half_squares[one, None]
        scores -= self.half_squares[None, two]
        return scores

    def vetoed(self, one: Any, two: Any) -> NDArray[np.bool_]:
        """Which pairs of some rows with others are vetoed; index arrays that broadcast."""
        found = np.zeros(np.broadcast_shapes(np.shape(one), np.shape(two)), np.bool_)
        for codes in self.vetoes:
            found |= codes[one] == codes[two]
        return found

    @property
    def class_begins(self) -> NDArray[np.int64]:
        """First row of each row's class, shape (N,)."""
        return np.searchsorted(self.labels, self.labels).astype(np.int64)

    @property
    def class_ends(self) -> NDArray[np.int64]:
        """One past the last row of each row's class, shape (N,)."""
        return np.searchsorted(self.labels, self.labels, side="right").astype(np.int64)

    def distance(self, scores: Floats) -> NDArray[np.float64]:
        """Distances of scores; never below 0."""
        scores = np.asarray(scores, np.float64)
        gap: NDArray[np.float64] = np.asarray(
            self._nearest_score - scores if self.metric == "cosine" else -2.0 * scores
        )
        np.maximum(gap, 0.0, out=gap)
        return gap if self.metric == "cosine" else np.asarray(np.sqrt(gap))

    def score(self, distances: Floats) -> NDArray[np.float64]:
        """Scores of distances."""
        distances = np.asarray(distances, np.float64)
        if self.metric == "cosine":
            return np.asarray(self._nearest_score - distances)
        return np.asarray(-0.5 * distances**2)

    @property
    def _nearest_score(self) -> float:
        """Score of equal rows."""
        return 0.0 if self.centred else 1.0

    def cuts(self, thresholds: Floats) -> NDArray[np.float32]:
        """Least score that is accepted at each threshold, shape as given."""
        return (self.score(thresholds) - ROUNDING * self.scale).astype(np.float32)

    def cuts_of(self, grid: Grid) -> NDArray[np.float32]:
        """Least score that is accepted at each threshold of a grid, shape (T,).

        Where a cut lies within the last bit or two of the end of a code, it is that end: then the
        code alone tells the cell of a score.
        """
        cuts = self.cuts(grid.thresholds)
        codes = self.codes(float(grid.thresholds[grid.window - 1]))
        own = codes.of(cuts)
        for code in (np.maximum(own - 1, 0), own):
            end = codes.lowest(code)
            last_bits = _LAST_BITS * np.maximum(np.abs(end), np.float32(self.scale))
            cuts = np.where(np.abs(end - cuts) <= last_bits, end, cuts)
        return cuts

    def codes(self, end: float) -> "Codes":
        """Codes of the scores of distances up to the end of a window.

        Under cosine their steps are short decimals, so that thresholds lie on their ends.
        """
        top, bottom = self.cuts(np.array([0.0, end]))
        if self.metric == "cosine":
            return Codes(top, np.float32(1 / code_step(end)))
        return Codes.between(top, bottom)

    @property
    def largest_distance(self) -> float:
        """A distance that no pair exceeds, with few digits."""
        if self.metric == "cosine":
            return 2.0
        longest = 2.0 * float(np.sqrt(self.scale)) * (1 + 1e-6)
        return decimals.shortest(longest, 1.1 * longest)


def code_step(end: float) -> float:
    """The step in distance of the codes of a window that ends there: a short decimal."""
    return decimals.step_above(max(end, 1e-30) / (CODES - 2))


def _order(scores: NDArray[np.float32]) -> Ints:
    """Where float32 numbers lie in their order."""
    bits = scores.view(np.int32).astype(np.int64)
    return np.asarray(np.where(bits < 0, -(bits & 0x7FFFFFFF), bits))


def _float(order: Ints) -> NDArray[np.float32]:
    """The float32 numbers of ``_order``."""
    bits = np.where(order < 0, -order | 0x80000000, order)
    return np.asarray(bits).astype(np.uint32).view(np.float32)


@dataclass(frozen=True, slots=True)
class Codes:
    """Even steps in score from ``top`` down, by which kernels find cells in a table.

    The code of a score is ``(top - score) * scale`` in float32, cut off, from 0 to ``CODES - 1``.
    """

    top: np.float32
    scale: np.float32

    @classmethod
    def between(cls, top: np.float32, bottom: np.float32) -> "Codes":
        """Codes that reach from one score down to another."""
        return cls(top, np.float32((CODES - 1) / max(float(top) - float(bottom), 1e-30)))

    def of(self, scores: NDArray[np.float32]) -> NDArray[np.int64]:
        """Codes of scores, in the arithmetic of the kernels."""
        return np.asarray(np.clip(self._steps(scores), 0, CODES - 1).astype(np.int64))

    def lowest(self, codes: Ints) -> NDArray[np.float32]:
        """The lowest score of each code, as if the last one ended too."""
        # By halves, over float32 in its order: near 0 these lie so close that no walk would end.
        low = np.full(np.shape(codes), _order(np.array(-np.inf, np.float32)))
        high = np.full(np.shape(codes), _order(np.array(self.top, np.float32)))
        while np.any(high - low > 1):
            middle = (low + high) // 2
            fits = self._steps(_float(middle)) < codes + 1
            low, high = np.where(fits, low, middle), np.where(fits, middle, high)
        return _float(high)

    def _steps(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        return (self.top - scores) * self.scale


def prepare(
    embeddings: Embeddings,
    metric: Metric,
    keys: Ints | None = None,
    labels: Ints | None = None,
    threads: int = 1,
) -> Rows:
    """Sort rows by label and make them ready for the matrix product.

    Parameters
    ----------
    embeddings : Embeddings
    metric : {"cosine", "euclidean"}
    keys : ndarray of shape (N,), optional
        What each row's pairs are credited to; the label by default.
    labels : ndarray of shape (N,), optional
        What rows are sorted and pairs judged by, if not the embeddings' labels.
    threads : int
        How many work at it.

    Raises
    ------
    InputError
        The vectors are longer than float32 products can hold.
    """
    labels = embeddings.labels if labels is None else labels
    keys = labels if keys is None else keys
    order = np.argsort(labels, kind="stable")
    count, dim = embeddings.vectors.shape
    vectors = np.empty((count, dim), np.float32)
    squares, lengths = np.zeros(count), np.ones(count)
    step = max(1, _CHUNK_VALUES // dim)
    mean = _mean_to_take_off(embeddings.vectors, metric, step)

    def fill(start: int) -> None:
        part = slice(start, start + step)
        block = embeddings.vectors[order[part]].astype(np.float64)
        if metric == "cosine":
            block = _unit_rows(block)
        if mean is not None:
            lengths[part] = np.sqrt(np.einsum("nd,nd->n", block, block))
            block -= mean
            squares[part] = np.einsum("nd,nd->n", block, block)
            if not squares[part].max() < _LARGEST_SQUARE:
                raise InputError(
                    f"{embeddings.source.path}: the vectors are longer than float32 products can "
                    "hold; scale them down"
                )
        vectors[part] = block

    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(fill, range(0, count, step)):
            pass
    return Rows(
        vectors=vectors,
        half_squares=(squares / 2).astype(np.float32),
        labels=labels[order].astype(np.int32),
        keys=keys[order].astype(np.int32),
        order=order,
        metric=metric,
        centred=mean is not None,
        # All rows alike leave no scale; any positive one serves.
        scale=float(squares.max()) or 1.0,
        unit=bool(np.all(np.abs(lengths - 1) <= _UNIT_TOLERANCE)),
    )


def _mean_to_take_off(vectors: Floats, metric: Metric, step: int) -> NDArray[np.float64] | None:
    """Mean row; None for unit vectors that point all ways, which are as exact without."""
    if metric == "euclidean":
        return _mean(vectors, step, lambda block: block)
    sample = _unit_rows(np.asarray(vectors[:: max(1, len(vectors) // 1_000)], np.float64))
    if 1 - np.square(sample.mean(axis=0)).sum() > _TIGHT:
        return None
    return _mean(vectors, step, _unit_rows)


def _mean(vectors: Floats, step: int, change: Callable[[Doubles], Doubles]) -> Doubles:
    """Mean of changed rows in float64, without a float64 copy of all of them."""
    total = np.zeros(vectors.shape[1])
    for start in range(0, len(vectors), step):
        total += change(np.asarray(vectors[start : start + step], np.float64)).sum(axis=0)
    return total / len(vectors)


def _unit_rows(block: Doubles) -> Doubles:
    """Rows divided by their lengths, whose squares need not fit a float64."""
    with np.errstate(over="ignore", under="ignore"):
        squares = np.einsum("nd,nd->n", block, block)
    if not (squares.min(initial=1) > 1e-200 and squares.max(initial=1) < 1e200):
        block = block / np.abs(block).max(axis=1, keepdims=True)
        squares = np.einsum("nd,nd->n", block, block)
    return np.asarray(block / np.sqrt(squares)[:, None])
