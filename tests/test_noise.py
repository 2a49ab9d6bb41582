"""OPIS less noise: nothing where classes are alike, the truth where they differ; its halves."""

import data
import numpy as np
import oracle
import pytest

import opis_cli as opis
from opis_cli import pairs
from opis_cli.embeddings import from_arrays
from opis_cli.keys import arrange
from opis_cli.settings import Settings


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def clouds(classes, rows, *, spread=0.0, noise=1.5, dim=64, seed=0):
    """Rows about centres of one length, each at one distance, or at distances by class.

    With unequal lengths cosine distances would make real differences between the classes.
    """
    rng = np.random.default_rng(seed)
    centres = unit(rng.standard_normal((classes, dim)))
    lengths = noise * np.exp(spread * rng.standard_normal(classes))
    labels = np.repeat(np.arange(classes), rows)
    away = unit(np.random.default_rng(seed + 1).standard_normal((classes * rows, dim)))
    return (centres[labels] + lengths[labels, None] * away).astype(np.float32), labels


@pytest.mark.parametrize("rows", [4, 7, 12, 24])
def test_classes_that_are_alike_have_none_but_plain_opis_has(rows):
    report = opis.evaluate(*clouds(300, rows, seed=rows)).report
    found = report.opis_corrected
    low, high = found.interval
    assert low < 0 < high
    assert abs(found.value) < 0.6 * report.opis
    assert report.opis > 4e-4 and found.plain == pytest.approx(report.opis, rel=1e-2)
    assert found.noise_share == pytest.approx(1 - found.value / found.plain)
    assert found.classes == 300 and found.sizes == (rows, rows)


def test_a_known_spread_is_recovered():
    """The truth is OPIS of the same classes with many rows each."""
    truth = opis.evaluate(*clouds(300, 80, spread=0.2)).report.opis
    for rows in (8, 16):
        report = opis.evaluate(*clouds(300, rows, spread=0.2)).report
        low, high = report.opis_corrected.interval
        assert low < truth < high
        assert abs(report.opis_corrected.value - truth) < abs(report.opis - truth)
        assert low > 0


def test_halves_equal_brute_force():
    vectors, labels = data.MADE["long_tail"]
    embeddings, settings = from_arrays(vectors, labels), Settings(engine="numba", seed=3)
    counts = pairs.count_pairs(embeddings, settings)
    arranged, halves = arrange(embeddings, settings), counts.halves
    distance = oracle.distances(vectors)
    np.fill_diagonal(distance, np.inf)
    assert np.array_equal(halves.classes, np.flatnonzero(counts.sizes >= 4))
    for s in range(0, len(halves.classes), 5):
        own = embeddings.labels == halves.classes[s]
        second = arranged.keys == len(counts.sizes) + s
        assert not np.any(second & ~own)
        for half, rows in enumerate((own & ~second, second)):
            assert halves.sizes[half, s] == rows.sum() >= 2
            for p in (0, 40, -1):
                accepted = distance[rows] <= halves.thresholds[p] + 5e-7
                assert halves.genuine[half, s, p] == accepted[:, rows].sum() // 2
                assert halves.impostor[half, s, p] == accepted[:, ~own].sum()


def test_halves_are_as_large_as_they_can_be_and_random():
    embeddings = from_arrays(*data.blobs(500, 30, seed=4))
    one, other = (arrange(embeddings, Settings(seed=seed)) for seed in (0, 1))
    sizes = np.bincount(one.keys, minlength=30 + len(one.split))
    whole = np.bincount(embeddings.labels)[one.split]
    assert np.array_equal(sizes[30:], whole // 2)
    assert not np.array_equal(one.keys, other.keys)
    folded = arrange(embeddings, Settings(seed=0, folds=3))
    assert np.array_equal(folded.keys >= 30, one.keys >= 30)


def test_many_classes_are_split_by_chance(monkeypatch):
    from opis_cli import keys

    monkeypatch.setattr(keys, "MOST_SPLIT", 20)
    vectors, labels = data.blobs(600, 60, seed=5)
    found = opis.evaluate(vectors, labels).report.opis_corrected
    assert found.classes == 20
    arranged = arrange(from_arrays(vectors, labels), Settings())
    assert len(set(arranged.split.tolist())) == 20 and arranged.split.max() > 20


@pytest.mark.parametrize("rows", [[3] * 40, [4] + [3] * 40])
def test_classes_of_three_rows_cannot_be_split(rows):
    labels = np.repeat(np.arange(len(rows)), rows)
    vectors, _ = data.blobs(len(labels), 3, seed=6)
    assert opis.evaluate(vectors, labels).report.opis_corrected is None
