"""The evidence of scored pairs equals what pandas finds among all pairs."""

import numpy as np
import pandas as pd
import pytest

import opis_cli as opis
from opis_cli.counting.scored_table import open_table
from opis_cli.errors import InputError, SettingsError
from opis_cli.evidence.scored import GroupPairs, Wanted, look
from opis_cli.pipeline import evaluate_file
from opis_cli.report.asked import Asked
from opis_cli.report.evidence import load_evidence, save_evidence
from opis_cli.report.explain_scored import explain_scored
from opis_cli.settings import Settings

GROUPS = {"none": None, "one": "left", "two": "left,right"}


def made(pairs, seed=0):
    """Scores that tie, a fifth of them genuine, with names beside them and some bad rows."""
    rng = np.random.default_rng(seed)
    genuine = rng.random(pairs) < 0.2
    score = np.where(genuine, rng.normal(0.7, 0.15, pairs), rng.normal(0.35, 0.12, pairs))
    table = pd.DataFrame(
        {
            "score": score.round(2),
            "genuine": genuine,
            "left": [f"c{k}" for k in rng.integers(0, 5, pairs)],
            "right": [f"c{k}" for k in rng.integers(2, 8, pairs)],
            "name": [f"pair {k}" for k in range(pairs)],
            "id_l": [f"i{k}" for k in rng.integers(0, 90, pairs)],
            "id_r": [f"i{k}" for k in rng.integers(40, 130, pairs)],
        }
    )
    table.loc[[20, 1_600], "id_l"] = None
    table.loc[[3, 700, 1_999], "score"] = np.nan
    table.loc[[10, 701], "left"] = None
    return table


@pytest.fixture(scope="module", params=GROUPS)
def groups(request):
    return GROUPS[request.param]


@pytest.fixture(scope="module", params=["score", "distance"])
def case(request, groups, tmp_path_factory):
    """A run, the table of its pairs to be read in small batches, and all pairs that it counted."""
    folder = tmp_path_factory.mktemp("scored")
    table = made(4_000)
    if request.param == "distance":
        table = table.assign(distance=1 - table["score"]).drop(columns="score")
    files = [folder / "a.parquet", folder / "b.parquet"]
    table[:1_500].to_parquet(files[0])
    table[1_500:].to_parquet(files[1])
    settings = Settings(pairs=True, group_column=groups, on_bad_rows="drop", max_far=0.02)
    run = evaluate_file(files, settings)
    opened = open_table(files, None, None, groups, 333)
    names = [] if groups is None else groups.split(",")
    known = table.dropna(subset=[request.param, *names]).rename_axis("row").reset_index()
    sides = [names[0], names[-1]] if names else []
    known["low"], known["high"] = (
        np.sort(known[sides].to_numpy(str), axis=1).T if sides else ("", "")
    )
    known["farther"] = known["distance"] if request.param == "distance" else -known["score"]
    known["value"] = known[request.param]
    return run, opened, known, sides


def errors(known, evidence, kind):
    """All pairs in error of a kind, the hardest first."""
    at = evidence.facts.threshold * (-1 if evidence.facts.metric == "score" else 1)
    accepted = known["farther"] <= at
    if kind == "false_accept":
        wrong = known[accepted & ~known["genuine"]]
        return wrong.sort_values(["farther", "row"])
    wrong = known[~accepted & known["genuine"]]
    return wrong.assign(nearer=-wrong["farther"]).sort_values(["nearer", "row"])


@pytest.mark.parametrize("kind", ["false_accept", "false_reject"])
@pytest.mark.parametrize("of_class", [None, "c3"])
def test_the_hardest_pairs_are_the_first_of_all_sorted(case, kind, of_class):
    run, table, known, sides = case
    of_class = of_class if sides else None
    evidence = explain_scored(run, table, Asked(None, 25, 2, of_class, ("name", "left")))
    wanted = errors(known, evidence, kind)
    if of_class is not None:
        wanted = wanted[(wanted[sides] == of_class).any(axis=1)]
    if sides:
        wanted = wanted[wanted.groupby(["low", "high"]).cumcount() < 2]
    wanted = wanted.head(25)
    found = evidence.pairs[evidence.pairs["kind"] == kind]
    assert len(wanted) > 1
    assert found["row_a"].tolist() == wanted["row"].tolist()
    assert found["distance"].tolist() == wanted["value"].tolist()
    assert found["name_a"].tolist() == wanted["name"].tolist()
    assert found["row_b"].isna().all()
    for side, name in zip(["class_a", "class_b"], sides, strict=False):
        assert found[side].tolist() == wanted[name].tolist()
    if not sides:
        assert found[["class_a", "class_b"]].isna().all(axis=None)


