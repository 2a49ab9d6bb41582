"""The threshold that keeps a rate, and the decisions that change, against brute force on pairs."""

import dataclasses

import data
import numpy as np
import pytest
from protocols import PROTOCOLS, QUERIES, Naive, rows_of

import opis_cli as opis
from opis_cli.errors import SettingsError
from opis_cli.evidence import flips as evidence
from opis_cli.evidence.flips import KINDS
from opis_cli.judging import migration
from opis_cli.migration import migrate
from opis_cli.pipeline import evaluate_embeddings
from opis_cli.settings import Settings

MIXED = {
    "cosine, then euclidean": ({}, {"metric": "euclidean"}),
    "bits, then cosine": ({"metric": "hamming"}, {}),
}
CASES = {name: (given, given) for name, given in PROTOCOLS.items()} | MIXED


class Both:
    """The decisions of two models about each pair, in float64, one at a time."""

    def __init__(self, old, new, found):
        self.labels = old[0].labels
        self.pairs = []
        for (i, j, one), (_, _, two) in zip(Naive(*old).pairs, Naive(*new).pairs, strict=True):
            accepted = [
                d <= at + 1e-6 for d, at in ((one, found.old.threshold), (two, found.new.threshold))
            ]
            self.pairs.append((i, j, one, two, *accepted))

    def of_kind(self, kind):
        """The pairs of a kind, the hardest first: (how hard, row, row, distances)."""
        genuine, by_new = kind.startswith("genuine"), kind in ("genuine_won", "impostors_let_in")
        wrong = 2 if kind in ("genuine_won", "impostors_kept_out") else 3
        return sorted(
            ((-1 if genuine else 1) * pair[wrong], *pair[:4])
            for pair in self.pairs
            if (self.labels[pair[0]] == self.labels[pair[1]]) == genuine
            and pair[4] != pair[5]
            and pair[5] == by_new
        )


@pytest.fixture(scope="module", params=CASES)
def case(request):
    sides = []
    for given, seed in zip(CASES[request.param], (4, 9), strict=True):
        settings = Settings(**given, max_far=0.05, engine="numpy")
        rows = rows_of(settings, seed)
        # The rows are those of arrays, so no file is read again.
        run = dataclasses.replace(evaluate_embeddings(rows, settings), embeddings=rows)
        sides.append((run, rows, settings))
    old, new = sides
    found = migrate(old[0], new[0], top=30, per_class_pair=2)
    return found, Both(old[1:], new[1:], found.facts), new[0]


def test_the_flips_are_those_of_brute_force(case):
    found, both, _ = case
    counts = dataclasses.asdict(found.facts.flips)
    assert counts == {kind: len(both.of_kind(kind)) for kind in KINDS}
    assert found.facts.borderline == 0
    assert found.facts.flips.total > 50


def test_the_rates_are_those_of_brute_force_and_the_far_is_kept(case):
    found, both, run = case
    for place, side in ((4, found.facts.old), (5, found.facts.new)):
        genuine = [p[place] for p in both.pairs if both.labels[p[0]] == both.labels[p[1]]]
        impostor = [p[place] for p in both.pairs if both.labels[p[0]] != both.labels[p[1]]]
        assert side.far == pytest.approx(np.mean(impostor), abs=1e-12)
        assert side.frr == pytest.approx(1 - np.mean(genuine), abs=1e-12)
    new, far = found.facts.new, run.counts.pooled_far
    place = run.counts.grid.index_at(new.threshold)
    assert new.far == far[place] <= found.facts.old.far < far[place + 1]


def test_the_hardest_pairs_come_first_and_few_of_each_pair_of_classes(case):
    found, both, run = case
    for kind in KINDS:
        wanted, seen = [], {}
        for _, i, j, one, two in both.of_kind(kind):
            classes = tuple(sorted((both.labels[i], both.labels[j])))
            seen[classes] = seen.get(classes, 0) + 1
            if seen[classes] <= 2:
                wanted.append((i, j, one, two))
        table = found.flips[found.flips["kind"] == kind]
        got = table[["row_a", "row_b"]].to_numpy()
        # Rows of a gallery are numbered from 0.
        behind = QUERIES if run.settings.gallery else 0
        assert [(a, b + behind) for a, b in got] == [pair[:2] for pair in wanted[:30]]
        distances = np.array([pair[2:] for pair in wanted[:30]]).reshape(-1, 2)
        assert np.allclose(table[["old_distance", "new_distance"]], distances, atol=1e-8)


