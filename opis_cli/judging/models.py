"""Compare several models: their figures, and their changes against the first model."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from opis_cli.errors import SettingsError
from opis_cli.judging import changes
from opis_cli.judging.changes import (
    Change,
    ClassChange,
    check_comparable,
    class_changes,
    drawn_changes,
    figures,
    pareto_front,
)
from opis_cli.report.evaluation import Evaluation
from opis_cli.scoring.opis import OpisBy, opis_by
from opis_cli.settings import Compares
from opis_cli.statistics import bootstrap

SUFFIXES = (".parquet", ".npy", ".npz")
SHOWN_CLASSES = 10
_MOST_SIZE = 1e15


@dataclass(frozen=True, slots=True)
class Model:
    """The figures of a model.

    ``on_front`` says whether the model is on the Pareto front of recognition error and OPIS: no
    other model is at least as good in both and better in one. ``size`` is a number that the user
    gave for the model, such as its batch size.
    """

    name: str
    path: str
    classes: int
    rows: int
    recall_at_1: float | None
    opis: float | None
    eps_opis: float | None
    opis_by: OpisBy
    threshold: float | None
    frr_at_max_far: float | None
    on_front: bool
    size: float | None


@dataclass(frozen=True, slots=True)
class Difference:
    """The changes of a model against the first model.

    ``gained`` and ``lost`` are the classes whose mean utility over the calibration range rose and
    fell most. Only classes that are evaluable for both models take part.
    """

    name: str
    base: str
    same_classes: bool
    changes: tuple[Change, ...]
    gained: tuple[ClassChange, ...]
    lost: tuple[ClassChange, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison of models. ``twins`` are pairs of names: a base model and its remedied twin."""

    models: tuple[Model, ...]
    differences: tuple[Difference, ...]
    twins: tuple[tuple[str, str], ...]
    max_far: float | None
    eps: float
    metric: str
    confidence: float
    replicates: int


def compare(
    runs: Sequence[Evaluation],
    paths: list[str],
    *,
    sizes: list[str] | None = None,
    twins: list[str] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
    replicates: int = bootstrap.REPLICATES,
) -> Comparison:
    """Compare models with the first one.

    Parameters
    ----------
    runs : list of Evaluation
        Two runs or more, with the same settings.
    paths : list of str
        Path of each run. The names of the models are made from the paths.
    sizes : list of str, optional
        Sizes of models, as ``NAME=NUMBER``.
    twins : list of str, optional
        Pairs of models, as ``BASE=TWIN``.
    confidence : float
        Confidence of the two-sided interval of a change, with equal tails.
    seed, replicates : int
        Seed and number of draws of the bootstrap over classes.

    Raises
    ------
    SettingsError
        There are fewer than two runs, their settings differ, or no model has a given name.
    """
    if len(runs) < 2:
        raise SettingsError("there is one model only; give at least two to compare")
    if not 0.5 <= confidence < 1:
        raise SettingsError(f"--confidence is {confidence:g}; it must be at least 0.5 and below 1")
    names = model_names(paths)
    for run, path in zip(runs[1:], paths[1:], strict=True):
        check_comparable(runs[0], run, get_args(Compares), paths[0], path)
    given = {name: _number(text) for name, text in _named(sizes, names, "--size")}
    pairs = tuple(_named(twins, names, "--twin"))
    for _, twin in pairs:
        if twin not in names:
            raise _unknown("--twin", twin, names)
    settings = runs[0].settings
    fronts = pareto_front(
        [None if run.report.recall_at_1 is None else 1 - run.report.recall_at_1 for run in runs],
        [run.report.opis for run in runs],
    )
    return Comparison(
        models=tuple(
            _model(run, name, path, front, given.get(name))
            for run, name, path, front in zip(runs, names, paths, fronts, strict=True)
        ),
        differences=tuple(
            _difference(run, runs[0], name, names[0], confidence, seed, replicates)
            for run, name in zip(runs[1:], names[1:], strict=True)
        ),
        twins=pairs,
        max_far=settings.bounds[0],
        eps=settings.eps,
        metric=settings.metric,
        confidence=confidence,
        replicates=replicates,
    )


def model_names(paths: list[str]) -> list[str]:
    """Return the shortest unique name for each path: its last part, or the whole path.

    The function drops the suffix of an embeddings file (``.parquet``, ``.npy``, ``.npz``) if the
    name is still unique without it.

    Raises
    ------
    SettingsError
        A path is given twice.
    """
    last = [Path(path).resolve().name for path in paths]
    spellings = [list(map(_bare, last)), last, list(map(_bare, paths)), paths]
    names = [
        next((whole[i] for whole in spellings if whole.count(whole[i]) == 1), paths[i])
        for i in range(len(paths))
    ]
    if len(set(names)) < len(names):
        raise SettingsError(f"{max(names, key=names.count)} is given twice; name each model once")
    return names


def _bare(path: str) -> str:
    """Return a path without its suffix, if the suffix is that of an embeddings file."""
    stem, dot, suffix = path.rstrip("/").rpartition(".")
    return stem if stem and f"{dot}{suffix}".lower() in SUFFIXES else path


def _named(texts: list[str] | None, names: list[str], flag: str) -> list[tuple[str, str]]:
    """Return pairs of a model's name and a value, from texts ``NAME=VALUE``."""
    found = []
    for text in texts or []:
        # A name may contain an equals sign.
        fitting = [name for name in names if text.startswith(f"{name}=")]
        if not fitting:
            raise _unknown(flag, text.split("=")[0], names)
        name = max(fitting, key=len)
        found.append((name, text[len(name) + 1 :]))
    return found


def _unknown(flag: str, name: str, names: list[str]) -> SettingsError:
    return SettingsError(f"{flag}: no model is called {name!r}; they are {', '.join(names)}")


def _number(text: str) -> float:
    try:
        number = float(text)
        if not 0 < number <= _MOST_SIZE:
            raise ValueError
    except ValueError:
        raise SettingsError(
            f"--size: {text!r} is no number above 0 and up to {_MOST_SIZE:g}"
        ) from None
    return number


def _model(run: Evaluation, name: str, path: str, front: bool, size: float | None) -> Model:
    return Model(
        name=name,
        path=path,
        classes=run.report.source.evaluable_classes,
        rows=run.report.source.rows,
        opis_by=opis_by(run.consistency),
        on_front=front,
        size=size,
        **{key: value for key, value in figures(run).items() if key in _MODEL_FIGURES},
    )


_MODEL_FIGURES = {field.name for field in dataclasses.fields(Model)}


def _difference(
    run: Evaluation,
    base: Evaluation,
    name: str,
    of: str,
    confidence: float,
    seed: int,
    replicates: int,
) -> Difference:
    draws = drawn_changes(run, base, seed=seed, replicates=replicates)
    found = changes.figure_changes(run, base, draws, confidence=(1 + confidence) / 2)
    classes = class_changes(run, base)
    return Difference(
        name=name,
        base=of,
        same_classes=changes.same_classes(run, base) is not None,
        changes=tuple(found[key] for key in found if key != "frr"),
        gained=tuple(one for one in classes[::-1][:SHOWN_CLASSES] if one.change > 0),
        lost=tuple(one for one in classes[:SHOWN_CLASSES] if one.change < 0),
    )
