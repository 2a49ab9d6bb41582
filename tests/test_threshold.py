"""A threshold file by itself: it accepts what was counted, on every scale, and its reader."""

import dataclasses
import json
import subprocess
import sys
from importlib import resources
from pathlib import Path

import data
import jsonschema
import numpy as np
import pytest
from test_architecture import HEAVY

import opis_cli as opis
from opis_cli import comparing as module
from opis_cli.embeddings.clean import from_arrays
from opis_cli.errors import InputError, RunError, SettingsError
from opis_cli.remedies.artefact import write_fitted
from opis_cli.remedies.fitted import fit
from opis_cli.remedies.folds import training_of, with_numbers
from opis_cli.remedies.recipes import parse
from opis_cli.report.threshold_file import read_threshold, write_threshold
from opis_cli.settings import Settings
from opis_cli.threshold import Threshold

SCHEMA = json.loads((resources.files("opis_cli.report") / "threshold.schema.json").read_text())


def file_of(folder, content):
    file = folder / "threshold.json"
    file.write_text(json.dumps(content))
    return file


def made(folder, threshold=0.5, metric="cosine", **others) -> Threshold:
    return opis.load_threshold(file_of(folder, {"threshold": threshold, "metric": metric} | others))


def bits():
    vectors, labels = data.signs(300, 12, 64, seed=2)
    return np.packbits(vectors > 0, axis=1), labels


INPUTS = {
    "cosine": lambda: data.MADE["blobs"],
    "euclidean": lambda: data.MADE["narrow"],
    "dot": lambda: data.MADE["duplicated"],
    "hamming": bits,
}


@pytest.fixture(scope="module", params=INPUTS)
def judged(request, tmp_path_factory):
    """A run, its vectors and labels, and its threshold as read from the file."""
    vectors, labels = INPUTS[request.param]()
    run = opis.evaluate(vectors, labels, metric=request.param, max_far=0.02)
    file = tmp_path_factory.mktemp("judged") / "threshold.json"
    write_threshold(run.report, run.report, file)
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(file.read_text()))
    return run, vectors, labels, opis.load_threshold(file)


def brute_force(one, two, metric):
    """The numbers of all pairs, as a person would compute them."""
    if metric == "hamming":
        return np.array([[np.unpackbits(a ^ b).sum() for b in two] for a in one])
    one, two = one.astype(np.float64), two.astype(np.float64)
    if metric == "dot":
        return one @ two.T
    if metric == "euclidean":
        return np.linalg.norm(one[:, None] - two[None], axis=2)
    lengths = np.linalg.norm(one, axis=1)[:, None] * np.linalg.norm(two, axis=1)
    return 1 - one @ two.T / lengths


def test_it_accepts_the_pairs_that_were_counted(judged):
    run, vectors, labels, rule = judged
    chosen, one, two = run.report.recommendation, *np.triu_indices(len(labels), 1)
    accepted, alike = rule.accept_all(vectors, vectors)[one, two], labels[one] == labels[two]
    near = chosen.borderline
    let_in, kept_out = np.count_nonzero(accepted & ~alike), np.count_nonzero(~accepted & alike)
    assert 0 <= chosen.accepted_impostors - let_in <= near.impostor < 20
    assert 0 <= kept_out - chosen.rejected_genuine <= near.genuine < 20
    some = np.random.default_rng(0).integers(0, len(one), 5_000)
    paired = rule.accept(vectors[one[some]], vectors[two[some]])
    assert np.array_equal(paired, accepted[some])


def test_a_number_is_that_of_the_metric(judged):
    _, vectors, _, rule = judged
    expected = brute_force(vectors[:40], vectors[40:70], rule.rule.metric)
    found = np.stack([rule.compare(row, vectors[40:70]) for row in vectors[:40]])
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    assert found[3, 4] == rule.compare(vectors[3], vectors[44])


