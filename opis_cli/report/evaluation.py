"""Pair counts and the report on them, with methods that compute more figures from both."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from opis_cli.errors import RunError
from opis_cli.records import Curve, PairCounts
from opis_cli.report.advice import Advice, advise
from opis_cli.report.evidence import FOLDER, Evidence, load_evidence
from opis_cli.report.records import Report
from opis_cli.report.threshold_file import read_threshold
from opis_cli.scoring import curves
from opis_cli.scoring.axis import over_whole_axis
from opis_cli.scoring.curves import class_rates
from opis_cli.scoring.margins import Margins, find_margins
from opis_cli.scoring.operating import Operating, Rates, rates_at, rates_of
from opis_cli.scoring.opis import Consistency, consistency_of
from opis_cli.scoring.recommend import Recommendation
from opis_cli.scoring.review import Review
from opis_cli.settings import BOUNDS, Prefer, Settings
from opis_cli.text import as_known

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Pair counts and the report on them, as the input of judging and rendering.

    Attributes
    ----------
    counts : PairCounts
    report : Report
    folder : Path, optional
        The folder that the run was read from.
    """

    counts: PairCounts
    report: Report
    folder: Path | None = field(default=None, repr=False, compare=False)

    @property
    def settings(self) -> Settings:
        """The settings of the evaluation."""
        names = {field.name for field in dataclasses.fields(Settings)}
        known = {key: value for key, value in self.report.settings.items() if key in names}
        return Settings(**known)

    @cached_property
    def consistency(self) -> Consistency:
        """OPIS, eps-OPIS, and the contributions of the classes."""
        settings = self.settings
        return consistency_of(self.counts, settings.calibration_range, settings.beta, settings.eps)

    @cached_property
    def whole(self) -> PairCounts:
        """The counts with counts by class at every threshold, for plots and tables of curves."""
        return over_whole_axis(self.counts)

    def recommend(
        self,
        max_far: float | None = None,
        max_frr: float | None = None,
        prefer: Prefer | None = None,
        confidence: float | None = None,
        *,
        max_false_accepts_per_query: float | None = None,
        max_fpir: float | None = None,
        min_precision: float | None = None,
        min_identification: float | None = None,
        prior: float | None = None,
        cost_fa: float | None = None,
        cost_fr: float | None = None,
    ) -> Recommendation:
        """Recommend a threshold for other bounds, from the counts only.

        Parameters
        ----------
        max_far, max_frr : float, optional
            Bounds on the pooled rates. If neither is given, the bounds of the run apply.
        prefer : {"utility", "low-far", "low-frr", "worst-classes", "cost"}, optional
            Rule that chooses a threshold within the bounds. By default the rule of the run.
        confidence : float, optional
            Confidence with which the bounds must hold on other classes. By default that of the
            run.
        max_false_accepts_per_query, max_fpir, min_precision, min_identification : float, optional
            Bounds on figures of searches, as ``evaluate`` has them. If any bound is given, those of
            the run do not apply.
        prior, cost_fa, cost_fr : float, optional
            Share of genuine pairs for ``min_precision``, and with the costs of the errors for
            ``prefer="cost"``. By default those of the run.
        """
        asked = {name: value for name, value in locals().items() if name != "self"}
        return self.advise(asked).recommendation

    def review(
        self,
        max_far: float | None = None,
        max_frr: float | None = None,
        confidence: float | None = None,
    ) -> Review:
        """Return two thresholds: accept by ``max_far``, refuse by ``max_frr``, review between.

        The parameters are those of ``recommend``. The bounds are both given, here or in the run.
        """
        bounds = {"max_far": max_far, "max_frr": max_frr, "confidence": confidence}
        found = self.advise({**bounds, "review": True}).review
        assert found is not None
        return found

    def advise(self, asked: Mapping[str, Any]) -> Advice:
        """Return what to deploy by other settings, from the counts only.

        Parameters
        ----------
        asked : mapping of names to values
            Settings in place of those of the run; None for that of the run. If a bound is among
            them, the bounds of the run do not apply. Review is only there if it is asked for.
        """
        given = {name: value for name, value in asked.items() if value is not None}
        if any(name in given for name in BOUNDS):
            given = dict.fromkeys(BOUNDS) | given
        if not given.get("review"):
            given |= {"review": False, "cost_review": None}
        settings = dataclasses.replace(self.settings, **given)
        deployed = self.report.deployed
        at = None if deployed is None else deployed.threshold
        return advise(self.counts, self.consistency, settings, at)

    def margins(self, max_far: float | None = None, max_frr: float | None = None) -> Margins:
        """Compute margins for the TCM loss from bounds on the pooled rates (0.01, 0.1)."""
        asked = Settings(max_far=max_far, max_frr=max_frr)  # refuses a value that is not a rate
        return find_margins(self.counts, asked.max_far, asked.max_frr)

    def rates(self, threshold: float | str) -> Rates:
        """Compute the rates at any threshold, from the counts only.

        Parameters
        ----------
        threshold : float, or path of a threshold.json
            A distance, or a score if the pairs have scores.

        Returns
        -------
        Rates
            If the threshold lies between two counted thresholds, ``far`` is the FAR at the looser
            one (``far_at``) and ``frr`` the FRR at the stricter one (``frr_at``). For this reason
            neither is lower than the true rate.

        Raises
        ------
        SettingsError
            The threshold is not a possible distance, or the file is not usable.
        """
        return rates_of(self._operating(threshold), self.settings.metric)

    def classes(self, threshold: float | str | None = None) -> "pd.DataFrame":
        """Return a table with one row per class or group, in the order of their names.

        Scores are null for a class that lacks genuine or impostor pairs.

        Parameters
        ----------
        threshold : float, or path of a threshold.json, optional
            Threshold of ``far``, ``frr`` and ``utility``, as for ``rates``. By default the
            recommended threshold. The three are null if there is none.

        Returns
        -------
        DataFrame
            ``deployed_far``, ``deployed_frr`` and ``deployed_utility`` are at the deployed
            threshold of the evaluation, and null if there is none. ``best_threshold`` is the
            threshold at which the class has its highest utility, on the user's scale.
            ``best_threshold_estimated`` says whether the impostor count of the class at that
            threshold is an estimate. If ``threshold`` is given, ``attrs`` of the table contain the
            fields of ``rates(threshold)``, which say where the rates were counted.

        Raises
        ------
        SettingsError
            The threshold is not a possible distance, or the file is not usable.
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
        best_at = self.whole.grid.class_thresholds[best]
        scored: dict[str, Any] = {
            "mean_utility": found.mean_utilities,
            "opis_contribution": found.contributions,
            "recall_at_1": self._recall()[found.classes],
            "far": rates and rates.far,
            "frr": rates and rates.frr,
            "utility": rates and rates.utility,
            "best_threshold": as_known(best_at, counts.metric),
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

    def evidence(self, given: Evidence | None = None) -> Evidence | None:
        """Return the evidence of the run: what is given or, without it, what is in its folder.

        The result is None if there is neither.

        Raises
        ------
        RunError
            A file of it is damaged, or it is the evidence of another run.
        """
        found = given
        if found is None and self.folder is not None and (self.folder / FOLDER).exists():
            found = load_evidence(self.folder / FOLDER)
        own = self.report.source.sha256, self.settings.metric
        if found is not None and (found.facts.source_sha256, found.facts.metric) != own:
            name = "RUN" if self.folder is None else self.folder
            raise RunError(
                f"the evidence is of another run (its source or metric differs); explain this run "
                f"again: opis explain {name}"
            )
        return found

    def _operating(self, threshold: float | str) -> Operating:
        """Compute the rates at a threshold on the user's scale."""
        at = read_threshold(str(threshold), self.settings.metric)
        return rates_at(self.counts, at, self.settings.beta)

    def _recall(self) -> Curve:
        """Return recall@1 of every class, with NaN if no row of the class has a genuine pair."""
        found = np.full(len(self.counts.sizes), np.nan)
        searchers = self.counts.searchers
        np.divide(self.counts.nearest_hits, searchers, out=found, where=searchers > 0)
        return found
