"""Find the files that make up a table: one file, a folder of parts, or a folder of such folders.

A folder may be one of plain parts, one of Hive (``customer=acme/part-0.parquet``), or one that the
library ``datasets`` wrote with ``save_to_disk``.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import unquote

from opis_cli.embeddings.columns import reading, show
from opis_cli.embeddings.sources import DATASET_INFO, PART_SUFFIXES, natural
from opis_cli.errors import InputError

_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
_STATE = "state.json"
"""File of a folder of ``.arrow`` parts that names them."""
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class PartFile:
    """A file of a table.

    Attributes
    ----------
    path : Path
    keys : mapping of names to (str or None)
        Columns whose values the names of the folders tell. They have one value in the whole file.
    features : object
        What ``dataset_info.json`` says about the columns. It is untrusted, and may be anything.
    """

    path: Path
    keys: Mapping[str, str | None] = field(default_factory=dict)
    features: Any = None


def part_files(path: Path) -> list[PartFile]:
    """Return the file itself, or the parts of a folder in the order of their names.

    Raises
    ------
    InputError
        The folder has no parts, or its parts have different keys.
    """
    with reading(path, "folder"):
        if not path.is_dir():
            return [PartFile(path)]
    for suffix in PART_SUFFIXES:
        parts = list(_parts(path, suffix, {}))
        if parts:
            return _in_order(parts, path)
    inner = _folders_with_parts(path)
    if inner:
        raise InputError(
            f"{path}: a folder without files that can be read, but with folders that have some, "
            f"{show(inner)}; name one of these folders"
        )
    raise InputError(
        f"{path}: a folder without {', '.join(PART_SUFFIXES[:-1])} or {PART_SUFFIXES[-1]} files; "
        "name a folder that has some"
    )


@contextmanager
def digesting(paths: Sequence[Path]) -> Iterator[Callable[[], str]]:
    """Compute ``digest_of`` on a thread of its own, and give up what is left at the end.

    Yields
    ------
    callable
        Waits for the digest, and returns it.
    """
    stop = Event()
    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(digest_of, paths, stop)
        try:
            yield job.result
        finally:
            stop.set()


def digest_of(paths: Sequence[Path], stop: Event | None = None) -> str:
    """Return the SHA-256 of files in the given order. A folder counts as its parts in order.

    Behind a part in a folder of Hive come its keys, because they are data too. If ``stop`` is set
    on another thread, the digest is given up, and what is returned has no meaning.
    """
    digest = hashlib.sha256()
    for part in [part for path in paths for part in part_files(path)]:
        with reading(part.path, "file"), part.path.open("rb", buffering=0) as file:
            while (block := file.read(_BLOCK_BYTES)) and not (stop and stop.is_set()):
                digest.update(block)
        if part.keys:
            digest.update(json.dumps(part.keys).encode())
    return digest.hexdigest()


def _parts(folder: Path, suffix: str, keys: Mapping[str, str | None]) -> Iterator[PartFile]:
    """Yield the parts with a suffix, in this folder and in the folders ``key=value`` below it."""
    with reading(folder, "folder"):
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith(("_", "."))]
        inner = [entry for entry in entries if "=" in entry.name and entry.is_dir()]
    named, features = _saved_to_disk(folder, entries) if suffix == ".arrow" else (None, None)
    for file in entries:
        if (
            file.suffix.lower() == suffix
            and file not in inner
            and (not named or file.name in named)
        ):
            yield PartFile(file, keys, features)
    for entry in inner:
        yield from _parts(entry, suffix, _with_key(keys, entry))


def _with_key(keys: Mapping[str, str | None], folder: Path) -> dict[str, str | None]:
    """Return the keys and the one that the name of a folder tells.

    Raises
    ------
    InputError
        The name is not UTF-8 text, or the key is there already.
    """
    name, _, value = folder.name.partition("=")
    try:
        folder.name.encode()
        name, value = (unquote(text, errors="strict") for text in (name, value))
    except UnicodeError:
        raise InputError(f"{folder}: the name is not UTF-8 text; rename the folder") from None
    if name in keys:
        raise InputError(f"{folder}: the key {name!r} is there twice; keep one folder for each key")
    return {**keys, name: None if value == _HIVE_NULL else value}


def _in_order(parts: list[PartFile], folder: Path) -> list[PartFile]:
    """Return parts in the order of their rows, and check that all have the same keys."""
    if not any(part.keys for part in parts):
        return sorted(parts, key=lambda part: part.path)
    parts.sort(key=lambda part: natural(str(part.path.relative_to(folder))))
    first = parts[0]
    for part in parts:
        if set(part.keys) != set(first.keys):
            raise InputError(
                f"{part.path}: its folders have the keys {show(list(part.keys)) or 'none'}, those "
                f"of {first.path} have {show(list(first.keys)) or 'none'}; all parts need the same"
            )
    return parts


def _saved_to_disk(folder: Path, entries: Sequence[Path]) -> tuple[set[str] | None, Any]:
    """Return which files ``save_to_disk`` wrote, if it wrote some, and what it says of columns.

    Beside its files may lie others, which ``datasets`` keeps as a cache.
    """
    there = {entry.name for entry in entries}
    state = _json(folder / _STATE) if _STATE in there else None
    info = _json(folder / DATASET_INFO) if DATASET_INFO in there else None
    features = info.get("features") if isinstance(info, dict) else None
    files = state.get("_data_files") if isinstance(state, dict) else None
    if not isinstance(files, list):
        cached = {name for name in there if name.startswith("cache-")}
        return there - cached, features
    if isinstance(state, dict) and state.get("_indices_data_files"):
        raise InputError(
            f"{folder}: its rows are a selection that is kept in a file of its own; write it anew "
            "with Dataset.flatten_indices().save_to_disk"
        )
    named = {str(file.get("filename")) for file in files if isinstance(file, dict)}
    missing = sorted(named - there)
    if missing:
        raise InputError(
            f"{folder}: {_STATE} names {show(missing)}, which is not there; copy the whole folder"
        )
    return named, features


def _json(path: Path) -> Any:
    """Return the content of a JSON file, or None if it is damaged."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def _folders_with_parts(path: Path) -> list[str]:
    """Return the names of the folders in a folder that have parts, in natural order."""
    with reading(path, "folder"):
        names = [
            entry.name
            for entry in path.iterdir()
            if entry.is_dir()
            and any(file.suffix.lower() in PART_SUFFIXES for file in entry.iterdir())
        ]
    return sorted(names, key=natural)
