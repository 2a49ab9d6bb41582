"""Evaluate embeddings and judge the run, with the inputs of the action.

The inputs come as JSON in one variable, and each becomes one word of a command. No shell reads
them. Limits and settings that are not inputs are in ``opis.toml``, where the repository has one.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

OWN = ("source", "evaluate-options", "package", "out", "artifact")
"""Inputs that are no options of ``opis gate``."""
PAGE, JUNIT, RUN = "gate.html", "gate.xml", "run"


def commands(inputs: Mapping[str, str]) -> list[list[str]]:
    """Return the words of ``opis evaluate``, unless the source is a run, and of ``opis gate``."""
    out = Path(inputs["out"])
    sources = lines(inputs["source"])
    run, evaluate = str(out / RUN), []
    if len(sources) == 1 and (Path(sources[0]) / "report.json").is_file():
        run = sources[0]
    else:
        given = lines(inputs["evaluate-options"])
        if inputs["threshold"]:
            given.append(f"--threshold={inputs['threshold']}")
        evaluate = [
            ["evaluate", *given, *config(inputs), f"--out={run}", "--force", "--", *sources]
        ]
    limits = [
        f"--{name}={value}"
        for name, value in inputs.items()
        if value and name not in (*OWN, "config", "family")
    ]
    family = ["--family"] if inputs["family"] == "true" else []
    reports = [f"--html={out / PAGE}", f"--junit={out / JUNIT}"]
    return [*evaluate, ["gate", *limits, *family, *config(inputs), *reports, "--", run]]


def config(inputs: Mapping[str, str]) -> list[str]:
    """Return the option of the settings file, if one is given."""
    return [f"--config={inputs['config']}"] if inputs["config"] else []


def lines(text: str) -> list[str]:
    """Return the lines of a text that hold something."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def main() -> int:
    """Run the commands up to the first that fails, and return its exit code."""
    inputs = json.loads(os.environ["INPUTS"])
    if not lines(inputs["source"]):
        print("::error::the input `source` is empty; name embeddings, or the folder of a run")
        return 2
    for words in commands(inputs):
        code = subprocess.run([sys.executable, "-m", "opis_cli", *words], check=False).returncode
        if code:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
