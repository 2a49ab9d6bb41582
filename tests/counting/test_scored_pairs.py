"""Scored pairs: figures of scikit-learn and pyeer, groups by brute force, what files may hold."""

import json
import subprocess
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import det_curve, roc_auc_score, roc_curve

import opis_cli as opis
from opis_cli.counting.sizes import SIZES, Sizes
from opis_cli.errors import InputError, SettingsError
from opis_cli.pipeline import evaluate_file
from opis_cli.report.threshold_file import read_threshold
from opis_cli.settings import Settings


def made(pairs, seed=0, ties=False):
    """Scores of pairs, a fifth genuine, and customers on both sides."""
    rng = np.random.default_rng(seed)
    genuine = rng.random(pairs) < 0.2
    score = np.where(genuine, rng.normal(0.7, 0.15, pairs), rng.normal(0.3, 0.12, pairs))
    return pd.DataFrame(
        {
            "score": score.round(2) if ties else score,
            "genuine": genuine,
            "left": [f"c{k}" for k in rng.integers(0, 9, pairs)],
            "right": [f"c{k}" for k in rng.integers(3, 12, pairs)],
        }
    )


@pytest.fixture(params=["all", "a sample", "ties"])
def table(request):
    """Pairs that are all looked at first, only some of them, or tied with many others."""
    found = made(30_000, ties=request.param == "ties")
    found.attrs["sampled"] = request.param == "a sample"
    return found


def run_of(table, tmp_path, sizes=SIZES, **settings):
    if table.attrs.get("sampled"):
        sizes = Sizes(sampled_scores=1_500, batch_rows=1_000)
    path = tmp_path / "pairs.parquet"
    table.to_parquet(path)
    return evaluate_file(path, Settings(pairs=True, **settings), sizes=sizes)


def rates_of(table, thresholds):
    """FAR and FRR where scores from each threshold on are accepted, by counting."""
    score, genuine = table["score"].to_numpy(), table["genuine"].to_numpy()
    far, true_accepts = (
        (len(part) - np.searchsorted(part, np.atleast_1d(thresholds))) / len(part)
        for part in (np.sort(score[~genuine]), np.sort(score[genuine]))
    )
    return far, 1 - true_accepts


def test_rates_are_those_of_scikit_learn(table, tmp_path):
    run = run_of(table, tmp_path)
    fpr, tpr, at = roc_curve(table["genuine"], table["score"], drop_intermediate=False)
    # Rates at a threshold are those of the last score that it accepts.
    thresholds = -run.counts.grid.thresholds
    place = np.searchsorted(-at, -thresholds, side="right") - 1
    assert np.array_equal(run.counts.pooled_far, fpr[place])
    assert np.allclose(run.counts.pooled_frr, 1 - tpr[place], atol=1e-12)
    area = np.trapezoid(1 - run.counts.pooled_frr, run.counts.pooled_far)
    assert area == pytest.approx(roc_auc_score(table["genuine"], table["score"]), abs=2e-3)


def test_operating_points_and_bounds_are_the_best_of_the_det_curve(table, tmp_path):
    run = run_of(table, tmp_path, max_far=0.013, prefer="low-frr")
    fpr, fnr, _ = det_curve(table["genuine"], table["score"])
    chosen = run.report.recommendation
    points = [(p.far, p.achieved_far, p.frr) for p in run.report.operating_points]
    for far, achieved, frr in [*points, (0.013, chosen.far, chosen.frr)]:
        best = fnr[fpr <= far].min(initial=1.0)
        assert achieved <= far
        # What a sample places may lose a thousandth, as long as the pairs resolve the FAR at all.
        assert frr == pytest.approx(best, abs=1e-3 if far * len(table) > 10 else 0.02)
    score = chosen.equivalents.score
    assert score == -chosen.threshold
    far, frr = rates_of(table, score)
    assert (chosen.far, chosen.frr) == pytest.approx((far[0], frr[0]), abs=1e-15)


