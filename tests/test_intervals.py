"""Intervals with the class as the unit: the exact jackknife, zero errors, thresholds, coverage."""

import dataclasses

import data
import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit, stdtrit
from test_scores import hand_made

import opis_cli as opis
from opis_cli.intervals import band_columns, freedom_of, spread, threshold_interval
from opis_cli.uncertainty import mean_band, replicates_of_consistency


def left_out(vectors, labels, threshold):
    """Pooled FAR and FRR without each class, each counted anew from what is left."""
    table = oracle.pair_table(vectors, labels)
    accepted = table.distance <= threshold + 5e-7
    rates = []
    for name in np.unique(labels):
        kept = (labels[table.i] != name) & (labels[table.j] != name)
        genuine = table.genuine[kept]
        rates.append([accepted[kept][~genuine].mean(), 1 - accepted[kept][genuine].mean()])
    return np.array(rates).T


@pytest.mark.parametrize("name", ["blobs", "long_tail", "many_singletons"])
def test_the_jackknife_equals_leaving_out_each_class_and_counting_again(name):
    vectors, labels = data.MADE[name]
    run = opis.evaluate(vectors, labels, max_far=0.05)
    at = run.report.recommendation.threshold
    for kind, rates in zip(("far", "frr"), left_out(vectors, labels, at), strict=True):
        column = np.flatnonzero(run.counts.grid.class_thresholds == at)
        band = spread(run.counts, kind, column)
        share = (len(rates) - 1) / len(rates)
        deviations = rates - rates.mean()
        error = np.sqrt(share * np.sum(deviations**2))
        assert band.error[0] == pytest.approx(error, rel=1e-3)
        logits = logit(rates) - logit(rates).mean()
        first = error / (band.rate[0] * (1 - band.rate[0]))
        expected = max(np.sqrt(share * np.sum(logits**2)), first)
        assert band.logit_error[0] == pytest.approx(expected, rel=1e-3)
        freedom = np.sum(deviations**2) ** 2 / np.sum(deviations**4)
        freedom = max(freedom / 2 if kind == "far" else freedom, 3)
        assert band.freedom[0] == pytest.approx(freedom, rel=1e-2)
        reach = stdtrit(freedom, 0.975) * expected
        ends = expit(logit(band.rate[0]) + np.array([-reach, reach]))
        assert getattr(run.report.intervals, kind) == pytest.approx(tuple(ends), rel=1e-2)
        assert getattr(run.report.intervals.standard_errors, kind) == pytest.approx(error, rel=1e-3)


def test_of_independent_pairs_it_is_the_binomial_error():
    """Classes of two rows that err by chance: the jackknife knows nothing but that."""
    rng = np.random.default_rng(0)
    accepted = rng.random(4_000) < 0.7
    counts = hand_made(
        genuine=accepted[:, None] * np.array([[1, 1]]) | np.array([[0, 1]]),
        impostor=np.zeros((4_000, 2), int),
        sizes=[2] * 4_000,
        thresholds=[0.5, 1.0],
    )
    band = spread(counts, "frr", np.array([0]))
    rate = 1 - accepted.mean()
    assert band.rate[0] == pytest.approx(rate)
    assert band.error[0] == pytest.approx(np.sqrt(rate * (1 - rate) / 4_000), rel=1e-3)
    assert band.effect[0] == pytest.approx(1.0, abs=1e-2)


def test_no_error_is_bounded_by_the_rule_of_three_over_the_design_effect():
    """Forty classes of ten pairs; at the second threshold, each class errs wholly or not at all."""
    genuine = np.full((40, 3), 10)
    genuine[:20, 0] = 0
    counts = hand_made(genuine, np.zeros((40, 3), int), [5] * 40, [0.1, 0.5, 1.0])
    band = spread(counts, "frr", np.arange(3))
    # Ten pairs that err together are worth one: of forty trials, none failed.
    assert band.effect[1] == pytest.approx(10, rel=0.05)
    low, high = band.limits()
    assert low[1] == 0 and high[1] == pytest.approx(3 / 40, rel=0.1)
    assert band.upper(0.95)[1] == high[1]
    assert low[0] < 0.5 < high[0] and high[0] < 0.7


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1_000), rows=st.integers(8, 80), classes=st.integers(3, 15),
    level=st.sampled_from([0.5, 0.9, 0.99]),
)  # fmt: skip
def test_intervals_hold_the_estimate_inside_0_and_1(seed, rows, classes, level):
    vectors, labels = data.blobs(rows, classes, 4, seed=seed, skew=1.0)
    labels[:2], labels[2] = labels[0], (labels[0] + 1) % classes
    run = opis.evaluate(vectors, labels, calibration="distance:0.05..1.5")
    for kind in ("far", "frr"):
        band = spread(run.counts, kind, band_columns(run.counts))
        if band is None:
            continue
        low, high = band.limits(level)
        assert np.all((low >= 0) & (low <= band.rate) & (band.rate <= high) & (high <= 1))
        wider = band.limits((1 + level) / 2)
        assert np.all(wider[0] <= low) and np.all(high <= wider[1])
        some = (band.rate > 0) & (band.rate < 1)
        assert np.allclose(band.upper((1 + level) / 2)[some], high[some])


def test_a_class_that_has_all_genuine_pairs_leaves_no_interval():
    vectors, _ = data.blobs(30, 3)
    report = opis.evaluate(vectors, [0] * 10 + list(range(1, 21))).report
    assert report.intervals.frr is None and report.intervals.far is not None
    assert report.intervals.opis is None and report.intervals.standard_errors.opis is None
    assert report.intervals.effective_classes.frr == 1.0


