"""The expected cost of a decision on a pair, from the costs of errors and the prior.

With the costs ``c_fa``, ``c_fr`` and ``c_review``, and a prior ``p``, the share of genuine pairs
where the threshold will be used, a pair costs on average::

    one threshold     (1 - p) c_fa FAR(t) + p c_fr FRR(t)
    two thresholds    (1 - p) (c_fa FAR(t1) + c_review V) + p (c_fr FRR(t2) + c_review G)

``V`` and ``G`` are the shares of the impostor and the genuine pairs that are reviewed. The person
who reviews is taken to make no error. This is the detection cost of speaker recognition, with a
third outcome.
"""

from dataclasses import dataclass

import numpy as np

from opis_cli.quantities import Amount, Share
from opis_cli.records import PairCounts
from opis_cli.scoring.curves import expected_cost
from opis_cli.scoring.review import Review
from opis_cli.values import Costs


@dataclass(frozen=True, slots=True)
class LeastCost:
    """The threshold of least expected cost, whatever the bounds.

    Attributes
    ----------
    threshold : float
        Distance of settings.metric. The smaller threshold wins a tie.
    far : float
        Pooled FAR at the threshold.
    frr : float
        Pooled FRR at the threshold.
    cost : float
        Expected cost of a pair.
    """

    threshold: float
    far: Share
    frr: Share
    cost: Amount


@dataclass(frozen=True, slots=True)
class ExpectedCosts:
    """The expected cost of a pair by the ways to decide, in the unit of the given costs.

    Attributes
    ----------
    least : LeastCost
        The threshold of least expected cost, whatever the bounds.
    recommended : float | None
        At the recommended threshold. Null if there is none.
    deployed : float | None
        At the deployed threshold. Null if there is none.
    review : float | None
        With two thresholds and review between them. Null without --cost-review, or if it is not
        known which pairs go to review.
    """

    least: LeastCost
    recommended: Amount | None
    deployed: Amount | None
    review: Amount | None


def expected_costs(
    counts: PairCounts,
    costs: Costs | None,
    *,
    recommended: float | None,
    deployed: float | None,
    review: Review | None,
) -> ExpectedCosts | None:
    """Compute the expected cost of a pair at thresholds of the grid; None without costs."""
    if costs is None:
        return None
    curve = expected_cost(counts.pooled_far, counts.pooled_frr, costs)
    grid = counts.grid
    best = int(np.argmin(curve))

    def at(threshold: float | None) -> float | None:
        return None if threshold is None else float(curve[grid.index_at(threshold)])

    return ExpectedCosts(
        least=LeastCost(
            float(grid.thresholds[best]),
            float(counts.pooled_far[best]),
            float(counts.pooled_frr[best]),
            float(curve[best]),
        ),
        recommended=at(recommended),
        deployed=at(deployed),
        review=None if review is None else _with_review(review, costs),
    )


def _with_review(review: Review, costs: Costs) -> float | None:
    if costs.review is None or review.impostor_share is None or review.genuine_share is None:
        return None
    errors = expected_cost(review.far or 0.0, review.frr or 0.0, costs)
    reviewed = (1 - costs.prior) * review.impostor_share + costs.prior * review.genuine_share
    return float(errors + costs.review * reviewed)