def test_the_bound_is_met_exactly_where_all_pairs_are_looked_at(tmp_path):
    table = made(3_000)
    impostors = np.sort(table.loc[~table["genuine"], "score"])[::-1]
    for number in (1, 7, 100):
        bound = number / len(impostors)
        run = run_of(table, tmp_path, max_far=bound, prefer="low-frr")
        assert run.report.recommendation.accepted_impostors == number


def test_equal_error_is_that_of_the_det_curve(table, tmp_path):
    eer = run_of(table, tmp_path).report.eer
    fpr, fnr, _ = det_curve(table["genuine"], table["score"])
    least = np.argmin(np.abs(fpr - fnr))
    assert eer.rate == pytest.approx((fpr[least] + fnr[least]) / 2, abs=2e-4)
    far, frr = rates_of(table, -eer.threshold)
    assert eer.rate == pytest.approx((far[0] + frr[0]) / 2, abs=1e-12)


@pytest.mark.optional
def test_equal_error_is_that_of_pyeer(table, tmp_path):
    stats = pytest.importorskip("pyeer.eer_stats", reason="needs pip install pyeer")
    score, genuine = table["score"].to_numpy(), table["genuine"].to_numpy()
    _, fmr, fnmr = stats.calculate_roc(score[genuine], score[~genuine])
    _, low, high, theirs = stats.get_eer_values(fmr, fnmr)
    eer = run_of(table, tmp_path).report.eer.rate
    # They report the EER to lie between two rates, and take the middle.
    assert eer == pytest.approx(theirs, abs=max(high - low, 5e-4))


def test_without_groups_there_is_no_opis_and_utility_is_pooled(table, tmp_path):
    run = run_of(table, tmp_path, max_far=0.2)
    report = run.report
    assert report.opis is None and report.eps_opis.value is None and report.recall_at_1 is None
    assert report.worst_classes == () and len(run.classes()) == 0
    assert report.recommendation.false_accepts_per_query is None
    far, frr = rates_of(table, np.unique(table["score"]))
    spec, sens = 1 - far, 1 - frr
    utility = 2 * spec * sens / np.maximum(spec + sens, 1e-300)
    far, frr = report.recommendation.far, report.recommendation.frr
    assert far <= 0.2
    found = 2 * (1 - far) * (1 - frr) / (2 - far - frr)
    assert found == pytest.approx(utility.max(), abs=2e-4)


@pytest.mark.parametrize("sides", [("left",), ("left", "right")])
def test_groups_of_one_side_or_of_both(sides, table, tmp_path):
    run = run_of(table, tmp_path, group_column=",".join(sides))
    thresholds = -run.counts.grid.class_thresholds
    score, genuine = table["score"].to_numpy(), table["genuine"].to_numpy()
    names = np.unique(table[list(sides)])
    assert run.counts.class_names.tolist() == names.tolist()
    for k, name in enumerate(names):
        for counted, kind in ((run.counts.genuine, genuine), (run.counts.impostor, ~genuine)):
            ordered = np.sort(
                np.concatenate([-score[kind & (table[side] == name)] for side in sides])
            )
            assert np.array_equal(counted[k], np.searchsorted(ordered, -thresholds, side="right"))
    assert run.report.opis > 0 and run.report.source.group_column == ",".join(sides)
    assert run.classes().columns[0] == "group"


def test_many_groups_keep_fewer_thresholds(tmp_path):
    table = made(20_000)
    dense = run_of(table, tmp_path, group_column="left")
    run = run_of(table, tmp_path, Sizes(dense_cells=0), group_column="left")
    assert len(run.counts.grid.by_class) < len(dense.counts.grid.by_class)
    assert run.report.opis == pytest.approx(dense.report.opis, rel=0.02)
    assert run.report.recommendation.class_mean_far is not None
    chosen = run.recommend(max_far=0.01, prefer="low-frr")
    assert chosen.mean_utility is not None


