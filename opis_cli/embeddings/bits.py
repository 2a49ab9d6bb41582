"""Vectors of bits: bring them into one form, and tell them from vectors of numbers.

Two forms are in use. *Packed bits* are bytes of eight bits each, as FAISS, pgvector and the APIs of
embedding models write them. In the other form each number is one bit: 0 or 1, -1 or 1, or a
boolean. ``packed`` brings both into the first form.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from opis_cli.errors import InputError
from opis_cli.records import Ints, Numbers

MOST_BITS = 1 << 20
"""Most bits of a vector: float32 holds all Hamming distances of so many exactly."""
_CHUNK_VALUES = 4_000_000
"""Numbers that are converted at a time."""
_SAMPLE, _SAMPLE_BYTES = 2_000, 2_000_000
"""Most genuine pairs, and most impostor pairs, by which packed bits are told from numbers, and most
bytes of these."""
_LEAST_BYTES, _LEAST_PAIRS = 8, 50
"""Bytes of a vector, and pairs of each kind, below which nothing is told."""
_USED = 0.2
"""Share of the impostors' bytes that differ in each bit, at least, if bits are packed."""
_TELLING = 0.05
"""Share of these differences, at least, that a bit of genuine pairs lacks, if bits are packed."""
_ALIKE = 0.6
"""Least ratio of the least to the most telling bit of a byte, and of the rarest to the most
frequent difference, if bits are packed."""


def packed(vectors: Numbers, numbers: Ints, where: str) -> tuple[NDArray[np.uint8], int, int]:
    """Return vectors of bits as packed bits.

    Vectors of bytes are packed bits already if any byte is none of -1, 0 and 1.

    Parameters
    ----------
    vectors : ndarray of shape (N, D)
    numbers : ndarray of shape (N,)
        Row numbers in the source, for error messages.
    where : str
        Name of the source, for error messages.

    Returns
    -------
    vectors : ndarray of shape (N, ceil(bits / 8)), uint8
        The first bit of a vector is the highest bit of its first byte. Unused bits are 0.
    bits : int
        Number of bits of a vector.
    bits_of_number : {8, 1}
        Number of bits that each given number holds.

    Raises
    ------
    InputError
        A number is no bit, or a vector has more than ``MOST_BITS`` bits.
    """
    step = max(1, _CHUNK_VALUES // max(1, vectors.shape[1]))
    chunks = [vectors[start : start + step] for start in range(0, len(vectors), step)]
    are_bytes = vectors.dtype.itemsize == 1 and any(map(_has_more_bits, chunks))
    bits_of_number = 8 if are_bytes else 1
    bits = vectors.shape[1] * bits_of_number
    if bits > MOST_BITS:
        raise InputError(
            f"{where}: vectors of {bits:,} bits; --metric=hamming takes up to {MOST_BITS:,}. "
            "Shorten the codes"
        )
    if are_bytes:
        return vectors.view(np.uint8), bits, bits_of_number
    low = 0 if any(np.any(chunk == 0) for chunk in chunks) else -1
    for k, chunk in enumerate(chunks):
        wrong = (chunk != 1) & (chunk != low)
        if wrong.any():
            row, place = (int(index[0]) for index in np.nonzero(wrong))
            raise InputError(
                f"{where}: row {numbers[k * step + row]} (numbered from 0) holds "
                f"{chunk[row, place]:g}, which is no bit. --metric=hamming takes vectors of 0 and "
                "1, vectors of -1 and 1, booleans, or packed bits written as uint8; for other "
                "numbers use --metric cosine or euclidean"
            )
    parts = [np.packbits(chunk == 1, axis=1) for chunk in chunks]
    return np.concatenate(parts), bits, bits_of_number


def _has_more_bits(chunk: NDArray[Any]) -> bool:
    """Return whether any number of some vectors is none of -1, 0 and 1."""
    return bool(chunk.size and (chunk.max() > 1 or chunk.min() < -1))


def look_packed(vectors: Numbers, labels: Ints) -> bool:
    """Return whether vectors of bytes look like packed bits, and not like numbers.

    The eight bits of a packed byte say equally much about the class. The bits of a number do not:
    its high bits vary little within a class, and its low bits vary like noise. So the share of
    bytes that differ in a bit is compared, bit by bit, between genuine and impostor pairs.

    Parameters
    ----------
    vectors : ndarray of shape (N, D)
    labels : ndarray of shape (N,)
    """
    if vectors.dtype.itemsize != 1 or vectors.shape[1] < _LEAST_BYTES:
        return False
    most = min(_SAMPLE, _SAMPLE_BYTES // vectors.shape[1])
    genuine, impostor = (_differences(vectors, *pairs) for pairs in _some_pairs(labels, most))
    if genuine is None or impostor is None or impostor.min() < _USED or genuine.min() == 0:
        return False
    kept = genuine / impostor
    telling = 1 - kept
    return bool(
        telling.min() > max(_TELLING, _ALIKE * telling.max()) and kept.min() > _ALIKE * kept.max()
    )


def _some_pairs(labels: Ints, most: int) -> list[tuple[Ints, Ints]]:
    """Return up to so many genuine and impostor pairs, each as the numbers of their rows."""
    order = np.lexsort((np.random.default_rng(0).permutation(len(labels)), labels))
    # In this order neighbours are of one class. Rows that half of all rows lie between are of
    # different classes, unless a class has more than half of the rows.
    neighbours, far = (order, np.roll(order, -1)), (order, np.roll(order, -(len(order) // 2)))
    found = []
    for (one, two), genuine in ((neighbours, True), (far, False)):
        kept = np.flatnonzero((labels[one] == labels[two]) == genuine)
        kept = kept[np.linspace(0, len(kept) - 1, min(most, len(kept))).astype(int)]
        found.append((one[kept], two[kept]))
    return found


def _differences(vectors: Numbers, one: Ints, two: Ints) -> NDArray[np.float64] | None:
    """Return the share of bytes of some pairs that differ in each of the eight bits, shape (8,).

    Pairs of equal rows say nothing, as all their bits agree. None if too few others are left.
    """
    if len(one) == 0:
        return None
    differing = vectors[one].view(np.uint8) ^ vectors[two].view(np.uint8)
    differing = differing[differing.any(axis=1)]
    if len(differing) < _LEAST_PAIRS:
        return None
    return np.asarray(np.unpackbits(differing.ravel()).reshape(-1, 8).mean(axis=0))
