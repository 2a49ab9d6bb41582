"""OPIS, eps-OPIS, ranges, EER and the recommendation against brute force and by hand."""

import dataclasses
import tracemalloc

import data
import numpy as np
import oracle
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import opis_cli as opis
from opis_cli.counting.sizes import Sizes
from opis_cli.errors import InputError
from opis_cli.records import Grid
from opis_cli.scoring import curves
from opis_cli.scoring.opis import consistency_of, opis_by, trapezoid_weights
from opis_cli.scoring.pooled import EqualError, equal_error
from opis_cli.scoring.recommend import recommend
from opis_cli.statistics import bootstrap

REAL = ("wordnet", "fonts_base", "fonts_tcm")
PUBLISHED = {
    # OPIS, 10%-OPIS, recall@1, both ends of the range; from brute force in float64.
    "wordnet": (0.014100, 0.08974, 0.9108, 0.6737, 0.8336),
    "fonts_base": (0.002608, 0.019909, 0.97025, 0.2964, 0.4011),
    "fonts_tcm": (0.000766, 0.004778, 0.98797, 0.3657, 0.5147),
}


@pytest.mark.parametrize("name", REAL)
def test_published_figures_of_the_sample_data(name):
    report = opis.evaluate(data.SAMPLES / f"{name}.parquet").report
    value, eps, recall, low, high = PUBLISHED[name]
    assert report.opis == pytest.approx(value, rel=5e-3)
    assert report.eps_opis.value == pytest.approx(eps, rel=5e-3)
    assert report.recall_at_1 == pytest.approx(recall, abs=5e-5)
    width = high - low
    assert report.calibration_range.threshold_low == pytest.approx(low, abs=0.002 * width + 5e-5)
    assert report.calibration_range.threshold_high == pytest.approx(high, abs=0.002 * width + 5e-5)


CASES = {
    "blobs": {},
    "long_tail": {},
    "narrow": {},
    "two_classes": {},
    "many_singletons": {},
    "uneven_tiles": {"beta": 2.0},
    "duplicated": {"eps": 0.3},
}


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("name", CASES)
def test_opis_equals_brute_force(name, metric):
    vectors, labels = data.MADE[name]
    run = opis.evaluate(vectors, labels, metric=metric, max_far=0.02, **CASES[name])
    report, found = run.report, run.consistency
    distance = oracle.distances(vectors, metric)
    truth = oracle.opis(vectors, labels, metric=metric, distance=distance, **CASES[name])
    width = truth.t_hi - truth.t_lo
    assert found.points >= 1_024
    assert found.low == pytest.approx(truth.t_lo, abs=0.002 * width)
    assert found.high == pytest.approx(truth.t_hi, abs=0.002 * width)
    assert report.opis == pytest.approx(truth.opis, rel=5e-3, abs=1e-6)
    assert report.eps_opis.value == pytest.approx(truth.eps_opis, rel=5e-3, abs=1e-6)
    assert report.eps_opis.opis_gap == pytest.approx(truth.opis_gap, rel=1e-2, abs=1e-6)
    assert np.allclose(found.contributions, truth.contributions, rtol=2e-2, atol=2e-5)
    # A mean over a range whose ends may be off by so much.
    assert np.allclose(found.mean_utilities, truth.mean_utility, atol=2e-3)
    best = oracle.best_frr_at_far(vectors, labels, 0.02, metric, distance=distance)
    assert report.recommendation.at_max_far.frr <= best.frr + 1e-3
    rate, _ = oracle.eer(vectors, labels, metric, distance=distance)
    assert report.eer.rate == pytest.approx(rate, abs=2e-3)


@pytest.mark.parametrize("scale", ["euclidean_unit", "log_far"])
@pytest.mark.parametrize("name", CASES)
def test_opis_on_other_scales_equals_brute_force(name, scale):
    """The oracle substitutes: equal steps of the scale, where opis weighs its own thresholds."""
    vectors, labels = data.MADE[name]
    report = opis.evaluate(vectors, labels, **CASES[name]).report
    truth = oracle.opis(vectors, labels, scale=scale, points=8_001, **CASES[name])
    found = getattr(report.opis_by, scale)
    assert found.opis == pytest.approx(truth.opis, rel=5e-3, abs=1e-6)
    assert found.eps_opis == pytest.approx(truth.eps_opis, rel=5e-3, abs=1e-6)


