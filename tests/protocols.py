"""Rows and settings under every protocol, for tests that compare with brute force."""

import dataclasses
import itertools
from pathlib import Path

import data
import numpy as np
import pandas as pd

from opis_cli.embeddings.clean import Reading, from_arrays
from opis_cli.embeddings.gallery import with_gallery
from opis_cli.settings import Settings

PROTOCOLS = {
    "all pairs": {},
    "euclidean": {"metric": "euclidean"},
    "bits": {"metric": "hamming"},
    "within tenants": {"within_column": "tenant"},
    "excluded": {"exclude_same": "camera"},
    "groups": {"group_column": "tenant"},
    "folds": {"folds": 2},
    "a gallery": {"gallery": "<arrays>"},
    "a gallery with exclusions": {"gallery": "<arrays>", "exclude_same": "camera"},
}
ROWS, QUERIES = 156, 96


class Naive:
    """Every pair in float64, one at a time."""

    def __init__(self, embeddings, settings):
        self.labels = embeddings.labels
        bits = settings.metric == "hamming"
        vectors = np.unpackbits(embeddings.vectors, axis=1) if bits else embeddings.vectors
        vectors = vectors.astype(np.float64)
        if settings.metric == "cosine":
            vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        count = len(vectors)
        queries = count - (embeddings.gallery_rows or 0)
        columns = {name: column.codes for name, column in embeddings.columns.items()}
        self.pairs = []
        for i, j in itertools.combinations(range(count), 2):
            if embeddings.gallery_rows and not (i < queries <= j):
                continue
            if settings.within_column and columns["tenant"][i] != columns["tenant"][j]:
                continue
            if settings.exclude_same and columns["camera"][i] == columns["camera"][j]:
                continue
            square = float(((vectors[i] - vectors[j]) ** 2).sum())
            distance = square**0.5
            if settings.metric != "euclidean":
                distance = square / 2 if settings.metric == "cosine" else square
            self.pairs.append((i, j, round(distance, 9)))

    def genuine(self, i, j):
        return self.labels[i] == self.labels[j]


def rows_of(settings: Settings, seed: int = 4):
    """Rows of signs, so that float32 and float64 agree on every distance. Many distances tie.

    Another seed makes the same rows as another model embeds them.
    """
    vectors, labels, columns = _arrays(settings, seed)
    if settings.gallery is None:
        return from_arrays(vectors, labels, Reading.of(settings), columns=columns)
    parts = [
        from_arrays(
            vectors[part],
            labels[part],
            Reading.of(settings, gallery=gallery),
            columns={name: values[part] for name, values in columns.items()},
        )
        for gallery, part in ((False, slice(QUERIES)), (True, slice(QUERIES, None)))
    ]
    return with_gallery(*parts)


def files_of(settings: Settings, folder: Path) -> tuple[Path, Settings]:
    """The same rows in files, and settings that name them."""
    vectors, labels, columns = _arrays(settings)
    table = pd.DataFrame({"embedding": list(vectors), "label": labels, **columns})
    source, gallery = folder / "rows.parquet", folder / "gallery.parquet"
    if settings.gallery is None:
        table.to_parquet(source)
        return source, settings
    table[:QUERIES].to_parquet(source)
    table[QUERIES:].to_parquet(gallery)
    return source, dataclasses.replace(settings, gallery=str(gallery))


def _arrays(settings: Settings, seed: int = 4):
    vectors, labels = data.signs(ROWS, 13, 24, seed=seed)
    rng = np.random.default_rng(2)
    columns = {"tenant": np.arange(ROWS) // 60, "camera": rng.integers(0, 5, ROWS)}
    if settings.metric == "hamming":
        vectors = np.sign(vectors)
    vectors[50], vectors[77] = vectors[20], vectors[20]  # copies: 50 is of another class
    labels[77] = labels[20]
    return vectors, labels, columns
