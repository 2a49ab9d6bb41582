"""Write the verdict as one HTML page for people, with every class in a table.

The page needs no network and no other file. It shows names that come from the data and are not
trusted. Jinja2 escapes them in the text. The table of classes is made by a script, from JSON, and
only of text nodes. A content security policy allows the page's own script, by its hash, and nothing
from outside.
"""

import base64
import dataclasses
import hashlib
import io
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np

from opis_cli.judging.changes import class_changes, intervals
from opis_cli.judging.gate import Outcome, Verdict
from opis_cli.judging.limits import Unit
from opis_cli.render.plots import draw
from opis_cli.render.price import price_sentence
from opis_cli.render.verdicts.words import (
    cells,
    evidence,
    figure,
    headline,
    pair_cells,
    pair_heads,
    pairs_title,
    signed,
    subject,
)
from opis_cli.report.evaluation import Evaluation
from opis_cli.scoring.axis import exact_to
from opis_cli.scoring.deployed import Deployed
from opis_cli.statistics.intervals import rate_interval
from opis_cli.text import as_known, number, plain, rate, shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_NAME_WIDTH = 200
"""Most characters of the name of a class."""
COLUMNS = (
    ("{one}", "name", "The {one}, as in the data"),
    ("{rows}", "count", "How many {rows} it has"),
    ("FAR", "rate", "Accepted share of the impostor pairs with one end in the {one}"),
    ("FRR", "rate", "Rejected share of the {one}'s genuine pairs"),
    ("utility", "number", "F-score of 1 - FAR and 1 - FRR, at the threshold"),
    ("mean utility", "number", "Over the calibration range"),
    ("OPIS part", "number", "Mean squared distance from the mean curve, over the range"),
    ("recall@1", "rate", "Share of its rows whose nearest other row has the same label"),
    ("best threshold", "number", "Where the utility of this {one} alone is highest{guess}"),
    ("change", "change", "Of the mean utility, against the baseline"),
)


def page(outcome: Outcome) -> str:
    """Return the page as HTML text."""
    from jinja2 import Environment, StrictUndefined

    verdict, run, base = outcome.verdict, outcome.run, outcome.base
    files = resources.files("opis_cli.render").joinpath("web")
    read = {name: files.joinpath(name).read_text("utf-8") for name in _FILES}
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False}
    metric = run.settings.metric
    environment.filters |= {
        "plain": plain,
        "number": number,
        "rate": rate,
        "threshold": lambda at: shown(at, metric),
    }
    seen, one = _as_judged(run, verdict), run.report.source.one
    price = run.report.recommendation.price_of_one_threshold
    script = read["page.js"]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.from_string(read["page.html"]).render(
        verdict=verdict,
        report=run.report,
        headline=headline(verdict),
        subject=subject(verdict),
        checks=[(check, cells(check), evidence(check)) for check in verdict.checks],
        explained=[
            (check, pairs_title(check), pair_heads(check), list(map(pair_cells, check.pairs)))
            for check in verdict.checks
            if check.pairs
        ],
        figure=figure,
        signed=signed,
        price=None if price is None else price_sentence(price, run.report),
        intervals=_intervals(verdict, run),
        pictures=[
            (f"{what} of every {one} against the threshold", _picture(draw(seen, kind)))
            for what, kind in (("Utility", "utility"), ("FAR and FRR", "rates"))
        ],
        columns=_columns(run, base),
        classes=_classes(verdict, run, base),
        script=script,
        digest=digest,
        style=read["page.css"],
    )


def _columns(run: Evaluation, base: Evaluation | None) -> list[tuple[str, ...]]:
    """Return title, kind and explanation of each column of the table.

    The words for a class (or group) and for its rows are filled in. Without a baseline, the column
    of changes is left out.
    """
    until = exact_to(run.whole)
    guess = "" if until is None else f"; beyond {number(until)} by estimated FARs"
    words = {"one": run.report.source.one, "rows": run.report.counted, "guess": guess}
    return [
        tuple(text.format(**words) for text in column)
        for column in COLUMNS
        if base is not None or column[1] != "change"
    ]


_FILES = ("page.html", "page.js", "page.css")


def _as_judged(run: Evaluation, verdict: Verdict) -> Evaluation:
    """Return the run with the judged threshold as the deployed one, so that pictures mark it."""
    at = verdict.judged
    if at is None or at.kind == "recommended":
        return run
    far, frr = verdict.figures["far"], verdict.figures["frr"]
    deployed = Deployed(at.threshold, far, frr, None, None, None, None)
    return dataclasses.replace(run, report=dataclasses.replace(run.report, deployed=deployed))


def _intervals(verdict: Verdict, run: Evaluation) -> dict[str, str]:
    """Return the 95 % intervals of the run's own figures, as text by name.

    They are taken from the report, except those of recall@1 and of the rates at the judged
    threshold. Figures without an interval are left out.
    """
    known, judged = run.report.intervals, verdict.judged
    found = intervals(run, None, confidence=0.95, seed=run.settings.seed)
    found = {"recall_at_1": found.get("recall_at_1")}
    if known is not None:
        found |= {"opis": known.opis, "eps_opis": known.eps_opis, "threshold": known.threshold}
    if judged is not None:
        found["far"] = rate_interval(run.counts, "far", judged.far_at)
        found["frr"] = rate_interval(run.counts, "frr", judged.frr_at)
    units: dict[str, Unit] = dict.fromkeys(("recall_at_1", "far", "frr"), "rate")
    units["threshold"] = "distance"
    return {
        name: " to ".join(figure(end, units.get(name, "number")) for end in ends)
        for name, ends in found.items()
        if ends is not None
    }


def _picture(figure: "Figure") -> str:
    """Return a figure as an SVG in a data address.

    Inside it, no name from the data can become markup of the page.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


def _classes(verdict: Verdict, run: Evaluation, base: Evaluation | None) -> list[list[Any]]:
    """Return a row for each class, in the order of ``COLUMNS``. A missing figure is None."""
    counts, judged = run.counts, verdict.judged
    table = run.classes(None if judged is None else as_known(judged.threshold, counts.metric))
    rows = [
        [plain(name, _NAME_WIDTH), *figures]
        for name, *figures in zip(
            counts.class_names.tolist(),
            table["size"].tolist(),
            *(_rounded(table[name].tolist()) for name in _FIGURES),
            strict=True,
        )
    ]
    if base is not None:
        changes = {str(one.class_name): one.change for one in class_changes(run, base)}
        for row, name in zip(rows, counts.class_names.tolist(), strict=True):
            row += _rounded([changes.get(str(name), np.nan)])
    return rows


_FIGURES = (
    *("far", "frr", "utility", "mean_utility", "opis_contribution", "recall_at_1"),
    "best_threshold",
)


def _rounded(values: list[float]) -> list[float | None]:
    """Round values to six significant digits, which is enough for a person; NaN becomes None."""
    return [None if value != value else float(f"{value:.6g}") for value in values]
