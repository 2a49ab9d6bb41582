"""Sources with an address, ``s3://`` or ``gs://``: fetched to disk, then read like any file."""

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from opis_cli.errors import InputError


def is_address(source: str | Path) -> bool:
    """Whether a source is an address of a file system that pyarrow knows, not a local path."""
    return isinstance(source, str) and re.match(r"[a-z][a-z0-9+.-]*://", source) is not None


def everywhere(source: str | Path) -> str:
    """The source as another process, in another folder, would name it."""
    return str(source) if is_address(source) else str(Path(source).absolute())


@contextmanager
def fetched(source: str | Path) -> Iterator[Path]:
    """A local path to a source: itself, or a copy of what is at its address.

    The copy is gone afterwards; what was mapped into memory by then stays. Errors about the copy
    are raised as errors about the address.

    Raises
    ------
    InputError
        There is nothing at the address, or it cannot be fetched.
    """
    if not is_address(source):
        yield Path(source)
        return
    with tempfile.TemporaryDirectory(prefix="opis-") as folder:
        copy = _fetch(str(source), Path(folder))
        try:
            yield copy
        except InputError as error:
            raise InputError(str(error).replace(str(copy), str(source))) from None


def _fetch(address: str, folder: Path) -> Path:
    """Copy a file, or the Parquet parts of a folder, from an address."""
    import pyarrow as pa
    from pyarrow import fs

    try:
        filesystem, inner = fs.FileSystem.from_uri(address)
        found = filesystem.get_file_info(inner.rstrip("/"))
        if found.type == fs.FileType.NotFound:
            raise InputError(f"{address}: there is nothing at this address; check the name")
        copy = folder / f"source{Path(inner).suffix}"
        if found.type == fs.FileType.File:
            _copy(filesystem, found.path, copy)
            return copy
        copy.mkdir()
        parts = filesystem.get_file_info(fs.FileSelector(found.path))
        parts = sorted(part.path for part in parts if part.path.lower().endswith(".parquet"))
        shown = [part for part in parts if not part.rsplit("/", 1)[-1].startswith(("_", "."))]
        for number, part in enumerate(shown):
            _copy(filesystem, part, copy / f"part-{number:06}.parquet")
        return copy
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(
            f"{address}: cannot be fetched ({error}); check the address and your credentials"
        ) from None


def _copy(filesystem: object, path: str, target: Path) -> None:
    with filesystem.open_input_stream(path) as stream, target.open("wb") as file:  # type: ignore[attr-defined]
        shutil.copyfileobj(stream, file, 16 << 20)
