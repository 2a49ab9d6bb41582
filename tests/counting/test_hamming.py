"""Hamming distances of bits: every engine counts as XOR and popcount do, with no rounding."""

import json

import data
import numpy as np
import pytest
from conftest import optional

import opis_cli as opis
from opis_cli.counting.count import count_pairs
from opis_cli.counting.sizes import SIZES, Sizes
from opis_cli.embeddings.clean import Reading, from_arrays
from opis_cli.errors import InputError, SettingsError
from opis_cli.settings import Settings

KERNELS = ["numpy", "numba", optional("torch")]
LARGE = Sizes(small_pairs=0)
SAMPLED = Sizes(small_pairs=0, exhaustive_pairs=0)


def codes(rows=400, classes=16, dim=96, *, seed=0):
    """Bits of classes that flip unlike often, packed: dim must be a multiple of 8."""
    signs, labels = data.signs(rows, classes, dim, seed=seed)
    return np.packbits(signs > 0, axis=1), labels


def differing_bits(packed):
    """Hamming distances of all two rows, by XOR of their bytes."""
    return np.unpackbits(packed[:, None] ^ packed[None, :], axis=2).sum(axis=2, dtype=np.int64)


def brute_force(packed, labels, thresholds):
    """Accepted pairs at each threshold: genuine and impostor, by class and pooled."""
    distance, count = differing_bits(packed), len(labels)
    upper = np.triu(np.ones((count, count), bool), 1)
    alike = labels[:, None] == labels[None, :]
    classes = np.unique(labels)
    genuine = np.zeros((len(classes), len(thresholds)), int)
    impostor, pooled = np.zeros_like(genuine), np.zeros((2, len(thresholds)), int)
    for column, threshold in enumerate(thresholds):
        accepted = (distance <= threshold) & upper
        pooled[:, column] = (accepted & alike).sum(), (accepted & ~alike).sum()
        ends = (accepted & ~alike).sum(axis=0) + (accepted & ~alike).sum(axis=1)
        within = (accepted & alike).sum(axis=0)
        for k, name in enumerate(classes):
            genuine[k, column] = within[labels == name].sum()
            impostor[k, column] = ends[labels == name].sum()
    return genuine, impostor, pooled


@pytest.mark.parametrize("sizes", [SIZES, LARGE, SAMPLED], ids=["dense", "coarse", "sampled"])
@pytest.mark.parametrize("engine", KERNELS)
def test_counts_equal_xor(engine, sizes):
    packed, labels = codes()
    packed[7], packed[8] = packed[0], packed[1]
    # A whole threshold, where pairs tie with it, stands beside 14.5 of the same counts.
    settings = Settings(metric="hamming", engine=engine, max_frr=0.2)
    counts = count_pairs(
        from_arrays(packed, labels, Reading.of(settings)), settings, deployed=14.0, sizes=sizes
    )
    grid = counts.grid
    genuine, impostor, pooled = brute_force(packed, labels, grid.thresholds)
    assert np.array_equal(counts.pooled_genuine, pooled[0])
    assert np.array_equal(counts.pooled_impostor, pooled[1])
    assert np.array_equal(counts.genuine, genuine[:, grid.by_class])
    assert np.array_equal(counts.impostor, impostor[:, grid.by_class])
    if sizes is not SIZES:
        assert np.array_equal(counts.genuine_beyond, genuine[:, grid.window :])
    assert counts.rounding == 0 and not counts.borderline_genuine.any()
    # Between all neighbours of the window lies one threshold, in the middle.
    window = grid.thresholds[: grid.window]
    assert window[0] == 0 and 14.0 in window
    middles = np.setdiff1d(window, [0.0, 14.0])
    assert np.array_equal(middles, np.arange(len(middles)) + 0.5)
    assert grid.thresholds[-1] == 96


@pytest.mark.parametrize("engine", KERNELS)
def test_recall_goes_to_the_lowest_row_of_a_tie(engine):
    packed, labels = codes(300, 12, 16, seed=3)
    distance = differing_bits(packed) * 1_000 + np.arange(300)  # ties: the lower row is nearer
    np.fill_diagonal(distance, 1 << 40)
    hits = labels[distance.argmin(axis=1)] == labels
    settings = Settings(metric="hamming", engine=engine, calibration="distance:2..12")
    counts = count_pairs(from_arrays(packed, labels, Reading.of(settings)), settings)
    assert np.array_equal(counts.nearest_hits, np.bincount(labels[hits], minlength=12))


def forms(packed):
    """The same codes in every form that people have."""
    bits = np.unpackbits(packed, axis=1)
    return {
        "packed": packed,
        "int8": packed.view(np.int8),  # as some APIs write packed bits
        "zeros and ones": bits,
        "booleans": bits.astype(bool),
        "integers": bits.astype(np.int64),
        "signs": 2.0 * bits - 1,
        "small signs": 2 * bits.astype(np.int8) - 1,
    }


