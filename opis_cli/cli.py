"""The commands. Each reads settings, calls the library, and shows what it returns."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from opis_cli import __version__
from opis_cli.settings import Settings, load_config, merge

if TYPE_CHECKING:
    from opis_cli.remote import Given
    from opis_cli.runs import Run

app = typer.Typer(
    name="opis",
    help="Which distance threshold do I deploy, and which classes does it fail?",
    epilog="Every command takes --debug, which adds a traceback to an error.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Source = Annotated[
    list[str],
    typer.Argument(
        help="Embeddings: .parquet (file or folder), .npy with --labels, .npz; or shards of them.",
        metavar="SOURCE",
    ),
]
RunOrSource = Annotated[
    str, typer.Argument(help="A run (the folder that --out wrote), or embeddings.")
]
Config = Annotated[
    Path | None,
    typer.Option(help="Settings file.", show_default="opis.toml, if there is one"),
]
EmbeddingColumn = Annotated[
    str | None,
    typer.Option(
        help="Column of vectors, or a pattern of numeric columns: 'emb_*'.", show_default="guessed"
    ),
]
LabelColumn = Annotated[
    str | None, typer.Option(help="Column of class labels.", show_default="guessed")
]
Labels = Annotated[
    str | None,
    typer.Option(help="Labels file, one a row: .npy, .parquet, .csv, .tsv, text.", metavar="FILE"),
]
GroupColumn = Annotated[
    str | None,
    typer.Option(
        help="Column of groups (customer, device, language) to judge instead of the classes.",
        show_default="the label",
    ),
]
WithinColumn = Annotated[
    str | None, typer.Option(help="Only rows that share this column's value are pairs: tenant.")
]
ExcludeSame = Annotated[
    str | None,
    typer.Option(
        help="Rows that share this column's value are no pair: photo, session.", metavar="COLUMN"
    ),
]
Gallery = Annotated[
    str | None,
    typer.Option(help="Embeddings to search SOURCE's rows in, its queries.", metavar="SOURCE"),
]
GalleryLabels = Annotated[
    str | None, typer.Option(help="Labels file of the gallery.", metavar="FILE")
]
Pairs = Annotated[
    bool | None,
    typer.Option(
        "--pairs",
        help="SOURCE has scored pairs: columns score or distance, and genuine.",
        show_default=False,
    ),
]
ScoreColumn = Annotated[
    str | None,
    typer.Option(help="Column of scores of --pairs.", show_default="score or distance"),
]
HigherIsCloser = Annotated[
    bool | None,
    typer.Option(
        "--higher-is-closer/--lower-is-closer",
        help="Which way round the scores of --pairs are.",
        show_default="told from name or data",
    ),
]
Metric = Annotated[str | None, typer.Option(help="cosine or euclidean.", show_default="cosine")]
CalibrationText = Annotated[
    str | None,
    typer.Option(
        "--calibration",
        help="Range to judge consistency over: far:LOW..HIGH, frr:LOW..HIGH, distance:LOW..HIGH.",
        show_default="far:0.01..0.10",
    ),
]
Beta = Annotated[
    float | None,
    typer.Option(help="Weight of few false rejects in the utility.", show_default="1.0"),
]
Eps = Annotated[
    float | None, typer.Option(help="Share of classes that count as worst.", show_default="0.1")
]
MaxFar = Annotated[
    float | None,
    typer.Option(help="Bound on the pooled FAR.", show_default="0.01 if no bound is given"),
]
MaxFrr = Annotated[float | None, typer.Option(help="Bound on the pooled FRR.")]
Threshold = Annotated[
    str | None,
    typer.Option(help="A deployed threshold to judge too.", metavar="T|threshold.json"),
]
Prefer = Annotated[
    str | None,
    typer.Option(
        help="Choice within the bounds: utility, low-far, low-frr, worst-classes.",
        show_default="utility",
    ),
]
OnBadRows = Annotated[
    str | None,
    typer.Option(help="error or drop: nulls, NaN, zero vectors.", show_default="error"),
]
Engine = Annotated[
    str | None, typer.Option(help="auto, numpy, numba, torch or dask.", show_default="auto")
]
Device = Annotated[
    str | None,
    typer.Option(help="cpu or cuda, for --engine torch.", show_default="cuda if there is one"),
]
Dtype = Annotated[
    str | None,
    typer.Option(help="float32, or tf32 for --engine torch.", show_default="float32"),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        help="A cluster for --engine dask: tcp://HOST:PORT.",
        metavar="ADDRESS",
        show_default="a local one",
    ),
]
Threads = Annotated[
    int | None, typer.Option(help="Counting threads.", show_default="all processors")
]
MemoryLimit = Annotated[
    str | None, typer.Option(help="Memory of the whole process: 4GB, 500MB.", metavar="SIZE")
]
Checkpoint = Annotated[
    str | None,
    typer.Option(help="Keep partial counts here, and go on from them.", metavar="DIR"),
]
Seed = Annotated[int | None, typer.Option(help="Seed of random choices.", show_default="0")]
Confidence = Annotated[
    float | None,
    typer.Option(
        help="Let the bounds hold on other classes with this confidence, as 0.95.",
        show_default="they hold on these",
    ),
]
Folds = Annotated[
    int | None,
    typer.Option(help="Try the threshold on held-out classes, in so many folds.", metavar="K"),
]
MaxPairs = Annotated[
    int | None,
    typer.Option(
        help="Estimate from whole classes drawn at random, with at most so many pairs.",
        metavar="P",
        show_default="all pairs",
    ),
]
Out = Annotated[Path | None, typer.Option(help="Write a run into this new folder.", metavar="DIR")]
Force = Annotated[bool, typer.Option("--force", help="Replace a run that is there.")]
Json = Annotated[bool, typer.Option("--json", help="JSON on standard output, nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No summary, no progress.")]


@app.callback(invoke_without_command=True)
def opis(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Which distance threshold do I deploy, and which classes does it fail?"""
    if version:
        typer.echo(f"opis {__version__}")
        raise typer.Exit


