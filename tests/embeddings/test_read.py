"""Every layout that opis reads, and every bad input that belongs to reading."""

import hashlib
import json
from pathlib import Path

import data
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from opis_cli.embeddings.clean import Reading, from_arrays
from opis_cli.embeddings.read import read
from opis_cli.errors import InputError, SettingsError

VECTORS = np.array([[1, 0, 2], [0, 3, 4], [5, 6, 0], [7, 0, 0], [0, 8, 9]], np.float32)
LABELS = ["b", "a", "b", "10", "a"]
NAMES = ["10", "a", "b"]
CODES = [2, 1, 2, 0, 1]
INTS = [7, -1, 7, 300, -1]


def check(found, vectors=VECTORS, codes=CODES, names=NAMES, rows=None, dropped=0):
    """Compare embeddings with what they should be."""
    assert found.vectors.dtype.isnative
    np.testing.assert_array_equal(found.vectors, vectors)
    assert found.labels.dtype == found.rows.dtype == np.int64
    assert found.labels.tolist() == codes
    assert found.class_names.tolist() == names
    assert found.class_names.dtype == (np.int64 if isinstance(names[0], int) else object)
    assert found.rows.tolist() == list(range(len(codes)) if rows is None else rows)
    assert found.dropped_rows == dropped


def fixed(vectors=VECTORS):
    """A fixed-size list array of a matrix."""
    return pa.FixedSizeListArray.from_arrays(vectors.ravel(), vectors.shape[1])


def parquet(path, embedding=None, label=LABELS, **more):
    """Write columns to Parquet, ``emb`` and ``label`` among them unless None."""
    columns = {"emb": fixed() if embedding is None else embedding, "label": label}
    pq.write_table(pa.table({k: v for k, v in (columns | more).items() if v is not False}), path)
    return path


def npy(path, array=VECTORS):
    """Save an array, pickled where it must be."""
    np.save(path, array, allow_pickle=True)
    return path


@pytest.fixture
def source(tmp_path):
    return tmp_path / "source.parquet"


def refused(*words):
    """Expect one ``InputError``, without a chain, that says all the words in this order."""
    return pytest.raises(InputError, match="(?s)" + ".*".join(f"(?:{word})" for word in words))


# --- Parquet: embeddings ---------------------------------------------------------------------


@pytest.mark.parametrize("value", [pa.float16(), pa.float32(), pa.float64()], ids=str)
@pytest.mark.parametrize(
    "kind",
    [pa.list_, pa.large_list, pa.list_view, lambda v: pa.list_(v, 3)],
    ids=["list", "large_list", "list_view", "fixed_size_list"],
)
def test_lists_keep_their_float_type(source, kind, value):
    rows = pa.array(list(VECTORS.astype(value.to_pandas_dtype())), kind(value))
    found = read(parquet(source, rows))
    check(found)
    assert found.vectors.dtype == value.to_pandas_dtype()


@pytest.mark.parametrize(("value", "dtype"), [(pa.int8(), "i1"), (pa.int32(), "f8")])
def test_lists_of_integers_become_floats_unless_they_are_bytes(source, value, dtype):
    found = read(parquet(source, pa.array(VECTORS.tolist(), pa.list_(value))))
    check(found)
    assert found.vectors.dtype == dtype


@pytest.mark.parametrize("value", [pa.int8(), pa.uint8(), pa.bool_()])
def test_bytes_and_bits_keep_their_size_where_one_is_null(source, value):
    rows = [[1, 0, 1], [0, 1, None], [1, 1, 0], [1, 1, 1], [0, 0, 1]]
    if pa.types.is_boolean(value):
        rows = [[None if number is None else bool(number) for number in row] for row in rows]
    with refused(r"null vectors: 1 \(row 1\)"):
        read(parquet(source, pa.array(rows, pa.list_(value))))
    found = read(parquet(source, pa.array(rows, pa.list_(value))), Reading(on_bad_rows="drop"))
    assert found.vectors.tolist() == [[1, 0, 1], [1, 1, 0], [1, 1, 1], [0, 0, 1]]
    assert found.vectors.itemsize == 1


def test_the_least_byte_is_no_zero(tmp_path):
    vectors = np.array([[-128, 0], [1, 2], [3, 4], [5, 6], [7, 8]], np.int8)
    found = read(npy(tmp_path / "v.npy", vectors), labels=write(tmp_path / "l.txt", TEXT))
    assert np.array_equal(found.vectors, vectors)


def test_tensor_extension(source):
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(VECTORS)
    check(read(parquet(source, tensors)))
    square = pa.FixedShapeTensorArray.from_numpy_ndarray(np.ones((5, 2, 2)))
    with refused("'emb' is of type", r"shape=\[2,2\]"):
        read(parquet(source, square))


