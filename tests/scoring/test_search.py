"""Bounds on searches are met by counts, and by the best threshold; against all distances."""

import data
import numpy as np
import pytest

import opis_cli as opis
from opis_cli.errors import InputError, SettingsError
from opis_cli.scoring.opis import consistency_of
from opis_cli.scoring.recommend import recommend
from opis_cli.values import Calibration, SearchBounds

ROWS, QUERIES = 420, 120


def rows():
    """Rows of which some have no genuine pair, with exact products."""
    vectors, labels = data.signs(ROWS, 20, 64, seed=5)
    labels[::17] = 1_000 + np.arange(len(labels[::17]))
    return vectors, labels


@pytest.fixture(scope="module")
def run():
    return opis.evaluate(*rows(), prior=0.02)


@pytest.fixture(scope="module")
def search():
    """Queries in a gallery; a third of the queries has no genuine gallery row."""
    vectors, labels = data.signs(ROWS, 20, 64, seed=5)
    labels[:QUERIES:3] = 2_000 + np.arange(len(labels[:QUERIES:3]))
    gallery = vectors[QUERIES:], labels[QUERIES:]
    return opis.evaluate(vectors[:QUERIES], labels[:QUERIES], gallery=gallery, max_fpir=0.1)


def distances(one, other):
    one, other = (data.unit(part.astype(np.float64)) for part in (one, other))
    return 1 - one @ other.T


def brute(at, matrix, alike, pairs):
    """False accepts per query, FPIR, identification, FAR and FRR at a threshold."""
    real = np.isfinite(matrix)
    nearest = matrix.argmin(axis=1)
    everyone = np.arange(len(matrix))
    right = alike[everyone, nearest] & (matrix[everyone, nearest] <= at)
    mated = (alike & real).any(axis=1)
    accepted = matrix <= at
    wrong = (accepted & ~alike).sum(axis=1)
    return (
        wrong.mean(),
        (accepted & ~alike)[~mated].any(axis=1).mean() if (~mated).any() else None,
        right[mated].mean(),
        (accepted & ~alike).sum() / (~alike & real).sum(),
        1 - (accepted & alike).sum() / (alike & real).sum(),
    )


@pytest.fixture(scope="module")
def table():
    vectors, labels = rows()
    matrix = distances(vectors, vectors)
    np.fill_diagonal(matrix, np.inf)
    return matrix, labels[:, None] == labels, 2


def precision(far, frr, prior=0.02):
    return prior * (1 - frr) / (prior * (1 - frr) + (1 - prior) * far)


BOUNDS = (
    ("max_false_accepts_per_query", 1.5),
    ("min_precision", 0.4),
    ("min_identification", 0.7),
)


@pytest.mark.parametrize(("name", "limit"), BOUNDS)
def test_a_bound_is_met_and_the_next_distance_would_break_it(run, table, name, limit):
    least = name == "min_identification"
    prefer = "low-far" if least else "low-frr"
    chosen = run.recommend(**{name: limit}, prefer=prefer)
    (held,) = chosen.search_bounds
    place = {"max_false_accepts_per_query": 0, "min_identification": 2}.get(name)

    def figure(at):
        found = brute(at, *table)
        return precision(*found[3:]) if place is None else found[place]

    assert chosen.max_far is None and held.alone.threshold == chosen.threshold
    assert held.value == pytest.approx(figure(chosen.threshold))
    assert figure(chosen.threshold) >= limit if name.startswith("min") else held.value <= limit
    every = np.unique(table[0][np.isfinite(table[0])].round(9))
    if least:
        beyond = every[every < chosen.threshold][-1] - 1e-6
    else:
        beyond = every[every > chosen.threshold][0] + 1e-6
    broken = figure(beyond)
    assert broken < limit if name.startswith("min") else broken > limit
    assert chosen.identification == pytest.approx(brute(chosen.threshold, *table)[2])
    assert chosen.precision_at_prior == pytest.approx(
        precision(*brute(chosen.threshold, *table)[3:])
    )


def test_bounds_that_no_threshold_meets_together_say_what_each_needs(run):
    chosen = run.recommend(min_precision=0.75, min_identification=0.85)
    assert chosen.status == "infeasible" and chosen.identification is None
    precise, identified = sorted(chosen.search_bounds, key=lambda one: one.name, reverse=True)
    assert precise.value is identified.value is None
    assert precise.alone.threshold < identified.alone.threshold
    assert identified.alone.frr < precise.alone.frr


def test_a_gallery_has_its_own_figures(search):
    vectors, labels = data.signs(ROWS, 20, 64, seed=5)
    labels[:QUERIES:3] = 2_000 + np.arange(len(labels[:QUERIES:3]))
    matrix = distances(vectors[:QUERIES], vectors[QUERIES:])
    table = matrix, labels[:QUERIES, None] == labels[QUERIES:], 1
    chosen, open_set = search.report.recommendation, search.report.open_set
    per_query, fpir, identified, _, _ = brute(chosen.threshold, *table)
    assert chosen.false_accepts_per_query == pytest.approx(per_query)
    assert chosen.fpir == pytest.approx(fpir) == open_set.fpir <= 0.1
    assert chosen.identification == pytest.approx(identified)
    mated = table[1].any(axis=1)
    strangers = np.sort(matrix[~mated].min(axis=1))
    for point in open_set.identification:
        assert point.achieved_fpir <= point.fpir
        found = brute(point.threshold, *table)
        assert found[1] == pytest.approx(point.achieved_fpir)
        assert found[2] == pytest.approx(point.identification)
        # One stranger more would be too many.
        beyond = strangers[strangers > point.threshold][0] + 1e-6
        assert brute(beyond, *table)[1] > point.fpir
    assert [point.supported for point in open_set.identification] == [True, False, False]
    assert open_set.identification[0].threshold >= chosen.threshold


