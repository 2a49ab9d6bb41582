"""``--missing-score``: pairs without a score are refused, left out, or never accepted."""

import json

import numpy as np
import pandas as pd
import pytest

import opis_cli as opis
from opis_cli.counting.sizes import Sizes
from opis_cli.errors import InputError, SettingsError
from opis_cli.pipeline import evaluate_file
from opis_cli.settings import Settings


def made(pairs=6_000, share=0.3, seed=0):
    """Scores of pairs, a fifth genuine, of which a share is missing, and groups of both sides."""
    rng = np.random.default_rng(seed)
    genuine = rng.random(pairs) < 0.2
    score = rng.normal(0.3 + 0.4 * genuine, 0.12).round(3)
    return pd.DataFrame(
        {
            "score": np.where(rng.random(pairs) < share, np.nan, score),
            "genuine": genuine,
            "left": [f"c{k}" for k in rng.integers(0, 6, pairs)],
            "right": [f"c{k}" for k in rng.integers(2, 8, pairs)],
        }
    )


def run_of(table, tmp_path, sizes=None, **settings):
    table.to_parquet(tmp_path / "p.parquet")
    chosen = Settings(pairs=True, **settings)
    return evaluate_file(tmp_path / "p.parquet", chosen, sizes=sizes or Sizes())


def infinitely_far(table):
    """The same pairs as an oracle sees them: no threshold reaches those without a score."""
    return table["score"].fillna(-np.inf).to_numpy(), table["genuine"].to_numpy()


@pytest.mark.parametrize("sizes", [None, Sizes(sampled_scores=900, batch_rows=700)])
def test_rejected_pairs_count_in_every_rate(sizes, tmp_path):
    table = made()
    run = run_of(table, tmp_path, sizes, missing_score="reject", max_far=0.02, prefer="low-frr")
    score, genuine = infinitely_far(table)
    lacking = np.isneginf(score)
    assert run.report.source.rows == len(table) and run.report.source.dropped_rows == 0
    pairs = run.report.pairs
    assert (pairs.genuine, pairs.impostor) == (genuine.sum(), (~genuine).sum())
    assert pairs.unscored_genuine == (lacking & genuine).sum()
    assert pairs.unscored_impostor == (lacking & ~genuine).sum()
    for at, far, frr in zip(
        -run.counts.grid.thresholds, run.counts.pooled_far, run.counts.pooled_frr, strict=True
    ):
        assert far == np.mean(score[~genuine] >= at)
        assert frr == pytest.approx(np.mean(score[genuine] < at), abs=1e-15)
    # Whatever accepts every pair with a score accepts no other one.
    assert run.counts.pooled_frr[-1] == pytest.approx(np.mean(lacking[genuine]))
    chosen = run.report.recommendation
    steps = np.unique(score[~lacking])
    best = min(np.mean(score[genuine] < t) for t in steps if np.mean(score[~genuine] >= t) <= 0.02)
    assert chosen.far <= 0.02 and chosen.frr == pytest.approx(
        best, abs=0 if sizes is None else 5e-3
    )


def test_thresholds_stand_where_the_rates_of_all_pairs_need_them(tmp_path):
    """With distinct scores, a bound is met to the last pair, and the EER is where rates meet."""
    table = made(8_000)
    table["score"] += np.random.default_rng(1).uniform(-5e-4, 5e-4, len(table))
    score, genuine = infinitely_far(table)
    for number in (1, 9, 120):
        run = run_of(
            table,
            tmp_path,
            missing_score="reject",
            max_far=number / (~genuine).sum(),
            prefer="low-frr",
        )
        assert run.report.recommendation.accepted_impostors == number
    steps = np.unique(score[np.isfinite(score)])
    far, frr = (
        np.array([np.mean(of) for of in rates])
        for rates in (
            [score[~genuine] >= at for at in steps],
            [score[genuine] < at for at in steps],
        )
    )
    least = np.argmin(np.abs(far - frr))
    assert run.report.eer.rate == pytest.approx((far[least] + frr[least]) / 2, abs=1e-12)


def test_rejected_pairs_count_by_group(tmp_path):
    table = made()
    run = run_of(table, tmp_path, missing_score="reject", group_column="left,right")
    score, genuine = infinitely_far(table)
    at = run.report.recommendation.equivalents.score
    groups = run.classes().set_index("group")
    for name, row in groups.iterrows():
        own = np.concatenate([np.flatnonzero(table[side] == name) for side in ("left", "right")])
        assert row["size"] == len(own)
        assert row["genuine_pairs"] == genuine[own].sum()
        assert row["impostor_pairs"] == (~genuine[own]).sum()
        assert row["far"] == pytest.approx(np.mean(score[own][~genuine[own]] >= at))
        assert row["frr"] == pytest.approx(np.mean(score[own][genuine[own]] < at))
    run.save(tmp_path / "run")
    again = opis.load_run(tmp_path / "run")
    assert again.report.pairs == run.report.pairs
    assert again.recommend(max_far=0.05) == run.recommend(max_far=0.05)
    for kind in ("utility", "rates", "det", "roc", "histogram", "classes"):
        again.plot(kind)


