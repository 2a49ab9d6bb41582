"""Names of remedies: what they mean, and which are refused with a word on what would do."""

import pytest

from opis_cli.errors import SettingsError
from opis_cli.remedies.recipes import DEFAULT, Step, name_of, parse, parse_all


def test_a_name_has_steps_with_their_numbers():
    assert parse("centre+abtt:3+asnorm:50") == (
        Step("centre"),
        Step("abtt", 3),
        Step("asnorm", 50),
    )
    assert parse("whiten:0.5") == (Step("whiten", 0.5),)
    # Inner folds choose a shrinkage that is not given; other numbers have a usual value.
    assert parse("wccn") == (Step("wccn", None),)
    assert parse("asnorm") == parse("asnorm:200")


@pytest.mark.parametrize("name", [*DEFAULT, "whiten:0.25", "snorm", "centre+fsn:3"])
def test_the_name_of_steps_names_the_same_steps(name):
    assert name_of(parse(name)) == name


def test_names_come_once_and_in_order():
    assert parse_all(" csls , centre,csls:10,") == ["csls:10", "centre"]
    assert parse_all(["abtt", "abtt:2"]) == ["abtt:1", "abtt:2"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("center", "'center' is no remedy; use centre, abtt, whiten"),
        ("asnorm:200+centre", "a score normalisation .* is the last step"),
        ("group+csls", "is the last step"),
        ("centre:3", "centre takes no number"),
        ("abtt:0", "a whole number of at least 1"),
        ("abtt:1.5", "a whole number of at least 1"),
        ("fsn:x", "a whole number of at least 1"),
        ("whiten:0", "a shrinkage above 0 and at most 1"),
        ("wccn:1.5", "a shrinkage above 0 and at most 1"),
        ("whiten:nan", "a shrinkage above 0 and at most 1"),
        ("centre++csls", "'' is no remedy"),
        (" , ", "names no remedy"),
    ],
)
def test_a_name_that_is_no_remedy_is_refused(name, told):
    with pytest.raises(SettingsError, match=told):
        parse_all(name)
