"""The price of one threshold: by hand, where the answer is known, and where there is none."""

import dataclasses

import data
import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

import opis_cli as opis
from opis_cli.records import Split
from opis_cli.render.words import price_sentence
from opis_cli.scoring.price import PriceOfOneThreshold, price_of_one_threshold

DUMMY = data.hand_made([[1, 1]] * 2, [[0, 1]] * 2, [2, 2], [0.0, 1.0])
"""Counts whose own figures do not matter."""


def price(genuine, impostor, far):
    """The price of counts of halves, shape (2, classes, thresholds)."""
    genuine, impostor = np.array(genuine), np.array(impostor)
    thresholds = np.linspace(0, 1, genuine.shape[2])
    split = Split(np.arange(genuine.shape[1]), thresholds, genuine, impostor)
    return price_of_one_threshold(dataclasses.replace(DUMMY, split=split), far)


def test_two_classes_by_hand():
    """Both halves are alike, so what is chosen on one holds on the other.

    Of ten impostor pairs, class 0 accepts 1, 4, 10 at the three thresholds and class 1 accepts 0,
    1, 10. One threshold: the mean FAR is 5 % at the first and 25 % at the second, so 10 % lies a
    quarter of the way. The mean FRR is 65 % at the first and 40 % at the second. Own thresholds of
    FAR 10 %: the first for class 0, FRR 40 %, and the second for class 1, FRR 60 %.
    """
    genuine = [[[6, 8, 10], [1, 4, 10]]] * 2
    impostor = [[[1, 4, 10], [0, 1, 10]]] * 2
    found = price(genuine, impostor, 0.1)
    assert found.global_frr == pytest.approx(0.75 * 0.65 + 0.25 * 0.4)
    assert found.own_frr == pytest.approx((0.4 + 0.6) / 2)
    assert found.global_far == pytest.approx(0.1) and found.own_far == pytest.approx(0.1)
    assert found.held_out is True and found.classes == 2
    # The first class saves 3/4 of 40 % and 1/4 of 20 % less 40 %; the second 3/4 of 90 % and 1/4
    # of 60 % less 60 %. The standard error of the mean of two is half their difference.
    saved = 0.75 * 0.4 + 0.25 * 0.2 - 0.4, 0.75 * 0.9 + 0.25 * 0.6 - 0.6
    assert found.standard_error == pytest.approx(abs(saved[0] - saved[1]) / 2)
    assert not found.saves


def test_what_is_chosen_on_one_half_is_judged_on_the_other():
    """The second half has the curves of the two classes the other way round.

    One threshold: the mean FAR is 5 % at the first and 55 % at the second, in either half, so 10 %
    lies a tenth of the way. Own thresholds: where the first half has FAR 10 % at the first
    threshold, the other half has 0 %; where the first half has 0 and 10 % at the first and second,
    the other has 10 and 100 %. At the level 10 a %, the one class is at the share a of its way to
    its first threshold, FAR 0 %, and the other at the share a between its two, FAR 10 + 90 a %.
    Their mean is 10 % at a = 1/9.
    """
    one, two = [1, 10, 10], [0, 1, 10]
    genuine = [[[4, 8, 10], [4, 8, 10]]] * 2
    found = price(genuine, [[one, two], [two, one]], 0.1)
    assert found.global_frr == pytest.approx(0.9 * 0.6 + 0.1 * 0.2)
    share = 1 / 9
    first, second = 1 - 0.4 * share, 1 - (0.4 + 0.4 * share)
    assert found.own_frr == pytest.approx((first + second) / 2)
    assert found.own_far == pytest.approx(0.1)


def drawn(shifts, seed, pairs=(200_000, 200_000), far=0.01):
    """Counts of classes whose scores are normal about a shift of the class's own."""
    rng = np.random.default_rng(seed)
    thresholds = np.linspace(-8, 8, 400)
    shape = (2, len(shifts), len(thresholds) + 1)
    genuine, impostor = np.empty(shape, int), np.empty(shape, int)
    for counts, number, mean in ((genuine, pairs[0], 0.0), (impostor, pairs[1], 3.0)):
        for half in range(2):
            for i, shift in enumerate(shifts):
                below = np.append(norm.cdf(thresholds, mean + shift), 1.0)
                cells = rng.multinomial(number, np.diff(below, prepend=0.0))
                counts[half, i] = np.cumsum(cells)
    return price(genuine, impostor, far)


def test_classes_whose_thresholds_differ_save_what_the_normal_law_says():
    shifts = np.repeat([-1.0, 1.0], 20)
    found = drawn(shifts, seed=1)
    own = norm.sf(norm.ppf(0.01, 3.0), 0.0)
    at = brentq(lambda t: norm.cdf(t, 3.0 + shifts).mean() - 0.01, -8, 8)
    assert found.own_frr == pytest.approx(own, abs=2e-3)
    assert found.global_frr == pytest.approx(norm.sf(at, shifts).mean(), abs=2e-3)
    assert found.global_frr > 1.5 * found.own_frr
    # Half of the classes save much and half lose: what they save varies by more than its mean.
    saved = norm.sf(at, shifts) - own
    assert found.standard_error == pytest.approx(saved.std(ddof=1) / 40**0.5, rel=0.05)
    assert found.saves == (saved.mean() > 2 * found.standard_error)


