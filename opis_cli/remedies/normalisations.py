"""Score normalisations, each fitted on a cohort of rows: snorm, asnorm, csls, fsn, group.

Let ``s`` be the cosine similarity of rows ``a`` and ``b``.

======== =============================================================================
snorm    ``((s - mu_a) / sd_a + (s - mu_b) / sd_b) / 2``; mu and sd of a row are the mean
         and the standard deviation of its similarity to the cohort
asnorm:n the same with the ``n`` rows of the cohort that are closest to the row
csls:k   ``2 s - r_a - r_b``; r of a row is its mean similarity to the k closest
fsn:c    ``s - (o_a + o_b) / 2``; o is the offset of the row's cluster: the similarity that
         holds the bound on the FAR for pairs with a row of the cluster, less the
         similarity that holds it for all pairs
group    ``s - max(o_a, o_b)``; o is the offset of the row's group: the similarity that holds
         the bound for pairs within the group, less the one that holds it for all pairs. So
         one threshold is a threshold for each group, and the stricter one across groups
======== =============================================================================

Rows of the cohort that have the class of the row itself never count. A row needs one or two numbers
of its own, and the score is an inner product of two forms of the rows: a *query* form and a
*gallery* form (see ``forms``).

Sources: Matejka et al., *Analysis of score normalization in multilingual speaker recognition*,
Interspeech 2017 (``asnorm``); Conneau et al., *Word translation without parallel data*, ICLR 2018
(``csls``); Terhörst et al., *Post-comparison mitigation of demographic bias in face recognition
using fair score normalization*, 2020 (``fsn``).
"""

import math
import warnings
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from opis_cli.counting.calibration import MIN_PAIRS_PER_ERROR
from opis_cli.errors import InputError
from opis_cli.records import Ints
from opis_cli.remedies.recipes import Step

Doubles = NDArray[np.float64]
Forms = tuple[Doubles, Doubles]
"""The query form and the gallery form of rows."""

COHORT_ROWS = 10_000
"""Most rows of a cohort. A query is compared with all of them."""
LEVEL_ROWS = 5_000
"""Most rows of a cohort whose pairs give the thresholds of ``fsn`` and ``group``."""
_CHUNK_VALUES = 8_000_000
_LEAST_DEVIATION = 1e-6
"""Least standard deviation of a row's similarities: equal ones would divide by nothing."""
MOST_GROUPS = 64
"""Most groups of ``group``. Each is a dimension of the forms."""


@dataclass(frozen=True, slots=True, eq=False)
class Cohort:
    """Rows that others are compared with.

    Attributes
    ----------
    units : ndarray of shape (M, D), float32
        Unit vectors.
    classes : ndarray of shape (M,), int64
        Index of each row's class in ``names``.
    names : ndarray of shape (K,), str
        Names of the classes, sorted.
    """

    units: NDArray[np.float32]
    classes: Ints
    names: NDArray[np.str_]

    def codes_of(self, classes: NDArray[np.str_]) -> Ints:
        """Return the index of each class name in ``names``, or -1 if the cohort lacks it."""
        return index_of(self.names, classes)


def index_of(names: NDArray[np.str_], wanted: NDArray[np.str_]) -> Ints:
    """Return the index of each wanted name in sorted names, or -1."""
    places = np.minimum(np.searchsorted(names, wanted), len(names) - 1)
    return np.where(names[places] == wanted, places, -1)