def test_number_columns_in_natural_order(source):
    wide = np.arange(200, dtype=np.float32).reshape(5, 40) + 1
    order = np.random.default_rng(0).permutation(40)
    columns = {f"emb_{k}": wide[:, k] for k in order}
    table = pa.table({"emb_label": LABELS, **columns, "emb_": wide[:, 0], "class": LABELS})
    pq.write_table(table, source)
    check(read(source, Reading(embedding_column="emb_[0-9]*")), wide)
    with refused("also matches 'emb_label', 'emb_'", r"such as 'emb_\[0-9\]\*'"):
        read(source, Reading(embedding_column="emb_*"))
    with refused("no column 'vec_", "embedding_column", "'emb_label', "):
        read(source, Reading(embedding_column="vec_*"))


@pytest.mark.parametrize("stray", ["emb_id", "emb_version"])
def test_a_column_off_the_numbers_is_no_dimension(stray, source):
    wide = {f"emb_{k}": VECTORS[:, k] for k in range(3)}
    pq.write_table(pa.table({**wide, stray: np.arange(5.0), "label": LABELS}), source)
    with refused(f"also matches '{stray}'", "'emb_0' to 'emb_2'"):
        read(source, Reading(embedding_column="emb_*"))
    check(read(source, Reading(embedding_column="emb_[0-9]*")))


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["emb_0", "emb_1", "emb_2"], None),
        (["emb_8", "emb_9", "emb_10"], None),
        (["emb_00", "emb_01", "emb_02"], None),
        (["emb_0", "emb_1", "emb_2024"], "'emb_2024' follows 'emb_1'"),
        (["emb_0", "emb_2", "emb_3"], "'emb_2' follows 'emb_0'"),
        (["emb_a", "emb_b", "emb_c"], "'emb_b' follows 'emb_a'"),
    ],
)
def test_columns_that_are_not_numbered_one_by_one_are_told(names, told, source):
    wide = {name: VECTORS[:, k] for k, name in enumerate(names)}
    pq.write_table(pa.table({**wide, "label": LABELS}), source)
    found = read(source, Reading(embedding_column="emb_*"))
    check(found)
    assert [(one.kind, told in one.text) for one in found.warnings] == (
        [("column_pattern", True)] if told else []
    )


def test_wide_columns_that_nobody_named_are_pointed_out(source):
    wide = {f"e{k}": np.arange(1.0, 6.0) for k in range(12)}
    pq.write_table(pa.table({"id": range(5), **wide, "label": LABELS}), source)
    with refused("no embedding column", r"'e0' to 'e11' look like one vector.*'e\[0-9\]\*'"):
        read(source)
    assert read(source, Reading(embedding_column="e[0-9]*")).vectors.shape == (5, 12)


def test_a_name_that_differs_in_case_is_taken_if_there_is_but_one(source):
    pq.write_table(pa.table({"Embedding": fixed(), "LABEL": LABELS}), source)
    found = read(source)
    check(found)
    assert (found.source.embedding_column, found.source.label_column) == ("Embedding", "LABEL")
    check(read(source, Reading(label_column="label")))
    pq.write_table(pa.table({"Embedding": fixed(), "LABEL": LABELS, "Label": LABELS}), source)
    with refused("2 columns may be the label column"):
        read(source)


def test_what_was_read_is_said(tmp_path, cli):
    rows, labels = data.blobs(60, 3)
    file = tmp_path / "x.parquet"
    parquet(file, False, labels, emb=False, **{f"v{k}": rows[:, k] for k in range(4)})
    done = cli("evaluate", file, "--embedding-column", "v*", "--max-far", "0.3", "--details")
    assert "vectors from column v*, labels from column label" in done.stdout
    np.save(tmp_path / "v.npy", rows)
    pd.DataFrame({"n": range(60), "Who": labels}).to_csv(tmp_path / "l.csv", index=False)
    asked = Reading(label_column="who")
    found = read(tmp_path / "v.npy", asked, labels=tmp_path / "l.csv").source
    assert (found.embedding_column, found.label_column) == (None, "Who")


def test_pattern_leaves_the_label_column_out_and_a_literal_name_wins(source):
    pq.write_table(pa.table({"a": [1.0, 2, 3], "b": [4, 5, 6], "label": [1, 1, 2]}), source)
    check(read(source, Reading(embedding_column="*")), [[1, 4], [2, 5], [3, 6]], [0, 0, 1], [1, 2])
    parquet(source, pa.array([""] * 5), **{"e[m]b": fixed(), "eb": LABELS})
    check(read(source, Reading(embedding_column="e[m]b")))


