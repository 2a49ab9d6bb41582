"""Sources at an address, from a real S3 server on this machine."""

import re
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path

import data
import numpy as np
import pandas as pd
import pytest
from pyarrow import fs

import opis_cli as opis

pytest.importorskip("moto", reason="needs pip install 'moto[s3,server]'")
pytestmark = pytest.mark.optional


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of an S3 server with an empty bucket."""
    log = (tmp_path_factory.mktemp("s3") / "log").open("w+")
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        yield wait_for_address(process, log.name)
    finally:
        process.kill()
        process.wait()
        log.close()


def wait_for_address(process, log) -> str:
    """The address that a server prints once it listens."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        found = re.search(r"Running on http://(\S+)", Path(log).read_text())
        if found:
            return found[1]
    raise RuntimeError(f"no S3 server: {Path(log).read_text()}")


@pytest.fixture
def put(server, monkeypatch):
    """A function that puts a file into a bucket, and returns its address."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    options = {"endpoint_override": server, "scheme": "http", "region": "us-east-1"}
    filesystem = fs.S3FileSystem(**options, allow_bucket_creation=True)
    filesystem.create_dir("models")

    def put(path, name):
        with filesystem.open_output_stream(f"models/{name}") as stream:
            stream.write(path.read_bytes())
        return f"s3://models/{name}?{urllib.parse.urlencode(options)}"

    return put


@pytest.fixture
def table():
    vectors, labels = data.blobs(500, 8, seed=5)
    return pd.DataFrame({"embedding": list(vectors), "label": labels})


def test_a_file_at_an_address_is_read_like_one_on_disk(put, table, tmp_path):
    table.to_parquet(tmp_path / "e.parquet")
    address = put(tmp_path / "e.parquet", "e.parquet")
    here, there = opis.evaluate(tmp_path / "e.parquet"), opis.evaluate(address)
    assert np.array_equal(here.counts.impostor, there.counts.impostor)
    assert there.report.source.path == address
    assert there.report.source.sha256 == here.report.source.sha256


def test_a_folder_at_an_address_is_its_parts_in_order(put, table, tmp_path):
    for number, part in enumerate((table[:200], table[200:])):
        part.to_parquet(tmp_path / f"{number}.parquet")
        address = put(tmp_path / f"{number}.parquet", f"parts/{number}.parquet")
    folder = address.replace("/1.parquet", "")
    assert opis.evaluate(folder).report.source.rows == 500
    assert (
        opis.evaluate(folder).report.source.sha256 == opis.evaluate(tmp_path).report.source.sha256
    )


def test_vectors_and_labels_at_addresses(put, table, tmp_path):
    np.save(tmp_path / "v.npy", np.stack(table["embedding"]))
    table[["label"]].to_csv(tmp_path / "l.csv", index=False)
    vectors, labels = (put(tmp_path / name, name) for name in ("v.npy", "l.csv"))
    assert opis.evaluate(vectors, labels).report.source.classes == 8


def test_shards_at_an_address_are_read_in_the_order_of_their_numbers(put, table, tmp_path):
    vectors = np.stack(table["embedding"])
    for number, rows in enumerate(np.array_split(np.arange(500), 11)):
        np.save(tmp_path / f"v-{number}.npy", vectors[rows])
        address = put(tmp_path / f"v-{number}.npy", f"shards/v-{number}.npy")
        table.iloc[rows].to_parquet(tmp_path / f"t-{number}.parquet")
        put(tmp_path / f"t-{number}.parquet", f"shards/t-{number}.parquet")
    pattern, labels = (address.replace("v-10.npy", name) for name in ("v-*.npy", "t-*.parquet"))
    here = opis.evaluate(vectors, table["label"])
    there = opis.evaluate(pattern, labels)
    assert np.array_equal(here.counts.impostor, there.counts.impostor)
    assert there.report.source.path == pattern
    searched = opis.evaluate(labels, gallery=labels)
    assert searched.report.source.gallery_rows == 500
    with pytest.raises(opis.OpisError, match="no file there matches this pattern"):
        opis.evaluate(address.replace("v-10", "none-*"))
    (tmp_path / "bad.npy").write_bytes(b"no array at all")
    put(tmp_path / "bad.npy", "shards/v-11.npy")
    with pytest.raises(opis.OpisError, match=r"^s3://models/shards/v-11\.npy") as found:
        opis.evaluate(pattern, labels)
    assert "/tmp" not in str(found.value)


def test_scored_pairs_at_an_address(put, tmp_path):
    rng = np.random.default_rng(0)
    genuine = rng.random(4_000) < 0.5
    table = pd.DataFrame({"distance": rng.random(4_000) + ~genuine, "genuine": genuine})
    table.to_parquet(tmp_path / "p.parquet")
    report = opis.evaluate(put(tmp_path / "p.parquet", "p.parquet"), pairs=True).report
    assert report.source.rows == 4_000


def test_errors_name_the_address(put, tmp_path):
    (tmp_path / "bad.parquet").write_bytes(b"no parquet at all")
    address = put(tmp_path / "bad.parquet", "bad.parquet")
    with pytest.raises(opis.OpisError, match=r"^s3://models/bad\.parquet") as found:
        opis.evaluate(address)
    assert "/tmp" not in str(found.value)
    with pytest.raises(opis.OpisError, match="there is nothing at this address"):
        opis.evaluate(address.replace("bad.parquet", "none.parquet"))


def test_an_unknown_kind_of_address(cli):
    done = cli("evaluate", "nonsense://nowhere/e.parquet")
    assert done.returncode == 2
    assert "nonsense://nowhere/e.parquet" in done.stderr
