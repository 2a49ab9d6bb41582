"""Options that several commands have: one name, one help text, whichever command it is."""

from pathlib import Path
from typing import Annotated

import typer

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
