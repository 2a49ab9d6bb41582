"""Draw rows at random, so that the cost of an evaluation does not grow with the data.

What is drawn are whole units, so that each of them keeps the pairs that its figures need:

===================== ======================== ==================================================
pairs                 unit                     what a unit is compared with
===================== ======================== ==================================================
of all rows           a class                  the other drawn classes, a random part of all
within tenants        a tenant                 itself: all its pairs are there
queries and a gallery a class of the queries   the whole gallery
===================== ======================== ==================================================

The results are estimates. For drawn classes, intervals are made as in any evaluation, with the
class as the unit.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from opis_cli.embeddings import arrow
from opis_cli.embeddings.columns import check_lengths
from opis_cli.embeddings.ignored import rows_with
from opis_cli.errors import InputError
from opis_cli.records import Embeddings, Ints, SampledFrom

_DEVIATIONS = 2.0
"""Standard deviations of the work of the drawn units that must still be within the limit."""
LEAST_TENANTS = 20
"""Fewest tenants to draw. Fewer say little about the others, and no interval tells how little."""


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """The units that a sample is drawn from.

    Attributes
    ----------
    of_row : ndarray of shape (N,), int64
        Unit of each row, negative if it has none. Rows without a unit are never drawn.
    weights : ndarray of shape (U,), int64
        Weight of each unit: its rows if all drawn rows are paired, else its pairs.
    paired : bool
        Whether all drawn rows are paired. Pairs then grow with the square of the weights.
    name : str
        What a unit is called in messages.
    least : int
        Fewest units that make a sample.
    """

    of_row: Ints
    weights: Ints
    paired: bool = True
    name: str = "class"
    least: int = 2

    @classmethod
    def of_classes(cls, labels: Ints) -> "Units":
        """Return classes whose rows are paired with those of all drawn classes."""
        return cls(labels, _sums(labels, np.ones_like(labels)))

    @classmethod
    def of_tenants(cls, tenants: Ints) -> "Units":
        """Return tenants whose rows are paired among themselves."""
        sizes = _sums(tenants, np.ones_like(tenants))
        return cls(tenants, sizes * (sizes - 1) // 2, False, "tenant", LEAST_TENANTS)

    @classmethod
    def of_queries(cls, labels: Ints, partners: Ints) -> "Units":
        """Return classes of queries. ``partners`` has the gallery rows of each query, (N,)."""
        return cls(labels, _sums(labels, partners), False, "class of queries")

    @property
    def total(self) -> int:
        """Number of pairs of all units."""
        return int(self.pairs(self.weights.sum(keepdims=True))[0])

    def pairs(self, weights: Ints) -> Ints:
        """Return the number of pairs of units that together weigh so much."""
        return weights * (weights - 1) // 2 if self.paired else weights


def _sums(codes: Ints, values: Ints) -> Ints:
    """Sum the values by code, without rows of a negative code."""
    there = codes >= 0
    found: Ints = np.bincount(codes[there], weights=values[there]).astype(np.int64)
    return found


class TooFew(InputError):
    """The limit has no room for a sample. ``needed`` is a number of pairs that has."""

    def __init__(self, message: str, needed: int) -> None:
        super().__init__(message)
        self.needed = needed


def draw(units: Units, max_pairs: int, seed: int) -> Ints | None:
    """Draw units at random that make at most ``max_pairs`` pairs, and return their rows.

    With fewer pairs, the same seed draws a part of the same units.

    Returns
    -------
    ndarray of shape (n,), int64, or None
        Row numbers in ascending order. None if all rows make no more pairs than the limit.

    Raises
    ------
    TooFew
        The largest unit has more pairs by itself, or too few units are within the limit.
    """
    if units.total <= max_pairs:
        return None
    there = np.unique(units.of_row[units.of_row >= 0])
    order = there[np.random.default_rng([seed, 2]).permutation(len(there))]
    weights, name = units.weights[order], units.name
    largest, needed = int(units.pairs(weights).max()), _least_pairs(units, weights)
    if largest > max_pairs:
        raise TooFew(
            f"--max-pairs={max_pairs}: one {name} has {largest:,} pairs by itself, and each is "
            f"drawn whole; give {needed:,} or, better, many times as much",
            needed,
        )
    # A sum that exceeds the limit is cut short. That happens to large units more often than to
    # small ones, and so makes the sample biased. So `_how_many` makes it rare.
    count = min(
        max(_how_many(units, weights, max_pairs), 2),
        int(np.searchsorted(units.pairs(np.cumsum(weights)), max_pairs, side="right")),
    )
    if count < units.least:
        raise TooFew(
            f"--max-pairs={max_pairs}: too few; of {len(there):,} units to draw (each a {name}) "
            f"there is room for {count}, and a sample takes at least {units.least}; give "
            f"{needed:,} or more",
            needed,
        )
    wanted = np.zeros(len(units.weights), np.bool_)
    wanted[order[:count]] = True
    return np.flatnonzero((units.of_row >= 0) & wanted[units.of_row])


def _how_many(units: Units, weights: Ints, max_pairs: int) -> int:
    """Return the number of units to draw, so that about one draw in fifty exceeds the limit."""
    fitting = units.pairs(_usual_weights(weights)) <= max_pairs
    return int(np.count_nonzero(fitting))


def _usual_weights(weights: Ints) -> Ints:
    """Return the weight that 1, 2, ... drawn units hardly exceed.

    ``m`` of ``U`` units weigh ``m * mean`` on average, with a variance of ``m (U - m) / (U - 1)``
    times the variance of the weights.
    """
    count = len(weights)
    drawn = np.arange(1, count + 1, dtype=np.float64)
    spread = np.sqrt(drawn * (count - drawn) / max(count - 1, 1)) * weights.std()
    found: Ints = np.ceil(drawn * weights.mean() + _DEVIATIONS * spread).astype(np.int64)
    return found


def _least_pairs(units: Units, weights: Ints) -> int:
    """Return a number of pairs, of two digits, with which a sample has enough units."""
    if len(weights) <= units.least:
        return units.total
    place = units.least - 1
    enough = max(_usual_weights(weights)[place], np.cumsum(weights)[place], weights.max())
    return _rounded_up(int(units.pairs(np.array([enough]))[0]))


def _rounded_up(number: int) -> int:
    """Return the least number of two digits and zeros that is not below ``number``."""
    unit = int(10 ** max(len(str(number)) - 2, 0))
    return -(-number // unit) * unit


@dataclass(frozen=True, slots=True)
class Extent:
    """How much there is to evaluate, known before vectors are read.

    Attributes
    ----------
    rows, classes, dim : int
        Rows of the source, its classes, and dimensions of a vector.
    bits : bool
        Whether a number of a vector may hold eight bits.
    pairs : int
        Pairs of all rows.
    paired : bool
        Whether all rows are paired. Else pairs grow in proportion to rows.
    """

    rows: int
    classes: int
    dim: int
    bits: bool
    pairs: int
    paired: bool


class Allowance(Protocol):
    """A limit on time, as a limit on pairs."""

    def most_pairs(self, extent: Extent) -> int:
        """Return the most pairs that there is time for from now on."""

    def too_short(self, extent: Extent, needed: int) -> InputError:
        """Return the error that there is no time for so many pairs."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """What to draw a sample by.

    Attributes
    ----------
    max_pairs : int, optional
    seed : int
    ignored : str, optional
        Label of rows that belong to no class.
    within : str, optional
        Column of tenants.
    gallery : Embeddings, optional
        The gallery that the rows are searched in.
    allowance : Allowance, optional
        The time that there is.
    """

    max_pairs: int | None = None
    seed: int = 0
    ignored: str | None = None
    within: str | None = None
    gallery: Embeddings | None = None
    allowance: Allowance | None = None

    @property
    def wanted(self) -> bool:
        """Whether a sample may be drawn at all."""
        return self.max_pairs is not None or self.allowance is not None

    def draw(self, units: Units, extent: Extent) -> tuple[Ints | None, int]:
        """Draw units, and return their rows, or None if all may be counted, and the limit.

        Raises
        ------
        InputError
            There is no room for a sample.
        """
        limit = extent.pairs if self.max_pairs is None else self.max_pairs
        timed = None if self.allowance is None else self.allowance.most_pairs(extent)
        if timed is None or timed >= limit:
            return draw(units, limit, self.seed), limit
        try:
            return draw(units, timed, self.seed), timed
        except TooFew as error:
            assert self.allowance is not None
            raise self.allowance.too_short(extent, error.needed) from None


@dataclass(frozen=True, slots=True)
class Sample:
    """The rows of units that were drawn at random.

    Attributes
    ----------
    rows : ndarray of shape (n,), int64
        Numbers of the rows in the source, in ascending order.
    labels : Arrow array of length n
    source : SampledFrom
    """

    rows: Ints
    labels: arrow.Array
    source: SampledFrom

    @classmethod
    def of(
        cls,
        labels: arrow.Array,
        where: str,
        asked: Drawing,
        columns: Mapping[str, arrow.Array],
        width: Callable[[], tuple[int, int]],
    ) -> "Sample | None":
        """Draw a sample, or return None if none is needed.

        Rows without a label, or with the ignored one, belong to no class. They are all kept,
        because ``clean`` deals with them.

        Parameters
        ----------
        labels : Arrow array of length N
        where : str
            The source of the labels, for messages.
        asked : Drawing
        columns : mapping of names to Arrow arrays of length N
        width : callable
            Returns the dimensions of a vector, and the bytes of a number of it.
        """
        if not asked.wanted:
            return None
        codes, _ = arrow.encode_labels(labels, where)
        codes = np.where(rows_with(labels, asked.ignored), -1, codes)
        units = _units_of(codes, where, asked, columns)
        classes = int(np.count_nonzero(np.bincount(codes[codes >= 0])))
        dim, size = (0, 0) if asked.allowance is None else width()
        extent = Extent(len(codes), classes, dim, size == 1, units.total, units.paired)
        rows, limit = asked.draw(units, extent)
        if rows is None:
            return None
        rows = np.union1d(rows, np.flatnonzero(units.of_row < 0))
        tenants = len(np.unique(units.of_row[units.of_row >= 0]))
        source = SampledFrom(
            len(codes), classes, limit, tenants if units.name == "tenant" else None
        )
        return cls(rows, labels.take(rows), source)

    def take(self, values: arrow.Array, where: str) -> arrow.Array:
        """Return the values of a column of the source for the rows of the sample."""
        check_lengths(len(values), self.source.rows, where, "values")
        return values.take(self.rows)


def _units_of(codes: Ints, where: str, asked: Drawing, columns: Mapping[str, arrow.Array]) -> Units:
    """Return the units to draw, given the class of each row, negative if it has none."""
    gallery, within = asked.gallery, asked.within
    if within is None:
        if gallery is None:
            return Units.of_classes(codes)
        return Units.of_queries(codes, np.full(len(codes), len(gallery.labels)))
    check_lengths(len(columns[within]), len(codes), where, "values")
    tenants = arrow.column_of(columns[within], f"{where}, column {within!r}")
    if gallery is None:
        return Units.of_tenants(np.where(codes < 0, -1, tenants.codes))
    other = gallery.columns[within]
    sizes = np.bincount(other.codes, minlength=len(other.names)).tolist()
    there = dict(zip(other.names.tolist(), sizes, strict=True))
    # A missing tenant has code -1, and so takes the appended 0.
    partners = np.array([there.get(name, 0) for name in tenants.names.tolist()] + [0])
    return Units.of_queries(codes, partners[tenants.codes])
