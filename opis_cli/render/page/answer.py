"""The first screen of the page in words: what to deploy, what it costs, and who pays for it."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from opis_cli.judging.changes import ClassChange
from opis_cli.records import Ints
from opis_cli.render.page.payload import NAME_WIDTH
from opis_cli.render.words import bounds, class_bounds
from opis_cli.report.asked import threshold_option
from opis_cli.report.evaluation import Evaluation
from opis_cli.scoring.deployed import Deployed
from opis_cli.scoring.operating import Operating, rates_at
from opis_cli.scoring.review import Review
from opis_cli.scoring.who_pays import FEW_PAIRS, ClassErrors, who_pays
from opis_cli.text import as_known, number, plain, rate, rule, shown

WORST_ROWS = 50
"""Rows of the table of classes that the page has without its script."""
_NAMED = 2
"""Classes of each kind that the first screen names."""


@dataclass(frozen=True, slots=True)
class Paying:
    """Classes that pay for the threshold: how, and the name and the rate of each."""

    how: str
    classes: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person in a hurry reads.

    Attributes
    ----------
    title : str
        What to deploy, or that no threshold meets the bounds.
    lines : tuple of str
        What it costs, in whole sentences.
    paying : tuple of Paying
    in_use : str
        What the deployed threshold costs; empty without one.
    threshold : str or None
        The threshold as text, to copy.
    """

    title: str
    lines: tuple[str, ...]
    paying: tuple[Paying, ...]
    in_use: str
    threshold: str | None


def answer(run: Evaluation, verb: str = "Deploy", in_use: float | None = None) -> Answer:
    """Return the recommendation of a run in words.

    Parameters
    ----------
    run : Evaluation
    verb : str
        How the title begins.
    in_use : float, optional
        The deployed threshold, a distance. By default it is that of the run, if there is one.
    """
    report, metric = run.report, run.settings.metric
    chosen, many = report.recommendation, report.source.many
    review = report.review
    if review is not None and not review.one_threshold and review.refuse_threshold is not None:
        return _two_thresholds(run, review, in_use)
    if chosen.threshold is None:
        return Answer(_none_meets(run), tuple(_prices(run)), (), _in_use(run, in_use), None)
    at = rates_at(run.counts, chosen.threshold, run.settings.beta, "recommended")
    lines = [
        f"It accepts {rate(at.far)} of the pairs that should not match (FAR) and rejects "
        f"{rate(at.frr)} of the pairs that should (FRR)."
    ]
    if chosen.classes_meeting_bounds is not None:
        asked = class_bounds(chosen).replace(" and ", " or ")
        lines.append(f"{rate(1 - chosen.classes_meeting_bounds)} of the {many} break {asked}.")
    return Answer(
        title=f"{verb} {rule(chosen.threshold, metric)}",
        lines=tuple(lines),
        paying=_paying(run, at),
        in_use=_in_use(run, in_use),
        threshold=shown(chosen.threshold, metric),
    )


def _two_thresholds(run: Evaluation, review: Review, in_use: float | None) -> Answer:
    """Say up to where to accept, beyond where to refuse, and how much lies between."""
    metric, accept, refuse = run.settings.metric, review.accept_threshold, review.refuse_threshold
    first = "nothing" if accept is None else rule(accept, metric)
    lines = [
        f"It accepts {rate(review.far)} of the pairs that should not match (FAR) and refuses "
        f"{rate(review.frr)} of the pairs that should (FRR).",
        f"{rate(review.pairs_share)} of the pairs lie between and go to review.",
    ]
    if review.queries_share is not None:
        lines.append(f"So does the nearest row of {rate(review.queries_share)} of the searches.")
    return Answer(
        title=f"Accept {first}, refuse beyond {shown(refuse or 0.0, metric)}",
        lines=tuple(lines),
        paying=(),
        in_use=_in_use(run, in_use),
        threshold=None if accept is None else shown(accept, metric),
    )


def _in_use(run: Evaluation, threshold: float | None) -> str:
    """Say what the deployed threshold costs, if there is one."""
    now: Deployed | Operating | None = run.report.deployed
    if threshold is not None:
        now = rates_at(run.counts, threshold, run.settings.beta)
    if now is None:
        return ""
    where = shown(now.threshold, run.settings.metric)
    return f"Deployed now: {where}, with FAR {rate(now.far)} and FRR {rate(now.frr)}."


def _none_meets(run: Evaluation) -> str:
    sure = run.settings.confidence
    with_confidence = "" if sure is None else f" with {100 * sure:g} % confidence"
    return f"No threshold meets {bounds(run.report.recommendation)}{with_confidence}"


