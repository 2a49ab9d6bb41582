"""Engines: functions from (rows, grid, tiles) to a tally of pairs.

``engines/numpy.py`` is the reference and the one to read first; the others count the same pairs at
the same cuts. A new engine is one file here, a line in ``load``, and a row in the parity test.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from opis_cli.counting.tally import Opened
from opis_cli.errors import MissingExtra
from opis_cli.records import Embeddings
from opis_cli.settings import Settings

ENGINES = ("numpy", "numba", "torch", "dask")
EXTRAS = {"torch": "torch", "dask": "distributed"}
"""Engines of an optional part of the same name, and the package that it installs."""


def is_installed(engine: str) -> bool:
    """Whether the packages that an engine needs are there."""
    return engine not in EXTRAS or find_spec(EXTRAS[engine]) is not None


def load(engine: str) -> ModuleType:
    """The module of an engine.

    Raises
    ------
    MissingExtra
        Its packages are not installed.
    """
    if not is_installed(engine):
        raise MissingExtra(f"--engine {engine}", engine)
    return import_module(
        "opis_cli.counting.cluster" if engine == "dask" else f"{__name__}.{engine}"
    )


def opened(
    engine: str, embeddings: Embeddings, settings: Settings, threads: int
) -> AbstractContextManager[Opened]:
    """An engine, ready to count these embeddings with these settings while the context lasts.

    Raises
    ------
    MissingExtra
        Its packages are not installed.
    """
    ready: AbstractContextManager[Opened] = load(engine).opened(embeddings, settings, threads)
    return ready


def announced(engine: str, announce: Callable[[str], None]) -> AbstractContextManager[None]:
    """A context in which an engine says so, once, if it compiles code before it can count."""
    if engine != "numba":
        return nullcontext()
    from opis_cli.counting.engines import numba_cache

    return numba_cache.announced(announce)
