"""How code is compiled and kept: never run stale, and where no folder can be written, not kept.

Numba compiles functions into those that call them, of other files too, but its cache looks at the
file of the outermost alone. So the folder is named by all compiled files, Numba and the processor.
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
"""Where compiled code is kept; None where it is not."""


def compiler(**options: Any) -> Callable[[Any], Any]:
    """``numba.njit`` with some options, and our cache."""

    def compiled(function: Any) -> Any:
        if FOLDER is None:
            return njit(**options)(function)
        # Numba looks at this when it wraps a function; the user's own have their own folder.
        before, _CONFIG.CACHE_DIR = _CONFIG.CACHE_DIR, str(FOLDER)
        try:
            return njit(cache=True, **options)(function)
        except RuntimeError:
            # There is no source file to keep it by.
            return njit(**options)(function)
        finally:
            _CONFIG.CACHE_DIR = before

    return compiled


@contextmanager
def announced(announce: Callable[[str], None]) -> Iterator[None]:
    """Say so if code is compiled meanwhile: it takes seconds, and nothing is counted.

    It is said once a process, as what follows takes less.
    """
    with event.install_listener("numba:compile", _Teller(announce)):
        yield


class _Teller(event.Listener):
    """Hears of each function that is compiled, and not of those that the cache has."""

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
