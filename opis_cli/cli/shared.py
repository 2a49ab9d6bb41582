"""What the commands share: settings, the run that they are about, and how they print."""

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console, RenderableType

from opis_cli.config import load_config, merge
from opis_cli.settings import Settings

if TYPE_CHECKING:
    from opis_cli.embeddings.sources import Given
    from opis_cli.run import Run


def settings_of(config: Path | None, flags: dict[str, Any]) -> Settings:
    """Settings: flag over file over default."""
    return merge(load_config(config), flags)


def asked_of(config: Path | None, flags: dict[str, Any]) -> dict[str, Any]:
    """What is asked of a run that is there: flag over file over nothing."""
    given = load_config(config) | {k: value for k, value in flags.items() if value is not None}
    asked = {name: given.get(name) for name in flags}
    merge({}, asked)  # refuses what is no setting
    return asked


def evaluate_source(source: "Given", settings: Settings, quiet: bool) -> "Run":
    """The run of a source, with progress on standard error."""
    from opis_cli.cli.progress import announcer, progress_bar
    from opis_cli.pipeline import evaluate_file

    with progress_bar(quiet) as progress:
        return evaluate_file(source, settings, progress, announcer(quiet))


def run_of(run_or_source: str, config: Path | None, quiet: bool) -> "Run":
    """The run in a folder; a source is evaluated first, with the file's settings or defaults."""
    from opis_cli.run import is_run, load_run

    if is_run(Path(run_or_source)):
        return load_run(run_or_source)
    return evaluate_source(run_or_source, settings_of(config, {}), quiet)


def print_json(record: Any) -> None:
    """Print a record as JSON."""
    from opis_cli.report.report_json import to_json

    typer.echo(to_json(record), nl=False)


def show(shown: RenderableType) -> None:
    """Print a table; on GitHub so that nothing in it, such as a class's name, is a command."""
    token = secrets.token_hex(16) if on_github() else None
    if token is not None:
        typer.echo(f"::stop-commands::{token}")
    Console().print(shown)
    if token is not None:
        typer.echo(f"::{token}::")


def on_github() -> bool:
    """Whether this is a job of GitHub's, which reads commands from what is printed."""
    return os.environ.get("GITHUB_ACTIONS") == "true"
