"""Which classes pay for one threshold: those with the highest FRR, and those with the highest FAR.

A class with few genuine pairs has few rows, and one odd row can give it any rate. Such a class is
set apart.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opis_cli.records import Curve, Ints, PairCounts
from opis_cli.scoring import curves

FEW_PAIRS = 20
"""Number of pairs of a kind below which a class has too few to judge. A class of seven rows has 21
genuine pairs, and a single odd row spoils at most six of them. In a class of three rows it spoils
two of three."""
_LEAST_ERRORS = 3
"""Number of errors below which a rate may be chance."""


@dataclass(frozen=True, slots=True)
class ClassErrors:
    """The errors of a class at a threshold.

    Attributes
    ----------
    class_name : int or str
        The label as it is in the data.
    size : int
        Number of rows. For scored pairs, number of pairs.
    rejected, genuine : int
        Number of rejected genuine pairs, and of all genuine pairs.
    accepted, impostor : int
        Number of accepted impostor pairs, and of all impostor pairs.
    """

    class_name: int | str
    size: int
    rejected: int
    genuine: int
    accepted: int
    impostor: int

    @property
    def frr(self) -> float:
        """Rejected share of the genuine pairs."""
        return self.rejected / self.genuine

    @property
    def far(self) -> float:
        """Accepted share of the impostor pairs."""
        return self.accepted / self.impostor


@dataclass(frozen=True, slots=True)
class WhoPays:
    """The classes that pay for a threshold, the worst of each kind first.

    Attributes
    ----------
    rejected, accepted : tuple of ClassErrors
        Classes with the highest FRR, and classes with the highest FAR. The rate is above that of
        all classes together, and at least three pairs are errors.
    unjudged : tuple of ClassErrors
        Classes with too few pairs to judge that have the highest FRR.
    few : int
        Number of evaluable classes with too few pairs to judge: fewer than ``FEW_PAIRS`` of a kind.
    """

    rejected: tuple[ClassErrors, ...]
    accepted: tuple[ClassErrors, ...]
    unjudged: tuple[ClassErrors, ...]
    few: int


def who_pays(counts: PairCounts, far_at: float, frr_at: float | None, most: int) -> WhoPays:
    """Find the classes with the highest rates.

    Parameters
    ----------
    counts : PairCounts
    far_at, frr_at : float or None
        Thresholds with counts by class, for the accepted and for the rejected pairs. They are the
        same unless the threshold in question has no counts by class. At None every genuine pair is
        rejected.
    most : int
        Largest number of classes to name of each kind.
    """
    classes = curves.evaluable_classes(counts)
    accepted = counts.impostor[classes, counts.grid.column_of(far_at)].astype(np.int64)
    genuine, impostor = counts.genuine_pairs[classes], counts.impostor_pairs[classes]
    rejected = genuine.astype(np.int64)
    if frr_at is not None:
        rejected = rejected - counts.genuine[classes, counts.grid.column_of(frr_at)]
    names, sizes = counts.class_names[classes].tolist(), counts.sizes[classes]

    def named(places: Ints) -> tuple[ClassErrors, ...]:
        numbers = (sizes, rejected, genuine, accepted, impostor)
        return tuple(ClassErrors(names[k], *(int(values[k]) for values in numbers)) for k in places)

    frr, far = rejected / genuine, accepted / impostor
    enough = (genuine >= FEW_PAIRS) & (impostor >= FEW_PAIRS)
    rejects = enough & (rejected >= _LEAST_ERRORS) & (frr > rejected.sum() / genuine.sum())
    accepts = enough & (accepted >= _LEAST_ERRORS) & (far > accepted.sum() / impostor.sum())
    return WhoPays(
        rejected=named(_highest(frr, rejects, genuine)[:most]),
        accepted=named(_highest(far, accepts, impostor)[:most]),
        unjudged=named(_highest(frr, ~enough & (rejected > 0), genuine)[:most]),
        few=int(np.count_nonzero(~enough)),
    )


def _highest(rates: Curve, among: NDArray[np.bool_], pairs: Ints) -> Ints:
    """Return indices in the order of the rates, the highest first, and then of most pairs."""
    order = np.lexsort((-pairs.astype(np.int64), -rates))
    return np.asarray(order[among[order]])
