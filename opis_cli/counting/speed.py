"""Measure how fast an engine counts pairs here, with made vectors."""

import math
import time
from dataclasses import replace

import numpy as np

from opis_cli.counting import engines
from opis_cli.counting.memory import Announce, silent
from opis_cli.counting.parts import Part
from opis_cli.counting.prepared import Prepared
from opis_cli.counting.sizes import SIZES
from opis_cli.embeddings.clean import Reading, from_arrays
from opis_cli.records import Embeddings
from opis_cli.settings import Settings

_TILES_OF_THREAD, _PARTS = 4, 4
"""Tiles that each thread counts in a probe, and parts of a probe."""
_LONG_ENOUGH = 0.3
"""Seconds of counting that tell the speed well."""
_OWN = ("metric", "calibration", "engine", "device", "dtype", "threads", "seed", "beta", "eps")
"""Settings that a probe takes over, because the speed depends on them."""


def probe_settings(settings: Settings, engine: str) -> Settings:
    """Return the settings that made vectors are counted with, given the engine that will count."""
    chosen = {name: getattr(settings, name) for name in _OWN} | {"engine": engine}
    if settings.calibration_range.by == "distance":
        del chosen["calibration"]  # Made vectors may have no pairs at these distances.
    return Settings(**chosen)


def made_rows(rows: int, dim: int, rows_per_class: float, settings: Settings) -> Embeddings:
    """Make embeddings of classes that overlap, of a usual size of class, as far as rows allow."""
    rng = np.random.default_rng(0)
    per_class = min(max(rows_per_class, 1.1), rows / 8)
    labels = (np.arange(rows) / per_class).astype(np.int64)
    centres = rng.standard_normal((int(labels[-1]) + 1, dim), np.float32)
    vectors = centres[labels] + rng.standard_normal((rows, dim), np.float32)
    if settings.metric == "hamming":
        return from_arrays(vectors > 0, labels, Reading(metric="hamming"))
    return from_arrays(vectors, labels)


def pairs_per_second(
    dim: int,
    rows_per_class: float,
    settings: Settings,
    engine: str,
    threads: int,
    announce: Announce = silent,
) -> float:
    """Return how many pairs an engine counts in a second.

    Parameters
    ----------
    dim : int
        Dimensions of a vector.
    rows_per_class : float
    settings : Settings
    engine : str
        Name of the engine that will count.
    threads : int
    announce : callable
        Called if the engine compiles code first, which is not measured.
    """
    own = probe_settings(settings, engine)
    some = made_rows(64, dim, rows_per_class, own)
    with engines.opened(engine, some, own, threads) as ready, engines.announced(engine, announce):
        rows = math.ceil(ready.side * math.sqrt(2 * _TILES_OF_THREAD * threads))
        made = made_rows(rows, dim, rows_per_class, own)
        work = Prepared.of(made, own, None, silent, replace(SIZES, exhaustive_pairs=0))
        grid = work.place(work.seen)
        tally, counted, start = work.plan.empty_tally(grid), 0, 0.0
        for number, part in enumerate(Part.whole(work.plan, ready.side).divided(_PARTS)):
            if number == 1:  # Before, the engine loaded and compiled what it needs.
                start = time.perf_counter()
            ready.count_part(work.plan, grid, part, tally, lambda pairs: None)
            counted += part.pairs if number else 0
            if number and time.perf_counter() - start > _LONG_ENOUGH:
                break
        seconds = time.perf_counter() - start
    return counted / max(seconds, 1e-9)
