"""Show an evaluation on the terminal, with the answers first.

The order is: what to deploy and what it costs, whether the classes are alike, who pays, what to
check, and the next commands. Everything else is in ``details.py``.
"""

import math
import shlex
from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from opis_cli.render.terminal.advice import cost_block, review_block
from opis_cli.render.terminal.blocks import Commands, hanging, marked
from opis_cli.render.terminal.classes import alike, paying
from opis_cli.render.terminal.details import details as all_details
from opis_cli.render.terminal.threshold import (
    FEW_CARRIERS,
    carriers_in_words,
    in_use,
    recommendation,
)
from opis_cli.report.asked import threshold_option
from opis_cli.report.evaluation import Evaluation
from opis_cli.report.records import Report, Sample
from opis_cli.settings import parse_ignored
from opis_cli.text import SIMILARITIES, first_of, plain, rate, span

_LABEL = 32
"""Width of what stands in front of a line of text."""


def summary(run: Evaluation, out: Path | None = None, *, details: bool = False) -> RenderableType:
    """Return the evaluation at a glance. ``out`` is the folder of the run, if it was saved."""
    report = run.report
    blocks = [
        _header(report),
        recommendation(run, report.recommendation, expected=_expected(report)),
        review_block(report, report),
        cost_block(report, report),
        in_use(report),
        alike(report),
        paying(run),
        *(all_details(run) if details else ()),
    ]
    parts: list[RenderableType] = []
    for block in (block for block in blocks if block is not None):
        parts += [block, Text()]
    return Group(*parts, *_checks(report), _next(report, out, details=details))


def _header(report: Report) -> RenderableType:
    source, pairs = report.source, report.pairs
    counted = "pairs" if pairs.exhaustive else "pairs of a sample"
    lines = [f"{_what_was_read(report)}, {pairs.genuine + pairs.impostor:,} {counted}"]
    if pairs.unscored_genuine or pairs.unscored_impostor:
        lines.append(
            f"no score, so never accepted: {pairs.unscored_genuine:,} genuine and "
            f"{pairs.unscored_impostor:,} impostor pairs"
        )
    if report.sample is not None and report.sample.time_limit is not None:
        again = f"--max-pairs={report.sample.max_pairs} --seed={report.settings['seed']}"
        lines.append(
            f"as many pairs as fit in {report.sample.time_limit:g} s; {again} draws the same again"
        )
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
    if source.ignored_rows is not None:
        label, kept = parse_ignored(str(report.settings["ignore_label"]))
        done = "kept as impostors" if kept else "left out"
        lines.append(f"{source.ignored_rows:,} rows of label {plain(label)} {done}")
    return Group(Text(plain(source.path, 120), style="bold"), *map(Text, lines))


def _what_was_read(report: Report) -> str:
    """Return how many rows (or queries and gallery rows, or scored pairs) and classes were read."""
    source = report.source
    wide = f"{source.dim} dimensions"
    if source.bits_of_number is not None:
        wide = f"{source.dim} bits ({'packed' if source.bits_of_number > 1 else 'one a number'})"
    text = f"{source.rows:,} rows x {wide}"
    if source.gallery_rows is not None:
        text = f"{source.rows:,} queries in {source.gallery_rows:,} gallery rows x {wide}"
    if report.settings.get("pairs"):
        closer = "higher" if report.settings["metric"] in SIMILARITIES else "lower"
        text = f"{source.rows:,} scored pairs, the {closer} the closer"
    if not source.classes:
        return text
    text += f", {source.classes:,} {source.many}"
    if report.sample is not None:
        text += f", {_drawn_from(report, report.sample)}"
    if not source.singleton_classes:
        return text
    return text + (
        f" ({source.singleton_classes:,} without pairs of both kinds)"
        if source.one == "group" or source.gallery_rows is not None
        else f" ({source.singleton_classes:,} of one row)"
    )


