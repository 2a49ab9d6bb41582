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
from opis_cli.embeddings.sampling import Units, draw
from opis_cli.errors import InputError, SettingsError
from opis_cli.records import SampledFrom


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
        rows = draw(Units.of_classes(labels), max_pairs, seed)
        drawn = np.unique(labels[rows])
        assert np.array_equal(rows, np.flatnonzero(np.isin(labels, drawn)))
        assert len(drawn) >= 2 and pairs_of(len(rows)) <= max_pairs


def test_every_class_is_drawn_as_often_and_the_budget_is_used():
    labels = np.repeat(np.arange(30), np.arange(1, 31))
    seen, used = np.zeros(30), []
    for seed in range(600):
        rows = draw(Units.of_classes(labels), 20_000, seed)
        seen[np.unique(labels[rows])] += 1
        used.append(pairs_of(len(rows)) / 20_000)
    share = seen / 600
    # Large and small ones alike, but for what the budget forbids.
    assert np.abs(share - share.mean()).max() < 0.1
    assert abs(share[20:].mean() - share[:10].mean()) < 0.05
    assert 0.4 < np.mean(used) <= 1.0


def test_rows_without_a_label_are_not_drawn():
    labels = np.repeat(np.arange(-1, 20), 10)
    assert np.all(labels[draw(Units.of_classes(labels), 2_000, 0)] >= 0)


def test_all_rows_where_all_fit():
    labels = np.repeat(np.arange(5), 10)
    assert draw(Units.of_classes(labels), pairs_of(50), 0) is None
    report = opis.evaluate(*data.MADE["blobs"], max_pairs=10_000_000).report
    assert report.pairs.exhaustive and report.sample is None


@pytest.mark.parametrize("labels", [[0] * 100 + [1] * 5, [0] * 40 + [1] * 40])
def test_a_budget_below_two_classes_is_refused(labels):
    with pytest.raises(InputError, match="max_pairs"):
        draw(Units.of_classes(np.array(labels)), 1_500, 0)


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
    rows = draw(Units.of_classes(everything.labels), 20_000, 4)
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
    assert found.sampled_from == expected.sampled_from == SampledFrom(1_000, 40, 20_000)


def test_bad_rows_are_named_by_their_number_in_the_source():
    vectors, labels = data.blobs(600, 30, seed=2)
    rows = draw(Units.of_classes(labels), 20_000, 0)
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


def test_a_smaller_sample_is_a_part_of_a_larger_one():
    """So a limit on time can take rows away once they are read."""
    labels = data.blobs(900, 60, skew=0.5)[1]
    units = Units.of_classes(labels)
    before = np.arange(len(labels))
    for max_pairs in (300_000, 290_000, 100_000, 30_000, 4_000):
        rows = draw(units, max_pairs, 3)
        assert set(rows) < set(before)
        before = rows


@pytest.fixture(scope="module")
def tenants():
    """Rows of 120 tenants, in some of which all classes lie close together."""
    rng = np.random.default_rng(5)
    sizes = rng.integers(6, 24, 120)
    tenant = np.repeat(np.arange(120), sizes)
    labels = tenant * 10 + rng.integers(0, 4, len(tenant))
    close = rng.uniform(0.2, 1.5, 120)[tenant]
    centres = rng.standard_normal((1_210, 8))[labels] + 2 * rng.standard_normal((120, 8))[tenant]
    vectors = centres + close[:, None] * rng.standard_normal((len(tenant), 8))
    return vectors, labels, {"tenant": tenant}


def test_whole_tenants_are_drawn_with_all_their_pairs(tenants):
    vectors, labels, columns = tenants
    asked = {"within_column": "tenant", "max_pairs": 6_000, "seed": 1}
    run = opis.evaluate(vectors, labels, columns=columns, **asked)
    rows = draw(Units.of_tenants(columns["tenant"]), 6_000, 1)
    kept = {"tenant": columns["tenant"][rows]}
    alone = opis.evaluate(vectors[rows], labels[rows], columns=kept, within_column="tenant")
    assert np.array_equal(run.counts.genuine, alone.counts.genuine)
    assert np.array_equal(run.counts.impostor, alone.counts.impostor)
    assert set(rows) == set(np.flatnonzero(np.isin(columns["tenant"], kept["tenant"])))
    sample = run.report.sample
    assert (sample.tenants, sample.rows, sample.max_pairs) == (120, len(labels), 6_000)
    # Figures vary with the tenants, and no interval knows them.
    assert alone.report.intervals is not None and run.report.intervals is None
    assert not run.counts.classes_are_units


def test_runs_of_drawn_tenants_keep_it_that_there_are_no_intervals(tenants, tmp_path):
    vectors, labels, columns = tenants
    asked = {"within_column": "tenant", "max_pairs": 6_000}
    opis.evaluate(vectors, labels, columns=columns, **asked).save(tmp_path / "run")
    run = opis.load_run(tmp_path / "run")
    assert run.counts.tenants_drawn and not run.counts.classes_are_units
    with pytest.raises(SettingsError, match="draws whole tenants"):
        run.recommend(confidence=0.9)
    opis.evaluate(vectors, labels, max_pairs=6_000).save(tmp_path / "classes")
    assert not opis.load_run(tmp_path / "classes").counts.tenants_drawn


