"""The figures of a run, with their 95 % intervals, as text."""

from dataclasses import dataclass

from opis_cli.records import Ends
from opis_cli.report.evaluation import Evaluation
from opis_cli.text import number, rate, shown


@dataclass(frozen=True, slots=True)
class Fact:
    """A figure by its name; ``about`` is its interval, or where it holds."""

    name: str
    value: str
    about: str = ""


def what_was_read(run: Evaluation) -> str:
    """Return how many rows, classes and pairs the run has."""
    report = run.report
    parts = [f"{report.source.rows:,} {report.counted}"]
    if report.source.classes:
        parts.append(f"{report.source.classes:,} {report.source.many}")
    if not run.settings.pairs:
        parts.append(f"{report.pairs.genuine + report.pairs.impostor:,} pairs")
    return " · ".join(parts)


def facts(run: Evaluation) -> list[Fact]:
    """Return the figures of a run that do not depend on the threshold."""
    report, metric = run.report, run.settings.metric
    source, known = report.source, report.intervals
    eps = f"{100 * report.eps_opis.eps:g}%-OPIS"
    found = [
        Fact("OPIS", number(report.opis, 3), _ends(known.opis if known else None)),
        Fact(eps, number(report.eps_opis.value, 3), _ends(known.eps_opis if known else None)),
        Fact("recall@1", rate(report.recall_at_1)),
        Fact("EER", rate(report.eer.rate), f"at {shown(report.eer.threshold, metric)}"),
    ]
    if report.llr is not None:
        least = f"min Cllr {number(report.llr.min_cllr, 3)}"
        found.append(Fact("Cllr", f"{number(report.llr.cllr, 3)} bits", least))
    if report.recall_at_1 is None:
        del found[2]
    if not source.evaluable_classes:
        del found[:2]
    ends = run.consistency.ends
    if ends:
        text = " to ".join(shown(end, metric) for end in ends)
        about = report.calibration_range
        found.append(Fact("calibration range", text, f"{about.by} {about.low:g} to {about.high:g}"))
    if known is not None and known.threshold is not None:
        text = " to ".join(shown(end, metric) for end in known.threshold)
        found.append(Fact("where the bound could lie on other classes", text, "95 % interval"))
    found.append(Fact(report.counted, f"{source.rows:,}"))
    if source.classes:
        of = f"{source.evaluable_classes:,} have pairs of both kinds"
        found.append(Fact(source.many, f"{source.classes:,}", of))
    found.append(Fact("genuine pairs", f"{report.pairs.genuine:,}"))
    found.append(Fact("impostor pairs", f"{report.pairs.impostor:,}"))
    return found


def _ends(ends: Ends | None) -> str:
    return "" if ends is None else " to ".join(number(end, 2) for end in ends) + " (95 %)"
