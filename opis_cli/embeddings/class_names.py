"""Names of classes that the library ``datasets`` keeps beside a column of integers.

They lie in the metadata of a Parquet or Arrow file, or in ``dataset_info.json``. These are
untrusted: what is not as ``datasets`` writes it is ignored, and the integers stay.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from opis_cli.embeddings import arrow
from opis_cli.errors import InputError

_KEY = b"huggingface"


def features_of(schema: Any) -> Any:
    """Return what the metadata of an Arrow schema say of the columns, or None."""
    try:
        return json.loads((schema.metadata or {})[_KEY])["info"]["features"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return None


def class_names(features: Any, path: Sequence[str]) -> list[str] | None:
    """Return the names of the classes of a column, or None if it has none.

    Parameters
    ----------
    features : object
        The content of ``features``, as it was read.
    path : sequence of str
        Name of the column, and below it of the fields of a struct.
    """
    for name in path:
        features = features.get(name) if isinstance(features, dict) else None
    if not isinstance(features, dict) or features.get("_type") != "ClassLabel":
        return None
    names = features.get("names")
    if not isinstance(names, list) or not all(map(_is_name, names)) or not names:
        return None
    return names if len(set(names)) == len(names) else None


def _is_name(name: object) -> bool:
    """Return whether something is a text that is not empty and that UTF-8 can write."""
    if not isinstance(name, str) or not name:
        return False
    try:
        name.encode()
    except UnicodeEncodeError:  # half of a character of two parts
        return False
    return True


def named(values: arrow.Array, names: Sequence[str], where: str) -> arrow.Array:
    """Return the names of the classes of integers. -1 is a missing label.

    Raises
    ------
    InputError
        An integer has no name.
    """
    import pyarrow as pa
    from pyarrow import compute

    if not pa.types.is_integer(values.type):
        return values
    numbers = values.cast(pa.int64(), safe=False)
    wrong = numbers.filter(
        compute.or_(compute.less(numbers, -1), compute.greater_equal(numbers, len(names)))
    )
    if len(wrong):
        raise InputError(
            f"{where}: the label {wrong[0]} has no name among the {len(names)} names of its "
            "ClassLabel; mend the labels, or write the file without the names"
        )
    present = arrow.to_numpy(compute.fill_null(numbers, -1)).astype(np.int32)
    indices = pa.array(present, mask=present < 0)
    return pa.DictionaryArray.from_arrays(indices, pa.array(names, pa.large_string()))
