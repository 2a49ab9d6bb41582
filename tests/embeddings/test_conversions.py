"""What opis does not read: the line of Python that it prints is run, and what it writes is read."""

import bz2
import gzip
import json
import lzma
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.orc
import pytest

from opis_cli.embeddings.conversions import _LINES, conversion
from opis_cli.embeddings.read import read
from opis_cli.errors import InputError

VECTORS = np.array([[1, 0, 2], [0, 3, 4], [5, 6, 0], [7, 0, 0.5]], np.float32)
WHOLE = np.array([[1, 0, 2], [0, 3, 4], [5, 6, 0], [7, 0, 255]])
LABELS = ["b", "01", "b", "01"]
FRAME = pd.DataFrame({"embedding": VECTORS.tolist(), "label": LABELS})
ODD = "it's; print('$(x)') {0} \"q\" \u202e\n"
"""A name of a file that would do harm where it is not quoted."""


def torch_save(path, value):
    torch = pytest.importorskip("torch", reason="needs opis-cli[torch]")
    torch.save({k: torch.tensor(v) for k, v in value.items()}, path)


def vecs(kind):
    def write(path):
        rows = WHOLE.astype(kind)
        path.write_bytes(b"".join(np.int32(3).tobytes() + row.tobytes() for row in rows))

    return write


def counted(kind):
    return lambda path: path.write_bytes(
        np.array([4, 3], "<u4").tobytes() + WHOLE.astype(kind).tobytes()
    )


def words(path, head=""):
    path.write_text(head + "".join(f"{n} 1.5 {k} 2\n" for k, n in enumerate(LABELS)))


def packed(opened, content):
    def write(path):
        with opened(path, "wb") as file:
            file.write(content)

    return write


CSV = FRAME.assign(embedding=FRAME["embedding"].map(json.dumps)).to_csv(index=False).encode()
CONVERTED = {
    "e.pkl": lambda path: path.write_bytes(pickle.dumps(FRAME)),
    "e.pickle": lambda path: path.write_bytes(
        pickle.dumps({"embeddings": VECTORS, "labels": LABELS})
    ),
    "e.jsonl": lambda path: FRAME.to_json(path, orient="records", lines=True),
    "e.ndjson": lambda path: FRAME.to_json(path, orient="records", lines=True),
    "e.json": lambda path: FRAME.to_json(path, orient="records"),
    "e.csv.gz": packed(gzip.open, CSV),
    "e.CSV.bz2": packed(bz2.open, CSV),
    "e.csv.xz": packed(lzma.open, CSV),
    "e.csv.zst": packed(lambda path, mode: pa.output_stream(str(path), compression="zstd"), CSV),
    "e.orc": lambda path: pa.orc.write_table(pa.Table.from_pandas(FRAME), path),
}
"""Files with the vectors and labels, by their names."""


def line_of(message):
    """The line of Python at the end of a message."""
    return message[message.index(": import ") + 2 :]


