"""What came out of ``train_tcm.py``: a table of all models, and three figures."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter
from train_cases import Model

import opis_cli as opis
from opis_cli.files import replacing
from opis_cli.judging.models import compare
from opis_cli.render import comparison_plots
from opis_cli.render.colors import CHOSEN, DEPLOYED, FAR, FRR, WORST
from opis_cli.render.pictures import save_figure
from opis_cli.render.sheet import new_figure

_HEIGHT, _SHARPNESS = 0.9, 400


def _three_digits(value: float) -> str:
    shown = np.format_float_positional(value, 3, unique=False, fractional=False, trim="k")
    return shown.rstrip(".")


_COLUMNS = {
    "recall@1": ("recall_at_1", 1, "{:.4f}".format),
    "OPIS x 1e4": ("opis", 1e4, _three_digits),
    "10%-OPIS x 1e4": ("eps_opis", 1e4, _three_digits),
    "FRR at FAR 1 %": ("frr", 1, "{:.3f}".format),
}
_LOOKS = {
    "ArcFace": ("o", FAR),
    "NormalizedSoftmax": ("s", FRR),
    "ProxyAnchor": ("^", CHOSEN),
    "MultiSimilarity": ("D", WORST),
    "SupCon": ("v", DEPLOYED),
}


def show(models: dict[Model, Path], folder: Path) -> None:
    """Score every model with opis; print and write the table, and draw the figures."""
    results = pd.DataFrame([scores(model, file) for model, file in models.items()])
    # What is undefined is None, and would make a column of it one of objects.
    results = results.astype(dict.fromkeys(("opis", "eps_opis", "frr", "threshold"), float))
    with replacing(folder / "results.csv") as scratch:
        results.to_csv(scratch, index=False)
    text = table(results) + "\n" + correlations(results)
    with replacing(folder / "table.md") as scratch:
        scratch.write_text(text, encoding="utf-8")
    print(f"\n{text}\nEvery model is a row of {folder}/results.csv. Figures:")
    pair = middle(results)
    one = pair.iloc[0]
    print(f"  {folder}/curves.png  {one['case']} of seed {one['seed']}, in the middle by change")
    save_figure(curves_figure(pair), folder / "curves.png")
    print(f"  {folder}/errors.png  inconsistency against error, all seeds")
    save_figure(errors_figure(results), folder / "errors.png")
    flat = results[results["case"].str.endswith("-2d")]
    if len(flat):
        print(f"  {folder}/toy.png  digits on the circle, all seeds")
        save_figure(toy_figure(flat), folder / "toy.png")
    print(f"Look closer:\n{compare_command(results, Path(one['file']).parent)}")


def scores(model: Model, file: Path) -> dict[str, Any]:
    """The scores of one model's embeddings, by the defaults of ``opis evaluate``."""
    report = opis.evaluate(file).report
    at = report.recommendation.at_max_far
    return {
        "file": str(file),
        "case": model.case.name,
        "task": model.case.task,
        "base": model.case.base,
        "weight": model.case.weight,
        "seed": model.seed,
        "tcm": model.tcm,
        "recall_at_1": report.recall_at_1,
        "opis": report.opis,
        "eps_opis": report.eps_opis.value,
        "frr": None if at is None else at.frr,
        "threshold": None if at is None else at.threshold,
    }


def changes(results: pd.DataFrame) -> pd.Series:
    """How TCM changes OPIS, in percent, by case and seed."""
    base, tcm = (
        results[results["tcm"] == added].set_index(["case", "seed"])["opis"]
        for added in (False, True)
    )
    return 100 * (tcm / base - 1)