def test_precision_may_fall_and_rise_so_the_interval_is_the_part_around_the_threshold():
    genuine = [[0, 8, 8, 20, 20]] * 2
    impostor = [[0, 0, 8, 8, 100]] * 2
    counts = data.hand_made(genuine, impostor, [8, 8], [0.1, 0.2, 0.3, 0.4, 0.5])
    found = consistency_of(counts, Calibration("distance", 0.2, 0.4), 1.0, 0.1)

    def chosen(prefer, least):
        given = {"max_far": None, "max_frr": None, "prefer": prefer, "beta": 1.0}
        bounds = SearchBounds(min_precision=least, prior=0.5)
        return recommend(counts, found, searching=bounds, **given)

    # Precision: none, 1, 0.83, 0.93, 0.5.
    assert chosen("low-frr", 0.9).threshold == 0.4
    assert chosen("low-frr", 0.9).interval == (0.4, 0.4)
    assert chosen("low-far", 0.9).interval == (0.2, 0.2)
    assert chosen("low-far", 0.8).interval == (0.2, 0.4)
    assert chosen("low-frr", 0.4).interval == (0.2, 0.5)


def test_a_bound_per_query_gets_the_best_threshold_there_is():
    """The threshold accepts as many impostors as the bound allows, and not one less."""
    vectors, labels = data.MADE["blobs"]
    for most in (0.05, 3.0):
        run = opis.evaluate(vectors, labels, max_false_accepts_per_query=most, prefer="low-frr")
        assert run.report.recommendation.accepted_impostors == int(most * len(labels) / 2)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"max_fpir": 0.1}, "give gallery"),
        ({"min_precision": 0.9}, "depends on the share of genuine pairs; give prior"),
        ({"max_false_accepts_per_query": 0.0}, "it must be finite and above 0"),
        ({"min_identification": 1.5}, "min_identification is 1.5; it must lie between 0 and 1"),
        ({"min_identification": 0.5, "confidence": 0.9}, "confidence holds max_far and max_frr"),
        (
            {"min_identification": 0.5, "max_far": 0.1, "max_frr": 0.1, "review": True},
            "goes by max_far and max_frr, not by min_identification",
        ),
        ({"min_identification": 0.5, "pairs": True}, "pairs have no searches"),
        ({"min_identification": 0.5, "prefer": "low-frr"}, "low-frr"),
        ({"max_false_accepts_per_query": 2.0, "prefer": "low-far"}, "low-far"),
    ],
)
def test_bounds_that_cannot_be_held_are_refused(given, says):
    with pytest.raises(SettingsError, match=says):
        opis.evaluate([[1.0, 0.0]], ["a"], **given)


def test_a_figure_that_is_undefined_bounds_nothing(search, tmp_path):
    vectors, labels = data.signs(60, 6, 32, seed=5)
    everyone = opis.evaluate(vectors[:30], labels[:30], gallery=(vectors[30:], labels[30:]))
    with pytest.raises(InputError, match="every query has a genuine gallery row"):
        everyone.recommend(max_fpir=0.1)
    old = opis.load_run("tests/runs/v4")
    with pytest.raises(InputError, match="an older opis counted this run"):
        old.recommend(min_identification=0.5)


@pytest.mark.parametrize(
    ("name", "figure"),
    [
        ("max_false_accepts_per_query", "false_accepts_per_query"),
        ("min_precision", "precision_at_prior"),
        ("min_identification", "identification"),
        ("max_fpir", "fpir"),
    ],
)
def test_the_gate_holds_a_figure_to_its_value(run, search, name, figure):
    judged = search if name == "max_fpir" else run
    value = getattr(judged.report.recommendation, figure)
    assert judged.gate(**{name: value}).passed
    beyond = np.nextafter(value, 100.0 if name.startswith("min") else 0.0)
    check = judged.gate(**{name: beyond}).checks[0]
    assert not check.passed and check.value == value
    # Between two thresholds of the grid the figure is the worse of the two.
    thresholds = judged.counts.grid.thresholds
    place = judged.counts.grid.index_at(judged.report.recommendation.threshold) + 1
    between = float(thresholds[place - 1 : place + 1].mean())
    sides = [
        judged.gate(**{name: value}, threshold=float(at)).checks[0].value
        for at in thresholds[place - 1 : place + 1]
    ]
    check = judged.gate(**{name: value}, threshold=between).checks[0]
    if name == "min_precision":
        assert check.value <= min(sides)
    else:
        assert check.value == (min(sides) if name.startswith("min") else max(sides))
    assert "counted beside the threshold" in check.remark


def test_a_gate_without_what_a_limit_needs_fails_and_says_so(search):
    check = search.gate(min_precision=0.1).checks[0]
    assert not check.passed and "evaluate with prior" in check.remark
