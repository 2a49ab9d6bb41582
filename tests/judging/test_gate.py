"""The gate: every limit decides as it says, by figures of the report and of brute force."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys
import tomllib

import data
import numpy as np
import pytest

import opis_cli as opis
from opis_cli.errors import SettingsError
from opis_cli.judging import changes, checks, gate
from opis_cli.judging.changes import drawn_changes, operating_of
from opis_cli.judging.limits import RULE, Demands, Limit, read_demands
from opis_cli.judging.starter import starter
from opis_cli.statistics import family


def demands(confidence=None, **limits):
    """Limits by Python name; a percentage is of the baseline's figure."""
    found = []
    for field, value in limits.items():
        relative = isinstance(value, str)
        amount = float(value.rstrip("%")) / 100 if relative else value
        found.append(Limit(RULE[field.replace("_", "-")], amount, relative))
    return Demands(tuple(found), "old", confidence)


def judge(run, demands, **more):
    """The gate's verdict, by fewer draws than it makes by default."""
    return gate.judge(run, demands, **{"replicates": 60} | more)


def check_of(verdict):
    (check,) = verdict.checks
    return check


@pytest.fixture(scope="module")
def run():
    return opis.evaluate(*data.MADE["blobs"])


@pytest.fixture(scope="module")
def worse():
    """The same classes, embedded less well."""
    return opis.evaluate(*data.blobs(600, 12, spread=0.8))


def figure(run, name):
    report, table = run.report, run.classes()
    chosen = report.recommendation
    return {
        "max_opis": report.opis,
        "max_eps_opis": report.eps_opis.value,
        "max_far": chosen.far,
        "max_frr": chosen.frr,
        "min_recall_at_1": report.recall_at_1,
        "min_classes_meeting_bounds": chosen.classes_meeting_bounds,
        "max_class_far": table["far"].max(),
        "max_class_frr": table["frr"].max(),
    }[name]


@pytest.mark.parametrize(
    "name",
    [
        rule.field
        for rule in RULE.values()
        if not rule.against_baseline
        and rule.unit not in ("pairs", "rows")
        # These need a run with review, a gallery or a prior: test_review.py, test_search.py.
        and rule.name not in ("max-review", "max-false-accepts-per-query", "max-fpir")
        and rule.name not in ("min-precision", "min-identification")
    ],
)
def test_a_limit_holds_to_its_very_value_and_not_beyond(run, name):
    value = figure(run, name)
    least = name.startswith("min")
    held = check_of(judge(run, demands(**{name: value})))
    assert held.passed and held.value == value and held.margin == 0
    beyond = np.nextafter(value, 1.0 if least else 0.0)
    broken = judge(run, demands(**{name: beyond}))
    assert not broken.passed and check_of(broken).margin < 0


def test_the_worst_class_is_named(run):
    check = check_of(judge(run, demands(max_class_frr=0.01)))
    table = run.classes().set_index("class")
    assert check.class_name == table["frr"].idxmax()
    pairs = table["genuine_pairs"][check.class_name]
    errors = int((table["frr"] * table["genuine_pairs"]).round()[check.class_name])
    named = f"class {check.class_name}, {errors:,} of {pairs:,} genuine pairs"
    assert check.remark == named and 0 < errors < pairs


def test_rates_are_at_the_deployed_threshold_where_there_is_one(run):
    # Of the run, of the file it is called by, and of neither.
    own = opis.evaluate(*data.MADE["blobs"], threshold="0.5")
    assert judge(own, demands(max_far=1.0)).judged.kind == "deployed"
    assert check_of(judge(own, demands(max_far=1.0))).value == own.report.deployed.far
    assert judge(run, demands(max_far=1.0)).judged.kind == "recommended"
    column = len(run.counts.grid.thresholds) // 2
    at = float(run.counts.grid.thresholds[column])
    verdict = judge(run, demands(max_far=1.0), threshold=str(at))
    assert check_of(verdict).value == run.counts.pooled_impostor[column] / run.counts.impostor_total
    assert (verdict.judged.far_at, verdict.judged.frr_at, verdict.notes) == (at, at, ())


