"""Show an evaluation on the terminal, in tables that a person reads in ten seconds."""

import math
from collections.abc import Callable
from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from opis_cli import decimals
from opis_cli.render.terminal.blocks import carried, carried_roughly, class_table, marked, section
from opis_cli.render.terminal.threshold import borderline, bounds, recommendation
from opis_cli.report.evaluation import Evaluation
from opis_cli.report.records import Report
from opis_cli.settings import parse_ignored
from opis_cli.text import first_of, number, plain, rate, scale, shown

SHOWN_CLASSES = 5
"""Most classes in the table of the worst ones."""
_SIZES_ALIKE = 5
"""Ratio of the largest to the smallest class above which the share of noise in OPIS is rough."""


def summary(run: Evaluation, out: Path | None = None) -> RenderableType:
    """Return the evaluation at a glance.

    It has what was read, the consistency, the threshold, the classes that it fails, and the folder
    of the run.
    """
    report = run.report
    parts: list[RenderableType] = [_header(report), Text(), _consistency(report), Text()]
    parts += [recommendation(run, report.recommendation), Text()]
    for block in (
        _intervals(report),
        _held_out(report),
        _differentials(report),
        _deployed(report),
        _worst_classes(report),
    ):
        parts += [block, Text()] if block is not None else []
    parts.pop()
    if out is not None:
        parts += [Text(), Text.assemble(("Run written to ", "bold"), str(out))]
    return Group(*parts)


