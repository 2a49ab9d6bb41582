"""Data that hardly mean what they say are told of, and others are not."""

import json

import data
import numpy as np
import pandas as pd
import pytest

import opis_cli as opis


def kinds(run):
    return [warning.kind for warning in run.report.source.warnings]


@pytest.mark.parametrize("name", ["blobs", "long_tail", "two_classes"])
def test_usual_data_are_not_doubted(name):
    found = kinds(opis.evaluate(*data.MADE[name]))
    usual = {"long_tail": ["one_class_dominates"], "two_classes": ["opis_is_noise"]}
    assert found == usual.get(name, [])


@pytest.mark.parametrize("mark", [-1, "-1", "NaN", "None", "unknown", "Noise"])
def test_a_label_that_marks_noise_is_named(mark):
    vectors, labels = data.blobs(300, 10)
    labels = labels if mark == -1 else labels.astype(str).astype(object)
    labels[200:230] = mark
    (warning,) = opis.evaluate(vectors, labels).report.source.warnings
    assert warning.kind == "noise_label" and warning.classes == (mark,)
    assert "30 rows" in warning.text and f"--ignore-label {mark} leaves them out" in warning.text


def test_one_row_of_such_a_label_is_no_class():
    vectors, labels = data.blobs(300, 10)
    labels[0] = -1
    assert kinds(opis.evaluate(vectors, labels)) == []


def test_a_class_with_most_genuine_pairs_is_named():
    vectors, labels = data.blobs(300, 10)
    labels[:150] = 3
    (warning,) = opis.evaluate(vectors, labels).report.source.warnings
    assert (warning.kind, warning.classes) == ("one_class_dominates", (3,))


def test_truths_of_pairs_are_no_classes():
    vectors, _ = data.blobs(1_200, 2)
    truths = np.arange(1_200) % 3 == 0
    assert "boolean_labels" in kinds(opis.evaluate(vectors, truths))
    assert "boolean_labels" not in kinds(opis.evaluate(vectors[:900], truths[:900]))


def test_equal_rows_with_unlike_labels_are_a_conflict_and_no_copies(cli, tmp_path):
    vectors, labels = data.blobs(300, 10)
    first = int(np.flatnonzero(labels != labels[0])[0])
    vectors[first] = vectors[0]
    run = opis.evaluate(vectors, labels)
    (warning,) = run.report.source.warnings
    assert (warning.kind, warning.rows) == ("label_conflict", (0, first))
    assert warning.classes == (labels[0], labels[first])
    named = f"rows 0 (class {labels[0]}) and {first} (class {labels[first]}) are equal. One of"
    assert named in warning.text
    assert (run.report.duplicates.pairs, run.report.duplicates.conflicts) == (1, 1)
    table = pd.DataFrame({"embedding": list(vectors), "label": labels})
    table.to_parquet(tmp_path / "x.parquet")
    done = cli("evaluate", "x.parquet")
    assert "Equal rows have different labels" in done.stdout
    assert "Copies flatter" not in done.stdout


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "hamming"])
@pytest.mark.parametrize("restricted", [None, "exclude_same", "within_column"])
def test_conflicts_are_those_of_brute_force(metric, restricted):
    rng = np.random.default_rng(4)
    vectors, labels = data.signs(240, 8, 32)
    vectors[rng.integers(0, 240, 60)] = vectors[rng.integers(0, 240, 60)]
    part = rng.integers(0, 3, 240)
    asked = {} if restricted is None else {restricted: "part"}
    run = opis.evaluate(
        vectors > 0 if metric == "hamming" else vectors,
        labels,
        metric=metric,
        columns={"part": part},
        calibration="far:0.05..0.5",
        **asked,
    )
    equal = np.all(vectors[:, None] == vectors[None, :], axis=2)
    equal &= labels[:, None] != labels[None, :]
    alike = part[:, None] == part[None, :]
    equal &= {None: True, "exclude_same": ~alike, "within_column": alike}[restricted]
    expected = np.argwhere(np.triu(equal))
    assert len(expected) > 10 and np.array_equal(run.counts.conflicts, expected[:10])
    (warning,) = [one for one in run.report.source.warnings if one.kind == "label_conflict"]
    assert warning.rows == tuple(expected[:5].ravel())
    assert warning.classes == tuple(labels[expected[:5].ravel()])
    assert f"(pairs at distance 0: {len(expected)}): rows " in warning.text
    assert warning.text.count("are equal") == 5
    assert f"are equal, and so are {len(expected) - 5} more pairs. One" in warning.text


def test_rows_that_were_dropped_do_not_shift_the_rows_of_a_conflict():
    vectors, labels = data.blobs(300, 10)
    last = int(np.flatnonzero(labels != labels[20])[-1])
    vectors[last], vectors[3] = vectors[20], np.nan
    run = opis.evaluate(vectors, labels.astype(str), on_bad_rows="drop")
    (warning,) = run.report.source.warnings
    assert (warning.rows, warning.classes) == ((20, last), (str(labels[20]), str(labels[last])))


