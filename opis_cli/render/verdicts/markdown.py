"""Write a verdict as GitHub-flavoured Markdown, in which no name from the data becomes markup."""

from collections.abc import Sequence
from urllib.parse import quote

from opis_cli.judging.gate import Outcome
from opis_cli.render.verdicts.words import (
    headline,
    margin,
    pair_cells,
    pair_heads,
    pairs_title,
    subject,
    told,
)
from opis_cli.scoring.who_pays import FEW_PAIRS
from opis_cli.text import in_markdown, number, plain, rate

_SHOWN_CLASSES = 5
"""Most classes in a table of those that pay."""
_ADDRESS = "/:#?&=%+,;@~"
"""Characters that stay as they are in the address of the page."""


def markdown(outcome: Outcome) -> str:
    """Return the verdict, the pairs behind it, and the classes that pay, as tables."""
    verdict = outcome.verdict
    mark = "❌" if not verdict.passed else "✅" if verdict.checks else "ℹ️"
    lines = [f"### {mark} {headline(verdict)}", "", in_markdown(subject(verdict))]
    if outcome.page is not None:
        # The address is quoted as in a URL, and the brackets keep it whole.
        lines += ["", f"[Every class and every threshold](<{quote(outcome.page, safe=_ADDRESS)}>)"]
    checks = [
        ["✅" if check.passed else "❌", check.name, told(check), margin(check)]
        for check in verdict.checks
    ]
    lines += _table("", ["result", "check", "finding", "margin"], checks)
    for check in verdict.checks:
        if check.pairs:
            rows = list(map(pair_cells, check.pairs))
            lines += _table(f"{check.name}: {pairs_title(check)}", pair_heads(check), rows)
    lines += [*_paying(outcome), *_lost(outcome)]
    lines += [f"\n> {in_markdown(note)}" for note in verdict.notes]
    return "\n".join(lines) + "\n"


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table, with a title in front; none without rows."""
    if not rows:
        return []
    head, *body = ("| " + " | ".join(map(in_markdown, row)) + " |" for row in (heads, *rows))
    titled = ["", in_markdown(title)] if title else []
    return [*titled, "", head, "|---" * len(heads) + "|", *body]


def _paying(outcome: Outcome) -> list[str]:
    """Return tables of the classes with the highest FRR, and of those with the highest FAR."""
    found, source = outcome.paying(_SHOWN_CLASSES), outcome.run.report.source
    if found is None:
        return []
    lines = []
    for name, classes in (("FRR", found.rejected), ("FAR", found.accepted)):
        rows = [
            [
                plain(one.class_name),
                f"{rate(one.frr)} ({one.rejected:,} of {one.genuine:,})",
                f"{rate(one.far)} ({one.accepted:,} of {one.impostor:,})",
            ]
            for one in classes
        ]
        title = f"{source.many.capitalize()} with the highest {name}:"
        lines += _table(title, [source.one, "FRR", "FAR"], rows)
    if found.few:
        lines += ["", f"Too few pairs to judge (under {FEW_PAIRS}): {found.few:,} {source.many}."]
    return lines


def _lost(outcome: Outcome) -> list[str]:
    """Return a table of the classes that lost most against the baseline."""
    verdict, report = outcome.verdict, outcome.run.report
    if verdict.baseline is None:
        return []
    rows = [
        [
            *(plain(change.class_name), f"{change.size:,}", number(change.base, 3)),
            *(number(change.mean_utility, 3), number(change.change, 2)),
        ]
        for change in verdict.baseline.most_worse
    ]
    many = report.source.many.capitalize()
    title = f"{many} that lost most (mean utility over the calibration range):"
    return _table(title, [report.source.one, report.counted, "before", "now", "change"], rows)
