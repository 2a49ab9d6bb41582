"""``--max-pairs``: whole classes at random, only their rows read, and a report that says so."""

import json
from dataclasses import replace

import data
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import optional

import opis_cli as opis
from opis_cli.embeddings import tables
from opis_cli.embeddings.clean import Reading
from opis_cli.embeddings.read import read
from opis_cli.embeddings.sampling import draw
from opis_cli.errors import InputError, SettingsError


def pairs_of(rows):
    return rows * (rows - 1) // 2


@pytest.fixture
def file(tmp_path):
    """Rows of 40 classes in the order of the classes, in row groups of 25."""
    vectors, labels = data.blobs(1_000, 40, 6, seed=1)
    order = np.argsort(labels, kind="stable")
    names = [f"class {label:02}" for label in labels[order]]
    table = pa.table({"embedding": list(vectors[order]), "label": names})
    pq.write_table(table, tmp_path / "all.parquet", row_group_size=25)
    return tmp_path / "all.parquet"


@pytest.mark.parametrize("max_pairs", [4_000, 20_000, 300_000])
def test_whole_classes_within_the_budget(max_pairs):
    labels = data.blobs(900, 60, skew=0.5)[1]
    for seed in range(10):
        rows = draw(labels, max_pairs, seed)
        drawn = np.unique(labels[rows])
        assert np.array_equal(rows, np.flatnonzero(np.isin(labels, drawn)))
        assert len(drawn) >= 2 and pairs_of(len(rows)) <= max_pairs


def test_every_class_is_drawn_as_often_and_the_budget_is_used():
    labels = np.repeat(np.arange(30), np.arange(1, 31))
    seen, used = np.zeros(30), []
    for seed in range(600):
        rows = draw(labels, 20_000, seed)
        seen[np.unique(labels[rows])] += 1
        used.append(pairs_of(len(rows)) / 20_000)
    share = seen / 600
    # Large and small ones alike, but for what the budget forbids.
    assert np.abs(share - share.mean()).max() < 0.1
    assert abs(share[20:].mean() - share[:10].mean()) < 0.05
    assert 0.5 < np.mean(used) <= 1.0


def test_rows_without_a_label_are_not_drawn():
    labels = np.repeat(np.arange(-1, 20), 10)
    assert np.all(labels[draw(labels, 2_000, 0)] >= 0)


def test_all_rows_where_all_fit():
    labels = np.repeat(np.arange(5), 10)
    assert draw(labels, pairs_of(50), 0) is None
    report = opis.evaluate(*data.MADE["blobs"], max_pairs=10_000_000).report
    assert report.pairs.exhaustive and report.sample is None


@pytest.mark.parametrize("labels", [[0] * 100 + [1] * 5, [0] * 40 + [1] * 40])
def test_a_budget_below_two_classes_is_refused(labels):
    with pytest.raises(InputError, match="max_pairs"):
        draw(np.array(labels), 1_500, 0)


def test_settings():
    with pytest.raises(SettingsError, match=r"max_pairs is 10; it must be at least 1,000"):
        opis.evaluate(*data.MADE["blobs"], max_pairs=10)


def test_the_report_is_that_of_the_drawn_classes_alone(file):
    report = opis.evaluate(file, max_pairs=20_000, seed=4).report
    assert not report.pairs.exhaustive
    assert report.pairs.genuine + report.pairs.impostor <= 20_000
    assert (report.sample.rows, report.sample.classes) == (1_000, 40)
    assert report.sample.max_pairs == 20_000
    assert report.intervals.standard_errors.far > 0
    everything = read(file)
    rows = draw(everything.labels, 20_000, 4)
    alone = opis.evaluate(everything.vectors[rows], everything.labels[rows], seed=4).report
    assert alone.opis == report.opis and alone.source.rows == report.source.rows == len(rows)
    assert alone.recommendation == report.recommendation
    arrays = opis.evaluate(everything.vectors, everything.labels, max_pairs=20_000, seed=4)
    assert arrays.report.opis == report.opis and not arrays.report.pairs.exhaustive
    assert opis.evaluate(file, max_pairs=20_000, seed=5).report.opis != report.opis


def test_only_row_groups_with_drawn_rows_are_read(file, monkeypatch):
    decoded = []
    real = tables.arrow.list_block
    monkeypatch.setattr(
        tables.arrow, "list_block", lambda array, where: decoded.append(1) or real(array, where)
    )
    sampled = read(file, Reading(max_pairs=2_000, seed=0))
    # Classes of about 25 rows, in order: each lies in two or three of forty row groups.
    assert len(decoded) <= 3 * len(sampled.class_names) < 20
    decoded.clear()
    read(file)
    assert len(decoded) == 40


