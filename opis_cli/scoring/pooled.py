"""Figures of all pairs together: rates at a threshold, EER, recall@1, FPIR."""

from dataclasses import dataclass

import numpy as np

from opis_cli.quantities import Count, Share
from opis_cli.records import PairCounts


@dataclass(frozen=True, slots=True)
class RatesAt:
    """Pooled rates at a threshold; nulls where there is no such threshold.

    Attributes
    ----------
    threshold : float | None
        Distance of settings.metric.
    far : float | None
        Accepted share of all impostor pairs.
    frr : float | None
        Rejected share of all genuine pairs.
    """

    threshold: float | None
    far: Share | None
    frr: Share | None


@dataclass(frozen=True, slots=True)
class EqualError:
    """Where FAR and FRR are closest.

    Attributes
    ----------
    rate : float
        Mean of the pooled FAR and FRR there.
    threshold : float
        Distance of settings.metric; the smaller on a tie.
    """

    rate: Share
    threshold: float


@dataclass(frozen=True, slots=True)
class OpenSet:
    """Queries without a genuine gallery row, and the share of them that is identified all the
    same at the recommended threshold.

    Attributes
    ----------
    queries : int
        Queries without a genuine gallery row.
    fpir : float | None
        False positive identification rate: the share of them that accepts a gallery row at the
        recommended threshold; null where there is no threshold or no such query.
    """

    queries: Count
    fpir: Share | None


def recall_at_1(counts: PairCounts) -> float | None:
    """Share of the rows with a genuine pair whose nearest other row has the same label.

    None for scored pairs, which know no rows.
    """
    searchers = int(counts.searchers.sum())
    return float(counts.nearest_hits.sum() / searchers) if searchers else None


def fpir(counts: PairCounts, threshold: float | None) -> float | None:
    """Share of the queries without a genuine gallery row that accept one at a threshold.

    None where there is no such query, or no threshold.
    """
    strangers = _strangers(counts)
    if counts.open_set is None or threshold is None or not strangers:
        return None
    return float(counts.open_set[counts.grid.index_at(threshold)] / strangers)


def open_set(counts: PairCounts, threshold: float | None) -> OpenSet | None:
    """The queries without a genuine gallery row; None where there is no gallery."""
    if counts.open_set is None:
        return None
    return OpenSet(_strangers(counts), fpir(counts, threshold))


def _strangers(counts: PairCounts) -> int:
    return counts.rows - int(counts.searchers.sum())


def equal_error(counts: PairCounts) -> EqualError:
    """EER and its threshold: where ``|FAR - FRR|`` is least, the mean of the two."""
    far, frr = counts.pooled_far, counts.pooled_frr
    index = int(np.argmin(np.abs(far - frr)))
    return EqualError(float((far[index] + frr[index]) / 2), float(counts.grid.thresholds[index]))


def pooled_rates(counts: PairCounts, index: int | None) -> RatesAt:
    """Pooled rates at a threshold, by its index; nulls where no threshold meets the bound."""
    if index is None:
        return RatesAt(None, None, None)
    return RatesAt(
        float(counts.grid.thresholds[index]),
        float(counts.pooled_far[index]),
        float(counts.pooled_frr[index]),
    )
