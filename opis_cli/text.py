"""Format numbers and untrusted names for people."""

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import TYPE_CHECKING, TypeVar

from opis_cli import decimals

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Threshold = TypeVar("Threshold", float, "NDArray[np.float64]")

SCORED = ("distance", "score")
"""Metrics of scored pairs, which are scales of the user's own."""
SIMILARITIES = ("dot", "score")
"""Metrics in which a larger number is closer. As a distance, opis takes its negative."""
PAIR_SCALES = (
    *("distance", "score", "cosine_similarity"),
    *("euclidean_unit", "squared_euclidean_unit", "squared_distance"),
)
"""What a number of a pair can be; ``opis_cli.scoring.scales`` defines each."""
CLOSER_ABOVE = ("score", "cosine_similarity")
"""Scales on which a larger number is a closer pair."""
_CONTROL = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
# A dot before a letter could be part of an address, which some renderers turn into a link.
_MARKUP = re.compile(r"""[\\`*_{}\[\]<>()#!|&~@:/$"'^=]|\.(?=[^\W\d])""")
_CONTROL_BUT_JOINERS = re.compile(f"(?![\u200c\u200d]){_CONTROL.pattern}")


def human_count(value: float) -> str:
    """Return a count with a unit: ``1.2 M`` for 1,234,567."""
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.1f} {unit}"
    return f"{value:.0f}"


def duration(seconds: float) -> str:
    """Return a time with a unit and two digits: ``12 s``, ``50 min``, ``2.5 h``, ``3 days``."""
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 1.5 * size:
            return f"{_two_digits(seconds / size)} {unit}"
    return f"{_two_digits(seconds)} s"


def _two_digits(value: float) -> str:
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"


def first_of(numbers: Iterable[int], total: int) -> str:
    """Return the first of ``total`` row numbers as text, with dots behind if there are more."""
    named = [str(number) for number in numbers]
    return ", ".join(named + ["..."] * (total > len(named)))


def rate(value: float | None) -> str:
    """Return a share in percent with three significant digits, or a dash for None."""
    if value is None:
        return "–"
    percent = 100 * value
    if percent == 0 or percent >= 100:
        return f"{percent:.0f} %"
    return f"{percent:.3g} %" if percent >= 1e-4 else f"{percent:.1e} %"


def span(rates: tuple[float, float]) -> str:
    """Return an interval of rates in percent, with two significant digits at each end."""
    low, high = (f"{100 * end:.2g}" if end < 0.995 else f"{100 * end:.0f}" for end in rates)
    return f"{low} to {high} %"


def number(value: float | None, digits: int = 4) -> str:
    """Return a number with ``digits`` significant digits, or a dash for None."""
    return "–" if value is None else f"{value:.{digits}g}"


def written_out(value: float, digits: int) -> str:
    """Return a number with significant digits and without an exponent: ``0.0000768``."""
    text = f"{value:.{digits}g}"
    return f"{Decimal(text):f}" if "e" in text and abs(value) < 1 else text


def scale(metric: str) -> str:
    """Return the name of a metric's scale: ``cosine distance``, ``inner product``, ``score``."""
    if metric in SCORED:
        return metric
    return {"hamming": "Hamming distance", "dot": "inner product"}.get(metric, f"{metric} distance")


def shown(threshold: float, metric: str) -> str:
    """Return all digits of a threshold on the user's scale (see ``as_known``)."""
    return decimals.text(as_known(threshold, metric))


def as_known(threshold: Threshold, metric: str) -> Threshold:
    """Return a threshold, or an array of thresholds, on the user's scale.

    A similarity is the negative of its distance.
    """
    return 0.0 - threshold if metric in SIMILARITIES else threshold


def on_scale(threshold: float, metric: str) -> str:
    """Return a threshold with the name of its scale: ``cosine distance 0.25``."""
    return f"{scale(metric)} {shown(threshold, metric)}"


def rule(threshold: float, metric: str) -> str:
    """Return the rule that accepts a pair: ``cosine distance <= 0.25``."""
    return f"{scale(metric)} {'>=' if metric in SIMILARITIES else '<='} {shown(threshold, metric)}"


def plain(name: object, width: int = 40, *, joiners: bool = False) -> str:
    """Return a name from the data on one line and at most ``width`` characters long.

    Control characters and characters that change the direction of writing are replaced. The joiner
    and the non-joiner, which some scripts and emoji need, are kept if ``joiners``: a browser shows
    them right, a terminal may not.
    """
    text = (_CONTROL_BUT_JOINERS if joiners else _CONTROL).sub("�", str(name))
    return text if len(text) <= width else text[: width - 1] + "…"


def in_markdown(text: str) -> str:
    """Replace every character that could be markup in Markdown by a character reference."""
    return _MARKUP.sub(lambda found: f"&#{ord(found[0])};", text)
