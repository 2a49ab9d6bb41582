"""Runs beside one another: whether they compare, what changed, and for which classes."""

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


@dataclass(frozen=True, slots=True)
class Change:
    """How a figure differs from an earlier run's.

    Attributes
    ----------
    name : str
        As in ``resampled.figures``.
    value, base : float or None
    change : float or None
        ``value - base``.
    interval : (float, float) or None
        Limits of the change, each of which holds by itself with the confidence; None where the
        classes are not the same, or draws leave the figure undefined.
    """

    name: str
    value: float | None
    base: float | None
    change: float | None
    interval: tuple[float, float] | None

    @property
    def relative(self) -> float | None:
        """The change as a share of the earlier figure."""
        return self.change / self.base if self.change is not None and self.base else None


@dataclass(frozen=True, slots=True)
class ClassChange:
    """How one class's mean utility over the calibration range differs from an earlier run's."""

    class_name: int | str = dataclasses.field(metadata={"key": "class"})
    size: int
    mean_utility: float
    base: float
    change: float


def check_comparable(
    run: Evaluation, base: Evaluation, compared: tuple[Compares, ...], what: str, of: str
) -> None:
    """Refuse runs whose settings differ where what is compared depends on them.

    ``what`` and ``of`` name the run and the other one in the message.

    Raises
    ------
    SettingsError
        With the first difference named.
    """
    for name, about in ABOUT.items():
        if about.compares not in compared:
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
    return getattr(run.settings, name)


def same_classes(run: Evaluation, base: Evaluation) -> Ints | None:
    """Where each class of ``run`` is among those of ``base``, shape (K,); None if they differ."""
    places = {str(name): i for i, name in enumerate(base.counts.class_names.tolist())}
    names = [str(name) for name in run.counts.class_names.tolist()]
    if len(names) != len(places) or any(name not in places for name in names):
        return None
    return np.array([places[name] for name in names])


def have_units(*runs: Evaluation) -> bool:
    """Whether the classes of runs can be drawn at random, each with its pairs."""
    return all(run.counts.classes_are_units for run in runs)


Both = tuple[Operating | None, Operating | None]
"""Where the pooled FRR of two runs is judged."""


def drawn_changes(
    run: Evaluation,
    base: Evaluation,
    *,
    seed: int,
    at: Both = (None, None),
    replicates: int = bootstrap.REPLICATES,
) -> dict[str, Curve]:
    """How figures differ from an earlier run's in many draws of classes, by name.

    Each is of shape (replicates,). Both runs are computed on the same draws, so that what a draw
    does to both cancels. Empty where the classes are not the same, or cannot be drawn.
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
    """How the figures of a run differ from an earlier one's, by name, with paired intervals.

    Parameters
    ----------
    run, base : Evaluation
    draws : dict
        The ``drawn_changes``.
    confidence : float
        Of each limit of an interval by itself.
    at : pair of Operating, optional
        Where the pooled FRR of each is judged.
    """
    values, bases = figures(run, at[0]), figures(base, at[1])
    return {
        name: _change(name, values[name], bases[name], draws.get(name), confidence)
        for name in values
    }


def intervals(
    run: Evaluation, at: Operating | None, *, confidence: float, seed: int
) -> dict[str, tuple[float, float] | None]:
    """Intervals of a run's own figures, by name, with as much left over above as below.

    None at all where classes are no units, or there is but one.
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
    # A difference of decimals is not one of binary fractions: 0.8 - 0.7 would exceed 0.1.
    return Change(name, value, base, round(value - base, 12), limits)


def figures(run: Evaluation, at: Operating | None = None) -> dict[str, float | None]:
    """The figures that are compared, by the names of ``resampled.figures``.

    The threshold is a distance, or a score where that is what pairs have.
    """
    report, chosen = run.report, run.report.recommendation
    scales = [(scale, run.consistency_by.get(scale)) for scale in SCALES]
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
    """Rates at a deployed threshold, else at the recommended one; None where there is neither."""
    beta = run.settings.beta
    if deployed is not None:
        return rates_at(run.counts, deployed, beta)
    chosen = run.report.recommendation.threshold
    return None if chosen is None else rates_at(run.counts, chosen, beta, "recommended")


def class_changes(run: Evaluation, base: Evaluation) -> tuple[ClassChange, ...]:
    """Change of the mean utility of each class that has a curve in both, greatest loss first."""
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
    """Which models no other one beats: none is as good in both and better in one.

    A model of which either is undefined is not on the front.
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
