"""The blocks that summaries on the terminal are made of."""

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

_LABEL_WIDTH = 28
_ROUGH = 10
"""Classes that carry OPIS, below which its interval is often too narrow."""


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


def carried(effective: float | None, classes: int) -> str:
    """How many of the classes carry a figure in effect, where that is few of them."""
    if effective is None or 2 * effective >= classes:
        return ""
    carry = "1 class carries" if effective < 1.05 else f"{effective:.2g} classes carry"
    return f"in effect {carry} it"


def carried_roughly(effective: float | None, classes: int) -> str:
    """The same of OPIS, whose interval is rough where they are few, however many there are."""
    if effective is None or effective >= _ROUGH:
        return carried(effective, classes)
    return "rough: " + carried(effective, 1 << 62).removesuffix(" carry it").removesuffix(
        " carries it"
    )


def facts_table(facts: dict[str, str]) -> RenderableType:
    """Facts about this machine, a row each."""
    grid = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        grid.add_row(Text(name, style="bold"), Text(value))
    return grid
