"""The list of faults fits the code: each text is there once, and each test exists."""

import ast
import collections
from functools import cache
from pathlib import Path

import mutants
import pytest

TESTS = Path(__file__).parent


@cache
def functions(file: str) -> set[str]:
    """Names of the tests of a file."""
    tree = ast.parse((TESTS / file).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("mutant", mutants.MUTANTS, ids=lambda mutant: mutant.name)
def test_each_text_is_there_once_and_each_test_exists(mutant):
    text = (mutants.PACKAGE / mutant.file).read_text()
    assert text.count(mutant.old) == 1
    assert mutant.new != mutant.old
    ast.parse(text.replace(mutant.old, mutant.new))
    assert mutant.tests
    for test in mutant.tests:
        file, name = test.split("::")
        assert name.partition("[")[0] in functions(file)


def test_tests_are_named_with_the_parameters_that_they_have(tmp_path):
    mutants.put(None, tmp_path)
    named = {test for mutant in mutants.MUTANTS for test in mutant.tests}
    code, said = mutants.run(tmp_path, sorted(named), "--collect-only")
    assert code == 0, said


def test_names_are_their_own():
    names = collections.Counter(mutant.name for mutant in mutants.MUTANTS)
    assert names.most_common(1)[0][1] == 1
    assert len(mutants.MUTANTS) >= 30


def test_a_fault_that_no_test_finds_ends_with_1_and_its_name(capsys, monkeypatch):
    harmless = mutants.Mutant(
        "a comment is another",
        "text.py",
        '"""Numbers and untrusted names as text for people."""',
        '"""Text."""',
        ("test_decimals.py::test_the_shortest_decimal_of_an_interval",),
    )
    monkeypatch.setattr(mutants, "MUTANTS", (harmless,))
    assert mutants.main(["--all"]) == 1
    assert "a comment is another: UNNOTICED" in capsys.readouterr().out
