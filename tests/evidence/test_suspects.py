"""Suspect labels and outliers: by hand, by the formula, and on clusters with planted errors."""

import math
from dataclasses import replace

import numpy as np
import pytest
from evidence import naive
from scipy.optimize import minimize

from opis_cli.evidence.suspects import Neighbours, Suspects, find_suspects, label_score, outliers

METRICS = ("cosine", "euclidean")


def kept_of(vectors, labels, metric="euclidean", **more) -> Neighbours:
    return Neighbours(**naive.neighbours(vectors, labels, metric, **more))


def suspects_of(vectors, labels, metric="euclidean") -> Suspects:
    found = find_suspects(kept_of(vectors, labels, metric))
    assert np.isfinite(found.score).all()
    assert found.score.min() >= 0
    assert found.score.max() <= 1
    return found


def clusters(seed, sizes=(30,) * 10, dim=16, apart=4.0, spread=1.0):
    """Gaussian classes around random centres."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    centres = apart * rng.normal(size=(len(sizes), dim))
    return centres[labels] + spread * rng.normal(size=(len(labels), dim)), labels


def relabelled(labels, share, rng):
    """Give a share of the rows another label. Return the labels and which rows are wrong."""
    rows = rng.choice(len(labels), round(share * len(labels)), replace=False)
    wrong, number = labels.copy(), labels.max() + 1
    wrong[rows] = (labels[rows] + rng.integers(1, number, len(rows))) % number
    return wrong, np.isin(np.arange(len(labels)), rows)


def lengths(distances, metric):
    return np.sqrt(distances) if metric == "cosine" else distances


def formula(vectors, labels, metric):
    """The score by its definition, class by class, with weights from a general optimiser.

    For classes of two rows and more, and with all classes among the nearest rows.
    """
    classes = naive.class_numbers(labels)
    distance = naive.distances(vectors, metric)
    square = distance if metric == "cosine" else distance**2
    count, number = len(classes), classes.max() + 1
    near, mean, within = (np.zeros((count, number)) for _ in range(3))

    def sum_of_pairs(rows):
        return square[np.ix_(rows, rows)].sum() / 2, len(rows) * (len(rows) - 1) / 2

    of_class = [sum_of_pairs(np.flatnonzero(classes == c)) for c in range(number)]
    usual = np.median([total / pairs for total, pairs in of_class])
    for x in range(count):
        for c in range(number):
            rows = np.array([y for y in np.flatnonzero(classes == c) if y != x])
            near[x, c] = np.sort(lengths(distance[x, rows], metric))[:3].mean()
            mean[x, c] = square[x, rows].mean()
            total, pairs = sum_of_pairs(rows)
            within[x, c] = (total + 3 * usual) / (pairs + 3)
    centre = np.sqrt(np.maximum(mean - within / 2, 0))
    own = np.arange(count), classes
    gaps = np.array([of - of[own][:, None] for of in (near, centre)])
    gaps /= np.sqrt((gaps**2).sum(axis=(1, 2)) / (count * (number - 1)))[:, None, None]
    score = np.zeros(count)
    weights = np.zeros(2)
    for _ in range(10):

        def loss(weights, counts):
            logits = -np.tensordot(weights, gaps, axes=1)
            log_p = logits[own] - np.log(np.exp(logits).sum(axis=1))
            return weights @ weights / 2 - counts @ log_p

        weights = minimize(loss, weights, args=(1 - score,), tol=1e-10).x
        p = 1 / np.exp(-np.tensordot(weights, gaps, axes=1)).sum(axis=1)
        score = 0.02 * (1 - p) / (p + 0.02 * (1 - p))
    return score


@pytest.mark.parametrize("metric", METRICS)
def test_the_score_is_the_formula(metric):
    rng = np.random.default_rng(5)
    vectors, labels = clusters(5, sizes=(2, 3, 4, 6, 9), dim=3, apart=1.5)
    wrong, _ = relabelled(labels, 0.1, rng)
    assert np.bincount(wrong).min() >= 2
    kept = kept_of(vectors, wrong, metric, others=len(labels))
    found, expected = label_score(kept), formula(vectors, wrong, metric)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.ptp(expected) > 0.1


def test_a_tiny_case_by_hand():
    # Classes a: 0, 2 and b: 10, 12 on a line. All four rows are alike, so both gaps are the same.
    kept = kept_of([[0.0], [2.0], [10.0], [12.0]], ["a", "a", "b", "b"])
    np.testing.assert_array_equal(kept.nearest_own[:, 0], [2, 2, 2, 2])
    np.testing.assert_array_equal(
        kept.nearest_others[:, :2], [[10, 12], [8, 10], [8, 10], [10, 12]]
    )
    np.testing.assert_array_equal(kept.own_mean, [4, 4, 4, 4])
    np.testing.assert_array_equal(kept.other_means[:, 0], [122, 82, 82, 122])
    # near: 11 or 9, less 2. centre: squares 122 and 82 less half of 4, against 4 less half of 4.
    near = np.array([9.0, 7.0])
    centre = np.sqrt([120.0, 80.0]) - math.sqrt(2)
    gaps = np.array([near / np.sqrt((near**2).mean()), centre / np.sqrt((centre**2).mean())])

    def loss(weights):
        return weights @ weights / 2 + 2 * np.log1p(np.exp(-weights @ gaps)).sum()

    weights = minimize(loss, np.zeros(2), tol=1e-10).x
    odds = np.exp(-weights @ gaps)
    by_hand = 0.02 * odds / (1 + 0.02 * odds)
    # Each label counts a little less than one in the fit, so it is the same to that.
    np.testing.assert_allclose(label_score(kept), by_hand[[0, 1, 1, 0]], rtol=0.02)


def test_errors_that_were_planted_are_found():
    for seed in range(5):
        rng = np.random.default_rng(seed)
        vectors, labels = clusters(seed)
        wrong, bad = relabelled(labels, 0.1, rng)
        found = suspects_of(vectors, wrong)
        assert not (found.label & ~bad).any()
        assert found.label.sum() >= 0.8 * bad.sum()
        assert found.score[bad].min() > found.score[~bad].max()


def test_errors_are_found_where_the_votes_of_neighbours_are_not_enough():
    # Classes of two to four rows: hardly a right row has three of its five nearest rows.
    hits = flagged = planted = 0
    for seed in range(5):
        rng = np.random.default_rng(seed)
        vectors, labels = clusters(seed, sizes=(2, 3, 4) * 40, dim=32, apart=1.5)
        wrong, bad = relabelled(labels, 0.05, rng)
        found = suspects_of(vectors, wrong)
        hits += (found.label & bad).sum()
        flagged += found.label.sum()
        planted += bad.sum()
    assert hits >= 0.8 * planted
    assert hits >= 0.8 * flagged


@pytest.mark.parametrize("metric", METRICS)
def test_clean_clusters_have_no_suspects(metric):
    flagged = outliers = rows = 0
    for seed in range(20):
        vectors, labels = clusters(seed)
        found = suspects_of(vectors, labels, metric)
        flagged, outliers = flagged + found.label.sum(), outliers + found.outlier.sum()
        rows += len(labels)
    assert flagged == 0
    assert outliers <= rows / 2000


def test_labels_by_chance_do_not_make_most_rows_suspect():
    rng = np.random.default_rng(0)
    for classes in (2, 10):
        found = suspects_of(rng.normal(size=(300, 8)), rng.integers(classes, size=300))
        assert found.label.mean() < 0.15


def test_a_row_far_from_all_rows_is_an_outlier_and_no_wrong_label():
    vectors, labels = clusters(0)
    vectors[7] = 100
    found = suspects_of(vectors, labels)
    assert np.flatnonzero(found.outlier).tolist() == [7]
    assert not found.label[7]


def test_an_outlier_by_hand():
    def of(distances):
        nearest = np.array(distances, dtype=float)[:, None]
        count = len(nearest)
        none = np.full((count, 1), np.inf)
        kept = Neighbours(
            metric="euclidean",
            classes=np.zeros(count, dtype=np.int64),
            nearest_own=nearest,
            own_mean=nearest[:, 0] ** 2,
            nearest_others=none,
            other_classes=np.full((count, 1), -1),
            other_means=np.full((count, 1), np.nan),
        )
        return np.flatnonzero(outliers(kept)).tolist()

    # 21 distances: the median is 10, the 95th percentile without interpolation the 20th, 14.
    usual = [10.0] * 19 + [14.0]
    assert of([*usual, 22.0]) == []
    assert of([*usual, 22.1]) == [20]
    assert of([*usual[1:], 22.1]) == [19]
    # 1.5 times the median is the least.
    assert of([10.0] * 20 + [15.0]) == []
    assert of([10.0] * 20 + [15.1]) == [20]
    # Too few rows show no usual distance; copies are no rows for this.
    assert of([10.0] * 18 + [1000.0]) == []
    assert of([0.0] * 50 + [10.0] * 18 + [1000.0]) == []
    assert of([0.0] * 50 + [10.0] * 19 + [1000.0]) == [69]


@pytest.mark.parametrize("metric", METRICS)
def test_the_order_of_rows_and_the_names_of_classes_change_nothing(metric):
    rng = np.random.default_rng(3)
    vectors, labels = clusters(3, sizes=(1, 2, 3, 50, 20), dim=4, apart=1.0)
    order = rng.permutation(len(labels))
    names = rng.permutation(len(np.unique(labels)))
    before = suspects_of(vectors, labels, metric)
    after = suspects_of(vectors[order], names[labels][order], metric)
    np.testing.assert_allclose(after.score, before.score[order], atol=1e-9)
    np.testing.assert_array_equal(after.label, before.label[order])
    np.testing.assert_array_equal(after.outlier, before.outlier[order])


@pytest.mark.parametrize("scale", [1e-6, 1e6])
@pytest.mark.parametrize("metric", METRICS)
def test_the_scale_of_vectors_changes_nothing(metric, scale):
    vectors, labels = clusters(4, sizes=(1, 2, 3, 50, 20), dim=4, apart=1.0)
    vectors[9] = 60
    before = suspects_of(vectors, labels, metric)
    after = suspects_of(scale * vectors, labels, metric)
    np.testing.assert_allclose(after.score, before.score, atol=1e-6)
    np.testing.assert_array_equal(after.outlier, before.outlier)


def test_under_cosine_the_score_is_that_of_unit_vectors():
    vectors, labels = clusters(6, sizes=(4, 9, 30), dim=5, apart=0.5)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine, euclidean = suspects_of(vectors, labels, "cosine"), suspects_of(unit, labels)
    np.testing.assert_allclose(cosine.score, euclidean.score, atol=1e-9)


def test_chunks_of_rows_change_nothing(monkeypatch):
    vectors, labels = clusters(3, sizes=(1, 2, 3, 50, 20), dim=4, apart=1.0)
    whole = suspects_of(vectors, labels)
    monkeypatch.setattr("opis_cli.evidence.suspects._CHUNK", 7)
    np.testing.assert_allclose(suspects_of(vectors, labels).score, whole.score, atol=1e-9)


def test_rows_that_were_not_kept_count_as_the_farthest_kept():
    vectors, labels = clusters(8, sizes=(5, 8), dim=3, apart=1.0)
    whole, part = kept_of(vectors, labels, others=8), kept_of(vectors, labels, others=2)
    second = whole.nearest_others[:, 1:2]
    capped = replace(whole, nearest_others=np.minimum(whole.nearest_others, second))
    np.testing.assert_allclose(label_score(part), label_score(capped), atol=1e-9)
    assert np.abs(label_score(part) - label_score(whole)).max() > 1e-6


def test_a_lone_row_amid_another_class_scores_high_and_one_by_itself_does_not():
    vectors, labels = clusters(1, sizes=(*(30,) * 10, 1, 1))
    vectors[300] = vectors[labels == 0].mean(axis=0)
    found = suspects_of(vectors, labels)
    assert found.score.argmax() == 300
    assert found.score[300] > 0.2
    assert found.score[301] < 0.01


def test_wrong_labels_in_classes_of_two_do_not_blame_the_right_mate():
    vectors, labels = clusters(2, sizes=(2,) * 60)
    wrong = labels.copy()
    wrong[0], wrong[2] = labels[2], labels[0]  # rows 0 and 2 are swapped, 1 and 3 are right
    found = suspects_of(vectors, wrong)
    # Each of the four is nearest to a row of the other class: nobody can say which pair is wrong.
    assert set(np.argsort(-found.score, kind="stable")[:4].tolist()) == {0, 1, 2, 3}
    wrong = labels.copy()
    wrong[0] = 30  # row 0 joins a pair far away, and row 1 is left alone
    found = suspects_of(vectors, wrong)
    assert found.score.argmax() == 0


@pytest.mark.parametrize("metric", METRICS)
def test_copies_have_scores(metric):
    vectors, labels = clusters(1, sizes=(5, 5, 5))
    same = suspects_of(np.ones((6, 3)), [0, 0, 0, 1, 1, 1], metric)
    assert not same.label.any()
    assert np.ptp(same.score) == 0
    twice = suspects_of(np.repeat(vectors, 4, axis=0), np.repeat(labels, 4), metric)
    assert not twice.label.any()
    assert not twice.outlier.any()
    conflict = np.repeat(labels, 4)
    conflict[0] = 1  # three copies of row 0 say otherwise
    assert suspects_of(np.repeat(vectors, 4, axis=0), conflict, metric).score.argmax() == 0


def test_without_anything_to_compare_all_scores_are_zero():
    for labels in (["a", "b"], ["a", "a"], ["a"], ["a", "b", "c"]):
        found = suspects_of(np.eye(len(labels)), labels)
        assert not found.score.any()
        assert not found.label.any()
        assert not found.outlier.any()


def test_rows_without_a_pair_of_a_kind_spoil_no_score():
    # A tenant, a gallery or an excluded value can leave a row without any of its class, though the
    # class has more rows, and most rows without any stranger.
    vectors, labels = clusters(3)
    labels[0] = 1
    kept = kept_of(vectors, labels)
    kept.nearest_own[50], kept.own_mean[50] = np.inf, np.nan
    assert np.flatnonzero(find_suspects(kept).label).tolist() == [0]
    far = np.arange(len(labels)) > 100
    kept.nearest_others[far], kept.other_means[far], kept.other_classes[far] = np.inf, np.nan, -1
    found = find_suspects(kept)
    assert np.flatnonzero(found.label).tolist() == [0]
    assert np.isfinite(found.score).all() and not found.score[far].any()


def test_three_rows_and_large_classes():
    assert not suspects_of([[0.0], [1.0], [9.0]], ["a", "a", "b"]).label.any()
    vectors, labels = clusters(0, sizes=(900, 30, 3), dim=4, apart=6.0)
    wrong = labels.copy()
    wrong[0], wrong[-1] = 2, 0
    assert np.flatnonzero(suspects_of(vectors, wrong).label).tolist() == [0, len(labels) - 1]
