"""The records that the parts of opis exchange, and the order of these parts.

The table lists each part with its input and its output. A part imports only from itself and from
the parts above it. ::

    embeddings/   files, arrays                      --> Embeddings
    counting/     Embeddings, or scored pairs        --> PairCounts
    evidence/     Embeddings, PairCounts             --> the pairs and rows behind the rates
    scoring/      PairCounts                         --> curves, OPIS, rates, Recommendation
    statistics/   PairCounts, draws of classes       --> intervals, bounds with confidence
    report/       all of these                       --> Report, Evaluation, tables, threshold.json
    comparing.py  vectors                            --> distances of given pairs
    threshold.py  threshold.json                     --> Threshold, which decides pairs
    deciding/     Threshold, a table of pairs        --> the table with decisions
    judging/      Evaluations and limits             --> Verdict, Comparison
    remedies/     Embeddings                         --> Trial; Fitted, which changes Embeddings
    render/       Evaluation, Verdict, Comparison    --> pictures, pages, text
    run.py        Run: an Evaluation with methods to plot, save and load it
    comparison.py compare: several runs beside the first one
    migration.py  migrate: the threshold of a new model, and the decisions that change
    pipeline.py   evaluate: reads, counts and scores
    torch.py      the metric for training
    cli/          the commands

Three rules hold everywhere:

1. Only counting is expensive. ``PairCounts`` hold integers that can be added over tiles, threads
   and machines. All code after counting is cheap and pure, and it never reads a vector.
2. Imports go one way. Only ``cli``, ``render/terminal`` and ``__main__.py`` know the terminal.
3. An engine is a function from prepared rows, a grid and tiles to counts.

Terms: a pair of rows is *genuine* if their labels are equal, and an *impostor* pair otherwise. A
pair is *accepted* at threshold ``t`` if and only if its distance is at most ``t``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from opis_cli.settings import Metric

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]
Numbers = NDArray[np.number[Any]]


Curve = NDArray[np.float64]


Ends = tuple[float, float]


@dataclass(frozen=True, slots=True)
class InputWarning:
    """A doubt about the data that were read.

    Attributes
    ----------
    kind : {"noise_label", "one_class_dominates", "boolean_labels", "label_conflict", ...}
        What is doubted.
    text : str
        The doubt in words, and what to do.
    classes : tuple of int or str, optional
        Labels that it is about.
    rows : tuple of int, optional
        Numbers of the first rows that it is about. Those of ``label_conflict`` are pairs of rows,
        one pair behind the other, and ``classes`` has the label of each row.
    """

    kind: Literal[
        "noise_label",
        "one_class_dominates",
        "boolean_labels",
        "label_conflict",
        "wrong_direction",
        "overlap_with_gallery",
        "opis_is_noise",
        "packed_bits",
        "column_pattern",
        "fitted_on_these_rows",
    ]
    text: str
    classes: tuple[int | str, ...] | None = None
    rows: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """Where embeddings came from.

    Attributes
    ----------
    path : str
    sha256 : str
        Digest of the bytes of the embeddings file. For a folder, digest of all parts in the order
        of their names. For arrays and for a sample of rows, digest of the arrays' bytes: opis does
        not read the rows that are not in the sample.
    labels_sha256 : str, optional
        Digest of a separate labels file.
    gallery : Source, optional
        Source of the gallery, if the rows are searched in one.
    parts : tuple of str
        The paths that the user gave, if there were several.
    embedding_column, label_column : str, optional
        The columns that were read, or the pattern of columns, if the files have columns.
    remedy, remedy_sha256 : str, optional
        Name and digest of the remedy that changed the vectors, if there is one.
    """

    path: str
    sha256: str
    labels_sha256: str | None = None
    gallery: "Source | None" = None
    parts: tuple[str, ...] = ()
    embedding_column: str | None = None
    label_column: str | None = None
    remedy: str | None = None
    remedy_sha256: str | None = None

    @property
    def digests(self) -> tuple[str | None, ...]:
        """Digests of all files: embeddings, labels, a remedy, and the first two of the gallery."""
        own: tuple[str | None, ...] = self.sha256, self.labels_sha256
        if self.remedy_sha256 is not None:
            own += (self.remedy_sha256,)
        return own if self.gallery is None else own + self.gallery.digests


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """A column other than the labels, such as a customer, a camera or a session.

    Attributes
    ----------
    codes : ndarray of shape (N,), int64
        Index of each row's value in ``names``. It is -1 if the row has no value.
    names : ndarray of shape (K,), int64 or str objects
        Distinct values, sorted.
    """

    codes: Ints
    names: NDArray[Any]


@dataclass(frozen=True, slots=True)
class SampledFrom:
    """What a sample of rows was drawn from.

    Attributes
    ----------
    rows, classes : int
        Numbers of rows and of classes of the source.
    max_pairs : int
        Most pairs that the sample might have.
    tenants : int, optional
        Number of tenants of the source, if whole tenants were drawn and not whole classes.
    """

    rows: int
    classes: int
    max_pairs: int
    tenants: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """Clean embeddings with their labels, in the order of the source.

    Attributes
    ----------
    vectors : ndarray of shape (N, D), floats or 8-bit integers
        One vector per row, possibly memory-mapped. All values are finite. No vector is zero if the
        metric is cosine. If the metric is Hamming, these are packed bits: uint8.
    labels : ndarray of shape (N,), int64
        Index of each row's class in ``class_names``.
    class_names : ndarray of shape (K,), int64 or str objects
        Distinct labels as the user wrote them, sorted.
    rows : ndarray of shape (N,), int64
        Row number of each vector in the source, from 0.
    dropped_rows : int
        Number of bad rows that were left out on request.
    source : Source
    columns : mapping of names to Column
        The columns that settings name, and those to show.
    gallery_rows : int, optional
        Number of gallery rows. They are the last rows, and the rows before them are the queries.
    ignored_rows : int
        Number of rows with the ignored label.
    sampled_from : SampledFrom, optional
        What the rows were drawn from, if they are a sample.
    bits : int, optional
        Number of bits of a vector, if the metric is Hamming.
    bits_of_number : {1, 8}, optional
        Number of bits that each number of the source holds, if the metric is Hamming.
    warnings : tuple of InputWarning
        Doubts that reading raised.
    labelled : bool
        Whether the source has labels. Else each row is a class of its own, named by its number.
    partners : ndarray of shape (N, D), float32, optional
        The rows in the form in which others are compared with them, under the metric dot: the inner
        product of ``vectors[i]`` and ``partners[j]`` is also that of ``vectors[j]`` and
        ``partners[i]``. Without it, both forms are ``vectors``.
    """

    vectors: Numbers
    labels: Ints
    class_names: NDArray[Any]
    rows: Ints
    dropped_rows: int
    source: Source
    columns: Mapping[str, Column] = field(default_factory=dict)
    gallery_rows: int | None = None
    ignored_rows: int = 0
    sampled_from: SampledFrom | None = None
    bits: int | None = None
    bits_of_number: int | None = None
    warnings: tuple[InputWarning, ...] = ()
    labelled: bool = True
    partners: NDArray[np.float32] | None = None

    @property
    def dim(self) -> int:
        """Number of dimensions of a vector, D. For the Hamming metric, number of its bits."""
        return int(self.vectors.shape[1]) if self.bits is None else self.bits


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """The thresholds at which pairs are counted.

    Pooled counts exist at every threshold. The first ``window`` thresholds are the *window*, where
    decisions are made. Counts by class exist at every threshold of the window, but only at a few
    thresholds beyond it. ``axis.py`` estimates the curve of a class between these few.

    Attributes
    ----------
    thresholds : ndarray of shape (T,), float64
        Distances, strictly increasing. The last one accepts every pair that has a distance.
    window : int
        Number of thresholds in the window, counted from the smallest.
    by_class : ndarray of shape (C,), int64
        Indices into ``thresholds`` at which counts by class exist: all of the window, then a few
        beyond it, always with the last threshold.
    """

    thresholds: NDArray[np.float64]
    window: int
    by_class: Ints

    @property
    def class_thresholds(self) -> NDArray[np.float64]:
        """Thresholds with counts by class, shape (C,)."""
        return self.thresholds[self.by_class]

    def columns_between(self, low: float, high: float) -> Ints:
        """Return the indices of the ``class_thresholds`` in ``[low, high]``."""
        thresholds = self.class_thresholds
        return np.flatnonzero((thresholds >= low) & (thresholds <= high))

    def index_at(self, threshold: float) -> int:
        """Return the index of the first threshold that is at least ``threshold``.

        The last threshold accepts every pair, and so does each larger one. For this reason the
        result for a larger threshold is the index of the last.
        """
        last = len(self.thresholds) - 1
        return min(int(np.searchsorted(self.thresholds, threshold)), last)

    def column_of(self, threshold: float) -> int | None:
        """Return the index of a threshold in ``class_thresholds``, or None if it is not there.

        For a threshold beyond the last, the result is the index of the last.
        """
        thresholds = self.class_thresholds
        wanted = min(threshold, float(thresholds[-1]))
        column = int(np.searchsorted(thresholds, wanted))
        return column if thresholds[column] == wanted else None

    @property
    def class_cell(self) -> Ints:
        """Index in ``class_thresholds`` of the first that is at least each threshold, (T,)."""
        return np.asarray(np.searchsorted(self.by_class, np.arange(len(self.thresholds))))


@dataclass(frozen=True, slots=True, eq=False)
class Halves:
    """Accepted pairs of classes that were split at random into two halves.

    Attributes
    ----------
    classes : ndarray of shape (S,), int64
        Indices of the classes that were split.
    sizes : ndarray of shape (2, S), int64
        Number of rows in each half.
    thresholds : ndarray of shape (P,), float64
        Thresholds of the calibration range.
    genuine : ndarray of shape (2, S, P), unsigned integers
        Accepted genuine pairs of two rows of the same half.
    impostor : ndarray of shape (2, S, P), unsigned integers
        Accepted impostor pairs of a row of the half and a row of a sample of other classes.
    impostor_pairs : ndarray of shape (2, S), int64
        Number of impostor pairs of each half, accepted or not.
    """

    classes: Ints
    sizes: Ints
    thresholds: NDArray[np.float64]
    genuine: Ints
    impostor: Ints
    impostor_pairs: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Accepted pairs inside each of two random halves of the rows, which share no row.

    A class below is a group if the settings name a group column.

    Attributes
    ----------
    classes : ndarray of shape (S,), int64
        Indices of the classes with pairs of both kinds in both halves.
    thresholds : ndarray of shape (P,), float64
        Distances, strictly increasing. The last one accepts every pair, so the counts there are the
        totals.
    genuine, impostor : ndarray of shape (2, S, P), unsigned integers
        Accepted pairs of each class in each half.
    """

    classes: Ints
    thresholds: NDArray[np.float64]
    genuine: Ints
    impostor: Ints


