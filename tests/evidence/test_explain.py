"""The evidence equals brute force in float64, under every protocol and by both engines."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from protocols import PROTOCOLS, Naive, rows_of

import opis_cli as opis
from opis_cli.evidence.chains import articulation_points
from opis_cli.pipeline import evaluate_embeddings
from opis_cli.report.asked import Asked
from opis_cli.report.explain import explain
from opis_cli.settings import Settings


@pytest.fixture(scope="module", params=PROTOCOLS)
def case(request):
    settings = Settings(**PROTOCOLS[request.param], max_far=0.05, engine="numpy")
    embeddings = rows_of(settings)
    run = evaluate_embeddings(embeddings, settings)
    return run, embeddings, Naive(embeddings, settings)


@pytest.fixture(scope="module", params=["numpy", "numba"])
def explained(case, request):
    run, embeddings, naive = case
    settings = run.report.settings | {"engine": request.param}
    run = dataclasses.replace(run, report=dataclasses.replace(run.report, settings=settings))
    return run, explain(run, embeddings, Asked(top=40, per_class_pair=2)), naive


def accepted(distance, evidence):
    return distance <= evidence.facts.threshold + 1e-6


def test_the_false_accepts_and_rejects_are_those_of_the_run(explained):
    run, evidence, naive = explained
    facts, chosen = evidence.facts, run.report.recommendation
    assert facts.false_accepts == chosen.accepted_impostors
    assert facts.false_rejects == chosen.rejected_genuine
    errors = [accepted(d, evidence) != naive.genuine(i, j) for i, j, d in naive.pairs]
    assert facts.false_accepts + facts.false_rejects == sum(errors)


@pytest.mark.parametrize("kind", ["false_accept", "false_reject"])
def test_the_hardest_pairs_are_the_first_of_all_sorted(explained, kind):
    _, evidence, naive = explained
    genuine, sign = kind == "false_reject", -1 if kind == "false_reject" else 1
    errors = [
        (sign * d, i, j)
        for i, j, d in naive.pairs
        if naive.genuine(i, j) == genuine and accepted(d, evidence) != genuine
    ]
    wanted, seen = [], {}
    for key, i, j in sorted(errors):
        classes = tuple(sorted((naive.labels[i], naive.labels[j])))
        seen[classes] = seen.get(classes, 0) + 1
        if seen[classes] <= 2 and len(wanted) < 40:
            wanted.append((i, j, sign * key))
    table = evidence.pairs[evidence.pairs["kind"] == kind]
    rows = evidence.rows
    place = {
        (bool(g), r): n for n, (g, r) in enumerate(zip(gallery(rows), rows["row"], strict=True))
    }
    both = "gallery" in rows
    found = [
        (place[False, a], place[both, b])
        for a, b in zip(table["row_a"], table["row_b"], strict=True)
    ]
    assert found == [(i, j) for i, j, _ in wanted]
    np.testing.assert_allclose(table["distance"], [d for *_, d in wanted], atol=1e-8)
    assert len(wanted) > 10


@pytest.mark.parametrize("protocol", ["groups", "a gallery with exclusions"])
@pytest.mark.parametrize("kind", ["false_accept", "false_reject"])
@pytest.mark.parametrize("held", [1, 1 << 22])
def test_pairs_of_a_group_are_the_first_of_all_sorted(protocol, kind, held, monkeypatch):
    monkeypatch.setattr("opis_cli.evidence.hardest._VALUES", held)
    given = PROTOCOLS[protocol] | {"group_column": "tenant"}
    settings = Settings(**given, max_far=0.05, engine="numpy")
    embeddings = rows_of(settings)
    run = evaluate_embeddings(embeddings, settings)
    evidence = explain(run, embeddings, Asked(top=12, per_class_pair=2, of_class="1"))
    naive, sign = Naive(embeddings, settings), -1 if kind == "false_reject" else 1
    tenants = embeddings.columns["tenant"].codes
    queries = len(tenants) - (embeddings.gallery_rows or 0)
    errors = [
        (sign * d, i, j)
        for i, j, d in naive.pairs
        if naive.genuine(i, j) == (sign < 0)
        and accepted(d, evidence) == (sign > 0)
        and (tenants[i] == 1 or (tenants[j] == 1 and j < queries))
    ]
    wanted, seen = [], {}
    for _, i, j in sorted(errors):
        classes = tuple(sorted((naive.labels[i], naive.labels[j])))
        seen[classes] = seen.get(classes, 0) + 1
        if seen[classes] <= 2 and len(wanted) < 12:
            wanted.append((embeddings.rows[i], embeddings.rows[j]))
    table = evidence.pairs[evidence.pairs["kind"] == kind]
    assert len(wanted) == 12
    assert list(zip(table["row_a"], table["row_b"], strict=True)) == wanted
    assert evidence.facts.group_column == "tenant" and table["tenant_a"].notna().all()


def gallery(rows: pd.DataFrame):
    return rows["gallery"] if "gallery" in rows else pd.Series(False, rows.index)


def test_confused_classes_have_all_their_pairs_and_the_least_distance(explained):
    _, evidence, naive = explained
    numbers, between, least = {}, {}, {}
    for i, j, d in naive.pairs:
        if naive.genuine(i, j):
            continue
        key = tuple(sorted((int(naive.labels[i]), int(naive.labels[j]))))
        between[key] = between.get(key, 0) + 1
        if accepted(d, evidence):
            numbers[key] = numbers.get(key, 0) + 1
            least[key] = min(least.get(key, np.inf), d)
    table = evidence.class_pairs[evidence.class_pairs["accepted"] > 0]
    keys = list(zip(table["class_a"], table["class_b"], strict=True))
    assert dict(zip(keys, table["accepted"], strict=True)) == numbers
    assert dict(zip(keys, table["pairs"], strict=True)) == {key: between[key] for key in keys}
    found = dict(zip(keys, table["least_distance"], strict=True))
    assert found == pytest.approx(least, abs=1e-8)
    assert evidence.facts.concentration.class_pairs == len(between)
    falling = np.cumsum(sorted(numbers.values(), reverse=True))
    assert evidence.facts.concentration.half == 1 + np.argmax(2 * falling >= falling[-1])
    assert table["accepted"].is_monotonic_decreasing


def test_each_row_has_its_nearest_rows(explained):
    _, evidence, naive = explained
    rows = evidence.rows
    nearest = {}
    for i, j, d in naive.pairs:
        for one, other in ((i, j), (j, i)):
            key = one, bool(naive.genuine(i, j))
            nearest[key] = min(nearest.get(key, (np.inf, 0)), (d, other))
    for genuine, name in ((True, "own"), (False, "other")):
        for row in range(len(rows)):
            distance, other = nearest.get((row, genuine), (None, None))
            if other is None:
                assert pd.isna(rows[f"{name}_row"][row])
                continue
            assert rows["row"][other] == rows[f"{name}_row"][row]
            assert rows[f"{name}_distance"][row] == pytest.approx(distance, abs=1e-8)
            if not genuine:
                assert rows["other_class"][row] == rows["class"][other]


def test_equal_rows_with_different_labels_are_named(explained):
    _, evidence, naive = explained
    equal = {(i, j) for i, j, d in naive.pairs if d == 0 and not naive.genuine(i, j)}
    found = evidence.facts.conflicts
    assert (found.conflicts > 0) == bool(equal)
    if equal:
        rows = {row for group in found.first for row in group.rows}
        assert {evidence.rows["row"][i] for pair in equal for i in pair} <= rows


def groups(count, edges):
    """The first row of each row's group, by plain spreading."""
    first = list(range(count))
    changed = True
    while changed:
        changed = False
        for i, j in edges:
            low = min(first[i], first[j])
            changed |= first[i] != low or first[j] != low
            first[i] = first[j] = low
    return np.array(first)


