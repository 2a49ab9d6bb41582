"""Options that several commands share. An option has the same name and help in every command.

The options of settings are made from the declarations in ``settings.py``.
"""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import typer

from opis_cli.cli.help import completing
from opis_cli.settings import ABOUT, Settings
from opis_cli.values import choices_of, parse_number, parse_whole

Source = Annotated[
    list[str],
    typer.Argument(
        help="Embeddings: .parquet (file or folder), .npy with --labels, .npz; or shards of them.",
        metavar="SOURCE",
    ),
]
RunOrSource = Annotated[
    str,
    typer.Argument(
        help="A run (the folder that --out wrote), or embeddings.", metavar="RUN_OR_SOURCE"
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        help="Settings file.",
        show_default="opis.toml, if there is one",
        metavar="FILE",
        rich_help_panel="Input",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        help="Write a run into this new folder: what every other command works from.",
        metavar="DIR",
        rich_help_panel="Start here",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace a run that is there.")]
Details = Annotated[bool, typer.Option("--details", help="Show every figure, with its interval.")]
Json = Annotated[bool, typer.Option("--json", help="JSON on standard output, nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No summary, no progress.")]
Width = Annotated[
    str | None,
    typer.Option(
        help="Width of the picture, such as 3.3in or 84mm. Height and text follow from it.",
        metavar="LENGTH",
    ),
]
Title = Annotated[
    str | None,
    typer.Option(help="Title of the picture.", metavar="TEXT", show_default="the name of the data"),
]
FontSize = Annotated[
    float | None,
    typer.Option(help="Size of the text in points.", metavar="POINTS", show_default="by the width"),
]

_PARSERS: dict[Any, Callable[[str], Any]] = {float: parse_number, int: parse_whole}

Given = dict[str, Any]
"""Settings by name, as given on the command line. None means: not given."""
Command = Callable[..., None]


def settings_as_options(*names: str) -> Callable[[Command], Command]:
    """Return a decorator that adds an option for each named setting to a command.

    Without names it adds an option for every setting. The command gets the values in its parameter
    ``given``.
    """
    return options_in_place_of("given", {name: _option(name) for name in names or ABOUT})


def options_in_place_of(placeholder: str, options: dict[str, Any]) -> Callable[[Command], Command]:
    """Return a decorator that replaces one parameter of a command by options.

    Parameters
    ----------
    placeholder : str
        Name of the parameter. The command gets the values of the options in it, as ``Given``.
    options : dict
        Annotated type of each option by its name, as Typer reads it. The default of each option is
        None.
    """

    def decorate(command: Command) -> Command:
        signature = inspect.signature(command)

        @functools.wraps(command)
        def with_options(**values: Any) -> None:
            given = {name: values.pop(name) for name in options}
            command(**values, **{placeholder: given})

        keyword = inspect.Parameter.KEYWORD_ONLY
        parameters = []
        for name, parameter in signature.parameters.items():
            if name == placeholder:
                parameters += [
                    inspect.Parameter(one, keyword, default=None, annotation=annotation)
                    for one, annotation in options.items()
                ]
            else:
                parameters.append(parameter.replace(kind=keyword))
        with_options.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=parameters
        )
        with_options.__annotations__ = {one.name: one.annotation for one in parameters}
        return with_options

    return decorate


def _option(name: str) -> Any:
    """Return the option of a setting, as Typer reads it."""
    about, hint = ABOUT[name], get_type_hints(Settings)[name]
    default = Settings.__dataclass_fields__[name].default
    shown = about.shown or ("" if default is None or default is False else str(default))
    words = about.choices or choices_of(hint)
    kind = _plain_type(hint)
    option = typer.Option(
        *about.flags,
        help=about.help.format(choices=_listed(words)),
        metavar=about.metavar or _metavar(name, kind, words),
        show_default=shown or False,
        parser=_PARSERS.get(kind),
        autocompletion=completing(words) if words else None,
        rich_help_panel=about.panel,
    )
    return Annotated[kind | None, option]


def _metavar(name: str, kind: Any, words: tuple[str, ...]) -> str | None:
    """Return the name of a value in ``--help``, unless the setting names it."""
    if words or kind is bool:
        return "WORD" if words else None
    return "N" if kind in (int, float) else "COLUMN" if name.endswith("_column") else "TEXT"


def _plain_type(hint: Any) -> Any:
    """Return the type that Typer reads.

    For a setting with a list of words it is ``str``: ``Settings`` checks the word, and its message
    names the allowed words.
    """
    kinds = [kind for kind in (get_args(hint) or (hint,)) if kind is not type(None)]
    return str if get_origin(hint) is Literal or get_origin(kinds[0]) is Literal else kinds[0]


def _listed(words: tuple[str, ...]) -> str:
    return " or ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