def test_no_monotone_transform_changes_opis_by_log_far():
    vectors, labels = data.MADE["blobs"]
    run = opis.evaluate(vectors, labels)
    counts, calibration = run.counts, run.settings.calibration_range
    for transform in (lambda t: np.sqrt(2 * t), np.expm1, lambda t: t**3 / 7):
        grid = dataclasses.replace(counts.grid, thresholds=transform(counts.grid.thresholds))
        other = dataclasses.replace(counts, grid=grid)
        found = consistency_of(other, calibration, 1.0, 0.1)
        assert found.opis != pytest.approx(run.report.opis, rel=1e-2)
        by = opis_by(found)
        assert by.log_far == run.report.opis_by.log_far
    # And counted anew, at thresholds of its own.
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    l2 = opis.evaluate(unit, labels, metric="euclidean").report
    assert l2.opis_by.log_far.opis == pytest.approx(run.report.opis_by.log_far.opis, rel=2e-3)
    assert l2.opis == l2.opis_by.euclidean_unit.opis
    assert l2.opis == pytest.approx(run.report.opis_by.euclidean_unit.opis, rel=2e-3)


def test_ties_of_the_far_have_no_weight_on_its_scale():
    # FAR 1/10, 1/10, 1/10, 1: of the range only the last step counts.
    counts = data.hand_made(
        genuine=[[1, 1, 1, 1], [0, 0, 1, 1]],
        impostor=[[1, 1, 1, 10], [1, 1, 1, 10]],
        sizes=[2, 2],
        thresholds=[0.0, 0.2, 0.4, 1.0],
    )
    found = consistency_of(counts, opis_range("distance", 0.0, 1.0), 1.0, 0.1)
    by = found.by_scale
    assert by["log_far"].weights.tolist() == [0, 0, 0.5, 0.5]
    # From 0.4 on both classes are alike.
    assert found.opis > 0 and by["log_far"].opis == 0
    assert by["euclidean_unit"].weights == pytest.approx(
        trapezoid_weights(np.sqrt([0.0, 0.4, 0.8, 2.0]))
    )
    alike = consistency_of(counts, opis_range("distance", 0.0, 0.4), 1.0, 0.1)
    assert set(alike.by_scale) == {"euclidean_unit"}


def test_a_scale_that_does_not_exist_is_null():
    vectors, labels = data.MADE["blobs"]
    report = opis.evaluate(vectors, labels, metric="euclidean").report
    assert report.opis_by.euclidean_unit is None and report.opis_by.log_far is not None
    report = opis.evaluate(vectors, labels, calibration="distance:0..0.3").report
    assert report.opis_by.log_far is None and report.opis_by.euclidean_unit is not None


@pytest.mark.parametrize("calibration", ["frr:0.02..0.2", "distance:0.4..0.8", "far:0.001..0.3"])
def test_other_calibration_ranges(calibration):
    vectors, labels = data.MADE["blobs"]
    run = opis.evaluate(vectors, labels, calibration=calibration)
    asked = run.settings.calibration_range
    truth = oracle.opis(vectors, labels, asked.by, asked.low, asked.high)
    assert run.consistency.points >= 1_024
    assert run.report.opis == pytest.approx(truth.opis, rel=5e-3, abs=1e-6)
    assert run.consistency.low == pytest.approx(truth.t_lo, abs=0.002 * (truth.t_hi - truth.t_lo))


def test_a_sampled_pilot_serves_as_well():
    """Larger data is placed from a sample: shrink what counts as small."""
    sizes = Sizes(exhaustive_pairs=1_000, small_pairs=1_000, pilot_rows=300)
    vectors, labels = data.blobs(2_500, 50, seed=11)
    truth, best_at = oracle.opis(vectors, labels, points=4_001), {}
    for engine in ("numpy", "numba"):
        run = data.evaluate(vectors, labels, sizes, engine=engine)
        assert run.consistency.points >= 1_024
        assert run.counts.grid.window < len(run.counts.grid.thresholds)
        assert run.report.opis == pytest.approx(truth.opis, rel=5e-3)
        for point in run.report.operating_points:
            if point.supported:
                if point.far not in best_at:
                    best_at[point.far] = oracle.best_frr_at_far(vectors, labels, point.far)
                assert point.achieved_far <= point.far
                assert point.frr <= best_at[point.far].frr + 1e-3


