"""Which pairs there are: every protocol and every combination against brute force on real data."""

import dataclasses
import hashlib
import json

import data
import numpy as np
import oracle
import pandas as pd
import pytest
from conftest import optional

import opis_cli as opis
import opis_cli.counting.grid
from opis_cli.counting import pilot, store
from opis_cli.counting.count import count_pairs
from opis_cli.counting.grid import needs_of
from opis_cli.counting.plan import plan_pairs
from opis_cli.counting.sizes import SIZES, Sizes
from opis_cli.counting.tally import Tally
from opis_cli.embeddings.clean import Reading, from_arrays
from opis_cli.embeddings.gallery import with_gallery
from opis_cli.embeddings.read import read_as
from opis_cli.records import Grid
from opis_cli.scoring.axis import over_whole_axis
from opis_cli.scoring.pooled import recall_at_1
from opis_cli.scoring.search import open_set
from opis_cli.settings import Settings

ROUNDING = 1e-6
PARTS = ("group_column", "within_column", "exclude_same", "gallery")
NAMES = {"group_column": "customer", "within_column": "tenant", "exclude_same": "camera"}
QUERIES = 180
COMBINATIONS = [
    tuple(part for k, part in enumerate(PARTS) if number >> k & 1) for number in range(16)
]
TORCH = [(), ("within_column", "exclude_same"), PARTS]


@pytest.fixture(scope="module")
def wordnet():
    """Real rows with columns made up of their text and number; some have no camera."""
    table = pd.read_parquet(data.SAMPLES / "wordnet.parquet").sample(frac=0.6, random_state=0)
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


def count(vectors, labels, columns, parts, metric="cosine", sizes=SIZES, **settings):
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
            Reading(columns=chosen.columns, metric=metric, paired=paired),
            columns={name: values[part] for name, values in columns.items()},
        )

    if "gallery" not in parts:
        found = count_pairs(part_of(slice(None)), chosen, sizes=sizes)
        return found, Brute(vectors, labels, columns, parts, metric)
    queries = len(labels) // 3
    embeddings = with_gallery(
        part_of(slice(0, queries), paired=False), part_of(slice(queries, None), paired=False)
    )
    found = count_pairs(embeddings, chosen, sizes=sizes)
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
        if genuine and counts.genuine_beyond is not None:
            beyond, window = counts.genuine_beyond, counts.grid.window
            assert np.all(by_key_low[:, window:] <= beyond)
            assert np.all(beyond <= by_key_high[:, window:])
        if not genuine:
            check_estimates(counts, by_key_low, by_key_high)
        total, pooled_total = brute.accepted(np.array([np.inf]), genuine)
        assert np.array_equal(getattr(counts, f"{name}_pairs"), total[:, 0])
        assert getattr(counts, f"{name}_total") == pooled_total[0]
    assert counts.excluded == brute.before - brute.allowed.sum() // brute.ends
    check_searches(counts, brute, low, high)


def check_estimates(counts, low, high):
    """Impostors of classes beyond the window are near those of brute force, whatever is paired."""
    whole, some = over_whole_axis(counts), counts.impostor_pairs > 0
    if whole.estimated is None:
        return
    totals = counts.impostor_pairs[some, None]
    off = (whole.impostor[some] - (low + high)[some] / 2)[:, whole.estimated] / totals
    # With a few hundred rows, a class's FAR follows the pooled one less closely than with many:
    # these sets are off by 0.013 at most, and their means by 0.006.
    assert off.size and np.sqrt(np.mean(off**2)) < 0.015
    assert np.abs(off.mean(axis=0)).max() < 0.008
    assert np.all(np.diff(whole.impostor.astype(np.int64), axis=1) >= 0)


