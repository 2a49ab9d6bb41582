"""Counts and the report on them, with all that follows from the two."""

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from opis_cli.records import Curve, PairCounts
from opis_cli.report.records import Report
from opis_cli.report.threshold_file import read_threshold
from opis_cli.scoring import curves
from opis_cli.scoring.axis import over_whole_axis
from opis_cli.scoring.curves import class_rates
from opis_cli.scoring.margins import Margins, find_margins
from opis_cli.scoring.operating import Operating, Rates, rates_at, rates_of
from opis_cli.scoring.opis import Consistency, Scale, consistency_by, consistency_of
from opis_cli.scoring.recommend import Recommendation
from opis_cli.settings import Prefer, Settings
from opis_cli.statistics.confidence import recommended

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Evaluation:
    """Pair counts and the report on them: what is judged and shown.

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
        return consistency_of(self.counts, settings.calibration_range, settings.beta, settings.eps)

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
        return recommended(self.counts, self.consistency, asked)

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
