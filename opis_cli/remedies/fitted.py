"""A fitted remedy: transforms, then perhaps a score normalisation. And how one is fitted."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from opis_cli.errors import InputError
from opis_cli.records import Ints, Numbers
from opis_cli.remedies.normalisations import (
    COHORT_ROWS,
    Cohort,
    Doubles,
    Forms,
    Normalisation,
    fit_normalisation,
)
from opis_cli.remedies.recipes import Recipe, name_of
from opis_cli.remedies.transforms import Transform, fit_transform
from opis_cli.settings import Engine, Metric

Names = NDArray[np.str_] | None


@dataclass(frozen=True, slots=True, eq=False)
class Training:
    """The rows that a remedy is fitted on.

    Attributes
    ----------
    vectors : ndarray of shape (N, D)
    classes : ndarray of shape (N,), int64
        Index of each row's class in ``class_names``.
    class_names : ndarray of shape (K,)
    in_cohort : ndarray of shape (N,), bool
        Whether a row may be in the cohort: each row, or with a gallery each row of the gallery.
    groups : ndarray of shape (N,), str, optional
        Group of each row, if rows have groups.
    max_far : float
        Bound on the FAR, a share, at which ``fsn`` and ``group`` level clusters and groups.
    seed : int
    engine : Engine
        What counts the pairs of inner folds.
    """

    vectors: Numbers
    classes: Ints
    class_names: NDArray[np.str_]
    in_cohort: NDArray[np.bool_]
    groups: NDArray[np.str_] | None
    max_far: float
    seed: int
    engine: Engine

    def some(self, rows: NDArray[np.bool_] | Ints) -> "Training":
        """Return some of the rows."""
        return replace(
            self,
            vectors=self.vectors[rows],
            classes=self.classes[rows],
            in_cohort=self.in_cohort[rows],
            groups=None if self.groups is None else self.groups[rows],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A fitted remedy.

    Attributes
    ----------
    recipe : Recipe
        Its steps, with every number.
    dim : int
        Number of dimensions of the vectors that it takes.
    transforms : tuple of Transform
    normalisation : Normalisation, optional
    """

    recipe: Recipe
    dim: int
    transforms: tuple[Transform, ...]
    normalisation: Normalisation | None

    @property
    def metric(self) -> Metric:
        """Metric of the vectors that it makes: ``cosine``, or ``dot`` for a normalisation."""
        return "cosine" if self.normalisation is None else "dot"

    @property
    def width(self) -> int:
        """Number of dimensions of the vectors that it makes."""
        return self.dim if self.normalisation is None else self.normalisation.width(self.dim)

    def changed(self, vectors: Numbers) -> Numbers:
        """Return vectors behind the transforms, of whatever length, shape (N, D)."""
        if not self.transforms:
            return vectors
        found = np.asarray(vectors, np.float64)
        for transform in self.transforms:
            found = transform(found)
        return found

    def transformed(self, vectors: Numbers) -> Doubles:
        """Return unit vectors behind the transforms, shape (N, D), float64.

        Raises
        ------
        InputError
            A vector has another number of dimensions, or none of it is left.
        """
        if np.ndim(vectors) != 2 or vectors.shape[1] != self.dim:
            raise InputError(
                f"the remedy takes vectors of {self.dim} dimensions, and these have the shape "
                f"{np.shape(vectors)}; use the model that it was fitted on"
            )
        found = np.asarray(self.changed(vectors), np.float64)
        lengths = np.sqrt(np.einsum("nd,nd->n", found, found))
        if not lengths.all():
            raise InputError(
                f"row {int(np.argmin(lengths))} is a vector of zeros once {name_of(self.recipe)} "
                "is applied; leave it out"
            )
        return np.asarray(found / lengths[:, None])

    def forms(self, vectors: Numbers, classes: Names = None, groups: Names = None) -> Forms:
        """Return the query form and the gallery form of rows: twice the same without two forms.

        Parameters
        ----------
        vectors : ndarray of shape (N, D)
        classes : ndarray of shape (N,), str, optional
            Class name of each row. Cohort rows of that class do not count for it.
        groups : ndarray of shape (N,), str, optional
            Group of each row, for ``group``.
        """
        units = self.transformed(vectors)
        if self.normalisation is None:
            return units, units
        numbers = self.normalisation.numbers(units, classes, groups)
        return self.normalisation.forms(units, numbers)


def fit(recipe: Recipe, training: Training) -> Fitted:
    """Fit a remedy whose numbers are all known. Without steps, it changes nothing.

    Raises
    ------
    InputError
        The rows do not suffice for it.
    """
    fitted = Fitted((), training.vectors.shape[1], (), None)
    for step in recipe:
        if step.is_transform:
            transform = fit_transform(step, fitted.changed(training.vectors), training.classes)
            fitted = replace(fitted, transforms=(*fitted.transforms, transform))
    fitted = replace(fitted, recipe=recipe)
    if not recipe or recipe[-1].is_transform:
        return fitted
    index = _cohort_rows(training)
    names, classes = np.unique(training.class_names[training.classes[index]], return_inverse=True)
    units = fitted.transformed(training.vectors[index]).astype(np.float32)
    cohort = Cohort(units, classes.astype(np.int64), names)
    groups = None if training.groups is None else training.groups[index]
    normalisation = fit_normalisation(recipe[-1], cohort, training.max_far, training.seed, groups)
    return replace(fitted, normalisation=normalisation)


def _cohort_rows(training: Training) -> Ints:
    """Return the rows of the cohort: all, or those of whole classes drawn at random."""
    rows = np.flatnonzero(training.in_cohort)
    if len(rows) <= COHORT_ROWS:
        return rows
    present, codes = np.unique(training.classes[rows], return_inverse=True)
    rank = np.random.default_rng([training.seed, 1]).permutation(len(present))
    order = np.argsort(rank[codes], kind="stable")
    return np.sort(rows[order[:COHORT_ROWS]])
