"""Inner products: every engine counts as brute force does, also where rows have two forms."""

import dataclasses
import json

import data
import numpy as np
import pytest
from conftest import optional

import opis_cli as opis
from opis_cli.counting.count import count_pairs
from opis_cli.counting.sizes import SIZES, Sizes
from opis_cli.embeddings.clean import Reading, from_arrays
from opis_cli.errors import SettingsError
from opis_cli.settings import Settings

KERNELS = ["numpy", "numba", optional("torch")]
SIZES_OF = {
    "dense": SIZES,
    "coarse": Sizes(small_pairs=0),
    "sampled": Sizes(small_pairs=0, exhaustive_pairs=0),
}


def whole_rows(rows=400, classes=16, dim=12):
    """Rows of small whole numbers and of unlike lengths, whose products no precision rounds."""
    vectors, labels = data.blobs(rows, classes, dim, seed=3)
    return np.round(2 * vectors), labels


def accepted(scores, labels, least, paired=True):
    """Accepted pairs at a least score: genuine and impostor, by class and pooled."""
    count, classes = len(labels), np.unique(labels)
    alike = labels[:, None] == labels[None, :]
    there = (scores >= least) & np.triu(np.ones((count, count), bool), 1) & paired
    ends = (there & ~alike).sum(axis=0) + (there & ~alike).sum(axis=1)
    within = (there & alike).sum(axis=0)
    by_class = [[of[labels == name].sum() for name in classes] for of in (within, ends)]
    return (there & alike).sum(), (there & ~alike).sum(), *by_class


def assert_counted(counts, scores, labels, paired=True, slack=0.0):
    """Counts lie between those of brute force a rounding above and below each threshold."""
    grid = counts.grid
    at = {int(index): column for column, index in enumerate(grid.by_class)}
    for index in np.unique(np.linspace(0, len(grid.thresholds) - 1, 60).astype(int)).tolist():
        least = -grid.thresholds[index]
        few = accepted(scores, labels, least + slack, paired)
        many = accepted(scores, labels, least - slack, paired)
        assert few[0] <= counts.pooled_genuine[index] <= many[0]
        assert few[1] <= counts.pooled_impostor[index] <= many[1]
        if index in at:
            for found, low, high in zip(
                (counts.genuine, counts.impostor), few[2:], many[2:], strict=True
            ):
                assert np.all(low <= found[:, at[index]]) and np.all(found[:, at[index]] <= high)


@pytest.mark.parametrize("sizes", SIZES_OF.values(), ids=SIZES_OF)
@pytest.mark.parametrize("engine", KERNELS)
def test_counts_equal_brute_force(engine, sizes):
    vectors, labels = whole_rows()
    settings = Settings(metric="dot", engine=engine)
    counts = count_pairs(
        from_arrays(vectors, labels, Reading.of(settings)), settings, deployed=-20.0, sizes=sizes
    )
    assert_counted(counts, vectors @ vectors.T, labels)
    assert -20.0 in counts.grid.thresholds and counts.grid.thresholds[0] < 0
    assert counts.pooled_genuine[0] == 0