def test_figures_of_drawn_tenants_are_those_of_all_on_average(tenants):
    vectors, labels, columns = tenants
    asked = {"within_column": "tenant", "threshold": 0.1, "calibration": "distance:0.05..0.4"}
    whole = figures(opis.evaluate(vectors, labels, columns=columns, **asked))
    found = [
        figures(
            opis.evaluate(vectors, labels, columns=columns, max_pairs=6_000, seed=seed, **asked)
        )
        for seed in range(40)
    ]
    assert_unbiased(whole, np.array(found))


def figures(run):
    """FAR, FRR, recall@1 and mean class utility at the deployed threshold."""
    report = run.report
    utility = run.classes(threshold=0.1)["utility"].mean()
    found = [report.deployed.far, report.deployed.frr, report.recall_at_1, utility]
    return [*found, *([report.deployed.fpir] if report.open_set is not None else [])]


def assert_unbiased(whole, found):
    """The mean over seeds is within four of its standard errors, and these are small."""
    error = found.std(axis=0, ddof=1) / len(found) ** 0.5
    assert np.all(error < 0.08 * np.array(whole))
    assert np.all(np.abs(found.mean(axis=0) - whole) < 4 * error)


@pytest.mark.parametrize("settings", [{"max_pairs": 1_000}, {"max_pairs": 1_600}])
def test_too_few_tenants_are_refused(tenants, settings):
    vectors, labels, columns = tenants
    with pytest.raises(InputError, match=r"each a tenant\) there is room for .* at least 20") as no:
        opis.evaluate(vectors, labels, columns=columns, within_column="tenant", **settings)
    # What the message asks for suffices.
    enough = int(str(no.value).split("give ")[1].split(" ")[0].replace(",", ""))
    run = opis.evaluate(vectors, labels, columns=columns, within_column="tenant", max_pairs=enough)
    assert run.report.sample.tenants == 120


@pytest.fixture(scope="module")
def searched():
    """Queries, a third of which have no row in the gallery, and the gallery."""
    rng = np.random.default_rng(7)
    classes = rng.permutation(300)
    centres = rng.standard_normal((300, 8))
    labels = classes[np.minimum(rng.exponential(90, 1_500), 299).astype(int)]
    spread = rng.uniform(0.1, 0.9, 300)[labels]
    queries = centres[labels] + spread[:, None] * rng.standard_normal((1_500, 8))
    there = np.repeat(rng.choice(300, 200, replace=False), 2)
    gallery = centres[there] + 0.3 * rng.standard_normal((400, 8))
    return (queries, labels), (gallery, there)


def test_classes_of_queries_are_drawn_and_the_gallery_stays_whole(searched):
    (queries, labels), gallery = searched
    run = opis.evaluate(queries, labels, gallery=gallery, max_pairs=100_000, seed=2)
    rows = draw(Units.of_queries(labels, np.full(len(labels), 400)), 100_000, 2)
    alone = opis.evaluate(queries[rows], labels[rows], gallery=gallery)
    assert np.array_equal(run.counts.genuine, alone.counts.genuine)
    assert np.array_equal(run.counts.impostor, alone.counts.impostor)
    assert run.report.source.gallery_rows == 400
    assert 50_000 < run.report.pairs.genuine + run.report.pairs.impostor <= 100_000
    assert set(rows) == set(np.flatnonzero(np.isin(labels, labels[rows])))
    assert run.report.sample.rows == 1_500 and run.report.sample.tenants is None
    assert run.report.intervals is None and run.report.recall_at_1 == alone.report.recall_at_1


def test_figures_of_drawn_queries_are_those_of_all_on_average(searched):
    (queries, labels), gallery = searched
    asked = {"gallery": gallery, "threshold": 0.1, "calibration": "distance:0.05..0.4"}
    whole = figures(opis.evaluate(queries, labels, **asked))
    found = [
        figures(opis.evaluate(queries, labels, max_pairs=200_000, seed=seed, **asked))
        for seed in range(40)
    ]
    assert_unbiased(whole, np.array(found))


def test_queries_of_tenants_count_the_gallery_rows_of_their_tenant(searched, tmp_path):
    """Tenant 9 has no row in the gallery, so its queries make no pairs."""
    (queries, labels), (vectors, there) = searched
    of_query, of_row = labels % 10, np.minimum(there % 10, 8)
    asked = {"within_column": "tenant", "max_pairs": 20_000, "seed": 1}
    gallery = (vectors, there, {"tenant": of_row})
    run = opis.evaluate(queries, labels, columns={"tenant": of_query}, gallery=gallery, **asked)
    partners = np.bincount(of_row, minlength=10)[of_query]
    rows = draw(Units.of_queries(labels, partners), 20_000, 1)
    assert run.report.source.rows == len(rows)
    pairs = run.report.pairs.genuine + run.report.pairs.impostor
    assert pairs == partners[rows].sum() and 12_000 < pairs <= 20_000
    by_file = []
    for name, (matrix, classes, column) in {
        "queries": (queries, labels, of_query),
        "gallery": (vectors, there, of_row),
    }.items():
        table = {"embedding": list(matrix), "label": classes, "tenant": column}
        pq.write_table(pa.table(table), tmp_path / f"{name}.parquet")
        by_file.append(tmp_path / f"{name}.parquet")
    again = opis.evaluate(by_file[0], gallery=by_file[1], **asked)
    assert np.array_equal(again.counts.impostor, run.counts.impostor)
