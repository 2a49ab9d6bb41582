"""The README tells the truth: its outputs are real, its option tables are those of ``--help``.

Processors round differently, so the numbers of an output may differ by that; nothing else may.
``python tests/test_readme.py write`` brings it up to date; ``commands`` prints its two commands.
"""

import os
import re
import shlex
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
CONSOLE = re.compile(r"```console\n\$ (?P<command>opis .*)\n(?P<output>(?:.*\n)*?)```")
NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?(?!\w)")
COUNT_OF_PAIRS = re.compile(r"(?: to [\d,]+)? of \d[\d,]{4,}")
FEW_PAIRS, ROUNDING = 3, Decimal("1e-3")
OPTIONS = re.compile(r"(<!-- options.*?-->\n)(?P<tables>(?:.*\n)*?)(<!-- /options -->)")


def commands(text: str) -> list[str]:
    """The first two commands of the README."""
    return re.findall(r"```sh\n(.*)\n```", text)[:2]


def option_tables() -> str:
    """A table of options for each command, from what ``--help`` is made of."""
    import typer

    from opis_cli.cli.gate import app

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


def same_but_for_rounding(one: str, two: str) -> bool:
    """Whether two texts have the same words line by line, and the same numbers but for rounding.

    A number may be off by 1/1000, or by one in the last digit shown; a count of pairs among
    thousands by a few; other whole numbers by nothing. How far words are apart says nothing, as
    columns are as wide as their numbers.
    """
    lines = one.splitlines(), two.splitlines()
    return len(lines[0]) == len(lines[1]) and all(map(_same_line, *lines))


def _same_line(one: str, two: str) -> bool:
    words = [" ".join(NUMBER.sub(" # ", line).split()) for line in (one, two)]
    return words[0] == words[1] and all(
        _same_number(*(Decimal(found[0].replace(",", "")) for found in pair), pair[0])
        for pair in zip(NUMBER.finditer(one), NUMBER.finditer(two), strict=True)
    )


def _same_number(one: Decimal, two: Decimal, found: re.Match[str]) -> bool:
    off = abs(one - two)
    last_digit = min(number.as_tuple().exponent for number in (one, two))
    if last_digit < 0:
        return off <= max(ROUNDING * abs(one), Decimal(1).scaleb(last_digit))
    return off <= (FEW_PAIRS if COUNT_OF_PAIRS.match(found.string, found.end()) else 0)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory) -> str:
    return up_to_date(README.read_text(encoding="utf-8"), tmp_path_factory.mktemp("readme"))


def test_outputs_and_options_are_real(fresh):
    text = README.read_text(encoding="utf-8")
    # All of it, but for outputs, is as it was; the option tables above all.
    assert CONSOLE.sub(r"\g<command>", text) == CONSOLE.sub(r"\g<command>", fresh)
    for was, now in zip(CONSOLE.finditer(text), CONSOLE.finditer(fresh), strict=True):
        if not same_but_for_rounding(was["output"], now["output"]):
            assert was["output"] == now["output"], was["command"]


SHOWN = """\
Recommended threshold (FAR <= 1 %; prefer utility)
  accept cosine distance <=   0.673742  cosine similarity >= 0.326258
  FRR (false rejects)             18 %  1,670 of 9,293 genuine pairs
  False accepts per query         8.51  searching these 873 rows
  OPIS less noise               -0.013 to 0.031  5 % is noise, 70 classes
    loss                      0.07103  ± 7e-05, from counts
  axis.n.06017958          7  0.148 %  61.9 %    0.551
Gate failed: 3 of 4 checks
"""


@pytest.mark.parametrize(
    ("shown", "instead"),
    [
        ("0.673742", "0.673741"),
        ("0.673742  cosine", "0.67374   cosine"),
        ("  18 %  1,670", "17.9 %  1,668"),
        ("1,670 of", "1,673 of"),
        ("-0.013", "-0.014"),
        ("0.07103", "0.07104"),
        ("7e-05", "8e-05"),
        ("61.9 %", "  62 %"),
    ],
)
def test_what_rounding_changes_is_the_same(shown, instead):
    assert shown in SHOWN and same_but_for_rounding(SHOWN, SHOWN.replace(shown, instead))


@pytest.mark.parametrize(
    ("shown", "instead"),
    [
        ("utility)", "low-far)"),
        ("genuine pairs", "genuine  pair"),
        ("axis.n.06017958", "axis.n.06017957"),
        ("  OPIS less noise               -0.013 to 0.031  5 % is noise, 70 classes\n", ""),
        ("checks\n", "checks\n  ! and a hint\n"),
        ("checks\n", "checks\n\n"),
        ("Gate failed: 3 of 4 checks\n", "Gate failed: 3 of 4\nchecks\n"),
        ("0.673742  cosine similarity >= 0.326258", "0.326258  cosine similarity >= 0.673742"),
        ("0.673742", "0.674742"),
        ("0.673742", "-0.673742"),
        ("0.673742", ""),
        ("18 %", "19 %"),
        ("18 %", "18.2 %"),
        ("18 %", "18"),
        ("FAR <= 1 %", "FAR <= 2 %"),
        ("1,670 of", "1,674 of"),
        ("9,293", "9,292"),
        ("873 rows", "874 rows"),
        ("70 classes", "71 classes"),
        ("3 of 4", "2 of 4"),
        ("8.51", "8.53"),
        ("-0.013", "0.013"),
        ("7e-05", "7e-04"),
        ("0.148 %", "0.15 %"),
    ],
)
def test_what_is_off_is_not_the_same(shown, instead):
    assert shown in SHOWN and not same_but_for_rounding(SHOWN, SHOWN.replace(shown, instead))


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
