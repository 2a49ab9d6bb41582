"""The dask engine: workers that read the file themselves, workers that die, no workers at all."""

import json
import os
import signal
from dataclasses import replace

import data
import numpy as np
import pandas as pd
import pytest
from conftest import optional

import opis_cli as opis
from opis_cli.counting.count import count_pairs
from opis_cli.embeddings.read import read
from opis_cli.settings import Settings

pytestmark = optional("dask").marks


@pytest.fixture
def parquet(tmp_path):
    vectors, labels = data.blobs(9_000, 60, 16, seed=3)
    path = tmp_path / "embeddings.parquet"
    pd.DataFrame({"embedding": list(vectors), "label": labels}).to_parquet(path)
    return path


def same_counts(one, other) -> bool:
    names = ("genuine", "impostor", "pooled_genuine", "pooled_impostor", "nearest_hits")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


def test_workers_read_the_file_and_count_what_one_process_counts(parquet, cluster):
    own = opis.evaluate(parquet, engine="numba")
    theirs = opis.evaluate(parquet, engine="dask", scheduler=cluster.scheduler_address)
    assert same_counts(own.counts, theirs.counts)
    assert theirs.report.settings["engine"] == "dask"


def test_workers_take_the_metric_of_each_count(parquet, cluster):
    for metric in ("cosine", "euclidean"):
        own = opis.evaluate(parquet, engine="numba", metric=metric)
        theirs = opis.evaluate(
            parquet, engine="dask", scheduler=cluster.scheduler_address, metric=metric
        )
        assert same_counts(own.counts, theirs.counts)


def test_a_relative_path_is_one_for_workers_too(parquet, cluster, monkeypatch):
    monkeypatch.chdir(parquet.parent)
    run = opis.evaluate(parquet.name, engine="dask", scheduler=cluster.scheduler_address)
    assert run.report.source.path == parquet.name


def test_a_killed_worker_loses_no_counts_and_counts_nothing_twice(parquet):
    from distributed import LocalCluster

    embeddings = read(parquet)
    expected = count_pairs(embeddings, Settings(engine="numba"))
    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        dashboard_address="127.0.0.1:0",
        host="127.0.0.1",
        silence_logs=50,
    ) as cluster:
        victims = [worker.process.pid for worker in cluster.workers.values()]
        seen = []

        def kill_one(done, total):
            seen.append(done)
            # A worker that has counted something dies with what it holds, and a second later.
            if len(seen) in (1, 5):
                os.kill(victims.pop(), signal.SIGKILL)

        chosen = Settings(engine="dask", scheduler=cluster.scheduler_address)
        found = count_pairs(embeddings, chosen, progress=kill_one)
    assert not victims
    assert seen == sorted(seen)
    assert same_counts(expected, found)


def test_workers_are_sent_rows_that_no_file_has(parquet, cluster):
    """Those that a remedy changed, with what is counted beside the histograms: folds."""
    embeddings = read(parquet)
    source = replace(embeddings.source, remedy="centre", remedy_sha256="0")
    embeddings = replace(embeddings, vectors=embeddings.vectors[:, ::2].copy(), source=source)
    own = count_pairs(embeddings, Settings(engine="numba", folds=3))
    chosen = Settings(engine="dask", scheduler=cluster.scheduler_address, folds=3)
    theirs = count_pairs(embeddings, chosen)
    assert same_counts(own, theirs)
    assert np.array_equal(own.inside, theirs.inside)


def test_another_file_under_the_same_name_is_refused(parquet, cluster):
    table = pd.read_parquet(parquet)
    table.iloc[::-1].to_parquet(parquet)
    embeddings = read(parquet)
    table.to_parquet(parquet)
    chosen = Settings(engine="dask", scheduler=cluster.scheduler_address)
    with pytest.raises(opis.OpisError, match="a worker reads another file under this name"):
        count_pairs(embeddings, chosen)


def test_a_scheduler_that_is_not_there(cli, parquet):
    done = cli("evaluate", parquet, "--engine", "dask", "--scheduler", "tcp://127.0.0.1:9")
    assert done.returncode == 2
    assert "no scheduler answers" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_local_cluster_from_the_command_line(cli, parquet):
    done = cli("evaluate", parquet, "--engine", "dask", "--threads", "2", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["settings"]["engine"] == "dask"
    assert report["pairs"]["genuine"] + report["pairs"]["impostor"] == 9_000 * 8_999 // 2
    assert done.stderr == ""
