"""report.json: valid by the shipped schema, the same after a round trip, refused when damaged."""

import dataclasses
import json
import typing
from importlib import resources

import data
import jsonschema
import numpy as np
import pytest
import schema

import opis_cli as opis
from opis_cli.report import records as rep
from opis_cli.report.report_json import to_json

SCHEMA = json.loads((resources.files("opis_cli.report") / "report.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

CASES = {
    "feasible": lambda: opis.evaluate(*data.MADE["blobs"], max_far=0.05, max_frr=0.9),
    "infeasible": lambda: opis.evaluate(*data.MADE["blobs"], max_far=1e-3, max_frr=1e-3),
    "one_evaluable": lambda: opis.evaluate(data.blobs(30, 3)[0], [0] * 10 + list(range(1, 21))),
    "euclidean": lambda: opis.evaluate(*data.MADE["blobs"], metric="euclidean"),
    "deployed": lambda: opis.evaluate(*data.MADE["blobs"], threshold="0.3"),
    "no_threshold_at_all": lambda: opis.evaluate(
        np.repeat(data.blobs(10, 3)[0], 10, axis=0),
        np.tile(np.arange(10), 10),
        calibration="distance:0.1..0.9",
        max_far=1e-3,
    ),
    "text_labels": lambda: opis.evaluate(
        data.MADE["blobs"][0], [f"<b>{label}" for label in data.MADE["blobs"][1]]
    ),
}


@pytest.fixture(scope="module", params=CASES)
def report(request):
    return CASES[request.param]().report


def test_valid_by_the_schema(report):
    VALIDATOR.validate(json.loads(to_json(report)))


def test_the_same_after_a_round_trip(report, tmp_path):
    file = tmp_path / "report.json"
    file.write_text(to_json(report))
    assert opis.load_report(file) == report
    assert to_json(opis.load_report(file)) == to_json(report)


def test_a_report_of_an_older_opis_loads(report, tmp_path):
    raw = json.loads(to_json(report))
    del raw["opis_by"]
    if raw["deployed"] is not None:
        del raw["deployed"]["worst_classes"]
    for key in ("far_accepted", "opis", "eps_opis"):
        del raw["intervals"]["effective_classes"][key]
    if raw["opis_corrected"] is not None:
        del raw["opis_corrected"]["effective_classes"]
    (tmp_path / "report.json").write_text(json.dumps(raw))
    loaded = opis.load_report(tmp_path)
    assert loaded.opis_by is None and loaded.opis == report.opis
    assert loaded.intervals.effective_classes.opis is None
    assert loaded.intervals.effective_classes.far == report.intervals.effective_classes.far


def test_the_schema_names_every_field_and_no_other():
    def compare(hint, schema):
        while "$ref" in schema:
            schema = SCHEMA["$defs"][schema["$ref"].rsplit("/", 1)[1]]
        for option in schema.get("anyOf", schema.get("oneOf", [])):
            if option.get("type") != "null":
                return compare(hint, option)
        hint = next((a for a in typing.get_args(hint) if a is not type(None)), hint)
        if "items" in schema:
            return compare(hint, schema["items"])
        if dataclasses.is_dataclass(hint):
            names = {f.metadata.get("key", f.name): f.name for f in dataclasses.fields(hint)}
            assert set(schema["properties"]) == set(names) == set(schema["required"])
            assert schema["additionalProperties"] is False
            hints = typing.get_type_hints(hint)
            for key, name in names.items():
                compare(hints[name], schema["properties"][key])
        return None

    compare(rep.Report, SCHEMA)


def test_the_schema_says_of_every_field_what_its_record_says():
    """It is made by ``python tests/report/schema.py``; forms of other releases of Pydantic serve."""
    for record in schema.records(rep.Report):
        made = SCHEMA if record is rep.Report else SCHEMA["$defs"][record.__name__]
        said = schema.descriptions(record)
        for field in dataclasses.fields(record):
            shown = made["properties"][field.metadata.get("key", field.name)]
            assert shown["description"] == said[field.name], (record, field.name)
            limits = str(typing.get_type_hints(record, include_extras=True)[field.name])
            for name in ("minimum", "maximum", "exclusiveMinimum", "pattern"):
                assert (f"{name}=None" not in limits and f"{name}=" in limits) == (
                    f"'{name}'" in str(shown)
                ), (record, field.name, name)


def test_undefined_figures_are_null_and_not_a_number():
    report = CASES["infeasible"]().report
    with pytest.raises(ValueError, match="JSON"):
        to_json(dataclasses.replace(report, opis=float("nan")))
    chosen = json.loads(to_json(report))["recommendation"]
    for key in ("threshold", "interval", "far", "frr", "class_mean_far", "mean_utility"):
        assert chosen[key] is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda raw: raw | {"schema_version": 99}, "newer opis"),
        (lambda raw: {key: raw[key] for key in raw if key != "opis"}, "damaged"),
        (lambda raw: raw | {"eer": 3}, "damaged"),
        (lambda raw: raw | {"recall_at_1": "x"}, "damaged"),
        (lambda raw: [raw], "damaged"),
        (lambda raw: raw | {"schema_version": 0}, "damaged"),
        (lambda raw: raw | {"schema_version": None}, "damaged"),
        (lambda raw: raw | {"settings": []}, "damaged"),
        (lambda raw: raw | {"settings": {}}, "damaged"),
        (lambda raw: raw | {"settings": raw["settings"] | {"eps": None}}, "damaged"),
        (lambda raw: raw | {"settings": {"metric": "taxicab"}}, "damaged"),
        (lambda raw: raw | {"worst_classes": {}}, "damaged"),
        (lambda raw: raw | {"opis": float("nan")}, "damaged"),
        (lambda raw: raw | {"recommendation": raw["recommendation"] | {"status": "?"}}, "damaged"),
        (
            lambda raw: raw | {"recommendation": raw["recommendation"] | {"interval": [0]}},
            "damaged",
        ),
    ],
)
def test_damaged_reports_are_refused(change, says, saved):
    file = saved / "report.json"
    file.write_text(json.dumps(change(json.loads(file.read_text()))))
    with pytest.raises(opis.OpisError, match=says):
        opis.load_run(saved)


@pytest.mark.parametrize("text", ["", "{", "\xff", "[" * 100_000])
def test_reports_that_are_no_json_are_refused(text, saved):
    (saved / "report.json").write_text(text, encoding="latin-1")
    with pytest.raises(opis.OpisError, match="damaged"):
        opis.load_report(saved)
