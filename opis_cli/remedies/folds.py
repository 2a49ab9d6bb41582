"""Give every row the form that a remedy has when it is fitted without the row's class.

The classes are split into folds. For each fold, a remedy is fitted on the classes of all other
folds and applied to the rows of the fold. Only pairs of rows of one fold are then counted, so that
both rows of a pair were changed by the same fitted remedy, which saw neither class. One count of
all folds together gives every figure, at one threshold for all of them.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from opis_cli.counting.count import count_pairs
from opis_cli.counting.prepared import choose_engine
from opis_cli.errors import InputError
from opis_cli.records import Column, Embeddings, Ints, PairCounts, Source
from opis_cli.remedies.fitted import Fitted, Training, fit
from opis_cli.remedies.recipes import Recipe, Step
from opis_cli.remedies.transforms import shrunk, spread_of
from opis_cli.settings import DEFAULT_MAX_FAR, Settings

FOLD_COLUMN = "(fold)"
"""Column of the fold of each row, or of the fold and the column that pairs share anyway."""
SHRINKAGES = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Shrinkages of a covariance that inner folds choose from."""
_INNER_FOLDS = 3
_INNER_ROWS = 5_000
"""Most rows on which a shrinkage is chosen."""
_CHUNK_VALUES = 4_000_000
_NOWHERE = Source("<training rows>", "")


def draw_folds(embeddings: Embeddings, folds: int, seed: int) -> Ints:
    """Draw a fold for each class, shape (K,).

    The classes with two rows or more are dealt in the order of their size, equal ones in random
    order, so that folds are alike. Then the others are dealt.

    Raises
    ------
    InputError
        There are fewer than two classes with two rows for each fold.
    """
    sizes = np.bincount(embeddings.labels, minlength=len(embeddings.class_names))
    enough = int((sizes > 1).sum())
    if enough < 2 * folds:
        fewer = f"give at most --folds={enough // 2}" if enough >= 4 else "that needs four or more"
        raise InputError(
            f"--folds={folds}: {enough} classes with two rows or more are too few; each fold needs "
            f"two to try a remedy on, so {fewer}"
        )
    order = np.lexsort([np.random.default_rng([seed, 2]).permutation(len(sizes)), -sizes])
    found = np.empty(len(sizes), np.int64)
    found[order] = np.arange(len(sizes)) % folds
    return found


