"""Explain a run of scored pairs: find the pairs and the groups behind its rates at a threshold."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from opis_cli.counting.scored_table import Table
from opis_cli.errors import SettingsError
from opis_cli.evidence.scored import GroupPairs, Pairs, SeenPairs, Wanted, look
from opis_cli.evidence.scored_rows import ScoredRows
from opis_cli.records import Ints
from opis_cli.report.asked import Asked, Progress, advancing, code_of, threshold_of
from opis_cli.report.evaluation import Evaluation
from opis_cli.report.evidence import TABLES, Evidence
from opis_cli.report.evidence_facts import facts_of_errors

if TYPE_CHECKING:
    import pandas as pd

Names = NDArray[Any]


def explain_scored(
    run: Evaluation,
    table: Table,
    asked: Asked,
    progress: Progress = lambda done, total: None,
) -> Evidence:
    """Look at all scored pairs of a run once more, and find what is behind its rates.

    Parameters
    ----------
    run : Evaluation
    table : Table
        The pairs that the run was counted from.
    asked : Asked
    progress : callable
        Called with (pairs read, pairs in all).

    Raises
    ------
    InputError
        The group or a column is not there, or the pairs cannot be read.
    SettingsError
        There is no threshold, a class is given where the pairs have no groups, or the work needs
        more memory than the limit.
    """
    settings, names = run.settings, run.counts.class_names
    threshold = threshold_of(run, asked.threshold)
    if asked.of_class is not None and not table.groups:
        raise SettingsError(
            "--class: these pairs have no groups; evaluate them with --group-column"
        )
    table.check(asked.show_columns)
    if asked.id_column is not None:
        table = table.with_ids(asked.id_column)
    sign = -1 if settings.metric == "score" else 1
    seen = look(
        table,
        sign,
        threshold,
        Wanted(asked.top, asked.per_class_pair, code_of(names, asked.of_class)),
        drop=settings.on_bad_rows == "drop",
        reject=settings.without_score == "reject",
        memory_limit=settings.memory_limit_bytes,
        advance=advancing(progress, run.report.source.rows),
    )
    errors = seen.false_accepts, seen.false_rejects
    compared = len(seen.confused.pairs)
    confused = seen.confused.some(seen.confused.accepted > 0)
    return Evidence(
        facts=facts_of_errors(run, asked, threshold, confused.accepted, compared, errors),
        pairs=_pairs_table(seen, table, names, sign, asked.show_columns),
        class_pairs=_class_pairs_table(confused, names, sign),
        rows=_rows_table(seen.rows, table.ids, names, sign),
        components=_empty(TABLES["components"]),
    )


def _pairs_table(
    seen: SeenPairs, table: Table, names: Names, sign: int, show_columns: tuple[str, ...]
) -> "pd.DataFrame":
    """Return the hardest pairs, with the shown columns of their rows."""
    import pandas as pd

    pairs = Pairs.joined([seen.accepts, seen.rejects])
    count = len(pairs.rows)
    kinds = ["false_accept"] * len(seen.accepts.rows) + ["false_reject"] * len(seen.rejects.rows)
    found = pd.DataFrame(
        {
            "kind": pd.array(kinds, "object"),
            "row_a": pairs.rows,
            "row_b": pd.array([None] * count, "Int64"),
            "class_a": _named(names, pairs.groups[:, 0]),
            "class_b": _named(names, pairs.groups[:, 1]),
            # A pair without a score has none to show.
            "distance": np.where(np.isfinite(pairs.distances), sign * pairs.distances, np.nan),
        }
    )
    if table.id_columns:
        for side, ids in zip("ab", pairs.ids.T, strict=True):
            found[f"id_{side}"] = _named(table.ids, ids)
    if show_columns:
        rows, place = np.unique(pairs.rows, return_inverse=True)
        for name, texts in zip(show_columns, table.texts(show_columns, rows), strict=True):
            found[f"{name}_a"] = pd.array([texts[k] for k in place.tolist()], "object")
    return found


def _class_pairs_table(confused: GroupPairs, names: Names, sign: int) -> "pd.DataFrame":
    """Return the pairs of groups with false accepts, those with most of them first."""
    import pandas as pd

    confused = confused.some(np.argsort(-confused.accepted, kind="stable"))
    return pd.DataFrame(
        {
            "class_a": _named(names, confused.groups[:, 0]),
            "class_b": _named(names, confused.groups[:, 1]),
            "accepted": confused.accepted,
            "pairs": confused.pairs,
            "least_distance": sign * confused.least,
            "suggestion": np.full(len(confused.pairs), None, object),
        }
    )


def _rows_table(rows: ScoredRows, ids: Names, names: Names, sign: int) -> "pd.DataFrame":
    """Return a row for each id, those with most errors first."""
    import pandas as pd

    if not len(ids):
        return _empty(TABLES["rows"])
    errors = rows.false_accepts + rows.false_rejects
    order = np.argsort(-errors, kind="stable")
    none = np.full(len(ids), None, object)
    columns: dict[str, Any] = {"row": ids, "class": _named(names, rows.groups)}
    for side, nearest in (("own", rows.own), ("other", rows.others)):
        there = nearest.ids >= 0
        columns[f"{side}_distance"] = np.where(there, sign * nearest.distances, np.nan)
        columns[f"{side}_row"] = _named(ids, nearest.ids)
    columns |= {
        "other_class": _named(names, rows.others.groups),
        "suspect": none,
        "score": np.full(len(ids), np.nan),
        "chain": pd.array([None] * len(ids), "Int64"),
        "pairs": rows.pairs,
        "false_accepts": rows.false_accepts,
        "false_rejects": rows.false_rejects,
    }
    return pd.DataFrame(columns).iloc[order].reset_index(drop=True)


def _named(names: Names, codes: Ints) -> Any:
    """Return the names of groups or ids; null where the code is -1."""
    import pandas as pd

    if len(names) and names.dtype.kind == "i":
        return pd.arrays.IntegerArray(names[codes].astype(np.int64), codes < 0)
    found = np.full(len(codes), None, object)
    found[codes >= 0] = names[codes[codes >= 0]]
    return found


def _empty(columns: dict[str, str]) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in columns.items()})