def test_slices_chunks_and_nulls(source):
    """``.values`` of a slice, and ``.flatten()`` of nulls, would shift the rows."""
    many = np.arange(1, 6001, dtype=np.float32).reshape(2000, 3)
    rows = pa.array(many.tolist(), pa.list_(pa.float32(), 3))
    hole = pa.array([None, [1, None, 2]], rows.type)
    embedding = pa.chunked_array([rows.slice(10, 990), hole, rows.slice(1000)])
    label = pa.chunked_array([pa.array(np.arange(1992) % 5)])
    table = pa.table({"vector": embedding.slice(3), "label": label.slice(3)})
    pq.write_table(table, source, row_group_size=700)
    with refused("2 bad rows", "null vectors: 2 .rows 987, 988.", "on_bad_rows='drop'"):
        read(source)
    keep = np.delete(np.arange(1989), [987, 988])
    found = read(source, Reading(on_bad_rows="drop"))
    expected = np.delete(many, np.arange(13), axis=0)
    check(found, expected, ((keep + 3) % 5).tolist(), list(range(5)), keep, 2)


def test_null_in_a_number_column_is_a_null_vector(source):
    columns = {"e0": [1, None, 3, 4, 5], "e1": [1.5, 2, 3, 4, 5]}
    parquet(source, False, **columns)
    with refused("1 bad row ", "null vectors: 1 .row 1."):
        read(source, Reading(embedding_column="e?"))


def test_folder_of_parts(tmp_path, source):
    folder = tmp_path / "parts"
    folder.mkdir()
    half = VECTORS[:2].astype(np.float16)
    parquet(folder / "a.parquet", fixed(half), pa.array(LABELS[:2]).dictionary_encode())
    parquet(folder / "b.parquet", fixed(VECTORS[2:]), pa.array(LABELS[2:], pa.large_string()))
    (folder / "_SUCCESS.parquet").touch()
    (folder / ".hidden.parquet").touch()
    (folder / "notes.txt").touch()
    found = read(folder)
    check(found)
    assert found.vectors.dtype == np.float32
    parts = [(folder / name).read_bytes() for name in ("a.parquet", "b.parquet")]
    assert found.source.sha256 == hashlib.sha256(b"".join(parts)).hexdigest()

    parquet(folder / "c.parquet", fixed(VECTORS[:, :2].copy()))
    with refused("c.parquet: the vector in row 5", "has 2 numbers, those before it 3"):
        read(folder)
    parquet(folder / "c.parquet", label=INTS)
    with refused("integers in one part and text in another"):
        read(folder)
    parquet(folder / "c.parquet", False, vector=fixed())
    with refused("c.parquet: 0 columns named 'emb'", "'label', 'vector'"):
        read(folder)


# --- labels ----------------------------------------------------------------------------------

INT_NAMES, INT_CODES = [-1, 7, 300], [1, 0, 1, 2, 0]


@pytest.mark.parametrize("index", [pa.int8(), pa.uint16(), pa.int64(), pa.uint64()], ids=str)
def test_dictionaries(source, index):
    values = pa.array(["a", "unused", "b", "10"])
    label = pa.DictionaryArray.from_arrays(pa.array([2, 0, 2, 3, 0], index), values)
    check(read(parquet(source, label=label)))


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()], ids=str)
def test_text_labels(source, kind):
    check(read(parquet(source, label=pa.array(LABELS, kind))))


@pytest.mark.parametrize("kind", [pa.int16(), pa.int64(), pa.float32(), pa.float64()], ids=str)
def test_integer_labels(source, kind):
    check(read(parquet(source, label=pa.array(INTS, kind))), codes=INT_CODES, names=INT_NAMES)


def test_boolean_labels_are_text(source):
    label = [True, False, True, True, False]
    check(read(parquet(source, label=label)), codes=[1, 0, 1, 1, 0], names=["False", "True"])


def test_integers_with_missing_values_as_pandas_writes_them(source):
    frame = pd.DataFrame({"embedding": list(VECTORS), "label": [7, None, 7, 300, 1]})
    frame.to_parquet(source)
    with refused("null labels: 1 .row 1."):
        read(source)
    found = read(source, Reading(on_bad_rows="drop"))
    check(found, VECTORS[[0, 2, 3, 4]], [1, 1, 2, 0], [1, 7, 300], [0, 2, 3, 4], 1)


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ([0.5, 1, 2, 3, 4], ["floats", "0.5"]),
        ([2.0**60, 1, 2, 3, 4], ["floats", "1.15"]),
        (pa.array([2**63, 1, 2, 3, 4], pa.uint64()), ["signed 64-bit"]),
        (pd.to_timedelta(range(5)), ["duration", "wanted integers or text"]),
        ([b"a"] * 5, ["'binary'"]),
        (pa.array([b"four"] * 5, pa.binary(4)), [r"'fixed_size_binary\[4\]'"]),
        ([[1]] * 5, ["list"]),
    ],
)
def test_labels_of_another_type(source, label, words):
    with refused("source.parquet", *words):
        read(parquet(source, label=label))


