"""Maps from distances to likelihood ratios: against scikit-learn and lir on all scores, by hand."""

import dataclasses
import math

import data
import numpy as np
import pandas as pd
import pytest
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

import opis_cli as opis
from opis_cli.counting.sizes import Sizes
from opis_cli.deciding.table import decide_table
from opis_cli.report.threshold_file import write_threshold
from opis_cli.scoring.llr import (
    Cells,
    LlrMap,
    cells_of,
    cllr,
    comparable_classes,
    logistic,
    min_cllr,
    pav,
    shares_of,
)


@pytest.fixture(scope="module", params=["score", "distance"])
def scored(request, tmp_path_factory):
    """A run of scored pairs, their distances, and which are genuine."""
    rng = np.random.default_rng(4)
    genuine = np.arange(1_500) < 300
    distances = np.where(genuine, rng.gamma(3.0, 0.5, 1_500), rng.gamma(9.0, 0.5, 1_500))
    # Scores that float32 holds exactly: each gets a threshold beyond it.
    distances = np.round(distances * 128) / 128
    numbers = distances if request.param == "distance" else 10 - distances
    distances = distances if request.param == "distance" else -numbers
    file = tmp_path_factory.mktemp("scored") / "pairs.parquet"
    pd.DataFrame({request.param: numbers, "genuine": genuine}).to_parquet(file)
    return opis.evaluate(file, pairs=True, max_far=0.05), distances, genuine


def whole(counts):
    return cells_of(counts, *shares_of(counts, [comparable_classes(counts)]))


def by_lir(distances, genuine, llrs):
    """Cllr and min Cllr of natural LLRs by lir, and its isotonic LLRs with one pair more."""
    from lir.algorithms.isotonic_regression import IsotonicCalibrator
    from lir.data.models import LLRData
    from lir.metrics import cllr, cllr_min

    made = IsotonicCalibrator(add_misleading=1)
    curve = made.fit(-distances, genuine.astype(int)).transform(-distances) * math.log(10)
    judged = LLRData(features=llrs / math.log(10), labels=genuine.astype(int))
    return cllr(judged), cllr_min(judged), curve


def test_the_line_is_that_of_scikit_learn(scored):
    run, distances, genuine = scored
    # Platt's targets: the weight of one pair of each kind lies on the pairs of the other.
    many, few = np.sum(~genuine), np.sum(genuine)
    own = np.where(genuine, few / (few + 1) / few, many / (many + 1) / many)
    other = np.where(genuine, 1 / (many + 1) / few, 1 / (few + 1) / many)
    line = LogisticRegression(C=1e12, tol=1e-10, max_iter=1_000).fit(
        np.tile(distances, 2)[:, None],
        np.append(genuine, ~genuine),
        sample_weight=1e3 * np.append(own, other),
    )
    found = run.report.llr.map
    assert found.method == "logistic" and run.report.llr.classes == 0
    assert found.slope == pytest.approx(line.coef_[0, 0], rel=2e-3)
    assert found.intercept == pytest.approx(line.intercept_[0], rel=2e-3, abs=2e-3)


def test_the_curve_and_the_costs_are_those_of_scikit_learn_and_lir(scored):
    run, distances, genuine = scored
    cells, found = whole(run.counts), run.report.llr
    llrs = found.map.at(distances)
    nats = np.logaddexp(0, -llrs[genuine]).mean() + np.logaddexp(0, llrs[~genuine]).mean()
    assert found.cllr_logistic == pytest.approx(nats / 2 / math.log(2), rel=1e-3)
    weights = np.where(genuine, 1 / genuine.sum(), 1 / (~genuine).sum())
    share = IsotonicRegression().fit_transform(-distances, genuine, sample_weight=weights)
    with np.errstate(divide="ignore"):
        least = -np.log2(share[genuine]).mean() - np.log2(1 - share[~genuine]).mean()
    assert found.min_cllr == pytest.approx(least / 2, rel=1e-9)
    # Each cell holds one score: the curve goes through the LLR of each.
    assert len(cells.distances) == len(np.unique(distances))
    pytest.importorskip("lir", reason="needs opis-cli[dev]")
    cost, lowest, curve = by_lir(distances, genuine, llrs)
    assert found.cllr_logistic == pytest.approx(cost, rel=1e-3)
    assert found.min_cllr == pytest.approx(lowest, rel=1e-9)
    _, first = np.unique(distances, return_index=True)
    np.testing.assert_allclose(pav(cells).at(cells.distances), curve[first], rtol=1e-9)


