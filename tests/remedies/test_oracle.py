"""Remedies against their definitions: scores, forms, held-out fits, choices and verdicts."""

import dataclasses
import itertools

import naive
import numpy as np
import pytest

from opis_cli.embeddings.clean import Reading, from_arrays
from opis_cli.embeddings.gallery import with_gallery
from opis_cli.errors import InputError
from opis_cli.remedies import folds, trial
from opis_cli.remedies.fitted import fit
from opis_cli.remedies.recipes import parse
from opis_cli.settings import Settings
from opis_cli.statistics import bootstrap
from opis_cli.statistics.family import holm

DIM, CLASSES, MAX_FAR = 10, 24, 0.05
TRANSFORMS = ("centre", "abtt:1", "abtt:3", "whiten:0.5", "whiten:1", "wccn:0.3")
NORMALISATIONS = ("snorm", "asnorm:9", "csls:4", "fsn:3", "group")
CHAINS = ("centre+asnorm:9", "abtt:2+csls:4", "centre+wccn:0.5+fsn:3", "whiten:0.5+group")
CHAINS += ("centre+snorm", "abtt:1+whiten:0.7+asnorm:5")
SETTINGS = Settings(max_far=MAX_FAR, group_column="group", seed=3)


def made(seed=0, sizes=(1, 2, 6, 9), shift=0.6):
    """Rows of classes that lie off the origin, spread along some directions more than others."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(CLASSES), np.resize(sizes, CLASSES))
    stretch = np.geomspace(2, 0.3, DIM)
    vectors = shift + rng.standard_normal((CLASSES, DIM))[labels]
    vectors += 0.6 * stretch * rng.standard_normal((len(labels), DIM))
    # The rows of a class share a group, but for one row in five.
    groups = np.where(rng.random(len(labels)) < 0.2, labels % 2, labels % 3)
    names = np.array([f"class {label:02}" for label in labels])
    return vectors.astype(np.float32), names, np.array([f"group {group}" for group in groups])


def embeddings_of(vectors, labels, groups, settings=SETTINGS):
    return from_arrays(vectors, labels, Reading.of(settings), columns={"group": groups})


def rows_of(training):
    return naive.Rows(training.vectors, training.class_names[training.classes], training.groups)


@pytest.fixture(scope="module")
def rows():
    return embeddings_of(*made())


@pytest.fixture(scope="module")
def training(rows):
    return folds.training_of(rows, SETTINGS)


def naive_scores(name, fitted, training, rows):
    """By definition; the clusters of ``fsn`` are those that were fitted."""
    centroids = None if fitted.normalisation is None else fitted.normalisation.centroids
    cohort = rows_of(training.some(training.in_cohort))
    return naive.scores(
        naive.steps_of(name),
        rows_of(training),
        rows,
        cohort=cohort,
        max_far=MAX_FAR,
        centroids=centroids,
    )


@pytest.mark.parametrize("seen", [False, True], ids=["other classes", "the same classes"])
@pytest.mark.parametrize("name", (*TRANSFORMS, *NORMALISATIONS, *CHAINS))
def test_scores_are_those_of_the_definition(name, seen, training):
    odd = training.classes % 2 == 1
    own = training if seen else training.some(odd)
    others = rows_of(training if seen else training.some(~odd))
    fitted = fit(parse(name), own)
    queries, gallery = fitted.forms(others.vectors, others.classes, others.groups)
    expected = naive_scores(name, fitted, own, others)
    assert queries.shape == gallery.shape == (len(others.vectors), fitted.width)
    assert fitted.metric == ("cosine" if parse(name)[-1].is_transform else "dot")
    assert queries @ gallery.T == pytest.approx(expected, abs=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", NORMALISATIONS)
def test_the_product_of_forms_is_the_score_to_the_last_digits(name, training):
    """Given the numbers of the rows, which are of float32 similarities, nothing else is rounded."""
    fitted = fit(parse(name), training)
    rows = rows_of(training)
    normalisation, units = fitted.normalisation, fitted.transformed(rows.vectors)
    numbers = normalisation.numbers(units, rows.classes, rows.groups)
    similar, own = units @ units.T, numbers[:, 0]
    if name == "group":
        own = np.append(normalisation.offsets, 0.0)[own.astype(int)]
        expected = similar - np.maximum(own[:, None], own)
    elif name.endswith("norm") or name.startswith("asnorm"):
        scaled = (similar - own) / numbers[:, 1]
        expected = (scaled + scaled.T) / 2
    else:
        factor = 2 if name.startswith("csls") else 1
        expected = factor * similar - own[:, None] - own
    queries, gallery = normalisation.forms(units, numbers)
    assert queries.dtype == gallery.dtype == np.float64
    scale = np.abs(expected).max()
    assert queries @ gallery.T == pytest.approx(expected, abs=1e-13 * scale)
    assert gallery @ queries.T == pytest.approx(expected, abs=1e-13 * scale)


@pytest.mark.parametrize("name", ["snorm", "asnorm:9", "csls:4"])
def test_cohort_rows_of_the_own_class_never_count(name, training):
    """Whatever they are: even copies of the row itself."""
    mine = training.class_names[training.classes] == "class 03"
    names = training.class_names[training.classes[mine]]
    vectors = training.vectors.copy()
    vectors[mine] = vectors[mine][0]
    others = dataclasses.replace(training, vectors=vectors)
    fits = [fit(parse(name), one) for one in (training, others)]
    units = fits[0].transformed(training.vectors[mine])
    found = [fitted.normalisation.numbers(units, names) for fitted in fits]
    assert np.array_equal(*found)
    # Without the name of their class they do count.
    assert not np.allclose(found[0], fits[1].normalisation.numbers(units))


@pytest.mark.parametrize("name", ["asnorm:9", "fsn:3", "group"])
def test_a_cohort_of_the_gallery_has_none_of_the_queries(name, training):
    gallery = np.arange(len(training.classes)) % 2 == 1
    own = dataclasses.replace(training, in_cohort=gallery)
    fitted, rows = fit(parse(name), own), rows_of(training)
    queries, others = fitted.forms(rows.vectors, rows.classes, rows.groups)
    expected = naive_scores(name, fitted, own, rows)
    assert queries @ others.T == pytest.approx(expected, abs=2e-5 * np.abs(expected).max())


def test_a_group_of_too_few_pairs_keeps_the_threshold_of_all(training):
    """At a FAR of 5 %, three errors need 60 impostor pairs, each counted once."""
    groups = np.full(len(training.classes), "most")
    few = np.concatenate([np.flatnonzero(training.classes == one)[:5] for one in (2, 6, 10)])
    offsets = []
    for rows in (few[:10], few):
        groups[rows] = "few"
        fitted = fit(parse("group"), dataclasses.replace(training, groups=groups.copy()))
        offsets.append(fitted.normalisation.offsets[0])
        pairs = len(rows) * (len(rows) - 5) // 2
        assert (offsets[-1] == 0) == (pairs < 60)
    assert offsets[0] == 0 != offsets[1], "25 pairs are too few, and 75 are not"


def test_every_cluster_is_the_mean_of_its_rows(training):
    found = fit(parse("fsn:4"), training).normalisation
    vectors = np.float64(training.vectors)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    clusters = naive.nearest(units, found.centroids)
    # The last step of k-means may leave them a step off.
    assert len(np.unique(clusters)) == len(found.centroids) == 4
    means = [units[clusters == place].mean(axis=0) for place in range(4)]
    assert found.centroids == pytest.approx(np.array(means), abs=0.1)


def arrays_of(fitted):
    """Every array that a fitted remedy holds."""
    found = [array for one in fitted.transforms for array in (one.mean, one.matrix)]
    own = fitted.normalisation
    if own is not None:
        found += [own.centroids, own.offsets, own.groups]
        found += [] if own.cohort is None else [own.cohort.units, own.cohort.classes]
    return [array for array in found if array is not None]


@pytest.mark.parametrize("name", ["abtt:2+asnorm:9", "whiten+csls:4", "wccn+fsn:3", "centre+group"])
def test_no_remedy_is_fitted_on_a_class_that_it_is_tried_on(name, rows, training, monkeypatch):
    of_class = folds.draw_folds(rows, 3, SETTINGS.seed)
    seen = []

    def spy(recipe, own):
        fitted = fit(recipe, own)
        seen.append((own, fitted))
        return fitted

    monkeypatch.setattr(folds, "fit", spy)

    def fits(own):
        """The fits of the folds: each is the last before the rows of its fold are changed."""
        seen.clear()
        changed = dataclasses.replace(rows, vectors=own.vectors)
        folds.held_out(changed, parse(name), of_class, own)
        whole = [one for one in seen if one[1].recipe and len(one[1].recipe) == len(parse(name))]
        return whole[-3:]

    before = fits(training)
    for fold, (own, _) in enumerate(before):
        assert len(own.classes) and not np.any(of_class[own.classes] == fold)
        assert set(own.classes) == set(np.flatnonzero(of_class != fold))
    tried = 1
    mine = of_class[training.classes] == tried
    vectors = training.vectors.copy()
    vectors[mine] = 9 * np.random.default_rng(1).standard_normal((mine.sum(), DIM))
    after = fits(dataclasses.replace(training, vectors=vectors))
    same = [
        all(np.array_equal(*pair) for pair in zip(arrays_of(one), arrays_of(other), strict=True))
        for (_, one), (_, other) in zip(before, after, strict=True)
    ]
    assert same == [False, True, False]


def held_out_pairs(name, embeddings, of_class, training, settings, of_pair=None):
    """Pairs within folds, each scored by the remedy that saw neither class."""
    parts = []
    for fold in range(of_class.max() + 1):
        outside = of_class[training.classes] != fold
        own, inside = training.some(outside), np.flatnonzero(~outside)
        others = rows_of(training.some(inside))
        if name == "base":
            score = naive.scores([("whiten", 1.0)], _nothing(others), others)
        else:
            recipe = folds.with_numbers(parse(name), own)
            whole = "+".join(map(str, recipe))
            score = naive_scores(whole, fit(recipe, own), own, others)
        first, second = np.triu_indices(len(inside), k=1)
        kept = slice(None) if of_pair is None else of_pair(inside[first], inside[second])
        first, second = first[kept], second[kept]
        parts.append((score[first, second], others.classes[first], others.classes[second]))
    return naive.Pairs(*map(np.concatenate, zip(*parts, strict=True)))


def _nothing(rows):
    """Training rows about the origin, so that a transform of shrinkage 1 changes nothing."""
    vectors = np.float64(rows.vectors)
    return naive.Rows(np.vstack([vectors, -vectors]), np.tile(rows.classes, 2))


NAMES = ("centre", "whiten", "csls:4", "centre+asnorm:9", "fsn:3", "group")


@pytest.fixture(scope="module")
def wide():
    """Rows enough that a pair more or less moves no figure far."""
    return embeddings_of(*made(seed=5, sizes=(1, 6, 9, 14)))


@pytest.fixture(scope="module")
def tried(wide):
    return trial.try_remedies(wide, NAMES, SETTINGS, folds=3)


@pytest.mark.parametrize("name", ("base", *NAMES))
def test_figures_of_the_trial_are_those_of_all_held_out_pairs(name, wide, tried):
    of_class = folds.draw_folds(wide, 3, SETTINGS.seed)
    own = folds.training_of(wide, SETTINGS)
    pairs = held_out_pairs(name, wide, of_class, own, SETTINGS)
    found = next(one for one in tried.tried if one.name == name).figures
    counts = tried.evaluations[name].counts
    assert (counts.genuine_total, counts.impostor_total) == (
        pairs.genuine.sum(),
        (~pairs.genuine).sum(),
    )
    a_pair = 1.01 / pairs.genuine.sum()
    assert found["frr_at_max_far"] == pytest.approx(naive.frr_at(pairs, MAX_FAR), abs=a_pair)
    assert found["frr_at_far_1e-2"] == pytest.approx(naive.frr_at(pairs, 0.01), abs=a_pair)
    for figure, value in naive.consistency(pairs).items():
        assert found[figure] == pytest.approx(value, rel=0.01), figure


def test_changes_are_those_from_the_rows_as_they_are(tried):
    base, *others = tried.tried
    assert base.name == "base" and {one.name for one in others} == set(NAMES)
    frrs = [one.figures["frr_at_max_far"] for one in others]
    assert frrs == sorted(frrs)
    for one, figure in itertools.product(others, ("frr_at_max_far", "opis_log_far")):
        change = one.figures[figure] - base.figures[figure]
        assert one.changes[figure] == pytest.approx(change, abs=1e-11)
        low, high = one.intervals[figure]
        assert low <= high


def test_the_share_of_groups_within_bounds_is_theirs_at_one_threshold(wide, tried):
    of_class = folds.draw_folds(wide, 3, SETTINGS.seed)
    own = folds.training_of(wide, SETTINGS)
    ends = np.concatenate(
        [
            np.transpose(own.groups[inside][np.array(np.triu_indices(len(inside), k=1))])
            for inside in (np.flatnonzero(of_class[own.classes] == fold) for fold in range(3))
        ]
    )
    pairs = held_out_pairs("centre", wide, of_class, own, SETTINGS)
    at = 1 - tried.evaluations["centre"].report.recommendation.threshold
    accepted, impostor = pairs.score >= at, ~pairs.genuine
    fars = []
    for group in np.unique(own.groups):
        # A pair counts for the group of each of its rows.
        weights = impostor * (ends == group).sum(axis=1)
        fars.append((accepted * weights).sum() / weights.sum())
    found = next(one for one in tried.tried if one.name == "centre").figures
    assert found["groups_meeting_bounds"] == (np.array(fars) <= MAX_FAR).mean()


def test_with_a_gallery_the_pairs_are_of_a_query_and_a_gallery_row():
    vectors, labels, _ = made(seed=6, sizes=(4, 8, 12))
    settings = Settings(max_far=MAX_FAR, seed=3, gallery="<arrays>")
    queries = np.random.default_rng(0).random(len(labels)) < 0.5
    both = with_gallery(
        *(
            from_arrays(vectors[part], labels[part], Reading.of(settings, gallery=is_gallery))
            for is_gallery, part in ((False, queries), (True, ~queries))
        )
    )
    name = "centre+csls:4"
    found = trial.try_remedies(both, [name], settings, folds=3)
    of_class, own = folds.draw_folds(both, 3, settings.seed), folds.training_of(both, settings)
    assert own.in_cohort.sum() == (~queries).sum()
    first_gallery = queries.sum()
    pairs = held_out_pairs(
        *(name, both, of_class, own, settings),
        lambda one, other: (one < first_gallery) & (other >= first_gallery),
    )
    counts = found.evaluations[name].counts
    assert (counts.genuine_total, counts.impostor_total) == (
        pairs.genuine.sum(),
        (~pairs.genuine).sum(),
    )
    frr = found.tried[1].figures["frr_at_max_far"]
    assert frr == pytest.approx(naive.frr_at(pairs, MAX_FAR), abs=1.01 / pairs.genuine.sum())


@pytest.mark.parametrize("name", ["whiten", "wccn", "centre+whiten", "abtt:1+wccn"])
def test_inner_folds_choose_what_a_search_chooses(name, training):
    """The shrinkage of the least FRR over the pairs within three inner folds of its classes."""
    own = training.some(training.classes % 3 > 0)
    present, codes = np.unique(own.classes, return_inverse=True)
    inner = from_arrays(own.vectors, present[codes], Reading())
    of_class = folds.draw_folds(inner, 3, own.seed)
    frrs = {}
    for shrinkage in folds.SHRINKAGES:
        whole, parts = f"{name}:{shrinkage}", []
        for fold in range(3):
            outside = of_class[codes] != fold
            others = rows_of(own.some(~outside))
            score = naive.scores(naive.steps_of(whole), rows_of(own.some(outside)), others)
            first, second = np.triu_indices(len(score), k=1)
            parts.append((score[first, second], others.classes[first], others.classes[second]))
        pairs = naive.Pairs(*map(np.concatenate, zip(*parts, strict=True)))
        frrs[shrinkage] = naive.frr_at(pairs, MAX_FAR)
    chosen = folds.with_numbers(parse(name), own)
    assert len(chosen) == len(parse(name))
    assert frrs[chosen[-1].number] <= min(frrs.values()) + 1.01 / pairs.genuine.sum()
    assert len(set(frrs.values())) > 1, "all shrinkages do alike here"


def clouds(classes, size, dim, *, centre=0.0, signal, noise, seed=0):
    """Classes with their means along some directions, noise along all, and rows of any length."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), size)
    means = np.zeros((classes, dim))
    means[:, :signal] = rng.standard_normal((classes, signal))
    vectors = means[labels] + noise * rng.standard_normal((len(labels), dim))
    vectors *= rng.uniform(0.5, 2, (len(labels), 1))
    return from_arrays((centre + vectors).astype(np.float32), labels, Reading())


