"""What came out of ``train_tcm.py``: a table of all models, and the figure of the toy case."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

import opis_cli as opis
from opis_cli.files import replacing, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from train_tcm import Model

_HEIGHT, _SHARPNESS = 0.9, 400
_FIGURES = {
    "recall@1": ("recall_at_1", "{:.4f}"),
    "OPIS x 1e4": ("opis", "{:.3g}"),
    "10%-OPIS x 1e4": ("eps_opis", "{:.3g}"),
    "FRR at FAR 1 %": ("frr", "{:.3f}"),
}


def show(models: "dict[Model, Path]", folder: Path) -> None:
    """Score every model with opis; print and write the table, and draw the toy case."""
    results = pd.DataFrame([scores(model, file) for model, file in models.items()])
    with replacing(folder / "results.csv") as scratch:
        results.to_csv(scratch, index=False)
    text = table(results) + "\n" + correlations(results)
    with replacing(folder / "table.md") as scratch:
        scratch.write_text(text, encoding="utf-8")
    print(f"\n{text}\nEvery model is a row of {folder}/results.csv.")
    toys = [file for model, file in models.items() if model.case.dim == 2][:2]
    if toys:
        save_figure(toy_figure(*toys), folder / "toy.png")
        print(f"The toy case is drawn in {folder}/toy.png.")
    print(f"Look closer:\n{compare_command(list(models.values()))}")


def compare_command(files: list[Path]) -> str:
    """The command that draws the models of the last folder side by side."""
    files = [file for file in files if file.parent == files[-1].parent]
    twins = [
        f"--twin '{base.name}={tcm.name}'"
        for base, tcm in zip(files[::2], files[1::2], strict=True)
    ]
    words = ["opis compare", *(f"'{file}'" for file in files)]
    return " \\\n  ".join([*words, "--plot curves.png --pareto pareto.png", *twins])


def scores(model: "Model", file: Path) -> dict[str, Any]:
    """The scores of one model's embeddings, by the defaults of ``opis evaluate``."""
    report = opis.evaluate(file).report
    at = report.recommendation.at_max_far
    return {
        "case": model.case.name,
        "weight": model.case.weight,
        "seed": model.seed,
        "tcm": model.tcm,
        "recall_at_1": report.recall_at_1,
        "opis": report.opis,
        "eps_opis": report.eps_opis.value,
        "frr": None if at is None else at.frr,
        "threshold": None if at is None else at.threshold,
    }


def table(results: pd.DataFrame) -> str:
    """A row a case in Markdown: means over the seeds, and the change of OPIS of each seed."""
    seeds = sorted(results["seed"].unique())
    changes = f"change of OPIS, seeds {', '.join(map(str, seeds))}"
    head = ["case", "TCM weight", *_FIGURES, changes]
    lines = [head, ["---"] * len(head)]
    for (case, weight), group in results.groupby(["case", "weight"], sort=False):
        base, tcm = (group[group["tcm"] == with_tcm].set_index("seed") for with_tcm in (0, 1))
        cells = [case, f"{weight:g}"]
        for title, (column, style) in _FIGURES.items():
            scale = 1e4 if "1e4" in title else 1
            pair = [style.format(scale * side[column].mean()) for side in (base, tcm)]
            cells.append(" → ".join(pair))
        change = 100 * (tcm["opis"] / base["opis"] - 1)
        cells.append(", ".join(f"{change[seed]:+.0f}" for seed in seeds) + " %")
        lines.append(cells)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def correlations(results: pd.DataFrame) -> str:
    """How much of the change is that genuine pairs move inside the threshold."""
    lines = []
    results = results[~results["case"].str.endswith("-2d")]
    for task, group in results.groupby(results["case"].str.split("-").str[0]):
        if (group[["opis", "frr"]] > 0).all(axis=None) and len(group) > 2:
            found = np.corrcoef(np.log(group["opis"]), np.log(group["frr"]))[0, 1]
            lines.append(
                f"{task}: log OPIS correlates {found:.2f} with log FRR at FAR 1 % over "
                f"{len(group)} models.\n"
            )
    return "".join(lines)


def toy_figure(base: Path, tcm: Path) -> "Figure":
    """Two-dimensional embeddings on the circle, with the density of every class around it."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 4.7), dpi=160)
    panels = figure.subplots(1, 2, subplot_kw={"projection": "polar"})
    figure.subplots_adjust(left=0, right=1, bottom=0, top=0.9, wspace=0)
    grid = np.linspace(-np.pi, np.pi, 1_441)
    curves = [densities(file, grid) for file in (base, tcm)]
    highest = max(density.max() for density in [*curves[0].values(), *curves[1].values()])
    for panel, file, title, found in zip(
        panels, (base, tcm), ("without TCM", "with TCM"), curves, strict=True
    ):
        for i, (name, density) in enumerate(found.items()):
            color = colormaps["tab10"](i)
            outline = 1 + _HEIGHT * np.sqrt(density / highest)
            panel.fill_between(grid, 1, outline, color=color, alpha=0.5, linewidth=0)
            panel.plot(grid, outline, color=color, linewidth=1)
            peak = density.argmax()
            panel.text(
                grid[peak],
                outline[peak] + 0.1,
                name,
                color=color,
                weight="bold",
                ha="center",
                va="center",
            )
        panel.plot(grid, np.ones_like(grid), color="black", linewidth=0.8)
        panel.set(ylim=(0, 1.15 + _HEIGHT), xticks=[], yticks=[])
        panel.spines["polar"].set_visible(False)
        report = opis.evaluate(file).report
        panel.set_title(f"ArcFace {title}\nOPIS {report.opis:.3g}", fontsize=11)
    return figure


def densities(file: Path, grid: np.ndarray) -> dict[str, np.ndarray]:
    """Density of each class at angles, by a von Mises kernel: shape (angles,) by name."""
    frame = pd.read_parquet(file)
    vectors, labels = np.stack(frame["embedding"]), frame["label"].to_numpy()
    angles = np.arctan2(vectors[:, 1], vectors[:, 0])
    return {
        name: np.exp(_SHARPNESS * (np.cos(grid[:, None] - angles[labels == name]) - 1)).mean(axis=1)
        for name in np.unique(labels)
    }
