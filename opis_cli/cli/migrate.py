"""The command ``migrate``: the threshold of a new model, and the decisions that change."""

from pathlib import Path
from typing import Annotated

import typer

from opis_cli.cli.commands import app
from opis_cli.cli.options import Config, Json, Quiet
from opis_cli.cli.shared import names_in, print_json, run_of, settings_of, show


@app.command(
    examples=(
        "opis migrate runs/old runs/new",
        "opis migrate runs/old runs/new --threshold 0.35 --out migration",
        "opis migrate old.parquet new.parquet --keep frr --id-column id",
    )
)
def migrate(
    old: Annotated[
        str, typer.Argument(help="A run of the old model, or its embeddings.", metavar="OLD")
    ],
    new: Annotated[
        str,
        typer.Argument(help="A run of the same rows by the new model, or these.", metavar="NEW"),
    ],
    threshold: Annotated[
        str | None,
        typer.Option(
            help="Threshold of the old model.",
            metavar="T|threshold.json",
            show_default="the deployed one of its run, else the recommended one",
            rich_help_panel="Start here",
        ),
    ] = None,
    keep: Annotated[
        str,
        typer.Option(
            help="Rate that the new threshold keeps: far or frr.",
            metavar="WORD",
            rich_help_panel="Start here",
        ),
    ] = "far",
    id_column: Annotated[
        str | None,
        typer.Option(
            help="Column of both sources that tells which rows match.",
            metavar="COLUMN",
            show_default="their order",
            rich_help_panel="Input",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="New folder for the tables and the threshold.json of the new model.",
            metavar="DIR",
            rich_help_panel="Start here",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a migration that is there.")
    ] = False,
    show_columns: Annotated[
        str | None,
        typer.Option(
            help="Columns of the old source whose values stand beside each pair, with commas "
            "between.",
            metavar="A,B",
        ),
    ] = None,
    top: Annotated[int, typer.Option(help="Most pairs of a kind to list.", metavar="N")] = 1_000,
    per_class_pair: Annotated[
        int, typer.Option(help="Most pairs of one pair of classes.", metavar="N")
    ] = 3,
    old_source: Annotated[
        list[str] | None,
        typer.Option(
            help="Where the source of the old run is now. Repeatable.",
            metavar="FILE",
            show_default="where it was",
            rich_help_panel="Input",
        ),
    ] = None,
    new_source: Annotated[
        list[str] | None,
        typer.Option(
            help="Where the source of the new run is now. Repeatable.",
            metavar="FILE",
            show_default="where it was",
            rich_help_panel="Input",
        ),
    ] = None,
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
    """Swap the model: a threshold that keeps the old FAR, and the decisions that change at it."""
    from opis_cli.cli.progress import progress_bar
    from opis_cli.migration import check_target
    from opis_cli.migration import migrate as migrate_runs

    if out is not None:
        check_target(out, force=force)
    chosen = settings_of(config, {"seed": seed}).seed
    runs = [run_of(path, config, quiet) for path in (old, new)]
    with progress_bar(quiet) as progress:
        found = migrate_runs(
            *runs,
            keep=keep,
            threshold=threshold,
            id_column=id_column,
            show_columns=names_in(show_columns),
            top=top,
            per_class_pair=per_class_pair,
            old_source=old_source,
            new_source=new_source,
            seed=chosen,
            progress=progress,
        )
    if out is not None:
        found.save(out, force=force)
    if as_json:
        print_json(found.to_dict())
    elif not quiet:
        from opis_cli.render.terminal.migrate import migration_summary

        folder = None if out is None else str(out)
        of_new = runs[1].report.recommendation
        typed = old, new
        show(migration_summary(found.facts, found.flips, found.classes, of_new, typed, folder))
