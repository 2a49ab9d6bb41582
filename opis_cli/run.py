"""A run: pair counts and the report on them, in memory or as a folder on disk.

A run folder contains these files::

    report.json      all scores, all settings, and where the data came from
    counts.npz       accepted pairs at the thresholds of the grid: all that later commands need
    classes.parquet  one row per class
    threshold.json   the small file to deploy; it is missing if no threshold meets the bounds
    utility.png      the utility curves
    evidence/        what ``opis explain`` found: pairs, class pairs and rows
"""

import dataclasses
import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from opis_cli.counting.counts_file import load_counts, save_counts
from opis_cli.embeddings.sources import Given
from opis_cli.errors import RunError, SettingsError, for_python
from opis_cli.files import replacing, sha256_of
from opis_cli.records import Embeddings
from opis_cli.report.evaluation import Evaluation
from opis_cli.report.evidence import FOLDER as EVIDENCE_FOLDER
from opis_cli.report.records import Report
from opis_cli.report.report_json import REPORT_FILE, load_report, to_json
from opis_cli.report.threshold_file import threshold_json
from opis_cli.report.threshold_record import THRESHOLD_FILE
from opis_cli.settings import ABOUT
from opis_cli.text import number, plain, rate, rule

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from opis_cli.evidence.flips import Flips
    from opis_cli.judging.gate import Verdict
    from opis_cli.report.evidence import Evidence

COUNTS_FILE = "counts.npz"
CLASSES_FILE = "classes.parquet"
PLOT_FILE = "utility.png"
_LIMITS = ("max_", "min_")
"""How the names of the gate's limits begin."""


