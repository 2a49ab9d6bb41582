"""Find the reader for a file by the suffix of its name. Nothing is ever unpickled.

Each format has a class: in ``tables`` and ``parts`` what has columns, in ``array_files`` what has
arrays, and in ``label_files`` text with labels.
"""

from collections.abc import Callable
from pathlib import Path

from opis_cli.embeddings.array_files import Hdf5, Npy, NpyLabels, Npz, Safetensors
from opis_cli.embeddings.conversions import conversion
from opis_cli.embeddings.label_files import Delimited, Json, Lines
from opis_cli.embeddings.shard import Shard
from opis_cli.embeddings.tables import Tables, is_table
from opis_cli.errors import InputError

_ARRAYS: dict[str, Callable[[Path], Shard]] = {
    ".npz": Npz,
    ".safetensors": Safetensors,
    ".h5": Hdf5,
    ".hdf5": Hdf5,
}
_VECTORS = {".npy": Npy, **_ARRAYS}
_LABELS = {".npy": NpyLabels, ".json": Json, ".csv": Delimited, ".tsv": Delimited, **_ARRAYS}
_TEXTS = (".txt", ".vec", ".bin")
"""Suffixes of files of vectors that files of labels have too, as text."""


def shard_of_vectors(path: Path) -> Shard:
    """Return the reader for a file of embeddings, by the suffix of its name.

    Raises
    ------
    InputError
        The suffix is not known.
    """
    suffix = path.suffix.lower()
    if is_table(path):
        return Tables([path])
    if suffix in _VECTORS:
        return _VECTORS[suffix](path)
    raise InputError(
        conversion(path)
        or f"{path}: the suffix {suffix!r} is not known; embeddings are read from .parquet, "
        ".arrow, .feather, .csv, .tsv, .npy, .npz, .safetensors or .h5, or from a folder of parts"
    )


def shard_of_labels(path: Path) -> Shard:
    """Return the reader for a file of labels, by the suffix of its name.

    A file with an unknown suffix is read as text, with one label in each line.

    Raises
    ------
    InputError
        The suffix is one of a format that is not text and that opis does not read.
    """
    suffix = path.suffix.lower()
    if suffix in _LABELS and not path.is_dir():
        return _LABELS[suffix](path)
    if is_table(path):
        return Tables([path])
    advice = None if suffix in _TEXTS else conversion(path)
    if advice is not None:
        raise InputError(advice)
    return Lines(path)
