"""Decide which rows are paired, and present these pairs in a form that every engine can count.

The settings restrict the pairs: to rows of the same tenant, to queries and a gallery, to rows that
do not share an excluded value. Engines know nothing of these settings. They count the pairs of
rectangles of rows, and take a pair as genuine if its two labels are equal. A plan translates the
settings into such terms, in three steps.

*Blocks.* Rows are sorted so that the wanted pairs fill a few rectangles and triangles, which are
counted tile by tile:

============== =====================================================
all rows       one triangle
within tenants a triangle for each tenant
a gallery      a rectangle of queries and gallery, one for each tenant
folds          a triangle for each fold, and rectangles between them
============== =====================================================

*Passes.* An engine needs rows sorted by label. Within tenants, a label stands for tenant and class
together, so the order by label keeps each tenant together. With a gallery, equal labels cannot
stand side by side, because the gallery lies behind the queries. So the pairs are counted in two
passes. The first pass treats all pairs as impostors and vetoes the genuine ones. The second pass
counts only the genuine ones, with a block for each class.

*Keys and vetoes.* A pair is credited to the keys of both rows, which are classes or groups. Rows of
a gallery have keys of their own, whose counts are thrown away. A pair that is left out is
*vetoed*: the engine counts it in the last cell of the histograms, and never as a nearest row.
``Plan.settle`` subtracts the number of vetoed pairs, which is known from the columns alone. So the
distance of a pair is never computed a second time to leave the pair out.

Read ``Plan`` with its example first, then ``plan_pairs``, and then ``passes_of``.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opis_cli.counting.groups import Groups, Planned, groups_of, pairs_between, passes_by_group
from opis_cli.counting.passes import Pass, Spans, blocks_of, passes_of, passes_of_folds, spans_of
from opis_cli.counting.rows import Rows, prepare
from opis_cli.counting.tally import Tally, Tile
from opis_cli.errors import InputError
from opis_cli.records import Embeddings, Ints
from opis_cli.settings import Settings


@dataclass(frozen=True, slots=True)
class Plan:
    """The pairs to count, and the passes that count them.

    Rows are in the order of ``rows``: first the Q searching rows (the queries), then the gallery,
    if there is one. As an example, take six rows of the classes a and b, of two tenants, where two
    rows that share a photo (p) must not be paired::

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

    Two blocks hold all pairs: the triangles over rows 0:4 and 4:6. ``g`` is a genuine pair, and
    ``i`` is an impostor pair. ``v`` is a vetoed pair: an engine counts it in the last cell, and
    ``settle`` subtracts it there. ``truth`` is 0 0 1 1 2 3, one number for each tenant and class.
    With a gallery the blocks are rectangles, with queries as rows and the gallery as columns.

    Attributes
    ----------
    rows : Rows
        The rows, with the keys that their pairs are credited to.
    passes : tuple of Pass
    names : ndarray of shape (K,)
        Classes or groups that pairs are credited to.
    queries : int
        Number of searching rows, Q. It is N if there is no gallery.
    truth : ndarray of shape (N,), int64
        Two rows make a genuine pair if this number is equal. It does not decrease among the
        searching rows, nor within the gallery.
    others, alike : Spans
        For each searching row, the rows that it may be paired with, and the rows of the same
        ``truth`` among them. If there is no gallery, both ranges contain the row itself.
    genuine, impostor : ndarray of shape (Q,), int64
        Number of pairs of each searching row, without those that are left out.
    left_out_genuine, left_out_impostor : ndarray of shape (Q,), int64
        Number of pairs of each searching row that are left out for their shared value.
    vetoed_genuine : ndarray of shape (Q,), int64
        Number of genuine pairs of each searching row, with those that are left out, that are first
        vetoed as impostors and then counted in another pass.
    shared : ndarray of shape (N,), int32, or None
        Code of the value that the rows of a pair must not share.
    halved : bool
        Whether a genuine pair is credited to the same class twice, so that counts must be halved.
    folds : ndarray of shape (K,), int64, or None
        Fold of each class, if the classes are split into folds.
    groups : Planned or None
        The groups, if pairs are counted by pair of groups.
    """

    rows: Rows
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
    vetoed_genuine: Ints
    shared: NDArray[np.int32] | None
    halved: bool
    folds: Ints | None
    groups: Planned | None

    @property
    def keys(self) -> Ints:
        """Class or group of each searching row, shape (Q,)."""
        return self.rows.keys[: self.queries]

    @property
    def searching(self) -> bool:
        """Whether there is a gallery."""
        return self.queries < len(self.truth)

    @property
    def ends(self) -> int:
        """How many searching rows a pair has: 1 with a gallery, else 2."""
        return 1 if self.searching else 2

    @property
    def blocks(self) -> tuple[Tile, ...]:
        """Blocks that hold every pair once, regardless of the passes."""
        return blocks_of(self.others, self.queries)

    @property
    def is_plain(self) -> bool:
        """Whether every two rows are paired, so that no setting restricts the pairs."""
        every = (self.others.first == 0) & (self.others.last == len(self.truth))
        return self.shared is None and bool(every.all())

    @property
    def has_halves(self) -> bool:
        """Whether halves of classes can be counted: all rows are paired, and keys are classes."""
        return self.is_plain and self.halved

    @property
    def tenants(self) -> Ints:
        """For each row, the first row of the tenant that it searches or lies in, shape (N,)."""
        found = np.zeros(len(self.truth), np.int64)
        found[: self.queries] = self.others.first
        if self.searching:
            # The queries of a tenant search the range of its gallery rows.
            first = np.unique(self.others.first)
            rows = np.arange(self.queries, len(found))
            place = np.searchsorted(first, rows, side="right") - 1
            found[self.queries :] = first[np.maximum(place, 0)]
        return found

    @property
    def excluded(self) -> int:
        """Number of pairs that are left out."""
        return int((self.left_out_genuine + self.left_out_impostor).sum()) // self.ends

    @property
    def pairs(self) -> int:
        """Number of all pairs, with those that are left out."""
        return int((self.genuine + self.impostor).sum()) // self.ends + self.excluded

    def are_pairs(self, one: Ints, other: Ints) -> NDArray[np.bool_]:
        """Return whether rows ``one`` and rows ``other`` are paired; the two are broadcast."""
        pairs = one != other
        pairs &= (self.others.first[one] <= other) & (other < self.others.last[one])
        if self.shared is not None:
            pairs &= self.shared[one] != self.shared[other]
        return np.asarray(pairs)

    def sides(self, one: Ints, two: Ints, *, apart: bool) -> Iterator[tuple[Ints, Ints]]:
        """Yield the rows of two sets to compare, so that the first of them search in the second.

        ``apart`` says that the two sets differ. Without a gallery they are yielded as they are.
        """
        if not self.searching:
            yield one, two
            return
        yield one[one < self.queries], two[two >= self.queries]
        if apart:
            yield two[two < self.queries], one[one >= self.queries]

    def by_key(self, values: Ints | NDArray[np.bool_]) -> Ints:
        """Sum a number of each searching row over the rows of each key, shape (K,)."""
        total = np.bincount(self.keys, weights=values, minlength=len(self.names))
        return np.asarray(total.astype(np.int64))

    def settle(self, tally: Tally) -> Tally:
        """Subtract the vetoed pairs from a tally, and drop the keys of the gallery.

        The given tally is changed in place. The result shares its arrays.
        """
        vetoed = self.left_out_impostor + self.vetoed_genuine
        for credits, pooled, number in (
            (tally.genuine, tally.pooled_genuine, self.left_out_genuine),
            (tally.impostor, tally.pooled_impostor, vetoed),
        ):
            credits[: len(self.names), -1] -= self.by_key(number).astype(credits.dtype)
            pooled[-1] -= number.sum() // self.ends
        count = len(self.names)
        return replace(tally, genuine=tally.genuine[:count], impostor=tally.impostor[:count])


def plan_pairs(embeddings: Embeddings, settings: Settings, threads: int = 1) -> Plan:
    """Plan the pairs that the settings ask for, and prepare the rows on some threads.

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
        # Classes are numbered in the order of their folds, so that the rows of a fold are adjacent.
        truth = np.argsort(np.argsort(folds, kind="stable"))[truth]
    groups, then = groups_of(embeddings, settings.group_column), None
    if groups is not None:
        then = groups.codes
        truth = _grouped(tenants, truth, groups.codes)
    keys, names = _keys(embeddings, queries, settings.group_column, groups)
    behind = np.arange(count) >= queries
    side = int(truth.max()) + 1
    labels = truth + side * behind
    rows = prepare(embeddings, settings.metric, keys, labels, threads, then=then)
    truth, tenants = truth[rows.order], tenants[rows.order]
    others, alike = spans_of(tenants, queries), spans_of(truth, queries)
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
    passes = passes_of(rows, queries, truth, others, alike)
    vetoed_genuine = alike.sizes if queries < count else np.zeros_like(genuine)
    planned = None
    if folds is not None:
        passes = passes_of_folds(rows, folds)
    elif groups is not None:
        codes = groups.codes[rows.order]
        passes, vetoed_genuine = passes_by_group(
            rows, queries, truth, tenants, codes, others, alike
        )
        planned = _planned(rows, queries, truth, tenants, shared, replace(groups, codes=codes))
    found = Plan(
        rows=rows,
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
        vetoed_genuine=vetoed_genuine,
        shared=shared,
        halved=settings.group_column is None and queries == count,
        folds=folds,
        groups=planned,
    )
    _check_pairs(found, embeddings.source.path)
    return found


