"""Models beside one another: the table, the changes, the front, the pictures."""

import json

import data
import numpy as np
import pytest
from matplotlib.collections import LineCollection
from rich.console import Console

import opis_cli as opis
from opis_cli.errors import SettingsError
from opis_cli.judging.changes import class_changes, pareto_front
from opis_cli.judging.models import compare, model_names
from opis_cli.render import comparison_plots
from opis_cli.render.terminal.gate import comparison
from opis_cli.scoring.opis import SCALES
from opis_cli.text import number

PATHS = ["runs/base", "runs/tcm", "runs/a=b"]


@pytest.fixture(scope="module")
def runs():
    return [opis.evaluate(*data.blobs(600, 12, spread=spread)) for spread in (0.8, 0.7, 0.9)]


@pytest.fixture(scope="module")
def found(runs):
    return compare(runs, PATHS, sizes=["base=64", "a=b=8"], twins=["base=tcm"], replicates=100)


def test_figures_are_those_of_the_reports_and_changes_are_from_the_first(runs, found):
    for run, model in zip(runs, found.models, strict=True):
        assert (model.recall_at_1, model.opis) == (run.report.recall_at_1, run.report.opis)
        assert model.opis_by == run.report.opis_by
        assert model.frr_at_max_far == run.report.recommendation.at_max_far.frr
    assert [model.name for model in found.models] == ["base", "tcm", "a=b"]
    assert [model.size for model in found.models] == [64.0, None, 8.0]
    assert found.twins == (("base", "tcm"),)
    for run, one in zip(runs[1:], found.differences, strict=True):
        changes = {change.name: change for change in one.changes}
        scales = {f"{name}_{scale}" for name in ("opis", "eps_opis") for scale in SCALES}
        names = {"recall_at_1", "opis", "eps_opis", "threshold", "frr_at_max_far"}
        assert set(changes) == names | scales
        by, base = run.report.opis_by, runs[0].report.opis_by
        for scale in SCALES:
            change = changes[f"opis_{scale}"]
            assert change.change == pytest.approx(getattr(by, scale).opis - change.base)
            assert change.base == getattr(base, scale).opis
            assert change.interval[0] <= change.change <= change.interval[1]
        change = changes["opis"]
        assert change.change == pytest.approx(run.report.opis - runs[0].report.opis)
        assert change.relative == pytest.approx(change.change / runs[0].report.opis)
        assert change.interval[0] <= change.change <= change.interval[1]


def test_classes_that_gained_and_lost_most_are_by_their_mean_utility(runs, found):
    old, new = (run.classes().set_index("class")["mean_utility"] for run in runs[:2])
    change = (new - old).sort_values()
    lost = [one.class_name for one in found.differences[0].lost]
    gained = [one.class_name for one in found.differences[0].gained]
    assert lost == change[change < 0].index[:10].tolist()
    assert gained == change[change > 0].index[::-1][:10].tolist()
    few = opis.evaluate(*data.blobs(500, 10))
    assert {one.class_name for one in class_changes(few, runs[0])} == set(range(10))


def test_the_front_by_hand():
    #        best error, best OPIS, beaten, equal to the first, undefined
    errors = [0.1, 0.3, 0.3, 0.1, 0.05]
    values = [0.5, 0.2, 0.6, 0.5, None]
    assert pareto_front(errors, values) == [True, True, False, True, False]
    assert pareto_front([0.2, 0.1], [0.1, 0.1]) == [False, True]


def test_names():
    assert model_names(["a/x", "b/y/"]) == ["x", "y"]
    assert model_names(["a/x", "b/x", "b/y"]) == ["a/x", "b/x", "y"]
    # Suffixes of embeddings go, where names stay distinct; those of folders and versions do not.
    assert model_names(["a/x.parquet", "y.NPY", "z.npz/", "v1.2"]) == ["x", "y", "z", "v1.2"]
    assert model_names(["a/x.parquet", "a/x.npz", "a/y.npz"]) == ["x.parquet", "x.npz", "y"]
    assert model_names(["a/x.parquet", "runs/x"]) == ["x.parquet", "x"]
    assert model_names(["a/x.npy", "b/x.npy", "b/.npy"]) == ["a/x", "b/x", ".npy"]
    assert model_names(["a/x.npy", "a/x.npz", "b/x.npy"]) == ["a/x.npy", "x.npz", "b/x"]
    with pytest.raises(SettingsError, match="twice"):
        model_names(["a/x", "a/x"])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"sizes": ["none=3"]}, "sizes: no model is called 'none'; they are base, tcm"),
        ({"sizes": ["base=big"]}, "'big' is no number"),
        ({"twins": ["base=none"]}, "twins: no model is called 'none'"),
        ({"twins": ["base"]}, "twins"),
        ({"confidence": 95}, "confidence"),
    ],
)
def test_what_cannot_be_used_is_refused(runs, given, says):
    with pytest.raises(SettingsError, match=says):
        compare(runs[:2], PATHS[:2], **given)


