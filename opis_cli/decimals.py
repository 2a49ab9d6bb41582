"""Short decimals: numbers that a person can copy, and that mean just what they show.

A threshold is printed whole. So it is chosen with as few digits as its purpose allows, and a digit
more only where fewer would not tell it from its neighbours.
"""

import math
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from opis_cli.records import Floats

_MOST_DIGITS = 17
"""Significant digits that tell any two float64 apart."""


def step_below(spacing: float) -> float:
    """The largest of 1 and 5 times a power of ten that is at most a spacing.

    Each of these steps is a multiple of every smaller one.
    """
    power = 10.0 ** math.floor(math.log10(spacing))
    # Divided rather than multiplied, powers of ten below 1 are the nearest float64.
    step = 1 / round(1 / power) if power < 1 else power
    return 5 * step if 5 * step <= spacing else step


def step_above(spacing: float) -> float:
    """The smallest of 1 and 5 times a power of ten that is at least a spacing."""
    step = step_below(spacing)
    # Five times 1 is 5, and five times 5 is more than 10.
    return step if step >= spacing else step_below(5.001 * step)


def multiples(values: "Floats | float", step: float, way: int = 0) -> "NDArray[np.float64]":
    """The nearest multiples of a step of ``step_below``; the next one up or down for +1 or -1.

    They are the float64 nearest to the decimal, so that they print with its digits alone.
    """
    import numpy as np

    rounded = {0: np.rint, 1: np.ceil, -1: np.floor}[way](np.asarray(values) / step)
    if step >= 1:
        return np.asarray(rounded * step)
    return np.asarray(rounded / round(1 / step))


def shortest(low: float, high: float) -> float:
    """The decimal of fewest digits in ``[low, high]``; of several, the one nearest to the middle.

    Where a float64 has no shorter form, ``low`` itself.
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
        # The middle's nearest multiple lies outside only where all others do too.
        if low <= found <= high:
            return found
    return low


def significant(value: float, digits: int = 8) -> float:
    """A number rounded to so many significant digits."""
    return float(f"{value:.{digits - 1}e}")


def complement(value: float) -> float:
    """1 less a number, in its decimals: 0.33 for 0.67."""
    return float(1 - Decimal(repr(float(value))))


def text(value: float) -> str:
    """All digits of a number, and no more than it takes to read the same number again."""
    whole = repr(float(value) + 0.0)
    return whole.removesuffix(".0")