def test_a_misplaced_grid_is_noticed_and_counted_again(monkeypatch):
    """A pilot that saw only two classes far apart puts the range where it is not."""
    from opis_cli.counting import count, grid, pilot

    vectors, labels = data.blobs(900, 30, seed=12)
    true_pilot, grids = pilot.run_pilot, []

    def wrong_pilot(plan, needs, seed, sizes):
        seen = true_pilot(plan, needs, seed, sizes)
        squeezed = grid.Distribution(seen.impostor.distances * 0.2, seen.impostor.accepted)
        return grid.Pilot(seen.genuine, squeezed, exact=False)

    def watched(*args):
        grids.append(args[2].grid)
        return real(*args)

    real = count._count_parts
    monkeypatch.setattr(pilot, "run_pilot", wrong_pilot)
    monkeypatch.setattr(count, "_count_parts", watched)
    run = data.evaluate(vectors, labels, Sizes(exhaustive_pairs=1_000, pilot_rows=300))
    assert len(grids) > 1
    assert run.report.opis == pytest.approx(oracle.opis(vectors, labels).opis, rel=5e-3)


def far_and_frr(vectors, labels, threshold, metric="cosine"):
    """Rates at a threshold by brute force, distances rounded as a float32 product rounds them."""
    table = oracle.pair_table(vectors, labels, metric)
    accepted = table.distance <= threshold
    return accepted[~table.genuine].mean(), 1 - accepted[table.genuine].mean()


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    rows=st.integers(30, 200),
    classes=st.integers(2, 20),
    max_far=st.sampled_from([None, 0.003, 0.05, 0.3]),
    max_frr=st.sampled_from([None, 0.02, 0.2]),
    prefer=st.sampled_from(["utility", "low-far", "low-frr", "worst-classes"]),
)
def test_bounds_hold_exactly_or_no_threshold_meets_them(
    seed, rows, classes, max_far, max_frr, prefer
):
    assume(not (prefer == "low-frr" and max_far is None and max_frr is not None))
    assume(not (prefer == "low-far" and max_frr is None))
    vectors, labels = data.blobs(rows, classes, seed=seed)
    assume(len(set(labels)) > 1 and np.unique(labels, return_counts=True)[1].max() > 1)
    run = opis.evaluate(
        vectors,
        labels,
        max_far=max_far,
        max_frr=max_frr,
        prefer=prefer,
        calibration="distance:0.1..0.5",
    )
    chosen = run.report.recommendation
    far_bound = 0.01 if max_far is None and max_frr is None else max_far
    if chosen.status == "feasible":
        far, frr = far_and_frr(vectors, labels, chosen.threshold)
        assert far_bound is None or far <= far_bound
        assert max_frr is None or frr <= max_frr + 1e-12
        # A pair that lies a rounding beyond the threshold may count as accepted.
        assert chosen.far == pytest.approx(far, abs=2.5 / run.counts.impostor_total)
        assert chosen.frr == pytest.approx(frr, abs=2.5 / run.counts.genuine_total)
        assert chosen.interval[0] <= chosen.threshold <= chosen.interval[1]
        assert prefer != "low-frr" or chosen.threshold == chosen.interval[1]
        assert prefer != "low-far" or chosen.threshold == chosen.interval[0]
    else:
        best = oracle.best_frr_at_far(vectors, labels, far_bound)
        assert max_frr is not None and best.frr > max_frr
        assert chosen.threshold is None and chosen.far is None and chosen.interval is None
        assert chosen.at_max_far.far <= far_bound and chosen.at_max_frr.frr <= max_frr


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1_000))
def test_row_order_and_label_names_change_nothing(seed):
    rng = np.random.default_rng(seed)
    vectors, labels = data.blobs(150, 6, seed=seed)
    order, names = rng.permutation(150), rng.permutation(100)[:6]
    one = opis.evaluate(vectors, labels).report
    two = opis.evaluate(vectors[order], names[labels[order]]).report
    # But for the places of the grid, which move with the rounding of a product.
    assert two.opis == pytest.approx(one.opis, rel=1e-4)
    assert two.eps_opis.value == pytest.approx(one.eps_opis.value, rel=1e-4)
    assert two.recall_at_1 == one.recall_at_1
    ends = two.recommendation.at_max_far, one.recommendation.at_max_far
    assert ends[0].threshold == pytest.approx(ends[1].threshold, abs=1e-5)
    assert ends[0].frr == pytest.approx(ends[1].frr, abs=2.5 / one.pairs.genuine)


def test_far_rises_and_frr_falls_with_the_threshold():
    run = opis.evaluate(*data.MADE["long_tail"])
    assert np.all(np.diff(run.counts.grid.thresholds) > 0)
    assert np.all(np.diff(run.counts.pooled_far) >= 0)
    assert np.all(np.diff(run.counts.pooled_frr) <= 0)
    assert run.counts.pooled_far[-1] == 1 and run.counts.pooled_frr[-1] == 0


