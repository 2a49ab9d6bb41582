"""Does the threshold-consistent margin loss (TCM) make thresholds more consistent? Train and see.

::

    pip install 'opis-cli[train]' && sudo apt-get install fonts-aenigma
    python sample_data/train_tcm.py --out runs/tcm

A small network learns digits, and fonts that the test has none of, by several base losses, each
without and with the TCM term: same initial weights, same batches. Every model's embeddings of the
test rows are written as Parquet, for ``opis evaluate`` and ``opis compare``. Margins are the
paper's, 0.9 and 0.5. Weights of the term were chosen on seeds 0 and 1, and are judged on others.

Models that are there are not trained again, so an interrupted run goes on where it was. The same
seed gives the same embeddings on the same machine, with any number of ``--jobs``.

The 36 models took 20 minutes of processor time: 24 minutes on two cores with other work. The 96 of
``--full`` take about an hour of processor time, by what models of each kind took.
"""

import argparse
import multiprocessing
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import train_data
from train_cases import CASES, MORE_CASES, MORE_SEEDS, SAMPLE, SAMPLE_SEED, SEEDS, Case, Model

from opis_cli.errors import MissingExtra, OpisError
from opis_cli.files import replacing
from opis_cli.machine import processors

# Classes a batch, and rows of each.
BATCHES = {"digits": (10, 16), "fonts": (32, 8)}
WIDTHS = (24, 48, 96)


def network(channels: int, dim: int) -> Any:
    """Three convolutions of stride 2 with batch norm and ReLU, and a linear map to ``dim``."""
    from torch import nn

    layers: list[Any] = []
    for width in WIDTHS:
        layers += [nn.Conv2d(channels, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU()]
        channels = width
    side = -(-train_data.SIDE // 8)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * side**2, dim))


def base_loss(name: str, classes: int, dim: int) -> Any:
    """A base loss of pytorch-metric-learning."""
    import torch
    from pytorch_metric_learning import losses

    class ArcFace(losses.ArcFaceLoss):
        def get_angles(self, cosines: Any) -> Any:
            # The arc cosine has no finite slope at 1, which two dimensions do reach.
            return torch.acos(cosines.clamp(-1 + 1e-6, 1 - 1e-6))

    return {
        "NormalizedSoftmax": lambda: losses.NormalizedSoftmaxLoss(classes, dim, temperature=0.05),
        "ArcFace": lambda: ArcFace(classes, dim, margin=28.6, scale=30),
        "ProxyAnchor": lambda: losses.ProxyAnchorLoss(classes, dim),
        "MultiSimilarity": losses.MultiSimilarityLoss,
        "SupCon": losses.SupConLoss,
    }[name]()


def train(model: Model) -> np.ndarray:
    """Train a network; returns its embeddings of the test rows, (N, dim), not normalised."""
    import torch
    from pytorch_metric_learning.losses import ThresholdConsistentMarginLoss

    # One thread, so that sums have one order; whole networks are trained side by side instead.
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(model.seed)
    case, task = model.case, getattr(train_data, model.case.task)()
    net = network(task.train.pictures.shape[1], case.dim)
    loss = base_loss(case.base, len(task.train.names), case.dim)
    tcm = ThresholdConsistentMarginLoss()
    groups = [{"params": net.parameters(), "lr": 2e-3, "weight_decay": 1e-4}]
    if proxies := list(loss.parameters()):
        groups.append({"params": proxies, "lr": 2e-2, "weight_decay": 0.0})
    optimizer = torch.optim.AdamW(groups)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [group["lr"] for group in groups], total_steps=model.steps
    )
    pictures, labels = map(torch.from_numpy, (task.train.pictures, task.train.labels))
    net.train()
    for rows in batches(task.train.labels, model):
        embeddings = net(pictures[rows])
        total = loss(embeddings, labels[rows])
        if model.tcm:
            total = total + case.weight * tcm(embeddings, labels[rows])
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        schedule.step()
    net.eval()
    with torch.inference_mode():
        return net(torch.from_numpy(task.test.pictures)).numpy()


def batches(labels: np.ndarray, model: Model) -> Iterator[np.ndarray]:
    """Row numbers of each batch: so many rows of each of so many classes."""
    rng = np.random.default_rng(model.seed)
    classes, size = BATCHES[model.case.task]
    members = [np.flatnonzero(labels == label) for label in range(labels.max() + 1)]
    for _ in range(model.steps):
        chosen = rng.choice(len(members), min(classes, len(members)), replace=False)
        yield np.concatenate([rng.choice(members[i], size, replace=False) for i in chosen])


def write(model: Model, file: Path) -> float:
    """Train a model and write its embeddings; returns the seconds that it took."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    start = time.perf_counter()
    vectors, test = train(model), getattr(train_data, model.case.task)().test
    columns = {
        "embedding": pa.FixedSizeListArray.from_arrays(vectors.ravel(), vectors.shape[1]),
        "label": pa.array([test.names[label] for label in test.labels]),
    }
    table = pa.table(columns).replace_schema_metadata({"recipe": model.recipe})
    with replacing(file) as scratch:
        pq.write_table(table, scratch, use_dictionary=["label"])
    return time.perf_counter() - start


def is_there(model: Model, file: Path) -> bool:
    """Whether a model's embeddings were written before, by the same recipe."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        found = pq.read_schema(file).metadata or {}
    except (OSError, pa.ArrowException):
        return False
    return found.get(b"recipe") == model.recipe.encode()


def write_all(models: dict[Model, Path], jobs: int) -> None:
    """Train what is not there, some models at a time, and say how far it is."""
    left = {model: file for model, file in models.items() if not is_there(model, file)}
    print(f"{len(models)} models, {len(left)} to train, {jobs} at a time", flush=True)
    start = time.perf_counter()
    spawn = multiprocessing.get_context("spawn")
    # Ctrl-C ends the workers at once and without a word; it is this process that tells.
    quiet = (signal.SIGINT, signal.SIG_DFL)
    with ProcessPoolExecutor(jobs, spawn, signal.signal, quiet) as pool:
        try:
            futures = {pool.submit(write, *pair): pair[0] for pair in left.items()}
            for done, future in enumerate(as_completed(futures), start=1):
                seconds = future.result()
                minutes = (time.perf_counter() - start) / done * (len(left) - done) / 60
                about = f"{seconds:.0f} s; about {minutes:.0f} min left"
                print(f"[{done}/{len(left)}] {futures[future].name} ({about})", flush=True)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            # Where the interrupt was sent to this process alone, workers would train to the end.
            for worker in multiprocessing.active_children():
                worker.terminate()
            raise


def check_installed(cases: set[Case]) -> None:
    """Refuse to begin where a package is missing.

    Raises
    ------
    MissingExtra, MissingPackage
        The message names the command that installs it.
    """
    packages = ("torch", "pytorch_metric_learning", "mlxtend", "PIL")
    if any(find_spec(package) is None for package in packages):
        raise MissingExtra("this experiment", "train")
    if any(case.task == "fonts" for case in cases):
        train_data.check_fonts()


def whole(least: int) -> Callable[[str], int]:
    """A reader of whole numbers of at least so much."""

    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} up")
        return int(text)

    return read


