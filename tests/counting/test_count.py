"""Counting as a whole: memory that is planned, partial counts that are gone on from."""

import re

import data
import numpy as np
import pytest
from conftest import optional

import opis_cli as opis
from opis_cli.counting import count
from opis_cli.counting.memory import memory_needed
from opis_cli.counting.sizes import Sizes
from opis_cli.counting.work import work_of
from opis_cli.embeddings.clean import Reading, from_arrays
from opis_cli.errors import InputError, RunError, SettingsError
from opis_cli.settings import Settings

SAME = ("genuine", "impostor", "pooled_genuine", "pooled_impostor", "nearest_hits")


OFTEN = Sizes(checkpoint_pairs=1, pairs_per_byte=0, tile_side=128)
"""Small tiles, after each of which partial counts are kept."""


class Killed(BaseException):
    """What a kill looks like from inside."""


@pytest.mark.parametrize("engine", ["numpy", "numba", optional("torch")])
def test_a_killed_count_goes_on_from_its_checkpoint(engine, tmp_path):
    embeddings = from_arrays(*data.blobs(5_000, 40, 8))
    # A GPU would take all rows in one tile, after which nothing is left.
    chosen = {"engine": engine, "device": "cpu" if engine == "torch" else None}
    whole = count.count_pairs(embeddings, Settings(**chosen))
    settings = Settings(**chosen, checkpoint=str(tmp_path / "partial"))
    often = Sizes(checkpoint_pairs=2_000_000, pairs_per_byte=0)
    after_half = []

    def killed_half_way(done, total):
        after_half.append(done)
        if done > total / 2:
            raise Killed

    with pytest.raises(Killed):
        count.count_pairs(embeddings, settings, progress=killed_half_way, sizes=often)
    assert [file.name for file in (tmp_path / "partial").iterdir()] == ["partial-counts.npz"]
    begun = []
    resumed = count.count_pairs(
        embeddings, settings, progress=lambda done, total: begun.append(done)
    )
    assert begun[0] > 2_000_000, "it began again from nothing"
    assert np.array_equal(resumed.grid.thresholds, whole.grid.thresholds)
    for name in SAME:
        assert np.array_equal(getattr(resumed, name), getattr(whole, name)), name
    assert not (tmp_path / "partial").exists()


def test_a_checkpoint_of_other_work_or_a_damaged_one_is_refused(tmp_path):
    folder = tmp_path / "partial"
    embeddings = from_arrays(*data.blobs(300, 8))
    asked = Settings(checkpoint=str(folder))
    calls = []

    def killed_later(done, total):
        calls.append(done)
        if len(calls) == 2:
            raise Killed

    with pytest.raises(Killed):
        count.count_pairs(embeddings, asked, progress=killed_later, sizes=OFTEN)
    other = from_arrays(*data.blobs(300, 8, seed=1))
    with pytest.raises(RunError, match="other embeddings or settings"):
        count.count_pairs(other, asked, sizes=OFTEN)
    with pytest.raises(RunError, match="other embeddings or settings"):
        changed = Settings(checkpoint=str(folder), max_far=0.2)
        count.count_pairs(embeddings, changed, sizes=OFTEN)
    (folder / "partial-counts.npz").write_bytes(b"PK\x03\x04 nonsense")
    with pytest.raises(RunError, match="damaged"):
        count.count_pairs(embeddings, asked, sizes=OFTEN)


def test_work_beyond_the_memory_limit_is_refused_before_it_starts():
    vectors, labels = data.MADE["blobs"]
    with pytest.raises(SettingsError, match=r"need about .* GB"):
        opis.evaluate(vectors, labels, memory_limit="20MB")
    told = []
    embeddings = from_arrays(vectors, labels)
    count.count_pairs(embeddings, Settings(memory_limit="8GB"), announce=told.append)
    assert len(told) == 1 and "179,700 pairs" in told[0] and "GB of memory" in told[0]


