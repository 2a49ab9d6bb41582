"""Count in parts, for jobs of any scheduler: make a plan, count a part of it, merge all parts.

The plan has all that jobs must agree on, so that they need not talk to each other. Each job reads
the source, counts one part, and writes the partial counts. The merge adds them up, and scores the
sum as ``evaluate`` does.
"""

import dataclasses
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from opis_cli.counting import engines
from opis_cli.counting.count import Progress
from opis_cli.counting.memory import Announce, refuse_memory, silent
from opis_cli.counting.merge import OtherGrid, check_work, merge_pairs, whole_of
from opis_cli.counting.part_files import PartHead, PlanFile, write_part
from opis_cli.counting.parts import Part
from opis_cli.counting.plan import plan_pairs
from opis_cli.counting.prepared import Prepared
from opis_cli.counting.sizes import SIZES, Sizes
from opis_cli.counting.work import work_of
from opis_cli.embeddings.read import read_as
from opis_cli.embeddings.sources import Given, parts_of
from opis_cli.errors import RunError, SettingsError
from opis_cli.machine import processors
from opis_cli.pipeline import as_counted, evaluate_embeddings
from opis_cli.run import Run
from opis_cli.settings import Settings


def make_plan(
    source: Given,
    settings: Settings,
    announce: Announce = silent,
    sizes: Sizes = SIZES,
) -> PlanFile:
    """Plan a count in parts: read the source, look at some pairs, and place the grid.

    Parameters
    ----------
    source : path, or list of paths
    settings : Settings
    announce : callable
        Called with a text for the user.
    sizes : Sizes
        Numbers of pairs and rows at which counting changes its method.

    Raises
    ------
    SettingsError
        A setting does not go with parts.
    OpisError
        The source is not usable.
    """
    if settings.pairs:
        raise SettingsError("--pairs are read in one go, and not counted in parts; evaluate them")
    if settings.engine == "dask":
        raise SettingsError(
            "--engine=dask counts parts on a cluster by itself; evaluate with it, or leave it out"
        )
    if settings.time_limit is not None:
        raise SettingsError(
            "--time-limit goes by the speed of this machine, not of the jobs that count parts; "
            "leave it out, or give --max-pairs"
        )
    if settings.checkpoint is not None:
        raise SettingsError("--checkpoint: a part is what a count goes on from; leave it out")
    embeddings, chosen, deployed = as_counted(read_as(source, settings), settings)
    work = Prepared.of(embeddings, chosen, deployed, announce, sizes)
    with engines.opened(work.engine, embeddings, chosen, work.threads) as ready:
        side = sizes.tile_side or ready.side
    return PlanFile(
        source=parts_of(source),
        settings=settings,
        engine=work.engine,
        side=side,
        pairs=Part.whole(work.plan, side).pairs,
        work=work_of(embeddings, chosen, deployed, work.engine, side),
        attempt=1,
        grid=work.place(work.seen),
    )


def count_part(
    source: Given,
    plan: PlanFile,
    number: int,
    of: int,
    file: Path,
    *,
    threads: int | None = None,
    memory_limit: str | None = None,
    progress: Progress = lambda done, total: None,
    announce: Announce = silent,
) -> int | None:
    """Count part ``number`` of ``of``, from 1, and write it. A part that is whole is left alone.

    Parameters
    ----------
    source : path, or list of paths
        The source of the plan, or the same files elsewhere.
    plan : PlanFile
    number, of : int
    file : Path
    threads : int, optional
    memory_limit : str, optional
        Settings of this machine, in place of those of the plan.
    progress : callable
        Called with (pairs counted, pairs of the part).
    announce : callable
        Called with a text for the user.

    Returns
    -------
    int or None
        Number of pairs counted; None if the part was there already.

    Raises
    ------
    InputError
        The source is not that of the plan.
    RunError
        The file is there, but is not this part.
    """
    if file.exists():
        _check_there(file, plan, number, of)
        return None
    machine = {"threads": threads, "memory_limit": memory_limit}
    given = {name: value for name, value in machine.items() if value is not None}
    settings = dataclasses.replace(plan.settings, **given)  # type: ignore[arg-type]
    embeddings, settings, deployed = as_counted(read_as(source, settings), settings)
    check_work(plan, embeddings, settings, deployed)
    refuse_memory(embeddings, settings)
    threads = settings.threads or processors()
    pairs = plan_pairs(embeddings, settings, threads)
    part = Part.whole(pairs, plan.side).divided(of)[number - 1]
    tally, done, total = pairs.empty_tally(plan.grid), 0, part.pairs

    def advance(counted: int) -> None:
        nonlocal done
        done += counted
        progress(done, total)

    with (
        engines.opened(plan.engine, embeddings, settings, threads) as ready,
        engines.announced(plan.engine, announce),
    ):
        ready.count_part(pairs, plan.grid, part, tally, advance)
    write_part(file, plan, number, of, tally)
    return total


def _check_there(file: Path, plan: PlanFile, number: int, of: int) -> None:
    """Refuse a file that is not the whole part of this number and plan."""
    head = PartHead.read(file)
    if (head.plan, head.number, head.of) != (plan.text, number, of):
        there = f"part {head.number:,} of {head.of:,}"
        there += " of another plan" * (head.plan != plan.text)
        raise RunError(f"{file}: has {there}; choose another file, or delete it")
    head.tally()


def merge_parts(
    files: Sequence[Path],
    out: Path,
    *,
    source: Given | None = None,
    progress: Progress = lambda done, total: None,
    announce: Announce = silent,
    sizes: Sizes = SIZES,
) -> Run:
    """Merge all parts of a plan, in any order, into a run.

    Parameters
    ----------
    files : sequence of Path
    out : Path
        Where the run will be. If the grid of the plan does not serve, the next plan is written
        beside it.
    source : path, or list of paths, optional
        Where the source is now. By default where it was for the plan.
    progress : callable
        Called with (pairs added, pairs in all).
    announce : callable
        Called with a text for the user.
    sizes : Sizes
        As for ``make_plan``.

    Returns
    -------
    Run
        The run that ``evaluate`` returns. It is not written yet.

    Raises
    ------
    RunError
        Parts are missing, damaged, or of several plans; or another plan must be counted.
    InputError
        The source is not that of the plan.
    """
    heads = whole_of([PartHead.read(file) for file in files])
    plan = PlanFile.parse(heads[0].plan, heads[0].file)
    settings = dataclasses.replace(plan.settings, engine=plan.engine)  # type: ignore[arg-type]
    start = time.perf_counter()
    embeddings = read_as(source or list(plan.source), settings)
    try:
        return evaluate_embeddings(
            embeddings,
            settings,
            read_seconds=time.perf_counter() - start,
            progress=progress,
            announce=announce,
            sizes=sizes,
            count=partial(merge_pairs, heads, plan),
        )
    except OtherGrid as other:
        file = Path(f"{out}.plan.json")
        dataclasses.replace(plan, attempt=plan.attempt + 1, grid=other.grid).write(file)
        raise RunError(
            f"the thresholds of this plan do not serve: they were placed by a sample of the pairs, "
            f"and lie too far apart where it matters. {file} is the next plan, placed by all pairs "
            "that were counted; count its parts, and merge these"
        ) from None
