"""Changed counts equal a recount of the changed rows, on the same grid, under every protocol."""

import dataclasses

import numpy as np
import pytest
from protocols import PROTOCOLS, rows_of

from opis_cli.counting import engines
from opis_cli.counting.count import count_pairs
from opis_cli.counting.parts import Part
from opis_cli.counting.plan import plan_pairs
from opis_cli.counting.prepared import _counts
from opis_cli.counting.sizes import Sizes
from opis_cli.evidence.what_if import Counted, what_if
from opis_cli.settings import Settings

FIELDS = (
    "sizes",
    "genuine",
    "impostor",
    "pooled_genuine",
    "pooled_impostor",
    "borderline_genuine",
)
NO_ROWS, NO_CLASSES = np.zeros(0, np.int64), np.zeros((0, 2), np.int64)
LEFT_OUT = np.array([3, 20, 41, 50, 77, 90, 100, 101, 130, 142, 155])
MERGED = np.array([[1, 2], [2, 5], [7, 9]])


def recount(embeddings, settings, grid):
    """Count anew on a grid that is given."""
    plan = plan_pairs(embeddings, settings)
    plan = dataclasses.replace(plan, groups=None)  # what_if counts no pairs of groups
    tally = plan.empty_tally(grid)
    with engines.opened("numpy", embeddings, settings, 1) as ready:
        ready.count_part(plan, grid, Part.whole(plan, ready.side), tally, lambda pairs: None)
    return _counts(embeddings, plan, grid, plan.settle(tally), threads=2)


def changed(embeddings, left_out, merged):
    """The embeddings without some rows, with the labels of merged classes made one."""
    labels = embeddings.labels.copy()
    for one, two in merged.tolist():
        labels[labels == two] = labels[embeddings.labels == one][0]
    kept = np.setdiff1d(np.arange(len(labels)), left_out)
    used, labels = np.unique(labels[kept], return_inverse=True)
    gallery = embeddings.gallery_rows
    if gallery is not None:
        gallery = int(np.count_nonzero(kept >= len(embeddings.labels) - gallery))
    return dataclasses.replace(
        embeddings,
        vectors=embeddings.vectors[kept],
        labels=labels,
        class_names=embeddings.class_names[used],
        rows=embeddings.rows[kept],
        gallery_rows=gallery,
        columns={
            name: dataclasses.replace(column, codes=column.codes[kept])
            for name, column in embeddings.columns.items()
        },
    )


@pytest.mark.parametrize("sizes", [Sizes(), Sizes(small_pairs=1, small_counts=1)])
@pytest.mark.parametrize("engine", ["numpy", "numba"])
@pytest.mark.parametrize("protocol", [name for name in PROTOCOLS if name != "euclidean"])
def test_changed_counts_equal_a_recount(protocol, engine, sizes):
    settings = Settings(**PROTOCOLS[protocol])
    embeddings = rows_of(settings)
    counts, plan = count_pairs(embeddings, settings, sizes=sizes), plan_pairs(embeddings, settings)
    counted = Counted(embeddings, settings, plan, counts)
    every = what_if(counted, LEFT_OUT, MERGED, engine)
    changes = ((LEFT_OUT, NO_CLASSES), (NO_ROWS, MERGED), (LEFT_OUT, MERGED))
    for found, (rows, classes) in zip(every, changes, strict=True):
        fewer = changed(embeddings, rows, classes)
        wanted = recount(fewer, dataclasses.replace(settings, folds=None), counts.grid)
        for name in FIELDS:
            np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name), name)
        assert found.class_names.tolist() == wanted.class_names.tolist()
        if wanted.genuine_beyond is not None:
            np.testing.assert_array_equal(found.genuine_beyond, wanted.genuine_beyond)
    assert (counts.genuine_beyond is None) == (sizes == Sizes())


def test_a_class_whose_rows_all_go_goes_too():
    settings = Settings()
    embeddings = rows_of(settings)
    plan, counts = plan_pairs(embeddings, settings), count_pairs(embeddings, settings)
    rows = np.flatnonzero(embeddings.labels == 4)
    found, *others = what_if(Counted(embeddings, settings, plan, counts), rows, NO_CLASSES)
    assert others == [None, None]
    assert found.class_names.tolist() == [0, 1, 2, 3, *range(5, 13)]
    left = len(embeddings.labels) - len(rows)
    total = found.genuine_total + found.impostor_total
    assert total == left * (left - 1) // 2


def test_without_a_genuine_pair_there_are_no_counts():
    settings = Settings()
    embeddings = rows_of(settings)
    plan, counts = plan_pairs(embeddings, settings), count_pairs(embeddings, settings)
    first = np.unique(embeddings.labels, return_index=True)[1]
    rows = np.setdiff1d(np.arange(len(embeddings.labels)), first)
    without, merged, both = what_if(Counted(embeddings, settings, plan, counts), rows, MERGED)
    # Both would have pairs, but what is left first has none.
    assert (without, both) == (None, None) and merged is not None
