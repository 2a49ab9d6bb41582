"""A verdict as text for other programs: JUnit, Markdown, GitHub, GitLab.

Class names come from the data. Wherever one is shown it is on one line, of bounded length, and
escaped as the format demands, so that no name can become markup or a command.
"""

import re
from collections.abc import Iterator

from opis_cli import decimals
from opis_cli.judging.checks import Check
from opis_cli.judging.gate import Verdict
from opis_cli.judging.limits import Unit
from opis_cli.report.records import Report
from opis_cli.text import number, on_scale, plain, rate

MOST_ANNOTATIONS = 10
# A dot before a letter could make an address, which some renderers turn into a link.
_MARKUP = re.compile(r"""[\\`*_{}\[\]<>()#!|&~@:/$"'^=]|\.(?=[^\W\d])""")
# What XML 1.0 has no place for, beside the control characters that `plain` replaces.
_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def shown(value: float | None, unit: Unit, *, points: bool = False) -> str:
    """A figure for people; ``points`` for a difference of rates, in percentage points."""
    if value is None:
        return "–"
    if unit == "distance":
        return number(value, 4) if points else decimals.text(value)
    if unit == "number":
        return number(value, 3 if points else 4)
    if points:
        return f"{100 * value:.3g} pp"
    return rate(value) if value >= 0 else "-" + rate(-value)


def signed(value: float | None, unit: Unit) -> str:
    """A difference with its sign, of rates in percentage points."""
    text = shown(value, unit, points=True)
    return text if value is None or value < 0 else f"+{text}"


def cells(check: Check) -> tuple[str, str, str]:
    """Value, limit and margin of a check for people, the limit with its direction."""
    worse = check.baseline is not None or check.name in _AGAINST
    sign = ">=" if check.least else "<="
    return (
        shown(check.value, check.unit, points=worse),
        f"{sign} {shown(check.limit, check.unit, points=worse)}",
        signed(check.margin, check.unit),
    )


_AGAINST = ("max-opis-increase", "max-frr-increase", "max-recall-drop", "max-threshold-shift")


def evidence(check: Check) -> str:
    """What the classes show of a worsening: its interval, and the least that they could."""
    if check.interval is None or check.detectable is None or check.confidence is None:
        return ""
    low, high = (shown(end, check.unit, points=True) for end in check.interval)
    least = shown(check.detectable, check.unit, points=True)
    level = f"{100 * check.confidence:.4g} %"
    return f"{low} to {high}, each end at {level}; the least that these classes can show is {least}"


def sentence(check: Check) -> str:
    """A check in one line, with everything that decided it."""
    value, limit, margin = cells(check)
    parts = [f"{check.name}: {value}, limit {limit}, margin {margin}"]
    parts += [text for text in (check.remark, evidence(check)) if text]
    return ". ".join(parts)


def headline(verdict: Verdict) -> str:
    """The verdict in a few words."""
    checks = "check" if len(verdict.checks) == 1 else "checks"
    if verdict.passed:
        return f"Gate passed: {len(verdict.checks)} {checks}"
    return f"Gate failed: {len(verdict.failed)} of {len(verdict.checks)} {checks}"


def subject(verdict: Verdict) -> str:
    """What was judged, and where, in one line."""
    parts = [plain(verdict.run, 120)]
    if verdict.baseline is not None:
        parts.append(f"against {plain(verdict.baseline.path, 120)}")
    if verdict.judged is not None:
        at = verdict.judged
        parts.append(f"at the {at.kind} {on_scale(at.threshold, verdict.metric)}")
    return " ".join(parts)


