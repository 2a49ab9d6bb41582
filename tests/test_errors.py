"""A message names options for the command line, and parameters for Python code."""

import copy
import os
import pty
import subprocess
import sys

import pytest

import opis_cli as opis
from opis_cli.errors import InputError, MissingExtra, SettingsError


@pytest.mark.parametrize(
    ("written", "typed", "told"),
    [
        ("--max-far is 2", "--max-far is 2", "max_far is 2"),
        ("give --max-far=0.01.", "give --max-far 0.01.", "give max_far=0.01."),
        ("(--prefer=low-far)", "(--prefer low-far)", "(prefer='low-far')"),
        ("give --labels=FILE, or", "give --labels FILE, or", "give labels=FILE, or"),
        ("`opis x --out=RUN --force`", "`opis x --out=RUN --force`", "`opis x --out=RUN --force`"),
        ("--class: a--b -- c", "--class: a--b -- c", "of_class: a--b -- c"),
        ("give --lower-is-closer", "give --lower-is-closer", "give higher_is_closer=False"),
    ],
)
def test_options_become_parameters(written, typed, told):
    error = SettingsError(written)
    assert (error.for_shell, str(error)) == (typed, told)
    again = copy.copy(error)
    assert (again.for_shell, str(again)) == (typed, told)


def test_an_extra_is_named_in_both_ways():
    error = MissingExtra("--engine=torch", "torch")
    assert error.for_shell.startswith("--engine torch needs")
    assert str(error).startswith("engine='torch' needs")


def test_python_code_reads_of_parameters():
    with pytest.raises(SettingsError) as caught:
        opis.evaluate([[0.0, 1.0]], [1], max_far=2)
    assert str(caught.value) == "max_far is 2; it must lie between 0 and 1"
    with pytest.raises(InputError, match=r"leave them out with on_bad_rows='drop'"):
        opis.evaluate([[0.0, 1.0], [float("nan"), 1.0], [1.0, 1.0]], [1, 1, 2])


def test_a_terminal_breaks_no_word_of_a_message(tmp_path):
    """A pipe gets one line, as a line of its own could be a command to a CI system."""
    words = [
        sys.executable,
        "-m",
        "opis_cli",
        "evaluate",
        "missing-embeddings-of-model.npy",
    ]
    piped = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False).stderr
    leader, follower = pty.openpty()
    narrow = {**os.environ, "COLUMNS": "36", "TERM": "xterm"}
    done = subprocess.run(words, cwd=tmp_path, env=narrow, stderr=follower, check=False)
    os.close(follower)
    seen = os.read(leader, 4096).decode()
    os.close(leader)
    lines = seen.splitlines()
    assert done.returncode == 2 and len(lines) > 1 and max(map(len, lines)) <= 36
    assert " ".join(seen.split()) == piped.strip() and piped.count("\n") == 1