def verdicts(rows, *names, max_far=0.05):
    found = trial.try_remedies(rows, names, Settings(max_far=max_far), folds=2)
    return {one.name: one.verdict for one in found.tried}, found


def test_centring_helps_rows_with_a_strong_common_mean():
    """Seen from far off, rows of one direction differ by their lengths. Centring ends that."""
    rows = clouds(40, 5, 8, centre=4.0, signal=8, noise=0.3)
    found, whole = verdicts(rows, "centre", "whiten:0.9", "abtt:6")
    assert found == {
        "base": "not shown",
        "centre": "helps",
        "whiten:0.9": "helps",
        "abtt:6": "harms",
    }
    assert whole.chosen in ("centre", "whiten:0.9")
    low, high = next(one for one in whole.tried if one.name == "centre").intervals["frr_at_max_far"]
    assert low < high < 0


def test_where_everything_harms_nothing_is_chosen():
    """The classes lie along four directions, which these remedies take off or drown in noise."""
    rows = clouds(40, 5, 24, signal=4, noise=0.1)
    found, whole = verdicts(rows, "abtt:3", "whiten:0.01", "centre+whiten:0.01")
    assert set(found.values()) == {"not shown", "harms"}
    assert found["base"] == "not shown" and list(found.values()).count("harms") == 3
    assert whole.chosen is None


