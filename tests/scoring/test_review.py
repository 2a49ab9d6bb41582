"""Two thresholds with review between them, against all distances; and what decisions cost."""

import json
from dataclasses import replace

import data
import numpy as np
import pandas as pd
import pytest

import opis_cli as opis
from opis_cli.errors import RunError, SettingsError
from opis_cli.report.threshold_file import write_threshold

BOUNDS = {"max_far": 0.01, "max_frr": 0.02}
COSTS = {"prior": 0.05, "cost_fa": 3.0, "cost_fr": 2.0, "cost_review": 0.1}


@pytest.fixture(scope="module")
def run():
    """A run whose bounds no single threshold meets. Its products are exact."""
    vectors, labels = data.signs(240, 12, 32, seed=3)
    labels[-7:] = np.arange(100, 107)  # rows without a genuine pair
    return opis.evaluate(vectors, labels, review=True, threshold="0.6", **BOUNDS, **COSTS)


@pytest.fixture(scope="module")
def distances(run):
    """Distances of all pairs in float64, whether each is genuine, and those to nearest rows."""
    vectors, _ = data.signs(240, 12, 32, seed=3)
    codes = run.embeddings.labels
    unit = data.unit(vectors.astype(np.float64))
    matrix = 1 - unit @ unit.T
    np.fill_diagonal(matrix, np.inf)
    upper = np.triu_indices(len(codes), 1)
    return matrix[upper], (codes[:, None] == codes)[upper], matrix.min(axis=1)


def test_each_threshold_meets_its_bound_and_the_next_one_would_not(run, distances):
    found, (pairs, genuine, _) = run.report.review, distances
    assert run.report.recommendation.status == "infeasible" and not found.one_threshold
    accept, refuse = found.accept_threshold, found.refuse_threshold
    assert accept < refuse
    assert np.mean(pairs[~genuine] <= accept) == found.far <= 0.01
    assert np.mean(pairs[genuine] > refuse) == pytest.approx(found.frr) and found.frr <= 0.02
    next_pair = pairs[pairs > accept + 1e-6].min() + 1e-6
    assert np.mean(pairs[~genuine] <= next_pair) > 0.01
    last_pair = pairs[pairs <= refuse].max() - 1e-6
    assert np.mean(pairs[genuine] > last_pair) > 0.02


def test_what_lies_between_goes_to_review(run, distances):
    found, (pairs, genuine, nearest) = run.report.review, distances
    between = (pairs > found.accept_threshold) & (pairs <= found.refuse_threshold)
    assert found.genuine_pairs == np.sum(between & genuine) > 0
    assert found.impostor_pairs == np.sum(between & ~genuine) > 0
    assert found.pairs_share == between.mean()
    assert found.genuine_share == between[genuine].mean()
    assert found.impostor_share == between[~genuine].mean()
    undecided = (nearest > found.accept_threshold) & (nearest <= found.refuse_threshold)
    assert found.queries_share == undecided.mean() > 0
    # No row's nearest is a genuine one alone: some rows have none.
    assert found.accept_equivalents.cosine_similarity == pytest.approx(1 - found.accept_threshold)
    assert found.refuse_equivalents.cosine_similarity == pytest.approx(1 - found.refuse_threshold)


def test_one_threshold_that_meets_both_bounds_leaves_no_review(run):
    found = run.review(max_far=0.2, max_frr=0.3)
    chosen = run.recommend(max_far=0.2, max_frr=0.3)
    assert found.one_threshold and chosen.threshold is not None
    assert found.accept_threshold == found.refuse_threshold == chosen.threshold
    assert (found.pairs_share, found.queries_share) == (0, 0)
    assert (found.far, found.frr) == (chosen.far, chosen.frr)


def test_with_many_impostors_at_distance_0_nothing_is_accepted(tmp_path):
    vectors, labels = data.signs(240, 12, 32, seed=3)
    vectors[:18] = vectors[0]  # equal rows of 12 classes
    run = opis.evaluate(vectors, labels, review=True, max_far=0.001, max_frr=0.02)
    found, counts = run.report.review, run.counts
    assert found.accept_threshold is None and found.accept_equivalents.cosine_similarity is None
    assert found.far == 0.0 and found.refuse_threshold > 0
    beyond = counts.grid.index_at(found.refuse_threshold)
    assert found.impostor_pairs == counts.pooled_impostor[beyond] > counts.pooled_impostor[0]
    with pytest.raises(RunError, match="no threshold meets"):
        write_threshold(run.report, run.report, tmp_path / "threshold.json")


def test_genuine_pairs_without_a_score_leave_no_threshold_to_refuse_by(tmp_path):
    rng = np.random.default_rng(0)
    genuine = np.arange(2_000) % 4 == 0
    score = rng.normal(np.where(genuine, 1.5, 0.0))
    table = pd.DataFrame({"score": score, "genuine": genuine})
    whole = opis.evaluate(_parquet(table, tmp_path), pairs=True, review=True, **BOUNDS)
    found = whole.report.review
    # Distances are negative scores.
    accepted = table["score"] >= -found.accept_threshold
    assert np.mean(accepted[~genuine]) == pytest.approx(found.far) and found.far <= 0.01
    assert found.queries_share is None and found.pairs_share > 0
    text = json.loads(_written(whole, tmp_path))["review"]
    assert text["accept_threshold"] == -found.accept_threshold > text["refuse_threshold"]
    table.loc[table.index[genuine][:50], "score"] = np.nan
    lacking = opis.evaluate(
        _parquet(table, tmp_path), pairs=True, missing_score="reject", review=True, **BOUNDS
    )
    found = lacking.report.review
    assert found.refuse_threshold is found.frr is found.pairs_share is None
    assert found.accept_threshold is not None


