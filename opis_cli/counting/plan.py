"""Which pairs there are, and how an engine that knows nothing of it counts just these.

Rows are sorted so that the pairs there are fill *blocks*, which are counted tile by tile:

============== =====================================================
all rows       one triangle
within tenants a triangle for each tenant
a gallery      a rectangle of queries and gallery, one for each tenant
folds          a triangle for each fold, and rectangles between them
============== =====================================================

An engine judges a pair by labels, and wants rows sorted by them. Inside a tenant that holds where
labels are those of tenant and class together. With a gallery it does not: there a first pass takes
all pairs for impostors and vetoes the genuine ones, and a second takes just these, a block for
each class. Every pair is credited to two keys; rows of a gallery have keys of their own, whose
counts are thrown away.

Pairs that are left out are *vetoed*: they land in the last cell of the histograms, where nobody's
nearest row is, and their number, which is known, is taken off it. So no distance is compared twice.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opis_cli.counting.rows import Rows, prepare
from opis_cli.counting.tally import Tally, Tile, cut
from opis_cli.errors import InputError
from opis_cli.records import Embeddings, Ints
from opis_cli.settings import Settings


@dataclass(frozen=True, slots=True)
class Pass:
    """Rows as an engine is to see them, and the blocks of pairs to count.

    ``fold`` is the number of the fold that all the pairs lie inside of, if there is one.
    """

    rows: Rows
    blocks: tuple[Tile, ...]
    fold: int | None = None

    def tiles(self, side: int) -> Iterator[Tile]:
        """The pairs in tiles of at most so many rows a side."""
        return (tile for block in self.blocks for tile in cut(block, side))

    @property
    def pairs(self) -> int:
        """Pairs in all blocks, vetoed ones too."""
        return sum(block.pairs for block in self.blocks)


@dataclass(frozen=True, slots=True)
class Spans:
    """Rows ``first:last`` for each of some rows, arrays of shape (Q,)."""

    first: Ints
    last: Ints

    @property
    def sizes(self) -> Ints:
        """How many rows each has, shape (Q,)."""
        return self.last - self.first


@dataclass(frozen=True, slots=True)
class Plan:
    """The pairs there are, and the passes that count them.

    Rows are in the order of ``rows``: Q that search, then the gallery, if there is one. Six rows of
    the classes a and b, of two tenants, where rows that share a photo (p) are no pair::

        row     0   1   2   3   4   5         others  alike   genuine  impostor  left out
        tenant  1   1   1   1   2   2
        class   a   a   b   b   a   b
        photo   p   p   .   .   .   .

        0 1a    .   v   i   i                 0:4     0:2     0        2         1 genuine
        1 1a        .   i   i                 0:4     0:2     0        2         1 genuine
        2 1b            .   g                 0:4     2:4     1        2         0
        3 1b                .                 0:4     2:4     1        2         0
        4 2a                    .   i         4:6     4:5     0        1         0
        5 2b                        .         4:6     5:6     0        1         0

    Two blocks hold all pairs, the triangles over rows 0:4 and 4:6. ``g`` is a genuine pair, ``i``
    an impostor, and ``v`` is vetoed: an engine counts it in the last cell, where ``settle`` takes
    it off again. ``truth`` is 0 0 1 1 2 3, that of tenant and class together. With a gallery the
    blocks are rectangles, rows that search on the left and rows of the gallery on top.

    Attributes
    ----------
    passes : tuple of Pass
    names : ndarray of shape (K,)
        Classes or groups that pairs are credited to.
    queries : int
        How many rows search, Q; N where there is no gallery.
    truth : ndarray of shape (N,), int64
        What is equal in rows that make a genuine pair, not decreasing in either part.
    others, alike : Spans
        The rows that each may be paired with, and the genuine ones among them; where there is no
        gallery both hold the row itself.
    genuine, impostor : ndarray of shape (Q,), int64
        Pairs of each row.
    left_out_genuine, left_out_impostor : ndarray of shape (Q,), int64
        Pairs of each row that share the excluded value.
    shared : ndarray of shape (N,), int32, or None
        The excluded value.
    halved : bool
        Whether genuine pairs are credited to one class twice, and so counted half.
    folds : ndarray of shape (K,), int64, or None
        Fold of each class, if they are split into folds.
    """

    passes: tuple[Pass, ...]
    names: NDArray[Any]
    queries: int
    truth: Ints
    others: Spans
    alike: Spans
    genuine: Ints
    impostor: Ints
    left_out_genuine: Ints
    left_out_impostor: Ints
    shared: NDArray[np.int32] | None
    halved: bool
    folds: Ints | None

    @property
    def rows(self) -> Rows:
        """The rows, and the keys that their pairs are credited to."""
        return self.passes[0].rows

    @property
    def keys(self) -> Ints:
        """Class or group of each row that searches, shape (Q,)."""
        return self.rows.keys[: self.queries]

    @property
    def searching(self) -> bool:
        """Whether there is a gallery."""
        return self.queries < len(self.truth)

    @property
    def ends(self) -> int:
        """Rows that a pair is credited to."""
        return 1 if self.searching else 2

    @property
    def blocks(self) -> tuple[Tile, ...]:
        """All pairs, each once, whatever passes count them."""
        return _blocks(self.others, self.queries)

    @property
    def is_plain(self) -> bool:
        """Whether every two rows are a pair."""
        every = (self.others.first == 0) & (self.others.last == len(self.truth))
        return self.shared is None and bool(every.all())

    @property
    def has_halves(self) -> bool:
        """Whether classes may be compared by their halves: these are all pairs, by class."""
        return self.is_plain and self.halved

    @property
    def excluded(self) -> int:
        """Pairs that are left out."""
        return int((self.left_out_genuine + self.left_out_impostor).sum()) // self.ends

    @property
    def pairs(self) -> int:
        """All pairs, those that are left out too."""
        return int((self.genuine + self.impostor).sum()) // self.ends + self.excluded

    def are_pairs(self, one: Ints, other: Ints) -> NDArray[np.bool_]:
        """Which rows ``one`` make a pair with which rows ``other``; they are broadcast."""
        pairs = one != other
        pairs &= (self.others.first[one] <= other) & (other < self.others.last[one])
        if self.shared is not None:
            pairs &= self.shared[one] != self.shared[other]
        return np.asarray(pairs)

    def by_key(self, values: Ints | NDArray[np.bool_]) -> Ints:
        """Sum of a number of each searching row over the rows of every key, shape (K,)."""
        total = np.bincount(self.keys, weights=values, minlength=len(self.names))
        return np.asarray(total.astype(np.int64))

    def settle(self, tally: Tally) -> Tally:
        """The tally without vetoed pairs, and without the gallery's keys."""
        vetoed = self.left_out_impostor
        if self.searching:
            vetoed = vetoed + self.genuine + self.left_out_genuine
        for credits, pooled, number in (
            (tally.genuine, tally.pooled_genuine, self.left_out_genuine),
            (tally.impostor, tally.pooled_impostor, vetoed),
        ):
            credits[: len(self.names), -1] -= self.by_key(number).astype(credits.dtype)
            pooled[-1] -= number.sum() // self.ends
        count = len(self.names)
        return replace(tally, genuine=tally.genuine[:count], impostor=tally.impostor[:count])


