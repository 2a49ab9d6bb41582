"""Which map is deployed, and its cost on classes that it was not fitted on."""

import functools
import operator

import data
import numpy as np
import pytest

import opis_cli as opis
from opis_cli.scoring.llr import (
    LlrMap,
    cells_of,
    cllr,
    comparable_classes,
    logistic,
    pav,
    shares_of,
)
from opis_cli.statistics import llr_held_out as module
from opis_cli.statistics.llr_held_out import held_out_cells, llr_of, shares_by_fold


def held_out(counts):
    return held_out_cells(counts, shares_by_fold(counts, seed=0))


@pytest.fixture(scope="module")
def counts():
    vectors, labels = data.signs(300, 17, 32, seed=6)
    labels[-4:] = [100, 101, 102, 103]
    return opis.evaluate(vectors, labels, max_far=0.05).counts


def test_each_class_is_judged_once_by_a_map_of_the_others(counts):
    folds = held_out(counts)
    assert [number for _, _, number in folds] == [4, 4, 3, 3, 3]
    every = cells_of(counts, *shares_of(counts, [comparable_classes(counts)]))
    # Each fold and the others together are all classes, each with the same weight.
    for others, own, number in folds:
        for kind in ("genuine", "impostor"):
            sums = (17 - number) * getattr(others, kind) @ others.distances
            sums += number * getattr(own, kind) @ own.distances
            assert sums == pytest.approx(17 * getattr(every, kind) @ every.distances, rel=1e-9)
    own_pairs = sum(number * own.genuine @ own.distances for _, own, number in folds)
    assert own_pairs == pytest.approx(17 * every.genuine @ every.distances, rel=1e-9)
    found = llr_of(counts, seed=0)
    for cost, fit in ((found.cllr_logistic, logistic), (found.cllr_pav, pav)):
        judged = [n * cllr(own, fit(others).at(own.distances)) for others, own, n in folds]
        assert cost == pytest.approx(sum(judged) / 17, rel=1e-12)
    assert (found.folds, found.classes) == (5, 17)
    assert found.min_cllr < min(found.cllr_logistic, found.cllr_pav)


def test_the_folds_of_the_run_are_used():
    vectors, labels = data.signs(200, 10, 32, seed=6)
    run = opis.evaluate(vectors, labels, max_far=0.05, folds=3)
    table, folds = run.classes(), held_out(run.counts)
    assert [number for _, _, number in folds] == np.bincount(table["fold"]).tolist()
    for fold, (others, own, _) in enumerate(folds):
        for cells, mask in ((own, table["fold"] == fold), (others, table["fold"] != fold)):
            (expected,) = shares_of(run.counts, [np.flatnonzero(mask)])
            np.testing.assert_allclose(
                cells.genuine, cells_of(run.counts, expected).genuine, atol=1e-12
            )


def test_the_map_of_the_lower_cost_is_deployed(counts, monkeypatch):
    found = llr_of(counts, seed=0)
    costs = {"logistic": found.cllr_logistic, "pav": found.cllr_pav}
    assert found.cllr == min(costs.values()) == costs[found.map.method]
    # A line that tells nothing costs one bit, and a curve that does costs more than the line.
    nothing = LlrMap("logistic", 0.0, 0.0)
    monkeypatch.setattr(module, "logistic", lambda cells: nothing)
    assert llr_of(counts, seed=0).map.method == "pav"
    monkeypatch.undo()
    monkeypatch.setattr(module, "pav", lambda cells: LlrMap("pav", values=(1.0,), llrs=(0.0,)))
    assert llr_of(counts, seed=0).map.method == "logistic"


def test_a_bent_relation_takes_the_curve_and_a_straight_one_the_line():
    # All genuine pairs of a third of the classes are copies; the others lie as the impostors do.
    vectors, labels = data.signs(240, 24, seed=2)
    first = {label: np.flatnonzero(labels == label)[0] for label in range(24)}
    rng = np.random.default_rng(0)
    bent = vectors.copy()
    for label, row in first.items():
        rows = labels == label
        bent[rows] = vectors[row] if label % 3 else rng.permuted(bent[rows], axis=1)
    assert opis.evaluate(bent, labels).report.llr.map.method == "pav"
    assert opis.evaluate(vectors, labels).report.llr.map.method == "logistic"


def test_without_whole_classes_nothing_is_held_out(counts):
    vectors, labels = data.signs(120, 6, 32, seed=6)
    in_gallery = opis.evaluate(vectors[:60], labels[:60], gallery=(vectors[60:], labels[60:]))
    assert held_out(in_gallery.counts) == []
    found = in_gallery.report.llr
    assert (found.folds, found.cllr_pav, found.map.method) == (None, None, "logistic")
    everything = [comparable_classes(in_gallery.counts)]
    cells = cells_of(in_gallery.counts, *shares_of(in_gallery.counts, everything))
    assert found.cllr_logistic == cllr(cells, found.map.at(cells.distances))


def test_shares_of_classes_add_up(counts):
    classes = comparable_classes(counts)
    parts = shares_of(counts, [classes[:5], classes[5:6], classes[6:]])
    added, (whole,) = functools.reduce(operator.add, parts), shares_of(counts, [classes])
    np.testing.assert_allclose(added.sums, whole.sums, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(added.inverses, whole.inverses, rtol=1e-12)
    assert added.number == whole.number == 17
