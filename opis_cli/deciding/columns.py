"""Find the numbers of pairs in a table: a column of scores and their scale, or two of vectors."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from opis_cli.counting.scored_table import SCORE_NAMES, side_columns
from opis_cli.embeddings.columns import EMBEDDING_NAMES, choose, show
from opis_cli.errors import InputError, SettingsError
from opis_cli.scoring.scales import known_scale, own_scale
from opis_cli.text import PAIR_SCALES, SCORED
from opis_cli.threshold import Threshold

_SIDES = (("_a", "_b"), ("_left", "_right"), ("_1", "_2"))
"""Endings of the names of two columns that belong together."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Where the numbers of the pairs are.

    Attributes
    ----------
    names : tuple of str
        One column of scores or distances, or two columns of vectors.
    scale : str
        Scale of the scores. That of compared vectors is the threshold's own.
    groups : tuple of str
        Columns of groups: none, one for both sides of a pair, or one for each.
    """

    names: tuple[str, ...]
    scale: str
    groups: tuple[str, ...] = ()


def find_columns(
    names: Sequence[str],
    rule: Threshold,
    where: Path,
    score: str | None,
    vectors: str | None,
    scale: str | None,
    groups: str | None,
) -> Columns:
    """Find the column of scores, or the two columns of vectors, and those of groups.

    Parameters
    ----------
    names : sequence of str
        Columns of the table.
    rule : Threshold
    where : Path
        The table, for errors.
    score, vectors, scale, groups : str, optional
        What the user gave: a column of scores, two of vectors with a comma between, what the scores
        are, and one or two columns of groups.

    Raises
    ------
    InputError
        There are no such columns, or several.
    SettingsError
        The scale is unknown or not told, or the threshold has no vectors.
    """
    if score is not None and vectors is not None:
        raise SettingsError("--score-column and --embedding-column exclude each other; give one")
    if groups is not None and rule.rule.groups is None:
        raise SettingsError(
            "--group-column: this threshold.json has no thresholds by group; evaluate with "
            "--group-column, or leave it out"
        )
    found = () if groups is None else side_columns(names, groups, where, "--group-column")
    sides = _sides(names, vectors, where) if score is None else ()
    if not sides:
        column = choose(
            names, score, (*SCORE_NAMES, *PAIR_SCALES), "score", where,
            "column of scores or distances, and no two of vectors such as embedding_a and "
            "embedding_b",
        )  # fmt: skip
        return Columns((column,), _scale(column, rule, scale, where), tuple(found))
    if vectors is None and any(name in names for name in (*SCORE_NAMES, *PAIR_SCALES)):
        raise InputError(
            f"{where}: there are scores and vectors ({', '.join(map(repr, sides))}); say which to "
            "go by: --score-column=NAME or --embedding-column=LEFT,RIGHT"
        )
    if rule.rule.metric in SCORED:
        raise SettingsError(
            f"this threshold is a {rule.rule.metric} of scored pairs, and vectors have none; "
            "name the column of scores: --score-column=NAME"
        )
    own = own_scale(rule.rule.metric)
    if scale not in (None, own):
        raise SettingsError(f"--scale is for scores; vectors are compared by {own}")
    return Columns(sides, own, tuple(found))


def _sides(names: Sequence[str], given: str | None, where: Path) -> tuple[str, ...]:
    """Return the two columns of vectors that were named, or those of usual names; () if none."""
    if given is not None:
        sides = tuple(side_columns(names, given, where, "--embedding-column"))
        if len(sides) != 2:
            raise InputError(
                f"{where}: --embedding-column {given}: name two columns of vectors, as LEFT,RIGHT. "
                f"The columns are {show(names)}"
            )
        return sides
    usual = [(name + one, name + two) for name in EMBEDDING_NAMES for one, two in _SIDES]
    found = [sides for sides in usual if set(sides) <= set(names)]
    if len(found) > 1:
        shown = show([name for sides in found for name in sides])
        raise InputError(
            f"{where}: several pairs of columns may be the vectors, {shown}; name two: "
            "--embedding-column=LEFT,RIGHT"
        )
    return found[0] if found else ()


def _scale(column: str, rule: Threshold, given: str | None, where: Path) -> str:
    """Return the scale of a column of scores, if it was given or is told beyond doubt."""
    metric, own = rule.rule.metric, own_scale(rule.rule.metric)
    if given is not None:
        return known_scale(given, rule.limits, metric)
    # A column that is called distance need not hold the negatives of scores.
    told = set(rule.limits) - ({"distance"} if own == "score" else set())
    if column in told:
        return column
    if metric in SCORED and column not in PAIR_SCALES:
        return own
    raise SettingsError(
        f"{where}: column {column!r} does not tell what its numbers are, and the threshold is one "
        f"of the metric {metric!r}; say it: --scale=S, with S one of {', '.join(rule.limits)}"
    )
