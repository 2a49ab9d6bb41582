"""Protocols beside intervals, samples, folds, gate and compare: each is right, null, or refused."""

import json
import shutil

import data
import numpy as np
import oracle
import pandas as pd
import pytest
from conftest import optional

import opis_cli as opis
from opis_cli.counting import store
from opis_cli.counting.counts_file import load_counts
from opis_cli.embeddings.clean import Reading, from_arrays
from opis_cli.embeddings.read import read
from opis_cli.errors import OpisError, SettingsError
from opis_cli.judging import changes, models
from opis_cli.judging.changes import drawn_changes, intervals
from opis_cli.report.curves_table import curves_table
from opis_cli.settings import Settings
from opis_cli.statistics.jackknife import spread

ROWS, CLASSES = 600, 30


@pytest.fixture(scope="module")
def rows():
    """Vectors, labels, and columns of them."""
    vectors, labels = data.blobs(ROWS, CLASSES, 12, seed=6, spread=0.8)
    rng = np.random.default_rng(6)
    columns = {
        "customer": np.array(["alpha", "beta", "gamma"], object)[rng.integers(0, 3, ROWS)],
        "tenant": rng.integers(0, 2, ROWS),
        "session": rng.integers(0, 60, ROWS),
    }
    return vectors, labels, columns


def evaluated(rows, parts=(), **settings):
    vectors, labels, columns = rows
    asked = {
        "group": {"group_column": "customer"},
        "within": {"within_column": "tenant"},
        "exclude": {"exclude_same": "session"},
    }
    chosen = {name: value for part in parts for name, value in asked.get(part, {}).items()}
    if "gallery" not in parts:
        return opis.evaluate(vectors, labels, columns=columns, **chosen, **settings)
    first, rest = np.arange(ROWS) < 250, np.arange(ROWS) >= 250
    return opis.evaluate(
        vectors[first],
        labels[first],
        columns={name: values[first] for name, values in columns.items()},
        gallery=(vectors[rest], labels[rest], {n: values[rest] for n, values in columns.items()}),
        **chosen,
        **settings,
    )


@pytest.fixture(scope="module")
def table(rows):
    """Scored pairs of these rows, with a group of each side."""
    vectors, labels, columns = rows
    one, two = np.random.default_rng(1).integers(0, ROWS, (2, 30_000))
    one, two = one[one != two], two[one != two]
    return pd.DataFrame(
        {
            "score": 1 - oracle.distances(vectors)[one, two],
            "genuine": labels[one] == labels[two],
            "left": columns["customer"][one],
            "right": columns["customer"][two],
        }
    )


@pytest.fixture
def scored(table, tmp_path):
    table.to_parquet(tmp_path / "pairs.parquet")
    return tmp_path / "pairs.parquet"