def check_searches(counts, brute, low, high):
    genuine, impostor = brute.nearest()
    has = np.isfinite(genuine)
    expected = np.bincount(brute.keys, weights=has, minlength=len(brute.names))
    assert np.array_equal(counts.searchers, expected)
    unsure = has & (np.abs(genuine - impostor) <= ROUNDING)
    right = has & (genuine < impostor)
    check_accepted(counts.answered, np.minimum(genuine, impostor), low, high)
    check_accepted(counts.right_answers, genuine[right & ~unsure], low, np.full(len(high), np.inf))
    check_accepted(counts.right_answers, genuine[right | unsure], np.full(len(low), -1.0), high)
    for hits, compare in (
        (has & (genuine < impostor) & ~unsure, np.less_equal),
        (has & ((genuine < impostor) | unsure), np.greater_equal),
    ):
        found = np.bincount(brute.keys, weights=hits, minlength=len(brute.names))
        assert np.all(compare(found, counts.nearest_hits))
    if brute.ends == 2:
        assert counts.open_set is None
        return
    check_accepted(counts.open_set, impostor[~has], low, high)


def check_accepted(found, nearest, low, high):
    """So many of the nearest distances lie within each threshold, give or take a rounding."""
    nearest = np.sort(nearest[np.isfinite(nearest)])
    least = np.searchsorted(nearest, low, side="right")
    most = np.where(np.isinf(high), found, np.searchsorted(nearest, high, side="right"))
    assert np.all(least <= found) and np.all(found <= most)


@pytest.mark.parametrize(
    ("parts", "engine"),
    [(parts, engine) for parts in COMBINATIONS for engine in ("numpy", "numba")]
    + [
        pytest.param(parts, *optional("torch").values, marks=optional("torch").marks)
        for parts in TORCH
    ],
)
def test_counts_equal_brute_force(parts, engine, wordnet):
    # Counts by class at a few thresholds beyond a window, as for large data.
    counts, brute = count(*wordnet, parts, sizes=Sizes(small_pairs=0), engine=engine)
    assert len(counts.grid.by_class) < len(counts.grid.thresholds)
    check(counts, brute, wordnet[0])


@pytest.mark.parametrize("engine", ["numpy", "numba", optional("torch")])
def test_euclidean_counts_at_all_thresholds(engine, wordnet):
    vectors, labels, columns = wordnet
    vectors = vectors * np.random.default_rng(0).uniform(0.5, 2, (len(vectors), 1))
    counts, brute = count(vectors, labels, columns, PARTS, "euclidean", engine=engine)
    check(counts, brute, vectors, "euclidean")


def test_labels_as_groups_give_the_figures_of_classes():
    vectors, labels = data.MADE["long_tail"]
    by_class = opis.evaluate(vectors, labels)
    by_group = opis.evaluate(vectors, labels, columns={"who": labels}, group_column="who")
    one, other = by_class.report, by_group.report
    # Groups that are the labels have no price of one threshold: none can be split by class.
    chosen = dataclasses.replace(one.recommendation, price_of_one_threshold=None)
    one = dataclasses.replace(one, recommendation=chosen)
    for name in ("opis", "eps_opis", "calibration_range", "recall_at_1", "eer", "recommendation"):
        assert getattr(one, name) == getattr(other, name), name
    assert one.worst_classes == other.worst_classes
    # Pairs are in other blocks, whose products may differ by a rounding.
    for name, ends in (("genuine", 2), ("impostor", 1)):
        credits = (getattr(run.counts, name).astype(np.int64) for run in (by_group, by_class))
        assert np.abs(next(credits) - ends * next(credits)).max() <= 2
    table, groups = by_class.classes(), by_group.classes().rename(columns={"group": "class"})
    assert groups.pop("genuine_pairs").tolist() == (2 * table.pop("genuine_pairs")).tolist()
    pd.testing.assert_frame_equal(table, groups)


