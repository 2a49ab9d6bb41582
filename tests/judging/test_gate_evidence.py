"""A gate and the evidence of a run: limits that it decides, and the pairs that it names."""

import dataclasses
import json

import data
import numpy as np
import pandas as pd
import pytest

import opis_cli as opis
from opis_cli.errors import RunError, SettingsError
from opis_cli.judging.gate import judge
from opis_cli.judging.limits import RULE, Demands, Limit, read_demands
from opis_cli.render.sheet import FACTS
from opis_cli.report.evidence import FOLDER, save_evidence

AT = 0.5
VECTORS, LABELS = data.blobs(240, 8, spread=0.9)
NAMES = np.array([f"class {label}" for label in LABELS], object)


@pytest.fixture(scope="module")
def run():
    return opis.evaluate(VECTORS, NAMES, threshold=str(AT))


@pytest.fixture(scope="module")
def evidence(run):
    return run.explain(threshold=AT, per_class_pair=5)


def asked(**limits):
    return Demands(
        tuple(Limit(RULE[n.replace("_", "-")], v) for n, v in limits.items()), None, None
    )


def only(verdict):
    (check,) = verdict.checks
    return check


def all_pairs():
    """The rows and the cosine distance of every pair, by brute force."""
    unit = VECTORS.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    one, two = np.triu_indices(len(unit), 1)
    return one, two, 1 - np.einsum("nd,nd->n", unit[one], unit[two])


def test_a_failed_far_names_the_closest_false_accepts(run, evidence):
    check = only(judge(run, asked(max_far=0.0), evidence=evidence))
    one, two, distances = all_pairs()
    impostor = NAMES[one] != NAMES[two]
    taken, expected = {}, []
    for place in np.argsort(np.where(impostor, distances, np.inf)):
        between = frozenset((NAMES[one[place]], NAMES[two[place]]))
        taken[between] = taken.get(between, 0) + 1
        if taken[between] <= 5:
            expected.append((one[place], two[place]))
    found = [tuple(sorted((pair.row_a, pair.row_b))) for pair in check.pairs]
    assert found == [tuple(map(int, pair)) for pair in expected[:10]]
    for pair in check.pairs:
        assert (pair.class_a, pair.class_b) == (NAMES[pair.row_a], NAMES[pair.row_b])


def test_a_passed_limit_names_no_pair(run, evidence):
    verdict = judge(run, asked(max_far=1.0, max_frr=0.0), evidence=evidence)
    assert [check.pairs for check in verdict.checks] == [(), ()]
    assert "evidence" not in " ".join(verdict.notes)


def test_a_failed_class_names_its_own_false_rejects_the_worst_class_first(run, evidence):
    rates = run.classes(AT).set_index("class")["frr"].sort_values(ascending=False)
    limit = float(rates.iloc[2])
    check = only(judge(run, asked(max_class_frr=limit), evidence=evidence))
    failing = rates.index[rates > limit].tolist()
    assert check.class_name == failing[0]
    found = [pair.class_a for pair in check.pairs]
    assert found == sorted(found, key=failing.index) and found[0] == failing[0]
    assert set(found) == set(failing) and found.count(failing[0]) == 5
    assert all(pair.class_a == pair.class_b and pair.distance > AT for pair in check.pairs)


@pytest.mark.parametrize("judged", [0.3, 0.7])
def test_pairs_of_another_threshold_are_errors_at_the_judged_one(run, evidence, judged):
    demands = asked(max_far=0.0, max_class_frr=0.0)
    verdict = judge(run, demands, threshold=str(judged), evidence=evidence)
    far, frr = verdict.checks
    assert far.pairs and all(pair.distance <= judged for pair in far.pairs)
    assert frr.pairs and all(pair.distance > judged for pair in frr.pairs)
    assert f"another threshold, {AT}" in verdict.notes[-1]
    assert f"opis explain RUN --threshold {judged}" in verdict.notes[-1]


def test_evidence_without_such_a_pair_says_so(run, evidence):
    none = dataclasses.replace(evidence, pairs=evidence.pairs.head(0))
    verdict = judge(run, asked(max_far=0.0), evidence=none)
    assert not only(verdict).pairs and "lists no pair" in verdict.notes[-1]