@dataclass(frozen=True, slots=True, eq=False)
class Normalisation:
    """A fitted score normalisation.

    Attributes
    ----------
    step : Step
    cohort : Cohort, optional
        None for ``fsn`` and ``group``.
    centroids : ndarray of shape (C, D), float64, optional
        Centres of the clusters of ``fsn``.
    groups : ndarray of shape (C,), str, optional
        Names of the groups of ``group``, sorted.
    offsets : ndarray of shape (C,), float64, optional
        Offset of each cluster or group, in cosine similarity.
    balance : float
        What the parts of both forms of ``snorm`` and ``asnorm`` are multiplied or divided by, so
        that neither form is long: a float32 product of long vectors is not exact.
    """

    step: Step
    cohort: Cohort | None = None
    centroids: Doubles | None = None
    groups: NDArray[np.str_] | None = None
    offsets: Doubles | None = None
    balance: float = 1.0

    def numbers(
        self,
        units: Doubles,
        classes: NDArray[np.str_] | None = None,
        groups: NDArray[np.str_] | None = None,
    ) -> Doubles:
        """Return the numbers of rows.

        Parameters
        ----------
        units : ndarray of shape (N, D), float64
            Unit vectors.
        classes : ndarray of shape (N,), str, optional
            Class name of each row: cohort rows of the same name do not count for it.
        groups : ndarray of shape (N,), str, optional
            Group of each row, for ``group``. A group that it does not know has the offset 0.

        Returns
        -------
        ndarray of shape (N, 2) or (N, 1), float64
            Mean and standard deviation for ``snorm`` and ``asnorm``. Index of the group for
            ``group``, which is the number of groups if it is not known. Else what is subtracted
            from the score for the row: r of ``csls``, half the offset of ``fsn``.

        Raises
        ------
        InputError
            The normalisation needs groups, and there are none.
        """
        if self.groups is not None:
            if groups is None:
                raise InputError(
                    "the remedy has thresholds by group, and these rows have no groups; name their "
                    "column with --group-column"
                )
            places = index_of(self.groups, groups)
            return np.where(places < 0, len(self.groups), places)[:, None].astype(np.float64)
        if self.centroids is not None and self.offsets is not None:
            return self.offsets[nearest_centroid(units, self.centroids)][:, None] / 2
        assert self.cohort is not None
        own = None if classes is None else self.cohort.codes_of(classes)
        count = None if self.step.kind == "snorm" else self.step.whole_number
        means, deviations = closest(units, self.cohort, count, own)
        if self.step.kind == "csls":
            return means[:, None]
        return np.stack([means, deviations], axis=1)

    def forms(self, units: Doubles, numbers: Doubles) -> Forms:
        """Return the query form and the gallery form of rows.

        The inner product of the query form of a row and the gallery form of another is the score
        of the two, and so is that of their other forms.

        Returns
        -------
        pair of ndarrays of shape (N, ``width(D)``)
        """
        if self.offsets is not None and self.groups is not None:
            offsets, codes = np.append(self.offsets, 0.0), numbers[:, 0].astype(int)
            own = np.eye(len(offsets))[codes]
            stricter = np.maximum(offsets[codes, None], offsets)
            return np.hstack([units, own]), np.hstack([units, -stricter])
        one = np.ones((len(units), 1))
        if self.step.kind in ("snorm", "asnorm"):
            mean, deviation = numbers[:, :1], numbers[:, 1:]
            scaled = self.balance * np.hstack([units, -mean]) / deviation
            plain = np.hstack([units, one]) / self.balance
            return np.hstack([scaled, plain]) / 2, np.hstack([plain, scaled])
        factor = 2.0 if self.step.kind == "csls" else 1.0
        return np.hstack([factor * units, -numbers, one]), np.hstack([units, one, -numbers])

    @property
    def number_names(self) -> tuple[str, ...]:
        """What the numbers of a row are called."""
        if self.groups is not None:
            return ("group_index",)
        if self.centroids is not None:
            return ("half_offset",)
        return (
            ("closest_mean",) if self.step.kind == "csls" else ("cohort_mean", "cohort_deviation")
        )

    def width(self, dim: int) -> int:
        """Return the number of dimensions of a form, for vectors of ``dim`` dimensions."""
        if self.groups is not None:
            return dim + len(self.groups) + 1
        return 2 * dim + 2 if self.step.kind in ("snorm", "asnorm") else dim + 2


def fit_normalisation(
    step: Step,
    cohort: Cohort,
    max_far: float,
    seed: int,
    groups: NDArray[np.str_] | None = None,
) -> Normalisation:
    """Fit a normalisation on a cohort.

    Parameters
    ----------
    step : Step
    cohort : Cohort
    max_far : float
        Bound on the FAR that ``fsn`` and ``group`` hold alike for all clusters or groups.
    seed : int
        Seed of the clusters of ``fsn``.
    groups : ndarray of shape (M,), str, optional
        Group of each row of the cohort.

    Raises
    ------
    InputError
        The cohort has too few rows of other classes, too few rows for so many clusters, or no
        groups.
    """
    if step.kind == "group":
        if groups is None:
            raise InputError(
                "group needs the groups of the rows; name their column with --group-column"
            )
        names = np.unique(groups[groups != ""])
        if not 1 < len(names) <= MOST_GROUPS:
            raise InputError(f"group needs 2 to {MOST_GROUPS} groups, and there are {len(names):,}")
        parts = index_of(names, groups)
        return Normalisation(
            step, groups=names, offsets=offsets_of(cohort, parts, max_far, inside=True)
        )
    if step.kind == "fsn":
        centroids = _clusters(cohort.units.astype(np.float64), step.whole_number, seed)
        clusters = nearest_centroid(cohort.units.astype(np.float64), centroids)
        return Normalisation(
            step, centroids=centroids, offsets=offsets_of(cohort, clusters, max_far)
        )
    others = len(cohort.classes) - int(np.bincount(cohort.classes).max())
    needed = 2 if step.kind == "snorm" else step.whole_number
    if others < needed:
        hint = f"; {step.kind}:{others} would do" if step.number and others else ""
        raise InputError(
            f"{step} needs a cohort of {needed:,} rows of other classes, and there are "
            f"{others:,}{hint}"
        )
    if step.kind == "csls":
        return Normalisation(step, cohort)
    count = None if step.kind == "snorm" else step.whole_number
    deviations = closest(cohort.units.astype(np.float64), cohort, count, cohort.classes)[1]
    return Normalisation(step, cohort, balance=float(np.sqrt(deviations.min())))


