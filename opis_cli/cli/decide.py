"""The command ``decide``: a table of pairs, and a decision on each."""

from pathlib import Path
from typing import Annotated, get_args

import typer

from opis_cli.cli.commands import app
from opis_cli.cli.help import completing
from opis_cli.cli.options import Json, Quiet
from opis_cli.cli.progress import progress_bar
from opis_cli.cli.shared import print_json, show
from opis_cli.settings import MissingScore
from opis_cli.text import PAIR_SCALES

_MISSING = get_args(MissingScore)


@app.command(
    examples=(
        "opis decide threshold.json pairs.parquet -o decisions.parquet",
        "opis decide runs/first found.csv --scale cosine_similarity -o out.csv",
        "opis decide runs/first pairs.parquet --embedding-column a,b -o out.csv",
    )
)
def decide(
    threshold: Annotated[
        str,
        typer.Argument(help="A threshold.json, or a run that has one.", metavar="THRESHOLD"),
    ],
    pairs: Annotated[
        list[str],
        typer.Argument(
            help="Pairs with scores, distances or two vectors: .parquet, .csv or .tsv.",
            metavar="PAIRS",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="Table to write: .parquet or .csv, the columns of PAIRS and decision.",
            metavar="FILE",
            rich_help_panel="Start here",
        ),
    ],
    score_column: Annotated[
        str | None,
        typer.Option(
            help="Column of scores or distances.",
            metavar="COLUMN",
            show_default="score, distance, or the name of a scale",
            rich_help_panel="Input",
        ),
    ] = None,
    scale: Annotated[
        str | None,
        typer.Option(
            help=f"What the scores are: {', '.join(PAIR_SCALES[:-1])} or {PAIR_SCALES[-1]}.",
            metavar="WORD",
            show_default="told from the name of the column",
            autocompletion=completing(PAIR_SCALES),
            rich_help_panel="Input",
        ),
    ] = None,
    embedding_column: Annotated[
        str | None,
        typer.Option(
            help="Two columns of vectors to compare.",
            metavar="LEFT,RIGHT",
            show_default="such as embedding_a,embedding_b",
            rich_help_panel="Input",
        ),
    ] = None,
    group_column: Annotated[
        str | None,
        typer.Option(
            help="Column of groups, or one for each side, for thresholds by group.",
            metavar="COLUMN|LEFT,RIGHT",
            rich_help_panel="Input",
        ),
    ] = None,
    remedy: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the remedy that the threshold is for, to change the vectors by first.",
            metavar="DIR",
            rich_help_panel="Input",
        ),
    ] = None,
    missing_score: Annotated[
        str,
        typer.Option(
            help="error, reject or drop: pairs without a score or a vector. reject refuses them.",
            metavar="WORD",
            autocompletion=completing(_MISSING),
            rich_help_panel="Input",
        ),
    ] = "error",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Decide pairs by a threshold: accept, review or refuse."""
    from opis_cli.deciding.table import decide_table
    from opis_cli.threshold import load_threshold

    rule = load_threshold(threshold, remedy=remedy)
    with progress_bar(quiet) as progress:
        decided = decide_table(
            rule,
            pairs,
            output,
            score_column=score_column,
            embedding_column=embedding_column,
            scale=scale,
            group_column=group_column,
            missing_score=missing_score,  # type: ignore[arg-type]  # `decide_table` checks it
            progress=progress,
        )
    if as_json:
        print_json(decided)
    elif not quiet:
        from opis_cli.render.terminal.decisions import decisions_summary

        show(decisions_summary(decided, rule.rule, output, dropped=missing_score == "drop"))
