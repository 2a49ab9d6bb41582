"""Which pairs there are: every protocol and every combination against brute force on real data."""

import data
import numpy as np
import oracle
import pandas as pd
import pytest
from conftest import optional

import opis_cli.grid
from opis_cli import pairs
from opis_cli.embeddings import from_arrays
from opis_cli.gallery import with_gallery
from opis_cli.settings import Settings

ROUNDING = 1e-6
PARTS = ("group_column", "within_column", "exclude_same", "gallery")
NAMES = {"group_column": "customer", "within_column": "tenant", "exclude_same": "camera"}
COMBINATIONS = [
    tuple(part for k, part in enumerate(PARTS) if number >> k & 1) for number in range(16)
]


@pytest.fixture(scope="module")
def wordnet():
    """Real rows with columns made up of their text and number; some have no camera."""
    table = pd.read_parquet(data.SAMPLES / "wordnet.parquet").sample(frac=1, random_state=0)
    number = np.arange(len(table))
    camera = [None if k % 11 == 0 else f"c{k}" for k in number * 7 % 9]
    columns = {
        "customer": table["text"].str.len().to_numpy() // 25,
        "tenant": np.array([f"t{len(text.split()) % 3}" for text in table["text"]], object),
        "camera": np.array(camera, object),
    }
    return np.stack(table["embedding"].to_numpy()), table["label"].to_numpy(object), columns


class Brute:
    """All ordered pairs of a row that searches with one that it may find."""

    def __init__(self, vectors, labels, columns, parts, metric="cosine", queries=None):
        distance = oracle.distances(vectors, metric)
        count = len(labels)
        self.queries = count if queries is None else queries
        self.ends = 2 if queries is None else 1
        allowed = ~np.eye(count, dtype=bool)
        if queries is not None:
            allowed[:, :queries] = False
        if "within_column" in parts:
            allowed &= columns["tenant"][:, None] == columns["tenant"]
        self.before = allowed[: self.queries].sum() // self.ends
        if "exclude_same" in parts:
            camera = columns["camera"]
            known = np.array([value is not None for value in camera])
            allowed &= ~((camera[:, None] == camera) & known[:, None])
        self.allowed = allowed[: self.queries]
        self.alike = (labels[:, None] == labels)[: self.queries]
        self.distance = distance[: self.queries]
        keys = columns["customer"] if "group_column" in parts else labels
        self.names, self.keys = np.unique(keys[: self.queries], return_inverse=True)
        self.halved = "group_column" not in parts and queries is None

    def accepted(self, thresholds, genuine):
        """Credits of each key, and pairs once each, accepted at each threshold."""
        kept = self.allowed & (self.alike == genuine)
        by_key = np.array(
            [
                np.searchsorted(
                    np.sort(self.distance[self.keys == key][kept[self.keys == key]]),
                    thresholds,
                    side="right",
                )
                for key in range(len(self.names))
            ]
        )
        return by_key // (2 if genuine and self.halved else 1), by_key.sum(axis=0) // self.ends

    def nearest(self):
        """Distance of the nearest genuine and the nearest impostor row of each."""
        return tuple(
            np.where(self.allowed & (self.alike == genuine), self.distance, np.inf).min(axis=1)
            for genuine in (True, False)
        )


def around(thresholds, vectors, metric):
    """Thresholds a rounding below and above."""
    if metric == "cosine":
        return thresholds - ROUNDING, thresholds + ROUNDING
    width = 2 * ROUNDING * np.square(vectors - vectors.mean(axis=0)).sum(axis=1).max()
    low = np.sqrt(np.maximum(thresholds**2 - width, 0))
    low[thresholds**2 < width] = -1
    return low, np.sqrt(thresholds**2 + width)


