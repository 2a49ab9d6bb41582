"""Building blocks of the summaries on the terminal."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from opis_cli.text import plain

_LABEL_WIDTH = 30
"""Width of the column of names, in characters."""
TITLE = "bold cyan"
"""Style of the titles of sections."""


def section(
    title: str, rows: Sequence[tuple[str, str, str | Text]], rest: str | Text = ""
) -> RenderableType:
    """Return a titled block whose rows have a name, a figure, and a remark on its meaning.

    ``rest`` stands behind the title on its line.
    """
    grid = Table.grid(padding=(0, 2))
    grid.add_column(width=_LABEL_WIDTH)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(style="dim")
    for name, figure, remark in rows:
        grid.add_row(Text("  " + name), Text(figure, style="bold"), _text(remark))
    return Group(titled(title, rest), grid)


def titled(title: str, rest: str | Text = "") -> Text:
    """Return a title, with what stands behind it on its line."""
    return Text.assemble((title, TITLE), "  " if rest else "", rest)


def hanging(mark: str, text: str | Text, style: str = "") -> RenderableType:
    """Return a text behind a mark. All lines of the text begin behind the mark."""
    grid = Table.grid()
    grid.add_column(width=len(mark), no_wrap=True)
    grid.add_column()
    grid.add_row(Text(mark, style=style), _text(text, style))
    return grid


def _text(text: str | Text, style: str = "") -> Text:
    return text if isinstance(text, Text) else Text(text, style=style)


@dataclass(frozen=True)
class Commands:
    """Commands, each with what it is for if the terminal is wide enough for all of this."""

    commands: list[tuple[str, str]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        title = "NEXT   "
        widest, remarks = (max(map(len, column)) for column in zip(*self.commands, strict=True))
        fits = len(title) + widest + len("  ") + remarks <= options.max_width
        for place, (command, what) in enumerate(self.commands):
            lead = Text(title if place == 0 else " " * len(title), style=TITLE)
            remark = Text(f"{' ' * (widest - len(command))}  {what}" if fits else "", style="dim")
            yield Text.assemble(lead, command, remark, overflow="ignore", no_wrap=True)


def class_table(
    title: str, heads: Sequence[str], rows: Iterable[tuple[int | str, str, str, str, str]]
) -> RenderableType:
    """Return a titled table of classes. A row has the name of a class, and figures as text."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(f"  {heads[0]}")
    for head in heads[1:]:
        table.add_column(head, justify="right")
    for name, *figures in rows:
        table.add_row(Text("  " + plain(name)), *figures)
    return Group(titled(title), table)


def marked(lines: Iterable[str]) -> list[RenderableType]:
    """Return lines that are marked as warnings."""
    return [hanging("  ! ", line, "yellow") for line in lines]


def facts_table(facts: dict[str, str]) -> RenderableType:
    """Return facts about this machine, one in each row."""
    grid = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        grid.add_row(Text(name, style="bold"), Text(value))
    return grid
