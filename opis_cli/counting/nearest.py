"""Evaluate the nearest rows: recall@1, answers by threshold, and duplicate rows.

While an engine counts pairs, it also keeps the highest genuine score and the highest impostor score
of each row. Most questions about searches are answered by these two numbers: a search hits if the
genuine score is higher. Two things are missing in them, and this module adds them:

- engines may skip impostor pairs beyond the window. The few rows whose nearest row may be such a
  one are searched again (``_search_beyond``);
- float32 scores may be too close to tell which one is higher. Such rows are compared in float64
  (``_nearest_is_genuine``).

Read ``searches_of`` first, then ``_hits``.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opis_cli.counting.plan import Plan
from opis_cli.counting.rows import Rows
from opis_cli.counting.tally import Tally
from opis_cli.records import Embeddings, Grid, Ints, Numbers

_SIDE = 2_048
"""Rows on a side of the matrices of scores that are computed here."""
_CONFLICTS = 10
"""Most impostor pairs at distance 0 whose rows are kept."""


@dataclass(frozen=True, slots=True)
class Searches:
    """What the searches of all searching rows found.

    Attributes
    ----------
    hits : ndarray of shape (K,), int64
        For each class or group, the number of rows whose nearest other row has the same label.
    open_set : ndarray of shape (T,), int64, or None
        For each threshold, the number of queries without a genuine row in the gallery that accept
        an impostor. None without a gallery.
    answered : ndarray of shape (T,), int64
        For each threshold, the number of rows that accept their nearest row.
    right_answers : ndarray of shape (T,), int64
        For each threshold, the number of rows whose nearest row has the same label and is accepted.
    duplicates : ndarray, int64
        Sorted numbers of the rows that are at distance 0 from another row.
    conflicts : ndarray of shape (n, 2), int64
        Row numbers of the first impostor pairs at distance 0. The number of a row counts within the
        queries, or within the gallery.
    """

    hits: Ints
    open_set: Ints | None
    answered: Ints
    right_answers: Ints
    duplicates: Ints
    conflicts: Ints


def searches_of(embeddings: Embeddings, plan: Plan, placed: Grid, tally: Tally) -> Searches:
    """Evaluate the nearest scores of a tally."""
    genuine, impostor = (
        nearest[: plan.queries] for nearest in (tally.nearest_genuine, tally.nearest_impostor)
    )
    # An inner product does not tell that rows are equal.
    equal = np.inf if plan.rows.metric == "dot" else plan.rows.cuts(np.zeros(1))
    same = np.maximum(genuine, impostor) >= equal
    conflicts = _conflicts(embeddings, plan, np.flatnonzero(impostor >= equal))
    _search_beyond(plan, placed, genuine, impostor)
    hit, nearest = _hits(embeddings, plan, genuine, impostor), np.maximum(genuine, impostor)
    strangers, paired = plan.genuine == 0, plan.genuine + plan.impostor > 0
    return Searches(
        plan.by_key(hit),
        _accepting(plan, placed, impostor[strangers & paired]) if plan.searching else None,
        _accepting(plan, placed, nearest[paired]),
        _accepting(plan, placed, nearest[hit]),
        np.sort(embeddings.rows[plan.rows.order[: plan.queries][same]]),
        conflicts,
    )


def _search_beyond(
    plan: Plan, placed: Grid, genuine: NDArray[np.float32], impostor: NDArray[np.float32]
) -> None:
    """Put in the impostor scores that engines skipped, of rows whose nearest row is beyond too."""
    rows = plan.rows
    slack, window_cut = 4 * rows.rounding, rows.cuts(placed.thresholds[placed.window - 1])
    unseen = (impostor <= rows.veto_score) & (plan.impostor > 0)
    far = np.flatnonzero(unseen & (genuine <= window_cut + slack))
    impostor[far] = _nearest_impostors(plan, far)


def _hits(
    embeddings: Embeddings,
    plan: Plan,
    genuine: NDArray[np.float32],
    impostor: NDArray[np.float32],
) -> NDArray[np.bool_]:
    """Return whether the nearest other row of each row has the same label, shape (N,).

    If float32 cannot tell whether the nearest genuine row or the nearest impostor row is closer,
    float64 decides. In a tie the row with the lowest number is the nearest.
    """
    slack, lonely = 4 * plan.rows.rounding, plan.genuine == 0
    hit = genuine > impostor
    unsure = ~lonely & (genuine - slack <= impostor) & (impostor <= genuine + slack)
    for row in np.flatnonzero(unsure):
        hit[row] = _nearest_is_genuine(embeddings, plan, int(row))
    return np.asarray(hit & ~lonely)


def _conflicts(embeddings: Embeddings, plan: Plan, equal: Ints) -> Ints:
    """Return the row numbers of the first impostor pairs at distance 0, shape (n, 2).

    Parameters
    ----------
    embeddings : Embeddings
    plan : Plan
    equal : ndarray
        The searching rows that have such a pair.
    """
    rows, found = plan.rows, np.zeros((0, 2), np.int64)
    for row in equal[np.argsort(rows.order[equal])]:
        others = np.arange(plan.others.first[row], plan.others.last[row])
        near = others[_scores_of_one(rows, row, others) >= rows.cuts(np.zeros(1))]
        near = near[plan.are_pairs(row, near) & (plan.truth[near] != plan.truth[row])]
        partners = np.sort(rows.order[near])
        if not plan.searching:
            partners = partners[partners > rows.order[row]]  # each pair once
        pairs = np.column_stack([np.full(len(partners), rows.order[row]), partners])
        found = np.concatenate([found, embeddings.rows[pairs]])
        # Each row adds a pair, or is the second row of a pair that is there. So this ends soon.
        if len(found) >= _CONFLICTS:
            break
    return found[:_CONFLICTS]


def _scores_of_one(rows: Rows, row: int, others: Ints) -> NDArray[np.float32]:
    """Return the scores of a row with other rows, which lie side by side."""
    part = slice(others[0], others[-1] + 1)
    scores: NDArray[np.float32] = rows.partners[part] @ rows.vectors[row]
    scores -= rows.half_squares[part]
    scores -= rows.half_squares[row]
    return scores


def _accepting(plan: Plan, placed: Grid, nearest: NDArray[np.float32]) -> Ints:
    """Count the rows that accept their nearest row, by its score, at each threshold, shape (T,)."""
    negated_cuts = -plan.rows.cuts_of(placed)
    negated_cuts[-1] = np.inf
    cells = np.searchsorted(negated_cuts, -nearest)
    return np.cumsum(np.bincount(cells, minlength=len(placed.thresholds)))


def _nearest_impostors(plan: Plan, wanted: Ints) -> NDArray[np.float32]:
    """Return the highest impostor score of each wanted row, computed anew from all its pairs."""
    best = np.full(len(wanted), -np.inf, np.float32)
    for start in range(0, len(wanted), _SIDE):
        some = wanted[start : start + _SIDE]
        part = best[start : start + _SIDE]
        first, last = plan.others.first[some].min(), plan.others.last[some].max()
        for low in range(first, last, _SIDE):
            others = np.arange(low, min(low + _SIDE, last))
            scores = plan.rows.scores_of(some, others)
            scores[~plan.are_pairs(some[:, None], others)] = -np.inf
            scores[plan.truth[some, None] == plan.truth[others]] = -np.inf
            np.maximum(part, scores.max(axis=1), out=part)
    return best


def _nearest_is_genuine(embeddings: Embeddings, plan: Plan, row: int) -> bool:
    """Return whether the nearest row of a row is genuine.

    Of the rows that float32 finds nearest, float64 picks the nearest one.
    """
    rows = plan.rows
    others = np.arange(plan.others.first[row], plan.others.last[row])
    scores = _scores_of_one(rows, row, others)
    scores[~plan.are_pairs(np.array(row), others)] = -np.inf
    near = others[scores >= scores.max() - 4 * rows.rounding]
    source = rows.order[near]
    if rows.whole:  # float32 is exact, so all of them tie
        return bool(plan.truth[near[np.argmin(source)]] == plan.truth[row])
    partners = embeddings.vectors if embeddings.partners is None else embeddings.partners
    distances = _exact_distances(embeddings.vectors[rows.order[row]], partners[source], rows.metric)
    # Equal distances can differ in the last bits of a float64 sum, but they are ties. Rows of
    # length 1 have rounding of one size; other rows have rounding in proportion to the distance.
    least = float(distances.min())
    ties = distances <= least + (1e-14 if rows.metric == "cosine" else 1e-12 * abs(least))
    first = near[ties][np.argmin(source[ties])]
    return bool(plan.truth[first] == plan.truth[row])


def _exact_distances(one: Numbers, others: Numbers, metric: str) -> NDArray[np.float64]:
    """Return numbers that order the distances of one vector to others, computed in float64.

    They are the cosine distances, the squared Euclidean distances, or the negative inner products.
    Sums of squared differences keep more digits than a product.
    """
    one, others = np.asarray(one, np.float64), np.asarray(others, np.float64)
    if metric == "dot":
        return np.asarray(-(others @ one))
    if metric == "cosine":
        one = one / np.sqrt(np.sum(one**2))
        others = others / np.sqrt(np.sum(others**2, axis=1, keepdims=True))
        return np.asarray(np.sum((others - one) ** 2, axis=1) / 2)
    return np.asarray(np.sum((others - one) ** 2, axis=1))
