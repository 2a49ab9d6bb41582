"""Arrays in a file: the same after a round trip, small, and never larger than the file can hold."""

import io
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from opis_cli.counting import store

TYPES = [f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)]
ANY = arrays.arrays(st.sampled_from(TYPES), arrays.array_shapes(min_dims=2, min_side=0))


def written(content) -> bytes:
    stream = io.BytesIO()
    store.write(stream, content)
    return stream.getvalue()


@pytest.fixture
def read(tmp_path):
    """What is read of a file of some bytes."""

    def read(raw: bytes):
        (tmp_path / "file").write_bytes(raw)
        return store.read(tmp_path / "file")

    return read


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape), name
        assert np.array_equal(found[name], array), name
        assert found[name].flags.writeable


@settings(deadline=None)
@given(array=ANY)
def test_integers_of_any_shape_and_type_come_back(tmp_path_factory, array):
    """Also such as fall along the last axis, whose steps wrap around."""
    file = tmp_path_factory.mktemp("store") / "file"
    file.write_bytes(written({"array": array}))
    assert_same(store.read(file), {"array": array})


def test_all_other_arrays_come_back(read):
    content = {
        "text": np.array("cosine"),
        "flag": np.array(True),
        "number": np.array(5e-7),
        "none": np.zeros((0, 7), np.int64),
        "floats": np.random.default_rng(0).random((3, 4)).astype(np.float32),
        "by_column": np.asfortranarray(np.arange(12, dtype=np.uint16).reshape(3, 4)),
        "reversed": np.arange(24).reshape(2, 3, 4)[:, ::-1, ::-1],
    }
    assert_same(read(written(content)), content)


def counts(classes: int, thresholds: int, mean: float) -> np.ndarray:
    """Accepted pairs by class and threshold."""
    rng = np.random.default_rng(0)
    return np.cumsum(rng.poisson(mean, (classes, thresholds)), axis=1).astype(np.uint32)


def test_more_rows_than_a_block_come_back_small(read):
    many, few = counts(700, 2_500, 100.0), counts(700, 2_500, 0.05)
    assert_same(read(written({"few": few, "many": many})), {"few": few, "many": many})
    assert len(written({"many": many})) < many.nbytes / 4
    assert len(written({"few": few})) < few.nbytes / 40


def test_what_numpy_wrote_is_read(read):
    stream, content = io.BytesIO(), {"one": counts(3, 5, 2.0), "two": np.arange(3.0)}
    np.savez(stream, **content)
    assert_same(read(stream.getvalue()), content)


def member(name: str, header: dict, body: bytes = b"", kind: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", kind) as archive, archive.open(name, "w") as part:
        np.lib.format.write_array_header_1_0(part, {"fortran_order": False} | header)
        part.write(body)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (member("a.npy", {"descr": "<f8", "shape": (1 << 40,)}), "cannot reshape"),
        (member("a.steps", {"descr": "<u8", "shape": (1 << 20, 1 << 20)}), "than the file can"),
        (member("a.npy", {"descr": "<u8", "shape": (1 << 20,)}, bytes(1 << 23), 8), "larger than"),
        (member("a.npy", {"descr": "|O", "shape": (1,)}, bytes(8)), "no opis wrote"),
        (member("a.steps", {"descr": "<u8", "shape": (2, 2)}, b"no zstd"), "(?i)zstd"),
        (member("a.steps", {"descr": "<f8", "shape": (2, 2)}), "no table of integers"),
        (member("../a", {"descr": "<f8", "shape": (0,)}), "a part named"),
    ],
)
def test_a_small_file_cannot_pretend_to_be_large_or_odd(read, raw, says):
    with pytest.raises(ValueError, match=says):
        read(raw)


def test_too_few_or_too_many_steps_are_refused(read, monkeypatch):
    """The header says one shape, and the steps are of another."""
    array, header = counts(4, 50, 3.0), store.npy.write_array_header_1_0
    for shape in ((4, 49), (4, 51), (2, 50), (400, 50)):

        def lie(part, facts, shape=shape):
            header(part, facts | {"shape": shape})

        monkeypatch.setattr(store.npy, "write_array_header_1_0", lie)
        with pytest.raises(ValueError):
            read(written({"array": array}))


def test_a_damaged_file_is_an_error_wherever_the_damage_is(read):
    content = {"accepted": counts(5, 40, 3.0), "sizes": np.arange(5)}
    whole, rng = written(content), np.random.default_rng(0)
    for place in range(0, len(whole), 7):
        for raw in (
            whole[:place],
            whole[:place] + bytes([whole[place] ^ rng.integers(1, 256)]) + whole[place + 1 :],
        ):
            try:
                found = read(raw)
            except ValueError:
                continue
            # A byte of a zip may say nothing, or be of a name: no number may have changed.
            for name in set(found) & set(content):
                assert np.array_equal(found[name], content[name])
