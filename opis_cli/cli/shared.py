"""Functions that the commands share: read settings, get a run, and print results."""

import os
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console, RenderableType

from opis_cli.config import load_config, merge
from opis_cli.errors import RunError
from opis_cli.settings import Settings

if TYPE_CHECKING:
    from opis_cli.embeddings.sources import Given
    from opis_cli.run import Run


_BEGUN = time.perf_counter() - time.process_time()
"""About when the process began: it has done nothing but load modules so far."""
_WITH_OTHERS = ("review", "cost_fa", "cost_fr", "cost_review", "max_fpir", "min_precision")
"""Settings that need others."""


def settings_of(config: Path | None, flags: dict[str, Any]) -> Settings:
    """Return the settings. A flag overrides the file, and the file overrides the default."""
    return merge(load_config(config), flags)


def asked_of(config: Path | None, flags: dict[str, Any]) -> dict[str, Any]:
    """Return what the user asks of an existing run, by name. A flag overrides the file.

    A value is None if neither has it, so that the settings of the run apply.
    """
    given = load_config(config) | {k: value for k, value in flags.items() if value is not None}
    asked = {name: given.get(name) for name in flags}
    # This refuses a value that is not usable. The run may have what review and costs need.
    alone = {name: value for name, value in asked.items() if name not in _WITH_OTHERS}
    merge({}, alone if alone.get("prefer") != "cost" else alone | {"prefer": None})
    return asked


def evaluate_source(
    source: "Given", settings: Settings, quiet: bool, *, saved: bool = False
) -> "Run":
    """Evaluate a source, with progress on standard error. ``saved``: the run will be written."""
    from opis_cli.cli.progress import announcer, progress_bar
    from opis_cli.pipeline import evaluate_file

    announce = announcer(quiet)
    with progress_bar(quiet) as progress:
        return evaluate_file(source, settings, progress, announce, saved=saved, begun=_BEGUN)


def run_of(run_or_source: str, config: Path | None, quiet: bool) -> "Run":
    """Load a run folder, or evaluate a source with the settings of the file or the defaults."""
    from opis_cli.run import is_run, load_run

    if is_run(Path(run_or_source)):
        return load_run(run_or_source)
    return evaluate_source(run_or_source, settings_of(config, {}), quiet)


def need_run(path: str, what: str) -> None:
    """Refuse a source, before it is counted, where ``what`` needs a run with evidence.

    Raises
    ------
    RunError
        The path is no run.
    """
    from opis_cli.run import is_run

    if not is_run(Path(path)):
        raise RunError(
            f"{path}: {what} needs a run with evidence: `opis evaluate SOURCE --out RUN`, then "
            "`opis explain RUN`"
        )


def names_in(text: str | None) -> list[str]:
    """Return the names in a text with commas between them."""
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def print_json(record: Any) -> None:
    """Print a record as JSON."""
    from opis_cli.report.report_json import to_json

    typer.echo(to_json(record), nl=False)


def show(shown: RenderableType) -> None:
    """Print a table.

    In a GitHub job, commands are switched off meanwhile, so that no text in the table, such as the
    name of a class, works as a command.
    """
    token = secrets.token_hex(16) if on_github() else None
    if token is not None:
        typer.echo(f"::stop-commands::{token}")
    # A command to copy stays whole on a narrow terminal.
    Console().print(shown, crop=False)
    if token is not None:
        typer.echo(f"::{token}::")


def on_github() -> bool:
    """Return whether this is a GitHub job. GitHub reads commands from the printed output."""
    return os.environ.get("GITHUB_ACTIONS") == "true"