def test_the_false_accepts_and_rejects_are_those_of_the_run(case):
    run, table, known, _ = case
    facts = explain_scored(run, table, Asked()).facts
    chosen = run.report.recommendation
    assert facts.false_accepts == chosen.accepted_impostors
    assert facts.false_rejects == chosen.rejected_genuine
    assert len(known) == run.report.source.rows


def test_group_pairs_in_error_have_all_their_pairs(case):
    run, table, known, sides = case
    evidence = explain_scored(run, table, Asked())
    found = evidence.class_pairs
    if not sides:
        assert not len(found) and evidence.facts.concentration.class_pairs == 0
        assert evidence.facts.concentration.share is None
        return
    impostors = known[~known["genuine"]].groupby(["low", "high"])
    accepted = errors(known, evidence, "false_accept").groupby(["low", "high"])
    wanted = pd.DataFrame(
        {
            "accepted": accepted.size(),
            "pairs": impostors.size(),
            "least_distance": impostors["farther"].min() * np.sign(known["farther"].sum()),
        }
    ).dropna()
    wanted = wanted.reset_index().sort_values(["accepted", "low", "high"], ascending=[False, 1, 1])
    assert found["class_a"].tolist() == wanted["low"].tolist()
    assert found["class_b"].tolist() == wanted["high"].tolist()
    for name in ("accepted", "pairs", "least_distance"):
        assert found[name].tolist() == wanted[name].tolist(), name
    counted = evidence.facts.concentration
    assert (counted.class_pairs, counted.confused) == (len(impostors), len(found))
    running = wanted["accepted"].cumsum()
    assert counted.half == 1 + (2 * running < running.iloc[-1]).sum()


def test_what_is_about_rows_is_null_and_comes_back_from_the_files(case, tmp_path):
    run, table, *_ = case
    evidence = explain_scored(run, table, Asked(show_columns=("name",)))
    facts = evidence.facts
    about_rows = (facts.suspect_labels, facts.outliers, facts.merges, facts.splits)
    assert {*about_rows, facts.conflicts, facts.chains, facts.what_if} == {None}
    save_evidence(evidence, tmp_path / "evidence")
    again = load_evidence(tmp_path / "evidence")
    assert again.facts == facts
    for name in ("pairs", "class_pairs", "rows", "components"):
        left, right = getattr(again, name), getattr(evidence, name)
        assert list(left.columns) == list(right.columns)
        pd.testing.assert_frame_equal(left, right, check_dtype=False)
    assert not len(evidence.rows) and not len(evidence.components)


def test_each_id_has_its_errors_and_its_nearest_ids(case):
    run, table, known, sides = case
    evidence = explain_scored(run, table, Asked(id_column="id_l,id_r"))
    at = evidence.facts.threshold * (-1 if evidence.facts.metric == "score" else 1)
    wanted = {}
    for row in known.dropna(subset=["id_l", "id_r"]).to_dict("records"):
        groups = [row[side] for side in sides] if sides else [None, None]
        for own, other, group, other_group in (
            (row["id_l"], row["id_r"], *groups),
            (row["id_r"], row["id_l"], *groups[::-1]),
        ):
            one = wanted.setdefault(own, {"class": group, "pairs": 0, "wrong": [0, 0], "near": {}})
            one["pairs"] += 1
            wrong = (row["farther"] <= at) != row["genuine"]
            one["wrong"][int(row["genuine"])] += wrong
            nearest = (row["farther"], row["row"], row["value"], other, other_group)
            best = one["near"].get(row["genuine"], nearest)
            # An id may be on both sides of a pair.
            one["near"][row["genuine"]] = min(best, nearest, key=lambda found: found[:2])
    rows = evidence.rows.set_index("row")
    assert set(rows.index) == set(wanted)
    for name, one in wanted.items():
        found = rows.loc[name]
        assert [found["false_accepts"], found["false_rejects"]] == one["wrong"]
        assert (found["pairs"], found["class"]) == (one["pairs"], one["class"])
        for genuine, side in ((True, "own"), (False, "other")):
            *_, value, other, group = one["near"].get(genuine, (0, 0, np.nan, None, None))
            assert found[f"{side}_distance"] == pytest.approx(value, nan_ok=True)
            assert found[f"{side}_row"] == other
            assert genuine or found["other_class"] == group
    errors = evidence.rows["false_accepts"] + evidence.rows["false_rejects"]
    assert errors.is_monotonic_decreasing and errors.iloc[0] > 0
    for side, name in (("id_a", "id_l"), ("id_b", "id_r")):
        texts = known.set_index("row")[name].loc[evidence.pairs["row_a"]]
        assert evidence.pairs[side].tolist() == texts.tolist()


