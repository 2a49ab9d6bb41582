"""Packed bits are told from numbers of eight bits, on real embeddings and made ones."""

import data
import numpy as np
import pytest

from opis_cli.embeddings.bits import look_packed, packed

REAL = {name: data.sample(name) for name in ("wordnet", "fonts_base", "fonts_tcm")}


def codes_of(name):
    vectors, labels = REAL[name]
    return vectors.astype(np.float64), np.unique(labels, return_inverse=True)[1]


def by_sign(vectors):
    return np.packbits(vectors > 0, axis=1)


def by_median(vectors):
    return np.packbits(vectors > np.median(vectors, axis=0), axis=1)


def by_random_planes(vectors):
    planes = np.random.default_rng(0).standard_normal((vectors.shape[1], 512))
    return np.packbits(vectors @ planes > 0, axis=1)


def signed_bytes(vectors):
    return (by_sign(vectors).astype(int) - 128).astype(np.int8)


@pytest.mark.parametrize("how", [by_sign, by_median, by_random_planes, signed_bytes])
@pytest.mark.parametrize("name", REAL)
def test_packed_bits_look_packed(name, how):
    vectors, labels = codes_of(name)
    assert look_packed(how(vectors), labels)


def scaled(vectors):
    return np.round(127 * vectors / np.abs(vectors).max()).astype(np.int8)


def scaled_by_dimension(vectors):
    low, high = vectors.min(axis=0), vectors.max(axis=0)
    return np.round(255 * (vectors - low) / (high - low)).astype(np.uint8)


def ranks(vectors):
    """Each byte is as frequent as any other, so that no single byte looks like a number."""
    order = np.argsort(np.argsort(vectors, axis=0), axis=0)
    return (order * 256 // len(vectors)).astype(np.uint8)


def clipped(vectors):
    return np.clip(np.round(127 * vectors / np.median(np.abs(vectors))), -127, 127).astype(np.int8)


def without_negatives(vectors):
    top = np.quantile(vectors, 0.99)
    return np.clip(np.round(255 * np.maximum(vectors, 0) / top), 0, 255).astype(np.uint8)


def small_numbers(vectors):
    return np.clip(np.round(8 * np.maximum(vectors, 0) / vectors.std()), 0, 255).astype(np.uint8)


def of_four_bits(vectors):
    low, high = np.quantile(vectors, [0.02, 0.98])
    nibbles = np.clip(np.round(15 * (vectors - low) / (high - low)), 0, 15).astype(np.uint8)
    return nibbles[:, ::2] * 16 + nibbles[:, 1::2]


@pytest.mark.parametrize(
    "how",
    [
        *(scaled, scaled_by_dimension, ranks, clipped, without_negatives, small_numbers),
        of_four_bits,
    ],
)
@pytest.mark.parametrize("name", REAL)
def test_quantised_numbers_do_not(name, how):
    vectors, labels = codes_of(name)
    assert not look_packed(how(vectors), labels)


@pytest.mark.parametrize("noise", [0.02, 0.1, 0.5, 2, 8, 20, 60])
def test_numbers_that_hardly_differ_within_a_class_do_not(noise):
    rng, labels = np.random.default_rng(0), np.arange(1_000) % 50
    vectors = rng.uniform(0, 255, (50, 64))[labels] + noise * rng.standard_normal((1_000, 64))
    assert not look_packed(np.clip(np.round(vectors), 0, 255).astype(np.uint8), labels)


def test_histograms_as_of_local_features_do_not():
    rng, labels = np.random.default_rng(0), np.arange(1_000) % 50
    shares = rng.dirichlet(np.full(128, 0.3), 50)
    counts = [rng.multinomial(2_000, rng.dirichlet(50 * shares[k] + 0.01)) for k in labels]
    assert not look_packed(np.clip(counts, 0, 255).astype(np.uint8), labels)


def test_copies_say_nothing():
    rng, labels = np.random.default_rng(0), np.arange(1_000) % 50
    assert not look_packed(rng.integers(0, 256, (50, 64), np.uint8)[labels], labels)


def test_bits_without_classes_and_few_bytes_are_not_told():
    rng, labels = np.random.default_rng(0), np.arange(1_000) % 50
    assert not look_packed(rng.integers(0, 256, (1_000, 64), np.uint8), labels)
    vectors, labels = codes_of("fonts_tcm")
    assert not look_packed(by_sign(vectors)[:, :7], labels)
    assert not look_packed(by_sign(vectors).astype(np.float32), labels)


def test_the_first_bit_is_the_highest_of_the_first_byte():
    vectors = np.array([[1, -1, -1, -1, -1, -1, -1, -1, 1, 1]], np.float16)
    found, bits, bits_of_number = packed(vectors, np.arange(1), "x")
    assert found.tolist() == [[0b10000000, 0b11000000]]
    assert (bits, bits_of_number) == (10, 1)
