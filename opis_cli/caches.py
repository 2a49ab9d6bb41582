"""Cache folders for compiled code and for matplotlib's font list.

opis uses the first of these folders that it can write to:

1. a folder in the package, beside the code that the cache belongs to;
2. ``opis`` in the user's cache folder, ``XDG_CACHE_HOME`` or ``~/.cache``;
3. ``opis-<user>`` in the folder for temporary files.

opis executes code from these folders, so it checks that the last two belong to the user and that
nobody else can write to them. The third exists because a container often has no home and no
writable package. opis never writes a cache to the working directory.
"""

import contextlib
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

_KEPT = 4
"""Number of caches of a kind that opis keeps: those of the versions and environments used last."""
_ROOM = 4_000_000
"""Bytes that a folder must have room for. Compiled code and a font list take less."""


def key_of(files: Iterable[Path], *facts: object) -> str:
    """Return a short name that changes if the bytes of a file or one of the facts change."""
    digest = hashlib.sha256(repr(facts).encode())
    for file in sorted(files):
        digest.update(f"\n{file.name}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def folder(kind: str, key: str, *first: Path) -> Path | None:
    """Return a writable folder for a cache, or None if there is no such folder.

    The function also deletes old caches of the same kind.

    Parameters
    ----------
    kind : str
        What the cache contains. It is a part of the folder's name.
    key : str
        Short name of everything that the cache depends on. Each key has its own folder.
    *first : Path
        Folders to try first, such as a folder of the package.
    """
    for base in chain(first, _own_bases()):
        chosen = base / f"{kind}-{key}"
        new = not chosen.is_dir()
        if not _is_writable(chosen, _ROOM if new else 0):
            continue
        with contextlib.suppress(OSError):
            # The modification time records the last use; `_forget_old` sorts by it.
            os.utime(chosen)
        if new:
            _forget_old(base, kind)
        return chosen
    return None


def find_folder_for_matplotlib() -> None:
    """Choose another folder for matplotlib if it cannot write to its own. Call this before import.

    Without a writable folder matplotlib makes a temporary one at every start, lists all fonts
    again, and prints a warning.
    """
    if all(map(_may_be_written, _matplotlib_folders())):
        return
    for base in _own_bases():
        if _is_writable(base / "matplotlib", _ROOM):
            os.environ["MPLCONFIGDIR"] = str(base / "matplotlib")
            return


def _matplotlib_folders() -> list[Path]:
    """Return the folders that matplotlib writes to by its own rules.

    A relative path means that there is no such folder.
    """
    told = os.environ.get("MPLCONFIGDIR")
    if told:
        return [Path(told).absolute()]
    home = _home() or Path()
    if not sys.platform.startswith(("linux", "freebsd")):
        return [home / ".matplotlib"]
    return [
        Path(os.environ.get(variable) or home / usual) / "matplotlib"
        for variable, usual in (("XDG_CONFIG_HOME", ".config"), ("XDG_CACHE_HOME", ".cache"))
    ]


def _may_be_written(path: Path) -> bool:
    """Return whether a folder seems writable or could be made. The function does not make it."""
    if not path.is_absolute():
        return False
    try:
        there = next(one for one in (path, *path.parents) if one.exists())
        return there.is_dir() and os.access(there, os.W_OK | os.X_OK)
    except OSError:
        return False


def _own_bases() -> Iterator[Path]:
    """Yield this user's own folders for caches, and make those that are missing."""
    home, told = _home(), Path(os.environ.get("XDG_CACHE_HOME", ""))
    if told.is_absolute():
        yield from _owned(told / "opis")
    elif home is not None:
        yield from _owned(home / ".cache" / "opis")
    with contextlib.suppress(OSError):
        temporary = Path(tempfile.gettempdir())
        # Python returns the working directory if it finds no writable temporary folder.
        if temporary != Path.cwd():
            user = os.getuid() if hasattr(os, "getuid") else "user"
            yield from _owned(temporary / f"opis-{user}")


def _home() -> Path | None:
    """Return the user's home, or None if there is none. opis does not make a missing home.

    Some users in containers have the home ``/``. This counts as no home.
    """
    with contextlib.suppress(OSError, RuntimeError):
        home = Path.home()
        if home.is_absolute() and home.is_dir() and home != home.parent:
            return home
    return None


def _owned(path: Path) -> list[Path]:
    """Return ``[path]`` if the folder belongs to this user and nobody else can write to it.

    The function makes the folder if it is missing, and returns an empty list if the check fails.
    """
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
        # Use lstat, not stat: anyone may place a link to a folder of this user in /tmp.
        facts = path.lstat()
        if not hasattr(os, "getuid"):
            return [path]
        if path.is_dir() and not path.is_symlink():
            private = facts.st_uid == os.getuid() and not facts.st_mode & 0o022
            return [path] if private else []
    return []


def _is_writable(path: Path, room: int) -> bool:
    """Return whether ``room`` bytes can be written to a folder. A missing folder is made."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path) as file:
            file.write(bytes(room))
    except OSError:
        # The disk may be full. Do not leave an empty folder on it.
        with contextlib.suppress(OSError):
            path.rmdir()
        return False
    return True


def _forget_old(base: Path, kind: str) -> None:
    """Delete the caches of a kind, except those used last.

    This is safe for a process that uses a deleted cache, as it has loaded the cache into memory.
    """
    with contextlib.suppress(OSError):
        caches = sorted(base.glob(f"{kind}-*"), key=lambda path: path.stat().st_mtime)
        for old in caches[:-_KEPT]:
            shutil.rmtree(old, ignore_errors=True)
