"""What a gate is asked for: flags over [gate], refused where unusable, and the example."""

import re
import tomllib

import pytest

from opis_cli.errors import SettingsError
from opis_cli.judging.limits import RULES, read_demands, write_gate_example
from opis_cli.judging.starter import starter


def amounts(demands):
    return {one.rule.name: (one.amount, one.relative) for one in demands.limits}


def test_flags_override_the_file_and_a_percentage_is_of_the_baseline():
    table = {"max-opis": 0.1, "max_far": 0.01, "baseline": "old", "max-threshold-shift": "5%"}
    found = read_demands(table, {"max_far": 0.02, "max_frr": None, "max_opis_increase": "0.001"})
    assert amounts(found) == {
        "max-opis": (0.1, False),
        "max-far": (0.02, False),
        "max-opis-increase": (0.001, False),
        "max-threshold-shift": (0.05, True),
    }
    assert (found.baseline, found.confidence) == ("old", None)


@pytest.mark.parametrize(
    ("table", "flags", "says"),
    [
        ({}, {}, "opis gate --init"),
        ({"baseline": "old"}, {}, "no limit"),
        ({"max-fat": 1}, {}, r"\[gate\]: unknown key 'max-fat'.*max-far"),
        ({"max-far": 0.1, "max_far": 0.1}, {}, "given twice"),
        ({"max-far": "low"}, {}, r"\[gate\] max-far is 'low'.*a number$"),
        ({"max-far": "1 of 100"}, {}, "must be a number$"),
        ({"max-far": "x%"}, {}, "must be a number$"),
        ({"max-far": int("1" * 400)}, {}, "must be a number$"),
        ({"max-far": "101%"}, {}, "between 0 and 1"),
        ({"max-far": True}, {}, "must be a number"),
        ({"max-far": [1]}, {}, "must be a number"),
        ({"max-far": -0.1}, {}, "not negative"),
        ({"max-opis": float("nan")}, {}, "finite"),
        ({"max-class-frr": 1.5}, {}, "between 0 and 1"),
        ({}, {"max_opis_increase": "x%", "baseline": "old"}, "max_opis_increase.*5%"),
        ({}, {"max_recall_drop": "0.1"}, "max_recall_drop is against a baseline"),
        ({"max-opis": 1, "confidence": 95}, {}, "confidence is 95"),
        ({"max-opis": 1, "confidence": "high"}, {}, "confidence is 'high'"),
        ({"max-opis": 1}, {"confidence": 1.0}, "confidence is 1.0"),
        ({"max-opis": 1, "baseline": 3}, {}, "folder of a run"),
    ],
)
def test_unusable_demands_are_refused_by_name(table, flags, says):
    with pytest.raises(SettingsError, match=says):
        read_demands(table, flags)


def test_every_line_of_the_example_works():
    live = read_demands(tomllib.loads(starter(None))["gate"], {})
    starting = {"max-far": 0.01, "max-frr": 0.5, "min-recall-at-1": 0.85}
    assert amounts(live) == {name: (amount, False) for name, amount in starting.items()}
    # All keys at once: comments that hold a key lose their mark.
    text = re.sub(r"^# (?=[a-z0-9-]+ = )", "", starter(None), flags=re.M)
    every = read_demands(tomllib.loads(text)["gate"], {})
    assert set(amounts(every)) == {rule.name for rule in RULES}
    assert (every.baseline, every.confidence) == ("runs/last", 0.95)
    assert every.threshold == "threshold.json"


def test_the_example_keeps_what_a_file_holds(tmp_path):
    file = tmp_path / "opis.toml"
    file.write_text("beta = 2.0\n")
    write_gate_example(file, starter(None))
    content = tomllib.loads(file.read_text())
    assert content["beta"] == 2.0 and content["gate"]["max-far"] == 0.01
    with pytest.raises(SettingsError, match=r"\[gate\] already"):
        write_gate_example(file, starter(None))
    assert tomllib.loads(file.read_text()) == content


def test_a_rate_may_be_a_percentage():
    demands = read_demands({"max-far": "1%", "min-recall-at-1": 0.9}, {})
    assert amounts(demands) == {"max-far": (0.01, False), "min-recall-at-1": (0.9, False)}
