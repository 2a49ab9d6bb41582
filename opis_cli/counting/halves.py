"""Counts of the halves of classes, whose noise is independent: what noise-corrected OPIS needs.

They are counted apart, after all pairs: genuine pairs inside each half, and pairs of its rows with
a random *gallery*, one for the first halves and another for the second. What a half's utility is
off by comes almost all from its few genuine pairs; a FAR over hundreds of random rows is off by
little, and as the galleries have no row in common, independently for the two halves. So the
product of the halves' deviations, on average, has no noise in it.
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
"""Thresholds of the calibration range at which halves are compared, at most."""
LEAST_ROWS = 4
"""Rows of a class that is split, at least: then both halves have a genuine pair."""

_BEYOND = 100


@dataclass(frozen=True, slots=True)
class Choice:
    """What is compared with what; rows are numbered as in ``Rows``.

    Attributes
    ----------
    classes : ndarray of shape (S,), int64
    halves : two sequences of S ndarrays
        Rows of the first and of the second half of each class.
    galleries : (ndarray, ndarray)
        Rows that are the impostors of the first and of the second halves.
    others : ndarray of shape (2, S), int64
        How many rows of each gallery are of other classes.
    """

    classes: Ints
    halves: tuple[Sequence[Ints], Sequence[Ints]]
    galleries: tuple[Ints, Ints]
    others: Ints

    @property
    def sizes(self) -> Ints:
        """Rows of each half, shape (2, S)."""
        return np.array([[len(half) for half in side] for side in self.halves])


def choose(rows: Rows, seed: int, sizes: Sizes = SIZES) -> Choice:
    """Split classes in halves at random, and draw the galleries; the same for the same seed."""
    rng = np.random.default_rng([seed, 1])
    count = len(rows.order)
    # What is drawn are rows of the embeddings, so that their order here changes nothing.
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
    # Two classes at least: with fewer there is nothing to compare.
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
    """What counts the halves where an engine counted all pairs.

    So few are soonest counted here, whatever device or cluster counted all.
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
    """Accepted pairs of the halves of classes, over the calibration range.

    Parameters
    ----------
    rows : Rows
        Whose keys are the classes.
    counts : PairCounts
        Of whole classes.
    span : (float, float)
        Ends of the calibration range, as distances.
    engine : str
        That which counted all pairs.
    threads : int
    seed : int
    sizes : Sizes

    Returns
    -------
    Halves or None
        None where no class has rows enough.
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
    """A grid whose window are the thresholds of the range.

    Engines are fast beyond a window, if thresholds there are even in score. Nobody looks at these.
    """
    low, high = rows.score(thresholds[[0, -1]])
    last = max(rows.largest_distance, thresholds[-1] * (1 + 1e-6))
    beyond = rows.distance(high + (high - low) * np.linspace(0, 1, _BEYOND + 1)[1:])
    wider = np.concatenate([thresholds, beyond[beyond < last], [last]])
    return Grid(wider, len(thresholds), np.append(np.arange(len(thresholds)), len(wider) - 1))


def _accepted(
    rows: Rows, chosen: Choice, grid: Grid, engine: str, threads: int
) -> tuple[Ints, Ints]:
    """Accepted genuine and impostor pairs of each half, both of shape (2, S, P)."""
    firsts, seconds = chosen.halves
    index = np.concatenate([*firsts, *seconds, *chosen.galleries])
    sizes = chosen.sizes
    # Here a half is what a class is elsewhere; the galleries are one more, behind them.
    apart = np.repeat(
        np.arange(sizes.size + 1), [*sizes.ravel(), sum(map(len, chosen.galleries))]
    ).astype(np.int32)
    some = replace(
        rows,
        vectors=rows.vectors[index],
        half_squares=rows.half_squares[index],
        labels=apart,
        keys=apart,
        order=rows.order[index],
    )
    vetoing = replace(some, vetoes=(rows.keys[index],))
    first, both = int(sizes[0].sum()), int(sizes.sum())
    middle = both + len(chosen.galleries[0])
    module = engines.load(engine)
    # Rows of the gallery that are of the half's own class are no impostors: they are vetoed, and
    # so land in the last cell, which is not looked at.
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
