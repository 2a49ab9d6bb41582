"""Margins for training: against brute force, against the loss itself, and what is said of them."""

import json
import textwrap
from importlib.util import find_spec

import data
import numpy as np
import oracle
import pytest

import opis_cli as opis
from opis_cli.errors import SettingsError

ROUNDING = 2e-6
BOUNDS = [(0.01, 0.1), (0.001, 0.02), (0.2, 0.4)]


def similarities(vectors, labels):
    """Cosine similarities of all pairs: genuine, impostor."""
    upper = np.triu_indices(len(labels), 1)
    found = 1 - oracle.distances(vectors, "cosine")[upper]
    alike = (labels[:, None] == labels[None, :])[upper]
    return found[alike], found[~alike]


def hard(gaps):
    """What a term is the mean of: the gaps that are not negative."""
    return gaps[gaps >= 0]


@pytest.mark.parametrize("name", data.MADE)
def test_terms_and_shares_equal_brute_force(name):
    vectors, labels = data.MADE[name]
    # Equal rows of two classes leave the lattice no low FAR.
    own = {"calibration": "distance:0.05..0.9"} if name == "lattice" else {}
    run = opis.evaluate(vectors, labels, **own)
    genuine, impostor = similarities(vectors, labels)
    for max_far, max_frr in BOUNDS:
        found = run.margins(max_far, max_frr)
        gaps, pairs = found.margin_plus - genuine, found.hard_genuine_pairs
        assert found.hard_genuine_share == pairs / len(genuine) <= max_frr
        check_term(gaps, pairs, found.loss_plus, found.loss_plus_resolution)
        if found.margin_minus is None:
            assert np.mean(impostor >= 1 - ROUNDING) > max_far
            continue
        gaps, pairs = impostor - found.margin_minus, found.hard_impostor_pairs
        assert found.hard_impostor_share == pairs / len(impostor) <= max_far
        check_term(gaps, pairs, found.loss_minus, found.loss_minus_resolution)


def check_term(gaps, pairs, loss, resolution):
    # Pairs on the margin, but for rounding, are hard or not; they add nothing to the sum.
    assert len(hard(gaps - ROUNDING)) <= pairs <= len(hard(gaps + ROUNDING))
    assert abs(hard(gaps).sum() - loss * pairs) <= (resolution + ROUNDING) * pairs


@pytest.mark.parametrize("name", ["wordnet", "fonts_tcm"])
def test_real_data_resolve_the_terms_to_one_percent(name):
    found = opis.evaluate(*data.sample(name)).margins()
    genuine, impostor = similarities(*data.sample(name))
    plus = hard(found.margin_plus - genuine).mean()
    minus = hard(impostor - found.margin_minus).mean()
    assert found.loss_plus == pytest.approx(plus, abs=found.loss_plus_resolution)
    assert found.loss_minus == pytest.approx(minus, abs=found.loss_minus_resolution)
    assert found.loss_plus_resolution < 0.01 * plus
    assert found.loss_minus_resolution < 0.01 * minus


@pytest.mark.optional
@pytest.mark.skipif(
    find_spec("pytorch_metric_learning") is None, reason="needs pip install 'opis-cli[train]'"
)
@pytest.mark.parametrize("bounds", BOUNDS)
def test_the_loss_itself_says_the_same(bounds):
    import torch
    from pytorch_metric_learning.losses import ThresholdConsistentMarginLoss

    vectors, labels = data.sample("fonts_tcm")
    vectors, labels = vectors[:640], labels[:640]
    found = opis.evaluate(vectors, labels).margins(*bounds)
    codes = torch.from_numpy(np.unique(labels, return_inverse=True)[1])
    for weights, value, resolution in (
        ((1.0, 0.0), found.loss_plus, found.loss_plus_resolution),
        ((0.0, 1.0), found.loss_minus, found.loss_minus_resolution),
    ):
        loss = ThresholdConsistentMarginLoss(*weights, found.margin_plus, found.margin_minus)
        theirs = float(loss(torch.from_numpy(vectors), codes))
        assert value == pytest.approx(theirs, abs=resolution + ROUNDING)


