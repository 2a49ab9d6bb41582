"""Write the figures of a verdict as a metrics report for GitLab."""

from opis_cli.judging.gate import Outcome


def gitlab(outcome: Outcome) -> str:
    """Return the figures as OpenMetrics text.

    They are rounded, because GitLab compares them as strings.
    """
    verdict = outcome.verdict
    lines = [
        f"opis_{name.removeprefix('opis')} {value:.8f}".replace("opis_ ", "opis ")
        for name, value in verdict.figures.items()
        if value is not None
    ]
    lines.append(f"opis_failed_checks {len(verdict.failed)}")
    return "\n".join(lines) + "\n# EOF\n"