def test_opis_by_hand():
    # Two classes of two rows: one genuine pair and four impostor pairs each, the same four.
    counts = data.hand_made(
        genuine=[[1, 1, 1], [0, 0, 1]],
        impostor=[[0, 0, 4], [0, 0, 4]],
        sizes=[2, 2],
        thresholds=[0.0, 0.5, 1.0],
    )
    calibration = opis_range("distance", 0.0, 0.5)
    found = consistency_of(counts, calibration, beta=1.0, eps=0.1)
    # Utility is 1 for the first class and 0 for the second all over [0, 0.5]; the mean is 1/2.
    assert found.contributions.tolist() == [0.25, 0.25]
    assert found.opis == 0.25
    assert found.eps_opis == 1.0
    assert found.worst.tolist() == [1]
    assert found.opis_gap == 0.0


def opis_range(by, low, high):
    from opis_cli.values import Calibration

    return Calibration(by, low, high)


def test_utility_by_hand():
    assert curves.utility(np.array(0.0), np.array(0.0), 1.0) == 1.0
    assert curves.utility(np.array(1.0), np.array(1.0), 1.0) == 0.0
    assert curves.utility(np.array(0.5), np.array(0.0), 1.0) == pytest.approx(2 / 3)
    # beta = 2 lets sensitivity weigh more: losing it costs more than losing specificity.
    lost_sensitivity = curves.utility(np.array(0.0), np.array(0.5), 2.0)
    lost_specificity = curves.utility(np.array(0.5), np.array(0.0), 2.0)
    assert lost_sensitivity == pytest.approx(5 * 0.5 / 4.5)
    assert lost_sensitivity < lost_specificity


def test_identical_curves_give_zero():
    counts = data.hand_made([[0, 1, 3]] * 3, [[0, 5, 18]] * 3, [3, 3, 3], [0.0, 0.4, 1.0])
    found = consistency_of(counts, opis_range("distance", 0.0, 1.0), 1.0, 0.1)
    assert found.opis == 0.0 and found.eps_opis == 0.0


def test_one_evaluable_class_has_no_opis():
    vectors, _ = data.blobs(30, 3)
    run = opis.evaluate(vectors, [0] * 10 + list(range(1, 21)))
    assert run.report.opis is None and run.report.eps_opis.value is None
    assert run.report.eps_opis.opis_gap is None
    assert run.report.source.singleton_classes == 20
    assert run.report.recommendation.status == "feasible"


@pytest.mark.parametrize("calibration", ["far:0.0001..0.001", "frr:0.0001..0.001"])
def test_a_range_that_the_pairs_cannot_resolve_is_an_error(calibration):
    with pytest.raises(InputError, match=r"cannot be resolved.*impostor"):
        opis.evaluate(*data.blobs(20, 4), calibration=calibration)


def test_a_frr_bound_alone_with_a_range_of_distances():
    vectors, labels = data.blobs(30, 3)
    report = opis.evaluate(vectors, labels, max_frr=0.5, calibration="distance:0.1..0.3").report
    assert report.recommendation.frr <= 0.5


def test_ties_that_leave_no_range_are_an_error():
    vectors = np.repeat(np.eye(3, dtype=np.float32), 20, axis=0)
    with pytest.raises(InputError, match="tie"):
        opis.evaluate(vectors, np.repeat([0, 1, 2], 20))


def test_impostor_duplicates_leave_no_threshold_for_a_low_far():
    vectors = np.repeat(np.random.default_rng(0).standard_normal((10, 8)), 10, axis=0)
    labels = np.tile(np.arange(10), 10)
    report = opis.evaluate(vectors, labels, calibration="distance:0.1..0.9", max_far=0.001).report
    assert report.recommendation.status == "infeasible"
    assert report.recommendation.at_max_far.threshold is None
    assert report.operating_points[-1].threshold is None


@pytest.mark.parametrize("name", ["narrow", "blobs", "duplicated"])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_bounds_from_a_run_hold_against_float64_whatever_the_rounding(name, metric):
    vectors, labels = data.MADE[name]
    run = opis.evaluate(vectors, labels, metric=metric)
    table = oracle.pair_table(vectors, labels, metric)
    genuine, impostor = table.distance[table.genuine], table.distance[~table.genuine]
    for bound in np.geomspace(0.002, 0.6, 60):
        chosen = run.recommend(max_frr=bound, prefer="low-far")
        assert np.count_nonzero(genuine > chosen.threshold) <= bound * len(genuine)
        chosen = run.recommend(max_far=bound, prefer="low-frr")
        if chosen.threshold is not None:
            assert np.count_nonzero(impostor <= chosen.threshold) <= bound * len(impostor)


