"""A plain evaluation gives what it always gave.

The rows are such that products are exact, so the figures do not depend on the machine. Where they
change on purpose, as when thresholds are placed anew: ``python tests/test_golden.py write``.
"""

import hashlib
import json
import sys
from pathlib import Path

import data
import numpy as np
import pytest

import opis_cli as opis
from opis_cli.report.report_json import to_dict

GOLDEN = Path(__file__).parent / "golden.json"
ARRAYS = ("sizes", "genuine", "impostor", "pooled_genuine", "pooled_impostor", "nearest_hits")
UNSTABLE = ("created", "timings", "opis_version", "settings")


def figures() -> dict:
    """All figures of an evaluation with singletons and ties."""
    vectors, labels = data.signs(900, 45)
    labels = np.where(np.arange(900) % 97 == 0, 1000 + np.arange(900), labels)
    run = opis.evaluate(vectors, labels, max_far=0.02, engine="numpy")
    found = {key: value for key, value in to_dict(run.report).items() if key not in UNSTABLE}
    found["digests"] = {
        name: hashlib.sha256(
            np.ascontiguousarray(getattr(run.counts, name)).astype(np.int64).tobytes()
        ).hexdigest()
        for name in (*ARRAYS, "genuine_pairs", "impostor_pairs")
    }
    table = run.classes().astype(object)
    found["classes"] = table.where(table.notna(), None).to_dict("list")
    return found


def compare(golden, found, where="") -> None:
    if isinstance(golden, dict):
        for key, value in golden.items():
            compare(value, found[key], f"{where}.{key}")
    elif isinstance(golden, list):
        assert len(golden) == len(found), where
        for i, value in enumerate(golden):
            compare(value, found[i], f"{where}[{i}]")
    elif isinstance(golden, float):
        # Sums of float64 differ in the last bit from one processor to another.
        assert found == pytest.approx(golden, rel=1e-12), where
    else:
        assert found == golden, where


def test_figures_are_those_of_before():
    compare(json.loads(GOLDEN.read_text()), json.loads(json.dumps(figures())))


if __name__ == "__main__" and sys.argv[1:] == ["write"]:
    GOLDEN.write_text(json.dumps(figures(), separators=(",", ":")) + "\n")
