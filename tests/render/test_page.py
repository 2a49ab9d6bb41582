"""The page without a browser: what it says, and that its numbers are those of the run."""

import dataclasses
import re
import shlex

import data
import numpy as np
import pages
import pytest
from markupsafe import escape

import opis_cli as opis
from opis_cli.errors import SettingsError
from opis_cli.judging.gate import Outcome, judge
from opis_cli.judging.limits import RULES, Demands, Limit
from opis_cli.render.page import html
from opis_cli.render.page.answer import commands
from opis_cli.render.page.html import gate_page, report_page
from opis_cli.render.page.packing import packed
from opis_cli.render.verdicts.words import told
from opis_cli.report.evidence import FOLDER, save_evidence
from opis_cli.scoring.who_pays import FEW_PAIRS
from opis_cli.text import rate


@pytest.fixture(scope="module", autouse=True)
def _no_picture():
    """Leave out the static picture, which takes longest. The tests in the browser look at it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(html, "draw", lambda run, kind: None)
        patch.setattr(html, "_picture", lambda figure: "data:image/png;base64,")
        yield


@pytest.fixture(scope="module")
def made():
    """A failed verdict over classes of hostile names, with the run and its baseline."""
    old, new = pages.named(pages.HOSTILE, 0.6), pages.named(pages.HOSTILE)
    limits = tuple(Limit(rule, 1.0 if rule.least else 0.0) for rule in RULES)
    verdict = judge(
        new,
        Demands(limits, "<b>old</b>", 0.95),
        baseline=old,
        threshold="0.5",
        path="</title><i>",
        evidence=new.explain(threshold=0.5),
        replicates=50,
    )
    return Outcome(verdict, new, old)


@pytest.fixture(scope="module")
def gate(made):
    return gate_page(made)


def test_no_name_becomes_markup(gate):
    assert "window.pwned" in gate and "<script>window.pwned" not in gate
    assert "<b>old" not in gate and "</title><i>" not in gate and "<img src='http" not in gate
    # What looks like a template is text too.
    assert "{{ 7 * 7 }}{% raw %}" in gate
    # Nothing to load: every address is a data address, or a place in the page.
    assert set(re.findall(r'(?:src|href)="(data:|#|)', gate)) == {"data:", "#"}


def test_the_gate_is_on_its_page(made, gate):
    assert f"<h1>Gate failed: {len(made.verdict.failed)} of {len(RULES)} checks</h1>" in gate
    assert "max-far: Closest false accepts" in gate
    for check in made.verdict.failed:
        assert f"<bdi>{escape(told(check))}</bdi>" in gate
    assert "lost most against &lt;b&gt;old" in gate
    found = pages.data_of(gate)
    assert found["scales"][0]["values"][found["start"]] >= 0.5
    # The threshold in use is that of the gate. The run itself was evaluated without one.
    assert dict(found["presets"])["Deployed"] == found["start"]
    far = rate(made.verdict.figures["far"])
    assert f"Deployed now: 0.5, with FAR {far}" in gate
    assert found["base"]["values"] and len(found["classes"]["change"]) == len(pages.HOSTILE)


@pytest.mark.parametrize("name", ["blobs", "many_singletons", "duplicated", "narrow"])
def test_the_counts_of_the_page_give_the_rates_of_the_run(name):
    run = opis.evaluate(*data.MADE[name])
    found = pages.data_of(report_page(run))
    genuine, impostor, own_genuine, own_impostor = pages.unpacked(found)
    genuine_all, impostor_all = found["totals"]
    names = found["classes"]["name"]
    assert names == [str(one) for one in run.counts.class_names]
    for column in range(0, len(found["at"]), 97):
        place = found["at"][column]
        at = found["scales"][0]["values"][place]
        rates = run.rates(at)
        assert impostor[0, place] / impostor_all == rates.far
        assert (genuine_all - genuine[0, place]) / genuine_all == rates.frr
        table = run.classes(threshold=at)
        known = table["far"].notna().to_numpy()
        pairs = np.array(found["classes"]["genuine"])[known]
        rejected = pairs - own_genuine[known, column]
        assert (rejected / pairs).tolist() == table["frr"][known].tolist()
        all_ = np.array(found["classes"]["impostor"])[known]
        assert (own_impostor[known, column] / all_).tolist() == table["far"][known].tolist()


def test_counts_are_packed_as_they_are():
    rng = np.random.default_rng(0)
    one, two = rng.integers(0, 300, (1, 5)), rng.integers(-(2**40), 2**40, (3, 4))
    found = {"counts": packed(one, one, two, two), "scales": [{"values": [0] * 5}]}
    found |= {"at": [0] * 4, "classes": {"name": [""] * 3}}
    for table, back in zip((one, one, two, two), pages.unpacked(found), strict=True):
        assert (table == back).all()


def test_a_page_offers_all_thresholds_that_have_a_meaning():
    run = pages.run_of(pages.made_counts(1_000, points=5_000), max_far=0.0123, max_frr=0.0456)
    found = pages.data_of(report_page(run))
    assert 400 <= len(found["at"]) <= 640 + 10
    chosen = run.report.recommendation
    wanted = [one.threshold for one in (chosen.at_max_far, chosen.at_max_frr, run.report.eer)]
    wanted += [one.threshold for one in run.report.operating_points if one.far == 1e-3]
    wanted += run.consistency.ends
    assert {run.counts.grid.index_at(at) for at in wanted} <= set(found["at"])


def test_the_page_stays_small_and_keeps_the_worst_of_very_many_classes():
    text = report_page(pages.run_of(pages.made_counts(5_000, points=300)))
    assert len(text.encode()) < 3_000_000
    assert len(pages.data_of(text)["classes"]["name"]) == 5_000
    more = pages.run_of(pages.made_counts(5_001, points=150))
    text = report_page(more)
    found = pages.data_of(text)
    kept = set(found["classes"]["name"])
    mean = more.consistency.mean_utilities
    assert kept == set(more.counts.class_names[np.argsort(mean, kind="stable")[:2_000]])
    assert found["classesInAll"] == 5_001 and len(text) < 3_000_000
    # The quantiles are those of all classes.
    assert max(found["utility"]["quantiles"][-1]) > max(found["classes"]["mean"])


def test_the_answer_and_the_worst_classes_stand_without_the_script():
    run = pages.named([f"class {k}" for k in range(60)], rows=600)
    text = report_page(run)
    chosen = run.report.recommendation
    assert f"<h1>Deploy cosine distance &lt;= {chosen.threshold}</h1>" in text
    assert f"{100 * (1 - chosen.classes_meeting_bounds):.3g} % of the classes break" in text
    body = text.partition('<table id="classes">')[2].partition("</table>")[0]
    rows = re.findall(r"<bdi>(class \d+)</bdi>( <span class=\"badge\">)?", body)
    assert len(rows) == 50
    table = run.classes().set_index("class")
    few = (table["genuine_pairs"] < FEW_PAIRS) | (table["impostor_pairs"] < FEW_PAIRS)
    assert {name for name, badge in rows if badge} <= set(table.index[few])
    order = table.assign(few=few).sort_values(["few", "utility"], kind="stable")
    expected = order["utility"].head(50)
    assert [table["utility"][name] for name, _ in rows] == expected.tolist()
    assert text.count("data:image/png") == 1


def test_where_no_threshold_meets_the_bounds_each_bound_has_its_price():
    run = pages.named("abcdef", max_far=0.001, max_frr=0.001)
    chosen = run.report.recommendation
    assert chosen.threshold is None
    text = report_page(run)
    assert "<h1>No threshold meets FAR &lt;= 0.1 % and FRR &lt;= 0.1 %</h1>" in text
    for at, name in ((chosen.at_max_far, "FAR"), (chosen.at_max_frr, "FRR")):
        assert f"{name} &lt;= 0.1 % alone needs the threshold {at.threshold:g} and costs" in text
    assert "Copy threshold" not in text


def test_a_page_of_little():
    """No threshold, hardly a class to compare with, no baseline."""
    run = opis.evaluate(data.blobs(30, 3)[0], [0] * 10 + list(range(1, 21)), max_far=1e-9)
    verdict = judge(run, Demands((Limit(RULES[0], 1.0),), None, None))
    assert "Gate failed: 1 of 1 check" in gate_page(Outcome(verdict, run))


def test_scored_pairs_without_groups_have_no_table(tmp_path):
    rng = np.random.default_rng(0)
    genuine = rng.random(2_000) < 0.3
    scores = (genuine + rng.standard_normal(2_000)).round(3)
    lines = [f"{score},{int(same)}" for score, same in zip(scores, genuine, strict=True)]
    (tmp_path / "pairs.csv").write_text("\n".join(["score,genuine", *lines]))
    run = opis.evaluate(tmp_path / "pairs.csv", pairs=True)
    text = report_page(run)
    assert 'id="classes"' not in text and "Deploy score &gt;=" in text
    found = pages.data_of(text)
    assert found["scales"][0]["accepts"] == ">=" and found["rows"] is None
    rates = run.rates(found["scales"][0]["values"][found["start"]])
    _, impostor, *_ = pages.unpacked(found)
    assert impostor[0, found["start"]] / found["totals"][1] == rates.far


def test_evidence_is_shown_as_text(tmp_path):
    vectors, labels = data.blobs(240, 6, spread=1.2)
    names = np.array(["<b>a</b>", "b\u202e", *"cdef"], object)[labels]
    session = {"text": np.array([f"<u>{row}" for row in range(240)], object)}
    run = opis.evaluate(vectors, names, columns=session, exclude_same="text")
    evidence = run.explain(show_columns=["text"])
    text = report_page(run, evidence=evidence)
    assert "Evidence: the pairs and rows" in text and "<b>a" not in text and "<u>" not in text
    assert "b�" in text and "\u202e" not in text
    closest = evidence.pairs.iloc[0]
    assert f"<bdi>{closest['row_a']}, {closest['row_b']}</bdi>" in text
    assert f"&lt;u&gt;{closest['row_a']}" in text and 'href="#class=%3Cb%3Ea%3C/b%3E"' in text
    assert "What if" in text or evidence.facts.what_if.both is None
    # A saved run brings its own.
    run.save(tmp_path / "run")
    assert "Evidence: the pairs" not in report_page(opis.load_run(tmp_path / "run"))
    save_evidence(evidence, tmp_path / "run" / FOLDER)
    assert "Evidence: the pairs" in report_page(opis.load_run(tmp_path / "run"))


def test_doubts_about_the_data_are_shown_as_text():
    vectors, labels = data.blobs(240, 6)
    names = np.array(["<b>a</b>", *"bcdef"], object)[labels]
    names[:150] = "<b>a</b>"
    run = opis.evaluate(vectors, names)
    (warning,) = run.report.source.warnings
    text = report_page(run)
    assert "Class &lt;b&gt;a&lt;/b&gt; has" in text and "<b>a" not in text
    assert warning.kind == "one_class_dominates"


def test_a_baseline_must_compare():
    run = pages.named("abc")
    other = pages.named("abc", metric="euclidean")
    with pytest.raises(SettingsError, match="do not compare: metric"):
        report_page(run, base=other, base_name="other")


def test_commands_are_quoted(small, tmp_path):
    folder = tmp_path / "it's; rm -rf $HOME"
    for _, line in commands(dataclasses.replace(small, folder=folder), folder):
        assert shlex.split(line)[2] == str(folder)


def test_the_commands_write_pages(cli, saved):
    done = cli("report", saved, "-o", "page.html", "--threshold", "0.4", "--baseline", saved)
    assert done.returncode == 0 and done.stdout == "report written to page.html\n", done.stderr
    text = (saved.parent / "page.html").read_text(encoding="utf-8")
    assert f"opis explain {saved}" in text
    refused = cli("report", saved, "--threshold", "9")
    assert refused.returncode == 2 and not (saved.parent / "report.html").exists()
    limitless = cli("gate", saved, "--threshold", "0.4", "--html", "gate.html")
    assert limitless.returncode == 0 and "Nothing judged" in limitless.stdout
    assert "<h1>Nothing judged: no limit is set</h1>" in (saved.parent / "gate.html").read_text()
    assert cli("gate", saved, "--threshold", "0.4").returncode == 2


def test_evaluate_writes_the_page(cli, tmp_path):
    vectors, labels = data.blobs(60, 3)
    np.savez(tmp_path / "x.npz", embeddings=vectors, labels=labels)
    done = cli("evaluate", "x.npz", "--html", "page.html", "--quiet")
    assert done.returncode == 0 and done.stdout == "", done.stderr
    assert "Deploy cosine distance" in (tmp_path / "page.html").read_text(encoding="utf-8")
