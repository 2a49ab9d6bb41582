"""Bounds with confidence: upper limits meet them, or it is said how many classes it would take."""

import data
import numpy as np
import pytest

import opis_cli as opis
from opis_cli.errors import SettingsError
from opis_cli.statistics.confidence import classes_needed, spreads, upper_limits
from opis_cli.statistics.jackknife import spread


def test_the_upper_limit_meets_the_bound_and_the_next_threshold_breaks_it():
    run = opis.evaluate(*data.MADE["long_tail"], max_far=0.03, prefer="low-frr", confidence=0.9)
    chosen = run.report.recommendation
    plain = run.recommend(max_far=0.03, prefer="low-frr", confidence=0.5)
    assert chosen.confidence == 0.9 and chosen.classes_needed is None
    assert chosen.far <= chosen.far_upper <= 0.03
    assert chosen.threshold < plain.threshold
    columns = np.arange(len(run.counts.grid.by_class))
    upper = spread(run.counts, "far", columns).upper(0.9)
    at = int(np.flatnonzero(run.counts.grid.class_thresholds == chosen.threshold)[0])
    assert upper[at] == chosen.far_upper
    assert np.all(upper[at + 1 :] > 0.03)


def test_a_bound_on_frr_takes_the_lower_end():
    run = opis.evaluate(*data.MADE["blobs"], max_frr=0.3, prefer="low-far", confidence=0.9)
    chosen = run.report.recommendation
    plain = run.recommend(max_frr=0.3, prefer="low-far")
    assert plain.confidence == 0.9
    assert chosen.frr <= chosen.frr_upper <= 0.3
    upper = spread(run.counts, "frr", np.arange(len(run.counts.grid.by_class))).upper(0.9)
    at = int(np.flatnonzero(run.counts.grid.class_thresholds == chosen.threshold)[0])
    assert np.all(upper[:at] > 0.3)


def test_both_bounds_or_how_many_classes_it_takes():
    vectors, labels = data.MADE["blobs"]
    run = opis.evaluate(vectors, labels, max_far=0.03, max_frr=0.1, confidence=0.95)
    assert run.recommend(max_far=0.03, max_frr=0.1, confidence=0.5).status == "feasible"
    chosen = run.report.recommendation
    assert chosen.status == "infeasible" and chosen.threshold is None
    assert chosen.far_upper is None and chosen.at_max_far.far < 0.03
    needed = chosen.classes_needed
    assert needed > len(set(labels))
    # The harder the bounds, the more classes; those that fail here are shown by no number.
    bands = spreads(run.counts)

    def needs(far, frr, confidence):
        return classes_needed(run.counts, bands, {"far": far, "frr": frr}, confidence)

    assert needs(0.03, 0.1, 0.95) == needed < needs(0.027, 0.1, 0.95) < needs(0.027, 0.1, 0.99)
    assert needs(1e-4, 1e-4, 0.95) is None


def test_as_many_classes_as_it_said_do_show_it():
    """Classes of one kind, so that more of them have smaller errors and nothing else."""
    few = opis.evaluate(*data.blobs(400, 20, seed=8), max_far=0.05, max_frr=0.15, confidence=0.9)
    needed = few.report.recommendation.classes_needed
    assert 20 < needed < 400
    many = opis.evaluate(
        *data.blobs(40 * needed, 2 * needed, seed=8), max_far=0.05, max_frr=0.15, confidence=0.9
    )
    assert many.report.recommendation.status == "feasible"


def test_too_few_pairs_for_a_low_far():
    run = opis.evaluate(*data.blobs(60, 10, seed=1), max_far=1e-3, confidence=0.95)
    chosen = run.report.recommendation
    assert chosen.status == "infeasible" and chosen.at_max_far.threshold is None
    assert chosen.classes_needed > 10


def test_classes_that_cannot_be_left_out_show_nothing():
    run = opis.evaluate(*data.MADE["two_classes"], max_far=0.5, confidence=0.9)
    assert run.report.recommendation.status == "infeasible"
    assert run.report.recommendation.classes_needed is None


@pytest.mark.parametrize("value", [0.0, 1.0, -0.5, 95.0])
def test_a_confidence_lies_between_0_and_1(value):
    with pytest.raises(SettingsError, match="confidence"):
        opis.evaluate(*data.MADE["blobs"], confidence=value)


def test_a_confidence_below_a_half_is_refused_and_why(saved, cli):
    for command in ("evaluate", data.SAMPLES / "wordnet.parquet"), ("recommend", saved):
        done = cli(*command, "--confidence", "0.49")
        assert done.returncode == 2 and done.stdout == ""
        assert "at least 0.5" in done.stderr and "than hold" in " ".join(done.stderr.split())


def test_the_command_line_says_it(saved, cli):
    done = cli("recommend", saved, "--confidence", "0.9", "--max-far", "0.05")
    assert done.returncode == 0 and "90 % confidence" in done.stdout
    assert "FAR at most" in done.stdout
    done = cli("recommend", saved, "--confidence", "0.95", "--max-far", "1e-7")
    assert done.returncode == 0 and "So few classes cannot show it; about" in done.stdout


def test_more_classes_than_there_are_is_the_least_that_is_needed():
    """What these classes fail to show by their t quantiles, as many again would not show either."""
    run = opis.evaluate(*data.MADE["blobs"])
    needed = classes_needed(run.counts, spreads(run.counts), {"far": 0.9, "frr": 0.9}, 0.6)
    assert needed == len(run.counts.sizes) + 1


def test_upper_limits_rise_and_fall_as_the_rates_do():
    """So that no threshold inside the interval has a limit above its bound."""
    run = opis.evaluate(*data.MADE["long_tail"], max_far=0.05, max_frr=0.9, confidence=0.8)
    counts, chosen = run.counts, run.report.recommendation
    low, high = chosen.interval
    columns = counts.grid.columns_between(low, high)
    limits = upper_limits(counts, 0.8)
    assert np.all(np.diff(limits.far) >= 0) and np.all(np.diff(limits.frr) <= 0)
    assert np.all(limits.far[columns] <= 0.05) and np.all(limits.frr[columns] <= 0.9)
    bands = spreads(counts)
    assert np.all(limits.far >= bands["far"].upper(0.8))
    assert np.all(limits.frr >= bands["frr"].upper(0.8))
