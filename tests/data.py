"""Embeddings for tests: made, and the real ones of ``sample_data/``."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opis_cli.counting.sizes import Sizes
from opis_cli.embeddings.clean import Reading, from_arrays
from opis_cli.pipeline import evaluate_embeddings
from opis_cli.records import Grid, PairCounts
from opis_cli.run import Run
from opis_cli.settings import Settings

SAMPLES = Path(__file__).parents[1] / "sample_data"
Data = tuple[NDArray[Any], NDArray[Any]]


def blobs(
    rows: int, classes: int, dim: int = 16, *, seed: int = 0, spread: float = 0.7, skew: float = 0.0
) -> Data:
    """Normal clouds around random centres; ``skew`` makes class sizes long-tailed."""
    rng = np.random.default_rng(seed)
    shares = 1.0 / np.arange(1, classes + 1) ** skew
    labels = rng.choice(classes, rows, p=shares / shares.sum())
    # Each class differs in its spread, so that the classes are not consistent.
    noise = spread * rng.uniform(0.6, 1.4, classes)[labels, None] * rng.standard_normal((rows, dim))
    return (rng.standard_normal((classes, dim))[labels] + noise).astype(np.float32), labels


def narrow(rows: int, classes: int, dim: int = 32, *, seed: int = 0) -> Data:
    """Vectors whose cosine similarities all lie between about 0.85 and 1."""
    vectors, labels = blobs(rows, classes, dim, seed=seed)
    return vectors + np.float32(3.0), labels


def duplicated(rows: int, classes: int, dim: int = 8, *, seed: int = 0) -> Data:
    """Blobs where every fifth row repeats another one, of its own class or not."""
    vectors, labels = blobs(rows, classes, dim, seed=seed)
    rng = np.random.default_rng(seed + 1)
    vectors[::5] = vectors[rng.integers(0, rows, len(vectors[::5]))]
    return vectors, labels


def lattice(rows: int, classes: int, *, seed: int = 0) -> Data:
    """Small whole numbers: distances tie everywhere."""
    rng = np.random.default_rng(seed)
    vectors = rng.integers(0, 3, (rows, 4)).astype(np.float32)
    vectors[:, 0] += 1
    return vectors, rng.integers(0, classes, rows)


def sample(name: str) -> Data:
    """A file of ``sample_data/`` as arrays."""
    import pandas as pd

    table = pd.read_parquet(SAMPLES / f"{name}.parquet")
    return np.stack(table["embedding"].to_numpy()), table["label"].to_numpy(object)


MADE: dict[str, Data] = {
    "blobs": blobs(600, 12),
    "long_tail": blobs(900, 60, skew=1.5, seed=1),
    "narrow": narrow(500, 10),
    "duplicated": duplicated(400, 8),
    "lattice": lattice(300, 6),
    "two_classes": blobs(300, 2, seed=3),
    "many_singletons": blobs(150, 120, seed=4),
    "uneven_tiles": blobs(1_300, 9, 5, seed=5),
}


def signs(rows: int, classes: int, dim: int = 64, *, seed: int = 0) -> Data:
    """Vectors of plus and minus one, times a power of two: float32 products are exact, in any
    order of summing, and so is every count on any machine."""
    rng = np.random.default_rng(seed)
    labels = np.arange(rows) % classes
    centres = rng.integers(0, 2, (classes, dim))
    flipped = rng.random((rows, dim)) < rng.uniform(0.05, 0.3, classes)[labels, None]
    return (2 * (centres[labels] ^ flipped) - 1).astype(np.float32) / 8, labels


def hand_made(genuine, impostor, sizes, thresholds) -> PairCounts:
    """Counts written down by hand, at all thresholds by class."""
    genuine, impostor = np.array(genuine), np.array(impostor)
    grid = Grid(np.array(thresholds), len(thresholds), np.arange(len(thresholds)))
    return PairCounts(
        grid=grid,
        metric="cosine",
        unit=True,
        class_names=np.array([f"c{i}" for i in range(len(sizes))], object),
        sizes=np.array(sizes),
        genuine=genuine,
        impostor=impostor,
        pooled_genuine=genuine.sum(axis=0),
        pooled_impostor=impostor.sum(axis=0) // 2,
        nearest_hits=np.array(sizes),
    )


def clouds(classes, rows, *, spread=0.0, noise=1.5, dim=64, seed=0):
    """Rows about centres of one length, each at one distance, or at distances by class.

    With unequal lengths cosine distances would make real differences between the classes.
    """
    rng = np.random.default_rng(seed)
    centres = unit(rng.standard_normal((classes, dim)))
    lengths = noise * np.exp(spread * rng.standard_normal(classes))
    labels = np.repeat(np.arange(classes), rows)
    away = unit(np.random.default_rng(seed + 1).standard_normal((classes * rows, dim)))
    return (centres[labels] + lengths[labels, None] * away).astype(np.float32), labels


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def evaluate(vectors: Any, labels: Any, sizes: Sizes, **settings: Any) -> Run:
    """``opis.evaluate``, with other sizes at which counting goes another way."""
    chosen = Settings(**settings)
    rows = from_arrays(vectors, labels, Reading.of(chosen))
    return evaluate_embeddings(rows, chosen, sizes=sizes)