def test_a_remedy_that_leaves_nothing_to_count_is_not_tried():
    """Two dimensions less one leave cosines of -1 and 1: the others are tried all the same."""
    rows = clouds(12, 5, 2, signal=2, noise=0.3)
    found = trial.try_remedies(rows, ["abtt:1", "centre"], Settings(), folds=2, skip=True)
    assert [one.name for one in found.tried] == ["base", "centre"]
    assert "calibration range" in found.not_tried["abtt:1"]
    with pytest.raises(InputError, match="calibration range"):
        trial.try_remedies(rows, ["abtt:1"], Settings(), folds=2)
    # Nothing can be compared with rows that are of no use themselves.
    with pytest.raises(InputError, match="calibration range"):
        trial.try_remedies(
            clouds(12, 5, 1, signal=1, noise=0.3), ["centre"], Settings(), folds=2, skip=True
        )


def test_where_nothing_helps_that_is_not_shown():
    """Rows about the origin, alike along all directions."""
    found, whole = verdicts(clouds(40, 5, 8, signal=8, noise=0.4), "centre", "whiten:0.9")
    assert set(found.values()) == {"not shown"}
    assert whole.chosen is None


def test_each_remedy_more_needs_more_evidence(tried, wide, monkeypatch):
    """Holm by hand: 0.004 <= 0.05 / 6, 0.0099 <= 0.05 / 5, 0.013 > 0.05 / 4, and all is over."""
    by_hand = dict(zip(NAMES, (0.0099, 1.0, 0.013, 0.004, 0.0136, 0.02), strict=True))
    values = iter(by_hand.values())
    monkeypatch.setattr(trial, "_two_sided", lambda changes: next(values))
    held = {name: trial.Held(tried.evaluations[name], None) for name in ("base", *NAMES)}
    found = trial._judged(held, {}, tried.of_class, SETTINGS).tried
    assert {one.name: one.p_value for one in found[1:]} == by_hand
    shown = {one.name for one in found if one.verdict != "not shown"}
    assert shown == {"centre", "centre+asnorm:9"}
    levels = holm(list(by_hand.values()), 0.05)
    assert levels == pytest.approx([0.05 / 5, 0.05 / 4, 0.05 / 4, 0.05 / 6, 0.05 / 4, 0.05 / 4])


