"""Draw whole classes at random, so that the cost of an evaluation does not grow with the data.

All pairs of the drawn classes are counted. So each class is compared with a random gallery, namely
the other drawn classes. The results are estimates. Their intervals are made as in any evaluation,
with the class as the unit.
"""

from dataclasses import dataclass

import numpy as np

from opis_cli.embeddings import arrow
from opis_cli.embeddings.columns import check_lengths
from opis_cli.embeddings.ignored import rows_with
from opis_cli.errors import InputError
from opis_cli.records import Ints

_TRIES = 100
"""Draws of one number of classes, before fewer classes are tried."""
_DEVIATIONS = 2.0
"""Standard deviations of the number of drawn rows that must still be within the limit."""


def draw(labels: Ints, max_pairs: int, seed: int) -> Ints | None:
    """Draw classes at random that make at most ``max_pairs`` pairs, and return their rows.

    Parameters
    ----------
    labels : ndarray of shape (N,)
        Class of each row, negative if it has none. Rows without a class are never drawn.
    max_pairs : int
    seed : int

    Returns
    -------
    ndarray of shape (n,), int64, or None
        Row numbers in ascending order. None if all rows make no more pairs than the limit.

    Raises
    ------
    InputError
        The largest class has more pairs by itself, or no two classes were found within the limit.
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
    """Return the number of classes to draw, so that about one draw in fifty exceeds the limit.

    A draw with too many pairs is rejected and drawn again. That happens to large classes more often
    than to small ones and so makes the sample biased. So it must be rare. ``m`` of ``K`` classes
    have ``m * mean`` rows on average, with a variance of ``m (K - m) / (K - 1)`` times the variance
    of the sizes.
    """
    count = len(sizes)
    drawn = np.arange(1, count + 1, dtype=np.float64)
    spread = np.sqrt(drawn * (count - drawn) / max(count - 1, 1)) * sizes.std()
    rows = drawn * sizes.mean() + _DEVIATIONS * spread
    return max(2, int(np.count_nonzero(rows * (rows - 1) / 2 <= max_pairs)))


@dataclass(frozen=True, slots=True)
class Sample:
    """The rows of classes that were drawn at random.

    Attributes
    ----------
    rows : ndarray of shape (n,), int64
        Numbers of the rows in the source, in ascending order.
    labels : Arrow array of length n
    source_rows, source_classes : int
        Numbers of rows and of classes in the source.
    """

    rows: Ints
    labels: arrow.Array
    source_rows: int
    source_classes: int

    @classmethod
    def of(
        cls,
        labels: arrow.Array,
        where: str,
        max_pairs: int | None,
        seed: int,
        ignored: str | None = None,
    ) -> "Sample | None":
        """Draw a sample of at most ``max_pairs`` pairs, or return None if none is needed.

        Rows without a label, or with the ignored one, belong to no class. They are all kept,
        because ``clean`` deals with them.
        """
        if max_pairs is None:
            return None
        codes, _ = arrow.encode_labels(labels, where)
        codes = np.where(rows_with(labels, ignored), -1, codes)
        rows = draw(codes, max_pairs, seed)
        if rows is None:
            return None
        rows = np.union1d(rows, np.flatnonzero(codes < 0))
        classes = np.count_nonzero(np.bincount(codes[codes >= 0]))
        return cls(rows, labels.take(rows), len(codes), int(classes))

    def take(self, values: arrow.Array, where: str) -> arrow.Array:
        """Return the values of a column of the source for the rows of the sample."""
        check_lengths(len(values), self.source_rows, where, "values")
        return values.take(self.rows)
