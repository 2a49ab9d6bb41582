"""A run: counts and the report on them, in memory or as a folder on disk.

::

    report.json      every score, setting and provenance
    counts.npz       accepted pairs at the thresholds of the grid, enough for every later command
    classes.parquet  a row a class
    threshold.json   the small file to deploy, where the bounds can be met
    utility.png      the utility curves
"""

import dataclasses
import json
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from opis_cli.counting.counts_file import load_counts, save_counts
from opis_cli.errors import RunError, SettingsError
from opis_cli.files import replacing, sha256_of
from opis_cli.records import Curve, PairCounts
from opis_cli.report.records import Report
from opis_cli.report.report_json import REPORT_FILE, load_report, to_json
from opis_cli.report.threshold_file import read_threshold, threshold_json
from opis_cli.scoring import curves
from opis_cli.scoring.axis import over_whole_axis
from opis_cli.scoring.curves import class_rates
from opis_cli.scoring.margins import Margins, find_margins
from opis_cli.scoring.operating import Operating, Rates, rates_at, rates_of
from opis_cli.scoring.opis import Consistency, Scale, consistency, consistency_by
from opis_cli.scoring.recommend import Recommendation, recommend
from opis_cli.settings import Prefer, Settings

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

COUNTS_FILE = "counts.npz"
CLASSES_FILE = "classes.parquet"
THRESHOLD_FILE = "threshold.json"
PLOT_FILE = "utility.png"