@dataclass(frozen=True, slots=True, eq=False)
class GroupPairs:
    """Accepted pairs by pair of groups.

    Each pair is in one of the P pairs of groups, so their counts sum to those of all pairs. With a
    gallery, the first group is that of the query. Else it is the one with the lower number.

    Attributes
    ----------
    names : ndarray of shape (n,)
        Names of the groups that have counts of their own, sorted.
    others : int
        Number of groups that are taken together as one more, whose number is n. 0 if all groups
        have counts of their own.
    thresholds : ndarray of shape (C,), float64
        Distances, strictly increasing. The last one accepts every pair that has a distance.
    one, two : ndarray of shape (P,), int64
        Numbers of the two groups of each pair of groups that has pairs. They are equal for the
        pairs within a group.
    genuine, impostor : ndarray of shape (P, C), int64
        Accepted pairs at each threshold.
    genuine_pairs, impostor_pairs : ndarray of shape (P,), int64
        All pairs, also those without a score.
    """

    names: NDArray[Any]
    others: int
    thresholds: NDArray[np.float64]
    one: Ints
    two: Ints
    genuine: Ints
    impostor: Ints
    genuine_pairs: Ints
    impostor_pairs: Ints

    @property
    def number(self) -> int:
        """Number of groups, G, with the one that takes others together."""
        return len(self.names) + (self.others > 0)

    @property
    def within(self) -> NDArray[np.bool_]:
        """Whether both rows of the pairs are of the same group, shape (P,).

        Pairs of two of the groups that are taken together are across groups or not: it is unknown,
        and they pass for pairs within a group.
        """
        return np.asarray(self.one == self.two)


