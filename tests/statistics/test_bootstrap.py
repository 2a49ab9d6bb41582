"""A bootstrap over classes, against draws made by hand and pairs weighed one by one."""

import math
from types import SimpleNamespace

import data
import numpy as np
import oracle
import pytest

import opis_cli as opis
from opis_cli.judging import resampled
from opis_cli.judging.changes import drawn_changes, figure_changes, figures, intervals
from opis_cli.settings import Settings
from opis_cli.statistics import bootstrap


@pytest.fixture(scope="module")
def run():
    return opis.evaluate(*data.MADE["blobs"], max_far=0.05)


def some_weights(classes, replicates, seed=0):
    return np.concatenate(list(bootstrap.draws(classes, replicates, seed)))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"max_far": 0.05, "prefer": "low-frr"},
        {"max_frr": 0.3, "prefer": "low-far"},
        {"max_far": 0.3, "prefer": "worst-classes", "beta": 2.0, "eps": 0.3},
        {"max_far": 1e-3, "max_frr": 1e-3},
        {"prefer": "cost", "prior": 0.1, "cost_fa": 2.0, "cost_fr": 1.0},
    ],
)
@pytest.mark.parametrize("name", ["blobs", "long_tail", "duplicated", "many_singletons"])
def test_weights_of_one_give_the_figures_of_the_report(name, settings):
    run = opis.evaluate(*data.MADE[name], **settings)
    found = resampled.figures(run, np.ones((2, len(run.counts.sizes))))
    for key, value in figures(run).items():
        expected = math.nan if value is None else value
        # A bound on the FRR is held by a rounding more in the report than in draws.
        loose = key in ("threshold", "frr") and settings.get("prefer") == "low-far"
        step = 1e-3 if loose else 1e-12
        assert found[key] == pytest.approx(expected, rel=1e-9, abs=step, nan_ok=True), key


def test_figures_of_a_draw_are_those_of_the_classes_drawn(run):
    """The oracle's curves of each class, repeated as often as it was drawn."""
    vectors, labels = data.MADE["blobs"]
    found, counts = run.consistency, run.counts
    thresholds = counts.grid.class_thresholds
    x = thresholds[(thresholds >= found.low) & (thresholds <= found.high)]
    curves = oracle.rates_and_utility(vectors, labels, x).utility
    weights = some_weights(len(curves), 20)
    drawn = resampled.figures(run, weights)
    for row, opis_value, eps_value in zip(weights, drawn["opis"], drawn["eps_opis"], strict=True):
        repeated = np.repeat(curves, row.astype(int), axis=0)
        span = x[-1] - x[0]
        spread = np.trapezoid((repeated - repeated.mean(axis=0)) ** 2, x, axis=1) / span
        # The oracle counts in float64: a pair may fall on the other side of a threshold.
        assert opis_value == pytest.approx(spread.mean(), rel=1e-3)
        ranked = repeated[np.argsort(np.trapezoid(repeated, x, axis=1), kind="stable")]
        size = math.ceil(0.1 * len(ranked))
        gap = ranked[:size].mean(axis=0) - ranked[size:].mean(axis=0)
        assert eps_value == pytest.approx(np.trapezoid(gap**2, x) / span, rel=1e-3)


def test_the_range_and_the_choice_share_the_mean_curves_of_draws(run, monkeypatch):
    every, calls, mean_utility = len(run.consistency.classes), [], bootstrap.mean_utility
    monkeypatch.setattr(
        bootstrap, "mean_utility", lambda *given: calls.append(given) or mean_utility(*given)
    )
    resampled.figures(run, some_weights(len(run.counts.sizes), 20))
    assert run.settings.prefer == "utility"
    assert sum(len(classes) == every for _, _, _, classes, _ in calls) == 1


@pytest.mark.parametrize("eps", [0.02, 0.3, 0.9])
def test_the_worst_of_a_draw_are_the_first_in_the_ranking_up_to_their_share(run, eps):
    """Some draws lack the first classes of the ranking, and look far down for their worst."""
    found = run.consistency
    weights = some_weights(len(found.classes), 200)
    weights[::3, found.ranking[:7]] = 0
    weights[0] = 0
    places, worst = bootstrap.worst_weights(weights, found, eps)
    assert len(set(places.tolist())) == len(places)
    for row, own in zip(weights, worst, strict=True):
        left = max(1, math.ceil(round(eps * row.sum(), 9)))
        expected = np.zeros(len(row))
        for k in found.ranking:
            expected[k] = min(row[k], left)
            left -= expected[k]
        drawn = np.zeros(len(row))
        drawn[places] = own
        assert drawn.tolist() == expected.tolist()