@pytest.mark.parametrize("offset", [30.0, 1_000.0])
def test_vectors_that_all_point_the_same_way_are_as_exact(offset):
    vectors, labels = data.blobs(600, 20, 40, seed=7)
    vectors += np.float32(offset)
    report = opis.evaluate(vectors, labels).report
    truth = oracle.opis(vectors, labels)
    assert report.opis == pytest.approx(truth.opis, rel=5e-3)
    assert report.calibration_range.threshold_low == pytest.approx(
        truth.t_lo, abs=0.002 * (truth.t_hi - truth.t_lo)
    )
    assert report.recall_at_1 == oracle.recall_at_1(vectors, labels).recall


def test_an_outlier_that_leaves_no_digits_is_an_error():
    vectors, labels = data.MADE["blobs"]
    for factor, says in ((3e2, "too narrow for float32"), (1e5, "told apart down to [1-9]")):
        far_away = vectors.copy()
        far_away[0] *= factor
        with pytest.raises(InputError, match=says):
            opis.evaluate(far_away, labels, metric="euclidean")
    with pytest.raises(InputError, match="scale them down"):
        opis.evaluate(vectors.astype(float) * 1e200, labels, metric="euclidean")
    one, two = (opis.evaluate(v, labels).report for v in (vectors, vectors.astype(float) * 1e200))
    assert one.opis == pytest.approx(two.opis, rel=1e-3)


def test_a_deployed_threshold_beyond_every_distance_accepts_all():
    report = opis.evaluate(*data.MADE["blobs"], metric="euclidean", threshold=1e9).report
    assert (report.deployed.far, report.deployed.frr) == (1.0, 0.0)


def test_what_the_api_cannot_use_is_said_at_once():
    vectors, labels = data.MADE["blobs"]
    with pytest.raises(InputError, match="no labels"):
        opis.evaluate(vectors)
    with pytest.raises(InputError, match="a path too"):
        opis.evaluate(data.SAMPLES / "wordnet.parquet", labels)
    for wrong in ({"beta": "x"}, {"threads": 2.5}, {"max_far": "0.1"}):
        with pytest.raises(opis.OpisError, match="must be a"):
            opis.evaluate(vectors, labels, **wrong)
    run = opis.evaluate(vectors, labels, max_far=np.float32(0.25), seed=np.int64(3))
    assert run.settings.max_far == 0.25 and type(run.settings.seed) is int


def test_a_deployed_threshold_is_judged_exactly():
    vectors, labels = data.MADE["blobs"]
    deployed = 0.314159
    report = opis.evaluate(vectors, labels, threshold=str(deployed)).report
    far, frr = far_and_frr(vectors, labels, deployed)
    assert report.deployed.threshold == deployed
    assert (report.deployed.far, report.deployed.frr) == (pytest.approx(far), pytest.approx(frr))


def test_equivalents_name_the_same_threshold():
    vectors, labels = data.MADE["blobs"]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    chosen = opis.evaluate(vectors, labels, max_far=0.02).report.recommendation
    same = opis.evaluate(unit, labels, max_far=0.02, metric="euclidean").report.recommendation
    assert same.threshold == pytest.approx(chosen.equivalents.euclidean_unit, rel=2e-3)
    assert same.equivalents.cosine_similarity == pytest.approx(1 - chosen.threshold, abs=2e-3)
    raw = opis.evaluate(vectors, labels, metric="euclidean").report.recommendation
    assert raw.equivalents.cosine_similarity is None


@pytest.mark.parametrize(
    ("classes", "eps", "worst"), [(70, 0.1, 7), (71, 0.1, 8), (3, 0.1, 1), (100, 0.07, 7)]
)
def test_the_worst_classes_are_a_share_rounded_up_as_it_is_written(classes, eps, worst):
    """0.1 * 70 is 7.000000000000001 and 0.07 * 100 is 7.000000000000001: both mean 7."""
    accepted = np.arange(classes)[:, None] % 2 * np.array([[1, 1, 0]]) | np.array([[0, 0, 1]])
    impostor = np.tile([0, 0, 2 * (2 * classes - 2)], (classes, 1))
    counts = data.hand_made(accepted, impostor, [2] * classes, [0.0, 0.5, 1.0])
    found = consistency_of(counts, opis_range("distance", 0.0, 0.5), 1.0, eps)
    assert len(found.worst) == worst
    places, drawn = bootstrap.worst_weights(np.ones((1, classes)), found, eps)
    assert found.classes[places].tolist() == found.worst.tolist() and drawn.sum() == worst