def test_labels_that_are_not_utf8(source):
    offsets = pa.array([0, 1, 2, 3, 4, 5], pa.int32()).buffers()[1]
    label = pa.StringArray.from_buffers(5, offsets, pa.py_buffer(b"ab\xffab"))
    with refused("not UTF-8"):
        read(parquet(source, label=label))


# --- NPY, NPZ and label files ----------------------------------------------------------------


def write(path, content):
    """A labels file out of text, bytes, an array or a column."""
    if isinstance(content, str):
        content = content.encode()
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif path.suffix == ".npy":
        npy(path, np.array(content))
    else:
        pq.write_table(pa.table({"id": range(5), "label": content}), path)
    return path


TEXT = "\n".join(LABELS)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("l.npy", LABELS),
        ("l.parquet", LABELS),
        ("l.txt", TEXT),
        ("l.lst", TEXT + "\n"),
        ("bom.txt", ("\ufeff" + TEXT).replace("\n", "\r\n")),
        ("bare.csv", TEXT),
        ("headed.csv", "who\n" + TEXT + "\n"),
        ("guessed.csv", "label\n" + TEXT),
        ("quoted.csv", '"b"\r\n"a"\r\nb\r\n"10"\r\na\r\n'),
        ("wide.csv", ',label\n0,b\n1,a\n2,"b"\n3,10\n4,a\n'),
        ("wide.tsv", "x,y\tclass\n0\tb\n1\ta\n2\tb\n3\t10\n4\ta\n"),
        ("semicolons.csv", "label;split\nb;train\na;train\nb;test\n10;train\na;test\n"),
        ("tabs.csv", "n\tlabel\n0\tb\n1\ta\n2\tb\n3\t10\n4\ta\n"),
        ("commas.tsv", "n,label\n0,b\n1,a\n2,b\n3,10\n4,a\n"),
        ("headed.txt", "who\n" + TEXT + "\n"),
        ("list.json", json.dumps(LABELS)),
    ],
)
def test_label_files(tmp_path, name, content):
    labels = write(tmp_path / name, content)
    found = read(npy(tmp_path / "v.npy"), labels=labels)
    check(found)
    assert isinstance(found.vectors, np.memmap)
    assert found.source.sha256 == hashlib.sha256((tmp_path / "v.npy").read_bytes()).hexdigest()
    assert found.source.labels_sha256 == hashlib.sha256(labels.read_bytes()).hexdigest()


def test_a_json_list_may_hold_integers(tmp_path):
    labels = write(tmp_path / "l.json", json.dumps(INTS))
    check(read(npy(tmp_path / "v.npy"), labels=labels), codes=[1, 0, 1, 2, 0], names=[-1, 7, 300])


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("l.csv", "person\na\nb\na\nb\n", ["line 1, 'person', looks like a header"]),
        ("l.txt", "person\na\nb\na\nb\n", ["line 1, 'person', looks like a header"]),
        ("l.csv", "who is it\n1\n2\n1\n2\n", ["line 1, 'who is it', looks like a header"]),
        ("l.csv", "a;b|c\n1;2|3\n4;5|6\n", ["line 1 is 'a;b|c'", "';', '|'", "delimiter"]),
        ("l.json", '{"labels": [1]}', ["not a JSON list"]),
        ("l.json", '["a", 1, 2, 3, 4]', ["'int', 'str'", "wanted integers, or texts"]),
        ("l.json", "[", ["JSON list of labels"]),
        ("l.json", "[" * 100_000, ["JSON list of labels"]),
    ],
)
def test_label_files_that_may_mean_something_else_are_refused(tmp_path, name, content, words):
    labels = write(tmp_path / name, content)
    with refused(*words):
        read(npy(tmp_path / "v.npy"), labels=labels)


def test_a_first_label_that_is_there_once_is_no_header(tmp_path):
    """Classes of one row are common; only a usual name, or text before numbers, tells a header."""
    labels = write(tmp_path / "l.csv", "zebra\na\nb\na\nb\n")
    found = read(npy(tmp_path / "v.npy"), labels=labels)
    assert found.class_names.tolist() == ["a", "b", "zebra"]


def test_an_empty_text_is_a_missing_label_everywhere(tmp_path):
    labels = ["b", "", "b", "a", "a"]
    with refused("null labels: 1 .row 1"):
        read(npy(tmp_path / "v.npy"), labels=npy(tmp_path / "l.npy", np.array(labels)))
    with refused("null labels: 1 .row 1"):
        from_arrays(VECTORS, labels)
    with refused("null labels: 1 .row 1"):
        read(parquet(tmp_path / "x.parquet", fixed(), labels))


