"""Write files atomically, and compute their digests."""

import contextlib
import ctypes
import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from opis_cli.errors import RunError


@contextlib.contextmanager
def replacing(path: Path, *, folder: bool = False) -> Iterator[Path]:
    """Yield a temporary path, and move what was written there to ``path`` at the end.

    If the body of the ``with`` statement fails, the temporary file or folder is deleted. A file
    never replaces a folder. A link stays a link: what it points to is replaced. A device or a FIFO
    stays what it is: the bytes are written into it.

    Parameters
    ----------
    path : Path
    folder : bool
        Whether the body makes a folder. Only then may ``path`` be an existing folder.

    Raises
    ------
    RunError
        The file or folder cannot be written.
    """
    new_parents: list[Path] = []
    try:
        path = Path(os.path.realpath(path)) if path.is_symlink() else path
        new_parents = [parent for parent in path.parents if not parent.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir() and not folder:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        through = path.exists() and not (path.is_file() or path.is_dir())
        with _scratch(path, None if through else path.parent) as scratch:
            new = scratch / "new"
            yield new
            if through:
                with path.open("wb") as stream:
                    stream.write(new.read_bytes())
            elif path.is_dir():
                _exchange(new, path, scratch / "old")
            else:
                if path.exists():
                    shutil.copymode(path, new)
                new.replace(path)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise RunError(
            f"{path}: cannot be written ({error.strerror or error}); nothing was left behind"
        ) from None
    finally:
        with contextlib.suppress(OSError):
            for parent in new_parents:
                # `rmdir` deletes only an empty folder, so parents with content stay.
                parent.rmdir()


_PREFIX, _LOCK = ".opis-", "lock"


@contextlib.contextmanager
def _scratch(path: Path, parent: Path | None) -> Iterator[Path]:
    """Yield a folder for the time of writing ``path``, and delete it at the end.

    A process that is killed cannot delete its folder. The next one that writes beside it does: the
    system has then released the lock that the folder has.
    """
    if parent is not None:
        _delete_stale(parent)
    scratch = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    try:
        with (scratch / _LOCK).open("w", encoding="utf-8", errors="surrogateescape") as lock:
            _hold(lock)
            lock.write(path.name)
            lock.flush()
            yield scratch
    finally:
        _restore(scratch, path)
        shutil.rmtree(scratch, ignore_errors=True)


def _hold(lock: IO[str]) -> bool:
    """Lock a file until it is closed, if nobody else has; where there are no locks, never."""
    try:
        import fcntl

        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return False
    return True


def _delete_stale(parent: Path) -> None:
    """Delete the folders that killed processes left, and put back what they were replacing."""
    for scratch in parent.glob(f"{_PREFIX}*"):
        with (
            contextlib.suppress(OSError),
            (scratch / _LOCK).open(encoding="utf-8", errors="surrogateescape") as lock,
        ):
            if _hold(lock):
                name = lock.read()
                if name and Path(name).name == name:
                    _restore(scratch, parent / name)
                shutil.rmtree(scratch, ignore_errors=True)


def _restore(scratch: Path, path: Path) -> None:
    """Put an old folder back if the new one did not take its place."""
    if (scratch / "old").exists() and not path.exists():
        (scratch / "old").rename(path)


def _exchange(new: Path, path: Path, old: Path) -> None:
    """Put a new folder in the place of another one, at once where the system can."""
    if not _swap(new, path):
        path.rename(old)
        new.rename(path)


def _swap(one: Path, other: Path) -> bool:
    """Exchange two paths in one step, which Linux can; False where that is not possible."""
    here, exchange = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux
    try:
        function = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError, TypeError):
        return False
    return bool(function(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0)


def write_text(file: Path, text: str) -> None:
    """Write a text file.

    Raises
    ------
    RunError
        The file cannot be written.
    """
    with replacing(file) as scratch:
        # A file name in a report need not be UTF-8; the report is.
        scratch.write_text(text, encoding="utf-8", errors="replace")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 digest of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