def test_costs_by_hand():
    # Half of the genuine pairs at 1, half at 2; a quarter of the impostors at 2, the rest at 3.
    cells = Cells(
        np.array([1.0, 2, 3]), np.array([0.5, 0.5, 0]), np.array([0, 0.25, 0.75]), (4.0, 16.0)
    )
    # A map that tells nothing costs one bit.
    assert cllr(cells, np.zeros(3)) == 1
    # LR 3, 1 and 1/3: log2(4/3), 1 bit, and the same for impostors.
    own = 0.5 * math.log2(4 / 3) + 0.5 * 1
    other = 0.25 * 1 + 0.75 * math.log2(4 / 3)
    llrs = np.log([3, 1, 1 / 3])
    assert cllr(cells, llrs) == pytest.approx((own + other) / 2, rel=1e-12)
    # The best falling map says infinity, 2 and 0: only pairs at 2 cost.
    best = (0.5 * math.log2(1 + 1 / 2) + 0.25 * math.log2(1 + 2)) / 2
    assert min_cllr(cells) == pytest.approx(best, rel=1e-12)
    # One impostor pair of 16 more at the front, one genuine pair of 4 more at the back.
    genuine, impostor = (
        np.array([0.5, 0.5, 0.25]) / 1.25,
        np.array([1 / 16, 0.25, 0.75]) / (17 / 16),
    )
    assert pav(cells).values == (1, 2, 3)
    assert pav(cells).llrs == pytest.approx(np.log(genuine / impostor), rel=1e-12)


def test_a_curve_keeps_the_ends_of_its_flat_parts():
    # Ratios 4, 1/2, 1 (pooled with the one before), 1/2, 1/2, 1/2.
    genuine = np.array([40, 10, 20, 10, 10, 10]) / 100
    impostor = np.array([10, 20, 20, 50 / 3, 50 / 3, 50 / 3]) / 100
    many = Cells(np.arange(6.0), genuine, impostor, (1e15, 1e15))
    found = pav(many)
    assert found.values == (0, 1, 2, 3, 5)
    assert found.llrs == pytest.approx(np.log([4, 0.75, 0.75, 0.6, 0.6]), abs=1e-12)


def test_no_ratio_is_infinite():
    apart = Cells(
        np.array([0.1, 0.2, 0.9, 1.0]),
        np.array([0.5, 0.5, 0, 0]),
        np.array([0, 0, 0.5, 0.5]),
        (100.0, 1_000.0),
    )
    line = logistic(apart)
    assert np.isfinite([line.slope, line.intercept]).all()
    llrs = line.at([0.1, 0.2, 0.9, 1.0])
    # About what one impostor pair of 1,000 and one genuine pair of 100 can show.
    assert (llrs[:2] > math.log(300)).all() and (llrs[2:] < -math.log(30)).all()
    assert np.abs(llrs).max() < 2 * math.log(1_000)
    ends = pav(apart).at([-5.0, 0.2, 0.9, 2e6])
    assert ends == pytest.approx(np.log([1_001 / 1.01] * 2 + [1.001 / 101] * 2), rel=1e-12)


def test_pairs_at_one_distance_say_nothing():
    one = Cells(np.array([0.3]), np.ones(1), np.ones(1), (5.0, 9.0))
    assert (logistic(one).slope, logistic(one).intercept) == (0, 0)
    assert cllr(one, logistic(one).at(one.distances)) == 1 == min_cllr(one)


