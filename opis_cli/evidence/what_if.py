"""Counts as they would be without some rows, or with some classes merged, on the same grid.

Only the pairs that change are counted. The pairs of the rows that are left out are subtracted, and
the pairs between merged classes turn from impostor pairs into genuine ones. What remains equals a
count of the changed rows on the grid of the first count.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from opis_cli.counting import engines, halves
from opis_cli.counting.passes import Pass, passes_of, spans_of
from opis_cli.counting.plan import Plan, plan_pairs
from opis_cli.counting.rows import Rows
from opis_cli.counting.tally import Tally
from opis_cli.errors import InputError
from opis_cli.records import Embeddings, Ints, PairCounts
from opis_cli.settings import Settings

Marks = NDArray[np.bool_]

_VALUES = 1 << 21
"""Scores that are held at a time."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Counts, and what they were counted from.

    Attributes
    ----------
    embeddings : Embeddings
    settings : Settings
    plan : Plan
    counts : PairCounts
    """

    embeddings: Embeddings
    settings: Settings
    plan: Plan
    counts: PairCounts


def what_if(
    counted: Counted, left_out: Ints, merged: Ints, engine: str = "numba", threads: int = 1
) -> tuple[PairCounts | None, PairCounts | None, PairCounts | None]:
    """Return the counts without some rows, with some classes merged, and with both.

    Figures of single rows, of folds and of pairs of groups are not known for them: nearest rows,
    duplicates, halves.

    Parameters
    ----------
    counted : Counted
    left_out : ndarray of shape (R,), int64
        Numbers of rows in the embeddings.
    merged : ndarray of shape (M, 2), int64
        Pairs of codes of classes. Classes that pairs join become one, with the name of the first.
    engine : str
        Name of the engine that counted.
    threads : int

    Returns
    -------
    without, with_merged, both : PairCounts or None
        None if nothing would change, or if no genuine or no impostor pair would be left.
    """
    counts = replace(
        counted.counts,
        nearest_hits=np.zeros_like(counted.counts.nearest_hits),
        searches=None,
        open_set=None,
        answered=None,
        right_answers=None,
        duplicates=None,
        folds=None,
        inside=None,
        halves=None,
        split=None,
        borderline_impostor=None,
        group_pairs=None,
    )
    counted = replace(counted, counts=counts)
    out = np.isin(counted.plan.rows.order, left_out)
    fewer = _without(counted, out, engine, threads) if out.any() else None
    nowhere = np.zeros_like(out)
    return (
        _settled(fewer),
        _settled(_merged(counted, nowhere, merged)) if len(merged) else None,
        _settled(_merged(replace(counted, counts=fewer), out, merged))
        if len(merged) and fewer is not None
        else None,
    )


def _settled(counts: PairCounts | None) -> PairCounts | None:
    """Leave out the classes without rows; None without genuine or without impostor pairs."""
    if counts is None or not counts.genuine_total or not counts.impostor_total:
        return None
    there = counts.sizes > 0
    return replace(
        counts,
        class_names=counts.class_names[there],
        sizes=counts.sizes[there],
        genuine=counts.genuine[there],
        impostor=counts.impostor[there],
        nearest_hits=counts.nearest_hits[there],
        genuine_beyond=None if counts.genuine_beyond is None else counts.genuine_beyond[there],
    )


def _without(counted: Counted, out: Marks, engine: str, threads: int) -> PairCounts | None:
    """Return the counts without the rows that ``out`` marks, in the order of the plan's rows.

    None if no genuine or no impostor pair is left.
    """
    counts, plan = counted.counts, counted.plan
    kept = np.sort(plan.rows.order[~out])
    try:
        left = plan_pairs(_rows_of(counted.embeddings, kept), replace(counted.settings, folds=None))
    except InputError:
        return None
    tally = _touched(counted, out, engine, threads)
    classes = len(counts.sizes)
    genuine, impostor = tally.genuine[:classes], tally.impostor[:classes]
    for cells in (genuine, impostor):
        np.cumsum(cells, axis=1, out=cells)
    genuine //= 2 if plan.halved else 1
    by_class, window = counts.grid.by_class, counts.grid.window
    beyond = counts.genuine_beyond
    # Pairs that are left out of the count fall into the last cell of a tally. The numbers of all
    # remaining pairs follow from the labels alone.
    names = np.flatnonzero(np.bincount(plan.keys[~out[: plan.queries]], minlength=classes))
    totals = np.zeros((2, classes), np.int64)
    for total, numbers in zip(totals, (left.genuine, left.impostor), strict=True):
        total[names] = left.by_key(numbers)
    totals[0] //= 2 if plan.halved else 1
    new = replace(
        counts,
        sizes=np.bincount(plan.keys[~out[: plan.queries]], minlength=classes),
        genuine=_less(counts.genuine, genuine[:, by_class], totals[0]),
        impostor=_less(counts.impostor, impostor, totals[1]),
        pooled_genuine=_less(
            counts.pooled_genuine, np.cumsum(tally.pooled_genuine), left.genuine.sum() // left.ends
        ),
        pooled_impostor=_less(
            counts.pooled_impostor,
            np.cumsum(tally.pooled_impostor),
            left.impostor.sum() // left.ends,
        ),
    )
    if beyond is not None:
        new = replace(new, genuine_beyond=_less(beyond, genuine[:, window:], totals[0]))
    if counts.borderline_genuine is not None:
        close = counts.borderline_genuine - tally.borderline_genuine
        new = replace(new, borderline_genuine=close)
    return new


def _less(counts: Ints, touched: Ints, total: Ints) -> Ints:
    """Subtract accepted pairs. The last threshold accepts all that remain, ``total``."""
    found: Ints = counts - touched.astype(counts.dtype)
    found[..., -1] = total
    return found


def _rows_of(embeddings: Embeddings, rows: Ints) -> Embeddings:
    """Return some rows of embeddings, with the names of all classes."""
    gallery = embeddings.gallery_rows
    if gallery is not None:
        gallery = int(np.count_nonzero(rows >= len(embeddings.labels) - gallery))
    return replace(
        embeddings,
        vectors=embeddings.vectors[rows],
        labels=embeddings.labels[rows],
        rows=embeddings.rows[rows],
        columns={
            name: replace(column, codes=column.codes[rows])
            for name, column in embeddings.columns.items()
        },
        gallery_rows=gallery,
    )


def _touched(counted: Counted, out: Marks, engine: str, threads: int) -> Tally:
    """Count the pairs with a row that ``out`` marks."""
    plan, grid = counted.plan, counted.counts.grid
    module = engines.load(halves.engine_for(engine))
    total = Tally.empty(plan.rows, grid)
    for part in _passes_touching(plan, out):
        # A tally has an entry for each row, for nearest rows, which nobody asks for here.
        tally = Tally.empty(part.rows, grid)
        module.count_pairs(part.rows, grid, part.tiles(module.TILE_SIDE), tally, threads, _ignore)
        size = len(tally.genuine)
        total.genuine[:size] += tally.genuine.astype(total.genuine.dtype)
        total.impostor[:size] += tally.impostor.astype(total.impostor.dtype)
        total.pooled_genuine += tally.pooled_genuine
        total.pooled_impostor += tally.pooled_impostor
        total.borderline_genuine += tally.borderline_genuine
    return total


def _ignore(pairs: int) -> None:
    pass


def _passes_touching(plan: Plan, out: Marks) -> Iterator[Pass]:
    """Yield passes that hold every pair with a marked row once."""
    numbers = np.arange(len(out))
    searching = numbers < plan.queries
    if plan.searching:
        yield from _between(plan, numbers[out & searching], numbers[~searching])
        yield from _between(plan, numbers[~out & searching], numbers[out & ~searching])
        return
    marked = numbers[out]
    yield from _inside(plan, marked)
    yield from _between(plan, marked, numbers[~out])


def _inside(plan: Plan, rows: Ints) -> tuple[Pass, ...]:
    """Return the pass that holds the pairs among some rows."""
    truth = plan.truth[rows]
    some = _some(plan, rows, truth)
    tenants, count = plan.tenants[rows], len(rows)
    return passes_of(some, count, truth, spans_of(tenants, count), spans_of(truth, count))


def _between(plan: Plan, left: Ints, right: Ints) -> tuple[Pass, ...]:
    """Return the passes that hold the pairs of a row of ``left`` with a row of ``right``."""
    if not len(left) or not len(right):
        return ()
    index, queries = np.concatenate([left, right]), len(left)
    truth = plan.truth[index]
    behind = np.arange(len(index)) >= queries
    some = _some(plan, index, truth + (int(truth.max()) + 1) * behind)
    tenants = plan.tenants[index]
    return passes_of(some, queries, truth, spans_of(tenants, queries), spans_of(truth, queries))


def _some(plan: Plan, index: Ints, labels: Ints) -> Rows:
    """Return some rows of a plan, with other labels."""
    # Of the vetoes of a plan with a gallery, those of genuine pairs are for its own pass.
    vetoes = () if plan.shared is None else (plan.shared,)
    return replace(plan.rows, vetoes=vetoes).some(index, labels, plan.rows.keys[index])


def _merged(counted: Counted, out: Marks, merged: Ints) -> PairCounts:
    """Return the counts with the pairs between merged classes as genuine pairs."""
    counts, plan, grid = counted.counts, counted.plan, counted.counts.grid
    classes = len(counted.embeddings.class_names)
    graph = csr_array((np.ones(len(merged), np.int8), tuple(merged.T)), shape=(classes, classes))
    one_of = connected_components(graph, directed=False)[1]
    by_class = counted.settings.group_column is None
    keys = np.arange(len(counts.sizes))
    if by_class:
        becomes = one_of[np.unique(counted.embeddings.labels[: plan.queries])]
        keys = np.flatnonzero(np.bincount(one_of)[becomes] > 1)
        target = np.unique(becomes[keys], return_index=True, return_inverse=True)
        target_of = target[1][target[2]]
    credits, pooled, close = _moved(counted, np.flatnonzero(~out), one_of, keys)
    # The counts of a merged class may need wider integers than those of its parts.
    genuine, impostor = counts.genuine.astype(np.uint64), counts.impostor.astype(np.uint64)
    beyond = None if counts.genuine_beyond is None else counts.genuine_beyond.astype(np.uint64)
    sizes = counts.sizes.copy()
    impostor[keys] -= credits[:, grid.by_class]
    if by_class:
        for values in (genuine, impostor, sizes, *([] if beyond is None else [beyond])):
            values[keys] = _joined(values[keys], target_of)
        credits = _joined(credits, target_of)
        if plan.halved:
            # Both rows of a pair were credited, and now they are of the same class.
            credits //= 2
    genuine[keys] += credits[:, grid.by_class]
    if beyond is not None:
        beyond[keys] += credits[:, grid.window :]
    borderline = counts.borderline_genuine
    if borderline is not None:
        borderline = borderline + close
    return replace(
        counts,
        sizes=sizes,
        genuine=genuine,
        impostor=impostor,
        genuine_beyond=beyond,
        pooled_genuine=counts.pooled_genuine + pooled,
        pooled_impostor=counts.pooled_impostor - pooled,
        borderline_genuine=borderline,
    )


def _joined(values: Ints, target: Ints) -> Ints:
    """Add each row to the row ``target``; the others become 0."""
    total = np.zeros_like(values)
    np.add.at(total, target, values)
    return total


def _moved(counted: Counted, kept: Ints, one_of: Ints, keys: Ints) -> tuple[Ints, Ints, Ints]:
    """Count the accepted pairs between merged classes at each threshold of the grid.

    Parameters
    ----------
    counted : Counted
    kept : ndarray
        Rows that are not left out, as in ``plan.rows``.
    one_of : ndarray of shape (K,)
        For each class, a number of the class that it becomes.
    keys : ndarray of shape (P,)
        Keys that pairs are credited to.

    Returns
    -------
    credits : ndarray of shape (P, T), uint64
        Each pair counts for the key of every searching row that it has.
    pooled : ndarray of shape (T,), int64
    borderline : ndarray of shape (T,), int64
        Pairs within a rounding of each threshold, as in ``PairCounts``.
    """
    plan, grid = counted.plan, counted.counts.grid
    codes = counted.embeddings.labels[plan.rows.order]
    count = len(grid.thresholds)
    credits = np.zeros((len(keys), count), np.uint64)
    pooled, borderline = np.zeros((2, count), np.int64)
    place = np.zeros(int(plan.rows.keys.max()) + 1, np.int64)
    place[keys] = np.arange(len(keys))
    negated_cuts = -plan.rows.cuts_of(grid)
    negated_cuts[-1] = np.inf
    rejecting = negated_cuts - np.float32(2 * plan.rows.rounding)
    kept = kept[(np.bincount(one_of) > 1)[one_of[codes[kept]]]]
    kept = kept[np.argsort(one_of[codes[kept]], kind="stable")]
    ends = np.flatnonzero(np.diff(one_of[codes[kept]])) + 1
    for group in np.split(kept, ends):
        ((left, right),) = plan.sides(group, group, apart=False)
        step = max(1, _VALUES // max(len(right), 1))
        for start in range(0, len(left), step):
            part = left[start : start + step]
            paired = plan.are_pairs(part[:, None], right) & (codes[part, None] != codes[right])
            if not plan.searching:
                paired &= part[:, None] < right
            i, j = np.nonzero(paired)
            scores = plan.rows.scores_of(part, right)[i, j]
            cells = np.searchsorted(negated_cuts, -scores)
            pooled += np.bincount(cells, minlength=count)
            close = cells[-scores > rejecting[cells]]
            borderline += np.bincount(close, minlength=count)
            for rows in (part[i], right[j])[: plan.ends]:
                np.add.at(credits, (place[plan.rows.keys[rows]], cells), np.uint64(1))
    return np.cumsum(credits, axis=1, out=credits), np.cumsum(pooled), borderline
