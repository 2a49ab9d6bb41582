"""The first screen of the page in words: what to deploy, what it costs, and who is worst off."""

import math
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from opis_cli.counting.calibration import MIN_PAIRS_PER_ERROR
from opis_cli.records import Ints
from opis_cli.render.page.payload import NAME_WIDTH, ends_of_pair
from opis_cli.report.evaluation import Evaluation
from opis_cli.scoring.operating import Operating, rates_at
from opis_cli.text import SIMILARITIES, as_known, number, plain, rate, scale, shown

WORST_ROWS = 50
"""Rows of the table of classes that the page has without its script."""
_WORST_NAMED = 3
"""Classes that the first sentence names."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person in a hurry reads.

    Attributes
    ----------
    title : str
        What to deploy, or that no threshold meets the bounds.
    lines : tuple of str
        What it costs, in whole sentences.
    worst : tuple of str
        Names of the classes that are worst off, of those with enough pairs to judge.
    threshold : str or None
        The threshold as text, to copy.
    """

    title: str
    lines: tuple[str, ...]
    worst: tuple[str, ...]
    threshold: str | None


def answer(run: Evaluation, verb: str = "Deploy") -> Answer:
    """Return the recommendation of a run in words. Its title begins with ``verb``."""
    chosen = run.report.recommendation
    if chosen.threshold is None:
        return Answer(_none_meets(run), tuple(_prices(run)), (), None)
    at = rates_at(run.counts, chosen.threshold, run.settings.beta, "recommended")
    lines = [
        f"It accepts {rate(at.far)} of the pairs that should not match (FAR) and rejects "
        f"{rate(at.frr)} of the pairs that should (FRR)."
    ]
    if chosen.classes_meeting_bounds is not None:
        broken = 1 - chosen.classes_meeting_bounds
        lines.append(f"{rate(broken)} of the {run.report.source.many} break {_own_bounds(run)}.")
    if run.report.deployed is not None:
        now = run.report.deployed
        lines.append(
            f"Deployed now: {shown(now.threshold, run.settings.metric)}, with FAR {rate(now.far)} "
            f"and FRR {rate(now.frr)}."
        )
    names = run.counts.class_names[run.consistency.classes].tolist()
    worst = tuple(
        plain(names[place], 60, joiners=True)
        for place in worst_first(run, at)[:_WORST_NAMED].tolist()
        if enough_pairs(run, at)[place]
    )
    threshold = shown(chosen.threshold, run.settings.metric)
    return Answer(f"{verb} {rule(run, chosen.threshold)}", tuple(lines), worst, threshold)


def rule(run: Evaluation, threshold: float) -> str:
    """Return when a pair is accepted, as text: ``cosine distance <= 0.25``."""
    metric = run.settings.metric
    side = ">=" if metric in SIMILARITIES else "<="
    return f"{scale(metric)} {side} {shown(threshold, metric)}"


def _own_bounds(run: Evaluation) -> str:
    """Return the bounds as the classes' own: ``FAR <= 1 % by themselves``."""
    return f"{_bounds(run)} by themselves"


def _bounds(run: Evaluation) -> str:
    pairs = zip(("FAR", "FRR"), run.settings.bounds, strict=True)
    return " and ".join(f"{name} <= {rate(most)}" for name, most in pairs if most is not None)


def _none_meets(run: Evaluation) -> str:
    sure = run.settings.confidence
    with_confidence = "" if sure is None else f" with {100 * sure:g} % confidence"
    return f"No threshold meets {_bounds(run)}{with_confidence}"


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


def least_pairs(run: Evaluation, at: Operating) -> tuple[int, int]:
    """Return how many impostor and how many genuine pairs a class needs to be judged.

    With fewer pairs it has, by chance, often no error or far too many (rule of three). The number
    is 0 where there is no error at all.
    """
    ends = ends_of_pair(run.counts)
    far, frr = (
        ends * math.ceil(round(MIN_PAIRS_PER_ERROR / pooled, 9)) if pooled > 0 else 0
        for pooled in (at.far, at.frr)
    )
    return far, frr


def enough_pairs(run: Evaluation, at: Operating) -> "np.ndarray[Any, np.dtype[np.bool_]]":
    """Return whether each evaluable class has enough pairs to be judged at a threshold."""
    counts, classes = run.counts, run.consistency.classes
    far, frr = least_pairs(run, at)
    enough = (counts.impostor_pairs[classes] >= far) & (counts.genuine_pairs[classes] >= frr)
    return np.asarray(enough)


def worst_first(run: Evaluation, at: Operating) -> Ints:
    """Return the places of the evaluable classes: least utility first, too few pairs last."""
    return np.lexsort((at.classes.utility, ~enough_pairs(run, at)))


def worst_rows(run: Evaluation, at: Operating | None) -> list[dict[str, str]]:
    """Return the worst classes as rows of the table of classes, each a text by the column's key."""
    if at is None or not len(run.consistency.classes):
        return []
    counts, classes = run.counts, run.consistency.classes
    table = run.classes(as_known(at.threshold, counts.metric)).iloc[classes]
    enough, rows = enough_pairs(run, at), []
    for place in worst_first(run, at)[:WORST_ROWS].tolist():
        one = table.iloc[place]
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
                "recall": "–"
                if one["recall_at_1"] != one["recall_at_1"]
                else rate(one["recall_at_1"]),
                "best": number(one["best_threshold"], 4),
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
        ("Why: the pairs and rows behind the rates", f"opis explain {named}"),
        ("Another bound", f"opis recommend {named} --max-far 0.001 -o threshold.json"),
    ]
    if chosen.threshold is not None:
        at = shown(chosen.threshold, run.settings.metric)
        found.append(("Judge this threshold in CI", f"opis gate {named} --threshold={at}"))
    return [(why, plain(line, 400)) for why, line in found]
