"""The threshold that is printed is the one that was counted, in float32 and in float64."""

import io
import itertools
import re

import data
import numpy as np
import oracle
import pandas as pd
import pytest
from rich.console import Console

import opis_cli as opis
from opis_cli import decimals
from opis_cli.render.terminal.summary import summary
from opis_cli.scoring.operating import rates_at

RNG = np.random.default_rng(12)


def _normal(genuine: int = 400, impostor: int = 4_000) -> tuple[np.ndarray, np.ndarray]:
    return RNG.normal(2.0, 1.0, genuine), RNG.normal(0.0, 1.0, impostor)


def _changed(change, *sizes: int) -> tuple[np.ndarray, np.ndarray]:
    return tuple(change(scores) for scores in _normal(*sizes))


# A genuine pair scores higher in all of them.
SHAPES = {
    "integers": _changed(lambda s: np.clip(np.rint(2 * s + 4), 0, 10)),
    "halves": _changed(lambda s: np.rint(4 * s) / 2),
    "saturated": _changed(lambda s: np.clip(s / 2, 0, 1)),
    "float32": _changed(lambda s: np.round(s / 5 + 0.5, 2).astype(np.float32)),
    "near a million": _changed(lambda s: 1e6 + np.round(s, 1)),
    "tiny": _changed(lambda s: 1e-9 * s),
    "negative": _changed(lambda s: s - 20),
    "log-odds": _changed(lambda s: 4 * s - 3),
    "ties at both ends": _changed(lambda s: np.clip(s, -0.5, 2.2)),
    "two values": _changed(lambda s: (s > 1.5).astype(float)),
    "float32 of thirds": _changed(lambda s: (np.rint(6 * s) / 3).astype(np.float32)),
}
BOUNDS = ({"max_far": 0.02}, {"max_far": 0.001}, {"max_frr": 0.3}, {"max_far": 0.1, "max_frr": 0.6})
PREFERENCES = ("utility", "low-far", "low-frr")


def printed(run: opis.Run) -> str:
    """What the terminal shows of a run."""
    console = Console(file=io.StringIO(), width=100)
    console.print(summary(run))
    return console.file.getvalue()


def cases():
    for shape, bounds, prefer in itertools.product(SHAPES, BOUNDS, PREFERENCES):
        needed = {"low-frr": "max_far", "low-far": "max_frr"}.get(prefer)
        if needed is None or needed in bounds:
            yield pytest.param(shape, bounds, prefer, id=f"{shape}-{bounds}-{prefer}")


@pytest.mark.parametrize("closer", ["higher", "lower"])
@pytest.mark.parametrize(("shape", "bounds", "prefer"), list(cases()))
def test_a_printed_score_counts_what_is_reported(shape, bounds, prefer, closer, tmp_path):
    genuine, impostor = (scores if closer == "higher" else -scores for scores in SHAPES[shape])
    table = {"score": np.concatenate([genuine, impostor]), "genuine": np.arange(4_400) < 400}
    pd.DataFrame(table).to_parquet(tmp_path / "pairs.parquet")
    way = {"higher_is_closer": closer == "higher"}
    run = opis.evaluate(tmp_path / "pairs.parquet", pairs=True, prefer=prefer, **bounds, **way)
    chosen = run.report.recommendation
    text = printed(run)
    if chosen.status == "infeasible":
        assert "NO THRESHOLD  meets" in text
        return
    sign, number = re.search(r"DEPLOY  \w+ (>=|<=) (\S+)", text).groups()
    assert sign == (">=" if closer == "higher" else "<=")
    for kind in (np.float64, np.float32):
        at = kind(number)
        accepted = [
            int(np.count_nonzero(s.astype(kind) >= at if sign == ">=" else s.astype(kind) <= at))
            for s in (genuine, impostor)
        ]
        assert accepted == [400 - chosen.rejected_genuine, chosen.accepted_impostors], kind
        assert accepted[1] / 4_000 <= bounds.get("max_far", 1)
        assert 1 - accepted[0] / 400 <= bounds.get("max_frr", 1) + 1e-12


