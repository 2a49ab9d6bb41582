"""The blocks that summaries on the terminal are made of."""

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

_LABEL_WIDTH = 28


def section(title: str, rows: list[tuple[str, str, str]]) -> RenderableType:
    """A titled block of name, figure, and what it means."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(width=_LABEL_WIDTH)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(style="dim")
    for name, figure, remark in rows:
        grid.add_row(Text("  " + name), Text(figure, style="bold"), Text(remark))
    return Group(Text(title, style="bold cyan"), grid)


def marked(lines: Iterable[str]) -> list[RenderableType]:
    """Lines that a person must not miss."""
    return [Text(f"  ! {line}", style="yellow") for line in lines]


def facts_table(facts: dict[str, str]) -> RenderableType:
    """Facts about this machine, a row each."""
    grid = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        grid.add_row(Text(name, style="bold"), Text(value))
    return grid
