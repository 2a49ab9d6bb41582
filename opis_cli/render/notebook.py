"""Show a run in a notebook: what to deploy, what it costs, who pays, and the picture.

Names come from the data and are not trusted: they are escaped, and each is isolated from the
direction of the text around it.
"""

import base64
import html
import math

from opis_cli.errors import for_python
from opis_cli.render.pictures import picture_bytes
from opis_cli.render.plots import draw
from opis_cli.render.words import bounds
from opis_cli.report.evaluation import Evaluation
from opis_cli.report.records import Report
from opis_cli.scoring.operating import rates_at
from opis_cli.scoring.who_pays import FEW_PAIRS, who_pays
from opis_cli.text import SIMILARITIES, number, plain, rate, scale, shown

_SHOWN_CLASSES = 3
"""Most classes in the tables of those that pay."""
_WIDTH = 720
"""Width of the picture in pixels."""
_LEFT = ' style="text-align:left"'
Cells = tuple[str, ...]


def notebook(run: Evaluation) -> str:
    """Return the summary and the picture of a run as HTML, which needs nothing from outside."""
    report = run.report
    picture = base64.b64encode(picture_bytes(draw(run))).decode()
    parts = [
        f"<p><b>{_isolated(report.source.name)}</b>: {_what_was_read(report)}</p>",
        _table(("", "", ""), _figures(report)),
        *(f"<p>! {_escaped(for_python(warning.text))}</p>" for warning in report.source.warnings),
        *_paying(run),
        f'<img alt="utility of every {report.source.one} against the threshold" '
        f'style="width:{_WIDTH}px;max-width:100%" src="data:image/png;base64,{picture}">',
    ]
    return f"<div>{''.join(parts)}</div>"


def _what_was_read(report: Report) -> str:
    source, pairs = report.source, report.pairs.genuine + report.pairs.impostor
    classes = f", {source.classes:,} {source.many}" if source.classes else ""
    return f"{source.rows:,} {report.counted}{classes}, {pairs:,} pairs"


def _figures(report: Report) -> list[Cells]:
    chosen, eps, metric = report.recommendation, report.eps_opis, report.settings["metric"]
    rows: list[Cells] = [("Deploy", "none", f"no threshold meets {bounds(chosen)}")]
    rows += _prices(report)
    if chosen.threshold is not None:
        sign = "≥" if metric in SIMILARITIES else "≤"
        similarity = chosen.equivalents.cosine_similarity
        other = "" if similarity is None else f"cosine similarity ≥ {number(similarity, 8)}"
        rows = [
            ("Deploy", f"{scale(metric)} {sign} {shown(chosen.threshold, metric)}", other),
            (
                "Wrong matches accepted (FAR)",
                rate(chosen.far),
                f"{chosen.accepted_impostors or 0:,} of {report.pairs.impostor:,}",
            ),
            (
                "Right matches rejected (FRR)",
                rate(chosen.frr),
                f"{chosen.rejected_genuine or 0:,} of {report.pairs.genuine:,}",
            ),
        ]
    if report.opis is not None:
        off = number(math.sqrt(report.opis), 2)
        typical = f"a {report.source.one} is typically {off} off the mean utility"
        rows.append(("OPIS", number(report.opis, 3), typical))
    if eps.value is not None:
        apart = number(math.sqrt(eps.value), 2)
        trail = f"the worst {eps.worst_classes:,} trail the rest by {apart}"
        rows.append((f"{100 * eps.eps:g}%-OPIS", number(eps.value, 3), trail))
    return rows


def _prices(report: Report) -> list[Cells]:
    """Return what each bound alone would cost."""
    chosen, metric = report.recommendation, report.settings["metric"]
    rows: list[Cells] = []
    for name, most, at in (
        ("FAR", chosen.max_far, chosen.at_max_far),
        ("FRR", chosen.max_frr, chosen.at_max_frr),
    ):
        if at is not None and at.threshold is not None:
            cost = f"FAR {rate(at.far)}, FRR {rate(at.frr)}"
            rows.append((f"{name} ≤ {rate(most)} alone", shown(at.threshold, metric), cost))
    return rows


def _paying(run: Evaluation) -> list[str]:
    """Return tables of the classes with the highest FRR and FAR at the recommended threshold."""
    report, source = run.report, run.report.source
    threshold = report.recommendation.threshold
    if threshold is None or not source.evaluable_classes:
        return []
    at = rates_at(run.counts, threshold, run.settings.beta)
    found = who_pays(run.counts, at.class_far_at, at.class_frr_at, _SHOWN_CLASSES)
    tables = [
        _table(
            (f"most {how}: {source.one}", report.counted, "FRR", "rejected", "FAR", "accepted"),
            [
                (
                    *(plain(one.class_name, 60), f"{one.size:,}"),
                    *(rate(one.frr), f"{one.rejected:,} of {one.genuine:,}"),
                    *(rate(one.far), f"{one.accepted:,} of {one.impostor:,}"),
                )
                for one in classes
            ],
        )
        for how, classes in (("rejected", found.rejected), ("accepted", found.accepted))
        if classes
    ]
    if found.few:
        few = f"{found.few:,} {source.one if found.few == 1 else source.many}"
        tables.append(f"<p>Too few pairs to judge (under {FEW_PAIRS}): {few}.</p>")
    return tables


def _table(heads: Cells, rows: list[Cells]) -> str:
    head = "".join(f"<th{'' if i else _LEFT}>{_escaped(text)}</th>" for i, text in enumerate(heads))
    head = f"<thead><tr>{head}</tr></thead>" if any(heads) else ""
    body = "".join(
        "<tr>"
        + "".join(f"<td{'' if i else _LEFT}>{_isolated(text)}</td>" for i, text in enumerate(row))
        + "</tr>"
        for row in rows
    )
    return f"<table>{head}<tbody>{body}</tbody></table>"


def _escaped(text: str) -> str:
    return html.escape(plain(text, 1_000))


def _isolated(text: str) -> str:
    return f"<bdi>{_escaped(text)}</bdi>"
