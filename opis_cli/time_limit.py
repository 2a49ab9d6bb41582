"""``--time-limit``: how many pairs there is time for.

The time of an evaluation is taken to be ``start + rows * row + pairs * pair``. The three numbers
are measured here and now, with made vectors: two small evaluations tell the first two, most of
which is scoring, and counting alone tells the last.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from opis_cli.counting.count import count_pairs
from opis_cli.counting.memory import Announce
from opis_cli.counting.prepared import choose_engine
from opis_cli.counting.sizes import SIZES
from opis_cli.counting.speed import made_rows, pairs_per_second, probe_settings
from opis_cli.embeddings.sampling import Extent
from opis_cli.errors import InputError
from opis_cli.machine import processors
from opis_cli.report.build import build_report, facts_of_embeddings
from opis_cli.settings import Settings
from opis_cli.text import duration

_SHARE = 0.85
"""Share of the time left that is planned for. The rest is for what was not foreseen."""
_PROBES, _LONG_LIMIT = (1_500, 6_000), 60.0
"""Rows of the two evaluations that are measured, and seconds of a limit that has the time for
them. Under a shorter limit there are fewer, but not less than a third."""
_WRITING = 1.0
"""Seconds that writing a small run takes. A large one takes about as long as scoring it, in
addition: both go through all counts by class."""
_USUAL_DIM = 256
"""Dimensions up to which these evaluations need not be smaller."""
_AT_ONCE = 2_000_000_000
"""Pairs times dimensions that take less time than measuring."""


@dataclass(frozen=True, slots=True)
class Speed:
    """What an evaluation takes here, in seconds: at all, for each row, and for each pair."""

    start: float
    row: float
    pair: float

    def seconds(self, extent: Extent, pairs: float) -> float:
        """Return the seconds for so many of the pairs of a source."""
        return self.start + self.row * _rows(extent, pairs) + self.pair * pairs


def _rows(extent: Extent, pairs: float) -> float:
    """Return the rows that make so many pairs."""
    share = pairs / max(extent.pairs, 1)
    return extent.rows * (math.sqrt(share) if extent.paired else share)


Measure = Callable[[Extent, Settings, Announce, bool], Speed]
"""A function that measures the speed of evaluations of a source on this machine."""


def measured(extent: Extent, settings: Settings, announce: Announce, saved: bool) -> Speed:
    """Measure the speed of evaluations like that of a source.

    Parameters
    ----------
    extent : Extent
    settings : Settings
    announce : callable
    saved : bool
        Whether the run will be written.
    """
    dim = extent.dim * (8 if settings.metric == "hamming" and extent.bits else 1)
    per_class, threads = extent.rows / extent.classes, settings.threads or processors()
    some = made_rows(64, dim, per_class, settings)
    engine = choose_engine(settings.engine, extent.pairs, some)
    pair = 1 / pairs_per_second(dim, per_class, settings, engine, threads, announce)
    own = probe_settings(settings, engine)
    # As if these rows were many, because scoring depends on that.
    sizes = replace(SIZES, small_pairs=0, small_counts=0, exhaustive_pairs=0)
    limit = settings.time_limit_seconds or _LONG_LIMIT
    smaller = min(1.0, math.sqrt(_USUAL_DIM / dim)) * min(1.0, max(limit / _LONG_LIMIT, 1 / 3))
    found = []
    for rows in (64, *(math.ceil(smaller * rows) for rows in _PROBES)):
        made = made_rows(rows, dim, per_class, own)
        begun = time.perf_counter()
        counts = count_pairs(made, own, sizes=sizes)
        counted = time.perf_counter()
        build_report(counts, facts_of_embeddings(counts, made, own), own)
        scoring = (time.perf_counter() - counted) * (2 if saved else 1)
        counting = counted - begun - pair * rows * (rows - 1) / 2
        found.append((rows, counting + scoring))
    (few, one), (many, other) = found[1:]  # The first of them loaded what is needed.
    row = max((other - one) / (many - few), 0.0)
    return Speed(max(one - few * row, 0.0) + saved * _WRITING, row, pair)


@dataclass(slots=True)
class TimeLimit:
    """The time that an evaluation has.

    Attributes
    ----------
    settings : Settings
        They have a time limit.
    begun : float
        When the command or the call began, by ``clock``.
    announce : callable
    saved : bool
        Whether the run will be written.
    measure : callable
        Measures the speed, once.
    clock : callable
        Returns seconds.
    """

    settings: Settings
    begun: float
    announce: Announce
    saved: bool
    measure: Measure
    clock: Callable[[], float] = time.perf_counter
    _speed: Speed | None = field(default=None, init=False)

    def most_pairs(self, extent: Extent) -> int:
        """Return the most pairs of a source that there is time for from now on."""
        if extent.pairs * max(extent.dim, 1) <= _AT_ONCE:
            return extent.pairs
        speed = self._measured(extent)
        left = _SHARE * (self._limit - (self.clock() - self.begun))
        if speed.seconds(extent, extent.pairs) <= left:
            return extent.pairs
        low, high = 0, extent.pairs
        while high - low > 1 + low // 1_000:
            middle = (low + high) // 2
            low, high = (middle, high) if speed.seconds(extent, middle) <= left else (low, middle)
        return low

    def too_short(self, extent: Extent, needed: int) -> InputError:
        """Return the error that there is no time for so many pairs, which says what it takes."""
        spent = self.clock() - self.begun
        seconds = spent + self._measured(extent).seconds(extent, needed) / _SHARE
        return InputError(
            f"--time-limit={self.settings.time_limit}: too short for a sample of this source, of "
            f"which {duration(spent)} are gone; the smallest one takes about {duration(seconds)} "
            f"in all, so give --time-limit={math.ceil(1.2 * seconds)}s or more"
        )

    def _measured(self, extent: Extent) -> Speed:
        if self._speed is None:
            self._speed = self.measure(extent, self.settings, self.announce, self.saved)
        return self._speed

    @property
    def _limit(self) -> float:
        return self.settings.time_limit_seconds or math.inf
