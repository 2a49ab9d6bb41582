"""The records that travel through opis, and the way they travel.

::

    Embeddings --> PairCounts --> curves --> scores, recommendation --> Report --> JSON, PNG, text
    readers.py     pairs.py       curves.py  scores.py                  report.py  runs.py
    parquet.py     grid.py                   recommend.py                          files.py
    arrow.py       distance.py               confidence.py                         plots.py
    embeddings.py  engines/                  folds.py                              drawing.py
    sampling.py    keys.py                   noise.py                              exports.py
                   halves.py                 differentials.py                      summary.py
                   checkpoint.py             uncertainty.py

``uncertainty.py`` rests on ``intervals.py``, the jackknife, and ``bootstrap.py``.

``pipeline.py`` joins these, ``cli.py`` shows them. From a report, and the counts that it is on::

    Run, Run, limits --> draws of classes --> changes --> Verdict, Comparison --> JUnit, HTML, text
    limits.py            bootstrap.py         comparison.py  gate.py              verdicts.py
    operating.py         resampled.py         checks.py      models.py            page.py

Three rules hold everywhere:

1. Counts are the only expensive thing. ``PairCounts`` are integers that add over tiles, threads and
   machines; whatever comes after them is cheap, pure, and never sees a vector.
2. Arrows go one way. The core neither prints nor knows the terminal.
3. An engine is a function from prepared rows, a grid and tiles to counts.

Terms: a pair of rows is *genuine* when the labels are equal and an *impostor* otherwise. A pair is
*accepted* at threshold ``t`` if and only if its distance is at most ``t``.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opis_cli.settings import Metric

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True)
class Source:
    """Where embeddings came from.

    ``sha256`` is that of the embeddings file's bytes (of all parts in name order for a folder; of
    the arrays' bytes for arrays, and for a sample of rows, as the rest is not read),
    ``labels_sha256`` that of a separate labels file.
    """

    path: str
    sha256: str
    labels_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Clean embeddings with their labels, in the order of the source.

    Attributes
    ----------
    vectors : ndarray of shape (N, D), float16, float32 or float64
        One row each, perhaps memory-mapped. Finite; not zero when the metric is cosine.
    labels : ndarray of shape (N,), int64
        Index of each row's class in ``class_names``.
    class_names : ndarray of shape (K,), int64 or str objects
        Distinct labels as the user wrote them, sorted.
    rows : ndarray of shape (N,), int64
        Row number of each vector in the source, from 0.
    dropped_rows : int
        Bad rows that were left out on request.
    source : Source
    sampled_from : (int, int), optional
        Rows and classes of the source, where these are a sample of its classes.
    """

    vectors: Floats
    labels: Ints
    class_names: NDArray[Any]
    rows: Ints
    dropped_rows: int
    source: Source
    sampled_from: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Grid:
    """The thresholds at which pairs are counted.

    Pooled counts are kept at every threshold. Counts by class are kept at every threshold of the
    *window*, the first ``window`` thresholds, where decisions are made, and beyond it only at a
    few, which are enough to draw the curves.

    Attributes
    ----------
    thresholds : ndarray of shape (T,), float64
        Distances, strictly increasing. The last one accepts every pair.
    window : int
        How many of them, from the smallest, belong to the window.
    by_class : ndarray of shape (C,), int64
        Indices into ``thresholds`` at which counts by class are kept: all of the window's, then
        a few, the last one included.
    """

    thresholds: NDArray[np.float64]
    window: int
    by_class: Ints

    @property
    def class_thresholds(self) -> NDArray[np.float64]:
        """Thresholds with counts by class, shape (C,)."""
        return self.thresholds[self.by_class]


@dataclass(frozen=True, slots=True)
class Halves:
    """Accepted pairs of two random halves of classes, at thresholds of the calibration range.

    Attributes
    ----------
    classes : ndarray of shape (S,), int64
        Which classes were split.
    sizes : ndarray of shape (2, S), int64
        Rows of each half.
    thresholds : ndarray of shape (P,), float64
    genuine, impostor : ndarray of shape (2, S, P), unsigned integers
        Pairs inside each half, and pairs of its rows with other classes.
    """

    classes: Ints
    sizes: Ints
    thresholds: NDArray[np.float64]
    genuine: Ints
    impostor: Ints


@dataclass(frozen=True, slots=True)
class PairCounts:
    """How many pairs are accepted at each threshold: all that later stages need.

    An impostor pair lies in two classes, so ``impostor`` counts it for both; the pooled counts
    have every pair once.

    Attributes
    ----------
    grid : Grid
    metric : {"cosine", "euclidean"}
        What the thresholds measure.
    unit : bool
        Whether a threshold has an equivalent on unit vectors: always under cosine, under the
        Euclidean metric when the vectors were of unit length.
    rounding : float
        How far a score may be off: of a distance under cosine, of half its square under Euclidean.
    class_names : ndarray of shape (K,)
    sizes : ndarray of shape (K,), int64
        Rows of each class.
    genuine, impostor : ndarray of shape (K, C), unsigned integers
        Accepted pairs of each class at ``grid.class_thresholds``.
    pooled_genuine, pooled_impostor : ndarray of shape (T,), int64
        Accepted pairs at ``grid.thresholds``.
    nearest_hits : ndarray of shape (K,), int64
        Rows of each class whose nearest other row has the same label.
    folds : ndarray of shape (K,), int64, or None
        Fold of each class, where they were split into folds.
    inside : ndarray of shape (folds, T), int64, or None
        Accepted impostor pairs of two rows of each fold, at ``grid.thresholds``.
    halves : Halves or None
        None where no class has rows enough.
    """

    grid: Grid
    metric: Metric
    unit: bool
    class_names: NDArray[Any]
    sizes: Ints
    genuine: Ints
    impostor: Ints
    pooled_genuine: Ints
    pooled_impostor: Ints
    nearest_hits: Ints
    rounding: float = 0.0
    folds: Ints | None = None
    inside: Ints | None = None
    halves: Halves | None = None

    @property
    def rows(self) -> int:
        """Number of rows, N."""
        return int(self.sizes.sum())

    @property
    def genuine_pairs(self) -> Ints:
        """Genuine pairs of each class, ``n (n - 1) / 2``, shape (K,)."""
        return self.sizes * (self.sizes - 1) // 2

    @property
    def impostor_pairs(self) -> Ints:
        """Impostor pairs with one end in each class, ``n (N - n)``, shape (K,)."""
        return self.sizes * (self.rows - self.sizes)

    @property
    def genuine_total(self) -> int:
        """All genuine pairs."""
        return int(self.genuine_pairs.sum())

    @property
    def impostor_total(self) -> int:
        """All impostor pairs, each once."""
        return int(self.impostor_pairs.sum()) // 2

    @property
    def evaluable(self) -> NDArray[np.bool_]:
        """Which classes have a genuine pair, shape (K,)."""
        return self.sizes >= 2
