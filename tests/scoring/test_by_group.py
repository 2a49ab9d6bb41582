"""Thresholds by group at equal FAR: chosen, judged, and judged on other pairs than chosen on."""

import dataclasses
import json

import numpy as np
import pytest

import opis_cli as opis
from opis_cli.errors import RunError, SettingsError
from opis_cli.records import GroupPairs
from opis_cli.scoring.by_group import by_group, choose, judge

# At thresholds 1, 2, 3, 4. Pairs: a-a, a-b, b-b, c-c, b-c.
PAIRS = GroupPairs(
    names=np.array(["a", "b", "c"], object),
    others=0,
    thresholds=np.array([1.0, 2.0, 3.0, 4.0]),
    one=np.array([0, 0, 1, 2, 1]),
    two=np.array([0, 1, 1, 2, 2]),
    genuine=np.array([[2, 6, 8, 10], [0, 1, 1, 2], [5, 5, 9, 10], [1, 1, 1, 1], [0, 0, 0, 0]]),
    impostor=np.array(
        [[1, 4, 10, 40], [0, 2, 6, 100], [0, 1, 3, 40], [0, 0, 1, 20], [0, 0, 5, 10]]
    ),
    genuine_pairs=np.array([10, 2, 10, 1, 0]),
    impostor_pairs=np.array([40, 100, 40, 20, 10]),
)


def test_each_group_takes_the_largest_threshold_within_the_bound():
    found = choose(PAIRS, 0.1, 2.0)
    # 4 of 40 is within 10 %, and so is 3 of 40. Group c has 20 pairs, and 3 / 0.1 are needed.
    assert found.own == {"a": 2.0, "b": 3.0}
    assert found.why == {"c": "few_impostors"}
    assert choose(PAIRS, 0.15, 2.0).own == {"a": 2.0, "b": 3.0, "c": 3.0}


def test_pairs_across_groups_are_judged_at_the_stricter_threshold():
    found = judge(PAIRS, choose(PAIRS, 0.1, 2.0), max_frr=0.5)
    a, b, c = found.groups
    assert (a.far, a.frr, a.own_far, a.own_frr) == (0.1, 0.4, 0.1, 0.4)
    assert (b.far, b.frr, b.own_far, b.own_frr) == (1 / 40, 0.5, 3 / 40, 0.1)
    assert (c.threshold, c.fallback, c.supported, c.own_far) == (None, "few_impostors", False, 0.0)
    # a-b is judged at 2, the threshold of a, and b-c at 2, to which c falls back.
    assert (found.at_own.across_far, found.at_own.across_frr) == (2 / 110, 0.5)
    assert (found.at_own.within_far, found.at_own.within_frr) == (7 / 100, 5 / 21)
    assert (found.at_own.far, found.at_own.frr) == (9 / 210, 6 / 23)
    assert (found.at_global.far, found.at_global.frr) == (7 / 210, 10 / 23)
    assert (found.at_global.groups_meeting_bounds, found.at_own.groups_meeting_bounds) == (1, 1)
    assert judge(PAIRS, choose(PAIRS, 0.1, 3.0)).at_global.groups_meeting_bounds == 0.5
    # Every pair at one threshold: the stricter of the two is decided pair by pair.
    looser = judge(PAIRS, choose(PAIRS, 0.1, 3.0))
    assert looser.at_own.across_far == (2 + 5) / 110


def test_why_a_group_falls_back():
    nothing = dataclasses.replace(PAIRS, genuine_pairs=np.array([0, 2, 10, 1, 0]))
    assert choose(nothing, 0.1, 2.0).why["a"] == "no_genuine"
    assert choose(PAIRS, 0.02, 2.0).why == dict.fromkeys("abc", "few_impostors")
    copies = dataclasses.replace(
        PAIRS, impostor=PAIRS.impostor + np.array([[9], [0], [0], [0], [0]])
    )
    assert choose(copies, 0.1, 2.0).why["a"] == "no_threshold"
    rest = dataclasses.replace(PAIRS, names=PAIRS.names[:2], others=7)
    found = judge(rest, choose(rest, 0.15, 2.0))
    assert found.groups[2].name is None and found.groups[2].fallback == "other_groups"
    assert found.others == 7