def test_a_pair_and_all_pairs_are_compared_alike_in_tiles(judged, monkeypatch):
    _, vectors, _, rule = judged
    whole = rule.accept_all(vectors[:50], vectors[20:63])
    monkeypatch.setattr(module, "_SIDE", 8)
    monkeypatch.setattr(module, "_VALUES", 40)
    assert np.array_equal(rule.accept_all(vectors[:50], vectors[20:63]), whole)
    single = np.stack([rule.accept(vectors[20:63], row) for row in vectors[:50]])
    assert np.array_equal(single, whole) and 0 < whole.sum() < whole.size


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_equal_vectors_are_accepted_at_distance_zero(metric, tmp_path):
    rule = made(tmp_path, 0.0, metric)
    vectors = data.MADE["narrow"][0][:200] * np.float32(1e3)
    assert rule.accept(vectors, vectors).all()
    assert np.array_equal(rule.accept_all(vectors, vectors), np.eye(200, dtype=bool))


@pytest.mark.parametrize("higher", [True, False], ids=["score", "distance"])
def test_scores_are_accepted_as_they_were_counted(higher, tmp_path):
    import pandas as pd

    rng = np.random.default_rng(4)
    genuine = rng.random(4_000) < 0.3
    # Hundredths, so that many scores tie, and many are no number that float32 holds.
    scores = np.round(rng.normal(np.where(genuine, 2, 0) * (1 if higher else -1), 1), 2) + 9
    name = "score" if higher else "distance"
    pd.DataFrame({name: scores, "genuine": genuine}).to_parquet(tmp_path / "p.parquet")
    run = opis.evaluate(tmp_path / "p.parquet", pairs=True)
    run.save(tmp_path / "run")
    rule, chosen = opis.load_threshold(tmp_path / "run"), run.report.recommendation
    for given in (scores, scores.astype(np.float32)):
        accepted = rule.accept_scores(given)
        assert np.count_nonzero(accepted & ~genuine) == chosen.accepted_impostors
        assert np.count_nonzero(~accepted & genuine) == chosen.rejected_genuine
    with pytest.raises(SettingsError, match="use accept_scores"):
        rule.accept([[1.0]], [[1.0]])


COSINE = {
    "distance": 0.67374,
    "cosine_similarity": 0.32626,
    "euclidean_unit": 1.1608100,
    "squared_euclidean_unit": 1.34748,
}
UNIT = dict.fromkeys(("cosine_similarity", "euclidean_unit", "squared_euclidean_unit"), 0.5)


@pytest.mark.parametrize(
    ("metric", "threshold", "others", "limits"),
    [
        ("cosine", 0.67374, {}, COSINE),
        ("euclidean", 0.3, {}, {"distance": 0.3, "squared_distance": 0.09}),
        (
            "euclidean", 0.6, {"equivalents": UNIT | {"score": None}},
            {"distance": 0.6, "cosine_similarity": 0.82, "euclidean_unit": 0.6,
             "squared_euclidean_unit": 0.36, "squared_distance": 0.36},
        ),
        ("hamming", 8.5, {}, {"distance": 8.5}),
        ("distance", 0.7, {}, {"distance": 0.7}),
        ("score", 0.7, {}, {"distance": -0.7, "score": 0.7}),
        ("dot", 12.5, {}, {"distance": -12.5, "score": 12.5}),
    ],
)  # fmt: skip
def test_every_scale_has_the_same_threshold(metric, threshold, others, limits, tmp_path):
    rule = made(tmp_path, threshold, metric, **others)
    assert rule.limits == pytest.approx(limits, rel=1e-7) and set(rule.limits) == set(limits)
    for scale, limit in rule.limits.items():
        closer = 1 if scale in ("score", "cosine_similarity") else -1
        # The last number that is accepted, and the float32 numbers beside it.
        three = np.float32(limit) * np.ones(3, np.float32)
        three[0] = np.nextafter(three[0], np.float32(closer * np.inf))
        three[2] = np.nextafter(three[2], np.float32(-closer * np.inf))
        assert rule.accept_scores(three, scale).tolist() == [True, True, False], scale
        assert rule.accept_scores(limit, scale)
        assert rule.accept_scores(limit - closer * 1e-3, scale) == False  # noqa: E712


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_numbers_on_every_scale_have_the_same_likelihood_ratio(metric, tmp_path):
    line = {"method": "logistic", "slope": -7.0, "intercept": 3.0}
    same = {"equivalents": UNIT | {"score": None}}
    rule = made(tmp_path, 0.5, metric, llr=line, **same)
    a, b = np.array([[1.0, 0.0]]), np.array([[0.28, 0.96]])
    expected = 3 - 7 * (0.72 if metric == "cosine" else 1.2)
    scales = {
        "distance": rule.compare(a, b)[0],
        "cosine_similarity": 0.28,
        "euclidean_unit": 1.2,
        "squared_euclidean_unit": 1.44,
        "squared_distance": 1.44,
    }
    for scale in rule.limits:
        assert rule.llr(scales[scale], scale) == pytest.approx(expected), scale


