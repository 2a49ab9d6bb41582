"""Draws the picture of OPIS with and without noise: ``python tests/benchmarks/noise.py``.

Synthetic classes of one size each: in the upper panel all are alike, so that any OPIS is noise; in
the lower one they differ by a known spread, and the truth is OPIS of the same classes with many
rows each.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import data

import opis_cli as opis
from opis_cli.render.colors import CHOSEN, FAR, WORST
from opis_cli.render.sheet import Look, Sheet, fonts

FIGURE = Path(__file__).parents[2] / "sample_data/figures/noise.png"
SIZES = (4, 6, 8, 12, 16, 24, 32, 48)
CLASSES, MANY = 400, 120
PANELS = ((0.0, "classes that are alike"), (0.2, "classes that differ"))


def main() -> None:
    with fonts(Look()):
        _draw(Sheet())
    print(f"written to {FIGURE}")


def _draw(sheet: Sheet) -> None:
    both = sheet.panels(5.2, (1, 1))
    for axes, (spread, title) in zip(both, PANELS, strict=True):
        truth = 0.0
        if spread:
            truth = opis.evaluate(*data.clouds(CLASSES, MANY, spread=spread)).report.opis
        reports = [
            opis.evaluate(*data.clouds(CLASSES, rows, spread=spread)).report for rows in SIZES
        ]
        found = [report.opis_corrected for report in reports]
        values = [one.value for one in found]
        reach = np.abs([np.array(one.interval) - one.value for one in found]).T
        axes.axhline(truth, color=CHOSEN, linewidth=1.5, label="truth")
        axes.plot(SIZES, [report.opis for report in reports], "s-", color=WORST, label="OPIS")
        axes.errorbar(
            SIZES, values, reach, fmt="o", color=FAR, capsize=3, label="OPIS less noise, 95 %"
        )
        axes.set_title(f"{CLASSES} {title}", loc="left")
        axes.set(ylabel="OPIS", xscale="log")
        axes.set_xticks(SIZES, [str(rows) for rows in SIZES])
        axes.minorticks_off()
    both[0].legend(loc="upper left", bbox_to_anchor=(1.01, 1.0))
    both[-1].set_xlabel("rows of each class")
    sheet.figure.savefig(FIGURE)


if __name__ == "__main__":
    main()
