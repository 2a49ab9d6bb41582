"""Show on the terminal every figure of an evaluation that the summary leaves out."""

from collections.abc import Callable

from rich.console import Group, RenderableType

from opis_cli import decimals
from opis_cli.render.terminal.blocks import marked, section
from opis_cli.render.terminal.groups import groups
from opis_cli.render.terminal.ratios import ratios
from opis_cli.render.terminal.threshold import (
    FEW_CARRIERS,
    borderline,
    recommendation_details,
)
from opis_cli.render.words import class_bounds
from opis_cli.report.evaluation import Evaluation
from opis_cli.report.records import Report
from opis_cli.text import number, on_scale, plain, rate, scale, shown

_SIZES_ALIKE = 5
"""Ratio of the largest to the smallest class above which the share of noise is rough."""


def details(run: Evaluation) -> list[RenderableType]:
    """Return blocks with all other figures; those that a run does not have are left out."""
    report = run.report
    blocks = [
        _read(report),
        _recommendation(report),
        _identification(report),
        _consistency(report),
        _intervals(report),
        _held_out(report),
        ratios(report),
        _differentials(report),
        *groups(run),
        _deployed(report),
    ]
    return [block for block in blocks if block is not None]


def _read(report: Report) -> RenderableType | None:
    """Return which columns were read, if the files have columns."""
    source = report.source
    columns = (("vectors", source.embedding_column), ("labels", source.label_column))
    named = [f"{what} from column {plain(name)}" for what, name in columns if name is not None]
    return section("INPUT", [], ", ".join(named)) if named else None


def _recommendation(report: Report) -> RenderableType | None:
    """Return how the threshold was chosen, and means over the classes at it."""
    chosen, one, many = report.recommendation, report.source.one, report.source.many
    found = recommendation_details(chosen, report)
    if chosen.threshold is None:
        return Group(section("NO THRESHOLD", []), *found) if found else None
    rows = [
        (f"FAR, {one} mean", rate(chosen.class_mean_far), f"each of the {many} weighs the same"),
        (f"FRR, {one} mean", rate(chosen.class_mean_frr), f"each of the {many} weighs the same"),
        (f"{many} within the bounds", rate(chosen.classes_meeting_bounds), class_bounds(chosen)),
        ("precision", rate(chosen.precision), "genuine share of the accepted pairs"),
        ("precision at the prior", rate(chosen.precision_at_prior), _at_prior(report)),
        ("identification (DIR)", rate(chosen.identification), "nearest row right and accepted"),
    ]
    known = [row for row in rows if row[1] != "–"]
    return Group(section("DEPLOY", known, f"chosen by --prefer {chosen.prefer}"), *found)


def _at_prior(report: Report) -> str:
    return f"if {rate(report.settings.get('prior'))} of the pairs are genuine"


def _identification(report: Report) -> RenderableType | None:
    """Return the identification at several FPIRs, with a gallery that lacks some queries."""
    if report.open_set is None or not report.open_set.identification:
        return None
    metric, rows = report.settings["metric"], []
    for one in report.open_set.identification:
        at = "no threshold" if one.threshold is None else f"at {on_scale(one.threshold, metric)}"
        few = "" if one.supported else "; too few queries to show this FPIR"
        rows.append((f"DIR at FPIR {rate(one.fpir)}", rate(one.identification), f"{at}{few}"))
    return section("IDENTIFICATION", rows, "nearest gallery row right and accepted")


