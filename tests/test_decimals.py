"""Short decimals: few digits, the right ones, and printed whole."""

import math
from decimal import ROUND_CEILING, Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opis_cli import decimals
from opis_cli.counting.gaps import between, middle_of

finite = st.floats(-1e9, 1e9).filter(lambda x: x == 0 or abs(x) > 1e-12)


def digits(value: float) -> int:
    """Significant digits of the shortest decimal of a number."""
    return len(f"{value!r}".split("e")[0].replace("-", "").replace(".", "").strip("0"))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (8.25, 8.75, 8.5),
        (0.6525, 0.6575, 0.655),
        (8.5, 9.5, 9.0),
        (-8.75, -8.25, -8.5),
        (-0.1, 0.3, 0.0),
        (1_000_000.25, 1_000_000.75, 1_000_000.5),
        (0.96, 1.2, 1.0),
        (1.4e-7, 1.6e-7, 1.5e-7),
    ],
)
def test_the_shortest_decimal_of_an_interval(low, high, expected):
    assert decimals.shortest(low, high) == expected


@given(finite, finite)
def test_no_decimal_of_fewer_digits_lies_in_the_interval(one, other):
    low, high = min(one, other), max(one, other)
    found = decimals.shortest(low, high)
    assert low <= found <= high
    fewer = digits(found) - 1
    if low > 0 and fewer > 0:
        # The least number of fewer digits that is not below the interval lies above it.
        step = Decimal(10) ** (math.floor(math.log10(low)) - fewer + 1)
        assert (Decimal(low) / step).to_integral_value(ROUND_CEILING) * step > Decimal(high)


@given(st.floats(1e-12, 1e6))
def test_steps_are_one_or_five_times_a_power_of_ten(spacing):
    below, above = decimals.step_below(spacing), decimals.step_above(spacing)
    assert below <= spacing <= above * (1 + 1e-12)
    for step in (below, above):
        assert f"{step:.0e}"[0] in "15"
        assert float(f"{step:.0e}") == step
    assert above <= 5.01 * below


@given(st.lists(st.floats(0, 100), min_size=1), st.integers(1, 9), st.sampled_from([1, 5]))
def test_multiples_print_with_the_digits_of_their_step(values, places, first):
    step = float(f"{first}e-{places}")
    for way, nearest in ((0, 0.5), (1, 1), (-1, 1)):
        found = decimals.multiples(np.array(values), step, way)
        assert np.all(np.abs(found - values) <= nearest * step * (1 + 1e-6))
        for one in found.tolist():
            assert float(f"{one:.{places}f}") == one


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_printed_whole(value):
    assert float(decimals.text(value)) == value
    assert decimals.text(8.0) == "8"
    assert decimals.text(-0.0) == "0"


@pytest.mark.parametrize(
    ("value", "expected"), [(0.6737, 0.3263), (0.0, 1.0), (2.0, -1.0), (0.9, 0.1)]
)
def test_a_similarity_has_the_digits_of_its_distance(value, expected):
    assert decimals.complement(value) == expected


@given(finite, finite)
def test_a_threshold_between_two_distances_separates_them_in_both_precisions(one, other):
    low, high = min(one, other), max(one, other)
    rounded = np.float32(low), np.float32(high)
    if not rounded[0] < rounded[1]:
        return
    # Distances as float32 has them: exactly these can be told apart in either precision.
    for below, above in ((float(rounded[0]), float(rounded[1])), (low, high)):
        threshold = between(below, above)
        assert below <= threshold
        assert rounded[0] <= np.float32(threshold) < rounded[1]
        if np.float64(below) == rounded[0]:
            assert threshold < above


def test_a_threshold_lies_in_the_middle_half_of_a_gap():
    for low, high in ((8, 9), (0.65, 0.66), (-3, 17.5), (0, 1e-3)):
        quarter = (high - low) / 4
        assert low + quarter <= middle_of(low, high) <= high - quarter
    assert middle_of(8, 9) == 8.5


def test_beyond_all_distances_a_threshold_is_the_last_one_itself():
    assert between(0.9, math.inf) == 0.9
    assert between(-0.65, math.inf) == -0.65
