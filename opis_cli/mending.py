"""``remedy``: try remedies on held-out classes, and keep the one that helps."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opis_cli.errors import RunError, SettingsError
from opis_cli.files import replacing
from opis_cli.records import Embeddings
from opis_cli.remedies.artefact import (
    FILES,
    JSON_FILE,
    README_FILE,
    THRESHOLD_FILE,
    write_fitted,
)
from opis_cli.remedies.fitted import Fitted, fit
from opis_cli.remedies.folds import training_of, with_numbers
from opis_cli.remedies.guide import guide
from opis_cli.remedies.recipes import DEFAULT, name_of, parse, parse_all
from opis_cli.remedies.trial import BASE, Trial, Tried, by_fold, try_remedies
from opis_cli.report.threshold_file import threshold_json
from opis_cli.settings import Settings
from opis_cli.text import as_known

if TYPE_CHECKING:
    import pandas as pd

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Remedies:
    """Remedies that were tried on held-out classes.

    Attributes
    ----------
    trial : Trial
        Figures, changes, intervals and verdicts.
    embeddings : Embeddings
        The rows, on all of which ``save`` fits a remedy.
    settings : Settings
    """

    trial: Trial
    embeddings: Embeddings
    settings: Settings

    @property
    def chosen(self) -> str | None:
        """The remedy of the lowest FRR at the bound among those that help; None if none does."""
        return self.trial.chosen

    def __repr__(self) -> str:
        return f"<Remedies: {self.chosen or 'none'} of {len(self.trial.tried) - 1} chosen>"

    def _repr_html_(self) -> str:
        return str(self.table().to_html(float_format="{:.4g}".format))

    def table(self) -> "pd.DataFrame":
        """Return a row for each remedy: ``base`` first, then by the FRR at the bound.

        Returns
        -------
        DataFrame
            ``verdict``; each figure (``trial.FIGURES``); and for each figure ``change_...``,
            ``low_...`` and ``high_...``, its change from ``base`` with the 95 % interval.
        """
        import pandas as pd

        rows = {}
        for one in self.trial.tried:
            row: dict[str, Any] = {"verdict": one.verdict, **one.figures}
            for figure, change in one.changes.items():
                low, high = one.intervals[figure] or (None, None)
                row |= {f"change_{figure}": change, f"low_{figure}": low, f"high_{figure}": high}
            rows[one.name] = row
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("remedy")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values: what ``opis remedy --json`` prints."""
        trial = self.trial
        return {
            "remedies": [dataclasses.asdict(one) for one in trial.tried],
            "chosen": trial.chosen,
            "max_far": trial.max_far,
            "max_far_supported": trial.supported,
            "folds": trial.folds,
            "classes": trial.classes,
            "not_tried": trial.not_tried,
        }

    def save(self, path: str | Path, *, choose: str | None = None, force: bool = False) -> str:
        """Fit a remedy on all classes, and write it as a folder.

        Parameters
        ----------
        path : str or Path
        choose : str, optional
            Name of a remedy that was tried. By default the chosen one.
        force : bool
            Whether to replace a remedy at ``path``. Anything else is never replaced.

        Returns
        -------
        str
            Name of the remedy, with every number.

        Raises
        ------
        OpisError
            No remedy helps and none is named, the named one was not tried, or the folder exists or
            cannot be written.
        """
        check_target(Path(path), force=force)
        tried = self._named(choose)
        settings = dataclasses.replace(self.settings, max_far=self.trial.max_far)
        training = training_of(self.embeddings, settings)
        fitted = fit(with_numbers(parse(tried.name), training), training)
        with replacing(Path(path), folder=True) as folder:
            folder.mkdir()
            self._write(folder, fitted, tried)
        return name_of(fitted.recipe)

    def _named(self, choose: str | None) -> Tried:
        name = self.chosen if choose is None else parse_all(choose)[0]
        if name is None:
            raise RunError(
                "no remedy is shown to help on these classes, so none is written; name one with "
                "--choose to write it anyway"
            )
        for one in self.trial.tried[1:]:
            if one.name == name:
                return one
        raise SettingsError(f"--choose={name}: it was not tried; name it among the remedies to try")

    def _write(self, folder: Path, fitted: Fitted, tried: Tried) -> None:
        trial, source = self.trial, self.embeddings.source
        run = trial.evaluations[tried.name]
        chosen = run.report.recommendation
        facts = {
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "fitted_on": {
                "path": source.path.encode(errors="replace").decode(),
                "sha256": source.sha256,
                "labels_sha256": source.labels_sha256,
                "rows": len(self.embeddings.labels),
                "classes": len(self.embeddings.class_names),
            },
            "trial": {
                "max_far": trial.max_far,
                "folds": trial.folds,
                "classes": trial.classes,
                "remedies_tried": len(trial.tried) - 1,
                "base": trial.tried[0].figures,
                **{key: value for key, value in dataclasses.asdict(tried).items() if key != "name"},
                "by_fold": by_fold(trial.evaluations[BASE], run, trial.of_class),
            },
        }
        digest = write_fitted(fitted, folder, facts)
        threshold = None
        changed = dataclasses.replace(run.report.source, remedy=tried.name, remedy_sha256=digest)
        report = dataclasses.replace(run.report, source=changed)
        text = threshold_json(report, report)
        if text is not None and chosen.threshold is not None:
            threshold = as_known(chosen.threshold, fitted.metric)
            (folder / THRESHOLD_FILE).write_text(text, encoding="utf-8")
        text = guide(fitted, trial.tried[0], tried, trial.max_far, threshold, trial.classes)
        (folder / README_FILE).write_text(text, encoding="utf-8")


