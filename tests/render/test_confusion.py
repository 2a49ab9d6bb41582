"""The picture of confused classes: which classes, in which order, with which numbers."""

import dataclasses

import data
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import Rectangle

import opis_cli as opis
from opis_cli.errors import RunError, SettingsError
from opis_cli.render import fonts
from opis_cli.render.confusion import confusion
from opis_cli.render.pictures import save_figure
from opis_cli.render.sheet import FACTS, Look
from opis_cli.report.evidence import FOLDER, save_evidence


@pytest.fixture(scope="module")
def run():
    return opis.evaluate(*data.MADE["blobs"])


@pytest.fixture(scope="module")
def evidence(run):
    return run.explain()


def made(evidence, pairs, classes):
    """Evidence with these class pairs: (class, class, accepted, all, suggestion)."""
    columns = ["class_a", "class_b", "accepted", "pairs", "suggestion"]
    table = pd.DataFrame(pairs, columns=columns).sort_values(
        "accepted", ascending=False, kind="stable"
    )
    total = int(table["accepted"].sum())
    return dataclasses.replace(
        evidence,
        facts=dataclasses.replace(evidence.facts, false_accepts=total),
        class_pairs=table,
        rows=pd.DataFrame({"class": classes}),
    )


def drawn(figure):
    """The names from top to bottom, and the number of each pair of names."""
    axes = figure.axes[0]
    places = [
        (*text.get_position(), text.get_text()) for text in axes.texts if text.get_gid() != FACTS
    ]
    names = {int(y): text for x, y, text in places if abs(x - y) < 0.5 and int(x) == int(y)}
    cells = {
        frozenset((names[int(x)], names[int(y)])): text for x, y, text in places if int(x) != int(y)
    }
    return [names[place] for place in sorted(names)], cells


def facts(figure):
    """What stands below the title, on one line."""
    (text,) = [text for text in figure.axes[0].texts if text.get_gid() == FACTS]
    return " ".join(text.get_text().split())


def test_confused_classes_stand_together_with_their_numbers(evidence):
    # Two chains, whose classes are given in turn.
    pairs = [
        ("a1", "a2", 90, 100, None),
        ("b1", "b2", 80, 100, None),
        ("a2", "a3", 70, 100, "merge"),
        ("b2", "b3", 60, 100, None),
        ("a1", "b1", 1, 100, None),
        ("c", "d", 0, 100, "merge"),
    ]
    figure = confusion(made(evidence, pairs, list("abcdefgh")))
    names, cells = drawn(figure)
    together = "".join(name[0] for name in names)
    assert sorted(names) == ["a1", "a2", "a3", "b1", "b2", "b3"] and together in (
        "aaabbb",
        "bbbaaa",
    )
    # The middle of a chain is next to both of its ends.
    assert names.index("a2") in (1, 4) and names.index("b2") in (1, 4)
    assert cells == {frozenset(pair[:2]): str(pair[2]) for pair in pairs[:5]}
    frames = [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle)]
    assert {names[int(frames[0].get_x())], names[int(frames[0].get_y())]} == {"a2", "a3"}
    assert facts(figure).startswith("6 of 8 classes 100 % of all 301 false accepts")


def test_of_many_classes_the_most_confused_are_drawn_and_their_share_is_told(evidence):
    pairs = [(2 * k, 2 * k + 1, 1_000 - k, 2_000, None) for k in range(1_000)]
    figure = confusion(made(evidence, pairs, np.arange(2_000)))
    names, cells = drawn(figure)
    assert sorted(map(int, names)) == list(range(24)) and len(cells) == 12
    assert cells[frozenset("01")] == "1.0k" and cells[frozenset("23")] == "999"
    share = sum(1_000 - k for k in range(12)) / sum(1_000 - k for k in range(1_000))
    told = facts(figure)
    assert told.startswith(f"24 of 2,000 classes {100 * share:.3g} % of all")
    # A narrow picture has room for fewer.
    few = confusion(made(evidence, pairs, np.arange(2_000)), look=Look(3.3, font_size=8))
    assert 2 <= len(drawn(few)[0]) < 24


def test_two_classes_and_names_that_are_no_text_are_drawn(evidence, tmp_path, monkeypatch):
    hostile = ["$\\frac{", "\u202e😀\n漢字", "$a$_^", "W" * 300, 7]
    pairs = [(hostile[0], name, 10, 10, "merge") for name in hostile[1:]]
    monkeypatch.setattr(fonts, "_fallbacks", lambda: iter(()))
    with pytest.warns(UserWarning, match="no font here has 2 of the characters"):
        figure = confusion(made(evidence, pairs, hostile))
    save_figure(figure, tmp_path / "picture.png")
    names, _ = drawn(figure)
    assert set(names) == {"$\\frac{", "�😀�□□", "$a$_^", "W" * 19 + "…", "7"}
    width = figure.get_window_extent().width
    renderer = FigureCanvasAgg(figure).get_renderer()
    assert all(text.get_window_extent(renderer).x1 < width for text in figure.axes[0].texts)
    save_figure(confusion(made(evidence, pairs[1:2], hostile)), tmp_path / "two.svg")


def test_without_false_accepts_there_is_nothing_to_draw(evidence):
    with pytest.raises(SettingsError, match=r"no false accept at .*--threshold"):
        confusion(made(evidence, [("a", "b", 0, 4, "merge")], ["a", "b"]))


def test_a_run_draws_the_evidence_given_or_that_in_its_folder(run, evidence, tmp_path):
    title = facts(run.plot("confusion", evidence=evidence))
    assert f"all {evidence.facts.false_accepts:,} false accepts" in title
    with pytest.raises(RunError, match="evidence="):
        run.plot("confusion")
    run.save(tmp_path / "run")
    with pytest.raises(RunError, match=r"run `opis explain .*run` first"):
        opis.load_run(tmp_path / "run").plot("confusion")
    save_evidence(evidence, tmp_path / "run" / FOLDER)
    again = opis.load_run(tmp_path / "run").plot("confusion")
    assert facts(again) == title
    other = opis.evaluate(*data.blobs(300, 6, seed=1))
    with pytest.raises(RunError, match="of another run"):
        other.plot("confusion", evidence=evidence)


def test_the_command_draws_a_run_and_refuses_what_has_no_evidence(run, evidence, cli, tmp_path):
    run.save(tmp_path / "run")
    bare = cli("plot", "run", "--kind", "confusion")
    assert bare.returncode == 2 and "run `opis explain run` first" in bare.stderr
    source = cli("plot", data.SAMPLES / "wordnet.parquet", "--kind", "confusion")
    assert source.returncode == 2 and "opis explain RUN" in source.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["run"]
    save_evidence(evidence, tmp_path / "run" / FOLDER)
    done = cli("plot", "run", "--kind", "confusion")
    assert (done.returncode, done.stdout) == (0, "confusion plot written to confusion.png\n")
    assert (tmp_path / "confusion.png").read_bytes().startswith(b"\x89PNG")
