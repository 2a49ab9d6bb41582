"""Max / GeoMean and Gini by hand, by the definition, and of a run."""

import data
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import opis_cli as opis
from opis_cli.scoring.inequity import differential, gini

MANY = 10_000


def test_by_hand():
    found = differential(np.array([0.01, 0.04]), np.array([MANY, MANY]), 0.02)
    assert found.max_over_geomean == pytest.approx(2.0)
    # |0.01 - 0.04| twice, over 2 * 4 * 0.025, times 2 / 1.
    assert found.gini == pytest.approx(0.6)
    assert (found.classes, found.least_pairs) == (2, 150)
    assert found.floor == pytest.approx(0.02 / 6)


def test_a_rate_of_zero_counts_as_the_floor_but_only_in_the_geometric_mean():
    found = differential(np.array([0.0, 0.06]), np.array([MANY, MANY]), 0.03)
    assert found.max_over_geomean == pytest.approx(0.06 / np.sqrt(0.06 * 0.005))
    assert found.gini == pytest.approx(1.0)


def test_classes_of_few_pairs_take_no_part():
    rates, pairs = np.array([0.01, 0.02, 1.0]), np.array([150, MANY, 149])
    assert differential(rates, pairs, 0.02).classes == 2
    assert differential(rates, pairs, 0.02).max_over_geomean < 2
    assert differential(rates[1:], pairs[1:], 0.02) is None
    assert differential(np.zeros(2), np.array([MANY, MANY]), 0.02) is None
    assert differential(np.zeros(2), np.array([MANY, MANY]), 0.0) is None


@given(st.lists(st.floats(0, 1), min_size=2, max_size=12).filter(lambda x: sum(x) > 1e-3))
def test_gini_is_the_mean_gap_of_all_pairs(values):
    x = np.array(values)
    count = len(x)
    gaps = np.abs(x[:, None] - x[None, :]).sum()
    expected = count / (count - 1) * gaps / (2 * count**2 * x.mean())
    assert gini(x) == pytest.approx(expected, abs=1e-12)


@given(st.integers(2, 20), st.floats(0.01, 0.9))
def test_equal_rates_are_equal(count, rate):
    found = differential(np.full(count, rate), np.full(count, MANY), rate)
    assert found.max_over_geomean == pytest.approx(1.0)
    assert found.gini == pytest.approx(0.0, abs=1e-9)


def test_of_a_run_at_its_threshold():
    run = opis.evaluate(*data.MADE["blobs"], max_far=0.05)
    found, table = run.report.differentials, run.classes()
    taking = table[table["genuine_pairs"] >= found.frr.least_pairs]
    raised = np.maximum(taking["frr"], found.frr.floor)
    assert found.frr.classes == len(taking)
    expected = raised.max() / np.exp(np.log(raised).mean())
    assert found.frr.max_over_geomean == pytest.approx(expected)
    assert found.far.gini == pytest.approx(gini(table["far"].to_numpy()))
    at = np.flatnonzero(run.counts.grid.thresholds == run.report.recommendation.threshold)
    assert found.far.floor == pytest.approx(run.counts.pooled_far[at[0]] / 6)


def test_without_a_threshold_there_are_none():
    run = opis.evaluate(*data.MADE["blobs"], max_far=1e-3, max_frr=1e-3)
    assert run.report.differentials is None
    assert run.report.intervals.far is None and run.report.intervals.opis is not None
