"""The pairs inside two halves of the rows, against brute force; which rows these are."""

import data
import numpy as np
import oracle
import pytest

from opis_cli.counting import split
from opis_cli.counting.count import count_pairs
from opis_cli.counting.plan import plan_pairs
from opis_cli.counting.sizes import SIZES, Sizes
from opis_cli.embeddings.clean import Reading, from_arrays
from opis_cli.settings import Settings


def embedded(vectors, labels, groups=None, **settings):
    """Embeddings, by group if there are groups, and the settings."""
    columns = None if groups is None else {"g": groups}
    asked = Settings(group_column=None if groups is None else "g", **settings)
    return from_arrays(vectors, labels, Reading.of(asked), columns=columns), asked


def chosen(vectors, labels, groups=None, sizes=SIZES, **settings):
    """The rows of both halves, as they are numbered in the embeddings."""
    embeddings, asked = embedded(vectors, labels, groups, **settings)
    rows = plan_pairs(embeddings, asked).rows
    halves = split.choose(rows, asked.seed, by_class=groups is None, sizes=sizes)
    return [rows.order[half] for half in halves]


@pytest.mark.parametrize("engine", ["numpy", "numba"])
@pytest.mark.parametrize("by", ["class", "group"])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_counts_equal_brute_force(engine, by, metric):
    vectors, labels = data.blobs(700, 50, seed=2)
    groups = None if by == "class" else np.random.default_rng(1).integers(0, 3, 700)
    embeddings, asked = embedded(vectors, labels, groups, engine=engine, metric=metric, seed=5)
    found = count_pairs(embeddings, asked).split
    halves = chosen(vectors, labels, groups, metric=metric, seed=5)
    keys = labels if groups is None else groups
    distance = oracle.distances(vectors, metric)
    assert np.all(np.diff(found.thresholds) > 0)
    for half, rows in enumerate(halves):
        i, j = (rows[one] for one in np.triu_indices(len(rows), 1))
        between, alike = distance[i, j], labels[i] == labels[j]
        for s in range(0, len(found.classes), 4):
            ends = (keys[i] == found.classes[s]).astype(int) + (keys[j] == found.classes[s])
            for p in (0, 60, 200, -30, -9, -2, -1):
                accepted = between <= found.thresholds[p] + 1e-6
                for kind, counts, each in (
                    (alike, found.genuine, 1 + (by == "class")),
                    (~alike, found.impostor, 1),
                ):
                    expected = ends[kind & accepted].sum() // each
                    assert counts[half, s, p] == expected, (half, s, p)


def test_thresholds_reach_beyond_the_window_to_nearly_all_pairs():
    embeddings, asked = embedded(*data.blobs(700, 50, seed=2))
    counts = count_pairs(embeddings, asked)
    share = counts.split.impostor.sum(axis=(0, 1)) / counts.split.impostor[:, :, -1].sum()
    assert np.diff(share).max() < 0.15 and share[-2] > 0.9
    low = counts.split.thresholds[counts.split.thresholds < counts.grid.thresholds[-1]]
    assert np.isin(low[: len(low) - 20], counts.grid.thresholds).all()


def test_the_rows_of_each_class_are_split_and_no_row_is_in_both_halves():
    vectors, labels = data.blobs(900, 60, skew=1.5, seed=1)
    first, second = chosen(vectors, labels)
    assert sorted([*first, *second]) == sorted(set(first) | set(second))
    sizes = np.minimum(np.bincount(labels, minlength=60), SIZES.half_most_rows)
    one, two = (np.bincount(labels[half], minlength=60) for half in (first, second))
    assert np.array_equal(one + two, sizes) and np.abs(one - two).max() == 1
    # Classes with an odd row give it to either half.
    assert abs(len(first) - len(second)) < 15 and min((one > two).sum(), (two > one).sum()) > 5
    other = chosen(vectors, labels, seed=1)
    assert set(other[0]) != set(first)


def test_no_class_of_a_group_is_in_both_halves_and_each_group_is_split_evenly():
    vectors, labels = data.blobs(900, 60, seed=1)
    groups = labels % 4
    first, second = chosen(vectors, labels, groups)
    assert len(first) + len(second) == 900
    assert not set(labels[first]) & set(labels[second])
    for group in range(4):
        here = [len(set(labels[half][groups[half] == group])) for half in (first, second)]
        assert abs(here[0] - here[1]) <= 1 and sum(here) == len(set(labels[groups == group]))


@pytest.mark.parametrize("grouped", [False, True])
def test_whole_classes_are_drawn_if_rows_are_many(grouped):
    vectors, labels = data.blobs(900, 60, seed=1)
    groups = labels % 4 if grouped else None
    few = Sizes(split_rows=200)
    first, second = chosen(vectors, labels, groups, few)
    rows, sizes = np.concatenate([first, second]), np.bincount(labels)
    assert 150 < len(rows) <= 200
    drawn = np.unique(labels[rows])
    assert sizes[drawn].sum() == len(rows) and drawn.max() > 20 and len(drawn) < 30
    assert set(np.unique(labels[np.concatenate(chosen(vectors, labels, groups, few, seed=1))])) != (
        set(drawn)
    )


def test_names_of_classes_and_folds_change_no_half():
    vectors, labels = data.blobs(300, 20, seed=1)
    renamed = np.random.default_rng(0).permutation(20)[labels]
    few = Sizes(split_rows=200)
    for one, two in (
        (chosen(vectors, labels, None, few), chosen(vectors, renamed, None, few)),
        (chosen(vectors, labels, None, few), chosen(vectors, labels, None, few, folds=3)),
    ):
        assert [set(half) for half in one] == [set(half) for half in two]


def test_what_cannot_be_split_has_no_counts():
    vectors, labels = data.blobs(60, 3, seed=6)
    threes = np.arange(60) // 3
    assert count_pairs(*embedded(vectors, threes)).split is None
    assert count_pairs(*embedded(vectors, np.arange(60) // 4)).split is not None
    # A group of one class has all its rows in one half.
    assert count_pairs(*embedded(vectors, labels, labels)).split is None
