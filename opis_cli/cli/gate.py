"""The command ``gate``, which judges a run by limits."""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opis_cli.cli.commands import app
from opis_cli.cli.options import Config, Given, Json, Quiet, options_in_place_of
from opis_cli.cli.shared import evaluate_source, need_run, on_github, print_json, settings_of, show
from opis_cli.config import CONFIG_FILE, load_config
from opis_cli.judging.limits import RULES, SUSPECTS, Rule
from opis_cli.settings import Settings
from opis_cli.values import parse_number

if TYPE_CHECKING:
    from opis_cli.judging.gate import Outcome

Judged = Annotated[
    str | None,
    typer.Argument(
        help="A run (the folder that --out wrote), or embeddings.", metavar="RUN_OR_SOURCE"
    ),
]


def _limit(rule: Rule) -> Any:
    """The option of a limit."""
    about = f"{rule.about[0].upper()}{rule.about[1:]}."
    if rule.share_of:
        option = typer.Option(help=about, metavar="N|N%", rich_help_panel="Limits")
        return Annotated[str | None, option]
    option = typer.Option(help=about, metavar="N", parser=parse_number, rich_help_panel="Limits")
    return Annotated[float | None, option]


@app.command(
    examples=(
        "opis gate runs/new --threshold 0.35 --max-far 0.02 --max-class-frr 0.6",
        "opis gate runs/new --baseline runs/old --max-opis-increase 10% --family",
        "opis gate runs/new --init",
    )
)
@options_in_place_of("limits", {rule.field: _limit(rule) for rule in RULES})
def gate(
    run_or_source: Judged = None,
    threshold: Annotated[
        str | None,
        typer.Option(
            help="The deployed threshold, at which rates are judged.",
            metavar="[SCALE:]T|threshold.json",
            show_default="the run's",
            rich_help_panel="Start here",
        ),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            help="An earlier run to judge against.", metavar="RUN", rich_help_panel="Start here"
        ),
    ] = None,
    *,
    limits: Given,
    confidence: Annotated[
        float | None,
        typer.Option(
            help="Against the baseline, fail only what the classes prove.",
            show_default="differences decide",
            metavar="N",
            rich_help_panel="Trust",
        ),
    ] = None,
    family: Annotated[
        bool | None,
        typer.Option(
            help="Let the confidence be that of all checks against the baseline together.",
            show_default="of each by itself",
            rich_help_panel="Trust",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            help="Seed of the bootstrap.", show_default="0", metavar="N", rich_help_panel="Trust"
        ),
    ] = None,
    junit: Annotated[Path | None, typer.Option(help="JUnit XML.", metavar="FILE")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Markdown.", metavar="FILE")] = None,
    gitlab_metrics: Annotated[
        Path | None, typer.Option(help="Metrics report of GitLab.", metavar="FILE")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="A page for people, in one file.", metavar="FILE")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option(help="The verdict as JSON.", metavar="FILE")
    ] = None,
    init: Annotated[
        bool,
        typer.Option(
            "--init",
            help="Write an example of [gate] into the settings file.",
            rich_help_panel="Start here",
        ),
    ] = False,
    config: Config = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Pass (exit code 0) or fail (1) a run by limits, for CI."""
    if init:
        _write_example(config or Path(CONFIG_FILE), run_or_source, quiet)
        return
    if run_or_source is None:
        raise typer.BadParameter("give a run or a source, or --init", param_hint="RUN_OR_SOURCE")
    flags = limits | {
        "baseline": baseline,
        "threshold": threshold,
        "confidence": confidence,
        "family": family,
    }
    files = {
        "junit": junit,
        "markdown": markdown,
        "gitlab": gitlab_metrics,
        "html": html,
        "json": json_file,
    }
    # Without a limit there is only something to show. A report for programs would say that the gate
    # passed, and nobody would notice that the limits are gone.
    only_page = html is not None and not [one for one in files if files[one] and one != "html"]
    outcome = _judge(
        run_or_source,
        config,
        flags,
        settings_of(config, {"seed": seed}),
        quiet,
        need_limit=not (only_page and threshold is not None),
    )
    _write_reports(outcome, files)
    try:
        if as_json:
            print_json(outcome.verdict)
        _tell(outcome, silent=as_json or quiet, aside=as_json)
    except (OSError, SystemExit):
        # Nobody reads on, or nothing more can be written. A verdict of failure stands all the same.
        if outcome.verdict.passed:
            raise
    raise typer.Exit(0 if outcome.verdict.passed else 1)


def _write_example(file: Path, run: str | None, quiet: bool) -> None:
    """Write the starter, with limits that the run holds, if one is given."""
    from opis_cli.judging.limits import write_gate_example
    from opis_cli.judging.starter import starter
    from opis_cli.run import load_run

    write_gate_example(file, starter(None if run is None else load_run(run)))
    if not quiet:
        typer.echo(f"[gate] written to {file}; edit it, then: opis gate {run or 'RUN'}")


def _judge(
    path: str,
    config: Path | None,
    flags: Given,
    settings: Settings,
    quiet: bool,
    *,
    need_limit: bool,
) -> "Outcome":
    """Judge a run, or a source after its evaluation with ``settings``."""
    from opis_cli.judging.gate import Outcome, judge
    from opis_cli.judging.limits import read_demands
    from opis_cli.run import is_run, load_run

    limits, file = load_config(config).get("gate", {}), str(config or CONFIG_FILE)
    demands = read_demands(limits, flags, file, need_limit=need_limit)
    if demands.need_evidence:
        need_run(path, f"--{SUSPECTS}")
    deployed = demands.threshold if demands.threshold is not None else settings.threshold
    settings = replace(settings, threshold=deployed)
    # The baseline first: it costs nothing to refuse one before the work.
    base = None if demands.baseline is None else load_run(demands.baseline)
    run = load_run(path) if is_run(Path(path)) else evaluate_source(path, settings, quiet)
    flips = None
    if base is not None and demands.need_flips:
        from opis_cli.cli.progress import progress_bar

        with progress_bar(quiet) as progress:
            flips = run.flips(base, settings.threshold, progress)
    verdict = judge(
        run,
        demands,
        threshold=settings.threshold,
        baseline=base,
        path=path,
        flips=flips,
        seed=settings.seed,
    )
    return Outcome(verdict, run, base)


def _write_reports(outcome: "Outcome", files: dict[str, Path | None]) -> None:
    """Write the reports that the user asked for, and those that GitHub's variables ask for."""
    from opis_cli.files import write_text
    from opis_cli.render.verdicts import FORMATS

    page = files["html"]
    for kind, file in files.items():
        if file is not None:
            beside = None if page is None else os.path.relpath(page, file.parent)
            write_text(file, FORMATS[kind](replace(outcome, page=beside)))
    for variable, kind in (("GITHUB_STEP_SUMMARY", "markdown"), ("GITHUB_OUTPUT", "github")):
        if os.environ.get(variable):
            uploaded = None if page is None else _artifacts_on_github()
            with Path(os.environ[variable]).open("a", encoding="utf-8") as stream:
                stream.write(FORMATS[kind](replace(outcome, page=uploaded)))


def _artifacts_on_github() -> str | None:
    """Return the address of the artifacts of this job, where a workflow puts the page."""
    names = ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")
    server, repository, number = (os.environ.get(name) for name in names)
    if not (server and repository and number):
        return None
    return f"{server}/{repository}/actions/runs/{number}#artifacts"


def _tell(outcome: "Outcome", *, silent: bool, aside: bool) -> None:
    """Show the verdict on the terminal and, in a GitHub job, print annotations.

    Parameters
    ----------
    outcome : Outcome
    silent : bool
        Whether to leave out the table.
    aside : bool
        Whether the annotations go to standard error.
    """
    from opis_cli.render.terminal.gate import verdict as table
    from opis_cli.render.verdicts.github import annotations

    if not silent:
        show(table(outcome.verdict, outcome.run.report))
    if on_github():
        for line in annotations(outcome.verdict):
            typer.echo(line, err=aside)
