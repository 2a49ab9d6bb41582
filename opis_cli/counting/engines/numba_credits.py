"""Credit pairs to the keys of both their rows. All functions here are compiled.

The order of events for a tile is: ``find_places`` gives each key of the tile a place in the table
of credits, ``credit`` credits the listed pairs there, and ``deliver_credits`` and ``credit_beyond``
move the counts to the tally when the tile is done. ``credit_genuine`` and ``inside`` count genuine
pairs.
"""

from typing import Any

import numpy as np

from opis_cli.counting.engines.numba_tables import (
    Block,
    Bounds,
    Buffers,
    Genuine,
    Listed,
    Table,
    cell_of,
    compiled,
    summing,
    u64,
)


@compiled
def credit(block: Block, i: Any, first: Any, found: Any, table: Table, listed: Listed) -> None:
    """Credit the listed pairs of a row to the keys of both rows, and raise their nearest scores.

    Parameters
    ----------
    block : Block
    i : int
        Number of the row in the block.
    first : int
        Column of the block from which listed columns are counted.
    found : int
        Number of listed columns.
    table : Table
    listed : Listed
    """
    scores, nearest, columns = block.scores, listed.nearest, listed.columns
    credits, carried, others = listed.credits, listed.carried, listed.column_places
    firsts, cuts, top, scale, compares = (
        table.first,
        table.cuts,
        table.top,
        table.scale,
        table.compares,
    )
    row, j0 = u64(block.i0) + i, u64(block.j0)
    own = listed.row_places[row - u64(block.a)]
    best = nearest[row]
    for k in range(found):
        j = first + u64(columns[k])
        score = scores[i, j]
        if score > nearest[j0 + j]:
            nearest[j0 + j] = score
        if score > best:
            best = score
        cell = cell_of(score, firsts, cuts, top, scale, compares)
        _increment(credits, u64(own + cell), carried)
        _increment(credits, u64(others[j] + cell), carried)
    nearest[row] = best


@compiled
def _increment(credits: Any, place: Any, carried: Any) -> None:
    more = np.uint8(credits[place] + np.uint8(1))
    credits[place] = more
    if more == 0:
        carried[0] += np.uint32(1)
        carried[carried[0]] = place


@compiled
def find_places(
    keys: Any, start: int, stop: int, window: int, numbers: Any, found: Any, count: int, places: Any
) -> int:
    """Give each key of some rows a place in the table of credits, unless it has one already.

    Parameters
    ----------
    keys : ndarray of shape (N,)
    start, stop : int
        The rows.
    window : int
        Number of cells in the window, which is the size of a place.
    numbers : ndarray of shape (K,)
        For each key, its index in ``found`` plus 1, or 0 if it has none.
    found : ndarray
        The keys of the tile.
    count : int
        Number of keys in ``found`` so far.
    places : ndarray
        Filled with the start of the place of each row's key.

    Returns
    -------
    int
        The new number of keys in ``found``.
    """
    for i in range(start, stop):
        key = keys[i]
        if numbers[key] == 0:
            found[count] = key
            count += 1
            numbers[key] = count
        places[i - start] = (numbers[key] - 1) * window
    return count


@compiled
def deliver_credits(
    keys: Any, window: int, class_cell: Any, buffers: Buffers, by_cell: Any, by_key: Any, total: Any
) -> None:
    """Move the credits of a tile to the shared counts ``total``, and to sums by cell and by key."""
    credits, carried = buffers.credits, buffers.carried
    kept_apart = class_cell[window - 1] == window - 1
    for n in range(1, u64(carried[0]) + u64(1)):
        key, cell = keys[carried[n] // window], carried[n] % window
        total[key, class_cell[cell]] += 256
        by_cell[cell] += 256
        by_key[key] += 256
    carried[0] = 0
    for n in range(u64(keys.size)):
        key, first = u64(keys[n]), n * u64(window)
        own = np.uint64(0)
        for cell in range(u64(window)):
            seen = credits[first + cell]
            by_cell[cell] += seen
            own += u64(seen)
        by_key[key] += own
        if kept_apart:
            for cell in range(u64(window)):
                total[key, cell] += credits[first + cell]
        else:
            for cell in range(u64(window)):
                total[key, class_cell[cell]] += credits[first + cell]
        credits[first : first + u64(window)] = np.uint8(0)


@compiled
def credit_beyond(
    bounds: Bounds, begins: Any, ends: Any, keys: Any, buffers: Buffers, accepted: Any
) -> None:
    """Credit the impostor pairs of a tile beyond the window to the keys of their rows.

    ``accepted`` has a column for each of the few thresholds, and a last one for all impostor pairs.
    """
    a, b, c, d = bounds
    by_row, by_column = buffers.few_by_row, buffers.few_by_column
    few = by_row.shape[1]
    for i in range(a, b):
        accepted[keys[i], few] += max(d - max(ends[i], c), 0)
        for q in range(few):
            accepted[keys[i], q] += by_row[i - a, q]
    for j in range(c, d):
        accepted[keys[j], few] += max(min(begins[j], b) - a, 0)
        for q in range(few):
            accepted[keys[j], q] += by_column[q, j - c]
    by_row[:] = 0
    by_column[:] = 0


@compiled
def credit_genuine(
    block: Block, ends: Any, keys: Any, table: Table, rounding: Any, counted: Genuine
) -> None:
    """Credit the genuine pairs ``i < j`` of a block to the keys of both rows.

    A pair whose score lies less than two roundings above its cut also counts as borderline.
    """
    scores, columns, i0, j0 = block.scores, block.width, block.i0, block.j0
    credits, pooled, borderline, nearest = counted
    first, cuts, width = table.first, table.cuts, np.float32(2) * rounding
    for i in range(scores.shape[0]):
        for j in range(max(i0 + i + 1 - j0, 0), min(ends[i0 + i] - j0, columns)):
            score = scores[i, j]
            nearest[i0 + i] = max(nearest[i0 + i], score)
            nearest[j0 + j] = max(nearest[j0 + j], score)
            cell = cell_of(score, first, cuts, table.top, table.scale, table.compares)
            pooled[cell] += 1
            borderline[cell] += score < cuts[cell] + width
            credits[keys[i0 + i], cell] += 1
            credits[keys[j0 + j], cell] += 1


@summing
def inside(
    vectors: Any, partners: Any, half_squares: Any, start: int, stop: int, cuts: Any, credits: Any
) -> None:
    """Count the pairs of rows ``start:stop`` by the first cut that their score reaches.

    The cuts fall. Most pairs reach none of them. For the others the cut is found by bisection.
    """
    last = cuts.size - 1
    for i in range(u64(start), u64(stop)):
        for j in range(i + u64(1), u64(stop)):
            score = np.float32(0)
            for d in range(vectors.shape[1]):
                score += vectors[i, d] * partners[j, d]
            score -= half_squares[i] + half_squares[j]
            if score >= cuts[last]:
                low, high = 0, last
                while low < high:
                    middle = (low + high) // 2
                    if score >= cuts[middle]:
                        high = middle
                    else:
                        low = middle + 1
                credits[low] += 1
