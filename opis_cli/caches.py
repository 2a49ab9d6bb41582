"""Folders for what is made once and used again: compiled code, matplotlib's list of fonts.

A folder is the first of these that can be written:

1. beside the code it belongs to, in the package;
2. ``opis`` in the user's cache folder, ``XDG_CACHE_HOME`` or ``~/.cache``;
3. ``opis-<user>`` among the temporary files.

The last two belong to the user alone, and that is checked: what lies there is run. A container
often has neither a home nor a package that can be written. The working directory is left alone.
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
"""How many caches of a kind stay: those of the versions and environments used last."""
_ROOM = 4_000_000
"""Bytes that a folder must have room for: more than what compiled code and a list of fonts take."""


def key_of(files: Iterable[Path], *facts: object) -> str:
    """A short name that changes with the bytes of some files, and with some facts."""
    digest = hashlib.sha256(repr(facts).encode())
    for file in sorted(files):
        digest.update(f"\n{file.name}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def folder(kind: str, key: str, *first: Path) -> Path | None:
    """A folder that can be written, for a cache of some kind; None where there is none.

    Parameters
    ----------
    kind : str
        What is kept, for the name of the folder.
    key : str
        What the cache depends on: another key has another folder. The folders used last stay.
    *first : Path
        Where to look first, such as a folder of the package.
    """
    for base in chain(first, _own_bases()):
        chosen = base / f"{kind}-{key}"
        new = not chosen.is_dir()
        if not _is_writable(chosen, _ROOM if new else 0):
            continue
        with contextlib.suppress(OSError):
            # The last use, by which old folders are told.
            os.utime(chosen)
        if new:
            _forget_old(base, kind)
        return chosen
    return None


def find_folder_for_matplotlib() -> None:
    """Give matplotlib another folder where its own cannot be written, before it is imported.

    It would make a temporary one at every start, list all fonts anew, and warn of it.
    """
    if all(map(_may_be_written, _matplotlib_folders())):
        return
    for base in _own_bases():
        if _is_writable(base / "matplotlib", _ROOM):
            os.environ["MPLCONFIGDIR"] = str(base / "matplotlib")
            return


def _matplotlib_folders() -> list[Path]:
    """Folders that matplotlib would write, by its own rules; a relative one stands for none."""
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
    """Whether a folder can be written, or made, as far as can be told without making it."""
    if not path.is_absolute():
        return False
    try:
        there = next(one for one in (path, *path.parents) if one.exists())
        return there.is_dir() and os.access(there, os.W_OK | os.X_OK)
    except OSError:
        return False


def _own_bases() -> Iterator[Path]:
    """Folders of this user, each made if need be."""
    home, told = _home(), Path(os.environ.get("XDG_CACHE_HOME", ""))
    if told.is_absolute():
        yield from _owned(told / "opis")
    elif home is not None:
        yield from _owned(home / ".cache" / "opis")
    with contextlib.suppress(OSError):
        temporary = Path(tempfile.gettempdir())
        # Where nothing else can be written Python takes the working directory.
        if temporary != Path.cwd():
            user = os.getuid() if hasattr(os, "getuid") else "user"
            yield from _owned(temporary / f"opis-{user}")


def _home() -> Path | None:
    """The user's home, if there is one: a missing one is not ours to make.

    Containers have users whose home is ``/``, which is to say none.
    """
    with contextlib.suppress(OSError, RuntimeError):
        home = Path.home()
        if home.is_absolute() and home.is_dir() and home != home.parent:
            return home
    return None


def _owned(path: Path) -> list[Path]:
    """The folder, made if need be, if it is this user's and no other can write it; else nothing."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
        # Not that of what a link points to: anyone may lay one among temporary files.
        facts = path.lstat()
        if not hasattr(os, "getuid"):
            return [path]
        if path.is_dir() and not path.is_symlink():
            private = facts.st_uid == os.getuid() and not facts.st_mode & 0o022
            return [path] if private else []
    return []


def _is_writable(path: Path, room: int) -> bool:
    """Whether so many bytes can be written in a folder, which is made if need be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path) as file:
            file.write(bytes(room))
    except OSError:
        # A disk may be full: then nothing of ours is left on it.
        with contextlib.suppress(OSError):
            path.rmdir()
        return False
    return True


def _forget_old(base: Path, kind: str) -> None:
    """Delete a kind's caches but for those used last. Who runs from one has it in memory."""
    with contextlib.suppress(OSError):
        caches = sorted(base.glob(f"{kind}-*"), key=lambda path: path.stat().st_mtime)
        for old in caches[:-_KEPT]:
            shutil.rmtree(old, ignore_errors=True)
