"""Show thresholds on the terminal: the one to deploy, the one in use, or why there is none."""

import math
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from opis_cli import decimals
from opis_cli.render.terminal.blocks import hanging, marked, section
from opis_cli.render.words import bounds, price_sentence, search_bound
from opis_cli.report.evaluation import Evaluation
from opis_cli.report.records import Report
from opis_cli.scoring.borderline import Borderline
from opis_cli.scoring.pooled import RatesAt
from opis_cli.scoring.recommend import Recommendation
from opis_cli.scoring.search import HeldBound
from opis_cli.statistics.carriers import carriers_of_far
from opis_cli.text import number, plain, rate, rule, shown

WRONG = "wrong matches accepted (FAR)"
RIGHT = "right matches rejected (FRR)"
"""Names of the two rates in every block."""
FEW_CARRIERS = 10
"""Effective number of classes that carry a figure, below which the figure says little about other
classes, and its interval is often too narrow."""


def recommendation(
    run: Evaluation,
    chosen: Recommendation,
    *,
    expected: Sequence[RenderableType] = (),
    details: bool = False,
) -> RenderableType:
    """Return the threshold to deploy, its cost and warnings about it, or why there is none.

    ``expected`` stands between the cost and the warnings. With ``details``, the result also has the
    pairs within a rounding of the threshold, and what thresholds of the classes' own would save.
    """
    report, grid = run.report, run.counts.grid
    dense = len(grid.by_class) == len(grid.thresholds)
    window_end = math.inf if dense else float(grid.thresholds[grid.window - 1])
    effective = carriers_of_far(run.counts, chosen.threshold)
    bounded = chosen.confidence is not None and chosen.max_far is not None
    return Group(
        _infeasible(chosen, report) if chosen.threshold is None else _deploy(chosen, report),
        *expected,
        *_price(chosen, report, saves=True),
        *(recommendation_details(chosen, report) if details else ()),
        *_warnings(chosen, report, window_end, effective if bounded else None),
    )


def _deploy(chosen: Recommendation, report: Report) -> RenderableType:
    threshold, metric = chosen.threshold or 0.0, report.settings["metric"]
    similarity = chosen.equivalents.cosine_similarity
    other = "" if similarity is None else f"   (similarity >= {decimals.text(similarity)})"
    counted = chosen.accepted_impostors or 0, chosen.rejected_genuine or 0
    rows = _rates(report, (chosen.far, chosen.frr), counted, (chosen.max_far, chosen.max_frr))
    name = "max_false_accepts_per_query"
    per_search = [one for one in chosen.search_bounds if one.name == name]
    others = [one for one in chosen.search_bounds if one.name != name]
    if chosen.false_accepts_per_query is not None:
        per_query = number(chosen.false_accepts_per_query, 3)
        most = "".join(f"; bound {number(one.limit)}" for one in per_search)
        rows.append(("wrong matches in one search", per_query, f"of {_searched(report)}{most}"))
    rows += [_held_row(one, report) for one in others]
    for name, upper in (("FAR", chosen.far_upper), ("FRR", chosen.frr_upper)):
        if chosen.confidence is not None:
            remark = f"on other classes, {100 * chosen.confidence:g} % confidence"
            rows.append((f"{name} at most", rate(upper), remark))
    return section("DEPLOY", rows, Text.assemble((rule(threshold, metric), "bold"), other))


def _held_row(one: HeldBound, report: Report) -> tuple[str, str, str]:
    """Return the figure of a bound on the FPIR, the precision or the identification."""
    prior = report.settings.get("prior")
    name, of = {
        "max_fpir": ("strangers who find a match", "of the queries without a match (FPIR)"),
        "min_precision": ("genuine among the accepted", f"at prior {rate(prior)}"),
    }.get(one.name, ("right row found and accepted", "of the searches (DIR)"))
    return name, rate(one.value), f"{of}; bound {rate(one.limit)}"


def _searched(report: Report) -> str:
    """Return which rows a search goes through."""
    source, within = report.source, report.settings.get("within_column")
    if within is not None:
        return f"the rows of the same {plain(within)}"
    if source.gallery_rows is not None:
        return f"the {source.gallery_rows:,} gallery rows"
    return f"these {source.rows:,} rows"


def _rates(
    report: Report,
    rates: tuple[float | None, float | None],
    counted: tuple[int, int],
    bounds: tuple[float | None, float | None],
) -> list[tuple[str, str, str | Text]]:
    """Return a row for the FAR and one for the FRR, with the counts and the bound of each."""
    totals = report.pairs.impostor, report.pairs.genuine
    return [
        (name, rate(value), Text.assemble(f"{pairs:,} of {total:,}; ", _held(value, bound)))
        for name, value, pairs, total, bound in zip(
            (WRONG, RIGHT), rates, counted, totals, bounds, strict=True
        )
    ]


def _held(value: float | None, bound: float | None) -> Text:
    if bound is None:
        return Text("no bound")
    if value is not None and value > bound:
        return Text(f"over the bound {rate(bound)}", style="not dim yellow")
    return Text(f"bound {rate(bound)}")


