"""Differences between two runs: whether they can be compared, and what changed.

The changes are those of figures and those of classes.
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from opis_cli.errors import SettingsError
from opis_cli.judging import resampled
from opis_cli.records import Curve, Ints
from opis_cli.report.evaluation import Evaluation
from opis_cli.scoring.operating import Operating, rates_at
from opis_cli.scoring.opis import SCALES
from opis_cli.settings import ABOUT, Compares
from opis_cli.statistics import bootstrap

ON_A_SCALE = ("opis", "eps_opis", "opis_euclidean_unit", "eps_opis_euclidean_unit", "threshold")
"""Figures that depend on the scale of the thresholds: they do not compare between metrics."""


@dataclass(frozen=True, slots=True)
class Change:
    """The change of a figure against another run.

    Attributes
    ----------
    name : str
        Name of the figure, as in ``resampled.figures``.
    value, base : float or None
        The figure of the run, and that of the other run.
    change : float or None
        ``value - base``.
    interval : (float, float) or None
        One-sided lower limit and one-sided upper limit of the change, each at the confidence. None
        if the runs have different classes, or if the figure is undefined in too many draws. Both
        it and ``change`` are None if the figure does not compare between the metrics of the runs.
    """

    name: str
    value: float | None
    base: float | None
    change: float | None
    interval: tuple[float, float] | None

    @property
    def relative(self) -> float | None:
        """The change as a share of the other run's figure."""
        return self.change / self.base if self.change is not None and self.base else None


@dataclass(frozen=True, slots=True)
class ClassChange:
    """The change of a class's mean utility over the calibration range against another run."""

    class_name: int | str = dataclasses.field(metadata={"key": "class"})
    size: int
    mean_utility: float
    base: float
    change: float


def check_comparable(
    run: Evaluation, base: Evaluation, compared: tuple[Compares, ...], what: str, of: str
) -> None:
    """Refuse two runs whose settings differ, if the comparison depends on these settings.

    Parameters
    ----------
    run, base : Evaluation
    compared : tuple of {"figures", "worst classes", "recommendation"}
        What is compared.
    what, of : str
        Names of the run and of the other run, for the message.

    Raises
    ------
    SettingsError
        A setting differs. The message names the first one.
    """
    # Vectors that a remedy changed have a metric of its own, at thresholds of equal FAR too.
    remedies = run.settings.remedy is not None or base.settings.remedy is not None
    by_far = "distance" not in (
        run.settings.calibration_range.by,
        base.settings.calibration_range.by,
    )
    for name, about in ABOUT.items():
        if about.compares not in compared or (name == "metric" and remedies and by_far):
            continue
        one, two = _setting(run, name), _setting(base, name)
        if one != two:
            shown = ["not given" if value is None else value for value in (one, two)]
            raise SettingsError(
                f"{what} and {of} do not compare: {name.replace('_', '-')} is {shown[0]} in the "
                f"former and {shown[1]} in the latter; evaluate both with the same settings"
            )


def _setting(run: Evaluation, name: str) -> Any:
    if name == "calibration":
        return str(run.settings.calibration_range)
    if name in ("max_far", "max_frr"):
        return run.settings.bounds[name == "max_frr"]
    if name == "gallery":
        return "none" if run.settings.gallery is None else "given"
    if name == "missing_score":
        # Pairs that were left out, or were not there, change no figure: only rejected ones do.
        return "reject" if run.settings.missing_score == "reject" else None
    return getattr(run.settings, name)


def same_classes(run: Evaluation, base: Evaluation) -> Ints | None:
    """Return the index in ``base`` of each class of ``run``, shape (K,).

    The result is None if the runs do not have the same classes.
    """
    places = {str(name): i for i, name in enumerate(base.counts.class_names.tolist())}
    names = [str(name) for name in run.counts.class_names.tolist()]
    if len(names) != len(places) or any(name not in places for name in names):
        return None
    return np.array([places[name] for name in names])


def have_units(*runs: Evaluation) -> bool:
    """Return whether classes with all their pairs are the units of all these runs."""
    return all(run.counts.classes_are_units for run in runs)


Both = tuple[Operating | None, Operating | None]
"""The operating points at which the pooled FRRs of two runs are judged."""


def drawn_changes(
    run: Evaluation,
    base: Evaluation,
    *,
    seed: int,
    at: Both = (None, None),
    replicates: int = bootstrap.REPLICATES,
) -> dict[str, Curve]:
    """Return the changes of figures in many draws of classes, by name.

    Each value has the shape (replicates,). The figures of both runs use the same draws, so that the
    variation that they share cancels. The result is empty if the runs have different classes, if
    there are fewer than two classes, or if classes cannot be drawn.
    """
    places = same_classes(run, base)
    if places is None or len(places) < 2 or not have_units(run, base):
        return {}
    order = np.argsort(places)

    def differences(weights: bootstrap.Weights) -> dict[str, Curve]:
        new = resampled.figures(run, weights, at[0])
        old = resampled.figures(base, weights[:, order], at[1])
        return {name: new[name] - old[name] for name in new}

    return bootstrap.replicate(differences, len(places), replicates, seed)


