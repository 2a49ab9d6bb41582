"""Show on the terminal whether the classes are alike, and which of them pay for a threshold."""

import math

from rich.console import Group, RenderableType
from rich.text import Text

from opis_cli.render.terminal.blocks import hanging, titled
from opis_cli.render.terminal.evidence import fitted_table
from opis_cli.render.terminal.threshold import FEW_CARRIERS
from opis_cli.render.words import class_bounds
from opis_cli.report.evaluation import Evaluation
from opis_cli.report.records import Report
from opis_cli.scoring.operating import rates_at
from opis_cli.scoring.who_pays import FEW_PAIRS, ClassErrors, WhoPays, who_pays
from opis_cli.text import number, on_scale, plain, rate

SHOWN_CLASSES = 3
"""Most classes of each kind in the table of those that pay."""
_NAME = 32
"""Most characters of the name of a class."""


def alike(report: Report) -> RenderableType:
    """Return how much the classes differ: in words, and as OPIS and eps-OPIS."""
    title = f"ARE THE {report.source.many.upper()} ALIKE?"
    if report.opis is None:
        return titled(title, _why_undefined(report))
    eps, known = report.eps_opis, report.intervals
    told = f"A {report.source.one} is typically {_two(math.sqrt(report.opis))} off the mean utility"
    figures = [f"OPIS {number(report.opis, 3)}{_ends(known.opis if known else None)}"]
    if eps.value is not None:
        worst = (
            f"worst {eps.worst_classes:,} trail" if eps.worst_classes > 1 else "worst one trails"
        )
        told += f"; the {worst} by {_two(math.sqrt(eps.value))}"
        ends = _ends(known.eps_opis if known else None)
        figures.append(f"{100 * eps.eps:g}%-OPIS {number(eps.value, 3)}{ends}")
    if known is not None:
        carriers = known.effective_classes.opis
        rough = carriers is not None and carriers < FEW_CARRIERS
        figures.append(f"({100 * known.level:g} %{', rough' if rough else ''})")
    return Group(
        titled(title, "(utility: 1 without errors, 0 at worst)"),
        hanging("  ", f"{told}."),
        hanging("  ", Text("   ".join(figures), style="dim")),
    )


def _two(value: float) -> str:
    return number(value, 2)


def _ends(ends: tuple[float, float] | None) -> str:
    return "" if ends is None else f" [{_two(ends[0])}, {_two(ends[1])}]"


def _why_undefined(report: Report) -> str:
    if report.source.evaluable_classes:
        return f"undefined with one evaluable {report.source.one}"
    if report.source.classes:
        return f"no {report.source.one} has pairs of both kinds"
    return "no classes; --group-column names groups"


def paying(run: Evaluation) -> RenderableType | None:
    """Return the classes with the highest FRR and FAR, and those with too few pairs to judge.

    The threshold is the deployed one, else the recommended one, else one that meets a bound alone.
    """
    report, source = run.report, run.report.source
    at = _threshold(report)
    if at is None or not source.evaluable_classes:
        return None
    threshold, told, share = at
    if share is not None:
        asked = class_bounds(report.recommendation).replace(" and ", " or ")
        classes = f"{rate(1 - share)} of the {source.evaluable_classes:,} {source.many}"
        told = f"{classes} break {asked} {told}".rstrip()
    far_at: float = threshold
    frr_at: float | None = threshold
    if run.counts.grid.column_of(threshold) is None:
        between = rates_at(run.counts, threshold, run.settings.beta)
        far_at, frr_at = between.class_far_at, between.class_frr_at
    found = who_pays(run.counts, far_at, frr_at, SHOWN_CLASSES)
    rows: list[tuple[str | Text, ...]] = [_row(one, "bold", "") for one in found.rejected]
    if found.accepted:
        rows.append((Text("  most accepted", style="dim"), "", "", "", ""))
        rows += [_row(one, "", "bold") for one in found.accepted]
    few = _few(found, report)
    if not rows:
        return Group(titled("WHO PAYS", told), *few) if few else None
    first = "most rejected" if found.rejected else source.one
    return Group(fitted_table("WHO PAYS", (f"  {first}", *_HEADS), rows, 1, rest=told), *few)


_HEADS = ("FRR", "rejected", "FAR", "accepted")


def _threshold(report: Report) -> tuple[float, str, float | None] | None:
    """Return the threshold at which classes are shown, in words, and the share within bounds."""
    chosen, deployed, metric = report.recommendation, report.deployed, report.settings["metric"]
    if deployed is not None:
        return deployed.threshold, "at the threshold in use", deployed.classes_meeting_bounds
    if chosen.threshold is not None:
        return chosen.threshold, "", chosen.classes_meeting_bounds
    for name, at, bound in (
        ("FAR", chosen.at_max_far, chosen.max_far),
        ("FRR", chosen.at_max_frr, chosen.max_frr),
    ):
        if at is not None and at.threshold is not None:
            told = f"at {on_scale(at.threshold, metric)}, which meets {name} <= {rate(bound)} alone"
            return at.threshold, told, None
    return None


def _row(one: ClassErrors, of_frr: str, of_far: str) -> tuple[str | Text, ...]:
    """Return the cells of a class. The styles are those of its FRR and of its FAR."""
    return (
        f"  {plain(one.class_name, _NAME)}",
        Text(rate(one.frr), style=of_frr),
        f"{one.rejected:,}/{one.genuine:,}",
        Text(rate(one.far), style=of_far),
        f"{one.accepted:,}/{one.impostor:,}",
    )


def _few(found: WhoPays, report: Report) -> list[RenderableType]:
    """Return how many classes have too few pairs to judge, and which of them look worst."""
    if not found.few:
        return []
    named = [plain(one.class_name, _NAME) for one in found.unjudged[:1]]
    kind = report.source.one if found.few == 1 else report.source.many
    told = f"Too few pairs to judge (under {FEW_PAIRS}): {found.few:,} {kind}"
    return [hanging("  ", Text(", such as ".join([told, *named]), style="dim"))]
