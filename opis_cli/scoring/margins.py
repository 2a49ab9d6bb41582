"""Margins for training with the threshold-consistent margin loss, from counts.

Source: *Threshold-Consistent Margin Loss for Open-World Deep Metric Learning* (Zhang et al., ICLR
2024, arXiv 2307.04047).

The loss of a batch is ``lambda+ L+ + lambda- L-``. A genuine pair is hard if its cosine similarity
``s`` is at most ``m+``, and ``L+`` is the mean of ``m+ - s`` over the hard genuine pairs. An
impostor pair is hard if ``s >= m-``, and ``L-`` is the mean of ``s - m-`` over the hard impostor
pairs. A term without hard pairs is 0.
"""

from dataclasses import dataclass

import numpy as np

from opis_cli import decimals
from opis_cli.counting.calibration import first_within, last_within
from opis_cli.errors import SettingsError
from opis_cli.records import Curve, Floats, Ints, PairCounts
from opis_cli.scoring import curves
from opis_cli.settings import DEFAULT_MAX_FAR

_DEFAULT_MAX_FRR = 0.1
_WITHOUT_SIMILARITY = {
    "euclidean": "Euclidean distances of vectors that are not of unit length",
    "hamming": "Hamming distances",
    "dot": "inner products",
}
_FEW_PAIRS = 100
"""A term of the loss with fewer hard pairs than this has little to learn from."""


@dataclass(frozen=True, slots=True)
class Term:
    """One term of the loss over all pairs of the data.

    Attributes
    ----------
    margin : float
        Cosine similarity, -1 to 1.
    pairs : int
        Number of hard pairs. The term is the mean over them.
    share : float
        Hard pairs as a share of all genuine or all impostor pairs.
    loss : float
        Value of the term, in units of cosine similarity.
    resolution : float
        Largest error of ``loss``: half the difference between its bounds from the grid, plus the
        rounding error of a distance.
    """

    margin: float
    pairs: int
    share: float
    loss: float
    resolution: float


@dataclass(frozen=True, slots=True)
class Margins:
    """Margins of the loss that correspond to bounds on the pooled rates.

    Fields with ``plus`` and ``genuine`` describe the term of the genuine pairs. Fields with
    ``minus`` and ``impostor`` describe the term of the impostor pairs. The latter are None if the
    smallest threshold, which accepts equal rows, already breaks the FAR bound.
    """

    max_far: float
    max_frr: float
    margin_plus: float
    margin_minus: float | None
    hard_genuine_pairs: int
    hard_impostor_pairs: int | None
    hard_genuine_share: float
    hard_impostor_share: float | None
    loss_plus: float
    loss_minus: float | None
    loss_plus_resolution: float
    loss_minus_resolution: float | None
    notes: tuple[str, ...]


def find_margins(counts: PairCounts, max_far: float | None, max_frr: float | None) -> Margins:
    """Compute margins from bounds on the pooled rates, and the loss with them on this data.

    ``m-`` is the cosine similarity at the FAR bound. The FAR bound allows the impostor pairs at or
    above ``m-``. ``m+`` is the cosine similarity at the FRR bound. The FRR bound allows the genuine
    pairs below ``m+``.

    Parameters
    ----------
    counts : PairCounts
    max_far, max_frr : float or None
        Bounds on the pooled rates, between 0 and 1. The defaults are 0.01 and 0.1.

    Raises
    ------
    SettingsError
        The distances have no equivalent cosine similarity.
    """
    max_far = DEFAULT_MAX_FAR if max_far is None else max_far
    max_frr = _DEFAULT_MAX_FRR if max_frr is None else max_frr
    if counts.metric in ("distance", "score"):
        raise SettingsError(
            "margins are cosine similarities of embeddings, and these are scored pairs; evaluate "
            "the embeddings that they come from"
        )
    if not counts.unit:
        raise SettingsError(
            "margins are cosine similarities, and these are "
            f"{_WITHOUT_SIMILARITY[counts.metric]}; evaluate with --metric=cosine"
        )
    within = first_within(curves.pooled_frr_at_most(counts), max_frr)
    assert within is not None  # every pair of embeddings has a distance
    plus = _plus(counts, within)
    far = last_within(counts.pooled_far, max_far)
    minus = None if far is None else _minus(counts, far)
    return Margins(
        max_far=max_far,
        max_frr=max_frr,
        margin_plus=plus.margin,
        margin_minus=None if minus is None else minus.margin,
        hard_genuine_pairs=plus.pairs,
        hard_impostor_pairs=None if minus is None else minus.pairs,
        hard_genuine_share=plus.share,
        hard_impostor_share=None if minus is None else minus.share,
        loss_plus=plus.loss,
        loss_minus=None if minus is None else minus.loss,
        loss_plus_resolution=plus.resolution,
        loss_minus_resolution=None if minus is None else minus.resolution,
        notes=_notes(plus, minus),
    )


