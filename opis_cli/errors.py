"""The errors that opis raises on purpose.

Each says what is wrong, where (file, column, row), and what to do next. The command line prints
the message alone and ends with exit code 2; anything else that is raised is a fault of ours (70).
"""


class OpisError(Exception):
    """Base of every error that a user can mend."""


class SettingsError(OpisError):
    """An option, or a key of ``opis.toml``, is not usable."""


class InputError(OpisError):
    """Embeddings, labels or the file they come from are not usable."""


class RunError(OpisError):
    """A run folder cannot be read or written."""


class MissingExtra(OpisError):
    """Something needs a package of an optional part that is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(
            f"{what} needs an optional part; install it with: pip install 'opis-cli[{extra}]'"
        )
