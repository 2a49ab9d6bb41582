"""The pages of ``--help``: options in panels, whole descriptions, and examples that parse."""

import os
import shlex
import subprocess
import sys

import pytest
import typer

from opis_cli.cli.app import app
from opis_cli.cli.commands import _KINDS
from opis_cli.cli.help import PANELS, default_of
from opis_cli.render.plots import KINDS
from opis_cli.settings import ABOUT

APP = typer.main.get_command(app)
COMMANDS = APP.commands


@pytest.fixture
def page(monkeypatch):
    """The page of a command, or of the application, on a terminal of a width."""

    def shown(name=None, *, width):
        monkeypatch.setenv("COLUMNS", str(width))
        command = APP if name is None else COMMANDS[name]
        return command.get_help(command.make_context(name or "opis", [], resilient_parsing=True))

    return shown


@pytest.mark.parametrize("name", COMMANDS)
def test_a_page_has_three_examples_that_parse(name, page):
    examples = (COMMANDS[name].epilog or "").splitlines()
    text = page(name, width=100)
    for line in examples:
        assert f"\n  {line}\n" in text and len(line) < 80
        words = shlex.split(line.partition(" > ")[0])
        assert words[:2] == ["opis", name]
        COMMANDS[name].make_context(name, words[2:])
    assert len(examples) == 3


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("width", [60, 160])
def test_a_page_is_as_wide_as_the_terminal_and_holds_every_word(name, width, page):
    text = page(name, width=width)
    # An example stands on one line, to be copied.
    lines = [line for line in text.splitlines() if not line.startswith("  opis ")]
    assert max(map(len, lines)) <= width
    told = " ".join(text.split())
    for parameter in COMMANDS[name].params:
        assert " ".join((parameter.help or "").split()) in told
        assert not default_of(parameter) or f"[default: {default_of(parameter)}]" in told
    assert "[default: (" not in told
    titles = [line[:-1] for line in text.splitlines() if line.endswith(":") and line[0] != " "]
    assert titles == ["Examples", *(title for title in PANELS if title in titles)]


def test_a_wide_terminal_is_used(page):
    assert max(map(len, page("evaluate", width=160).splitlines())) > 130


def test_every_setting_stands_in_its_panel(page):
    text = page("evaluate", width=200)
    for name, about in ABOUT.items():
        flag = about.flags[0].partition("/")[0] if about.flags else "--" + name.replace("_", "-")
        before = text.partition(f"\n  {flag} ")[0]
        titles = [line[:-1] for line in before.splitlines() if line.rstrip(":") in PANELS]
        assert titles[-1] == about.panel, name


def test_the_overview_has_whole_descriptions(page):
    told = " ".join(page(width=60).split())
    assert all(f"{name} {command.help}" in told for name, command in COMMANDS.items())
    assert "..." not in told.replace("[ARGS]...", "")


def test_values_are_completed():
    environment = {**os.environ, "_OPIS_COMPLETE": "complete_bash"}

    def completed(words):
        asked = {"COMP_WORDS": f"opis {words}", "COMP_CWORD": str(len(words.split()))}
        command = [sys.executable, "-c", "from opis_cli.__main__ import main; main()"]
        done = subprocess.run(
            command, env=environment | asked, capture_output=True, text=True, check=False
        )
        return done.stdout.split()

    assert completed("evaluate --metric eu") == ["euclidean"]
    assert completed("plot --kind co") == ["confusion"]
    assert tuple(_KINDS) == tuple(KINDS)
