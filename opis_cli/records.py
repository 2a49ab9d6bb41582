"""The records that travel through opis, and the way they travel.

::

    Embeddings --> PairCounts --> curves --> scores, recommendation --> Report --> JSON, PNG, text
    readers.py     pairs.py       curves.py  scores.py                  report.py  report_json.py
    remote.py      protocols.py              recommend.py                          runs.py
    parquet.py     pilot.py                  confidence.py                         files.py
    arrow.py       grid.py                   folds.py                              plots.py
    embeddings.py  distance.py               noise.py                              drawing.py
    sampling.py    engines/                  differentials.py                      exports.py
    gallery.py     search.py                 uncertainty.py                        summary.py
                   halves.py                 axis.py                           store.py
                   gaps.py                   borderline.py
    scored pairs   checkpoint.py
    tables.py -->  scored.py
                   scored_counts.py

``uncertainty.py`` rests on ``intervals.py``, the jackknife, and ``bootstrap.py``. ``decimals.py``
makes numbers that a person can copy.

``pipeline.py`` joins these; ``cli.py`` and ``cli_gate.py`` show them. From a report, and the counts
that it is on::

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

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opis_cli.settings import Metric

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]


Curve = NDArray[np.float64]


Ends = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Source:
    """Where embeddings came from.

    ``sha256`` is that of the embeddings file's bytes (of all parts in name order for a folder; of
    the arrays' bytes for arrays, and for a sample of rows, as the rest is not read),
    ``labels_sha256`` that of a separate labels file. ``gallery`` is where the rows came from that
    these are searched in, if that is somewhere else; ``parts`` are the paths that were given, where
    they were several.
    """

    path: str
    sha256: str
    labels_sha256: str | None = None
    gallery: "Source | None" = None
    parts: tuple[str, ...] = ()

    @property
    def digests(self) -> tuple[str | None, ...]:
        """Digests of all the files."""
        own = self.sha256, self.labels_sha256
        return own if self.gallery is None else own + self.gallery.digests


@dataclass(frozen=True, slots=True)
class Column:
    """A column beside the labels: a customer, a camera, a session.

    Attributes
    ----------
    codes : ndarray of shape (N,), int64
        Index of each row's value in ``names``; -1 where it has none.
    names : ndarray of shape (K,), int64 or str objects
        Distinct values, sorted.
    """

    codes: Ints
    names: NDArray[Any]


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
    columns : mapping of names to Column
        Further columns that were asked for.
    gallery_rows : int, optional
        How many rows, the last ones, are a gallery that the rows before them are searched in.
    sampled_from : (int, int), optional
        Rows and classes of the source, where these are a sample of its classes.
    """

    vectors: Floats
    labels: Ints
    class_names: NDArray[Any]
    rows: Ints
    dropped_rows: int
    source: Source
    columns: Mapping[str, Column] = field(default_factory=dict)
    gallery_rows: int | None = None
    sampled_from: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Grid:
    """The thresholds at which pairs are counted.

    Pooled counts are kept at every threshold. Counts by class are kept at every threshold of the
    *window*, the first ``window`` thresholds, where decisions are made, and beyond it only at a
    few, between which a class's curve can be estimated (``axis.py``).

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

    def columns_between(self, low: float, high: float) -> Ints:
        """Which of ``class_thresholds`` lie in a range, the ends included."""
        thresholds = self.class_thresholds
        return np.flatnonzero((thresholds >= low) & (thresholds <= high))

    def index_at(self, threshold: float) -> int:
        """Index of the first threshold that is at least this one.

        Beyond the last threshold, as at it, every pair is accepted, so it stands for those beyond.
        """
        last = len(self.thresholds) - 1
        return min(int(np.searchsorted(self.thresholds, threshold)), last)

    def column_of(self, threshold: float) -> int | None:
        """Which of ``class_thresholds`` this is, the last one beyond it; None if it is none."""
        thresholds = self.class_thresholds
        wanted = min(threshold, float(thresholds[-1]))
        column = int(np.searchsorted(thresholds, wanted))
        return column if thresholds[column] == wanted else None

    @property
    def class_cell(self) -> Ints:
        """For each threshold, the next that keeps counts by class, as an index below C; (T,)."""
        return np.asarray(np.searchsorted(self.by_class, np.arange(len(self.thresholds))))


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
        Accepted pairs inside each half, and of its rows with some rows of other classes.
    impostor_pairs : ndarray of shape (2, S), int64
        How many there are of the latter.
    """

    classes: Ints
    sizes: Ints
    thresholds: NDArray[np.float64]
    genuine: Ints
    impostor: Ints
    impostor_pairs: Ints


