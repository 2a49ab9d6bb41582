"""``opis count`` and ``opis merge`` as a shell runs them."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import data
import numpy as np
import pytest

REFERENCE = Path(__file__).parents[2] / "opis_cli/REFERENCE.md"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    vectors, labels = data.blobs(900, 12)
    file = tmp_path_factory.mktemp("source") / "rows.npz"
    np.savez(file, embeddings=vectors, labels=labels)
    return file


def test_a_plan_and_its_parts(cli, source, tmp_path):
    planned = cli("count", source, "--plan-only", "-o", "plan.json", "--max-far", "0.02")
    assert planned.returncode == 0, planned.stderr
    assert "Plan written to plan.json: 404,550 pairs at" in planned.stdout
    part = ["count", source, "--plan", "plan.json", "--threads", 1]
    assert "Part 2 of 2 written" in cli(*part, "--part", "2/2", "-o", "b.npz").stdout
    again = cli(*part, "--part", "2/2", "-o", "b.npz")
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout == "Part 2 of 2 is in b.npz already; nothing to count.\n"
    missing = cli("merge", "b.npz", "--out", "run")
    assert missing.returncode == 2 and "part 1 of 2 is missing" in missing.stderr
    told = json.loads(cli(*part, "--part", "1/2", "-o", "a.npz", "--json").stdout)
    assert (told["number"], told["of"], told["part"]) == (1, 2, "a.npz")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "makes a plan (--plan-only), or counts a part of it"),
        (["--plan-only", "--part", "1/2"], "ask for one of the two"),
        (["--part", "1/2"], "ask for one of the two"),
        (["--plan", "p.json"], "ask for one of the two"),
        (["--part", "0/2", "--plan", "p.json"], "--part 0/2: no part; give K/N, such as 3/64"),
        (["--part", "3/2", "--plan", "p.json"], "no part; give K/N"),
        (["--part", "1/9999999", "--plan", "p.json"], "N at most 100,000"),
        (["--part", "1/2", "--plan", "p.json", "--max-far", "0.1"], "--max-far: the plan has the"),
        (["--part", "1/2", "--plan", "p.json"], "p.json: cannot be read"),
    ],
)
def test_what_makes_no_sense_is_refused(words, told, cli, source):
    done = cli("count", source, "-o", "x", *words)
    assert done.returncode == 2 and done.stdout == ""
    assert told in " ".join(done.stderr.split())


def test_a_killed_job_leaves_no_part(source, tmp_path, cli):
    """SIGKILL cleans nothing up, so a half-written part would be there."""
    cli("count", source, "--plan-only", "-o", "plan.json")
    words = ["count", str(source), "--part", "1/1", "--plan", "plan.json", "-o", "part.npz"]
    script = (
        "import sys\nfrom opis_cli import __main__\nfrom opis_cli.counting import store\n"
        "real = store._write_steps\n"
        "def told(*args):\n    real(*args)\n"
        "    print('writing', flush=True)\n    sys.stdin.read()\n"
        f"store._write_steps = told\nsys.argv = ['opis', *{words!r}]\n__main__.main()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout.readline() == "writing\n"
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "part.npz").exists()
    assert "written" in cli(*words).stdout
    # What the killed job had begun is gone too.
    assert {file.name for file in tmp_path.iterdir()} == {"plan.json", "part.npz"}


def test_the_loop_of_the_reference_runs(cli, source, tmp_path):
    """As it stands there, but for the number of parts and the name of the source."""
    text = REFERENCE.read_text(encoding="utf-8")
    (loop,) = re.findall(r"```sh\n(opis count .*?)```", text, re.DOTALL)
    assert loop.count("64") == 2
    words = loop.replace("64", "2").replace("big.parquet", str(source))
    opis = tmp_path / "bin/opis"
    opis.parent.mkdir()
    opis.write_text(f'#!/bin/sh\nexec {sys.executable} -m opis_cli "$@"\n')
    opis.chmod(0o755)
    done = subprocess.run(
        ["bash", "-e", "-c", f'PATH="{opis.parent}:$PATH"\n{words}'],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "parts").iterdir())) == 2
    one = json.loads((tmp_path / "runs/big/report.json").read_text())
    two = json.loads(cli("evaluate", source, "--json").stdout)
    for key in set(one) - {"created", "timings", "counts_sha256"}:
        assert one[key] == two[key], key
    again = cli("merge", *(tmp_path / "parts").iterdir(), "--out", "runs/big")
    assert again.returncode == 2 and "a run is there already" in again.stderr
