"""A verdict's reports, read by the programs they are for; names from the data stay text."""

import dataclasses
import json
import re
import xml.etree.ElementTree as ET
from urllib.parse import unquote

import data
import numpy as np
import pytest
from junitparser import JUnitXml
from markdown_it import MarkdownIt
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from rich.console import Console

import opis_cli as opis
from opis_cli.judging.checks import Check
from opis_cli.judging.evidence import KINDS
from opis_cli.judging.gate import Outcome, judge
from opis_cli.judging.limits import RULES, Demands, Limit
from opis_cli.judging.models import compare
from opis_cli.render.page.html import gate_page
from opis_cli.render.terminal.gate import comparison
from opis_cli.render.terminal.gate import verdict as terminal
from opis_cli.render.verdicts import FORMATS
from opis_cli.render.verdicts.github import annotations
from opis_cli.render.verdicts.words import signed, told
from opis_cli.report.report_json import to_json

HOSTILE = (
    "<script>alert(1)</script>|`a`*b*_c_~d~",
    "[x](http://evil.example) ![y](//z)",
    "\n::error::pwned\r\n##[error]x %0A",
    "www.evil.example a@evil.example #1 @me",
    "\x00\x1b[31m\u202e\ufffe&amp;",
    "'\"><img src=x onerror=alert(1)>",
)


def hostile_run(spread, **settings):
    vectors, labels = data.blobs(240, len(HOSTILE), spread=spread)
    # Two equal rows with different labels.
    vectors[np.flatnonzero(labels != labels[0])[0]] = vectors[0]
    return opis.evaluate(vectors, np.array(HOSTILE, object)[labels], **settings)


def hostile_evidence(run):
    """Evidence with a shown column of hostile texts, in which every row is suspect."""
    found = run.explain(threshold=0.5)
    texts = [HOSTILE[place % len(HOSTILE)] for place in range(len(found.pairs))]
    shown = {f"{HOSTILE[0]}_a": texts, f"{HOSTILE[0]}_b": texts[::-1]}
    return dataclasses.replace(
        found, pairs=found.pairs.assign(**shown), rows=found.rows.assign(suspect="label")
    )


@pytest.fixture(scope="module")
def failing():
    return hostile_run(0.9)


@pytest.fixture(scope="module")
def failed(failing):
    """Every limit, none of which holds, over classes of hostile names."""
    limits = tuple(Limit(rule, 1.0 if rule.least else 0.0) for rule in RULES)
    demands = Demands(limits, "old | <b>run</b>", 0.9)
    old = hostile_run(0.5)
    return judge(
        failing,
        demands,
        baseline=old,
        path="new `run`",
        threshold="0.5",
        evidence=hostile_evidence(failing),
        replicates=50,
    )


# The attributes and children that the schema junit-10.xsd of Jenkins allows and requires.
ALLOWED = {
    "testsuites": ({"name", "time", "tests", "failures", "errors"}, set(), {"testsuite"}),
    "testsuite": (
        {"name", "tests", "failures", "errors", "time", "skipped", "timestamp"},
        {"name", "tests", "failures", "errors"},
        {"properties", "testcase"},
    ),
    "properties": (set(), set(), {"property"}),
    "property": ({"name", "value"}, {"name", "value"}, set()),
    "testcase": ({"name", "time", "classname"}, {"name"}, {"failure"}),
    "failure": ({"type", "message"}, set(), set()),
}


def test_junit_holds_to_the_published_schema_and_other_parsers_read_it(failed, tmp_path):
    text = FORMATS["junit"](Outcome(failed, None))
    for element in ET.fromstring(text.encode()).iter():
        allowed, required, children = ALLOWED[element.tag]
        assert required <= set(element.attrib) <= allowed
        assert {child.tag for child in element} <= children
        if "time" in element.attrib:
            assert re.fullmatch(r"\d+\.\d{1,3}", element.attrib["time"])
    (tmp_path / "junit.xml").write_text(text, encoding="utf-8")
    (suite,) = JUnitXml.fromfile(str(tmp_path / "junit.xml"))
    assert (suite.tests, suite.failures, suite.errors) == (len(RULES), len(RULES), 0)
    names = [case.name for case in suite]
    assert names == [check.name for check in failed.checks] and len(set(names)) == len(RULES)
    for case, check in zip(suite, failed.checks, strict=True):
        (failure,) = case.result
        assert failure.message == failure.text
        assert failure.message.startswith(f"{check.name}: ")
        assert failure.text.count("\nrows ") == len(check.pairs)
    properties = {one.name: float(one.value) for one in suite.properties()}
    assert properties["opis"] == pytest.approx(failed.figures["opis"])


def test_a_passing_check_is_listed_without_failure():
    limit = Limit(RULES[0], 1.0)
    run = hostile_run(0.5)
    verdict = judge(run, Demands((limit,), None, None))
    (suite,) = JUnitXml.fromstring(FORMATS["junit"](Outcome(verdict, None)).encode())
    assert (suite.tests, suite.failures) == (1, 0)
    assert "✅" in FORMATS["markdown"](Outcome(verdict, run)) and list(annotations(verdict)) == []


