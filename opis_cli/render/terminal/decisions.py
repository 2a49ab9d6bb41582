"""Show on the terminal how the pairs of a table were decided."""

from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from opis_cli import decimals
from opis_cli.deciding.table import Decided
from opis_cli.render.terminal.blocks import marked, section
from opis_cli.report.threshold_record import ThresholdFile
from opis_cli.scoring.scales import own_scale
from opis_cli.text import CLOSER_ABOVE, plain, rate, scale


def decisions_summary(
    decided: Decided, rule: ThresholdFile, output: Path, *, dropped: bool
) -> RenderableType:
    """Return the number of pairs with each decision, and where the table is."""
    sign = ">=" if decided.scale in CLOSER_ABOVE else "<="
    name = scale(rule.metric) if decided.scale == own_scale(rule.metric) else decided.scale
    counts = [("accept", decided.accept), ("review", decided.review), ("refuse", decided.refuse)]
    rows = [
        (word, f"{count:,}", rate(count / decided.pairs) if decided.pairs else "")
        for word, count in counts
        if word != "review" or rule.review is not None
    ]
    if decided.without_score:
        fate = "left out" if dropped else "refused, and counted there"
        rows.append(("without a score", f"{decided.without_score:,}", fate))
    by, notes = f"{name} {sign} {decimals.text(decided.limit)}", []
    if decided.group_columns:
        by = f"{name}, with thresholds by {' and '.join(map(plain, decided.group_columns))}"
    elif rule.groups is not None:
        notes = ["The file has thresholds by group; they decide with --group-column."]
    return Group(
        section("DECIDED", rows, f"{decided.pairs:,} pairs by {by}"),
        *marked(notes),
        Text(f"from {' and '.join(map(plain, decided.columns))}, written to {output}"),
    )
