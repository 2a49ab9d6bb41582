"""Read ``opis.toml``, and merge its settings with flags. A flag overrides the file."""

import dataclasses
import tomllib
from pathlib import Path
from typing import Any, get_type_hints

from opis_cli.errors import SettingsError
from opis_cli.settings import Settings
from opis_cli.values import plain_value

CONFIG_FILE = "opis.toml"


CONFIG_TABLES = ("gate",)


def load_config(path: Path | None) -> dict[str, Any]:
    """Read the named file, or ``opis.toml`` in the working directory if no file is named.

    Returns
    -------
    dict
        Settings by field name, and tables (``gate``) unchanged. Empty if no file is named and the
        working directory has no ``opis.toml``.

    Raises
    ------
    SettingsError
        The named file is missing, is not valid TOML, or has a key that opis does not know.
    """
    if path is None:
        path = Path(CONFIG_FILE)
        if not path.exists():
            return {}
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror}); check --config") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not valid TOML: {error}") from None
    hints = get_type_hints(Settings)
    config: dict[str, Any] = {}
    for key, value in raw.items():
        field = key.replace("-", "_")
        if key in CONFIG_TABLES and isinstance(value, dict):
            config[key] = value
        elif field in config:
            raise SettingsError(f"{path}: {key!r} is given twice")
        elif field in hints:
            config[field] = plain_value(value, hints[field], f"{path}: {key}")
        else:
            known = ", ".join(sorted(name.replace("_", "-") for name in hints))
            raise SettingsError(f"{path}: unknown key {key!r}; the keys are {known}")
    return config


def merge(config: dict[str, Any], flags: dict[str, Any]) -> Settings:
    """Return settings from a configuration file and flags. ``None`` means: flag not given."""
    names = {field.name for field in dataclasses.fields(Settings)}
    chosen = {key: value for key, value in config.items() if key in names}
    chosen |= {key: value for key, value in flags.items() if value is not None}
    unknown = sorted(set(chosen) - names)
    if unknown:
        raise SettingsError(
            f"unknown setting {unknown[0]!r}; the settings are {', '.join(sorted(names))}"
        )
    return Settings(**chosen)
