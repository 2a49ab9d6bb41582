"""What a gate says of a run, as parts of the page."""

from dataclasses import dataclass

from opis_cli.judging.gate import Outcome
from opis_cli.render.page.evidence import Head, Table
from opis_cli.render.verdicts.words import (
    headline,
    least_change,
    margin,
    pair_cells,
    pair_heads,
    pairs_title,
    subject,
    told,
)


@dataclass(frozen=True, slots=True)
class Line:
    """A check of the gate, as text."""

    passed: bool
    name: str
    told: str
    least_change: str
    margin: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict as text.

    Attributes
    ----------
    outcome : str
        ``passed``, ``failed`` or, without limits, ``shown``.
    title, subject : str
    lines : tuple of Line
    notes : tuple of str
    pairs : tuple of Table
        The pairs that explain the checks that failed.
    in_use : float or None
        The deployed threshold by which the rates were judged, a distance.
    """

    outcome: str
    title: str
    subject: str
    lines: tuple[Line, ...]
    notes: tuple[str, ...]
    pairs: tuple[Table, ...]
    in_use: float | None


def judgement(outcome: Outcome) -> Judgement:
    """Return the verdict of an outcome as text."""
    verdict = outcome.verdict
    state, at = "passed" if verdict.passed else "failed", verdict.judged
    return Judgement(
        outcome=state if verdict.checks else "shown",
        title=headline(verdict),
        subject=subject(verdict),
        lines=tuple(
            Line(check.passed, check.name, told(check), least_change(check), margin(check))
            for check in verdict.checks
        ),
        notes=verdict.notes,
        pairs=tuple(
            Table(
                f"{check.name}: {pairs_title(check)}",
                "",
                _heads(pair_heads(check)),
                tuple(pair_cells(pair) for pair in check.pairs),
            )
            for check in verdict.checks
            if check.pairs
        ),
        in_use=None if at is None or at.kind != "deployed" else at.threshold,
    )


def _heads(titles: tuple[str, ...]) -> tuple[Head, ...]:
    """Return the columns of ``pair_cells``. A title that is empty belongs to the one before it."""
    named = [title or f"{titles[place - 1]} (second)" for place, title in enumerate(titles)]
    kinds = ("row", "row", "row", "figure", *["text"] * (len(named) - 4))
    return tuple(Head(title, kind) for title, kind in zip(named, kinds, strict=True))
