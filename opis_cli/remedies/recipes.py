"""The names of remedies: what each is made of, and which names are usable."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from opis_cli.errors import SettingsError

_NUMBERS: dict[str, tuple[type, float | None] | None] = {
    "centre": None,
    "abtt": (int, 1),
    "whiten": (float, None),
    "wccn": (float, None),
    "snorm": None,
    "asnorm": (int, 200),
    "csls": (int, 10),
    "fsn": (int, 20),
    "group": None,
}
"""For each kind of step, the type and the default of its number; None if it takes no number."""
TRANSFORMS = ("centre", "abtt", "whiten", "wccn")
"""Steps that change vectors. The others, normalisations, change the score of a pair."""
DEFAULT = (
    *("centre", "abtt:1", "whiten", "wccn", "asnorm:200", "csls:10", "fsn:20", "group"),
    *("centre+asnorm:200", "centre+csls:10"),
)
"""Remedies to try if the user names none. ``group`` is for rows that have groups."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a remedy.

    Attributes
    ----------
    kind : str
        ``centre``, ``abtt``, ``whiten``, ``wccn``, ``snorm``, ``asnorm``, ``csls``, ``fsn`` or
        ``group``.
    number : float, optional
        Its number: of directions, of cohort rows or of clusters, or the shrinkage of a covariance,
        from 0 to 1. None if the step has no number, or if the shrinkage is to be chosen.
    """

    kind: str
    number: float | None = None

    def __str__(self) -> str:
        return self.kind if self.number is None else f"{self.kind}:{self.number:g}"

    @property
    def is_transform(self) -> bool:
        """Whether the step changes vectors."""
        return self.kind in TRANSFORMS

    @property
    def whole_number(self) -> int:
        """The number of a step that counts something."""
        return int(self.number or 0)


Recipe = tuple[Step, ...]
"""The steps of a remedy, in order: transforms, and then at most one normalisation."""


def parse(name: str) -> Recipe:
    """Return the steps of a remedy by its name, such as ``centre+asnorm:200``.

    Raises
    ------
    SettingsError
        There is no such remedy.
    """
    recipe = tuple(_step(part, name) for part in name.split("+"))
    if not all(step.is_transform for step in recipe[:-1]):
        raise SettingsError(
            f"--try={name}: a score normalisation ({_listed(_NUMBERS.keys() - TRANSFORMS)}) is the "
            "last step of a chain"
        )
    return recipe


def name_of(recipe: Recipe) -> str:
    """Return the name of a remedy. ``parse`` returns its steps."""
    return "+".join(map(str, recipe))


def parse_all(names: str | Sequence[str]) -> list[str]:
    """Return the full names of remedies to try, each once, in the given order.

    Parameters
    ----------
    names : str, or sequence of str
        Names, or one text with commas between the names.

    Raises
    ------
    SettingsError
        A name is not usable, or there is none.
    """
    given = names.split(",") if isinstance(names, str) else list(names)
    found = [name.strip() for name in given if name.strip()]
    if not found:
        raise SettingsError("--try names no remedy; name some of " + _listed(_NUMBERS))
    return list(dict.fromkeys(name_of(parse(name)) for name in found))


def _step(text: str, name: str) -> Step:
    kind, colon, number = text.partition(":")
    if kind not in _NUMBERS:
        raise SettingsError(f"--try={name}: {kind!r} is no remedy; use {_listed(_NUMBERS)}")
    wanted = _NUMBERS[kind]
    if wanted is None:
        if colon:
            raise SettingsError(f"--try={name}: {kind} takes no number")
        return Step(kind)
    of, default = wanted
    if not colon:
        return Step(kind, default)
    try:
        value = of(number)
    except ValueError:
        value = -1
    if of is int and value < 1:
        raise SettingsError(f"--try={name}: {kind}:{number} needs a whole number of at least 1")
    if of is float and not 0 < value <= 1:
        raise SettingsError(
            f"--try={name}: {kind}:{number} needs a shrinkage above 0 and at most 1"
        )
    return Step(kind, value)


def _listed(words: Collection[str]) -> str:
    ordered = [word for word in _NUMBERS if word in words]
    return f"{', '.join(ordered[:-1])} or {ordered[-1]}"