def figure_changes(
    run: Evaluation,
    base: Evaluation,
    draws: dict[str, Curve],
    *,
    confidence: float,
    at: Both = (None, None),
) -> dict[str, Change]:
    """Return the changes of a run's figures against another run, by name, with paired intervals.

    Parameters
    ----------
    run, base : Evaluation
    draws : dict
        The result of ``drawn_changes``.
    confidence : float
        Confidence of each one-sided limit of an interval.
    at : pair of Operating, optional
        Operating points at which the pooled FRRs of the two runs are judged.
    """
    values, bases = figures(run, at[0]), figures(base, at[1])
    found = {
        name: _change(name, values[name], bases[name], draws.get(name), confidence)
        for name in values
    }
    if run.counts.metric != base.counts.metric:
        for name in ON_A_SCALE:
            found[name] = dataclasses.replace(found[name], change=None, interval=None)
    return found


def intervals(
    run: Evaluation, at: Operating | None, *, confidence: float, seed: int
) -> dict[str, tuple[float, float] | None]:
    """Return the two-sided intervals of a run's own figures, by name, with equal tails.

    The result is empty if classes cannot be drawn, or if there are fewer than two.
    """
    if len(run.counts.sizes) < 2 or not have_units(run):
        return {}
    draws = bootstrap.replicate(
        lambda weights: resampled.figures(run, weights, at), len(run.counts.sizes), seed=seed
    )
    return {
        name: bootstrap.one_sided_limits(values, (1 + confidence) / 2)
        for name, values in draws.items()
    }


def _change(
    name: str, value: float | None, base: float | None, draws: Curve | None, confidence: float
) -> Change:
    if value is None or base is None:
        return Change(name, value, base, None, None)
    limits = None if draws is None else bootstrap.one_sided_limits(draws, confidence)
    # Round, as binary fractions are not exact: 0.8 - 0.7 would exceed 0.1.
    return Change(name, value, base, round(value - base, 12), limits)


def figures(run: Evaluation, at: Operating | None = None) -> dict[str, float | None]:
    """Return the figures that are compared, by the names of ``resampled.figures``.

    The threshold is a distance, or a score if the pairs have scores.
    """
    report, chosen = run.report, run.report.recommendation
    scales = [(scale, run.consistency.by_scale.get(scale)) for scale in SCALES]
    return {
        "recall_at_1": report.recall_at_1,
        "opis": report.opis,
        "eps_opis": report.eps_opis.value,
        **{f"opis_{scale}": one.opis if one else None for scale, one in scales},
        **{f"eps_opis_{scale}": one.eps_opis if one else None for scale, one in scales},
        "threshold": chosen.threshold
        if chosen.equivalents.score is None
        else chosen.equivalents.score,
        "frr_at_max_far": None if chosen.at_max_far is None else chosen.at_max_far.frr,
        "frr": chosen.frr if at is None else at.frr,
    }


def operating_of(run: Evaluation, deployed: float | None) -> Operating | None:
    """Return the rates at the deployed threshold or, without one, at the recommended threshold.

    The result is None if there is neither.
    """
    beta = run.settings.beta
    if deployed is not None:
        return rates_at(run.counts, deployed, beta)
    chosen = run.report.recommendation.threshold
    return None if chosen is None else rates_at(run.counts, chosen, beta, "recommended")


def class_changes(run: Evaluation, base: Evaluation) -> tuple[ClassChange, ...]:
    """Return the change of each class's mean utility, the greatest loss first.

    Only classes that are evaluable in both runs take part.
    """
    old = dict(zip(*_mean_utilities(base), strict=True))
    names, values = _mean_utilities(run)
    sizes = run.counts.sizes[run.consistency.classes]
    raw = run.counts.class_names[run.consistency.classes].tolist()
    found = [
        ClassChange(original, int(size), value, old[name], value - old[name])
        for original, name, value, size in zip(raw, names, values, sizes, strict=True)
        if name in old
    ]
    return tuple(sorted(found, key=lambda one: one.change))


def _mean_utilities(run: Evaluation) -> tuple[list[str], list[float]]:
    names = run.counts.class_names[run.consistency.classes].tolist()
    return [str(name) for name in names], run.consistency.mean_utilities.tolist()


def pareto_front(errors: list[float | None], inconsistencies: list[float | None]) -> list[bool]:
    """Return whether each model is on the Pareto front of the two figures.

    A model is on the front if no other model is at least as good in both figures and better in one.
    A model with an undefined figure is not on the front.
    """
    points = [
        (math.nan if error is None else error, math.nan if value is None else value)
        for error, value in zip(errors, inconsistencies, strict=True)
    ]
    return [
        not math.isnan(x + y)
        and not any((a <= x and b <= y) and (a < x or b < y) for a, b in points)
        for x, y in points
    ]
