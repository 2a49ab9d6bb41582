"""Show on the terminal how well likelihood ratios fit, and the one at the threshold."""

import math

from rich.console import Group, RenderableType

from opis_cli.render.terminal.blocks import marked, section
from opis_cli.report.records import Report
from opis_cli.text import number, rate

_METHODS = {"logistic": "logistic regression", "pav": "isotonic regression"}
_WORSE, _BITS = 1.25, 0.02
"""A map fits badly if its Cllr is so many times the least, and so many bits above it."""


def ratios(report: Report) -> RenderableType | None:
    """Return Cllr of both maps, min Cllr, and the ratio at the recommended threshold."""
    found = report.llr
    if found is None:
        return None
    method, chosen = found.map.method, report.recommendation.threshold
    costs = {"logistic": found.cllr_logistic, "pav": found.cllr_pav}
    rows = [
        (
            f"Cllr, {_METHODS[name]}",
            f"{number(cost, 3)} bits",
            "in threshold.json (1 tells nothing)" if name == method else "",
        )
        for name, cost in costs.items()
        if cost is not None
    ]
    rows.append(("min Cllr", f"{number(found.min_cllr, 3)} bits", "least of any falling map"))
    if chosen is not None:
        llr = float(found.map.at(chosen))
        even = 0.5 - 0.5 * math.tanh(llr / 2)
        told = f"even odds where {rate(even)} are genuine"
        rows.append(("at the threshold", number(math.exp(min(llr, 700.0)), 3), told))
    told = "all pairs weigh the same"
    if found.classes:
        told = f"{found.classes:,} {report.source.many} of equal weight"
    told += ", none held out" if found.folds is None else f", {found.folds} folds held out"
    least, notes = max(_WORSE * found.min_cllr, found.min_cllr + _BITS), []
    if found.cllr > least:
        notes = ["The map fits badly: look at `opis plot RUN --kind calibration`."]
    return Group(section("LIKELIHOOD RATIOS", rows, told), *marked(notes))