@dataclass(frozen=True)
class Run:
    """Pair counts and the report on them: what every command works from.

    Attributes
    ----------
    counts : PairCounts
    report : Report
    """

    counts: PairCounts
    report: Report

    @property
    def settings(self) -> Settings:
        """The settings that the report was made with."""
        names = {field.name for field in dataclasses.fields(Settings)}
        known = {key: value for key, value in self.report.settings.items() if key in names}
        return Settings(**known)

    @cached_property
    def consistency(self) -> Consistency:
        """OPIS and the contributions of the classes."""
        settings = self.settings
        return consistency(self.counts, settings.calibration_range, settings.beta, settings.eps)

    @cached_property
    def consistency_by(self) -> dict[Scale, Consistency]:
        """The same on other scales of the threshold."""
        settings = self.settings
        return consistency_by(self.counts, self.consistency, settings.beta, settings.eps)

    @cached_property
    def whole(self) -> PairCounts:
        """The counts with every threshold by class, for what is drawn or told of whole curves."""
        return over_whole_axis(self.counts)

    def recommend(
        self,
        max_far: float | None = None,
        max_frr: float | None = None,
        prefer: Prefer | None = None,
        confidence: float | None = None,
    ) -> Recommendation:
        """A threshold for other bounds, from the counts alone.

        Parameters
        ----------
        max_far, max_frr : float, optional
            Bounds on the pooled rates; those of the run when neither is given.
        prefer : {"utility", "low-far", "low-frr", "worst-classes"}, optional
            How to choose among the thresholds that meet them; that of the run by default.
        confidence : float, optional
            With which the bounds shall hold on other classes; that of the run by default.
        """
        own = self.settings
        if max_far is None and max_frr is None:
            max_far, max_frr = own.bounds
        asked = dataclasses.replace(
            own,
            max_far=max_far,
            max_frr=max_frr,
            prefer=prefer or own.prefer,
            confidence=own.confidence if confidence is None else confidence,
        )
        bounds = asked.bounds
        return recommend(
            self.counts,
            self.consistency,
            max_far=bounds[0],
            max_frr=bounds[1],
            prefer=asked.prefer,
            beta=asked.beta,
            confidence=asked.confidence,
        )

    def margins(self, max_far: float | None = None, max_frr: float | None = None) -> Margins:
        """Margins for the TCM loss, from bounds on the pooled rates (0.01 and 0.1 by default)."""
        asked = Settings(max_far=max_far, max_frr=max_frr)  # refuses what is no rate
        return find_margins(self.counts, asked.max_far, asked.max_frr)

    def rates(self, threshold: float | str) -> Rates:
        """Rates at any threshold, from the counts alone.

        Parameters
        ----------
        threshold : float, or path of a threshold.json
            A distance; a score where these are scores.

        Returns
        -------
        Rates
            Where the threshold lies between two that were counted, ``far`` is that at the looser
            and ``frr`` that at the stricter of them (``far_at``, ``frr_at``), so neither flatters.

        Raises
        ------
        SettingsError
            There can be no such distance.
        """
        return rates_of(self._operating(threshold), self.settings.metric)

    def classes(self, threshold: float | str | None = None) -> "pd.DataFrame":
        """A row a class (or ``group``), in the order of their names; singletons have nulls.

        Parameters
        ----------
        threshold : float, or path of a threshold.json, optional
            Where ``far``, ``frr`` and ``utility`` are taken, as for ``rates``; the recommended
            threshold by default, and nulls where there is none.

        Returns
        -------
        DataFrame
            ``deployed_far``, ``deployed_frr`` and ``deployed_utility`` are at the deployed
            threshold that the run was evaluated with, and null without one. ``best_threshold`` is
            that of the class's own highest utility; where ``best_threshold_estimated``, its
            impostors there are estimated. The table's ``attrs`` are the fields of
            ``rates(threshold)`` where a threshold is given: they say where its rates were counted.

        Raises
        ------
        SettingsError
            There can be no such distance.
        """
        import pandas as pd

        counts, found, beta = self.counts, self.consistency, self.settings.beta
        recommended, deployed = self.report.recommendation.threshold, self.report.deployed
        rates, in_use = None, None
        if threshold is not None:
            rates = self._operating(threshold).classes
        elif recommended is not None:
            rates = class_rates(counts, beta, recommended)
        if deployed is not None:
            in_use = class_rates(counts, beta, deployed.threshold)
        best = curves.best_columns(self.whole, beta, found.classes)
        scored: dict[str, Any] = {
            "mean_utility": found.mean_utilities,
            "opis_contribution": found.contributions,
            "recall_at_1": self._recall()[found.classes],
            "far": rates and rates.far,
            "frr": rates and rates.frr,
            "utility": rates and rates.utility,
            "best_threshold": self.whole.grid.class_thresholds[best],
            "deployed_far": in_use and in_use.far,
            "deployed_frr": in_use and in_use.frr,
            "deployed_utility": in_use and in_use.utility,
        }
        table = pd.DataFrame(
            {
                "class" if self.settings.group_column is None else "group": counts.class_names,
                "size": counts.sizes,
                "genuine_pairs": counts.genuine_pairs,
                "impostor_pairs": counts.impostor_pairs,
            }
        )
        for name, values in scored.items():
            column = np.full(len(table), np.nan)
            if values is not None:
                column[found.classes] = values
            table[name] = column
        guessed = np.zeros(len(table), bool)
        if self.whole.estimated is not None:
            guessed[found.classes] = self.whole.estimated[best]
        table["best_threshold_estimated"] = guessed
        if counts.folds is not None:
            table["fold"] = counts.folds
        if threshold is not None:
            table.attrs |= dataclasses.asdict(self.rates(threshold))
        return table

    def _operating(self, threshold: float | str) -> Operating:
        """Rates at a threshold as people know it."""
        at = read_threshold(str(threshold), self.settings.metric)
        return rates_at(self.counts, at, self.settings.beta)

    def _recall(self) -> Curve:
        """Recall@1 of every class; NaN where no row has anything to find."""
        found = np.full(len(self.counts.sizes), np.nan)
        searchers = self.counts.searchers
        np.divide(self.counts.nearest_hits, searchers, out=found, where=searchers > 0)
        return found

    def plot(self, kind: str = "utility") -> "Figure":
        """A matplotlib Figure of one of ``plots.KINDS``: ``utility``, ``rates``, ``roc``, ..."""
        from opis_cli.render.plots import draw

        return draw(self, kind)

    def save(self, path: str | Path, *, force: bool = False) -> Report:
        """Write the run as a folder, whole or not at all; returns the report as written.

        Parameters
        ----------
        path : str or Path
        force : bool
            Replace a run that is there; anything else is never replaced.

        Raises
        ------
        RunError
            The folder exists, or cannot be written.
        """
        # Behind a link, the run is what changes, not the link.
        path = Path(path).resolve() if Path(path).is_symlink() else Path(path)
        check_target(path, force=force)
        start = time.perf_counter()
        with replacing(path, folder=True) as folder:
            folder.mkdir()
            save_counts(self.counts, folder / COUNTS_FILE)
            _write_classes(self.classes(), folder / CLASSES_FILE)
            if self.report.recommendation.threshold is not None:
                text = threshold_json(self.report, self.report.recommendation)
                (folder / THRESHOLD_FILE).write_text(text, encoding="utf-8")
            self.plot().savefig(folder / PLOT_FILE)
            timings = dataclasses.replace(
                self.report.timings, write=round(time.perf_counter() - start, 4)
            )
            digest = sha256_of(folder / COUNTS_FILE)
            report = dataclasses.replace(self.report, timings=timings, counts_sha256=digest)
            (folder / REPORT_FILE).write_text(to_json(report), encoding="utf-8")
        return report


def is_run(path: Path) -> bool:
    """Whether a path looks like a run folder."""
    return path.is_dir() and (path / REPORT_FILE).exists()


def check_target(path: Path, *, force: bool) -> None:
    """Refuse a folder that must not be overwritten, before the work rather than after it."""
    if not path.exists() and not path.is_symlink():
        return
    if not _is_ours(path):
        raise RunError(f"--out {path}: exists and is not a run; choose another folder")
    if not force:
        raise RunError(f"--out {path}: a run is there already; give --force to replace it")


def _is_ours(path: Path) -> bool:
    """Whether a folder is surely a run, so that it may be replaced when asked for."""
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
        It is no run, damaged, or from a newer opis.
    """
    path = Path(path)
    if not is_run(path):
        raise RunError(f"{path}: no run is there (a folder that --out wrote has a {REPORT_FILE})")
    report = load_report(path)
    run = Run(load_counts(path / COUNTS_FILE), report)
    try:
        settings = run.settings
        # A setting that an older opis did not know is one that nobody asked for.
        known = dataclasses.asdict(settings).items()
        missing = {name for name, value in known if value not in (None, False)}
        if missing := missing - set(report.settings):
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
