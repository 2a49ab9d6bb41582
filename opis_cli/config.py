"""Read ``opis.toml``, and merge its settings with flags. A flag overrides the file."""

import dataclasses
import tomllib
from pathlib import Path
from typing import Any, get_type_hints

from opis_cli.errors import SettingsError
from opis_cli.settings import ABOUT, Settings
from opis_cli.values import is_number, on_named_scale, plain_value, unknown

CONFIG_FILE = "opis.toml"
CONFIG_TABLES = ("gate",)
_GATE_PATHS = ("baseline", "threshold")


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
        raw = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror}); check --config") from None
    except (ValueError, RecursionError) as error:
        # Python also refuses numbers of thousands of digits, and deep nesting.
        raise SettingsError(f"{path}: not valid TOML: {error}") from None
    hints = get_type_hints(Settings)
    config: dict[str, Any] = {}
    for key, value in raw.items():
        field = key.replace("-", "_")
        if key in CONFIG_TABLES and isinstance(value, dict):
            paths = {name: _from_here(value[name], path) for name in _GATE_PATHS if name in value}
            config[key] = value | paths
        elif field in config:
            raise SettingsError(f"{path}: {key!r} is given twice")
        elif field in hints:
            plain = plain_value(value, hints[field], f"{path}: {key}")
            config[field] = _from_here(plain, path) if ABOUT[field].is_path else plain
        else:
            known = [name.replace("_", "-") for name in hints]
            raise SettingsError(f"{path}: {unknown('key', key, known, 'keys')}")
    return config


def _from_here(value: Any, file: Path) -> Any:
    """A path that a settings file names, from the folder of that file; other values as they are."""
    if not isinstance(value, str) or "://" in value or is_number(value) or on_named_scale(value):
        return value
    return str(file.parent / value)


def merge(config: dict[str, Any], flags: dict[str, Any]) -> Settings:
    """Return settings from a configuration file and flags. ``None`` means: flag not given."""
    names = {field.name for field in dataclasses.fields(Settings)}
    chosen = {key: value for key, value in config.items() if key in names}
    chosen |= {key: value for key, value in flags.items() if value is not None}
    for name in sorted(set(chosen) - names):
        raise SettingsError(unknown("setting", name, names, "settings"))
    return Settings(**chosen)
