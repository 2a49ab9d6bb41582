"""Turn sources into local files. A source is a path, a pattern of shards, or an address.

Files at an address (such as ``s3://``) are copied to disk, and then read like any file.
"""

import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from opis_cli.errors import InputError, MissingExtra

PART_SUFFIXES = (".parquet", ".arrow", ".feather")
"""Files that a folder may consist of. Those of the first suffix that is there are its parts."""
DATASET_INFO = "dataset_info.json"
"""File of a folder of ``.arrow`` parts that says what their columns hold."""
_OF_ARROW = ("file", "gcs", "gs", "hdfs", "s3", "viewfs")
"""Kinds of addresses that pyarrow fetches. The others need fsspec."""

Given = str | Path | Sequence[str | Path]
"""A source as the user gives it: a path, pattern or address, or several that are read as one."""


def parts_of(source: Given) -> tuple[str, ...]:
    """Return the paths, patterns and addresses of a source."""
    return tuple(map(str, [source] if isinstance(source, str | Path) else source))


def is_address(source: str | Path) -> bool:
    """Return whether a source is an address such as ``s3://``, and not a local path."""
    return isinstance(source, str) and re.match(r"[a-z][a-z0-9+.-]*://", source) is not None


def everywhere(source: str | Path) -> str:
    """Return the name of a source that is valid in a process with another working folder."""
    return str(source) if is_address(source) else str(Path(source).absolute())


def natural(name: str) -> list[str | tuple[int, str]]:
    """Return a sort key that compares numbers in names by value: ``part-2`` before ``part-10``."""
    # Of two numbers without leading zeros, the longer one is larger. Python limits the digits of
    # an integer that it reads.
    return [
        (len(part.lstrip("0")), part.lstrip("0")) if k % 2 else part
        for k, part in enumerate(re.split(r"([0-9]+)", name))
    ]


@contextmanager
def all_fetched(source: Given) -> Iterator[list[Path]]:
    """Do what ``fetched`` does, for a source that may have several parts."""
    with ExitStack() as stack:
        parts = [stack.enter_context(fetched(part)) for part in parts_of(source)]
        yield [path for paths in parts for path in paths]


@contextmanager
def fetched(source: str | Path) -> Iterator[list[Path]]:
    """Provide the local paths of a source while the context lasts.

    These are the path itself, the files that match a pattern, or copies of the files at an address.
    Copies are deleted afterwards, but arrays that were mapped from them into memory stay valid. An
    error about a copy is raised as an error about its address.

    Raises
    ------
    InputError
        There is nothing at the address, it cannot be fetched, or no file matches the pattern.
    """
    if not is_address(source):
        yield _matching(source)
        return
    with tempfile.TemporaryDirectory(prefix="opis-") as folder:
        copies = _fetch(str(source), Path(folder))
        try:
            yield list(copies)
        except InputError as error:
            text = str(error)
            for copy, address in copies.items():
                text = text.replace(str(copy), address)
            raise InputError(text) from None


def _matching(source: str | Path) -> list[Path]:
    """Return the path itself, or the files that match it if it is a pattern and does not exist."""
    if not str(source):
        raise InputError("the name of a source is empty; name a file or a folder")
    path = Path(source)
    if not re.search(r"[*?[]", str(source)) or path.exists():
        return [path]
    pattern = path.relative_to(path.anchor)
    found = [file for file in Path(path.anchor).glob(str(pattern)) if file.name[0] != "."]
    if not found:
        raise InputError(f"{source}: no file matches this pattern; check folder and name")
    return sorted(found, key=lambda file: natural(str(file)))


def _fetch(address: str, folder: Path) -> dict[Path, str]:
    """Copy a file, the files that match a pattern, or the parts of a folder.

    Returns
    -------
    dict of Path to str
        The copies, each with the address that it was copied from.
    """
    import pyarrow as pa
    from pyarrow import fs

    try:
        filesystem, inner = _located(address)
        parent, _, name = inner.rpartition("/")
        if "*" in name:
            return _fetch_matching(filesystem, parent, name, address, folder)
        found = filesystem.get_file_info(inner.rstrip("/"))
        if found.type == fs.FileType.NotFound:
            raise InputError(f"{address}: there is nothing at this address; check the name")
        copy = folder / f"source{Path(urlsplit(inner).path).suffix}"
        if found.type == fs.FileType.File:
            _copy(filesystem, found.path, copy)
        else:
            _fetch_parts(filesystem, found.path, copy)
        return {copy: address}
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(
            f"{address}: cannot be fetched ({error}); check the address and your credentials"
        ) from None


