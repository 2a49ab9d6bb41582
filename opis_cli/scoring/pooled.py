"""Figures over all pairs: pooled rates at a threshold, EER, recall@1, FPIR."""

from dataclasses import dataclass

import numpy as np

from opis_cli.quantities import Count, Share
from opis_cli.records import PairCounts


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
class OpenSet:
    """Queries without a genuine gallery row, and their false positive identification rate.

    Attributes
    ----------
    queries : int
        Number of queries without a genuine gallery row.
    fpir : float | None
        False positive identification rate: share of these queries that accept a gallery row at
        the recommended threshold. Null if there is no threshold or no such query.
    """

    queries: Count
    fpir: Share | None


def recall_at_1(counts: PairCounts) -> float | None:
    """Return recall@1: the share of rows whose nearest other row has the same label.

    Only rows that have a genuine pair take part. The result is None if there are no such rows, and
    for scored pairs, whose rows are unknown.
    """
    searchers = int(counts.searchers.sum())
    return float(counts.nearest_hits.sum() / searchers) if searchers else None


def fpir(counts: PairCounts, threshold: float | None) -> float | None:
    """Return the share of queries without a genuine gallery row that accept a gallery row.

    The result is None if there is no such query, no gallery or no threshold.
    """
    strangers = _strangers(counts)
    if counts.open_set is None or threshold is None or not strangers:
        return None
    return float(counts.open_set[counts.grid.index_at(threshold)] / strangers)


def open_set(counts: PairCounts, threshold: float | None) -> OpenSet | None:
    """Return the queries without a genuine gallery row, or None if there is no gallery."""
    if counts.open_set is None:
        return None
    return OpenSet(_strangers(counts), fpir(counts, threshold))


def _strangers(counts: PairCounts) -> int:
    return counts.rows - int(counts.searchers.sum())


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
