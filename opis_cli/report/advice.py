"""What to deploy: the recommended threshold, two thresholds with review between them, and costs."""

from dataclasses import dataclass

from opis_cli.records import PairCounts
from opis_cli.scoring.by_group import ByGroup, by_group
from opis_cli.scoring.costs import ExpectedCosts, expected_costs
from opis_cli.scoring.opis import Consistency
from opis_cli.scoring.recommend import Recommendation
from opis_cli.scoring.review import Review, review_of
from opis_cli.settings import Settings
from opis_cli.statistics.confidence import recommended


@dataclass(frozen=True, slots=True)
class Advice:
    """What to deploy under the bounds of some settings. The names are those of a report."""

    recommendation: Recommendation
    review: Review | None
    costs: ExpectedCosts | None
    groups: ByGroup | None


def advise(
    counts: PairCounts,
    consistency: Consistency,
    settings: Settings,
    deployed: float | None = None,
) -> Advice:
    """Recommend a threshold, and two if the settings ask for review, and tell what they cost.

    ``deployed`` is the deployed threshold, if there is one. It must be a grid threshold.
    """
    chosen = recommended(counts, consistency, settings)
    review = review_of(counts, chosen) if settings.review else None
    costs = expected_costs(
        counts, settings.costs, recommended=chosen.threshold, deployed=deployed, review=review
    )
    return Advice(chosen, review, costs, by_group(counts, chosen))
