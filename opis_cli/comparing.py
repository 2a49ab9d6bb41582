"""Compare vectors in float64, a block at a time, and behind a remedy if there is one."""

from collections.abc import Iterator

import numpy as np

from opis_cli.counting.rows import Doubles
from opis_cli.counting.single_pairs import (
    checked,
    distances_of_all,
    distances_of_pairs,
)
from opis_cli.errors import InputError
from opis_cli.records import Numbers
from opis_cli.remedies.artefact import Remedy
from opis_cli.text import SIMILARITIES

_VALUES, _SIDE = 1 << 21, 2_048
"""Values of vectors that are compared pair by pair at a time, and rows of each side if all are
compared with all."""


def distances_by_row(
    left: Numbers, right: Numbers, metric: str, remedy: Remedy | None = None
) -> Doubles:
    """Return the distance of each row of one side to the same row of the other.

    Parameters
    ----------
    left, right : ndarrays of shape (n, D), as ``sides_of`` returns them
        A side of one row is compared with every row of the other.
    metric : str
    remedy : Remedy, optional
        It changes the vectors first.

    Returns
    -------
    ndarray of shape (n,), float64
        Distances. Those of the metric ``dot`` are the negative inner products.

    Raises
    ------
    InputError
        The sides have different numbers of rows, or a vector is not usable.
    """
    if len(left) != len(right) and 1 not in (len(left), len(right)):
        raise InputError(
            f"a has {len(left)} rows and b {len(right)}; give as many of both, or use accept_all "
            "to compare all with all"
        )
    rows = 0 if 0 in (len(left), len(right)) else max(len(left), len(right))
    found = np.empty(rows)
    step = max(1, _VALUES // max(1, left.shape[1]))
    for start in range(0, rows, step):
        part = slice(start, start + step)
        one, two = (side if len(side) == 1 else side[part] for side in (left, right))
        found[part] = _distances(one, two, metric, remedy, of_all=False)
    return found


def distances_by_tile(
    left: Numbers, right: Numbers, metric: str, remedy: Remedy | None = None
) -> Iterator[tuple[slice, slice, Doubles]]:
    """Yield the distances of all rows of one side to all of the other, tile by tile.

    Each tile is the rows of the left side, those of the right side, and their distances. The
    parameters are those of ``distances_by_row``, but for any numbers of rows.
    """
    for i in range(0, len(left), _SIDE):
        for j in range(0, len(right), _SIDE):
            rows = slice(i, i + _SIDE), slice(j, j + _SIDE)
            yield *rows, _distances(left[rows[0]], right[rows[1]], metric, remedy, of_all=True)


def _distances(
    left: Numbers, right: Numbers, metric: str, remedy: Remedy | None, *, of_all: bool
) -> Doubles:
    one, two = checked(left, metric), checked(right, metric)
    if remedy is not None:
        # Behind a remedy, the score of a pair is the product of its two forms.
        one, two = remedy.forms(left)[0], remedy.forms(right)[1]
    if not of_all:
        one, two = np.broadcast_arrays(one, two)
    compared = distances_of_all if of_all else distances_of_pairs
    if remedy is None:
        return compared(one, two, metric)
    less = compared(one, two, "dot")
    return less if metric in SIMILARITIES else 1 + less
