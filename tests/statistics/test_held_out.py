"""Held-out classes against a brute-force split, and one pass of counting for all folds."""

import data
import numpy as np
import oracle
import pytest
from conftest import optional

import opis_cli as opis
from opis_cli.counting import count
from opis_cli.counting.plan import plan_pairs
from opis_cli.counting.sizes import Sizes
from opis_cli.embeddings.clean import from_arrays
from opis_cli.errors import InputError, SettingsError
from opis_cli.settings import Settings


def held_out(vectors, labels, fold_of, max_far, max_frr):
    """Thresholds, FARs and FRRs of the folds, each from the pairs of the split itself."""
    table = oracle.pair_table(vectors, labels)
    ends = fold_of[table.i], fold_of[table.j]
    found = []
    for fold in range(fold_of.max() + 1):
        others, inside = (
            (ends[0] != fold) & (ends[1] != fold),
            (ends[0] == fold) & (ends[1] == fold),
        )
        if max_far is not None:
            impostor = table.distance[others & ~table.genuine]
            threshold = oracle.threshold_at_far(impostor, max_far)
        else:
            threshold = oracle.threshold_at_frr(table.distance[others & table.genuine], max_frr)
        accepted = table.distance[inside] <= threshold
        genuine = table.genuine[inside]
        found.append([threshold, accepted[~genuine].mean(), 1 - accepted[genuine].mean()])
    return np.array(found).T


@pytest.mark.parametrize(("max_far", "max_frr"), [(0.02, None), (None, 0.1), (0.05, 0.3)])
@pytest.mark.parametrize("name", ["wordnet", "blobs"])
def test_held_out_rates_equal_a_brute_force_split(name, max_far, max_frr):
    vectors, labels = data.sample(name) if name == "wordnet" else data.MADE[name]
    run = opis.evaluate(vectors, labels, folds=4, max_far=max_far, max_frr=max_frr)
    table = run.classes()
    fold_of = dict(zip(table["class"], table["fold"], strict=True))
    folds = np.array([fold_of[label] for label in labels])
    thresholds, far, frr = held_out(vectors, labels, folds, max_far, max_frr)
    found = run.report.held_out
    assert found.folds == 4
    assert found.thresholds == pytest.approx((thresholds.min(), thresholds.max()), abs=2e-3)
    assert found.far_mean == pytest.approx(far.mean(), abs=2e-3, rel=0.05)
    assert found.far_max == pytest.approx(far.max(), abs=2e-3, rel=0.05)
    assert found.far_sd == pytest.approx(far.std(ddof=1), abs=2e-3, rel=0.05)
    assert found.frr_mean == pytest.approx(frr.mean(), abs=3e-3)
    assert found.frr_max == pytest.approx(frr.max(), abs=3e-3)
    held = np.ones(4, bool)
    held &= True if max_far is None else far <= max_far
    held &= True if max_frr is None else frr <= max_frr
    assert found.bounds_held == held.mean()


