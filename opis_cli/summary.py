"""What the terminal shows: tables that a person reads in ten seconds."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from opis_cli.report import Deployed, Recommendation, Report
from opis_cli.text import number, plain, rate, scale, shown

if TYPE_CHECKING:
    from opis_cli.runs import Run

SHOWN_CLASSES = 5
_LABEL_WIDTH = 28


def summary(run: "Run", out: Path | None = None) -> RenderableType:
    """The evaluation at a glance: what was read, consistency, threshold, who it fails, files."""
    report = run.report
    parts: list[RenderableType] = [_header(report), Text(), _consistency(report), Text()]
    parts += [recommendation(run, report.recommendation), Text()]
    if report.deployed is not None:
        parts += [_deployed(report.deployed, report), Text()]
    if report.worst_classes:
        parts.append(_worst_classes(report))
    else:
        parts.pop()
    if out is not None:
        parts += [Text(), Text.assemble(("Run written to ", "bold"), str(out))]
    return Group(*parts)


def _section(title: str, rows: list[tuple[str, str, str]]) -> RenderableType:
    """A titled block of name, figure, and what it means."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(width=_LABEL_WIDTH)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(style="dim")
    for name, figure, remark in rows:
        grid.add_row(Text("  " + name), Text(figure, style="bold"), Text(remark))
    return Group(Text(title, style="bold cyan"), grid)


def _header(report: Report) -> RenderableType:
    source, pairs = report.source, report.pairs
    lines = [
        _what_was_read(report),
        f"{pairs.genuine:,} genuine and {pairs.impostor:,} impostor pairs"
        + (", all counted" if pairs.exhaustive else ", estimated from a sample"),
    ]
    within, same = (report.settings.get(name) for name in ("within_column", "exclude_same"))
    if within is not None:
        lines.append(f"only pairs of the same {plain(within)}")
    if same is not None:
        lines.append(f"{pairs.excluded:,} pairs of the same {plain(same)} left out")
    if report.open_set is not None and report.open_set.queries:
        line = f"{report.open_set.queries:,} queries without a genuine gallery row"
        if report.open_set.fpir is not None:
            line += f"; at the threshold {rate(report.open_set.fpir)} find one (FPIR)"
        lines.append(line)
    if source.dropped_rows:
        lines.append(f"{source.dropped_rows:,} bad rows dropped")
    warned = [Text(f"! {line}", style="yellow") for line in _duplicates(report)]
    return Group(Text(plain(source.path, 120), style="bold"), *map(Text, lines), *warned)


def _what_was_read(report: Report) -> str:
    """Rows, or queries and gallery, or scored pairs; and what the figures are by."""
    source = report.source
    text = f"{source.rows:,} rows x {source.dim} dimensions"
    if source.gallery_rows is not None:
        text = f"{source.rows:,} queries in {source.gallery_rows:,} gallery rows x {source.dim}"
        text += " dimensions"
    if report.settings.get("pairs"):
        closer = "higher" if report.settings["metric"] == "score" else "lower"
        text = f"{source.rows:,} scored pairs, the {closer} the closer"
    if not source.classes:
        return text
    text += f", {source.classes:,} {source.many}"
    if not source.singleton_classes:
        return text
    return text + (
        f" ({source.singleton_classes:,} without pairs of both kinds)"
        if source.one == "group" or source.gallery_rows is not None
        else f" ({source.singleton_classes:,} singletons: impostors only)"
    )


def _duplicates(report: Report) -> list[str]:
    """The warning about equal rows."""
    found = report.duplicates
    if found is None or not found.rows:
        return []
    named = ", ".join(map(str, found.first)) + (", ..." if found.rows > len(found.first) else "")
    return [
        f"{found.rows:,} rows equal another one ({found.pairs:,} pairs at distance 0): {named}. "
        "Copies flatter a model: leave them out, or their pairs with --exclude-same."
    ]


def _consistency(report: Report) -> RenderableType:
    asked, eps = report.calibration_range, report.eps_opis
    metric = report.settings["metric"]
    span = f"{shown(asked.threshold_low, metric)} to {shown(asked.threshold_high, metric)}"
    how = "as given"
    if asked.by != "distance":
        how = f"pooled {asked.by.upper()} {rate(asked.low)} to {rate(asked.high)}"
    worst = f"{100 * eps.eps:g}%-OPIS"
    searched = report.source.gallery_rows is not None
    none = f"undefined with one evaluable {report.source.one}"
    if not report.source.evaluable_classes:
        none = "no classes; --group-column names groups"
        if report.source.classes:
            none = f"no {report.source.one} has pairs of both kinds"
    remark, gap = none, "undefined: no class is left to compare with"
    if report.opis is not None:
        remark = (
            f"{report.source.many} differ by about {number(math.sqrt(report.opis), 2)} in utility"
        )
    if eps.value is not None:
        apart = number(math.sqrt(eps.value), 2)
        gap = f"worst {eps.worst_classes:,} against rest: {apart} in utility"
    nearest = "nearest gallery row" if searched else "nearest other row"
    recall = ("Recall@1", rate(report.recall_at_1), f"{nearest} has the same label")
    at = "score" if metric == "score" else "distance"
    return _section(
        f"Consistency over {scale(metric)} {span} ({how})",
        [
            ("OPIS", number(report.opis), remark),
            *([(worst, number(eps.value), gap)] if report.source.evaluable_classes else []),
            *([] if report.recall_at_1 is None else [recall]),
            ("EER", rate(report.eer.rate), f"at {at} {shown(report.eer.threshold, metric)}"),
        ],
    )