@pytest.mark.parametrize(
    "kind", ["npy", "npz", "columns", "folder", "csv", "table", "arrow", "stream", "hive"]
)
def test_all_kinds_of_files_give_the_same_sample(kind, file, tmp_path):
    whole = read(file)
    asked = Reading(max_pairs=20_000, seed=2)
    expected = read(file, asked)
    names, options = whole.class_names[whole.labels].astype(str), {}
    if kind == "npz":
        np.savez(tmp_path / "a.npz", embeddings=whole.vectors, labels=names)
        path = tmp_path / "a.npz"
    elif kind in ("npy", "csv"):
        path, labels = tmp_path / "a.npy", tmp_path / f"l.{kind}"
        np.save(path, whole.vectors)
        if kind == "npy":
            np.save(labels, names)
        else:
            labels.write_text("\n".join(["kind", *names]) + "\n")
        options = {"labels": labels}
    elif kind == "columns":
        columns = {f"emb_{k}": whole.vectors[:, k] for k in range(6)}
        path = tmp_path / "wide.parquet"
        pq.write_table(pa.table({**columns, "label": names}), path, row_group_size=100)
        asked = replace(asked, embedding_column="emb_*")
    elif kind in ("arrow", "stream"):
        path = tmp_path / "a.arrow"
        table = pq.read_table(file)
        new = pa.ipc.new_file if kind == "arrow" else pa.ipc.new_stream
        with new(path, table.schema) as writer:
            writer.write_table(table, max_chunksize=70)
    elif kind == "table":
        path = tmp_path / "a.csv"
        table = pq.read_table(file)
        texts = [json.dumps(vector) for vector in table["embedding"].to_pylist()]
        table.set_column(0, "embedding", [texts]).to_pandas().to_csv(path, index=False)
    else:
        path = tmp_path / "parts"
        table = pq.read_table(file)
        for k in range(4):
            folder = path / f"part={k}" if kind == "hive" else path
            folder.mkdir(parents=True, exist_ok=True)
            pq.write_table(table.slice(250 * k, 250), folder / f"{k}.parquet", row_group_size=60)
    found = read(path, asked, **options)
    assert np.array_equal(found.rows, expected.rows)
    assert np.array_equal(found.vectors, expected.vectors)
    assert found.class_names.tolist() == expected.class_names.tolist()
    assert found.sampled_from == expected.sampled_from == (1_000, 40)


def test_bad_rows_are_named_by_their_number_in_the_source():
    vectors, labels = data.blobs(600, 30, seed=2)
    rows = draw(labels, 20_000, 0)
    vectors[rows[-1]] = np.nan
    with pytest.raises(InputError, match=rf"row {rows[-1]}\b"):
        opis.evaluate(vectors, labels, max_pairs=20_000)
    report = opis.evaluate(vectors, labels, max_pairs=20_000, on_bad_rows="drop").report
    assert report.source.dropped_rows == 1


def test_other_lengths_are_refused_before_anything_is_drawn(tmp_path):
    vectors, labels = data.MADE["blobs"]
    np.savez(tmp_path / "a.npz", embeddings=vectors, labels=labels[:-1])
    with pytest.raises(InputError, match="599 labels for 600 vectors"):
        opis.evaluate(tmp_path / "a.npz", max_pairs=2_000)


@pytest.mark.parametrize("engine", [optional("dask")])
def test_workers_read_the_same_sample(engine, file, cluster):
    own = {"engine": engine, "scheduler": cluster.scheduler_address}
    one = opis.evaluate(file, max_pairs=50_000, folds=3)
    other = opis.evaluate(file, max_pairs=50_000, folds=3, **own)
    assert np.abs(one.counts.impostor.astype(int) - other.counts.impostor.astype(int)).max() <= 4
    assert np.abs(one.counts.inside - other.counts.inside).max() <= 4


def test_the_command_line_says_it_is_an_estimate(file, cli, tmp_path):
    done = cli("evaluate", file, "--max-pairs", "20000", "--out", tmp_path / "run")
    assert done.returncode == 0 and "pairs of a sample" in done.stdout
    assert "of 40 classes" in " ".join(done.stdout.split())
    report = json.loads((tmp_path / "run/report.json").read_text())
    assert report["pairs"]["exhaustive"] is False
    assert cli("recommend", tmp_path / "run", "--max-far", "0.05").returncode == 0
    assert cli("evaluate", file, "--max-pairs", "7").returncode == 2