def test_off_the_grid_rates_come_from_both_neighbours_and_the_verdict_says_so(run):
    thresholds = run.counts.grid.thresholds
    column = len(thresholds) // 2
    at = float(thresholds[column] * 0.7 + thresholds[column + 1] * 0.3)
    verdict = judge(run, demands(max_far=1.0, max_frr=1.0), threshold=str(at))
    far, frr = verdict.checks
    counts = run.counts
    assert far.value == counts.pooled_impostor[column + 1] / counts.impostor_total
    rejected = counts.genuine_total - counts.pooled_genuine[column]
    assert frr.value == rejected / counts.genuine_total
    assert f"{thresholds[column + 1]:.7g}" in far.remark
    assert "no grid threshold" in verdict.notes[0] and repr(at) in verdict.notes[0]


def test_classes_are_judged_where_they_were_counted():
    """Beyond the window only a few thresholds have counts by class: theirs bound the rates."""
    vectors, labels = data.blobs(7_000, 300, 32, spread=1.3)
    run = opis.evaluate(vectors, labels)
    by_class = run.counts.grid.class_thresholds
    between = by_class[-2] * 0.5 + by_class[-3] * 0.5
    verdict = judge(run, demands(max_class_far=1.0, max_class_frr=1.0), threshold=str(between))
    exact = opis.evaluate(vectors, labels, threshold=str(between))
    truth = judge(exact, demands(max_class_far=1.0, max_class_frr=1.0))
    for bound, true in zip(verdict.checks, truth.checks, strict=True):
        assert bound.value >= true.value and "at most" in bound.remark
        assert "at most" not in true.remark
    assert any("counts by class" in note for note in verdict.notes)


def test_what_is_undefined_fails_and_says_so():
    vectors, _ = data.blobs(30, 3)
    labels = [0] * 10 + list(range(1, 21))
    one = opis.evaluate(vectors, labels)
    for name in ("max_opis", "max_eps_opis"):
        check = check_of(judge(one, demands(**{name: 1.0})))
        assert not check.passed and check.value is None and "undefined" in check.remark
    none = opis.evaluate(*data.MADE["blobs"], max_far=1e-3, max_frr=1e-3)
    for name in ("max_far", "max_frr", "min_classes_meeting_bounds", "max_class_far"):
        check = check_of(judge(none, demands(**{name: 0.0 if name.startswith("min") else 1.0})))
        assert not check.passed and "--threshold" in check.remark
    assert judge(none, demands(max_opis=1.0)).passed
    assert check_of(judge(none, demands(max_far=1.0), threshold="0.5")).passed
    for run, base in ((none, one), (one, none)):
        with pytest.raises(SettingsError, match="max-f"):
            judge(run, demands(max_threshold_shift=1.0), baseline=base)
    check = check_of(judge(one, demands(max_opis_increase=1.0), baseline=one))
    assert not check.passed and "undefined" in check.remark


def test_worsening_is_of_the_figures_and_a_percentage_of_the_baselines(run, worse):
    new, old = worse.report, run.report
    expected = {
        "max_opis_increase": new.opis - old.opis,
        "max_frr_increase": new.recommendation.frr - old.recommendation.frr,
        "max_recall_drop": old.recall_at_1 - new.recall_at_1,
        "max_threshold_shift": abs(new.recommendation.threshold - old.recommendation.threshold),
    }
    for name, value in expected.items():
        check = check_of(judge(worse, demands(**{name: "50%"}), baseline=run))
        assert check.value == pytest.approx(value) and value > 0
        assert check.limit == pytest.approx(0.5 * check.baseline)
        assert check.passed == (check.value <= check.limit)
        better = check_of(judge(run, demands(**{name: 0.0}), baseline=worse))
        assert better.passed == (name != "max_threshold_shift")


def test_the_frr_of_both_is_at_the_deployed_threshold(run, worse):
    check = check_of(judge(worse, demands(max_frr_increase=1.0), baseline=run, threshold="0.5"))

    def frr(one):
        index = np.searchsorted(one.counts.grid.thresholds, 0.5, side="right") - 1
        return 1 - one.counts.pooled_genuine[index] / one.counts.genuine_total

    assert check.value == pytest.approx(frr(worse) - frr(run))


def test_a_difference_of_decimals_is_one(run):
    """0.8 - 0.7 is above 0.1 in binary fractions, and must not fail a limit of 0.1."""

    def with_recall(value):
        return dataclasses.replace(run, report=dataclasses.replace(run.report, recall_at_1=value))

    assert judge(with_recall(0.7), demands(max_recall_drop=0.1), baseline=with_recall(0.8)).passed
    assert not judge(
        with_recall(0.699), demands(max_recall_drop=0.1), baseline=with_recall(0.8)
    ).passed


