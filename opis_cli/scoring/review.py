"""Two thresholds: accept up to the first, refuse beyond the second, and review between them.

The first is the largest threshold that meets ``max_far``, and the second the smallest that meets
``max_frr``. No threshold needs to meet both bounds. If one does, it serves for both, and no pair
goes to review.
"""

from dataclasses import dataclass

from opis_cli.quantities import Count, Share
from opis_cli.records import Ints, PairCounts
from opis_cli.scoring.recommend import Equivalents, Recommendation, equivalents


@dataclass(frozen=True, slots=True)
class Review:
    """Two thresholds that meet both bounds, and how much lies between them.

    Attributes
    ----------
    accept_threshold : float | None
        A pair is accepted if its distance is at most this. Null if no threshold meets max_far, not
        even 0. Then no pair is accepted without review.
    refuse_threshold : float | None
        A pair is refused if its distance is larger than this. Pairs between the two thresholds go
        to review. Null if no threshold meets max_frr, as genuine pairs have no score.
    accept_equivalents : Equivalents
        The first threshold on other scales.
    refuse_equivalents : Equivalents
        The second threshold on other scales.
    one_threshold : bool
        Whether one threshold meets both bounds. Then both thresholds are the recommended one, and
        no pair goes to review.
    pairs_share : float | None
        Share of all pairs that go to review. Null without a refuse_threshold.
    genuine_share : float | None
        Share of the genuine pairs that go to review.
    impostor_share : float | None
        Share of the impostor pairs that go to review.
    genuine_pairs : int | None
        Number of genuine pairs that go to review.
    impostor_pairs : int | None
        Number of impostor pairs that go to review.
    queries_share : float | None
        Share of the rows (of the queries, with a gallery) whose nearest other row goes to review:
        a search that returns this row is neither accepted nor refused. Null for scored pairs, whose
        rows are unknown, and in runs of an older opis.
    far : float
        Pooled FAR: share of the impostor pairs that are accepted without review.
    frr : float | None
        Pooled FRR: share of the genuine pairs that are refused without review. Null without a
        refuse_threshold.
    """

    accept_threshold: float | None
    refuse_threshold: float | None
    accept_equivalents: Equivalents
    refuse_equivalents: Equivalents
    one_threshold: bool
    pairs_share: Share | None
    genuine_share: Share | None
    impostor_share: Share | None
    genuine_pairs: Count | None
    impostor_pairs: Count | None
    queries_share: Share | None
    far: Share
    frr: Share | None


def review_of(counts: PairCounts, chosen: Recommendation) -> Review | None:
    """Return the two thresholds of the bounds of a recommendation.

    The result is None if either bound is not given.
    """
    if chosen.at_max_far is None or chosen.at_max_frr is None:
        return None
    accept, refuse = chosen.at_max_far.threshold, chosen.at_max_frr.threshold
    if chosen.threshold is not None:
        accept = refuse = chosen.threshold
    low = None if accept is None else counts.grid.index_at(accept)
    high = None if refuse is None else counts.grid.index_at(refuse)

    def between(accepted: Ints | None) -> int | None:
        """Return how many of the accepted at the second threshold are not at the first."""
        if high is None or accepted is None:
            return None
        return int(accepted[high]) - (0 if low is None else int(accepted[low]))

    def share(count: int | None, total: int) -> float | None:
        return None if count is None else count / total

    genuine, impostor = between(counts.pooled_genuine), between(counts.pooled_impostor)
    pairs = None if genuine is None or impostor is None else genuine + impostor
    return Review(
        accept_threshold=accept,
        refuse_threshold=refuse,
        accept_equivalents=equivalents(accept, counts.metric, counts.unit),
        refuse_equivalents=equivalents(refuse, counts.metric, counts.unit),
        one_threshold=chosen.threshold is not None,
        pairs_share=share(pairs, counts.genuine_total + counts.impostor_total),
        genuine_share=share(genuine, counts.genuine_total),
        impostor_share=share(impostor, counts.impostor_total),
        genuine_pairs=genuine,
        impostor_pairs=impostor,
        queries_share=share(between(counts.answered), counts.rows),
        far=0.0 if low is None else float(counts.pooled_far[low]),
        frr=None if high is None else float(counts.pooled_frr[high]),
    )