@pytest.mark.parametrize("engine", ["numpy", "numba", optional("torch"), optional("dask")])
def test_folds_change_no_count_and_every_engine_counts_inside_them(engine, request):
    embeddings = from_arrays(*data.blobs(1_500, 30, 8, seed=2))
    own = {}
    if engine == "dask":
        own["scheduler"] = request.getfixturevalue("cluster").scheduler_address
    plain = count.count_pairs(embeddings, Settings(engine="numpy"))
    folded = count.count_pairs(embeddings, Settings(engine=engine, folds=3, **own))
    for name in ("genuine", "impostor", "pooled_genuine", "pooled_impostor", "nearest_hits"):
        one, other = getattr(plain, name).astype(int), getattr(folded, name).astype(int)
        assert np.abs(one - other).max() <= 4
    assert np.array_equal(plain.class_names, folded.class_names)
    assert np.array_equal(plain.sizes, folded.sizes)
    fold_of = folded.folds[embeddings.labels]
    column = folded.grid.window // 2
    threshold = folded.grid.thresholds[column]
    distance = oracle.distances(embeddings.vectors)
    labels = embeddings.labels
    for fold in range(3):
        rows = fold_of == fold
        size, sizes = rows.sum(), folded.sizes[folded.folds == fold]
        assert folded.inside[fold, -1] == (size**2 - np.sum(sizes**2)) // 2
        apart = labels[rows][:, None] != labels[rows][None, :]
        accepted = (distance[np.ix_(rows, rows)] <= threshold + 5e-7) & apart
        assert abs(folded.inside[fold, column] - accepted.sum() // 2) <= 4


def test_classes_are_spread_evenly_over_folds_and_by_seed():
    embeddings = from_arrays(*data.blobs(900, 61, seed=3))
    one, other = (plan_pairs(embeddings, Settings(folds=5, seed=seed)) for seed in (0, 1))
    assert set(np.bincount(one.folds)) <= {12, 13}
    assert np.all(np.diff(one.folds[one.rows.keys]) >= 0), "rows of a fold stand together"
    assert not np.array_equal(one.folds, other.folds)
    assert np.array_equal(one.names, embeddings.class_names)


@pytest.mark.parametrize("side", [7, 50, 400])
def test_passes_of_folds_hold_every_pair_once_and_tell_where(side):
    plan = plan_pairs(from_arrays(*data.blobs(300, 20, seed=5)), Settings(folds=4))
    fold_of = plan.folds[plan.rows.keys]
    seen = np.zeros((300, 300), int)
    for part in plan.passes:
        for tile in part.tiles(side):
            i, j = np.arange(tile.a, tile.b), np.arange(tile.c, tile.d)
            kept = i[:, None] < j
            seen[tile.a : tile.b, tile.c : tile.d] += kept
            inside = (fold_of[i, None] == fold_of[j]) & kept
            if part.fold is None:
                assert not inside.any()
            else:
                assert np.all(fold_of[i] == part.fold) and np.all(fold_of[j] == part.fold)
    assert np.array_equal(seen, np.triu(np.ones((300, 300), int), 1))


def test_a_killed_count_of_folds_goes_on(tmp_path):
    embeddings = from_arrays(*data.blobs(2_000, 40, 8))
    whole = count.count_pairs(embeddings, Settings(folds=3))
    settings = Settings(folds=3, checkpoint=str(tmp_path / "partial"))
    often = Sizes(checkpoint_pairs=600_000, pairs_per_byte=0)

    def kill(done, total):
        if done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        count.count_pairs(embeddings, settings, progress=kill, sizes=often)
    assert (tmp_path / "partial").is_dir()
    resumed = count.count_pairs(embeddings, settings)
    for name in ("genuine", "impostor", "inside", "pooled_impostor", "nearest_hits"):
        assert np.array_equal(getattr(whole, name), getattr(resumed, name))
    assert np.array_equal(whole.halves.impostor, resumed.halves.impostor)


def test_too_many_folds_are_refused():
    vectors, labels = data.MADE["blobs"]
    with pytest.raises(InputError, match="at most folds=6"):
        opis.evaluate(vectors, labels, folds=7)
    with pytest.raises(SettingsError, match="at least 2"):
        opis.evaluate(vectors, labels, folds=1)


def test_a_fold_without_genuine_pairs_has_no_frr():
    vectors, _ = data.blobs(60, 3, seed=1)
    labels = [0] * 20 + [1] * 20 + list(range(2, 22))
    found = opis.evaluate(vectors, labels, folds=8).report.held_out
    assert found.folds == 8 and found.frr_mean is not None and found.far_mean is not None


def test_without_folds_there_is_nothing_held_out(small):
    assert small.report.held_out is None
    assert "fold" not in small.classes()


def test_folds_survive_a_run_folder(tmp_path):
    run = opis.evaluate(*data.MADE["blobs"], folds=3)
    run.save(tmp_path / "run")
    again = opis.load_run(tmp_path / "run")
    assert again.report.held_out == run.report.held_out
    assert np.array_equal(again.counts.inside, run.counts.inside)
    assert np.array_equal(again.counts.halves.genuine, run.counts.halves.genuine)
    assert again.classes()["fold"].tolist() == run.counts.folds.tolist()