def test_csv_and_tsv_and_shards_are_read_too(tmp_path):
    table = made(4_000)
    whole = run_of(table, tmp_path, group_column="left").counts
    table.to_csv(tmp_path / "pairs.csv", index=False)
    table.assign(genuine=table["genuine"].astype(int)).to_csv(
        tmp_path / "pairs.tsv", index=False, sep="\t"
    )
    for number, start in enumerate((0, 1_000, 2_500)):
        table[start : [1_000, 2_500, 4_000][number]].to_parquet(tmp_path / f"s-{number}.parquet")
    for name in ("pairs.csv", "pairs.tsv", "s-*.parquet"):
        run = opis.evaluate(tmp_path / name, pairs=True, group_column="left")
        assert np.array_equal(run.counts.genuine, whole.genuine), name
        assert np.array_equal(run.counts.grid.thresholds, whole.grid.thresholds), name


def test_distances_and_scores_are_two_ways_to_say_the_same(tmp_path):
    table = made(5_000)
    by_score = run_of(table, tmp_path)
    by_distance = run_of(table.assign(distance=-table["score"]).drop(columns="score"), tmp_path)
    assert (by_score.counts.metric, by_distance.counts.metric) == ("score", "distance")
    assert np.array_equal(by_score.counts.pooled_impostor, by_distance.counts.pooled_impostor)
    lower = table.assign(score=-table["score"])
    assert run_of(lower, tmp_path).counts.metric == "distance"
    renamed = lower.rename(columns={"score": "loss", "genuine": "match"})
    found = run_of(renamed, tmp_path, score_column="loss", label_column="match")
    assert np.array_equal(found.counts.pooled_genuine, by_score.counts.pooled_genuine)


def test_which_way_round_is_asked_where_nothing_tells(cli, tmp_path):
    table = made(2_000)
    table["score"] = np.random.default_rng(1).random(2_000) + 0.02 * table["genuine"]
    table.to_parquet(tmp_path / "p.parquet")
    done = cli("evaluate", "p.parquet", "--pairs")
    assert done.returncode == 2
    assert "Give --higher-is-closer or --lower-is-closer" in done.stderr
    for option, metric in (("--higher-is-closer", "score"), ("--lower-is-closer", "distance")):
        done = cli("evaluate", "p.parquet", "--pairs", option, "--json")
        assert json.loads(done.stdout)["settings"]["metric"] == metric
    table.rename(columns={"score": "distance"}).to_parquet(tmp_path / "d.parquet")
    with pytest.raises(SettingsError, match="a distance is lower for closer"):
        opis.evaluate(tmp_path / "d.parquet", pairs=True, higher_is_closer=True)


def test_a_run_is_saved_drawn_and_deployed(cli, tmp_path):
    made(3_000).to_parquet(tmp_path / "p.parquet")
    done = cli("evaluate", "p.parquet", "--pairs", "--out", "run")
    assert done.returncode == 0, done.stderr
    assert "3,000 scored pairs, the higher the closer" in done.stdout
    assert "DEPLOY  score >=" in done.stdout
    deployed = json.loads((tmp_path / "run" / "threshold.json").read_text())
    assert (deployed["metric"], deployed["accept"]) == ("score", "score >= threshold")
    run = opis.load_run(tmp_path / "run")
    assert deployed["threshold"] == -run.report.recommendation.threshold
    threshold = read_threshold(str(tmp_path / "run" / "threshold.json"), "score")
    again = opis.evaluate(
        tmp_path / "p.parquet", pairs=True, threshold=str(tmp_path / "run" / "threshold.json")
    )
    assert again.report.deployed.threshold == threshold
    assert again.report.deployed.far == run.report.recommendation.far
    for kind in ("utility", "rates", "det", "histogram"):
        run.plot(kind)
    with pytest.raises(SettingsError, match="no class to draw"):
        run.plot("classes")
    assert run.recommend(max_far=0.05).far <= 0.05
    with pytest.raises(SettingsError, match="made for the score metric"):
        read_threshold(str(tmp_path / "run" / "threshold.json"), "cosine")


