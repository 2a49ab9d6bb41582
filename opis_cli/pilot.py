"""A look at some of the pairs that a plan has, before all are counted."""

import numpy as np
from numpy.typing import NDArray

from opis_cli import grid
from opis_cli.distance import Rows
from opis_cli.grid import Distribution, Pilot
from opis_cli.protocols import Plan, Spans
from opis_cli.records import Ints

_EXHAUSTIVE_PAIRS = 4_000_000
_SAMPLED, _SAMPLED_GENUINE = 1 << 18, 1 << 15
_SIDE, _AT_ONCE = 2_048, 4_096

Scores = NDArray[np.float32]


def run_pilot(plan: Plan, seed: int) -> Pilot:
    """Look at all pairs of small data, else at a sample of pairs and one of genuine pairs."""
    if plan.is_plain:
        return grid.run_pilot(plan.rows, seed)
    if exact := plan.pairs <= _EXHAUSTIVE_PAIRS:
        genuine, impostor = _all_pairs(plan)
    else:
        genuine, impostor = _some_pairs(plan, np.random.default_rng(seed))
    return Pilot(
        Distribution.of_scores(genuine, plan.rows),
        Distribution.of_scores(impostor, plan.rows),
        exact,
    )


def _all_pairs(plan: Plan) -> tuple[Scores, Scores]:
    """Scores of all genuine and of all impostor pairs."""
    found: tuple[list[Scores], list[Scores]] = ([], [])
    for tile in plan.passes[0].tiles(_SIDE):
        i, j = np.arange(tile.a, tile.b), np.arange(tile.c, tile.d)
        scores = plan.rows.scores_of(i, j)
        kept = i[:, None] < j
        if plan.shared is not None:
            kept &= plan.shared[i, None] != plan.shared[j]
        alike = plan.truth[i, None] == plan.truth[j]
        found[0].append(scores[kept & alike])
        found[1].append(scores[kept & ~alike])
    return np.concatenate(found[0]), np.concatenate(found[1])


def _some_pairs(plan: Plan, rng: np.random.Generator) -> tuple[Scores, Scores]:
    """Scores of samples of the genuine and of the impostor pairs."""
    i, j = _drawn(plan, plan.alike, _SAMPLED_GENUINE, rng)
    genuine = _scores(plan.rows, i, j)
    i, j = _drawn(plan, plan.others, _SAMPLED, rng)
    unlike = plan.truth[i] != plan.truth[j]
    return genuine, _scores(plan.rows, i[unlike], j[unlike])


def _drawn(plan: Plan, spans: Spans, number: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Pairs drawn at random, a row for each row that searches; those that are none are dropped."""
    shares = spans.sizes / spans.sizes.sum()
    i = rng.choice(plan.queries, number, p=shares)
    j = spans.first[i] + rng.integers(0, spans.sizes[i])
    kept = i != j
    if plan.shared is not None:
        kept &= plan.shared[i] != plan.shared[j]
    return i[kept], j[kept]


def _scores(rows: Rows, i: Ints, j: Ints) -> Scores:
    """Scores of pairs, one by one."""
    scores = np.empty(len(i), np.float32)
    for start in range(0, len(i), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        scores[part] = np.einsum("nd,nd->n", rows.vectors[i[part]], rows.vectors[j[part]])
    return np.asarray(scores - rows.half_squares[i] - rows.half_squares[j])
