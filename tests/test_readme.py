"""The README tells the truth: its outputs are real, its option tables are those of ``--help``.

``python tests/test_readme.py write`` brings it up to date; ``commands`` prints its two commands.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
CONSOLE = re.compile(r"```console\n\$ (?P<command>opis .*)\n(?P<output>(?:.*\n)*?)```")
OPTIONS = re.compile(r"(<!-- options.*?-->\n)(?P<tables>(?:.*\n)*?)(<!-- /options -->)")


def commands(text: str) -> list[str]:
    """The first two commands of the README."""
    return re.findall(r"```sh\n(.*)\n```", text)[:2]


def option_tables() -> str:
    """A table of options for each command, from what ``--help`` is made of."""
    import typer

    from opis_cli.cli_gate import app

    lines = []
    for name, command in typer.main.get_command(app).commands.items():
        arguments = [f"{p.name.upper()}" for p in command.params if p.param_type_name == "argument"]
        lines += [f"`opis {' '.join([name, *arguments])}`: {command.help}", ""]
        lines += ["| option | meaning | default |", "|---|---|---|"]
        for param in command.params:
            if param.param_type_name == "option" and param.name != "help":
                shown = param.show_default if isinstance(param.show_default, str) else ""
                if not shown and param.default and not isinstance(param.default, bool):
                    shown = str(param.default)
                meaning = (param.help or "").replace("|", "\\|")
                names = ", ".join([*param.opts, *param.secondary_opts])
                lines.append(f"| `{names}` | {meaning} | {shown} |")
        lines.append("")
    return "\n".join(lines) + "\n"


def real_output(command: str, folder: Path) -> str:
    """What a command of the README prints, run beside the sample data."""
    words = [sys.executable, "-m", "opis_cli", *shlex.split(command)[1:]]
    environment = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1"}
    done = subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    return "".join(line.rstrip() + "\n" for line in done.stdout.splitlines())


def up_to_date(text: str, folder: Path) -> str:
    """The README with its outputs and tables made anew."""
    (folder / "sample_data").symlink_to(ROOT / "sample_data")
    text = CONSOLE.sub(
        lambda found: (
            f"```console\n$ {found['command']}\n{real_output(found['command'], folder)}```"
        ),
        text,
    )
    return OPTIONS.sub(lambda found: found[1] + option_tables() + found[3], text)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory) -> str:
    return up_to_date(README.read_text(encoding="utf-8"), tmp_path_factory.mktemp("readme"))


def test_outputs_and_options_are_real(fresh):
    assert README.read_text(encoding="utf-8") == fresh


def test_it_opens_with_the_two_commands():
    first, second = commands(README.read_text(encoding="utf-8"))
    assert "opis evaluate sample_data/" in first
    assert second.endswith("pytest")


def test_pictures_and_links_are_there():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README.read_text(encoding="utf-8")):
        assert (ROOT / target).exists(), target


if __name__ == "__main__":
    import tempfile

    content = README.read_text(encoding="utf-8")
    if sys.argv[1:] == ["commands"]:
        print("\n".join(commands(content)))
    else:
        with tempfile.TemporaryDirectory() as scratch:
            README.write_text(up_to_date(content, Path(scratch)), encoding="utf-8")
