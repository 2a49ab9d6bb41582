"""Look at a tile of scores with plain NumPy. Read this first; ``look_numba.py`` keeps the same."""

import numpy as np
from numpy.typing import NDArray

from opis_cli.counting.plan import Plan
from opis_cli.counting.rows import Rows
from opis_cli.counting.tally import Tile
from opis_cli.evidence.seen import Inside, Lists
from opis_cli.records import Floats, Ints


def scores_of(plan: Plan, tile: Tile) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the scores of a tile, with -inf where rows are not paired, and which are genuine."""
    left, right = np.arange(tile.a, tile.b), np.arange(tile.c, tile.d)
    scores = plan.rows.scores_of(slice(tile.a, tile.b), slice(tile.c, tile.d))
    paired = plan.are_pairs(left[:, None], right)
    if tile.a == tile.c:
        paired &= left[:, None] < right
    scores[~paired] = -np.inf
    return scores, plan.truth[left, None] == plan.truth[right]


def near(lists: Lists, order: Ints, rows: Ints, others: Ints, scores: Floats) -> None:
    """Put pairs into the lists of nearest rows of ``rows``; three arrays of shape (P,)."""
    size = lists.scores.shape[1]
    touched = np.unique(rows)
    here = np.concatenate([np.repeat(touched, size), rows])
    score = np.concatenate([lists.scores[touched].ravel(), scores])
    there = np.concatenate([lists.rows[touched].ravel(), others])
    place = np.lexsort((np.where(there < 0, -1, order[there]), -score, here))
    rank = np.arange(len(here)) - np.searchsorted(here[place], here[place])
    place, rank = place[rank < size], rank[rank < size]
    lists.scores[here[place], rank], lists.rows[here[place], rank] = score[place], there[place]


def nearest_of(lists: Lists, order: Ints, scores: Floats, first: int, others: Ints) -> None:
    """Put the nearest columns of each row of a matrix into the row's list.

    ``first`` is the number of the first row of the matrix, and ``others`` are those of its columns.
    """
    size = min(lists.scores.shape[1], scores.shape[1])
    worst = np.partition(scores, -size, axis=1)[:, -size]
    i, j = np.nonzero((scores >= worst[:, None]) & (scores > -np.inf))
    near(lists, order, first + i, others[j], scores[i, j])


def add_inside(sums: Inside, codes: Ints, scores: Floats, rows: Rows, cut: np.float32) -> None:
    """Add genuine pairs, by their classes and scores, to the sums of the classes."""
    classes = len(sums.pairs)
    sums.pairs[:] += np.bincount(codes, minlength=classes)
    sums.rejected[:] += np.bincount(codes[scores < cut], minlength=classes)
    sums.distances[:] += np.bincount(codes, rows.distance(scores), minlength=classes)
    np.minimum.at(sums.least, codes, scores)
