"""Write a verdict as JUnit XML, for the test reports of CI systems."""

import re

from opis_cli.judging.gate import Outcome
from opis_cli.render.verdicts.words import pair_lines, sentence
from opis_cli.text import plain

# Characters that XML 1.0 does not allow. `plain` replaces only the control characters among them.
_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def junit(outcome: Outcome) -> str:
    """Return a suite with a test case for each check."""
    from junitparser import Failure, JUnitXml, TestCase, TestSuite

    verdict = outcome.verdict
    suite = TestSuite(_xml(f"opis gate {plain(verdict.run, 120)}"))
    suite.timestamp = verdict.created[:19]
    judged_by = {"confidence": verdict.confidence, "false_alarm": verdict.false_alarm}
    for name, value in (verdict.figures | judged_by).items():
        if value is not None:
            suite.add_property(name, f"{value:.9g}")
    for check in verdict.checks:
        case = TestCase(check.name, "opis.gate", 0.0)
        if not check.passed:
            # Some programs show the message and others the text, and few show the properties. So
            # message and text both hold everything.
            told = " ".join([sentence(check) + ".", *verdict.notes])
            text = _xml("\n".join([told, *pair_lines(check)]))
            failure = Failure(text, "limit")
            failure.text = text
            case.result = [failure]
        suite.add_testcase(case)
    suite.update_statistics()  # type: ignore[no-untyped-call]
    report = JUnitXml("opis gate")
    report.add_testsuite(suite)
    # The totals are set by hand. The library's own method would add `skipped`, which the published
    # schema does not allow.
    report.tests, report.failures, report.errors = suite.tests, suite.failures, suite.errors
    report.time = suite.time
    xml = report.tostring().decode()  # type: ignore[no-untyped-call]
    return f'<?xml version="1.0" encoding="utf-8"?>\n{xml}\n'


def _xml(text: str) -> str:
    return _NO_XML.sub("\ufffd", text)