def test_labels_in_text_stay_text(tmp_path):
    labels = write(tmp_path / "l.csv", 'label,who\nx,007\nx,"a,b"\nx,NA\nx,7\nx,007\n')
    found = read(npy(tmp_path / "v.npy"), Reading(label_column="who"), labels=labels)
    check(found, codes=[0, 3, 2, 1, 0], names=["007", "7", "NA", "a,b"])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("l.txt", "b\n\nb\na\na\n"),
        ("l.csv", "b\n\nb\na\na\n"),
        ("m.csv", "n,label\n1,b\n2,\n3,b\n\n5,a\n"),
    ],
)
def test_an_empty_field_is_a_missing_label(tmp_path, name, content):
    path = write(tmp_path / name, content)
    with refused(r"null labels: \d .rows? 1"):
        read(npy(tmp_path / "v.npy"), labels=path)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("l.txt", "a\nb\n", ["2 labels for 5 vectors"]),
        ("l.npy", [1, 2, 3], ["3 labels for 5 vectors"]),
        ("l.csv", TEXT + "\na\nb\n", ["7 labels for 5 vectors"]),
        ("l.txt", b"\xff\xfe", ["UTF-8 text file", "0xff"]),
        ("l.csv", b"label\n\xff\n", ["UTF-8 CSV file", "0xff"]),
        ("l.csv", "x,y\n1,2\n", ["no label column", "label_column", "'x', 'y'"]),
        ("l.csv", "label,class\n1,2\n", ["2 columns may be", "'label', 'class'"]),
        ("l.csv", "label\na,b\n", ["line 2 has 2 fields"]),
        ("l.csv", '"a\n', ["unexpected end of data"]),
        ("l.csv", "\ufeff", ["1 labels for 5"]),
        ("l.npy", [[1], [2]], [r"shape \(2, 1\)"]),
        ("l.npy", [{}, {}], ["not a readable .npy", "Python objects"]),
        ("l.txt", "", ["empty, 0 bytes"]),
        ("l.parquet", b"text", ["l.parquet: not a readable Parquet file"]),
    ],
)
def test_bad_label_files(tmp_path, name, content, words):
    with refused(name, *words):
        read(npy(tmp_path / "v.npy"), labels=write(tmp_path / name, content))


def test_a_header_that_is_asked_for_must_exist(tmp_path):
    labels = write(tmp_path / "l.csv", "label\n" + TEXT)
    with refused("no column 'who'", "'label'"):
        read(npy(tmp_path / "v.npy"), Reading(label_column="who"), labels=labels)


@pytest.mark.parametrize("suffix", ["parquet", "npz"])
def test_labels_file_has_precedence(tmp_path, suffix):
    path = tmp_path / f"s.{suffix}"
    if suffix == "npz":
        np.savez(path, embeddings=VECTORS)
    else:
        parquet(path, label=False)
    check(read(path, labels=write(tmp_path / "l.txt", TEXT)))


@pytest.mark.parametrize(
    "array",
    [
        VECTORS.astype(">f4"),
        VECTORS.astype("f2"),
        VECTORS.astype("u1"),
        VECTORS.astype(">i8"),
        np.asfortranarray(VECTORS),
    ],
    ids=["big-endian", "half", "bytes", "big integers", "Fortran"],
)
def test_arrays_of_other_types_and_orders(tmp_path, array):
    check(read(npy(tmp_path / "v.npy", array), labels=write(tmp_path / "l.txt", TEXT)))
    np.savez_compressed(tmp_path / "v.npz", embeddings=array, labels=np.array(INTS, ">i4"))
    check(read(tmp_path / "v.npz"), codes=INT_CODES, names=INT_NAMES)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.array([{}] * 5), ["not a readable .npy file", "Python objects"]),
        (np.ones(5), [r"shape \(5,\)", r"\(rows, dims\)"]),
        (np.ones((5, 2, 2)), [r"shape \(5, 2, 2\)"]),
        (np.ones((5, 2), complex), ["complex128"]),
        (np.array([["a"]] * 5), ["<U1"]),
        (np.zeros(5, [("x", "f4")]), ["'x'"]),
        (np.ones((5, 0)), ["no dimensions"]),
        (np.ones((0, 4)), ["5 labels for 0 vectors"]),
    ],
)
def test_bad_npy(tmp_path, array, words):
    with refused(*words):
        read(npy(tmp_path / "v.npy", array), labels=write(tmp_path / "l.txt", TEXT))


def test_npy_without_labels(tmp_path):
    with refused("v.npy", "give labels=FILE"):
        read(npy(tmp_path / "v.npy"))


def test_bad_npz(tmp_path):
    path = tmp_path / "s.npz"
    np.savez(path, x=VECTORS, y=LABELS)
    with refused("no array 'embeddings'", "'x', 'y'"):
        read(path)
    check(read(path, Reading(embedding_column="x", label_column="y")))
    np.savez(path, embeddings=np.array([{}]), labels=LABELS)
    with refused("not a readable .npz", "allow_pickle"):
        read(path)


# --- files that are not what they seem -------------------------------------------------------


