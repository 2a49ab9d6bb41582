"""``--time-limit``: a sample by the speed of this machine, which tests give."""

import io
import json

import data
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import opis_cli as opis
from opis_cli import pipeline, time_limit
from opis_cli.counting.memory import silent
from opis_cli.embeddings import read as reading
from opis_cli.embeddings.sampling import Extent
from opis_cli.errors import InputError, SettingsError
from opis_cli.pipeline import evaluate_file
from opis_cli.settings import Settings
from opis_cli.time_limit import Speed, TimeLimit
from opis_cli.values import parse_seconds

ROWS, CLASSES = 2_000, 100
PAIRS = ROWS * (ROWS - 1) // 2
SLOW = Speed(start=1.0, row=1e-3, pair=1e-5)
"""All pairs take 1 + 2 + 20 seconds."""


class Clock:
    """Time stands still, unless it is moved."""

    now = 100.0

    def __call__(self):
        return self.now


def limit_of(text, speed=SLOW, clock=None, **settings):
    clock = clock or Clock()
    given = Settings(time_limit=text, **settings)
    return TimeLimit(given, clock.now, silent, False, lambda *_: speed, clock)


def extent(paired=True, pairs=PAIRS):
    return Extent(ROWS, CLASSES, 2_000, False, pairs, paired)


@pytest.fixture
def slow(monkeypatch):
    """Evaluations take the time of ``SLOW`` by this clock."""
    clock = Clock()

    def made(settings, begun, announce, saved, measure):
        assert measure is time_limit.measured
        return TimeLimit(settings, clock.now, announce, saved, lambda *_: SLOW, clock)

    monkeypatch.setattr(pipeline, "TimeLimit", made)
    monkeypatch.setattr(time_limit, "_AT_ONCE", 0)
    return clock


@pytest.fixture
def file(tmp_path):
    vectors, labels = data.blobs(ROWS, CLASSES, 6, seed=1)
    names = [f"class {label:02}" for label in labels]
    pq.write_table(pa.table({"embedding": list(vectors), "label": names}), tmp_path / "a.parquet")
    return tmp_path / "a.parquet"


@pytest.mark.parametrize(
    ("text", "seconds"), [("60s", 60), ("2min", 120), ("1.5 h", 5_400), ("90", 90), (None, None)]
)
def test_times(text, seconds):
    assert parse_seconds(text) == seconds
    assert Settings(time_limit=text).time_limit_seconds == seconds


@pytest.mark.parametrize("text", ["", "s", "-1s", "0s", "1 day", "1e3s", "1min 30s", "nan"])
def test_times_that_are_none(text):
    with pytest.raises(SettingsError, match=r"time_limit .* write it as 60s, 2min or 1h"):
        Settings(time_limit=text)


def test_a_limit_may_be_a_number():
    assert Settings(time_limit=30).time_limit_seconds == 30


@pytest.mark.parametrize("seconds", [5, 8, 12, 20])
def test_the_most_pairs_take_the_planned_share_of_the_limit(seconds):
    pairs = limit_of(f"{seconds}s").most_pairs(extent())
    assert SLOW.seconds(extent(), pairs) == pytest.approx(time_limit._SHARE * seconds, rel=0.01)


def test_all_pairs_where_there_is_time_for_them():
    assert limit_of("40s").most_pairs(extent()) == PAIRS


def test_what_time_is_gone_is_not_planned_again():
    clock = Clock()
    limit = limit_of("20s", clock=clock)
    before = limit.most_pairs(extent())
    clock.now += 8
    after = limit.most_pairs(extent())
    assert SLOW.seconds(extent(), after) == pytest.approx(time_limit._SHARE * 12, rel=0.01)
    assert after < before
    clock.now += 12
    assert limit.most_pairs(extent()) == 0


def test_rows_of_a_gallery_grow_with_the_pairs_and_not_with_their_root():
    by_row = Speed(start=0.0, row=1.0, pair=0.0)
    quarter = extent().pairs / 4
    assert by_row.seconds(extent(), quarter) == pytest.approx(ROWS / 2)
    assert by_row.seconds(extent(paired=False), quarter) == pytest.approx(ROWS / 4)


def test_the_speed_is_measured_once_and_never_for_little_work():
    calls = []
    limit = TimeLimit(
        Settings(time_limit="9s"), 0.0, silent, True, lambda *a: calls.append(a) or SLOW, Clock()
    )
    small = Extent(600, 20, 100, False, 179_700, True)
    assert limit.most_pairs(small) == 179_700 and not calls
    limit.most_pairs(extent())
    limit.most_pairs(extent())
    assert len(calls) == 1 and calls[0][0] == extent() and calls[0][3] is True


def test_the_report_says_what_was_chosen_and_how_to_repeat_it(file, slow):
    run = opis.evaluate(file, time_limit="9s", seed=4)
    report, sample = run.report, run.report.sample
    assert not report.pairs.exhaustive
    assert (sample.rows, sample.classes, sample.time_limit) == (ROWS, CLASSES, 9.0)
    assert report.settings["max_pairs"] == sample.max_pairs < PAIRS
    assert report.pairs.genuine + report.pairs.impostor <= sample.max_pairs
    again = opis.evaluate(file, max_pairs=sample.max_pairs, seed=4)
    assert np.array_equal(again.counts.impostor, run.counts.impostor)
    assert again.report.source == report.source and again.report.sample.time_limit is None


