"""Pack tables of counts into a short text, which the page's script unpacks.

Counts of a row mostly rise from left to right in small steps. So each row is written as its steps,
each step in as few bytes as it needs: 7 bits in a byte, the lowest first; the highest bit says that
another byte follows. A step of n is written as 2n, and a step of -n as 2n - 1. The bytes are
compressed (zlib) and written in base 64.
"""

import base64
import zlib

import numpy as np

from opis_cli.records import Ints

_MOST_BYTES = 10
"""Bytes of the largest 64-bit number."""


def packed(*tables: Ints) -> str:
    """Return tables of counts as text, one behind the other.

    Parameters
    ----------
    *tables : ndarrays of shape (rows, columns), integers
    """
    steps = [np.diff(table.astype(np.int64), axis=1, prepend=0).ravel() for table in tables]
    return base64.b64encode(zlib.compress(_in_bytes(np.concatenate(steps)), 9)).decode()


def _in_bytes(steps: Ints) -> bytes:
    """Write each number in as few bytes as it needs."""
    places = 7 * np.arange(_MOST_BYTES, dtype=np.uint64)
    unsigned = np.where(steps < 0, -2 * steps - 1, 2 * steps).astype(np.uint64)
    shifted = unsigned[:, None] >> places
    needed = shifted > 0
    needed[:, 0] = True
    more = np.zeros_like(needed)
    more[:, :-1] = needed[:, 1:]
    parts = (shifted & np.uint64(127)).astype(np.uint8) | (more.astype(np.uint8) << 7)
    return parts[needed].tobytes()