@pytest.mark.parametrize("name", ["s.parquet", "s.npy", "s.npz"])
def test_unreadable_files(tmp_path, name):
    path, labels = tmp_path / name, write(tmp_path / "l.txt", TEXT)
    with refused(name, "no such file"):
        read(path, labels=labels)
    path.touch()
    with refused(name, "empty, 0 bytes"):
        read(path, labels=labels)
    path.write_text("these are no embeddings\n")
    with refused(name, "not a readable"):
        read(path, labels=labels)
    {
        "s.parquet": parquet,
        "s.npy": npy,
        "s.npz": lambda path: np.savez(path, embeddings=VECTORS, labels=LABELS),
    }[name](path)
    path.write_bytes(path.read_bytes()[:-30])
    with refused(name, "not a readable") as caught:
        read(path, labels=labels)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert "\n" not in str(caught.value)


def test_damaged_pages(source):
    parquet(source)
    content = bytearray(source.read_bytes())
    content[4:60] = bytes(56)
    source.write_bytes(content)
    with refused("source.parquet: not a readable Parquet file"):
        read(source)


def test_only_the_needed_columns_are_read(source):
    parquet(source, blob=[b"needless"] * 5)
    content = source.read_bytes()
    assert content.count(b"needless") >= 1
    source.write_bytes(content.replace(b"needless", bytes(8)))
    check(read(source))


def test_unknown_suffix_and_folder_without_parts(tmp_path):
    (tmp_path / "s.unknown").write_text("x")
    with refused("'.unknown'", ".parquet, .arrow, .feather, .csv, .tsv, .npy, .npz"):
        read(tmp_path / "s.unknown")
    with refused("without .parquet, .arrow or .feather files"):
        read(tmp_path)


@pytest.mark.parametrize("method", ["stat", "iterdir"])
def test_permission(tmp_path, monkeypatch, method):
    """Simulated, as tests may be run by a user who may read everything."""

    def denied(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, method, denied)
    with refused("permission denied"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (
            {"x": LABELS, "label": LABELS},
            ["no embedding column", "embedding_column", "'x', 'label'"],
        ),
        ({"emb": fixed(), "x\n": LABELS}, ["no label column", "label_column", r"'emb', 'x\\n'"]),
        ({"emb": fixed(), "vector": fixed(), "label": LABELS}, ["2 columns", "'emb', 'vector'"]),
        ({"emb": fixed(), "class": LABELS, "label": LABELS}, ["2 columns", "'class', 'label'"]),
        ({"emb": LABELS, "label": LABELS}, ["column 'emb': row 0", "'b'", "no list of numbers"]),
        ({"emb": [1.0] * 5, "label": LABELS}, ["'emb' is of type 'double'"]),
        ({"emb": [["a"]] * 5, "label": LABELS}, ["'emb' is of type 'list"]),
        ({"emb": [[1, 2], None, [3], [4], [5]], "label": LABELS}, ["row 2", "1 numbers, .* 2"]),
        ({"emb": [[]] * 5, "label": LABELS}, ["'emb' is of type 'list<.*null"]),
        ({"emb": pa.array([[]] * 5, pa.list_(pa.float32())), "label": LABELS}, ["no dimensions"]),
        (
            {"emb": pa.array([None] * 5, pa.list_(pa.float32())), "label": LABELS},
            ["null vectors: 5"],
        ),
    ],
)
def test_bad_columns(source, columns, words):
    pq.write_table(pa.table(columns), source)
    with refused("source.parquet", *words):
        read(source)


def test_wide_tables_are_not_listed_whole(source):
    pq.write_table(pa.table({f"c{k}": [1] for k in range(100)}), source)
    with refused("'c19' and 80 more$"):
        read(source)


# --- rows ------------------------------------------------------------------------------------


def test_all_kinds_of_bad_rows_in_one_message():
    vectors = np.ones((16, 2), np.float32)
    vectors[3:9] = np.nan
    vectors[9, 1] = -np.inf
    vectors[10] = 0
    labels = [1, None, 2, 1] * 4
    with refused(
        "<arrays>: 10 bad rows .numbered from 0.", r"null labels: 4 \(rows 1, 5, 9, 13\)"
    ) as at:
        from_arrays(vectors, labels)
    assert "NaN or infinity: 7 (rows 3, 4, 5, 6, 7, ...)" in str(at.value)
    assert "norm zero: 1 (row 10)" in str(at.value)
    keep = [0, 2, 11, 12, 14, 15]
    found = from_arrays(vectors, labels, Reading(on_bad_rows="drop"))
    check(found, np.ones((6, 2)), [0, 1, 0, 0, 1, 0], [1, 2], keep, 10)
    assert (
        from_arrays(vectors, labels, Reading(metric="euclidean", on_bad_rows="drop")).dropped_rows
        == 9
    )