def _grouped(tenants: Ints, truth: Ints, groups: Ints) -> NDArray[np.int64]:
    """Renumber classes in the order of tenants, then of the first group that each class lies in."""
    first = np.full(int(truth.max()) + 1, groups.max())
    np.minimum.at(first, truth, groups)
    return _joint(tenants, _joint(first[truth], truth))


def _planned(
    rows: Rows,
    queries: int,
    truth: Ints,
    tenants: Ints,
    shared: NDArray[np.int32] | None,
    groups: Groups,
) -> Planned:
    """Return what counting by pair of groups needs; all arrays are in the order of the rows."""

    def pairs(codes: Ints) -> Ints:
        return pairs_between(codes, groups.codes, groups.number, queries)

    genuine = pairs(truth)
    impostor = pairs(tenants) - genuine
    if shared is not None:
        out_genuine = pairs(_joint(truth, shared))
        impostor -= pairs(_joint(tenants, shared)) - out_genuine
        genuine -= out_genuine
    second = queries if queries < len(truth) else 0
    keys, first = np.unique(rows.keys[second:], return_index=True)
    of_keys = groups.codes[second:][first]
    named = of_keys < len(groups.names)
    return Planned(
        names=groups.names,
        others=groups.others,
        keys=keys[named],
        of_keys=of_keys[named],
        searching=queries < len(truth),
        genuine=genuine,
        impostor=impostor,
    )


