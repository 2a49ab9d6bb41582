"""Makes ``report.schema.json`` from the records: ``python tests/report/schema.py``.

Pydantic reads types and limits; descriptions are those of the records' docstrings, and of the
settings' declaration.
"""

import dataclasses
import inspect
import json
import re
import sys
import typing
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

import opis_cli
from opis_cli.report.records import SCHEMA_VERSION, Report
from opis_cli.settings import ABOUT, Settings

FILE = Path(opis_cli.__file__).parent / "report" / "report.schema.json"
ABOUT_ALL = (
    "report.json of a run: scores, settings and provenance. Rates and utilities are shares from 0 "
    "to 1; a null stands for what is undefined."
)


def schema() -> dict[str, Any]:
    """The JSON Schema of a report that this opis writes."""
    made = TypeAdapter(Report).json_schema(mode="serialization")
    described = made["$defs"] | {"Report": made}
    for record in records(Report):
        _describe(record, described[record.__name__])
    settings = TypeAdapter(Settings).json_schema(mode="serialization")
    for name, about in ABOUT.items():
        words = about.choices or ("its", "words")
        settings["properties"][name] |= {"description": about.help.format(choices=", ".join(words))}
    # Later versions may add settings.
    settings["required"] = sorted(settings["properties"])
    made["$defs"]["Settings"] = settings
    made["properties"]["settings"] |= {"$ref": "#/$defs/Settings"}
    for key in ("type", "additionalProperties"):
        made["properties"]["settings"].pop(key)
    made["properties"]["schema_version"]["const"] = SCHEMA_VERSION
    # An infeasible recommendation has no threshold.
    made["$defs"]["Recommendation"] |= {
        "if": {"properties": {"status": {"const": "infeasible"}}},
        "then": {"properties": dict.fromkeys(_OF_A_THRESHOLD + _PER_PAIR, {"type": "null"})},
        "else": {"properties": dict.fromkeys(_OF_A_THRESHOLD, {"not": {"type": "null"}})},
    }
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "opis report",
        "description": ABOUT_ALL,
    }
    return _untitled(head | {key: made[key] for key in made if key not in head})


_OF_A_THRESHOLD = ("threshold", "interval", "far", "frr", "accepted_impostors", "rejected_genuine")
_PER_PAIR = ("false_accepts_per_query", "precision")


def records(record: type) -> set[type]:
    """A record, and those that its fields hold."""
    found = {record}
    for hint in typing.get_type_hints(record).values():
        for part in _parts(hint):
            if dataclasses.is_dataclass(part):
                found |= records(part)
    return found


def _parts(hint: Any) -> list[Any]:
    return [hint, *(part for inner in typing.get_args(hint) for part in _parts(inner))]


def descriptions(record: type) -> dict[str, str]:
    """What the docstring of a record says of each of its attributes."""
    text = inspect.getdoc(record) or ""
    attributes = text.partition("\nAttributes\n----------\n")[2]
    found = re.findall(r"^(\w+) : .*\n((?:    .*\n?)+)", attributes, re.M)
    return {name: " ".join(body.split()) for name, body in found}


def _describe(record: type, made: dict[str, Any]) -> None:
    """Put descriptions into the schema of a record, and the keys that the file has."""
    said, properties = descriptions(record), made["properties"]
    for field in dataclasses.fields(record):
        own = properties.pop(field.name) | {"description": said[field.name]}
        properties[field.metadata.get("key", field.name)] = own
    made["description"] = " ".join((inspect.getdoc(record) or "").split("\n\n")[0].split())
    made["required"], made["additionalProperties"] = list(properties), False


def _untitled(made: Any) -> Any:
    """Without the titles that Pydantic makes of names, and without defaults: all is written."""
    if isinstance(made, list):
        return [_untitled(one) for one in made]
    if not isinstance(made, dict):
        return made
    return {
        key: _untitled(value)
        for key, value in made.items()
        if not (key == "title" and value != "opis report") and key != "default"
    }


def text() -> str:
    return json.dumps(schema(), indent=1) + "\n"


if __name__ == "__main__":
    sys.stdout.write(f"{FILE.name} written\n")
    FILE.write_text(text(), encoding="utf-8")