@pytest.mark.parametrize("beyond", [False, True])
def test_each_class_has_the_same_weight(beyond):
    vectors, labels = data.signs(200, 9, 32, seed=5)
    labels = np.where(np.arange(200) < 90, 0, labels)  # a class with most of the genuine pairs
    labels[-3:] = [50, 51, 52]  # rows without a genuine pair
    sizes = Sizes(small_pairs=0) if beyond else Sizes()
    counts = data.evaluate(vectors, labels, sizes).counts
    assert (counts.genuine_beyond is not None) == beyond
    cells = whole(counts)
    unit = data.unit(vectors.astype(np.float64))
    one, two = np.triu_indices(200, 1)
    pairs = 1 - (unit @ unit.T)[one, two]
    same, shares = labels[one] == labels[two], np.zeros((2, len(pairs)))
    inverses, classes = np.zeros(2), [c for c in np.unique(labels) if c < 50]
    for own in classes:
        inside = (labels[one] == own) | (labels[two] == own)
        for kind, mask in enumerate((same & inside, ~same & inside)):
            shares[kind, mask] += 1 / mask.sum() / len(classes)
            inverses[kind] += 1 / mask.sum()
    # The mean distance of each kind, and the weight between two distances.
    for kind, found in enumerate((cells.genuine, cells.impostor)):
        assert found.sum() == pytest.approx(1, rel=1e-12)
        assert found @ cells.distances == pytest.approx(shares[kind] @ pairs, abs=4e-3)
        low = cells.distances <= run_end(counts)
        assert found[low].sum() == pytest.approx(
            shares[kind][pairs <= run_end(counts)].sum(), abs=1e-9
        )
    pairs_of_one = len(classes) ** 2 / inverses
    # An impostor pair counts for two classes, of which the single rows are some.
    assert cells.pairs == pytest.approx((pairs_of_one[0], pairs_of_one[1] / 2), rel=1e-12)


def run_end(counts):
    """The last threshold of the window."""
    return counts.grid.thresholds[counts.grid.window - 1]


def test_groups_of_scored_pairs_weigh_the_same(tmp_path):
    rng = np.random.default_rng(1)
    sizes = {"a": 800, "b": 80}
    group = np.repeat(list(sizes), list(sizes.values()))
    genuine = rng.random(880) < 0.3
    score = rng.normal(np.where(genuine, 2.0, 0.0) + (group == "b"), 1.0).round(2)
    table = pd.DataFrame({"score": score, "genuine": genuine, "group": group})
    table.to_parquet(tmp_path / "p.parquet")
    run = opis.evaluate(tmp_path / "p.parquet", pairs=True, group_column="group", max_far=0.05)
    cells, expected = (
        whole(run.counts),
        [
            np.mean([score[(group == g) & (genuine == kind)].mean() for g in sizes])
            for kind in (True, False)
        ],
    )
    means = -cells.genuine @ cells.distances, -cells.impostor @ cells.distances
    assert means == pytest.approx(expected, abs=0.02)
    found = run.report.llr
    assert (found.classes, found.folds, found.cllr_pav) == (2, None, None)


@pytest.mark.parametrize("method", ["logistic", "pav"])
def test_threshold_json_has_the_map_on_the_scale_of_the_user(scored, method, tmp_path):
    run, distances, genuine = scored
    report = run.report
    made = report.llr.map if method == "logistic" else pav(whole(run.counts))
    report = opis_with(report, made)
    write_threshold(report, report, tmp_path / "threshold.json")
    rule = opis.load_threshold(tmp_path / "threshold.json")
    assert rule.rule.llr.method == method
    given = -distances if rule.rule.metric == "score" else distances
    llrs = rule.llr(given)
    np.testing.assert_allclose(llrs, made.at(distances), rtol=1e-12, atol=1e-12)
    assert llrs[genuine].mean() > 1 > -1 > llrs[~genuine].mean()
    likely = rule.probability(given, prior=0.2)
    odds = np.exp(llrs) * 0.2 / 0.8
    np.testing.assert_allclose(likely, odds / (1 + odds), rtol=1e-9, atol=1e-15)
    # As many pairs are genuine as the probabilities say, for the prior of these pairs.
    assert likely.sum() == pytest.approx(300, rel=0.1)


def opis_with(report, made: LlrMap):
    """The report with another map."""
    return dataclasses.replace(report, llr=dataclasses.replace(report.llr, map=made))


def test_a_run_decides_a_table_with_its_ratios(tmp_path):
    run = opis.evaluate(*data.signs(120, 6, 32, seed=1))
    write_threshold(run.report, run.report, tmp_path / "threshold.json")
    pd.DataFrame({"distance": [0.2, 1.2]}).to_parquet(tmp_path / "p.parquet")
    rule = opis.load_threshold(tmp_path / "threshold.json")
    decide_table(rule, tmp_path / "p.parquet", tmp_path / "d.parquet")
    found = pd.read_parquet(tmp_path / "d.parquet")["llr"]
    np.testing.assert_allclose(found, run.report.llr.map.at([0.2, 1.2]), rtol=1e-12)
    assert found[0] > 2 > -2 > found[1]