def test_pooled_far_moves_by_both_classes_of_a_pair(run):
    """Pairs weighed by the product of their classes' weights, near weights of 1."""
    vectors, labels = data.MADE["blobs"]
    column = np.array([len(run.counts.grid.by_class) // 3])
    threshold = run.counts.grid.class_thresholds[column[0]]
    accepted = oracle.distances(vectors) <= threshold
    other = labels[:, None] != labels[None, :]
    rng = np.random.default_rng(0)
    for _ in range(3):
        weights = 1 + 1e-4 * rng.standard_normal(12)
        pairs = weights[labels][:, None] * weights[labels][None, :] * other
        exact = (pairs * accepted).sum() / pairs.sum()
        plain = (other & accepted).sum() / other.sum()
        (found,) = bootstrap.pooled_far(weights[None], run.counts, column)[:, 0]
        assert found - plain == pytest.approx(exact - plain, rel=0.01)
        ratio = weights @ run.counts.impostor[:, column[0]] / (weights @ run.counts.impostor_pairs)
        assert ratio - plain == pytest.approx((exact - plain) / 2, rel=0.05)


def test_rates_of_a_draw_by_hand(run):
    counts = run.counts
    weights = some_weights(12, 5)
    rejected = counts.genuine_pairs - counts.genuine[:, 100].astype(int)
    frr = bootstrap.pooled_frr(weights, counts, np.array([100]))[:, 0]
    recall = bootstrap.recall_at_1(weights, counts)
    for row, one, two in zip(weights.astype(int), frr, recall, strict=True):
        who = np.repeat(np.arange(12), row)
        assert one == pytest.approx(rejected[who].sum() / counts.genuine_pairs[who].sum())
        assert two == pytest.approx(counts.nearest_hits[who].sum() / counts.sizes[who].sum())


def test_draws_are_of_as_many_classes_and_the_same_for_a_seed(monkeypatch):
    whole = some_weights(50, 30, seed=3)
    assert np.all(whole.sum(axis=1) == 50) and np.all(whole >= 0)
    assert np.allclose(whole.mean(), 1) and 0.8 < whole.var() < 1.2
    monkeypatch.setattr(bootstrap, "_BLOCK_VALUES", 50 * 7)
    assert np.array_equal(some_weights(50, 30, seed=3), whole)
    assert not np.array_equal(some_weights(50, 30, seed=4), whole)


def test_limits_hold_one_by_one_and_are_none_where_draws_are_undefined():
    values = np.arange(1001.0)
    assert bootstrap.one_sided_limits(values, 0.95) == pytest.approx((50, 950))
    values[:50] = np.nan
    assert bootstrap.one_sided_limits(values, 0.95) is not None
    values[:200] = np.nan
    assert bootstrap.one_sided_limits(values, 0.95) is None


def changes_of(run, base):
    """How two runs differ, with intervals of 95 %."""
    draws = drawn_changes(run, base, seed=0)
    return figure_changes(run, base, draws, confidence=0.95)


def test_what_two_runs_share_cancels():
    """The same model twice differs by nothing; its interval by itself is wide."""
    vectors, labels = data.MADE["blobs"]
    run = opis.evaluate(vectors, labels)
    names = np.array([f"class {label:03}" for label in 11 - labels], object)
    # Other names, in another order: classes are matched by name, not by place.
    again, twin = opis.evaluate(vectors, names), opis.evaluate(vectors, names[::-1][::-1])
    found = changes_of(again, twin)
    assert all(one.change == 0 and one.interval == (0, 0) for one in found.values())
    own = intervals(run, None, confidence=0.9, seed=0)["opis"]
    assert own[0] < run.report.opis < own[1]


def test_classes_are_matched_by_name():
    vectors, labels = data.MADE["blobs"]
    # As text the classes sort otherwise: 10 comes before 2.
    one, two = opis.evaluate(vectors, labels), opis.evaluate(vectors, labels.astype(str))
    found = changes_of(one, two)
    own = intervals(one, None, confidence=0.95, seed=0)
    # In another order, products may round a pair over a threshold.
    for name in ("recall_at_1", "frr", "opis"):
        few = 0.01 * (own[name][1] - own[name][0])
        assert few > 0 and found[name].interval == pytest.approx((0, 0), abs=few), name


def test_a_far_of_a_draw_that_falls_again_allows_nothing_beyond_its_first_breach():
    """Three classes of two rows, of which the draw has the first one three times.

    Its FAR rises to a third by that class's pairs, falls to 0 by those of the others, and rises.
    """
    counts = data.hand_made(
        genuine=[[0, 0, 0, 1]] * 3,
        impostor=[[0, 2, 2, 8], [0, 2, 6, 8], [0, 0, 4, 8]],
        sizes=[2, 2, 2],
        thresholds=[0.1, 0.2, 0.3, 0.4],
    )
    weights = np.array([[3.0, 0.0, 0.0]])
    far = bootstrap.pooled_far(weights, counts, np.arange(4))[0]
    assert far == pytest.approx([0, 1 / 3, 0, 1])
    chosen = SimpleNamespace(threshold=0.1, at_max_far=SimpleNamespace(threshold=0.1))
    run = SimpleNamespace(
        counts=counts,
        report=SimpleNamespace(recommendation=chosen),
        settings=Settings(max_far=0.3, prefer="low-frr"),
    )
    best, at_max_far = resampled._choices(run, weights, np.arange(4), None)
    assert (best.tolist(), at_max_far.tolist()) == ([0], [0])


def test_recall_is_over_the_rows_that_have_a_genuine_pair():
    """A row may have none in its tenant, though its class has some in others."""
    vectors, labels = data.MADE["long_tail"]
    tenants = np.random.default_rng(0).integers(0, 8, len(labels))
    run = opis.evaluate(vectors, labels, columns={"tenant": tenants}, within_column="tenant")
    assert run.counts.searchers.sum() < run.counts.sizes[run.counts.evaluable].sum()
    whole = bootstrap.recall_at_1(np.ones((1, len(run.counts.sizes))), run.counts)
    assert whole[0] == pytest.approx(run.report.recall_at_1)