@pytest.mark.parametrize("asked_of", [None, "worst"])
def test_a_failed_group_names_its_own_false_rejects(asked_of):
    columns = {"site": np.array([f"site {k}" for k in np.arange(len(LABELS)) % 5 // 2])}
    settings = {"columns": columns, "group_column": "site", "threshold": str(AT)}
    run = opis.evaluate(VECTORS, NAMES, **settings)
    rates = run.classes(AT).set_index("group")["frr"].sort_values(ascending=False)
    worst, limit = rates.index[0], float(rates.iloc[1])
    found = run.explain(threshold=AT, of_class=worst if asked_of else None)
    check = only(judge(run, asked(max_class_frr=limit), evidence=found))
    assert check.class_name == worst and len(check.pairs) == 10
    sides = [pair.columns["site"] for pair in check.pairs]
    assert all(worst in both for both in sides) and len(set(sides)) > 1
    assert all(pair.class_a == pair.class_b and pair.distance > AT for pair in check.pairs)
    rejects = found.pairs[found.pairs["kind"] == "false_reject"]
    of_worst = rejects[(rejects["site_a"] == worst) | (rejects["site_b"] == worst)]
    assert [pair.row_a for pair in check.pairs] == of_worst["row_a"].head(10).tolist()
    # Evidence that an older opis wrote does not tell the groups.
    older = dataclasses.replace(found, pairs=found.pairs.drop(columns=["site_a", "site_b"]))
    verdict = judge(run, asked(max_class_frr=limit), evidence=older)
    assert only(verdict).pairs == () and f"--class '{worst}'" in verdict.notes[-1]


def with_suspects(evidence, labels, outliers):
    rows = evidence.rows.copy()
    rows["suspect"] = pd.array([None] * len(rows), "object")
    rows.loc[rows.index[:labels], "suspect"] = "label"
    rows.loc[rows.index[labels : labels + outliers], "suspect"] = "outlier"
    rows["score"] = np.arange(len(rows)) / len(rows)
    return dataclasses.replace(evidence, rows=rows)


@pytest.mark.parametrize(
    ("given", "limit", "passed"),
    [("5", 5, True), ("4", 4, False), ("2.5%", 6, True), ("2.0833%", 4, False), (0, 0, False)],
)
def test_suspect_rows_are_counted_or_a_share_of_the_rows(run, evidence, given, limit, passed):
    demands = read_demands({"max-suspects": given}, {})
    check = only(judge(run, demands, evidence=with_suspects(evidence, 3, 2)))
    assert (check.value, check.limit, check.passed) == (5, limit, passed)
    assert check.margin == limit - 5 and check.unit == "rows"
    # The most suspect row has the highest score.
    assert check.remark == "3 suspect labels and 2 outliers of 240 rows: rows 4, 3, 2, 1, 0"


def test_a_share_that_is_a_whole_number_of_rows_is_that_number(run, evidence):
    rows = evidence.rows.head(100)
    hundred = dataclasses.replace(evidence, rows=rows.assign(suspect=["label"] * 29 + [None] * 71))
    demands = read_demands({}, {"max_suspects": "29%"})
    assert 0.29 * 100 < 29  # as binary fractions are
    assert only(judge(run, demands, evidence=hundred)).passed


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"max_suspects": "0.5"}, "whole number or a percentage of the rows"),
        ({"max_suspects": "-1"}, "not negative"),
        ({"max_suspects": "few"}, "a number or a percentage of the rows"),
        ({"max_label_conflicts": 0.01}, "must be a whole number$"),
    ],
)
def test_counts_are_whole_numbers(flags, says):
    with pytest.raises(SettingsError, match=says):
        read_demands({}, flags)


def test_label_conflicts_need_no_evidence_and_are_named_with_it():
    vectors, names = VECTORS.copy(), NAMES.copy()
    names[:3], names[3:5] = "class 0", "class 1"
    vectors[:5] = vectors[0]  # three rows of a class that equal two rows of another one
    run = opis.evaluate(vectors, names)
    check = only(judge(run, asked(max_label_conflicts=5)))
    assert (check.value, check.passed, check.pairs) == (6, False, ())
    assert check.remark == "of 10 pairs of equal rows"
    assert judge(run, asked(max_label_conflicts=6)).passed
    found = run.explain(threshold=AT, per_class_pair=100)
    check = only(judge(run, asked(max_label_conflicts=0), evidence=found))
    assert {(pair.row_a, pair.row_b) for pair in check.pairs} == {
        (a, b) for a in (0, 1, 2) for b in (3, 4)
    }


def test_conflicts_that_an_older_report_did_not_count_do_not_pass(run):
    older = dataclasses.replace(run, report=dataclasses.replace(run.report, schema_version=2))
    check = only(judge(older, asked(max_label_conflicts=0)))
    assert check.value is None and not check.passed and "evaluate the source again" in check.remark


def test_evidence_must_be_of_the_run(run, evidence):
    other = opis.evaluate(VECTORS[::-1].copy(), NAMES[::-1], threshold=str(AT))
    with pytest.raises(RunError, match="of another run"):
        judge(other, asked(max_suspects=0), evidence=evidence)
    # A verdict that does not depend on it stands.
    verdict = judge(other, asked(max_far=0.0), evidence=evidence)
    assert not verdict.passed and only(verdict).pairs == ()
    assert verdict.notes[-1].startswith("No pairs are named: the evidence is of another run")


def test_without_evidence_no_pair_is_named_and_suspects_are_refused(run):
    verdict = judge(run, asked(max_far=0.0))
    assert only(verdict).pairs == () and "evidence" not in " ".join(verdict.notes)
    with pytest.raises(RunError, match="max_suspects needs evidence"):
        judge(run, asked(max_suspects=0))


