"""Divide a count into parts of equal work, and count one of them.

Tallies add up, so any division of the tiles gives the same counts. One process counts its parts one
after the other, and can keep what it has after each (``checkpoint.py``). A cluster counts them at
the same time (``cluster.py``). Jobs of any scheduler each count one (``part_files.py``).

A part has tiles of every pass. A tile of a part is cut at the same rows as a tile of the whole, so
an engine multiplies the same blocks of rows, and rounds every score in the same way.
"""

import heapq
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from opis_cli.counting.plan import Plan
from opis_cli.counting.tally import Advance, CountPairs, Tally, Tile, cut
from opis_cli.records import Grid

_TILES = 64
"""Least tiles of a part, where the engine's tiles are small enough. Parts of so many tiles differ
in work by less than a hundredth."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some tiles of a plan.

    Attributes
    ----------
    tiles : tuple of tuples of Tile
        For each pass of the plan, the tiles to count. They may be larger than an engine can take.
    side : int
        Rows on a side of the tiles that the engine takes. It cuts those above into such.
    """

    tiles: tuple[tuple[Tile, ...], ...]
    side: int

    @classmethod
    def whole(cls, plan: Plan, side: int) -> "Part":
        """Return the part that has all tiles of a plan."""
        return cls(tuple(one.blocks for one in plan.passes), side)

    @property
    def pairs(self) -> int:
        """Number of pairs in all tiles, with vetoed pairs."""
        return sum(tile.pairs for tiles in self.tiles for tile in tiles)

    def of_pass(self, number: int) -> Iterator[Tile]:
        """Yield the tiles of a pass as the engine takes them."""
        return (small for tile in self.tiles[number] for small in cut(tile, self.side))

    def divided(self, count: int) -> "list[Part]":
        """Divide the tiles into ``count`` parts with nearly equal numbers of pairs.

        The largest tile that is left always goes to the part with the fewest pairs.
        """
        if count == 1:
            return [self]
        wanted = math.isqrt(self.pairs // (count * _TILES))
        # Larger tiles than the engine's are quick to deal: a million, where there are a billion.
        side = self.side * max(1, wanted // self.side)
        tiles = [
            (tile, number)
            for number, blocks in enumerate(self.tiles)
            for block in blocks
            for tile in cut(block, side)
        ]
        dealt: list[list[list[Tile]]] = [[[] for _ in self.tiles] for _ in range(count)]
        least = [(0, part) for part in range(count)]
        for tile, number in sorted(tiles, key=lambda one: -one[0].pairs):
            pairs, part = least[0]
            dealt[part][number].append(tile)
            heapq.heapreplace(least, (pairs + tile.pairs, part))
        return [Part(tuple(map(tuple, own)), self.side) for own in dealt]


CountPart = Callable[[Plan, Grid, Part, Tally, Advance], None]
"""A function that adds the pairs of a part to a tally."""


@dataclass(frozen=True, slots=True)
class Opened:
    """An engine that is ready to count.

    Attributes
    ----------
    side : int
        Rows on a side of the tiles that suit the engine best.
    count_part : callable
    """

    side: int
    count_part: CountPart


def counting_with(count_pairs: CountPairs, threads: int) -> CountPart:
    """Return the function that counts a part in this process, given that of an engine."""
    return partial(_count_part, count_pairs, threads)


def _count_part(
    count_pairs: CountPairs,
    threads: int,
    plan: Plan,
    grid: Grid,
    part: Part,
    tally: Tally,
    advance: Advance,
) -> None:
    for number, one in enumerate(plan.passes):
        if not part.tiles[number]:
            continue
        before = tally.pooled_impostor.copy()
        seen_before = None if plan.groups is None else plan.groups.seen(tally, grid)
        own = tally.in_order(one.order)
        count_pairs(one.rows, grid, part.of_pass(number), own, threads, advance)
        tally.take_nearest(own, one.order)
        if one.fold is not None:
            tally.inside[one.fold] += tally.pooled_impostor - before
        if plan.groups is not None and seen_before is not None:
            plan.groups.add(tally, one, grid, seen_before)
