"""Write records as JSON, and read reports."""

import dataclasses
import json
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

from opis_cli.errors import RunError
from opis_cli.report.records import SCHEMA_VERSION, Report

REPORT_FILE = "report.json"

T = TypeVar("T")


def to_dict(record: Any) -> Any:
    """Return the plain JSON values of a record, with the keys of the files."""
    if dataclasses.is_dataclass(record):
        return {
            field.metadata.get("key", field.name): to_dict(getattr(record, field.name))
            for field in dataclasses.fields(record)
        }
    if isinstance(record, dict):
        return {key: to_dict(value) for key, value in record.items()}
    if isinstance(record, list | tuple):
        return [to_dict(item) for item in record]
    return record


def to_json(record: Any) -> str:
    """Return a record as JSON text.

    Raises
    ------
    ValueError
        The record has a NaN or an infinity, which is a fault of opis.
    """
    return json.dumps(to_dict(record), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def from_json(kind: type[T], text: str) -> T:
    """Return the record of a type that a JSON text holds.

    Raises
    ------
    ValueError, KeyError, TypeError, RecursionError
        The text is not such a record.
    """
    record: T = _record(kind, json.loads(text, parse_constant=_refuse_constant))
    return record


def of_version(
    kind: type[T], text: str, where: str | Path, latest: int, unversioned: int | None = None
) -> T:
    """Return the record of a type that a JSON text with the key ``schema_version`` holds.

    Parameters
    ----------
    kind : type
    text : str
    where : str or Path
        Name of the file, for errors.
    latest : int
        The latest version that this opis reads.
    unversioned : int, optional
        Version of texts without the key. By default they are damaged.

    Raises
    ------
    RunError
        A newer opis wrote it.
    ValueError, KeyError, TypeError, RecursionError
        The text is not such a record.
    """
    raw = json.loads(text, parse_constant=_refuse_constant)
    if not isinstance(raw, dict):
        raise TypeError("no object")
    version = raw.get("schema_version", unversioned)
    if type(version) is not int or version < 1:
        raise ValueError(f"schema_version is {version!r}")
    if version > latest:
        raise RunError(
            f"{where}: written by a newer opis (schema {version}, this one reads up to {latest}); "
            "upgrade opis-cli"
        )
    record: T = _record(kind, raw)
    return record


def load_report(path: str | Path) -> Report:
    """Read a report from a run folder or a ``report.json``.

    Raises
    ------
    RunError
        The report is missing or damaged, or a newer opis wrote it.
    """
    path = Path(path)
    file = path / REPORT_FILE if path.is_dir() else path
    try:
        return of_version(Report, file.read_text(encoding="utf-8"), file, SCHEMA_VERSION)
    except OSError as error:
        raise RunError(
            f"{file}: cannot be read ({error.strerror}); is this a run folder?"
        ) from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RunError(f"{file}: damaged report ({error!r}); evaluate the source again") from None


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


_JSON_TYPES = {float: (float, int), int: (int,), str: (str,), bool: (bool,)}


def _record(hint: Any, value: Any) -> Any:
    """Return the value of the type that a hint describes, from plain JSON values."""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        hints = typing.get_type_hints(hint)
        names = {
            f.name: f.metadata.get("key", f.name)
            for f in dataclasses.fields(hint)
            # Older reports lack fields that were added later. These have defaults.
            if f.default is dataclasses.MISSING or f.metadata.get("key", f.name) in value
        }
        return hint(**{name: _record(hints[name], value[key]) for name, key in names.items()})
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in args:
            return None
        kinds = [arg for arg in args if arg is not type(None)]
        return _record(next((kind for kind in kinds if kind is type(value)), kinds[0]), value)
    if origin is typing.Literal and value not in args:
        raise ValueError(f"{value!r} is none of {args}")
    if origin is tuple:
        if not isinstance(value, list) or (args[-1] is not ... and len(value) != len(args)):
            raise TypeError(f"{value!r} is no list of the right length")
        return tuple(_record(args[0], item) for item in value)
    if origin is dict and not isinstance(value, dict):
        raise TypeError(f"{value!r} is no object")
    if hint in _JSON_TYPES and type(value) not in _JSON_TYPES[hint]:
        raise TypeError(f"{value!r} is no {hint.__name__}")
    return value
