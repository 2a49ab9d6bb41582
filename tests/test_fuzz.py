"""Any settings on any small input: a report that keeps its word, or a message; nothing else.

Vectors tie, repeat and stand alone; settings are drawn at random, impossible ones too. Either an
``OpisError`` says why there is no report, or the report obeys its schema, and what it says can be
true: rates that rise and fall as they must, counts that add up, intervals that hold their figures.
"""

import json
from importlib import resources

import forked
import jsonschema
import numpy as np
import pandas as pd
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

import opis_cli as opis
from opis_cli.report.report_json import to_json

VALIDATOR = jsonschema.Draft202012Validator(
    json.loads((resources.files("opis_cli.report") / "report.schema.json").read_text())
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
CHOICES = st.one_of(
    st.fixed_dictionaries({}, optional={"max_far": RATE, "max_frr": RATE}),
    st.fixed_dictionaries({"max_far": RATE, "prefer": st.just("low-frr")}),
    st.fixed_dictionaries({"max_frr": RATE, "prefer": st.just("low-far")}),
    st.fixed_dictionaries({"max_far": RATE, "prefer": st.just("worst-classes")}),
)
OTHERS = {
    "calibration": CALIBRATIONS,
    "beta": st.sampled_from([0.5, 3.0, 1000.0]),
    "eps": st.sampled_from([0.01, 0.3, 0.99]),
    "threshold": st.sampled_from(["0", "0.2", "0.75", "1.9", "7"]),
}
MODES = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"confidence": st.sampled_from([0.6, 0.95])}),
    st.fixed_dictionaries({"folds": st.integers(2, 4)}),
    st.just({"max_pairs": 1_000}),
    st.just({"group_column": "group"}),
    st.just({"within_column": "tenant"}),
    st.just({"exclude_same": "session"}),
    st.just({"group_column": "group", "within_column": "tenant", "exclude_same": "session"}),
    st.just({"folds": 2, "group_column": "group"}),
)


@st.composite
def inputs(draw):
    """Vectors, labels and columns, perhaps a gallery; of few values, so that much is alike."""
    rows = draw(st.one_of(st.integers(20, 60), st.integers(1, 60)))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    kind = draw(st.sampled_from(["whole", "normal", "near", "signs"]))
    dim = draw(st.integers(1, 6))
    classes = draw(st.integers(1, max(rows // 3, 1)))
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


@st.composite
def asked(draw):
    """Settings; in most examples those that go together."""
    chosen = draw(st.fixed_dictionaries({}, optional=OTHERS)) | draw(CHOICES) | draw(MODES)
    # Of so few pairs a range of rates can seldom be resolved.
    chosen.setdefault("calibration", draw(st.sampled_from(["distance:0.1..0.9", "far:0.05..0.5"])))
    return chosen


def check(run):
    """What holds of every run, whatever it is of."""
    report, counts = run.report, run.counts
    text = to_json(report)  # refuses NaN and infinities
    VALIDATOR.validate(json.loads(text))
    far, frr = counts.pooled_far, counts.pooled_frr
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
    """Check the run that there is; opis says why where there is none."""
    try:
        run = make()
    except opis.OpisError as error:
        assert str(error)
        event("refused")
    else:
        event("a report")
        check(run)


QUICK = settings(max_examples=70, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@QUICK
@given(inputs(), st.booleans(), asked(), st.sampled_from(["cosine", "cosine", "euclidean"]))
def test_vectors(rows, searched, chosen, metric):
    vectors, labels, columns = rows
    gallery = None
    if searched and len(vectors) > 8 and not {"confidence", "folds", "max_pairs"} & set(chosen):
        cut = len(vectors) // 3
        gallery = vectors[cut:], labels[cut:], {name: c[cut:] for name, c in columns.items()}
        vectors, labels = vectors[:cut], labels[:cut]
        columns = {name: column[:cut] for name, column in columns.items()}
    outcome(
        lambda: opis.evaluate(
            vectors,
            labels,
            columns=columns,
            gallery=gallery,
            metric=metric,
            engine="numpy",
            on_bad_rows="drop",
            **chosen,
        )
    )


@st.composite
def scored(draw):
    """Pairs with scores of few values, some without one."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    pairs = draw(st.integers(1, 200))
    genuine = rng.random(pairs) < draw(st.sampled_from([0.0, 0.1, 0.5]))
    scores = (genuine + rng.normal(0, draw(st.sampled_from([0.3, 1.0])), pairs)) * draw(
        st.sampled_from([1, -1, 1e6, 1e-6])
    )
    table = pd.DataFrame({"score": scores.round(draw(st.integers(0, 8))), "genuine": genuine})
    for side in ("left", "right"):
        table[side] = rng.choice(["a", "b", "c", "d"], pairs)
    return table


@QUICK
@given(
    scored(),
    st.fixed_dictionaries(
        {},
        optional=OTHERS
        | {
            "group_column": st.sampled_from(["left", "left,right"]),
            "higher_is_closer": st.booleans(),
        },
    ),
    CHOICES,
)
def test_scored_pairs(tmp_path_factory, table, other, choice):
    path = tmp_path_factory.mktemp("fuzz", numbered=True) / "pairs.parquet"
    table.to_parquet(path)
    chosen = {"calibration": "far:0.05..0.5"} | other | choice
    outcome(lambda: opis.evaluate(path, pairs=True, **chosen))


@settings(max_examples=2, deadline=None)
@given(inputs(), asked())
def test_the_command_ends_with_0_or_2(tmp_path_factory, rows, chosen):
    folder = tmp_path_factory.mktemp("fuzz", numbered=True)
    vectors, labels, columns = rows
    table = pd.DataFrame({"embedding": list(vectors), "label": labels} | columns)
    table.to_parquet(folder / "x.parquet")
    words = ["evaluate", "x.parquet", "--json", "--out", "run", "--engine", "numpy"]
    for name, value in chosen.items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    done = forked.opis(*words, cwd=folder)
    assert done.returncode in (0, 2), done.stderr
    if done.returncode:
        assert done.stdout == "" and "Traceback" not in done.stderr and done.stderr
        assert not (folder / "run").exists()
    else:
        VALIDATOR.validate(json.loads(done.stdout))
        judged = forked.opis("gate", "run", "--max-frr", "0.1", cwd=folder)
        assert judged.returncode in (0, 1), judged.stderr