@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_credits_of_large_classes_fit(engine):
    """A class of 300 has 89,700 genuine credits, more than 2^16."""
    vectors, _ = data.blobs(900, 3, 8)
    counts = count.count_pairs(from_arrays(vectors, np.arange(900) % 3), Settings(engine=engine))
    assert np.array_equal(counts.genuine[:, -1], [300 * 299 // 2] * 3)
    assert np.array_equal(counts.impostor[:, -1], [300 * 600] * 3)


def test_many_threads_need_more_memory():
    embeddings = from_arrays(*data.blobs(200, 10, 8))
    few, many = (memory_needed(embeddings, Settings(threads=n)) for n in (2, 64))
    assert many - few > 1_000_000_000


def test_counts_of_small_classes_need_less_memory():
    """Credits of classes of two rows fit 16 bits, and those of a class of a thousand take 32."""
    vectors = data.blobs(2_000, 10, 8)[0]
    small, large = (
        memory_needed(from_arrays(vectors, labels), Settings(threads=1))
        for labels in (np.arange(2_000) // 2, np.maximum(np.arange(2_000) - 1_000, 0))
    )
    assert large - small > 12_000_000


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(
    ("make", "asked"),
    [
        (lambda rng: rng.integers(0, 3, (120, 3)) + np.array([1, 0, 0]), "far:0.3..0.31"),
        (lambda rng: rng.integers(0, 3, (120, 3)) + np.array([1, 0, 0]), "frr:0.3..0.31"),
        (lambda rng: 1 + 1e-6 * rng.standard_normal((100, 8)), "far:0.01..0.1"),
        (lambda rng: 1 + 1e-8 * rng.standard_normal((100, 8)), "far:0.01..0.1"),
    ],
)
def test_a_range_is_resolved_or_refused_for_a_reason(make, asked, seed):
    rng = np.random.default_rng(seed)
    vectors, labels = make(rng).astype(float), rng.integers(0, 6, 120)
    labels = labels[: len(vectors)]
    try:
        report = opis.evaluate(vectors, labels, calibration=asked).report
    except InputError as error:
        assert re.search("cannot be resolved|too narrow", str(error))
    else:
        assert report.calibration_range.points >= 1_024


def test_work_is_of_one_precision_and_one_size_of_tiles():
    embeddings = from_arrays(*data.blobs(60, 3))
    plain, rounded = Settings(engine="torch"), Settings(engine="torch", dtype="tf32")
    works = {
        work_of(embeddings, settings, None, "torch", side)
        for settings in (plain, rounded)
        for side in (1_024, 4_096)
    }
    assert len(works) == 4


COLUMNS = {"photo": np.arange(300) % 7, "day": np.arange(300) % 5}


@pytest.mark.parametrize(
    ("begun", "changed"),
    [
        ({}, {"metric": "euclidean"}),
        ({}, {"calibration": "far:0.02..0.2"}),
        ({}, {"max_far": 0.2}),
        ({}, {"max_frr": 0.2}),
        ({"max_far": 0.2}, {"max_far": 0.2, "max_frr": 0.2}),
        ({}, {"threshold": "0.4"}),
        ({"threshold": "0.4"}, {"threshold": "0.5"}),
        ({}, {"on_bad_rows": "drop"}),
        ({}, {"seed": 1}),
        ({}, {"folds": 3}),
        ({"folds": 3}, {"folds": 4}),
        ({}, {"max_pairs": 40_000}),
        ({}, {"embedding_column": "other"}),
        ({}, {"label_column": "other"}),
        ({}, {"group_column": "day"}),
        ({"group_column": "photo"}, {"group_column": "day"}),
        ({}, {"within_column": "day"}),
        ({"within_column": "photo"}, {"within_column": "day"}),
        ({}, {"exclude_same": "day"}),
        ({"exclude_same": "photo"}, {"exclude_same": "day"}),
        ({}, {"engine": "numba"}),
    ],
    ids=str,
)
def test_a_checkpoint_of_other_settings_that_change_counts_is_refused(begun, changed, tmp_path):
    """With the same settings the count goes on; these were begun, and are asked for, in turn."""
    vectors, labels = data.blobs(300, 8)
    embeddings = from_arrays(
        vectors, labels, Reading(columns=dict.fromkeys(COLUMNS, True)), columns=COLUMNS
    )
    asked, other = (
        Settings(**{"engine": "numpy", "checkpoint": str(tmp_path / "partial")} | settings)
        for settings in (begun, changed)
    )
    calls = []

    def killed_later(done, total):
        calls.append(done)
        if len(calls) == 2:
            raise Killed

    with pytest.raises(Killed):
        count.count_pairs(embeddings, asked, progress=killed_later, sizes=OFTEN)
    with pytest.raises(RunError, match="other embeddings or settings"):
        count.count_pairs(embeddings, other, sizes=OFTEN)
    assert count.count_pairs(embeddings, asked, sizes=OFTEN).genuine_total > 0