def test_thresholds_are_judged_on_other_pairs():
    other = dataclasses.replace(
        PAIRS,
        names=np.array(["b", "c", "d"], object),
        thresholds=np.array([0.5, 1.5, 2.5, 9.0]),
    )
    found = judge(other, choose(PAIRS, 0.1, 1.0))
    # b has 3, between 2.5 and 9; c and d have the global threshold 1, between 0.5 and 1.5.
    assert [group.own_far for group in found.groups] == [10 / 40, 0.0, 0.0]
    assert [group.threshold for group in found.groups] == [3.0, None, None]
    # Below all counted thresholds nothing is accepted.
    none = judge(other, dataclasses.replace(choose(PAIRS, 0.1, 0.1), own={}))
    assert (none.at_global.far, none.at_global.frr) == (0.0, 1.0)


@pytest.fixture(scope="module")
def run():
    rng = np.random.default_rng(5)
    labels = np.repeat(np.arange(80), 6)
    site = np.array(["north", "south", "tiny"])[np.r_[np.zeros(40), np.ones(38), 2, 2].astype(int)]
    # The classes of the north lie close together, so their impostors do.
    centres = rng.normal(size=(80, 24)) + 0.5 * (site == "north")[:, None]
    vectors = centres[labels] + 0.5 * rng.normal(size=(480, 24))
    return opis.evaluate(vectors, labels, columns={"site": site[labels]}, group_column="site")


def test_the_report_and_the_file_to_deploy(run, tmp_path):
    found = run.report.groups
    assert [group.name for group in found.groups] == ["north", "south", "tiny"]
    north, south, tiny = found.groups
    assert north.threshold < found.threshold < south.threshold
    assert tiny.threshold is None and tiny.fallback == "few_impostors"
    assert north.own_far <= 0.01 < north.far and south.frr > south.own_frr
    report = run.save(tmp_path / "run")
    again = opis.load_run(tmp_path / "run")
    assert again.report.groups == report.groups == found
    assert by_group(again.counts, again.report.recommendation) == found
    written = json.loads((tmp_path / "run" / "threshold.json").read_text())["groups"]
    assert written == {
        "column": "site",
        "max_far": 0.01,
        "thresholds": {"north": north.threshold, "south": south.threshold},
        "other_groups": found.threshold,
        "across_groups": "the smaller of the two distance thresholds",
    }


def test_recommend_writes_thresholds_by_group_at_its_own_bound(run, cli, tmp_path):
    run.save(tmp_path / "run")
    assert cli("recommend", "run", "--max-far", "0.05", "-o", "t.json").returncode == 0
    written = json.loads((tmp_path / "t.json").read_text())["groups"]
    expected = by_group(run.counts, run.recommend(max_far=0.05))
    assert written["thresholds"]["south"] == expected.groups[1].threshold
    assert written["max_far"] == 0.05 and expected.groups[1].own_far > 0.01


def test_tables_of_groups_and_of_pairs_of_groups(run):
    table = run.groups()
    assert table["group"].tolist() == ["north", "south", "tiny"]
    assert table["threshold"].isna().tolist() == [False, False, True]
    pairs = run.group_pairs()
    assert list(zip(pairs["group_a"], pairs["group_b"], strict=True))[:2] == [
        ("north", "north"),
        ("north", "south"),
    ]
    assert pairs["impostor_pairs"].sum() == run.report.pairs.impostor
    pooled = (pairs["far"] * pairs["impostor_pairs"]).sum() / run.report.pairs.impostor
    assert pooled == pytest.approx(run.report.recommendation.far)
    within = pairs[pairs["group_a"] == pairs["group_b"]]
    assert within["far"].tolist() == table["far"].tolist()
    assert pairs["supported"].tolist() == (pairs["impostor_pairs"] >= 300).tolist()
    looser = run.group_pairs(run.recommend(max_far=0.05, prefer="low-frr").threshold)
    assert (looser["far"] > pairs["far"])[:5].all()


def test_what_a_run_without_groups_says(run):
    vectors, labels = np.random.default_rng(0).normal(size=(60, 8)), np.arange(60) % 12
    plain = opis.evaluate(vectors, labels, max_far=0.1, calibration="far:0.05..0.2")
    assert plain.report.groups is None
    with pytest.raises(RunError, match="no groups; evaluate the source with group_column="):
        plain.groups()
    with pytest.raises(SettingsError, match=r"no counts by group at cosine distance 1\.999"):
        run.group_pairs(1.999)
    old = dataclasses.replace(run, counts=dataclasses.replace(run.counts, group_pairs=None))
    with pytest.raises(RunError, match="of an older opis, without counts by pair of groups"):
        old.group_pairs()
