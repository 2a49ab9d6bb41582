"""Pictures show the numbers they are of, whatever the classes are called."""

import contextlib

import data
import numpy as np
import pytest
from matplotlib.collections import LineCollection

import opis_cli as opis
from opis_cli.errors import RunError, SettingsError
from opis_cli.render import fonts
from opis_cli.render.pictures import save_figure
from opis_cli.render.plots import FROM_EVIDENCE, FROM_GROUPS, KINDS, draw
from opis_cli.scoring import curves


def drawn(axes, label):
    """The line with a label that begins so."""
    return next(line for line in axes.lines if str(line.get_label()).startswith(label))


def test_utility_shows_the_curves(small):
    upper, lower = draw(small, "utility").axes
    x, y = drawn(upper, "mean of the classes").get_data()
    columns = np.searchsorted(small.counts.grid.class_thresholds, x)
    classes = small.consistency.classes
    assert np.allclose(y, curves.mean_utility(small.counts, 1.0, classes, columns))
    x, y = drawn(upper, "mean of the worst").get_data()
    worst = small.consistency.worst
    assert np.allclose(y, curves.mean_utility(small.counts, 1.0, worst, columns))
    curves_drawn = [c for c in upper.collections if isinstance(c, LineCollection)]
    assert sum(len(c.get_segments()) for c in curves_drawn) == len(classes)
    assert np.array_equal(drawn(lower, "FAR").get_ydata(), small.counts.pooled_far)
    assert np.array_equal(drawn(lower, "FRR").get_ydata(), small.counts.pooled_frr)
    assert lower.get_yscale() == "log"
    for axes in (upper, lower):
        marked = drawn(axes, "recommended").get_xdata()
        assert set(marked) == {small.report.recommendation.threshold}


def test_curves_have_intervals(small):
    from opis_cli.render.axes import columns_of_bands
    from opis_cli.statistics.jackknife import spread

    (roc,) = draw(small, "roc").axes
    x, y = drawn(roc, "ROC curve").get_data()
    assert np.array_equal(y, 1 - small.counts.pooled_frr)
    assert np.all(x >= small.counts.pooled_far)
    low, high = spread(small.counts, "frr", columns_of_bands(small.counts)).limits()
    half = 0.5 / small.counts.genuine_total
    for kind in ("roc", "det"):
        (axes,) = draw(small, kind).axes
        edge = next(c for c in axes.collections if "of the FRR" in str(c.get_label()))
        drawn_at = edge.get_paths()[0].vertices[:, 1]
        ends = np.clip([low, high], half, 1 - half)
        for value in (1 - ends if kind == "roc" else ends)[:, ::20].ravel():
            assert np.isclose(drawn_at, value).any()
    upper, lower = draw(small, "utility").axes
    for axes, label in ((upper, "95 % interval of the mean"), (lower, "95 % intervals")):
        assert any(str(c.get_label()) == label for c in axes.collections)


def test_histogram_is_a_density(small):
    (axes,) = draw(small, "histogram").axes
    for stairs in axes.patches:
        values, edges, _ = getattr(stairs, "get_data", lambda: (None, None, None))()
        if values is not None:
            assert np.sum(values * np.diff(edges)) == pytest.approx(1.0)


RUNS = {
    "feasible": lambda: opis.evaluate(*data.MADE["blobs"]),
    "infeasible": lambda: opis.evaluate(*data.MADE["blobs"], max_far=1e-3, max_frr=1e-3),
    "deployed": lambda: opis.evaluate(*data.MADE["blobs"], threshold="0.4", metric="euclidean"),
    "one_class_with_a_curve": lambda: opis.evaluate(
        data.blobs(30, 3)[0], [0] * 10 + list(range(1, 21))
    ),
    "one_genuine_pair": lambda: opis.evaluate(
        data.blobs(7, 2, 3)[0], [0, 0, 1, 2, 3, 4, 5], calibration="distance:0.1..1.5", max_far=0.3
    ),
    "worse_than_chance": lambda: opis.evaluate(
        np.eye(3)[[0, 1, 0, 1, 2, 0]] + 0.01, [0, 0, 1, 1, 2, 3], calibration="distance:0.1..1.5"
    ),
    "two": lambda: opis.evaluate(*data.MADE["two_classes"]),
    "hostile_names": lambda: opis.evaluate(
        data.blobs(200, 4)[0],
        np.array(["$\\frac{", "\u202e😀\n漢字", "x" * 300, "_$a$_^"], object)[
            data.blobs(200, 4)[1]
        ],
    ),
}


