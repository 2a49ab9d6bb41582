"""Count pairs of the two halves of classes, for the noise-corrected OPIS.

The OPIS is a variance of utilities over classes. Each class has few rows, so its utility is noisy,
and the noise adds to the variance. To correct for that, a class is split at random into two halves.
If the noise of the two halves is independent, the product of their deviations has no noise in it on
average, and it stands for the square of the deviation.

The halves are counted separately, after all pairs:

- the genuine pairs inside each half. These are few, and almost all noise of a half's utility comes
  from them. The two halves have no row in common, so this noise is independent;
- the impostor pairs of a half's rows with a random *gallery*. All first halves share one gallery,
  and all second halves share another. A FAR over hundreds of random rows has little noise. The
  galleries have no row in common, so this noise is independent too.

Few rows take part in all that, so it is cheap beside the count of all pairs. ``choose`` draws the
halves and the galleries. ``_accepted`` then presents a half to the engine as a class of its own, so
that the engines need no code for halves. Read them in this order.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from opis_cli.counting import engines
from opis_cli.counting.rows import Rows
from opis_cli.counting.sizes import SIZES, Sizes
from opis_cli.counting.tally import Tally, Tile, cut
from opis_cli.records import Curve, Grid, Halves, Ints, PairCounts

POINTS = 128
"""Most thresholds of the calibration range at which halves are counted."""
LEAST_ROWS = 4
"""Least rows of a class that is split. With four rows each half has a genuine pair."""

_BEYOND = 100
"""Thresholds beyond the window. Nobody reads their counts, but engines need some to be fast."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The rows that were drawn. They are numbered as in ``Rows``.

    Attributes
    ----------
    classes : ndarray of shape (S,), int64
        Classes that are split.
    halves : two sequences of S ndarrays
        Rows of the first half and of the second half of each class.
    galleries : (ndarray, ndarray)
        Rows that the first halves and the second halves are compared with for impostor pairs.
    others : ndarray of shape (2, S), int64
        For each gallery and class, the number of rows of the gallery that are of other classes.
    """

    classes: Ints
    halves: tuple[Sequence[Ints], Sequence[Ints]]
    galleries: tuple[Ints, Ints]
    others: Ints

    @property
    def sizes(self) -> Ints:
        """Number of rows of each half, shape (2, S)."""
        return np.array([[len(half) for half in side] for side in self.halves])


def choose(rows: Rows, seed: int, sizes: Sizes = SIZES) -> Choice:
    """Split classes into halves at random, and draw the galleries. A seed fixes the result."""
    rng = np.random.default_rng([seed, 1])
    count = len(rows.order)
    # Rows are drawn by their number in the embeddings, so that the sorted order has no influence.
    place = np.empty(count, np.int64)
    place[rows.order] = np.arange(count)
    galleries = np.arange(count), np.arange(count)
    if count > sizes.gallery_of_all:
        size = min(sizes.gallery_rows, sizes.gallery_pairs // min(count, sizes.half_rows))
        drawn = np.sort(place[rng.choice(count, (2, size), replace=False)])
        galleries = drawn[0], drawn[1]
    order = np.lexsort((rng.permutation(count)[rows.order], rows.keys))
    numbers = np.bincount(rows.keys)
    starts = np.cumsum(numbers) - numbers
    others = np.array(
        [len(g) - np.bincount(rows.keys[g], minlength=len(numbers)) for g in galleries]
    )
    classes = np.flatnonzero((numbers >= LEAST_ROWS) & (others > 0).all(axis=0))
    classes = rng.permutation(classes)[: sizes.half_classes]
    taken = np.cumsum(np.minimum(numbers[classes], sizes.half_most_rows))
    # At least two classes are taken, whatever their sizes: one class has nothing to differ from.
    most = max(
        min(sizes.half_rows, sizes.half_values // rows.vectors.shape[1]), taken[:2].max(initial=0)
    )
    classes = np.sort(classes[taken <= most])
    own = [order[starts[k] : starts[k] + min(numbers[k], sizes.half_most_rows)] for k in classes]
    middles = [(len(one) + 1) // 2 for one in own]
    firsts = [one[:middle] for one, middle in zip(own, middles, strict=True)]
    seconds = [one[middle:] for one, middle in zip(own, middles, strict=True)]
    return Choice(classes, (firsts, seconds), galleries, others[:, classes])


def engine_for(engine: str) -> str:
    """Return the engine for the halves, given the engine that counted all pairs.

    The pairs of halves are so few that this machine counts them soonest, even if a device or a
    cluster counted all pairs.
    """
    return "numpy" if engine == "numpy" else "numba"


def count(
    rows: Rows,
    counts: PairCounts,
    span: tuple[float, float],
    engine: str,
    threads: int,
    seed: int,
    sizes: Sizes = SIZES,
) -> Halves | None:
    """Count the accepted pairs of the halves of classes, over the calibration range.

    Parameters
    ----------
    rows : Rows
        Rows whose keys are their classes.
    counts : PairCounts
        Counts of all pairs.
    span : (float, float)
        Ends of the calibration range, as distances.
    engine : str
        Name of the engine that counted all pairs.
    threads : int
    seed : int
    sizes : Sizes

    Returns
    -------
    Halves or None
        None if no class has enough rows.
    """
    chosen = choose(rows, seed, sizes)
    if len(chosen.classes) == 0:
        return None
    columns = counts.grid.columns_between(*span)
    columns = columns[np.linspace(0, len(columns) - 1, min(POINTS, len(columns))).astype(int)]
    thresholds = counts.grid.class_thresholds[columns]
    grid = _grid(rows, thresholds)
    genuine, impostor = _accepted(rows, chosen, grid, engine_for(engine), threads)
    return Halves(
        classes=chosen.classes,
        sizes=chosen.sizes,
        thresholds=thresholds,
        genuine=genuine,
        impostor=impostor,
        impostor_pairs=chosen.sizes * chosen.others,
    )


def _grid(rows: Rows, thresholds: Curve) -> Grid:
    """Make a grid whose window holds the thresholds of the calibration range.

    Thresholds beyond the window follow, even in score, because engines are fast there. Their counts
    are not used.
    """
    low, high = rows.score(thresholds[[0, -1]])
    last = max(rows.largest_distance, thresholds[-1] * (1 + 1e-6))
    beyond = rows.distance(high + (high - low) * np.linspace(0, 1, _BEYOND + 1)[1:])
    wider = np.concatenate([thresholds, beyond[beyond < last], [last]])
    return Grid(wider, len(thresholds), np.append(np.arange(len(thresholds)), len(wider) - 1))


def _accepted(
    rows: Rows, chosen: Choice, grid: Grid, engine: str, threads: int
) -> tuple[Ints, Ints]:
    """Count the accepted genuine and impostor pairs of each half, both of shape (2, S, P)."""
    firsts, seconds = chosen.halves
    index = np.concatenate([*firsts, *seconds, *chosen.galleries])
    sizes = chosen.sizes
    # Each half gets a label of its own, as if it were a class. Both galleries together get the last
    # label.
    apart = np.repeat(np.arange(sizes.size + 1), [*sizes.ravel(), sum(map(len, chosen.galleries))])
    some = rows.some(index, apart, apart)
    vetoing = replace(some, vetoes=(rows.keys[index],))
    first, both = int(sizes[0].sum()), int(sizes.sum())
    middle = both + len(chosen.galleries[0])
    module = engines.load(engine)
    # Rows of the gallery may be of the half's own class. Such pairs are no impostor pairs, so they
    # are vetoed. The engine counts them in the last cell, which is not used.
    outer = Tally.empty(vetoing, grid)
    tiles = (
        tile
        for block in (Tile(0, first, both, middle), Tile(first, both, middle, len(index)))
        for tile in cut(block, module.TILE_SIDE)
    )
    module.count_pairs(vetoing, grid, tiles, outer, threads, lambda pairs: None)
    kept = slice(grid.window)
    impostor = np.cumsum(outer.impostor[:-1, kept], axis=1, dtype=np.uint32)
    genuine = np.cumsum(module.count_inside(some, both, grid, threads), axis=1, dtype=np.uint32)
    shape = (2, len(chosen.classes), -1)
    return genuine.reshape(shape), impostor.reshape(shape)
