"""Any settings on any small input: a report that keeps its word, or a message; nothing else.

Vectors tie, repeat and stand alone; settings are drawn at random, impossible ones too. Either an
``OpisError`` says why there is no report, or the report obeys its schema, and what it says can be
true: rates that rise and fall as they must, counts that add up, intervals that hold their figures.
"""

import json
from importlib import resources

import jsonschema
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

import opis_cli as opis
from opis_cli import curves
from opis_cli.report_json import to_json

VALIDATOR = jsonschema.Draft202012Validator(
    json.loads((resources.files("opis_cli") / "report.schema.json").read_text())
)
RATE = st.sampled_from([0.001, 0.01, 0.1, 0.3, 0.7])


def spans(values):
    """Texts LOW..HIGH."""
    return st.lists(values, min_size=2, max_size=2, unique=True).map(
        lambda ends: "{}..{}".format(*sorted(ends))
    )


CALIBRATIONS = st.one_of(
    spans(st.sampled_from([0.001, 0.01, 0.1, 0.4, 0.9])).map(lambda text: f"far:{text}"),
    spans(st.sampled_from([0.01, 0.1, 0.4, 0.9])).map(lambda text: f"frr:{text}"),
    spans(st.sampled_from([0.0, 0.05, 0.3, 0.9, 1.5])).map(lambda text: f"distance:{text}"),
)
COMMON = {
    "calibration": CALIBRATIONS,
    "beta": st.sampled_from([0.5, 3.0, 1000.0]),
    "eps": st.sampled_from([0.01, 0.3, 0.99]),
    "max_far": RATE,
    "max_frr": RATE,
    "prefer": st.sampled_from(["utility", "low-far", "low-frr", "worst-classes"]),
    "threshold": st.sampled_from(["0", "0.2", "0.75", "1.9", "7"]),
    "on_bad_rows": st.just("drop"),
}
OF_VECTORS = {
    "metric": st.sampled_from(["euclidean", "cosine"]),
    "group_column": st.just("group"),
    "within_column": st.just("tenant"),
    "exclude_same": st.just("session"),
    "confidence": st.sampled_from([0.6, 0.95]),
    "folds": st.integers(2, 4),
    "max_pairs": st.just(1_000),
    "engine": st.just("numpy"),
}


@st.composite
def inputs(draw):
    """Vectors, labels and columns, perhaps a gallery; of few values, so that much is alike."""
    rows = draw(st.integers(1, 60))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    kind = draw(st.sampled_from(["whole", "normal", "near", "signs"]))
    dim = draw(st.integers(1, 6))
    classes = draw(st.integers(1, 20))
    labels = rng.integers(0, classes, rows)
    vectors = {
        "whole": lambda: rng.integers(0, 3, (rows, dim)),
        "normal": lambda: rng.normal(size=(classes, dim))[labels] + rng.normal(size=(rows, dim)),
        "near": lambda: 1 + 1e-7 * rng.integers(0, 3, (rows, dim)),
        "signs": lambda: 2 * rng.integers(0, 2, (rows, dim)) - 1,
    }[kind]().astype(draw(st.sampled_from([np.float32, np.float64])))
    copies = draw(st.integers(0, 3))
    vectors[rng.integers(0, rows, copies)] = vectors[0]
    columns = {name: rng.integers(0, 3, rows) for name in ("group", "tenant", "session")}
    return vectors, labels, columns


def some(options):
    """Some of the settings that there are, each by itself."""
    return st.fixed_dictionaries({}, optional=options)


def check(run):
    """What holds of every run, whatever it is of."""
    report, counts = run.report, run.counts
    text = to_json(report)  # refuses NaN and infinities
    VALIDATOR.validate(json.loads(text))
    far, frr = curves.pooled_far(counts), curves.pooled_frr(counts)
    assert np.all(np.diff(far) >= 0) and np.all(np.diff(frr) <= 0)
    assert far[-1] == 1 and frr[-1] == 0
    assert np.all(np.diff(counts.genuine.astype(np.int64)) >= 0)
    assert np.all(np.diff(counts.impostor.astype(np.int64)) >= 0)
    assert (report.pairs.genuine, report.pairs.impostor) == (
        counts.genuine_total,
        counts.impostor_total,
    )
    if counts.classes_are_units:
        at = counts.grid.by_class
        assert np.array_equal(counts.genuine.sum(axis=0), counts.pooled_genuine[at])
        assert np.array_equal(counts.impostor.sum(axis=0), 2 * counts.pooled_impostor[at])
    check_recommendation(report)
    check_intervals(report)
    run.classes(), run.classes(threshold=0.5), run.rates(0.5)
    for point in report.operating_points:
        assert point.threshold is None or point.achieved_far <= point.far


def check_recommendation(report):
    chosen = report.recommendation
    for rate, bound, upper in (
        (chosen.far, chosen.max_far, chosen.far_upper),
        (chosen.frr, chosen.max_frr, chosen.frr_upper),
    ):
        if rate is not None and bound is not None:
            assert rate <= (bound if upper is None else upper) <= bound
    if chosen.threshold is None:
        assert chosen.status == "infeasible" and chosen.interval is None
    else:
        assert chosen.interval[0] <= chosen.threshold <= chosen.interval[1]
        assert chosen.far == chosen.accepted_impostors / report.pairs.impostor
        assert chosen.frr == chosen.rejected_genuine / report.pairs.genuine


def check_intervals(report):
    found, chosen = report.intervals, report.recommendation
    if found is None:
        return
    for interval, value in (
        (found.opis, report.opis),
        (found.eps_opis, report.eps_opis.value),
        (found.far, chosen.far),
        (found.frr, chosen.frr),
        (found.class_mean_far, chosen.class_mean_far),
        (found.class_mean_frr, chosen.class_mean_frr),
        (found.mean_utility, chosen.mean_utility),
    ):
        if interval is not None:
            assert interval[0] - 1e-12 <= value <= interval[1] + 1e-12
    if found.threshold is not None:
        assert found.threshold[0] <= found.threshold[1]
    if report.opis_corrected is not None:
        low, high = report.opis_corrected.interval
        assert low <= report.opis_corrected.value <= high


def outcome(make):
    """The run, checked, or None where opis says why there is none."""
    try:
        run = make()
    except opis.OpisError as error:
        assert str(error)
        event(str(error)[:30])
        return None
    check(run)
    event("a report")
    return run


QUICK = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@QUICK
@given(inputs(), inputs(), st.booleans(), some(COMMON | OF_VECTORS))
def test_vectors(one, other, searched, asked):
    vectors, labels, columns = one
    gallery = None
    if searched and other[0].shape[1] == vectors.shape[1]:
        gallery = other
    outcome(lambda: opis.evaluate(vectors, labels, columns=columns, gallery=gallery, **asked))