def _drawn_from(report: Report, sample: Sample) -> str:
    """Return what a sample was drawn from."""
    rows = "rows" if report.source.gallery_rows is None else "queries"
    tenants = "" if sample.tenants is None else f" in {sample.tenants:,} tenants, drawn whole"
    return f"drawn from {sample.rows:,} {rows} of {sample.classes:,} classes{tenants}"


def _expected(report: Report) -> list[RenderableType]:
    """Return what to expect of the recommended threshold on other classes."""
    found, lines = report.intervals, list[RenderableType]()
    if found is not None and found.far is not None and found.frr is not None:
        told = f"FAR {span(found.far)}, FRR {span(found.frr)} ({100 * found.level:g} %)"
        lines.append(hanging("  expect on other classes".ljust(_LABEL), told))
    held = report.held_out
    if held is not None:
        kept = f"{round(held.bounds_held * held.folds)} of {held.folds} folds keep the bounds"
        rates = f"mean FAR {rate(held.far_mean)}, FRR {rate(held.frr_mean)}"
        lines.append(hanging("  on held-out classes".ljust(_LABEL), f"{kept}; {rates}"))
    if found is None or report.recommendation.threshold is None:
        return lines
    carriers, classes = found.effective_classes, report.source.evaluable_classes
    rest: list[tuple[str, float | None]] = [("FRR", carriers.frr)]
    if report.recommendation.confidence is None:
        rest.insert(0, ("FAR", carriers.far_accepted))
    for name, effective in rest:
        if effective is not None and effective < FEW_CARRIERS and 2 * effective < classes:
            few = carriers_in_words(effective)
            lines += marked([f"The {name} rests on {few} of {classes:,}: more classes are needed."])
    return lines


def _checks(report: Report) -> list[RenderableType]:
    """Return the doubts about the data, if there are any."""
    told = [*_duplicates(report), *(warning.text for warning in report.source.warnings)]
    return [hanging("CHECK  ", line, "yellow") for line in told]


def _duplicates(report: Report) -> list[str]:
    """Return the warning about equal rows, if there are any."""
    found = report.duplicates
    if found is None or found.pairs <= found.conflicts or report.source.gallery_rows is not None:
        return []
    named = first_of(found.first, found.rows)
    return [f"{found.rows:,} equal rows: {named}. Leave copies out or use --exclude-same."]


def _next(report: Report, out: Path | None, *, details: bool) -> RenderableType:
    """Return the commands that go on from here, each with what it is for."""
    commands = [] if details else [("add --details", "every figure")]
    if out is None:
        keep = ("add --out RUN", "keeps the counts for explain, report and recommend")
        return Commands([keep, *commands])
    run = plain(shlex.quote(str(out)), 400)
    return Commands(
        [
            (f"opis explain {run}{threshold_option(report)}", "errors, pair by pair"),
            (f"opis report {run} -o report.html", "a page to explore"),
            *((f"opis recommend {run} {bounds}", why) for bounds, why in _other(report)),
            *commands,
        ]
    )


def _other(report: Report) -> list[tuple[str, str]]:
    """Return other bounds to try, each with what it is for.

    If no threshold was found, they are bounds that one meets, and then two thresholds for the same
    bounds. Otherwise the bound is tighter.
    """
    chosen = report.recommendation
    if chosen.threshold is not None:
        return [(f"--max-far {(chosen.max_far or 0.1) / 10:g}", "other bounds")]
    found, met = [], chosen.at_max_frr
    if None not in (chosen.max_far, chosen.max_frr) and report.review is None:
        same = f"--max-far {chosen.max_far:g} --max-frr {chosen.max_frr:g} --review"
        found.append((same, "two thresholds"))
    if chosen.confidence is not None or met is None or met.far is None or met.far >= 1:
        return found
    # Rounded up to two digits, so that the threshold that meets the FRR meets the bound.
    digit = 10 ** (math.floor(math.log10(met.far)) - 1) if met.far > 0 else 0.001
    looser = min(max(math.ceil(met.far / digit) * digit, digit), 0.99)
    return [(f"--max-far {looser:.2g} --max-frr {chosen.max_frr:g}", "other bounds"), *found]
