"""Where to count: what a pilot (``pilot.py``) saw of the pairs places the thresholds of the grid.

Fine steps go where decisions are made: over the calibration range, down the low-FAR tail, and
around every bound that was asked for. The rest of the curves gets a uniform grid.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from opis_cli.counting.calibration import OPERATING_FARS
from opis_cli.counting.gaps import Gaps, shifted
from opis_cli.counting.rows import ROUNDING, Rows, code_step
from opis_cli.counting.sizes import SIZES, Sizes
from opis_cli.decimals import multiples, shortest, significant, step_below
from opis_cli.records import Floats, Grid
from opis_cli.settings import Calibration

RANGE_POINTS = 1_024
"""Least number of thresholds inside the calibration range."""
FRR_RESOLUTION = 0.001
"""Most FRR that the grid may lose at a FAR target."""

_COARSE_POINTS = 96
_UPPER_POINTS = 2_048
_COARSE_UPPER_POINTS = 127
_FARTHER = 1.5
# Each costs time; between them, classes' FARs are estimated to half a percent or better.
_FARS_BEYOND = (0.2, 0.38, 0.6, 0.82, 0.97)
# What a sample may have wrong.
SLACK = 1.2
# Each pair up to the largest FAR costs time, so that the slack there is so many standard errors.
_STANDARD_ERRORS, _LEAST_ERROR, _MOST_ERROR = 5.0, 0.004, 0.06
_MOST_WIDER = 3.0
_FEWER = 64
_SHARE_APART = 0.05
"""Share of a sample's distances that may differ where they are taken for few."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """Share of pairs accepted at each of some distances.

    ``distances`` (M,) do not decrease; ``accepted`` (M,) is the share at or below each. A sample is
    a step function; between the thresholds of counts the share is taken to rise linearly.
    """

    distances: NDArray[np.float64]
    accepted: NDArray[np.float64]
    linear: bool = False

    @classmethod
    def of_scores(
        cls, scores: NDArray[np.float32], rows: Rows, closely: float = 1.0
    ) -> "Distribution":
        """That of a sample, given by its scores.

        Beyond the share that is looked at closely, one of a few scores stands for all, since most
        of the time goes into sorting.
        """
        count, close = len(scores), int(np.ceil(closely * len(scores)))
        if close >= count:
            distances = rows.distance(np.sort(scores)[::-1])
            return cls(distances, np.arange(1, count + 1) / max(count, 1))
        split = np.partition(scores, count - close)
        near, far = split[count - close :], split[: count - close]
        far = np.append(far[::_FEWER], far.min())
        shares = np.linspace(close, count, len(far) + 1)[1:]
        return cls(
            rows.distance(np.concatenate([np.sort(near)[::-1], np.sort(far)[::-1]])),
            np.concatenate([np.arange(1, close + 1), shares]) / count,
        )

    def first_above(self, shares: Floats | float) -> NDArray[np.float64]:
        """Smallest distances at which more than each share is accepted."""
        return self._at(shares, "right")

    def first_at(self, shares: Floats | float) -> NDArray[np.float64]:
        """Smallest distances at which at least each share is accepted."""
        return self._at(np.asarray(shares) - 1e-12, "left")

    def _at(self, shares: Floats | float, side: Literal["left", "right"]) -> NDArray[np.float64]:
        if len(self.distances) == 0:
            return np.zeros(np.shape(shares))
        if self.linear:
            return np.asarray(np.interp(shares, self.accepted, self.distances))
        index = np.searchsorted(self.accepted, shares, side=side)
        return np.asarray(self.distances[np.minimum(index, len(self.distances) - 1)])


@dataclass(frozen=True, slots=True)
class Pilot:
    """What is known of the distances before they are counted."""

    genuine: Distribution
    impostor: Distribution
    exact: bool
    """Whether these are all pairs, not a sample."""
    far_error: float = 0.02
    """Standard error of a sample's largest FAR that matters, relative to it."""

    def gaps(self, rows: Rows) -> Gaps | None:
        """The gaps between pairs, where they can be seen; None where distances are too dense."""
        known = self.genuine.distances, self.impostor.distances
        return Gaps(rows, known) if self.exact or _are_few(rows, known) else None

    @property
    def slack(self) -> float:
        """How many times a FRR, or a low FAR, the sample's may be."""
        return 1.0 if self.exact else SLACK

    @property
    def top_slack(self) -> float:
        """How many times the largest FAR the sample's may be."""
        error = min(max(self.far_error, _LEAST_ERROR), _MOST_ERROR)
        return 1.0 if self.exact else 1 + _STANDARD_ERRORS * error