@pytest.mark.parametrize("parts", [(), ("within",), ("exclude",), ("within", "exclude")])
def test_the_jackknife_leaves_out_a_class_with_the_pairs_that_there_are(rows, parts):
    run = evaluated(rows, parts)
    vectors, labels, columns = rows
    kept = np.triu(np.ones((ROWS, ROWS), bool), 1)
    if "within" in parts:
        kept &= columns["tenant"][:, None] == columns["tenant"]
    if "exclude" in parts:
        kept &= columns["session"][:, None] != columns["session"]
    i, j = np.nonzero(kept)
    distance, genuine = oracle.distances(vectors)[i, j], labels[i] == labels[j]
    column = np.array([run.counts.grid.window // 2])
    at = run.counts.grid.class_thresholds[column[0]]
    for rate, kind, wrong in (
        ("far", ~genuine, distance <= at + 5e-7),
        ("frr", genuine, distance > at + 5e-7),
    ):
        without = np.array(
            [wrong[kind & (labels[i] != k) & (labels[j] != k)].mean() for k in range(CLASSES)]
        )
        deviations = without - without.mean()
        error = np.sqrt((CLASSES - 1) / CLASSES * np.sum(deviations**2))
        found = spread(run.counts, rate, column)
        assert found.rate[0] == pytest.approx(wrong[kind].mean(), abs=1e-5)
        assert found.error[0] == pytest.approx(error, rel=1e-3)
    assert run.report.intervals.far is not None and run.report.intervals.opis is not None


@pytest.mark.parametrize("parts", [("group",), ("gallery",), ("group", "gallery"), ("pairs",)])
def test_where_classes_are_no_units_there_are_no_intervals(rows, parts, scored):
    run = opis.evaluate(scored, pairs=True) if "pairs" in parts else evaluated(rows, parts)
    assert not run.counts.classes_are_units
    report = run.report
    assert report.intervals is report.opis_corrected is report.held_out is None
    assert spread(run.counts, "far", np.array([5])) is None
    assert intervals(run, None, confidence=0.95, seed=0) == {}
    assert drawn_changes(run, run, seed=0) == {}
    changed = changes.figure_changes(run, run, {}, confidence=0.95)
    assert all(change.interval is None for change in changed.values())
    assert changed["frr"].change == 0
    curves = curves_table(run)
    assert curves["far_low"].isna().all()
    assert curves["mean_utility"].isna().all() == ("pairs" in parts)
    run.plot()


@pytest.mark.parametrize("parts", [("within",), ("exclude",)])
def test_halves_want_all_pairs(rows, parts):
    assert evaluated(rows, parts).report.opis_corrected is None
    assert evaluated(rows).report.opis_corrected is not None


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"folds": 3, "group_column": "a"}, "folds .* not go with group_column"),
        ({"folds": 3, "within_column": "a"}, "not go with within_column"),
        ({"folds": 3, "exclude_same": "a"}, "not go with exclude_same"),
        ({"folds": 3, "gallery": "a"}, "not go with gallery"),
        ({"folds": 3, "pairs": True}, "not go with pairs"),
        ({"confidence": 0.9, "group_column": "a"}, "confidence .* not go with group_column"),
        ({"confidence": 0.9, "gallery": "a"}, "not go with gallery"),
        ({"confidence": 0.9, "pairs": True}, "not go with pairs"),
        ({"max_pairs": 5000, "pairs": True}, "not go with pairs"),
        ({"time_limit": "9s", "pairs": True}, "not go with pairs"),
        ({"time_limit": "9s", "checkpoint": "a"}, "not go with checkpoint"),
        ({"time_limit": "9s", "engine": "dask"}, "not of a cluster"),
        ({"time_limit": "9s", "ignore_label": "x:impostor"}, "not go with time_limit"),
        (
            {"max_pairs": 5000, "within_column": "a", "confidence": 0.9},
            "draws whole tenants .* so confidence has no units",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(settings, says):
    with pytest.raises(SettingsError, match=says):
        Settings(**settings)


def test_it_is_refused_of_arrays_and_of_runs_too(rows):
    with pytest.raises(SettingsError, match="not go with gallery"):
        evaluated(rows, ("gallery",), folds=3)
    with pytest.raises(SettingsError, match="not go with group_column"):
        evaluated(rows, ("group",)).recommend(confidence=0.9)
    chosen = evaluated(rows, ("exclude",), confidence=0.9).report.recommendation
    assert chosen.far_upper is None or chosen.far < chosen.far_upper


@pytest.mark.parametrize("shards", [1, 3])
def test_columns_follow_the_rows_of_a_sample(rows, shards, tmp_path):
    vectors, labels, columns = rows
    frame = pd.DataFrame({"embedding": list(vectors), "label": labels, **columns})
    for part in range(shards):
        some = frame[part * ROWS // shards : (part + 1) * ROWS // shards]
        some.to_parquet(tmp_path / f"part-{part}.parquet")
        np.save(tmp_path / f"part-{part}.npy", np.stack(some["embedding"].to_numpy()))
        some.drop(columns="embedding").to_parquet(tmp_path / f"labels-{part}.parquet")
    asked = {"max_pairs": 40_000, "group_column": "customer", "exclude_same": "session", "seed": 2}
    by_array = opis.evaluate(vectors, labels, columns=columns, **asked)
    kept = from_arrays(vectors, labels, Reading(max_pairs=40_000, seed=2)).rows
    assert 0 < len(kept) < ROWS
    plain = {name: value for name, value in asked.items() if name != "max_pairs"}
    some = {name: values[kept] for name, values in columns.items()}
    expected = opis.evaluate(vectors[kept], labels[kept], columns=some, **plain)
    by_parquet = opis.evaluate(str(tmp_path / "part-*.parquet"), **asked)
    beside = str(tmp_path / "labels-*.parquet")
    by_npy = opis.evaluate(str(tmp_path / "part-*.npy"), beside, **asked)
    for run in (by_array, by_parquet, by_npy):
        assert run.report.pairs.exhaustive is False and run.report.sample.rows == ROWS
        assert run.report.pairs.excluded == expected.report.pairs.excluded > 0
        assert np.array_equal(run.counts.genuine, expected.counts.genuine)
        assert np.array_equal(run.counts.impostor, expected.counts.impostor)


def test_pairs_inside_a_group_show_a_rate_once():
    """As groups, labels have their genuine pairs counted from both ends, and as many take part."""
    vectors, labels = data.MADE["long_tail"]
    own = opis.evaluate(vectors, labels)
    grouped = opis.evaluate(vectors, labels, columns={"id": labels}, group_column="id")
    assert np.array_equal(grouped.counts.genuine_pairs, 2 * own.counts.genuine_pairs)
    assert grouped.report.differentials.frr == own.report.differentials.frr
    assert 0 < own.report.differentials.frr.classes < own.report.source.evaluable_classes


def test_fpir_of_a_deployed_threshold_by_brute_force():
    vectors, labels = data.blobs(500, 25, 8, seed=3)
    first = np.arange(500) < 200
    known = ~first & (labels < 20)
    strangers = first & (labels >= 20)
    nearest = oracle.distances(vectors)[np.ix_(strangers, known)].min(axis=1)
    at = float(np.median(nearest)) + 1e-4
    gallery = vectors[known], labels[known]
    report = opis.evaluate(vectors[first], labels[first], gallery=gallery, threshold=at).report
    assert report.open_set.queries == strangers.sum() > 10
    assert report.deployed.fpir == np.mean(nearest <= at)
    assert opis.evaluate(vectors, labels, threshold=at).report.deployed.fpir is None


def test_the_gate_on_scored_pairs(cli, scored, tmp_path):
    run = tmp_path / "run"
    assert cli("evaluate", scored, "--pairs", "--out", run, "--quiet").returncode == 0
    limits = ["--max-opis", "1", "--max-class-far", "1", "--min-recall-at-1", "0"]
    limits += ["--min-classes-meeting-bounds", "0", "--max-far", "0.02"]
    done = cli("gate", run, *limits, "--json", "--html", tmp_path / "page.html")
    assert done.returncode == 1 and not done.stderr
    found = json.loads(done.stdout)
    checks = {check["name"]: check for check in found["checks"]}
    for name in ("max-opis", "max-class-far", "min-classes-meeting-bounds"):
        assert checks[name]["value"] is None and not checks[name]["passed"]
        assert "scored pairs without groups have no classes" in checks[name]["remark"]
    assert "no rows" in checks["min-recall-at-1"]["remark"]
    assert checks["max-far"]["passed"]
    score = json.loads((run / "threshold.json").read_text())["threshold"]
    assert 0 < score == -found["judged"]["threshold"]
    assert f"{score:.6g}" in cli("gate", run, "--max-far", "0.02").stdout
    assert f"{score:.6g}" in (tmp_path / "page.html").read_text()


def test_the_gate_between_two_thresholds_of_scores(cli, scored, tmp_path, table):
    """A score is stricter the higher it is, so the next looser one lies below."""
    run, at = tmp_path / "run", 0.512345678
    opis.evaluate(scored, pairs=True).save(run)
    done = cli("gate", run, "--threshold", at, "--max-far", "1", "--max-frr", "1", "--json")
    found = json.loads(done.stdout)
    judged = found["judged"]
    assert -judged["far_at"] < at < -judged["frr_at"]
    assert f"--threshold {at}`" in found["notes"][0] and "at the next below" in found["notes"][0]
    far = np.mean(table["score"][~table["genuine"]] >= at)
    assert found["figures"]["far"] >= far == pytest.approx(found["figures"]["far"], abs=0.01)


def test_the_gate_by_group_goes_by_the_differences(cli, rows, tmp_path):
    evaluated(rows, ("group",)).save(tmp_path / "run")
    evaluated(rows).save(tmp_path / "classes")
    limit = ["--max-opis-increase", "1%", "--confidence", "0.95"]
    done = cli("gate", tmp_path / "run", "--baseline", tmp_path / "run", *limit, "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 0 and found["baseline"]["replicates"] == 0
    assert any("none such by group" in note for note in found["notes"])
    assert found["checks"][0]["interval"] is None
    done = cli("gate", tmp_path / "run", "--baseline", tmp_path / "classes", *limit)
    assert done.returncode == 2 and "group-column is customer" in done.stderr
    done = cli("gate", tmp_path / "run", "--max-class-frr", "1", "--html", tmp_path / "page.html")
    assert done.returncode == 0 and "group " in done.stdout
    assert "Groups, worst first</h2>" in (tmp_path / "page.html").read_text()


def test_models_of_scored_pairs_compare(scored, tmp_path):
    from opis_cli.render import comparison_plots

    run = opis.evaluate(scored, pairs=True)
    found = models.compare([run, run], ["one", "two"])
    assert found.models[0].recall_at_1 is None and not found.models[0].on_front
    assert found.models[0].threshold == run.report.recommendation.equivalents.score
    comparison_plots.draw([run, run], found)
    with pytest.raises(SettingsError, match="no model here has both"):
        comparison_plots.draw([run, run], found, "pareto")


def test_a_shift_of_a_score_threshold_is_a_share_of_its_size(cli, scored, tmp_path):
    opis.evaluate(scored, pairs=True, max_far=0.01).save(tmp_path / "run")
    limit = ["--max-threshold-shift", "5%"]
    done = cli("gate", tmp_path / "run", "--baseline", tmp_path / "run", *limit, "--json")
    check = json.loads(done.stdout)["checks"][0]
    assert done.returncode == 0 and check["limit"] == pytest.approx(0.05 * check["baseline"])


def test_margins_of_scored_pairs_are_refused_and_with_a_gallery_right(rows, scored):
    with pytest.raises(SettingsError, match="these are scored pairs"):
        opis.evaluate(scored, pairs=True).margins()
    vectors, labels, _ = rows
    found = evaluated(rows, ("gallery",)).margins(max_far=0.05, max_frr=0.1)
    similarity = 1 - oracle.distances(vectors)[:250, 250:]
    genuine = labels[:250, None] == labels[250:]
    hard = similarity[genuine & (similarity <= found.margin_plus)]
    assert found.loss_plus == pytest.approx(
        np.mean(found.margin_plus - hard), abs=2 * found.loss_plus_resolution
    )
    assert found.hard_genuine_share == pytest.approx(len(hard) / genuine.sum(), abs=1e-3)


def test_counts_without_the_pairs_of_halves_are_of_halves_against_all_rows(saved, tmp_path):
    """So an older opis wrote them."""
    shutil.copytree(saved, tmp_path / "older")
    file = tmp_path / "older" / "counts.npz"
    kept = store.read(file)
    del kept["halves_impostor_pairs"]
    np.savez(file, **kept)
    counts = load_counts(file)
    others = counts.rows - counts.sizes[counts.halves.classes]
    assert np.array_equal(counts.halves.impostor_pairs, counts.halves.sizes * others)
    np.savez(file, **(kept | {"halves_classes": kept["halves_classes"] + 10_000}))
    with pytest.raises(OpisError, match="damaged counts"):
        load_counts(file)


def test_reading_text_shows_progress_from_the_start(table, tmp_path):
    table.to_csv(tmp_path / "pairs.csv", index=False)
    from opis_cli.pipeline import evaluate_file

    told = []
    evaluate_file(
        tmp_path / "pairs.csv",
        Settings(pairs=True),
        progress=lambda done, total: told.append((done, total)),
    )
    assert all(done <= total for done, total in told)
    assert 0.45 < told[0][0] / told[0][1] < 0.55 and told[-1] == (2 * len(table),) * 2


@optional("torch").marks[0]
@optional("torch").marks[1]
@pytest.mark.parametrize(
    "settings", [{"group_column": "customer"}, {"pairs": True}, {"within_column": "tenant"}]
)
def test_the_metric_for_training_pairs_rows_by_label(settings):
    from opis_cli.torch import OpisMetric

    with pytest.raises(SettingsError, match="pairs all rows of a batch by label"):
        OpisMetric(**settings)


@pytest.mark.parametrize("engine", [optional("dask")])
def test_workers_of_a_cluster_follow_folds_and_samples(engine, rows, cluster, tmp_path):
    vectors, labels, columns = rows
    frame = pd.DataFrame({"embedding": list(vectors), "label": labels, **columns})
    frame.to_parquet(tmp_path / "rows.parquet")
    for asked in (
        {"folds": 3, "max_pairs": 100_000},
        {"max_pairs": 100_000, "group_column": "customer", "exclude_same": "session"},
    ):
        own = opis.evaluate(tmp_path / "rows.parquet", engine="numba", **asked)
        theirs = opis.evaluate(
            tmp_path / "rows.parquet",
            engine=engine,
            scheduler=cluster.scheduler_address,
            **asked,
        )
        for name in ("genuine", "impostor", "pooled_impostor", "inside", "nearest_hits"):
            assert np.array_equal(getattr(own.counts, name), getattr(theirs.counts, name)), name
    assert read(tmp_path / "rows.parquet").labels.size == ROWS