def test_arrays_are_drawn_from_too(file, slow):
    vectors, labels = data.blobs(ROWS, CLASSES, 6, seed=1)
    by_array = opis.evaluate(vectors, labels, time_limit="9s", seed=4)
    assert by_array.report.sample == opis.evaluate(file, time_limit="9s", seed=4).report.sample


def test_nothing_differs_where_all_pairs_fit(file, slow):
    run, plain = opis.evaluate(file, time_limit="1h"), opis.evaluate(file)
    assert run.report.sample is None and run.report.pairs == plain.report.pairs
    assert run.report.pairs.exhaustive and run.report.source == plain.report.source
    assert run.report.settings == plain.report.settings | {"time_limit": "1h"}


def test_the_smaller_of_two_samples_is_drawn(file, slow):
    by_time = opis.evaluate(file, time_limit="9s").report.sample.max_pairs
    both = opis.evaluate(file, time_limit="9s", max_pairs=by_time + 5_000).report
    assert (both.sample.max_pairs, both.sample.time_limit) == (by_time, 9.0)
    both = opis.evaluate(file, time_limit="9s", max_pairs=by_time - 5_000).report
    assert (both.sample.max_pairs, both.sample.time_limit) == (by_time - 5_000, None)
    assert both.settings["max_pairs"] == by_time - 5_000


def test_reading_that_takes_time_leaves_fewer_of_the_same_rows(file, slow, monkeypatch):
    read = reading._read_vectors
    seen = []

    def slowly(*given):
        slow.now += 4
        seen.append(given[4])
        return read(*given)

    quick = opis.evaluate(file, time_limit="12s").report.sample
    monkeypatch.setattr(reading, "_read_vectors", slowly)
    run = opis.evaluate(file, time_limit="12s")
    # Only rows of the first sample were read, and all pairs of the second one are counted.
    assert (
        seen[0].source.max_pairs == quick.max_pairs
        and run.report.sample.max_pairs < quick.max_pairs
    )
    again = opis.evaluate(file, max_pairs=run.report.sample.max_pairs)
    assert np.array_equal(again.counts.impostor, run.counts.impostor)
    assert again.report.source == run.report.source


def test_reading_of_all_rows_may_leave_time_for_some_alone(file, slow, monkeypatch):
    read = reading._read_vectors

    def slowly(*given):
        slow.now += 20
        return read(*given)

    monkeypatch.setattr(reading, "_read_vectors", slowly)
    report = opis.evaluate(file, time_limit="30s").report
    again = opis.evaluate(file, max_pairs=report.sample.max_pairs).report
    assert report.sample.time_limit == 30 and report.opis == again.opis


@pytest.mark.parametrize("settings", [{}, {"max_pairs": 500_000}])
def test_too_short_a_limit_says_what_it_takes(file, slow, settings):
    with pytest.raises(InputError, match="too short") as no:
        opis.evaluate(file, time_limit="1s", **settings)
    enough = str(no.value).split("give time_limit=")[1].split(" ")[0].strip("'")
    assert opis.evaluate(file, time_limit=enough, **settings).report.source.classes >= 2


def test_evidence_reads_the_same_rows_again(file, slow, tmp_path):
    run = opis.evaluate(file, time_limit="9s")
    run.save(tmp_path / "run")
    assert len(opis.load_run(tmp_path / "run").explain().pairs) > 0


def test_the_measured_speed_is_of_use():
    """It is positive, and it does not matter how large the source is."""
    settings = Settings(time_limit="1s", threads=1)
    speed = time_limit.measured(
        Extent(10**6, 10**5, 4, False, 10**11, True), settings, silent, True
    )
    assert speed.start >= 0 and speed.row >= 0 and 1e-12 < speed.pair < 1e-5


def test_the_command_line_tells_how_to_repeat_it(file, slow, cli, tmp_path):
    from rich.console import Console

    from opis_cli.render.terminal.summary import summary

    run = evaluate_file(str(file), Settings(time_limit="9s", seed=4))
    console = Console(width=200, file=io.StringIO())
    console.print(summary(run))
    text = console.file.getvalue()
    pairs = run.report.sample.max_pairs
    assert f"fit in 9 s; --max-pairs={pairs} --seed=4 draws the same again" in text
    done = cli("evaluate", file, "--max-pairs", f"{pairs}", "--seed", "4", "--json")
    assert json.loads(done.stdout)["opis"] == run.report.opis


def test_the_command_takes_a_limit_by_flag_or_file(file, cli, tmp_path):
    done = cli("evaluate", file, "--time-limit", "1h", "--json")
    assert json.loads(done.stdout)["settings"]["time_limit"] == "1h"
    config = tmp_path / "limits.toml"
    config.write_text("time-limit = 3600\nmax-pairs = 2e9\n")
    done = cli("evaluate", file, "--config", config, "--json")
    settings = json.loads(done.stdout)["settings"]
    assert (settings["time_limit"], settings["max_pairs"]) == ("3600", 2_000_000_000)
    assert cli("evaluate", file, "--time-limit", "soon").returncode == 2
    plan = cli("count", file, "--plan-only", "--config", config, "-o", tmp_path / "plan.json")
    assert plan.returncode == 2 and "--time-limit" in plan.stderr