def test_chains_are_the_groups_that_accepted_pairs_join(explained):
    _, evidence, naive = explained
    chains = evidence.facts.chains
    edges = [(i, j) for i, j, d in naive.pairs if d <= chains.threshold + 1e-6]
    first = groups(len(naive.labels), edges)
    sizes = np.bincount(first)
    assert chains.groups == np.count_nonzero(sizes > 1)
    assert chains.largest_rows == sizes.max()
    assert 2 * chains.largest_rows <= len(naive.labels)
    found = evidence.components[evidence.components["kind"] == "chain"]
    assert sorted(found["rows"]) == sorted(sizes[sizes > 1])
    mixed = [len(set(naive.labels[first == one])) for one in np.flatnonzero(sizes > 1)]
    assert sorted(found["classes"]) == sorted(mixed)
    chain = evidence.rows["chain"].fillna(-1).to_numpy()
    for one in np.flatnonzero(sizes > 1):
        assert len(set(chain[first == one])) == 1
    articulation = 0
    largest = int(np.argmax(sizes))
    inside = [(i, j) for i, j in edges if first[i] == largest]
    members = np.flatnonzero(first == largest)
    for one in members:
        rest = [pair for pair in inside if one not in pair]
        left = groups(len(naive.labels), rest)[members[members != one]]
        articulation += len(set(left)) > 1
    assert chains.articulation_rows == articulation


