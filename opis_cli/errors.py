"""The errors that opis raises on purpose.

Each message says what is wrong, where it is wrong (file, column, row), and what to do next. The
command line prints only the message and ends with exit code 2. Most other exceptions are faults of
opis itself (exit code 70).
"""


class OpisError(Exception):
    """Base class of every error that a user can fix."""


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
