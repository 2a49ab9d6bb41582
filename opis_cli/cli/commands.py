"""The commands. Each command reads settings, calls the library, and shows the result."""

from pathlib import Path
from typing import Annotated

import typer

from opis_cli import __version__
from opis_cli.cli.help import ANY_WIDTH, App, Overview, completing
from opis_cli.cli.options import (
    Config,
    Details,
    FontSize,
    Force,
    Given,
    Json,
    Out,
    Quiet,
    RunOrSource,
    Source,
    Title,
    Width,
    settings_as_options,
)
from opis_cli.cli.shared import (
    asked_of,
    evaluate_source,
    need_run,
    print_json,
    run_of,
    settings_of,
    show,
)
from opis_cli.settings import BOUNDS
from opis_cli.values import parse_number

app = App(
    name="opis",
    cls=Overview,
    help="Which distance threshold do I deploy, and which classes does it fail?",
    epilog=(
        "Start with `opis evaluate embeddings.parquet --out runs/first`. Every command takes "
        "--help, and --debug, which adds a traceback to an error."
    ),
    context_settings={"max_content_width": ANY_WIDTH},
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


_KINDS = (
    *("utility", "rates", "det", "roc", "histogram", "classes", "calibration"),
    *("confusion", "group-matrix"),
)
"""Words of ``--kind``. The module that draws them is too heavy for ``--help``; a test compares."""


@app.callback(invoke_without_command=True)
def opis(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Which distance threshold do I deploy, and which classes does it fail?"""
    if version:
        typer.echo(f"opis {__version__}")
        raise typer.Exit


@app.command(
    examples=(
        "opis evaluate embeddings.parquet --out runs/first",
        "opis evaluate vectors.npy --labels labels.csv --max-far 0.001 --max-frr 0.1",
        "opis evaluate new.parquet --threshold threshold.json --group-column customer",
    )
)
@settings_as_options()
def evaluate(
    source: Source,
    given: Given,
    config: Config = None,
    out: Out = None,
    force: Force = False,
    details: Details = False,
    html: Annotated[
        Path | None, typer.Option(help="Write an interactive page, in one file.", metavar="FILE")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Count all pairs, score them, and recommend a threshold."""
    settings = settings_of(config, given)
    if out is not None:
        from opis_cli.run import check_target

        check_target(out, force=force)
    run = evaluate_source(source, settings, quiet, saved=out is not None)
    report = run.report if out is None else run.save(out, force=force)
    if html is not None:
        from opis_cli.files import write_text
        from opis_cli.render.page.html import report_page

        write_text(html, report_page(run, folder=out))
    if as_json:
        print_json(report)
    elif not quiet:
        from opis_cli.render.terminal.summary import summary

        show(summary(run, out, details=details))


@app.command(
    examples=(
        "opis recommend runs/first --max-far 0.001",
        "opis recommend runs/first --max-far 1% --prefer worst-classes -o deploy.json",
        "opis recommend runs/first --max-far 0.001 --max-frr 0.05 --review",
    )
)
@settings_as_options(
    *BOUNDS,
    *("prefer", "confidence", "review", "prior", "cost_fa", "cost_fr", "cost_review"),
)
def recommend(
    run_or_source: RunOrSource,
    given: Given,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Write the threshold.json to deploy.",
            metavar="FILE",
            rich_help_panel="Start here",
        ),
    ] = None,
    config: Config = None,
    details: Details = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Recommend a threshold for other bounds, at once from a run."""
    asked = asked_of(config, given)
    run = run_of(run_or_source, config, quiet)
    advice = run.advise(asked)
    if output is not None:
        from opis_cli.report.threshold_file import write_threshold

        write_threshold(run.report, advice, output)
    if as_json:
        from opis_cli.report.report_json import to_dict

        added = {"review": advice.review, "costs": advice.costs}
        found = {name: record for name, record in added.items() if record is not None}
        print_json(to_dict(advice.recommendation) | found)
    elif not quiet:
        from opis_cli.render.terminal.advice import advised

        show(advised(run, advice, details=details))


@app.command(
    examples=(
        "opis plot runs/first",
        "opis plot runs/first --kind det -o det.svg",
        "opis plot runs/first --kind confusion -o confused.pdf",
    )
)
def plot(
    run_or_source: RunOrSource,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Picture to write: .png, .svg or .pdf.",
            show_default="KIND.png",
            metavar="FILE",
            rich_help_panel="Start here",
        ),
    ] = None,
    kind: Annotated[
        str,
        typer.Option(
            help="utility, rates, det, roc, histogram, classes, calibration, confusion or "
            "group-matrix.",
            metavar="WORD",
            autocompletion=completing(_KINDS),
            rich_help_panel="Start here",
        ),
    ] = "utility",
    width: Width = None,
    title: Title = None,
    font_size: FontSize = None,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Draw the curves of a run as PNG, SVG or PDF."""
    from opis_cli.render.pictures import check_picture, save_figure
    from opis_cli.render.plots import FROM_EVIDENCE, check_kind, draw
    from opis_cli.render.sheet import look_of

    look = look_of(width, title, font_size)
    file = output or Path(f"{check_kind(kind)}.png")
    check_picture(file)
    if kind in FROM_EVIDENCE:
        need_run(run_or_source, f"the plot of {kind}")
    run = run_of(run_or_source, config, quiet)
    save_figure(draw(run, kind, look=look), file)
    if not quiet:
        typer.echo(f"{kind} plot written to {file}")


@app.command(
    examples=(
        "opis export runs/first --curves curves.parquet",
        "opis export runs/first --curves curves.csv",
        "opis export embeddings.parquet --curves curves.csv --config opis.toml",
    )
)
def export(
    run_or_source: RunOrSource,
    curves: Annotated[
        Path,
        typer.Option(
            help="Table to write: .parquet or .csv, a row a threshold.",
            metavar="FILE",
            rich_help_panel="Start here",
        ),
    ],
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Write the curves and their intervals as a table."""
    from opis_cli.report.curves_table import check_table, curves_table, save_table

    check_table(curves, "--curves")
    run = run_of(run_or_source, config, quiet)
    save_table(curves_table(run), curves)
    if not quiet:
        typer.echo(f"curves written to {curves}")


@app.command(
    examples=(
        "opis margins runs/first",
        "opis margins runs/first --max-far 0.001 --max-frr 0.05",
        "opis margins embeddings.parquet --json",
    )
)
def margins(
    run_or_source: RunOrSource,
    max_far: Annotated[
        float | None,
        typer.Option(
            help="Bound on the pooled FAR.",
            show_default="0.01",
            metavar="N",
            parser=parse_number,
            rich_help_panel="Start here",
        ),
    ] = None,
    max_frr: Annotated[
        float | None,
        typer.Option(
            help="Bound on the pooled FRR.",
            show_default="0.1",
            metavar="N",
            parser=parse_number,
            rich_help_panel="Start here",
        ),
    ] = None,
    config: Config = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Derive the margins of the TCM loss from bounds."""
    asked = asked_of(config, {"max_far": max_far, "max_frr": max_frr})
    run = run_of(run_or_source, config, quiet)
    found = run.margins(**asked)
    if as_json:
        print_json(found)
    elif not quiet:
        from opis_cli.render.terminal.margins import margins_summary

        show(margins_summary(run, found))


@app.command(examples=("opis doctor", "opis doctor --json", "opis doctor --json > machine.json"))
def doctor(as_json: Json = False) -> None:
    """Say what this machine has: versions, engines, memory."""
    from opis_cli.cli.doctor import describe

    facts = describe()
    if as_json:
        print_json(facts)
    else:
        from opis_cli.render.terminal.blocks import facts_table

        show(facts_table(facts))
