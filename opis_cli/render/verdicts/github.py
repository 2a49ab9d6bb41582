"""Write a verdict for GitHub: the outputs of a step, and annotations.

A runner of GitHub reads commands from the printed lines. So characters that could end a line or a
part of it are escaped as GitHub prescribes.
"""

from collections.abc import Iterator

from opis_cli.judging.gate import Outcome, Verdict
from opis_cli.render.verdicts.words import pair_lines, sentence

MOST_ANNOTATIONS = 10
"""Most annotations that a step may have."""


def github(outcome: Outcome) -> str:
    """Return lines ``name=value``, which later steps of a job can read."""
    verdict = outcome.verdict
    values = {
        "passed": str(verdict.passed).lower(),
        "failed": ",".join(check.name for check in verdict.failed),
    }
    values |= {
        name.replace("_", "-"): "" if value is None else f"{value:.9g}"
        for name, value in verdict.figures.items()
    }
    return "".join(f"{name}={value}\n" for name, value in values.items())


def annotations(verdict: Verdict) -> Iterator[str]:
    """Yield an error annotation for each failed check, but no more than a step may have."""
    failed = verdict.failed
    fits = len(failed) <= MOST_ANNOTATIONS
    for check in failed if fits else failed[: MOST_ANNOTATIONS - 1]:
        title = _property(f"opis gate: {check.name}")
        text = "\n".join([sentence(check), *pair_lines(check)])
        yield f"::error title={title}::{_data(text)}"
    if not fits:
        rest = ", ".join(check.name for check in failed[MOST_ANNOTATIONS - 1 :])
        yield f"::error title=opis gate::{_data(f'and {rest}')}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
