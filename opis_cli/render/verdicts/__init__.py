"""Write a verdict as text, for other programs and for people.

Each format has a module here, and all formats have functions of the same signature.
"""

from collections.abc import Callable

from opis_cli.judging.gate import Outcome
from opis_cli.render.verdicts.github import github
from opis_cli.render.verdicts.gitlab import gitlab
from opis_cli.render.verdicts.junit import junit
from opis_cli.render.verdicts.markdown import markdown
from opis_cli.report.report_json import to_json


def _json(outcome: Outcome) -> str:
    return to_json(outcome.verdict)


def _html(outcome: Outcome) -> str:
    # The page draws pictures. Imported here, it does not make other formats wait for Matplotlib.
    from opis_cli.render.page.html import gate_page

    return gate_page(outcome)


FORMATS: dict[str, Callable[[Outcome], str]] = {
    "junit": junit,
    "markdown": markdown,
    "gitlab": gitlab,
    "github": github,
    "json": _json,
    "html": _html,
}
"""The function that makes the text of each format, by name of the format."""