@pytest.mark.parametrize("shape", SHAPES)
def test_a_printed_score_typed_back_gives_the_same_counts(shape, tmp_path):
    genuine, impostor = SHAPES[shape]
    table = {"score": np.concatenate([genuine, impostor]), "genuine": np.arange(4_400) < 400}
    pd.DataFrame(table).to_parquet(tmp_path / "pairs.parquet")
    asked = {"pairs": True, "max_far": 0.05, "higher_is_closer": True}
    first = opis.evaluate(tmp_path / "pairs.parquet", **asked).report.recommendation
    number = decimals.text(first.equivalents.score)
    again = opis.evaluate(tmp_path / "pairs.parquet", threshold=number, **asked).report
    assert (again.deployed.far, again.deployed.frr) == (first.far, first.frr)
    assert again.deployed.borderline.genuine == again.deployed.borderline.impostor == 0
    assert again.recommendation.threshold == first.threshold


def test_a_score_lies_between_its_neighbours(tmp_path):
    """Whole numbers: 8.5 between 8 and 9, where a FAR of 1 % needs 8 refused."""
    scores = np.repeat([10, 9, 8, 8, 7, 0], [50, 5, 60, 300, 600, 4_000])
    truth = np.repeat([True, False, False, True, False, False], [50, 5, 60, 300, 600, 4_000])
    pd.DataFrame({"score": scores, "genuine": truth}).to_csv(tmp_path / "p.csv", index=False)
    chosen = opis.evaluate(tmp_path / "p.csv", pairs=True, prefer="low-frr").report.recommendation
    assert chosen.equivalents.score == 8.5
    assert chosen.accepted_impostors == 5


def test_a_deployed_score_on_a_tie_tells_the_counts_of_both_precisions(tmp_path):
    """0.65 in float32 is a little less than 0.65: whoever compares in float64 refuses it."""
    scores = np.repeat(np.array([0.9, 0.65, 0.4], np.float32), [100, 40, 400])
    truth = np.arange(540) < 120
    pd.DataFrame({"score": scores, "genuine": truth}).to_parquet(tmp_path / "p.parquet")
    report = opis.evaluate(tmp_path / "p.parquet", pairs=True, threshold="0.65").report
    deployed = report.deployed
    assert deployed.far == 20 / 420
    assert (deployed.borderline.genuine, deployed.borderline.impostor) == (20, 20)
    assert deployed.borderline.exact


def codes(rows: int, classes: int, dim: int) -> data.Data:
    """Vectors of plus and minus one: distances are the square roots of multiples of 4."""
    vectors, labels = data.signs(rows, classes, dim)
    return 8 * vectors, labels


@pytest.mark.parametrize("engine", ["numpy", "numba"])
@pytest.mark.parametrize("rows", [720, 3_000])
@pytest.mark.parametrize(
    ("metric", "asked"),
    [
        ("euclidean", {"max_frr": 0.05, "prefer": "low-far"}),
        ("euclidean", {"max_far": 0.001, "prefer": "low-frr"}),
        ("cosine", {"max_frr": 0.05, "prefer": "low-far"}),
        ("cosine", {"max_far": 0.001, "prefer": "low-frr"}),
    ],
)
def test_a_printed_distance_lies_clear_of_ties(metric, asked, rows, engine):
    """Where distances are few, thresholds lie between them, with a sample for a pilot too."""
    vectors, labels = codes(rows, 30, 96)
    chosen = opis.evaluate(vectors, labels, metric=metric, engine=engine, **asked).report
    chosen = chosen.recommendation
    assert chosen.borderline.genuine == 0
    pairs = oracle.pair_table(vectors, labels, metric)
    at = float(decimals.text(chosen.threshold))
    assert np.abs(pairs.distance - at).min() > 1e-5
    for kind in (np.float64, np.float32):
        accepted = pairs.distance.astype(kind) <= kind(at)
        rejected = int(np.count_nonzero(pairs.genuine & ~accepted))
        assert rejected == chosen.rejected_genuine
        assert np.count_nonzero(accepted & ~pairs.genuine) == chosen.accepted_impostors