def test_a_query_in_the_gallery_under_another_label_is_a_conflict():
    vectors, labels = data.blobs(300, 10)
    gallery = vectors[100:].copy()
    row = int(np.flatnonzero(labels[100:] != labels[7])[0])
    gallery[row] = vectors[7]
    run = opis.evaluate(vectors[:100], labels[:100], gallery=(gallery, labels[100:]))
    (warning,) = [one for one in run.report.source.warnings if one.kind == "label_conflict"]
    assert warning.rows == (7, row)
    other = labels[100:][row]
    text = f"query 7 (class {labels[7]}) and gallery row {row} (class {other}) are equal"
    assert text in warning.text


def packed(rows=600, classes=20, dim=256):
    signs, labels = data.signs(rows, classes, dim)
    return np.packbits(signs > 0, axis=1), labels


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_packed_bits_that_are_taken_for_numbers_are_told(metric, cli, tmp_path):
    vectors, labels = packed()
    np.savez(tmp_path / "x.npz", embeddings=vectors, labels=labels)
    done = cli("evaluate", "x.npz", "--metric", metric, "--calibration", "far:0.05..0.5")
    assert "give --metric hamming" in " ".join(done.stdout.split())
    table = pd.DataFrame({"embedding": list(vectors), "label": labels})
    table.to_parquet(tmp_path / "x.parquet")
    found = opis.evaluate(tmp_path / "x.parquet", metric=metric, calibration="far:0.05..0.5")
    assert "packed_bits" in kinds(found)
    assert "packed_bits" not in kinds(opis.evaluate(vectors, labels, metric="hamming"))
    # Numbers of other types are no packed bits.
    floats = opis.evaluate(
        vectors.astype(np.float32), labels, metric=metric, calibration="far:0.05..0.5"
    )
    assert "packed_bits" not in kinds(floats)


def test_warnings_of_queries_and_gallery_are_told_once():
    vectors, labels = packed()
    run = opis.evaluate(
        *(vectors[:300], labels[:300]),
        gallery=(vectors[300:], labels[300:]),
        calibration="far:0.05..0.5",
    )
    assert kinds(run).count("packed_bits") == 1


def test_scores_that_run_the_other_way_are_told():
    vectors, labels = data.blobs(300, 10)
    # Rows of a class point away from one another, those of others do not.
    away = np.where(np.arange(300) % 2, 1, -1)[:, None]
    centres = np.random.default_rng(0).standard_normal((10, 16))
    vectors = centres[labels] * away + 0.01 * vectors
    assert kinds(opis.evaluate(vectors, labels, calibration="frr:0.3..0.6")) == ["wrong_direction"]


def test_warnings_survive_a_run_folder(tmp_path):
    vectors, labels = data.blobs(300, 10)
    labels[200:230] = -1
    run = opis.evaluate(vectors, labels)
    run.save(tmp_path / "run")
    assert opis.load_run(tmp_path / "run").report.source == run.report.source
    raw = json.loads((tmp_path / "run" / "report.json").read_text())
    assert raw["source"]["warnings"][0]["kind"] == "noise_label"


def test_queries_that_are_in_the_gallery_are_named(cli, tmp_path):
    vectors, labels = data.blobs(300, 10)
    queries, gallery = vectors[:100], vectors[100:].copy()
    usual = opis.evaluate(queries, labels[:100], gallery=(gallery, labels[100:]))
    assert kinds(usual) == []
    row = int(np.flatnonzero(labels[100:] == labels[7])[0])
    gallery[row] = queries[7]
    for name, part, truth in (("q", queries, labels[:100]), ("g", gallery, labels[100:])):
        table = pd.DataFrame({"embedding": list(part), "label": truth})
        table.to_parquet(tmp_path / f"{name}.parquet")
    run = opis.evaluate(tmp_path / "q.parquet", gallery=tmp_path / "g.parquet")
    (warning,) = run.report.source.warnings
    assert (warning.kind, warning.rows) == ("overlap_with_gallery", (7,))
    shown = " ".join(cli("evaluate", "q.parquet", "--gallery", "g.parquet").stdout.split())
    assert "Queries that equal a gallery row: 1 (numbers 7)." in shown
    assert "equal rows" not in shown


def test_opis_of_like_classes_is_told_to_be_noise():
    # Each class has an axis of its own, so all of them are alike but for chance.
    labels = np.arange(360) % 60
    told = []
    for seed in range(8):
        noise = np.random.default_rng(seed).standard_normal((360, 60))
        run = opis.evaluate(np.eye(60)[labels] + 0.2 * noise, labels)
        share = run.report.opis_corrected.noise_share
        told.append(share > 1)
        assert ("opis_is_noise" in kinds(run)) == (share > 1)
    assert 0 < sum(told) < len(told)