def _keys(
    embeddings: Embeddings, queries: int, group: str | None, groups: Groups | None
) -> tuple[Ints, NDArray[Any]]:
    """Return the key of each row, shape (N,), and the names of the keys of searching rows.

    Rows of the gallery get keys above those that have names. Each such key is shared by so few rows
    that its counts fit 32 bits, so that these keys do not force wider integers on the whole tally.
    Rows that share one are of one group.
    """
    if group is not None:
        codes, names = embeddings.columns[group].codes, embeddings.columns[group].names
    else:
        codes, names = embeddings.labels, embeddings.class_names
    used, found = np.unique(codes[:queries], return_inverse=True)
    at_once = max(1, (2**32 - 1) // len(codes))
    behind = np.zeros_like(codes[queries:]) if groups is None else groups.codes[queries:]
    place = np.empty(len(behind), np.int64)
    place[np.argsort(behind, kind="stable")] = np.arange(len(behind))
    return np.concatenate([found, len(used) + _joint(behind, place // at_once)]), names[used]


def _joint(one: Ints, two: Ints) -> NDArray[np.int64]:
    """Return one code for each combination of two codes, in the order of the first code."""
    both = one * (int(two.max(initial=0)) + 1) + two
    return np.asarray(np.unique(both, return_inverse=True)[1])


def _without_missing(codes: Ints) -> Ints:
    """Give every missing value (a code below 0) a code of its own, so that no rows share it."""
    missing = np.flatnonzero(codes < 0)
    filled = codes.copy()
    filled[missing] = int(codes.max(initial=0)) + 1 + np.arange(len(missing))
    return filled


def _mates(codes: Ints, queries: int) -> Ints:
    """For each searching row, count the other rows of equal code it is compared with."""
    searching = queries < len(codes)
    number = np.bincount(codes[queries if searching else 0 :], minlength=int(codes.max()) + 1)
    return np.asarray(number[codes[:queries]] - (not searching))


def _folds(classes: int, folds: int, seed: int) -> Ints:
    """Draw a fold for each class at random, as evenly as possible, shape (K,)."""
    if classes < 2 * folds:
        raise InputError(
            f"--folds={folds}: {classes} classes are too few; each fold needs at least two, so "
            f"give at most --folds={classes // 2}"
        )
    found = np.empty(classes, np.int64)
    # A separate stream of random numbers, so that all other draws are the same with and without
    # folds.
    found[np.random.default_rng([seed, 0]).permutation(classes)] = np.arange(classes) % folds
    return found


def _check_pairs(plan: Plan, where: str) -> None:
    """Refuse to go on if no genuine or no impostor pair is left."""
    for kind, number in (("genuine", plan.genuine), ("impostor", plan.impostor)):
        if not number.any():
            left = f" once {plan.excluded:,} are left out" if plan.excluded else ""
            raise InputError(
                f"{where}: there is no {kind} pair{left}; check the label column, and the columns "
                "and files that say which rows are paired"
            )