def test_runs_of_other_settings_do_not_compare(runs):
    for settings, says in (({"eps": 0.2}, "eps"), ({"max_far": 0.1}, "max-far")):
        other = opis.evaluate(*data.MADE["blobs"], **settings)
        with pytest.raises(SettingsError, match=f"runs/base and runs/tcm do not compare: {says}"):
            compare([runs[0], other], PATHS[:2])
    with pytest.raises(SettingsError, match="at least two"):
        compare(runs[:1], PATHS[:1])


def test_curves_are_side_by_side_on_the_same_axes(runs, found):
    figure = comparison_plots.draw(runs, found)
    panels = [panel for panel in figure.axes if panel.get_visible()]
    assert len(panels) == 3 and len({panel.get_xlim() for panel in panels}) == 1
    for run, panel in zip(runs, panels, strict=True):
        curves = [c for c in panel.collections if isinstance(c, LineCollection)]
        assert sum(len(c.get_segments()) for c in curves) == len(run.consistency.classes)
    labels = {line.get_label(): line for line in panels[1].lines}
    own = {line.get_label(): line for line in panels[0].lines}["mean of the classes"]
    assert np.array_equal(labels["mean of the first"].get_ydata(), own.get_ydata())


def test_the_pareto_figure_marks_front_sizes_and_twins(runs, found):
    (axes,) = comparison_plots.draw(runs, found, "pareto").axes
    lines = {line.get_label(): line for line in axes.lines}
    best = found.models[1]
    place = 1 - best.recall_at_1, best.opis
    assert place in list(zip(*lines["Pareto front"].get_data(), strict=True))
    twin = np.array(lines["base to its remedied twin"].get_data())
    assert (
        np.allclose(twin[:, 1], place) and lines["base to its remedied twin"].get_linestyle() == ":"
    )
    areas = [float(points.get_sizes()[0]) for points in axes.collections]
    assert areas[0] / areas[2] == pytest.approx(64 / 8)
    assert {"base (64)", "tcm", "a=b (8)"} <= {text.get_text() for text in axes.texts}


def test_long_names_fold_and_figures_stay_whole(runs, capsys):
    found = compare(runs[:2], [f"{'a/' * 20}{name}/model.npy" for name in "xy"], replicates=10)
    Console(width=80).print(comparison(found, runs[0].report))
    told = capsys.readouterr().out
    table = told.partition("\n\n")[0]
    for model in found.models:
        assert number(model.opis) in table and number(model.threshold) in table


def test_the_command(runs, cli, tmp_path):
    vectors, labels = data.blobs(500, 10)
    for run, name in zip([*runs, opis.evaluate(vectors, labels)], "abcd", strict=True):
        run.save(tmp_path / name)
    done = cli("compare", "a", "b", "c", "--plot", "p.svg", "--pareto", "q.png", "--twin", "a=b")
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["model", "R@1", "OPIS", "10%-OPIS", "threshold", "FRR@FAR", "1", "%", "Pareto"] in lines
    change = [" ".join(line) for line in lines if line[:1] == ["OPIS"]]
    # The second model is better and the third worse; lower is better.
    assert "↓ better" in change[0] and "↑ worse" in change[1]
    scales = [line for line in done.stdout.splitlines() if line.startswith("OPIS,")]
    assert len(scales) == 4 and all("better" in line or "worse" in line for line in scales)
    assert "Classes that gained most" in done.stdout
    assert (tmp_path / "p.svg").read_text().startswith("<?xml")
    assert (tmp_path / "q.png").read_bytes().startswith(b"\x89PNG")
    told = json.loads(cli("compare", "a", "b", "--json").stdout)
    assert [model["name"] for model in told["models"]] == ["a", "b"]
    other = cli("compare", "a", "d").stdout
    assert "not the same" in other and "interval" not in other.split("!")[0]
    for words in (["a"], ["a", "none"], ["a", "b", "--plot", "p.gif"], []):
        assert cli("compare", *words).returncode == 2
