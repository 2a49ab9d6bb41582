"""What a search for every row finds: whether its nearest is genuine, strangers, equal rows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opis_cli.counting.plan import Plan
from opis_cli.counting.rows import ROUNDING
from opis_cli.counting.tally import Tally
from opis_cli.records import Embeddings, Floats, Grid, Ints

_SIDE = 2_048


@dataclass(frozen=True, slots=True)
class Searches:
    """What searches found.

    Attributes
    ----------
    hits : ndarray of shape (K,), int64
        Rows of each class or group whose nearest other row has the same label.
    open_set : ndarray of shape (T,), int64, or None
        Queries without a genuine row that accept one at each threshold; None without a gallery.
    duplicates : ndarray, int64
        Numbers of the rows that are at distance 0 of another.
    """

    hits: Ints
    open_set: Ints | None
    duplicates: Ints


def searches_of(embeddings: Embeddings, plan: Plan, placed: Grid, tally: Tally) -> Searches:
    """What the nearest rows of a tally say."""
    genuine, impostor = (
        nearest[: plan.queries] for nearest in (tally.nearest_genuine, tally.nearest_impostor)
    )
    same = np.maximum(genuine, impostor) >= plan.rows.cuts(np.zeros(1))
    return Searches(
        _hits(embeddings, plan, placed, genuine, impostor),
        _open_set(plan, placed, impostor) if plan.searching else None,
        np.sort(embeddings.rows[plan.rows.order[: plan.queries][same]]),
    )


def _hits(
    embeddings: Embeddings,
    plan: Plan,
    placed: Grid,
    genuine: NDArray[np.float32],
    impostor: NDArray[np.float32],
) -> Ints:
    """Rows of each key whose nearest other row has the same label, shape (K,).

    Where float32 cannot tell the nearest genuine row from the nearest impostor, float64 does, and
    the lowest row number wins a tie.
    """
    rows, slack = plan.rows, 4 * ROUNDING * plan.rows.scale
    lonely = plan.genuine == 0
    window_cut = rows.cuts(placed.thresholds[placed.window - 1])
    unseen = (impostor <= rows.veto_score) & (plan.impostor > 0)
    far = np.flatnonzero(unseen & ~lonely & (genuine <= window_cut + slack))
    impostor[far] = _nearest_impostors(plan, far)
    hit = genuine > impostor
    unsure = ~lonely & (genuine - slack <= impostor) & (impostor <= genuine + slack)
    for row in np.flatnonzero(unsure):
        hit[row] = _nearest_is_genuine(embeddings, plan, int(row))
    return plan.by_key(hit & ~lonely)


def _open_set(plan: Plan, placed: Grid, impostor: NDArray[np.float32]) -> Ints:
    """Queries without a genuine row whose nearest row is accepted, at each threshold, (T,)."""
    strangers = np.flatnonzero((plan.genuine == 0) & (plan.impostor > 0))
    nearest = impostor[strangers]
    far = np.flatnonzero(nearest <= plan.rows.veto_score)
    nearest[far] = _nearest_impostors(plan, strangers[far])
    negated_cuts = -plan.rows.cuts_of(placed)
    negated_cuts[-1] = np.inf
    cells = np.searchsorted(negated_cuts, -nearest)
    return np.cumsum(np.bincount(cells, minlength=len(placed.thresholds)))


def _nearest_impostors(plan: Plan, wanted: Ints) -> NDArray[np.float32]:
    """Highest impostor scores of rows that have none in the window, and may need it."""
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
    """Settle one row in float64, among the rows that float32 finds nearest."""
    rows = plan.rows
    others = np.arange(plan.others.first[row], plan.others.last[row])
    scores = rows.vectors[others[0] : others[-1] + 1] @ rows.vectors[row]
    scores -= rows.half_squares[others]
    scores[~plan.are_pairs(np.array(row), others)] = -np.inf
    near = others[scores >= scores.max() - 4 * ROUNDING * rows.scale]
    source = rows.order[near]
    distances = _exact_distances(
        embeddings.vectors[rows.order[row]], embeddings.vectors[source], rows.metric
    )
    # Equal rows can differ in the last bits of a float64 sum; they are ties all the same.
    ties = distances <= distances.min() + 1e-14
    first = near[ties][np.argmin(source[ties])]
    return bool(plan.truth[first] == plan.truth[row])


def _exact_distances(one: Floats, others: Floats, metric: str) -> NDArray[np.float64]:
    """Distances of one vector to others in float64, by differences."""
    one, others = np.asarray(one, np.float64), np.asarray(others, np.float64)
    if metric == "cosine":
        one = one / np.sqrt(np.sum(one**2))
        others = others / np.sqrt(np.sum(others**2, axis=1, keepdims=True))
        return np.asarray(np.sum((others - one) ** 2, axis=1) / 2)
    return np.asarray(np.sum((others - one) ** 2, axis=1))
