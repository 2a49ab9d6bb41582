"""What came out of ``remedy_cases.py``: a table of all sets and remedies, and a figure."""

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from opis_cli.files import replacing
from opis_cli.render.colors import FAR, FRR, GREY
from opis_cli.render.pictures import save_figure
from opis_cli.render.sheet import new_figure

FIGURES = {"frr": "frr_at_max_far", "opis": "opis_log_far"}
"""The two figures that are shown: FRR at FAR 1 %, and OPIS over the logarithm of the FAR."""
_COLUMNS = 4
_COLORS = {False: FAR, True: FRR}
_KINDS = {False: "a model for texts of any kind", True: "a network that learned the very task"}
_MARKERS = "osD^vPX"


def show(results: pd.DataFrame, folder: Path) -> None:
    """Print and write the table, and draw the figure."""
    with replacing(folder / "results.csv") as scratch:
        results.to_csv(scratch, index=False)
    found = summary(results)
    text = table(found)
    with replacing(folder / "table.md") as scratch:
        scratch.write_text(text, encoding="utf-8")
    save_figure(figure(found), folder / "remedies.png")
    print(
        f"\n{text}\n{folder}/results.csv has every seed. {folder}/remedies.png shows the changes."
    )


def summary(results: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each set and remedy, of means over the seeds.

    ``frr`` and ``frr_change`` are in percent and points, ``opis_change`` in percent of the set's
    own OPIS. Each change has the means of the two ends of its intervals, ``..._low`` and
    ``..._high``. ``verdict`` is the one of every seed, or ``not shown`` if they differ.
    """
    rows = []
    for (name, remedy), group in results.groupby(["set", "remedy"], sort=False):
        base = results[(results["set"] == name) & (results["remedy"] == "base")]
        row = {"set": name, "trained": group["trained"].iloc[0], "remedy": remedy}
        verdicts = set(group["verdict"])
        row["verdict"] = verdicts.pop() if len(verdicts) == 1 else "not shown"
        for short, column in FIGURES.items():
            unit = 1.0 if short == "frr" else base[column].mean()
            row[short] = 100 * group[column].mean()
            for end, key in (("change", "change"), ("low", "low"), ("high", "high")):
                mean = group[f"{key}_{column}"].astype(float).mean()
                row[f"{short}_{end}"] = 100 * mean / unit
        rows.append(row)
    return pd.DataFrame(rows)


def table(found: pd.DataFrame) -> str:
    """A row a remedy in Markdown, a column a set: both changes, and the verdict of every seed."""
    sets, remedies = found["set"].unique(), found["remedy"].unique()
    rows = found.set_index(["remedy", "set"])
    lines = [["remedy", *sets], ["---"] * (len(sets) + 1)]
    lines.append(["as they are: FRR", *(f"{rows.loc['base', name]['frr']:.1f} %" for name in sets)])
    marks = {"helps": "**", "harms": "_", "not shown": ""}
    for remedy in remedies[remedies != "base"]:
        cells = [remedy]
        for name in sets:
            one = rows.loc[remedy, name]
            mark = marks[one["verdict"]]
            frr, opis = _signed(one["frr_change"], 1), _signed(one["opis_change"], 0)
            cells.append(f"{mark}{frr}{mark} / {opis} %")
        lines.append(cells)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _signed(value: float, digits: int) -> str:
    """Return a number with its sign, which 0 has not."""
    text = f"{value:+.{digits}f}"
    return text if float(text) else text[1:]


def figure(found: pd.DataFrame) -> Figure:
    """Change of OPIS against change of FRR, a panel a remedy and a mark a set, with intervals."""
    remedies = [name for name in found["remedy"].unique() if name != "base"]
    lines = -(-(len(remedies) + 1) // _COLUMNS)
    sheet = new_figure(2.75 * _COLUMNS, 2.6 * lines + 0.3)
    panels = sheet.subplots(lines, _COLUMNS, sharex=True, sharey=True, squeeze=False)
    markers = dict(zip(found["set"].unique(), _MARKERS, strict=False))
    for panel, remedy in zip(panels.flat, remedies, strict=False):
        _panel(panel, found[found["remedy"] == remedy], markers)
        panel.set_title(remedy, fontsize=10, weight="bold")
    for panel in panels.flat[len(remedies) :]:
        panel.set_axis_off()
    _legend(panels.flat[len(remedies)], found, markers)
    for column in range(min(_COLUMNS, len(remedies))):
        # The legend's column has its labels a row higher.
        panels[(len(remedies) - 1 - column) // _COLUMNS, column].tick_params(labelbottom=True)
    sheet.supxlabel("change of FRR at FAR 1 %, in points (to the left is better)", fontsize=10)
    sheet.supylabel("change of OPIS over log FAR (down is better)", fontsize=10)
    return sheet


def _panel(panel: Axes, rows: pd.DataFrame, markers: dict[str, str]) -> None:
    for _, one in rows.iterrows():
        color = _COLORS[one["trained"]]
        x, y = one["frr_change"], one["opis_change"]
        panel.plot([one["frr_low"], one["frr_high"]], [y, y], color=color, lw=1, alpha=0.6)
        panel.plot([x, x], [one["opis_low"], one["opis_high"]], color=color, lw=1, alpha=0.6)
        panel.plot(x, y, markers[one["set"]], color=color, mec="white", mew=0.6, ms=7, zorder=3)
    panel.axhline(0, color=GREY, lw=0.8, zorder=0)
    panel.axvline(0, color=GREY, lw=0.8, zorder=0)
    # Harm goes far, help does not: beyond the linear middle, both axes are logarithmic.
    panel.set_xscale("symlog", linthresh=5, linscale=1)
    panel.set_yscale("symlog", linthresh=50, linscale=1)
    panel.xaxis.set(major_locator=FixedLocator([-5, 0, 5, 20, 60]), minor_locator=NullLocator())
    panel.yaxis.set(
        major_locator=FixedLocator([-50, -25, 0, 25, 50, 100, 200, 400, 800]),
        minor_locator=NullLocator(),
    )
    panel.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:+.0f}" if x else "0"))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:+.0f} %" if y else "0"))
    panel.tick_params(labelsize=8)
    panel.spines[["top", "right"]].set_visible(False)


def _legend(panel: Axes, found: pd.DataFrame, markers: dict[str, str]) -> None:
    """What the marks and the colours mean, in a panel of its own."""
    handles = []
    for trained, kind in _KINDS.items():
        own = found.loc[found["trained"] == trained, "set"].unique()
        if len(own):
            handles.append(Line2D([], [], ls="", label=kind))
        handles += [
            Line2D([], [], ls="", marker=markers[name], color=_COLORS[trained], ms=7, label=name)
            for name in own
        ]
    place = {"loc": "center left", "bbox_to_anchor": (-0.2, 0.5)}
    panel.legend(handles=handles, **place, frameon=False, fontsize=8.5, handletextpad=0.2)
