"""The command line as its users and their scripts see it: in a process of its own."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import data
import numpy as np
import pandas as pd
import pytest

import opis_cli

WORDNET = data.SAMPLES / "wordnet.parquet"


@pytest.fixture
def arrays(tmp_path):
    """A .npy of vectors beside a text file of labels."""
    vectors, labels = data.MADE["blobs"]
    np.save(tmp_path / "x.npy", vectors)
    (tmp_path / "y.txt").write_text("".join(f"c{label}\n" for label in labels))
    return ["x.npy", "--labels", "y.txt"]


def failed(done, phrase):
    """Ends in 2 with one message, and with nothing on standard output."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    message = " ".join(done.stderr.split())
    assert re.search(phrase, message), message
    return message


def test_evaluate_says_what_the_report_says(cli, tmp_path):
    done = cli("evaluate", WORDNET, "--out", "run")
    assert (done.returncode, done.stderr) == (0, "")
    report = opis_cli.load_report(tmp_path / "run")
    chosen = report.recommendation
    assert f"OPIS {report.opis:.3g}" in done.stdout
    assert f"{chosen.threshold:.6g}" in done.stdout
    assert f"{chosen.accepted_impostors:,} of {report.pairs.impostor:,}" in done.stdout
    assert f"{chosen.rejected_genuine:,} of {report.pairs.genuine:,}" in done.stdout
    assert "opis explain run " in done.stdout
    assert "\x1b" not in done.stdout


def test_json_is_the_report_and_nothing_else(cli, tmp_path):
    done = cli("evaluate", WORDNET, "--json", "--out", "run", "--max-frr", "0.2")
    assert json.loads(done.stdout) == json.loads((tmp_path / "run" / "report.json").read_text())
    assert done.stderr == ""


def test_recommend_and_plot_work_from_a_run_alone(cli, tmp_path, arrays):
    assert cli("evaluate", *arrays, "--out", "run", "--quiet").stdout == ""
    (tmp_path / "x.npy").unlink()
    chosen = json.loads(cli("recommend", "run", "--max-far", "0.05", "--json").stdout)
    assert chosen["status"] == "feasible" and chosen["far"] <= 0.05
    done = cli("recommend", "run", "--max-far", "0.05", "-o", "deploy/threshold.json")
    assert f"{chosen['threshold']:.6g}" in done.stdout
    deployed = json.loads((tmp_path / "deploy" / "threshold.json").read_text())
    assert deployed["threshold"] == chosen["threshold"]
    assert cli("plot", "run", "--kind", "det", "-o", "det.svg").returncode == 0
    assert (tmp_path / "det.svg").read_text().startswith("<?xml")


def test_commands_on_a_source_evaluate_it_first(cli):
    chosen = json.loads(cli("recommend", WORDNET, "--max-far", "0.01", "--json").stdout)
    report = json.loads(cli("evaluate", WORDNET, "--json").stdout)
    assert chosen == report["recommendation"]


def test_recommend_warns_as_evaluate_does(cli, tmp_path):
    vectors, labels = data.blobs(7_000, 300, 32, spread=1.3)
    np.save(tmp_path / "x.npy", vectors)
    np.save(tmp_path / "y.npy", labels)
    cli("evaluate", "x.npy", "--labels", "y.npy", "--out", "run", "-q")
    coarse = " ".join(cli("recommend", "run", "--max-frr", "0.01").stdout.split())
    assert "the choice here is coarse" in coarse and "outside the calibration range" in coarse
    unsupported = " ".join(cli("recommend", "run", "--max-far", "1e-8").stdout.split())
    assert "too few to show FAR" in unsupported


def test_infeasible_bounds_are_no_failure(cli):
    done = cli("evaluate", WORDNET, "--max-far", "0.001", "--max-frr", "0.001")
    assert done.returncode == 0
    assert "NO THRESHOLD  meets FAR <= 0.1 % and FRR <= 0.1 %" in done.stdout


