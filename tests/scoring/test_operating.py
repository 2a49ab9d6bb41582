"""Rates at a threshold between those of the grid never flatter; on the grid they are exact."""

import data
import numpy as np
import oracle
import pytest

import opis_cli as opis
from opis_cli.scoring.operating import rates_at


@pytest.fixture(scope="module")
def coarse():
    """A run with few thresholds, many pairs between them, and counts by class at still fewer."""
    run = opis.evaluate(*data.MADE["blobs"])
    counts, kept = run.counts, np.arange(0, len(run.counts.grid.thresholds), 40)
    kept = np.append(kept, len(counts.grid.thresholds) - 1)
    grid = type(counts.grid)(
        counts.grid.thresholds[kept],
        len(kept),
        np.append(np.arange(0, len(kept) - 1, 3), len(kept) - 1),
    )
    by_class = kept[grid.by_class]
    names = {"genuine": counts.genuine[:, by_class], "impostor": counts.impostor[:, by_class]}
    pooled = {
        f"{of}_{kind}": getattr(counts, f"{of}_{kind}")[kept]
        for of in ("pooled", "borderline")
        for kind in ("genuine", "impostor")
    }
    fields = {name: getattr(counts, name) for name in counts.__dataclass_fields__}
    return type(counts)(**fields | names | pooled | {"grid": grid})


def test_between_thresholds_rates_bound_the_true_ones_and_name_their_places(coarse):
    vectors, labels = data.MADE["blobs"]
    thresholds, by_class = coarse.grid.thresholds, coarse.grid.class_thresholds
    places = np.random.default_rng(0).uniform(thresholds[2], thresholds[-2], 40)
    truth = oracle.rates_and_utility(vectors, labels, places)
    for i, at in enumerate(places):
        found = rates_at(coarse, float(at), 1.0)
        assert not found.exact and not found.classes_exact
        # A distance is rounded to about 1e-6, and none lies that close to these thresholds.
        assert found.far >= truth.pooled_far[i] and found.frr >= truth.pooled_frr[i]
        assert np.all(found.classes.far >= truth.far[:, i] - 1e-12)
        assert np.all(found.classes.frr >= truth.frr[:, i] - 1e-12)
        assert found.far_at == thresholds[thresholds >= at].min()
        assert found.frr_at == thresholds[thresholds <= at].max()
        assert found.class_far_at == by_class[by_class >= at].min()
        assert found.class_frr_at == by_class[by_class <= at].max()


def test_on_the_grid_rates_are_those_of_the_report():
    run = opis.evaluate(*data.MADE["blobs"], threshold="0.5")
    found = rates_at(run.counts, 0.5, 1.0)
    deployed = run.report.deployed
    assert found.exact and found.classes_exact
    assert (found.far, found.frr) == (deployed.far, deployed.frr)
    assert found.classes.far.mean() == pytest.approx(deployed.class_mean_far)


def test_outside_the_grid(coarse):
    beyond = rates_at(coarse, 5.0, 1.0)
    assert (beyond.far, beyond.frr, beyond.exact) == (1.0, 0.0, True)
    # A grid that begins above 0: below it, nothing is surely accepted.
    grid = type(coarse.grid)(
        coarse.grid.thresholds + np.linspace(0.1, 0, len(coarse.grid.thresholds)),
        coarse.grid.window,
        coarse.grid.by_class,
    )
    fields = {name: getattr(coarse, name) for name in coarse.__dataclass_fields__}
    below = rates_at(type(coarse)(**fields | {"grid": grid}), 0.05, 1.0)
    assert (below.frr, below.frr_at, below.class_frr_at) == (1.0, None, None)
    assert np.all(below.classes.frr == 1.0)
