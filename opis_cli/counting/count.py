"""Count all pairs of embeddings.

The steps are: plan the pairs, look at some of them (the pilot), place the grid, let an engine count
the tiles, and check that the grid served. If it did not, another grid is placed and all pairs are
counted again.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from opis_cli.counting import engines
from opis_cli.counting.checkpoint import Begun, Checkpoint
from opis_cli.counting.fitting import count_on_fitting_grid
from opis_cli.counting.memory import Announce, silent
from opis_cli.counting.offer import offer_sample
from opis_cli.counting.parts import Opened, Part
from opis_cli.counting.plan import Plan
from opis_cli.counting.prepared import Prepared
from opis_cli.counting.sizes import SIZES, Sizes
from opis_cli.counting.tally import Tally
from opis_cli.counting.work import work_of
from opis_cli.records import Embeddings, Grid, PairCounts
from opis_cli.settings import Settings

Progress = Callable[[int, int], None]
"""A function that is called with ``(pairs counted, pairs in all)``."""


def count_pairs(
    embeddings: Embeddings,
    settings: Settings,
    deployed: float | None = None,
    progress: Progress = lambda done, total: None,
    announce: Announce = silent,
    sizes: Sizes = SIZES,
) -> PairCounts:
    """Count the pairs of embeddings at the thresholds that the settings need.

    Parameters
    ----------
    embeddings : Embeddings
    settings : Settings
    deployed : float, optional
        A threshold that must be on the grid.
    progress : callable
        Called with (pairs counted, pairs in all). It starts again if the grid did not serve.
    announce : callable
        Called with a line on pairs and memory, before work that takes long.
    sizes : Sizes
        Numbers of pairs and rows at which counting changes its method.

    Raises
    ------
    InputError
        The pairs cannot resolve the calibration range.
    SettingsError
        The work needs more memory than the limit.
    RunError
        The checkpoint is damaged, or belongs to other work.
    """
    work = Prepared.of(embeddings, settings, deployed, announce, sizes)
    offer_sample(work, announce)
    with engines.opened(work.engine, embeddings, settings, work.threads) as ready:
        ready = dataclasses.replace(ready, side=sizes.tile_side or ready.side)
        whole = Part.whole(work.plan, ready.side)
        checkpoint, begun = None, None
        if settings.checkpoint is not None:
            digest = work_of(embeddings, settings, deployed, work.engine, ready.side)
            checkpoint = Checkpoint(Path(settings.checkpoint), digest)
            begun = checkpoint.load()

        def count_on(placed: Grid) -> PairCounts:
            nonlocal begun
            if begun is None:
                tally = work.plan.empty_tally(placed)
                parts = 1 if checkpoint is None else _parts(whole, tally, sizes)
                begun = Begun(placed, tally, 0, parts)
            first, begun = begun, None
            with engines.announced(work.engine, announce):
                tally = _count_parts(work.plan, whole, first, ready, progress, checkpoint)
            return work.counts(placed, tally)

        placed = begun.grid if begun else work.place(work.seen)
        counts = count_on_fitting_grid(placed, count_on, work.serves, work.place)
    span = work.resolved(counts)
    if checkpoint is not None:
        checkpoint.clear()
    return work.completed(counts, span, announce)


def _parts(whole: Part, tally: Tally, sizes: Sizes) -> int:
    """Return the number of parts to count, each with a checkpoint at its end.

    Each is large enough that writing the tally costs little beside counting.
    """
    least = max(sizes.checkpoint_pairs, sizes.pairs_per_byte * tally.nbytes)
    tiles = sum(1 for number in range(len(whole.tiles)) for _ in whole.of_pass(number))
    return min(-(-whole.pairs // least), tiles)


def _count_parts(
    plan: Plan,
    whole: Part,
    begun: Begun,
    engine: Opened,
    progress: Progress,
    checkpoint: Checkpoint | None,
) -> Tally:
    """Count all parts that ``begun`` has not counted yet, and return the tally."""
    tally, parts, total = begun.tally, whole.divided(begun.parts), whole.pairs
    done = sum(part.pairs for part in parts[: begun.done])

    def advance(pairs: int) -> None:
        nonlocal done
        done += pairs
        progress(done, total)

    for number in range(begun.done, begun.parts):
        engine.count_part(plan, begun.grid, parts[number], tally, advance)
        if checkpoint is not None:
            checkpoint.save(Begun(begun.grid, tally, number + 1, begun.parts))
    return tally
