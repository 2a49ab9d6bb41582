"""The action for GitHub and the template for GitLab hold to the published schemas, and are safe.

An input is text of whoever starts the workflow. It must reach opis as a word of a command, and
never be a part of a script.
"""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import data
import numpy as np
import pytest
from check_jsonschema.cli import main as check_jsonschema
from click.testing import CliRunner
from ruamel.yaml import YAML
from test_readme import blocks

from opis_cli.judging.limits import RULES

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".github/actions/gate"
ACTION = YAML(typ="safe").load(FOLDER / "action.yml")
NOT_LIMITS = {
    *("source", "evaluate-options", "package", "out", "artifact"),
    *("threshold", "baseline", "config", "confidence", "family"),
}


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("action_gate", FOLDER / "gate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def given(**inputs):
    """All inputs as the runner hands them over: those that are not given have their default."""
    defaults = {name: one.get("default", "") for name, one in ACTION["inputs"].items()}
    return defaults | {name.replace("_", "-"): value for name, value in inputs.items()}


def valid(schema, text, tmp_path):
    file = tmp_path / "file.yml"
    file.write_text(text, encoding="utf-8")
    command = ["--builtin-schema", f"vendor.{schema}", str(file)]
    return CliRunner().invoke(check_jsonschema, command)


def test_the_files_hold_to_the_published_schemas(tmp_path):
    action = (FOLDER / "action.yml").read_text(encoding="utf-8")
    # The schema takes anything for a hidden job, whose name begins with a dot.
    job = (FOLDER / "gitlab-ci.yml").read_text(encoding="utf-8").replace("\n.opis", "\nopis")
    for schema, text, word in (
        ("github-actions", action, "composite"),
        ("gitlab-ci", job, "always"),
    ):
        done = valid(schema, text, tmp_path)
        assert done.exit_code == 0, done.output
        # The schema is a real one: it refuses another word.
        assert valid(schema, text.replace(word, "sometimes"), tmp_path).exit_code == 1


def test_what_the_documents_show_holds_to_the_schemas_and_uses_the_files(tmp_path):
    shown = blocks("yaml")
    (workflow,) = [text for text in shown if "jobs:" in text]
    assert valid("github-workflows", workflow, tmp_path).exit_code == 0
    (job,) = [text for text in shown if "include:" in text]
    assert valid("gitlab-ci", job, tmp_path).exit_code == 0
    assert YAML(typ="safe").load(job)["gate"]["extends"] in (FOLDER / "gitlab-ci.yml").read_text()
    for text in shown:
        for step in re.findall(r"gate@main.*\n +with:\n((?: +[\w-]+: .*\n)+)", text):
            assert set(re.findall(r"^ +([\w-]+):", step, re.M)) <= set(ACTION["inputs"])


def test_the_inputs_are_the_limits_of_the_gate():
    limits = {name: one for name, one in ACTION["inputs"].items() if name not in NOT_LIMITS}
    assert list(limits) == [rule.name for rule in RULES]
    for rule in RULES:
        about = f"{rule.about[0].upper()}{rule.about[1:]}."
        assert limits[rule.name] == {"description": about, "default": ""}


def test_no_input_is_a_part_of_a_script():
    scripts = [step["run"] for step in ACTION["runs"]["steps"] if "run" in step]
    assert len(scripts) == 2 and not [text for text in scripts if "${{" in text]
    template = YAML(typ="safe").load(FOLDER / "gitlab-ci.yml")[".opis-gate"]
    for line in template["script"]:
        assert not re.search(r"\$", re.sub(r'"\$\w+"', "", line)), line


def test_inputs_become_words_that_are_no_options(script):
    hostile = '--out=/etc "$(touch pwned)"; `id` \' --'
    inputs = given(source=f"a b.npy\n{hostile}\n", threshold=hostile, max_far=hostile, out="o p")
    inputs |= {"evaluate-options": "--labels=y z.txt\n\n--max-far=0.001"}
    evaluate, gate = script.commands(inputs)
    assert evaluate == [
        *("evaluate", "--labels=y z.txt", "--max-far=0.001", f"--threshold={hostile}"),
        *("--out=o p/run", "--force", "--", "a b.npy", hostile),
    ]
    assert gate == [
        *("gate", f"--threshold={hostile}", f"--max-far={hostile}"),
        *("--html=o p/gate.html", "--junit=o p/gate.xml", "--", "o p/run"),
    ]


def test_the_script_evaluates_judges_and_writes_the_reports(tmp_path):
    vectors, labels = data.MADE["two_classes"]
    np.savez(tmp_path / "x.npz", embeddings=vectors, labels=labels)
    inputs = given(source="x.npz", max_opis="0", confidence="0.9", family="true")
    variables = {"INPUTS": json.dumps(inputs), "GITHUB_OUTPUT": str(tmp_path / "outputs")}
    done = subprocess.run(
        [sys.executable, FOLDER / "gate.py"],
        cwd=tmp_path, env=os.environ | variables, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    out = tmp_path / "opis-gate"
    assert {file.name for file in out.iterdir()} == {"gate.html", "gate.xml", "run"}
    outputs = dict(line.split("=", 1) for line in (tmp_path / "outputs").read_text().splitlines())
    assert (outputs["passed"], outputs["failed"]) == ("false", "max-opis")
    assert set(ACTION["outputs"]) <= set(outputs)


def test_a_run_is_judged_without_an_evaluation(script, saved_once):
    (gate,) = script.commands(given(source=str(saved_once), max_opis="1"))
    assert gate[0] == "gate" and gate[-1] == str(saved_once)
