"""What to explain of a run, and how far the work is."""

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from numpy.typing import NDArray

from opis_cli.errors import InputError, SettingsError
from opis_cli.report.evaluation import Evaluation
from opis_cli.report.records import Report
from opis_cli.report.threshold_file import read_threshold
from opis_cli.text import plain, shown

TOP, PER_CLASS_PAIR = 1_000, 3
"""Most pairs of a kind in the table, and most of one pair of classes."""

Progress = Callable[[int, int], None]
"""A function that is called with ``(pairs looked at, pairs in all)``."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What to explain.

    Attributes
    ----------
    threshold : str, optional
        A number on the user's scale, or the path of a threshold.json. By default the recommended
        threshold.
    top, per_class_pair : int
        Most pairs of a kind to list, and most of one pair of classes.
    of_class : str, optional
        Name of a class, or of a group if the run has groups. Then the pairs have a row of it.
    show_columns : tuple of str
        Columns whose values stand beside each pair.
    id_column : str, optional
        Of scored pairs, the columns with the ids of the two sides, with a comma between.
    """

    threshold: str | None = None
    top: int = TOP
    per_class_pair: int = PER_CLASS_PAIR
    of_class: str | None = None
    show_columns: tuple[str, ...] = ()
    id_column: str | None = None

    def __post_init__(self) -> None:
        for option, value in (("--top", self.top), ("--per-class-pair", self.per_class_pair)):
            if value < 1:
                raise SettingsError(f"{option} is {value}; it must be at least 1")


def advancing(progress: Progress, total: int) -> Callable[[int], None]:
    """Return a function that takes the pairs looked at since, and tells ``progress`` their sum."""
    done = 0

    def advance(pairs: int) -> None:
        nonlocal done
        done += pairs
        progress(done, total)

    return advance


def threshold_of(run: Evaluation, given: str | None) -> float:
    """Return the threshold to explain, as a distance.

    Raises
    ------
    SettingsError
        No threshold is given, and none meets the bounds of the run.
    """
    if given is not None:
        return read_threshold(given, run.settings.metric)
    if run.report.recommendation.threshold is None:
        raise SettingsError(
            "no threshold meets the bounds of this run, so there is none to explain; give one: "
            "--threshold=T"
        )
    return run.report.recommendation.threshold


def threshold_option(report: Report) -> str:
    """Return the option that ``opis explain`` needs, with a blank in front; empty if none.

    Without a recommended threshold it needs one: that of the FAR bound, or else of the FRR bound.
    """
    chosen = report.recommendation
    if chosen.threshold is not None:
        return ""
    for end in (chosen.at_max_far, chosen.at_max_frr):
        if end is not None and end.threshold is not None:
            return f" --threshold {shown(end.threshold, report.settings['metric'])}"
    return ""


def code_of(class_names: NDArray[Any], name: str | None) -> int | None:
    """Return the code of a class by its name as text, or None if there is no name.

    Raises
    ------
    InputError
        There is no such class.
    """
    code = code_among(class_names, name)
    if name is not None and code is None:
        near = get_close_matches(name, map(str, class_names.tolist()), 1)
        hint = f"; did you mean {plain(near[0])!r}?" if near else ""
        raise InputError(f"--class {plain(name)}: there is no such class{hint}")
    return code


def code_among(names: NDArray[Any], name: str | None) -> int | None:
    """Return the place of a name, as text, among names, or None if it is not there."""
    texts = [str(one) for one in names.tolist()]
    return texts.index(name) if name in texts else None