def test_a_p_value_is_twice_the_share_of_draws_of_the_smaller_side():
    changes = np.array([-1.0] * 95 + [0.0, 0.0, 1.0, 2.0, 3.0])
    assert trial._two_sided(changes) == pytest.approx(0.10)
    assert trial._two_sided(-changes) == pytest.approx(0.10)
    assert trial._two_sided(np.zeros(9)) == 1.0
    assert trial._two_sided(np.array([np.nan, *np.full(4, -1.0)])) is None


@pytest.mark.parametrize("max_far", [0.2, 0.05, 0.002])
def test_the_frr_of_a_draw_is_at_its_own_threshold(tried, max_far):
    """One draw and one threshold after another: where the FAR goes beyond the bound."""
    counts = tried.evaluations["centre"].counts
    weights = np.concatenate(list(bootstrap.draws(len(counts.sizes), 40, 1)))
    weights[0] = 0
    weights[0, counts.genuine_pairs == 0] = 3
    found = bootstrap.frr_at_far(weights, counts, max_far)
    once = 0
    for draw, value in zip(weights[1:], found[1:], strict=True):
        # An impostor pair weighs the sum of the weights of its classes, less 1.
        weighed = [draw @ column - column.sum() / 2 for column in counts.impostor.T]
        allowed = max_far * (draw @ counts.impostor_pairs - counts.impostor_total)
        last = [
            place
            for place, (here, then) in enumerate(itertools.pairwise([*weighed, np.inf]))
            if here <= allowed < then
        ]
        frrs = [
            1 - draw @ counts.genuine[:, place] / (draw @ counts.genuine_pairs) for place in last
        ]
        assert min(abs(value - frr) for frr in frrs) < 1e-12
        once += len(last) == 1
    assert once > 30
    assert np.isnan(found[0]), "a draw without a genuine pair"
