"""Make rows ready to be compared; define distance, score, and the rule of acceptance.

Comparing all pairs is fastest as a matrix product in float32. So counting does not work on
distances but on *scores*, which come straight out of a matrix product and grow as rows get closer:

======== ========================== =================
metric   distance ``d``             score ``s``
======== ========================== =================
cosine   ``1 - cos``, 0 to 2        ``1 - d``
euclid   ``|a - b|``                ``-d ** 2 / 2``
hamming  number of differing bits   ``D - 2 * d``
dot      minus the inner product    ``-d``
======== ========================== =================

*Centring.* The mean is subtracted from Euclidean rows first, so that the rounding error is relative
to their spread and not to their distance from the origin. Unit vectors that all point in nearly the
same direction are centred too. This works because ``1 - cos`` is half their squared distance. Their
score is then ``-d``.

*Bits.* Bits become rows of -1 and 1. The product of two rows is a whole number, namely their score,
and float32 holds it exactly. So no Hamming distance is ever rounded.

*Partners.* Some scores are not the product of two rows in the same form. A normalised score is one.
Each row then has two forms: the score of rows ``i`` and ``j`` is the inner product of
``vectors[i]`` and ``partners[j]``, which must also be that of ``vectors[j]`` and ``partners[i]``.
Otherwise both forms are the same array.

*Cuts.* A pair is accepted at threshold ``t`` if and only if ``d <= t``. An engine accepts it if its
score is at least ``cuts(t)``. The cut lies one float32 rounding below the exact score of ``t``. So
a distance that equals the threshold (a tie, or duplicate rows at 0) is accepted however the product
was rounded. Pairs up to two roundings above the cut are *borderline*: exact arithmetic may reject
them. Hamming distances are whole numbers, so a cut lies in the middle between two scores.

*Codes.* A search for the cell of a score among some thousand cuts would be slow. So ``Codes``
divides the window into even steps of score, and a table leads from the step to the cell.

Read ``Rows`` first, then ``cuts``, ``cuts_of`` and ``Codes``, and then ``prepare``.
"""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opis_cli import decimals
from opis_cli.errors import InputError
from opis_cli.records import Embeddings, Floats, Grid, Ints, Numbers
from opis_cli.settings import Metric

Doubles = NDArray[np.float64]