def markdown(verdict: Verdict, report: Report) -> str:
    """The verdict as GitHub-flavoured Markdown; ``report`` is that of the run."""
    mark = "✅" if verdict.passed else "❌"
    lines = [f"### {mark} {headline(verdict)}", "", _escaped(subject(verdict)), ""]
    lines += ["| | check | value | limit | margin | |", "|---|---|---:|---:|---:|---|"]
    for check in verdict.checks:
        remark = ". ".join(text for text in (check.remark, evidence(check)) if text)
        row = ["✅" if check.passed else "❌", check.name, *cells(check), remark]
        lines.append("| " + " | ".join(map(_escaped, row)) + " |")
    if verdict.baseline is not None and verdict.baseline.most_worse:
        one, many = report.source.one, report.source.many.capitalize()
        lines += ["", f"{many} that lost most (mean utility over the calibration range):", ""]
        lines += [f"| {one} | {report.counted} | before | now | change |"]
        lines += ["|---|---:|---:|---:|---:|"]
        for change in verdict.baseline.most_worse:
            row = [plain(change.class_name), f"{change.size:,}", number(change.base, 3)]
            row += [number(change.mean_utility, 3), number(change.change, 2)]
            lines.append("| " + " | ".join(map(_escaped, row)) + " |")
    lines += [f"\n> {_escaped(note)}" for note in verdict.notes]
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is: whatever could be markup is a character reference."""
    return _MARKUP.sub(lambda found: f"&#{ord(found[0])};", text)


def junit(verdict: Verdict) -> str:
    """The verdict as JUnit XML: a suite, with a test case for each check."""
    from junitparser import Failure, JUnitXml, TestCase, TestSuite

    suite = TestSuite(_xml(f"opis gate {plain(verdict.run, 120)}"))
    suite.timestamp = verdict.created[:19]
    told = {"confidence": verdict.confidence, "false_alarm": verdict.false_alarm}
    for name, value in (verdict.figures | told).items():
        if value is not None:
            suite.add_property(name, f"{value:.9g}")
    for check in verdict.checks:
        case = TestCase(check.name, "opis.gate", 0.0)
        if not check.passed:
            # Some programs show the message, others the text, and hardly any the properties.
            text = _xml(" ".join([sentence(check) + ".", *verdict.notes]))
            failure = Failure(text, "limit")
            failure.text = text
            case.result = [failure]
        suite.add_testcase(case)
    suite.update_statistics()  # type: ignore[no-untyped-call]
    report = JUnitXml("opis gate")
    report.add_testsuite(suite)
    # By hand, as the library would add `skipped`, which the published schema has no place for.
    report.tests, report.failures, report.errors = suite.tests, suite.failures, suite.errors
    report.time = suite.time
    xml = report.tostring().decode()  # type: ignore[no-untyped-call]
    return f'<?xml version="1.0" encoding="utf-8"?>\n{xml}\n'


def _xml(text: str) -> str:
    return _NO_XML.sub("\ufffd", text)


def gitlab_metrics(verdict: Verdict) -> str:
    """Figures as OpenMetrics text, rounded, as GitLab compares them as strings."""
    lines = [
        f"opis_{name.removeprefix('opis')} {value:.8f}".replace("opis_ ", "opis ")
        for name, value in verdict.figures.items()
        if value is not None
    ]
    lines.append(f"opis_failed_checks {len(verdict.failed)}")
    return "\n".join(lines) + "\n# EOF\n"


def github_outputs(verdict: Verdict) -> str:
    """Lines ``name=value`` for the later steps of a job."""
    values = {
        "passed": str(verdict.passed).lower(),
        "failed": ",".join(check.name for check in verdict.failed),
    }
    values |= {
        name.replace("_", "-"): "" if value is None else f"{value:.9g}"
        for name, value in verdict.figures.items()
    }
    return "".join(f"{name}={value}\n" for name, value in values.items())


def annotations(verdict: Verdict) -> Iterator[str]:
    """GitHub's error annotations, one a failed check, no more than a step may have."""
    failed = verdict.failed
    fits = len(failed) <= MOST_ANNOTATIONS
    for check in failed if fits else failed[: MOST_ANNOTATIONS - 1]:
        title = _property(f"opis gate: {check.name}")
        yield f"::error title={title}::{_data(sentence(check))}"
    if not fits:
        rest = ", ".join(check.name for check in failed[MOST_ANNOTATIONS - 1 :])
        yield f"::error title=opis gate::{_data(f'and {rest}')}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
