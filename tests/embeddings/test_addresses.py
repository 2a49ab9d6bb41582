"""Sources at addresses of fsspec: here ``memory://``, so that nothing leaves this machine."""

import io
import json
import sys

import data
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import opis_cli as opis
from opis_cli.errors import InputError, MissingExtra

fsspec = pytest.importorskip("fsspec", reason="needs opis-cli[formats]")
pytestmark = pytest.mark.optional

VECTORS, LABELS = data.blobs(300, 6, seed=5)


@pytest.fixture
def store():
    """An empty file system in memory: a function that puts a file there."""
    filesystem = fsspec.filesystem("memory")

    def put(path, content):
        filesystem.pipe(f"/{path}", content)
        return f"memory://{path}"

    yield put
    filesystem.rm("/", recursive=True)


def parquet(rows=slice(None)):
    file = io.BytesIO()
    pd.DataFrame({"embedding": list(VECTORS[rows]), "label": LABELS[rows]}).to_parquet(file)
    return file.getvalue()


def test_a_file_is_read_like_one_on_disk(store, tmp_path):
    (tmp_path / "e.parquet").write_bytes(parquet())
    address = store("models/e.parquet", parquet())
    here, there = opis.evaluate(tmp_path / "e.parquet"), opis.evaluate(address)
    assert np.array_equal(here.counts.impostor, there.counts.impostor)
    assert there.report.source.path == address
    assert there.report.source.sha256 == here.report.source.sha256


def test_folders_of_hive_and_patterns(store, tmp_path):
    for k, name in enumerate(("customer=b%20c", "customer=10", "customer=9")):
        part = parquet(slice(100 * k, 100 * k + 100))
        (tmp_path / name / "day=1").mkdir(parents=True)
        (tmp_path / name / "day=1/p.parquet").write_bytes(part)
        store(f"t/{name}/day=1/p.parquet", part)
        store(f"t/{name}/_old=1/p.parquet", b"hidden")
        store(f"shards/p-{9 + k}.parquet", part)
    there = opis.evaluate("memory://t", group_column="customer")
    here = opis.evaluate(tmp_path, group_column="customer")
    assert there.report.source.sha256 == here.report.source.sha256
    assert sorted(there.classes()["group"]) == ["10", "9", "b c"]
    assert opis.evaluate("memory://shards/p-*.parquet").report.source.rows == 300


def test_a_folder_of_datasets(store):
    file = io.BytesIO()
    table = pa.table({"embedding": VECTORS.tolist(), "label": LABELS})
    with pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    names = [f"class {k}" for k in range(6)]
    info = {"features": {"label": {"_type": "ClassLabel", "names": names}}}
    store("d/data-00000-of-00001.arrow", file.getvalue())
    store("d/cache-12.arrow", b"no matter")
    store("d/dataset_info.json", json.dumps(info).encode())
    assert sorted(opis.evaluate("memory://d").classes()["class"]) == names


def test_errors_name_the_address(store):
    with pytest.raises(InputError, match=r"^memory://bad\.parquet: not a readable") as found:
        opis.evaluate(store("bad.parquet", b"no parquet at all"))
    assert "/tmp" not in str(found.value)
    with pytest.raises(InputError, match="there is nothing at this address"):
        opis.evaluate("memory://none.parquet")
    with pytest.raises(InputError, match="no file there matches this pattern"):
        opis.evaluate("memory://none-*.parquet")


def test_a_package_that_is_missing_is_named(monkeypatch, cli):
    fsspec.register_implementation("lacking", "opis_lacks_this.files.System", clobber=True)
    with pytest.raises(InputError, match=r"lacking:// needs .*: pip install opis_lacks_this$"):
        opis.evaluate("lacking://e.parquet")
    done = cli("evaluate", "nonsense://e.parquet")
    assert done.returncode == 2 and "nonsense://e.parquet: cannot be fetched" in done.stderr
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(MissingExtra, match=r"with hf://.*'opis-cli\[formats\]'"):
        opis.evaluate("hf://datasets/a/b/e.parquet")