@pytest.mark.parametrize("engine", ["numpy", "numba"])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("name", ["blobs", "narrow", "duplicated", "lattice"])
def test_pairs_within_a_rounding_are_all_that_float64_may_count_otherwise(name, metric, engine):
    vectors, labels = data.MADE[name]
    pairs = oracle.pair_table(vectors, labels, metric)
    asked = {"threshold": "0.5", "calibration": "distance:0.1..0.9"}
    run = opis.evaluate(vectors, labels, metric=metric, engine=engine, max_far=0.2, **asked)
    for found in (run.report.deployed, run.report.recommendation):
        accepted = pairs.distance <= found.threshold
        side = found.borderline
        rejected = int(np.count_nonzero(pairs.genuine & ~accepted))
        counted = round(found.frr * int(pairs.genuine.sum()))
        assert counted <= rejected <= counted + side.genuine
        impostors = int(np.count_nonzero(~pairs.genuine & accepted))
        counted = round(found.far * int((~pairs.genuine).sum()))
        assert counted - side.impostor <= impostors <= counted
        assert side.exact


def test_pairs_on_a_deployed_threshold_are_counted_on_both_sides():
    """Unit vectors at right angles: half of all pairs lie at distance 1 exactly."""
    vectors = np.eye(4, dtype=np.float32)[np.repeat(np.arange(4), 20)]
    vectors[::2] += np.eye(4, dtype=np.float32)[(np.repeat(np.arange(4), 20)[::2] + 1) % 4] / 2
    labels = np.arange(80) % 10
    pairs = oracle.pair_table(vectors, labels)
    tied = np.abs(pairs.distance - 1) < 1e-12
    deployed = opis.evaluate(
        vectors, labels, threshold="1", calibration="distance:0.1..0.9"
    ).report.deployed
    assert deployed.borderline.genuine == np.count_nonzero(tied & pairs.genuine) > 0
    assert deployed.borderline.impostor == np.count_nonzero(tied & ~pairs.genuine) > 0
    assert deployed.frr == np.mean(pairs.distance[pairs.genuine] > 1 + 1e-9)


def test_a_gate_goes_by_the_worse_side():
    vectors, labels = codes(720, 30, 64)
    # A distance that pairs have: they are accepted for FAR and rejected for FRR.
    pairs = oracle.pair_table(vectors, labels)
    at = float(np.unique(np.round(pairs.distance[pairs.genuine], 9))[8])
    run = opis.evaluate(vectors, labels, threshold=str(at))
    found = rates_at(run.counts, at, 1.0)
    tied = np.abs(pairs.distance - at) < 1e-9
    assert found.far == np.mean((pairs.distance <= at + 1e-9)[~pairs.genuine])
    assert found.frr == np.mean((pairs.distance > at - 1e-9)[pairs.genuine])
    assert np.count_nonzero(tied & pairs.genuine) == run.report.deployed.borderline.genuine > 0


def test_thresholds_of_embeddings_have_few_digits():
    report = opis.evaluate(*data.MADE["blobs"]).report
    chosen, asked = report.recommendation, report.calibration_range
    points = [one.threshold for one in report.operating_points if one.threshold is not None]
    ends = asked.threshold_low, asked.threshold_high, report.eer.threshold
    for one in (chosen.threshold, *chosen.interval, *ends, *points):
        assert float(f"{one:.7f}") == one
    assert len(str(chosen.threshold)) <= 8
    assert chosen.equivalents.cosine_similarity == float(f"{1 - chosen.threshold:.7f}")


def test_thresholds_of_large_data_have_few_digits():
    vectors, labels = data.blobs(4_000, 40, 24, seed=7)
    run = opis.evaluate(vectors, labels, engine="numba")
    window = run.counts.grid.thresholds[: run.counts.grid.window]
    assert np.mean(np.round(window, 5) == window) > 0.99
    assert len(str(run.report.recommendation.threshold)) <= 7