@pytest.mark.parametrize("name", [rule.field for rule in RULE.values() if rule.is_worsening])
def test_with_a_confidence_the_lower_limit_decides(run, worse, name):
    """Whatever the limit: failed if and only if the lower limit exceeds it."""
    first = check_of(judge(worse, demands(0.95, **{name: 0.0}), baseline=run))
    low, high = first.interval
    assert low <= first.value <= high and first.detectable > 0
    for limit in (low * 0.99, low * 1.01, first.value, high):
        if limit < 0:
            continue
        check = check_of(judge(worse, demands(0.95, **{name: limit}), baseline=run))
        assert check.passed == (low <= limit)
        assert check.passed == (check.margin >= 0)
        # Without a confidence the difference itself decides, and the interval is told.
        plain = check_of(judge(worse, demands(**{name: limit}), baseline=run))
        assert plain.passed == (plain.value <= limit) and plain.interval == check.interval


def test_holm_by_hand():
    """At 5 %, of four: 0.01 against a quarter, 0.016 against a third, then 0.03 exceeds a half."""
    found = family.holm([0.03, 0.01, 0.04, 0.016], 0.05)
    assert found == pytest.approx([0.025, 0.0125, 0.025, 0.05 / 3])
    # The first to exceed its share ends it: 0.04 alone would not have exceeded 0.05.
    assert family.holm([0.04, 0.026], 0.05) == pytest.approx([0.025, 0.025])
    assert family.holm([0.04, 0.025], 0.05) == pytest.approx([0.05, 0.025])
    assert family.holm([0.04], 0.05) == [0.05] and family.holm([], 0.05) == []


def test_the_share_of_draws_within_a_limit_by_hand():
    draws = np.array([-3.0, -1, 0, 1, 2, 3, 4, 5, 6, 7])
    assert family.share_within(draws, 0.0, either_way=False) == 0.3
    assert family.share_within(draws, 2.0, either_way=True) == 0.5
    assert family.share_within(-draws, 2.0, either_way=True) == 0.5
    draws[0] = np.nan
    assert family.share_within(draws, 0.0, either_way=False) == pytest.approx(2 / 9)
    draws[1] = np.nan
    assert family.share_within(draws, 0.0, either_way=False) is None


def test_a_check_that_fails_alone_may_hold_in_a_family(run, worse):
    """Limits that 3 % of the draws hold: each alone fails at 95 %, two together do not."""
    draws = drawn_changes(worse, run, seed=0, replicates=400, at=(operating_of(worse, 0.5),) * 2)
    limits = {
        "max_opis_increase": float(np.quantile(draws["opis"], 0.03)),
        "max_recall_drop": float(np.quantile(-draws["recall_at_1"], 0.035)),
    }
    assert min(limits.values()) > 0
    asked = demands(0.95, **limits)

    def verdict(demands):
        return judge(worse, demands, baseline=run, replicates=400)

    alone, together = verdict(asked), verdict(dataclasses.replace(asked, family=True))
    assert [check.passed for check in alone.checks] == [False, False]
    assert [check.passed for check in together.checks] == [True, True]
    for one, other in zip(alone.checks, together.checks, strict=True):
        assert one.p == other.p == pytest.approx(0.0325, abs=0.005)
        assert (one.confidence, other.confidence) == (0.95, 0.975)
        assert one.margin < 0 <= other.margin and other.interval[0] < one.interval[0]
    assert alone.false_alarm == pytest.approx(1 - 0.95**2) and not alone.family
    assert together.false_alarm == pytest.approx(0.05) and together.family
    assert any("up to 9.75 %" in note and "--family" in note for note in alone.notes)
    assert any("at most 5 %" in note and "Holm" in note for note in together.notes)
    # One that is plain raises the share of the next.
    limits["max_opis_increase"] = 0.0
    mixed = verdict(dataclasses.replace(demands(0.95, **limits), family=True))
    assert [check.confidence for check in mixed.checks] == [0.975, 0.95]
    assert [check.passed for check in mixed.checks] == [False, False]


def test_a_shift_either_way_has_the_share_of_its_own_side(run, worse):
    first = check_of(judge(worse, demands(0.95, max_threshold_shift=0.0), baseline=run))
    back = check_of(judge(run, demands(0.95, max_threshold_shift=0.0), baseline=worse))
    assert first.p == pytest.approx(back.p) and first.p < 0.5
    far = check_of(judge(run, demands(0.95, max_threshold_shift=2.0), baseline=worse))
    assert far.p == 1.0 and far.passed


