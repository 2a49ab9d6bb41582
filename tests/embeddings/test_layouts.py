"""Tables as people have them: folders of Hive and of ``datasets``, Arrow, CSV, nested columns."""

import datetime as dt
import hashlib
import json
import uuid
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from opis_cli.embeddings import parts
from opis_cli.embeddings.clean import Reading
from opis_cli.embeddings.read import read
from opis_cli.errors import InputError

VECTORS = np.array([[1, 0, 2], [0, 3, 4], [5, 6, 0], [7, 0, 0], [0, 8, 9], [1, 1, 1]], np.float32)
LABELS = ["b", "a", "b", "a", "c", "c"]


def table(rows=slice(None), label=LABELS, **more):
    """Some rows of the vectors and labels, and of further columns."""
    columns = {"embedding": VECTORS.tolist(), "label": label, **more}
    made = pa.table({name: values for name, values in columns.items() if values is not None})
    start, stop, _ = rows.indices(len(VECTORS))
    return made.slice(start, stop - start)


def write(path, content, **options):
    """Write a table to a file, whose folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(content, path, **options)
    else:
        new = options.pop("new", pa.ipc.new_file)
        with new(path, content.schema, **options) as writer:
            writer.write_table(content, max_chunksize=2)
    return path


def names(found):
    """The label of every row."""
    return found.class_names[found.labels].tolist()


def values(found, column):
    """The value of a further column in every row, None where it is missing."""
    codes, known = found.columns[column].codes, found.columns[column].names.tolist()
    return [None if code < 0 else known[code] for code in codes]


def refused(*words):
    """Expect one ``InputError`` that says all the words in this order."""
    return pytest.raises(InputError, match="(?s)" + ".*".join(f"(?:{word})" for word in words))


# --- folders of Hive -------------------------------------------------------------------------


def hive(folder):
    """Three parts of two rows, of three customers and two days."""
    for k, (customer, day) in enumerate(
        [("b%20c", "day=2"), ("b%20c", "day=10"), ("__HIVE_DEFAULT_PARTITION__", "day=1")]
    ):
        rows = slice(2 * k, 2 * k + 2)
        write(folder / f"customer={customer}" / day / "part-0.parquet", table(rows))
    return folder


def test_folders_of_hive_give_columns(tmp_path):
    folder = hive(tmp_path / "t")
    (folder / "_SUCCESS").touch()
    (folder / "customer=b%20c" / "_temporary=1").mkdir()
    found = read(folder, Reading(columns={"customer": False, "day": False}))
    # In natural order, the customer without a name is first, and day 2 is before day 10.
    assert names(found) == ["c", "c", "b", "a", "b", "a"]
    assert np.array_equal(found.vectors, VECTORS[[4, 5, 0, 1, 2, 3]])
    assert values(found, "customer") == [None, None, "b c", "b c", "b c", "b c"]
    assert values(found, "day") == ["1", "1", "2", "2", "10", "10"]


def test_the_key_of_hive_is_a_label_or_a_group_on_the_command_line(tmp_path, cli):
    rng = np.random.default_rng(0)
    for name in ("acme", "z%C3%BCrich", "c"):
        vectors = rng.standard_normal(8) + rng.standard_normal((20, 8))
        made = pa.table({"embedding": vectors.tolist(), "label": ["x", "y"] * 10})
        write(tmp_path / "t" / f"customer={name}" / "p.parquet", made)
    done = cli("evaluate", "t", "--label-column", "customer", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["source"]["classes"] == 3 and report["source"]["label_column"] == "customer"
    assert {row["class"] for row in report["worst_classes"]} == {"acme", "zürich", "c"}
    for option in ("--group-column", "--within-column", "--exclude-same"):
        done = cli("evaluate", "t", option, "customer", "--json")
        assert done.returncode == 0, done.stderr
    # Twice 10 rows of a label in each of two other customers.
    assert json.loads(done.stdout)["pairs"]["genuine"] == 2 * 3 * 100


def test_the_digest_of_a_folder_of_hive_has_its_keys(tmp_path):
    found = read(hive(tmp_path / "t"))
    again = read(hive(tmp_path / "u"))
    assert found.source.sha256 == again.source.sha256
    (tmp_path / "u/customer=b%20c").rename(tmp_path / "u/customer=b")
    assert found.source.sha256 != read(tmp_path / "u").source.sha256
    write(tmp_path / "plain/1.parquet", table())
    digest = hashlib.sha256((tmp_path / "plain/1.parquet").read_bytes()).hexdigest()
    assert read(tmp_path / "plain").source.sha256 == digest


def test_a_column_of_the_file_comes_before_a_key_of_its_folder(tmp_path):
    write(tmp_path / "label=z/p.parquet", table())
    assert names(read(tmp_path)) == LABELS


def test_folders_of_hive_that_do_not_fit(tmp_path):
    write(tmp_path / "a/x=1/p.parquet", table())
    write(tmp_path / "a/p.parquet", table())
    with refused("x=1/p.parquet", "keys 'x'", "'?none|x'?"):
        read(tmp_path / "a")
    write(tmp_path / "b/x=1/x=2/p.parquet", table())
    with refused("'x' is there twice"):
        read(tmp_path / "b")
    write(tmp_path / "c/x=%ff/p.parquet", table())
    with refused("not UTF-8"):
        read(tmp_path / "c")
    # A loop ends, because its key comes twice.
    (tmp_path / "d").mkdir()
    (tmp_path / "d/x=1").symlink_to(tmp_path / "d")
    with refused("'x' is there twice"):
        read(tmp_path / "d")


# --- Arrow files, and folders of datasets ----------------------------------------------------


@pytest.mark.parametrize("new", [pa.ipc.new_file, pa.ipc.new_stream])
@pytest.mark.parametrize("compression", [None, "zstd"])
def test_arrow_files_in_both_forms(tmp_path, new, compression):
    options = pa.ipc.IpcWriteOptions(compression=compression)
    made = table(label=pa.array([*LABELS[:5], None]), group=pa.array(LABELS).dictionary_encode())
    path = write(tmp_path / "e.arrow", made, new=new, options=options)
    found = read(path, Reading(on_bad_rows="drop", columns={"group": True}))
    assert names(found) == LABELS[:5] and values(found, "group") == LABELS[:5]
    assert np.array_equal(found.vectors, VECTORS[:5])
    vectors = tmp_path / "v.npy"
    np.save(vectors, VECTORS[:5])
    assert names(read(vectors, labels=write(tmp_path / "l.arrow", made[:5]))) == LABELS[:5]


def test_feather(tmp_path):
    path = tmp_path / "e.feather"
    pyarrow.feather.write_feather(table(), path)
    assert names(read(path)) == LABELS


@pytest.mark.parametrize("new", [pa.ipc.new_file, pa.ipc.new_stream])
def test_damaged_arrow_files(tmp_path, new):
    path = write(tmp_path / "e.arrow", table(), new=new)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with refused("e.arrow: not a readable Arrow file"):
        read(path)
    path.write_bytes(b"no table at all, whatever its name says")
    with refused("e.arrow: not a readable Arrow file"):
        read(path)


def test_offsets_that_lead_out_of_an_arrow_file_are_refused(tmp_path):
    texts = pa.StringArray.from_buffers(
        6, pa.array([0, 1, 2, 1 << 20, 4, 5, 6], pa.int32()).buffers()[1], pa.py_buffer(b"abcdef")
    )
    path = tmp_path / "e.arrow"
    batch = pa.record_batch({"embedding": pa.array(VECTORS.tolist()), "label": texts})
    with pa.ipc.new_file(path, batch.schema) as writer:
        writer.write_batch(batch)
    with refused("e.arrow: not a readable Arrow file"):
        read(path)


def saved_to_disk(folder, features=None):
    """A folder as ``Dataset.save_to_disk`` writes it, with a file of its cache beside."""
    files = [f"data-0000{k}-of-00002.arrow" for k in range(2)]
    for k, name in enumerate(files):
        made = table(slice(3 * k, 3 * k + 3), [1, 0, 1, -1, 2, 2])
        write(folder / name, made, new=pa.ipc.new_stream)
    write(folder / "cache-0123.arrow", table())
    (folder / "state.json").write_text(
        json.dumps({"_data_files": [{"filename": name} for name in files], "_split": "train"})
    )
    info = {"features": {"label": {"names": ["x", "y", "z"], "_type": "ClassLabel"}}}
    (folder / "dataset_info.json").write_text(json.dumps(info if features is None else features))
    return folder


def test_a_folder_of_datasets_is_read_with_its_names(tmp_path):
    folder = saved_to_disk(tmp_path / "train")
    with refused("null labels: 1 .row 3."):
        read(folder)
    found = read(folder, Reading(on_bad_rows="drop"))
    assert names(found) == ["y", "x", "y", "z", "z"]
    assert np.array_equal(found.vectors, VECTORS[[0, 1, 2, 4, 5]])
    saved_to_disk(tmp_path / "test")
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    with refused("folders that have some, 'test', 'train'; name one"):
        read(tmp_path)


def test_state_of_a_folder_of_datasets(tmp_path):
    folder = saved_to_disk(tmp_path / "d")
    (folder / "state.json").write_text("damaged")
    assert len(read(folder, Reading(on_bad_rows="drop")).labels) == 5
    for name in ("../d/cache-0123.arrow", "gone.arrow"):
        (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name}]}))
        with refused("names '", "which is not there"):
            read(folder)
    state = {"_data_files": [], "_indices_data_files": [{"filename": "i.arrow"}]}
    (folder / "state.json").write_text(json.dumps(state))
    with refused("flatten_indices"):
        read(folder)


# --- names of classes ------------------------------------------------------------------------


def with_features(made, features):
    metadata = (
        features if isinstance(features, str) else json.dumps({"info": {"features": features}})
    )
    return made.replace_schema_metadata({"huggingface": metadata})


CLASSES = {"_type": "ClassLabel", "names": ["cat\x1b[31m", "dog", "<b>"]}


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_integers_become_the_names_of_their_classes(tmp_path, suffix):
    numbers = pa.array([2, 0, 2, 1, -1, None], pa.int8())
    meta = pa.StructArray.from_arrays([numbers], ["kind"])
    made = with_features(
        table(label=numbers, meta=meta), {"label": CLASSES, "meta": {"kind": CLASSES}}
    )
    path = write(tmp_path / f"e{suffix}", made)
    expected = ["<b>", "cat\x1b[31m", "<b>", "dog"]
    found = read(path, Reading(on_bad_rows="drop", columns={"meta.kind": False}))
    assert names(found) == values(found, "meta.kind") == expected
    nested = read(path, Reading(on_bad_rows="drop", label_column="meta.kind"))
    assert names(nested) == expected


@pytest.mark.parametrize(
    "features",
    [
        "not JSON",
        "[" * 100_000,
        [],
        {"label": "ClassLabel"},
        {"label": {"_type": "Value", "names": ["x", "y", "z"]}},
        {"label": {"_type": "ClassLabel"}},
        {"label": {"_type": "ClassLabel", "names": []}},
        {"label": {"_type": "ClassLabel", "names": ["x", 1, "z"]}},
        {"label": {"_type": "ClassLabel", "names": ["x", "", "z"]}},
        {"label": {"_type": "ClassLabel", "names": ["x", "x", "z"]}},
        {"label": {"_type": "ClassLabel", "names": ["x", "\ud800", "z"]}},
    ],
    ids=range(11),
)
def test_names_that_are_not_as_datasets_writes_them_are_ignored(tmp_path, features):
    path = write(tmp_path / "e.parquet", with_features(table(label=[1, 0, 1, 0, 2, 2]), features))
    assert names(read(path)) == [1, 0, 1, 0, 2, 2]


def test_a_number_without_a_name_is_refused(tmp_path):
    made = with_features(table(label=[1, 0, 1, 0, 3, 3]), {"label": CLASSES})
    with refused("e.parquet, 'label': the label 3 has no name among the 3"):
        read(write(tmp_path / "e.parquet", made))


def test_text_beside_names_of_classes_stays_text(tmp_path):
    path = write(tmp_path / "e.parquet", with_features(table(), {"label": CLASSES}))
    assert names(read(path)) == LABELS


# --- nested columns --------------------------------------------------------------------------


def nested():
    inner = pa.StructArray.from_arrays(
        [pa.array(LABELS), pa.array(VECTORS.tolist())], ["who", "vector"]
    )
    outer = pa.StructArray.from_arrays(
        [inner, pa.array(list("uvuvuv"))],
        ["deep", "site"],
        mask=pa.array([False] * 5 + [True]),
    )
    return table(embedding=None, label=None, meta=outer)


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_fields_of_structs_are_columns(tmp_path, suffix):
    path = write(tmp_path / f"e{suffix}", nested())
    asked = Reading(
        embedding_column="meta.deep.vector",
        label_column="meta.deep.who",
        columns={"meta.site": False},
        on_bad_rows="drop",
    )
    found = read(path, asked)
    assert names(found) == LABELS[:5] and values(found, "meta.site") == list("uvuvu")
    assert np.array_equal(found.vectors, VECTORS[:5])
    assert (found.source.embedding_column, found.source.label_column) == (
        "meta.deep.vector",
        "meta.deep.who",
    )
    with refused("no column 'meta.who'", "'meta.deep.who'"):
        read(path, Reading(embedding_column="meta.deep.vector", label_column="meta.who"))


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_a_column_whose_name_has_the_dot_comes_first(tmp_path, suffix):
    meta = pa.StructArray.from_arrays([pa.array(list("zzzzzz"))], ["label"])
    path = write(tmp_path / f"e{suffix}", table(label=None, meta=meta, **{"meta.label": LABELS}))
    assert names(read(path, Reading(label_column="meta.label"))) == LABELS


def test_nested_numbers_matched_by_a_pattern(tmp_path):
    fields = [pa.array(VECTORS[:, k]) for k in (2, 0, 1)]
    meta = pa.StructArray.from_arrays(fields, ["e2", "e0", "e1"])
    path = write(tmp_path / "e.parquet", table(embedding=None, meta=meta))
    assert np.array_equal(read(path, Reading(embedding_column="meta.e*")).vectors, VECTORS)


# --- vectors as text, and CSV files ----------------------------------------------------------

TEXTS = [json.dumps(vector.tolist()) for vector in VECTORS]


def test_vectors_as_json_in_parquet(tmp_path):
    texts = [TEXTS[0], " [0,3.0,\t4e0 ] ", None, "null", "[0, null, 9]", "[1, 1, NaN]"]
    path = write(tmp_path / "e.parquet", table(embedding=texts, label=list("aabbaa")))
    with refused("null vectors: 3 .rows 2, 3, 4.", "NaN or infinity: 1 .row 5"):
        read(path)
    path = write(tmp_path / "f.parquet", table(embedding=pa.array(TEXTS, pa.large_string())))
    found = read(path)
    assert np.array_equal(found.vectors, VECTORS) and found.vectors.dtype == np.float64


@pytest.mark.parametrize(
    "text",
    ["0.1, 0.2, 0.3", "[1 2 3]", "[1, 2", "[]", "[1, , 2]", '["1", 2, 3]', "{1,2,3}", "[1,x"],
)
def test_a_text_that_is_no_vector_names_its_row(tmp_path, text, monkeypatch):
    monkeypatch.setattr(parts, "BATCH_ROWS", 2)
    texts = [*TEXTS[:3], text, *TEXTS[4:]]
    path = write(tmp_path / "e.parquet", table(embedding=texts))
    with refused("e.parquet, column 'embedding': row 3", "json.dumps"):
        read(path)
    path = tmp_path / "e.csv"
    pd.DataFrame({"embedding": texts, "label": LABELS}).to_csv(path, index=False)
    with refused("e.csv, column 'embedding': row 3", "json.dumps"):
        read(path)


def test_a_text_of_another_length_names_its_row(tmp_path):
    path = write(tmp_path / "e.parquet", table(embedding=[*TEXTS[:4], "[1, 2]", TEXTS[5]]))
    with refused("row 4", "2 numbers, those before it 3"):
        read(path)


def test_rows_of_a_sample_are_named_by_their_number(tmp_path):
    texts = ["[1, 2]" if label == "b" else "no vector" for label in "ab" * 300]
    label = [f"{k % 2}{k // 100}" for k in range(600)]
    path = tmp_path / "e.parquet"
    pq.write_table(pa.table({"embedding": texts, "label": label}), path)
    with pytest.raises(InputError) as found:
        read(path, Reading(max_pairs=8_000))
    row = int(str(found.value).partition("row ")[2].split()[0])
    assert texts[row] == "no vector"


@pytest.mark.parametrize(
    ("suffix", "separator", "line"),
    [(".csv", ",", "\r\n"), (".tsv", "\t", "\n"), (".csv", ";", "\n")],
)
def test_csv_with_vectors(tmp_path, suffix, separator, line, monkeypatch):
    # A block holds but one or two lines.
    monkeypatch.setattr(parts, "CSV_BLOCK_BYTES", 64)
    label = ["b, of\nc", "01", "b, of\nc", "01", "NA", "NA"]
    frame = pd.DataFrame({"n": range(6), "embedding": TEXTS, "label": label})
    path = tmp_path / f"e{suffix}"
    frame.to_csv(path, index=False, sep=separator, lineterminator=line, encoding="utf-8-sig")
    found = read(path, Reading(columns={"n": True}))
    assert np.array_equal(found.vectors, VECTORS)
    # Texts stay as they are.
    assert [name.replace("\r", "") for name in names(found)] == label
    assert values(found, "n") == list("012345")
    frame.loc[[1, 5], "embedding"] = ""
    frame.to_csv(path, index=False, sep=separator)
    with refused("null vectors: 2 .rows 1, 5."):
        read(path)


def test_wide_csv(tmp_path):
    frame = pd.DataFrame({f"e{k}": VECTORS[:, k] for k in (2, 0, 1)} | {"label": LABELS})
    path = tmp_path / "e.csv"
    frame.to_csv(path, index=False)
    assert np.array_equal(read(path, Reading(embedding_column="e*")).vectors, VECTORS)
    for k in range(9):
        frame[f"e{k}"] = 1.5
    frame.to_csv(path, index=False)
    with refused("no embedding column", r"'e0' to 'e8' look like one vector.*'e\[0-9\]\*'"):
        read(path)
    frame["e4"] = ["1", "2", "3", "four", "5", ""]
    frame.to_csv(path, index=False)
    with refused("e.csv, column 'e4': row 3", "'four', which is no number"):
        read(path, Reading(embedding_column="e*"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", ["empty, 0 bytes"]),
        ("\n\n", ["no header line"]),
        ("embedding,label\n", ["no rows"]),
        ('"[1, 2]",a\n"[1, 3]",b\n', ["line 1 holds a vector", "embedding,label"]),
        ("embedding,label\n[1, 2],a\n", ["not a readable UTF-8 CSV file"]),
        (b'embedding,label\n"[1, 2]",\xff\n', ["not a readable UTF-8 CSV file"]),
        (b'embedding\xff,label\n"[1, 2]",a\n', ["not a readable UTF-8 CSV file"]),
    ],
)
def test_bad_csv(tmp_path, content, words):
    path = tmp_path / "e.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with refused("e.csv", *words):
        read(path)


def test_csv_on_the_command_line(tmp_path, cli):
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((60, 4))
    frame = pd.DataFrame({"embedding": [json.dumps(v.tolist()) for v in vectors]})
    frame["label"] = np.arange(60) % 3
    frame.to_csv(tmp_path / "e.csv", index=False)
    np.savez(tmp_path / "e.npz", embeddings=vectors, labels=np.arange(60) % 3)
    csv, npz = (
        json.loads(cli("evaluate", f"e.{kind}", "--json").stdout) for kind in ("csv", "npz")
    )
    assert csv["opis"] == npz["opis"] and csv["pairs"] == npz["pairs"]
    frame.loc[41, "embedding"] = "[0.1, 0.2"
    frame.to_csv(tmp_path / "e.csv", index=False)
    done = cli("evaluate", "e.csv")
    assert done.returncode == 2 and "row 41" in done.stderr and "Traceback" not in done.stderr


# --- labels of other types -------------------------------------------------------------------

MOMENT = dt.datetime(2026, 3, 4, 5, 6, 7, 500_000)
UUID = uuid.UUID("12345678-1234-5678-1234-567812345678")


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (dt.date(2026, 3, 4), pa.date32(), "2026-03-04"),
        (dt.date(2026, 3, 4), pa.date64(), "2026-03-04"),
        (MOMENT, pa.timestamp("us"), "2026-03-04T05:06:07.5"),
        (MOMENT, pa.timestamp("ns"), "2026-03-04T05:06:07.5"),
        (MOMENT.replace(microsecond=0), pa.timestamp("ms"), "2026-03-04T05:06:07"),
        (MOMENT.replace(second=0, microsecond=0), pa.timestamp("s"), "2026-03-04T05:06:00"),
        (
            MOMENT.replace(tzinfo=ZoneInfo("Europe/Berlin")),
            pa.timestamp("us", "Europe/Berlin"),
            "2026-03-04T04:06:07.5Z",
        ),
        (
            MOMENT.replace(microsecond=0, tzinfo=dt.UTC),
            pa.timestamp("ms", "UTC"),
            "2026-03-04T05:06:07Z",
        ),
        (MOMENT.time(), pa.time64("us"), "05:06:07.5"),
        (Decimal("1.50"), pa.decimal128(9, 2), "1.50"),
        (Decimal("-1E+20"), pa.decimal256(40, 0), "-100000000000000000000"),
        (Decimal("1E-9"), pa.decimal128(12, 9), "0.000000001"),
        (UUID.bytes, pa.binary(16), str(UUID)),
        (UUID.bytes, pa.uuid(), str(UUID)),
        (True, pa.bool_(), "True"),
    ],
    ids=str,
)
@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_labels_of_other_types_become_text(tmp_path, value, kind, text, suffix):
    other = False if value is True else None
    label = pa.array([value, value, other, other, value, other], kind)
    path = write(tmp_path / f"e{suffix}", table(label=label, group=LABELS))
    found = read(path, Reading(label_column="group", columns={"label": False}))
    missing = "False" if value is True else None
    assert values(found, "label") == [text, text, missing, missing, text, missing]
