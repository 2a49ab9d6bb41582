"""Look at all pairs once more, and keep what explains the rates at a threshold.

The pairs are those of the count: the same plan, the same tiles, the same products and the same
cuts. What is kept is in ``Seen``. Each worker keeps its own, and all are merged at the end. No
result depends on which worker saw a pair.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from opis_cli.counting.plan import Plan
from opis_cli.counting.tally import Tile
from opis_cli.counting.tally import cut as tiles_of
from opis_cli.errors import SettingsError
from opis_cli.evidence import look_numpy
from opis_cli.evidence.seen import (
    ClassPairs,
    Edges,
    Inside,
    Lists,
    Seen,
)
from opis_cli.evidence.suspects import OTHERS, OWN
from opis_cli.machine import on_threads, resident_memory
from opis_cli.records import Floats, Ints

_SIDE, _NUMPY_SIDE = 1_024, 512
"""Rows on a side of the tiles."""
_PENDING = 1 << 22
"""Class pairs, or edges, that are collected before they are merged."""

_BYTES_OF_ROW, _BYTES_OF_WORKER = 1_500, 40_000_000
"""Memory that evidence takes for each row, mostly for the score of suspects, and each worker."""

Advance = Callable[[int], None]


def memory_of(rows: int, threads: int) -> int:
    """Estimate the bytes that evidence holds, beside those that a count holds."""
    lists = 8 * (OWN + OTHERS) + 8
    return rows * _BYTES_OF_ROW + threads * (rows * lists + _BYTES_OF_WORKER)


def scan(
    plan: Plan,
    codes: Ints,
    cut: np.float32,
    chain_cut: np.float32,
    *,
    engine: str = "numba",
    threads: int = 1,
    advance: Advance = lambda pairs: None,
    memory_limit: int | None = None,
) -> Seen:
    """Look at all pairs of a plan.

    Parameters
    ----------
    plan : Plan
    codes : ndarray of shape (N,), int64
        Class of each row, in the order of ``plan.rows``.
    cut, chain_cut : float32
        Least scores that are accepted: for pairs, classes and parts, and for chains.
    engine : str
        "numpy" for plain NumPy; compiled code otherwise.
    threads : int
    advance : callable
        Called with the number of pairs that were looked at since.
    memory_limit : int, optional
        Bytes that the process may hold.

    Raises
    ------
    SettingsError
        There are too many pairs of confused classes for the memory limit.
    """
    task = _Task(plan, codes, int(codes.max()) + 1, cut, chain_cut, memory_limit)
    side = _NUMPY_SIDE if engine == "numpy" else _SIDE
    tiles = (tile for block in plan.blocks for tile in tiles_of(block, side))
    if engine == "numpy":
        return _with_numpy(task, tiles, advance)
    return _with_numba(task, tiles, threads, advance)


@dataclass(frozen=True, slots=True)
class _Task:
    """What to look for."""

    plan: Plan
    codes: Ints
    classes: int
    cut: np.float32
    chain_cut: np.float32
    memory_limit: int | None

    def seen(
        self,
        own: Lists,
        others: Lists,
        inside: Inside,
        parts: Ints,
        class_pairs: "_Collected",
        edges: "_Edges",
    ) -> Seen:
        """Put the merged results together."""
        return Seen(
            plan=self.plan,
            codes=self.codes,
            classes=self.classes,
            cut=self.cut,
            chain_cut=self.chain_cut,
            own=own,
            others=others,
            inside=inside,
            confused=class_pairs.joined(),
            parts=parts,
            edges=edges.merged(),
            all_edges=edges.whole,
        )


class _Collected:
    """Class pairs in error. Equal ones are added up whenever many have come."""

    def __init__(self, memory_limit: int | None) -> None:
        self.limit, self.parts = memory_limit, list[ClassPairs]()
        self.size, self.settled = 0, 0

    def add(self, part: ClassPairs) -> None:
        self.parts.append(part)
        self.size += len(part.keys)
        if self.size - self.settled > max(_PENDING, self.settled):
            self.joined()

    def joined(self) -> ClassPairs:
        """Add up all parts so far, and refuse to hold more than the limit."""
        whole = ClassPairs.joined(self.parts)
        self.parts, self.size, self.settled = [whole], len(whole.keys), len(whole.keys)
        if self.limit is not None and resident_memory() > self.limit:
            raise SettingsError(
                f"--memory-limit: {self.size:,} pairs of classes have false accepts so far, and "
                "the limit is reached; raise it, or explain a lower --threshold"
            )
        return whole


class _Edges:
    """Edges of the chains. When many have come, only a forest that joins the same rows is kept."""

    def __init__(self, count: int) -> None:
        self.count, self.parts, self.size, self.whole = count, list[Edges](), 0, True

    def add(self, part: Edges) -> None:
        self.parts.append(part)
        self.size += len(part.one)
        if self.size > 2 * _PENDING + 2 * self.count:
            forest = spanning_forest(self.merged(), self.count)
            self.parts, self.size = [forest], len(forest.one)
            self.whole = False

    def merged(self) -> Edges:
        """Return all edges so far, in the order of their rows."""
        if not self.parts:
            nothing = np.zeros(0, np.int32)
            return Edges(nothing, nothing, np.zeros(0, np.float32))
        one, two, scores = (np.concatenate(some) for some in zip(*self.parts, strict=True))
        order = np.lexsort((two, one))
        return Edges(one[order], two[order], scores[order])


def spanning_forest(edges: Edges, count: int) -> Edges:
    """Return the edges of a forest that joins the same of ``count`` rows at every cut."""
    # The weights must be positive, because SciPy takes an entry of zero as no edge.
    weights = 1.0 + float(edges.scores.max(initial=0)) - edges.scores.astype(np.float64)
    graph = csr_array((weights, (edges.one, edges.two)), shape=(count, count))
    forest = minimum_spanning_tree(graph).tocoo()
    # The scores come back from the edges, because a weight has lost bits of them.
    keys = edges.one.astype(np.int64) * count + edges.two
    order = np.argsort(keys)
    wanted = forest.row.astype(np.int64) * count + forest.col
    kept = order[np.searchsorted(keys[order], wanted)]
    return Edges(edges.one[kept], edges.two[kept], edges.scores[kept])


def _with_numpy(task: _Task, tiles: Any, advance: Advance) -> Seen:
    plan, codes = task.plan, task.codes
    count, order = len(codes), plan.rows.order
    own, others = Lists.empty(count, OWN), Lists.empty(count, OTHERS)
    inside, class_pairs = Inside.empty(task.classes), _Collected(task.memory_limit)
    edges, joined = _Edges(count), [np.zeros((2, 0), np.int64)]
    for tile in tiles:
        scores, alike = look_numpy.scores_of(plan, tile)
        left, right = np.arange(tile.a, tile.b), np.arange(tile.c, tile.d)
        for lists, wanted in ((own, alike), (others, ~alike)):
            some = np.where(wanted, scores, -np.inf)
            look_numpy.nearest_of(lists, order, some, tile.a, right)
            look_numpy.nearest_of(lists, order, some.T, tile.c, left)
        i, j = np.nonzero(alike & (scores > -np.inf))
        look_numpy.add_inside(inside, codes[left[i]], scores[i, j], plan.rows, task.cut)
        i, j = np.nonzero(alike & (scores >= task.cut))
        joined.append(np.stack([left[i], right[j]]))
        i, j = np.nonzero(~alike & (scores >= task.cut))
        one, two = codes[left[i]], codes[right[j]]
        keys = np.minimum(one, two) * task.classes + np.maximum(one, two)
        ones = np.ones(len(keys), np.int64)
        part = ClassPairs(keys, ones, scores[i, j], left[i], right[j])
        class_pairs.add(ClassPairs.joined([part]))
        i, j = np.nonzero(scores >= task.chain_cut)
        edges.add(Edges(left[i].astype(np.int32), right[j].astype(np.int32), scores[i, j]))
        advance(tile.pairs)
    parts = first_of_component(np.concatenate(joined, axis=1), count)
    return task.seen(own, others, inside, parts, class_pairs, edges)


def first_of_component(pairs: Ints, count: int) -> Ints:
    """Return, for each of ``count`` rows, the first row of its component; pairs of shape (2, E)."""
    graph = csr_array((np.ones(pairs.shape[1], np.int8), tuple(pairs)), shape=(count, count))
    component = connected_components(graph, directed=False)[1]
    first = np.full(component.max(initial=0) + 1, count)
    np.minimum.at(first, component, np.arange(count))
    return np.asarray(first[component].astype(np.int32))


def _with_numba(task: _Task, tiles: Any, threads: int, advance: Advance) -> Seen:
    from opis_cli.evidence import look_numba

    plan, codes = task.plan, task.codes
    rows, count = plan.rows, len(codes)
    known = look_numba.Known(
        order=rows.order.astype(np.int64),
        codes=codes.astype(np.int64),
        runs=np.cumsum(np.diff(rows.labels, prepend=rows.labels[0]) != 0),
        first=plan.alike.first.astype(np.int64),
        last=plan.alike.last.astype(np.int64),
        classes=task.classes,
        cut=task.cut,
        chain_cut=task.chain_cut,
        veto=rows.veto_score,
        nearest=float(rows.score(np.zeros(1))[0]),
        unit=0.5 if rows.whole else 1.0,
        euclidean=rows.metric == "euclidean",
    )
    class_pairs, edges = _Collected(task.memory_limit), _Edges(count)
    lock, stop = threading.Lock(), threading.Event()

    def work() -> Any:
        kept = _kept(look_numba, count, task.classes)
        buffer = np.empty((_SIDE, _SIDE + 16), np.float32)
        while not stop.is_set():
            with lock:
                tile = next(tiles, None)
            if tile is None:
                break
            listed, ends = _look(look_numba, plan, tile, buffer, known, kept)
            with lock:
                class_pairs.add(ClassPairs(*(some[:listed].copy() for some in kept.listed)))
                edges.add(Edges(*(some[:ends].copy() for some in kept.edges)))
                advance(tile.pairs)
        return kept

    first, *rest = on_threads([work] * threads, stop)
    inside = Inside(first.pairs, first.rejected, first.distances, first.least)
    for other in rest:
        look_numba.merge(
            first.own_scores, first.own_rows, other.own_scores, other.own_rows, known.order
        )
        look_numba.merge(
            first.other_scores, first.other_rows, other.other_scores, other.other_rows, known.order
        )
        inside.add(Inside(other.pairs, other.rejected, other.distances, other.least))
        look_numba.join_all(first.parents, other.parents)
    look_numba.join_all(first.parents, np.arange(count, dtype=np.int32))
    own = Lists(first.own_scores, first.own_rows)
    others = Lists(first.other_scores, first.other_rows)
    return task.seen(own, others, inside, first.parents, class_pairs, edges)


def _kept(look_numba: Any, count: int, classes: int) -> Any:
    """Return empty arrays for a worker."""
    own, others, inside = (
        Lists.empty(count, OWN),
        Lists.empty(count, OTHERS),
        Inside.empty(classes),
    )
    pairs = _SIDE * _SIDE
    return look_numba.Kept(
        *own,
        *others,
        worst=np.full(count, -np.inf, np.float32),
        pairs=inside.pairs,
        rejected=inside.rejected,
        distances=inside.distances,
        least=inside.least,
        parents=np.arange(count, dtype=np.int32),
        flags=np.zeros((_SIDE, _SIDE + 8), np.uint8),
        number=np.zeros(_SIDE, np.int32),
        best=np.zeros(_SIDE, np.float32),
        best_left=np.zeros(_SIDE, np.int32),
        best_right=np.zeros(_SIDE, np.int32),
        touched=np.zeros(_SIDE, np.int64),
        listed=ClassPairs(
            np.empty(pairs, np.int64),
            np.empty(pairs, np.int32),
            np.empty(pairs, np.float32),
            np.empty(pairs, np.int32),
            np.empty(pairs, np.int32),
        ),
        edges=Edges(
            np.empty(pairs, np.int32), np.empty(pairs, np.int32), np.empty(pairs, np.float32)
        ),
    )


def _look(
    look_numba: Any, plan: Plan, tile: Tile, buffer: Floats, known: Any, kept: Any
) -> tuple[int, int]:
    """Multiply a tile, and look at its scores."""
    from opis_cli.counting.engines.numba_scan import subtract_halves, veto

    rows, height, width = plan.rows, tile.b - tile.a, tile.d - tile.c
    scores = buffer[:height]
    left, right = slice(tile.a, tile.b), slice(tile.c, tile.d)
    np.matmul(rows.vectors[left], rows.partners[right].T, out=scores[:, :width])
    if rows.centred:
        subtract_halves(scores, rows.half_squares[left], rows.half_squares[right])
    if plan.shared is not None:
        veto(scores, plan.shared[left], plan.shared[right], rows.veto_score)
    low = min(known.cut, known.chain_cut)
    look_numba.flag(scores, width, tile.a, tile.c, low, kept.worst, kept.flags)
    listed, edges = look_numba.look(scores, width, tile.a, tile.c, tile.a == tile.c, known, kept)
    return int(listed), int(edges)
