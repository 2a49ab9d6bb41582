"""The evidence behind the rates of a run: its record, and its files in the folder ``evidence``."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from opis_cli.errors import RunError
from opis_cli.evidence.class_pairs import Concentration
from opis_cli.files import replacing
from opis_cli.quantities import Amount, Share
from opis_cli.report.report_json import from_json, to_json
from opis_cli.text import SCORED

if TYPE_CHECKING:
    import pandas as pd

FOLDER = "evidence"
FACTS_FILE = "evidence.json"
TABLES = {
    "pairs": {
        "kind": "object",
        "row_a": "int64",
        "row_b": "Int64",
        "class_a": "object",
        "class_b": "object",
        "distance": "float64",
    },
    "class_pairs": {
        "class_a": "object",
        "class_b": "object",
        "accepted": "int64",
        "pairs": "int64",
        "least_distance": "float64",
        "suggestion": "object",
    },
    "rows": {
        "row": "int64",
        "class": "object",
        "own_distance": "float64",
        "own_row": "Int64",
        "other_distance": "float64",
        "other_row": "Int64",
        "other_class": "object",
        "suspect": "object",
        "score": "float64",
        "chain": "Int64",
    },
    "components": {
        "kind": "object",
        "component": "int64",
        "rows": "int64",
        "classes": "int64",
        "class": "object",
        "purity": "float64",
        "suggestion": "object",
    },
}
"""The tables, and the columns that each of them has, with the types of those of an empty one."""


@dataclass(frozen=True, slots=True)
class ConflictingRows:
    """Equal rows with different labels.

    Attributes
    ----------
    rows : tuple of int
        Their numbers in the source, the first ones.
    classes : tuple of str
        Their labels, in the order of ``rows``.
    """

    rows: tuple[int, ...]
    classes: tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Conflicts:
    """Rows at distance 0 from each other.

    Attributes
    ----------
    copies : int
        Number of groups of equal rows.
    conflicts : int
        Number of those groups whose labels differ. No threshold can tell their rows apart.
    rows : int
        Number of rows in the groups whose labels differ.
    first : tuple of ConflictingRows
        The first of these groups.
    """

    copies: int
    conflicts: int
    rows: int
    first: tuple[ConflictingRows, ...]


@dataclass(frozen=True, slots=True)
class ChainFacts:
    """Groups of rows that accepted pairs join, at a low threshold.

    Attributes
    ----------
    threshold : float
        Threshold up to which pairs join rows: that of FAR 1e-4, or the largest below it at which no
        group has more than half of the rows.
    groups, mixed : int
        Number of groups of two rows or more, and of those with rows of several classes.
    largest_rows, largest_classes : int
        Rows and classes of the largest group.
    purity : float | None
        Share of the rows in groups that are of the most frequent class of their group.
    articulation_rows : int | None
        Number of rows of the largest group without which it falls apart. Null if the group is too
        large to tell.
    """

    threshold: float
    groups: int
    mixed: int
    largest_rows: int
    largest_classes: int
    purity: Share | None
    articulation_rows: int | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """Figures of changed labels.

    Attributes
    ----------
    far, frr : float
        Pooled rates at ``WhatIf.threshold``.
    opis : float | None
        Null if the calibration range cannot be resolved.
    recommended : float | None
        Recommended threshold for the bounds of the run. Null if none meets them.
    recommended_far, recommended_frr : float | None
        Pooled rates there.
    """

    far: Share
    frr: Share
    opis: Amount | None
    recommended: float | None
    recommended_far: Share | None
    recommended_frr: Share | None


@dataclass(frozen=True, slots=True)
class WhatIf:
    """Figures after the suggested changes, on the grid of the run.

    Attributes
    ----------
    now : Outcome
    without_suspects, merged, both : Outcome | None
        Without the rows whose label is suspect, with the suggested classes merged, and with both.
        Null if nothing is suggested, or no figures are left.
    threshold : float | None
        Threshold of ``far`` and ``frr``: the one that is explained or, if the run did not count
        it, the next counted one above. Null in evidence of an older opis.
    """

    now: Outcome
    without_suspects: Outcome | None
    merged: Outcome | None
    both: Outcome | None
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """Figures of the evidence, as in ``evidence.json``.

    Those from ``suspect_labels`` to ``what_if`` are about rows. They are null for scored pairs,
    where ``class`` stands for the group.

    Attributes
    ----------
    opis_version, created : str
    source_sha256 : str
        Digest of the source of the run.
    metric : str
    threshold : float
        Threshold of pairs, classes and rows, on the user's scale.
    top, per_class_pair : int
        Most pairs of a kind that are listed, and most of one pair of classes.
    of_class : str | None
        Class that a row of each listed pair is of. Null if pairs of all classes are listed.
    false_accepts, false_rejects : int
        Accepted impostor pairs, and rejected genuine pairs.
    concentration : Concentration
    leading : int
        Number of class pairs with most false accepts that ``leading_share`` speaks of.
    leading_share : float | None
        Their share of all false accepts.
    suspect_labels, outliers : int | None
        Rows whose label is suspect, and rows far beyond all others.
    merges, splits : int | None
        Pairs of classes that may be one, and classes that may be two.
    conflicts : Conflicts | None
    chains : ChainFacts | None
    what_if : WhatIf | None
    group_column : str | None
        Column that ``of_class`` is a group of. Null if it is a class.
    """

    opis_version: str
    created: str
    source_sha256: str
    metric: str
    threshold: float
    top: int
    per_class_pair: int
    of_class: str | None
    false_accepts: int
    false_rejects: int
    concentration: Concentration
    leading: int
    leading_share: Share | None
    suspect_labels: int | None = None
    outliers: int | None = None
    merges: int | None = None
    splits: int | None = None
    conflicts: Conflicts | None = None
    chains: ChainFacts | None = None
    what_if: WhatIf | None = None
    group_column: str | None = None

    @property
    def of_scores(self) -> bool:
        """Whether the pairs are scored pairs, which have no rows and no vectors."""
        return self.metric in SCORED


@dataclass(frozen=True, eq=False)
class Evidence:
    """The pairs, the classes and the rows behind the rates at a threshold.

    Of scored pairs, ``row_a`` is the row of the pair and ``row_b`` is null, the classes are the
    groups of the two sides (null without groups), and a distance is a score or a distance as in
    the file. With ids, ``id_a`` and ``id_b`` name the two sides, and ``rows`` has a row for each
    id, with ``pairs, false_accepts, false_rejects`` and without a suspect or a score; those with
    most errors come first. Without ids, ``rows`` is empty. ``components`` is empty.

    Attributes
    ----------
    facts : Facts
    pairs : DataFrame
        The hardest pairs: ``kind`` ("false_accept", closest first, then "false_reject", farthest
        first), ``row_a, row_b, class_a, class_b, distance``, and the shown columns of both rows,
        the column of groups first.
        Rows are numbered as in the source. With a gallery ``row_b`` is a gallery row.
    class_pairs : DataFrame
        Confused classes: ``class_a, class_b, accepted`` (impostor pairs), ``pairs`` (all between
        them), ``least_distance`` (null if none is accepted), ``suggestion`` ("merge" or null).
    rows : DataFrame
        A row for each row: ``row, class, own_distance, own_row`` (the nearest of its class),
        ``other_distance, other_row, other_class`` (the nearest of others), ``suspect`` ("label",
        "outlier" or null), ``score`` (0 to 1), and ``chain`` (number of its chain, or null). With a
        gallery, ``gallery`` tells its rows.
    components : DataFrame
        Groups of rows: ``kind`` ("chain", "part" of a class that falls apart, "copies"),
        ``component`` (number), ``rows, classes, class`` (the most frequent), ``purity,
        suggestion`` ("split" for the parts of a class that may be two).
    """

    facts: Facts
    pairs: "pd.DataFrame"
    class_pairs: "pd.DataFrame"
    rows: "pd.DataFrame"
    components: "pd.DataFrame"

    @property
    def shown(self) -> tuple[str, ...]:
        """The columns whose values stand beside each pair, and ``id`` where the pairs have ids."""
        return tuple(
            name.removesuffix("_a")
            for name in self.pairs.columns
            if name.endswith("_a") and name not in ("row_a", "class_a")
        )


def save_evidence(evidence: Evidence, folder: Path) -> None:
    """Write evidence as a folder, in place of one that is there. It is written whole or not at all.

    Raises
    ------
    RunError
        The folder is not one of evidence, or cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    check_folder(folder)
    with replacing(folder, folder=True) as new:
        new.mkdir()
        for name in TABLES:
            table = pa.Table.from_pandas(getattr(evidence, name), preserve_index=False)
            pq.write_table(table, new / f"{name}.parquet")
        (new / FACTS_FILE).write_text(to_json(evidence.facts), encoding="utf-8")