def test_short_names_of_scales_serve_wherever_a_scale_is_named(tmp_path):
    rule = made(tmp_path, 0.5)
    for short, full in (
        ("similarity", "cosine_similarity"),
        ("l2", "euclidean_unit"),
        ("squared-l2", "squared_euclidean_unit"),
    ):
        limit = rule.limits[full]
        assert rule.accept_scores([limit], short) == rule.accept_scores([limit], full)
        for name in (short, full):
            at = read_threshold(f"{name}:{limit!r}", "cosine")
            assert at == pytest.approx(0.5, abs=1e-12)
    rule = made(tmp_path, 0.5, "euclidean")
    assert rule.accept_scores([0.5, 0.6], "l2").tolist() == [True, False]
    assert rule.accept_scores([0.25, 0.36], "squared-l2").tolist() == [True, False]


def test_likelihood_ratios_and_probabilities(tmp_path):
    line = made(tmp_path, 2.0, "score", llr={"method": "logistic", "slope": 2, "intercept": -4})
    assert line.llr([0, 2, 3.5]).tolist() == [-4, 0, 3]
    assert line.llr([0, -2], "distance").tolist() == [-4, 0]
    # Even odds before, and a likelihood ratio of 1.
    assert line.probability(2.0, prior=0.5) == 0.5
    # One in 1,000, and a likelihood ratio of e^3: odds of e^3 / 999.
    assert line.probability(3.5, prior=0.001) == pytest.approx(np.e**3 / (np.e**3 + 999))
    assert line.probability([1e6, -1e6], prior=0.5).tolist() == [1.0, 0.0]
    steps = {"method": "pav", "values": [0.1, 0.3, 0.5], "llrs": [4, 4, -2]}
    pav = made(tmp_path, 0.3, "distance", llr=steps)
    assert pav.llr([0.0, 0.2, 0.4, 9.0]) == pytest.approx([4, 4, 1, -2])
    for prior in (0, 1, -0.1, float("nan")):
        with pytest.raises(SettingsError, match="between 0 and 1"):
            line.probability(2.0, prior=prior)
    with pytest.raises(SettingsError, match="no map from scores"):
        made(tmp_path).llr(0.1)


@pytest.mark.parametrize(
    ("metric", "review", "numbers", "decisions"),
    [
        ("cosine", (0.2, 0.6), [0.1, 0.2, 0.4, 0.6, 0.7], "aarrx"),
        ("cosine", (None, 0.6), [0.0, 0.5, 0.7], "rrx"),
        ("cosine", (0.2, None), [0.1, 0.5, 1.9], "arr"),
        ("score", (7.5, 3.5), [8, 7.5, 5, 3.5, 3], "aarrx"),
        ("score", (7.5, 7.5), [8, 7.5, 7], "aax"),
        ("dot", (-3, None), [-2, -3, -9], "aar"),
    ],
)
def test_two_thresholds_leave_a_review_between(metric, review, numbers, decisions, tmp_path):
    ends = dict(zip(("accept_threshold", "refuse_threshold"), review, strict=True))
    rule = made(tmp_path, 0.5, metric, review=ends)
    found = rule.decide_scores(numbers)
    words = {"accept": "a", "review": "r", "refuse": "x"}
    assert "".join(words[word] for word in found) == decisions
    # The one threshold still stands.
    assert rule.accept_scores(0.5) and made(tmp_path, 0.5, metric).accept_scores(0.5)


