"""Arrays by name in ``.safetensors`` and HDF5, of which nothing is unpickled or followed."""

import json
import pickle
import subprocess
import sys

import data
import numpy as np
import pytest

import opis_cli as opis
from opis_cli.embeddings.clean import Reading
from opis_cli.embeddings.read import read
from opis_cli.errors import InputError, SettingsError

safetensors = pytest.importorskip("safetensors.numpy", reason="needs opis-cli[formats]")
h5py = pytest.importorskip("h5py", reason="needs opis-cli[formats]")
pytestmark = pytest.mark.optional

VECTORS = np.array([[1, 0, 2], [0, 3, 4], [5, 6, 0], [7, 0, 0]], np.float32)
LABELS = np.array([7, 3, 7, 3])


def write(path, **arrays):
    """Save arrays by name. In HDF5, ``__`` in a name stands for a group."""
    if path.suffix == ".safetensors":
        safetensors.save_file(arrays, path)
    else:
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[name.replace("__", "/")] = array
    return path


@pytest.fixture(params=[".safetensors", ".h5", ".hdf5"])
def path(request, tmp_path):
    return tmp_path / f"e{request.param}"


def refused(*words):
    return pytest.raises(InputError, match="(?s)" + ".*".join(words))


def check(found, vectors=VECTORS, labels=LABELS):
    np.testing.assert_array_equal(found.vectors, vectors)
    assert found.class_names[found.labels].tolist() == labels.tolist()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_arrays_are_found_by_their_names(path, dtype):
    vectors = VECTORS.astype(dtype)
    found = read(write(path, embeddings=vectors, labels=LABELS, site=LABELS[::-1].copy()))
    check(found)
    assert found.vectors.dtype == dtype
    assert (found.source.embedding_column, found.source.label_column) == ("embeddings", "labels")
    asked = Reading(embedding_column="v", label_column="who", columns={"site": True})
    found = read(write(path, v=vectors, who=LABELS, site=LABELS), asked)
    check(found)
    assert found.columns["site"].codes.tolist() == [1, 0, 1, 0]
    with refused("no array 'labels'", "'site', 'v', 'who'"):
        read(path, Reading(embedding_column="v"))
    with refused("no array 'embeddings'"):
        read(path)


def test_labels_in_another_file(path, tmp_path):
    write(path, embeddings=VECTORS)
    (tmp_path / "l.txt").write_text("b\na\nb\na\n")
    check(read(path, labels=tmp_path / "l.txt"), labels=np.array(list("baba")))
    np.save(tmp_path / "v.npy", VECTORS)
    labels = write(tmp_path / f"l{path.suffix}", labels=LABELS)
    check(read(tmp_path / "v.npy", labels=labels))