@pytest.mark.parametrize(
    ("change", "settings", "says"),
    [
        (lambda t: t.assign(distance=1.0), {}, "2 columns may be the score column"),
        (lambda t: t.drop(columns="score"), {}, "no score column"),
        (lambda t: t.drop(columns="genuine"), {}, "no column 'genuine'; give label_column"),
        (lambda t: t.assign(genuine="yes"), {}, "no impostor pair among 2,000"),
        (lambda t: t.assign(genuine="perhaps"), {}, "row 0 .*'perhaps' in column 'genuine'"),
        (lambda t: t.assign(genuine=2), {}, "row 0 .*'2' in column 'genuine'; wanted true or"),
        (lambda t: t.assign(genuine=True), {}, "no impostor pair among 2,000"),
        (lambda t: t.assign(genuine=False), {}, "no genuine pair among 2,000"),
        (lambda t: t.assign(score="x"), {}, "row 0 .*'x' in column 'score'; wanted a number"),
        (
            lambda t: t.assign(score=t["score"].where(t.index > 7)),
            {},
            "impostor pairs have no score",
        ),
        (lambda t: t.assign(score=np.where(t.index == 7, np.inf, 0.1)), {}, "row 7"),
        (lambda t: t.assign(left=t["left"].where(t.index != 9)), {"group_column": "left"}, "row 9"),
        (lambda t: t, {"group_column": "left,nobody"}, "no column 'nobody'"),
        (lambda t: t[:0], {}, "no genuine pair among 0"),
        (
            lambda t: t.assign(score=0.5),
            {"higher_is_closer": True, "group_column": "left"},
            "cannot be resolved",
        ),
        (lambda t: t, {"calibration": "distance:0.1..0.2"}, "these are scores"),
        (lambda t: t, {"memory_limit": "20MB"}, "need about"),
    ],
)
def test_unusable_files_are_refused(change, settings, says, tmp_path):
    with pytest.raises(opis.OpisError, match=says):
        run_of(change(made(2_000)), tmp_path, **settings)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"within_column": "t"}, "within_column is for embeddings"),
        ({"gallery": "g.parquet"}, "gallery is for embeddings"),
        ({"metric": "euclidean"}, "metric is for embeddings"),
        ({"prefer": "worst-classes"}, "needs group_column"),
    ],
)
def test_settings_of_embeddings_are_refused(settings, says, tmp_path):
    with pytest.raises(SettingsError, match=says):
        run_of(made(100), tmp_path, **settings)


def test_bad_pairs_are_dropped_on_request(tmp_path):
    table = made(2_000)
    table.loc[[3, 1_999], "score"] = np.nan
    run = run_of(table, tmp_path, on_bad_rows="drop")
    assert (run.report.source.rows, run.report.source.dropped_rows) == (1_998, 2)
    table["genuine"] = table["genuine"].astype(object)
    table.loc[5, "genuine"] = None
    table.to_csv(tmp_path / "p.csv", index=False)
    run = opis.evaluate(tmp_path / "p.csv", pairs=True, on_bad_rows="drop")
    assert run.report.source.dropped_rows == 3


def test_damaged_and_unknown_files_are_refused(tmp_path):
    (tmp_path / "p.csv").write_text("score,genuine\n0.1,true\nhello,false\n")
    (tmp_path / "p.parquet").write_bytes(b"no parquet")
    (tmp_path / "p.txt").write_text("0.1 true")
    (tmp_path / "ragged.csv").write_text("score,genuine\n0.1,true\n0.2\n")
    for name, says in (
        ("p.csv", "row 1 .*'hello' in column 'score'"),
        ("p.parquet", "not a readable Parquet file"),
        ("p.txt", "the suffix '.txt' is not known"),
        ("ragged.csv", "not a readable CSV file"),
        ("none.csv", "no such file"),
    ):
        with pytest.raises(InputError, match=says):
            opis.evaluate(tmp_path / name, pairs=True)