def test_pairs_of_other_tenants_are_never_multiplied(wordnet):
    vectors, labels, _ = wordnet
    tenants = np.arange(len(labels)) % 200
    embeddings = from_arrays(vectors, labels, Reading(columns={"t": True}), columns={"t": tenants})
    plan = plan_pairs(embeddings, Settings(within_column="t"))
    sizes = np.bincount(tenants)
    assert sum(part.pairs for part in plan.passes) == (sizes * (sizes - 1) // 2).sum()
    queries = embeddings_of_search(vectors, labels, {"t": tenants}, 100, {"t": True})
    plan = plan_pairs(queries, Settings(within_column="t"))
    mine, theirs = np.bincount(tenants[:100], minlength=200), np.bincount(tenants[100:])
    genuine = plan.genuine.sum()
    assert sum(part.pairs for part in plan.passes) == (mine * theirs).sum() + genuine


def test_one_tenant_of_many_rows_is_not_all_rows(wordnet):
    vectors, labels, _ = wordnet
    tenants = np.maximum(np.arange(len(labels)) - 200, 0)
    embeddings = from_arrays(vectors, labels, Reading(columns={"t": True}), columns={"t": tenants})
    plan = plan_pairs(embeddings, Settings(within_column="t"))
    assert len(plan.passes[0].blocks) == 1 and not plan.is_plain
    assert plan_pairs(from_arrays(vectors, labels), Settings()).is_plain


def embeddings_of_search(vectors, labels, columns, queries, needed):
    parts = slice(0, queries), slice(queries, None)
    return with_gallery(
        *(
            from_arrays(
                vectors[part],
                labels[part],
                Reading(columns=needed, paired=False),
                columns={name: values[part] for name, values in columns.items()},
            )
            for part in parts
        )
    )


@pytest.mark.parametrize("parts", COMBINATIONS[2::4] + COMBINATIONS[-1:], ids="+".join)
def test_a_sample_places_the_thresholds(parts, wordnet):
    """What large data go through, and that the best threshold for a bound is found."""
    counts, brute = count(*wordnet, parts, sizes=Sizes(exhaustive_pairs=0), engine="numba")
    check(counts, brute, wordnet[0])
    impostor, genuine = (
        np.sort(brute.distance[brute.allowed & (brute.alike == kind)]) for kind in (False, True)
    )
    for max_far in (0.1, 0.01):
        far = counts.pooled_impostor / counts.impostor_total
        index = np.searchsorted(far, max_far, side="right") - 1
        frr = 1 - counts.pooled_genuine[index] / counts.genuine_total
        best = impostor[int(max_far * len(impostor))]
        assert frr <= (genuine >= best).mean() + 0.002


@pytest.mark.parametrize("parts", [("exclude_same",), PARTS], ids="+".join)
def test_a_look_at_all_pairs_sees_those_that_there_are(parts, wordnet):
    vectors, labels, columns = wordnet
    chosen = Settings(**{part: NAMES[part] for part in parts if part in NAMES})
    queries = QUERIES if "gallery" in parts else None
    embeddings = (
        from_arrays(vectors, labels, Reading(columns=chosen.columns), columns=columns)
        if queries is None
        else embeddings_of_search(vectors, labels, columns, queries, chosen.columns)
    )
    brute = Brute(vectors, labels, columns, parts, queries=queries)
    needs = needs_of(chosen.calibration_range, *chosen.bounds, None)
    seen = pilot.run_pilot(plan_pairs(embeddings, chosen), needs, 0)
    assert seen.exact
    for distances, kind in ((seen.genuine, True), (seen.impostor, False)):
        expected = np.sort(brute.distance[brute.allowed & (brute.alike == kind)])[:: brute.ends]
        assert np.allclose(distances.distances, expected, atol=ROUNDING)


@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_the_lowest_row_number_wins_a_tie_among_pairs_that_there_are(engine):
    right, up = [1.0, 0.0], [0.0, 1.0]
    run = opis.evaluate(
        [up, right, right, up],
        ["a", "a", "b", "b"],
        columns={"photo": [1, 2, 2, 3]},
        exclude_same="photo",
        calibration="distance:0.1..0.9",
        engine=engine,
    )
    # Row 1 may not see row 2, and of rows 0 and 3, equally far, takes row 0, of its own class; row
    # 2 takes row 0 too, which is not. Rows 0 and 3 find each other.
    assert run.counts.nearest_hits.tolist() == [1, 0]
    assert run.report.recall_at_1 == 0.25


def test_a_large_gallery_is_counted_in_32_bits():
    labels = np.arange(100_000) % 50
    vectors = np.tile(np.eye(2, dtype=np.float32), (50_000, 1))
    plan = plan_pairs(embeddings_of_search(vectors, labels, {}, 100, {}), Settings())
    rows = plan.rows
    grid = Grid(np.array([0.5, 2.0]), 2, np.arange(2))
    assert Tally.empty(rows, grid).impostor.dtype == np.uint32
    assert rows.keys[:100].max() == 49 and rows.keys[100:].min() == 50


def test_open_set_queries_by_hand():
    angles = np.radians([0.0, 90, 180, 1, 92, 93])
    vectors = np.column_stack([np.cos(angles), np.sin(angles)])
    labels = ["a", "b", "stranger", "a", "b", "c"]
    run = opis.evaluate(
        vectors[:3],
        labels[:3],
        gallery=(vectors[3:], labels[3:]),
        calibration="distance:0.1..0.9",
        max_far=0.15,
    )
    # The stranger, at 180 degrees, is nearest to c at 93, a distance of 0.95.
    assert run.report.source.rows == 3 and run.report.source.gallery_rows == 3
    assert (run.report.pairs.genuine, run.report.pairs.impostor) == (2, 7)
    assert run.report.recall_at_1 == 1.0
    found = run.report.open_set
    assert (found.queries, found.fpir) == (1, 0.0)
    # Below the stranger's distance, both other queries find their own class first.
    points = [(point.achieved_fpir, point.identification) for point in found.identification]
    assert points == [(0.0, 1.0)] * 3
    assert all(point.threshold < 1 - np.cos(np.radians(87)) for point in found.identification)
    assert open_set(run.counts, 2.0).fpir == 1.0
    before = run.counts.grid.thresholds[run.counts.grid.thresholds < 0.947][-1]
    assert open_set(run.counts, before).fpir == 0.0
    assert run.classes()["class"].tolist() == ["a", "b", "stranger"]
    assert run.classes()["far"].isna().tolist() == [False, False, True]


def test_a_tenant_without_gallery_rows_is_no_fault(wordnet):
    vectors, labels, _ = wordnet
    tenants = np.arange(len(labels)) % 5
    kept = tenants[300:] != 2
    run = opis.evaluate(
        vectors[:300],
        labels[:300],
        columns={"t": tenants[:300]},
        gallery=(vectors[300:][kept], labels[300:][kept], {"t": tenants[300:][kept]}),
        within_column="t",
    )
    brute = Brute(
        np.concatenate([vectors[:300], vectors[300:][kept]]),
        np.concatenate([labels[:300], labels[300:][kept]]),
        {"tenant": np.concatenate([tenants[:300], tenants[300:][kept]])},
        ("within_column",),
        queries=300,
    )
    has = (brute.allowed & brute.alike).any(axis=1)
    assert run.report.open_set.queries == np.count_nonzero(~has)
    assert run.report.pairs.impostor == (brute.allowed & ~brute.alike).sum()


def test_equal_rows_are_counted_and_named(cli, tmp_path):
    vectors, labels = data.blobs(200, 5, seed=3)
    vectors[[7, 150]] = vectors[11]
    file = tmp_path / "e.parquet"
    table = pd.DataFrame({"embedding": list(vectors), "label": labels, "photo": range(200)})
    table.loc[[7, 150], "photo"] = 11
    table.to_parquet(file)
    found = opis.evaluate(file).report.duplicates
    assert (found.rows, found.pairs, found.first) == (3, 3, (7, 11, 150))
    assert "3 equal rows: 7, 11, 150." in cli("evaluate", file).stdout
    left = opis.evaluate(file, exclude_same="photo").report
    assert (left.pairs.excluded, left.duplicates.rows) == (3, 0)


def test_an_older_run_is_read_with_defaults(saved):
    run = opis.load_run(saved)
    raw = json.loads((saved / "report.json").read_text())
    for where, names in (
        (raw, ("open_set", "duplicates")),
        (raw["source"], ("group_column", "gallery_rows", "gallery_sha256")),
        (raw["pairs"], ("excluded",)),
        (raw["settings"], ("group_column", "pairs", "gallery", "higher_is_closer")),
        (raw["recommendation"]["equivalents"], ("score",)),
    ):
        for name in names:
            del where[name]
    kept = store.read(saved / "counts.npz")
    raw["schema_version"] = 1
    for name in ("searches", "excluded", "duplicates"):
        del kept[name]
    np.savez(saved / "counts.npz", **kept)
    raw["counts_sha256"] = hashlib.sha256((saved / "counts.npz").read_bytes()).hexdigest()
    (saved / "report.json").write_text(json.dumps(raw))
    old = opis.load_run(saved)
    assert recall_at_1(old.counts) == run.report.recall_at_1
    assert old.recommend(max_far=0.02) == run.recommend(max_far=0.02)
    pd.testing.assert_frame_equal(old.classes(), run.classes())


@pytest.fixture
def files(wordnet, tmp_path):
    """Queries and gallery as Parquet files."""
    vectors, labels, columns = wordnet
    table = pd.DataFrame({"embedding": list(vectors), "label": labels, **columns})
    table[:QUERIES].to_parquet(tmp_path / "queries.parquet")
    table[QUERIES:].drop(columns="customer").to_parquet(tmp_path / "gallery.parquet")
    return tmp_path


def test_files_by_the_command_line(cli, files, wordnet):
    words = ["--gallery", "gallery.parquet", "--within-column", "tenant"]
    words += ["--exclude-same", "camera", "--group-column", "customer"]
    done = cli("evaluate", "queries.parquet", *words, "--out", "run", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    brute = Brute(*wordnet, PARTS, queries=QUERIES)
    assert report["pairs"]["excluded"] == brute.before - brute.allowed.sum()
    assert report["pairs"]["genuine"] == (brute.allowed & brute.alike).sum()
    assert report["source"]["group_column"] == "customer"
    assert report["source"]["gallery_rows"] == len(wordnet[1]) - QUERIES
    table = pd.read_parquet(files / "run" / "classes.parquet")
    assert table.columns[0] == "group"
    assert table["group"].tolist() == brute.names.tolist()
    shown = cli("evaluate", "queries.parquet", *words).stdout
    assert f"{QUERIES} queries in {len(wordnet[1]) - QUERIES} gallery rows" in shown
    assert "pairs of the same camera left out" in shown and "FPIR" in shown
    run = opis.load_run(files / "run")
    assert run.recommend(max_far=0.05).far <= 0.05
    run.plot("classes")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"group_column": "nobody"}, "columns named 'nobody'"),
        ({"gallery": "none.parquet"}, "none.parquet: no such file"),
        ({"gallery_labels": "l.csv"}, "gallery_labels is for gallery"),
        ({"exclude_same": "label"}, "there is no genuine pair once"),
        ({"within_column": "label"}, "there is no impostor pair"),
        ({"group_column": "camera"}, "nulls in column 'camera'"),
        ({"gallery": "short.parquet"}, "vectors of 3 dimensions, the queries of 384"),
        ({"gallery": "numbers.parquet"}, "labels of integers, the queries of text"),
        ({"gallery": "strangers.parquet"}, "there is no genuine pair"),
        ({"gallery": "gallery.parquet", "within_column": "customer"}, "named 'customer'"),
        ({"higher_is_closer": True}, "higher_is_closer=True is for pairs"),
    ],
)
def test_what_cannot_be_is_refused(settings, says, files, monkeypatch):
    monkeypatch.chdir(files)
    few = pd.DataFrame({"embedding": [[1.0, 2, 3]] * 3, "label": ["a", "b", "c"]})
    few.to_parquet(files / "short.parquet")
    wide = pd.DataFrame({"embedding": [[1.0] * 384] * 3, "label": [1, 2, 3]})
    wide.to_parquet(files / "numbers.parquet")
    wide.assign(label=["x", "y", "z"]).to_parquet(files / "strangers.parquet")
    with pytest.raises(opis.OpisError, match=says):
        opis.evaluate("queries.parquet", **settings)