def test_markdown_has_no_markup_of_the_data(failed, failing):
    text = FORMATS["markdown"](Outcome(failed, failing))
    for linkify in (False, True):
        parser = MarkdownIt("commonmark", {"linkify": linkify}).enable("table")
        tokens = parser.parse(text)
        inline = [child for token in tokens for child in token.children or ()]
        assert {token.type for token in tokens if token.nesting == 0} == {"inline"}
        # Softbreaks aside, nothing but text: no code, link, image, emphasis or HTML.
        assert {child.type for child in inline} <= {"text", "text_special"}
    tables = re.findall(r"<tr>(.*?)</tr>", parser.render(text), re.S)
    widths = {row.count("<td") + row.count("<th") for row in tables}
    assert widths == {3, 4, 5, 6}
    assert all(ord(char) >= 32 or char == "\n" for char in text)


@pytest.mark.parametrize(
    "address", ["gate.html", "../a b)/<x>](y).html", "https://x/r/actions/runs/1#artifacts"]
)
def test_markdown_links_to_the_page_and_to_nothing_else(failed, failing, address):
    text = FORMATS["markdown"](Outcome(failed, failing, page=address))
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    inline = [child for token in tokens for child in token.children or ()]
    (link,) = [one.attrs["href"] for one in inline if one.type == "link_open"]
    assert unquote(link) == address


def test_markdown_names_the_classes_that_pay_at_the_judged_threshold(failed, failing):
    text = FORMATS["markdown"](Outcome(failed, failing))
    table = failing.classes(threshold=0.5)
    lines = text.partition("with the highest FRR")[2].splitlines()[4:]
    assert f"{100 * table['frr'].max():.3g} %" in lines[0]
    lines = text.partition("with the highest FAR")[2].splitlines()[4:]
    assert f"{100 * table['far'].max():.3g} %" in lines[0]


CHANGE = {"limit": 0.000077, "margin": -0.001, "least": False, "confidence": 0.95}
SAID = {
    "max-opis-increase": (
        {
            "value": 0.00184,
            "interval": (0.00116, 0.00259),
            "unit": "number",
            "remark": "from a to b",
        },
        "OPIS rose by 0.00184 (95 %: 0.00116 to 0.00259), allowed 0.000077; from a to b",
    ),
    "max-frr-increase": (
        {"value": -0.012, "interval": (-0.02, 0.003), "unit": "rate"},
        "FRR fell by 1.2 pp (95 %: -0.3 to 2 pp)",
    ),
    "max-recall-drop": (
        {"value": 0.02, "limit": 0.01, "unit": "rate"},
        "recall@1 fell by 2 pp, allowed 1 pp",
    ),
    "max-threshold-shift": (
        {"value": 0.07, "limit": 0.02, "unit": "distance"},
        "threshold moved by 0.07, allowed 0.02",
    ),
    "max-class-frr": (
        {"value": 0.692, "limit": 0.6, "unit": "rate", "remark": "class x, 9 of 13 genuine pairs"},
        "highest FRR is 69.2 %, allowed 60 %; class x, 9 of 13 genuine pairs",
    ),
    "min-recall-at-1": (
        {"value": 0.8, "limit": 0.9, "unit": "rate", "least": True},
        "recall@1 is 80 %, needed 90 %",
    ),
    "max-suspects": ({"value": 12, "limit": 5, "unit": "rows"}, "12 suspect rows, allowed 5"),
    "max-opis": (
        {"value": None, "unit": "number", "remark": "undefined: one class"},
        "OPIS is undefined: one class",
    ),
}


@pytest.mark.parametrize("name", SAID)
def test_a_check_is_a_sentence(name):
    given, sentence = SAID[name]
    check = Check(name, False, **({"remark": ""} | CHANGE | given))
    assert told(check) == sentence


def test_differences_have_no_exponents():
    assert signed(9.43e-7, "rate") == "+0.0000943 pp"
    assert signed(-4.2e-9, "distance") == "-0.0000000042"
    assert signed(7.7e-7, "number") == "+0.00000077"
    assert signed(0.0, "rate") == "+0 pp" and signed(0.25, "rate") == "+25 pp"


