"""Which classes pay for a threshold, from counts that were written down by hand."""

import data
import numpy as np
import pytest

from opis_cli.scoring.who_pays import who_pays

# Rows, and accepted genuine and impostor pairs at the first threshold. 10 rows have 45 genuine
# pairs, and 3 rows have 3.
CLASSES = {
    "rejected most": (10, 5, 1),
    "rejected often": (10, 20, 1),
    "accepted most": (10, 45, 30),
    "small and bad": (3, 0, 29),
    "quiet": (10, 45, 0),
    "two errors": (10, 43, 2),
}


@pytest.fixture(scope="module")
def counts():
    sizes, genuine, impostor = np.array(list(CLASSES.values())).T
    every = sizes * (sizes - 1) // 2, sizes * (sizes.sum() - sizes)
    made = data.hand_made(
        np.column_stack([genuine, genuine, every[0]]),
        np.column_stack([impostor, impostor + 1, every[1]]),
        sizes,
        [0.5, 0.7, 2.0],
    )
    made.class_names[:] = list(CLASSES)
    return made


def names(classes):
    return [one.class_name for one in classes]


def test_the_highest_rates_come_first_and_small_classes_stand_apart(counts):
    found = who_pays(counts, 0.5, 0.5, 3)
    assert names(found.rejected) == ["rejected most", "rejected often"]
    assert names(found.accepted) == ["accepted most"]
    assert (names(found.unjudged), found.few) == (["small and bad"], 1)
    worst = found.rejected[0]
    assert (worst.rejected, worst.genuine, worst.size) == (40, 45, 10)
    assert worst.frr == 40 / 45
    assert (found.accepted[0].accepted, found.accepted[0].impostor) == (30, 10 * 43)
    assert names(who_pays(counts, 0.5, 0.5, 1).rejected) == ["rejected most"]


def test_each_side_is_counted_at_its_own_threshold(counts):
    found = who_pays(counts, 0.7, None, 3)
    assert found.accepted[0].accepted == 31
    # Below the whole grid nothing is accepted, so no class is rejected more than all together.
    assert found.rejected == () and found.unjudged[0].rejected == 3


@pytest.mark.parametrize("errors", [2, 3])
def test_fewer_than_three_errors_name_no_class(errors):
    """Two rejected of 45 genuine pairs may be chance, and so may two accepted impostors."""
    every = 45 - np.zeros(20, int), 10 * 190 + np.zeros(20, int)
    wrong = errors * (np.arange(20) == 0)
    counts = data.hand_made(
        np.column_stack([every[0] - wrong, every[0]]),
        np.column_stack([wrong, every[1]]),
        np.full(20, 10),
        [0.5, 2.0],
    )
    found = who_pays(counts, 0.5, 0.5, 3)
    assert names(found.rejected) == names(found.accepted) == (["c0"] if errors == 3 else [])