def test_the_command_reads_the_evidence_of_a_run(run, evidence, cli, tmp_path):
    run.save(tmp_path / "run")
    np.savez(tmp_path / "x.npz", embeddings=VECTORS, labels=LABELS)
    refused = cli("gate", "run", "--max-suspects", "0")
    assert refused.returncode == 2 and "run `opis explain run` first" in refused.stderr
    source = cli("gate", "x.npz", "--max-suspects", "1%")
    assert source.returncode == 2 and "opis explain RUN" in source.stderr
    save_evidence(with_suspects(evidence, 3, 2), tmp_path / "run" / FOLDER)
    (tmp_path / "opis.toml").write_text('[gate]\nmax-suspects = "1%"\nmax-far = 0.0\n')
    done = cli("gate", "run", "--json-file", "v.json", "--html", "page.html")
    assert done.returncode == 1 and done.stderr == ""
    first = only(judge(run, asked(max_far=0.0), evidence=evidence)).pairs[0]
    named = f"{first.row_a}, {first.row_b}"
    assert "max-far: Closest false accepts" in done.stdout and named in done.stdout
    assert f'<td class="row"><bdi>{named}</bdi></td>' in (tmp_path / "page.html").read_text()
    verdict = json.loads((tmp_path / "v.json").read_text())
    assert [len(check["pairs"]) for check in verdict["checks"]] == [10, 0]
    (tmp_path / "run" / FOLDER / "rows.parquet").write_bytes(b"no table")
    damaged = cli("gate", "run", "--max-suspects", "5")
    assert damaged.returncode == 2 and "damaged evidence" in damaged.stderr


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """A run of scored pairs with evidence, and the table of its pairs."""
    folder = tmp_path_factory.mktemp("scored")
    rng = np.random.default_rng(0)
    genuine = rng.random(3_000) < 0.1
    table = pd.DataFrame(
        {
            "score": np.round(np.where(genuine, 2, 0) + rng.normal(0, 1, 3_000), 3),
            "genuine": genuine,
            "left": rng.choice(list("abc"), 3_000),
            "right": rng.choice(list("abc"), 3_000),
            "ident": [f"u{k}" for k in range(3_000)],
        }
    )
    table.to_csv(folder / "pairs.csv", index=False)
    opis.evaluate(folder / "pairs.csv", pairs=True, group_column="left,right").save(folder / "run")
    run = opis.load_run(folder / "run")
    save_evidence(run.explain(show_columns=["ident"], per_class_pair=9), folder / "run" / FOLDER)
    return opis.load_run(folder / "run"), table


@pytest.mark.parametrize("threshold", [None, "2"])
def test_pairs_of_scores_are_named_by_row_score_and_groups(scored, threshold):
    run, table = scored
    verdict = judge(run, asked(max_far=0.0001), threshold=threshold)
    check = only(verdict)
    wrong = table[~table["genuine"]].sort_values("score", ascending=False, kind="stable").head(10)
    assert [pair.row_a for pair in check.pairs] == wrong.index.tolist()
    assert [pair.distance for pair in check.pairs] == wrong["score"].tolist()
    assert {pair.row_b for pair in check.pairs} == {None}
    assert [pair.columns["ident"] for pair in check.pairs] == [(one,) for one in wrong["ident"]]
    assert ("of another threshold" in " ".join(verdict.notes)) == (threshold is not None)
    assert "-2" not in " ".join(verdict.notes)


def test_scored_pairs_have_no_suspect_rows(scored):
    with pytest.raises(SettingsError, match="scored pairs have no rows"):
        judge(scored[0], asked(max_suspects=1))


def test_the_plot_of_groups_leaves_out_pairs_within_a_group(scored):
    run, table = scored
    texts = run.plot("confusion").axes[0].texts
    facts = next(text.get_text() for text in texts if text.get_gid() == FACTS)
    at = run.report.recommendation.equivalents.score
    wrong = table[~table["genuine"] & (table["score"] >= at)]
    share = (wrong["left"] != wrong["right"]).mean()
    assert f"{100 * share:.3g} % of all {len(wrong)} false accepts" in facts
    assert facts.startswith("all 3 groups")


def test_a_failed_group_of_scores_names_the_pairs_of_either_side(scored):
    run, table = scored
    worst = run.classes().set_index("group")["frr"].sort_values(ascending=False)
    check = only(judge(run, asked(max_class_frr=float(worst.iloc[1]))))
    name = worst.index[0]
    of_group = table[table["genuine"] & ((table["left"] == name) | (table["right"] == name))]
    farthest = of_group.sort_values("score", kind="stable")
    assert [pair.row_a for pair in check.pairs] == farthest.index[:10].tolist()
    assert name in {pair.class_a for pair in check.pairs} & {pair.class_b for pair in check.pairs}