def test_bfloat16_becomes_float32(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    vectors = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    save_file({"embeddings": vectors, "labels": torch.tensor(LABELS)}, tmp_path / "e.safetensors")
    found = read(tmp_path / "e.safetensors")
    check(found, vectors.float().numpy())
    assert found.vectors.dtype == np.float32
    with pytest.raises(SettingsError, match="4 vectors of 3 dimensions"):
        read(tmp_path / "e.safetensors", Reading(memory_limit=1_000))


def test_a_sample_reads_the_same_rows(path, monkeypatch):
    from opis_cli.embeddings import array_files

    monkeypatch.setattr(array_files, "_ROWS_AT_ONCE", 64)
    vectors, labels = data.blobs(1_000, 40, 6, seed=1)
    order = np.argsort(labels)
    write(path, embeddings=vectors[order], labels=labels[order])
    options = {"max_pairs": 20_000, "seed": 2}
    expected = opis.evaluate(vectors[order], labels[order], **options)
    found = opis.evaluate(path, **options)
    assert np.array_equal(found.counts.impostor, expected.counts.impostor)
    assert found.report.source.rows == expected.report.source.rows < 1_000


def test_wrong_arrays(path):
    with refused("shape", "two dimensions"):
        read(write(path, embeddings=VECTORS[0], labels=LABELS))
    with refused("labels have the shape"):
        read(write(path, embeddings=VECTORS, labels=VECTORS))
    with refused("3 labels for 4 vectors"):
        read(write(path, embeddings=VECTORS, labels=LABELS[:3]))


def test_damaged_files(path):
    content = write(path, embeddings=VECTORS, labels=LABELS).read_bytes()
    for damaged in (content[: len(content) // 2], b"no arrays at all" * 20):
        path.write_bytes(damaged)
        with refused(f"e{path.suffix}: not a readable"):
            read(path)


def test_datasets_in_groups_and_labels_of_text(tmp_path):
    path = tmp_path / "e.h5"
    for labels in (["b", "ä", "b", "ä"], np.array(["b", "ä".encode()] * 2, "S")):
        labels = [n.decode() if isinstance(n, bytes) else n for n in labels]
        write(path, train__v=VECTORS, train__who=np.array(labels, h5py.string_dtype()))
        check(
            read(path, Reading(embedding_column="train/v", label_column="train/who")),
            labels=np.array(labels),
        )
    with refused("no array 'train'", "'train/v', 'train/who'"):
        read(path, Reading(embedding_column="train"))
    for name in ("train/../train/v", "train//v", "train/v/x", "./train/v", ""):
        with refused("no array"):
            read(path, Reading(embedding_column=name or "/", label_column="train/who"))


def test_labels_as_bytes_of_a_fixed_length(tmp_path):
    path = write(tmp_path / "e.h5", embeddings=VECTORS, labels=np.array([b"b", b"aa"] * 2))
    check(read(path), labels=np.array(["b", "aa", "b", "aa"]))
    path = write(tmp_path / "e.h5", embeddings=VECTORS, labels=np.array([b"b", b"\xff"] * 2))
    with refused("not a readable HDF5 file"):
        read(path)


class Trap:
    """What would write a file if it were unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_objects_in_hdf5_are_refused(tmp_path):
    path, sprung = tmp_path / "e.h5", tmp_path / "sprung"
    bytes_of_any_length = h5py.vlen_dtype(np.uint8)
    content = np.frombuffer(pickle.dumps(Trap(sprung)), np.uint8)
    for name in ("labels", "embeddings"):
        with h5py.File(path, "w") as file:
            file["embeddings"], file["labels"] = VECTORS, LABELS
            del file[name]
            objects = file.create_dataset(name, (4,), bytes_of_any_length)
            objects[0] = content
        with refused("holds objects, which are not read"):
            read(path)
    assert not sprung.exists()


def test_what_leads_to_other_files_is_refused(tmp_path):
    """A link, a virtual dataset and raw data elsewhere could show files that nobody named."""
    other = write(tmp_path / "other.h5", embeddings=VECTORS, labels=LABELS, g__labels=LABELS)
    path = tmp_path / "e.h5"
    for name, link in (
        ("labels", h5py.ExternalLink(str(other), "labels")),
        ("g", h5py.ExternalLink(str(other), "g")),
        ("labels", h5py.SoftLink("/embeddings")),
    ):
        write(path, embeddings=VECTORS)
        with h5py.File(path, "a") as file:
            file[name] = link
        with refused("is a link, which is not followed"):
            read(path, Reading(label_column="g/labels" if name == "g" else "labels"))
    write(path, embeddings=VECTORS)
    with h5py.File(path, "a") as file:
        layout = h5py.VirtualLayout((4,), LABELS.dtype)
        layout[:] = h5py.VirtualSource(str(other), "labels", (4,))
        file.create_virtual_dataset("labels", layout)
        (tmp_path / "raw").write_bytes(LABELS.tobytes())
        file.create_dataset("raw", (4,), LABELS.dtype, external=str(tmp_path / "raw"))
    for name in ("labels", "raw"):
        with refused(f"the data of '{name}' are in other files, which is not followed"):
            read(path, Reading(label_column=name))


def test_a_missing_extra_is_named(path, cli, monkeypatch):
    write(path, embeddings=VECTORS, labels=LABELS)
    blocked = ["h5py", "safetensors"]
    for name in blocked:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(opis.OpisError, match=rf"e{path.suffix}.*'opis-cli\[formats\]'"):
        read(path)


def test_help_does_not_load_them():
    code = (
        "import sys, opis_cli.embeddings.read; "
        "print({'h5py', 'safetensors', 'fsspec', 'ml_dtypes'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_on_the_command_line(path, cli):
    vectors, labels = data.blobs(60, 3)
    write(path, embeddings=vectors, labels=labels)
    done = cli("evaluate", path, "--json")
    assert done.returncode == 0, done.stderr
    expected = opis.evaluate(vectors, labels).report
    assert json.loads(done.stdout)["pairs"]["genuine"] == expected.pairs.genuine
    path.write_bytes(b"x" * 99)
    done = cli("evaluate", path)
    assert done.returncode == 2 and "Traceback" not in done.stderr
