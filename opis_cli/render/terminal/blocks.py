"""Building blocks of the summaries on the terminal."""

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from opis_cli.text import plain

_LABEL_WIDTH = 28
"""Width of the column of names, in characters."""
_ROUGH = 10
"""Effective number of classes that carry OPIS, below which its interval is often too narrow."""


def section(title: str, rows: list[tuple[str, str, str]]) -> RenderableType:
    """Return a titled block whose rows have a name, a figure, and a remark on its meaning."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(width=_LABEL_WIDTH)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(style="dim")
    for name, figure, remark in rows:
        grid.add_row(Text("  " + name), Text(figure, style="bold"), Text(remark))
    return Group(Text(title, style="bold cyan"), grid)


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
    return Group(Text(title, style="bold cyan"), table)


def marked(lines: Iterable[str]) -> list[RenderableType]:
    """Return lines that are marked as warnings."""
    return [Text(f"  ! {line}", style="yellow") for line in lines]


def carried(effective: float | None, classes: int) -> str:
    """Say how many classes carry a figure in effect, if that is less than half of them."""
    if effective is None or 2 * effective >= classes:
        return ""
    carry = "1 class carries" if effective < 1.05 else f"{effective:.2g} classes carry"
    return f"in effect {carry} it"


def carried_roughly(effective: float | None, classes: int) -> str:
    """Say how many classes carry OPIS in effect.

    If these are few, its interval is rough, however many classes there are in all.
    """
    if effective is None or effective >= _ROUGH:
        return carried(effective, classes)
    return "rough: " + carried(effective, 1 << 62).removesuffix(" carry it").removesuffix(
        " carries it"
    )


def facts_table(facts: dict[str, str]) -> RenderableType:
    """Return facts about this machine, one in each row."""
    grid = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        grid.add_row(Text(name, style="bold"), Text(value))
    return grid
