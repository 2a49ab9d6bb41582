"""What is said before long work. Tests give the speed."""

import re

import data
import numpy as np
import pytest

import opis_cli as opis
from opis_cli.counting import offer
from opis_cli.counting.count import count_pairs
from opis_cli.counting.memory import silent
from opis_cli.counting.offer import offer_sample, offered
from opis_cli.counting.plan import plan_pairs
from opis_cli.counting.prepared import Prepared
from opis_cli.counting.sizes import SIZES
from opis_cli.counting.speed import pairs_per_second
from opis_cli.embeddings.clean import Reading, from_arrays
from opis_cli.embeddings.gallery import with_gallery
from opis_cli.settings import Settings
from opis_cli.text import duration

RATE = 1_000.0
"""So slow that little data takes long: a sample of 10 seconds has 10,000 pairs."""


def rows_of(settings=None, rows=2_000, classes=200, columns=None):
    vectors, labels = data.blobs(rows, classes, 12, seed=3, skew=0.3)
    asked = Reading(columns=dict.fromkeys(columns or {}, True))
    return from_arrays(vectors, labels, asked, columns=columns)


def line_of(embeddings, settings=None, rate=RATE):
    settings = settings or Settings()
    return offered(plan_pairs(embeddings, settings), settings, rate)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((1.24, "1.2 s"), (12.4, "12 s"), (89, "89 s"), (90, "1.5 min"), (3_000, "50 min")),
        *((9_000, "2.5 h"), (86_400, "24 h"), (260_000, "3 days"), (0, "0 s")),
    ],
)
def test_times_in_words(seconds, text):
    assert duration(seconds) == text


def test_the_offer_names_both_times_the_option_and_the_precision():
    line = line_of(rows_of(), rate=9_000.0)
    start = "counting all 2.0 M pairs takes about 3.7 min; --max-pairs=9e4 takes about 10 s, "
    assert line.startswith(start)
    assert re.search(r"and gives the FAR to within ±\d+ % of its value$", line)
    line = line_of(rows_of(), Settings(max_frr=0.1), rate=9_000.0)
    assert re.search(r"and gives the FRR to within ±\d+ % of its value$", line)
    line = line_of(rows_of(), rate=100.0)
    assert line.endswith(
        "--max-pairs=1e3 takes about 10 s, but has too few classes to tell the FAR"
    )


def test_what_is_offered_is_taken(cli, tmp_path):
    pairs = re.search(r"--max-pairs=(\S+)", line_of(rows_of(), rate=1_234.0))[1]
    vectors, labels = data.blobs(2_000, 200, 12, seed=3, skew=0.3)
    np.savez(tmp_path / "a.npz", embeddings=vectors, labels=labels)
    done = cli("evaluate", tmp_path / "a.npz", f"--max-pairs={pairs}")
    assert done.returncode == 0 and "pairs of a sample" in done.stdout


def test_no_offer_where_all_pairs_take_little_time():
    assert line_of(rows_of(), rate=2e5) is None


def test_no_precision_where_too_few_errors_tell_it():
    line = line_of(rows_of(), Settings(max_far=1e-6))
    assert line.endswith("--max-pairs=1e4 takes about 10 s")


@pytest.mark.parametrize("tenants", [100, 2_000])
def test_tenants_are_offered_if_enough_would_be_drawn(tenants):
    column = np.arange(20_000) % tenants
    settings = Settings(within_column="tenant")
    line = line_of(rows_of(rows=20_000, columns={"tenant": column}), settings, rate=900.0)
    assert ("--max-pairs" in line) == (tenants == 2_000) and "FAR" not in line


def test_a_gallery_has_an_offer_without_a_precision():
    joined = with_gallery(rows_of(rows=1_000), rows_of(rows=1_000))
    line = line_of(joined, Settings(gallery="g"), rate=5_000.0)
    assert line.endswith("; --max-pairs=5e4 takes about 10 s")


@pytest.mark.parametrize(
    ("rate", "settings"),
    [(8_000.0, {}), (40_000.0, {"max_far": 0.05}), (40_000.0, {"max_frr": 0.3})],
)
def test_the_precision_is_that_of_samples(rate, settings):
    """The error of samples at the threshold of the bound, give or take a factor of 1.5."""
    vectors, labels = data.blobs(3_000, 300, 12, seed=3, skew=0.3)
    line = line_of(from_arrays(vectors, labels), Settings(**settings), rate)
    kind, said = re.search(r"the (FAR|FRR) to within ±(\S+) %", line).groups()
    pairs = float(re.search(r"--max-pairs=(\S+)", line)[1])
    run = opis.evaluate(vectors, labels, **settings)
    low, high = run.report.recommendation.interval
    at = high if kind == "FAR" else low
    whole = getattr(run.rates(at), kind.lower())
    found = [
        opis.evaluate(vectors, labels, threshold=at, max_pairs=pairs, seed=seed, max_far=0.5)
        for seed in range(30)
    ]
    rates = np.array([getattr(one.report.deployed, kind.lower()) for one in found])
    width = 1.96 * np.sqrt(np.mean((rates / whole - 1) ** 2))
    assert width / 1.5 < float(said) / 100 < width * 1.5


@pytest.fixture
def measured(monkeypatch):
    """A slow engine. The list grows when its speed is measured."""
    calls = []
    monkeypatch.setattr(offer, "_LEAST_WORK", 1_000_000)
    monkeypatch.setattr(offer, "pairs_per_second", lambda *_: calls.append(1) or RATE)
    return calls


def told(settings, announce=None):
    lines = []
    work = Prepared.of(rows_of(), settings, None, silent, SIZES)
    offer_sample(work, announce or lines.append)
    return lines


def test_speed_is_measured_for_long_work_that_somebody_watches(measured, monkeypatch):
    assert told(Settings())[0].startswith("counting all") and measured
    measured.clear()
    assert told(Settings(), silent) == []
    assert told(Settings(max_pairs=2_000)) == []
    assert told(Settings(time_limit="1h")) == []
    monkeypatch.setattr(offer, "_LEAST_WORK", 10**9)
    assert told(Settings()) == []
    assert not measured


def test_the_offer_changes_no_count(measured):
    lines = []
    vectors, labels = data.blobs(2_000, 200, 12, seed=3)
    embeddings = from_arrays(vectors, labels)
    plain = count_pairs(embeddings, Settings())
    watched = count_pairs(embeddings, Settings(), announce=lines.append)
    assert lines and np.array_equal(plain.impostor, watched.impostor)


@pytest.mark.parametrize("engine", ["numpy", "numba"])
@pytest.mark.parametrize("metric", ["cosine", "hamming", "dot"])
def test_the_speed_of_an_engine(engine, metric, monkeypatch):
    monkeypatch.setattr("opis_cli.counting.speed._LONG_ENOUGH", 0.0)
    settings = Settings(
        metric=metric, calibration="distance:0.1..0.2" if metric != "dot" else "far:0.1..0.2"
    )
    assert pairs_per_second(8, 1.2, settings, engine, 1) > 1_000
