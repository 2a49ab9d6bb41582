"""Figures over all pairs: pooled rates at a threshold, EER, recall@1, FPIR."""

from dataclasses import dataclass

import numpy as np

from opis_cli.quantities import Count, Share
from opis_cli.records import Curve, PairCounts


@dataclass(frozen=True, slots=True)
class RatesAt:
    """Pooled rates at a threshold. All values are null if no threshold meets the bound.

    Attributes
    ----------
    threshold : float | None
        Distance of settings.metric.
    far : float | None
        Pooled FAR: accepted share of all impostor pairs.
    frr : float | None
        Pooled FRR: rejected share of all genuine pairs.
    """

    threshold: float | None
    far: Share | None
    frr: Share | None


@dataclass(frozen=True, slots=True)
class EqualError:
    """The equal error rate, at the threshold where the pooled FAR and FRR are closest.

    Attributes
    ----------
    rate : float
        Mean of the pooled FAR and FRR at the threshold.
    threshold : float
        Distance of settings.metric. The smaller threshold wins a tie.
    """

    rate: Share
    threshold: float


@dataclass(frozen=True, slots=True)
class IdentificationPoint:
    """The identification rate at the largest threshold with a FPIR of at most a target.

    Attributes
    ----------
    fpir : float
        Target of the FPIR.
    threshold : float | None
        Distance of settings.metric. Null if no threshold meets the target.
    achieved_fpir : float | None
        FPIR at the threshold. It is at most the target.
    identification : float | None
        Share of the queries with a genuine gallery row whose nearest gallery row has the same label
        and is accepted (DIR at this FPIR).
    supported : bool
        Whether there are at least 3 / fpir queries without a genuine gallery row, which are needed
        to resolve the target.
    """

    fpir: Share
    threshold: float | None
    achieved_fpir: Share | None
    identification: Share | None
    supported: bool


@dataclass(frozen=True, slots=True)
class OpenSet:
    """Queries without a genuine gallery row, and their false positive identification rate.

    Attributes
    ----------
    queries : int
        Number of queries without a genuine gallery row.
    fpir : float | None
        False positive identification rate: share of these queries that accept a gallery row at
        the recommended threshold. Null if there is no threshold or no such query.
    identification : tuple[IdentificationPoint, ...]
        The identification rate at each of several targets of the FPIR, the largest first. Empty if
        there is no such query, and in reports of an older opis.
    """

    queries: Count
    fpir: Share | None
    identification: tuple[IdentificationPoint, ...] = ()


def recall_at_1(counts: PairCounts) -> float | None:
    """Return recall@1: the share of rows whose nearest other row has the same label.

    Only rows that have a genuine pair take part. The result is None if there are no such rows, and
    for scored pairs, whose rows are unknown.
    """
    searchers = int(counts.searchers.sum())
    return float(counts.nearest_hits.sum() / searchers) if searchers else None


def strangers(counts: PairCounts) -> int:
    """Return the number of rows (with a gallery, of queries) without a genuine pair."""
    return counts.rows - int(counts.searchers.sum())


def fpir_curve(counts: PairCounts) -> Curve | None:
    """Return the FPIR at every threshold, shape (T,).

    It is the share of the queries without a genuine gallery row that accept a gallery row. The
    result is None if there is no such query, or no gallery.
    """
    if counts.open_set is None or not strangers(counts):
        return None
    return np.asarray(counts.open_set / strangers(counts))


def equal_error(counts: PairCounts) -> EqualError:
    """Return the EER, which is the mean of FAR and FRR where ``|FAR - FRR|`` is smallest."""
    far, frr = counts.pooled_far, counts.pooled_frr
    index = int(np.argmin(np.abs(far - frr)))
    return EqualError(float((far[index] + frr[index]) / 2), float(counts.grid.thresholds[index]))


def pooled_rates(counts: PairCounts, index: int | None) -> RatesAt:
    """Return the pooled rates at the threshold with this index.

    The index is None if no threshold meets the bound. All values of the result are None then.
    """
    if index is None:
        return RatesAt(None, None, None)
    return RatesAt(
        float(counts.grid.thresholds[index]),
        float(counts.pooled_far[index]),
        float(counts.pooled_frr[index]),
    )
