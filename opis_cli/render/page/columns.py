"""The columns of the table of classes: their keys for the script, titles and meanings."""

from dataclasses import dataclass

from opis_cli.report.evaluation import Evaluation
from opis_cli.scoring.axis import exact_to
from opis_cli.text import number


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table of classes.

    Attributes
    ----------
    key : str
        What the script shows in it.
    title, meaning : str
    live : bool
        Whether it needs the script.
    """

    key: str
    title: str
    meaning: str
    live: bool = False


def columns(run: Evaluation, has_baseline: bool) -> list[Column]:
    """Return the columns of the table of classes of a run."""
    one, counted = run.report.source.one, run.report.counted
    until = exact_to(run.whole)
    guess = "" if until is None else f"; beyond {number(until)} from estimated FARs"
    found = [
        Column("name", one, f"The {one}, as in the data."),
        Column("size", counted, f"How many {counted} it has."),
        Column("frr", "FRR", f"Share of the {one}'s genuine pairs that the threshold rejects."),
        Column(
            "far", "FAR", f"Share of the impostor pairs with a row in the {one} that it accepts."
        ),
        Column("utility", "utility", "F-score of 1 - FAR and 1 - FRR at the threshold."),
        Column("curve", "curve", "Its utility over the shown thresholds, from 0 to 1.", live=True),
        Column("mean", "mean utility", "Mean utility over the calibration range."),
        Column("part", "OPIS part", "Mean squared distance from the mean curve, over the range."),
        Column("recall", "recall@1", "Share of its rows whose nearest other row has its label."),
        Column("best", "best threshold", f"Where its own utility is highest{guess}."),
    ]
    if run.settings.pairs:
        found = [column for column in found if column.key != "recall"]
    if has_baseline:
        found.append(Column("change", "change", "Of the mean utility, against the baseline."))
    return found
