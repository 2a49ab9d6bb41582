"""Whole classes drawn at random, so that the cost does not grow with the data.

All pairs of the classes drawn are counted: each class is compared with a random gallery, the other
ones drawn, and what is found is an estimate whose intervals, with the class as the unit, are those
of any evaluation.
"""

from dataclasses import dataclass

import numpy as np

from opis_cli.embeddings import arrow
from opis_cli.embeddings.columns import check_lengths
from opis_cli.errors import InputError
from opis_cli.records import Ints

_TRIES = 100
_DEVIATIONS = 2.0


def draw(labels: Ints, max_pairs: int, seed: int) -> Ints | None:
    """Rows of classes drawn at random that make at most so many pairs; None if all rows do.

    Parameters
    ----------
    labels : ndarray of shape (N,)
        Class of each row; negative where it has none. Such rows are never drawn.
    max_pairs : int
    seed : int

    Returns
    -------
    ndarray of shape (n,), int64, or None
        Row numbers, rising.

    Raises
    ------
    InputError
        A class has more pairs by itself, or two classes have.
    """
    sizes = np.bincount(labels[labels >= 0]).astype(np.int64)
    if _pairs(int(sizes.sum())) <= max_pairs:
        return None
    if _pairs(int(sizes.max())) > max_pairs:
        raise InputError(
            f"--max-pairs {max_pairs:,}: one class of {sizes.max():,} rows has "
            f"{_pairs(int(sizes.max())):,} pairs by itself; classes are drawn whole, so give many "
            "times as much"
        )
    rng = np.random.default_rng([seed, 2])
    there = np.flatnonzero(sizes)
    count = _how_many(sizes[there], max_pairs)
    while count >= 2:
        for _ in range(_TRIES):
            chosen = rng.choice(there, count, replace=False)
            if _pairs(int(sizes[chosen].sum())) <= max_pairs:
                wanted = np.zeros(len(sizes), np.bool_)
                wanted[chosen] = True
                return np.flatnonzero((labels >= 0) & wanted[labels])
        count = count * 9 // 10
    raise InputError(
        f"--max-pairs {max_pairs:,}: too few for two of these {len(there):,} classes, which have "
        f"{sizes[there].mean():.3g} rows on average; give more"
    )


def _pairs(rows: int) -> int:
    return rows * (rows - 1) // 2


def _how_many(sizes: Ints, max_pairs: int) -> int:
    """Classes to draw: as many as make at most so many pairs in all draws but about one in fifty.

    Draws that make more are drawn again, which happens to large classes more than to small ones:
    so it must be rare. ``m`` of ``K`` classes have ``m mean`` rows on average, with a variance of
    ``m (K - m) / (K - 1)`` times that of the sizes.
    """
    count = len(sizes)
    drawn = np.arange(1, count + 1, dtype=np.float64)
    spread = np.sqrt(drawn * (count - drawn) / max(count - 1, 1)) * sizes.std()
    rows = drawn * sizes.mean() + _DEVIATIONS * spread
    return max(2, int(np.count_nonzero(rows * (rows - 1) / 2 <= max_pairs)))


@dataclass(frozen=True, slots=True)
class Sample:
    """Rows of classes drawn at random: their numbers and labels, and what they were drawn from."""

    rows: Ints
    labels: arrow.Array
    source_rows: int
    source_classes: int

    @classmethod
    def of(
        cls, labels: arrow.Array, where: str, max_pairs: int | None, seed: int
    ) -> "Sample | None":
        """A sample that makes at most so many pairs; None where none is wanted, or needed.

        Rows without a label are not drawn, but kept, as it is ``clean`` that deals with them.
        """
        if max_pairs is None:
            return None
        codes, names = arrow.encode_labels(labels, where)
        rows = draw(codes, max_pairs, seed)
        if rows is None:
            return None
        rows = np.union1d(rows, np.flatnonzero(codes < 0))
        return cls(rows, labels.take(rows), len(codes), len(names))

    def take(self, values: arrow.Array, where: str) -> arrow.Array:
        """Values of a column of the source, of the rows of the sample alone."""
        check_lengths(len(values), self.source_rows, where, "values")
        return values.take(self.rows)