def normalised(vectors, labels):
    """The two forms of rows whose product is their score by mean and spread, and that score."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = unit @ unit.T
    others = np.where(labels[:, None] == labels, np.nan, cosine)
    mean, spread = np.nanmean(others, axis=1), np.nanstd(others, axis=1)
    one = np.ones(len(labels))
    query = np.column_stack([unit / spread[:, None], unit, -mean / spread, one]) / 2
    gallery = np.column_stack([unit, unit / spread[:, None], one, -mean / spread])
    z = (cosine - mean[:, None]) / spread[:, None]
    return query, gallery, (z + z.T) / 2


@pytest.mark.parametrize("sizes", SIZES_OF.values(), ids=SIZES_OF)
@pytest.mark.parametrize("engine", KERNELS)
def test_rows_of_two_forms_have_the_product_of_one_with_the_other(engine, sizes):
    vectors, labels = data.blobs(500, 12, 10, seed=5, skew=0.5)
    query, gallery, score = normalised(vectors.astype(np.float64), labels)
    settings = Settings(metric="dot", engine=engine)
    rows = from_arrays(query, labels, Reading.of(settings))
    rows = dataclasses.replace(rows, partners=gallery.astype(np.float32))
    counts = count_pairs(rows, settings, sizes=sizes)
    np.testing.assert_allclose(query @ gallery.T, score)
    assert_counted(counts, score, labels, slack=1e-4)
    assert 2 * counts.rounding < 1e-4
    np.fill_diagonal(score, -np.inf)
    lonely = np.bincount(labels)[labels] == 1
    hits = (labels[score.argmax(axis=1)] == labels) & ~lonely
    assert counts.nearest_hits.sum() == hits.sum()


def test_halves_take_both_forms():
    vectors, labels = data.blobs(500, 12, 10, seed=5)
    query, gallery, _ = normalised(vectors.astype(np.float64), labels)
    settings = Settings(metric="dot", engine="numpy")
    rows = dataclasses.replace(
        from_arrays(query, labels, Reading.of(settings)), partners=gallery.astype(np.float32)
    )
    one, two = (
        count_pairs(rows, dataclasses.replace(settings, engine=engine))
        for engine in ("numpy", "numba")
    )
    assert np.array_equal(one.halves.genuine, two.halves.genuine)
    # No class half accepts more genuine pairs than the whole class.
    columns = np.searchsorted(one.grid.class_thresholds, one.halves.thresholds)
    whole = one.genuine[one.halves.classes][:, columns]
    assert np.all(one.halves.genuine.sum(axis=0) <= whole) and one.halves.genuine.any()


@pytest.mark.parametrize(
    "given", [{"within_column": "tenant"}, {"exclude_same": "tenant"}, {"group_column": "tenant"}]
)
def test_pairs_that_settings_choose(given):
    vectors, labels = whole_rows(300)
    tenant = np.arange(300) % 3
    run = opis.evaluate(vectors, labels, columns={"tenant": tenant}, metric="dot", **given)
    same = tenant[:, None] == tenant
    paired = {"within_column": same, "exclude_same": ~same}.get(next(iter(given)), True)
    at = run.report.recommendation
    genuine, impostor, *_ = accepted(vectors @ vectors.T, labels, -at.threshold, paired)
    assert at.accepted_impostors == impostor and impostor > 0
    assert run.report.pairs.genuine - at.rejected_genuine == genuine


def test_queries_in_a_gallery():
    vectors, labels = whole_rows(300)
    run = opis.evaluate(
        vectors[:120], labels[:120], gallery=(vectors[120:], labels[120:]), metric="dot"
    )
    scores = vectors[:120] @ vectors[120:].T
    alike = labels[:120, None] == labels[120:]
    at = run.report.recommendation
    assert at.accepted_impostors == ((scores >= -at.threshold) & ~alike).sum()
    assert at.rejected_genuine == ((scores < -at.threshold) & alike).sum()


def test_the_threshold_is_an_inner_product_everywhere(cli, tmp_path):
    vectors, labels = whole_rows()
    np.savez(tmp_path / "x.npz", embeddings=vectors, labels=labels)
    done = cli("evaluate", "x.npz", "--metric", "dot", "--out", "run", "--html", "page.html")
    assert done.returncode == 0, done.stderr
    rule = json.loads((tmp_path / "run/threshold.json").read_text())
    at = rule["threshold"]
    assert rule["metric"] == "dot" and rule["accept"] == "score >= threshold" and at > 0
    assert f"inner product >= {at:g}" in done.stdout
    assert f"inner product &gt;= {at:g}" in (tmp_path / "page.html").read_text()
    again = cli("evaluate", "x.npz", "--metric", "dot", "--threshold", at, "--json")
    deployed = json.loads(again.stdout)["deployed"]
    impostors = accepted(vectors @ vectors.T, labels, at)[1]
    assert round(deployed["far"] * json.loads(again.stdout)["pairs"]["impostor"]) == impostors
    judged = cli("gate", "run", "--max-far", "0.0001")
    assert judged.returncode == 1 and f"inner product {at:g}" in judged.stdout
    assert opis.load_run(tmp_path / "run").rates(at).far == pytest.approx(rule["far"])


def test_what_inner_products_do_not_have(tmp_path):
    vectors, labels = whole_rows()
    vectors[1] = vectors[0]
    run = opis.evaluate(vectors, labels, metric="dot")
    assert run.report.opis_by.euclidean_unit is None and run.report.opis_by.log_far is not None
    assert not run.report.source.warnings
    with pytest.raises(SettingsError, match="evidence needs distances"):
        run.explain()
    with pytest.raises(SettingsError, match="these are inner products"):
        run.margins()
    with pytest.raises(SettingsError, match="inner products are no distances"):
        opis.evaluate(vectors, labels, metric="dot", calibration="distance:0.1..0.3")
