"""How many pairs of rows two classes have, and how few pairs of classes make the false accepts."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from opis_cli.counting.plan import Plan
from opis_cli.records import Ints


@dataclass(frozen=True, slots=True)
class Concentration:
    """The least share of class pairs that makes half of all false accepts.

    Attributes
    ----------
    class_pairs : int
        Number of pairs of classes that are compared.
    confused : int
        Number of those with a false accept.
    half : int
        Least number of class pairs that makes at least half of the false accepts.
    share : float | None
        ``half`` as a share of ``class_pairs``. Null without false accepts.
    """

    class_pairs: int
    confused: int
    half: int
    share: float | None


def concentration(accepted: Ints, class_pairs: int) -> Concentration:
    """Compute the concentration, from the false accepts of each confused class pair."""
    falling = np.sort(accepted)[::-1]
    half = 0
    if len(falling):
        half = int(np.searchsorted(np.cumsum(falling), falling.sum() / 2)) + 1
    share = half / class_pairs if len(falling) else None
    return Concentration(class_pairs, len(falling), half, share)


def pairs_between(plan: Plan, codes: Ints, one: Ints, two: Ints) -> Ints:
    """Return the number of row pairs of each class pair ``one``, ``two``, shape (M,).

    Parameters
    ----------
    plan : Plan
    codes : ndarray of shape (N,)
        Class of each row, in the order of ``plan.rows``.
    one, two : ndarrays of shape (M,)
        Codes of classes that differ.
    """
    tenants = np.unique(plan.tenants, return_inverse=True)[1]
    total = _products(codes, tenants, plan, one, two)
    if plan.shared is not None:
        both = tenants.astype(np.int64) * (int(plan.shared.max()) + 1) + plan.shared
        total -= _products(codes, np.unique(both, return_inverse=True)[1], plan, one, two)
    return total


def _products(codes: Ints, parts: Ints, plan: Plan, one: Ints, two: Ints) -> Ints:
    """Count the row pairs of each class pair that lie in the same part, shape (M,)."""
    classes, count = int(codes.max()) + 1, int(parts.max()) + 1

    def numbers(rows: slice) -> csr_array:
        ones = np.ones(len(codes[rows]), np.int64)
        return csr_array((ones, (codes[rows], parts[rows])), shape=(classes, count))

    if count == 1 and not plan.searching:
        sizes = np.bincount(codes)
        return np.asarray(sizes[one] * sizes[two])

    def both(left: csr_array, right: csr_array) -> Ints:
        return np.asarray(left[one].multiply(right[two]).sum(axis=1)).ravel()

    if not plan.searching:
        every = numbers(slice(None))
        return both(every, every)
    queries, gallery = numbers(slice(plan.queries)), numbers(slice(plan.queries, None))
    return both(queries, gallery) + both(gallery, queries)


def all_class_pairs(plan: Plan, codes: Ints) -> int:
    """Return the number of class pairs that have a row pair, excluded row pairs counted in."""
    tenants = np.unique(plan.tenants, return_inverse=True)[1]
    classes = int(codes.max()) + 1

    def there(rows: slice) -> csr_array:
        ones = np.ones(len(codes[rows]), np.int64)
        shape = (classes, int(tenants.max()) + 1)
        return csr_array((ones, (codes[rows], tenants[rows])), shape=shape)

    if not tenants.any() and not plan.searching:
        return classes * (classes - 1) // 2
    left = there(slice(plan.queries))
    right = there(slice(plan.queries, None)) if plan.searching else left
    met = (left @ right.T).tocoo()
    low, high = np.minimum(met.row, met.col), np.maximum(met.row, met.col)
    keys = low.astype(np.int64) * classes + high
    return len(np.unique(keys[low < high]))
