"""The commands ``remedy`` and ``apply``: mend embeddings without retraining."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from opis_cli.cli.commands import app
from opis_cli.cli.options import Config, Given, Json, Quiet, Source, settings_as_options
from opis_cli.cli.shared import print_json, settings_of, show
from opis_cli.text import plain
from opis_cli.values import option

_READING = (
    *("embedding_column", "label_column", "labels", "group_column", "on_bad_rows"),
    "memory_limit",
)
_SETTINGS = (
    *(*_READING, "within_column", "exclude_same", "gallery", "gallery_labels"),
    *("max_far", "calibration", "beta", "eps", "ignore_label", "max_pairs"),
    *("engine", "device", "threads", "seed"),
)


@app.command(
    examples=(
        "opis remedy embeddings.parquet",
        "opis remedy embeddings.parquet --max-far 0.001 --out remedy",
        "opis remedy embeddings.parquet --try centre,whiten,centre+asnorm:200 --folds 10",
    )
)
@settings_as_options(*_SETTINGS)
def remedy(
    source: Source,
    given: Given,
    names: Annotated[
        str | None,
        typer.Option(
            "--try",
            help="Remedies: centre, abtt:K, whiten, wccn, snorm, asnorm:N, csls:K, fsn:C, group, "
            "or chains such as centre+asnorm:200.",
            metavar="A,B",
            show_default="a usual set",
            rich_help_panel="Start here",
        ),
    ] = None,
    folds: Annotated[
        int,
        typer.Option(
            help="Folds of classes. Each class is held out once.",
            metavar="K",
            rich_help_panel="Trust",
        ),
    ] = 5,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Fit the best on all classes, and write it into this new folder.",
            metavar="DIR",
            rich_help_panel="Start here",
        ),
    ] = None,
    choose: Annotated[
        str | None,
        typer.Option(
            help="Remedy to write.",
            metavar="NAME",
            show_default="the best of those that help",
            rich_help_panel="Start here",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a remedy that is there.")] = False,
    config: Config = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Mend without retraining: try transforms and score normalisations on held-out classes."""
    from opis_cli.cli.progress import progress_bar
    from opis_cli.embeddings.read import read_as
    from opis_cli.errors import SettingsError
    from opis_cli.mending import check_settings, check_target, remedy_embeddings

    settings = settings_of(config, given)
    check_settings(settings)
    if choose is not None and out is None:
        raise SettingsError(f"--choose={choose} needs --out=DIR, where it is written")
    if out is not None:
        check_target(out, force=force)
    embeddings = read_as(source, settings)
    with progress_bar(quiet) as progress:
        found = remedy_embeddings(embeddings, settings, names, folds, progress, choose)
    written = None
    if out is not None and (choose is not None or found.chosen is not None):
        written = found.save(out, choose=choose, force=force)
    if as_json:
        print_json(found.to_dict())
    elif not quiet:
        from opis_cli.render.terminal.remedy import remedies_summary

        folder = None if out is None else str(out)
        show(remedies_summary(found.trial, _typed(source, given), folder, written))


@app.command(
    examples=(
        "opis apply remedy embeddings.parquet -o changed.parquet",
        "opis apply remedy new.parquet --embedding-column vector -o index.parquet",
        "opis apply remedy vectors.npy --labels labels.csv -o changed.parquet",
    )
)
@settings_as_options(*_READING)
def apply(
    folder: Annotated[
        Path, typer.Argument(help="The folder that `opis remedy --out` wrote.", metavar="REMEDY")
    ],
    source: Source,
    given: Given,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="Table to write: .parquet.",
            metavar="FILE",
            rich_help_panel="Start here",
        ),
    ],
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Change vectors as a remedy does, and keep the other columns."""
    from dataclasses import replace

    from opis_cli.embeddings.clean import Reading
    from opis_cli.embeddings.read import read
    from opis_cli.remedies.artefact import load_remedy
    from opis_cli.remedies.changed_file import check_output, write_changed

    check_output(output)
    remedy = load_remedy(folder)
    settings = settings_of(config, given)
    # Vectors to deploy may have no labels, and need not make pairs.
    asked = replace(Reading.of(settings), paired=False, labelled=False)
    embeddings = read(source, asked, labels=settings.labels)
    columns = write_changed(remedy, embeddings, source, settings, output)
    if not quiet:
        count = len(embeddings.labels)
        typer.echo(f"{count:,} rows, changed by {remedy.name}, written to {output}")
        typer.echo(f"columns of the remedy: {', '.join(columns)}")


def _typed(source: list[str], given: Given) -> str:
    """Return the source, with the options that say how to read it, as a person types them."""
    words = list(source)
    for name in _READING:
        if given[name] is not None:
            words += [option(name), str(given[name])]
    return plain(shlex.join(words), 400)
