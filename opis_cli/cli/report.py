"""The command ``report``: an interactive page of a run."""

from pathlib import Path
from typing import Annotated

import typer

from opis_cli.cli.commands import app
from opis_cli.cli.options import Config, Quiet, RunOrSource
from opis_cli.cli.shared import run_of


@app.command(
    examples=(
        "opis report runs/first",
        "opis report runs/new --baseline runs/old -o new.html",
        "opis report runs/first --threshold threshold.json",
    )
)
def report(
    run_or_source: RunOrSource,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="Page to write.",
            metavar="FILE",
            rich_help_panel="Start here",
        ),
    ] = Path("report.html"),
    threshold: Annotated[
        str | None,
        typer.Option(
            help="Threshold that the page begins with.",
            metavar="[SCALE:]T|threshold.json",
            show_default="the recommended one",
            rich_help_panel="Start here",
        ),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            help="A run to draw beside this one.", metavar="RUN", rich_help_panel="Start here"
        ),
    ] = None,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Write an interactive page: threshold slider, curves, classes, evidence, in one file."""
    from opis_cli.files import write_text
    from opis_cli.render.page.html import report_page
    from opis_cli.run import load_run

    # The baseline first: it costs nothing to refuse one before the work.
    base = None if baseline is None else load_run(baseline)
    run = run_of(run_or_source, config, quiet)
    write_text(output, report_page(run, base=base, base_name=baseline or "", start=threshold))
    if not quiet:
        typer.echo(f"report written to {output}")
