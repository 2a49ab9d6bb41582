"""Try remedies on classes that they were not fitted on, and say which of them help."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from opis_cli.counting.calibration import is_supported
from opis_cli.counting.count import count_pairs
from opis_cli.errors import InputError
from opis_cli.judging import resampled
from opis_cli.judging.changes import figures as figures_of
from opis_cli.records import Curve, Embeddings, Ints
from opis_cli.remedies.folds import (
    bound_of,
    draw_folds,
    frr_at,
    held_out,
    settings_within_folds,
    training_of,
    within_folds,
)
from opis_cli.remedies.recipes import parse
from opis_cli.report.build import build_report, facts_of_embeddings
from opis_cli.report.evaluation import Evaluation
from opis_cli.scoring.curves import class_rates
from opis_cli.settings import Settings
from opis_cli.statistics import bootstrap
from opis_cli.statistics.family import holm

Verdict = Literal["helps", "harms", "not shown"]
Progress = Callable[[int, int], None]

BASE = "base"
"""Name of the rows as they are, beside the names of remedies."""
ALPHA = 0.05
"""Probability that chance alone gives any remedy the verdict helps or harms."""
FARS = {"frr_at_far_1e-2": 1e-2, "frr_at_far_1e-3": 1e-3}
"""Figures that are the FRR at the largest threshold within a FAR, and that FAR."""
JUDGED = "frr_at_max_far"
"""The figure that gives the verdict."""
FIGURES = (
    *(JUDGED, *FARS, "opis_log_far", "eps_opis_log_far", "opis", "eps_opis", "recall_at_1"),
    "groups_meeting_bounds",
)
"""Figures of a remedy. The last one is null without a group column."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A remedy that was tried on held-out classes.

    Attributes
    ----------
    name : str
        ``base`` stands for the rows as they are.
    verdict : {"helps", "harms", "not shown"}
        What happens to the FRR at the bound on the FAR, as far as the classes can show. It is
        adjusted for the number of remedies that were tried.
    figures : dict of str to float or None
        Figures on held-out classes, by name (``FIGURES``). None if undefined.
    changes : dict of str to float or None
        Each figure less that of ``base``.
    intervals : dict of str to (float, float) or None
        95 % interval of each change, by a paired bootstrap over classes.
    p_value : float or None
        Twice the share of draws of classes in which the FRR at the bound changed the other way.
    """

    name: str
    verdict: Verdict
    figures: dict[str, float | None]
    changes: dict[str, float | None]
    intervals: dict[str, tuple[float, float] | None]
    p_value: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """The result of trying remedies.

    Attributes
    ----------
    tried : tuple of Tried
        The first is ``base``. The others are sorted by their FRR at the bound.
    chosen : str or None
        The remedy of the lowest such FRR among those that help. None if none does.
    not_tried : dict of str to str
        Remedies of the default set that these rows do not suffice for, and why.
    max_far : float
    supported : bool
        Whether there are enough held-out impostor pairs to resolve ``max_far``.
    folds : int
    classes : int
        Number of classes with genuine and impostor pairs.
    of_class : ndarray of shape (K,), int64
        Fold of each class.
    evaluations : dict of str to Evaluation
        Held-out counts and the report on them, by name of the remedy.
    """

    tried: tuple[Tried, ...]
    chosen: str | None
    not_tried: dict[str, str]
    max_far: float
    supported: bool
    folds: int
    classes: int
    of_class: Ints
    evaluations: dict[str, Evaluation]


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """Held-out counts of a remedy, and the report on them.

    Attributes
    ----------
    evaluation : Evaluation
    groups_meeting_bounds : float or None
        Share of the groups whose FAR is within the bound. None without a group column.
    """

    evaluation: Evaluation
    groups_meeting_bounds: float | None


def try_remedies(
    embeddings: Embeddings,
    names: Sequence[str],
    settings: Settings,
    *,
    folds: int = 5,
    skip: bool = False,
    progress: Progress = lambda done, total: None,
) -> Trial:
    """Try remedies on held-out classes.

    Parameters
    ----------
    embeddings : Embeddings
    names : sequence of str
        Names of ``recipes.parse_all``.
    settings : Settings
        Which pairs to count, the bound on the FAR, the calibration range, and the seed.
    folds : int
        Number of folds of the classes.
    skip : bool
        Whether to leave out a remedy that these rows do not suffice for. Else it is an error.
    progress : callable
        Called with (work done, work in all).

    Raises
    ------
    InputError
        The rows do not suffice for so many folds, or for a remedy.
    """
    settings = dataclasses.replace(
        settings, max_far=bound_of(settings), max_frr=None, prefer="low-frr"
    )
    of_class = draw_folds(embeddings, folds, settings.seed)
    training = training_of(embeddings, settings)
    held, not_tried = {}, {}
    total = len(names) + 1

    def step_of(place: int) -> Progress:
        return lambda done, pairs: progress(place * pairs + done, total * pairs)

    for place, name in enumerate((BASE, *names)):
        try:
            changed = (
                embeddings
                if name == BASE
                else held_out(embeddings, parse(name), of_class, training)
            )
            held[name] = _evaluated(changed, of_class, settings, step_of(place))
        except InputError as error:
            if not skip or name == BASE:
                raise
            not_tried[name] = error.for_shell
    return _judged(held, not_tried, of_class, settings)


def _evaluated(embeddings: Embeddings, folds: Ints, settings: Settings, progress: Progress) -> Held:
    """Count the pairs within folds, and build the report on them."""
    metric = "cosine" if embeddings.partners is None else "dot"
    own = settings_within_folds(settings, metric)
    # Verdicts are about classes. Groups are counted apart, at the same threshold.
    by_class = dataclasses.replace(own, group_column=None)
    rows = within_folds(embeddings, folds, settings)
    counts = count_pairs(rows, by_class, progress=progress)
    report = build_report(counts, facts_of_embeddings(counts, rows, by_class), by_class)
    share, at = None, report.recommendation.threshold
    if settings.group_column is not None and at is not None:
        found = class_rates(count_pairs(rows, own, at), settings.beta, at)
        share = None if found is None else float((found.far <= bound_of(settings)).mean())
    return Held(Evaluation(counts, report), share)


def _judged(
    held: dict[str, Held], not_tried: dict[str, str], folds: Ints, settings: Settings
) -> Trial:
    """Compare each remedy with the rows as they are, and give the verdicts."""
    max_far, base = bound_of(settings), held[BASE].evaluation
    classes = len(base.counts.sizes)
    drawn = {
        name: bootstrap.replicate(
            partial(_drawn, one.evaluation, max_far), classes, seed=settings.seed
        )
        for name, one in held.items()
    }
    values = {name: _figures(one, max_far) for name, one in held.items()}
    p_values = {
        name: _two_sided(drawn[name][JUDGED] - drawn[BASE][JUDGED]) for name in held if name != BASE
    }
    levels = holm([1.0 if p is None else p for p in p_values.values()], ALPHA)
    shown = {
        name: p is not None and p <= level
        for (name, p), level in zip(p_values.items(), levels, strict=True)
    }
    tried = []
    for name in held:
        own = values[name]
        changes = {figure: _less(own[figure], values[BASE][figure]) for figure in FIGURES}
        change = changes[JUDGED]
        verdict: Verdict = "not shown"
        if shown.get(name) and change is not None and change != 0:
            verdict = "helps" if change < 0 else "harms"
        intervals = {
            figure: None
            if changes[figure] is None or figure not in drawn[name]
            else bootstrap.one_sided_limits(
                drawn[name][figure] - drawn[BASE][figure], 1 - ALPHA / 2
            )
            for figure in FIGURES
        }
        tried.append(Tried(name, verdict, own, changes, intervals, p_values.get(name)))
    first, *others = tried
    others.sort(key=lambda one: _known(one.figures[JUDGED]))
    helping = [one.name for one in others if one.verdict == "helps"]
    return Trial(
        tried=(first, *others),
        chosen=helping[0] if helping else None,
        not_tried=not_tried,
        max_far=max_far,
        supported=is_supported(max_far, base.counts.impostor_total),
        folds=int(folds.max()) + 1,
        of_class=folds,
        classes=base.report.source.evaluable_classes,
        evaluations={name: one.evaluation for name, one in held.items()},
    )


def _figures(held: Held, max_far: float) -> dict[str, float | None]:
    """Return the figures of ``FIGURES``. One that the pairs cannot resolve is None."""
    counts = held.evaluation.counts
    found = figures_of(held.evaluation) | {JUDGED: frr_at(counts, max_far)}
    for name, far in FARS.items():
        enough = is_supported(far, counts.impostor_total)
        found[name] = frr_at(counts, far) if enough else None
    found["groups_meeting_bounds"] = held.groups_meeting_bounds
    return {name: found[name] for name in FIGURES}


def _drawn(run: Evaluation, max_far: float, weights: bootstrap.Weights) -> dict[str, Curve]:
    """Return figures of draws of classes, by name."""
    found = resampled.range_figures(run, weights)
    for name, far in {JUDGED: max_far, **FARS}.items():
        found[name] = bootstrap.frr_at_far(weights, run.counts, far)
    return {name: found[name] for name in FIGURES if name in found}


def _two_sided(changes: Curve) -> float | None:
    """Return twice the share of draws that change to one side at most; None if undefined."""
    known = changes[np.isfinite(changes)]
    if len(known) < 0.9 * len(changes):
        return None
    return min(1.0, 2 * min(float(np.mean(known <= 0)), float(np.mean(known >= 0))))


def _less(value: float | None, base: float | None) -> float | None:
    return None if value is None or base is None else round(value - base, 12)


def _known(value: float | None) -> float:
    return math.inf if value is None else value


def by_fold(base: Evaluation, run: Evaluation, folds: Ints) -> list[dict[str, float | None]]:
    """Return the rates inside each fold, at the one threshold of all folds.

    Parameters
    ----------
    base, run : Evaluation
        The rows as they are, and a remedy, each at its own threshold at the bound on the FAR.
    folds : ndarray of shape (K,), int64
        Fold of each class.

    Returns
    -------
    list of dict
        ``fold, classes, far, frr, base_far, base_frr``. A rate is None if it is not known.
    """
    before, after = _rates_by_fold(base, folds), _rates_by_fold(run, folds)
    return [
        {
            "fold": fold,
            "classes": int((folds == fold).sum()),
            "far": new[0],
            "frr": new[1],
            "base_far": old[0],
            "base_frr": old[1],
        }
        for fold, (old, new) in enumerate(zip(before, after, strict=True))
    ]


def _rates_by_fold(run: Evaluation, folds: Ints) -> list[tuple[float | None, float | None]]:
    """Return the FAR and the FRR inside each fold at the recommended threshold."""
    counts, at = run.counts, run.report.recommendation.threshold
    column = None if at is None else counts.grid.column_of(at)
    found: list[tuple[float | None, float | None]] = []
    for fold in range(int(folds.max()) + 1):
        own = folds == fold
        pairs = int(counts.impostor_pairs[own].sum()), int(counts.genuine_pairs[own].sum())
        if column is None or not all(pairs):
            found.append((None, None))
            continue
        far = int(counts.impostor[own, column].sum(dtype=np.int64)) / pairs[0]
        found.append((far, 1 - int(counts.genuine[own, column].sum(dtype=np.int64)) / pairs[1]))
    return found
