"""The sheet that a picture is drawn on: its size, its fonts, its panels, its title, its legends."""

import contextlib
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend

from opis_cli.errors import SettingsError
from opis_cli.render.colors import NOTE
from opis_cli.render.fonts import cover, need_outlines
from opis_cli.text import plain

FACTS = "facts"
"""The id of the text below the title."""
WIDTH = 7.2
"""Width of a picture in inches, by default."""
_NARROW = 5.0
"""Width in inches below which legends stand below the panels, and not beside them."""
_SLIDE = 7.5 / 13
"""Height of a slide over its width. A wide picture is at least as high as that."""
_LEAST_WIDTH, _MOST_WIDTH = 2.0, 40.0
_PIXELS, _LEAST_DPI, _PRINT_DPI = 1_150, 160, 300
"""Pixels across a small picture; dots per inch of a large one, and of one for print."""
_TO_INCHES = {"in": 1.0, "": 1.0, "cm": 1 / 2.54, "mm": 1 / 25.4, "pt": 1 / 72}
_VECTOR: dict[Any, Any] = {"pdf.fonttype": 42, "svg.fonttype": "none"}
"""Embed whole TrueType fonts in PDF, and keep text as text in SVG."""


@dataclass(frozen=True, slots=True)
class Look:
    """The size of a picture, and its title.

    Attributes
    ----------
    width : float
        Width in inches. The height follows from it.
    font_size : float, optional
        Size of the text in points. By default it follows from the width: 7 for a column of a
        paper, 10 for a page, 14 for a slide.
    title : str, optional
        The title. By default it is the name of the data.

    Raises
    ------
    SettingsError
        A size is out of range.
    """

    width: float = WIDTH
    font_size: float | None = None
    title: str | None = None

    def __post_init__(self) -> None:
        if not _LEAST_WIDTH <= self.width <= _MOST_WIDTH:
            raise SettingsError(
                f"the width of a picture is {self.width:g} in; it must lie between "
                f"{_LEAST_WIDTH:g} in and {_MOST_WIDTH:g} in"
            )
        if self.font_size is not None and not 3 <= self.font_size <= 72:
            raise SettingsError(
                f"the font size is {self.font_size:g}; it must lie between 3 and 72 points"
            )

    @property
    def points(self) -> float:
        """Size of the text in points."""
        by_width = float(np.clip(10 * (self.width / WIDTH) ** 0.5, 7, 14))
        return round(self.font_size or by_width, 1)

    @property
    def narrow(self) -> bool:
        """Whether there is no room for a legend beside the panels."""
        return self.width < _NARROW

    def height(self, height: float) -> float:
        """Return the height in inches of what is ``height`` inches high at the default width."""
        if self.narrow:
            # The panels keep their shape, and the legends need room below them.
            return height * self.width / WIDTH * 1.55
        return max(min(height * self.width / WIDTH, height), _SLIDE * self.width)


def look_of(
    width: float | str | None, title: str | None, font_size: float | None, default: float = WIDTH
) -> Look:
    """Return the look of a picture from what the user gave.

    ``width`` is a number of inches, or a text such as ``3.3in``, ``84mm`` or ``8.4cm``.

    Raises
    ------
    SettingsError
        It is no width, or a size is out of range.
    """
    if isinstance(width, str):
        width = _inches(width)
    return Look(default if width is None else float(width), font_size, title)


def _inches(text: str) -> float:
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(in|cm|mm|pt|)\s*", text)
    if match is None:
        raise SettingsError(
            f"{text[:40]!r} is no width of a picture; write it as 3.3in, 84mm or 8.4cm"
        )
    return float(match[1]) * _TO_INCHES[match[2]]