def plan_pairs(embeddings: Embeddings, settings: Settings, threads: int = 1) -> Plan:
    """Plan the pairs that settings ask for; rows are prepared on so many threads.

    Raises
    ------
    InputError
        There are no genuine or no impostor pairs.
    """
    columns, count = embeddings.columns, len(embeddings.labels)
    queries = count - (embeddings.gallery_rows or 0)
    tenants: Ints = np.zeros(count, np.int64)
    truth: Ints = embeddings.labels
    if settings.within_column is not None:
        tenants = columns[settings.within_column].codes
        truth = _joint(tenants, truth)
    folds = None
    if settings.folds is not None:
        folds = _folds(len(embeddings.class_names), settings.folds, settings.seed)
        # Classes are numbered by fold, so that rows of a fold stand together.
        truth = np.argsort(np.argsort(folds, kind="stable"))[truth]
    keys, names = _keys(embeddings, queries, settings.group_column)
    behind = np.arange(count) >= queries
    side = int(truth.max()) + 1
    rows = prepare(embeddings, settings.metric, keys, truth + side * behind, threads)
    truth, tenants = truth[rows.order], tenants[rows.order]
    others, alike = _spans(tenants, queries), _spans(truth, queries)
    itself = int(queries == count)
    genuine = alike.sizes - itself
    impostor = others.sizes - alike.sizes
    shared, out, out_genuine = None, np.zeros_like(genuine), np.zeros_like(genuine)
    if settings.exclude_same is not None:
        codes = _without_missing(columns[settings.exclude_same].codes)[rows.order]
        out = _mates(_joint(tenants, codes), queries)
        out_genuine = _mates(_joint(truth, codes), queries)
        shared = codes.astype(np.int32)
        rows = replace(rows, vetoes=(shared,))
    passes = _passes(rows, queries, truth, others, alike)
    if folds is not None:
        passes = _passes_of_folds(rows, folds)
    found = Plan(
        passes=passes,
        names=names,
        queries=queries,
        truth=truth,
        others=others,
        alike=alike,
        genuine=genuine - out_genuine,
        impostor=impostor - (out - out_genuine),
        left_out_genuine=out_genuine,
        left_out_impostor=out - out_genuine,
        shared=shared,
        halved=settings.group_column is None and queries == count,
        folds=folds,
    )
    _check_pairs(found, embeddings.source.path)
    return found


