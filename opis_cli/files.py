"""Write files atomically, and compute their digests."""

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from opis_cli.errors import RunError


@contextlib.contextmanager
def replacing(path: Path, *, folder: bool = False) -> Iterator[Path]:
    """Yield a temporary path, and move what was written there to ``path`` at the end.

    If the body of the ``with`` statement fails, the temporary file or folder is deleted. A file
    never replaces a folder.

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
    scratch: Path | None = None
    new_parents = [parent for parent in path.parents if not parent.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir() and not folder:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        scratch = Path(tempfile.mkdtemp(prefix=".opis-", dir=path.parent))
        yield scratch / "new"
        if path.is_dir():
            path.rename(scratch / "old")
        (scratch / "new").replace(path)
    except OSError as error:
        raise RunError(
            f"{path}: cannot be written ({error.strerror or error}); nothing was left behind"
        ) from None
    finally:
        if scratch is not None:
            # Put the old folder back if only the last rename failed.
            if (scratch / "old").exists() and not path.exists():
                (scratch / "old").rename(path)
            shutil.rmtree(scratch, ignore_errors=True)
        with contextlib.suppress(OSError):
            for parent in new_parents:
                # `rmdir` deletes only an empty folder, so parents with content stay.
                parent.rmdir()


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
