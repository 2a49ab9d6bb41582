"""The commands ``count`` and ``merge``: a count in parts, for jobs of any scheduler."""

import re
import time
from pathlib import Path
from typing import Annotated

import typer

from opis_cli.cli.commands import app
from opis_cli.cli.options import (
    Config,
    Details,
    Force,
    Given,
    Json,
    Out,
    Quiet,
    Source,
    settings_as_options,
)
from opis_cli.cli.progress import announcer, progress_bar
from opis_cli.cli.shared import print_json, settings_of, show
from opis_cli.errors import SettingsError
from opis_cli.settings import ABOUT
from opis_cli.text import human_count

_SETTINGS = tuple(
    name
    for name, about in ABOUT.items()
    if about.panel != "Scored pairs" and name not in ("checkpoint", "scheduler", "time_limit")
)
"""Settings that a plan may have."""
_OF_MACHINE = ("threads", "memory_limit")
"""Settings that each job may have its own value of."""
_MOST_PARTS = 100_000


@app.command(
    examples=(
        "opis count big.parquet --plan-only -o plan.json",
        "opis count big.parquet --part 3/64 --plan plan.json -o part-3.npz",
        "opis count big.parquet --plan-only --max-far 0.001 -o plan.json",
    )
)
@settings_as_options(*_SETTINGS)
def count(
    source: Source,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="File to write: the plan, or the part.",
            metavar="FILE",
            rich_help_panel="Start here",
        ),
    ],
    plan_only: Annotated[
        bool,
        typer.Option(
            "--plan-only",
            help="Make the plan: settings, thresholds and checksum. It is made once.",
            rich_help_panel="Start here",
        ),
    ] = False,
    part: Annotated[
        str | None,
        typer.Option(
            help="Count part K of N equal ones, 1/N to N/N.",
            metavar="K/N",
            rich_help_panel="Start here",
        ),
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option(
            help="The plan of the part. It has the settings.",
            metavar="PLAN",
            rich_help_panel="Start here",
        ),
    ] = None,
    *,
    given: Given,
    config: Config = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Plan a count in parts for jobs of any scheduler, or count one part."""
    if plan_only == (part is not None) or (plan is None) != (part is None):
        raise SettingsError(
            "opis count makes a plan (--plan-only), or counts a part of it (--part=K/N and --plan="
            "PLAN); ask for one of the two. `opis evaluate` counts all in one go"
        )
    if part is None or plan is None:
        _plan(source, given, output, config, as_json, quiet)
    else:
        _part(source, given, output, part, plan, as_json, quiet)


def _plan(
    source: list[str],
    given: Given,
    output: Path,
    config: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    from opis_cli.in_parts import make_plan

    made = make_plan(source, settings_of(config, given), announcer(quiet))
    made.write(output)
    thresholds = len(made.grid.thresholds)
    if as_json:
        facts = {"pairs": made.pairs, "thresholds": thresholds, "engine": made.engine}
        print_json({"plan": str(output)} | facts)
    elif not quiet:
        typer.echo(
            f"Plan written to {output}: {made.pairs:,} pairs at {thresholds:,} thresholds, with "
            f"the {made.engine} engine.\n"
            f"Count part K of N with --part K/N --plan {output}, and add the parts with opis merge."
        )


def _part(
    source: list[str],
    given: Given,
    output: Path,
    part: str,
    plan: Path,
    as_json: bool,
    quiet: bool,
) -> None:
    from opis_cli.counting.part_files import PlanFile
    from opis_cli.in_parts import count_part

    for name, value in given.items():
        if value is not None and name not in _OF_MACHINE:
            raise SettingsError(
                f"--{name.replace('_', '-')}: the plan has the settings of a part; leave it out, "
                "or make another plan with it"
            )
    number, of = _numbers(part)
    start = time.perf_counter()
    with progress_bar(quiet) as progress:
        pairs = count_part(
            source,
            PlanFile.read(plan),
            number,
            of,
            output,
            **{name: given[name] for name in _OF_MACHINE},
            progress=progress,
            announce=announcer(quiet),
        )
    seconds = time.perf_counter() - start
    if as_json:
        facts = {"number": number, "of": of, "counted_pairs": pairs or 0}
        print_json({"part": str(output)} | facts | {"seconds": round(seconds, 4)})
    elif not quiet and pairs is None:
        typer.echo(f"Part {number:,} of {of:,} is in {output} already; nothing to count.")
    elif not quiet:
        typer.echo(
            f"Part {number:,} of {of:,} written to {output}: {human_count(pairs or 0)} pairs in "
            f"{seconds:.1f} s."
        )


def _numbers(part: str) -> tuple[int, int]:
    """Return K and N of ``K/N``."""
    found = re.fullmatch("([0-9]{1,9})/([0-9]{1,9})", part)
    if found and 1 <= int(found[1]) <= int(found[2]) <= _MOST_PARTS:
        return int(found[1]), int(found[2])
    raise SettingsError(
        f"--part={part}: no part; give K/N, such as 3/64, with K from 1 to N, and N at most "
        f"{_MOST_PARTS:,}"
    )


@app.command(
    examples=(
        "opis merge part-*.npz --out runs/first",
        "opis merge parts/*.npz --out runs/first --source moved.parquet",
        "opis merge part-1.npz part-2.npz --out runs/first --force --json",
    )
)
def merge(
    parts: Annotated[
        list[Path],
        typer.Argument(help="All parts of a plan, in any order.", metavar="PARTS"),
    ],
    out: Out = None,
    force: Force = False,
    source: Annotated[
        list[str] | None,
        typer.Option(
            help="Where the source of the plan is now. Repeatable.",
            metavar="FILE",
            show_default="where it was",
            rich_help_panel="Input",
        ),
    ] = None,
    details: Details = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Add all parts of a count into the run that evaluate would write."""
    from opis_cli.in_parts import merge_parts
    from opis_cli.run import check_target

    if out is None:
        raise SettingsError("opis merge writes a run; name its folder: --out=RUN")
    check_target(out, force=force)
    with progress_bar(quiet) as progress:
        run = merge_parts(parts, out, source=source, progress=progress, announce=announcer(quiet))
    report = run.save(out, force=force)
    if as_json:
        print_json(report)
    elif not quiet:
        from opis_cli.render.terminal.summary import summary

        show(summary(run, out, details=details))
