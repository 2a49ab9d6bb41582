"""A remedy as a folder: it scores as before it was written, and damage is refused."""

import json

import data
import numpy as np
import pytest

import opis_cli as opis
from opis_cli.errors import InputError, OpisError, RunError
from opis_cli.remedies.fitted import fit
from opis_cli.remedies.folds import training_of
from opis_cli.remedies.recipes import parse
from opis_cli.settings import Settings

NAMES = ["centre", "abtt:2", "whiten:0.5", "wccn:0.3", "snorm", "asnorm:20", "csls:5", "fsn:4"]
NAMES += ["group", "centre+abtt:1+asnorm:20"]


@pytest.fixture(scope="module")
def rows():
    """Rows about a common direction, with a group for each."""
    vectors, labels = data.blobs(400, 50, 12, seed=5)
    groups = np.array(["north", "south", "b|ad`"])[labels % 3]
    away = np.zeros(12, np.float32)
    away[:2] = 5
    return vectors + away, labels, groups


@pytest.fixture(scope="module")
def found(rows):
    """All remedies, tried on the rows."""
    vectors, labels, groups = rows
    return opis.remedy(
        vectors,
        labels,
        remedies=NAMES,
        folds=3,
        max_far=0.05,
        columns={"side": groups},
        group_column="side",
    )


@pytest.fixture(scope="module")
def folders(found, tmp_path_factory):
    """Each remedy in a folder of its own, by name."""
    folder = tmp_path_factory.mktemp("remedies")
    for place, name in enumerate(NAMES):
        found.save(folder / str(place), choose=name)
    return {name: folder / str(place) for place, name in enumerate(NAMES)}


@pytest.mark.parametrize("name", NAMES)
def test_a_remedy_scores_as_before_it_was_written(name, found, folders, rows):
    vectors, labels, groups = rows
    settings = Settings(max_far=0.05, group_column="side")
    fitted = fit(parse(name), training_of(found.embeddings, settings))
    remedy = opis.load_remedy(folders[name])
    own = labels.astype(str)
    query, gallery = fitted.forms(vectors, own, groups)
    both = remedy.score(
        vectors[:100],
        vectors[100:200],
        classes=(own[:100], own[100:200]),
        groups=(groups[:100], groups[100:200]),
    )
    assert remedy.name == name
    np.testing.assert_allclose(
        both, (query[:100] * gallery[100:200]).sum(axis=1), rtol=1e-4, atol=1e-5
    )
    # The two forms are two of one score: which row is the query does not matter.
    np.testing.assert_allclose(query @ gallery.T, (query @ gallery.T).T, atol=1e-9)


def test_a_single_vector_is_scored_with_every_row(folders, rows):
    remedy = opis.load_remedy(folders["asnorm:20"])
    vectors = rows[0]
    one = remedy.score(vectors[0], vectors[:5])
    np.testing.assert_allclose(one, remedy.score(vectors[[0] * 5], vectors[:5]), rtol=1e-5)
    with pytest.raises(RunError, match="2 and 3 rows make no pairs"):
        remedy.score(vectors[:2], vectors[:3])


def test_the_folder_says_what_was_fitted_and_tried(folders, found):
    facts = json.loads((folders["asnorm:20"] / "remedy.json").read_text())
    assert facts["parameters"] == [{"step": "asnorm", "number": 20}]
    assert facts["fitted_on"]["classes"] == 50 and facts["dim"] == 12
    tried = next(one for one in found.trial.tried if one.name == "asnorm:20")
    assert facts["trial"]["verdict"] == tried.verdict
    assert facts["trial"]["figures"]["frr_at_max_far"] == tried.figures["frr_at_max_far"]
    by_fold = facts["trial"]["by_fold"]
    assert [one["classes"] for one in by_fold] == [17, 17, 16]
    threshold = json.loads((folders["asnorm:20"] / "threshold.json").read_text())
    assert threshold["metric"] == "dot" and threshold["far"] <= 0.05
    # The threshold is of the held-out scores, and so is the FRR that the trial told.
    assert threshold["frr"] == tried.figures["frr_at_max_far"]


def test_the_guide_tells_costs_and_thresholds_by_group(folders):
    text = (folders["group"] / "README.md").read_text()
    assert "| bytes to store a row (float32) | 48 | 64 |" in text
    assert "| b&#124;ad&#96; | " in text and "| any other | " in text
    text = (folders["asnorm:20"] / "README.md").read_text()
    assert "| multiplications to compare two rows | 12 | 26 |" in text
    assert "`query` of `opis apply`" in text


def test_what_helps_is_chosen_and_else_nothing_is_written(found, tmp_path):
    best = min(
        (one for one in found.trial.tried if one.verdict == "helps"),
        key=lambda one: one.figures["frr_at_max_far"],
    )
    assert found.chosen == best.name
    table = found.table()
    assert table.index[0] == "base" and table.verdict[best.name] == "helps"
    vectors, labels = data.clouds(20, 8, noise=0.5, seed=2)
    none = opis.remedy(vectors, labels, remedies="centre", folds=3)
    assert none.chosen is None
    with pytest.raises(RunError, match=r"no remedy is shown to help .* choose"):
        none.save(tmp_path / "remedy")
    assert not (tmp_path / "remedy").exists()


def test_an_existing_folder_is_replaced_on_request_and_only_if_it_is_a_remedy(found, tmp_path):
    folder = tmp_path / "remedy"
    found.save(folder, choose="centre")
    with pytest.raises(RunError, match="a remedy is there already; give force=True"):
        found.save(folder, choose="centre")
    found.save(folder, choose="snorm", force=True)
    assert opis.load_remedy(folder).name == "snorm"
    (folder / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match="is not a remedy"):
        found.save(folder, choose="centre", force=True)
    with pytest.raises(OpisError, match="it was not tried"):
        found.save(tmp_path / "other", choose="csls:7")