def test_metrics_are_openmetrics(failed):
    text = FORMATS["gitlab"](Outcome(failed, None))
    samples = {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["opis"] == pytest.approx(failed.figures["opis"], abs=1e-8)
    assert samples["opis_frr"] == pytest.approx(failed.figures["frr"], abs=1e-8)
    assert samples["opis_failed_checks"] == len(RULES)
    assert text.endswith("\n# EOF\n") and "e-" not in text


def test_annotations_are_ten_at_most_and_one_line_each(failed):
    lines = list(annotations(failed))
    assert len(lines) == 10
    for line in lines:
        assert re.fullmatch(r"::error title=[^:,\r\n]*(%3A[^:,\r\n]*)?::[^\r\n]*", line), line
        assert "%" not in re.sub("%(25|0D|0A|3A|2C)", "", line)
    named = " ".join(lines)
    assert all(check.name in named for check in failed.checks)


def test_outputs_are_one_line_each(failed):
    lines = FORMATS["github"](Outcome(failed, None)).splitlines()
    values = dict(line.split("=", 1) for line in lines)
    assert values["passed"] == "false" and values["failed"].split(",")[0] == "max-opis"
    assert float(values["opis"]) == pytest.approx(failed.figures["opis"])


def test_json_keeps_names_as_they_are(failed):
    verdict = json.loads(to_json(failed))
    named = [check["class"] for check in verdict["checks"] if check["class"] is not None]
    assert named and set(named) <= set(HOSTILE)
    assert verdict["passed"] is False and verdict["judged"]["kind"] == "deployed"
    found = {check["name"]: check["pairs"] for check in verdict["checks"]}
    assert {name for name, pairs in found.items() if pairs} == set(KINDS)
    pair = found["max-far"][0]
    assert {pair["class_a"], pair["class_b"]} <= set(HOSTILE)
    assert set(pair["columns"]) == {HOSTILE[0]} and set(pair["columns"][HOSTILE[0]]) <= set(HOSTILE)


def test_the_terminal_shows_no_control_characters(failed, failing, capsys):
    Console(width=80).print(terminal(failed, failing.report))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\u202e]", capsys.readouterr().out)


def test_on_github_every_report_is_found_by_itself(cli, tmp_path, monkeypatch):
    hostile_run(0.9).save(tmp_path / "run")
    summary, output = tmp_path / "summary.md", tmp_path / "output.txt"
    summary.write_text("before\n")
    for name, value in (
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_STEP_SUMMARY", str(summary)),
        ("GITHUB_OUTPUT", str(output)),
    ):
        monkeypatch.setenv(name, value)
    done = cli("gate", "run", "--max-opis", "0", "--max-class-far", "0")
    assert done.returncode == 1
    assert summary.read_text().startswith("before\n### ❌ Gate failed: 2 of 2 checks")
    assert "passed=false\nfailed=max-opis,max-class-far\n" in output.read_text()
    lines = done.stdout.splitlines()
    # What the data could say lies between these two, where the runner heeds no command.
    token = lines[0].removeprefix("::stop-commands::")
    end = lines.index(f"::{token}::")
    assert len(token) == 32 and end > 3
    assert [line.split("::")[1] for line in lines[end + 1 :]] == [
        "error title=opis gate%3A max-opis",
        "error title=opis gate%3A max-class-far",
    ]
    aside = cli("gate", "run", "--max-opis", "0", "--json")
    assert json.loads(aside.stdout)["passed"] is False
    assert aside.stderr.startswith("::error title=opis gate%3A max-opis::")


def test_groups_are_called_groups(capsys):
    def run(spread):
        vectors, labels = data.blobs(240, 12, spread=spread)
        return opis.evaluate(vectors, labels, columns={"who": labels % 4}, group_column="who")

    old, new = run(0.5), run(0.9)
    demands = Demands((Limit(RULES[0], 1.0),), "old", None)
    verdict = judge(new, demands, baseline=old, replicates=10)
    assert verdict.baseline.most_worse
    Console(width=80).print(terminal(verdict, new.report))
    Console(width=80).print(comparison(compare([old, new], ["old", "new"]), old.report))
    for text in (capsys.readouterr().out, FORMATS["markdown"](Outcome(verdict, new))):
        assert "Groups that lost most" in text and "lass" not in text
    shown = gate_page(Outcome(verdict, new, old)).partition("<body>")[2].partition("<script")[0]
    shown = re.sub(r"data:image[^\"]*|<[^>]*>", "", shown)
    assert "Groups that lost most" in shown and "lass" not in shown


def test_on_github_no_table_holds_a_command(cli, monkeypatch, tmp_path):
    vectors, labels = data.blobs(60, 3)
    np.save(tmp_path / "x.npy", vectors)
    names = np.array(["::error::boo", "b", "c"])[labels]
    (tmp_path / "y.txt").write_text("\n".join(names) + "\n")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    commands = [
        ("evaluate", "x.npy", "--labels", "y.txt", "--out", "::error::run"),
        ("recommend", "::error::run"),
        ("margins", "::error::run"),
        ("compare", "::error::run", "x.npy", "--config", "opis.toml"),
        ("gate", "::error::run", "--max-opis", "1"),
    ]
    (tmp_path / "opis.toml").write_text('labels = "y.txt"\n')
    for words in commands:
        done = cli(*words)
        assert done.returncode == 0, done.stderr
        first, *inner, last = done.stdout.splitlines()
        assert first.startswith("::stop-commands::"), words
        assert last == f"::{first.removeprefix('::stop-commands::')}::", words
        if words[0] not in ("recommend", "margins"):
            assert "::error::" in "".join(inner), words
