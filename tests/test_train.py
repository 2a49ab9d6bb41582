"""The training experiment: repeatable, fair to both sides, and clear about what it lacks."""

import dataclasses
import json
import shlex
import signal
import subprocess
import sys
from importlib import util
from pathlib import Path

import data
import numpy as np
import pandas as pd
import pytest

SCRIPT = data.SAMPLES / "train_tcm.py"
FONTS = Path(util.find_spec("matplotlib").origin).parent / "mpl-data/fonts/ttf"

needs_train = pytest.mark.skipif(
    any(util.find_spec(name) is None for name in ("pytorch_metric_learning", "mlxtend")),
    reason="needs pip install 'opis-cli[train]'",
)


@pytest.fixture
def tcm(monkeypatch):
    """The script as a module, which leaves torch as it was."""
    monkeypatch.syspath_prepend(str(data.SAMPLES))
    import train_tcm

    return train_tcm


@pytest.fixture
def torch_settings():
    """Put torch's global settings back."""
    import torch

    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


def run(*words):
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, words)], capture_output=True, text=True, check=False
    )


@pytest.mark.optional
@needs_train
def test_it_repeats_and_both_sides_share_weights_and_batches(tcm, torch_settings):
    case = next(case for case in tcm.CASES if case.name == "digits-NormalizedSoftmax")
    model = tcm.Model(case, 5, tcm=False, steps=4)
    base = tcm.train(model)
    assert base.shape == (1_500, 32)
    assert np.array_equal(base, tcm.train(model))
    assert not np.allclose(base, tcm.train(dataclasses.replace(model, seed=6)))
    # A weightless term changes nothing, so all that differs between the two is the term.
    weightless = dataclasses.replace(case, weight=0)
    assert np.array_equal(base, tcm.train(dataclasses.replace(model, case=weightless, tcm=True)))
    assert not np.allclose(base, tcm.train(dataclasses.replace(model, tcm=True)))


@pytest.mark.optional
@needs_train
def test_it_writes_what_opis_reads_and_goes_on_where_it_was(cli, tmp_path):
    words = ("--out", tmp_path, "--only", "digits-ArcFace-2d", "--seeds", 5, "--steps", 10)
    done = run(*words, "--jobs", 1)
    assert done.returncode == 0, done.stderr
    assert "[2/2] digits-2d-seed5/ArcFace+TCM (" in done.stdout
    tables = [
        pd.read_parquet(tmp_path / f"digits-2d-seed5/{name}.parquet")
        for name in ("ArcFace", "ArcFace+TCM")
    ]
    assert tables[0]["label"].equals(tables[1]["label"])
    results = pd.read_csv(tmp_path / "results.csv")
    assert results["tcm"].tolist() == [False, True]
    assert (results["opis"] > 0).all()
    text = (tmp_path / "table.md").read_text()
    assert f"{100 * (results['opis'][1] / results['opis'][0] - 1):+.0f} %" in text
    for picture in ("curves", "errors", "toy"):
        assert (tmp_path / f"{picture}.png").stat().st_size > 10_000
    command = shlex.split(done.stdout.partition("Look closer:\n")[2].replace("\\\n", ""))
    found = cli(*command[1:])
    assert (found.returncode, found.stderr) == (0, "")
    assert "ArcFace+TCM against ArcFace\n" in found.stdout
    file = tmp_path / "digits-2d-seed5" / "ArcFace+TCM.parquet"
    before = file.read_bytes()
    file.unlink()
    again = run(*words)
    assert "2 models, 1 to train" in again.stdout
    assert file.read_bytes() == before


@pytest.mark.optional
@needs_train
def test_an_interrupt_of_its_process_alone_ends_the_workers_too(tmp_path):
    # So many steps that the second training has not ended when the interrupt comes.
    words = f"--only digits-NormalizedSoftmax --seeds 5 --steps 200 --jobs 1 --out {tmp_path}"
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), *words.split()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert "2 to train" in process.stdout.readline()
    assert process.stdout.readline().startswith("[1/2]")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130
    assert errors == "train_tcm: interrupted; run it again to go on\n"
    written = [file.name for file in tmp_path.rglob("*.parquet")]
    assert written == ["NormalizedSoftmax.parquet"], "a worker trained to its end"


def test_the_seed_shown_is_in_the_middle_by_change_of_opis(tcm):
    import train_report

    # With TCM; without, OPIS is 1.
    opis = {("digits-ArcFace", 2): 0.5, ("fonts-ArcFace", 2): 0.1}
    opis |= {("fonts-ArcFace", 3): 0.4, ("fonts-ArcFace", 4): 0.3, ("fonts-SupCon", 2): 0.2}
    rows = [
        {"case": case, "seed": seed, "tcm": added, "opis": value if added else 1}
        for (case, seed), value in opis.items()
        for added in (False, True)
    ]
    results = pd.DataFrame(rows)
    assert train_report.changes(results)["fonts-ArcFace", 3] == pytest.approx(-60)
    shown = train_report.middle(results)
    assert shown["case"].tolist() == ["fonts-ArcFace"] * 2
    assert (shown["seed"].tolist(), shown["tcm"].tolist()) == ([4, 4], [False, True])


def test_a_missing_package_is_named_with_its_command(tcm, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train_tcm.py", "--out", str(tmp_path / "out")])
    monkeypatch.setattr(tcm.train_data, "FONTS", tmp_path)
    monkeypatch.setattr(tcm, "find_spec", lambda name: name)
    assert tcm.main() == 2
    assert "apt-get install fonts-aenigma" in capsys.readouterr().err
    monkeypatch.setattr(tcm, "find_spec", lambda name: None)
    assert tcm.main() == 2
    assert "pip install 'opis-cli[train]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_fonts_of_the_test_are_of_families_that_training_has_none_of(tcm, monkeypatch):
    monkeypatch.setattr(tcm.train_data, "FONTS", FONTS)
    task = tcm.train_data.fonts.__wrapped__()
    for split in (task.train, task.test):
        assert split.pictures.shape == (16 * len(split.names), 5, 28, 28)
        assert np.array_equal(np.bincount(split.labels), [16] * len(split.names))
        assert 0 <= split.pictures.min() < split.pictures.max() <= 1
        assert split.pictures.max(axis=(2, 3)).min() > 0.2, "a glyph is blank"
    families = [{name[:4] for name in split.names} for split in (task.train, task.test)]
    assert families[0] and families[1] and not families[0] & families[1]


def test_near_duplicates_are_left_out(tcm):
    rng = np.random.default_rng(0)
    one, two = rng.random((2, 62, 28, 28)).astype(np.float32) > 0.8
    near = one.copy()
    near[:, :2] = two[:, :2]
    kept = tcm.train_data._distinct(
        {
            name: glyphs.astype(np.float32)
            for name, glyphs in {"a": one, "b": near, "c": two}.items()
        }
    )
    assert list(kept) == ["a", "c"]


def test_the_sample_data_are_two_models_of_the_experiment(tcm):
    import pyarrow.parquet as pq

    labels = []
    for added, name in ((False, "fonts_base"), (True, "fonts_tcm")):
        table = pq.read_table(data.SAMPLES / f"{name}.parquet")
        recipe = json.loads(table.schema.metadata[b"recipe"])
        model = tcm.Model(tcm.SAMPLE, tcm.SAMPLE_SEED, added, tcm.SAMPLE.steps)
        assert {key: recipe[key] for key in dataclasses.asdict(model)} == dataclasses.asdict(model)
        labels.append(table["label"])
    assert labels[0].equals(labels[1])