def middle(results: pd.DataFrame) -> pd.DataFrame:
    """The two models, without and with TCM, of the seed in the middle by change of OPIS.

    They are of the first case in an open world, if there is one.
    """
    cases = results["case"].unique()
    case = next((name for name in cases if name.startswith("fonts")), cases[0])
    change = changes(results)[case].sort_values()
    seed = change.index[len(change) // 2]
    return results[(results["case"] == case) & (results["seed"] == seed)]


def compare_command(results: pd.DataFrame, folder: Path) -> str:
    """The command that draws the models of a folder side by side."""
    files = [Path(file) for file in results["file"] if Path(file).parent == folder]
    twins = [
        f"--twin '{base.stem}={tcm.stem}'"
        for base, tcm in zip(files[::2], files[1::2], strict=True)
    ]
    words = ["opis compare", *(f"'{file}'" for file in files)]
    return " \\\n  ".join([*words, "--plot curves.png --pareto pareto.png", *twins])


def table(results: pd.DataFrame) -> str:
    """A row a case in Markdown: means over the seeds, and the change of OPIS of each seed."""
    seeds = sorted(results["seed"].unique())
    change = changes(results)
    title = f"change of OPIS, seeds {', '.join(map(str, seeds))}"
    head = ["case", "TCM weight", *_COLUMNS, title]
    lines = [head, ["---"] * len(head)]
    for (case, weight), group in results.groupby(["case", "weight"], sort=False):
        cells = [case, f"{weight:g}"]
        for column, scale, style in _COLUMNS.values():
            means = scale * group.groupby("tcm")[column].mean()
            cells.append(" → ".join(style(mean) for mean in means))
        cells.append(", ".join(f"{change[case, seed]:+.0f}" for seed in seeds) + " %")
        lines.append(cells)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def correlations(results: pd.DataFrame) -> str:
    """How much of the change is that genuine pairs move inside the threshold."""
    lines = []
    for task, group in _in_space(results).groupby("task"):
        if (group[["opis", "frr"]] > 0).all(axis=None) and len(group) > 2:
            found = np.corrcoef(np.log(group["opis"]), np.log(group["frr"]))[0, 1]
            lines.append(
                f"{task}: log OPIS correlates {found:.2f} with log FRR at FAR 1 % over "
                f"{len(group)} models.\n"
            )
    return "".join(lines)


def _in_space(results: pd.DataFrame) -> pd.DataFrame:
    """Without the toy case, whose errors are of another scale."""
    return results[~results["case"].str.endswith("-2d")]


def curves_figure(pair: pd.DataFrame) -> Figure:
    """Utility of every class, without and with TCM: what ``opis compare --plot`` draws."""
    runs = [opis.evaluate(file) for file in pair["file"]]
    return comparison_plots.draw(runs, compare(runs, list(pair["file"])))


def errors_figure(results: pd.DataFrame) -> Figure:
    """OPIS against 1 - recall@1, a panel a task: each model to its twin with TCM."""
    shown = results if _in_space(results).empty else _in_space(results)
    tasks = shown["task"].unique()
    figure = new_figure(4.4 * max(len(tasks), 1), 4.6)
    panels = figure.subplots(1, len(tasks), squeeze=False)[0]
    for panel, task in zip(panels, tasks, strict=True):
        own = shown[shown["task"] == task]
        for _, pair in own.groupby(["case", "seed"], sort=False):
            _arrow(panel, pair)
        panel.set(xscale="log", yscale="log", xlabel="recognition error, 1 - recall@1", title=task)
        for axis, style in ((panel.xaxis, "{:.3g} %"), (panel.yaxis, "{:.3g}")):
            scale = 100 if axis is panel.xaxis else 1
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter(lambda v, _, style=style, k=scale: style.format(k * v))
            axis.set_minor_formatter(NullFormatter())
        panel.grid(color="0.93", lw=0.7)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("inconsistency, OPIS")
    _legends(figure, panels[0], list(shown["base"].unique()))
    return figure


def _arrow(panel: Axes, pair: pd.DataFrame) -> None:
    """A model, hollow, and its twin with TCM, filled, joined."""
    marker, color = _LOOKS[pair["base"].iloc[0]]
    x, y = 1 - pair["recall_at_1"], pair["opis"]
    panel.plot(x, y, "-", color=color, lw=1, alpha=0.6, zorder=2)
    panel.scatter(x, y, 42, ["white", color], marker, edgecolors=color, linewidths=1.3, zorder=3)


def _legends(figure: Figure, panel: Axes, bases: list[str]) -> None:
    """What the colours and the fillings mean."""
    losses = [_handle(base, *_LOOKS[base], _LOOKS[base][1]) for base in bases]
    figure.legend(handles=losses, loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    fillings = [("without TCM", "white"), ("with TCM", "0.4")]
    handles = [_handle(label, "o", "0.4", filling) for label, filling in fillings]
    panel.legend(handles=handles, loc="lower right", frameon=False, fontsize=9)


def _handle(label: str, marker: str, color: str, filling: str) -> Line2D:
    return Line2D([], [], ls="", marker=marker, color=color, mfc=filling, label=label)


def toy_figure(results: pd.DataFrame) -> Figure:
    """Two-dimensional embeddings on the circle, a column a seed, without TCM above and with below.

    Around the circle stands the density of every class.
    """
    pairs = [pair for _, pair in results.groupby("seed")]
    figure = Figure(figsize=(3.1 * len(pairs), 6.6), dpi=160)
    panels = figure.subplots(2, len(pairs), squeeze=False, subplot_kw={"projection": "polar"})
    figure.subplots_adjust(left=0, right=1, bottom=0, top=0.92, wspace=0, hspace=0.18)
    grid = np.linspace(-np.pi, np.pi, 1_441)
    for column, pair in zip(panels.T, pairs, strict=True):
        found = [densities(Path(file), grid) for file in pair["file"]]
        highest = max(density.max() for each in found for density in each.values())
        for panel, each, (_, model) in zip(column, found, pair.iterrows(), strict=True):
            _circle(panel, grid, {name: density / highest for name, density in each.items()})
            added = "with TCM" if model["tcm"] else "without TCM"
            title = f"seed {model['seed']}, {added}\nOPIS {model['opis']:.3g}"
            panel.set_title(title, fontsize=10)
    return figure


def _circle(panel: Axes, grid: np.ndarray, found: dict[str, np.ndarray]) -> None:
    """Densities, from 0 to 1, of each class around the circle."""
    for i, (name, density) in enumerate(found.items()):
        color = colormaps["tab10"](i)
        outline = 1 + _HEIGHT * np.sqrt(density)
        panel.fill_between(grid, 1, outline, color=color, alpha=0.5, linewidth=0)
        panel.plot(grid, outline, color=color, linewidth=1)
        peak = density.argmax()
        place = grid[peak], outline[peak] + 0.13
        panel.text(*place, name, color=color, weight="bold", ha="center", va="center")
    panel.plot(grid, np.ones_like(grid), color="black", linewidth=0.8)
    panel.set(ylim=(0, 1.25 + _HEIGHT), xticks=[], yticks=[])
    panel.spines["polar"].set_visible(False)


def densities(file: Path, grid: np.ndarray) -> dict[str, np.ndarray]:
    """Density of each class at angles, by a von Mises kernel: shape (angles,) by name."""
    frame = pd.read_parquet(file)
    vectors, labels = np.stack(frame["embedding"]), frame["label"].to_numpy()
    angles = np.arctan2(vectors[:, 1], vectors[:, 0])
    return {
        name: np.exp(_SHARPNESS * (np.cos(grid[:, None] - angles[labels == name]) - 1)).mean(axis=1)
        for name in np.unique(labels)
    }