def recommendation(run: "Run", chosen: Recommendation) -> RenderableType:
    """The recommended threshold, what it costs, and what to know of it; or why there is none."""
    report, grid = run.report, run.counts.grid
    dense = len(grid.by_class) == len(grid.thresholds)
    window_end = math.inf if dense else float(grid.thresholds[grid.window - 1])
    return Group(_threshold(chosen, report), *_warnings(chosen, report, window_end))


def _threshold(chosen: Recommendation, report: Report) -> RenderableType:
    bounds = _bounds(chosen)
    metric = report.settings["metric"]
    if chosen.threshold is None:
        return _infeasible(chosen, bounds, metric)
    similarity = chosen.equivalents.cosine_similarity
    other = "" if similarity is None else f"cosine similarity >= {similarity:.6g}"
    source = report.source
    where = f"these {source.rows:,} rows"
    if source.gallery_rows is not None:
        where = f"the {source.gallery_rows:,} gallery rows"
    if report.settings.get("within_column") is not None:
        where = "those of the same " + plain(report.settings["within_column"])
    per_query = number(chosen.false_accepts_per_query, 3)
    accept = f"accept {scale(metric)} {'>=' if metric == 'score' else '<='}"
    rows = [
        (accept, shown(chosen.threshold, metric, 6), other),
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
        rows.append((name, rate(chosen.classes_meeting_bounds), bounds))
    return _section(f"Recommended threshold ({bounds}; prefer {chosen.prefer})", rows)


def _infeasible(chosen: Recommendation, bounds: str, metric: str) -> RenderableType:
    rows = []
    for name, at in (("max-far", chosen.at_max_far), ("max-frr", chosen.at_max_frr)):
        if at is not None and at.threshold is not None:
            rows.append(
                (
                    f"To meet {name} alone",
                    shown(at.threshold, metric, 6),
                    f"FAR {rate(at.far)}, FRR {rate(at.frr)}",
                )
            )
        elif at is not None:
            rows.append((f"To meet {name} alone", "–", "no threshold does, not even 0"))
    return _section(f"No threshold meets {bounds}", rows)


def _bounds(chosen: Recommendation) -> str:
    given = (("FAR", chosen.max_far), ("FRR", chosen.max_frr))
    return " and ".join(f"{name} <= {rate(value)}" for name, value in given if value is not None)


def _warnings(chosen: Recommendation, report: Report, window_end: float) -> list[RenderableType]:
    """What a person must know before they trust the threshold.

    Beyond ``window_end`` only a few thresholds have counts by class.
    """
    asked, found = report.calibration_range, []
    if chosen.supported is False:
        found.append(
            f"{report.pairs.impostor:,} impostor pairs are too few to show FAR "
            f"{rate(chosen.max_far)}: it takes 3 / FAR of them."
        )
    if chosen.threshold is None or chosen.far is None:
        return [Text(f"  ! {line}", style="yellow") for line in found]
    # An end that only a pair or two lie beyond is not outside.
    hair = 0.01 * (asked.threshold_high - asked.threshold_low)
    inside = asked.threshold_low - hair <= chosen.threshold <= asked.threshold_high + hair
    if report.opis is not None and not inside:
        # A range of ten to one about the threshold's FAR, or the least FAR that the pairs show.
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
    return [Text(f"  ! {line}", style="yellow") for line in found]


def _deployed(deployed: Deployed, report: Report) -> RenderableType:
    return _section(
        f"Deployed threshold {shown(deployed.threshold, report.settings['metric'], 6)}",
        [
            ("FAR", rate(deployed.far), f"class mean {rate(deployed.class_mean_far)}"),
            ("FRR", rate(deployed.frr), f"class mean {rate(deployed.class_mean_frr)}"),
            (
                f"{report.source.many.capitalize()} within the bounds",
                rate(deployed.classes_meeting_bounds),
                _bounds(report.recommendation),
            ),
        ],
    )


def _worst_classes(report: Report) -> RenderableType:
    infeasible = report.recommendation.threshold is None
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(f"  {report.source.one}")
    of = "pairs" if report.settings.get("pairs") else "rows"
    if report.source.gallery_rows is not None:
        of = "queries"
    for name in (of, "FAR", "FRR", "utility"):
        table.add_column(name, justify="right")
    for worst in report.worst_classes[:SHOWN_CLASSES]:
        table.add_row(
            Text("  " + plain(worst.class_name)),
            f"{worst.size:,}",
            rate(worst.far),
            rate(worst.frr),
            number(worst.mean_utility if infeasible else worst.utility, 3),
        )
    where = "over the calibration range" if infeasible else "at this threshold"
    many = report.source.many.capitalize()
    return Group(Text(f"{many} worst off {where}", style="bold cyan"), table)


def facts_table(facts: dict[str, str]) -> RenderableType:
    """Facts about this machine, a row each."""
    grid = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        grid.add_row(Text(name, style="bold"), Text(value))
    return grid
