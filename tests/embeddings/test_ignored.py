"""Rows of an ignored label are left out, or take part as impostors alone."""

import data
import numpy as np
import pandas as pd
import pytest

import opis_cli as opis
from opis_cli.errors import SettingsError

VECTORS, LABELS = data.blobs(300, 10)
NOISE = np.arange(300) % 10 == 4


def marked(mark):
    labels = LABELS.astype(object if isinstance(mark, str) else np.int64)
    if isinstance(mark, str):
        labels = np.array([f"c{label}" for label in labels], object)
    labels[NOISE] = mark
    return labels


@pytest.mark.parametrize("mark", [-1, "noise", "no class: at all", "-1"])
def test_its_rows_are_left_out(mark):
    labels = marked(mark)
    run = opis.evaluate(VECTORS, labels, ignore_label=str(mark))
    without = opis.evaluate(VECTORS[~NOISE], labels[~NOISE])
    assert run.report.opis == without.report.opis
    assert run.report.pairs == without.report.pairs
    assert run.report.source.rows == 270
    assert (run.report.source.ignored_rows, run.report.source.dropped_rows) == (30, 0)
    assert without.report.source.ignored_rows is None


@pytest.mark.parametrize("mark", [-1, "noise"])
def test_its_rows_are_kept_as_impostors_of_the_others(mark):
    labels = marked(mark)
    run = opis.evaluate(VECTORS, labels, ignore_label=f"{mark}:impostor")
    alone = labels.astype(str).astype(object)
    alone[NOISE] = [f"own {k}" for k in range(30)]
    same = opis.evaluate(VECTORS, alone)
    assert run.report.pairs == same.report.pairs and run.report.opis == same.report.opis
    assert run.report.source.singleton_classes == 30
    assert run.report.source.ignored_rows == 30
    assert f"{mark} (row 4)" in run.counts.class_names.tolist()


def test_bad_rows_of_the_label_are_no_fault_if_left_out():
    vectors = VECTORS.copy()
    vectors[4] = np.nan
    run = opis.evaluate(vectors, marked("noise"), ignore_label="noise")
    assert (run.report.source.rows, run.report.source.ignored_rows) == (270, 30)
    with pytest.raises(opis.OpisError, match="1 bad row"):
        opis.evaluate(vectors, marked("noise"), ignore_label="noise:impostor")


def test_a_sample_of_classes_never_draws_it():
    run = opis.evaluate(VECTORS, marked("noise"), ignore_label="noise", max_pairs=5_000)
    assert "noise" not in run.counts.class_names.tolist()
    assert len(run.counts.class_names) < 10 and run.report.sample.classes == 10


def test_it_is_left_out_of_a_gallery_too():
    labels = marked("noise")
    run = opis.evaluate(
        VECTORS[:100], labels[:100], gallery=(VECTORS[100:], labels[100:]), ignore_label="noise"
    )
    assert (run.report.source.rows, run.report.source.gallery_rows) == (90, 180)
    assert run.report.source.ignored_rows == 30


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"ignore_label": "x:impostor", "max_pairs": 5_000}, "max_pairs"),
        ({"ignore_label": "x:impostor", "gallery": (VECTORS, LABELS)}, "gallery"),
    ],
)
def test_it_is_refused_where_its_rows_cannot_be_kept(settings, named):
    with pytest.raises(SettingsError, match=f"does not go with {named}"):
        opis.evaluate(VECTORS, LABELS, **settings)


def test_the_summary_names_it_even_if_no_row_has_it(cli, tmp_path):
    table = pd.DataFrame({"embedding": list(VECTORS), "label": marked(-1)})
    table.to_parquet(tmp_path / "x.parquet")
    said = cli("evaluate", "x.parquet", "--ignore-label", "-1").stdout
    assert "30 rows of label -1 left out" in said and "CHECK  The label" not in said
    said = cli("evaluate", "x.parquet", "--ignore-label", "-2").stdout
    assert "\n0 rows of label -2 left out" in said and "CHECK  The label -1 is a class" in said
    said = cli("evaluate", "x.parquet", "--ignore-label", "-1:impostor").stdout
    assert "30 rows of label -1 kept as impostors" in said
    refused = cli("evaluate", "x.parquet", "--pairs", "--ignore-label", "-1")
    assert refused.returncode == 2 and "--ignore-label is for embeddings" in refused.stderr