def test_a_bound_below_the_share_without_a_score_is_met_nowhere(cli, tmp_path):
    made(share=0.3).to_csv(tmp_path / "p.csv", index=False)
    given = ("evaluate", "p.csv", "--pairs", "--missing-score", "reject")
    done = cli(*given, "--max-frr", "0.2")
    assert done.returncode == 0, done.stderr
    assert "NO THRESHOLD  meets FRR <= 20 %" in done.stdout
    assert "genuine pairs have no score" in done.stdout
    refused = cli(*given, "--group-column", "left", "--calibration", "frr:0.1..0.5")
    assert refused.returncode == 2 and "have no score" in refused.stderr
    assert cli(*given, "--calibration", "frr:0.1..0.5").returncode == 0


def test_few_scores_among_impostors_leave_a_picture(tmp_path):
    """The FAR never reaches what pictures show to, and the EER says nothing of the direction."""
    table = made(share=0.0)
    table.loc[table.index % 10 > 0, "score"] = np.nan
    run = run_of(table, tmp_path, missing_score="reject")
    assert run.report.source.warnings == ()
    # From no pair accepted to every pair that has a score.
    low, high = run.plot("rates").axes[0].get_xlim()
    scores = table["score"].dropna()
    assert -low > scores.max() and -high == pytest.approx(scores.min(), abs=0.01)


@pytest.mark.parametrize(
    ("settings", "dropped"),
    [
        ({"missing_score": "drop"}, True),
        ({"on_bad_rows": "drop"}, True),
        ({"on_bad_rows": "drop", "missing_score": "error"}, False),
        ({"missing_score": "error"}, False),
        ({}, False),
    ],
)
def test_the_default_follows_bad_rows(settings, dropped, tmp_path):
    table = made(2_000)
    without = table["score"].isna()
    if dropped:
        source = run_of(table, tmp_path, **settings).report.source
        assert (source.rows, source.dropped_rows) == ((~without).sum(), without.sum())
        return
    says = (
        f"{(without & table['genuine']).sum():,} genuine and .* have no score .*"
        "missing_score='reject'.*missing_score='drop'"
    )
    with pytest.raises(InputError, match=says):
        run_of(table, tmp_path, **settings)


def test_other_bad_rows_are_refused_whatever_becomes_of_scores(tmp_path):
    table = made(2_000)
    table["genuine"] = table["genuine"].astype(object)
    table.loc[1_234, "genuine"] = None
    table.to_csv(tmp_path / "p.csv", index=False)
    for missing in ("drop", "reject"):
        with pytest.raises(InputError, match="row 1234 "):
            opis.evaluate(tmp_path / "p.csv", pairs=True, missing_score=missing)
    run = opis.evaluate(tmp_path / "p.csv", pairs=True, missing_score="reject", on_bad_rows="drop")
    assert (run.report.source.rows, run.report.source.dropped_rows) == (1_999, 1)


def test_a_kind_without_any_score_is_refused(tmp_path):
    table = made(500)
    table.loc[table["genuine"], "score"] = np.nan
    with pytest.raises(InputError, match=r"no genuine pair among .* that have a score"):
        run_of(table, tmp_path, missing_score="reject")


def test_it_is_for_scored_pairs_and_told_in_the_summary(cli, tmp_path):
    with pytest.raises(SettingsError, match="missing_score is for pairs"):
        Settings(missing_score="drop")
    with pytest.raises(SettingsError, match="use error or reject or drop"):
        Settings(pairs=True, missing_score="keep")
    # As a blocking rule leaves them: most pairs were never compared.
    genuine = np.repeat([3.0, 5.3, 8.0, np.nan], [60, 40, 800, 100])
    impostor = np.repeat([6.0, 5.1, 2.0, np.nan], [97, 4, 2_899, 7_000])
    score = pd.Series(np.concatenate([genuine, impostor]), name="match_weight")
    pd.DataFrame({"match_weight": score, "genuine": np.arange(11_000) < 1_000}).to_csv(
        tmp_path / "p.csv", index=False
    )
    given = ("--pairs", "--score-column", "match_weight", "--missing-score", "reject")
    done = cli("evaluate", "p.csv", *given, "--out", "run")
    assert "no score, so never accepted: 100 genuine and 7,000 impostor pairs" in done.stdout
    assert "0.97 %  97 of 10,000;" in done.stdout
    assert "16 %  160 of 1,000;" in done.stdout
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["recommendation"]["equivalents"]["score"] == 5.2
    assert report["settings"]["missing_score"] == "reject"
    refused = cli("evaluate", "p.csv", *given[:3])
    assert refused.returncode == 2 and "--missing-score reject" in refused.stderr


def test_runs_that_treat_them_differently_do_not_compare(cli, tmp_path):
    table = made()
    run_of(table, tmp_path, missing_score="reject").save(tmp_path / "a")
    run_of(table, tmp_path, missing_score="drop").save(tmp_path / "b")
    run_of(table, tmp_path, on_bad_rows="drop").save(tmp_path / "c")
    done = cli("compare", "a", "b")
    assert done.returncode == 2 and "missing-score is reject" in done.stderr
    assert cli("compare", "b", "c").returncode == 0
