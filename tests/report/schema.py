"""Makes ``report.schema.json`` and ``threshold.schema.json`` from the records:
``python tests/report/schema.py``.

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
from opis_cli.report.threshold_record import THRESHOLD_VERSION, ThresholdFile
from opis_cli.settings import ABOUT, Settings

FOLDER = Path(opis_cli.__file__).parent / "report"
TITLES = ("opis report", "opis threshold")
ABOUT_ALL = (
    "report.json of a run: scores, settings and provenance. Rates and utilities are shares from 0 "
    "to 1; a null stands for what is undefined."
)


ABOUT_THRESHOLD = (
    "threshold.json: the threshold to deploy. Rates are shares from 0 to 1; a null stands for what "
    "was not asked for."
)


def schema() -> dict[str, Any]:
    """The JSON Schema of a report that this opis writes."""
    made = _of_records(Report, SCHEMA_VERSION)
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
    # An infeasible recommendation has no threshold.
    made["$defs"]["Recommendation"] |= {
        "if": {"properties": {"status": {"const": "infeasible"}}},
        "then": {"properties": {name: {"type": "null"} for name in _OF_A_THRESHOLD + _PER_PAIR}},
        "else": {"properties": {name: {"not": {"type": "null"}} for name in _OF_A_THRESHOLD}},
    }
    return _headed(made, TITLES[0], ABOUT_ALL)


def threshold_schema() -> dict[str, Any]:
    """The JSON Schema of a ``threshold.json`` that this opis writes."""
    made = _of_records(ThresholdFile, THRESHOLD_VERSION)
    return _headed(made, TITLES[1], ABOUT_THRESHOLD)


def _of_records(record: type, version: int) -> dict[str, Any]:
    """The schema of a record and of those in it, as files of a version have them."""
    made = TypeAdapter(record).json_schema(mode="serialization")
    described = made.get("$defs", {}) | {record.__name__: made}
    for one in records(record):
        _describe(one, described[one.__name__])
    made["properties"]["schema_version"]["const"] = version
    return made


def _headed(made: dict[str, Any], title: str, about: str) -> dict[str, Any]:
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "description": about,
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
        if not (key == "title" and value not in TITLES) and key != "default"
    }


FILES = {"report.schema.json": schema, "threshold.schema.json": threshold_schema}


if __name__ == "__main__":
    for name, make in FILES.items():
        (FOLDER / name).write_text(json.dumps(make(), indent=1) + "\n", encoding="utf-8")
        sys.stdout.write(f"{name} written\n")