def test_margins_by_hand():
    """Similarities on a circle: genuine 0.6 and 0.8; impostors 0, 0.28, 0.96, and 0.8 and so on."""
    angles = np.arccos([1.0, 0.6]), np.array([np.pi, np.pi + np.arccos(0.8)])
    turns = np.concatenate(angles)
    vectors = np.stack([np.cos(turns), np.sin(turns)], axis=1)
    run = opis.evaluate(vectors, ["a", "a", "b", "b"], calibration="distance:0.1..1.9")
    found = run.margins(max_far=0.5, max_frr=0.5)
    # One of two genuine pairs may be rejected: the margin lies just below 0.8.
    assert found.margin_plus == pytest.approx(0.8, abs=1e-3)
    assert found.hard_genuine_pairs == 1
    assert found.loss_plus == pytest.approx(found.margin_plus - 0.6, abs=1e-3)
    # Impostors: -1, -0.8, -0.6 and cos(pi + acos 0.8 - acos 0.6) = -0.96.
    assert found.hard_impostor_pairs == 2
    assert found.loss_minus == pytest.approx(
        (-0.6 - 0.8 - 2 * found.margin_minus) / 2, abs=found.loss_minus_resolution
    )


@pytest.mark.parametrize("name", ["blobs", "long_tail", "narrow"])
def test_crossed_margins_are_what_recommend_calls_infeasible(name):
    run = opis.evaluate(*data.MADE[name])
    for bounds in [*BOUNDS, (0.05, 0.05)]:
        found = run.margins(*bounds)
        infeasible = run.recommend(*bounds).status == "infeasible"
        assert (found.margin_plus < found.margin_minus) == infeasible
        assert any("no threshold meets both" in note for note in found.notes) == infeasible


def test_euclidean_distances_of_unit_vectors_serve_and_of_others_do_not():
    vectors, labels = data.MADE["blobs"]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = opis.evaluate(unit, labels).margins()
    euclidean = opis.evaluate(unit, labels, metric="euclidean").margins()
    for name in ("margin_plus", "margin_minus", "hard_genuine_share", "loss_plus", "loss_minus"):
        assert getattr(euclidean, name) == pytest.approx(getattr(cosine, name), abs=2e-3)
    with pytest.raises(SettingsError, match="metric='cosine'"):
        opis.evaluate(vectors, labels, metric="euclidean").margins()


def test_equal_rows_of_two_classes_leave_no_negative_margin():
    vectors = np.repeat(np.eye(3), 20, axis=0)
    labels = np.tile([0, 1], 30)
    run = opis.evaluate(vectors, labels, calibration="distance:0.1..1.2")
    found = run.margins()
    assert found.margin_minus is found.loss_minus is found.hard_impostor_share is None
    assert any("duplicates" in note for note in found.notes)


def test_few_hard_pairs_are_said(small):
    notes = small.margins(max_far=1e-5).notes
    assert any("Few hard impostor pairs" in note for note in notes)
    assert not any("Few hard genuine" in note for note in notes)


def test_the_command(cli, saved):
    done = cli("margins", saved, "--max-frr", 0.2, "--json")
    found = json.loads(done.stdout)
    names = "margin_plus margin_minus hard_genuine_share hard_impostor_share loss_plus loss_minus"
    assert set(names.split()) < set(found)
    shown = cli("margins", saved, "--max-frr", 0.2)
    assert f"margin_plus={found['margin_plus']:.4f}" in shown.stdout
    compile(textwrap.dedent(shown.stdout.split("):\n")[1]), "snippet", "exec")
    assert "want tuning" in shown.stdout
    wrong = cli("margins", saved, "--max-far", 2)
    assert wrong.returncode == 2 and "--max-far is 2" in wrong.stderr
    assert cli("margins", saved / "none").returncode == 2