@pytest.mark.parametrize("pairs", [(50, 150), (300, 1_000), (3_000, 10_000)])
def test_classes_that_are_alike_save_nothing(pairs):
    """Own thresholds, chosen on few pairs, cost a little: the fewer pairs, the more."""
    found = drawn(np.zeros(200), seed=2, pairs=pairs, far=0.05)
    assert found.own_far == pytest.approx(found.global_far) == pytest.approx(0.05)
    cost = found.own_frr - found.global_frr
    assert 0 < cost < 3 / pairs[1] ** 0.5


def test_too_few_impostor_pairs_for_the_far_have_no_price():
    assert drawn(np.zeros(50), seed=3, pairs=(50, 20), far=0.001) is None
    assert drawn(np.zeros(50), seed=3, pairs=(50, 20), far=0.2) is not None
    assert price_of_one_threshold(DUMMY, 0.1) is None
    split = Split(np.arange(2), np.array([0.0]), np.ones((2, 2, 1), int), np.ones((2, 2, 1), int))
    assert price_of_one_threshold(dataclasses.replace(DUMMY, split=split), None) is None


def test_it_is_at_the_mean_far_of_the_recommended_threshold():
    run = opis.evaluate(*data.clouds(60, 10, spread=0.3))
    for far in (0.02, 0.1):
        chosen = run.recommend(max_far=far, prefer="low-frr")
        found = chosen.price_of_one_threshold
        assert found.global_far == pytest.approx(chosen.class_mean_far)
        # The halves are a quarter of the pairs of the same classes.
        assert found.global_frr == pytest.approx(chosen.class_mean_frr, abs=0.05)
        assert found.classes == 60


def test_it_is_at_the_bound_of_the_far_if_no_threshold_meets_all_bounds():
    run = opis.evaluate(*data.clouds(60, 10, spread=0.3))
    chosen = run.recommend(max_far=0.01, max_frr=1e-4)
    alone = run.recommend(max_far=0.01, prefer="low-frr")
    assert chosen.status == "infeasible"
    assert chosen.price_of_one_threshold == alone.price_of_one_threshold is not None


def test_clouds_that_are_alike_save_nothing():
    alike = opis.evaluate(*data.clouds(100, 30)).report.recommendation.price_of_one_threshold
    assert abs(alike.own_frr - alike.global_frr) < 0.02


def test_settings_that_leave_out_pairs_have_none():
    vectors, labels = data.blobs(300, 10)
    columns = {"a": np.arange(300) % 3}
    for setting in ("within_column", "exclude_same"):
        run = opis.evaluate(vectors, labels, columns=columns, **{setting: "a"})
        assert run.report.recommendation.price_of_one_threshold is None
    run = opis.evaluate(vectors, labels, gallery=(vectors[::2], labels[::2]))
    assert run.report.recommendation.price_of_one_threshold is None


@pytest.mark.parametrize("group", [False, True])
def test_the_summary_and_the_page_say_it(group, cli, tmp_path):
    vectors, labels = data.blobs(400, 40, seed=3)
    columns = {"cus\ntomer": labels % 4} if group else None
    more = {"group_column": "cus\ntomer"} if group else {}
    run = opis.evaluate(vectors, labels, columns=columns, **more)
    run.save(tmp_path / "run")
    found = run.report.recommendation.price_of_one_threshold
    assert found.classes == (4 if group else 40 - (run.counts.sizes < 4).sum())
    of = "groups of cus�tomer" if group else "classes"
    shown = " ".join(cli("recommend", "run", "--details").stdout.split())
    one, own = (f"{100 * rate:.3g} %" for rate in (found.global_frr, found.own_frr))
    said = f"from {one} to {own} (held out)."
    if not found.saves:
        said = f"({one} with one threshold, {own} with own ones; held out)."
    assert shown.count(f"the mean FRR of {of} {said}") == 1
    # What would save is said at once; that nothing would is a detail.
    brief = " ".join(cli("recommend", "run").stdout.split())
    assert (f"the mean FRR of {of} {said}" in brief) == found.saves
    done = cli("gate", "run", "--max-frr", "0.99", "--html", "page.html")
    assert done.returncode == 0, done.stderr
    assert f"the mean FRR of {of} {said}" in (tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("own", "error", "words"),
    [
        (0.08, 0.01, "would lower the mean FRR of classes from 12 % to 8 % (held out)."),
        (
            *(0.08, 0.03),
            "are not shown to lower the mean FRR of classes (12 % with one threshold, 8 % with own "
            "ones; held out).",
        ),
        (
            *(0.13, 0.001),
            "would not lower the mean FRR of classes (12 % with one threshold, 13 % with own ones; "
            "held out).",
        ),
    ],
)
def test_a_saving_that_may_be_chance_is_not_said_to_be_one(own, error, words, small):
    found = PriceOfOneThreshold(0.12, own, 0.01, 0.01, True, 50, error)
    said = price_sentence(found, small.report)
    assert said == "At the same mean FAR (1 %), own thresholds " + words
