"""Words that the terminal and pages share: rules, bounds, outcomes, the price of one threshold."""

from opis_cli import decimals
from opis_cli.report.evidence import Outcome
from opis_cli.report.records import Report
from opis_cli.scoring.price import PriceOfOneThreshold
from opis_cli.scoring.recommend import Recommendation
from opis_cli.text import number, plain, rate


def bounds(chosen: Recommendation) -> str:
    """Return the bounds on the pooled rates that the threshold should meet, as text."""
    given = (("FAR", chosen.max_far), ("FRR", chosen.max_frr))
    return " and ".join(f"{name} <= {rate(value)}" for name, value in given if value is not None)


def outcome_cells(found: Outcome) -> tuple[str, ...]:
    """Return the figures of changed labels: FAR, FRR, OPIS, the recommendation, and its rates."""
    return (
        rate(found.far),
        rate(found.frr),
        number(found.opis, 3),
        "none" if found.recommended is None else decimals.text(found.recommended),
        rate(found.recommended_far),
        rate(found.recommended_frr),
    )


def price_sentence(price: PriceOfOneThreshold, report: Report) -> str:
    """Say whether thresholds of their own would lower the mean FRR of the classes or groups."""
    column, many = report.source.group_column, report.source.many
    mean = f"the mean FRR of {many}" + ("" if column is None else f" of {plain(column)}")
    one, own = rate(price.global_frr), rate(price.own_frr)
    at = f"At the same mean FAR ({rate(price.global_far)}), own thresholds"
    if price.saves:
        return f"{at} would lower {mean} from {one} to {own} (held out)."
    would = "would not" if price.own_frr >= price.global_frr else "are not shown to"
    return f"{at} {would} lower {mean} ({one} with one threshold, {own} with own ones; held out)."