@app.command()
def evaluate(
    source: Source,
    embedding_column: EmbeddingColumn = None,
    label_column: LabelColumn = None,
    labels: Labels = None,
    group_column: GroupColumn = None,
    within_column: WithinColumn = None,
    exclude_same: ExcludeSame = None,
    gallery: Gallery = None,
    gallery_labels: GalleryLabels = None,
    pairs: Pairs = None,
    score_column: ScoreColumn = None,
    higher_is_closer: HigherIsCloser = None,
    metric: Metric = None,
    calibration: CalibrationText = None,
    beta: Beta = None,
    eps: Eps = None,
    max_far: MaxFar = None,
    max_frr: MaxFrr = None,
    threshold: Threshold = None,
    prefer: Prefer = None,
    on_bad_rows: OnBadRows = None,
    engine: Engine = None,
    device: Device = None,
    dtype: Dtype = None,
    scheduler: Scheduler = None,
    threads: Threads = None,
    memory_limit: MemoryLimit = None,
    checkpoint: Checkpoint = None,
    seed: Seed = None,
    confidence: Confidence = None,
    folds: Folds = None,
    max_pairs: MaxPairs = None,
    config: Config = None,
    out: Out = None,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Count all pairs, score the classes' consistency, recommend a threshold."""
    given = dict(locals())
    settings = _settings(config, {name: given[name] for name in _SETTING_NAMES})
    if out is not None:
        from opis_cli.runs import check_target

        check_target(out, force=force)
    run = _evaluate(source, settings, quiet)
    report = run.report if out is None else run.save(out, force=force)
    if as_json:
        _print_json(report)
    elif not quiet:
        from opis_cli.summary import summary

        Console().print(summary(run, out))


@app.command()
def recommend(
    run_or_source: RunOrSource,
    max_far: MaxFar = None,
    max_frr: MaxFrr = None,
    prefer: Prefer = None,
    confidence: Confidence = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write the threshold.json to deploy.", metavar="FILE"),
    ] = None,
    config: Config = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Recommend a threshold for other bounds, at once from a run."""
    flags = {
        "max_far": max_far,
        "max_frr": max_frr,
        "prefer": prefer,
        "confidence": confidence,
    }
    asked = _asked(config, flags)
    run = _run_of(run_or_source, config, quiet)
    chosen = run.recommend(**asked)
    if output is not None:
        from opis_cli.files import write_threshold

        write_threshold(run.report, chosen, output)
    if as_json:
        _print_json(chosen)
    elif not quiet:
        from opis_cli.summary import recommendation

        Console().print(recommendation(run, chosen))


@app.command()
def plot(
    run_or_source: RunOrSource,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Picture to write: .png, .svg or .pdf.")
    ] = Path("utility.png"),
    kind: Annotated[
        str, typer.Option(help="utility, rates, det, roc, histogram or classes.")
    ] = "utility",
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Draw the curves of a run: PNG, SVG or PDF, by the suffix of -o."""
    from opis_cli.files import check_picture, save_figure

    check_picture(output)
    run = _run_of(run_or_source, config, quiet)
    save_figure(run.plot(kind), output)
    if not quiet:
        typer.echo(f"{kind} plot written to {output}")


@app.command()
def export(
    run_or_source: RunOrSource,
    curves: Annotated[
        Path,
        typer.Option(help="Table to write: .parquet or .csv, a row a threshold.", metavar="FILE"),
    ],
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Write the curves with their intervals as a table for other tools."""
    from opis_cli.exports import check_table, curves_table, save_table

    check_table(curves)
    run = _run_of(run_or_source, config, quiet)
    save_table(curves_table(run), curves)
    if not quiet:
        typer.echo(f"curves written to {curves}")


@app.command()
def margins(
    run_or_source: RunOrSource,
    max_far: Annotated[
        float | None, typer.Option(help="Bound on the pooled FAR.", show_default="0.01")
    ] = None,
    max_frr: Annotated[
        float | None, typer.Option(help="Bound on the pooled FRR.", show_default="0.1")
    ] = None,
    config: Config = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Margins that train a more consistent model: for the TCM loss, from bounds."""
    asked = _asked(config, {"max_far": max_far, "max_frr": max_frr})
    run = _run_of(run_or_source, config, quiet)
    found = run.margins(**asked)
    if as_json:
        _print_json(found)
    elif not quiet:
        from opis_cli.summary import margins_summary

        Console().print(margins_summary(run, found))


@app.command()
def doctor(as_json: Json = False) -> None:
    """Say what this machine has: versions, engines, processors, memory."""
    from opis_cli.machine import describe

    facts = describe()
    if as_json:
        _print_json(facts)
    else:
        from opis_cli.summary import facts_table

        Console().print(facts_table(facts))


_SETTING_NAMES = tuple(Settings.__dataclass_fields__)


def _settings(config: Path | None, flags: dict[str, Any]) -> Settings:
    """Settings: flag over file over default."""
    return merge(load_config(config), flags)


def _asked(config: Path | None, flags: dict[str, Any]) -> dict[str, Any]:
    """What is asked of a run that is there: flag over file over nothing."""
    given = load_config(config) | {k: value for k, value in flags.items() if value is not None}
    asked = {name: given.get(name) for name in flags}
    merge({}, asked)  # refuses what is no setting
    return asked


def _evaluate(source: "Given", settings: Settings, quiet: bool) -> "Run":
    from opis_cli.pipeline import evaluate_file
    from opis_cli.progress import announcer, progress_bar

    with progress_bar(quiet) as progress:
        return evaluate_file(source, settings, progress, announcer(quiet))


def _run_of(run_or_source: str, config: Path | None, quiet: bool) -> "Run":
    """The run in a folder; a source is evaluated first, with the file's settings or defaults."""
    from opis_cli.runs import is_run, load_run

    if is_run(Path(run_or_source)):
        return load_run(run_or_source)
    return _evaluate(run_or_source, _settings(config, {}), quiet)


def _print_json(record: Any) -> None:
    from opis_cli.report import to_json

    typer.echo(to_json(record), nl=False)