def test_many_classes_take_little_memory_and_few_passes(monkeypatch):
    """Neither is more than a few times the least: the curves of the classes are never all held."""
    classes, columns = 4_000, 500
    rng = np.random.default_rng(0)
    genuine, impostor = (
        np.cumsum(rng.integers(1, 4, (classes, columns)), axis=1) for _ in range(2)
    )
    counts = data.hand_made(genuine, 2 * impostor, [9] * classes, np.linspace(0, 1, columns))
    computed, utility = [], curves.utility
    monkeypatch.setattr(
        curves, "utility", lambda far, *rest: computed.append(far.size) or utility(far, *rest)
    )
    tracemalloc.start()
    found = consistency_of(counts, opis_range("distance", 0.1, 0.9), 1.0, 0.1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert set(found.by_scale) == {"euclidean_unit", "log_far"}
    curves_of_all = 8 * classes * columns
    assert peak < curves_of_all / 2
    # The mean curve over the axis, the deviations over the range, and the worst of three scales.
    assert sum(computed) < 2.2 * classes * columns


def only_pooled_between(by_class):
    """Two classes of six thresholds; FAR rises by a tenth and FRR falls by a fifth at each."""
    impostor = np.array([0, 1, 2, 3, 4, 10])
    genuine = np.array([5, 6, 7, 8, 9, 10])
    counts = data.hand_made(
        genuine=[genuine // 2, genuine - genuine // 2],
        impostor=[impostor, impostor],
        sizes=[4, 4],
        thresholds=[0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
    )
    return dataclasses.replace(
        counts,
        grid=Grid(counts.grid.thresholds, 2, np.array(by_class)),
        genuine=counts.genuine[:, by_class],
        impostor=counts.impostor[:, by_class],
    )


@pytest.mark.parametrize(
    ("by_class", "bounds", "expected"),
    [
        # Both bounds hold at 0.3 and 0.4 only, between two thresholds with counts by class.
        ([0, 1, 5], (0.3, 0.35), 0.4),
        # From 0.3 on to the end of the axis nothing is counted by class: the bound on FRR decides.
        ([0, 1], (None, 0.35), 0.3),
    ],
)
def test_where_only_pooled_counts_are_the_end_that_a_bound_is_about_is_taken(
    by_class, bounds, expected
):
    counts = only_pooled_between(by_class)
    found = consistency_of(counts, opis_range("distance", 0.1, 0.2), 1.0, 0.1)
    chosen = recommend(
        counts, found, max_far=bounds[0], max_frr=bounds[1], prefer="utility", beta=1.0
    )
    assert chosen.interval == (0.3, 0.4 if bounds[0] else 0.6)
    assert chosen.threshold == expected


@pytest.mark.parametrize("searched", [True, False])
def test_false_accepts_per_query_are_those_that_a_row_meets(searched):
    """Of a search, a query's own; without a gallery every row is a query of the others."""
    vectors, labels = data.MADE["blobs"]
    queries = 200 if searched else len(labels)
    gallery = (vectors[queries:], labels[queries:]) if searched else None
    run = opis.evaluate(vectors[:queries], labels[:queries], gallery=gallery, max_far=0.05)
    chosen = run.report.recommendation
    accepted = oracle.distances(vectors) <= chosen.threshold + 5e-7
    accepted &= labels[:, None] != labels
    met = accepted[:queries, queries:] if searched else accepted
    assert met.sum(axis=1).mean() > 1
    assert chosen.false_accepts_per_query == pytest.approx(met.sum(axis=1).mean(), rel=1e-3)


def test_the_eer_lies_between_the_two_rates_that_are_closest():
    # FAR 0, 1/5, 3/5, 1; FRR 1, 2/5, 3/10, 0: closest at the second threshold.
    counts = data.hand_made(
        genuine=[[0, 3, 3, 5], [0, 3, 4, 5]],
        impostor=[[0, 2, 6, 10], [0, 2, 6, 10]],
        sizes=[4, 4],
        thresholds=[0.1, 0.2, 0.3, 0.4],
    )
    assert equal_error(counts) == EqualError(pytest.approx(0.3), 0.2)
