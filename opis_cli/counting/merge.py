"""Add the parts that jobs counted, and turn the sum into counts."""

from collections.abc import Callable, Sequence

import numpy as np

from opis_cli.counting.fitting import ATTEMPTS, pilot_of_counts
from opis_cli.counting.memory import Announce, refuse_memory, silent
from opis_cli.counting.part_files import PartHead, PlanFile
from opis_cli.counting.parts import Part
from opis_cli.counting.prepared import Prepared
from opis_cli.counting.sizes import SIZES, Sizes
from opis_cli.counting.tally import Tally
from opis_cli.counting.work import work_of
from opis_cli.errors import InputError, RunError
from opis_cli.records import Embeddings, Grid, PairCounts
from opis_cli.settings import Settings


class OtherGrid(Exception):
    """The grid of the parts does not serve. ``grid`` is the next one to count on."""

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        self.grid = grid


def whole_of(heads: Sequence[PartHead]) -> list[PartHead]:
    """Return each part once, in order. A part that is given twice counts once.

    Raises
    ------
    RunError
        The parts are of several plans or divisions, or some are missing.
    """
    first = heads[0]
    for other in heads[1:]:
        if other.plan != first.plan:
            raise RunError(
                f"{other.file}: a part of another plan than {first.file}; merge the parts of one"
            )
        if other.of != first.of:
            raise RunError(
                f"{other.file}: one of {other.of:,} parts, and {first.file} is one of "
                f"{first.of:,}; merge the parts of one division"
            )
    known = {head.number: head for head in reversed(heads)}
    missing = [number for number in range(1, first.of + 1) if number not in known]
    if missing:
        named = f"part {missing[0]}" if len(missing) == 1 else f"parts {_listed(missing)}"
        raise RunError(
            f"{named} of {first.of:,} {'is' if len(missing) == 1 else 'are'} missing; count "
            f"{'it' if len(missing) == 1 else 'them'} with `opis count SOURCE --part "
            f"{missing[0]}/{first.of} --plan PLAN -o FILE`, and give all parts"
        )
    return [known[number] for number in sorted(known)]


def _listed(numbers: list[int]) -> str:
    """Return rising numbers in words; neighbours make a range: ``1 and 3 to 5``."""
    ends = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)
    texts = [f"{run[0]:,} to {run[-1]:,}" if len(run) > 1 else f"{run[0]:,}" for run in ends]
    if len(texts) > _NAMED:
        texts = [*texts[:_NAMED], f"{sum(map(len, ends[_NAMED:])):,} more"]
    return " and ".join(filter(None, [", ".join(texts[:-1]), texts[-1]]))


_NAMED = 8
"""Most runs of missing parts that a message names."""


def merge_pairs(
    heads: Sequence[PartHead],
    plan: PlanFile,
    embeddings: Embeddings,
    settings: Settings,
    deployed: float | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    announce: Announce = silent,
    sizes: Sizes = SIZES,
) -> PairCounts:
    """Return the counts that ``count_pairs`` returns, from parts instead of pairs.

    Parameters
    ----------
    heads : sequence of PartHead
        All parts of the plan, each once.
    plan : PlanFile
        Their plan.
    embeddings, settings, deployed, progress, announce, sizes
        As for ``count_pairs``. Progress is called after each part.

    Raises
    ------
    InputError
        The rows are not those of the plan, or the pairs cannot resolve the calibration range.
    RunError
        A part is damaged.
    SettingsError
        The work needs more memory than the limit.
    OtherGrid
        The grid of the plan does not serve.
    """
    work = Prepared.of(embeddings, settings, deployed, announce, sizes)
    check_work(plan, embeddings, settings, deployed)
    parts = Part.whole(work.plan, plan.side).divided(len(heads))
    total, done = work.plan.empty_tally(plan.grid), 0
    refuse_memory(embeddings, settings, total.nbytes)
    for head, part in zip(heads, parts, strict=True):
        tally = head.tally()
        if not _fits(tally, total, part.pairs):
            raise RunError(f"{head.file}: damaged; delete it, count the part again, and merge")
        total.add(tally)
        done += part.pairs
        progress(done, plan.pairs)
    counts = work.counts(plan.grid, total)
    if plan.attempt < ATTEMPTS and not work.serves(counts):
        raise OtherGrid(work.place(pilot_of_counts(counts)))
    return work.completed(counts, work.resolved(counts), announce)


def check_work(
    plan: PlanFile, embeddings: Embeddings, settings: Settings, deployed: float | None
) -> None:
    """Refuse rows that are not those of a plan.

    Raises
    ------
    InputError
        The source differs, or a file that the settings name.
    """
    if work_of(embeddings, settings, deployed, plan.engine, plan.side) != plan.work:
        raise InputError(
            f"{embeddings.source.path}: not the rows of the plan; the source, or a file that the "
            "plan's settings name, has changed (its checksum differs). Give the same files, or "
            "make another plan"
        )


def _fits(tally: Tally, total: Tally, pairs: int) -> bool:
    """Return whether a tally has the arrays of the total, and holds so many pairs."""
    alike = all(
        getattr(tally, name).shape == getattr(total, name).shape
        and getattr(tally, name).dtype == getattr(total, name).dtype
        for name in Tally.__dataclass_fields__
    )
    return alike and int(tally.pooled_genuine.sum() + tally.pooled_impostor.sum()) == pairs
