"""The commands that judge and compare; with those of ``cli.py``, all of ``opis``."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opis_cli.cli.commands import app
from opis_cli.cli.options import Config, Json, Quiet
from opis_cli.cli.shared import evaluate_source, on_github, print_json, run_of, settings_of, show
from opis_cli.judging.limits import RULE, RULES
from opis_cli.settings import CONFIG_FILE, load_config

__all__ = ["app"]

if TYPE_CHECKING:
    from opis_cli.judging.gate import Verdict
    from opis_cli.run import Run

Judged = Annotated[
    str | None,
    typer.Argument(
        help="A run (the folder that --out wrote), or embeddings.", metavar="RUN_OR_SOURCE"
    ),
]


def _limit(name: str) -> Any:
    """The option of a limit."""
    rule = RULE[name]
    metavar = "N|N%" if rule.against_baseline else "N"
    return typer.Option(help=f"{rule.about[0].upper()}{rule.about[1:]}.", metavar=metavar)


@app.command()
def gate(
    run_or_source: Judged = None,
    threshold: Annotated[
        str | None,
        typer.Option(
            help="The deployed threshold, at which rates are judged.",
            metavar="T|threshold.json",
            show_default="the run's",
        ),
    ] = None,
    max_opis: Annotated[float | None, _limit("max-opis")] = None,
    max_eps_opis: Annotated[float | None, _limit("max-eps-opis")] = None,
    max_far: Annotated[float | None, _limit("max-far")] = None,
    max_frr: Annotated[float | None, _limit("max-frr")] = None,
    min_recall_at_1: Annotated[float | None, _limit("min-recall-at-1")] = None,
    min_classes_meeting_bounds: Annotated[
        float | None, _limit("min-classes-meeting-bounds")
    ] = None,
    max_class_far: Annotated[float | None, _limit("max-class-far")] = None,
    max_class_frr: Annotated[float | None, _limit("max-class-frr")] = None,
    baseline: Annotated[
        str | None, typer.Option(help="An earlier run to judge against.", metavar="RUN")
    ] = None,
    max_opis_increase: Annotated[str | None, _limit("max-opis-increase")] = None,
    max_frr_increase: Annotated[str | None, _limit("max-frr-increase")] = None,
    max_recall_drop: Annotated[str | None, _limit("max-recall-drop")] = None,
    max_threshold_shift: Annotated[str | None, _limit("max-threshold-shift")] = None,
    confidence: Annotated[
        float | None,
        typer.Option(
            help="Against the baseline, fail only what the classes prove.",
            show_default="differences decide",
        ),
    ] = None,
    family: Annotated[
        bool | None,
        typer.Option(
            help="Let the confidence be that of all checks against the baseline together.",
            show_default="of each by itself",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the bootstrap.", show_default="0")
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
        bool, typer.Option("--init", help="Write an example of [gate] into the settings file.")
    ] = False,
    config: Config = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Pass (exit code 0) or fail (1) a run by limits, for CI; with reports for people."""
    given = dict(locals())
    if init:
        _write_example(config or Path(CONFIG_FILE), quiet)
        return
    if run_or_source is None:
        raise typer.BadParameter("give a run or a source, or --init", param_hint="RUN_OR_SOURCE")
    names = [rule.field for rule in RULES] + ["baseline", "confidence", "family"]
    verdict, run, base = _judge(given, {name: given[name] for name in names})
    _write_reports(verdict, run, base, given)
    if as_json:
        print_json(verdict)
    _tell(verdict, run, silent=as_json or quiet, aside=as_json)
    raise typer.Exit(0 if verdict.passed else 1)


