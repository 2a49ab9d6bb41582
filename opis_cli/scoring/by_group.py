"""Thresholds by group, at equal FAR.

At one threshold for all, groups have different FARs: people of one age and region look more alike
than others. A threshold of a group's own is the largest one at which the FAR of the impostor pairs
*within* the group is at most the bound. A pair *across* two groups is judged at the stricter, which
is the smaller, of their two thresholds, and its rates are reported apart.

A group falls back to the global threshold if it cannot have one of its own:

- it has fewer than ``3 / max_far`` impostor pairs within, too few to resolve the bound;
- it has no genuine pair within;
- it breaks the bound even at the smallest counted threshold, as equal rows of two classes do;
- it is one of many small groups that are counted together.

``choose`` and ``judge`` are apart, so that thresholds can be judged on pairs on which they were not
chosen. ``by_group`` does both on the same pairs.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from opis_cli.counting.calibration import is_supported, last_within
from opis_cli.quantities import Count, Share
from opis_cli.records import Curve, GroupPairs, Ints, PairCounts
from opis_cli.scoring.recommend import Recommendation

Fallback = Literal["few_impostors", "no_genuine", "no_threshold", "other_groups"]
ACROSS = "the smaller of the two distance thresholds"
ACROSS_SCORES = "the larger of the two score thresholds"
"""The stricter threshold, in words."""


@dataclass(frozen=True, slots=True)
class GroupRates:
    """The pairs within a group, and their rates at the global threshold and at its own.

    Attributes
    ----------
    name : int | str | None
        The group. Null for the small groups that are counted together.
    genuine : int
        Number of genuine pairs within the group.
    impostor : int
        Number of impostor pairs within the group.
    supported : bool
        Whether there are at least 3 / max_far impostor pairs, which are needed to resolve max_far.
    far : float | None
        FAR at the global threshold. Null without impostor pairs.
    frr : float | None
        FRR at the global threshold. Null without genuine pairs.
    threshold : float | None
        The group's own threshold: the largest at which its FAR is at most max_far. Null if it falls
        back to the global threshold.
    fallback : {"few_impostors", "no_genuine", "no_threshold", "other_groups"} | None
        Why it has no threshold of its own: its impostor pairs are too few for max_far; it has no
        genuine pair; it exceeds max_far even at the smallest threshold; or it is one of the groups
        that are counted together. Null if it has one.
    own_far : float | None
        FAR at its own threshold, or at the global one if it falls back.
    own_frr : float | None
        FRR at its own threshold, or at the global one if it falls back.
    """

    name: int | str | None = field(metadata={"key": "group"})
    genuine: Count
    impostor: Count
    supported: bool
    far: Share | None
    frr: Share | None
    threshold: float | None
    fallback: Fallback | None
    own_far: Share | None
    own_frr: Share | None


@dataclass(frozen=True, slots=True)
class PartRates:
    """Pooled rates of all pairs, of those within groups, and of those across groups.

    Attributes
    ----------
    far : float | None
        FAR of all impostor pairs.
    frr : float | None
        FRR of all genuine pairs.
    within_far : float | None
        FAR of the impostor pairs within groups. Null if there are none, as for all below.
    within_frr : float | None
        FRR of the genuine pairs within groups.
    across_far : float | None
        FAR of the impostor pairs across groups.
    across_frr : float | None
        FRR of the genuine pairs across groups.
    groups_meeting_bounds : float | None
        Share of the supported groups whose rates within meet the bounds. Null if none is supported.
    """

    far: Share | None
    frr: Share | None
    within_far: Share | None
    within_frr: Share | None
    across_far: Share | None
    across_frr: Share | None
    groups_meeting_bounds: Share | None


@dataclass(frozen=True, slots=True)
class ByGroup:
    """Groups at one global threshold, and at thresholds of their own at equal FAR.

    Attributes
    ----------
    max_far : float
        Bound on the FAR of the impostor pairs within each group. It is that on the pooled FAR; if
        only max_frr was given, the FAR of the recommended threshold.
    threshold : float
        The global threshold: the recommended one or, if no threshold meets both bounds, the largest
        that meets max_far.
    others : int
        Number of small groups that are counted together as one, without a name. They use the global
        threshold. All pairs among them pass for pairs within one group.
    groups : tuple of GroupRates
        The groups, in the order of their names.
    at_global : PartRates
        Rates if all pairs are judged at the global threshold.
    at_own : PartRates
        Rates if pairs within a group are judged at its own threshold, and pairs across two groups
        at the stricter of their two.
    """

    max_far: Share
    threshold: float
    others: Count
    groups: tuple[GroupRates, ...]
    at_global: PartRates
    at_own: PartRates


@dataclass(frozen=True, slots=True)
class Chosen:
    """Thresholds of groups, chosen on some pairs.

    Attributes
    ----------
    max_far : float
        Bound on the FAR within each group.
    everyone : float
        The global threshold.
    own : dict of names to float
        Thresholds of the groups that have one of their own.
    why : dict of names to text
        Why each other group has none.
    """

    max_far: float
    everyone: float
    own: dict[Any, float]
    why: dict[Any, Fallback]

    def of(self, names: list[Any]) -> NDArray[np.float64]:
        """Return the threshold that each of some groups uses, shape (G,)."""
        return np.array([self.own.get(name, self.everyone) for name in names])


def by_group(counts: PairCounts, chosen: Recommendation) -> ByGroup | None:
    """Choose thresholds by group at the bound of a recommendation, and judge them on all pairs.

    The result is None without counts by pair of groups; if there is neither a recommended threshold
    nor one that meets max_far; or if there are no counts by group at it.
    """
    pairs, at = counts.group_pairs, chosen.threshold
    max_far = chosen.far if chosen.max_far is None else chosen.max_far
    if at is None and chosen.at_max_far is not None:
        at = chosen.at_max_far.threshold
    if pairs is None or not max_far or at is None or counts.grid.column_of(at) is None:
        return None
    return judge(pairs, choose(pairs, max_far, at), chosen.max_frr)


def choose(pairs: GroupPairs, max_far: float, everyone: float) -> Chosen:
    """Choose a threshold for each group that can have one of its own.

    Parameters
    ----------
    pairs : GroupPairs
    max_far : float
        Bound on the FAR of the impostor pairs within each group.
    everyone : float
        The global threshold, to which other groups fall back.
    """
    own: dict[Any, float] = {}
    why: dict[Any, Fallback] = {}
    within = pairs.within
    genuine, impostor = (
        np.bincount(pairs.one[within], weights=totals[within], minlength=pairs.number)
        for totals in (pairs.genuine_pairs, pairs.impostor_pairs)
    )
    for group, name in enumerate(names_of(pairs)):
        if name is None:
            why[name] = "other_groups"
        elif not is_supported(max_far, int(impostor[group])):
            why[name] = "few_impostors"
        elif not genuine[group]:
            why[name] = "no_genuine"
        else:
            place = int(np.flatnonzero(within & (pairs.one == group))[0])
            index = last_within(pairs.impostor[place] / pairs.impostor_pairs[place], max_far)
            if index is None:
                why[name] = "no_threshold"
            else:
                own[name] = float(pairs.thresholds[index])
    return Chosen(max_far, everyone, own, why)


def judge(pairs: GroupPairs, chosen: Chosen, max_frr: float | None = None) -> ByGroup:
    """Judge thresholds by group on pairs, which need not be those that they were chosen on.

    Parameters
    ----------
    pairs : GroupPairs
        Between two of its thresholds, the counts at the smaller one are used. A group that is not
        among those of ``chosen`` is judged at the global threshold.
    chosen : Chosen
    max_frr : float, optional
        Bound on the FRR of each group, for the share of the groups that meet the bounds.
    """
    names = names_of(pairs)
    of_group = chosen.of(names)
    everyone = np.full(len(names), chosen.everyone)
    totals = np.stack([pairs.genuine_pairs, pairs.impostor_pairs])
    both = [
        accepted_at(pairs, np.minimum(t[pairs.one], t[pairs.two])) for t in (everyone, of_group)
    ]
    supported = np.array([is_supported(chosen.max_far, int(n)) for n in _within(pairs, totals)[1]])
    rates = [_rates(_within(pairs, accepted), _within(pairs, totals)) for accepted in both]
    numbers = _within(pairs, totals).tolist()
    groups = tuple(
        GroupRates(
            name=name,
            genuine=numbers[0][group],
            impostor=numbers[1][group],
            supported=bool(supported[group]),
            far=_known(rates[0][1, group]),
            frr=_known(rates[0][0, group]),
            threshold=chosen.own.get(name),
            fallback=None if name in chosen.own else chosen.why.get(name, "few_impostors"),
            own_far=_known(rates[1][1, group]),
            own_frr=_known(rates[1][0, group]),
        )
        for group, name in enumerate(names)
    )
    bounds = chosen.max_far, max_frr
    at_global, at_own = (
        _parts(pairs, accepted, totals, _share_within(found, supported, *bounds))
        for accepted, found in zip(both, rates, strict=True)
    )
    return ByGroup(
        max_far=chosen.max_far,
        threshold=chosen.everyone,
        others=pairs.others,
        groups=groups,
        at_global=at_global,
        at_own=at_own,
    )


def names_of(pairs: GroupPairs) -> list[Any]:
    """Return the names of the G groups, with None for those that are counted together."""
    return [*pairs.names.tolist(), *([None] if pairs.others else [])]


def accepted_at(pairs: GroupPairs, thresholds: NDArray[np.float64]) -> Ints:
    """Return accepted genuine and impostor pairs, shape (2, P), at a threshold for each of P.

    Between two counted thresholds, the counts at the smaller one are used. Below all, no pair is
    accepted.
    """
    columns = np.searchsorted(pairs.thresholds, thresholds, side="right") - 1
    places = np.arange(len(columns)), np.maximum(columns, 0)
    accepted = np.stack([pairs.genuine[places], pairs.impostor[places]]).astype(np.int64)
    return np.where(columns < 0, 0, accepted)


def _within(pairs: GroupPairs, numbers: Ints) -> Ints:
    """Return numbers of pairs, shape (2, P), of the pairs within each group: (2, G)."""
    found, own = np.zeros((2, pairs.number), np.int64), pairs.within
    found[:, pairs.one[own]] = numbers[:, own]
    return found


def _rates(accepted: Ints, totals: Ints) -> Curve:
    """Return FRR and FAR, in this order, of accepted genuine and impostor pairs; else NaN."""
    errors = np.stack([totals[0] - accepted[0], accepted[1]])
    found = np.full(errors.shape, np.nan)
    np.divide(errors, totals, out=found, where=totals > 0)
    return found


def _known(rate: float) -> float | None:
    return None if np.isnan(rate) else float(rate)


def _share_within(
    rates: Curve, supported: NDArray[np.bool_], max_far: float, max_frr: float | None
) -> float | None:
    """Return the share of the supported groups whose rates (FRR, FAR) meet the bounds."""
    meet = rates[1] <= max_far
    if max_frr is not None:
        meet &= ~(rates[0] > max_frr)
    return float(meet[supported].mean()) if supported.any() else None


def _parts(pairs: GroupPairs, accepted: Ints, totals: Ints, share: float | None) -> PartRates:
    """Pool the rates of all pairs, of those within groups, and of those across."""
    own = pairs.within

    def pooled(some: Any) -> tuple[float | None, float | None]:
        frr, far = _rates(accepted[:, some].sum(axis=1), totals[:, some].sum(axis=1))
        return _known(far), _known(frr)

    (far, frr), within, across = pooled(slice(None)), pooled(own), pooled(~own)
    return PartRates(far, frr, *within, *across, groups_meeting_bounds=share)
