"""The command ``explain``: the pairs, the classes and the rows behind the rates."""

from pathlib import Path
from typing import Annotated

import typer

from opis_cli.cli.commands import app
from opis_cli.cli.options import Config, Json, Quiet, RunOrSource
from opis_cli.cli.shared import names_in, print_json, run_of, show


@app.command(
    examples=(
        "opis explain runs/first",
        "opis explain runs/first --class dog --show-columns text,source",
        "opis explain runs/first --threshold threshold.json --source moved.parquet",
    )
)
def explain(
    run_or_source: RunOrSource,
    threshold: Annotated[
        str | None,
        typer.Option(
            help="Threshold to explain.",
            metavar="[SCALE:]T|threshold.json",
            show_default="the recommended one",
            rich_help_panel="Start here",
        ),
    ] = None,
    of_class: Annotated[
        str | None,
        typer.Option(
            "--class",
            help="Only pairs with a row of this class, or group.",
            metavar="NAME",
            rich_help_panel="Start here",
        ),
    ] = None,
    top: Annotated[int, typer.Option(help="Most pairs of a kind to list.", metavar="N")] = 1_000,
    per_class_pair: Annotated[
        int, typer.Option(help="Most pairs of one pair of classes.", metavar="N")
    ] = 3,
    show_columns: Annotated[
        str | None,
        typer.Option(
            help="Columns whose values stand beside each pair, with commas between.",
            metavar="A,B",
            rich_help_panel="Start here",
        ),
    ] = None,
    id_column: Annotated[
        str | None,
        typer.Option(
            help="Columns of scored pairs with the ids of both sides, for a table of rows.",
            metavar="LEFT,RIGHT",
            rich_help_panel="Scored pairs",
        ),
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(
            help="Where the source of the run is now. Repeatable.",
            metavar="FILE",
            show_default="where it was",
            rich_help_panel="Input",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the tables.", metavar="DIR", show_default="evidence/ in the run"
        ),
    ] = None,
    config: Config = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say why: the hardest pairs, confused classes, suspect rows, and what if they were mended."""
    from opis_cli.cli.progress import progress_bar
    from opis_cli.report.evidence import FOLDER, check_folder, save_evidence
    from opis_cli.run import is_run

    if out is None and is_run(Path(run_or_source)):
        out = Path(run_or_source) / FOLDER
    if out is not None:
        check_folder(out)
    run = run_of(run_or_source, config, quiet)
    with progress_bar(quiet) as progress:
        evidence = run.explain(
            source,
            threshold=threshold,
            of_class=of_class,
            top=top,
            per_class_pair=per_class_pair,
            show_columns=names_in(show_columns),
            id_column=id_column,
            progress=progress,
        )
    if out is not None:
        save_evidence(evidence, out)
    if as_json:
        print_json(evidence.facts)
    elif not quiet:
        from opis_cli.render.terminal.evidence import evidence_summary

        show(evidence_summary(evidence, out))