def _consistency(report: Report) -> RenderableType:
    """Return OPIS and eps-OPIS on all scales, recall@1 and the EER."""
    asked, metric = report.calibration_range, report.settings["metric"]
    how = "as given"
    if asked.by != "distance":
        how = f"pooled {asked.by.upper()} {rate(asked.low)} to {rate(asked.high)}"
    over = "these pairs resolve no calibration range"
    if asked.threshold_low is not None and asked.threshold_high is not None:
        span = f"{shown(asked.threshold_low, metric)} to {shown(asked.threshold_high, metric)}"
        over = f"over {scale(metric)} {span} ({how})"
    eps, by = f"{100 * report.eps_opis.eps:g}%-OPIS", report.opis_by
    rows = [("OPIS", number(report.opis), ""), (eps, number(report.eps_opis.value), "")]
    scales = [] if by is None else [("unit L2", by.euclidean_unit), ("log FAR", by.log_far)]
    for name, one in scales:
        if one is not None:
            rows.append(
                (f"OPIS by {name}", number(one.opis, 3), f"{eps} {number(one.eps_opis, 3)}")
            )
    nearest = "gallery row" if report.source.gallery_rows is not None else "other row"
    rows.append(("recall@1", rate(report.recall_at_1), f"nearest {nearest} has the same label"))
    known = [row for row in rows if row[1] != "–"]
    at = "distance" if scale(metric).endswith("distance") else scale(metric)
    known.append(("EER", rate(report.eer.rate), f"at {at} {shown(report.eer.threshold, metric)}"))
    return section("CONSISTENCY", known, over)


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
    by_far = _carried(carriers.far_accepted, classes)
    eps_opis, worst = f"{100 * report.eps_opis.eps:g}%-OPIS", report.eps_opis.worst_classes
    rows = [
        (scale(report.settings["metric"]), _ends(found.threshold, decimals.text), where),
        ("FAR", _ends(found.far, rate), by_far or "at the recommended threshold"),
        ("FRR", _ends(found.frr, rate), _carried(carriers.frr, classes)),
        ("OPIS", _ends(found.opis, _two), _carried_roughly(carriers.opis, classes)),
        (eps_opis, _ends(found.eps_opis, _two), _carried_roughly(carriers.eps_opis, worst)),
    ]
    noise = report.opis_corrected
    warnings: list[str] = []
    if noise is not None:
        share = "" if noise.noise_share is None else f"{100 * noise.noise_share:.0f} % is noise, "
        remark = f"{share}{noise.classes:,} classes"
        rows.append(("OPIS less noise", _ends(noise.interval, _two), remark))
        if noise.sizes[1] > _SIZES_ALIKE * noise.sizes[0]:
            warnings.append("Sizes of the classes differ much, so the share of noise is rough.")
        if few := _carried(noise.effective_classes, noise.classes):
            warnings.append(f"OPIS less noise is rough: {few}.")
    known = [row for row in rows if row[1] != "–"]
    told = f"on other classes like these, {100 * found.level:g} %"
    return Group(section("INTERVALS", known, told), *marked(warnings)) if known else None


def _why_no_intervals(report: Report) -> RenderableType | None:
    source = report.source
    if source.gallery_rows is None and source.one == "class" and not report.settings.get("pairs"):
        return None
    pairs = f"by {source.one}" if source.one == "group" else "of scored pairs"
    if source.gallery_rows is not None:
        pairs = "with a gallery"
    why = f"none {pairs}: their unit is a class with all pairs of its rows"
    return section("INTERVALS", [], why)


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
        (
            "Folds that held the bounds",
            rate(found.bounds_held),
            class_bounds(report.recommendation),
        ),
    ]
    told = f"{found.folds} folds, each at the threshold of the others"
    note = "Right at its bound a threshold failed in 58 to 61 % of folds; see --confidence."
    return Group(section("HELD-OUT CLASSES", rows, told), *marked([note]))


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
    told = f"of the {many} at the recommended threshold"
    return section("INEQUITY", rows, told) if rows else None


def _deployed(report: Report) -> RenderableType | None:
    """Return means over the classes at the deployed threshold, and pairs within a rounding."""
    deployed, pairs, one = report.deployed, report.pairs, report.source.one
    if deployed is None:
        return None
    far, frr = deployed.far or 0.0, deployed.frr or 0.0
    sides = round(far * pairs.impostor), round(frr * pairs.genuine)
    within, asked = f"{report.source.many} within the bounds", class_bounds(report.recommendation)
    rows = [
        (f"FAR, {one} mean", rate(deployed.class_mean_far), ""),
        (f"FRR, {one} mean", rate(deployed.class_mean_frr), ""),
        (within, rate(deployed.classes_meeting_bounds), asked),
    ]
    known = [row for row in rows if row[1] != "–"]
    return Group(section("IN USE", known), *borderline(deployed.borderline, *sides))


def _carried(effective: float | None, classes: int) -> str:
    """Say how many classes carry a figure in effect, if that is less than half of them."""
    if effective is None or 2 * effective >= classes:
        return ""
    carry = "1 class carries" if effective < 1.05 else f"{effective:.2g} classes carry"
    return f"in effect {carry} it"


def _carried_roughly(effective: float | None, classes: int) -> str:
    """Say how many classes carry OPIS in effect.

    If these are few, its interval is rough, however many classes there are in all.
    """
    if effective is None or effective >= FEW_CARRIERS:
        return _carried(effective, classes)
    return "rough: " + _carried(effective, 1 << 62).removesuffix(" carry it").removesuffix(
        " carries it"
    )
