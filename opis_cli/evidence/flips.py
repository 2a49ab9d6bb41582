"""One look at all pairs by two models at once: which decisions change from one to the other.

Both models have the same rows in the same order, so both plans have the same pairs. Each tile of
pairs is scored by both, and only the pairs that one of them accepts are looked at. Memory is
bounded by the rows, the classes and the lengths of the lists.
"""

import threading
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from opis_cli.counting.plan import Plan
from opis_cli.counting.tally import Advance, Tile
from opis_cli.counting.tally import cut as tiles_of
from opis_cli.evidence.hardest import rank_within
from opis_cli.machine import on_threads
from opis_cli.records import Floats, Ints

T = TypeVar("T")
Kind = Literal["genuine_lost", "genuine_won", "impostors_let_in", "impostors_kept_out"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""Decisions that change. Two are losses: genuine pairs that the new model refuses, and impostor
pairs that it accepts. Two are gains."""

GENUINE, IMPOSTOR = 0, 1
OLD_ONLY, NEW_ONLY, BOTH = 0, 1, 2
"""Which of the two models accept a pair."""

_SIDE = 1_024
"""Rows on a side of the tiles."""
_PENDING = 1 << 18
"""Pairs that a list takes before it is cut to its length."""
_TIE = 8
"""Scores within so many roundings rank as equal, so that no list depends on the processor."""
_BYTES_OF_WORKER = 60_000_000


def memory_of(rows: int, dim: int, threads: int) -> int:
    """Estimate the bytes that the look holds beside a count: rows of the old model, and tiles."""
    return rows * (4 * dim + 60) + threads * _BYTES_OF_WORKER


class Side(NamedTuple):
    """One of the two models.

    Attributes
    ----------
    plan : Plan
    cut : float32
        Least score that is accepted at the threshold of the model.
    """

    plan: Plan
    cut: np.float32


@dataclass(frozen=True, slots=True)
class Flips:
    """What both models decide.

    Attributes
    ----------
    pairs : ndarray of shape (2, 3), int64
        Pairs that a model accepts: genuine and impostor pairs, by the old model only, by the new
        one only, and by both.
    by_class : ndarray of shape (2, 3, K), int64
        The same by class. An impostor pair counts for the classes of both its rows; with a
        gallery, for the class of the query.
    borderline : ndarray of shape (2,), int64
        Genuine and impostor pairs that lie within a rounding of the threshold of a model, so that
        exact arithmetic may decide otherwise.
    hardest : dict
        For each of ``KINDS`` the first pairs of rows, shape (2, P), numbered as in ``Plan.rows``.
    """

    pairs: NDArray[np.int64]
    by_class: NDArray[np.int64]
    borderline: NDArray[np.int64]
    hardest: dict[Kind, Ints]

    def number(self, kind: Kind) -> int:
        """Return the number of decisions that change in one way."""
        return int(self.pairs[place_of(kind)])


def place_of(kind: Kind) -> tuple[int, int]:
    """Return the place of a kind in the first two axes of the counts of ``Flips``."""
    return {
        "genuine_lost": (GENUINE, OLD_ONLY),
        "genuine_won": (GENUINE, NEW_ONLY),
        "impostors_let_in": (IMPOSTOR, NEW_ONLY),
        "impostors_kept_out": (IMPOSTOR, OLD_ONLY),
    }[kind]


def look_at_both(
    old: Side,
    new: Side,
    codes: Ints,
    classes: int,
    *,
    top: int,
    per_class_pair: int,
    threads: int = 1,
    advance: Advance = lambda pairs: None,
) -> Flips:
    """Look at all pairs of two plans.

    Parameters
    ----------
    old, new : Side
        Their plans are of the same rows and settings, but for vectors and metric.
    codes : ndarray of shape (N,), int64
        Class of each row, in the order of ``Plan.rows``.
    classes : int
        Number of classes, K.
    top, per_class_pair : int
        Most pairs of a kind to list, and most of one pair of classes.
    threads : int
    advance : callable
        Called with the number of pairs that were looked at since.
    """
    tiles = (tile for block in new.plan.blocks for tile in tiles_of(block, _SIDE))
    lock, stop = threading.Lock(), threading.Event()

    def work() -> _Look:
        look = _Look(old, new, codes, classes, top, per_class_pair)
        while not stop.is_set():
            with lock:
                tile = next(tiles, None)
            if tile is None:
                break
            look.at(tile)
            with lock:
                advance(tile.pairs)
        return look

    first, *rest = on_threads([work] * threads, stop)
    for other in rest:
        first.add(other)
    return first.flips()


class _Look:
    """What one worker sees."""

    def __init__(
        self, old: Side, new: Side, codes: Ints, classes: int, top: int, per_class_pair: int
    ) -> None:
        self.old, self.new, self.codes = old, new, codes
        self.by_class = np.zeros((2, 3, classes), np.int64)
        self.pairs = np.zeros((2, 3), np.int64)
        self.borderline = np.zeros(2, np.int64)
        order = new.plan.rows.order
        self.lists = {kind: _List(codes, order, top, per_class_pair) for kind in KINDS}

    def at(self, tile: Tile) -> None:
        """Look at the pairs of a tile."""
        plan = self.new.plan
        sides = slice(tile.a, tile.b), slice(tile.c, tile.d)
        scores = [side.plan.rows.scores_of(*sides) for side in (self.old, self.new)]
        i, j = np.nonzero((scores[0] >= self.old.cut) | (scores[1] >= self.new.cut))
        one, two = tile.a + i, tile.c + j
        paired = plan.are_pairs(one, two)
        if tile.a == tile.c:
            paired &= one < two
        i, j, one, two = i[paired], j[paired], one[paired], two[paired]
        of_old, of_new = scores[0][i, j], scores[1][i, j]
        by_old, by_new = of_old >= self.old.cut, of_new >= self.new.cut
        kind = (plan.truth[one] != plan.truth[two]).astype(np.int64)
        state = by_old + 2 * by_new.astype(np.int64) - 1
        np.add.at(self.pairs, (kind, state), 1)
        np.add.at(self.by_class, (kind, state, self.codes[one]), 1)
        if not plan.searching:
            apart = kind == IMPOSTOR
            np.add.at(self.by_class, (IMPOSTOR, state[apart], self.codes[two[apart]]), 1)
        near = (by_old & _is_near(self.old, of_old)) | (by_new & _is_near(self.new, of_new))
        self.borderline += np.bincount(kind[near], minlength=2)
        for name, listed in self.lists.items():
            which = np.flatnonzero((kind == place_of(name)[0]) & (state == place_of(name)[1]))
            if len(which):
                side, scored = decider(name, (self.old, of_old), (self.new, of_new))
                values = scored[which] if name.startswith("impostors") else -scored[which]
                listed.add(one[which], two[which], values / _step(side))

    def add(self, other: "_Look") -> None:
        """Add what another worker saw."""
        self.pairs += other.pairs
        self.by_class += other.by_class
        self.borderline += other.borderline
        for kind, listed in self.lists.items():
            listed.join(other.lists[kind])

    def flips(self) -> Flips:
        hardest = {kind: listed.settled() for kind, listed in self.lists.items()}
        return Flips(self.pairs, self.by_class, self.borderline, hardest)


def decider(kind: Kind, old: T, new: T) -> T:
    """Return the one of two things that is of the model which is wrong about pairs of a kind."""
    return new if kind in ("genuine_lost", "impostors_let_in") else old


def _is_near(side: Side, scores: Floats) -> NDArray[np.bool_]:
    """Return which accepted scores exact arithmetic may refuse."""
    return np.asarray(scores < side.cut + np.float32(2 * side.plan.rows.rounding))


def _step(side: Side) -> float:
    """Return the width of scores that rank as equal."""
    return _TIE * side.plan.rows.rounding or 1.0


class _List:
    """The pairs of highest value, with few of each pair of classes.

    Values are rounded to whole numbers. In a tie the pair of the lower source rows comes first.
    """

    def __init__(self, codes: Ints, order: Ints, top: int, per_class_pair: int) -> None:
        self.codes, self.order, self.top, self.limit = codes, order, top, per_class_pair
        self.pairs = np.zeros((2, 0), np.int64)
        self.values = np.zeros(0)
        self.pending: list[tuple[Ints, Floats]] = []
        self.size, self.least = 0, -np.inf

    def add(self, one: Ints, two: Ints, values: Floats) -> None:
        """Add pairs of rows."""
        values = np.rint(values.astype(np.float64))
        # A full list takes no pair below its last one.
        kept = values >= self.least
        self.pending.append((np.stack([one[kept], two[kept]]), values[kept]))
        self.size += int(np.count_nonzero(kept))
        if self.size > _PENDING:
            self.settled()

    def join(self, other: "_List") -> None:
        """Add the pairs of another list."""
        one, two = other.settled()
        self.add(one, two, other.values)

    def settled(self) -> Ints:
        """Cut the list to its length, and return the pairs of rows, shape (2, P)."""
        pairs = np.concatenate([self.pairs, *(pairs for pairs, _ in self.pending)], axis=1)
        values = np.concatenate([self.values, *(values for _, values in self.pending)])
        rows = np.sort(self.order[pairs], axis=0)
        place = np.lexsort((rows[1], rows[0], -values))
        pairs, values = pairs[:, place], values[place]
        kept = np.flatnonzero(rank_within(np.sort(self.codes[pairs], axis=0)) < self.limit)
        kept = kept[: self.top]
        self.pairs, self.values, self.pending, self.size = pairs[:, kept], values[kept], [], 0
        if len(kept) == self.top:
            self.least = float(self.values[-1])
        return self.pairs
