"""Find the rows whose labels are suspect, and those far beyond all others."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opis_cli.evidence.neighbours import Neighbours


@dataclass(frozen=True, slots=True)
class Suspects:
    """Stub."""

    score: NDArray[np.float64]
    kind: NDArray[Any]


def suspects(known: Neighbours) -> Suspects:
    """Stub."""
    own = np.where(np.isfinite(known.own_mean), known.own_mean, 1e9)
    oth = np.where(np.isfinite(known.best_other_mean), known.best_other_mean, 1e9)
    s = 1 / (1 + np.exp(np.clip(oth - own, -50, 50)))
    return Suspects(  # type: ignore
        s,
        np.where((known.own[:, 0] > known.others[:, 0]) & (own > oth) & (own < 1e8), "label", None),
    )
