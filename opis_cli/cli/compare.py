"""The command ``compare``: models beside the first one."""

from pathlib import Path
from typing import Annotated

import typer

from opis_cli.cli.commands import app
from opis_cli.cli.options import Config, FontSize, Json, Quiet, Title, Width
from opis_cli.cli.shared import print_json, run_of, settings_of, show


@app.command(
    examples=(
        "opis compare runs/old runs/new",
        "opis compare runs/a runs/b runs/c --pareto front.png --size a=32 --size b=64",
        "opis compare old.parquet new.parquet --plot curves.svg",
    )
)
def compare(
    models: Annotated[
        list[str], typer.Argument(help="Two or more runs, or embeddings.", metavar="A B [C ...]")
    ],
    plot: Annotated[
        Path | None,
        typer.Option(
            help="Picture of all models: .png, .svg or .pdf.",
            metavar="FILE",
            rich_help_panel="Start here",
        ),
    ] = None,
    kind: Annotated[
        str,
        typer.Option(
            help="Of --plot: utility (side by side), det or roc (all in one panel).",
            metavar="WORD",
            rich_help_panel="Start here",
        ),
    ] = "utility",
    pareto: Annotated[
        Path | None,
        typer.Option(
            help="OPIS against 1 - recall@1: .png, .svg or .pdf.",
            metavar="FILE",
            rich_help_panel="Start here",
        ),
    ] = None,
    size: Annotated[
        list[str] | None,
        typer.Option(
            help="Marker size of a model in --pareto, such as its batch size. Repeatable.",
            metavar="NAME=NUMBER",
        ),
    ] = None,
    twin: Annotated[
        list[str] | None,
        typer.Option(
            help="Join a base model to its remedied twin in --pareto. Repeatable.",
            metavar="BASE=TWIN",
        ),
    ] = None,
    width: Width = None,
    title: Title = None,
    font_size: FontSize = None,
    confidence: Annotated[
        float,
        typer.Option(help="Of the intervals of changes.", metavar="N", rich_help_panel="Trust"),
    ] = 0.95,
    seed: Annotated[
        int | None,
        typer.Option(
            help="Seed of the bootstrap.", show_default="0", metavar="N", rich_help_panel="Trust"
        ),
    ] = None,
    config: Config = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare models with the first one, with intervals."""
    from opis_cli.judging.models import compare as compare_models
    from opis_cli.render.comparison_plots import check_kind, draw, look_for
    from opis_cli.render.pictures import check_picture, save_figure

    for picture, flag in ((plot, "--plot"), (pareto, "--pareto")):
        if picture is not None:
            check_picture(picture, flag)
    looks = {one: look_for(one, width, title, font_size) for one in (check_kind(kind), "pareto")}
    chosen = settings_of(config, {"seed": seed}).seed
    runs = [run_of(path, config, quiet) for path in models]
    found = compare_models(runs, models, sizes=size, twins=twin, confidence=confidence, seed=chosen)
    for picture, one in ((plot, kind), (pareto, "pareto")):
        if picture is not None:
            save_figure(draw(runs, found, one, look=looks[one]), picture)
    if as_json:
        print_json(found)
    elif not quiet:
        from opis_cli.render.terminal.gate import comparison

        show(comparison(found, runs[0].report))
