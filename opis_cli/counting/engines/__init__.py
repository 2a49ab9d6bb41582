"""Find and open engines. An engine counts the pairs of tiles of rows into a tally.

``engines/numpy.py`` is the reference. Read it first; the others count the same pairs at the same
cuts. A new engine takes one file here, a name in ``ENGINES``, and a row in the parity test.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from opis_cli.counting.parts import Opened
from opis_cli.errors import MissingExtra
from opis_cli.records import Embeddings
from opis_cli.settings import Settings

ENGINES = ("numpy", "numba", "torch", "dask")
EXTRAS = {"torch": "torch", "dask": "distributed"}
"""Engines that need the optional part of the same name, and the package that this part installs."""


def is_installed(engine: str) -> bool:
    """Return whether the packages that an engine needs are installed."""
    return engine not in EXTRAS or find_spec(EXTRAS[engine]) is not None


def load(engine: str) -> ModuleType:
    """Import the module of an engine.

    Raises
    ------
    MissingExtra
        The packages of the engine are not installed.
    """
    if not is_installed(engine):
        raise MissingExtra(f"--engine={engine}", engine)
    return import_module(
        "opis_cli.counting.cluster" if engine == "dask" else f"{__name__}.{engine}"
    )


def has_device(embeddings: Embeddings) -> bool:
    """Return whether the torch engine has a fast device here that can hold these embeddings."""
    if not is_installed("torch"):
        return False
    found: bool = load("torch").has_device(embeddings)
    return found


def opened(
    engine: str, embeddings: Embeddings, settings: Settings, threads: int
) -> AbstractContextManager[Opened]:
    """Open an engine that can count these embeddings while the context lasts.

    Raises
    ------
    MissingExtra
        The packages of the engine are not installed.
    """
    ready: AbstractContextManager[Opened] = load(engine).opened(embeddings, settings, threads)
    return ready


def announced(engine: str, announce: Callable[[str], None]) -> AbstractContextManager[None]:
    """Return a context in which an engine announces, once, that it compiles code before it counts.

    The context does nothing for engines that compile no code.
    """
    if engine != "numba":
        return nullcontext()
    from opis_cli.counting.engines import numba_cache

    return numba_cache.announced(announce)
