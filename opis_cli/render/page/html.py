"""Write a run, and what a gate says of it, as one HTML page for people.

The page needs no network and no other file. It shows names that come from the data and are not
trusted: Jinja2 escapes them in the text, and the script sets them as text only. A content security
policy allows the page's own script, by its hash, and nothing from outside.

Without the script the page has a picture, the summary and the worst classes.
"""

import base64
import hashlib
import io
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from opis_cli.errors import RunError
from opis_cli.judging.changes import check_comparable, class_changes
from opis_cli.judging.gate import Outcome
from opis_cli.render.page.answer import answer, commands, worst_rows
from opis_cli.render.page.columns import columns
from opis_cli.render.page.evidence import evidence_sentences, evidence_tables
from opis_cli.render.page.facts import facts, what_was_read
from opis_cli.render.page.payload import NAME_WIDTH, payload
from opis_cli.render.page.verdict import Judgement, judgement
from opis_cli.render.plots import draw
from opis_cli.render.words import price_sentence
from opis_cli.report.evaluation import Evaluation
from opis_cli.report.evidence import Evidence
from opis_cli.report.threshold_file import read_threshold
from opis_cli.scoring.operating import rates_at
from opis_cli.text import number, plain, scale

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SCRIPTS = (
    *("format.js", "data.js", "state.js", "canvas.js", "curves.js", "panels.js"),
    *("pointer.js", "table.js", "controls.js", "review.js", "main.js"),
)
"""In the order in which they are joined. Together they are one script."""
_MOST_LOST = 20
"""Most classes that the list of those that lost has."""


def report_page(
    run: Evaluation,
    *,
    base: Evaluation | None = None,
    base_name: str = "",
    start: str | None = None,
    folder: Path | None = None,
    evidence: Evidence | None = None,
) -> str:
    """Return the page of a run as HTML text.

    Parameters
    ----------
    run : Evaluation
    base : Evaluation, optional
        A run to draw beside this one.
    base_name : str
        The name of ``base`` on the page.
    start : str, optional
        The threshold that the page begins with: a number, or the path of a ``threshold.json``. By
        default it is the recommended one.
    folder : Path, optional
        Where the run was saved, for the commands on the page. By default where it was read from.
    evidence : Evidence, optional
        What ``explain`` found. By default it is the evidence in the folder of the run.

    Raises
    ------
    OpisError
        The threshold or the evidence is not usable, or the runs cannot be compared.
    """
    if base is not None:
        check_comparable(run, base, ("figures",), "the run", f"the baseline {base_name}")
    at = None if start is None else read_threshold(start, run.settings.metric)
    beside = None if base is None else Beside(base, base_name)
    return _page(run, at, folder or run.folder, beside, run.evidence(evidence), None)


def gate_page(outcome: Outcome) -> str:
    """Return the page of a gate's verdict, with the run that it judged, as HTML text."""
    verdict, run = outcome.verdict, outcome.run
    beside = None
    if outcome.base is not None and verdict.baseline is not None:
        beside = Beside(outcome.base, verdict.baseline.path)
    at = None if verdict.judged is None else verdict.judged.threshold
    return _page(run, at, run.folder, beside, _readable(run), judgement(outcome))


@dataclass(frozen=True, slots=True)
class Beside:
    """A run to draw beside another one, and its name."""

    run: Evaluation
    name: str


def _readable(run: Evaluation) -> Evidence | None:
    """Return the evidence of the run, if it can be read. A verdict stands without it."""
    try:
        return run.evidence()
    except RunError:
        return None


def _page(
    run: Evaluation,
    start: float | None,
    folder: Path | None,
    beside: Beside | None,
    evidence: Evidence | None,
    judged: Judgement | None,
) -> str:
    from jinja2 import Environment, StrictUndefined

    web = resources.files("opis_cli.render.page").joinpath("web")
    read = {name: web.joinpath(name).read_text("utf-8") for name in (*_SCRIPTS, "page.css")}
    script = (
        '"use strict";\n(async () => {\n' + "\n".join(read[name] for name in _SCRIPTS) + "\n})();"
    )
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    environment.filters |= {
        "name": lambda name: plain(name, NAME_WIDTH, joiners=True),
        "number": number,
        "scale": scale,
    }
    at = _start(run, start)
    in_use = None if judged is None else judged.in_use
    price = run.report.recommendation.price_of_one_threshold
    base = None if beside is None else beside.run
    changes = () if base is None else class_changes(run, base)
    return environment.from_string(web.joinpath("page.html").read_text("utf-8")).render(
        run=run,
        report=run.report,
        answer=answer(run, "Deploy" if judged is None else "Recommended:", in_use),
        judged=judged,
        commands=commands(run, folder),
        read=what_was_read(run),
        facts=facts(run),
        price=None if price is None else price_sentence(price, run.report),
        picture=_picture(draw(run, "utility")),
        columns=columns(run, base is not None),
        worst=worst_rows(run, rates_at(run.counts, at, run.settings.beta), changes),
        lost=[one for one in changes[:_MOST_LOST] if one.change < 0],
        base_name="" if beside is None else beside.name,
        sentences=[] if evidence is None else evidence_sentences(evidence.facts),
        tables=[] if evidence is None else evidence_tables(evidence),
        evidence=None if evidence is None else evidence.facts,
        data=payload(run, at, base, in_use),
        script=script,
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=read["page.css"],
    )


def _start(run: Evaluation, start: float | None) -> float:
    """Return the threshold that the page begins with."""
    report = run.report
    chosen = report.recommendation
    if start is not None:
        return start
    if report.review is not None and report.review.accept_threshold is not None:
        return report.review.accept_threshold
    if chosen.threshold is not None:
        return chosen.threshold
    if report.deployed is not None:
        return report.deployed.threshold
    ends = [one.threshold for one in (chosen.at_max_far, chosen.at_max_frr) if one is not None]
    return next((end for end in ends if end is not None), report.eer.threshold)


def _picture(figure: "Figure") -> str:
    """Return a figure as a PNG in a data address."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
