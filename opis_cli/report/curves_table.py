"""Curves as a table for other tools, with one row per threshold and with intervals."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from opis_cli.errors import RunError
from opis_cli.files import replacing
from opis_cli.records import Curve
from opis_cli.report.evaluation import Evaluation
from opis_cli.scoring import curves
from opis_cli.statistics.jackknife import Spread, spread
from opis_cli.text import as_known

if TYPE_CHECKING:
    import pandas as pd


SUFFIXES = (".parquet", ".csv")


def curves_table(run: Evaluation) -> "pd.DataFrame":
    """Return the rates and the mean utility at every threshold.

    A threshold of scores is a score. ``far`` and ``frr`` are pooled rates. The columns with
    ``_low`` and ``_high`` are the ends of their 95 % intervals, which are null if no class can be
    left out. Class means and the mean utility are over the evaluable classes, and null if there are
    none. ``estimated`` says whether the impostor counts by class are estimates at the threshold. If
    so, the class means, the mean utility and the interval of the FAR depend on estimates.
    """
    import pandas as pd

    counts, classes, beta = run.whole, run.consistency.classes, run.settings.beta
    columns, at = curves.all_columns(counts), counts.grid.by_class
    distances = counts.grid.class_thresholds
    far, frr = spread(counts, "far", columns), spread(counts, "frr", columns)
    means = {name: np.zeros(len(columns)) for name in ("far", "frr")}
    means["utility"] = curves.mean_utility(counts, beta, classes, columns)
    step = max(1, 2_000_000 // len(columns))
    for start in range(0, len(classes), step):
        part = classes[start : start + step]
        means["far"] += curves.class_far(counts, part, columns).sum(axis=0) / len(classes)
        means["frr"] += curves.class_frr(counts, part, columns).sum(axis=0) / len(classes)
    if not len(classes):
        means = {name: np.full(len(columns), np.nan) for name in means}
    return pd.DataFrame(
        {
            "threshold": as_known(distances, counts.metric),
            "far": counts.pooled_far[at],
            **_ends("far", far, len(columns)),
            "frr": counts.pooled_frr[at],
            **_ends("frr", frr, len(columns)),
            "class_mean_far": means["far"],
            "class_mean_frr": means["frr"],
            "mean_utility": means["utility"],
            "accepted_impostors": counts.pooled_impostor[at],
            "rejected_genuine": counts.genuine_total - counts.pooled_genuine[at],
            "estimated": np.zeros(len(at), bool) if counts.estimated is None else counts.estimated,
        }
    )


def class_curves_table(run: Evaluation) -> "pd.DataFrame":
    """Return the rates and the utility of every evaluable class at every threshold.

    The rows of a class stand together, by ascending distance (descending score). ``estimated`` says
    whether the FAR of the class, and so its utility, are estimates at the threshold.
    """
    import pandas as pd

    counts, classes, beta = run.whole, run.consistency.classes, run.settings.beta
    columns = curves.all_columns(counts)
    distances = counts.grid.class_thresholds
    far = curves.class_far(counts, classes, columns)
    frr = curves.class_frr(counts, classes, columns)
    guessed = np.zeros(len(columns), bool) if counts.estimated is None else counts.estimated
    return pd.DataFrame(
        {
            run.report.source.one: np.repeat(counts.class_names[classes], len(columns)),
            "threshold": np.tile(as_known(distances, counts.metric), len(classes)),
            "far": far.ravel(),
            "frr": frr.ravel(),
            "utility": curves.utility(far, frr, beta).ravel(),
            "estimated": np.tile(guessed, len(classes)),
        }
    )


def _ends(name: str, band: Spread | None, count: int) -> dict[str, Curve]:
    low, high = (np.full(count, np.nan),) * 2 if band is None else band.limits()
    return {f"{name}_low": low, f"{name}_high": high}


def check_table(file: Path, flag: str = "") -> None:
    """Refuse a file name whose suffix is not that of a table. Call this before counting starts.

    ``flag`` is the option that named the file, for the message.

    Raises
    ------
    RunError
        The suffix is neither ``.parquet`` nor ``.csv``.
    """
    if file.suffix.lower() not in SUFFIXES:
        named = f"{flag} {file}".strip()
        raise RunError(f"{named}: tables are .parquet or .csv; end its name in one of them")


def save_table(table: "pd.DataFrame", file: Path) -> None:
    """Write a table as Parquet or CSV, by the file's suffix.

    Raises
    ------
    RunError
        The suffix is neither, or the file cannot be written.
    """
    check_table(file)
    with replacing(file) as scratch:
        if file.suffix.lower() == ".csv":
            table.to_csv(scratch, index=False)
        else:
            import pyarrow as pa
            import pyarrow.parquet as pq

            pq.write_table(pa.Table.from_pandas(table, preserve_index=False), scratch)