def options() -> argparse.Namespace:
    """The command line."""
    known = [case.name for case in CASES + MORE_CASES]
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").replace("::\n\n", ""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--out", type=Path, default=Path("runs/tcm"), metavar="DIR", help="default: runs/tcm")
    add("--full", action="store_true", help="more losses and seeds")
    add("--only", nargs="+", choices=known, metavar="CASE", help=f"some of {', '.join(known)}")
    add(
        "--seeds",
        nargs="+",
        type=whole(0),
        metavar="N",
        help=f"default: {' '.join(map(str, SEEDS))}",
    )
    add(
        "--steps", type=whole(3), metavar="N", help="fewer or more training steps, for a quick look"
    )
    add("--jobs", type=whole(1), default=processors(), metavar="N", help="models trained at a time")
    add(
        "--sample",
        type=Path,
        metavar="DIR",
        help="only write fonts_base.parquet and fonts_tcm.parquet, the sample data, into DIR",
    )
    return parser.parse_args()


def planned(args: argparse.Namespace) -> dict[Model, Path]:
    """The models to train, and the file of each."""
    if args.sample:
        steps = args.steps or SAMPLE.steps
        return {
            Model(SAMPLE, SAMPLE_SEED, tcm, steps): args.sample / f"fonts_{name}.parquet"
            for tcm, name in ((False, "base"), (True, "tcm"))
        }
    cases = CASES + MORE_CASES if args.full or args.only else CASES
    models = [
        Model(case, seed, tcm, args.steps or case.steps)
        for seed in args.seeds or (MORE_SEEDS if args.full else SEEDS)
        for case in cases
        if not args.only or case.name in args.only
        for tcm in (False, True)
    ]
    return {model: args.out / f"{model.name}.parquet" for model in models}


def main() -> int:
    """Train, write, and show what came out; returns the exit code."""
    args = options()
    models = planned(args)
    try:
        check_installed({model.case for model in models})
        write_all(models, args.jobs)
        if not args.sample:
            import train_report

            train_report.show(models, args.out)
    except (train_data.MissingPackage, OpisError) as error:
        print(f"train_tcm: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("train_tcm: interrupted; run it again to go on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