def check_target(path: Path, *, force: bool) -> None:
    """Refuse a folder that must not be overwritten. Call this before the trial starts.

    Raises
    ------
    RunError
        The path exists and is not a remedy, or is one and ``force`` is not given.
    """
    if not path.exists() and not path.is_symlink():
        return
    names = {one.name for one in path.iterdir()} if path.is_dir() else set()
    if JSON_FILE not in names or not names <= set(FILES):
        raise RunError(f"--out {path}: exists and is not a remedy; choose another folder")
    if not force:
        raise RunError(f"--out {path}: a remedy is there already; give --force to replace it")


def remedy(
    source: Any,
    labels: Any = None,
    *,
    remedies: str | Sequence[str] | None = None,
    folds: int = 5,
    columns: Mapping[str, Any] | None = None,
    gallery: Any = None,
    progress: Progress = lambda done, total: None,
    **settings: Any,
) -> Remedies:
    """Try remedies without retraining on held-out classes.

    Parameters
    ----------
    source : str, Path, list of these, or array-like of shape (N, D)
        As for ``evaluate``.
    labels : array-like of shape (N,), or a path, optional
    remedies : str, or sequence of str, optional
        Names such as ``"centre,abtt:1,centre+asnorm:200"``. By default a usual set.
    folds : int
        Number of folds of classes: each class is held out once.
    columns, gallery
        As for ``evaluate``.
    progress : callable
        Called with (work done, work in all).
    **settings
        Settings of ``evaluate``, such as ``max_far``, at whose FAR remedies are judged.

    Returns
    -------
    Remedies
        It has ``table()``, ``chosen`` and ``save()``.

    Raises
    ------
    OpisError
        The input, a setting or a name is not usable.
    """
    from opis_cli.pipeline import read_source

    embeddings, chosen = read_source(source, labels, columns, gallery, settings)
    return remedy_embeddings(embeddings, chosen, remedies, folds, progress)


def remedy_embeddings(
    embeddings: Embeddings,
    settings: Settings,
    remedies: str | Sequence[str] | None = None,
    folds: int = 5,
    progress: Progress = lambda done, total: None,
    also: str | None = None,
) -> Remedies:
    """Try remedies on clean embeddings. The settings come in one record.

    ``also`` names one more remedy to try.
    """
    check_settings(settings)
    if folds < 2:
        raise SettingsError(f"--folds is {folds}; it must be at least 2")
    if remedies is None:
        grouped = settings.group_column is not None
        names = [name for name in DEFAULT if name != "group" or grouped]
    else:
        names = parse_all(remedies)
    if also is not None:
        names = list(dict.fromkeys([*names, *parse_all(also)]))
    trial = try_remedies(
        embeddings,
        names,
        settings,
        folds=folds,
        skip=remedies is None,
        progress=progress,
    )
    return Remedies(trial, embeddings, settings)


def check_settings(settings: Settings) -> None:
    """Refuse settings that remedies do not go with.

    Raises
    ------
    SettingsError
        The metric is not cosine, the source has scored pairs, or the settings name a remedy.
    """
    if settings.remedy is not None:
        raise SettingsError(
            f"--remedy={settings.remedy}: remedies are tried on vectors as they are; leave it out, "
            "and name a chain to try, such as centre+asnorm:200"
        )
    if settings.pairs:
        raise SettingsError("remedies change vectors, and scored pairs have none; give embeddings")
    if settings.metric != "cosine":
        raise SettingsError(
            f"--metric={settings.metric}: remedies are made for the cosine similarity; give "
            "--metric=cosine"
        )
