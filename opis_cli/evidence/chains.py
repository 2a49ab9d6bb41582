"""Groups of rows that accepted pairs join: chains, copies, and the parts of a class.

If a system merges whatever matches, one accepted pair joins two groups, and groups grow into
chains. At a FAR of 1 % nearly all rows hang together. So chains are told at a lower threshold: that
of FAR 1e-4, or the largest below it at which no group holds more than half of the rows.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from opis_cli.counting.calibration import last_within
from opis_cli.evidence.scan import first_of_component, spanning_forest
from opis_cli.evidence.seen import Edges, Seen
from opis_cli.records import Ints, PairCounts

CHAIN_FAR = 1e-4
"""Pooled FAR at whose threshold chains are told."""
_MOST_EDGES = 500_000
"""Most edges of a group whose articulation points are searched."""


@dataclass(frozen=True, slots=True)
class Chains:
    """Groups of two rows or more that accepted pairs join.

    Attributes
    ----------
    threshold : float
        Distance up to which pairs join.
    first : ndarray of shape (N,), int32
        For each row, the first row of its group. Rows are numbered as in ``Plan.rows``.
    groups : Groups
    articulation : ndarray, int64, or None
        The rows of the largest group without which it falls apart; None if they were not searched.
    """

    threshold: float
    first: Ints
    groups: "Groups"
    articulation: Ints | None


@dataclass(frozen=True, slots=True)
class Groups:
    """Groups of two rows or more, the largest first. All arrays have the shape (G,).

    Attributes
    ----------
    first : ndarray, int64
        First row of each group, which is its name.
    rows, classes : ndarray, int64
        Number of rows and of classes.
    largest : ndarray, int64
        Class with most rows.
    purity : ndarray, float64
        Share of the rows that are of this class.
    """

    first: Ints
    rows: Ints
    classes: Ints
    largest: Ints
    purity: NDArray[np.float64]


def chain_index(counts: PairCounts) -> int:
    """Return the index of the threshold at which chains are told, before large groups are cut."""
    return last_within(counts.pooled_far, CHAIN_FAR) or 0


def chains(seen: Seen) -> Chains:
    """Find the chains."""
    count, edges, cut = len(seen.codes), seen.edges, seen.chain_cut
    first = _joined(edges, cut, count)
    if 2 * _largest(first) > count:
        forest = edges if not seen.all_edges else spanning_forest(edges, count)
        scores = np.unique(forest.scores)[::-1]
        low, high = 0, len(scores) - 1  # the number of scores that may join: not all of them
        while low < high:
            middle = (low + high + 1) // 2
            fits = 2 * _largest(_joined(forest, scores[middle - 1], count)) <= count
            low, high = (middle, high) if fits else (low, middle - 1)
        # Pairs that join no further rows lie between this score and the first that must not join.
        cut = np.nextafter(scores[low], np.float32(np.inf))
        first = _joined(forest, cut, count)
    joining = edges.scores[edges.scores >= cut]
    threshold = (
        float(seen.plan.rows.distance(joining.min(keepdims=True))[0]) if len(joining) else 0.0
    )
    groups = groups_of(first, seen.codes)
    return Chains(threshold, first, groups, _articulation(seen, first, groups, cut))


def copies(seen: Seen) -> tuple[Ints, Groups]:
    """Find the groups of rows at distance 0, and return also the first row of each row's group."""
    cut = seen.plan.rows.cuts(np.zeros(1))[0]
    first = _joined(seen.edges, cut, len(seen.codes))
    return first, groups_of(first, seen.codes)


def _joined(edges: Edges, cut: np.float32, count: int) -> Ints:
    kept = edges.scores >= cut
    return first_of_component(np.stack([edges.one[kept], edges.two[kept]]), count)


def _largest(first: Ints) -> int:
    return int(np.bincount(first).max())