class _Figure(Figure):
    """A figure that notebooks show even if pyplot was never imported."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()

    def savefig(self, fname: Any, **options: Any) -> None:
        """Write the figure, with fonts that a printer takes, and no pixels below 300 dpi."""
        suffix = str(options.get("format") or str(fname).rpartition(".")[2]).lower()
        kinds = _VECTOR
        if suffix in ("pdf", "svg"):
            options.setdefault("dpi", _PRINT_DPI)
        if suffix == "pdf" and need_outlines(self):
            kinds = _VECTOR | {"pdf.fonttype": 3}
        with matplotlib.rc_context(kinds):
            super().savefig(fname, **options)


def new_figure(width: float, height: float) -> Figure:
    """Make an empty figure of a size in inches."""
    dpi = float(np.clip(_PIXELS / width, _LEAST_DPI, _PRINT_DPI))
    return _Figure(figsize=(width, height), dpi=dpi, layout="constrained")


@contextlib.contextmanager
def fonts(look: Look) -> Iterator[None]:
    """Make all text that is drawn meanwhile as large as the look says."""
    points = look.points
    sizes: dict[Any, Any] = {
        "font.size": points,
        "axes.labelsize": points,
        "axes.titlesize": points,
        "xtick.labelsize": 0.9 * points,
        "ytick.labelsize": 0.9 * points,
        "legend.fontsize": 0.8 * points,
        "legend.frameon": False,
        "legend.borderaxespad": 0.0,
        "lines.linewidth": 0.18 * points,
        "lines.markersize": 0.7 * points,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with matplotlib.rc_context(sizes):
        yield


@dataclass
class Sheet:
    """A figure in the making.

    Attributes
    ----------
    look : Look
    given : sequence of Axes
        The user's own panels to draw into. By default the sheet makes a figure.
    """

    look: Look = field(default_factory=Look)
    given: Sequence[Axes] = ()
    axes: list[Axes] = field(default_factory=list)

    def panels(self, height: float, ratios: tuple[int, ...], *, shared: bool = True) -> list[Axes]:
        """Make panels one above the other; or take the user's own.

        ``height`` is the height of the figure in inches at the default width, and ``shared`` says
        whether the panels share their x axis.

        Raises
        ------
        SettingsError
            The user gave another number of panels.
        """
        if self.given:
            if len(self.given) != len(ratios):
                raise SettingsError(
                    f"this picture has {len(ratios)} panels, and ax has {len(self.given)}; give "
                    f"{'one' if len(ratios) == 1 else f'a tuple of {len(ratios)}'}"
                )
            self.axes = list(self.given)
            return self.axes
        figure = new_figure(self.look.width, self.look.height(height))
        grid = figure.subplots(len(ratios), sharex=shared, squeeze=False, height_ratios=ratios)
        self.axes = list(grid[:, 0])
        return self.axes

    @property
    def figure(self) -> Figure:
        """The figure of the panels."""
        figure = self.axes[0].get_figure(root=True)
        if figure is None:
            raise SettingsError("ax belongs to no figure any more; give one that does")
        return figure

    def finish(self, name: str, facts: Sequence[str]) -> Figure:
        """Add the title and the legends, and find fonts for all text.

        Parameters
        ----------
        name : str
            What the data are called, unless the look has a title.
        facts : sequence of str
            Short facts below the title, each of which stays on one line.
        """
        self.add_title(self.look.title or name, facts)
        self._add_legends()
        for axes in self.axes:
            axes.tick_params(labelsize=0.9 * self.look.points)
        figure = self.figure
        cover(self.axes if self.given else [figure])
        engine = figure.get_layout_engine()
        if engine is not None and not self.given:
            # Once, here: the names of classes find their places in the final layout.
            engine.execute(figure)
            figure.set_layout_engine("none")
        return figure

    def add_title(self, name: str, facts: Sequence[str]) -> None:
        """Add a bold title, and the facts in grey below it."""
        panel, points = self.axes[0], self.look.points
        if self.given:
            panel.set_title(plain(name, 60), loc="left", parse_math=False)
            return
        room = int(self.look.width * 0.85 * 72 / (0.56 * points))
        lines = list(_lines(facts, int(room * 1.15)))
        panel.set_title(
            plain(name, room),
            loc="left",
            weight="bold",
            parse_math=False,
            pad=0.8 * points + 1.1 * points * len(lines),
        )
        panel.annotate(
            "\n".join(lines),
            (0, 1),
            (0, 0.5 * points),
            xycoords="axes fraction",
            textcoords="offset points",
            va="bottom",
            color=NOTE,
            fontsize=0.85 * points,
            parse_math=False,
            annotation_clip=False,
            gid=FACTS,
        )

    def _add_legends(self) -> None:
        if self.look.narrow and not self.given:
            add_legend_below(self.figure, self.axes, 2)
            return
        place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0)}
        if self.given:
            place = {"loc": "best"}
        first: list[Axes] = []
        for axes in self.axes:
            _show(axes.legend(*_named([axes], first), **place))
            # Marks that several panels share are named only in the first legend.
            first = self.axes[:1]


def add_legend_below(figure: Figure, panels: Sequence[Axes], columns: int) -> None:
    """Add one legend of all panels below them."""
    handles, labels = _named(panels)
    _show(figure.legend(handles, labels, loc="outside lower left", ncols=columns))


def _show(legend: Legend) -> None:
    """Show the labels of a legend as they are: a dollar sign begins no formula."""
    for text in legend.get_texts():
        text.set_parse_math(False)


def _named(panels: Sequence[Axes], before: Sequence[Axes] = ()) -> tuple[list[Any], list[str]]:
    """Return the handles and labels of panels, each label once, without those of others."""
    known = {label for axes in before for label in axes.get_legend_handles_labels()[1]}
    named: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            if label not in known:
                named.setdefault(label, handle)
    return list(named.values()), list(named)


def _lines(facts: Sequence[str], room: int) -> Iterator[str]:
    """Yield lines of at most ``room`` characters, as far as no fact is broken."""
    line = ""
    for fact in facts:
        if line and len(line) + 3 + len(fact) > room:
            yield line
            line = ""
        line = f"{line}   {fact}" if line else fact
    if line:
        yield line
