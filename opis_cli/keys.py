"""Which class comes first, and what a row's pairs are credited to: folds and halves.

Counting happens once, in an order of the classes that keeps those of a fold together, so that the
pairs inside each fold are tiles of their own. Within a class, the rows of a random second half are
credited to a key of their own: the class's counts are the sum over both halves, and the halves'
noise is independent.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np

from opis_cli.errors import InputError
from opis_cli.records import Embeddings, Ints
from opis_cli.settings import Settings

MOST_SPLIT = 2_000
"""Classes that are split in halves, at most: a random choice of more would tell little more."""
LEAST_TO_SPLIT = 4
"""Rows of a class whose halves both have a genuine pair."""


@dataclass(frozen=True, slots=True)
class Arrangement:
    """Embeddings in the order of counting.

    Attributes
    ----------
    embeddings : Embeddings
        With the classes numbered by fold, and by name within a fold.
    classes : ndarray of shape (K,), int64
        Which class, by name, each of these is.
    folds : ndarray of shape (K,), int64
        Fold of each class, not decreasing; all 0 where there are none.
    split : ndarray of shape (S,), int64
        Classes in halves.
    keys : ndarray of shape (N,), int64
        What a row's pairs are credited to: the class, or ``K + s`` in the second half of the
        ``s``-th split class.
    """

    embeddings: Embeddings
    classes: Ints
    folds: Ints
    split: Ints
    keys: Ints


def arrange(embeddings: Embeddings, settings: Settings) -> Arrangement:
    """Order the classes by fold, and split them in halves; the same for the same seed.

    Raises
    ------
    InputError
        There are too few classes for so many folds.
    """
    count = len(embeddings.class_names)
    folds = np.zeros(count, np.int64)
    if settings.folds is not None:
        if count < 2 * settings.folds:
            raise InputError(
                f"--folds {settings.folds}: {count} classes are too few; each fold needs at "
                f"least two, so give at most --folds {count // 2}"
            )
        # Streams of random numbers of their own: halves are the same with and without folds.
        order = np.random.default_rng([settings.seed, 0]).permutation(count)
        folds[order] = np.arange(count) % settings.folds
    classes = np.argsort(folds, kind="stable")
    number = np.empty(count, np.int64)
    number[classes] = np.arange(count)
    labels = number[embeddings.labels]
    ordered = dataclasses.replace(
        embeddings, labels=labels, class_names=embeddings.class_names[classes]
    )
    sizes = np.bincount(labels, minlength=count)
    split = np.flatnonzero(sizes >= LEAST_TO_SPLIT)
    rng = np.random.default_rng([settings.seed, 1])
    if len(split) > MOST_SPLIT:
        split = np.sort(rng.choice(split, MOST_SPLIT, replace=False))
    return Arrangement(ordered, classes, folds[classes], split, _keys(labels, sizes, split, rng))


def _keys(labels: Ints, sizes: Ints, split: Ints, rng: np.random.Generator) -> Ints:
    """The class of each row, or the key of its class's second half."""
    shuffled = rng.permutation(len(labels))
    order = shuffled[np.argsort(labels[shuffled], kind="stable")]
    place = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    second = np.zeros(len(sizes), np.int64)
    second[split] = len(sizes) + np.arange(len(split))
    theirs = labels[order]
    in_second = (second[theirs] > 0) & (place < sizes[theirs] // 2)
    keys = labels.copy()
    keys[order[in_second]] = second[theirs[in_second]]
    return keys