def _break_json(folder):
    (folder / "remedy.json").write_text("{")


def _other_arrays(folder):
    np.savez(folder / "remedy.npz", mean_0=np.zeros(12))


def _cut_arrays(folder):
    file = folder / "remedy.npz"
    file.write_bytes(file.read_bytes()[:100])


def _no_arrays(folder):
    (folder / "remedy.npz").unlink()


def _other_name(folder):
    facts = json.loads((folder / "remedy.json").read_text())
    (folder / "remedy.json").write_text(json.dumps(facts | {"name": "csls:5"}))


def _no_name(folder):
    facts = json.loads((folder / "remedy.json").read_text())
    del facts["name"]
    (folder / "remedy.json").write_text(json.dumps(facts))


@pytest.mark.parametrize(
    "damage", [_break_json, _other_arrays, _cut_arrays, _no_arrays, _other_name, _no_name]
)
def test_a_damaged_remedy_is_refused(damage, found, tmp_path):
    found.save(tmp_path / "remedy", choose="centre")
    damage(tmp_path / "remedy")
    with pytest.raises(RunError, match="damaged"):
        opis.load_remedy(tmp_path / "remedy")


def test_pickled_arrays_are_never_loaded(found, tmp_path):
    from opis_cli.files import sha256_of

    folder = tmp_path / "remedy"
    found.save(folder, choose="centre")
    np.savez(folder / "remedy.npz", mean_0=np.array([{}] * 12, object))
    facts = json.loads((folder / "remedy.json").read_text())
    facts["npz_sha256"] = sha256_of(folder / "remedy.npz")
    (folder / "remedy.json").write_text(json.dumps(facts))
    with pytest.raises(RunError, match="damaged"):
        opis.load_remedy(folder)


def test_a_newer_remedy_and_no_remedy_are_told_apart(found, tmp_path):
    with pytest.raises(RunError, match="no remedy is there"):
        opis.load_remedy(tmp_path / "nothing")
    found.save(tmp_path / "remedy", choose="centre")
    file = tmp_path / "remedy" / "remedy.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"format": 2}))
    with pytest.raises(RunError, match="a newer opis"):
        opis.load_remedy(tmp_path / "remedy")


def test_an_evaluation_with_a_remedy_counts_its_scores(folders, rows):
    vectors, labels, groups = rows
    run = opis.evaluate(
        vectors,
        labels,
        remedy=folders["asnorm:20"],
        max_far=0.05,
        columns={"side": groups},
    )
    remedy = opis.load_remedy(folders["asnorm:20"])
    query, gallery = remedy.forms(vectors, classes=labels)
    scores = query @ gallery.T
    upper = np.triu(np.ones(scores.shape, bool), 1)
    alike = labels[:, None] == labels
    least = run.report.recommendation.equivalents.score
    far = (scores[upper & ~alike] >= least).mean()
    frr = (scores[upper & alike] < least).mean()
    assert run.report.recommendation.far == pytest.approx(far, abs=2e-4)
    assert run.report.recommendation.frr == pytest.approx(frr, abs=2e-3)
    assert run.report.source.remedy == "asnorm:20"


def test_a_remedy_refuses_rows_that_it_does_not_fit(folders, rows):
    vectors, labels, _ = rows
    with pytest.raises(InputError, match=r"vectors of 10 dimensions, and the remedy .* takes 12"):
        opis.evaluate(vectors[:, :10], labels, remedy=folders["centre"])
    with pytest.raises(OpisError, match="metric='euclidean': the remedy centre is made for"):
        opis.evaluate(vectors, labels, remedy=folders["centre"], metric="euclidean")
    with pytest.raises(InputError, match="these rows have no groups"):
        opis.evaluate(vectors, labels, remedy=folders["group"])


def test_a_run_with_a_remedy_is_explained_by_its_own_scores(folders, rows, tmp_path):
    vectors, labels, _ = rows
    np.savez(tmp_path / "rows.npz", embeddings=vectors, labels=labels)
    run = opis.evaluate(tmp_path / "rows.npz", remedy=folders["centre"], max_far=0.05)
    pairs = run.explain().pairs
    centred = vectors.astype(float) - vectors.astype(float).mean(axis=0)
    units = data.unit(centred)
    first = pairs.iloc[0]
    expected = 1 - units[first.row_a] @ units[first.row_b]
    assert first.distance == pytest.approx(expected, abs=1e-6)
    base = opis.evaluate(tmp_path / "rows.npz", max_far=0.05)
    changes = opis.compare([base, run]).changes().set_index("figure")
    assert np.isfinite(changes.change["opis_log_far"])


def test_scores_of_other_metrics_compare_by_rates_and_not_by_opis(folders, rows):
    vectors, labels, _ = rows
    base = opis.evaluate(vectors, labels, max_far=0.05)
    run = opis.evaluate(vectors, labels, max_far=0.05, remedy=folders["csls:5"])
    changes = opis.compare([base, run]).changes().set_index("figure")
    assert np.isnan(changes.change["opis"]) and np.isnan(changes.change["threshold"])
    assert np.isfinite(changes.change["opis_log_far"])
    assert np.isfinite(changes.change["frr_at_max_far"])
    verdict = run.gate(baseline=base, max_opis_increase="5%", max_frr_increase=1.0)
    assert not verdict.passed
    assert "other metrics" in verdict.checks[0].remark
