"""Look at a block of scores, compiled: find the few pairs to keep, without a branch for the others.

A score is looked at if it is accepted at one of the two cuts, or if it may enter the list of
nearest rows of one of its two rows. ``flag`` tells that for all scores of a block, as a byte each,
and ``look`` looks at the flagged ones. The pairs of a row with its own class are all looked at.
"""

from typing import Any, NamedTuple

import numpy as np

from opis_cli.counting.engines.numba_cache import compiler

compiled = compiler(nogil=True, fastmath={"nnan", "nsz", "contract"})


class Known(NamedTuple):
    """What a look needs to know of the rows.

    Attributes
    ----------
    order : ndarray of shape (N,), int64
        Number of each row in the embeddings. The lower one wins a tie.
    codes, runs : ndarray of shape (N,), int64
        Class of each row, and number of its run of adjacent rows of one class.
    first, last : ndarray of shape (N,), int64
        For each row, the range of the rows that are genuine with it.
    classes : int
        Number of classes.
    cut, chain_cut, veto : float32
        Least scores that are accepted, and a score that no pair has.
    nearest, unit : float64
        Score of two equal rows, and distance of a score that is less by one.
    euclidean : bool
        Whether a distance is the root of twice what the score is less.
    """

    order: Any
    codes: Any
    runs: Any
    first: Any
    last: Any
    classes: Any
    cut: Any
    chain_cut: Any
    veto: Any
    nearest: Any
    unit: Any
    euclidean: Any


class Kept(NamedTuple):
    """The arrays of a worker: those that last, and those of the block at hand.

    Attributes
    ----------
    own_scores, own_rows, other_scores, other_rows
        The nearest rows, as in ``Lists``.
    worst : ndarray of shape (N,), float32
        The last score of ``other_scores``.
    pairs, rejected, distances, least
        Sums by class, as in ``Inside``.
    parents : ndarray of shape (N,), int32
        Forest of accepted genuine pairs. A row that is its own parent is a root, and the root is
        the lowest row of its tree.
    flags : ndarray of shape (height, width + 8), uint8
    number, best, touched : ndarrays of shape (width,)
        Accepted pairs of the run at hand with each run of columns, their highest score, and a
        column of each run that has any.
    best_left, best_right : ndarrays of shape (width,)
        The rows that have this score.
    listed : ClassPairs
        The class pairs of the block.
    edges : Edges
        The edges of the block.
    """

    own_scores: Any
    own_rows: Any
    other_scores: Any
    other_rows: Any
    worst: Any
    pairs: Any
    rejected: Any
    distances: Any
    least: Any
    parents: Any
    flags: Any
    number: Any
    best: Any
    best_left: Any
    best_right: Any
    touched: Any
    listed: Any
    edges: Any


@compiled
def insert(scores: Any, rows: Any, order: Any, row: Any, score: Any, other: Any) -> None:
    """Put a row into the list of nearest rows of ``row``, if it is near enough."""
    last = scores.shape[1] - 1
    own = order[other]
    at = last
    if score < scores[row, last]:
        return
    if score == scores[row, last] and own > order[rows[row, last]]:
        return
    while at > 0:
        before = scores[row, at - 1]
        if before > score or (before == score and order[rows[row, at - 1]] < own):
            break
        scores[row, at] = before
        rows[row, at] = rows[row, at - 1]
        at -= 1
    scores[row, at] = score
    rows[row, at] = other


@compiled
def merge(scores: Any, rows: Any, more: Any, others: Any, order: Any) -> None:
    """Put the lists of another worker into the lists of this one."""
    for row in range(scores.shape[0]):
        for at in range(more.shape[1]):
            if others[row, at] >= 0:
                insert(scores, rows, order, row, more[row, at], others[row, at])


@compiled
def root_of(parents: Any, row: Any) -> Any:
    """Return the root of a row's tree, and shorten the way to it."""
    while parents[row] != row:
        parents[row] = parents[parents[row]]
        row = parents[row]
    return row


@compiled
def join(parents: Any, one: Any, two: Any) -> None:
    """Join the trees of two rows. The lower root becomes the root."""
    one, two = root_of(parents, one), root_of(parents, two)
    if one < two:
        parents[two] = one
    elif two < one:
        parents[one] = two


@compiled
def join_all(parents: Any, others: Any) -> None:
    """Join the trees that another forest joins, and make every row point at its root."""
    for row in range(parents.size):
        join(parents, row, others[row])
    for row in range(parents.size):
        parents[row] = root_of(parents, row)


