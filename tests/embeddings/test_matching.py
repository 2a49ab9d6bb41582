"""Rows of two models match by their order or by their ids, and are refused otherwise."""

import dataclasses

import numpy as np
import pytest

from opis_cli.embeddings.clean import Reading, from_arrays
from opis_cli.embeddings.gallery import with_gallery
from opis_cli.embeddings.matching import matched
from opis_cli.errors import InputError
from opis_cli.settings import Settings

LABELS = np.array(["a", "a", "b", "b", "c", "c"], object)
IDS = np.array(["x1", "x2", "x3", "x4", "x5", "x6"], object)
SETTINGS = Settings(within_column="tenant", exclude_same="id")


def rows(order=range(6), *, labels=LABELS, ids=IDS, tenants=(0, 0, 0, 0, 1, 1), gallery=False):
    order = list(order)
    vectors = np.arange(12, dtype=np.float32).reshape(6, 2) + 1
    return from_arrays(
        vectors[order],
        labels[order],
        dataclasses.replace(Reading.of(SETTINGS, gallery=gallery), paired=False),
        columns={"id": ids[order], "tenant": np.array(tenants)[order]},
    )


def both(old, new, **options):
    """Queries and a gallery on both sides."""
    sides = [with_gallery(rows(first), rows(second, gallery=True)) for first, second in (old, new)]
    return sides[0], matched(*sides, **options)


def test_rows_in_the_same_order_match():
    new = rows()
    found = matched(rows(), new, alike=[("tenant", "tenant")])
    assert np.array_equal(found.vectors, new.vectors)
    assert found.class_names.tolist() == ["a", "b", "c"]


def test_numbers_and_texts_of_classes_are_the_same_names():
    # As text these names sort in another order, so the classes of the two have other numbers.
    numbers = np.array([10, 10, 9, 9, 2, 2])
    found = matched(rows(labels=numbers), rows(labels=numbers.astype(str).astype(object)))
    assert found.class_names[found.labels].tolist() == numbers.tolist()


def test_rows_match_by_their_ids():
    order = [3, 0, 5, 2, 1, 4]
    old, new = rows(), rows(order)
    found = matched(old, new, "id", [("tenant", "tenant")])
    assert np.array_equal(found.vectors, old.vectors)
    assert found.rows.tolist() == np.argsort(order).tolist()
    assert np.array_equal(found.labels, old.labels)


def test_queries_match_queries_and_the_gallery_matches_the_gallery():
    old, found = both(([0, 2, 4], [1, 3, 5]), ([4, 0, 2], [5, 3, 1]), id_column="id")
    assert np.array_equal(found.vectors, old.vectors)
    assert found.gallery_rows == 3
    with pytest.raises(InputError, match="x1, are in no row of the other model"):
        both(([0, 2, 4], [1, 3, 5]), ([1, 2, 4], [0, 3, 5]), id_column="id")


@pytest.mark.parametrize(
    ("new", "options", "message"),
    [
        (rows(range(5)), {}, "6 rows and 5 rows, so they do not match by their order"),
        (rows([0, 2, 1, 3, 4, 5]), {}, r"row 1 has the label a in the one and b \(row 1\) in"),
        (rows(range(5)), {"id_column": "id"}, "1 ids of column 'id', such as x6, are in no row"),
        (
            rows(ids=np.array(["x1", "x1", *IDS[2:]], object)),
            {"id_column": "id"},
            "has the id x1 in several rows",
        ),
        (
            rows(ids=np.array([None, *IDS[1:]], object)),
            {"id_column": "id"},
            "has no id in row 0",
        ),
        (
            rows(tenants=(0, 0, 1, 1, 1, 1)),
            {"alike": [("tenant", "tenant")]},
            r"row 2 has the 'tenant' 0 in the one and 1 \(row 2\) in the other \(2 such rows\)",
        ),
    ],
)
def test_other_rows_are_refused(new, options, message):
    with pytest.raises(InputError, match=message):
        matched(rows(), new, **options)


def test_a_row_that_only_one_model_left_out_is_named():
    vectors = np.ones((7, 2), np.float32)
    bad = [vectors.copy(), vectors.copy()]
    bad[0][2], bad[1][3] = np.nan, np.nan
    labels = np.array(["a", "a", "b", "b", "b", "c", "c"], object)
    reading = Reading.of(Settings(on_bad_rows="drop"))
    old, new = (from_arrays(some, labels, reading) for some in bad)
    with pytest.raises(InputError, match="row 2 was used for only one of the two"):
        matched(old, new)


def test_a_gallery_of_one_side_only_is_refused():
    one = with_gallery(rows([0, 2, 4]), rows([1, 3, 5], gallery=True))
    with pytest.raises(InputError, match="only one of the two runs has a gallery"):
        matched(one, rows())