def training_of(embeddings: Embeddings, settings: Settings) -> Training:
    """Return all rows as the rows to fit a remedy on. With a gallery, the cohort is from it."""
    count = len(embeddings.labels)
    queries = count - (embeddings.gallery_rows or 0)
    return Training(
        vectors=embeddings.vectors,
        classes=embeddings.labels,
        class_names=embeddings.class_names.astype(str),
        in_cohort=np.arange(count) >= (queries if queries < count else 0),
        groups=groups_of(embeddings, settings),
        max_far=bound_of(settings),
        seed=settings.seed,
        # If numba is started for all rows, it serves for the few of inner folds too.
        engine=choose_engine(settings.engine, count**2 // 2, embeddings),  # type: ignore[arg-type]
    )


def bound_of(settings: Settings) -> float:
    """Return the bound on the FAR at which remedies are judged: the user's, or the usual one."""
    return settings.max_far or DEFAULT_MAX_FAR


def groups_of(embeddings: Embeddings, settings: Settings) -> NDArray[np.str_] | None:
    """Return the group of each row, or None without a group column. It is empty if missing."""
    if settings.group_column is None:
        return None
    column = embeddings.columns[settings.group_column]
    return np.append(column.names.astype(str), "")[column.codes]


def apply(fitted: Fitted, embeddings: Embeddings, settings: Settings) -> Embeddings:
    """Return embeddings in the form that a remedy gives them, fitted perhaps on the same classes.

    Cohort rows of a row's own class do not count for it.
    """
    every = np.arange(len(embeddings.labels))
    classes = embeddings.class_names.astype(str)
    return _changed(embeddings, [(every, fitted)], classes, groups_of(embeddings, settings))


def held_out(embeddings: Embeddings, recipe: Recipe, folds: Ints, training: Training) -> Embeddings:
    """Return embeddings in the form of remedies that never saw the class of the row.

    Parameters
    ----------
    embeddings : Embeddings
    recipe : Recipe
        Steps whose shrinkage may be unknown: then inner folds of the training classes choose it.
    folds : ndarray of shape (K,), int64
        Fold of each class.
    training : Training
        All rows, in the order of the embeddings.
    """
    of_row = folds[embeddings.labels]
    fits = []
    for fold in range(int(folds.max()) + 1):
        others = training.some(of_row != fold)
        fits.append((np.flatnonzero(of_row == fold), fit(with_numbers(recipe, others), others)))
    return _changed(embeddings, fits, None, training.groups)


def within_folds(embeddings: Embeddings, folds: Ints, settings: Settings) -> Embeddings:
    """Return embeddings with the column that keeps pairs within folds."""
    codes, inner = folds[embeddings.labels], embeddings.columns.get(settings.within_column or "")
    if inner is not None:
        both = codes * len(inner.names) + inner.codes
        codes = np.where(inner.codes < 0, -1, np.unique(both, return_inverse=True)[1])
    names = np.arange(int(codes.max()) + 1)
    columns = {**embeddings.columns, FOLD_COLUMN: Column(codes, names)}
    return replace(embeddings, columns=columns)


def settings_within_folds(settings: Settings, metric: str) -> Settings:
    """Return the settings that count pairs within folds, of rows under a metric."""
    return replace(
        settings,
        metric=metric,  # type: ignore[arg-type]
        within_column=FOLD_COLUMN,
        remedy=None,
        threshold=None,
        checkpoint=None,
        folds=None,
        confidence=None,
        max_pairs=None,
    )


def with_numbers(recipe: Recipe, training: Training) -> Recipe:
    """Return a recipe with the shrinkages that do best on inner folds of the training classes.

    The best has the least FRR at the bound on the FAR. A shrinkage is chosen with the steps before
    it, not with those behind it.

    Raises
    ------
    InputError
        There are too few training classes for inner folds.
    """
    found: Recipe = ()
    for step in recipe:
        if step.kind in ("whiten", "wccn") and step.number is None:
            step = Step(step.kind, _shrinkage(step.kind, found, training))
        found = (*found, step)
    return found


def _shrinkage(kind: str, before: Recipe, training: Training) -> float:
    """Return the shrinkage that does best behind some steps, on inner folds."""
    some = training.some(_sample(training))
    present, labels = np.unique(some.classes, return_inverse=True)
    rows = Embeddings(
        vectors=some.vectors,
        labels=labels.astype(np.int64),
        class_names=some.class_names[present],
        rows=np.arange(len(labels)),
        dropped_rows=0,
        source=_NOWHERE,
    )
    enough = int((np.bincount(labels) > 1).sum())
    count = min(_INNER_FOLDS, enough // 2)
    if count < 2:
        raise InputError(
            f"{enough} training classes with two rows or more are too few to choose the shrinkage "
            f"of {kind}; give one, as in --try={kind}:0.5"
        )
    folds = draw_folds(rows, count, training.seed)
    of_row = folds[labels]
    # Cosines do not change if the axes are turned. So the rows are turned once, onto the directions
    # of the spread, and each shrinkage then only scales them.
    turned = np.empty((len(labels), rows.dim), np.float32)
    variances = np.empty((count, rows.dim), np.float32)
    for fold in range(count):
        others, own = some.some(of_row != fold), of_row == fold
        first = fit(before, others)
        spread = spread_of(kind, first.changed(others.vectors), others.classes, np.float32)
        turned[own] = (first.changed(some.vectors[own]) - spread.mean) @ spread.directions
        variances[fold] = spread.variances

    def error(shrinkage: float) -> float:
        scales = np.sqrt(shrunk(variances, shrinkage))
        changed = replace(rows, vectors=turned / scales[of_row])
        return frr_at(
            count_pairs(within_folds(changed, folds, settings), settings), training.max_far
        )

    settings = settings_within_folds(
        Settings(max_far=training.max_far, seed=training.seed, engine=training.engine), "cosine"
    )
    return min(SHRINKAGES, key=error)


def frr_at(counts: PairCounts, max_far: float) -> float:
    """Return the pooled FRR at the largest threshold whose pooled FAR is at most a bound.

    It is 1 if there is no such threshold.
    """
    allowed = np.flatnonzero(counts.pooled_far <= max_far)
    return float(counts.pooled_frr[allowed[-1]]) if len(allowed) else 1.0


def _sample(training: Training) -> Ints:
    """Return all rows, or those of classes drawn at random if there are very many rows."""
    if len(training.classes) <= _INNER_ROWS:
        return np.arange(len(training.classes))
    rank = np.random.default_rng([training.seed, 3]).permutation(len(training.class_names))
    order = np.argsort(rank[training.classes], kind="stable")
    return np.sort(order[:_INNER_ROWS])


def _changed(
    embeddings: Embeddings,
    fits: Sequence[tuple[Ints, Fitted]],
    classes: NDArray[np.str_] | None,
    groups: NDArray[np.str_] | None,
) -> Embeddings:
    """Return embeddings in the form of remedies, each of which is given with its rows.

    Parameters
    ----------
    embeddings : Embeddings
    fits : list of (rows, Fitted)
        All of one recipe. Together they have every row once.
    classes : ndarray of shape (K,), str, optional
        Names of the classes, if the remedies may have seen them.
    groups : ndarray of shape (N,), str, optional
        Group of each row.
    """
    one = fits[0][1]
    width = max(fitted.width for _, fitted in fits)
    queries = np.zeros((len(embeddings.labels), width), np.float32)
    gallery = queries if one.normalisation is None else np.zeros_like(queries)
    step = max(1, _CHUNK_VALUES // width)
    for rows, fitted in fits:
        for start in range(0, len(rows), step):
            part = rows[start : start + step]
            named = None if classes is None else classes[embeddings.labels[part]]
            grouped = None if groups is None else groups[part]
            forms = fitted.forms(embeddings.vectors[part], named, grouped)
            # Remedies of unlike folds may have unlike numbers of groups; zeros add nothing.
            queries[part, : fitted.width], gallery[part, : fitted.width] = forms
    return replace(embeddings, vectors=queries, partners=None if gallery is queries else gallery)
