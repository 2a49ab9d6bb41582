"""Parse values that users write: calibration ranges, sizes, words, and plain types."""

import contextlib
import difflib
import numbers
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, cast, get_args, get_origin

from opis_cli.errors import SettingsError

Scale = Literal["distance", "similarity", "l2", "squared-l2", "score"]
"""Scales on which a threshold may be given.

They are the distance of the metric, the cosine similarity, the L2 distance and the squared
L2 distance of unit vectors, and the score or inner product.
"""
_SHORT = {
    "cosine_similarity": "similarity",
    "euclidean_unit": "l2",
    "squared_euclidean_unit": "squared-l2",
}
"""Short names of scales that have longer ones in a ``threshold.json``."""
_NUMBERS_AS_TEXT = ("threshold", "memory-limit", "memory_limit", "time-limit", "time_limit")
_SECONDS = {"": 1, "s": 1, "min": 60, "h": 3_600}


@dataclass(frozen=True, slots=True)
class Calibration:
    """The calibration range as the user wrote it.

    Attributes
    ----------
    by : {"far", "frr", "distance"}
        Quantity that the limits refer to: pooled FAR, pooled FRR, or distance.
    low, high : float
    """

    by: Literal["far", "frr", "distance"]
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.by}:{self.low!r}..{self.high!r}"

    @classmethod
    def parse(cls, text: str) -> "Calibration":
        """Read ``far:0.01..0.10``, ``frr:LOW..HIGH`` or ``distance:LOW..HIGH``."""
        match = re.fullmatch(r"\s*(far|frr|distance)\s*:\s*(\S+?)\s*\.\.\s*(\S+)\s*", text)
        try:
            if match is None:
                raise ValueError
            by, low, high = match[1], float(match[2]), float(match[3])
        except ValueError:
            raise SettingsError(
                f"--calibration {text!r} is not understood; write it as far:0.01..0.10, "
                "frr:0.01..0.10 or distance:0.3..0.5"
            ) from None
        if not low < high:
            raise SettingsError(f"--calibration {text}: the low end must be below the high end")
        if by != "distance" and not (low > 0 and high < 1):
            raise SettingsError(f"--calibration {text}: rates must lie between 0 and 1")
        if by == "distance" and not (low >= 0 and high < float("inf")):
            raise SettingsError(f"--calibration {text}: distances must be finite and not negative")
        return cls(by, low, high)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Costs:
    """What errors cost, in any unit, and how common genuine pairs are.

    Attributes
    ----------
    false_accept, false_reject : float
        Cost of an accepted impostor pair, and of a rejected genuine pair.
    review : float, optional
        Cost of a pair that a person reviews.
    prior : float
        Share of genuine pairs where the threshold will be used. It seldom is the share in the data.
    """

    false_accept: float
    false_reject: float
    review: float | None
    prior: float


SearchBound = Literal[
    "max_false_accepts_per_query", "max_fpir", "min_precision", "min_identification"
]


@dataclass(frozen=True, slots=True)
class SearchBounds:
    """Bounds on figures of searches. None: not given.

    Attributes
    ----------
    max_false_accepts_per_query : float, optional
    max_fpir, min_precision, min_identification : float, optional
        Shares.
    prior : float, optional
        Share of genuine pairs where the threshold will be used, for ``min_precision``.
    """

    max_false_accepts_per_query: float | None = None
    max_fpir: float | None = None
    min_precision: float | None = None
    min_identification: float | None = None
    prior: float | None = None

    @property
    def given(self) -> dict[SearchBound, float]:
        """The bounds that are given, by the names of their settings."""
        values = {name: getattr(self, name) for name in get_args(SearchBound)}
        return {name: value for name, value in values.items() if value is not None}


NO_SEARCH_BOUNDS = SearchBounds()


def option(field: str) -> str:
    """Return the command line's spelling of a setting."""
    return "--" + field.replace("_", "-")