def in_use(report: Report) -> RenderableType | None:
    """Return the rates of the deployed threshold, if there is one."""
    deployed, chosen, pairs = report.deployed, report.recommendation, report.pairs
    if deployed is None:
        return None
    counted = (
        round((deployed.far or 0) * pairs.impostor),
        round((deployed.frr or 0) * pairs.genuine),
    )
    rows = _rates(report, (deployed.far, deployed.frr), counted, (chosen.max_far, chosen.max_frr))
    if deployed.fpir is not None:
        remark = "of the queries without a match (FPIR)"
        rows.append(("strangers who find a match", rate(deployed.fpir), remark))
    return section("IN USE", rows, rule(deployed.threshold, report.settings["metric"]))


def recommendation_details(chosen: Recommendation, report: Report) -> list[RenderableType]:
    """Return the pairs within a rounding of the threshold, and that one threshold costs nothing."""
    found = list[RenderableType]()
    if chosen.accepted_impostors is not None and chosen.rejected_genuine is not None:
        counted = chosen.accepted_impostors, chosen.rejected_genuine
        found += borderline(chosen.borderline, *counted)
    return found + _price(chosen, report, saves=False)


def _price(chosen: Recommendation, report: Report, *, saves: bool) -> list[RenderableType]:
    """Return the price of one threshold if own thresholds would save, or if they would not."""
    price = chosen.price_of_one_threshold
    if price is None or price.saves != saves:
        return []
    return [hanging("  ", price_sentence(price, report), "" if saves else "dim")]


def _infeasible(chosen: Recommendation, report: Report) -> RenderableType:
    rows = [
        _one_bound(at, f"{name} <= {rate(bound)}", report)
        for name, at, bound in (
            ("FAR", chosen.at_max_far, chosen.max_far),
            ("FRR", chosen.at_max_frr, chosen.max_frr),
        )
        if at is not None
    ]
    rows += [_one_bound(one.alone, search_bound(one), report) for one in chosen.search_bounds]
    asked = bounds(chosen)
    if chosen.confidence is not None:
        asked += f" with {100 * chosen.confidence:g} % confidence"
    block = section("NO THRESHOLD", rows, f"meets {asked}")
    if chosen.confidence is None:
        return block
    if chosen.classes_needed is None:
        note = "Not on these classes either, so that more of them would not show it."
    else:
        note = f"So few classes cannot show it; about {chosen.classes_needed:,} like these would."
    return Group(block, *marked([note]))


def _one_bound(at: RatesAt, bound: str, report: Report) -> tuple[str, str, str]:
    """Return what one bound alone would cost."""
    label = f"{bound} alone"
    if at.threshold is None:
        why = "no threshold does" if ">=" in bound else "no threshold does, not even 0"
        if bound.startswith("FRR") and report.pairs.unscored_genuine:
            why = f"{report.pairs.unscored_genuine:,} genuine pairs have no score"
        return label, "–", why
    rates = f"FAR {rate(at.far)}, FRR {rate(at.frr)}"
    return label, shown(at.threshold, report.settings["metric"]), rates


def borderline(found: Borderline | None, accepted: int, rejected: int) -> list[RenderableType]:
    """Return the range of each count, if rounding may put pairs on either side of a threshold."""
    if found is None:
        return []
    sides = []
    if found.impostor:
        about = "" if found.exact else "about "
        sides.append(f"{about}{accepted - found.impostor:,} to {accepted:,} impostors accepted")
    if found.genuine:
        sides.append(f"{rejected:,} to {rejected + found.genuine:,} genuine rejected")
    if not sides:
        return []
    return [hanging("  ", f"Pairs lie within a rounding of it: {', '.join(sides)}.", "dim")]


def carriers_in_words(effective: float) -> str:
    """Return an effective number of classes in words."""
    return "a single class" if effective < 1.5 else f"about {effective:.0f} classes"


def _warnings(
    chosen: Recommendation, report: Report, window_end: float, effective: float | None
) -> list[RenderableType]:
    """Return what a person must know before they trust the threshold.

    Parameters
    ----------
    chosen : Recommendation
    report : Report
    window_end : float
        Distance beyond which only a few thresholds have counts by class.
    effective : float, optional
        How many classes carry the FAR whose bound should hold with confidence.
    """
    asked, found = report.calibration_range, []
    if chosen.supported is False:
        found.append(
            f"{report.pairs.impostor:,} impostor pairs are too few to show FAR "
            f"{rate(chosen.max_far)}: it takes 3 / FAR of them."
        )
    if chosen.threshold is None or chosen.far is None:
        return marked(found)
    if effective is not None and 2 * effective < report.source.evaluable_classes:
        found.append(
            f"The FAR rests on {carriers_in_words(effective)}. Others like them may come with "
            "other classes, and then the bound may well break: no confidence knows what is not in "
            "these."
        )
    low, high = asked.threshold_low or 0.0, asked.threshold_high or 0.0
    # A threshold that lies beyond an end by only a pair or two does not count as outside.
    hair = 0.01 * (high - low)
    inside = low - hair <= chosen.threshold <= high + hair
    if report.opis is not None and not inside:
        # Advise a range of ten to one around the FAR of the threshold, or around the least FAR that
        # the pairs can show.
        far = min(max(chosen.far, 10 / report.pairs.impostor), 0.3)
        found.append(
            "The threshold lies outside the calibration range, so OPIS says little about it; "
            f"--calibration far:{far / 10**0.5:.1g}..{far * 10**0.5:.1g} would fit."
        )
    if chosen.threshold > window_end:
        found.append(
            "This run was counted for lower thresholds, so the choice here is coarse; "
            "`opis evaluate` with these bounds makes it fine."
        )
    return marked(found)
