"""Words that the terminal and pages share: rules, bounds, outcomes, the price of one threshold."""

from opis_cli import decimals
from opis_cli.report.evidence import Outcome
from opis_cli.report.records import Report
from opis_cli.scoring.price import PriceOfOneThreshold
from opis_cli.scoring.recommend import Recommendation
from opis_cli.scoring.search import HeldBound
from opis_cli.text import number, plain, rate


def class_bounds(chosen: Recommendation) -> str:
    """Return the bounds on the rates, which classes may meet too, as text."""
    given = (("FAR", chosen.max_far), ("FRR", chosen.max_frr))
    return " and ".join(f"{name} <= {rate(value)}" for name, value in given if value is not None)


def bounds(chosen: Recommendation) -> str:
    """Return all bounds that the threshold should meet, as text."""
    of_rates = [class_bounds(chosen)] if class_bounds(chosen) else []
    return " and ".join([*of_rates, *map(search_bound, chosen.search_bounds)])


def search_bound(one: HeldBound) -> str:
    """Return a bound on a figure of searches as text: ``FPIR <= 1 %``."""
    if one.name == "max_false_accepts_per_query":
        return f"wrong per search <= {number(one.limit)}"
    name = {"max_fpir": "FPIR", "min_precision": "precision"}.get(one.name, "identification")
    return f"{name} {'>=' if one.name.startswith('min') else '<='} {rate(one.limit)}"


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