@pytest.mark.parametrize("column", ["genuine", "group"])
def test_a_column_of_lists_is_refused(column, cli, tmp_path):
    file = tmp_path / "pairs.parquet"
    table = {"score": [0.5, 0.1, 0.7], "genuine": [True, False, True], "group": ["a", "b", "a"]}
    pd.DataFrame(table | {column: [[1], [0], [1]]}).to_parquet(file)
    done = cli("evaluate", file, "--pairs", "--group-column", "group")
    assert done.returncode == 2 and f"column '{column}'" in done.stderr


def test_similarities_that_are_called_distances_are_refused(cli, tmp_path):
    rng, file = np.random.default_rng(0), tmp_path / "pairs.parquet"
    genuine = rng.random(4_000) < 0.3
    pd.DataFrame({"distance": rng.normal(3.0 * genuine), "genuine": genuine}).to_parquet(file)
    done = cli("evaluate", file, "--pairs")
    assert done.returncode == 2 and "as similarities do" in done.stderr
    assert cli("evaluate", file, "--pairs", "--lower-is-closer").returncode == 0


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("--group-column", "a,a"), "the same column twice"),
        (("--engine", "torch"), "--engine is for embeddings"),
        (("--embedding-column", "v"), "--embedding-column is for embeddings"),
    ],
)
def test_what_makes_no_sense_with_scored_pairs_is_refused(given, told, cli, tmp_path):
    file = tmp_path / "pairs.csv"
    file.write_text("distance,genuine,a\n0.1,1.0,x\n0.9,0.0,y\n")
    done = cli("evaluate", file, "--pairs", *given)
    assert done.returncode == 2 and told in done.stderr


def test_rates_at_any_score_are_of_what_a_person_sees(tmp_path):
    table = made(3_000, ties=True)
    run = run_of(table, tmp_path, group_column="left,right", threshold=0.5)
    assert run.report.settings["metric"] == "score"
    for score in (0.5, 0.42, 0.505):
        at = run.rates(score)
        far, frr = rates_of(table, score)
        assert at.threshold == score and at.frr_at >= score >= at.far_at
        assert at.far >= far[0] - 1e-12 and at.frr >= frr[0] - 1e-12
        assert run.classes(threshold=score)["far"].mean() == pytest.approx(at.class_mean_far)
    at = run.rates(0.5)
    assert at.exact and (at.far, at.frr) == pytest.approx(
        tuple(rate[0] for rate in rates_of(table, 0.5))
    )
    worst = run.report.deployed.worst_classes
    groups = run.classes(threshold=0.5).set_index("group")
    assert [one.utility for one in worst] == groups["utility"].nsmallest(10).tolist()


def test_pairs_without_groups_need_no_calibration_range(tmp_path):
    """Of saturated scores no range is resolved, and nothing asks for one."""
    scores = np.repeat([1.0, 0.0, 1.0, 0.0], [950, 50, 30, 2_970])
    table = pd.DataFrame({"score": scores, "genuine": np.arange(4_000) < 1_000})
    table.to_parquet(tmp_path / "pairs.parquet")
    run = opis.evaluate(tmp_path / "pairs.parquet", pairs=True, max_far=0.02)
    chosen, asked = run.report.recommendation, run.report.calibration_range
    assert (chosen.equivalents.score, chosen.far, chosen.frr) == (0.5, 0.01, 0.05)
    assert (asked.threshold_low, asked.threshold_high, asked.points) == (None, None, 0)
    assert asked.contains_recommendation is None
    run.save(tmp_path / "run")
    assert opis.load_run(tmp_path / "run").report.calibration_range == asked
    for kind in ("utility", "rates", "det", "roc", "histogram"):
        run.plot(kind)


WRITTEN = {
    "t and f": ("t", "f"),
    "words": ("Yes", "no "),
    "letters": ("Y", "N"),
    "trials": ("target", "nontarget"),
    "floats": ("1.0", "0.0"),
}


