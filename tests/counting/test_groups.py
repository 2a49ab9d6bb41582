"""Counts by pair of groups, against brute force, under every protocol and with every engine."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from conftest import optional

import opis_cli as opis
from opis_cli.counting import groups
from opis_cli.counting.count import count_pairs
from opis_cli.counting.counts_file import load_counts, save_counts
from opis_cli.counting.engines import is_installed
from opis_cli.counting.sizes import Sizes
from opis_cli.embeddings.clean import Reading, from_arrays
from opis_cli.embeddings.gallery import with_gallery
from opis_cli.errors import RunError
from opis_cli.settings import Settings

ROWS, QUERIES = 240, 140
PROTOCOLS = {
    "all pairs": {},
    "tenants": {"within_column": "tenant"},
    "exclusions": {"exclude_same": "camera"},
    "a gallery": {"gallery": "<arrays>"},
    "all at once": {"within_column": "tenant", "exclude_same": "camera", "gallery": "<arrays>"},
}


@pytest.fixture(scope="module")
def rows():
    """Rows of halves, whose distances are exact; ``site`` splits classes, ``region`` does not."""
    rng = np.random.default_rng(7)
    labels = rng.integers(0, 30, ROWS)
    vectors = rng.choice([-1.0, 1.0], (30, 32))[labels] * rng.choice([-1, 1, 1, 1], (ROWS, 32))
    columns = {
        "site": rng.integers(0, 5, ROWS),
        "region": np.array(["north", "south", "west"])[labels % 3],
        "tenant": rng.integers(0, 2, ROWS),
        "camera": rng.integers(0, 6, ROWS),
    }
    return vectors, labels, columns


def embeddings_of(rows, chosen):
    vectors, labels, columns = rows

    def part(some):
        return from_arrays(
            vectors[some],
            labels[some],
            dataclasses.replace(Reading.of(chosen), columns=chosen.columns),
            columns={name: values[some] for name, values in columns.items()},
        )

    if chosen.gallery is None:
        return part(slice(None))
    return with_gallery(part(slice(QUERIES)), part(slice(QUERIES, None)))


def brute(rows, chosen, of_row, number, thresholds):
    """Accepted pairs by kind, two groups and threshold: (2, G, G, T)."""
    vectors, labels, columns = rows
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    distances = 1 - unit @ unit.T
    i, j = np.triu_indices(ROWS, 1)
    if chosen.gallery is not None:
        kept = (i < QUERIES) & (j >= QUERIES)
        i, j = i[kept], j[kept]
    if chosen.within_column:
        kept = columns["tenant"][i] == columns["tenant"][j]
        i, j = i[kept], j[kept]
    if chosen.exclude_same:
        kept = columns["camera"][i] != columns["camera"][j]
        i, j = i[kept], j[kept]
    one, two = of_row[i], of_row[j]
    if chosen.gallery is None:
        one, two = np.minimum(one, two), np.maximum(one, two)
    cells = np.searchsorted(thresholds + 1e-6, distances[i, j])
    found = np.zeros((2, number, number, len(thresholds)), np.int64)
    np.add.at(found, ((labels[i] != labels[j]).astype(int), one, two, cells), 1)
    return np.cumsum(found, axis=-1)


def dense(pairs):
    found = np.zeros((2, pairs.number, pairs.number, len(pairs.thresholds)), np.int64)
    found[0, pairs.one, pairs.two], found[1, pairs.one, pairs.two] = pairs.genuine, pairs.impostor
    return found


def check(rows, chosen, of_row):
    # Counts by class at a few thresholds beyond a window, as for large data.
    counts = count_pairs(embeddings_of(rows, chosen), chosen, sizes=Sizes(small_pairs=0))
    pairs = counts.group_pairs
    assert np.array_equal(pairs.thresholds, counts.grid.class_thresholds)
    expected = brute(rows, chosen, of_row, pairs.number, pairs.thresholds)
    assert np.array_equal(dense(pairs), expected)
    totals = np.stack([pairs.genuine_pairs, pairs.impostor_pairs])
    assert np.array_equal(totals, expected[:, pairs.one, pairs.two, -1])
    # No pair of groups without pairs is kept, and none is lost.
    assert (totals.sum(axis=0) > 0).all()
    for kind in ("genuine", "impostor"):
        pooled = getattr(counts, f"pooled_{kind}")[counts.grid.by_class]
        assert np.array_equal(getattr(pairs, kind).sum(axis=0), pooled)
    return counts


@pytest.mark.parametrize("engine", ["numpy", "numba", optional("torch")])
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("column", ["site", "region"])
def test_counts_equal_brute_force(rows, column, protocol, engine):
    names, of_row = np.unique(rows[2][column], return_inverse=True)
    chosen = Settings(group_column=column, engine=engine, **PROTOCOLS[protocol])
    counts = check(rows, chosen, of_row)
    assert counts.group_pairs.names.tolist() == names.tolist()


def test_groups_change_no_nearest_row(rows):
    for protocol in PROTOCOLS.values():
        plain = Settings(**protocol)
        chosen = dataclasses.replace(plain, group_column="site")
        one, two = (count_pairs(embeddings_of(rows, some), some) for some in (plain, chosen))
        assert one.nearest_hits.sum() == two.nearest_hits.sum() > 0
        assert np.array_equal(one.duplicates, two.duplicates)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_smaller_of_many_groups_are_one(rows, protocol, monkeypatch):
    monkeypatch.setattr(groups, "MOST_GROUPS", 3)
    site = rows[2]["site"]
    largest = np.sort(np.argsort(-np.bincount(site), kind="stable")[:2])
    of_row = np.select([site == one for one in largest], [0, 1], 2)
    counts = check(rows, Settings(group_column="site", **PROTOCOLS[protocol]), of_row)
    assert counts.group_pairs.names.tolist() == largest.tolist()
    assert counts.group_pairs.others == 3


def test_a_count_in_parts_is_the_same(rows, tmp_path):
    chosen = Settings(group_column="site", checkpoint=str(tmp_path / "part"), engine="numpy")
    embeddings = embeddings_of(rows, chosen)
    sizes = Sizes(checkpoint_pairs=500, pairs_per_byte=0, tile_side=20)
    seen = []

    def stop_once(done, total):
        seen.append(done)
        if len(seen) == 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        count_pairs(embeddings, chosen, progress=stop_once, sizes=sizes)
    first = []
    again = count_pairs(
        embeddings, chosen, progress=lambda done, total: first.append(done), sizes=sizes
    )
    assert first[0] > 500
    whole = count_pairs(embeddings, dataclasses.replace(chosen, checkpoint=None), sizes=sizes)
    assert np.array_equal(dense(again.group_pairs), dense(whole.group_pairs))
    assert np.array_equal(again.pooled_impostor, whole.pooled_impostor)


@pytest.mark.optional
@pytest.mark.skipif(not is_installed("dask"), reason="needs pip install 'opis-cli[dask]'")
def test_a_cluster_counts_the_same(rows, tmp_path, cluster):
    vectors, labels, columns = rows
    path = tmp_path / "rows.parquet"
    pd.DataFrame({"embedding": list(vectors), "label": labels, **columns}).to_parquet(path)
    own = opis.evaluate(path, group_column="site", engine="numba")
    theirs = opis.evaluate(
        path, group_column="site", engine="dask", scheduler=cluster.scheduler_address
    )
    assert np.array_equal(dense(own.counts.group_pairs), dense(theirs.counts.group_pairs))


def test_a_saved_run_keeps_them_and_damage_is_refused(rows, tmp_path):
    chosen = Settings(group_column="region")
    counts = count_pairs(embeddings_of(rows, chosen), chosen)
    save_counts(counts, tmp_path / "counts.npz")
    again = load_counts(tmp_path / "counts.npz").group_pairs
    for name in type(again).__dataclass_fields__:
        assert np.array_equal(getattr(again, name), getattr(counts.group_pairs, name)), name
    for change in (
        {"one": again.one + 3},
        {"genuine": again.genuine[:, 1:]},
        {"impostor_pairs": again.impostor_pairs[1:]},
        {"thresholds": again.thresholds[::-1]},
    ):
        damaged = dataclasses.replace(again, **change)
        save_counts(dataclasses.replace(counts, group_pairs=damaged), tmp_path / "counts.npz")
        with pytest.raises(RunError, match="damaged counts"):
            load_counts(tmp_path / "counts.npz")


@pytest.mark.parametrize("has_group", [True, False])
def test_a_gallery_file_may_have_the_group_column(rows, tmp_path, has_group):
    vectors, labels, columns = rows
    table = pd.DataFrame({"embedding": list(vectors), "label": labels, "site": columns["site"]})
    table[:QUERIES].to_parquet(tmp_path / "queries.parquet")
    kept = table if has_group else table.drop(columns="site")
    kept[QUERIES:].to_parquet(tmp_path / "gallery.parquet")
    run = opis.evaluate(
        tmp_path / "queries.parquet",
        gallery=tmp_path / "gallery.parquet",
        group_column="site",
    )
    pairs = run.counts.group_pairs
    if not has_group:
        assert pairs is None
        return
    chosen = Settings(group_column="site", gallery="<arrays>")
    expected = brute(rows, chosen, columns["site"], 5, pairs.thresholds)
    assert np.array_equal(dense(pairs), expected)


@pytest.mark.parametrize("sides", ["site", "site,other"])
def test_scored_pairs(tmp_path, sides, monkeypatch):
    rng = np.random.default_rng(3)
    table = pd.DataFrame(
        {
            "score": rng.normal(size=3_000).round(3),
            "genuine": rng.random(3_000) < 0.3,
            "site": rng.choice(["a", "b", "c", "d"], 3_000, p=[0.5, 0.3, 0.15, 0.05]),
            "other": rng.choice(["a", "b", "c", "e"], 3_000, p=[0.5, 0.3, 0.15, 0.05]),
        }
    )
    table.loc[table["genuine"], "score"] += 2
    table.loc[::97, "score"] = None
    table.to_csv(tmp_path / "pairs.csv", index=False)
    monkeypatch.setattr(groups, "MOST_GROUPS", 3)
    run = opis.evaluate(
        tmp_path / "pairs.csv", pairs=True, group_column=sides, missing_score="reject"
    )
    pairs = run.counts.group_pairs
    assert pairs.names.tolist() == ["a", "b"]
    assert pairs.others == (2 if sides == "site" else 3)
    ends = [table[name].map({"a": 0, "b": 1}).fillna(2).astype(int) for name in sides.split(",")]
    one, two = np.minimum(ends[0], ends[-1]), np.maximum(ends[0], ends[-1])
    for k, genuine in enumerate((True, False)):
        for place, (first, second) in enumerate(zip(pairs.one, pairs.two, strict=True)):
            own = table[(table["genuine"] == genuine) & (one == first) & (two == second)]
            assert (pairs.impostor_pairs if k else pairs.genuine_pairs)[place] == len(own)
            accepted = (-own["score"].to_numpy()[:, None] <= pairs.thresholds).sum(axis=0)
            assert np.array_equal((pairs.impostor if k else pairs.genuine)[place], accepted)
    assert pairs.genuine_pairs.sum() + pairs.impostor_pairs.sum() == 3_000