def test_a_threshold_outside_the_range_is_warned_of_and_the_advice_helps(cli):
    done = cli("evaluate", WORDNET, "--max-far", "0.0005")
    advice = re.search(r"--calibration\s+(far:\S+)", done.stdout)
    assert "outside the calibration range" in " ".join(done.stdout.split())
    report = json.loads(
        cli("evaluate", WORDNET, "--max-far", "0.0005", "--json", "--calibration", advice[1]).stdout
    )
    assert report["calibration_range"]["contains_recommendation"] is True


def test_a_deployed_threshold_as_number_and_as_file(cli, tmp_path):
    cli("evaluate", WORDNET, "--out", "run", "-q")
    by_file = json.loads(
        cli("evaluate", WORDNET, "--threshold", "run/threshold.json", "--json").stdout
    )
    assert by_file["deployed"]["far"] == by_file["recommendation"]["far"]
    assert "IN USE  cosine distance <= 0.5" in cli("evaluate", WORDNET, "--threshold", "0.5").stdout


def test_settings_come_from_opis_toml_and_flags_override_them(cli, tmp_path):
    (tmp_path / "opis.toml").write_text("max-far = 0.05\nbeta = 2.0\n")
    settings = json.loads(cli("evaluate", WORDNET, "--json", "--beta", "3").stdout)["settings"]
    assert (settings["max_far"], settings["beta"]) == (0.05, 3.0)
    chosen = json.loads(cli("recommend", WORDNET, "--json").stdout)
    assert chosen["max_far"] == 0.05
    (tmp_path / "other.toml").write_text("max-far = 0.07\n")
    done = cli("evaluate", WORDNET, "--json", "--config", "other.toml")
    assert json.loads(done.stdout)["settings"]["max_far"] == 0.07


def test_doctor_version_and_help(cli):
    assert cli("--version").stdout == f"opis {opis_cli.__version__}\n"
    facts = json.loads(cli("doctor", "--json").stdout)
    assert "numpy" in facts["engines"] and int(facts["processors"]) >= 1
    assert "numba" in cli("doctor").stdout
    for command in ("evaluate", "recommend", "plot", "doctor"):
        assert "--help" in cli(command, "--help").stdout