@pytest.mark.parametrize(
    ("dtype", "sizes"), [("f2", [6e4, 6e-8]), ("f4", [3e38, 1e-45]), ("f8", [1e308, 5e-324])]
)
def test_norms_neither_overflow_nor_underflow(dtype, sizes):
    vectors = np.array([[size, -size] for size in sizes] + [[-1, 0]], dtype)
    check(from_arrays(vectors, [1, 1, 2]), vectors, [0, 0, 1], [1, 2])


def test_checks_reach_past_the_first_chunk(monkeypatch):
    monkeypatch.setattr("opis_cli.embeddings.clean.CHUNK_BYTES", 16)
    vectors = np.ones((9, 3))
    vectors[7, 2] = np.nan
    with refused("NaN or infinity: 1 .row 7."):
        from_arrays(vectors, [1, 2, 1] * 3)


def test_dropping_rows_of_a_memory_map_and_their_classes(tmp_path):
    path = npy(tmp_path / "v.npy", np.vstack([VECTORS, np.zeros((1, 3), np.float32)]))
    labels = write(tmp_path / "l.txt", TEXT + "\n0")
    found = read(path, Reading(on_bad_rows="drop"), labels=labels)
    check(found, dropped=1)
    found = read(path, Reading(metric="euclidean"), labels=labels)
    assert found.class_names.tolist() == ["0", *NAMES]


@pytest.mark.parametrize(
    ("rows", "labels", "words"),
    [
        (0, [], ["no rows;"]),
        (1, ["a"], ["one row;"]),
        (3, ["a"] * 3, ["one class only, 'a', in all 3 rows"]),
        (3, [5, 5, None], ["one class only, 5, in all 2 rows, 1 bad row left out;"]),
        (3, [1, 2, 3], ["3 classes of a single row each"]),
        (3, [None] * 3, ["no rows, 3 bad rows left out;"]),
        (3, ["a"] * 4, ["4 labels for 3 vectors"]),
    ],
)
def test_rows_without_pairs(source, rows, labels, words):
    words = [*words, "needed are two classes or more|one label for each"]
    with refused("<arrays>", *words):
        from_arrays(np.ones((rows, 2)), labels, Reading(on_bad_rows="drop"))
    if len(labels) == rows:
        parquet(source, pa.array([[1.0, 1]] * rows, pa.list_(pa.float32())), labels)
        with refused("source.parquet", *words):
            read(source, Reading(on_bad_rows="drop"))


# --- arrays ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "vectors",
    [
        VECTORS,
        VECTORS.tolist(),
        list(VECTORS),
        pd.Series(list(VECTORS)),
        pd.DataFrame(VECTORS),
        VECTORS.astype(int).tolist(),
        VECTORS.astype(object),
    ],
    ids=["array", "lists", "arrays", "Series", "DataFrame", "integers", "objects"],
)
@pytest.mark.parametrize(
    "labels",
    [
        LABELS,
        np.array(LABELS),
        np.array(LABELS, object),
        pd.Series(LABELS, dtype="category"),
        pd.Series(LABELS, dtype="string"),
    ],
    ids=["list", "array", "objects", "category", "string"],
)
def test_from_arrays(vectors, labels):
    found = from_arrays(vectors, labels)
    check(found)
    assert found.source.path == "<arrays>"
    matrix = found.vectors.tobytes()
    assert found.source.sha256 == hashlib.sha256(matrix + TEXT.encode()).hexdigest()


def test_from_arrays_keeps_the_array_and_hashes_integers():
    labels = pd.Series(INTS, dtype="Int64")
    vectors = np.asfortranarray(VECTORS)
    found = from_arrays(vectors, labels)
    assert found.vectors is vectors
    content = VECTORS.tobytes() + np.array(INTS).tobytes()
    assert found.source.sha256 == hashlib.sha256(content).hexdigest()


def test_from_arrays_with_a_missing_row():
    with refused("null vectors: 2 .rows 1, 2."):
        from_arrays([[1, 2], None, [None, 3], [4, 5]], [1, 2, 3, 1])


@pytest.mark.parametrize(
    ("vectors", "labels", "words"),
    [
        ([[1], [1, 2]], [1, 1], ["row 1", "2 numbers, those before it 1"]),
        ([["a"], ["b"]], [1, 1], ["<U1"]),
        ([1.0, 2.0], [1, 1], [r"shape \(2,\)"]),
        ([{}, {}], [1, 1], ["type 'struct", "wanted rows of numbers"]),
        ([[1, "a"], [None, 2]], [1, 1], ["not rows of numbers"]),
        (VECTORS[:2], [1, "a"], ["neither all integers nor all text"]),
        (VECTORS[:2], [2**70, 1], ["neither all integers nor all text"]),
        (VECTORS[:2], 5, ["neither all integers nor all text"]),
    ],
)
def test_bad_arrays(vectors, labels, words):
    with refused("<arrays>", *words):
        from_arrays(vectors, labels)


