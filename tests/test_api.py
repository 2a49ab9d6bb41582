"""The Python API: signatures that complete, runs in notebooks, the gate, comparisons, tables."""

import dataclasses
import inspect
import re
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

import data
import numpy as np
import pandas as pd
import pytest

import opis_cli as opis
from opis_cli.errors import RunError, SettingsError
from opis_cli.judging.gate import judge
from opis_cli.judging.limits import RULES, read_demands
from opis_cli.render.comparison_plots import draw
from opis_cli.scoring import curves
from opis_cli.scoring.operating import rates_at
from opis_cli.scoring.who_pays import who_pays
from opis_cli.settings import ABOUT, Settings

HOSTILE = "<script>alert('x')</script>"
OWN = ("source", "labels", "columns", "gallery")
"""Parameters of ``evaluate`` that take arrays too."""


@pytest.fixture(scope="module")
def runs():
    """Two models of the same rows."""
    return [opis.evaluate(*data.blobs(400, 8, spread=spread)) for spread in (0.8, 1.0)]


def documented(function):
    """The names that a numpydoc docstring describes as parameters."""
    (section,) = re.findall(r"Parameters\n-+\n(.*?)\n\n\w+\n-+", inspect.getdoc(function), re.S)
    heads = re.findall(r"^(\w[\w, ]*?)(?: : .*)?$", section, re.M)
    return [name for head in heads for name in head.split(", ")]


NUMBERS = ("threshold", "memory_limit", "time_limit")
"""Settings that are texts, and may be given as numbers."""


def test_evaluate_has_every_setting_with_its_type_and_default_and_describes_it():
    parameters = inspect.signature(opis.evaluate).parameters
    assert set(parameters) - set(OWN) == set(ABOUT) - {"labels", "gallery"}
    hints, given = get_type_hints(Settings), get_type_hints(opis.evaluate)
    for field in dataclasses.fields(Settings):
        if field.name in OWN:
            continue
        assert parameters[field.name].default == field.default, field.name
        assert parameters[field.name].kind is inspect.Parameter.KEYWORD_ONLY
        # A person may also give a number or a path where the setting is a text.
        wider = {int, float, Path} if field.name in NUMBERS else {Path}
        own, here = (set(_parts(hint[field.name])) for hint in (hints, given))
        assert own <= here and here - own <= wider, field.name
    assert documented(opis.evaluate) == list(parameters)


def _parts(hint):
    if hint in (str, int, float, bool) or get_origin(hint) is Literal:
        return (hint,)
    return [part for arg in get_args(hint) for part in _parts(arg) or (arg,)] or (hint,)


def test_gate_has_every_limit_and_describes_it():
    parameters = inspect.signature(opis.Run.gate).parameters
    others = {"self", "baseline", "threshold", "confidence", "family", "evidence", "seed"}
    assert set(parameters) - others == {rule.field for rule in RULES}
    assert sorted(documented(opis.Run.gate)) == sorted(set(parameters) - {"self"})


def test_an_unknown_keyword_is_refused():
    with pytest.raises(TypeError, match="max_fra"):
        opis.evaluate(*data.MADE["blobs"], max_fra=0.1)


def test_a_run_has_a_short_repr_and_compares_and_hashes(runs, saved):
    text = repr(runs[0])
    chosen = runs[0].report.recommendation
    assert len(text) < 160 and f"distance <= {chosen.threshold}" in text and "8 classes" in text
    assert runs[0] == runs[0] and runs[0] != runs[1] and len({*runs, runs[0]}) == 2
    assert runs[0].counts == runs[0].counts and runs[0].counts != runs[1].counts
    assert opis.load_run(saved) != 1
    reports = {run.report for run in runs} | {opis.load_run(saved).report}
    assert len(reports) == 3 and len({run.gate(max_opis=1) for run in runs}) == 2
    none = opis.evaluate(*data.MADE["blobs"], max_far=1e-3, max_frr=1e-3)
    assert "no threshold meets the bounds" in repr(none) and "none" in none._repr_html_()


def test_a_notebook_shows_summary_and_picture_and_no_name_is_markup():
    vectors, labels = data.blobs(200, 4)
    names = np.array([f"{HOSTILE} a & b \u202e{name}" for name in "1ö漢א"], object)[labels]
    run = opis.evaluate(vectors, names)
    run = dataclasses.replace(
        run,
        report=dataclasses.replace(
            run.report, source=dataclasses.replace(run.report.source, path=f"d/{HOSTILE}.npy")
        ),
    )
    html = _html(run)
    assert "<script" not in html and "\u202e" not in html and "a &amp; b" in html
    assert "&lt;script&gt;alert" in html and "data:image/png;base64,iVBOR" in html
    chosen = run.report.recommendation
    assert f"cosine distance ≤ {chosen.threshold}" in html
    assert f"{chosen.accepted_impostors:,} of {run.report.pairs.impostor:,}" in html
    at = rates_at(run.counts, chosen.threshold, run.settings.beta)
    paying = who_pays(run.counts, at.class_far_at, at.class_frr_at, 3)
    assert paying.rejected and paying.accepted
    for one in paying.rejected:
        assert f"<td><bdi>{one.rejected:,} of {one.genuine:,}</bdi></td>" in html
    for one in paying.accepted:
        assert f"<td><bdi>{one.accepted:,} of {one.impostor:,}</bdi></td>" in html