def test_a_shift_down_is_as_large_as_one_up():
    """Limits of a difference, and of its size: the least is 0 where the difference may be."""
    assert checks._either_way((0.2, 0.3)) == (0.2, 0.3)
    assert checks._either_way((-0.3, -0.2)) == (0.2, 0.3)
    assert checks._either_way((-0.3, 0.2)) == (0.0, 0.3)


def test_without_an_interval_or_a_confidence_there_is_no_chance_to_tell(run, worse):
    plain = judge(worse, demands(max_opis_increase=0.0, max_recall_drop=0.0), baseline=run)
    assert plain.false_alarm is None and not any("chance that" in one for one in plain.notes)
    other = opis.evaluate(*data.blobs(500, 10, spread=0.8))
    verdict = judge(other, demands(0.95, max_opis_increase=0.0), baseline=run)
    assert verdict.false_alarm is None and check_of(verdict).p is None
    one = judge(worse, demands(0.95, max_opis_increase=0.0), baseline=run)
    assert one.false_alarm == pytest.approx(0.05)


@pytest.mark.parametrize("from_file", [True, False])
def test_family_in_the_file_or_by_its_flag(runs, cli, from_file, tmp_path):
    file = tmp_path / "gate.toml"
    file.write_text(f"[gate]\nmax-opis-increase = 0.0\nmax-recall-drop = 0.0\n"
                    f"family = {str(from_file).lower()}\n")  # fmt: skip
    words = ["gate", "new", "--baseline", "old", "--config", str(file)]
    words += [] if from_file else ["--family"]
    done = cli(*words, "--json", "--junit", str(tmp_path / "gate.xml"), cwd=runs)
    verdict = json.loads(done.stdout)
    assert done.returncode == 1 and verdict["family"] and verdict["confidence"] == 0.95
    assert verdict["false_alarm"] == pytest.approx(0.05)
    assert {"p", "confidence"} < set(verdict["checks"][0])
    xml = (tmp_path / "gate.xml").read_text()
    assert 'name="false_alarm" value="0.05"' in xml and "judged as a family at 95 %" in xml
    file.write_text("[gate]\nmax-opis = 1\nfamily = 1\n")
    done = cli(*words, cwd=runs)
    assert (done.returncode, "family is 1" in done.stderr) == (2, True) or not from_file


def test_the_same_seed_gives_the_same_verdict_and_fewer_classes_prove_less(run, worse):
    verdicts = [
        judge(worse, demands(0.95, max_opis_increase=0.0), baseline=run, seed=seed)
        for seed in (1, 1, 2)
    ]
    intervals = [check_of(verdict).interval for verdict in verdicts]
    assert intervals[0] == intervals[1] != intervals[2]
    few = [
        opis.evaluate(v[labels < 3], labels[labels < 3], calibration="far:0.05..0.3")
        for v, labels in (data.MADE["blobs"], data.blobs(600, 12, spread=0.8))
    ]
    many = [
        opis.evaluate(v, labels, calibration="far:0.05..0.3")
        for v, labels in (data.MADE["blobs"], data.blobs(600, 12, spread=0.8))
    ]
    found = [
        check_of(judge(new, demands(0.95, max_frr_increase=0.0), baseline=old, threshold="0.5"))
        for old, new in (few, many)
    ]
    assert found[0].detectable > found[1].detectable


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"metric": "euclidean"}, "metric is cosine.*euclidean"),
        ({"beta": 2.0}, "beta is 1.0.*2.0"),
        ({"calibration": "far:0.02..0.2"}, r"calibration is far:0.01\.\.0.1 .*far:0.02\.\.0.2"),
    ],
)
def test_runs_that_do_not_compare_are_refused_with_the_difference(run, settings, says):
    other = opis.evaluate(*data.MADE["blobs"], **settings)
    with pytest.raises(SettingsError, match=says):
        judge(run, demands(max_opis=1.0), baseline=other, path="new")


def test_bounds_matter_only_where_a_recommendation_is_compared(run):
    other = opis.evaluate(*data.MADE["blobs"], max_far=0.05)
    same = opis.evaluate(*data.MADE["blobs"], calibration="far:0.010..0.10")
    assert judge(run, demands(max_opis_increase=0.0), baseline=same).passed
    assert judge(run, demands(max_opis_increase=1.0), baseline=other).passed
    assert judge(run, demands(max_frr_increase=1.0), baseline=other, threshold="0.5").passed
    for name in ("max_frr_increase", "max_threshold_shift"):
        with pytest.raises(SettingsError, match=r"max-far is 0.01 .* 0.05"):
            judge(run, demands(**{name: 1.0}), baseline=other)


