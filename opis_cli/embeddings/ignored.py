"""Rows whose label says that they belong to no class, such as -1, unknown or noise."""

import numpy as np

from opis_cli.embeddings import arrow


def rows_with(labels: arrow.Array, label: str | None) -> arrow.Bools:
    """Return which rows have a label, shape (N,).

    Parameters
    ----------
    labels : Arrow array of ``arrow.join_labels``, length N
    label : str, optional
        The label as text. Without it, no row is marked.
    """
    import pyarrow as pa
    from pyarrow import compute

    if label is None:
        return np.zeros(len(labels), np.bool_)
    texts = labels.cast(pa.large_string())
    return arrow.to_numpy(compute.equal(texts, label).fill_null(False))


def alone(labels: arrow.Array, rows: arrow.Bools) -> arrow.Array:
    """Return the labels as text, in which each marked row has a label of its own.

    Parameters
    ----------
    labels : Arrow array of ``arrow.join_labels``, length N
    rows : ndarray of shape (N,), bool
    """
    import pyarrow as pa
    from pyarrow import compute

    texts = labels.cast(pa.large_string())
    numbers = pa.array(np.arange(len(labels))).cast(pa.large_string())
    start, end, nothing = (pa.scalar(text, pa.large_string()) for text in (" (row ", ")", ""))
    own = compute.binary_join_element_wise(texts, start, numbers, end, nothing)
    return compute.if_else(pa.array(rows), own, texts)
