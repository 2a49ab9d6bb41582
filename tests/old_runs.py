"""Runs of each schema of reports, which later releases must read: ``tests/runs/v*``.

``python tests/old_runs.py write`` makes the run of the present schema again. Do so while that
schema is not released, and never afterwards. A new schema begins with a new number in
``opis_cli/report/records.py``.
"""

import sys
import tempfile
from pathlib import Path

import data

import opis_cli as opis
from opis_cli.report.records import SCHEMA_VERSION

FOLDER = Path(__file__).parent / "runs"
FILES = ("classes.parquet", "counts.npz", "report.json", "threshold.json")


def evaluated() -> opis.Run:
    """Evaluate what every run in ``tests/runs`` was made from. The last row is a class of one."""
    vectors, labels = data.signs(48, 6, 32, seed=1)
    labels[-1] = labels.max() + 1
    return opis.evaluate(vectors, labels, max_far=0.05, max_frr=0.5, threshold="0.5", folds=2)


def write(target: Path) -> None:
    """Write the files of a run that are kept."""
    with tempfile.TemporaryDirectory() as folder:
        evaluated().save(Path(folder) / "run")
        target.mkdir(exist_ok=True)
        for name in FILES:
            (target / name).write_bytes((Path(folder) / "run" / name).read_bytes())


if __name__ == "__main__":
    if sys.argv[1:] != ["write"]:
        raise SystemExit(__doc__)
    write(FOLDER / f"v{SCHEMA_VERSION}")
