"""Show a recommendation on the terminal: the threshold and its cost, or why there is none."""

import math

from rich.console import Group, RenderableType
from rich.text import Text

from opis_cli import decimals
from opis_cli.render.price import price_sentence
from opis_cli.render.terminal.blocks import carried, marked, section
from opis_cli.report.evaluation import Evaluation
from opis_cli.report.records import Report
from opis_cli.scoring.borderline import Borderline
from opis_cli.scoring.recommend import Recommendation
from opis_cli.statistics.carriers import carriers_of_far
from opis_cli.text import number, plain, rate, scale, shown


def recommendation(run: Evaluation, chosen: Recommendation) -> RenderableType:
    """Return the recommended threshold, its cost and warnings about it, or why there is none."""
    report, grid = run.report, run.counts.grid
    dense = len(grid.by_class) == len(grid.thresholds)
    window_end = math.inf if dense else float(grid.thresholds[grid.window - 1])
    effective = carriers_of_far(run.counts, chosen.threshold)
    few = carried(effective, report.source.evaluable_classes)
    unseen = few if chosen.confidence is not None and chosen.max_far is not None else ""
    return Group(
        _threshold(chosen, report),
        *_price(chosen, report),
        *_warnings(chosen, report, window_end, unseen),
    )


def _threshold(chosen: Recommendation, report: Report) -> RenderableType:
    within = asked = bounds(chosen)
    if chosen.confidence is not None:
        asked += f" with {100 * chosen.confidence:g} % confidence"
    metric = report.settings["metric"]
    if chosen.threshold is None:
        return _infeasible(chosen, asked, report)
    similarity = chosen.equivalents.cosine_similarity
    other = "" if similarity is None else f"cosine similarity >= {decimals.text(similarity)}"
    source = report.source
    where = f"these {source.rows:,} rows"
    if source.gallery_rows is not None:
        where = f"the {source.gallery_rows:,} gallery rows"
    if report.settings.get("within_column") is not None:
        where = "those of the same " + plain(report.settings["within_column"])
    per_query = number(chosen.false_accepts_per_query, 3)
    accept = f"accept {scale(metric)} {'>=' if metric == 'score' else '<='}"
    rows = [
        (accept, shown(chosen.threshold, metric), other),
        (
            "FAR (false accepts)",
            rate(chosen.far),
            f"{chosen.accepted_impostors or 0:,} of {report.pairs.impostor:,} impostor pairs",
        ),
        (
            "FRR (false rejects)",
            rate(chosen.frr),
            f"{chosen.rejected_genuine or 0:,} of {report.pairs.genuine:,} genuine pairs",
        ),
    ]
    if chosen.false_accepts_per_query is not None:
        rows.append(("False accepts per query", per_query, f"searching {where}"))
    if chosen.classes_meeting_bounds is not None or source.classes:
        name = f"{source.many.capitalize()} within the bounds"
        rows.append((name, rate(chosen.classes_meeting_bounds), within))
    if chosen.confidence is not None:
        limits = (("FAR", chosen.far_upper), ("FRR", chosen.frr_upper))
        remark = f"on other classes, with {100 * chosen.confidence:g} % confidence"
        rows += [(f"{name} at most", rate(upper), remark) for name, upper in limits]
    return Group(
        section(f"Recommended threshold ({asked}; prefer {chosen.prefer})", rows),
        *borderline(chosen.borderline, chosen.accepted_impostors, chosen.rejected_genuine),
    )


def _price(chosen: Recommendation, report: Report) -> list[RenderableType]:
    """Return what thresholds of the classes' own would save, if it is known."""
    price = chosen.price_of_one_threshold
    return [] if price is None else [Text("  " + price_sentence(price, report), style="dim")]


def _infeasible(chosen: Recommendation, asked: str, report: Report) -> RenderableType:
    rows, metric = [], report.settings["metric"]
    for name, at in (("max-far", chosen.at_max_far), ("max-frr", chosen.at_max_frr)):
        if at is not None and at.threshold is not None:
            rows.append(
                (
                    f"To meet {name} alone",
                    shown(at.threshold, metric),
                    f"FAR {rate(at.far)}, FRR {rate(at.frr)}",
                )
            )
        elif at is not None:
            why = "no threshold does, not even 0"
            if at is chosen.at_max_frr and report.pairs.unscored_genuine:
                why = f"{report.pairs.unscored_genuine:,} genuine pairs have no score"
            rows.append((f"To meet {name} alone", "–", why))
    block = section(f"No threshold meets {asked}", rows)
    if chosen.confidence is None:
        return block
    if chosen.classes_needed is None:
        note = "Not on these classes either, so that more of them would not show it."
    else:
        note = f"So few classes cannot show it; about {chosen.classes_needed:,} like these would."
    return Group(block, *marked([note]))


def borderline(
    found: Borderline | None, accepted: int | None, rejected: int | None
) -> list[RenderableType]:
    """Return the range of each count, if rounding may put pairs on either side of a threshold."""
    if found is None or accepted is None or rejected is None:
        return []
    sides = []
    if found.impostor:
        about = "" if found.exact else "about "
        sides.append(f"{about}{accepted - found.impostor:,} to {accepted:,} impostors accepted")
    if found.genuine:
        sides.append(f"{rejected:,} to {rejected + found.genuine:,} genuine rejected")
    if not sides:
        return []
    text = f"  Pairs lie within a rounding of it: {', '.join(sides)}."
    return [Text(text, style="dim")]


def bounds(chosen: Recommendation) -> str:
    """Return the bounds on the pooled rates that the threshold should meet, as text."""
    given = (("FAR", chosen.max_far), ("FRR", chosen.max_frr))
    return " and ".join(f"{name} <= {rate(value)}" for name, value in given if value is not None)


def _warnings(
    chosen: Recommendation, report: Report, window_end: float, unseen: str
) -> list[RenderableType]:
    """Return what a person must know before they trust the threshold.

    Parameters
    ----------
    chosen : Recommendation
    report : Report
    window_end : float
        Distance beyond which only a few thresholds have counts by class.
    unseen : str
        Says how few classes carry the FAR whose bound should hold with confidence. It is empty if
        they are not few.
    """
    asked, found = report.calibration_range, []
    if chosen.supported is False:
        found.append(
            f"{report.pairs.impostor:,} impostor pairs are too few to show FAR "
            f"{rate(chosen.max_far)}: it takes 3 / FAR of them."
        )
    if chosen.threshold is None or chosen.far is None:
        return marked(found)
    if unseen:
        found.append(
            f"FAR: {unseen}. Others like them may come with other classes, and then the bound may "
            "well break: no confidence knows what is not in these."
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