def test_one_threshold_accepts_or_refuses(tmp_path):
    rule = made(tmp_path, 0.5)
    assert rule.decide_scores([0.4, 0.5, 0.6]).tolist() == ["accept", "accept", "refuse"]
    a, b = np.eye(2), np.array([[1.0, 0.0], [1.0, 0.0]])
    assert rule.decide(a, b).tolist() == ["accept", "refuse"]
    assert rule.decide(a[0], b[0]) == "accept" and rule.accept(a[0], b[0]).shape == ()
    assert repr(rule) == "<Threshold: cosine distance <= 0.5>"
    assert repr(made(tmp_path, 12, "dot")) == "<Threshold: inner product >= 12>"


GROUPS = {
    "column": "site", "max_far": 0.01, "across_groups": "the stricter",
}  # fmt: skip


@pytest.mark.parametrize("metric", ["cosine", "score"])
def test_thresholds_by_group(metric, tmp_path):
    """A pair within a group goes by its threshold, and one across groups by the stricter."""
    far, near, others = (0.6, 0.3, 0.5) if metric == "cosine" else (3, 6, 4)
    groups = GROUPS | {"thresholds": {"a": far, "7": near}, "other_groups": others}
    rule = made(tmp_path, 0.5, metric, groups=groups)
    left = np.array(["a", 7, "a", "new", None], object)
    right = np.array(["a", 7, 7, "a", "new"], object)
    expected = [far, near, near, others, others]
    beyond = 1e-3 * (1 if metric == "cosine" else -1)
    assert rule.accept_scores(expected, groups=(left, right)).all()
    assert not rule.accept_scores(np.array(expected) + beyond, groups=(left, right)).any()
    # One name for a whole side, and the other way round.
    assert rule.accept_scores([far, far], groups=("a", ["a", 7])).tolist() == [True, False]
    floats = np.array([7.0, np.nan])
    assert rule.accept_scores([near, others], groups=(floats, floats)).all()
    assert not rule.accept_scores(near + beyond, groups=(7.0, 7.0))
    words = rule.decide_scores([far, far], groups=(["a", 7], "a")).tolist()
    assert words == ["accept", "refuse"]
    if metric == "cosine":
        assert rule.accept_scores(1 - far, "cosine_similarity", groups=("a", "a"))
        angle = np.arccos(1 - 0.55)
        pair = [[1.0, 0.0]], [[np.cos(angle), np.sin(angle)]]
        assert rule.accept(*pair, groups=("a", "a")) and not rule.accept(*pair, groups=("a", 7))
        assert rule.decide(*pair, groups=("a", 7)) == "refuse"
    with pytest.raises(SettingsError, match="no thresholds by group"):
        made(tmp_path).accept_scores(0.1, groups=("a", "a"))


def fitted(folder, name, vectors, labels):
    """Write a remedy that is fitted on some rows, and return its folder."""
    training = training_of(from_arrays(vectors, labels), Settings(max_far=0.05))
    folder.mkdir()
    write_fitted(fit(with_numbers(parse(name), training), training), folder, {})
    return folder