def test_other_classes_have_no_paired_interval_and_the_difference_decides(run):
    other = opis.evaluate(*data.blobs(500, 10, spread=0.8))
    verdict = judge(other, demands(0.95, max_opis_increase=0.0), baseline=run)
    check = check_of(verdict)
    assert check.interval is None and check.passed == (check.value <= 0)
    assert not verdict.baseline.same_classes and "no paired interval" in verdict.notes[0]


@pytest.fixture(scope="module")
def runs(run, worse, tmp_path_factory):
    """A folder of runs, and of files that are none."""
    folder = tmp_path_factory.mktemp("runs")
    run.save(folder / "old")
    worse.save(folder / "new")
    opis.evaluate(*data.MADE["blobs"], beta=2.0).save(folder / "beta")
    (folder / "bad.toml").write_text("[gate]\nmax-fat = 1\n")
    (folder / "worse.toml").write_text("gate = 1\n")
    (folder / "euclid.json").write_text('{"threshold": 1, "metric": "euclidean"}')
    return folder


CODES = {
    "passes": (["new", "--max-opis", "1"], 0, ""),
    "fails": (["new", "--max-opis", "0"], 1, ""),
    "fails quietly": (["new", "--max-opis", "0", "-q"], 1, ""),
    "against a baseline": (["new", "--baseline", "old", "--max-opis-increase", "0"], 1, ""),
    "no limit": (["new"], 2, "opis gate --init"),
    "nothing but a page": (["new", "--threshold", "0.5", "--html", "p.html"], 0, ""),
    "a report without a limit": (
        ["new", "--threshold", "0.5", "--html", "p.html", "--junit", "j.xml"],
        2,
        "no limit",
    ),
    "no run": ([], 2, "--init"),
    "missing run": (["none", "--max-opis", "1"], 2, "none"),
    "missing baseline": (
        ["new", "--baseline", "none", "--max-opis-increase", "1"],
        2,
        "none: no run is there",
    ),
    "no baseline": (["new", "--max-opis-increase", "1"], 2, "give --baseline RUN"),
    "bad limit": (["new", "--max-far", "much"], 2, "--max-far"),
    "bad percentage": (["new", "--baseline", "old", "--max-recall-drop", "x%"], 2, "5%"),
    "bad key": (["new", "--config", "bad.toml"], 2, r"\[gate\]: unknown key 'max-fat'"),
    "bad table": (["new", "--config", "worse.toml"], 2, "gate"),
    "other metric": (["new", "--max-far", "1", "--threshold", "euclid.json"], 2, "euclidean"),
    "mismatched baseline": (
        ["new", "--baseline", "beta", "--max-opis-increase", "1"],
        2,
        "beta is 1.0 .* 2.0",
    ),
    "report in no place": (["new", "--max-opis", "1", "--junit", "old"], 2, "old: cannot be"),
}


@pytest.mark.parametrize("case", CODES)
def test_exit_codes(case, runs, cli):
    words, code, says = CODES[case]
    done = cli("gate", *words, cwd=runs)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    if code == 2:
        assert done.stdout == ""
        assert re.search(says, " ".join(done.stderr.split())), done.stderr
    else:
        assert done.stderr == "" and (done.stdout == "") == ("-q" in words)


def test_limits_in_the_file_and_a_source_with_its_deployed_threshold(cli, tmp_path):
    assert cli("gate", "--init").returncode == 0
    assert cli("gate", "--init").returncode == 2
    source = data.SAMPLES / "wordnet.parquet"
    found = cli("gate", source, "--json")
    verdict = json.loads(found.stdout)
    names = [one["name"] for one in verdict["checks"]]
    assert found.returncode == 0 and names == ["max-far", "max-frr", "min-recall-at-1"]
    deployed = json.loads(cli("gate", source, "--json", "--threshold", "0.5").stdout)
    # Evaluated for it, so it is counted exactly.
    assert deployed["judged"] == {
        "threshold": 0.5,
        "kind": "deployed",
        "far_at": 0.5,
        "frr_at": 0.5,
    }
    assert deployed["notes"] == []


