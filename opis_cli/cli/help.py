"""The pages of ``--help``: options in panels, whole descriptions, and examples.

A panel is what Typer calls ``rich_help_panel``. Options of settings name theirs in ``settings.py``.
"""

import textwrap
from collections.abc import Callable, Iterable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

PANELS = (
    *("Start here", "Limits", "Input", "Which pairs", "Scored pairs", "Scoring", "Costs"),
    *("Trust", "Machine", "Output"),
)
"""Titles of the panels, in the order of a page. An option that names none is in the last one."""
COMMANDS = (
    *("evaluate", "recommend", "report", "explain", "remedy", "apply", "plot", "compare"),
    *("migrate", "gate", "decide", "count", "merge", "export", "margins", "doctor"),
)
"""Commands in the order in which a person needs them. Others follow, in the order of the code."""
_WIDEST_NAMES = 30
"""Most characters of names that stand on one line with their description."""


def default_of(parameter: Any) -> str:
    """Return the default of an option in words; empty without one."""
    shown, default = parameter.show_default, parameter.default
    if isinstance(shown, str):
        return shown
    return str(default) if shown and default and not isinstance(default, bool) else ""


def described(parameter: Any) -> str:
    """Return the description of a parameter, with its default."""
    default = default_of(parameter)
    return f"{parameter.help or ''}{f' [default: {default}]' if default else ''}"


class Page(TyperCommand):
    """A command whose page of help has panels and examples."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the page."""
        parameters = self.get_params(ctx)
        arguments = [one for one in parameters if one.param_type_name == "argument"]
        given = [_name(one) if one.required else f"[{_name(one)}]" for one in arguments]
        formatter.write_usage(ctx.command_path, " ".join([*given, "[OPTIONS]"]))
        self.format_help_text(ctx, formatter)
        _write_examples(formatter, self.epilog)
        panels: dict[str, list[tuple[str, str]]] = {title: [] for title in PANELS}
        panels[PANELS[0]] += [(_name(one), described(one)) for one in arguments]
        for parameter in parameters:
            record = parameter.get_help_record(ctx)
            if record is not None and parameter not in arguments:
                panel = getattr(parameter, "rich_help_panel", None) or PANELS[-1]
                panels[panel].append((record[0], described(parameter)))
        for title, rows in panels.items():
            _write_rows(formatter, title, rows)


def _name(argument: Any) -> str:
    """Return the name of an argument, with dots behind if it may be repeated."""
    name = argument.metavar or argument.name.upper()
    return name if argument.nargs == 1 or "..." in name else f"{name}..."


class Overview(TyperGroup):
    """The application, whose page of help has whole descriptions of the commands."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands in the order of the page."""
        names = super().list_commands(ctx)
        first = [name for name in COMMANDS if name in names]
        return first + [name for name in names if name not in first]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the page."""
        self.format_usage(ctx, formatter)
        self.format_help_text(ctx, formatter)
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, one.help or "") for name, one in commands if one and not one.hidden]
        _write_rows(formatter, "Commands", rows)
        records = [(one, one.get_help_record(ctx)) for one in self.get_params(ctx)]
        rows = [(record[0], described(one)) for one, record in records if record]
        _write_rows(formatter, "Options", rows)
        self.format_epilog(ctx, formatter)


def _write_rows(formatter: Any, title: str, rows: list[tuple[str, str]]) -> None:
    """Write a panel: names, and descriptions that no line breaks inside a word."""
    if not rows:
        return
    start = 2 + min(max(len(name) for name, _ in rows), _WIDEST_NAMES) + 2
    formatter.write(f"\n{title}:\n")
    for name, description in rows:
        lead = f"  {name}"
        if len(lead) + 2 > start:
            formatter.write(f"{lead}\n")
            lead = ""
        lines = textwrap.wrap(
            description,
            max(formatter.width, start + 20),
            initial_indent=lead.ljust(start),
            subsequent_indent=" " * start,
            break_long_words=False,
            break_on_hyphens=False,
        )
        formatter.write("".join(f"{line}\n" for line in lines or [lead]))


def _write_examples(formatter: Any, examples: str | None) -> None:
    if examples:
        with formatter.section("Examples"):
            formatter.write("".join(f"  {line}\n" for line in examples.splitlines()))


class App(typer.Typer):
    """An application whose commands have examples."""

    def command(  # type: ignore[override]
        self, *given: Any, examples: Iterable[str] = (), **options: Any
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Add a command, as Typer does. ``examples`` are lines of shell for its page of help."""
        settings = {"max_content_width": ANY_WIDTH}
        return super().command(
            *given, cls=Page, epilog="\n".join(examples), context_settings=settings, **options
        )


ANY_WIDTH = 10_000
"""Pages are as wide as the terminal."""


def completing(words: Iterable[str]) -> Callable[[str], list[str]]:
    """Return a function that completes one of some words, for Typer."""

    def complete(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return complete