def test_two_classes_leave_no_interval_of_far():
    report = opis.evaluate(*data.MADE["two_classes"]).report
    assert report.intervals.far is None and report.intervals.threshold is None


def test_the_threshold_interval_is_where_the_bands_cross_the_bound():
    run = opis.evaluate(*data.MADE["long_tail"], max_far=0.03, prefer="low-frr")
    chosen, found = run.report.recommendation, run.report.intervals
    assert chosen.threshold == chosen.interval[1]
    low, high = found.threshold
    assert low < chosen.threshold < high
    band = spread(run.counts, "far", np.arange(len(run.counts.grid.by_class)))
    ends = band.limits()
    assert np.interp(low, band.thresholds, ends[1]) == pytest.approx(0.03, rel=0.1)
    assert np.interp(high, band.thresholds, ends[0]) == pytest.approx(0.03, rel=0.1)


def test_a_threshold_chosen_by_frr_has_the_interval_of_frr():
    run = opis.evaluate(*data.MADE["blobs"], max_frr=0.2, prefer="low-far")
    band = spread(run.counts, "frr", band_columns(run.counts))
    expected = threshold_interval(band, "frr", 0.2)
    assert run.report.intervals.threshold == pytest.approx(expected, abs=0.02)
    low, high = expected
    assert low < run.report.recommendation.threshold < high


def test_intervals_cover_and_half_the_error_would_not():
    """Draws of 37 of 188 real classes; an impostor pair counts for both classes it lies in."""
    vectors, labels = data.sample("fonts_base")
    names, codes = np.unique(labels, return_inverse=True)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    distance = 1 - unit @ unit.T
    threshold = np.quantile(distance[codes[:, None] != codes[None, :]], 0.05)
    hot = np.eye(len(names))[codes]
    accepted = hot.T @ (distance <= threshold) @ hot
    genuine = (np.diag(accepted) - 16) / 2
    np.fill_diagonal(accepted, 0)
    truth = accepted.sum() / (len(names) * (len(names) - 1) * 256)
    rng, held, held_by_half = np.random.default_rng(0), [], []
    for _ in range(200):
        drawn = rng.choice(len(names), 37, replace=False)
        own = accepted[np.ix_(drawn, drawn)].sum(axis=1).astype(int)
        counts = hand_made(
            np.column_stack([genuine[drawn].astype(int), [120] * 37]),
            np.column_stack([own, [16 * 36 * 16] * 37]),
            [16] * 37,
            [0.5, 2.0],
        )
        band = spread(counts, "far", np.array([0]))
        for found, one in (
            (held, band),
            (held_by_half, dataclasses.replace(band, logit_error=band.logit_error / 2)),
        ):
            low, high = one.limits()
            found.append(low[0] <= truth <= high[0])
    assert np.mean(held) >= 0.93
    assert np.mean(held_by_half) < 0.9


def test_effective_number_of_classes_by_hand():
    vectors, labels = data.MADE["long_tail"]
    found = opis.evaluate(vectors, labels).report.intervals.effective_classes
    sizes = np.unique(labels, return_counts=True)[1]
    for value, pairs in (
        (found.frr, sizes * (sizes - 1) / 2),
        (found.far, sizes * (len(labels) - sizes)),
    ):
        assert value == pytest.approx(pairs.sum() ** 2 / np.sum(pairs**2))


def test_the_freedom_of_equal_deviations_is_their_number():
    assert freedom_of(np.array([1.0, -1, 1, -1])) == 4
    assert freedom_of(np.array([5.0, 0, 0, 0])) == 1
    assert freedom_of(np.zeros(3)) == np.inf


def test_the_bootstrap_draws_classes(small):
    """Replicates of OPIS equal those of data in which drawn classes are repeated."""
    from opis_cli import bootstrap, curves, scores

    counts, found = small.counts, small.consistency
    replicates, worst = replicates_of_consistency(counts, found, 1.0, 0.1, 5)
    assert np.isfinite(replicates).all() and np.isfinite(worst).all()
    drawn = next(bootstrap.draws(len(counts.sizes), 1_000, 5))[7]
    thresholds = counts.grid.class_thresholds
    columns = np.flatnonzero((thresholds >= found.low) & (thresholds <= found.high))
    weights = scores.trapezoid_weights(thresholds[columns])
    again = np.repeat(np.arange(len(drawn)), drawn.astype(int))
    again = again[counts.evaluable[again]]
    utilities = curves.class_utility(counts, 1.0, again, columns)
    expected = ((utilities - utilities.mean(axis=0)) ** 2 @ weights).mean()
    assert replicates[7] == pytest.approx(expected, rel=2e-2)
    assert np.mean(replicates) == pytest.approx(small.report.opis, rel=0.2)


def test_same_seed_same_intervals(small):
    vectors, labels = data.MADE["long_tail"]
    assert opis.evaluate(vectors, labels).report.intervals == small.report.intervals
    other = opis.evaluate(vectors, labels, seed=1).report.intervals
    assert other.opis != small.report.intervals.opis


def test_the_band_of_a_mean_is_about_two_standard_errors(small):
    rng = np.random.default_rng(0)
    values = rng.random((len(small.consistency.classes), 1))
    low, high = mean_band(small.counts, small.consistency, values, 0)
    error = values.std() / np.sqrt(len(values))
    assert (high - low)[0] == pytest.approx(2 * 1.96 * error, rel=0.15)
    assert low[0] < values.mean() < high[0]
