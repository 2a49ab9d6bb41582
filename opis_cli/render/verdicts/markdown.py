"""Write a verdict as GitHub-flavoured Markdown, in which no name from the data becomes markup."""

import re

from opis_cli.judging.gate import Outcome
from opis_cli.render.verdicts.words import (
    cells,
    evidence,
    headline,
    pair_cells,
    pair_heads,
    pairs_title,
    subject,
)
from opis_cli.text import number, plain

# A dot before a letter could be part of an address, which some renderers turn into a link.
_MARKUP = re.compile(r"""[\\`*_{}\[\]<>()#!|&~@:/$"'^=]|\.(?=[^\W\d])""")


def markdown(outcome: Outcome) -> str:
    """Return the verdict as a table, and the classes that lost most as another one."""
    verdict, report = outcome.verdict, outcome.run.report
    mark = "✅" if verdict.passed else "❌"
    lines = [f"### {mark} {headline(verdict)}", "", _escaped(subject(verdict)), ""]
    lines += ["| | check | value | limit | margin | |", "|---|---|---:|---:|---:|---|"]
    for check in verdict.checks:
        remark = ". ".join(text for text in (check.remark, evidence(check)) if text)
        row = ["✅" if check.passed else "❌", check.name, *cells(check), remark]
        lines.append("| " + " | ".join(map(_escaped, row)) + " |")
    for check in verdict.checks:
        if check.pairs:
            heads = pair_heads(check)
            lines += ["", f"{check.name}: {pairs_title(check)}", ""]
            lines += ["| " + " | ".join(map(_escaped, heads)) + " |", "|---" * len(heads) + "|"]
            for pair in check.pairs:
                lines.append("| " + " | ".join(map(_escaped, pair_cells(pair))) + " |")
    if verdict.baseline is not None and verdict.baseline.most_worse:
        one, many = report.source.one, report.source.many.capitalize()
        lines += ["", f"{many} that lost most (mean utility over the calibration range):", ""]
        lines += [f"| {one} | {report.counted} | before | now | change |"]
        lines += ["|---|---:|---:|---:|---:|"]
        for change in verdict.baseline.most_worse:
            row = [plain(change.class_name), f"{change.size:,}", number(change.base, 3)]
            row += [number(change.mean_utility, 3), number(change.change, 2)]
            lines.append("| " + " | ".join(map(_escaped, row)) + " |")
    lines += [f"\n> {_escaped(note)}" for note in verdict.notes]
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    """Replace every character that could be markup by a character reference."""
    return _MARKUP.sub(lambda found: f"&#{ord(found[0])};", text)
