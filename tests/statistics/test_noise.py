"""OPIS less noise: nothing where classes are alike, the truth where they differ; its halves."""

import dataclasses

import data
import numpy as np
import oracle
import pytest
from scipy.special import stdtrit

import opis_cli as opis
from opis_cli.counting import halves
from opis_cli.counting.count import count_pairs
from opis_cli.counting.plan import plan_pairs
from opis_cli.counting.sizes import SIZES, Sizes
from opis_cli.embeddings.clean import from_arrays
from opis_cli.records import Halves
from opis_cli.settings import Settings
from opis_cli.statistics.jackknife import freedom_of
from opis_cli.statistics.noise import corrected


@pytest.mark.parametrize("rows", [4, 7, 12, 24])
def test_classes_that_are_alike_have_none_but_plain_opis_has(rows):
    report = opis.evaluate(*data.clouds(300, rows, seed=rows)).report
    found = report.opis_corrected
    low, high = found.interval
    assert low < 0 < high
    assert abs(found.value) < 0.6 * report.opis
    assert report.opis > 4e-4 and found.plain == pytest.approx(report.opis, rel=1e-2)
    assert found.noise_share == pytest.approx(1 - found.value / found.plain)
    assert found.classes == 300 and found.sizes == (rows, rows)


def test_skewness_of_the_classes_moves_the_upper_end():
    """Where a few classes differ and most are alike, OPIS less noise is skewed to the right."""
    vectors, labels = data.clouds(120, 12, spread=0.5, seed=2)
    found = opis.evaluate(vectors, labels).report.opis_corrected
    low, high = found.interval
    assert low < found.value < high and high - found.value > 1.5 * (found.value - low)
    assert 1 <= found.effective_classes < 60


def test_a_known_spread_is_recovered():
    """The truth is OPIS of the same classes with many rows each."""
    truth = opis.evaluate(*data.clouds(300, 80, spread=0.2)).report.opis
    for rows in (8, 16):
        report = opis.evaluate(*data.clouds(300, rows, spread=0.2)).report
        low, high = report.opis_corrected.interval
        assert low < truth < high
        assert abs(report.opis_corrected.value - truth) < abs(report.opis - truth)
        assert low > 0


def chosen(vectors, labels, sizes=SIZES, **settings):
    """What is compared with what, in rows of the embeddings; and the counts."""
    embeddings, asked = from_arrays(vectors, labels), Settings(**settings)
    plan = plan_pairs(embeddings, asked)
    choice, order = halves.choose(plan.rows, asked.seed, sizes), plan.rows.order
    sides = [[order[half] for half in side] for side in choice.halves]
    return embeddings, choice.classes, sides, [order[g] for g in choice.galleries]


@pytest.mark.parametrize("engine", ["numpy", "numba"])
@pytest.mark.parametrize("rows", ["few", "many"])
def test_halves_equal_brute_force(engine, rows):
    """With all rows as the gallery, and with two random ones."""
    vectors, labels = data.MADE["long_tail"]
    few = Sizes(gallery_rows=60, gallery_of_all=120, half_most_rows=30)
    sizes = few if rows == "many" else SIZES
    asked = Settings(engine=engine, seed=3)
    counts = count_pairs(from_arrays(vectors, labels), asked, sizes=sizes)
    found = counts.halves
    embeddings, classes, sides, galleries = chosen(vectors, labels, sizes, seed=3)
    distance = oracle.distances(vectors)
    np.fill_diagonal(distance, np.inf)
    assert np.array_equal(found.classes, classes)
    assert np.array_equal(classes, np.flatnonzero(counts.sizes >= 4))
    for s in range(0, len(classes), 5):
        own = embeddings.labels == classes[s]
        for half in (0, 1):
            inside, gallery = sides[half][s], galleries[half]
            assert np.all(own[inside]) and found.sizes[half, s] == len(inside) >= 2
            gallery = gallery[~own[gallery]]
            assert found.impostor_pairs[half, s] == len(inside) * len(gallery)
            for p in (0, 40, -1):
                accepted = distance[inside] <= found.thresholds[p] + 5e-7
                assert found.genuine[half, s, p] == accepted[:, inside].sum() // 2
                assert found.impostor[half, s, p] == accepted[:, gallery].sum()