def test_rows_without_a_group_are_dropped_on_request(files):
    run = opis.evaluate(files / "queries.parquet", group_column="camera", on_bad_rows="drop")
    missing = pd.read_parquet(files / "queries.parquet")["camera"].isna().sum()
    assert run.report.source.dropped_rows == missing > 0


def test_columns_beside_labels_in_another_file(files):
    table = pd.read_parquet(files / "queries.parquet")
    np.save(files / "v.npy", np.stack(table["embedding"]))
    table[["label", "tenant"]].to_csv(files / "l.csv", index=False)
    np.savez(
        files / "v.npz",
        embeddings=np.stack(table["embedding"]),
        labels=table["label"].to_numpy(str),
        tenant=table["tenant"].to_numpy(str),
    )
    expected = opis.evaluate(files / "queries.parquet", within_column="tenant")
    for source, labels in ((files / "v.npy", files / "l.csv"), (files / "v.npz", None)):
        found = opis.evaluate(source, labels, within_column="tenant")
        assert np.array_equal(found.counts.impostor, expected.counts.impostor)
    (files / "l.txt").write_text("\n".join(table["label"]))
    with pytest.raises(opis.OpisError, match=r"l\.txt: a \.txt file has no column 'tenant'"):
        opis.evaluate(files / "v.npy", files / "l.txt", within_column="tenant")