ROUNDING = 5e-7
"""Largest error, about, of a score, in units of ``Rows.scale``.

It is the error of a float32 dot product of unit vectors. For centred rows it is relative to the
largest squared length of a row.
"""
CODES = 1 << 15
"""Number of even steps in score over the window of a grid, from which a table leads to cells."""
_LAST_BITS = np.float32(2.4e-7)
"""Relative size of two float32 steps at 1."""
_UNIT_TOLERANCE = 1e-3
"""Most that the length of a vector may differ from 1 if it passes for a unit vector."""
_LARGEST_SQUARE = 1e36
"""Largest squared length of a centred row that float32 products can hold."""
_TIGHT = 0.05
"""Mean cosine distance of unit vectors below which centring is worth its cost."""
_CHUNK_VALUES = 500_000
"""Values of vectors that are prepared at a time."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows made ready for the matrix product, sorted by label.

    Attributes
    ----------
    vectors : ndarray of shape (N, D), float32, C-contiguous
        The vectors, scaled to unit length under cosine. If ``centred``, their mean is subtracted.
    partners : ndarray of shape (N, D), float32, C-contiguous
        The rows in the form in which others are compared with them; mostly the same array.
    half_squares : ndarray of shape (N,), float32
        Half the squared length of each row if ``centred``, else 0. The score of rows ``i`` and
        ``j`` is ``vectors[i] @ partners[j] - half_squares[i] - half_squares[j]``.
    labels : ndarray of shape (N,), int32
        Class of each row, not decreasing. A pair is genuine if its two labels are equal.
    vetoes : tuple of ndarrays of shape (N,), int32
        A pair is *vetoed* if its rows are equal in one of these arrays. Whatever its vectors are,
        such a pair gets ``veto_score``. Only the last threshold accepts that score, and it makes no
        row the nearest of another.
    keys : ndarray of shape (N,), int32
        Class or group that the pairs of each row are credited to.
    order : ndarray of shape (N,), int64
        Index of each row in the embeddings.
    metric : {"cosine", "euclidean", "hamming", "dot"}
    centred : bool
        Whether the mean was subtracted, as it always is under the Euclidean metric.
    scale : float
        Unit of ``ROUNDING``: 1, or the largest squared length of a row if ``centred``. For inner
        products, the largest length of a row times that of a partner. 0 if no score is rounded.
    unit : bool
        Whether a distance has an equivalent for unit vectors: always under cosine, under the
        Euclidean metric if the given vectors have unit length, never under others.
    """

    vectors: NDArray[np.float32]
    partners: NDArray[np.float32]
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
    def rounding(self) -> float:
        """Largest error, about, of a score."""
        return ROUNDING * self.scale

    @property
    def whole(self) -> bool:
        """Whether all distances are whole numbers."""
        return self.metric == "hamming"

    @property
    def veto_score(self) -> np.float32:
        """A score below that of any pair."""
        return np.float32(self.score(np.array(2 * self.largest_distance)))

    def scores_of(self, one: Any, two: Any) -> NDArray[np.float32]:
        """Return the scores of all rows ``one`` with all rows ``two``; slices or index arrays."""
        scores: NDArray[np.float32] = self.vectors[one] @ self.partners[two].T
        scores -= self.half_squares[one, None]
        scores -= self.half_squares[None, two]
        return scores

    def vetoed(self, one: Any, two: Any) -> NDArray[np.bool_]:
        """Return which pairs of rows are vetoed; the two index arrays are broadcast."""
        found = np.zeros(np.broadcast_shapes(np.shape(one), np.shape(two)), np.bool_)
        for codes in self.vetoes:
            found |= codes[one] == codes[two]
        return found

    def some(self, index: Ints, labels: Ints, keys: Ints) -> "Rows":
        """Return some of the rows, with other labels and keys; all three of the same length."""
        vectors = self.vectors[index]
        return replace(
            self,
            vectors=vectors,
            partners=vectors if self.partners is self.vectors else self.partners[index],
            half_squares=self.half_squares[index],
            labels=labels.astype(np.int32),
            keys=keys.astype(np.int32),
            order=self.order[index],
            vetoes=tuple(codes[index] for codes in self.vetoes),
        )

    @property
    def class_begins(self) -> NDArray[np.int64]:
        """For each row, the first row of its class, shape (N,)."""
        return np.searchsorted(self.labels, self.labels).astype(np.int64)

    @property
    def class_ends(self) -> NDArray[np.int64]:
        """For each row, one past the last row of its class, shape (N,)."""
        return np.searchsorted(self.labels, self.labels, side="right").astype(np.int64)

    def distance(self, scores: Floats) -> NDArray[np.float64]:
        """Convert scores to distances. None is below 0, but for inner products."""
        if self.metric == "dot":
            return -np.asarray(scores, np.float64)
        lost = np.maximum(self._nearest_score - np.asarray(scores, np.float64), 0.0)
        if self.metric == "euclidean":
            return np.asarray(np.sqrt(2 * lost))
        return np.asarray(lost / 2 if self.whole else lost)

    def score(self, distances: Floats) -> NDArray[np.float64]:
        """Convert distances to scores."""
        distances = np.asarray(distances, np.float64)
        if self.metric == "euclidean":
            return np.asarray(-0.5 * distances**2)
        return np.asarray(self._nearest_score - (2 * distances if self.whole else distances))

    @property
    def _nearest_score(self) -> float:
        """The score of two equal rows."""
        if self.whole:
            return float(self.vectors.shape[1])
        return 0.0 if self.centred or self.metric == "dot" else 1.0

    def cuts(self, thresholds: Floats) -> NDArray[np.float32]:
        """Return the least score that each threshold accepts, shape as given."""
        if self.whole:
            return self.score(after_whole(thresholds)).astype(np.float32)
        return (self.score(thresholds) - self.rounding).astype(np.float32)

    def cuts_of(self, grid: Grid) -> NDArray[np.float32]:
        """Return the least score that each threshold of a grid accepts, shape (T,).

        A cut that lies within a bit or two of the end of a code is moved onto that end. Then the
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
        """Return the codes that cover the scores of a window which ends at distance ``end``.

        Under cosine the step of a code is a short decimal, so that thresholds lie on the ends of
        codes.
        """
        top, bottom = self.cuts(np.array([self.least_distance, end]))
        if self.metric == "cosine":
            return Codes(top, np.float32(1 / code_step(end)))
        return Codes.between(top, bottom)

    @property
    def largest_distance(self) -> float:
        """A distance of few digits that no pair exceeds."""
        if self.metric == "cosine":
            return 2.0
        if self.whole:
            return float(self.vectors.shape[1])
        reach = self.scale if self.metric == "dot" else 2.0 * float(np.sqrt(self.scale))
        return decimals.shortest(reach * (1 + 1e-6), 1.1 * reach)

    @property
    def least_distance(self) -> float:
        """A distance of few digits that no pair falls short of: 0, but for inner products."""
        return -self.largest_distance if self.metric == "dot" else 0.0


def after_whole(distances: Floats | float) -> NDArray[np.float64]:
    """Return the middle between the whole number at or below each distance and the next one."""
    return np.asarray(np.floor(distances) + 0.5)


def fall_evenly(cuts: NDArray[np.float32]) -> bool:
    """Return whether cuts fall in even steps, as far as float32 can tell."""
    even = np.linspace(cuts[0], cuts[-1], len(cuts))
    return bool(cuts[0] > cuts[-1]) and bool(
        np.all(np.abs(cuts - even) <= 1e-6 * np.maximum(1.0, np.abs(even)))
    )


def code_step(end: float) -> float:
    """Return the step of the codes in distance, for a window that ends at ``end``.

    The step is a short decimal.
    """
    return decimals.step_above(max(end, 1e-30) / (CODES - 2))


def _order(scores: NDArray[np.float32]) -> Ints:
    """Return the rank of float32 numbers in the order of all float32 numbers."""
    bits = scores.view(np.int32).astype(np.int64)
    return np.asarray(np.where(bits < 0, -(bits & 0x7FFFFFFF), bits))


def _float(order: Ints) -> NDArray[np.float32]:
    """Return the float32 numbers that have the ranks which ``_order`` returns."""
    bits = np.where(order < 0, -order | 0x80000000, order)
    return np.asarray(bits).astype(np.uint32).view(np.float32)


@dataclass(frozen=True, slots=True)
class Codes:
    """Even steps in score from ``top`` down, by which kernels look up cells in a table.

    The code of a score is ``(top - score) * scale`` in float32, truncated to an integer and limited
    to 0 and ``CODES - 1``.

    Attributes
    ----------
    top : float32
        Score at which code 0 begins.
    scale : float32
        Codes for each unit of score.
    """

    top: np.float32
    scale: np.float32

    @classmethod
    def between(cls, top: np.float32, bottom: np.float32) -> "Codes":
        """Make codes that reach from the score ``top`` down to the score ``bottom``."""
        return cls(top, np.float32((CODES - 1) / max(float(top) - float(bottom), 1e-30)))

    def of(self, scores: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return the codes of scores, computed in the arithmetic of the kernels."""
        return np.asarray(np.clip(self._steps(scores), 0, CODES - 1).astype(np.int64))

    def lowest(self, codes: Ints) -> NDArray[np.float32]:
        """Return the lowest score of each code, as if the last code ended like the others."""
        # Bisection over the ranks of float32 numbers. Near 0 these lie so close together that
        # stepping from one to the next would take forever.
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
    *,
    then: Ints | None = None,
) -> Rows:
    """Sort rows by label and make them ready for the matrix product.

    Parameters
    ----------
    embeddings : Embeddings
    metric : {"cosine", "euclidean", "hamming", "dot"}
    keys : ndarray of shape (N,), optional
        Key that the pairs of each row are credited to; the label by default.
    labels : ndarray of shape (N,), optional
        Labels by which rows are sorted and pairs are genuine or not; by default those of the
        embeddings.
    threads : int
        Number of threads.
    then : ndarray of shape (N,), optional
        Numbers by which rows of the same label are sorted. By default they keep their order.

    Raises
    ------
    InputError
        The vectors are too long for float32 products.
    """
    labels = embeddings.labels if labels is None else labels
    keys = labels if keys is None else keys
    order = np.lexsort((labels,) if then is None else (then, labels))
    count, dim = len(labels), embeddings.dim
    vectors = np.empty((count, dim), np.float32)
    squares, lengths = np.zeros(count), np.ones(count)
    step = max(1, _CHUNK_VALUES // dim)
    mean = _mean_to_take_off(embeddings.vectors, metric, step)

    def fill(start: int) -> None:
        part = slice(start, start + step)
        if metric == "hamming":
            codes = embeddings.vectors[order[part]].view(np.uint8)
            bits = np.unpackbits(codes, axis=1, count=dim)
            vectors[part] = 2.0 * bits - 1.0
            return
        block = embeddings.vectors[order[part]].astype(np.float64)
        if metric == "cosine":
            block = unit_rows(block)
        if metric == "dot":
            squares[part] = np.einsum("nd,nd->n", block, block)
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
    partners, scale = vectors, 0.0 if metric == "hamming" else float(squares.max())
    if embeddings.partners is not None:
        partners = np.ascontiguousarray(embeddings.partners[order], np.float32)
        scale = math.sqrt(scale * float(np.einsum("nd,nd->n", partners, partners).max()))
    if metric != "hamming":
        # If all rows are equal, the largest square is 0. Any positive scale serves then.
        scale = scale or 1.0
    return Rows(
        vectors=vectors,
        partners=partners,
        half_squares=(squares / 2 if mean is not None else np.zeros(count)).astype(np.float32),
        labels=labels[order].astype(np.int32),
        keys=keys[order].astype(np.int32),
        order=order,
        metric=metric,
        centred=mean is not None,
        scale=scale,
        unit=metric not in ("hamming", "dot")
        and bool(np.all(np.abs(lengths - 1) <= _UNIT_TOLERANCE)),
    )


def _mean_to_take_off(vectors: Numbers, metric: Metric, step: int) -> NDArray[np.float64] | None:
    """Return the mean row, or None if it gains nothing: for bits, or unit vectors spread well."""
    if metric in ("hamming", "dot"):
        return None
    if metric == "euclidean":
        return _mean(vectors, step, lambda block: block)
    sample = unit_rows(np.asarray(vectors[:: max(1, len(vectors) // 1_000)], np.float64))
    if 1 - np.square(sample.mean(axis=0)).sum() > _TIGHT:
        return None
    return _mean(vectors, step, unit_rows)


def _mean(vectors: Numbers, step: int, change: Callable[[Doubles], Doubles]) -> Doubles:
    """Return the mean of changed rows in float64, without a float64 copy of all rows."""
    total = np.zeros(vectors.shape[1])
    for start in range(0, len(vectors), step):
        total += change(np.asarray(vectors[start : start + step], np.float64)).sum(axis=0)
    return total / len(vectors)


def unit_rows(block: Doubles) -> Doubles:
    """Divide rows by their lengths, even if the squares of the lengths do not fit a float64."""
    with np.errstate(over="ignore", under="ignore"):
        squares = np.einsum("nd,nd->n", block, block)
    if not (squares.min(initial=1) > 1e-200 and squares.max(initial=1) < 1e200):
        block = block / np.abs(block).max(axis=1, keepdims=True)
        squares = np.einsum("nd,nd->n", block, block)
    return np.asarray(block / np.sqrt(squares)[:, None])
