"""Turn the values of a column of any type into text, for people to read beside rows and pairs."""

from collections.abc import Iterable

from opis_cli.embeddings.arrow import Array


def join_texts(chunks: Iterable[Array]) -> Array:
    """Join the values of all chunks into one Arrow array of large_string, with their nulls."""
    import pyarrow as pa

    return pa.concat_arrays(
        [as_texts(chunk) for chunk in chunks] or [pa.array([], pa.large_string())]
    )


def as_texts(values: Array) -> Array:
    """Return an Arrow array as large_string, with its nulls.

    Arrow writes what it can, such as numbers and dates. Python writes the rest, such as lists, and
    bytes that are not UTF-8.
    """
    import pyarrow as pa
    from pyarrow import types

    if isinstance(values.type, pa.BaseExtensionType):
        values = values.storage
    if types.is_dictionary(values.type):
        values = values.dictionary_decode()
    try:
        texts = values.cast(pa.large_string())
        texts.validate(full=True)
        return texts
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        plain = [None if value is None else _text(value) for value in _objects(values)]
        return pa.array(plain, pa.large_string())


def _objects(values: Array) -> list[object]:
    """Return the values as Python objects: texts that are not UTF-8 as bytes."""
    import pyarrow as pa
    from pyarrow import types

    kind = values.type
    if types.is_string(kind) or types.is_large_string(kind):
        values = values.cast(pa.large_binary())
    return list(values.to_pylist())


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