@dataclass(frozen=True, slots=True)
class PairCounts:
    """How many pairs are accepted at each threshold: all that later stages need.

    An impostor pair lies in two classes, so ``impostor`` counts it for both; the pooled counts
    have every pair once. The last threshold accepts every pair, so counts at it are totals.

    Where a group column was asked for, *class* stands for group: a pair counts for the group of
    each of its rows. Pairs of queries with a gallery count for the query's class or group alone.

    Attributes
    ----------
    grid : Grid
    metric : {"cosine", "euclidean"}
        What the thresholds measure.
    unit : bool
        Whether a threshold has an equivalent on unit vectors: always under cosine, under the
        Euclidean metric when the vectors were of unit length.
    class_names : ndarray of shape (K,)
    sizes : ndarray of shape (K,), int64
        Rows of each class.
    genuine, impostor : ndarray of shape (K, C), unsigned integers
        Accepted pairs of each class at ``grid.class_thresholds``.
    pooled_genuine, pooled_impostor : ndarray of shape (T,), int64
        Accepted pairs at ``grid.thresholds``.
    nearest_hits : ndarray of shape (K,), int64
        Rows of each class whose nearest other row has the same label.
    rounding : float
        How far a score may be off: of a distance under cosine, of half its square under Euclidean.
    searches : ndarray of shape (K,), int64, optional
        Rows of each class that have a genuine pair; all of every evaluable class by default.
    excluded : int
        Pairs that were left out.
    open_set : ndarray of shape (T,), int64, optional
        Queries without a genuine pair that accept a gallery row, at ``grid.thresholds``; None
        where there is no gallery.
    duplicates : ndarray, int64, optional
        Numbers of the rows that equal another one; None where this was not looked for.
    folds : ndarray of shape (K,), int64, optional
        Fold of each class, where they were split into folds.
    inside : ndarray of shape (folds, T), int64, optional
        Accepted impostor pairs of two rows of each fold, at ``grid.thresholds``.
    borderline_genuine, borderline_impostor : ndarray of shape (T,), int64, optional
        Accepted pairs within a rounding of each of ``grid.thresholds``, which exact arithmetic may
        reject; None where they were not counted.
    halves : Halves, optional
        None where not every two rows are a pair, or no class has rows enough.
    genuine_beyond : ndarray of shape (K, T - grid.window), unsigned integers, optional
        Accepted genuine pairs of each class at every threshold beyond the window; None where
        ``genuine`` has these thresholds already.
    estimated : ndarray of shape (C,), bool, optional
        At which of ``grid.class_thresholds`` ``impostor`` is an estimate. None where it is counted
        throughout, as it is in every run: only ``axis.over_whole_axis`` estimates.
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
    searches: Ints | None = None
    excluded: int = 0
    open_set: Ints | None = None
    duplicates: Ints | None = None
    folds: Ints | None = None
    inside: Ints | None = None
    borderline_genuine: Ints | None = None
    borderline_impostor: Ints | None = None
    halves: Halves | None = None
    genuine_beyond: Ints | None = None
    estimated: NDArray[np.bool_] | None = None

    @property
    def rows(self) -> int:
        """Number of rows that pairs are credited to, N: the queries, where there is a gallery."""
        return int(self.sizes.sum())

    @property
    def genuine_pairs(self) -> Ints:
        """Genuine pairs of each class, shape (K,): ``n (n - 1) / 2`` where all rows are paired."""
        return self.genuine[:, -1].astype(np.int64)

    @property
    def impostor_pairs(self) -> Ints:
        """Impostor pairs of each class, shape (K,): ``n (N - n)`` where all rows are paired."""
        return self.impostor[:, -1].astype(np.int64)

    @property
    def genuine_total(self) -> int:
        """All genuine pairs."""
        return int(self.pooled_genuine[-1])

    @property
    def impostor_total(self) -> int:
        """All impostor pairs, each once."""
        return int(self.pooled_impostor[-1])

    @property
    def pooled_far(self) -> Curve:
        """Accepted share of all impostor pairs, each once, at every threshold, shape (T,)."""
        return np.asarray(self.pooled_impostor / self.impostor_total)

    @property
    def pooled_frr(self) -> Curve:
        """Rejected share of all genuine pairs at every threshold, shape (T,)."""
        return np.asarray((self.genuine_total - self.pooled_genuine) / self.genuine_total)

    @property
    def evaluable(self) -> NDArray[np.bool_]:
        """Which classes have pairs of both kinds, shape (K,)."""
        return (self.genuine_pairs > 0) & (self.impostor_pairs > 0)

    @property
    def searchers(self) -> Ints:
        """Rows of each class that have a genuine row to find, shape (K,)."""
        return np.where(self.evaluable, self.sizes, 0) if self.searches is None else self.searches

    @property
    def classes_are_units(self) -> bool:
        """Whether a genuine pair lies in one class and an impostor pair in two.

        So it is where rows are paired among themselves. A pair may lie inside a group, or join two,
        whatever its kind; and the rows of a gallery are credited to nobody.
        """
        return (
            int(self.genuine_pairs.sum()) == self.genuine_total
            and int(self.impostor_pairs.sum()) == 2 * self.impostor_total
        )
