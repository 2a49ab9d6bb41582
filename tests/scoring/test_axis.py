"""Curves over the whole axis where pairs are many, against brute force in float64."""

import dataclasses
import tracemalloc

import data
import numpy as np
import pytest
from matplotlib.collections import LineCollection

import opis_cli as opis
import opis_cli.counting.grid
from opis_cli.counting.counts_file import load_counts, save_counts
from opis_cli.counting.sizes import Sizes
from opis_cli.judging.models import compare
from opis_cli.render import comparison_plots
from opis_cli.render.axes import BAND_OPACITY
from opis_cli.render.plots import draw
from opis_cli.report.curves_table import curves_table
from opis_cli.scoring import axis, curves
from opis_cli.scoring.axis import exact_to, over_whole_axis

ROWS, CLASSES = 6_600, 60
LEVEL = 0.0005
"""Utilities that an estimate does not tell apart."""


@pytest.fixture(scope="module")
def run():
    """More than 20 million pairs, with classes of unlike spread in families of unlike size."""
    vectors, labels = data.blobs(ROWS, CLASSES, 8, seed=3)
    family = np.array([0] * 6 + [1] * 14 + [2] * 40)[labels]
    vectors += 2.5 * np.random.default_rng(0).standard_normal((3, 8))[family]
    found = opis.evaluate(vectors, labels)
    return found, vectors.astype(np.float64), labels


@pytest.fixture(scope="module")
def brute(run):
    """FAR and FRR of every class at the thresholds beyond the window and at some in it, by
    threshold: three arrays, (P,), (K, P) and (K, P)."""
    found, vectors, labels = run
    grid = found.counts.grid
    at = np.r_[np.arange(0, grid.window, 50), np.arange(grid.window, len(grid.thresholds))]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    far, frr = np.empty((CLASSES, len(at))), np.empty((CLASSES, len(at)))
    for k in range(CLASSES):
        own = labels == k
        cells = np.searchsorted(grid.thresholds[at], 1 - unit[own] @ unit[~own].T)
        counts = np.bincount(cells.ravel(), minlength=len(at) + 1)
        far[k] = np.cumsum(counts)[:-1] / cells.size
        one, two = np.triu_indices(own.sum(), 1)
        distances = 1 - np.einsum("nd,nd->n", unit[own][one], unit[own][two])
        frr[k] = 1 - np.searchsorted(np.sort(distances), grid.thresholds[at], "right") / len(one)
    return at, far, frr


def test_counts_by_class_lie_close_all_the_way(run, brute):
    found, (at, far, frr) = run[0], brute
    counts, whole = found.counts, found.whole
    window = counts.grid.window
    assert len(counts.grid.by_class) < len(counts.grid.thresholds)
    # Only the whole axis has estimates; what decides reads counts.
    assert counts.estimated is None and whole.estimated is not None
    assert np.array_equal(counts.impostor, whole.impostor[:, counts.grid.by_class])
    assert np.array_equal(counts.genuine, whole.genuine[:, counts.grid.by_class])
    assert not whole.estimated[counts.grid.by_class].any()
    pooled = counts.pooled_far
    assert np.count_nonzero(pooled[window:] <= 0.999) >= 64
    classes = np.arange(CLASSES)
    off = curves.class_far(whole, classes, at) - far
    exact = ~whole.estimated[at]
    # Families of unlike spread are the hardest set of ours: others are off by 0.24 % at most.
    assert np.abs(off[:, exact]).max() < 1e-4
    assert np.sqrt(np.mean(off[:, ~exact] ** 2)) < 0.006 and np.abs(off).max() < 0.05
    assert np.abs(curves.class_frr(whole, classes, at) - frr).max() < 1e-3
    # Together the classes accept what is accepted, each pair by both ends.
    shares = whole.impostor.sum(axis=0, dtype=np.int64) / (2 * counts.impostor_total)
    assert np.abs(shares - pooled).max() < 1e-3
    assert np.all(np.diff(whole.impostor.astype(np.int64), axis=1) >= 0)


def test_the_whole_axis_takes_little_memory_but_its_own(run, monkeypatch):
    """Counts by class at every threshold are most of a large run: no second copy stands by."""
    counts, own = run[0].counts, run[0].whole
    wide = dataclasses.replace(
        counts,
        **{
            name: np.tile(getattr(counts, name), (20, 1))
            for name in ("genuine", "impostor", "genuine_beyond")
        },
        sizes=np.tile(counts.sizes, 20),
    )
    monkeypatch.setattr(axis, "_CHUNK_VALUES", 4 * len(wide.sizes))
    tracemalloc.start()
    whole = over_whole_axis(wide)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    size = whole.impostor.nbytes + whole.genuine.nbytes
    assert peak < 1.15 * size
    assert np.array_equal(whole.impostor, np.tile(own.impostor, (20, 1)))


def lines(axes):
    return {str(one.get_label()).split(",")[0]: one for one in axes.lines if len(one.get_xdata())}


def brute_at(x, brute, run, values):
    """Brute force's values where a picture has points that it was worked out at."""
    places = np.searchsorted(run[0].counts.grid.thresholds, x)
    known = np.isin(places, brute[0])
    return known, values[..., np.searchsorted(brute[0], places[known])]


