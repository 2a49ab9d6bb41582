"""OPIS while training: the metric against ``opis evaluate``, alone and over two processes."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import data
import numpy as np
import pandas as pd
import pytest

import opis_cli as opis
from opis_cli.errors import InputError, SettingsError

pytestmark = [
    pytest.mark.optional,
    pytest.mark.skipif(
        find_spec("torchmetrics") is None, reason="needs pip install 'opis-cli[torch]'"
    ),
]

PROCESS = """
import json, sys
import numpy as np, torch
from opis_cli.torch import OpisMetric

rank, splits, file, meeting = int(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3], sys.argv[4]
torch.distributed.init_process_group("gloo", f"file://{meeting}", rank=rank, world_size=2)
rows = np.load(file)
metric = OpisMetric()
for epoch in range(2):
    for start, stop in splits[rank]:
        part = slice(start, stop)
        metric.update(*(torch.from_numpy(rows[name][part]) for name in ("embeddings", "labels")))
    found = {name: float(value) for name, value in metric.compute().items()}
    kept = sum(map(len, metric.labels))
    metric.reset()
print(json.dumps([found, kept]))
torch.distributed.destroy_process_group()
"""


def made():
    vectors, labels = data.blobs(900, 30, seed=6)
    return vectors, labels.astype(np.int64)


def fed(vectors, labels, batch=128, **settings):
    import torch

    from opis_cli.torch import OpisMetric

    metric = OpisMetric(**settings)
    for start in range(0, len(labels), batch):
        part = slice(start, start + batch)
        metric.update(torch.as_tensor(vectors[part]), torch.as_tensor(labels[part]))
    return metric


def floats(found):
    return {name: float(value) for name, value in found.items()}


def close_to(figures):
    """The same figures, by products that may have rounded a pair over a threshold or two."""
    return pytest.approx(figures, rel=1e-4, nan_ok=True)


def expected(report):
    return {
        "opis": report["opis"],
        "eps_opis": report["eps_opis"]["value"],
        "recall_at_1": report["recall_at_1"],
        "threshold": report["recommendation"]["threshold"],
    }


@pytest.mark.parametrize("bound", [{}, {"metric": "euclidean", "max_far": 0.002}])
def test_it_is_what_the_command_line_says(cli, tmp_path, bound):
    vectors, labels = made()
    np.savez(tmp_path / "rows.npz", embeddings=vectors, labels=labels)
    flags = [word for key, value in bound.items() for word in (f"--{key.replace('_', '-')}", value)]
    done = cli("evaluate", "rows.npz", "--engine", "torch", "--device", "cpu", "--json", *flags)
    found = floats(fed(vectors, labels, **bound).compute())
    assert found == close_to(expected(json.loads(done.stdout)))


def test_other_engines_say_the_same():
    vectors, labels = data.sample("wordnet")
    codes = np.unique(labels, return_inverse=True)[1]
    report = opis.evaluate(vectors, labels, engine="numpy").report
    found = floats(fed(vectors, codes).compute())
    assert found["opis"] == pytest.approx(report.opis, rel=1e-4)
    assert found["recall_at_1"] == pytest.approx(report.recall_at_1, abs=1.5 / len(labels))
    assert found["threshold"] == pytest.approx(report.recommendation.threshold, abs=1e-5)


@pytest.mark.parametrize(
    "splits",
    [
        pytest.param([[[0, 100], [100, 800]], [[800, 850], [850, 900]]], id="uneven"),
        pytest.param([[[0, 900]], []], id="one process has none"),
    ],
)
def test_two_processes_have_the_metric_of_all_rows(tmp_path, splits):
    vectors, labels = made()
    np.savez(tmp_path / "rows.npz", embeddings=vectors, labels=labels)
    words = [json.dumps(splits), str(tmp_path / "rows.npz"), str(tmp_path / "meeting")]
    running = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", PROCESS, str(rank), *words],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for rank in range(2)
    ]
    found = [json.loads(process.communicate(timeout=600)[0]) for process in running]
    alone = floats(fed(vectors, labels).compute())
    assert found[0][0] == close_to(alone) and found[1][0] == close_to(alone)
    # Each process has its own rows again, so that they are not gathered twice.
    assert [kept for _, kept in found] == [sum(b - a for a, b in part) for part in splits]


def test_half_precision_counts_as_float32():
    import torch

    vectors, labels = made()
    half = torch.as_tensor(vectors).to(torch.bfloat16)
    found = floats(fed(half, labels).compute())
    assert found == close_to(floats(fed(half.float(), labels).compute()))
    assert found != close_to(floats(fed(vectors, labels).compute()))


def test_reset_forgets_and_gradients_are_let_go():
    import torch

    vectors, labels = made()
    metric = fed(vectors, labels)
    first = floats(metric.compute())
    metric.reset()
    metric.update(torch.as_tensor(vectors).requires_grad_(), torch.as_tensor(labels))
    assert not metric.embeddings[0].requires_grad
    assert floats(metric.compute()) == close_to(first)


def test_a_call_scores_the_batch_and_keeps_it():
    import torch

    vectors, labels = made()
    metric = fed(vectors[:400], labels[:400])
    batch = metric(torch.as_tensor(vectors[400:]), torch.as_tensor(labels[400:]))
    assert floats(batch) == close_to(floats(fed(vectors[400:], labels[400:]).compute()))
    assert floats(metric.compute()) == close_to(floats(fed(vectors, labels).compute()))


def test_what_cannot_be_scored_is_nan_with_the_reason():
    vectors, labels = made()
    with pytest.warns(UserWarning, match="NaN or infinity"):
        found = fed(np.full_like(vectors, np.nan), labels).compute()
    assert pd.isna(list(floats(found).values())).all()
    with pytest.warns(UserWarning, match="single row each"):
        fed(vectors[:4], np.arange(4)).compute()
    found = floats(fed(vectors, labels, max_far=1e-3, max_frr=1e-3).compute())
    assert pd.isna(found["threshold"]) and found["opis"] > 0


def test_misuse_is_refused_at_once():
    import torch

    vectors, labels = made()
    with pytest.raises(SettingsError, match="max_far is 2"):
        fed(vectors, labels, max_far=2)
    with pytest.raises(ValueError, match="max_fra"):
        fed(vectors, labels, max_fra=0.1)
    with pytest.raises(InputError, match="shape"):
        fed(vectors, labels[:5])
    with pytest.raises(InputError, match="integers"):
        fed(vectors, torch.as_tensor(labels).float())


def test_without_its_packages_it_names_the_extra():
    code = "import sys; sys.modules['torchmetrics'] = None; import opis_cli.torch"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "pip install 'opis-cli[torch]'" in done.stderr