def test_pairs_without_a_score_are_rejected_pairs_of_their_ids(tmp_path):
    table = made(2_000).dropna(subset=["left", "id_l"])
    table.to_parquet(tmp_path / "p.parquet")
    run = evaluate_file(tmp_path / "p.parquet", Settings(pairs=True, missing_score="reject"))
    rows = run.explain(id_column="id_l,id_r").rows
    assert rows["pairs"].sum() == 2 * len(table)
    assert rows["false_rejects"].sum() == 2 * run.report.recommendation.rejected_genuine
    assert table["score"].isna().any()


@pytest.mark.parametrize("given", ["id_l", "id_l,nome", "id_l,id_l", "id_l,id_r,name"])
def test_ids_need_two_columns(given, tmp_path):
    made(2_000).dropna().to_csv(tmp_path / "p.csv", index=False)
    run = evaluate_file(tmp_path / "p.csv", Settings(pairs=True))
    with pytest.raises(InputError, match=f"id_column {given}"):
        run.explain(id_column=given)


def test_rows_of_embeddings_have_numbers():
    vectors = np.random.default_rng(0).normal(size=(30, 4))
    run = opis.evaluate(vectors, np.arange(30) % 5)
    with pytest.raises(SettingsError, match="id_column is for scored pairs"):
        run.explain(id_column="a,b")


def test_pairs_of_groups_are_added_up_whenever_too_many_are_held(case, monkeypatch):
    run, table, *_ = case
    whole = explain_scored(run, table, Asked())
    monkeypatch.setattr("opis_cli.evidence.scored._HELD", 20)
    pd.testing.assert_frame_equal(
        explain_scored(run, table, Asked()).class_pairs, whole.class_pairs
    )


def test_pairs_at_the_threshold_in_float32_are_accepted_as_in_the_count(tmp_path):
    # 0.1 in float32 is a little more than 0.1.
    near = [0.1, float(np.float32(0.1)), 0.1 + 1e-7]
    pairs = pd.DataFrame({"distance": [*near, 0.0, 1.0], "genuine": [False] * 3 + [True, True]})
    pairs.to_parquet(tmp_path / "p.parquet")
    run = evaluate_file(tmp_path / "p.parquet", Settings(pairs=True, threshold="0.1"))
    evidence = run.explain(threshold=0.1)
    assert evidence.facts.false_accepts == 2
    assert run.rates(0.1).far == pytest.approx(2 / 3)
    assert evidence.pairs["row_a"].tolist() == [0, 1, 4]


def test_more_pairs_of_groups_than_memory_are_refused(monkeypatch, tmp_path):
    pairs = made(2_000).dropna()
    pairs.to_parquet(tmp_path / "p.parquet")
    table = open_table([tmp_path / "p.parquet"], None, None, "left,right", 100)
    monkeypatch.setattr("opis_cli.evidence.scored._HELD", 20)
    with pytest.raises(SettingsError, match=r"memory_limit: \d+ pairs of groups need"):
        look(table, -1, 0.0, Wanted(10, 3), drop=False, memory_limit=1_000)


def test_group_pairs_add_up():
    one = GroupPairs(
        np.array([[0, 2], [1, 1]]), np.array([5, 6]), np.array([1, 0]), np.array([3, 4.0])
    )
    two = GroupPairs(
        np.array([[1, 1], [0, 1]]), np.array([2, 3]), np.array([1, 1]), np.array([1, 2.0])
    )
    both = GroupPairs.joined([one, two])
    assert both.groups.tolist() == [[0, 1], [0, 2], [1, 1]]
    assert both.pairs.tolist() == [3, 5, 8]
    assert both.accepted.tolist() == [1, 1, 1]
    assert both.least.tolist() == [2, 3, 1]


def test_a_group_and_a_column_that_are_not_there(tmp_path):
    made(2_000).dropna().to_csv(tmp_path / "p.csv", index=False)
    run = evaluate_file(tmp_path / "p.csv", Settings(pairs=True, group_column="left"))
    with pytest.raises(InputError, match="of_class c33: there is no such class; did you mean 'c3'"):
        run.explain(of_class="c33")
    with pytest.raises(InputError, match=r"no column named 'nome'.*'left', 'right', 'name'"):
        run.explain(show_columns=["nome"])
    alone = evaluate_file(tmp_path / "p.csv", Settings(pairs=True))
    with pytest.raises(SettingsError, match="of_class: these pairs have no groups"):
        alone.explain(of_class="c3")