def test_classes_that_fall_into_parts(explained):
    run, evidence, naive = explained
    edges = [(i, j) for i, j, d in naive.pairs if naive.genuine(i, j) and accepted(d, evidence)]
    first = groups(len(naive.labels), edges)
    tenant = np.zeros(len(first), int)
    if run.settings.within_column:
        tenant = np.arange(len(first)) // 60
    wanted = {}
    for unit in set(zip(naive.labels, tenant, strict=True)):
        mine = (naive.labels == unit[0]) & (tenant == unit[1])
        sizes = np.unique(first[mine], return_counts=True)[1]
        if len(sizes) > 1:
            wanted.setdefault(unit[0], []).extend(sizes.tolist())
    found = evidence.components[evidence.components["kind"] == "part"]
    got = {name: sorted(table["rows"]) for name, table in found.groupby("class")}
    assert got == {name: sorted(sizes) for name, sizes in wanted.items()}


def test_classes_that_may_be_one(explained):
    _, evidence, naive = explained
    within, between = {}, {}
    for i, j, d in naive.pairs:
        key = tuple(sorted((int(naive.labels[i]), int(naive.labels[j]))))
        (within if naive.genuine(i, j) else between).setdefault(key, []).append(d)
    mean = {key[0]: np.mean(d) for key, d in within.items()}
    wanted = {
        key
        for key, d in between.items()
        if np.mean(d) <= max(mean.get(key[0], -1), mean.get(key[1], -1)) + 1e-6
    }
    merge = evidence.class_pairs[evidence.class_pairs["suggestion"] == "merge"]
    assert set(zip(merge["class_a"], merge["class_b"], strict=True)) == wanted


def test_articulation_points_of_a_bridge_and_of_a_ring():
    assert articulation_points(np.array([5, 6, 7]), np.array([6, 7, 9])).tolist() == [6, 7]
    assert articulation_points(np.array([0, 1, 2]), np.array([1, 2, 0])).tolist() == []
    # Two rings that share row 2.
    one, two = np.array([0, 1, 2, 2, 3, 4]), np.array([1, 2, 0, 3, 4, 2])
    assert articulation_points(one, two).tolist() == [2]


@pytest.mark.parametrize("given", [None, "0", "0.40001"])
def test_what_if_has_the_rates_of_the_run_at_a_counted_threshold(case, given):
    run, embeddings, naive = case
    if given == "0.40001" and run.settings.metric != "cosine":
        pytest.skip("0.40001 lies between counted thresholds of these cosine distances")
    facts = explain(run, embeddings, Asked(given)).facts
    found, at = facts.what_if, facts.what_if.threshold
    grid = run.counts.grid.thresholds
    assert at == grid[grid >= facts.threshold][0]
    genuine = [d for i, j, d in naive.pairs if naive.genuine(i, j)]
    impostor = [d for i, j, d in naive.pairs if not naive.genuine(i, j)]
    assert found.now.far == pytest.approx(np.mean(np.array(impostor) <= at + 1e-6))
    assert found.now.frr == pytest.approx(np.mean(np.array(genuine) > at + 1e-6))


def test_only_pairs_of_a_tenant_tell_whether_classes_are_one():
    # Each class stands at two places far apart, a tenant at each. The rows of a are 2 apart, and
    # 1 from those of b. From those of c they are 2.001 on average, which is a little too much.
    place = {"a": (0.0, 2.0), "b": (1.0, 1.0), "c": (3.001, 3.001), "d": (12.0, 14.0)}
    rows = [(name, far, x + far) for name in place for far in (0.0, 30.0) for x in place[name]]
    labels, tenants, xs = (np.array(values) for values in zip(*rows, strict=True))
    run = opis.evaluate(
        np.stack([xs, np.zeros(len(xs))], axis=1),
        labels,
        columns={"tenant": tenants},
        within_column="tenant",
        metric="euclidean",
        calibration="distance:1..20",
        max_far=0.5,
    )
    table = run.explain().class_pairs
    merge = table[table["suggestion"] == "merge"]
    assert list(zip(merge["class_a"], merge["class_b"], strict=True)) == [("a", "b")]


def test_classes_are_compared_in_parts_of_any_size(monkeypatch):
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 40, 300)
    run = opis.evaluate(rng.normal(size=(40, 6))[labels] + 0.9 * rng.normal(size=(300, 6)), labels)
    whole = run.explain().class_pairs
    monkeypatch.setattr("opis_cli.evidence.merges._VALUES", 400)
    pd.testing.assert_frame_equal(run.explain().class_pairs, whole)
    assert (whole["suggestion"] == "merge").sum() > 20
