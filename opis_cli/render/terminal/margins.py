"""Show margins for training on the terminal."""

from rich.console import Group, RenderableType
from rich.text import Text

from opis_cli import decimals
from opis_cli.render.terminal.blocks import marked, section
from opis_cli.report.evaluation import Evaluation
from opis_cli.scoring.margins import Margins, snippet
from opis_cli.text import number, rate


def margins_summary(run: Evaluation, margins: Margins) -> RenderableType:
    """Return the margins, their hard pairs, the loss of these pairs, and how to train with them."""
    pairs, plus, minus = run.report.pairs, margins.hard_genuine_pairs, margins.hard_impostor_pairs
    rows = [
        (
            "m+ (pull genuine pairs)",
            decimals.text(margins.margin_plus),
            f"cosine similarity at FRR {rate(margins.max_frr)}",
        ),
        (
            "  hard genuine pairs",
            rate(margins.hard_genuine_share),
            f"{plus:,} of {pairs.genuine:,} lie below m+",
        ),
        ("  loss", number(margins.loss_plus), _resolution(margins.loss_plus_resolution)),
        (
            "m- (push impostors)",
            "–" if margins.margin_minus is None else decimals.text(margins.margin_minus),
            f"cosine similarity at FAR {rate(margins.max_far)}",
        ),
        (
            "  hard impostor pairs",
            rate(margins.hard_impostor_share),
            "" if minus is None else f"{minus:,} of {pairs.impostor:,} lie above m-",
        ),
        ("  loss", number(margins.loss_minus), _resolution(margins.loss_minus_resolution)),
    ]
    return Group(
        section("Margins for the threshold-consistent margin loss (TCM)", rows),
        *marked(margins.notes),
        Text(),
        Text("To train with them (pip install pytorch-metric-learning):", style="bold cyan"),
        *(Text(f"  {line}".rstrip()) for line in snippet(margins).splitlines()),
    )


def _resolution(value: float | None) -> str:
    return "" if value is None else f"± {number(value, 1)}, from counts"
