"""Intervals with the class as the unit: the exact jackknife, zero errors, thresholds, coverage."""

import dataclasses
import re

import data
import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit, stdtrit

import opis_cli as opis
from opis_cli.scoring import curves
from opis_cli.scoring.opis import consistency_of, trapezoid_weights
from opis_cli.scoring.recommend import recommend
from opis_cli.statistics import bootstrap, intervals
from opis_cli.statistics.intervals import (
    _log_interval,
    _threshold,
    mean_band,
    replicates_of_consistency,
)
from opis_cli.statistics.jackknife import (
    _design_effect,
    band_columns,
    freedom_of,
    mean_limits,
    spread,
    threshold_interval,
)
from opis_cli.values import Calibration


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
        # What is less than one pair away from 0 or 1 is that.
        ends = np.where(ends * band.pairs < 1, 0, np.where((1 - ends) * band.pairs < 1, 1, ends))
        assert getattr(run.report.intervals, kind) == pytest.approx(tuple(ends), rel=1e-2)
        assert getattr(run.report.intervals.standard_errors, kind) == pytest.approx(error, rel=1e-3)


def test_of_independent_pairs_it_is_the_binomial_error():
    """Classes of two rows that err by chance: the jackknife knows nothing but that."""
    rng = np.random.default_rng(0)
    accepted = rng.random(4_000) < 0.7
    counts = data.hand_made(
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
    counts = data.hand_made(genuine, np.zeros((40, 3), int), [5] * 40, [0.1, 0.5, 1.0])
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


def test_an_end_that_the_pairs_cannot_tell_from_0_or_1_is_that():
    """Of 40 x 10 pairs: one class errs wholly, or all but one do."""
    genuine = np.full((40, 3), 10)
    genuine[0, 0], genuine[1:, 1] = 0, 0
    counts = data.hand_made(genuine, np.zeros((40, 3), int), [5] * 40, [0.1, 0.5, 1.0])
    band = spread(counts, "frr", np.arange(2))
    (low, _), (high, top) = np.transpose(band.limits())[0], np.transpose(band.limits())[1]
    assert band.rate.tolist() == pytest.approx([0.025, 0.975])
    assert low == 0 and top == 1 and 0 < high < 1
    reach = stdtrit(3, 0.975) * band.logit_error[0]
    assert 0 < expit(logit(0.025) - reach) < 1 / 400


@pytest.mark.parametrize("seed", range(12))
def test_few_classes_that_lie_apart_have_a_real_interval_of_the_threshold_or_none(seed):
    """5 classes of 12 rows: up to the threshold of highest utility no impostor is accepted."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(5), 12)
    vectors = rng.standard_normal((5, 16))[labels] + 0.4 * rng.standard_normal((60, 16))
    report = opis.evaluate(vectors, labels).report
    chosen, found = report.recommendation, report.intervals
    if found.threshold is None:
        assert chosen.far == 0
    else:
        low, high = found.threshold
        assert low <= chosen.threshold <= high and low < high
    for figure, ends in (
        (report.opis, found.opis),
        (report.eps_opis.value, found.eps_opis),
        (report.opis_corrected.value, report.opis_corrected.interval),
        (chosen.class_mean_far, found.class_mean_far),
        (chosen.mean_utility, found.mean_utility),
    ):
        assert ends is None or (ends[0] <= figure <= ends[1] and ends[0] < ends[1])
    assert found.eps_opis is None or found.eps_opis[0] == 0 or found.eps_opis[0] > 1e-9


def test_the_interval_holds_a_threshold_between_two_steps_of_the_far():
    """Where the upper limit jumps over the bound right behind the threshold that was chosen."""
    impostor = np.array([[0, 0, 80], [0, 0, 80], [0, 60, 80], [0, 60, 80]] * 10)
    counts = data.hand_made(np.full((40, 3), 10), impostor, [5] * 40, [0.1, 0.5, 1.0])
    band = spread(counts, "far", np.arange(3))
    chosen = recommend(
        counts,
        consistency_of(counts, Calibration("distance", 0.1, 1.0), 1.0, 0.1),
        max_far=0.2, max_frr=None, prefer="low-frr", beta=1.0,
    )  # fmt: skip
    assert chosen.threshold == 0.1 and chosen.far == 0 and band.limits()[1][0] < 0.2
    bare = threshold_interval(band, "far", 0.2)
    assert bare[0] > 0.1
    low, high = _threshold(chosen, band, None, 0.95)
    # Both are short decimals, a hair outside.
    assert 0.1 - 0.01 * (bare[1] - 0.1) <= low <= 0.1
    assert bare[1] <= high <= bare[1] + 0.01 * (bare[1] - 0.1)
    assert max(len(repr(low)), len(repr(high))) < 7


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
        counts = data.hand_made(
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


def test_effective_number_of_classes_by_accepted_pairs_and_contributions(small):
    carriers = small.report.intervals.effective_classes
    table, counts = small.classes(), small.counts
    column = counts.grid.class_thresholds == small.report.recommendation.threshold
    accepted = counts.impostor[:, column][:, 0].astype(float)
    assert carriers.far_accepted == pytest.approx(accepted.sum() ** 2 / np.sum(accepted**2))
    parts = table["opis_contribution"].dropna()
    assert carriers.opis == pytest.approx(parts.sum() ** 2 / np.sum(parts**2))
    assert 1 <= carriers.eps_opis <= small.report.eps_opis.worst_classes
    assert small.report.opis_corrected.effective_classes >= 1


def test_two_classes_that_are_nearly_one_carry_the_far_and_the_summary_says_so(cli, tmp_path):
    """Forty classes far apart but for the first two: pairs are even, accepted ones are not."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(40), 10)
    centres = np.eye(64)[:40]
    centres[1] = centres[0]
    vectors = (centres[labels] + 0.08 * rng.standard_normal((400, 64))).astype(np.float32)
    report = opis.evaluate(vectors, labels, max_far=2e-3, prefer="low-frr").report
    carriers = report.intervals.effective_classes
    assert carriers.far == pytest.approx(40)
    assert 2 <= carriers.far_accepted < 5
    np.savez(tmp_path / "twins.npz", embeddings=vectors, labels=labels)
    words = ("twins.npz", "--max-far", "2e-3", "--prefer", "low-frr")
    told = cli("evaluate", *words, "--details", cwd=tmp_path).stdout
    assert re.search(rf"FAR .* in effect {carriers.far_accepted:.2g} classes carry it *\n", told)
    told = " ".join(cli("recommend", *words, "--confidence", "0.9", cwd=tmp_path).stdout.split())
    assert "no confidence knows what is not in these" in told


@pytest.mark.parametrize("more", [0, 1, 40])
def test_the_limits_of_a_skewed_mean_by_hand(more):
    """Against Hall's transform itself, solved by bisection; more columns are worked out alike."""
    rng = np.random.default_rng(more)
    parts = rng.exponential(size=25) ** 2
    mean, deviation = parts.mean(), parts.std()
    skew = ((parts - mean) ** 3).mean() / deviation**3 / 5
    freedom = ((parts - mean) ** 2).sum() ** 2 / ((parts - mean) ** 4).sum() / 2
    reach = stdtrit(max(freedom, 2), 0.975)

    def hall(t):
        return t + skew * t**2 / 3 + skew**2 * t**3 / 27 + skew / 6

    low, high = mean_limits(parts, 0.95)
    assert low < mean < high and high - mean > mean - low
    for end, wanted in ((low, reach), (high, -reach)):
        assert hall((mean - end) / (deviation / np.sqrt(24))) == pytest.approx(wanted)
    lows, highs = mean_limits(np.column_stack([parts, rng.random(25)]), 0.95)
    assert (lows[0], highs[0]) == pytest.approx((low, high))
    about = mean_limits(parts, 0.95, value=mean + 1, error=10 * deviation)
    assert about[0] < low and about[1] > high + 1


def test_parts_that_are_equal_or_skewed_to_the_left_are_as_if_not_skewed():
    assert mean_limits(np.full(5, 0.5), 0.95) == (0.5, 0.5)
    parts = np.array([0.0, 9, 10, 10, 11])
    low, high = mean_limits(parts, 0.95)
    assert low + high == pytest.approx(2 * parts.mean())


def test_opis_of_three_classes_has_no_interval_and_of_none_that_differ_neither():
    """Two draws of nine repeat a class three times, and say 0."""
    vectors, labels = data.blobs(300, 3, seed=2)
    found = opis.evaluate(vectors, labels, calibration="far:0.05..0.3").report
    assert found.opis > 0 and found.intervals.opis is None


def test_the_freedom_of_equal_deviations_is_their_number():
    assert freedom_of(np.array([1.0, -1, 1, -1])) == 4
    assert freedom_of(np.array([5.0, 0, 0, 0])) == 1
    assert freedom_of(np.zeros(3)) == np.inf


def test_the_bootstrap_draws_classes(small):
    """Replicates of OPIS equal those of data in which drawn classes are repeated."""
    counts, found = small.counts, small.consistency
    replicates, worst = replicates_of_consistency(counts, found, 1.0, 0.1, 5)
    assert np.isfinite(replicates).all() and np.isfinite(worst).all()
    drawn = next(bootstrap.draws(len(counts.sizes), 1_000, 5))[7]
    thresholds = counts.grid.class_thresholds
    columns = np.flatnonzero((thresholds >= found.low) & (thresholds <= found.high))
    weights = trapezoid_weights(thresholds[columns])
    again = np.repeat(np.arange(len(drawn)), drawn.astype(int))
    again = again[counts.evaluable[again]]
    utilities = curves.class_utility(counts, 1.0, again, columns)
    expected = ((utilities - utilities.mean(axis=0)) ** 2 @ weights).mean()
    assert replicates[7] == pytest.approx(expected, rel=2e-2)
    assert np.mean(replicates) == pytest.approx(small.report.opis, rel=0.2)


def test_all_draws_share_the_utilities_of_the_classes(small, monkeypatch):
    """Draws come in blocks, the smaller the more classes: what is computed must not grow so."""
    counts, found = small.counts, small.consistency
    expected = replicates_of_consistency(counts, found, 1.0, 0.1, 5)
    computed, utility = [], curves.utility
    monkeypatch.setattr(
        curves, "utility", lambda far, *rest: computed.append(far.size) or utility(far, *rest)
    )
    monkeypatch.setattr(intervals, "_WEIGHT_VALUES", 10 * len(counts.sizes))
    replicates = replicates_of_consistency(counts, found, 1.0, 0.1, 5)
    assert np.allclose(replicates, expected, rtol=1e-9, atol=0)
    assert sum(computed) <= 128 * len(found.classes)


def test_same_seed_same_intervals(small):
    vectors, labels = data.MADE["long_tail"]
    assert opis.evaluate(vectors, labels).report.intervals == small.report.intervals
    other = opis.evaluate(vectors, labels, seed=1).report.intervals
    assert other.opis != small.report.intervals.opis


def test_the_band_of_a_mean_is_about_two_standard_errors(small):
    rng = np.random.default_rng(0)
    values = rng.random((len(small.consistency.classes), 1))
    low, high = mean_band(values)
    error = values.std() / np.sqrt(len(values))
    # A little more, by t quantiles.
    assert (high - low)[0] == pytest.approx(2 * 1.96 * error, rel=0.2)
    assert low[0] < values.mean() < high[0]


def test_pairs_that_err_more_evenly_than_by_chance_are_worth_no_more_than_themselves():
    """Forty classes of ten pairs, of which each errs in five: no class differs from another."""
    genuine = np.full((40, 3), 10)
    genuine[:, 0] = 5
    counts = data.hand_made(genuine, np.zeros((40, 3), int), [5] * 40, [0.1, 0.5, 1.0])
    band = spread(counts, "frr", np.arange(3))
    assert band.error[0] == 0 and band.effect.tolist() == [1, 1, 1]
    _, high = band.limits()
    assert high[1] == pytest.approx(1 - 0.05 ** (1 / 400))


def test_where_errors_are_few_the_design_effect_is_that_of_the_nearest_column():
    """The second column has an effect of 4, the fifth of 9; the others have too few errors."""
    errors = np.array([3.0, 500, 0, 0, 400, 1_000])
    rate = errors / 1_000
    error = np.sqrt(np.array([99, 4, 99, 99, 9, 99]) * rate * (1 - rate) / 1_000)
    assert _design_effect(errors, 1_000, error) == pytest.approx([4, 4, 4, 9, 9, 9])
    # Where no column has errors enough, any will do.
    few = np.array([0.0, 3, 0])
    error = np.sqrt(np.array([0, 5, 0]) * few / 1_000 * (1 - few / 1_000) / 1_000)
    assert _design_effect(few, 1_000, error) == pytest.approx([5, 5, 5])
    assert _design_effect(np.zeros(2), 1_000, np.zeros(2)).tolist() == [1, 1]


def test_the_interval_of_opis_is_freed_of_the_bias_of_draws():
    """Draws that are a quarter too low on the logarithmic scale say that the figure is so too."""
    replicates = 0.01 * np.exp(0.2 * np.random.default_rng(0).standard_normal(1_000) - 0.25)
    low, high = _log_interval(0.01, replicates, 20.0, 0.95)
    assert np.sqrt(low * high) == pytest.approx(0.01 * np.exp(0.25), rel=0.02)
    assert np.log(high / low) == pytest.approx(2 * stdtrit(20, 0.975) * 0.2, rel=0.1)


def test_the_mean_far_of_classes_varies_by_both_classes_of_a_pair():
    """Left out, a class takes its pairs along from the FAR of every other class."""
    vectors, labels = data.MADE["blobs"]
    report = opis.evaluate(vectors, labels, max_far=0.05).report
    accepted = oracle.distances(vectors) <= report.recommendation.threshold + 5e-7

    def mean_far(kept):
        return np.mean(
            [
                accepted[np.ix_(kept == k, (kept != k) & (kept >= 0))].mean()
                for k in set(kept) - {-1}
            ]
        )

    assert mean_far(labels) == pytest.approx(report.recommendation.class_mean_far, rel=1e-3)
    without = np.array([mean_far(np.where(labels == k, -1, labels)) for k in range(12)])
    error = np.sqrt(11 / 12 * np.sum((without - without.mean()) ** 2))
    low, high = report.intervals.class_mean_far
    assert 1.9 * error < (high - low) / 2 < 4 * error