def check_folder(folder: Path) -> None:
    """Refuse a folder that must not be replaced. Call this before the work starts.

    Raises
    ------
    RunError
        The folder exists and holds no evidence, or nothing can be written there.
    """
    if folder.exists() and not (folder / FACTS_FILE).is_file():
        raise RunError(f"{folder}: exists and holds no evidence; choose another folder")
    parent = next(parent for parent in folder.absolute().parents if parent.exists())
    if not (parent.is_dir() and os.access(parent, os.W_OK)):
        raise RunError(f"{folder}: cannot be written; choose another folder with --out=DIR")


def load_evidence(folder: Path) -> Evidence:
    """Read evidence that ``save_evidence`` wrote.

    Raises
    ------
    RunError
        A file is missing or damaged.
    """
    import pandas as pd

    try:
        facts = from_json(Facts, (folder / FACTS_FILE).read_text(encoding="utf-8"))
        tables = {name: pd.read_parquet(folder / f"{name}.parquet") for name in TABLES}
        for name, columns in TABLES.items():
            if missing := set(columns) - set(tables[name]):
                raise KeyError(f"{name}.parquet has no column {min(missing)}")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RunError(
            f"{folder}: damaged evidence ({error}); explain the run again: opis explain RUN"
        ) from None
    return Evidence(facts=facts, **tables)


def no_evidence(run: Path | None, what: str) -> RunError:
    """Return the error for a run that lacks the evidence that ``what`` needs.

    ``run`` is the folder of the run, if it was read from one.
    """
    if run is None:
        return RunError(f"{what} needs evidence; give what `explain` of the run returns: evidence=")
    return RunError(f"{run}: {what} needs evidence; run `opis explain {run}` first")