@pytest.mark.parametrize("name", ["centre", "centre+asnorm:20"])
def test_vectors_are_compared_behind_the_remedy_of_the_threshold(name, tmp_path):
    vectors, labels = data.blobs(400, 12, spread=1.0)
    known, new = labels < 6, labels >= 6
    one = fitted(tmp_path / "one", name, vectors[known], labels[known])
    two = fitted(tmp_path / "two", name, vectors[:200], labels[:200])
    run = opis.evaluate(vectors[new], labels[new], remedy=one, max_far=0.05)
    run.save(tmp_path / "run")
    rule = opis.load_threshold(tmp_path / "run", remedy=one)
    vectors, labels = vectors[new], labels[new]
    left, right = np.triu_indices(len(labels), 1)
    chosen, alike = run.report.recommendation, labels[left] == labels[right]
    every, paired = rule.accept_all(vectors, vectors), rule.accept(vectors[left], vectors[right])
    for accepted in (every[left, right], paired):
        let_in = np.count_nonzero(accepted & ~alike)
        assert 0 <= chosen.accepted_impostors - let_in <= chosen.borderline.impostor < 5
    with pytest.raises(SettingsError, match="changed; give its folder: remedy=DIR"):
        opis.load_threshold(tmp_path / "run").accept(vectors, vectors)
    with pytest.raises(SettingsError, match="not of this remedy; it has another"):
        opis.load_threshold(tmp_path / "run", remedy=two)
    made(tmp_path)
    with pytest.raises(SettingsError, match="it has none"):
        opis.load_threshold(tmp_path, remedy=one)


def test_the_threshold_of_a_remedy_is_for_its_vectors(tmp_path):
    vectors, labels = data.blobs(120, 6)
    opis.remedy(vectors, labels, remedies="centre", folds=2).save(tmp_path / "one", choose="centre")
    with pytest.raises(SettingsError, match="the remedy 'centre' changed; give its folder"):
        opis.load_threshold(tmp_path / "one").accept(vectors, vectors)
    own = opis.load_threshold(tmp_path / "one", remedy=tmp_path / "one")
    assert own.accept(vectors, vectors).all()


def test_bits_are_read_in_every_form(tmp_path):
    rule = made(tmp_path, 8.5, "hamming")
    packed = np.random.default_rng(0).integers(0, 256, (20, 4), dtype=np.uint8)
    loose = np.unpackbits(packed, axis=1)
    expected = brute_force(packed[:10], packed[10:], "hamming") <= 8.5
    for form in (packed, packed.view(np.int8), loose, loose.astype(bool), 2.0 * loose - 1):
        assert np.array_equal(rule.accept_all(form[:10], form[10:]), expected)


def test_what_cannot_be_compared_is_refused(tmp_path):
    rule = made(tmp_path, 0.5)
    rows = np.ones((3, 2))
    for a, b, says in (
        (rows, np.ones((2, 2)), "a has 3 rows and b 2"),
        (rows, np.ones((3, 4)), "dimensions"),
        (rows, np.array([[0, 0]]), "1 vectors of .* norm zero"),
        (rows, np.array([[np.nan, 0]]), "1 vectors of NaN, inf"),
        (np.array([["x"]]), rows, "of type"),
        (np.ones((2, 2, 2)), rows, "shape"),
    ):
        with pytest.raises(InputError, match=says):
            rule.accept(a, b)
    with pytest.raises(InputError, match="1 of 2 scores are missing"):
        rule.accept_scores([0.1, np.nan])
    with pytest.raises(InputError, match="no numbers"):
        rule.accept_scores(["x"])
    with pytest.raises(SettingsError, match="did you mean 'cosine_similarity'"):
        rule.accept_scores(0.1, "cosine_similarty")
    with pytest.raises(SettingsError, match="metric 'cosine', which has distance and cosine"):
        rule.accept_scores(0.1, "squared_distance")
    with pytest.raises(SettingsError, match="take 9 bytes, and memory_limit is 8"):
        rule.accept_all(rows, rows, memory_limit=8)
    assert rule.accept(rows[:0], rows[:0]).shape == (0,)
    assert rule.accept_all(rows[:0], rows).shape == (0, 3)


OLD = sorted((Path(__file__).parent / "runs").iterdir())


@pytest.mark.parametrize("folder", OLD, ids=lambda folder: folder.name)
def test_the_file_of_an_old_run_is_read(folder):
    rule, report = opis.load_threshold(folder), opis.load_report(folder)
    assert rule.rule.distance == report.recommendation.threshold
    vectors, _ = data.signs(48, 6, 32, seed=1)
    accepted = np.count_nonzero(np.triu(rule.accept_all(vectors, vectors), 1))
    chosen = report.recommendation
    genuine = report.pairs.genuine - chosen.rejected_genuine
    assert accepted == chosen.accepted_impostors + genuine