def test_a_notebook_sets_apart_classes_with_too_few_pairs_and_prices_each_bound():
    vectors, labels = data.blobs(200, 4, spread=1.2)
    labels = np.where(np.arange(200) < 3, "three", labels.astype(str))
    html = _html(opis.evaluate(vectors, labels))
    assert "Too few pairs to judge (under 20): 1 class." in html and "three" not in html
    none = opis.evaluate(vectors, labels, max_far=1e-3, max_frr=1e-3)
    price = none.report.recommendation.at_max_far
    assert "FAR ≤ 0.1 % alone" in _html(none)
    assert f"<bdi>{price.threshold}</bdi>" in _html(none)


def _html(run):
    """The page of a run, with or without a font for its names here."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return run._repr_html_()


def test_gate_judges_as_the_function_does(runs, tmp_path):
    new, old = runs[1], runs[0]
    limits = {"max_far": 0.02, "max_opis": 1e-9, "max_opis_increase": "5%"}
    verdict = new.gate(baseline=old, threshold=0.5, **limits)
    demands = read_demands({}, limits | {"baseline": "arrays"})
    expected = judge(new, demands, baseline=old, threshold="0.5")
    assert not verdict.passed and verdict.checks == expected.checks
    assert {check.name for check in verdict.failed} >= {"max-opis"}
    assert new.gate(max_opis=1).passed
    old.save(tmp_path / "old")
    stored = new.gate(baseline=tmp_path / "old", threshold=0.5, **limits)
    assert stored.checks == verdict.checks and stored.baseline.path.endswith("old")
    with pytest.raises(SettingsError, match="no limit"):
        new.gate(baseline=old)


def test_what_python_reads_names_no_options_of_the_command_line():
    run = opis.evaluate(*data.blobs(60, 3), max_far=0.02)
    by_construction = run.gate(max_far=0.5)
    assert "(threshold)" in by_construction.notes[0] and "--" not in by_construction.notes[0]
    none = opis.evaluate(*data.blobs(60, 3, spread=2.0), max_far=1e-3, max_frr=1e-3)
    (check,) = none.gate(max_far=0.5).checks
    assert check.remark.endswith("no threshold; give threshold")
    vectors, labels = data.blobs(60, 3)
    html = _html(opis.evaluate(vectors, np.where(labels == 0, -1, labels)))
    assert "ignore_label -1" in html and "--" not in html


def test_curves_of_classes_are_theirs(runs):
    run = runs[0]
    pooled, table = run.curves(), run.curves(by_class=True)
    assert list(table) == ["class", "threshold", "far", "frr", "utility", "estimated"]
    classes, columns = run.consistency.classes, curves.all_columns(run.whole)
    assert len(table) == len(classes) * len(pooled)
    own = table[table["class"] == run.counts.class_names[classes[2]]]
    assert np.array_equal(own["threshold"], pooled["threshold"])
    expected = curves.class_utility(run.whole, 1.0, classes[[2]], columns)[0]
    assert np.array_equal(own["utility"], expected)
    assert np.allclose(table.groupby("threshold")["frr"].mean(), pooled["class_mean_frr"])


def test_export_writes_the_curves(runs, tmp_path):
    runs[0].export(tmp_path / "curves.parquet")
    written = pd.read_parquet(tmp_path / "curves.parquet")
    pd.testing.assert_frame_equal(written, runs[0].curves())
    with pytest.raises(RunError, match=r"^/.*curves.txt: tables are .parquet or .csv"):
        runs[0].export(tmp_path / "curves.txt")


def test_compare_has_tables_and_pictures(runs, tmp_path):
    runs[0].save(tmp_path / "old")
    found = opis.compare([tmp_path / "old", runs[1]], confidence=0.9)
    table, changes = found.table(), found.changes()
    assert list(table.index) == ["old", "arrays"] and repr(found) == "<Comparison of old, arrays>"
    assert table["opis"].tolist() == [run.report.opis for run in runs]
    opis_change = changes.set_index("figure").loc["opis"]
    assert opis_change["change"] == pytest.approx(table["opis"].diff().iloc[1])
    assert opis_change["low"] <= opis_change["change"] <= opis_change["high"]
    named = opis.compare(runs, [HOSTILE, "b"])
    assert "<script" not in named._repr_html_() and hash(named) and named == named
    assert opis.compare(runs).table().index.tolist() == ["arrays 1", "arrays 2"]
    with pytest.raises(SettingsError, match="at least two"):
        opis.compare(runs[:1])


@pytest.fixture(scope="module")
def compared(runs):
    return opis.compare(runs, ["$a$", "b"])


@pytest.mark.parametrize("kind", ["det", "roc"])
def test_several_runs_share_one_panel_of_error_curves(runs, compared, kind):
    found = compared
    figure = found.plot(kind, width="3.3in", title="Both")
    (axes,) = figure.axes
    assert figure.get_size_inches()[0] == pytest.approx(3.3)
    for run, name in zip(runs, ("$a$", "b"), strict=True):
        (line,) = [one for one in axes.lines if str(one.get_label()).startswith(f"{name}, EER")]
        half = 0.5 / run.counts.genuine_total
        frr = np.clip(run.counts.pooled_frr, half, 1 - half)
        assert np.allclose(line.get_ydata(), frr if kind == "det" else 1 - frr)
    styles = {line.get_linestyle() for line in axes.lines if "EER" in str(line.get_label())}
    assert len(styles) == 2
    assert found.plot(kind, ax=axes) is figure
    with pytest.raises(SettingsError, match="at most 8 runs"):
        draw([runs[0]] * 9, found.figures, kind)
    with pytest.raises(SettingsError, match="the kinds are utility, det, roc, pareto"):
        found.plot("pie")