@dataclass(frozen=True, slots=True)
class Needs:
    """What the grid must resolve.

    ``fars`` and ``frrs`` are the pooled rates whose thresholds will be looked up, ``distances``
    the thresholds that must be on the grid as they are.
    """

    calibration: Calibration
    fars: tuple[float, ...]
    frrs: tuple[float, ...]
    distances: tuple[float, ...]


def needs_of(
    calibration: Calibration,
    max_far: float | None,
    max_frr: float | None,
    deployed: float | None,
) -> Needs:
    """What settings ask of the grid."""
    fars = [*OPERATING_FARS]
    fars += [max_far] if max_far is not None else []
    fars += [calibration.low, calibration.high] if calibration.by == "far" else []
    frrs = [max_frr] if max_frr is not None else []
    frrs += [calibration.low, calibration.high] if calibration.by == "frr" else []
    distances = [deployed] if deployed is not None else []
    distances += [calibration.low, calibration.high] if calibration.by == "distance" else []
    return Needs(calibration, tuple(sorted(set(fars))), tuple(sorted(set(frrs))), tuple(distances))


def place_grid(pilot: Pilot, needs: Needs, rows: Rows, sizes: Sizes = SIZES) -> Grid:
    """Choose the thresholds at which pairs will be counted.

    A sample places the calibration range with a margin on both sides, for its own error; all pairs
    place it exactly, with a threshold on the best place for each bound.
    """
    slack, top_slack = pilot.slack, pilot.top_slack
    low, high = _range_ends(pilot, needs.calibration, slack, top_slack)
    inner_low, inner_high = _range_ends(pilot, needs.calibration, 1.0, 1.0)
    wider = min((high - low) / max(inner_high - inner_low, 1e-30), _MOST_WIDER)
    fars, frrs = np.array(needs.fars), np.array(needs.frrs)
    given = np.array(needs.distances)
    tops = [
        pilot.impostor.first_above(np.minimum(top_slack * fars, 1.0)),
        pilot.genuine.first_at(1 - frrs / slack),
    ]
    end = float(shifted(rows, max(high, *np.concatenate([*tops, given])), +1))
    step = code_step(end)
    end = min(float(multiples(end, step, +1)), rows.largest_distance)
    tail = _tail_start(pilot, min([*needs.fars, 1e-1]))
    even = [_even(0, end, _COARSE_POINTS), _even(low, high, int(RANGE_POINTS * 1.1 * wider))]
    steps = _genuine_steps(pilot.genuine, min(tail, low), end)
    accepted, rejected = pilot.genuine.first_at(1 - frrs), pilot.impostor.first_above(fars)
    gaps = pilot.gaps(rows)
    if gaps is None:
        fine = np.concatenate([*even, multiples(steps, step, +1)])
        decisive = [multiples(accepted, step, +1), multiples(rejected, step, -1)]
    else:
        # In the middle of a gap for those who compare; near the pair for what a bound costs.
        reach = (high - low) / 2_000
        fine = gaps.clear(np.concatenate([*even, _near(rows, steps, reach)]))
        decisive = [gaps.beside(accepted, +1), gaps.beside(rejected, -1)]
        decisive += [_near(rows, accepted, reach), _near(rows, rejected, -reach)]
    fine = np.concatenate([fine, *decisive, given, [0.0, end]])
    fine = np.unique(fine[(fine >= 0) & (fine <= end)])
    upper = _upper(pilot, rows, end)
    count, classes = len(rows.labels), int(rows.keys.max()) + 1
    if count * (count - 1) // 2 > sizes.small_pairs:
        thresholds = np.concatenate([fine, upper])
        return Grid(thresholds, len(fine), _by_class(thresholds, len(fine), pilot))
    finer = np.union1d(upper, _to_the_last(pilot, rows, end))
    if classes * (len(fine) + len(finer)) <= sizes.small_counts:
        upper = finer
    thresholds = np.concatenate([fine, upper])
    return Grid(thresholds, len(fine), np.arange(len(thresholds)))


def _tail_start(pilot: Pilot, far: float) -> float:
    """A distance below the threshold of the lowest FAR that matters.

    A sample shows no FAR as low as that: the line through two that it does show, on the scale of
    normal deviates, is followed to a tenth of the FAR.
    """
    if pilot.exact:
        return float(pilot.impostor.first_above(far / 4))
    from scipy.special import ndtri

    near, nearer = pilot.impostor.first_above(np.array([1e-3, 1e-5]))
    slope = (near - nearer) / (ndtri(1e-3) - ndtri(1e-5))
    return float(min(nearer, nearer + slope * (ndtri(far / 10) - ndtri(1e-5))))


