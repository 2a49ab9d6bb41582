"""``compare``: several runs beside the first one."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from opis_cli.judging import models
from opis_cli.run import Run, load_run

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Comparison:
    """Several runs beside the first one.

    Attributes
    ----------
    runs : tuple of Run
    figures : judging.models.Comparison
        The figures of each run, and their changes against the first one with intervals.
    """

    runs: tuple[Run, ...]
    figures: models.Comparison

    def __repr__(self) -> str:
        return f"<Comparison of {', '.join(model.name for model in self.figures.models)}>"

    def _repr_html_(self) -> str:
        # pandas escapes the names.
        return str(self.table().to_html(float_format="{:.4g}".format))

    def table(self) -> "pd.DataFrame":
        """Return a row for each run, by its name, with its figures.

        Returns
        -------
        DataFrame
            ``recall_at_1, opis, eps_opis, threshold, frr_at_max_far, on_front`` (whether no other
            run is as good in recall@1 and OPIS and better in one), ``classes, rows``.
        """
        import pandas as pd

        rows = {
            model.name: {name: getattr(model, name) for name in _COLUMNS}
            for model in self.figures.models
        }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")

    def changes(self) -> "pd.DataFrame":
        """Return a row for each figure of each further run, with its change from the first run.

        Returns
        -------
        DataFrame
            ``model, figure, before, now, change, low, high``. The last two are the ends of the
            interval of the change. They are null if the runs have different classes.
        """
        import pandas as pd

        return pd.DataFrame(
            [
                (one.name, change.name, change.base, change.value, change.change)
                + (change.interval or (None, None))
                for one in self.figures.differences
                for change in one.changes
            ],
            columns=["model", "figure", "before", "now", "change", "low", "high"],
        )

    def plot(
        self,
        kind: str = "utility",
        *,
        width: float | str | None = None,
        title: str | None = None,
        font_size: float | None = None,
        ax: "Axes | None" = None,
    ) -> "Figure":
        """Draw a picture of all runs.

        Parameters
        ----------
        kind : {"utility", "det", "roc", "pareto"}
            ``comparison_plots.draw`` says what each shows.
        width, title, font_size
            As for ``Run.plot``. By default a picture side by side is 10 inches wide.
        ax : Axes, optional
            A panel of your own to draw into, except for ``utility``.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        OpisError
            There is no such kind, a size is out of range, or ``ax`` does not fit.
        """
        from opis_cli.render.comparison_plots import draw, look_for

        return draw(
            self.runs, self.figures, kind, look=look_for(kind, width, title, font_size), ax=ax
        )


_COLUMNS = (
    *("recall_at_1", "opis", "eps_opis", "threshold", "frr_at_max_far", "on_front"),
    *("classes", "rows"),
)


def compare(
    runs: Sequence[Run | str | Path],
    names: Sequence[str] | None = None,
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Compare runs with the first one.

    Parameters
    ----------
    runs : sequence of Run, or of paths of runs
        Two or more, with the same settings.
    names : sequence of str, optional
        A name for each run. By default the last part of its path, with a number where two are
        alike.
    confidence : float
        Confidence of the intervals of the changes.
    seed : int
        Seed of the bootstrap over classes.

    Raises
    ------
    OpisError
        There are fewer than two runs, two have one name, or their settings differ.
    """
    loaded = tuple(load_run(run) if isinstance(run, str | Path) else run for run in runs)
    found = models.compare(
        loaded, _names(loaded) if names is None else list(names), confidence=confidence, seed=seed
    )
    return Comparison(loaded, found)


def _names(runs: tuple[Run, ...]) -> list[str]:
    """Return a name for each run: its folder or source, with a number where two are alike."""
    found = [str(run.folder or run.report.source.name) for run in runs]
    return [
        name if found.count(name) == 1 else f"{name} {found[: i + 1].count(name)}"
        for i, name in enumerate(found)
    ]