@compiled
def flag(scores: Any, width: Any, i0: Any, j0: Any, low: Any, worst: Any, flags: Any) -> None:
    """Flag the scores of a block that reach ``low``, or the worst of the list of a row of theirs.

    This is apart from ``look``, because LLVM uses vector instructions here only if few arrays are
    about. Flags behind the last column are 0.
    """
    columns = worst[j0 : j0 + width]
    for i in range(scores.shape[0]):
        limit = min(low, worst[i0 + i])
        row, marks = scores[i], flags[i]
        for j in range(width):
            marks[j] = (row[j] >= limit) | (row[j] >= columns[j])
        marks[width:] = 0


@compiled
def look(
    scores: Any, width: Any, i0: Any, j0: Any, diagonal: Any, known: Known, kept: Kept
) -> tuple[int, int]:
    """Look at the flagged pairs of the rows from ``i0`` with the columns from ``j0``.

    If ``diagonal``, only the pairs of a row with a later one are looked at.

    Returns
    -------
    class_pairs, edges : int
        How many of them the block has.
    """
    order, codes, runs, first, last = (
        known.order,
        known.codes,
        known.runs,
        known.first,
        known.last,
    )
    classes, cut, chain_cut, veto = known.classes, known.cut, known.chain_cut, known.veto
    own_scores, own_rows = kept.own_scores, kept.own_rows
    other_scores, other_rows, worst = kept.other_scores, kept.other_rows, kept.worst
    pairs, rejected, distances, least = kept.pairs, kept.rejected, kept.distances, kept.least
    parents, flags, words = kept.parents, kept.flags, kept.flags.view(np.uint64)
    number, best, touched = kept.number, kept.best, kept.touched
    best_left, best_right = kept.best_left, kept.best_right
    keys, numbers, bests, lefts, rights = kept.listed
    edge_one, edge_two, edge_scores = kept.edges
    last_place = other_scores.shape[1] - 1
    listed, edges, touches = 0, 0, 0
    for i in range(scores.shape[0]):
        row = i0 + i
        start = min(max(row + 1 - j0, 0), width) if diagonal else 0
        own_start = min(max(first[row] - j0, start), width)
        own_end = min(max(last[row] - j0, own_start), width)
        code = codes[row]
        for j in range(own_start, own_end):
            score, column = scores[i, j], j0 + j
            if score <= veto:
                continue
            insert(own_scores, own_rows, order, row, score, column)
            insert(own_scores, own_rows, order, column, score, row)
            lost = max(known.nearest - score, 0.0)
            distances[code] += np.sqrt(2.0 * lost) if known.euclidean else known.unit * lost
            pairs[code] += 1
            least[code] = min(least[code], score)
            if score >= cut:
                join(parents, row, column)
            else:
                rejected[code] += 1
            if score >= chain_cut:
                edge_one[edges], edge_two[edges], edge_scores[edges] = row, column, score
                edges += 1
        # Columns that are not asked for are not flagged.
        flags[i, :start] = 0
        flags[i, own_start:own_end] = 0
        for word in range(start // 8, (width + 7) // 8):
            if words[i, word] == 0:
                continue
            for j in range(8 * word, 8 * word + 8):
                if flags[i, j] == 0:
                    continue
                score, column = scores[i, j], j0 + j
                if score <= veto:
                    continue
                if score >= worst[row]:
                    insert(other_scores, other_rows, order, row, score, column)
                    worst[row] = other_scores[row, last_place]
                if score >= worst[column]:
                    insert(other_scores, other_rows, order, column, score, row)
                    worst[column] = other_scores[column, last_place]
                if score >= cut:
                    run = runs[column] - runs[j0]
                    if number[run] == 0:
                        touched[touches] = column
                        touches += 1
                    if number[run] == 0 or score > best[run]:
                        best[run], best_left[run], best_right[run] = score, row, column
                    number[run] += 1
                if score >= chain_cut:
                    edge_one[edges], edge_two[edges], edge_scores[edges] = row, column, score
                    edges += 1
        if i + 1 == scores.shape[0] or runs[row + 1] != runs[row]:
            for at in range(touches):
                column = touched[at]
                run, other = runs[column] - runs[j0], codes[column]
                keys[listed] = min(code, other) * classes + max(code, other)
                numbers[listed], bests[listed] = number[run], best[run]
                lefts[listed], rights[listed] = best_left[run], best_right[run]
                number[run] = 0
                listed += 1
            touches = 0
    return listed, edges