def test_each_class_has_its_flips_and_rates(case):
    found, both, run = case
    queries = QUERIES if run.settings.gallery else len(both.labels)
    for row in found.classes.to_dict("records"):
        mine = [
            pair
            for pair in both.pairs
            if row["class"] in {both.labels[r] for r in pair[:2] if r < queries}
        ]
        genuine = [p for p in mine if both.labels[p[0]] == both.labels[p[1]]]
        impostor = [p for p in mine if both.labels[p[0]] != both.labels[p[1]]]
        assert (row["genuine_pairs"], row["impostor_pairs"]) == (len(genuine), len(impostor))
        assert row["genuine_lost"] == sum(p[4] and not p[5] for p in genuine)
        assert row["genuine_won"] == sum(p[5] and not p[4] for p in genuine)
        assert row["impostors_let_in"] == sum(p[5] and not p[4] for p in impostor)
        assert row["impostors_kept_out"] == sum(p[4] and not p[5] for p in impostor)
        if genuine:
            assert row["old_frr"] == pytest.approx(np.mean([not p[4] for p in genuine]))
        if impostor:
            assert row["new_far"] == pytest.approx(np.mean([p[5] for p in impostor]))
    losses = found.classes["genuine_lost"] + found.classes["impostors_let_in"]
    assert losses.is_monotonic_decreasing


@pytest.fixture(scope="module")
def models():
    """Two models of 300 rows, whose distances float32 rounds."""
    labels = data.blobs(300, 15, seed=2)[1]
    rng = np.random.default_rng(0)
    return [
        opis.evaluate(
            rng.normal(size=(15, dim))[labels] + spread * rng.normal(size=(300, dim)),
            labels,
            max_far=0.05,
        )
        for dim, spread in ((8, 0.9), (24, 1.1))
    ]


def decided(run, threshold):
    """Whether each pair is accepted, in float64, shape (N, N)."""
    units = data.unit(run.embeddings.vectors.astype(np.float64))
    return 1 - units @ units.T <= threshold


@pytest.mark.parametrize("tiles", [1_024, 37])
def test_rounding_explains_every_difference_from_float64(models, monkeypatch, tiles):
    monkeypatch.setattr(evidence, "_SIDE", tiles)
    facts = migrate(*models).facts
    labels = models[0].embeddings.labels
    old, new = (
        decided(run, side.threshold)
        for run, side in zip(models, (facts.old, facts.new), strict=True)
    )
    pair = np.triu(np.ones_like(old), 1)
    genuine = labels[:, None] == labels
    wanted = {
        "genuine_lost": (genuine & old & ~new & pair).sum(),
        "genuine_won": (genuine & ~old & new & pair).sum(),
        "impostors_let_in": (~genuine & ~old & new & pair).sum(),
        "impostors_kept_out": (~genuine & old & ~new & pair).sum(),
    }
    found = dataclasses.asdict(facts.flips)
    assert sum(abs(found[kind] - wanted[kind]) for kind in KINDS) <= facts.borderline < 5


def test_pairs_at_the_threshold_are_borderline():
    # Two rows at a cosine distance that no float holds: a pair at the threshold itself.
    angles = np.array([0.0, 1.0, 2.5, 4.0])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    at = float(1 - np.cos(1.0))
    run = opis.evaluate(rows, [0, 0, 1, 1], max_far=0.9, threshold=at, calibration="far:0.2..0.9")
    facts = migrate(run, run).facts
    assert facts.old.threshold == at and facts.old.kind == "deployed"
    assert facts.borderline == 1 and facts.flips.total == 0


def test_a_model_keeps_its_own_threshold(models):
    for keep in ("far", "frr"):
        facts = migrate(models[0], models[0], keep=keep).facts
        assert (facts.flips.genuine_lost, facts.flips.impostors_let_in) == (0, 0)
        assert facts.new.interval[0] <= facts.new.threshold <= facts.new.interval[1]
        assert getattr(facts.new, keep) == getattr(facts.old, keep)


def test_the_frr_is_kept_by_the_smallest_threshold(models):
    found = migrate(*models, keep="frr", threshold=0.4)
    old, new = found.facts.old, found.facts.new
    assert (old.threshold, old.kind) == (0.4, "given")
    grid, frr = models[1].counts.grid.thresholds, models[1].counts.pooled_frr
    place = int(np.searchsorted(grid, new.threshold))
    assert new.frr == frr[place] <= old.frr < frr[place - 1]


def test_an_old_threshold_between_two_counted_ones_keeps_the_lower_rate(models):
    counts = models[0].counts
    place = int(np.searchsorted(counts.pooled_far, 0.03))
    below, above = counts.grid.thresholds[place : place + 2]
    between = float((below + above) / 2)
    exact = migrate(*models, threshold=float(below)).facts
    assert migrate(*models, threshold=between).facts.new.threshold == exact.new.threshold
    assert migrate(*models, threshold=between).facts.old.threshold == between