@pytest.mark.parametrize("form", forms(np.zeros((1, 1), np.uint8)))
def test_every_form_of_bits_gives_the_same_figures(form):
    packed, labels = codes()
    run = opis.evaluate(forms(packed)[form], labels, metric="hamming")
    usual = opis.evaluate(packed, labels, metric="hamming")
    assert np.array_equal(run.counts.impostor, usual.counts.impostor)
    assert run.report.opis == usual.report.opis
    source = run.report.source
    assert (source.dim, source.bits_of_number) == (96, 8 if form in ("packed", "int8") else 1)


def test_a_number_of_bits_that_fills_no_byte():
    signs, labels = data.signs(200, 8, 37)
    run = opis.evaluate(signs > 0, labels, metric="hamming", calibration="distance:3..20")
    bits = (signs > 0).astype(int)
    distance = np.abs(bits[:, None] - bits[None, :]).sum(axis=2)[np.triu_indices(200, 1)]
    for threshold, accepted in zip(
        run.counts.grid.thresholds,
        run.counts.pooled_genuine + run.counts.pooled_impostor,
        strict=True,
    ):
        assert accepted == np.count_nonzero(distance <= threshold)
    assert run.report.source.dim == 37


def test_signs_are_judged_as_by_their_euclidean_distance():
    # |a - b|^2 = 4 h: both metrics accept the same pairs, in the same order.
    packed, labels = codes(500, 20, seed=2)
    signs = 2.0 * np.unpackbits(packed, axis=1) - 1
    asked = {"max_frr": 0.1, "prefer": "low-far"}
    hamming = opis.evaluate(packed, labels, metric="hamming", **asked).report
    euclidean = opis.evaluate(signs, labels, metric="euclidean", **asked).report
    one, two = hamming.recommendation, euclidean.recommendation
    assert (one.far, one.frr) == (two.far, two.frr)
    assert one.threshold % 1 == 0.5
    assert 4 * (one.threshold - 0.5) <= two.threshold**2 < 4 * (one.threshold + 0.5)
    assert (one.borderline.genuine, one.borderline.impostor) == (0, 0)
    assert hamming.recall_at_1 == euclidean.recall_at_1
    # No monotone change of the distances changes OPIS by log FAR.
    assert hamming.opis_by.log_far.opis == pytest.approx(euclidean.opis_by.log_far.opis, rel=1e-9)


def test_opis_by_unit_l2_has_the_scale_of_signs_of_unit_length():
    packed, labels = codes(500, 20, seed=2)
    unit = (2.0 * np.unpackbits(packed, axis=1) - 1) / np.sqrt(96)
    low, high = 10.0, 30.0
    hamming = opis.evaluate(packed, labels, metric="hamming", calibration=f"distance:{low}..{high}")
    span = f"distance:{np.sqrt(4 * low / 96)}..{np.sqrt(4 * high / 96)}"
    euclidean = opis.evaluate(unit, labels, metric="euclidean", calibration=span)
    found = hamming.report.opis_by.euclidean_unit
    # One uses the middle of each step of a curve, the other many points of it.
    assert found.opis == pytest.approx(euclidean.report.opis, rel=0.02)
    assert vars_of(hamming.report.recommendation.equivalents) == [None] * 4


def vars_of(record):
    return [getattr(record, name) for name in record.__dataclass_fields__]


def test_opis_is_the_integral_of_the_steps():
    packed, labels = codes(300, 10, seed=5)
    report = opis.evaluate(packed, labels, metric="hamming").report
    span = report.calibration_range
    fine = np.linspace(span.threshold_low, span.threshold_high, 20_001)
    fine = (fine[1:] + fine[:-1]) / 2
    whole, place = np.unique(np.floor(fine), return_inverse=True)
    genuine, impostor, _ = brute_force(packed, labels, whole)
    all_genuine, all_impostor, _ = brute_force(packed, labels, [96])
    sensitivity, specificity = genuine / all_genuine, 1 - impostor / all_impostor
    utility = (2 * sensitivity * specificity / (sensitivity + specificity))[:, place]
    expected = np.mean((utility - utility.mean(axis=0)) ** 2)
    assert report.opis == pytest.approx(expected, rel=1e-3)


def test_zero_vectors_are_codes_like_others():
    packed, labels = codes()
    packed[5] = 0
    assert opis.evaluate(packed, labels, metric="hamming").report.source.dropped_rows == 0


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.5, "row 17 (numbered from 0) holds 0.5"), (-1.0, "row 17 (numbered from 0) holds -1")],
)
def test_other_numbers_are_refused_with_their_row(value, words):
    packed, labels = codes()
    bits = np.unpackbits(packed, axis=1).astype(np.float32)
    bits[17, 3] = value
    with pytest.raises(InputError) as caught:
        opis.evaluate(bits, labels, metric="hamming")
    assert words in str(caught.value) and "metric cosine or euclidean" in str(caught.value)