@pytest.mark.parametrize("case", RUNS)
def test_every_kind_draws_and_saves(case, tmp_path, monkeypatch):
    run = RUNS[case]()
    # As where no font but matplotlib's own is there.
    monkeypatch.setattr(fonts, "_fallbacks", lambda: iter(()))
    for kind in set(KINDS) - {*FROM_EVIDENCE, *FROM_GROUPS}:
        boxes = case == "hostile_names" and kind in ("utility", "rates", "classes")
        with pytest.warns(UserWarning, match="no font") if boxes else contextlib.nullcontext():
            figure = draw(run, kind)
        save_figure(figure, tmp_path / f"{kind}.png")
        assert (tmp_path / f"{kind}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("suffix", "begins"), [("svg", b"<?xml"), ("pdf", b"%PDF"), ("PNG", b"\x89")]
)
def test_the_suffix_chooses_the_format(small, suffix, begins, tmp_path):
    save_figure(small.plot(), tmp_path / f"deep/er/plot.{suffix}")
    assert (tmp_path / f"deep/er/plot.{suffix}").read_bytes().startswith(begins)
    assert [file.name for file in (tmp_path / "deep/er").iterdir()] == [f"plot.{suffix}"]


def test_what_cannot_be_drawn_is_refused(small, tmp_path):
    with pytest.raises(SettingsError, match="utility, rates, det, roc, histogram, classes"):
        draw(small, "pie")
    with pytest.raises(RunError, match=r"\.png, \.svg, \.pdf"):
        save_figure(small.plot(), tmp_path / "plot.gif")


def test_notebooks_show_a_figure(small):
    assert small.plot()._repr_png_().startswith(b"\x89PNG")


def test_classes_are_drawn_at_the_deployed_threshold_and_said_so():
    run = opis.evaluate(*data.MADE["blobs"], threshold=0.7)
    (axes,) = draw(run, "classes").axes
    assert axes.get_xlabel() == "FAR of the class at the deployed 0.7"
    points = np.concatenate([c.get_offsets() for c in axes.collections])
    table = run.classes()
    # A FAR of 0 has a place of its own on these axes; none is so here.
    assert table["deployed_far"].min() > 0
    drawn_far = np.sort([*points[:, 0]])
    assert np.isin(drawn_far.round(9), table["deployed_far"].round(9)).all()
    assert not np.isin(drawn_far.round(9), table["far"].round(9)).any()


@pytest.mark.parametrize("panels", [1, 2])
def test_the_picture_of_likelihood_ratios(panels, small):
    run = small
    if panels == 1:  # no class has all pairs of its rows, so none is held out
        vectors, labels = data.MADE["blobs"]
        run = opis.evaluate(vectors[:300], labels[:300], gallery=(vectors[300:], labels[300:]))
    figure = draw(run, "calibration")
    assert len(figure.axes) == panels
    upper = {line.get_label(): line for line in figure.axes[0].lines}
    made = run.report.llr.map
    (bold,) = (name for name in upper if "in threshold.json" in name)
    assert ("PAV" in bold) == (made.method == "pav")
    x, llrs = upper[bold].get_data()
    np.testing.assert_allclose(llrs, made.at(x), rtol=1e-9)
    (other,) = ({"logistic regression", "isotonic (PAV)"} & set(upper)) - {bold}
    assert upper[bold].get_linewidth() > upper[other].get_linewidth()
    labels = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert {"1", "10", "1/10"} <= set(labels) or {"1", "100", "1/100"} <= set(labels)
    if panels == 2:
        lower = {line.get_label(): line for line in figure.axes[1].lines}
        for part in (lower["5 folds of\nheld-out classes"], lower["one fold"]):
            ratios = part.get_ydata()
            assert (np.diff(part.get_xdata()) > 0).all() and (np.diff(ratios) >= 0).all()
            assert ratios[0] < -1 < 1 < ratios[-1]