def test_halves_and_galleries_share_no_row_and_are_random():
    few = Sizes(half_most_rows=20)
    vectors, labels = data.blobs(1_500, 50, seed=4)
    embeddings, classes, sides, galleries = chosen(vectors, labels, few)
    sizes = np.minimum(np.bincount(embeddings.labels)[classes], 20)
    assert [len(half) for half in sides[1]] == (sizes // 2).tolist()
    assert [len(half) for half in sides[0]] == (sizes - sizes // 2).tolist()
    halved = np.concatenate([*sides[0], *sides[1]])
    assert len(np.unique(halved)) == len(halved)
    assert len(np.unique(np.concatenate(galleries))) == 2 * few.gallery_rows
    other = chosen(vectors, labels, few, seed=1)
    assert not np.array_equal(np.concatenate(other[2][0]), np.concatenate(sides[0]))
    assert not np.array_equal(other[3][0], galleries[0])
    folded = chosen(vectors, labels, few, folds=3)
    for one, same in ((sides[0], folded[2][0]), (sides[1], folded[2][1]), (galleries, folded[3])):
        for rows, as_folded in zip(one, same, strict=True):
            assert set(rows) == set(as_folded), "folds change the halves"


def test_many_classes_are_split_by_chance():
    few = Sizes(half_classes=20)
    vectors, labels = data.blobs(600, 60, seed=5)
    found = data.evaluate(vectors, labels, few).report.opis_corrected
    assert found.classes == 20
    _, classes, _, _ = chosen(vectors, labels, few)
    assert len(set(classes.tolist())) == 20 and classes.max() > 20


@pytest.mark.parametrize(
    ("name", "most"), [("half_rows", 200), ("half_values", 200 * 32), ("half_rows", 1)]
)
def test_no_more_rows_are_split_than_allowed_but_two_classes_are(name, most):
    embeddings, classes, sides, _ = chosen(*data.blobs(600, 60, 32, seed=5), Sizes(**{name: most}))
    sizes = np.bincount(embeddings.labels)
    rows = sum(len(half) for side in sides for half in side)
    assert rows == sizes[classes].sum()
    assert rows <= 200 < rows + sizes.max() if most > 1 else len(classes) == 2


def test_galleries_that_are_drawn_leave_alike_classes_alike():
    """Small random galleries add noise, but of the two halves apart."""
    report = data.evaluate(*data.clouds(300, 8, seed=8), Sizes(gallery_rows=64)).report
    low, high = report.opis_corrected.interval
    assert low < 0 < high
    assert abs(report.opis_corrected.value) < 0.3 * report.opis


@pytest.mark.parametrize("rows", [[3] * 40, [4] + [3] * 40])
def test_classes_of_three_rows_cannot_be_split(rows):
    labels = np.repeat(np.arange(len(rows)), rows)
    vectors, _ = data.blobs(len(labels), 3, seed=6)
    assert opis.evaluate(vectors, labels).report.opis_corrected is None


def test_errors_so_rare_that_no_class_has_them_in_both_halves_still_have_a_standard_error():
    """Of eight classes the first errs in one half, the second in the other.

    The interval is at least as wide as the spread over all ways to pair first with second halves.
    """
    genuine = np.ones((2, 8, 3), int)
    genuine[0, 0], genuine[1, 1] = 0, 0
    utilities = genuine[:, :, 0] * 1.0
    first, second = utilities - utilities.mean(axis=1, keepdims=True)
    rng = np.random.default_rng(0)
    pairings = [first @ rng.permutation(second) / 8 for _ in range(4_000)]
    impostor = np.tile([0, 0, 112], (8, 1))
    counts = data.hand_made(np.full((8, 3), 6), impostor, [4] * 8, [0.0, 0.5, 1.0])
    halves_of_all = Halves(
        classes=np.arange(8),
        sizes=np.full((2, 8), 2),
        thresholds=counts.grid.thresholds,
        genuine=genuine,
        impostor=np.zeros((2, 8, 3), int),
        impostor_pairs=np.full((2, 8), 10),
    )
    found = corrected(dataclasses.replace(counts, halves=halves_of_all), 1.0, 0)
    assert found.value == pytest.approx(first @ second / 8)
    products = first * second - found.value
    reach = stdtrit(max(freedom_of(products) / 2, 2), 0.975)
    half_width = (found.interval[1] - found.interval[0]) / 2
    assert half_width > 0.9 * reach * np.std(pairings)
    # The products of the halves by themselves vary by half as much.
    assert half_width > 1.5 * reach * products.std() / 7**0.5
