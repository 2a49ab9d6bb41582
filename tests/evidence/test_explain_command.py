"""``opis explain`` as a user runs it: sources that moved, columns of any type, small inputs."""

import contextlib
import datetime
import json
import shutil
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from opis_cli.pipeline import evaluate_file
from opis_cli.settings import Settings

FILES = {"evidence.json", "pairs.parquet", "class_pairs.parquet", "rows.parquet"}
FILES |= {"components.parquet"}
NASTY = "a\nb\x1b[31m\u202e" + "x" * 10_000


def rows(count=300, classes=12):
    """Rows with columns of many types beside them."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % classes
    vectors = rng.normal(size=(classes, 8))[labels] + 0.7 * rng.normal(size=(count, 8))
    return pd.DataFrame(
        {
            "embedding": list(vectors.astype(np.float32)),
            "label": labels,
            "share": np.arange(count) / 8,
            "flag": labels % 2 == 0,
            "day": [datetime.date(2020, 1, 1 + k % 28) for k in range(count)],
            "numbers": [[k, k + 1] for k in range(count)],
            "nasty": NASTY,
            "some": [None if k % 2 else f"row {k}" for k in range(count)],
            "camera": rng.integers(0, 3, count),
        }
    )


def scored():
    rng = np.random.default_rng(1)
    genuine = rng.random(3_000) < 0.2
    return pd.DataFrame(
        {
            "score": np.where(genuine, 0.7, 0.4) + 0.12 * rng.normal(size=3_000),
            "genuine": genuine,
            "left": rng.integers(0, 5, 3_000),
            "right": rng.integers(0, 5, 3_000),
            "when": pd.Timestamp("2020-01-02"),
        }
    )


@pytest.fixture
def opis(cli):
    def run(*words, code=0):
        done = cli(*words)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr if code else done.stdout

    return run


@pytest.fixture(scope="module")
def evaluated_once(tmp_path_factory):
    """Runs of rows and of scored pairs, with the sources beside them, that tests leave alone."""
    folder = tmp_path_factory.mktemp("evaluated")
    with contextlib.chdir(folder):
        rows().to_parquet("rows.parquet")
        scored().to_parquet("pairs.parquet")
        evaluate_file("rows.parquet", Settings(max_far=0.05)).save("of_rows")
        asked = Settings(pairs=True, group_column="left,right", max_far=0.05)
        evaluate_file("pairs.parquet", asked).save("of_pairs")
    return folder


@pytest.fixture
def evaluated(evaluated_once, tmp_path):
    """These runs and sources, in a folder of the test's own."""
    return shutil.copytree(evaluated_once, tmp_path, dirs_exist_ok=True)


def evidence(folder):
    assert {file.name for file in folder.iterdir()} == FILES
    return json.loads((folder / "evidence.json").read_text())


def test_columns_of_any_type_are_shown_as_text(evaluated, opis):
    names = "share,flag,day,numbers,nasty,some,label"
    shown = opis("explain", "of_rows", "--show-columns", names)
    assert not set("\x1b\u202e") & set(shown) and max(map(len, shown.splitlines())) <= 100
    pairs = pd.read_parquet(evaluated / "of_rows/evidence/pairs.parquet")
    source = rows()
    for row in pairs.to_dict("records"):
        for side in "ab":
            own = source.iloc[row[f"row_{side}"]]
            assert float(row[f"share_{side}"]) == own["share"]
            assert row[f"flag_{side}"] == str(own["flag"]).lower()
            assert row[f"day_{side}"] == own["day"].isoformat()
            assert json.loads(row[f"numbers_{side}"]) == own["numbers"]
            assert row[f"nasty_{side}"] == NASTY
            assert row[f"label_{side}"] == str(own["label"])
            some = row[f"some_{side}"]
            assert pd.isna(some) if pd.isna(own["some"]) else some == own["some"]
    dashes = opis("explain", "of_rows", "--show-columns", "some")
    assert "–" in dashes and "None" not in dashes and "nan" not in dashes