def parse_size(text: str | None) -> int | None:
    """Return the number of bytes in a size: ``4GB``, ``500MB``, ``2GiB`` or a plain number."""
    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kKmMgGtT]?)(i?)[bB]?\s*", str(text))
    if match is None or float(match[1]) <= 0:
        raise SettingsError(f"--memory-limit {text!r} is not a size; write it as 4GB or 500MB")
    base = 1024 if match[3] else 1000
    return int(float(match[1]) * base ** " kmgt".index(match[2].lower() or " "))


def parse_seconds(text: str | None) -> float | None:
    """Return the number of seconds in a time: ``60s``, ``2min``, ``1h`` or a plain number."""
    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|min|h|)\s*", text)
    if match is None or float(match[1]) <= 0:
        raise SettingsError(f"--time-limit {text!r} is not a time; write it as 60s, 2min or 1h")
    return float(match[1]) * _SECONDS[match[2]]


def parse_whole(text: str) -> int:
    """Read a whole number, which may be written as ``2e9``.

    Raises
    ------
    ValueError
        It is none.
    """
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        number = Decimal("nan")
    if not number.is_finite() or number != number.to_integral_value() or number.adjusted() > 30:
        raise ValueError(f"{text!r} is no whole number, such as 2000000000 or 2e9")
    return int(number)


def parse_number(text: str) -> float:
    """Read a number, or a percentage such as ``1%``.

    Raises
    ------
    ValueError
        It is neither.
    """
    given = text.strip()
    try:
        return float(given[:-1]) / 100 if given.endswith("%") else float(given)
    except ValueError:
        raise ValueError(f"{text!r} is no number, such as 0.01 or 1%") from None


def on_named_scale(text: str) -> tuple[Scale, Decimal] | None:
    """Return the scale and the number of a threshold such as ``similarity:0.8``.

    The names of scales in a ``threshold.json`` (``cosine_similarity``) serve too. The result is
    None for any other text, as for a number alone.
    """
    scale, colon, digits = text.partition(":")
    scale = _SHORT.get(scale, scale)
    if not colon or scale not in get_args(Scale):
        return None
    try:
        number = Decimal(digits.strip())
    except InvalidOperation:
        return None
    return (cast(Scale, scale), number) if number.is_finite() else None


def is_number(text: str) -> bool:
    """Return whether a text is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def unknown(what: str, name: str, known: Iterable[str], each: str) -> str:
    """The words for a name that is not known, with the one that was perhaps meant."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    meant = f" (did you mean {near[0]!r}?)" if near else ""
    return f"unknown {what} {name!r}{meant}; the {each} are {', '.join(names)}"


def plain_value(value: Any, hint: Any, where: str) -> Any:
    """Convert a value to the plain type of its setting.

    Numbers of other libraries, such as NumPy, are accepted.

    Raises
    ------
    SettingsError
        The value has another type.
    """
    kinds = [kind for kind in (get_args(hint) or (hint,)) if isinstance(kind, type)]
    kinds += [str] if choices_of(hint) else []
    if (value is None and type(None) in kinds) or (isinstance(value, bool) and bool in kinds):
        return value
    if float in kinds and isinstance(value, str) and value.strip().endswith("%"):
        with contextlib.suppress(ValueError):
            return parse_number(value)
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        if float in kinds:
            try:
                return float(value)
            except OverflowError:
                raise SettingsError(f"{where} is larger than any float; give a number") from None
        if int in kinds and isinstance(value, numbers.Integral):
            return int(value)
        if int in kinds and float(value).is_integer():  # 2e9 is a float.
            return int(float(value))
        if where.endswith(_NUMBERS_AS_TEXT):
            return str(value)
    if str in kinds and isinstance(value, str | os.PathLike):
        return os.fspath(value)
    names = " or ".join(kind.__name__ for kind in kinds if kind is not type(None))
    raise SettingsError(f"{where} must be a {names}, not {value!r}")


def choices_of(hint: Any) -> tuple[str, ...]:
    """Return the words that a type allows. The result is empty if the type has no such list."""
    parts = (hint, *get_args(hint))
    return tuple(word for part in parts if get_origin(part) is Literal for word in get_args(part))