def _header(report: Report) -> RenderableType:
    source, pairs = report.source, report.pairs
    lines = [
        _what_was_read(report),
        *_columns_read(report),
        f"{pairs.genuine:,} genuine and {pairs.impostor:,} impostor pairs"
        + (", all counted" if pairs.exhaustive else ", estimated from a sample"),
    ]
    if pairs.unscored_genuine or pairs.unscored_impostor:
        lines.append(
            f"no score, so never accepted: {pairs.unscored_genuine:,} genuine and "
            f"{pairs.unscored_impostor:,} impostor pairs"
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
    told = [*_duplicates(report), *(warning.text for warning in source.warnings)]
    warned = [Text(f"! {line}", style="yellow") for line in told]
    return Group(Text(plain(source.path, 120), style="bold"), *map(Text, lines), *warned)


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
        closer = "higher" if report.settings["metric"] == "score" else "lower"
        text = f"{source.rows:,} scored pairs, the {closer} the closer"
    if not source.classes:
        return text
    text += f", {source.classes:,} {source.many}"
    if report.sample is not None:
        text += f", drawn from {report.sample.rows:,} rows of {report.sample.classes:,} classes"
    if not source.singleton_classes:
        return text
    return text + (
        f" ({source.singleton_classes:,} without pairs of both kinds)"
        if source.one == "group" or source.gallery_rows is not None
        else f" ({source.singleton_classes:,} singletons: impostors only)"
    )


def _columns_read(report: Report) -> list[str]:
    """Return which columns were read, if the files have columns."""
    source = report.source
    read = (("vectors", source.embedding_column), ("labels", source.label_column))
    named = [f"{what} from column {plain(name)}" for what, name in read if name is not None]
    return [", ".join(named)] if named else []


def _duplicates(report: Report) -> list[str]:
    """Return the warning about equal rows, if there are any."""
    found = report.duplicates
    if found is None or found.pairs <= found.conflicts or report.source.gallery_rows is not None:
        return []
    named = first_of(found.first, found.rows)
    return [
        f"{found.rows:,} rows equal another one (pairs at distance 0: {found.pairs:,}): {named}. "
        "Copies flatter a model: leave them out, or their pairs with --exclude-same COLUMN."
    ]


def _consistency(report: Report) -> RenderableType:
    asked, eps = report.calibration_range, report.eps_opis
    metric = report.settings["metric"]
    how = "as given"
    if asked.by != "distance":
        how = f"pooled {asked.by.upper()} {rate(asked.low)} to {rate(asked.high)}"
    title = "Consistency: these pairs resolve no calibration range"
    if asked.threshold_low is not None and asked.threshold_high is not None:
        span = f"{shown(asked.threshold_low, metric)} to {shown(asked.threshold_high, metric)}"
        title = f"Consistency over {scale(metric)} {span} ({how})"
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
    block = section(
        title,
        [
            ("OPIS", number(report.opis), remark),
            *([(worst, number(eps.value), gap)] if report.source.evaluable_classes else []),
            *([] if report.recall_at_1 is None else [recall]),
            ("EER", rate(report.eer.rate), f"at {at} {shown(report.eer.threshold, metric)}"),
        ],
    )
    by = [] if report.opis is None else _opis_by(report)
    return Group(block, Text(f"  OPIS, {worst} by {'; by '.join(by)}", "dim")) if by else block


def _opis_by(report: Report) -> list[str]:
    """Return OPIS and eps-OPIS on the other scales, as far as they are known."""
    found = report.opis_by
    scales = (
        [] if found is None else [("unit L2", found.euclidean_unit), ("log FAR", found.log_far)]
    )
    return [
        f"{name}: {number(one.opis, 3)}, {number(one.eps_opis, 3)}"
        for name, one in scales
        if one is not None
    ]


def _intervals(report: Report) -> RenderableType | None:
    """Return the intervals of the figures on other classes, or why there are none."""
    found = report.intervals
    if found is None:
        return _why_no_intervals(report)
    # A few large classes can carry a pooled rate. Then it says little about other classes, so the
    # table shows how many carry it.
    chosen = report.recommendation
    at_end = chosen.interval is not None and chosen.threshold in chosen.interval
    what = "bound" if at_end and chosen.confidence is None else "same FAR"
    where = f"where the {what} could lie"
    classes, carriers = report.source.evaluable_classes, found.effective_classes
    by_far = carried(carriers.far_accepted, classes)
    eps_opis, worst = f"{100 * report.eps_opis.eps:g}%-OPIS", report.eps_opis.worst_classes
    rows = [
        (scale(report.settings["metric"]), _ends(found.threshold, decimals.text), where),
        ("FAR", _ends(found.far, rate), by_far or "at the recommended threshold"),
        ("FRR", _ends(found.frr, rate), carried(carriers.frr, classes)),
        ("OPIS", _ends(found.opis, _two), carried_roughly(carriers.opis, classes)),
        (eps_opis, _ends(found.eps_opis, _two), carried_roughly(carriers.eps_opis, worst)),
    ]
    noise = report.opis_corrected
    warnings: list[str] = []
    if noise is not None:
        share = "" if noise.noise_share is None else f"{100 * noise.noise_share:.0f} % is noise, "
        remark = f"{share}{noise.classes:,} classes"
        rows.append(("OPIS less noise", _ends(noise.interval, _two), remark))
        if noise.sizes[1] > _SIZES_ALIKE * noise.sizes[0]:
            warnings.append("Sizes of the classes differ much, so the share of noise is rough.")
        if few := carried(noise.effective_classes, noise.classes):
            warnings.append(f"OPIS less noise is rough: {few}.")
    known = [row for row in rows if row[1] != "–"]
    title = f"On other classes like these ({100 * found.level:g} % intervals)"
    return Group(section(title, known), *marked(warnings)) if known else None


def _why_no_intervals(report: Report) -> RenderableType | None:
    source = report.source
    if source.gallery_rows is None and source.one == "class" and not report.settings.get("pairs"):
        return None
    pairs = f"by {source.one}" if source.one == "group" else "of scored pairs"
    if source.gallery_rows is not None:
        pairs = "with a gallery"
    return Text(f"No intervals {pairs}: their unit is a class with all pairs of its rows.", "dim")


def _ends(ends: tuple[float, float] | None, show: Callable[[float], str]) -> str:
    """Return an interval as text, or a dash if there is none."""
    return "–" if ends is None else f"{show(ends[0])} to {show(ends[1])}"


def _two(value: float) -> str:
    return number(value, 2)


def _held_out(report: Report) -> RenderableType | None:
    """Return the rates of thresholds on classes that they were not chosen on."""
    found = report.held_out
    if found is None:
        return None
    rows = [
        ("FAR, mean of the folds", rate(found.far_mean), f"at most {rate(found.far_max)}"),
        ("FRR, mean of the folds", rate(found.frr_mean), f"at most {rate(found.frr_max)}"),
        ("Folds that held the bounds", rate(found.bounds_held), bounds(report.recommendation)),
    ]
    title = f"Held-out classes ({found.folds} folds, each at the threshold of the others)"
    note = "Right at its bound a threshold failed in 58 to 61 % of folds; see --confidence."
    return Group(section(title, rows), *marked([note]))


def _differentials(report: Report) -> RenderableType | None:
    """Return how unequal the rates of the classes are."""
    found = report.differentials
    if found is None:
        return None
    many = report.source.many
    rows = [
        (
            f"{name}, Max / GeoMean",
            number(one.max_over_geomean, 3),
            f"Gini {one.gini:.2f}; {one.classes:,} {many} of {one.least_pairs:,} pairs or more",
        )
        for name, one in (("FAR", found.far), ("FRR", found.frr))
        if one is not None
    ]
    title = f"Inequity of the {many} at the recommended threshold"
    return section(title, rows) if rows else None


def _deployed(report: Report) -> RenderableType | None:
    deployed, strangers = report.deployed, []
    if deployed is None:
        return None
    if deployed.fpir is not None:
        strangers = [("FPIR", rate(deployed.fpir), "of the queries without a genuine row")]
    pairs, far, frr = report.pairs, deployed.far or 0.0, deployed.frr or 0.0
    sides = round(far * pairs.impostor), round(frr * pairs.genuine)
    block = section(
        f"Deployed threshold {shown(deployed.threshold, report.settings['metric'])}",
        [
            (
                "FAR",
                rate(deployed.far),
                f"{report.source.one} mean {rate(deployed.class_mean_far)}",
            ),
            (
                "FRR",
                rate(deployed.frr),
                f"{report.source.one} mean {rate(deployed.class_mean_frr)}",
            ),
            (
                f"{report.source.many.capitalize()} within the bounds",
                rate(deployed.classes_meeting_bounds),
                bounds(report.recommendation),
            ),
            *strangers,
        ],
    )
    return Group(block, *borderline(deployed.borderline, *sides))


def _worst_classes(report: Report) -> RenderableType | None:
    """Return the classes of least utility.

    The utility is that at the deployed threshold if there is one, else at the recommended threshold
    if there is one, else the mean over the calibration range.
    """
    classes, where = report.worst_classes, "at the recommended threshold"
    if report.deployed is not None:
        classes, where = report.deployed.worst_classes, "at the deployed threshold"
    if not classes:
        return None
    if classes[0].utility is None:
        where = "over the calibration range"
    rows = [
        (
            worst.class_name,
            f"{worst.size:,}",
            rate(worst.far),
            rate(worst.frr),
            number(worst.mean_utility if worst.utility is None else worst.utility, 3),
        )
        for worst in classes[:SHOWN_CLASSES]
    ]
    title = f"{report.source.many.capitalize()} worst off {where}"
    return class_table(title, (report.source.one, report.counted, "FAR", "FRR", "utility"), rows)
