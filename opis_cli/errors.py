"""The errors that opis raises on purpose.

Each message says what is wrong, where it is wrong (file, column, row), and what to do next. The
command line prints only the message and ends with exit code 2. Most other exceptions are faults of
opis itself (exit code 70).

A message names options in one way: ``--max-far``, or ``--max-far=0.01`` with a value. The command
line shows this as a person types it, ``--max-far 0.01``. Python code that catches the error sees
the parameter instead, ``max_far=0.01``. Commands between backticks stay as they are.

Warnings and notes are stored as the command line shows them. ``for_python`` is for those that
Python code reads.
"""

import re

_OPTION = re.compile(
    r"`[^`]*`|(?<![\w-])--(?P<name>[a-z][\w-]*)(?:=(?P<value>[^\s,;)]*[^\s,;:.)]))?"
)
_PARAMETERS = {
    "class": "of_class",
    "force": "force=True",
    "higher-is-closer": "higher_is_closer=True",
    "lower-is-closer": "higher_is_closer=False",
    "review": "review=True",
    "size": "sizes",
    "twin": "twins",
}
"""Parameters of Python that are not the name of the option with underscores."""


class OpisError(Exception):
    """Base class of every error that a user can fix."""

    def __str__(self) -> str:
        """Return the message for Python code: it names parameters."""
        return for_python(super().__str__())

    @property
    def for_shell(self) -> str:
        """The message for the command line: it names options."""
        return _OPTION.sub(_typed, super().__str__())


def for_python(text: str) -> str:
    """Return a text with the parameters of Python in place of the options that it names."""
    return _OPTION.sub(_parameter, text)


def _parameter(found: re.Match[str]) -> str:
    name, value = found["name"], found["value"]
    if name is None:
        return found[0]
    parameter = _PARAMETERS.get(name, name.replace("-", "_"))
    if value is None:
        return parameter
    # A placeholder, such as FILE, and a number stand for themselves.
    plain = value.isupper() or value.replace(".", "", 1).isdigit()
    return f"{parameter}={value if plain else repr(value)}"


def _typed(found: re.Match[str]) -> str:
    return found[0] if found["value"] is None else f"--{found['name']} {found['value']}"


class SettingsError(OpisError):
    """An option or a key of ``opis.toml`` is not usable."""


class InputError(OpisError):
    """Embeddings, labels or the file they come from are not usable."""


class RunError(OpisError):
    """A run folder cannot be read or written."""


class MissingExtra(OpisError):
    """A feature needs a package from an optional part, and the package is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(
            f"{what} needs an optional part; install it with: pip install 'opis-cli[{extra}]'"
        )