def test_the_row_that_is_named_is_the_row_of_the_source():
    packed, labels = codes()
    bits = np.unpackbits(packed, axis=1).astype(np.float32)
    bits[3], bits[17, 3] = np.nan, 2
    with pytest.raises(InputError, match=r"row 17 \(numbered from 0\) holds 2"):
        opis.evaluate(bits, labels, metric="hamming", on_bad_rows="drop")


def test_more_bits_than_float32_counts_exactly_are_refused():
    vectors = np.zeros((3, (1 << 17) + 1), np.uint8)
    vectors[0] = 255
    with pytest.raises(InputError, match="1,048,584 bits; metric='hamming' takes up to 1,048"):
        opis.evaluate(vectors, [0, 0, 1], metric="hamming")


def test_many_bits_are_counted_exactly():
    rng = np.random.default_rng(0)
    centres = rng.integers(0, 256, (6, 16_384), np.uint8)
    labels = np.arange(60) % 6
    noise = rng.random((60, 16_384 * 8)) < rng.uniform(0.1, 0.4, 60)[:, None]
    packed = centres[labels] ^ np.packbits(noise, axis=1)
    run = opis.evaluate(packed, labels, metric="hamming", calibration="distance:20000..60000")
    distance = np.bitwise_xor(packed[:, None], packed[None, :])
    distance = np.unpackbits(distance, axis=2).sum(axis=2)[np.triu_indices(60, 1)]
    accepted = run.counts.pooled_genuine + run.counts.pooled_impostor
    expected = (distance[:, None] <= run.counts.grid.thresholds).sum(axis=0)
    assert np.array_equal(accepted, expected)


def test_memory_is_planned_for_unpacked_bits():
    packed, labels = codes(4_000, 40, 8_192)
    with pytest.raises(SettingsError, match=r"a bit takes 4 bytes while it is compared"):
        opis.evaluate(packed, labels, metric="hamming", memory_limit="300MB")


def test_a_threshold_file_goes_round(cli, tmp_path):
    packed, labels = codes()
    np.savez(tmp_path / "codes.npz", embeddings=packed, labels=labels)
    done = cli("evaluate", "codes.npz", "--metric", "hamming", "--out", "run")
    assert done.returncode == 0, done.stderr
    assert "400 rows x 96 bits (packed)" in done.stdout
    assert "DEPLOY  Hamming distance <= " in done.stdout
    rule = json.loads((tmp_path / "run" / "threshold.json").read_text())
    assert rule["metric"] == "hamming" and rule["accept"] == "distance <= threshold"
    assert rule["threshold"] % 1 == 0.5
    shown = " ".join(done.stdout.split())
    assert f"DEPLOY Hamming distance <= {rule['threshold']:g} wrong matches" in shown
    again = cli(
        *("evaluate", "codes.npz", "--metric", "hamming", "--out", "again"),
        *("--threshold", "run/threshold.json"),
    )
    assert again.returncode == 0, again.stderr
    deployed = json.loads((tmp_path / "again" / "report.json").read_text())["deployed"]
    assert (deployed["far"], deployed["frr"]) == (rule["far"], rule["frr"])
    other = cli("evaluate", "codes.npz", "--threshold", "run/threshold.json")
    assert other.returncode == 2 and "made for the hamming metric" in other.stderr
    for words in (
        ("recommend", "run", "--max-far", "0.05"),
        ("gate", "again", "--max-far", "0.5"),
        ("compare", "run", "again"),
        ("plot", "run", "-o", "x.svg"),
    ):
        done = cli(*words)
        assert done.returncode == 0, done.stderr
    margins = cli("margins", "run")
    assert margins.returncode == 2 and "these are Hamming distances" in margins.stderr


def test_a_whole_threshold_accepts_the_pairs_that_tie_with_it(cli, tmp_path):
    packed, labels = codes()
    np.savez(tmp_path / "codes.npz", embeddings=packed, labels=labels)
    done = cli("evaluate", "codes.npz", "--metric", "hamming", "--threshold", "14", "--json")
    deployed = json.loads(done.stdout)["deployed"]
    alike = labels[:, None] == labels[None, :]
    distance, upper = differing_bits(packed), np.triu(np.ones((400, 400), bool), 1)
    assert deployed["threshold"] == 14
    assert deployed["far"] == np.mean(distance[upper & ~alike] <= 14)
    assert deployed["frr"] == np.mean(distance[upper & alike] > 14)


def test_a_gallery_of_codes():
    packed, labels = codes()
    run = opis.evaluate(
        packed[:100], labels[:100], gallery=(packed[100:], labels[100:]), metric="hamming"
    )
    alike = labels[:100, None] == labels[None, 100:]
    distance = differing_bits(packed)[:100, 100:]
    for threshold, genuine, impostor in zip(
        run.counts.grid.thresholds,
        run.counts.pooled_genuine,
        run.counts.pooled_impostor,
        strict=True,
    ):
        assert genuine == np.count_nonzero(alike & (distance <= threshold))
        assert impostor == np.count_nonzero(~alike & (distance <= threshold))
