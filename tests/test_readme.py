"""The documents tell the truth: outputs are real, option tables are those of ``--help``.

Processors round differently, so the numbers of an output may differ by that; nothing else may.
``python tests/test_readme.py write`` brings every document up to date; ``commands`` prints the two
commands of the README.
"""

import re
import shlex
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import forked
import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCUMENTS = (
    README,
    ROOT / "opis_cli/REFERENCE.md",
    ROOT / "sample_data/README.md",
    ROOT / "tests/benchmarks/README.md",
    ROOT / ".github/CONTRIBUTING.md",
)
"""In this order: commands of one may read runs that commands of those before it wrote."""
MOST_LINES = 350
"""Of the README: whatever is longer is a reference, and has a document of its own."""
CONSOLE = re.compile(r"```console\n\$ (?P<command>opis .*)\n(?P<output>(?:.*\n)*?)```")
NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?(?!\w)")
COUNT_OF_PAIRS = re.compile(r"(?: to [\d,]+)?(?: of |/)\d[\d,]{4,}")
FEW_PAIRS, ROUNDING = 3, Decimal("1e-3")
OPTIONS = re.compile(r"(<!-- options.*?-->\n)(?P<tables>(?:.*\n)*?)(<!-- /options -->)")
BLOCK = re.compile(r"^```(?P<language>\w*)\n(?P<content>(?:.*\n)*?)```$", re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:)(?P<path>[^)#\s]*)(?:#(?P<anchor>[^)\s]*))?\)")


def commands(text: str) -> list[str]:
    """The first two commands of the README."""
    return re.findall(r"```sh\n(.*)\n```", text)[:2]


def option_tables() -> str:
    """A table of options for each command, from what ``--help`` is made of."""
    import typer

    from opis_cli.cli.app import app
    from opis_cli.cli.help import default_of

    lines = []
    for name, command in typer.main.get_command(app).commands.items():
        arguments = [f"{p.name.upper()}" for p in command.params if p.param_type_name == "argument"]
        lines += [f"`opis {' '.join([name, *arguments])}`: {command.help}", ""]
        lines += ["| option | meaning | default |", "|---|---|---|"]
        for param in command.params:
            if param.param_type_name == "option" and param.name != "help":
                meaning = (param.help or "").replace("|", "\\|")
                names = ", ".join([*param.opts, *param.secondary_opts])
                lines.append(f"| `{names}` | {meaning} | {default_of(param)} |")
        lines.append("")
    return "\n".join(lines) + "\n"


def real_output(command: str, folder: Path) -> str:
    """What a command of a document prints, run beside the sample data."""
    words = shlex.split(command)[1:]
    done = forked.opis(*words, cwd=folder, env={"COLUMNS": "80", "NO_COLOR": "1"})
    assert done.returncode in (0, 1), done.stderr
    return "".join(line.rstrip() + "\n" for line in done.stdout.splitlines())


def texts() -> dict[Path, str]:
    """Every document as it is."""
    return {document: document.read_text(encoding="utf-8") for document in DOCUMENTS}


def up_to_date(folder: Path) -> dict[Path, str]:
    """Every document with its outputs and tables made anew, in a folder that keeps the runs."""
    (folder / "sample_data").symlink_to(ROOT / "sample_data")
    return {document: _up_to_date(text, folder) for document, text in texts().items()}


def _up_to_date(text: str, folder: Path) -> str:
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


def blocks(language: str) -> list[str]:
    """The contents of all code blocks of a language."""
    found = [block for text in texts().values() for block in BLOCK.finditer(text)]
    return [block["content"] for block in found if block["language"] == language]


def anchors(text: str) -> set[str]:
    """The anchors that a page of GitHub has for the headings of a document."""
    headings = re.findall(r"^#+ (.*)$", BLOCK.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("documents")


@pytest.fixture(scope="module")
def fresh(folder) -> dict[Path, str]:
    return up_to_date(folder)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_outputs_and_options_are_real(document, fresh):
    text, made = document.read_text(encoding="utf-8"), fresh[document]
    # All of it, but for outputs, is as it was; the option tables above all.
    assert CONSOLE.sub(r"\g<command>", text) == CONSOLE.sub(r"\g<command>", made)
    for was, now in zip(CONSOLE.finditer(text), CONSOLE.finditer(made), strict=True):
        if not same_but_for_rounding(was["output"], now["output"]):
            assert was["output"] == now["output"], was["command"]


def test_there_are_outputs_and_options_to_test():
    found = "".join(texts().values())
    assert len(CONSOLE.findall(found)) >= 8
    assert len(OPTIONS.findall(found)) == 1
    # No block says that it is an output, and is passed by for another first line.
    assert len(CONSOLE.findall(found)) == len(blocks("console"))


SHOWN = """\
Recommended threshold (FAR <= 1 %; prefer utility)
  accept cosine distance <=   0.673742  cosine similarity >= 0.326258
  FRR (false rejects)             18 %  1,670 of 9,293 genuine pairs
  False accepts per query         8.51  searching these 873 rows
  OPIS less noise               -0.013 to 0.031  5 % is noise, 70 classes
    loss                      0.07103  ± 7e-05, from counts
  day.n.15182185           63.6 %  687/1,081   0.58 %  225/38,822
Gate failed: 3 of 4 checks
"""


@pytest.mark.parametrize(
    ("shown", "instead"),
    [
        ("0.673742", "0.673741"),
        ("0.673742  cosine", "0.67374   cosine"),
        ("  18 %  1,670", "17.9 %  1,668"),
        ("1,670 of", "1,673 of"),
        ("687/1,081", "688/1,081"),
        ("-0.013", "-0.014"),
        ("0.07103", "0.07104"),
        ("7e-05", "8e-05"),
        ("63.6 %", "63.7 %"),
    ],
)
def test_what_rounding_changes_is_the_same(shown, instead):
    assert shown in SHOWN and same_but_for_rounding(SHOWN, SHOWN.replace(shown, instead))


@pytest.mark.parametrize(
    ("shown", "instead"),
    [
        ("utility)", "low-far)"),
        ("genuine pairs", "genuine  pair"),
        ("day.n.15182185", "day.n.15182184"),
        ("687/1,081", "687/1,082"),
        ("225/38,822", "229/38,822"),
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
        ("0.58 %", "0.6 %"),
    ],
)
def test_what_is_off_is_not_the_same(shown, instead):
    assert shown in SHOWN and not same_but_for_rounding(SHOWN, SHOWN.replace(shown, instead))


def test_it_opens_with_the_two_commands():
    first, second = commands(README.read_text(encoding="utf-8"))
    assert "opis evaluate sample_data/" in first
    assert second.endswith("pytest")


def test_the_readme_is_short():
    assert len(README.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_pictures_and_links_are_there(document):
    text = document.read_text(encoding="utf-8")
    for link in LINK.finditer(BLOCK.sub("", text)):
        target = (document.parent / link["path"]).resolve() if link["path"] else document
        assert target.exists() and target.is_relative_to(ROOT), link[0]
        if link["anchor"]:
            assert link["anchor"] in anchors(target.read_text(encoding="utf-8")), link[0]


def test_settings_files_are_valid(tmp_path):
    from opis_cli.config import load_config, merge
    from opis_cli.judging.limits import read_demands

    shown = blocks("toml")
    assert shown
    for content in shown:
        file = tmp_path / "opis.toml"
        file.write_text(content, encoding="utf-8")
        config = load_config(file)
        merge(config, {})
        assert read_demands(config.get("gate", {}), {}).limits


def test_python_is_valid_and_the_threshold_file_is_read_as_shown(folder, fresh):
    shown = blocks("python")
    for content in shown:
        compile(content, "document", "exec")
    (reads,) = [content for content in shown if 'open("runs/wordnet/threshold.json")' in content]
    check = (
        f"{reads}\n"
        "a, b = np.array([1.0, 0.0]), np.array([0.6, 0.8])\n"
        "assert accept(a, b) and not accept(a, -b)\n"
    )
    subprocess.run([sys.executable, "-c", check], cwd=folder, check=True)


if __name__ == "__main__":
    import tempfile

    if sys.argv[1:] == ["commands"]:
        print("\n".join(commands(README.read_text(encoding="utf-8"))))
    elif sys.argv[1:] == ["write"]:
        with tempfile.TemporaryDirectory() as scratch:
            for document, made in up_to_date(Path(scratch)).items():
                document.write_text(made, encoding="utf-8")
    else:
        sys.exit("usage: python tests/test_readme.py write|commands")
