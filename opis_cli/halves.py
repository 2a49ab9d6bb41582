"""Counts of the halves of classes, whose noise is independent: what noise-corrected OPIS needs.

Impostor pairs of the second halves were credited apart while all pairs were counted. Genuine pairs
inside each half are counted here, anew: they are few.
"""

import dataclasses

import numpy as np

from opis_cli import engines
from opis_cli.curves import Curve
from opis_cli.distance import Rows
from opis_cli.engines import Tally
from opis_cli.keys import Arrangement
from opis_cli.records import Grid, Halves, Ints, PairCounts

POINTS = 128
"""Thresholds of the calibration range at which halves are compared, at most."""

_SIDES = {"numpy": 64, "numba": 256}


def count(
    rows: Rows,
    arranged: Arrangement,
    counts: PairCounts,
    tally: Tally,
    span: tuple[float, float],
    engine: str,
    threads: int,
) -> Halves | None:
    """Accepted pairs of the halves of every split class, over the calibration range.

    Parameters
    ----------
    rows : Rows
    arranged : Arrangement
    counts : PairCounts
        Of whole classes, in the order of ``arranged``.
    tally : Tally
        Whose impostors are summed up to each threshold, those of second halves apart.
    span : (float, float)
        Ends of the calibration range, as distances.
    engine : str
        That which counted all pairs.
    threads : int
    """
    split = arranged.split
    if len(split) == 0:
        return None
    thresholds = counts.grid.class_thresholds
    inside = np.flatnonzero((thresholds >= span[0]) & (thresholds <= span[1]))
    columns = inside[np.linspace(0, len(inside) - 1, min(POINTS, len(inside))).astype(int)]
    second = tally.impostor[len(counts.sizes) :, columns]
    first = counts.impostor[np.ix_(split, columns)] - second
    sizes = np.bincount(rows.keys, minlength=len(tally.impostor)).astype(np.int64)
    return Halves(
        classes=split,
        sizes=np.stack([sizes[split], sizes[len(counts.sizes) :]]),
        thresholds=thresholds[columns],
        genuine=_genuine(rows, split, len(counts.sizes), thresholds[columns], engine, threads),
        impostor=np.stack([first, second]),
    )


def _genuine(
    rows: Rows, split: Ints, classes: int, thresholds: Curve, engine: str, threads: int
) -> Ints:
    """Accepted pairs inside the first and the second half of each split class, (2, S, P)."""
    # Here a half is what a class is elsewhere; the rows of a class are sorted by half.
    labels = np.cumsum(np.diff(rows.keys, prepend=rows.keys[:1]) != 0).astype(np.int32)
    grid = Grid(
        np.append(thresholds, max(rows.largest_distance, thresholds[-1] * (1 + 1e-6))),
        len(thresholds) + 1,
        np.arange(len(thresholds) + 1),
    )
    apart = dataclasses.replace(rows, labels=labels, keys=labels)
    # So few pairs are soonest counted here, whatever device or cluster counted all.
    local = "numpy" if engine == "numpy" else "numba"
    tiles = engines.tiles_along(apart.class_ends, _SIDES[local])
    tally = Tally.empty(apart, grid)
    engines.load(local).count_pairs(apart, grid, tiles, tally, threads, lambda pairs: None)
    label_of_key = np.zeros(classes + len(split), np.int64)
    label_of_key[rows.keys] = labels
    accepted = np.cumsum(tally.genuine, axis=1)[:, :-1] // 2
    wanted = np.stack([label_of_key[split], label_of_key[classes:]])
    return np.asarray(accepted[wanted])
