"""A fitted remedy as a folder: ``remedy.json`` and ``remedy.npz``. Nothing is ever unpickled."""

import json
import math
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import opis_cli
from opis_cli.errors import InputError, OpisError, RunError, SettingsError
from opis_cli.files import sha256_of
from opis_cli.records import Embeddings, InputWarning
from opis_cli.remedies.fitted import Fitted, Names
from opis_cli.remedies.folds import apply
from opis_cli.remedies.normalisations import Cohort, Doubles, Forms, Normalisation
from opis_cli.remedies.recipes import Recipe, name_of, parse
from opis_cli.remedies.transforms import Transform
from opis_cli.report.records import Report
from opis_cli.settings import Metric, Settings

JSON_FILE, ARRAYS_FILE = "remedy.json", "remedy.npz"
THRESHOLD_FILE, README_FILE = "threshold.json", "README.md"
FILES = (JSON_FILE, ARRAYS_FILE, THRESHOLD_FILE, README_FILE)
FORMAT = 1
"""Version of ``remedy.json``."""


@dataclass(frozen=True, eq=False)
class Remedy:
    """A fitted remedy that was read from a folder.

    Attributes
    ----------
    fitted : Fitted
    facts : dict
        The content of ``remedy.json``: what it was fitted on, and how it did on held-out classes.
    sha256 : str
        Digest of ``remedy.npz``.
    folder : Path
    """

    fitted: Fitted
    facts: dict[str, Any]
    sha256: str
    folder: Path

    @property
    def name(self) -> str:
        """Name of the remedy, with every number: ``centre+asnorm:200``."""
        return name_of(self.fitted.recipe)

    def __repr__(self) -> str:
        return f"<Remedy {self.name} for vectors of {self.fitted.dim} dimensions>"

    def transform(self, vectors: Any) -> Doubles:
        """Return unit vectors behind the transforms.

        Parameters
        ----------
        vectors : array-like of shape (N, D)

        Returns
        -------
        ndarray of shape (N, D), float64
        """
        return self.fitted.transformed(np.asarray(vectors))

    def forms(self, vectors: Any, classes: Any = None, groups: Any = None) -> Forms:
        """Return the query form and the gallery form of rows.

        Parameters
        ----------
        vectors : array-like of shape (N, D)
        classes : array-like of shape (N,), optional
            Class of each row, if it is known. Cohort rows of that class do not count for it.
        groups : array-like of shape (N,), optional
            Group of each row, for ``group``.

        Returns
        -------
        pair of ndarrays, float64
            The inner product of the query form of one row and the gallery form of another is their
            score. Without a score normalisation, both are ``transform(vectors)``.
        """
        return self.fitted.forms(np.asarray(vectors), _text(classes), _text(groups))

    def score(
        self,
        a: Any,
        b: Any,
        *,
        classes: tuple[Any, Any] = (None, None),
        groups: tuple[Any, Any] = (None, None),
    ) -> Doubles:
        """Return the score of each pair; higher is closer.

        Parameters
        ----------
        a, b : array-like of shape (N, D), or of shape (D,)
            Pair ``i`` is row ``i`` of both. A single vector is paired with every row of the other.
        classes, groups : pair of array-likes, optional
            Classes and groups of the rows of both, as for ``forms``.

        Returns
        -------
        ndarray of shape (N,), float64
            Cosine similarity behind transforms, or the normalised score.
        """
        one = self.forms(np.atleast_2d(np.asarray(a)), classes[0], groups[0])[0]
        two = self.forms(np.atleast_2d(np.asarray(b)), classes[1], groups[1])[1]
        if len(one) != len(two) and 1 not in (len(one), len(two)):
            raise RunError(f"{len(one)} and {len(two)} rows make no pairs; give as many of both")
        return np.asarray((one * two).sum(axis=1))


def _text(names: Any) -> Names:
    return None if names is None else np.atleast_1d(np.asarray(names)).astype(str)