def closest(
    units: Doubles, cohort: Cohort, count: int | None, own: Ints | None
) -> tuple[Doubles, Doubles]:
    """Return the mean and the standard deviation of the similarities to the closest cohort rows.

    Parameters
    ----------
    units : ndarray of shape (N, D), float64
    cohort : Cohort
    count : int, optional
        Number of closest rows. None takes all rows of other classes.
    own : ndarray of shape (N,), int64, optional
        Index of each row's class in the cohort, or -1.
    """
    means, deviations = np.empty(len(units)), np.empty(len(units))
    step = max(1, _CHUNK_VALUES // len(cohort.units))
    for start in range(0, len(units), step):
        part = slice(start, start + step)
        scores = units[part].astype(np.float32) @ cohort.units.T
        if own is not None:
            scores[own[part, None] == cohort.classes] = -np.inf
        if count is not None:
            scores = np.partition(scores, scores.shape[1] - count, axis=1)[:, -count:]
        there = np.isfinite(scores)
        sizes = there.sum(axis=1)
        doubles = np.where(there, scores, 0.0).astype(np.float64)
        mean = doubles.sum(axis=1) / sizes
        squares = np.where(there, (doubles - mean[:, None]) ** 2, 0.0).sum(axis=1) / sizes
        means[part], deviations[part] = mean, np.maximum(np.sqrt(squares), _LEAST_DEVIATION)
    return means, deviations


def nearest_centroid(units: Doubles, centroids: Doubles) -> Ints:
    """Return the index of the nearest centroid of each row, shape (N,)."""
    lost = np.square(centroids).sum(axis=1) / 2 - units @ centroids.T
    return np.asarray(lost.argmin(axis=1))


def _clusters(units: Doubles, count: int, seed: int) -> Doubles:
    """Return the centres of clusters by k-means, each of at least one row, shape (C, D)."""
    from scipy.cluster.vq import kmeans2

    if len(units) < 2 * count:
        raise InputError(
            f"fsn:{count} needs two rows for each cluster, and the cohort has {len(units):,}; "
            f"fsn:{max(1, len(units) // 20)} would do"
        )
    with warnings.catch_warnings():
        # A cluster that lost all its rows is left out below.
        warnings.simplefilter("ignore")
        centroids, clusters = kmeans2(units, count, minit="++", rng=np.random.default_rng(seed))
    return np.asarray(centroids[np.unique(clusters)])


def offsets_of(cohort: Cohort, parts: Ints, max_far: float, *, inside: bool = False) -> Doubles:
    """Return the offset of each part of a cohort: its own threshold less that of all pairs.

    A threshold is the largest similarity that more than the allowed share of impostor pairs reach.
    If the cohort has more than ``LEVEL_ROWS`` rows, some of them, drawn at random, give it. A part
    with too few pairs to resolve the bound has the offset 0.

    Parameters
    ----------
    cohort : Cohort
    parts : ndarray of shape (M,), int64
        Number of the part of each row, from 0: of its cluster or group. -1 if it is in none.
    max_far : float
    inside : bool
        Whether the pairs of a part are those of two of its rows. Else they are those of each of its
        rows with every row of another class.

    Returns
    -------
    ndarray of shape (C,), float64
        In cosine similarity.
    """
    levels = np.full(int(parts.max()) + 1, np.nan)
    everything = []
    if len(parts) > LEVEL_ROWS:
        some = np.sort(np.random.default_rng(0).permutation(len(parts))[:LEVEL_ROWS])
        cohort, parts = (
            replace(cohort, units=cohort.units[some], classes=cohort.classes[some]),
            parts[some],
        )
    for part in range(-1, len(levels)):
        rows = np.flatnonzero(parts == part)
        whole, found = _impostors(cohort, rows, rows if inside else None)
        everything.append(whole)
        if part < 0:
            continue
        # Two rows of one part make a pair twice where all of its pairs are inside.
        if len(found) * max_far >= MIN_PAIRS_PER_ERROR * (2 if inside else 1):
            levels[part] = _level(found, max_far)
    of_all = _level(np.concatenate(everything), max_far)
    return np.where(np.isnan(levels), 0.0, levels - of_all)


def _impostors(
    cohort: Cohort, rows: Ints, among: Ints | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the similarities of some rows to all rows of other classes, and to those ``among``."""
    step = max(1, _CHUNK_VALUES // len(cohort.units))
    all_of, some_of = [np.empty(0, np.float32)], [np.empty(0, np.float32)]
    for start in range(0, len(rows), step):
        some = rows[start : start + step]
        scores = cohort.units[some] @ cohort.units.T
        others = cohort.classes[some, None] != cohort.classes
        all_of.append(scores[others])
        if among is not None:
            some_of.append(scores[:, among][others[:, among]])
    whole = np.concatenate(all_of)
    return whole, whole if among is None else np.concatenate(some_of)


def _level(scores: NDArray[np.float32], max_far: float) -> float:
    """Return the largest similarity that more than a share ``max_far`` of scores reach."""
    allowed = min(math.floor(max_far * len(scores) * (1 + 1e-12)), len(scores) - 1)
    place = len(scores) - 1 - allowed
    return float(np.partition(scores, place)[place])