def _plus(counts: PairCounts, index: int) -> Term:
    """Compute the term of the genuine pairs beyond a threshold.

    The sum is an integral over the counts of rejected pairs:
    ``sum over d > t of (d - t) = integral from t to infinity of (rejected pairs)``.
    """
    distances = _cosine_distances(counts)[index:]
    rejected = counts.genuine_total - counts.pooled_genuine[index:]
    return _term(
        distances[0], rejected[0], counts.genuine_total, distances, rejected, counts.rounding
    )


def _minus(counts: PairCounts, index: int) -> Term:
    """Compute the term of the impostor pairs up to a threshold.

    The sum is an integral over the counts of accepted pairs:
    ``sum over d <= t of (t - d) = integral from 0 to t of (accepted pairs)``.
    """
    distances = np.append(0.0, _cosine_distances(counts)[: index + 1])
    accepted = np.append(0, counts.pooled_impostor[: index + 1])
    return _term(
        distances[-1], accepted[-1], counts.impostor_total, distances, accepted, counts.rounding
    )


def _term(
    distance: float, pairs: int, total: int, distances: Curve, curve: Floats | Ints, rounding: float
) -> Term:
    """Compute a term from a monotone curve of counts.

    The integral of the curve lies between the integrals of its two step functions.

    Parameters
    ----------
    distance : float
        Cosine distance of the margin.
    pairs, total : int
        Number of hard pairs, and of all pairs of the kind.
    distances, curve : ndarray of shape (n,)
        Cosine distances and the counts at them.
    rounding : float
        Rounding error of a distance.
    """
    steps = np.diff(distances)
    one, two = float(curve[:-1] @ steps), float(curve[1:] @ steps)
    pairs = int(pairs)
    return Term(
        margin=decimals.complement(float(distance)),
        pairs=pairs,
        share=pairs / total,
        loss=(one + two) / 2 / pairs if pairs else 0.0,
        resolution=abs(one - two) / 2 / pairs + rounding if pairs else 0.0,
    )


def _cosine_distances(counts: PairCounts) -> Curve:
    """Return the grid's thresholds as cosine distances, 0 to 2, shape (T,)."""
    thresholds = counts.grid.thresholds
    return np.minimum(thresholds if counts.metric == "cosine" else thresholds**2 / 2, 2.0)


def _notes(plus: Term, minus: Term | None) -> tuple[str, ...]:
    """Return what a user must know before training with these margins."""
    notes = []
    if minus is None:
        notes.append(
            "Even equal rows of different classes break the FAR bound: there is no m-. Look for "
            "duplicates under several labels, or allow a higher --max-far."
        )
    elif plus.margin <= minus.margin:
        notes.append(
            "m+ <= m-: no threshold meets both bounds on this data yet, the usual case before "
            "training with TCM."
            if plus.margin < minus.margin
            else "m+ = m-: just one threshold of the grid meets both bounds on this data."
        )
    for term, kind in ((plus, "genuine"), (minus, "impostor")):
        if term is not None and term.pairs < _FEW_PAIRS:
            notes.append(
                f"Few hard {kind} pairs remain ({term.pairs:,}): little is left to learn from."
            )
    notes.append(
        "Margins found on training data are a start and want tuning, as the authors tune theirs "
        "(0.9 and 0.5): a higher m+ and a lower m- ask for more."
    )
    return tuple(notes)


def snippet(found: Margins) -> str:
    """Return Python code that trains with these margins in pytorch-metric-learning."""
    margins = f"margin_plus={decimals.text(found.margin_plus)}"
    if found.margin_minus is not None:
        margins += f", margin_minus={decimals.text(found.margin_minus)}"
    return (
        "from pytorch_metric_learning.losses import ThresholdConsistentMarginLoss\n"
        "\n"
        "weight = 1  # up to 30, where the base loss's gradient outweighs this one's\n"
        f"tcm = ThresholdConsistentMarginLoss({margins})\n"
        "loss = base_loss(embeddings, labels) + weight * tcm(embeddings, labels)\n"
    )
