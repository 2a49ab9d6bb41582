"""Compile code with Numba, and keep the result on disk so that it is never run when stale.

Numba compiles a function into the functions that call it, also across files. But its cache only
notices changes of the file of the outermost function. So the cache gets a folder whose name depends
on the content of all compiled files, on the version of Numba, and on the processor. If no folder
can be written, compiled code is not kept.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numba
from numba import njit
from numba.core import event
from numba.core.registry import cpu_target

from opis_cli import caches

_HERE = Path(__file__).parent
_CONFIG: Any = numba.config


def _find_folder() -> Path | None:
    processor = cpu_target.target_context.codegen().magic_tuple()
    key = caches.key_of(_HERE.glob("numba*.py"), numba.__version__, processor)
    told = [Path(_CONFIG.CACHE_DIR).absolute()] if _CONFIG.CACHE_DIR else []
    return caches.folder("compiled", key, *told, _HERE / "__pycache__")


FOLDER = _find_folder()
"""Folder in which compiled code is kept, or None if it is not kept."""


def compiler(**options: Any) -> Callable[[Any], Any]:
    """Return ``numba.njit`` with some options, which uses the folder of this module."""

    def compiled(function: Any) -> Any:
        if FOLDER is None:
            return njit(**options)(function)
        # Numba reads this setting when it wraps a function. It is restored afterwards, so that the
        # user's own functions keep their own folder.
        before, _CONFIG.CACHE_DIR = _CONFIG.CACHE_DIR, str(FOLDER)
        try:
            return njit(cache=True, **options)(function)
        except RuntimeError:
            # Numba finds no source file for its cache, so the code is not kept.
            return njit(**options)(function)
        finally:
            _CONFIG.CACHE_DIR = before

    return compiled


@contextmanager
def announced(announce: Callable[[str], None]) -> Iterator[None]:
    """Announce if code is compiled while the context lasts.

    Compiling takes seconds in which nothing is counted. It is announced once in a process, because
    later functions take less time.
    """
    with event.install_listener("numba:compile", _Teller(announce)):
        yield


class _Teller(event.Listener):
    """Listens to Numba, which reports each function that it compiles, but not cached ones."""

    told = False

    def __init__(self, announce: Callable[[str], None]) -> None:
        self.announce = announce

    def on_start(self, event: Any) -> None:
        if not _Teller.told:
            _Teller.told = True
            kept = "once on this machine" if FOLDER else "as no folder to keep it can be written"
            self.announce(f"compiling the counting code, {kept}: some ten seconds")

    def on_end(self, event: Any) -> None:
        pass