def _keys(embeddings: Embeddings, queries: int, group: str | None) -> tuple[Ints, NDArray[Any]]:
    """What pairs are credited to, (N,), and the names; rows of a gallery have keys beyond them.

    So few rows share one of those that 32 bits hold its counts, as they hold most others.
    """
    if group is not None:
        codes, names = embeddings.columns[group].codes, embeddings.columns[group].names
    else:
        codes, names = embeddings.labels, embeddings.class_names
    used, found = np.unique(codes[:queries], return_inverse=True)
    at_once = max(1, (2**32 - 1) // len(codes))
    keys = np.concatenate([found, len(used) + np.arange(len(codes) - queries) // at_once])
    return keys, names[used]


def _joint(one: Ints, two: Ints) -> NDArray[np.int64]:
    """Codes of the pairs of two codes, sorted by the first."""
    return np.asarray(np.unique(one * (int(two.max()) + 1) + two, return_inverse=True)[1])


def _without_missing(codes: Ints) -> Ints:
    """Codes in which every missing value is one of its own, as it is shared with nobody."""
    missing = np.flatnonzero(codes < 0)
    filled = codes.copy()
    filled[missing] = int(codes.max(initial=0)) + 1 + np.arange(len(missing))
    return filled


def _spans(codes: Ints, queries: int) -> Spans:
    """For each row that searches, the rows of equal code that it may find."""
    start = queries if queries < len(codes) else 0
    first, last = (
        start + np.searchsorted(codes[start:], codes[:queries], side) for side in ("left", "right")
    )
    return Spans(first, last)


def _mates(codes: Ints, queries: int) -> Ints:
    """For each row that searches, how many others it may find that have its code."""
    searching = queries < len(codes)
    number = np.bincount(codes[queries if searching else 0 :], minlength=int(codes.max()) + 1)
    return np.asarray(number[codes[:queries]] - (not searching))


def _blocks(spans: Spans, queries: int) -> tuple[Tile, ...]:
    """Blocks of the rows that search, each with the rows that they all may find."""
    changes = np.diff(spans.first, prepend=-1) | np.diff(spans.last, prepend=-1)
    starts = np.flatnonzero(changes)
    found = zip(
        starts.tolist(),
        [*starts[1:].tolist(), queries],
        spans.first[starts].tolist(),
        spans.last[starts].tolist(),
        strict=True,
    )
    return tuple(tile for tile in (Tile(*ends) for ends in found) if tile.pairs)


def _passes(rows: Rows, queries: int, truth: Ints, others: Spans, alike: Spans) -> tuple[Pass, ...]:
    """What engines are told: all pairs at once, or with a gallery impostors and genuine apart."""
    if queries == len(truth):
        return (Pass(rows, _blocks(others, queries)),)
    codes = truth.astype(np.int32)
    # The gallery's labels lie above all of the queries', so that every pair is an impostor.
    impostors = replace(rows, vetoes=(codes, *rows.vetoes))
    genuine = replace(rows, labels=np.zeros_like(rows.labels))
    return (
        Pass(impostors, _blocks(others, queries)),
        Pass(genuine, _blocks(alike, queries)),
    )


def _folds(classes: int, folds: int, seed: int) -> Ints:
    """A fold for each class, at random and as evenly as can be, shape (K,)."""
    if classes < 2 * folds:
        raise InputError(
            f"--folds {folds}: {classes} classes are too few; each fold needs at least two, so "
            f"give at most --folds {classes // 2}"
        )
    found = np.empty(classes, np.int64)
    # A stream of random numbers of its own: whatever else is drawn is the same without folds.
    found[np.random.default_rng([seed, 0]).permutation(classes)] = np.arange(classes) % folds
    return found


def _passes_of_folds(rows: Rows, folds: Ints) -> tuple[Pass, ...]:
    """Pairs inside each fold, fold by fold, and then those between folds."""
    ends = np.searchsorted(folds[rows.keys], np.arange(folds.max() + 1), side="right").tolist()
    blocks = [Tile(a, b, a, b) for a, b in pairwise([0, *ends])]
    inside = [Pass(rows, (block,), fold) for fold, block in enumerate(blocks)]
    between = tuple(Tile(block.a, block.b, block.b, ends[-1]) for block in blocks[:-1])
    return *inside, Pass(rows, between)


def _check_pairs(plan: Plan, where: str) -> None:
    """Refuse to go on where no genuine or no impostor pair is left."""
    for kind, number in (("genuine", plan.genuine), ("impostor", plan.impostor)):
        if not number.any():
            left = f" once {plan.excluded:,} are left out" if plan.excluded else ""
            raise InputError(
                f"{where}: there is no {kind} pair{left}; check the label column, and the columns "
                "and files that say which rows are paired"
            )
