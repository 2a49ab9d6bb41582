"""Scales: what a number that somebody has of a pair means, and a threshold on each of them.

========================== ====================================================== =============
scale                      number                                                 accepted
========================== ====================================================== =============
``distance``               distance of the metric; of a score, its negative       up to a limit
``score``                  inner product (``dot``), or score of scored pairs      from a limit
``cosine_similarity``      cosine similarity                                      from a limit
``euclidean_unit``         L2 distance of unit vectors                            up to a limit
``squared_euclidean_unit`` squared L2 distance of unit vectors                    up to a limit
``squared_distance``       squared L2 distance of the vectors as they are         up to a limit
========================== ====================================================== =============

Every metric has ``distance``, and ``dot`` and ``score`` have ``score``. The scales of unit vectors
are those of ``equivalents``, and ``squared_distance`` is that of the metric ``euclidean``.
"""

from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from opis_cli.errors import SettingsError
from opis_cli.scoring.recommend import equivalents
from opis_cli.settings import Metric
from opis_cli.text import PAIR_SCALES, SIMILARITIES
from opis_cli.values import unknown

Doubles = NDArray[np.float64]


def own_scale(metric: str) -> str:
    """Return the scale on which people know the thresholds of a metric."""
    return "score" if metric in SIMILARITIES else "distance"


def limits(distance: float, metric: Metric, unit: bool) -> dict[str, float]:
    """Return a threshold on each scale that it has.

    Parameters
    ----------
    distance : float
        The threshold as a distance of the metric.
    metric : Metric
    unit : bool
        Whether the distances have equivalents for unit vectors.
    """
    same = equivalents(distance, metric, unit)
    squared = float(Decimal(repr(distance)) ** 2) if metric == "euclidean" else None
    found = {"distance": distance, "squared_distance": squared}
    found |= {scale: getattr(same, scale) for scale in PAIR_SCALES if hasattr(same, scale)}
    return {scale: limit for scale in PAIR_SCALES if (limit := found[scale]) is not None}


def known_scale(scale: str, known: dict[str, float], metric: str) -> str:
    """Return the full name of a scale, which must be among the scales of a threshold.

    ``similarity``, ``l2`` and ``squared-l2``, which ``--threshold`` takes too, are short names.

    Raises
    ------
    SettingsError
        The message names the scales that the threshold has.
    """
    scale = (_OF_VECTORS if metric == "euclidean" else _OF_UNITS).get(scale, scale)
    if scale not in PAIR_SCALES:
        raise SettingsError(unknown("scale", scale, known, "scales of this threshold"))
    if scale not in known:
        raise SettingsError(
            f"scale {scale!r}: this threshold is one of the metric {metric!r}, which has "
            f"{' and '.join(known)}"
        )
    return scale


_OF_UNITS = {
    "similarity": "cosine_similarity",
    "l2": "euclidean_unit",
    "squared-l2": "squared_euclidean_unit",
}
_OF_VECTORS = {
    "similarity": "cosine_similarity",
    "l2": "distance",
    "squared-l2": "squared_distance",
}


def to_own(numbers: Doubles, scale: str, metric: str) -> Doubles:
    """Convert numbers of pairs from a scale that the metric has to its own scale."""
    if scale == own_scale(metric):
        return numbers
    if scale == "distance":
        return np.asarray(0.0 - numbers)
    # The squared L2 distance, of unit vectors if the scale is of such.
    squares = numbers
    if scale == "cosine_similarity":
        squares = 2 - 2 * numbers
    elif scale == "euclidean_unit":
        squares = numbers**2
    return np.asarray(squares / 2 if metric == "cosine" else np.sqrt(np.maximum(squares, 0)))