def test_columns_and_groups_of_scored_pairs(evaluated, opis):
    shown = opis("explain", "of_pairs", "--show-columns", "when,left", "--class", "3")
    assert "group pairs make" in shown and "Suspect" not in shown and "What if" not in shown
    facts = evidence(evaluated / "of_pairs/evidence")
    assert (facts["of_class"], facts["what_if"], facts["chains"]) == ("3", None, None)
    pairs = pd.read_parquet(evaluated / "of_pairs/evidence/pairs.parquet")
    source = scored().iloc[pairs["row_a"]]
    assert (pairs[["class_a", "class_b"]] == 3).any(axis=1).all()
    assert pairs["class_a"].tolist() == source["left"].tolist()
    assert pairs["left_a"].tolist() == source["left"].astype(str).tolist()
    assert pairs["when_a"].str.startswith("2020-01-02").all()
    assert pairs["distance"].tolist() == source["score"].tolist()


def test_the_class_that_may_be_two_is_named_with_its_parts(opis, tmp_path):
    # Class b is two clusters of 6 and 4 rows, class c two of 8 and 2; a and d are one each.
    rng = np.random.default_rng(0)
    sizes = {"a": (9,), "b": (6, 4), "c": (8, 2), "d": (9,)}
    centres = np.eye(6).repeat([9, 6, 4, 8, 2, 9], axis=0)
    labels = [name for name, parts in sizes.items() for _ in range(sum(parts))]
    vectors = list(centres + 0.01 * rng.normal(size=centres.shape))
    pd.DataFrame({"embedding": vectors, "label": labels}).to_parquet(tmp_path / "two.parquet")
    opis("evaluate", "two.parquet", "--out", "two", "--calibration", "distance:0.1..0.2", "-q")
    given = ("explain", "two", "--threshold", "0.15")
    assert "Split 2 classes, such as b (6 + 4 rows)?" in opis(*given)
    assert "Split 2 classes, such as c (8 + 2 rows)?" in opis(*given, "--class", "c")
    assert "Split 2 classes?" in opis(*given, "--class", "a")


@pytest.mark.parametrize("run", ["of_rows", "of_pairs"])
def test_a_source_that_moved_or_changed_or_lacks_a_column(run, evaluated, opis):
    source = evaluated / ("rows.parquet" if run == "of_rows" else "pairs.parquet")
    there = ", ".join(map(repr, pd.read_parquet(source).columns))
    assert f"the columns are {there}" in opis("explain", run, "--show-columns", "nome", code=2)
    source.rename(evaluated / "moved.parquet")
    told = opis("explain", run, code=2)
    assert source.name in told and "--source FILE" in told
    assert not (evaluated / run / "evidence").exists()
    opis("explain", run, "--source", "moved.parquet", "-q")
    evidence(evaluated / run / "evidence")
    pd.read_parquet(evaluated / "moved.parquet")[:-1].to_parquet(source)
    assert "checksum differs" in opis("explain", run, code=2)


@pytest.mark.parametrize("run", ["of_rows", "of_pairs"])
def test_json_is_the_file_and_quiet_is_quiet(run, evaluated, opis):
    shown = opis("explain", run, "--json")
    assert shown == (evaluated / run / "evidence/evidence.json").read_text()
    assert opis("explain", run, "--quiet", "--out", "else") == ""
    evidence(evaluated / "else")


def test_a_class_that_is_an_integer(evaluated, opis):
    opis("explain", "of_rows", "--class", "7", "-q")
    pairs = pd.read_parquet(evaluated / "of_rows/evidence/pairs.parquet")
    assert len(pairs) and (pairs[["class_a", "class_b"]] == 7).any(axis=1).all()
    assert "did you mean '7'?" in opis("explain", "of_rows", "--class", "77", code=2)


