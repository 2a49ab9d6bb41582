"""``migrate``: the threshold of a new model that keeps a rate of an old one, and what changes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opis_cli.embeddings.sources import Given
from opis_cli.errors import RunError
from opis_cli.files import replacing
from opis_cli.judging import migration as judged
from opis_cli.judging.flips import classes_table, compare_decisions, flips_table, match_rows
from opis_cli.report.asked import PER_CLASS_PAIR, TOP, Asked
from opis_cli.report.report_json import to_dict, to_json
from opis_cli.report.source import check_columns
from opis_cli.run import Run, load_run

if TYPE_CHECKING:
    import pandas as pd

FACTS_FILE, FLIPS_FILE, CLASSES_FILE = "migration.json", "flips.parquet", "classes.parquet"
THRESHOLD_FILE = "threshold.json"
FILES = (FACTS_FILE, FLIPS_FILE, CLASSES_FILE, THRESHOLD_FILE)


@dataclass(frozen=True, eq=False)
class Migration:
    """What a change of the model costs.

    Attributes
    ----------
    facts : judging.migration.Migration
        Thresholds, rates and numbers of decisions that change.
    flips : DataFrame
        The hardest pairs of each kind whose decision changes: ``kind`` ("genuine_lost",
        "genuine_won", "impostors_let_in", "impostors_kept_out"), ``row_a, row_b, class_a, class_b,
        old_distance, new_distance``, and the shown columns of both rows. Rows are numbered as in
        the source of the old model. With a gallery ``row_b`` is a gallery row.
    classes : DataFrame
        A row for each class, those with most losses first: ``class, size, genuine_pairs,
        impostor_pairs``, the numbers of the four kinds, and ``old_far, old_frr, new_far,
        new_frr``.
    threshold_json : str
        The text of a ``threshold.json`` for the new model.
    """

    facts: judged.Migration
    flips: "pd.DataFrame"
    classes: "pd.DataFrame"
    threshold_json: str

    def __repr__(self) -> str:
        old, new, by = self.facts.old, self.facts.new, self.facts.by.upper()
        changed = self.facts.flips.total
        return (
            f"<Migration: {old.threshold:g} becomes {new.threshold:g} at the same {by}; "
            f"{changed:,} decisions change>"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values: what ``opis migrate --json`` prints."""
        found: dict[str, Any] = to_dict(self.facts)
        return found

    def save(self, path: str | Path, *, force: bool = False) -> None:
        """Write a folder with ``migration.json``, two tables and the new ``threshold.json``.

        Parameters
        ----------
        path : str or Path
        force : bool
            Whether to replace a migration at ``path``. Anything else is never replaced.

        Raises
        ------
        RunError
            The folder exists or cannot be written.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        check_target(Path(path), force=force)
        with replacing(Path(path), folder=True) as folder:
            folder.mkdir()
            (folder / FACTS_FILE).write_text(to_json(self.facts), encoding="utf-8")
            (folder / THRESHOLD_FILE).write_text(self.threshold_json, encoding="utf-8")
            for name, table in ((FLIPS_FILE, self.flips), (CLASSES_FILE, self.classes)):
                pq.write_table(pa.Table.from_pandas(table, preserve_index=False), folder / name)


def check_target(path: Path, *, force: bool) -> None:
    """Refuse a folder that must not be overwritten. Call this before the work starts.

    Raises
    ------
    RunError
        The path exists and is no migration, or is one and ``force`` is not given.
    """
    if not path.exists() and not path.is_symlink():
        return
    names = {one.name for one in path.iterdir()} if path.is_dir() else set()
    if FACTS_FILE not in names or not names <= set(FILES):
        raise RunError(f"--out {path}: exists and is no migration; choose another folder")
    if not force:
        raise RunError(f"--out {path}: a migration is there already; give --force to replace it")


def migrate(
    old: Run | str | Path,
    new: Run | str | Path,
    *,
    keep: str = "far",
    threshold: float | str | Path | None = None,
    id_column: str | None = None,
    show_columns: Sequence[str] = (),
    top: int = TOP,
    per_class_pair: int = PER_CLASS_PAIR,
    old_source: Given | None = None,
    new_source: Given | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Migration:
    """Find the threshold of a new model that keeps the FAR of an old one, and what changes.

    Parameters
    ----------
    old, new : Run, or path of a run
        Runs of the same rows by two models. Their metrics may differ.
    keep : {"far", "frr"}
        The rate that the new threshold keeps.
    threshold : float, or path of a threshold.json, optional
        Threshold of the old model. By default the deployed threshold of its run or, without one,
        the recommended threshold.
    id_column : str, optional
        Column of both sources that tells which rows match. By default rows match by their order.
    show_columns : sequence of str
        Columns of the old source whose values stand beside each pair.
    top, per_class_pair : int
        Most pairs of a kind to list, and most of one pair of classes.
    old_source, new_source : path, or list of paths, optional
        The source of a run, if it is no longer where it was. Its checksum must match.
    seed : int
        Seed of the bootstrap over classes.
    progress : callable
        Called with (pairs looked at, pairs in all).

    Raises
    ------
    OpisError
        The rows of the runs do not match, there is no threshold, or a source has changed.
    """
    asked = Asked(None if threshold is None else str(threshold), top, per_class_pair)
    before, after = (load_run(run) if isinstance(run, str | Path) else run for run in (old, new))
    runs = before, after
    ids = () if id_column is None else (id_column,)
    rows = (
        before.read_rows(old_source, tuple(dict.fromkeys((*ids, *show_columns)))),
        after.read_rows(new_source, ids),
    )
    check_columns("--show-columns", show_columns, rows[0].columns)
    for one in rows:
        check_columns("--id-column", ids, one.columns)
    rows = match_rows(runs, rows, id_column)
    found = judged.kept(*runs, keep=keep, threshold=asked.threshold, seed=seed)
    both = compare_decisions(
        runs,
        rows,
        (found.old, found.new),
        top=asked.top,
        per_class_pair=asked.per_class_pair,
        progress=progress,
    )
    facts = judged.facts(*runs, found, both.flips)
    return Migration(
        facts,
        flips_table(both, (facts.old.metric, facts.new.metric), tuple(show_columns)),
        classes_table(both),
        judged.threshold_file(after, facts, found),
    )