@pytest.mark.parametrize("words", WRITTEN.values(), ids=WRITTEN)
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_truths_in_the_words_of_databases_and_trial_lists(words, suffix, tmp_path):
    table = made(2_000)
    expected = run_of(table, tmp_path)
    written = table.assign(genuine=np.where(table["genuine"], *words))
    file = tmp_path / f"written.{suffix}"
    written.to_csv(file, index=False) if suffix == "csv" else written.to_parquet(file)
    found = opis.evaluate(file, pairs=True)
    assert np.array_equal(found.counts.pooled_genuine, expected.counts.pooled_genuine)
    assert np.array_equal(found.counts.pooled_impostor, expected.counts.pooled_impostor)


def test_decimals_of_databases_are_numbers(tmp_path):
    table = made(2_000).round(3)
    expected = run_of(table, tmp_path)
    scores = pa.array([Decimal(f"{score:.3f}") for score in table["score"]], pa.decimal128(8, 3))
    written = pa.table({"score": scores, "genuine": table["genuine"]})
    pq.write_table(written, tmp_path / "decimal.parquet")
    found = opis.evaluate(tmp_path / "decimal.parquet", pairs=True)
    assert found.report.recommendation == expected.report.recommendation


def test_only_an_empty_cell_of_a_group_is_missing(tmp_path):
    table = made(2_000).assign(region=np.resize(["NA", "EU", "null", "none"], 2_000))
    table.to_csv(tmp_path / "p.csv", index=False)
    run = opis.evaluate(tmp_path / "p.csv", pairs=True, group_column="region")
    assert run.counts.class_names.tolist() == ["EU", "NA", "none", "null"]
    assert run.report.source.rows == 2_000
    table.loc[4, "region"] = ""
    table.to_csv(tmp_path / "p.csv", index=False)
    with pytest.raises(InputError, match="row 4 "):
        opis.evaluate(tmp_path / "p.csv", pairs=True, group_column="region")


@pytest.mark.parametrize("missing", ["", "NA", "nan", "NULL"])
def test_pairs_without_a_score_are_counted_by_kind(missing, tmp_path):
    table = made(2_000)
    lacking = table.index % 10 == 0
    counts = [int((lacking & (table["genuine"] == kind)).sum()) for kind in (True, False)]
    written = table.assign(score=table["score"].astype(str).where(~lacking, missing))
    written.to_csv(tmp_path / "p.csv", index=False)
    says = f"{counts[0]:,} genuine and {counts[1]:,} impostor pairs have no score"
    with pytest.raises(InputError, match=says):
        opis.evaluate(tmp_path / "p.csv", pairs=True)
    run = opis.evaluate(tmp_path / "p.csv", pairs=True, on_bad_rows="drop")
    assert run.report.source.dropped_rows == sum(counts) == 200


def test_a_truth_that_is_nan_is_missing(tmp_path):
    table = made(2_000)
    truth = table["genuine"].astype(float).to_numpy(copy=True)
    truth[7] = np.nan
    written = pa.table({"score": table["score"], "genuine": pa.array(truth)})
    pq.write_table(written, tmp_path / "p.parquet")
    with pytest.raises(InputError, match="row 7 "):
        opis.evaluate(tmp_path / "p.parquet", pairs=True)
    run = opis.evaluate(tmp_path / "p.parquet", pairs=True, on_bad_rows="drop")
    assert (run.report.source.rows, run.report.source.dropped_rows) == (1_999, 1)


def test_a_file_without_a_header_comes_with_the_line_that_mends_it(tmp_path):
    table = made(2_000)
    file = tmp_path / "it's headerless.csv"
    table[["score", "genuine"]].astype({"genuine": int}).to_csv(file, index=False, header=False)
    with pytest.raises(InputError, match="line 1 looks like data") as error:
        opis.evaluate(file, pairs=True)
    command = str(error.value).partition("such as: ")[2]
    subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True)
    run = opis.evaluate(tmp_path / "with_header.csv", pairs=True)
    assert run.report.source.rows == 2_000