def _parquet(table, folder):
    table.to_parquet(folder / "pairs.parquet")
    return folder / "pairs.parquet"


def _written(run, folder):
    write_threshold(run.report, run.report, folder / "threshold.json")
    return (folder / "threshold.json").read_text()


def test_the_file_to_deploy_accepts_up_to_the_first_threshold(run, tmp_path):
    review, written = run.report.review, json.loads(_written(run, tmp_path))
    assert written["threshold"] == written["review"]["accept_threshold"] == review.accept_threshold
    assert written["review"]["refuse_threshold"] == review.refuse_threshold
    assert written["equivalents"]["cosine_similarity"] == pytest.approx(1 - written["threshold"])
    assert written["far"] == review.far and written["frr"] > 0.02
    plain = replace(run.report, recommendation=run.recommend(max_far=0.05), review=None)
    write_threshold(plain, plain, tmp_path / "plain.json")
    assert json.loads((tmp_path / "plain.json").read_text())["review"] is None


def test_costs_are_those_of_all_pairs(run, distances):
    pairs, genuine, _ = distances
    prior, false_accept, false_reject, review = COSTS.values()

    def cost(accept, refuse):
        """The mean over pairs of what each costs, impostors and genuine pairs by the prior."""
        accepted, refused = pairs <= accept, pairs > refuse
        each = np.where(genuine, false_reject * refused, false_accept * accepted)
        each = each + review * ~(accepted | refused)
        return prior * each[genuine].mean() + (1 - prior) * each[~genuine].mean()

    found, two = run.report.costs, run.report.review
    assert found.recommended is None
    assert found.deployed == pytest.approx(cost(0.6, 0.6))
    assert found.review == pytest.approx(cost(two.accept_threshold, two.refuse_threshold))
    least = found.least
    assert least.cost == pytest.approx(cost(least.threshold, least.threshold))
    every = [cost(at, at) for at in np.unique(pairs) + 1e-9]
    assert least.cost == pytest.approx(min(every))


def test_the_threshold_of_least_cost_needs_no_bound_and_keeps_those_that_are_given(run):
    vectors, labels = data.signs(240, 12, 32, seed=3)
    free = opis.evaluate(vectors, labels, prefer="cost", folds=2, **COSTS | {"cost_review": None})
    chosen = free.report.recommendation
    assert (chosen.max_far, chosen.max_frr, chosen.classes_meeting_bounds) == (None, None, None)
    assert chosen.threshold == free.report.costs.least.threshold
    assert free.report.costs.recommended == free.report.costs.least.cost
    assert free.report.held_out is None
    far = chosen.far / 2
    tight = free.recommend(max_far=far)
    counts = free.counts
    cost = 0.95 * 3 * counts.pooled_far + 0.05 * 2 * counts.pooled_frr
    best = np.argmin(np.where(counts.pooled_far <= far, cost, np.inf))
    assert tight.threshold == counts.grid.thresholds[best] < chosen.threshold
    dearer = free.recommend(prefer="cost", cost_fa=50.0)
    assert dearer.threshold < chosen.threshold


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"review": True}, "review=True accepts up to max_far .* give both"),
        ({"review": True, "max_far": 0.01}, "give both"),
        ({"prefer": "cost"}, "prefer='cost' needs .* give cost_fa and cost_fr and prior"),
        ({"cost_fa": 1.0, "prior": 0.1}, "cost_fa needs .* give cost_fr$"),
        ({"cost_review": 1.0}, "cost_review is for review=True"),
        ({"cost_fa": 0.0}, "cost_fa is 0; it must be finite and above 0"),
        ({"cost_fr": float("inf")}, "cost_fr is inf"),
        ({"prior": 1.0}, "prior is 1; it must lie between 0 and 1"),
    ],
)
def test_what_review_and_costs_lack_is_named(given, says):
    with pytest.raises(SettingsError, match=says):
        opis.evaluate([[1.0, 0.0]], ["a"], **given)


def test_the_gate_judges_the_share_of_pairs_to_review(run):
    share = run.report.review.pairs_share
    assert run.gate(max_review=share).passed
    check = run.gate(max_review=np.nextafter(share, 0)).checks[0]
    assert not check.passed and check.value == share
    assert f"accepted by {run.report.review.accept_threshold}" in check.remark
    without = replace(run, report=replace(run.report, review=None))
    check = without.gate(max_review=1.0).checks[0]
    assert not check.passed and "review=True" in check.remark


def test_recommend_shows_two_thresholds_of_a_run(run, cli, tmp_path):
    run.save(tmp_path / "run")
    options = ("--max-far", "0.005", "--max-frr", "0.01", "--review")
    done = cli("recommend", tmp_path / "run", *options, "-o", tmp_path / "t.json")
    found = run.review(0.005, 0.01)
    assert f"accept cosine distance <= {found.accept_threshold}" in done.stdout
    assert f"refuse beyond {found.refuse_threshold}" in done.stdout
    assert "searches to review" in done.stdout and "COST" in done.stdout
    written = json.loads((tmp_path / "t.json").read_text())["review"]
    assert written["accept_threshold"] == found.accept_threshold
    plain = cli("recommend", tmp_path / "run", "--max-far", "0.005", "--json")
    assert "review" not in json.loads(plain.stdout)
    both = json.loads(cli("recommend", tmp_path / "run", *options, "--json").stdout)
    assert both["review"]["pairs_share"] == found.pairs_share