def test_a_file_is_valid_by_its_schema_with_all_of_its_parts(tmp_path, saved):
    content = json.loads((saved / "threshold.json").read_text())
    content["review"] = {
        "accept_threshold": 0.1, "refuse_threshold": None,
        "refuse_equivalents": UNIT | {"score": None},
    }  # fmt: skip
    content["groups"] = GROUPS | {"thresholds": {"a": 0.3}, "other_groups": 0.2}
    content["llr"] = dict.fromkeys(("slope", "intercept")) | {
        "method": "pav", "values": [0.1], "llrs": [0.2],
    }  # fmt: skip
    validator = jsonschema.Draft202012Validator(SCHEMA)
    validator.validate(content)
    assert opis.load_threshold(file_of(tmp_path, content)).rule.llr.values == (0.1,)
    for change in ({"metric": "taxicab"}, {"far": 2}, {"schema_version": 2}, {"more": 1}):
        assert not validator.is_valid(content | change)


def test_the_schema_describes_the_record():
    from schema import descriptions, records

    from opis_cli.report.threshold_record import ThresholdFile

    for record in records(ThresholdFile):
        shown = SCHEMA if record is ThresholdFile else SCHEMA["$defs"][record.__name__]
        said = descriptions(record)
        assert list(shown["properties"]) == [field.name for field in dataclasses.fields(record)]
        assert {name: one["description"] for name, one in shown["properties"].items()} == said


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema_version": 2}, "newer opis .schema 2, this one reads up to 1.; upgrade"),
        ({"schema_version": 0}, "no threshold.json"),
        ({"schema_version": "1"}, "no threshold.json"),
        ({"threshold": None}, "no threshold.json"),
        ({"threshold": 2.5}, "no threshold.json"),
        ({"metric": "dot"}, "no threshold.json"),
        ({"metric": "taxicab"}, "no threshold.json"),
        ({"equivalents": [1]}, "no threshold.json"),
        ({"review": {"accept_threshold": 0.5, "refuse_threshold": 0.4}}, "no threshold.json"),
        ({"groups": GROUPS | {"thresholds": {"a": "x"}, "other_groups": 1}}, "no threshold.json"),
        ({"groups": GROUPS | {"thresholds": [], "other_groups": 1}}, "no threshold.json"),
        ({"llr": {"method": "logistic", "slope": 1.0}}, "no threshold.json"),
        ({"llr": {"method": "pav", "values": [1, 1], "llrs": [0, 0]}}, "no threshold.json"),
        ({"llr": {"method": "pav", "values": [1], "llrs": [0, 0]}}, "no threshold.json"),
        ({"llr": {"method": "pav", "values": [1], "llrs": [float("inf")]}}, "no threshold.json"),
    ],
)
def test_damaged_and_newer_files_are_refused(change, says, tmp_path):
    content = {"threshold": 0.5, "metric": "cosine", "accept": "distance <= threshold"}
    made(tmp_path, **content)
    with pytest.raises(RunError, match=says):
        made(tmp_path, **(content | change))


def test_a_missing_file_is_named(tmp_path):
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(RunError, match=r"none.json|threshold.json: cannot be read"):
            opis.load_threshold(path)
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe")
    with pytest.raises(RunError, match=r"no threshold\.json"):
        opis.load_threshold(tmp_path / "bytes.json")


def test_it_needs_nothing_heavier_than_numpy(tmp_path):
    made(tmp_path)
    code = (
        "import sys, opis_cli as opis\n"
        "rule = opis.load_threshold('threshold.json')\n"
        "assert rule.accept_all([[1.0, 0.0]], [[1.0, 0.1]]).all()\n"
        "assert rule.decide([[1.0, 0.0]], [[0.0, 1.0]]) == ['refuse']\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "['numpy']"