@app.command()
def compare(
    models: Annotated[
        list[str], typer.Argument(help="Two or more runs, or embeddings.", metavar="A B [C ...]")
    ],
    plot: Annotated[
        Path | None,
        typer.Option(
            help="Utility curves side by side: .png, .svg or .pdf.",
            metavar="FILE",
        ),
    ] = None,
    pareto: Annotated[
        Path | None,
        typer.Option(help="OPIS against 1 - recall@1: .png, .svg or .pdf.", metavar="FILE"),
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
    confidence: Annotated[float, typer.Option(help="Of the intervals of changes.")] = 0.95,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the bootstrap.", show_default="0")
    ] = None,
    config: Config = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare models with the first one: figures, intervals of the changes, classes."""
    from opis_cli.judging.models import compare as compare_models
    from opis_cli.render.pictures import check_picture, save_figure

    for picture, flag in ((plot, "--plot"), (pareto, "--pareto")):
        if picture is not None:
            check_picture(picture, flag)
    chosen = settings_of(config, {"seed": seed}).seed
    runs = [run_of(path, config, quiet) for path in models]
    found = compare_models(runs, models, sizes=size, twins=twin, confidence=confidence, seed=chosen)
    if plot is not None or pareto is not None:
        from opis_cli.render import comparison_plots

        if plot is not None:
            save_figure(comparison_plots.side_by_side(runs, found), plot)
        if pareto is not None:
            save_figure(comparison_plots.pareto(found), pareto)
    if as_json:
        print_json(found)
    elif not quiet:
        from opis_cli.render.terminal.gate import comparison

        show(comparison(found, runs[0].report))


def _write_example(file: Path, quiet: bool) -> None:
    from opis_cli.judging.limits import write_gate_example

    write_gate_example(file)
    if not quiet:
        typer.echo(f"[gate] written to {file}; edit it, then: opis gate RUN")


def _judge(given: dict[str, Any], flags: dict[str, Any]) -> "tuple[Verdict, Run, Run | None]":
    """The verdict on a run, or on a source evaluated with the settings of the file."""
    from opis_cli.judging.gate import judge
    from opis_cli.judging.limits import read_demands
    from opis_cli.run import is_run, load_run

    path, config = given["run_or_source"], given["config"]
    demands = read_demands(load_config(config).get("gate", {}), flags, str(config or CONFIG_FILE))
    settings = settings_of(config, {name: given[name] for name in ("threshold", "seed")})
    # The baseline first: it costs nothing to refuse one before the work.
    base = None if demands.baseline is None else load_run(demands.baseline)
    run = load_run(path) if is_run(Path(path)) else evaluate_source(path, settings, given["quiet"])
    verdict = judge(
        run, demands, threshold=settings.threshold, baseline=base, path=path, seed=settings.seed
    )
    return verdict, run, base


def _write_reports(
    verdict: "Verdict", run: "Run", base: "Run | None", given: dict[str, Any]
) -> None:
    """Every report that was asked for, and GitHub's where it asks by its variables."""
    from opis_cli.files import write_text
    from opis_cli.render import verdicts
    from opis_cli.report.report_json import to_json

    writers: dict[str, Callable[[], str]] = {
        "junit": lambda: verdicts.junit(verdict),
        "markdown": lambda: verdicts.markdown(verdict, run.report),
        "gitlab_metrics": lambda: verdicts.gitlab_metrics(verdict),
        "json_file": lambda: to_json(verdict),
        "html": lambda: _page(verdict, run, base),
    }
    for name, text in writers.items():
        if given[name] is not None:
            write_text(given[name], text())
    for variable, make in (
        ("GITHUB_STEP_SUMMARY", writers["markdown"]),
        ("GITHUB_OUTPUT", lambda: verdicts.github_outputs(verdict)),
    ):
        if os.environ.get(variable):
            with Path(os.environ[variable]).open("a", encoding="utf-8") as file:
                file.write(make())


def _page(verdict: "Verdict", run: "Run", base: "Run | None") -> str:
    from opis_cli.render.html import page

    return page(verdict, run, base)


def _tell(verdict: "Verdict", run: "Run", *, silent: bool, aside: bool) -> None:
    """The verdict on the terminal, and on GitHub as annotations; ``aside`` on standard error."""
    from opis_cli.render.terminal.gate import verdict as table
    from opis_cli.render.verdicts import annotations

    if not silent:
        show(table(verdict, run.report))
    if on_github():
        for line in annotations(verdict):
            typer.echo(line, err=aside)
