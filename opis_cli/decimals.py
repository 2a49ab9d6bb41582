"""Short decimals. A person can copy such a number without loss.

opis prints every digit of a threshold. For this reason it chooses thresholds with as few digits as
their purpose allows. It adds a digit only if the threshold would otherwise equal a neighbour.
"""

import math
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from opis_cli.records import Floats

_MOST_DIGITS = 17
"""Number of significant digits that distinguishes any two float64 values."""


def step_below(spacing: float) -> float:
    """Return the largest step that is at most ``spacing``.

    A step is 1 or 5 times a power of ten. Each step is a multiple of every smaller step.
    """
    power = 10.0 ** math.floor(math.log10(spacing))
    # The division gives the float64 that is nearest to the power of ten. A product may not.
    step = 1 / round(1 / power) if power < 1 else power
    return 5 * step if 5 * step <= spacing else step


def step_above(spacing: float) -> float:
    """Return the smallest step that is at least ``spacing``: 1 or 5 times a power of ten."""
    step = step_below(spacing)
    # The next step after 1 is 5 times larger. The next step after 5 is 2 times larger (10), and
    # `step_below` rounds 25 down to 10.
    return step if step >= spacing else step_below(5.001 * step)


def multiples(values: "Floats | float", step: float, way: int = 0) -> "NDArray[np.float64]":
    """Round values to multiples of a step that ``step_below`` returned.

    Each result is the float64 nearest to the decimal number, so it prints with the digits of that
    decimal only.

    Parameters
    ----------
    values : array-like
    step : float
    way : {0, 1, -1}
        0 rounds to the nearest multiple, 1 rounds up, -1 rounds down.
    """
    import numpy as np

    rounded = {0: np.rint, 1: np.ceil, -1: np.floor}[way](np.asarray(values) / step)
    if step >= 1:
        return np.asarray(rounded * step)
    return np.asarray(rounded / round(1 / step))


def shortest(low: float, high: float) -> float:
    """Return the decimal with the fewest digits in ``[low, high]``.

    If several decimals have as few digits, the result is the one nearest to the middle. If no
    shorter decimal lies in the range, the result is ``low``.
    """
    if low <= 0 <= high:
        return 0.0
    if low < 0:
        return -shortest(-high, -low)
    middle = low + (high - low) / 2
    largest = math.floor(math.log10(high))
    for power in range(largest, largest - _MOST_DIGITS - 1, -1):
        number = round(middle / 10.0**power if power >= 0 else middle * 10.0**-power)
        found = float(f"{number}e{power}")
        # If the multiple nearest to the middle lies outside, all other multiples do too.
        if low <= found <= high:
            return found
    return low


def significant(value: float, digits: int = 8) -> float:
    """Round a number to ``digits`` significant digits."""
    return float(f"{value:.{digits - 1}e}")


def complement(value: float) -> float:
    """Return ``1 - value`` in decimal arithmetic: 0.33 for 0.67."""
    return float(1 - Decimal(repr(float(value))))


def text(value: float) -> str:
    """Return the shortest text from which Python reads the same number again."""
    whole = repr(float(value) + 0.0)
    return whole.removesuffix(".0")
