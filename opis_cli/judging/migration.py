"""The threshold of a new model that keeps a rate of an old one, and what changes at it."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from opis_cli.counting.calibration import first_within, last_within
from opis_cli.errors import SettingsError
from opis_cli.evidence.flips import GENUINE, IMPOSTOR, KINDS, NEW_ONLY, OLD_ONLY, Flips
from opis_cli.judging.changes import have_units, same_classes
from opis_cli.quantities import Count, Share
from opis_cli.report.advice import Advice
from opis_cli.report.evaluation import Evaluation
from opis_cli.report.threshold_file import read_threshold, threshold_json
from opis_cli.scoring.curves import pooled_frr_at_most
from opis_cli.scoring.recommend import equivalents
from opis_cli.statistics import bootstrap
from opis_cli.text import as_known
from opis_cli.text import rate as shown_rate

Keep = Literal["far", "frr"]
CONFIDENCE = 0.95
"""Confidence of the interval of the new threshold, with equal tails."""

_SAME = 1 + 1e-12
"""Rates of two models that differ less are equal but for rounding."""


@dataclass(frozen=True, slots=True)
class OldModel:
    """The old model at its threshold.

    Attributes
    ----------
    path : str
        The run or the source.
    metric : str
    threshold : float
        On the user's scale.
    kind : {"given", "deployed", "recommended"}
        Where the threshold comes from.
    far, frr : float
        Pooled rates.
    """

    path: str
    metric: str
    threshold: float
    kind: Literal["given", "deployed", "recommended"]
    far: Share
    frr: Share


@dataclass(frozen=True, slots=True)
class NewModel:
    """The new model at the threshold that keeps a rate.

    Attributes
    ----------
    path : str
        The run or the source.
    metric : str
    threshold : float
        On the user's scale.
    interval : (float, float) or None
        Where the threshold could lie on other classes, at ``CONFIDENCE``. None if the two runs have
        other classes, or classes are not the units of their pairs.
    far, frr : float
        Pooled rates.
    """

    path: str
    metric: str
    threshold: float
    interval: tuple[float, float] | None
    far: Share
    frr: Share


@dataclass(frozen=True, slots=True)
class FlipCounts:
    """Numbers of pairs whose decision changes.

    Attributes
    ----------
    genuine_lost, genuine_won : int
        Genuine pairs that only the old model accepts, and that only the new one accepts.
    impostors_let_in, impostors_kept_out : int
        Impostor pairs that only the new model accepts, and that only the old one accepts.
    """

    genuine_lost: Count
    genuine_won: Count
    impostors_let_in: Count
    impostors_kept_out: Count

    @property
    def total(self) -> int:
        """The number of all pairs whose decision changes."""
        return sum(dataclasses.astuple(self))


@dataclass(frozen=True, slots=True)
class Migration:
    """What a change of the model costs, as in ``migration.json``.

    Attributes
    ----------
    old : OldModel
    new : NewModel
    by : {"far", "frr"}
        The rate that the new threshold keeps: its rate is at most that of the old model.
    bounds_met : bool
        Whether the new threshold is one of those that meet all bounds of the new run.
    max_far, max_frr : float or None
        The bounds of the new run on the pooled rates.
    flips : FlipCounts
    genuine_pairs, impostor_pairs : int
        Numbers of all pairs.
    borderline : int
        Pairs within a rounding of a threshold, among which a flip may be due to rounding alone.
    confidence : float
        Confidence of the interval.
    """

    old: OldModel
    new: NewModel
    by: Keep
    bounds_met: bool
    max_far: Share | None
    max_frr: Share | None
    flips: FlipCounts
    genuine_pairs: Count
    impostor_pairs: Count
    borderline: Count
    confidence: Share = CONFIDENCE


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The thresholds of an old and of a new model, as distances.

    Attributes
    ----------
    old : float
    kind : {"given", "deployed", "recommended"}
        Where the old one comes from.
    new : float
    interval : (float, float) or None
    by : {"far", "frr"}
    """

    old: float
    kind: Literal["given", "deployed", "recommended"]
    new: float
    interval: tuple[float, float] | None
    by: Keep


def in_use(
    run: Evaluation, given: str | None = None
) -> tuple[float, Literal["given", "deployed", "recommended"]]:
    """Return the threshold of a model as a distance, and where it comes from.

    Raises
    ------
    SettingsError
        None is given or deployed, and the run recommends none.
    """
    if given is not None:
        return read_threshold(given, run.settings.metric), "given"
    if run.report.deployed is not None:
        return run.report.deployed.threshold, "deployed"
    if run.report.recommendation.threshold is None:
        raise SettingsError(
            f"{_path(run)}: no threshold is deployed, and none meets the "
            "bounds of this run; give the one in use: --threshold=T"
        )
    return run.report.recommendation.threshold, "recommended"


def _path(run: Evaluation) -> str:
    return str(run.folder or run.report.source.path)


