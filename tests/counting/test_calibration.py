"""Which threshold a bound means, and which FARs the pairs can resolve."""

import numpy as np

from opis_cli.counting.calibration import first_within, is_supported, last_within


def test_a_bound_on_far_means_the_largest_threshold_that_meets_it():
    far = np.array([0.01, 0.1, 0.1, 0.5, 1.0])
    assert last_within(far, 0.1) == 2 and last_within(far, 0.3) == 2
    assert last_within(far, 0.01) == 0 and last_within(far, 0.009) is None
    assert last_within(far, 1.0) == 4


def test_a_bound_on_frr_means_the_smallest_threshold_that_meets_it():
    frr = np.array([1.0, 0.5, 0.1, 0.1, 0.0])
    assert first_within(frr, 0.1) == 2 and first_within(frr, 0.3) == 2
    assert first_within(frr, 0.09) == 4 and first_within(frr, 0.0) == 4


def test_a_far_is_resolved_by_three_pairs_and_not_by_fewer():
    """The rule of three: 300 pairs without an error show a FAR of at most 1 %."""
    assert is_supported(0.01, 300) and not is_supported(0.01, 299)
    assert is_supported(1e-3, 3_000) and not is_supported(1e-3, 2_999)