BAD = {
    "no source": (["evaluate"], "Missing argument"),
    "unknown option": (["evaluate", "x", "--max-fat", "1"], "No such option"),
    "unknown command": (["estimate"], "No such command"),
    "no number": (["evaluate", "x", "--max-far", "low"], "max-far"),
    "missing file": (["evaluate", "none.parquet"], "none.parquet"),
    "bound above 1": (["evaluate", WORDNET, "--max-far", "1.5"], "--max-far is 1.5"),
    "bound of 0": (["evaluate", WORDNET, "--max-frr", "0"], "--max-frr is 0"),
    "low-frr without max-far": (
        ["evaluate", WORDNET, "--prefer", "low-frr", "--max-frr", "0.1"],
        "--max-far",
    ),
    "low-far without max-frr": (["evaluate", WORDNET, "--prefer", "low-far"], "--max-frr"),
    "reversed range": (
        ["evaluate", WORDNET, "--calibration", "far:0.1..0.01"],
        "low end must be below",
    ),
    "range of too few": (
        ["evaluate", WORDNET, "--calibration", "far:1e-8..1e-7"],
        "cannot be resolved.*distance:LOW..HIGH",
    ),
    "out is a file": (["evaluate", WORDNET, "--out", "file"], "not a run"),
    "out is a folder": (["evaluate", WORDNET, "--out", "folder", "--force"], "not a run"),
    "out below a file": (["evaluate", WORDNET, "--out", "file/run"], "cannot be written"),
    "range beyond any distance": (
        ["evaluate", WORDNET, "--calibration", "distance:3..5"],
        "no distance here exceeds 2",
    ),
    "picture of no kind": (["plot", WORDNET, "--kind", "pie", "-o", "a.png"], "no plot 'pie'"),
    "picture of no format": (["plot", WORDNET, "-o", "a.gif"], r"\.png, \.svg, \.pdf"),
    "unknown key": (["evaluate", WORDNET, "--config", "bad.toml"], "unknown key 'max-fat'"),
    "missing config": (["evaluate", WORDNET, "--config", "none.toml"], "none.toml"),
    "threshold of another metric": (
        ["evaluate", WORDNET, "--threshold", "euclid.json"],
        "euclidean",
    ),
    "threshold that is none": (["evaluate", WORDNET, "--threshold", "abc"], "neither a number"),
    "npy without labels": (["evaluate", "x.npy"], "--labels"),
    "text as parquet": (["evaluate", "text.parquet"], "text.parquet"),
    "recommend on an empty folder": (["recommend", "folder"], "folder"),
    "damaged run": (["recommend", "damaged"], "damaged"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_ends_in_one_message_and_nothing_half_written(case, cli, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "bad.toml").write_text("max-fat = 1\n")
    (tmp_path / "euclid.json").write_text('{"threshold": 1, "metric": "euclidean"}')
    (tmp_path / "text.parquet").write_text("no parquet at all")
    np.save(tmp_path / "x.npy", np.eye(4))
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "report.json").write_text("{")
    before = sorted(tmp_path.rglob("*"))
    words, phrase = BAD[case]
    failed(cli(*words), phrase)
    assert sorted(tmp_path.rglob("*")) == before


FAULT = """
import sys
from opis_cli import __main__, pipeline
def broken(*args, **kwargs):
    raise {error}
pipeline.evaluate_file = broken
sys.argv = ["opis", "evaluate", "x.npy", "--out", "run", *sys.argv[1:]]
__main__.main()
"""


def broken(tmp_path, error, *words):
    code = FAULT.format(error=error)
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_fault_of_ours_is_70_and_says_so_in_one_message(tmp_path):
    done = broken(tmp_path, "ZeroDivisionError('boo')")
    assert done.returncode == 70
    assert "fault of opis" in done.stderr and "boo" in done.stderr
    assert "Traceback" not in done.stderr and done.stdout == ""
    told = broken(tmp_path, "ZeroDivisionError('boo')", "--debug")
    assert told.returncode == 70 and "Traceback" in told.stderr


@pytest.mark.parametrize(
    ("sent", "code", "told"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_an_interrupt_leaves_nothing(sent, code, told, tmp_path):
    vectors, labels = data.blobs(30_000, 50, 64)
    np.save(tmp_path / "x.npy", vectors)
    np.save(tmp_path / "y.npy", labels)
    words = ["evaluate", "x.npy", "--labels", "y.npy", "--out", "run", "--engine", "numpy"]
    script = (
        "import sys\nfrom opis_cli import __main__\nfrom opis_cli.counting import count\n"
        "real = count._count_parts\n"
        "def told(*args):\n    print('counting', flush=True)\n    return real(*args)\n"
        "count._count_parts = told\n"
        f"sys.argv = ['opis', *{words!r}]\n__main__.main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "counting\n"
    process.send_signal(sent)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == code
    assert errors == f"opis: {told}\n"
    assert {file.name for file in tmp_path.iterdir()} == {"x.npy", "y.npy"}


def test_a_reader_that_goes_away_is_no_fault(tmp_path):
    words = f"{sys.executable} -m opis_cli evaluate {WORDNET}"
    command = f"{words} | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_output_that_cannot_be_written_is_said(tmp_path):
    command = f"{sys.executable} -m opis_cli doctor > /dev/full"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "No space left on device" in done.stderr and "Traceback" not in done.stderr


def test_a_terminal_that_knows_ascii_alone(cli, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    done = cli("evaluate", WORDNET, "--max-far", "0.001", "--max-frr", "0.001")
    assert (done.returncode, done.stderr) == (0, "")


def test_names_from_the_data_are_shown_as_plain_text(cli, tmp_path):
    names = np.array([f"[red]x[/red]\x1b[31ma\nb{k}{'ok' * 100}" for k in range(4)], object)
    vectors, labels = data.blobs(200, 4)
    pd.DataFrame({"embedding": list(vectors), "label": names[labels]}).to_parquet(
        tmp_path / "x.parquet"
    )
    done = cli("evaluate", "x.parquet")
    assert "[red]x[/red]" in done.stdout
    assert "\x1b" not in done.stdout and "a\nb" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_the_bar_is_for_terminals_only(tmp_path):
    """On a terminal of 80 columns, work of more than a second shows a bar on standard error."""
    import pty

    vectors, labels = data.blobs(9_000, 20, 16)
    np.save(tmp_path / "x.npy", vectors)
    np.save(tmp_path / "y.npy", labels)
    words = [sys.executable, "-m", "opis_cli", "evaluate", "x.npy", "--labels", "y.npy"]
    words += ["--engine", "numpy", "--json"]
    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    process = subprocess.Popen(
        words, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=follower
    )
    os.close(follower)
    seen, end = b"", time.monotonic() + 600
    while time.monotonic() < end:
        try:
            piece = os.read(leader, 4096)
        except OSError:
            break
        if not piece:
            break
        seen += piece
    out, _ = process.communicate(timeout=600)
    os.close(leader)
    assert json.loads(out)["source"]["rows"] == 9_000
    assert b"pairs/s" in seen and b"left" in seen


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("{opis} evaluate nope.parquet 2>/dev/full", 2),
        ("{opis} evaluate nope.parquet 2>&-", 2),
        ("{opis} evaluate --no-such-option 2>/dev/full", 2),
        ("{opis} recommend {run} >&-", 0),
        ("{opis} recommend {run} >&- 2>&-", 0),
        ("{opis} recommend {run} >/dev/full", 2),
        ("{opis} recommend {run} --json >/dev/full", 2),
        ("{opis} recommend {run} | head -c1 >/dev/null", 0),
    ],
)
def test_exit_codes_hold_whatever_the_streams_are(command, code, saved_once, tmp_path):
    shown = command.format(opis=f"{sys.executable} -m opis_cli", run=saved_once)
    done = subprocess.run(
        ["bash", "-c", f"{shown}; (exit ${{PIPESTATUS[0]}})"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (code, "")
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


@pytest.mark.parametrize(
    "content",
    ["[" * 100_000, '{"threshold": ' + "1" * 400 + ', "metric": "cosine"}', '{"threshold": [1]}'],
    ids=["nesting", "digits", "list"],
)
def test_what_is_no_threshold_file_is_refused(content, cli, tmp_path):
    (tmp_path / "t.json").write_text(content)
    done = cli("evaluate", WORDNET, "--threshold", "t.json")
    assert done.returncode == 2 and "no threshold.json" in done.stderr


def test_no_text_from_a_file_begins_a_line_of_an_error(cli, tmp_path):
    """On GitHub a line that begins with two colons is a command."""
    content = json.dumps({"threshold": 0.5, "metric": "x\n::error::hi"})
    (tmp_path / "t.json").write_text(content)
    done = cli("evaluate", WORDNET, "--threshold", "t.json")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    done = cli("evaluate", "a\n::error::b.parquet")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1


def test_names_of_thousands_of_digits_are_sorted(cli, tmp_path):
    rng = np.random.default_rng(0)
    columns = {f"e{number}": rng.standard_normal(60) for number in ("1" * 5_000, "2", "10")}
    pd.DataFrame(columns | {"label": np.arange(60) % 3}).to_parquet(tmp_path / "x.parquet")
    done = cli("evaluate", "x.parquet", "--embedding-column", "e*", "--max-far", "0.5")
    assert (done.returncode, done.stderr) == (0, "")
    assert "3 dimensions" in done.stdout


def test_a_small_address_space_is_refused_before_a_library_fails():
    command = f"ulimit -v 650000; {sys.executable} -m opis_cli evaluate {WORDNET} -q"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "0.67 GB (ulimit -v), and opis needs 2 GB; raise the limit" in done.stderr