@dataclass(frozen=True, slots=True, eq=False)
class PairCounts:
    """The number of accepted pairs at each threshold. All later stages use only these counts.

    An impostor pair belongs to two classes, so ``impostor`` counts it for both. The pooled counts
    contain every pair once. The last threshold accepts every pair that has a distance, so the
    counts at the last threshold and the pairs without a score are the totals.

    If the settings name a group column, a *class* below is a group: a pair counts for the group of
    each of its rows. A pair of a query and a gallery row counts only for the class or group of the
    query.

    Attributes
    ----------
    grid : Grid
    metric : Metric
        Metric of the thresholds.
    unit : bool
        Whether a threshold has an equivalent for unit vectors. This is always true for cosine. It
        is true for the Euclidean metric if the vectors have unit length.
    class_names : ndarray of shape (K,)
    sizes : ndarray of shape (K,), int64
        Number of rows of each class.
    genuine, impostor : ndarray of shape (K, C), unsigned integers
        Accepted pairs of each class at ``grid.class_thresholds``.
    pooled_genuine, pooled_impostor : ndarray of shape (T,), int64
        Accepted pairs at ``grid.thresholds``.
    nearest_hits : ndarray of shape (K,), int64
        Number of rows of each class whose nearest other row has the same label.
    rounding : float
        Largest rounding error: of a distance under cosine, of half a squared distance under
        Euclidean. 0 for Hamming distances and scored pairs.
    searches : ndarray of shape (K,), int64, optional
        Number of rows of each class that have a genuine pair. If it is None, ``searchers`` takes
        all rows of every evaluable class.
    excluded : int
        Number of pairs that were left out.
    open_set : ndarray of shape (T,), int64, optional
        Number of queries without a genuine pair that accept a gallery row, at ``grid.thresholds``.
        None if there is no gallery.
    answered : ndarray of shape (T,), int64, optional
        Number of rows (of queries, with a gallery) that accept their nearest other row, at
        ``grid.thresholds``. None for scored pairs, whose rows are unknown.
    right_answers : ndarray of shape (T,), int64, optional
        Number of those whose nearest other row has the same label.
    duplicates : ndarray, int64, optional
        Numbers of the rows that equal another row. None if counting did not look for them.
    conflicts : ndarray of shape (n, 2), int64, optional
        Numbers of the rows of the first impostor pairs at distance 0, in ascending order. With a
        gallery, a query and a gallery row. None if counting did not look for them.
    folds : ndarray of shape (K,), int64, optional
        Fold of each class, if the classes were split into folds.
    inside : ndarray of shape (folds, T), int64, optional
        Accepted impostor pairs whose two rows lie in the same fold, at ``grid.thresholds``.
    borderline_genuine, borderline_impostor : ndarray of shape (T,), int64, optional
        Accepted pairs within a rounding error of each of ``grid.thresholds``, which exact
        arithmetic may reject. None if they were not counted.
    halves : Halves, optional
        None if some two rows are not a pair, or if no class has enough rows.
    split : Split, optional
        None if some two rows are not a pair, or if fewer than two classes could be split.
    genuine_beyond : ndarray of shape (K, T - grid.window), unsigned integers, optional
        Accepted genuine pairs of each class at every threshold beyond the window. None if
        ``genuine`` contains these thresholds.
    estimated : ndarray of shape (C,), bool, optional
        Whether ``impostor`` is an estimate at each of ``grid.class_thresholds``. None if all
        impostor pairs were counted, which is so in every run. Only ``axis.over_whole_axis``
        estimates.
    unscored : ndarray of shape (2,), int64, optional
        Numbers of genuine and impostor pairs that no threshold accepts, because they have no
        score. None if there are no such pairs.
    unscored_by_class : ndarray of shape (2, K), int64, optional
        The same by class.
    group_pairs : GroupPairs, optional
        Accepted pairs by pair of groups. None without groups, if rows of the gallery have no group,
        and in counts of an older opis.
    tenants_drawn : bool
        Whether the rows are those of tenants that were drawn at random.
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
    answered: Ints | None = None
    right_answers: Ints | None = None
    duplicates: Ints | None = None
    conflicts: Ints | None = None
    folds: Ints | None = None
    inside: Ints | None = None
    borderline_genuine: Ints | None = None
    borderline_impostor: Ints | None = None
    halves: Halves | None = None
    split: Split | None = None
    genuine_beyond: Ints | None = None
    estimated: NDArray[np.bool_] | None = None
    unscored: Ints | None = None
    unscored_by_class: Ints | None = None
    group_pairs: GroupPairs | None = None
    tenants_drawn: bool = False

    @property
    def rows(self) -> int:
        """Number of rows whose class gets their pairs, N. With a gallery these are the queries."""
        return int(self.sizes.sum())

    @property
    def genuine_pairs(self) -> Ints:
        """Number of genuine pairs of each class, shape (K,): ``n (n - 1) / 2`` if all count."""
        return self._pairs_of_classes(0, self.genuine)

    @property
    def impostor_pairs(self) -> Ints:
        """Number of impostor pairs of each class, shape (K,): ``n (N - n)`` if all count."""
        return self._pairs_of_classes(1, self.impostor)

    @property
    def genuine_total(self) -> int:
        """Number of all genuine pairs."""
        return int(self.pooled_genuine[-1]) + self._unscored(0)

    @property
    def impostor_total(self) -> int:
        """Number of all impostor pairs. Each pair counts once."""
        return int(self.pooled_impostor[-1]) + self._unscored(1)

    def _unscored(self, kind: int) -> int:
        return 0 if self.unscored is None else int(self.unscored[kind])

    def _pairs_of_classes(self, kind: int, accepted: Ints) -> Ints:
        without = 0 if self.unscored_by_class is None else self.unscored_by_class[kind]
        return np.asarray(accepted[:, -1].astype(np.int64) + without)

    @property
    def pooled_far(self) -> Curve:
        """Pooled FAR at every threshold: accepted share of all impostor pairs, shape (T,)."""
        return np.asarray(self.pooled_impostor / self.impostor_total)

    @property
    def pooled_frr(self) -> Curve:
        """Pooled FRR at every threshold: rejected share of all genuine pairs, shape (T,)."""
        return np.asarray((self.genuine_total - self.pooled_genuine) / self.genuine_total)

    @property
    def evaluable(self) -> NDArray[np.bool_]:
        """Whether each class has both genuine and impostor pairs, shape (K,)."""
        return (self.genuine_pairs > 0) & (self.impostor_pairs > 0)

    @property
    def searchers(self) -> Ints:
        """Number of rows of each class that have a genuine pair, shape (K,)."""
        return np.where(self.evaluable, self.sizes, 0) if self.searches is None else self.searches

    @property
    def classes_are_units(self) -> bool:
        """Whether figures vary with the classes, each with all pairs of its rows.

        Each genuine pair must count for one class and each impostor pair for two. This holds if
        pairs are counted by class and there is no gallery. It does not hold for groups: a genuine
        or impostor pair may lie in one group or in two. It does not hold with a gallery: a pair
        counts only for the query. Classes are no units either if whole tenants were drawn: figures
        then vary with the tenants.
        """
        return (
            not self.tenants_drawn
            and int(self.genuine_pairs.sum()) == self.genuine_total
            and int(self.impostor_pairs.sum()) == 2 * self.impostor_total
        )
