"""Decide pairs by a ``threshold.json``, in your own code. It needs nothing heavier than NumPy.

>>> rule = opis.load_threshold("runs/today/threshold.json")
>>> rule.accept(a, b)                                    # rows of vectors, pair by pair
>>> rule.accept_scores(similarities, "cosine_similarity")  # what a database returned
>>> rule.limits["squared_euclidean_unit"]                  # the number to give to a database

``opis_cli.scoring.scales`` says which scales there are. A file has those that its metric has.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from opis_cli.comparing import distances_by_row, distances_by_tile
from opis_cli.counting.single_pairs import sides_of
from opis_cli.errors import InputError, SettingsError
from opis_cli.records import Numbers
from opis_cli.report.threshold_record import ThresholdFile, load_threshold_file
from opis_cli.scoring.scales import known_scale, limits, own_scale, to_own
from opis_cli.text import CLOSER_ABOVE, SCORED, as_known, rule
from opis_cli.values import parse_size

if TYPE_CHECKING:
    from opis_cli.remedies.artefact import Remedy

Doubles = NDArray[np.float64]
Flags = NDArray[np.bool_]
Groups = tuple[Any, Any] | None


@dataclass(frozen=True, slots=True, repr=False)
class Threshold:
    """The threshold of a ``threshold.json``, and what it decides.

    Numbers are compared in float32, as ``evaluate`` compares them: what equals the threshold there
    is accepted. Pairs of vectors are compared in float64. So exactly the pairs that ``evaluate``
    counted are accepted, but for those within its rounding (``borderline`` in the report).

    Attributes
    ----------
    rule : ThresholdFile
        The content of the file.
    remedy : Remedy, optional
        The remedy that changes vectors first.
    """

    rule: ThresholdFile
    remedy: "Remedy | None" = None

    def __repr__(self) -> str:
        return f"<Threshold: {rule(self.rule.distance, self.rule.metric)}>"

    @property
    def limits(self) -> dict[str, float]:
        """The threshold on each scale that it has, as numbers for a database or for other code.

        On the scales ``score`` and ``cosine_similarity`` a pair is accepted from this number on up,
        on the others up to it.
        """
        return self._limits(self.rule.distance)

    def compare(self, a: Any, b: Any) -> Doubles:
        """Return the number of each pair of vectors on the own scale of the file.

        Parameters
        ----------
        a, b : array-like of shape (n, D), or (D,)
            Vectors: row ``i`` of ``a`` makes a pair with row ``i`` of ``b``. A single vector makes
            a pair with every row of the other side. Under the metric ``hamming`` they are bits, in
            the forms that ``evaluate`` takes.

        Returns
        -------
        ndarray of shape (n,), float64
            Distances, or inner products under the metric ``dot``. If both are single vectors, the
            shape is ().

        Raises
        ------
        SettingsError
            The file is of scored pairs.
        InputError
            The shapes do not fit, or a vector is not usable.
        """
        single = np.ndim(a) == 1 and np.ndim(b) == 1
        left, right = self._vectors(a, b)
        found = distances_by_row(left, right, self.rule.metric, self.remedy)
        found = np.asarray(as_known(found, self.rule.metric))
        return found[0] if single else found

    def accept(self, a: Any, b: Any, *, groups: Groups = None) -> Flags:
        """Return which pairs of vectors are accepted.

        The parameters ``a`` and ``b``, the shape of the result and the errors are those of
        ``compare``, and ``groups`` is that of ``accept_scores``.
        """
        return self.accept_scores(self.compare(a, b), groups=groups)

    def accept_all(self, a: Any, b: Any, *, memory_limit: str | int = "1GB") -> Flags:
        """Return which pairs of all vectors of one side with all of the other are accepted.

        Parameters
        ----------
        a : array-like of shape (n, D)
        b : array-like of shape (m, D)
        memory_limit : str or int
            Most bytes of the result, such as "4GB". A pair takes one byte.

        Returns
        -------
        ndarray of shape (n, m), bool

        Raises
        ------
        SettingsError
            The result is larger than the limit, or the file is of scored pairs.
        InputError
            The shapes do not fit, or a vector is not usable.
        """
        left, right = self._vectors(a, b)
        size, most = len(left) * len(right), parse_size(str(memory_limit))
        if most is not None and size > most:
            raise SettingsError(
                f"the answers for {len(left):,} x {len(right):,} pairs take {size:,} bytes, and "
                f"--memory-limit is {memory_limit}; compare fewer rows at a time"
            )
        found = np.empty((len(left), len(right)), np.bool_)
        for i, j, distances in distances_by_tile(left, right, self.rule.metric, self.remedy):
            found[i, j] = self.accept_scores(distances, "distance")
        return found

    def accept_scores(
        self, scores: Any, scale: str | None = None, *, groups: Groups = None
    ) -> Flags:
        """Return which pairs are accepted, from their distances or scores.

        Parameters
        ----------
        scores : array-like of any shape
        scale : str, optional
            Scale of the scores. By default the own scale of the file.
        groups : two array-likes, optional
            Name of the group of each side of the pairs, in arrays that broadcast to the shape of
            ``scores``. Pairs within a group are then judged at its threshold, and pairs across two
            groups at the stricter of their thresholds. By default the one threshold decides.

        Returns
        -------
        ndarray of the shape of ``scores``, bool

        Raises
        ------
        SettingsError
            The file has no such scale, or no thresholds by group.
        InputError
            A score is missing or no number.
        """
        numbers, scale = _numbers(scores), self._known(scale)
        if groups is None:
            return self._within(numbers, self.rule.distance, scale)
        left, right = (self._group_limits(side, scale) for side in groups)
        stricter = np.maximum if scale in CLOSER_ABOVE else np.minimum
        return _accepted(numbers, stricter(left, right), scale)

    def decide(self, a: Any, b: Any, *, groups: Groups = None) -> NDArray[np.str_]:
        """Return the decision on each pair of vectors: "accept", "review" or "refuse".

        The parameters ``a`` and ``b``, the shape of the result and the errors are those of
        ``compare``, and ``groups`` is that of ``decide_scores``.
        """
        return self.decide_scores(self.compare(a, b), groups=groups)

    def decide_scores(
        self, scores: Any, scale: str | None = None, *, groups: Groups = None
    ) -> NDArray[np.str_]:
        """Return the decision on each pair, from its distance or score.

        If the file has two thresholds (``review``), pairs between them are for review, and
        ``accept`` goes by the one ``threshold`` still. Without them, and by group, nothing is for
        review.

        The parameters and the errors are those of ``accept_scores``.

        Returns
        -------
        ndarray of the shape of ``scores``, str
            "accept", "review" or "refuse".
        """
        numbers, scale, review = _numbers(scores), self._known(scale), self.rule.review
        if review is None or groups is not None:
            accepted = kept = self.accept_scores(numbers, scale, groups=groups)
        else:
            first, last = (
                None if end is None else as_known(end, self.rule.metric)
                for end in (review.accept_threshold, review.refuse_threshold)
            )
            none, every = np.zeros(numbers.shape, np.bool_), np.ones(numbers.shape, np.bool_)
            accepted = none if first is None else self._within(numbers, first, scale)
            kept = every if last is None else self._within(numbers, last, scale)
        return np.asarray(np.where(accepted, "accept", np.where(kept, "review", "refuse")))

    def llr(self, scores: Any, scale: str | None = None) -> Doubles:
        """Return the natural logarithms of the likelihood ratios of pairs, genuine to impostor.

        The parameters and the errors are those of ``accept_scores``.

        Returns
        -------
        ndarray of the shape of ``scores``, float64

        Raises
        ------
        SettingsError
            The file has no map from scores to likelihood ratios.
        """
        made = self.rule.llr
        if made is None:
            raise SettingsError(
                "this threshold.json has no map from scores to log-likelihood ratios (key llr)"
            )
        values = to_own(_numbers(scores), self._known(scale), self.rule.metric)
        return made.at(values)

    def probability(self, scores: Any, scale: str | None = None, *, prior: float) -> Doubles:
        """Return the probabilities that pairs are genuine.

        The parameters and the errors are those of ``llr``, and:

        Parameters
        ----------
        prior : float
            Share of genuine pairs among all pairs that you will compare. It is not the share in the
            data that opis evaluated, and only you know it.

        Returns
        -------
        ndarray of the shape of ``scores``, float64
        """
        if not 0 < prior < 1:
            raise SettingsError(f"prior is {prior}; it must lie between 0 and 1, as 0.001")
        odds = self.llr(scores, scale) + math.log(prior / (1 - prior))
        # The hyperbolic tangent overflows nowhere.
        return np.asarray(0.5 + 0.5 * np.tanh(odds / 2))

    def _vectors(self, a: Any, b: Any) -> tuple[Numbers, Numbers]:
        """Return both sides as matrices of equal dimensions."""
        if self.rule.metric in SCORED:
            raise SettingsError(
                f"this threshold is a {self.rule.metric} of scored pairs, and vectors have none; "
                "use accept_scores"
            )
        if self.rule.remedy is not None and self.remedy is None:
            raise SettingsError(
                f"this threshold is for vectors that the remedy {self.rule.remedy.name!r} changed; "
                "give its folder: --remedy=DIR"
            )
        return sides_of(a, b, self.rule.metric)

    def _limits(self, distance: float) -> dict[str, float]:
        unit = self.rule.metric == "cosine" or self.rule.equivalents.euclidean_unit is not None
        return limits(distance, self.rule.metric, unit)

    def _known(self, scale: str | None) -> str:
        """Return a scale that this threshold has, by default its own; refuse others."""
        metric = self.rule.metric
        return known_scale(scale or own_scale(metric), self.limits, metric)

    def _within(self, numbers: Doubles, distance: float, scale: str) -> Flags:
        """Return which numbers are accepted at a threshold that is given as a distance."""
        return _accepted(numbers, self._limits(distance)[scale], scale)

    def _group_limits(self, names: Any, scale: str) -> Doubles:
        """Return the threshold of the group of each of some names, on a scale."""
        own = self.rule.groups
        if own is None:
            raise SettingsError(
                "this threshold.json has no thresholds by group; evaluate with --group-column, or "
                "decide without groups"
            )

        def limit(threshold: float) -> float:
            return self._limits(as_known(threshold, self.rule.metric))[scale]

        limits = {name: limit(threshold) for name, threshold in own.thresholds.items()}
        others, given = limit(own.other_groups), np.asarray(names, object)
        found = [limits.get(_as_text(name), others) for name in given.ravel().tolist()]
        return np.array(found, np.float64).reshape(given.shape)


def _as_text(name: Any) -> str:
    """Return the name of a group as text. Integers beside missing values often come as floats."""
    return str(int(name) if isinstance(name, float) and name.is_integer() else name)


def _accepted(numbers: Doubles, limit: Doubles | float, scale: str) -> Flags:
    """Return which numbers are accepted at limits on their scale."""
    with np.errstate(over="ignore"):
        rounded, limit = numbers.astype(np.float32), np.asarray(limit).astype(np.float32)
    return np.asarray(rounded >= limit if scale in CLOSER_ABOVE else rounded <= limit)


def _numbers(scores: Any) -> Doubles:
    """Return scores as float64."""
    try:
        numbers = np.asarray(scores, np.float64)
    except (TypeError, ValueError):
        raise InputError("the scores are no numbers") from None
    missing = np.isnan(numbers)
    if missing.any():
        raise InputError(
            f"{np.count_nonzero(missing)} of {numbers.size} scores are missing (NaN); leave such "
            "pairs out"
        )
    return numbers


def load_threshold(path: str | Path, *, remedy: str | Path | None = None) -> Threshold:
    """Read a ``threshold.json``, or that of a run folder.

    Parameters
    ----------
    path : str or Path
    remedy : str or Path, optional
        Folder of the remedy that changes vectors first, as ``opis remedy --out`` wrote it.

    Raises
    ------
    RunError
        The file is missing or damaged, or a newer opis wrote it; or no threshold met the bounds of
        the run. Or there is no such remedy.
    SettingsError
        The threshold is not of this remedy.
    """
    rule = load_threshold_file(path)
    if remedy is None:
        return Threshold(rule)
    from opis_cli.remedies.artefact import load_remedy

    fitted, own = load_remedy(remedy), rule.remedy
    if own is None or own.sha256 not in (None, fitted.sha256):
        problem = "it has none" if own is None else f"it has another, {own.name!r}"
        raise SettingsError(f"--remedy {remedy}: the threshold is not of this remedy; {problem}")
    return Threshold(rule, fitted)