def run(path, **options):
    """Run the line that a message about a file has, and return the rows that it wrote."""
    with pytest.raises(InputError) as found:
        read(path)
    message = str(found.value)
    line = line_of(message)
    before = set(path.parent.iterdir())
    done = subprocess.run(
        [sys.executable, "-c", line], cwd=path.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, (line, done.stderr)
    assert done.stdout == ""
    (new,) = set(path.parent.iterdir()) - before
    return read(new, **options), message


@pytest.mark.parametrize("name", CONVERTED)
def test_tables(name, tmp_path):
    path = tmp_path / (ODD + name)
    CONVERTED[name](path)
    found, message = run(path)
    assert np.array_equal(found.vectors, VECTORS)
    assert found.class_names[found.labels].tolist() == LABELS
    assert ("only on a file that you trust" in message) == (path.suffix in (".pkl", ".pickle"))


def test_joblib(tmp_path):
    joblib = pytest.importorskip("joblib")
    joblib.dump(FRAME, tmp_path / "e.joblib")
    found, message = run(tmp_path / "e.joblib")
    assert np.array_equal(found.vectors, VECTORS) and "trust" in message


def test_matlab(tmp_path):
    from scipy import io

    io.savemat(tmp_path / "e.mat", {"embeddings": VECTORS, "labels": [1, 2, 1, 2]})
    found, _ = run(tmp_path / "e.mat")
    assert np.array_equal(found.vectors, VECTORS)
    assert found.class_names[found.labels].tolist() == [1, 2, 1, 2]


@pytest.mark.optional
@pytest.mark.parametrize("suffix", [".pt", ".pth"])
def test_torch(tmp_path, suffix):
    torch_save(tmp_path / f"e{suffix}", {"embeddings": VECTORS, "labels": [1, 2, 1, 2]})
    found, message = run(tmp_path / f"e{suffix}")
    assert np.array_equal(found.vectors, VECTORS)
    assert found.class_names[found.labels].tolist() == [1, 2, 1, 2]
    assert "weights_only=True" in message


@pytest.mark.parametrize(
    ("suffix", "write"),
    [
        (".fvecs", vecs("<f4")),
        (".ivecs", vecs("<i4")),
        (".bvecs", vecs("u1")),
        (".fbin", counted("<f4")),
        (".u8bin", counted("u1")),
    ],
)
def test_vectors_alone(tmp_path, suffix, write):
    write(tmp_path / f"e{suffix}")
    (tmp_path / "l.txt").write_text("\n".join(LABELS))
    found, _ = run(tmp_path / f"e{suffix}", labels=tmp_path / "l.txt")
    assert np.array_equal(found.vectors, WHOLE)


def test_raw_numbers(tmp_path):
    (tmp_path / "e.bin").write_bytes(VECTORS.tobytes())
    message = conversion(tmp_path / "e.bin")
    assert "Put in the number of dimensions for DIMS: " in message
    line = line_of(message).replace("DIMS", "3")
    subprocess.run([sys.executable, "-c", line], check=True)
    assert np.array_equal(np.load(tmp_path / "e.npy"), VECTORS)


@pytest.mark.parametrize("head", ["", "4 3\n"])
@pytest.mark.parametrize("suffix", [".vec", ".txt"])
def test_words_with_vectors(tmp_path, head, suffix):
    words(tmp_path / f"e{suffix}", head)
    found, _ = run(tmp_path / f"e{suffix}")
    assert np.array_equal(found.vectors, [[1.5, k, 2] for k in range(4)])
    assert found.class_names[found.labels].tolist() == LABELS


@pytest.mark.parametrize("suffix", _LINES)
def test_every_line_is_python_whatever_the_file_is_called(suffix, tmp_path):
    with pytest.raises(
        InputError, match=r"this line of Python writes .*, which opis reads"
    ) as found:
        read(write_any(tmp_path / (ODD + suffix)))
    line = line_of(str(found.value))
    compile(line, "line", "exec")
    assert repr(str(tmp_path / (ODD + suffix))) in line and "\u202e" not in line


def write_any(path):
    path.write_bytes(b"x")
    return path


def test_files_of_labels_that_are_not_text_are_refused_too(tmp_path):
    np.save(tmp_path / "v.npy", VECTORS)
    with pytest.raises(InputError, match="Run it only"):
        read(tmp_path / "v.npy", labels=write_any(tmp_path / "l.pkl"))
    (tmp_path / "l.txt").write_text("\n".join(LABELS))
    assert read(tmp_path / "v.npy", labels=tmp_path / "l.txt").labels.tolist() == [
        1,
        0,
        1,
        0,
    ]


def test_on_the_command_line(cli, tmp_path):
    write_any(tmp_path / "e.pt")
    done = cli("evaluate", "e.pt")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert line_of(done.stderr) == line_of(conversion(Path("e.pt"))) + "\n"
