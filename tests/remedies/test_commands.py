"""``opis remedy`` and ``opis apply`` as a person types them: what they print, write and refuse."""

import json

import data
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest


def write(path, vectors, labels=None, **columns):
    flat = pa.array(np.asarray(vectors, np.float32).ravel())
    table = {"embedding": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])}
    if labels is not None:
        table["label"] = labels
    pq.write_table(pa.table(table | columns), path)


@pytest.fixture(scope="module")
def vectors_and_labels():
    """Rows far from the origin, so that centring helps."""
    vectors, labels = data.blobs(600, 60, 12, seed=5, spread=0.5)
    vectors[:, :2] += 5
    return vectors, np.array([f"c{label}" for label in labels], object)


@pytest.fixture
def rows(vectors_and_labels, tmp_path):
    vectors, labels = vectors_and_labels
    numbers = np.arange(600)
    write(tmp_path / "rows.parquet", vectors, labels, id=numbers, side=labels)
    return tmp_path / "rows.parquet"


def test_two_commands_give_a_better_threshold(cli, rows, tmp_path):
    done = cli("remedy", rows, "--try", "centre,csls:5", "--folds", "2", "--out", "mended")
    assert done.returncode == 0, done.stderr
    assert "helps: at FAR 1 %, FRR" in done.stdout
    assert "NEXT   opis evaluate" in done.stdout
    facts = json.loads((tmp_path / "mended" / "remedy.json").read_text())
    done = cli("evaluate", rows, "--remedy", "mended", "--json")
    report = json.loads(done.stdout)
    base = json.loads(cli("evaluate", rows, "--json").stdout)
    assert report["source"]["remedy"] == facts["name"]
    assert report["source"]["warnings"][0]["kind"] == "fitted_on_these_rows"
    assert report["recommendation"]["frr"] < base["recommendation"]["frr"]
    done = cli("apply", "mended", rows, "-o", "changed.parquet")
    assert done.returncode == 0 and "600 rows" in done.stdout


def test_json_has_the_base_first_and_what_was_chosen(cli, rows):
    done = cli("remedy", rows, "--try", "snorm,centre", "--folds", "2", "--json")
    found = json.loads(done.stdout)
    names = [one["name"] for one in found["remedies"]]
    assert names[0] == "base" and sorted(names[1:]) == ["centre", "snorm"]
    for one in found["remedies"]:
        assert one["verdict"] in ("helps", "harms", "not shown")
        assert set(one["figures"]) == set(one["changes"]) == set(one["intervals"])
    best = min(found["remedies"][1:], key=lambda one: one["figures"]["frr_at_max_far"])
    assert found["chosen"] == best["name"]


def test_augmented_vectors_score_in_any_index(cli, rows, tmp_path, vectors_and_labels):
    cli("remedy", rows, "--try", "asnorm:30", "--choose", "asnorm:30", "--folds", "2", "--out", "m")
    cli("apply", "m", rows, "-o", "changed.parquet")
    table = pq.read_table(tmp_path / "changed.parquet")
    assert table.column_names[-3:] == ["label", "id", "side"]
    assert table["id"].to_pylist() == list(range(600))
    query, gallery = (np.stack(table[name].to_numpy()) for name in ("query", "gallery"))
    vectors, labels = vectors_and_labels
    units = data.unit(vectors.astype(float))
    similar = units @ units.T
    mean, deviation = np.empty(600), np.empty(600)
    for row in range(600):
        closest = np.sort(similar[row, labels != labels[row]])[-30:]
        mean[row], deviation[row] = closest.mean(), closest.std()
    z = (similar - mean) / deviation
    t = (similar - mean[:, None]) / deviation[:, None]
    np.testing.assert_allclose(query @ gallery.T, (z + t) / 2, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(table["cohort_mean"].to_numpy(), mean, atol=1e-6)


def test_vectors_without_labels_are_changed_too(cli, rows, tmp_path, vectors_and_labels):
    vectors, _ = vectors_and_labels
    cli("remedy", rows, "--try", "centre", "--choose", "centre", "--folds", "2", "--out", "m")
    write(tmp_path / "plain.parquet", vectors[:7], note=list("abcdefg"))
    done = cli("apply", "m", "plain.parquet", "-o", "out.parquet")
    assert done.returncode == 0, done.stderr
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.column_names == ["embedding", "note"]
    np.save(tmp_path / "plain.npy", vectors[:7])
    cli("apply", "m", "plain.npy", "-o", "out2.parquet")
    both = [
        np.stack(t["embedding"].to_numpy())
        for t in (table, pq.read_table(tmp_path / "out2.parquet"))
    ]
    centred = vectors.astype(float) - vectors.astype(float).mean(axis=0)
    for found in both:
        np.testing.assert_allclose(found, data.unit(centred)[:7], atol=1e-6)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--try", "nonsense"], "'nonsense' is no remedy"),
        (["--folds", "1"], "it must be at least 2"),
        (["--folds", "31"], "60 classes with two rows or more are too few"),
        (["--try", "asnorm:500"], "asnorm:500 needs a cohort of 500 rows of other classes"),
        (["--try", "fsn:400"], "fsn:400 needs two rows for each cluster"),
        (["--try", "abtt:12"], "none is left"),
        (["--try", "group"], "name their column with --group-column"),
        (["--choose", "centre"], "--choose centre needs --out DIR"),
        (["--group-column", "id", "--try", "group"], "group needs 2 to 64 groups"),
        (["--out", "."], "exists and is not a remedy"),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_word(words, told, cli, rows, tmp_path):
    done = cli("remedy", rows, *words)
    assert done.returncode == 2 and told in done.stderr, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.parquet"]


def test_one_row_a_class_and_no_remedy_are_refused(cli, tmp_path):
    vectors, _ = data.blobs(40, 40, 6)
    write(tmp_path / "alone.parquet", vectors, [f"c{i}" for i in range(40)])
    done = cli("remedy", "alone.parquet", "--try", "wccn")
    assert done.returncode == 2 and "40 classes of a single row" in done.stderr
    done = cli("apply", "nothing", "alone.parquet", "-o", "out.parquet")
    assert done.returncode == 2 and "no remedy is there" in done.stderr


def test_apply_refuses_other_dimensions_and_names_that_are_taken(cli, rows, tmp_path):
    cli("remedy", rows, "--try", "csls:5", "--choose", "csls:5", "--folds", "2", "--out", "m")
    write(tmp_path / "narrow.parquet", np.ones((3, 5)))
    done = cli("apply", "m", "narrow.parquet", "-o", "out.parquet")
    assert done.returncode == 2 and "takes vectors of 12 dimensions" in done.stderr
    write(tmp_path / "taken.parquet", np.ones((3, 12)), query=[1, 2, 3])
    done = cli("apply", "m", "taken.parquet", "-o", "out.parquet")
    assert (
        done.returncode == 2 and "'query' has the name of one that the remedy adds" in done.stderr
    )
    done = cli("apply", "m", "taken.parquet", "-o", "out.csv")
    assert done.returncode == 2 and "name it so" in done.stderr
    assert not (tmp_path / "out.parquet").exists()


def test_settings_that_remedies_do_not_go_with_are_refused(cli, rows, tmp_path):
    (tmp_path / "opis.toml").write_text('metric = "euclidean"\n')
    done = cli("remedy", rows)
    assert done.returncode == 2 and "give --metric cosine" in done.stderr
    (tmp_path / "opis.toml").write_text("pairs = true\n")
    done = cli("remedy", rows)
    assert done.returncode == 2 and "scored pairs have none" in done.stderr
