"""``opis migrate`` as a person types it: what it prints, writes and refuses."""

import json

import data
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import opis_cli as opis
from opis_cli.report.threshold_file import read_threshold


def write(path, vectors, labels, **columns):
    flat = pa.array(np.asarray(vectors, np.float32).ravel())
    table = {"embedding": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])}
    pq.write_table(pa.table(table | {"label": labels} | columns), path)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Sources and runs of two models: ``old`` and ``new``, and ``shuffled`` rows of the new one."""
    folder = tmp_path_factory.mktemp("models")
    rng = np.random.default_rng(1)
    labels = data.blobs(400, 20, seed=2)[1]
    names = np.array([f"[red]c{label}" for label in labels], object)
    ids = np.array([f"id {row}" for row in range(400)], object)
    for name, spread in (("old", 0.9), ("new", 0.7)):
        vectors = rng.normal(size=(20, 8))[labels] + spread * rng.normal(size=(400, 8))
        vectors[:, 0] += 2
        write(folder / f"{name}.parquet", vectors, names, id=ids)
        opis.evaluate(folder / f"{name}.parquet", max_far=0.05).save(folder / name)
    order = rng.permutation(400)
    write(folder / "shuffled.parquet", vectors[order], names[order], id=ids[order])
    opis.evaluate(folder / "shuffled.parquet", max_far=0.05).save(folder / "shuffled")
    return folder


def test_a_person_sees_the_threshold_the_flips_and_the_next_command(cli, made, tmp_path):
    done = cli("migrate", made / "old", made / "new", "--out", "moved", "--show-columns", "id")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "moved/migration.json").read_text())
    assert f"DEPLOY  cosine distance <= {found['new']['threshold']}" in done.stdout
    told = " ".join(done.stdout.split())
    assert f"genuine, now refused {found['flips']['genuine_lost']:,}" in told
    assert f"impostors, now refused {found['flips']['impostors_kept_out']:,}" in told
    assert "[red]c" in done.stdout
    assert "--threshold moved/threshold.json --baseline" in done.stdout
    flips = pd.read_parquet(tmp_path / "moved/flips.parquet")
    assert (flips["id_a"] == "id " + flips["row_a"].astype(str)).all()
    classes = pd.read_parquet(tmp_path / "moved/classes.parquet")
    assert classes["genuine_lost"].sum() == found["flips"]["genuine_lost"]
    assert classes["impostors_let_in"].sum() == 2 * found["flips"]["impostors_let_in"]
    # The new threshold is deployed as it is written.
    deployed = opis.evaluate(made / "new.parquet", threshold=tmp_path / "moved/threshold.json")
    assert deployed.report.deployed.far == pytest.approx(found["new"]["far"], abs=1e-12)
    again = cli("migrate", made / "old", made / "new", "--out", "moved")
    assert again.returncode == 2 and "give --force to replace it" in again.stderr
    assert cli("migrate", made / "old", made / "new", "--out", "moved", "--force").returncode == 0
    (tmp_path / "moved/notes.txt").touch()
    kept = cli("migrate", made / "old", made / "new", "--out", "moved", "--force")
    assert kept.returncode == 2 and "is no migration" in kept.stderr


def test_json_has_the_keys_that_scripts_rely_on(cli, made):
    done = cli("migrate", made / "old", made / "new", "--keep", "frr", "--json")
    found = json.loads(done.stdout)
    assert {"threshold", "far", "frr"} <= set(found["old"])
    assert {"threshold", "far", "frr", "interval"} <= set(found["new"])
    assert found["by"] == "frr" and found["bounds_met"] in (True, False)
    kinds = {"genuine_lost", "genuine_won", "impostors_let_in", "impostors_kept_out"}
    assert set(found["flips"]) == kinds
    assert found["new"]["frr"] <= found["old"]["frr"]


def test_ids_match_rows_in_another_order(cli, made):
    plain, shuffled = (
        json.loads(cli("migrate", made / "old", made / new, *options, "--json").stdout)
        for new, options in (("new", ()), ("shuffled", ("--id-column", "id")))
    )
    assert plain["flips"] == shuffled["flips"]
    done = cli("migrate", made / "old", made / "shuffled")
    assert done.returncode == 2 and "--id-column COLUMN" in done.stderr
    assert done.stdout == ""


def test_a_model_with_a_remedy(cli, made, tmp_path):
    """The inner products of a score normalisation migrate like distances do."""
    found = opis.remedy(made / "new.parquet", remedies="centre+snorm", folds=2, max_far=0.05)
    found.save(tmp_path / "mended", choose="centre+snorm")
    done = cli(
        *("evaluate", made / "new.parquet", "--remedy", tmp_path / "mended", "--max-far", "0.05"),
        *("--out", "run", "--quiet"),
    )
    assert done.returncode == 0, done.stderr
    moved = opis.migrate(made / "old", tmp_path / "run")
    assert moved.facts.new.metric == "dot"
    assert moved.facts.new.far <= moved.facts.old.far
    remedy = opis.load_remedy(tmp_path / "mended")
    table = pd.read_parquet(made / "new.parquet")
    vectors = np.stack(table["embedding"].to_numpy())
    labels = table["label"].to_numpy()
    one, two = np.triu_indices(400, 1)
    forms = remedy.forms(vectors, labels)
    scores = (forms[0][one] * forms[1][two]).sum(axis=1)
    units = data.unit(np.stack(pd.read_parquet(made / "old.parquet")["embedding"].to_numpy()))
    before = 1 - (units[one] * units[two]).sum(axis=1) <= moved.facts.old.threshold
    after = scores >= moved.facts.new.threshold
    lost = (labels[one] == labels[two]) & before & ~after
    assert abs(moved.facts.flips.genuine_lost - lost.sum()) <= moved.facts.borderline
    assert moved.facts.new.interval[0] < moved.facts.new.threshold < moved.facts.new.interval[1]
    text = tmp_path / "moved"
    moved.save(text)
    assert read_threshold(str(text / "threshold.json"), "dot") == -moved.facts.new.threshold
    flips = moved.flips.iloc[:3]
    place = {pair: k for k, pair in enumerate(zip(one.tolist(), two.tolist(), strict=True))}
    rows = zip(flips["row_a"], flips["row_b"], strict=True)
    assert flips["new_distance"].tolist() == pytest.approx([scores[place[p]] for p in rows], 1e-5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("old", "nowhere"), "nowhere"),
        (("old", "new", "--show-columns", "camera"), "camera"),
        (("old", "new", "--id-column", "key"), "key"),
        (("old", "new", "--threshold", "3"), "between 0 and 2"),
        (("old", "new", "--top", "0"), "it must be at least 1"),
        (("old", "new", "--keep", "eer"), "give --keep far or --keep frr"),
        (("old", "new", "--old-source", "new.parquet"), "not the rows that the run was counted"),
    ],
)
def test_what_is_refused(cli, made, words, message):
    done = cli("migrate", *words, cwd=made)
    assert done.returncode == 2 and message in done.stderr
    assert done.stdout == ""


def test_scored_pairs_are_refused(cli, tmp_path):
    pairs = pd.DataFrame({"score": np.linspace(0, 1, 200), "genuine": np.arange(200) > 100})
    pairs.to_parquet(tmp_path / "pairs.parquet")
    run = opis.evaluate(tmp_path / "pairs.parquet", pairs=True, max_far=0.1)
    run.save(tmp_path / "run")
    done = cli("migrate", "run", "run")
    assert done.returncode == 2 and "scored pairs have no rows" in done.stderr


def test_arrays_that_keep_no_columns(made):
    vectors, labels = data.blobs(60, 6)
    run = opis.evaluate(vectors, labels, max_far=0.1)
    with pytest.raises(opis.OpisError, match="id_column: no column 'id'; there are none"):
        opis.migrate(run, run, id_column="id")


def test_the_gate_limits_the_decisions_that_change(cli, made, tmp_path):
    moved = opis.migrate(made / "old", made / "new")
    moved.save(tmp_path / "moved")
    flips, old = moved.facts.flips, moved.facts.old
    accepted = round(old.far * moved.facts.impostor_pairs)
    accepted += round((1 - old.frr) * moved.facts.genuine_pairs)
    gate = (
        *("gate", made / "new", "--baseline", made / "old"),
        *("--threshold", tmp_path / "moved/threshold.json", "--max-flips"),
    )
    assert cli(*gate, flips.total).returncode == 0
    done = cli(*gate, flips.total - 1)
    assert done.returncode == 1
    told = " ".join(done.stdout.split())
    assert f"the baseline is at its recommended cosine distance {old.threshold}" in told
    assert f"{flips.total:,} changed decisions, allowed {flips.total - 1:,}" in told
    assert f"genuine pairs: {flips.genuine_lost:,} lost and {flips.genuine_won:,} won" in told
    # No figure of the two is compared, so nothing is said about figures and classes.
    assert "lost most" not in told and "chance" not in told
    share = flips.total / accepted
    assert cli(*gate, f"{100 * share + 0.01:.3f}%").returncode == 0
    assert cli(*gate, f"{100 * share - 0.01:.3f}%").returncode == 1
    done = cli("gate", made / "new", "--max-flips", "5%")
    assert done.returncode == 2 and "give --baseline RUN" in done.stderr
    done = cli("gate", made / "shuffled", "--baseline", made / "old", "--max-flips", "5%")
    assert done.returncode == 2 and "the label" in done.stderr


def test_the_gate_of_python_compares_models_of_other_metrics(made):
    new = opis.evaluate(made / "new.parquet", metric="euclidean", max_far=0.02)
    found = new.gate(baseline=made / "old", max_flips=10**6)
    counts = opis.load_run(made / "old").flips(new)
    assert found.passed and found.checks[0].value > 0
    assert found.checks[0].value == counts.pairs[:, :2].sum()
    # Without a threshold of the new model there are no decisions to compare.
    stuck = opis.evaluate(made / "new.parquet", max_far=1e-5, max_frr=1e-5)
    assert stuck.gate(baseline=made / "old", max_flips=10**6).checks[0].value is None
    # A limit on a figure needs runs whose figures compare.
    with pytest.raises(opis.OpisError, match="do not compare: metric"):
        new.gate(baseline=made / "old", max_flips=10**6, max_recall_drop=0.5)