def test_pictures_show_the_curves_of_brute_force(run, brute):
    found, (_at, far, frr) = run[0], brute
    utility = curves.utility(far, frr, 1.0)
    thresholds = found.counts.grid.thresholds
    spacing = np.diff(thresholds[found.counts.grid.window :])[:-1].max()
    upper, lower = draw(found, "utility").axes
    mean = lines(upper)["mean of the classes"]
    x = np.asarray(mean.get_xdata())
    known, expected = brute_at(x, brute, run, utility.mean(axis=0))
    assert known.sum() > 64
    assert np.abs(np.asarray(mean.get_ydata())[known] - expected).max() < 0.002
    # Nothing is joined from further away than the thresholds lie apart, but for the edge.
    assert np.diff(x)[:-1].max() < 1.01 * spacing
    each = [c for c in upper.collections if isinstance(c, LineCollection)]
    assert sum(len(c.get_segments()) for c in each) == CLASSES
    drawn = np.concatenate([np.array(c.get_segments())[:, :, 1] for c in each])
    assert (
        np.abs(
            np.sort(drawn[:, known], axis=0) - np.sort(brute_at(x, brute, run, utility)[1], axis=0)
        ).max()
        < 0.05
    )
    assert any("estimated" in text.get_text() for text in upper.get_legend().get_texts())
    for axes, values, name in zip(
        draw(found, "rates").axes, (far, frr), ("FAR", "FRR"), strict=True
    ):
        mean = lines(axes)["mean of the classes"]
        known, expected = brute_at(np.asarray(mean.get_xdata()), brute, run, values.mean(axis=0))
        assert np.abs(np.asarray(mean.get_ydata())[known] - expected).max() < 0.002
        marked = [
            t.get_text() for t in axes.get_legend().get_texts() if "estimated" in t.get_text()
        ]
        assert bool(marked) == (name == "FAR")
    for band, rate in zip(
        (c for c in lower.collections if c.get_alpha() == BAND_OPACITY),
        (found.counts.pooled_far, found.counts.pooled_frr),
        strict=True,
    ):
        outline = band.get_paths()[0].vertices
        inside = (outline[:, 0] >= x[0]) & (outline[:, 0] <= x[-2])
        seen = (
            np.interp(thresholds, *_edge(outline[inside], np.minimum.reduceat)),
            np.interp(thresholds, *_edge(outline[inside], np.maximum.reduceat)),
        )
        shown = (thresholds >= x[0]) & (thresholds <= x[-2])
        assert np.all(seen[0][shown] <= rate[shown] + 2e-3)
        assert np.all(rate[shown] <= seen[1][shown] + 2e-3)


def _edge(outline, least):
    """The lower or the upper edge of a band."""
    order = np.argsort(outline[:, 0], kind="stable")
    x, starts = np.unique(outline[order, 0], return_index=True)
    return x, least(outline[order, 1], starts)


def test_models_side_by_side_reach_the_edge(run, brute):
    found = run[0]
    other = opis.evaluate(*data.MADE["blobs"])
    panel = comparison_plots.draw([found, other], compare([found, other], ["one", "other"])).axes[0]
    mean = lines(panel)["mean of the classes"]
    x, y = np.asarray(mean.get_xdata()), np.asarray(mean.get_ydata())
    assert x[-1] >= panel.get_xlim()[1] and panel.get_xlim()[1] > exact_to(found.whole)
    expected = curves.utility(brute[1], brute[2], 1.0).mean(axis=0)
    known, expected = brute_at(x, brute, run, expected)
    assert np.abs(y[known] - expected).max() < 0.002


def test_tables_say_what_is_estimated(run, brute):
    found, (at, far, frr) = run[0], brute
    table = curves_table(found)
    assert len(table) == len(found.counts.grid.thresholds)
    assert np.array_equal(table["estimated"], found.whole.estimated)
    assert np.abs(table["class_mean_far"].to_numpy()[at] - far.mean(axis=0)).max() < 0.002
    assert np.all((table["far_low"] <= table["far"]) & (table["far"] <= table["far_high"]))
    utility = curves.utility(far, frr, 1.0)
    classes = found.classes()
    beyond = classes["best_threshold"].to_numpy() > exact_to(found.whole)
    assert not classes["best_threshold_estimated"][~beyond].any()
    thresholds = found.counts.grid.thresholds
    places = np.searchsorted(thresholds, classes["best_threshold"])
    for k in np.flatnonzero(beyond):
        assert classes["best_threshold_estimated"][k] == found.whole.estimated[places[k]]
        # Right to the spacing of thresholds, or as good as the best one is.
        here, best = np.searchsorted(at, places[k]), utility[k].argmax()
        assert abs(here - best) <= 1 or utility[k, here] > utility[k, best] - LEVEL


def test_saved_counts_give_the_same_curves(run, tmp_path):
    save_counts(run[0].counts, tmp_path / "counts.npz")
    read = over_whole_axis(load_counts(tmp_path / "counts.npz"))
    assert np.array_equal(read.impostor, run[0].whole.impostor)
    assert np.array_equal(read.genuine, run[0].whole.genuine)


def test_many_classes_of_few_pairs_are_counted_everywhere():
    sizes = Sizes(small_counts=100_000)
    counts = data.evaluate(*data.blobs(800, 400, 8), sizes, engine="numpy").counts
    assert len(counts.grid.by_class) == len(counts.grid.thresholds)
    beyond = counts.pooled_far[counts.grid.window :]
    assert np.count_nonzero(beyond <= 0.999) >= 64
    assert len(beyond) <= 128