def kept(
    old: Evaluation,
    new: Evaluation,
    *,
    keep: str = "far",
    threshold: str | None = None,
    seed: int = 0,
    replicates: int = bootstrap.REPLICATES,
) -> Thresholds:
    """Return the threshold of a new model that keeps the FAR, or the FRR, of an old one.

    The rate of the new model is at most that of the old model, by their counts. To keep the FAR the
    threshold is the largest such one, and to keep the FRR the smallest. If the old threshold lies
    between two that were counted, the lower of the two rates is kept.

    Parameters
    ----------
    old, new : Evaluation
    keep : {"far", "frr"}
    threshold : str, optional
        Threshold of the old model: a number on the user's scale, or the path of a
        ``threshold.json``. By default the deployed one or, without one, the recommended one.
    seed, replicates : int
        Seed and number of draws of the bootstrap over classes.

    Raises
    ------
    SettingsError
        ``keep`` is another word, or there is no threshold of the old or of the new model.
    """
    if keep not in get_args(Keep):
        raise SettingsError(f"--keep={keep}: it is no rate to keep; give --keep=far or --keep=frr")
    at, kind = in_use(old, threshold)
    thresholds = old.counts.grid.thresholds
    if keep == "far":
        place = int(np.searchsorted(thresholds, at, side="right")) - 1
        rate = float(old.counts.pooled_far[place]) if place >= 0 else 0.0
        index = last_within(new.counts.pooled_far, rate)
    else:
        place = old.counts.grid.index_at(at)
        rate = float(pooled_frr_at_most(old.counts)[place])
        index = first_within(pooled_frr_at_most(new.counts), rate)
    if index is None:
        raise SettingsError(
            f"no threshold of the new model has a {keep.upper()} of at most {shown_rate(rate)}, "
            f"that of the old one; keep the other rate: --keep={'frr' if keep == 'far' else 'far'}"
        )
    interval = None
    if place >= 0:
        interval = _interval(old, new, place, keep == "far", seed, replicates)
    found = float(new.counts.grid.thresholds[index])
    return Thresholds(at, kind, found, interval, "far" if keep == "far" else "frr")


def _interval(
    old: Evaluation, new: Evaluation, place: int, by_far: bool, seed: int, replicates: int
) -> tuple[float, float] | None:
    """Return where the new threshold could lie on other classes, as distances.

    Each draw of classes keeps the rate that the old model has on it. Both models use the same
    draws, so that the variation that they share cancels.
    """
    places = same_classes(new, old)
    if places is None or len(places) < 2 or not have_units(new, old):
        return None
    column = old.counts.grid.column_of(float(old.counts.grid.thresholds[place]))
    if column is None:
        return None
    order = np.argsort(places)
    columns = np.array([column])

    def threshold(weights: bootstrap.Weights) -> dict[str, Any]:
        if by_far:
            rate = bootstrap.pooled_far(weights[:, order], old.counts, columns)[:, 0] * _SAME
            found = bootstrap.last_within_far(weights, new.counts, rate)
        else:
            rate = bootstrap.pooled_frr(weights[:, order], old.counts, columns)[:, 0] * _SAME
            found = bootstrap.first_within_frr(weights, new.counts, rate)
        thresholds = new.counts.grid.class_thresholds
        return {"threshold": np.where(found >= 0, thresholds[found], np.nan)}

    draws = bootstrap.replicate(threshold, len(places), replicates, seed)
    return bootstrap.one_sided_limits(draws["threshold"], (1 + CONFIDENCE) / 2)


def facts(old: Evaluation, new: Evaluation, thresholds: Thresholds, flips: Flips) -> Migration:
    """Put what was found into a record, with thresholds on the user's scales."""
    one, two = old.settings.metric, new.settings.metric
    chosen = new.report.recommendation
    rates = [_rates(new, flips, state) for state in (OLD_ONLY, NEW_ONLY)]
    interval = thresholds.interval
    if interval is not None:
        ends = sorted(float(as_known(end, two)) for end in interval)
        interval = ends[0], ends[1]
    meeting = chosen.interval
    return Migration(
        old=OldModel(_path(old), one, as_known(thresholds.old, one), thresholds.kind, *rates[0]),
        new=NewModel(_path(new), two, as_known(thresholds.new, two), interval, *rates[1]),
        by=thresholds.by,
        bounds_met=meeting is not None and meeting[0] <= thresholds.new <= meeting[1],
        max_far=chosen.max_far,
        max_frr=chosen.max_frr,
        flips=counts_of(flips),
        genuine_pairs=new.counts.genuine_total,
        impostor_pairs=new.counts.impostor_total,
        borderline=int(flips.borderline.sum()),
    )


def counts_of(flips: Flips) -> FlipCounts:
    """Return the numbers of decisions that change."""
    return FlipCounts(**{kind: flips.number(kind) for kind in KINDS})


def _rates(new: Evaluation, flips: Flips, state: int) -> tuple[float, float]:
    """Return the pooled FAR and FRR of the model that accepts alone in a state."""
    accepted = flips.pairs[:, [state, 2]].sum(axis=1)
    genuine, impostors = new.counts.genuine_total, new.counts.impostor_total
    return float(accepted[IMPOSTOR] / impostors), float((genuine - accepted[GENUINE]) / genuine)


def threshold_file(new: Evaluation, found: Migration, thresholds: Thresholds) -> str:
    """Return the text of a ``threshold.json`` for the new model at its new threshold."""
    chosen = dataclasses.replace(
        new.report.recommendation,
        status="feasible",
        threshold=thresholds.new,
        interval=None,
        max_far=found.old.far if found.by == "far" else None,
        max_frr=found.old.frr if found.by == "frr" else None,
        far=found.new.far,
        frr=found.new.frr,
        equivalents=equivalents(thresholds.new, new.counts.metric, new.counts.unit),
        confidence=None,
    )
    text = threshold_json(new.report, Advice(chosen, None, None, None))
    assert text is not None
    return text
