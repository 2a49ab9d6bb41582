"""Look at some pairs of a plan, before all are counted, so that the grid can be placed."""

import numpy as np
from numpy.typing import NDArray

from opis_cli.counting.grid import SLACK, Distribution, Needs, Pilot
from opis_cli.counting.plan import Plan
from opis_cli.counting.rows import Rows
from opis_cli.counting.sizes import SIZES, Sizes
from opis_cli.counting.tally import cut
from opis_cli.records import Ints

_PAIRS, _GENUINE_PAIRS = 1 << 18, 1 << 15
"""Size of a sample of all pairs, and of a sample of genuine pairs."""
_SIDE, _AT_ONCE = 2_048, 4_096
"""Rows on a side of the tiles of all pairs, and sampled pairs that are compared at a time."""

Scores = NDArray[np.float32]


def run_pilot(plan: Plan, needs: Needs, seed: int, sizes: Sizes = SIZES) -> Pilot:
    """Look at all pairs if they are few, else at a sample of genuine and one of impostor pairs."""
    rows = plan.rows
    if plan.pairs <= sizes.exhaustive_pairs:
        alike, unlike = (Distribution.of_scores(kind, rows) for kind in _all_pairs(plan))
        return Pilot(alike, unlike, exact=True)
    rng = np.random.default_rng(seed)
    genuine = Distribution.of_scores(_genuine(plan, rng), rows)
    if not plan.is_plain:
        return Pilot(genuine, Distribution.of_scores(_impostors(plan, rng), rows), exact=False)
    # All pairs of two samples of rows come from a single matrix product, which is cheaper than
    # single pairs.
    chosen = rng.choice(plan.queries, min(2 * sizes.pilot_rows, plan.queries), replace=False)
    one, two = np.split(chosen[: len(chosen) // 2 * 2], 2)
    scores = rows.scores_of(one, two)
    unlike_scores = scores[plan.truth[one, None] != plan.truth[None, two]]
    far = max(needs.fars)
    impostor = Distribution.of_scores(unlike_scores, rows, closely=SLACK * far)
    error = _relative_error(scores >= rows.score(impostor.first_above(far)))
    return Pilot(genuine, impostor, exact=False, far_error=error)


def _relative_error(accepted: NDArray[np.bool_]) -> float:
    """Return the relative standard error of the share of accepted pairs.

    ``accepted`` has the pairs of two samples of rows. They are not independent, so the error is
    estimated from the means of the rows and of the columns.
    """
    variance = sum(np.var(accepted.mean(axis=axis)) / accepted.shape[1 - axis] for axis in (0, 1))
    return float(np.sqrt(variance) / max(accepted.mean(), 1e-30))


def _all_pairs(plan: Plan) -> tuple[Scores, Scores]:
    """Return the scores of all genuine pairs, and of all impostor pairs."""
    found: tuple[list[Scores], list[Scores]] = ([], [])
    for tile in (tile for block in plan.blocks for tile in cut(block, _SIDE)):
        i, j = np.arange(tile.a, tile.b), np.arange(tile.c, tile.d)
        scores = plan.rows.scores_of(i, j)
        kept = plan.are_pairs(i[:, None], j) & (i[:, None] < j)
        alike = plan.truth[i, None] == plan.truth[j]
        found[0].append(scores[kept & alike])
        found[1].append(scores[kept & ~alike])
    return np.concatenate(found[0]), np.concatenate(found[1])


def _genuine(plan: Plan, rng: np.random.Generator) -> Scores:
    """Return the scores of all genuine pairs if they are few, else of a sample."""
    sizes = plan.alike.sizes
    ends = np.cumsum(sizes)
    if ends[-1] <= 2 * _GENUINE_PAIRS:
        picks = np.arange(ends[-1])
    else:
        picks = np.sort(rng.integers(0, ends[-1], _GENUINE_PAIRS))
    i = np.searchsorted(ends, picks, side="right")
    j = plan.alike.first[i] + picks - (ends - sizes)[i]
    kept = plan.are_pairs(i, j)
    return _scores(plan.rows, i[kept], j[kept])


def _impostors(plan: Plan, rng: np.random.Generator) -> Scores:
    """Return the scores of a sample of impostor pairs."""
    sizes = plan.others.sizes
    i = rng.choice(plan.queries, _PAIRS, p=sizes / sizes.sum())
    j = plan.others.first[i] + rng.integers(0, sizes[i])
    kept = plan.are_pairs(i, j) & (plan.truth[i] != plan.truth[j])
    return _scores(plan.rows, i[kept], j[kept])


def _scores(rows: Rows, i: Ints, j: Ints) -> Scores:
    """Return the scores of the pairs ``(i[n], j[n])``."""
    scores = np.empty(len(i), np.float32)
    for start in range(0, len(i), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        scores[part] = np.einsum("nd,nd->n", rows.vectors[i[part]], rows.partners[j[part]])
    return np.asarray(scores - rows.half_squares[i] - rows.half_squares[j])