def load_remedy(path: str | Path) -> Remedy:
    """Read the folder that ``opis remedy --out`` wrote.

    Raises
    ------
    RunError
        There is no remedy, it is damaged, or a newer opis wrote it.
    """
    folder = Path(path)
    try:
        facts = json.loads((folder / JSON_FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise RunError(
            f"{folder}: no remedy is there (a folder that `opis remedy --out` wrote has a "
            f"{JSON_FILE})"
        ) from None
    except OSError as error:
        raise RunError(f"{folder / JSON_FILE}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError):
        raise _damaged(folder, JSON_FILE) from None
    version = facts.get("format") if isinstance(facts, dict) else None
    if type(version) is not int or version < 1:
        raise _damaged(folder, JSON_FILE)
    if version > FORMAT:
        raise RunError(f"{folder}: a newer opis wrote this remedy; update opis to read it")
    file = folder / ARRAYS_FILE
    try:
        sha256 = sha256_of(file)
        if sha256 != facts["npz_sha256"]:
            raise _damaged(folder, ARRAYS_FILE)
        with np.load(file, allow_pickle=False) as arrays:
            fitted = _fitted(parse(str(facts["name"])), int(facts["dim"]), dict(arrays))
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        raise _damaged(folder, ARRAYS_FILE) from None
    except RunError:
        raise
    except OpisError:
        raise _damaged(folder, JSON_FILE) from None
    return Remedy(fitted, facts, sha256, folder)


def _damaged(folder: Path, file: str) -> RunError:
    return RunError(f"{folder / file}: damaged; write the remedy anew with `opis remedy --out`")


def write_fitted(fitted: Fitted, folder: Path, facts: dict[str, Any]) -> str:
    """Write ``remedy.json`` and ``remedy.npz`` into a folder, and return the digest of the latter.

    Parameters
    ----------
    fitted : Fitted
    folder : Path
    facts : dict
        Further keys of ``remedy.json``, as plain JSON values.
    """
    file = folder / ARRAYS_FILE
    np.savez(file, allow_pickle=False, **_arrays(fitted))
    digest = sha256_of(file)
    own = {
        "format": FORMAT,
        "name": name_of(fitted.recipe),
        "parameters": [{"step": step.kind, "number": step.number} for step in fitted.recipe],
        "dim": fitted.dim,
        "metric": "cosine",
        "scores": fitted.metric,
        "npz_sha256": digest,
        "opis_version": opis_cli.__version__,
    }
    text = json.dumps(own | facts, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / JSON_FILE).write_text(text + "\n", encoding="utf-8")
    return digest


def _arrays(fitted: Fitted) -> dict[str, NDArray[Any]]:
    """Return the arrays of a remedy by name. ``_fitted`` makes the remedy of them."""
    found: dict[str, NDArray[Any]] = {}
    for number, transform in enumerate(fitted.transforms):
        found[f"mean_{number}"] = transform.mean
        if transform.matrix is not None:
            found[f"matrix_{number}"] = transform.matrix
    last = fitted.normalisation
    if last is not None:
        if last.cohort is not None:
            found["cohort"] = last.cohort.units
            found["cohort_classes"] = last.cohort.classes
            found["cohort_names"] = last.cohort.names
            found["balance"] = np.array([last.balance])
        for name in ("centroids", "groups", "offsets"):
            if getattr(last, name) is not None:
                found[name] = getattr(last, name)
    return found


def _fitted(recipe: Recipe, dim: int, arrays: dict[str, NDArray[Any]]) -> Fitted:
    """Return the remedy that arrays hold.

    Raises
    ------
    KeyError, ValueError
        An array is missing, or has another shape, type or value than a remedy writes.
    """
    steps = [step for step in recipe if step.is_transform]
    transforms = tuple(
        Transform(
            _floats(arrays[f"mean_{number}"], (dim,)),
            None if step.kind == "centre" else _floats(arrays[f"matrix_{number}"], (dim, dim)),
        )
        for number, step in enumerate(steps)
    )
    last = recipe[-1]
    if last.is_transform:
        return Fitted(recipe, dim, transforms, None)
    if last.kind == "fsn":
        offsets = _floats(arrays["offsets"], (None,))
        centroids = _floats(arrays["centroids"], (len(offsets), dim))
        made = Normalisation(last, centroids=centroids, offsets=offsets)
    elif last.kind == "group":
        offsets = _floats(arrays["offsets"], (None,))
        made = Normalisation(last, groups=_names(arrays["groups"], len(offsets)), offsets=offsets)
    else:
        units = _floats(arrays["cohort"], (None, dim))
        classes, names = arrays["cohort_classes"], _names(arrays["cohort_names"], None)
        fits = classes.shape == (len(units),) and classes.dtype.kind == "i" and len(units)
        if not fits or classes.min() < 0 or classes.max() >= len(names):
            raise ValueError("cohort")
        balance = _floats(arrays["balance"], (1,))
        if not balance[0] > 0:
            raise ValueError("balance")
        cohort = Cohort(units.astype(np.float32), classes, names)
        made = Normalisation(last, cohort, balance=float(balance[0]))
    return Fitted(recipe, dim, transforms, made)


def _floats(values: NDArray[Any], shape: tuple[int | None, ...]) -> Any:
    """Return an array of finite floats of a shape, in which None stands for any length."""
    alike = len(values.shape) == len(shape) and all(
        one in (None, other) for one, other in zip(shape, values.shape, strict=True)
    )
    if not alike or values.dtype.kind != "f" or not math.isfinite(float(np.abs(values).sum())):
        raise ValueError("floats")
    return values


def _names(values: NDArray[Any], count: int | None) -> NDArray[np.str_]:
    """Return names, which must be sorted, and so many if ``count`` is given."""
    if values.ndim != 1 or values.dtype.kind != "U" or count not in (None, len(values)):
        raise ValueError("names")
    if not np.all(values[:-1] < values[1:]):
        raise ValueError("order")
    return values


def remedied(embeddings: Embeddings, settings: Settings) -> tuple[Embeddings, Settings]:
    """Return embeddings changed by the remedy of the settings, and settings with its metric.

    Both are as they were if the settings name no remedy.

    Raises
    ------
    SettingsError
        The settings have another metric than the remedy.
    OpisError
        The remedy cannot be read, or does not fit the rows.
    """
    if settings.remedy is None:
        return embeddings, settings
    remedy = load_remedy(settings.remedy)
    if settings.metric != "cosine":
        raise SettingsError(
            f"--metric={settings.metric}: the remedy {remedy.name} is made for the cosine "
            "similarity; give --metric=cosine"
        )
    if embeddings.dim != remedy.fitted.dim:
        raise InputError(
            f"{embeddings.source.path}: vectors of {embeddings.dim} dimensions, and the remedy in "
            f"{remedy.folder} takes {remedy.fitted.dim}; use the model that it was fitted on"
        )
    changed = apply(remedy.fitted, embeddings, settings)
    source = replace(embeddings.source, remedy=remedy.name, remedy_sha256=remedy.sha256)
    doubts = embeddings.warnings
    if remedy.facts.get("fitted_on", {}).get("sha256") == source.sha256:
        text = (
            f"The remedy {remedy.name} was fitted on these rows, so their figures flatter it. What "
            "it does on other classes is in its remedy.json."
        )
        doubts = (*doubts, InputWarning("fitted_on_these_rows", text))
    metric: Metric = remedy.fitted.metric
    return replace(changed, source=source, warnings=doubts), replace(settings, metric=metric)


def remedied_again(embeddings: Embeddings, report: Report, settings: Settings) -> Embeddings:
    """Return rows that were read again, changed by the remedy of their run, if it has one.

    Raises
    ------
    OpisError
        The remedy is no longer there, or it is another one now.
    """
    if settings.remedy is None:
        return embeddings
    changed, _ = remedied(embeddings, replace(settings, metric="cosine"))
    if changed.source.remedy_sha256 != report.source.remedy_sha256:
        raise RunError(f"{settings.remedy}: it is not the remedy of this run; evaluate again")
    return changed