def test_a_place_that_cannot_be_written_is_refused_before_the_work(evaluated, opis):
    told = opis("explain", "of_rows", "--out", "rows.parquet/evidence", code=2)
    assert "cannot be written" in told and "--out DIR" in told
    # Root may write anywhere, so the system is made to say no.
    script = (
        "import os, sys\nos.access = lambda *args: False\n"
        "sys.argv = ['opis', 'explain', 'of_pairs']\n"
        "from opis_cli.__main__ import main\nmain()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=evaluated, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("opis: of_pairs/evidence: cannot be written")


def test_an_interrupt_leaves_nothing(evaluated):
    script = (
        "import sys\nfrom opis_cli import __main__\nfrom opis_cli.report import explain_scored\n"
        "def told(*args, **more):\n    print('looking', flush=True)\n    sys.stdin.read()\n"
        "explain_scored.look = told\n"
        "sys.argv = ['opis', 'explain', 'of_pairs']\n__main__.main()"
    )
    before = sorted(evaluated.rglob("*"))
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=evaluated,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "looking\n"
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
        assert process.stderr.read() == "opis: interrupted\n"
    assert sorted(evaluated.rglob("*")) == before


def test_sources_in_place_of_runs(evaluated, opis):
    opis("explain", "rows.parquet", "--out", "a", "-q")
    assert evidence(evaluated / "a")["metric"] == "cosine"
    (evaluated / "opis.toml").write_text("pairs = true\n")
    shown = opis("explain", "pairs.parquet", "--out", "b", "--show-columns", "left")
    assert "  row " in shown and "group" not in shown
    assert evidence(evaluated / "b")["concentration"]["class_pairs"] == 0


def test_three_rows_and_a_class_of_one_row(opis, tmp_path):
    few = rows(3, 2)
    few.to_parquet(tmp_path / "few.parquet")
    words = ("--calibration", "distance:0.1..0.9", "--max-far", "0.9")
    opis("evaluate", "few.parquet", *words, "--out", "few", "-q")
    opis("explain", "few", "--show-columns", "share")
    assert len(pd.read_parquet(tmp_path / "few/evidence/rows.parquet")) == 3
    one = rows()
    one.loc[0, "label"] = 99
    one.to_parquet(tmp_path / "one.parquet")
    opis("evaluate", "one.parquet", "--max-far", "0.05", "--out", "one", "-q")
    opis("explain", "one", "-q")
    found = pd.read_parquet(tmp_path / "one/evidence/rows.parquet")
    assert found["class"][0] == 99 and pd.isna(found["own_row"][0])


def test_pairs_that_all_tie(opis, tmp_path):
    pd.DataFrame({"distance": [1] * 4, "genuine": [1, 0, 1, 0]}).to_csv(
        tmp_path / "ties.csv", index=False
    )
    opis("evaluate", "ties.csv", "--pairs", "--out", "run", "-q")
    for threshold, kind, listed in (("1", "false_accept", [1, 3]), ("0.5", "false_reject", [0, 2])):
        opis("explain", "run", "--threshold", threshold, "-q")
        pairs = pd.read_parquet(tmp_path / "run/evidence/pairs.parquet")
        assert (pairs["kind"] == kind).all() and pairs["row_a"].tolist() == listed


@pytest.mark.parametrize(
    "words",
    [("--max-pairs", "9000"), ("--ignore-label", "3"), ("--on-bad-rows", "drop")],
    ids=["sample", "ignored", "dropped"],
)
def test_rows_keep_the_numbers_of_the_file(words, opis, tmp_path):
    table = rows()
    if "drop" in words:
        table.at[5, "embedding"] = np.zeros(8, np.float32)
        table.loc[8, "share"] = np.nan
    table.to_parquet(tmp_path / "rows.parquet")
    opis("evaluate", "rows.parquet", "--max-far", "0.05", *words, "--out", "run", "-q")
    opis("explain", "run", "--show-columns", "some,share,camera", "-q")
    found = pd.read_parquet(tmp_path / "run/evidence/rows.parquet")
    assert 0 < len(found) < len(table)
    own = table.iloc[found["row"]]
    assert found["class"].tolist() == own["label"].tolist()
    assert found["camera"].tolist() == own["camera"].astype(str).tolist()
    assert found["some"].isna().tolist() == own["some"].isna().tolist()
    assert found["share"].dropna().astype(float).tolist() == own["share"].dropna().tolist()