def count(vectors, labels, columns, parts, metric="cosine", **settings):
    """Counts of a protocol, and brute force on the same pairs."""
    chosen = Settings(
        metric=metric,
        calibration="frr:0.2..0.6",
        **{part: NAMES[part] for part in parts if part in NAMES},
        **settings,
    )

    def part_of(part, paired=True):
        return from_arrays(
            vectors[part],
            labels[part],
            columns={name: values[part] for name, values in columns.items()},
            needed=chosen.columns,
            metric=metric,
            paired=paired,
        )

    if "gallery" not in parts:
        found = pairs.count_pairs(part_of(slice(None)), chosen)
        return found, Brute(vectors, labels, columns, parts, metric)
    queries = len(labels) // 3
    embeddings = with_gallery(
        part_of(slice(0, queries), paired=False), part_of(slice(queries, None), paired=False)
    )
    found = pairs.count_pairs(embeddings, chosen)
    return found, Brute(vectors, labels, columns, parts, metric, queries)


def check(counts, brute, vectors, metric="cosine"):
    """Counts, totals and searches are those of brute force, but for a rounding of the distance."""
    low, high = around(counts.grid.thresholds, vectors, metric)
    kept = counts.grid.by_class
    assert counts.class_names.tolist() == brute.names.tolist()
    assert np.array_equal(counts.sizes, np.bincount(brute.keys))
    for name, genuine in (("genuine", True), ("impostor", False)):
        (by_key_low, pooled_low), (by_key_high, pooled_high) = (
            brute.accepted(thresholds, genuine) for thresholds in (low, high)
        )
        ours, pooled = getattr(counts, name), getattr(counts, f"pooled_{name}")
        assert np.all(by_key_low[:, kept] <= ours) and np.all(ours <= by_key_high[:, kept])
        assert np.all(pooled_low <= pooled) and np.all(pooled <= pooled_high)
        total, pooled_total = brute.accepted(np.array([np.inf]), genuine)
        assert np.array_equal(getattr(counts, f"{name}_pairs"), total[:, 0])
        assert getattr(counts, f"{name}_total") == pooled_total[0]
    assert counts.excluded == brute.before - brute.allowed.sum() // brute.ends
    check_searches(counts, brute, low, high)


def check_searches(counts, brute, low, high):
    genuine, impostor = brute.nearest()
    has = np.isfinite(genuine)
    expected = np.bincount(brute.keys, weights=has, minlength=len(brute.names))
    assert np.array_equal(counts.searchers, expected)
    unsure = has & (np.abs(genuine - impostor) <= ROUNDING)
    for hits, compare in (
        (has & (genuine < impostor) & ~unsure, np.less_equal),
        (has & ((genuine < impostor) | unsure), np.greater_equal),
    ):
        found = np.bincount(brute.keys, weights=hits, minlength=len(brute.names))
        assert np.all(compare(found, counts.nearest_hits))
    if brute.ends == 2:
        assert counts.open_set is None
        return
    strangers = np.sort(impostor[~has])
    assert np.all(np.searchsorted(strangers, low, side="right") <= counts.open_set)
    assert np.all(counts.open_set <= np.searchsorted(strangers, high, side="right"))


@pytest.mark.parametrize("engine", ["numpy", "numba", optional("torch")])
@pytest.mark.parametrize("parts", COMBINATIONS, ids="+".join)
def test_counts_equal_brute_force(parts, engine, wordnet, monkeypatch):
    # Counts by class at a few thresholds beyond a window, as for large data.
    monkeypatch.setattr(opis_cli.grid, "_SMALL_PAIRS", 0)
    counts, brute = count(*wordnet, parts, engine=engine)
    assert len(counts.grid.by_class) < len(counts.grid.thresholds)
    check(counts, brute, wordnet[0])


@pytest.mark.parametrize("engine", ["numpy", "numba", optional("torch")])
def test_euclidean_counts_at_all_thresholds(engine, wordnet):
    vectors, labels, columns = wordnet
    vectors = vectors * np.random.default_rng(0).uniform(0.5, 2, (len(vectors), 1))
    counts, brute = count(vectors, labels, columns, PARTS, "euclidean", engine=engine)
    check(counts, brute, vectors, "euclidean")