def test_whether_the_bounds_of_the_new_run_are_met(models):
    vectors, labels = models[1].embeddings.vectors, models[1].embeddings.labels
    given = ({"max_far": 0.01}, {"max_far": 0.05, "max_frr": 0.9}, {"max_frr": 1e-9})
    runs = [opis.evaluate(vectors, labels, **bounds) for bounds in given]
    assert [migrate(models[0], new).facts.bounds_met for new in runs] == [False, True, False]


def test_the_interval_is_that_of_draws_of_classes(models):
    """Each draw keeps the FAR that the old model has on it: brute force over repeated classes."""
    old, new = models
    labels = old.embeddings.labels
    at = migration.kept(old, new, seed=3, replicates=40)
    one, two = np.triu_indices(300, 1)
    impostor = labels[one] != labels[two]
    one, two = one[impostor], two[impostor]
    distances = []
    for run in models:
        units = data.unit(run.embeddings.vectors.astype(np.float64))
        distances.append(1 - (units[one] * units[two]).sum(axis=1))
    order = np.argsort(distances[1])
    thresholds = new.counts.grid.class_thresholds
    accepted = np.searchsorted(distances[1][order], thresholds + 1e-6)
    draws, found = np.random.default_rng(3), []
    for _ in range(40):
        weights = np.bincount(draws.integers(0, 15, 15), minlength=15)[labels]
        # The deviations of both classes of a pair from one draw each are added.
        both = weights[one] + weights[two] - 1
        far = both[distances[0] <= at.old + 1e-6].sum() / both.sum()
        fars = np.append(0, np.cumsum(both[order]))[accepted] / both.sum()
        found.append(thresholds[np.flatnonzero(fars <= far + 1e-12)[-1]])
    assert at.interval == pytest.approx(np.quantile(found, [0.025, 0.975]), abs=1e-9)


def test_classes_of_another_order_are_drawn_alike(models):
    old, new = models
    # As text, the classes 0 to 14 sort in another order.
    texts = old.embeddings.labels.astype(str).astype(object)
    renamed = opis.evaluate(old.embeddings.vectors, texts, max_far=0.05)
    for keep in ("far", "frr"):
        wanted, found = (
            migration.kept(run, new, keep=keep, threshold="0.4", replicates=50)
            for run in (old, renamed)
        )
        assert found == wanted and found.interval is not None


def test_a_list_that_is_cut_often_is_the_same(models, monkeypatch):
    whole = migrate(*models, top=20, per_class_pair=2).flips
    monkeypatch.setattr(evidence, "_PENDING", 5)
    monkeypatch.setattr(evidence, "_SIDE", 37)
    cut = migrate(*models, top=20, per_class_pair=2).flips
    assert cut[["kind", "row_a", "row_b"]].equals(whole[["kind", "row_a", "row_b"]])
    # Where all values are equal, the first rows stand.
    order = np.arange(40)[::-1]
    listed = evidence._List(np.arange(40), order, 3, 1)
    for start in range(0, 39, 3):
        one = np.arange(start, start + 3)
        listed.add(one, one + 1, np.ones(3))
    assert np.sort(order[listed.settled()], axis=0).T.tolist() == [[0, 1], [1, 2], [2, 3]]


def test_no_interval_where_classes_are_no_units(models):
    vectors, labels = models[0].embeddings.vectors, models[0].embeddings.labels
    given = (vectors[:200], labels[:200])
    one, two = (
        opis.evaluate(some, labels[200:], gallery=(kept, labels[:200]), max_far=0.1)
        for some, kept in ((vectors[200:], vectors[:200]), (vectors[200:] + 0.1, given[0] + 0.1))
    )
    assert migrate(one, two).facts.new.interval is None


def test_only_rates_are_kept(models):
    with pytest.raises(SettingsError, match="keep='opis': it is no rate to keep"):
        migrate(*models, keep="opis")


def test_no_threshold_keeps_a_far_of_zero_among_impostor_copies():
    vectors, labels = data.blobs(60, 6, seed=1)
    copies = vectors.copy()
    copies[np.flatnonzero(labels == 1)[0]] = copies[np.flatnonzero(labels == 0)[0]]
    old, new = (opis.evaluate(some, labels, max_far=0.1) for some in (vectors, copies))
    with pytest.raises(SettingsError, match=r"FAR of at most 0 %.*keep='frr'"):
        migrate(old, new, threshold=0)
