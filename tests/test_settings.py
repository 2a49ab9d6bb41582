"""Settings: flag over file over default; whatever is unusable is named."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opis_cli.config import load_config, merge
from opis_cli.errors import SettingsError
from opis_cli.report.records import SCHEMA_VERSION
from opis_cli.settings import ABOUT, BOUNDS, Settings
from opis_cli.values import Calibration, parse_size


def test_flag_over_file_over_default(tmp_path):
    file = tmp_path / "opis.toml"
    file.write_text('max-far = 0.02\nbeta = 2\nmetric = "euclidean"\n[gate]\nmax-opis = 0.1\n')
    config = load_config(file)
    settings = merge(config, {"beta": 3.0, "eps": None})
    assert (settings.max_far, settings.beta, settings.metric) == (0.02, 3.0, "euclidean")
    assert settings.eps == 0.1
    assert config["gate"] == {"max-opis": 0.1}


def test_the_file_of_the_working_directory_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_config(None) == {}
    (tmp_path / "opis.toml").write_text("seed = 7\n")
    assert load_config(None) == {"seed": 7}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("max-fat = 0.1", "unknown key 'max-fat'"),
        ("gate = 3", "unknown key 'gate'"),
        ("[other]\nx = 1", "unknown key 'other'"),
        ('beta = "two"', "beta must be a float"),
        ("beta = true", "beta must be a float"),
        ("seed = 1.5", "seed must be a int"),
        ("metric = 3", "metric must be a str"),
        ("max-far = ", "not valid TOML"),
        ("max-far = 0.1\nmax_far = 0.2", "given twice"),
    ],
)
def test_unusable_files_are_refused(text, says, tmp_path):
    file = tmp_path / "opis.toml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=says):
        load_config(file)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="cannot be read"):
        load_config(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"metric": "manhattan"}, "metric is 'manhattan'; use cosine or euclidean"),
        ({"prefer": "best"}, "prefer"),
        ({"engine": "abacus"}, "engine"),
        ({"on_bad_rows": "fix"}, "on_bad_rows"),
        ({"max_far": 0.0}, "max_far"),
        ({"max_far": 1.0}, "max_far"),
        ({"max_frr": -0.1}, "max_frr"),
        ({"max_frr": float("nan")}, "max_frr"),
        ({"eps": 1.0}, "eps"),
        ({"beta": 0.0}, "beta"),
        ({"beta": float("inf")}, "beta"),
        ({"threads": 0}, "threads"),
        ({"seed": -1}, "seed"),
        ({"prefer": "low-frr", "max_frr": 0.1}, "max_far"),
        ({"prefer": "low-far", "max_far": 0.1}, "max_frr"),
        ({"memory_limit": "lots"}, "memory_limit"),
        ({"colour": "red"}, "unknown setting 'colour'"),
    ],
)
def test_unusable_values_are_refused_by_name(values, says):
    with pytest.raises(SettingsError, match=says):
        merge({}, values)


def test_an_optional_word_is_one_of_its_choices():
    assert Settings(engine="torch", device="cpu").device == "cpu"
    assert Settings(engine="torch", device=None).device is None
    with pytest.raises(SettingsError, match="device is 'tpu'; use cpu or cuda"):
        Settings(engine="torch", device="tpu")


def test_the_default_bound_is_a_far():
    assert Settings().bounds == (0.01, None)
    assert Settings(max_frr=0.1).bounds == (None, 0.1)
    assert Settings(prefer="low-frr").bounds == (0.01, None)


def test_numbers_in_the_file_serve_where_text_is_wanted(tmp_path):
    (tmp_path / "opis.toml").write_text("threshold = 0.5\nmemory-limit = 4000000000\n")
    settings = merge(load_config(tmp_path / "opis.toml"), {})
    assert (settings.threshold, settings.memory_limit_bytes) == ("0.5", 4_000_000_000)


@given(
    st.sampled_from(["far", "frr", "distance"]),
    st.floats(1e-6, 0.4),
    st.floats(1.5, 2.4),
)
def test_calibration_reads_what_it_writes(by, low, factor):
    calibration = Calibration(by, low, low * factor)
    assert Calibration.parse(str(calibration)) == calibration


@pytest.mark.parametrize(
    "text",
    [
        *("", "far", "far:0.1", "far:0.1..0.01", "far:0..0.1", "frr:0.1..1", "distance:-1..1"),
        *("distance:0.5..0.5", "distance:0..inf", "far:a..b", "roc:0.1..0.2", "far:nan..0.1"),
    ],
)
def test_calibrations_that_are_none(text):
    with pytest.raises(SettingsError, match="calibration"):
        Calibration.parse(text)


def test_sizes():
    assert parse_size("4GB") == 4_000_000_000
    assert parse_size("2 GiB") == 2 * 1024**3
    assert parse_size("500mb") == 500_000_000
    assert parse_size("1.5k") == 1_500
    assert parse_size("123") == 123
    assert parse_size(None) is None


COMPARED = (
    *BOUNDS,
    *("prefer", "confidence"),
    *("review", "prior", "cost_fa", "cost_fr", "cost_review"),
)
"""Settings by which recommendations compare."""


def test_every_setting_is_declared_whole():
    for name, about in ABOUT.items():
        assert about.help.endswith("."), name
        assert 1 <= about.since <= SCHEMA_VERSION, name
        if about.compares == "recommendation":
            assert name in COMPARED


def test_a_number_may_be_a_percentage(tmp_path, cli, saved_once):
    file = tmp_path / "opis.toml"
    file.write_text('max-far = "2 %"\n')
    assert merge(load_config(file), {}).max_far == 0.02
    file.write_text('max-far = "2 in 100"\n')
    with pytest.raises(SettingsError, match="must be a float"):
        load_config(file)
    file.unlink()
    done = cli("recommend", saved_once, "--max-far", "2%", "--json")
    assert json.loads(done.stdout)["max_far"] == 0.02


def test_paths_are_from_the_folder_of_the_file(tmp_path):
    file = tmp_path / "in" / "opis.toml"
    file.parent.mkdir()
    file.write_text(
        'labels = "l.csv"\ngallery = "s3://bucket/g.parquet"\nthreshold = "0.4"\n'
        '[gate]\nbaseline = "runs/last"\nthreshold = 0.4\n'
    )
    config = load_config(file)
    assert config["labels"] == str(file.parent / "l.csv")
    assert (config["gallery"], config["threshold"]) == ("s3://bucket/g.parquet", "0.4")
    assert config["gate"] == {"baseline": str(file.parent / "runs/last"), "threshold": 0.4}


def test_a_byte_order_mark_is_no_key(tmp_path):
    file = tmp_path / "opis.toml"
    file.write_bytes(b"\xef\xbb\xbfseed = 3\n")
    assert load_config(file) == {"seed": 3}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("maxfar = 0.1", "did you mean 'max-far'"),
        ("max-far = " + "1" * 400, "larger than any float"),
        ("seed = " + "1" * 5_000, "not valid TOML"),
        ("x = " + "[" * 3_000 + "]" * 3_000, "not valid TOML"),
    ],
    ids=["near", "400 digits", "5,000 digits", "deep"],
)
def test_what_no_file_should_hold_is_refused(text, says, tmp_path):
    file = tmp_path / "opis.toml"
    file.write_text(text + "\n")
    with pytest.raises(SettingsError, match=says):
        load_config(file)


def test_a_threshold_on_a_named_scale_is_no_path(tmp_path):
    (tmp_path / "opis.toml").write_text(
        'threshold = "similarity:0.8"\n[gate]\nthreshold = "l2:0.6"\n'
    )
    config = load_config(tmp_path / "opis.toml")
    assert (config["threshold"], config["gate"]["threshold"]) == ("similarity:0.8", "l2:0.6")