@pytest.fixture
def shards(tmp_path):
    """The same rows as one file, as shards of each kind, and their labels."""
    vectors, labels = data.blobs(230, 6, seed=8)
    vectors = vectors.astype(np.float32)
    table = pd.DataFrame({"embedding": list(vectors), "label": labels})
    table.to_parquet(tmp_path / "whole.parquet")
    # Twelve of them, so that the order of names is not that of numbers.
    for number, rows in enumerate(np.array_split(np.arange(230), 12)):
        np.save(tmp_path / f"v-{number}.npy", vectors[rows])
        table.iloc[rows].to_parquet(tmp_path / f"p-{number}.parquet")
        table.iloc[rows][["label"]].to_csv(tmp_path / f"l-{number}.csv", index=False)
        np.savez(tmp_path / f"z-{number}.npz", embeddings=vectors[rows], labels=labels[rows])
    return tmp_path


@pytest.mark.parametrize(
    ("source", "labels"),
    [
        ("p-*.parquet", None),
        ("z-*.npz", None),
        ("v-*.npy", "whole.parquet"),
        ("v-*.npy", "l-*.csv"),
        ("v-?*.npy", "p-*.parquet"),
        ("p-*.parquet", "l-*.csv"),
    ],
)
def test_shards_are_read_in_the_order_of_their_numbers(source, labels, shards):
    whole = read(shards / "whole.parquet")
    found = read(shards / source, labels=labels and shards / labels)
    assert np.array_equal(found.vectors, whole.vectors)
    assert found.class_names[found.labels].astype(str).tolist() == (
        whole.class_names[whole.labels].astype(str).tolist()
    )
    assert found.source.path == str(shards / source)


def test_several_sources_are_one(shards, cli):
    names = [f"p-{number}.parquet" for number in range(12)]
    whole = read(shards / "whole.parquet")
    found = read([shards / name for name in names])
    assert np.array_equal(found.vectors, whole.vectors)
    assert np.array_equal(found.labels, whole.labels)
    assert found.source.sha256 == read(shards / "p-*.parquet").source.sha256
    done = cli("evaluate", "p-1*.parquet", *names[:1], *names[2:10], "--json")
    assert json.loads(done.stdout)["source"]["rows"] == 230, done.stderr


def test_a_file_whose_name_is_a_pattern_is_that_file(shards):
    odd = shards / "p-[1].parquet"
    (shards / "whole.parquet").rename(odd)
    assert len(read(odd).labels) == 230
    odd.unlink()
    assert len(read(odd).labels) < 230


def test_shards_that_do_not_fit_are_refused(shards):
    with pytest.raises(InputError, match="no file matches this pattern"):
        read(shards / "none-*.npy", labels=shards / "whole.parquet")
    np.save(shards / "v-12.npy", np.zeros((3, 4), np.float32))
    with pytest.raises(InputError, match=r"v-12\.npy: vectors of 4 dimensions, those of .*16"):
        read(shards / "v-*.npy", labels=shards / "whole.parquet")
    (shards / "v-12.npy").unlink()
    (shards / "l-11.csv").unlink()
    with pytest.raises(InputError, match="labels for 230 vectors"):
        read(shards / "v-*.npy", labels=shards / "l-*.csv")


@pytest.mark.parametrize("kind", ["lists", "lists of one length", "columns", "npz", "npy"])
def test_vectors_that_do_not_fit_in_memory_are_not_read(kind, tmp_path, monkeypatch):
    """Metadata tells their size."""

    def never(*args):
        raise AssertionError("vectors were read")

    labels = None
    if kind == "npz":
        path = tmp_path / "x.npz"
        np.savez(path, embeddings=VECTORS, labels=LABELS)
    elif kind == "npy":
        path, labels = npy(tmp_path / "x.npy"), write(tmp_path / "l.txt", TEXT)
    elif kind == "columns":
        wide = {f"emb_{k}": VECTORS[:, k] for k in range(3)}
        path = parquet(tmp_path / "x.parquet", False, emb=False, **wide)
    else:
        rows = fixed() if kind == "lists of one length" else pa.array(VECTORS.tolist())
        path = parquet(tmp_path / "x.parquet", rows)
    pattern = "emb_*" if kind == "columns" else None
    for limit, refuses in ((1_000, True), (8_000_000_000, False)):
        asked = Reading(embedding_column=pattern, memory_limit=limit)
        if refuses:
            with monkeypatch.context() as patch:
                patch.setattr("opis_cli.embeddings.read._read_vectors", never)
                with pytest.raises(SettingsError, match="5 vectors of 3 dimensions"):
                    read(path, asked, labels=labels)
        else:
            assert read(path, asked, labels=labels).vectors.shape == (5, 3)
