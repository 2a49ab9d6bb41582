"""Count the pairs inside two random halves of the rows, for the price of one threshold.

A threshold of a class's own must be chosen on some pairs and judged on others, or it looks better
than it is. So the rows are split at random into two halves, and the pairs inside each half are
counted by class. The two halves have no row in common, neither of a class nor of its impostors:

- by class, the rows of each class are split;
- by group, whole classes are split, as evenly as possible within each group. What a threshold of a
  group has learnt about a person then helps with no pair of the other half.

Each half of the rows has a quarter of all pairs. Of more than some thousand rows, whole classes are
drawn at random until the rows are enough, so that the extra pairs cost little beside all pairs. As
in ``halves.py``, a half is presented to the engine as classes of their own.
"""

import numpy as np

from opis_cli.counting import engines
from opis_cli.counting.halves import engine_for
from opis_cli.counting.rows import Rows
from opis_cli.counting.sizes import SIZES, Sizes
from opis_cli.counting.tally import Tally, tiles_of
from opis_cli.records import Grid, Ints, PairCounts, Split

_POINTS = 192
"""Thresholds of the window that are taken evenly, and as many again evenly in distance."""
_BEYOND, _KEPT = 96, 8
"""Thresholds beyond the window, even in score; one of so many keeps counts by class."""
_NEARLY_ALL = 0.999
"""Pooled FAR up to which these reach."""


def choose(rows: Rows, seed: int, *, by_class: bool, sizes: Sizes = SIZES) -> tuple[Ints, Ints]:
    """Split rows into two halves at random. A seed fixes the result.

    Parameters
    ----------
    rows : Rows
    seed : int
    by_class : bool
        Whether keys are classes, so that the rows of each class are split. Otherwise the classes of
        each group are split.
    sizes : Sizes

    Returns
    -------
    (ndarray, ndarray)
        Rows of each half, numbered as in ``rows``, in their order.
    """
    count = len(rows.order)
    # Chance goes by the number of a row in the embeddings, so the sorted order has no influence.
    chance = np.random.default_rng([seed, 2]).permutation(count)[rows.order]
    numbers = np.bincount(rows.labels)
    starts = np.cumsum(numbers) - numbers
    place = np.empty(count, np.int64)
    place[np.lexsort((chance, rows.labels))] = np.arange(count)
    place -= starts[rows.labels]
    drawn = np.argsort(chance[starts])
    enough = np.cumsum(np.minimum(numbers, sizes.half_most_rows)[drawn]) > sizes.split_rows
    left_out = np.zeros(len(numbers), bool)
    left_out[drawn[enough]] = True
    taken = (place < sizes.half_most_rows) & ~left_out[rows.labels]
    # Odd rows, and odd classes of a group, go to one half and the other in turn.
    turn = np.empty(len(numbers), np.int64)
    turn[drawn if by_class else np.lexsort((chance[starts], rows.keys[starts]))] = np.arange(
        len(numbers)
    )
    second = (turn[rows.labels] + (place if by_class else 0)) % 2 == 1
    return np.flatnonzero(taken & ~second), np.flatnonzero(taken & second)


def count(
    rows: Rows,
    counts: PairCounts,
    engine: str,
    threads: int,
    seed: int,
    *,
    by_class: bool,
    sizes: Sizes = SIZES,
) -> Split | None:
    """Count the accepted pairs inside two random halves of the rows, by class or group.

    Parameters
    ----------
    rows : Rows
        Rows of which every two are a pair.
    counts : PairCounts
        Counts of all pairs.
    engine : str
        Name of the engine that counted all pairs.
    threads : int
    seed : int
    by_class : bool
        Whether keys are classes, and not groups.
    sizes : Sizes

    Returns
    -------
    Split or None
        None if fewer than two classes or groups have pairs of both kinds in both halves.
    """
    halves = choose(rows, seed, by_class=by_class, sizes=sizes)
    middle, index = len(halves[0]), np.concatenate(halves)
    side = np.arange(len(index)) >= middle
    own = rows.keys[index]
    classes = np.intersect1d(own[~side], own[side])
    if len(classes) < 2:
        return None
    # The rows of other classes are impostors only. They share the last key, which is not used.
    number, place = len(classes), np.minimum(np.searchsorted(classes, own), len(classes) - 1)
    keys = np.where(classes[place] == own, place + number * side, 2 * number)
    labels = np.unique(
        rows.labels[index] + (int(rows.labels.max()) + 1) * side, return_inverse=True
    )
    some = rows.some(index, labels[1], keys)
    grid, module = _grid(rows, counts), engines.load(engine_for(engine))
    tally = Tally.empty(some, grid)
    tiles = (
        tile
        for start, stop in ((0, middle), (middle, len(index)))
        for tile in tiles_of(stop, module.TILE_SIDE, start)
    )
    module.count_pairs(some, grid, tiles, tally, threads, lambda pairs: None)
    shape = (2, number, -1)
    genuine = np.cumsum(tally.genuine[: 2 * number], axis=1, dtype=np.uint32)[:, grid.by_class]
    impostor = np.cumsum(tally.impostor[: 2 * number], axis=1, dtype=np.uint32)
    genuine, impostor = genuine.reshape(shape), impostor.reshape(shape)
    both = ((genuine[:, :, -1] > 0) & (impostor[:, :, -1] > 0)).all(axis=0)
    if both.sum() < 2:
        return None
    return Split(
        classes=classes[both].astype(np.int64),
        thresholds=grid.class_thresholds,
        # Both rows of a genuine pair are of the same class, which was credited twice.
        genuine=genuine[:, both] // (2 if by_class else 1),
        impostor=impostor[:, both],
    )


def _grid(rows: Rows, counts: PairCounts) -> Grid:
    """Make a grid from fewer thresholds of the window, and some beyond that are even in score."""
    whole = counts.grid
    window, last = whole.thresholds[: whole.window], whole.thresholds[-1]
    even = np.searchsorted(window, np.linspace(window[0], window[-1], _POINTS))
    fewer = window[np.union1d(even, np.linspace(0, len(window) - 1, _POINTS).astype(int))]
    nearly = np.searchsorted(counts.pooled_far, _NEARLY_ALL)
    top, bottom = rows.score(np.array([window[-1], whole.thresholds[nearly]]))
    beyond = rows.distance(np.linspace(top, bottom, _BEYOND + 1)[1:])
    beyond = np.append(beyond[(beyond > window[-1]) & (beyond < last)], last)
    if window[-1] == last:
        beyond = beyond[:0]
    thresholds = np.concatenate([fewer, beyond])
    kept = np.append(np.arange(len(fewer) + _KEPT, len(thresholds), _KEPT), len(thresholds) - 1)
    return Grid(thresholds, len(fewer), np.union1d(np.arange(len(fewer)), kept))
