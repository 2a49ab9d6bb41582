"""The benchmark of rivals: its scripts agree with opis, and what came out is told as it is."""

import json
import signal
import subprocess

import data
import numpy as np
import pytest

BENCHMARKS = data.SAMPLES.parent / "tests/benchmarks"


@pytest.fixture
def rivals(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import rivals

    return rivals


FOUND = {
    "machine": "a machine",
    "versions": {"opis-cli": "9", "torch": "8"},
    "limits": {"seconds": 600, "bytes": 10**9},
    "rows": {
        "5000": {
            "opis-cli": {"seconds": 0.5, "bytes": 2e6},
            "torch": {"seconds": 12.5, "bytes": 3_456e6},
        },
        "20000": {
            "opis-cli": {"seconds": 200.4, "bytes": 5e6},
            "torch": {"failed": "over 1 GB"},
        },
    },
}


def test_the_scripts_agree_with_opis(rivals):
    # Of uneven classes, some of one row; genuine and impostor pairs on both sides of the threshold.
    vectors, labels = data.blobs(500, 80, 16, skew=1.2, spread=1.0)
    assert (np.bincount(labels) == 1).any()
    everything = rivals.RIVALS[0].script(vectors, labels)
    assert 0.02 < everything["FRR"] < 0.98
    asked, installed = set(), rivals.installed()
    for rival in rivals.RIVALS[1:]:
        if rival.package in installed:
            answers = rival.script(vectors, labels)
            rivals.check(rival.name, answers, everything)
            asked |= set(answers)
    assert asked >= {"FAR", "FRR", "class mean FAR", "class mean FRR"}


def test_another_answer_stops_the_run(rivals):
    ours = {"FAR": 0.01, "FRR": 0.2}
    rivals.check("torch", {"FAR": 0.010001}, ours)
    with pytest.raises(SystemExit, match=r"FAR is 0\.0101 by torch and 0\.01 by opis"):
        rivals.check("torch", {"FAR": 0.0101}, ours)


@pytest.mark.parametrize(
    ("code", "error", "told"),
    [
        (1, "numpy._ArrayMemoryError: Unable to allocate 9.31 GiB", "over 16 GB"),
        (1, "duckdb.OutOfMemoryException: Out of Memory Error: no block", "over 16 GB"),
        (-signal.SIGABRT, "what(): std::bad_alloc", "over 16 GB"),
        (-signal.SIGKILL, "", "over 16 GB"),
        (-signal.SIGSEGV, "", "over 16 GB"),
    ],
)
def test_a_process_that_needs_too_much_memory_is_told(rivals, monkeypatch, code, error, told):
    ended(rivals, monkeypatch, code, error)
    assert rivals._in_a_process(rivals.RIVALS[0], 9) == {"failed": told}


def test_a_fault_of_a_script_is_no_limit(rivals, monkeypatch):
    ended(rivals, monkeypatch, 1, "KeyError: 'bin'")
    with pytest.raises(SystemExit, match="opis failed on 9 rows:\nKeyError: 'bin'"):
        rivals._in_a_process(rivals.RIVALS[0], 9)


def test_a_process_that_takes_too_long_is_told(rivals, monkeypatch):
    def run(words, *, timeout, **options):
        raise subprocess.TimeoutExpired(words, timeout)

    monkeypatch.setattr(rivals.subprocess, "run", run)
    assert rivals._in_a_process(rivals.RIVALS[0], 9) == {"failed": f"over {rivals.MINUTES} min"}


def ended(rivals, monkeypatch, code, error):
    done = subprocess.CompletedProcess([], code, stdout="", stderr=error)
    monkeypatch.setattr(rivals.subprocess, "run", lambda *words, **options: done)


def test_the_median_of_the_rounds_counts_and_slow_ones_have_no_second(rivals, monkeypatch):
    opis, sklearn, torch = rivals.RIVALS[:3]
    times = {opis.package: [1.0, 5.0, 2.0], sklearn.package: [61.0], torch.package: ["memory"]}

    def once(rival, rows):
        taken = times[rival.package].pop(0)
        if taken == "memory":
            return {"failed": "over 16 GB"}
        return {"seconds": taken, "bytes": 100 * taken, "answers": {"FAR": 0.1}}

    monkeypatch.setattr(rivals, "_in_a_process", once)
    assert rivals.measure(9, (opis, sklearn, torch)) == {
        opis.package: {"seconds": 2.0, "bytes": 500.0},
        sklearn.package: {"seconds": 61.0, "bytes": 6100.0},
        torch.package: {"failed": "over 16 GB"},
    }


def test_the_table_has_times_ratios_memory_and_limits(rivals):
    lines = rivals.rival_report.table(FOUND).splitlines()
    assert lines[2].startswith("| opis, `evaluate` | 0.50 s, 1.00, 2 MB | 200 s, 1.00, 5 MB | FAR")
    assert lines[3].startswith("| torch, `X @ X.T, histc` | 12.5 s, 25.0, 3,456 MB | over 1 GB |")
    assert lines[-1] == "Measured on a machine, with opis 9, torch 8."


def test_the_summary_is_of_the_most_rows(rivals):
    summary = rivals.rival_report.summary
    assert summary(FOUND) == "For such curves of 20,000 rows, a script with torch took over 1 GB "
    fewer = FOUND | {"rows": {"5000": FOUND["rows"]["5000"]}}
    assert summary(fewer).endswith("of 5,000 rows, a script with torch took 25.0 times as long ")


def test_the_figure_names_every_approach_and_what_stopped_it(rivals):
    panels = rivals.rival_report.figure(FOUND).axes
    assert len(panels) == 2
    for panel in panels:
        names = [text.get_text() for text in panel.texts]
        assert names[-2:] == ["opis", "torch: over 1 GB"]


def test_names_stand_apart_and_in_order(rivals):
    values = np.array([5.0, 1.0, 1.01, 500.0])
    heights = rivals.rival_report._apart(values)
    assert (np.argsort(heights) == np.argsort(values)).all()
    ratios = np.sort(heights)[1:] / np.sort(heights)[:-1]
    assert ratios.min() >= rivals.rival_report._ROOM * (1 - 1e-12)
    assert heights[[0, 3]] == pytest.approx(values[[0, 3]])


def test_the_documents_have_what_the_last_run_found(rivals):
    found = json.loads(rivals.RESULTS.read_text(encoding="utf-8"))
    report = rivals.rival_report
    for document, told in report.documents(found).items():
        assert told == document.read_text(encoding="utf-8")