def _located(address: str) -> tuple[Any, str]:
    """Return the file system of an address, and the path in it.

    Raises
    ------
    MissingExtra, InputError
        A package that the file system needs is not installed.
    """
    from pyarrow import fs

    kind = address.partition("://")[0]
    if kind in _OF_ARROW:
        filesystem, inner = fs.FileSystem.from_uri(address)
        return filesystem, inner
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise MissingExtra(f"{address}: an address with {kind}://", "formats") from None
    try:
        found, inner = url_to_fs(address)
    except ImportError as error:
        missing = getattr(error.__cause__ or error, "name", None)
        advice = f"pip install {missing.partition('.')[0]}" if missing else str(error)
        raise InputError(
            f"{address}: an address with {kind}:// needs a package that is not installed: {advice}"
        ) from None
    return fs.PyFileSystem(fs.FSSpecHandler(found)), inner


def _fetch_parts(filesystem: Any, folder: str, copy: Path) -> None:
    """Copy the parts of a folder, in their order, and the folders ``key=value`` that hold them.

    The names of parts are numbers in the copy, and those of folders stay, because they are data. A
    name with ``=`` and without a slash leads nowhere else.
    """
    found = list(_files_below(filesystem, folder, ()))
    suffixes = {Path(name).suffix.lower() for _, name in found}
    suffix = next((suffix for suffix in PART_SUFFIXES if suffix in suffixes), None)
    parts = [
        (folders, name)
        for folders, name in found
        if Path(name).suffix.lower() == suffix and not name.startswith("cache-")
    ]
    parts.sort(key=lambda part: natural("/".join((*part[0], part[1]))) if part[0] else [part[1]])
    copy.mkdir()
    for number, (folders, name) in enumerate(parts):
        target = copy.joinpath(*folders)
        target.mkdir(parents=True, exist_ok=True)
        path = "/".join((folder, *folders, name))
        _copy(filesystem, path, target / f"part-{number:06}{suffix}")
    if suffix == ".arrow" and ((), DATASET_INFO) in found:
        _copy(filesystem, f"{folder}/{DATASET_INFO}", copy / DATASET_INFO)


def _files_below(
    filesystem: Any, folder: str, folders: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the files in a folder and in the folders ``key=value`` below it, but no hidden ones.

    Each comes with the names of the folders that lead to it.
    """
    from pyarrow import fs

    path = "/".join((folder, *folders))
    for info in filesystem.get_file_info(fs.FileSelector(path)):
        name = info.base_name
        if name.startswith(("_", ".")):
            continue
        if info.type == fs.FileType.File:
            yield folders, name
        elif "=" in name and "\\" not in name:
            yield from _files_below(filesystem, folder, (*folders, name))


def _fetch_matching(
    filesystem: Any, parent: str, pattern: str, address: str, folder: Path
) -> dict[Path, str]:
    """Copy the files of a folder whose names match a pattern, in natural order."""
    from pyarrow import fs

    found = filesystem.get_file_info(fs.FileSelector(parent))
    names = [info.base_name for info in found if info.type == fs.FileType.File]
    matching = sorted((name for name in names if fnmatchcase(name, pattern)), key=natural)
    if not matching:
        raise InputError(f"{address}: no file there matches this pattern; check the name")
    copies = {}
    for number, name in enumerate(matching):
        copy = folder / f"source-{number:06}{Path(name).suffix}"
        _copy(filesystem, f"{parent}/{name}", copy)
        copies[copy] = address.replace(pattern, name)
    return copies


def _copy(filesystem: Any, path: str, target: Path) -> None:
    with filesystem.open_input_stream(path) as stream, target.open("wb") as file:
        shutil.copyfileobj(stream, file, 16 << 20)