def groups_of(first: Ints, codes: Ints) -> Groups:
    """Describe the groups of two rows or more.

    Parameters
    ----------
    first : ndarray of shape (N,)
        For each row, the first row of its group.
    codes : ndarray of shape (N,)
        Class of each row.
    """
    sizes = np.bincount(first, minlength=len(first))
    classes = int(codes.max()) + 1
    keys, numbers = np.unique(first.astype(np.int64) * classes + codes, return_counts=True)
    group, code = keys // classes, keys % classes
    # The class with most rows of each group comes first; in a tie the lower code.
    order = np.lexsort((code, -numbers, group))
    group, code, numbers = group[order], code[order], numbers[order]
    lead = np.flatnonzero(np.diff(group, prepend=-1))
    names = group[lead]
    kept = sizes[names] > 1
    names, lead = names[kept], lead[kept]
    order = np.lexsort((names, -sizes[names]))
    names, lead = names[order], lead[order]
    return Groups(
        first=names,
        rows=sizes[names],
        classes=np.bincount(group, minlength=len(first))[names],
        largest=code[lead],
        purity=numbers[lead] / sizes[names],
    )


def _articulation(seen: Seen, first: Ints, groups: Groups, cut: np.float32) -> Ints | None:
    """Return the articulation points of the largest group, None if edges are unknown."""
    if not seen.all_edges or not len(groups.first):
        return None
    edges = seen.edges
    inside = (edges.scores >= cut) & (first[edges.one] == groups.first[0])
    if np.count_nonzero(inside) > _MOST_EDGES:
        return None
    return articulation_points(edges.one[inside], edges.two[inside])


def articulation_points(one: Ints, two: Ints) -> Ints:
    """Return the rows without which a connected graph falls apart, sorted.

    Tarjan's search, with a stack in place of recursion: a row is such a point if none of the rows
    below one of its children has an edge to a row above it.
    """
    names, ends = np.unique(np.concatenate([one, two]), return_inverse=True)
    count, half = len(names), len(one)
    ones = np.ones(2 * half, np.int8)
    places = np.concatenate([ends[:half], ends[half:]]), np.concatenate([ends[half:], ends[:half]])
    graph = csr_array((ones, places), shape=(count, count))
    begins, neighbours = graph.indptr.tolist(), graph.indices.tolist()
    depth, low, nexts = [-1] * count, [0] * count, begins[:-1]
    found, children, stack, clock = set[int](), 0, [0], 1
    depth[0] = 0
    parent = [-1] * count
    while stack:
        node = stack[-1]
        if nexts[node] < begins[node + 1]:
            other = neighbours[nexts[node]]
            nexts[node] += 1
            if depth[other] < 0:
                parent[other], depth[other], low[other] = node, clock, clock
                clock += 1
                stack.append(other)
            elif other != parent[node]:
                low[node] = min(low[node], depth[other])
            continue
        stack.pop()
        above = parent[node]
        if above < 0:
            continue
        low[above] = min(low[above], low[node])
        if above == 0:
            children += 1
        elif low[node] >= depth[above]:
            found.add(above)
    if children > 1:
        found.add(0)
    return np.asarray(names[sorted(found)], np.int64)


@dataclass(frozen=True, slots=True)
class Parts:
    """Classes whose rows fall into parts, with no accepted pair of the class between these.

    All arrays have the shape (P,), a part an entry, in the order of classes and falling rows.

    Attributes
    ----------
    codes : ndarray, int64
        Class of the part.
    first : ndarray, int64
        First row of the part.
    rows : ndarray, int64
        Number of rows.
    split : ndarray, bool
        Whether two parts of the class have two rows or more, so that it may be two classes. A part
        of one row is rather an outlier or a wrong label.
    """

    codes: Ints
    first: Ints
    rows: Ints
    split: NDArray[np.bool_]


def parts(seen: Seen) -> Parts:
    """Find the classes that fall into parts."""
    first, numbers = np.unique(seen.parts, return_counts=True)
    order = np.lexsort((first, -numbers, seen.codes[first]))
    first, numbers = first[order].astype(np.int64), numbers[order]
    # Rows of one class of two tenants are not paired, so they are no parts of one class.
    unit = seen.plan.truth[first]
    several = np.bincount(unit) > 1
    large = np.bincount(unit, weights=numbers > 1) > 1
    kept = several[unit]
    first, numbers = first[kept], numbers[kept]
    return Parts(seen.codes[first], first, numbers, large[seen.plan.truth[first]])