def test_a_killed_search_goes_on_in_its_second_pass(files, tmp_path):
    embeddings = read_as(
        files / "queries.parquet", Settings(gallery=str(files / "gallery.parquet"))
    )
    whole = count_pairs(embeddings, Settings(engine="numpy"))
    often = Sizes(checkpoint_pairs=1, pairs_per_byte=0)
    settings = Settings(engine="numpy", checkpoint=str(tmp_path / "partial"))

    class Killed(BaseException):
        pass

    def killed_near_the_end(done, total):
        if done > 0.995 * total:
            raise Killed

    with pytest.raises(Killed):
        count_pairs(embeddings, settings, progress=killed_near_the_end, sizes=often)
    begun = []
    resumed = count_pairs(embeddings, settings, progress=lambda done, _: begun.append(done))
    assert len(begun) > 1 and begun[0] > QUERIES * embeddings.gallery_rows, (
        "the first pass began again"
    )
    for name in ("genuine", "impostor", "pooled_impostor", "open_set", "nearest_hits"):
        assert np.array_equal(getattr(resumed, name), getattr(whole, name)), name


@pytest.mark.parametrize("parts", [COMBINATIONS[-1], COMBINATIONS[6]], ids="+".join)
@pytest.mark.parametrize("engine", [optional("dask")])
def test_workers_of_a_cluster_follow_the_protocol(parts, engine, files, cluster):
    asked = {part: NAMES[part] for part in parts if part in NAMES}
    if "gallery" in parts:
        asked["gallery"] = str(files / "gallery.parquet")
    source = files / "queries.parquet"
    own = opis.evaluate(source, engine="numba", **asked).counts
    theirs = opis.evaluate(
        source, engine=engine, scheduler=cluster.scheduler_address, **asked
    ).counts
    for name in ("genuine", "impostor", "pooled_genuine", "pooled_impostor", "nearest_hits"):
        assert np.array_equal(getattr(own, name), getattr(theirs, name)), name
    assert own.excluded == theirs.excluded
