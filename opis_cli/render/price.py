"""Put the price of one threshold into words, which are the same on the terminal and on pages."""

from opis_cli.report.records import Report
from opis_cli.scoring.price import PriceOfOneThreshold
from opis_cli.text import plain, rate


def price_sentence(price: PriceOfOneThreshold, report: Report) -> str:
    """Say whether thresholds of their own would lower the mean FRR of the classes or groups."""
    column, many = report.source.group_column, report.source.many
    mean = f"the mean FRR of {many}" + ("" if column is None else f" of {plain(column)}")
    one, own = rate(price.global_frr), rate(price.own_frr)
    said = f"At the same mean FAR ({rate(price.global_far)}), own thresholds would"
    if price.own_frr < price.global_frr and own != one:
        return f"{said} lower {mean} from {one} to {own} (held out)."
    return f"{said} not lower {mean} ({one} with one threshold, {own} with own ones; held out)."
