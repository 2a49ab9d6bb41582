"""Show on the terminal two thresholds with review between them, and what decisions cost."""

from rich.console import Group, RenderableType
from rich.text import Text

from opis_cli.render.terminal.blocks import section
from opis_cli.render.terminal.threshold import RIGHT, WRONG, recommendation
from opis_cli.report.advice import Advice
from opis_cli.report.evaluation import Evaluation
from opis_cli.report.records import Report
from opis_cli.scoring.review import Review
from opis_cli.text import number, rate, rule, shown


def advised(run: Evaluation, advice: Advice, *, details: bool) -> RenderableType:
    """Return what to deploy by other bounds than those of a run."""
    blocks = [
        recommendation(run, advice.recommendation, details=details),
        review_block(advice, run.report),
        cost_block(advice, run.report),
    ]
    parts: list[RenderableType] = []
    for block in (block for block in blocks if block is not None):
        parts += [Text(), block] if parts else [block]
    return Group(*parts)


def review_block(advice: Advice | Report, report: Report) -> RenderableType | None:
    """Return the two thresholds and what goes to review between them, if review was asked for."""
    review, chosen = advice.review, advice.recommendation
    if review is None:
        return None
    metric = report.settings["metric"]
    if review.one_threshold:
        return section("REVIEW", [], "none: one threshold meets both bounds")
    if review.refuse_threshold is None:
        why = f"{report.pairs.unscored_genuine:,} genuine pairs have no score"
        return section("REVIEW", [], f"no threshold meets FRR <= {rate(chosen.max_frr)}: {why}")
    refuse = f"refuse beyond {shown(review.refuse_threshold, metric)}"
    if review.accept_threshold is None:
        told = f"accept nothing, {refuse}"
    else:
        told = f"accept {rule(review.accept_threshold, metric)}, {refuse}"
    return section("REVIEW", _review_rows(review, advice, report), Text(told, style="bold"))


def _review_rows(
    review: Review, advice: Advice | Report, report: Report
) -> list[tuple[str, str, str]]:
    chosen, pairs = advice.recommendation, report.pairs
    genuine, impostor = review.genuine_pairs or 0, review.impostor_pairs or 0
    accepted = round(review.far * pairs.impostor)
    refused = round((review.frr or 0.0) * pairs.genuine)
    of_far = f"{accepted:,} of {pairs.impostor:,}; bound {rate(chosen.max_far)}"
    of_frr = f"{refused:,} of {pairs.genuine:,}; bound {rate(chosen.max_frr)}"
    if review.accept_threshold is None:
        of_far = f"impostors at distance 0 alone break FAR <= {rate(chosen.max_far)}"
    rows = [
        (WRONG, rate(review.far), of_far),
        (RIGHT, rate(review.frr), of_frr),
        (
            "pairs to review",
            rate(review.pairs_share),
            f"{genuine:,} genuine and {impostor:,} impostor pairs",
        ),
    ]
    if review.queries_share is not None:
        remark = f"of {report.source.rows:,} {report.counted}: the nearest row lies between"
        rows.append(("searches to review", rate(review.queries_share), remark))
    return rows


def cost_block(advice: Advice | Report, report: Report) -> RenderableType | None:
    """Return the expected cost of a pair by the ways to decide, if costs are given."""
    costs, metric = advice.costs, report.settings["metric"]
    if costs is None:
        return None
    least = costs.least
    ways = [
        ("at the recommended threshold", costs.recommended, ""),
        ("at the threshold in use", costs.deployed, ""),
        ("with review", costs.review, "if the review makes no error"),
        (
            "least, with one threshold",
            least.cost,
            f"at {shown(least.threshold, metric)}: FAR {rate(least.far)}, FRR {rate(least.frr)}",
        ),
    ]
    rows = [(name, number(cost, 3), remark) for name, cost, remark in ways if cost is not None]
    return section("COST", rows, "expected of a pair, in the unit of the given costs")
