"""Tables of pairs are decided as the threshold decides, and keep their columns."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import opis_cli as opis
from opis_cli.deciding import table as module
from opis_cli.deciding.table import decide_table
from opis_cli.errors import InputError, OpisError

LLR = {"method": "logistic", "slope": -10, "intercept": 4}


@pytest.fixture
def rule(tmp_path):
    """A function that makes a threshold: cosine distance 0.4, unless told otherwise."""

    def make(threshold=0.4, metric="cosine", **others):
        content = {"threshold": threshold, "metric": metric} | others
        (tmp_path / "threshold.json").write_text(json.dumps(content))
        return opis.load_threshold(tmp_path / "threshold.json")

    return make


def written(table, tmp_path, name="pairs.parquet"):
    file = tmp_path / name
    table = table if isinstance(table, pa.Table) else pa.table(table)
    if name.endswith(".csv"):
        table.to_pandas().to_csv(file, index=False)
    else:
        pq.write_table(table, file, row_group_size=100)
    return file


@pytest.mark.parametrize("batch", [7, 1 << 17])
def test_a_parquet_table_keeps_its_columns_in_batches(batch, rule, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_SCORE_ROWS", batch)
    scores = np.random.default_rng(0).uniform(-1, 1, 250)
    table = pa.table(
        {
            "id": pa.array([f"p{k % 9}" for k in range(250)]).dictionary_encode(),
            "cosine_similarity": pa.array(scores, pa.float32()),
            "a.b": pa.array([{"x": k} for k in range(250)]),
            "when": pa.array(range(250), pa.timestamp("ms", "UTC")),
        }
    )
    made = rule(llr=LLR)
    seen = []
    decided = decide_table(
        made, written(table, tmp_path), tmp_path / "out.parquet",
        progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    found = pq.read_table(tmp_path / "out.parquet")
    assert found.drop_columns(["decision", "llr"]).equals(table)
    accepted = scores.astype(np.float32) >= np.float32(0.6)
    assert found["decision"].to_pylist() == np.where(accepted, "accept", "refuse").tolist()
    np.testing.assert_allclose(found["llr"], 4 - 10 * (1 - scores), atol=1e-5)
    assert (decided.pairs, decided.accept, decided.refuse) == (250, sum(accepted), sum(~accepted))
    assert (decided.scale, decided.limit, decided.review) == ("cosine_similarity", 0.6, 0)
    assert seen[-1] == (250, 250) and (len(seen) > 30) == (batch == 7)


def test_the_cells_of_a_csv_stay_as_they_are(rule, tmp_path):
    text = 'id,note,score\n007,"a, ""b""\nc",8.50\n 7,,7\n,=1+1,9e0\n'
    (tmp_path / "pairs.csv").write_text(text)
    made = rule(8.5, "score")
    decide_table(made, tmp_path / "pairs.csv", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == (
        'id,note,score,decision\n007,"a, ""b""\nc",8.50,accept\n 7,,7,refuse\n,=1+1,9e0,accept\n'
    )
    decide_table(made, tmp_path / "pairs.csv", tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet")["id"].to_pylist() == ["007", " 7", None]


def test_two_thresholds_and_counts(rule, tmp_path):
    made = rule(0.4, "distance", review={"accept_threshold": 0.2, "refuse_threshold": 0.6})
    file = written({"distance": [0.1, 0.2, 0.3, 0.6, 0.7, 9.0]}, tmp_path)
    decided = decide_table(made, file, tmp_path / "out.parquet")
    assert (decided.accept, decided.review, decided.refuse) == (2, 2, 2)


VECTORS = np.random.default_rng(1).standard_normal((40, 6)).astype(np.float32)
LEFT, RIGHT = VECTORS[:20], VECTORS[20:] + VECTORS[:20]
FORMS = {
    "lists": lambda rows: pa.array([row.tolist() for row in rows], pa.list_(pa.float32())),
    "fixed": lambda rows: pa.FixedSizeListArray.from_arrays(rows.ravel(), 6),
    "text": lambda rows: pa.array([json.dumps(row.tolist()) for row in rows]),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("metric", "at"), [("cosine", 0.3), ("euclidean", 2.5), ("dot", 5.5)])
def test_vectors_are_compared(form, metric, at, rule, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_VECTOR_ROWS", 8)
    made = rule(at, metric)
    table = {"emb_left": FORMS[form](LEFT), "emb_right": FORMS[form](RIGHT)}
    decided = decide_table(made, written(table, tmp_path), tmp_path / "out.parquet")
    assert decided.columns == ("emb_left", "emb_right")
    found = pq.read_table(tmp_path / "out.parquet")["decision"].to_pylist()
    assert found == made.decide(LEFT, RIGHT).tolist() and 0 < decided.accept < 20


@pytest.mark.parametrize("mode", ["error", "reject", "drop"])
@pytest.mark.parametrize("kind", ["scores", "vectors", "csv"])
def test_pairs_without_a_score(kind, mode, rule, tmp_path):
    tables = {
        "scores": {"n": range(4), "distance": [0.1, None, float("nan"), 0.5]},
        "csv": {"n": range(4), "distance": ["0.1", "NA", "", "0.5"]},
        "vectors": {
            "n": range(4),
            "q": pa.array([[1.0, 0.0], None, [0.0, 0.0], [1.0, 0.0]]),
            "f": pa.array([[1.0, 0.0], [1.0, 1.0], [1.0, 1.0], [0.0, 1.0]]),
        },
    }
    made = rule(llr=LLR)
    file = written(tables[kind], tmp_path, "pairs.csv" if kind == "csv" else "pairs.parquet")
    asked = {"embedding_column": "q, f"} if kind == "vectors" else {}
    out = tmp_path / "out.parquet"
    if mode == "error":
        with pytest.raises(InputError, match=r"row 1 \(counted from 0\) has no .*=reject|reject'"):
            decide_table(made, file, out, **asked)
        assert not out.exists()
        return
    decided = decide_table(made, file, out, missing_score=mode, **asked)
    assert (decided.pairs, decided.accept, decided.without_score) == (4, 1, 2)
    found = pd.read_parquet(out)
    if mode == "drop":
        assert found["n"].astype(int).tolist() == [0, 3] and decided.refuse == 1
        return
    assert found["decision"].tolist() == ["accept", *["refuse"] * 3] and decided.refuse == 3
    assert found["llr"].isna().tolist() == [False, True, True, False]


NUMBERS = {"cosine_similarity": 0.7, "distance": 0.3, "score": 0.7, "similarity": 0.7, "n": 1}


@pytest.mark.parametrize(
    ("metric", "columns", "asked", "scale"),
    [
        ("cosine", "distance", {}, "distance"),
        ("cosine", "cosine_similarity", {}, "cosine_similarity"),
        ("cosine", "score", {"scale": "cosine_similarity"}, "cosine_similarity"),
        ("cosine", "similarity", {"score_column": "similarity"}, "similarity.*--scale|scale=S"),
        ("cosine", "score", {}, "'score' does not tell what its numbers are"),
        ("cosine", "n", {}, "no column of scores"),
        ("cosine", "distance score", {}, "2 columns may be the score column"),
        ("cosine", "distance", {"scale": "cosine"}, "unknown scale"),
        ("cosine", "distance", {"scale": "squared_distance"}, "metric 'cosine', which has"),
        ("score", "score", {}, "score"),
        ("score", "similarity", {"score_column": "similarity"}, "score"),
        ("score", "distance", {}, "'distance' does not tell"),
        ("distance", "score", {}, "'score' does not tell"),
        ("distance", "similarity", {"score_column": "similarity"}, "distance"),
        ("dot", "distance", {}, "'distance' does not tell"),
        ("dot", "score", {}, "score"),
        ("cosine", "distance", {"missing_score": "keep"}, "error or reject or drop"),
    ],
)
def test_the_scale_is_told_or_asked_for(metric, columns, asked, scale, rule, tmp_path):
    made = rule(0.4, metric)
    file = written({name: [NUMBERS[name]] for name in columns.split()}, tmp_path)
    if len(scale.split()) == 1 and "." not in scale:
        assert decide_table(made, file, tmp_path / "out.csv", **asked).scale == scale
    else:
        with pytest.raises(OpisError, match=scale):
            decide_table(made, file, tmp_path / "out.csv", **asked)


def test_columns_of_vectors_are_told_or_asked_for(rule, tmp_path):
    made, out = rule(), tmp_path / "out.parquet"
    one = pa.array([[1.0, 0.0]])
    file = written({"embedding_a": one, "embedding_b": one, "distance": [0.1]}, tmp_path)
    assert decide_table(made, file, out, score_column="distance").scale == "distance"
    sides = {"embedding_column": "embedding_a,embedding_b"}
    assert decide_table(made, file, out, **sides).columns == ("embedding_a", "embedding_b")
    for asked, says in (
        ({}, "there are scores and vectors"),
        (sides | {"score_column": "distance"}, "exclude each other"),
        (sides | {"scale": "cosine_similarity"}, "scale is for scores"),
        ({"embedding_column": "embedding_a"}, "name two columns"),
        ({"group_column": "distance"}, "no thresholds by group"),
        ({"embedding_column": "embedding_a,x"}, "no column 'x'"),
        ({"embedding_column": "embedding_a,distance"}, "wanted lists of numbers"),
    ):
        with pytest.raises(OpisError, match=says):
            decide_table(made, file, out, **asked)
    with pytest.raises(OpisError, match="vectors have none"):
        decide_table(rule(0.5, "score"), file, out, **sides)


def test_thresholds_by_group(rule, tmp_path):
    groups = {
        "column": "site", "max_far": 0.01, "across_groups": "the stricter",
        "thresholds": {"1": 0.6, "2": 0.3}, "other_groups": 0.4,
    }  # fmt: skip
    made, out = rule(0.4, groups=groups), tmp_path / "out.csv"
    table = {"distance": [0.5] * 5, "one": [1, 1, 2, 7, None], "two": ["1", "2", "2", "1", "1"]}
    file = written(table, tmp_path)
    decided = decide_table(made, file, out, group_column="one,two")
    assert decided.group_columns == ("one", "two")
    assert pd.read_csv(out)["decision"].tolist() == ["accept", *["refuse"] * 4]
    # One column says the group of both sides.
    assert decide_table(made, file, out, group_column="one").accept == 2
    assert decide_table(made, file, out).accept == 0
    with pytest.raises(InputError, match="no column 'three'"):
        decide_table(made, file, out, group_column="one,three")


def test_parts_are_one_table(rule, tmp_path):
    (tmp_path / "in").mkdir()
    written({"n": [1], "distance": pa.array([0.1], pa.float32())}, tmp_path / "in", "1.parquet")
    written({"n": [2], "distance": pa.array([0.9], pa.float64())}, tmp_path / "in", "2.parquet")
    decide_table(rule(), tmp_path / "in", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "n,distance,decision\n1,0.1,accept\n2,0.9,refuse\n"
    written({"n": ["x"], "distance": [0.9]}, tmp_path / "in", "3.parquet")
    with pytest.raises(InputError, match=r"3\.parquet: its columns are not of the types"):
        decide_table(rule(), tmp_path / "in", tmp_path / "out.csv")


def test_nothing_half_written_replaces_a_table(rule, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_SCORE_ROWS", 2)
    out = tmp_path / "out.csv"
    out.write_text("before")
    with pytest.raises(InputError, match="row 5"):
        decide_table(rule(), written({"distance": [0.1] * 5 + [None]}, tmp_path), out)
    with pytest.raises(InputError, match="'decision' already"):
        decide_table(rule(), written({"distance": [0.1], "decision": ["x"]}, tmp_path), out)
    with pytest.raises(OpisError, match=r"\.parquet or \.csv"):
        decide_table(rule(), written({"distance": [0.1]}, tmp_path), tmp_path / "out.txt")
    assert out.read_text() == "before" and not list(tmp_path.glob(".opis-*"))


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_a_table_without_pairs(name, rule, tmp_path):
    file = written({"distance": pa.array([], pa.float64())}, tmp_path)
    assert decide_table(rule(), file, tmp_path / name).pairs == 0
    read = pd.read_csv if name.endswith("csv") else pd.read_parquet
    assert list(read(tmp_path / name).columns) == ["distance", "decision"]


def test_the_command(rule, cli, tmp_path):
    rule(0.4, review={"accept_threshold": 0.2, "refuse_threshold": 0.6})
    written({"s": [0.9, 0.7, 0.1, None]}, tmp_path, "pairs.csv")
    asked = ("--score-column", "s", "--scale", "cosine_similarity", "-o", "out.csv")
    done = cli("decide", "threshold.json", "pairs.csv", *asked, "--missing-score", "reject")
    assert (done.returncode, done.stderr) == (0, "")
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert lines == [
        "DECIDED 4 pairs by cosine_similarity >= 0.6",
        "accept 1 25 %",
        "review 1 25 %",
        "refuse 2 50 %",
        "without a score 1 refused, and counted there",
        "from s, written to out.csv",
    ]
    assert (tmp_path / "out.csv").read_text().splitlines()[1:] == [
        "0.9,accept", "0.7,review", "0.1,refuse", ",refuse",
    ]  # fmt: skip
    done = cli("decide", ".", "pairs.csv", *asked, "--missing-score", "drop", "--json")
    assert json.loads(done.stdout) == {
        "pairs": 4, "accept": 1, "review": 1, "refuse": 1, "without_score": 1,
        "columns": ["s"], "scale": "cosine_similarity", "limit": 0.6, "group_columns": [],
    }  # fmt: skip
    done = cli("decide", "threshold.json", "pairs.csv", *asked)
    assert done.returncode == 2 and "--missing-score reject" in done.stderr