@dataclass(frozen=True, eq=False, repr=False)
class Run(Evaluation):
    """Pair counts and the report on them, with methods to inspect, plot and save them.

    Attributes
    ----------
    counts : PairCounts
    report : Report
    folder : Path, optional
        The folder that the run was read from.
    embeddings : Embeddings, optional
        The rows, if they were given as arrays.
    """

    embeddings: Embeddings | None = field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        report, chosen = self.report, self.report.recommendation
        classes = f", {report.source.classes:,} {report.source.many}" * bool(report.source.classes)
        deploy = "no threshold meets the bounds"
        if chosen.threshold is not None:
            deploy = f"accept {rule(chosen.threshold, self.settings.metric)}"
            deploy += f": FAR {rate(chosen.far)}, FRR {rate(chosen.frr)}"
        opis = "" if report.opis is None else f"; OPIS {number(report.opis, 3)}"
        read = f"{plain(report.source.name, 60)}, {report.source.rows:,} {report.counted}{classes}"
        return f"<Run of {read}; {deploy}{opis}>"

    def _repr_html_(self) -> str:
        from opis_cli.render.notebook import notebook

        return notebook(self)

    def plot(
        self,
        kind: str = "utility",
        *,
        evidence: "Evidence | None" = None,
        width: float | str | None = None,
        title: str | None = None,
        font_size: float | None = None,
        ax: "Axes | Sequence[Axes]" = (),
    ) -> "Figure":
        """Draw a picture.

        Parameters
        ----------
        kind : str
            ``utility``, ``rates``, ``det``, ``roc``, ``histogram``, ``classes``, ``calibration``,
            ``confusion`` or ``group-matrix``. ``plots.draw`` says what each shows.
        evidence : Evidence, optional
            For ``confusion``: what ``explain`` returned. By default it is the evidence in the
            folder of the run.
        width : float or str, optional
            Width in inches, or a text such as ``"3.3in"`` or ``"84mm"``. The height and the size
            of the text follow from it. By default 7.2 inches.
        title : str, optional
            Title in place of the name of the data.
        font_size : float, optional
            Size of the text in points.
        ax : Axes, or sequence of Axes
            Panels of your own to draw into: two for ``rates``, one or two for ``utility`` and
            ``calibration``, one for others. ``confusion`` and ``group-matrix`` take none. By
            default a new figure.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        OpisError
            There is no such kind, it lacks evidence or groups, a size is out of range, or ``ax``
            does not fit.
        """
        from opis_cli.render.plots import draw
        from opis_cli.render.sheet import look_of

        return draw(self, kind, evidence, look=look_of(width, title, font_size), ax=ax)

    def curves(self, *, by_class: bool = False) -> "pd.DataFrame":
        """Return the curves as a table: rates and utility at every counted threshold.

        Parameters
        ----------
        by_class : bool
            Whether to return the curves of every evaluable class, one below the other. Else the
            pooled rates with their 95 % intervals, the means of the classes, and the counts.

        Returns
        -------
        DataFrame
            ``threshold`` is on the user's scale. By class, the columns are ``class`` (or
            ``group``), ``threshold, far, frr, utility, estimated``.
        """
        from opis_cli.report.curves_table import class_curves_table, curves_table

        return class_curves_table(self) if by_class else curves_table(self)

    def groups(self) -> "pd.DataFrame":
        """Return a table of the groups, at the global threshold and at thresholds of their own.

        Returns
        -------
        DataFrame
            A row for each group, with the fields of ``report.groups.groups``. Thresholds are on the
            user's scale.

        Raises
        ------
        RunError
            The run has no counts by pair of groups, or no threshold.
        """
        from opis_cli.report.groups_table import groups_table

        return groups_table(self)

    def group_pairs(self, threshold: float | str | None = None) -> "pd.DataFrame":
        """Return a table of the pairs of groups, at one threshold for all.

        Parameters
        ----------
        threshold : float, or path of a threshold.json, optional
            By default the recommended threshold.

        Returns
        -------
        DataFrame
            A row for each pair of groups that has pairs: ``group_a, group_b, genuine_pairs,
            impostor_pairs, far, frr, supported``. With a gallery, ``group_a`` is the group of the
            query. The last column says whether the impostor pairs are enough to resolve max_far.

        Raises
        ------
        OpisError
            The run has no counts by pair of groups, no threshold, or no counts by group at it.
        """
        from opis_cli.report.groups_table import group_pairs_table

        return group_pairs_table(self, threshold)

    def export(self, path: str | Path) -> None:
        """Write ``curves()`` as ``.parquet`` or ``.csv``, by the suffix of the path.

        Raises
        ------
        RunError
            The suffix is neither, or the file cannot be written.
        """
        from opis_cli.report.curves_table import check_table, curves_table, save_table

        check_table(Path(path))
        save_table(curves_table(self), Path(path))

    def gate(
        self,
        *,
        baseline: "Run | str | Path | None" = None,
        threshold: float | str | Path | None = None,
        max_opis: float | None = None,
        max_eps_opis: float | None = None,
        max_far: float | None = None,
        max_frr: float | None = None,
        min_recall_at_1: float | None = None,
        min_classes_meeting_bounds: float | None = None,
        max_class_far: float | None = None,
        max_class_frr: float | None = None,
        max_false_accepts_per_query: float | None = None,
        max_fpir: float | None = None,
        min_precision: float | None = None,
        min_identification: float | None = None,
        max_review: float | None = None,
        max_label_conflicts: int | None = None,
        max_suspects: int | str | None = None,
        max_opis_increase: float | str | None = None,
        max_frr_increase: float | str | None = None,
        max_recall_drop: float | str | None = None,
        max_threshold_shift: float | str | None = None,
        max_flips: int | str | None = None,
        confidence: float | None = None,
        family: bool | None = None,
        evidence: "Evidence | None" = None,
        seed: int = 0,
    ) -> "Verdict":
        """Judge the run by limits, as ``opis gate`` does.

        Parameters
        ----------
        baseline : Run, or path of a run, optional
            An earlier run to judge against.
        threshold : float, or path of a threshold.json, optional
            The deployed threshold, at which rates are judged. By default that of the run or,
            without one, the recommended threshold.
        max_opis, max_eps_opis : float, optional
            Limits on OPIS and on eps-OPIS.
        max_far, max_frr, min_recall_at_1 : float, optional
            Limits on the pooled rates at the threshold and on recall@1, shares from 0 to 1.
        max_false_accepts_per_query : float, optional
            Limit on the wrong rows that one search returns at the threshold, on average.
        max_fpir, min_precision, min_identification : float, optional
            Limits on figures of searches at the threshold, shares from 0 to 1. The precision is at
            the prior of the run.
        min_classes_meeting_bounds : float, optional
            Least share of the classes that are within the run's bounds.
        max_class_far, max_class_frr : float, optional
            Limits on the rates of the worst class at the threshold.
        max_review : float, optional
            Limit on the share of the pairs that go to review, for a run with ``review=True``.
        max_label_conflicts : int, optional
            Most pairs of equal rows with different labels.
        max_suspects : int or str, optional
            Most suspect rows that ``explain`` found, or a share of the rows: ``"1%"``.
        max_opis_increase, max_frr_increase, max_recall_drop, max_threshold_shift : float or str
            Limits on the worsening against the baseline, absolute or as a share of the baseline's
            figure: ``"5%"``.
        max_flips : int or str, optional
            Most decisions that change from the baseline at its own threshold, or a share of the
            pairs that it accepts: ``"5%"``. The sources of both runs are read again.
        confidence : float, optional
            Against the baseline, fail only what the classes prove with this confidence.
        family : bool, optional
            Whether the confidence is that of all checks against the baseline together.
        evidence : Evidence, optional
            What ``explain`` returned. By default it is the evidence in the folder of the run.
        seed : int
            Seed of the bootstrap over classes.

        Returns
        -------
        Verdict
            It has ``passed`` and ``checks``.

        Raises
        ------
        OpisError
            No limit is given, a value is not usable, or the runs cannot be compared.
        """
        # Every parameter that is a limit, by its name. Nothing else may be local here yet.
        limits = {name: value for name, value in locals().items() if name.startswith(_LIMITS)}
        from opis_cli.judging.gate import judge
        from opis_cli.judging.limits import read_demands

        base = load_run(baseline) if isinstance(baseline, str | Path) else baseline
        named = None if base is None else str(base.folder or base.report.source.path)
        own = {"baseline": named, "confidence": confidence, "family": family}
        demands = read_demands({}, limits | own)
        at = None if threshold is None else str(threshold)
        verdict = judge(
            self,
            demands,
            threshold=at,
            baseline=base,
            flips=self.flips(base, at) if base is not None and demands.need_flips else None,
            path="" if self.folder is None else str(self.folder),
            evidence=evidence,
            seed=seed,
        )
        # A remark on a figure that is undefined may name an option. Others may name classes.
        checks = tuple(
            dataclasses.replace(check, remark=for_python(check.remark))
            if check.value is None
            else check
            for check in verdict.checks
        )
        notes = tuple(map(for_python, verdict.notes))
        return dataclasses.replace(verdict, checks=checks, notes=notes)

    def explain(
        self,
        source: Given | None = None,
        *,
        threshold: float | str | None = None,
        of_class: str | None = None,
        top: int = 1_000,
        per_class_pair: int = 3,
        show_columns: Sequence[str] = (),
        id_column: str | None = None,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> "Evidence":
        """Look at all pairs once more, and find what is behind the rates at a threshold.

        Parameters
        ----------
        source : path, or list of paths, optional
            The source of the run, if it is no longer where it was. Its checksum must match.
        threshold : float, or path of a threshold.json, optional
            By default the recommended threshold.
        of_class : str, optional
            Name of a class, for pairs with a row of it. For scored pairs, of a group.
        top, per_class_pair : int
            Most pairs of a kind to list, and most of one pair of classes.
        show_columns : sequence of str
            Columns of the source whose values stand beside each pair.
        id_column : str, optional
            Of scored pairs, the columns with the ids of the two sides, with a comma between. Then
            ``rows`` tells the errors and the nearest rows of each id.
        progress : callable
            Called with (pairs looked at, pairs in all).

        Returns
        -------
        Evidence
            It has ``pairs``, ``class_pairs``, ``rows`` and ``components``, and figures in
            ``facts``.

        Raises
        ------
        OpisError
            The source is not there or has changed, or there is no such class or threshold.
        """
        from opis_cli.report.asked import Asked
        from opis_cli.report.explain import explain
        from opis_cli.report.explain_scored import explain_scored
        from opis_cli.report.source import table_of

        given = None if threshold is None else str(threshold)
        asked = Asked(given, top, per_class_pair, of_class, tuple(show_columns), id_column)
        if self.settings.pairs:
            with table_of(self.report, self.settings, self.counts.class_names, source) as table:
                return explain_scored(self, table, asked, progress)
        return explain(self, self.read_rows(source, asked.show_columns), asked, progress)

    def flips(
        self,
        base: "Run",
        threshold: str | None = None,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> "Flips | None":
        """Read the rows of another run and of this one again, and compare all their decisions.

        Parameters
        ----------
        base : Run
            A run of the same rows in the same order. It decides at its own threshold.
        threshold : str, optional
            Threshold of this run. By default the deployed one or, without one, the recommended one.
        progress : callable
            Called with (pairs looked at, pairs in all).

        Returns
        -------
        Flips or None
            None if this run has no threshold.

        Raises
        ------
        OpisError
            The rows do not match, a source has changed, or the other run has no threshold.
        """
        from opis_cli.judging.flips import compare_decisions, match_rows
        from opis_cli.judging.migration import in_use

        chosen = self.report.recommendation.threshold, self.report.deployed, threshold
        if chosen == (None, None, None):
            return None
        runs = base, self
        at = in_use(base)[0], in_use(self, threshold)[0]
        rows = match_rows(runs, (base.read_rows(), self.read_rows()))
        found = compare_decisions(runs, rows, at, top=1, per_class_pair=1, progress=progress)
        return found.flips

    def read_rows(
        self, source: Given | None = None, show_columns: Sequence[str] = ()
    ) -> Embeddings:
        """Read the rows that the run was counted from again, and change them by its remedy.

        Parameters
        ----------
        source : path, or list of paths, optional
            The source of the run, if it is no longer where it was. Its checksum must match.
        show_columns : sequence of str
            Further columns to read.

        Raises
        ------
        OpisError
            The source or the remedy is not there or has changed.
        """
        from opis_cli.remedies.artefact import remedied_again
        from opis_cli.report.source import rows_of

        if self.settings.pairs:
            raise SettingsError(
                "scored pairs have no rows, and the decisions of two models are compared row by "
                "row; evaluate the embeddings of both models"
            )
        if self.embeddings is not None and source is None:
            return self.embeddings
        rows = rows_of(self.report, self.settings, source, show_columns)
        return remedied_again(rows, self.report, self.settings)

    def save(self, path: str | Path, *, force: bool = False) -> Report:
        """Write the run as a folder. If writing fails, nothing is left behind.

        Parameters
        ----------
        path : str or Path
        force : bool
            Whether to replace a run at ``path``. Anything other than a run is never replaced.

        Returns
        -------
        Report
            The report as written, with the time of writing and the digest of the counts.

        Raises
        ------
        RunError
            The folder exists, or cannot be written.
        """
        # Replace the run that a link points to, and keep the link.
        path = Path(path).resolve() if Path(path).is_symlink() else Path(path)
        check_target(path, force=force)
        start = time.perf_counter()
        with replacing(path, folder=True) as folder:
            folder.mkdir()
            save_counts(self.counts, folder / COUNTS_FILE)
            _write_classes(self.classes(), folder / CLASSES_FILE)
            text = threshold_json(self.report, self.report)
            if text is not None:
                (folder / THRESHOLD_FILE).write_text(text, encoding="utf-8")
            self.plot().savefig(folder / PLOT_FILE)
            timings = dataclasses.replace(
                self.report.timings, write=round(time.perf_counter() - start, 4)
            )
            digest = sha256_of(folder / COUNTS_FILE)
            _keep_others(path, folder)
            report = dataclasses.replace(self.report, timings=timings, counts_sha256=digest)
            (folder / REPORT_FILE).write_text(to_json(report), encoding="utf-8")
        return report


FILES = (EVIDENCE_FOLDER, REPORT_FILE, COUNTS_FILE, CLASSES_FILE, THRESHOLD_FILE, PLOT_FILE)
"""The files of a run. Anything else in its folder is the user's."""


def _keep_others(path: Path, folder: Path) -> None:
    """Copy what is not a run's from a folder that is about to be replaced."""
    if not path.is_dir():
        return
    for other in path.iterdir():
        if other.name in FILES:
            continue
        if other.is_dir() and not other.is_symlink():
            shutil.copytree(other, folder / other.name, symlinks=True)
        else:
            shutil.copy2(other, folder / other.name, follow_symlinks=False)


def is_run(path: Path) -> bool:
    """Return whether a path looks like a run folder."""
    return path.is_dir() and (path / REPORT_FILE).exists()


def check_target(path: Path, *, force: bool) -> None:
    """Refuse a folder that must not be overwritten. Call this before counting starts.

    Raises
    ------
    RunError
        The path exists and is not a run, or is a run and ``force`` is not given.
    """
    if not path.exists() and not path.is_symlink():
        return
    if not _is_ours(path):
        raise RunError(f"--out {path}: exists and is not a run; choose another folder")
    if not force:
        raise RunError(f"--out {path}: a run is there already; give --force to replace it")


def _is_ours(path: Path) -> bool:
    """Return whether a folder is certainly a run, so that ``--force`` may replace it."""
    try:
        content = json.loads((path / REPORT_FILE).read_text(encoding="utf-8"))
        return "opis_version" in content and (path / COUNTS_FILE).exists()
    except (OSError, ValueError, TypeError):
        return False


def _write_classes(table: "pd.DataFrame", file: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pandas(table, preserve_index=False), file)


def load_run(path: str | Path) -> Run:
    """Read a run folder.

    Raises
    ------
    RunError
        The folder is not a run, is damaged, or was written by a newer opis.
    """
    path = Path(path)
    if not is_run(path):
        raise RunError(f"{path}: no run is there (a folder that --out wrote has a {REPORT_FILE})")
    report = load_report(path)
    run = Run(load_counts(path / COUNTS_FILE), report, path)
    try:
        settings = run.settings
        # A report of an older schema lacks newer settings, which then have their defaults.
        known = {name for name, about in ABOUT.items() if about.since <= report.schema_version}
        if missing := known - set(report.settings):
            raise TypeError(f"no setting {sorted(missing)[0]}")
    except (SettingsError, TypeError) as error:
        raise RunError(f"{path}: damaged report ({error}); evaluate the source again") from None
    totals = run.counts.genuine_total, run.counts.impostor_total
    alike = totals == (report.pairs.genuine, report.pairs.impostor)
    if (
        not (alike and run.counts.metric == settings.metric)
        or sha256_of(path / COUNTS_FILE) != report.counts_sha256
    ):
        raise RunError(f"{path}: report and counts are not of one run; evaluate the source again")
    return run