def _even(low: float, high: float, points: int) -> NDArray[np.float64]:
    """At least so many thresholds, evenly, in as few digits as keep them apart."""
    if not high > low:
        return np.array([low])
    return multiples(np.linspace(low, high, points), step_below((high - low) / points))


def _near(rows: Rows, pairs: NDArray[np.float64], reach: float) -> NDArray[np.float64]:
    """Thresholds beyond (``reach`` > 0) or before the distances of pairs, of few digits.

    They lie clear of the pair, and no farther from it than ``reach``.
    """
    clear = shifted(rows, pairs, 1 if reach > 0 else -1)
    ends = zip(clear.tolist(), (pairs + reach).tolist(), strict=True)
    return np.array([shortest(min(pair), max(pair)) for pair in ends])


def _are_few(rows: Rows, known: tuple[NDArray[np.float64], ...]) -> bool:
    """Whether many of a sample's pairs share few distances, as those of whole numbers do."""
    least = ROUNDING * rows.scale
    apart = sum(np.count_nonzero(-np.diff(rows.score(one)) > least) for one in known)
    return bool(apart < _SHARE_APART * sum(len(one) for one in known))


def _range_ends(
    pilot: Pilot, calibration: Calibration, slack: float, top_slack: float
) -> tuple[float, float]:
    """Where the calibration range begins and ends, or a little outside of that."""
    if calibration.by == "far":
        fars = np.array([calibration.low / slack, min(calibration.high * top_slack, 1.0)])
        low, high = pilot.impostor.first_above(fars)
    elif calibration.by == "frr":
        frrs = np.array([calibration.low / slack, min(calibration.high * slack, 1.0)])
        high, low = pilot.genuine.first_at(1 - frrs)
    else:
        low, high = calibration.low, calibration.high
    return float(low), float(high)


def _genuine_steps(genuine: Distribution, low: float, high: float) -> NDArray[np.float64]:
    """Distances between which at most half of ``FRR_RESOLUTION`` of the genuine pairs lie."""
    places = genuine.first_at(np.arange(FRR_RESOLUTION / 2, 1.0, FRR_RESOLUTION / 2))
    return np.asarray(places[(places >= low) & (places <= high)])


def _upper(pilot: Pilot, rows: Rows, end: float) -> NDArray[np.float64]:
    """Thresholds beyond the window, even in score; the last one accepts every pair.

    They reach to a FAR of 99.99 %, or where a few pairs lie far beyond the rest less far, so that
    most of them serve the FARs below 99.9 %.
    """
    nearly, all_ = np.maximum(pilot.impostor.first_above(np.array([0.999, 0.9999])), end)
    top, near, far = rows.score(np.array([end, nearly, all_]))
    bottom = max(1.05 * far - 0.05 * top, top - _FARTHER * (top - near))
    return _even_to(rows, end, bottom, _COARSE_UPPER_POINTS)


def _to_the_last(pilot: Pilot, rows: Rows, end: float) -> NDArray[np.float64]:
    """Many thresholds from the window's end to the farthest pair."""
    farthest = max(float(pilot.impostor.first_at(1.0)), float(pilot.genuine.first_at(1.0)), end)
    top, bottom = rows.score(np.array([end, farthest]))
    return _even_to(rows, end, 1.05 * bottom - 0.05 * top, _UPPER_POINTS)


def _even_to(rows: Rows, end: float, bottom: float, points: int) -> NDArray[np.float64]:
    """Thresholds beyond ``end``, even in score down to ``bottom``, and the largest distance."""
    limit, top = rows.largest_distance, float(rows.score(np.array(end)))
    if rows.metric == "cosine":
        step = significant((top - bottom) / points, 2)
        places = end + step * np.arange(1, points + 1)
    else:
        # Even in score, not in distance: rounded only as far as engines allow.
        places = rows.distance(np.linspace(top, bottom, points + 1)[1:])
    steps = np.array([significant(one) for one in places])
    return np.append(steps[(steps > end) & (steps < limit)], limit if limit > end else [])


def _by_class(thresholds: NDArray[np.float64], window: int, pilot: Pilot) -> NDArray[np.int64]:
    """Which thresholds keep counts by class: the window's, and a few beyond it."""
    places = np.searchsorted(thresholds, pilot.impostor.first_at(np.array(_FARS_BEYOND)))
    kept = np.unique(np.append(places, len(thresholds) - 1))
    kept = kept[(kept >= window) & (kept < len(thresholds))]
    return np.concatenate([np.arange(window), kept])