def _prices(run: Evaluation) -> list[str]:
    """Say what each bound alone would cost."""
    chosen, lines = run.report.recommendation, []
    for name, most, at in (
        ("FAR", chosen.max_far, chosen.at_max_far),
        ("FRR", chosen.max_frr, chosen.at_max_frr),
    ):
        if at is None:
            continue
        if at.threshold is None:
            lines.append(f"No threshold meets {name} <= {rate(most)} even alone.")
            continue
        cost = f"FRR {rate(at.frr)}" if name == "FAR" else f"FAR {rate(at.far)}"
        where = shown(at.threshold, run.settings.metric)
        lines.append(f"{name} <= {rate(most)} alone needs the threshold {where} and costs {cost}.")
    return lines


def _paying(run: Evaluation, at: Operating) -> tuple[Paying, ...]:
    """Return the classes with the highest rates, of those with enough pairs to judge."""
    if not run.report.source.evaluable_classes:
        return ()
    found = who_pays(run.counts, at.class_far_at, at.class_frr_at, _NAMED)

    def name(one: ClassErrors) -> str:
        return plain(one.class_name, 60, joiners=True)

    kinds = (
        Paying("Most rejected", tuple((name(one), rate(one.frr)) for one in found.rejected)),
        Paying("Most accepted", tuple((name(one), rate(one.far)) for one in found.accepted)),
    )
    return tuple(kind for kind in kinds if kind.classes)


def _have_enough(run: Evaluation) -> NDArray[np.bool_]:
    """Return whether each evaluable class has enough pairs to be judged."""
    counts, classes = run.counts, run.consistency.classes
    enough = (counts.impostor_pairs >= FEW_PAIRS) & (counts.genuine_pairs >= FEW_PAIRS)
    return np.asarray(enough[classes])


def _worst_first(run: Evaluation, at: Operating) -> Ints:
    """Return the places of the evaluable classes: least utility first, too few pairs last."""
    return np.lexsort((at.classes.utility, ~_have_enough(run)))


def worst_rows(
    run: Evaluation, at: Operating | None, changes: Iterable[ClassChange] = ()
) -> list[dict[str, str]]:
    """Return the worst classes as rows of the table of classes, each a text by the column's key.

    ``changes`` are those against the baseline, if there is one.
    """
    if at is None or not len(run.consistency.classes):
        return []
    counts, classes = run.counts, run.consistency.classes
    table = run.classes(as_known(at.threshold, counts.metric)).iloc[classes]
    enough, rows = _have_enough(run), []
    changed = {one.class_name: one.change for one in changes}
    raw = counts.class_names[classes].tolist()
    for place in _worst_first(run, at)[:WORST_ROWS].tolist():
        one = table.iloc[place]
        recall = one["recall_at_1"]
        rows.append(
            {
                "name": plain(one.iloc[0], NAME_WIDTH, joiners=True),
                "few": "" if enough[place] else "too few pairs to judge",
                "size": f"{one['size']:,}",
                "frr": rate(at.classes.frr[place]),
                "far": rate(at.classes.far[place]),
                "utility": number(at.classes.utility[place], 3),
                "mean": number(one["mean_utility"], 3),
                "part": number(one["opis_contribution"], 2),
                "recall": rate(None if recall != recall else recall),
                "best": number(one["best_threshold"], 4),
                "change": number(changed.get(raw[place]), 2),
            }
        )
    return rows


def commands(run: Evaluation, folder: Path | None) -> list[tuple[str, str]]:
    """Return commands to go on with, each with what it does.

    Parameters
    ----------
    run : Evaluation
    folder : Path or None
        Where the run is. None if it was not saved.
    """
    named = "RUN" if folder is None else shlex.quote(str(folder))
    chosen = run.report.recommendation
    found = [
        (
            "Why: the pairs and rows behind the rates",
            f"opis explain {named}{threshold_option(run.report)}",
        ),
        ("Another bound", f"opis recommend {named} --max-far 0.001 -o threshold.json"),
    ]
    if chosen.threshold is not None:
        at = shown(chosen.threshold, run.settings.metric)
        limits = "".join(
            f" --{name} {bound:g}"
            for name, bound in (("max-far", chosen.max_far), ("max-frr", chosen.max_frr))
            if bound is not None
        )
        found.append(("Judge this threshold in CI", f"opis gate {named} --threshold={at}{limits}"))
    return [(why, plain(line, 400)) for why, line in found]