def test_the_terminal_tells_value_limit_and_why(runs, cli):
    done = cli(
        *("gate", "new", "--baseline", "old", "--max-opis", "1", "--max-frr", "0.01"),
        *("--max-opis-increase", "0.5", "--threshold", "0.5", "--confidence", "0.9"),
        cwd=runs,
    )
    lines = " ".join(done.stdout.split())
    assert "Gate failed: 1 of 3 checks" in lines
    assert "FAIL max-frr" in lines and "ok max-opis-increase" in lines
    assert re.search(r"OPIS rose by \S+ \(90 %: \S+ to \S+\), allowed 0\.5; from", lines)
    assert "no grid threshold" in lines and "Classes that lost most" in lines


def lost(vectors, labels, share):
    """Another model, of less recall: some rows are anywhere."""
    rng = np.random.default_rng(0)
    some = rng.random(len(labels)) < share
    noisy = vectors.copy()
    noisy[some] = rng.standard_normal((some.sum(), vectors.shape[1]))
    return noisy, labels


@pytest.mark.parametrize("own", [False, True], ids=["general", "of a run"])
def test_the_starter_fails_random_vectors_and_a_model_that_lost_recall(own):
    vectors, labels = data.sample("fonts_base")
    good = opis.evaluate(vectors, labels)
    table = tomllib.loads(starter(good if own else None))["gate"]
    asked = read_demands(table, {})
    assert judge(good, asked).passed
    random = np.random.default_rng(0).standard_normal(vectors.shape)
    assert not judge(opis.evaluate(random, labels), asked).passed
    worse = opis.evaluate(*lost(vectors, labels, 0.22))
    assert worse.report.recall_at_1 == pytest.approx(0.8 * good.report.recall_at_1, abs=0.03)
    failed = {check.name for check in judge(worse, asked).failed}
    assert "min-recall-at-1" in failed


@pytest.mark.parametrize(
    ("flags", "threshold", "told"),
    [
        ({"max_far": 0.01}, None, True),
        ({"max_far": 0.02}, None, True),
        ({"max_far": 0.005}, None, False),
        ({"max_far": 0.01, "min_recall_at_1": 0.1}, None, False),
        ({"max_far": 0.01}, "0.3", False),
    ],
)
def test_limits_that_are_met_by_construction_are_told(flags, threshold, told, small):
    verdict = judge(small, read_demands({}, flags), threshold=threshold)
    assert any("by construction" in note for note in verdict.notes) == told


def test_draws_do_not_choose_with_confidence_so_there_is_no_interval(small):
    vectors, labels = data.MADE["long_tail"]
    sure = opis.evaluate(vectors, labels, confidence=0.9)
    draws = changes.drawn_changes(sure, sure, seed=0)
    found = changes.figure_changes(sure, sure, draws, confidence=0.95)
    for name in ("threshold", "frr", "frr_at_max_far"):
        assert found[name].interval is None
    assert found["opis"].interval is not None
    asked = read_demands({}, {"baseline": "old", "max_threshold_shift": "1%"})
    with pytest.raises(SettingsError, match=r"confidence is 0\.9"):
        judge(sure, asked, baseline=small)


def test_the_threshold_in_use_is_read_from_the_file(saved_once, cli, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "opis.toml").write_text(
        '[gate]\nthreshold = "threshold.json"\nmax-far = "100%"\n'
    )
    shutil.copy(saved_once / "threshold.json", tmp_path / "in")
    told = json.loads((saved_once / "threshold.json").read_text())["threshold"]
    done = cli("gate", saved_once, "--config", "in/opis.toml", "--json")
    assert json.loads(done.stdout)["judged"]["threshold"] == told
    assert json.loads(done.stdout)["judged"]["kind"] == "deployed"
    done = cli("gate", saved_once, "--config", "in/opis.toml", "--threshold", "0.1", "--json")
    assert json.loads(done.stdout)["judged"]["threshold"] == 0.1


@pytest.mark.parametrize(
    "command",
    [
        "{opis} gate {run} --max-far 0.000001 | true",
        "{opis} gate {run} --max-far 0.000001 --json | head -c0",
        "GITHUB_ACTIONS=true {opis} gate {run} --max-far 0.000001 | head -1",
        "{opis} gate {run} --max-far 0.000001 >/dev/full | cat",
        "{opis} gate {run} --max-far 0.000001 >&- 2>&- | cat",
    ],
)
def test_a_failed_gate_is_1_whatever_happens_to_its_reader(command, saved_once):
    shown = command.format(opis=f"{sys.executable} -m opis_cli", run=saved_once)
    done = subprocess.run(
        ["bash", "-c", f"{shown}; echo ${{PIPESTATUS[0]}}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "1"
